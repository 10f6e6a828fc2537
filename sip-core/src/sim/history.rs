//! The invariants of transactions: each is a function over the whole history of one, from the request to its end.
//!
//! [`Histories`] reads the trace, finds out whose each message is, and lets the invariants judge a history when it is over. A machine
//! that was woken late, or whose clock was set forward, may be late by as much: the history says by how much at the most.

use super::monitor::{Monitor, Violation, broken};
use super::note::{Gist, Note, Verb};
use super::trace::{Entry, Packet, Trace, What, seconds};
use crate::endpoint::{Cause, Txn};
use crate::time::Instant;
use crate::transaction::Timers;
use crate::transport::{Reliability, Transport};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// Which machine a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the machines")]
pub enum Role {
    Ict,
    Nict,
    Ist,
    Nist,
}

/// One thing in the life of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its message was sent: the request, or a response. Whether an arriving message was the cause.
    Sent(Gist, bool),
    /// The ACK of an ICT was sent.
    SentAck(Gist),
    /// The CANCEL of an ICT was sent.
    SentCancel(Gist),
    /// A message for it arrived: a response, or its request once more.
    Heard(Gist),
    /// The ACK of an IST arrived.
    HeardAck,
    /// The user was given a response.
    Told(u16),
    /// The user answered.
    Answered(u16),
    /// The user had its 2xx sent again.
    Repeated,
    /// The user wants it cancelled.
    Cancelling,
    /// Something could not be sent.
    TransportError,
    /// Its connection is gone.
    ConnectionLost,
    /// It was answered in place of its user.
    Unanswered,
    /// It is over.
    Ended(Cause),
}

impl Event {
    /// In few words.
    fn words(&self) -> String {
        match self {
            Self::Sent(gist, true) => alloc::format!("sent {} for a copy", gist.status),
            Self::Sent(gist, false) if gist.is_request() => "sent".into(),
            Self::Sent(gist, false) => alloc::format!("sent {}", gist.status),
            Self::SentAck(_) => "sent ACK".into(),
            Self::SentCancel(_) => "sent CANCEL".into(),
            Self::Heard(gist) if gist.is_request() => "heard a copy".into(),
            Self::Heard(gist) => alloc::format!("heard {}", gist.status),
            other => alloc::format!("{other:?}"),
        }
    }
}

/// The life of one transaction.
#[derive(Clone, Debug)]
pub struct History {
    /// At which node.
    pub node: usize,
    /// Which machine.
    pub role: Role,
    /// The method.
    pub verb: Verb,
    /// Whether its transport repeats what is lost; known when something was sent or heard.
    pub reliable: bool,
    /// When it began, by the node's clock.
    pub began: Instant,
    /// Its request; of a client, when it was sent.
    pub request: Option<Gist>,
    /// What happened, and when by the node's clock.
    pub events: Vec<(Instant, Event)>,
    /// How late the node has been in all.
    pub slack: Duration,
    /// Damaged messages may have been for it: what arrived is not known for sure.
    pub fuzzy: bool,
    conn: Option<u32>,
    late_before: Duration,
}

impl History {
    fn first(&self, is: impl Fn(&Event) -> bool) -> Option<Instant> {
        self.events.iter().find(|(_, event)| is(event)).map(|(at, _)| *at)
    }

    fn ended(&self) -> Option<(Instant, Cause)> {
        self.events.iter().rev().find_map(|(at, event)| match event {
            Event::Ended(cause) => Some((*at, *cause)),
            _ => None,
        })
    }

    /// The first final response that the user was given.
    fn told_final(&self) -> Option<(Instant, u16)> {
        self.events.iter().find_map(|(at, event)| match event {
            Event::Told(status) if *status >= 200 => Some((*at, *status)),
            _ => None,
        })
    }

    /// The final response of the user, or of the machine in its place.
    fn answered(&self) -> Option<(Instant, u16)> {
        self.events.iter().find_map(|(at, event)| match event {
            Event::Answered(status) if *status >= 200 => Some((*at, *status)),
            Event::Unanswered if self.role == Role::Ist => Some((*at, 500)),
            _ => None,
        })
    }

    fn told_provisional(&self) -> Option<Instant> {
        self.first(|event| matches!(event, Event::Told(100..=199)))
    }

    /// Something took `expected`, and may take longer by what the node was late.
    fn takes(&self, what: &str, from: Instant, to: Instant, expected: Duration) -> Result<(), String> {
        let took = to.since(from);
        if took < expected || took > expected + self.slack {
            return Err(alloc::format!(
                "{what} took {took:?} in place of {expected:?} (the node was late by {:?})",
                self.slack
            ));
        }
        Ok(())
    }
}

