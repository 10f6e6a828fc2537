//! Headers that are one number: Content-Length, Expires, Max-Forwards (RFC 3261 §20.14, §20.19, §20.22).

use super::{Header, Name, value};
use crate::message::{Error, lex, push_number};
use alloc::vec::Vec;

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident($type:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(pub $type);

        impl Header<'_> for $name {
            const NAME: Name = Name::$name;

            fn parse(input: &[u8]) -> Result<(Self, &[u8]), Error> {
                value(input, lex::number).map(|(number, rest)| (Self(number), rest))
            }

            fn emit(&self, out: &mut Vec<u8>) {
                push_number(out, u64::from(self.0));
            }
        }
    )*};
}

numbers! {
    /// Bytes in the body.
    ContentLength(u32);
    /// Seconds until the message or its content expires.
    Expires(u32);
    /// How many more elements may relay the request.
    MaxForwards(u8);
}
