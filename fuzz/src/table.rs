//! Sequences of calls on a whole table, with branches, tags and handles that are alive.

use crate::{PEER, US, source};
use core::time::Duration;
use sip_core::framing::StreamBuf;
use sip_core::message::{Content, Method, Status};
use sip_core::{
    ClientTxn, Command, Config, Endpoint, Event, FlowId, Instant, Limits, Local, Machine, Misuse, NewRequest,
    Output, Overload, ResolveId, SendError, ServerTxn, Target, Ticket, Transport, Txn,
};
use std::collections::BTreeSet;

/// What has been seen and may still be alive.
#[derive(Default)]
struct Alive {
    served: Vec<ServerTxn>,
    placed: Vec<ClientTxn>,
    /// Requests of the machine, as text.
    sent: Vec<String>,
    tickets: Vec<Ticket>,
    flows: Vec<(FlowId, StreamBuf)>,
    connecting: Vec<FlowId>,
    questions: Vec<ResolveId>,
    /// The To tags of its responses.
    tags: Vec<String>,
    began: BTreeSet<Txn>,
    ended: u32,
}

const LIMITS: Limits = Limits {
    transactions: 12,
    unanswered: 6,
    retained: 24 << 10,
    flows: 4,
    outbox: 16,
    waiting_for_flow: 3,
    overload: Overload::Refuse,
    ..Limits::DEFAULT
};

/// Any calls in any order: each byte picks one. Caps hold, each transaction ends once, deadlines are honest, and nothing is left.
pub fn table(data: &[u8]) {
    let mut us = Endpoint::new(Config { limits: LIMITS, ..Config::new([0; 32]) });
    for transport in [Transport::Udp, Transport::Tcp] {
        us.listen(
            Instant::ZERO,
            Local { transport, addr: US.parse().expect("an address"), advertised: None },
        );
    }
    let mut now = Instant::ZERO;
    let mut alive = Alive::default();
    let mut bytes = data.iter().copied();
    while let Some(byte) = bytes.next() {
        let which = usize::from(bytes.next().unwrap_or(0));
        step(&mut us, &mut now, &mut alive, byte, which);
        let stats = us.stats();
        let open = stats.client_transactions + stats.server_transactions;
        // A quarter more for what ends something, and a CANCEL for each INVITE.
        assert!(open <= 2 * (LIMITS.transactions * 5 / 4 + 1), "{open} transactions");
        assert!(stats.unanswered <= stats.server_transactions);
        // Final responses go over the cap on bytes: one of at most 2.5 KB for each transaction.
        assert!(
            stats.retained_bytes < LIMITS.retained * 5 / 4 + 34 * 2_600,
            "{} bytes",
            stats.retained_bytes
        );
        // Sometimes nobody drains for a while.
        if byte < 192 {
            drain(&mut us, &mut alive);
            assert!(us.deadline().is_none_or(|deadline| deadline > now), "draining reaches the deadline");
        }
    }
    drain(&mut us, &mut alive);
    while let Some(deadline) = us.deadline() {
        assert!(deadline.as_micros() < now.as_micros() + 3_600_000_000, "everything ends");
        us.advance(deadline);
        drain(&mut us, &mut alive);
    }
    assert!(us.is_idle() && us.stats().retained_bytes == 0, "nothing is left");
    assert!(alive.began.is_empty(), "{:?} never ended", alive.began);
}

