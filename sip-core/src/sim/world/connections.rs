//! Connections: opened or not, cut into pieces, full, broken.

use super::{Due, World};
use crate::endpoint::{SendError, Ticket};
use crate::handle::FlowId;
use crate::sim::faults::Faults;
use crate::sim::net::{Conn, Piece, Side};
use crate::sim::tape::{Kind, Site};
use crate::sim::trace::{Loss, What};
use crate::transport::{Target, Transport};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

impl World {
    pub(super) fn connect(&mut self, node: usize, flow: FlowId, target: Target) {
        let Some(from) = self.places.get(node).map(|place| place.addr) else { return };
        // Each connection has a port of its own.
        let from = SocketAddr::new(from.ip(), 40_000 + (self.conns.count() % 20_000) as u16);
        let conn = self.conns.add(Conn::new(node, flow, from, target.addr));
        if let Some(place) = self.places.get_mut(node) {
            place.flows.insert(flow, (conn, Side::Caller));
        }
        let peer = self.at(target.addr);
        let weights = Faults::weights(self.rate(self.faults.connect), [0, 1, 1]);
        let outcome = self.tape.choose(Site::link(Kind::Connect, node, peer.unwrap_or(node)), &weights);
        let up = peer.is_some_and(|peer| self.places.get(peer).is_some_and(|place| place.node.is_some()));
        let wait = Duration::from_millis(if outcome == 2 { 5_000 } else { 2 });
        if !up || outcome == 1 {
            return self.push(self.now + wait, Due::Closed { conn, side: Side::Caller });
        }
        self.push(self.now + wait, Due::Connected { conn });
    }

    pub(super) fn connected(&mut self, number: u32) {
        let Some(conn) = self.conns.get(number) else { return };
        let (caller, flow, from, to) = (conn.node(Side::Caller), conn.flow(Side::Caller), conn.from, conn.to);
        let (Some(caller), Some(flow)) = (caller, flow) else { return };
        let Some(peer) = self.at(to) else { return self.end_closed(number, Side::Caller) };
        let mut accepted = None;
        self.with(peer, |machine, now| {
            accepted = machine.accepted(now, Target { transport: Transport::Tcp, addr: from }, to);
        });
        let Some(theirs) = accepted else { return self.end_closed(number, Side::Caller) };
        if let Some(place) = self.places.get_mut(peer) {
            place.flows.insert(theirs, (number, Side::Callee));
        }
        self.conns.open(number, peer, theirs);
        self.note(peer, What::Connection { number, open: true });
        self.cause(caller, What::Connection { number, open: true });
        let mut wanted = true;
        self.with(caller, |machine, now| wanted = machine.opened(now, flow, from));
        if !wanted {
            self.break_connection(number);
        }
    }

    /// A message for a connection.
    pub(super) fn write(&mut self, node: usize, flow: FlowId, ticket: Ticket, again: bool, bytes: Vec<u8>) {
        let Some((number, side)) = self.places.get(node).and_then(|place| place.flows.get(&flow).copied())
        else {
            return self.push(self.now, Due::SendFailed { node, ticket, error: SendError::Unreachable });
        };
        let Some((from, to)) = self.conns.get(number).map(|conn| conn.ends(side)) else { return };
        let length = bytes.len();
        let packet = self.packet(node, from, to, Some(number), again, bytes.clone());
        let peer = self.conns.get(number).and_then(|conn| conn.node(side.other())).unwrap_or(node);
        let weights = Faults::weights(self.rate(self.faults.send), [0, 2, 0, 1]);
        let mut wait = Duration::ZERO;
        if self.conns.is_cut(number, side) {
            self.note(node, What::Lost { packet, why: Loss::Broken });
            return;
        }
        match self.tape.choose(Site::link(Kind::Send, node, peer), &weights) {
            0 => {}
            3 => {
                self.note(node, What::Lost { packet, why: Loss::NotSent });
                return self.push(self.now, Due::SendFailed { node, ticket, error: SendError::Full });
            }
            _ => wait = Duration::from_secs(1),
        }
        let weights = Faults::weights(self.rate(self.faults.cut), [0, 1, 1, 1, 1]);
        let cut = self.tape.choose(Site::link(Kind::Cut, node, peer), &weights);
        let piece = match cut {
            1 => length / 2 + 1,
            2 => 7,
            3 => 1,
            _ => length.max(1),
        };
        let joined = if cut == 4 { Duration::from_millis(40) } else { Duration::ZERO };
        let at = self.now + wait + joined + self.delay(node, peer);
        let at = self.conns.last_due(number, side).map_or(at, |last| at.max(last));
        let mut due = at;
        for (index, piece) in bytes.chunks(piece).enumerate() {
            let end =
                (index + 1) * piece.len() >= length || piece.as_ptr_range().end == bytes.as_ptr_range().end;
            let weights = Faults::weights(self.rate(self.faults.reset), [0, 1]);
            // A connection may break before any of the first pieces; to ask for each byte would be too much.
            if index < 4 && self.tape.choose(Site::link(Kind::Reset, node, peer), &weights) == 1 {
                self.conns.cut(number, side);
                self.push(due, Due::Closed { conn: number, side });
                self.push(due, Due::Closed { conn: number, side: side.other() });
                break;
            }
            let packet = end.then_some(packet);
            self.conns.write(number, side, Piece { due, bytes: piece.into(), packet });
            self.push(due, Due::Pieces { conn: number, side: side.other() });
            if cut != 4 {
                due += Duration::from_micros(50);
            }
        }
    }

    /// What has reached this end of a connection.
    pub(super) fn pieces(&mut self, number: u32, side: Side) {
        let Some(conn) = self.conns.get(number) else { return };
        let (Some(node), Some(flow)) = (conn.node(side), conn.flow(side)) else { return };
        let sender = conn.node(side.other()).unwrap_or(node);
        // Who is cut off gets it later: the transport repeats it.
        let until = [(sender, true), (node, false)]
            .into_iter()
            .filter_map(|(place, out)| {
                self.places.get(place).map(|place| if out { place.mute } else { place.deaf })
            })
            .max()
            .unwrap_or_default();
        if self.now < until {
            self.conns.hold(number, side.other(), until);
            return self.push(until, Due::Pieces { conn: number, side });
        }
        let mut bytes = Vec::new();
        for piece in self.conns.read(number, side.other(), self.now) {
            bytes.extend_from_slice(&piece.bytes);
            if let Some(packet) = piece.packet {
                self.cause(node, What::Arrived { packet, damaged: false });
                self.trace.forget_bytes(packet);
            }
        }
        if !bytes.is_empty() {
            self.with(node, |machine, now| machine.bytes(now, flow, &bytes));
        }
    }

    /// One end of a connection learns that it is gone.
    pub(super) fn end_closed(&mut self, number: u32, side: Side) {
        let Some((node, flow)) = self.conns.close(number, side) else { return };
        for packet in self.conns.unread(number, side) {
            self.note(node, What::Lost { packet, why: Loss::Broken });
        }
        let Some(place) = self.places.get_mut(node) else { return };
        if place.flows.remove(&flow).is_some() {
            self.cause(node, What::Connection { number, open: false });
            self.with(node, |machine, now| machine.closed(now, flow));
        }
    }

    pub(super) fn break_connection(&mut self, number: u32) {
        self.end_closed(number, Side::Caller);
        self.end_closed(number, Side::Callee);
    }
}
