//! Rules of the RFCs that no scenario shows, floods, and the faults of other stacks that are not seen in a ladder.

mod support;

use sip_core::framing::StreamBuf;
use sip_core::message::{Content, Method, Status};
use sip_core::ua::{NewInvite, UserAgent};
use sip_core::{
    Config, Endpoint, Event, Instant, Limits, Machine, Misuse, NewRequest, Output, Overload, Source,
};
use support::{Out, PEER, Rig, US, header, ms, response, sends};

fn rig() -> Rig<Endpoint> {
    Rig::new(Endpoint::new(Config::new([1; 32])))
}

fn capped(limits: Limits) -> Rig<Endpoint> {
    Rig::new(Endpoint::new(Config { limits, ..Config::new([1; 32]) }))
}

fn incoming(method: &str, branch: &str, extra: &str) -> String {
    format!(
        "{method} sip:us@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{branch}\r\nFrom: <sip:p@x>;tag=p\r\n\
         To: <sip:us@x>\r\nCall-ID: {branch}\r\nCSeq: 1 {method}\r\n{extra}Content-Length: 0\r\n\r\n"
    )
}

/// The transaction of a request that comes in.
fn serve(rig: &mut Rig<Endpoint>, text: &str) -> sip_core::ServerTxn {
    match rig.machine.datagram(rig.now, Rig::<Endpoint>::source(), text.as_bytes()) {
        Some(Event::Request { txn, .. }) => txn,
        other => panic!("no request: {other:?}"),
    }
}

/// RFC 3261 §9.1, §17.1.1.2: CANCEL and ACK have the Route of their INVITE, no Require or Proxy-Require, and go where it went.
#[test]
fn cancel_and_ack_go_where_their_invite_went() {
    let mut rig = rig();
    let invite = NewRequest {
        route: &["<sip:192.0.2.40;lr>", "<sip:p2.example.com;lr>"],
        content: Content::headers(&[("Require", "100rel"), ("Proxy-Require", "x")]),
        ..NewRequest::new(Method::Invite, "sip:bob@example.com", "<sip:a@x>;tag=a", "<sip:b@x>", 1)
    };
    let txn = rig.machine.request(rig.now, &invite).unwrap();
    let sent = rig.drain();
    let text = sent[0].bytes().to_owned();
    rig.hear(&response(&text, "180 Ringing", "b", ""));
    rig.machine.cancel(rig.now, txn).unwrap();
    rig.hear(&response(&text, "487 Request Terminated", "b", ""));
    let routes = |text: &str| {
        text.lines().filter(|line| line.starts_with("Route")).map(str::to_owned).collect::<Vec<_>>()
    };
    for made in rig.drain() {
        let (Out::Sent { to, bytes, .. }, Out::Sent { to: first, .. }) = (&made, &sent[0]) else {
            panic!("{made:?}")
        };
        assert!(bytes.starts_with("CANCEL") || bytes.starts_with("ACK"));
        assert_eq!(to, first);
        assert_eq!(routes(bytes), routes(&text));
        assert_eq!((header(bytes, "Require"), header(bytes, "Proxy-Require")), (None, None));
    }
}

/// What a caller may give to a request never leaves an INVITE without ACK or CANCEL: a long URI, a hundred routes, a large body.
#[test]
fn a_large_invite_is_cancelled_and_acknowledged() {
    let mut rig = rig();
    let uri = format!("sip:{}@192.0.2.2", "u".repeat(70_000));
    let routes = ["<sip:192.0.2.40;lr>"; 100];
    let body = vec![b'x'; 2 << 20];
    let content = Content::body("text/plain", &body);
    let invite = NewRequest {
        route: &routes,
        content,
        ..NewRequest::new(Method::Invite, &uri, "<sip:a@x>;tag=a", "<sip:b@x>", 1)
    };
    let txn = rig.machine.request(rig.now, &invite).unwrap();
    let text = rig.drain()[0].bytes().to_owned();
    rig.hear(&response(&text, "180 Ringing", "b", ""));
    rig.machine.cancel(rig.now, txn).unwrap();
    rig.hear(&response(&text, "487 Request Terminated", "b", ""));
    let made = rig.drain();
    assert!(made[0].bytes().starts_with("CANCEL sip:uuu") && made[1].bytes().starts_with("ACK sip:uuu"));
    // And a Call-ID that can't be read back is refused.
    let bad = NewRequest {
        call_id: "a;b",
        ..NewRequest::new(Method::Invite, "sip:b@192.0.2.2", "<sip:a@x>;tag=a", "<sip:b@x>", 1)
    };
    assert_eq!(rig.machine.request(rig.now, &bad), Err(Misuse::BadContent));
}

