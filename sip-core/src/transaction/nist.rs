//! The non-INVITE server transaction (RFC 3261 §17.2.2, RFC 4320 §4).
//!
//! ```text
//!                       request
//!                          ▼          200-699 from TU
//!     request: nothing   Trying ─────────────────────┐
//!                          │ 100 from TU, or 3.5 s   │
//!   request: last 1xx ┌──┐ ▼                         │
//!   100 from TU       └─► Proceeding                 │
//!                          │ 200-699 from TU         │
//!   request:          ┌──┐ ▼                         │
//!   final response    └─► Completed ◄────────────────┘
//!                          │ Timer J
//!                          ▼
//!                      Terminated
//! ```
//!
//! Decided where texts are silent or disagree: a transport error ends nothing (RFC 6026 §8.8 over figure 8 of RFC 3261);
//! a transaction whose user never answers is forgotten in silence (RFC 4320 §4.2 forbids the 408).

use super::{Action, Delay, Report, Send, Step, Timer};
use crate::transport::Reliability;

/// The states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing sent yet.
    Trying,
    /// A 100 was sent.
    Proceeding,
    /// The final response was sent.
    Completed,
    /// Over.
    Terminated,
}

/// The events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The request once more.
    Request,
    /// The transaction user answers with 100.
    Trying {
        /// Whether the client's Timer E has reached T2 by now (RFC 4320 §4.1).
        due: bool,
    },
    /// The transaction user answers with 101 to 199.
    Provisional,
    /// The transaction user answers with 408.
    RequestTimeout,
    /// The transaction user answers with another final response.
    Final,
    /// A response could not be sent.
    TransportError,
    /// A timer's time has come.
    Timer(Timer),
}

/// Starts the transaction.
pub fn start(_: Reliability) -> Step<State> {
    use Action::{Set, Tell};
    Step::to(
        State::Trying,
        [Tell(Report::Request), Set(Timer::LateTrying, Delay::First), Set(Timer::Unanswered, Delay::First)],
    )
}

/// Takes one event.
pub fn step(state: State, event: Event, transport: Reliability) -> Step<State> {
    use Action::{Refuse, Send as Do, Set, Stop, Tell};
    use State::{Completed, Proceeding, Terminated, Trying};
    match (state, event) {
        // RFC 4320 §4.1: on an unreliable transport no 100 before the client has slowed down to T2.
        (Trying, Event::Trying { due: false }) if transport == Reliability::Unreliable => {
            Step::to(Trying, [Refuse])
        }
        (Trying, Event::Trying { .. }) => Step::to(Proceeding, [Do(Send::Response), Stop(Timer::LateTrying)]),
        (Trying, Event::Timer(Timer::LateTrying)) => Step::to(Proceeding, [Do(Send::Trying)]),
        (Proceeding, Event::Trying { .. }) => Step::to(Proceeding, [Do(Send::Response)]),
        (Trying | Proceeding, Event::Provisional | Event::RequestTimeout) => Step::to(state, [Refuse]),
        (Trying | Proceeding, Event::Final) => {
            Step::to(Completed, [Do(Send::Response), Stop(Timer::LateTrying), Set(Timer::J, Delay::First)])
        }
        (Trying | Proceeding, Event::Timer(Timer::Unanswered)) => {
            Step::to(Terminated, [Tell(Report::Unanswered), Stop(Timer::LateTrying)])
        }
        (Proceeding | Completed, Event::Request) => Step::to(state, [Do(Send::Last)]),
        (Proceeding | Completed, Event::TransportError) => Step::to(state, [Tell(Report::TransportError)]),
        (Completed, Event::Timer(Timer::J)) => Step::to(Terminated, []),
        _ => Step::to(state, []),
    }
}
