//! What is kept of one transaction. A million of them are alive at once, so their size is watched.

use super::buffers::BufferId;
use super::skeleton::Skeleton;
use super::{State, Timers};
use crate::endpoint::{Cause, Destination};
use crate::handle::FlowId;
use crate::time::Instant;
use crate::transport::{PackedAddr, Reliability, Target, Transport};
use alloc::sync::Arc;

/// A transaction in the table of its layer.
pub(super) struct Record {
    pub(super) state: State,
    /// Nobody is told of it: the transactions of a CANCEL.
    pub(super) silent: bool,
    /// Server: copies of its request are absorbed, and not answered.
    pub(super) muted: bool,
    /// Server: it counts among those that wait for their user; what ends something does not.
    pub(super) counted: bool,
    pub(super) cause: Cause,
    /// ICT: the highest provisional code that came, less 100.
    pub(super) rang: u8,
    pub(super) transport: Transport,
    /// Where its messages go: at once, or over another connection when the flow is gone.
    pub(super) peer: PackedAddr,
    pub(super) way: Way,
    /// Client: the request. Server: skeleton and last response.
    pub(super) buffer: BufferId,
    /// The ACK that an ICT has sent.
    pub(super) ack: BufferId,
    /// The present interval of the timer that repeats, in microseconds; it stays below 71 minutes.
    pub(super) interval: u32,
    pub(super) skeleton: Skeleton,
    pub(super) user: u64,
    /// Client: the random part of the branch. Server: the To tag.
    pub(super) secret: u64,
    /// Its own timers, if it was given some.
    pub(super) timers: Option<Arc<Timers>>,
    pub(super) born: Instant,
    /// Server: what its request is matched with. The NICT of a CANCEL: the branch that it shares.
    pub(super) key: Key128,
    /// Server: what merged requests have in common; zero if it is not looked for.
    pub(super) merge_key: u64,
    /// Server: the hash of its request's bytes; zero if it came over a connection.
    pub(super) exact: u64,
}

/// A key of 128 bits that does not need the alignment of one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Key128(u64, u64);

impl From<u128> for Key128 {
    fn from(key: u128) -> Self {
        Self((key >> 64) as u64, key as u64)
    }
}

impl Key128 {
    /// The half that hash tables take.
    pub(super) const fn hash(self) -> u64 {
        self.1
    }
}

#[cfg(feature = "snapshot")]
impl Key128 {
    pub(super) const fn parts(self) -> (u64, u64) {
        (self.0, self.1)
    }

    pub(super) const fn of_parts((high, low): (u64, u64)) -> Self {
        Self(high, low)
    }
}

/// No neighbour.
pub(super) const NOBODY: u32 = u32::MAX;

/// How the messages of a transaction reach its peer.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// Not known: the name is still being resolved, or there is none.
    None,
    /// From this socket.
    Datagram(PackedAddr),
    /// By a connection; its neighbours in the list of the transactions that use it.
    Flow { id: FlowId, prev: u32, next: u32 },
}

impl Record {
    pub(super) fn new(
        state: State,
        target: Target,
        user: u64,
        timers: Option<Arc<Timers>>,
        born: Instant,
    ) -> Self {
        Self {
            state,
            silent: false,
            muted: false,
            counted: false,
            cause: Cause::Completed,
            rang: 0,
            transport: target.transport,
            peer: target.addr.into(),
            way: Way::None,
            buffer: BufferId::NONE,
            ack: BufferId::NONE,
            interval: 0,
            skeleton: Skeleton::default(),
            user,
            secret: 0,
            timers,
            born,
            key: Key128::default(),
            merge_key: 0,
            exact: 0,
        }
    }

    pub(super) const fn reliability(&self) -> Reliability {
        self.transport.reliability()
    }

    /// Where its messages go when the flow is gone.
    pub(super) fn target(&self) -> Target {
        Target { transport: self.transport, addr: self.peer.into() }
    }

    pub(super) fn set_target(&mut self, target: Target) {
        self.transport = target.transport;
        self.peer = target.addr.into();
    }

    /// Where its messages go; nothing until a name is resolved.
    pub(super) fn to(&self) -> Option<Destination> {
        match self.way {
            Way::None => None,
            Way::Datagram(local) => {
                Some(Destination::Datagram { local: local.into(), remote: self.peer.into() })
            }
            Way::Flow { id, .. } => Some(Destination::Flow(id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_small() {
        assert!(size_of::<Record>() <= 160, "{}", size_of::<Record>());
    }
}
