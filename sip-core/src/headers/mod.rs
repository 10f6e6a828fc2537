//! Header fields: their names, and a type for each that transactions, routing and calls need.
//!
//! One file holds one header or family, with its parser and its writer as a pair. [`Message::get`] and
//! [`Message::all`] read them from a message; a header without a type here is read by its [`Name`] with
//! [`Message::values`](crate::message::Message::values), one without even a name here with
//! [`Message::value_of`](crate::message::Message::value_of).
//!
//! [`Message::get`]: crate::message::Message::get
//! [`Message::all`]: crate::message::Message::all

mod address;
mod contact;
mod content;
mod cseq;
mod name;
mod number;
mod params;
mod retry_after;
mod token;
mod via;

pub use address::{Address, RecordRoute, Route};
pub use contact::Contact;
pub use content::ContentType;
pub use cseq::CSeq;
pub use name::Name;
pub use number::{ContentLength, Expires, MaxForwards};
pub use params::Params;
pub use retry_after::RetryAfter;
pub use token::{Allow, ProxyRequire, Require, Supported, Unsupported};
pub use via::Via;

use crate::message::lex::{self, Lexed};
use crate::message::{Error, ErrorKind};
use alloc::vec::Vec;

/// A header with a type: how one value is parsed and how it is written.
pub trait Header<'a>: Sized {
    /// Which header field holds it.
    const NAME: Name;

    /// Parses one value at the start of `input`. Returns it with what is left: nothing, or a comma and more.
    ///
    /// # Errors
    /// The value breaks the grammar of the header; the offset counts from the start of `input`.
    fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), Error>;

    /// Appends the value; parsing it again gives an equal one.
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

    /// The values of a comma list. After an error it ends.
    fn list(value: &'a [u8]) -> List<'a, Self> {
        List { rest: Some(value), header: core::marker::PhantomData }
    }
}

/// The values of one header field that holds a comma list.
#[derive(Debug)]
pub struct List<'a, T> {
    rest: Option<&'a [u8]>,
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
                    return Some(Err(Error::new(input.len() - rest.len(), ErrorKind::Syntax)));
                }
                Some(Ok(value))
            }
            Err(error) => Some(Err(error)),
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
