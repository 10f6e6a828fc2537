//! The INVITE server transaction (RFC 3261 §17.2.1, RFC 6026 §8.5).
//!
//! ```text
//!                          INVITE
//!   INVITE: last 1xx ┌──┐    ▼         2xx from TU
//!   1xx from TU      └─► Proceeding ────────────────┐
//!                            │ 300-699 from TU      │
//!   INVITE, Timer G: ┌──┐    ▼                      ▼
//!   final response   └─► Completed ──┐          Accepted ◄──┐ 2xx from TU: send
//!                    ACK     │       │ Timer H    │   └─────┘ ACK: to TU
//!                            ▼       │            │ Timer L
//!                        Confirmed   │            │
//!                    Timer I │       ▼            ▼
//!                            └────► Terminated ◄──┘
//! ```
//!
//! Decided where texts are silent or disagree: Timer H tells the TU, by the text of RFC 3261 §17.2.1; an INVITE that
//! comes again before anything was sent is answered by the automatic 100 at once; a transport error ends nothing
//! (RFC 6026 §7.1).

use super::{Action, Delay, Report, Send, Step, Timer};
use crate::transport::Reliability::{self, Unreliable};

/// The states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No final response yet.
    Proceeding {
        /// Whether a provisional response was sent.
        answered: bool,
    },
    /// A final response other than 2xx was sent, no ACK has come.
    Completed,
    /// The ACK came.
    Confirmed,
    /// A 2xx was sent (RFC 6026).
    Accepted,
    /// Over.
    Terminated,
}

/// The events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The INVITE once more.
    Invite,
    /// An ACK.
    Ack,
    /// The transaction user answers with 100 to 199.
    Provisional,
    /// The transaction user answers with 200 to 299.
    Success,
    /// The transaction user answers with 300 to 699.
    Failure,
    /// A response could not be sent.
    TransportError,
    /// A timer's time has come.
    Timer(Timer),
}

/// Starts the transaction.
pub fn start(_: Reliability) -> Step<State> {
    use Action::{Set, Tell};
    Step::to(
        State::Proceeding { answered: false },
        [Tell(Report::Request), Set(Timer::Trying, Delay::First), Set(Timer::UnansweredInvite, Delay::First)],
    )
}

/// Takes one event.
pub fn step(state: State, event: Event, transport: Reliability) -> Step<State> {
    use Action::{Send as Do, Set, Stop, Tell};
    use State::{Accepted, Completed, Confirmed, Proceeding, Terminated};
    match (state, event) {
        (Proceeding { answered: false }, Event::Timer(Timer::Trying)) => {
            Step::to(Proceeding { answered: true }, [Do(Send::Trying)])
        }
        (Proceeding { answered: false }, Event::Invite) => {
            Step::to(Proceeding { answered: true }, [Do(Send::Trying), Stop(Timer::Trying)])
        }
        (Proceeding { answered: true }, Event::Invite) => Step::to(state, [Do(Send::Last)]),
        (Proceeding { .. }, Event::Provisional) => Step::to(
            Proceeding { answered: true },
            [Do(Send::Response), Stop(Timer::Trying), Set(Timer::UnansweredInvite, Delay::First)],
        ),
        (Proceeding { .. }, Event::Success) => {
            Step::to(Accepted, [Do(Send::Response), Stop(Timer::Trying), Set(Timer::L, Delay::First)])
        }
        (Proceeding { .. }, Event::Failure) => fail(Send::Response, transport, []),
        (Proceeding { .. }, Event::Timer(Timer::UnansweredInvite)) => {
            fail(Send::Failure, transport, [Tell(Report::Unanswered)])
        }

        (Completed, Event::Invite) => Step::to(Completed, [Do(Send::Last)]),
        (Completed, Event::Timer(Timer::G)) if transport == Unreliable => {
            Step::to(Completed, [Do(Send::Last), Set(Timer::G, Delay::Capped)])
        }
        (Completed, Event::Ack) => {
            Step::to(Confirmed, [Stop(Timer::G), Stop(Timer::H), Set(Timer::I, Delay::First)])
        }
        (Completed, Event::Timer(Timer::H)) => Step::to(Terminated, [Tell(Report::NoAck), Stop(Timer::G)]),

        (Confirmed, Event::Timer(Timer::I)) => Step::to(Terminated, []),

        (Accepted, Event::Success) => Step::to(Accepted, [Do(Send::Response)]),
        // RFC 6026 §7.1: an ACK that matches comes from an RFC 2543 client, or from one that uses the branch again.
        (Accepted, Event::Ack) => Step::to(Accepted, [Tell(Report::Ack)]),
        (Accepted, Event::Timer(Timer::L)) => Step::to(Terminated, []),

        (Proceeding { .. } | Completed | Accepted, Event::TransportError) => {
            Step::to(state, [Tell(Report::TransportError)])
        }
        _ => Step::to(state, []),
    }
}

/// Sends a final response other than 2xx.
fn fail<const N: usize>(response: Send, transport: Reliability, then: [Action; N]) -> Step<State> {
    let mut step = Step::to(State::Completed, [Action::Send(response), Action::Stop(Timer::Trying)]);
    if transport == Unreliable {
        step.actions.push(Action::Set(Timer::G, Delay::First));
    }
    step.actions.push(Action::Set(Timer::H, Delay::First));
    step.actions.extend(then);
    step
}
