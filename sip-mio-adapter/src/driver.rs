//! The driver: one machine, its user, its sockets.

use crate::clock::Clock;
use crate::resolver::Resolver;
use crate::sockets::{Connection, Udp, outward};
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use sip_core::framing::StreamBuf;
use sip_core::{
    Destination, FlowId, Instant, Local, Machine, Output, ResolveId, SendError, Source, Target, Ticket,
    TransactionUser, Transport,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

/// While a name is being resolved, the loop looks this often whether it is.
const RESOLVING: Duration = Duration::from_millis(5);
/// Datagrams, reads or connections taken from one socket before anything else gets its turn.
const BATCH: usize = 64;
/// How long a listener rests that could not accept: others must close first.
const REST: Duration = Duration::from_millis(50);
/// How long a peer may take for the last bytes of a connection, a user to end that is asked to, and [`Driver::run`] for all bytes when it ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// Owns a machine and its transaction user, and runs them on sockets that are registered with a [`mio::Poll`].
pub struct Driver<M: Machine, U> {
    machine: M,
    user: U,
    clock: Clock,
    net: Net,
    streams: BTreeMap<FlowId, StreamBuf>,
    /// Sockets that have more to read than one turn took: readiness is told once.
    unread: BTreeSet<Token>,
    /// Listeners that rest, and until when.
    resting: Option<(Instant, Vec<Token>)>,
    buf: Box<[u8]>,
}

/// The sockets, apart from the machine, so that one can be lent while the other is used.
struct Net {
    registry: Registry,
    /// The next token of ours that is free; tokens are not used again.
    next: usize,
    first: usize,
    sockets: BTreeMap<Token, Socket>,
    flows: BTreeMap<FlowId, Token>,
    /// The UDP sockets by their addresses.
    udp: BTreeMap<SocketAddr, Token>,
    resolver: Option<Resolver>,
    /// Questions that the resolver has not answered.
    asked: usize,
    /// Connections that are closed when what is queued is written, and when at the latest.
    closing: VecDeque<(Instant, Token)>,
}

enum Socket {
    Udp(Udp),
    Listener(TcpListener),
    Connection(Connection),
}

/// What could not be carried out.
enum Failed {
    Send(Ticket, SendError),
    Flow(FlowId),
    Resolve(ResolveId),
}

impl<M: Machine, U: TransactionUser<M>> Driver<M, U> {
    /// A driver without sockets. It registers them with `registry` under tokens from `first` on.
    pub fn new(machine: M, user: U, registry: Registry, first: Token) -> Self {
        Self {
            machine,
            user,
            clock: Clock::start(),
            net: Net {
                registry,
                next: first.0,
                first: first.0,
                sockets: BTreeMap::new(),
                flows: BTreeMap::new(),
                udp: BTreeMap::new(),
                resolver: None,
                asked: 0,
                closing: VecDeque::new(),
            },
            streams: BTreeMap::new(),
            unread: BTreeSet::new(),
            resting: None,
            buf: vec![0; 1 << 16].into(),
        }
    }

    /// Opens a socket and states its address to the machine. Port 0 takes any; the address returned has it. Of an address that
    /// stands for all of the host's, peers are told the one that the system would send from.
    ///
    /// # Errors
    /// The address can't be bound, or the transport is neither UDP nor TCP.
    pub fn bind(&mut self, target: Target) -> io::Result<Target> {
        let token = self.net.token();
        let (addr, socket) = match target.transport {
            Transport::Udp => {
                let udp = Udp::bind(target.addr, &self.net.registry, token)?;
                self.net.udp.insert(udp.local, token);
                (udp.local, Socket::Udp(udp))
            }
            Transport::Tcp => {
                let mut listener = TcpListener::bind(target.addr)?;
                self.net.registry.register(&mut listener, token, Interest::READABLE)?;
                (listener.local_addr()?, Socket::Listener(listener))
            }
            other => {
                return Err(io::Error::new(io::ErrorKind::Unsupported, format!("{other} is not built yet")));
            }
        };
        self.net.sockets.insert(token, socket);
        let advertised = addr.ip().is_unspecified().then(|| outward(addr).to_string());
        let local = Local { transport: target.transport, addr, advertised };
        self.machine.listen(self.clock.now(), local);
        Ok(Target { addr, ..target })
    }

    /// The machine.
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// The transaction user.
    pub const fn user(&self) -> &U {
        &self.user
    }

    /// Gives commands to the machine. What they cause is carried out by the next [`settle`](Self::settle).
    pub fn command<R>(&mut self, command: impl FnOnce(&mut M, &mut U, Instant) -> R) -> R {
        command(&mut self.machine, &mut self.user, self.clock.now())
    }

    /// How long [`mio::Poll::poll`] may wait; `None`: until something happens.
    pub fn timeout(&self) -> Option<Duration> {
        let next = self.machine.deadline().into_iter().chain(self.user.deadline()).min();
        let timer = next.map(|at| self.clock.until(at));
        let resolver = (self.net.asked > 0).then_some(RESOLVING);
        let unread = (!self.unread.is_empty()).then_some(Duration::ZERO);
        let resting = self.resting.as_ref().map(|(until, _)| self.clock.until(*until));
        let closing = self.net.closing.front().map(|(until, _)| self.clock.until(*until));
        [timer, resolver, unread, resting, closing].into_iter().flatten().min()
    }

    /// Does all that is due, and drains all outputs. To be called before every poll.
    pub fn settle(&mut self) {
        let now = self.clock.now();
        while let Some((id, addrs)) = self.net.resolver.as_ref().and_then(Resolver::answer) {
            self.net.asked -= 1;
            self.machine.resolved(now, id, &addrs);
        }
        for token in core::mem::take(&mut self.unread) {
            self.read_more(now, token);
        }
        self.net.give_up(now);
        if let Some((_, listeners)) = self.resting.take_if(|(until, _)| *until <= now) {
            for token in listeners {
                self.accept(now, token);
            }
        }
        self.machine.advance(now);
        if self.user.deadline().is_some_and(|at| at <= now) {
            self.user.advance(now, &mut self.machine);
        }
        self.drain(now);
    }

    /// Takes an event of the poll; false if its token is not the driver's.
    pub fn ready(&mut self, event: &Event) -> bool {
        let token = event.token();
        let now = self.clock.now();
        match self.net.sockets.get_mut(&token) {
            Some(Socket::Udp(_)) => self.udp_ready(now, token, event),
            Some(Socket::Listener(_)) => self.accept(now, token),
            Some(Socket::Connection(_)) => self.connection_ready(now, token, event),
            // An event of a socket that was closed in the same turn.
            None => return token.0 >= self.net.first && token.0 < self.net.next,
        }
        true
    }

    /// Runs in a poll of its own until the user is done, or `stop` is set (by a signal handler, say) and the user has
    /// [said](TransactionUser::stop) what it has to; then writes what is queued.
    ///
    /// # Errors
    /// The poll fails.
    pub fn run(mut self, poll: &mut Poll, stop: &AtomicBool) -> io::Result<(M, U)> {
        let mut events = Events::with_capacity(1_024);
        // It was asked to end, and its user may speak until then.
        let mut last = None;
        loop {
            self.settle();
            let now = self.clock.now();
            if self.user.is_done() || last.is_some_and(|last| last <= now) {
                break;
            }
            if last.is_none() && stop.load(Ordering::Relaxed) {
                if !self.user.stop(now, &mut self.machine) {
                    break;
                }
                last = Some(now + PATIENCE);
                continue;
            }
            let last = last.map(|last| self.clock.until(last));
            self.turn(poll, &mut events, self.timeout().into_iter().chain(last).min())?;
        }
        let until = self.clock.now() + PATIENCE;
        while !self.net.is_flushed() && self.clock.now() < until {
            self.turn(poll, &mut events, Some(self.clock.until(until)))?;
        }
        Ok((self.machine, self.user))
    }

    fn turn(&mut self, poll: &mut Poll, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        match poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &*events {
            self.ready(event);
        }
        Ok(())
    }

    fn drain(&mut self, now: Instant) {
        loop {
            let failed = match self.machine.poll() {
                None => return,
                Some(Output::Event(event)) => {
                    self.user.event(now, &mut self.machine, event);
                    continue;
                }
                Some(output) => {
                    if let Output::Close { flow } = output {
                        self.streams.remove(&flow);
                    }
                    self.net.carry_out(now, output)
                }
            };
            match failed {
                Ok(()) => {}
                Err(Failed::Send(ticket, error)) => self.machine.send_failed(now, ticket, error),
                Err(Failed::Flow(flow)) => self.machine.flow_closed(now, flow),
                Err(Failed::Resolve(id)) => self.machine.resolved(now, id, &[]),
            }
        }
    }

    fn udp_ready(&mut self, now: Instant, token: Token, event: &Event) {
        if event.is_writable() {
            while let Some(Socket::Udp(udp)) = self.net.sockets.get_mut(&token) {
                let Some((ticket, error)) = udp.flush() else { break };
                self.machine.send_failed(now, ticket, error);
            }
        }
        self.read_datagrams(now, token);
    }

    /// Goes on where the last turn stopped.
    fn read_more(&mut self, now: Instant, token: Token) {
        match self.net.sockets.get(&token) {
            Some(Socket::Udp(_)) => self.read_datagrams(now, token),
            Some(Socket::Listener(_)) => self.accept(now, token),
            Some(Socket::Connection(connection)) => {
                let flow = connection.flow;
                if !self.read(now, token, flow) {
                    self.lose(now, token, flow);
                }
            }
            None => {}
        }
    }

    fn read_datagrams(&mut self, now: Instant, token: Token) {
        for _ in 0..BATCH {
            let Some(Socket::Udp(udp)) = self.net.sockets.get(&token) else { return };
            let local = udp.local;
            match udp.socket.recv_from(&mut self.buf) {
                Ok((length, remote)) => {
                    let data = self.buf.get(..length).unwrap_or_default();
                    if let Some(event) = self.machine.datagram(now, Source::Datagram { local, remote }, data)
                    {
                        self.user.event(now, &mut self.machine, event);
                    }
                    self.drain(now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The report of an earlier send that failed; the next receive clears it.
                Err(_) => {}
            }
        }
        self.unread.insert(token);
    }

    fn accept(&mut self, now: Instant, token: Token) {
        for _ in 0..BATCH {
            let Some(Socket::Listener(listener)) = self.net.sockets.get(&token) else { return };
            let (stream, remote) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(_) => {
                    let (_, resting) = self.resting.get_or_insert_with(|| (now + REST, Vec::new()));
                    return resting.push(token);
                }
            };
            let Ok(local) = stream.local_addr() else { continue };
            let target = Target { transport: Transport::Tcp, addr: remote };
            if let Ok(flow) = self.machine.flow_accepted(now, target, local) {
                if self.net.add(stream, flow, true).is_err() {
                    self.machine.flow_closed(now, flow);
                }
            }
        }
        self.unread.insert(token);
    }

    fn connection_ready(&mut self, now: Instant, token: Token, event: &Event) {
        let Some(Socket::Connection(connection)) = self.net.sockets.get_mut(&token) else { return };
        let flow = connection.flow;
        if !connection.open {
            match connected(&connection.stream) {
                Ok(Some(local)) => {
                    connection.open = true;
                    if !self.machine.flow_opened(now, flow, local) {
                        return self.lose(now, token, flow);
                    }
                    self.drain(now);
                }
                Ok(None) => return,
                Err(_) => return self.lose(now, token, flow),
            }
        }
        if event.is_readable() && !self.read(now, token, flow) {
            return self.lose(now, token, flow);
        }
        let Some(Socket::Connection(connection)) = self.net.sockets.get_mut(&token) else { return };
        if connection.flush().is_err() {
            self.lose(now, token, flow);
        } else if connection.closing && connection.is_flushed() {
            self.net.sockets.remove(&token);
        }
    }

    /// Reads all that is there; false when the connection is at its end.
    fn read(&mut self, now: Instant, token: Token, flow: FlowId) -> bool {
        for _ in 0..BATCH {
            let Some(Socket::Connection(connection)) = self.net.sockets.get_mut(&token) else { return true };
            match connection.read(&mut self.buf) {
                Ok(None) => return true,
                Err(_) => return false,
                Ok(Some(_)) if connection.closing => {}
                Ok(Some(length)) => {
                    let buf = self.streams.entry(flow).or_default();
                    buf.extend(self.buf.get(..length).unwrap_or_default());
                    while let Some(event) = self.machine.stream(now, flow, buf) {
                        self.user.event(now, &mut self.machine, event);
                    }
                    self.drain(now);
                }
            }
        }
        self.unread.insert(token);
        true
    }

    fn lose(&mut self, now: Instant, token: Token, flow: FlowId) {
        self.net.sockets.remove(&token);
        self.streams.remove(&flow);
        if self.net.flows.remove(&flow).is_some() {
            self.machine.flow_closed(now, flow);
            self.drain(now);
        }
    }
}

/// Whether a connection is open: its local address, nothing if it is still being opened.
fn connected(stream: &TcpStream) -> io::Result<Option<SocketAddr>> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => stream.local_addr().map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(None),
        Err(error) => Err(error),
    }
}

