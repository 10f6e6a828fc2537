//! What the users of a world were told of their dialogs.

use super::monitor::{Monitor, Violation};
use super::trace::{Entry, Trace};
use super::world::World;
use crate::handle::DialogId;
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;

/// What both users were told, and which calls they have.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) told: Vec<(usize, String)>,
    open: BTreeSet<(usize, DialogId)>,
    over: BTreeSet<(usize, DialogId)>,
    wrong: Option<(usize, String)>,
}

impl Ledger {
    /// A machine begins with nothing.
    pub(super) fn forget(&mut self, node: usize) {
        self.open.retain(|(at, _)| *at != node);
        self.over.retain(|(at, _)| *at != node);
    }

    /// The user hears of a dialog.
    pub(super) fn heard(&mut self, node: usize, dialog: DialogId) {
        if self.over.contains(&(node, dialog)) {
            self.wrong = Some((node, format!("{dialog:?} is over, and told of")));
        }
        self.open.insert((node, dialog));
    }

    pub(super) fn ended(&mut self, node: usize, dialog: DialogId) {
        self.heard(node, dialog);
        self.open.remove(&(node, dialog));
        self.over.insert((node, dialog));
    }
}

/// I5 and I14: each dialog ends once for its user, nothing is told of it after that, and at rest neither side has one.
pub(super) struct Ledgers(Rc<RefCell<Ledger>>);

impl Ledgers {
    pub(super) fn over(ledger: &Rc<RefCell<Ledger>>) -> Box<dyn Monitor> {
        Box::new(Self(ledger.clone()))
    }
}

impl Monitor for Ledgers {
    fn see(&mut self, entry: &Entry, _: &Trace) -> Result<(), Violation> {
        match self.0.borrow_mut().wrong.take() {
            Some((node, what)) => Err(Violation::new("I5", what, entry.at, node)),
            None => Ok(()),
        }
    }

    fn at_rest(&mut self, _: &Trace) -> Result<(), Violation> {
        match self.0.borrow().open.first() {
            Some((node, dialog)) => {
                Err(Violation::new("I14", format!("{dialog:?} never ended"), Instant::ZERO, *node))
            }
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
