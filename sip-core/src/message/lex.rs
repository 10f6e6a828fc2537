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

/// How many bytes were left at a fault.
pub(crate) fn left(fault: Err<Fault>) -> usize {
    match fault {
        Err::Error(fault) | Err::Failure(fault) => fault.left as usize,
        Err::Incomplete(_) => 0,
    }
}

/// Runs a parser that must use up its input; the error is the offset of the fault.
pub(crate) fn complete<'b, T>(
    input: &'b [u8],
    mut parser: impl Parser<&'b [u8], Output = T, Error = Fault>,
) -> Result<T, usize> {
    match parser.parse(input) {
        Ok(([], value)) => Ok(value),
        Ok((rest, _)) => Err(input.len() - rest.len()),
        Err(fault) => Err(input.len().saturating_sub(left(fault))),
    }
}

const TOKEN: u16 = 1;
const HOST: u16 = 2;
const LOOSE: u16 = 4;
const URI: u16 = 8;
const CALL_ID: u16 = 16;
const USER: u16 = 32;
const PARAM: u16 = 64;
const BARE: u16 = 128;
const DISPLAY: u16 = 256;
const DIGIT: u16 = 512;
const VALUE: u16 = 1024;
const QUOTED: u16 = 2048;

static CLASS: [u16; 256] = classes();

#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const fn classes() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let alphanumeric = b.is_ascii_alphanumeric();
        let unreserved =
            alphanumeric || matches!(b, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')');
        if alphanumeric || matches!(b, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~') {
            table[byte] |= TOKEN;
        }
        if !matches!(b, b'"' | b'\\' | b'\r' | b'\n') {
            table[byte] |= QUOTED;
        }
        if b.is_ascii_digit() {
            table[byte] |= DIGIT;
        }
        // Text beyond ASCII is let through in a display name, because phones put it there unquoted.
        if table[byte] & TOKEN != 0 || b >= 0x80 {
            table[byte] |= DISPLAY;
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
            // Where header parameters may follow, a URI ends before them (RFC 3261 §20.10).
            if !matches!(b, b';' | b',') {
                table[byte] |= BARE;
            }
        }
        if table[byte] & TOKEN != 0
            || matches!(
                b,
                b'(' | b')'
                    | b'<'
                    | b'>'
                    | b':'
                    | b'\\'
                    | b'"'
                    | b'/'
                    | b'['
                    | b']'
                    | b'?'
                    | b'{'
                    | b'}'
                    | b'@'
            )
        {
            table[byte] |= CALL_ID;
        }
        // User and password: user-unreserved, and what phones put there unescaped.
        if unreserved
            || matches!(b, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/' | b':' | b'#' | b'[' | b']')
        {
            table[byte] |= USER;
        }
        if unreserved || matches!(b, b'[' | b']' | b'/' | b':' | b'&' | b'+' | b'$' | b',') {
            table[byte] |= PARAM;
        }
        if table[byte] & PARAM != 0 || b == b'=' {
            table[byte] |= VALUE;
        }
        byte += 1;
    }
    table
}

#[inline]
fn is(byte: u8, class: u16) -> bool {
    CLASS.get(byte as usize).is_some_and(|found| found & class != 0)
}

/// How many bytes at the start are of the class. Eight a turn: this is where parsing spends its time.
#[inline]
fn length(input: &[u8], class: u16) -> usize {
    let mut at = 0;
    let mut eights = input.chunks_exact(8);
    for bytes in &mut eights {
        for (step, byte) in bytes.iter().enumerate() {
            if !is(*byte, class) {
                return at + step;
            }
        }
        at += 8;
    }
    at + eights.remainder().iter().take_while(|byte| is(**byte, class)).count()
}

/// How many bytes at the start are of the class, or of escapes: `%` and two hexadecimal digits.
#[inline(always)]
fn length_escaped(input: &[u8], class: u16) -> usize {
    let mut end = length(input, class);
    while let Some([b'%', high, low, rest @ ..]) = input.get(end..) {
        if !high.is_ascii_hexdigit() || !low.is_ascii_hexdigit() {
            break;
        }
        end += 3 + length(rest, class);
    }
    end
}

