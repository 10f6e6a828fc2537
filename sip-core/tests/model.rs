//! The machines, model-checked: every state that two ends can reach over a network that loses, doubles and reorders, with timers that may
//! fire at any time. What holds here holds for every clock, every delay and every order.
//!
//! A model is two transaction machines (four where a CANCEL races), the messages that are under way, as a set that never shrinks, and the
//! timers that run. Retransmissions are bounded.
#![expect(
    clippy::disallowed_types,
    reason = "states are looked up, and numbered in the order in which they are found"
)]

use core::fmt::Debug;
use core::hash::Hash;
use sip_core::Reliability::Unreliable;
use sip_core::transaction::{Action, Report, Send, Timer, ict, ist, nict, nist};
use std::collections::{BTreeSet, HashMap, VecDeque};

/// How often a timer that repeats may fire.
const REPEATS: u8 = 3;

trait Model: Clone + Eq + Hash + Debug {
    /// All that can come of a state.
    fn next(&self) -> Vec<Self>;
    /// What must hold in each.
    fn check(&self);
    /// Whether all machines are over.
    fn is_over(&self) -> bool;
}

/// Goes through all states; each must hold, and from each all machines can end. Returns how many there are.
fn explore<M: Model>(start: M) -> usize {
    let mut number: HashMap<M, usize> = HashMap::from([(start.clone(), 0)]);
    let mut before: Vec<Vec<usize>> = vec![Vec::new()];
    let mut over = Vec::new();
    let mut queue = VecDeque::from([start]);
    while let Some(state) = queue.pop_front() {
        state.check();
        let from = number[&state];
        if state.is_over() {
            over.push(from);
        }
        for next in state.next() {
            let fresh = before.len();
            let at = *number.entry(next.clone()).or_insert(fresh);
            if at == fresh {
                before.push(Vec::new());
                queue.push_back(next);
            }
            before[at].push(from);
        }
    }
    // Backwards from where all is over.
    let mut ends = vec![false; before.len()];
    let mut queue = over;
    while let Some(at) = queue.pop() {
        if !core::mem::replace(&mut ends[at], true) {
            queue.extend(&before[at]);
        }
    }
    let stuck = ends.iter().filter(|ends| !**ends).count();
    assert_eq!(stuck, 0, "states from which the machines never end");
    before.len()
}

/// The timers of one machine that run, and how often those that repeat have fired.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Clock {
    runs: BTreeSet<Timer>,
    fired: u8,
}

const fn repeats(timer: Timer) -> bool {
    matches!(timer, Timer::A | Timer::E | Timer::G | Timer::Rport)
}

impl Clock {
    fn act(&mut self, action: Action) {
        match action {
            Action::Set(timer, _) => {
                // Of those that end a state only one runs.
                if !repeats(timer) && !matches!(timer, Timer::Trying | Timer::LateTrying) {
                    self.runs.retain(|timer| {
                        repeats(*timer) || matches!(timer, Timer::Trying | Timer::LateTrying)
                    });
                }
                self.runs.insert(timer);
            }
            Action::Stop(timer) => {
                self.runs.remove(&timer);
            }
            _ => {}
        }
    }

    /// Every timer that may fire, with the clock after it.
    fn fire(&self) -> Vec<(Timer, Self)> {
        self.runs
            .iter()
            .filter(|timer| !repeats(**timer) || self.fired < REPEATS)
            .map(|timer| {
                let mut after = self.clone();
                after.runs.remove(timer);
                after.fired += u8::from(repeats(*timer));
                (*timer, after)
            })
            .collect()
    }
}

/// What is under way between the two ends: it may arrive any number of times, or never.
type Wire = BTreeSet<&'static str>;

/// ICT and IST; the user of the server refuses, or accepts, when it likes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Invite {
    client: ict::State,
    server: Option<ist::State>,
    clocks: [Clock; 2],
    wire: Wire,
    /// Whether the server's user accepts.
    accepts: bool,
    /// What the client's user was told: successes, failures, that there is no answer; and whether an ACK was sent by the machine.
    success: bool,
    failures: u8,
    silence: bool,
    acked: bool,
    /// What the server's user was told: how many requests.
    requests: u8,
    answered: bool,
    /// Whether the user wants it cancelled; the CANCEL's own two machines.
    cancels: bool,
    cancel: Option<Cancel>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Cancel {
    client: nict::State,
    server: Option<nist::State>,
    clocks: [Clock; 2],
    /// Whether it met its INVITE before that was answered.
    met: bool,
}

