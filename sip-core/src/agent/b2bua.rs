//! An agent that stands between the two parties of a call, as a user agent to each (RFC 7092): a B2BUA.

use super::uas::{TRYING, is_refer};
use crate::headers::{Expires, Header, ReferTo, Replaces, Require};
use crate::message::lex::unfolded;
use crate::message::{Content, Message, Method, Request, Response, Status, is_text};
use crate::ua::{Config, Event, NewInvite, NewRefer, NewRequest, Notice, UserAgent};
use crate::{
    Cause, DialogId, Instant, Invitation, Machine, Misuse, RequestId, ServerTxn, SubscriptionId,
    TransactionUser,
};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// Couples each call that comes in with one that it places, and passes on what either side says in it: provisional responses with their sessions, the
/// answer, re-INVITE, UPDATE, INFO, MESSAGE and PRACK, REFER with what becomes of it, the hang-up with its reason.
///
/// Sessions go across as they are: the parties agree with each other. Where they can't, because a reliable response holds an offer and the caller knows
/// no PRACK, or because another fork has been agreed with already, the call is refused; if they have agreed on different things because a request was
/// withdrawn while it was answered, it ends.
#[derive(Debug)]
pub struct B2bua {
    options: B2buaOptions,
    /// The calls that are not answered: what was placed for who calls, and the other way round.
    placed: BTreeMap<DialogId, Invitation>,
    callers: BTreeMap<Invitation, DialogId>,
    /// Callers whose responses are all reliable.
    reliable: BTreeSet<DialogId>,
    /// The fork whose session a caller has had in a reliable response.
    agreed: BTreeMap<DialogId, DialogId>,
    /// What forks have answered in reliable responses that the caller has had in others: their 2xx need not say it again.
    said: BTreeMap<DialogId, Session>,
    /// The same of requests within a call.
    said_to: BTreeMap<RequestId, Session>,
    /// For each reliable response to a caller, in their order, the fork that waits for its PRACK, if one does.
    unacknowledged: BTreeMap<DialogId, VecDeque<Option<DialogId>>>,
    /// The other side of each dialog.
    others: BTreeMap<DialogId, DialogId>,
    /// Dialogs whose 2xx had an offer: the ACK of the other side has the answer.
    offered: BTreeSet<DialogId>,
    /// What the requests of this side are for, and which of them answers a request.
    asked: BTreeMap<RequestId, For>,
    waiting: BTreeMap<ServerTxn, RequestId>,
    /// The other side of each REFER, and those whose response is still to come.
    referrals: BTreeMap<SubscriptionId, SubscriptionId>,
    referred: BTreeMap<SubscriptionId, ServerTxn>,
    /// Why a party has hung up.
    reasons: BTreeMap<DialogId, Vec<String>>,
    calls: u64,
    answered: u64,
}

/// Whom a [`B2bua`] calls, and what it lets callers do.
#[derive(Clone, Debug)]
pub struct B2buaOptions {
    /// The URI that is called for every caller.
    pub target: String,
    /// Whether who calls with a Replaces takes the place of the party that it names (RFC 3891), whoever it is: who knows the name of a call has seen it, or
    /// was told by who has. Else it gets 403.
    pub replaces: bool,
}

impl B2buaOptions {
    /// Calls this URI, and lets nobody take another's place.
    pub fn new(target: &str) -> Self {
        Self { target: target.into(), replaces: false }
    }
}

/// A session description as it came: its type, and it.
type Session = (String, Vec<u8>);

/// What a request of this side is for.
#[derive(Clone, Copy, Debug)]
enum For {
    /// It passes this one on.
    Request(ServerTxn),
    /// The party is to talk to this caller, in the place of the other.
    Call { caller: DialogId, instead_of: DialogId },
    /// The session is to be refreshed: what the party offers goes to the other.
    Refresh,
    /// That offer: the answer is for this dialog.
    Answer(DialogId),
    /// Nobody wants it any more. Who agrees to it has another session than the other side.
    Nothing,
}

/// The headers that are for the other side, whatever stands between.
const PASSED_ON: [&str; 19] = [
    "Accept-Contact",
    "Alert-Info",
    "Call-Info",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Error-Info",
    "History-Info",
    "Info-Package",
    "MIME-Version",
    "Organization",
    "Priority",
    "Privacy",
    "Reason",
    "Recv-Info",
    "Referred-By",
    "Retry-After",
    "Subject",
    "User-to-User",
];

