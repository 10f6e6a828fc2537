//! Publications of this side (RFC 3903 §4): soft state, refreshed until it is not wanted any more. No dialog has a part in it.

use super::alarms::{Alarm, Due};
use super::machine::Meaning;
use super::requests::{Outgoing, Outside, Purpose};
use super::{Event, NewPublication, UserAgent, WorkId};
use crate::auth::Answers;
use crate::dialog::subscription::refresh_after;
use crate::dialog::token;
use crate::endpoint::{Cause, Misuse};
use crate::handle::{Key, PublicationId};
use crate::headers::{Event as EventHeader, Expires, Header, SipETag};
use crate::message::{Content, Message, Method, is_text};
use crate::time::Instant;
use crate::transaction::Timers;
use crate::transport::Target;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// What is kept of a publication.
pub(super) struct Publication {
    pub(super) user: u64,
    pub(super) uri: String,
    pub(super) event: String,
    pub(super) target: Option<Target>,
    pub(super) timers: Option<Timers>,
    pub(super) call_id: Vec<u8>,
    pub(super) tag: Vec<u8>,
    pub(super) cseq: u32,
    pub(super) lasts: Duration,
    pub(super) until: Option<Instant>,
    /// What the compositor knows it by.
    pub(super) etag: String,
    pub(super) answers: Answers,
    pub(super) work: Option<WorkId>,
    pub(super) leaving: bool,
    pub(super) alarm: Option<Alarm>,
}

impl UserAgent {
    /// Publishes a state, and keeps it published: each 200 comes as [`Published`](super::Event::Published).
    ///
    /// # Errors
    /// [`Misuse::BadUri`]; [`Misuse::BadContent`], also for one without a body; [`Misuse::NoLocal`], [`Misuse::Full`], [`Misuse::Draining`].
    pub fn publish(&mut self, now: Instant, new: &NewPublication<'_>) -> Result<PublicationId, Misuse> {
        let event_is_sound = is_text(new.event) && EventHeader::whole(new.event.as_bytes()).is_ok();
        if !event_is_sound || new.content.check().is_err() || new.content.body.is_empty() {
            return Err(Misuse::BadContent);
        }
        self.enter(now);
        let publication = Publication {
            user: new.user,
            uri: new.uri.into(),
            event: new.event.into(),
            target: new.target,
            timers: new.timers,
            call_id: token(self.layer.random.u64()),
            tag: token(self.layer.random.u64()),
            cseq: 0,
            lasts: new.expires,
            until: None,
            etag: String::new(),
            answers: Answers::default(),
            work: None,
            leaving: false,
            alarm: None,
        };
        let key = self.publications.insert(publication);
        let sent = self.send_publish(key, new.expires, &new.content);
        if sent.is_err() {
            self.publications.remove(key);
        }
        self.leave();
        sent.map(|()| PublicationId(key))
    }

