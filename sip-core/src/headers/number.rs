//! Headers that are one number (RFC 3261 §20.14, §20.19, §20.22, §20.23; RFC 3262 §7.1; RFC 5393 §5.3.3; RFC 5626 §4.4.1).

use super::shapes::debug;
use super::{Header, Name, value};
use crate::message::{Error, lex, push_number};
use alloc::vec::Vec;

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident($type:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

        debug!($name);
    )*};
}

numbers! {
    /// Bytes in the body.
    ContentLength(u32);
    /// Seconds until the message or its content expires.
    Expires(u32);
    /// How many more elements may relay the request.
    MaxForwards(u8);
    /// The least Expires that the sender takes, in seconds.
    MinExpires(u32);
    /// The place of a reliable provisional response; 1 to 2^31 - 1 by RFC 3262 §7.1, which this does not check.
    RSeq(u32);
    /// How many branches a request may still fork into.
    MaxBreadth(u32);
    /// Seconds after which a server takes an idle flow for dead.
    FlowTimer(u32);
}
