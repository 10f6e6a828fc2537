//! Answers to the requests of the peer (RFC 3261 §8.2.6, §13.3.1).

use super::alarms::Due;
use super::incoming::STILL_RINGING;
use super::record::{Invite, OwnContent, Phase, Reliable, Unacked};
use super::requests::check_own;
use super::{Kind, Reason, UserAgent, Work, WorkId, work_of};
use crate::dialog::ends;
use crate::dialog::offer::{self, Carrier, Offer};
use crate::endpoint::{Misuse, Txn};
use crate::handle::{DialogId, Key, ServerTxn};
use crate::headers::Name;
use crate::message::{Content, Status};
use crate::time::Instant;
use crate::transaction::Timers;
use core::time::Duration;

impl UserAgent {
    /// Sends a provisional response to a call that comes in: 180 (Ringing), 183 (Session Progress) …
    ///
    /// It is sent reliably if the caller requires that (RFC 3262), or if one that was sent reliably has no PRACK yet: then it waits for that.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] after a final response, or for a second offer; [`Misuse::BadStatus`] for anything but 100 to
    /// 199; [`Misuse::BadContent`], also for a Contact, which this machine writes; [`Misuse::Full`].
    pub fn ring(
        &mut self,
        now: Instant,
        dialog: DialogId,
        status: Status,
        content: &Content<'_>,
    ) -> Result<(), Misuse> {
        self.progress(now, dialog, status, content, false)
    }

    /// Sends a provisional response that the caller must acknowledge with a PRACK, which [`Event::Acknowledged`](super::Event::Acknowledged) tells; a PRACK that
    /// makes an offer comes as [`Event::Request`](super::Event::Request) and is to be answered. Until then it is sent again; without one in 64·T1 the call
    /// ends with [`Reason::NoPrack`]. Several wait for each other.
    ///
    /// # Errors
    /// As [`ring`](Self::ring), and [`Misuse::Forbidden`] if the caller does not know reliable provisional responses.
    pub fn ring_reliably(
        &mut self,
        now: Instant,
        dialog: DialogId,
        status: Status,
        content: &Content<'_>,
    ) -> Result<(), Misuse> {
        self.progress(now, dialog, status, content, true)
    }

    fn progress(
        &mut self,
        now: Instant,
        dialog: DialogId,
        status: Status,
        content: &Content<'_>,
        reliably: bool,
    ) -> Result<(), Misuse> {
        if !status.is_provisional() || (reliably && status == Status::TRYING) {
            return Err(Misuse::BadStatus);
        }
        check_own(content)?;
        self.enter(now);
        let invite = self.ringing(dialog)?;
        if reliably && !self.alive(dialog)?.session.knows_100rel && !invite.requires_100rel {
            return Err(Misuse::Forbidden);
        }
        let done = self.respond_invite(dialog.0, invite, status, content, reliably);
        self.leave();
        done
    }

    /// Answers a call that comes in with 200. It is sent again until the ACK comes, which [`Event::Established`](super::Event::Established) tells; or a
    /// BYE ends the call after 64·T1. While a reliable provisional response with a session description has no PRACK, it waits (RFC 3262 §3).
    ///
    /// # Errors
    /// As [`ring`](Self::ring). [`Misuse::BadContent`] also where the call has made an offer and there is no answer (RFC 3261 §13.2.1).
    /// [`Misuse::WrongState`] also for a call that may take the place of another only while that rings, if it was answered
    /// meanwhile: it is to be rejected with 486 (RFC 3891 §3).
    pub fn accept(&mut self, now: Instant, dialog: DialogId, content: &Content<'_>) -> Result<(), Misuse> {
        check_own(content)?;
        self.enter(now);
        let invite = self.ringing(dialog)?;
        let session = &self.alive(dialog)?.session;
        let replaced = session.replaces.filter(|_| session.early_only);
        if replaced
            .is_some_and(|other| self.alive(other).is_ok_and(|record| record.session.phase == Phase::Up))
        {
            return Err(Misuse::WrongState);
        }
        let done = self.respond_invite(dialog.0, invite, Status::OK, content, false);
        self.leave();
        done
    }

