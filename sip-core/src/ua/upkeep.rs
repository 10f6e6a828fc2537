//! What lasts as long as it is refreshed: registrations and publications of this side, kept up until they are not wanted any more.
//!
//! Both are requests outside dialogs under one Call-ID, with numbers that rise. A refresh that fails is tried again, each time when half of what is
//! left is over, until it has ended.

use super::alarms::{Alarm, Due};
use super::machine::Meaning;
use super::outbound::Bound;
use super::publication::Publication;
use super::registration::Registration;
use super::requests::{Outgoing, Outside, Purpose};
use super::{Event, UserAgent, WorkId};
use crate::auth::{Answers, Credentials};
use crate::config::Limits;
use crate::dialog::subscription::refresh_after;
use crate::dialog::token;
use crate::endpoint::{Cause, Misuse};
use crate::handle::{Key, PublicationId, RegistrationId};
use crate::headers::Expires;
use crate::headers::RetryAfter;
use crate::message::Message;
use crate::time::Instant;
use crate::transaction::Timers;
use crate::transport::Target;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

/// Something that is kept up.
#[cfg_attr(feature = "snapshot", derive(Clone))]
pub(super) struct Upkeep {
    pub(super) what: What,
    pub(super) user: u64,
    /// The Request-URI.
    pub(super) uri: String,
    pub(super) target: Option<Target>,
    pub(super) timers: Option<Arc<Timers>>,
    pub(super) call_id: Vec<u8>,
    pub(super) tag: Vec<u8>,
    pub(super) cseq: u32,
    /// How long it is to last, each time.
    pub(super) lasts: Duration,
    /// Until when the server has it; nothing before its first 200.
    pub(super) until: Option<Instant>,
    pub(super) answers: Answers,
    /// The request that is under way.
    pub(super) work: Option<WorkId>,
    /// It is not wanted any more.
    pub(super) leaving: bool,
    pub(super) alarm: Option<Alarm>,
    /// The connection that it is bound to.
    pub(super) bound: Option<Bound>,
    /// How often in a row it has failed.
    pub(super) failures: u32,
}

/// What is kept up.
#[cfg_attr(feature = "snapshot", derive(Clone))]
pub(super) enum What {
    Registration(Registration),
    Publication(Publication),
}

/// What a caller gives of it.
pub(super) struct NewUpkeep<'a> {
    pub(super) uri: &'a str,
    pub(super) expires: Duration,
    pub(super) target: Option<Target>,
    pub(super) timers: Option<Arc<Timers>>,
    pub(super) credentials: &'a [Credentials],
    pub(super) user: u64,
}

/// A refresh is sent no more often than this.
const SOONEST: Duration = Duration::from_secs(1);

impl UserAgent {
    /// Begins to keep something up.
    pub(super) fn keep_up(&mut self, what: What, new: &NewUpkeep<'_>) -> Result<Key, Misuse> {
        self.layer.may_begin()?;
        let upkeep = Upkeep {
            what,
            user: new.user,
            uri: new.uri.into(),
            target: new.target,
            timers: new.timers.clone(),
            call_id: token(self.layer.random.u64()).into(),
            tag: token(self.layer.random.u64()).into(),
            cseq: 0,
            lasts: new.expires,
            until: None,
            answers: Answers::with(new.credentials),
            work: None,
            leaving: false,
            alarm: None,
            bound: None,
            failures: 0,
        };
        let key = self.upkeeps.insert(upkeep);
        self.enter_upkeep(key);
        let sent = self.send_upkeep(key, new.expires);
        if sent.is_err() {
            self.remove_upkeep(key);
        }
        sent.map(|()| key)
    }

    fn hash_of_call_id(&self, call_id: &[u8]) -> u64 {
        self.layer.hash.of(&[call_id]) as u64
    }

