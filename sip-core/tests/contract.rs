//! The eleven points of the contract, numbered as in the crate documentation: each is a property of any [`Machine`], held
//! against [`Endpoint`], and against a machine with a planted fault that must fail it. Point 11 is in `allocation.rs`.

mod support;

use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestCaseError, TestRunner};
use sip_core::framing::StreamBuf;
use sip_core::message::{Content, Method, Status};
use sip_core::{
    Command, Config, Destination, Endpoint, Event, FlowId, Instant, Local, Machine, Misuse, NewRequest,
    Output, ResolveId, SendError, ServerTxn, Source, Stats, Target, Ticket, Transport, Txn,
};
use std::collections::BTreeMap;
use support::{PEER, US, response};

/// What a run of the test does next; `u8`s pick among what there is.
#[derive(Clone, Debug)]
enum Op {
    Request { invite: bool, tcp: bool, name: bool },
    Reply { which: u8, status: u8 },
    Incoming { kind: u8, branch: u8, tcp: bool },
    Respond { which: u8, status: u8 },
    Cancel { which: u8 },
    Abort { which: u8 },
    Advance { millis: u32 },
    Close,
    Fail { which: u8 },
    Garbage { bytes: Vec<u8>, tcp: bool },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (any::<bool>(), any::<bool>(), prop::bool::weighted(0.1)).prop_map(|(invite, tcp, name)| Op::Request { invite, tcp, name }),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(which, status)| Op::Reply { which, status }),
        4 => (any::<u8>(), 0..6_u8, any::<bool>()).prop_map(|(kind, branch, tcp)| Op::Incoming { kind, branch, tcp }),
        4 => (any::<u8>(), any::<u8>()).prop_map(|(which, status)| Op::Respond { which, status }),
        1 => any::<u8>().prop_map(|which| Op::Cancel { which }),
        1 => any::<u8>().prop_map(|which| Op::Abort { which }),
        5 => prop_oneof![Just(0), 1..600_u32, 500..40_000_u32].prop_map(|millis| Op::Advance { millis }),
        1 => Just(Op::Close),
        1 => any::<u8>().prop_map(|which| Op::Fail { which }),
        1 => (prop::collection::vec(any::<u8>(), 0..80), any::<bool>()).prop_map(|(bytes, tcp)| Op::Garbage { bytes, tcp }),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..40)
}

/// A concrete input: what an [`Op`] came to in the run that recorded it.
#[derive(Clone, Debug)]
enum Step {
    Listen(Transport),
    Accept,
    Datagram(Vec<u8>),
    Stream(FlowId, Vec<u8>),
    Advance,
    Opened(FlowId),
    Closed(FlowId),
    Failed(Ticket),
    Resolved(ResolveId),
    Request { method: &'static str, uri: String },
    Respond(ServerTxn, Status),
    Cancel(sip_core::ClientTxn),
    Abort(Txn),
}

type Log = Vec<(Instant, Step)>;

fn source() -> Source {
    Source::Datagram { local: US.parse().unwrap(), remote: PEER.parse().unwrap() }
}

/// Any machine that is used like an endpoint.
trait Subject: for<'x> Machine<Event<'x> = Event<'x>, Command<'x> = Command<'x>> {}
impl<M: for<'x> Machine<Event<'x> = Event<'x>, Command<'x> = Command<'x>>> Subject for M {}

/// One machine under test, with the buffers of its streams.
struct Driven<M> {
    machine: M,
    streams: BTreeMap<FlowId, StreamBuf>,
    returned: Vec<String>,
    outputs: Vec<String>,
}

impl<M: Subject> Driven<M> {
    fn new(machine: M) -> Self {
        Self { machine, streams: BTreeMap::new(), returned: Vec::new(), outputs: Vec::new() }
    }

