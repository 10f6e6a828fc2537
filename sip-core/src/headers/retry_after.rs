//! Retry-After (RFC 3261 §20.33).

use super::shapes::debug;
use super::{Header, Name, Params, value};
use crate::message::lex::{self, Lexed};
use crate::message::{Error, push_number};
use alloc::vec::Vec;
use nom::Parser;
use nom::combinator::opt;

/// When to try again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter<'a> {
    /// Seconds from now.
    pub seconds: u32,
    /// The comment in parentheses, without them; empty if there is none.
    pub comment: &'a [u8],
    /// The parameters, `duration` among them.
    pub params: Params<'a>,
}

impl<'a> Header<'a> for RetryAfter<'a> {
    const NAME: Name = Name::RetryAfter;

    fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        value(input, |input| {
            (lex::number, lex::lws, opt(comment), Params::lex)
                .map(|(seconds, (), comment, params)| Self {
                    seconds,
                    comment: comment.unwrap_or_default(),
                    params,
                })
                .parse(input)
        })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        push_number(out, u64::from(self.seconds));
        if !self.comment.is_empty() {
            out.extend_from_slice(b" (");
            out.extend_from_slice(self.comment);
            out.push(b')');
        }
        out.extend_from_slice(self.params.as_bytes());
    }
}

/// `comment`: parentheses nest, a backslash escapes. Counted, not recursed.
fn comment(input: &[u8]) -> Lexed<'_, &[u8]> {
    let mut depth = 0_u32;
    let mut escaped = false;
    for (at, byte) in input.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return match (input.get(1..at), input.get(at + 1..)) {
                (Some(text), Some(rest)) if at > 0 && lex::is_folded(text) => Ok((rest, text)),
                _ => lex::fail(input),
            };
        }
    }
    lex::fail(input)
}

debug!(RetryAfter<'_>);
