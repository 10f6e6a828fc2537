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

pub(crate) fn key(hash: &KeyedHash, call_id: &[u8], local_tag: &[u8], remote_tag: &[u8]) -> u128 {
    hash.of(&[b"d", call_id, local_tag, remote_tag])
}

/// The key of the dialog that a message belongs to.
pub(crate) fn by_message(hash: &KeyedHash, message: &Message<'_>, side: Side) -> u128 {
    let from = message.from_tag().unwrap_or_default();
    let to = message.to_tag().unwrap_or_default();
    match side {
        Side::Callee => key(hash, message.call_id(), to, from),
        Side::Caller => key(hash, message.call_id(), from, to),
    }
}
