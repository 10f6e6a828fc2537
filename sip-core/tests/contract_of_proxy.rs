//! The contract again, held against a [`Proxy`]: forks, refusals, races, and users who forget.

mod support;

use core::time::Duration;
use proptest::prelude::*;
use sip_core::message::{Content, Status};
use sip_core::proxy::{Branch, Command, Config, Proxy};
use sip_core::{BranchId, ContextId, Instant, Local, Machine, Output, Source, Transport};
use support::{PEER, US};

#[derive(Clone, Debug)]
enum Op {
    Request { kind: u8, call: u8, routed: bool },
    Reply { which: u8, status: u8 },
    Command { kind: u8, slot: u8, generation: u8 },
    Advance { millis: u32 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (any::<u8>(), 0..4_u8, any::<bool>()).prop_map(|(kind, call, routed)| Op::Request { kind, call, routed }),
        6 => (any::<u8>(), any::<u8>()).prop_map(|(which, status)| Op::Reply { which, status }),
        6 => (any::<u8>(), 0..6_u8, 0..2_u8).prop_map(|(kind, slot, generation)| Op::Command { kind, slot, generation }),
        4 => prop_oneof![1..700_u32, 500..70_000_u32].prop_map(|millis| Op::Advance { millis }),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..60)
}

#[derive(Clone, Debug)]
enum Step {
    Datagram(String),
    Advance,
    Command { kind: u8, handle: u64 },
}

fn proxy() -> Proxy {
    let config = Config {
        record_route: true,
        ask: true,
        domains: vec!["example.com".into()],
        ..Config::new(sip_core::Config::new([6; 32]))
    };
    let mut proxy = Proxy::new(config);
    let addr = US.parse().unwrap();
    proxy.listen(Instant::ZERO, Local { transport: Transport::Udp, addr, advertised: None });
    proxy
}

struct Driven {
    proxy: Proxy,
    returned: Vec<String>,
    outputs: Vec<String>,
    /// What went out.
    sent: Vec<String>,
}

impl Driven {
    fn new() -> Self {
        Self { proxy: proxy(), returned: Vec::new(), outputs: Vec::new(), sent: Vec::new() }
    }

    fn take(&mut self, now: Instant, step: &Step) {
        let event = match step {
            Step::Datagram(data) => {
                let from = Source::Datagram { local: US.parse().unwrap(), remote: PEER.parse().unwrap() };
                self.proxy.datagram(now, from, data.as_bytes()).map(|event| format!("{event:?}"))
            }
            Step::Advance => {
                self.proxy.advance(now);
                None
            }
            Step::Command { kind, handle } => {
                let context = ContextId::from_bits(*handle);
                let there = Branch::to("sip:b@192.0.2.7");
                let later = Branch { q: 500, ..Branch::to("sip:c@192.0.2.8") };
                let nowhere = Branch::to("sip:d@192.0.2.9;transport=tls");
                let command = match kind % 12 {
                    0 | 1 => Command::Relay(context, &[there]),
                    2 => Command::Relay(context, &[there, Branch { q: 1_000, ..later }]),
                    3 | 4 => Command::Relay(context, &[later, there, nowhere]),
                    5 => Command::Relay(context, &[Branch::AS_IT_IS]),
                    6 => Command::Relay(context, &[nowhere]),
                    7 => Command::ForwardBest(context),
                    8 => Command::Respond(context, Status::BUSY_HERE, Content::NONE),
                    9 => Command::Respond(context, Status::OK, Content::NONE),
                    10 => Command::Cancel(context),
                    _ => Command::CancelBranch(BranchId::from_bits(*handle)),
                };
                Some(format!("{:?}", self.proxy.command(now, command)))
            }
        };
        self.returned.extend(event);
    }

    fn drain(&mut self, most: usize) -> usize {
        for drained in 0..most {
            let Some(output) = self.proxy.poll() else { return drained };
            self.outputs.push(match &output {
                Output::Transmit(transmit) => {
                    let text = String::from_utf8_lossy(transmit.bytes).into_owned();
                    self.sent.push(text.clone());
                    format!("{:?} {text}", transmit.to)
                }
                other => format!("{other:?}"),
            });
        }
        most
    }
}

