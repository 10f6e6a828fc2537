//! Requests of this side, and what becomes of them.

use super::machine::Meaning;
use super::record::{Phase, Session};
use super::refresh;
use super::retry::Again;
use super::{Event, NewRequest, Reason, UserAgent, Work, WorkId, token_of, work_of};
use crate::auth::Answers;
use crate::dialog::offer::{self, Carrier, Offer};
use crate::dialog::session_timer;
use crate::dialog::subscription::Ended;
use crate::dialog::{Ends, ends, token};
use crate::endpoint::{Cause, Misuse};
use crate::handle::{ClientTxn, DialogId, Invitation, Key, RequestId};
use crate::headers::{Address, Header, Name, RetryAfter, Route, with_scheme};
use crate::message::{Content, Message, Method, Status, is_text, lex};
use crate::time::Instant;
use crate::transaction::{BufferId, ClientRequest, Timers, towards};
use crate::transport::Target;
use crate::uri::{Uri, is_sips};
use alloc::sync::Arc;
use core::time::Duration;

/// A request of this side, with all the transactions that it takes.
pub(super) struct Outgoing {
    pub(super) purpose: Purpose,
    /// Its present transaction; nothing while it waits to be sent again.
    pub(super) txn: Option<ClientTxn>,
    pub(super) user: u64,
    pub(super) dialog: Option<Key>,
    /// The message as it was sent last.
    pub(super) request: BufferId,
    /// Outside dialogs: how challenges were answered.
    pub(super) answers: Answers,
    /// Its number.
    pub(super) cseq: u32,
    /// How often it was sent again.
    pub(super) tries: u8,
    pub(super) target: Option<Target>,
    pub(super) timers: Option<Arc<Timers>>,
    /// It made an offer: if it is refused, that is gone with it.
    pub(super) offered: bool,
    /// It is not wanted any more.
    pub(super) cancelled: bool,
    /// A provisional response came.
    pub(super) rang: bool,
    /// An UPDATE that was sent before the session was up.
    pub(super) early: bool,
}

/// What a request of this side is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The INVITE of a call.
    Call(Invitation),
    Reinvite,
    Update,
    /// An UPDATE that only refreshes the session.
    Refresh,
    Prack {
        /// The user does not know of it.
        silent: bool,
    },
    Bye,
    /// A SUBSCRIBE or REFER.
    Subscribe(Key),
    /// A NOTIFY.
    Notify(Key),
    /// A REGISTER or PUBLISH.
    Upkeep(Key),
    /// Another request of the user's, and what its timeout ends in its dialog.
    Other(Ends),
}

impl Purpose {
    /// What an offer in it belongs to.
    pub(super) const fn carrier(self) -> Option<Carrier> {
        match self {
            Self::Call(_) | Self::Reinvite => Some(Carrier::OwnInvite),
            Self::Update => Some(Carrier::OwnUpdate),
            Self::Prack { .. } => Some(Carrier::OwnPrack),
            _ => None,
        }
    }

    /// Whether its user is told of it by its [`RequestId`].
    const fn is_told(self) -> bool {
        matches!(self, Self::Reinvite | Self::Update | Self::Prack { silent: false } | Self::Other(_))
    }
}

impl Outgoing {
    pub(super) fn new(purpose: Purpose, user: u64, dialog: Option<Key>) -> Self {
        Self {
            purpose,
            txn: None,
            user,
            dialog,
            request: BufferId::NONE,
            answers: Answers::default(),
            cseq: 1,
            tries: 0,
            target: None,
            timers: None,
            offered: false,
            cancelled: false,
            rang: false,
            early: false,
        }
    }
}

