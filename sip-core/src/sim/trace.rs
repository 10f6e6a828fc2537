//! What happened in a world, in order: what monitors see, what is drawn, what the digest is of.

use super::note::{Gist, Note};
use crate::endpoint::Txn;
use crate::time::Instant;
use crate::transport::Transport;
use alloc::string::String;
use alloc::vec::Vec;
use core::hash::Hasher;
use core::net::SocketAddr;
use core::time::Duration;
use siphasher::sip128::{Hasher128, SipHasher13};

/// The number of a message in its run.
pub type PacketId = u32;

/// A message that a node sent.
#[derive(Clone, Debug)]
pub struct Packet {
    /// When.
    pub at: Instant,
    /// The node that sent it.
    pub node: usize,
    /// The node that it was for, if there is one at that address.
    pub peer: Option<usize>,
    /// Where it was sent from.
    pub from: SocketAddr,
    /// Where it was sent to.
    pub to: SocketAddr,
    /// By what.
    pub transport: Transport,
    /// The number of the connection, if it went by one.
    pub conn: Option<u32>,
    /// Its gist; nothing if it is not to be parsed.
    pub gist: Option<Gist>,
    /// The machine said that it was sent before.
    pub again: bool,
    /// A hostile node sent it, under whatever address.
    pub forged: bool,
    /// The bytes; empty when they are not kept.
    pub bytes: Vec<u8>,
    /// How many bytes they are.
    pub length: usize,
}

/// Why a message did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The network dropped it.
    Dropped,
    /// One end was cut off.
    Cut,
    /// Nobody is at that address.
    Nobody,
    /// The system did not take it.
    NotSent,
    /// Its connection broke.
    Broken,
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "fields are named after what they hold")]
pub enum What {
    /// The node sent a message.
    Sent { packet: PacketId },
    /// The network made a copy of it.
    Copied { packet: PacketId },
    /// It, or a copy, was lost.
    Lost { packet: PacketId, why: Loss },
    /// It, or a copy, is given to this node. A damaged one is not what was sent.
    Arrived { packet: PacketId, damaged: bool },
    /// The user was told or did something.
    Note(Note),
    /// The node was woken, so much after its deadline by its own clock.
    Woken { late: Duration },
    /// The node was woken without need; whether that changed anything.
    Spurious { changed: bool },
    /// The node has nothing more to do: its deadline, and its open transactions, of the client and of the server.
    Rest { deadline: Option<Instant>, open: (usize, usize), outputs: u32 },
    /// A connection of the node is open, or is gone.
    Connection { number: u32, open: bool },
    /// The clock of the node jumped.
    Jumped { by: Duration, forward: bool },
    /// The node lost all that it knew, or came back.
    Crashed,
    /// The node is there again, with nothing in it.
    Restarted,
    /// No fault from here on.
    Healed,
}

/// A line of the trace.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The time of the world.
    pub at: Instant,
    /// The time of the node's own clock.
    pub local: Instant,
    /// Which node.
    pub node: usize,
    /// The number of the line.
    pub number: u32,
    /// The line that caused it: an arrival or a wake-up of the same node, or what was sent.
    pub cause: u32,
    /// What happened.
    pub what: What,
}

/// The trace of a run.
#[derive(Debug)]
pub struct Trace {
    entries: Vec<Entry>,
    packets: Vec<Packet>,
    keep: bool,
    count: u32,
    digest: SipHasher13,
}

impl Trace {
    pub(super) fn new(keep: bool) -> Self {
        Self { entries: Vec::new(), packets: Vec::new(), keep, count: 0, digest: SipHasher13::new() }
    }

    /// The lines, if they were kept.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All messages; without their bytes if they were not kept.
    pub fn packets(&self) -> &[Packet] {
        &self.packets
    }

    /// A message by its number.
    pub fn packet(&self, id: PacketId) -> Option<&Packet> {
        self.packets.get(id as usize)
    }

