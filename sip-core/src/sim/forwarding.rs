//! The invariants of a proxy, by what comes to it and what it sends (RFC 3261 §16).

use super::histories::Histories;
use super::monitor::{Caps, Monitor, Violation, broken, wire_monitors};
use super::note::{Gist, Verb};
use super::trace::{Entry, Packet, PacketId, Trace, What};
use crate::config::Limits;
use crate::headers::{MaxForwards, Via};
use crate::message::Message;
use crate::time::Instant;
use crate::transaction::Timers;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

/// All monitors for a world with a proxy at this node, whose user's doings are not noted: by what is seen of it on the wire.
pub(super) fn proxy_monitors(node: usize, timers: &Timers, most_open: usize) -> Vec<Box<dyn Monitor>> {
    let mut all = wire_monitors();
    all.push(Box::new(Caps(most_open)));
    all.push(Box::new(Besides { node, monitor: Histories::new(timers) }));
    all.push(Box::new(Forwarding::new(node, timers)));
    all
}

/// A monitor that does not see one of the nodes.
struct Besides<M> {
    node: usize,
    monitor: M,
}

impl<M: Monitor> Monitor for Besides<M> {
    fn see(&mut self, entry: &Entry, trace: &Trace) -> Result<(), Violation> {
        if entry.node == self.node { Ok(()) } else { self.monitor.see(entry, trace) }
    }

    fn at_rest(&mut self, trace: &Trace) -> Result<(), Violation> {
        self.monitor.at_rest(trace)
    }
}

/// What of a message tells how it was forwarded.
#[derive(Clone)]
struct Seen {
    /// The branches of its Vias, the top one first.
    branches: Vec<Vec<u8>>,
    hops: Option<u8>,
    is_request: bool,
    key: u64,
}

/// An INVITE that was forwarded, by the branch that it went by.
struct Branch {
    /// The branch that it came by.
    of: u64,
    /// A final response that is no 2xx has come, and the To tags of the 2xx that have.
    refused: bool,
    accepted: BTreeSet<u64>,
    rang: bool,
    cancelled: bool,
}

impl Branch {
    /// It is neither answered nor cancelled.
    fn rings(&self) -> bool {
        self.rang && !self.refused && self.accepted.is_empty() && !self.cancelled
    }
}

/// An INVITE that came, by its branch.
#[derive(Default)]
struct Call {
    /// The final response that went back first.
    answered: Option<u16>,
    /// Until when others may go back behind a 2xx.
    until: Option<Instant>,
    /// Nobody is wanted any more who has not answered.
    closed: bool,
}

/// I31, in four parts.
///
/// | name | says |
/// |---|---|
/// | I31a | a request goes on with one Via more and one hop less, a response with one Via less |
/// | I31b | a 2xx to an INVITE goes back when it comes |
/// | I31c | one final response goes back besides 2xx, and none behind one of those; never a 503, and no 408 to anything but an INVITE |
/// | I31d | a branch that rings when another has won, with a 2xx or a 6xx, or when the caller has given up, is cancelled; and so is one that rings without end |
struct Forwarding {
    node: usize,
    timers: Timers,
    seen: BTreeMap<PacketId, Seen>,
    /// The messages that have come since the node rested last: several may lie in one piece of a stream.
    arrived: Vec<Seen>,
    /// The To tag of a 2xx that is to go back before the node rests.
    owed: Option<u64>,
    calls: BTreeMap<u64, Call>,
    branches: BTreeMap<u64, Branch>,
    /// Until when a branch may live, by when it was sent or heard of last.
    ends: BTreeMap<u64, Instant>,
    /// What has come is not known for sure, or when: from there on only what can be known is asked for.
    fuzzy: bool,
}

impl Forwarding {
    fn new(node: usize, timers: &Timers) -> Self {
        Self {
            node,
            timers: *timers,
            seen: BTreeMap::new(),
            arrived: Vec::new(),
            owed: None,
            calls: BTreeMap::new(),
            branches: BTreeMap::new(),
            ends: BTreeMap::new(),
            fuzzy: false,
        }
    }