/// A request outside any dialog, as it is written.
pub(super) struct Outside<'a> {
    pub(super) method: Method<'a>,
    pub(super) uri: &'a str,
    /// The value of From without a tag; empty: the identity of the configuration.
    pub(super) from: &'a str,
    /// The value of To; empty: the URI.
    pub(super) to: &'a str,
    pub(super) route: &'a [&'a str],
    pub(super) tag: &'a [u8],
    pub(super) call_id: &'a [u8],
    pub(super) cseq: u32,
    pub(super) max_forwards: u8,
    /// The value of Contact; empty: none.
    pub(super) contact: &'a [u8],
    /// Headers of this machine's own.
    pub(super) extra: &'a [(&'a str, &'a str)],
    pub(super) content: &'a Content<'a>,
}

impl<'a> Outside<'a> {
    pub(super) const fn new(method: Method<'a>, uri: &'a str, content: &'a Content<'a>) -> Self {
        Self {
            method,
            uri,
            from: "",
            to: "",
            route: &[],
            tag: b"",
            call_id: b"",
            cseq: 1,
            max_forwards: 70,
            contact: b"",
            extra: &[],
            content,
        }
    }

    fn identity_or<'b>(&self, identity: &'b str) -> &'b str
    where
        'a: 'b,
    {
        if self.from.is_empty() { identity } else { self.from }
    }

    /// Whether its addresses can stand in their headers.
    fn is_sound(&self, identity: &str) -> bool {
        let address = |value: &str| is_text(value) && Address::whole(value.as_bytes()).is_ok();
        let route = |value: &&str| is_text(value) && Route::whole(value.as_bytes()).is_ok();
        address(self.identity_or(identity))
            && (self.to.is_empty() || address(self.to))
            && self.route.iter().all(route)
    }
}

impl UserAgent {
    /// Sends a request outside any dialog: OPTIONS, MESSAGE …
    ///
    /// # Errors
    /// [`Misuse::BadMethod`] for what has a command of its own: INVITE, ACK, CANCEL, BYE, PRACK, SUBSCRIBE, NOTIFY, REFER; [`Misuse::BadUri`];
    /// [`Misuse::BadContent`], also for a Contact; [`Misuse::NoLocal`], [`Misuse::Full`], [`Misuse::Draining`].
    pub fn request(&mut self, now: Instant, request: &NewRequest<'_>) -> Result<RequestId, Misuse> {
        let method = check(request.method, &request.content)?;
        if method == Method::Invite {
            return Err(Misuse::BadMethod);
        }
        self.layer.may_begin()?;
        self.enter(now);
        let (tag, call_id) = (token(self.layer.random.u64()), token(self.layer.random.u64()));
        let outgoing = Outgoing {
            target: request.target,
            timers: request.timers.map(Arc::new),
            answers: Answers::with(request.credentials),
            ..Outgoing::new(Purpose::Other(Ends::Transaction), request.user, None)
        };
        let outside = Outside {
            from: request.from,
            max_forwards: request.max_forwards,
            tag: &tag,
            call_id: &call_id,
            ..Outside::new(method, request.uri, &request.content)
        };
        let done = self.send_outside(outgoing, &outside);
        self.leave();
        done.map(RequestId)
    }

