//! The one queue of outputs. Each says all there is to say, so that it is the same whenever it is drained.

use super::buffers::{BufferId, Buffers};
use crate::endpoint::{Destination, Ticket};
use crate::handle::{FlowId, ResolveId};
use crate::transport::{Target, Transport};
use alloc::collections::VecDeque;

/// One output in the queue. An event is only marked here: its owner keeps the events, in the same order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item {
    Transmit {
        to: Destination,
        buffer: BufferId,
        ticket: Ticket,
        again: bool,
    },
    Connect {
        flow: FlowId,
        target: Target,
    },
    Close(FlowId),
    /// The buffer holds the name.
    Resolve {
        id: ResolveId,
        buffer: BufferId,
        port: u16,
        transport: Transport,
    },
    Event,
}

/// First in, first out.
pub(crate) struct Outbox {
    items: VecDeque<Item>,
    /// The buffer that the last output lends.
    lent: Option<BufferId>,
    /// Marks at the front of the queue whose events were taken out of turn.
    overtaken: usize,
    cap: usize,
    lost: u64,
}

impl Outbox {
    pub(crate) const fn new(cap: usize) -> Self {
        Self { items: VecDeque::new(), lent: None, overtaken: 0, cap, lost: 0 }
    }

    /// Queues a message and pins its buffer. What is only a repetition is lost when the queue is full.
    pub(crate) fn transmit(
        &mut self,
        buffers: &mut Buffers,
        to: Destination,
        buffer: BufferId,
        ticket: Ticket,
        again: bool,
    ) {
        if again && self.items.len() >= self.cap {
            self.lost += 1;
            return;
        }
        buffers.pin(buffer);
        self.items.push_back(Item::Transmit { to, buffer, ticket, again });
    }

    pub(crate) fn push(&mut self, item: Item) {
        self.items.push_back(item);
    }

    /// Whether a message that nobody waits for still has room.
    pub(crate) fn has_room(&self) -> bool {
        self.items.len() < self.cap
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.len() == self.overtaken
    }

    /// The next output. The buffer of the one before is given back.
    pub(crate) fn pop(&mut self, buffers: &mut Buffers) -> Option<Item> {
        if let Some(lent) = self.lent.take() {
            buffers.unpin(lent);
        }
        loop {
            let item = self.items.pop_front()?;
            match item {
                Item::Event if self.overtaken > 0 => self.overtaken -= 1,
                Item::Transmit { buffer, .. } | Item::Resolve { buffer, .. } => {
                    self.lent = Some(buffer);
                    return Some(item);
                }
                _ => return Some(item),
            }
        }
    }

    /// The owner took its first event though outputs stand before it.
    pub(crate) const fn overtake(&mut self) {
        self.overtaken += 1;
    }

    /// Repetitions that were lost because the queue was full.
    pub(crate) const fn lost(&self) -> u64 {
        self.lost
    }
}
