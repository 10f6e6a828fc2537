//! The invariants of transactions: each is a function over the whole history of one, from the request to its end.
//!
//! [`Histories`](super::histories::Histories) reads them out of the trace. A machine that was woken late, or whose clock was set forward, may
//! be late by as much: the history says by how much at the most.

use super::note::{Gist, Verb};
use crate::endpoint::Cause;
use crate::time::Instant;
use crate::transaction::Timers;
use crate::transport::Reliability;
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
    pub(super) fn words(&self) -> String {
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
    pub(super) conn: Option<u32>,
    pub(super) late_before: Duration,
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

pub(super) const INVARIANTS: [(&str, Invariant); 9] = [
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
    let sends: Vec<(usize, Instant, Gist)> = history
        .events
        .iter()
        .enumerate()
        .filter_map(|(place, (at, event))| match event {
            Event::Sent(gist, _) if client => Some((place, *at, *gist)),
            // What a copy of the request asked for has no schedule.
            Event::Sent(gist, false) if history.role == Role::Ist && gist.status >= 300 => {
                Some((place, *at, *gist))
            }
            _ => None,
        })
        .collect();
    let Some((first, bytes)) = sends.first().map(|(_, at, gist)| (*at, gist.bytes)) else { return Ok(()) };
    if sends.iter().any(|(.., gist)| gist.bytes != bytes) {
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
    // What was told at the instant of a copy may stand before or behind it.
    let provisional = history
        .events
        .iter()
        .position(|(_, event)| matches!(event, Event::Told(100..=199)))
        .filter(|_| history.role == Role::Nict);
    let (mut last, mut interval) = (first, timers.t1);
    for (place, at, _) in sends.iter().skip(1) {
        history.takes("the interval between two copies", last, *at, interval)?;
        interval = match provisional {
            Some(provisional) if provisional < *place => timers.t2,
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
    // The finals of one instant: what was due at that instant, the end by Timer B too, is done before they are heard.
    let mut together = (Instant::ZERO, 0);
    for (at, event) in &history.events {
        match event {
            Event::Heard(gist) if gist.status >= 300 && !success => {
                due += 1;
                together = (*at, if together.0 == *at { together.1 + 1 } else { 1 });
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
            Event::Ended(Cause::Timeout) if together.0 == *at => due -= together.1.min(due),
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
