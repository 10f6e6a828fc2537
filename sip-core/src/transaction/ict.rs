//! The INVITE client transaction (RFC 3261 §17.1.1, RFC 6026 §8.4).
//!
//! ```text
//!                      INVITE from TU
//!        Timer A ┌──┐       ▼            Timer B, transport error
//!        INVITE  └─►  Calling ─────────────────────────────────┐
//!                    1xx │  │ 2xx        └─ 300-699 ──┐ ACK   │
//!            1xx ┌──┐    ▼  └───────────┐             │       │
//!                └─► Proceeding ────────┤ 2xx         │       │
//!                        │ 300-699, ACK │             │       │
//!   300-699 ┌──┐         ▼              ▼             │       │
//!   ACK     └─► Completed ◄──────── Accepted ◄─┐ 2xx  │       │
//!                 │ Timer D   (from Calling)   └──┘   │       │
//!                 ▼              │ Timer M            │       ▼
//!             Terminated ◄───────┴────────────────────┴── Terminated
//! ```

use super::{Action, Delay, Report, Send, Step, Timer};
use crate::transport::Reliability::{self, Unreliable};

/// The states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// INVITE sent, nothing heard. A CANCEL must wait for the first provisional response (RFC 3261 §9.1).
    Calling {
        /// Whether a CANCEL waits.
        cancel: bool,
    },
    /// A provisional response came.
    Proceeding {
        /// Whether a CANCEL was sent.
        cancelled: bool,
    },
    /// A final response other than 2xx came and was acknowledged.
    Completed,
    /// A 2xx came; more may follow (RFC 6026).
    Accepted,
    /// Over.
    Terminated,
}

impl State {
    /// Whether a CANCEL may be asked for, and has not been sent.
    pub(crate) const fn takes_cancel(self) -> bool {
        matches!(self, Self::Calling { .. } | Self::Proceeding { cancelled: false })
    }
}

/// The events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// 100.
    Trying,
    /// 101 to 199.
    Provisional,
    /// 200 to 299.
    Success,
    /// 300 to 699.
    Failure,
    /// The transaction user wants the INVITE cancelled.
    Cancel,
    /// The request or the ACK could not be sent.
    TransportError,
    /// The connection is gone that the response would come by (RFC 3261 §17.1.4).
    ConnectionLost,
    /// A timer's time has come.
    Timer(Timer),
}

/// Starts the transaction.
pub fn start(transport: Reliability) -> Step<State> {
    use Action::{Send as Do, Set};
    let next = State::Calling { cancel: false };
    match transport {
        Unreliable => {
            Step::to(next, [Do(Send::Request), Set(Timer::A, Delay::First), Set(Timer::B, Delay::First)])
        }
        Reliability::Reliable => Step::to(next, [Do(Send::Request), Set(Timer::B, Delay::First)]),
    }
}

/// Takes one event.
pub fn step(state: State, event: Event, transport: Reliability) -> Step<State> {
    use Action::{Send as Do, Set, Stop, Tell};
    use State::{Accepted, Calling, Completed, Proceeding, Terminated};
    const TELL: Action = Tell(Report::Response);
    let stop = [Stop(Timer::A), Stop(Timer::B)];
    match (state, event) {
        (Calling { .. }, Event::Timer(Timer::A)) if transport == Unreliable => {
            // RFC 3261 §17.1.1.2: doubles without a cap.
            Step::to(state, [Do(Send::Request), Set(Timer::A, Delay::Doubled)])
        }
        (Calling { .. }, Event::Timer(Timer::B)) => {
            Step::to(Terminated, [Tell(Report::Timeout), Stop(Timer::A)])
        }
        (Calling { .. } | Proceeding { .. }, Event::ConnectionLost)
        | (Calling { .. }, Event::TransportError) => {
            Step::to(Terminated, [Tell(Report::TransportError), stop[0], stop[1]])
        }
        (Calling { cancel: false }, Event::Cancel) => Step::to(Calling { cancel: true }, []),
        (Calling { cancel: false }, Event::Trying | Event::Provisional) => Step::to(
            Proceeding { cancelled: false },
            [TELL, stop[0], stop[1], Set(Timer::Ringing, Delay::First), Set(Timer::Rport, Delay::First)],
        ),
        (Calling { cancel: true }, Event::Trying | Event::Provisional) => Step::to(
            Proceeding { cancelled: true },
            [TELL, stop[0], stop[1], Do(Send::Cancel), Set(Timer::Cancelled, Delay::First)],
        ),
        (Calling { .. }, Event::Success) => {
            Step::to(Accepted, [TELL, stop[0], stop[1], Set(Timer::M, Delay::First)])
        }
        (Calling { .. }, Event::Failure) => {
            Step::to(Completed, [TELL, Do(Send::Ack), stop[0], stop[1], Set(Timer::D, Delay::First)])
        }

        (Proceeding { .. }, Event::Trying) => Step::to(state, [TELL]),
        (Proceeding { cancelled: false }, Event::Provisional) => {
            Step::to(state, [TELL, Set(Timer::Ringing, Delay::First)])
        }
        (Proceeding { cancelled: true }, Event::Provisional) => Step::to(state, [TELL]),
        (Proceeding { .. }, Event::Success) => {
            Step::to(Accepted, [TELL, Stop(Timer::Rport), Set(Timer::M, Delay::First)])
        }
        (Proceeding { .. }, Event::Failure) => {
            Step::to(Completed, [TELL, Do(Send::Ack), Stop(Timer::Rport), Set(Timer::D, Delay::First)])
        }
        (Proceeding { cancelled: false }, Event::Cancel | Event::Timer(Timer::Ringing)) => {
            Step::to(Proceeding { cancelled: true }, [Do(Send::Cancel), Set(Timer::Cancelled, Delay::First)])
        }
        (Proceeding { cancelled: true }, Event::Timer(Timer::Cancelled)) => {
            // RFC 3261 §9.1: 64·T1 after the CANCEL the INVITE counts as cancelled.
            Step::to(Terminated, [Tell(Report::Timeout), Stop(Timer::Rport)])
        }
        (Proceeding { .. }, Event::Timer(Timer::Rport)) if transport == Unreliable => {
            Step::to(state, [Do(Send::Request), Set(Timer::Rport, Delay::First)])
        }
        // Nothing is being sent here: the report is late.
        (Proceeding { .. }, Event::TransportError) => Step::to(state, [Tell(Report::TransportError)]),

        (Completed, Event::Failure) => Step::to(Completed, [Do(Send::Ack)]),
        (Completed, Event::Timer(Timer::D)) => Step::to(Terminated, []),
        (Completed, Event::TransportError) => {
            Step::to(Terminated, [Tell(Report::TransportError), Stop(Timer::D)])
        }

        // RFC 6026 §7.2: every 2xx goes up, of whatever fork, and the TU acknowledges it.
        (Accepted, Event::Success) => Step::to(Accepted, [TELL]),
        (Accepted, Event::Timer(Timer::M)) => Step::to(Terminated, []),

        _ => Step::to(state, []),
    }
}
