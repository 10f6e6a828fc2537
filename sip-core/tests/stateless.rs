//! A proxy without state (RFC 3261 §16.11): what goes on, what finds back, and what goes nowhere.

mod support;

use sip_core::framing::StreamBuf;
use sip_core::message::{Content, Status};
use sip_core::proxy::stateless::{Event, Stateless};
use sip_core::proxy::{Branch, Config};
use sip_core::{FlowId, Instant, Local, Machine, Misuse, Output, Source, Target, Transport};
use support::proxying::{B, config, invite, request};
use support::{Out, PEER, Rig, US, header, ms, response};

const B_ADDR: &str = "192.0.2.7:5060";

fn rig(config: Config) -> Rig<Stateless> {
    Rig::new(Stateless::new(config))
}

/// Forwards a request of the peer; what went out.
fn forwarded(rig: &mut Rig<Stateless>, bytes: &str, branch: &Branch<'_>) -> String {
    forwarded_from(rig, Rig::<Stateless>::source(), bytes, branch)
}

fn forwarded_from(rig: &mut Rig<Stateless>, from: Source, bytes: &str, branch: &Branch<'_>) -> String {
    let Some(Event::Request { request, source, .. }) = rig.machine.datagram(rig.now, from, bytes.as_bytes())
    else {
        panic!("not taken: {bytes}")
    };
    rig.machine.forward(rig.now, source, &request, branch).unwrap();
    let out = rig.drain();
    assert_eq!(out.len(), 1, "{out:?}");
    out[0].bytes().to_owned()
}

/// A response from where the request was forwarded to: whether it went on, and what went out to whom.
fn heard(rig: &mut Rig<Stateless>, bytes: &str) -> (bool, Vec<Out>) {
    let from = Source::Datagram { local: US.parse().unwrap(), remote: B_ADDR.parse().unwrap() };
    let event = rig.machine.datagram(rig.now, from, bytes.as_bytes());
    let Some(Event::Response { forwarded, .. }) = event else { panic!("{event:?}") };
    (forwarded, rig.drain())
}

fn branch(request: &str) -> &str {
    let via = header(request, "Via").unwrap();
    via.split("branch=").nth(1).unwrap().split(';').next().unwrap()
}

#[test]
fn a_request_goes_on_and_its_responses_find_back() {
    let mut rig = rig(config());
    let odd = "X-Odd:  \"a , b\";c = 1\r\nSubject: two\r\n words\r\n";
    let text = request("INVITE", "sip:bob@example.com", "1", odd);
    let sent = forwarded(&mut rig, &text, &B);
    assert!(
        sent.starts_with("INVITE sip:b@192.0.2.7 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK")
    );
    assert!(sent.contains(odd) && header(&sent, "Max-Forwards") == Some("69"), "{sent}");
    let below = sent.lines().filter(|line| line.starts_with("Via: ")).nth(1);
    assert_eq!(below, Some("Via: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK1;received=192.0.2.2;rport=5060"));
    for status in ["180 Ringing", "200 OK", "200 OK", "486 Busy Here"] {
        let (forwarded, out) = heard(&mut rig, &response(&sent, status, "b", odd));
        let [Out::Sent { to, bytes, .. }] = &out[..] else { panic!("{out:?}") };
        assert!(forwarded && to == PEER && bytes.contains(odd), "{bytes}");
        assert_eq!(bytes.lines().filter(|line| line.starts_with("Via: ")).count(), 1);
        assert!(
            bytes.starts_with(&format!(
                "SIP/2.0 {status}\r\nVia: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK1;"
            ))
        );
    }
    assert!(rig.machine.is_idle() && rig.machine.deadline().is_none());
    assert_eq!(rig.machine.stats().retained_bytes, 0);
}

