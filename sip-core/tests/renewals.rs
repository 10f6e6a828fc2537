//! Registrations, subscriptions and publications in the less likely order: what renews them, what ends them, and what was folded.

mod support;

use core::time::Duration;
use sip_core::compositor::{self, Compositor};
use sip_core::headers::Refresher;
use sip_core::message::{Content, Method, Request, Status};
use sip_core::registrar::{self, Bindings};
use sip_core::ua::{Config, Event, NewInvite, NewRegistration, NewSubscription, Notice, UserAgent};
use sip_core::{Local, Machine, Transport};
use support::call::{BODY, CHALLENGE, CONTACT, Call, SDP, config, hear, known, outside, place, sent, told};
use support::subscription::{notify, subscribed};
use support::{PEER, Rig, US, header, ms, request, response, sends};

/// RFC 7616 §3.4: nc counts the requests that were sent with this nonce.
#[test]
fn a_count_is_used_once() {
    let mut call = Call::placed(known(), "");
    let mut asked = Vec::new();
    for _ in 0..2 {
        call.send(Method::Other(b"FOO"), Content::NONE).unwrap();
        asked.push(sent(&call.rig.drain(), "FOO"));
    }
    let mut counts = Vec::new();
    for request in asked {
        call.answer(&request, "401 Unauthorized", CHALLENGE);
        let again = sent(&call.rig.drain(), "FOO");
        let value = header(&again, "Authorization").unwrap().to_owned();
        counts.push(value.split("nc=").nth(1).unwrap()[..8].to_owned());
    }
    assert_eq!(counts, ["00000001", "00000002"]);
}

/// The end of an older SUBSCRIBE's transaction is not that of the newer.
#[test]
fn an_unsubscribe_is_answered_to_its_challenge() {
    let (mut rig, id, _) = subscribed(known());
    rig.run_until(ms(4_900));
    rig.machine.unsubscribe(rig.now, id, &Content::NONE).unwrap();
    let end = sent(&rig.drain(), "SUBSCRIBE");
    rig.run_until(ms(5_100)); // Timer K of the first SUBSCRIBE
    hear(&mut rig, &response(&end, "401 Unauthorized", "", CHALLENGE));
    let out = rig.drain();
    assert_eq!((sends(&out, "SUBSCRIBE").len(), told(&out, "SubscriptionEnded")), (1, 0), "{out:#?}");
}

/// Nor is its timeout.
#[test]
fn the_timeout_of_an_older_subscribe_ends_no_newer() {
    let mut rig = Rig::new(UserAgent::new(known()));
    let uri = format!("sip:bob@{PEER}");
    let new = NewSubscription { expires: Duration::from_secs(100), ..NewSubscription::new(&uri, "presence") };
    let id = rig.machine.subscribe(rig.now, &new).unwrap();
    let first = sent(&rig.drain(), "SUBSCRIBE");
    hear(&mut rig, &notify(&first, "n1", 1, "active;expires=100"));
    rig.drain();
    rig.run_until(ms(31_900));
    rig.machine.unsubscribe(rig.now, id, &Content::NONE).unwrap();
    let end = sent(&rig.drain(), "SUBSCRIBE");
    let out = rig.run_until(ms(32_100)); // Timer F of the first
    assert_eq!(told(&out, "SubscriptionEnded"), 0, "{out:#?}");
    hear(&mut rig, &response(&end, "401 Unauthorized", "", CHALLENGE));
    assert_eq!(sends(&rig.drain(), "SUBSCRIBE").len(), 1);
}

fn publish(compositor: &mut Compositor, at: u64, cseq: u32, headers: &str, body: &str) -> u16 {
    let text = request("PUBLISH", cseq, headers, body);
    let policy = compositor::Policy::new(&["presence"]);
    compositor.publish(ms(at * 1_000), &Request::parse(text.as_bytes()).unwrap(), &policy).0.code()
}

/// What has ended is told of, though a late refresh came before the clock was looked at.
#[test]
fn a_refused_publish_does_not_hide_an_end() {
    let mut compositor = Compositor::new(0);
    let event = "Event: presence\r\nContent-Type: text/plain\r\n";
    assert_eq!(publish(&mut compositor, 0, 1, &format!("{event}Expires: 100\r\n"), "open"), 200);
    let late = format!("{event}SIP-If-Match: 0000000000000001\r\nExpires: 100\r\n");
    assert_eq!(publish(&mut compositor, 100, 2, &late, ""), 412);
    assert_eq!(compositor.advance(ms(100_000)), ["sip:alice@example.com"]);
}

