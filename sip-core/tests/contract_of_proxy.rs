//! The contract again, held against a [`Proxy`]: forks, refusals, races, and users who forget.

mod support;

use core::time::Duration;
use proptest::prelude::*;
use sip_core::message::{Content, Status};
use sip_core::proxy::{Branch, Command, Config, Part, Proxy};
use sip_core::{BranchId, ContextId, Instant, Machine};
use support::driven::{Driven, Step};
use support::{PEER, response};

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

fn driven() -> Driven<Proxy> {
    let config = Config {
        record_route: true,
        ask: true,
        domains: vec!["example.com".into()],
        ..Config::new(sip_core::Config::new([6; 32]))
    };
    Driven::new(Proxy::new(config), give)
}

fn give(proxy: &mut Proxy, now: Instant, kind: u8, handle: u64) -> String {
    let context = ContextId::from_bits(handle);
    let there = Branch::to("sip:b@192.0.2.7");
    let later = Branch { q: 500, ..Branch::to("sip:c@192.0.2.8") };
    let nowhere = Branch::to("sip:d@192.0.2.9;transport=tls");
    let command = match kind % 12 {
        0 | 1 => Command::Relay(context, &[there]),
        2 => Command::Relay(context, &[there, Branch { q: 1_000, part: Part::Minor, ..later }]),
        3 | 4 => Command::Relay(context, &[later, there, nowhere]),
        5 => Command::Relay(context, &[Branch::AS_IT_IS]),
        6 => Command::Relay(context, &[nowhere, Branch { part: Part::Copy, ..there }]),
        7 => Command::ForwardBest(context),
        8 => Command::Respond(context, Status::BUSY_HERE, Content::NONE),
        9 => Command::Respond(context, Status::OK, Content::NONE),
        10 => Command::Cancel(context, ""),
        _ => Command::CancelBranch(BranchId::from_bits(handle), "Q.850;cause=16"),
    };
    format!("{:?}", proxy.command(now, command))
}

/// What an operation comes to, by what was sent up to now; it may move the time.
fn step(op: &Op, driven: &Driven<Proxy>, now: &mut Instant) -> Option<Step> {
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
            ).into_bytes()))
        }
        Op::Command { kind, slot, generation } => {
            Some(Step::Command { kind: *kind, handle: u64::from(*generation) << 32 | u64::from(*slot) })
        }
        Op::Advance { millis } => {
            *now += Duration::from_millis(u64::from(*millis));
            Some(Step::Advance)
        }
        Op::Reply { which, status } => {
            let requests = driven.requests();
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
            Some(Step::Datagram(response(request, status, "t", "").into_bytes()))
        }
    }
}

proptest! {
    /// Points 2 and 5: the same inputs give the same outputs, whenever they are drained.
    #[test]
    fn the_same_inputs_give_the_same_outputs(ops in ops(), most in 0..4_usize) {
        let (mut first, mut second) = (driven(), driven());
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
        let mut driven = driven();
        let mut now = Instant::ZERO;
        for op in &ops {
            let Some(step) = step(op, &driven, &mut now) else { continue };
            driven.take(now, &step);
            while driven.machine.deadline().is_some_and(|deadline| deadline <= now) {
                prop_assert!(driven.drain(1) == 1 || driven.machine.deadline().is_none_or(|deadline| deadline > now));
            }
            prop_assert_eq!(driven.drain(1), 0);
        }
    }

    /// Point 10: whatever its user does, or does not, everything ends, each context is told of once, and no byte is left.
    #[test]
    fn everything_ends(ops in ops()) {
        let mut driven = driven();
        let mut now = Instant::ZERO;
        for op in &ops {
            let Some(step) = step(op, &driven, &mut now) else { continue };
            driven.take(now, &step);
            driven.drain(usize::MAX);
        }
        let mut steps = 0;
        while let Some(deadline) = driven.machine.deadline() {
            driven.machine.advance(deadline);
            driven.drain(usize::MAX);
            steps += 1;
            prop_assert!(steps < 10_000, "it never ends");
        }
        let stats = driven.machine.stats();
        prop_assert!(driven.machine.is_idle() && stats.retained_bytes == 0, "{stats:?}");
        prop_assert_eq!(driven.machine.contexts().count(), 0);
        let begun = driven.returned.iter().filter(|event| event.starts_with("Request")).count();
        let ended = driven.outputs.iter().filter(|output| output.starts_with("Event(Ended")).count();
        prop_assert_eq!(begun, ended);
    }
}
