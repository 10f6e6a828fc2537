//! What a proxy must not do to what it forwards: the less likely messages, and users who are late.

use sip_core::message::{Content, Status};
use sip_core::proxy::{Branch, Config, Event, Proxy};
use sip_core::{ContextId, FlowId, Instant, Local, Machine, Misuse, Target, Transport};

mod support;

use support::proxying::{B, C, config, invite, relayed, request, rig, take, texts};
use support::{Out, PEER, Rig, US, header, ms, response, sends};

fn values(text: &str, name: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned).collect()
}

/// The last flow that was asked for is open.
fn open(rig: &mut Rig<Proxy>) -> FlowId {
    let flow = rig.machine.flows().last().unwrap();
    rig.machine.flow_opened(rig.now, flow, US.parse().unwrap());
    flow
}

/// An INVITE on a connection.
fn take_from(rig: &mut Rig<Proxy>, flow: FlowId, transport: &str) -> ContextId {
    let text = invite("1")
        .replace("SIP/2.0/UDP", &format!("SIP/2.0/{transport}"))
        .replace("CSeq: 1 INVITE\r\n", "CSeq: 1 INVITE\r\nContent-Length: 0\r\n");
    let mut buf = sip_core::framing::StreamBuf::new();
    buf.extend(text.as_bytes());
    match rig.machine.stream(rig.now, flow, &mut buf) {
        Some(Event::Request { context, .. }) => context,
        other => panic!("{other:?}"),
    }
}

fn with_tls(rig: &mut Rig<Proxy>) {
    let addr = "192.0.2.1:5061".parse().unwrap();
    rig.machine.listen(Instant::ZERO, Local { transport: Transport::Tls, addr, advertised: None });
}

/// RFC 3261 §16.6, step 9, and §20.14.
#[test]
fn a_request_on_a_stream_says_how_long_it_is() {
    let mut rig = rig(config());
    let text = request("MESSAGE", "sip:bob@example.com", "1", "Content-Type: text/plain\r\n\r\nhello");
    let (context, _) = take(&mut rig, &text);
    rig.machine.relay(rig.now, context, &[Branch::to("sip:b@192.0.2.7;transport=tcp")]).unwrap();
    rig.drain();
    open(&mut rig);
    let sent = texts(&rig.drain(), "MESSAGE");
    assert_eq!(header(&sent[0], "Content-Length"), Some("5"), "{}", sent[0]);
}

/// RFC 3261 §20.14: so do responses.
#[test]
fn a_response_on_a_stream_says_how_long_it_is() {
    let mut rig = rig(config());
    let flow = rig.accept();
    let context = take_from(&mut rig, flow, "TCP");
    rig.machine.relay(rig.now, context, &[B]).unwrap();
    let sent = texts(&rig.drain(), "INVITE");
    // A callee at the other side of a datagram need not say it.
    let ok = response(&sent[0], "200 OK", "t", "").replace("Content-Length: 0\r\n", "");
    rig.hear(&ok);
    let back = texts(&rig.drain(), "SIP/2.0 200");
    assert_eq!(header(&back[0], "Content-Length"), Some("0"), "{}", back[0]);
}

/// RFC 3261 §16.6, step 4: what is sent on by a SIPS Route has a SIPS Record-Route.
#[test]
fn a_sips_target_gets_a_sips_record_route() {
    let mut rig = rig(Config { record_route: true, ..config() });
    with_tls(&mut rig);
    let (context, _) = take(&mut rig, &invite("1"));
    rig.machine
        .relay(rig.now, context, &[Branch { routes: &["<sips:192.0.2.7;lr>"], ..Branch::AS_IT_IS }])
        .unwrap();
    rig.drain();
    open(&mut rig);
    let sent = texts(&rig.drain(), "INVITE");
    let routes = values(&sent[0], "Record-Route");
    assert!(routes[0].starts_with("<sips:192.0.2.1:5061;"), "{routes:?}");
}

