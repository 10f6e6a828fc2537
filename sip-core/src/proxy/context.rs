//! Response contexts (RFC 3261 §16.6): what is kept of a request that is forwarded, and what came of its branches.

use super::best::Preference;
use super::routing::Arrival;
use super::{Outcome, Part};
use crate::handle::{BranchId, ClientTxn, ContextId, Key, ServerTxn};
use crate::headers::RequestDisposition;
use crate::message::{Message, Status};
use crate::time::Instant;
use crate::transaction::{BufferId, Timers};
use crate::transport::Target;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZero;
use core::time::Duration;

pub(super) struct Context {
    pub(super) user: u64,
    pub(super) server: ServerTxn,
    /// The server transaction lives.
    pub(super) serving: bool,
    pub(super) is_invite: bool,
    pub(super) wishes: Wishes,
    pub(super) arrival: Arrival,
    /// The request, prepared to be forwarded.
    pub(super) request: BufferId,
    /// What finds loops.
    pub(super) mark: u64,
    /// The hash of its Call-ID and CSeq number.
    pub(super) call: u64,
    pub(super) phase: Phase,
    /// The caller has cancelled.
    pub(super) cancelled: bool,
    /// It has lived as long as it may.
    pub(super) expired: bool,
    /// A 6xx has ended the search (RFC 3261 §16.7, step 5).
    pub(super) refused: bool,
    /// Until when others are waited for, though all have failed.
    pub(super) held: Option<Instant>,
    /// The Request-URIs that have been tried, if those of a 3xx are.
    pub(super) tried: Vec<Box<str>>,
    /// The branches whose transactions live.
    pub(super) branches: Vec<Key>,
    /// The Max-Breadth that the request came with (RFC 5393 §5.3.3).
    pub(super) breadth: u32,
    /// Those whose turn it is, but for which that has no room yet.
    pub(super) ready: VecDeque<Later>,
    /// What is forwarded when all those have failed, the next ones last.
    pub(super) later: Vec<Later>,
    /// The final responses other than 2xx that came, and what stands for those that did not.
    pub(super) ended: Vec<Ended>,
    /// How many outcomes were forgotten.
    pub(super) forgotten: usize,
    /// The tags of those whose 2xx has been acknowledged, as hashes.
    pub(super) acked: Vec<u64>,
    /// The 2xx that was given here, and after how long it is sent again.
    pub(super) own: Option<(BufferId, Duration)>,
}

/// What a caller wants of proxies, as far as this one looks at it (RFC 3841 §9.1).
#[derive(Clone, Copy, Default)]
pub(super) struct Wishes {
    pub(super) no_cancel: bool,
    pub(super) no_recurse: bool,
}

impl Wishes {
    pub(super) fn of(request: &Message<'_>) -> Self {
        let mut wishes = Self::default();
        for wish in request.all::<RequestDisposition<'_>>().map_while(Result::ok) {
            wishes.no_cancel |= wish.0.eq_ignore_ascii_case(b"no-cancel");
            wishes.no_recurse |= wish.0.eq_ignore_ascii_case(b"no-recurse");
        }
        wishes
    }
}

/// How far a response context is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The user is to say what becomes of the request, for the first time or when all branches have failed.
    Undecided,
    /// It has been forwarded.
    Relaying,
    /// A final response went back.
    Answered(Status),
    /// Nothing is to go back, unless somebody takes the call all the same.
    Released,
}

/// A branch that waits for those before it.
pub(super) struct Later {
    pub(super) q: u16,
    /// Its request, all but the Via.
    pub(super) request: BufferId,
    pub(super) way: Way,
}

/// How a branch is sent.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) target: Option<Target>,
    pub(super) timers: Option<Arc<Timers>>,
    pub(super) breadth: Option<NonZero<u32>>,
    pub(super) part: Part,
    pub(super) user: u64,
    /// By the Request-URI, which leads to a strict router, whatever the first Route.
    pub(super) strict: bool,
}

/// A branch that came to nothing.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    /// Its response without the Via of this proxy, if there is one.
    pub(super) response: BufferId,
}

pub(super) struct BranchRecord {
    pub(super) user: u64,
    pub(super) context: Key,
    pub(super) txn: Option<ClientTxn>,
    pub(super) part: Part,
    /// It has had its final response, or counts as if it had.
    pub(super) is_done: bool,
    /// It has had it.
    pub(super) has_answered: bool,
    /// Its last provisional response, which waits for the user.
    pub(super) screened: Option<(Status, BufferId)>,
    /// Its share of Max-Breadth.
    pub(super) breadth: u32,
    /// It alone was cancelled, from here.
    pub(super) given_up: bool,
}

impl Context {
    pub(super) const fn id(key: Key) -> ContextId {
        ContextId(key)
    }

    pub(super) const fn status(&self) -> Option<Status> {
        match self.phase {
            Phase::Answered(status) => Some(status),
            Phase::Undecided | Phase::Relaying | Phase::Released => None,
        }
    }

    /// It is the turn of a branch; those that the request waits for go first.
    pub(super) fn make_ready(&mut self, later: Later) {
        let at = match later.way.part {
            Part::Whole => self.ready.partition_point(|other| other.way.part == Part::Whole),
            Part::Minor | Part::Copy => self.ready.len(),
        };
        self.ready.insert(at, later);
    }

    /// Whether a branch that the request waits for has no room.
    pub(super) fn waits_for_room(&self) -> bool {
        self.ready.front().is_some_and(|later| later.way.part == Part::Whole)
    }

    /// Keeps a branch until its turn comes; of equal ones in the order in which they came.
    pub(super) fn put_off(&mut self, later: Later) {
        let at = self.later.partition_point(|other| other.q < later.q);
        self.later.insert(at, later);
    }

    /// It is the turn of those of the next q, if there are some.
    pub(super) fn turn(&mut self) -> bool {
        let Some(q) = self.later.last().map(|later| later.q) else { return false };
        let at = self.later.partition_point(|later| later.q < q);
        self.later.split_off(at).into_iter().rev().for_each(|later| self.make_ready(later));
        true
    }

    /// The place of the best of what came of its branches.
    pub(super) fn best(&self, prefer: Preference) -> Option<usize> {
        prefer.best(self.ended.iter().map(|ended| ended.outcome), self.cancelled)
    }

    pub(super) const fn is_answered(&self) -> bool {
        matches!(self.phase, Phase::Answered(_))
    }

    /// Whether nothing is wanted of it any more.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Answered(_) | Phase::Released)
    }

    /// Whether the search is over: a 6xx came (RFC 3261 §16.7, step 5), or the caller does not want it any more.
    pub(super) const fn is_closed(&self) -> bool {
        self.cancelled || self.expired || self.refused || self.is_over()
    }
}

/// The token of the transactions of a context or branch; that of those that have none is zero.
pub(super) const fn token_of(key: Key) -> u64 {
    key.to_bits() + 1
}

pub(super) fn key_of(token: u64) -> Option<Key> {
    token.checked_sub(1).map(Key::from_bits)
}

impl BranchRecord {
    pub(super) const fn id(key: Key) -> BranchId {
        BranchId(key)
    }
}
