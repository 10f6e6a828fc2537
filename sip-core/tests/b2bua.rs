//! An agent between two parties: what either says reaches the other, and nothing stays behind.

#![cfg(feature = "agent")]
mod support;

use core::net::SocketAddr;
use core::time::Duration;
use sip_core::agent::{B2bua, B2buaOptions};
use sip_core::message::{Content, Method, Status};
use sip_core::ua::{Config, Event, NewInvite, NewRefer, Notice, UserAgent};
use sip_core::{
    Destination, DialogId, Instant, Invitation, Local, Machine, Output, Source, TransactionUser, Transport,
};
use std::collections::VecDeque;
use support::ms;

const OFFER: Content<'_> = Content::body("application/sdp", b"offer\r\n");
const ANSWER: Content<'_> = Content::body("application/sdp", b"answer\r\n");

/// Who takes part, by the last number of its address.
const AGENT: usize = 1;
const ALICE: usize = 2;
const BOB: usize = 3;
const CAROL: usize = 4;

fn addr(who: usize) -> SocketAddr {
    format!("192.0.2.{who}:5060").parse().unwrap()
}

fn uri(who: usize) -> String {
    format!("sip:{who}@{}", addr(who))
}

/// The agent, its parties and the wires between them.
struct Town {
    now: Instant,
    machines: Vec<UserAgent>,
    agent: B2bua,
    /// What each was told and has not looked at.
    told: Vec<VecDeque<Event<'static>>>,
    /// Start lines of what was sent, with who sent it to whom.
    sent: Vec<(usize, usize, String)>,
    /// Alice says that she takes no UPDATE.
    no_update: bool,
    /// One datagram in so many is lost, as this generator says.
    loss: Option<(u64, u64)>,
}

impl Town {
    fn new() -> Self {
        Self::with(|_, _| {})
    }

    fn with(configure: impl Fn(usize, &mut Config)) -> Self {
        let machine = |who: usize| {
            let mut config = Config::new(sip_core::Config::new([who as u8; 32]), &who.to_string());
            config.identity = format!("\"{who}\" <{}>", uri(who));
            if who == AGENT {
                B2bua::configure(&mut config);
            } else {
                config.methods = [Method::Info, Method::Message, Method::Refer].into();
            }
            configure(who, &mut config);
            let mut machine = UserAgent::new(config);
            let (transport, addr) = (Transport::Udp, addr(who));
            machine.listen(Instant::ZERO, Local { transport, addr, advertised: None });
            machine
        };
        Self {
            now: Instant::ZERO,
            machines: (0..=CAROL).map(machine).collect(),
            agent: B2bua::new(B2buaOptions { replaces: true, ..B2buaOptions::new(&uri(BOB)) }),
            told: (0..=CAROL).map(|_| VecDeque::new()).collect(),
            sent: Vec::new(),
            no_update: false,
            loss: None,
        }
    }

    fn machine(&mut self, who: usize) -> (Instant, &mut UserAgent) {
        (self.now, &mut self.machines[who])
    }

    fn tell(&mut self, who: usize, event: Event<'static>) {
        if who == AGENT {
            self.agent.event(self.now, &mut self.machines[AGENT], event);
        } else {
            self.told[who].push_back(event);
        }
    }

    /// Carries what is sent until nobody says anything more.
    fn settle(&mut self) {
        loop {
            let mut wire = Vec::new();
            for who in AGENT..=CAROL {
                self.machines[who].advance(self.now);
                let mut events = Vec::new();
                while let Some(output) = self.machines[who].poll() {
                    match output {
                        Output::Transmit(transmit) => {
                            let Destination::Datagram { remote, .. } = transmit.to else { panic!() };
                            wire.push((who, remote, transmit.bytes.to_vec()));
                        }
                        Output::Event(event) => events.push(event.into_owned()),
                        _ => {}
                    }
                }
                events.into_iter().for_each(|event| self.tell(who, event));
            }
            if wire.is_empty() && (AGENT..=CAROL).all(|who| self.machines[who].poll().is_none()) {
                return;
            }
            for (from, to, mut bytes) in wire {
                if self.no_update && from == ALICE {
                    let text = String::from_utf8(bytes).unwrap();
                    let lines = text.split_inclusive('\n').map(|line| match line.starts_with("Allow:") {
                        true => line.replace("UPDATE", "OTHERS"),
                        false => line.into(),
                    });
                    bytes = lines.collect::<String>().into_bytes();
                }
                let Some(who) = (AGENT..=CAROL).find(|who| addr(*who) == to) else { continue };
                let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
                self.sent.push((from, who, String::from_utf8_lossy(line).into_owned()));
                if let Some((state, one_in)) = &mut self.loss {
                    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    if (*state >> 33) % *one_in == 0 {
                        continue;
                    }
                }
                let source = Source::Datagram { local: to, remote: addr(from) };
                let event = self.machines[who].datagram(self.now, source, &bytes).map(Event::into_owned);
                event.into_iter().for_each(|event| self.tell(who, event));
            }
        }
    }

    fn run(&mut self, until: Instant) {
        self.settle();
        while let Some(next) =
            self.machines.iter().filter_map(Machine::deadline).min().filter(|at| *at <= until)
        {
            self.now = self.now.max(next);
            self.settle();
        }
        self.now = self.now.max(until);
    }