    /// Refuses a call that comes in with 300 to 699. The dialog is over with it.
    ///
    /// # Errors
    /// As [`ring`](Self::ring).
    pub fn reject(
        &mut self,
        now: Instant,
        dialog: DialogId,
        status: Status,
        content: &Content<'_>,
    ) -> Result<(), Misuse> {
        if status.code() < 300 {
            return Err(Misuse::BadStatus);
        }
        content.check().map_err(|_| Misuse::BadContent)?;
        self.enter(now);
        let invite = self.ringing(dialog)?;
        self.layer.respond(invite.txn, status, content, |_| {})?;
        if let Some(work) = self.layer.user(Txn::Server(invite.txn)).and_then(work_of) {
            self.settle(invite.txn, work, false);
        }
        self.end_session(dialog.0, Reason::Rejected);
        self.leave();
        Ok(())
    }

    /// Answers a request that came as [`Event::Request`](super::Event::Request). A 2xx to a re-INVITE is sent again until its ACK comes, as with
    /// [`accept`](Self::accept), and its provisional responses are sent reliably if the peer requires that, as with [`ring`](Self::ring). An Expires in the
    /// content grants a SUBSCRIBE less than it asks for (RFC 6665 §4.2.1.1), in seconds.
    ///
    /// Inside a dialog some refusals are its end, whatever they refuse: 404, 410, 416, 482 to 485, 502 and 604 (RFC 5057 §5.1). The peer takes it for
    /// over, so it is over here too; for a transfer that can't be done, say, there is 603.
    ///
    /// # Errors
    /// [`Misuse::Gone`] if it is withdrawn or answered; [`Misuse::WrongState`] for a second final response or a second offer, and for the INVITE of a
    /// call: that is answered by its dialog; [`Misuse::Forbidden`] for what RFC 4320 forbids; [`Misuse::BadContent`], also for an Expires that can't be
    /// read or grants more, and for an offer that a 2xx does not answer; [`Misuse::Full`].
    pub fn respond(
        &mut self,
        now: Instant,
        txn: ServerTxn,
        status: Status,
        content: &Content<'_>,
    ) -> Result<(), Misuse> {
        content.check().map_err(|_| Misuse::BadContent)?;
        self.enter(now);
        let token = self.layer.user(Txn::Server(txn)).ok_or(Misuse::Gone)?;
        let (work, serving) = self.serving(token).ok_or(Misuse::Gone)?;
        let (kind, dialog) = (serving.kind, serving.dialog);
        if kind == Kind::Call || !serving.waits {
            return Err(Misuse::WrongState);
        }
        if kind.has_contact() && status.code() < 300 {
            check_own(content)?;
        }
        // RFC 6665 §4.2.1.1: the notifier may grant less than was asked for.
        let granted = granted(content).filter(|_| status.is_success() && matches!(kind, Kind::Subscribe(_)));
        if granted.is_some_and(|granted| granted.is_none_or(|granted| granted > serving.lasts)) {
            return Err(Misuse::BadContent);
        }
        let done = match dialog {
            Some(key) if kind == Kind::Reinvite => match self.unanswered(key) {
                Some(invite) if invite.txn == txn => self.respond_invite(key, invite, status, content, false),
                _ => Err(Misuse::WrongState),
            },
            Some(key) => self.respond_inside(key, txn, status, content, None),
            None => {
                let abilities = &self.abilities;
                let Some(Work::Serving(serving)) = self.work.get(work) else { return Err(Misuse::Gone) };
                let done = self.layer.respond(txn, status, content, |writer| {
                    // RFC 3515 §2.4.2, RFC 4488 §4
                    if kind == Kind::Refer(None) && status.is_success() {
                        writer.field(Name::Contact, &[&serving.contact]).field(Name::ReferSub, &[b"false"]);
                    }
                    abilities.write_product(writer, Name::Server);
                });
                if done.is_ok() && status.is_final() {
                    self.settle(txn, work, true);
                }
                done
            }
        };
        self.leave();
        done
    }

    /// The INVITE of a call that has no final response.
    pub(super) fn ringing(&self, dialog: DialogId) -> Result<Invite, Misuse> {
        if self.alive(dialog)?.session.phase != Phase::Ringing {
            return Err(Misuse::WrongState);
        }
        self.unanswered(dialog.0).ok_or(Misuse::WrongState)
    }

    /// The INVITE of the peer that has no final response. A 2xx that waits for a PRACK is as good as sent.
    fn unanswered(&self, key: Key) -> Option<Invite> {
        let session = &self.dialogs.get(key).map(|record| &record.session).filter(|it| it.is_alive())?;
        let accepted = |reliable: &Reliable| reliable.queue.iter().any(|(status, _)| status.is_final());
        session.invite.filter(|_| !session.reliable.as_deref().is_some_and(accepted))
    }

