//! A walk: an endpoint with one transaction, beside the pure machine of it and a book of timers that say what must happen.
//!
//! The pure machines are held to the state tables row by row in `fsm_tables.rs`; here the whole layer is held to the pure machines: what
//! is sent, what the user is told, the state, and the next deadline, after every input.

use sip_core::framing::StreamBuf;
use sip_core::message::{Content, Method, Status};
use sip_core::transaction::{Action, Report, Send, State, Step, Timer, Timers, ict, ist, nict, nist};
use sip_core::{
    Cause, Config, Destination, Endpoint, Event, FlowId, Instant, Local, Machine, Misuse, NewRequest, Output,
    Reliability, SendError, Source, Target, Ticket, Transport, Txn,
};
use std::collections::{BTreeMap, BTreeSet};

/// Which machine walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ict,
    Nict,
    Ist,
    Nist,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::Ict, Kind::Nict, Kind::Ist, Kind::Nist];

const US: &str = "192.0.2.1:5060";
const PEER: &str = "192.0.2.2:5060";

/// The pure machine, its timers, and what they say must happen.
struct Oracle {
    state: State,
    on: Reliability,
    /// The timer that repeats or answers, and the one that ends: when, and how long it ran.
    slots: [Option<(Timer, Instant)>; 2],
    interval: core::time::Duration,
    aborted: bool,
    /// What was expected to be sent, and to be told.
    sends: Vec<Send>,
    told: Vec<Report>,
    /// The pairs of state and event that did something.
    hit: BTreeSet<String>,
}

const fn repeats(timer: Timer) -> bool {
    matches!(timer, Timer::A | Timer::E | Timer::G | Timer::Trying | Timer::LateTrying | Timer::Rport)
}

/// An input of a machine, whichever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Status(u16),
    Request,
    Ack,
    Answer(u16),
    Cancel,
    Error,
    Lost,
    Timer(Timer),
}

impl Oracle {
    fn step(&mut self, now: Instant, heard: Heard, born: Instant) -> bool {
        let before = self.state;
        let Some((next, actions)) = next(before, heard, self.on, now.since(born)) else { return false };
        if actions.contains(&Action::Refuse) {
            return false;
        }
        if (next, actions.as_slice()) != (before, &[][..]) {
            self.hit.insert(format!("{:?} {before:?} {}", self.on, name(heard)));
        }
        self.apply(now, next, &actions, born);
        true
    }

    fn apply(&mut self, now: Instant, next: State, actions: &[Action], born: Instant) {
        let mut at_once = None;
        for action in actions {
            match *action {
                Action::Send(what) => self.sends.push(what),
                Action::Tell(report) => self.told.push(report),
                Action::Stop(timer) => self.slots[usize::from(!repeats(timer))] = None,
                Action::Set(timer, delay) => {
                    let slot = usize::from(!repeats(timer));
                    match Timers::DEFAULT.delay(timer, delay, self.interval, self.on) {
                        Some(delay) if delay.is_zero() && !repeats(timer) => at_once = Some(timer),
                        Some(delay) => {
                            if repeats(timer) {
                                self.interval = delay;
                            }
                            self.slots[slot] = Some((timer, now + delay));
                        }
                        None => self.slots[slot] = None,
                    }
                }
                Action::Refuse => {}
            }
        }
        self.state = next;
        if is_over(next) {
            self.slots = [None; 2];
        } else if let Some(timer) = at_once {
            self.step(now, Heard::Timer(timer), born);
        }
    }

    fn next(&self) -> Option<(Timer, Instant)> {
        self.slots.iter().flatten().copied().min_by_key(|(_, due)| *due)
    }

    /// What is due by now, in the order of its time.
    fn advance(&mut self, now: Instant, born: Instant) {
        while let Some((timer, due)) = self.next().filter(|(_, due)| *due <= now) {
            self.slots[usize::from(!repeats(timer))] = None;
            self.step(due.max(now), Heard::Timer(timer), born);
        }
    }
}

