//! One datagram, at most one message.

use crate::config::Limits;
use crate::headers::{ContentLength, Header, Name};
use crate::message::{Error, ErrorKind, Malformed, Message, parse};

/// The message in a datagram. What stands behind the body is dropped; without Content-Length the body ends with the
/// datagram (RFC 3261 §18.3).
pub(crate) fn datagram<'b>(bytes: &'b [u8], limits: &Limits) -> Result<Message<'b>, Malformed<'b>> {
    let mut start = bytes;
    // RFC 3261 §7.5 says it of streams; phones put line ends before a datagram too.
    while let [b'\r', b'\n', rest @ ..] = start {
        start = rest;
    }
    let message = parse(start, limits)?;
    let Some(value) = message.value(Name::ContentLength) else { return Ok(message) };
    let length = ContentLength::whole(value).map_or(0, |length| length.0 as usize);
    let body = message.body().len();
    if length > body {
        let error = Error::new(start.len(), ErrorKind::Truncated);
        return Err(Malformed { error, partial: Some(message) });
    }
    let end = start.len() - (body - length);
    Ok(Message::borrowed(start.get(..end).unwrap_or(start), message.into_index()))
}
