//! The timers by their letters, and their values (RFC 3261 appendix A, RFC 6026 §8.11).

use super::Delay;
use crate::time::micros;
use crate::transport::Reliability;
use core::time::Duration;

/// A timer of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Timer {
    /// INVITE sent again.
    A,
    /// INVITE without an answer.
    B,
    /// Final responses to an INVITE sent again by the peer.
    D,
    /// Request sent again.
    E,
    /// Request without a final response.
    F,
    /// Final response to an INVITE sent again.
    G,
    /// Final response to an INVITE without ACK.
    H,
    /// ACKs sent again by the peer.
    I,
    /// Requests sent again by the peer.
    J,
    /// Responses sent again by the peer.
    K,
    /// INVITEs sent again by the peer after a 2xx (RFC 6026).
    L,
    /// 2xx sent again by the peer, or by other forks (RFC 6026).
    M,
    /// 100 for an INVITE that the transaction user has not answered (RFC 3261 §17.2.1).
    Trying,
    /// 100 for another request that it has not answered (RFC 4320 §4.1).
    LateTrying,
    /// An INVITE that rings without end, at the client: CANCEL.
    Ringing,
    /// An INVITE without a final response though CANCEL was sent (RFC 3261 §9.1).
    Cancelled,
    /// INVITE sent again to keep the path through a NAT open (RFC 3581 §3).
    Rport,
    /// An INVITE that the transaction user never answers.
    UnansweredInvite,
    /// Another request that it never answers.
    Unanswered,
}

impl Timer {
    const ALL: [Self; 19] = [
        Self::A,
        Self::B,
        Self::D,
        Self::E,
        Self::F,
        Self::G,
        Self::H,
        Self::I,
        Self::J,
        Self::K,
        Self::L,
        Self::M,
        Self::Trying,
        Self::LateTrying,
        Self::Ringing,
        Self::Cancelled,
        Self::Rport,
        Self::UnansweredInvite,
        Self::Unanswered,
    ];
}

/// Which provisional responses but 100 let an INVITE ring as long again as at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Restart {
    /// Each (RFC 3261 §16.7, step 2).
    #[default]
    Each,
    /// The first, and from 180 on those with a higher code than all before: who says 180 without end does not keep others from their turn.
    Rising,
    /// The first alone.
    Never,
}

/// The values of the timers, for an endpoint or for one transaction.
///
/// `None` in a field named after a timer means the value that the standards derive from T1, T2 and T4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timers {
    /// Estimate of the round-trip time, 500 ms.
    pub t1: Duration,
    /// The longest interval between retransmissions (of INVITEs none), 4 s.
    pub t2: Duration,
    /// How long a message may stay in the network, 5 s.
    pub t4: Duration,
    /// The first interval of Timer A; T1.
    pub a: Option<Duration>,
    /// The longest interval between retransmissions of an INVITE; none: it doubles as long as Timer B lets it.
    pub a_most: Option<Duration>,
    /// The first three intervals between retransmissions of a request or a response, each longer than the one before (`retr_timer1p1` to `1p3` of the TM
    /// module); those that follow double and have their caps. None: T1 doubles from the start.
    pub intervals: Option<[Duration; 3]>,
    /// 64·T1
    pub b: Option<Duration>,
    /// 64·T1, at least 32 s; 0 on reliable transports.
    pub d: Option<Duration>,
    /// The first interval of Timer E; T1.
    pub e: Option<Duration>,
    /// 64·T1
    pub f: Option<Duration>,
    /// The first interval of Timer G; T1.
    pub g: Option<Duration>,
    /// 64·T1
    pub h: Option<Duration>,
    /// T4; 0 on reliable transports.
    pub i: Option<Duration>,
    /// 64·T1; 0 on reliable transports.
    pub j: Option<Duration>,
    /// T4; 0 on reliable transports.
    pub k: Option<Duration>,
    /// 64·T1
    pub l: Option<Duration>,
    /// 64·T1
    pub m: Option<Duration>,
    /// When a 100 answers an INVITE by itself, 200 ms; `None`: never.
    pub trying: Option<Duration>,
    /// How long an INVITE may ring at the client before it is cancelled: 3 minutes and a second, anew with the 1xx that `restart` says.
    /// `None` where the transaction user has a limit of its own.
    pub ringing: Option<Duration>,
    /// Which provisional responses let it ring as long again.
    pub restart: Restart,
    /// How long the transaction user may leave an INVITE without any response, or without another provisional one,
    /// before a 500 answers it: 5 minutes. `None` where another limit ends it.
    pub unanswered_invite: Option<Duration>,
    /// How long it may leave another request without a final response before it is forgotten; 64·T1.
    pub unanswered: Option<Duration>,
    /// How often an INVITE in Proceeding is sent again to keep a NAT open; `None`: never.
    pub rport: Option<Duration>,
}

