//! Where everything is in a message: small integers beside the bytes, so that the bytes may be borrowed,
//! owned or moved.

use super::Method;
use crate::headers::{Asks, Name};
use smallvec::SmallVec;

/// A stretch of the message.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    at: u32,
    len: u32,
}

/// Where `part`, a slice of `whole`, begins in it.
#[inline]
pub(crate) fn offset_in(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

impl Span {
    /// Where `part`, a slice of `whole`, lies in it; nowhere if it is none.
    #[inline]
    pub(crate) fn of(whole: &[u8], part: &[u8]) -> Self {
        let at = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        if at > whole.len() || part.is_empty() {
            return Self::default();
        }
        Self { at: at as u32, len: part.len() as u32 }
    }

    pub(crate) fn get(self, whole: &[u8]) -> &[u8] {
        let at = self.at as usize;
        whole.get(at..at + self.len as usize).unwrap_or_default()
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The span once `range`, if it lies in it, is replaced by `new` bytes.
    pub(crate) fn grown(self, range: &core::ops::Range<usize>, new: usize) -> Self {
        let (start, end) = (self.at as usize, self.at as usize + self.len as usize);
        if start <= range.start && range.end <= end {
            Self { at: self.at, len: (end - start + new - range.len()) as u32 }
        } else {
            self
        }
    }
}

/// One header field: eight bytes.
///
/// The offset has 24 bits, so a message is at most 16 MiB; a line at most 64 KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// Offset of the value, and the name's number in the lowest byte.
    value_and_name: u32,
    /// Length of the value without surrounding blanks.
    len: u16,
    /// From the start of the line to its value.
    back: u16,
}

/// The largest message that an index can describe.
pub(crate) const MAX_MESSAGE: usize = 1 << 24;
/// The longest line that it can describe.
pub(crate) const MAX_LINE: usize = u16::MAX as usize;

impl Line {
    /// A field whose line starts at `start`; the caller has held line and message to their limits.
    pub(crate) const fn new(name: Name, start: usize, value: usize, len: usize) -> Self {
        Self {
            value_and_name: (value as u32) << 8 | name.id() as u32,
            len: len as u16,
            back: value.wrapping_sub(start) as u16,
        }
    }

    pub(crate) const fn id(self) -> u8 {
        self.value_and_name as u8
    }

    pub(crate) fn name(self) -> Name {
        Name::from_id(self.id())
    }

    pub(crate) const fn start(self) -> usize {
        (self.value_and_name >> 8) as usize - self.back as usize
    }

    pub(crate) const fn len(self) -> usize {
        self.len as usize
    }

    /// From the start of the line to its value.
    pub(crate) const fn back(self) -> usize {
        self.back as usize
    }

    pub(crate) fn value(self, whole: &[u8]) -> &[u8] {
        let at = (self.value_and_name >> 8) as usize;
        whole.get(at..at + self.len as usize).unwrap_or_default()
    }

    /// Name, colon and value as they stand, without the line's end.
    pub(crate) fn raw(self, whole: &[u8]) -> &[u8] {
        let end = (self.value_and_name >> 8) as usize + self.len as usize;
        whole.get(self.start()..end).unwrap_or_default()
    }

    /// The name as it is spelt in the message.
    pub(crate) fn spelt(self, whole: &[u8]) -> &[u8] {
        let line = whole.get(self.start()..).unwrap_or_default();
        let end = line.iter().position(|byte| matches!(byte, b':' | b' ' | b'\t' | b'\r')).unwrap_or(0);
        line.get(..end).unwrap_or_default()
    }
}

/// The start line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    /// The first line is none, or was not read.
    Unread,
    Request {
        method: Span,
        /// The method, if it is known by name.
        known: Option<Method<'static>>,
        uri: Span,
    },
    Response {
        status: u16,
        reason: Span,
    },
}

/// A header value of the form `name-addr *(;param)`.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct AddressSpans {
    pub(crate) display: Span,
    pub(crate) uri: Span,
    pub(crate) params: Span,
    pub(crate) tag: Span,
}

/// The top Via.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct ViaSpans {
    pub(crate) transport: Span,
    pub(crate) host: Span,
    /// Zero if there is none.
    pub(crate) port: u16,
    pub(crate) params: Span,
    pub(crate) branch: Span,
    pub(crate) asks: Asks,
}

/// The whole index.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub(crate) start: Start,
    pub(crate) lines: SmallVec<[Line; 64]>,
    /// Offset of the body.
    pub(crate) body: u32,
    pub(crate) via: ViaSpans,
    pub(crate) from: AddressSpans,
    pub(crate) to: AddressSpans,
    pub(crate) call_id: Span,
    pub(crate) cseq: u32,
    pub(crate) cseq_method: Span,
    pub(crate) max_forwards: Option<u8>,
    pub(crate) content_length: Option<u32>,
}

impl Index {
    /// The index of a message of which nothing is read yet.
    pub(crate) fn new() -> Self {
        Self {
            start: Start::Unread,
            lines: SmallVec::new(),
            body: 0,
            via: ViaSpans::default(),
            from: AddressSpans::default(),
            to: AddressSpans::default(),
            call_id: Span::default(),
            cseq: 0,
            cseq_method: Span::default(),
            max_forwards: None,
            content_length: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_takes_eight_bytes() {
        assert_eq!(size_of::<Line>(), 8);
    }

    #[test]
    fn a_span_survives_a_copy_of_the_bytes() {
        let bytes = b"abcdef".to_vec();
        let span = Span::of(&bytes, &bytes[2..4]);
        assert_eq!(span.get(&bytes.clone()), b"cd");
        assert_eq!(Span::of(&bytes, b"").get(&bytes), b"");
        assert!(Span::of(b"x", b"elsewhere").get(b"x").is_empty());
    }
}
