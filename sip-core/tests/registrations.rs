//! Registrations that something happens to: a registrar that writes Contacts anew, a refresh that is lost, a connection that fails (RFC 5626), and
//! what is to be secure all the way (RFC 5630).

mod support;

use core::time::Duration;
use sip_core::framing::StreamBuf;
use sip_core::message::Content;
use sip_core::ua::{Config, NewInvite, NewPublication, NewRegistration, UserAgent};
use sip_core::{FlowId, Local, Machine, Misuse, RegistrationId, Transport};
use support::call::{config, hear, sent, told};
use support::{Out, PEER, Rig, US, header, ms, response, sends};

const AOR: &str = "<sip:alice@example.com>";
const OUTBOUND: &str = "Require: outbound\r\n";
const FLOW: &str = ";+sip.instance=\"<urn:uuid:1>\";reg-id=1";

/// A registration that was asked for, and its REGISTER.
fn asked(config: Config, new: &NewRegistration<'_>) -> (Rig<UserAgent>, RegistrationId, String) {
    let mut rig = Rig::new(UserAgent::new(config));
    let id = rig.machine.register(rig.now, new).unwrap();
    let first = sent(&rig.drain(), "REGISTER");
    (rig, id, first)
}

/// One for an hour that was accepted.
fn registered() -> (Rig<UserAgent>, RegistrationId, String) {
    let uri = format!("sip:{PEER}");
    let (mut rig, id, first) = asked(config(), &NewRegistration::new(&uri, AOR));
    hear(&mut rig, &response(&first, "200 OK", "r", "Expires: 3600\r\n"));
    rig.drain();
    (rig, id, first)
}

/// What is sent and told, with every connection that is asked for opened at once.
fn connected(rig: &mut Rig<UserAgent>) -> (Vec<Out>, Option<FlowId>) {
    let (mut all, mut last) = (Vec::new(), None);
    loop {
        let out = rig.drain();
        let asks = out.iter().any(|out| out.line().starts_with("connect"));
        all.extend(out);
        let Some(flow) = rig.machine.flows().last().filter(|_| asks) else { return (all, last) };
        rig.machine.flow_opened(rig.now, flow, US.parse().unwrap());
        last = Some(flow);
    }
}

/// Bytes on a connection; the event that they caused, as text.
fn read(rig: &mut Rig<UserAgent>, flow: FlowId, bytes: &str) -> String {
    let mut buf = StreamBuf::new();
    buf.extend(bytes.as_bytes());
    rig.machine.stream(rig.now, flow, &mut buf).map_or(String::new(), |event| format!("{event:?}"))
}

/// A registration over TCP that was accepted, and its connection.
fn bound(contact_params: &str, answer: &str) -> (Rig<UserAgent>, RegistrationId, FlowId) {
    let uri = format!("sip:{PEER};transport=tcp");
    let mut rig = Rig::new(UserAgent::new(config()));
    let new = NewRegistration { contact_params, ..NewRegistration::new(&uri, AOR) };
    let id = rig.machine.register(rig.now, &new).unwrap();
    let (out, flow) = connected(&mut rig);
    let ok = response(&sent(&out, "REGISTER"), "200 OK", "r", &format!("{answer}Expires: 3600\r\n"));
    assert!(read(&mut rig, flow.unwrap(), &ok).starts_with("Registered"));
    (rig, id, flow.unwrap())
}

