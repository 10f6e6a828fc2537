//! Subscriptions, bindings and what is published in the less likely order: forks that end, refreshes that fail, headers that stand twice; and SIPS.

mod support;

use core::time::Duration;
use sip_core::auth::Credentials;
use sip_core::compositor::{self, Compositor};
use sip_core::message::{Content, Request, Status};
use sip_core::proxy::Branch;
use sip_core::registrar::{self, Bindings};
use sip_core::transaction::Timers;
use sip_core::ua::{Config, Event, NewInvite, NewPublication, NewRegistration, NewSubscription, UserAgent};
use sip_core::{Instant, Local, Machine, Target, Transport};
use support::call::{BODY, CHALLENGE, CONTACT, Call, SDP, config, hear, known, outside, place, sent, told};
use support::proxying::{config as pconfig, request as preq, rig as prig, take, texts};
use support::subscription::{begun, notify, subscribed};
use support::{PEER, Rig, US, header, ms, request, response, sends};

const URI: &str = "sip:bob@192.0.2.2";

fn new(seconds: u64) -> NewSubscription<'static> {
    NewSubscription { expires: Duration::from_secs(seconds), ..NewSubscription::new(URI, "presence") }
}

fn with_tls<M: Machine>(rig: &mut Rig<M>) {
    let addr = "192.0.2.1:5061".parse().unwrap();
    rig.machine.listen(Instant::ZERO, Local { transport: Transport::Tls, addr, advertised: None });
}

/// The credentials of a subscription are those of all its forks, whatever became of the first.
#[test]
fn credentials_of_a_fork_after_the_first_is_over() {
    for state in ["active;expires=100", "terminated;reason=noresource"] {
        let mut rig = Rig::new(UserAgent::new(config()));
        let own = [Credentials::new("alice", "pw")];
        rig.machine.subscribe(rig.now, &NewSubscription { credentials: &own, ..new(100) }).unwrap();
        let first = sent(&rig.drain(), "SUBSCRIBE");
        hear(&mut rig, &response(&first, "401 Unauthorized", "n0", CHALLENGE));
        let again = sent(&rig.drain(), "SUBSCRIBE");
        hear(&mut rig, &response(&again, "200 OK", "n1", "Expires: 100\r\n"));
        hear(&mut rig, &notify(&again, "n1", 1, state));
        hear(&mut rig, &notify(&again, "n2", 1, "active;expires=90"));
        rig.drain();
        // The refresh of the second, challenged.
        let out = rig.run_until(ms(50_500));
        let refresh = out
            .iter()
            .find(|o| o.line().starts_with("SUBSCRIBE") && o.bytes().contains("tag=n2"))
            .unwrap()
            .bytes()
            .to_owned();
        if header(&refresh, "Authorization").is_none() {
            hear(&mut rig, &response(&refresh, "401 Unauthorized", "", CHALLENGE));
            let out = rig.drain();
            assert!(
                out.iter().any(|o| o.line().starts_with("SUBSCRIBE") && o.bytes().contains("Authorization")),
                "{state}: the credentials are gone: {out:#?}"
            );
        }
    }
}

/// RFC 7616 §3.4: a nonce is counted in one place.
#[test]
fn forks_of_a_subscription_do_not_count_a_nonce_twice() {
    let mut rig = Rig::new(UserAgent::new(known()));
    rig.machine.subscribe(rig.now, &new(100)).unwrap();
    let first = sent(&rig.drain(), "SUBSCRIBE");
    hear(&mut rig, &response(&first, "401 Unauthorized", "n0", CHALLENGE));
    let again = sent(&rig.drain(), "SUBSCRIBE");
    hear(&mut rig, &response(&again, "200 OK", "n1", "Expires: 100\r\n"));
    hear(&mut rig, &notify(&again, "n1", 1, "active;expires=100"));
    hear(&mut rig, &notify(&again, "n2", 1, "active;expires=100"));
    rig.drain();
    let out = rig.run_until(ms(60_000));
    let mut counts: Vec<String> = out
        .iter()
        .filter(|o| o.line().starts_with("SUBSCRIBE"))
        .filter_map(|o| Some(header(o.bytes(), "Authorization")?.split("nc=").nth(1)?[..8].to_owned()))
        .collect();
    counts.push(header(&again, "Authorization").unwrap().split("nc=").nth(1).unwrap()[..8].to_owned());
    let all = counts.len();
    counts.sort();
    counts.dedup();
    assert_eq!(all, counts.len(), "one nonce, counted {counts:?}");
}