/// The longest run of bytes of a class, at least one.
#[inline]
fn run(input: &[u8], class: u16) -> Lexed<'_, &[u8]> {
    match input.split_at_checked(length(input, class)) {
        Some((found, rest)) if !found.is_empty() => Ok((rest, found)),
        _ => fail(input),
    }
}

macro_rules! runs {
    ($($(#[$doc:meta])* $name:ident $class:ident;)*) => {$(
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name(input: &[u8]) -> Lexed<'_, &[u8]> {
            run(input, $class)
        }
    )*};
}

runs! {
    /// `token`
    token TOKEN;
    /// `callid`: a word, or words joined by `@`
    call_id CALL_ID;
    /// A word of a display name.
    display_word DISPLAY;
    /// `1*DIGIT`
    digits DIGIT;
}

/// How long the line at the start of `bytes` is, with its line feed and the folded lines that continue it (RFC 3261 §7.3.1).
#[inline]
pub(crate) fn line_length(bytes: &[u8]) -> Option<usize> {
    let mut end = 0;
    loop {
        end += find(b'\n', bytes.get(end..)?)? + 1;
        if !matches!(bytes.get(end), Some(b' ' | b'\t')) {
            return Some(end);
        }
    }
}

/// The offset of the first such byte. Sixteen bytes a turn, as two words in which what is looked for turns zero: names and
/// lines are so short that a vectorised search spends more on its start.
#[inline]
pub(crate) fn find(wanted: u8, bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for turn in bytes.chunks_exact(16) {
        let (low, high) = turn.split_first_chunk()?;
        let (low, high) = (equal(wanted, low), equal(wanted, high.first_chunk()?));
        if low | high != 0 {
            let step = if low != 0 { low.trailing_zeros() } else { 64 + high.trailing_zeros() };
            return Some(at + (step / 8) as usize);
        }
        at += 16;
    }
    bytes.get(at..)?.iter().position(|byte| *byte == wanted).map(|step| at + step)
}

/// The lowest bit that is set belongs to the first byte that is equal.
#[inline]
const fn equal(wanted: u8, bytes: &[u8; 8]) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let word = u64::from_le_bytes(*bytes) ^ (ONES * wanted as u64);
    word.wrapping_sub(ONES) & !word & (ONES << 7)
}

/// `token` if there is one, and what is behind.
#[inline]
pub(crate) fn token_or_none(input: &[u8]) -> (&[u8], &[u8]) {
    input.split_at_checked(length(input, TOKEN)).unwrap_or_default()
}

/// Whether these bytes are one token.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && length(bytes, TOKEN) == bytes.len()
}

/// Whether these bytes, maybe none, may stand in a URI, and every `%` before two hexadecimal digits (RFC 3261 §25.1, `escaped`).
pub(crate) fn is_uri_text(bytes: &[u8]) -> bool {
    length(bytes, URI) == bytes.len()
        && memchr::memchr_iter(b'%', bytes).all(|at| match bytes.get(at + 1..at + 3) {
            Some([high, low]) => high.is_ascii_hexdigit() && low.is_ascii_hexdigit(),
            _ => false,
        })
}

/// The elements of a comma list; commas in quotes and angle brackets part none.
pub(crate) fn elements(value: &[u8]) -> usize {
    let (mut rest, mut count) = (value, 1);
    while let Some(found) = memchr::memchr3(b',', b'"', b'<', rest).and_then(|at| rest.get(at..)) {
        let [first, behind @ ..] = found else { break };
        rest = match first {
            // What is never closed holds all that follows; to look for its end again would take for ever.
            b'"' => match quoted(found) {
                Ok((rest, _)) => rest,
                Err(_) => break,
            },
            b'<' => match memchr::memchr(b'>', behind).and_then(|end| behind.get(end..)) {
                Some(rest) => rest,
                None => break,
            },
            _ => {
                count += 1;
                behind
            }
        };
    }
    count
}

