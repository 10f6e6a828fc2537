//! Retained bytes: pooled buffers that stay where they are while anyone refers to them.

use crate::paged::Paged;
use alloc::vec::Vec;

/// A buffer in use. It lives until the last of its pins is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BufferId(u32);

impl BufferId {
    /// No buffer.
    pub(crate) const NONE: Self = Self(u32::MAX);

    /// Its place.
    #[cfg(feature = "snapshot")]
    pub(crate) const fn number(self) -> u32 {
        self.0
    }
}

/// Buffers in size classes; what is given back is used again.
pub(crate) struct Buffers {
    slots: Paged<Slot>,
    free: u32,
    idle: [Vec<Vec<u8>>; CLASSES],
    idle_bytes: usize,
    max_idle: usize,
    retained: usize,
}

struct Slot {
    bytes: Vec<u8>,
    /// Where the message begins: a response has a gap before it for its status line. Of a free slot: the next one.
    start: u32,
    pins: u32,
}

/// Steps of 64 bytes up to 1 KiB, then 2, 4 and 8 KiB, and all above: many buffers are held, and few are large.
const CLASSES: usize = 20;
const STEP: usize = 64;
const STEPS: usize = 16;

/// The least class whose buffers hold `length` bytes.
fn class_for(length: usize) -> usize {
    match length.div_ceil(STEP) {
        steps @ 0..=STEPS => steps.saturating_sub(1),
        _ => (STEPS..CLASSES - 1).find(|class| length <= size_of_class(*class)).unwrap_or(CLASSES - 1),
    }
}

/// The size of the buffers of a class; of the last one: more than this.
const fn size_of_class(class: usize) -> usize {
    if class < STEPS { (class + 1) * STEP } else { (STEP * STEPS) << (class + 1 - STEPS) }
}

impl Buffers {
    pub(crate) fn new(max_idle: usize) -> Self {
        Self {
            slots: Paged::new(),
            free: u32::MAX,
            idle: Default::default(),
            idle_bytes: 0,
            max_idle,
            retained: 0,
        }
    }

    /// An empty buffer with one pin and room for `length` bytes.
    pub(crate) fn take(&mut self, length: usize) -> BufferId {
        let class = class_for(length);
        let bytes = match self.idle.get_mut(class).and_then(Vec::pop) {
            Some(bytes) => {
                self.idle_bytes -= bytes.capacity();
                bytes
            }
            None => Vec::with_capacity(if class + 1 < CLASSES { size_of_class(class) } else { length }),
        };
        match self.slots.get_mut(self.free) {
            Some(slot) => {
                let index = core::mem::replace(&mut self.free, slot.start);
                *slot = Slot { bytes, start: 0, pins: 1 };
                BufferId(index)
            }
            None => BufferId(self.slots.push(Slot { bytes, start: 0, pins: 1 })),
        }
    }

    /// A buffer with one pin that holds a copy of a message.
    pub(crate) fn keep(&mut self, message: &[u8]) -> BufferId {
        let id = self.take(message.len());
        self.write(id, |out| {
            out.extend_from_slice(message);
            0
        });
        id
    }

    /// The message in the buffer.
    pub(crate) fn message(&self, id: BufferId) -> &[u8] {
        self.slots.get(id.0).and_then(|slot| slot.bytes.get(slot.start as usize..)).unwrap_or_default()
    }

    /// All bytes of the buffer, what stands before the message included.
    pub(crate) fn whole(&self, id: BufferId) -> &[u8] {
        self.slots.get(id.0).map_or(&[], |slot| &slot.bytes)
    }

    /// Writes to the buffer; `write` returns where the message begins.
    ///
    /// The caller is its only owner: what others have pinned must not change.
    pub(crate) fn write(&mut self, id: BufferId, write: impl FnOnce(&mut Vec<u8>) -> usize) {
        if let Some(slot) = self.slots.get_mut(id.0) {
            debug_assert!(slot.pins == 1, "a pinned buffer is written to");
            self.retained -= slot.bytes.len();
            slot.start = write(&mut slot.bytes) as u32;
            self.retained += slot.bytes.len();
        }
    }

    /// Whether a message that ends after `length` bytes can be written here: it has the room, and nobody else refers to it.
    pub(crate) fn is_writable(&self, id: BufferId, length: usize) -> bool {
        self.slots.get(id.0).is_some_and(|slot| slot.pins == 1 && slot.bytes.capacity() >= length)
    }

