//! A world: machines, the network between them, and the one clock from which all others are read.
//!
//! Time jumps to the next thing that is due. First comes chaos: every fault that the tape chooses. Then the network heals, and the
//! world runs until no machine has a deadline and nothing is under way.

use super::faults::Faults;
use super::monitor::{Monitor, Violation};
use super::net::{Conn, Connections, Piece, Side};
use super::node::{Act, Node};
use super::note::{Gist, Note};
use super::tape::{Choice, Kind, Question, Site, Tape};
use super::trace::{Entry, Loss, Packet, PacketId, Trace, What};
use crate::endpoint::{Destination, SendError, Source, Ticket};
use crate::handle::{FlowId, ResolveId};
use crate::message::parse;
use crate::time::{Instant, micros};
use crate::transport::{Target, Transport};
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

/// How a node comes into being; the number is how often it did before.
type Make = Box<dyn Fn(u32) -> Box<dyn Node>>;

struct Place {
    node: Option<Box<dyn Node>>,
    make: Make,
    incarnation: u32,
    addr: SocketAddr,
    /// The port that others see, while a NAT is between.
    seen: Option<u16>,
    clock: Clock,
    /// What its user and its machine have been told at the most.
    local: Instant,
    wake: Option<Instant>,
    flows: BTreeMap<FlowId, (u32, Side)>,
    /// Until when nothing leaves it, and nothing reaches it.
    mute: Instant,
    deaf: Instant,
    /// The line of the trace that it acts upon.
    cause: u32,
    /// It hears what others send each other, and sends under any address.
    tap: bool,
}

/// A clock that is fast or slow, and set wrong.
#[derive(Clone, Copy)]
struct Clock {
    num: u64,
    den: u64,
    offset: u64,
    back: u64,
}

impl Clock {
    fn local(self, at: Instant) -> Instant {
        let micros = at.as_micros() * self.num / self.den + self.offset;
        Instant::from_micros(micros.saturating_sub(self.back))
    }