fn name(heard: Heard) -> String {
    match heard {
        Heard::Status(status) | Heard::Answer(status) => match status {
            100 => "100".into(),
            101..=199 => "1xx".into(),
            200..=299 => "2xx".into(),
            408 => "408".into(),
            _ => "3xx".into(),
        },
        other => format!("{other:?}"),
    }
}

fn is_over(state: State) -> bool {
    matches!(
        state,
        State::Ict(ict::State::Terminated)
            | State::Nict(nict::State::Terminated)
            | State::Ist(ist::State::Terminated)
            | State::Nist(nist::State::Terminated)
    )
}

type Done = (State, Vec<Action>);

fn done<S>(step: Step<S>, wrap: fn(S) -> State) -> Option<Done> {
    Some((wrap(step.next), step.actions.to_vec()))
}

/// The step of whichever machine it is; `None`: it has no such event.
fn next(state: State, heard: Heard, on: Reliability, age: core::time::Duration) -> Option<Done> {
    match state {
        State::Ict(state) => {
            use ict::Event as E;
            let event = match heard {
                Heard::Status(100) => E::Trying,
                Heard::Status(101..=199) => E::Provisional,
                Heard::Status(200..=299) => E::Success,
                Heard::Status(_) => E::Failure,
                Heard::Cancel => E::Cancel,
                Heard::Error => E::TransportError,
                Heard::Lost => E::ConnectionLost,
                Heard::Timer(timer) => E::Timer(timer),
                _ => return None,
            };
            done(ict::step(state, event, on), State::Ict)
        }
        State::Nict(state) => {
            use nict::Event as E;
            let event = match heard {
                Heard::Status(100..=199) => E::Provisional,
                Heard::Status(_) => E::Final,
                Heard::Error | Heard::Lost => E::TransportError,
                Heard::Timer(timer) => E::Timer(timer),
                _ => return None,
            };
            done(nict::step(state, event, on), State::Nict)
        }
        State::Ist(state) => {
            use ist::Event as E;
            let event = match heard {
                Heard::Request => E::Invite,
                Heard::Ack => E::Ack,
                Heard::Answer(100..=199) => E::Provisional,
                Heard::Answer(200..=299) => E::Success,
                Heard::Answer(_) => E::Failure,
                Heard::Error => E::TransportError,
                Heard::Timer(timer) => E::Timer(timer),
                _ => return None,
            };
            done(ist::step(state, event, on), State::Ist)
        }
        State::Nist(state) => {
            use nist::Event as E;
            let due = age >= core::time::Duration::from_millis(3_500);
            let event = match heard {
                Heard::Request => E::Request,
                Heard::Answer(100) => E::Trying { due },
                Heard::Answer(101..=199) => E::Provisional,
                Heard::Answer(408) => E::RequestTimeout,
                Heard::Answer(_) => E::Final,
                Heard::Error => E::TransportError,
                Heard::Timer(timer) => E::Timer(timer),
                _ => return None,
            };
            done(nist::step(state, event, on), State::Nist)
        }
    }
}

/// The endpoint, and what came out of it.
struct Subject {
    endpoint: Endpoint,
    transport: Transport,
    flow: Option<FlowId>,
    stream: StreamBuf,
    txn: Option<Txn>,
    /// What was sent of the transaction, by its first words; what belongs to a CANCEL's own transaction is left out. And the last ticket.
    sent: Vec<String>,
    ticket: Option<Ticket>,
    told: Vec<String>,
    request: String,
    response: String,
}

impl Subject {
    fn hear(&mut self, now: Instant, text: &str) {
        let event = match self.flow {
            Some(flow) => {
                self.stream.extend(text.as_bytes());
                self.endpoint.stream(now, flow, &mut self.stream)
            }
            None => {
                let source = Source::Datagram { local: US.parse().unwrap(), remote: PEER.parse().unwrap() };
                self.endpoint.datagram(now, source, text.as_bytes())
            }
        };
        let Some(event) = event else { return };
        if let Event::Request { txn, .. } = &event {
            self.txn = Some(Txn::Server(*txn));
        }
        let words = words(&event);
        self.told.push(words);
    }