/// An invariant over one history.
type Invariant = fn(&History, &Timers) -> Result<(), String>;

const INVARIANTS: [(&str, Invariant); 9] = [
    ("I1", nict_ends),
    ("I2", nist_ends),
    ("I3", ict_ends),
    ("I4", ist_ends),
    ("I5", one_outcome),
    ("I6", schedule),
    ("I8", acks),
    ("I12", cancel_in_time),
    ("I22", trying),
];

const fn reliability(history: &History) -> Reliability {
    if history.reliable { Reliability::Reliable } else { Reliability::Unreliable }
}

fn timer(timers: &Timers, timer: crate::transaction::Timer, history: &History) -> Duration {
    timers.first(timer, reliability(history)).unwrap_or_default()
}

/// I1: RFC 3261 §17.1.2.2: Timer F ends a NICT without an answer, Timer K one with.
fn nict_ends(history: &History, timers: &Timers) -> Result<(), String> {
    use crate::transaction::Timer::{F, K};
    if history.role != Role::Nict {
        return Ok(());
    }
    let Some((end, cause)) = history.ended() else { return Ok(()) };
    match (cause, history.told_final()) {
        (Cause::Timeout, None) => history.takes("Timer F", history.began, end, timer(timers, F, history)),
        (Cause::Timeout, Some(_)) => Err("Timer F fired after a final response".into()),
        (Cause::Completed, Some((told, _))) => history.takes("Timer K", told, end, timer(timers, K, history)),
        (Cause::Completed, None) => Err("it completed without a final response".into()),
        _ => Ok(()),
    }
}

/// I2: RFC 3261 §17.2.2, RFC 4320 §4: Timer J ends a NIST; without an answer it is forgotten in silence; it sends no 408, no
/// provisional response but 100, and on an unreliable transport no 100 before the client's Timer E has reached T2.
fn nist_ends(history: &History, timers: &Timers) -> Result<(), String> {
    use crate::transaction::Timer::{J, LateTrying, Unanswered};
    if history.role != Role::Nist {
        return Ok(());
    }
    let late = timer(timers, LateTrying, history);
    let mut tried = false;
    for (at, event) in &history.events {
        let Event::Sent(gist, _) = event else { continue };
        match gist.status {
            408 => return Err("it sent a 408".into()),
            100 if !history.reliable && at.since(history.began) < late => {
                return Err("it sent a 100 too early".into());
            }
            100 => tried = true,
            101..=199 => return Err("it sent a provisional response other than 100".into()),
            _ => {}
        }
    }
    let answered = history.answered();
    let unreachable =
        history.first(|event| matches!(event, Event::ConnectionLost | Event::TransportError)).is_some();
    let Some((end, cause)) = history.ended() else { return Ok(()) };
    if answered.map_or(end, |(at, _)| at).since(history.began) > late + history.slack
        && !tried
        && !unreachable
        && cause != Cause::Aborted
    {
        return Err("it sent no 100 though one was due".into());
    }
    match (cause, answered) {
        (Cause::Unanswered, None) => {
            history.takes("the wait for an answer", history.began, end, timer(timers, Unanswered, history))
        }
        (Cause::Completed, Some((at, _))) => history.takes("Timer J", at, end, timer(timers, J, history)),
        (Cause::Completed, None) => Err("it completed without an answer".into()),
        _ => Ok(()),
    }
}

/// I3: RFC 3261 §17.1.1.2, §9.1, RFC 6026 §8.4: Timers B, D and M, and 64·T1 after a CANCEL.
fn ict_ends(history: &History, timers: &Timers) -> Result<(), String> {
    use crate::transaction::Timer::{B, Cancelled, D, M};
    if history.role != Role::Ict {
        return Ok(());
    }
    let Some((end, cause)) = history.ended() else { return Ok(()) };
    let cancelled = history.first(|event| matches!(event, Event::SentCancel(_)));
    match (cause, history.told_final(), history.told_provisional(), cancelled) {
        (Cause::Timeout, Some(_), ..) => Err("it timed out after a final response".into()),
        (Cause::Timeout, None, None, _) => {
            history.takes("Timer B", history.began, end, timer(timers, B, history))
        }
        (Cause::Timeout, None, Some(_), Some(cancel)) => {
            history.takes("the wait after CANCEL", cancel, end, timer(timers, Cancelled, history))
        }
        // The CANCEL itself could not be sent.
        (Cause::Timeout, None, Some(_), None) => Ok(()),
        (Cause::Completed, Some((told, 200..=299)), ..) => {
            history.takes("Timer M", told, end, timer(timers, M, history))
        }
        (Cause::Completed, Some((told, _)), ..) => {
            history.takes("Timer D", told, end, timer(timers, D, history))
        }
        (Cause::Completed, None, ..) => Err("it completed without a final response".into()),
        _ => Ok(()),
    }
}

