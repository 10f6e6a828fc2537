//! Proxies between neighbours who say anything: one with state and one without, given the same messages.

use crate::{PEER, STEPS, TIMERS, US, line, source, take};
use core::num::NonZero;
use core::time::Duration;
use sip_core::message::{Content, Message, Status};
use sip_core::proxy::stateless::{self, Stateless};
use sip_core::proxy::{Branch, CancelMode, Command, Config, Event, Part, Proxy};
use sip_core::transaction::Timers;
use sip_core::{
    BranchId, ContextId, Destination, Instant, Limits, Local, Machine, Output, Source, Transport,
};
use std::collections::BTreeSet;

/// The first byte picks a configuration, each other one what comes next: a request, a response to what was forwarded, a decision of the user, time. Bytes behind some of them are lines of a
/// header. Whatever happens, what goes out can be read, each request has one end, and nothing is left; without state nothing is ever kept, and no
/// response goes anywhere that was not asked for.
pub fn forward(data: &[u8]) {
    let mut bytes = data;
    let mut scene = Scene::new(take(&mut bytes));
    for _ in 0..STEPS {
        let Some((op, rest)) = bytes.split_first() else { break };
        bytes = rest;
        match op % 8 {
            0 | 1 => scene.request(op / 8, &mut bytes),
            2..=4 => scene.response(op / 8, &mut bytes),
            5 | 6 => scene.command(op / 8, take(&mut bytes)),
            _ => {
                let unit = [1, 20, 500, 5_000][usize::from(op / 8 % 4)];
                scene.now += Duration::from_millis(u64::from(take(&mut bytes)) * unit);
                scene.proxy.advance(scene.now);
            }
        }
        scene.drain();
    }
    scene.end();
}

/// Most often nothing; else as many bytes as the next one says, as text.
fn text(bytes: &mut &[u8]) -> String {
    let length = usize::from(take(bytes).saturating_sub(240) * 4);
    line(bytes, length)
}

const METHODS: [&str; 8] = ["INVITE", "INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER", "FOO"];
const LINES: [&str; 16] = [
    "",
    "Route: <sip:192.0.2.1;lr>",
    "Route: <sip:192.0.2.1;lr>, <sip:192.0.2.9;lr>",
    "Route: <sip:192.0.2.9>",
    "Route: <sip:192.0.2.1;lr>, <sip:192.0.2.1;lr;r2>, <sip:192.0.2.8;transport=tcp;lr>",
    "Max-Breadth: 1",
    "Max-Breadth: 2\r\nMax-Breadth: 3",
    "Max-Breadth: 0",
    "Proxy-Require: foo",
    "Record-Route: <sip:192.0.2.7;lr>",
    "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"",
    "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\"",
    "Contact: <sip:c@192.0.2.11>;q=0.5, <sip:d@192.0.2.12>, <mailto:x@y>",
    "Retry-After: 5",
    "Reason: SIP;cause=200",
    "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKold",
];
const STATUSES: [&str; 16] = [
    "100 a", "180 a", "183 a", "199 a", "200 a", "202 a", "302 a", "401 a", "407 a", "408 a", "486 a",
    "487 a", "503 a", "500 a", "603 a", "699 a",
];
const PLACES: [&str; 8] = [
    "sip:b@192.0.2.7",
    "sip:c@192.0.2.8;transport=tcp",
    "sips:d@192.0.2.9",
    "sip:e@host.example",
    "tel:+1",
    "sip:f@192.0.2.1",
    "sip:g@192.0.2.10;lr?x=y",
    "mailto:x@y",
];

struct Scene {
    proxy: Proxy,
    stateless: Stateless,
    now: Instant,
    /// The requests that went out, the latest last.
    sent: Vec<String>,
    /// The same without state.
    passed: Vec<String>,
    contexts: Vec<ContextId>,
    open: BTreeSet<u64>,
}

impl Scene {
    fn new(which: u8) -> Self {
        let has = |bit: u8| which & bit != 0;
        let mut core = sip_core::Config::new([5; 32]);
        core.limits.early_cancels = usize::from(has(64)) * 2;
        let config = || Config {
            domains: vec!["example.com".into()],
            record_route: true,
            recurse: true,
            screen: has(128),
            ask: !has(1),
            end_at_6xx: !has(2),
            cancel_others: !has(4),
            carry_over: !has(8),
            give_up_at_once: has(16),
            cancel: [CancelMode::WhenHeard, CancelMode::CountNow, CancelMode::Now]
                [usize::from(which / 32 % 3)],
            hop_headers: vec!["X-Hop".into()],
            patience: Duration::from_secs(20),
            invite_lifetime: Some(Duration::from_secs(300)),
            ..Config::new(core.clone())
        };
        let (mut proxy, mut stateless) = (Proxy::new(config()), Stateless::new(config()));
        for transport in [Transport::Udp, Transport::Tcp] {
            let local = Local { transport, addr: US.parse().expect("an address"), advertised: None };
            proxy.listen(Instant::ZERO, local.clone());
            stateless.listen(Instant::ZERO, local);
        }
        let (sent, passed, contexts) = (Vec::new(), Vec::new(), Vec::new());
        Self { proxy, stateless, now: Instant::ZERO, sent, passed, contexts, open: BTreeSet::new() }
    }

