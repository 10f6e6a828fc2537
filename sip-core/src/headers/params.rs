//! `*( SEMI generic-param )`, the tail of many headers.

use crate::message::lex::{self, Lexed};
use core::fmt;
use nom::Parser;
use nom::combinator::opt;
use nom::sequence::{pair, preceded};

/// Header parameters as they stand, checked when they were parsed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Params<'a>(&'a [u8]);

impl<'a> Params<'a> {
    pub(crate) const fn new(checked: &'a [u8]) -> Self {
        Self(checked)
    }

    /// Parses parameters up to what can't be one.
    pub(crate) fn lex(input: &'a [u8]) -> Lexed<'a, Self> {
        let mut rest = input;
        while let Ok((after, ())) = lex::separator(b';')(rest) {
            rest = param(after)?.0;
        }
        let length = input.len() - rest.len();
        Ok((rest, Self(input.get(..length).unwrap_or_default())))
    }

    /// Names and values in their order; quotes are taken off, and a parameter without a value has an empty one.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let (after, found) = preceded(lex::separator(b';'), param).parse(rest).ok()?;
            rest = after;
            Some(found)
        })
    }

    /// The value of a parameter, its name compared without case.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The parameters as they stand, from the first semicolon on.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }
}

/// `token [ EQUAL gen-value ]`
fn param(input: &[u8]) -> Lexed<'_, (&[u8], &[u8])> {
    let value = opt(preceded(lex::separator(b'='), lex::parameter_value));
    let (rest, (name, value)) = pair(lex::token, value).parse(input)?;
    // An equal sign with nothing behind it is no value, not an empty one.
    match (value, lex::separator(b'=')(rest)) {
        (None, Ok(_)) => lex::fail(rest),
        (value, _) => Ok((rest, (name, value.unwrap_or_default()))),
    }
}

impl fmt::Debug for Params<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}
