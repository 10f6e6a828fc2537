//! Warning (RFC 3261 §20.43).

use super::shapes::debug;
use super::{Header, Name, value};
use crate::message::{Error, lex, push_number};
use alloc::vec::Vec;
use nom::Parser;
use nom::sequence::terminated;

/// What else is to be said about a response.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Warning<'a> {
    /// Three digits.
    pub code: u16,
    /// Who warns: a host with its port, or a pseudonym.
    pub agent: &'a [u8],
    /// What for, without its quotes, escapes left as they are.
    pub text: &'a [u8],
}

impl<'a> Header<'a> for Warning<'a> {
    const NAME: Name = Name::Warning;

    fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        value(input, |input| {
            let code = nom::combinator::verify(lex::number, |code| (100..=999).contains(code));
            (terminated(code, lex::lws1), terminated(lex::agent, lex::lws1), lex::quoted)
                .map(|(code, agent, text)| Self { code, agent, text })
                .parse(input)
        })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        push_number(out, u64::from(self.code));
        out.push(b' ');
        out.extend_from_slice(self.agent);
        out.extend_from_slice(b" \"");
        out.extend_from_slice(self.text);
        out.push(b'"');
    }
}

debug!(Warning<'_>);