    fn request(&mut self, which: u8, bytes: &mut &[u8]) {
        let method = METHODS[usize::from(take(bytes) % 8)];
        let more = take(bytes);
        let mut lines = String::new();
        for line in [LINES[usize::from(more % 16)], &text(bytes)] {
            if !line.is_empty() {
                lines += &format!("{line}\r\n");
            }
        }
        let (call, uri) =
            (which % 4, ["sip:bob@example.com", "sip:x@192.0.2.20", "sip:192.0.2.1;lr", "tel:+1"]);
        let uri = uri[usize::from(more / 16 % 4)];
        let to = if more & 64 != 0 { ";tag=b" } else { "" };
        let hops = if more & 128 != 0 { "" } else { "Max-Forwards: 4\r\n" };
        let request = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{call};rport\r\nFrom: <sip:a@h>;tag=a\r\n\
             To: <sip:b@h>{to}\r\nCall-ID: {call}\r\nCSeq: 1 {method}\r\n{hops}{lines}Content-Length: 0\r\n\r\n"
        );
        if let Some(Event::Request { context, .. }) =
            self.proxy.datagram(self.now, source(), request.as_bytes())
        {
            assert!(self.open.insert(context.to_bits()), "a handle is given twice");
            self.contexts.push(context);
        }
        let place = Branch::to(PLACES[usize::from(which / 4 % 8)]);
        if let Some(stateless::Event::Request { request, source, .. }) =
            self.stateless.datagram(self.now, source(), request.as_bytes())
        {
            let _ = self.stateless.forward(self.now, source, &request, &place);
        }
        drain_stateless(&mut self.stateless, self.now, &mut self.passed);
    }

    /// A response to one of the last requests that went out.
    fn response(&mut self, which: u8, bytes: &mut &[u8]) {
        let status = STATUSES[usize::from(which % 16)];
        let more = take(bytes);
        let (line, free) = (LINES[usize::from(more % 16)], text(bytes));
        let back = usize::from(take(bytes) % 8);
        let make = |request: &String| {
            let mut response = format!("SIP/2.0 {status}\r\n");
            for line in request.lines().skip(1).take_while(|line| !line.is_empty()) {
                let tag = match line.split(':').next().unwrap_or_default() {
                    "Via" | "From" | "Call-ID" | "CSeq" | "Record-Route" => String::new(),
                    "To" if line.contains(";tag=") => String::new(),
                    "To" => format!(";tag=b{}", more / 16 % 4),
                    _ => continue,
                };
                response += &format!("{line}{tag}\r\n");
            }
            for line in [line, &free] {
                if !line.is_empty() {
                    response += &format!("{line}\r\n");
                }
            }
            response + "Content-Length: 0\r\n\r\n"
        };
        let from = Source::Datagram {
            local: US.parse().expect("an address"),
            remote: "192.0.2.7:5060".parse().expect("an address"),
        };
        if let Some(request) = self.sent.iter().rev().nth(back) {
            let _ = self.proxy.datagram(self.now, from, make(request).as_bytes());
        }
        let Some(request) = self.passed.iter().rev().nth(back) else { return };
        // One that was asked for, unless its call is another by one letter.
        let forged = more & 128 != 0;
        let mut response = make(request);
        if forged {
            response = response.replacen("Call-ID: ", "Call-ID: x", 1);
        }
        if let Some(stateless::Event::Response { forwarded, .. }) =
            self.stateless.datagram(self.now, from, response.as_bytes())
        {
            assert!(!(forged && forwarded), "nobody asked for it: {response}");
        }
        drain_stateless(&mut self.stateless, self.now, &mut self.passed);
    }

    fn command(&mut self, kind: u8, which: u8) {
        let Some(context) = self.contexts.iter().rev().nth(usize::from(which % 4)).copied() else { return };
        let place = |at: u8| Branch {
            q: [1_000, 500, 1_000, 0][usize::from(at / 8 % 4)],
            part: [Part::Whole, Part::Whole, Part::Minor, Part::Copy][usize::from(at / 16 % 4)],
            breadth: NonZero::new(u32::from(at % 3)),
            ..Branch::to(PLACES[usize::from(at % 8)])
        };
        let (one, two) = (place(which / 4), place(kind.wrapping_add(which)));
        let branch = BranchId::from_bits(u64::from(which % 8) | u64::from(which / 64) << 32);
        let ringing = Some(Duration::from_secs(which.into()));
        let timers = Timers { ringing, b: ringing, ..Timers::DEFAULT };
        let command = match kind {
            0..=7 => Command::Relay(context, &[one]),
            8..=15 => Command::Relay(context, &[one, two]),
            16..=18 => Command::Relay(context, &[Branch::AS_IT_IS]),
            19 | 20 => Command::ForwardBest(context),
            21 => Command::Respond(context, Status::BUSY_HERE, Content::NONE),
            22 => Command::Respond(context, Status::RINGING, Content::NONE),
            23 => Command::Respond(context, Status::OK, Content::NONE),
            24 | 25 => Command::Cancel(context, "SIP;cause=200"),
            26 | 27 => Command::CancelBranch(branch, ""),
            28 => Command::Release(context),
            29 if which & 1 != 0 => Command::Pass(branch),
            29 => Command::Forget(context),
            30 => Command::SetTimers(branch, &timers),
            _ => Command::Hold(context, Duration::from_secs(which.into())),
        };
        let _ = self.proxy.command(self.now, command);
    }

    fn drain(&mut self) {
        // What the machine wants besides, when it has said all.
        let (mut names, mut flows) = (Vec::new(), Vec::new());
        while let Some(output) = self.proxy.poll() {
            match output {
                Output::Transmit(transmit) => {
                    check(transmit.bytes);
                    note(&mut self.sent, transmit.bytes);
                }
                Output::Resolve { id, .. } => names.push(id),
                Output::Connect { flow, .. } => flows.push(flow),
                Output::Event(Event::Ended { context, .. }) => {
                    assert!(self.open.remove(&context.to_bits()), "it ends twice");
                }
                _ => {}
            }
        }
        let some = !names.is_empty() || !flows.is_empty();
        for id in names {
            self.proxy.resolved(self.now, id, &["192.0.2.30:5060".parse().expect("an address")]);
        }
        for flow in flows {
            self.proxy.flow_opened(self.now, flow, US.parse().expect("an address"));
        }
        if some {
            self.drain();
        }
    }

    /// Everybody is silent until all is over.
    fn end(mut self) {
        for _ in 0..TIMERS {
            let Some(deadline) = self.proxy.deadline() else { break };
            self.now = self.now.max(deadline);
            self.proxy.advance(self.now);
            self.drain();
        }
        assert!(self.open.is_empty(), "without an end: {:?}", self.open);
        assert!(self.proxy.is_idle() && self.proxy.stats().retained_bytes == 0, "{:?}", self.proxy.stats());
    }
}