    /// Sends a request outside any dialog.
    pub(super) fn send_outside(
        &mut self,
        mut outgoing: Outgoing,
        outside: &Outside<'_>,
    ) -> Result<WorkId, Misuse> {
        let (uri, method, cseq) = (outside.uri.as_bytes(), outside.method, outside.cseq);
        // RFC 3261 §19.1.1: headers are for who makes a request of a URI, not for the Request-URI.
        let parsed = Uri::parse(uri).map_err(|_| Misuse::BadUri)?;
        if parsed.as_sip().is_some_and(|sip| !sip.headers.is_empty()) {
            return Err(Misuse::BadUri);
        }
        if !outside.is_sound(&self.config.identity) {
            return Err(Misuse::BadContent);
        }
        let (target, timers) = (outgoing.target, outgoing.timers.clone());
        outgoing.cseq = cseq;
        let mut answers = core::mem::take(&mut outgoing.answers);
        let work = self.enlist(Work::Request(outgoing));
        let random = self.layer.random.u64();
        let towards = towards(uri, outside.route.first().map(|route| route.as_bytes()));
        let request = ClientRequest { method, uri, towards, target, timers, user: token_of(work) };
        let config = &self.config;
        let abilities = &self.abilities;
        let from = outside.identity_or(&config.identity);
        let txn = self.layer.request(&request, |writer| {
            for route in outside.route {
                // RFC 5630 §5.1.1: SIPS all the way.
                let secured = is_sips(uri).then(|| with_scheme(route, true));
                writer.field(Name::Route, &[secured.as_deref().unwrap_or(route).as_bytes()]);
            }
            writer.field(Name::From, &[from.as_bytes(), b";tag=", outside.tag]);
            match outside.to {
                "" => writer.field(Name::To, &[b"<", uri, b">"]),
                to => writer.field(Name::To, &[to.as_bytes()]),
            };
            let hops = u64::from(outside.max_forwards);
            writer.field(Name::CallId, &[outside.call_id]).cseq(cseq, method).number(Name::MaxForwards, hops);
            if !outside.contact.is_empty() {
                writer.field(Name::Contact, &[outside.contact]);
            }
            if is_session_refresh(method) {
                abilities.write(writer);
                refresh::write_request(writer, &config.session_timer, None, 0);
            }
            for (name, value) in outside.extra {
                writer.named(name, &[value.as_bytes()]);
            }
            if !is_session_refresh(method) {
                abilities.write_known(writer);
            }
            abilities.write_product(writer, Name::UserAgent);
            answers.write(writer, method, uri, outside.content.body, &config.credentials, random);
            writer.finish(outside.content);
        });
        if let Some(outgoing) = self.outgoing_mut(work) {
            outgoing.answers = answers;
        }
        self.begun(work, txn).map(|()| work)
    }

    /// Sends a request inside a dialog (RFC 3261 §12.2.1): a re-INVITE or UPDATE, which changes the session; INFO, MESSAGE, OPTIONS or any other
    /// that has no command of its own.
    ///
    /// A re-INVITE or UPDATE that meets one of the peer is sent again by itself after the delays of RFC 3261 §14.1, four times at most.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::BadMethod`] for ACK, CANCEL, BYE, PRACK, SUBSCRIBE, NOTIFY and REFER; [`Misuse::BadUri`], [`Misuse::BadContent`],
    /// [`Misuse::NoLocal`], [`Misuse::Full`]; [`Misuse::WrongState`] after the BYE of this side, for an INFO without a session, while
    /// another change of the session is under way (RFC 3261 §14.1, RFC 3311 §5.1), or for an offer while one is open.
    pub fn request_in(
        &mut self,
        now: Instant,
        dialog: DialogId,
        method: Method<'_>,
        user: u64,
        content: &Content<'_>,
    ) -> Result<RequestId, Misuse> {
        let method = check(method, content)?;
        self.enter(now);
        let session = &self.open(dialog)?.session;
        let offers = offer::is_in_content(content);
        let may = match method {
            Method::Invite => {
                session.phase == Phase::Up
                    && (offers || session.exchange.state() == Offer::Stable)
                    && session.own_invite.is_none()
                    && session.invite.is_none()
                    && session.unacked.is_none()
                    && session.owed_ack.is_none()
            }
            Method::Update => {
                session.is_alive() && session.own_update.is_none() && !(offers && self.is_crowded(session))
            }
            // RFC 6086 §4: it belongs to the session.
            Method::Info => session.is_alive(),
            _ => true,
        };
        if !may {
            return Err(Misuse::WrongState);
        }
        // RFC 5057 §5.2: a timeout is as a 408.
        let purpose = match method {
            Method::Invite => Purpose::Reinvite,
            Method::Update => Purpose::Update,
            other => Purpose::Other(ends(other, Status::REQUEST_TIMEOUT)),
        };
        let done = self.send_inside(dialog.0, purpose, method, user, content, &[]);
        self.leave();
        done
    }