/// A fork whose refresh was refused for good is over.
#[test]
fn a_fork_that_was_lost_does_not_come_back() {
    let (mut rig, _, first) = begun(config(), &new(20));
    hear(&mut rig, &notify(&first, "n2", 1, "active;expires=18"));
    rig.drain();
    let refresh = sent(&rig.run_until(ms(9_500)), "SUBSCRIBE");
    assert!(refresh.contains("tag=n2"));
    hear(&mut rig, &response(&refresh, "481 Gone", "", ""));
    rig.run_until(ms(15_500));
    let heard = hear(&mut rig, &notify(&first, "n2", 2, "active;expires=18"));
    assert!(heard.text.starts_with("Declined"), "{}", heard.text);
}

/// RFC 6665 §4.1.4: that the first is lost is not the end of the others.
#[test]
fn a_first_that_is_lost_leaves_the_forks() {
    let (mut rig, _, first) = begun(config(), &new(10));
    rig.drain();
    let refresh = sent(&rig.run_until(ms(5_500)), "SUBSCRIBE");
    hear(&mut rig, &response(&refresh, "481 Gone", "", ""));
    rig.drain();
    let heard = hear(&mut rig, &notify(&first, "n2", 1, "active;expires=18"));
    assert!(heard.text.starts_with("Notified"), "{}", heard.text);
}

/// RFC 6665 §4.1.2.4: Timer N runs from the SUBSCRIBE that forks, and not from its refreshes.
#[test]
fn no_forks_long_after_timer_n() {
    let (mut rig, _, first) = begun(config(), &new(40));
    rig.drain();
    for n in 2..40 {
        let mut refresh = None;
        while refresh.is_none() {
            let at = rig.machine.deadline().unwrap();
            refresh = rig.run_until(at).into_iter().find(|o| o.line().starts_with("SUBSCRIBE"));
        }
        hear(&mut rig, &response(refresh.unwrap().bytes(), "200 OK", "", "Expires: 40\r\n"));
        hear(&mut rig, &notify(&first, "n1", n, "active;expires=40"));
        rig.drain();
    }
    assert!(rig.now > ms(700_000));
    let heard = hear(&mut rig, &notify(&first, "n2", 1, "active;expires=40"));
    assert!(heard.text.starts_with("Declined"), "at {:?}: {}", rig.now, heard.text);
}

/// RFC 3261 §10.2.4: the binding that ends first says when all are refreshed.
#[test]
fn each_binding_is_refreshed_in_its_time() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let uri = format!("sip:{PEER}");
    let new = NewRegistration {
        contacts: &["<sip:alice@192.0.2.99>"],
        ..NewRegistration::new(&uri, "<sip:alice@example.com>")
    };
    rig.machine.register(rig.now, &new).unwrap();
    let first = sent(&rig.drain(), "REGISTER");
    let own = header(&first, "Contact").unwrap();
    hear(
        &mut rig,
        &response(
            &first,
            "200 OK",
            "r",
            &format!("Contact: {own};expires=3600\r\nContact: <sip:alice@192.0.2.99>;expires=60\r\n"),
        ),
    );
    rig.drain();
    let out = rig.run_until(ms(60_000));
    assert!(sends(&out, "REGISTER")[0] < 60_000, "the second is over at 60 s");
}

fn bind_by(
    bindings: &mut Bindings,
    cseq: u32,
    headers: &str,
    policy: &registrar::Policy,
) -> Result<Vec<String>, u16> {
    let text = request("REGISTER", cseq, headers, "");
    let done = bindings.register(ms(0), &Request::parse(text.as_bytes()).unwrap(), policy);
    done.map(|all| all.into_iter().map(|(_, value)| value).collect()).map_err(|refusal| refusal.status.code())
}

/// RFC 3327 §5.3: no binding by half a Path.
#[test]
fn a_path_that_can_not_be_read() {
    let mut b = Bindings::default();
    let done = bind_by(
        &mut b,
        1,
        "Supported: path\r\nPath: <sip:p1;lr>, @@@\r\nPath: <sip:p2;lr>\r\nContact: <sip:a@192.0.2.1>\r\n",
        &Default::default(),
    );
    let path: Vec<_> = b.of(ms(1), "sip:alice@example.com").iter().map(|b| b.path.clone()).collect();
    assert_eq!(done, Err(400), "{path:?}");
}

