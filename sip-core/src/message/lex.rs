//! The leaves of the grammar (RFC 3261 §25.1): what every parser above is combined from.

use crate::message::ErrorKind;
use nom::error::{ErrorKind as NomKind, FromExternalError, ParseError};
use nom::{Err, IResult, Parser};

/// The result of a parser over bytes: what is left, and what was found.
pub(crate) type Lexed<'b, T> = IResult<&'b [u8], T, Fault>;

/// A fault by how many bytes were left when it was met: eight bytes, `Copy`, no input held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) left: u32,
    pub(crate) kind: ErrorKind,
}

impl ParseError<&[u8]> for Fault {
    fn from_error_kind(input: &[u8], _: NomKind) -> Self {
        Self { left: input.len() as u32, kind: ErrorKind::Syntax }
    }

    fn append(_: &[u8], _: NomKind, other: Self) -> Self {
        other
    }
}

impl<E> FromExternalError<&[u8], E> for Fault {
    fn from_external_error(input: &[u8], kind: NomKind, _: E) -> Self {
        Self::from_error_kind(input, kind)
    }
}

pub(crate) fn fail<T>(input: &[u8]) -> Lexed<'_, T> {
    Err(Err::Error(Fault { left: input.len() as u32, kind: ErrorKind::Syntax }))
}

/// Runs a parser that must use up its input; the error is the offset of the fault.
pub(crate) fn complete<'b, T>(
    input: &'b [u8],
    mut parser: impl Parser<&'b [u8], Output = T, Error = Fault>,
) -> Result<T, usize> {
    match parser.parse(input) {
        Ok(([], value)) => Ok(value),
        Ok((rest, _)) => Err(input.len() - rest.len()),
        Err(Err::Error(fault) | Err::Failure(fault)) => Err(input.len().saturating_sub(fault.left as usize)),
        Err(Err::Incomplete(_)) => Err(input.len()),
    }
}

const TOKEN: u8 = 1;
const HOST: u8 = 2;
const LOOSE: u8 = 4;
const URI: u8 = 8;
const WORD: u8 = 16;

static CLASS: [u8; 256] = classes();

#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let alphanumeric = b.is_ascii_alphanumeric();
        if alphanumeric || matches!(b, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~') {
            table[byte] |= TOKEN;
        }
        if alphanumeric || matches!(b, b'-' | b'.' | b'_') {
            table[byte] |= HOST;
        }
        // A parameter's value: token, host or IPv6 reference by the grammar; in the field also Base64 and
        // the like. What ends it is only what could be mistaken for the next element.
        if b > b' ' && b != 0x7f && !matches!(b, b';' | b',' | b'"' | b'<' | b'>' | b'?') {
            table[byte] |= LOOSE;
        }
        if b > b' ' && b < 0x7f && !matches!(b, b'"' | b'<' | b'>') {
            table[byte] |= URI;
        }
        if table[byte] & TOKEN != 0
            || matches!(
                b,
                b'(' | b')' | b'<' | b'>' | b':' | b'\\' | b'"' | b'/' | b'[' | b']' | b'?' | b'{' | b'}'
            )
        {
            table[byte] |= WORD;
        }
        byte += 1;
    }
    table
}

fn is(class: u8) -> impl Fn(u8) -> bool {
    move |byte| CLASS.get(byte as usize).is_some_and(|found| found & class != 0)
}

/// The longest run of bytes that `holds`, at least `least` of them.
fn run(input: &[u8], least: usize, holds: impl Fn(u8) -> bool) -> Lexed<'_, &[u8]> {
    let end = input.iter().position(|byte| !holds(*byte)).unwrap_or(input.len());
    match input.split_at_checked(end) {
        Some((found, rest)) if end >= least => Ok((rest, found)),
        _ => fail(input),
    }
}

/// `token`
pub(crate) fn token(input: &[u8]) -> Lexed<'_, &[u8]> {
    run(input, 1, is(TOKEN))
}

/// Whether these bytes are one token.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    matches!(token(bytes), Ok(([], _)))
}

/// `callid`: a word, or two joined by `@`
pub(crate) fn call_id(input: &[u8]) -> Lexed<'_, &[u8]> {
    run(input, 1, |byte| is(WORD)(byte) || byte == b'@')
}

/// `1*DIGIT`
pub(crate) fn digits(input: &[u8]) -> Lexed<'_, &[u8]> {
    run(input, 1, |byte| byte.is_ascii_digit())
}

/// `1*DIGIT` as a number; a number too large for its type is a fault.
pub(crate) fn number<T: TryFrom<u64>>(input: &[u8]) -> Lexed<'_, T> {
    let (rest, digits) = digits(input)?;
    let mut value = 0_u64;
    for digit in digits {
        match value.checked_mul(10).and_then(|value| value.checked_add(u64::from(digit - b'0'))) {
            Some(next) => value = next,
            None => return fail(input),
        }
    }
    match T::try_from(value) {
        Ok(value) => Ok((rest, value)),
        Err(_) => fail(input),
    }
}

/// A port, 1 to 65535: nothing can be sent to port 0.
pub(crate) fn port(input: &[u8]) -> Lexed<'_, u16> {
    match number::<u16>(input)? {
        (_, 0) => fail(input),
        found => Ok(found),
    }
}