    /// Whether the offer of an UPDATE finds no room, though none is open (RFC 3311 §5.1): beside an INVITE of either side that asks for one, and
    /// before the PRACK for what this side has answered.
    pub(super) fn is_crowded(&self, session: &Session) -> bool {
        let own = session.own_invite.and_then(|id| self.outgoing(id.0));
        let asks = own.is_some_and(|it| it.txn.is_some() && !it.offered && !session.heard);
        let first = session.invitation.and_then(|invitation| self.calls.get(invitation.0));
        let first_asks =
            session.phase == Phase::Early && !session.heard && first.is_some_and(|it| !it.offered);
        let is_asked =
            session.exchange.state() == Offer::Stable && session.invite.is_some_and(|it| !it.spoke);
        let open = session.reliable.as_ref().and_then(|reliable| reliable.open.as_ref());
        let waits = open.is_some_and(|open| open.session);
        asks || first_asks || is_asked || waits
    }

    /// Gives up a re-INVITE that is not answered (RFC 3261 §9.1), or a request that is to be sent again later.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::BadMethod`] for any other method; [`Misuse::WrongState`] after a final response.
    pub fn cancel_request(&mut self, now: Instant, request: RequestId) -> Result<(), Misuse> {
        self.enter(now);
        let outgoing = self.outgoing(request.0).ok_or(Misuse::Gone)?;
        let done = match outgoing.txn {
            Some(_) if outgoing.purpose != Purpose::Reinvite => Err(Misuse::BadMethod),
            Some(txn) => self.layer.cancel(txn).map(|()| {
                if let Some(outgoing) = self.outgoing_mut(request.0) {
                    outgoing.cancelled = true;
                }
            }),
            None => {
                self.end_request(request.0, Cause::Aborted);
                Ok(())
            }
        };
        self.leave();
        done
    }

    /// Sends a request inside a dialog, whatever stands against it there. `extra` are headers of this machine's own.
    pub(super) fn send_inside(
        &mut self,
        key: Key,
        purpose: Purpose,
        method: Method<'_>,
        user: u64,
        content: &Content<'_>,
        extra: &[(&str, &str)],
    ) -> Result<RequestId, Misuse> {
        let before = self.dialogs.get(key).ok_or(Misuse::Gone)?.session.exchange;
        let answers =
            before.is(Offer::Remote, Carrier::OwnInvite) && matches!(purpose, Purpose::Prack { .. });
        let carrier = if answers { Some(Carrier::OwnInvite) } else { purpose.carrier() };
        let speaks = carrier.filter(|_| offer::is_in_content(content));
        let exchange = match speaks {
            Some(carrier) => before.sent(carrier).ok_or(Misuse::WrongState)?,
            None => before,
        };
        let mut outgoing = Outgoing::new(purpose, user, Some(key));
        outgoing.offered = speaks.is_some() && !answers;
        let phase = self.dialogs.get(key).map(|record| record.session.phase);
        outgoing.early = purpose == Purpose::Update && phase != Some(Phase::Up);
        let early = outgoing.early;
        let timers = match purpose {
            Purpose::Subscribe(subscription) => {
                self.asked(subscription).and_then(|asked| asked.timers.clone())
            }
            _ => None,
        };
        outgoing.timers.clone_from(&timers);
        // It holds its dialog until it is over, and it may be over as soon as it is begun.
        self.hold(key);
        let work = self.enlist(Work::Request(outgoing));
        let random = self.layer.random.u64();
        let record = self.dialogs.get_mut(key).ok_or(Misuse::Gone)?;
        let cseq = record.dialog.next_cseq();
        if let Some(Work::Request(outgoing)) = self.work.get_mut(work) {
            outgoing.cseq = cseq;
        }
        let (uri, towards) = record.dialog.uris();
        let (contact, session, answers) = (&record.contact, &record.session, &mut record.answers);
        let config = &self.config;
        let abilities = &self.abilities;
        let request = ClientRequest { method, uri, towards, target: None, timers, user: token_of(work) };
        let dialog = &record.dialog;
        let txn = self.layer.request(&request, |writer| {
            dialog.write(writer, method, cseq);
            if matches!(
                method,
                Method::Invite | Method::Update | Method::Refer | Method::Subscribe | Method::Notify
            ) {
                writer.field(Name::Contact, &[contact]);
            }
            if is_session_refresh(method) {
                abilities.write(writer);
                // What is agreed of the session's time, the INVITE agrees on.
                if !early {
                    refresh::write_request(writer, &config.session_timer, session.timer, session.min_se);
                }
            } else {
                abilities.write_known(writer);
            }
            abilities.write_product(writer, Name::UserAgent);
            for (name, value) in extra {
                writer.named(name, &[value.as_bytes()]);
            }
            answers.write(writer, method, uri, content.body, &config.credentials, random);
            writer.finish(content);
        });
        self.begun(work, txn)?;
        self.note_change(key);
        let id = RequestId(work);
        if let Some(session) = self.session_mut(key) {
            session.exchange = exchange;
            match purpose {
                Purpose::Reinvite => {
                    (session.own_invite, session.rseq, session.heard) = (Some(id), None, false);
                    session.owed_pracks.clear();
                }
                Purpose::Update | Purpose::Refresh => session.own_update = Some(id),
                _ => {}
            }
        }
        Ok(id)
    }