/// RFC 3903 §6, step 3.
#[test]
fn more_than_one_entity_tag_is_refused() {
    let event = "Event: presence\r\nContent-Type: text/plain\r\n";
    for tags in ["\"0000000000000001\"", "0000000000000001, 0000000000000002", "a b", ""] {
        let mut compositor = Compositor::new(0);
        assert_eq!(publish(&mut compositor, 0, 1, event, "open"), 200);
        let headers = format!("{event}SIP-If-Match: {tags}\r\n");
        assert_eq!(publish(&mut compositor, 1, 2, &headers, "closed"), 400, "{tags}");
        assert_eq!(compositor.publications(ms(1_000), "sip:alice@example.com").count(), 1);
    }
}

/// What has ended makes room.
#[test]
fn a_compositor_that_was_full() {
    let mut compositor = Compositor::new(0);
    let policy = compositor::Policy { resources: 1, ..compositor::Policy::new(&["presence"]) };
    let mut put = |at: u64, user: &str| {
        let text =
            request("PUBLISH", 1, "Event: presence\r\nExpires: 60\r\nContent-Type: text/plain\r\n", "x")
                .replace("sip:alice@", &format!("sip:{user}@"));
        compositor.publish(ms(at * 1000), &Request::parse(text.as_bytes()).unwrap(), &policy).0.code()
    };
    assert_eq!((put(0, "a"), put(1, "b"), put(61, "b")), (200, 503, 200));
}

/// RFC 5626 §6.
#[test]
fn outbound_is_confirmed() {
    let mut bindings = Bindings::default();
    let text = request(
        "REGISTER",
        1,
        "Supported: path, outbound\r\nContact: <sip:a@192.0.2.1;ob>;+sip.instance=\"<urn:1>\";reg-id=1\r\n",
        "",
    );
    let headers = bindings
        .register(ms(0), &Request::parse(text.as_bytes()).unwrap(), &registrar::Policy::default())
        .unwrap();
    assert!(
        headers.iter().any(|(name, value)| *name == "Require" && value.contains("outbound")),
        "{headers:?}"
    );
}

/// A peer that grants nothing.
#[test]
fn what_is_granted_no_time() {
    let (mut rig, _, first) = subscribed(config());
    hear(&mut rig, &notify(&first, "n1", 2, "active;expires=0"));
    let out = rig.run_until(ms(1_000));
    assert_eq!((sends(&out, "SUBSCRIBE").len(), told(&out, "SubscriptionEnded")), (0, 1));
}

/// RFC 3515 §2.4.2
#[test]
fn more_than_one_refer_to() {
    for value in ["<sip:a@x>, <sip:b@x>", "???", ""] {
        let mut rig = Rig::new(UserAgent::new(config()));
        let rest = format!("Refer-To: {value}\r\nContent-Length: 0\r\n\r\n");
        hear(&mut rig, &outside("REFER", &rest));
        assert!(rig.drain()[0].line().starts_with("SIP/2.0 400"), "{value}");
    }
}

/// One NOTIFY that was refused for want of credentials does not undo a later one.
#[test]
fn an_older_notify_is_not_sent_behind_a_newer() {
    let mut rig = Rig::new(UserAgent::new(Config { packages: vec!["presence".into()], ..known() }));
    let subscribe = outside("SUBSCRIBE", "Event: presence\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n");
    let event = rig.machine.datagram(rig.now, Rig::<UserAgent>::source(), subscribe.as_bytes());
    let Some(Event::Subscribe { txn, subscription, .. }) = event else { panic!() };
    rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE).unwrap();
    let tell = |rig: &mut Rig<UserAgent>, body: &'static [u8]| {
        rig.machine
            .notify(rig.now, subscription, Notice::Active, &Content::body("text/plain", body))
            .unwrap();
        sent(&rig.drain(), "NOTIFY")
    };
    let old = tell(&mut rig, b"open");
    let new = tell(&mut rig, b"closed");
    let mut last = String::new();
    // The answers overtake each other.
    for request in [&new, &old] {
        hear(&mut rig, &response(request, "401 Unauthorized", "", CHALLENGE));
        if let Some(out) = rig.drain().iter().rfind(|out| out.line().starts_with("NOTIFY")) {
            last = out.bytes().to_owned();
        }
    }
    assert!(last.ends_with("closed"), "{last}");
}

