//! An agent that answers calls, and what is asked of it around them.

use super::registrar::Registrar;
use super::{Agenda, Enrolment, SESSION, Task, session_for};
use crate::headers::{self, Supported};
use crate::message::{Content, Method, Request, Status};
use crate::ua::{Config, Ended, Event, Notice, Reason, UserAgent};
use crate::{DialogId, Instant, Machine, RegistrationId, ServerTxn, Stats, SubscriptionId, TransactionUser};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// How calls are answered.
#[derive(Clone, Debug)]
pub struct UasOptions {
    /// How long a call rings before it is answered.
    pub ring: Duration,
    /// With what it is answered: 200 to accept it.
    pub answer: Status,
    /// The name and the password that who registers here must know; `None`: anybody may.
    pub login: Option<(String, String)>,
    /// What the nonces of the challenges are sealed with.
    pub key: [u8; 32],
    /// Where the agent registers itself.
    pub register: Option<Enrolment>,
}

impl Default for UasOptions {
    fn default() -> Self {
        Self { ring: Duration::ZERO, answer: Status::OK, login: None, key: [0; 32], register: None }
    }
}

/// Rings, then accepts or rejects every call; takes re-INVITE, UPDATE, INFO and MESSAGE, REGISTER (in memory), SUBSCRIBE to `presence` (active,
/// and a second later terminated) and REFER (which it says it has done).
pub struct Uas {
    options: UasOptions,
    agenda: Agenda,
    registrar: Registrar,
    /// Its registration, while it has one.
    enrolled: Option<RegistrationId>,
    /// It takes that back, and ends.
    leaving: bool,
    /// How often its registrar would not have it, or was not there.
    unregistered: u64,
    /// Calls that were rung reliably and wait for the PRACK, and those among them whose time to be answered has come.
    unacknowledged: BTreeSet<DialogId>,
    due: BTreeSet<DialogId>,
    calls: u64,
    failed: u64,
    requests: u64,
}

impl Uas {
    /// An agent with these options.
    pub fn new(options: UasOptions) -> Self {
        Self {
            registrar: Registrar::new(options.login.as_slice(), "sip-core", options.key),
            agenda: Agenda::of(options.register.as_ref().map(|_| (Instant::ZERO, Task::Enrol))),
            enrolled: None,
            leaving: false,
            unregistered: 0,
            unacknowledged: BTreeSet::new(),
            due: BTreeSet::new(),
            calls: 0,
            failed: 0,
            requests: 0,
            options,
        }
    }

    /// Lets a user agent take what this agent answers.
    pub fn configure(config: &mut Config) {
        config.methods = [Method::Info, Method::Message, Method::Refer, Method::Register].into();
        config.packages = ["presence".into()].into();
    }

    /// What it did, as one line of `key=value`.
    pub fn report(&self, machine: &UserAgent) -> String {
        let Stats { retransmissions_in, retransmissions_out, dialogs, .. } = machine.stats();
        let Stats { client_transactions, server_transactions, .. } = machine.stats();
        let unregistered = match self.options.register {
            Some(_) => format!(" unregistered={}", self.unregistered),
            None => String::new(),
        };
        format!(
            "calls={} failed={} requests={} retransmissions_in={retransmissions_in} \
             retransmissions_out={retransmissions_out} transactions_open={} dialogs_open={dialogs}{unregistered}",
            self.calls,
            self.failed,
            self.requests,
            client_transactions + server_transactions,
        )
    }

    fn incoming(&mut self, now: Instant, machine: &mut UserAgent, dialog: DialogId, invite: &Request<'_>) {
        self.calls += 1;
        let reliable = invite.all::<Supported<'_>>().map_while(Result::ok).any(|tag| tag.is("100rel"));
        let _ = machine.ring(now, dialog, Status::TRYING, &Content::NONE);
        let rung = if reliable && self.options.answer.is_success() {
            self.unacknowledged.insert(dialog);
            // RFC 3262 §5: who asks for an offer gets it in the first reliable response.
            let content = if invite.body().is_empty() { SESSION } else { Content::NONE };
            machine.ring_reliably(now, dialog, Status::RINGING, &content)
        } else {
            machine.ring(now, dialog, Status::RINGING, &Content::NONE)
        };
        // The caller may have cancelled; then there is nothing to answer.
        let _ = rung;
        if self.options.ring.is_zero() {
            self.answer(now, machine, dialog);
        } else {
            self.agenda.add(now + self.options.ring, Task::Answer(dialog));
        }
    }

    fn answer(&mut self, now: Instant, machine: &mut UserAgent, dialog: DialogId) {
        if self.unacknowledged.contains(&dialog) {
            self.due.insert(dialog);
            return;
        }
        let answered = if self.options.answer.is_success() {
            machine.accept(now, dialog, &SESSION)
        } else {
            machine.reject(now, dialog, self.options.answer, &Content::NONE)
        };
        // The caller may have cancelled while it rang.
        let _ = answered;
    }

    /// Nobody is led to it; it answers all the same, and tries again.
    fn unregistered(&mut self, now: Instant) {
        self.unregistered += 1;
        self.agenda.add(now + ENROL_AGAIN, Task::Enrol);
    }

    /// What it rang with has its PRACK: who waited for that is answered.
    fn acknowledged(&mut self, now: Instant, machine: &mut UserAgent, dialog: DialogId) {
        if self.unacknowledged.remove(&dialog) && self.due.remove(&dialog) {
            self.answer(now, machine, dialog);
        }
    }

