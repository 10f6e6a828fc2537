//! Registrations that are bound to a connection (RFC 5626 §4): it is kept alive, and when it is gone, this side registers again over another.

use super::UserAgent;
use super::alarms::{Alarm, Due};
use crate::handle::{FlowId, Key};
use crate::headers::{FlowTimer, Require};
use crate::message::Message;
use crate::time::Instant;
use core::time::Duration;

/// The connection that a registration is bound to.
#[cfg_attr(feature = "snapshot", derive(Clone))]
pub(super) struct Bound {
    pub(super) flow: FlowId,
    /// From when on it has lasted: when it is gone before, this side waits until then.
    pub(super) lasted: Instant,
    /// How often it is asked whether it lives, at least.
    pub(super) every: Duration,
    /// When it is asked next.
    pub(super) next: Instant,
    /// When it was asked first of what it has not answered.
    pub(super) asked: Option<Instant>,
    pub(super) alarm: Alarm,
}

/// How often a connection is asked if the registrar says nothing else (§4.4.1).
const EVERY: Duration = Duration::from_secs(120);
/// How long it may take to answer (§4.4.1).
const PONG: Duration = Duration::from_secs(10);
/// How long this side waits for its first try after it has failed is at most twice this; after each other one twice as long, and at most so long
/// (§4.5).
const BASE: Duration = Duration::from_secs(30);
const MOST: Duration = Duration::from_secs(1_800);

impl UserAgent {
    /// A registration was accepted over this connection: it is bound to that if the registrar says so (§4.2.1).
    pub(super) fn bind_flow(&mut self, key: Key, flow: FlowId, response: &Message<'_>) {
        self.unbind_flow(key);
        let says_so = response.all::<Require<'_>>().flatten().any(|tag| tag.is("outbound"));
        let is_flow = self.upkeeps.get(key).is_some_and(|found| found.what.is_flow());
        if !(says_so && is_flow && self.layer.watch(flow)) {
            return;
        }
        let said = response.get::<FlowTimer>().ok().flatten().filter(|timer| timer.0 > 0);
        let every = said.map_or(EVERY, |timer| Duration::from_secs(timer.0.into()));
        let (after, clock) = (self.part_of(every, 80), self.layer.clock());
        let alarm = self.alarms.set(clock, after, Due::KeepAlive(key));
        if let Some(found) = self.upkeeps.get_mut(key) {
            found.bound =
                Some(Bound { flow, lasted: clock + BASE, every, next: clock + after, asked: None, alarm });
            self.enter_bound(key);
        }
    }

    /// Makes it one that is found by its connection.
    pub(super) fn enter_bound(&mut self, key: Key) {
        if let Some(bound) = self.upkeeps.get(key).and_then(|found| found.bound.as_ref()) {
            self.bound.insert(self.layer.hash_of_flow(bound.flow), key.index);
        }
    }

    pub(super) fn unbind_flow(&mut self, key: Key) -> Option<Bound> {
        let bound = self.upkeeps.get_mut(key)?.bound.take()?;
        self.bound.remove(self.layer.hash_of_flow(bound.flow), key.index);
        self.alarms.stop(Some(bound.alarm));
        Some(bound)
    }

    /// It is time to ask whether a connection lives, or for its answer.
    pub(super) fn on_keep_alive(&mut self, key: Key) {
        let clock = self.layer.clock();
        let Some(bound) = self.upkeeps.get(key).and_then(|found| found.bound.as_ref()) else { return };
        let (flow, every, mut next) = (bound.flow, bound.every, bound.next);
        let heard = self.layer.last_heard(flow);
        let mut asked = bound.asked.filter(|asked| heard.is_none_or(|heard| heard < *asked));
        if asked.is_some_and(|asked| clock >= asked + PONG) {
            return self.layer.close_flow(flow);
        }
        if clock >= next {
            // What can't be sent now is sent soon.
            let sent = self.layer.ping(flow);
            asked = asked.or(sent.then_some(clock));
            next = clock + if sent { self.part_of(every, 80) } else { Duration::from_secs(1) };
        }
        let then = asked.map_or(next, |asked| next.min(asked + PONG));
        let alarm = self.alarms.set(clock, then.since(clock), Due::KeepAlive(key));
        if let Some(bound) = self.upkeeps.get_mut(key).and_then(|found| found.bound.as_mut()) {
            (bound.asked, bound.next, bound.alarm) = (asked, next, alarm);
        }
    }

    /// A connection is gone: who is bound to it registers again at once, unless it has not lasted.
    pub(super) fn on_flow_gone(&mut self, flow: FlowId) {
        let places = self.bound.all(self.layer.hash_of_flow(flow));
        let is_bound = |key: &Key| {
            let bound = self.upkeeps.get(*key).and_then(|found| found.bound.as_ref());
            bound.is_some_and(|bound| bound.flow == flow)
        };
        let all = places.filter_map(|place| self.upkeeps.key_at(place)).filter(is_bound);
        for key in all.collect::<alloc::vec::Vec<Key>>() {
            let Some(bound) = self.unbind_flow(key) else { continue };
            let clock = self.layer.clock();
            // What is under way goes with the connection, and what has failed waits for its time.
            let goes_on = |found: &&mut super::Upkeep| found.work.is_none() && found.failures == 0;
            let Some(found) = self.upkeeps.get_mut(key).filter(goes_on) else { continue };
            let left = found.until.map_or(Duration::ZERO, |until| until.since(clock));
            let after = bound.lasted.since(clock).min(left / 2);
            self.alarms.stop(found.alarm.take());
            found.alarm = Some(self.alarms.set(clock, after, Due::Upkeep(key)));
        }
    }

    /// §4.5: how long a registration that has failed so often waits before it is tried again.
    pub(super) fn recovery(&mut self, failures: u32) -> Duration {
        let whole = BASE.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX));
        self.part_of(whole.min(MOST), 50)
    }

    /// A time by chance, of so many percent of this one at least: not all do at once what they do after a failure of their server.
    fn part_of(&mut self, whole: Duration, least: u64) -> Duration {
        let percent = least + self.layer.random.u64() % (101 - least);
        whole.mul_f64(percent as f64 / 100.0)
    }
}