/// What a message has for the other side; a session stands in for the one that it does not repeat.
fn passed_on<T>(message: &Message<'_>, said: Option<&Session>, then: impl FnOnce(&Content<'_>) -> T) -> T {
    let text = |value| Some(unfolded(value)).filter(|text| is_text(text));
    let of = |name| message.values_of(name).filter_map(text).map(move |value| (name, value));
    // Where else somebody may be, the other side hears of: it tries that itself.
    let redirects = (300..400).contains(&message.status_code());
    let contacts = redirects.then_some("Contact");
    let headers: Vec<(&str, String)> = PASSED_ON.into_iter().chain(contacts).flat_map(of).collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
    let content_type = message.value_of("Content-Type").and_then(text).unwrap_or_default();
    let (content_type, body) = match said {
        Some((content_type, body)) if message.body().is_empty() => (content_type, &**body),
        _ => (&content_type, message.body()),
    };
    then(&Content { headers: &headers, content_type, body })
}

/// The session of a response.
fn session_of(response: &Response<'_>) -> Option<Session> {
    passed_on(response, None, |content| {
        (!content.body.is_empty()).then(|| (content.content_type.into(), content.body.into()))
    })
}

/// What a refusal is to the other side: a challenge is for this one, which could not answer it.
fn refusal(status: Status) -> Status {
    match status {
        Status::UNAUTHORIZED | Status::PROXY_AUTHENTICATION_REQUIRED => Status::FORBIDDEN,
        other => other,
    }
}

/// What stands for a response that never came.
const fn silence(cause: Cause) -> Status {
    match cause {
        Cause::Timeout => Status::REQUEST_TIMEOUT,
        _ => Status::SERVICE_UNAVAILABLE,
    }
}

/// Who sends a request, as it is told to the other side.
fn sender(request: &Request<'_>) -> String {
    let from = request.from();
    let text = String::from_utf8_lossy;
    match from.display {
        b"" => format!("<{}>", text(from.uri_bytes)),
        display => format!("\"{}\" <{}>", text(display), text(from.uri_bytes)),
    }
}

/// How many hops a request may still go: who stands between counts as one (RFC 7332).
fn hops(request: &Request<'_>) -> Option<u8> {
    request.max_forwards().unwrap_or(70).checked_sub(1)
}

impl B2bua {
    /// An agent with these options.
    pub fn new(options: B2buaOptions) -> Self {
        Self {
            options,
            placed: BTreeMap::new(),
            callers: BTreeMap::new(),
            reliable: BTreeSet::new(),
            unacknowledged: BTreeMap::new(),
            agreed: BTreeMap::new(),
            said: BTreeMap::new(),
            said_to: BTreeMap::new(),
            others: BTreeMap::new(),
            offered: BTreeSet::new(),
            asked: BTreeMap::new(),
            waiting: BTreeMap::new(),
            referrals: BTreeMap::new(),
            referred: BTreeMap::new(),
            reasons: BTreeMap::new(),
            calls: 0,
            answered: 0,
        }
    }

    /// Lets a user agent take what this agent passes on.
    pub fn configure(config: &mut Config) {
        config.methods = [Method::Info, Method::Message, Method::Refer].into();
        config.auto_prack = false;
    }

    /// What it did, as one line of `key=value`.
    pub fn report(&self, machine: &UserAgent) -> String {
        let stats = machine.stats();
        format!(
            "calls={} answered={} retransmissions_in={} retransmissions_out={} transactions_open={} dialogs_open={}",
            self.calls,
            self.answered,
            stats.retransmissions_in,
            stats.retransmissions_out,
            stats.client_transactions + stats.server_transactions,
            stats.dialogs,
        )
    }

    fn pair(&mut self, left: DialogId, right: DialogId) {
        self.others.insert(left, right);
        self.others.insert(right, left);
    }

    // Calls.

