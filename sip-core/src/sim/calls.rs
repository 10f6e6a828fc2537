//! Worlds of calls: who calls whom over what, under which faults; and what came of it.

use super::actors::{Callee, Caller, Manner, Script};
use super::faults::Faults;
use super::forwarding::proxy_monitors;
use super::hostile::{FORGERIES, Hostile};
use super::monitor::{Violation, monitors};
use super::node::{Actor, Host, Node};
use super::party::Party;
use super::switch::Switch;
use super::tape::{Choice, Kind, Question, Site, Tape};
use super::trace::Trace;
use super::world::World;
use crate::config::{Config, Limits};
use crate::endpoint::Endpoint;
use crate::proxy::{self, Proxy};
use crate::time::Instant;
use crate::transaction::Timers;
use crate::transport::{Target, Transport};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

/// Who is connected with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// A caller and a callee.
    Direct,
    /// A [`Proxy`] between them.
    Proxy,
    /// A [`Proxy`] that forwards to several callees at once: [`Setup::callees`].
    Fork,
}

/// A world of calls.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Who is there.
    pub topology: Topology,
    /// To how many callees a [fork](Topology::Fork) goes: three, and five at the most.
    pub callees: usize,
    /// How they talk.
    pub transport: Transport,
    /// What goes wrong.
    pub faults: Faults,
    /// The timers of all machines.
    pub timers: Timers,
    /// How many calls are made.
    pub calls: u32,
    /// What they are; `None` leaves it to the tape.
    pub script: Option<Script>,
    /// The time in which they are begun.
    pub spread: Duration,
    /// Whether somebody forges messages.
    pub hostile: bool,
    /// The cap on transactions of each machine.
    pub transactions: usize,
    /// Keeps the whole trace, with all bytes.
    pub keep_trace: bool,
    /// Has the machines keep logs of their inputs.
    pub logs: bool,
    /// Puts something around each node, by its number.
    pub wrap: Option<Wrap>,
}

/// Something of one's own around a node: what it sends and says can be changed on the way.
#[derive(Clone)]
pub struct Wrap(Rc<Wrapping>);

type Wrapping = dyn Fn(usize, Box<dyn Node>) -> Box<dyn Node>;

impl Wrap {
    /// Made of a function.
    pub fn new(wrap: impl Fn(usize, Box<dyn Node>) -> Box<dyn Node> + 'static) -> Self {
        Self(Rc::new(wrap))
    }

    pub(super) fn around(&self, number: usize, node: Box<dyn Node>) -> Box<dyn Node> {
        (self.0)(number, node)
    }
}

impl fmt::Debug for Wrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wrap")
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            topology: Topology::Direct,
            callees: 3,
            transport: Transport::Udp,
            faults: Faults::NONE,
            timers: Timers::DEFAULT,
            calls: 1,
            script: Some(Script::Call),
            spread: Duration::ZERO,
            hostile: false,
            transactions: Limits::DEFAULT.transactions,
            keep_trace: false,
            logs: false,
            wrap: None,
        }
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// What the monitors found.
    pub violations: Vec<Violation>,
    /// The choices that were not boring.
    pub choices: Vec<Choice>,
    /// The questions that were asked, if the tape kept them.
    pub questions: Vec<Question>,
    /// Calls begun.
    pub calls: u64,
    /// Calls that ended as they should.
    pub completed: u64,
    /// Messages sent.
    pub messages: u64,
    /// Messages among them that had been sent before.
    pub retransmissions: u64,
    /// Transactions that were left when nothing was left to do.
    pub leaked: u64,
    /// The time that passed in the world.
    pub time: Duration,
    /// The digest of the trace.
    pub digest: u128,
    /// The trace.
    pub trace: Trace,
    /// The logs of the machines, if they were kept.
    pub logs: Vec<String>,
}

/// The address of a node.
pub(super) fn address(node: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, node as u8 + 1)), 5060)
}

/// An actor whose calls are counted where the report finds them: it may crash.
struct Counted {
    actor: Caller,
    calls: Rc<Cell<(u64, u64)>>,
    before: (u64, u64),
}

impl Actor for Counted {
    fn event(&mut self, now: Instant, hand: &mut super::node::Hand<'_>, event: crate::Event<'_>) {
        self.actor.event(now, hand, event);
        self.count();
    }

    fn deadline(&self) -> Option<Instant> {
        self.actor.deadline()
    }

    fn advance(&mut self, now: Instant, hand: &mut super::node::Hand<'_>) {
        self.actor.advance(now, hand);
        self.count();
    }
}

impl Counted {
    fn count(&self) {
        let (begun, good) = self.actor.calls();
        self.calls.set((self.before.0 + begun, self.before.1 + good));
    }
}

impl Setup {
    /// The flows whose faults are tried one by one and two by two: each kind of call between two user agents, and a call that is forked,
    /// over a network that may lose, double or hold back every datagram.
    pub fn base_flows() -> impl Iterator<Item = Self> {
        let faults = Faults { loss: 1, duplicate: 1, reorder: 1, ..Faults::NONE };
        let direct = Script::ALL.into_iter().map(|script| (Topology::Direct, script));
        direct.chain([(Topology::Fork, Script::Call)]).map(move |(topology, script)| Self {
            topology,
            script: Some(script),
            faults,
            ..Self::default()
        })
    }