/// `[LWS]`, folded lines included: what separates, or nothing.
pub(crate) fn lws(input: &[u8]) -> Lexed<'_, ()> {
    let mut rest = input;
    loop {
        rest = match rest {
            [b' ' | b'\t', tail @ ..] => tail,
            [b'\r', b'\n', b' ' | b'\t', tail @ ..] => tail,
            _ => return Ok((rest, ())),
        };
    }
}

/// `LWS`, at least one blank.
pub(crate) fn lws1(input: &[u8]) -> Lexed<'_, ()> {
    let (rest, ()) = lws(input)?;
    if rest.len() == input.len() { fail(input) } else { Ok((rest, ())) }
}

/// One byte with optional blanks around it: `SLASH`, `SEMI`, `EQUAL`, `COMMA`, `COLON`
pub(crate) fn separator<'b>(byte: u8) -> impl Fn(&'b [u8]) -> Lexed<'b, ()> {
    move |input| {
        let (rest, ()) = lws(input)?;
        match rest {
            [first, rest @ ..] if *first == byte => lws(rest),
            _ => fail(rest),
        }
    }
}

/// One byte.
pub(crate) fn byte<'b>(byte: u8) -> impl Fn(&'b [u8]) -> Lexed<'b, ()> {
    move |input| match input {
        [first, rest @ ..] if *first == byte => Ok((rest, ())),
        _ => fail(input),
    }
}

/// `quoted-string` without its quotes, escapes left as they are.
pub(crate) fn quoted(input: &[u8]) -> Lexed<'_, &[u8]> {
    let [b'"', inside @ ..] = input else { return fail(input) };
    let mut at = 0;
    while let Some(step) = inside.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += step;
        if inside.get(at) == Some(&b'"') {
            return match (inside.get(..at), inside.get(at + 1..)) {
                (Some(text), Some(rest)) => Ok((rest, text)),
                _ => fail(input),
            };
        }
        at += 2; // quoted-pair
    }
    fail(input)
}

/// `host`: a name, an IPv4 address, or an IPv6 reference with its brackets
pub(crate) fn host(input: &[u8]) -> Lexed<'_, &[u8]> {
    if let [b'[', ..] = input {
        let end = memchr::memchr(b']', input).map_or(0, |at| at + 1);
        return match input.split_at_checked(end) {
            Some((found, rest)) if crate::uri::is_ipv6_reference(found) => Ok((rest, found)),
            _ => fail(input),
        };
    }
    run(input, 1, is(HOST))
}

/// The value of a parameter, without quotes if it has them.
pub(crate) fn parameter_value(input: &[u8]) -> Lexed<'_, &[u8]> {
    match input {
        [b'"', ..] => quoted(input),
        _ => run(input, 1, is(LOOSE)),
    }
}

/// The text of a URI: no blanks, quotes or angle brackets, a scheme before a colon.
pub(crate) fn uri(input: &[u8]) -> Lexed<'_, &[u8]> {
    let (rest, found) = run(input, 1, is(URI))?;
    if has_scheme(found) { Ok((rest, found)) } else { fail(input) }
}

/// `addr-spec` where header parameters may follow: it ends before `;`, `,` and `?` (RFC 3261 §20.10).
pub(crate) fn bare_uri(input: &[u8]) -> Lexed<'_, &[u8]> {
    let (rest, found) = run(input, 1, |byte| is(URI)(byte) && !matches!(byte, b';' | b','))?;
    if has_scheme(found) && !found.contains(&b'?') { Ok((rest, found)) } else { fail(input) }
}

fn has_scheme(uri: &[u8]) -> bool {
    match uri.iter().position(|byte| *byte == b':') {
        Some(at) => uri.get(..at).is_some_and(|scheme| {
            scheme.first().is_some_and(u8::is_ascii_alphabetic)
                && scheme
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        }),
        None => false,
    }
}

/// Without the blanks and line folds at both ends.
pub(crate) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t' | b'\r' | b'\n'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_do_not_wrap() {
        assert_eq!(complete(b"4294967295", number::<u32>), Ok(4_294_967_295));
        for text in ["4294967296", "18446744073709551616", "0x10", "", "-1"] {
            assert!(complete(text.as_bytes(), number::<u32>).is_err(), "{text}");
        }
        assert!(complete(b"0", port).is_err());
        assert!(complete(b"65536", port).is_err());
    }

    #[test]
    fn a_quoted_string_ends_at_its_own_quote() {
        assert_eq!(quoted(br#""J \\\"" <"#).unwrap(), (&b" <"[..], &br#"J \\\""#[..]));
        assert!(quoted(br#""open"#).is_err());
        assert!(quoted(br#""open\"#).is_err());
        assert!(quoted(br#""open\""#).is_err());
    }

    #[test]
    fn blanks_include_folds_but_not_line_ends() {
        assert_eq!(lws(b" \t\r\n x").unwrap().0, b"x");
        assert_eq!(lws(b"\r\nx").unwrap().0, b"\r\nx");
        assert!(lws1(b"x").is_err());
    }
}