/// A response with all Vias of a request.
fn reply(request: &str, status: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for line in request.lines().take_while(|line| !line.is_empty()) {
        let name = line.split(':').next().unwrap_or_default();
        let tag = if name == "To" && !line.contains(";tag=") { ";tag=t" } else { "" };
        if ["Via", "From", "To", "Call-ID", "CSeq", "Record-Route"].contains(&name) {
            text += &format!("{line}{tag}\r\n");
        }
    }
    text + "Content-Length: 0\r\n\r\n"
}

/// What an operation comes to, by what was sent up to now; it may move the time.
fn step(op: &Op, driven: &Driven, now: &mut Instant) -> Option<Step> {
    match op {
        Op::Request { kind, call, routed } => {
            let method = ["INVITE", "INVITE", "INVITE", "CANCEL", "ACK", "OPTIONS", "BYE", "FOO"]
                [usize::from(kind % 8)];
            let branch = if matches!(method, "INVITE" | "CANCEL") { "i".into() } else { format!("{kind}") };
            let uri = if *routed { "sip:b@192.0.2.7" } else { "sip:bob@example.com" };
            Some(Step::Datagram(format!(
                "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{call}{branch};rport\r\nMax-Forwards: {}\r\n\
                 From: <sip:a@x>;tag=a\r\nTo: <{uri}>\r\nCall-ID: {call}\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n",
                kind % 70
            )))
        }
        Op::Command { kind, slot, generation } => {
            Some(Step::Command { kind: *kind, handle: u64::from(*generation) << 32 | u64::from(*slot) })
        }
        Op::Advance { millis } => {
            *now += Duration::from_millis(u64::from(*millis));
            Some(Step::Advance)
        }
        Op::Reply { which, status } => {
            let requests: Vec<_> = driven.sent.iter().filter(|text| !text.starts_with("SIP/2.0")).collect();
            let status = [
                "100 Trying",
                "180 Ringing",
                "200 OK",
                "404 Not Found",
                "486 Busy",
                "503 No",
                "603 Decline",
                "401 Who",
            ][usize::from(status % 8)];
            let request = requests.get(usize::from(*which) % requests.len().max(1))?;
            Some(Step::Datagram(reply(request, status)))
        }
    }
}

proptest! {
    /// Points 2 and 5: the same inputs give the same outputs, whenever they are drained.
    #[test]
    fn the_same_inputs_give_the_same_outputs(ops in ops(), most in 0..4_usize) {
        let (mut first, mut second) = (Driven::new(), Driven::new());
        let mut now = Instant::ZERO;
        for op in &ops {
            let Some(step) = step(op, &first, &mut now) else { continue };
            first.take(now, &step);
            first.drain(usize::MAX);
            second.take(now, &step);
            second.drain(most);
        }
        second.drain(usize::MAX);
        prop_assert_eq!(first.returned, second.returned);
        prop_assert_eq!(first.outputs, second.outputs);
    }

    /// Points 3 and 4: drained, the deadline lies ahead; while something is pending, it is due.
    #[test]
    fn the_deadline_is_honest(ops in ops()) {
        let mut driven = Driven::new();
        let mut now = Instant::ZERO;
        for op in &ops {
            let Some(step) = step(op, &driven, &mut now) else { continue };
            driven.take(now, &step);
            while driven.proxy.deadline().is_some_and(|deadline| deadline <= now) {
                prop_assert!(driven.drain(1) == 1 || driven.proxy.deadline().is_none_or(|deadline| deadline > now));
            }
            prop_assert_eq!(driven.drain(1), 0);
        }
    }

    /// Point 10: whatever its user does, or does not, everything ends, each context is told of once, and no byte is left.
    #[test]
    fn everything_ends(ops in ops()) {
        let mut driven = Driven::new();
        let mut now = Instant::ZERO;
        for op in &ops {
            let Some(step) = step(op, &driven, &mut now) else { continue };
            driven.take(now, &step);
            driven.drain(usize::MAX);
        }
        let mut steps = 0;
        while let Some(deadline) = driven.proxy.deadline() {
            driven.proxy.advance(deadline);
            driven.drain(usize::MAX);
            steps += 1;
            prop_assert!(steps < 10_000, "it never ends");
        }
        let stats = driven.proxy.stats();
        prop_assert!(driven.proxy.is_idle() && stats.retained_bytes == 0, "{stats:?}");
        prop_assert_eq!(driven.proxy.contexts().count(), 0);
        let begun = driven.returned.iter().filter(|event| event.starts_with("Request")).count();
        let ended = driven.outputs.iter().filter(|output| output.starts_with("Event(Ended")).count();
        prop_assert_eq!(begun, ended);
    }
}
