//! Where a node lives: its address, its clock, and what the network does to it at the moment.

use crate::handle::FlowId;
use crate::sim::net::Side;
use crate::sim::node::Node;
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::net::SocketAddr;

/// How a node comes into being; the number is how often it did before.
pub(super) type Make = Box<dyn Fn(u32) -> Box<dyn Node>>;

pub(super) struct Place {
    pub(super) node: Option<Box<dyn Node>>,
    pub(super) make: Make,
    pub(super) incarnation: u32,
    pub(super) addr: SocketAddr,
    /// The port that others see, while a NAT is between.
    pub(super) seen: Option<u16>,
    pub(super) clock: Clock,
    /// What its user and its machine have been told at the most.
    pub(super) local: Instant,
    pub(super) wake: Option<Instant>,
    pub(super) flows: BTreeMap<FlowId, (u32, Side)>,
    /// Until when nothing leaves it, and nothing reaches it.
    pub(super) mute: Instant,
    pub(super) deaf: Instant,
    /// The line of the trace that it acts upon.
    pub(super) cause: u32,
    /// It hears what others send each other, and sends under any address.
    pub(super) tap: bool,
}

/// A clock that is fast or slow, and set wrong.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    pub(super) num: u64,
    pub(super) den: u64,
    pub(super) offset: u64,
    pub(super) back: u64,
}

impl Clock {
    pub(super) fn local(self, at: Instant) -> Instant {
        let micros = at.as_micros() * self.num / self.den + self.offset;
        Instant::from_micros(micros.saturating_sub(self.back))
    }

    /// The first instant of the world at which it shows `local` or later.
    pub(super) fn world(self, local: Instant) -> Instant {
        let micros = (local.as_micros() + self.back).saturating_sub(self.offset);
        Instant::from_micros((micros * self.den).div_ceil(self.num))
    }
}