    fn take(&mut self, now: Instant, step: &Step) -> Option<Event<'static>> {
        let machine = &mut self.machine;
        let mut last = None;
        match step {
            Step::Listen(transport) => {
                let local = Local { transport: *transport, addr: US.parse().unwrap(), advertised: None };
                machine.listen(now, local);
            }
            Step::Accept => {
                let target = Target { transport: Transport::Tcp, addr: PEER.parse().unwrap() };
                let _ = machine.flow_accepted(now, target, US.parse().unwrap());
            }
            Step::Datagram(data) => last = machine.datagram(now, source(), data).map(Event::into_owned),
            Step::Stream(flow, data) => {
                let buf = self.streams.entry(*flow).or_default();
                buf.extend(data);
                while let Some(event) = machine.stream(now, *flow, buf) {
                    self.returned.push(format!("{event:?}"));
                    last = Some(event.into_owned());
                }
                return last;
            }
            Step::Advance => machine.advance(now),
            Step::Opened(flow) => {
                machine.flow_opened(now, *flow, US.parse().unwrap());
            }
            Step::Closed(flow) => {
                self.streams.remove(flow);
                machine.flow_closed(now, *flow);
            }
            Step::Failed(ticket) => machine.send_failed(now, *ticket, SendError::Unreachable),
            Step::Resolved(id) => machine.resolved(now, *id, &[PEER.parse().unwrap()]),
            Step::Request { method, uri } => {
                let method = Method::new(method.as_bytes());
                let request = NewRequest::new(method, uri, "<sip:a@x>;tag=a", "<sip:b@x>", 1);
                let _ = machine.command(now, Command::Request(request));
            }
            Step::Respond(txn, status) => {
                let _ = machine
                    .command(now, Command::Respond { txn: *txn, status: *status, content: Content::NONE });
            }
            Step::Cancel(txn) => {
                let _ = machine.command(now, Command::Cancel(*txn));
            }
            Step::Abort(txn) => {
                let _ = machine.command(now, Command::Abort(*txn));
            }
        }
        self.returned.extend(last.iter().map(|event| format!("{event:?}")));
        last
    }

    /// Drains up to `most` outputs.
    fn drain(&mut self, most: usize, mut seen: impl FnMut(&Output<'_, Event<'static>>)) -> usize {
        for drained in 0..most {
            let Some(output) = self.machine.poll() else { return drained };
            seen(&output);
            self.outputs.push(match &output {
                Output::Transmit(transmit) => {
                    format!(
                        "{:?} {:?} {}",
                        transmit.to,
                        transmit.retransmission,
                        transmit.bytes.escape_ascii()
                    )
                }
                other => format!("{other:?}"),
            });
        }
        most
    }
}