/// A policy that was lowered refuses what adds to the bindings, and nothing else.
#[test]
fn more_than_the_policy_allows() {
    let mut b = Bindings::default();
    bind_by(
        &mut b,
        1,
        "Contact: <sip:a@192.0.2.1>, <sip:a@192.0.2.2>, <sip:a@192.0.2.3>, <sip:a@192.0.2.4>\r\n",
        &Default::default(),
    )
    .unwrap();
    let two = registrar::Policy { bindings: 2, ..Default::default() };
    assert_eq!(bind_by(&mut b, 2, "", &two).map(|l| l.len()), Ok(4), "a query");
    assert_eq!(
        bind_by(&mut b, 3, "Contact: <sip:a@192.0.2.1>;expires=0\r\n", &two).map(|l| l.len()),
        Ok(3),
        "a removal"
    );
}

/// RFC 5630 §5.2: over TLS to a SIP registrar a SIP address is bound.
#[test]
fn what_the_agent_registers_over_tls_a_registrar_takes() {
    let mut rig = Rig::new(UserAgent::new(config()));
    with_tls(&mut rig);
    let target = Target { transport: Transport::Tls, addr: "192.0.2.2:5061".parse().unwrap() };
    for (uri, target) in [("sip:192.0.2.2;transport=tls", None), ("sip:example.com", Some(target))] {
        rig.machine
            .register(
                rig.now,
                &NewRegistration { target, ..NewRegistration::new(uri, "<sip:alice@example.com>") },
            )
            .unwrap();
        rig.drain();
        let flow = rig.machine.flows().last().unwrap();
        rig.machine.flow_opened(rig.now, flow, "192.0.2.1:7777".parse().unwrap());
        let register = sent(&rig.drain(), "REGISTER");
        let done = Bindings::default().register(
            ms(0),
            &Request::parse(register.as_bytes()).unwrap(),
            &Default::default(),
        );
        assert!(done.is_ok(), "{uri}: {} {register}", done.unwrap_err().status);
        rig.machine.flow_closed(rig.now, flow);
        rig.drain();
    }
}

/// RFC 6665 §4.2.1.1: the user may grant less.
#[test]
fn expires_stands_once_in_a_2xx_to_subscribe() {
    let mut rig = Rig::new(UserAgent::new(Config { packages: vec!["presence".into()], ..config() }));
    let text = outside("SUBSCRIBE", "Event: presence\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n");
    let event = rig.machine.datagram(rig.now, Rig::<UserAgent>::source(), text.as_bytes());
    let Some(Event::Subscribe { txn, .. }) = event else { panic!() };
    let done = rig.machine.respond(rig.now, txn, Status::OK, &Content::headers(&[("Expires", "60")]));
    if done.is_ok() {
        let ok = sent(&rig.drain(), "SIP/2.0 200");
        let all: Vec<_> = ok.lines().filter(|l| l.starts_with("Expires")).collect();
        assert_eq!(all.len(), 1, "{all:?}");
    }
}

/// What the command says its content does not say again.
#[test]
fn expires_and_event_stand_once_in_a_subscribe() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let content = Content::headers(&[("Expires", "60"), ("Event", "dialog")]);
    let done = rig.machine.subscribe(rig.now, &NewSubscription { content, ..new(600) });
    if done.is_ok() {
        let ok = sent(&rig.drain(), "SUBSCRIBE");
        let all: Vec<_> = ok.lines().filter(|l| l.starts_with("Expires") || l.starts_with("Event")).collect();
        assert_eq!(all.len(), 2, "{all:?}");
    }
}

/// The same.
#[test]
fn expires_and_event_stand_once_in_a_publish() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let content = Content {
        headers: &[("Expires", "60"), ("Event", "dialog")],
        content_type: "text/plain",
        body: b"x",
    };
    let done = rig.machine.publish(rig.now, &NewPublication::new(URI, "presence", content));
    if done.is_ok() {
        let ok = sent(&rig.drain(), "PUBLISH");
        let all: Vec<_> = ok.lines().filter(|l| l.starts_with("Expires") || l.starts_with("Event")).collect();
        assert_eq!(all.len(), 2, "{all:?}");
    }
}

fn recorded(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_prefix("Record-Route: ")).map(str::to_owned).collect()
}

/// RFC 3261 §16.6, step 4: no SIPS URI for a UDP socket.
#[test]
fn a_record_route_to_the_side_of_udp() {
    let mut rig = prig(sip_core::proxy::Config { record_route: true, ..pconfig() });
    with_tls(&mut rig);
    let (context, _) = take(
        &mut rig,
        &preq("INVITE", "sip:bob@192.0.2.9", "1", "Route: <sip:192.0.2.1;lr>, <sips:192.0.2.7;lr>\r\n"),
    );
    rig.machine.relay(rig.now, context, &[Branch::AS_IT_IS]).unwrap();
    rig.drain();
    let flow = rig.machine.flows().last().unwrap();
    rig.machine.flow_opened(rig.now, flow, US.parse().unwrap());
    let sent = texts(&rig.drain(), "INVITE");
    let routes = recorded(&sent[0]);
    let came = routes.last().unwrap();
    assert!(!came.starts_with("<sips:192.0.2.1:5060"), "TLS to a UDP port: {routes:?}");
}

