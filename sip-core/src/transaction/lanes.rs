//! Timers in O(1): one queue for each delay in use.
//!
//! SIP has about a dozen distinct delays, and a timer is always armed from a clock that never runs backwards. So all
//! timers of one delay fire in the order in which they were armed: a *lane*, a linked list through the nodes, with its
//! next deadline at its head. Arming appends, disarming unlinks, and the next deadline is the least of a few heads.
//! Delays beyond [`MAX_LANES`] go to an indexed heap behind the same interface.

use crate::paged::Paged;
use crate::time::Instant;
use alloc::vec::Vec;

/// How many delays have a lane of their own.
const MAX_LANES: usize = 32;
const NONE: u32 = u32::MAX;
/// The place of a node that is in the heap and not in a lane.
const HEAP: u8 = u8::MAX - 1;
const IDLE: u8 = u8::MAX;

/// The armed timers of a table. A timer is named by a small number that its owner picks.
#[derive(Default)]
pub(crate) struct Lanes {
    nodes: Paged<Node>,
    lanes: Vec<Lane>,
    heap: Vec<u32>,
    /// What [`next`](Self::next) says.
    first: Option<(Instant, u32)>,
}

/// Sixteen bytes: at a million timers memory is what costs time.
#[derive(Clone, Copy)]
struct Node {
    /// The deadline in the upper 56 bits ([`Instant::LAST`]), the number of the lane in the lower 8.
    due_and_place: u64,
    /// In a lane: the neighbours. In the heap: `next` is the position.
    prev: u32,
    next: u32,
}

impl Node {
    const IDLE: Self = Self { due_and_place: IDLE as u64, prev: NONE, next: NONE };

    fn new(due: Instant, place: u8, prev: u32, next: u32) -> Self {
        Self { due_and_place: due.min(Instant::LAST).as_micros() << 8 | u64::from(place), prev, next }
    }

    const fn due(self) -> Instant {
        Instant::from_micros(self.due_and_place >> 8)
    }

    const fn place(self) -> u8 {
        self.due_and_place as u8
    }
}

struct Lane {
    delay: u64,
    head: u32,
    tail: u32,
    /// The deadline of the head; [`Instant::MAX`] if the lane is empty.
    due: Instant,
}

impl Lanes {
    /// Arms a timer, to be due in so many microseconds; if it is armed already, it is armed anew.
    pub(crate) fn arm(&mut self, timer: u32, now: Instant, delay: u64) {
        match self.nodes.get(timer) {
            Some(node) if node.place() == IDLE => {}
            Some(_) => self.disarm(timer),
            None => {
                while self.nodes.len() <= timer as usize {
                    self.nodes.push(Node::IDLE);
                }
            }
        }
        let due = Instant::from_micros(now.as_micros().saturating_add(delay));
        match self.lane(delay) {
            Some(place) => self.append(place, timer, due),
            None => self.push(timer, due),
        }
        if self.first.is_none_or(|(first, _)| due < first) {
            self.first = Some((due, timer));
        }
    }

    /// Disarms a timer, if it is armed.
    pub(crate) fn disarm(&mut self, timer: u32) {
        let Some(node) = self.nodes.get(timer).copied() else { return };
        match node.place() {
            IDLE => return,
            HEAP => self.remove(node.next as usize),
            _ => self.unlink(node),
        }
        if let Some(node) = self.nodes.get_mut(timer) {
            *node = Node::IDLE;
        }
        if self.first.is_some_and(|(_, first)| first == timer) {
            self.first = self.least();
        }
    }

    /// The timer that is due first, and when.
    pub(crate) const fn next(&self) -> Option<(Instant, u32)> {
        self.first
    }

    fn least(&self) -> Option<(Instant, u32)> {
        let mut first: Option<(Instant, u32)> = self.heap.first().map(|timer| (self.due(*timer), *timer));
        for lane in &self.lanes {
            if lane.head != NONE && first.is_none_or(|(due, _)| lane.due < due) {
                first = Some((lane.due, lane.head));
            }
        }
        first
    }

    fn due(&self, timer: u32) -> Instant {
        self.nodes.get(timer).map_or(Instant::MAX, |node| node.due())
    }

    /// The lane of a delay: its own, an empty one, or a new one.
    fn lane(&mut self, delay: u64) -> Option<u8> {
        if let Some(found) = self.lanes.iter().position(|lane| lane.delay == delay) {
            return Some(found as u8);
        }
        if self.lanes.len() < MAX_LANES {
            self.lanes.push(Lane { delay, head: NONE, tail: NONE, due: Instant::MAX });
            return Some(self.lanes.len() as u8 - 1);
        }
        let empty = self.lanes.iter().position(|lane| lane.head == NONE)?;
        self.lanes.get_mut(empty)?.delay = delay;
        Some(empty as u8)
    }

    fn append(&mut self, place: u8, timer: u32, due: Instant) {
        let Some(lane) = self.lanes.get_mut(place as usize) else { return };
        let prev = lane.tail;
        lane.tail = timer;
        if prev == NONE {
            lane.head = timer;
            lane.due = due;
        } else if let Some(before) = self.nodes.get_mut(prev) {
            before.next = timer;
        }
        if let Some(node) = self.nodes.get_mut(timer) {
            *node = Node::new(due, place, prev, NONE);
        }
    }

    fn unlink(&mut self, node: Node) {
        if let Some(before) = self.nodes.get_mut(node.prev) {
            before.next = node.next;
        }
        if let Some(after) = self.nodes.get_mut(node.next) {
            after.prev = node.prev;
        }
        let head_due = self.due(node.next);
        let Some(lane) = self.lanes.get_mut(node.place() as usize) else { return };
        if node.prev == NONE {
            lane.head = node.next;
            lane.due = head_due;
        }
        if node.next == NONE {
            lane.tail = node.prev;
        }
    }

