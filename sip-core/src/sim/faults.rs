//! How bad the network and the machines are.

use super::tape::{Kind, Site, Tape};
use core::time::Duration;

/// The faults of a run. Rates are in ten thousandths; what is zero does not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// How long they go on. Then the network heals, and the world runs until nothing is left to do.
    pub chaos: Duration,
    /// Datagrams dropped.
    pub loss: u32,
    /// Datagrams after which a burst of losses begins.
    pub burst: u32,
    /// Datagrams delivered twice, the copy later.
    pub duplicate: u32,
    /// Datagrams held back, so that others overtake them.
    pub reorder: u32,
    /// Datagrams damaged: a byte changed, the end cut off, or something appended.
    pub damage: u32,
    /// The longest time that a datagram or a segment is under way; each takes a part of it.
    pub delay: Duration,
    /// Sends that the system takes late or not at all.
    pub send: u32,
    /// Stream writes that arrive in other pieces.
    pub cut: u32,
    /// Segments before which the connection breaks.
    pub reset: u32,
    /// Connections that are refused, or slow to open.
    pub connect: u32,
    /// Deadlines noticed late.
    pub late: u32,
    /// Wake-ups without need.
    pub spurious: u32,
    /// Clocks that are fast, slow or set otherwise.
    pub clocks: u32,
    /// Times at which something happens to a machine: cut off, crashed, its connections or its address lost, its clock set.
    pub episodes: u32,
    /// Transaction users that are late, silent or wrong.
    pub users: u32,
}

impl Faults {
    /// A network that delivers at once.
    pub const NONE: Self = Self {
        chaos: Duration::from_secs(40),
        loss: 0,
        burst: 0,
        duplicate: 0,
        reorder: 0,
        damage: 0,
        delay: Duration::ZERO,
        send: 0,
        cut: 0,
        reset: 0,
        connect: 0,
        late: 0,
        spurious: 0,
        clocks: 0,
        episodes: 0,
        users: 0,
    };

    /// All of them as a tape has it: each kind is off in every second run.
    pub fn swarm(tape: &mut Tape) -> Self {
        let mut nth = 0;
        let mut rate = |most: u32| {
            let value = tape.choose(Site::node(Kind::Rate, nth), &[4, 1, 2, 1]);
            nth += 1;
            most * [0, 1, 4, 16].get(value as usize).copied().unwrap_or_default() / 16
        };
        Self {
            chaos: Duration::from_secs(40),
            loss: rate(5_000),
            burst: rate(500),
            duplicate: rate(5_000),
            reorder: rate(3_000),
            damage: rate(1_000),
            delay: Duration::from_millis(u64::from(rate(5_000))),
            send: rate(1_000),
            cut: rate(8_000),
            reset: rate(300),
            connect: rate(2_000),
            late: rate(2_000),
            spurious: rate(3_000),
            clocks: rate(5_000),
            episodes: rate(5_000),
            users: rate(4_000),
        }
    }

    /// Weights of several outcomes besides the boring one.
    pub(super) fn weights<const N: usize>(rate: u32, rest: [u32; N]) -> [u32; N] {
        let total: u32 = rest.iter().skip(1).sum();
        let mut weights = [0; N];
        for (place, (at, share)) in weights.iter_mut().zip(rest.iter().enumerate()) {
            *place = if at == 0 { (10_000 - rate.min(10_000)) * total.max(1) } else { rate * share };
        }
        weights
    }
}