impl Invite {
    fn new(accepts: bool, cancels: bool) -> Self {
        let step = ict::start(Unreliable);
        let mut new = Self {
            client: step.next,
            server: None,
            clocks: Default::default(),
            wire: Wire::new(),
            accepts,
            success: false,
            failures: 0,
            silence: false,
            acked: false,
            requests: 0,
            answered: false,
            cancels,
            cancel: None,
        };
        new.client_acts(&step.actions);
        new
    }

    fn client_step(&self, event: ict::Event) -> Self {
        let step = ict::step(self.client, event, Unreliable);
        let mut next = self.clone();
        next.client = step.next;
        next.client_acts(&step.actions);
        if step.next == ict::State::Terminated {
            next.clocks[0] = Clock::default();
        }
        if let ict::Event::Success = event {
            next.success |= step.actions.contains(&Action::Tell(Report::Response));
        }
        if let ict::Event::Failure = event {
            next.failures += u8::from(step.actions.contains(&Action::Tell(Report::Response)));
        }
        next
    }

    fn client_acts(&mut self, actions: &[Action]) {
        for action in actions {
            self.clocks[0].act(*action);
            match action {
                Action::Send(Send::Request) => drop(self.wire.insert("INVITE")),
                Action::Send(Send::Ack) => {
                    self.acked = true;
                    self.wire.insert("ACK");
                }
                Action::Send(Send::Cancel) => {
                    let step = nict::start(Unreliable);
                    let mut cancel =
                        Cancel { client: step.next, server: None, clocks: Default::default(), met: false };
                    for action in &step.actions {
                        cancel.clocks[0].act(*action);
                    }
                    self.wire.insert("CANCEL");
                    self.cancel = Some(cancel);
                }
                Action::Tell(Report::Timeout | Report::TransportError) => self.silence = true,
                _ => {}
            }
        }
    }

    fn server_step(&self, event: ist::Event) -> Self {
        let Some(state) = self.server else { return self.clone() };
        let step = ist::step(state, event, Unreliable);
        let mut next = self.clone();
        next.server = Some(step.next);
        next.server_acts(&step.actions);
        if step.next == ist::State::Terminated {
            next.clocks[1] = Clock::default();
        }
        next
    }

    fn server_acts(&mut self, actions: &[Action]) {
        for action in actions {
            self.clocks[1].act(*action);
            match action {
                Action::Send(Send::Trying) => drop(self.wire.insert("100")),
                Action::Send(Send::Failure) => {
                    self.answered = true;
                    self.wire.insert("486");
                }
                Action::Tell(Report::Request) => self.requests += 1,
                _ => {}
            }
        }
    }

    /// The server's user answers.
    fn answer(&self, event: ist::Event, sends: &'static str) -> Self {
        let mut next = self.server_step(event);
        next.wire.insert(sends);
        next.answered |= event != ist::Event::Provisional;
        next
    }

    /// What comes of a message that arrives.
    fn arrive(&self, message: &'static str) -> Vec<Self> {
        match message {
            "INVITE" => match self.server {
                // A copy that comes after the end begins another transaction: that is the next one's story.
                Some(_) => vec![self.server_step(ist::Event::Invite)],
                None => {
                    let step = ist::start(Unreliable);
                    let mut next = self.clone();
                    next.server = Some(step.next);
                    next.server_acts(&step.actions);
                    vec![next]
                }
            },
            "ACK" => vec![self.server_step(ist::Event::Ack)],
            "100" => vec![self.client_step(ict::Event::Trying)],
            "180" => vec![self.client_step(ict::Event::Provisional)],
            "200" => vec![self.client_step(ict::Event::Success)],
            "486" => vec![self.client_step(ict::Event::Failure)],
            _ => self.arrive_cancel(message),
        }
    }

    fn arrive_cancel(&self, message: &'static str) -> Vec<Self> {
        let mut next = self.clone();
        let Some(cancel) = &mut next.cancel else { return Vec::new() };
        if message == "CANCEL" {
            match cancel.server {
                Some(state) => cancel.server = Some(nist::step(state, nist::Event::Request, Unreliable).next),
                None => {
                    // It finds its INVITE, and is answered at once; an INVITE that waits for its user is refused by it.
                    let started = nist::start(Unreliable);
                    let step = nist::step(started.next, nist::Event::Final, Unreliable);
                    for action in started.actions.iter().chain(&step.actions) {
                        cancel.clocks[1].act(*action);
                    }
                    cancel.server = Some(step.next);
                    next.wire.insert("200 CANCEL");
                    let waits = matches!(next.server, Some(ist::State::Proceeding { .. }));
                    if let Some(cancel) = &mut next.cancel {
                        cancel.met = waits;
                    }
                    if waits {
                        next = next.answer(ist::Event::Failure, "486");
                    }
                }
            }
        } else {
            let step = nict::step(cancel.client, nict::Event::Final, Unreliable);
            cancel.client = step.next;
            for action in &step.actions {
                cancel.clocks[0].act(*action);
            }
        }
        vec![next]
    }

