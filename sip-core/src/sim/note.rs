//! What monitors and drawings see of messages and events: small values, read from the bytes once.

use crate::endpoint::{Cause, Misuse, Txn};
use crate::handle::{ClientTxn, ServerTxn};
use crate::headers::{Name, Via};
use crate::message::{Message, Method};
use core::hash::Hasher;
use core::net::{IpAddr, SocketAddr};
use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;

/// A method by its number, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names of methods")]
pub enum Verb {
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
    Register,
    Other,
}

impl From<Method<'_>> for Verb {
    fn from(method: Method<'_>) -> Self {
        match method {
            Method::Invite => Self::Invite,
            Method::Ack => Self::Ack,
            Method::Bye => Self::Bye,
            Method::Cancel => Self::Cancel,
            Method::Options => Self::Options,
            Method::Register => Self::Register,
            _ => Self::Other,
        }
    }
}

impl Verb {
    /// As it stands in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Bye => "BYE",
            Self::Cancel => "CANCEL",
            Self::Options => "OPTIONS",
            Self::Register => "REGISTER",
            Self::Other => "request",
        }
    }
}

/// The gist of a message: what tells whose it is and whether two are alike. Parts are told apart by hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gist {
    /// The status of a response; zero for a request.
    pub status: u16,
    /// The method of a request, or of the CSeq of a response.
    pub verb: Verb,
    /// The CSeq number.
    pub cseq: u32,
    /// The branch of the top Via, without case; by RFC 2543 with Call-ID and From tag.
    pub branch: u64,
    /// The whole top Via, without case and but for `received` and `rport`.
    pub via: u64,
    /// Whether the branch has the magic cookie, and names the transaction.
    pub named: bool,
    /// The sent-by of the top Via: host without case, and port or the default one.
    pub sent_by: u64,
    /// The transport of the top Via, without case.
    pub transport: u64,
    /// All Vias behind the top one.
    pub vias: u64,
    /// Call-ID.
    pub call: u64,
    /// The value of From.
    pub from: u64,
    /// The value of To; its tag; zero if there is none.
    pub to: u64,
    /// The To tag; zero if there is none.
    pub to_tag: u64,
    /// The Request-URI, or the reason.
    pub uri: u64,
    /// All values of Route.
    pub route: u64,
    /// All bytes.
    pub bytes: u64,
    /// Where a response goes by its top Via (RFC 3261 §18.2.2, RFC 3581), if that names an address.
    pub reply_to: Option<SocketAddr>,
}

impl Gist {
    /// Of a message that was understood.
    pub fn of(message: &Message<'_>) -> Self {
        let via = message.via();
        let tag = message.to_tag();
        let mut rest = message.values(Name::Via);
        let first = rest.next().unwrap_or_default();
        let behind = memchr::memchr(b',', first).and_then(|at| first.get(at..)).unwrap_or_default();
        let cseq = message.cseq();
        // Without the cookie a branch names nothing: RFC 2543 goes by Call-ID and From.
        let branch = message.branch().unwrap_or_default();
        let named = branch.get(..7).is_some_and(|cookie| cookie.eq_ignore_ascii_case(b"z9hG4bK"));
        let branch = match branch {
            branch if named => lower(branch),
            other => lower(other) ^ hash([message.call_id()]) ^ hash(message.from_tag()).rotate_left(1),
        };
        Self {
            status: if message.is_request() { 0 } else { message.status_code() },
            verb: cseq.method.into(),
            cseq: cseq.number,
            branch,
            named,
            via: stamped(&via),
            transport: lower(via.transport),
            sent_by: lower(via.host) ^ u64::from(via.port.map_or(5060, core::num::NonZero::get)),
            vias: hash(core::iter::once(behind).chain(rest)),
            call: hash([message.call_id()]),
            from: hash(message.value(Name::From)),
            to: hash(message.value(Name::To)),
            to_tag: tag.map_or(0, |tag| hash([tag])),
            uri: if message.is_request() { hash([message.request_uri()]) } else { 0 },
            route: hash(message.values(Name::Route)),
            bytes: hash([message.as_bytes()]),
            reply_to: reply_to(&via),
        }
    }