    /// A transaction has begun for a work, or has not: then the work is nothing.
    pub(super) fn begun(&mut self, work: WorkId, txn: Result<ClientTxn, Misuse>) -> Result<(), Misuse> {
        match txn {
            Ok(txn) => {
                let request = self.layer.keep_request(txn);
                if let Some(outgoing) = self.outgoing_mut(work) {
                    (outgoing.txn, outgoing.rang) = (Some(txn), false);
                    let before = core::mem::replace(&mut outgoing.request, request);
                    self.layer.buffers.unpin(before);
                }
                Ok(())
            }
            Err(misuse) => {
                self.forget_work(work);
                Err(misuse)
            }
        }
    }

    /// Removes a work, and what it holds.
    fn forget_work(&mut self, work: WorkId) -> Option<Outgoing> {
        self.outgoing(work)?;
        let Some(Work::Request(outgoing)) = self.work.remove(work) else { return None };
        self.layer.buffers.unpin(outgoing.request);
        if let Some(key) = outgoing.dialog {
            self.release(key);
        }
        Some(outgoing)
    }

    /// Whether a request has a transaction without a final response. One that waits to be sent again has none.
    pub(super) fn is_under_way(&self, work: WorkId) -> bool {
        self.outgoing(work).is_some_and(|outgoing| outgoing.txn.is_some())
    }

