//! Requests that come in inside a dialog (RFC 3261 §12.2.2).

use super::machine::Meaning;
use super::record::Phase;
use super::validate::{self, Refusal};
use super::{Kind, Reason, UserAgent, notifier};
use crate::dialog::offer::{self, Offer};
use crate::dialog::{self, session_timer};
use crate::endpoint::Source;
use crate::handle::{DialogId, Key, ServerTxn};
use crate::message::{Content, Message, Method, Status};

impl UserAgent {
    pub(super) fn on_request_inside(
        &mut self,
        key: Key,
        txn: ServerTxn,
        source: Source,
        request: &Message<'_>,
    ) -> Option<Meaning> {
        let record = self.dialogs.get_mut(key)?;
        // What this side has hung up is changed no more, though its BYE waits for an ACK.
        let alive = record.session.is_alive() && record.session.bye_queued.is_none();
        let subscriptions = record.subscriptions.len();
        // RFC 3262 §3: a PRACK that is waited for is answered with 2xx, though another request has overtaken it.
        let awaited = record.session.reliable.as_ref().is_some_and(|reliable| reliable.awaits_this(request));
        if let Err(status) = record.dialog.take_cseq(request) {
            if !awaited {
                return self.decline(txn, Refusal::status(status));
            }
        }
        record.session.proven = true;
        self.note_change(key);
        // §12.2.2: what is over is no dialog any more. A BYE that has crossed another is answered all the same (RFC 5407 §3.2.1).
        let late_prack = request.method() == Method::Prack
            && self.dialogs.get(key).is_some_and(|record| record.session.late_prack);
        if late_prack {
            return self.on_late_prack(key, txn, request);
        }
        if self.alive(DialogId(key)).is_err() && request.method() != Method::Bye {
            return self.decline(txn, Refusal::status(Status::NO_SUCH_TRANSACTION));
        }
        if let Err(refusal) = validate::extensions(request, &self.config) {
            return self.decline(txn, refusal);
        }
        match request.method() {
            // RFC 5057 §5.3: there was no call in it.
            Method::Bye if !self.dialogs.get(key).is_some_and(|record| record.session.was_there()) => {
                self.decline(txn, Refusal::status(Status::NO_SUCH_TRANSACTION))
            }
            Method::Bye => {
                self.answer(txn, Status::OK, |_| {});
                self.on_bye(key)
            }
            // RFC 5407 §3.2: after this side's BYE there is nothing left to change.
            Method::Invite | Method::Update | Method::Prack | Method::Info if !alive => {
                self.decline(txn, Refusal::status(Status::NO_SUCH_TRANSACTION))
            }
            // Who subscribes may refer in the dialog of its subscription too.
            Method::Refer if !alive && subscriptions == 0 => {
                self.decline(txn, Refusal::status(Status::NO_SUCH_TRANSACTION))
            }
            Method::Invite => self.on_reinvite(key, txn, source, request),
            Method::Update => self.on_update(key, txn, request),
            Method::Prack => self.on_prack(key, txn, request),
            Method::Notify => self.on_notify(key, txn, request),
            Method::Refer if self.takes(Method::Refer) => self.on_refer(Some(key), txn, source, request),
            Method::Subscribe
                if !self.takes(Method::Subscribe)
                    && (!self.config.packages.is_empty() || notifier::is_refer(request)) =>
            {
                self.on_subscribe(Some(key), txn, source, request)
            }
            method if self.takes(method) => self.hand_over(txn, Some(key), Kind::Other, b"", None),
            Method::Options => self.serve_options(txn),
            method => self.decline(txn, validate::method(method)),
        }
    }

    /// RFC 3261 §15.1.2: the session is over, whatever else is under way in it.
    fn on_bye(&mut self, key: Key) -> Option<Meaning> {
        // With our own BYE still to be answered, the two have crossed.
        if self.dialogs.get(key)?.session.phase != Phase::Terminating {
            self.end_session(key, Reason::RemoteBye);
        }
        Some(Meaning::Served(Some(DialogId(key))))
    }

    /// RFC 3261 §14.2: a re-INVITE, unless one of either side is under way.
    fn on_reinvite(
        &mut self,
        key: Key,
        txn: ServerTxn,
        source: Source,
        request: &Message<'_>,
    ) -> Option<Meaning> {
        let session = &self.dialogs.get(key)?.session;
        if session.invite.is_some() {
            return self.decline_for_now(txn);
        }
        // RFC 5407 §3.1.4, §3.1.5: before the ACK for our 2xx it can be taken only if that held no offer.
        let state = session.exchange.state();
        let unacked =
            session.unacked.is_some() && (state == Offer::Local || !self.config.reinvite_before_ack);
        let pending = session.own_invite.is_some_and(|id| self.is_under_way(id.0));
        let offer = offer::is_in(request);
        // One without an offer is answered by one, for which there is no room either.
        if unacked || pending || session.phase == Phase::Early || state == Offer::Local {
            return self.decline(txn, Refusal::status(Status::REQUEST_PENDING));
        }
        if state == Offer::Remote {
            return self.decline_for_now(txn);
        }
        let terms = match session_timer::answer(request, &self.config.session_timer) {
            Ok(terms) => terms,
            Err(min) => return self.decline_interval(txn, min),
        };
        let target = dialog::contact(request).unwrap_or_default();
        let meaning = self.hand_over(txn, Some(key), Kind::Reinvite, target, terms);
        let invite = super::incoming::invite_of(txn, request);
        // The peer may have come nearer by another way.
        let contact = self.contact_at(source, request);
        let record = self.dialogs.get_mut(key)?;
        record.contact = contact.unwrap_or_default();
        record.session.learn(request);
        record.session.invite = Some(invite);
        self.take_offer(key, txn, offer);
        meaning
    }

    /// RFC 3311 §5.2. One without an offer is a refresh, which nobody has to be asked for.
    fn on_update(&mut self, key: Key, txn: ServerTxn, request: &Message<'_>) -> Option<Meaning> {
        let session = &self.dialogs.get(key)?.session;
        let (offer, state) = (offer::is_in(request), session.exchange.state());
        if session.peer_update.is_some() || (offer && state == Offer::Remote) {
            return self.decline_for_now(txn);
        }
        if offer && state == Offer::Local {
            return self.decline(txn, Refusal::status(Status::REQUEST_PENDING));
        }
        let terms = match session_timer::answer(request, &self.config.session_timer) {
            Ok(terms) => terms,
            Err(min) => return self.decline_interval(txn, min),
        };
        let target = dialog::contact(request).unwrap_or_default();
        let early = session.phase != Phase::Up;
        let meaning = self.hand_over(txn, Some(key), Kind::Update, target, terms);
        if let Some(serving) = self.serving_mut(txn) {
            serving.early = early;
        }
        let session = self.session_mut(key)?;
        session.learn(request);
        session.peer_update = Some(txn);
        self.take_offer(key, txn, offer);
        if offer || !request.body().is_empty() {
            return meaning;
        }
        let _ = self.respond_inside(key, txn, Status::OK, &Content::NONE, None);
        Some(Meaning::Served(Some(DialogId(key))))
    }

    /// Notes that a request of the peer brought an offer: if it is refused, that is gone with it.
    pub(super) fn take_offer(&mut self, key: Key, txn: ServerTxn, offer: bool) {
        if !offer {
            return;
        }
        let Some(serving) = self.serving_mut(txn) else { return };
        serving.offered = true;
        let carrier = serving.kind.carrier();
        if let (Some(session), Some(carrier)) = (self.session_mut(key), carrier) {
            session.exchange = session.exchange.received(carrier);
        }
    }
}