    /// Whether it is a request.
    pub const fn is_request(&self) -> bool {
        self.status == 0
    }

    /// Whether it is a final response.
    pub const fn is_final(&self) -> bool {
        self.status >= 200
    }
}

/// A hash for comparing within one process, and for nothing else.
fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hasher = FoldHasher::with_seed(1, SharedSeed::global_fixed());
    for part in parts {
        hasher.write(part);
        hasher.write_usize(part.len());
    }
    hasher.finish().max(1)
}

fn lower(part: &[u8]) -> u64 {
    let mut hasher = FoldHasher::with_seed(1, SharedSeed::global_fixed());
    for chunk in part.chunks(64) {
        let mut small = [0; 64];
        if let Some(small) = small.get_mut(..chunk.len()) {
            small.copy_from_slice(chunk);
            small.make_ascii_lowercase();
            hasher.write(small);
        }
    }
    hasher.finish()
}

/// What a server leaves as it is, without case: hosts and tokens have none.
fn stamped(via: &Via<'_>) -> u64 {
    let mut hash = lower(via.transport) ^ lower(via.host).rotate_left(1);
    hash ^= u64::from(via.port.map_or(0, core::num::NonZero::get)) << 7;
    let own = |name: &&[u8]| !(name.eq_ignore_ascii_case(b"received") || name.eq_ignore_ascii_case(b"rport"));
    for (name, value) in via.params.iter().filter(|(name, _)| own(name)) {
        hash = hash.rotate_left(3) ^ lower(name) ^ lower(value).rotate_left(32);
    }
    hash
}

fn reply_to(via: &Via<'_>) -> Option<SocketAddr> {
    let host: IpAddr = via.received().or_else(|| core::str::from_utf8(via.host).ok()?.parse().ok())?;
    let port = via.rport().or(via.port.map(core::num::NonZero::get)).unwrap_or(5060);
    Some(SocketAddr::new(host, port))
}

/// Something that a transaction user was told or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields are named after what they hold")]
pub enum Note {
    /// It began a client transaction. `call` is zero if the machine minted the Call-ID.
    Began { txn: ClientTxn, verb: Verb, call: u64, cseq: u32, uri: u64 },
    /// It answered.
    Answered { txn: ServerTxn, status: u16 },
    /// It sent an ACK for a 2xx.
    Acked { call: u64, cseq: u32 },
    /// It had its 2xx sent again.
    Repeated { txn: ServerTxn },
    /// It asked for a CANCEL.
    Cancelling { txn: ClientTxn },
    /// It gave a transaction up.
    Aborted { txn: Txn },
    /// A command of it was refused.
    Refused { why: Misuse },
    /// It was given a new request.
    Request { txn: ServerTxn, gist: Gist, merged: bool },
    /// It was given an ACK for a 2xx.
    Ack { txn: Option<ServerTxn>, gist: Gist },
    /// It was told that an INVITE is cancelled.
    Cancelled { txn: ServerTxn },
    /// It was given a response.
    Response { txn: ClientTxn, gist: Gist },
    /// It was given a response that belongs to nothing.
    Stray { gist: Gist },
    /// It was told of a malformed message, and what that was answered with.
    Rejected { status: Option<u16> },
    /// It was told that something could not be sent.
    TransportError { txn: Txn },
    /// It was told that its answer is taken for missing.
    Unanswered { txn: ServerTxn },
    /// It was told that a transaction is over.
    Ended { txn: Txn, cause: Cause },
}

/// The hash of a Call-ID or a Request-URI as it stands in a [`Gist`].
pub(super) fn hash_of(text: &str) -> u64 {
    hash([text.as_bytes()])
}