/// RFC 3261 §10.2.4: by what the registrar lists, if it lists only what it has written anew.
#[test]
fn a_contact_that_was_written_anew() {
    let uri = format!("sip:{PEER}");
    let (mut rig, _, first) = asked(config(), &NewRegistration::new(&uri, AOR));
    let listed = "Contact: <sip:alice@203.0.113.7:40001>;expires=60\r\nExpires: 3600\r\n";
    assert!(hear(&mut rig, &response(&first, "200 OK", "r", listed)).text.contains("expires: 60s"));
    let out = rig.run_until(ms(60_000));
    assert!(!sends(&out, "REGISTER").is_empty());
    // What others have says nothing of ours.
    let own = header(&first, "Contact").unwrap();
    for listed in [
        format!("Contact: {own}\r\nContact: <sip:alice@192.0.2.77>;expires=3\r\n"),
        "Contact: <sip:a@203.0.113.7>;expires=1800, <sip:a@203.0.113.8>;expires=2\r\n".into(),
    ] {
        let (mut rig, _, first) = asked(config(), &NewRegistration::new(&uri, AOR));
        let answer = response(&first, "200 OK", "r", &format!("{listed}Expires: 3600\r\n"));
        assert!(hear(&mut rig, &answer).text.contains("expires: 3600s"), "{listed}");
    }
    // Nor does it when ours is taken away.
    let (mut rig, _, first) =
        asked(config(), &NewRegistration { expires: Duration::ZERO, ..NewRegistration::new(&uri, AOR) });
    hear(&mut rig, &response(&first, "200 OK", "r", "Contact: <sip:alice@192.0.2.77>;expires=60\r\n"));
    assert_eq!(told(&rig.drain(), "RegistrationEnded"), 1);
}

/// §10.2.2: what was taken away is not what is left.
#[test]
fn a_contact_that_was_taken_away_ends_nothing() {
    let (mut rig, id, first) = registered();
    let old = header(&first, "Contact").unwrap();
    let advertised = Some("203.0.113.9:5060".into());
    rig.machine.listen(rig.now, Local { transport: Transport::Udp, addr: US.parse().unwrap(), advertised });
    rig.machine.register_again(rig.now, id).unwrap();
    let again = sent(&rig.drain(), "REGISTER");
    let new = header(&again, "Contact").unwrap();
    let listed = format!("Contact: {new};expires=1800, {old};expires=0\r\n");
    assert!(hear(&mut rig, &response(&again, "200 OK", "r", &listed)).text.contains("expires: 1800s"));
    assert_eq!(told(&rig.drain(), "RegistrationEnded"), 0);
}

/// §10.2.2: who leaves while a refresh is under way that is lost takes the bindings away all the same, once.
#[test]
fn who_leaves_while_a_refresh_is_lost() {
    let (mut rig, id, _) = registered();
    rig.machine.register_again(rig.now, id).unwrap();
    rig.machine.unregister(rig.now, id).unwrap();
    let out = rig.run_until(ms(40_000));
    let last = out.iter().rev().find(|out| out.line().starts_with("REGISTER")).unwrap();
    assert_eq!(header(last.bytes(), "Expires"), Some("0"));
    let out = rig.run_until(ms(80_000));
    assert_eq!(told(&out, "RegistrationEnded"), 1);
    assert!(rig.machine.is_idle());
    // Over a connection that breaks, by another one.
    let (mut rig, id, flow) = bound("", "");
    rig.machine.register_again(rig.now, id).unwrap();
    rig.drain();
    rig.machine.unregister(rig.now, id).unwrap();
    rig.machine.flow_closed(rig.now, flow);
    assert_eq!(header(&sent(&connected(&mut rig).0, "REGISTER"), "Expires"), Some("0"));
}

/// RFC 3903 §4.5: so does a publication.
#[test]
fn who_takes_a_state_back_while_a_change_is_lost() {
    let uri = format!("sip:{PEER}");
    let mut rig = Rig::new(UserAgent::new(config()));
    let new = NewPublication::new(&uri, "presence", Content::body("text/plain", b"open"));
    let id = rig.machine.publish(rig.now, &new).unwrap();
    let first = sent(&rig.drain(), "PUBLISH");
    hear(&mut rig, &response(&first, "200 OK", "r", "SIP-ETag: e1\r\nExpires: 3600\r\n"));
    rig.machine.publish_change(rig.now, id, &Content::body("text/plain", b"closed")).unwrap();
    rig.machine.unpublish(rig.now, id, &Content::NONE).unwrap();
    let out = rig.run_until(ms(40_000));
    assert!(out.iter().any(|out| header(out.bytes(), "Expires") == Some("0")));
}

