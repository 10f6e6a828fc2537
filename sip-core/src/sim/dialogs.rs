//! Invariants of dialogs, over what went by wire: any machine is held to them, whoever made it.

use super::monitor::{Monitor, Violation, broken};
use super::note::{Gist, Verb};
use super::trace::{Entry, Loss, Trace, What};
use crate::time::Instant;
use crate::transaction::Timers;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

/// The monitors of dialogs, for machines with these timers. The first `agents` nodes of the world are user agents; what others send they
/// forward.
///
/// | name | says |
/// |---|---|
/// | I9 | the ACK of a 2xx has the number of its INVITE and a branch of its own; each copy of the 2xx brings the same bytes again |
/// | I10 | a 2xx to an INVITE is sent eleven times at the most, and not again once its ACK is there |
/// | I13 | the numbers of the requests that one side sends in a dialog rise |
/// | I23 | each 2xx that reaches an INVITE that is alive is acknowledged, whichever fork it comes from |
/// | I24 | each side sends one BYE in a dialog, and after it nothing new |
pub fn dialog_monitors(timers: &Timers, agents: usize) -> Vec<Box<dyn Monitor>> {
    let of_agents = |monitor| -> Box<dyn Monitor> { Box::new(OfAgents { agents, monitor }) };
    let monitors: [Box<dyn Monitor>; 4] = [
        Box::new(Numbers::default()),
        Box::new(Acks::new(timers)),
        Box::new(Copies::default()),
        Box::new(Answers::new(timers)),
    ];
    monitors.into_iter().map(of_agents).collect()
}

/// Shows a monitor user agents alone, and all damage.
struct OfAgents {
    agents: usize,
    monitor: Box<dyn Monitor>,
}

impl Monitor for OfAgents {
    fn see(&mut self, entry: &Entry, trace: &Trace) -> Result<(), Violation> {
        let is_damage = matches!(entry.what, What::Arrived { damaged: true, .. });
        if entry.node < self.agents || is_damage { self.monitor.see(entry, trace) } else { Ok(()) }
    }

    fn at_rest(&mut self, trace: &Trace) -> Result<(), Violation> {
        self.monitor.at_rest(trace)
    }
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
    /// Those whose BYE was taken.
    over: BTreeSet<Half>,
}

impl Monitor for Numbers {
    fn see(&mut self, entry: &Entry, trace: &Trace) -> Result<(), Violation> {
        if let Some(gist) = arrived(entry, trace).filter(|gist| (200..300).contains(&gist.status)) {
            let half = half(entry.node, gist);
            match gist.verb {
                Verb::Bye => {
                    self.over.insert(half);
                }
                // A callee that has not taken the BYE of its early dialog may answer, and is hung up then.
                Verb::Invite if !self.over.contains(&half) => {
                    self.byes.remove(&half);
                }
                _ => {}
            }
        }
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

/// I23. An INVITE is alive for 64·T1 at least, unless it was refused, could not be sent, or its node came back without it.
struct Answers {
    lives: Duration,
    /// When each INVITE was sent, by node, Call-ID, From and number; what was refused is not there.
    invites: BTreeMap<(usize, u64, u64, u32), Instant>,
    /// The 2xx that want an ACK.
    owed: BTreeMap<Answer, Instant>,
    /// The branches of INVITEs: an ACK that has one is for a refusal.
    branches: BTreeSet<u64>,
    /// Something has arrived that was not what was sent: where a 2xx wants its ACK is not known then.
    damaged: bool,
}

impl Answers {
    const fn new(timers: &Timers) -> Self {
        Self {
            lives: timers.t1x64(),
            invites: BTreeMap::new(),
            owed: BTreeMap::new(),
            branches: BTreeSet::new(),
            damaged: false,
        }
    }
}

impl Monitor for Answers {
    fn see(&mut self, entry: &Entry, trace: &Trace) -> Result<(), Violation> {
        let node = entry.node;
        self.damaged |= matches!(entry.what, What::Arrived { damaged: true, .. });
        if matches!(entry.what, What::Crashed | What::Jumped { .. } | What::Connection { open: false, .. }) {
            self.invites.retain(|(at, ..), _| *at != node);
            self.owed.retain(|(at, ..), _| *at != node);
        }
        if let What::Lost { packet, why: Loss::NotSent } = entry.what {
            // Its node is told, and gives it up.
            let gist = trace.packet(packet).and_then(|packet| packet.gist);
            if let Some(gist) = gist.filter(|gist| gist.status == 0 && gist.verb == Verb::Invite) {
                self.invites.remove(&(node, gist.call, gist.from, gist.cseq));
            }
        }
        if let Some(gist) = sent(entry, trace).filter(|gist| gist.status == 0) {
            match gist.verb {
                Verb::Invite if self.branches.insert(gist.branch) => {
                    self.invites.insert((node, gist.call, gist.from, gist.cseq), entry.local);
                }
                Verb::Ack if !self.branches.contains(&gist.branch) => {
                    self.owed.remove(&(node, gist.call, gist.from, gist.to_tag, gist.cseq));
                }
                _ => {}
            }
        }
        let Some(gist) = arrived(entry, trace).filter(|gist| gist.verb == Verb::Invite) else {
            return Ok(());
        };
        let invite = (node, gist.call, gist.from, gist.cseq);
        match gist.status {
            200..300 => {
                let is_alive =
                    self.invites.get(&invite).is_some_and(|at| entry.local.since(*at) < self.lives);
                if is_alive {
                    let answer = (node, gist.call, gist.from, gist.to_tag, gist.cseq);
                    self.owed.entry(answer).or_insert(entry.at);
                }
            }
            300.. => {
                self.invites.remove(&invite);
            }
            _ => {}
        }
        Ok(())
    }

    fn at_rest(&mut self, _: &Trace) -> Result<(), Violation> {
        match self.owed.first_key_value().filter(|_| !self.damaged) {
            Some(((node, ..), at)) => {
                let what = format!("the 2xx of {} was never acknowledged", super::trace::seconds(*at));
                Err(Violation::new("I23", what, *at, *node))
            }
            None => Ok(()),
        }
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
        // One that came damaged may have been read all the same, and refused.
        let came = match entry.what {
            What::Arrived { packet, .. } => trace.packet(packet).and_then(|packet| packet.gist.as_ref()),
            _ => None,
        };
        if let Some(gist) =
            sent(entry, trace).or(came).filter(|gist| gist.status == 0 && gist.verb == Verb::Invite)
        {
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
        // What is due at the instant of the ACK may go out before it, and what waits for a connection when it is there.
        let is_datagram = matches!(entry.what, What::Sent { packet } if trace.packet(packet).is_some_and(|packet| packet.conn.is_none()));
        if is_datagram && *sends > 1 && self.acked.get(&key).is_some_and(|at| *at < entry.local) {
            return broken("I10", entry.node, "a 2xx was sent again after its ACK".into());
        }
        Ok(())
    }
}
