//! An agent that asks whether a peer lives.

use crate::message::{Method, Status};
use crate::ua::{Event, NewRequest, UserAgent};
use crate::{Cause, Instant, Misuse, RequestId, TransactionUser};
use alloc::string::String;

/// Sends one OPTIONS.
#[derive(Debug)]
pub struct Ping {
    uri: String,
    id: Option<RequestId>,
    outcome: Option<Result<Status, PingError>>,
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingError {
    /// The request could not be made.
    Misuse(Misuse),
    /// The transaction ended without a final response.
    Ended(Cause),
}

impl Ping {
    /// An agent that asks this URI, at the first [`advance`](TransactionUser::advance).
    pub fn new(uri: &str) -> Self {
        Self { uri: uri.into(), id: None, outcome: None }
    }

    /// The final status, or why there is none; nothing as long as neither is known.
    pub const fn outcome(&self) -> Option<Result<Status, PingError>> {
        self.outcome
    }
}

impl TransactionUser<UserAgent> for Ping {
    fn event(&mut self, _: Instant, _: &mut UserAgent, event: Event<'_>) {
        match event {
            Event::Response { id, response, .. } if Some(id) == self.id && response.status().is_final() => {
                self.outcome = Some(Ok(response.status()));
            }
            Event::RequestEnded { id, cause, .. } if Some(id) == self.id => {
                self.outcome.get_or_insert(Err(PingError::Ended(cause)));
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        (self.id.is_none() && self.outcome.is_none()).then_some(Instant::ZERO)
    }

    fn advance(&mut self, now: Instant, machine: &mut UserAgent) {
        if self.id.is_none() && self.outcome.is_none() {
            match machine.request(now, &NewRequest::new(Method::Options, &self.uri)) {
                Ok(id) => self.id = Some(id),
                Err(misuse) => self.outcome = Some(Err(PingError::Misuse(misuse))),
            }
        }
    }

    fn is_done(&self) -> bool {
        self.outcome.is_some()
    }
}
