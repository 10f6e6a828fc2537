//! Connections between machines: bytes in order, in pieces, until one end is gone.

use super::trace::PacketId;
use crate::handle::FlowId;
use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Caller,
    Callee,
}

impl Side {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }
}

/// Bytes under way.
pub(super) struct Piece {
    pub(super) due: Instant,
    pub(super) bytes: Vec<u8>,
    /// The message that ends with this piece.
    pub(super) packet: Option<PacketId>,
}

/// A connection.
pub(super) struct Conn {
    /// The ephemeral address of the caller, and the address called.
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    caller: Option<(usize, FlowId)>,
    callee: Option<(usize, FlowId)>,
    /// What each side has written and the other has not read.
    written: [VecDeque<Piece>; 2],
    last: [Option<Instant>; 2],
    /// Nothing more gets through that this side writes: it breaks soon.
    cut: [bool; 2],
}

impl Conn {
    pub(super) const fn new(node: usize, flow: FlowId, from: SocketAddr, to: SocketAddr) -> Self {
        Self {
            from,
            to,
            caller: Some((node, flow)),
            callee: None,
            written: [VecDeque::new(), VecDeque::new()],
            last: [None; 2],
            cut: [false; 2],
        }
    }

    const fn end(&self, side: Side) -> Option<(usize, FlowId)> {
        match side {
            Side::Caller => self.caller,
            Side::Callee => self.callee,
        }
    }

    pub(super) fn node(&self, side: Side) -> Option<usize> {
        self.end(side).map(|(node, _)| node)
    }

    pub(super) fn flow(&self, side: Side) -> Option<FlowId> {
        self.end(side).map(|(_, flow)| flow)
    }

    /// Where this side writes from and to.
    pub(super) const fn ends(&self, side: Side) -> (SocketAddr, SocketAddr) {
        match side {
            Side::Caller => (self.from, self.to),
            Side::Callee => (self.to, self.from),
        }
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Connections(Vec<Conn>);

impl Connections {
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn add(&mut self, conn: Conn) -> u32 {
        self.0.push(conn);
        self.0.len() as u32 - 1
    }

    pub(super) fn get(&self, number: u32) -> Option<&Conn> {
        self.0.get(number as usize)
    }

    fn get_mut(&mut self, number: u32) -> Option<&mut Conn> {
        self.0.get_mut(number as usize)
    }

    pub(super) fn open(&mut self, number: u32, node: usize, flow: FlowId) {
        if let Some(conn) = self.get_mut(number) {
            conn.callee = Some((node, flow));
        }
    }

    /// When the last byte that this side has written arrives.
    pub(super) fn last_due(&self, number: u32, side: Side) -> Option<Instant> {
        self.get(number)?.last.get(side as usize).copied().flatten()
    }

    pub(super) fn write(&mut self, number: u32, side: Side, piece: Piece) {
        let Some(conn) = self.get_mut(number) else { return };
        if let (Some(written), Some(last)) =
            (conn.written.get_mut(side as usize), conn.last.get_mut(side as usize))
        {
            *last = Some(piece.due);
            written.push_back(piece);
        }
    }

    /// Nothing more gets through that this side writes.
    pub(super) fn cut(&mut self, number: u32, side: Side) {
        if let Some(cut) = self.get_mut(number).and_then(|conn| conn.cut.get_mut(side as usize)) {
            *cut = true;
        }
    }

    pub(super) fn is_cut(&self, number: u32, side: Side) -> bool {
        self.get(number).and_then(|conn| conn.cut.get(side as usize)).copied().unwrap_or_default()
    }

    /// Nothing that this side has written arrives before then.
    pub(super) fn hold(&mut self, number: u32, side: Side, until: Instant) {
        let Some(conn) = self.get_mut(number) else { return };
        for piece in conn.written.get_mut(side as usize).into_iter().flatten() {
            piece.due = piece.due.max(until);
        }
        if let Some(last) = conn.last.get_mut(side as usize) {
            *last = last.map(|last| last.max(until));
        }
    }

    /// What this side has written and has arrived by now.
    pub(super) fn read(&mut self, number: u32, side: Side, now: Instant) -> Vec<Piece> {
        let mut read = Vec::new();
        let written = self.get_mut(number).and_then(|conn| conn.written.get_mut(side as usize));
        if let Some(written) = written {
            while written.front().is_some_and(|piece| piece.due <= now) {
                read.extend(written.pop_front());
            }
        }
        read
    }

    /// This end is gone: who it was.
    pub(super) fn close(&mut self, number: u32, side: Side) -> Option<(usize, FlowId)> {
        let conn = self.get_mut(number)?;
        match side {
            Side::Caller => conn.caller.take(),
            Side::Callee => conn.callee.take(),
        }
    }

    /// The messages that this end did not get whole.
    pub(super) fn unread(&mut self, number: u32, side: Side) -> Vec<PacketId> {
        let written = self.get_mut(number).and_then(|conn| conn.written.get_mut(side.other() as usize));
        written.map(core::mem::take).into_iter().flatten().filter_map(|piece| piece.packet).collect()
    }
}