    fn incoming(&mut self, now: Instant, machine: &mut UserAgent, caller: DialogId, invite: &Request<'_>) {
        let Some(max_forwards) = hops(invite) else {
            return self.refuse(now, machine, caller, Status::TOO_MANY_HOPS, &Content::NONE);
        };
        if invite.all::<Require<'_>>().map_while(Result::ok).any(|tag| tag.is("100rel")) {
            self.reliable.insert(caller);
        }
        let (target, from) = (&*self.options.target, sender(invite));
        let expires = invite.get::<Expires>().ok().flatten();
        let expires = expires.map(|expires| Duration::from_secs(expires.0.into()));
        let placed = passed_on(invite, None, |content| {
            let new =
                NewInvite { from: &from, max_forwards, expires, content: *content, ..NewInvite::new(target) };
            machine.invite(now, &new)
        });
        match placed {
            Ok(invitation) => {
                self.placed.insert(caller, invitation);
                self.callers.insert(invitation, caller);
            }
            Err(_) => {
                self.refuse(now, machine, caller, Status::SERVICE_UNAVAILABLE, &Content::NONE);
            }
        }
    }

    /// RFC 3891: the caller takes the place of a party, whose other is asked to talk to it.
    fn replace(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        caller: DialogId,
        instead_of: DialogId,
        invite: &Request<'_>,
    ) {
        if !self.options.replaces {
            return self.refuse(now, machine, caller, Status::FORBIDDEN, &Content::NONE);
        }
        let Some(other) = self.others.get(&instead_of).copied() else {
            return self.refuse(now, machine, caller, Status::NO_SUCH_TRANSACTION, &Content::NONE);
        };
        let asked =
            passed_on(invite, None, |content| machine.request_in(now, other, Method::Invite, 0, content));
        match asked {
            Ok(id) => drop(self.asked.insert(id, For::Call { caller, instead_of })),
            Err(_) => self.refuse(now, machine, caller, Status::TEMPORARILY_UNAVAILABLE, &Content::NONE),
        }
    }

    fn refuse(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        caller: DialogId,
        status: Status,
        content: &Content<'_>,
    ) {
        if machine.reject(now, caller, refusal(status), content).is_err() {
            let _ = machine.reject(now, caller, refusal(status), &Content::NONE);
        }
    }

    fn progress(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        (invitation, fork): (Invitation, DialogId),
        wants_prack: bool,
        response: &Response<'_>,
    ) {
        let Some(caller) = self.callers.get(&invitation).copied() else { return };
        let status = response.status();
        // What the caller says before the answer goes to the fork that it has agreed with, or the first one.
        self.others.insert(fork, caller);
        self.others.entry(caller).or_insert(fork);
        let session = session_of(response);
        let agreed = self.agreed.get(&caller).copied();
        let is_its_own = agreed.is_none_or(|agreed| agreed == fork);
        // RFC 6228: one fork of several is over, and for the caller there is only one.
        let rings = status.code() != 199;
        let knows_100rel = machine.view(caller).is_ok_and(|view| view.knows_100rel);
        let ring = |machine: &mut UserAgent, reliably: bool| {
            passed_on(response, None, |content| {
                let content =
                    if is_its_own { *content } else { Content { content_type: "", body: b"", ..*content } };
                match reliably {
                    true => machine.ring_reliably(now, caller, status, &content),
                    // What does not fit the session of the caller rings all the same.
                    false => machine
                        .ring(now, caller, status, &content)
                        .or_else(|_| machine.ring(now, caller, status, &Content::NONE)),
                }
            })
        };
        if rings && wants_prack && knows_100rel && ring(machine, true).is_ok() {
            if session.is_some() && is_its_own {
                self.agreed.insert(caller, fork);
                self.others.insert(caller, fork);
            }
            return self.unacknowledged.entry(caller).or_default().push_back(Some(fork));
        }
        let waiting = self.unacknowledged.entry(caller).or_default();
        // What comes behind a reliable response is one as well.
        let is_reliable = self.reliable.contains(&caller) || !waiting.is_empty();
        if rings && ring(machine, false).is_ok() && is_reliable {
            waiting.push_back(None);
        }
        if wants_prack {
            if let Some(session) = session {
                self.said.insert(fork, session);
            }
            if machine.prack(now, fork, 0, &Content::NONE) == Err(Misuse::BadContent) {
                self.disagree(now, machine, caller);
            }
        }
    }

    /// The caller has acknowledged a reliable response: so is that of the fork it came from. Whether there is one.
    fn acknowledge(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        caller: DialogId,
        prack: &Request<'_>,
    ) -> Option<Result<RequestId, Misuse>> {
        let fork = self.unacknowledged.get_mut(&caller)?.pop_front()??;
        Some(passed_on(prack, None, |content| machine.prack(now, fork, 0, content)))
    }

    fn up(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        (invitation, callee): (Invitation, DialogId),
        wants_answer: bool,
        response: &Response<'_>,
    ) {
        let Some(caller) = self.callers.remove(&invitation) else {
            let _ = machine.hang_up(now, callee, &Content::NONE);
            return;
        };
        self.placed.remove(&caller);
        self.pair(caller, callee);
        let is_its_own = self.agreed.get(&caller).is_none_or(|agreed| *agreed == callee);
        if !is_its_own {
            // RFC 3261 §13.2.1: what another fork has answered stands.
            self.refuse(now, machine, caller, Status::NOT_ACCEPTABLE_HERE, &Content::NONE);
            let _ = machine.hang_up(now, callee, &Content::NONE);
        } else if !self.accept(now, machine, (caller, callee), wants_answer, response, None) {
            self.refuse(now, machine, caller, Status::SERVER_INTERNAL_ERROR, &Content::NONE);
            let _ = machine.hang_up(now, callee, &Content::NONE);
        }
    }

    /// The 2xx of one side is that to the caller; whether it could be.
    fn accept(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        (caller, callee): (DialogId, DialogId),
        wants_answer: bool,
        response: &Response<'_>,
        said: Option<&Session>,
    ) -> bool {
        let said = said.or_else(|| self.said.get(&callee));
        let accepted = passed_on(response, said, |content| {
            // The session that a reliable response has brought may stand in the 2xx once more.
            machine.accept(now, caller, content).or_else(|_| machine.accept(now, caller, &Content::NONE))
        });
        if accepted.is_ok() && wants_answer {
            self.offered.insert(callee);
        }
        self.answered += u64::from(accepted.is_ok());
        accepted.is_ok()
    }

    /// The ACK of one side has the answer to what the other has offered.
    fn established(&mut self, now: Instant, machine: &mut UserAgent, dialog: DialogId, ack: &Request<'_>) {
        let Some(other) = self.others.get(&dialog).copied() else { return };
        if self.offered.remove(&other)
            && passed_on(ack, None, |content| machine.ack(now, other, content)).is_err()
        {
            self.part(now, machine, dialog);
        }
    }

    /// A call that is not answered can't be, because its parties find no session.
    fn disagree(&mut self, now: Instant, machine: &mut UserAgent, caller: DialogId) {
        if let Some(invitation) = self.placed.remove(&caller) {
            self.callers.remove(&invitation);
            let _ = machine.cancel(now, invitation);
        }
        self.refuse(now, machine, caller, Status::NOT_ACCEPTABLE_HERE, &Content::NONE);
    }

    /// The INVITE for a caller has come to nothing.
    fn refused(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        invitation: Invitation,
        status: Status,
        response: Option<&Response<'_>>,
    ) {
        let Some(caller) = self.callers.remove(&invitation) else { return };
        self.placed.remove(&caller);
        match response {
            Some(response) => {
                passed_on(response, None, |content| self.refuse(now, machine, caller, status, content))
            }
            None => self.refuse(now, machine, caller, status, &Content::NONE),
        }
    }

    fn ended(&mut self, now: Instant, machine: &mut UserAgent, dialog: DialogId) {
        let reasons = self.reasons.remove(&dialog).unwrap_or_default();
        self.said.remove(&dialog);
        self.agreed.remove(&dialog);
        // Who wanted to take another's place does so no more.
        let is_its = |asked: &For| matches!(asked, For::Call { caller, .. } if *caller == dialog);
        for (id, asked) in self.asked.iter_mut().filter(|(_, asked)| is_its(asked)) {
            *asked = For::Nothing;
            let _ = machine.cancel_request(now, *id);
        }
        self.offered.remove(&dialog);
        self.reliable.remove(&dialog);
        self.unacknowledged.remove(&dialog);
        let other = self.others.remove(&dialog);
        if let Some(invitation) = self.placed.remove(&dialog) {
            self.callers.remove(&invitation);
            let _ = machine.cancel(now, invitation);
            return;
        }
        let Some(other) = other.filter(|other| self.others.get(other) == Some(&dialog)) else { return };
        self.others.remove(&other);
        // One fork of several that ring.
        if !self.placed.contains_key(&other) {
            let headers: Vec<_> = reasons.iter().map(|reason| ("Reason", &**reason)).collect();
            let _ = machine.hang_up(now, other, &Content::headers(&headers));
        }
    }

    /// Hangs up both sides.
    fn part(&mut self, now: Instant, machine: &mut UserAgent, dialog: DialogId) {
        let _ = machine.hang_up(now, dialog, &Content::NONE);
        if let Some(other) = self.others.get(&dialog) {
            let _ = machine.hang_up(now, *other, &Content::NONE);
        }
    }

    // Requests in either direction.

    fn request(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        txn: ServerTxn,
        dialog: Option<DialogId>,
        request: &Request<'_>,
    ) {
        let asked = match (dialog, request.method()) {
            (Some(caller), Method::Prack) => {
                self.acknowledge(now, machine, caller, request).unwrap_or(Err(Misuse::Gone))
            }
            (Some(dialog), method) => match self.others.get(&dialog) {
                // Another fork than the one that the caller talks to.
                Some(other) if self.others.get(other) != Some(&dialog) => Err(Misuse::Forbidden),
                Some(other) => {
                    passed_on(request, None, |content| machine.request_in(now, *other, method, 0, content))
                }
                None => Err(Misuse::WrongState),
            },
            (None, method) => self.request_outside(now, machine, method, request),
        };
        match asked {
            Ok(id) => {
                self.asked.insert(id, For::Request(txn));
                self.waiting.insert(txn, id);
            }
            Err(misuse) => {
                let status = match misuse {
                    // RFC 3261 §14.2: the other side is changing the session.
                    Misuse::WrongState => Status::REQUEST_PENDING,
                    Misuse::Forbidden => Status::NOT_ACCEPTABLE_HERE,
                    _ if hops(request).is_none() => Status::TOO_MANY_HOPS,
                    _ => Status::SERVER_INTERNAL_ERROR,
                };
                let _ = machine.respond(now, txn, status, &Content::NONE);
            }
        }
    }

    fn request_outside(
        &self,
        now: Instant,
        machine: &mut UserAgent,
        method: Method<'_>,
        request: &Request<'_>,
    ) -> Result<RequestId, Misuse> {
        let from = sender(request);
        let max_forwards = hops(request).ok_or(Misuse::BadContent)?;
        passed_on(request, None, |content| {
            let content = *content;
            machine.request(
                now,
                &NewRequest {
                    from: &from,
                    max_forwards,
                    content,
                    ..NewRequest::new(method, &self.options.target)
                },
            )
        })
    }

    fn response(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        id: RequestId,
        dialog: Option<DialogId>,
        (wants_prack, wants_answer): (bool, bool),
        response: &Response<'_>,
    ) {
        let Some(asked) = self.asked.get(&id).copied() else { return };
        let status = response.status();
        if let (true, Some(dialog)) = (wants_prack, dialog) {
            if let Some(session) = session_of(response) {
                self.said_to.insert(id, session);
            }
            if machine.prack(now, dialog, 0, &Content::NONE).is_err() {
                let _ = machine.cancel_request(now, id);
            }
        }
        if !status.is_final() {
            if let For::Request(txn) = asked {
                let _ = passed_on(response, None, |content| machine.respond(now, txn, status, content));
            }
            return;
        }
        self.asked.remove(&id);
        let said = self.said_to.remove(&id);
        // Whether it makes the session what the request wanted it to be.
        let has_agreed = status.is_success() && (said.is_some() || !response.body().is_empty());
        match (asked, dialog) {
            (For::Request(txn), _) => {
                self.waiting.remove(&txn);
                let passed = passed_on(response, said.as_ref(), |content| {
                    // What it has had already need not be said again.
                    machine.respond(now, txn, refusal(status), content).or_else(|_| {
                        machine.respond(now, txn, refusal(status), &Content::headers(content.headers))
                    })
                });
                if passed.is_err() {
                    let _ = machine.respond(now, txn, Status::SERVER_INTERNAL_ERROR, &Content::NONE);
                }
                match dialog {
                    Some(dialog) if wants_answer && passed.is_ok() => {
                        self.offered.insert(dialog);
                    }
                    Some(dialog) if passed.is_err() && has_agreed => self.part(now, machine, dialog),
                    _ => {}
                }
            }
            (For::Call { caller, instead_of }, Some(other)) if status.is_success() => {
                if self.accept(now, machine, (caller, other), wants_answer, response, said.as_ref()) {
                    self.others.remove(&instead_of);
                    self.pair(caller, other);
                } else {
                    self.refuse(now, machine, caller, Status::SERVER_INTERNAL_ERROR, &Content::NONE);
                    self.part(now, machine, other);
                }
            }
            (For::Nothing, Some(dialog)) if has_agreed => self.part(now, machine, dialog),
            (For::Call { caller, .. }, _) => {
                passed_on(response, None, |content| self.refuse(now, machine, caller, status, content));
            }
            (For::Refresh, Some(dialog)) if wants_answer => {
                let other = self.others.get(&dialog).copied();
                let asked = other.map(|other| {
                    passed_on(response, None, |content| {
                        machine.request_in(now, other, Method::Invite, 0, content)
                    })
                });
                match asked {
                    Some(Ok(id)) => drop(self.asked.insert(id, For::Answer(dialog))),
                    _ => self.part(now, machine, dialog),
                }
            }
            (For::Answer(dialog), _) => {
                let answered = status.is_success()
                    && passed_on(response, said.as_ref(), |content| machine.ack(now, dialog, content))
                        .is_ok();
                if !answered {
                    self.part(now, machine, dialog);
                }
            }
            // What can't be refreshed ends by itself.
            (For::Refresh | For::Nothing, _) => {}
        }
    }

    /// A request of this side has no final response.
    fn unanswered(&mut self, now: Instant, machine: &mut UserAgent, id: RequestId, cause: Cause) {
        self.said_to.remove(&id);
        match self.asked.remove(&id) {
            Some(For::Request(txn)) => {
                self.waiting.remove(&txn);
                let _ = machine.respond(now, txn, silence(cause), &Content::NONE);
            }
            Some(For::Call { caller, .. }) => {
                self.refuse(now, machine, caller, silence(cause), &Content::NONE)
            }
            Some(For::Answer(dialog)) => self.part(now, machine, dialog),
            Some(For::Refresh | For::Nothing) | None => {}
        }
    }

    fn withdrawn(&mut self, now: Instant, machine: &mut UserAgent, txn: ServerTxn) {
        if let Some(id) = self.waiting.remove(&txn) {
            // Anything but an INVITE goes on, and nobody hears of it.
            self.asked.insert(id, For::Nothing);
            let _ = machine.cancel_request(now, id);
        }
    }

    // Transfers.

    fn refer(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        txn: ServerTxn,
        (dialog, subscription): (Option<DialogId>, Option<SubscriptionId>),
        request: &Request<'_>,
    ) {
        // Not another fork than the one that the caller talks to.
        let is_its = |other: &DialogId| self.others.get(other).copied() == dialog;
        let other = dialog.and_then(|dialog| self.others.get(&dialog).copied()).filter(is_its);
        let (Some(other), Ok(Some(refer_to))) = (other, request.get::<ReferTo<'_>>()) else {
            let _ = machine.respond(now, txn, Status::FORBIDDEN, &Content::NONE);
            return;
        };
        let refer_to = self.translated(machine, &refer_to);
        let asked = passed_on(request, None, |content| {
            let follow = subscription.is_some();
            let refer = NewRefer { follow, content: *content, ..NewRefer::new(&refer_to) };
            machine.refer_in(now, other, &refer)
        });
        match asked {
            Ok(asked) => {
                self.referred.insert(asked, txn);
                if let Some(subscription) = subscription {
                    self.referrals.insert(asked, subscription);
                    self.referrals.insert(subscription, asked);
                }
            }
            Err(_) => drop(machine.respond(now, txn, Status::SERVER_INTERNAL_ERROR, &Content::NONE)),
        }
    }

    /// Whom the other side is to contact. A call through this agent has another name there: that of its other half (RFC 3891 §3).
    fn translated(&self, machine: &UserAgent, refer_to: &ReferTo<'_>) -> String {
        let replaced = refer_to.invitation().and_then(|(_, replaces)| {
            let replaces = Replaces::whole(replaces.as_bytes()).ok()?;
            let dialog = machine.dialog(replaces.call_id, replaces.to_tag()?, replaces.from_tag()?)?;
            machine.refer_to(*self.others.get(&dialog)?).ok()
        });
        replaced.unwrap_or_else(|| format!("<{}>", String::from_utf8_lossy(refer_to.0.uri_bytes)))
    }

    /// The REFER has its response.
    fn referral(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        asked: SubscriptionId,
        status: Status,
        content: &Content<'_>,
    ) {
        if let Some(txn) = self.referred.remove(&asked) {
            let _ = machine.respond(now, txn, refusal(status), content);
        }
    }

    fn notified(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        asked: SubscriptionId,
        notice: Notice,
        request: Option<&Request<'_>>,
    ) {
        // A NOTIFY may come before the response.
        self.referral(now, machine, asked, Status::ACCEPTED, &Content::NONE);
        let Some(subscription) = self.referrals.get(&asked) else { return };
        let _ = match request {
            Some(request) => {
                passed_on(request, None, |content| machine.notify(now, *subscription, notice, content))
            }
            None => machine.notify(now, *subscription, notice, &Content::NONE),
        };
    }
}