/// RFC 3261 §16.6, step 7: a SIPS request goes by TLS, whatever its Route.
#[test]
fn sips_by_a_sip_route_goes_by_tls() {
    let mut rig = prig(pconfig());
    with_tls(&mut rig);
    let (context, _) = take(
        &mut rig,
        &preq("INVITE", "sips:bob@192.0.2.9", "1", "Route: <sip:192.0.2.1;lr>, <sip:192.0.2.7;lr>\r\n"),
    );
    rig.machine.relay(rig.now, context, &[Branch::AS_IT_IS]).unwrap();
    let out = rig.drain();
    assert!(texts(&out, "INVITE").is_empty(), "in a datagram: {}", texts(&out, "INVITE")[0]);
}

/// The same by a Path.
#[test]
fn sips_by_a_sip_path_goes_by_tls() {
    let mut rig = prig(pconfig());
    with_tls(&mut rig);
    let (context, _) = take(&mut rig, &preq("INVITE", "sips:bob@example.com", "1", ""));
    rig.machine
        .relay(
            rig.now,
            context,
            &[Branch { routes: &["<sip:192.0.2.7;lr>"], ..Branch::to("sips:bob@192.0.2.9") }],
        )
        .unwrap();
    let out = rig.drain();
    assert!(texts(&out, "INVITE").is_empty(), "in a datagram: {}", texts(&out, "INVITE")[0]);
}

/// RFC 3261 §8.1.2: the same of a user agent.
#[test]
fn sips_of_a_user_agent_goes_by_tls() {
    let mut rig = Rig::new(UserAgent::new(config()));
    with_tls(&mut rig);
    let done = rig.machine.register(
        rig.now,
        &NewRegistration {
            route: &["<sip:192.0.2.7;lr>"],
            ..NewRegistration::new("sips:example.com", "<sips:alice@example.com>")
        },
    );
    let out = rig.drain();
    assert!(sends(&out, "REGISTER").is_empty(), "{done:?} in a datagram: {out:#?}");
    let done = rig.machine.invite(
        rig.now,
        &NewInvite { route: &["<sip:192.0.2.7;lr>"], ..NewInvite::new("sips:bob@example.com") },
    );
    let out = rig.drain();
    assert!(sends(&out, "INVITE").is_empty(), "{done:?} in a datagram: {out:#?}");
}

/// RFC 3261 §19.1.1: no headers in a Request-URI.
#[test]
fn headers_in_what_a_strict_router_gets() {
    let mut rig = prig(pconfig());
    let (context, _) = take(&mut rig, &preq("INVITE", "sip:bob@example.com", "1", ""));
    rig.machine
        .relay(
            rig.now,
            context,
            &[Branch { routes: &["<sip:192.0.2.8>"], ..Branch::to("sip:b@192.0.2.7?Subject=x") }],
        )
        .unwrap();
    let out = texts(&rig.drain(), "INVITE");
    assert!(!out[0].contains('?'), "{}", out[0]);
}

/// The same of what a strict router had.
#[test]
fn headers_from_a_strict_router() {
    let mut rig = prig(pconfig());
    let text = preq("BYE", "sip:192.0.2.1;lr", "1", "Route: <sip:bob@192.0.2.9?Subject=x>\r\n");
    let (context, _) = take(&mut rig, &text);
    rig.machine.relay(rig.now, context, &[Branch::AS_IT_IS]).unwrap();
    let out = texts(&rig.drain(), "BYE");
    assert!(!out[0].contains('?'), "{}", out[0]);
}

fn publish_by(c: &mut Compositor, cseq: u32, headers: &str, body: &str, policy: &compositor::Policy) -> u16 {
    let text = request("PUBLISH", cseq, headers, body);
    c.publish(ms(0), &Request::parse(text.as_bytes()).unwrap(), policy).0.code()
}

/// Packages have no case.
#[test]
fn a_package_with_capitals() {
    let policy = compositor::Policy::new(&["Presence"]);
    assert_eq!(
        publish_by(
            &mut Compositor::new(0),
            1,
            "Event: Presence\r\nContent-Type: text/plain\r\n",
            "x",
            &policy
        ),
        200
    );
}

