//! The transaction layer through [`Endpoint`]: what goes out at which instant, and what its user is told.

mod support;

use core::time::Duration;
use sip_core::message::{Content, Method, Status};
use sip_core::transaction::{State, Timers, ict};
use sip_core::{
    Cause, Config, Endpoint, Event, Instant, Machine, Misuse, NewRequest, ServerTxn, Transport, Txn,
};
use support::{Out, PEER, Rig, US, header, ms, response, sends};

const FROM: &str = "<sip:alice@192.0.2.1>;tag=a1";

fn rig() -> Rig<Endpoint> {
    Rig::new(Endpoint::new(Config::new([1; 32])))
}

fn target(transport: &str) -> String {
    format!("sip:bob@{PEER};transport={transport}")
}

fn request<'a>(method: Method<'a>, uri: &'a str) -> NewRequest<'a> {
    NewRequest::new(method, uri, FROM, "<sip:bob@example.com>", 1)
}

/// A request from the peer.
fn incoming(method: &str, branch: &str, extra: &str) -> String {
    format!(
        "{method} sip:us@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch={branch}\r\nFrom: <sip:p@x>;tag=p1\r\n\
         To: <sip:us@x>\r\nCall-ID: c1@x\r\nCSeq: 7 {}\r\nMax-Forwards: 70\r\n{extra}Content-Length: 0\r\n\r\n",
        if method == "ACK" { "ACK" } else { method }
    )
}

fn server(rig: &mut Rig<Endpoint>, text: &str) -> ServerTxn {
    match rig.machine.datagram(rig.now, Rig::<Endpoint>::source(), text.as_bytes()) {
        Some(Event::Request { txn, .. }) => txn,
        other => panic!("no request: {other:?}"),
    }
}

/// Opens a connection that the machine asked for.
fn connect(rig: &mut Rig<Endpoint>, txn_outputs: &[Out]) {
    assert!(txn_outputs.iter().any(|out| matches!(out, Out::Other(text) if text.starts_with("connect"))));
    let flow = sip_core::FlowId::from_bits(0);
    rig.machine.flow_opened(rig.now, flow, US.parse().unwrap());
}

// The send instants that tell implementations apart.

#[test]
fn an_invite_without_an_answer_is_sent_seven_times() {
    let mut rig = rig();
    let uri = target("udp");
    let txn = rig.machine.request(rig.now, &request(Method::Invite, &uri)).unwrap();
    let outputs = rig.run_until(ms(100_000));
    assert_eq!(sends(&outputs, "INVITE"), [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    let copies: Vec<_> =
        outputs.iter().filter(|out| matches!(out, Out::Sent { .. })).map(Out::bytes).collect();
    assert!(copies.iter().all(|copy| *copy == copies[0]), "byte-identical");
    assert_eq!(
        outputs.last(),
        Some(&Out::Event {
            at: ms(32_000),
            event: format!(
                "{:?}",
                Event::Terminated { txn: Txn::Client(txn), user: 0, cause: Cause::Timeout }
            )
        })
    );
    assert!(rig.machine.is_idle());
}

#[test]
fn another_request_without_an_answer_is_sent_eleven_times() {
    let mut rig = rig();
    let uri = target("udp");
    rig.machine.request(rig.now, &request(Method::Options, &uri)).unwrap();
    let outputs = rig.run_until(ms(100_000));
    assert_eq!(
        sends(&outputs, "OPTIONS"),
        [0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]
    );
    assert!(
        matches!(outputs.last(), Some(Out::Event { at, event }) if *at == ms(32_000) && event.contains("Timeout"))
    );
}

#[test]
fn a_reliable_transport_sends_once() {
    for method in [Method::Invite, Method::Options] {
        let mut rig = rig();
        let uri = target("tcp");
        rig.machine.request(rig.now, &request(method, &uri)).unwrap();
        let first = rig.drain();
        connect(&mut rig, &first);
        let outputs = rig.run_until(ms(100_000));
        assert_eq!(sends(&outputs, &method.to_string()), [0]);
        assert!(matches!(outputs.last(), Some(Out::Event { at, .. }) if *at == ms(32_000)));
    }
}

#[test]
fn timers_of_one_transaction() {
    let mut rig = rig();
    let uri = target("udp");
    let quick =
        Timers { t1: Duration::from_millis(100), f: Some(Duration::from_millis(1_000)), ..Timers::DEFAULT };
    rig.machine
        .request(rig.now, &NewRequest { timers: Some(quick), ..request(Method::Options, &uri) })
        .unwrap();
    rig.machine.request(rig.now, &request(Method::Register, &uri)).unwrap();
    let outputs = rig.run_until(ms(2_000));
    assert_eq!(sends(&outputs, "OPTIONS"), [0, 100, 300, 700]);
    assert_eq!(sends(&outputs, "REGISTER"), [0, 500, 1_500]);
}

#[test]
fn a_late_clock_fires_a_timer_once() {
    let mut rig = rig();
    let uri = target("udp");
    rig.machine.request(rig.now, &request(Method::Options, &uri)).unwrap();
    rig.drain();
    rig.now = ms(10_000);
    rig.machine.advance(rig.now);
    assert_eq!(sends(&rig.drain(), "OPTIONS"), [10_000]);
    // Armed anew from now: T1 doubled once.
    assert_eq!(rig.machine.deadline(), Some(ms(11_000)));
}

// Client transactions.

#[test]
fn a_provisional_response_slows_a_request_down_to_t2() {
    let mut rig = rig();
    let uri = target("udp");
    rig.machine.request(rig.now, &request(Method::Options, &uri)).unwrap();
    let sent = rig.drain();
    rig.run_until(ms(600));
    assert!(rig.hear(&response(sent[0].bytes(), "100 Trying", "", "")).is_some());
    let outputs = rig.run_until(ms(40_000));
    // Timer E keeps its expiry at 1.5 s, then runs T2.
    assert_eq!(sends(&outputs, "OPTIONS"), [1_500, 5_500, 9_500, 13_500, 17_500, 21_500, 25_500, 29_500]);
}

#[test]
fn the_first_final_response_counts() {
    let mut rig = rig();
    let uri = target("udp");
    rig.machine.request(rig.now, &request(Method::Options, &uri)).unwrap();
    let sent = rig.drain();
    assert!(rig.hear(&response(sent[0].bytes(), "200 OK", "b", "")).is_some());
    assert_eq!(rig.hear(&response(sent[0].bytes(), "200 OK", "b", "")), None);
    assert_eq!(rig.hear(&response(sent[0].bytes(), "404 Not Found", "b", "")), None);
    let outputs = rig.run_until(ms(40_000));
    assert!(
        matches!(&outputs[..], [Out::Event { at, event }] if *at == ms(5_000) && event.contains("Completed"))
    );
}

/// RFC 3261 §17.1.1.3
#[test]
fn the_ack_for_a_486_is_made_of_the_invite_and_the_response() {
    let mut rig = rig();
    let uri = target("udp");
    let invite = NewRequest {
        route: &["<sip:192.0.2.2;lr>", "<sip:p2.example.com;lr>"],
        content: Content::headers(&[("Proxy-Authorization", "Digest x=\"y\""), ("Require", "100rel")]),
        ..request(Method::Invite, &uri)
    };
    rig.machine.request(rig.now, &invite).unwrap();
    let sent = rig.drain();
    let text = sent[0].bytes().to_owned();
    let busy = response(&text, "486 Busy Here", "b9", "");
    assert!(rig.hear(&busy).unwrap().contains("486"));
    let acks = rig.drain();
    let ack = acks[0].bytes();
    assert!(ack.starts_with(&format!("ACK {uri} SIP/2.0\r\n")));
    for name in ["Via", "From", "Call-ID", "Proxy-Authorization"] {
        assert_eq!(header(ack, name), header(&text, name), "{name}");
    }
    assert_eq!(header(ack, "To"), Some("<sip:bob@example.com>;tag=b9"));
    assert_eq!(header(ack, "CSeq"), Some("1 ACK"));
    assert_eq!(header(ack, "Max-Forwards"), Some("70"));
    assert_eq!(header(ack, "Require"), None);
    let routes: Vec<_> = ack.lines().filter(|line| line.starts_with("Route")).collect();
    assert_eq!(routes, ["Route: <sip:192.0.2.2;lr>", "Route: <sip:p2.example.com;lr>"]);
    // Each copy of the final response, and no other, gets the same bytes again, for Timer D.
    assert_eq!(rig.hear(&busy), None);
    assert_eq!(rig.hear(&response(&text, "180 Ringing", "b9", "")), None);
    assert_eq!(rig.hear(&response(&text, "200 OK", "other", "")), None);
    let again = rig.drain();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].bytes(), ack);
    let end = rig.run_until(ms(60_000));
    assert!(matches!(&end[..], [Out::Event { at, .. }] if *at == ms(32_000)));
}