/// What was refused is not there to be taken away.
#[test]
fn who_leaves_before_the_refusal() {
    let uri = format!("sip:{PEER}");
    let (mut rig, id, first) = asked(config(), &NewRegistration::new(&uri, AOR));
    rig.machine.unregister(rig.now, id).unwrap();
    let heard = hear(&mut rig, &response(&first, "403 Forbidden", "r", ""));
    assert!(heard.text.starts_with("RegistrationRefused"));
    let out = rig.run_until(ms(50_000));
    assert_eq!((told(&out, "RegistrationEnded"), sends(&out, "REGISTER").len()), (1, 0));
}

/// RFC 3261 §10.2.8: what a 423 wanted is asked for from then on.
#[test]
fn what_a_423_wanted_is_remembered() {
    let uri = format!("sip:{PEER}");
    let new = NewRegistration { expires: Duration::from_secs(60), ..NewRegistration::new(&uri, AOR) };
    let (mut rig, _, first) = asked(config(), &new);
    hear(&mut rig, &response(&first, "423 Interval Too Brief", "r", "Min-Expires: 600\r\n"));
    let second = sent(&rig.drain(), "REGISTER");
    hear(&mut rig, &response(&second, "200 OK", "r", "Expires: 600\r\n"));
    let refresh = sent(&rig.run_until(ms(600_000)), "REGISTER");
    assert_eq!(header(&refresh, "Expires"), Some("600"));
}

/// RFC 3261 §20.37, RFC 5627 §4.1: what the user takes care of is supported in a REGISTER, too; and it has headers of its own, each time.
#[test]
fn a_register_says_what_the_user_supports() {
    let uri = format!("sip:{PEER}");
    let mut config = config();
    config.extensions = vec!["gruu".into()];
    let headers: &[_] = &[("X-Line", "1"), ("Allow", "INVITE")];
    let new = NewRegistration { headers, ..NewRegistration::new(&uri, AOR) };
    let (mut rig, _, first) = asked(config, &new);
    hear(&mut rig, &response(&first, "200 OK", "r", "Expires: 600\r\n"));
    for text in [first, sent(&rig.run_until(ms(600_000)), "REGISTER")] {
        assert!(text.contains("\r\nSupported: timer, norefersub, gruu\r\n"), "{text}");
        assert_eq!((header(&text, "X-Line"), header(&text, "Allow")), (Some("1"), Some("INVITE")));
    }
    for own in ["Contact", "Expires"] {
        let headers: &[_] = &[(own, "1")];
        let new = NewRegistration { headers, ..NewRegistration::new(&uri, AOR) };
        assert_eq!(rig.machine.register(rig.now, &new), Err(Misuse::BadContent));
    }
}

/// RFC 5626 §4.5: who is bound to a connection registers again when that is gone: at once, but not sooner than 30 s after it was bound last.
#[test]
fn a_flow_that_fails_is_replaced() {
    for (lasted, again) in [(60_000, 60_000), (10_000, 30_000)] {
        let (mut rig, _, flow) = bound(FLOW, OUTBOUND);
        rig.run_until(ms(lasted));
        rig.machine.flow_closed(rig.now, flow);
        if again > lasted {
            assert!(rig.run_until(ms(again - 1)).is_empty());
        }
        rig.run_until(ms(again));
        let flow = rig.machine.flows().next().unwrap();
        rig.machine.flow_opened(rig.now, flow, US.parse().unwrap());
        assert_eq!(header(&sent(&rig.drain(), "REGISTER"), "CSeq"), Some("2 REGISTER"), "after {lasted} ms");
    }
    // One that is no flow is refreshed in its time, and so is one whose registrar does not know of flows; it owes no pong.
    for (params, answer) in [("", OUTBOUND), (FLOW, "Supported: outbound\r\n")] {
        let (mut rig, _, flow) = bound(params, answer);
        assert!(rig.run_until(ms(600_000)).is_empty());
        rig.machine.flow_closed(rig.now, flow);
        assert!(rig.run_until(ms(700_000)).is_empty());
    }
    // And never so late that what is bound is over.
    let (mut rig, _, flow) = bound(FLOW, &format!("{OUTBOUND}Contact: <sip:x@y>;expires=20\r\n"));
    rig.machine.flow_closed(rig.now, flow);
    assert!(rig.run_until(ms(9_999)).is_empty());
    assert_eq!(rig.run_until(ms(10_000)).len(), 1);
}

