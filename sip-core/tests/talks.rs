//! User agents that call each other over bad networks.

#[path = "support/around.rs"]
mod around;

use core::time::Duration;
use sip_core::sim::{Act, Faults, Node, Talked, Talks, Tape, Wrap, ladder, shrink, write_choices};
use sip_core::{Destination, Instant, Stats, Ticket, Transmit, Transport};

/// Fails with all that is needed to see why, if a run did not hold.
fn hold(setup: &Talks, talked: &Talked, name: &str) {
    let Some(violation) = talked.violations.first() else { return };
    let fails =
        |tape: Tape| setup.run(tape).violations.iter().any(|found| found.monitor == violation.monitor);
    let choices = shrink(&talked.choices, 1_000, fails);
    let short = Talks { keep_trace: true, ..setup.clone() }.run(Tape::list(&choices));
    panic!(
        "{name}: {violation}\nchoices: {}\n{}\n{:#?}\n{:?}",
        write_choices(&choices),
        ladder(&short.trace, &["0", "1", "2", "3", "4"]),
        short.told,
        short.violations
    );
}

/// RFC 3665 §3.1, without the 180.
#[test]
fn a_talk_without_faults() {
    let talked = Talks { keep_trace: true, ..Talks::default() }.run(Tape::list(&[]));
    hold(&Talks::default(), &talked, "plain");
    let told: Vec<_> = talked.told.iter().map(|(node, text)| format!("{node} {text}")).collect();
    assert_eq!(told.len(), 6, "{told:#?}");
    assert!(talked.trace.packets().iter().all(|packet| !packet.again));
}

/// Glare of every kind inside calls, with and without faults; in release, where CI runs it too, over many more seeds.
#[test]
fn talks_of_all_seeds_hold() {
    let seeds = if cfg!(debug_assertions) { 200 } else { 10_000 };
    for transport in [Transport::Udp, Transport::Tcp] {
        for seed in 0..seeds {
            let mut tape = Tape::seed(seed);
            let faults = if seed % 3 == 0 { Faults::NONE } else { Faults::swarm(&mut tape) };
            // Every other one goes through a proxy, to two or three at once.
            let forks = [0, 2, 0, 3][seed as usize % 4];
            let setup = Talks { transport, faults, calls: 2, forks, moody: true, ..Talks::default() };
            let talked = setup.run(tape);
            hold(&setup, &talked, &format!("{transport:?}-{seed}"));
            assert!(talked.time < Duration::from_secs(86_400));
        }
    }
}

/// What a node sends in place of a message.
type Change = fn(&str) -> Vec<String>;

/// A node that sends something else than its machine wants.
struct Meddler {
    inner: Box<dyn Node>,
    change: Change,
    waiting: Vec<(Destination, Ticket, String)>,
}

impl Node for Meddler {
    around::gives_on!(inner);
    fn advance(&mut self, now: Instant) {
        self.inner.advance(now);
    }
    fn poll(&mut self, now: Instant, sink: &mut dyn FnMut(Act<'_>)) -> bool {
        let (waiting, change) = (&mut self.waiting, self.change);
        if waiting.is_empty() {
            return self.inner.poll(now, &mut |act| match act {
                Act::Transmit(transmit) => {
                    let sent = change(core::str::from_utf8(transmit.bytes).unwrap());
                    waiting.extend(sent.into_iter().map(|text| (transmit.to, transmit.ticket, text)));
                }
                other => sink(other),
            });
        }
        let (to, ticket, text) = waiting.remove(0);
        sink(Act::Transmit(Transmit { to, ticket, retransmission: false, bytes: text.as_bytes() }));
        true
    }
    fn deadline(&self) -> Option<Instant> {
        self.inner.deadline()
    }
    fn is_idle(&self) -> bool {
        self.inner.is_idle()
    }
    fn stats(&self) -> Stats {
        self.inner.stats()
    }
}

/// A machine with one deliberate fault around a sound one is caught by the invariant that is for it.
#[test]
fn every_monitor_of_dialogs_bites() {
    fn is(text: &str, start: &str) -> bool {
        text.starts_with(start)
    }
    fn again(text: &str) -> String {
        text.replacen("branch=z9hG4bK", "branch=z9hG4bKx", 1)
    }
    let faults: [(&str, usize, Change); 7] = [
        ("I9", 0, |text| {
            let number = if is(text, "ACK") { "CSeq: 7 " } else { "CSeq: 1 " };
            vec![text.replace("CSeq: 1 ", number)]
        }),
        ("I9", 0, |text| {
            let more = is(text, "ACK").then(|| again(text));
            [text.to_owned()].into_iter().chain(more).collect()
        }),
        ("I10", 1, |text| {
            vec![text.to_owned(); if text.contains("1 INVITE") && is(text, "SIP/2.0 200") { 12 } else { 1 }]
        }),
        ("I23", 0, |text| if is(text, "ACK") { Vec::new() } else { vec![text.to_owned()] }),
        ("I13", 0, |text| {
            vec![if is(text, "BYE") { text.replace("2 BYE", "1 BYE") } else { text.to_owned() }]
        }),
        ("I24", 0, |text| {
            let more = is(text, "BYE").then(|| again(text).replace("2 BYE", "3 BYE"));
            [text.to_owned()].into_iter().chain(more).collect()
        }),
        ("I24", 0, |text| {
            let more =
                is(text, "BYE").then(|| again(text).replace("2 BYE", "3 INFO").replace("BYE ", "INFO "));
            [text.to_owned()].into_iter().chain(more).collect()
        }),
    ];
    for (monitor, broken, change) in faults {
        let wrap = Wrap::new(move |node, inner| {
            if node == broken { Box::new(Meddler { inner, change, waiting: Vec::new() }) } else { inner }
        });
        let talked = Talks { wrap: Some(wrap), ..Talks::default() }.run(Tape::list(&[]));
        assert_eq!(
            talked.violations.first().map(|found| found.monitor),
            Some(monitor),
            "{:?}",
            talked.violations
        );
    }
}