    fn cancel_fires(&self) -> Vec<Self> {
        let Some(cancel) = &self.cancel else { return Vec::new() };
        let mut all = Vec::new();
        for (timer, clock) in cancel.clocks[0].fire() {
            let mut next = self.clone();
            let step = nict::step(cancel.client, nict::Event::Timer(timer), Unreliable);
            if let Some(cancel) = &mut next.cancel {
                (cancel.client, cancel.clocks[0]) = (step.next, clock);
                step.actions.iter().for_each(|action| cancel.clocks[0].act(*action));
                if step.next == nict::State::Terminated {
                    cancel.clocks[0] = Clock::default();
                }
            }
            all.push(next);
        }
        for (timer, clock) in cancel.clocks[1].fire() {
            let Some(state) = cancel.server else { continue };
            let mut next = self.clone();
            let step = nist::step(state, nist::Event::Timer(timer), Unreliable);
            if let Some(cancel) = &mut next.cancel {
                (cancel.server, cancel.clocks[1]) = (Some(step.next), clock);
                step.actions.iter().for_each(|action| cancel.clocks[1].act(*action));
                if step.next == nist::State::Terminated {
                    cancel.clocks[1] = Clock::default();
                }
            }
            all.push(next);
        }
        all
    }
}

impl Model for Invite {
    fn next(&self) -> Vec<Self> {
        let mut all: Vec<Self> = self.wire.iter().flat_map(|message| self.arrive(message)).collect();
        for (timer, clock) in self.clocks[0].fire() {
            let mut before = self.clone();
            before.clocks[0] = clock;
            all.push(before.client_step(ict::Event::Timer(timer)));
        }
        for (timer, clock) in self.clocks[1].fire() {
            let mut before = self.clone();
            before.clocks[1] = clock;
            all.push(before.server_step(ist::Event::Timer(timer)));
        }
        if matches!(self.server, Some(ist::State::Proceeding { .. })) {
            if !self.wire.contains("180") {
                all.push(self.answer(ist::Event::Provisional, "180"));
            }
            all.push(match self.accepts {
                true => self.answer(ist::Event::Success, "200"),
                false => self.answer(ist::Event::Failure, "486"),
            });
        }
        if self.cancels {
            let mut cancelled = self.client_step(ict::Event::Cancel);
            cancelled.cancels = false;
            all.push(cancelled);
        }
        all.extend(self.cancel_fires());
        all
    }

    fn check(&self) {
        // One outcome: successes, or one failure, or silence.
        assert!(self.failures <= 1, "{self:?}");
        assert!(!(self.success && self.failures > 0), "{self:?}");
        assert!(!(self.silence && (self.success || self.failures > 0)), "{self:?}");
        // The machine acknowledges refusals, and nothing else; the server believes no ACK that nobody sent.
        assert!(!self.acked || self.failures == 1, "{self:?}");
        assert!(self.server != Some(ist::State::Confirmed) || self.acked, "{self:?}");
        assert!(self.requests <= 1, "{self:?}");
        // What the client was told, the server said.
        assert!(!self.success || self.wire.contains("200"), "{self:?}");
        // An INVITE is cancelled only after something was heard of it.
        if let Some(cancel) = &self.cancel {
            assert!(!matches!(self.client, ict::State::Calling { .. }), "{self:?}");
            assert!(!cancel.met || self.answered, "{self:?}");
        }
        // Over is over: no timer runs.
        assert!(self.client != ict::State::Terminated || self.clocks[0].runs.is_empty(), "{self:?}");
    }

    fn is_over(&self) -> bool {
        let cancel = self.cancel.as_ref().is_none_or(|cancel| {
            cancel.client == nict::State::Terminated
                && cancel.server.is_none_or(|server| server == nist::State::Terminated)
        });
        self.client == ict::State::Terminated
            && self.server.is_none_or(|server| server == ist::State::Terminated)
            && cancel
    }
}

