//! A proxy, its neighbours played by hand (RFC 3261 §16).

use core::num::NonZero;
use core::time::Duration;
use sip_core::message::{Content, Status};
use sip_core::proxy::{Branch, Config, Event, Part, Proxy};
use sip_core::{BranchId, ContextId, Instant, Machine, Misuse, Source};

mod support;

use sip_core::transaction::Timers;
use support::proxying::{B, C, config, invite, relayed, request, rig, take, texts};
use support::{Out, Rig, US, header, ms, response, sends};

/// §16.3: what may not be forwarded, and what it is answered with.
#[test]
fn what_may_not_be_forwarded() {
    for (uri, extra, status) in [
        ("mailto:bob@example.com", "", "416"),
        ("sip:bob@example.com", "Max-Forwards: 0\r\n", "483"),
        ("sip:bob@example.com", "Proxy-Require: foo, bar\r\n", "420"),
        ("sip:bob@example.com", "Proxy-Require: foo\r\n", ""),
        ("tel:+1234", "", ""),
    ] {
        let mut rig = rig(Config { extensions: vec!["Foo".into()], ..config() });
        let heard = rig.hear(&request("OPTIONS", uri, "1", extra)).unwrap();
        let out = rig.drain();
        if status.is_empty() {
            assert!(heard.starts_with("Request"), "{heard}");
            continue;
        }
        assert!(heard.starts_with("Refused") && out[0].line().starts_with(&format!("SIP/2.0 {status}")));
        let unsupported = header(out[0].bytes(), "Unsupported");
        assert_eq!(unsupported, if status == "420" { Some("bar") } else { None });
    }
}

/// RFC 5393 §4.2: a request that comes again as it was is a loop; with another Request-URI it is a spiral.
#[test]
fn loops_are_found_and_spirals_pass() {
    let mut rig = rig(config());
    let here = Branch { target: Some(format!("udp:{US}").parse().unwrap()), ..Branch::AS_IT_IS };
    let (_, sent) = relayed(&mut rig, &invite("1"), &[here]);
    let heard = rig.hear(&sent[0]).unwrap();
    assert!(heard.starts_with("Refused") && heard.contains("482"), "{heard}");
    let spiral = sent[0].replace("INVITE sip:bob@example.com", "INVITE sip:carol@example.com");
    let spiral = spiral.replacen(
        "branch=z9hG4bK",
        "branch=z9hG4bKother, SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK",
        1,
    );
    assert!(rig.hear(&spiral).unwrap().starts_with("Request"));
}

/// §16.6, steps 1 to 3 and 8: all that is not this proxy's to change stays, byte for byte.
#[test]
fn what_is_not_known_goes_on_untouched() {
    let mut rig = rig(config());
    let extra = "X-What: \"a , b\" ;  c\r\ns:  folded\r\n line\r\nContent-Length: 4\r\n\r\n\0\u{1}x\n";
    let odd = request("FROBNICATE", "sip:bob@example.com;x=%41", "1", extra);
    let (_, sent) = relayed(&mut rig, &odd, &[Branch { target: B_TARGET, ..Branch::AS_IT_IS }]);
    let (start, rest) = sent[0].split_once("\r\nVia: ").unwrap();
    let (via, rest) = rest.split_once("\r\n").unwrap();
    assert_eq!(start, "FROBNICATE sip:bob@example.com;x=%41 SIP/2.0");
    assert!(via.starts_with("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK") && via.ends_with(";rport"));
    let before = odd.split_once("\r\n").unwrap().1;
    let stamped = ";branch=z9hG4bK1;received=192.0.2.2;rport=5060";
    let before =
        before.replace(";branch=z9hG4bK1;rport", stamped).replace("Max-Forwards: 70", "Max-Forwards: 69");
    // RFC 5393 §5.3.3
    let before = before.replace("Content-Length: 4\r\n", "Content-Length: 4\r\nMax-Breadth: 60\r\n");
    assert_eq!(rest, before);
}

const B_TARGET: Option<sip_core::Target> = Some(sip_core::Target {
    transport: sip_core::Transport::Udp,
    addr: core::net::SocketAddr::V4(core::net::SocketAddrV4::new(
        core::net::Ipv4Addr::new(192, 0, 2, 7),
        5060,
    )),
});