    pub(super) fn on_response(
        &mut self,
        txn: ClientTxn,
        token: u64,
        response: &Message<'_>,
    ) -> Option<Meaning> {
        let work = work_of(token)?;
        let outgoing = self.outgoing(work).filter(|outgoing| outgoing.txn == Some(txn))?;
        // RFC 3261 §8.2.6.2: it has the number of its request. One that has another answers nothing of this side.
        if response.cseq().number != outgoing.cseq {
            return Some(Meaning::Stray);
        }
        let (purpose, user, dialog) = (outgoing.purpose, outgoing.user, outgoing.dialog);
        let tries = outgoing.tries;
        let code = response.status_code();
        if let Some(outgoing) = self.outgoing_mut(work) {
            outgoing.rang |= code < 200;
        }
        if let (Some(session), 200..300) = (dialog.and_then(|key| self.session_mut(key)), code) {
            session.proven = true;
        }
        if let (Purpose::Call(invitation), ..=299) = (purpose, code) {
            return self.on_invite_response(invitation, response);
        }
        if let (Purpose::Call(invitation), _) = (purpose, code) {
            self.drop_early(invitation);
        }
        if code >= 300 && self.send_again(work, response) == Again::Yes {
            if let Purpose::Call(invitation) = purpose {
                self.forget_forks(invitation);
            }
            return None;
        }
        let told = Meaning::Response {
            id: RequestId(work),
            user,
            dialog: dialog.map(DialogId),
            wants_prack: false,
            wants_answer: false,
        };
        let told = Some(told).filter(|_| purpose.is_told());
        match (purpose, dialog) {
            (Purpose::Call(invitation), _) => return self.on_invite_refused(invitation),
            (Purpose::Reinvite, Some(key)) => return self.on_reinvite_response(work, key, user, response),
            (Purpose::Update | Purpose::Refresh, Some(key)) if code >= 200 => {
                self.on_update_response(work, key, response)
            }
            (Purpose::Bye, Some(key)) if code >= 200 => {
                self.bye_failed(key, code >= 300);
                let crossed = self.session_mut(key).is_some_and(|session| session.bye_queued.is_some());
                // The callee knew of no call when the BYE came, and has answered since.
                if crossed && code >= 300 {
                    self.give_up(key);
                } else {
                    self.end_session(key, Reason::LocalBye);
                }
            }
            (Purpose::Prack { .. }, Some(key)) if code >= 200 => self.prack_done(key, work),
            (Purpose::Notify(subscription), _) => {
                self.move_target(dialog, response);
                self.on_notify_answered(subscription, code);
            }
            _ => {}
        }
        let told = match purpose {
            Purpose::Subscribe(subscription) => {
                self.move_target(dialog, response);
                self.on_asked(subscription, work, response)
            }
            Purpose::Upkeep(upkeep) => self.on_upkeep(upkeep, work, response),
            _ => told,
        };
        // An answer comes with the 2xx, or never.
        if code >= 200 {
            self.take_back(work);
        }
        // Where the first one was taken, another PRACK for the same response is not (RFC 3262 §3); the call goes on.
        let said = matches!(purpose, Purpose::Prack { .. }) && tries > 0;
        if let (Some(key), Some(status), false) = (dialog, Status::new(code), said) {
            self.on_failure(key, ends(response.cseq().method, status));
        }
        if let (Purpose::Refresh, Some(key), 300..) = (purpose, dialog, code) {
            let after = response.get::<RetryAfter<'_>>().ok().flatten().map_or(0, |after| after.seconds);
            self.on_refresh_refused(key, code, Duration::from_secs(after.into()));
        }
        told
    }

    /// RFC 3261 §12.2.1.2: the 2xx to a request that may do so says where the peer is.
    fn move_target(&mut self, dialog: Option<Key>, response: &Message<'_>) {
        let success = (200..300).contains(&response.status_code());
        if let Some(record) = dialog.and_then(|key| self.dialogs.get_mut(key)).filter(|_| success) {
            record.dialog.refresh(response);
        }
    }

    /// The offer that a request made is gone with it; so is the peer's in a provisional response to a re-INVITE, if no 2xx came.
    pub(super) fn take_back(&mut self, work: WorkId) {
        let Some(outgoing) = self.outgoing_mut(work) else { return };
        let offered = core::mem::replace(&mut outgoing.offered, false);
        let (dialog, purpose) = (outgoing.dialog, outgoing.purpose);
        let Some(session) = dialog.and_then(|key| self.session_mut(key)) else { return };
        if let Some(carrier) = purpose.carrier().filter(|_| offered) {
            session.exchange.close(Offer::Local, carrier);
        }
        if session.own_invite == Some(RequestId(work)) {
            session.exchange.close(Offer::Remote, Carrier::OwnInvite);
            session.owed_pracks.clear();
        }
    }

