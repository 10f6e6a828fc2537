//! Each monitor bites: a machine with one deliberate fault, put around a sound one, is caught by the invariant that is for it.

#[path = "support/around.rs"]
mod around;

use core::time::Duration;
use sip_core::sim::{Act, Faults, Node, Note, Report, Script, Setup, Tape, Topology, Wrap};
use sip_core::{Cause, Destination, Instant, Stats, Ticket, Transmit, Transport};

/// What is wrong with a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// A NICT that times out says that it completed.
    TimeoutIsCompleted,
    /// A 200 to OPTIONS goes out as 183.
    ProvisionalToOptions,
    /// An ICT that completed says that it timed out.
    CompletedIsTimeout,
    /// An IST that was acknowledged says that it was not.
    AckIsMissed,
    /// A final response is given to the user twice.
    FinalTwice,
    /// A request is sent twice at once.
    SentTwice,
    /// A retransmission is another byte.
    CopyDiffers,
    /// What was sent last is sent once more when all is over.
    SentAfterEnd,
    /// The ACK for a refusal is not sent.
    NoAck,
    /// The ACK has another Call-ID.
    OtherAck,
    /// A request is given to the user twice.
    RequestTwice,
    /// A copy of a request is not answered.
    CopyIgnored,
    /// CANCEL is not answered.
    CancelIgnored,
    /// CANCEL is answered with 481, though its INVITE is alive.
    CancelRefused,
    /// CANCEL is answered twice.
    CancelTwice,
    /// CANCEL goes out with its INVITE.
    EarlyCancel,
    /// A transaction is left at rest.
    Leak,
    /// The deadline lies in the past.
    PastDeadline,
    /// A wake-up without need sends something.
    Restless,
    /// A datagram of 70,000 bytes.
    Huge,
    /// A stray response brings an answer.
    AnswersStrays,
    /// The cap on transactions is none.
    NoCap,
    /// A response has another Call-ID than its request.
    OtherCallId,
    /// No 100.
    NoTrying,
    /// A line ends without CR.
    BareLf,
    /// Responses go to another port.
    OtherPort,
    /// A proxy counts no hop, and takes off no Via.
    NoHop,
    ViaLeft,
    /// It keeps a 2xx back.
    Kept,
    /// It sends a refusal behind a 2xx, and a 503.
    RefusedBehind,
    Unavailable,
    /// It cancels nobody.
    NoCancel,
}

/// A node with a bug.
struct Broken {
    inner: Box<dyn Node>,
    bug: Bug,
    /// What comes out next, made by the bug.
    extra: Vec<Out>,
    last: Vec<u8>,
    to: Option<Destination>,
    fired: u32,
}

enum Out {
    Note(Note),
    Send(Destination, Vec<u8>, bool),
}

impl Broken {
    fn new(inner: Box<dyn Node>, bug: Bug) -> Self {
        Self { inner, bug, extra: Vec::new(), last: Vec::new(), to: None, fired: 0 }
    }

    /// What becomes of one output.
    fn twist(&mut self, out: Out) -> Vec<Out> {
        use Bug::*;
        match out {
            Out::Note(Note::Ended { txn, cause }) => {
                let cause = match (self.bug, cause) {
                    (TimeoutIsCompleted, Cause::Timeout) => Cause::Completed,
                    (CompletedIsTimeout, Cause::Completed) => Cause::Timeout,
                    (AckIsMissed, Cause::Completed) => Cause::NoAck,
                    _ => cause,
                };
                let mut out = vec![Out::Note(Note::Ended { txn, cause })];
                if self.bug == SentAfterEnd {
                    out.extend(self.to.map(|to| Out::Send(to, self.last.clone(), true)));
                }
                out
            }
            Out::Note(note @ Note::Response { gist, .. }) if self.bug == FinalTwice && gist.is_final() => {
                vec![Out::Note(note), Out::Note(note)]
            }
            Out::Note(note @ Note::Request { .. }) if self.bug == RequestTwice => {
                vec![Out::Note(note), Out::Note(note)]
            }
            Out::Note(note @ Note::Stray { .. }) if self.bug == AnswersStrays => {
                let answer = self.to.map(|to| Out::Send(to, self.last.clone(), false));
                [Some(Out::Note(note)), answer].into_iter().flatten().collect()
            }
            Out::Note(note) => vec![Out::Note(note)],
            Out::Send(to, bytes, again) => self.twist_sent(to, bytes, again),
        }
    }