/// RFC 3903 §6, step 5: what can't be told again as it came is not taken.
#[test]
fn an_encoded_body() {
    let policy = compositor::Policy::new(&["presence"]);
    let mut c = Compositor::new(0);
    let code = publish_by(
        &mut c,
        1,
        "Event: presence\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n",
        "\x1f",
        &policy,
    );
    let kept = format!("{:?}", c.publications(ms(0), "sip:alice@example.com").collect::<Vec<_>>());
    assert!(code == 415 || kept.contains("gzip"), "{code} {kept}");
}

/// RFC 3261 §20.15.
#[test]
fn a_body_of_no_type() {
    let policy = compositor::Policy::new(&["presence"]);
    let mut c = Compositor::new(0);
    let code = publish_by(&mut c, 1, "Event: presence\r\n", "x", &policy);
    let kept = c.publications(ms(0), "sip:alice@example.com").next().cloned();
    assert!(
        code >= 400 || Content::body(&kept.as_ref().unwrap().content_type, b"x").check().is_ok(),
        "{code} {kept:?} can't be notified"
    );
}

/// RFC 3903 §6: step 3 before step 4.
#[test]
fn the_precondition_comes_before_the_time() {
    let policy = compositor::Policy::new(&["presence"]);
    let code = publish_by(
        &mut Compositor::new(0),
        1,
        "Event: presence\r\nSIP-If-Match: old\r\nExpires: 5\r\nContent-Type: text/plain\r\n",
        "x",
        &policy,
    );
    assert_eq!(code, 412);
}

/// What lives here is not restored beside itself.
#[test]
fn a_subscription_that_lives_here() {
    let (mut rig, id, _) = subscribed(config());
    let bytes = rig.machine.snapshot_subscription(rig.now, id).unwrap();
    let twice = rig.machine.restore_subscription(rig.now, &bytes);
    assert!(twice.is_err(), "{}", sends(&rig.run_until(ms(60_000)), "SUBSCRIBE").len());
}

/// RFC 6665 §4.5.2: to the peer the second would be a refresh of the first.
#[test]
fn the_same_event_twice_in_a_dialog() {
    let mut call = Call::placed(config(), "");
    let one = call.rig.machine.subscribe_in(call.rig.now, call.dialog, &new(100)).unwrap();
    let first = sent(&call.rig.drain(), "SUBSCRIBE");
    call.answer(&first, "200 OK", "Expires: 100\r\n");
    call.ask("NOTIFY", "Event: presence\r\nSubscription-State: active;expires=100\r\n");
    let two = call.rig.machine.subscribe_in(call.rig.now, call.dialog, &new(100));
    if two.is_ok() {
        let second = sent(&call.rig.drain(), "SUBSCRIBE");
        call.answer(&second, "200 OK", "Expires: 100\r\n");
        let (heard, _) = call.ask("NOTIFY", "Event: presence\r\nSubscription-State: active;expires=100\r\n");
        let out = call.rig.run_until(ms(40_000));
        assert_eq!(told(&out, "SubscriptionEnded"), 0, "{one:?} {two:?} {} {out:#?}", heard.text);
    }
}

/// RFC 3261 §20.33.
#[test]
fn a_registrar_that_says_when() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let uri = format!("sip:{PEER}");
    rig.machine
        .register(
            rig.now,
            &NewRegistration {
                expires: Duration::from_secs(80),
                ..NewRegistration::new(&uri, "<sip:alice@example.com>")
            },
        )
        .unwrap();
    let first = sent(&rig.drain(), "REGISTER");
    hear(&mut rig, &response(&first, "200 OK", "r", "Expires: 80\r\n"));
    let out = rig.run_until(ms(40_000));
    let refresh = sent(&out, "REGISTER");
    hear(&mut rig, &response(&refresh, "503 Service Unavailable", "r", "Retry-After: 35\r\n"));
    rig.drain();
    let again = sends(&rig.run_until(ms(74_000)), "REGISTER");
    assert!(again.is_empty(), "asked to wait till 75 s, came at {again:?}");
}

/// RFC 6665 §4.1.2.2: with the parameters of its event.
#[test]
fn a_refresh_is_about_the_same() {
    let new = NewSubscription {
        expires: Duration::from_secs(100),
        content: Content::headers(&[("Accept", "application/dialog-info+xml")]),
        ..NewSubscription::new(URI, "dialog;call-id=abc;from-tag=1;to-tag=2")
    };
    let (mut rig, _, first) = begun(config(), &new);
    let refresh = sent(&rig.run_until(ms(60_000)), "SUBSCRIBE");
    assert_eq!(header(&refresh, "Event"), header(&first, "Event"));
}

