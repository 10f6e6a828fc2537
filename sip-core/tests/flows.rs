//! What user agents do together: the flows of `tests/flows`, as they stand there, and over bad networks.

use core::time::Duration;
use sip_core::sim::{Faults, Tape, flow};
use std::path::Path;

mod support;

fn flows() -> Vec<(String, flow::Flow)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flows");
    let mut all = Vec::new();
    for (name, bytes) in support::files(&folder, "flow") {
        let found = flow::read(&String::from_utf8(bytes).unwrap());
        let found = found.unwrap_or_else(|failed| panic!("{name}: {failed}"));
        all.extend(found.into_iter().map(|flow| (format!("{name}: {}", flow.title()), flow)));
    }
    all
}

/// Every message and every word to a user, in its order and at its microsecond.
#[test]
fn every_flow_is_as_it_stands() {
    let flows = flows();
    let failures: Vec<_> =
        flows.iter().filter_map(|(name, flow)| Some(format!("{name}: {}", flow.exact().err()?))).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(flows.len() >= 140, "{} flows only", flows.len());
}

/// Loss, copies and messages that overtake each other: whatever comes of a flow, the rules of dialogs hold, both sides end, and nothing is left.
/// In release, where CI runs it too, over many more seeds.
#[test]
fn every_flow_holds_over_bad_networks() {
    let seeds = if cfg!(debug_assertions) { 15 } else { 1_000 };
    for (name, flow) in flows() {
        for seed in 0..seeds {
            let rate = [500, 1_500, 3_000][seed as usize % 3];
            let faults = Faults {
                loss: rate,
                duplicate: rate,
                reorder: rate,
                delay: Duration::from_millis(if seed % 2 == 0 { 50 } else { 1_500 }),
                ..Faults::NONE
            };
            let found = flow.under(faults, Tape::seed(seed));
            assert!(found.is_empty(), "{name}, seed {seed}: {}", found[0]);
        }
    }
}

/// The reader is strict, and so is the comparison.
#[test]
fn what_does_not_hold_is_told_with_its_line() {
    let call = "== a\n0 a > request OPTIONS to=b\n. a -> OPTIONS\n1ms b -> 200 OPTIONS\n2ms a < response 200 OPTIONS\n";
    let told = |text: &str| match flow::read(text) {
        Ok(flows) => flows[0].exact().map_err(|failed| (failed.line, failed.what)),
        Err(failed) => Err((failed.line, failed.what)),
    };
    assert_eq!(told(call), Ok(()));
    for (text, line, what) in [
        (
            call.replace("1ms b", "1.5ms b"),
            4,
            "expected 0.001500 b -> 200 OPTIONS, but 0.001000 b -> 200 OPTIONS",
        ),
        (
            call.replace("2ms a < response 200 OPTIONS\n", ""),
            4,
            "not expected: 0.002000 a < response 200 OPTIONS",
        ),
        (format!("{call}3ms a < more\n"), 6, "expected 0.003000 a < more, but nothing happens any more"),
        (
            call.replace("request OPTIONS", "reqest OPTIONS"),
            2,
            "\"reqest\" is no command; there are invite, ",
        ),
        (call.replace("to=b", "too=b"), 2, "\"too=b\" may not stand behind request"),
        (call.replace("OPTIONS to=b", ""), 2, "1 words must stand behind request"),
        (call.replace("request OPTIONS to=b", "answer foo"), 2, "foo is nothing for answer"),
        (call.replace("a > request", "e > request"), 2, "e is none of a, b, c, d"),
        (call.replace("0 a", "agent a foo=3\n0 a"), 2, "foo=3 is none of timer="),
        (call.replace("0 a", "hold a BYE\n0 a"), 2, "BYE is no time"),
        (
            call.replace("to=b", "to=b ! Gone"),
            3,
            "expected 0.000000 a -> OPTIONS, but 0.000000 a < \"request OPTIONS",
        ),
    ] {
        let (at, found) = told(&text).unwrap_err();
        assert!(at == line && found.starts_with(what), "line {at}: {found}");
    }
}

/// The flow in the documentation is one.
#[test]
fn the_flow_of_the_documentation_holds() {
    let source = include_str!("../src/sim/flow/mod.rs");
    let block = source.split("//! ```text").nth(1).unwrap().split("//! ```").next().unwrap();
    let text: String = block.lines().map(|line| line.trim_start_matches("//!").to_owned() + "\n").collect();
    let flows = flow::read(&text).unwrap();
    assert_eq!((flows.len(), flows[0].exact()), (1, Ok(())));
}
