//! What lasts as long as it is refreshed: registrations and publications, at the one who keeps them up and at the server that has them.

mod support;

use core::time::Duration;
use proptest::prelude::*;
use sip_core::auth::Credentials;
use sip_core::compositor::{self, Compositor};
use sip_core::message::{Content, Method, Request, Status};
use sip_core::registrar::{self, Bindings, address_of_record};
use sip_core::ua::{Config, Event, NewPublication, NewRegistration, UserAgent};
use sip_core::uri::Uri;
use sip_core::{Instant, Machine, Misuse};
use std::collections::BTreeMap;
use support::{Out, PEER, Rig, header, ms, response, sends};

fn rig() -> Rig<UserAgent> {
    let mut config = Config::new(sip_core::Config::new([3; 32]), "alice");
    config.credentials = vec![Credentials::new("alice", "wonderland")];
    Rig::new(UserAgent::new(config))
}

fn sent(outputs: &[Out], start: &str) -> String {
    let found = outputs.iter().find(|out| out.bytes().starts_with(start));
    found.unwrap_or_else(|| panic!("no {start} in {outputs:#?}")).bytes().to_owned()
}

fn told(outputs: &[Out], start: &str) -> usize {
    outputs.iter().filter(|out| matches!(out, Out::Event { event, .. } if event.starts_with(start))).count()
}

fn registrar_uri() -> String {
    format!("sip:{PEER}")
}

fn registration(uri: &str, seconds: u64) -> NewRegistration<'_> {
    let expires = Duration::from_secs(seconds);
    NewRegistration { expires, user: 6, ..NewRegistration::new(uri, "<sip:alice@example.com>") }
}

// The client of a registrar.

#[test]
fn a_registration_is_kept_up_and_taken_away() {
    let mut rig = rig();
    let uri = registrar_uri();
    let new = NewRegistration {
        contact_params: ";+sip.instance=\"<urn:uuid:1>\";reg-id=1",
        contacts: &["<sip:alice@192.0.2.99>;q=0.5"],
        ..registration(&uri, 200)
    };
    let id = rig.machine.register(rig.now, &new).unwrap();
    let first = sent(&rig.drain(), "REGISTER");
    assert!(first.starts_with("REGISTER sip:192.0.2.2:5060 SIP/2.0"));
    assert_eq!(header(&first, "To"), Some("<sip:alice@example.com>"));
    assert!(header(&first, "From").unwrap().starts_with("<sip:alice@example.com>;tag="));
    let contacts: Vec<_> = first.lines().filter(|line| line.starts_with("Contact")).collect();
    assert_eq!(
        contacts,
        [
            "Contact: <sip:alice@192.0.2.1:5060>;+sip.instance=\"<urn:uuid:1>\";reg-id=1",
            "Contact: <sip:alice@192.0.2.99>;q=0.5"
        ]
    );
    assert_eq!(
        (header(&first, "Supported"), header(&first, "Expires")),
        (Some("path, outbound"), Some("200"))
    );
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    assert!(rig.hear(&response(&first, "401 Unauthorized", "r", challenge)).is_none());
    let second = sent(&rig.drain(), "REGISTER");
    assert_eq!(header(&second, "CSeq"), Some("2 REGISTER"));
    assert_eq!(header(&second, "Call-ID"), header(&first, "Call-ID"));
    // As long as the registrar says of this contact.
    let ok = "Contact: <sip:alice@192.0.2.98>;expires=9999, <sip:alice@192.0.2.1:5060>;expires=100\r\nExpires: 77\r\n\
              Service-Route: <sip:p1.example.com;lr>\r\nService-Route: <sip:p2.example.com;lr>\r\n";
    let heard = rig.hear(&response(&second, "200 OK", "r", ok)).unwrap();
    assert!(heard.starts_with("Registered") && heard.contains("expires: 100s") && heard.contains("user: 6"));
    let route = rig.machine.service_route(id).unwrap();
    assert_eq!(route, ["<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"]);
    let out = rig.run_until(ms(60_000));
    assert_eq!(sends(&out, "REGISTER"), [60_000]);
    let third = sent(&out, "REGISTER");
    assert_eq!((header(&third, "CSeq"), header(&third, "Expires")), (Some("3 REGISTER"), Some("200")));
    assert!(header(&third, "Authorization").unwrap().contains("nc=00000002"), "without being asked");
    assert_eq!(rig.machine.register_again(rig.now, id), Err(Misuse::WrongState));
    rig.hear(&response(&third, "200 OK", "r", "Expires: 100\r\n"));
    assert_eq!(rig.machine.service_route(id), Ok(&[][..]), "each 200 says it anew");
    rig.machine.unregister(rig.now, id).unwrap();
    let last = sent(&rig.drain(), "REGISTER");
    assert_eq!(header(&last, "Expires"), Some("0"));
    rig.hear(&response(&last, "200 OK", "r", ""));
    assert_eq!(told(&rig.drain(), "RegistrationEnded"), 1);
    assert_eq!(sends(&rig.run_until(ms(400_000)), "REGISTER"), [] as [u64; 0]);
    assert!(rig.machine.is_idle());
}