    fn twist_sent(&mut self, to: Destination, bytes: Vec<u8>, again: bool) -> Vec<Out> {
        use Bug::*;
        (self.last, self.to) = (bytes.clone(), Some(to));
        let text = String::from_utf8(bytes.clone()).unwrap();
        let changed =
            |from: &str, into: &str| vec![Out::Send(to, text.replacen(from, into, 1).into_bytes(), again)];
        match self.bug {
            ProvisionalToOptions if text.contains("1 OPTIONS") => {
                changed("SIP/2.0 200 OK", "SIP/2.0 183 Late")
            }
            SentTwice if text.starts_with("OPTIONS") => {
                vec![Out::Send(to, bytes.clone(), again), Out::Send(to, bytes, true)]
            }
            CopyDiffers if again && text.starts_with("INVITE") => {
                changed("Max-Forwards: 70", "Max-Forwards: 69")
            }
            NoAck if text.starts_with("ACK") => Vec::new(),
            OtherAck if text.starts_with("ACK") => changed("Call-ID: 0", "Call-ID: 9"),
            CopyIgnored if again && text.starts_with("SIP/2.0 180") => Vec::new(),
            CancelIgnored if text.starts_with("SIP/2.0 200") && text.contains("1 CANCEL") => Vec::new(),
            CancelRefused if text.starts_with("SIP/2.0 200") && text.contains("1 CANCEL") => {
                changed("SIP/2.0 200 OK", "SIP/2.0 481 No")
            }
            CancelTwice if text.starts_with("SIP/2.0 200") && text.contains("1 CANCEL") => {
                vec![Out::Send(to, bytes.clone(), again), Out::Send(to, bytes, true)]
            }
            EarlyCancel if text.starts_with("INVITE") => {
                let cancel = text.replacen("INVITE", "CANCEL", 1).replace("1 INVITE", "1 CANCEL");
                vec![Out::Send(to, bytes, again), Out::Send(to, cancel.into_bytes(), false)]
            }
            Huge => {
                let mut huge = bytes;
                huge.resize(70_000, b'x');
                vec![Out::Send(to, huge, again)]
            }
            OtherCallId if text.starts_with("SIP/2.0 180") => changed("Call-ID: 0", "Call-ID: 9"),
            NoTrying if text.starts_with("SIP/2.0 100") && !again => Vec::new(),
            BareLf => changed("\r\nMax-Forwards", "\nMax-Forwards"),
            NoHop if text.starts_with("INVITE") => changed("Max-Forwards: 69", "Max-Forwards: 70"),
            ViaLeft if text.starts_with("SIP/2.0 180") => {
                changed("Via: ", "Via: SIP/2.0/UDP h;branch=z9hG4bKx\r\nVia: ")
            }
            Kept if text.starts_with("SIP/2.0 200") && text.contains("1 INVITE") => Vec::new(),
            RefusedBehind if text.starts_with("SIP/2.0 200") && text.contains("1 INVITE") => {
                let refusal = text.replacen("200 OK", "486 Busy Here", 1);
                vec![Out::Send(to, bytes, again), Out::Send(to, refusal.into_bytes(), false)]
            }
            Unavailable if text.starts_with("SIP/2.0 486") => changed("486 Busy Here", "503 No"),
            NoCancel if text.starts_with("CANCEL") => Vec::new(),
            OtherPort if text.starts_with("SIP/2.0") => {
                let Destination::Datagram { local, mut remote } = to else { panic!("no datagram") };
                remote.set_port(5_070);
                vec![Out::Send(Destination::Datagram { local, remote }, bytes, again)]
            }
            _ => vec![Out::Send(to, bytes, again)],
        }
    }
}

impl Node for Broken {
    around::gives_on!(inner);
    fn advance(&mut self, now: Instant) {
        if self.bug == Bug::Restless && self.inner.deadline().is_none_or(|deadline| deadline > now) {
            self.extra.extend(self.to.map(|to| Out::Send(to, self.last.clone(), true)));
        }
        self.inner.advance(now);
    }
    fn poll(&mut self, now: Instant, sink: &mut dyn FnMut(Act<'_>)) -> bool {
        if self.extra.is_empty() {
            let mut taken = None;
            let mut passed = false;
            let more = self.inner.poll(now, &mut |act| match act {
                Act::Note(note) => taken = Some(Out::Note(note)),
                Act::Transmit(transmit) => {
                    taken = Some(Out::Send(transmit.to, transmit.bytes.to_vec(), transmit.retransmission));
                }
                other => {
                    passed = true;
                    sink(other);
                }
            });
            let Some(out) = taken else { return more || passed };
            self.extra = self.twist(out);
            self.fired += 1;
        }
        if self.extra.is_empty() {
            return true;
        }
        match self.extra.remove(0) {
            Out::Note(note) => sink(Act::Note(note)),
            Out::Send(to, bytes, again) => sink(Act::Transmit(Transmit {
                ticket: Ticket::NONE,
                to,
                bytes: &bytes,
                retransmission: again,
            })),
        }
        true
    }
    fn deadline(&self) -> Option<Instant> {
        match (self.bug, self.inner.deadline()) {
            (Bug::PastDeadline, Some(_)) if self.fired > 0 => Some(Instant::ZERO),
            (_, deadline) => deadline,
        }
    }
    fn is_idle(&self) -> bool {
        self.inner.is_idle() && self.bug != Bug::Leak
    }
    fn stats(&self) -> Stats {
        let mut stats = self.inner.stats();
        if self.bug == Bug::NoCap {
            stats.client_transactions += 100;
        }
        stats
    }
}

/// Runs a world whose node `node` has a bug, over some seeds, until something is found.
fn found(bug: Bug, node: usize, setup: &Setup) -> Option<&'static str> {
    let wrap = Wrap::new(move |at, inner| if at == node { Box::new(Broken::new(inner, bug)) } else { inner });
    let setup = Setup { wrap: Some(wrap), ..setup.clone() };
    (0..50).find_map(|seed| {
        let Report { violations, .. } = setup.run(Tape::seed(seed));
        violations.first().map(|violation| violation.monitor)
    })
}