/// What goes on can be read. The answer to what can't be read repeats it.
fn check(bytes: &[u8]) {
    let sound = bytes.starts_with(b"SIP/2.0 4") || Message::parse(bytes, &Limits::default()).is_ok();
    assert!(sound, "{}", String::from_utf8_lossy(bytes));
}

/// Keeps the last requests among what goes out.
fn note(sent: &mut Vec<String>, bytes: &[u8]) {
    if bytes.starts_with(b"SIP/2.0 ") || bytes.starts_with(b"ACK ") || bytes.starts_with(b"CANCEL ") {
        return;
    }
    sent.push(String::from_utf8_lossy(bytes).into_owned());
    if sent.len() > 8 {
        sent.remove(0);
    }
}

fn drain_stateless(proxy: &mut Stateless, now: Instant, passed: &mut Vec<String>) {
    let mut flows = Vec::new();
    let mut names = Vec::new();
    while let Some(output) = proxy.poll() {
        match output {
            Output::Transmit(transmit) => {
                check(transmit.bytes);
                let back = transmit.bytes.starts_with(b"SIP/2.0 ");
                let known =
                    matches!(transmit.to, Destination::Datagram { remote, .. } if remote.to_string() == PEER);
                assert!(!back || known, "a response goes to somebody else: {transmit:?}");
                note(passed, transmit.bytes);
            }
            Output::Resolve { id, .. } => names.push(id),
            Output::Connect { flow, .. } => flows.push(flow),
            _ => {}
        }
    }
    let some = !names.is_empty() || !flows.is_empty();
    for id in names {
        proxy.resolved(now, id, &["192.0.2.30:5060".parse().expect("an address")]);
    }
    for flow in flows {
        proxy.flow_opened(now, flow, US.parse().expect("an address"));
    }
    if some {
        return drain_stateless(proxy, now, passed);
    }
    assert!(proxy.is_idle() && proxy.stats().retained_bytes == 0, "{:?}", proxy.stats());
}