/// I4: RFC 3261 §17.2.1, RFC 6026 §8.5: Timers L, H and I.
fn ist_ends(history: &History, timers: &Timers) -> Result<(), String> {
    use crate::transaction::Timer::{H, I, L};
    if history.role != Role::Ist || history.fuzzy {
        return Ok(());
    }
    let Some((end, cause)) = history.ended() else { return Ok(()) };
    let mut after = history
        .events
        .iter()
        .skip_while(|(_, event)| !matches!(event, Event::Answered(200..) | Event::Unanswered))
        .skip_while(|(_, event)| !matches!(event, Event::HeardAck));
    let ack = after.next().map(|(at, _)| *at);
    match (cause, history.answered(), ack) {
        (Cause::Completed, Some((at, 200..=299)), _) => {
            history.takes("Timer L", at, end, timer(timers, L, history))
        }
        (Cause::Completed, Some(_), Some(ack)) => {
            history.takes("Timer I", ack, end, timer(timers, I, history))
        }
        (Cause::Completed, _, None) => Err("it completed without an ACK".into()),
        (Cause::NoAck, Some((at, 300..)), None) => {
            history.takes("Timer H", at, end, timer(timers, H, history))
        }
        (Cause::NoAck, ..) => Err("it misses an ACK that came, or that none has to come for".into()),
        _ => Ok(()),
    }
}

/// I5: one outcome. RFC 3261 figures 5 and 6: the user is given one final response, or every 2xx, or is told that there is none.
fn one_outcome(history: &History, _: &Timers) -> Result<(), String> {
    let mut finals = history.events.iter().filter_map(|(_, event)| match event {
        Event::Told(status) if *status >= 200 => Some(*status),
        _ => None,
    });
    let (first, rest) = (finals.next(), finals.collect::<Vec<_>>());
    let success = |status: &u16| (200..300).contains(status);
    let several =
        history.role == Role::Ict && first.as_ref().is_some_and(success) && rest.iter().all(success);
    if !rest.is_empty() && !several {
        return Err(alloc::format!("the user was given {first:?} and then {rest:?}"));
    }
    let mut over = false;
    for (_, event) in &history.events {
        match event {
            Event::Told(100..=199) if over => {
                return Err("a provisional response came after a final one".into());
            }
            Event::Told(status) => over |= *status >= 200,
            _ => {}
        }
    }
    match history.ended() {
        None => Err("it never ended".into()),
        Some((_, cause @ (Cause::Timeout | Cause::TransportError))) if first.is_some() => {
            // RFC 3261 figure 5: the one exception is an ACK that can't be sent.
            let ack = history.role == Role::Ict
                && cause == Cause::TransportError
                && first.is_some_and(|status| status >= 300);
            if ack { Ok(()) } else { Err(alloc::format!("the user was given {first:?} and then {cause:?}")) }
        }
        _ => Ok(()),
    }
}

/// I6: the send schedule. RFC 3261 §17.1.1.2, §17.1.2.2, §17.2.1: Timers A, E and G, and once on a reliable transport. All sends of a
/// transaction are the same bytes.
fn schedule(history: &History, timers: &Timers) -> Result<(), String> {
    let client = matches!(history.role, Role::Ict | Role::Nict);
    let sends: Vec<(Instant, Gist)> = history
        .events
        .iter()
        .filter_map(|(at, event)| match event {
            Event::Sent(gist, _) if client => Some((*at, *gist)),
            // What a copy of the request asked for has no schedule.
            Event::Sent(gist, false) if history.role == Role::Ist && gist.status >= 300 => Some((*at, *gist)),
            _ => None,
        })
        .collect();
    let Some((first, bytes)) = sends.first().map(|(at, gist)| (*at, gist.bytes)) else { return Ok(()) };
    if sends.iter().any(|(_, gist)| gist.bytes != bytes) {
        return Err("a copy differs from what was sent first".into());
    }
    if history.reliable {
        // A response goes out again if its connection was lost before it was sent.
        return if sends.len() == 1 || !client {
            Ok(())
        } else {
            Err("it was sent twice on a reliable transport".into())
        };
    }
    if history.fuzzy && !client {
        return Ok(());
    }
    let capped = history.role != Role::Ict;
    // After this nothing is sent any more.
    let stops = |event: &Event| match history.role {
        Role::Ict => matches!(event, Event::Told(_) | Event::Ended(_)),
        Role::Nict => matches!(event, Event::Told(200..) | Event::Ended(_)),
        _ => matches!(event, Event::HeardAck | Event::Ended(_)),
    };
    let after_first = history
        .events
        .iter()
        .skip_while(|(_, event)| !matches!(event, Event::Sent(gist, _) if gist.bytes == bytes))
        .find(|(_, event)| stops(event));
    let provisional = if history.role == Role::Nict { history.told_provisional() } else { None };
    let (mut last, mut interval) = (first, timers.t1);
    for (at, _) in sends.iter().skip(1) {
        history.takes("the interval between two copies", last, *at, interval)?;
        interval = match provisional {
            Some(provisional) if provisional <= *at => timers.t2,
            _ if capped => (interval * 2).min(timers.t2),
            _ => interval * 2,
        };
        last = *at;
    }
    if history.fuzzy {
        return Ok(());
    }
    if let Some((stop, _)) = after_first {
        if last > *stop {
            return Err("it was sent after what should have stopped it".into());
        }
        if stop.since(last) > interval + history.slack {
            return Err(alloc::format!(
                "no copy was sent for {:?}; one was due after {interval:?}",
                stop.since(last)
            ));
        }
    }
    Ok(())
}

