//! The non-INVITE client transaction (RFC 3261 §17.1.2).
//!
//! ```text
//!                     request from TU
//!       Timer E ┌──┐        ▼         Timer F, transport error
//!       request └─►  Trying ──────────────────────────────┐
//!                      │ 1xx     └──── 200-699 ──┐        │
//!   1xx, Timer E ┌──┐  ▼                         │        │
//!        request └─► Proceeding ─────────────────┼──────► │
//!                      │ 200-699                 │        │
//!      responses ┌──┐  ▼                         │        │
//!                └─► Completed ◄─────────────────┘        │
//!                      │ Timer K                          ▼
//!                      └──────────────────────────►  Terminated
//! ```

use super::{Action, Delay, Report, Send, Step, Timer};
use crate::transport::Reliability::{self, Unreliable};

/// The states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Request sent, nothing heard.
    Trying,
    /// A provisional response came.
    Proceeding,
    /// A final response came.
    Completed,
    /// Over.
    Terminated,
}

/// The events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// 100 to 199.
    Provisional,
    /// 200 to 699.
    Final,
    /// The request could not be sent.
    TransportError,
    /// A timer's time has come.
    Timer(Timer),
}

/// Starts the transaction.
pub fn start(transport: Reliability) -> Step<State> {
    use Action::{Send as Do, Set};
    match transport {
        Unreliable => Step::to(
            State::Trying,
            [Do(Send::Request), Set(Timer::E, Delay::First), Set(Timer::F, Delay::First)],
        ),
        Reliability::Reliable => Step::to(State::Trying, [Do(Send::Request), Set(Timer::F, Delay::First)]),
    }
}

/// Takes one event.
pub fn step(state: State, event: Event, transport: Reliability) -> Step<State> {
    use Action::{Send as Do, Set, Stop, Tell};
    use State::{Completed, Proceeding, Terminated, Trying};
    match (state, event) {
        (Trying, Event::Timer(Timer::E)) if transport == Unreliable => {
            Step::to(Trying, [Do(Send::Request), Set(Timer::E, Delay::Capped)])
        }
        (Proceeding, Event::Timer(Timer::E)) if transport == Unreliable => {
            Step::to(Proceeding, [Do(Send::Request), Set(Timer::E, Delay::T2)])
        }
        (Trying | Proceeding, Event::Timer(Timer::F)) => {
            Step::to(Terminated, [Tell(Report::Timeout), Stop(Timer::E)])
        }
        (Trying | Proceeding, Event::TransportError) => {
            Step::to(Terminated, [Tell(Report::TransportError), Stop(Timer::E), Stop(Timer::F)])
        }
        // Timer E runs on to where it stands, Timer F too.
        (Trying | Proceeding, Event::Provisional) => Step::to(Proceeding, [Tell(Report::Response)]),
        (Trying | Proceeding, Event::Final) => Step::to(
            Completed,
            [Tell(Report::Response), Stop(Timer::E), Stop(Timer::F), Set(Timer::K, Delay::First)],
        ),
        (Completed, Event::Timer(Timer::K)) => Step::to(Terminated, []),
        _ => Step::to(state, []),
    }
}
