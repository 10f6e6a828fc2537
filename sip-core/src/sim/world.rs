//! A world: machines, the network between them, and the one clock from which all others are read.
//!
//! Time jumps to the next thing that is due. First comes chaos: every fault that the tape chooses. Then the network heals, and the
//! world runs until no machine has a deadline and nothing is under way.

mod connections;
mod datagrams;
mod episodes;
mod place;

use self::place::{Clock, Place};
use super::faults::Faults;
use super::monitor::{Monitor, Violation};
use super::net::{Connections, Side};
use super::node::{Act, Node};
use super::note::Note;
use super::tape::{Choice, Kind, Question, Site, Tape};
use super::trace::{Entry, PacketId, Trace, What};
use crate::endpoint::{Destination, SendError, Ticket};
use crate::handle::{FlowId, ResolveId};
use crate::time::Instant;
use crate::transport::Target;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

/// No run has more events than these, or lasts longer: else it goes round in circles.
const MOST_EVENTS: u64 = 20_000_000;
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// What is due at some time.
enum Due {
    Wake { node: usize, late: bool },
    Datagram { packet: PacketId, damage: Option<u32> },
    Pieces { conn: u32, side: Side },
    Connected { conn: u32 },
    SendFailed { node: usize, ticket: Ticket, error: SendError },
    Closed { conn: u32, side: Side },
    Resolved { node: usize, id: ResolveId, port: u16, host: String },
    Episode { node: usize, kind: u32, length: Duration },
    Restart { node: usize },
    Heal,
}

/// A world of machines.
pub struct World {
    tape: Tape,
    faults: Faults,
    places: Vec<Place>,
    queue: BTreeMap<(Instant, u64), Due>,
    order: u64,
    now: Instant,
    conns: Connections,
    bursts: BTreeMap<(usize, usize), u32>,
    trace: Trace,
    monitors: Vec<Box<dyn Monitor>>,
    violations: Vec<Violation>,
    /// How many copies of a message are under way.
    under_way: BTreeMap<PacketId, u32>,
    healed: bool,
}

impl World {
    /// An empty world.
    pub fn new(tape: Tape, faults: Faults) -> Self {
        Self {
            tape,
            faults,
            places: Vec::new(),
            queue: BTreeMap::new(),
            order: 0,
            now: Instant::ZERO,
            conns: Connections::default(),
            bursts: BTreeMap::new(),
            trace: Trace::new(false),
            monitors: Vec::new(),
            violations: Vec::new(),
            under_way: BTreeMap::new(),
            healed: false,
        }
    }

    /// Keeps the whole trace with all bytes, to draw it.
    pub fn keep_trace(&mut self) {
        self.trace = Trace::new(true);
    }

    /// Puts a machine at an address. `make` is called again when it restarts after a crash, with the number of the crash.
    pub fn add(&mut self, addr: SocketAddr, make: impl Fn(u32) -> Box<dyn Node> + 'static) -> usize {
        let node = self.places.len();
        let rate = Faults::weights(self.faults.clocks, [0, 1, 1, 1, 1]);
        let speed = self.tape.choose(Site::node(Kind::Clock, node), &rate);
        let (num, den) =
            [(1, 1), (1, 2), (2, 1), (99, 100), (101, 100)].get(speed as usize).copied().unwrap_or((1, 1));
        let offset = if speed == 0 { 0 } else { 3_600_000_000 * (node as u64 + 1) };
        let clock = Clock { num, den, offset, back: 0 };
        self.places.push(Place {
            node: Some(make(0)),
            make: Box::new(make),
            incarnation: 0,
            addr,
            seen: None,
            clock,
            local: Instant::ZERO,
            wake: None,
            flows: BTreeMap::new(),
            mute: Instant::ZERO,
            deaf: Instant::ZERO,
            cause: 0,
            tap: false,
        });
        node
    }

    /// Puts a machine into the world that hears all datagrams of the others, at the addresses that they are for, and sends under any
    /// address: a hostile one.
    pub fn add_tap(&mut self, addr: SocketAddr, make: impl Fn(u32) -> Box<dyn Node> + 'static) -> usize {
        let node = self.add(addr, make);
        if let Some(place) = self.places.get_mut(node) {
            place.tap = true;
        }
        node
    }

    /// Has a monitor watch.
    pub fn watch(&mut self, monitor: Box<dyn Monitor>) {
        self.monitors.push(monitor);
    }

    /// The choices of this run.
    pub fn tape(&mut self) -> &mut Tape {
        &mut self.tape
    }

    /// The faults of this run.
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The time of the world.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// What happened.
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The trace, when the run is over.
    pub fn into_trace(self) -> Trace {
        self.trace
    }

    /// The choices that were not boring.
    pub fn choices(&self) -> &[Choice] {
        self.tape.choices()
    }

    /// The questions that were asked, if the tape keeps them.
    pub fn questions(&self) -> &[Question] {
        self.tape.questions()
    }

