//! How a dialog is found: Call-ID, local tag, remote tag (RFC 3261 §12). The URIs of From and To never count (RFC 4916).
//!
//! Tags are compared byte by byte: as tokens they would compare without case, but every peer makes and compares them as
//! opaque bytes, and nobody is helped by two dialogs that differ in case being one.

use crate::message::Message;
use crate::random::KeyedHash;

/// Whose tag stands where.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// A request from the peer: To has our tag.
    Callee,
    /// A response to us: From has our tag.
    Caller,
}

/// What names a dialog; a tag that is missing (RFC 2543) is empty.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id<'a> {
    pub(crate) call_id: &'a [u8],
    pub(crate) local_tag: &'a [u8],
    pub(crate) remote_tag: &'a [u8],
}

impl<'a> Id<'a> {
    /// The dialog that a message belongs to.
    pub(crate) fn of(message: &'a Message<'_>, side: Side) -> Self {
        let from = message.from_tag().unwrap_or_default();
        let to = message.to_tag().unwrap_or_default();
        let (local_tag, remote_tag) = if side == Side::Callee { (to, from) } else { (from, to) };
        Self { call_id: message.call_id(), local_tag, remote_tag }
    }

    /// The hash of what all dialogs of one set have in common: a few forks at most, which their remote tags tell apart.
    pub(crate) fn set_hash(&self, hash: &KeyedHash) -> u64 {
        hash.of(&[b"s", self.call_id, self.local_tag]) as u64
    }

    /// Whether both are of one set: what one request of this side has made.
    pub(crate) fn is_of_set(&self, other: &Id<'_>) -> bool {
        self.call_id == other.call_id && self.local_tag == other.local_tag
    }
}