/// RFC 6026 §7.2
#[test]
fn every_2xx_goes_up_for_64_t1_and_none_is_acknowledged() {
    let mut rig = rig();
    let uri = target("udp");
    let txn = rig.machine.request(rig.now, &request(Method::Invite, &uri)).unwrap();
    let text = rig.drain()[0].bytes().to_owned();
    assert!(rig.hear(&response(&text, "200 OK", "fork1", "")).is_some());
    assert_eq!(rig.machine.state(Txn::Client(txn)), Some(State::Ict(ict::State::Accepted)));
    rig.run_until(ms(20_000));
    assert!(rig.hear(&response(&text, "200 OK", "fork2", "")).is_some());
    assert!(rig.hear(&response(&text, "200 OK", "fork1", "")).is_some());
    assert_eq!(rig.hear(&response(&text, "486 Busy Here", "fork3", "")), None);
    let outputs = rig.run_until(ms(40_000));
    assert!(matches!(&outputs[..], [Out::Event { at, .. }] if *at == ms(32_000)));
    let stray = rig.hear(&response(&text, "200 OK", "fork1", "")).unwrap();
    assert!(stray.starts_with("Stray"));
}

#[test]
fn a_response_must_match_branch_method_and_sent_by() {
    let mut rig = rig();
    let uri = target("udp");
    rig.machine.request(rig.now, &request(Method::Options, &uri)).unwrap();
    let good = response(rig.drain()[0].bytes(), "200 OK", "b", "");
    for bad in [
        good.replace("CSeq: 1 OPTIONS", "CSeq: 1 REGISTER"),
        good.replace("CSeq: 1 OPTIONS", "CSeq: 1 INVITE"),
        good.replace(";branch=z9hG4bK0", ";branch=z9hG4bK1"),
        good.replace(US, "192.0.2.77:5060"),
    ] {
        assert_ne!(bad, good);
        assert!(rig.hear(&bad).unwrap().starts_with("Stray"), "{bad}");
    }
    // Some elements change the case of a branch, and a default port may be left out.
    let upper = good
        .replace(header(&good, "Via").unwrap(), &header(&good, "Via").unwrap().replace("z9hG4bK", "Z9HG4BK"));
    let upper = upper.replace(US, "192.0.2.1");
    assert!(rig.hear(&upper).unwrap().starts_with("Response"));
}