    /// The next thing that somebody is told and that this takes; what is told before it is left out.
    fn await_for<T>(&mut self, who: usize, take: impl Fn(&Event<'_>) -> Option<T>) -> T {
        self.settle();
        let told = &mut self.told[who];
        let mut seen = Vec::new();
        while let Some(event) = told.pop_front() {
            if let Some(found) = take(&event) {
                return found;
            }
            seen.push(format!("{event:?}"));
        }
        panic!("{who} was told {seen:#?} alone")
    }

    fn call(&mut self, content: Content<'_>) -> Invitation {
        self.call_by(ALICE, content)
    }

    fn call_by(&mut self, who: usize, content: Content<'_>) -> Invitation {
        let uri = uri(AGENT);
        let (now, machine) = self.machine(who);
        machine.invite(now, &NewInvite { content, ..NewInvite::new(&uri) }).unwrap()
    }

    fn incoming(&mut self, who: usize) -> DialogId {
        self.await_for(who, |event| match event {
            Event::Incoming { dialog, .. } => Some(*dialog),
            _ => None,
        })
    }

    fn answered(&mut self, who: usize) -> (DialogId, Vec<u8>) {
        self.await_for(who, |event| match event {
            Event::Answered { dialog, response, .. } => Some((*dialog, response.body().to_vec())),
            _ => None,
        })
    }

    /// Carol calls the agent with the name of one of Bob's calls.
    fn replace(&mut self, bob: DialogId) -> Invitation {
        let replaces = self.machines[BOB].replaces(bob).unwrap();
        let uri = uri(AGENT);
        let invite = NewInvite { replaces: &replaces, content: OFFER, ..NewInvite::new(&uri) };
        let (now, machine) = self.machine(CAROL);
        machine.invite(now, &invite).unwrap()
    }

    fn refused(&mut self, who: usize) -> Status {
        self.await_for(who, |event| match event {
            Event::Refused { response, .. } => Some(response.status()),
            _ => None,
        })
    }

    fn ended(&mut self, who: usize) {
        self.await_for(who, |event| matches!(event, Event::Ended { .. }).then_some(()));
    }

    /// A call from one of them to Bob: both halves.
    fn up(&mut self, who: usize) -> (DialogId, DialogId) {
        self.call_by(who, OFFER);
        let bob = self.incoming(BOB);
        let (now, machine) = self.machine(BOB);
        machine.accept(now, bob, &ANSWER).unwrap();
        let (caller, body) = self.answered(who);
        assert_eq!(body, ANSWER.body);
        self.await_for(BOB, |event| matches!(event, Event::Established { .. }).then_some(()));
        (caller, bob)
    }

    fn bye(&mut self, who: usize, dialog: DialogId) {
        let (now, machine) = self.machine(who);
        machine.hang_up(now, dialog, &Content::NONE).unwrap();
        self.settle();
    }

    /// A request inside, as it reaches the other, who answers it; what the first hears.
    fn ask(
        &mut self,
        (from, dialog): (usize, DialogId),
        to: usize,
        method: Method<'static>,
        content: Content<'_>,
    ) -> (Status, Vec<u8>) {
        let (now, machine) = self.machine(from);
        let id = machine.request_in(now, dialog, method, 0, &content).unwrap();
        let (txn, body) = self.await_for(to, |event| match event {
            Event::Request { txn, request, .. } if request.method() == method => {
                Some((*txn, request.body().to_vec()))
            }
            _ => None,
        });
        assert_eq!(body, content.body);
        let (now, machine) = self.machine(to);
        machine.respond(now, txn, Status::OK, &ANSWER).unwrap();
        self.await_for(from, |event| match event {
            Event::Response { id: of, response, .. } if *of == id => {
                Some((response.status(), response.body().to_vec()))
            }
            _ => None,
        })
    }

    /// After a while nobody has anything left, the agent least of all.
    fn rest(&mut self) {
        self.run(self.now + Duration::from_secs(400));
        for who in AGENT..=CAROL {
            assert!(self.machines[who].is_idle(), "{who}");
        }
        let left = format!("{:?}", self.agent);
        for map in [
            "agreed",
            "said",
            "said_to",
            "reasons",
            "placed",
            "callers",
            "reliable",
            "unacknowledged",
            "others",
            "offered",
            "asked",
            "waiting",
            "referrals",
            "referred",
        ] {
            assert!(left.contains(&format!("{map}: {{}}")), "{left}");
        }
    }
}

#[test]
fn a_call_goes_across_with_its_early_media() {
    let mut town = Town::new();
    let content = Content { headers: &[("Subject", "lunch"), ("X-Mine", "no")], ..OFFER };
    town.call(content);
    let (bob, from, hops, subject, mine) = town.await_for(BOB, |event| match event {
        Event::Incoming { dialog, request, .. } => Some((
            *dialog,
            request.from().uri_bytes.to_vec(),
            request.max_forwards(),
            request.value_of("Subject").map(<[u8]>::to_vec),
            request.value_of("X-Mine").is_some(),
        )),
        _ => None,
    });
    // RFC 7332: one hop less.
    assert_eq!((from, hops), (uri(ALICE).into_bytes(), Some(69)));
    assert_eq!((subject.as_deref(), mine), (Some(b"lunch".as_slice()), false));
    let (now, machine) = town.machine(BOB);
    machine.ring(now, bob, Status::SESSION_PROGRESS, &ANSWER).unwrap();
    let early = town.await_for(ALICE, |event| match event {
        Event::Progress { response, .. } if response.status() == Status::SESSION_PROGRESS => {
            Some(response.body().to_vec())
        }
        _ => None,
    });
    assert_eq!(early, ANSWER.body);
    let (now, machine) = town.machine(BOB);
    machine.accept(now, bob, &ANSWER).unwrap();
    let (alice, _) = town.answered(ALICE);
    town.await_for(BOB, |event| matches!(event, Event::Established { .. }).then_some(()));
    town.bye(ALICE, alice);
    town.ended(BOB);
    town.rest();
}

#[test]
fn either_side_hangs_up() {
    let mut town = Town::new();
    let (_, bob) = town.up(ALICE);
    town.bye(BOB, bob);
    town.ended(ALICE);
    town.rest();
}

#[test]
fn the_ack_has_the_answer_to_the_offer_of_the_callee() {
    let mut town = Town::new();
    town.call(Content::NONE);
    let bob = town.incoming(BOB);
    let (now, machine) = town.machine(BOB);
    machine.accept(now, bob, &OFFER).unwrap();
    let (alice, offer) = town.answered(ALICE);
    assert_eq!(offer, OFFER.body);
    // Nothing is acknowledged before there is an answer.
    assert!(!town.sent.iter().any(|(_, to, line)| *to == BOB && line.starts_with("ACK")));
    let (now, machine) = town.machine(ALICE);
    machine.ack(now, alice, &ANSWER).unwrap();
    let answer = town.await_for(BOB, |event| match event {
        Event::Established { request, .. } => Some(request.body().to_vec()),
        _ => None,
    });
    assert_eq!(answer, ANSWER.body);
    town.bye(ALICE, alice);
    town.rest();
}

#[test]
fn changes_of_the_session_and_what_is_said_beside_it() {
    let mut town = Town::new();
    let (alice, bob) = town.up(ALICE);
    for method in [Method::Invite, Method::Update] {
        assert_eq!(town.ask((ALICE, alice), BOB, method, OFFER), (Status::OK, ANSWER.body.into()));
        town.run(town.now + Duration::from_secs(1));
        assert_eq!(town.ask((BOB, bob), ALICE, method, OFFER), (Status::OK, ANSWER.body.into()));
        town.run(town.now + Duration::from_secs(1));
    }
    let digits = Content::body("application/dtmf-relay", b"Signal=5\r\n");
    assert_eq!(town.ask((ALICE, alice), BOB, Method::Info, digits).0, Status::OK);
    assert_eq!(
        town.ask((BOB, bob), ALICE, Method::Message, Content::body("text/plain", b"hi")).0,
        Status::OK
    );
    // An offer in the 2xx of a re-INVITE waits for its answer.
    let (now, machine) = town.machine(ALICE);
    machine.request_in(now, alice, Method::Invite, 7, &Content::NONE).unwrap();
    let txn = town.await_for(BOB, |event| match event {
        Event::Request { txn, .. } => Some(*txn),
        _ => None,
    });
    let (now, machine) = town.machine(BOB);
    machine.respond(now, txn, Status::OK, &OFFER).unwrap();
    town.await_for(ALICE, |event| {
        matches!(event, Event::Response { user: 7, wants_answer: true, .. }).then_some(())
    });
    let (now, machine) = town.machine(ALICE);
    machine.ack(now, alice, &ANSWER).unwrap();
    let answer = town.await_for(BOB, |event| match event {
        Event::Established { request, .. } => Some(request.body().to_vec()),
        _ => None,
    });
    assert_eq!(answer, ANSWER.body);
    town.bye(BOB, bob);
    town.ended(ALICE);
    town.rest();
}

#[test]
fn both_sides_change_the_session_at_once() {
    let mut town = Town::new();
    let (alice, bob) = town.up(ALICE);
    town.run(ms(1_000));
    for (who, dialog) in [(ALICE, alice), (BOB, bob)] {
        let (now, machine) = town.machine(who);
        machine.request_in(now, dialog, Method::Invite, 1, &OFFER).unwrap();
    }
    let mut done = 0;
    for _ in 0..200 {
        town.run(town.now + Duration::from_millis(50));
        for who in [ALICE, BOB] {
            while let Some(event) = town.told[who].pop_front() {
                match event {
                    Event::Request { txn, .. } => {
                        let (now, machine) = town.machine(who);
                        machine.respond(now, txn, Status::OK, &ANSWER).unwrap();
                    }
                    Event::Response { response, .. } if response.status().is_final() => {
                        assert!(response.status().is_success(), "{}", response.status());
                        done += 1;
                    }
                    _ => {}
                }
            }
        }
    }
    assert_eq!(done, 2);
    town.bye(ALICE, alice);
    town.rest();
}

#[test]
fn reliable_responses_wait_for_the_prack_of_the_caller() {
    let mut town = Town::with(|who, config| config.auto_prack &= who != ALICE);
    town.call(OFFER);
    let bob = town.incoming(BOB);
    let (now, machine) = town.machine(BOB);
    machine.ring_reliably(now, bob, Status::SESSION_PROGRESS, &ANSWER).unwrap();
    let early = town.await_for(ALICE, |event| match event {
        Event::Progress { dialog, wants_prack: true, .. } => *dialog,
        _ => None,
    });
    assert!(!town.sent.iter().any(|(_, to, line)| *to == BOB && line.starts_with("PRACK")));
    // It has an offer of its own, which is answered in its 200.
    let (now, machine) = town.machine(ALICE);
    machine.prack(now, early, 9, &OFFER).unwrap();
    let txn = town.await_for(BOB, |event| match event {
        Event::Request { txn, request, .. } if request.method() == Method::Prack => Some(*txn),
        _ => None,
    });
    let (now, machine) = town.machine(BOB);
    machine.respond(now, txn, Status::OK, &ANSWER).unwrap();
    let answer = town.await_for(ALICE, |event| match event {
        Event::Response { user: 9, response, .. } => Some(response.body().to_vec()),
        _ => None,
    });
    assert_eq!(answer, ANSWER.body);
    // An UPDATE before the answer, either way.
    assert_eq!(town.ask((ALICE, early), BOB, Method::Update, OFFER), (Status::OK, ANSWER.body.into()));
    assert_eq!(town.ask((BOB, bob), ALICE, Method::Update, OFFER), (Status::OK, ANSWER.body.into()));
    // One without an offer.
    let (now, machine) = town.machine(BOB);
    machine.ring_reliably(now, bob, Status::RINGING, &Content::NONE).unwrap();
    town.await_for(ALICE, |event| matches!(event, Event::Progress { wants_prack: true, .. }).then_some(()));
    let (now, machine) = town.machine(ALICE);
    machine.prack(now, early, 0, &Content::NONE).unwrap();
    town.await_for(BOB, |event| matches!(event, Event::Acknowledged { .. }).then_some(()));
    let (now, machine) = town.machine(BOB);
    machine.accept(now, bob, &Content::NONE).unwrap();
    let (alice, _) = town.answered(ALICE);
    town.bye(ALICE, alice);
    town.ended(BOB);
    town.rest();
}

#[test]
fn the_caller_gives_up() {
    let mut town = Town::new();
    let invitation = town.call(OFFER);
    let bob = town.incoming(BOB);
    let (now, machine) = town.machine(BOB);
    machine.ring(now, bob, Status::RINGING, &Content::NONE).unwrap();
    town.await_for(ALICE, |event| matches!(event, Event::Progress { .. }).then_some(()));
    let (now, machine) = town.machine(ALICE);
    machine.cancel(now, invitation).unwrap();
    town.ended(BOB);
    let status = town.refused(ALICE);
    assert_eq!(status, Status::REQUEST_TERMINATED);
    town.rest();
}

#[test]
fn refusals_go_across() {
    // A challenge that this agent can't answer is none for the caller, and no more is another address.
    for (given, heard) in [(486, 486), (603, 603), (401, 403), (404, 404)] {
        let mut town = Town::new();
        town.call(OFFER);
        let bob = town.incoming(BOB);
        let (now, machine) = town.machine(BOB);
        let content = Content::headers(&[("Retry-After", "5")]);
        machine.reject(now, bob, Status::new(given).unwrap(), &content).unwrap();
        let (status, after) = town.await_for(ALICE, |event| match event {
            Event::Refused { response, .. } => {
                Some((response.status().code(), response.value_of("Retry-After").map(<[u8]>::to_vec)))
            }
            _ => None,
        });
        assert_eq!((status, after.as_deref()), (heard, Some(b"5".as_slice())));
        town.rest();
    }
}

#[test]
fn nobody_is_there() {
    let mut town = Town::new();
    town.agent = B2bua::new(B2buaOptions::new("sip:nobody@192.0.2.99"));
    town.call(OFFER);
    town.run(ms(33_000));
    let status = town.refused(ALICE);
    assert_eq!(status, Status::REQUEST_TIMEOUT);
    town.rest();
}

/// RFC 3891 §3: nobody takes another's place unless that is wanted.
#[test]
fn a_stranger_takes_nobodys_place() {
    let mut town = Town::new();
    town.agent = B2bua::new(B2buaOptions::new(&uri(BOB)));
    let (alice, bob) = town.up(ALICE);
    town.replace(bob);
    let status = town.refused(CAROL);
    assert_eq!(status, Status::FORBIDDEN);
    assert_eq!(town.ask((ALICE, alice), BOB, Method::Info, OFFER).0, Status::OK);
    town.bye(ALICE, alice);
    town.rest();
}

/// Who wanted to take a party's place, and gives up while the other agrees: that one has another session now. Nobody is left in half a call.
#[test]
fn a_replacement_that_is_withdrawn() {
    for agrees in [true, false] {
        let mut town = Town::new();
        let (alice, bob) = town.up(ALICE);
        let invitation = town.replace(bob);
        let txn = town.await_for(ALICE, |event| match event {
            Event::Request { txn, .. } => Some(*txn),
            _ => None,
        });
        town.run(town.now + Duration::from_millis(300));
        let (now, machine) = town.machine(CAROL);
        machine.cancel(now, invitation).unwrap();
        if agrees {
            // Before she hears of it.
            let (now, machine) = town.machine(ALICE);
            machine.respond(now, txn, Status::OK, &ANSWER).unwrap();
        }
        town.run(town.now + Duration::from_secs(40));
        let up = |who: usize| town.machines[who].dialogs().count();
        assert_eq!((up(ALICE), up(BOB), up(CAROL)), if agrees { (0, 0, 0) } else { (1, 1, 0) });
        if !agrees {
            town.bye(ALICE, alice);
        }
        town.rest();
    }
}

/// RFC 3326: why somebody hangs up goes across.
#[test]
fn the_reason_of_a_bye() {
    let mut town = Town::new();
    let (alice, _) = town.up(ALICE);
    let (now, machine) = town.machine(ALICE);
    machine.bye(now, alice, &Content::headers(&[("Reason", "Q.850;cause=16")])).unwrap();
    let reason = town.await_for(BOB, |event| match event {
        Event::Served { request, .. } => Some(request.value_of("Reason").map(<[u8]>::to_vec)),
        _ => None,
    });
    assert_eq!(reason.as_deref(), Some(b"Q.850;cause=16".as_slice()));
    town.rest();
}

/// Two that call each other for every caller would do so for ever.
#[test]
fn a_circle_of_agents_ends() {
    let mut town = Town::new();
    town.agent = B2bua::new(B2buaOptions::new(&uri(AGENT)));
    town.call(OFFER);
    town.run(ms(5_000));
    let status = town.refused(ALICE);
    assert_eq!(status, Status::TOO_MANY_HOPS);
    town.rest();
}

#[test]
fn a_transfer_goes_across_with_what_becomes_of_it() {
    let mut town = Town::new();
    let (alice, bob) = town.up(ALICE);
    let carol = format!("<{}>", uri(CAROL));
    let (now, machine) = town.machine(ALICE);
    let asked = machine.refer_in(now, alice, &NewRefer::new(&carol)).unwrap();
    let (txn, subscription, to) = town.await_for(BOB, |event| match event {
        Event::Refer { txn, subscription, request, .. } => Some((
            *txn,
            *subscription,
            String::from_utf8_lossy(request.value_of("Refer-To").unwrap()).into_owned(),
        )),
        _ => None,
    });
    assert_eq!(to, carol);
    let (now, machine) = town.machine(BOB);
    machine.respond(now, txn, Status::ACCEPTED, &Content::NONE).unwrap();
    let done = Content::body("message/sipfrag;version=2.0", b"SIP/2.0 200 OK\r\n");
    let notice = Notice::Terminated { reason: sip_core::ua::Ended::NoResource, retry_after: None };
    machine.notify(now, subscription.unwrap(), notice, &done).unwrap();
    town.await_for(ALICE, |event| match event {
        Event::SubscriptionAnswered { subscription, response, .. } if *subscription == asked => {
            assert_eq!(response.status(), Status::ACCEPTED);
            Some(())
        }
        _ => None,
    });
    let heard = town.await_for(ALICE, |event| match event {
        Event::Notified { request, .. } => Some(request.body().to_vec()),
        _ => None,
    });
    assert_eq!(heard, done.body);
    town.await_for(ALICE, |event| matches!(event, Event::SubscriptionEnded { .. }).then_some(()));
    town.bye(BOB, bob);
    town.rest();
}

/// RFC 5589 §7: Bob has two calls through the agent, and brings the callers together. Each of the three dialogs that the Replaces could name has another
/// name at its other end.
#[test]
fn an_attended_transfer_names_the_other_half() {
    let mut town = Town::new();
    let (alice, bob_to_alice) = town.up(ALICE);
    let (_, bob_to_carol) = town.up(CAROL);
    let (now, machine) = town.machine(BOB);
    let refer_to = machine.refer_to(bob_to_alice).unwrap();
    machine.refer_in(now, bob_to_carol, &NewRefer::new(&refer_to)).unwrap();
    let (txn, uri, replaces) = town.await_for(CAROL, |event| match event {
        Event::Refer { txn, request, .. } => {
            let refer_to = request.get::<sip_core::headers::ReferTo<'_>>().unwrap().unwrap();
            let (uri, replaces) = refer_to.invitation().unwrap();
            Some((*txn, uri, replaces))
        }
        _ => None,
    });
    let (now, machine) = town.machine(CAROL);
    machine.respond(now, txn, Status::ACCEPTED, &Content::NONE).unwrap();
    machine.invite(now, &NewInvite { replaces: &replaces, content: OFFER, ..NewInvite::new(&uri) }).unwrap();
    let replaced = town.await_for(ALICE, |event| match event {
        Event::Incoming { dialog, replaces, .. } => Some((*dialog, *replaces)),
        _ => None,
    });
    assert_eq!(replaced.1, Some(alice));
    let (now, machine) = town.machine(ALICE);
    machine.accept(now, replaced.0, &ANSWER).unwrap();
    let (carol, _) = town.answered(CAROL);
    // The call that was replaced is over on both sides.
    town.ended(BOB);
    town.bye(CAROL, carol);
    town.bye(BOB, bob_to_carol);
    town.rest();
}

/// RFC 3891: who comes with the name of one half talks to the other.
#[test]
fn a_caller_takes_the_place_of_a_party() {
    for fails in [false, true] {
        let mut town = Town::new();
        let (alice, bob) = town.up(ALICE);
        town.replace(bob);
        let (txn, dialog) = town.await_for(ALICE, |event| match event {
            Event::Request { txn, dialog, .. } => Some((*txn, *dialog)),
            _ => None,
        });
        assert_eq!(dialog, Some(alice));
        let (now, machine) = town.machine(ALICE);
        if fails {
            machine.respond(now, txn, Status::NOT_ACCEPTABLE_HERE, &Content::NONE).unwrap();
            town.await_for(CAROL, |event| matches!(event, Event::Refused { .. }).then_some(()));
            // All is as it was.
            town.run(town.now + Duration::from_secs(5));
            assert_eq!(town.ask((BOB, bob), ALICE, Method::Info, OFFER).0, Status::OK);
            town.bye(ALICE, alice);
            town.ended(BOB);
        } else {
            machine.respond(now, txn, Status::OK, &ANSWER).unwrap();
            let (carol, answer) = town.answered(CAROL);
            assert_eq!(answer, ANSWER.body);
            town.ended(BOB);
            town.run(town.now + Duration::from_secs(5));
            assert_eq!(town.ask((CAROL, carol), ALICE, Method::Info, OFFER).0, Status::OK);
            town.bye(ALICE, alice);
            town.ended(CAROL);
        }
        town.rest();
    }
}

/// RFC 4028: whose peer takes no UPDATE is refreshed through both halves.
#[test]
fn sessions_are_refreshed_through_both_halves() {
    let mut town = Town::with(|who, config| {
        if who == ALICE {
            config.session_timer.expires = Some(Duration::from_secs(90));
            config.session_timer.refresher = Some(sip_core::headers::Refresher::Uas);
        }
    });
    town.no_update = true;
    let (alice, _) = town.up(ALICE);
    let end = town.now + Duration::from_secs(300);
    while town.now < end {
        town.run(town.now + Duration::from_millis(500));
        for who in [ALICE, BOB] {
            while let Some(event) = town.told[who].pop_front() {
                let (now, machine) = town.machine(who);
                match event {
                    Event::Request { txn, request, .. } => {
                        let content = if request.body().is_empty() { OFFER } else { ANSWER };
                        machine.respond(now, txn, Status::OK, &content).unwrap();
                    }
                    Event::Ended { reason, .. } => panic!("{who}: {reason:?}"),
                    _ => {}
                }
            }
        }
    }
    // Each time both halves.
    let count =
        |to: usize| town.sent.iter().filter(|sent| sent.1 == to && sent.2.starts_with("INVITE")).count();
    assert_eq!((count(ALICE), count(BOB)), (6, 7));
    town.bye(ALICE, alice);
    town.ended(BOB);
    town.rest();
}

/// Whatever the parties do, over a network that loses one datagram in five: when they have hung up nothing is left.
#[test]
fn nothing_stays_behind() {
    for seed in 0..300_u64 {
        let mut town = Town::with(|who, config| config.auto_prack &= who != ALICE || seed % 3 > 0);
        town.loss = Some((seed, 5));
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = |most: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % most
        };
        let mut dialogs: Vec<(usize, DialogId)> = Vec::new();
        for _ in 0..60 {
            let content = [OFFER, Content::NONE][draw(2) as usize];
            match draw(12) {
                0 | 1 => drop(town.call_by([ALICE, CAROL][draw(2) as usize], content)),
                2 => {
                    if let Some((who, dialog)) =
                        dialogs.get(draw(dialogs.len().max(1) as u64) as usize).copied()
                    {
                        let (now, machine) = town.machine(who);
                        let _ = machine.hang_up(now, dialog, &Content::NONE);
                    }
                }
                op @ 3..=7 => {
                    let method =
                        [Method::Invite, Method::Update, Method::Info, Method::Message, Method::Refer]
                            [op as usize - 3];
                    if let Some((who, dialog)) =
                        dialogs.get(draw(dialogs.len().max(1) as u64) as usize).copied()
                    {
                        let (now, machine) = town.machine(who);
                        if method == Method::Refer {
                            let _ = machine.refer_in(now, dialog, &NewRefer::new("<sip:x@192.0.2.4>"));
                        } else {
                            let _ = machine.request_in(now, dialog, method, 0, &content);
                        }
                    }
                }
                _ => town.run(town.now + Duration::from_millis(draw(2_000))),
            }
            town.settle();
            for who in [ALICE, BOB, CAROL] {
                while let Some(event) = town.told[who].pop_front() {
                    let (now, machine) = (town.now, &mut town.machines[who]);
                    match event {
                        Event::Incoming { dialog, .. } => {
                            dialogs.push((who, dialog));
                            let _ = match draw(5) {
                                0 => machine.ring(now, dialog, Status::RINGING, &Content::NONE),
                                1 => machine.ring_reliably(now, dialog, Status::SESSION_PROGRESS, &ANSWER),
                                2 => machine.reject(now, dialog, Status::BUSY_HERE, &Content::NONE),
                                _ => machine.accept(now, dialog, &ANSWER),
                            };
                        }
                        Event::Acknowledged { dialog, .. } => drop(machine.accept(now, dialog, &ANSWER)),
                        Event::Progress { dialog: Some(dialog), wants_prack: true, .. } => {
                            let _ = machine.prack(now, dialog, 0, &ANSWER);
                        }
                        Event::Answered { dialog, wants_answer, .. } => {
                            dialogs.push((who, dialog));
                            if wants_answer {
                                let _ = machine.ack(now, dialog, &ANSWER);
                            }
                        }
                        Event::Response { dialog: Some(dialog), wants_answer: true, .. } => {
                            let _ = machine.ack(now, dialog, &ANSWER);
                        }
                        Event::Request { txn, .. } => {
                            let status =
                                [Status::OK, Status::OK, Status::SERVER_INTERNAL_ERROR][draw(3) as usize];
                            let _ = machine.respond(now, txn, status, &ANSWER);
                        }
                        Event::Refer { txn, subscription: Some(subscription), .. } => {
                            let _ = machine.respond(now, txn, Status::ACCEPTED, &Content::NONE);
                            if draw(2) == 0 {
                                let reason = sip_core::ua::Ended::NoResource;
                                let notice = Notice::Terminated { reason, retry_after: None };
                                let done = Content::body("message/sipfrag", b"SIP/2.0 200 OK\r\n");
                                let _ = machine.notify(now, subscription, notice, &done);
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
        town.loss = None;
        for _ in 0..20 {
            for who in [ALICE, BOB, CAROL] {
                town.told[who].clear();
                let all: Vec<_> = town.machines[who].dialogs().collect();
                for dialog in all {
                    let (now, machine) = town.machine(who);
                    let _ = machine.hang_up(now, dialog, &Content::NONE);
                }
            }
            town.run(town.now + Duration::from_secs(40));
        }
        town.run(town.now + Duration::from_secs(3_700));
        town.rest();
    }
}

// What user agents do not do: the parties played by hand.

use support::acting::Acting;
use support::{PEER, US, header, response};

/// The agent between a caller and a callee who are both at PEER.
struct Hand(Acting<B2bua>);

/// What a callee says of where it is.
const AT_BOBS: &str =
    "Contact: <sip:bob@192.0.2.2:5060>\r\nAllow: INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO\r\n";
/// What the caller begins with.
const TO: &str = "<sip:b2b@192.0.2.1>";

fn sdp(text: &str) -> String {
    format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{text}", text.len())
}

impl Hand {
    fn new() -> Self {
        let mut config = Config::new(sip_core::Config::new([3; 32]), "b2b");
        B2bua::configure(&mut config);
        let options = B2buaOptions::new(&format!("sip:bob@{PEER}"));
        Self(Acting::new(config, B2bua::new(options)))
    }

    /// What is sent after this comes.
    fn hear(&mut self, text: &str) -> Vec<String> {
        self.0.hear(text);
        self.0.settle();
        let all = self.0.take().into_iter().map(|out| out.bytes().to_owned());
        all.filter(|text| !text.is_empty() && !text.starts_with("SIP/2.0 100")).collect()
    }

    /// A request of the caller. `lines` has the end of its headers if it brings a body.
    fn says(&mut self, method: &str, number: u32, to: &str, lines: &str) -> Vec<String> {
        let end = if lines.contains("\r\n\r\n") { "" } else { "Content-Length: 0\r\n\r\n" };
        let of = if matches!(method, "ACK" | "CANCEL") && !to.contains(";tag") || method == "CANCEL" {
            "INVITE"
        } else {
            method
        };
        self.hear(&format!(
            "{method} sip:b2b@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{number}{of};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:alice@x>;tag=a\r\nTo: {to}\r\nCall-ID: hand\r\nCSeq: {number} {method}\r\n\
             Contact: <sip:alice@{PEER}>\r\nAllow: INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO\r\n{lines}{end}"
        ))
    }

    /// A response of the callee's, of the fork with this tag.
    fn answers(&mut self, request: &str, status: &str, tag: &str, lines: &str) -> Vec<String> {
        self.hear(&response(request, status, tag, &format!("{AT_BOBS}{lines}")))
    }

    /// A call that is up, by the caller's To.
    fn up(&mut self) -> String {
        let out = self.says("INVITE", 1, TO, &sdp("offer"));
        let out = self.answers(&one(&out, "INVITE"), "200 OK", "b1", &sdp("answer"));
        let to = header(&one(&out, "SIP/2.0 200"), "To").unwrap().to_owned();
        self.says("ACK", 1, &to, "");
        self.0.run(ms(5_000));
        self.0.take();
        to
    }
}

fn one(all: &[String], start: &str) -> String {
    let found: Vec<_> = all.iter().filter(|text| text.starts_with(start)).collect();
    assert_eq!(found.len(), 1, "{start}: {all:#?}");
    found[0].clone()
}

fn has(all: &[String], start: &str) -> bool {
    all.iter().any(|text| text.starts_with(start))
}

const RELIABLE: &str = "Require: 100rel\r\nRSeq: 1\r\n";

/// RFC 3262 §5: the answer stands in the 183, and the 2xx need not say it again; who has had no reliable response hears it there.
#[test]
fn an_answer_in_a_reliable_response_is_not_lost() {
    let mut hand = Hand::new();
    let out = hand.says("INVITE", 1, TO, &sdp("offer"));
    let invite = one(&out, "INVITE");
    let out = hand.answers(&invite, "183 Progress", "b1", &format!("{RELIABLE}{}", sdp("answer")));
    assert!(one(&out, "SIP/2.0 183").ends_with("answer"));
    hand.hear(&response(&one(&out, "PRACK"), "200 OK", "", ""));
    let out = hand.answers(&invite, "200 OK", "b1", "");
    assert!(one(&out, "SIP/2.0 200").ends_with("answer"));
    // The same of a re-INVITE.
    let mut hand = Hand::new();
    let to = hand.up();
    let out = hand.says("INVITE", 2, &to, &sdp("offer2"));
    let invite = one(&out, "INVITE");
    let mut out = hand.answers(&invite, "183 Progress", "b1", &format!("{RELIABLE}{}", sdp("answer2")));
    hand.hear(&response(&one(&out, "PRACK"), "200 OK", "", ""));
    out.extend(hand.answers(&invite, "200 OK", "b1", ""));
    assert!(one(&out, "SIP/2.0 200").ends_with("answer2"), "{out:#?}");
}

/// The caller has the answer of one fork: another can't have the call, and what it says meanwhile goes to the one.
#[test]
fn another_fork_than_the_one_agreed_with() {
    let mut hand = Hand::new();
    let out = hand.says("INVITE", 1, TO, &format!("Supported: 100rel\r\n{}", sdp("offer")));
    let invite = one(&out, "INVITE");
    let out = hand.answers(&invite, "183 Progress", "b1", &format!("{RELIABLE}{}", sdp("answer1")));
    let progress = one(&out, "SIP/2.0 183");
    let (to, rseq) = (header(&progress, "To").unwrap(), header(&progress, "RSeq").unwrap());
    let out = hand.says("PRACK", 2, to, &format!("RAck: {rseq} 1 INVITE\r\n"));
    hand.hear(&response(&one(&out, "PRACK"), "200 OK", "", ""));
    hand.answers(&invite, "180 Ringing", "b2", "");
    let out = hand.says("UPDATE", 3, to, &sdp("offer2"));
    assert!(header(&one(&out, "UPDATE"), "To").unwrap().ends_with("tag=b1"));
    hand.hear(&response(&one(&out, "UPDATE"), "200 OK", "", &format!("{AT_BOBS}{}", sdp("answer3"))));
    let out = hand.answers(&invite, "200 OK", "b2", &sdp("answer2"));
    assert!(has(&out, "SIP/2.0 488") && has(&out, "BYE") && !has(&out, "SIP/2.0 200"), "{out:#?}");
}

/// What can't stand in a header does not stand in the way of a BYE; and all that says why goes on.
#[test]
fn reasons_that_can_not_be_said() {
    let mut hand = Hand::new();
    let to = hand.up();
    let out = hand.says("BYE", 2, &to, "Reason: Q.850;cause=16;text=\"a\0b\"\r\n");
    assert!(has(&out, "SIP/2.0 200") && has(&out, "BYE"), "{out:#?}");
    let mut hand = Hand::new();
    let to = hand.up();
    let out = hand.says("BYE", 2, &to, "Reason: SIP;cause=200\r\nReason: Q.850;cause=16\r\n");
    let bye = one(&out, "BYE");
    assert!(bye.contains("SIP;cause=200") && bye.contains("Q.850;cause=16"), "{bye}");
}

/// A session that is refreshed by re-INVITEs, whose answer comes in a reliable response: to who is refreshed, and to who has withdrawn its offer.
#[test]
fn answers_within_a_call_that_came_reliably() {
    let mut hand = Hand::new();
    let to = hand.up();
    let out = hand.says("INVITE", 2, &to, &sdp("offer2"));
    let invite = one(&out, "INVITE");
    let out = hand.answers(&invite, "183 Progress", "b1", &format!("{RELIABLE}{}", sdp("answer2")));
    hand.hear(&response(&one(&out, "PRACK"), "200 OK", "", ""));
    hand.says("CANCEL", 2, &to, "");
    let out = hand.answers(&invite, "200 OK", "b1", "");
    assert_eq!(out.iter().filter(|text| text.starts_with("BYE")).count(), 2, "{out:#?}");
}

/// A MESSAGE that is redirected, and one that has no hops left.
#[test]
fn refusals_of_other_requests() {
    let mut hand = Hand::new();
    let out = hand.says("MESSAGE", 1, TO, &sdp("hello"));
    let out =
        hand.hear(&response(&one(&out, "MESSAGE"), "302 Moved", "b1", "Contact: <sip:bob@192.0.2.9>\r\n"));
    assert!(one(&out, "SIP/2.0 302").contains("<sip:bob@192.0.2.9>"));
    let text = format!(
        "MESSAGE sip:b2b@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKhops\r\nMax-Forwards: 0\r\nFrom: <sip:alice@x>;tag=a\r\n\
         To: {TO}\r\nCall-ID: hops\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"
    );
    assert!(has(&hand.hear(&text), "SIP/2.0 483"));
}

/// What a fork says that has not been chosen is none of the call.
#[test]
fn a_stranger_in_the_call() {
    let mut hand = Hand::new();
    let out = hand.says("INVITE", 1, TO, &sdp("offer"));
    let invite = one(&out, "INVITE");
    hand.answers(&invite, "180 Ringing", "b1", "");
    let out = hand.answers(&invite, "200 OK", "b2", &sdp("answer"));
    let to = header(&one(&out, "SIP/2.0 200"), "To").unwrap().to_owned();
    hand.says("ACK", 1, &to, "");
    let out = hand.hear(&format!(
        "INFO sip:b2b@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKstranger\r\nMax-Forwards: 70\r\nFrom: {};tag=b1\r\n\
         To: {}\r\nCall-ID: {}\r\nCSeq: 1 INFO\r\nContent-Length: 0\r\n\r\n",
        header(&invite, "To").unwrap(),
        header(&invite, "From").unwrap(),
        header(&invite, "Call-ID").unwrap()
    ));
    assert!(has(&out, "SIP/2.0 488") && !has(&out, "INFO"), "{out:#?}");
    // It transfers nobody either.
    let out = hand.hear(&format!(
        "REFER sip:b2b@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKevil\r\nMax-Forwards: 70\r\nFrom: {};tag=b1\r\n\
         To: {}\r\nCall-ID: {}\r\nCSeq: 2 REFER\r\nContact: <sip:b@{PEER}>\r\nRefer-To: <sip:evil@192.0.2.66>\r\nContent-Length: 0\r\n\r\n",
        header(&invite, "To").unwrap(),
        header(&invite, "From").unwrap(),
        header(&invite, "Call-ID").unwrap()
    ));
    assert!(has(&out, "SIP/2.0 403") && !has(&out, "REFER"), "{out:#?}");
}

/// A CANCEL and a 2xx that cross: the two sides would be in different sessions.
#[test]
fn an_offer_that_was_withdrawn_and_answered() {
    let mut hand = Hand::new();
    let to = hand.up();
    let out = hand.says("INVITE", 2, &to, &sdp("offer2"));
    let invite = one(&out, "INVITE");
    hand.answers(&invite, "180 Ringing", "b1", "");
    let out = hand.says("CANCEL", 2, &to, "");
    assert!(has(&out, "SIP/2.0 487") && has(&out, "CANCEL"), "{out:#?}");
    let out = hand.answers(&invite, "200 OK", "b1", &sdp("answer2"));
    assert_eq!(out.iter().filter(|text| text.starts_with("BYE")).count(), 2, "{out:#?}");
}

/// RFC 3261 §7.3.1, §7.3: folds, and lists of option tags.
#[test]
fn folds_and_lists() {
    let mut hand = Hand::new();
    let body = sdp("offer").replace("application/sdp", "application/sdp;\r\n charset=utf-8");
    let out = hand.says("INVITE", 1, TO, &format!("Require: timer, 100rel\r\nSubject: a\r\n b\r\n{body}"));
    let invite = one(&out, "INVITE");
    assert!(invite.ends_with("offer") && header(&invite, "Subject") == Some("a b"), "{invite}");
    // All that rings does so reliably: the PRACK of the first is none for the callee's, which comes second.
    let out = hand.answers(&invite, "180 Ringing", "b1", "");
    let first = one(&out, "SIP/2.0 180");
    let (to, rseq) = (header(&first, "To").unwrap().to_owned(), header(&first, "RSeq").unwrap().to_owned());
    hand.answers(&invite, "183 Progress", "b1", RELIABLE);
    let out = hand.says("PRACK", 2, &to, &format!("RAck: {rseq} 1 INVITE\r\n"));
    assert!(!has(&out, "PRACK") && has(&out, "SIP/2.0 200"), "{out:#?}");
}

/// Where else the callee may be, the caller hears: an agent that tried it might be what it finds there.
#[test]
fn a_redirection_goes_across() {
    let mut hand = Hand::new();
    let out = hand.says("INVITE", 1, TO, &sdp("offer"));
    let contacts = "Contact: <sip:bob@192.0.2.1>\r\nContact: <sip:bob@192.0.2.9>;q=0.5\r\n";
    let out = hand.hear(&response(&one(&out, "INVITE"), "302 Moved", "b1", contacts));
    assert!(!has(&out, "INVITE"));
    let moved = one(&out, "SIP/2.0 302");
    assert!(moved.contains("<sip:bob@192.0.2.1>") && moved.contains("<sip:bob@192.0.2.9>;q=0.5"), "{moved}");
}

/// RFC 6228: of several forks one is over; for the caller there is one callee, who rings.
#[test]
fn one_fork_of_several_is_over() {
    let mut hand = Hand::new();
    let out = hand.says("INVITE", 1, TO, &sdp("offer"));
    let invite = one(&out, "INVITE");
    hand.answers(&invite, "180 Ringing", "b1", "");
    hand.answers(&invite, "180 Ringing", "b2", "");
    let out = hand.answers(&invite, "199 Early Dialog Terminated", "b1", "");
    assert!(!has(&out, "SIP/2.0"), "{out:#?}");
    let out = hand.answers(&invite, "200 OK", "b2", &sdp("answer"));
    assert!(one(&out, "SIP/2.0 200").ends_with("answer"));
}