    /// The machines, in the order in which they were added; nothing for one that is down.
    pub fn nodes(&self) -> impl Iterator<Item = Option<&dyn Node>> {
        self.places.iter().map(|place| place.node.as_deref())
    }

    /// What the monitors found.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Runs until nothing is left to do, or a monitor has found something.
    pub fn run(&mut self) {
        self.schedule_episodes();
        self.push(Instant::ZERO + self.faults.chaos, Due::Heal);
        for node in 0..self.places.len() {
            self.with(node, |machine, now| machine.advance(now));
        }
        let mut events = 0;
        while self.violations.is_empty() {
            let Some(((at, _), due)) = self.queue.pop_first() else { break };
            self.now = self.now.max(at);
            events += 1;
            if events > MOST_EVENTS || self.now.since(Instant::ZERO) > LONGEST {
                let what =
                    alloc::format!("the run does not end: {events} events, and more than a day at the most");
                self.violations.push(Violation::new("livelock", what, self.now, 0));
                return;
            }
            self.happen(due);
        }
        if self.violations.is_empty() {
            self.at_rest();
        }
    }

    /// Nothing is left to do: all tables must be empty.
    fn at_rest(&mut self) {
        for (node, place) in self.places.iter().enumerate() {
            let Some(machine) = &place.node else { continue };
            let stats = machine.stats();
            let left = stats.client_transactions + stats.server_transactions + stats.retained_bytes;
            if !machine.is_idle() || left > 0 || machine.deadline().is_some() {
                let what = alloc::format!(
                    "{} client and {} server transactions, {} bytes and the deadline {:?} are left at rest",
                    stats.client_transactions,
                    stats.server_transactions,
                    stats.retained_bytes,
                    machine.deadline()
                );
                self.violations.push(Violation::new("I15", what, self.now, node));
            }
        }
        for monitor in &mut self.monitors {
            if let Err(what) = monitor.at_rest(&self.trace) {
                self.violations.push(Violation { at: self.now, ..what });
            }
        }
    }

    fn push(&mut self, at: Instant, due: Due) {
        self.order += 1;
        self.queue.insert((at.max(self.now), self.order), due);
    }

    /// Adds a line to the trace and shows it to the monitors.
    fn note(&mut self, node: usize, what: What) -> u32 {
        let now = self.now;
        let (local, cause) = self
            .places
            .get(node)
            .map_or((now, 0), |place| (place.local.max(place.clock.local(now)), place.cause));
        let entry = Entry { at: self.now, local, node, number: self.trace.next_number(), cause, what };
        for monitor in &mut self.monitors {
            if let Err(violation) = monitor.see(&entry, &self.trace) {
                self.violations.push(Violation { at: self.now, ..violation });
            }
        }
        self.trace.add(entry)
    }

    /// A line that the node will act upon.
    fn cause(&mut self, node: usize, what: What) {
        let number = self.note(node, what);
        if let Some(place) = self.places.get_mut(node) {
            place.cause = number;
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Wake { node, late } => self.wake(node, late),
            Due::Datagram { packet, damage } => self.deliver(packet, damage),
            Due::Pieces { conn, side } => self.pieces(conn, side),
            Due::Connected { conn } => self.connected(conn),
            Due::SendFailed { node, ticket, error } => self.with(node, |machine, now| {
                machine.send_failed(now, ticket, error);
            }),
            Due::Closed { conn, side } => self.end_closed(conn, side),
            Due::Resolved { node, id, port, host } => {
                let index =
                    host.strip_prefix('n').and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
                let addr = index.and_then(|index| self.places.get(index)).map(|place| place.addr.ip());
                let addrs: Vec<SocketAddr> = addr.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
                self.with(node, |machine, now| machine.resolved(now, id, &addrs));
            }
            Due::Episode { node, kind, length } => self.episode(node, kind, length),
            Due::Restart { node } => self.restart(node),
            Due::Heal => self.heal(),
        }
    }

    /// Does something with a machine at the time of its clock, and then what follows from it.
    fn with(&mut self, node: usize, act: impl FnOnce(&mut dyn Node, Instant)) {
        let Some(place) = self.places.get_mut(node) else { return };
        let told = place.clock.local(self.now);
        place.local = place.local.max(told);
        // What was due before is done now: so much too late.
        let overdue = place.node.as_ref().and_then(|machine| machine.deadline());
        let late = overdue.map_or(Duration::ZERO, |deadline| place.local.since(deadline));
        if !late.is_zero() {
            self.note(node, What::Woken { late });
        }
        let Some(place) = self.places.get_mut(node) else { return };
        let Some(machine) = &mut place.node else { return };
        act(machine.as_mut(), told);
        self.settle(node);
    }