/// I8: RFC 3261 §17.1.1.3: each final response other than 2xx is acknowledged once; the ACK is made of the INVITE and has the To of the
/// response; nothing else is acknowledged here.
fn acks(history: &History, _: &Timers) -> Result<(), String> {
    if history.role != Role::Ict || history.fuzzy {
        return Ok(());
    }
    let Some(invite) = history.request else { return Ok(()) };
    let (mut due, mut success, mut refused_by) = (0_i32, false, None);
    for (_, event) in &history.events {
        match event {
            Event::Heard(gist) if gist.status >= 300 && !success => {
                due += 1;
                refused_by = refused_by.or(Some(gist.to));
            }
            Event::Heard(gist) if (200..300).contains(&gist.status) && refused_by.is_none() => success = true,
            Event::SentAck(ack) => {
                due -= 1;
                let same = (ack.uri, ack.call, ack.from, ack.cseq, ack.via, ack.vias, ack.route)
                    == (
                        invite.uri,
                        invite.call,
                        invite.from,
                        invite.cseq,
                        invite.via,
                        1.max(ack.vias),
                        invite.route,
                    );
                if !same || Some(ack.to) != refused_by {
                    return Err("the ACK is not made of the INVITE and the response".into());
                }
            }
            // An ACK that can't be sent is none.
            Event::TransportError | Event::ConnectionLost | Event::Ended(Cause::TransportError) => {
                due = due.min(0)
            }
            _ => {}
        }
        if due < 0 {
            return Err("an ACK was sent for nothing".into());
        }
    }
    if due > 0 { Err(alloc::format!("{due} final responses were not acknowledged")) } else { Ok(()) }
}

/// I12: RFC 3261 §9.1: a CANCEL is sent after a provisional response and before a final one, with the branch of its INVITE.
fn cancel_in_time(history: &History, _: &Timers) -> Result<(), String> {
    let mut provisional = false;
    for (_, event) in &history.events {
        match event {
            Event::Told(100..=199) => provisional = true,
            // Copies go on by themselves: they are a transaction of their own.
            Event::SentCancel(_) if !provisional => {
                return Err("CANCEL was sent before a provisional response".into());
            }
            Event::SentCancel(gist) if history.request.is_some_and(|request| request.via != gist.via) => {
                return Err("CANCEL has another Via than its INVITE".into());
            }
            _ => {}
        }
    }
    let first = history.first(|event| matches!(event, Event::SentCancel(_)));
    match (first, history.told_final()) {
        (Some(cancel), Some((told, _))) if cancel > told => {
            Err("CANCEL was sent after a final response".into())
        }
        _ => Ok(()),
    }
}

/// I22: RFC 3261 §17.2.1: an INVITE that its user does not answer gets a 100 after 200 ms, or when it comes again, and not before.
fn trying(history: &History, timers: &Timers) -> Result<(), String> {
    if history.role != Role::Ist || history.fuzzy {
        return Ok(());
    }
    let after = timers.trying.unwrap_or(Duration::MAX);
    let first = history.events.iter().find_map(|(at, event)| match event {
        Event::Sent(gist, caused) => Some((*at, gist.status, *caused)),
        _ => None,
    });
    let answered =
        history.first(|event| matches!(event, Event::Answered(_) | Event::Ended(_) | Event::ConnectionLost));
    match first {
        Some((at, 100, false)) if answered.is_none_or(|answered| answered > at) => {
            history.takes("the automatic 100", history.began, at, after)
        }
        Some((at, ..))
            if at.since(history.began) > after.saturating_add(history.slack)
                && answered.is_none_or(|answered| answered >= at) =>
        {
            Err("the first response came too late".into())
        }
        None if answered.is_none_or(|at| at.since(history.began) > after.saturating_add(history.slack)) => {
            Err("no 100 was sent".into())
        }
        _ => Ok(()),
    }
}

