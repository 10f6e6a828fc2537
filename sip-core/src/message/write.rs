//! Writing messages: everything appends to one buffer, the caller's or a pooled one.

use super::{Error, ErrorKind, Method, Request, Status, lex};
use crate::headers::{Header, Name};
use alloc::vec::Vec;

/// Appends a message to a buffer, from the start line to the body. Nothing ends it but [`finish`](Self::finish).
///
/// The writer adds nothing of its own but line ends, and Content-Length in [`finish`](Self::finish). It does not
/// look into values: [`Content::check`] tells whether text that came from elsewhere may be written.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Writer<'o> {
    /// Starts a request: `METHOD uri SIP/2.0`
    pub fn request(out: &'o mut Vec<u8>, method: Method<'_>, uri: &[u8]) -> Self {
        out.extend_from_slice(method.as_bytes());
        out.push(b' ');
        out.extend_from_slice(uri);
        out.extend_from_slice(b" SIP/2.0\r\n");
        Self { out }
    }

    /// Starts a response: `SIP/2.0 code reason`
    pub fn response(out: &'o mut Vec<u8>, status: Status) -> Self {
        out.extend_from_slice(b"SIP/2.0 ");
        push_number(out, u64::from(status.code()));
        out.push(b' ');
        out.extend_from_slice(status.reason().as_bytes());
        out.extend_from_slice(b"\r\n");
        Self { out }
    }

    /// Starts the response to a request: the status line, and what a response repeats (RFC 3261 §8.2.6.2, §12.1.1): every Via,
    /// From, Call-ID, CSeq, To with this tag if it has none yet (a 100 gets none), and Record-Route below 300. The lines are
    /// copied as they stand.
    ///
    /// [`Endpoint::respond`](crate::Endpoint::respond) does more: it fills `received` and `rport`, and repeats the response.
    pub fn answer(out: &'o mut Vec<u8>, request: &Request<'_>, status: Status, tag: &str) -> Self {
        let mut writer = Self::response(out, status);
        let tagged = request.to_tag().is_some() || status == Status::TRYING || tag.is_empty();
        for (name, line) in request.lines() {
            match name {
                Name::Via | Name::From | Name::CallId | Name::CSeq => writer.out.extend_from_slice(line),
                // RFC 3261 §8.2.6.1
                Name::Timestamp if status == Status::TRYING => writer.out.extend_from_slice(line),
                Name::RecordRoute if status.code() < 300 => writer.out.extend_from_slice(line),
                Name::To if tagged => writer.out.extend_from_slice(line),
                Name::To => {
                    writer.out.extend_from_slice(lex::trim(line));
                    writer.out.extend_from_slice(b";tag=");
                    writer.text(|out| out.extend_from_slice(tag.as_bytes()));
                    writer.out.extend_from_slice(b"\r\n");
                }
                _ => {}
            }
        }
        writer
    }

    /// How much is written.
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// Goes on with a message that `out` ends in the middle of.
    pub(crate) const fn resume(out: &'o mut Vec<u8>) -> Self {
        Self { out }
    }

    /// One header field as it stood in another message, without its end; or nothing, if it is empty.
    pub(crate) fn line(&mut self, line: &[u8]) -> &mut Self {
        if !line.is_empty() {
            self.out.extend_from_slice(line);
            self.out.extend_from_slice(b"\r\n");
        }
        self
    }

    /// One header field; a list of parts is written as one value.
    pub fn field(&mut self, name: Name, parts: &[&[u8]]) -> &mut Self {
        self.named(name.as_str(), parts)
    }

    /// One header field under any name.
    pub fn named(&mut self, name: &str, parts: &[&[u8]]) -> &mut Self {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        for part in parts {
            self.out.extend_from_slice(part);
        }
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// One typed header. Line ends that fold no line become blanks, so that a value put together by hand can't add a header.
    ///
    /// ```
    /// use sip_core::headers::{Params, SessionExpires};
    /// use sip_core::message::{Content, Status, Writer};
    /// let mut out = Vec::new();
    /// let expires = SessionExpires { seconds: 1_800, params: Params::parse(b";refresher=uas")? };
    /// Writer::response(&mut out, Status::OK).header(&expires).finish(&Content::NONE);
    /// assert_eq!(out, b"SIP/2.0 200 OK\r\nSession-Expires: 1800;refresher=uas\r\nContent-Length: 0\r\n\r\n");
    /// # Ok::<(), sip_core::message::Error>(())
    /// ```
    pub fn header<'a, T: Header<'a>>(&mut self, header: &T) -> &mut Self {
        self.out.extend_from_slice(T::NAME.as_str().as_bytes());
        self.out.extend_from_slice(b": ");
        self.text(|out| header.emit(out));
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Writes a value; what would end its line becomes blanks.
    fn text(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.out.len();
        write(self.out);
        let value = self.out.get_mut(start..).unwrap_or_default();
        if !lex::is_folded(value) {
            value.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
        }
    }

    /// One header field with a number.
    pub fn number(&mut self, name: Name, value: u64) -> &mut Self {
        self.out.extend_from_slice(name.as_str().as_bytes());
        self.out.extend_from_slice(b": ");
        push_number(self.out, value);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// CSeq.
    pub fn cseq(&mut self, number: u32, method: Method<'_>) -> &mut Self {
        self.out.extend_from_slice(b"CSeq: ");
        push_number(self.out, u64::from(number));
        self.out.push(b' ');
        self.out.extend_from_slice(method.as_bytes());
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// The header fields of a [`Content`], then its end: Content-Type, Content-Length, the empty line, the body.
    pub fn finish(&mut self, content: &Content<'_>) {
        for (name, value) in content.headers {
            self.named(name, &[value.as_bytes()]);
        }
        if !content.content_type.is_empty() {
            self.field(Name::ContentType, &[content.content_type.as_bytes()]);
        }
        if content.body.is_empty() {
            return self.out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        }
        self.number(Name::ContentLength, content.body.len() as u64);
        self.out.extend_from_slice(b"\r\n");
        self.out.extend_from_slice(content.body);
    }
}

/// What the transaction user puts into a message: header fields and a body.
///
/// What the core writes itself (Via, From, To, Call-ID, CSeq, Max-Forwards, Content-Length …) does not belong here.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Content<'a> {
    /// Header fields by name and value, written in this order.
    pub headers: &'a [(&'a str, &'a str)],
    /// The media type of the body; empty if there is none.
    pub content_type: &'a str,
    /// The body, written as it is.
    pub body: &'a [u8],
}

impl<'a> Content<'a> {
    /// Neither headers nor body.
    pub const NONE: Self = Content { headers: &[], content_type: "", body: b"" };

    /// Only header fields.
    pub const fn headers(headers: &'a [(&'a str, &'a str)]) -> Self {
        Content { headers, ..Content::NONE }
    }

    /// Only a body.
    pub const fn body(content_type: &'a str, body: &'a [u8]) -> Self {
        Content { headers: &[], content_type, body }
    }

    /// Whether all of it can stand in a message: names are tokens, values hold no line end and no NUL, and no header
    /// is one that the core writes itself.
    ///
    /// # Errors
    /// The offset is the number of the header that can't be written.
    pub fn check(&self) -> Result<(), Error> {
        for (at, (name, value)) in self.headers.iter().enumerate() {
            let own = matches!(
                Name::lookup(name.as_bytes()),
                Name::Via
                    | Name::From
                    | Name::To
                    | Name::CallId
                    | Name::CSeq
                    | Name::MaxForwards
                    | Name::ContentLength
                    | Name::ContentType
            );
            if own || !lex::is_token(name.as_bytes()) || !is_text(value) {
                return Err(Error::new(at, ErrorKind::HeaderLine));
            }
        }
        if is_text(self.content_type) && (self.body.is_empty() || !self.content_type.is_empty()) {
            Ok(())
        } else {
            Err(Error::new(self.headers.len(), ErrorKind::Field(Name::ContentType)))
        }
    }
}

/// Whether a value can stand on one header line.
pub(crate) fn is_text(value: &str) -> bool {
    !value.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// Appends a number in decimal.
pub(crate) fn push_number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut from = digits.len();
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        from = at;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(from..).unwrap_or_default());
}

/// Sixteen lower-case hexadecimal digits.
pub(crate) fn hex(value: u64) -> [u8; 16] {
    let [high, low] = [hex_word((value >> 32) as u32), hex_word(value as u32)];
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}

/// Eight digits at once: the value is spread until each byte of a word holds four bits of it.
const fn hex_word(value: u32) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let mut word = value as u64;
    word = (word | word << 16) & 0x0000_ffff_0000_ffff;
    word = (word | word << 8) & 0x00ff_00ff_00ff_00ff;
    word = (word | word << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = (word + ONES * 6) >> 4 & ONES;
    word + ONES * b'0' as u64 + letters * (b'a' - b'0' - 10) as u64
}

/// Appends a number in sixteen lower-case hexadecimal digits.
pub(crate) fn push_hex(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&hex(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_whole() {
        let mut out = Vec::new();
        for value in [0, 7, 10, 4_294_967_295, 0x0123_4567_89ab_cdef, u64::MAX] {
            out.clear();
            push_number(&mut out, value);
            assert_eq!(out, std::format!("{value}").as_bytes());
            out.clear();
            push_hex(&mut out, value);
            assert_eq!(out, std::format!("{value:016x}").as_bytes());
        }
    }

    #[test]
    fn injection_is_refused() {
        for headers in [
            [("X", "a\r\nEvil: yes")],
            [("X\r\nEvil", "yes")],
            [("X", "nul\0")],
            [("Via", "SIP/2.0/UDP x")],
            [("v", "SIP/2.0/UDP x")],
            [("", "x")],
        ] {
            assert!(Content::headers(&headers).check().is_err(), "{headers:?}");
        }
        assert!(Content::body("text/plain\r\nX: y", b"").check().is_err());
        assert!(Content::body("", b"a body of no type").check().is_err());
        assert!(Content::headers(&[("Subject", "caf\u{e9}")]).check().is_ok());
    }
}
