//! Headers that are text for people: Subject, Organization, User-Agent, Server (RFC 3261 §20).

use super::shapes::words;
use crate::message::lex;

words! {
    /// What a call is about.
    Subject(lex::text);
    /// Whom the sender belongs to.
    Organization(lex::text);
    /// The software of a client.
    UserAgent(lex::text);
    /// The software of a server.
    Server(lex::text);
}