/// RFC 3261 §8.2.6.2: a To that has a tag comes back as it is.
#[test]
fn a_to_with_a_tag_comes_back_as_it_is() {
    let mut rig = rig();
    let text = incoming("OPTIONS", "1", "").replace("To: <sip:us@x>", "To: \"Us\" <sip:us@x>;tag=known;x=y");
    let txn = serve(&mut rig, &text);
    rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE).unwrap();
    assert_eq!(header(rig.drain()[0].bytes(), "To"), Some("\"Us\" <sip:us@x>;tag=known;x=y"));
}

/// RFC 3261 §8.2.7: what is answered without a transaction has the same To tag each time.
#[test]
fn an_answer_without_a_transaction_has_the_same_tag_each_time() {
    let mut rig = capped(Limits { transactions: 0, ..Limits::DEFAULT });
    let text = incoming("OPTIONS", "1", "");
    let tags: Vec<_> = (0..3)
        .map(|_| {
            assert_eq!(rig.hear(&text), None);
            header(rig.drain()[0].bytes(), "To").unwrap().to_owned()
        })
        .collect();
    assert!(tags[0].contains(";tag=") && tags.iter().all(|tag| *tag == tags[0]), "{tags:?}");
    assert_ne!(tags[0], {
        rig.hear(&incoming("OPTIONS", "2", ""));
        header(rig.drain()[0].bytes(), "To").unwrap().to_owned()
    });
}

/// RFC 3261 §8.2.6.1: a Timestamp comes back in a 100, with the delay of this side in place of another's, however long it is.
#[test]
fn a_timestamp_has_one_delay() {
    for (sent, back) in [
        ("54", "54 0.200"),
        ("54.2 0.1", "54.2 0.200"),
        (&*"9".repeat(90), &*format!("{} 0.200", "9".repeat(90))),
    ] {
        let mut rig = rig();
        serve(&mut rig, &incoming("INVITE", "1", &format!("Timestamp: {sent}\r\n")));
        let trying = rig.run_until(ms(200));
        assert_eq!(header(trying[0].bytes(), "Timestamp"), Some(back));
    }
}

/// RFC 3261 §18.1.1: a response may come by another connection than its request went by.
#[test]
fn a_response_may_come_by_another_connection() {
    let mut rig = rig();
    let uri = format!("sip:b@{PEER};transport=tcp");
    rig.machine
        .request(rig.now, &NewRequest::new(Method::Options, &uri, "<sip:a@x>;tag=a", "<sip:b@x>", 1))
        .unwrap();
    let Some(Output::Connect { flow, .. }) = rig.machine.poll() else { panic!("no connection") };
    assert!(rig.machine.flow_opened(rig.now, flow, US.parse().unwrap()));
    let text = rig.drain()[0].bytes().to_owned();
    let other = rig.accept();
    let mut buf = StreamBuf::new();
    buf.extend(response(&text, "200 OK", "b", "").as_bytes());
    assert!(matches!(rig.machine.stream(rig.now, other, &mut buf), Some(Event::Response { .. })));
}

/// RFC 6026 §6: an ACK of an RFC 2543 client, without the cookie, reaches the user in Accepted.
#[test]
fn an_ack_without_a_cookie_reaches_the_user() {
    let mut rig = rig();
    let invite = incoming("INVITE", "1", "").replace("z9hG4bK1", "old");
    let txn = serve(&mut rig, &invite);
    rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE).unwrap();
    let ok = rig.drain()[0].bytes().to_owned();
    let ack = invite
        .replace("INVITE", "ACK")
        .replace("To: <sip:us@x>", &format!("To: {}", header(&ok, "To").unwrap()));
    let event = rig.machine.datagram(rig.now, Rig::<Endpoint>::source(), ack.as_bytes());
    assert!(matches!(event, Some(Event::Ack { txn: Some(found), .. }) if found == txn));
}

