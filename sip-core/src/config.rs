//! What a machine is configured with: its seed, its limits, its timers.

use crate::random::Seed;
use crate::transaction::Timers;
use core::time::Duration;

/// The configuration of a machine.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where all randomness comes from: branches, tags, Call-IDs, delays. Two machines that talk to each other need different seeds, and so does a
    /// machine that is started again: with the same one it mints the same names, and its peers answer 482 or take its calls for copies.
    pub seed: Seed,
    /// The timers of transactions that are not given their own.
    pub timers: Timers,
    /// What must be equal in two requests of one transaction.
    pub matching: Matching,
    /// The caps on everything that a peer could make grow.
    pub limits: Limits,
}

impl Config {
    /// The defaults of the RFCs with this seed.
    pub const fn new(seed: Seed) -> Self {
        Self { seed, timers: Timers::DEFAULT, matching: Matching::DEFAULT, limits: Limits::DEFAULT }
    }
}

/// What a request is matched with besides what the RFCs say of all (RFC 3261 §17.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Matching {
    /// The Request-URI, where a request has no branch of RFC 3261. Off for devices whose CANCEL or ACK has another one than their INVITE.
    pub uri: bool,
    /// The topmost Via, where a request has no branch of RFC 3261. Off for devices whose CANCEL or ACK has another one.
    pub via: bool,
    /// Call-ID and From tag, where it has one. RFC 3261 takes the branch for enough; on where peers use one twice.
    pub call_id: bool,
}

impl Matching {
    /// As the RFCs say.
    pub const DEFAULT: Self = Self { uri: true, via: true, call_id: false };
}

impl Default for Matching {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Caps, each with what happens at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message; beyond: on a stream 513 and the connection is closed, one that comes whole is dropped. At most 16 MiB.
    pub message: usize,
    /// Lines in a header section; beyond: 513.
    pub header_lines: usize,
    /// Bytes of one header line, folds included; beyond: 513. At most 64 KiB.
    pub line: usize,
    /// Bytes of the header section; beyond: 513.
    pub header_section: usize,
    /// Vias of a message; beyond: 513.
    pub vias: usize,
    /// Routes of a message, and Record-Routes; beyond: 513.
    pub routes: usize,
    /// Levels of multipart bodies in each other; beyond: [`Message::parts`](crate::message::Message::parts) and its like give an
    /// error. The machines look into no body.
    pub multipart_depth: usize,
    /// Transactions alive at once; beyond: commands return [`Misuse::Full`](crate::Misuse::Full), new requests get
    /// 503 with Retry-After, or what [`overload`](Self::overload) says. BYE and CANCEL have a quarter more, and the CANCEL of an INVITE of this
    /// side always has room.
    pub transactions: usize,
    /// Server transactions that wait for their user; beyond: new requests as above, BYE and CANCEL excepted.
    pub unanswered: usize,
    /// Bytes that are retained for retransmission or wait to be sent; beyond: as for transactions, and provisional responses of this
    /// side return [`Misuse::Full`](crate::Misuse::Full). Final responses always have room.
    pub retained: usize,
    /// Dialogs alive at once; beyond: as for transactions.
    pub dialogs: usize,
    /// Early and confirmed dialogs that the forks of one INVITE may make; provisional responses beyond are dropped, a 2xx is acknowledged and hung
    /// up. Of one SUBSCRIBE: NOTIFYs of more forks get 481.
    pub forks: usize,
    /// Subscriptions that may share a dialog; beyond: as for dialogs.
    pub subscriptions: usize,
    /// Flows open at once; beyond: new connections are refused.
    pub flows: usize,
    /// How long a peer may keep a connection open without one whole message; beyond: it is closed.
    pub stream_idle: Duration,
    /// Messages that wait for one connection to open; beyond: they count as lost.
    pub waiting_for_flow: usize,
    /// Outputs that wait to be drained; beyond: retransmissions and answers to strays count as lost.
    pub outbox: usize,
    /// CANCELs that are remembered because they came before their INVITE, which is then answered with 487 at once; beyond: the oldest is forgotten. None by
    /// default: such a CANCEL gets 481 in any case, and its INVITE is one like others.
    pub early_cancels: usize,
    /// Bytes of idle buffers that are kept to be used again.
    pub idle_buffers: usize,
    /// What a new request beyond a cap gets.
    pub overload: Overload,
    /// Retry-After of the 503 that answers a request beyond a cap.
    pub retry_after: Duration,
}

/// What a new request gets that finds no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Overload {
    /// 503 (Service Unavailable) with Retry-After, without a transaction (RFC 3261 §21.5.4).
    Refuse,
    /// Nothing: to answer costs too much, or the peers would only come again.
    Silence,
}

impl Limits {
    /// The defaults: a megabyte a message, 128 KiB of it headers; a million transactions and dialogs, 256 MiB retained for them, 50,000 that wait for
    /// their user; 100,000 connections, closed after 32 s of silence; 32 forks.
    pub const DEFAULT: Self = Self {
        message: 1 << 20,
        header_lines: 1_000,
        line: 1 << 16,
        header_section: 128 << 10,
        vias: 256,
        routes: 256,
        multipart_depth: 8,
        transactions: 1_000_000,
        unanswered: 50_000,
        retained: 256 << 20,
        dialogs: 1_000_000,
        forks: 32,
        subscriptions: 32,
        flows: 100_000,
        stream_idle: Duration::from_secs(32),
        waiting_for_flow: 1_000,
        outbox: 100_000,
        early_cancels: 0,
        idle_buffers: 16 << 20,
        overload: Overload::Refuse,
        retry_after: Duration::from_secs(5),
    };
}

impl Limits {
    /// What messages of this side's own making are held to.
    pub(crate) const NONE: Self = Self {
        message: usize::MAX,
        header_lines: usize::MAX,
        line: usize::MAX,
        header_section: usize::MAX,
        vias: usize::MAX,
        routes: usize::MAX,
        ..Self::DEFAULT
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