/// Runs the operations on a machine that is drained after each, and writes down what they came to.
fn record<M: Subject>(machine: M, ops: &[Op]) -> (Log, Driven<M>) {
    let mut driven = Driven::new(machine);
    let mut log = Log::new();
    let mut now = Instant::ZERO;
    let (mut sent, mut served, mut clients) = (Vec::new(), Vec::new(), Vec::new());
    let (mut tickets, mut flows) = (Vec::new(), Vec::new());
    for transport in [Transport::Udp, Transport::Tcp] {
        log.push((now, Step::Listen(transport)));
        driven.take(now, &Step::Listen(transport));
    }
    for op in ops {
        let mut steps = Vec::new();
        let pick = |which: u8, length: usize| which as usize % length.max(1);
        match op {
            Op::Request { invite, tcp, name } => {
                let host = if *name { "peer.example:5060".to_owned() } else { PEER.to_owned() };
                let uri = format!("sip:b@{host};transport={}", if *tcp { "tcp" } else { "udp" });
                steps.push(Step::Request { method: if *invite { "INVITE" } else { "OPTIONS" }, uri });
            }
            Op::Reply { which, status } => {
                let request: Option<&String> = sent.get(pick(*which, sent.len()));
                let status = ["100 Trying", "180 Ringing", "200 OK", "486 Busy Here"][*status as usize % 4];
                steps.extend(
                    request.map(|request| Step::Datagram(response(request, status, "t", "").into_bytes())),
                );
            }
            Op::Incoming { kind, branch, tcp } => {
                let method = ["INVITE", "OPTIONS", "ACK", "CANCEL", "INFO"][*kind as usize % 5];
                let transport = if *tcp { "TCP" } else { "UDP" };
                let text = format!(
                    "{method} sip:us@{US} SIP/2.0\r\nVia: SIP/2.0/{transport} {PEER};branch=z9hG4bK{branch}\r\n\
                     From: <sip:p@x>;tag=p\r\nTo: <sip:us@x>\r\nCall-ID: c{branch}\r\nCSeq: 1 {method}\r\n\
                     Content-Length: 0\r\n\r\n"
                );
                if *tcp {
                    if flows.is_empty() {
                        steps.push(Step::Accept);
                    }
                    let flow = flows.last().copied().unwrap_or(FlowId::from_bits(u64::MAX));
                    steps.push(Step::Stream(flow, text.into_bytes()));
                } else {
                    steps.push(Step::Datagram(text.into_bytes()));
                }
            }
            Op::Respond { which, status } => {
                let status = [100, 180, 200, 302, 408, 486, 503, 603][*status as usize % 8];
                let txn: Option<&ServerTxn> = served.get(pick(*which, served.len()));
                steps.extend(txn.map(|txn| Step::Respond(*txn, Status::new(status).unwrap())));
            }
            Op::Cancel { which } => {
                let txn: Option<&sip_core::ClientTxn> = clients.get(pick(*which, clients.len()));
                steps.extend(txn.map(|txn| Step::Cancel(*txn)));
            }
            Op::Abort { which } => {
                let txn: Option<&ServerTxn> = served.get(pick(*which, served.len()));
                steps.extend(txn.map(|txn| Step::Abort(Txn::Server(*txn))));
            }
            Op::Advance { millis } => {
                now += core::time::Duration::from_millis(u64::from(*millis));
                steps.push(Step::Advance);
            }
            Op::Close => steps.extend(flows.pop().map(Step::Closed)),
            Op::Fail { which } => {
                let ticket: Option<&Ticket> = tickets.get(pick(*which, tickets.len()));
                steps.extend(ticket.map(|ticket| Step::Failed(*ticket)));
            }
            Op::Garbage { bytes, tcp: false } => steps.push(Step::Datagram(bytes.clone())),
            Op::Garbage { bytes, tcp: true } => {
                steps.extend(flows.last().map(|flow| Step::Stream(*flow, bytes.clone())));
            }
        }
        while let Some(step) = (!steps.is_empty()).then(|| steps.remove(0)) {
            if let Step::Accept = step {
                // The first flow of an empty machine; the handle is as good as the machine is deterministic.
                let target = Target { transport: Transport::Tcp, addr: PEER.parse().unwrap() };
                if let Ok(flow) = driven.machine.flow_accepted(now, target, US.parse().unwrap()) {
                    flows.push(flow);
                    if let Some(Step::Stream(to, _)) = steps.first_mut() {
                        *to = flow;
                    }
                }
            } else {
                match driven.take(now, &step) {
                    Some(Event::Request { txn, .. }) => served.push(txn),
                    Some(Event::Response { txn, .. }) => clients.push(txn),
                    _ => {}
                }
            }
            log.push((now, step));
            driven.drain(usize::MAX, |output| match output {
                Output::Transmit(transmit) => {
                    tickets.push(transmit.ticket);
                    if !transmit.bytes.starts_with(b"SIP/2.0") && !transmit.bytes.starts_with(b"\r\n") {
                        sent.push(String::from_utf8_lossy(transmit.bytes).into_owned());
                    }
                    assert!(matches!(transmit.to, Destination::Datagram { .. } | Destination::Flow(_)));
                }
                Output::Connect { flow, .. } => {
                    flows.push(*flow);
                    steps.push(Step::Opened(*flow));
                }
                Output::Resolve { id, .. } => steps.push(Step::Resolved(*id)),
                _ => {}
            });
        }
    }
    (log, driven)
}

/// Runs a log on a machine; `after` is called after each step, and drains or does not.
fn replay<M: Subject>(
    machine: M,
    log: &Log,
    mut after: impl FnMut(&mut Driven<M>, usize, Instant),
) -> Driven<M> {
    let mut driven = Driven::new(machine);
    for (number, (now, step)) in log.iter().enumerate() {
        driven.take(*now, step);
        after(&mut driven, number, *now);
    }
    driven
}

