//! Requests that come in: calls, and what happens inside them (RFC 3261 §8.2, §12.2.2, §13.3).

use super::machine::Meaning;
use super::session::{Phase, Session};
use super::validate::{self, Refusal};
use super::{ACCEPT, ALLOW, Reason, UserAgent, Work, contact};
use crate::dialog::{Dialog, Side};
use crate::endpoint::{Misuse, Source, Txn};
use crate::handle::{DialogId, Key, ServerTxn};
use crate::headers::Name;
use crate::message::{Content, Message, Method, Status};
use crate::time::{Instant, micros};
use alloc::string::String;

impl UserAgent {
    pub(super) fn on_request(
        &mut self,
        txn: ServerTxn,
        merged: bool,
        source: Source,
        request: &Message<'_>,
    ) -> Option<Meaning> {
        if merged {
            return self.decline(txn, Refusal::status(Status::LOOP_DETECTED));
        }
        // RFC 3261 §9.2: one that matched an INVITE has been answered already.
        if request.method() == Method::Cancel {
            return self.decline(txn, Refusal::status(Status::NO_SUCH_TRANSACTION));
        }
        // RFC 3261 §12.2.2: a To tag names a dialog, and one that is not there is answered with 481.
        if request.to_tag().is_some() {
            return match self.find(request, Side::Callee) {
                Some(key) => self.on_request_inside(key, txn, request),
                None => self.decline(txn, Refusal::status(Status::NO_SUCH_TRANSACTION)),
            };
        }
        match validate::outside(request) {
            Err(refusal) => self.decline(txn, refusal),
            Ok(()) if request.method() == Method::Options => self.serve_options(txn),
            Ok(()) => self.on_invite(txn, source, request),
        }
    }

    fn decline(&mut self, txn: ServerTxn, refusal: Refusal<'_>) -> Option<Meaning> {
        self.answer(txn, refusal.status, |writer| refusal.write(writer));
        Some(Meaning::Declined(refusal.status))
    }

    /// RFC 3261 §11.2
    fn serve_options(&mut self, txn: ServerTxn) -> Option<Meaning> {
        self.answer(txn, Status::OK, |writer| {
            writer.field(Name::Allow, &[ALLOW.as_bytes()]).field(Name::Accept, &[ACCEPT.as_bytes()]);
        });
        Some(Meaning::Served(Status::OK))
    }

    fn on_invite(&mut self, txn: ServerTxn, source: Source, request: &Message<'_>) -> Option<Meaning> {
        if self.sessions_full() {
            let after = self.config.core.limits.retry_after.as_secs();
            self.answer(txn, Status::SERVICE_UNAVAILABLE, |writer| {
                writer.number(Name::RetryAfter, after);
            });
            return Some(Meaning::Declined(Status::SERVICE_UNAVAILABLE));
        }
        let local_tag = self.layer.local_tag(txn)?;
        let reached_at = self.reached_at(source);
        let dialog = self.open_session(Session {
            dialog: Dialog::of_request(request, local_tag, 0),
            phase: Phase::Ringing { txn },
            user: 0,
            announced: true,
            reached_at,
            invitation: None,
            invite_cseq: request.cseq().number,
            ack: None,
            bye_queued: false,
        });
        let token = self.enlist(Work::Incoming(dialog));
        self.layer.set_user(Txn::Server(txn), token);
        Some(Meaning::Incoming { dialog })
    }

    /// RFC 3261 §12.2.2
    fn on_request_inside(&mut self, key: Key, txn: ServerTxn, request: &Message<'_>) -> Option<Meaning> {
        let session = self.sessions.get_mut(key)?;
        let over = matches!(session.phase, Phase::Over | Phase::Terminating);
        if let Err(status) = session.dialog.take_cseq(request) {
            return self.decline(txn, Refusal::status(status));
        }
        if let Err(refusal) = validate::extensions(request) {
            return self.decline(txn, refusal);
        }
        match request.method() {
            Method::Bye => {
                self.answer(txn, Status::OK, |_| {});
                self.on_bye(key)
            }
            // RFC 5407 §3.2: after this side's BYE there is nothing left to change.
            _ if over => self.decline(txn, Refusal::status(Status::NO_SUCH_TRANSACTION)),
            Method::Options => self.serve_options(txn),
            // The session stays as it is (RFC 3261 §14.2).
            Method::Invite => self.decline(txn, Refusal::status(Status::NOT_ACCEPTABLE_HERE)),
            method => self.decline(txn, validate::method(method)),
        }
    }

    /// RFC 3261 §15.1.2: the session is over, whatever else is under way in it.
    fn on_bye(&mut self, key: Key) -> Option<Meaning> {
        let session = self.sessions.get(key)?;
        match session.phase {
            Phase::Ringing { txn } => {
                self.answer(txn, Status::REQUEST_TERMINATED, |_| {});
                self.end_session(key, Reason::RemoteBye);
            }
            // Our own BYE is still to be answered; the two have crossed.
            Phase::Terminating | Phase::Over => {}
            Phase::Accepted { .. } | Phase::Early | Phase::Confirmed => {
                self.end_session(key, Reason::RemoteBye)
            }
        }
        Some(Meaning::Served(Status::OK))
    }