/// §16.4, and §16.6 step 6.
#[test]
fn routes_are_read_and_written() {
    let own = "Route: <sip:192.0.2.1;lr>";
    let next = "<sip:192.0.2.7;lr>";
    for (uri, routes, routed, out_uri, out_routes, to) in [
        // To another domain, and by a route.
        ("sip:bob@192.0.2.9", String::new(), true, "sip:bob@192.0.2.9", vec![], "192.0.2.9"),
        ("sip:bob@192.0.2.9", format!("{own}\r\n"), true, "sip:bob@192.0.2.9", vec![], "192.0.2.9"),
        (
            "sip:bob@192.0.2.9",
            format!("{own},{next}\r\n"),
            true,
            "sip:bob@192.0.2.9",
            vec![next],
            "192.0.2.7",
        ),
        // Two that were put on at once; a second one of its own is not for this visit.
        (
            "sip:bob@192.0.2.9",
            "Route: <sip:192.0.2.1;lr;r2>, <sip:192.0.2.1;transport=tcp;lr;r2>\r\n".into(),
            true,
            "sip:bob@192.0.2.9",
            vec![],
            "192.0.2.9",
        ),
        (
            "sip:bob@192.0.2.9",
            format!("{own}\r\nRoute: <sip:192.0.2.1:5060;lr>\r\n"),
            true,
            "sip:bob@192.0.2.9",
            vec!["<sip:192.0.2.1:5060;lr>"],
            US.split(':').next().unwrap(),
        ),
        // From a strict router: our Record-Route is the Request-URI, and that is the last Route.
        (
            "sip:192.0.2.1;lr",
            "Route: <sip:bob@192.0.2.9>\r\n".into(),
            true,
            "sip:bob@192.0.2.9",
            vec![],
            "192.0.2.9",
        ),
        (
            "sip:192.0.2.1;lr",
            format!("Route: {next}\r\nRoute: <sip:bob@192.0.2.9>\r\n"),
            true,
            "sip:bob@192.0.2.9",
            vec![next],
            "192.0.2.7",
        ),
        // To a strict router.
        (
            "sip:bob@192.0.2.9",
            format!("{own}, <sip:192.0.2.7>, <sip:q.example;lr>\r\n"),
            true,
            "sip:192.0.2.7",
            vec!["<sip:q.example;lr>", "<sip:bob@192.0.2.9>"],
            "192.0.2.7",
        ),
        // maddr names this proxy.
        ("sip:bob@x.example;maddr=192.0.2.1", String::new(), true, "sip:bob@x.example", vec![], ""),
        ("sip:bob@example.com", String::new(), false, "sip:bob@example.com", vec![], ""),
    ] {
        let mut rig = rig(config());
        let (context, found) = take(&mut rig, &request("OPTIONS", uri, "1", &routes));
        assert_eq!(found, routed, "{uri} {routes}");
        rig.machine.relay(rig.now, context, &[Branch::AS_IT_IS]).unwrap();
        let out = rig.drain();
        let Some(Out::Sent { bytes, to: found, .. }) =
            out.iter().find(|out| out.bytes().starts_with("OPTIONS"))
        else {
            assert_eq!(to, "", "{uri} {routes}: {out:?}");
            continue;
        };
        assert_eq!((found.split(':').next(), bytes.split(' ').nth(1)), (Some(to), Some(out_uri)), "{bytes}");
        let left = bytes.lines().filter_map(|line| line.strip_prefix("Route: "));
        let left: Vec<_> = left.flat_map(|line| line.split(',')).map(str::trim).collect();
        assert_eq!(left, out_routes, "{bytes}");
    }
}

/// §16.6 step 4; two where the transport changes (RFC 5658 §3). A Path goes first (RFC 3327 §5.3).
#[test]
fn it_stays_on_the_way_if_it_is_told_to() {
    let config = Config { record_route: true, ..config() };
    // But for what proves who wrote it.
    let bare = |value: &str| match value.split_once(";d=") {
        Some((start, rest)) => format!("{start}{}", &rest[16..]),
        None => value.to_owned(),
    };
    let routes = |sent: &str, name: &str| -> Vec<String> {
        sent.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(bare).collect()
    };
    let (_, sent) = relayed(
        &mut rig(config.clone()),
        &request("INVITE", "sip:bob@example.com", "1", "Record-Route: <sip:z;lr>\r\n"),
        &[B],
    );
    assert_eq!(routes(&sent[0], "Record-Route"), ["<sip:192.0.2.1:5060;lr>", "<sip:z;lr>"]);
    let (_, sent) =
        relayed(&mut rig(config.clone()), &request("MESSAGE", "sip:bob@example.com", "1", ""), &[B]);
    assert_eq!(routes(&sent[0], "Record-Route"), [] as [&str; 0]);
    let path = ["<sip:192.0.2.8;lr>", "<sip:e;lr>"];
    let (_, sent) = relayed(&mut rig(config.clone()), &invite("1"), &[Branch { routes: &path, ..B }]);
    assert_eq!(routes(&sent[0], "Route"), path);

    let mut rig = rig(config);
    let (context, _) = take(&mut rig, &invite("1"));
    rig.machine.relay(rig.now, context, &[Branch::to("sip:b@192.0.2.7;transport=tcp")]).unwrap();
    let flow = rig.drain();
    let Some(Out::Other(connect)) = flow.first() else { panic!("{flow:?}") };
    assert!(connect.starts_with("connect"));
    let flow = rig.machine.flows().next().unwrap();
    rig.machine.flow_opened(rig.now, flow, US.parse().unwrap());
    let sent = texts(&rig.drain(), "INVITE");
    assert_eq!(
        routes(&sent[0], "Record-Route"),
        ["<sip:192.0.2.1:5060;transport=tcp;lr;r2>", "<sip:192.0.2.1:5060;lr;r2>"]
    );
}

