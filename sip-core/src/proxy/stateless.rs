//! A proxy without state (RFC 3261 §16.11): each message goes on when it comes, and nothing is kept of it.
//!
//! A [`Stateless`] checks a request as a [`Proxy`](super::Proxy) does, and tells its user of it; the user says at once, or with a copy of it later, where it goes:
//! to one place, and for the same request to the same one, with its retransmissions, its CANCEL and its ACK. Responses find back by themselves,
//! those alone that answer what was forwarded from here: the branch of its Via is a keyed hash of what a request and its response have in common.
//! Proxies with the same seed can stand in for each other.
//!
//! ```
//! use sip_core::proxy::stateless::{Event, Stateless};
//! use sip_core::proxy::{Branch, Config};
//! use sip_core::{Config as CoreConfig, Instant, Local, Machine, Output, Source, Transport};
//!
//! let mut proxy = Stateless::new(Config::new(CoreConfig::new([1; 32])));
//! let (now, local) = (Instant::ZERO, "192.0.2.1:5060".parse().unwrap());
//! proxy.listen(now, Local { transport: Transport::Udp, addr: local, advertised: None });
//! let from = Source::Datagram { local, remote: "192.0.2.9:5060".parse().unwrap() };
//! let event = proxy.datagram(now, from, b"OPTIONS sip:bob@192.0.2.1 SIP/2.0\r\n\
//!     Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:a@x>;tag=1\r\n\
//!     To: <sip:bob@192.0.2.1>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n");
//! let Some(Event::Request { request, source, routed: false, .. }) = event else { panic!() };
//! proxy.forward(now, source, &request, &Branch::to("sip:bob@192.0.2.7")).unwrap();
//! let Some(Output::Transmit(sent)) = proxy.poll() else { panic!() };
//! assert!(sent.bytes.starts_with(b"OPTIONS sip:bob@192.0.2.7 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK"));
//! ```

use super::routing::{self, Arrival, Own};
use super::{Branch, Config};
use crate::config::Limits;
use crate::endpoint::{Misuse, Rejected, Source, Stats};
use crate::handle::FlowId;
use crate::headers::Name;
use crate::machine::Machine;
use crate::message::{Content, Error, Message, Method, Parsed, Request, Response, Status};
use crate::random::KeyedHash;
use crate::time::Instant;
use crate::transaction::Layer;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// What a proxy without state tells its user.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'b> {
    /// A request that may be forwarded, an ACK or CANCEL too: [`forward`](Stateless::forward) it or [`respond`](Stateless::respond). Nobody else remembers it.
    Request {
        /// The request as it came.
        request: Request<'b>,
        /// Where it came from.
        source: Source,
        /// Where it goes is said in it: by a Route, or by a Request-URI that this proxy is not responsible for (RFC 3261 §16.5). Forward it as it is.
        routed: bool,
        /// It comes by a Route that this proxy, or one with the same seed, wrote for its dialog, as nobody else can.
        recorded: bool,
    },
    /// A response.
    Response {
        /// The response as it came.
        response: Response<'b>,
        /// Whether it went on: not if it answers nothing that was forwarded from here.
        forwarded: bool,
    },
    /// A request that may not be forwarded (RFC 3261 §16.3). It was answered, but for an ACK.
    Refused {
        /// The request.
        request: Request<'b>,
        /// With what.
        status: Status,
    },
    /// A message that is malformed.
    Rejected(Rejected<'b>),
}

/// The commands of a proxy without state as values.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Command<'a> {
    /// [`forward`](Stateless::forward)
    Forward(Source, &'a Request<'a>, &'a Branch<'a>),
    /// [`respond`](Stateless::respond)
    Respond(Source, &'a Request<'a>, Status, Content<'a>),
}

/// What a message means, without the message.
#[derive(Clone, Copy)]
enum Meaning {
    Request { routed: bool, recorded: bool },
    Response { forwarded: bool },
    Refused(Status),
    Rejected(Error, Option<Status>),
}