#[test]
fn a_registration_that_is_refused_or_unanswered() {
    for (status, end) in [(Some("403 Forbidden"), 0), (None, 32_000)] {
        let mut rig = rig();
        let uri = registrar_uri();
        rig.machine.register(rig.now, &registration(&uri, 600)).unwrap();
        let first = sent(&rig.drain(), "REGISTER");
        if let Some(status) = status {
            assert!(rig.hear(&response(&first, status, "r", "")).unwrap().starts_with("RegistrationRefused"));
        }
        let out = rig.run_until(ms(end));
        assert_eq!(told(&out, "RegistrationEnded"), 1);
        rig.run_until(ms(100_000));
        assert!(rig.machine.is_idle());
    }
}

/// RFC 3261 §10.2.8
#[test]
fn a_registration_that_is_too_short() {
    let mut rig = rig();
    let uri = registrar_uri();
    rig.machine.register(rig.now, &registration(&uri, 60)).unwrap();
    let first = sent(&rig.drain(), "REGISTER");
    rig.hear(&response(&first, "423 Interval Too Brief", "r", "Min-Expires: 300\r\n"));
    let second = sent(&rig.drain(), "REGISTER");
    assert_eq!(header(&second, "Expires"), Some("300"));
    assert!(rig.hear(&response(&second, "200 OK", "r", "")).unwrap().contains("expires: 300s"));
}

/// A refresh that fails is tried again, each time at half of what is left, until the bindings are over.
#[test]
fn a_refresh_that_fails_is_tried_until_the_end() {
    let mut rig = rig();
    let uri = registrar_uri();
    rig.machine.register(rig.now, &registration(&uri, 80)).unwrap();
    let first = sent(&rig.drain(), "REGISTER");
    rig.hear(&response(&first, "200 OK", "r", ""));
    let mut times = Vec::new();
    let mut out = rig.run_until(ms(40_000));
    while told(&out, "RegistrationEnded") == 0 {
        if let Some(at) = sends(&out, "REGISTER").first() {
            times.push(*at);
            let request = sent(&out, "REGISTER");
            rig.hear(&response(&request, "503 Service Unavailable", "r", ""));
        }
        let next = rig.machine.deadline().unwrap();
        out = rig.run_until(next);
    }
    assert_eq!(times[..4], [40_000, 60_000, 70_000, 75_000]);
    assert!(rig.now <= ms(80_000));
}

/// RFC 3581: what a NAT has made of the address.
#[test]
fn the_public_address_is_told() {
    let mut rig = rig();
    let uri = registrar_uri();
    let id = rig.machine.register(rig.now, &registration(&uri, 600)).unwrap();
    let first = sent(&rig.drain(), "REGISTER");
    let ok = response(&first, "200 OK", "r", "").replace(";rport", ";rport=4711;received=198.51.100.7");
    assert!(rig.hear(&ok).unwrap().contains("public: Some(198.51.100.7:4711)"));
    let addr = support::US.parse().unwrap();
    let advertised = Some("198.51.100.7:4711".into());
    rig.machine.listen(rig.now, sip_core::Local { transport: sip_core::Transport::Udp, addr, advertised });
    rig.machine.register_again(rig.now, id).unwrap();
    let again = sent(&rig.drain(), "REGISTER");
    assert_eq!(header(&again, "Contact"), Some("<sip:alice@198.51.100.7:4711>"));
}

/// One that was asked for does not bring another in its turn.
#[test]
fn one_refresh_at_a_time() {
    let mut rig = rig();
    let uri = registrar_uri();
    let id = rig.machine.register(rig.now, &registration(&uri, 100)).unwrap();
    let first = sent(&rig.drain(), "REGISTER");
    rig.hear(&response(&first, "200 OK", "r", ""));
    rig.run_until(ms(59_900));
    rig.machine.register_again(rig.now, id).unwrap();
    let again = sent(&rig.drain(), "REGISTER");
    // The first was to be refreshed at 60 s.
    assert_eq!(sends(&rig.run_until(ms(60_399)), "REGISTER"), [] as [u64; 0]);
    rig.hear(&response(&again, "200 OK", "r", ""));
    assert_eq!(sends(&rig.run_until(ms(125_000)), "REGISTER")[0], 120_399);
}

#[test]
fn ever_new_realms_do_not_make_a_request_grow() {
    let mut rig = rig();
    let uri = registrar_uri();
    rig.machine.register(rig.now, &registration(&uri, 200)).unwrap();
    let first = sent(&rig.drain(), "REGISTER");
    let challenges: String = (0..40)
        .map(|n| format!("WWW-Authenticate: Digest realm=\"r{n}\", nonce=\"n\", qop=\"auth\"\r\n"))
        .collect();
    rig.hear(&response(&first, "401 Unauthorized", "r", &challenges));
    let second = sent(&rig.drain(), "REGISTER");
    assert_eq!(second.matches("\r\nAuthorization:").count(), 8);
}

