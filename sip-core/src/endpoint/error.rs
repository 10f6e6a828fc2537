//! What the caller did wrong. What a peer did wrong is an event, and what the network did too.

use crate::transport::Transport;
use core::fmt;

/// A command that can't be carried out. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// The handle is stale: what it named is over.
    Gone,
    /// It is too late, or too early, for this: a second final response, an ACK that nobody waits for …
    WrongState,
    /// The standards forbid this response here (RFC 4320 §4).
    Forbidden,
    /// A cap of [`Limits`](crate::Limits) is reached. Try again later.
    Full,
    /// The machine is being shut down and begins nothing new.
    Draining,
    /// No address of this transport was stated with [`listen`](crate::Machine::listen).
    NoLocal(Transport),
    /// The URI is malformed, has headers (`?…`), or is of a scheme or transport to which nothing can be sent without a target.
    BadUri,
    /// A SIP URI where the request has a SIPS one, or the other way round (RFC 5630 §5.3: 480).
    SipsMismatch,
    /// A header or the body can't be written (see [`Content::check`](crate::message::Content::check)), or an address, a package or another value that was
    /// given for a header is none.
    BadContent,
    /// The method is not for this command: it has one of its own.
    BadMethod,
    /// The status is not for this command.
    BadStatus,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the handle is stale: what it named is over"),
            Self::WrongState => f.write_str("too early or too late for this: not possible in this state"),
            Self::Forbidden => f.write_str("RFC 4320 forbids this response to a request other than INVITE"),
            Self::Full => f.write_str("a configured limit is reached"),
            Self::Draining => f.write_str("the machine is being shut down"),
            Self::NoLocal(transport) => {
                write!(f, "no local address speaks {transport:?}: state one with `listen` first, if there is a socket for it")
            }
            Self::BadUri => f.write_str("the URI is malformed or has headers, or nothing can be sent to it: state a target for a scheme without an address"),
            Self::SipsMismatch => f.write_str("a request to a SIPS URI goes to SIPS URIs, and one to a SIP URI to SIP URIs: answer it with 480"),
            Self::BadContent => f.write_str("a header, an address, an event package or the body can't stand in a message, is written by the machine itself, or is owed and not there: addresses stand in angle brackets, a body has a type"),
            Self::BadMethod => f.write_str("the method has a command of its own: invite (inside a dialog request_in), bye, cancel, ack, prack, subscribe, notify, refer"),
            Self::BadStatus => f.write_str("the status is not for this command"),
        }
    }
}

impl core::error::Error for Misuse {}
