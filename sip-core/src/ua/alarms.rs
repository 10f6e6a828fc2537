//! What is due when: one timer for each thing that waits.

use super::WorkId;
use crate::handle::{Key, Slab};
use crate::time::{Instant, micros};
#[cfg(feature = "snapshot")]
use crate::transaction::Armed;
use crate::transaction::Lanes;
use core::time::Duration;

/// The name of a timer that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alarm(Key);

/// Whose time it is, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Caller: 64·T1 after the first 2xx the other early dialogs of this call are over (RFC 3261 §13.2.2.4).
    Forks(Key),
    /// Caller: the time that the INVITE gives the callee is over (RFC 3261 §13.2.1).
    CallExpires(Key),
    /// Callee: the same (RFC 3261 §13.3.1).
    RingingExpires(Key),
    /// Callee: a minute without a response; proxies want to hear that it still rings (RFC 3261 §13.3.1.1).
    StillRinging(Key),
    /// Callee: the 2xx of this dialog again, or no ACK in 64·T1 (RFC 3261 §13.3.1.4).
    Repeat2xx(Key),
    NoAck(Key),
    /// Callee: the reliable provisional response again, or no PRACK in 64·T1 (RFC 3262 §3).
    RepeatReliable(Key),
    NoPrack(Key),
    /// The session is to be refreshed, or was not (RFC 4028 §10).
    Refresh(Key),
    Unrefreshed(Key),
    /// A request that met another may go again (RFC 3261 §14.1).
    Again(WorkId),
    /// No NOTIFY has come since the SUBSCRIBE (RFC 6665 §4.1.2.4).
    TimerN(Key),
    /// A subscription is to be refreshed, or is over.
    SubscriptionRefresh(Key),
    SubscriptionOver(Key),
    /// A registration or publication is to be refreshed.
    Upkeep(Key),
    /// The connection that a registration is bound to is asked whether it lives, or was (RFC 5626 §4.4.1).
    KeepAlive(Key),
}

#[cfg(feature = "snapshot")]
impl Alarm {
    pub(super) const fn key(self) -> Key {
        self.0
    }

    pub(super) const fn of_key(key: Key) -> Self {
        Self(key)
    }
}

/// All timers of a user agent.
#[derive(Default)]
pub(super) struct Alarms {
    lanes: Lanes,
    set: Slab<Due>,
}

impl Alarms {
    pub(super) fn set(&mut self, now: Instant, after: Duration, due: Due) -> Alarm {
        let key = self.set.insert(due);
        self.lanes.arm(key.index, now, micros(after));
        Alarm(key)
    }

    /// Takes back a timer, if it is still set.
    pub(super) fn stop(&mut self, alarm: Option<Alarm>) {
        if let Some(Alarm(key)) = alarm {
            if self.set.remove(key).is_some() {
                self.lanes.disarm(key.index);
            }
        }
    }

    /// What a timer is set for from now on.
    pub(super) fn hand_over(&mut self, alarm: Option<Alarm>, due: Due) {
        if let Some(set) = alarm.and_then(|Alarm(key)| self.set.get_mut(key)) {
            *set = due;
        }
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.lanes.next().map(|(due, _)| due)
    }

    /// Takes the next one.
    pub(super) fn take(&mut self) -> Option<Due> {
        let (_, index) = self.lanes.next()?;
        self.lanes.disarm(index);
        self.set.remove(self.set.key_at(index)?)
    }
}

#[cfg(feature = "snapshot")]
impl Alarms {
    /// What a snapshot has of them.
    pub(super) const fn set_ones(&self) -> &Slab<Due> {
        &self.set
    }

    pub(super) fn armed(&self) -> Armed {
        self.lanes.armed()
    }

    /// The timers that say the same, if they do not contradict each other.
    pub(super) fn of(set: Slab<Due>, armed: Armed) -> Option<Self> {
        let most = (set.places() as u32).checked_sub(1);
        let lanes = match most {
            Some(most) => Lanes::of(armed, most)?,
            None => Lanes::default(),
        };
        Some(Self { lanes, set })
    }

    /// What a timer is set for.
    pub(super) fn what(&self, Alarm(key): Alarm) -> Option<Due> {
        self.set.get(key).copied()
    }

    /// When a timer is due that is set.
    pub(super) fn due(&self, Alarm(key): Alarm) -> Option<Instant> {
        self.set.get(key).and_then(|_| self.lanes.due_of(key.index))
    }
}