    /// Runs the world with the choices of a tape.
    pub fn run(&self, mut tape: Tape) -> Report {
        let plan = self.plan(&mut tape);
        let callees = if self.topology == Topology::Fork { self.callees.clamp(1, 5) } else { 1 };
        let first_callee = if self.topology == Topology::Direct { 1 } else { 2 };
        let manners: Vec<Vec<Manner>> =
            (0..callees).map(|at| self.manners(&mut tape, first_callee + at)).collect();
        let forgeries = self.forgeries(&mut tape, first_callee + callees);

        let mut world = World::new(tape, self.faults);
        if self.keep_trace {
            world.keep_trace();
        }
        let (timers, transport) = (self.timers, self.transport);
        let target = move |node: usize| Target { transport, addr: address(node) };

        let counted = Rc::new(Cell::new((0, 0)));
        let (calls, setup) = (counted.clone(), self.clone());
        world.add(address(0), move |incarnation| {
            // Who comes back begins nothing new: its calls are over.
            let plan = if incarnation == 0 { plan.clone() } else { Vec::new() };
            let actor = Caller::new(address(0), target(1), incarnation, plan);
            setup.host(0, incarnation, Counted { actor, before: calls.get(), calls: calls.clone() })
        });
        if self.topology != Topology::Direct {
            let targets: Vec<Target> = (0..callees).map(|at| target(first_callee + at)).collect();
            let setup = self.clone();
            world.add(address(1), move |incarnation| setup.proxy(1, incarnation, targets.clone()));
        }
        for (at, manners) in manners.into_iter().enumerate() {
            let node = first_callee + at;
            let setup = self.clone();
            world.add(address(node), move |incarnation| {
                setup.host(node, incarnation, Callee::new(address(node), transport, timers, manners.clone()))
            });
        }
        if self.hostile {
            let node = first_callee + callees;
            world.add_tap(address(node), move |_| Box::new(Hostile::new(address(node), forgeries.clone())));
        }
        let monitors = match self.topology {
            Topology::Direct => monitors(&self.timers, self.transactions),
            Topology::Proxy | Topology::Fork => proxy_monitors(1, &self.timers, self.transactions),
        };
        monitors.into_iter().for_each(|monitor| world.watch(monitor));
        world.run();
        Self::report(world, counted.get())
    }

    fn report(world: World, (calls, completed): (u64, u64)) -> Report {
        let stats = || world.nodes().flatten().map(Node::stats);
        let packets = world.trace().packets();
        Report {
            violations: world.violations().to_vec(),
            choices: world.choices().to_vec(),
            questions: world.questions().to_vec(),
            calls,
            completed,
            messages: packets.len() as u64,
            retransmissions: packets.iter().filter(|packet| packet.again).count() as u64,
            leaked: stats().map(|stats| (stats.client_transactions + stats.server_transactions) as u64).sum(),
            time: world.now().since(Instant::ZERO),
            digest: world.trace().digest(),
            logs: world.nodes().flatten().filter_map(|node| node.log().map(String::from)).collect(),
            trace: world.into_trace(),
        }
    }

    fn config(&self, node: usize, incarnation: u32) -> Config {
        let mut seed = [0; 32];
        let [first, second, ..] = &mut seed;
        (*first, *second) = (node as u8 + 1, incarnation as u8);
        let limits = Limits { transactions: self.transactions, ..Limits::DEFAULT };
        Config { timers: self.timers, limits, ..Config::new(seed) }
    }

    fn host(&self, node: usize, incarnation: u32, actor: impl Actor + 'static) -> Box<dyn Node> {
        let config = self.config(node, incarnation);
        let seed = config.seed;
        let host = Host::new(Endpoint::new(config), address(node), actor);
        self.wrapped(node, Box::new(if self.logs { host.logged(address(node), &seed) } else { host }))
    }

    fn proxy(&self, node: usize, incarnation: u32, places: Vec<Target>) -> Box<dyn Node> {
        let config = proxy::Config::new(self.config(node, incarnation));
        self.wrapped(node, Box::new(Party::new(Proxy::new(config), address(node), Switch::new(places))))
    }

    fn wrapped(&self, number: usize, node: Box<dyn Node>) -> Box<dyn Node> {
        match &self.wrap {
            Some(wrap) => wrap.around(number, node),
            None => node,
        }
    }

    /// When calls are made, and which.
    fn plan(&self, tape: &mut Tape) -> Vec<(Duration, Script)> {
        (0..self.calls)
            .map(|number| {
                let script = self.script.unwrap_or_else(|| {
                    let chosen = tape.choose(Site::node(Kind::Call, 0), &[6, 2, 2, 2, 2, 2, 2]);
                    Script::ALL.get(chosen as usize).copied().unwrap_or(Script::Call)
                });
                let part = tape.below(Site::node(Kind::Start, 0), 256);
                let even = self.spread * number / self.calls.max(1);
                (even + self.spread / self.calls.max(1) * part / 256, script)
            })
            .collect()
    }

    fn manners(&self, tape: &mut Tape, node: usize) -> Vec<Manner> {
        if self.faults.users == 0 {
            return Vec::new();
        }
        let weights = Faults::weights(self.faults.users, [0, 1, 1, 1, 1, 1, 1]);
        (0..self.calls.min(64) * 2)
            .map(|_| {
                let chosen = tape.choose(Site::node(Kind::User, node), &weights);
                Manner::ALL.get(chosen as usize).copied().unwrap_or(Manner::Prompt)
            })
            .collect()
    }

    fn forgeries(&self, tape: &mut Tape, node: usize) -> Vec<u32> {
        if !self.hostile {
            return Vec::new();
        }
        let mut weights = [1; FORGERIES as usize + 1];
        let [boring, ..] = &mut weights;
        *boring = 40;
        (0..self.calls.min(64) * 30).map(|_| tape.choose(Site::node(Kind::Forge, node), &weights)).collect()
    }
}
