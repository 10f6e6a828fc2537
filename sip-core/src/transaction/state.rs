//! The four machines as one.

use super::{Step, Timer, ict, ist, nict, nist};
use crate::transport::Reliability;

/// The state of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// INVITE client transaction.
    Ict(ict::State),
    /// Non-INVITE client transaction.
    Nict(nict::State),
    /// INVITE server transaction.
    Ist(ist::State),
    /// Non-INVITE server transaction.
    Nist(nist::State),
}

impl State {
    pub(super) const fn is_client(self) -> bool {
        matches!(self, Self::Ict(_) | Self::Nict(_))
    }

    /// Whether a server transaction waits for its user.
    pub(super) const fn is_unanswered(self) -> bool {
        matches!(
            self,
            Self::Ist(ist::State::Proceeding { .. })
                | Self::Nist(nist::State::Trying | nist::State::Proceeding)
        )
    }

    pub(super) const fn is_terminated(self) -> bool {
        matches!(
            self,
            Self::Ict(ict::State::Terminated)
                | Self::Nict(nict::State::Terminated)
                | Self::Ist(ist::State::Terminated)
                | Self::Nist(nist::State::Terminated)
        )
    }

    pub(super) fn on_timer(self, timer: Timer, on: Reliability) -> Step<Self> {
        match self {
            Self::Ict(state) => ict::step(state, ict::Event::Timer(timer), on).map(Self::Ict),
            Self::Nict(state) => nict::step(state, nict::Event::Timer(timer), on).map(Self::Nict),
            Self::Ist(state) => ist::step(state, ist::Event::Timer(timer), on).map(Self::Ist),
            Self::Nist(state) => nist::step(state, nist::Event::Timer(timer), on).map(Self::Nist),
        }
    }

    /// The connection of a client transaction is gone, and with it the way of its response.
    pub(super) fn on_connection_lost(self, on: Reliability) -> Step<Self> {
        match self {
            Self::Ict(state) => ict::step(state, ict::Event::ConnectionLost, on).map(Self::Ict),
            other => other.on_transport_error(on),
        }
    }

    pub(super) fn on_transport_error(self, on: Reliability) -> Step<Self> {
        match self {
            Self::Ict(state) => ict::step(state, ict::Event::TransportError, on).map(Self::Ict),
            Self::Nict(state) => nict::step(state, nict::Event::TransportError, on).map(Self::Nict),
            Self::Ist(state) => ist::step(state, ist::Event::TransportError, on).map(Self::Ist),
            Self::Nist(state) => nist::step(state, nist::Event::TransportError, on).map(Self::Nist),
        }
    }

    /// Which timer runs here. Each state has at the most one that repeats or answers, and one that ends.
    pub(super) const fn timer(self, end: bool) -> Option<Timer> {
        Some(match (self, end) {
            (Self::Ict(ict::State::Calling { .. }), false) => Timer::A,
            (Self::Ict(ict::State::Calling { .. }), true) => Timer::B,
            (Self::Ict(ict::State::Proceeding { .. }), false) => Timer::Rport,
            (Self::Ict(ict::State::Proceeding { cancelled: false }), true) => Timer::Ringing,
            (Self::Ict(ict::State::Proceeding { cancelled: true }), true) => Timer::Cancelled,
            (Self::Ict(ict::State::Completed), true) => Timer::D,
            (Self::Ict(ict::State::Accepted), true) => Timer::M,
            (Self::Nict(nict::State::Trying | nict::State::Proceeding), false) => Timer::E,
            (Self::Nict(nict::State::Trying | nict::State::Proceeding), true) => Timer::F,
            (Self::Nict(nict::State::Completed), true) => Timer::K,
            (Self::Ist(ist::State::Proceeding { .. }), false) => Timer::Trying,
            (Self::Ist(ist::State::Proceeding { .. }), true) => Timer::UnansweredInvite,
            (Self::Ist(ist::State::Completed), false) => Timer::G,
            (Self::Ist(ist::State::Completed), true) => Timer::H,
            (Self::Ist(ist::State::Confirmed), true) => Timer::I,
            (Self::Ist(ist::State::Accepted), true) => Timer::L,
            (Self::Nist(nist::State::Trying), false) => Timer::LateTrying,
            (Self::Nist(nist::State::Trying | nist::State::Proceeding), true) => Timer::Unanswered,
            (Self::Nist(nist::State::Completed), true) => Timer::J,
            _ => return None,
        })
    }
}

impl Timer {
    /// Whether the timer ends its state; the others repeat or answer.
    pub(super) const fn ends(self) -> bool {
        !matches!(self, Self::A | Self::E | Self::G | Self::Trying | Self::LateTrying | Self::Rport)
    }
}
