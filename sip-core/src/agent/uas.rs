//! An agent that answers calls, and what is asked of it around them.

use super::registrar::Registrar;
use super::{Agenda, Enrolment, HELD, SESSION, Task, is_held};
use crate::headers::Supported;
use crate::message::{Content, Method, Request, Status};
use crate::ua::{Config, Ended, Event, Notice, Offer, Reason, UserAgent};
use crate::{DialogId, Instant, Machine, ServerTxn, Stats, SubscriptionId, TransactionUser};
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
    enrolled: bool,
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
        let login = options.login.as_ref().map(|(username, password)| (&**username, &**password));
        Self {
            registrar: Registrar::new(login, "sip-core", options.key),
            agenda: Agenda::default(),
            enrolled: options.register.is_none(),
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
        format!(
            "calls={} failed={} requests={} retransmissions_in={retransmissions_in} \
             retransmissions_out={retransmissions_out} transactions_open={} dialogs_open={dialogs}",
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
        // An UPDATE or a PRACK may bring something else than an offer; an INVITE without one is answered by one.
        let asked = dialog.is_some_and(|dialog| machine.offer(dialog) == Ok(Offer::Remote));
        let session = match request.method() {
            Method::Invite | Method::Update if is_held(request.body()) => HELD,
            Method::Invite => SESSION,
            Method::Update | Method::Prack if asked => SESSION,
            _ => Content::NONE,
        };
        // It may be withdrawn by now.
        let _ = machine.respond(now, txn, status, &Content { headers: &headers, ..session });
    }
}

const ACTIVE: Content<'static> = Content::body(
    "application/pidf+xml",
    b"<?xml version=\"1.0\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:uas@localhost\">\
    <tuple id=\"1\"><status><basic>open</basic></status></tuple></presence>\r\n",
);
const TRYING: Content<'static> = Content::body("message/sipfrag;version=2.0", b"SIP/2.0 100 Trying\r\n");
const DONE: Content<'static> = Content::body("message/sipfrag;version=2.0", b"SIP/2.0 200 OK\r\n");
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
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let enrol = (!self.enrolled).then_some(Instant::ZERO);
        enrol.into_iter().chain(self.agenda.next()).min()
    }

    fn advance(&mut self, now: Instant, machine: &mut UserAgent) {
        if !core::mem::replace(&mut self.enrolled, true) {
            if let Some(enrolment) = &self.options.register {
                // One that can't be sent leaves an agent that nobody is led to; it answers all the same.
                let _ = enrolment.register(now, machine);
            }
        }
        while let Some(task) = self.agenda.take(now) {
            match task {
                Task::Answer(dialog) => self.answer(now, machine, dialog),
                Task::EndPresence(subscription) => {
                    over(now, machine, subscription, Ended::Timeout, &Content::NONE)
                }
                Task::Referred(subscription) => over(now, machine, subscription, Ended::NoResource, &DONE),
                _ => {}
            }
        }
    }
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
