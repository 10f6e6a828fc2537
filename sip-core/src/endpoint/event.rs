//! What an [`Endpoint`](super::Endpoint) tells its user, and what its user tells it.

use super::{Cause, Meaning, Misuse, Source, Txn};
use crate::handle::{ClientTxn, ServerTxn};
use crate::headers::Name;
use crate::message::{Content, Error, Message, Method, Request, Response, Status, Writer, is_text};
use crate::transaction::{Heard, Timers, Told, towards};
use crate::transport::Target;
use core::fmt;

/// What an endpoint tells its user. `user` is the number that was attached to the transaction.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'b> {
    /// A new request. Answer it with [`respond`](super::Endpoint::respond).
    Request {
        /// Its transaction.
        txn: ServerTxn,
        /// The request.
        request: Request<'b>,
        /// Where it came from.
        source: Source,
        /// Whether the same request came before by another path, and is still under way: a user agent answers 482, a proxy
        /// takes it as it is (RFC 3261 §8.2.2.2, §16.3).
        merged: bool,
    },
    /// An ACK for a 2xx.
    Ack {
        /// The transaction of the INVITE, if the ACK has its branch; else the dialog tells whose it is.
        txn: Option<ServerTxn>,
        /// The ACK.
        request: Request<'b>,
    },
    /// The peer cancels an INVITE that has no final response: answer that with 487. The CANCEL has been answered.
    Cancelled {
        /// The transaction of the INVITE.
        txn: ServerTxn,
        /// Its number.
        user: u64,
        /// The CANCEL.
        request: Request<'b>,
    },
    /// A response to a request of this side: every provisional one, the first final one, and every 2xx to an INVITE.
    Response {
        /// The transaction of the request.
        txn: ClientTxn,
        /// Its number.
        user: u64,
        /// The response.
        response: Response<'b>,
    },
    /// A response that belongs to no live transaction (RFC 6026 §8.9).
    Stray(Response<'b>),
    /// A message that is malformed.
    Rejected(Rejected<'b>),
    /// A response could not be sent, or the connection of an INVITE under way is gone. The transaction goes on.
    TransportError {
        /// Which transaction.
        txn: Txn,
        /// Its number.
        user: u64,
    },
    /// An INVITE had no answer from this side for too long, and was answered with 500.
    Unanswered {
        /// Which transaction.
        txn: ServerTxn,
        /// Its number.
        user: u64,
    },
    /// The one terminal event of a transaction. The handle is stale from here on.
    Terminated {
        /// Which transaction.
        txn: Txn,
        /// Its number.
        user: u64,
        /// Why.
        cause: Cause,
    },
}

/// A malformed message.
#[derive(Clone)]
pub struct Rejected<'b> {
    /// What is wrong with it.
    pub error: Error,
    /// The status that it was answered with; `None` if it was dropped.
    pub status: Option<Status>,
    /// Where it came from.
    pub source: Source,
    /// What could be read of it.
    pub(crate) partial: Message<'b>,
}

impl<'b> Rejected<'b> {
    pub(crate) fn new(
        mut partial: Message<'b>,
        error: Error,
        status: Option<Status>,
        source: Source,
    ) -> Self {
        // What is no SIP is not handed on.
        if !partial.is_read() {
            partial.set_bytes(b"");
        }
        Self { error, status, source, partial }
    }

    /// The bytes, as far as they were taken for one message; nothing if the start line was no SIP.
    pub fn as_bytes(&self) -> &[u8] {
        self.partial.as_bytes()
    }

    /// The rejection with a copy of its bytes.
    pub fn into_owned(self) -> Rejected<'static> {
        Rejected {
            error: self.error,
            status: self.status,
            source: self.source,
            partial: self.partial.into_owned(),
        }
    }
}

impl fmt::Debug for Rejected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rejected({}, {:?})", self.error, self.status)
    }
}

impl Event<'_> {
    /// The event with a copy of its bytes.
    pub fn into_owned(self) -> Event<'static> {
        match self {
            Self::Request { txn, request, source, merged } => {
                Event::Request { txn, request: request.into_owned(), source, merged }
            }
            Self::Ack { txn, request } => Event::Ack { txn, request: request.into_owned() },
            Self::Cancelled { txn, user, request } => {
                Event::Cancelled { txn, user, request: request.into_owned() }
            }
            Self::Response { txn, user, response } => {
                Event::Response { txn, user, response: response.into_owned() }
            }
            Self::Stray(response) => Event::Stray(response.into_owned()),
            Self::Rejected(rejected) => Event::Rejected(rejected.into_owned()),
            Self::TransportError { txn, user } => Event::TransportError { txn, user },
            Self::Unanswered { txn, user } => Event::Unanswered { txn, user },
            Self::Terminated { txn, user, cause } => Event::Terminated { txn, user, cause },
        }
    }
}