/// §4.5: the first try after a failure comes between 30 and 60 s after it, and a server that wants to be left alone is.
#[test]
fn a_registration_that_fails_waits() {
    let (mut rig, _, flow) = bound(FLOW, OUTBOUND);
    rig.run_until(ms(60_000));
    rig.machine.flow_closed(rig.now, flow);
    rig.drain();
    let second = rig.machine.flows().next().unwrap();
    rig.machine.flow_closed(rig.now, second);
    assert!(rig.run_until(ms(89_999)).is_empty());
    assert_eq!(rig.run_until(ms(120_000)).iter().filter(|out| out.line().starts_with("connect")).count(), 1);
    let (mut rig, id, flow) = bound(FLOW, OUTBOUND);
    rig.machine.register_again(rig.now, id).unwrap();
    let busy =
        response(&sent(&rig.drain(), "REGISTER"), "503 Service Unavailable", "r", "Retry-After: 300\r\n");
    read(&mut rig, flow, &busy);
    rig.machine.flow_closed(rig.now, flow);
    assert!(rig.run_until(ms(299_999)).is_empty());
    assert_eq!(rig.run_until(ms(300_000)).len(), 1);
}

/// §4.2: one that comes back elsewhere is bound to nothing, and registers at once.
#[test]
fn a_flow_that_is_restored_is_registered_again() {
    let (rig, id, _) = bound(FLOW, OUTBOUND);
    let bytes = rig.machine.snapshot_registration(rig.now, id).unwrap();
    let mut other = Rig::new(UserAgent::new(config()));
    other.machine.restore_registration(other.now, &bytes).unwrap();
    assert!(other.run_until(ms(0)).iter().any(|out| out.line().starts_with("connect")));
}

/// §4.4.1: of two registrations over one connection each has its answers; two of them are no ping; and one who is asked more often than each 10 s is.
#[test]
fn pings_and_pongs() {
    let uri = format!("sip:{PEER};transport=tcp");
    for timers in [(40, 47), (6, 7)] {
        let (mut rig, _, flow) = bound(FLOW, &format!("{OUTBOUND}Flow-Timer: {}\r\n", timers.0));
        let params = FLOW.replace("reg-id=1", "reg-id=2");
        let new = NewRegistration { contact_params: &params, ..NewRegistration::new(&uri, AOR) };
        rig.machine.register(rig.now, &new).unwrap();
        let second = sent(&rig.drain(), "REGISTER");
        let ok = format!("{OUTBOUND}Flow-Timer: {}\r\nExpires: 3600\r\n", timers.1);
        read(&mut rig, flow, &response(&second, "200 OK", "r", &ok));
        // Each ping is answered after 3 s, in one buffer.
        let (mut buf, mut pongs, mut pings) = (StreamBuf::new(), Vec::new(), Vec::new());
        while rig.now < ms(1_000_000) {
            let next = rig.machine.deadline().into_iter().chain(pongs.first().copied()).min().unwrap();
            let out = if pongs.first() == Some(&next) {
                pongs.remove(0);
                rig.now = next;
                buf.extend(b"\r\n");
                assert!(rig.machine.stream(next, flow, &mut buf).is_none());
                rig.drain()
            } else {
                rig.run_until(next)
            };
            for out in out {
                assert_eq!(out.bytes(), "\r\n\r\n", "at {:?}", rig.now);
                pongs.push(rig.now + Duration::from_secs(3));
                pings.push(rig.now);
            }
        }
        let most = pings.windows(2).map(|pair| pair[1].since(pair[0])).max().unwrap();
        assert!(most <= Duration::from_secs(timers.0), "{most:?}");
    }
}