    /// Makes it one that is found by its Call-ID.
    pub(super) fn enter_upkeep(&mut self, key: Key) {
        let Some(found) = self.upkeeps.get(key) else { return };
        self.kept_up.insert(self.hash_of_call_id(&found.call_id), key.index);
    }

    fn remove_upkeep(&mut self, key: Key) -> Option<Upkeep> {
        self.unbind_flow(key);
        let found = self.upkeeps.remove(key)?;
        self.kept_up.remove(self.hash_of_call_id(&found.call_id), key.index);
        Some(found)
    }

    /// Whether something is kept up here under this Call-ID.
    #[cfg(feature = "snapshot")]
    pub(super) fn keeps_up(&self, call_id: &[u8]) -> bool {
        let is = |place| self.upkeeps.at(place).is_some_and(|found| found.call_id == call_id);
        self.kept_up.get(self.hash_of_call_id(call_id), is).is_some()
    }

    /// Sends it once more at once, if nothing is under way.
    pub(super) fn keep_up_now(&mut self, key: Key) -> Result<(), Misuse> {
        let found = self.upkeeps.get(key).ok_or(Misuse::Gone)?;
        if found.work.is_some() || found.leaving {
            return Err(Misuse::WrongState);
        }
        let lasts = found.lasts;
        self.send_upkeep(key, lasts)
    }

    /// Takes it back; behind what is under way.
    pub(super) fn let_go(&mut self, key: Key) -> Result<(), Misuse> {
        let found = self.upkeeps.get(key).ok_or(Misuse::Gone)?;
        if found.leaving {
            return Err(Misuse::WrongState);
        }
        // What could not be sent can be tried again.
        if found.work.is_none() {
            if found.what.is_unknown() {
                self.end_upkeep(key, Cause::Completed);
                return Ok(());
            }
            self.send_upkeep(key, Duration::ZERO)?;
        }
        let found = self.upkeeps.get_mut(key).ok_or(Misuse::Gone)?;
        found.leaving = true;
        self.alarms.stop(found.alarm.take());
        Ok(())
    }

    fn send_upkeep(&mut self, key: Key, expires: Duration) -> Result<(), Misuse> {
        let found = self.upkeeps.get_mut(key).ok_or(Misuse::Gone)?;
        found.cseq = found.cseq.wrapping_add(1) & 0x7fff_ffff;
        let outgoing = Outgoing {
            target: found.target,
            timers: found.timers.clone(),
            answers: found.answers.clone(),
            ..Outgoing::new(Purpose::Upkeep(key), 0, None)
        };
        let (uri, tag, call_id) = (found.uri.clone(), found.tag.clone(), found.call_id.clone());
        let (cseq, expires) = (found.cseq, format!("{}", expires.as_secs()));
        let work = match &found.what {
            What::Registration(registration) => {
                let registration = registration.clone();
                let contact = self.contact_of(&registration, &uri, outgoing.target)?;
                registration.with(&uri, &contact, &expires, |outside| {
                    self.send_outside(outgoing, &Outside { tag: &tag, call_id: &call_id, cseq, ..outside })
                })
            }
            What::Publication(publication) => {
                let publication = publication.clone();
                publication.with(&uri, &expires, |outside| {
                    self.send_outside(outgoing, &Outside { tag: &tag, call_id: &call_id, cseq, ..outside })
                })
            }
        }?;
        if let Some(found) = self.upkeeps.get_mut(key) {
            found.work = Some(work);
            // The answer to this one says when the next is due.
            self.alarms.stop(found.alarm.take());
        }
        Ok(())
    }

