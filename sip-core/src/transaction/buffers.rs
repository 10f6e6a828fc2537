//! Retained bytes: pooled buffers that stay where they are while anyone refers to them.

use alloc::vec::Vec;

/// A buffer in use. It lives until the last of its pins is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BufferId(u32);

/// Buffers in size classes; what is given back is used again.
pub(crate) struct Buffers {
    slots: Vec<Slot>,
    free: Vec<u32>,
    idle: [Vec<Vec<u8>>; CLASSES],
    idle_bytes: usize,
    max_idle: usize,
    retained: usize,
}

#[derive(Default)]
struct Slot {
    bytes: Vec<u8>,
    /// Where the message begins: a response has a gap before it for its status line.
    start: u32,
    pins: u32,
}

/// 512 bytes, 1 KiB … 8 KiB, and all above.
const CLASSES: usize = 6;
const SMALLEST: usize = 512;

fn class_for(length: usize) -> usize {
    (0..CLASSES - 1).find(|class| length <= SMALLEST << class).unwrap_or(CLASSES - 1)
}

impl Buffers {
    pub(crate) fn new(max_idle: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
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
            None => Vec::with_capacity(if class + 1 < CLASSES { SMALLEST << class } else { length }),
        };
        let slot = Slot { bytes, start: 0, pins: 1 };
        match self.free.pop() {
            Some(index) => {
                if let Some(free) = self.slots.get_mut(index as usize) {
                    *free = slot;
                }
                BufferId(index)
            }
            None => {
                self.slots.push(slot);
                BufferId(self.slots.len() as u32 - 1)
            }
        }
    }

    /// The message in the buffer.
    pub(crate) fn message(&self, id: BufferId) -> &[u8] {
        self.slots
            .get(id.0 as usize)
            .and_then(|slot| slot.bytes.get(slot.start as usize..))
            .unwrap_or_default()
    }

    /// All bytes of the buffer, what stands before the message included.
    pub(crate) fn whole(&self, id: BufferId) -> &[u8] {
        self.slots.get(id.0 as usize).map_or(&[], |slot| &slot.bytes)
    }

    /// Writes to the buffer; `write` returns where the message begins.
    ///
    /// The caller is its only owner: what others have pinned must not change.
    pub(crate) fn write(&mut self, id: BufferId, write: impl FnOnce(&mut Vec<u8>) -> usize) {
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            debug_assert!(slot.pins == 1, "a pinned buffer is written to");
            self.retained -= slot.bytes.len();
            slot.start = write(&mut slot.bytes) as u32;
            self.retained += slot.bytes.len();
        }
    }

    /// Whether anyone else refers to the buffer.
    pub(crate) fn is_shared(&self, id: BufferId) -> bool {
        self.slots.get(id.0 as usize).is_some_and(|slot| slot.pins > 1)
    }

    /// One more pin.
    pub(crate) fn pin(&mut self, id: BufferId) {
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            slot.pins += 1;
        }
    }

    /// One pin less; with the last the buffer is free.
    pub(crate) fn unpin(&mut self, id: BufferId) {
        let Some(slot) = self.slots.get_mut(id.0 as usize) else { return };
        slot.pins = slot.pins.saturating_sub(1);
        if slot.pins > 0 {
            return;
        }
        let mut bytes = core::mem::take(&mut slot.bytes);
        self.retained -= bytes.len();
        self.free.push(id.0);
        bytes.clear();
        let capacity = bytes.capacity();
        // The class whose every request this buffer can serve.
        let class = (0..CLASSES - 1).rev().find(|class| capacity >= SMALLEST << class);
        if self.idle_bytes + capacity <= self.max_idle {
            if let Some(idle) = class.and_then(|class| self.idle.get_mut(class)) {
                self.idle_bytes += capacity;
                idle.push(bytes);
            }
        }
    }

    /// Bytes in buffers that are in use.
    pub(crate) const fn retained(&self) -> usize {
        self.retained
    }

    #[cfg(test)]
    pub(crate) fn in_use(&self) -> usize {
        self.slots.len() - self.free.len()
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
        buffers.pin(first);
        assert!(buffers.is_shared(first));
        buffers.unpin(first);
        assert_eq!(buffers.message(first), b"message");
        assert_eq!((buffers.retained(), buffers.in_use()), (9, 1));
        buffers.unpin(first);
        assert_eq!((buffers.retained(), buffers.in_use()), (0, 0));
        let again = buffers.take(512);
        assert_eq!((again, buffers.message(again)), (first, &b""[..]));
        assert_eq!(buffers.idle_bytes, 0);
    }

    #[test]
    fn idle_bytes_are_capped() {
        let mut buffers = Buffers::new(1_000);
        let taken = [buffers.take(1), buffers.take(1), buffers.take(1)];
        for id in taken {
            buffers.unpin(id);
        }
        assert_eq!(buffers.idle_bytes, 512);
    }
}
