//! The contract, point 11: no heap allocation in steady state, on the paths that receive, match, repeat and respond.

mod support;

use sip_core::message::{Content, Method, Status};
use sip_core::{Config, Endpoint, Event, Instant, Machine, NewRequest, Output, Source};
use support::{PEER, Rig, US};

/// A request of some 4 KiB with 64 header lines.
fn large(method: &str, branch: u64) -> String {
    with_lines(58, method, branch)
}

/// The same with so many lines that mean nothing.
fn with_lines(lines: usize, method: &str, branch: u64) -> String {
    let mut text = format!(
        "{method} sip:us@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{branch}\r\nFrom: <sip:p@x>;tag=p\r\n\
         To: <sip:us@x>\r\nCall-ID: {branch}\r\nCSeq: 1 {method}\r\n"
    );
    for line in 0..lines {
        text += &format!("X-Header-{line}: {}\r\n", "x".repeat(48));
    }
    text + "Content-Length: 0\r\n\r\n"
}

/// A 200 for a request that was sent, from its bytes.
fn ok(request: &[u8]) -> String {
    support::response(core::str::from_utf8(request).unwrap(), "200 OK", "t", "")
}

fn source() -> Source {
    Source::Datagram { local: US.parse().unwrap(), remote: PEER.parse().unwrap() }
}

struct Cycles {
    endpoint: Endpoint,
    now: Instant,
    next: u64,
}

impl Cycles {
    fn new() -> Self {
        Self { endpoint: Rig::new(Endpoint::new(Config::new([2; 32]))).machine, now: Instant::ZERO, next: 0 }
    }

    fn drain(&mut self) -> usize {
        let mut sent = 0;
        while let Some(output) = self.endpoint.poll() {
            sent += usize::from(matches!(output, Output::Transmit(_)));
        }
        sent
    }

    /// Lets time pass until everything is over.
    fn finish(&mut self) {
        while let Some(deadline) = self.endpoint.deadline() {
            self.now = self.now.max(deadline);
            self.endpoint.advance(self.now);
            self.drain();
        }
        assert!(self.endpoint.is_idle());
    }

    fn request(&mut self, method: &str) -> Vec<u8> {
        self.next += 1;
        large(method, self.next).into_bytes()
    }

    /// Requests that come in, each twice, and are answered.
    fn nist(&mut self, requests: &[Vec<u8>]) {
        for request in requests {
            let Some(Event::Request { txn, .. }) = self.endpoint.datagram(self.now, source(), request) else {
                panic!("no request")
            };
            assert!(self.endpoint.datagram(self.now, source(), request).is_none());
            self.endpoint.respond(self.now, txn, Status::OK, &Content::NONE).unwrap();
            assert!(self.endpoint.datagram(self.now, source(), request).is_none());
            assert_eq!(self.drain(), 2);
        }
        self.finish();
    }

    /// INVITEs that come in, ring, are refused, and never acknowledged.
    fn ist(&mut self, requests: &[Vec<u8>]) {
        for request in requests {
            let Some(Event::Request { txn, .. }) = self.endpoint.datagram(self.now, source(), request) else {
                panic!("no request")
            };
            self.endpoint.respond(self.now, txn, Status::RINGING, &Content::NONE).unwrap();
            self.drain();
            assert!(self.endpoint.datagram(self.now, source(), request).is_none());
            self.endpoint.respond(self.now, txn, Status::BUSY_HERE, &Content::NONE).unwrap();
            self.drain();
        }
        self.finish();
    }
}

fn allocations(mut work: impl FnMut()) -> u64 {
    allocation_counter::measure(&mut work).count_total
}

#[test]
fn point_11_no_allocation_in_steady_state() {
    let mut cycles = Cycles::new();
    let options: Vec<_> = (0..100).map(|_| cycles.request("OPTIONS")).collect();
    let invites: Vec<_> = (0..100).map(|_| cycles.request("INVITE")).collect();
    for _ in 0..3 {
        cycles.nist(&options);
        cycles.ist(&invites);
    }
    assert_eq!(allocations(|| cycles.nist(&options)), 0, "non-INVITE");
    assert_eq!(allocations(|| cycles.ist(&invites)), 0, "INVITE");

    // The planted fault: one copy of a message.
    let copies = allocations(|| {
        let copy = options[0].clone();
        cycles.nist(core::slice::from_ref(&copy));
    });
    assert_eq!(copies, 1, "the counter does not count");
}

