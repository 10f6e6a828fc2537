//! The driver: one machine, its user, its sockets, one loop.

use crate::clock::Clock;
use crate::mailbox::{Command, Events, Handle, Mailbox, handle, mailbox};
use crate::tcp::{self, Connection, Happening};
use crate::udp::Udp;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::Poll;
use core::time::Duration;
use sip_core::framing::StreamBuf;
use sip_core::{
    Destination, FlowId, Instant, Local, Machine, Output, ResolveId, SendError, Source, Target, Ticket,
    TransactionUser, Transport,
};
use std::collections::BTreeMap;
use std::io;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How long a user may take to end that is asked to.
const PATIENCE: Duration = Duration::from_secs(5);
/// Happenings on connections that wait for the driver.
const HAPPENINGS: usize = 256;
/// Datagrams taken from one socket before anything else gets its turn.
const BATCH: usize = 64;

/// Owns a machine and its transaction user, and runs them on sockets.
pub struct Driver<M: Machine, U> {
    machine: M,
    user: U,
    clock: Clock,
    net: Net,
    streams: BTreeMap<FlowId, StreamBuf>,
    happenings: mpsc::Receiver<Happening>,
    resolved: mpsc::Receiver<(ResolveId, Vec<SocketAddr>)>,
    commands: Option<mpsc::Receiver<Command<M, U>>>,
    /// Nobody can give commands any more.
    abandoned: bool,
    buf: Box<[u8]>,
}

/// The sockets, apart from the machine, so that one can be lent while the other is used.
struct Net {
    udp: Vec<Udp>,
    turn: usize,
    listeners: Vec<JoinHandle<()>>,
    connections: BTreeMap<FlowId, Connection>,
    happenings: mpsc::Sender<Happening>,
    resolved: mpsc::Sender<(ResolveId, Vec<SocketAddr>)>,
}

/// What woke the driver.
enum Wake<M, U> {
    Datagram(usize, SocketAddr, usize),
    Undeliverable(Ticket, SendError),
    Happening(Happening),
    Resolved(ResolveId, Vec<SocketAddr>),
    Command(Option<Command<M, U>>),
    Time,
    Stop,
}

impl<M: Machine + 'static> Driver<M, Mailbox<M>> {
    /// A driver whose machine is used from other tasks: commands through the [`Handle`], up to `capacity` unread events in
    /// [`Events`].
    pub fn with_mailbox(machine: M, capacity: usize) -> (Self, Handle<M>, Events<M>) {
        let (user, events) = mailbox(capacity);
        let (driver, handle) = Self::with_handle(machine, user);
        (driver, handle, events)
    }
}

