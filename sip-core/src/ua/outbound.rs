//! Registrations that are bound to a connection (RFC 5626 §4): it is kept alive, and when it is gone, this side registers again over another.

use super::UserAgent;
use super::alarms::{Alarm, Due};
use super::upkeep::What;
use crate::handle::{FlowId, Key};
use crate::headers::FlowTimer;
use crate::message::Message;
use crate::time::Instant;
use core::time::Duration;

/// The connection that a registration is bound to.
#[cfg_attr(feature = "snapshot", derive(Clone))]
pub(super) struct Bound {
    pub(super) flow: FlowId,
    /// When the registrar said so last.
    pub(super) since: Instant,
    /// How often it is asked whether it lives, at least.
    pub(super) every: Duration,
    /// It has been asked.
    pub(super) asked: bool,
    pub(super) alarm: Alarm,
}

/// How often a connection is asked if the registrar says nothing else (§4.4.1).
const EVERY: Duration = Duration::from_secs(120);
/// How long it may take to answer (§4.4.1).
const PONG: Duration = Duration::from_secs(10);
/// How long this side waits after a failure, twice as long after each other one, and the most (§4.5).
const BASE: Duration = Duration::from_secs(30);
const MOST: Duration = Duration::from_secs(1_800);

impl UserAgent {
    /// A registration was accepted over this connection.
    pub(super) fn bind_flow(&mut self, key: Key, flow: FlowId, response: &Message<'_>) {
        self.unbind_flow(key);
        let is_flow =
            |what: &What| matches!(what, What::Registration(registration) if registration.is_flow());
        if !self.upkeeps.get(key).is_some_and(|found| is_flow(&found.what)) || !self.layer.watch(flow) {
            return;
        }
        let said = response.get::<FlowTimer>().ok().flatten().filter(|timer| timer.0 > 0);
        let every = said.map_or(EVERY, |timer| Duration::from_secs(timer.0.into()));
        let (after, since) = (self.part_of(every, 80), self.layer.clock());
        let alarm = self.alarms.set(since, after, Due::KeepAlive(key));
        if let Some(found) = self.upkeeps.get_mut(key) {
            found.bound = Some(Bound { flow, since, every, asked: false, alarm });
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
        let Some(bound) = self.upkeeps.get(key).and_then(|found| found.bound.as_ref()) else { return };
        let (flow, every, asked) = (bound.flow, bound.every, bound.asked);
        if asked && !self.layer.has_heard(flow) {
            return self.layer.close_flow(flow);
        }
        let after = if asked {
            self.part_of(every, 80).saturating_sub(PONG)
        } else {
            self.layer.ping(flow);
            PONG
        };
        let alarm = self.alarms.set(self.layer.clock(), after, Due::KeepAlive(key));
        if let Some(bound) = self.upkeeps.get_mut(key).and_then(|found| found.bound.as_mut()) {
            (bound.asked, bound.alarm) = (!asked, alarm);
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
            let Some(found) = self.upkeeps.get_mut(key).filter(|found| found.work.is_none()) else {
                continue;
            };
            let after = (bound.since + BASE).since(clock);
            self.alarms.stop(found.alarm.take());
            found.alarm = Some(self.alarms.set(clock, after, Due::Upkeep(key)));
        }
    }

    /// §4.5: how long a registration that has failed so often waits before it is tried again.
    pub(super) fn recovery(&mut self, failures: u32) -> Duration {
        let whole = BASE.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        self.part_of(whole.min(MOST), 50)
    }

    /// A time by chance, of so many percent of this one at least: not all do at once what they do after a failure of their server.
    fn part_of(&mut self, whole: Duration, least: u64) -> Duration {
        let percent = least + self.layer.random.u64() % (101 - least);
        whole.mul_f64(percent as f64 / 100.0)
    }
}
