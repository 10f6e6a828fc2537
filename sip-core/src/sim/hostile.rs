//! A hostile peer: it hears what others send each other, and sends what they might take for each other's messages.

use super::node::{Act, Node};
use crate::endpoint::{Destination, SendError, Source, Stats, Ticket, Transmit};
use crate::handle::{FlowId, ResolveId};
use crate::time::Instant;
use crate::transport::Target;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// What it does with a message that it hears, one by one; zero is nothing.
pub(super) const FORGERIES: u32 = 12;

/// Forges messages from those that it hears, on the keys that are alive.
#[derive(Debug)]
pub(super) struct Hostile {
    own: SocketAddr,
    /// What it does with each message.
    plan: Vec<u32>,
    heard: usize,
    out: VecDeque<(SocketAddr, SocketAddr, Vec<u8>)>,
    lent: Vec<u8>,
}

impl Hostile {
    pub(super) const fn new(own: SocketAddr, plan: Vec<u32>) -> Self {
        Self { own, plan, heard: 0, out: VecDeque::new(), lent: Vec::new() }
    }

    /// The forged message, and between whom it goes.
    fn forge(
        &self,
        how: u32,
        from: SocketAddr,
        to: SocketAddr,
        data: &[u8],
    ) -> Option<(SocketAddr, SocketAddr, Vec<u8>)> {
        let replaced = |old: &[u8], new: &[u8]| replace(data, old, new);
        Some(match how {
            // The same again: from its sender, and from here.
            1 => (from, to, data.into()),
            2 => (self.own, to, data.into()),
            // Back to who sent it.
            3 => (to, from, data.into()),
            // Another status: a final response becomes a provisional one, and the reverse.
            4 => (from, to, replaced(b"SIP/2.0 200 OK", b"SIP/2.0 486 Busy Here")?),
            5 => (from, to, replaced(b"SIP/2.0 180 Ringing", b"SIP/2.0 603 Decline")?),
            6 => (from, to, replaced(b"SIP/2.0 200 OK", b"SIP/2.0 183 Late")?),
            // Another method on the same branch.
            7 => (from, to, replaced(b"CSeq: 1 INVITE", b"CSeq: 1 OPTIONS")?),
            8 => {
                let cancel = replace(data, b"INVITE sip:", b"CANCEL sip:")?;
                (from, to, replace(&cancel, b"1 INVITE", b"1 CANCEL")?)
            }
            9 => {
                let ack = replace(data, b"INVITE sip:", b"ACK sip:")?;
                (from, to, replace(&ack, b"1 INVITE", b"1 ACK")?)
            }
            // A branch, a tag and a number that are nobody's.
            10 => (from, to, replaced(b"z9hG4bK0", b"z9hG4bK7")?),
            11 => (from, to, replaced(b";tag=a", b";tag=z")?),
            _ => (from, to, replaced(b"CSeq: 1 ", b"CSeq: 9 ")?),
        })
    }
}

fn replace(data: &[u8], old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    let at = memchr::memmem::find(data, old)?;
    Some([data.get(..at)?, new, data.get(at + old.len()..)?].concat())
}

impl Node for Hostile {
    fn datagram(&mut self, _: Instant, from: Source, data: &[u8]) {
        let Source::Datagram { local, remote } = from else { return };
        if local == self.own {
            return;
        }
        let how = self.plan.get(self.heard).copied().unwrap_or_default();
        self.heard += 1;
        if how > 0 {
            self.out.extend(self.forge(how, remote, local, data));
        }
    }

    fn bytes(&mut self, _: Instant, _: FlowId, _: &[u8]) {}

    fn accepted(&mut self, _: Instant, _: Target, _: SocketAddr) -> Option<FlowId> {
        None
    }

    fn opened(&mut self, _: Instant, _: FlowId, _: SocketAddr) -> bool {
        false
    }

    fn closed(&mut self, _: Instant, _: FlowId) {}

    fn send_failed(&mut self, _: Instant, _: Ticket, _: SendError) {}

    fn resolved(&mut self, _: Instant, _: ResolveId, _: &[SocketAddr]) {}

    fn advance(&mut self, _: Instant) {}

    fn poll(&mut self, _: Instant, sink: &mut dyn FnMut(Act<'_>)) -> bool {
        let Some((from, to, bytes)) = self.out.pop_front() else { return false };
        self.lent = bytes;
        sink(Act::Transmit(Transmit {
            ticket: Ticket(None),
            to: Destination::Datagram { local: from, remote: to },
            bytes: &self.lent,
            retransmission: false,
        }));
        true
    }

    fn deadline(&self) -> Option<Instant> {
        if self.out.is_empty() { None } else { Some(Instant::ZERO) }
    }

    fn is_idle(&self) -> bool {
        self.out.is_empty()
    }

    fn stats(&self) -> Stats {
        Stats::default()
    }
}