/// A registrar that binds for no time has not bound: it is over, and not asked once a second.
#[test]
fn registered_for_nothing() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let uri = format!("sip:{PEER}");
    rig.machine.register(rig.now, &NewRegistration::new(&uri, "<sip:alice@example.com>")).unwrap();
    let mut request = sent(&rig.drain(), "REGISTER");
    let mut count = 0;
    for second in 1..=20 {
        hear(&mut rig, &response(&request, "200 OK", "r", "Expires: 0\r\n"));
        let out = rig.run_until(ms(second * 1_000));
        if let Some(out) = out.iter().find(|out| out.line().starts_with("REGISTER")) {
            request = out.bytes().to_owned();
            count += 1;
        }
    }
    assert_eq!(count, 0);
}

fn bind(bindings: &mut Bindings, cseq: u32, headers: &str) -> Result<Vec<String>, u16> {
    let text = request("REGISTER", cseq, headers, "");
    let done =
        bindings.register(ms(0), &Request::parse(text.as_bytes()).unwrap(), &registrar::Policy::default());
    done.map(|all| all.into_iter().map(|(_, value)| value).collect()).map_err(|refusal| refusal.status.code())
}

/// RFC 5626 §6: what has an instance and a reg-id is bound by these; the URI is not compared.
#[test]
fn one_binding_for_one_flow() {
    let mut bindings = Bindings::default();
    let flow = ";+sip.instance=\"<urn:1>\";reg-id=1";
    bind(&mut bindings, 1, "Contact: <sip:a@192.0.2.1>\r\n").unwrap();
    bind(&mut bindings, 2, &format!("Contact: <sip:a@192.0.2.2>{flow}\r\n")).unwrap();
    let listed = bind(&mut bindings, 3, &format!("Contact: <sip:a@192.0.2.1>{flow}\r\n")).unwrap();
    assert_eq!(listed.iter().filter(|value| value.contains("reg-id=1")).count(), 1, "{listed:#?}");
}

/// RFC 5626 §6: behind a first hop that keeps no flows there are none.
#[test]
fn a_first_hop_without_outbound() {
    let bind = |supported: &str, path: &str, contacts: &str| {
        let mut bindings = Bindings::default();
        let headers = format!(
            "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx\r\nSupported: path, {supported}\r\n{path}Contact: {contacts}\r\n"
        );
        bind(&mut bindings, 1, &headers)
    };
    let flow = "<sip:a@192.0.2.2>;+sip.instance=\"<urn:1>\";reg-id=1";
    for path in
        ["", "Path: <sip:e;lr>\r\n", "Path: <sip:e;lr;obey>\r\n", "Path: <sip:p;lr;ob>, <sip:e;lr>\r\n"]
    {
        assert_eq!(bind("outbound", path, flow), Err(439), "{path}");
        let listed = bind("gruu", path, flow).unwrap();
        assert!(listed[0].contains("urn:1") && !listed[0].contains("reg-id"), "{listed:#?}");
        assert!(!listed.contains(&"outbound".to_owned()));
    }
    let keeps = "Path: <sip:p;lr>, <sip:e;lr;ob>\r\n";
    let listed = bind("outbound", keeps, flow).unwrap();
    assert!(listed[0].contains("reg-id=1") && listed.contains(&"outbound".to_owned()), "{listed:#?}");
    // One flow, one contact; others may end beside it.
    assert_eq!(bind("outbound", keeps, &format!("{flow}, <sip:a@192.0.2.3>")), Err(400));
    assert!(bind("outbound", keeps, &format!("{flow}, <sip:a@192.0.2.3>;expires=0")).is_ok());
}

