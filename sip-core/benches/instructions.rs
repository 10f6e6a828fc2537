//! `cargo bench -p sip-core --bench instructions [-- --save]`: instructions of the main cases, counted by valgrind, so that
//! they are the same on a busy machine. They are held against `instructions.tsv`; `--save` writes that file.
//!
//! Hostile shapes of growing size must cost at most three times as much a byte as the carrier's INVITE.

mod cases;

use cases::calls::Calls;
use cases::cycles::{Cycle, Cycles};
use cases::relays::{self, Relays};
use cases::{Sample, echo, respond, route_ready, samples, split};
use core::hint::black_box;
use sip_core::message::Request;
use std::collections::BTreeMap;
use std::process::{Command, ExitCode};

/// How far a case may be above its baseline: in parts of it, and in instructions, because the C library copies bytes otherwise on
/// another processor.
const TOLERANCE: f64 = 1.04;
const SLACK: f64 = 100.0;
/// How much more a byte of a hostile shape may cost than one of the carrier's INVITE.
const WORST: f64 = 3.0;
const RUNS: u64 = 200;

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let bench = args.iter().any(|arg| arg == "--bench");
    args.retain(|arg| arg != "--bench");
    if let [name, runs] = args.as_slice() {
        let (_, work) = cases().into_iter().find(|(found, _)| found == name).expect("a case");
        (0..runs.parse().expect("a number")).for_each(|_| work());
        return ExitCode::SUCCESS;
    }
    if !bench {
        println!("instructions are counted in a release build: cargo bench -p sip-core --bench instructions");
        return ExitCode::SUCCESS;
    }
    let counts: BTreeMap<String, u64> =
        cases().into_iter().map(|(name, _)| (name.clone(), instructions(&name))).collect();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.tsv");
    if args == ["--save"] {
        let rows: String = counts.iter().map(|(name, count)| format!("{name}\t{count}\n")).collect();
        std::fs::write(file, format!("case\tinstructions\n{rows}")).expect("the file can be written");
    }
    let text = std::fs::read_to_string(file).expect("a baseline: make it with --save");
    let baseline: BTreeMap<&str, u64> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, count)| (name, count.parse().expect("a number")))
        .collect();
    let mut sound = true;
    println!("{:<44}{:>14}{:>14}", "", "instructions", "baseline");
    for (name, count) in &counts {
        let known = baseline.get(name.as_str()).copied();
        let held = known.is_some_and(|known| *count as f64 <= known as f64 * TOLERANCE + SLACK);
        let known = known.map_or("none".into(), |known| known.to_string());
        println!("{name:<44}{count:>14}{known:>14}{}", if held { "" } else { "   MORE" });
        sound &= held;
    }
    let fat = samples().pop().map_or(0, |sample| sample.bytes.len()) as f64;
    let unit = counts["route-ready fat INVITE"] as f64 / fat;
    println!("\n{:<44}{:>14}{:>14}", "", "a byte", "of the fat one");
    for (shape, bytes) in shapes() {
        let each = counts[&shape] as f64 / bytes.len() as f64;
        println!("{shape:<44}{each:>14.2}{:>14.2}", each / unit);
        sound &= each <= unit * WORST;
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Every case by its name.
fn cases() -> Vec<(String, Box<dyn Fn()>)> {
    let mut cases: Vec<(String, Box<dyn Fn()>)> = Vec::new();
    for Sample { name, bytes } in samples() {
        let message = bytes.clone();
        cases.push((
            format!("split {name}"),
            Box::new(move || {
                black_box(split(black_box(&message)));
            }),
        ));
        let message = bytes.clone();
        cases.push((format!("route-ready {name}"), Box::new(move || route_ready(black_box(&message)))));
        if !bytes.starts_with(b"SIP/") {
            let request = Request::parse(&bytes).expect("sound").into_owned();
            let again = request.clone();
            let out = core::cell::RefCell::new(Vec::with_capacity(8_192));
            cases
                .push((format!("200 to {name}"), Box::new(move || respond(&request, &mut out.borrow_mut()))));
            let out = core::cell::RefCell::new(Vec::with_capacity(8_192));
            cases.push((format!("echo {name}"), Box::new(move || echo(&again, &mut out.borrow_mut()))));
        }
    }
    let cycles: [(&str, Cycle); 3] =
        [("nist", Cycles::nist), ("ict", Cycles::ict), ("ist, refused", Cycles::refused)];
    for (name, cycle) in cycles {
        let bench = core::cell::RefCell::new(None);
        let work = move || bench.borrow_mut().get_or_insert_with(Cycles::new).alone(cycle);
        cases.push((format!("cycle {name}"), Box::new(work)));
    }
    let bench = core::cell::RefCell::new(None);
    let call = move || bench.borrow_mut().get_or_insert_with(Calls::new).alone();
    cases.push(("call, both sides".into(), Box::new(call)));
    let bench = core::cell::RefCell::new(None);
    let call = move || bench.borrow_mut().get_or_insert_with(Relays::stateful).call();
    cases.push(("call through a proxy".into(), Box::new(call)));
    let bench = core::cell::RefCell::new(None);
    let options = relays::options();
    let turn = move || bench.borrow_mut().get_or_insert_with(Relays::stateless).turn(&options);
    cases.push(("stateless proxy, OPTIONS and 200".into(), Box::new(turn)));
    let bench = core::cell::RefCell::new(None);
    cases.push((
        "OPTIONS again".into(),
        Box::new(move || {
            let first = || {
                let mut bench = Cycles::new();
                bench.nist();
                bench
            };
            bench.borrow_mut().get_or_insert_with(first).again();
        }),
    ));
    for (name, bytes) in shapes() {
        cases.push((name, Box::new(move || cases::walk(black_box(&bytes)))));
    }
    cases
}

/// Hostile shapes, each in three sizes.
fn shapes() -> Vec<(String, Vec<u8>)> {
    let sizes = [4 << 10, 16 << 10, 60 << 10];
    let shape = |name: &'static str, make: fn(usize) -> Vec<u8>| {
        sizes.map(|size| (format!("hostile {name}, {} KiB", size >> 10), make(size)))
    };
    cases::HOSTILE.iter().flat_map(|(name, make)| shape(name, *make)).collect()
}

/// Instructions of one turn: what twice as many turns cost more, so that setting up does not count.
fn instructions(name: &str) -> u64 {
    let runs = if name.starts_with("hostile") { 4 } else { RUNS };
    let count = |runs: u64| {
        let output = Command::new("valgrind")
            .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
            .arg(std::env::current_exe().expect("a path"))
            .args([name, &runs.to_string()])
            .output()
            .expect("valgrind is installed: apt-get install valgrind");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = text.lines().find(|line| line.contains("I   refs:") || line.contains("I refs:"));
        let digits: String = line
            .unwrap_or_else(|| panic!("{name}: {text}"))
            .rsplit(':')
            .next()
            .into_iter()
            .flat_map(str::chars)
            .filter(char::is_ascii_digit)
            .collect();
        digits.parse::<u64>().expect("a number")
    };
    (count(2 * runs).saturating_sub(count(runs))) / runs
}
