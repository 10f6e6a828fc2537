//! Reads the histories of transactions out of a trace: finds out whose each message is, and has a history judged when it is over.

use super::history::{Event, History, INVARIANTS, Role};
use super::monitor::{Monitor, Violation, broken};
use super::note::{Gist, Note, Verb};
use super::trace::{Entry, Packet, Trace, What, seconds};
use crate::endpoint::{Cause, Txn};
use crate::time::Instant;
use crate::transaction::Timers;
use crate::transport::Transport;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

/// Reads the histories out of a trace.
pub(super) struct Histories {
    timers: Timers,
    open: BTreeMap<(usize, Key), History>,
    /// Clients that have begun, until their request is sent.
    waiting: BTreeMap<Began, VecDeque<Key>>,
    /// Clients by branch and method; servers by branch, Via, CSeq and method.
    clients: BTreeMap<(usize, u64, Verb), Key>,
    servers: BTreeMap<(usize, u64, u64, u32, Verb), Key>,
    /// Transactions that are over: nothing is heard of them again.
    over: BTreeSet<(usize, Key)>,
    /// The CANCELs: when each was sent last, how long until it is sent again, and how late the node was.
    cancels: BTreeMap<(usize, u64), (Instant, Duration, Duration)>,
    /// How late each node has been in all.
    late: BTreeMap<usize, Duration>,
    /// The last responses of servers, to be compared with what a copy of the request brings.
    last: BTreeMap<(usize, Key), Gist>,
    lost_connections: BTreeSet<(usize, u32)>,
    /// The nodes to which something came since they rested: whether all of it were stray responses. What came by one reading of a
    /// connection is dealt with as one, and what is sent may be for any of it.
    busy: BTreeMap<usize, bool>,
    /// The arrival that is being dealt with at a node, if it was a stray response or a copy of a request.
    stray: BTreeMap<usize, u32>,
    copy: BTreeMap<usize, (u32, Key, bool)>,
    /// The same, if it was damaged: what it has become a copy of is not known.
    damaged: BTreeMap<usize, u32>,
    /// The same, if it was a CANCEL of a live INVITE: its branch, and how often it was answered with 200.
    cancelled: BTreeMap<usize, (u32, u64, u32)>,
    arrived: BTreeMap<usize, (u32, Option<u32>)>,
    /// The arrival that was malformed, and what it was answered with outside any transaction.
    malformed: BTreeMap<usize, (u32, u16)>,
    /// The deadline of each node when it last rested.
    deadlines: BTreeMap<usize, Instant>,
}

/// What a request is known by before it is sent: node, Call-ID, CSeq and Request-URI.
type Began = (usize, u64, u32, Verb, u64);

/// A handle that can be ordered.
type Key = (bool, u64);

const fn key_of(txn: Txn) -> Key {
    match txn {
        Txn::Client(txn) => (true, txn.to_bits()),
        Txn::Server(txn) => (false, txn.to_bits()),
    }
}

impl Histories {
    pub(super) const fn new(timers: &Timers) -> Self {
        Self {
            timers: *timers,
            open: BTreeMap::new(),
            waiting: BTreeMap::new(),
            clients: BTreeMap::new(),
            servers: BTreeMap::new(),
            over: BTreeSet::new(),
            cancels: BTreeMap::new(),
            late: BTreeMap::new(),
            last: BTreeMap::new(),
            lost_connections: BTreeSet::new(),
            busy: BTreeMap::new(),
            stray: BTreeMap::new(),
            copy: BTreeMap::new(),
            damaged: BTreeMap::new(),
            cancelled: BTreeMap::new(),
            arrived: BTreeMap::new(),
            malformed: BTreeMap::new(),
            deadlines: BTreeMap::new(),
        }
    }

    fn late(&self, node: usize) -> Duration {
        self.late.get(&node).copied().unwrap_or_default()
    }

    fn begin(&mut self, entry: &Entry, txn: Txn, role: Role, verb: Verb, request: Option<Gist>) {
        let late_before = self.late(entry.node);
        let history = History {
            node: entry.node,
            role,
            verb,
            reliable: false,
            began: entry.local,
            request,
            events: Vec::new(),
            slack: Duration::ZERO,
            fuzzy: false,
            conn: None,
            late_before,
        };
        self.open.insert((entry.node, key_of(txn)), history);
    }

    fn add(&mut self, entry: &Entry, key: Key, event: Event) {
        if let Some(history) = self.open.get_mut(&(entry.node, key)) {
            history.events.push((entry.local, event));
        }
    }