/// NICT and NIST; the user answers, or never does.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Plain {
    client: nict::State,
    server: Option<nist::State>,
    clocks: [Clock; 2],
    wire: Wire,
    finals: u8,
    silence: bool,
    requests: u8,
}

impl Plain {
    fn new() -> Self {
        let step = nict::start(Unreliable);
        let mut new = Self {
            client: step.next,
            server: None,
            clocks: Default::default(),
            wire: Wire::new(),
            finals: 0,
            silence: false,
            requests: 0,
        };
        new.client_acts(&step.actions);
        new
    }

    fn client_step(&self, event: nict::Event) -> Self {
        let step = nict::step(self.client, event, Unreliable);
        let mut next = self.clone();
        next.client = step.next;
        next.client_acts(&step.actions);
        if event == nict::Event::Final {
            next.finals += u8::from(step.actions.contains(&Action::Tell(Report::Response)));
        }
        if step.next == nict::State::Terminated {
            next.clocks[0] = Clock::default();
        }
        next
    }

    fn client_acts(&mut self, actions: &[Action]) {
        for action in actions {
            self.clocks[0].act(*action);
            match action {
                Action::Send(Send::Request) => drop(self.wire.insert("request")),
                Action::Tell(Report::Timeout) => self.silence = true,
                _ => {}
            }
        }
    }

    fn server_step(&self, event: nist::Event) -> Self {
        let Some(state) = self.server else { return self.clone() };
        let step = nist::step(state, event, Unreliable);
        let mut next = self.clone();
        next.server = Some(step.next);
        for action in &step.actions {
            next.clocks[1].act(*action);
            if let Action::Send(Send::Trying) = action {
                next.wire.insert("100");
            }
        }
        if step.next == nist::State::Terminated {
            next.clocks[1] = Clock::default();
        }
        next
    }
}

impl Model for Plain {
    fn next(&self) -> Vec<Self> {
        let mut all = Vec::new();
        for message in &self.wire {
            all.push(match (*message, self.server) {
                ("request", Some(_)) => self.server_step(nist::Event::Request),
                ("request", None) => {
                    let step = nist::start(Unreliable);
                    let mut next = self.clone();
                    next.server = Some(step.next);
                    next.requests += 1;
                    step.actions.iter().for_each(|action| next.clocks[1].act(*action));
                    next
                }
                ("100", _) => self.client_step(nict::Event::Provisional),
                _ => self.client_step(nict::Event::Final),
            });
        }
        for (timer, clock) in self.clocks[0].fire() {
            let mut before = self.clone();
            before.clocks[0] = clock;
            all.push(before.client_step(nict::Event::Timer(timer)));
        }
        for (timer, clock) in self.clocks[1].fire() {
            let mut before = self.clone();
            before.clocks[1] = clock;
            all.push(before.server_step(nist::Event::Timer(timer)));
        }
        if matches!(self.server, Some(nist::State::Trying | nist::State::Proceeding)) {
            let mut answered = self.server_step(nist::Event::Final);
            answered.wire.insert("200");
            all.push(answered);
        }
        all
    }

    fn check(&self) {
        assert!(self.finals <= 1 && !(self.finals == 1 && self.silence), "{self:?}");
        assert!(self.requests <= 1, "{self:?}");
        assert!(self.finals == 0 || self.wire.contains("200"), "{self:?}");
    }

    fn is_over(&self) -> bool {
        self.client == nict::State::Terminated
            && self.server.is_none_or(|server| server == nist::State::Terminated)
    }
}

#[test]
fn an_invite_has_one_outcome_whatever_the_network_does() {
    let accepted = explore(Invite::new(true, false));
    let refused = explore(Invite::new(false, false));
    println!("INVITE: {accepted} states when it is accepted, {refused} when it is refused");
    assert!(accepted > 300 && refused > 300, "{accepted} {refused}");
}

#[test]
fn a_cancel_races_its_invite_and_both_end() {
    let accepted = explore(Invite::new(true, true));
    let refused = explore(Invite::new(false, true));
    println!("CANCEL: {accepted} states when the INVITE is accepted, {refused} when it is refused");
    assert!(accepted > 3_000 && refused > 3_000, "{accepted} {refused}");
}

#[test]
fn another_request_has_one_outcome_whatever_the_network_does() {
    let states = explore(Plain::new());
    println!("others: {states} states");
    assert!(states > 60, "{states}");
}