    fn drain(&mut self, now: Instant) {
        while let Some(output) = self.endpoint.poll() {
            match output {
                Output::Transmit(transmit) => {
                    assert!(matches!(transmit.to, Destination::Datagram { .. }) == self.flow.is_none());
                    let text = String::from_utf8(transmit.bytes.to_vec()).unwrap();
                    let first: String = text.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
                    if text.contains(" CANCEL\r\n") && !text.starts_with("CANCEL") {
                        continue;
                    }
                    if text.starts_with("SIP/2.0") {
                        self.response = text.clone();
                    } else if !text.starts_with("ACK") && !text.starts_with("CANCEL") {
                        self.request = text.clone();
                    }
                    // The copies of a CANCEL are its own transaction's.
                    if !(text.starts_with("CANCEL") && transmit.retransmission) {
                        if !text.starts_with("CANCEL") {
                            self.ticket = Some(transmit.ticket);
                        }
                        self.sent.push(first);
                    }
                }
                Output::Connect { flow, .. } => {
                    self.flow = Some(flow);
                    assert!(self.endpoint.flow_opened(now, flow, US.parse().unwrap()));
                }
                Output::Event(event) => {
                    let words = words(&event);
                    self.told.push(words);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

fn words(event: &Event<'_>) -> String {
    match event {
        Event::Request { .. } => "request".into(),
        Event::Ack { txn, .. } => format!("ack {}", txn.is_some()),
        Event::Response { response, .. } => format!("response {}", response.status().code()),
        Event::TransportError { .. } => "error".into(),
        Event::Unanswered { .. } => "unanswered".into(),
        Event::Terminated { cause, .. } => format!("end {cause:?}"),
        other => format!("{other:?}"),
    }
}

/// Walks for so many steps; each is chosen by `choose`, which gives a number below its argument. Returns what was hit.
pub(crate) fn walk(
    kind: Kind,
    on: Reliability,
    steps: usize,
    choose: &mut dyn FnMut(u32) -> u32,
) -> BTreeSet<String> {
    let transport = if on == Reliability::Unreliable { Transport::Udp } else { Transport::Tcp };
    let mut endpoint = Endpoint::new(Config::new([9; 32]));
    for transport in [Transport::Udp, Transport::Tcp] {
        endpoint.listen(Instant::ZERO, Local { transport, addr: US.parse().unwrap(), advertised: None });
    }
    let mut now = Instant::from_millis(u64::from(choose(5)));
    let mut subject = Subject {
        endpoint,
        transport,
        flow: None,
        stream: StreamBuf::new(),
        txn: None,
        sent: Vec::new(),
        ticket: None,
        told: Vec::new(),
        request: String::new(),
        response: String::new(),
    };
    let start: Done = match kind {
        Kind::Ict => done(ict::start(on), State::Ict),
        Kind::Nict => done(nict::start(on), State::Nict),
        Kind::Ist => done(ist::start(on), State::Ist),
        Kind::Nist => done(nist::start(on), State::Nist),
    }
    .unwrap();
    let mut oracle = Oracle {
        state: start.0,
        on,
        slots: [None; 2],
        interval: core::time::Duration::ZERO,
        aborted: false,
        sends: Vec::new(),
        told: Vec::new(),
        hit: BTreeSet::new(),
    };
    // Some walks hardly do anything but wait.
    let patient = choose(3) == 0;
    let born = now;
    oracle.apply(now, start.0, &start.1, born);
    begin(kind, now, &mut subject);
    let mut cancel_age = None;
    compare(&mut subject, &mut oracle, now, &mut cancel_age, "start");
    for _ in 0..steps {
        if is_over(oracle.state) {
            break;
        }
        let heard = if patient && choose(24) > 0 { None } else { pick(kind, choose) };
        match heard {
            None => {
                // Time: to the next deadline, a little before it, or anywhere.
                let deadline = subject.endpoint.deadline().unwrap_or(now);
                let early = core::time::Duration::from_micros(u64::from(choose(3)));
                let at = match choose(4) {
                    0 => now + core::time::Duration::from_millis(u64::from(choose(2_000))),
                    1 => deadline + early,
                    _ => deadline,
                };
                // One deadline after the other: what is late is another test's.
                let at = at.min(deadline).max(now);
                now = at;
                subject.endpoint.advance(now);
                subject.drain(now);
                oracle.advance(now, born);
            }
            Some(heard) => {
                act(kind, now, heard, &mut subject, &mut oracle, born);
                subject.drain(now);
            }
        }
        compare(
            &mut subject,
            &mut oracle,
            now,
            &mut cancel_age,
            &format!("{kind:?} {on:?} {heard:?} at {now:?}"),
        );
    }
    oracle.hit
}

fn begin(kind: Kind, now: Instant, subject: &mut Subject) {
    let method = if matches!(kind, Kind::Ict | Kind::Ist) { "INVITE" } else { "OPTIONS" };
    match kind {
        Kind::Ict | Kind::Nict => {
            let uri = format!("sip:peer@{PEER};transport={}", subject.transport);
            let request = NewRequest {
                call_id: "walk",
                ..NewRequest::new(Method::new(method.as_bytes()), &uri, "<sip:us@x>;tag=u", "<sip:peer@x>", 1)
            };
            let txn = subject.endpoint.request(now, &request).unwrap();
            subject.txn = Some(Txn::Client(txn));
        }
        Kind::Ist | Kind::Nist => {
            if subject.transport == Transport::Tcp {
                let target = Target { transport: Transport::Tcp, addr: PEER.parse().unwrap() };
                subject.flow =
                    Some(subject.endpoint.flow_accepted(now, target, US.parse().unwrap()).unwrap());
            }
            subject.request = format!(
                "{method} sip:us@{US} SIP/2.0\r\nVia: SIP/2.0/{} {PEER};branch=z9hG4bKwalk\r\nFrom: <sip:p@x>;tag=p\r\n\
                 To: <sip:us@x>\r\nCall-ID: walk\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n",
                subject.transport.token()
            );
            let request = subject.request.clone();
            subject.hear(now, &request);
        }
    }
    subject.drain(now);
}

/// An input that makes sense for the machine; `None` is time.
fn pick(kind: Kind, choose: &mut dyn FnMut(u32) -> u32) -> Option<Heard> {
    let statuses = [100, 180, 183, 200, 202, 302, 486, 603];
    let status = |choose: &mut dyn FnMut(u32) -> u32| statuses[choose(8) as usize];
    match (kind, choose(8)) {
        (_, 0..=2) => None,
        (_, 3) => Some(Heard::Error),
        (Kind::Ict, 4) => Some(Heard::Cancel),
        (Kind::Ict | Kind::Nict, 5) => Some(Heard::Lost),
        (Kind::Ict | Kind::Nict, _) => Some(Heard::Status(status(choose))),
        (Kind::Ist, 4) => Some(Heard::Ack),
        (_, 4 | 5) => Some(Heard::Request),
        (Kind::Nist, 6) => Some(Heard::Answer([100, 100, 180, 408][choose(4) as usize])),
        _ => Some(Heard::Answer(status(choose))),
    }
}

fn act(kind: Kind, now: Instant, heard: Heard, subject: &mut Subject, oracle: &mut Oracle, born: Instant) {
    match heard {
        Heard::Status(status) => {
            let text = response_to(&subject.request, status);
            oracle.step(now, heard, born);
            subject.hear(now, &text);
        }
        Heard::Request => {
            oracle.step(now, heard, born);
            let request = subject.request.clone();
            subject.hear(now, &request);
        }
        Heard::Ack => {
            let to = subject
                .response
                .lines()
                .find(|line| line.starts_with("To:"))
                .unwrap_or("To: <sip:us@x>")
                .to_owned();
            let ack = subject.request.replace("INVITE", "ACK").replace("To: <sip:us@x>", &to);
            // Before a response there is nothing to acknowledge, and the machine absorbs it.
            oracle.step(now, heard, born);
            subject.hear(now, &ack);
        }
        Heard::Answer(status) => {
            let Some(Txn::Server(txn)) = subject.txn else { return };
            let answer = Status::new(status).unwrap();
            let expected = next(oracle.state, heard, oracle.on, now.since(born));
            let given = subject.endpoint.respond(now, txn, answer, &Content::NONE);
            let (_, actions) = expected.unwrap();
            let wanted =
                match (actions.contains(&Action::Refuse), actions.contains(&Action::Send(Send::Response))) {
                    (true, _) => Err(Misuse::Forbidden),
                    (_, false) => Err(Misuse::WrongState),
                    _ => Ok(()),
                };
            assert_eq!(given, wanted, "{kind:?} {heard:?} in {:?}", oracle.state);
            if given.is_ok() {
                oracle.step(now, heard, born);
            }
        }
        Heard::Cancel => {
            let Some(Txn::Client(txn)) = subject.txn else { return };
            let given = subject.endpoint.cancel(now, txn);
            let live = matches!(
                oracle.state,
                State::Ict(ict::State::Calling { .. } | ict::State::Proceeding { .. })
            );
            assert_eq!(given, if live { Ok(()) } else { Err(Misuse::WrongState) });
            oracle.step(now, heard, born);
        }
        Heard::Error => {
            let Some(ticket) = subject.ticket else { return };
            subject.endpoint.send_failed(now, ticket, SendError::Unreachable);
            oracle.step(now, heard, born);
        }
        Heard::Lost => {
            let Some(flow) = subject.flow.take() else { return };
            subject.stream = StreamBuf::new();
            subject.endpoint.flow_closed(now, flow);
            subject.flow = Some(flow);
            oracle.step(now, heard, born);
            // Nothing comes or goes by it any more.
            if !is_over(oracle.state) {
                if let Some(txn) = subject.txn {
                    subject.endpoint.abort(now, txn).unwrap();
                    oracle.state = match oracle.state {
                        State::Ict(_) => State::Ict(ict::State::Terminated),
                        _ => State::Nict(nict::State::Terminated),
                    };
                    (oracle.slots, oracle.aborted) = ([None; 2], true);
                }
            }
        }
        Heard::Timer(_) => unreachable!("time is no input"),
    }
}

fn response_to(request: &str, status: u16) -> String {
    let header = |name: &str| request.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    format!(
        "SIP/2.0 {status} x\r\n{}\r\n{}\r\n{};tag=t\r\n{}\r\n{}\r\nContent-Length: 0\r\n\r\n",
        header("Via"),
        header("From"),
        header("To"),
        header("Call-ID"),
        header("CSeq")
    )
}

/// Everything that came out since the last comparison, against what must have.
fn compare(
    subject: &mut Subject,
    oracle: &mut Oracle,
    now: Instant,
    cancel: &mut Option<Instant>,
    place: &str,
) {
    let (sent, expected) = (core::mem::take(&mut subject.sent), core::mem::take(&mut oracle.sends));
    assert_eq!(sent.len(), expected.len(), "{place}: sent {sent:?}, expected {expected:?}");
    for (first, what) in sent.iter().zip(&expected) {
        let fits = match what {
            Send::Request => first.starts_with("INVITE") || first.starts_with("OPTIONS"),
            Send::Ack => first.starts_with("ACK"),
            Send::Cancel => {
                *cancel = Some(now);
                first.starts_with("CANCEL")
            }
            Send::Trying => first == "SIP/2.0 100",
            Send::Failure => first == "SIP/2.0 500",
            Send::Response | Send::Last => first.starts_with("SIP/2.0"),
        };
        assert!(fits, "{place}: sent {first} for {what:?}");
    }
    let over = is_over(oracle.state);
    let (mut wanted, mut cause) = (Vec::new(), Cause::Completed);
    for report in core::mem::take(&mut oracle.told) {
        match report {
            Report::Request => wanted.push("request"),
            Report::Ack => wanted.push("ack"),
            Report::Response => wanted.push("response"),
            Report::Timeout => cause = Cause::Timeout,
            Report::NoAck => cause = Cause::NoAck,
            Report::TransportError if over => cause = Cause::TransportError,
            Report::Unanswered if over => cause = Cause::Unanswered,
            Report::TransportError => wanted.push("error"),
            Report::Unanswered => wanted.push("unanswered"),
        }
    }
    let (end, told): (Vec<_>, Vec<_>) =
        core::mem::take(&mut subject.told).into_iter().partition(|told| told.starts_with("end "));
    let mut told: Vec<_> = told.iter().map(|told| told.split(' ').next().unwrap()).collect();
    told.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(told, wanted, "{place}");
    if over {
        assert!(oracle.aborted || end == [format!("end {cause:?}")], "{place}: {end:?} is not {cause:?}");
        return;
    }
    assert!(end.is_empty(), "{place}: {end:?}");
    let state = subject.endpoint.state(subject.txn.unwrap());
    assert_eq!(state, Some(oracle.state), "{place}");
    // The transaction of a CANCEL has timers of its own; a connection that says nothing is closed in time.
    let (own, given) = (oracle.next().map(|(_, due)| due), subject.endpoint.deadline());
    if cancel.is_none() && subject.flow.is_none() {
        assert_eq!(given, own, "{place}");
    } else {
        assert!(
            own.is_none() || given.is_some_and(|given| Some(given) <= own),
            "{place}: {given:?} is after {own:?}"
        );
    }
}

/// Everything that the walks of a machine can hit: the pairs that do something.
#[allow(dead_code, reason = "the fuzzer does not count")]
pub(crate) fn all_pairs(kind: Kind, on: Reliability) -> BTreeSet<String> {
    let states: Vec<State> = match kind {
        Kind::Ict => [
            ict::State::Calling { cancel: false },
            ict::State::Calling { cancel: true },
            ict::State::Proceeding { cancelled: false },
            ict::State::Proceeding { cancelled: true },
            ict::State::Completed,
            ict::State::Accepted,
        ]
        .map(State::Ict)
        .into(),
        Kind::Nict => {
            [nict::State::Trying, nict::State::Proceeding, nict::State::Completed].map(State::Nict).into()
        }
        Kind::Ist => [
            ist::State::Proceeding { answered: false },
            ist::State::Proceeding { answered: true },
            ist::State::Completed,
            ist::State::Confirmed,
            ist::State::Accepted,
        ]
        .map(State::Ist)
        .into(),
        Kind::Nist => {
            [nist::State::Trying, nist::State::Proceeding, nist::State::Completed].map(State::Nist).into()
        }
    };
    let timers = [
        Timer::A,
        Timer::B,
        Timer::D,
        Timer::E,
        Timer::F,
        Timer::G,
        Timer::H,
        Timer::I,
        Timer::J,
        Timer::K,
        Timer::L,
        Timer::M,
        Timer::Trying,
        Timer::LateTrying,
        Timer::Ringing,
        Timer::Cancelled,
        Timer::UnansweredInvite,
        Timer::Unanswered,
    ];
    let mut inputs: Vec<Heard> = timers.map(Heard::Timer).into();
    inputs.extend([100, 180, 200, 486].map(Heard::Status));
    inputs.extend([100, 180, 200, 486].map(Heard::Answer));
    inputs.extend([Heard::Request, Heard::Ack, Heard::Cancel, Heard::Error, Heard::Lost]);
    let mut pairs = BTreeMap::new();
    for state in states {
        for input in &inputs {
            let age = core::time::Duration::from_secs(10);
            let Some((next, actions)) = next(state, *input, on, age) else { continue };
            if (next, actions.as_slice()) != (state, &[][..]) && !actions.contains(&Action::Refuse) {
                pairs.insert(format!("{on:?} {state:?} {}", name(*input)), ());
            }
        }
    }
    pairs.into_keys().collect()
}