fn drained<M: Subject>(machine: M, log: &Log) -> Driven<M> {
    let mut driven = replay(machine, log, |driven, _, _| {
        driven.drain(usize::MAX, |_| {});
    });
    driven.drain(usize::MAX, |_| {});
    driven
}

/// A property of a machine: what is wrong, if anything.
type Property<M> = fn(&dyn Fn() -> M, &[Op], u64) -> Result<(), String>;

fn same<M>(what: &str, left: &Driven<M>, right: &Driven<M>) -> Result<(), String> {
    if left.returned != right.returned {
        return Err(format!("{what}: returned events differ"));
    }
    for (number, pair) in left.outputs.iter().zip(&right.outputs).enumerate() {
        if pair.0 != pair.1 {
            return Err(format!("{what}: output {number} differs\n  {}\n  {}", pair.0, pair.1));
        }
    }
    if left.outputs.len() == right.outputs.len() {
        Ok(())
    } else {
        Err(format!("{what}: outputs are missing"))
    }
}

/// 1. No clock, entropy, environment, thread or global has a part in it.
fn pure<M: Subject>(make: &dyn Fn() -> M, ops: &[Op], _: u64) -> Result<(), String> {
    let (log, first) = record(make(), ops);
    // Another machine in between, in the same process.
    record(make(), &ops[..ops.len() / 2]);
    same("once more", &first, &drained(make(), &log))
}

/// 2. When outputs are drained changes nothing in them.
fn deterministic<M: Subject>(make: &dyn Fn() -> M, ops: &[Op], seed: u64) -> Result<(), String> {
    let (log, _) = record(make(), ops);
    let mut random = seed;
    let mut sometimes = replay(make(), &log, |driven, _, _| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        driven.drain((random >> 60) as usize % 4, |_| {});
    });
    sometimes.drain(usize::MAX, |_| {});
    same("drained now and then", &drained(make(), &log), &sometimes)
}

/// 3. Draining reaches a deadline of `None` or later than now.
fn progress<M: Subject>(make: &dyn Fn() -> M, ops: &[Op], _: u64) -> Result<(), String> {
    let (log, _) = record(make(), ops);
    let mut wrong = Ok(());
    replay(make(), &log, |driven, number, now| {
        if driven.drain(100_000, |_| {}) == 100_000 {
            wrong = Err(format!("step {number}: draining never ends"));
        }
        if driven.machine.deadline().is_some_and(|deadline| deadline <= now) {
            wrong = Err(format!("step {number}: a deadline is due after draining"));
        }
    });
    wrong
}

/// 4. While output is pending, the deadline is due.
fn no_lost_wake_up<M: Subject>(make: &dyn Fn() -> M, ops: &[Op], _: u64) -> Result<(), String> {
    let (log, _) = record(make(), ops);
    let mut wrong = Ok(());
    replay(make(), &log, |driven, number, now| {
        loop {
            let deadline = driven.machine.deadline();
            if driven.drain(1, |_| {}) == 0 {
                return;
            }
            if deadline.is_none_or(|deadline| deadline > now) {
                wrong = Err(format!("step {number}: output without a deadline"));
            }
        }
    });
    wrong
}

/// 5. An undrained output loses nothing.
fn any_order<M: Subject>(make: &dyn Fn() -> M, ops: &[Op], _: u64) -> Result<(), String> {
    let (log, _) = record(make(), ops);
    let mut late = replay(make(), &log, |_, _, _| {});
    late.drain(usize::MAX, |_| {});
    same("drained at the end", &drained(make(), &log), &late)
}

/// 6. A spurious `advance` does nothing, and time never runs backwards.
fn spurious<M: Subject>(make: &dyn Fn() -> M, ops: &[Op], seed: u64) -> Result<(), String> {
    let (log, _) = record(make(), ops);
    let mut woken = replay(make(), &log, |driven, number, now| {
        driven.machine.advance(now);
        driven.machine.advance(Instant::from_micros(now.as_micros() / (2 + (seed + number as u64) % 3)));
        driven.machine.advance(Instant::ZERO);
        driven.drain(usize::MAX, |_| {});
    });
    woken.drain(usize::MAX, |_| {});
    same("woken for nothing", &drained(make(), &log), &woken)
}

