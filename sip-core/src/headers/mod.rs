//! Header fields: their names, and a type for each of RFC 3261 §20 and of the common extensions.
//!
//! One file holds one header or family, with its parser and its writer as a pair. [`Message::get`] and
//! [`Message::all`] read them from a message; a header without a type here is read by its [`Name`] with
//! [`Message::values`](crate::message::Message::values), one without even a name here with
//! [`Message::value_of`](crate::message::Message::value_of).
//!
//! [`Message::get`]: crate::message::Message::get
//! [`Message::all`]: crate::message::Message::all

mod address;
mod auth;
mod caller;
mod contact;
mod content;
mod cseq;
mod date;
mod dialogs;
mod events;
mod identity;
mod info;
mod name;
mod number;
mod params;
mod reason;
mod received;
mod refer;
mod retry_after;
mod routing;
mod security;
mod session;
mod shapes;
mod text;
mod token;
mod via;
mod warning;

pub use address::Address;
pub(crate) use address::with_scheme;
pub use auth::{
    AuthParams, AuthenticationInfo, Authorization, ProxyAuthenticate, ProxyAuthorization, WwwAuthenticate,
};
pub use caller::{AcceptContact, FeatureCaps, RejectContact, RequestDisposition};
pub use contact::Contact;
pub use content::{
    Accept, AcceptEncoding, AcceptLanguage, ContentDisposition, ContentEncoding, ContentLanguage,
    ContentType, MimeVersion,
};
pub use cseq::CSeq;
pub use date::{Date, Timestamp};
pub use dialogs::{Join, Replaces, TargetDialog};
pub use events::{AllowEvents, Event, SipETag, SipIfMatch, SubscriptionState};
pub use identity::{
    Diversion, From, HistoryInfo, PAssertedIdentity, PPreferredIdentity, Privacy, ReplyTo, To,
};
pub use info::{AlertInfo, CallInfo, ErrorInfo, InfoPackage, RecvInfo};
pub use name::Name;
pub use number::{ContentLength, Expires, FlowTimer, MaxBreadth, MaxForwards, MinExpires, RSeq};
pub use params::Params;
pub use reason::Reason;
pub use refer::{ReferSub, ReferTo, ReferredBy};
pub use retry_after::RetryAfter;
pub use routing::{Path, RecordRoute, Route, ServiceRoute};
pub use security::{SecurityClient, SecurityServer, SecurityVerify};
pub use session::{MinSe, RAck, Refresher, SessionExpires, SessionId};
pub use text::{Organization, Server, Subject, UserAgent};
pub use token::{Allow, CallId, InReplyTo, Priority, ProxyRequire, Require, Supported, Unsupported};
pub use via::Via;
pub use warning::Warning;

pub(crate) use received::{Asks, stamped_via};

use crate::message::lex::{self, Lexed};
use crate::message::{Error, ErrorKind};
use alloc::vec::Vec;

/// A header with a type: how one value is parsed and how it is written.
pub trait Header<'a>: Sized {
    /// Which header field holds it.
    const NAME: Name;

    /// Whether a field without a value is an empty list of them.
    const EMPTY: bool = false;

    /// Parses one value at the start of `input`. Returns it with what is left: nothing, or a comma and more.
    ///
    /// # Errors
    /// The value breaks the grammar of the header; the offset counts from the start of `input`.
    fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), Error>;

    /// Appends the value. Parsing it again gives an equal one, if it was parsed or its parts are what their types say: parts that
    /// stand in quotes must have their quotes and backslashes escaped.
    fn emit(&self, out: &mut Vec<u8>);

    /// Parses a value that is the only one of its field.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), or something stands behind the value.
    fn whole(value: &'a [u8]) -> Result<Self, Error> {
        match Self::parse(value)? {
            (found, []) => Ok(found),
            (_, rest) => Err(Error::new(value.len() - rest.len(), ErrorKind::Syntax)),
        }
    }

    /// The values of a comma list; offsets of errors count from its start. After an error it ends.
    fn list(value: &'a [u8]) -> List<'a, Self> {
        List {
            length: value.len(),
            rest: Some(value).filter(|value| !Self::EMPTY || !value.is_empty()),
            header: core::marker::PhantomData,
        }
    }
}

/// The values of one header field that holds a comma list.
#[derive(Debug)]
pub struct List<'a, T> {
    rest: Option<&'a [u8]>,
    length: usize,
    header: core::marker::PhantomData<fn() -> T>,
}

impl<'a, T: Header<'a>> Iterator for List<'a, T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let input = self.rest.take()?;
        match T::parse(input) {
            Ok((value, rest)) => {
                self.rest = lex::past(b',', rest);
                if self.rest.is_none() && !rest.is_empty() {
                    return Some(Err(Error::new(self.length - rest.len(), ErrorKind::Syntax)));
                }
                Some(Ok(value))
            }
            Err(error) => {
                let before = self.length - input.len();
                Some(Err(Error::new(before + error.offset as usize, error.kind)))
            }
        }
    }
}

/// Runs a parser of the grammar as one of a header: blanks around the value are no part of it.
#[inline]
fn value<'a, T>(input: &'a [u8], parser: impl Fn(&'a [u8]) -> Lexed<'a, T>) -> Result<(T, &'a [u8]), Error> {
    let start = lex::skip(input);
    match parser(start) {
        Ok((rest, found)) => Ok((found, lex::skip(rest))),
        Err(fault) => Err(Error::new(input.len().saturating_sub(lex::left(fault)), ErrorKind::Syntax)),
    }
}