/// RFC 3261 §9.1
#[test]
fn cancel_waits_for_the_first_provisional_response() {
    let mut rig = rig();
    let uri = target("udp");
    let txn = rig.machine.request(rig.now, &request(Method::Invite, &uri)).unwrap();
    let text = rig.drain()[0].bytes().to_owned();
    rig.machine.cancel(rig.now, txn).unwrap();
    rig.machine.cancel(rig.now, txn).unwrap();
    assert_eq!(sends(&rig.run_until(ms(400)), "CANCEL"), []);
    rig.hear(&response(&text, "100 Trying", "", ""));
    let outputs = rig.run_until(ms(1_000));
    assert_eq!(sends(&outputs, "CANCEL"), [400, 900]);
    let cancel = outputs[0].bytes();
    for name in ["Via", "From", "To", "Call-ID"] {
        assert_eq!(header(cancel, name), header(&text, name), "{name}");
    }
    assert_eq!(header(cancel, "CSeq"), Some("1 CANCEL"));
    // Its own answer is nobody's business; the INVITE ends by its own.
    assert_eq!(rig.hear(&response(cancel, "200 OK", "b", "")), None);
    assert!(rig.hear(&response(&text, "487 Request Terminated", "b", "")).unwrap().contains("487"));
    assert_eq!(rig.machine.cancel(rig.now, txn), Err(Misuse::WrongState));
    let outputs = rig.run_until(ms(60_000));
    assert_eq!(sends(&outputs, "CANCEL"), []);
    assert_eq!(sends(&outputs, "ACK"), [1_000]);
    assert!(rig.machine.is_idle());
}

#[test]
fn a_cancelled_invite_without_a_final_response_ends_after_64_t1() {
    let mut rig = rig();
    let uri = target("udp");
    let txn = rig.machine.request(rig.now, &request(Method::Invite, &uri)).unwrap();
    let text = rig.drain()[0].bytes().to_owned();
    rig.hear(&response(&text, "180 Ringing", "b", ""));
    rig.now = ms(2_000);
    rig.machine.cancel(rig.now, txn).unwrap();
    let outputs = rig.run_until(ms(100_000));
    let end = outputs.iter().find(|out| out.line().starts_with("Terminated")).unwrap();
    assert!(
        matches!(end, Out::Event { at, event } if *at == ms(34_000) && event.contains("Timeout")),
        "{end:?}"
    );
}

/// Every transaction ends, even one that rings for ever.
#[test]
fn an_invite_that_rings_without_end_is_cancelled() {
    let mut rig = rig();
    let uri = target("udp");
    rig.machine.request(rig.now, &request(Method::Invite, &uri)).unwrap();
    let text = rig.drain()[0].bytes().to_owned();
    rig.hear(&response(&text, "180 Ringing", "b", ""));
    let outputs = rig.run_until(ms(170_000));
    assert_eq!(outputs, []);
    rig.hear(&response(&text, "180 Ringing", "b", ""));
    let outputs = rig.run_until(ms(500_000));
    assert_eq!(sends(&outputs, "CANCEL")[0], 351_000);
    assert!(rig.machine.is_idle());
}

#[test]
fn cancel_only_cancels_invites() {
    let mut rig = rig();
    let uri = target("udp");
    let txn = rig.machine.request(rig.now, &request(Method::Options, &uri)).unwrap();
    assert_eq!(rig.machine.cancel(rig.now, txn), Err(Misuse::BadMethod));
    rig.machine.abort(rig.now, Txn::Client(txn)).unwrap();
    assert_eq!(rig.machine.cancel(rig.now, txn), Err(Misuse::Gone));
}

// Server transactions.

/// RFC 3261 §17.2.1
#[test]
fn an_invite_is_answered_by_100_after_200_ms() {
    let mut rig = rig();
    let txn = server(&mut rig, &incoming("INVITE", "z9hG4bKi1", "Timestamp: 54.2\r\n"));
    let outputs = rig.run_until(ms(10_000));
    assert_eq!(sends(&outputs, "SIP/2.0 100"), [200]);
    assert_eq!(header(outputs[0].bytes(), "To"), Some("<sip:us@x>"), "no tag is added");
    assert_eq!(header(outputs[0].bytes(), "Timestamp"), Some("54.2 0.200"));
    rig.machine.respond(rig.now, txn, Status::RINGING, &Content::NONE).unwrap();
    let ringing = rig.drain();
    assert_eq!(header(ringing[0].bytes(), "Timestamp"), None);
    // The INVITE again: the last provisional response again.
    assert_eq!(rig.hear(&incoming("INVITE", "z9hG4bKi1", "")), None);
    assert_eq!(rig.drain()[0].bytes(), ringing[0].bytes());
}

#[test]
fn an_invite_that_comes_again_before_the_100_gets_it_at_once() {
    let mut rig = rig();
    server(&mut rig, &incoming("INVITE", "z9hG4bKi1", ""));
    rig.run_until(ms(50));
    assert_eq!(rig.hear(&incoming("INVITE", "z9hG4bKi1", "")), None);
    assert_eq!(sends(&rig.run_until(ms(10_000)), "SIP/2.0 100"), [50]);
}

#[test]
fn a_refusal_is_sent_until_it_is_acknowledged() {
    let mut rig = rig();
    let txn = server(&mut rig, &incoming("INVITE", "z9hG4bKi1", ""));
    rig.machine.respond(rig.now, txn, Status::BUSY_HERE, &Content::NONE).unwrap();
    let outputs = rig.run_until(ms(9_000));
    assert_eq!(sends(&outputs, "SIP/2.0 486"), [0, 500, 1_500, 3_500, 7_500]);
    assert_eq!(rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE), Err(Misuse::WrongState));
    // An ACK of another branch is not it.
    let tag = header(outputs[0].bytes(), "To").unwrap().rsplit('=').next().unwrap().to_owned();
    let ack = incoming("ACK", "z9hG4bKi1", "").replace("<sip:us@x>", &format!("<sip:us@x>;tag={tag}"));
    assert!(rig.hear(&ack.replace("z9hG4bKi1", "z9hG4bKother")).unwrap().starts_with("Ack"));
    assert_eq!(rig.hear(&ack), None);
    assert_eq!(rig.hear(&ack), None);
    assert_eq!(rig.hear(&incoming("INVITE", "z9hG4bKi1", "")), None);
    let outputs = rig.run_until(ms(60_000));
    assert!(
        matches!(&outputs[..], [Out::Event { at, event }] if *at == ms(14_000) && event.contains("Completed"))
    );
}