/// A Record-Route proves itself when it comes back as a Route, from either end of its dialog and in no other; what anybody can write proves nothing.
#[test]
fn its_own_record_route_is_known_again() {
    let mut rig = rig(Config { record_route: true, ..config() });
    let (_, sent) = relayed(&mut rig, &invite("1"), &[B]);
    let recorded = header(&sent[0], "Record-Route").unwrap().to_owned();
    let bye = |branch: &str, route: &str| {
        let bye = request("BYE", "sip:b@192.0.2.7", branch, &format!("Route: {route}\r\n"));
        bye.replace("To: <sip:bob@example.com>", "To: <sip:bob@example.com>;tag=b")
    };
    let turned = |text: &str| {
        text.replace("From: <sip:alice@x>;tag=a", "From: <sip:bob@example.com>;tag=b")
            .replace("To: <sip:bob@example.com>;tag=b", "To: <sip:alice@x>;tag=a")
    };
    let strict = bye("9", "<sip:b@192.0.2.7>")
        .replace("BYE sip:b@192.0.2.7", &format!("BYE {}", recorded.trim_matches(['<', '>'])));
    for (text, known) in [
        (bye("2", &recorded), true),
        (turned(&bye("3", &recorded)), true),
        (strict, true),
        (bye("4", &recorded).replace("Call-ID: call", "Call-ID: other"), false),
        (bye("5", &recorded).replace(";tag=a", ";tag=c"), false),
        (bye("6", &recorded).replace(";tag=b", ""), false),
        (bye("7", "<sip:192.0.2.1;lr>"), false),
        (bye("8", "<sip:192.0.2.1;lr;d=0000000000000000>"), false),
    ] {
        match rig.machine.datagram(rig.now, Rig::<Proxy>::source(), text.as_bytes()) {
            Some(Event::Request { routed: true, recorded, .. }) => assert_eq!(recorded, known, "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

/// §16.7: the responses of two branches, and what goes back.
#[test]
fn the_best_response_goes_back() {
    for (first, second, best, has) in [
        ("486 Busy Here", "404 Not Found", "486", None),
        ("503 Service Unavailable", "503 Service Unavailable", "500", None),
        ("503 Service Unavailable", "480 Temporarily Unavailable", "480", None),
        ("302 Moved Temporarily", "404 Not Found", "302", None),
        ("404 Not Found", "603 Decline", "603", None),
        ("401 Unauthorized", "407 Proxy Authentication Required", "401", Some(2)),
        ("407 Proxy Authentication Required", "404 Not Found", "407", Some(1)),
    ] {
        let mut rig = rig(config());
        let (_, sent) = relayed(&mut rig, &invite("1"), &[B, C]);
        for (forwarded, status) in sent.iter().zip([first, second]) {
            let challenge = match &status[..3] {
                "401" => "WWW-Authenticate: Digest realm=\"b\", nonce=\"1\"\r\n",
                "407" => "Proxy-Authenticate: Digest realm=\"c\", nonce=\"2\"\r\n",
                _ => "",
            };
            rig.hear(&response(forwarded, status, "t", &format!("X-From: {status}\r\n{challenge}")));
        }
        let out = rig.drain();
        assert_eq!(texts(&out, "ACK").len(), 2, "each hop is acknowledged");
        let back: Vec<_> =
            texts(&out, "SIP/2.0").into_iter().filter(|text| !text.contains("CANCEL")).collect();
        assert!(back.len() == 1 && back[0].starts_with(&format!("SIP/2.0 {best}")), "{back:?}");
        assert_eq!(back[0].matches("Via: ").count(), 1);
        let challenges = back[0].lines().filter(|line| line.contains("-Authenticate: ")).count();
        assert_eq!(challenges, has.unwrap_or(0));
        if best != "500" {
            assert!(header(&back[0], "X-From").unwrap().starts_with(best), "as it came");
        }
    }
}

/// RFC 4320 §4.2: a request other than INVITE that nobody answers gets nothing; an INVITE gets the 408 that nobody has sent.
#[test]
fn nobody_answers() {
    for (method, answer) in [("OPTIONS", false), ("INVITE", true)] {
        let mut rig = rig(config());
        let (_, _) = relayed(&mut rig, &request(method, "sip:bob@example.com", "1", ""), &[B]);
        let out = rig.run_until(ms(40_000));
        let finals: Vec<_> = sends(&out, "SIP/2.0 408");
        assert_eq!(finals.first(), answer.then_some(&32_000), "{method}");
        assert!(out.iter().any(|out| out.line().starts_with("BranchFailed")));
        rig.run_until(ms(200_000));
        assert!(rig.machine.is_idle() && rig.machine.contexts().next().is_none());
    }
}

/// §16.8: Timer C, anew with each provisional response.
#[test]
fn a_branch_that_rings_without_end_is_cancelled() {
    let mut rig = rig(config());
    let (_, sent) = relayed(&mut rig, &invite("1"), &[B]);
    rig.hear(&response(&sent[0], "180 Ringing", "t", ""));
    rig.run_until(ms(100_000));
    rig.hear(&response(&sent[0], "180 Ringing", "t", ""));
    let out = rig.run_until(ms(290_000));
    assert_eq!(sends(&out, "CANCEL").first(), Some(&281_000));
    rig.hear(&response(&sent[0], "487 Request Terminated", "t", ""));
    assert_eq!(texts(&rig.drain(), "SIP/2.0 487").len(), 1);
}

/// The user decides late, or never; and what it may not do any more.
#[test]
fn a_user_who_takes_its_time() {
    let mut rig = rig(Config { ask: true, patience: Duration::from_secs(10), ..config() });
    // Never: 500.
    take(&mut rig, &invite("1"));
    let out = rig.run_until(ms(20_000));
    assert_eq!(sends(&out, "SIP/2.0 500").first(), Some(&10_000));
    // Late: what is needed has been kept.
    let (context, _) = take(&mut rig, &invite("2"));
    rig.run_until(ms(29_000));
    assert_eq!(rig.machine.forward_best(rig.now, context), Err(Misuse::WrongState));
    assert_eq!(rig.machine.relay(rig.now, context, &[]), Err(Misuse::Full));
    assert_eq!(rig.machine.relay(rig.now, context, &[B, Branch::to("no uri")]), Err(Misuse::BadUri));
    assert_eq!(texts(&rig.drain(), "INVITE").len(), 0, "all or nothing");
    rig.machine.relay(rig.now, context, &[B]).unwrap();
    let sent = texts(&rig.drain(), "INVITE");
    rig.hear(&response(&sent[0], "486 Busy Here", "t", ""));
    let out = rig.drain();
    assert!(out.iter().any(|out| out.line().starts_with("AllFailed")) && texts(&out, "SIP/2.0").is_empty());
    rig.machine.relay(rig.now, context, &[C]).unwrap();
    let sent = texts(&rig.drain(), "INVITE");
    rig.hear(&response(&sent[0], "404 Not Found", "t", ""));
    rig.drain();
    // Never again: the best goes back.
    let out = rig.run_until(ms(60_000));
    assert_eq!(sends(&out, "SIP/2.0 486").first(), Some(&39_000));
    assert_eq!(rig.machine.relay(rig.now, context, &[B]), Err(Misuse::WrongState));
    rig.run_until(ms(200_000));
    assert_eq!(rig.machine.relay(rig.now, context, &[B]), Err(Misuse::Gone));
    assert!(rig.machine.is_idle());
}

/// A CANCEL before anything was forwarded, and one that finds nothing.
#[test]
fn a_cancel_before_the_user_has_decided() {
    let mut rig = rig(config());
    let (context, _) = take(&mut rig, &invite("1"));
    let heard = rig.hear(&request("CANCEL", "sip:bob@example.com", "1", "")).unwrap();
    assert!(heard.starts_with("Cancelled"));
    let out = rig.drain();
    assert!(texts(&out, "SIP/2.0 200").len() == 1 && texts(&out, "SIP/2.0 487").len() == 1);
    assert_eq!(rig.machine.relay(rig.now, context, &[B]), Err(Misuse::WrongState));
    let heard = rig.hear(&request("CANCEL", "sip:bob@example.com", "7", "")).unwrap();
    assert!(heard.starts_with("Refused"));
    assert_eq!(texts(&rig.drain(), "SIP/2.0 481").len(), 1);
}

/// RFC 3261 §9.1: the CANCEL and the ACK of a hop have the Via of that hop alone, and its route.
#[test]
fn what_is_made_for_a_hop_is_made_of_what_was_sent() {
    let mut rig = rig(config());
    let path = ["<sip:192.0.2.8;lr>"];
    let (context, sent) = relayed(&mut rig, &invite("1"), &[Branch { routes: &path, ..B }]);
    rig.hear(&response(&sent[0], "180 Ringing", "t", ""));
    rig.machine.cancel(rig.now, context, "").unwrap();
    let cancel = texts(&rig.drain(), "CANCEL").remove(0);
    rig.hear(&response(&sent[0], "487 Request Terminated", "t", ""));
    let ack = texts(&rig.drain(), "ACK").remove(0);
    for text in [&cancel, &ack] {
        assert_eq!(text.matches("Via: ").count(), 1);
        assert_eq!(header(text, "Via"), header(&sent[0], "Via"));
        assert_eq!(header(text, "Route"), Some(path[0]));
        assert_eq!(text.split(' ').nth(1), Some("sip:b@192.0.2.7"));
    }
}

/// RFC 3261 §16.6, §16.11: the ACK for a 2xx goes by its route, a copy with the same branch, and never in a circle.
#[test]
fn the_ack_for_a_2xx_goes_its_way() {
    let mut rig = rig(config());
    let ack = request("ACK", "sip:b@192.0.2.7", "9", "Route: <sip:192.0.2.1;lr>\r\n");
    let mut all = Vec::new();
    for _ in 0..2 {
        assert!(rig.hear(&ack).unwrap().contains("forwarded: true"));
        all.extend(texts(&rig.drain(), "ACK"));
    }
    assert!(all.len() == 2 && all[0] == all[1] && header(&all[0], "Route").is_none());
    assert_eq!(header(&all[0], "Max-Forwards"), Some("69"));
    for (uri, extra) in [("sip:b@192.0.2.7", "Max-Forwards: 0\r\n"), ("sip:bob@example.com", "")] {
        assert!(rig.hear(&request("ACK", uri, "9", extra)).unwrap().contains("forwarded: false"));
        assert!(rig.drain().is_empty());
    }
    assert!(rig.machine.is_idle());
}

/// §16.7, step 3, RFC 6026 §7.3: a response without a Via of somebody else, or to nothing that is alive, goes nowhere.
#[test]
fn responses_that_are_for_nobody() {
    let mut rig = rig(config());
    let (_, sent) = relayed(&mut rig, &invite("1"), &[B]);
    let ok = response(&sent[0], "200 OK", "t", "");
    let (first, second) = ok.split_once("Via: ").map(|(a, b)| (a, b.split_once("Via: ").unwrap())).unwrap();
    let lonely = format!("{first}Via: {}{}", second.0, second.1.split_once("\r\n").unwrap().1);
    assert!(rig.hear(&lonely).unwrap().contains("forwarded: false"));
    let broken = ok.replace("SIP/2.0/UDP 192.0.2.2", "SIP/2.0?UDP 192.0.2.2");
    assert!(rig.hear(&broken).unwrap().contains("forwarded: false"));
    assert!(rig.drain().is_empty());
    assert!(rig.hear(&ok).unwrap().contains("forwarded: true"));
    assert_eq!(texts(&rig.drain(), "SIP/2.0 200").len(), 1);
    assert!(rig.hear(&ok.replacen(";branch=z9hG4bK0", ";branch=z9hG4bK1", 1)).unwrap().starts_with("Stray"));
}

/// A place that nothing can be sent to is one that failed: the others go on.
#[test]
fn a_branch_that_can_not_be_sent() {
    let mut rig = rig(config());
    let nowhere = Branch::to("sip:b@192.0.2.7;transport=tls");
    let (context, sent) = relayed(&mut rig, &invite("1"), &[nowhere, C]);
    assert_eq!(sent.len(), 1);
    rig.hear(&response(&sent[0], "486 Busy Here", "t", ""));
    assert_eq!(texts(&rig.drain(), "SIP/2.0 486").len(), 1, "what was received is better");
    assert_eq!(rig.machine.respond(rig.now, context, Status::OK, &Content::NONE), Err(Misuse::WrongState));
    assert_eq!(rig.machine.cancel_branch(rig.now, BranchId::from_bits(77), ""), Err(Misuse::Gone));
    assert_eq!(rig.machine.set_user(rig.now, ContextId::from_bits(77), 1), Err(Misuse::Gone));
}

/// An answer of the proxy's own cancels what is under way, and the context ends once.
#[test]
fn an_answer_of_its_own() {
    let mut rig = rig(config());
    let (context, sent) = relayed(&mut rig, &invite("1"), &[B, C]);
    rig.machine.set_user(rig.now, context, 42).unwrap();
    for forwarded in &sent {
        rig.hear(&response(forwarded, "180 Ringing", "t", ""));
    }
    rig.machine.respond(rig.now, context, Status::BUSY_HERE, &Content::NONE).unwrap();
    let out = rig.drain();
    assert!(texts(&out, "CANCEL").len() == 2 && texts(&out, "SIP/2.0 486").len() == 1);
    for forwarded in &sent {
        rig.hear(&response(forwarded, "487 Request Terminated", "t", ""));
    }
    let out = rig.run_until(Instant::from_millis(300_000));
    let ends: Vec<_> = out.iter().filter(|out| out.line().starts_with("Ended")).collect();
    assert!(
        ends.len() == 1 && ends[0].line().contains("user: 42") && ends[0].line().contains("486"),
        "{ends:?}"
    );
    assert!(rig.machine.is_idle());
}

/// Whoever refuses for its user says when to come again.
#[test]
fn a_user_without_room() {
    let mut rig = rig(config());
    let bytes = invite("1");
    let source: Source = Rig::<Proxy>::source();
    let event = rig.machine.datagram(rig.now, source, bytes.as_bytes()).unwrap();
    assert!(rig.machine.refuse(ms(0), event).is_none());
    let out = rig.drain();
    let busy = texts(&out, "SIP/2.0 503");
    assert_eq!(header(&busy[0], "Retry-After"), Some("5"));
}

/// §16.6: the highest q first, equal ones at once, the next when those have failed. A 6xx ends it, and so does the caller.
#[test]
fn places_have_their_turns() {
    let branches = [
        Branch { q: 500, ..B },
        Branch { breadth: NonZero::new(40), ..C },
        Branch { q: 500, user: 3, ..Branch::to("sip:d@192.0.2.9") },
        Branch { q: 1, ..B },
    ];
    let start = || {
        let mut rig = rig(config());
        let (context, sent) = relayed(&mut rig, &invite("1"), &branches);
        assert_eq!(sent.len(), 1);
        assert!(sent[0].starts_with("INVITE sip:c@"));
        (rig, context, sent)
    };
    let (mut rig, _, sent) = start();
    rig.hear(&response(&sent[0], "404 Not Found", "t", ""));
    let second = texts(&rig.drain(), "INVITE");
    assert!(
        second.len() == 2 && second[0].starts_with("INVITE sip:b@") && second[1].starts_with("INVITE sip:d@")
    );
    rig.hear(&response(&second[0], "486 Busy Here", "t", ""));
    assert!(texts(&rig.drain(), "INVITE").is_empty(), "the other one still rings");
    rig.hear(&response(&second[1], "480 Temporarily Unavailable", "t", ""));
    let last = texts(&rig.drain(), "INVITE");
    assert_eq!(last.len(), 1);
    rig.hear(&response(&last[0], "500 Server Internal Error", "t", ""));
    assert_eq!(texts(&rig.drain(), "SIP/2.0 404").len(), 1);

    let (mut rig, _, sent) = start();
    rig.hear(&response(&sent[0], "603 Decline", "t", ""));
    let out = rig.drain();
    assert!(texts(&out, "INVITE").is_empty() && texts(&out, "SIP/2.0 603").len() == 1);

    let (mut rig, _, sent) = start();
    rig.hear(&response(&sent[0], "180 Ringing", "t", ""));
    rig.hear(&request("CANCEL", "sip:bob@example.com", "1", ""));
    rig.hear(&response(&sent[0], "487 Request Terminated", "t", ""));
    let out = rig.drain();
    assert!(texts(&out, "INVITE").is_empty() && texts(&out, "SIP/2.0 487").len() == 1);

    // More may be added while some wait.
    let (mut rig, context, sent) = start();
    rig.machine.relay(rig.now, context, &[Branch { q: 700, ..Branch::to("sip:e@192.0.2.9") }]).unwrap();
    assert_eq!(texts(&rig.drain(), "INVITE").len(), 1, "the best of a list begins at once");
    rig.machine.respond(rig.now, context, Status::BUSY_HERE, &Content::NONE).unwrap();
    rig.hear(&response(&sent[0], "404 Not Found", "t", ""));
    assert!(texts(&rig.drain(), "INVITE").is_empty());
    rig.run_until(ms(300_000));
    assert!(rig.machine.is_idle() && rig.machine.stats().retained_bytes == 0);
}

/// The Max-Breadths of requests.
fn breadths(sent: &[String]) -> Vec<u32> {
    sent.iter().map(|text| header(text, "Max-Breadth").unwrap().parse().unwrap()).collect()
}

/// RFC 5393 §5.3.3: what a request has, at most 60, is shared among those that go at once; nothing of it is lost on the way of one.
#[test]
fn max_breadth_is_shared() {
    let d = Branch::to("sip:d@192.0.2.9");
    let cap = Branch { breadth: NonZero::new(3), ..B };
    for (has, branches, shares) in [
        ("", vec![B], vec![60]),
        ("", vec![B, C], vec![30, 30]),
        ("Max-Breadth: 7\r\n", vec![B], vec![7]),
        ("Max-Breadth: 7\r\n", vec![B, C, d], vec![3, 2, 2]),
        ("Max-Breadth: 7\r\n", vec![cap, C], vec![3, 4]),
        ("Max-Breadth: 4000000000\r\n", vec![B, C, d], vec![20, 20, 20]),
        ("Max-Breadth: all\r\n", vec![B], vec![60]),
        ("Max-Breadth: 7\r\nMax-Breadth: 8\r\n", vec![B, C], vec![4, 3]),
        ("Max-Breadth: 2\r\n", vec![B, C, d], vec![1, 1]),
    ] {
        for method in ["INVITE", "OPTIONS"] {
            let text = request(method, "sip:bob@example.com", "1", has);
            let (_, sent) = relayed(&mut rig(config()), &text, &branches);
            assert_eq!(breadths(&sent), shares, "{method} {has}");
            assert!(sent.iter().all(|text| text.matches("Max-Breadth").count() == 1));
        }
    }
    let mut rig = rig(config());
    rig.hear(&request("INVITE", "sip:bob@example.com", "1", "Max-Breadth: 0\r\n"));
    assert_eq!(texts(&rig.drain(), "SIP/2.0 440").len(), 1);
}

/// §5.3.3.1: who finds no room waits until another has failed, and goes before those of a lower q.
#[test]
fn who_finds_no_room_waits() {
    let d = Branch { q: 500, ..Branch::to("sip:d@192.0.2.9") };
    let mut rig = rig(config());
    let narrow = request("INVITE", "sip:bob@example.com", "1", "Max-Breadth: 1\r\n");
    let (context, sent) = relayed(&mut rig, &narrow, &[B, C, d]);
    assert!(sent.len() == 1 && sent[0].starts_with("INVITE sip:b@"));
    // One that is added waits too.
    rig.machine.relay(rig.now, context, &[Branch::to("sip:e@192.0.2.9")]).unwrap();
    assert!(rig.drain().is_empty());
    let mut last = sent;
    for next in ["c", "e", "d"] {
        rig.hear(&response(&last[0], "486 Busy Here", "t", ""));
        last = texts(&rig.drain(), "INVITE");
        assert!(last.len() == 1 && last[0].starts_with(&format!("INVITE sip:{next}@")), "{last:?}");
        assert_eq!(breadths(&last), [1]);
    }
    rig.hear(&response(&last[0], "404 Not Found", "t", ""));
    assert_eq!(texts(&rig.drain(), "SIP/2.0 4").len(), 1);

    // The caller gives up: who waits is forgotten.
    let (_, sent) = relayed(&mut rig, &narrow.replace("K1", "K2").replace("call", "other"), &[B, C]);
    rig.hear(&response(&sent[0], "180 Ringing", "t", ""));
    rig.hear(&request("CANCEL", "sip:bob@example.com", "2", "").replace("call", "other"));
    rig.hear(&response(&sent[0], "487 Request Terminated", "t", ""));
    assert!(texts(&rig.drain(), "INVITE").is_empty());
    rig.run_until(ms(300_000));
    assert!(rig.machine.is_idle() && rig.machine.stats().retained_bytes == 0);
}

/// The TM module's own timing: retransmissions 1, 2 and then 4 s apart, INVITEs too; 30 s for a first response, 120 s for a final one.
#[test]
fn the_timing_of_the_tm_module() {
    let mut core = sip_core::Config::new([9; 32]);
    core.timers = Timers::TM;
    for method in ["INVITE", "OPTIONS"] {
        let mut rig = rig(Config { core: core.clone(), ..config() });
        let (_, first) = relayed(&mut rig, &request(method, "sip:bob@example.com", "1", ""), &[B]);
        assert_eq!(first.len(), 1);
        let out = rig.run_until(ms(100_000));
        assert_eq!(sends(&out, method), [1_000, 3_000, 7_000, 11_000, 15_000, 19_000, 23_000, 27_000]);
        let told = out.iter().find(|out| out.line().starts_with("BranchFailed")).unwrap();
        let Out::Event { at, event } = told else { panic!() };
        assert!(*at == ms(30_000) && event.contains("408") && event.contains("Timeout"), "{told:?}");
        assert_eq!(sends(&out, "SIP/2.0 408").is_empty(), method != "INVITE");
    }
    let mut rig = rig(Config { core, ..config() });
    let (_, sent) = relayed(&mut rig, &invite("1"), &[B]);
    rig.run_until(ms(10_000));
    rig.hear(&response(&sent[0], "180 Ringing", "b", ""));
    assert_eq!(sends(&rig.run_until(ms(200_000)), "CANCEL")[0], 130_000);
}

/// RFC 3326: a CANCEL says why, whether it can be sent at once or waits for a provisional response.
#[test]
fn a_cancel_says_why() {
    let ring = |rig: &mut Rig<Proxy>, sent: &str| {
        rig.hear(&response(sent, "180 Ringing", "c", ""));
        rig.drain()
    };
    let reason = |out: &[Out]| {
        let cancels = texts(out, "CANCEL");
        assert_eq!(cancels.len(), 1, "{out:#?}");
        header(&cancels[0], "Reason").map(str::to_owned)
    };
    for (status, expected) in [
        ("200 OK", Some("SIP;cause=200;text=\"Call completed elsewhere\"")),
        ("603 Decline", Some("SIP;cause=603;text=\"Decline\"")),
    ] {
        for rings_late in [false, true] {
            let mut rig = rig(config());
            let (_, sent) = relayed(&mut rig, &invite("1"), &[B, C]);
            if !rings_late {
                ring(&mut rig, &sent[1]);
            }
            rig.hear(&response(&sent[0], status, "b", ""));
            let out = if rings_late { ring(&mut rig, &sent[1]) } else { rig.drain() };
            assert_eq!(reason(&out).as_deref(), expected);
        }
    }
    // As the caller says, as the user says, or not at all.
    let mut rig = rig(config());
    let (_, sent) = relayed(&mut rig, &invite("1"), &[B]);
    ring(&mut rig, &sent[0]);
    let why = "Reason: SIP;cause=600\r\nReason: Q.850;cause=16;text=\"gone\"\r\n";
    rig.hear(&request("CANCEL", "sip:bob@example.com", "1", why));
    let out = rig.drain();
    assert!(texts(&out, "CANCEL")[0].contains(why), "{out:#?}");
    let mut quiet = Rig::new(Proxy::new(Config { reasons: false, ..config() }));
    for (branch, why, expected) in [("1", "", None), ("2", "SIP;cause=408", Some("SIP;cause=408"))] {
        let (context, sent) = relayed(&mut quiet, &invite(branch), &[B]);
        ring(&mut quiet, &sent[0]);
        assert_eq!(quiet.machine.cancel(quiet.now, context, "a\r\nb"), Err(Misuse::BadContent));
        quiet.machine.cancel(quiet.now, context, why).unwrap();
        assert_eq!(reason(&quiet.drain()).as_deref(), expected);
    }
}

/// A copy is for who listens: it is repeated and ends by itself, what it says goes nowhere, and the user answers.
#[test]
fn a_copy_of_a_request() {
    let mut rig = rig(config());
    let copy = Branch { part: Part::Copy, ..C };
    let (context, sent) = relayed(&mut rig, &request("REGISTER", "sip:example.com", "1", ""), &[copy]);
    rig.machine.respond(rig.now, context, Status::OK, &Content::NONE).unwrap();
    assert_eq!(texts(&rig.drain(), "SIP/2.0 200").len(), 1);
    assert_eq!(sends(&rig.run_until(ms(2_000)), "REGISTER"), [500, 1_500]);
    assert!(rig.hear(&response(&sent[0], "200 OK", "c", "")).unwrap().contains("forwarded: false"));
    assert_eq!(texts(&rig.drain(), "SIP/2.0"), [] as [&str; 0]);
    // Beside others, whatever becomes of it and of them.
    for said in ["180 Ringing", "486 Busy Here", "603 Decline", "200 OK"] {
        let (_, sent) = relayed(&mut rig, &invite(&said[..3]), &[B, copy]);
        rig.hear(&response(&sent[1], said, "c", ""));
        assert_eq!(texts(&rig.drain(), "SIP/2.0"), [] as [&str; 0], "{said}");
        rig.hear(&response(&sent[0], "404 Not Found", "b", ""));
        let out = rig.drain();
        assert_eq!((texts(&out, "SIP/2.0 404").len(), texts(&out, "CANCEL").len()), (1, 0));
    }
    // Who forgets to answer is reminded.
    let (_, _) = relayed(&mut rig, &request("REGISTER", "sip:example.com", "2", ""), &[copy]);
    let out = rig.run_until(ms(400_000));
    assert_eq!(sends(&out, "SIP/2.0 500"), [32_000]);
    assert!(rig.machine.is_idle());
}

/// Nobody waits for a minor branch; what it says in time counts.
#[test]
fn a_minor_branch() {
    let minor = Branch { part: Part::Minor, ..C };
    let mut rig = rig(config());
    let (_, sent) = relayed(&mut rig, &invite("1"), &[B, minor]);
    rig.hear(&response(&sent[1], "180 Ringing", "c", ""));
    assert_eq!(texts(&rig.drain(), "SIP/2.0 180").len(), 1);
    rig.hear(&response(&sent[0], "404 Not Found", "b", ""));
    let out = rig.drain();
    assert_eq!((texts(&out, "SIP/2.0 404").len(), texts(&out, "CANCEL").len()), (1, 1));
    let (_, sent) = relayed(&mut rig, &invite("2"), &[B, minor]);
    rig.hear(&response(&sent[1], "200 OK", "c", ""));
    assert_eq!(texts(&rig.drain(), "SIP/2.0 200").len(), 1);
    let (_, sent) = relayed(&mut rig, &invite("3"), &[B, minor]);
    rig.hear(&response(&sent[1], "302 Moved", "c", ""));
    assert_eq!(texts(&rig.drain(), "SIP/2.0 302").len(), 0);
    rig.hear(&response(&sent[0], "404 Not Found", "b", ""));
    assert_eq!(texts(&rig.drain(), "SIP/2.0 302").len(), 1);
}