impl Net {
    fn token(&mut self) -> Token {
        self.next += 1;
        Token(self.next - 1)
    }

    fn add(&mut self, stream: TcpStream, flow: FlowId, open: bool) -> io::Result<()> {
        // Requests and responses are small and wait for each other; there is nothing to gather.
        let _ = stream.set_nodelay(true);
        let token = self.token();
        let connection = Connection::new(stream, flow, open, &self.registry, token)?;
        self.sockets.insert(token, Socket::Connection(connection));
        self.flows.insert(flow, token);
        Ok(())
    }

    fn is_flushed(&self) -> bool {
        self.sockets.values().all(|socket| match socket {
            Socket::Connection(connection) => !connection.open || connection.is_flushed(),
            Socket::Udp(_) | Socket::Listener(_) => true,
        })
    }

    fn carry_out<E>(&mut self, now: Instant, output: Output<'_, E>) -> Result<(), Failed> {
        match output {
            Output::Transmit(transmit) => self
                .send(transmit.to, transmit.bytes, transmit.ticket)
                .map_err(|error| Failed::Send(transmit.ticket, error)),
            Output::Connect { flow, target: Target { transport: Transport::Tcp, addr } } => {
                TcpStream::connect(addr)
                    .and_then(|stream| self.add(stream, flow, false))
                    .map_err(|_| Failed::Flow(flow))
            }
            Output::Connect { flow, .. } => Err(Failed::Flow(flow)),
            Output::Close { flow } => {
                self.close(now, flow);
                Ok(())
            }
            Output::Resolve { id, host, port, .. } => {
                if !self.resolver.get_or_insert_with(Resolver::start).ask(id, host, port) {
                    return Err(Failed::Resolve(id));
                }
                self.asked += 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Closes a connection when what is queued is written, and in [`PATIENCE`] in any case.
    fn close(&mut self, now: Instant, flow: FlowId) {
        let Some(token) = self.flows.remove(&flow) else { return };
        if let Some(Socket::Connection(connection)) = self.sockets.get_mut(&token) {
            connection.closing = true;
            if connection.is_flushed() {
                self.sockets.remove(&token);
            } else {
                self.closing.push_back((now + PATIENCE, token));
            }
        }
    }

    /// Drops connections that were to be closed and whose peers do not take the rest.
    fn give_up(&mut self, now: Instant) {
        while let Some((until, token)) = self.closing.front().copied() {
            if until > now {
                return;
            }
            self.closing.pop_front();
            self.sockets.remove(&token);
        }
    }

    fn send(&mut self, to: Destination, bytes: &[u8], ticket: Ticket) -> Result<(), SendError> {
        match to {
            Destination::Datagram { local, remote } => {
                let token = self.udp.get(&local).ok_or(SendError::Unreachable)?;
                match self.sockets.get_mut(token) {
                    Some(Socket::Udp(udp)) => udp.send(remote, bytes, ticket),
                    _ => Err(SendError::Unreachable),
                }
            }
            Destination::Flow(flow) => {
                let token = self.flows.get(&flow).ok_or(SendError::Unreachable)?;
                match self.sockets.get_mut(token) {
                    Some(Socket::Connection(connection)) => connection.send(bytes),
                    _ => Err(SendError::Unreachable),
                }
            }
        }
    }
}