/// RFC 3261 §16.11: "the branch … must be the same for retransmissions", and for what belongs to them (§9.1, §17.1.1.3). Other requests have others.
#[test]
fn what_belongs_together_has_one_branch() {
    let mut rig = rig(config());
    let first = forwarded(&mut rig, &invite("1"), &B);
    assert_eq!(forwarded(&mut rig, &invite("1"), &B), first);
    let others = ["CANCEL", "ACK"].map(|method| request(method, "sip:bob@example.com", "1", ""));
    for other in others {
        let other = other.replace("To: <sip:bob@example.com>", "To: <sip:bob@example.com>;tag=b");
        assert_eq!(branch(&forwarded(&mut rig, &other, &B)), branch(&first));
    }
    let of_another = forwarded(&mut rig, &invite("2"), &B);
    let next = invite("1").replace("CSeq: 1", "CSeq: 2");
    let by_another = invite("1").replace("192.0.2.2:5060;branch", "192.0.2.2:5062;branch");
    let mut all = vec![branch(&first).to_owned(), branch(&of_another).to_owned()];
    all.extend([next, by_another].map(|text| branch(&forwarded(&mut rig, &text, &B)).to_owned()));
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 4);
}

/// The same of a hop before that has no branch of RFC 3261.
#[test]
fn requests_of_rfc_2543_are_told_apart() {
    let mut rig = rig(config());
    let old = |call: &str| {
        invite("1").replace("z9hG4bK1", "1").replace("Call-ID: call", &format!("Call-ID: {call}"))
    };
    let first = forwarded(&mut rig, &old("a"), &B);
    assert_eq!(forwarded(&mut rig, &old("a"), &B), first);
    assert_ne!(branch(&forwarded(&mut rig, &old("b"), &B)), branch(&first));
    assert!(heard(&mut rig, &response(&first, "200 OK", "b", "")).0);
}

/// A response that nobody asked for is no way through this proxy to anybody.
#[test]
fn a_response_that_was_not_asked_for_goes_nowhere() {
    let mut rig = rig(config());
    let sent = forwarded(&mut rig, &invite("1"), &B);
    let ok = response(&sent, "200 OK", "b", "");
    for (what, forged) in [
        ("branch", ok.replacen(branch(&sent), "z9hG4bK0123456789abcdef", 1)),
        ("receiver", ok.replace("received=192.0.2.2", "received=192.0.2.99")),
        ("port", ok.replace("rport=5060", "rport=53")),
        ("call", ok.replace("Call-ID: call", "Call-ID: other")),
        ("number", ok.replace("CSeq: 1", "CSeq: 2")),
        ("proxy", ok.replacen("192.0.2.1:5060", "192.0.2.1:5070", 1)),
        (
            "alone",
            ok.lines()
                .filter(|line| !line.contains("received="))
                .fold(String::new(), |all, line| all + line + "\r\n"),
        ),
    ] {
        assert_ne!(forged, ok, "{what}");
        assert_eq!(heard(&mut rig, &forged), (false, vec![]), "{what}");
    }
    assert!(heard(&mut rig, &ok).0);
}

/// RFC 3261 §18.2.2, RFC 3581 §4: over the connection that brought the request, while that is open; else to the port of sent-by.
#[test]
fn a_response_goes_back_by_the_connection_that_brought_the_request() {
    let mut rig = rig(config());
    let flow = rig.accept();
    let text = invite("1")
        .replace("SIP/2.0/UDP 192.0.2.2:5060", "SIP/2.0/TCP 192.0.2.2:5070")
        .replace("CSeq: 1 INVITE\r\n", "CSeq: 1 INVITE\r\nContent-Length: 0\r\n");
    let mut buf = StreamBuf::new();
    buf.extend(text.as_bytes());
    let Some(Event::Request { request, source, .. }) = rig.machine.stream(rig.now, flow, &mut buf) else {
        panic!("not taken")
    };
    rig.machine.forward(rig.now, source, &request, &B).unwrap();
    let sent = rig.drain()[0].bytes().to_owned();
    let ok = response(&sent, "200 OK", "b", "");
    let (_, out) = heard(&mut rig, &ok);
    assert!(matches!(&out[..], [Out::Sent { to, .. }] if *to == format!("{flow:?}")), "{out:?}");
    // The number of a connection leads to nobody else.
    let other = Target { transport: Transport::Tcp, addr: "192.0.2.3:5060".parse().unwrap() };
    let other = rig.machine.flow_accepted(rig.now, other, US.parse().unwrap()).unwrap();
    let way = |flow: FlowId| format!(";i={:016x}", flow.to_bits());
    let (_, out) = heard(&mut rig, &ok.replace(&way(flow), &way(other)));
    let opened = |out: &[Out]| matches!(out, [Out::Other(text)] if text.starts_with("connect") && text.ends_with("192.0.2.2:5070"));
    assert!(opened(&out), "{out:?}");
    rig.run_until(ms(60_000));
    rig.machine.flow_closed(rig.now, flow);
    let (_, out) = heard(&mut rig, &ok);
    assert!(opened(&out), "{out:?}");
}

