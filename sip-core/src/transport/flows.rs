//! Connections: which are open, and what waits for one to open.

use super::Target;
use crate::endpoint::Ticket;
use crate::handle::{FlowId, Slab};
use crate::time::Instant;
use crate::transaction::BufferId;
use alloc::collections::{BTreeMap, VecDeque};
#[cfg(feature = "snapshot")]
use alloc::vec::Vec;
use core::net::SocketAddr;

/// A connection.
pub(crate) struct Flow {
    pub(crate) target: Target,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) open: bool,
    /// Messages that are sent when it opens.
    pub(crate) waiting: VecDeque<Waiting>,
    /// The transactions that use it, first of a list through them.
    pub(crate) first_txn: u32,
    /// Somebody wants to know when it is gone.
    pub(crate) watched: bool,
    /// When bytes came last, if it is watched.
    pub(crate) heard: Option<Instant>,
    /// How many of this side's pings have no answer.
    pub(crate) pings: u8,
}

/// A message that waits for its connection.
#[derive(Clone)]
pub(crate) struct Waiting {
    pub(crate) buffer: BufferId,
    pub(crate) ticket: Ticket,
    /// A request is not sent when nobody waits for its answer any more. A response or an ACK is: on a reliable transport their
    /// transactions end at once.
    pub(crate) while_alive: bool,
}

/// All connections, by handle and by where they lead.
pub(crate) struct Flows {
    flows: Slab<Flow>,
    by_target: BTreeMap<Target, FlowId>,
    cap: usize,
}

impl Flows {
    pub(crate) const fn new(cap: usize) -> Self {
        Self { flows: Slab::new(), by_target: BTreeMap::new(), cap }
    }

    /// Enters a connection; nothing if there are too many.
    pub(crate) fn add(&mut self, target: Target, local: Option<SocketAddr>, open: bool) -> Option<FlowId> {
        if self.flows.len() >= self.cap {
            return None;
        }
        let flow = Flow {
            target,
            local,
            open,
            waiting: VecDeque::new(),
            first_txn: u32::MAX,
            watched: false,
            heard: None,
            pings: 0,
        };
        let id = FlowId(self.flows.insert(flow));
        self.by_target.insert(target, id);
        Some(id)
    }

    pub(crate) fn remove(&mut self, id: FlowId) -> Option<Flow> {
        let flow = self.flows.remove(id.0)?;
        if self.by_target.get(&flow.target) == Some(&id) {
            self.by_target.remove(&flow.target);
        }
        Some(flow)
    }

    /// The connection that leads to `target`.
    pub(crate) fn towards(&self, target: Target) -> Option<FlowId> {
        self.by_target.get(&target).copied()
    }

    /// The connection in this place of the table.
    pub(crate) fn at(&self, index: u32) -> Option<FlowId> {
        self.flows.key_at(index).map(FlowId)
    }

    pub(crate) fn get(&self, id: FlowId) -> Option<&Flow> {
        self.flows.get(id.0)
    }

    pub(crate) fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow> {
        self.flows.get_mut(id.0)
    }

    /// All connections.
    pub(crate) const fn all(&self) -> &Slab<Flow> {
        &self.flows
    }

    pub(crate) const fn len(&self) -> usize {
        self.flows.len()
    }
}

#[cfg(feature = "snapshot")]
impl Flows {
    /// Those that lead somewhere last.
    pub(crate) fn latest(&self) -> Vec<FlowId> {
        self.by_target.values().copied().collect()
    }

    /// The table that says the same, with another cap.
    pub(crate) fn of(flows: Slab<Flow>, latest: Vec<FlowId>) -> Self {
        let targets = latest.into_iter().filter_map(|id| Some((flows.get(id.0)?.target, id)));
        Self { by_target: targets.collect(), flows, cap: usize::MAX }
    }

    /// Takes what another table has.
    pub(crate) fn take_from(&mut self, other: Self) {
        *self = Self { cap: self.cap, ..other };
    }

    pub(crate) fn places(&self) -> usize {
        self.flows.places()
    }
}