    /// A note about a transaction: it must be alive.
    fn alive(&self, node: usize, txn: Txn) -> Result<Key, Violation> {
        let key = key_of(txn);
        if self.open.contains_key(&(node, key)) {
            return Ok(key);
        }
        let what = if self.over.contains(&(node, key)) { "over" } else { "unknown" };
        Err(Violation::new(
            "I7",
            alloc::format!("something is said of {txn:?}, which is {what}"),
            Instant::ZERO,
            node,
        ))
    }

    fn note(&mut self, entry: &Entry, note: &Note) -> Result<(), Violation> {
        let node = entry.node;
        if matches!(
            note,
            Note::Answered { .. }
                | Note::Repeated { .. }
                | Note::Began { .. }
                | Note::Acked { .. }
                | Note::Cancelling { .. }
        ) {
            // What is sent from here on is the user's doing.
            self.copy.remove(&node);
            self.stray.remove(&node);
            self.damaged.remove(&node);
            if let Some((number, _)) = self.arrived.get_mut(&node) {
                *number = u32::MAX;
            }
        }
        match *note {
            Note::Began { txn, verb, call, cseq, uri } => {
                let role = if verb == Verb::Invite { Role::Ict } else { Role::Nict };
                self.begin(entry, Txn::Client(txn), role, verb, None);
                let waiting = self.waiting.entry((node, call, cseq, verb, uri)).or_default();
                waiting.push_back(key_of(Txn::Client(txn)));
            }
            Note::Request { txn, gist, .. } => {
                let at = (node, gist.branch, gist.sent_by, gist.cseq, gist.verb);
                let alive = self.servers.get(&at).and_then(|key| self.open.get(&(node, *key)));
                let same = |history: &History| {
                    history.request.is_some_and(|known| known.cseq == gist.cseq && known.call == gist.call)
                };
                if alive.is_some_and(|history| same(history) && !history.fuzzy) {
                    return broken("I11", node, "the same request was given to the user twice".into());
                }
                let role = if gist.verb == Verb::Invite { Role::Ist } else { Role::Nist };
                self.begin(entry, Txn::Server(txn), role, gist.verb, Some(gist));
                let key = key_of(Txn::Server(txn));
                let conn = self.arrived.get(&node).and_then(|(_, conn)| *conn);
                if let Some(history) = self.open.get_mut(&(node, key)) {
                    (history.conn, history.reliable) = (conn, conn.is_some());
                    // By RFC 2543 To tag and Request-URI count too, which responses do not tell.
                    history.fuzzy = !gist.named;
                }
                self.servers.insert(at, key);
            }
            Note::Answered { txn, status } => {
                let key = self.alive(node, Txn::Server(txn))?;
                self.add(entry, key, Event::Answered(status));
            }
            Note::Repeated { txn } => {
                let key = self.alive(node, Txn::Server(txn))?;
                self.add(entry, key, Event::Repeated);
            }
            Note::Cancelling { txn } => {
                let key = self.alive(node, Txn::Client(txn))?;
                self.add(entry, key, Event::Cancelling);
            }
            Note::Response { txn, gist } => {
                let key = self.alive(node, Txn::Client(txn))?;
                self.add(entry, key, Event::Told(gist.status));
            }
            Note::TransportError { txn } => {
                let key = self.alive(node, txn)?;
                self.add(entry, key, Event::TransportError);
            }
            Note::Unanswered { txn } => {
                let key = self.alive(node, Txn::Server(txn))?;
                self.add(entry, key, Event::Unanswered);
            }
            Note::Cancelled { txn } => {
                self.alive(node, Txn::Server(txn))?;
            }
            Note::Ended { txn, cause } => return self.end(entry, txn, cause),
            Note::Rejected { status } => {
                self.malformed.insert(node, (entry.cause, status.unwrap_or_default()));
            }
            Note::Aborted { .. }
            | Note::Acked { .. }
            | Note::Ack { .. }
            | Note::Refused { .. }
            | Note::Stray { .. } => {}
        }
        Ok(())
    }

    fn end(&mut self, entry: &Entry, txn: Txn, cause: Cause) -> Result<(), Violation> {
        let key = self.alive(entry.node, txn)?;
        self.add(entry, key, Event::Ended(cause));
        let Some(mut history) = self.open.remove(&(entry.node, key)) else { return Ok(()) };
        history.slack = self.late(entry.node).saturating_sub(history.late_before);
        self.over.insert((entry.node, key));
        self.last.remove(&(entry.node, key));
        judge(&history, &self.timers)
    }