/// 7. Timers fire in the order of their deadlines, and outputs leave in the order of their causes.
fn ordered<M: Subject>(make: &dyn Fn() -> M, ops: &[Op], _: u64) -> Result<(), String> {
    let (log, _) = record(make(), ops);
    let mut driven = drained(make(), &log);
    let start = log.last().map_or(Instant::ZERO, |(now, _)| *now);
    // Two commands, then one long sleep.
    let (first, second) = ("sip:first@192.0.2.2", "sip:second@192.0.2.2");
    for uri in [first, second] {
        driven.take(start, &Step::Request { method: "OPTIONS", uri: uri.into() });
    }
    let before = driven.outputs.len();
    driven.drain(usize::MAX, |_| {});
    let position = |uri| driven.outputs[before..].iter().position(|output| output.contains(uri));
    if let (Some(one), Some(two)) = (position(first), position(second)) {
        if one > two {
            return Err("what was asked for first came second".into());
        }
    }
    // Two transactions that are given up, one after the other.
    let mut txns = Vec::new();
    for branch in ["one", "two"] {
        let text = format!(
            "INFO sip:us@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{branch}\r\nFrom: <sip:p@x>;tag=o\r\n\
             To: <sip:us@x>\r\nCall-ID: {branch}\r\nCSeq: 1 INFO\r\nContent-Length: 0\r\n\r\n"
        );
        if let Some(Event::Request { txn, .. }) = driven.take(start, &Step::Datagram(text.into_bytes())) {
            txns.push(txn);
        }
    }
    for txn in &txns {
        driven.take(start, &Step::Abort(Txn::Server(*txn)));
    }
    let before = driven.outputs.len();
    driven.drain(usize::MAX, |_| {});
    let ends: Vec<_> = driven.outputs[before..].iter().filter(|output| output.contains("Aborted")).collect();
    if ends.len() == 2 && !ends[0].contains(&format!("{:?}", txns[0])) {
        return Err("what ended first was told second".into());
    }
    let late = start + core::time::Duration::from_secs(3);
    driven.machine.advance(late);
    let mut last = Instant::ZERO;
    while let Some(deadline) = driven.machine.deadline().filter(|deadline| *deadline < late) {
        if deadline < last {
            return Err(format!("the timer of {deadline} fired after that of {last}"));
        }
        last = deadline;
        if driven.drain(1, |_| {}) == 0 {
            break;
        }
    }
    Ok(())
}

const CAP: usize = 4;

/// 8. Every cap holds.
fn bounded<M: Subject>(make: &dyn Fn() -> M, ops: &[Op], _: u64) -> Result<(), String> {
    let (log, _) = record(make(), ops);
    // The CANCELs of this side come on top, one for each INVITE.
    let cancels = ops.iter().filter(|op| matches!(op, Op::Cancel { .. })).count().min(CAP);
    let mut wrong = Ok(());
    let mut last = replay(make(), &log, |driven, number, _| {
        let stats = driven.machine.stats();
        // What ends something has a quarter more.
        if stats.client_transactions + stats.server_transactions > CAP + CAP / 4 + 1 + cancels {
            wrong = Err(format!("step {number}: {stats:?}"));
        }
    });
    let most = log.len() * 8 + 100;
    if last.drain(most, |_| {}) == most {
        return Err("outputs without bound".into());
    }
    wrong
}

/// 9. No panic, on any bytes and any sequence of calls.
fn no_panic<M: Subject>(make: &dyn Fn() -> M, ops: &[Op], seed: u64) -> Result<(), String> {
    let all = || {
        let (log, _) = record(make(), ops);
        // The same inputs to a machine that knows nothing of what they refer to, and backwards.
        let mut driven = Driven::new(make());
        for (now, step) in log.iter().rev() {
            driven.take(*now, step);
            if seed % 2 == 0 {
                driven.drain(1, |_| {});
            }
        }
    };
    std::panic::catch_unwind(core::panic::AssertUnwindSafe(all)).map_err(|_| "a panic".into())
}

