//! [`Endpoint`]: transports and transactions (RFC 3261 §17, §18), and what all machines return.

mod error;
mod event;
mod output;

pub use error::Misuse;
pub use event::{Command, Event, NewRequest, Rejected};
pub use output::{Cause, Destination, Output, SendError, Source, Stats, Ticket, Transmit, Txn};

use crate::config::Config;
use crate::handle::{ClientTxn, FlowId, ServerTxn};
use crate::headers::Name;
use crate::machine::Machine;
use crate::message::{Content, Error, Message, Method, Parsed, Status, hex};
#[cfg(feature = "snapshot")]
use crate::snapshot::{In, Kind as Snapshot, Out, RestoreError};
use crate::time::Instant;
#[cfg(feature = "snapshot")]
use crate::transaction::Buffers;
use crate::transaction::{ClientRequest, Heard, Layer, State, Told};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
#[cfg(feature = "snapshot")]
use alloc::vec::Vec;

/// The transaction layer as a machine of its own: for who writes the core of a user agent or a proxy himself.
///
/// It matches, repeats and absorbs; every request and response that is new goes up as an [`Event`]. It does not know
/// dialogs: the ACK for a 2xx is sent with [`ack`](Self::ack), and a 2xx is repeated with [`repeat`](Self::repeat).
pub struct Endpoint {
    layer: Layer,
    /// What the polled events are made from; an event has room for a message, which these do not have.
    events: VecDeque<Told>,
}

impl Endpoint {
    /// A machine without addresses: state them with [`listen`](Machine::listen).
    pub fn new(config: Config) -> Self {
        Self { layer: Layer::new(config), events: VecDeque::new() }
    }

    /// All connections that are open or being opened.
    pub fn flows(&self) -> impl Iterator<Item = FlowId> {
        self.layer.flow_ids()
    }

    /// Sends a request in a transaction of its own (RFC 3261 §17.1): an ICT for INVITE, a NICT for others.
    ///
    /// # Errors
    /// [`Misuse::BadMethod`] for ACK and CANCEL, [`Misuse::BadContent`], [`Misuse::BadUri`], [`Misuse::NoLocal`],
    /// [`Misuse::Full`], [`Misuse::Draining`].
    pub fn request(&mut self, now: Instant, request: &NewRequest<'_>) -> Result<ClientTxn, Misuse> {
        if matches!(request.method, Method::Ack | Method::Cancel) {
            return Err(Misuse::BadMethod);
        }
        request.check()?;
        if request.method != Method::Bye {
            self.layer.may_begin()?;
        }
        self.enter(now);
        let minted = self.mint_call_id();
        let call_id = request.call_id_or(minted.as_flattened());
        let txn = self.layer.request(
            &ClientRequest {
                method: request.method,
                uri: request.uri.as_bytes(),
                towards: request.towards(),
                target: request.target,
                timers: request.timers.map(Arc::new),
                user: request.user,
            },
            |writer| request.write(writer, call_id),
        );
        self.leave();
        txn
    }