/// The same of what it accepts.
#[test]
fn a_refresh_accepts_the_same() {
    let new = NewSubscription {
        content: Content::headers(&[("Accept", "application/dialog-info+xml")]),
        ..new(100)
    };
    let (mut rig, _, first) = begun(config(), &new);
    let refresh = sent(&rig.run_until(ms(60_000)), "SUBSCRIBE");
    assert_eq!(header(&refresh, "Accept"), header(&first, "Accept"));
}

/// The limit is on forks that live.
#[test]
fn forks_that_are_over_leave_room() {
    let mut small = config();
    small.core.limits.forks = 2;
    let mut rig = Rig::new(UserAgent::new(small));
    rig.machine.subscribe(rig.now, &new(100)).unwrap();
    let first = sent(&rig.drain(), "SUBSCRIBE");
    hear(&mut rig, &response(&first, "200 OK", "n1", ""));
    hear(&mut rig, &notify(&first, "n1", 1, "terminated;reason=noresource"));
    let heard = hear(&mut rig, &notify(&first, "n2", 1, "active;expires=90"));
    assert!(heard.text.starts_with("Notified"), "{}", heard.text);
}

/// RFC 3261 §20.19: 32 bits.
#[test]
fn a_time_without_end() {
    let mut rig = Rig::new(UserAgent::new(config()));
    rig.machine.subscribe(rig.now, &NewSubscription { expires: Duration::MAX, ..new(1) }).unwrap();
    let first = sent(&rig.drain(), "SUBSCRIBE");
    hear(&mut rig, &notify(&first, "n1", 1, "active"));
    hear(&mut rig, &notify(&first, "n2", 1, "active"));
    let expires: Result<u32, _> = header(&first, "Expires").unwrap().parse();
    assert!(expires.is_ok(), "{:?}", header(&first, "Expires"));
}

/// Who gave up before an answer does not answer a challenge.
#[test]
fn who_gave_up_does_not_ask_again() {
    let mut rig = Rig::new(UserAgent::new(known()));
    let id = rig.machine.subscribe(rig.now, &new(100)).unwrap();
    let first = sent(&rig.drain(), "SUBSCRIBE");
    rig.machine.unsubscribe(rig.now, id, &Content::NONE).unwrap();
    hear(&mut rig, &response(&first, "401 Unauthorized", "n0", CHALLENGE));
    let out = rig.drain();
    assert!(sends(&out, "SUBSCRIBE").is_empty(), "{out:#?}");
}

/// A branch that was cancelled before it was sent says what the caller wants to hear.
#[test]
fn a_cancelled_call_with_an_unsent_branch() {
    let mut rig = prig(pconfig());
    let (context, _) = take(&mut rig, &preq("INVITE", "sip:bob@example.com", "1", ""));
    rig.machine
        .relay(rig.now, context, &[support::proxying::B, Branch::to("sip:c@192.0.2.8;transport=tcp")])
        .unwrap();
    let sent = texts(&rig.drain(), "INVITE");
    rig.hear(&response(&sent[0], "486 Busy Here", "t", ""));
    rig.hear(&preq("CANCEL", "sip:bob@example.com", "1", ""));
    let out = rig.drain();
    assert_eq!(
        texts(&out, "SIP/2.0 487").len(),
        1,
        "{:?}",
        out.iter().map(|o| o.line().to_owned()).collect::<Vec<_>>()
    );
}

/// RFC 5630 §5.2 is about what is bound.
#[test]
fn a_sips_contact_can_be_taken_away() {
    let mut b = Bindings::default();
    let text = request("REGISTER", 1, "Contact: <sips:a@192.0.2.1>\r\n", "")
        .replace("REGISTER sip:", "REGISTER sips:");
    b.register(ms(0), &Request::parse(text.as_bytes()).unwrap(), &Default::default()).unwrap();
    let done = bind_by(
        &mut b,
        2,
        "Contact: <sips:a@192.0.2.1>;expires=0, <sip:a@192.0.2.1>\r\n",
        &Default::default(),
    );
    assert_eq!(done.map(|l| l.len()), Ok(1));
}

/// A failure that ends the dialog of the first does not end the others.
#[test]
fn dialogs_that_wait_for_a_fork_end_with_their_dialog() {
    let (mut rig, _, first) = begun(config(), &new(10));
    hear(&mut rig, &notify(&first, "n2", 1, "active;expires=10"));
    rig.drain();
    let out = rig.run_until(ms(5_500));
    for refresh in out.iter().filter(|o| o.line().starts_with("SUBSCRIBE")) {
        let status = if refresh.bytes().contains("tag=n1") { "404 Not Found" } else { "200 OK" };
        hear(&mut rig, &response(refresh.bytes(), status, "", "Expires: 10\r\n"));
    }
    assert_eq!(told(&rig.drain(), "SubscriptionEnded"), 1);
    let heard = hear(&mut rig, &notify(&first, "n3", 1, "active;expires=18"));
    assert!(heard.text.starts_with("Notified"), "{}", heard.text);
}

