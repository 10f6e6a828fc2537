//! `cargo bench -p sip-core`: parse, write, transactions, timers, memory. Prints a table of nanoseconds, allocations and
//! bytes; the median of several runs. Seconds are noisy on a shared machine, allocations and bytes are exact.

use core::hint::black_box;
use sip_core::headers::{Contact, RecordRoute, Route};
use sip_core::message::{Content, Method, Request, Response, Status};
use sip_core::{Config, Endpoint, Event, Instant, Local, Machine, NewRequest, Output, Source, Transport};

const US: &str = "192.0.2.1:5060";
const PEER: &str = "192.0.2.2:5060";

fn main() {
    println!("{:<44}{:>12}{:>14}", "", "ns", "allocations");
    let (invite, fat, ping, ok) = (invite(), fat(), options(0), response());
    for (name, bytes) in [("INVITE", &invite), ("INVITE, 30 headers", &fat), ("OPTIONS", &ping)] {
        row(&format!("parse {name} ({} B)", bytes.len()), 20_000, |_| {
            black_box(Request::parse(black_box(bytes)).expect("sound"));
        });
    }
    row(&format!("parse 200 ({} B)", ok.len()), 20_000, |_| {
        black_box(Response::parse(black_box(&ok)).expect("sound"));
    });
    row("route-ready INVITE", 20_000, |_| route_ready(black_box(&invite)));
    row("route-ready INVITE, 30 headers", 20_000, |_| route_ready(black_box(&fat)));

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

/// Everything that routing needs, typed.
fn route_ready(bytes: &[u8]) {
    let request = Request::parse(bytes).expect("sound");
    black_box((request.uri(), request.via(), request.branch(), request.cseq(), request.max_forwards()));
    black_box((request.from(), request.from_tag(), request.to(), request.to_tag(), request.call_id()));
    for contact in request.all::<Contact<'_>>() {
        black_box(contact.ok().and_then(|contact| contact.address()?.uri().ok()));
    }
    for route in request.all::<Route<'_>>() {
        black_box(route.ok().and_then(|route| route.0.uri().ok()));
    }
    for route in request.all::<RecordRoute<'_>>() {
        black_box(route.ok().and_then(|route| route.0.uri().ok()));
    }
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

fn options(number: u64) -> Vec<u8> {
    format!(
        "OPTIONS sip:us@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{number:012}\r\nMax-Forwards: 70\r\n\
         From: <sip:p@192.0.2.2>;tag={number}\r\nTo: <sip:us@192.0.2.1>\r\nCall-ID: {number}@192.0.2.2\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

const SDP: &str = "v=0\r\no=alice 2890844526 2890844526 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n\
    m=audio 49172 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n";

fn invite() -> Vec<u8> {
    format!(
        "INVITE sip:bob@biloxi.example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK74bf9;rport\r\n\
         Max-Forwards: 70\r\nRoute: <sip:ss1.atlanta.example.com;lr>\r\n\
         From: \"Alice\" <sip:alice@atlanta.example.com>;tag=9fxced76sl\r\nTo: \"Bob\" <sip:bob@biloxi.example.com>\r\n\
         Call-ID: 3848276298220188511@atlanta.example.com\r\nCSeq: 2 INVITE\r\n\
         Contact: <sip:alice@client.atlanta.example.com;transport=udp>\r\nAllow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER\r\n\
         Supported: replaces, timer\r\nUser-Agent: bench/1.0\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    )
    .into_bytes()
}

fn fat() -> Vec<u8> {
    let text = String::from_utf8(invite()).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a body");
    let mut head = head.to_owned();
    for hop in 0..6 {
        head +=
            &format!("\r\nVia: SIP/2.0/UDP proxy{hop}.example.com:5060;branch=z9hG4bK77ef4c2312983.{hop}");
        head += &format!("\r\nRecord-Route: <sip:p{hop}.example.com;lr;transport=udp>");
    }
    for header in [
        "P-Asserted-Identity: <sip:alice@example.com>",
        "Privacy: none",
        "Session-Expires: 1800;refresher=uac",
    ] {
        head += &format!("\r\n{header}\r\nX-{header}");
    }
    format!("{head}\r\n\r\n{body}").into_bytes()
}

fn response() -> Vec<u8> {
    format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK74bf9;rport=5060;received=192.0.2.1\r\n\
         Record-Route: <sip:ss2.biloxi.example.com;lr>\r\nRecord-Route: <sip:ss1.atlanta.example.com;lr>\r\n\
         From: \"Alice\" <sip:alice@atlanta.example.com>;tag=9fxced76sl\r\n\
         To: \"Bob\" <sip:bob@biloxi.example.com>;tag=314159\r\nCall-ID: 3848276298220188511@atlanta.example.com\r\n\
         CSeq: 2 INVITE\r\nContact: <sip:bob@client.biloxi.example.com;transport=udp>\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    )
    .into_bytes()
}