    /// Reads a message while its bytes are there.
    fn note(&mut self, id: PacketId, packet: &Packet) {
        let (Ok(message), Some(gist)) = (Message::parse(&packet.bytes, &Limits::NONE), packet.gist) else {
            return;
        };
        let branches = message.all::<Via<'_>>().flatten().map(|via| via.branch().unwrap_or_default().into());
        let hops = message.get::<MaxForwards>().ok().flatten().map(|hops| hops.0);
        self.seen.insert(
            id,
            Seen { branches: branches.collect(), hops, is_request: gist.is_request(), key: key(&gist) },
        );
    }

    fn on_arrived(&mut self, entry: &Entry, packet: &Packet) {
        let Some(gist) = packet.gist else { return };
        if gist.is_request() {
            match gist.verb {
                Verb::Invite => _ = self.calls.entry(key(&gist)).or_default(),
                // It has what its INVITE has.
                Verb::Cancel => {
                    if let Some(call) = self.calls.get_mut(&key(&gist)) {
                        call.closed |= call.answered.is_none();
                    }
                }
                _ => {}
            }
            return;
        }
        if gist.verb != Verb::Invite {
            return;
        }
        let until = self.ends.get(&gist.branch).copied();
        let Some(branch) = self.branches.get_mut(&gist.branch) else { return };
        let lives = until.is_some_and(|until| entry.local < until);
        match gist.status {
            ..=100 => {}
            101..=199 => branch.rang |= lives && !branch.refused && branch.accepted.is_empty(),
            200..=299 => {
                let first = branch.accepted.is_empty();
                let new = branch.accepted.insert(gist.to_tag);
                let goes_back = self.calls.get(&branch.of).is_some_and(|call| {
                    call.answered.is_none_or(|status| status < 300)
                        && call.until.is_none_or(|until| entry.local < until)
                });
                if lives && new && !branch.refused && goes_back && !self.fuzzy {
                    self.owed = Some(gist.to_tag);
                }
                if first {
                    self.ends.insert(gist.branch, entry.local + self.timers.t1x64());
                }
            }
            status => {
                branch.refused |= branch.accepted.is_empty();
                // §16.7, step 5
                if let Some(call) = self.calls.get_mut(&branch.of) {
                    call.closed |= status >= 600 && branch.refused && lives;
                }
            }
        }
        if gist.status < 200 && lives {
            // As Timer C says, which no response makes shorter.
            let after = self.timers.ringing.unwrap_or(self.timers.t1x64());
            self.ends.insert(gist.branch, entry.local + after);
        }
    }

    fn on_sent(&mut self, entry: &Entry, id: PacketId, packet: &Packet) -> Result<(), Violation> {
        let Some(gist) = packet.gist else { return Ok(()) };
        if gist.is_request() {
            match gist.verb {
                Verb::Cancel => {
                    if let Some(branch) = self.branches.get_mut(&gist.branch) {
                        branch.cancelled = true;
                        // It need not answer that (§9.1).
                        let until = entry.local + self.timers.t1x64();
                        self.ends.entry(gist.branch).and_modify(|end| *end = until.min(*end));
                    }
                    return Ok(());
                }
                // That for a refusal is this hop's own.
                Verb::Ack if self.branches.contains_key(&gist.branch) => return Ok(()),
                _ if packet.again => return Ok(()),
                _ => {}
            }
            let Some(now) = self.seen.get(&id) else { return Ok(()) };
            let below = now.branches.get(1..).unwrap_or_default();
            let goes_on = |before: &&Seen| {
                let hops = before.hops.map_or(Some(70), |hops| hops.checked_sub(1));
                before.is_request && below == before.branches && now.hops == hops
            };
            let before = self.arrived.iter().find(goes_on).map(|before| before.key);
            if gist.verb == Verb::Invite {
                // A copy that comes when all is over begins anew.
                if let Some(call) = before.and_then(|key| self.calls.get_mut(&key)) {
                    *call = Call::default();
                }
                let (of, accepted) = (before.unwrap_or_default(), BTreeSet::new());
                let branch = Branch { of, refused: false, accepted, rang: false, cancelled: false };
                self.branches.insert(gist.branch, branch);
                self.ends.insert(gist.branch, entry.local + self.timers.t1x64());
            }
            if before.is_none() && self.arrived.iter().any(|before| before.is_request) && !self.fuzzy {
                let what = format!("{} went on with other Vias or hops", gist.verb.as_str());
                return broken("I31a", entry.node, what);
            }
            return Ok(());
        }
        if gist.status == 100 || packet.again {
            return Ok(());
        }
        // What is of this side's own making answers a request.
        let mut responses = self.arrived.iter().filter(|before| !before.is_request).peekable();
        if let (Some(now), Some(_), false) = (self.seen.get(&id), responses.peek(), self.fuzzy) {
            let own = self.arrived.iter().any(|before| before.is_request && before.key == now.key);
            if !own && !responses.any(|before| before.branches.get(1..) == Some(&now.branches)) {
                return broken("I31a", entry.node, format!("a {} went back with other Vias", gist.status));
            }
        }
        if gist.status == 503 && !self.fuzzy {
            return broken("I31c", entry.node, "a 503 went back".into());
        }
        if gist.status == 408 && gist.verb != Verb::Invite {
            return broken("I31c", entry.node, "a 408 went back to who waits no more".into());
        }
        if gist.verb != Verb::Invite {
            return Ok(());
        }
        if self.owed == Some(gist.to_tag) {
            self.owed = None;
        }
        let call = self.calls.entry(key(&gist)).or_default();
        // What is malformed is refused without a transaction.
        if gist.status < 200 || self.fuzzy {
            return Ok(());
        }
        match call.answered {
            None => {
                let until = entry.local + self.timers.t1x64();
                *call = Call { answered: Some(gist.status), until: Some(until), closed: true };
            }
            Some(known) if known == gist.status || gist.status < 300 => {}
            Some(known) => {
                return broken("I31c", entry.node, format!("a {} went back behind a {known}", gist.status));
            }
        }
        Ok(())
    }
}