// The user agent (RFC 3261 §8.1.3.2, §8.2).

fn agent() -> Rig<UserAgent> {
    let mut config = sip_core::ua::Config::new(Config::new([3; 32]), "alice");
    config.identity = "<sip:alice@example.com>".into();
    Rig::new(UserAgent::new(config))
}

fn place(rig: &mut Rig<UserAgent>) -> String {
    let uri = format!("sip:bob@{PEER}");
    rig.machine.invite(rig.now, &NewInvite::new(&uri)).unwrap();
    rig.drain().iter().find(|out| out.bytes().starts_with("INVITE")).unwrap().bytes().to_owned()
}

/// An unknown final response is taken as the x00 of its class, an unknown provisional one as 183.
#[test]
fn unknown_statuses_are_those_of_their_class() {
    for status in ["399 x", "499 x", "599 x", "699 x"] {
        let mut rig = agent();
        let invite = place(&mut rig);
        assert!(rig.hear(&response(&invite, status, "b", "")).unwrap().starts_with("Refused"), "{status}");
        assert_eq!(sends(&rig.drain(), "ACK").len(), 1);
    }
    let mut rig = agent();
    let invite = place(&mut rig);
    let early = rig.hear(&response(&invite, "155 x", "b", "Contact: <sip:b@192.0.2.2>\r\n")).unwrap();
    assert!(early.starts_with("Progress") && early.contains("dialog: Some"), "{early}");
}

/// RFC 3261 §8.2.2.3: the ACK for a 2xx requires nothing that the INVITE did.
#[test]
fn the_ack_for_a_2xx_has_no_require() {
    let mut rig = agent();
    let uri = format!("sip:bob@{PEER}");
    let content = Content::headers(&[("Require", "100rel")]);
    rig.machine.invite(rig.now, &NewInvite { content, ..NewInvite::new(&uri) }).unwrap();
    let invite = rig.drain()[0].bytes().to_owned();
    assert_eq!(header(&invite, "Require"), Some("100rel"));
    rig.hear(&response(&invite, "200 OK", "b", "Contact: <sip:b@192.0.2.2>\r\n"));
    let sent = rig.drain();
    let ack = sent.iter().find(|out| out.bytes().starts_with("ACK")).unwrap();
    assert_eq!(header(ack.bytes(), "Require"), None);
}

/// RFC 3261 §8.2.7: where no transaction is made for want of room, a CANCEL is ignored.
#[test]
fn a_cancel_without_a_transaction_is_ignored() {
    let mut rig = capped(Limits { transactions: 0, ..Limits::DEFAULT });
    serve(&mut rig, &incoming("CANCEL", "0", ""));
    rig.drain();
    for number in 1..4 {
        assert_eq!(rig.hear(&incoming("CANCEL", &number.to_string(), "")), None);
        assert!(rig.drain().is_empty());
    }
}

/// A request inside a dialog that is refused changes nothing: the remote target stays.
#[test]
fn a_refused_reinvite_changes_nothing() {
    let mut rig = agent();
    let invite = place(&mut rig);
    let dialog = match rig.machine.datagram(
        rig.now,
        Rig::<UserAgent>::source(),
        response(&invite, "200 OK", "b", "Contact: <sip:b@192.0.2.2:5099>\r\n").as_bytes(),
    ) {
        Some(sip_core::ua::Event::Answered { dialog, .. }) => dialog,
        other => panic!("{other:?}"),
    };
    rig.drain();
    let from = header(&invite, "From").unwrap();
    let reinvite = format!(
        "INVITE sip:alice@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKre\r\nFrom: {};tag=b\r\nTo: {from}\r\n\
         Call-ID: {}\r\nCSeq: 9 INVITE\r\nContact: <sip:elsewhere@192.0.2.9>\r\nContent-Length: 0\r\n\r\n",
        header(&invite, "To").unwrap(),
        header(&invite, "Call-ID").unwrap()
    );
    match rig.machine.datagram(rig.now, Rig::<UserAgent>::source(), reinvite.as_bytes()) {
        Some(sip_core::ua::Event::Request { txn, .. }) => {
            rig.machine.respond(rig.now, txn, Status::NOT_ACCEPTABLE_HERE, &Content::NONE).unwrap();
        }
        other => panic!("{other:?}"),
    }
    assert!(rig.drain().iter().any(|out| out.bytes().starts_with("SIP/2.0 488")));
    rig.machine.bye(rig.now, dialog, &Content::NONE).unwrap();
    let bye = rig.drain();
    assert!(bye.iter().any(|out| out.bytes().starts_with("BYE sip:b@192.0.2.2:5099")), "{bye:#?}");
}