/// Reads the histories out of a trace.
pub(super) struct Histories {
    timers: Timers,
    open: BTreeMap<(usize, Txn2), History>,
    /// Clients that have begun, by Call-ID and CSeq, until their request is sent.
    waiting: BTreeMap<(usize, u64, u32, Verb), Txn2>,
    /// Clients by branch and method; servers by branch, Via, CSeq and method.
    clients: BTreeMap<(usize, u64, Verb), Txn2>,
    servers: BTreeMap<(usize, u64, u64, u32, Verb), Txn2>,
    /// Transactions that are over: nothing is heard of them again.
    over: BTreeSet<(usize, Txn2)>,
    /// The CANCELs: when each was sent last, how long until it is sent again, and how late the node was.
    cancels: BTreeMap<(usize, u64), (Instant, Duration, Duration)>,
    /// How late each node has been in all.
    late: BTreeMap<usize, Duration>,
    /// The last responses of servers, to be compared with what a copy of the request brings.
    last: BTreeMap<(usize, Txn2), Gist>,
    lost_connections: BTreeSet<(usize, u32)>,
    /// The arrival that is being dealt with at a node, if it was a stray response or a copy of a request.
    stray: BTreeMap<usize, u32>,
    copy: BTreeMap<usize, (u32, Txn2, bool)>,
    arrived: BTreeMap<usize, (u32, Option<u32>)>,
    /// The arrival that was malformed, and what it was answered with outside any transaction.
    malformed: BTreeMap<usize, (u32, u16)>,
    /// The deadline of each node when it last rested.
    deadlines: BTreeMap<usize, Instant>,
}

/// A handle that can be ordered.
type Txn2 = (bool, u64);

const fn key_of(txn: Txn) -> Txn2 {
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
            stray: BTreeMap::new(),
            copy: BTreeMap::new(),
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

    fn add(&mut self, entry: &Entry, key: Txn2, event: Event) {
        if let Some(history) = self.open.get_mut(&(entry.node, key)) {
            history.events.push((entry.local, event));
        }
    }

    /// A note about a transaction: it must be alive.
    fn alive(&self, node: usize, txn: Txn) -> Result<Txn2, Violation> {
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
            if let Some((number, _)) = self.arrived.get_mut(&node) {
                *number = u32::MAX;
            }
        }
        match *note {
            Note::Began { txn, verb, call, cseq } => {
                let role = if verb == Verb::Invite { Role::Ict } else { Role::Nict };
                self.begin(entry, Txn::Client(txn), role, verb, None);
                self.waiting.insert((node, call, cseq, verb), key_of(Txn::Client(txn)));
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
    fn unanswered_copy(&self, node: usize, key: Txn2) -> Result<(), Violation> {
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
                let known = (node, gist.call, gist.cseq, gist.verb);
                let waiting = self
                    .waiting
                    .remove(&known)
                    .or_else(|| self.waiting.remove(&(node, 0, gist.cseq, gist.verb)));
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

    fn heard(&mut self, entry: &Entry, packet: &Packet, damaged: bool) {
        let node = entry.node;
        self.arrived.insert(node, (entry.number, packet.conn));
        let Some(gist) = packet.gist else { return };
        let key = if gist.is_request() {
            let verb = if gist.verb == Verb::Ack { Verb::Invite } else { gist.verb };
            self.servers.get(&(node, gist.branch, gist.sent_by, gist.cseq, verb)).copied()
        } else {
            self.clients.get(&(node, gist.branch, gist.verb)).copied()
        };
        let alive = key.filter(|key| self.open.contains_key(&(node, *key)));
        if damaged {
            // What it was for can't be said for sure: of these nothing exact is asked any more.
            for key in alive.into_iter().chain(self.clients.get(&(node, gist.branch, Verb::Invite)).copied())
            {
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
            self.stray.insert(node, entry.number);
            return;
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
            None if !gist.is_request() && gist.verb != Verb::Cancel => {
                self.stray.insert(node, entry.number);
            }
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
                self.deadlines.insert(entry.node, deadline.unwrap_or(Instant::MAX));
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