/// RFC 5630 §5.2: an address-of-record is one, with SIP and with SIPS; a SIPS contact wants SIPS all the way.
#[test]
fn sips_in_a_registrar() {
    let register = |uri: &str, to: &str, headers: &str| {
        let mut bindings = Bindings::default();
        let text = request("REGISTER", 1, headers, "")
            .replace("REGISTER sip:alice@example.com", &format!("REGISTER {uri}"))
            .replace("To: <sip:alice@", &format!("To: <{to}:alice@"));
        let request = Request::parse(text.as_bytes()).unwrap();
        let done = bindings.register(ms(0), &request, &registrar::Policy::default());
        done.map(|_| bindings.of(ms(1), "sip:alice@example.com").len())
            .map_err(|refusal| refusal.status.code())
    };
    let contact = "Contact: <sips:alice@192.0.2.2>\r\n";
    assert_eq!(register("sips:example.com", "sips", contact), Ok(1));
    assert_eq!(register("sips:example.com", "sip", &format!("Path: <sips:p;lr>\r\n{contact}")), Ok(1));
    assert_eq!(register("sip:example.com", "sips", contact), Err(400));
    assert_eq!(register("sips:example.com", "sip", &format!("Path: <sip:p;lr>\r\n{contact}")), Err(400));
    assert_eq!(
        register("sips:example.com", "sip", &format!("Contact: <sip:a@192.0.2.3>\r\n{contact}")),
        Err(400)
    );
}

/// A contact that stands twice is not older than itself: the last counts.
#[test]
fn a_contact_that_stands_twice() {
    let mut bindings = Bindings::default();
    let listed =
        bind(&mut bindings, 1, "Contact: <sip:a@192.0.2.2>;q=0.1, <sip:a@192.0.2.2;x=1>;q=0.7\r\n").unwrap();
    assert!(listed.len() == 1 && listed[0].contains("q=0.7"), "{listed:?}");
    assert_eq!(bind(&mut bindings, 1, "Contact: <sip:a@192.0.2.2>\r\n"), Err(500));
}

/// RFC 3261 §19.1.4: users that differ are different, though they are no text.
#[test]
fn two_users_that_are_no_text() {
    let mut bindings = Bindings::default();
    let mut bind = |user: &str| {
        let text = request("REGISTER", 1, "Contact: <sip:a@192.0.2.1>\r\n", "")
            .replace("To: <sip:alice@", &format!("To: <sip:{user}@"));
        bindings
            .register(ms(0), &Request::parse(text.as_bytes()).unwrap(), &registrar::Policy::default())
            .map_err(|refusal| refusal.status.code())
            .map(|all| all.len())
    };
    assert_eq!((bind("%e4"), bind("%f6"), bind("%25e4")), (Ok(1), Ok(1), Ok(1)));
    assert_eq!(bindings.len(), 3);
}

/// RFC 3261 §21.4.4: a 403 is not asked for again.
#[test]
fn what_is_forbidden_is_not_asked_again() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let uri = format!("sip:{PEER}");
    let new = NewRegistration {
        expires: Duration::from_secs(80),
        ..NewRegistration::new(&uri, "<sip:alice@example.com>")
    };
    rig.machine.register(rig.now, &new).unwrap();
    let first = sent(&rig.drain(), "REGISTER");
    hear(&mut rig, &response(&first, "200 OK", "r", "Expires: 80\r\n"));
    let mut count = 0;
    for half in 1..200 {
        for out in rig.run_until(ms(half * 500)) {
            if out.line().starts_with("REGISTER") {
                count += 1;
                hear(&mut rig, &response(out.bytes(), "403 Forbidden", "r", ""));
            }
        }
    }
    assert_eq!(count, 1);
}

/// RFC 6665 §4.1.2.4: Timer N runs from each SUBSCRIBE, the one with credentials too.
#[test]
fn timer_n_begins_anew_with_a_repetition() {
    let mut rig = Rig::new(UserAgent::new(known()));
    let uri = format!("sip:bob@{PEER}");
    rig.machine.subscribe(rig.now, &NewSubscription::new(&uri, "presence")).unwrap();
    let first = sent(&rig.drain(), "SUBSCRIBE");
    rig.run_until(ms(30_000));
    hear(&mut rig, &response(&first, "401 Unauthorized", "n1", CHALLENGE));
    let again = sent(&rig.drain(), "SUBSCRIBE");
    hear(&mut rig, &response(&again, "200 OK", "n1", "Expires: 100\r\n"));
    let out = rig.run_until(ms(33_000));
    assert_eq!(told(&out, "SubscriptionEnded"), 0);
    hear(&mut rig, &notify(&again, "n1", 1, "active;expires=100"));
    assert_eq!(sends(&rig.drain(), "SIP/2.0 200").len(), 1);
}