// Floods: what exists is untouched, memory stays flat (contract, point 8).

/// A thousand times the cap of INVITEs that nobody answers, over half-open transactions that go on as if nothing were.
#[test]
fn a_flood_of_invites_leaves_what_exists_untouched() {
    for overload in [Overload::Refuse, Overload::Silence] {
        let limits = Limits { transactions: 50, unanswered: 20, overload, ..Limits::DEFAULT };
        let mut rig = capped(limits);
        let old = serve(&mut rig, &incoming("INVITE", "old", ""));
        rig.machine.respond(rig.now, old, Status::RINGING, &Content::NONE).unwrap();
        let ours = NewRequest::new(Method::Options, "sip:b@192.0.2.2", "<sip:a@x>;tag=a", "<sip:b@x>", 1);
        rig.machine.request(rig.now, &ours).unwrap();
        rig.drain();
        let (mut refused, mut most) = (0, 0);
        for number in 0..50_000 {
            rig.hear(&incoming("INVITE", &format!("flood{number}"), ""));
            for out in rig.drain() {
                assert!(out.bytes().starts_with("SIP/2.0 503"), "{out:?}");
                assert_eq!(header(out.bytes(), "Retry-After"), Some("5"));
                refused += 1;
            }
            most = most.max(rig.machine.stats().retained_bytes);
        }
        assert_eq!(refused, if overload == Overload::Refuse { 50_000 - 19 } else { 0 });
        let stats = rig.machine.stats();
        assert_eq!((stats.unanswered, stats.server_transactions, stats.overloaded), (20, 20, 50_000 - 19));
        assert!(most < 20_000, "{most} bytes");
        // The old ones answer as ever.
        rig.hear(&incoming("INVITE", "old", ""));
        assert!(rig.drain()[0].bytes().starts_with("SIP/2.0 180"));
        rig.machine.respond(rig.now, old, Status::OK, &Content::NONE).unwrap();
        assert!(rig.drain()[0].bytes().starts_with("SIP/2.0 200"));
        assert_eq!(sends(&rig.run_until(ms(1_000)), "OPTIONS"), [500]);
        assert_eq!(rig.machine.stats().unanswered, 19);
    }
}

/// What a peer can vary is in the key that its requests are found by: no table of requests that are alike in all else becomes a list.
#[test]
fn requests_that_are_nearly_alike_are_found_as_fast_as_others() {
    // Steps are counted by what would take minutes: ten thousand methods on one branch, ten thousand To tags without one.
    let mut rig = rig();
    for number in 0..10_000 {
        let text = incoming("OPTIONS", "same", "").replace("OPTIONS", &format!("X{number}"));
        let txn = serve(&mut rig, &text);
        rig.machine.respond(rig.now, txn, Status::METHOD_NOT_ALLOWED, &Content::NONE).unwrap();
        assert_eq!(rig.drain().len(), 1);
    }
    for number in 0..10_000 {
        let text = incoming("OPTIONS", "old", "").replace(";branch=z9hG4bKold", "");
        let txn = serve(&mut rig, &text.replace("<sip:us@x>", &format!("<sip:us@x>;tag={number}")));
        rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE).unwrap();
        assert_eq!(rig.drain().len(), 1);
    }
    // Of requests that differ in their Request-URIs alone there are at most sixteen.
    let mut taken = 0;
    for number in 0..100 {
        let text = incoming("INFO", "old", "")
            .replace(";branch=z9hG4bKold", "")
            .replace("sip:us@", &format!("sip:u{number}@"));
        let heard = rig.hear(&text);
        assert!(heard.as_ref().is_none_or(|heard| heard.starts_with("Request")), "{heard:?}");
        taken += usize::from(heard.is_some());
        rig.drain();
    }
    assert_eq!(taken, 16);
}

