//! One datagram, at most one message.

use crate::config::Limits;
use crate::message::{Error, ErrorKind, Parsed};

/// Reads the message in a datagram. What stands behind the body is dropped; without Content-Length the body ends with the
/// datagram (RFC 3261 §18.3).
pub(crate) fn read_datagram<'b>(bytes: &'b [u8], limits: &Limits, parsed: &mut Parsed<'b>) {
    let mut start = bytes;
    // RFC 3261 §7.5 says it of streams; phones put line ends before a datagram too.
    while let [b'\r', b'\n', rest @ ..] = start {
        start = rest;
    }
    parsed.read(start, limits);
    let body = parsed.message.body().len();
    match parsed.message.content_length() {
        Some(length) if length < body => {
            parsed.message.set_bytes(start.get(..start.len() - (body - length)).unwrap_or(start));
        }
        Some(length) if length > body => {
            parsed.fault.get_or_insert(Error::new(start.len(), ErrorKind::Truncated));
        }
        _ => {}
    }
}