/// What a server transaction is known by (RFC 3261 §17.2.3), of its request and its responses.
const fn key(gist: &Gist) -> u64 {
    gist.branch ^ gist.via.rotate_left(1) ^ gist.call.rotate_left(2) ^ gist.cseq as u64
}

impl Monitor for Forwarding {
    fn see(&mut self, entry: &Entry, trace: &Trace) -> Result<(), Violation> {
        if let What::Sent { packet } = entry.what {
            if let Some(found) = trace.packet(packet) {
                self.note(packet, found);
            }
        }
        // What is damaged elsewhere comes here in an answer.
        if let What::Arrived { packet, damaged } = entry.what {
            self.fuzzy |= damaged || trace.packet(packet).is_none_or(|packet| packet.forged);
        }
        if entry.node != self.node {
            return Ok(());
        }
        match entry.what {
            What::Sent { packet } => match trace.packet(packet) {
                Some(found) => self.on_sent(entry, packet, found),
                None => Ok(()),
            },
            What::Arrived { packet, damaged } => {
                let whole = trace.packet(packet).filter(|packet| !damaged && !packet.forged);
                if let Some(found) = whole {
                    self.arrived.extend(self.seen.get(&packet).cloned());
                    self.on_arrived(entry, found);
                }
                Ok(())
            }
            What::Rest { .. } => {
                self.arrived.clear();
                if self.owed.take().is_some() {
                    return broken("I31b", entry.node, "a 2xx came and did not go back".into());
                }
                let unwanted = |(id, branch): &(&u64, &Branch)| {
                    branch.rings()
                        && self.ends.get(*id).is_some_and(|end| entry.local < *end)
                        && self.calls.get(&branch.of).is_some_and(|call| call.closed)
                };
                match self.branches.iter().find(unwanted) {
                    Some(_) if !self.fuzzy => {
                        broken("I31d", entry.node, "a branch rings that nobody waits for".into())
                    }
                    _ => Ok(()),
                }
            }
            What::Woken { late } | What::Jumped { by: late, .. } => {
                self.fuzzy |= !late.is_zero();
                Ok(())
            }
            What::Lost { why: super::trace::Loss::NotSent, .. } | What::Connection { open: false, .. } => {
                self.fuzzy = true;
                Ok(())
            }
            What::Crashed => {
                *self = Self { seen: core::mem::take(&mut self.seen), ..Self::new(self.node, &self.timers) };
                self.fuzzy = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn at_rest(&mut self, _: &Trace) -> Result<(), Violation> {
        match self.branches.values().find(|branch| branch.rings()) {
            Some(_) if !self.fuzzy => {
                broken("I31d", self.node, "a branch rang, and was neither answered nor cancelled".into())
            }
            _ => Ok(()),
        }
    }
}
