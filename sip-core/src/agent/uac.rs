//! An agent that places calls.

use super::{Agenda, Enrolment, HOLD, SESSION, Task, session_for};
use crate::Misuse;
use crate::message::{Content, Method, Status};
use crate::ua::{Ended, Event, NewInvite, NewRefer, NewSubscription, Reason, UserAgent};
use crate::{Cause, DialogId, Instant, Machine, RegistrationId, TransactionUser};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// Which calls are placed.
#[derive(Clone, Debug)]
pub struct UacOptions {
    /// Whom to call.
    pub uri: String,
    /// How many calls.
    pub calls: u64,
    /// How many a second.
    pub rate: u32,
    /// How long a call that is answered lasts.
    pub hold: Duration,
    /// When a call is given up.
    pub cancel_after: Option<Duration>,
    /// The final status of a call that counts as completed.
    pub expect: Status,
    /// What is done within each call before it is hung up.
    pub within: Within,
    /// Subscribe to this event package in place of calling; completed is what was notified until its end.
    pub subscribe: Option<String>,
    /// Where the agent registers before the first call.
    pub register: Option<Enrolment>,
}

/// What is done within a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Within {
    /// Nothing.
    Nothing,
    /// It is put on hold and taken back, by re-INVITEs.
    Hold,
    /// The peer is referred to this URI, and what becomes of that is waited for.
    Refer(String),
}

impl UacOptions {
    /// One call that is hung up at once.
    pub fn new(uri: &str) -> Self {
        Self {
            uri: uri.into(),
            calls: 1,
            rate: 10,
            hold: Duration::ZERO,
            cancel_after: None,
            expect: Status::OK,
            within: Within::Nothing,
            subscribe: None,
            register: None,
        }
    }
}

/// Places calls at a fixed rate and hangs them up.
#[derive(Debug)]
pub struct Uac {
    options: UacOptions,
    agenda: Agenda,
    start: Option<Instant>,
    now: Instant,
    /// When the last call ended.
    last: Instant,
    /// Every call that was placed, by its number.
    calls: Vec<Placed>,
    completed: u64,
    failed: u64,
    setup: Vec<Duration>,
    /// Final statuses that were not the expected one; a timeout counts as 408, a transport error as 503.
    unexpected: BTreeMap<Status, u64>,
    /// Whether a refusal may come again, whose ACK was lost.
    lingering: bool,
    /// Until when copies of a final response are still acknowledged.
    linger: Instant,
    /// What was sent again when that was last looked at.
    repeated: u64,
    enrolment: Enrolled,
    /// It was asked to end before its calls were over.
    stopped: bool,
}

/// How far the registration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Enrolled {
    /// It is not needed, or not begun.
    No,
    Asked,
    Yes(RegistrationId),
    Leaving,
    /// It is over, or was refused.
    Over,
}

/// How long the agent stays after the last ACK for a refusal: a peer that has not had it sends its refusal again within T2.
const LINGER: Duration = Duration::from_secs(5);
/// How long it stays in any case: a connection that closes with the last answer looks as if it were lost in mid-call.
const PAUSE: Duration = Duration::from_millis(200);

/// Between the steps within a call.
const STEP: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
struct Placed {
    at: Instant,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Open,
    /// Answered; it is over when it is hung up.
    Up {
        dialog: DialogId,
        expected: bool,
        /// How many steps within it are done.
        steps: u8,
    },
    /// A subscription that was notified.
    Notified,
    Over,
}

impl Uac {
    /// An agent with these options. The first call is placed by the first [`advance`](TransactionUser::advance).
    pub fn new(options: UacOptions) -> Self {
        Self {
            options,
            agenda: Agenda::default(),
            start: None,
            now: Instant::ZERO,
            last: Instant::ZERO,
            calls: Vec::new(),
            completed: 0,
            failed: 0,
            setup: Vec::new(),
            unexpected: BTreeMap::new(),
            lingering: false,
            linger: Instant::ZERO,
            repeated: 0,
            enrolment: Enrolled::No,
            stopped: false,
        }
    }

    /// Whether the registrar would not have this agent.
    pub fn was_refused(&self) -> bool {
        self.enrolment == Enrolled::Over && self.start.is_none() && !self.stopped
    }