/// What a REFER made can be ended by who sent it, however long its peer says that it lasts.
#[test]
fn who_referred_may_unsubscribe() {
    use sip_core::ua::NewRefer;
    let mut rig = Rig::new(UserAgent::new(config()));
    let uri = format!("sip:bob@{PEER}");
    let id = rig.machine.refer(rig.now, &NewRefer::outside(&uri, "<sip:carol@x>")).unwrap();
    let first = sent(&rig.drain(), "REFER");
    hear(&mut rig, &response(&first, "202 Accepted", "n1", CONTACT));
    hear(&mut rig, &notify(&first, "n1", 1, "active;expires=4294967295"));
    rig.drain();
    rig.run_until(ms(100_000_000));
    rig.machine.unsubscribe(rig.now, id, &Content::NONE).unwrap();
    let end = sent(&rig.drain(), "SUBSCRIBE");
    assert_eq!((header(&end, "Event"), header(&end, "Expires")), (Some("refer;id=1"), Some("0")));
}

/// A fetch.
/// Refreshed in the same instant.
/// What a registrar lists can be sent.
/// The refresh of a short subscription.
#[test]
fn a_challenged_refresh_of_a_short_subscription() {
    let mut rig = Rig::new(UserAgent::new(known()));
    let uri = format!("sip:bob@{PEER}");
    let new = NewSubscription { expires: Duration::from_secs(9), ..NewSubscription::new(&uri, "presence") };
    rig.machine.subscribe(rig.now, &new).unwrap();
    let first = sent(&rig.drain(), "SUBSCRIBE");
    rig.run_until(ms(100));
    hear(&mut rig, &response(&first, "200 OK", "n1", "Expires: 9\r\n"));
    hear(&mut rig, &notify(&first, "n1", 1, "active;expires=9"));
    let refresh = sent(&rig.run_until(ms(5_050)), "SUBSCRIBE"); // at 4.6 s
    rig.run_until(ms(5_150)); // Timer K of the first at 5.1 s
    hear(&mut rig, &response(&refresh, "401 Unauthorized", "", CHALLENGE));
    assert_eq!(sends(&rig.drain(), "SUBSCRIBE").len(), 1);
}

/// As with sessions: a refresh that was under way is made up for.
#[test]
#[cfg(feature = "snapshot")]
fn a_subscription_whose_refresh_was_under_way() {
    let (mut rig, id, _) = subscribed(config());
    assert_eq!(sends(&rig.run_until(ms(60_100)), "SUBSCRIBE"), [60_000]);
    let bytes = rig.machine.snapshot_subscription(rig.now, id).unwrap();
    let mut config = config();
    config.core = sip_core::Config::new([4; 32]);
    let mut other = Rig::new(UserAgent::new(config));
    other.machine.restore_subscription(other.now, &bytes).unwrap();
    assert_eq!(sends(&other.drain(), "SUBSCRIBE"), [0]);
}

/// A number that was used is not used again.
#[test]
#[cfg(feature = "snapshot")]
fn a_registration_that_was_challenged_keeps_its_number() {
    let mut rig = Rig::new(UserAgent::new(known()));
    let uri = format!("sip:{PEER}");
    let id = rig.machine.register(rig.now, &NewRegistration::new(&uri, "<sip:alice@example.com>")).unwrap();
    let first = sent(&rig.drain(), "REGISTER");
    hear(&mut rig, &response(&first, "200 OK", "r", "Expires: 100\r\n"));
    let refresh = sent(&rig.run_until(ms(60_000)), "REGISTER");
    hear(&mut rig, &response(&refresh, "401 Unauthorized", "r", CHALLENGE));
    let again = sent(&rig.drain(), "REGISTER");
    let bytes = rig.machine.snapshot_registration(rig.now, id).unwrap();
    let mut config = known();
    config.core = sip_core::Config::new([4; 32]);
    let mut other = Rig::new(UserAgent::new(config));
    other.machine.restore_registration(other.now, &bytes).unwrap();
    let next = sent(&other.run_until(ms(41_000)), "REGISTER");
    assert_ne!(header(&again, "CSeq"), header(&next, "CSeq"), "under one Call-ID");
}