    fn sent(&mut self, entry: &Entry, packet: &Packet) -> Result<(), Violation> {
        let Some(gist) = packet.gist.filter(|_| !packet.forged) else { return Ok(()) };
        let node = entry.node;
        let caused = self.arrived.get(&node).is_some_and(|(number, _)| *number == entry.cause);
        // A timer may be due at the same instant: what it sends is not because of the stray.
        let timed = self.deadlines.get(&node).is_some_and(|deadline| *deadline <= entry.local);
        if caused && !timed && self.stray.get(&node) == Some(&entry.cause) {
            return broken("I19", node, "something was sent because of a stray response".into());
        }
        if gist.is_request() {
            return self.sent_request(entry, packet, &gist);
        }
        if self.malformed.get(&node) == Some(&(entry.cause, gist.status)) {
            return Ok(());
        }
        if let Some((number, branch, answers)) = self.cancelled.get_mut(&node) {
            let it = (gist.verb, gist.status) == (Verb::Cancel, 200);
            let it = it && *number == entry.cause && *branch == gist.branch;
            *answers += u32::from(it);
        }
        let at = (node, gist.branch, gist.sent_by, gist.cseq, gist.verb);
        let Some(key) = self.servers.get(&at).copied() else { return Ok(()) };
        let Some(history) = self.open.get_mut(&(node, key)) else {
            // Over: what is sent now must answer something that has just come, or has waited for its connection.
            // The answer to a CANCEL comes before what its user does about it, and is noted after.
            if !caused && packet.conn.is_none() && gist.verb != Verb::Cancel {
                return broken("I7", node, alloc::format!("a {} was sent after the end", gist.status));
            }
            return Ok(());
        };
        history.fuzzy |= self.damaged.get(&node) == Some(&entry.cause);
        let Some(request) = history.request else { return Ok(()) };
        let copies = (gist.vias, gist.from, gist.call, gist.cseq)
            == (request.vias, request.from, request.call, request.cseq);
        let tagged = request.to_tag == 0 || gist.to == request.to;
        let before = self.last.insert((node, key), gist);
        let same_tag =
            gist.status == 100 || before.is_none_or(|before| before.status == 100 || before.to == gist.to);
        let repeats = copies && tagged && same_tag;
        if !repeats && !history.fuzzy {
            return broken(
                "I21",
                node,
                alloc::format!("the {} does not repeat what its request has", gist.status),
            );
        }
        if packet.transport == Transport::Udp && gist.reply_to.is_some_and(|reply| reply != packet.to) {
            return broken("I27", node, alloc::format!("the {} goes to {}", gist.status, packet.to));
        }
        let lost = history.conn.is_some_and(|conn| self.lost_connections.contains(&(node, conn)));
        if history.conn.is_some() && history.conn != packet.conn && !lost {
            return broken("I27", node, alloc::format!("the {} goes by another connection", gist.status));
        }
        // A copy of the request brings the last response once. A second one at this instant can only be Timer G's.
        let mut caused = false;
        if let Some((_, _, allowed)) =
            self.copy.get_mut(&node).filter(|(number, copied, _)| *number == entry.cause && *copied == key)
        {
            let same = history.fuzzy || before.is_none_or(|before| before.bytes == gist.bytes);
            let first = core::mem::take(allowed);
            let repeats = history.role == Role::Ist && gist.status >= 300 && !history.reliable;
            if !same || !(first || repeats) {
                return broken(
                    "I11",
                    node,
                    "a copy of a request brought something else than the last response".into(),
                );
            }
            caused = first;
        }
        history.events.push((entry.local, Event::Sent(gist, caused)));
        Ok(())
    }

    /// I6 for the NICT of a CANCEL, of which nobody is told: T1, doubled up to T2.
    fn cancel_copy(&mut self, entry: &Entry, branch: u64) -> Result<(), Violation> {
        let late = self.late(entry.node);
        let next = match self.cancels.get(&(entry.node, branch)) {
            None => self.timers.t1,
            Some((last, interval, before)) => {
                let took = entry.local.since(*last);
                let late = late.saturating_sub(*before);
                let fits = |interval: Duration| took >= interval && took <= interval + late;
                // A provisional response to it, forged or not, slows it down to T2.
                if !fits(*interval) && !fits(self.timers.t2) {
                    let what =
                        alloc::format!("a CANCEL was sent again after {took:?} in place of {interval:?}");
                    return broken("I6", entry.node, what);
                }
                (*interval * 2).min(self.timers.t2)
            }
        };
        self.cancels.insert((entry.node, branch), (entry.local, next, late));
        Ok(())
    }