    /// Whether any call failed.
    pub const fn has_failed(&self) -> bool {
        self.failed > 0
    }

    /// Final statuses other than the expected one, and how often; a timeout counts as 408, a transport error as 503.
    pub fn unexpected(&self) -> impl Iterator<Item = (Status, u64)> {
        self.unexpected.iter().map(|(status, count)| (*status, *count))
    }

    /// Calls that ended as they should.
    pub const fn completed(&self) -> u64 {
        self.completed
    }

    /// Calls that are over.
    pub const fn done(&self) -> u64 {
        self.completed + self.failed
    }

    /// What it did, as one line of `key=value`.
    pub fn report(&self, machine: &UserAgent) -> String {
        let mut setup = self.setup.clone();
        setup.sort_unstable();
        let percentile = |percent: usize| {
            let at = (setup.len() * percent).div_ceil(100).saturating_sub(1);
            setup.get(at).map_or(0.0, |duration| duration.as_secs_f64() * 1_000.0)
        };
        let end = if self.done() >= self.options.calls { self.last } else { self.now };
        format!(
            "calls={} completed={} failed={} retransmissions_out={} setup_ms_p50={:.3} setup_ms_p99={:.3} \
             wall_seconds={:.3}",
            self.calls.len(),
            self.completed,
            self.failed,
            machine.stats().retransmissions_out,
            percentile(50),
            percentile(99),
            end.since(self.start.unwrap_or(end)).as_secs_f64(),
        )
    }

    /// When the call of this number is to be placed.
    fn due(&self, number: usize) -> Option<Instant> {
        let start = self.start?;
        let micros = number as u64 * 1_000_000 / u64::from(self.options.rate.max(1));
        Some(start + Duration::from_micros(micros))
    }

    fn place(&mut self, now: Instant, machine: &mut UserAgent) {
        if let Some(package) = &self.options.subscribe {
            let user = self.calls.len() as u64;
            let new = NewSubscription { user, ..NewSubscription::new(&self.options.uri, package) };
            let placed = machine.subscribe(now, &new).is_ok();
            let outcome = if placed { Outcome::Open } else { Outcome::Over };
            self.calls.push(Placed { at: now, outcome });
            self.failed += u64::from(!placed);
            return;
        }
        let invite = NewInvite {
            user: self.calls.len() as u64,
            content: SESSION,
            ..NewInvite::new(&self.options.uri)
        };
        let placed = machine.invite(now, &invite);
        let outcome = if placed.is_ok() { Outcome::Open } else { Outcome::Over };
        self.calls.push(Placed { at: now, outcome });
        match placed {
            Err(_) => self.failed += 1,
            Ok(invitation) => {
                if let Some(after) = self.options.cancel_after {
                    self.agenda.add(now + after, Task::Cancel(invitation));
                }
            }
        }
    }

    /// A final status, the first one for this call; `up` if it is answered.
    fn on_final(&mut self, now: Instant, user: u64, status: Status, up: Option<DialogId>) {
        let call = self.calls.get_mut(user as usize);
        let Some(call) = call.filter(|call| call.outcome == Outcome::Open) else { return };
        let expected = status == self.options.expect;
        if expected {
            self.setup.push(now.since(call.at));
        } else {
            *self.unexpected.entry(status).or_default() += 1;
        }
        if let Some(dialog) = up {
            call.outcome = Outcome::Up { dialog, expected, steps: 0 };
        } else {
            call.outcome = Outcome::Over;
            self.count(expected);
        }
    }

    /// The next step within a call; after the last it is hung up.
    fn step(&mut self, now: Instant, machine: &mut UserAgent, dialog: DialogId) {
        let found = self.calls.iter_mut().enumerate().find_map(|(user, call)| match &mut call.outcome {
            Outcome::Up { dialog: up, steps, .. } if *up == dialog => Some((user as u64, steps)),
            _ => None,
        });
        let Some((user, steps)) = found else { return };
        let step = *steps;
        *steps += 1;
        let done = match (&self.options.within, step) {
            (Within::Hold, 0) => machine.request_in(now, dialog, Method::Invite, user, &HOLD).map(|_| ()),
            (Within::Hold, 1) => machine.request_in(now, dialog, Method::Invite, user, &SESSION).map(|_| ()),
            (Within::Refer(uri), 0) => {
                let refer_to = format!("<{uri}>");
                machine.refer_in(now, dialog, &NewRefer { user, ..NewRefer::new(&refer_to) }).map(|_| ())
            }
            _ => return self.agenda.add(now + self.options.hold, Task::HangUp(dialog)),
        };
        // What can't be done is not waited for; only if the peer's own request stands against it, nobody is to blame.
        if let Err(misuse) = done {
            self.stepped(now, user, misuse == Misuse::WrongState);
        }
    }

