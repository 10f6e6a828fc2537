//! The ACK for a 2xx, and the BYE (RFC 3261 §13.2.2.4, §15).

use super::record::{OwnContent, Phase};
use super::requests::{Outgoing, Purpose};
use super::{Reason, UserAgent, Work, WorkId, token_of};
use crate::auth::Answers;
use crate::config::Limits;
use crate::dialog::offer::{self, Carrier, Offer};
use crate::dialog::{Dialog, Ends, Sent};
use crate::endpoint::Misuse;
use crate::handle::{DialogId, Invitation, Key};
use crate::headers::Name;
use crate::message::{Content, Message, Method, Status};
use crate::time::Instant;
use crate::transaction::{BufferId, ClientRequest};
use alloc::boxed::Box;
use alloc::vec::Vec;

impl UserAgent {
    /// Acknowledges a 2xx that held an offer, with the answer (RFC 3261 §13.2.2.4).
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] if the ACK has been sent or there is nothing to acknowledge;
    /// [`Misuse::BadContent`], also where the answer is not there.
    pub fn ack(&mut self, now: Instant, dialog: DialogId, answer: &Content<'_>) -> Result<(), Misuse> {
        answer.check().map_err(|_| Misuse::BadContent)?;
        self.enter(now);
        let session = &self.alive(dialog)?.session;
        let cseq = session.owed_ack.filter(|_| session.is_alive()).ok_or(Misuse::WrongState)?;
        if session.exchange.is(Offer::Remote, Carrier::OwnInvite) && !offer::is_in_content(answer) {
            return Err(Misuse::BadContent);
        }
        if let Some(session) = self.session_mut(dialog.0) {
            session.exchange.close(Offer::Remote, Carrier::OwnInvite);
        }
        self.send_ack(dialog.0, cseq, answer);
        self.leave();
        Ok(())
    }

    /// By the route set of the dialog, with the number of the INVITE and a branch of its own. Where no ACK can be sent there is no call.
    pub(super) fn send_ack(&mut self, key: Key, cseq: u32, content: &Content<'_>) {
        match self.write_ack(key, cseq, content) {
            Some(ack) => {
                if let Some(session) = self.session_mut(key) {
                    session.owed_ack = None;
                }
                self.keep_ack(key, cseq, ack);
            }
            None => self.end_session(key, Reason::Unreachable),
        }
    }

    /// An ACK is kept while its INVITE lives, for the copies of the 2xx.
    pub(super) fn keep_ack(&mut self, key: Key, cseq: u32, ack: BufferId) {
        let Some(session) = self.session_mut(key) else { return };
        if core::mem::take(&mut session.owed_late) {
            self.layer.buffers.unpin(ack);
        } else {
            session.acks.push((cseq, ack));
        }
    }

    pub(super) fn write_ack(&mut self, key: Key, cseq: u32, content: &Content<'_>) -> Option<BufferId> {
        let record = self.dialogs.get(key)?;
        let (uri, towards) = record.dialog.uris();
        let sent = self.layer.send_stateless(Method::Ack, uri, towards, |writer| {
            record.dialog.write(writer, Method::Ack, cseq);
            writer.line(&record.session.credentials);
            writer.finish(content);
        });
        sent.ok()
    }

    /// The same ACK again, if there was one for this INVITE.
    pub(super) fn repeat_ack(&mut self, key: Key, cseq: u32) -> bool {
        let Some(record) = self.dialogs.get(key) else { return false };
        let ack = record.session.acks.iter().find(|(of, _)| *of == cseq);
        if let Some((_, ack)) = ack {
            self.layer.repeat_stateless(*ack, record.dialog.uris());
        }
        ack.is_some()
    }

    /// A copy of the 2xx that comes when its INVITE is over: the ACK is made once more, without the answer that it may have had.
    pub(super) fn repeat_late_ack(&mut self, key: Key, cseq: u32) {
        // The user still owes the answer to its offer.
        if self.dialogs.get(key).is_some_and(|record| record.session.owed_ack == Some(cseq)) {
            return;
        }
        if !self.repeat_ack(key, cseq) {
            if let Some(ack) = self.write_ack(key, cseq, &Content::NONE) {
                self.layer.buffers.unpin(ack);
            }
        }
    }

    /// No more copies of the 2xx come by the transaction of this INVITE.
    pub(super) fn drop_ack(&mut self, key: Key, cseq: u32) {
        let Some(session) = self.session_mut(key) else { return };
        if let Some(at) = session.acks.iter().position(|(of, _)| *of == cseq) {
            let (_, ack) = session.acks.swap_remove(at);
            self.layer.buffers.unpin(ack);
        } else {
            session.owed_late |= session.owed_ack == Some(cseq);
        }
    }

    /// RFC 3261 §22.1: the credentials of an INVITE that was accepted, for its ACK.
    pub(super) fn keep_credentials(&mut self, work: WorkId, key: Key) {
        if self.answers_of(work).is_none_or(Answers::is_empty) {
            return;
        }
        let Some(Work::Request(outgoing)) = self.work.get(work) else { return };
        let Ok(invite) = Message::parse(self.layer.buffers.message(outgoing.request), &Limits::NONE) else {
            return;
        };
        let lines = credentials(&invite);
        if let Some(record) = self.dialogs.get_mut(key) {
            record.session.credentials = lines.into();
        }
    }

    /// RFC 3261 §13.2.2.4: a 2xx for which there is no room is acknowledged and hung up, and nothing is kept of it but its tag; beyond as many
    /// again it is left alone. Whether it is the first one with its tag.
    pub(super) fn turn_away(&mut self, invitation: Invitation, response: &Message<'_>) -> bool {
        let most = self.config.core.limits.forks;
        let Some(call) = self.calls.get_mut(invitation.0) else { return false };
        let tag = response.to_tag().unwrap_or_default();
        let known = call.turned_away.iter().any(|known| **known == *tag);
        if !known && call.turned_away.len() >= most {
            return false;
        }
        if !known {
            call.turned_away.push(tag.into());
        }
        let work = call.work;
        let Some(outgoing) = self.outgoing(work) else { return false };
        let bytes = Vec::from(self.layer.buffers.message(outgoing.request));
        let Ok(invite) = Message::parse(&bytes, &Limits::NONE) else { return false };
        let mut dialog = Dialog::of_response(&Sent::of(&bytes), response);
        let (ack, bye) = (dialog.local_cseq, dialog.next_cseq());
        let (uri, towards) = dialog.uris();
        let sent = self.layer.send_stateless(Method::Ack, uri, towards, |writer| {
            dialog.write(writer, Method::Ack, ack);
            writer.line(&credentials(&invite));
            writer.finish(&Content::NONE);
        });
        if let Ok(sent) = sent {
            self.layer.buffers.unpin(sent);
        }
        if known {
            return false;
        }
        let mut answers = self.take_answers(work, None);
        // A request of its own, as a proxy may challenge it: nothing is kept of the dialog.
        let outgoing =
            Outgoing { cseq: bye, answers: answers.anew(), ..Outgoing::new(Purpose::Bye, 0, None) };
        let parting = self.enlist(Work::Request(outgoing));
        let user = token_of(parting);
        let request = ClientRequest { method: Method::Bye, uri, towards, target: None, timers: None, user };
        let random = self.layer.random.u64();
        let sent = self.layer.request(&request, |writer| {
            dialog.write(writer, Method::Bye, bye);
            answers.write(writer, Method::Bye, uri, b"", &self.config.credentials, random);
            writer.finish(&Content::NONE);
        });
        // One that can't be sent is not missed here.
        let _ = self.begun(parting, sent);
        self.put_answers(work, None, answers);
        true
    }

    /// Hangs up (RFC 3261 §15.1.1).
    ///
    /// The callee may not send a BYE before the ACK: then it waits for that, or for the 64·T1 after which none comes.
    /// [`Event::Ended`](super::Event::Ended) comes when the BYE is answered or given up.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] for a call that comes in and is not accepted (reject it), and after another
    /// BYE; [`Misuse::BadContent`]; [`Misuse::Full`]; [`Misuse::NoLocal`] if it has no address at all, as after a restore.
    pub fn bye(&mut self, now: Instant, dialog: DialogId, content: &Content<'_>) -> Result<(), Misuse> {
        content.check().map_err(|_| Misuse::BadContent)?;
        self.enter(now);
        let done = self.bye_in_time(dialog, content);
        self.leave();
        done
    }

    /// Ends a call, whatever its state: what comes in and is not answered is declined (603), what goes out and is not answered is cancelled with all its
    /// forks, what is up gets a [`bye`](Self::bye). A CANCEL has the headers of the content (a Reason, RFC 3326), and no body.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] if it is being ended; [`Misuse::BadContent`]; [`Misuse::Full`].
    pub fn hang_up(&mut self, now: Instant, dialog: DialogId, content: &Content<'_>) -> Result<(), Misuse> {
        content.check().map_err(|_| Misuse::BadContent)?;
        self.enter(now);
        match self.alive(dialog)?.session.phase {
            Phase::Ringing => {
                // A 2xx that waits for its PRACK has not been sent.
                if let Some(reliable) =
                    self.session_mut(dialog.0).and_then(|session| session.reliable.as_mut())
                {
                    reliable.queue.retain(|(status, _)| status.is_provisional());
                }
                self.reject(now, dialog, Status::DECLINE, content)
            }
            Phase::Early => {
                let done = self.leave_early(dialog, content);
                self.leave();
                done
            }
            _ => self.bye(now, dialog, content),
        }
    }

    /// Ends an early dialog of this side's INVITE: with all its forks, or with a BYE when another fork has answered that (RFC 3261 §15).
    pub(super) fn leave_early(&mut self, dialog: DialogId, content: &Content<'_>) -> Result<(), Misuse> {
        let invitation = self.alive(dialog)?.session.invitation;
        let Some(call) = invitation.and_then(|invitation| self.calls.get(invitation.0)) else {
            return self.bye_in_time(dialog, content);
        };
        match invitation {
            Some(_) if call.cancelled && !call.answered => Err(Misuse::WrongState),
            Some(invitation) if self.cancel_invitation(invitation, content).is_ok() => Ok(()),
            _ => self.bye_in_time(dialog, content),
        }
    }

    pub(super) fn bye_in_time(&mut self, dialog: DialogId, content: &Content<'_>) -> Result<(), Misuse> {
        self.alive(dialog)?;
        let session = self.session_mut(dialog.0).ok_or(Misuse::Gone)?;
        match session.phase {
            Phase::Ringing | Phase::Terminating | Phase::Over => return Err(Misuse::WrongState),
            Phase::Up if session.unacked.is_some() => {
                if session.bye_queued.is_some() {
                    return Err(Misuse::WrongState);
                }
                session.bye_queued = Some(Box::new(OwnContent::of(content)));
                return Ok(());
            }
            Phase::Early | Phase::Up => {}
        }
        if let Some(cseq) = session.owed_ack {
            // The offer of the 2xx was never answered; it must be acknowledged all the same.
            self.send_ack(dialog.0, cseq, &Content::NONE);
        }
        match self.send_bye(dialog.0, content) {
            // Whoever restored it has not said yet where it is.
            Err(misuse @ Misuse::NoLocal(_)) if self.layer.locals.is_empty() => Err(misuse),
            Err(Misuse::NoLocal(_) | Misuse::BadUri) => {
                self.end_session(dialog.0, Reason::Unreachable);
                Ok(())
            }
            done => done,
        }
    }

    /// Hangs up for a reason of this side's own. A BYE that can't be sent leaves nothing to wait for.
    pub(super) fn give_up(&mut self, key: Key) {
        // A 2xx whose answer the user still owes is acknowledged all the same.
        if let Some(cseq) = self.dialogs.get(key).and_then(|record| record.session.owed_ack) {
            self.send_ack(key, cseq, &Content::NONE);
        }
        let queued = self.session_mut(key).and_then(|session| session.bye_queued.take());
        let sent = match queued {
            Some(content) => content.with(|content| self.send_bye(key, content)),
            None => self.send_bye(key, &Content::NONE),
        };
        if sent.is_err() {
            self.end_session(key, Reason::Unreachable);
        }
    }

    /// Hangs up and does not wait for an answer. The callee's BYE waits for the ACK all the same (§15), as if the user had hung up.
    pub(super) fn abandon(&mut self, key: Key, reason: Reason) {
        if let Some(session) = self.session_mut(key).filter(|session| session.unacked.is_some()) {
            session.bye_queued.get_or_insert_with(|| Box::new(OwnContent::of(&Content::NONE)));
            return;
        }
        self.give_up(key);
        self.end_session(key, reason);
    }

    pub(super) fn send_bye(&mut self, key: Key, content: &Content<'_>) -> Result<(), Misuse> {
        self.send_inside(key, Purpose::Bye, Method::Bye, 0, content, &[])?;
        let Some(session) = self.session_mut(key) else { return Ok(()) };
        session.bye_sent = true;
        if session.phase != Phase::Over {
            session.phase = Phase::Terminating;
        }
        let alarms = [session.timer_alarm.take(), session.unacked.map(|unacked| unacked.repeat)];
        let end = session.unacked.take().map(|unacked| unacked.end);
        // RFC 5407 §3.2: nothing of the session is changed any more.
        let waiting = [session.invite.map(|invite| invite.txn), session.peer_update];
        for alarm in alarms.into_iter().chain([end]) {
            self.alarms.stop(alarm);
        }
        for txn in waiting.into_iter().flatten() {
            self.withdraw(txn, Status::REQUEST_TERMINATED);
        }
        Ok(())
    }

    /// What a failure inside the dialog ends (RFC 5057).
    pub(super) fn on_failure(&mut self, key: Key, ends: Ends) {
        let Some(record) = self.dialogs.get(key).filter(|record| record.session.proven) else { return };
        let alive = matches!(record.session.phase, Phase::Early | Phase::Up);
        match ends {
            Ends::Transaction => {}
            // Who calls knows nothing of the call any more.
            Ends::Usage | Ends::Dialog if record.session.phase == Phase::Ringing => {
                self.fail_invite(key, Status::REQUEST_TERMINATED, Reason::Lost);
            }
            // RFC 3261 §12.2.1.2: the session is ended with a BYE, which the peer may still understand.
            Ends::Usage | Ends::Dialog => {
                if ends == Ends::Dialog {
                    self.end_subscriptions(key);
                }
                if alive {
                    self.abandon(key, Reason::Lost);
                }
            }
        }
    }
}

/// The lines of a request's credentials.
fn credentials(request: &Message<'_>) -> Vec<u8> {
    let mut lines: Vec<u8> = Vec::new();
    for (name, line, _) in request.raw_fields() {
        if matches!(name, Name::Authorization | Name::ProxyAuthorization) {
            if !lines.is_empty() {
                lines.extend_from_slice(b"\r\n");
            }
            lines.extend_from_slice(line);
        }
    }
    lines
}