impl Timers {
    /// The values of RFC 3261, table 4.
    pub const DEFAULT: Self = Self {
        t1: Duration::from_millis(500),
        t2: Duration::from_secs(4),
        t4: Duration::from_secs(5),
        a: None,
        a_most: None,
        intervals: None,
        b: None,
        d: None,
        e: None,
        f: None,
        g: None,
        h: None,
        i: None,
        j: None,
        k: None,
        l: None,
        m: None,
        trying: Some(Duration::from_millis(200)),
        ringing: Some(Duration::from_secs(181)),
        restart: Restart::Each,
        unanswered_invite: Some(Duration::from_secs(300)),
        unanswered: None,
        rport: None,
    };

    /// The values of the TM module of SER and OpenSER, in whole seconds: 30 s for a final response, 120 s for one to an INVITE that rings, 5 s for
    /// what comes late, and a 100 at once. Who takes the place of such a proxy, or runs beside one, keeps its rhythm; late copies of a request are taken
    /// for new ones.
    pub const TM: Self = Self {
        t1: Duration::from_secs(1),
        a_most: Some(Duration::from_secs(4)),
        b: Some(Duration::from_secs(30)),
        d: Some(Duration::from_secs(5)),
        f: Some(Duration::from_secs(30)),
        h: Some(Duration::from_secs(30)),
        i: Some(Duration::from_secs(5)),
        j: Some(Duration::from_secs(5)),
        k: Some(Duration::from_secs(5)),
        l: Some(Duration::from_secs(5)),
        m: Some(Duration::from_secs(5)),
        trying: Some(Duration::ZERO),
        ringing: Some(Duration::from_secs(120)),
        ..Self::DEFAULT
    };

    /// 64·T1, the lifetime of most things.
    pub const fn t1x64(&self) -> Duration {
        self.t1.saturating_mul(64)
    }

    /// How long a timer runs when it is first set. `None`: it is not set at all; zero: its time is at once.
    pub fn first(&self, timer: Timer, transport: Reliability) -> Option<Duration> {
        let unreliable = transport == Reliability::Unreliable;
        let t1 = self.intervals.map_or(self.t1, |[first, ..]| first);
        let t1x64 = Some(self.t1x64());
        match timer {
            Timer::A => unreliable.then_some(self.a.unwrap_or(t1)),
            Timer::E => unreliable.then_some(self.e.unwrap_or(t1)),
            Timer::G => unreliable.then_some(self.g.unwrap_or(t1)),
            Timer::B => self.b.or(t1x64),
            Timer::F => self.f.or(t1x64),
            Timer::H => self.h.or(t1x64),
            Timer::L => self.l.or(t1x64),
            Timer::M => self.m.or(t1x64),
            // RFC 3261 §17.1.1.2: "at least 32 seconds", and no shorter than Timer H of the peer.
            Timer::D if unreliable => {
                Some(self.d.unwrap_or_else(|| self.t1x64().max(Duration::from_secs(32))))
            }
            Timer::I if unreliable => self.i.or(Some(self.t4)),
            Timer::J if unreliable => self.j.or(t1x64),
            Timer::K if unreliable => self.k.or(Some(self.t4)),
            Timer::D | Timer::I | Timer::J | Timer::K => Some(Duration::ZERO),
            Timer::Trying => self.trying,
            Timer::LateTrying => Some(self.late_trying()),
            Timer::Ringing => self.ringing,
            Timer::Cancelled => t1x64,
            Timer::Rport => self.rport.filter(|_| unreliable),
            Timer::UnansweredInvite => self.unanswered_invite,
            Timer::Unanswered => self.unanswered.or(t1x64),
        }
    }