    /// A response to a REGISTER or PUBLISH.
    pub(super) fn on_upkeep(&mut self, key: Key, work: WorkId, response: &Message<'_>) -> Option<Meaning> {
        let code = response.status_code();
        if code < 200 {
            return None;
        }
        let clock = self.layer.clock();
        let sent = self.outgoing(work)?;
        let (answers, cseq) = (sent.answers.clone(), sent.cseq);
        let request = Vec::from(self.layer.buffers.message(sent.request));
        let request = Message::parse(&request, &Limits::NONE).ok()?;
        let asked = asked(&request);
        let found = self.upkeeps.get_mut(key)?;
        (found.answers, found.cseq, found.work) = (answers, cseq, None);
        if code < 300 {
            found.what.learn(&request, response);
        }
        let leaving = found.leaving;
        let refused = found.refused(key);
        // It was given up while this was under way.
        if leaving && !asked.is_zero() && (code < 300 || found.is_up(clock)) && !found.what.is_unknown() {
            if self.send_upkeep(key, Duration::ZERO).is_err() {
                self.end_upkeep(key, Cause::TransportError);
            }
            return None;
        }
        if leaving {
            self.end_upkeep(key, Cause::Completed);
            return (code >= 300).then_some(refused);
        }
        if code >= 300 {
            // RFC 3903 §4.2: with 412 the compositor has forgotten it, and the whole state has to be published anew.
            // RFC 3261 §21.4.4, §21.4.5, §21.4.6: and some refusals would only come again.
            if matches!(code, 403..=405 | 410 | 412 | 416 | 501 | 600..) {
                self.end_upkeep(key, Cause::Completed);
            } else {
                let after = response.get::<RetryAfter<'_>>().ok().flatten();
                let after = after.map_or(0, |after| after.seconds);
                self.upkeep_failed(key, Cause::Completed, Duration::from_secs(after.into()));
            }
            return Some(refused);
        }
        let lasts = found.what.lasts(&request, response).unwrap_or(asked);
        if lasts.is_zero() {
            // The server has it no more.
            let accepted = found.accepted(key, lasts, response);
            self.end_upkeep(key, Cause::Completed);
            return Some(accepted);
        }
        (found.until, found.failures) = (Some(clock + lasts), 0);
        let after = refresh_after(lasts).max(SOONEST);
        found.alarm = Some(self.alarms.set(clock, after, Due::Upkeep(key)));
        Some(found.accepted(key, lasts, response))
    }

    /// A REGISTER or PUBLISH is over; perhaps without a response.
    pub(super) fn on_upkeep_ended(&mut self, key: Key, work: WorkId, cause: Cause) {
        let clock = self.layer.clock();
        let sent = self.outgoing(work).map(|sent| (sent.answers.clone(), sent.cseq));
        let bytes = self.outgoing(work).map(|sent| self.layer.buffers.message(sent.request));
        let request = bytes.and_then(|bytes| Message::parse(bytes, &Limits::NONE).ok());
        let asked = request.map_or(Duration::ZERO, |request| asked(&request));
        let Some(found) = self.upkeeps.get_mut(key).filter(|found| found.work == Some(work)) else { return };
        found.work = None;
        // It may have been sent more than once, with a number of its own each time.
        if let Some((answers, cseq)) = sent {
            (found.answers, found.cseq) = (answers, cseq);
        }
        if found.leaving {
            // It was given up while this was under way: it is taken back once.
            let is_left = !asked.is_zero() && found.is_up(clock) && !found.what.is_unknown();
            if !is_left || self.send_upkeep(key, Duration::ZERO).is_err() {
                self.end_upkeep(key, cause);
            }
        } else {
            self.upkeep_failed(key, cause, Duration::ZERO);
        }
    }

    /// It is tried again, not before `after` is over if that leaves time.
    fn upkeep_failed(&mut self, key: Key, cause: Cause, after: Duration) {
        let clock = self.layer.clock();
        let Some(found) = self.upkeeps.get_mut(key) else { return };
        let left = found.until.map_or(Duration::ZERO, |until| until.since(clock));
        if left < SOONEST {
            return self.end_upkeep(key, cause);
        }
        found.failures = found.failures.saturating_add(1);
        let (failures, is_flow) = (found.failures, found.what.is_flow());
        let usual = if is_flow { self.recovery(failures).min(left / 2) } else { left / 2 };
        let after = usual.max(after).min(left.saturating_sub(SOONEST)).max(SOONEST);
        let alarm = self.alarms.set(clock, after, Due::Upkeep(key));
        if let Some(found) = self.upkeeps.get_mut(key) {
            found.alarm = Some(alarm);
        }
    }

