//! The transaction layer in a snapshot: all that lives, and when it is due. What the configuration gives is not in it, nor what can be
//! worked out: the tables of who is found by what.

use super::buffers::BufferId;
use super::lanes::{Armed, Lanes};
use super::layer::{Layer, Question, Waits};
use super::record::{Key128, Record, Way};
use super::skeleton::Skeleton;
use super::{Restart, State, Timers, ict, ist, nict, nist};
use crate::endpoint::{Cause, Ticket};
use crate::handle::Slab;
use crate::snapshot::{In, Keep, Out, RestoreError, kept, kept_enum};
use crate::transport::{Flow, Flows, PackedAddr, Waiting};
use alloc::vec::Vec;
use core::net::SocketAddr;

kept_enum!(ict::State { 1 Calling { cancel }, 2 Proceeding { cancelled }, 3 Completed, 4 Accepted, 5 Terminated });
kept_enum!(nict::State { 1 Trying, 2 Proceeding, 3 Completed, 4 Terminated });
kept_enum!(ist::State { 1 Proceeding { answered }, 2 Completed, 3 Confirmed, 4 Accepted, 5 Terminated });
kept_enum!(nist::State { 1 Trying, 2 Proceeding, 3 Completed, 4 Terminated });
kept_enum!(State { 1 Ict(state), 2 Nict(state), 3 Ist(state), 4 Nist(state) });
kept_enum!(Cause { 1 Completed, 2 Timeout, 3 TransportError, 4 NoAck, 5 Unanswered, 6 Aborted });
kept_enum!(Restart { 1 Each, 2 Rising, 3 Never });
kept_enum!(Way { 1 None, 2 Datagram(local), 3 Flow { id, prev, next } });
kept_enum!(Waits { 1 Txn(txn), 2 Message(buffer) });
kept!(Question { 1 transport, 2 waits });
kept!(Skeleton { 1 uri, 2 to, 3 end, 4 timestamp, 5 tagged });
kept!(Record {
    1 state, 2 silent, 3 counted, 4 cause, 5 transport, 6 peer, 7 way, 8 buffer, 9 ack, 10 interval, 11 skeleton,
    12 user, 13 secret, 14 timers, 15 born, 16 key, 17 merge_key, 18 exact, 19 rang, 20 muted,
});
kept!(Timers {
    1 t1, 2 t2, 3 t4, 4 a, 5 b, 6 d, 7 e, 8 f, 9 g, 10 h, 11 i, 12 j, 13 k, 14 l, 15 m, 16 trying, 17 ringing,
    18 unanswered_invite, 19 unanswered, 20 rport, 21 a_most, 22 restart, 23 intervals,
});
kept!(Flow { 1 target, 2 local, 3 open, 4 waiting, 5 first_txn, 6 watched, 7 heard, 8 pings });
kept!(Armed { 1 lanes, 2 heap, 3 first });
kept!(Waiting { 1 buffer, 2 ticket, 3 while_alive });

impl crate::snapshot::NotByte for Waiting {}

impl Keep for Ticket {
    fn keep(&self, out: &mut Out<'_>) {
        self.0.keep(out);
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        Keep::back(from).map(Self)
    }

    fn missing() -> Result<Self, RestoreError> {
        Ok(Self::NONE)
    }
}

impl Keep for PackedAddr {
    fn keep(&self, out: &mut Out<'_>) {
        SocketAddr::from(*self).keep(out);
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        SocketAddr::back(from).map(Self::from)
    }
}

impl Keep for Key128 {
    fn keep(&self, out: &mut Out<'_>) {
        self.parts().keep(out);
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        Keep::back(from).map(Self::of_parts)
    }

    fn missing() -> Result<Self, RestoreError> {
        Ok(Self::default())
    }
}