    /// A response to it, behind what waits for a PRACK (RFC 3262 §3).
    fn respond_invite(
        &mut self,
        key: Key,
        invite: Invite,
        status: Status,
        content: &Content<'_>,
        reliably: bool,
    ) -> Result<(), Misuse> {
        let session = self.session_mut(key).ok_or(Misuse::Gone)?;
        let reliable = session.reliable.as_deref();
        let open = reliable.and_then(|reliable| reliable.open.as_ref());
        let queued = reliable.is_some_and(|reliable| !reliable.queue.is_empty());
        let provisional = status.is_provisional() && status != Status::TRYING;
        let waits = match open {
            Some(_) if provisional => true,
            // It would be repeated in the place of that one.
            Some(_) if status == Status::TRYING => return Ok(()),
            Some(open) => status.is_success() && (open.session || queued),
            None => false,
        };
        if waits {
            self.queue_up(key, status, content)
        } else if provisional && (reliably || invite.requires_100rel) {
            self.send_reliably(key, status, content)
        } else {
            self.respond_inside(key, invite.txn, status, content, None)
        }
    }

    /// A response to a request inside a dialog, or to the INVITE that makes it; with an RSeq, a provisional one that is sent reliably.
    pub(super) fn respond_inside(
        &mut self,
        key: Key,
        txn: ServerTxn,
        status: Status,
        content: &Content<'_>,
        rseq: Option<u32>,
    ) -> Result<(), Misuse> {
        let token = self.layer.user(Txn::Server(txn)).ok_or(Misuse::Gone)?;
        let work = work_of(token).ok_or(Misuse::Gone)?;
        let Some(Work::Serving(serving)) = self.work.get(work) else { return Err(Misuse::Gone) };
        let record = self.dialogs.get_mut(key).ok_or(Misuse::Gone)?;
        let (kind, success) = (serving.kind, status.is_success());
        let invite = matches!(kind, Kind::Call | Kind::Reinvite);
        let session = &mut record.session;
        // A reliable response carries the answer, or the offer if the request had none; what others carry is a preview.
        let speaks = offer::is_in_content(content)
            && (success || rseq.is_some())
            && !session.invite.is_some_and(|open| invite && open.spoke);
        let exchange = match kind.carrier().filter(|_| speaks) {
            // RFC 3311 §5.2: only what answers an offer, where the request made one.
            Some(carrier) if !invite && !session.exchange.is(Offer::Remote, carrier) => {
                return Err(Misuse::WrongState);
            }
            Some(carrier) => session.exchange.sent(carrier).ok_or(Misuse::WrongState)?,
            // And what answers it must be there.
            None if success
                && kind.carrier().is_some_and(|carrier| session.exchange.is(Offer::Remote, carrier)) =>
            {
                return Err(Misuse::BadContent);
            }
            None => session.exchange,
        };
        let granted = granted(content);
        let lasts = match kind {
            Kind::Subscribe(_) if success => Some(granted.flatten().unwrap_or(serving.lasts)),
            Kind::Refer(_) if success => Some(serving.lasts),
            _ => None,
        };
        let (terms, early) = (serving.terms.filter(|_| success), serving.early);
        let (abilities, contact) = (&self.abilities, &record.contact);
        self.layer.respond(txn, status, content, |writer| {
            // RFC 3261 §8.2.6.1: a 100 makes no dialog.
            if kind.has_contact() && status != Status::TRYING && status.code() < 300 {
                writer.field(Name::Contact, &[contact]);
            }
            // RFC 3311 §4: who may send an UPDATE has to know.
            if invite && (success || rseq.is_some()) {
                abilities.write(writer);
            }
            if let Some((terms, required)) = terms {
                super::refresh::write_answer(writer, terms, required);
            }
            if let (Kind::Subscribe(_), Some(lasts), None) = (kind, lasts, granted) {
                writer.number(Name::Expires, lasts.as_secs());
            }
            if success && kind == Kind::Refer(None) {
                writer.field(Name::ReferSub, &[b"false"]);
            }
            if let Some(rseq) = rseq {
                writer.field(Name::Require, &[b"100rel"]).number(Name::RSeq, rseq.into());
            }
            abilities.write_product(writer, Name::Server);
        })?;
        session.exchange = exchange;
        if let Some(open) = session.invite.as_mut().filter(|_| invite) {
            open.spoke |= speaks;
        }
        session.tagged |= invite && status != Status::TRYING;
        let mut moved = false;
        // RFC 6141 §4.3, §4.6: the newest request moves the target, whichever is answered last.
        let newest = serving.cseq >= record.dialog.target_cseq;
        if (success || rseq.is_some()) && newest && !serving.target.is_empty() {
            record.dialog.names.set_target(&serving.target);
            record.dialog.target_cseq = serving.cseq;
            moved = true;
        }
        if moved {
            self.note_change(key);
        }
        let terms = terms.map(|(terms, _)| terms);
        if status.is_final() {
            let cseq = self.dialogs.get(key).and_then(|record| record.session.invite).map(|open| open.cseq);
            self.settle(txn, work, success);
            if success && early {
                self.agree_late(key, terms);
            } else if success && (invite || kind == Kind::Update) {
                self.start_timer(key, terms);
            }
            if let Kind::Subscribe(key) | Kind::Refer(Some(key)) = kind {
                self.on_subscribe_answered(key, lasts);
            }
            if let (true, Some(cseq)) = (success && invite, cseq) {
                self.on_accepted(key, txn, cseq);
            }
            // RFC 5057 §5.1: what a refusal ends at the peer it ends here. An INVITE that makes a dialog leaves none.
            if kind != Kind::Call {
                self.on_failure(key, ends(kind.method(), status));
            }
        } else if invite && status != Status::TRYING {
            self.keep_ringing(key, status);
        }
        Ok(())
    }