/// RFC 3261 §20.10: an expires that can't be read counts as an hour, and takes nothing away.
#[test]
fn a_malformed_expires_is_no_removal() {
    let mut bindings = Bindings::default();
    bind_by(&mut bindings, 1, "Contact: <sip:a@192.0.2.1>\r\n", &Default::default()).unwrap();
    let headers = "Expires: 0\r\nContact: <sip:a@192.0.2.1>;expires=never\r\n";
    let listed = bind_by(&mut bindings, 2, headers, &Default::default()).unwrap();
    assert!(listed.len() == 1 && listed[0].ends_with("expires=3600"), "{listed:?}");
}

/// The timers of a slow path are those of its refreshes, too: so Timer N is 64 times their T1.
#[test]
fn the_timers_of_a_slow_path_hold_for_refreshes() {
    let timers = Timers { t1: Duration::from_secs(2), ..Timers::DEFAULT };
    let (mut rig, _, _) = begun(config(), &NewSubscription { timers: Some(timers), ..new(400) });
    let refresh = sent(&rig.run_until(ms(360_000)), "SUBSCRIBE");
    assert_eq!(sends(&rig.run_until(ms(370_000)), "SUBSCRIBE"), [362_000, 366_000, 370_000]);
    hear(&mut rig, &response(&refresh, "200 OK", "", "Expires: 400\r\n"));
    assert_eq!(told(&rig.run_until(ms(487_999)), "SubscriptionEnded"), 0);
    assert_eq!(told(&rig.run_until(ms(488_000)), "SubscriptionEnded"), 1);
}

/// RFC 3262 §3: what is over has no PRACK, though a subscription keeps the dialog.
#[test]
fn no_prack_in_a_session_that_is_over() {
    let mut rig = Rig::new(UserAgent::new(Config { auto_prack: false, ..config() }));
    let (_, invite) = place(&mut rig, SDP);
    let progress = "Contact: <sip:bob@192.0.2.2:5099>\r\nRequire: 100rel\r\nRSeq: 1\r\n";
    let dialog = hear(&mut rig, &response(&invite, "183 Session Progress", "b1", progress)).dialog.unwrap();
    hear(&mut rig, &response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}")));
    rig.machine.subscribe_in(rig.now, dialog, &NewSubscription::new("", "presence")).unwrap();
    rig.drain();
    let to = format!("{};tag=b1", header(&invite, "To").unwrap());
    hear(
        &mut rig,
        &format!(
            "BYE sip:alice@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKbye\r\nFrom: {to}\r\nTo: {}\r\nCall-ID: {}\r\n\
         CSeq: 1 BYE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            header(&invite, "From").unwrap(),
            header(&invite, "Call-ID").unwrap()
        ),
    );
    rig.drain();
    assert!(rig.machine.prack(rig.now, dialog, 1, &Content::NONE).is_err());
}

/// `restore`: "what was due in so long is due in so long from `now`". The machine has heard nothing for 40 s when it is asked; its clock stands where it was.
#[test]
fn a_snapshot_of_a_machine_that_was_quiet() {
    let extra = "Supported: timer\r\nAllow: INVITE, UPDATE\r\nSession-Expires: 90;refresher=uac\r\n";
    let mut call = Call::placed(config(), extra);
    call.rig.run_until(ms(33_000)); // The INVITE is over: nothing is due before the refresh, at 45 s.
    assert_eq!(call.rig.machine.deadline(), Some(ms(45_000)));
    let bytes = call.rig.machine.snapshot_dialog(ms(44_000), call.dialog).unwrap();
    let mut other = Rig::new(UserAgent::new(config()));
    other.now = ms(44_000);
    other.machine.restore_dialog(other.now, &bytes).unwrap();
    // Until then it must be refreshed: the peer hangs up at 60 s (90 s less a third).
    assert_eq!(sends(&other.run_until(ms(60_000)), "UPDATE").first(), Some(&45_000));
}