/// RFC 3581 §4: from the socket that took the request.
#[test]
fn a_response_leaves_by_the_socket_that_took_the_request() {
    let mut rig = rig(config());
    let second = "192.0.2.1:5080".parse().unwrap();
    rig.machine.listen(Instant::ZERO, Local { transport: Transport::Udp, addr: second, advertised: None });
    let from = Source::Datagram { local: second, remote: PEER.parse().unwrap() };
    let sent = forwarded_from(&mut rig, from, &invite("1"), &B);
    let from = Source::Datagram { local: US.parse().unwrap(), remote: B_ADDR.parse().unwrap() };
    rig.machine.datagram(rig.now, from, response(&sent, "200 OK", "b", "").as_bytes()).unwrap();
    let Some(Output::Transmit(out)) = rig.machine.poll() else { panic!() };
    assert_eq!(out.to, sip_core::Destination::Datagram { local: second, remote: PEER.parse().unwrap() });
}

/// RFC 3261 §16.3.
#[test]
fn what_may_not_go_on_is_refused() {
    let mut rig = rig(config());
    for (method, uri, extra, status) in [
        ("OPTIONS", "sip:bob@example.com", "Max-Forwards: 0\r\n", "483"),
        ("OPTIONS", "sip:bob@example.com", "Proxy-Require: foo\r\n", "420"),
        ("OPTIONS", "sip:bob@example.com", "Max-Breadth: 0\r\n", "440"),
        ("OPTIONS", "mailto:bob@example.com", "", "416"),
        ("OPTIONS", "sip:bob@example.com", "Route: <sip:\r\n", "400"),
    ] {
        let text = request(method, uri, "1", extra);
        let event = rig.hear(&text).unwrap();
        let out = rig.drain();
        assert!(
            event.starts_with("Re") && out[0].line().starts_with(&format!("SIP/2.0 {status}")),
            "{event} {out:?}"
        );
        assert_eq!(status == "420", header(out[0].bytes(), "Unsupported") == Some("foo"));
        // The same for a copy.
        rig.hear(&text);
        assert_eq!(rig.drain(), out);
    }
    let ack = request("ACK", "sip:bob@example.com", "1", "Max-Forwards: 0\r\n");
    assert!(rig.hear(&ack).unwrap().starts_with("Refused") && rig.drain().is_empty());
    assert!(rig.machine.is_idle());
}

/// RFC 3261 §16.4, §16.6: its own Route goes, that of the place comes; who is strict finds itself in the Request-URI.
#[test]
fn routes_are_followed() {
    let mut rig = rig(Config { record_route: true, ..config() });
    let route = format!("Route: <sip:{US};lr>, <sip:192.0.2.8;lr>\r\n");
    let text = request("INVITE", "sip:bob@192.0.2.50", "1", &route);
    let event = rig.hear(&text).unwrap();
    assert!(event.contains("routed: true"), "{event}");
    let sent = forwarded(&mut rig, &text, &Branch::AS_IT_IS);
    assert_eq!(header(&sent, "Route"), Some("<sip:192.0.2.8;lr>"));
    assert!(header(&sent, "Record-Route").unwrap().starts_with(&format!("<sip:{US};lr;d=")));
    let path = Branch { routes: &["<sip:192.0.2.9;lr>"], ..B };
    let sent = forwarded(&mut rig, &invite("1"), &path);
    assert!(
        sent.starts_with("INVITE sip:b@192.0.2.7 ") && header(&sent, "Route") == Some("<sip:192.0.2.9;lr>")
    );
    let strict = Branch { routes: &["<sip:192.0.2.9>"], ..B };
    let sent = forwarded(&mut rig, &invite("1"), &strict);
    assert!(sent.starts_with("INVITE sip:192.0.2.9 ") && header(&sent, "Route") == Some("<sip:b@192.0.2.7>"));
}