/// RFC 6665 §4.1.2.1 wants Expires in it; without, it was granted what was asked for.
#[test]
fn a_refresh_without_expires_in_its_200() {
    let (mut rig, _, first) = subscribed(config());
    let refresh = sent(&rig.run_until(ms(61_000)), "SUBSCRIBE");
    hear(&mut rig, &response(&refresh, "200 OK", "n1", ""));
    hear(&mut rig, &notify(&first, "n1", 2, "active"));
    let out = rig.run_until(ms(101_000));
    assert_eq!(told(&out, "SubscriptionEnded"), 0);
}

/// RFC 3261 7.3.1: a field may stand on several lines. What a registrar has taken it can list.
#[test]
fn a_folded_contact_or_path_is_listed() {
    for headers in [
        "Contact: <sip:a@192.0.2.1>\r\n ;q=0.5\r\n",
        "Supported: path\r\nPath: <sip:p;lr>\r\n ;y=1\r\nContact: <sip:a@192.0.2.1>\r\n",
    ] {
        let mut config = Config::new(sip_core::Config::new([3; 32]), "registrar");
        config.methods = vec![Method::Register];
        let mut rig = Rig::new(UserAgent::new(config));
        let mut bindings = Bindings::default();
        // The second is in order, and comes from somebody else.
        for (cseq, headers) in [(1, headers), (2, "Contact: <sip:b@192.0.2.2>\r\n")] {
            let text = request("REGISTER", cseq, headers, "");
            let event = rig.machine.datagram(rig.now, Rig::<UserAgent>::source(), text.as_bytes());
            let Some(Event::Request { txn, request, .. }) = event else { panic!("{event:?}") };
            let headers = bindings.register(rig.now, &request, &registrar::Policy::default()).unwrap();
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
            let done = rig.machine.respond(rig.now, txn, Status::OK, &Content::headers(&headers));
            assert_eq!(done, Ok(()), "REGISTER {cseq}: {headers:?}");
        }
    }
}

#[test]
fn a_folded_content_type_can_be_notified() {
    let mut compositor = Compositor::new(0);
    let headers = "Event: presence\r\nContent-Type: text/plain\r\n ;charset=utf-8\r\n";
    let text = request("PUBLISH", 1, headers, "open");
    let policy = compositor::Policy::new(&["presence"]);
    assert_eq!(compositor.publish(ms(0), &Request::parse(text.as_bytes()).unwrap(), &policy).0, Status::OK);
    let found = compositor.publications(ms(0), "sip:alice@example.com").next().unwrap().clone();
    let mut rig = Rig::new(UserAgent::new(Config { packages: vec!["presence".into()], ..config() }));
    let subscribe = format!(
        "SUBSCRIBE sip:alice@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKs\r\nFrom: <sip:bob@x>;tag=b9\r\n\
         To: <sip:alice@x>\r\nCall-ID: s\r\nCSeq: 1 SUBSCRIBE\r\nMax-Forwards: 70\r\n{CONTACT}Event: presence\r\nContent-Length: 0\r\n\r\n"
    );
    let event = rig.machine.datagram(rig.now, Rig::<UserAgent>::source(), subscribe.as_bytes());
    let Some(Event::Subscribe { txn, subscription, .. }) = event else { panic!() };
    rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE).unwrap();
    let body = Content::body(&found.content_type, &found.body);
    assert_eq!(rig.machine.notify(rig.now, subscription, Notice::Active, &body), Ok(()));
}

#[test]
fn a_folded_service_route_can_be_taken() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let uri = format!("sip:{PEER}");
    let id = rig.machine.register(rig.now, &NewRegistration::new(&uri, "<sip:alice@example.com>")).unwrap();
    let first = sent(&rig.drain(), "REGISTER");
    let folded = format!("Expires: 100\r\nService-Route: <sip:{PEER};lr>\r\n ;x=y\r\n");
    hear(&mut rig, &response(&first, "200 OK", "r", &folded));
    let route: Vec<String> = rig.machine.service_route(id).unwrap().to_vec();
    let route: Vec<&str> = route.iter().map(|value| &**value).collect();
    let new = NewInvite { route: &route, ..NewInvite::new("sip:bob@192.0.2.2") };
    assert!(rig.machine.invite(rig.now, &new).is_ok(), "{route:?}");
}

