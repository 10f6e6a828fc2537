//! Sequences of calls.

use crate::{PEER, US, endpoint, source};
use sip_core::message::{Content, Method, Status};
use sip_core::{Event, Instant, Machine, NewRequest, Output};

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
