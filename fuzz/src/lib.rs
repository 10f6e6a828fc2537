//! The bodies of the fuzz targets. Each takes bytes and panics if something is wrong with what the core makes of them.
//!
//! `cargo fuzz run datagram -s none` runs one on a stable compiler; `cargo test` replays the corpus and the project's own
//! bad input.

use sip_core::framing::StreamBuf;
use sip_core::message::{Content, Method, Status};
use sip_core::uri::Uri;
use sip_core::{
    Config, Endpoint, Event, Instant, Local, Machine, NewRequest, Output, Source, Target, Transport,
};

const US: &str = "192.0.2.1:5060";
const PEER: &str = "192.0.2.2:5060";

fn endpoint() -> Endpoint {
    let mut endpoint = Endpoint::new(Config::new([0; 32]));
    for transport in [Transport::Udp, Transport::Tcp] {
        let addr = US.parse().expect("an address");
        endpoint.listen(Instant::ZERO, Local { transport, addr, advertised: None });
    }
    endpoint
}

fn source() -> Source {
    Source::Datagram { local: US.parse().expect("an address"), remote: PEER.parse().expect("an address") }
}

/// One datagram: no panic; what is accepted keeps its bytes, and what is sent is accepted in its turn.
pub fn datagram(data: &[u8]) {
    let mut us = endpoint();
    let txn = match us.datagram(Instant::ZERO, source(), data) {
        Some(Event::Request { txn, request, .. }) => {
            let at = data.windows(request.as_bytes().len()).any(|part| part == request.as_bytes());
            assert!(at, "an accepted message is a part of its datagram");
            for field in request.fields() {
                let _ = (field.name.as_str(), field.value.len());
            }
            Some(txn)
        }
        _ => None,
    };
    if let Some(txn) = txn {
        let _ = us.respond(Instant::ZERO, txn, Status::NOT_FOUND, &Content::NONE);
    }
    let mut peer = endpoint();
    while let Some(output) = us.poll() {
        if let Output::Transmit(transmit) = output {
            let event = peer.datagram(Instant::ZERO, source(), transmit.bytes);
            let sound = matches!(event, Some(Event::Stray(_)));
            // An answer to what was malformed may lack what the request lacked.
            assert!(sound || txn.is_none(), "what goes out parses: {:?}", event);
        }
    }
}

/// The bytes of a connection, cut as the first bytes say: any cuts give the same events.
pub fn stream(data: &[u8]) {
    let Some((cuts, bytes)) = data.split_at_checked(8.min(data.len())) else { return };
    let run = |mut sizes: &mut dyn Iterator<Item = usize>| {
        let mut us = endpoint();
        let target = Target { transport: Transport::Tcp, addr: PEER.parse().expect("an address") };
        let flow = us.flow_accepted(Instant::ZERO, target, US.parse().expect("an address")).expect("room");
        let mut buf = StreamBuf::new();
        let mut events = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let size = (&mut sizes).next().unwrap_or(rest.len()).clamp(1, rest.len());
            let Some((now, later)) = rest.split_at_checked(size) else { break };
            buf.extend(now);
            while let Some(event) = us.stream(Instant::ZERO, flow, &mut buf) {
                events.push(format!("{event:?}"));
            }
            rest = later;
        }
        events
    };
    let whole = run(&mut core::iter::empty());
    let cut = run(&mut cuts.iter().cycle().map(|cut| usize::from(*cut) + 1));
    assert_eq!(whole, cut, "cuts change nothing");
}

/// A URI: what is parsed is written as it was, and equals itself.
pub fn uri(data: &[u8]) {
    let (left, right) = match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, data),
    };
    let (Ok(left_uri), Ok(right_uri)) = (Uri::parse(left), Uri::parse(right)) else { return };
    assert!(left_uri.equivalent(&left_uri) && right_uri.equivalent(&right_uri), "reflexive");
    assert_eq!(left_uri.equivalent(&right_uri), right_uri.equivalent(&left_uri), "symmetric");
    let text = left_uri.to_string();
    assert_eq!(text.to_ascii_lowercase().into_bytes(), left.to_ascii_lowercase(), "written as it was");
    assert!(Uri::parse(text.as_bytes()).is_ok_and(|again| again.equivalent(&left_uri)));
}

/// Any calls in any order: each byte picks one. Nothing panics, and everything ends.
pub fn calls(data: &[u8]) {
    let mut us = endpoint();
    let mut now = Instant::ZERO;
    let (mut served, mut sent) = (Vec::new(), Vec::<String>::new());
    let mut bytes = data.iter().copied();
    while let Some(byte) = bytes.next() {
        let which = usize::from(bytes.next().unwrap_or(0));
        match byte % 8 {
            0 | 1 => {
                let method = ["INVITE", "OPTIONS", "ACK", "CANCEL"][which % 4];
                let branch = which / 4 % 8;
                let text = format!(
                    "{method} sip:us@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{branch}\r\n\
                     From: <sip:p@x>;tag=p\r\nTo: <sip:us@x>\r\nCall-ID: c{branch}\r\nCSeq: 1 {method}\r\n\r\n"
                );
                if let Some(Event::Request { txn, .. }) = us.datagram(now, source(), text.as_bytes()) {
                    served.push(txn);
                }
            }
            2 => {
                let code = [100, 180, 200, 404, 486, 503][which % 6];
                if let (Some(txn), Some(status)) =
                    (served.get(which % served.len().max(1)), Status::new(code))
                {
                    let _ = us.respond(now, *txn, status, &Content::NONE);
                }
            }
            3 => {
                let method = if which % 2 == 0 { Method::Invite } else { Method::Options };
                let uri = format!("sip:b@{PEER}");
                let _ = us.request(now, &NewRequest::new(method, &uri, "<sip:a@x>;tag=a", "<sip:b@x>", 1));
            }
            4 => {
                let code = ["100 Trying", "180 Ringing", "200 OK", "486 Busy Here"][which % 4];
                if let Some(request) = sent.get(which % sent.len().max(1)) {
                    let lines: Vec<&str> = request.lines().collect();
                    let part = |name: &str| {
                        lines.iter().find(|line| line.starts_with(name)).copied().unwrap_or_default()
                    };
                    let text = format!(
                        "SIP/2.0 {code}\r\n{}\r\n{}\r\n{};tag=t\r\n{}\r\n{}\r\n\r\n",
                        part("Via"),
                        part("From"),
                        part("To"),
                        part("Call-ID"),
                        part("CSeq")
                    );
                    let _ = us.datagram(now, source(), text.as_bytes());
                }
            }
            5 | 6 => {
                now += core::time::Duration::from_millis(which as u64 * which as u64);
                us.advance(now);
            }
            _ => drop(us.datagram(now, source(), &data[..which.min(data.len())])),
        }
        while let Some(output) = us.poll() {
            if let Output::Transmit(transmit) = output {
                if !transmit.bytes.starts_with(b"SIP") {
                    sent.push(String::from_utf8_lossy(transmit.bytes).into_owned());
                }
            }
        }
        assert!(us.deadline().is_none_or(|deadline| deadline > now), "draining reaches the deadline");
    }
    while let Some(deadline) = us.deadline() {
        assert!(deadline.as_micros() < now.as_micros() + 3_600_000_000, "everything ends");
        us.advance(deadline);
        while us.poll().is_some() {}
    }
    assert!(us.is_idle() && us.stats().retained_bytes == 0, "nothing is left");
}
