//! Contact (RFC 3261 §20.10).

use super::shapes::debug;
use super::{Address, Header, Name, value};
use crate::message::{Error, lex};
use alloc::vec::Vec;

/// One value of Contact.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Contact<'a> {
    /// `*`: all bindings of an address-of-record, to be removed (§10.2.2).
    All,
    /// An address with its parameters.
    At(Address<'a>),
}

impl<'a> Contact<'a> {
    /// The address, unless it is `*`.
    pub const fn address(&self) -> Option<Address<'a>> {
        match self {
            Self::All => None,
            Self::At(address) => Some(*address),
        }
    }
}

impl Contact<'_> {
    /// The `expires` parameter: seconds.
    pub fn expires(&self) -> Option<u32> {
        self.address()?.params.number("expires")
    }

    /// The `q` parameter in thousandths; nothing if it is missing or no number of 0 to 1 (RFC 3261 §25.1, `qvalue`).
    pub fn q(&self) -> Option<u16> {
        let (whole, fraction) = match self.address()?.params.get("q")? {
            [whole @ (b'0' | b'1'), b'.', fraction @ ..] => (whole, fraction),
            [whole @ (b'0' | b'1')] => (whole, &b""[..]),
            _ => return None,
        };
        if fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let places = fraction.iter().chain(&[b'0'; 3]).take(3);
        let thousandths =
            places.fold(u16::from(whole - b'0'), |value, digit| value * 10 + u16::from(digit - b'0'));
        Some(thousandths).filter(|value| *value <= 1_000)
    }
}

impl<'a> Header<'a> for Contact<'a> {
    const NAME: Name = Name::Contact;

    fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        value(input, |input| match Address::lex(input) {
            Ok((rest, address)) => Ok((rest, Self::At(address))),
            // `*` is a token, so that it could begin a display name: the address is tried first.
            Err(fault) => lex::star(input).map(|(rest, _)| (rest, Self::All)).map_err(|_| fault),
        })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        match self {
            Self::All => out.push(b'*'),
            Self::At(address) => address.emit(out),
        }
    }
}

debug!(Contact<'_>);