    pub(super) fn on_upkeep_due(&mut self, key: Key) {
        // It was given up before it was restored.
        if let Some(found) = self.upkeeps.get(key).filter(|found| found.leaving) {
            if found.what.is_unknown() {
                self.end_upkeep(key, Cause::Completed);
            } else if self.send_upkeep(key, Duration::ZERO).is_err() {
                self.end_upkeep(key, Cause::TransportError);
            }
            return;
        }
        if self.keep_up_now(key).is_err() {
            self.upkeep_failed(key, Cause::TransportError, Duration::ZERO);
        }
    }

    fn end_upkeep(&mut self, key: Key, cause: Cause) {
        let Some(upkeep) = self.remove_upkeep(key) else { return };
        self.alarms.stop(upkeep.alarm);
        let user = upkeep.user;
        self.push(match upkeep.what {
            What::Registration(_) => {
                Event::RegistrationEnded { registration: RegistrationId(key), user, cause }
            }
            What::Publication(_) => Event::PublicationEnded { publication: PublicationId(key), user, cause },
        });
    }
}

impl What {
    /// The server has nothing that could be taken back: a PUBLISH without its entity tag would be a new one.
    fn is_unknown(&self) -> bool {
        matches!(self, Self::Publication(Publication { etag, .. }) if etag.is_empty())
    }

    /// Whether it is bound to the connection that its request goes by.
    pub(super) fn is_flow(&self) -> bool {
        matches!(self, Self::Registration(registration) if registration.is_flow())
    }

    /// Whether there is a state that the compositor does not have yet.
    #[cfg(feature = "snapshot")]
    pub(super) const fn has_unsaid(&self) -> bool {
        matches!(self, Self::Publication(publication) if publication.unsaid.is_some())
    }

    /// Takes what a 200 says of it.
    fn learn(&mut self, request: &Message<'_>, response: &Message<'_>) {
        match self {
            Self::Registration(registration) => registration.learn(request, response),
            Self::Publication(publication) => publication.learn(response),
        }
    }

    /// How long it lasts by a 200, if that says so.
    fn lasts(&self, request: &Message<'_>, response: &Message<'_>) -> Option<Duration> {
        let own = match self {
            Self::Registration(_) => super::registration::listed(request, response),
            Self::Publication(_) => None,
        };
        let overall = || response.get::<Expires>().ok().flatten().map(|expires| expires.0);
        own.or_else(overall).map(|seconds| Duration::from_secs(seconds.into()))
    }
}

impl Upkeep {
    /// Whether the server has it.
    fn is_up(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until > now)
    }

    const fn refused(&self, key: Key) -> Meaning {
        match self.what {
            What::Registration(_) => {
                Meaning::RegistrationRefused { registration: RegistrationId(key), user: self.user }
            }
            What::Publication(_) => {
                Meaning::PublicationRefused { publication: PublicationId(key), user: self.user }
            }
        }
    }

    fn accepted(&self, key: Key, expires: Duration, response: &Message<'_>) -> Meaning {
        match self.what {
            What::Registration(_) => Meaning::Registered {
                registration: RegistrationId(key),
                user: self.user,
                expires,
                public: super::registration::public_address(response),
            },
            What::Publication(_) => {
                Meaning::Published { publication: PublicationId(key), user: self.user, expires }
            }
        }
    }
}

/// For how long a REGISTER or PUBLISH asks.
fn asked(request: &Message<'_>) -> Duration {
    let seconds = request.get::<Expires>().ok().flatten().map_or(0, |expires| expires.0);
    Duration::from_secs(seconds.into())
}