#[test]
fn a_name_is_resolved_first() {
    let mut rig = rig(config());
    let text = invite("1");
    let Some(Event::Request { request, source, .. }) =
        rig.machine.datagram(rig.now, Rig::<Stateless>::source(), text.as_bytes())
    else {
        panic!()
    };
    let request = request.into_owned();
    rig.machine.forward(rig.now, source, &request, &Branch::to("sip:b@b.example:5070")).unwrap();
    let Some(Output::Resolve { id, host: "b.example", port: 5070, .. }) = rig.machine.poll() else {
        panic!()
    };
    rig.machine.resolved(rig.now, id, &["192.0.2.7:5070".parse().unwrap()]);
    let out = rig.drain();
    assert!(matches!(&out[..], [Out::Sent { to, .. }] if to == "192.0.2.7:5070"), "{out:?}");
}

#[test]
fn what_the_user_gets_wrong() {
    let mut rig = rig(config());
    let source = Rig::<Stateless>::source();
    let text = invite("1");
    let Some(Event::Request { request: invite, .. }) = rig.machine.datagram(rig.now, source, text.as_bytes())
    else {
        panic!()
    };
    let invite = invite.into_owned();
    for (place, misuse) in [
        ("sip:", Misuse::BadUri),
        ("sips:b@192.0.2.7", Misuse::SipsMismatch),
        ("sip:b@192.0.2.7;transport=tls", Misuse::NoLocal(Transport::Tls)),
    ] {
        assert_eq!(rig.machine.forward(rig.now, source, &invite, &Branch::to(place)), Err(misuse), "{place}");
    }
    for (status, done) in [
        (Status::TRYING, Err(Misuse::Forbidden)),
        (Status::OK, Err(Misuse::Forbidden)),
        (Status::NOT_FOUND, Ok(())),
    ] {
        assert_eq!(rig.machine.respond(rig.now, source, &invite, status, &Content::NONE), done);
    }
    assert_eq!(rig.drain().len(), 1);
    let gone = rig.accept();
    rig.machine.flow_closed(rig.now, gone);
    assert_eq!(rig.machine.forward(rig.now, Source::Flow(gone), &invite, &B), Err(Misuse::Gone));
}

/// Two proxies with the same seed stand in for each other: a response that comes to the other goes its way.
#[test]
fn another_with_the_same_seed_takes_its_place() {
    let (mut first, mut second) = (rig(config()), rig(config()));
    let sent = forwarded(&mut first, &invite("1"), &B);
    assert!(heard(&mut second, &response(&sent, "200 OK", "b", "")).0);
    let mut other = rig(Config::new(sip_core::Config::new([1; 32])));
    assert!(!heard(&mut other, &response(&sent, "200 OK", "b", "")).0);
}