fn step(us: &mut Endpoint, now: &mut Instant, alive: &mut Alive, byte: u8, which: usize) {
    let one = |length: usize| which % length.max(1);
    match byte % 16 {
        0..=2 => {
            let method = ["INVITE", "OPTIONS", "ACK", "CANCEL", "BYE", "NEW"][which % 6];
            let branch = ["z9hG4bKa", "z9hG4bKb", "Z9HG4BKA", "1", "z9hG4bK", "z9hG4bKc"][which / 6 % 6];
            let tag = match alive.tags.get(one(alive.tags.len())) {
                Some(tag) if which >= 128 => format!(";tag={tag}"),
                _ => String::new(),
            };
            let transport = if byte % 16 == 2 { "TCP" } else { "UDP" };
            let cseq = which / 36 % 2 + 1;
            let text = format!(
                "{method} sip:us@{US} SIP/2.0\r\nVia: SIP/2.0/{transport} {PEER};branch={branch};rport\r\nFrom: <sip:p@x>;tag=p\r\n\
                 To: <sip:us@x>{tag}\r\nCall-ID: c\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
            );
            hear(us, *now, alive, &text, transport == "TCP", which);
        }
        3 | 4 => {
            let code = ["100 x", "180 x", "200 x", "302 x", "486 x", "699 x"][which % 6];
            let Some(request) = alive.sent.get(one(alive.sent.len())).cloned() else { return };
            let part = |name: &str| {
                request.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned()
            };
            let text = format!(
                "SIP/2.0 {code}\r\n{}\r\n{}\r\n{};tag={}\r\n{}\r\n{}\r\nContent-Length: 0\r\n\r\n",
                part("Via"),
                part("From"),
                part("To"),
                which / 64,
                part("Call-ID"),
                part("CSeq")
            );
            hear(us, *now, alive, &text, text.contains("/TCP"), which);
        }
        5 | 6 => {
            let code = [100, 180, 200, 408, 486, 503][which % 6];
            let (Some(txn), Some(status)) = (alive.served.get(one(alive.served.len())), Status::new(code))
            else {
                return;
            };
            let body = vec![b'x'; which * 8];
            let content = Content { content_type: "text/plain", body: &body, ..Content::NONE };
            let _ = us.respond(*now, *txn, status, &content);
        }
        7 | 8 => {
            let method = [Method::Invite, Method::Options, Method::Bye][which % 3];
            let uri = match which / 3 % 4 {
                0 | 1 => format!("sip:b@{PEER}"),
                2 => format!("sip:b@{PEER};transport=tcp"),
                _ => "sip:b@name.example".into(),
            };
            let made = us.command(
                *now,
                Command::Request(NewRequest::new(method, &uri, "<sip:a@x>;tag=a", "<sip:b@x>", 1)),
            );
            match made {
                Ok(Some(txn)) => {
                    alive.placed.push(txn);
                    assert!(alive.began.insert(Txn::Client(txn)), "a handle in use is given again");
                }
                Ok(None) => panic!("a request makes a transaction"),
                Err(misuse) => assert_eq!(misuse, Misuse::Full),
            }
        }
        9 => {
            let client = alive.placed.get(one(alive.placed.len())).copied();
            let server = alive.served.get(one(alive.served.len())).copied();
            match (which / 64, client, server) {
                (0, Some(txn), _) => drop(us.cancel(*now, txn)),
                (1, Some(txn), _) => drop(us.abort(*now, Txn::Client(txn))),
                (2, _, Some(txn)) => drop(us.abort(*now, Txn::Server(txn))),
                (_, _, Some(txn)) => drop(us.repeat(*now, txn)),
                _ => {}
            }
        }
        10 => {
            if let Some(ticket) = alive.tickets.get(one(alive.tickets.len())) {
                us.send_failed(*now, *ticket, SendError::Unreachable);
            }
        }
        11 => {
            let Some(flow) = alive.connecting.pop() else { return };
            if which % 3 == 0 {
                us.flow_closed(*now, flow);
            } else if us.flow_opened(*now, flow, US.parse().expect("an address")) {
                alive.flows.push((flow, StreamBuf::new()));
            }
        }
        12 => {
            if !alive.flows.is_empty() {
                let (flow, _) = alive.flows.remove(one(alive.flows.len()));
                us.flow_closed(*now, flow);
            }
        }
        13 => {
            let Some(id) = alive.questions.pop() else { return };
            let addrs = [PEER.parse().expect("an address")];
            us.resolved(*now, id, if which % 3 == 0 { &[] } else { &addrs });
        }
        _ => {
            *now += Duration::from_millis(which as u64 * which as u64);
            us.advance(*now);
        }
    }
}

fn hear(us: &mut Endpoint, now: Instant, alive: &mut Alive, text: &str, stream: bool, which: usize) {
    if !stream {
        let event = us.datagram(now, source(), text.as_bytes());
        return note(event, alive);
    }
    if alive.flows.is_empty() {
        let target = Target { transport: Transport::Tcp, addr: PEER.parse().expect("an address") };
        match us.flow_accepted(now, target, US.parse().expect("an address")) {
            Ok(flow) => alive.flows.push((flow, StreamBuf::new())),
            Err(misuse) => return assert_eq!(misuse, Misuse::Full),
        }
    }
    let at = which % alive.flows.len();
    let (flow, mut buf) = alive.flows.remove(at);
    // In two pieces.
    let (first, second) = text.as_bytes().split_at(which.min(text.len()));
    for piece in [first, second] {
        buf.extend(piece);
        while let Some(event) = us.stream(now, flow, &mut buf) {
            note(Some(event), alive);
        }
    }
    alive.flows.insert(at, (flow, buf));
}

fn note(event: Option<Event<'_>>, alive: &mut Alive) {
    match event {
        Some(Event::Request { txn, .. }) => {
            alive.served.push(txn);
            assert!(alive.began.insert(Txn::Server(txn)), "a handle in use is given again");
        }
        Some(Event::Terminated { txn, .. }) => {
            assert!(alive.began.remove(&txn), "{txn:?} ends that did not begin, or twice");
            alive.ended += 1;
        }
        _ => {}
    }
}

fn drain(us: &mut Endpoint, alive: &mut Alive) {
    while let Some(output) = us.poll() {
        match output {
            Output::Transmit(transmit) => {
                assert!(transmit.bytes.len() <= 65_507, "too long for a datagram");
                let text = String::from_utf8_lossy(transmit.bytes).into_owned();
                alive.tickets.push(transmit.ticket);
                if text.starts_with("SIP") {
                    let tag = text
                        .lines()
                        .find(|line| line.starts_with("To:"))
                        .and_then(|to| to.split_once(";tag="));
                    alive.tags.extend(tag.map(|(_, tag)| tag.to_owned()));
                } else {
                    alive.sent.push(text);
                }
            }
            Output::Connect { flow, .. } => alive.connecting.push(flow),
            Output::Close { flow } => alive.flows.retain(|(open, _)| *open != flow),
            Output::Resolve { id, .. } => alive.questions.push(id),
            Output::Event(event) => note(Some(event), alive),
            other => panic!("{other:?}"),
        }
    }
}
