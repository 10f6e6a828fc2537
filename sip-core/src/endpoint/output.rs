//! What goes into a machine from the network and what comes out towards it.

use crate::handle::{ClientTxn, FlowId, Key, ResolveId, ServerTxn};
use crate::transport::{Target, Transport};
use core::fmt;
use core::net::SocketAddr;

/// Where a message came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A UDP path.
    Datagram {
        /// The address of the socket that received it.
        local: SocketAddr,
        /// The sender.
        remote: SocketAddr,
    },
    /// A flow. For [`datagram`](crate::Machine::datagram): one that frames messages itself, as WebSocket does.
    Flow(FlowId),
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A UDP path.
    Datagram {
        /// The socket to send from.
        local: SocketAddr,
        /// The receiver.
        remote: SocketAddr,
    },
    /// A flow that is open.
    Flow(FlowId),
}

/// Whose message a transmit is: what [`send_failed`](crate::Machine::send_failed) wants back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub(crate) Option<Key>);

impl Ticket {
    /// The ticket of a message that nobody waits for: that it could not be sent is told to nobody.
    pub const NONE: Self = Self(None);
}

/// A message to send.
#[derive(Clone, Copy)]
pub struct Transmit<'m> {
    /// Whose it is.
    pub ticket: Ticket,
    /// Where it goes.
    pub to: Destination,
    /// The bytes, lent until the next call of `poll`.
    pub bytes: &'m [u8],
    /// Whether the same bytes were sent before.
    pub retransmission: bool,
}

impl fmt::Debug for Transmit<'_> {
    /// The start line and the length of the message, not all of its bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let text = alloc::string::String::from_utf8_lossy(line);
        f.debug_struct("Transmit")
            .field("to", &self.to)
            .field("bytes", &format_args!("{text} ({} B)", self.bytes.len()))
            .field("retransmission", &self.retransmission)
            .finish_non_exhaustive()
    }
}

/// One output of a machine.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output<'m, E> {
    /// Send these bytes. If that fails, say so with `send_failed`.
    Transmit(Transmit<'m>),
    /// Open a connection; answer with `flow_opened` or `flow_closed`.
    Connect {
        /// Its name from now on.
        flow: FlowId,
        /// Where it leads.
        target: Target,
    },
    /// Close a connection, when what was given before to send is sent. It is no flow any more.
    Close {
        /// Its name.
        flow: FlowId,
    },
    /// Find the addresses of a host; answer with `resolved`.
    Resolve {
        /// The question's name.
        id: ResolveId,
        /// The host.
        host: &'m str,
        /// The port to go with each address.
        port: u16,
        /// The transport that will be used.
        transport: Transport,
    },
    /// Something for the transaction user.
    Event(E),
}

/// A transaction of either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Txn {
    /// ICT or NICT.
    Client(ClientTxn),
    /// IST or NIST.
    Server(ServerTxn),
}

/// Why a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// It ran its course: a final response was received, or sent and taken.
    Completed,
    /// No final response came in time. To the transaction user this is a 408 (RFC 3261 §8.1.3.1).
    Timeout,
    /// The request could not be sent. To the transaction user this is a 503 (RFC 3261 §8.1.3.1).
    TransportError,
    /// The final response to an INVITE was never acknowledged.
    NoAck,
    /// The transaction user did not answer.
    Unanswered,
    /// The transaction user gave it up.
    Aborted,
}

/// How sending failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendError {
    /// The peer can't be reached: ICMP, a refused or broken connection.
    Unreachable,
    /// The queue of the flow is full.
    Full,
    /// The message is too large for the transport.
    TooLarge,
}

/// Counters and sizes of a machine, to be read at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Client transactions that are alive.
    pub client_transactions: usize,
    /// Server transactions that are alive.
    pub server_transactions: usize,
    /// Server transactions among them that wait for their user.
    pub unanswered: usize,
    /// Dialogs that are alive.
    pub dialogs: usize,
    /// Flows that are open or being opened.
    pub flows: usize,
    /// Bytes that are retained for retransmission or wait to be sent.
    pub retained_bytes: usize,
    /// Messages received and understood.
    pub received: u64,
    /// Requests among them that were the same request again.
    pub retransmissions_in: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages among them that had been sent before.
    pub retransmissions_out: u64,
    /// Responses among the received by the class of their status, 1xx first; copies count.
    pub responses_received: [u64; 6],
    /// Responses among the sent by class, without those that were sent before.
    pub responses_sent: [u64; 6],
    /// Responses among the sent that are somebody else's, passed on; the others are of this side's making.
    pub responses_relayed: u64,
    /// Malformed messages.
    pub rejected: u64,
    /// Responses that belong to nothing here.
    pub strays: u64,
    /// New requests that were answered with 503 because of a cap.
    pub overloaded: u64,
    /// Retransmissions that a full outbox lost.
    pub lost: u64,
}