#[test]
fn a_refusal_that_is_never_acknowledged_is_told() {
    let mut rig = rig();
    let txn = server(&mut rig, &incoming("INVITE", "z9hG4bKi1", ""));
    rig.machine.respond(rig.now, txn, Status::BUSY_HERE, &Content::NONE).unwrap();
    let outputs = rig.run_until(ms(60_000));
    assert_eq!(sends(&outputs, "SIP/2.0 486").len(), 11);
    assert!(
        matches!(outputs.last(), Some(Out::Event { at, event }) if *at == ms(32_000) && event.contains("NoAck"))
    );
}

/// RFC 6026 §7.1
#[test]
fn after_a_2xx_the_invite_is_absorbed_and_the_ack_goes_up() {
    let mut rig = rig();
    let txn = server(&mut rig, &incoming("INVITE", "z9hG4bKi1", ""));
    rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE).unwrap();
    let first = rig.run_until(ms(1_000));
    assert_eq!(sends(&first, "SIP/2.0 200"), [0], "the transaction does not repeat it");
    assert_eq!(rig.hear(&incoming("INVITE", "z9hG4bKi1", "")), None);
    assert_eq!(rig.drain(), []);
    rig.machine.repeat(rig.now, txn).unwrap();
    assert_eq!(rig.drain()[0].bytes(), first[0].bytes());
    let ack = rig.hear(&incoming("ACK", "z9hG4bKi1", "")).unwrap();
    assert!(ack.contains("txn: Some"), "{ack}");
    assert_eq!(rig.machine.respond(rig.now, txn, Status::BUSY_HERE, &Content::NONE), Err(Misuse::WrongState));
    let outputs = rig.run_until(ms(60_000));
    assert!(matches!(&outputs[..], [Out::Event { at, .. }] if *at == ms(32_000)));
    // A new request from here on (RFC 6026 §8.10).
    assert!(rig.hear(&incoming("INVITE", "z9hG4bKi1", "")).unwrap().starts_with("Request"));
}

/// RFC 4320 §4
#[test]
fn other_requests_get_a_100_after_3_5_s_and_never_a_408() {
    let mut rig = rig();
    let txn = server(&mut rig, &incoming("OPTIONS", "z9hG4bKo1", ""));
    for (status, error) in [
        (Status::TRYING, Misuse::Forbidden),
        (Status::RINGING, Misuse::Forbidden),
        (Status::REQUEST_TIMEOUT, Misuse::Forbidden),
    ] {
        assert_eq!(rig.machine.respond(rig.now, txn, status, &Content::NONE), Err(error));
    }
    assert_eq!(rig.hear(&incoming("OPTIONS", "z9hG4bKo1", "")), None);
    let outputs = rig.run_until(ms(10_000));
    assert_eq!(sends(&outputs, "SIP/2.0"), [3_500]);
    assert!(outputs[0].line().starts_with("SIP/2.0 100"));
    rig.hear(&incoming("OPTIONS", "z9hG4bKo1", ""));
    assert_eq!(sends(&rig.drain(), "SIP/2.0 100"), [10_000]);
    rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE).unwrap();
    rig.hear(&incoming("OPTIONS", "z9hG4bKo1", ""));
    let outputs = rig.run_until(ms(100_000));
    assert_eq!(sends(&outputs, "SIP/2.0 200"), [10_000, 10_000]);
    assert!(matches!(outputs.last(), Some(Out::Event { at, .. }) if *at == ms(42_000)), "Timer J");
}

#[test]
fn a_request_that_is_never_answered_is_forgotten_in_silence() {
    let mut rig = rig();
    server(&mut rig, &incoming("OPTIONS", "z9hG4bKo1", ""));
    let outputs = rig.run_until(ms(100_000));
    assert_eq!(sends(&outputs, "SIP/2.0"), [3_500]);
    assert!(
        matches!(outputs.last(), Some(Out::Event { at, event }) if *at == ms(32_000) && event.contains("Unanswered"))
    );
    let txn = server(&mut rig, &incoming("INVITE", "z9hG4bKi1", ""));
    let outputs = rig.run_until(ms(500_000));
    assert_eq!(sends(&outputs, "SIP/2.0 500")[0], 400_000);
    assert_eq!(rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE), Err(Misuse::Gone));
}

#[test]
fn a_reliable_transport_ends_at_once() {
    let mut rig = rig();
    let flow = rig.accept();
    let mut buf = sip_core::framing::StreamBuf::new();
    buf.extend(incoming("OPTIONS", "z9hG4bKo1", "").replace("UDP", "TCP").as_bytes());
    let Some(Event::Request { txn, .. }) = rig.machine.stream(rig.now, flow, &mut buf) else {
        panic!("no request")
    };
    rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE).unwrap();
    let outputs = rig.drain();
    assert!(outputs[0].line().starts_with("SIP/2.0 200") && outputs[1].line().starts_with("Terminated"));
    assert!(rig.machine.is_idle());
}

// Matching.

/// RFC 3261 §9.2
#[test]
fn a_cancel_finds_its_invite_and_is_answered_with_the_same_tag() {
    for (invite, cancel) in [
        ("z9hG4bKi1", "z9hG4bKi1"),
        ("z9hG4bKi1", "Z9HG4BKI1"),
        // RFC 2543: no cookie.
        ("i1", "i1"),
    ] {
        let mut rig = rig();
        let txn = server(&mut rig, &incoming("INVITE", invite, ""));
        let cancelled = rig.hear(&incoming("CANCEL", cancel, "")).unwrap();
        assert!(cancelled.starts_with("Cancelled"), "{cancelled}");
        let ok = rig.drain();
        assert!(ok[0].line().starts_with("SIP/2.0 200"));
        // Again: the same answer, and the user is not told again.
        assert_eq!(rig.hear(&incoming("CANCEL", cancel, "")), None);
        assert_eq!(rig.drain()[0].bytes(), ok[0].bytes());
        rig.machine.respond(rig.now, txn, Status::REQUEST_TERMINATED, &Content::NONE).unwrap();
        let terminated = rig.drain();
        assert_eq!(header(terminated[0].bytes(), "To"), header(ok[0].bytes(), "To"));
    }
}