    /// RFC 3261 §14.1, §13.2.2.4
    fn on_reinvite_response(
        &mut self,
        work: WorkId,
        key: Key,
        user: u64,
        response: &Message<'_>,
    ) -> Option<Meaning> {
        let (id, code, cseq) = (RequestId(work), response.status_code(), response.cseq().number);
        let dialog = Some(DialogId(key));
        let plain = Meaning::Response { id, user, dialog, wants_prack: false, wants_answer: false };
        if code < 200 {
            // Nothing more is sent in what this side has hung up.
            self.dialogs.get(key).filter(|record| record.session.is_alive())?;
            let wants_prack = self.on_reliable(key, response)?;
            return Some(Meaning::Response { id, user, dialog, wants_prack, wants_answer: false });
        }
        if code >= 300 {
            self.take_back(work);
        } else if let Some(outgoing) = self.outgoing_mut(work) {
            // What it offered is answered, now or never: its end has nothing to take back.
            outgoing.offered = false;
        }
        let session = self.session_mut(key)?;
        if session.own_invite == Some(id) {
            session.own_invite = None;
        }
        if code >= 300 {
            if let Some(status) = Status::new(code) {
                self.on_failure(key, ends(Method::Invite, status));
            }
            return Some(plain);
        }
        if self.repeat_ack(key, cseq) {
            return None;
        }
        let record = self.dialogs.get_mut(key)?;
        let session = &mut record.session;
        if session.owed_ack == Some(cseq) {
            return None;
        }
        session.accepted_cseq = Some(cseq);
        self.keep_credentials(work, key);
        let record = self.dialogs.get_mut(key)?;
        let session = &mut record.session;
        // RFC 5407 §3.2.3: acknowledged, though there is no session any more.
        if !session.is_alive() {
            self.send_ack(key, cseq, &Content::NONE);
            return Some(plain);
        }
        record.dialog.refresh(response);
        session.learn(response);
        self.note_change(key);
        let session = self.session_mut(key)?;
        if offer::is_in(response) && !core::mem::replace(&mut session.heard, true) {
            session.exchange = session.exchange.received(Carrier::OwnInvite);
        }
        let wants_answer = session.exchange.is(Offer::Remote, Carrier::OwnInvite);
        if wants_answer {
            session.owed_ack = Some(cseq);
        } else {
            session.exchange.close(Offer::Local, Carrier::OwnInvite);
        }
        self.agree(key, response);
        if !wants_answer {
            self.send_ack(key, cseq, &Content::NONE);
        }
        Some(Meaning::Response { id, user, dialog, wants_prack: false, wants_answer })
    }

    fn on_update_response(&mut self, work: WorkId, key: Key, response: &Message<'_>) {
        let Some(record) = self.dialogs.get_mut(key) else { return };
        if record.session.own_update == Some(RequestId(work)) {
            record.session.own_update = None;
        }
        if !(200..300).contains(&response.status_code()) {
            return;
        }
        record.dialog.refresh(response);
        if self.outgoing(work).is_some_and(|outgoing| outgoing.early) {
            self.agree_late(key, session_timer::agreed(response));
        } else {
            self.agree(key, response);
        }
    }

    /// A callee that has not understood the BYE of an early dialog may still answer.
    fn bye_failed(&mut self, key: Key, failed: bool) {
        if let Some(session) = self.session_mut(key) {
            session.bye_sent &= !failed;
        }
    }

    /// The present transaction of a request is over.
    pub(super) fn on_request_ended(&mut self, txn: ClientTxn, token: u64, cause: Cause) {
        let Some(work) = work_of(token) else { return };
        if self.outgoing(work).is_some_and(|outgoing| outgoing.txn == Some(txn)) {
            self.end_request(work, cause);
        }
    }