    /// The first instant of the world at which it shows `local` or later.
    fn world(self, local: Instant) -> Instant {
        let micros = (local.as_micros() + self.back).saturating_sub(self.offset);
        Instant::from_micros((micros * self.den).div_ceil(self.num))
    }
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
    most_events: u64,
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
            most_events: MOST_EVENTS,
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
            if events > self.most_events || self.now.since(Instant::ZERO) > LONGEST {
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
                    "outputs without end".into(),
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

    // Datagrams.

    fn packet(
        &mut self,
        node: usize,
        from: SocketAddr,
        to: SocketAddr,
        conn: Option<u32>,
        again: bool,
        bytes: Vec<u8>,
    ) -> PacketId {
        let gist = parse(&bytes, &crate::Limits::DEFAULT).sound().ok().map(|message| Gist::of(&message));
        let transport = if conn.is_some() { Transport::Tcp } else { Transport::Udp };
        let length = bytes.len();
        let (at, mut peer) = (self.now, self.at(to));
        if let Some(conn) = conn.and_then(|number| self.conns.get(number)) {
            let ends = [Side::Caller, Side::Callee].map(|side| conn.node(side));
            peer = ends.into_iter().flatten().find(|end| *end != node).or(peer);
        }
        let forged = self.is_tap(node);
        let packet = Packet { at, node, peer, from, to, transport, conn, gist, again, forged, bytes, length };
        let id = self.trace.add_packet(packet);
        self.note(node, What::Sent { packet: id });
        id
    }

    fn is_tap(&self, node: usize) -> bool {
        self.places.get(node).is_some_and(|place| place.tap)
    }

    fn send(
        &mut self,
        node: usize,
        local: SocketAddr,
        remote: SocketAddr,
        ticket: Ticket,
        again: bool,
        bytes: Vec<u8>,
    ) {
        let seen = self.places.get(node).and_then(|place| place.seen);
        let from = SocketAddr::new(local.ip(), seen.unwrap_or_else(|| local.port()));
        let packet = self.packet(node, from, remote, None, again, bytes);
        let Some(peer) = self.at(remote) else {
            self.note(node, What::Lost { packet, why: Loss::Nobody });
            return self.trace.forget_bytes(packet);
        };
        let weights = Faults::weights(self.rate(self.faults.send), [0, 2, 1, 1]);
        let sent = self.tape.choose(Site::link(Kind::Send, node, peer), &weights);
        let mut wait = Duration::ZERO;
        match sent {
            0 => {}
            1 => wait = Duration::from_secs(1),
            _ => {
                let error = if sent == 2 { SendError::Unreachable } else { SendError::Full };
                self.note(node, What::Lost { packet, why: Loss::NotSent });
                self.trace.forget_bytes(packet);
                return self.push(self.now, Due::SendFailed { node, ticket, error });
            }
        }
        self.forward(packet, node, peer, wait);
    }

    /// What the network does with a datagram.
    fn forward(&mut self, packet: PacketId, node: usize, peer: usize, wait: Duration) {
        let faults = self.faults;
        let site = |kind| Site::link(kind, node, peer);
        let burst = self.bursts.get(&(node, peer)).copied().unwrap_or_default();
        let mut lost = burst > 0;
        if lost {
            self.bursts.insert((node, peer), burst - 1);
        } else if self.rate(faults.burst) > 0 {
            let chosen = self
                .tape
                .choose(site(Kind::Burst), &Faults::weights(self.rate(faults.burst), [0, 4, 3, 2, 1]));
            let length = [0, 2, 5, 12, 30].get(chosen as usize).copied().unwrap_or_default();
            if length > 0 {
                self.bursts.insert((node, peer), length - 1);
                lost = true;
            }
        }
        let rate = |rate| self.rate(rate);
        let rest = [rate(faults.loss), rate(faults.duplicate), rate(faults.reorder), rate(faults.damage)];
        let boring = 10_000_u32.saturating_sub(rest.iter().sum());
        let fate = self.tape.choose(site(Kind::Fate), &[boring, rest[0], rest[1], rest[2], rest[3]]);
        lost |= fate == 1 && !self.healed;
        let cut = [(node, true), (peer, false)].into_iter().any(|(place, out)| {
            self.places.get(place).is_some_and(|place| self.now < if out { place.mute } else { place.deaf })
        });
        if lost || cut {
            let why = if cut { Loss::Cut } else { Loss::Dropped };
            self.note(node, What::Lost { packet, why });
            return self.trace.forget_bytes(packet);
        }
        self.overhear(packet);
        let mut at = self.now + wait + self.delay(node, peer);
        if fate == 3 {
            at += self.later(node, peer);
        }
        let damage = (fate == 4).then(|| self.tape.below(site(Kind::Damage), 256));
        self.under_way.insert(packet, 1);
        self.push(at, Due::Datagram { packet, damage });
        if fate == 2 {
            self.note(node, What::Copied { packet });
            self.under_way.insert(packet, 2);
            let later = at + self.later(node, peer);
            self.push(later, Due::Datagram { packet, damage: None });
        }
    }

    /// Lets the hostile nodes hear a datagram of somebody else.
    fn overhear(&mut self, packet: PacketId) {
        let Some(sent) = self.trace.packet(packet).filter(|packet| !packet.forged) else { return };
        let (from, to) = (sent.from, sent.to);
        let taps = self.places.iter_mut().filter(|place| place.tap && !self.healed);
        let Some(place) = taps.last() else { return };
        let now = place.clock.local(self.now);
        let Some(machine) = &mut place.node else { return };
        machine.datagram(now, Source::Datagram { local: to, remote: from }, &sent.bytes);
        let deadline = machine.deadline();
        if let Some(node) = self.places.iter().position(|place| place.tap) {
            self.schedule(node, deadline);
        }
    }

    fn delay(&mut self, node: usize, peer: usize) -> Duration {
        let most = if self.healed { Duration::ZERO } else { self.faults.delay };
        // A datagram is always under way for some time.
        let least = Duration::from_millis(1);
        if most.is_zero() {
            return least;
        }
        let part = self.tape.below(Site::link(Kind::Delay, node, peer), 17);
        least + most * part / 16
    }

    fn later(&mut self, node: usize, peer: usize) -> Duration {
        let chosen = self.tape.choose(Site::link(Kind::Later, node, peer), &[4, 4, 3, 2, 1, 1]);
        let millis =
            [100, 600, 2_100, 6_000, 20_000, 40_000].get(chosen as usize).copied().unwrap_or_default();
        Duration::from_millis(millis)
    }

    fn deliver(&mut self, packet: PacketId, damage: Option<u32>) {
        let left = self.under_way.get_mut(&packet).map_or(0, |left| {
            *left -= 1;
            *left
        });
        if left == 0 {
            self.under_way.remove(&packet);
        }
        let Some(sent) = self.trace.packet(packet) else { return };
        let (sender, from, to, mut bytes) = (sent.node, sent.from, sent.to, sent.bytes.clone());
        // By the time that it arrives another may have the address, or nobody.
        let Some(node) =
            self.at(to).filter(|node| self.places.get(*node).is_some_and(|place| place.node.is_some()))
        else {
            self.note(sender, What::Lost { packet, why: Loss::Nobody });
            return;
        };
        if let Some(damage) = damage {
            spoil(&mut bytes, damage);
        }
        self.cause(node, What::Arrived { packet, damaged: damage.is_some() });
        if left == 0 {
            self.trace.forget_bytes(packet);
        }
        let local = self.places.get(node).map_or(to, |place| place.addr);
        self.with(node, |machine, now| {
            machine.datagram(now, Source::Datagram { local, remote: from }, &bytes)
        });
        let weights = Faults::weights(self.rate(self.faults.spurious), [0, 1]);
        if self.tape.choose(Site::node(Kind::Spurious, node), &weights) == 1 {
            self.spurious(node);
        }
    }

    /// Wakes a machine that has nothing to do.
    fn spurious(&mut self, node: usize) {
        let Some(place) = self.places.get_mut(node) else { return };
        let now = place.clock.local(self.now);
        let Some(machine) = &mut place.node else { return };
        let before = machine.deadline();
        if before.is_some_and(|deadline| deadline <= place.local) {
            return;
        }
        machine.advance(now);
        let changed = machine.poll(now, &mut |_| {}) || machine.deadline() != before;
        self.note(node, What::Spurious { changed });
    }

    // Connections.

    fn connect(&mut self, node: usize, flow: FlowId, target: Target) {
        let Some(from) = self.places.get(node).map(|place| place.addr) else { return };
        // Each connection has a port of its own.
        let from = SocketAddr::new(from.ip(), 40_000 + (self.conns.count() % 20_000) as u16);
        let conn = self.conns.add(Conn::new(node, flow, from, target.addr));
        if let Some(place) = self.places.get_mut(node) {
            place.flows.insert(flow, (conn, Side::Caller));
        }
        let peer = self.at(target.addr);
        let weights = Faults::weights(self.rate(self.faults.connect), [0, 1, 1]);
        let outcome = self.tape.choose(Site::link(Kind::Connect, node, peer.unwrap_or(node)), &weights);
        let up = peer.is_some_and(|peer| self.places.get(peer).is_some_and(|place| place.node.is_some()));
        let wait = Duration::from_millis(if outcome == 2 { 5_000 } else { 2 });
        if !up || outcome == 1 {
            return self.push(self.now + wait, Due::Closed { conn, side: Side::Caller });
        }
        self.push(self.now + wait, Due::Connected { conn });
    }

    fn connected(&mut self, number: u32) {
        let Some(conn) = self.conns.get(number) else { return };
        let (caller, flow, from, to) = (conn.node(Side::Caller), conn.flow(Side::Caller), conn.from, conn.to);
        let (Some(caller), Some(flow)) = (caller, flow) else { return };
        let Some(peer) = self.at(to) else { return self.end_closed(number, Side::Caller) };
        let mut accepted = None;
        self.with(peer, |machine, now| {
            accepted = machine.accepted(now, Target { transport: Transport::Tcp, addr: from }, to);
        });
        let Some(theirs) = accepted else { return self.end_closed(number, Side::Caller) };
        if let Some(place) = self.places.get_mut(peer) {
            place.flows.insert(theirs, (number, Side::Callee));
        }
        self.conns.open(number, peer, theirs);
        self.note(peer, What::Connection { number, open: true });
        self.cause(caller, What::Connection { number, open: true });
        let mut wanted = true;
        self.with(caller, |machine, now| wanted = machine.opened(now, flow, from));
        if !wanted {
            self.break_connection(number);
        }
    }

    /// A message for a connection.
    fn write(&mut self, node: usize, flow: FlowId, ticket: Ticket, again: bool, bytes: Vec<u8>) {
        let Some((number, side)) = self.places.get(node).and_then(|place| place.flows.get(&flow).copied())
        else {
            return self.push(self.now, Due::SendFailed { node, ticket, error: SendError::Unreachable });
        };
        let Some((from, to)) = self.conns.get(number).map(|conn| conn.ends(side)) else { return };
        let length = bytes.len();
        let packet = self.packet(node, from, to, Some(number), again, bytes.clone());
        let peer = self.conns.get(number).and_then(|conn| conn.node(side.other())).unwrap_or(node);
        let weights = Faults::weights(self.rate(self.faults.send), [0, 2, 0, 1]);
        let mut wait = Duration::ZERO;
        if self.conns.is_cut(number, side) {
            self.note(node, What::Lost { packet, why: Loss::Broken });
            return;
        }
        match self.tape.choose(Site::link(Kind::Send, node, peer), &weights) {
            0 => {}
            3 => {
                self.note(node, What::Lost { packet, why: Loss::NotSent });
                return self.push(self.now, Due::SendFailed { node, ticket, error: SendError::Full });
            }
            _ => wait = Duration::from_secs(1),
        }
        let weights = Faults::weights(self.rate(self.faults.cut), [0, 1, 1, 1, 1]);
        let cut = self.tape.choose(Site::link(Kind::Cut, node, peer), &weights);
        let piece = match cut {
            1 => length / 2 + 1,
            2 => 7,
            3 => 1,
            _ => length.max(1),
        };
        let joined = if cut == 4 { Duration::from_millis(40) } else { Duration::ZERO };
        let at = self.now + wait + joined + self.delay(node, peer);
        let at = self.conns.last_due(number, side).map_or(at, |last| at.max(last));
        let mut due = at;
        for (index, piece) in bytes.chunks(piece).enumerate() {
            let end =
                (index + 1) * piece.len() >= length || piece.as_ptr_range().end == bytes.as_ptr_range().end;
            let weights = Faults::weights(self.rate(self.faults.reset), [0, 1]);
            // A connection may break before any of the first pieces; to ask for each byte would be too much.
            if index < 4 && self.tape.choose(Site::link(Kind::Reset, node, peer), &weights) == 1 {
                self.conns.cut(number, side);
                self.push(due, Due::Closed { conn: number, side });
                self.push(due, Due::Closed { conn: number, side: side.other() });
                break;
            }
            let packet = end.then_some(packet);
            self.conns.write(number, side, Piece { due, bytes: piece.into(), packet });
            self.push(due, Due::Pieces { conn: number, side: side.other() });
            if cut != 4 {
                due += Duration::from_micros(50);
            }
        }
    }

    /// What has reached this end of a connection.
    fn pieces(&mut self, number: u32, side: Side) {
        let Some(conn) = self.conns.get(number) else { return };
        let (Some(node), Some(flow)) = (conn.node(side), conn.flow(side)) else { return };
        let sender = conn.node(side.other()).unwrap_or(node);
        // Who is cut off gets it later: the transport repeats it.
        let until = [(sender, true), (node, false)]
            .into_iter()
            .filter_map(|(place, out)| {
                self.places.get(place).map(|place| if out { place.mute } else { place.deaf })
            })
            .max()
            .unwrap_or_default();
        if self.now < until {
            self.conns.hold(number, side.other(), until);
            return self.push(until, Due::Pieces { conn: number, side });
        }
        let mut bytes = Vec::new();
        for piece in self.conns.read(number, side.other(), self.now) {
            bytes.extend_from_slice(&piece.bytes);
            if let Some(packet) = piece.packet {
                self.cause(node, What::Arrived { packet, damaged: false });
                self.trace.forget_bytes(packet);
            }
        }
        if !bytes.is_empty() {
            self.with(node, |machine, now| machine.bytes(now, flow, &bytes));
        }
    }

    /// One end of a connection learns that it is gone.
    fn end_closed(&mut self, number: u32, side: Side) {
        let Some((node, flow)) = self.conns.close(number, side) else { return };
        for packet in self.conns.unread(number, side) {
            self.note(node, What::Lost { packet, why: Loss::Broken });
        }
        let Some(place) = self.places.get_mut(node) else { return };
        if place.flows.remove(&flow).is_some() {
            self.cause(node, What::Connection { number, open: false });
            self.with(node, |machine, now| machine.closed(now, flow));
        }
    }

    fn break_connection(&mut self, number: u32) {
        self.end_closed(number, Side::Caller);
        self.end_closed(number, Side::Callee);
    }

    // Episodes.

    fn schedule_episodes(&mut self) {
        if self.faults.episodes == 0 {
            return;
        }
        for node in 0..self.places.len() {
            for _ in 0..2 {
                let weights = Faults::weights(self.faults.episodes, [0, 2, 2, 2, 1, 2, 1, 1, 1]);
                let kind = self.tape.choose(Site::node(Kind::Episode, node), &weights);
                if kind == 0 {
                    continue;
                }
                let at = self.faults.chaos * self.tape.below(Site::node(Kind::When, node), 64) / 64;
                let length = self.tape.choose(Site::node(Kind::Length, node), &[2, 4, 3, 2, 1, 1]);
                let millis = [100, 1_000, 5_000, 20_000, 64_000, 120_000];
                let length = Duration::from_millis(millis.get(length as usize).copied().unwrap_or_default());
                self.push(Instant::ZERO + at, Due::Episode { node, kind, length });
            }
        }
    }

    fn episode(&mut self, node: usize, kind: u32, length: Duration) {
        let until = self.now + length;
        let Some(place) = self.places.get_mut(node) else { return };
        match kind {
            1 => place.mute = until,
            2 => place.deaf = until,
            3 => (place.mute, place.deaf) = (until, until),
            4 => self.crash(node, length),
            5 => {
                let numbers: Vec<u32> = place.flows.values().map(|(number, _)| *number).collect();
                numbers.into_iter().for_each(|number| self.break_connection(number));
            }
            6 => place.seen = Some(place.seen.map_or(50_000, |port| port + 1)),
            7 => {
                place.clock.offset += micros(length);
                // The machine knows nothing of it until it is told the time again.
                let by = place.clock.local(self.now).since(place.local);
                self.note(node, What::Jumped { by, forward: true });
                self.rewake(node);
            }
            _ => {
                place.clock.back += micros(length);
                self.note(node, What::Jumped { by: length, forward: false });
                self.rewake(node);
            }
        }
    }

    fn rewake(&mut self, node: usize) {
        let deadline = self
            .places
            .get(node)
            .and_then(|place| place.node.as_ref())
            .and_then(|machine| machine.deadline());
        self.schedule(node, deadline);
    }

    fn crash(&mut self, node: usize, length: Duration) {
        let Some(place) = self.places.get_mut(node).filter(|place| place.node.is_some()) else { return };
        place.node = None;
        place.wake = None;
        let flows = core::mem::take(&mut place.flows);
        self.note(node, What::Crashed);
        for (number, side) in flows.into_values() {
            self.conns.close(number, side);
            self.end_closed(number, side.other());
        }
        self.push(self.now + length, Due::Restart { node });
    }

    fn restart(&mut self, node: usize) {
        let Some(place) = self.places.get_mut(node).filter(|place| place.node.is_none()) else { return };
        place.incarnation += 1;
        place.node = Some((place.make)(place.incarnation));
        // It has not been told any time yet.
        place.local = Instant::ZERO;
        self.note(node, What::Restarted);
        self.with(node, |machine, now| machine.advance(now));
    }

    /// No fault from here on: who was cut off is reached again, who is down comes back, and nothing is late.
    fn heal(&mut self) {
        self.healed = true;
        let now = self.now;
        for place in &mut self.places {
            place.mute = place.mute.min(now);
            place.deaf = place.deaf.min(now);
        }
        self.bursts.clear();
        for node in 0..self.places.len() {
            self.restart(node);
        }
        self.note(0, What::Healed);
    }
}

/// What is wrong with a violation's place is the world's to say.
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

/// Damages a datagram: a byte is changed, the end is missing, or something stands behind it.
fn spoil(bytes: &mut Vec<u8>, how: u32) {
    let at = how as usize * bytes.len() / 256;
    match how % 3 {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (how % 8);
            }
        }
        1 => bytes.truncate(at),
        _ => bytes.extend_from_slice(b"\r\nbehind the end"),
    }
}