    /// RFC 3261 §9.2: the INVITE that is cancelled is answered with 487.
    pub(super) fn on_cancel(&mut self, invite: ServerTxn, user: u64) {
        self.answer(invite, Status::REQUEST_TERMINATED, |_| {});
        if let Some(Work::Incoming(dialog)) = self.work(user) {
            self.end_session(dialog.0, Reason::Cancelled);
        }
    }

    /// An ACK for a 2xx. It is found by its dialog, whatever its branch; else by the transaction of its INVITE.
    pub(super) fn on_ack(&mut self, txn: Option<ServerTxn>, ack: &Message<'_>) -> Option<Meaning> {
        let by_txn = || match self.work(self.layer.user(Txn::Server(txn?))?)? {
            Work::Incoming(dialog) => Some(dialog.0),
            _ => None,
        };
        let Some(key) = self.find(ack, Side::Callee).or_else(by_txn) else { return Some(Meaning::StrayAck) };
        let session = self.sessions.get_mut(key)?;
        if !matches!(session.phase, Phase::Accepted { .. }) || session.invite_cseq != ack.cseq().number {
            return None;
        }
        session.phase = Phase::Confirmed;
        let (user, bye_queued) = (session.user, session.bye_queued);
        self.session_timers.disarm(key.index * 2);
        self.session_timers.disarm(key.index * 2 + 1);
        if bye_queued {
            self.give_up(key);
        }
        Some(Meaning::Established { dialog: DialogId(key), user })
    }

    /// Sends a provisional response to a call that comes in: 180 (Ringing), 183 (Session Progress) …
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] after a final response; [`Misuse::BadStatus`] for anything but 100 to 199;
    /// [`Misuse::BadContent`].
    pub fn ring(
        &mut self,
        now: Instant,
        dialog: DialogId,
        status: Status,
        content: &Content<'_>,
    ) -> Result<(), Misuse> {
        if !status.is_provisional() {
            return Err(Misuse::BadStatus);
        }
        content.check().map_err(|_| Misuse::BadContent)?;
        self.enter(now);
        let txn = self.ringing(dialog)?;
        let done = self.respond_inside(dialog, txn, status, content);
        self.leave();
        done
    }

    /// Answers a call that comes in with 200. It is sent again until the ACK comes, which [`Event::Established`] tells; or a
    /// BYE ends the call after 64·T1.
    ///
    /// [`Event::Established`]: super::Event::Established
    ///
    /// # Errors
    /// As [`ring`](Self::ring).
    pub fn accept(&mut self, now: Instant, dialog: DialogId, content: &Content<'_>) -> Result<(), Misuse> {
        content.check().map_err(|_| Misuse::BadContent)?;
        self.enter(now);
        let txn = self.ringing(dialog)?;
        self.respond_inside(dialog, txn, Status::OK, content)?;
        let timers = self.config.core.timers;
        if let Some(session) = self.sessions.get_mut(dialog.0) {
            session.phase = Phase::Accepted { txn, interval: timers.t1 };
        }
        // RFC 3261 §13.3.1.4: on every transport.
        self.session_timers.arm(dialog.0.index * 2, self.layer.clock(), micros(timers.t1));
        self.session_timers.arm(dialog.0.index * 2 + 1, self.layer.clock(), micros(timers.t1x64()));
        self.leave();
        Ok(())
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
        let txn = self.ringing(dialog)?;
        self.layer.respond(txn, status, content, |_| {})?;
        self.end_session(dialog.0, Reason::Rejected);
        self.leave();
        Ok(())
    }

    fn ringing(&self, dialog: DialogId) -> Result<ServerTxn, Misuse> {
        match self.session(dialog)?.phase {
            Phase::Ringing { txn } => Ok(txn),
            _ => Err(Misuse::WrongState),
        }
    }

    /// A response that makes or confirms the dialog: with Contact, and in a 2xx with what this side can do.
    fn respond_inside(
        &mut self,
        dialog: DialogId,
        txn: ServerTxn,
        status: Status,
        content: &Content<'_>,
    ) -> Result<(), Misuse> {
        let (transport, sent_by) = self.session(dialog)?.reached_at.clone().ok_or(Misuse::WrongState)?;
        let (user, product) = (&self.config.user, &self.config.product);
        self.layer.respond(txn, status, content, |writer| {
            // RFC 3261 §8.2.6.1: a 100 makes no dialog.
            if status != Status::TRYING {
                contact(writer, user, transport, &sent_by);
            }
            if status.is_success() {
                writer.field(Name::Allow, &[ALLOW.as_bytes()]).field(Name::Accept, &[ACCEPT.as_bytes()]);
            }
            if !product.is_empty() {
                writer.field(Name::Server, &[product.as_bytes()]);
            }
        })
    }

    /// How the peer at a source reaches this side.
    fn reached_at(&self, source: Source) -> Option<(crate::Transport, String)> {
        let local = match source {
            Source::Datagram { local, .. } => Some(local),
            Source::Flow(flow) => self.layer.flow(flow).and_then(|flow| flow.local),
        };
        let peer = self.layer.peer(source)?;
        Some((peer.transport, String::from(self.layer.locals.contact(peer.transport, local, peer.addr))))
    }
}