/// The branch of an ACK is put where its Via is, whatever stands in the Request-URI.
#[test]
fn a_contact_with_a_cookie_breaks_no_ack() {
    let mut rig = rig();
    for uri in ["sip:192.0.2.9;x=z9hG4bK", "sip:a;z9hG4bK@192.0.2.9"] {
        rig.machine
            .ack(rig.now, &NewRequest::new(Method::Ack, uri, "<sip:a@x>;tag=a", "<sip:b@x>;tag=b", 1))
            .unwrap();
        let sent = rig.drain();
        let ack = sent[0].bytes();
        assert!(
            ack.starts_with(&format!("ACK {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {US};branch=z9hG4bK")),
            "{ack}"
        );
        let branch = header(ack, "Via").unwrap().split_once(";branch=z9hG4bK").unwrap().1;
        let branch = branch.strip_suffix(";rport").unwrap();
        assert!(branch.len() == 16 && branch != "0000000000000000", "{branch}");
    }
}

/// RFC 3261 §17.1.3: the method of a response is that of its request, not the beginning of it.
#[test]
fn a_method_that_begins_alike_is_another() {
    let mut rig = rig();
    let ours = NewRequest::new(Method::Options, "sip:b@192.0.2.2", "<sip:a@x>;tag=a", "<sip:b@x>", 1);
    rig.machine.request(rig.now, &ours).unwrap();
    let text = rig.drain()[0].bytes().to_owned();
    let good = response(&text, "200 OK", "b", "");
    assert!(rig.hear(&good.replace("1 OPTIONS", "1 OPT")).unwrap().starts_with("Stray"));
    assert!(rig.hear(&good).unwrap().starts_with("Response"));
}

/// Requests that end something do not use up the room of those that begin something.
#[test]
fn byes_do_not_keep_invites_out() {
    let mut rig = capped(Limits { unanswered: 10, ..Limits::DEFAULT });
    for number in 0..100 {
        serve(&mut rig, &incoming("BYE", &format!("bye{number}"), ""));
    }
    serve(&mut rig, &incoming("INVITE", "1", ""));
    assert_eq!(rig.machine.stats().unanswered, 1);
}