    /// A step within a call has ended: whether as it should.
    fn stepped(&mut self, now: Instant, user: u64, well: bool) {
        let Some(call) = self.calls.get_mut(user as usize) else { return };
        if let Outcome::Up { dialog, expected, .. } = &mut call.outcome {
            *expected &= well;
            let dialog = *dialog;
            self.agenda.add(now + STEP, Task::Within(dialog));
        }
    }

    /// Whether all calls are done.
    fn has_called(&self) -> bool {
        self.done() >= self.options.calls
    }

    fn count(&mut self, expected: bool) {
        self.last = self.now;
        self.linger = self.linger.max(self.now + PAUSE);
        if expected {
            self.completed += 1;
        } else {
            self.failed += 1;
        }
    }
}

impl TransactionUser<UserAgent> for Uac {
    fn event(&mut self, now: Instant, machine: &mut UserAgent, event: Event<'_>) {
        self.now = now;
        match event {
            Event::Answered { user, dialog, wants_answer, response, .. } => {
                if wants_answer {
                    let _ = machine.ack(now, dialog, &SESSION);
                }
                self.on_final(now, user, response.status(), Some(dialog));
                let (after, task) = match self.options.within {
                    Within::Nothing => (self.options.hold, Task::HangUp(dialog)),
                    _ => (STEP, Task::Within(dialog)),
                };
                self.agenda.add(now + after, task);
            }
            Event::Response { user, response, .. } if response.status().is_final() => {
                self.stepped(now, user, response.status().is_success());
            }
            Event::RequestEnded { user, cause: Cause::Timeout | Cause::TransportError, .. } => {
                self.stepped(now, user, false);
            }
            // RFC 3515 §2.4.5: how what was referred to goes.
            Event::Notified { user, request, .. } if self.options.subscribe.is_none() => {
                let failed = request.body().strip_prefix(b"SIP/2.0 ").and_then(|rest| rest.first());
                let failed = failed.is_some_and(|class| (b'3'..=b'6').contains(class));
                if let Some(Outcome::Up { expected, .. }) =
                    self.calls.get_mut(user as usize).map(|call| &mut call.outcome)
                {
                    *expected &= !failed;
                }
            }
            Event::Notified { user, .. } => {
                if let Some(call) = self.calls.get_mut(user as usize) {
                    if call.outcome == Outcome::Open {
                        self.setup.push(now.since(call.at));
                        call.outcome = Outcome::Notified;
                    }
                }
            }
            Event::SubscriptionEnded { user, reason, .. } => {
                let well = !matches!(reason, Ended::Refused | Ended::NoAnswer | Ended::Lost);
                if self.options.subscribe.is_none() {
                    return self.stepped(now, user, well);
                }
                // Another fork may have counted before.
                let call = self.calls.get_mut(user as usize).filter(|call| call.outcome != Outcome::Over);
                if let Some(call) = call {
                    let notified = core::mem::replace(&mut call.outcome, Outcome::Over) == Outcome::Notified;
                    self.count(notified && well);
                }
            }
            Event::Registered { registration, .. } if self.enrolment == Enrolled::Asked => {
                self.enrolment = Enrolled::Yes(registration);
            }
            Event::RegistrationEnded { .. } => self.enrolment = Enrolled::Over,
            Event::Refused { invitation, user, response } => {
                self.on_final(now, user, response.status(), None);
                if machine.awaits_copies(invitation) {
                    self.lingering = true;
                    self.linger = self.linger.max(now + LINGER);
                    self.repeated = machine.stats().retransmissions_out;
                }
            }
            Event::InvitationEnded { user, cause, .. } => match cause {
                Cause::Timeout => self.on_final(now, user, Status::REQUEST_TIMEOUT, None),
                Cause::TransportError => self.on_final(now, user, Status::SERVICE_UNAVAILABLE, None),
                // Nothing else has ended it: a 2xx for which there was no room.
                _ => {
                    let call = self.calls.get_mut(user as usize);
                    if let Some(call) = call.filter(|call| call.outcome == Outcome::Open) {
                        call.outcome = Outcome::Over;
                        self.count(false);
                    }
                }
            },
            Event::Incoming { dialog, .. } => {
                let _ = machine.reject(now, dialog, Status::BUSY_HERE, &Content::NONE);
            }
            Event::Request { txn, dialog, request, .. } => {
                let session = session_for(machine, dialog, &request);
                let _ = machine.respond(now, txn, Status::OK, &session);
            }
            Event::Ended { user, dialog, reason } => {
                let Some(call) = self.calls.get_mut(user as usize) else { return };
                // Early dialogs of other forks end too.
                if let Outcome::Up { dialog: up, expected, .. } = call.outcome {
                    if up == dialog {
                        call.outcome = Outcome::Over;
                        let cut =
                            matches!(reason, Reason::ByeUnanswered | Reason::Unreachable | Reason::Lost);
                        self.count(expected && !cut);
                    }
                }
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let next = match self.start {
            None if matches!(self.enrolment, Enrolled::Asked | Enrolled::Over) => None,
            None => Some(Instant::ZERO),
            Some(_) if (self.calls.len() as u64) < self.options.calls => self.due(self.calls.len()),
            // Once the registrar is asked to forget, its answer is waited for.
            Some(_) => {
                let waits = !self.has_called() || self.enrolment == Enrolled::Leaving;
                (!waits).then_some(self.linger)
            }
        };
        next.into_iter().chain(self.agenda.next()).min()
    }

    fn advance(&mut self, now: Instant, machine: &mut UserAgent) {
        self.now = now;
        if let (Enrolled::No, Some(enrolment)) = (self.enrolment, &self.options.register) {
            let asked = enrolment.register(now, machine);
            self.enrolment = if asked.is_ok() { Enrolled::Asked } else { Enrolled::Over };
        }
        if self.start.is_none() && matches!(self.enrolment, Enrolled::Asked | Enrolled::Over) {
            return;
        }
        self.start.get_or_insert(now);
        while (self.calls.len() as u64) < self.options.calls
            && self.due(self.calls.len()).is_some_and(|due| due <= now)
        {
            self.place(now, machine);
        }
        if self.lingering && self.done() >= self.options.calls && now >= self.linger {
            let repeated = machine.stats().retransmissions_out;
            if core::mem::replace(&mut self.repeated, repeated) != repeated {
                self.linger = now + LINGER;
            }
        }
        while let Some(task) = self.agenda.take(now) {
            // Whom it concerns may be gone by now; then there is nothing to do.
            let _ = match task {
                Task::HangUp(dialog) => machine.bye(now, dialog, &Content::NONE),
                Task::Cancel(invitation) => machine.cancel(now, invitation),
                Task::Within(dialog) => {
                    self.step(now, machine, dialog);
                    Ok(())
                }
                Task::Answer(_) | Task::EndPresence(_) | Task::Referred(_) | Task::Enrol => Ok(()),
            };
        }
        if let (Enrolled::Yes(registration), true) = (self.enrolment, self.has_called()) {
            let left = machine.unregister(now, registration);
            self.enrolment = if left.is_ok() { Enrolled::Leaving } else { Enrolled::Over };
        }
    }

    fn stop(&mut self, now: Instant, machine: &mut UserAgent) -> bool {
        let Enrolled::Yes(registration) = self.enrolment else { return false };
        self.stopped = machine.unregister(now, registration).is_ok();
        self.enrolment = if self.stopped { Enrolled::Leaving } else { Enrolled::Over };
        self.stopped
    }

    fn is_done(&self) -> bool {
        let settled = matches!(self.enrolment, Enrolled::No | Enrolled::Over);
        self.stopped && settled
            || self.was_refused()
            || (self.has_called() && self.now >= self.linger && settled)
    }
}