#[test]
fn a_cancel_after_the_final_response_has_no_effect() {
    let mut rig = rig();
    let txn = server(&mut rig, &incoming("INVITE", "z9hG4bKi1", ""));
    rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE).unwrap();
    rig.drain();
    assert_eq!(rig.hear(&incoming("CANCEL", "z9hG4bKi1", "")), None);
    assert!(rig.drain()[0].line().starts_with("SIP/2.0 200"));
    for confirmed in [false, true] {
        let mut rig = self::rig();
        let txn = server(&mut rig, &incoming("INVITE", "z9hG4bKi2", ""));
        rig.machine.respond(rig.now, txn, Status::BUSY_HERE, &Content::NONE).unwrap();
        rig.drain();
        if confirmed {
            assert_eq!(rig.hear(&incoming("ACK", "z9hG4bKi2", "")), None);
        }
        let state = rig.machine.state(Txn::Server(txn));
        assert_eq!(rig.hear(&incoming("CANCEL", "z9hG4bKi2", "")), None);
        assert!(rig.drain()[0].line().starts_with("SIP/2.0 200"));
        assert_eq!(rig.machine.state(Txn::Server(txn)), state);
    }
    // One that matches nothing is a request like others: a user agent answers 481, a proxy passes it on.
    assert!(rig.hear(&incoming("CANCEL", "z9hG4bKnone", "")).unwrap().starts_with("Request"));
    // Any method can be meant; only an INVITE minds.
    server(&mut rig, &incoming("OPTIONS", "z9hG4bKo1", ""));
    assert_eq!(rig.hear(&incoming("CANCEL", "z9hG4bKo1", "")), None);
    assert!(rig.drain()[0].line().starts_with("SIP/2.0 200"));
}

#[test]
fn one_branch_with_another_method_or_sent_by_is_another_transaction() {
    let mut rig = rig();
    server(&mut rig, &incoming("OPTIONS", "z9hG4bKx", ""));
    server(&mut rig, &incoming("INFO", "z9hG4bKx", ""));
    let other = incoming("OPTIONS", "z9hG4bKx", "").replace(PEER, "192.0.2.9:5060");
    server(&mut rig, &other);
    // The default port may be left out, and the host be written in any case.
    assert_eq!(rig.hear(&incoming("OPTIONS", "z9hG4bKx", "").replace(PEER, "192.0.2.2")), None);
}

/// RFC 3261 §17.2.3, for requests without the cookie.
#[test]
fn rfc_2543_requests_match_by_everything_else() {
    let mut rig = rig();
    let invite = incoming("INVITE", "1", "");
    let txn = server(&mut rig, &invite);
    assert_eq!(rig.hear(&invite), None);
    // The same URI written otherwise is the same; another URI, number or Call-ID is not.
    let again = invite.replacen(&format!("sip:us@{US}"), &format!("SIP:%75s@{US}"), 1);
    assert_ne!(again, invite);
    assert_eq!(rig.hear(&again), None);
    for other in [
        invite.replacen("INVITE sip:us@", "INVITE sip:them@", 1),
        invite.replace("CSeq: 7", "CSeq: 8"),
        invite.replace("c1@x", "c2@x"),
        invite.replace("tag=p1", "tag=p2"),
        invite.replace("branch=1", "branch=2"),
    ] {
        assert!(rig.hear(&other).unwrap().starts_with("Request"), "{other}");
    }
    rig.machine.respond(rig.now, txn, Status::BUSY_HERE, &Content::NONE).unwrap();
    let sent = rig.drain().into_iter().find(|out| out.line().starts_with("SIP/2.0 486")).unwrap();
    let to = header(sent.bytes(), "To").unwrap();
    // The ACK has the To tag of our response; one with another is for somebody else.
    let ack = incoming("ACK", "1", "");
    assert!(rig.hear(&ack.replace("<sip:us@x>", "<sip:us@x>;tag=zz")).unwrap().starts_with("Ack"));
    assert_eq!(rig.hear(&ack.replace("<sip:us@x>", to)), None);
    let Some(State::Ist(state)) = rig.machine.state(Txn::Server(txn)) else { panic!("no IST") };
    assert_eq!(format!("{state:?}"), "Confirmed");
}

/// RFC 3261 §8.2.2.2
#[test]
fn the_same_request_by_another_path_is_merged() {
    let mut rig = rig();
    let first = incoming("OPTIONS", "z9hG4bKpath1", "");
    assert!(rig.hear(&first).unwrap().contains("merged: false"));
    assert!(rig.hear(&first.replace("path1", "path2")).unwrap().contains("merged: true"));
    // Another method, and a request inside a dialog, are not.
    assert!(rig.hear(&incoming("INFO", "z9hG4bKpath3", "")).unwrap().contains("merged: false"));
    let inside = first.replace("path1", "path4").replace("<sip:us@x>", "<sip:us@x>;tag=u");
    assert!(rig.hear(&inside).unwrap().contains("merged: false"));
    // Nor is one that comes when the first is over.
    rig.run_until(ms(100_000));
    assert!(rig.hear(&first.replace("path1", "path5")).unwrap().contains("merged: false"));
}