impl TransactionUser<UserAgent> for B2bua {
    fn event(&mut self, now: Instant, machine: &mut UserAgent, event: Event<'_>) {
        match event {
            Event::Incoming { dialog, replaces, request, .. } => {
                self.calls += 1;
                match replaces {
                    Some(instead_of) => self.replace(now, machine, dialog, instead_of, &request),
                    None => self.incoming(now, machine, dialog, &request),
                }
            }
            Event::Progress { invitation, dialog: Some(fork), wants_prack, response, .. } => {
                self.progress(now, machine, (invitation, fork), wants_prack, &response);
            }
            Event::Answered { invitation, dialog, wants_answer, response, .. } => {
                self.up(now, machine, (invitation, dialog), wants_answer, &response);
            }
            Event::Refused { invitation, response, .. } => {
                self.refused(now, machine, invitation, response.status(), Some(&response));
            }
            Event::InvitationEnded { invitation, cause, .. } => {
                self.refused(now, machine, invitation, silence(cause), None);
            }
            Event::Established { dialog, request, .. } => self.established(now, machine, dialog, &request),
            Event::Acknowledged { dialog, request, .. } => {
                if let Some(Err(Misuse::BadContent)) = self.acknowledge(now, machine, dialog, &request) {
                    self.disagree(now, machine, dialog);
                }
            }
            // A BYE says why (RFC 3326), which the other side is to hear.
            Event::Served { dialog: Some(dialog), request, .. } if self.others.contains_key(&dialog) => {
                let reasons = request.values_of("Reason").map(unfolded).filter(|text| is_text(text));
                if request.method() == Method::Bye {
                    self.reasons.insert(dialog, reasons.collect());
                }
            }
            Event::Ended { dialog, .. } => self.ended(now, machine, dialog),
            Event::Request { txn, dialog, request, .. } => self.request(now, machine, txn, dialog, &request),
            Event::Withdrawn { txn } => self.withdrawn(now, machine, txn),
            Event::Response { id, dialog, wants_prack, wants_answer, response, .. } => {
                self.response(now, machine, id, dialog, (wants_prack, wants_answer), &response);
            }
            Event::RequestEnded { id, cause, .. } => self.unanswered(now, machine, id, cause),
            Event::RefreshDue { dialog, .. } => {
                if let Ok(id) = machine.request_in(now, dialog, Method::Invite, 0, &Content::NONE) {
                    self.asked.insert(id, For::Refresh);
                }
            }
            Event::Refer { txn, dialog, subscription, request, .. } => {
                self.refer(now, machine, txn, (dialog, subscription), &request);
            }
            Event::SubscriptionAnswered { subscription, response, .. } => {
                let status = response.status();
                passed_on(&response, None, |content| {
                    self.referral(now, machine, subscription, status, content)
                });
            }
            Event::Notified { subscription, notice, request, .. } => {
                self.notified(now, machine, subscription, notice, Some(&request));
            }
            // RFC 3515 §2.4.4: who referred wants to be told longer, or no longer.
            Event::Subscribe { txn, subscription, request, .. } if is_refer(&request) => {
                let _ = machine.respond(now, txn, Status::OK, &Content::NONE);
                let _ = machine.notify(now, subscription, Notice::Active, &TRYING);
            }
            Event::SubscriptionEnded { subscription, reason, retry_after, .. } => {
                let notice = Notice::Terminated { reason, retry_after };
                self.referral(now, machine, subscription, Status::SERVER_INTERNAL_ERROR, &Content::NONE);
                self.notified(now, machine, subscription, notice, None);
                if let Some(other) = self.referrals.remove(&subscription) {
                    self.referrals.remove(&other);
                    let _ = machine.unsubscribe(now, other, &Content::NONE);
                }
            }
            _ => {}
        }
    }
}