    /// Takes all outputs of a machine, and sees to its next deadline.
    fn settle(&mut self, node: usize) {
        let mut outputs = 0;
        loop {
            let Some(place) = self.places.get_mut(node) else { return };
            let now = place.local;
            let Some(machine) = &mut place.node else { return };
            let mut taken = None;
            if !machine.poll(now, &mut |act| taken = Some(Taken::from(act))) {
                break;
            }
            outputs += 1;
            if let Some(taken) = taken {
                self.carry_out(node, taken);
            }
            if outputs > 1_000_000 {
                self.violations.push(Violation::new(
                    "livelock",
                    "outputs without end; is the deadline of its actor never later than now?".into(),
                    self.now,
                    node,
                ));
                return;
            }
        }
        let Some(place) = self.places.get(node) else { return };
        let Some(machine) = &place.node else { return };
        let deadline = machine.deadline();
        let stats = machine.stats();
        let open = (stats.client_transactions, stats.server_transactions);
        self.note(node, What::Rest { deadline, open, outputs });
        self.schedule(node, deadline);
    }

    fn schedule(&mut self, node: usize, deadline: Option<Instant>) {
        let Some(place) = self.places.get_mut(node) else { return };
        let Some(deadline) = deadline else {
            place.wake = None;
            return;
        };
        let at = place.clock.world(deadline).max(self.now);
        if place.wake != Some(at) {
            place.wake = Some(at);
            self.push(at, Due::Wake { node, late: false });
        }
    }

    fn wake(&mut self, node: usize, late: bool) {
        let Some(place) = self.places.get_mut(node) else { return };
        if !late && place.wake != Some(self.now) {
            return;
        }
        if !late {
            let weights = Faults::weights(self.rate(self.faults.late), [0, 8, 4, 2, 1]);
            let chosen = self.tape.choose(Site::node(Kind::Wake, node), &weights);
            let by = [0, 1, 100, 3_000, 10_000].get(chosen as usize).copied().unwrap_or_default();
            if by > 0 {
                if let Some(place) = self.places.get_mut(node) {
                    place.wake = None;
                }
                return self.push(self.now + Duration::from_millis(by), Due::Wake { node, late: true });
            }
        }
        let Some(place) = self.places.get_mut(node) else { return };
        place.wake = None;
        let Some(deadline) = place.node.as_ref().and_then(|machine| machine.deadline()) else { return };
        if place.clock.local(self.now) < deadline {
            return self.schedule(node, Some(deadline));
        }
        self.cause(node, What::Woken { late: Duration::ZERO });
        self.with(node, |machine, now| machine.advance(now));
    }

    /// A rate while there are faults; zero after.
    const fn rate(&self, rate: u32) -> u32 {
        if self.healed { 0 } else { rate }
    }

    /// What a machine wants done.
    fn carry_out(&mut self, node: usize, taken: Taken) {
        match taken {
            Taken::Note(note) => {
                self.note(node, What::Note(note));
            }
            Taken::Transmit { to, ticket, again, bytes } => match to {
                Destination::Datagram { local, remote } => {
                    self.send(node, local, remote, ticket, again, bytes)
                }
                Destination::Flow(flow) => self.write(node, flow, ticket, again, bytes),
            },
            Taken::Connect { flow, target } => self.connect(node, flow, target),
            Taken::Close(flow) => {
                let Some((conn, side)) =
                    self.places.get_mut(node).and_then(|place| place.flows.remove(&flow))
                else {
                    return;
                };
                self.note(node, What::Connection { number: conn, open: false });
                // What was written before is read first: the end comes behind it.
                let after = self.conns.last_due(conn, side).unwrap_or(self.now).max(self.now);
                self.push(after + Duration::from_micros(1), Due::Closed { conn, side: side.other() });
            }
            Taken::Resolve { id, host, port } => {
                self.push(self.now + Duration::from_millis(5), Due::Resolved { node, id, port, host });
            }
        }
    }

    /// The node that has this address now.
    fn at(&self, addr: SocketAddr) -> Option<usize> {
        self.places.iter().position(|place| {
            let port = addr.port() == place.addr.port() || Some(addr.port()) == place.seen;
            place.addr.ip() == addr.ip() && port
        })
    }
}

/// An output that owns its bytes.
enum Taken {
    Note(Note),
    Transmit { to: Destination, ticket: Ticket, again: bool, bytes: Vec<u8> },
    Connect { flow: FlowId, target: Target },
    Close(FlowId),
    Resolve { id: ResolveId, host: String, port: u16 },
}

impl From<Act<'_>> for Taken {
    fn from(act: Act<'_>) -> Self {
        match act {
            Act::Note(note) => Self::Note(note),
            Act::Transmit(transmit) => Self::Transmit {
                to: transmit.to,
                ticket: transmit.ticket,
                again: transmit.retransmission,
                bytes: transmit.bytes.into(),
            },
            Act::Connect { flow, target } => Self::Connect { flow, target },
            Act::Close(flow) => Self::Close(flow),
            Act::Resolve { id, host, port } => Self::Resolve { id, host: host.into(), port },
        }
    }
}
