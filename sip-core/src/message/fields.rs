//! Header sections cut into fields; nothing is looked into.

use super::view::Field;
use super::{Error, ErrorKind, lex};
use crate::headers::Name;

/// The header fields of a section in their order, named and cut, not looked into: what a load balancer or a sniffer needs.
///
/// A faulty line is an error, and the lines behind it still come. The last item is an error too if the section ends in the
/// middle of a line, or that of a message without the empty line.
///
/// ```
/// use sip_core::message::Fields;
/// let mut fields = Fields::of_message(b"SIP/2.0 200 OK\r\nf: <sip:a@b>\r\n t=1\r\nX-Own: kept \r\n\r\nbody");
/// let names: Vec<_> = fields.by_ref().map(|field| field.map(|field| (field.name.as_str(), field.value))).collect();
/// assert_eq!(names, [Ok(("From", &b"<sip:a@b>\r\n t=1"[..])), Ok(("", b"kept"))]);
/// assert_eq!(fields.body(), b"body");
/// ```
#[derive(Clone, Debug)]
pub struct Fields<'b> {
    lines: Lines<'b>,
    /// Whether the end of the input is an end too, or the end was told already.
    may_end: bool,
}

impl<'b> Fields<'b> {
    /// The fields of a section that begins with its first field, as in a part of a multipart body.
    pub fn new(section: &'b [u8]) -> Self {
        Self { lines: Lines::new(section, 0), may_end: true }
    }

    /// The fields of a message: its first line is passed over.
    pub fn of_message(message: &'b [u8]) -> Self {
        let start = memchr::memchr(b'\n', message).map_or(message.len(), |end| end + 1);
        Self { lines: Lines::new(message, start), may_end: false }
    }

    /// What stands behind the fields that were taken, and the empty line if it is next.
    pub fn body(&self) -> &'b [u8] {
        let rest = self.lines.bytes.get(self.lines.at..).unwrap_or_default();
        rest.strip_prefix(b"\r\n").unwrap_or(rest)
    }
}

impl<'b> Iterator for Fields<'b> {
    type Item = Result<Field<'b>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let start = self.lines.at;
        let fail = |kind| Some(Err(Error::new(start, kind)));
        match self.lines.next() {
            Some((_, Ok(field))) => Some(Ok(field)),
            Some((_, Err(kind))) => fail(kind),
            None => {
                let end = self.lines.bytes.len();
                let sound = self.lines.body().is_some() || self.may_end && start == end;
                self.lines.at = if sound { start } else { end };
                self.may_end = true;
                if sound { None } else { fail(ErrorKind::LineEnd) }
            }
        }
    }
}

/// The lines of a header section, each with the folded lines that continue it (RFC 3261 §7.3.1).
#[derive(Clone, Debug)]
pub(crate) struct Lines<'b> {
    bytes: &'b [u8],
    /// Where the next line begins.
    at: usize,
}

impl<'b> Lines<'b> {
    pub(crate) const fn new(bytes: &'b [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Where the next line begins.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// The offset of the body, if what is next is the empty line.
    pub(crate) fn body(&self) -> Option<usize> {
        let body = self.at + 2;
        (self.bytes.get(self.at..body) == Some(b"\r\n")).then_some(body)
    }

    /// The next line: how long it is with its CRLF, and what is in it. Nothing at the empty line, or if the section has no
    /// end.
    // What it returns would go through memory for each line: 300 instructions on the INVITE of the bench.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Option<(usize, Result<Field<'b>, ErrorKind>)> {
        let rest = self.bytes.get(self.at..)?;
        if rest.starts_with(b"\r\n") {
            return None;
        }
        // A name that is known is a token: only others are looked at byte by byte. No known one is longer than this, and a
        // colon that is far away must not be searched from every line.
        let near = rest.get(..32).unwrap_or(rest);
        let (spelt, behind) = rest.split_at_checked(lex::find(b':', near).unwrap_or(0))?;
        let name = Name::lookup(spelt);
        let (spelt, behind) = if name == Name::Other { lex::token_or_none(rest) } else { (spelt, behind) };
        // No line ends inside a name: the search for the end begins behind it.
        let (line, _) = behind.split_at_checked(lex::line_length(behind)?)?;
        let length = spelt.len() + line.len();
        self.at += length;
        let field = match line {
            [b':', value @ .., b'\r', b'\n'] if !spelt.is_empty() => {
                Ok(Field { name, spelt, value: lex::trim(value) })
            }
            _ => unusual(spelt, line),
        };
        Some((length, field))
    }
}

/// A line whose colon does not follow the name at once: blanks are allowed there (RFC 3261 §7.3.1). A fold is not by §25.1, but
/// was by RFC 2543, and is taken.
#[cold]
fn unusual<'b>(spelt: &'b [u8], line: &'b [u8]) -> Result<Field<'b>, ErrorKind> {
    let line = line.strip_suffix(b"\r\n").ok_or(ErrorKind::LineEnd)?;
    match lex::separator(b':')(line) {
        Ok((value, ())) if !spelt.is_empty() => {
            Ok(Field { name: Name::lookup(spelt), spelt, value: lex::trim(value) })
        }
        _ => Err(ErrorKind::HeaderLine),
    }
}