/// Nothing new begins, and what is under way goes on: challenges are answered, and what was registered is taken back.
#[test]
fn who_is_shut_down_takes_back_what_is_registered() {
    let mut rig = rig();
    let uri = registrar_uri();
    let id = rig.machine.register(rig.now, &registration(&uri, 200)).unwrap();
    let first = sent(&rig.drain(), "REGISTER");
    rig.machine.drain(rig.now);
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    rig.hear(&response(&first, "401 Unauthorized", "r", challenge));
    let second = sent(&rig.drain(), "REGISTER");
    rig.hear(&response(&second, "200 OK", "r", "Expires: 200\r\n"));
    rig.drain();
    assert_eq!(rig.machine.register(rig.now, &registration(&uri, 200)), Err(Misuse::Draining));
    rig.machine.unregister(rig.now, id).unwrap();
    let last = sent(&rig.drain(), "REGISTER");
    assert_eq!(header(&last, "Expires"), Some("0"));
    rig.hear(&response(&last, "200 OK", "r", ""));
    assert_eq!(told(&rig.drain(), "RegistrationEnded"), 1);
}

/// A number that was used is not used again, though nobody answered the request that had it.
#[test]
fn a_register_that_times_out_after_a_challenge_keeps_its_number() {
    let mut rig = rig();
    let uri = registrar_uri();
    rig.machine.register(rig.now, &registration(&uri, 600)).unwrap();
    let first = sent(&rig.drain(), "REGISTER");
    rig.hear(&response(&first, "200 OK", "r", "Expires: 600\r\n"));
    let out = rig.run_until(ms(599_000));
    let refreshes: Vec<_> = out.iter().filter(|out| matches!(out, Out::Sent { again: false, .. })).collect();
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    let numbers = |out: &[Out]| -> Vec<String> {
        let sent = out.iter().filter(|out| matches!(out, Out::Sent { again: false, .. }));
        sent.map(|out| header(out.bytes(), "CSeq").unwrap().to_owned()).collect()
    };
    let last = refreshes.last().unwrap().bytes().to_owned();
    let before = header(&last, "CSeq").unwrap().to_owned();
    rig.hear(&response(&last, "401 Unauthorized", "r", challenge));
    let mut seen = vec![before];
    seen.extend(numbers(&rig.run_until(ms(700_000))));
    let mut once = seen.clone();
    once.dedup();
    assert_eq!(seen, once);
    assert!(seen.len() > 1, "{seen:?}");
}

#[test]
fn unregistering_while_a_register_is_under_way() {
    let mut rig = rig();
    let uri = registrar_uri();
    let id = rig.machine.register(rig.now, &registration(&uri, 600)).unwrap();
    let first = sent(&rig.drain(), "REGISTER");
    rig.machine.unregister(rig.now, id).unwrap();
    assert_eq!(rig.machine.unregister(rig.now, id), Err(Misuse::WrongState));
    assert_eq!(rig.drain(), []);
    rig.hear(&response(&first, "200 OK", "r", ""));
    let last = sent(&rig.drain(), "REGISTER");
    assert_eq!(header(&last, "Expires"), Some("0"));
    rig.hear(&response(&last, "200 OK", "r", ""));
    assert_eq!(told(&rig.drain(), "RegistrationEnded"), 1);
    let bad = NewRegistration { contact_params: ";q=\"", ..registration(&uri, 600) };
    assert_eq!(rig.machine.register(rig.now, &bad), Err(Misuse::BadContent));
}

// The publisher.

const OPEN: Content<'static> = Content::body("application/pidf+xml", b"<open/>");