/// RFC 3261 §10.2.2: what was bound is taken away, though this side has another address by now; and by a refresh it goes, too.
#[test]
fn an_address_that_has_changed() {
    let public = |advertised: &str| Local {
        transport: Transport::Udp,
        addr: US.parse().unwrap(),
        advertised: Some(advertised.into()),
    };
    for refreshes in [false, true] {
        let mut rig = Rig::new(UserAgent::new(config()));
        let uri = format!("sip:{PEER}");
        let id =
            rig.machine.register(rig.now, &NewRegistration::new(&uri, "<sip:alice@example.com>")).unwrap();
        let first = sent(&rig.drain(), "REGISTER");
        let bound = header(&first, "Contact").unwrap();
        hear(&mut rig, &response(&first, "200 OK", "r", "Expires: 3600\r\n"));
        rig.machine.listen(rig.now, public("203.0.113.9:5060"));
        rig.drain();
        if refreshes {
            rig.machine.register_again(rig.now, id).unwrap();
            let again = sent(&rig.drain(), "REGISTER");
            assert!(header(&again, "Contact").unwrap().contains("203.0.113.9"), "{again}");
            assert!(again.contains(&format!("Contact: {bound};expires=0\r\n")), "{again}");
            hear(&mut rig, &response(&again, "200 OK", "r", "Expires: 3600\r\n"));
        }
        rig.machine.unregister(rig.now, id).unwrap();
        let last = sent(&rig.drain(), "REGISTER");
        let named: Vec<_> = last.lines().filter(|line| line.starts_with("Contact")).collect();
        assert!(named.len() == 1 && named[0].contains("203.0.113.9") == refreshes, "{named:?}");
    }
}

fn timed(refresher: Option<Refresher>) -> Config {
    let mut config = config();
    config.session_timer.expires = Some(Duration::from_secs(90));
    config.session_timer.refresher = refresher;
    config
}

/// A call that comes in, rings, and has an UPDATE of this side under way before it is up.
fn updating_early(config: Config) -> (Call, String) {
    let extra = format!("Supported: timer\r\nAllow: INVITE, UPDATE, ACK, BYE, CANCEL\r\n{BODY}");
    let mut call = Call::ringing(config, &extra);
    call.rig.machine.ring(call.rig.now, call.dialog, Status::RINGING, &Content::NONE).unwrap();
    call.us = header(&sent(&call.rig.drain(), "SIP/2.0 180"), "To").unwrap().into();
    let update = call.sent(Method::Update, Content::NONE);
    (call, update)
}

/// RFC 4028 §9: the callee has said in its 2xx that it refreshes; an UPDATE that it had sent before says otherwise, but the caller has answered that first.
#[test]
fn the_answer_to_an_early_update_comes_late() {
    let config = timed(Some(Refresher::Uas));
    let (mut call, update) = updating_early(config);
    call.rig.machine.accept(call.rig.now, call.dialog, &SDP).unwrap();
    let ok = sent(&call.rig.drain(), "SIP/2.0 200");
    assert_eq!(header(&ok, "Session-Expires"), Some("90;refresher=uas"), "this side refreshes");
    // It does not ask for one itself. The caller has answered before the 2xx came: its last word is the 2xx, by which it waits.
    assert_eq!(header(&update, "Session-Expires"), None);
    call.answer(&update, "200 OK", &format!("{CONTACT}Session-Expires: 90;refresher=uas\r\n"));
    let ack = call.request("ACK", 1, "Content-Length: 0\r\n\r\n");
    hear(&mut call.rig, &ack);
    let update = sent(&call.rig.run_until(ms(45_000)), "UPDATE");
    call.answer(&update, "200 OK", &format!("{CONTACT}Session-Expires: 90;refresher=uac\r\n"));
    assert!(sends(&call.rig.run_until(ms(61_000)), "BYE").is_empty(), "nobody refreshes");
}

/// RFC 4028 §7.4, RFC 3311 §5.1: an UPDATE without an offer may refresh while a re-INVITE waits for somebody at the peer.
#[test]
fn a_reinvite_that_waits_long_ends_no_session() {
    let extra = "Supported: timer\r\nAllow: INVITE, UPDATE\r\nSession-Expires: 90;refresher=uac\r\n";
    let mut call = Call::placed(timed(None), extra);
    call.rig.run_until(ms(20_000));
    let reinvite = call.sent(Method::Invite, SDP);
    call.answer(&reinvite, "180 Ringing", CONTACT);
    let update = sent(&call.rig.run_until(ms(59_000)), "UPDATE");
    call.answer(&update, "200 OK", &format!("{CONTACT}Session-Expires: 90;refresher=uac\r\n"));
    let out = call.rig.run_until(ms(61_000));
    assert_eq!((sends(&out, "BYE").len(), told(&out, "NotRefreshed")), (0, 0));
}