    /// A buffer with room for `length` bytes in place of this one, which gives up a pin. The first `kept` bytes are copied.
    pub(crate) fn replace(&mut self, id: BufferId, kept: usize, length: usize) -> BufferId {
        let new = self.take(length);
        // Taken out and put back, because two slots can't be borrowed at once.
        let mut bytes =
            self.slots.get_mut(new.0).map(|slot| core::mem::take(&mut slot.bytes)).unwrap_or_default();
        bytes.extend_from_slice(self.whole(id).get(..kept).unwrap_or_default());
        self.retained += bytes.len();
        if let Some(slot) = self.slots.get_mut(new.0) {
            slot.bytes = bytes;
        }
        self.unpin(id);
        new
    }

    /// Where the message begins in it.
    #[cfg(feature = "snapshot")]
    pub(crate) fn start(&self, id: BufferId) -> u32 {
        self.slots.get(id.0).map_or(0, |slot| slot.start)
    }

    /// One more pin.
    pub(crate) fn pin(&mut self, id: BufferId) {
        if let Some(slot) = self.slots.get_mut(id.0) {
            slot.pins += 1;
        }
    }

    /// One pin less; with the last the buffer is free.
    pub(crate) fn unpin(&mut self, id: BufferId) {
        let Some(slot) = self.slots.get_mut(id.0) else { return };
        slot.pins = slot.pins.saturating_sub(1);
        if slot.pins > 0 {
            return;
        }
        let mut bytes = core::mem::take(&mut slot.bytes);
        slot.start = core::mem::replace(&mut self.free, id.0);
        self.retained -= bytes.len();
        bytes.clear();
        let capacity = bytes.capacity();
        // The class whose every request this buffer can serve: the one before the first that is too large for it.
        let class = class_for(capacity + 1).wrapping_sub(1);
        // What is much larger than its class would be held by small messages.
        if capacity <= 2 * size_of_class(CLASSES - 2) && self.idle_bytes + capacity <= self.max_idle {
            if let Some(idle) = self.idle.get_mut(class) {
                self.idle_bytes += capacity;
                idle.push(bytes);
            }
        }
    }

    /// Bytes in buffers that are in use.
    pub(crate) const fn retained(&self) -> usize {
        self.retained
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_lives_until_its_last_pin_and_is_used_again() {
        let mut buffers = Buffers::new(1 << 20);
        let first = buffers.take(100);
        buffers.write(first, |out| {
            out.extend_from_slice(b"..message");
            2
        });
        assert!(buffers.is_writable(first, 128) && !buffers.is_writable(first, 129));
        buffers.pin(first);
        assert!(!buffers.is_writable(first, 1));
        buffers.unpin(first);
        assert_eq!((buffers.message(first), buffers.retained()), (&b"message"[..], 9));
        buffers.unpin(first);
        assert_eq!((buffers.retained(), buffers.idle_bytes), (0, 128));
        let again = buffers.take(65);
        assert_eq!((again, buffers.message(again)), (first, &b""[..]));
        assert_eq!(buffers.idle_bytes, 0);
    }

    #[test]
    fn a_replaced_buffer_keeps_its_start() {
        let mut buffers = Buffers::new(1 << 20);
        let first = buffers.keep(b"skeleton, response");
        buffers.pin(first);
        let second = buffers.replace(first, 8, 100);
        assert_eq!(buffers.message(first), b"skeleton, response");
        assert_eq!((buffers.whole(second), buffers.retained()), (&b"skeleton"[..], 26));
    }

    #[test]
    fn classes_hold_what_they_promise() {
        for length in 0..20_000 {
            let class = class_for(length);
            assert!(class == CLASSES - 1 || size_of_class(class) >= length, "{length}");
            assert!(class == 0 || size_of_class(class - 1) < length, "{length}");
        }
        // A buffer that has grown serves its new class.
        let mut buffers = Buffers::new(1 << 20);
        let id = buffers.take(10);
        buffers.write(id, |out| {
            out.resize(700, 0);
            0
        });
        buffers.unpin(id);
        let again = buffers.take(640);
        assert!(buffers.is_writable(again, 640));
        assert_eq!(buffers.idle_bytes, 0);
    }

    #[test]
    fn idle_bytes_are_capped() {
        let mut buffers = Buffers::new(100);
        let taken = [buffers.take(1), buffers.take(1), buffers.take(1)];
        for id in taken {
            buffers.unpin(id);
        }
        assert_eq!(buffers.idle_bytes, 64);
    }
}
