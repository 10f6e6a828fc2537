//! `*( SEMI generic-param )`, the tail of many headers.

use crate::message::lex::{self, Lexed};
use crate::message::{Error, ErrorKind};
use core::fmt;

/// Header parameters as they stand, checked when they were parsed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Params<'a>(&'a [u8]);

impl<'a> Params<'a> {
    pub(crate) const fn new(checked: &'a [u8]) -> Self {
        Self(checked)
    }

    /// Parses parameters, each with its semicolon: `;refresher=uac`.
    ///
    /// # Errors
    /// Where they break their grammar.
    pub fn parse(input: &'a [u8]) -> Result<Self, Error> {
        lex::complete(input, Self::lex).map_err(|offset| Error::new(offset, ErrorKind::Syntax))
    }

    /// Parses parameters up to what can't be one.
    pub(crate) fn lex(input: &'a [u8]) -> Lexed<'a, Self> {
        Self::lex_seeing(input, |_, _| {})
    }

    /// Parses parameters, and finds the value of one of them on the way.
    #[inline]
    pub(crate) fn lex_and_get(input: &'a [u8], name: &str) -> Lexed<'a, (Self, Option<&'a [u8]>)> {
        let mut wanted = None;
        let (rest, params) = Self::lex_seeing(input, |found, value| {
            if wanted.is_none() && is_name(found, name) {
                wanted = Some(value);
            }
        })?;
        Ok((rest, (params, wanted)))
    }

    /// Parses parameters, and shows the name and value of each on the way.
    #[inline]
    pub(crate) fn lex_seeing(input: &'a [u8], mut see: impl FnMut(&'a [u8], &'a [u8])) -> Lexed<'a, Self> {
        if let [] | [b',', ..] = input {
            return Ok((input, Self::default()));
        }
        let mut rest = input;
        while let Some(after) = lex::past(b';', rest) {
            let (behind, (name, value)) = param(after)?;
            see(name, value);
            rest = behind;
        }
        let length = input.len() - rest.len();
        Ok((rest, Self(input.get(..length).unwrap_or_default())))
    }

    /// Names and values in their order; quotes are taken off, and a parameter without a value has an empty one.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let (after, found) = param(lex::past(b';', rest)?).ok()?;
            rest = after;
            Some(found)
        })
    }

    /// Names, and each parameter as it stands with its semicolon and blanks.
    pub(crate) fn as_written(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let (after, (name, _)) = param(lex::past(b';', rest)?).ok()?;
            let length = rest.len() - after.len();
            let written = rest.get(..length)?;
            rest = after;
            Some((name, written))
        })
    }

    /// The value of a parameter, its name compared without case.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(found, _)| is_name(found, name)).map(|(_, value)| value)
    }

    /// The value of a parameter as a number; nothing if it is none.
    pub fn number<T: core::str::FromStr>(&self, name: &str) -> Option<T> {
        let digits = self.get(name).filter(|value| value.iter().all(u8::is_ascii_digit))?;
        core::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// The parameters as they stand, from the first semicolon on.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }
}

/// Whether this is how a parameter's name is spelt, in whatever case.
#[inline]
pub(crate) fn is_name(found: &[u8], name: &str) -> bool {
    found.len() == name.len() && found.eq_ignore_ascii_case(name.as_bytes())
}

/// `token [ EQUAL gen-value ]`; an equal sign with nothing behind it is no value, not an empty one.
#[inline]
fn param(input: &[u8]) -> Lexed<'_, (&[u8], &[u8])> {
    let (name, rest) = lex::token_or_none(input);
    if name.is_empty() {
        return lex::fail(input);
    }
    match lex::past(b'=', rest) {
        Some(value) => lex::parameter_value(value).map(|(rest, value)| (rest, (name, value))),
        None => Ok((rest, (name, b""))),
    }
}

impl fmt::Debug for Params<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}