/// `*`
pub(crate) fn star(input: &[u8]) -> Lexed<'_, &[u8]> {
    match input.split_at_checked(1) {
        Some((b"*", rest)) => Ok((rest, b"*")),
        _ => fail(input),
    }
}

/// `sess-uuid`: 32 hexadecimal digits (RFC 7989 §5).
pub(crate) fn session_id(input: &[u8]) -> Lexed<'_, &[u8]> {
    match token(input)? {
        (rest, id) if id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit) => Ok((rest, id)),
        _ => fail(input),
    }
}

/// `warn-agent`: a host with its port, or a token.
pub(crate) fn agent(input: &[u8]) -> Lexed<'_, &[u8]> {
    run(input, LOOSE)
}

/// The rest of a value as text.
pub(crate) fn text(input: &[u8]) -> Lexed<'_, &[u8]> {
    if is_folded(input) { Ok((&[], trim(input))) } else { fail(input) }
}

/// `*DIGIT [ "." *DIGIT ]`, not empty.
pub(crate) fn decimal(input: &[u8]) -> Lexed<'_, &[u8]> {
    let whole = length(input, DIGIT);
    let fraction = match input.get(whole..) {
        Some([b'.', fraction @ ..]) => 1 + length(fraction, DIGIT),
        _ => 0,
    };
    match input.split_at_checked(whole + fraction) {
        Some((found, rest)) if !found.is_empty() => Ok((rest, found)),
        _ => fail(input),
    }
}

/// The user or the password of a SIP URI, maybe empty, and what is behind.
#[inline]
pub(crate) fn user(input: &[u8]) -> (&[u8], &[u8]) {
    input.split_at_checked(length_escaped(input, USER)).unwrap_or_default()
}

/// `*paramchar`, and what is behind.
#[inline]
pub(crate) fn uri_param_name(input: &[u8]) -> (&[u8], &[u8]) {
    input.split_at_checked(length_escaped(input, PARAM)).unwrap_or_default()
}

/// `*paramchar` with equal signs among them, and what is behind.
#[inline]
pub(crate) fn uri_param_value(input: &[u8]) -> (&[u8], &[u8]) {
    input.split_at_checked(length_escaped(input, VALUE)).unwrap_or_default()
}

/// `1*DIGIT` as a number; a number too large for its type is a fault.
pub(crate) fn number<T: TryFrom<u64>>(input: &[u8]) -> Lexed<'_, T> {
    const { assert!(size_of::<T>() < size_of::<u64>(), "what saturates is beyond the type") };
    let (mut rest, mut value) = (input, 0_u64);
    while let [digit @ b'0'..=b'9', behind @ ..] = rest {
        value = value.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
        rest = behind;
    }
    match T::try_from(value) {
        Ok(value) if rest.len() < input.len() => Ok((rest, value)),
        _ => fail(input),
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
#[inline]
pub(crate) fn lws(input: &[u8]) -> Lexed<'_, ()> {
    Ok((skip(input), ()))
}

/// What stands behind blanks and folds, if there are any.
#[inline]
pub(crate) fn skip(input: &[u8]) -> &[u8] {
    match input {
        [first, ..] if *first > b' ' => input,
        [] => input,
        _ => blanks(input),
    }
}

fn blanks(input: &[u8]) -> &[u8] {
    let mut rest = input;
    loop {
        rest = match rest {
            [b' ' | b'\t', tail @ ..] => tail,
            [b'\r', b'\n', b' ' | b'\t', tail @ ..] => tail,
            _ => return rest,
        };
    }
}

/// `LWS`, at least one blank.
pub(crate) fn lws1(input: &[u8]) -> Lexed<'_, ()> {
    let rest = skip(input);
    if rest.len() == input.len() { fail(input) } else { Ok((rest, ())) }
}

/// What stands behind one byte with optional blanks around it, if that is what is next.
#[inline]
pub(crate) fn past(byte: u8, input: &[u8]) -> Option<&[u8]> {
    match input {
        [first, rest @ ..] if *first == byte && rest.first().is_some_and(|next| *next > b' ') => Some(rest),
        [first, ..] if *first > b' ' && *first != byte => None,
        [] => None,
        _ => separator(byte)(input).ok().map(|(rest, ())| rest),
    }
}