    /// Sends an ACK for a 2xx, outside any transaction (RFC 3261 §13.2.2.4). The method of `request` is taken as ACK. The same
    /// request given again, for a copy of the 2xx, is the same ACK byte for byte.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn ack(&mut self, now: Instant, request: &NewRequest<'_>) -> Result<(), Misuse> {
        request.check()?;
        self.enter(now);
        let minted = self.mint_call_id();
        let call_id = request.call_id_or(minted.as_flattened());
        let ack = NewRequest { method: Method::Ack, ..*request };
        let sent = self.layer.send_stateless(Method::Ack, ack.uri.as_bytes(), ack.towards(), |writer| {
            ack.write(writer, call_id);
        });
        sent.map(|buffer| self.layer.buffers.unpin(buffer))
    }

    /// Answers a request (RFC 3261 §8.2.6). The To tag is the same in every response of the transaction.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] after a final response; [`Misuse::Forbidden`] for a 408, or a provisional
    /// response but a late 100, to a request other than INVITE (RFC 4320 §4); [`Misuse::BadContent`]; [`Misuse::Full`] for a provisional
    /// response at the cap on retained bytes.
    pub fn respond(
        &mut self,
        now: Instant,
        txn: ServerTxn,
        status: Status,
        content: &Content<'_>,
    ) -> Result<(), Misuse> {
        content.check().map_err(|_| Misuse::BadContent)?;
        self.enter(now);
        let done = self.layer.respond(txn, status, content, |_| {});
        self.leave();
        done
    }

    /// Sends the 2xx of an INVITE once more (RFC 3261 §13.3.1.4).
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] if no 2xx was sent.
    pub fn repeat(&mut self, now: Instant, txn: ServerTxn) -> Result<(), Misuse> {
        self.enter(now);
        match self.layer.state(Txn::Server(txn)).ok_or(Misuse::Gone)? {
            State::Ist(crate::transaction::ist::State::Accepted) => {
                self.layer.repeat_success(txn);
                self.leave();
                Ok(())
            }
            _ => Err(Misuse::WrongState),
        }
    }

    /// Cancels an INVITE: at once if a provisional response came, else when one comes (RFC 3261 §9.1). The INVITE still
    /// ends by a final response, or 64·T1 later; one that has not left, because the address or the connection is not there yet, ends at
    /// once, with [`Cause::Aborted`].
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::BadMethod`] if it is no INVITE; [`Misuse::WrongState`] after a final response.
    pub fn cancel(&mut self, now: Instant, txn: ClientTxn) -> Result<(), Misuse> {
        self.enter(now);
        let done = self.layer.cancel(txn);
        self.leave();
        done
    }

    /// Ends a transaction at once and in silence; its terminal event has [`Cause::Aborted`].
    ///
    /// # Errors
    /// [`Misuse::Gone`]
    pub fn abort(&mut self, now: Instant, txn: Txn) -> Result<(), Misuse> {
        self.enter(now);
        let done = if self.layer.abort(txn) { Ok(()) } else { Err(Misuse::Gone) };
        self.leave();
        done
    }

    /// Attaches a number of the caller's to a transaction; events about it carry the number.
    ///
    /// # Errors
    /// [`Misuse::Gone`]
    pub fn set_user(&mut self, now: Instant, txn: Txn, user: u64) -> Result<(), Misuse> {
        self.enter(now);
        self.layer.user(txn).ok_or(Misuse::Gone)?;
        self.layer.set_user(txn, user);
        Ok(())
    }

    /// The transaction that a message belongs to; of an ACK or a CANCEL that of its INVITE. Nothing changes: for who spreads messages over several
    /// machines.
    pub fn find(&self, message: &Message<'_>) -> Option<Txn> {
        self.layer.find(message)
    }

    /// The state of a transaction; nothing if it is over.
    pub fn state(&self, txn: Txn) -> Option<State> {
        self.layer.state(txn)
    }

    /// All live transactions.
    pub fn transactions(&self) -> impl Iterator<Item = Txn> {
        self.layer.transactions()
    }

    /// A Call-ID for a request that has none.
    fn mint_call_id(&mut self) -> [[u8; 16]; 2] {
        [hex(self.layer.random.u64()), hex(self.layer.random.u64())]
    }

    /// Every call begins here: what was due before it is done first, so that it makes no difference when outputs are drained.
    fn enter(&mut self, now: Instant) {
        while self.is_due() {
            self.fire();
        }
        self.layer.set_clock(now);
    }

    /// Every call ends here: what the layer has to tell becomes events.
    fn leave(&mut self) {
        while let Some(told) = self.layer.told() {
            self.events.push_back(told);
            self.layer.out.push(crate::transaction::Item::Event);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.layer.next_due()
    }

    fn is_due(&self) -> bool {
        self.layer.is_due()
    }

    fn fire(&mut self) {
        self.layer.fire();
        self.leave();
    }

    fn hear(&mut self, source: Source, parsed: &Parsed<'_>, exact: u64) -> Option<Meaning> {
        let meaning = match parsed.fault {
            None => self.layer.receive(source, &parsed.message, exact).map(Meaning::Heard),
            Some(error) => Some(Meaning::Rejected(error, self.layer.reject(source, &parsed.message, error))),
        };
        self.leave();
        meaning
    }
}

/// What a message means, without the message.
#[derive(Clone, Copy)]
pub(crate) enum Meaning {
    Heard(Heard),
    Rejected(Error, Option<Status>),
}

#[cfg(feature = "snapshot")]
impl Endpoint {
    /// The whole machine as bytes: every transaction, and when it is due. The configuration, the seed and the addresses are not in them. They are
    /// secret: who has them can answer in its place.
    ///
    /// # Errors
    /// [`Misuse::WrongState`] while outputs wait to be drained, or something is due.
    pub fn snapshot(&self, now: Instant) -> Result<Vec<u8>, Misuse> {
        let clock = now.max(self.layer.clock());
        let is_due = self.next_due().is_some_and(|due| due <= clock);
        if !self.layer.is_drained() || !self.events.is_empty() || is_due {
            return Err(Misuse::WrongState);
        }
        let mut out = Out::new(Snapshot::Endpoint, clock, &self.layer.buffers);
        self.layer.keep(&mut out);
        Ok(out.into_bytes())
    }

    /// The endpoint that a [`snapshot`](Self::snapshot) was made of: all handles are what they were, and what was due in so long is due in
    /// so long from `now`. What it mints from here on comes from the seed of this configuration.
    ///
    /// State its addresses with [`listen`](Machine::listen). Connections that did not survive are to be reported with
    /// [`flow_closed`](Machine::flow_closed), for all of [`flows`](Self::flows).
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn restore(now: Instant, config: Config, bytes: &[u8]) -> Result<Self, RestoreError> {
        let mut endpoint = Self::new(config);
        endpoint.layer.set_clock(now);
        let buffers = core::mem::replace(&mut endpoint.layer.buffers, Buffers::new(0));
        let mut from = In::new(bytes, Snapshot::Endpoint, endpoint.layer.clock(), buffers)?;
        endpoint.layer.restore(&mut from)?;
        endpoint.layer.buffers = from.buffers;
        Ok(endpoint)
    }
}

impl Machine for Endpoint {
    type Event<'b> = Event<'b>;
    type Command<'a> = Command<'a>;
    type Made = Option<ClientTxn>;

    crate::machine::verbs!();

    fn command(&mut self, now: Instant, command: Command<'_>) -> Result<Option<ClientTxn>, Misuse> {
        match command {
            Command::Request(request) => return self.request(now, &request).map(Some),
            Command::Ack(request) => self.ack(now, &request)?,
            Command::Respond { txn, status, content } => self.respond(now, txn, status, &content)?,
            Command::Repeat(txn) => self.repeat(now, txn)?,
            Command::Cancel(txn) => self.cancel(now, txn)?,
            Command::Abort(txn) => self.abort(now, txn)?,
        }
        Ok(None)
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
        match event {
            Event::Request { txn, .. } => {
                let after = self.layer.limits.retry_after.as_secs();
                self.enter(now);
                let _ = self.layer.respond(txn, Status::SERVICE_UNAVAILABLE, &Content::NONE, |writer| {
                    writer.number(Name::RetryAfter, after);
                });
                self.leave();
                None
            }
            Event::Response { response, .. } if response.status().is_provisional() => None,
            // The peer sends an ACK again with each copy of the 2xx.
            Event::Ack { .. } | Event::Stray(_) | Event::Rejected(_) => None,
            kept => Some(kept),
        }
    }
}