/// The same of an UPDATE of the peer that its 2xx has overtaken: whichever of the two it heard last, it is refreshed.
#[test]
fn the_answer_to_an_early_update_of_the_peer_goes_late() {
    let mut rig = Rig::new(UserAgent::new(timed(None)));
    let (_, invite) = place(&mut rig, SDP);
    let allow = "Allow: INVITE, UPDATE, ACK, BYE\r\nSupported: timer\r\n";
    hear(&mut rig, &response(&invite, "180 Ringing", "b1", &format!("{CONTACT}{allow}")));
    rig.drain();
    // Without an offer it is answered at once; with one, when the user has looked at it.
    let to = format!("{};tag=b1", header(&invite, "To").unwrap());
    let update = format!(
        "UPDATE sip:alice@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKu\r\nFrom: {to}\r\nTo: {}\r\nCall-ID: {}\r\n\
         CSeq: 1 UPDATE\r\nMax-Forwards: 70\r\nSupported: timer\r\nSession-Expires: 90;refresher=uac\r\n\
         Content-Type: text/plain\r\nContent-Length: 1\r\n\r\nx",
        header(&invite, "From").unwrap(),
        header(&invite, "Call-ID").unwrap()
    );
    let txn = hear(&mut rig, &update).txn.unwrap();
    let ok = format!("{CONTACT}{allow}Require: timer\r\nSession-Expires: 90;refresher=uas\r\n{BODY}");
    hear(&mut rig, &response(&invite, "200 OK", "b1", &ok));
    rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE).unwrap();
    rig.drain();
    assert_eq!(sends(&rig.run_until(ms(45_000)), "UPDATE"), [45_000]);
}

/// RFC 4028 §9: "refresher=uas" in this side's own 2xx to an UPDATE is a promise.
#[test]
fn who_says_that_it_refreshes_does() {
    // Nothing is asked for in the INVITE.
    let mut call = Call::ringing(
        config(),
        &format!("Supported: timer, 100rel\r\nAllow: INVITE, UPDATE, ACK, BYE, CANCEL, PRACK\r\n{BODY}"),
    );
    call.rig.machine.ring_reliably(call.rig.now, call.dialog, Status::new(183).unwrap(), &SDP).unwrap();
    let ringing = sent(&call.rig.drain(), "SIP/2.0 183");
    call.us = header(&ringing, "To").unwrap().into();
    let rack = format!("RAck: {} 1 INVITE\r\n", header(&ringing, "RSeq").unwrap());
    call.cseq = 1;
    call.ask("PRACK", &rack);
    let terms = "Supported: timer\r\nSession-Expires: 90;refresher=uas\r\n";
    let (heard, _) = call.ask("UPDATE", &format!("{terms}{BODY}"));
    // The user takes the call first, and then what it brings.
    call.rig.machine.accept(call.rig.now, call.dialog, &Content::NONE).unwrap();
    call.rig.drain();
    let ok = sent(&call.respond(heard.txn.unwrap(), 200, SDP), "SIP/2.0 200");
    let ack = call.request("ACK", 1, "Content-Length: 0\r\n\r\n");
    hear(&mut call.rig, &ack);
    let says = header(&ok, "Session-Expires");
    let out = call.rig.run_until(ms(60_000));
    assert!(
        says.is_none() || !sends(&out, "UPDATE").is_empty(),
        "says {says:?}, and does nothing: the peer hangs up"
    );
}

/// RFC 4028 §7.2, §9: the same where the peer says in the 2xx to an early UPDATE of this side that this side is to refresh.
#[test]
fn who_is_told_to_refresh_does() {
    let (mut call, update) = updating_early(config());
    call.rig.machine.accept(call.rig.now, call.dialog, &SDP).unwrap();
    call.rig.drain();
    call.answer(
        &update,
        "200 OK",
        &format!("{CONTACT}Require: timer\r\nSession-Expires: 90;refresher=uac\r\n"),
    );
    let ack = call.request("ACK", 1, "Content-Length: 0\r\n\r\n");
    hear(&mut call.rig, &ack);
    assert!(!sends(&call.rig.run_until(ms(60_000)), "UPDATE").is_empty(), "the peer hangs up");
}