/// 10. Every transaction ends by itself, though its user forgets it.
fn no_leak<M: Subject>(make: &dyn Fn() -> M, ops: &[Op], _: u64) -> Result<(), String> {
    let (log, mut driven) = record(make(), ops);
    let mut now = log.last().map_or(Instant::ZERO, |(now, _)| *now);
    let end = now + core::time::Duration::from_secs(3_600);
    while let Some(deadline) = driven.machine.deadline().filter(|deadline| *deadline < end) {
        now = now.max(deadline);
        driven.machine.advance(now);
        driven.drain(usize::MAX, |_| {});
    }
    let stats = driven.machine.stats();
    let left = stats.client_transactions + stats.server_transactions;
    if left > 0
        || driven.machine.deadline().is_some()
        || !driven.machine.is_idle()
        || stats.retained_bytes > 0
    {
        return Err(format!("left behind: {stats:?}"));
    }
    let ended = driven.outputs.iter().filter(|output| output.contains("Event(Terminated")).count();
    let begun = driven.returned.iter().filter(|event| event.starts_with("Request")).count();
    if ended < begun { Err(format!("{begun} transactions, {ended} ends")) } else { Ok(()) }
}

fn endpoint() -> Endpoint {
    Endpoint::new(Config::new([9; 32]))
}

fn capped() -> Endpoint {
    let mut config = Config::new([9; 32]);
    config.limits.transactions = CAP;
    Endpoint::new(config)
}

/// Runs a property on generated operations.
fn run<M: Subject>(make: &dyn Fn() -> M, property: Property<M>) -> Result<(), String> {
    let mut runner = TestRunner::new(Runs { cases: 200, failure_persistence: None, ..Runs::default() });
    runner
        .run(&(ops(), any::<u64>()), |(ops, seed)| property(make, &ops, seed).map_err(TestCaseError::fail))
        .map_err(|error| error.to_string())
}

/// A fault that one property must notice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// A counter of the process is part of what is sent.
    Global,
    /// An input throws away what was not drained.
    DropsUndrained,
    /// A timer that fired is due again at once.
    NeverDone,
    /// Pending output is no reason to be woken.
    Sleeps,
    /// Time runs as it is told, backwards too.
    Rewinds,
    /// Last in, first out.
    Reverses,
    /// A message of some length is too much for it.
    Panics,
    /// The end of a transaction is not noticed.
    Forgets,
}

struct Faulty {
    inner: Endpoint,
    fault: Fault,
    held: Vec<Event<'static>>,
}

static GLOBAL: AtomicU64 = AtomicU64::new(0);

impl Faulty {
    fn new(fault: Fault) -> Self {
        let mut config = Config::new([9; 32]);
        if fault == Fault::Global {
            config.seed[..8].copy_from_slice(&GLOBAL.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        }
        Self { inner: Endpoint::new(config), fault, held: Vec::new() }
    }

    fn before(&mut self) {
        if self.fault == Fault::DropsUndrained {
            while self.inner.poll().is_some() {}
        }
    }
}

impl Machine for Faulty {
    type Event<'b> = Event<'b>;
    type Command<'a> = Command<'a>;
    type Made = Option<sip_core::ClientTxn>;

