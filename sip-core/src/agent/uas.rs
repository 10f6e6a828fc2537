//! An agent that answers calls.

use super::{Agenda, SESSION, Task};
use crate::message::{Content, Status};
use crate::ua::{Event, Reason, UserAgent};
use crate::{Instant, Machine, Stats, TransactionUser};
use alloc::format;
use alloc::string::String;
use core::time::Duration;

/// How calls are answered.
#[derive(Clone, Copy, Debug)]
pub struct UasOptions {
    /// How long a call rings before it is answered.
    pub ring: Duration,
    /// With what it is answered: 200 to accept it.
    pub answer: Status,
}

impl Default for UasOptions {
    fn default() -> Self {
        Self { ring: Duration::ZERO, answer: Status::OK }
    }
}

/// Rings, then accepts or rejects every call. OPTIONS and what is inside a dialog the user agent answers by itself.
#[derive(Debug, Default)]
pub struct Uas {
    options: UasOptions,
    agenda: Agenda,
    calls: u64,
    failed: u64,
    requests: u64,
}

impl Uas {
    /// An agent with these options.
    pub fn new(options: UasOptions) -> Self {
        Self { options, ..Self::default() }
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

    fn answer(&self, now: Instant, machine: &mut UserAgent, dialog: crate::DialogId) {
        let answered = if self.options.answer.is_success() {
            machine.accept(now, dialog, &SESSION)
        } else {
            machine.reject(now, dialog, self.options.answer, &Content::NONE)
        };
        // The caller may have cancelled while it rang.
        let _ = answered;
    }
}

impl TransactionUser<UserAgent> for Uas {
    fn event(&mut self, now: Instant, machine: &mut UserAgent, event: Event<'_>) {
        match event {
            Event::Incoming { dialog, .. } => {
                self.calls += 1;
                self.requests += 1;
                for status in [Status::TRYING, Status::RINGING] {
                    let _ = machine.ring(now, dialog, status, &Content::NONE);
                }
                if self.options.ring.is_zero() {
                    self.answer(now, machine, dialog);
                } else {
                    self.agenda.add(now + self.options.ring, Task::Answer(dialog));
                }
            }
            Event::Ended { reason: Reason::NoAck | Reason::Lost | Reason::Unreachable, .. } => {
                self.failed += 1
            }
            Event::Declined { .. } | Event::Served { .. } => self.requests += 1,
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.agenda.next()
    }

    fn advance(&mut self, now: Instant, machine: &mut UserAgent) {
        while let Some(Task::Answer(dialog)) = self.agenda.take(now) {
            self.answer(now, machine, dialog);
        }
    }
}