/// RFC 3261 §16.6, step 4: the URI of a Record-Route leads, by RFC 3263, to who put it on.
#[test]
fn a_record_route_of_tls_leads_back() {
    let mut rig = rig(Config { record_route: true, ..config() });
    with_tls(&mut rig);
    let target = Target { transport: Transport::Tls, addr: PEER.parse().unwrap() };
    let flow = rig.machine.flow_accepted(rig.now, target, "192.0.2.1:5061".parse().unwrap()).unwrap();
    let context = take_from(&mut rig, flow, "TLS");
    rig.machine.relay(rig.now, context, &[B]).unwrap();
    let sent = texts(&rig.drain(), "INVITE");
    let routes = values(&sent[0], "Record-Route");
    let came = routes.last().unwrap();
    // Whoever goes by it: another machine of this crate.
    let mut other = Rig::new(Proxy::new(config()));
    with_tls(&mut other);
    let (context, _) = take(&mut other, &request("OPTIONS", "sip:alice@192.0.2.2", "2", ""));
    other.machine.relay(other.now, context, &[Branch { routes: &[came], ..Branch::AS_IT_IS }]).unwrap();
    let out = other.drain();
    assert!(
        out.iter().any(|out| out.line().starts_with("connect") && out.line().contains("tls:192.0.2.1:5061")),
        "{came} leads to {:?}",
        out.iter().find_map(|out| match out {
            Out::Sent { to, bytes, .. } if bytes.starts_with("OPTIONS") => Some(to.clone()),
            _ => None,
        })
    );
}

