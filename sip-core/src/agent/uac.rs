//! An agent that places calls.

use super::{Agenda, SESSION, Task};
use crate::message::{Content, Status};
use crate::ua::{Event, NewInvite, Reason, UserAgent};
use crate::{Cause, DialogId, Instant, Machine, TransactionUser};
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
}

/// How long the agent stays after the last ACK for a refusal: a peer that has not had it sends its refusal again within T2.
const LINGER: Duration = Duration::from_secs(5);
/// How long it stays in any case: a connection that closes with the last answer looks as if it were lost in mid-call.
const PAUSE: Duration = Duration::from_millis(200);

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
    },
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
        }
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
            call.outcome = Outcome::Up { dialog, expected };
        } else {
            call.outcome = Outcome::Over;
            self.count(expected);
        }
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
                self.agenda.add(now + self.options.hold, Task::HangUp(dialog));
            }
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
                _ => {}
            },
            Event::Ended { user, dialog, reason } => {
                let Some(call) = self.calls.get_mut(user as usize) else { return };
                // Early dialogs of other forks end too.
                if let Outcome::Up { dialog: up, expected } = call.outcome {
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
            None => Some(Instant::ZERO),
            Some(_) if (self.calls.len() as u64) < self.options.calls => self.due(self.calls.len()),
            Some(_) => (self.done() >= self.options.calls).then_some(self.linger),
        };
        next.into_iter().chain(self.agenda.next()).min()
    }

    fn advance(&mut self, now: Instant, machine: &mut UserAgent) {
        self.now = now;
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
                Task::Answer(_) => Ok(()),
            };
        }
    }

    fn is_done(&self) -> bool {
        self.done() >= self.options.calls && self.now >= self.linger
    }
}