/// Whatever the torture messages are, none is a panic, and what goes on is a message again with one Via more.
#[test]
fn torture_messages_go_on_whole() {
    let folders = ["data/rfc4475", "data/rfc5118", "data/jsip-torture", "data/real"].map(support::shared);
    let mut forwarded = 0;
    for bytes in folders.iter().flatten().flat_map(|folder| support::tree(folder)) {
        let mut rig = rig(config());
        let Some(Event::Request { request, source, .. }) =
            rig.machine.datagram(rig.now, Rig::<Stateless>::source(), &bytes)
        else {
            continue;
        };
        if rig.machine.forward(rig.now, source, &request, &B).is_err() {
            continue;
        }
        let vias =
            |message: &sip_core::message::Message<'_>| message.all::<sip_core::headers::Via<'_>>().count();
        let before = vias(&request);
        // Where a Route of its own leads, by name or by TCP.
        let text = loop {
            match rig.machine.poll() {
                Some(Output::Transmit(out)) => break out.bytes.to_vec(),
                Some(Output::Resolve { id, .. }) => {
                    rig.machine.resolved(rig.now, id, &[B_ADDR.parse().unwrap()])
                }
                Some(Output::Connect { flow, .. }) => {
                    rig.machine.flow_opened(rig.now, flow, US.parse().unwrap());
                }
                other => panic!("{other:?}"),
            }
        };
        let sent = sip_core::message::Message::parse(&text, &sip_core::Limits::default()).unwrap();
        assert_eq!((vias(&sent), sent.body()), (before + 1, request.body()));
        forwarded += 1;
    }
    assert!(forwarded > 40 || folders.iter().any(Option::is_none), "{forwarded}");
}

/// The number of a connection is good in one process: by that of another, of the same seed, a response goes to nobody else behind the same address.
#[test]
fn a_response_goes_to_nobody_else_behind_the_same_nat() {
    let accept = |rig: &mut Rig<Stateless>, port: u16| -> FlowId {
        let target = Target { transport: Transport::Tcp, addr: format!("192.0.2.2:{port}").parse().unwrap() };
        rig.machine.flow_accepted(rig.now, target, US.parse().unwrap()).unwrap()
    };
    let mut rig = Rig::new(Stateless::new(config()));
    let flow = accept(&mut rig, 40_001);
    let invite = "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.1:5060;branch=z9hG4bK1;rport\r\nMax-Forwards: 70\r\n\
         From: <sip:alice@x>;tag=a\r\nTo: <sip:bob@example.com>\r\nCall-ID: call\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
    let mut buf = StreamBuf::new();
    buf.extend(invite.as_bytes());
    let Some(Event::Request { request, source, .. }) = rig.machine.stream(rig.now, flow, &mut buf) else {
        panic!("not taken")
    };
    rig.machine.forward(rig.now, source, &request, &Branch::to("sip:b@192.0.2.7")).unwrap();
    let forwarded = rig.drain()[0].bytes().to_owned();
    // It is started anew; another phone behind the NAT is the first to connect.
    let mut rig = Rig::new(Stateless::new(config()));
    let other = accept(&mut rig, 40_002);
    let ok = response(&forwarded, "200 OK", "b", "");
    let from = Source::Datagram { local: US.parse().unwrap(), remote: "192.0.2.7:5060".parse().unwrap() };
    rig.machine.datagram(rig.now, from, ok.as_bytes());
    let out = rig.drain();
    assert!(
        !out.iter().any(|out| matches!(out, Out::Sent { to, .. } if *to == format!("{other:?}"))),
        "{out:#?}"
    );
}

/// RFC 3261 §16.11: one domain that nobody answers for, and messages to all others vanish, though `forward` says that they went.
#[test]
fn a_slow_name_holds_up_no_other() {
    let mut rig = rig(config());
    let forward = |rig: &mut Rig<Stateless>, n: usize, to: &str| {
        let text = format!(
            "OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{n};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:a@x>;tag=a\r\nTo: <sip:b@x>\r\nCall-ID: {n}\r\nCSeq: 1 OPTIONS\r\n\r\n"
        );
        let event = rig.machine.datagram(rig.now, Rig::<Stateless>::source(), text.as_bytes());
        let Some(Event::Request { request, source, .. }) = event else { panic!() };
        let request = request.into_owned();
        let done = rig.machine.forward(rig.now, source, &request, &Branch::to(to));
        (done, rig.drain())
    };
    for n in 0..1_000 {
        forward(&mut rig, n, "sip:x@slow.invalid").0.unwrap();
    }
    let (done, out) = forward(&mut rig, 1_000, "sip:b@b.example");
    assert!(done.is_err() || !out.is_empty(), "it says {done:?}, and nothing happens");
}
