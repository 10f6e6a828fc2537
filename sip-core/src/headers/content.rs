//! Content-Type (RFC 3261 §20.15).

use super::{Header, Name, Params, value};
use crate::message::{Error, lex};
use alloc::vec::Vec;
use nom::Parser;
use nom::sequence::{pair, separated_pair};

/// A media type with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentType<'a> {
    /// `application` in `application/sdp`
    pub kind: &'a [u8],
    /// `sdp` in `application/sdp`
    pub subtype: &'a [u8],
    /// The parameters.
    pub params: Params<'a>,
}

impl ContentType<'_> {
    /// Whether this is the media type `kind/subtype`, without case.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind.as_bytes())
            && self.subtype.eq_ignore_ascii_case(subtype.as_bytes())
    }
}

impl<'a> Header<'a> for ContentType<'a> {
    const NAME: Name = Name::ContentType;

    fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        value(input, |input| {
            pair(separated_pair(lex::token, lex::separator(b'/'), lex::token), Params::lex)
                .map(|((kind, subtype), params)| Self { kind, subtype, params })
                .parse(input)
        })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.kind);
        out.push(b'/');
        out.extend_from_slice(self.subtype);
        out.extend_from_slice(self.params.as_bytes());
    }
}