impl<'b> Event<'b> {
    fn of(meaning: Meaning, source: Source, message: Message<'b>) -> Self {
        if let Meaning::Rejected(error, status) = meaning {
            return Self::Rejected(Rejected::new(message, error, status, source));
        }
        match (message.classify(), meaning) {
            (Ok(request), Meaning::Refused(status)) => Self::Refused { request, status },
            (Ok(request), Meaning::Request { routed, recorded }) => {
                Self::Request { request, source, routed, recorded }
            }
            (Ok(request), _) => Self::Request { request, source, routed: false, recorded: false },
            (Err(response), meaning) => {
                let forwarded = matches!(meaning, Meaning::Response { forwarded: true });
                Self::Response { response, forwarded }
            }
        }
    }

    /// The event with a copy of its bytes.
    pub fn into_owned(self) -> Event<'static> {
        match self {
            Self::Request { request, source, routed, recorded } => {
                Event::Request { request: request.into_owned(), source, routed, recorded }
            }
            Self::Response { response, forwarded } => {
                Event::Response { response: response.into_owned(), forwarded }
            }
            Self::Refused { request, status } => Event::Refused { request: request.into_owned(), status },
            Self::Rejected(rejected) => Event::Rejected(rejected.into_owned()),
        }
    }
}

/// A stateless proxy (RFC 3261 §16.11). It allocates nothing for a message whose next hop is an address.
pub struct Stateless {
    layer: Layer,
    config: Config,
    proof: KeyedHash,
    /// Always empty: nothing happens here but by a message.
    events: VecDeque<Event<'static>>,
    /// The message at hand: read, and as it goes out.
    prepared: Vec<u8>,
    made: Vec<u8>,
}

impl Stateless {
    /// A proxy without addresses: state them with [`listen`](Machine::listen). What its configuration says of branches, timers and failures is not used.
    pub fn new(config: Config) -> Self {
        let layer = Layer::new(config.core.clone());
        Self {
            proof: routing::proof_key(&config, &layer),
            layer,
            config,
            events: VecDeque::new(),
            prepared: Vec::new(),
            made: Vec::new(),
        }
    }

    /// Forwards a request that came from `source` (RFC 3261 §16.6). Timers, turn, breadth and part of the branch are not used.
    ///
    /// The place must follow from what the request and its retransmissions, its CANCEL and its ACK have in common, or they go different ways.
    ///
    /// # Errors
    /// [`Misuse::Gone`] if its connection is closed; [`Misuse::BadUri`], [`Misuse::SipsMismatch`], [`Misuse::BadContent`], [`Misuse::NoLocal`]; [`Misuse::Full`]
    /// if the outbox is. A request that grows too large is [`Misuse::BadContent`].
    pub fn forward(
        &mut self,
        now: Instant,
        source: Source,
        request: &Request<'_>,
        branch: &Branch<'_>,
    ) -> Result<(), Misuse> {
        self.enter(now);
        let (mut prepared, mut made) = (core::mem::take(&mut self.prepared), core::mem::take(&mut self.made));
        prepared.clear();
        made.clear();
        let done = self.send(source, request, branch, &mut prepared, &mut made);
        (self.prepared, self.made) = (prepared, made);
        self.leave();
        done
    }

    fn send(
        &mut self,
        source: Source,
        request: &Message<'_>,
        branch: &Branch<'_>,
        prepared: &mut Vec<u8>,
        made: &mut Vec<u8>,
    ) -> Result<(), Misuse> {
        let unfit = |_| Misuse::BadContent;
        let arrival = Arrival::of(&self.layer, source).ok_or(Misuse::Gone)?;
        let incoming = self.own().incoming(request);
        self.own().prepare(request, &incoming, arrival.remote, prepared).map_err(unfit)?;
        let prepared = Message::parse(prepared, &Limits::NONE).map_err(unfit)?;
        let strict = self.own().build(&prepared, arrival, branch, made)?;
        let made = Message::parse(made, &Limits::NONE).map_err(unfit)?;
        let hop = routing::hop(&made, branch.target, strict)?;
        self.layer.forward_stateless(source, &made, hop)
    }

    /// Answers a request that came from `source`, in place of forwarding it. A retransmission comes again, and is to be answered with the same.
    ///
    /// # Errors
    /// [`Misuse::WrongState`] for an ACK; [`Misuse::Forbidden`] for a provisional response, which a stateless element may not send (RFC 3261 §8.2.6.1), and for a
    /// 2xx to an INVITE; [`Misuse::BadContent`].
    pub fn respond(
        &mut self,
        now: Instant,
        source: Source,
        request: &Request<'_>,
        status: Status,
        content: &Content<'_>,
    ) -> Result<(), Misuse> {
        content.check().map_err(|_| Misuse::BadContent)?;
        if request.method() == Method::Ack {
            return Err(Misuse::WrongState);
        }
        if !status.is_final() || status.is_success() && request.method() == Method::Invite {
            return Err(Misuse::Forbidden);
        }
        self.enter(now);
        self.layer.respond_stateless(source, request, status, content, |_| {});
        self.leave();
        Ok(())
    }