#[test]
fn a_publication_is_kept_up_changed_and_taken_back() {
    let mut rig = rig();
    let uri = format!("sip:alice@{PEER}");
    let new = NewPublication {
        expires: Duration::from_secs(200),
        user: 2,
        ..NewPublication::new(&uri, "presence", OPEN)
    };
    let id = rig.machine.publish(rig.now, &new).unwrap();
    let first = sent(&rig.drain(), "PUBLISH");
    assert_eq!((header(&first, "Event"), header(&first, "Expires")), (Some("presence"), Some("200")));
    assert_eq!(header(&first, "SIP-If-Match"), None);
    assert!(first.ends_with("<open/>"));
    let told_of = rig.hear(&response(&first, "200 OK", "p", "SIP-ETag: e1\r\nExpires: 100\r\n")).unwrap();
    assert!(told_of.starts_with("Published") && told_of.contains("expires: 100s"));
    let out = rig.run_until(ms(60_000));
    let refresh = sent(&out, "PUBLISH");
    assert_eq!((header(&refresh, "SIP-If-Match"), header(&refresh, "CSeq")), (Some("e1"), Some("2 PUBLISH")));
    assert!(refresh.ends_with("Content-Length: 0\r\n\r\n"));
    rig.hear(&response(&refresh, "200 OK", "p", "SIP-ETag: e2\r\nExpires: 100\r\n"));
    rig.machine.publish_change(rig.now, id, &Content::body("application/pidf+xml", b"<closed/>")).unwrap();
    let change = sent(&rig.drain(), "PUBLISH");
    assert_eq!(header(&change, "SIP-If-Match"), Some("e2"));
    assert!(change.ends_with("<closed/>"));
    rig.hear(&response(&change, "200 OK", "p", "SIP-ETag: e3\r\nExpires: 100\r\n"));
    rig.machine.unpublish(rig.now, id, &Content::NONE).unwrap();
    let last = sent(&rig.drain(), "PUBLISH");
    assert_eq!((header(&last, "SIP-If-Match"), header(&last, "Expires")), (Some("e3"), Some("0")));
    rig.hear(&response(&last, "200 OK", "p", "SIP-ETag: e4\r\nExpires: 0\r\n"));
    assert_eq!(told(&rig.drain(), "PublicationEnded"), 1);
    rig.run_until(ms(400_000));
    assert!(rig.machine.is_idle());
}

/// RFC 3903 §4.2
#[test]
fn a_publication_that_was_forgotten_refused_or_too_short() {
    let mut rig = rig();
    let uri = format!("sip:alice@{PEER}");
    let new = NewPublication::new(&uri, "presence", OPEN);
    let tagged = [("SIP-If-Match", "e")];
    for content in [Content::NONE, Content { headers: &tagged, ..OPEN }] {
        let refused = rig.machine.publish(rig.now, &NewPublication { content, ..new });
        assert_eq!(refused, Err(Misuse::BadContent));
    }
    rig.machine.publish(rig.now, &NewPublication { expires: Duration::from_secs(60), ..new }).unwrap();
    let first = sent(&rig.drain(), "PUBLISH");
    rig.hear(&response(&first, "423 Interval Too Brief", "p", "Min-Expires: 80\r\n"));
    let second = sent(&rig.drain(), "PUBLISH");
    assert!(second.ends_with("<open/>"));
    rig.hear(&response(&second, "200 OK", "p", "SIP-ETag: e1\r\nExpires: 80\r\n"));
    let refresh = sent(&rig.run_until(ms(40_000)), "PUBLISH");
    let lost = response(&refresh, "412 Conditional Request Failed", "p", "");
    assert!(rig.hear(&lost).unwrap().starts_with("PublicationRefused"));
    assert_eq!(told(&rig.drain(), "PublicationEnded"), 1);
    rig.machine.publish(rig.now, &new).unwrap();
    let refused = sent(&rig.drain(), "PUBLISH");
    rig.hear(&response(&refused, "489 Bad Event", "p", ""));
    assert_eq!(told(&rig.drain(), "PublicationEnded"), 1);
    rig.run_until(ms(400_000));
    assert!(rig.machine.is_idle());
}

/// What the compositor did not take is said again by the next refresh.
#[test]
fn a_change_that_fails_is_said_again() {
    let mut rig = rig();
    let uri = format!("sip:alice@{PEER}");
    let id = rig.machine.publish(rig.now, &NewPublication::new(&uri, "presence", OPEN)).unwrap();
    let first = sent(&rig.drain(), "PUBLISH");
    rig.hear(&response(&first, "200 OK", "p", "SIP-ETag: e1\r\nExpires: 100\r\n"));
    let closed = Content::body("application/pidf+xml", b"<closed/>");
    rig.machine.publish_change(rig.now, id, &closed).unwrap();
    let change = sent(&rig.drain(), "PUBLISH");
    rig.hear(&response(&change, "503 Service Unavailable", "p", ""));
    let again = sent(&rig.run_until(ms(50_000)), "PUBLISH");
    assert!(again.ends_with("<closed/>"), "{again}");
    assert_eq!(header(&again, "SIP-If-Match"), Some("e1"));
    rig.hear(&response(&again, "200 OK", "p", "SIP-ETag: e2\r\nExpires: 100\r\n"));
    let refresh = sent(&rig.run_until(ms(110_000)), "PUBLISH");
    assert!(refresh.ends_with("\r\n\r\n"), "{refresh}");
}

/// Without an entity tag there is nothing to take back: a PUBLISH of zero seconds would be a new one.
#[test]
fn what_has_no_entity_tag_is_not_taken_back() {
    for answer in ["200 OK", "500 Server Internal Error"] {
        let mut rig = rig();
        let uri = format!("sip:alice@{PEER}");
        let id = rig.machine.publish(rig.now, &NewPublication::new(&uri, "presence", OPEN)).unwrap();
        let first = sent(&rig.drain(), "PUBLISH");
        rig.machine.unpublish(rig.now, id, &Content::NONE).unwrap();
        rig.hear(&response(&first, answer, "p", "Expires: 100\r\n"));
        let out = rig.run_until(ms(100_000));
        assert_eq!((sends(&out, "PUBLISH").len(), told(&out, "PublicationEnded")), (0, 1));
        assert!(rig.machine.is_idle());
    }
}