/// RFC 5626 §4.5, and `restore`: a connection that has lasted for long is replaced at once, though the clock of the new process has just begun.
#[test]
fn what_was_long_ago_stays_long_ago() {
    for start in [2_000_000, 1] {
        let uri = format!("sip:{PEER};transport=tcp");
        let mut rig = Rig::new(UserAgent::new(config()));
        let new = NewRegistration {
            contact_params: ";+sip.instance=\"<urn:uuid:1>\";reg-id=1",
            ..NewRegistration::new(&uri, "<sip:alice@example.com>")
        };
        rig.machine.register(rig.now, &new).unwrap();
        rig.drain();
        let flow = rig.machine.flows().last().unwrap();
        rig.machine.flow_opened(rig.now, flow, US.parse().unwrap());
        let register = sent(&rig.drain(), "REGISTER");
        let ok = response(&register, "200 OK", "r", "Require: outbound\r\nExpires: 3600\r\n");
        let mut buf = sip_core::framing::StreamBuf::new();
        buf.extend(ok.as_bytes());
        rig.machine.stream(rig.now, flow, &mut buf).unwrap();
        // It lives: each ping has its pong.
        for at in 1..100 {
            rig.run_until(ms(at * 10_000));
            let mut buf = sip_core::framing::StreamBuf::new();
            buf.extend(b"\r\n");
            let _ = rig.machine.stream(rig.now, flow, &mut buf);
        }
        rig.drain();
        let bytes = rig.machine.snapshot(rig.now).unwrap();
        let now = ms(start);
        let mut again = Rig { machine: UserAgent::restore(now, config(), &bytes).unwrap(), now };
        for transport in [Transport::Udp, Transport::Tcp] {
            again.machine.listen(now, Local { transport, addr: US.parse().unwrap(), advertised: None });
        }
        for flow in again.machine.flows().collect::<Vec<_>>() {
            again.machine.flow_closed(now, flow);
        }
        let out = again.run_until(ms(start + 1));
        assert!(
            out.iter().any(|out| out.line().starts_with("connect")),
            "clock {start}: waits until {:?}",
            again.machine.deadline()
        );
    }
}

/// `RestoreError`: "Nothing has changed."
#[test]
fn a_subscription_that_lives_here_is_not_changed() {
    let uri = format!("sip:bob@{PEER}");
    let new = NewSubscription { expires: Duration::from_secs(600), ..NewSubscription::new(&uri, "presence") };
    let (mut rig, id, first) = begun(config(), &new);
    // Elsewhere it went on: more NOTIFYs, with another Contact.
    let mut other = {
        let bytes = rig.machine.snapshot_subscription(rig.now, id).unwrap();
        let mut other = Rig::new(UserAgent::new(config()));
        other.machine.restore_subscription(other.now, &bytes).unwrap();
        other
    };
    let moved = notify(&first, "n1", 9, "active;expires=600").replace("192.0.2.2:5099", "198.51.100.66:5066");
    let Some(Event::Notified { subscription, .. }) =
        other.machine.datagram(other.now, Rig::<UserAgent>::source(), moved.as_bytes())
    else {
        panic!()
    };
    let newer = other.machine.snapshot_subscription(other.now, subscription).unwrap();
    let before = rig.machine.snapshot_subscription(rig.now, id).unwrap();
    rig.drain();
    assert!(rig.machine.restore_subscription(rig.now, &newer).is_err());
    assert_eq!(rig.machine.snapshot_subscription(rig.now, id).unwrap(), before, "nothing has changed");
}

/// A state that was changed is said after a restart at once, as a refresh that was under way is; not when the old one is nearly over.
#[test]
fn a_change_that_was_under_way_is_published_after_a_restart() {
    let uri = format!("sip:alice@{PEER}");
    let mut rig = Rig::new(UserAgent::new(config()));
    let open = Content::body("application/pidf+xml", b"open");
    let new = NewPublication::new(&uri, "presence", open);
    let id = rig.machine.publish(rig.now, &new).unwrap();
    let first = sent(&rig.drain(), "PUBLISH");
    hear(&mut rig, &response(&first, "200 OK", "p", "SIP-ETag: e1\r\nExpires: 3600\r\n"));
    rig.run_until(ms(60_000));
    rig.machine.publish_change(rig.now, id, &Content::body("application/pidf+xml", b"closed")).unwrap();
    rig.drain(); // It is lost.
    let bytes = rig.machine.snapshot_publication(rig.now, id).unwrap();
    let mut other = Rig::new(UserAgent::new(config()));
    other.machine.restore_publication(other.now, &bytes).unwrap();
    let out = other.run_until(ms(4_000_000));
    let at = sends(&out, "PUBLISH");
    assert!(sent(&out, "PUBLISH").ends_with("closed"));
    assert!(at.first().is_some_and(|at| *at < 60_000), "everybody sees the old state until {at:?}");
}
