//! Lists of tokens: Allow, the option tags of Supported, Require, Proxy-Require and Unsupported; Priority; identifiers of
//! calls (RFC 3261 §20).

use super::shapes::{debug, words};
use super::{Header, Name, value};
use crate::message::{Error, Method, lex};
use alloc::vec::Vec;

words! {
    /// One extension that the sender understands.
    Supported(lex::token) EMPTY;
    /// One extension that the receiver must understand.
    Require(lex::token);
    /// One extension that every proxy on the way must understand.
    ProxyRequire(lex::token);
    /// One extension that was required and is not understood.
    Unsupported(lex::token);
    /// How urgent a request is: `emergency`, `urgent`, `normal`, `non-urgent`.
    Priority(lex::token);
    /// The identifier of a call or registration. Compared byte by byte, not by [`is`](Self::is).
    CallId(lex::call_id);
    /// One call that this one answers.
    InReplyTo(lex::call_id);
}

/// One method that the sender takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Allow<'a>(pub Method<'a>);

impl<'a> Header<'a> for Allow<'a> {
    const NAME: Name = Name::Allow;
    const EMPTY: bool = true;

    fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        value(input, lex::token).map(|(method, rest)| (Self(Method::new(method)), rest))
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }
}

debug!(Allow<'_>);