// The registrar.

fn request(method: &str, cseq: u32, headers: &str, body: &str) -> String {
    format!(
        "{method} sip:%61lice;x=y@Example.COM;transport=udp SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{cseq}\r\n\
         From: <sip:alice@example.com>;tag=1\r\nTo: <sip:%61lice@Example.COM;p=q>\r\nCall-ID: c\r\nCSeq: {cseq} {method}\r\n\
         {headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .replace(";x=y@", "@")
}

const POLICY: registrar::Policy = registrar::Policy {
    min_expires: Duration::from_secs(60),
    max_expires: Duration::from_secs(1_000),
    default_expires: Duration::from_secs(500),
    bindings: 3,
    addresses: 2,
};

fn register(bindings: &mut Bindings, at: u64, text: &str) -> Result<Vec<String>, u16> {
    let request = Request::parse(text.as_bytes()).unwrap();
    match bindings.register(ms(at * 1_000), &request, &POLICY) {
        Ok(headers) => Ok(headers.into_iter().map(|(name, value)| format!("{name}: {value}")).collect()),
        Err(refusal) => Err(refusal.status.code()),
    }
}

const AOR: &str = "sip:alice@example.com";

/// RFC 3261 §10.3
#[test]
fn a_registrar_binds_lists_and_removes() {
    let mut bindings = Bindings::default();
    let two = "Contact: <sip:a@192.0.2.1>;q=0.3;expires=100, \"Alice\" <sip:a@192.0.2.2:5070;ob>;+x=1\r\nExpires: 2000\r\n";
    assert_eq!(
        register(&mut bindings, 0, &request("REGISTER", 1, two, "")),
        Ok(vec![
            "Contact: <sip:a@192.0.2.1>;q=0.3;expires=100".into(),
            "Contact: <sip:a@192.0.2.2:5070;ob>;+x=1;expires=1000".into(),
        ])
    );
    let of = |bindings: &Bindings, at: u64| -> Vec<String> {
        bindings.of(ms(at * 1_000), AOR).iter().map(|binding| binding.uri.clone()).collect()
    };
    assert_eq!(of(&bindings, 0), ["sip:a@192.0.2.2:5070;ob", "sip:a@192.0.2.1"], "the best first");
    // Exactly at its end it is over.
    assert_eq!(of(&bindings, 99).len(), 2);
    assert_eq!(of(&bindings, 100).len(), 1);
    assert_eq!(bindings.deadline(), Some(ms(100_000)));
    // The same contact in another spelling is refreshed, one that says nothing lasts as long as is usual.
    let again = "Contact: <sip:a@192.0.2.2:5070;OB>\r\nContact: <sip:b@192.0.2.3>;expires=60\r\n";
    let listed = register(&mut bindings, 100, &request("REGISTER", 2, again, "")).unwrap();
    assert_eq!(
        listed,
        ["Contact: <sip:a@192.0.2.2:5070;OB>;expires=500", "Contact: <sip:b@192.0.2.3>;expires=60"]
    );
    // Without contacts: only what there is.
    assert_eq!(register(&mut bindings, 110, &request("REGISTER", 3, "", "")).unwrap().len(), 2);
    let gone = "Contact: <sip:b@192.0.2.3>;expires=0\r\n";
    assert_eq!(register(&mut bindings, 110, &request("REGISTER", 4, gone, "")).unwrap().len(), 1);
    let all = "Contact: *\r\nExpires: 0\r\n";
    assert_eq!(register(&mut bindings, 110, &request("REGISTER", 5, all, "")), Ok(vec![]));
    assert!(bindings.is_empty());
}

#[test]
fn what_a_registrar_refuses_changes_nothing() {
    let mut bindings = Bindings::default();
    register(&mut bindings, 0, &request("REGISTER", 7, "Contact: <sip:a@192.0.2.1>\r\n", "")).unwrap();
    let before = bindings.clone();
    for (cseq, headers, status) in [
        (8, "Contact: *\r\n", 400),
        (8, "Contact: *\r\nExpires: 1\r\n", 400),
        (8, "Contact: *\r\nContact: <sip:a@192.0.2.1>\r\nExpires: 0\r\n", 400),
        (8, "Contact: <sip:new@192.0.2.9>, <sip:a@192.0.2.1>;expires=59\r\n", 423),
        // §10.3, step 7: out of order, the other contact too.
        (7, "Contact: <sip:new@192.0.2.9>, <sip:a@192.0.2.1>;expires=0\r\n", 500),
        (7, "Contact: *\r\nExpires: 0\r\n", 500),
        (8, "Contact: <sip:1@h>, <sip:2@h>, <sip:3@h>\r\n", 403),
        (8, "Contact: <sip:bad\r\n", 400),
    ] {
        assert_eq!(
            register(&mut bindings, 1, &request("REGISTER", cseq, headers, "")),
            Err(status),
            "{headers}"
        );
        assert_eq!(format!("{bindings:?}"), format!("{before:?}"));
    }
    // Another Call-ID is another order.
    let other =
        request("REGISTER", 1, "Contact: *\r\nExpires: 0\r\n", "").replace("Call-ID: c", "Call-ID: d");
    assert_eq!(register(&mut bindings, 1, &other), Ok(vec![]));
    let tel = request("REGISTER", 1, "", "").replace("To: <sip:%61lice@Example.COM;p=q>", "To: <tel:+49>");
    assert_eq!(register(&mut bindings, 1, &tel), Err(404));
}

/// RFC 3261 §10.3, step 7
#[test]
fn an_hour_is_never_too_brief() {
    let policy = registrar::Policy { min_expires: Duration::from_secs(7_200), ..POLICY };
    for (seconds, status) in [(3_599, Some(Status::INTERVAL_TOO_BRIEF)), (3_600, None)] {
        let text = request("REGISTER", 1, &format!("Contact: <sip:a@192.0.2.1>;expires={seconds}\r\n"), "");
        let done = Bindings::default().register(ms(0), &Request::parse(text.as_bytes()).unwrap(), &policy);
        assert_eq!(done.err().map(|refusal| refusal.status), status);
    }
}

/// RFC 3327 §5.3, RFC 5626 §6
#[test]
fn paths_and_flows() {
    let mut bindings = Bindings::default();
    let path = "Path: <sip:p1;lr>\r\nPath: <sip:p2;lr>, <sip:p3;lr>\r\n";
    let contact = "Contact: <sip:a@192.0.2.1>;+sip.instance=\"<urn:1>\";reg-id=1\r\n";
    let listed = register(
        &mut bindings,
        0,
        &request("REGISTER", 1, &format!("Supported: path\r\n{path}{contact}"), ""),
    )
    .unwrap();
    assert_eq!(listed[1..], ["Path: <sip:p1;lr>", "Path: <sip:p2;lr>", "Path: <sip:p3;lr>"]);
    assert_eq!(bindings.of(Instant::ZERO, AOR)[0].path, ["<sip:p1;lr>", "<sip:p2;lr>", "<sip:p3;lr>"]);
    assert_eq!(
        register(&mut bindings, 0, &request("REGISTER", 2, path, "")).unwrap().len(),
        1,
        "not asked for"
    );
    // A flow that comes back from another address takes the place of the old one; another flow does not.
    let moved = "Contact: <sip:a@198.51.100.9:99>;+sip.instance=\"<urn:1>\";reg-id=1\r\n";
    assert_eq!(register(&mut bindings, 1, &request("REGISTER", 3, moved, "")).unwrap().len(), 1);
    let second = moved.replace("reg-id=1", "reg-id=2");
    assert_eq!(register(&mut bindings, 1, &request("REGISTER", 4, &second, "")).unwrap().len(), 2);
}

#[test]
fn addresses_of_record() {
    let of = |uri: &str| address_of_record(&Uri::parse(uri.as_bytes()).unwrap());
    assert_eq!(of("sip:%61lice@Example.com;x=y?Subject=z").as_deref(), Some(AOR));
    assert_eq!(of("sips:Alice@h:5070").as_deref(), Some("sip:Alice@h:5070"), "users have a case");
    assert_eq!(of("sip:example.com").as_deref(), Some("sip:example.com"));
    assert_eq!(of("tel:+49"), None);
}

proptest! {
    /// Invariant I32: the bindings are what is left of the accepted REGISTERs, in the order of their numbers.
    #[test]
    fn bindings_are_the_fold_of_what_was_accepted(
        steps in prop::collection::vec((0..4_u8, 1..6_u32, 0..3_u64, 0..100_u64), 1..40)
    ) {
        let mut bindings = Bindings::default();
        let mut model: BTreeMap<u8, (u32, u64)> = BTreeMap::new();
        let mut now = 0;
        for (contact, cseq, lasts, wait) in steps {
            now += wait;
            let seconds = lasts * 60;
            let text = request("REGISTER", cseq, &format!("Contact: <sip:c{contact}@h>;expires={seconds}\r\n"), "");
            model.retain(|_, (_, until)| *until > now);
            let late = model.get(&contact).is_some_and(|(last, _)| cseq <= *last);
            let full = seconds > 0 && !model.contains_key(&contact) && model.len() >= POLICY.bindings;
            let done = register(&mut bindings, now, &text);
            prop_assert_eq!(done.is_ok(), !late && !full);
            if done.is_ok() {
                if seconds == 0 {
                    model.remove(&contact);
                } else {
                    model.insert(contact, (cseq, now + seconds));
                }
            }
            let mut found: Vec<_> = bindings.of(ms(now * 1_000), AOR).iter().map(|binding| binding.uri.clone()).collect();
            found.sort();
            let wanted: Vec<_> = model.keys().map(|contact| format!("sip:c{contact}@h")).collect();
            prop_assert_eq!(found, wanted);
        }
        bindings.advance(ms((now + 200) * 1_000));
        prop_assert!(bindings.is_empty());
    }
}

/// An agent that names REGISTER among its methods is a registrar, its database wherever it likes.
#[test]
fn an_agent_as_registrar() {
    let mut config = Config::new(sip_core::Config::new([3; 32]), "registrar");
    config.methods = vec![Method::Register];
    config.extensions = vec!["path".into()];
    let mut rig = Rig::new(UserAgent::new(config));
    let mut bindings = Bindings::default();
    let text = request("REGISTER", 1, "Contact: <sip:a@192.0.2.1>\r\nRequire: path\r\n", "");
    match rig.machine.datagram(rig.now, Rig::<UserAgent>::source(), text.as_bytes()) {
        Some(Event::Request { txn, dialog: None, request, .. }) => {
            let headers = bindings.register(rig.now, &request, &POLICY).unwrap();
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
            rig.machine.respond(rig.now, txn, Status::OK, &Content::headers(&headers)).unwrap();
        }
        other => panic!("{other:?}"),
    }
    let ok = sent(&rig.drain(), "SIP/2.0 200");
    assert_eq!(header(&ok, "Contact"), Some("<sip:a@192.0.2.1>;expires=500"));
}

// The compositor.

fn publish(compositor: &mut Compositor, at: u64, cseq: u32, headers: &str, body: &str) -> (u16, String) {
    let text = request("PUBLISH", cseq, headers, body);
    let policy = compositor::Policy::new(&["presence"]);
    let answer = compositor.publish(ms(at * 1_000), &Request::parse(text.as_bytes()).unwrap(), &policy);
    (answer.0.code(), answer.1.into_iter().map(|(name, value)| format!("{name}: {value}; ")).collect())
}

/// RFC 3903 §6
#[test]
fn a_compositor_keeps_soft_state_by_entity_tags() {
    let mut compositor = Compositor::new(0);
    let event = "Event: presence\r\nContent-Type: text/plain\r\n";
    assert_eq!(publish(&mut compositor, 0, 1, "", "x").0, 489);
    assert_eq!(
        publish(&mut compositor, 0, 1, "Event: weather\r\n", "x"),
        (489, "Allow-Events: presence; ".into())
    );
    assert_eq!(publish(&mut compositor, 0, 1, event, "").0, 400, "the first has something to say");
    let (status, headers) = publish(&mut compositor, 0, 1, &format!("{event}Expires: 100\r\n"), "open");
    assert_eq!((status, &*headers), (200, "SIP-ETag: 0000000000000001; Expires: 100; "));
    assert_eq!(
        publish(&mut compositor, 1, 2, &format!("{event}Expires: 59\r\n"), "x"),
        (423, "Min-Expires: 60; ".into())
    );
    let with = |etag: u32, more: &str| format!("{event}SIP-If-Match: {etag:016}\r\n{more}");
    assert_eq!(publish(&mut compositor, 1, 3, &with(9, ""), "x").0, 412);
    // A refresh keeps the body and gets a new tag; the old one is no good any more.
    assert_eq!(
        publish(&mut compositor, 50, 4, &with(1, "Expires: 100\r\n"), "").1,
        "SIP-ETag: 0000000000000002; Expires: 100; "
    );
    assert_eq!(publish(&mut compositor, 50, 5, &with(1, ""), "").0, 412);
    let bodies = |compositor: &Compositor, at: u64| -> Vec<String> {
        compositor
            .publications(ms(at * 1_000), AOR)
            .map(|found| String::from_utf8(found.body.clone()).unwrap())
            .collect()
    };
    assert_eq!(bodies(&compositor, 149), ["open"]);
    assert_eq!(bodies(&compositor, 150), [] as [&str; 0]);
    assert_eq!(publish(&mut compositor, 100, 6, &with(2, ""), "busy").0, 200);
    publish(&mut compositor, 100, 7, &format!("{event}Expires: 3600\r\n"), "away");
    assert_eq!(bodies(&compositor, 100), ["busy", "away"]);
    assert_eq!(publish(&mut compositor, 100, 8, &with(3, "Expires: 0\r\n"), "").0, 200);
    assert_eq!(bodies(&compositor, 100), ["away"]);
    assert_eq!(compositor.deadline(), Some(ms(3_700_000)));
    assert_eq!(compositor.advance(ms(3_699_999)), [] as [&str; 0]);
    assert_eq!(compositor.advance(ms(3_700_000)), [AOR]);
    assert_eq!(compositor.deadline(), None);
}

#[test]
fn a_compositor_and_a_registrar_have_caps() {
    let mut compositor = Compositor::new(0);
    let policy = compositor::Policy { resources: 1, ..compositor::Policy::new(&["presence"]) };
    let mut put = |user: &str| {
        let text = request("PUBLISH", 1, "Event: presence\r\nContent-Type: text/plain\r\n", "x")
            .replace("%61lice", user);
        compositor.publish(ms(0), &Request::parse(text.as_bytes()).unwrap(), &policy).0.code()
    };
    assert_eq!((put("a"), put("b"), put("a")), (200, 503, 200));

    let mut bindings = Bindings::default();
    let mut bind = |at, cseq, user: &str, contact: &str| {
        let text = request("REGISTER", cseq, contact, "").replace("%61lice", user);
        register(&mut bindings, at, &text).map(|found| found.len())
    };
    let one = "Contact: <sip:a@192.0.2.1>;expires=100\r\n";
    assert_eq!([bind(0, 1, "a", one), bind(0, 1, "b", one), bind(0, 1, "c", one)], [Ok(1), Ok(1), Err(503)]);
    assert_eq!([bind(1, 2, "a", one), bind(1, 1, "c", "")], [Ok(1), Ok(0)], "no new address");
    // What has ended makes room.
    assert_eq!(bind(100, 2, "c", one), Ok(1));
}

/// RFC 3261 §10.3, step 8: what is listed is bound.
#[test]
fn a_binding_is_not_listed_as_over() {
    let mut bindings = Bindings::default();
    let text = request("REGISTER", 1, "Contact: <sip:a@192.0.2.1>\r\nExpires: 60\r\n", "");
    bindings.register(ms(0), &Request::parse(text.as_bytes()).unwrap(), &POLICY).unwrap();
    let asked = Request::parse(b"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKq\r\nFrom: <sip:alice@example.com>;tag=1\r\n\
        To: <sip:alice@example.com>\r\nCall-ID: q\r\nCSeq: 1 REGISTER\r\n\r\n");
    let asked = asked.unwrap();
    for (at, left) in [(59_000, 1), (59_001, 1), (59_999, 1), (58_999, 2)] {
        let listed = bindings.register(ms(at), &asked, &POLICY).unwrap();
        assert_eq!(listed, [("Contact", format!("<sip:a@192.0.2.1>;expires={left}"))]);
    }
    assert_eq!(bindings.register(ms(60_000), &asked, &POLICY).unwrap(), []);
}

/// RFC 5630 §5.1.1.1: the later of a SIP contact and its SIPS twin takes the place of the other.
#[test]
fn a_contact_and_its_sips_twin_are_one() {
    let mut bindings = Bindings::default();
    for (cseq, contact) in [(1, "sips:a@192.0.2.1"), (2, "sip:a@192.0.2.1"), (3, "sips:a@192.0.2.1")] {
        let text = request("REGISTER", cseq, &format!("Contact: <{contact}>\r\n"), "");
        let text = text.replace("REGISTER sip:", "REGISTER sips:");
        let listed = register(&mut bindings, 0, &text).unwrap();
        assert_eq!(listed, [format!("Contact: <{contact}>;expires=500")]);
    }
}

/// A compositor whose user never asks for what has ended keeps no more of that than of what is alive.
#[test]
fn ends_that_nobody_asks_for() {
    let mut compositor = Compositor::new(0);
    let policy = compositor::Policy { resources: 10, ..compositor::Policy::new(&["presence"]) };
    for user in 0..100 {
        let headers = "Event: presence\r\nExpires: 60\r\nContent-Type: text/plain\r\n";
        let text = support::request("PUBLISH", 1, headers, "x");
        let text = text.replace("sip:alice@", &format!("sip:u{user}@"));
        let at = ms(user * 100_000);
        assert_eq!(compositor.publish(at, &Request::parse(text.as_bytes()).unwrap(), &policy).0, Status::OK);
    }
    let told = compositor.advance(ms(1_000_000_000)).len();
    assert!((10..=20).contains(&told), "{told}");
}

/// Who has twice the q comes first twice as often; who has none comes last.
#[test]
fn places_in_an_order_that_is_drawn() {
    use sip_core::registrar::by_chance;
    let mut state = 7_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 20
    };
    let mut first = [0_u32; 3];
    for _ in 0..9_000 {
        let order = by_chance(vec![(1_000, 0), (500, 1), (0, 2)], &mut draw);
        assert_eq!(order.len(), 3);
        assert_eq!(order[2], 2);
        first[order[0]] += 1;
    }
    assert!((5_700..6_300).contains(&first[0]) && first[2] == 0, "{first:?}");
    assert_eq!(by_chance(vec![(0, 1), (0, 2)], || 1), [1, 2]);
    assert_eq!(by_chance(Vec::<(u16, u8)>::new(), || 1), []);
}
