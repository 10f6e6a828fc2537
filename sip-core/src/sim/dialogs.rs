//! Invariants of dialogs, over what went by wire: any machine is held to them, whoever made it.

use super::monitor::{Monitor, Violation, broken};
use super::note::{Gist, Verb};
use super::trace::{Entry, Trace, What};
use crate::time::Instant;
use crate::transaction::Timers;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

/// The monitors of dialogs, for machines with these timers.
///
/// | name | says |
/// |---|---|
/// | I9 | the ACK of a 2xx has the number of its INVITE and a branch of its own; each copy of the 2xx brings the same bytes again |
/// | I10 | a 2xx to an INVITE is sent eleven times at the most, and not again once its ACK is there |
/// | I13 | the numbers of the requests that one side sends in a dialog rise |
/// | I24 | each side sends one BYE in a dialog, and after it nothing new |
pub fn dialog_monitors(timers: &Timers) -> Vec<Box<dyn Monitor>> {
    vec![Box::new(Numbers::default()), Box::new(Acks::new(timers)), Box::new(Copies::default())]
}

/// One side of a dialog, as its own requests name it: node, Call-ID, From and To.
type Half = (usize, u64, u64, u64);

const fn half(node: usize, gist: &Gist) -> Half {
    (node, gist.call, gist.from, gist.to)
}

/// The gist of what this line says was sent by an honest machine.
fn sent<'t>(entry: &Entry, trace: &'t Trace) -> Option<&'t Gist> {
    let What::Sent { packet } = entry.what else { return None };
    trace.packet(packet).filter(|packet| !packet.forged)?.gist.as_ref()
}

/// The gist of what this line says has arrived as it was sent.
fn arrived<'t>(entry: &Entry, trace: &'t Trace) -> Option<&'t Gist> {
    let What::Arrived { packet, damaged: false } = entry.what else { return None };
    trace.packet(packet)?.gist.as_ref()
}

fn is_answer(gist: &Gist) -> bool {
    (200..300).contains(&gist.status) && gist.verb == Verb::Invite
}

/// I13 and I24.
#[derive(Default)]
struct Numbers {
    /// The first number that a side used, which all its dialogs with that Call-ID and tag begin with; and the last one in each.
    began: BTreeMap<(usize, u64, u64), u32>,
    last: BTreeMap<Half, u32>,
    branches: BTreeSet<(usize, u64)>,
    byes: BTreeSet<Half>,
}

impl Monitor for Numbers {
    fn see(&mut self, entry: &Entry, trace: &Trace) -> Result<(), Violation> {
        let Some(gist) = sent(entry, trace) else { return Ok(()) };
        if gist.status != 0 || gist.verb == Verb::Ack || gist.verb == Verb::Cancel {
            return Ok(());
        }
        // A copy is no request of its own.
        if !self.branches.insert((entry.node, gist.branch)) {
            return Ok(());
        }
        let (began, half) = ((entry.node, gist.call, gist.from), half(entry.node, gist));
        let last = self.last.get(&half).or_else(|| self.began.get(&began)).copied().unwrap_or_default();
        if gist.cseq <= last {
            return broken(
                "I13",
                entry.node,
                format!("{:?} has number {} after {last}", gist.verb, gist.cseq),
            );
        }
        self.last.insert(half, gist.cseq);
        self.began.entry(began).or_insert(gist.cseq);
        if self.byes.contains(&half) {
            return broken("I24", entry.node, format!("{:?} was sent after the BYE", gist.verb));
        }
        if gist.verb == Verb::Bye {
            self.byes.insert(half);
        }
        Ok(())
    }
}

/// I9. When copies come later than the INVITE lives, the ACK is made anew.
struct Acks {
    lives: Duration,
    /// The branches and numbers of INVITEs by who sent them.
    invites: BTreeSet<(usize, u64, u64, u32)>,
    branches: BTreeSet<(usize, u64)>,
    /// The bytes of the ACK of each 2xx.
    acks: BTreeMap<(Half, u32), (u64, Instant)>,
}

impl Acks {
    const fn new(timers: &Timers) -> Self {
        Self {
            lives: timers.t1x64(),
            invites: BTreeSet::new(),
            branches: BTreeSet::new(),
            acks: BTreeMap::new(),
        }
    }
}

impl Monitor for Acks {
    fn see(&mut self, entry: &Entry, trace: &Trace) -> Result<(), Violation> {
        let Some(gist) = sent(entry, trace).filter(|gist| gist.status == 0) else { return Ok(()) };
        let node = entry.node;
        match gist.verb {
            Verb::Invite => {
                self.invites.insert((node, gist.call, gist.from, gist.cseq));
                self.branches.insert((node, gist.branch));
            }
            Verb::Ack if !self.branches.contains(&(node, gist.branch)) => {
                if !self.invites.contains(&(node, gist.call, gist.from, gist.cseq)) {
                    return broken("I9", node, format!("no INVITE has the number {} of this ACK", gist.cseq));
                }
                let this = (gist.bytes, entry.local);
                let (bytes, at) = *self.acks.entry((half(node, gist), gist.cseq)).or_insert(this);
                if bytes != gist.bytes && entry.local.since(at) < self.lives {
                    return broken("I9", node, "two ACKs of one 2xx differ".into());
                }
            }
            _ => {}
        }
        Ok(())
    }
}

type Answer = (usize, u64, u64, u64, u32);

/// I10.
#[derive(Default)]
struct Copies {
    /// How often each 2xx was sent: by node, Call-ID, From, To tag and number.
    sends: BTreeMap<Answer, u32>,
    acked: BTreeMap<Answer, Instant>,
    /// Of INVITEs: an ACK that has one is for a refusal.
    branches: BTreeSet<u64>,
}

impl Monitor for Copies {
    fn see(&mut self, entry: &Entry, trace: &Trace) -> Result<(), Violation> {
        if let Some(gist) = sent(entry, trace).filter(|gist| gist.status == 0 && gist.verb == Verb::Invite) {
            self.branches.insert(gist.branch);
        }
        let is_ack = |gist: &&Gist| {
            gist.status == 0 && gist.verb == Verb::Ack && !self.branches.contains(&gist.branch)
        };
        if let Some(gist) = arrived(entry, trace).filter(is_ack) {
            let key = (entry.node, gist.call, gist.from, gist.to_tag, gist.cseq);
            self.acked.entry(key).or_insert(entry.local);
        }
        let Some(gist) = sent(entry, trace).filter(|gist| is_answer(gist)) else { return Ok(()) };
        let key = (entry.node, gist.call, gist.from, gist.to_tag, gist.cseq);
        let sends = self.sends.entry(key).or_default();
        *sends += 1;
        if *sends > 11 {
            return broken("I10", entry.node, format!("a 2xx was sent {sends} times"));
        }
        // What is due at the instant of the ACK may go out before it.
        if *sends > 1 && self.acked.get(&key).is_some_and(|at| *at < entry.local) {
            return broken("I10", entry.node, "a 2xx was sent again after its ACK".into());
        }
        Ok(())
    }
}
