//! What the users of a world were told of their dialogs.

use super::monitor::{Monitor, Violation};
use super::trace::{Entry, Trace};
use super::world::World;
use crate::handle::DialogId;
use crate::time::Instant;
use crate::ua::{Event, UserAgent};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::time::Duration;

/// What both users were told, and which calls they have.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) told: Vec<(usize, String)>,
    open: BTreeSet<(usize, DialogId)>,
    over: BTreeSet<(usize, DialogId)>,
    /// What both ends call a dialog, and when it was over at each of those that have heard of it.
    names: BTreeMap<(usize, DialogId), String>,
    ends: BTreeMap<String, BTreeMap<usize, Option<Instant>>>,
    /// The time of the world.
    now: Instant,
    wrong: Option<(usize, String)>,
}

impl Ledger {
    /// A machine begins with nothing; who talked with it may hear no more of that.
    pub(super) fn forget(&mut self, node: usize) {
        self.open.retain(|(at, _)| *at != node);
        self.over.retain(|(at, _)| *at != node);
        self.names.retain(|(at, _), _| *at != node);
        self.ends.retain(|_, ends| !ends.contains_key(&node));
    }

    /// Takes what an event says of the dialogs of its user.
    pub(super) fn note(&mut self, node: usize, machine: &UserAgent, event: &Event<'_>) {
        match event {
            Event::Incoming { dialog, .. }
            | Event::Progress { dialog: Some(dialog), .. }
            | Event::Answered { dialog, .. }
            | Event::Established { dialog, .. } => self.heard(node, machine, *dialog),
            Event::Ended { dialog, .. } => {
                self.heard(node, machine, *dialog);
                self.open.remove(&(node, *dialog));
                self.over.insert((node, *dialog));
                let ends = self.names.get(&(node, *dialog)).and_then(|name| self.ends.get_mut(name));
                if let Some(end) = ends.and_then(|ends| ends.get_mut(&node)) {
                    *end = Some(self.now);
                }
            }
            _ => {}
        }
    }

    fn heard(&mut self, node: usize, machine: &UserAgent, dialog: DialogId) {
        if self.over.contains(&(node, dialog)) {
            self.wrong = Some((node, format!("{dialog:?} is over, and told of")));
        }
        self.open.insert((node, dialog));
        let Ok(replaces) = machine.replaces(dialog) else { return };
        // The two tags change places at the other end.
        let mut parts: Vec<&str> = replaces.split(';').collect();
        let mut tags: Vec<&str> = parts.drain(1..).filter_map(|part| part.split('=').nth(1)).collect();
        tags.sort_unstable();
        let name = format!("{parts:?} {tags:?}");
        self.ends.entry(name.clone()).or_default().entry(node).or_default();
        self.names.insert((node, dialog), name);
    }

    /// A dialog that one end saw end when all was well, and the other not soon after.
    fn one_sided(&self) -> Option<String> {
        self.ends.iter().find_map(|(name, ends)| {
            let first = ends.values().flatten().min().filter(|first| **first >= WELL && ends.len() == 2)?;
            let late = ends.values().any(|end| end.is_none_or(|end| end > *first + SOON));
            late.then(|| format!("{name} has ended at {ends:?}"))
        })
    }
}

/// Since when a BYE reaches its peer, whenever it was first sent; and how long that may take, though a clock goes at half its speed.
const WELL: Instant = Instant::from_millis(110_000);
const SOON: Duration = Duration::from_secs(70);

/// I5 and I14: each dialog ends once for its user, and nothing is told of it after that; what ends at one side ends at the other; at rest neither has
/// one.
pub(super) struct Ledgers(Rc<RefCell<Ledger>>);

impl Ledgers {
    pub(super) fn over(ledger: &Rc<RefCell<Ledger>>) -> Box<dyn Monitor> {
        Box::new(Self(ledger.clone()))
    }
}

impl Monitor for Ledgers {
    fn see(&mut self, entry: &Entry, _: &Trace) -> Result<(), Violation> {
        let mut ledger = self.0.borrow_mut();
        ledger.now = entry.at;
        match ledger.wrong.take() {
            Some((node, what)) => Err(Violation::new("I5", what, entry.at, node)),
            None => Ok(()),
        }
    }

    fn at_rest(&mut self, _: &Trace) -> Result<(), Violation> {
        let ledger = self.0.borrow();
        if let Some((node, dialog)) = ledger.open.first() {
            return Err(Violation::new("I14", format!("{dialog:?} never ended"), Instant::ZERO, *node));
        }
        match ledger.one_sided() {
            Some(what) => Err(Violation::new("I14", what, ledger.now, 0)),
            None => Ok(()),
        }
    }
}

/// What the monitors of a world found; and if they found nothing, what is left in its machines (I15).
pub(super) fn left(world: &World) -> Vec<Violation> {
    let mut violations = world.violations().to_vec();
    for (node, machine) in world.nodes().enumerate() {
        let Some(machine) = machine.filter(|_| violations.is_empty()) else { continue };
        if !machine.is_idle() || machine.stats().dialogs != 0 {
            let left = format!("left: {:?}", machine.stats());
            violations.push(Violation::new("I15", left, world.now(), node));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_at_one_side_only() {
        let at = |seconds: u64| Some(Instant::from_millis(seconds * 1_000));
        for (ends, wrong) in [
            ([(0, at(120)), (1, at(180))].as_slice(), false),
            (&[(0, at(120)), (1, at(200))], true),
            (&[(0, at(120)), (1, None)], true),
            // Before all was well a BYE may not have come; and one who is alone has no other end.
            (&[(0, at(60)), (1, at(400))], false),
            (&[(0, at(120))], false),
        ] {
            let ends = ends.iter().copied().collect();
            let ledger = Ledger { ends: [("call".into(), ends)].into(), ..Ledger::default() };
            assert_eq!(ledger.one_sided().is_some(), wrong, "{ledger:?}");
        }
    }
}