/// One byte with optional blanks around it: `SLASH`, `SEMI`, `EQUAL`, `COMMA`, `COLON`
#[inline]
pub(crate) fn separator<'b>(byte: u8) -> impl Fn(&'b [u8]) -> Lexed<'b, ()> {
    move |input| {
        let rest = skip(input);
        match rest {
            [first, rest @ ..] if *first == byte => Ok((skip(rest), ())),
            _ => fail(rest),
        }
    }
}

/// One byte.
#[inline]
pub(crate) fn byte<'b>(byte: u8) -> impl Fn(&'b [u8]) -> Lexed<'b, ()> {
    move |input| match input {
        [first, rest @ ..] if *first == byte => Ok((rest, ())),
        _ => fail(input),
    }
}

/// Whether line ends stand only where a blank continues the line (RFC 3261 §7.3.1).
pub(crate) fn is_folded(text: &[u8]) -> bool {
    memchr::memchr2_iter(b'\r', b'\n', text).all(|at| match text.get(at) {
        Some(b'\r') => matches!(text.get(at + 1..), Some([b'\n', b' ' | b'\t', ..])),
        _ => at.checked_sub(1).and_then(|before| text.get(before)) == Some(&b'\r'),
    })
}

/// A value in one line, as text: each fold is a blank (RFC 3261 §7.3.1).
pub(crate) fn unfolded(value: &[u8]) -> alloc::string::String {
    let mut out = alloc::vec::Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
        let (before, fold) = rest.split_at(at);
        out.extend_from_slice(before.trim_ascii_end());
        out.push(b' ');
        rest = fold.trim_ascii_start();
    }
    out.extend_from_slice(rest);
    alloc::string::String::from_utf8_lossy(&out).into_owned()
}

/// `quoted-string` without its quotes, escapes left as they are.
pub(crate) fn quoted(input: &[u8]) -> Lexed<'_, &[u8]> {
    let [b'"', inside @ ..] = input else { return fail(input) };
    let mut at = 0;
    loop {
        at += length(inside.get(at..).unwrap_or_default(), QUOTED);
        at += match inside.get(at..) {
            Some([b'"', rest @ ..]) => return Ok((rest, inside.get(..at).unwrap_or_default())),
            Some([b'\\', escaped, ..]) if !matches!(escaped, b'\r' | b'\n') => 2,
            Some([b'\r', b'\n', b' ' | b'\t', ..]) => 3,
            _ => return fail(input),
        };
    }
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
    run(input, HOST)
}

/// The value of a parameter, without quotes if it has them.
pub(crate) fn parameter_value(input: &[u8]) -> Lexed<'_, &[u8]> {
    match input {
        [b'"', ..] => quoted(input),
        _ => run(input, LOOSE),
    }
}

/// The text of a URI: no blanks, quotes or angle brackets, a scheme before a colon.
pub(crate) fn uri(input: &[u8]) -> Lexed<'_, &[u8]> {
    let (rest, found) = run(input, URI)?;
    if has_scheme(found) { Ok((rest, found)) } else { fail(input) }
}

/// `addr-spec` where header parameters may follow: it ends before `;`, `,` and `?` (RFC 3261 §20.10).
pub(crate) fn bare_uri(input: &[u8]) -> Lexed<'_, &[u8]> {
    let (rest, found) = run(input, BARE)?;
    if has_scheme(found) && !found.contains(&b'?') { Ok((rest, found)) } else { fail(input) }
}

fn has_scheme(uri: &[u8]) -> bool {
    match uri {
        [b's', b'i', b'p', b':', ..] | [b's', b'i', b'p', b's', b':', ..] => return true,
        _ => {}
    }
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
#[inline]
pub(crate) fn trim(value: &[u8]) -> &[u8] {
    let value = value.strip_prefix(b" ").unwrap_or(value);
    match (value.first(), value.last()) {
        (Some(first), Some(last)) if *first > b' ' && *last > b' ' => value,
        _ => trim_all(value),
    }
}

fn trim_all(mut value: &[u8]) -> &[u8] {
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