    /// A 2xx to an INVITE has been sent: it is sent again until its ACK comes, on every transport (RFC 3261 §13.3.1.4).
    fn on_accepted(&mut self, key: Key, txn: ServerTxn, cseq: u32) {
        let (timers, clock) = (self.config.core.timers, self.layer.clock());
        let Some(record) = self.dialogs.get_mut(key) else { return };
        // An ACK that is still to come for the one before means nothing any more.
        let before = record.session.unacked.take();
        record.session.phase = Phase::Up;
        let replaces = record.session.replaces.take();
        let unacked = Unacked {
            txn,
            cseq,
            interval: timers.t1,
            repeat: self.alarms.set(clock, timers.t1, Due::Repeat2xx(key)),
            end: self.alarms.set(clock, timers.t1x64(), Due::NoAck(key)),
        };
        record.session.unacked = Some(unacked);
        self.alarms.stop(before.map(|unacked| unacked.repeat));
        self.alarms.stop(before.map(|unacked| unacked.end));
        if let Some(replaced) = replaces {
            self.replace(replaced);
        }
    }

    /// RFC 3891 §3: the call that was replaced is hung up, or given up if it was never answered.
    fn replace(&mut self, replaced: DialogId) {
        let Some(session) = self.session_mut(replaced.0) else { return };
        session.replaced = true;
        let _ = match session.phase {
            Phase::Early => self.leave_early(replaced, &Content::NONE),
            _ => self.bye_in_time(replaced, &Content::NONE),
        };
        // A BYE that must wait for an ACK ends it later.
        if self.session_mut(replaced.0).is_some_and(|session| session.phase == Phase::Terminating) {
            self.end_session(replaced.0, Reason::Replaced);
        }
    }

    /// Notes that a request has its final response; false if it had one before. With a refusal the offers of both sides in it are gone.
    pub(super) fn settle(&mut self, txn: ServerTxn, work: WorkId, accepted: bool) -> bool {
        let Some(Work::Serving(serving)) = self.work.get_mut(work) else { return false };
        if !core::mem::replace(&mut serving.waits, false) {
            return false;
        }
        let (dialog, carrier, offered) = (serving.dialog, serving.kind.carrier(), serving.offered);
        let Some(record) = dialog.and_then(|key| self.dialogs.get_mut(key)) else { return true };
        record.waiting.retain(|waiting| *waiting != txn);
        let session = &mut record.session;
        if let Some(carrier) = carrier {
            if offered {
                session.exchange.close(Offer::Remote, carrier);
            }
            if !accepted {
                session.exchange.close(Offer::Local, carrier);
            }
        }
        if session.peer_update == Some(txn) {
            session.peer_update = None;
        }
        if let Some(invite) = session.invite.filter(|invite| invite.txn == txn) {
            session.invite = None;
            let open = session.reliable.as_mut().and_then(|reliable| {
                reliable.queue.clear();
                reliable.open.take()
            });
            self.alarms.stop(invite.expires);
            self.alarms.stop(invite.still);
            self.alarms.stop(open.as_ref().map(|open| open.repeat));
            self.alarms.stop(open.as_ref().map(|open| open.end));
        }
        true
    }