/// Responses that match nothing cost nothing, and those that guess a branch guess wrong.
#[test]
fn a_flood_of_spoofed_responses_leaves_what_exists_untouched() {
    let mut rig = rig();
    let ours = NewRequest::new(Method::Invite, "sip:b@192.0.2.2", "<sip:a@x>;tag=a", "<sip:b@x>", 1);
    rig.machine.request(rig.now, &ours).unwrap();
    let text = rig.drain()[0].bytes().to_owned();
    let before = rig.machine.stats();
    let good = response(&text, "200 OK", "b", "");
    for number in 0..20_000_u64 {
        // The place is known, the secret behind it is not.
        let at = good.find("z9hG4bK").unwrap() + 7 + 16;
        let mut bad = good.clone();
        bad.replace_range(at..at + 16, &format!("{:016x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        assert!(rig.hear(&bad).unwrap().starts_with("Stray"));
        assert!(rig.drain().is_empty());
    }
    let after = rig.machine.stats();
    assert_eq!((after.retained_bytes, after.client_transactions), (before.retained_bytes, 1));
    assert!(rig.hear(&good).unwrap().starts_with("Response"));
}

/// The cap on retained bytes: new work is refused, what ends something is not.
#[test]
fn retained_bytes_have_a_cap() {
    let mut rig = capped(Limits { retained: 20_000, ..Limits::DEFAULT });
    let body = vec![b'x'; 4_000];
    let ours = NewRequest {
        content: Content::body("text/plain", &body),
        ..NewRequest::new(Method::Options, "sip:b@192.0.2.2", "<sip:a@x>;tag=a", "<sip:b@x>", 1)
    };
    let first = serve(&mut rig, &incoming("INVITE", "first", ""));
    let taken = (0..20).take_while(|_| rig.machine.request(rig.now, &ours).is_ok()).count();
    assert_eq!(taken, 5);
    assert_eq!(rig.machine.request(rig.now, &ours), Err(Misuse::Full));
    rig.drain();
    assert_eq!(rig.hear(&incoming("OPTIONS", "late", "")), None);
    assert!(rig.drain()[0].bytes().starts_with("SIP/2.0 503"));
    assert_eq!(rig.machine.respond(rig.now, first, Status::RINGING, &Content::NONE), Err(Misuse::Full));
    rig.machine.respond(rig.now, first, Status::OK, &Content::NONE).unwrap();
    rig.run_until(ms(40_000));
    assert!(rig.machine.is_idle());
    assert_eq!(rig.machine.stats().retained_bytes, 0);
}

/// Work per call is bounded: a connection with a thousand transactions is lost one a step, not all in the call.
#[test]
fn a_lost_connection_is_told_one_transaction_a_step() {
    let mut rig = rig();
    let uri = format!("sip:b@{PEER};transport=tcp");
    let ours = NewRequest::new(Method::Options, &uri, "<sip:a@x>;tag=a", "<sip:b@x>", 1);
    for _ in 0..1_000 {
        rig.machine.request(rig.now, &ours).unwrap();
    }
    let Some(Output::Connect { flow, .. }) = rig.machine.poll() else { panic!("no connection") };
    assert!(rig.machine.flow_opened(rig.now, flow, US.parse().unwrap()));
    rig.drain();
    rig.machine.flow_closed(rig.now, flow);
    let left = |rig: &Rig<Endpoint>| rig.machine.stats().client_transactions;
    assert_eq!(left(&rig), 1_000);
    assert_eq!(rig.machine.deadline(), Some(rig.now));
    for done in 1..=1_000 {
        assert!(matches!(rig.machine.poll(), Some(Output::Event(Event::Terminated { .. }))));
        assert_eq!(left(&rig), 1_000 - done);
    }
    assert!(rig.machine.poll().is_none() && rig.machine.is_idle());
}

/// An ACK that ends a transaction on a connection is told at once, though the message itself is absorbed (contract, point 4).
#[test]
fn what_an_absorbed_message_ends_is_told_at_once() {
    let mut rig = rig();
    let flow = rig.accept();
    let mut buf = StreamBuf::new();
    let invite = incoming("INVITE", "1", "").replace("/UDP", "/TCP");
    buf.extend(invite.as_bytes());
    let Some(Event::Request { txn, .. }) = rig.machine.stream(rig.now, flow, &mut buf) else {
        panic!("no request")
    };
    rig.machine.respond(rig.now, txn, Status::BUSY_HERE, &Content::NONE).unwrap();
    let busy = rig.drain()[0].bytes().to_owned();
    buf.extend(
        invite.replace("INVITE", "ACK").replace("<sip:us@x>", header(&busy, "To").unwrap()).as_bytes(),
    );
    assert!(rig.machine.stream(rig.now, flow, &mut buf).is_none());
    assert_eq!(rig.machine.deadline(), Some(rig.now));
    assert!(matches!(rig.machine.poll(), Some(Output::Event(Event::Terminated { .. }))));
}

/// The clock at the end of time: nothing is due there, and nothing goes round in circles.
#[test]
fn the_end_of_time_is_no_time() {
    let mut rig = rig();
    rig.now = Instant::MAX;
    let ours = NewRequest::new(Method::Invite, "sip:b@192.0.2.2", "<sip:a@x>;tag=a", "<sip:b@x>", 1);
    rig.machine.request(rig.now, &ours).unwrap();
    serve(&mut rig, &incoming("OPTIONS", "1", ""));
    assert_eq!(rig.drain().len(), 1);
    rig.machine.advance(Instant::MAX);
    assert!(rig.machine.poll().is_none());
    assert!(rig.machine.deadline().is_some());
}

/// A retransmission is told by its bytes alone, and only from where the first came.
#[test]
fn a_copy_is_the_same_bytes_from_the_same_peer() {
    let mut rig = rig();
    let text = incoming("OPTIONS", "1", "");
    let txn = serve(&mut rig, &text);
    rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE).unwrap();
    rig.drain();
    let elsewhere =
        Source::Datagram { local: US.parse().unwrap(), remote: "192.0.2.77:5060".parse().unwrap() };
    for source in [Rig::<Endpoint>::source(), elsewhere] {
        assert!(rig.machine.datagram(rig.now, source, text.as_bytes()).is_none());
        // It goes where the first one's answer went.
        assert!(matches!(&rig.drain()[..], [Out::Sent { to, again: true, .. }] if to == PEER));
    }
    assert_eq!(rig.machine.stats().retransmissions_in, 2);
}
