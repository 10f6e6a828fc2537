//! Proxies in memory, between a caller and a callee that answer from templates.

use core::time::Duration;
use sip_core::message::{Content, Request, Status, Writer};
use sip_core::proxy::stateless::{self, Stateless};
use sip_core::proxy::{Branch, Config, Event, Proxy};
use sip_core::{Instant, Limits, Local, Machine, Output, Source, Transport};

const US: &str = "192.0.2.1:5060";
const CALLER: &str = "192.0.2.2:5060";
const CALLEE: &str = "192.0.2.3:5060";
const PLACE: &str = "000000000000";

/// A proxy, its clock, and the messages of its neighbours.
pub(crate) struct Relays<M> {
    pub(crate) proxy: M,
    now: Instant,
    number: u64,
    caller: Source,
    callee: Source,
    /// What went out last that was a request, and the answer to it.
    sent: Vec<u8>,
    answer: Vec<u8>,
}

fn request(method: &str, uri: &str, number: u64, to: &str) -> Vec<u8> {
    let text = format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK{method}{PLACE};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:p@192.0.2.2>;tag={PLACE}\r\nTo: <sip:user@192.0.2.1>{to}\r\n\
         Call-ID: {PLACE}@192.0.2.2\r\nCSeq: 1 {method}\r\nContact: <sip:p@{CALLER}>\r\nContent-Length: 0\r\n\r\n"
    );
    text.replace(PLACE, &format!("{number:012}")).into_bytes()
}

impl<M: Machine> Relays<M> {
    fn of(mut proxy: M) -> Self {
        let addr = US.parse().expect("an address");
        proxy.listen(Instant::ZERO, Local { transport: Transport::Udp, addr, advertised: None });
        let source =
            |remote: &str| Source::Datagram { local: addr, remote: remote.parse().expect("an address") };
        Self {
            proxy,
            now: Instant::ZERO,
            number: 0,
            caller: source(CALLER),
            callee: source(CALLEE),
            sent: Vec::new(),
            answer: Vec::new(),
        }
    }

    /// What goes out; how much.
    fn drain(&mut self) -> usize {
        let mut count = 0;
        while let Some(output) = self.proxy.poll() {
            if let Output::Transmit(transmit) = output {
                count += 1;
                if !transmit.bytes.starts_with(b"SIP/2.0 ") {
                    self.sent.clear();
                    self.sent.extend_from_slice(transmit.bytes);
                }
            }
        }
        count
    }

    /// The callee answers what went out last.
    fn answered(&mut self, status: Status) {
        let sent = Request::parse(&self.sent).expect("a request");
        self.answer.clear();
        Writer::answer(&mut self.answer, &sent, status, "b").finish(&Content::NONE);
        let _ = self.proxy.datagram(self.now, self.callee, &self.answer);
        assert!(self.drain() > 0, "nothing went back");
    }

    /// Lets all transactions end.
    pub(crate) fn settle(&mut self) {
        self.now += Duration::from_secs(40);
        self.proxy.advance(self.now);
        self.drain();
    }
}

impl Relays<Proxy> {
    pub(crate) fn stateful() -> Self {
        let many = 4_000_000;
        let limits = Limits { transactions: many, unanswered: many, retained: many << 11, ..Limits::DEFAULT };
        Self::of(Proxy::new(Config::new(sip_core::Config { limits, ..sip_core::Config::new([1; 32]) })))
    }

    fn relayed(&mut self, request: &[u8]) {
        if let Some(Event::Request { context, .. }) = self.proxy.datagram(self.now, self.caller, request) {
            let to = Branch::to("sip:user@192.0.2.3");
            self.proxy.relay(self.now, context, &[to]).expect("it is relayed");
        }
        assert!(self.drain() > 0, "nothing went on");
    }

    /// INVITE, 180, 200, ACK, BYE, 200 through the proxy, which leaves the transactions that wait for copies.
    pub(crate) fn call(&mut self) {
        self.number += 1;
        self.now += Duration::from_micros(10);
        let [invite, ack, bye] = [
            request("INVITE", "sip:user@192.0.2.1", self.number, ""),
            request("ACK", "sip:user@192.0.2.3", self.number, ";tag=b"),
            request("BYE", "sip:user@192.0.2.3", self.number, ";tag=b"),
        ];
        self.relayed(&invite);
        self.answered(Status::RINGING);
        self.answered(Status::OK);
        self.relayed(&ack);
        self.relayed(&bye);
        self.answered(Status::OK);
        if self.number % 64 == 0 {
            self.settle();
        }
    }

    /// An INVITE that rings, and goes on doing so.
    pub(crate) fn ring(&mut self) {
        self.number += 1;
        self.now += Duration::from_micros(10);
        let invite = request("INVITE", "sip:user@192.0.2.1", self.number, "");
        self.relayed(&invite);
        self.answered(Status::RINGING);
    }
}

impl Relays<Stateless> {
    pub(crate) fn stateless() -> Self {
        Self::of(Stateless::new(Config::new(sip_core::Config::new([1; 32]))))
    }

    /// An OPTIONS and its 200 through the proxy.
    pub(crate) fn turn(&mut self, options: &[u8]) {
        let event = self.proxy.datagram(self.now, self.caller, options);
        let Some(stateless::Event::Request { request, source, .. }) = event else { panic!("no request") };
        let to = Branch::to("sip:user@192.0.2.3");
        self.proxy.forward(self.now, source, &request, &to).expect("it is forwarded");
        assert_eq!(self.drain(), 1);
        self.answered(Status::OK);
    }
}

/// What [`Relays::turn`] takes.
pub(crate) fn options() -> Vec<u8> {
    request("OPTIONS", "sip:user@192.0.2.1", 1, "")
}
