//! Machines in a world: what it needs of one, and an [`Endpoint`] with its transaction user.

use super::log::Log;
use super::note::{Gist, Note, hash_of};
use crate::endpoint::{
    Command, Endpoint, Event, Misuse, NewRequest, Output, SendError, Source, Stats, Ticket, Transmit,
};
use crate::framing::StreamBuf;
use crate::handle::{ClientTxn, FlowId, ResolveId, ServerTxn};
use crate::machine::{Input, Machine};
use crate::message::{Content, Status};
use crate::random::Seed;
use crate::time::Instant;
use crate::transport::{Local, Target, Transport};
use alloc::collections::{BTreeMap, VecDeque};
use core::net::SocketAddr;

/// One output of a node.
#[derive(Debug)]
pub enum Act<'a> {
    /// Something was said or done by its user. Notes come in the order of their causes, before what they caused.
    Note(Note),
    /// Send these bytes.
    Transmit(Transmit<'a>),
    /// Open a connection.
    Connect {
        /// Its name at this node.
        flow: FlowId,
        /// Where it leads.
        target: Target,
    },
    /// Close a connection.
    Close(FlowId),
    /// Find the addresses of a host.
    Resolve {
        /// The question.
        id: ResolveId,
        /// The host.
        host: &'a str,
        /// The port that goes with the addresses.
        port: u16,
    },
}

