//! One datagram, at most one message.

use crate::config::Limits;
use crate::message::{Error, ErrorKind, Malformed, Message, parse};

/// The message in a datagram. What stands behind the body is dropped; without Content-Length the body ends with the
/// datagram (RFC 3261 §18.3).
#[inline]
pub(crate) fn datagram<'b>(bytes: &'b [u8], limits: &Limits) -> Result<Message<'b>, Malformed<'b>> {
    let mut start = bytes;
    // RFC 3261 §7.5 says it of streams; phones put line ends before a datagram too.
    while let [b'\r', b'\n', rest @ ..] = start {
        start = rest;
    }
    let mut parsed = parse(start, limits);
    let truncated = match &mut parsed {
        Ok(message) => {
            let (length, body) = (message.content_length(), message.body().len());
            match length {
                Some(length) if length < body => message.end_at(start, start.len() - (body - length)),
                _ => {}
            }
            length.is_some_and(|length| length > body)
        }
        Err(_) => false,
    };
    // A message is large: the one that is whole is not moved.
    if truncated {
        let error = Error::new(start.len(), ErrorKind::Truncated);
        parsed = parsed.and_then(|message| Err(Malformed { error, partial: Some(message) }));
    }
    parsed
}
