//! Handles: small `Copy` names for what a machine keeps, each with a generation.

use alloc::vec::Vec;
use core::fmt;

/// Where something lies in a [`Slab`], and which of its successive tenants is meant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) index: u32,
    generation: u32,
}

impl Key {
    pub(crate) const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// A stale handle is an error ([`Misuse::Gone`](crate::Misuse::Gone)), never somebody else's.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub(crate) Key);

        impl $name {
            /// The handle as a number, for logs and for tables of the caller.
            pub const fn to_bits(self) -> u64 {
                self.0.to_bits()
            }

            /// The handle that `to_bits` gave.
            pub const fn from_bits(bits: u64) -> Self {
                Self(Key::from_bits(bits))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.0)
            }
        }
    )*};
}

handles! {
    /// A client transaction: an ICT or a NICT (RFC 3261 §17.1).
    ClientTxn;
    /// A server transaction: an IST or a NIST (RFC 3261 §17.2).
    ServerTxn;
    /// A flow: a connection, message-framed or a stream (RFC 5626 §3.1).
    FlowId;
    /// A question for addresses that is under way (RFC 3263).
    ResolveId;
    /// A dialog (RFC 3261 §12), by what names it on this side: Call-ID, local tag, remote tag.
    DialogId;
    /// An INVITE sent by this side and all that its forks answer (RFC 3261 §13.2).
    Invitation;
}

/// Values in fixed places that are used again; a place's generation tells its tenants apart.
pub(crate) struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Option<u32>,
    len: usize,
}

struct Entry<T> {
    generation: u32,
    state: State<T>,
}

enum State<T> {
    Free { next: Option<u32> },
    Used(T),
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), free: None, len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        self.len += 1;
        if let Some(index) = self.free {
            if let Some(entry) = self.entries.get_mut(index as usize) {
                if let State::Free { next } = entry.state {
                    self.free = next;
                }
                entry.state = State::Used(value);
                return Key { index, generation: entry.generation };
            }
        }
        let index = self.entries.len() as u32;
        self.entries.push(Entry { generation: 0, state: State::Used(value) });
        Key { index, generation: 0 }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.generation != key.generation || matches!(entry.state, State::Free { .. }) {
            return None;
        }
        let state = core::mem::replace(&mut entry.state, State::Free { next: self.free });
        entry.generation = entry.generation.wrapping_add(1);
        self.free = Some(key.index);
        self.len -= 1;
        match state {
            State::Used(value) => Some(value),
            State::Free { .. } => None,
        }
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        match self.entries.get(key.index as usize) {
            Some(Entry { generation, state: State::Used(value) }) if *generation == key.generation => {
                Some(value)
            }
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.entries.get_mut(key.index as usize) {
            Some(Entry { generation, state: State::Used(value) }) if *generation == key.generation => {
                Some(value)
            }
            _ => None,
        }
    }

    /// The key of whoever lives at `index` now.
    pub(crate) fn key_at(&self, index: u32) -> Option<Key> {
        match self.entries.get(index as usize) {
            Some(Entry { generation, state: State::Used(_) }) => Some(Key { index, generation: *generation }),
            _ => None,
        }
    }

    /// All that live here, in the order of their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| match &entry.state {
            State::Used(value) => Some((Key { index: index as u32, generation: entry.generation }, value)),
            State::Free { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_names_nobody() {
        let mut slab = Slab::new();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_eq!((first.index, second.index), (0, 0));
        assert_eq!((slab.get(first), slab.get(second)), (None, Some(&'b')));
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.len(), 1);
        assert_eq!(Key::from_bits(second.to_bits()), second);
    }
}
