//! A byte stream cut into messages.

use crate::config::Limits;
use crate::headers::{ContentLength, Header, Name};
use crate::message::{Error, ErrorKind, Fields, Parsed};
use alloc::vec::Vec;
use core::ops::Range;

/// The bytes of one connection that are not used up yet. The adapter keeps one for each flow.
///
/// Its size is bounded: after [`Machine::stream`](crate::Machine::stream) has returned `None`, less than one message is left,
/// and a message is never larger than [`Limits::message`].
#[derive(Debug, Default)]
pub struct StreamBuf {
    bytes: Vec<u8>,
    /// What stands before is used up.
    start: usize,
    /// What stands before has been searched for the end of the header section.
    searched: usize,
    /// Where the message that begins at `start` ends, once its header section is whole.
    end: Option<usize>,
    /// Line ends since the last message: two are a ping.
    line_ends: u8,
    broken: bool,
}

/// What stands at the front of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Framed {
    /// A whole message.
    Message(Range<usize>),
    /// Two line ends: the peer asks whether the connection lives (RFC 5626 §3.5.1).
    Ping,
    /// The stream can't be cut any further; the range is what could be read of the message.
    Broken(Range<usize>, ErrorKind),
}

impl StreamBuf {
    /// An empty buffer.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), start: 0, searched: 0, end: None, line_ends: 0, broken: false }
    }

    /// Appends what was read from the connection.
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.broken {
            return;
        }
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.searched -= self.start.min(self.searched);
            self.end = self.end.map(|end| end - self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes that are not used up.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether all bytes are used up.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn slice(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    /// Takes one line end off the front, if there is one and the message before is whole.
    pub(crate) fn skip_line_end(&mut self) -> bool {
        let is_there = self.line_ends == 0 && self.bytes.get(self.start..self.start + 2) == Some(b"\r\n");
        if is_there {
            self.start += 2;
            self.searched = self.start;
        }
        is_there
    }

    /// Takes the next message off the front; `None` if it is not whole yet.
    pub(crate) fn next(&mut self, limits: &Limits) -> Option<Framed> {
        if self.broken {
            return None;
        }
        while let Some([b'\r', b'\n']) = self.bytes.get(self.start..self.start + 2) {
            self.start += 2;
            self.searched = self.start;
            self.line_ends += 1;
            if self.line_ends == 2 {
                self.line_ends = 0;
                return Some(Framed::Ping);
            }
        }
        // A line end that is cut in two is no message yet.
        if matches!(self.bytes.get(self.start..), Some([] | [b'\r']) | None) {
            return None;
        }
        let end = match self.end {
            Some(end) => end,
            None => match self.find_end(limits)? {
                Ok(end) => *self.end.insert(end),
                Err(broken) => {
                    self.broken = true;
                    return Some(broken);
                }
            },
        };
        if self.bytes.len() < end {
            return None;
        }
        let range = self.start..end;
        (self.start, self.searched, self.end, self.line_ends) = (end, end, None, 0);
        Some(Framed::Message(range))
    }

    /// Where the message ends, once its header section is whole. No byte is searched twice.
    fn find_end(&mut self, limits: &Limits) -> Option<Result<usize, Framed>> {
        let broken = |range, kind| Some(Err(Framed::Broken(range, kind)));
        let from = self.searched.max(self.start);
        let Some(at) = self.bytes.get(from..).and_then(|rest| memchr::memmem::find(rest, b"\r\n\r\n")) else {
            // The last three bytes may be the beginning of the end.
            self.searched = self.bytes.len().saturating_sub(3).max(self.start);
            if self.len() > limits.header_section {
                return broken(self.start..self.bytes.len(), ErrorKind::TooLarge);
            }
            return None;
        };
        let head = self.start..from + at + 4;
        match content_length(self.slice(head.clone())) {
            Some(Ok(length)) => match head.end.checked_add(length) {
                Some(end) if end - head.start <= limits.message => Some(Ok(end)),
                _ => broken(head, ErrorKind::TooLarge),
            },
            Some(Err(kind)) => broken(head, kind),
            None => broken(head, ErrorKind::NoContentLength),
        }
    }
}

/// The value of Content-Length in a header section; nothing if there is none. Two of them, or one that is no number,
/// leave no way to tell where the message ends.
fn content_length(head: &[u8]) -> Option<Result<usize, ErrorKind>> {
    let mut lengths = Fields::of_message(head)
        .filter_map(Result::ok)
        .filter(|field| field.name == Name::ContentLength)
        .map(|field| ContentLength::whole(field.value));
    let length = lengths.next()?.map(|length| length.0 as usize);
    Some(match lengths.next() {
        Some(_) => Err(ErrorKind::Repeated(Name::ContentLength)),
        None => length.map_err(|_| ErrorKind::Field(Name::ContentLength)),
    })
}

/// Reads the message of a frame.
pub(crate) fn read_frame<'b>(
    bytes: &'b [u8],
    fault: Option<ErrorKind>,
    limits: &Limits,
    parsed: &mut Parsed<'b>,
) {
    parsed.read(bytes, limits);
    if let Some(kind) = fault {
        parsed.fault = Some(Error::new(bytes.len(), kind));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TWO: &[u8] = b"\r\nOPTIONS sip:a SIP/2.0\r\nContent-Length : 4\r\nX: 1\r\n\r\nbody\r\n\r\n\
                        BYE sip:a SIP/2.0\r\nl:0\r\n\r\n\r\n\r\nrest";

    fn frames(buf: &mut StreamBuf) -> Vec<std::string::String> {
        let mut out = Vec::new();
        while let Some(framed) = buf.next(&Limits::DEFAULT) {
            out.push(match framed {
                Framed::Message(range) => std::string::String::from_utf8(buf.slice(range).into()).unwrap(),
                Framed::Ping => "ping".into(),
                Framed::Broken(_, kind) => std::format!("{kind}"),
            });
        }
        out
    }

    #[test]
    fn messages_and_pings() {
        let mut buf = StreamBuf::new();
        buf.extend(TWO);
        let found = frames(&mut buf);
        assert_eq!(found.len(), 4);
        assert!(
            found[0].ends_with("body")
                && found[1] == "ping"
                && found[2].starts_with("BYE")
                && found[3] == "ping"
        );
        assert_eq!(buf.len(), 4);
    }

    proptest! {
        /// Any cutting of the stream gives the same frames.
        #[test]
        fn cuts_change_nothing(cuts in prop::collection::vec(1..20_usize, 0..60)) {
            let mut whole = StreamBuf::new();
            whole.extend(TWO);
            let expected = frames(&mut whole);
            let (mut buf, mut found, mut rest) = (StreamBuf::new(), Vec::new(), TWO);
            for cut in cuts.into_iter().chain([TWO.len()]) {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                buf.extend(now);
                found.extend(frames(&mut buf));
                rest = later;
            }
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_can_not_be_cut_breaks_the_stream() {
        for (text, error) in [
            (&b"OPTIONS sip:a SIP/2.0\r\nX: 1\r\n\r\n"[..], "no Content-Length on a stream"),
            (
                b"OPTIONS sip:a SIP/2.0\r\nl:\r\n 1\r\nContent-Length: 1\r\n\r\n",
                "more than one Content-Length",
            ),
            (b"OPTIONS sip:a SIP/2.0\r\nl: 18446744073709551615\r\n\r\n", "malformed Content-Length"),
            (b"OPTIONS sip:a SIP/2.0\r\nl: 4294967295\r\n\r\n", "larger than the configured limit"),
        ] {
            let mut buf = StreamBuf::new();
            buf.extend(text);
            assert_eq!(frames(&mut buf), [error]);
            buf.extend(TWO);
            assert!(frames(&mut buf).is_empty());
        }
        let mut endless = StreamBuf::new();
        for _ in 0..(Limits::DEFAULT.header_section / 1_000) {
            endless.extend(&[b'a'; 1_000]);
            assert!(frames(&mut endless).is_empty());
        }
        endless.extend(&[b'a'; 1_000]);
        assert_eq!(frames(&mut endless), ["larger than the configured limit"]);
    }
}
