//! `cargo bench -p sip-core`: parse, write, transactions, timers, memory. Prints a table of nanoseconds, allocations and
//! bytes; the median of several runs. Seconds are noisy on a shared machine, allocations and bytes are exact.

mod cases;

use cases::{Sample, echo, options, respond, route_ready, samples, split};
use core::hint::black_box;
use sip_core::message::{Content, Method, Request, Status};
use sip_core::{Config, Endpoint, Event, Instant, Local, Machine, NewRequest, Output, Source, Transport};

const US: &str = "192.0.2.1:5060";
const PEER: &str = "192.0.2.2:5060";

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

    let mut bench = Bench::new();
    let requests: Vec<_> = (0..4_096).map(options).collect();
    row("nist: OPTIONS, 200, and on to Terminated", 4_096, |at| bench.nist(&requests[at % requests.len()]));
    let mut bench = Bench::new();
    row("ict: INVITE, 180, 200, and on to Terminated", 2_000, |_| bench.ict());

    println!("\n{:<44}{:>12}", "open", "ns a nist cycle");
    for open in [1, 10_000, 100_000] {
        let mut bench = Bench::new();
        for number in 0..open {
            bench.open(1_000_000 + number);
        }
        let fresh: Vec<_> = (0..7 * 4_096).map(options).collect();
        let mut next = fresh.iter();
        let time = median(4_096, |_| bench.cycle(next.next().expect("one for each")));
        println!("{open:<44}{time:>12.0}");
    }

    const OPEN: u64 = 100_000;
    let mut bench = Bench::new();
    let info = allocation_counter::measure(|| {
        for number in 0..OPEN {
            bench.open(number);
        }
    });
    let retained = bench.endpoint.stats().retained_bytes as i64;
    println!(
        "\nbytes a transaction, {OPEN} open: {} in all, {} retained message",
        info.bytes_current / OPEN as i64,
        retained / OPEN as i64
    );
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

struct Bench {
    endpoint: Endpoint,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let mut endpoint = Endpoint::new(Config::new([1; 32]));
        let addr = US.parse().expect("an address");
        endpoint.listen(Instant::ZERO, Local { transport: Transport::Udp, addr, advertised: None });
        Self { endpoint, now: Instant::ZERO }
    }

    fn source() -> Source {
        Source::Datagram { local: US.parse().expect("an address"), remote: PEER.parse().expect("an address") }
    }

    fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll() {
            black_box(&output);
        }
    }

    /// A transaction that stays open.
    fn open(&mut self, number: u64) {
        let request = options(number);
        self.cycle(&request);
    }

    /// A request that is answered; its transaction stays for Timer J.
    fn cycle(&mut self, request: &[u8]) {
        // The same request again, in a later run, has its answer already.
        if let Some(Event::Request { txn, .. }) = self.endpoint.datagram(self.now, Self::source(), request) {
            self.endpoint.respond(self.now, txn, Status::OK, &Content::NONE).expect("a first answer");
        }
        self.drain();
    }

    fn nist(&mut self, request: &[u8]) {
        self.cycle(request);
        self.now += core::time::Duration::from_secs(33);
        self.endpoint.advance(self.now);
        self.drain();
    }

    fn ict(&mut self) {
        let request = NewRequest {
            call_id: "ict@192.0.2.1",
            ..NewRequest::new(
                Method::Invite,
                "sip:bob@192.0.2.2",
                "<sip:alice@192.0.2.1>;tag=a",
                "<sip:bob@192.0.2.2>",
                1,
            )
        };
        self.endpoint.request(self.now, &request).expect("room");
        let mut via = [0_u8; 128];
        let mut length = 0;
        while let Some(output) = self.endpoint.poll() {
            if let Output::Transmit(transmit) = output {
                let line = transmit.bytes.split(|byte| *byte == b'\n').nth(1).expect("a Via");
                length = line.len();
                via[..length].copy_from_slice(line);
            }
        }
        for (status, tag) in [("180 Ringing", ";tag=b"), ("200 OK", ";tag=b")] {
            let mut text = [0_u8; 512];
            let mut rest = &mut text[..];
            use std::io::Write;
            write!(rest, "SIP/2.0 {status}\r\n").expect("room");
            rest.write_all(&via[..length]).expect("room");
            write!(
                rest,
                "\nFrom: <sip:alice@192.0.2.1>;tag=a\r\nTo: <sip:bob@192.0.2.2>{tag}\r\nCall-ID: ict@192.0.2.1\r\n\
                 CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
            )
            .expect("room");
            let left = rest.len();
            let event = self.endpoint.datagram(self.now, Self::source(), &text[..512 - left]);
            assert!(matches!(event, Some(Event::Response { .. })));
        }
        self.now += core::time::Duration::from_secs(33);
        self.endpoint.advance(self.now);
        self.drain();
    }
}