    /// All connections that are open or being opened.
    pub fn flows(&self) -> impl Iterator<Item = FlowId> {
        self.layer.flow_ids()
    }

    const fn own(&self) -> Own<'_> {
        Own { config: &self.config, locals: &self.layer.locals, hash: &self.layer.hash, proof: &self.proof }
    }

    /// Every call begins here: what the adapter owes an answer for is given up in its time.
    fn enter(&mut self, now: Instant) {
        while self.is_due() {
            self.fire();
        }
        self.layer.set_clock(now);
    }

    /// There are no transactions that could tell something.
    fn leave(&mut self) {
        while self.layer.told().is_some() {}
    }

    fn next_due(&self) -> Option<Instant> {
        self.layer.next_due()
    }

    fn is_due(&self) -> bool {
        self.next_due().is_some_and(|due| due <= self.layer.clock())
    }

    fn fire(&mut self) {
        self.layer.fire();
        self.leave();
    }

    fn hear(&mut self, source: Source, parsed: &Parsed<'_>, _: u64) -> Option<Meaning> {
        let message = &parsed.message;
        let meaning = if let Some(error) = parsed.fault {
            Meaning::Rejected(error, self.layer.reject(source, message, error))
        } else {
            self.layer.count_received(source);
            match message.is_request() {
                true => self.on_request(source, message),
                false => Meaning::Response { forwarded: self.on_response(message) },
            }
        };
        self.leave();
        Some(meaning)
    }

    fn on_request(&mut self, source: Source, request: &Message<'_>) -> Meaning {
        // It does not fork: Max-Forwards ends what runs in a circle (RFC 5393 §4.2).
        let Err(status) = self.own().validate(request, None) else {
            let incoming = self.own().incoming(request);
            return Meaning::Request { routed: incoming.is_routed, recorded: incoming.is_recorded };
        };
        if request.method() != Method::Ack {
            let unsupported = self.own().unsupported_line(request, status);
            self.layer.respond_stateless(source, request, status, &Content::NONE, |writer| {
                if !unsupported.is_empty() {
                    writer.field(Name::Unsupported, &[&unsupported]);
                }
            });
        }
        Meaning::Refused(status)
    }

    /// RFC 3261 §16.11, §18.1.2: by the Via below that of this side.
    fn on_response(&mut self, response: &Message<'_>) -> bool {
        let mut stripped = core::mem::take(&mut self.made);
        stripped.clear();
        let mut edit = response.edit(&mut stripped);
        let fit = edit.pop_via().is_ok() && edit.declare_length(response.body().len()).is_ok();
        let forwarded = fit && self.layer.return_stateless(response, &stripped);
        self.made = stripped;
        forwarded
    }
}

impl Machine for Stateless {
    type Event<'b> = Event<'b>;
    type Command<'a> = Command<'a>;
    type Made = ();

    crate::machine::verbs!();

    fn command(&mut self, now: Instant, command: Command<'_>) -> Result<(), Misuse> {
        match command {
            Command::Forward(source, request, branch) => self.forward(now, source, request, branch),
            Command::Respond(source, request, status, content) => {
                self.respond(now, source, request, status, &content)
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.layer.is_idle()
    }

    fn stats(&self) -> Stats {
        self.layer.stats()
    }

    fn into_owned(event: Event<'_>) -> Event<'static> {
        event.into_owned()
    }

    fn refuse<'b>(&mut self, now: Instant, event: Self::Event<'b>) -> Option<Self::Event<'b>> {
        if let Event::Request { request, source, .. } = &event {
            let after = alloc::format!("{}", self.config.core.limits.retry_after.as_secs());
            let headers = [("Retry-After", &*after)];
            let content = Content::headers(&headers);
            let _ = self.respond(now, *source, request, Status::SERVICE_UNAVAILABLE, &content);
        }
        None
    }
}