    /// How many lines there were.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// 128 bits that are the same for the same run, on every machine and in every build.
    pub fn digest(&self) -> u128 {
        self.digest.finish128().as_u128()
    }

    pub(super) fn add_packet(&mut self, packet: Packet) -> PacketId {
        self.digest.write(&packet.bytes);
        self.packets.push(packet);
        self.packets.len() as PacketId - 1
    }

    pub(super) fn forget_bytes(&mut self, id: PacketId) {
        if let Some(packet) = self.packets.get_mut(id as usize).filter(|_| !self.keep) {
            packet.bytes = Vec::new();
        }
    }

    pub(super) fn add(&mut self, entry: Entry) -> u32 {
        let (word, value) = summary(&entry.what);
        let mut line = [0; 8 * 4];
        let fields = [entry.at.as_micros(), entry.local.as_micros(), (entry.node as u64) << 8 | word, value];
        for (place, field) in line.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        self.digest.write(&line);
        if self.keep {
            self.entries.push(entry);
        }
        self.count += 1;
        self.count - 1
    }

    /// The number that the next line gets.
    pub(super) const fn next_number(&self) -> u32 {
        self.count
    }
}

/// A line for the digest: what kind, and what it is about.
fn summary(what: &What) -> (u64, u64) {
    match what {
        What::Sent { packet } => (0, u64::from(*packet)),
        What::Copied { packet } => (1, u64::from(*packet)),
        What::Lost { packet, why } => (2 | (*why as u64) << 5, u64::from(*packet)),
        What::Arrived { packet, damaged } => (3 | u64::from(*damaged) << 5, u64::from(*packet)),
        What::Note(note) => note_summary(note),
        What::Woken { late } => (4, late.as_micros() as u64),
        What::Spurious { changed } => (5, u64::from(*changed)),
        What::Rest { deadline, .. } => (6, deadline.map_or(0, Instant::as_micros)),
        What::Connection { number, open } => (7 | u64::from(*open) << 5, u64::from(*number)),
        What::Jumped { by, forward } => (8 | u64::from(*forward) << 5, by.as_micros() as u64),
        What::Crashed => (9, 0),
        What::Restarted => (10, 0),
        What::Healed => (11, 0),
    }
}

fn note_summary(note: &Note) -> (u64, u64) {
    let txn = |txn: &Txn| match txn {
        Txn::Client(txn) => txn.to_bits(),
        Txn::Server(txn) => !txn.to_bits(),
    };
    match note {
        Note::Began { txn, .. } => (12, txn.to_bits()),
        Note::Answered { txn, status } => (13, txn.to_bits() ^ u64::from(*status) << 48),
        Note::Acked { cseq, .. } => (14, u64::from(*cseq)),
        Note::Repeated { txn } => (15, txn.to_bits()),
        Note::Cancelling { txn } => (16, txn.to_bits()),
        Note::Aborted { txn: which } => (17, txn(which)),
        Note::Refused { .. } => (18, 0),
        Note::Request { txn, .. } => (19, txn.to_bits()),
        Note::Ack { txn, .. } => (20, txn.map_or(0, crate::ServerTxn::to_bits)),
        Note::Cancelled { txn } => (21, txn.to_bits()),
        Note::Response { txn, gist } => (22, txn.to_bits() ^ u64::from(gist.status) << 48),
        Note::Stray { gist } => (23, u64::from(gist.status)),
        Note::Rejected { status } => (24, u64::from(status.unwrap_or_default())),
        Note::TransportError { txn: which } => (25, txn(which)),
        Note::Unanswered { txn } => (26, txn.to_bits()),
        Note::Ended { txn: which, cause } => (27 | (*cause as u64) << 5, txn(which)),
    }
}

/// Times as people read them: seconds with six places.
pub(super) fn seconds(at: Instant) -> String {
    let micros = at.as_micros();
    alloc::format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}