    /// Answers a request in the user's place.
    pub(super) fn withdraw(&mut self, txn: ServerTxn, status: Status) {
        let found = self.layer.user(Txn::Server(txn)).and_then(|token| self.serving(token));
        let Some((work, kind)) = found.map(|(work, serving)| (work, serving.kind)) else { return };
        self.answer(txn, status, |_| {});
        if self.settle(txn, work, false) && kind != Kind::Call {
            self.unserved(txn, kind);
        }
    }

    // What time brings.

    fn keep_ringing(&mut self, key: Key, last: Status) {
        let clock = self.layer.clock();
        let Some(invite) = self.session_mut(key).and_then(|session| session.invite) else { return };
        self.alarms.stop(invite.still);
        let still = self.alarms.set(clock, STILL_RINGING, Due::StillRinging(key));
        if let Some(invite) = self.session_mut(key).and_then(|session| session.invite.as_mut()) {
            (invite.still, invite.last) = (Some(still), last);
        }
    }

    /// RFC 3261 §13.3.1.1: a proxy between would give up.
    pub(super) fn on_still_ringing(&mut self, key: Key) {
        let Some(session) = self.session_mut(key) else { return };
        // One that waits for its PRACK is repeated often enough.
        let waits = session.reliable.as_deref().is_some_and(|reliable| reliable.open.is_some());
        let Some(invite) = session.invite else { return };
        let reliable = session.reliable.as_deref().is_some_and(|reliable| reliable.cseq == invite.cseq);
        // RFC 3262 §3: one that has its PRACK is not sent again: another is.
        let done = !waits
            && reliable
            && self.respond_invite(key, invite, invite.last, &Content::NONE, false).is_ok();
        if !waits && !done {
            self.layer.repeat_provisional(invite.txn);
        }
        self.keep_ringing(key, invite.last);
    }

    /// RFC 3261 §13.3.1
    pub(super) fn on_ringing_expired(&mut self, key: Key) {
        if let Some(invite) = self.session_mut(key).and_then(|session| session.invite) {
            self.withdraw(invite.txn, Status::REQUEST_TERMINATED);
            self.end_session(key, Reason::Expired);
        }
    }

    pub(super) fn on_repeat_2xx(&mut self, key: Key) {
        let (t2, clock) = (self.config.core.timers.t2, self.layer.clock());
        let Some(unacked) = self.dialogs.get_mut(key).and_then(|record| record.session.unacked.as_mut())
        else {
            return;
        };
        unacked.interval = Timers::interval(unacked.interval.saturating_mul(2).min(t2));
        unacked.repeat = self.alarms.set(clock, unacked.interval, Due::Repeat2xx(key));
        let txn = unacked.txn;
        self.layer.repeat_success(txn);
    }

    /// RFC 3261 §13.3.1.4: the dialog is confirmed, but the session ends with a BYE.
    pub(super) fn on_no_ack(&mut self, key: Key) {
        self.give_up(key);
        self.end_session(key, Reason::NoAck);
    }

    /// Puts a response into the queue behind the reliable one that has no PRACK yet.
    fn queue_up(&mut self, key: Key, status: Status, content: &Content<'_>) -> Result<(), Misuse> {
        let session = self.session_mut(key).ok_or(Misuse::Gone)?;
        let reliable = session.reliable.as_mut().ok_or(Misuse::WrongState)?;
        // What ends it always has room.
        if reliable.queue.len() >= MAX_QUEUED && status.is_provisional() {
            return Err(Misuse::Full);
        }
        let mut waiting = reliable.queue.iter().map(|(_, content)| content.with(offer::is_in_content));
        let speaks = offer::is_in_content(content) || waiting.any(|speaks| speaks);
        if status.is_success() && !speaks && session.exchange.is(Offer::Remote, Carrier::PeerInvite) {
            return Err(Misuse::BadContent);
        }
        reliable.queue.push((status, OwnContent::of(content)));
        Ok(())
    }
}

/// How many responses may wait for PRACKs.
const MAX_QUEUED: usize = 16;

/// The Expires among the headers of a response: how long a subscription is granted, if it can be read.
fn granted(content: &Content<'_>) -> Option<Option<Duration>> {
    let (_, value) = content.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("Expires"))?;
    Some(value.trim().parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into())))
}