    /// A copy of a request came and brought nothing: there must be nothing to bring.
    fn unanswered_copy(&self, node: usize, key: Key) -> Result<(), Violation> {
        let Some(history) =
            self.open.get(&(node, key)).filter(|history| !history.fuzzy && history.conn.is_none())
        else {
            return Ok(());
        };
        let acked = history.events.iter().any(|(_, event)| matches!(event, Event::HeardAck));
        let status = self.last.get(&(node, key)).map(|last| last.status);
        let due = match (history.role, status) {
            (Role::Nist, status) => status.is_some(),
            (_, None) => true,
            (_, Some(200..=299)) => false,
            (_, Some(status)) => status < 200 || !acked,
        };
        if due { broken("I11", node, "a copy of a request was not answered".into()) } else { Ok(()) }
    }

    fn sent_request(&mut self, entry: &Entry, packet: &Packet, gist: &Gist) -> Result<(), Violation> {
        let node = entry.node;
        let invite = self.clients.get(&(node, gist.branch, Verb::Invite)).copied();
        match (gist.verb, invite) {
            (Verb::Ack, Some(key)) => {
                self.add(entry, key, Event::SentAck(*gist));
                return Ok(());
            }
            (Verb::Ack, None) => return Ok(()),
            (Verb::Cancel, Some(key)) => {
                if packet.conn.is_none() {
                    self.cancel_copy(entry, gist.branch)?;
                }
                self.add(entry, key, Event::SentCancel(*gist));
                return Ok(());
            }
            (Verb::Cancel, None) => return broken("I12", node, "a CANCEL was sent for nothing".into()),
            _ => {}
        }
        let at = (node, gist.branch, gist.verb);
        let key = match self.clients.get(&at) {
            Some(key) => *key,
            None => {
                // The first send of a transaction that has begun: now its branch is known.
                let known = |call| (node, call, gist.cseq, gist.verb, gist.uri);
                // Who ended before its request could be sent waits no longer.
                let waiting = [known(gist.call), known(0)].into_iter().find_map(|known| {
                    let queue = self.waiting.get_mut(&known)?;
                    core::iter::from_fn(|| queue.pop_front())
                        .find(|key| self.open.contains_key(&(node, *key)))
                });
                let Some((key, history)) =
                    waiting.and_then(|key| Some((key, self.open.get_mut(&(node, key))?)))
                else {
                    let what =
                        alloc::format!("{} {} was sent, and nobody began it", gist.verb.as_str(), gist.cseq);
                    return broken("I7", node, what);
                };
                history.request = Some(*gist);
                history.reliable = packet.conn.is_some();
                history.conn = packet.conn;
                self.clients.insert(at, key);
                key
            }
        };
        if !self.open.contains_key(&(node, key)) {
            return broken("I7", node, "a request was sent after its transaction was over".into());
        }
        self.add(entry, key, Event::Sent(*gist, false));
        Ok(())
    }

    /// A stray response, after others or alone.
    fn note_stray(&mut self, entry: &Entry, strays: bool) {
        self.busy.insert(entry.node, strays);
        if strays {
            self.stray.insert(entry.node, entry.number);
        }
    }

