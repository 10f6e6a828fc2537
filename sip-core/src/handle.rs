//! Handles: small `Copy` names for what a machine keeps, each with a generation.

use crate::paged::Paged;
#[cfg(feature = "snapshot")]
use crate::snapshot::{In, Keep, Out, RestoreError};
#[cfg(feature = "snapshot")]
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
    /// A request that a user agent sends, with all the transactions that it takes: one more for each time that it is sent again, with
    /// credentials or after a collision.
    RequestId;
    /// A subscription of either side (RFC 6665), or what is left of a REFER (RFC 3515). Each fork that notifies has its own.
    SubscriptionId;
    /// A registration of this side (RFC 3261 §10.2), as long as it is kept up.
    RegistrationId;
    /// A publication of this side (RFC 3903), as long as it is kept up.
    PublicationId;
    /// A response context (RFC 3261 §16.6): a request that a proxy has taken, with all that it was forwarded to.
    ContextId;
    /// One of the places that a request was forwarded to (RFC 3261 §16.6): a client transaction of its response context.
    BranchId;
}

/// Values in fixed places that are used again; a place's generation tells its tenants apart.
pub(crate) struct Slab<T> {
    entries: Paged<Entry<T>>,
    free: u32,
    len: usize,
}

struct Entry<T> {
    generation: u32,
    /// While the place is empty: the next one that is.
    free: u32,
    value: Option<T>,
}

/// No place.
const NONE: u32 = u32::MAX;

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { entries: Paged::new(), free: NONE, len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        self.len += 1;
        match self.entries.get_mut(self.free) {
            Some(entry) => {
                let index = core::mem::replace(&mut self.free, entry.free);
                entry.value = Some(value);
                Key { index, generation: entry.generation }
            }
            None => {
                let index = self.entries.push(Entry { generation: 0, free: NONE, value: Some(value) });
                Key { index, generation: 0 }
            }
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get_mut(key.index).filter(|entry| entry.generation == key.generation)?;
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        entry.free = core::mem::replace(&mut self.free, key.index);
        self.len -= 1;
        Some(value)
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        self.entries.get(key.index).filter(|entry| entry.generation == key.generation)?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.entries.get_mut(key.index).filter(|entry| entry.generation == key.generation)?.value.as_mut()
    }

    /// Whoever lives at `index` now.
    pub(crate) fn at(&self, index: u32) -> Option<&T> {
        self.entries.get(index)?.value.as_ref()
    }

    /// Whoever lives at `index` now.
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.entries.get_mut(index)?.value.as_mut()
    }

    /// The key of whoever lives at `index` now.
    pub(crate) fn key_at(&self, index: u32) -> Option<Key> {
        let entry = self.entries.get(index).filter(|entry| entry.value.is_some())?;
        Some(Key { index, generation: entry.generation })
    }

    /// All that live here, in the order of their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| {
            let value = entry.value.as_ref()?;
            Some((Key { index: index as u32, generation: entry.generation }, value))
        })
    }
}

#[cfg(feature = "snapshot")]
impl<T> Slab<T> {
    /// How many places there are, empty ones too.
    pub(crate) fn places(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(feature = "snapshot")]
/// Its places with their generations, and the order in which the empty ones are used again.
impl<T: Keep> Keep for Slab<T> {
    fn keep(&self, out: &mut Out<'_>) {
        out.list(2);
        out.list(self.entries.len());
        for entry in self.entries.iter() {
            out.list(2);
            entry.generation.keep(out);
            entry.value.keep(out);
        }
        let mut free = Vec::new();
        let mut next = self.free;
        while let Some(entry) = self.entries.get(next) {
            free.push(next);
            next = entry.free;
        }
        free.keep(out);
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        let mut slab = Self::new();
        if from.list()? != 2 {
            return Err(RestoreError::Damaged);
        }
        let length = from.list()?;
        for _ in 0..length {
            if from.list()? != 2 {
                return Err(RestoreError::Damaged);
            }
            let (generation, value) = (u32::back(from)?, Option::<T>::back(from)?);
            slab.len += usize::from(value.is_some());
            slab.entries.push(Entry { generation, free: NONE, value });
        }
        // Every empty place once, and nobody else's.
        let free = Vec::<u32>::back(from)?;
        if free.len() != slab.entries.len() - slab.len {
            return Err(RestoreError::Damaged);
        }
        let mut seen = alloc::collections::BTreeSet::new();
        for place in free.into_iter().rev() {
            let next = core::mem::replace(&mut slab.free, place);
            match slab.entries.get_mut(place).filter(|entry| entry.value.is_none()) {
                Some(entry) if seen.insert(place) => entry.free = next,
                _ => return Err(RestoreError::Damaged),
            }
        }
        Ok(slab)
    }

    fn missing() -> Result<Self, RestoreError> {
        Ok(Self::new())
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