fn with(script: Script, faults: Faults) -> Setup {
    Setup { script: Some(script), faults, calls: 2, spread: Duration::from_millis(300), ..Setup::default() }
}

/// Behind a proxy.
fn through(topology: Topology, script: Script) -> Setup {
    Setup { topology, ..with(script, Faults::NONE) }
}

#[test]
fn every_monitor_bites() {
    use Bug::*;
    let quiet = Faults::NONE;
    let lossy = Faults { loss: 4_000, ..quiet };
    let cut = Faults { loss: 10_000, ..quiet };
    let doubled = Faults { duplicate: 5_000, ..quiet };
    let slow = Faults { users: 10_000, ..quiet };
    for (invariant, bug, node, setup) in [
        ("I1", TimeoutIsCompleted, 0, with(Script::Options, cut)),
        ("I2", ProvisionalToOptions, 1, with(Script::Options, quiet)),
        ("I3", CompletedIsTimeout, 0, with(Script::Busy, quiet)),
        ("I4", AckIsMissed, 1, with(Script::Busy, quiet)),
        ("I5", FinalTwice, 0, with(Script::Options, quiet)),
        ("I6", SentTwice, 0, with(Script::Options, quiet)),
        ("I6", CopyDiffers, 0, with(Script::Call, lossy)),
        ("I7", SentAfterEnd, 0, Setup { calls: 1, ..with(Script::Options, quiet) }),
        ("I8", NoAck, 0, with(Script::Busy, quiet)),
        ("I8", OtherAck, 0, with(Script::Busy, quiet)),
        ("I11", RequestTwice, 1, with(Script::Call, quiet)),
        ("I11", CopyIgnored, 1, with(Script::Call, doubled)),
        ("I12", EarlyCancel, 0, with(Script::Call, quiet)),
        ("I12", CancelIgnored, 1, with(Script::Cancelled, quiet)),
        ("I12", CancelRefused, 1, with(Script::Cancelled, quiet)),
        ("I12", CancelTwice, 1, with(Script::Cancelled, quiet)),
        ("I15", Leak, 1, with(Script::Call, quiet)),
        ("I16", PastDeadline, 1, with(Script::Call, quiet)),
        ("I16", Restless, 0, with(Script::Call, Faults { spurious: 5_000, ..quiet })),
        ("I18", Huge, 0, with(Script::Options, quiet)),
        ("I19", AnswersStrays, 0, with(Script::Call, Faults { duplicate: 9_000, ..quiet })),
        ("I20", NoCap, 1, Setup { transactions: 20, ..with(Script::Call, quiet) }),
        ("I21", OtherCallId, 1, with(Script::Call, quiet)),
        ("I22", NoTrying, 1, with(Script::Call, slow)),
        ("I26", BareLf, 0, with(Script::Options, quiet)),
        ("I27", OtherPort, 1, with(Script::Options, quiet)),
        ("I31a", NoHop, 1, through(Topology::Proxy, Script::Call)),
        ("I31a", ViaLeft, 1, through(Topology::Proxy, Script::Call)),
        ("I31b", Kept, 1, through(Topology::Fork, Script::Call)),
        ("I31c", RefusedBehind, 1, through(Topology::Proxy, Script::Call)),
        ("I31c", Unavailable, 1, through(Topology::Fork, Script::Busy)),
        (
            "I31d",
            NoCancel,
            1,
            Setup { transport: Transport::Udp, ..through(Topology::Proxy, Script::Cancelled) },
        ),
    ] {
        assert_eq!(found(bug, node, &setup), Some(invariant), "{bug:?}");
        // Without the bug the same worlds are sound.
        for seed in 0..5 {
            let report = setup.run(Tape::seed(seed));
            assert_eq!(report.violations, [], "{bug:?} {seed}");
        }
    }
}

/// I17: what is not the same each time has another digest.
#[test]
fn a_digest_tells_runs_apart() {
    let setup = with(Script::Call, Faults { loss: 2_000, ..Faults::NONE });
    let sound = setup.run(Tape::seed(1)).digest;
    let wrap = Wrap::new(|_, inner| Box::new(Broken::new(inner, Bug::BareLf)));
    assert_eq!(sound, setup.run(Tape::seed(1)).digest);
    assert_ne!(sound, Setup { wrap: Some(wrap), ..setup }.run(Tape::seed(1)).digest);
}