    pub(super) fn end_request(&mut self, work: WorkId, cause: Cause) {
        self.take_back(work);
        let Some(outgoing) = self.outgoing(work) else { return };
        let (purpose, dialog, user) = (outgoing.purpose, outgoing.dialog, outgoing.user);
        let (cseq, rang) = (outgoing.cseq, outgoing.rang);
        if let Some(session) = dialog.and_then(|key| self.session_mut(key)) {
            let id = Some(RequestId(work));
            session.own_invite = session.own_invite.filter(|own| Some(*own) != id);
            session.own_update = session.own_update.filter(|own| Some(*own) != id);
        }
        let timed_out = cause == Cause::Timeout;
        match (purpose, dialog) {
            (Purpose::Call(invitation), _) => self.on_invite_ended(invitation, cause, cseq),
            // One that was answered has done what it did then, and another may be under way.
            (Purpose::Bye, Some(_)) if cause == Cause::Completed => {}
            (Purpose::Bye, Some(key)) => {
                self.bye_failed(key, true);
                self.end_session(key, Reason::ByeUnanswered);
            }
            (Purpose::Prack { .. }, Some(key)) => {
                self.prack_done(key, work);
                if timed_out {
                    self.on_failure(key, Ends::Usage);
                }
            }
            (Purpose::Reinvite, Some(key)) => {
                self.drop_ack(key, cseq);
                // RFC 3261 §9.1: one that rang was cancelled, and is over without a 487, too: the session is as it was.
                if timed_out && !rang {
                    self.on_failure(key, Ends::Usage);
                }
            }
            (Purpose::Update | Purpose::Refresh, Some(key)) if timed_out => {
                self.on_failure(key, Ends::Usage);
            }
            // RFC 3261 §8.1.3.1: as a 503.
            (Purpose::Refresh, Some(key)) if cause == Cause::TransportError => self.ask_to_refresh(key),
            (Purpose::Subscribe(subscription), _) => self.on_asking_ended(subscription, work, cause),
            (Purpose::Upkeep(key), _) => self.on_upkeep_ended(key, work, cause),
            // RFC 6665 §4.2.2
            (Purpose::Notify(subscription), _) if cause != Cause::Completed => {
                self.end_subscription(subscription, Ended::NoAnswer, None);
            }
            (Purpose::Other(on_timeout), Some(key)) if timed_out => self.on_failure(key, on_timeout),
            _ => {}
        }
        if purpose.is_told() {
            self.push(Event::RequestEnded { id: RequestId(work), user, cause });
        }
        self.forget_work(work);
    }
}

/// A session refresh request (RFC 4028 §3), or the first: it says what this side can, and of session timers (RFC 3261 §13.2.1, RFC 4028 §7.1).
fn is_session_refresh(method: Method<'_>) -> bool {
    matches!(method, Method::Invite | Method::Update)
}

/// What has a command of its own is not sent this way, by whatever spelling: nobody would wait for what it brings.
fn check<'a>(method: Method<'a>, content: &Content<'_>) -> Result<Method<'a>, Misuse> {
    let method = match method {
        Method::Other(name) => Method::new(name),
        known => known,
    };
    let own = matches!(
        method,
        Method::Ack
            | Method::Cancel
            | Method::Bye
            | Method::Prack
            | Method::Subscribe
            | Method::Notify
            | Method::Refer
    );
    if own || !lex::is_token(method.as_bytes()) {
        return Err(Misuse::BadMethod);
    }
    check_own(content).map(|()| method)
}

/// Content of a message whose Contact and session headers this machine writes: with others there would be two.
pub(super) fn check_own(content: &Content<'_>) -> Result<(), Misuse> {
    let own = |name: &str| OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name));
    if content.headers.iter().any(|(name, _)| own(name)) {
        return Err(Misuse::BadContent);
    }
    content.check().map_err(|_| Misuse::BadContent)
}

/// Headers that stand in a message once, and are this machine's.
const OWN_HEADERS: [&str; 8] =
    ["Contact", "m", "Session-Expires", "x", "RSeq", "RAck", "Subscription-State", "SIP-If-Match"];

/// The same of a SUBSCRIBE or PUBLISH.
pub(super) fn check_stated(content: &Content<'_>) -> Result<(), Misuse> {
    let stated = |name: &str| ["Event", "o", "Expires"].iter().any(|own| own.eq_ignore_ascii_case(name));
    match content.headers.iter().any(|(name, _)| stated(name)) {
        true => Err(Misuse::BadContent),
        false => check_own(content),
    }
}
