//! CSeq (RFC 3261 §20.16).

use super::shapes::debug;
use super::{Header, Name, value};
use crate::message::{Error, Method, lex, push_number};
use alloc::vec::Vec;
use nom::Parser;
use nom::sequence::separated_pair;

/// A sequence number and a method.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// The number; senders keep it below 2^31.
    pub number: u32,
    /// The method.
    pub method: Method<'a>,
}

impl<'a> Header<'a> for CSeq<'a> {
    const NAME: Name = Name::CSeq;

    fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        value(input, |input| {
            separated_pair(lex::number, lex::lws1, lex::token)
                .map(|(number, method)| Self { number, method: Method::new(method) })
                .parse(input)
        })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        push_number(out, u64::from(self.number));
        out.push(b' ');
        out.extend_from_slice(self.method.as_bytes());
    }
}

debug!(CSeq<'_>);