/// RFC 6026 §8.9, §8.10
#[test]
fn what_comes_after_the_end_is_stray_or_new() {
    for method in [Method::Invite, Method::Options] {
        let mut rig = rig();
        let uri = target("udp");
        rig.machine.request(rig.now, &request(method, &uri)).unwrap();
        let sent = rig.drain()[0].bytes().to_owned();
        rig.hear(&response(&sent, "200 OK", "b", ""));
        rig.run_until(ms(40_000));
        for status in ["180 Ringing", "200 OK", "486 Busy Here"] {
            assert!(
                rig.hear(&response(&sent, status, "b", "")).unwrap().starts_with("Stray"),
                "{method} {status}"
            );
        }
        assert_eq!(rig.drain(), [], "nothing is sent to it");
        assert!(rig.machine.is_idle());

        let text = incoming(&method.to_string(), "z9hG4bKagain", "");
        for _ in 0..2 {
            let txn = server(&mut rig, &text);
            rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE).unwrap();
            assert_eq!(rig.hear(&text), None, "as long as it lives it is the same");
            rig.run_until(rig.now + Duration::from_secs(40));
        }
    }
}

/// RFC 3261 §13.2.2.4, §17.1: the ACK for a 2xx.
#[test]
fn an_ack_is_sent_outside_transactions() {
    let mut rig = rig();
    let uri = target("udp");
    rig.machine.ack(rig.now, &request(Method::Ack, &uri)).unwrap();
    let outputs = rig.run_until(ms(100_000));
    assert_eq!(sends(&outputs, "ACK"), [0]);
    assert_eq!(outputs.len(), 1);
    assert!(rig.machine.is_idle());
    assert_eq!(rig.machine.stats().retained_bytes, 0);
}

// Ways back.

#[test]
fn responses_go_to_the_source_or_where_via_says() {
    for (via, to) in [
        (format!("{PEER};branch=z9hG4bKa"), PEER.to_owned()),
        ("192.0.2.2:7777;branch=z9hG4bKb".into(), "192.0.2.2:7777".into()),
        ("host.example:7777;branch=z9hG4bKc".into(), "192.0.2.2:7777".into()),
        ("10.0.0.1:7777;branch=z9hG4bKd;rport".into(), PEER.into()),
        ("10.0.0.1;branch=z9hG4bKe;maddr=192.0.2.44".into(), "192.0.2.44:5060".into()),
        ("10.0.0.1;branch=z9hG4bKe;maddr=239.1.2.3".into(), "192.0.2.2:5060".into()),
    ] {
        let mut rig = rig();
        let text = incoming("OPTIONS", "x", "").replace(&format!("{PEER};branch=x"), &via);
        let txn = server(&mut rig, &text);
        rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE).unwrap();
        let outputs = rig.drain();
        assert!(matches!(&outputs[0], Out::Sent { to: sent_to, .. } if *sent_to == to), "{via}: {outputs:?}");
    }
}

#[test]
fn a_lost_connection_fails_its_client_transactions_once() {
    let mut rig = rig();
    let uri = target("tcp");
    let one = rig.machine.request(rig.now, &request(Method::Options, &uri)).unwrap();
    let two = rig.machine.request(rig.now, &request(Method::Invite, &uri)).unwrap();
    let outputs = rig.drain();
    assert_eq!(outputs.len(), 1, "one connection for both: {outputs:?}");
    connect(&mut rig, &outputs);
    assert_eq!(rig.drain().len(), 2);
    let flow = sip_core::FlowId::from_bits(0);
    rig.machine.flow_closed(rig.now, flow);
    rig.machine.flow_closed(rig.now, flow);
    let mut events: Vec<_> = rig.drain().iter().map(|out| out.line().to_owned()).collect();
    events.sort();
    let ended = |txn| {
        format!("{:?}", Event::Terminated { txn: Txn::Client(txn), user: 0, cause: Cause::TransportError })
    };
    assert_eq!(events, [ended(one), ended(two)]);
    assert!(rig.machine.is_idle());
}

#[test]
fn a_request_whose_connection_opens_too_late_is_not_sent() {
    let mut rig = rig();
    let uri = target("tcp");
    rig.machine.request(rig.now, &request(Method::Options, &uri)).unwrap();
    let outputs = rig.run_until(ms(40_000));
    assert!(outputs.iter().any(|out| out.line().contains("Timeout")));
    // The connection itself is given up too.
    assert!(outputs.last().unwrap().line().starts_with("close"));
    connect(&mut rig, &outputs);
    assert_eq!(rig.drain(), []);
}

/// A connection costs memory: who opens one says something within the limit, or loses it. A message that comes in time, in any
/// pieces, keeps it.
#[test]
fn a_connection_that_says_nothing_is_closed() {
    for pieces in [0, 1, 2] {
        let mut rig = rig();
        let flow = rig.accept();
        let text = incoming("OPTIONS", "z9hG4bKo1", "").replace("UDP", "TCP");
        let mut buf = sip_core::framing::StreamBuf::new();
        let (early, late) = text.split_at(text.len() / 2);
        rig.run_until(ms(20_000));
        if pieces > 0 {
            buf.extend(early.as_bytes());
            assert!(rig.machine.stream(rig.now, flow, &mut buf).is_none());
        }
        assert_eq!(rig.run_until(ms(31_999)), []);
        if pieces == 2 {
            buf.extend(late.as_bytes());
            assert!(matches!(rig.machine.stream(rig.now, flow, &mut buf), Some(Event::Request { .. })));
        }
        let outputs = rig.run_until(ms(32_000));
        if pieces < 2 {
            assert_eq!(outputs, [Out::Other(format!("close {flow:?}"))]);
            assert_eq!(rig.machine.deadline(), None);
        } else {
            assert!(!rig.run_until(ms(60_000)).iter().any(|out| out.line().starts_with("close")));
        }
    }
}

