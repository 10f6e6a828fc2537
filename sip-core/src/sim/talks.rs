//! Worlds of user agents that call each other, and do inside their calls what comes to their minds.

use super::calls::address;
use super::dialogs::dialog_monitors;
use super::faults::Faults;
use super::ledger::{Ledger, Ledgers, left};
use super::monitor::{Violation, wire_monitors};
use super::node::Node;
use super::party::Party;
use super::router::Router;
use super::tape::{Choice, Kind, Site, Tape};
use super::trace::Trace;
use super::world::World;
use crate::config::Config as CoreConfig;
use crate::handle::DialogId;
use crate::machine::TransactionUser;
use crate::message::{Content, Method, Status};
use crate::proxy::{self, Proxy};
use crate::time::Instant;
use crate::transport::{Target, Transport};
use crate::ua::{Config, Event, NewInvite, UserAgent};
use crate::{Invitation, transaction::Timers};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::time::Duration;

const SESSION: Content<'static> = Content::body("application/sdp", b"v=0\r\n");

/// Nobody talks longer.
const LONGEST: Duration = Duration::from_secs(200);

/// User agents that call each other: two, or one and several behind a proxy that forks to all of them.
#[derive(Clone, Debug)]
pub struct Talks {
    /// How they talk.
    pub transport: Transport,
    /// What goes wrong.
    pub faults: Faults,
    /// The timers of both.
    pub timers: Timers,
    /// How many calls each of them makes.
    pub calls: u32,
    /// How many the first one's calls are forked to, by a proxy that is the last node; zero: there are two, and no proxy.
    pub forks: usize,
    /// Whether they do what comes to their minds; else a call is placed, answered and hung up by who placed it.
    pub moody: bool,
    /// Keeps the whole trace, with all bytes.
    pub keep_trace: bool,
    /// Puts something around each node, by its number.
    pub wrap: Option<super::Wrap>,
}