impl<M: Machine + 'static, U: TransactionUser<M>> Driver<M, U> {
    /// A driver without sockets.
    pub fn new(machine: M, user: U) -> Self {
        let (happening, happenings) = mpsc::channel(HAPPENINGS);
        let (resolve, resolved) = mpsc::channel(HAPPENINGS);
        Self {
            machine,
            user,
            clock: Clock::start(),
            net: Net {
                udp: Vec::new(),
                turn: 0,
                listeners: Vec::new(),
                connections: BTreeMap::new(),
                happenings: happening,
                resolved: resolve,
            },
            streams: BTreeMap::new(),
            happenings,
            resolved,
            commands: None,
            abandoned: false,
            buf: vec![0; 1 << 16].into(),
        }
    }

    /// A driver whose machine and user take commands from other tasks, through the [`Handle`]. When all its clones are dropped, the machine is drained.
    pub fn with_handle(machine: M, user: U) -> (Self, Handle<M, U>) {
        let (handle, commands) = handle();
        (Self { commands: Some(commands), ..Self::new(machine, user) }, handle)
    }

    /// Opens a socket and states its address to the machine. Port 0 takes any; the address returned has it. Of an address that
    /// stands for all of the host's, peers are told the one that the system would send from.
    ///
    /// # Errors
    /// The address can't be bound, or the transport is neither UDP nor TCP.
    pub async fn bind(&mut self, target: Target) -> io::Result<Target> {
        let addr = match target.transport {
            Transport::Udp => {
                let udp = Udp::bind(target.addr).await?;
                let addr = udp.local;
                self.net.udp.push(udp);
                addr
            }
            Transport::Tcp => {
                let listener = TcpListener::bind(target.addr).await?;
                let addr = listener.local_addr()?;
                self.net.listeners.push(tcp::accept(listener, self.net.happenings.clone()));
                addr
            }
            other => {
                return Err(io::Error::new(io::ErrorKind::Unsupported, format!("{other} is not built yet")));
            }
        };
        let advertised = addr.ip().is_unspecified().then(|| crate::udp::outward(addr).to_string());
        let local = Local { transport: target.transport, addr, advertised };
        self.machine.listen(self.clock.now(), local);
        Ok(Target { addr, ..target })
    }

    /// The machine.
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// Runs until the user is done; where there are handles, until all are dropped and the machine is idle.
    pub async fn run(self) -> (M, U) {
        self.run_until(core::future::pending()).await
    }

    /// Runs as [`run`](Self::run), but no longer than until `stop` is ready and the user has [said](TransactionUser::stop) what it has to. What is queued for connections is still written.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) -> (M, U) {
        self.turn_until(stop).await;
        let connections = core::mem::take(&mut self.net.connections).into_values();
        tcp::close(connections.collect()).await;
        (self.machine, self.user)
    }

    async fn turn_until(&mut self, stop: impl Future<Output = ()>) {
        let mut stop = core::pin::pin!(stop);
        // It was asked to end, and its user may speak until then.
        let mut until = None;
        loop {
            self.settle();
            if self.user.is_done() || self.abandoned && self.machine.is_idle() {
                return;
            }
            let deadline = self.machine.deadline().into_iter().chain(self.user.deadline()).min();
            let wake = tokio::select! {
                () = &mut stop, if until.is_none() => Wake::Stop,
                () = sleep(until) => Wake::Stop,
                wake = self.net.udp_event(&mut self.buf) => wake,
                Some(happening) = self.happenings.recv() => Wake::Happening(happening),
                Some((id, addrs)) = self.resolved.recv() => Wake::Resolved(id, addrs),
                command = receive(&mut self.commands) => Wake::Command(command),
                () = sleep(deadline.map(|at| self.clock.moment(at))) => Wake::Time,
            };
            let now = self.clock.now();
            match wake {
                Wake::Stop if until.is_none() && self.user.stop(now, &mut self.machine) => {
                    until = Some(self.clock.moment(now + PATIENCE));
                }
                Wake::Stop => return,
                Wake::Datagram(socket, remote, length) => self.datagrams(now, socket, remote, length),
                Wake::Undeliverable(ticket, error) => self.machine.send_failed(now, ticket, error),
                Wake::Happening(happening) => self.happened(now, happening),
                Wake::Resolved(id, addrs) => self.machine.resolved(now, id, &addrs),
                Wake::Command(Some(command)) => command(&mut self.machine, &mut self.user, now),
                Wake::Command(None) => {
                    self.commands = None;
                    self.abandoned = true;
                    self.machine.drain(now);
                }
                Wake::Time => {}
            }
        }
    }

    /// Does all that is due, and drains all outputs.
    fn settle(&mut self) {
        let now = self.clock.now();
        self.machine.advance(now);
        if self.user.deadline().is_some_and(|at| at <= now) {
            self.user.advance(now, &mut self.machine);
        }
        self.drain(now);
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
                    self.net.carry_out(output)
                }
            };
            match failed {
                Ok(()) => {}
                Err(Failed::Send(ticket, error)) => self.machine.send_failed(now, ticket, error),
                Err(Failed::Flow(flow)) => self.machine.flow_closed(now, flow),
            }
        }
    }

    /// A datagram, and the next ones that wait behind it.
    fn datagrams(&mut self, now: Instant, socket: usize, remote: SocketAddr, length: usize) {
        let (mut remote, mut length) = (remote, length);
        for _ in 0..BATCH {
            let Some(local) = self.net.udp.get(socket).map(|udp| udp.local) else { return };
            let data = self.buf.get(..length).unwrap_or_default();
            if let Some(event) = self.machine.datagram(now, Source::Datagram { local, remote }, data) {
                self.user.event(now, &mut self.machine, event);
            }
            self.drain(now);
            let mut cx = core::task::Context::from_waker(core::task::Waker::noop());
            match self.net.udp.get(socket).map(|udp| udp.poll_recv(&mut cx, &mut self.buf)) {
                Some(Poll::Ready(Ok((next, from)))) => (length, remote) = (next, from),
                _ => return,
            }
        }
    }

    fn happened(&mut self, now: Instant, happening: Happening) {
        match happening {
            Happening::Accepted(stream, remote) => {
                let Ok(local) = stream.local_addr() else { return };
                let target = Target { transport: Transport::Tcp, addr: remote };
                if let Ok(flow) = self.machine.flow_accepted(now, target, local) {
                    self.net.open(flow, stream);
                }
            }
            Happening::Connected(flow, Ok(stream)) => match stream.local_addr() {
                // It may have been given up while it was being opened.
                Ok(local) => {
                    if self.machine.flow_opened(now, flow, local) {
                        self.net.open(flow, stream);
                    }
                }
                Err(_) => self.machine.flow_closed(now, flow),
            },
            Happening::Connected(flow, Err(_)) => self.machine.flow_closed(now, flow),
            // It may have been closed from this side since.
            Happening::Read(flow, _) if !self.net.connections.contains_key(&flow) => {}
            Happening::Read(flow, bytes) => {
                let buf = self.streams.entry(flow).or_default();
                buf.extend(&bytes);
                while let Some(event) = self.machine.stream(now, flow, buf) {
                    self.user.event(now, &mut self.machine, event);
                }
            }
            Happening::Closed(flow) => {
                self.streams.remove(&flow);
                if self.net.connections.remove(&flow).is_some() {
                    self.machine.flow_closed(now, flow);
                }
            }
        }
    }
}