    // The heap: least deadline first, of equal ones the smaller timer, so that the order is fixed.

    fn push(&mut self, timer: u32, due: Instant) {
        if let Some(node) = self.nodes.get_mut(timer) {
            *node = Node::new(due, HEAP, NONE, 0);
        }
        self.heap.push(timer);
        self.rise(self.heap.len() - 1);
    }

    fn remove(&mut self, at: usize) {
        if at >= self.heap.len() {
            return;
        }
        self.heap.swap_remove(at);
        if at < self.heap.len() {
            let at = self.rise(at);
            self.sink(at);
        }
    }

    fn before(&self, left: usize, right: usize) -> bool {
        match (self.heap.get(left), self.heap.get(right)) {
            (Some(left), Some(right)) => (self.due(*left), left) < (self.due(*right), right),
            _ => false,
        }
    }

    /// Notes where in the heap a timer now is.
    fn settle(&mut self, at: usize) {
        if let Some(node) = self.heap.get(at).and_then(|timer| self.nodes.get_mut(*timer)) {
            node.next = at as u32;
        }
    }

    fn rise(&mut self, mut at: usize) -> usize {
        while at > 0 && self.before(at, (at - 1) / 2) {
            self.heap.swap(at, (at - 1) / 2);
            self.settle(at);
            at = (at - 1) / 2;
        }
        self.settle(at);
        at
    }

    fn sink(&mut self, mut at: usize) {
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let least = if self.before(right, left) { right } else { left };
            if !self.before(least, at) {
                break self.settle(at);
            }
            self.heap.swap(at, least);
            self.settle(at);
            at = least;
        }
    }
}

#[cfg(feature = "snapshot")]
/// What is armed, as a snapshot has it.
pub(crate) struct Armed {
    pub(super) lanes: Vec<(u64, Vec<(u32, Instant)>)>,
    pub(super) heap: Vec<(u32, Instant)>,
    /// Of those that are due at once, the one that is next: which it is depends on how they were armed.
    pub(super) first: Option<u32>,
}

#[cfg(feature = "snapshot")]
impl Lanes {
    /// When a timer is due, if it is armed.
    pub(crate) fn due_of(&self, timer: u32) -> Option<Instant> {
        self.nodes.get(timer).filter(|node| node.place() != IDLE).map(|node| node.due())
    }

    /// The armed timers in the order of each lane, and those in the heap.
    pub(crate) fn armed(&self) -> Armed {
        let lane = |lane: &Lane| {
            let mut timers = Vec::new();
            let mut next = lane.head;
            while let Some(node) = self.nodes.get(next) {
                timers.push((next, node.due()));
                next = node.next;
            }
            (lane.delay, timers)
        };
        let heap = self.heap.iter().map(|timer| (*timer, self.due(*timer))).collect();
        let first = self.first.map(|(_, first)| first);
        Armed { lanes: self.lanes.iter().map(lane).collect(), heap, first }
    }

    /// The lanes that say the same, if no timer's number is above `most` and none is armed twice.
    pub(crate) fn of(armed: Armed, most: u32) -> Option<Self> {
        let mut found = Self::default();
        if armed.lanes.len() > MAX_LANES {
            return None;
        }
        for (place, (delay, timers)) in armed.lanes.into_iter().enumerate() {
            found.lanes.push(Lane { delay, head: NONE, tail: NONE, due: Instant::MAX });
            let mut last = Instant::ZERO;
            for (timer, due) in timers {
                if due < core::mem::replace(&mut last, due) || !found.make_room(timer, most) {
                    return None;
                }
                found.append(place as u8, timer, due);
            }
        }
        for (timer, due) in armed.heap {
            if !found.make_room(timer, most) {
                return None;
            }
            found.push(timer, due);
        }
        found.first = found.least();
        // Another that is due at the same time may come first.
        let other = armed.first.and_then(|timer| Some((found.due_of(timer)?, timer)));
        if let (Some((due, _)), Some((same, timer))) = (found.first, other) {
            if due == same {
                found.first = Some((due, timer));
            }
        }
        Some(found)
    }

    /// A place for a timer that is not armed.
    fn make_room(&mut self, timer: u32, most: u32) -> bool {
        if timer > most {
            return false;
        }
        while self.nodes.len() <= timer as usize {
            self.nodes.push(Node::IDLE);
        }
        self.nodes.get(timer).is_some_and(|node| node.place() == IDLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Against a map: any order of arming, disarming and time, with more delays than there are lanes.
        #[test]
        fn agrees_with_a_sorted_map(
            operations in prop::collection::vec((0..40_u32, 0..50_u64, 0..4_u8), 1..400)
        ) {
            let mut lanes = Lanes::default();
            let mut model = BTreeMap::new();
            let mut now = Instant::ZERO;
            for (timer, delay, kind) in operations {
                match kind {
                    0 => {
                        lanes.disarm(timer);
                        model.remove(&timer);
                    }
                    1 => now += Duration::from_micros(delay),
                    _ => {
                        lanes.arm(timer, now, delay);
                        model.insert(timer, now + Duration::from_micros(delay));
                    }
                }
                let least = model.values().min().copied();
                prop_assert_eq!(lanes.next().map(|(due, _)| due), least);
                while let Some((due, timer)) = lanes.next().filter(|(due, _)| *due <= now) {
                    prop_assert_eq!(model.remove(&timer), Some(due));
                    lanes.disarm(timer);
                }
            }
        }
    }
}