impl Default for Talks {
    fn default() -> Self {
        Self {
            transport: Transport::Udp,
            faults: Faults::NONE,
            timers: Timers::DEFAULT,
            calls: 1,
            forks: 0,
            moody: false,
            keep_trace: false,
            wrap: None,
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Talked {
    /// What the monitors found.
    pub violations: Vec<Violation>,
    /// The choices that were not boring.
    pub choices: Vec<Choice>,
    /// What both users were told, in short and in order.
    pub told: Vec<(usize, String)>,
    /// The trace.
    pub trace: Trace,
    /// The time that passed in the world.
    pub time: Duration,
}

impl Talks {
    /// Runs the world with the choices of a tape.
    pub fn run(&self, mut tape: Tape) -> Talked {
        let agents = self.forks.max(1) + 1;
        let moods: Vec<Vec<u32>> = (0..agents).map(|node| self.moods(&mut tape, node)).collect();
        let mut world = World::new(tape, self.faults);
        if self.keep_trace {
            world.keep_trace();
        }
        let ledger = Rc::new(RefCell::new(Ledger::default()));
        for (node, moods) in moods.into_iter().enumerate() {
            let (setup, ledger) = (self.clone(), ledger.clone());
            world.add(address(node), move |incarnation| setup.party(node, incarnation, &moods, &ledger));
        }
        if self.forks > 0 {
            let setup = self.clone();
            world.add(address(agents), move |incarnation| setup.proxy(agents, incarnation));
        }
        for monitor in wire_monitors().into_iter().chain(dialog_monitors(&self.timers, agents)) {
            world.watch(monitor);
        }
        world.watch(Ledgers::over(&ledger));
        world.run();
        let violations = left(&world);
        let told = core::mem::take(&mut ledger.borrow_mut().told);
        Talked {
            violations,
            choices: world.choices().to_vec(),
            told,
            time: world.now().since(Instant::ZERO),
            trace: world.into_trace(),
        }
    }

    fn moods(&self, tape: &mut Tape, node: usize) -> Vec<u32> {
        if !self.moody {
            return Vec::new();
        }
        (0..self.calls * 12).map(|_| tape.below(Site::node(Kind::Mood, node), 256)).collect()
    }

    fn core(&self, node: usize, incarnation: u32) -> CoreConfig {
        let mut seed = [0; 32];
        let [first, second, ..] = &mut seed;
        (*first, *second) = (node as u8 + 1, incarnation as u8);
        CoreConfig { timers: self.timers, ..CoreConfig::new(seed) }
    }

    fn proxy(&self, node: usize, incarnation: u32) -> Box<dyn Node> {
        let param = if self.transport == Transport::Udp { "" } else { ";transport=tcp" };
        let targets = (1..node).map(|at| format!("sip:talker@{}{param}", address(at))).collect();
        let config = proxy::Config { record_route: true, ..proxy::Config::new(self.core(node, incarnation)) };
        Box::new(Party::new(
            Proxy::new(config),
            address(node),
            Router { turns: [targets].into(), ..Router::default() },
        ))
    }

    fn party(
        &self,
        node: usize,
        incarnation: u32,
        moods: &[u32],
        ledger: &Rc<RefCell<Ledger>>,
    ) -> Box<dyn Node> {
        let core = self.core(node, incarnation);
        let config = Config { methods: Vec::from([Method::Info]), ..Config::new(core, "talker") };
        ledger.borrow_mut().forget(node);
        let peer = match node {
            0 if self.forks > 0 => self.forks + 1,
            0 => 1,
            _ => 0,
        };
        let mut talker = Talker {
            node,
            peer: Target { transport: self.transport, addr: address(peer) },
            moods: moods.to_vec(),
            mood: 0,
            order: 0,
            agenda: BTreeMap::new(),
            ledger: ledger.clone(),
        };
        // Who comes back begins nothing new: its calls are over.
        let calls = if incarnation > 0 || (node > 0 && !self.moody) { 0 } else { self.calls };
        for _ in 0..calls {
            let at = Instant::ZERO + talker.while_of();
            talker.plan(at, Plan::Invite);
        }
        let party = Box::new(Party::new(UserAgent::new(config), address(node), talker));
        match &self.wrap {
            Some(wrap) => wrap.around(node, party),
            None => party,
        }
    }
}

/// What a talker is about to do.
#[derive(Clone, Copy, Debug)]
enum Plan {
    Invite,
    Cancel(Invitation),
    Ring(DialogId),
    Accept(DialogId),
    Reject(DialogId),
    Offer(DialogId),
    Update(DialogId),
    Info(DialogId),
    Bye(DialogId),
}

/// A user who calls, answers, puts on hold, takes back, says things and hangs up.
struct Talker {
    node: usize,
    peer: Target,
    moods: Vec<u32>,
    mood: usize,
    order: u64,
    agenda: BTreeMap<(Instant, u64), Plan>,
    ledger: Rc<RefCell<Ledger>>,
}

impl Talker {
    fn plan(&mut self, at: Instant, plan: Plan) {
        self.order += 1;
        self.agenda.insert((at, self.order), plan);
    }

    /// The next mood; zero when there are no more.
    fn next_mood(&mut self) -> u32 {
        self.mood += 1;
        self.moods.get(self.mood - 1).copied().unwrap_or_default()
    }

    /// Some time: mostly one that the peer takes too, so that both do something at once.
    fn while_of(&mut self) -> Duration {
        let millis = [1_000, 1_000, 0, 100, 500, 5_000, 20_000, 40_000];
        let mood = self.next_mood() as usize;
        Duration::from_millis(millis.get(mood % millis.len()).copied().unwrap_or_default())
    }

    /// Answers a call that comes in.
    fn answer(&mut self, now: Instant, dialog: DialogId) {
        let at = now + self.while_of();
        match self.next_mood() % 8 {
            1 => {
                self.plan(now, Plan::Ring(dialog));
                self.plan(at, Plan::Accept(dialog));
            }
            2 => {
                self.plan(at, Plan::Ring(dialog));
                self.plan(at, Plan::Accept(dialog));
            }
            3 => self.plan(at, Plan::Reject(dialog)),
            4 => {
                self.plan(now, Plan::Accept(dialog));
                self.plan(at, Plan::Bye(dialog));
            }
            _ => self.plan(at, Plan::Accept(dialog)),
        }
        self.plan(now + LONGEST, Plan::Bye(dialog));
    }

    /// What it does in a call.
    fn talk(&mut self, now: Instant, dialog: DialogId) {
        if self.moods.is_empty() {
            if self.node == 0 {
                self.plan(now + Duration::from_secs(1), Plan::Bye(dialog));
            }
            return;
        }
        for _ in 0..self.next_mood() % 4 {
            let at = now + self.while_of();
            let plan = match self.next_mood() % 4 {
                0 => Plan::Offer(dialog),
                1 => Plan::Update(dialog),
                2 => Plan::Info(dialog),
                _ => Plan::Bye(dialog),
            };
            self.plan(at, plan);
        }
        self.plan(now + LONGEST, Plan::Bye(dialog));
    }

    fn say(&self, text: String) {
        self.ledger.borrow_mut().told.push((self.node, text));
    }
}

impl TransactionUser<UserAgent> for Talker {
    fn event(&mut self, now: Instant, machine: &mut UserAgent, event: Event<'_>) {
        self.ledger.borrow_mut().note(self.node, machine, &event);
        match event {
            Event::Incoming { dialog, .. } => {
                self.say(format!("Incoming {dialog:?}"));
                self.answer(now, dialog);
            }
            Event::Answered { dialog, wants_answer, .. } => {
                self.say(format!("Answered {dialog:?}"));
                if wants_answer {
                    let _ = machine.ack(now, dialog, &SESSION);
                }
                self.talk(now, dialog);
            }
            Event::Established { dialog, .. } => {
                self.say(format!("Established {dialog:?}"));
                self.talk(now, dialog);
            }
            Event::Request { txn, request, .. } => {
                let session = matches!(request.method(), Method::Invite | Method::Update);
                let content = if session { SESSION } else { Content::NONE };
                let _ = machine.respond(now, txn, Status::OK, &content);
            }
            Event::Response { dialog: Some(dialog), wants_answer: true, .. } => {
                let _ = machine.ack(now, dialog, &SESSION);
            }
            Event::Refused { response, .. } => self.say(format!("Refused {}", response.status_code())),
            Event::InvitationEnded { cause, .. } => self.say(format!("InvitationEnded {cause:?}")),
            Event::RequestEnded { cause, .. } => self.say(format!("RequestEnded {cause:?}")),
            Event::Ended { dialog, reason, .. } => {
                self.say(format!("Ended {dialog:?} {reason:?}"));
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.agenda.first_key_value().map(|((at, _), _)| *at)
    }

    fn advance(&mut self, now: Instant, machine: &mut UserAgent) {
        while self.deadline().is_some_and(|at| at <= now) {
            let Some((_, plan)) = self.agenda.pop_first() else { return };
            // What can't be done any more is not done: the machine says so, and nothing follows.
            match plan {
                Plan::Invite => {
                    let uri = format!("sip:talker@{}", self.peer.addr);
                    let mood = self.next_mood();
                    let content = if mood % 2 == 0 { SESSION } else { Content::NONE };
                    let invite = NewInvite { target: Some(self.peer), content, ..NewInvite::new(&uri) };
                    if let Ok(invitation) = machine.invite(now, &invite)
                        && mood / 2 % 4 == 1
                    {
                        let at = now + self.while_of();
                        self.plan(at, Plan::Cancel(invitation));
                    }
                }
                Plan::Cancel(invitation) => drop(machine.cancel(now, invitation)),
                Plan::Ring(dialog) => drop(machine.ring(now, dialog, Status::RINGING, &Content::NONE)),
                Plan::Accept(dialog) => drop(machine.accept(now, dialog, &SESSION)),
                Plan::Reject(dialog) => drop(machine.reject(now, dialog, Status::BUSY_HERE, &Content::NONE)),
                Plan::Offer(dialog) => drop(machine.request_in(now, dialog, Method::Invite, 0, &SESSION)),
                Plan::Update(dialog) => drop(machine.request_in(now, dialog, Method::Update, 0, &SESSION)),
                Plan::Info(dialog) => drop(machine.request_in(now, dialog, Method::Info, 0, &Content::NONE)),
                Plan::Bye(dialog) => drop(machine.bye(now, dialog, &Content::NONE)),
            }
        }
    }
}