/// RFC 3261 §16.4, RFC 5658 §3: a strict router has taken the first half of two.
#[test]
fn a_strict_router_before_a_double_record_route() {
    let mut rig = rig(config());
    let text = request(
        "BYE",
        "sip:192.0.2.1:5060;lr;r2",
        "1",
        "Route: <sip:192.0.2.1:5060;transport=tcp;lr;r2>, <sip:bob@192.0.2.9>\r\n",
    );
    let (context, routed) = take(&mut rig, &text);
    assert!(routed);
    rig.machine.relay(rig.now, context, &[Branch::AS_IT_IS]).unwrap();
    let out = rig.drain();
    let to: Vec<_> = out
        .iter()
        .filter_map(|out| match out {
            Out::Sent { to, bytes, .. } if bytes.starts_with("BYE") => Some(to.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(to, ["192.0.2.9:5060"], "{out:#?}");
}

/// RFC 3261 §16.5: a Request-URI with maddr is the only target.
#[test]
fn maddr_says_where_a_request_goes() {
    let mut rig = rig(config());
    let (_, routed) = take(&mut rig, &request("OPTIONS", "sip:bob@example.com;maddr=192.0.2.77", "1", ""));
    assert!(routed);
}

/// RFC 3261 §16.4: "addresses or domains the proxy is configured to be responsible for".
#[test]
fn maddr_may_be_a_domain() {
    let mut rig = rig(config());
    let (context, _) = take(&mut rig, &request("OPTIONS", "sip:bob@192.0.2.9;maddr=example.com", "1", ""));
    let prepared = rig.machine.request_of(context).unwrap();
    let text = String::from_utf8_lossy(prepared.as_bytes()).into_owned();
    assert!(text.starts_with("OPTIONS sip:bob@192.0.2.9 SIP"), "{text}");
}

/// RFC 3261 §16.6, step 2; §19.1.1.
#[test]
fn headers_of_a_target_are_not_for_the_request_uri() {
    let mut rig = rig(config());
    let (_, sent) =
        relayed(&mut rig, &invite("1"), &[Branch::to("sip:b@192.0.2.7?Subject=x&Route=%3Csip:q%3E")]);
    assert!(sent[0].starts_with("INVITE sip:b@192.0.2.7 SIP/2.0"), "{}", sent[0]);
}

/// RFC 3261 §16.7, steps 5 and 10: nobody is asked when the search is over, though the address comes then.
#[test]
fn what_was_never_sent_is_not_sent_after_the_end() {
    let mut rung = Vec::new();
    for end in ["200 OK", "603 Decline", "CANCEL"] {
        let mut rig = rig(config());
        let (context, _) = take(&mut rig, &invite("1"));
        rig.machine.relay(rig.now, context, &[B, Branch::to("sip:c@c.example")]).unwrap();
        let mut sent = Vec::new();
        let mut name = None;
        while let Some(output) = rig.machine.poll() {
            match output {
                sip_core::Output::Transmit(transmit) if transmit.bytes.starts_with(b"INVITE") => {
                    sent.push(String::from_utf8_lossy(transmit.bytes).into_owned());
                }
                sip_core::Output::Resolve { id, .. } => name = Some(id),
                _ => {}
            }
        }
        assert_eq!(sent.len(), 1);
        if end == "CANCEL" {
            rig.hear(&request("CANCEL", "sip:bob@example.com", "1", ""));
        } else {
            rig.hear(&response(&sent[0], end, "t", ""));
        }
        rig.run_until(ms(5_000));
        rig.machine.resolved(rig.now, name.unwrap(), &["192.0.2.8:5060".parse().unwrap()]);
        let late = texts(&rig.drain(), "INVITE");
        if !late.is_empty() {
            rung.push(end);
        }
    }
    assert!(rung.is_empty(), "5 s later a phone rings, after {rung:?}");
}

/// The same over a connection that is being opened.
#[test]
fn nor_over_a_connection_that_opens_late() {
    let mut rig = rig(config());
    let (context, _) = take(&mut rig, &invite("1"));
    rig.machine.relay(rig.now, context, &[B, Branch::to("sip:c@192.0.2.8;transport=tcp")]).unwrap();
    let sent = texts(&rig.drain(), "INVITE");
    rig.hear(&response(&sent[0], "200 OK", "t", ""));
    rig.run_until(ms(5_000));
    open(&mut rig);
    let late = texts(&rig.drain(), "INVITE");
    assert!(late.is_empty(), "{late:?}");
}

/// RFC 4320 §4.2: who sent anything but an INVITE has given up by then.
#[test]
fn nothing_is_relayed_for_a_caller_who_is_gone() {
    let mut rig = rig(Config { ask: true, ..config() });
    let (context, sent) = relayed(&mut rig, &request("OPTIONS", "sip:bob@example.com", "1", ""), &[B]);
    rig.run_until(ms(30_000));
    rig.hear(&response(&sent[0], "404 Not Found", "t", ""));
    rig.run_until(ms(34_000));
    let done = rig.machine.relay(rig.now, context, &[C]);
    let late = texts(&rig.drain(), "OPTIONS");
    assert!(done.is_err() && late.is_empty(), "{done:?} {late:?}");
}

/// RFC 3261 §16.5 speaks of the domain, and its port is one of ours.
#[test]
fn a_domain_with_its_default_port() {
    let mut rig = rig(config());
    let (_, routed) = take(&mut rig, &request("OPTIONS", "sip:bob@example.com:5060", "1", ""));
    assert!(!routed);
}

/// RFC 5630 §5.3, both ways.
#[test]
fn sips_is_not_forwarded_in_the_clear() {
    for (came, wrong, right) in [
        ("sips:bob@example.com", "sip:b@192.0.2.7", "sips:b@192.0.2.7"),
        ("sip:bob@example.com", "sips:b@192.0.2.7", "sip:b@192.0.2.7"),
    ] {
        let mut rig = rig(config());
        with_tls(&mut rig);
        let (context, _) = take(&mut rig, &request("INVITE", came, "1", ""));
        assert_eq!(rig.machine.relay(rig.now, context, &[Branch::to(wrong)]), Err(Misuse::SipsMismatch));
        assert_eq!(rig.machine.relay(rig.now, context, &[Branch::to(right)]), Ok(()));
    }
}

/// RFC 3261 §17.2.3: of a caller without the magic cookie, the ACK is known by the To tag of the response, which is the callee's.
#[test]
fn the_ack_of_an_old_caller() {
    let mut rig = rig(config());
    let text = invite("1").replace("branch=z9hG4bK1", "branch=1");
    let (_, sent) = relayed(&mut rig, &text, &[B]);
    rig.hear(&response(&sent[0], "486 Busy Here", "t", ""));
    let back = texts(&rig.drain(), "SIP/2.0 486");
    let to = header(&back[0], "To").unwrap();
    let ack = request("ACK", "sip:bob@example.com", "1", "")
        .replace("branch=z9hG4bK1", "branch=1")
        .replace("<sip:bob@example.com>", to);
    let heard = rig.hear(&ack);
    assert_eq!(heard, None, "it is the ACK of this hop");
    let out = rig.run_until(ms(20_000));
    assert_eq!(sends(&out, "SIP/2.0 486"), [] as [u64; 0]);
}

/// Each branch without a final response is told of, whatever the caller has heard.
#[test]
fn a_branch_that_ends_after_the_answer() {
    let mut rig = rig(config());
    let (_, sent) = relayed(&mut rig, &invite("1"), &[B, C]);
    rig.hear(&response(&sent[1], "180 Ringing", "c", ""));
    rig.hear(&response(&sent[0], "200 OK", "b", ""));
    let out = rig.run_until(ms(300_000));
    assert!(out.iter().any(|out| out.line().starts_with("BranchFailed")), "nobody is told what became of C");
}

/// The user may take less time than who sent a request waits.
#[test]
fn a_user_who_never_decides() {
    let mut rig = rig(config());
    take(&mut rig, &request("OPTIONS", "sip:bob@example.com", "1", ""));
    let out = rig.run_until(ms(100_000));
    assert_eq!(sends(&out, "SIP/2.0 500").len(), 1, "{out:#?}");
}

/// RFC 3261 §16.3, steps 1 and 5: what forwarding needs must be readable.
#[test]
fn a_route_that_can_not_be_read() {
    for (uri, extra) in [
        ("sip:bob@192.0.2.9", "Route: nothing at all\r\n"),
        ("sip:bob@192.0.2.9", "Route: <sip:p.example;lr\r\n"),
        ("sip:bob@192.0.2.9", "Route: <sip:192.0.2.1;lr>, @@\r\n"),
        ("sip:192.0.2.1;lr", "Route: nothing at all\r\nRoute: <sip:bob@192.0.2.9>\r\n"),
        ("sip:bob@192.0.2.9", "Proxy-Require: sec agree\r\n"),
    ] {
        let mut rig = rig(config());
        let heard = rig.hear(&request("OPTIONS", uri, "1", extra)).unwrap();
        assert!(heard.starts_with("Refused") && heard.contains("400"), "{extra}{heard}");
        // An ACK is not answered, and does not go on.
        assert!(rig.hear(&request("ACK", uri, "2", extra)).unwrap().contains("forwarded: false"));
        assert_eq!(texts(&rig.drain(), "ACK"), [] as [&str; 0]);
    }
}

/// There is one final response.
#[test]
fn answered_twice() {
    let mut rig = rig(config());
    let (context, sent) = relayed(&mut rig, &invite("1"), &[B]);
    let ok = |rig: &mut Rig<Proxy>| rig.machine.respond(rig.now, context, Status::OK, &Content::NONE);
    rig.hear(&response(&sent[0], "200 OK", "t", ""));
    assert_eq!(ok(&mut rig), Err(Misuse::WrongState));
    let out = rig.drain();
    let answered = out.iter().filter(|out| out.line().starts_with("Answered")).count();
    assert_eq!((answered, texts(&out, "SIP/2.0 200").len()), (1, 1), "{out:#?}");
}