    /// Publishes another state in place of the one before (§4.4).
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] while a PUBLISH is under way; and as [`publish`](Self::publish).
    pub fn publish_change(
        &mut self,
        now: Instant,
        publication: PublicationId,
        content: &Content<'_>,
    ) -> Result<(), Misuse> {
        if content.check().is_err() || content.body.is_empty() {
            return Err(Misuse::BadContent);
        }
        self.enter(now);
        let found = self.publications.get(publication.0).ok_or(Misuse::Gone)?;
        if found.work.is_some() || found.leaving {
            return Err(Misuse::WrongState);
        }
        let lasts = found.lasts;
        let done = self.send_publish(publication.0, lasts, content);
        self.leave();
        done
    }

    /// Takes the state back (§4.5); [`PublicationEnded`](super::Event::PublicationEnded) comes when that is done, or has failed.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] if it is being taken back; and as [`publish`](Self::publish). With a PUBLISH under way it waits
    /// for that.
    pub fn unpublish(&mut self, now: Instant, publication: PublicationId) -> Result<(), Misuse> {
        self.enter(now);
        let found = self.publications.get_mut(publication.0).ok_or(Misuse::Gone)?;
        if core::mem::replace(&mut found.leaving, true) {
            return Err(Misuse::WrongState);
        }
        self.alarms.stop(found.alarm.take());
        let waits = found.work.is_some();
        let done = match waits {
            true => Ok(()),
            false => self.send_publish(publication.0, Duration::ZERO, &Content::NONE),
        };
        self.leave();
        done
    }

    fn send_publish(&mut self, key: Key, expires: Duration, content: &Content<'_>) -> Result<(), Misuse> {
        let publication = self.publications.get_mut(key).ok_or(Misuse::Gone)?;
        publication.cseq = publication.cseq.wrapping_add(1) & 0x7fff_ffff;
        let seconds = format!("{}", expires.as_secs());
        let (uri, event, etag) =
            (publication.uri.clone(), publication.event.clone(), publication.etag.clone());
        let (call_id, tag) = (publication.call_id.clone(), publication.tag.clone());
        let mut extra = Vec::from([("Event", &*event), ("Expires", &*seconds)]);
        if !etag.is_empty() {
            extra.push(("SIP-If-Match", &*etag));
        }
        let outgoing = Outgoing {
            target: publication.target,
            timers: publication.timers,
            answers: publication.answers.clone(),
            ..Outgoing::new(Purpose::Publish(key), 0, None)
        };
        let outside = Outside {
            tag: &tag,
            call_id: &call_id,
            cseq: publication.cseq,
            extra: &extra,
            ..Outside::new(Method::Publish, &uri, content)
        };
        let work = self.send_outside(outgoing, &outside)?;
        if let Some(publication) = self.publications.get_mut(key) {
            publication.work = Some(work);
        }
        Ok(())
    }

    /// The final response to a PUBLISH.
    pub(super) fn on_published(&mut self, key: Key, work: WorkId, response: &Message<'_>) -> Option<Meaning> {
        let code = response.status_code();
        if code < 200 {
            return None;
        }
        let clock = self.layer.clock();
        let (answers, cseq) = self.outgoing(work).map(|sent| (sent.answers.clone(), sent.cseq))?;
        let publication = self.publications.get_mut(key)?;
        let (id, user) = (PublicationId(key), publication.user);
        (publication.answers, publication.cseq, publication.work) = (answers, cseq, None);
        let expires = response.get::<Expires>().ok().flatten().map(|expires| expires.0);
        if let Ok(Some(etag)) = response.get::<SipETag<'_>>() {
            publication.etag = String::from_utf8_lossy(etag.0).into_owned();
        }
        let lasts = expires.map_or(publication.lasts, |seconds| Duration::from_secs(seconds.into()));
        let leaving = publication.leaving;
        if code >= 300 {
            // §4.2: with 412 the compositor has forgotten it, and the whole state has to be published anew.
            if leaving || code == 412 {
                self.end_publication(key, Cause::Completed);
            } else {
                self.publication_failed(key, Cause::Completed);
            }
            return Some(Meaning::PublicationRefused { publication: id, user });
        }
        if leaving {
            // The answer to taking it back, or to what was under way when that was wanted.
            let done = lasts.is_zero() || self.send_publish(key, Duration::ZERO, &Content::NONE).is_err();
            if done {
                self.end_publication(key, Cause::Completed);
            }
            return None;
        }
        publication.until = Some(clock + lasts);
        let after = refresh_after(lasts).max(SOONEST);
        publication.alarm = Some(self.alarms.set(clock, after, Due::PublishAgain(key)));
        Some(Meaning::Published { publication: id, user, expires: lasts })
    }

    /// A PUBLISH is over without a response.
    pub(super) fn on_publishing_ended(&mut self, key: Key, work: WorkId, cause: Cause) {
        let Some(publication) = self.publications.get_mut(key) else { return };
        if publication.work != Some(work) {
            return;
        }
        publication.work = None;
        if publication.leaving {
            self.end_publication(key, cause);
        } else {
            self.publication_failed(key, cause);
        }
    }

    /// As with registrations: what is published holds until its end, and so long a refresh is tried again.
    fn publication_failed(&mut self, key: Key, cause: Cause) {
        let clock = self.layer.clock();
        let Some(publication) = self.publications.get_mut(key) else { return };
        let left = publication.until.map_or(Duration::ZERO, |until| until.since(clock));
        if left < SOONEST {
            return self.end_publication(key, cause);
        }
        publication.alarm = Some(self.alarms.set(clock, (left / 2).max(SOONEST), Due::PublishAgain(key)));
    }

    pub(super) fn on_publish_again(&mut self, key: Key) {
        let Some(publication) = self.publications.get(key) else { return };
        let lasts = publication.lasts;
        // §4.1: a refresh has no body.
        let free = publication.work.is_none();
        if free && self.send_publish(key, lasts, &Content::NONE).is_err() {
            self.publication_failed(key, Cause::TransportError);
        }
    }

    /// A publication that comes back, as with registrations.
    pub(super) fn take_up_publication(&mut self, mut publication: Publication) -> Key {
        let clock = self.layer.clock();
        (publication.work, publication.alarm) = (None, None);
        let left = publication.until.map_or(Duration::ZERO, |until| until.since(clock));
        let key = self.publications.insert(publication);
        let alarm = self.alarms.set(clock, refresh_after(left), Due::PublishAgain(key));
        if let Some(publication) = self.publications.get_mut(key) {
            publication.alarm = Some(alarm);
        }
        key
    }

    fn end_publication(&mut self, key: Key, cause: Cause) {
        let Some(publication) = self.publications.remove(key) else { return };
        self.alarms.stop(publication.alarm);
        let user = publication.user;
        self.push(Event::PublicationEnded { publication: PublicationId(key), user, cause });
    }
}

/// No more often than this.
const SOONEST: Duration = Duration::from_secs(1);