impl Keep for Flows {
    fn keep(&self, out: &mut Out<'_>) {
        out.list(2);
        self.all().keep(out);
        self.latest().keep(out);
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        if from.list()? != 2 {
            return Err(RestoreError::Damaged);
        }
        let flows: Slab<Flow> = Keep::back(from)?;
        Ok(Self::of(flows, Keep::back(from)?))
    }
}

impl Layer {
    /// Whether nothing waits to be drained: what is under way to the outside is in no snapshot.
    pub(crate) fn is_drained(&self) -> bool {
        self.out.is_empty() && self.told.is_empty() && self.failed.is_empty()
    }

    pub(crate) fn keep(&self, out: &mut Out<'_>) {
        out.map(9);
        out.field(1, &self.hash);
        out.field(2, &self.bytes_hash);
        out.field(3, &self.flows);
        out.field(4, &self.txns);
        out.field(5, &self.lanes.armed());
        out.field(6, &self.questions);
        out.field(7, &self.owed.armed());
        out.field(8, &self.draining);
        out.field(9, &self.reasons.iter().map(|(place, lines)| (*place, *lines)).collect::<Vec<_>>());
    }

    /// Takes the place of a layer that is empty.
    pub(crate) fn restore(&mut self, from: &mut In<'_>) -> Result<(), RestoreError> {
        let (mut lanes, mut owed) = (None::<Armed>, None::<Armed>);
        let mut reasons = Vec::<(u32, BufferId)>::new();
        from.fields(|number, from| {
            match number {
                1 => self.hash = Keep::back(from)?,
                2 => self.bytes_hash = Keep::back(from)?,
                3 => self.flows.take_from(Keep::back(from)?),
                4 => self.txns = Keep::back(from)?,
                5 => lanes = Some(Keep::back(from)?),
                6 => {
                    self.questions = Keep::back(from)?;
                    let is_message = |question: &Question| matches!(question.waits, Waits::Message(_));
                    self.asked_for_messages =
                        self.questions.iter().filter(|(_, question)| is_message(question)).count();
                }
                7 => owed = Some(Keep::back(from)?),
                8 => self.draining = Keep::back(from)?,
                9 => reasons = Keep::back(from)?,
                _ => from.skip()?,
            }
            Ok(())
        })?;
        let most = |places: usize| (places as u32).saturating_mul(2).saturating_sub(1);
        let armed = |armed: Option<Armed>, most| match armed {
            Some(armed) => Lanes::of(armed, most).ok_or(RestoreError::Damaged),
            None => Ok(Lanes::default()),
        };
        self.lanes = armed(lanes, most(self.txns.places()))?;
        self.owed = armed(owed, most(self.flows.places().max(self.questions.places())))?;
        for (place, lines) in reasons {
            let waits = self.txns.at(place).is_some_and(|txn| txn.state.is_client());
            if !waits || self.reasons.contains_key(&place) {
                return Err(RestoreError::Damaged);
            }
            self.reasons.insert(place, lines);
        }
        self.work_out(from)
    }

    /// What follows from the transactions.
    fn work_out(&mut self, from: &In<'_>) -> Result<(), RestoreError> {
        let all: Vec<_> = self.txns.iter().map(|(key, _)| key).collect();
        let count = all.len();
        for key in all {
            let Some(txn) = self.txns.get(key) else { continue };
            let whole = from.buffers.whole(txn.buffer);
            if !txn.state.is_client() && !txn.skeleton.is_sound(whole) {
                return Err(RestoreError::Damaged);
            }
            if txn.state.is_client() {
                self.stats.client_transactions += 1;
                if txn.silent {
                    self.cancels.insert(txn.key.hash(), key.index);
                }
                continue;
            }
            self.requests.insert(txn.key.hash(), key.index);
            if txn.merge_key != 0 {
                self.merged.insert(txn.merge_key, key.index);
            }
            if txn.exact != 0 {
                self.exact.insert(txn.exact, key.index, count);
            }
            self.unanswered += usize::from(txn.counted && txn.state.is_unanswered());
        }
        Ok(())
    }
}
