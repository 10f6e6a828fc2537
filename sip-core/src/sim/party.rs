//! Any machine with its user, in a world.

use super::node::{Act, Node, act};
use crate::endpoint::{Output, SendError, Source, Stats, Ticket};
use crate::framing::StreamBuf;
use crate::handle::{FlowId, ResolveId};
use crate::machine::{Machine, TransactionUser};
use crate::time::Instant;
use crate::transport::{Local, Target, Transport};
use alloc::collections::BTreeMap;
use core::net::SocketAddr;

/// A machine and its user, as a driver would run them. A [`Host`](super::Host) notes besides what the user of an
/// [`Endpoint`](crate::Endpoint) is told and does, which the monitors of transactions want to see.
pub struct Party<M, U> {
    machine: M,
    user: U,
    streams: BTreeMap<FlowId, StreamBuf>,
}

impl<M: Machine, U: TransactionUser<M>> Party<M, U> {
    /// A machine that listens at this address over UDP and TCP: the address that it is put at with
    /// [`World::add`](super::World::add).
    pub fn new(mut machine: M, addr: SocketAddr, user: U) -> Self {
        for transport in [Transport::Udp, Transport::Tcp] {
            machine.listen(Instant::ZERO, Local { transport, addr, advertised: None });
        }
        Self { machine, user, streams: BTreeMap::new() }
    }
}

impl<M: Machine, U: TransactionUser<M>> Node for Party<M, U> {
    fn datagram(&mut self, now: Instant, from: Source, data: &[u8]) {
        if let Some(event) = self.machine.datagram(now, from, data) {
            self.user.event(now, &mut self.machine, event);
        }
    }

    fn bytes(&mut self, now: Instant, flow: FlowId, data: &[u8]) {
        let mut buf = self.streams.remove(&flow).unwrap_or_default();
        buf.extend(data);
        while let Some(event) = self.machine.stream(now, flow, &mut buf) {
            self.user.event(now, &mut self.machine, event);
        }
        self.streams.insert(flow, buf);
    }

    fn accepted(&mut self, now: Instant, peer: Target, local: SocketAddr) -> Option<FlowId> {
        self.machine.flow_accepted(now, peer, local).ok()
    }

    fn opened(&mut self, now: Instant, flow: FlowId, local: SocketAddr) -> bool {
        self.machine.flow_opened(now, flow, local)
    }

    fn closed(&mut self, now: Instant, flow: FlowId) {
        self.streams.remove(&flow);
        self.machine.flow_closed(now, flow);
    }

    fn send_failed(&mut self, now: Instant, ticket: Ticket, error: SendError) {
        self.machine.send_failed(now, ticket, error);
    }

    fn resolved(&mut self, now: Instant, id: ResolveId, addrs: &[SocketAddr]) {
        self.machine.resolved(now, id, addrs);
    }

    fn advance(&mut self, now: Instant) {
        self.machine.advance(now);
    }

    fn poll(&mut self, now: Instant, sink: &mut dyn FnMut(Act<'_>)) -> bool {
        match self.machine.poll() {
            Some(Output::Event(event)) => self.user.event(now, &mut self.machine, event),
            Some(output) => act(output, &mut self.streams, sink),
            None if self.user.deadline().is_some_and(|due| due <= now) => {
                self.user.advance(now, &mut self.machine);
            }
            None => return false,
        }
        true
    }

    fn deadline(&self) -> Option<Instant> {
        self.machine.deadline().into_iter().chain(self.user.deadline()).min()
    }

    fn is_idle(&self) -> bool {
        self.machine.is_idle()
    }

    fn stats(&self) -> Stats {
        self.machine.stats()
    }
}
