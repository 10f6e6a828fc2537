//! Bodies of several parts (RFC 2046 §5.1, RFC 5621).

use super::view::Message;
use super::{Error, ErrorKind, Fields, lex};
use crate::config::Limits;
use crate::headers::{ContentType, Header, Name};

/// The parts of a multipart body, in their order. A body whose last delimiter is missing ends with an error.
///
/// ```
/// use sip_core::{Limits, headers::ContentType, message::Multipart};
/// let kind = ContentType { kind: b"multipart", subtype: b"mixed", params: sip_core::headers::Params::parse(b";boundary=x")? };
/// let body = b"--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x--\r\n";
/// let mut parts = Multipart::new(&kind, body, &Limits::DEFAULT)?.expect("it is one");
/// let part = parts.next().expect("a part")?;
/// use sip_core::headers::Header;
/// assert!(part.get::<ContentType<'_>>()?.is_some_and(|kind| kind.is("text", "plain")));
/// assert_eq!(part.body(), b"hello");
/// # Ok::<(), sip_core::message::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Multipart<'a> {
    body: &'a [u8],
    boundary: &'a [u8],
    /// Where the next part begins; nothing once the body has ended.
    at: Option<usize>,
    /// How many levels may still nest.
    depth: usize,
}

/// One part: header fields, and a body that may have parts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The header section, with the empty line if there is one.
    head: &'a [u8],
    body: &'a [u8],
    depth: usize,
}

impl Message<'_> {
    /// The parts of the body, if its Content-Type is `multipart/…`.
    ///
    /// # Errors
    /// The Content-Type is malformed, or it is multipart without a usable boundary.
    pub fn parts(&self, limits: &Limits) -> Result<Option<Multipart<'_>>, Error> {
        match self.get::<ContentType<'_>>()? {
            Some(kind) => Multipart::new(&kind, self.body(), limits),
            None => Ok(None),
        }
    }
}

impl<'a> Multipart<'a> {
    /// The parts of a body of this type; nothing if the type is not `multipart/…`. They may nest
    /// [`Limits::multipart_depth`] levels deep, this one counted.
    ///
    /// # Errors
    /// There is no boundary of 1 to 70 bytes (RFC 2046 §5.1.1), or no level is left.
    pub fn new(kind: &ContentType<'a>, body: &'a [u8], limits: &Limits) -> Result<Option<Self>, Error> {
        Self::nested(kind, body, limits.multipart_depth)
    }

    fn nested(kind: &ContentType<'a>, body: &'a [u8], depth: usize) -> Result<Option<Self>, Error> {
        if !kind.kind.eq_ignore_ascii_case(b"multipart") {
            return Ok(None);
        }
        let boundary = kind.params.get("boundary").filter(|boundary| (1..=70).contains(&boundary.len()));
        let boundary = boundary.ok_or(Error::new(0, ErrorKind::Field(Name::ContentType)))?;
        let depth = depth.checked_sub(1).ok_or(Error::new(0, ErrorKind::TooLarge))?;
        let mut parts = Self { body, boundary, at: Some(0), depth };
        // What stands before the first delimiter belongs to no part.
        parts.at = parts.delimiter(0).and_then(|first| first.next);
        if parts.at.is_none() {
            return Err(Error::new(body.len(), ErrorKind::Truncated));
        }
        Ok(Some(parts))
    }

    /// The next delimiter from `from` on, where a line begins: `--`, the boundary, blanks. No byte is looked at twice.
    fn delimiter(&self, from: usize) -> Option<Delimiter> {
        let mut at = from;
        loop {
            let line = self.body.get(at..)?;
            if let Some(behind) = line.strip_prefix(b"--").and_then(|line| line.strip_prefix(self.boundary)) {
                // The line end before it belongs to the delimiter.
                let end = if at == from { at } else { at - 2 };
                if behind.starts_with(b"--") {
                    return Some(Delimiter { end, next: None });
                }
                let blanks = behind.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
                if behind.get(blanks..)?.starts_with(b"\r\n") {
                    return Some(Delimiter { end, next: Some(self.body.len() - behind.len() + blanks + 2) });
                }
            }
            // The next line: a line feed alone begins none.
            loop {
                at += lex::find(b'\n', self.body.get(at..)?)? + 1;
                if at >= from + 2 && self.body.get(at - 2) == Some(&b'\r') {
                    break;
                }
            }
        }
    }
}

/// How long the header section of a part is, with its empty line. Without one a part is all fields (RFC 2046 §5.1.1).
fn head_length(part: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match part.get(at..)? {
            [] => return Some(at),
            [b'\r', b'\n', ..] => return Some(at + 2),
            rest => at += lex::find(b'\n', rest)? + 1,
        }
    }
}

/// Where a part ends, and where the next begins, if the delimiter was not the last.
struct Delimiter {
    end: usize,
    next: Option<usize>,
}

impl<'a> Iterator for Multipart<'a> {
    type Item = Result<Part<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at.take()?;
        let Some(delimiter) = self.delimiter(start) else {
            return Some(Err(Error::new(self.body.len(), ErrorKind::Truncated)));
        };
        self.at = delimiter.next;
        let part = self.body.get(start..delimiter.end).unwrap_or_default();
        Some(match head_length(part).and_then(|head| part.split_at_checked(head)) {
            Some((head, body)) => Ok(Part { head, body, depth: self.depth }),
            None => Err(Error::new(start, ErrorKind::LineEnd)),
        })
    }
}

impl<'a> Part<'a> {
    /// The header fields of the part.
    pub fn fields(&self) -> Fields<'a> {
        Fields::new(self.head)
    }

    /// The header `T` of the part, if it has it: its first value.
    ///
    /// # Errors
    /// A line is no header field, or the value does not follow the grammar of the header.
    pub fn get<T: Header<'a>>(&self) -> Result<Option<T>, Error> {
        for field in self.fields() {
            let field = field?;
            if field.name == T::NAME {
                return T::list(field.value).next().transpose();
            }
        }
        Ok(None)
    }

    /// The body of the part.
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The parts of this part, if it is `multipart/…` itself.
    ///
    /// # Errors
    /// As [`Multipart::new`].
    pub fn parts(&self) -> Result<Option<Multipart<'a>>, Error> {
        match self.get::<ContentType<'a>>()? {
            Some(kind) => Multipart::nested(&kind, self.body, self.depth),
            None => Ok(None),
        }
    }
}