    /// How long a timer runs.
    pub fn delay(
        &self,
        timer: Timer,
        delay: Delay,
        before: Duration,
        transport: Reliability,
    ) -> Option<Duration> {
        let delay = match delay {
            Delay::First => self.first(timer, transport),
            Delay::Doubled => Some(self.after(before).min(self.a_most.unwrap_or(Duration::MAX))),
            Delay::Capped => Some(self.after(before).min(self.t2)),
            Delay::T2 => Some(self.t2),
        };
        if timer.ends() { delay } else { delay.map(Self::interval) }
    }

    /// The interval that follows another.
    fn after(&self, before: Duration) -> Duration {
        let given = self.intervals.and_then(|all| all.into_iter().find(|interval| *interval > before));
        given.unwrap_or_else(|| before.saturating_mul(2))
    }

    /// What repeats does so after some time: an interval of zero would be no end of work at one instant.
    pub(crate) fn interval(delay: Duration) -> Duration {
        delay.max(Duration::from_millis(1))
    }

    /// RFC 4320 §4.1: a 100 is due when the client's Timer E is first set to T2.
    fn late_trying(&self) -> Duration {
        let (mut interval, mut sum) = (self.t1, Duration::ZERO);
        while interval < self.t2 && !interval.is_zero() {
            sum = sum.saturating_add(interval);
            interval = interval.saturating_mul(2);
        }
        sum
    }
}

/// Timers with their first values in microseconds, worked out once: every step asks for some of them.
pub(super) struct Delays {
    pub(super) timers: Timers,
    /// By transport and timer.
    first: [[Option<u64>; Timer::ALL.len()]; 2],
}

impl Delays {
    pub(super) fn of(timers: Timers) -> Self {
        let first = |timer, on| timers.delay(timer, Delay::First, Duration::ZERO, on).map(micros);
        let on = |transport| Timer::ALL.map(|timer| first(timer, transport));
        Self { timers, first: [on(Reliability::Unreliable), on(Reliability::Reliable)] }
    }

    /// How long a timer runs when it is first set.
    pub(super) fn first(&self, timer: Timer, transport: Reliability) -> Option<u64> {
        *self.first.get(transport as usize)?.get(timer as usize)?
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worked_out_is_what_would_be() {
        let own = |seconds| Some(Duration::from_secs(seconds));
        let timers = Timers {
            t1: Duration::from_millis(20),
            t2: Duration::from_secs(2),
            t4: Duration::from_secs(3),
            a: own(4),
            a_most: own(21),
            intervals: None,
            b: own(5),
            d: own(6),
            e: own(7),
            f: own(8),
            g: own(9),
            h: own(10),
            i: own(11),
            j: own(0),
            k: own(13),
            l: own(14),
            m: own(15),
            trying: None,
            ringing: own(17),
            restart: Restart::Never,
            unanswered_invite: None,
            unanswered: own(19),
            rport: own(20),
        };
        for timers in [Timers::DEFAULT, timers] {
            let delays = Delays::of(timers);
            for (place, timer) in Timer::ALL.into_iter().enumerate() {
                assert_eq!(timer as usize, place);
                for on in [Reliability::Unreliable, Reliability::Reliable] {
                    let expected = timers.delay(timer, Delay::First, Duration::ZERO, on);
                    assert_eq!(delays.first(timer, on), expected.map(micros), "{timer:?}");
                }
            }
        }
    }

    #[test]
    fn values_follow_t1() {
        let timers = Timers { t1: Duration::from_secs(2), ..Timers::DEFAULT };
        let first = |timer| timers.first(timer, Reliability::Unreliable);
        assert_eq!(first(Timer::B), Some(Duration::from_secs(128)));
        assert_eq!(first(Timer::D), Some(Duration::from_secs(128)));
        assert_eq!(first(Timer::LateTrying), Some(Duration::from_secs(2)));
        assert_eq!(Timers::DEFAULT.late_trying(), Duration::from_millis(3_500));
        assert_eq!(Timers { t1: Duration::ZERO, ..timers }.late_trying(), Duration::ZERO);
        let short = Timers { t1: Duration::from_millis(10), ..Timers::DEFAULT };
        assert_eq!(short.first(Timer::D, Reliability::Unreliable), Some(Duration::from_secs(32)));
        assert_eq!(short.first(Timer::D, Reliability::Reliable), Some(Duration::ZERO));
        assert_eq!(short.first(Timer::A, Reliability::Reliable), None);
    }
}