    fn datagram<'b>(&mut self, now: Instant, from: Source, data: &'b [u8]) -> Option<Event<'b>> {
        assert!(self.fault != Fault::Panics || data.len() % 8 != 3, "the planted panic");
        self.before();
        self.inner.datagram(now, from, data)
    }
    fn stream<'b>(&mut self, now: Instant, flow: FlowId, buf: &'b mut StreamBuf) -> Option<Event<'b>> {
        self.before();
        self.inner.stream(now, flow, buf)
    }
    fn advance(&mut self, now: Instant) {
        if self.fault == Fault::Rewinds && now == Instant::ZERO {
            let uri = format!("sip:{PEER}");
            let request = NewRequest::new(Method::Options, &uri, "<sip:a@x>", "<sip:b@x>", 1);
            let _ = self.inner.request(now, &request);
        }
        self.inner.advance(now);
    }
    fn poll(&mut self) -> Option<Output<'_, Event<'static>>> {
        match self.fault {
            Fault::Reverses => {
                while let Some(event) = self.inner.poll_event() {
                    self.held.push(event);
                }
                if let Some(event) = self.held.pop() {
                    return Some(Output::Event(event));
                }
                self.inner.poll()
            }
            _ => self.inner.poll(),
        }
    }
    fn poll_event(&mut self) -> Option<Event<'static>> {
        self.inner.poll_event()
    }
    fn deadline(&self) -> Option<Instant> {
        match self.fault {
            Fault::NeverDone => self.inner.deadline().map(|_| Instant::ZERO),
            Fault::Sleeps => {
                self.inner.deadline().map(|deadline| deadline + core::time::Duration::from_millis(1))
            }
            Fault::Forgets => None,
            _ => self.inner.deadline(),
        }
    }
    fn listen(&mut self, now: Instant, local: Local) {
        self.inner.listen(now, local);
    }
    fn flow_accepted(&mut self, now: Instant, target: Target, local: SocketAddr) -> Result<FlowId, Misuse> {
        self.inner.flow_accepted(now, target, local)
    }
    fn flow_opened(&mut self, now: Instant, flow: FlowId, local: SocketAddr) -> bool {
        self.inner.flow_opened(now, flow, local)
    }
    fn flow_closed(&mut self, now: Instant, flow: FlowId) {
        self.inner.flow_closed(now, flow);
    }
    fn send_failed(&mut self, now: Instant, ticket: Ticket, error: SendError) {
        self.inner.send_failed(now, ticket, error);
    }
    fn resolved(&mut self, now: Instant, id: ResolveId, addrs: &[SocketAddr]) {
        self.inner.resolved(now, id, addrs);
    }
    fn command(&mut self, now: Instant, command: Command<'_>) -> Result<Option<sip_core::ClientTxn>, Misuse> {
        self.before();
        self.inner.command(now, command)
    }
    fn drain(&mut self, now: Instant) {
        self.inner.drain(now);
    }
    fn is_idle(&self) -> bool {
        self.inner.is_idle()
    }
    fn stats(&self) -> Stats {
        self.inner.stats()
    }
    fn into_owned(event: Event<'_>) -> Event<'static> {
        event.into_owned()
    }
    fn refuse<'b>(&mut self, now: Instant, event: Self::Event<'b>) -> Option<Self::Event<'b>> {
        self.inner.refuse(now, event)
    }
}

fn holds(property: Property<Endpoint>, make: fn() -> Endpoint) {
    if let Err(error) = run(&make, property) {
        panic!("{error}");
    }
}

fn bites(property: Property<Faulty>, fault: Fault) {
    assert!(run(&|| Faulty::new(fault), property).is_err(), "the property does not notice the planted fault");
}

#[test]
fn point_1_pure() {
    holds(pure, endpoint);
    bites(pure, Fault::Global);
}

#[test]
fn point_2_deterministic() {
    holds(deterministic, endpoint);
    bites(deterministic, Fault::DropsUndrained);
}

#[test]
fn point_3_progress() {
    holds(progress, endpoint);
    bites(progress, Fault::NeverDone);
}

#[test]
fn point_4_no_lost_wake_up() {
    holds(no_lost_wake_up, endpoint);
    bites(no_lost_wake_up, Fault::Sleeps);
}

#[test]
fn point_5_any_order() {
    holds(any_order, endpoint);
    bites(any_order, Fault::DropsUndrained);
}

#[test]
fn point_6_spurious_advance() {
    holds(spurious, endpoint);
    bites(spurious, Fault::Rewinds);
}

#[test]
fn point_7_order() {
    holds(ordered, endpoint);
    bites(ordered, Fault::Reverses);
}

#[test]
fn point_8_bounded() {
    holds(bounded, capped);
    // The planted fault: a machine that was given no cap.
    assert!(run(&endpoint, bounded).is_err(), "the property does not notice a missing cap");
}

#[test]
fn point_9_no_panic() {
    holds(no_panic, endpoint);
    // A length that messages have now and then.
    bites(no_panic, Fault::Panics);
}

#[test]
fn point_10_no_leak() {
    holds(no_leak, endpoint);
    bites(no_leak, Fault::Forgets);
}
