//! What the machines ask for.

use super::Timer;
use arrayvec::ArrayVec;

/// One thing that a machine wants done, in the order of the list it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Send a message to the peer.
    Send(Send),
    /// Start a timer, or start it again.
    Set(Timer, Delay),
    /// Stop a timer.
    Stop(Timer),
    /// Tell the transaction user.
    Tell(Report),
    /// What the transaction user asked for must not be done here.
    Refuse,
}

/// Which message to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Send {
    /// The request of a client transaction, the same bytes each time.
    Request,
    /// The ACK for a final response other than 2xx, the same bytes each time (RFC 3261 §17.1.1.3).
    Ack,
    /// A CANCEL, in a transaction of its own (RFC 3261 §9.1).
    Cancel,
    /// The response that the transaction user has just given.
    Response,
    /// The last response once more, the same bytes.
    Last,
    /// A 100 (Trying) made by the transaction.
    Trying,
    /// A 500 in place of the answer that never came.
    Failure,
}

/// How long a timer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delay {
    /// Its first value: [`Timers::first`](super::Timers::first).
    First,
    /// Twice what it was.
    Doubled,
    /// Twice what it was, at most T2.
    Capped,
    /// T2.
    T2,
}

/// What the transaction user is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// A new request.
    Request,
    /// An ACK that belongs to a 2xx.
    Ack,
    /// A response.
    Response,
    /// No response came in time; a 408 in the eyes of the transaction user (RFC 3261 §8.1.3.1).
    Timeout,
    /// The message could not be sent; a 503 in the eyes of the transaction user.
    TransportError,
    /// The final response of an IST was never acknowledged (RFC 3261 §17.2.1).
    NoAck,
    /// The transaction user has not answered in the time that every request is given.
    Unanswered,
}

/// The outcome of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<S> {
    /// The state after it.
    pub next: S,
    /// What is to be done, in this order.
    pub actions: ArrayVec<Action, 6>,
}

impl<S> Step<S> {
    pub(super) fn to<const N: usize>(next: S, actions: [Action; N]) -> Self {
        Self { next, actions: actions.into_iter().collect() }
    }

    pub(super) fn map<T>(self, wrap: impl FnOnce(S) -> T) -> Step<T> {
        Step { next: wrap(self.next), actions: self.actions }
    }
}
