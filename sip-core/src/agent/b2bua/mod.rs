//! An agent that stands between the two parties of a call, as a user agent to each (RFC 7092): a B2BUA.

mod calls;
mod transfers;
mod within;

use super::uas::{TRYING, is_refer};
use crate::message::lex::unfolded;
use crate::message::{Content, Message, Method, Request, Response, Status, is_text};
use crate::ua::{Config, Event, Notice, UserAgent};
use crate::{
    Cause, DialogId, Instant, Invitation, Machine, Misuse, RequestId, ServerTxn, SubscriptionId,
    TransactionUser,
};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

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