/// RFC 3261 §18.2.2
#[test]
fn a_response_opens_a_connection_where_the_old_one_is_gone() {
    let mut rig = rig();
    let flow = rig.accept();
    let mut buf = sip_core::framing::StreamBuf::new();
    let text = incoming("OPTIONS", "z9hG4bKo1", "").replace("UDP", "TCP").replace(PEER, "192.0.2.2:5090");
    buf.extend(text.as_bytes());
    let Some(Event::Request { txn, .. }) = rig.machine.stream(rig.now, flow, &mut buf) else {
        panic!("no request")
    };
    rig.machine.flow_closed(rig.now, flow);
    rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE).unwrap();
    let outputs = rig.drain();
    assert!(outputs[0].line().ends_with("tcp:192.0.2.2:5090"), "{outputs:?}");
    // Its transaction is over by then (Timer J is 0); the response goes out all the same.
    assert!(rig.machine.flow_opened(rig.now, sip_core::FlowId::from_bits(1 << 32), US.parse().unwrap()));
    assert!(rig.drain()[0].line().starts_with("SIP/2.0 200"));
    assert_eq!(rig.machine.stats().retained_bytes, 0);
}

#[test]
fn a_transaction_can_end_as_it_begins() {
    let mut config = Config::new([1; 32]);
    config.limits.flows = 1;
    let mut rig = Rig::new(Endpoint::new(config));
    rig.accept();
    let uri = target("tcp").replace("192.0.2.2", "192.0.2.3");
    let txn =
        rig.machine.request(rig.now, &NewRequest { user: 6, ..request(Method::Options, &uri) }).unwrap();
    let outputs = rig.drain();
    let ended = Event::Terminated { txn: Txn::Client(txn), user: 6, cause: Cause::TransportError };
    assert_eq!(outputs[0].line(), format!("{ended:?}"));
}

#[test]
fn intervals_of_zero_do_not_stop_the_clock() {
    let zero = Duration::ZERO;
    for timers in [
        Timers { a: Some(zero), e: Some(zero), ..Timers::DEFAULT },
        Timers { t2: zero, ..Timers::DEFAULT },
        Timers { t1: zero, t2: zero, t4: zero, ..Timers::DEFAULT },
        Timers { b: Some(zero), f: Some(zero), ..Timers::DEFAULT },
    ] {
        for method in [Method::Invite, Method::Options] {
            let mut rig = rig();
            let uri = target("udp");
            rig.machine
                .request(rig.now, &NewRequest { timers: Some(timers), ..request(method, &uri) })
                .unwrap();
            rig.run_until(ms(100));
            assert!(rig.machine.deadline().is_none_or(|deadline| deadline > rig.now));
        }
    }
}

/// A URI that a peer picks is compared in a time that its length bounds.
#[test]
fn long_uris_are_compared_by_their_bytes() {
    let mut rig = rig();
    let params: String = (0..6_000).map(|number| format!(";p{number}=1")).collect();
    let text =
        incoming("OPTIONS", "1", "").replacen(&format!("sip:us@{US}"), &format!("sip:us@{US}{params}"), 1);
    assert!(rig.hear(&text).is_some());
    assert_eq!(rig.hear(&text), None);
    let other = text.replacen("sip:us@", "sip:%75s@", 1).replacen("p7=1", "p7=2", 1);
    assert!(rig.hear(&other).is_some());
}

/// What is inside a dialog ends work and begins none; a CANCEL has room beyond the cap.
#[test]
fn a_bye_gets_through_while_draining_and_at_the_cap() {
    let bye = incoming("BYE", "z9hG4bKb", "").replace("<sip:us@x>", "<sip:us@x>;tag=u");
    let mut config = Config::new([1; 32]);
    config.limits.transactions = 1;
    let mut rig = Rig::new(Endpoint::new(config));
    server(&mut rig, &incoming("INVITE", "z9hG4bKi1", ""));
    assert!(rig.hear(&bye).unwrap().starts_with("Request"));
    let mut rig = self::rig();
    rig.machine.drain(rig.now);
    assert!(rig.hear(&bye).unwrap().starts_with("Request"));
    let mut config = Config::new([1; 32]);
    config.limits.transactions = 1;
    let mut rig = Rig::new(Endpoint::new(config));
    server(&mut rig, &incoming("INVITE", "z9hG4bKi1", ""));
    assert!(rig.hear(&incoming("CANCEL", "z9hG4bKi1", "")).unwrap().starts_with("Cancelled"));
}

/// Edge case: a serial fork sends the INVITE again when the first branch was refused.
#[test]
fn a_refused_invite_is_no_original_of_the_next_one() {
    let mut rig = rig();
    let txn = server(&mut rig, &incoming("INVITE", "z9hG4bKfirst", ""));
    rig.machine.respond(rig.now, txn, Status::BUSY_HERE, &Content::NONE).unwrap();
    assert!(rig.hear(&incoming("INVITE", "z9hG4bKsecond", "")).unwrap().contains("merged: false"));
}

#[test]
fn a_ping_is_answered_by_a_pong() {
    let mut rig = rig();
    let flow = rig.accept();
    let mut buf = sip_core::framing::StreamBuf::new();
    for part in ["\r\n", "\r", "\n"] {
        assert_eq!(rig.drain(), []);
        buf.extend(part.as_bytes());
        assert!(rig.machine.stream(rig.now, flow, &mut buf).is_none());
    }
    let outputs = rig.drain();
    assert_eq!(outputs.len(), 1);
    assert_eq!(outputs[0].bytes(), "\r\n");
}

#[test]
fn a_name_is_resolved_before_its_request_is_sent() {
    let mut rig = rig();
    let txn = rig.machine.request(rig.now, &request(Method::Options, "sip:example.com:5070")).unwrap();
    let outputs = rig.drain();
    assert!(
        matches!(&outputs[..], [Out::Other(text)] if text.ends_with("example.com:5070 udp")),
        "{outputs:?}"
    );
    rig.run_until(ms(600));
    let id = sip_core::ResolveId::from_bits(0);
    rig.machine.resolved(rig.now, id, &["192.0.2.50:5070".parse().unwrap()]);
    let outputs = rig.run_until(ms(1_600));
    assert_eq!(sends(&outputs, "OPTIONS"), [600, 1_500]);
    rig.machine.abort(rig.now, Txn::Client(txn)).unwrap();
    rig.drain();
    rig.machine.request(rig.now, &request(Method::Options, "sip:nowhere.example")).unwrap();
    rig.drain();
    rig.machine.resolved(rig.now, sip_core::ResolveId::from_bits(1 << 32), &[]);
    assert!(rig.drain()[0].line().contains("TransportError"));
}