/// Repetitions of a client's request, and the responses to it.
#[test]
fn clients_allocate_nothing_once_their_request_is_sent() {
    let mut cycles = Cycles::new();
    let uri = format!("sip:{PEER}");
    let request = NewRequest::new(Method::Invite, &uri, "<sip:a@x>;tag=a", "<sip:b@x>", 1);
    let call_id = NewRequest { call_id: "fixed", ..request };
    let mut worst = 0;
    for round in 0..5 {
        cycles.endpoint.request(cycles.now, &call_id).unwrap();
        let mut response = String::new();
        while let Some(output) = cycles.endpoint.poll() {
            if let Output::Transmit(transmit) = output {
                response = ok(transmit.bytes);
            }
        }
        let count = allocations(|| {
            for _ in 0..3 {
                let deadline = cycles.endpoint.deadline().unwrap();
                cycles.now = deadline;
                cycles.endpoint.advance(deadline);
                assert_eq!(cycles.drain(), 1);
            }
            assert!(matches!(
                cycles.endpoint.datagram(cycles.now, source(), response.as_bytes()),
                Some(Event::Response { .. })
            ));
            cycles.finish();
        });
        if round > 1 {
            worst = worst.max(count);
        }
    }
    assert_eq!(worst, 0);
}

/// Reading a message, walking its fields, answering and editing it, with buffers that have grown once.
#[test]
fn reading_answering_and_editing_allocate_nothing() {
    use sip_core::headers::{Header, RecordRoute, Via};
    use sip_core::message::{Fields, Request, UriOf, Writer};
    let text = large("OPTIONS", 7);
    let (mut answer, mut edited) = (Vec::new(), Vec::new());
    let mut turn = || {
        assert_eq!(Fields::of_message(text.as_bytes()).filter(Result::is_ok).count(), 64);
        let request = Request::parse(text.as_bytes()).unwrap();
        assert_eq!(request.all::<Via<'_>>().count() + request.fields().count(), 65);
        answer.clear();
        Writer::answer(&mut answer, &request, Status::OK, "tag").finish(&Content::NONE);
        edited.clear();
        let mut edit = request.edit(&mut edited);
        edit.stamp_via("192.0.2.9:5060".parse().unwrap()).unwrap();
        edit.pop_via().unwrap();
        edit.push_via(&Via::whole(b"SIP/2.0/UDP p;branch=z9hG4bK1").unwrap()).unwrap();
        edit.set_uri_param(UriOf::Request, "lr", b"").unwrap();
        edit.set_user(UriOf::Request, Some(b"them")).unwrap();
        edit.remove("Subject");
        let _ = edit.push_record_route(&RecordRoute::whole(b"<sip:p;lr>").unwrap());
        assert!(edit.as_bytes().len() > text.len());
    };
    turn();
    let info = allocation_counter::measure(turn);
    // The 65th header line is the one that the index has no room for.
    assert_eq!(info.count_total, 1, "{info:?}");
}

/// Requests and responses through a proxy without state.
#[test]
fn a_stateless_proxy_allocates_nothing() {
    use sip_core::proxy::stateless::{self, Stateless};
    use sip_core::proxy::{Branch, Config};
    let mut rig = Rig::new(Stateless::new(Config::new(sip_core::Config::new([2; 32]))));
    // With the lines of a proxy 64.
    let request = with_lines(54, "INVITE", 1);
    let mut answer = String::new();
    let mut turn = |answer: &mut String| {
        let event = rig.machine.datagram(rig.now, source(), request.as_bytes());
        let Some(stateless::Event::Request { request, source, .. }) = event else { panic!("{event:?}") };
        let place = Branch { routes: &["<sip:192.0.2.9;lr>"], ..Branch::to("sip:b@192.0.2.8") };
        rig.machine.forward(rig.now, source, &request, &place).unwrap();
        match rig.machine.poll() {
            Some(Output::Transmit(sent)) if answer.is_empty() => *answer = ok(sent.bytes),
            sent => assert!(sent.is_some()),
        }
        let event = rig.machine.datagram(rig.now, self::source(), answer.as_bytes());
        assert!(matches!(event, Some(stateless::Event::Response { forwarded: true, .. })));
        assert!(rig.machine.poll().is_some() && rig.machine.poll().is_none());
    };
    turn(&mut answer);
    assert_eq!(allocations(|| turn(&mut answer)), 0);
}
