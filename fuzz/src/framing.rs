//! Bytes from the network.

use crate::{PEER, US, endpoint, source};
use sip_core::framing::StreamBuf;
use sip_core::message::{Content, Fields, Request, Status, Writer};
use sip_core::{Event, Instant, Machine, Output, Target, Transport};

/// One datagram: no panic; what is accepted keeps its bytes, and what is sent is accepted in its turn.
pub fn datagram(data: &[u8]) {
    if let Ok(request) = Request::parse(data) {
        alone(&request);
    }
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

/// A request without a machine: both ways to its fields agree, and its answer and its copy parse.
fn alone(request: &Request<'_>) {
    let fields: Vec<_> =
        Fields::of_message(request.as_bytes()).collect::<Result<_, _>>().expect("they were cut before");
    assert!(request.fields().eq(fields), "both ways to the fields agree");
    for field in request.fields() {
        assert_eq!(request.values(field.name).count() > 0, field.name.as_str() != "");
    }
    let _ = request.parts(&sip_core::Limits::DEFAULT).map(|parts| parts.map(walk));
    let mut out = Vec::new();
    Writer::answer(&mut out, request, Status::OK, "tag").finish(&Content::NONE);
    let answer = sip_core::message::Response::parse(&out).expect("an answer parses");
    assert_eq!((answer.call_id(), answer.branch()), (request.call_id(), request.branch()));
    out.clear();
    let _ = request.edit(&mut out);
    assert_eq!(out, request.as_bytes(), "a message that is not touched is a copy");
}

/// Every part of a body, as deep as they nest.
fn walk(parts: sip_core::message::Multipart<'_>) {
    for part in parts.map_while(Result::ok) {
        let _ = (part.fields().count(), part.body().len());
        let _ = part.parts().map(|parts| parts.map(walk));
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
