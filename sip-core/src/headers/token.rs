//! Lists of tokens: Allow, and the option tags of Supported, Require, Proxy-Require and Unsupported
//! (RFC 3261 §20.5, §20.29, §20.32, §20.37, §20.40).

use super::{Header, Name, value};
use crate::message::{Error, Method, lex};
use alloc::vec::Vec;

macro_rules! option_tags {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])* ///
        /// Option tags compare without case.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name<'a>(pub &'a [u8]);

        impl $name<'_> {
            /// Whether this is the option tag `tag`.
            pub fn is(&self, tag: &str) -> bool {
                self.0.eq_ignore_ascii_case(tag.as_bytes())
            }
        }

        impl<'a> Header<'a> for $name<'a> {
            const NAME: Name = Name::$name;

            fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
                value(input, lex::token).map(|(tag, rest)| (Self(tag), rest))
            }

            fn emit(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.0);
            }
        }
    )*};
}

option_tags! {
    /// One extension that the sender understands.
    Supported
    /// One extension that the receiver must understand.
    Require
    /// One extension that every proxy on the way must understand.
    ProxyRequire
    /// One extension that was required and is not understood.
    Unsupported
}

/// One method that the sender takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allow<'a>(pub Method<'a>);

impl<'a> Header<'a> for Allow<'a> {
    const NAME: Name = Name::Allow;

    fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        value(input, lex::token).map(|(method, rest)| (Self(Method::new(method)), rest))
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }
}
