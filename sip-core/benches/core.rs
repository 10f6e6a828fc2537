//! `cargo bench -p sip-core`: parse, write, transactions, timers, memory. Prints a table of nanoseconds, allocations and
//! bytes; the median of several runs. Seconds are noisy on a shared machine, allocations and bytes are exact.

mod cases;

use cases::calls::Calls;
use cases::cycles::{Cycle, Cycles};
use cases::relays::{self, Relays};
use cases::{Sample, echo, respond, route_ready, samples, split};
use core::hint::black_box;
use sip_core::Machine;
use sip_core::message::Request;

fn main() {
    println!("{:<44}{:>12}{:>14}", "", "ns", "allocations");
    for Sample { name, bytes } in samples() {
        row(&format!("split {name} ({} B)", bytes.len()), 20_000, |_| {
            black_box(split(black_box(&bytes)));
        });
        row(&format!("route-ready {name}"), 20_000, |_| route_ready(black_box(&bytes)));
        if let Ok(request) = Request::parse(&bytes) {
            let mut out = Vec::with_capacity(8_192);
            row(&format!("200 to {name}"), 20_000, |_| respond(black_box(&request), &mut out));
            row(&format!("echo {name}"), 20_000, |_| echo(black_box(&request), &mut out));
        }
    }

    let cycles: [(&str, Cycle); 4] = [
        ("nist: OPTIONS, 200, Terminated", Cycles::nist),
        ("ict: INVITE, 180, 200, Terminated", Cycles::ict),
        ("ist: INVITE, 180, 486, ACK, Terminated", Cycles::refused),
        ("OPTIONS again, byte for byte", Cycles::again),
    ];
    let mut bench = Cycles::new();
    for (name, cycle) in cycles {
        if name.contains("again") {
            bench.nist();
            row(name, 2_000, |_| bench.again());
        } else {
            row(name, 2_000, |_| bench.alone(cycle));
        }
    }

    println!(
        "\n{:<44}{:>12}{:>14}{:>14}{:>16}",
        "open", "ns a cycle", "allocations", "bytes each", "of them sent"
    );
    for open in [1, 10_000, 100_000, 1_000_000] {
        let mut bench = Cycles::new();
        let empty = bench.endpoint.stats().retained_bytes;
        let info = allocation_counter::measure(|| bench.crowd(open));
        let retained = bench.endpoint.stats().retained_bytes - empty;
        for _ in 0..4_096 {
            bench.among(open);
        }
        let allocations =
            allocation_counter::measure(|| (0..100).for_each(|_| bench.among(open))).count_total / 100;
        let time = median(4_096, |_| bench.among(open));
        let each = |bytes: u64| bytes / open;
        println!(
            "{open:<44}{time:>12.0}{allocations:>14}{:>14}{:>16}",
            each(info.bytes_current as u64),
            each(retained as u64)
        );
    }
    relays();
    calls();
}

/// What goes through a proxy, among so many calls that ring.
fn relays() {
    println!();
    let (mut stateless, options) = (Relays::stateless(), relays::options());
    row("stateless proxy: OPTIONS and 200", 5_000, |_| stateless.turn(&options));
    println!(
        "\n{:<44}{:>12}{:>14}{:>14}",
        "calls that ring at a proxy", "ns a call", "allocations", "bytes each"
    );
    for ringing in [10_u64, 10_000, 100_000] {
        let mut bench = Relays::stateful();
        let info = allocation_counter::measure(|| (0..ringing).for_each(|_| bench.ring()));
        let each = (info.bytes_current as u64).checked_div(ringing).unwrap_or_default();
        for _ in 0..4_096 {
            bench.call();
        }
        let allocations =
            allocation_counter::measure(|| (0..100).for_each(|_| bench.call())).count_total / 100;
        let time = median(4_096, |_| bench.call());
        println!("{ringing:<44}{time:>12.0}{allocations:>14}{each:>14}");
    }
}

/// Whole calls between two user agents, among so many that are up.
fn calls() {
    println!("\n{:<44}{:>12}{:>14}{:>14}", "calls up", "ns a call", "allocations", "bytes a side");
    for up in [0_u64, 10_000, 100_000, 1_000_000] {
        let mut bench = Calls::new();
        let info = allocation_counter::measure(|| {
            for at in 1..=up {
                bench.begin();
                if at % 10_000 == 0 {
                    bench.settle();
                }
            }
        });
        // What is kept for the calls alone, with no transaction left.
        let each = (info.bytes_current as u64).checked_div(up * 2).unwrap_or_default();
        for _ in 0..10_000 {
            bench.whole();
        }
        let allocations =
            allocation_counter::measure(|| (0..100).for_each(|_| bench.whole())).count_total / 100;
        let time = median(5_000, |_| bench.whole());
        println!("{up:<44}{time:>12.0}{allocations:>14}{each:>14}");
    }
}

fn row(name: &str, runs: usize, mut work: impl FnMut(usize)) {
    // Warm: pools filled, tables grown.
    for at in 0..runs {
        work(at);
    }
    let allocations = allocation_counter::measure(|| {
        for at in 0..100 {
            work(at);
        }
    });
    let time = median(runs, work);
    println!("{name:<44}{time:>12.0}{:>14}", allocations.count_total / 100);
}

/// Nanoseconds of one piece of work, the median of seven times `runs`.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn median(runs: usize, mut work: impl FnMut(usize)) -> f64 {
    let mut times: Vec<f64> = (0..7)
        .map(|_| {
            let start = std::time::Instant::now();
            for at in 0..runs {
                work(at);
            }
            start.elapsed().as_nanos() as f64 / runs as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