/// An output as an act of its node; what its user is told is none.
pub(super) fn act<E>(
    output: Output<'_, E>,
    streams: &mut BTreeMap<FlowId, StreamBuf>,
    sink: &mut dyn FnMut(Act<'_>),
) {
    match output {
        Output::Transmit(transmit) => sink(Act::Transmit(transmit)),
        Output::Connect { flow, target } => sink(Act::Connect { flow, target }),
        Output::Close { flow } => {
            streams.remove(&flow);
            sink(Act::Close(flow));
        }
        Output::Resolve { id, host, port, .. } => sink(Act::Resolve { id, host, port }),
        Output::Event(_) => {}
    }
}

/// What a world needs of a machine: the verbs, over times of its own clock. [`Host`] is one for [`Endpoint`]; whoever has a wrapper
/// of his own implements it for that.
pub trait Node {
    /// Takes a datagram.
    fn datagram(&mut self, now: Instant, from: Source, data: &[u8]);
    /// Takes bytes of a connection.
    fn bytes(&mut self, now: Instant, flow: FlowId, data: &[u8]);
    /// A peer opened a connection; `None` refuses it.
    fn accepted(&mut self, now: Instant, peer: Target, local: SocketAddr) -> Option<FlowId>;
    /// A connection that it asked for is open; false if it does not want it any more.
    fn opened(&mut self, now: Instant, flow: FlowId, local: SocketAddr) -> bool;
    /// A connection is gone, or could not be opened.
    fn closed(&mut self, now: Instant, flow: FlowId);
    /// Something could not be sent.
    fn send_failed(&mut self, now: Instant, ticket: Ticket, error: SendError);
    /// The addresses of a host.
    fn resolved(&mut self, now: Instant, id: ResolveId, addrs: &[SocketAddr]);
    /// Says what time it is.
    fn advance(&mut self, now: Instant);
    /// Hands out the next output; false if there is none.
    fn poll(&mut self, now: Instant, sink: &mut dyn FnMut(Act<'_>)) -> bool;
    /// When it is to be woken.
    fn deadline(&self) -> Option<Instant>;
    /// Whether nothing is alive in it.
    fn is_idle(&self) -> bool;
    /// Its counters.
    fn stats(&self) -> Stats;
    /// The log of its inputs, if it keeps one.
    fn log(&self) -> Option<&str> {
        None
    }
}

/// A transaction user in a world: it is told what happens and gives commands.
pub trait Actor {
    /// Takes one event.
    fn event(&mut self, now: Instant, hand: &mut Hand<'_>, event: Event<'_>);

    /// When it wants to be woken.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Says what time it is. The deadline must be later than that when it returns.
    fn advance(&mut self, now: Instant, hand: &mut Hand<'_>) {
        let _ = (now, hand);
    }

    /// How many calls of its own it has begun, and how many of them ended as they should.
    fn calls(&self) -> (u64, u64) {
        (0, 0)
    }
}

/// The hand of an actor on its machine: every command goes through it, and is noted.
pub struct Hand<'m> {
    endpoint: &'m mut Endpoint,
    notes: &'m mut VecDeque<Note>,
    log: &'m mut Option<Log>,
    now: Instant,
}

impl Hand<'_> {
    /// Gives a command.
    ///
    /// # Errors
    /// As [`Machine::command`].
    pub fn command(&mut self, command: Command<'_>) -> Result<Option<ClientTxn>, Misuse> {
        if let Some(log) = self.log {
            log.write(self.now, &Input::Command(command));
        }
        let made = self.endpoint.command(self.now, command);
        self.notes.push_back(note_of(&command, made));
        made
    }

    /// [`Endpoint::request`]
    ///
    /// # Errors
    /// As that.
    pub fn request(&mut self, request: &NewRequest<'_>) -> Result<ClientTxn, Misuse> {
        self.command(Command::Request(*request)).and_then(|made| made.ok_or(Misuse::Gone))
    }

    /// [`Endpoint::respond`]. Whether it could is not asked: the machine keeps a user from what it must not do.
    pub fn respond(&mut self, txn: ServerTxn, status: Status, content: &Content<'_>) {
        let _ = self.command(Command::Respond { txn, status, content: *content });
    }

    /// The machine, to look at.
    pub const fn machine(&self) -> &Endpoint {
        self.endpoint
    }
}

fn note_of(command: &Command<'_>, made: Result<Option<ClientTxn>, Misuse>) -> Note {
    match (command, made) {
        (_, Err(why)) => Note::Refused { why },
        (Command::Request(request), Ok(Some(txn))) => Note::Began {
            txn,
            verb: request.method.into(),
            // A Call-ID that the machine mints is not known yet.
            call: if request.call_id.is_empty() { 0 } else { hash_of(request.call_id) },
            cseq: request.cseq,
            uri: hash_of(request.uri),
        },
        (Command::Request(_), Ok(None)) => Note::Refused { why: Misuse::Gone },
        (Command::Ack(request), Ok(_)) => Note::Acked { call: hash_of(request.call_id), cseq: request.cseq },
        (Command::Respond { txn, status, .. }, Ok(_)) => Note::Answered { txn: *txn, status: status.code() },
        (Command::Repeat(txn), Ok(_)) => Note::Repeated { txn: *txn },
        (Command::Cancel(txn), Ok(_)) => Note::Cancelling { txn: *txn },
        (Command::Abort(txn), Ok(_)) => Note::Aborted { txn: *txn },
    }
}

fn note_of_event(event: &Event<'_>) -> Note {
    match event {
        Event::Request { txn, request, merged, .. } => {
            Note::Request { txn: *txn, gist: Gist::of(request), merged: *merged }
        }
        Event::Ack { txn, request } => Note::Ack { txn: *txn, gist: Gist::of(request) },
        Event::Cancelled { txn, .. } => Note::Cancelled { txn: *txn },
        Event::Response { txn, response, .. } => Note::Response { txn: *txn, gist: Gist::of(response) },
        Event::Stray(response) => Note::Stray { gist: Gist::of(response) },
        Event::Rejected(rejected) => Note::Rejected { status: rejected.status.map(Status::code) },
        Event::TransportError { txn, .. } => Note::TransportError { txn: *txn },
        Event::Unanswered { txn, .. } => Note::Unanswered { txn: *txn },
        Event::Terminated { txn, cause, .. } => Note::Ended { txn: *txn, cause: *cause },
    }
}

/// An endpoint and its user.
pub struct Host<A> {
    endpoint: Endpoint,
    actor: A,
    notes: VecDeque<Note>,
    streams: BTreeMap<FlowId, StreamBuf>,
    log: Option<Log>,
}

impl<A: Actor> Host<A> {
    /// An endpoint that listens at this address over UDP and TCP: the address that it is put at with
    /// [`World::add`](super::World::add).
    pub fn new(mut endpoint: Endpoint, addr: SocketAddr, actor: A) -> Self {
        for transport in [Transport::Udp, Transport::Tcp] {
            endpoint.listen(Instant::ZERO, Local { transport, addr, advertised: None });
        }
        Self { endpoint, actor, notes: VecDeque::new(), streams: BTreeMap::new(), log: None }
    }

    /// Keeps a log of all inputs from here on: see [`Log`]. Address and seed are those of its endpoint.
    pub fn logged(mut self, addr: SocketAddr, seed: &Seed) -> Self {
        let mut log = Log::new(seed);
        for transport in [Transport::Udp, Transport::Tcp] {
            log.write(Instant::ZERO, &Input::Listen(Local { transport, addr, advertised: None }));
        }
        self.log = Some(log);
        self
    }

    fn note(&mut self, now: Instant, input: Input<'_, Command<'_>>) {
        if let Some(log) = &mut self.log {
            log.write(now, &input);
        }
    }

    fn told(&mut self, now: Instant, event: Event<'_>) {
        self.notes.push_back(note_of_event(&event));
        let Self { endpoint, actor, notes, log, .. } = self;
        actor.event(now, &mut Hand { endpoint, notes, log, now }, event);
    }
}

impl<A: Actor> Node for Host<A> {
    fn datagram(&mut self, now: Instant, from: Source, data: &[u8]) {
        self.note(now, Input::Datagram { from, data });
        if let Some(event) = self.endpoint.datagram(now, from, data) {
            self.told(now, event);
        }
    }

    fn bytes(&mut self, now: Instant, flow: FlowId, data: &[u8]) {
        self.note(now, Input::Stream { flow, data });
        let mut buf = self.streams.remove(&flow).unwrap_or_default();
        buf.extend(data);
        while let Some(event) = self.endpoint.stream(now, flow, &mut buf) {
            self.told(now, event);
            self.note(now, Input::Stream { flow, data: b"" });
        }
        self.streams.insert(flow, buf);
    }

    fn accepted(&mut self, now: Instant, peer: Target, local: SocketAddr) -> Option<FlowId> {
        self.note(now, Input::FlowAccepted { target: peer, local });
        self.endpoint.flow_accepted(now, peer, local).ok()
    }

    fn opened(&mut self, now: Instant, flow: FlowId, local: SocketAddr) -> bool {
        self.note(now, Input::FlowOpened { flow, local });
        self.endpoint.flow_opened(now, flow, local)
    }

    fn closed(&mut self, now: Instant, flow: FlowId) {
        self.note(now, Input::FlowClosed(flow));
        self.streams.remove(&flow);
        self.endpoint.flow_closed(now, flow);
    }

    fn send_failed(&mut self, now: Instant, ticket: Ticket, error: SendError) {
        self.note(now, Input::SendFailed(ticket, error));
        self.endpoint.send_failed(now, ticket, error);
    }

    fn resolved(&mut self, now: Instant, id: ResolveId, addrs: &[SocketAddr]) {
        self.note(now, Input::Resolved { id, addrs });
        self.endpoint.resolved(now, id, addrs);
    }

    fn advance(&mut self, now: Instant) {
        self.note(now, Input::Advance);
        self.endpoint.advance(now);
    }

    fn poll(&mut self, now: Instant, sink: &mut dyn FnMut(Act<'_>)) -> bool {
        if let Some(note) = self.notes.pop_front() {
            sink(Act::Note(note));
            return true;
        }
        match self.endpoint.poll() {
            Some(Output::Event(event)) => self.told(now, event),
            Some(output) => act(output, &mut self.streams, sink),
            None if self.actor.deadline().is_some_and(|due| due <= now) => {
                let Self { endpoint, actor, notes, log, .. } = self;
                actor.advance(now, &mut Hand { endpoint, notes, log, now });
            }
            None => return false,
        }
        true
    }

    fn deadline(&self) -> Option<Instant> {
        match (self.endpoint.deadline(), self.actor.deadline()) {
            (Some(machine), Some(actor)) => Some(machine.min(actor)),
            (machine, actor) => machine.or(actor),
        }
    }

    fn is_idle(&self) -> bool {
        self.endpoint.is_idle() && self.notes.is_empty()
    }

    fn stats(&self) -> Stats {
        self.endpoint.stats()
    }

    fn log(&self) -> Option<&str> {
        self.log.as_ref().map(Log::as_str)
    }
}
