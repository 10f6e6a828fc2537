//! Responses made from requests (RFC 3261 §8.2.6).
//!
//! While the request is read, all that its responses repeat is copied into the buffer of the transaction, behind a gap:
//!
//! ```text
//! Timestamp | Request-URI | gap | Via … From Call-ID CSeq Record-Route … To
//! └ kept, not sent ───────┘     └ the skeleton ──────────────────────────┘
//! ```
//!
//! To answer, the status line is written into the gap so that it ends where the skeleton begins, and the rest behind it. The
//! buffer then is the response, to be sent again as it is, until another response cuts it back to its skeleton.

use crate::headers::{Header, Name, To};
use crate::message::{Message, Method, Status, hex, lex, push_hex, push_number};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

/// `SIP/2.0 nnn `, the longest reason phrase, CRLF.
const GAP: usize = 64;

/// Where the parts of a skeleton end in their buffer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Skeleton {
    pub(super) uri: u32,
    pub(super) to: u32,
    pub(super) end: u32,
    pub(super) timestamp: u16,
    /// Whether To had a tag in the request.
    pub(super) tagged: bool,
}

/// The To tag of a response, where the request had none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tag(pub(crate) u64);

impl Tag {
    /// Whether this is how the tag is spelt.
    pub(crate) fn is(self, text: &[u8]) -> bool {
        text.eq_ignore_ascii_case(&hex(self.0))
    }
}

impl Skeleton {
    /// Writes the skeleton of a request into an empty buffer. Of a malformed request it has what there is.
    pub(crate) fn write(out: &mut Vec<u8>, request: &Message<'_>, source: SocketAddr, uri: &[u8]) -> Self {
        let timestamp = request.value(Name::Timestamp).unwrap_or_default();
        // RFC 3261 §20.38: behind a blank stands the delay of whoever answered before; ours takes its place.
        let timestamp = timestamp.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        out.extend_from_slice(timestamp);
        let timestamp = out.len() as u16;
        out.extend_from_slice(uri);
        let uri = out.len() as u32;
        out.resize(out.len() + GAP, b' ');

        // RFC 3261 §12.1.1: the response that makes a dialog carries the route.
        let routed = matches!(
            request.request_method(),
            Some(Method::Invite | Method::Subscribe | Method::Notify | Method::Refer | Method::Update)
        );
        let (mut stamped, mut to) = (false, None);
        for (name, line, value) in request.raw_fields() {
            match name {
                Name::Via if !stamped => {
                    stamped = true;
                    out.extend_from_slice(b"Via: ");
                    crate::headers::stamped_via(out, value, &request.via(), request.asks(), source);
                }
                // As they stand, name and all: RFC 3261 §8.2.6.2 wants them equal.
                Name::Via | Name::From | Name::CallId | Name::CSeq => out.extend_from_slice(line),
                Name::RecordRoute if routed => out.extend_from_slice(line),
                Name::To => {
                    to = to.or(Some(line));
                    continue;
                }
                _ => continue,
            }
            out.extend_from_slice(b"\r\n");
        }
        let to_at = out.len() as u32;
        out.extend_from_slice(to.unwrap_or_default());
        Self {
            timestamp,
            uri,
            to: to_at,
            end: out.len() as u32,
            tagged: request.to_tag().is_some() || to.is_none(),
        }
    }

    /// The Request-URI that was kept.
    pub(crate) fn uri(self, whole: &[u8]) -> &[u8] {
        whole.get(self.timestamp as usize..self.uri as usize).unwrap_or_default()
    }

    /// The To tag of the request.
    pub(crate) fn to_tag(self, whole: &[u8]) -> Option<&[u8]> {
        let line = whole.get(self.to as usize..self.end as usize)?;
        let value = line.get(memchr::memchr(b':', line)? + 1..)?;
        To::whole(lex::trim(value)).ok()?.0.params.get("tag")
    }

    /// Whether it can be that of this buffer.
    #[cfg(feature = "snapshot")]
    pub(super) const fn is_sound(self, whole: &[u8]) -> bool {
        self.timestamp as u32 <= self.uri
            && self.uri as usize + GAP <= self.to as usize
            && self.to <= self.end
            && self.end as usize <= whole.len()
    }

    /// How much of the buffer any response of the request needs.
    pub(crate) const fn len(self) -> usize {
        self.end as usize
    }

    /// How much room a response with this tail needs in the buffer.
    pub(crate) const fn room(self, tail: usize) -> usize {
        // Behind it stand a tag and a line end, or the Timestamp of a 100 with its delay.
        let timestamp = if self.timestamp > 0 { self.timestamp as usize + 48 } else { 0 };
        self.end as usize + b";tag=0123456789abcdef\r\n".len() + timestamp + tail
    }

    /// Writes a response over whatever response stood in the buffer, and returns where it begins. The tail is its other headers and
    /// its body.
    ///
    /// `waited` is the time since the request, for the Timestamp of a 100 (RFC 3261 §8.2.6.1).
    pub(crate) fn respond(
        self,
        out: &mut Vec<u8>,
        status: Status,
        tag: Tag,
        waited: Duration,
        tail: &[u8],
    ) -> usize {
        out.truncate(self.end as usize);
        // RFC 3261 §8.2.6.2: every response but 100 has a To tag, always the same.
        if !self.tagged && status != Status::TRYING {
            out.extend_from_slice(b";tag=");
            push_hex(out, tag.0);
        }
        if !out.ends_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        if status == Status::TRYING && self.timestamp > 0 {
            out.extend_from_slice(b"Timestamp: ");
            out.extend_from_within(..self.timestamp as usize);
            if !waited.is_zero() {
                let millis = waited.as_millis() as u64;
                out.push(b' ');
                push_number(out, millis / 1_000);
                out.push(b'.');
                out.extend((0..3).rev().map(|place| b'0' + (millis / 10_u64.pow(place) % 10) as u8));
            }
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(tail);
        self.status_line(out, status)
    }

    fn status_line(self, out: &mut [u8], status: Status) -> usize {
        let code = status.code();
        let digit = |value: u16| b'0' + (value % 10) as u8;
        let code = [digit(code / 100), digit(code / 10), digit(code), b' '];
        let mut end = self.uri as usize + GAP;
        for part in [b"\r\n", status.reason().as_bytes(), &code, b"SIP/2.0 "] {
            let start = end.saturating_sub(part.len());
            if let Some(place) = out.get_mut(start..end) {
                place.copy_from_slice(part);
            }
            end = start;
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_fits_the_gap() {
        for code in 100..700 {
            let reason = Status::new(code).unwrap().reason();
            assert!(b"SIP/2.0 100 \r\n".len() + reason.len() <= GAP, "{reason}");
        }
    }
}