impl<'b> Event<'b> {
    /// A message with what it means. A message is large: it is moved once, to where it stays.
    // Inlined it would be taken apart and moved word by word: 70 ns on the OPTIONS of the bench.
    #[inline(never)]
    pub(super) fn of(meaning: Meaning, source: Source, message: Message<'b>) -> Self {
        let heard = match meaning {
            Meaning::Heard(heard) => heard,
            Meaning::Rejected(error, status) => {
                return Self::Rejected(Rejected::new(message, error, status, source));
            }
        };
        match heard {
            Heard::Request { txn, merged } => {
                Self::Request { txn, request: Request::of(message), source, merged }
            }
            Heard::Cancel { invite, user } => {
                Self::Cancelled { txn: invite, user, request: Request::of(message) }
            }
            Heard::Ack { txn } => Self::Ack { txn, request: Request::of(message) },
            Heard::Response { txn, user } => Self::Response { txn, user, response: Response::of(message) },
            Heard::Stray => Self::Stray(Response::of(message)),
        }
    }
}

impl From<Told> for Event<'static> {
    fn from(told: Told) -> Self {
        match told {
            Told::Terminated { txn, user, cause } => Self::Terminated { txn, user, cause },
            Told::TransportError { txn, user } => Self::TransportError { txn, user },
            Told::Unanswered { txn, user } => Self::Unanswered { txn, user },
        }
    }
}

/// A request to send.
#[derive(Clone, Copy, Debug)]
pub struct NewRequest<'a> {
    /// The method.
    pub method: Method<'a>,
    /// The Request-URI.
    pub uri: &'a str,
    /// The value of From, with its tag.
    pub from: &'a str,
    /// The value of To, with a tag inside a dialog.
    pub to: &'a str,
    /// Call-ID; empty: a new one.
    pub call_id: &'a str,
    /// The sequence number, below 2^31.
    pub cseq: u32,
    /// The values of Route, top first.
    pub route: &'a [&'a str],
    /// Where to send it; `None`: by the top Route if it is a loose router, else by the Request-URI (RFC 3263).
    pub target: Option<Target>,
    /// The timers of this transaction; `None`: those of the endpoint.
    pub timers: Option<Timers>,
    /// A number of the caller's; events about the transaction carry it.
    pub user: u64,
    /// What else stands in it.
    pub content: Content<'a>,
}

impl<'a> NewRequest<'a> {
    /// A request with what every request needs (RFC 3261 §8.1.1).
    pub const fn new(method: Method<'a>, uri: &'a str, from: &'a str, to: &'a str, cseq: u32) -> Self {
        Self {
            method,
            uri,
            from,
            to,
            call_id: "",
            cseq,
            route: &[],
            target: None,
            timers: None,
            user: 0,
            content: Content::NONE,
        }
    }

    pub(super) fn check(&self) -> Result<(), Misuse> {
        use crate::headers::{Address, CallId, Header, Route};
        self.content.check().map_err(|_| Misuse::BadContent)?;
        let sound = crate::message::lex::is_token(self.method.as_bytes())
            && Address::whole(self.from.as_bytes()).is_ok()
            && Address::whole(self.to.as_bytes()).is_ok()
            && self.route.iter().all(|route| is_text(route) && Route::whole(route.as_bytes()).is_ok())
            && is_text(self.from)
            && is_text(self.to)
            && (self.call_id.is_empty() || CallId::whole(self.call_id.as_bytes()).is_ok());
        if !sound {
            return Err(Misuse::BadContent);
        }
        crate::uri::Uri::parse(self.uri.as_bytes()).map(|_| ()).map_err(|_| Misuse::BadUri)
    }

    pub(super) fn call_id_or<'c>(&self, minted: &'c [u8]) -> &'c [u8]
    where
        'a: 'c,
    {
        if self.call_id.is_empty() { minted } else { self.call_id.as_bytes() }
    }

    pub(super) fn towards(&self) -> &'a [u8] {
        towards(self.uri.as_bytes(), self.route.first().map(|route| route.as_bytes()))
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>, call_id: &[u8]) {
        for route in self.route {
            writer.field(Name::Route, &[route.as_bytes()]);
        }
        writer
            .field(Name::From, &[self.from.as_bytes()])
            .field(Name::To, &[self.to.as_bytes()])
            .field(Name::CallId, &[call_id])
            .cseq(self.cseq, self.method)
            .number(Name::MaxForwards, 70);
        writer.finish(&self.content);
    }
}

/// The commands of an [`Endpoint`](super::Endpoint) as values.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Command<'a> {
    /// [`request`](super::Endpoint::request)
    Request(NewRequest<'a>),
    /// [`ack`](super::Endpoint::ack)
    Ack(NewRequest<'a>),
    /// [`respond`](super::Endpoint::respond)
    Respond {
        /// The transaction of the request.
        txn: ServerTxn,
        /// The status.
        status: Status,
        /// What else stands in the response.
        content: Content<'a>,
    },
    /// [`repeat`](super::Endpoint::repeat)
    Repeat(ServerTxn),
    /// [`cancel`](super::Endpoint::cancel)
    Cancel(ClientTxn),
    /// [`abort`](super::Endpoint::abort)
    Abort(Txn),
}