/// What could not be carried out.
enum Failed {
    Send(Ticket, SendError),
    Flow(FlowId),
}

impl Net {
    /// The next thing that happens on any UDP socket.
    async fn udp_event<M, U>(&mut self, buf: &mut [u8]) -> Wake<M, U> {
        poll_fn(|cx| {
            // Begun at another socket each time, so that none keeps the others waiting.
            let count = self.udp.len();
            self.turn = self.turn.wrapping_add(1);
            for at in (0..count).map(|at| (at + self.turn) % count) {
                let Some(udp) = self.udp.get_mut(at) else { continue };
                if let Poll::Ready((ticket, error)) = udp.poll_flush(cx) {
                    return Poll::Ready(Wake::Undeliverable(ticket, error));
                }
                // An error is the report of an earlier send that failed; the next receive clears it.
                while let Poll::Ready(received) = udp.poll_recv(cx, buf) {
                    if let Ok((length, remote)) = received {
                        return Poll::Ready(Wake::Datagram(at, remote, length));
                    }
                }
            }
            Poll::Pending
        })
        .await
    }

    fn open(&mut self, flow: FlowId, stream: tokio::net::TcpStream) {
        self.connections.insert(flow, Connection::open(stream, flow, self.happenings.clone()));
    }

    fn carry_out<E>(&mut self, output: Output<'_, E>) -> Result<(), Failed> {
        match output {
            Output::Transmit(transmit) => self
                .send(transmit.to, transmit.bytes, transmit.ticket)
                .map_err(|error| Failed::Send(transmit.ticket, error)),
            Output::Connect { flow, target: Target { transport: Transport::Tcp, addr } } => {
                tcp::connect(flow, addr, self.happenings.clone());
                Ok(())
            }
            Output::Connect { flow, .. } => Err(Failed::Flow(flow)),
            Output::Close { flow } => {
                self.connections.remove(&flow);
                Ok(())
            }
            Output::Resolve { id, host, port, .. } => {
                let (host, resolved) = (host.to_owned(), self.resolved.clone());
                tokio::spawn(async move {
                    let addrs = match tokio::net::lookup_host((host, port)).await {
                        Ok(addrs) => addrs.collect(),
                        Err(_) => Vec::new(),
                    };
                    let _ = resolved.send((id, addrs)).await;
                });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn send(&mut self, to: Destination, bytes: &[u8], ticket: Ticket) -> Result<(), SendError> {
        match to {
            Destination::Datagram { local, remote } => {
                match self.udp.iter_mut().find(|udp| udp.local == local) {
                    Some(udp) => udp.send(remote, bytes, ticket),
                    None => Err(SendError::Unreachable),
                }
            }
            Destination::Flow(flow) => match self.connections.get(&flow) {
                Some(connection) if connection.send(bytes) => Ok(()),
                Some(_) => Err(SendError::Full),
                None => Err(SendError::Unreachable),
            },
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for listener in &self.listeners {
            listener.abort();
        }
    }
}

/// The next command; `None` when nobody can give any more. Never, where there is no handle.
async fn receive<M, U>(commands: &mut Option<mpsc::Receiver<Command<M, U>>>) -> Option<Command<M, U>> {
    match commands {
        Some(commands) => commands.recv().await,
        None => core::future::pending().await,
    }
}

async fn sleep(until: Option<tokio::time::Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => core::future::pending().await,
    }
}
