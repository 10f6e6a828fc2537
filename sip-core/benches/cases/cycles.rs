//! Whole transactions in memory, from the bytes of the request to Terminated, alone and among many others.

use core::hint::black_box;
use core::time::Duration;
use sip_core::message::{Content, Method, Status};
use sip_core::{
    Config, Endpoint, Event, Instant, Limits, Local, Machine, NewRequest, Output, Source, Transport,
};

const US: &str = "192.0.2.1:5060";
const PEER: &str = "192.0.2.2:5060";
/// Timer J, L, M and B: how long most transactions stay.
const LIFE: Duration = Duration::from_secs(32);

/// One kind of transaction.
pub(crate) type Cycle = fn(&mut Cycles);

/// An endpoint, its clock, and the messages of its peer, written over for each new transaction.
pub(crate) struct Cycles {
    pub(crate) endpoint: Endpoint,
    now: Instant,
    number: u64,
    options: Template,
    invite: Template,
    ack: Template,
    responses: Vec<Vec<u8>>,
    source: Source,
}

/// A request in whose branch, tag and Call-ID a number of twelve digits stands.
struct Template {
    bytes: Vec<u8>,
    places: Vec<usize>,
}

const PLACE: &str = "000000000000";

impl Template {
    fn new(method: &str, to: &str) -> Self {
        let bytes = format!(
            "{method} sip:us@192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK{PLACE}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:p@192.0.2.2>;tag={PLACE}\r\nTo: <sip:us@192.0.2.1>{to}\r\n\
             Call-ID: {PLACE}@192.0.2.2\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
        );
        let places = bytes.match_indices(PLACE).map(|(at, _)| at).collect();
        Self { bytes: bytes.into_bytes(), places }
    }

    fn number(&mut self, number: u64) -> &[u8] {
        let mut digits = [b'0'; PLACE.len()];
        let mut rest = number;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        for place in &self.places {
            self.bytes[*place..*place + digits.len()].copy_from_slice(&digits);
        }
        &self.bytes
    }
}

fn answer(endpoint: &mut Endpoint, now: Instant, source: Source, request: &[u8]) {
    let Some(Event::Request { txn, .. }) = endpoint.datagram(now, source, request) else {
        panic!("no request")
    };
    endpoint.respond(now, txn, Status::OK, &Content::NONE).expect("a first answer");
}

impl Cycles {
    pub(crate) fn new() -> Self {
        let many = 2_000_000;
        let limits = Limits { transactions: many, unanswered: many, retained: many << 10, ..Limits::DEFAULT };
        let mut endpoint = Endpoint::new(Config { limits, ..Config::new([1; 32]) });
        let addr = US.parse().expect("an address");
        endpoint.listen(Instant::ZERO, Local { transport: Transport::Udp, addr, advertised: None });
        let mut new = Self {
            endpoint,
            now: Instant::ZERO,
            number: 0,
            options: Template::new("OPTIONS", ""),
            invite: Template::new("INVITE", ""),
            ack: Template::new("ACK", ";tag=x"),
            responses: Vec::new(),
            source: Source::Datagram { local: addr, remote: PEER.parse().expect("an address") },
        };
        // What the peer answers to our INVITEs, but for the branch.
        new.request();
        let mut via = String::new();
        while let Some(output) = new.endpoint.poll() {
            if let Output::Transmit(transmit) = output {
                let text = core::str::from_utf8(transmit.bytes).expect("text");
                via = text.lines().nth(1).expect("a Via").into();
            }
        }
        new.responses = ["180 Ringing", "200 OK"]
            .map(|status| {
                format!(
                    "SIP/2.0 {status}\r\n{via}\r\nFrom: <sip:alice@192.0.2.1>;tag=a\r\nTo: <sip:bob@192.0.2.2>;tag=b\r\n\
                     Call-ID: ict@192.0.2.1\r\nCSeq: 1 INVITE\r\nContact: <sip:bob@192.0.2.2>\r\nContent-Length: 0\r\n\r\n"
                )
                .into_bytes()
            })
            .into();
        new.finish();
        new
    }

    fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll() {
            black_box(&output);
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.endpoint.advance(self.now);
        self.drain();
    }

    fn finish(&mut self) {
        self.pass(LIFE + Duration::from_secs(1));
    }

    fn request(&mut self) {
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
    }

    /// An OPTIONS that is answered with 200; Timer J runs.
    pub(crate) fn nist(&mut self) {
        self.number += 1;
        let bytes = self.options.number(self.number);
        answer(&mut self.endpoint, self.now, self.source, bytes);
        self.drain();
    }

    /// The same from bytes that were made beforehand, to its end, alone.
    pub(crate) fn nist_alone(&mut self, options: &[u8]) {
        answer(&mut self.endpoint, self.now, self.source, options);
        self.drain();
        self.finish();
    }

    /// The last OPTIONS once more.
    pub(crate) fn again(&mut self) {
        let bytes = &self.options.bytes;
        assert!(self.endpoint.datagram(self.now, self.source, bytes).is_none());
        self.drain();
    }

    /// An INVITE that rings: Timers A and B are over, nothing but the guards runs.
    pub(crate) fn ist(&mut self, status: Status) {
        self.number += 1;
        let bytes = self.invite.number(self.number);
        let Some(Event::Request { txn, .. }) = self.endpoint.datagram(self.now, self.source, bytes) else {
            panic!("no request")
        };
        self.endpoint.respond(self.now, txn, Status::RINGING, &Content::NONE).expect("a first answer");
        if !status.is_provisional() {
            self.endpoint.respond(self.now, txn, status, &Content::NONE).expect("a last answer");
        }
        self.drain();
    }

    /// An INVITE that is refused and acknowledged; Timer I runs.
    pub(crate) fn refused(&mut self) {
        self.ist(Status::BUSY_HERE);
        let ack = self.ack.number(self.number);
        assert!(self.endpoint.datagram(self.now, self.source, ack).is_none());
        self.drain();
    }

    /// An INVITE of ours, 180, 200; Timer M runs.
    pub(crate) fn ict(&mut self) {
        self.request();
        let branch = |bytes: &[u8]| memchr::memmem::find(bytes, b"z9hG4bK").expect("a branch");
        while let Some(output) = self.endpoint.poll() {
            if let Output::Transmit(transmit) = output {
                let from = branch(transmit.bytes);
                for response in &mut self.responses {
                    let to = branch(response);
                    response[to..to + 39].copy_from_slice(&transmit.bytes[from..from + 39]);
                }
            }
        }
        for response in &self.responses {
            let event = self.endpoint.datagram(self.now, self.source, response);
            assert!(matches!(event, Some(Event::Response { .. })));
        }
        self.drain();
    }

    /// A transaction to its end, alone.
    pub(crate) fn alone(&mut self, cycle: Cycle) {
        cycle(self);
        self.finish();
    }

    /// Fills the table with transactions of all kinds, their deadlines spread over the life of one: of eight, four are answered
    /// OPTIONS, two INVITEs that ring, one an answered INVITE, and one an INVITE of ours that was answered.
    pub(crate) fn crowd(&mut self, open: u64) {
        for number in 0..open {
            match number % 8 {
                0..4 => self.nist(),
                4 | 5 => self.ist(Status::RINGING),
                6 => self.ist(Status::OK),
                _ => self.ict(),
            }
            self.pass(LIFE / (open as u32).max(1) * 9 / 10);
        }
    }

    /// One OPTIONS more, while time passes at which as many end as come.
    pub(crate) fn among(&mut self, open: u64) {
        self.nist();
        self.pass(LIFE / (open as u32).max(1) / 2);
    }
}