    fn request(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        txn: ServerTxn,
        dialog: Option<DialogId>,
        request: &Request<'_>,
    ) {
        let (status, headers) = match request.method() {
            Method::Register => self.registrar.answer(now, request),
            _ => (Status::OK, Vec::new()),
        };
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        let session = session_for(machine, dialog, request);
        // It may be withdrawn by now.
        let _ = machine.respond(now, txn, status, &Content { headers: &headers, ..session });
    }
}

const ACTIVE: Content<'static> = Content::body(
    "application/pidf+xml",
    b"<?xml version=\"1.0\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:uas@localhost\">\
    <tuple id=\"1\"><status><basic>open</basic></status></tuple></presence>\r\n",
);
pub(super) const TRYING: Content<'static> =
    Content::body("message/sipfrag;version=2.0", b"SIP/2.0 100 Trying\r\n");
const DONE: Content<'static> = Content::body("message/sipfrag;version=2.0", b"SIP/2.0 200 OK\r\n");
/// After how long it registers again when that has failed.
const ENROL_AGAIN: Duration = Duration::from_secs(30);
/// How long a REFER takes, and how long a presence lasts.
const REFERRING: Duration = Duration::from_millis(100);
const PRESENT: Duration = Duration::from_secs(1);

impl TransactionUser<UserAgent> for Uas {
    fn event(&mut self, now: Instant, machine: &mut UserAgent, event: Event<'_>) {
        match event {
            Event::Incoming { dialog, request, .. } => {
                self.requests += 1;
                self.incoming(now, machine, dialog, &request);
            }
            Event::Acknowledged { dialog, .. } => {
                self.requests += 1;
                self.acknowledged(now, machine, dialog);
            }
            Event::Request { txn, dialog, request, .. } => {
                self.requests += 1;
                self.request(now, machine, txn, dialog, &request);
                // One with an offer of its own: it acknowledges as well.
                if let (Method::Prack, Some(dialog)) = (request.method(), dialog) {
                    self.acknowledged(now, machine, dialog);
                }
            }
            // RFC 3515 §2.4.4: who referred asks to be told longer, or no longer. It ends in its time.
            Event::Subscribe { txn, subscription, request, .. } if is_refer(&request) => {
                self.requests += 1;
                let _ = machine.respond(now, txn, Status::OK, &Content::NONE);
                let _ = machine.notify(now, subscription, Notice::Active, &TRYING);
            }
            Event::Subscribe { txn, subscription, .. } => {
                self.requests += 1;
                let _ = machine.respond(now, txn, Status::OK, &Content::NONE);
                let _ = machine.notify(now, subscription, Notice::Active, &ACTIVE);
                self.agenda.add(now + PRESENT, Task::EndPresence(subscription));
            }
            Event::Refer { txn, subscription, .. } => {
                self.requests += 1;
                let _ = machine.respond(now, txn, Status::ACCEPTED, &Content::NONE);
                if let Some(subscription) = subscription {
                    let _ = machine.notify(now, subscription, Notice::Active, &TRYING);
                    self.agenda.add(now + REFERRING, Task::Referred(subscription));
                }
            }
            Event::Ended { dialog, reason, .. } => {
                self.unacknowledged.remove(&dialog);
                self.due.remove(&dialog);
                let lost = matches!(reason, Reason::NoAck | Reason::Lost | Reason::Unreachable);
                self.failed += u64::from(lost);
            }
            Event::Declined { .. } | Event::Served { .. } => self.requests += 1,
            Event::RegistrationEnded { .. }
                if core::mem::take(&mut self.enrolled).is_some() && self.leaving => {}
            Event::RegistrationEnded { .. } => self.unregistered(now),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.agenda.next()
    }

    fn advance(&mut self, now: Instant, machine: &mut UserAgent) {
        while let Some(task) = self.agenda.take(now) {
            match task {
                Task::Answer(dialog) => self.answer(now, machine, dialog),
                Task::Enrol => {
                    let Some(enrolment) = &self.options.register else { continue };
                    self.enrolled = enrolment.register(now, machine).ok();
                    if self.enrolled.is_none() {
                        self.unregistered(now);
                    }
                }
                Task::EndPresence(subscription) => {
                    over(now, machine, subscription, Ended::Timeout, &Content::NONE)
                }
                Task::Referred(subscription) => over(now, machine, subscription, Ended::NoResource, &DONE),
                _ => {}
            }
        }
    }

    fn is_done(&self) -> bool {
        self.leaving && self.enrolled.is_none()
    }

    fn stop(&mut self, now: Instant, machine: &mut UserAgent) -> bool {
        self.leaving = self.enrolled.is_some_and(|id| machine.unregister(now, id).is_ok());
        self.leaving
    }
}

/// Whether a SUBSCRIBE is about a REFER.
pub(super) fn is_refer(request: &Request<'_>) -> bool {
    let event = request.get::<headers::Event<'_>>().ok().flatten();
    event.is_some_and(|event| event.package.eq_ignore_ascii_case(b"refer"))
}

/// The last NOTIFY of a subscription, if it is not over yet.
fn over(
    now: Instant,
    machine: &mut UserAgent,
    subscription: SubscriptionId,
    reason: Ended,
    content: &Content<'_>,
) {
    let _ = machine.notify(now, subscription, Notice::Terminated { reason, retry_after: None }, content);
}