/// §4.4.1: it is kept alive, as often as the registrar says, and one that does not answer within 10 s has failed.
#[test]
fn a_flow_is_kept_alive() {
    for (answer, from, to) in [("", 96_000, 120_000), ("Flow-Timer: 40\r\n", 32_000, 40_000)] {
        let (mut rig, _, flow) = bound(&FLOW.replace("reg-id", "Reg-ID"), &format!("{OUTBOUND}{answer}"));
        let next = |rig: &mut Rig<UserAgent>| {
            let (before, at) = (rig.now, rig.machine.deadline().unwrap());
            (rig.run_until(at), at.since(before).as_millis())
        };
        for (waited, lives) in [(0, true), (10_000, true), (10_000, false)] {
            let (out, after) = next(&mut rig);
            assert_eq!((out.len(), out[0].bytes()), (1, "\r\n\r\n"));
            assert!((from..=to).contains(&(after + waited)), "{after} ms");
            if lives {
                read(&mut rig, flow, "\r\n");
            }
            let (out, after) = next(&mut rig);
            assert_eq!(after, 10_000);
            let closed = out.iter().map(Out::line).collect::<Vec<_>>().join(" ");
            assert_eq!((closed.contains("close"), closed.contains("connect")), (!lives, !lives), "{closed}");
        }
    }
}

/// A user agent that speaks TLS, too.
fn secure(config: Config) -> Rig<UserAgent> {
    let mut rig = Rig::new(UserAgent::new(config));
    let addr = "192.0.2.1:5061".parse().unwrap();
    rig.machine.listen(rig.now, Local { transport: Transport::Tls, addr, advertised: None });
    rig
}

/// RFC 5630 §5.1.1: a route that is not secure is made so for a request that must be.
#[test]
fn the_routes_of_a_sips_request_are_sips() {
    for (uri, route) in
        [("sips:bob@192.0.2.7", "<sips:192.0.2.2;lr>"), ("sip:bob@192.0.2.7", "<sip:192.0.2.2;lr>")]
    {
        let mut rig = secure(config());
        let new = NewInvite { route: &["<sip:192.0.2.2;lr>"], ..NewInvite::new(uri) };
        rig.machine.invite(rig.now, &new).unwrap();
        assert_eq!(header(&sent(&connected(&mut rig).0, "INVITE"), "Route"), Some(route));
    }
}

/// RFC 5630 §5.1.1.1: From and To are SIPS if all contacts are, and else SIP.
#[test]
fn the_scheme_of_who_is_registered_is_that_of_the_contacts() {
    let plain: &[&str] = &["<sip:alice@192.0.2.8>"];
    for (registrar, aor, contacts, scheme) in [
        (
            "sips:192.0.2.2",
            "\"sip:\" <sip:alice@example.com>;x=sip:",
            &[][..],
            "\"sip:\" <sips:alice@example.com>;x=sip:",
        ),
        ("sips:192.0.2.2", "<sip:alice@example.com>", plain, "<sip:alice@example.com>"),
        ("sip:192.0.2.2", "<SIPS:alice@example.com>", &[][..], "<sip:alice@example.com>"),
    ] {
        let mut rig = secure(config());
        rig.machine
            .register(rig.now, &NewRegistration { contacts, ..NewRegistration::new(registrar, aor) })
            .unwrap();
        let text = sent(&connected(&mut rig).0, "REGISTER");
        assert_eq!(header(&text, "To"), Some(scheme));
        assert!(header(&text, "From").unwrap().starts_with(scheme));
    }
}

/// RFC 3261 §8.1.3.4: a call that was to be secure is not redirected into the clear without its user.
#[test]
fn a_sips_call_is_not_redirected_into_the_clear() {
    for (to, followed) in [("sip:bob@192.0.2.66", false), ("sips:bob@192.0.2.66", true)] {
        let mut rig = secure(Config { redirects: 3, ..config() });
        rig.machine.invite(rig.now, &NewInvite::new("sips:bob@192.0.2.2")).unwrap();
        let (out, flow) = connected(&mut rig);
        let moved = response(&sent(&out, "INVITE"), "302 Moved", "b", &format!("Contact: <{to}>\r\n"));
        let event = read(&mut rig, flow.unwrap(), &moved);
        let (out, _) = connected(&mut rig);
        let goes_on = sends(&out, &format!("INVITE {to}")).len();
        assert_eq!((event.starts_with("Refused"), goes_on), (!followed, usize::from(followed)), "{to}");
    }
}