    fn heard(&mut self, entry: &Entry, packet: &Packet, damaged: bool) {
        let node = entry.node;
        self.arrived.insert(node, (entry.number, packet.conn));
        let strays = self.busy.insert(node, false).unwrap_or(true);
        self.stray.remove(&node);
        let Some(gist) = packet.gist else { return };
        let key = if gist.is_request() {
            let verb = if gist.verb == Verb::Ack { Verb::Invite } else { gist.verb };
            self.servers.get(&(node, gist.branch, gist.sent_by, gist.cseq, verb)).copied()
        } else {
            self.clients.get(&(node, gist.branch, gist.verb)).copied()
        };
        let alive = key.filter(|key| self.open.contains_key(&(node, *key)));
        if damaged {
            self.damaged.insert(node, entry.number);
            // What it was for can't be said for sure: of these nothing exact is asked any more.
            let invites = [
                self.clients.get(&(node, gist.branch, Verb::Invite)),
                self.servers.get(&(node, gist.branch, gist.sent_by, gist.cseq, Verb::Invite)),
            ];
            for key in invites.into_iter().flatten().copied().chain(alive) {
                if let Some(history) = self.open.get_mut(&(node, key)) {
                    history.fuzzy = true;
                }
            }
            return;
        }
        // RFC 3261 §18.1.2: a response whose sent-by is not ours is for nobody, whatever its branch.
        let foreign = |history: &&mut History| {
            history
                .request
                .is_some_and(|request| (request.sent_by, request.transport) != (gist.sent_by, gist.transport))
        };
        let of_key = alive.filter(|_| !gist.is_request()).and_then(|key| self.open.get_mut(&(node, key)));
        if of_key.filter(foreign).is_some() {
            self.note_stray(entry, strays);
            return;
        }
        if gist.is_request() && gist.verb == Verb::Cancel && gist.named && packet.conn.is_none() {
            let find = |verb| {
                let key = self.servers.get(&(node, gist.branch, gist.sent_by, gist.cseq, verb))?;
                self.open.get(&(node, *key))
            };
            // One that came before its INVITE was the user's to answer, and so are its copies.
            if find(Verb::Invite).is_some_and(|invite| !invite.fuzzy) && find(Verb::Cancel).is_none() {
                self.cancelled.insert(node, (entry.number, gist.branch, 0));
            }
        }
        match alive {
            Some(key) if gist.verb == Verb::Ack => self.add(entry, key, Event::HeardAck),
            Some(key) => {
                if gist.is_request() {
                    // A copy: it brings the last response once more, if there is one, or the first 100 of an INVITE.
                    self.copy.insert(node, (entry.number, key, true));
                }
                self.add(entry, key, Event::Heard(gist));
            }
            None if !gist.is_request() && gist.verb != Verb::Cancel => self.note_stray(entry, strays),
            None => {}
        }
    }
}

/// Holds all invariants against a history.
fn judge(history: &History, timers: &Timers) -> Result<(), Violation> {
    for (name, holds) in INVARIANTS {
        if let Err(what) = holds(history, timers) {
            let mut what = alloc::format!(
                "{:?} {}: {what}; it began at {}",
                history.role,
                history.verb.as_str(),
                seconds(history.began)
            );
            for (at, event) in &history.events {
                what += &alloc::format!("; {} {}", seconds(*at), event.words());
            }
            return broken(name, history.node, what);
        }
    }
    Ok(())
}

impl Monitor for Histories {
    fn see(&mut self, entry: &Entry, trace: &Trace) -> Result<(), Violation> {
        match entry.what {
            What::Note(note) => self.note(entry, &note),
            What::Sent { packet } => match trace.packet(packet) {
                Some(packet) => self.sent(entry, packet),
                None => Ok(()),
            },
            What::Arrived { packet, damaged } => {
                if let Some(packet) = trace.packet(packet) {
                    self.heard(entry, packet, damaged);
                }
                Ok(())
            }
            What::Woken { late } | What::Jumped { by: late, forward: true } => {
                *self.late.entry(entry.node).or_default() += late;
                Ok(())
            }
            What::Rest { deadline, .. } => {
                self.busy.remove(&entry.node);
                self.damaged.remove(&entry.node);
                self.deadlines.insert(entry.node, deadline.unwrap_or(Instant::MAX));
                if let Some((.., answers @ (0 | 2..))) = self.cancelled.remove(&entry.node) {
                    let what = alloc::format!("a CANCEL was answered with 200 {answers} times");
                    return broken("I12", entry.node, what);
                }
                match self.copy.remove(&entry.node) {
                    Some((_, key, true)) => self.unanswered_copy(entry.node, key),
                    _ => Ok(()),
                }
            }
            What::Connection { number, open: false } => {
                self.lost_connections.insert((entry.node, number));
                for ((_, _), history) in
                    self.open.range_mut((entry.node, (false, 0))..=(entry.node, (true, u64::MAX)))
                {
                    if history.conn == Some(number) {
                        history.events.push((entry.local, Event::ConnectionLost));
                    }
                }
                Ok(())
            }
            What::Crashed => {
                self.busy.remove(&entry.node);
                self.open.retain(|(node, _), _| *node != entry.node);
                self.waiting.retain(|(node, ..), _| *node != entry.node);
                self.clients.retain(|(node, ..), _| *node != entry.node);
                self.servers.retain(|(node, ..), _| *node != entry.node);
                self.cancels.retain(|(node, _), _| *node != entry.node);
                self.over.retain(|(node, _)| *node != entry.node);
                self.last.retain(|(node, _), _| *node != entry.node);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn at_rest(&mut self, _: &Trace) -> Result<(), Violation> {
        match self.open.values().next() {
            Some(history) => judge(history, &self.timers),
            None => Ok(()),
        }
    }
}
