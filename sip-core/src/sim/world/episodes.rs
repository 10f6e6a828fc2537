//! Episodes: for some time a node is cut off, down, behind another port, or has another time.

use super::{Due, World};
use crate::sim::faults::Faults;
use crate::sim::tape::{Kind, Site};
use crate::sim::trace::What;
use crate::time::{Instant, micros};
use alloc::vec::Vec;
use core::time::Duration;

impl World {
    pub(super) fn schedule_episodes(&mut self) {
        if self.faults.episodes == 0 {
            return;
        }
        for node in 0..self.places.len() {
            for _ in 0..2 {
                let weights = Faults::weights(self.faults.episodes, [0, 2, 2, 2, 1, 2, 1, 1, 1]);
                let kind = self.tape.choose(Site::node(Kind::Episode, node), &weights);
                if kind == 0 {
                    continue;
                }
                let at = self.faults.chaos * self.tape.below(Site::node(Kind::When, node), 64) / 64;
                let length = self.tape.choose(Site::node(Kind::Length, node), &[2, 4, 3, 2, 1, 1]);
                let millis = [100, 1_000, 5_000, 20_000, 64_000, 120_000];
                let length = Duration::from_millis(millis.get(length as usize).copied().unwrap_or_default());
                self.push(Instant::ZERO + at, Due::Episode { node, kind, length });
            }
        }
    }

    pub(super) fn episode(&mut self, node: usize, kind: u32, length: Duration) {
        let until = self.now + length;
        let Some(place) = self.places.get_mut(node) else { return };
        match kind {
            1 => place.mute = until,
            2 => place.deaf = until,
            3 => (place.mute, place.deaf) = (until, until),
            4 => self.crash(node, length),
            5 => {
                let numbers: Vec<u32> = place.flows.values().map(|(number, _)| *number).collect();
                numbers.into_iter().for_each(|number| self.break_connection(number));
            }
            6 => place.seen = Some(place.seen.map_or(50_000, |port| port + 1)),
            7 => {
                place.clock.offset += micros(length);
                // The machine knows nothing of it until it is told the time again.
                let by = place.clock.local(self.now).since(place.local);
                self.note(node, What::Jumped { by, forward: true });
                self.rewake(node);
            }
            _ => {
                place.clock.back += micros(length);
                self.note(node, What::Jumped { by: length, forward: false });
                self.rewake(node);
            }
        }
    }

    pub(super) fn rewake(&mut self, node: usize) {
        let deadline = self
            .places
            .get(node)
            .and_then(|place| place.node.as_ref())
            .and_then(|machine| machine.deadline());
        self.schedule(node, deadline);
    }

    pub(super) fn crash(&mut self, node: usize, length: Duration) {
        let Some(place) = self.places.get_mut(node).filter(|place| place.node.is_some()) else { return };
        place.node = None;
        place.wake = None;
        let flows = core::mem::take(&mut place.flows);
        self.note(node, What::Crashed);
        for (number, side) in flows.into_values() {
            self.conns.close(number, side);
            self.end_closed(number, side.other());
        }
        self.push(self.now + length, Due::Restart { node });
    }

    pub(super) fn restart(&mut self, node: usize) {
        let Some(place) = self.places.get_mut(node).filter(|place| place.node.is_none()) else { return };
        place.incarnation += 1;
        place.node = Some((place.make)(place.incarnation));
        // It has not been told any time yet.
        place.local = Instant::ZERO;
        self.note(node, What::Restarted);
        self.with(node, |machine, now| machine.advance(now));
    }

    /// No fault from here on: who was cut off is reached again, who is down comes back, and nothing is late.
    pub(super) fn heal(&mut self) {
        self.healed = true;
        let now = self.now;
        for place in &mut self.places {
            place.mute = place.mute.min(now);
            place.deaf = place.deaf.min(now);
        }
        self.bursts.clear();
        for node in 0..self.places.len() {
            self.restart(node);
        }
        self.note(0, What::Healed);
    }
}