// Caps and misuse.

#[test]
fn beyond_the_cap_new_requests_get_503() {
    let mut config = Config::new([1; 32]);
    config.limits.transactions = 2;
    let mut rig = Rig::new(Endpoint::new(config));
    let txn = server(&mut rig, &incoming("OPTIONS", "z9hG4bK1", ""));
    server(&mut rig, &incoming("OPTIONS", "z9hG4bK2", "").replace("c1@x", "c2@x"));
    assert_eq!(rig.hear(&incoming("OPTIONS", "z9hG4bK3", "")), None);
    let outputs = rig.drain();
    assert!(outputs[0].line().starts_with("SIP/2.0 503"));
    assert_eq!(header(outputs[0].bytes(), "Retry-After"), Some("5"));
    let uri = target("udp");
    assert_eq!(rig.machine.request(rig.now, &request(Method::Options, &uri)), Err(Misuse::Full));
    // What lives goes on.
    rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE).unwrap();
    assert!(rig.drain()[0].line().starts_with("SIP/2.0 200"));
    assert_eq!(rig.machine.stats().overloaded, 1);
}

#[test]
fn draining_begins_nothing_new() {
    let mut rig = rig();
    let txn = server(&mut rig, &incoming("OPTIONS", "z9hG4bK1", ""));
    rig.machine.drain(rig.now);
    assert_eq!(rig.hear(&incoming("OPTIONS", "z9hG4bK2", "").replace("c1@x", "c2@x")), None);
    assert!(rig.drain()[0].line().starts_with("SIP/2.0 503"));
    let uri = target("udp");
    assert_eq!(rig.machine.request(rig.now, &request(Method::Options, &uri)), Err(Misuse::Draining));
    rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE).unwrap();
    rig.run_until(ms(40_000));
    assert!(rig.machine.is_idle());
}

#[test]
fn misuse_is_told_from_what_peers_do() {
    let mut rig = rig();
    let uri = target("udp");
    let good = request(Method::Options, &uri);
    for (request, error) in [
        (NewRequest { method: Method::Ack, ..good }, Misuse::BadMethod),
        (NewRequest { method: Method::Cancel, ..good }, Misuse::BadMethod),
        (NewRequest { uri: "sip:bob@host name", ..good }, Misuse::BadUri),
        (NewRequest { uri: "mailto:bob@example.com", ..good }, Misuse::BadUri),
        (NewRequest { uri: "sips:bob@192.0.2.2", ..good }, Misuse::NoLocal(Transport::Tls)),
        (NewRequest { from: "<sip:a@x>\r\nEvil: yes", ..good }, Misuse::BadContent),
        (NewRequest { from: "\"x\r\nEvil: yes\" <sip:a@x>", ..good }, Misuse::BadContent),
        (NewRequest { route: &["\"x\r\nEvil: yes\" <sip:a@x;lr>"], ..good }, Misuse::BadContent),
        (NewRequest { call_id: "a b", ..good }, Misuse::BadContent),
        (NewRequest { content: Content::headers(&[("Via", "x")]), ..good }, Misuse::BadContent),
    ] {
        assert_eq!(rig.machine.request(rig.now, &request), Err(error), "{request:?}");
    }
    assert_eq!(rig.drain(), []);
    assert!(rig.machine.is_idle());
}

#[test]
fn malformed_requests_are_answered_statelessly() {
    let mut rig = rig();
    let bad = incoming("OPTIONS", "z9hG4bK1", "").replace("Call-ID: c1@x\r\n", "");
    assert!(rig.hear(&bad).unwrap().contains("no Call-ID header"));
    let outputs = rig.drain();
    assert!(outputs[0].line().starts_with("SIP/2.0 400"));
    assert_eq!(rig.machine.stats().server_transactions, 0);
    // Never an ACK, never a response.
    for text in [
        incoming("ACK", "z9hG4bK1", "").replace("Call-ID: c1@x\r\n", ""),
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n\r\n".into(),
    ] {
        assert!(rig.hear(&text).unwrap().contains("None"));
        assert_eq!(rig.drain(), []);
    }
}

#[test]
fn a_send_that_fails_ends_a_client_transaction_but_no_server_one() {
    let mut rig = rig();
    let uri = target("udp");
    rig.machine.request(rig.now, &request(Method::Options, &uri)).unwrap();
    let ticket = |rig: &mut Rig<Endpoint>| match rig.machine.poll() {
        Some(sip_core::Output::Transmit(transmit)) => transmit.ticket,
        other => panic!("{other:?}"),
    };
    let failed = ticket(&mut rig);
    rig.machine.send_failed(rig.now, failed, sip_core::SendError::Unreachable);
    assert!(rig.drain()[0].line().contains("TransportError"));
    let txn = server(&mut rig, &incoming("INVITE", "z9hG4bKi1", ""));
    rig.machine.respond(rig.now, txn, Status::BUSY_HERE, &Content::NONE).unwrap();
    let failed = ticket(&mut rig);
    rig.machine.send_failed(rig.now, failed, sip_core::SendError::Unreachable);
    let outputs = rig.run_until(ms(1_000));
    assert!(outputs[0].line().starts_with("TransportError"));
    assert_eq!(sends(&outputs, "SIP/2.0 486"), [500], "it goes on");
    assert_eq!(rig.now, Instant::from_millis(1_000));
}
