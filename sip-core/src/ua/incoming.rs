//! Requests that come in, and calls among them (RFC 3261 §8.2, §13.3).

use super::alarms::Due;
use super::machine::Meaning;
use super::record::{Invite, Phase, Session};
use super::validate::{self, Refusal};
use super::{Event, Kind, Reason, Serving, UserAgent, Work, token_of};
use crate::dialog::offer::{self, Carrier, Offer};
use crate::dialog::{Dialog, Id, Side, session_timer};
use crate::endpoint::{Source, Txn};
use crate::handle::{DialogId, Key, ServerTxn};
use crate::headers::{Expires, Name, Replaces, Require};
use crate::message::{Content, Message, Method, Status};
use alloc::sync::Arc;
use core::time::Duration;

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
            let mut key = self.find_id(&Id::of(request, Side::Callee));
            if key.is_none() && request.method() == Method::Notify {
                if let Some(asked) = self.asked_by(request) {
                    if self.is_full() {
                        return self.decline_overload(txn);
                    }
                    key = self.notify_makes_dialog(asked, source, request);
                }
            }
            return match key {
                Some(key) => self.on_request_inside(key, txn, source, request),
                None => self.decline(txn, Refusal::status(Status::NO_SUCH_TRANSACTION)),
            };
        }
        match validate::outside(request, &self.config) {
            Err(refusal) => self.decline(txn, refusal),
            Ok(()) if request.method() == Method::Invite => self.on_invite(txn, source, request),
            Ok(()) if request.method() == Method::Subscribe && !self.takes(Method::Subscribe) => {
                self.on_subscribe(None, txn, source, request)
            }
            Ok(()) if request.method() == Method::Refer => self.on_refer(None, txn, source, request),
            Ok(()) if self.takes(request.method()) => self.hand_over(txn, None, Kind::Other, b"", None),
            Ok(()) => self.serve_options(txn),
        }
    }

    pub(super) fn decline(&mut self, txn: ServerTxn, refusal: Refusal<'_>) -> Option<Meaning> {
        let status = refusal.status;
        let (abilities, config) = (&self.abilities, &self.config);
        let _ = self.layer.respond(txn, status, &Content::NONE, |writer| {
            abilities.write_product(writer, Name::Server);
            refusal.write(writer, &abilities.allow, config);
        });
        Some(Meaning::Declined(status))
    }

    /// RFC 3261 §14.2: a request that comes in the midst of another may come again, some seconds later.
    pub(super) fn decline_for_now(&mut self, txn: ServerTxn) -> Option<Meaning> {
        let after = self.layer.random.u64() % 11;
        self.answer(txn, Status::SERVER_INTERNAL_ERROR, |writer| {
            writer.number(Name::RetryAfter, after);
        });
        Some(Meaning::Declined(Status::SERVER_INTERNAL_ERROR))
    }

    /// No room for another dialog.
    pub(super) fn decline_overload(&mut self, txn: ServerTxn) -> Option<Meaning> {
        let after = self.config.core.limits.retry_after.as_secs();
        self.answer(txn, Status::SERVICE_UNAVAILABLE, |writer| {
            writer.number(Name::RetryAfter, after);
        });
        Some(Meaning::Declined(Status::SERVICE_UNAVAILABLE))
    }

    /// RFC 4028 §6
    pub(super) fn decline_interval(&mut self, txn: ServerTxn, min: u32) -> Option<Meaning> {
        self.answer(txn, Status::SESSION_INTERVAL_TOO_SMALL, |writer| {
            writer.number(Name::MinSe, min.into());
        });
        Some(Meaning::Declined(Status::SESSION_INTERVAL_TOO_SMALL))
    }

    /// Whether the user answers requests of this method.
    pub(super) fn takes(&self, method: Method<'_>) -> bool {
        self.config.methods.contains(&method)
    }

    /// RFC 3261 §11.2
    pub(super) fn serve_options(&mut self, txn: ServerTxn) -> Option<Meaning> {
        let abilities = &self.abilities;
        let _ = self.layer.respond(txn, Status::OK, &Content::NONE, |writer| {
            abilities.write_product(writer, Name::Server);
            abilities.write(writer);
        });
        Some(Meaning::Served(None))
    }

    /// Gives a request to the user, who answers it with [`respond`](Self::respond).
    pub(super) fn hand_over(
        &mut self,
        txn: ServerTxn,
        dialog: Option<Key>,
        kind: Kind,
        target: &[u8],
        terms: Option<(session_timer::Terms, bool)>,
    ) -> Option<Meaning> {
        let contact = Arc::default();
        let cseq = dialog.and_then(|key| self.dialogs.get(key)).and_then(|record| record.dialog.remote_cseq);
        let cseq = cseq.unwrap_or_default();
        let target = target.into();
        let lasts = Duration::ZERO;
        let serving = Serving {
            dialog,
            kind,
            target,
            contact,
            terms,
            lasts,
            cseq,
            waits: true,
            offered: false,
            early: false,
        };
        let work = self.enlist(Work::Serving(serving));
        self.layer.set_user(Txn::Server(txn), token_of(work));
        let record = dialog.and_then(|key| self.dialogs.get_mut(key));
        let user = record.map_or(0, |record| {
            record.waiting.push(txn);
            record.user
        });
        Some(Meaning::Request { txn, dialog: dialog.map(DialogId), user })
    }

    fn on_invite(&mut self, txn: ServerTxn, source: Source, request: &Message<'_>) -> Option<Meaning> {
        if self.is_full() {
            return self.decline_overload(txn);
        }
        let terms = match session_timer::answer(request, &self.config.session_timer) {
            Ok(terms) => terms,
            Err(min) => return self.decline_interval(txn, min),
        };
        let (replaces, early_only) = match self.replaced(request) {
            Ok(found) => found,
            Err(status) => return self.decline(txn, Refusal::status(status)),
        };
        let local_tag = self.layer.local_tag(txn)?;
        let contact = self.contact_at(source, request)?;
        let dialog = Dialog::of_request(request, local_tag, 0);
        let key = self.open_dialog(dialog, contact, Session::new(Phase::Ringing, true));
        self.hand_over(txn, Some(key), Kind::Call, b"", terms);
        let clock = self.layer.clock();
        let expires = request.get::<Expires>().ok().flatten().map(|expires| {
            let after = Duration::from_secs(expires.0.into());
            self.alarms.set(clock, after, Due::RingingExpires(key))
        });
        let still = Some(self.alarms.set(clock, STILL_RINGING, Due::StillRinging(key)));
        let invite = Invite { expires, still, ..invite_of(txn, request) };
        let session = self.session_mut(key)?;
        session.learn(request);
        session.invite = Some(invite);
        session.replaces = replaces;
        session.early_only = early_only;
        self.take_offer(key, txn, offer::is_in(request));
        Some(Meaning::Incoming { dialog: DialogId(key), replaces })
    }

    /// The dialog that a new call is to replace, and whether only while it rings (RFC 3891 §3).
    fn replaced(&self, request: &Message<'_>) -> Result<(Option<DialogId>, bool), Status> {
        let replaces = request.get::<Replaces<'_>>().map_err(|_| Status::BAD_REQUEST)?;
        let Some(replaces) = replaces else { return Ok((None, false)) };
        // To the peer this side's tag is that of To. A missing tag is the zero of a peer of RFC 2543.
        let tag = |tag: Option<_>| tag.filter(|tag: &&[u8]| *tag != b"0").unwrap_or_default();
        let (local_tag, remote_tag) = (tag(replaces.to_tag()), tag(replaces.from_tag()));
        let id = Id { call_id: replaces.call_id, local_tag, remote_tag };
        let key = self.find_id(&id).ok_or(Status::NO_SUCH_TRANSACTION)?;
        let session = &self.dialogs.get(key).ok_or(Status::NO_SUCH_TRANSACTION)?.session;
        match session.phase {
            // It was made by something else than an INVITE.
            Phase::Over if !session.announced => Err(Status::NO_SUCH_TRANSACTION),
            Phase::Over | Phase::Terminating => Err(Status::DECLINE),
            // It was not this side that began it.
            Phase::Ringing => Err(Status::NO_SUCH_TRANSACTION),
            Phase::Up if replaces.early_only() => Err(Status::BUSY_HERE),
            Phase::Up | Phase::Early => Ok((Some(DialogId(key)), replaces.early_only())),
        }
    }

    /// RFC 3261 §9.2: the INVITE that is cancelled is answered with 487.
    pub(super) fn on_cancel(&mut self, invite: ServerTxn, token: u64) {
        match self.serving(token) {
            Some((_, Serving { kind: Kind::Call, dialog: Some(dialog), .. })) => {
                let dialog = *dialog;
                self.answer(invite, Status::REQUEST_TERMINATED, |_| {});
                self.end_session(dialog, Reason::Cancelled);
            }
            _ => self.withdraw(invite, Status::REQUEST_TERMINATED),
        }
    }

    /// An ACK for a 2xx. It is found by its dialog, whatever its branch; else by the transaction of its INVITE.
    pub(super) fn on_ack(&mut self, txn: Option<ServerTxn>, ack: &Message<'_>) -> Option<Meaning> {
        let by_txn = || self.serving(self.layer.user(Txn::Server(txn?))?)?.1.dialog;
        let by_id = self.find_id(&Id::of(ack, Side::Callee));
        let Some(key) = by_id.or_else(by_txn) else { return Some(Meaning::StrayAck) };
        let record = self.dialogs.get_mut(key)?;
        let unacked = record.session.unacked.filter(|unacked| unacked.cseq == ack.cseq().number)?;
        record.session.unacked = None;
        record.session.proven = true;
        // What the ACK does not answer stays unanswered for good.
        record.session.exchange.close(Offer::Local, Carrier::PeerInvite);
        let (user, bye_queued) = (record.user, record.session.bye_queued.is_some());
        self.alarms.stop(Some(unacked.repeat));
        self.alarms.stop(Some(unacked.end));
        if bye_queued {
            self.give_up(key);
        }
        Some(Meaning::Established { dialog: DialogId(key), user })
    }

    /// A server transaction is over. Who has not answered it by now need not any more.
    pub(super) fn on_serving_ended(&mut self, txn: ServerTxn, token: u64) {
        if let Some((work, serving)) = self.serving(token) {
            let of_call = serving.dialog.filter(|_| serving.kind == Kind::Call);
            self.on_unanswered(txn, token);
            self.work.remove(work);
            let held = of_call.and_then(|key| self.session_mut(key)).map(|session| &mut session.late_prack);
            if let (Some(key), true) = (of_call, held.is_some_and(core::mem::take)) {
                self.release(key);
            }
        }
    }

    /// The user left a request without an answer. An INVITE has got a 500.
    pub(super) fn on_unanswered(&mut self, txn: ServerTxn, token: u64) {
        let Some((work, serving)) = self.serving(token) else { return };
        let (kind, dialog) = (serving.kind, serving.dialog);
        if self.settle(txn, work, false) {
            match (kind, dialog) {
                (Kind::Call, Some(key)) => self.end_session(key, Reason::Unanswered),
                _ => self.unserved(txn, kind),
            }
        }
    }

    /// The user need not answer this request any more.
    pub(super) fn unserved(&mut self, txn: ServerTxn, kind: Kind) {
        self.push(Event::Withdrawn { txn });
        if let Kind::Subscribe(key) | Kind::Refer(Some(key)) = kind {
            self.on_subscribe_answered(key, None);
        }
    }
}

/// What is kept of an INVITE until it has its final response.
pub(super) fn invite_of(txn: ServerTxn, request: &Message<'_>) -> Invite {
    let mut required = request.all::<Require<'_>>().map_while(Result::ok);
    Invite {
        txn,
        cseq: request.cseq().number,
        requires_100rel: required.any(|tag| tag.is("100rel")),
        spoke: false,
        expires: None,
        still: None,
        last: Status::RINGING,
    }
}

/// RFC 3261 §13.3.1.1: a provisional response every minute.
pub(super) const STILL_RINGING: Duration = Duration::from_secs(60);
