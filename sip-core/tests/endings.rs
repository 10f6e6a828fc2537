//! How things end while something else is under way: what is over stays over, and what is owed is still paid.

mod support;

use core::time::Duration;
use sip_core::auth::Credentials;
use sip_core::framing::StreamBuf;
use sip_core::message::{Content, Method, Status};
use sip_core::ua::{Config, Event, NewRefer, NewRegistration, NewSubscription, Notice, UserAgent};
use sip_core::{Machine, Misuse, ServerTxn, SubscriptionId};
use support::call::{BODY, CHALLENGE, CONTACT, Call, SDP, config, hear, known, outside, place, sent, told};
use support::subscription::{notify, subscribed};
use support::{Out, PEER, Rig, US, header, ms, response, sends};

const NONE: [u64; 0] = [];

// Calls.

/// An ACK that the user gives when the INVITE is over is sent, and not kept: no copies of the 2xx come any more.
#[test]
fn an_ack_that_comes_late_is_not_kept() {
    for at in [ms(41_000), ms(100_000)] {
        let mut call = Call::placed(config(), "");
        call.rig.run_until(ms(40_000));
        let idle = call.rig.machine.stats().retained_bytes;
        let invite = call.sent(Method::Invite, Content::NONE);
        call.answer(&invite, "200 OK", BODY);
        call.rig.run_until(at);
        call.rig.machine.ack(call.rig.now, call.dialog, &SDP).unwrap();
        assert_eq!(sends(&call.rig.drain(), "ACK").len(), 1);
        call.rig.run_until(ms(200_000));
        assert_eq!(call.rig.machine.stats().retained_bytes, idle);
    }
}

/// A 2xx that waits for its PRACK has not been sent: the call is refused instead.
#[test]
fn a_call_is_hung_up_while_its_2xx_waits_for_a_prack() {
    let mut call = Call::ringing(config(), &format!("Supported: 100rel\r\n{BODY}"));
    let machine = &mut call.rig.machine;
    machine.ring_reliably(call.rig.now, call.dialog, Status::new(183).unwrap(), &SDP).unwrap();
    machine.accept(call.rig.now, call.dialog, &Content::NONE).unwrap();
    assert_eq!(machine.hang_up(call.rig.now, call.dialog, &Content::NONE), Ok(()));
    let out = call.rig.drain();
    assert_eq!((sends(&out, "SIP/2.0 603").len(), sends(&out, "SIP/2.0 200").len()), (1, 0));
}

/// RFC 3261 §15: an early dialog whose INVITE another fork has answered gets a BYE: there is nothing left to cancel.
#[test]
fn an_early_fork_is_hung_up_when_another_has_answered() {
    for keep_forks in [false, true] {
        let mut rig = Rig::new(UserAgent::new(Config { keep_forks, ..config() }));
        let (_, invite) = place(&mut rig, SDP);
        let early = hear(&mut rig, &response(&invite, "180 Ringing", "b1", CONTACT)).dialog.unwrap();
        hear(&mut rig, &response(&invite, "200 OK", "b2", &format!("{CONTACT}{BODY}")));
        rig.drain();
        rig.machine.hang_up(rig.now, early, &Content::NONE).unwrap();
        assert_eq!(sends(&rig.drain(), "BYE").len(), 1);
    }
}

/// RFC 3891 §3: nor can what is replaced be cancelled then.
#[test]
fn an_early_fork_is_replaced_when_another_has_answered() {
    let mut rig = Rig::new(UserAgent::new(Config { keep_forks: true, ..config() }));
    let (_, invite) = place(&mut rig, SDP);
    hear(&mut rig, &response(&invite, "180 Ringing", "b1", CONTACT));
    hear(&mut rig, &response(&invite, "200 OK", "b2", &format!("{CONTACT}{BODY}")));
    rig.drain();
    let call_id = header(&invite, "Call-ID").unwrap();
    let tag = header(&invite, "From").unwrap().split("tag=").nth(1).unwrap();
    let replaces = format!("Replaces: {call_id};to-tag={tag};from-tag=b1\r\n{BODY}");
    let dialog = hear(&mut rig, &outside("INVITE", &replaces)).dialog.unwrap();
    rig.machine.accept(rig.now, dialog, &SDP).unwrap();
    assert_eq!(sends(&rig.drain(), "BYE").len(), 1);
}

/// RFC 3891 §3: a dialog that no INVITE has made is none that can be replaced; one that is over is refused.
#[test]
fn what_was_never_a_call_is_not_replaced() {
    let mut rig = Rig::new(UserAgent::new(Config { packages: vec!["presence".into()], ..config() }));
    let subscribe = outside("SUBSCRIBE", "Event: presence\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n");
    let source = Rig::<UserAgent>::source();
    let event = rig.machine.datagram(rig.now, source, subscribe.as_bytes());
    let Some(Event::Subscribe { txn, .. }) = event else { panic!() };
    rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE).unwrap();
    let ok = sent(&rig.drain(), "SIP/2.0 200");
    let tag = header(&ok, "To").unwrap().split("tag=").nth(1).unwrap();
    hear(&mut rig, &outside("INVITE", &format!("Replaces: SUBSCRIBE;to-tag={tag};from-tag=b9\r\n{BODY}")));
    assert_eq!(rig.drain()[0].line(), "SIP/2.0 481 Call/Transaction Does Not Exist");
}

/// RFC 3261 §9.1: what is cancelled is not sent again, whatever it is refused for.
#[test]
fn a_cancelled_reinvite_is_not_sent_again() {
    for (status, extra, rings) in [
        ("491 Request Pending", "", true),
        ("401 Unauthorized", CHALLENGE, true),
        // The CANCEL still waits for a provisional response.
        ("401 Unauthorized", CHALLENGE, false),
    ] {
        let mut call = Call::placed(known(), "");
        let id = call.send(Method::Invite, SDP).unwrap();
        let reinvite = sent(&call.rig.drain(), "INVITE");
        if rings {
            call.answer(&reinvite, "100 Trying", "");
        }
        call.rig.machine.cancel_request(call.rig.now, id).unwrap();
        let heard = call.answer(&reinvite, status, extra);
        assert!(heard.text.starts_with("Response"), "the user hears of it: {}", heard.text);
        assert_eq!(sends(&call.rig.run_until(ms(10_000)), "INVITE"), NONE, "{status}");
    }
}

/// RFC 3261 §13.2.2.4: a 2xx whose answer the user owes is acknowledged without one when the peer has hung up, and so are its copies.
#[test]
fn a_2xx_is_acknowledged_though_the_peer_has_hung_up() {
    let ok = format!("{CONTACT}{BODY}");
    let mut call = Call::placed(config(), "");
    let reinvite = call.sent(Method::Invite, Content::NONE);
    assert!(call.answer(&reinvite, "200 OK", &ok).wants);
    let (_, out) = call.ask("BYE", "");
    assert_eq!(sends(&out, "ACK").len(), 1);
    assert_eq!(call.rig.machine.ack(call.rig.now, call.dialog, &SDP), Err(Misuse::Gone));
    call.answer(&reinvite, "200 OK", &ok);
    assert_eq!(sends(&call.rig.drain(), "ACK").len(), 1);

    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, Content::NONE);
    let ok = response(&invite, "200 OK", "b1", &ok);
    let dialog = hear(&mut rig, &ok).dialog.unwrap();
    let (to, from) = (header(&invite, "To").unwrap(), header(&invite, "From").unwrap());
    let mut call = Call::of(rig, invite.clone(), dialog, format!("{to};tag=b1"), from.into());
    let (_, out) = call.ask("BYE", "");
    assert_eq!(sends(&out, "ACK").len(), 1);
    hear(&mut call.rig, &ok);
    assert_eq!(sends(&call.rig.drain(), "ACK").len(), 1);
    call.rig.run_until(ms(200_000));
    assert!(call.rig.machine.is_idle());
}

/// Nothing more is sent in a dialog that this side has hung up.
#[test]
fn no_prack_after_a_bye() {
    let mut call = Call::placed(config(), "");
    let reinvite = call.sent(Method::Invite, SDP);
    call.rig.machine.bye(call.rig.now, call.dialog, &Content::NONE).unwrap();
    call.rig.drain();
    call.answer(&reinvite, "183 Progress", &format!("{CONTACT}Require: 100rel\r\nRSeq: 7\r\n"));
    assert_eq!(sends(&call.rig.drain(), "PRACK"), NONE);
}

/// RFC 3261 §12.2.2: a tag that comes back names the dialog that lives, though something still holds the one before.
#[test]
fn a_tag_that_comes_back_is_found() {
    let mut rig = Rig::new(UserAgent::new(known()));
    let (_, invite) = place(&mut rig, SDP);
    let reliable = format!("{CONTACT}Require: 100rel\r\nRSeq: 5\r\n");
    hear(&mut rig, &response(&invite, "183 Progress", "b1", &reliable));
    let prack = sent(&rig.drain(), "PRACK");
    hear(&mut rig, &response(&prack, "200 OK", "b1", ""));
    hear(&mut rig, &response(&invite, "401 Unauthorized", "b1", CHALLENGE));
    let again = sent(&rig.drain(), "INVITE");
    let up = hear(&mut rig, &response(&again, "200 OK", "b1", &format!("{CONTACT}{BODY}"))).dialog.unwrap();
    rig.drain();
    let (to, from) = (header(&again, "To").unwrap(), header(&again, "From").unwrap());
    let mut call = Call::of(rig, again.clone(), up, format!("{to};tag=b1"), from.into());
    call.rig.run_until(ms(60_000));
    assert_eq!(call.ask("BYE", "").1[0].line(), "SIP/2.0 200 OK");
}

/// What is over is not found any more, though a transaction holds it: who names it in Target-Dialog has no dialog here.
#[test]
fn a_dialog_that_is_over_is_not_found() {
    let mut call = Call::placed(config(), "");
    let tag = call.us.split("tag=").nth(1).unwrap().to_owned();
    let find = |call: &Call| {
        let (call_id, tag) = (call.call_id.as_bytes(), tag.as_bytes());
        let set = call.rig.machine.dialog_set(call_id, tag).count();
        (call.rig.machine.dialog(call_id, tag, b"b1"), set)
    };
    assert_eq!(find(&call), (Some(call.dialog), 1));
    call.ask("BYE", "");
    assert_eq!(find(&call), (None, 0));
}

// Subscriptions.

/// RFC 3261 §22.2: the credentials that a subscription was given are those of its dialog, whenever that comes to be.
#[test]
fn credentials_survive_a_late_notify() {
    for wait in [100, 6_000] {
        let mut rig = Rig::new(UserAgent::new(config()));
        let uri = format!("sip:bob@{PEER}");
        let credentials = &[Credentials::new("carol", "pw")];
        let expires = Duration::from_secs(100);
        let new = NewSubscription { expires, credentials, ..NewSubscription::new(&uri, "presence") };
        rig.machine.subscribe(rig.now, &new).unwrap();
        let first = sent(&rig.drain(), "SUBSCRIBE");
        hear(&mut rig, &response(&first, "401 Unauthorized", "n1", CHALLENGE));
        let first = sent(&rig.drain(), "SUBSCRIBE");
        hear(&mut rig, &response(&first, "200 OK", "n1", "Expires: 100\r\n"));
        rig.run_until(ms(wait));
        hear(&mut rig, &notify(&first, "n1", 1, "active;expires=90"));
        rig.drain();
        let refresh = sent(&rig.run_until(ms(wait + 52_000)), "SUBSCRIBE");
        assert!(header(&refresh, "Authorization").unwrap().contains("carol"));
        hear(&mut rig, &response(&refresh, "401 Unauthorized", "", &CHALLENGE.replace("n1", "n2")));
        assert_eq!(sends(&rig.drain(), "SUBSCRIBE").len(), 1, "after {wait} ms");
    }
}

/// Over a connection the transaction of the SUBSCRIBE is over with its response: any NOTIFY is late.
#[test]
fn credentials_survive_over_a_connection() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let uri = format!("sip:bob@{PEER};transport=tcp");
    let credentials = &[Credentials::new("carol", "pw")];
    let expires = Duration::from_secs(100);
    let new = NewSubscription { expires, credentials, ..NewSubscription::new(&uri, "presence") };
    rig.machine.subscribe(rig.now, &new).unwrap();
    rig.drain();
    let flow = rig.machine.flows().next().unwrap();
    rig.machine.flow_opened(rig.now, flow, US.parse().unwrap());
    let first = sent(&rig.drain(), "SUBSCRIBE");
    let mut buf = StreamBuf::new();
    let mut say = |rig: &mut Rig<UserAgent>, text: &str| {
        buf.extend(text.as_bytes());
        while rig.machine.stream(rig.now, flow, &mut buf).is_some() {}
    };
    say(&mut rig, &response(&first, "401 Unauthorized", "n1", CHALLENGE));
    let first = sent(&rig.drain(), "SUBSCRIBE");
    say(&mut rig, &response(&first, "200 OK", "n1", "Expires: 100\r\n"));
    let notify = notify(&first, "n1", 1, "active;expires=90");
    say(&mut rig, &notify.replace("SIP/2.0/UDP", "SIP/2.0/TCP").replace("5099>", "5060;transport=tcp>"));
    rig.drain();
    let refresh = sent(&rig.run_until(ms(52_000)), "SUBSCRIBE");
    say(&mut rig, &response(&refresh, "401 Unauthorized", "", &CHALLENGE.replace("n1", "n2")));
    assert_eq!(sends(&rig.drain(), "SUBSCRIBE").len(), 1);
}

/// A refresh that is challenged when its subscription is over is not sent again, nor behind what ends it.
#[test]
fn what_has_ended_is_not_asked_for_again() {
    let (mut rig, _, first) = subscribed(known());
    let refresh = sent(&rig.run_until(ms(60_000)), "SUBSCRIBE");
    hear(&mut rig, &notify(&first, "n1", 2, "terminated;reason=noresource"));
    assert_eq!(told(&rig.drain(), "SubscriptionEnded"), 1);
    hear(&mut rig, &response(&refresh, "401 Unauthorized", "", CHALLENGE));
    assert_eq!(sends(&rig.drain(), "SUBSCRIBE"), NONE);

    let (mut rig, id, _) = subscribed(known());
    let refresh = sent(&rig.run_until(ms(60_000)), "SUBSCRIBE");
    rig.machine.unsubscribe(rig.now, id, &Content::NONE).unwrap();
    let end = sent(&rig.drain(), "SUBSCRIBE");
    hear(&mut rig, &response(&end, "401 Unauthorized", "", CHALLENGE));
    let end = sent(&rig.drain(), "SUBSCRIBE");
    assert_eq!(header(&end, "Expires"), Some("0"), "that one is");
    hear(&mut rig, &response(&end, "200 OK", "", "Expires: 0\r\n"));
    hear(&mut rig, &response(&refresh, "401 Unauthorized", "", &CHALLENGE.replace("n1", "n2")));
    assert_eq!(sends(&rig.drain(), "SUBSCRIBE"), NONE);
}

/// A NOTIFY that is challenged goes again while its subscription lives; the last one in any case.
#[test]
fn the_last_notify_is_sent_again_and_none_behind_it() {
    let mut rig = Rig::new(UserAgent::new(Config { packages: vec!["presence".into()], ..known() }));
    let subscribe = outside("SUBSCRIBE", "Event: presence\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n");
    let source = Rig::<UserAgent>::source();
    let event = rig.machine.datagram(rig.now, source, subscribe.as_bytes());
    let Some(Event::Subscribe { txn, subscription, .. }) = event else { panic!() };
    rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE).unwrap();
    rig.machine.notify(rig.now, subscription, Notice::Active, &Content::NONE).unwrap();
    let active = sent(&rig.drain(), "NOTIFY");
    let over = Notice::Terminated { reason: sip_core::ua::Ended::NoResource, retry_after: None };
    rig.machine.notify(rig.now, subscription, over, &Content::NONE).unwrap();
    let last = sent(&rig.drain(), "NOTIFY");
    hear(&mut rig, &response(&last, "401 Unauthorized", "", CHALLENGE));
    let again = sent(&rig.drain(), "NOTIFY");
    assert!(header(&again, "Subscription-State").unwrap().starts_with("terminated"));
    hear(&mut rig, &response(&active, "401 Unauthorized", "", CHALLENGE));
    assert_eq!(sends(&rig.drain(), "NOTIFY"), NONE);
}

/// 423 is for what is too short; what is to end is not to last longer (RFC 6665 §4.1.2.1, RFC 3261 §10.2.8).
#[test]
fn nothing_is_prolonged_by_its_end() {
    let brief = "Min-Expires: 60\r\n";
    let (mut rig, id, _) = subscribed(config());
    rig.machine.unsubscribe(rig.now, id, &Content::NONE).unwrap();
    let end = sent(&rig.drain(), "SUBSCRIBE");
    hear(&mut rig, &response(&end, "423 Interval Too Brief", "", brief));
    let out = rig.drain();
    assert_eq!((sends(&out, "SUBSCRIBE").len(), told(&out, "SubscriptionEnded")), (0, 1));

    let mut rig = Rig::new(UserAgent::new(config()));
    let uri = format!("sip:{PEER}");
    let new = NewRegistration::new(&uri, "<sip:alice@example.com>");
    let id = rig.machine.register(rig.now, &new).unwrap();
    let first = sent(&rig.drain(), "REGISTER");
    hear(&mut rig, &response(&first, "200 OK", "r", "Expires: 3600\r\n"));
    rig.machine.unregister(rig.now, id).unwrap();
    let end = sent(&rig.drain(), "REGISTER");
    hear(&mut rig, &response(&end, "423 Interval Too Brief", "r", brief));
    let out = rig.drain();
    assert_eq!((sends(&out, "REGISTER").len(), told(&out, "RegistrationEnded")), (0, 1));
    // RFC 3261 §10.2.1.1: a parameter of a Contact would outlast the Expires of 0.
    for new in [
        NewRegistration { contact_params: ";expires=600", ..new },
        NewRegistration { contacts: &["<sip:desk@192.0.2.77>;expires=300"], ..new },
        NewRegistration { contacts: &["*"], ..new },
    ] {
        assert_eq!(rig.machine.register(rig.now, &new), Err(Misuse::BadContent));
    }
}

/// Whom its user has no room for was never told of, and its end is not told either.
#[test]
fn who_was_not_told_of_a_subscription_is_not_told_of_its_end() {
    let config = Config { packages: vec!["presence".into()], ..config() };
    for request in [
        outside("SUBSCRIBE", "Event: presence\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n"),
        outside("REFER", "Refer-To: <sip:carol@x>\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let mut rig = Rig::new(UserAgent::new(config.clone()));
        let event = rig.machine.datagram(rig.now, Rig::<UserAgent>::source(), request.as_bytes()).unwrap();
        assert!(rig.machine.refuse(ms(0), event).is_none());
        let out = rig.drain();
        assert_eq!((told(&out, "SubscriptionEnded"), sends(&out, "SIP/2.0 503").len()), (0, 1), "{out:?}");
    }
}

// What REFERs make.

/// A REFER outside dialogs that one fork has notified.
fn referred(rig: &mut Rig<UserAgent>) -> String {
    let uri = format!("sip:bob@{PEER}");
    rig.machine.refer(rig.now, &NewRefer::outside(&uri, "<sip:carol@x>")).unwrap();
    let first = sent(&rig.drain(), "REFER");
    hear(rig, &response(&first, "202 Accepted", "n1", CONTACT));
    hear(rig, &notify(&first, "n1", 1, "active;expires=60"));
    rig.drain();
    first
}

/// RFC 3515 §3.9: each fork that follows it is a subscription of its own, with an id or without, and none is refreshed.
#[test]
fn the_forks_of_a_refer_are_what_it_is() {
    for id in ["", ";id=1"] {
        let mut rig = Rig::new(UserAgent::new(config()));
        let first = referred(&mut rig);
        let fork = notify(&first, "n2", 1, "active;expires=60")
            .replace("Event: refer", &format!("Event: refer{id}"));
        assert!(hear(&mut rig, &fork).text.starts_with("Notified"), "{id}");
        hear(&mut rig, &notify(&first, "n1", 2, "terminated;reason=noresource"));
        let out = rig.run_until(ms(400_000));
        assert_eq!(sends(&out, "SUBSCRIBE"), NONE);
        assert_eq!(told(&out, "SubscriptionEnded"), 2);
        assert!(rig.machine.is_idle(), "nothing is left");
    }
}

/// A REFER of the peer's inside a call, accepted.
fn refers(call: &mut Call) -> (SubscriptionId, Vec<Out>) {
    let (txn, subscription) = asks_to_refer(call);
    call.rig.machine.respond(call.rig.now, txn, Status::new(202).unwrap(), &Content::NONE).unwrap();
    (subscription, call.rig.drain())
}

fn asks_to_refer(call: &mut Call) -> (ServerTxn, SubscriptionId) {
    call.cseq += 1;
    let request = call.request("REFER", call.cseq, "Refer-To: <sip:carol@x>\r\nContent-Length: 0\r\n\r\n");
    let source = Rig::<UserAgent>::source();
    match call.rig.machine.datagram(call.rig.now, source, request.as_bytes()) {
        Some(Event::Refer { txn, subscription: Some(subscription), .. }) => (txn, subscription),
        other => panic!("{other:?}"),
    }
}

/// RFC 3515 §2.4.4: who has sent a REFER may end or prolong what it made; nobody else can make one of these.
#[test]
fn the_peer_unsubscribes_from_its_refer() {
    for packages in [vec![], vec!["presence".into()], vec!["refer".into()]] {
        let mut call = Call::taken(Config { packages, ..config() }, "");
        let (subscription, _) = refers(&mut call);
        let id = call.cseq;
        let (heard, out) = call.ask("SUBSCRIBE", &format!("Event: refer;id={}\r\nExpires: 0\r\n", id + 7));
        assert!(heard.text.starts_with("Declined") && out[0].line().starts_with("SIP/2.0 403"));
        call.cseq += 1;
        let end = format!("Event: refer;id={id}\r\nExpires: 0\r\nContent-Length: 0\r\n\r\n");
        let end = call.request("SUBSCRIBE", call.cseq, &end);
        let source = Rig::<UserAgent>::source();
        let event = call.rig.machine.datagram(call.rig.now, source, end.as_bytes());
        let Some(Event::Subscribe { txn, subscription: same, refresh: true, .. }) = event else { panic!() };
        assert_eq!(same, subscription);
        call.respond(txn, 200, Content::NONE);
        // Its user says no more: the machine has the last word.
        let last = sent(&call.rig.run_until(ms(5_000)), "NOTIFY");
        assert!(last.contains("message/sipfrag") && last.ends_with("SIP/2.0 100 Trying\r\n"), "{last}");
        assert!(header(&last, "Subscription-State").unwrap().starts_with("terminated"));
    }
    let mut rig = Rig::new(UserAgent::new(Config { packages: vec!["refer".into()], ..config() }));
    hear(&mut rig, &outside("SUBSCRIBE", "Event: refer\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(rig.drain()[0].line(), "SIP/2.0 403 Forbidden");
}

/// RFC 3515 §2.4.4: each NOTIFY about a REFER has a body, the one that nobody writes too.
#[test]
fn the_last_word_about_a_refer_has_a_body() {
    let mut call = Call::taken(config(), "");
    refers(&mut call);
    let last = sent(&call.rig.run_until(ms(181_000)), "NOTIFY");
    assert!(last.contains("message/sipfrag") && last.ends_with("SIP/2.0 100 Trying\r\n"), "{last}");
}

/// RFC 5057 §5.5: a BYE ends the session alone; a REFER that waits for its user is answered, and told of, all the same.
#[test]
fn a_refer_that_waits_outlives_the_bye() {
    let mut call = Call::taken(config(), "");
    let (txn, subscription) = asks_to_refer(&mut call);
    let (_, out) = call.ask("BYE", "");
    assert_eq!(told(&out, "Withdrawn"), 0);
    let out = call.respond(txn, 202, Content::NONE);
    assert_eq!(sends(&out, "SIP/2.0 202").len(), 1);
    let trying = Content::body("message/sipfrag", b"SIP/2.0 100 Trying\r\n");
    call.rig.machine.notify(call.rig.now, subscription, Notice::Active, &trying).unwrap();
    let notify = sent(&call.rig.drain(), "NOTIFY");
    call.answer(&notify, "200 OK", "");
    call.rig.run_until(ms(400_000));
    assert!(call.rig.machine.is_idle());
}

// What is kept of it elsewhere.

/// RFC 4028 §10: a refresh that was under way is sent again at once, and not at the end of the session.
#[test]
fn a_refresh_that_was_under_way_is_made_up_for() {
    let mut config = config();
    config.session_timer.expires = Some(Duration::from_secs(600));
    let mut call = Call::placed(config.clone(), "Session-Expires: 600;refresher=uac\r\nAllow: UPDATE\r\n");
    assert_eq!(sends(&call.rig.run_until(ms(300_100)), "UPDATE"), [300_000]);
    let bytes = call.rig.machine.snapshot_dialog(call.rig.now, call.dialog).unwrap();
    config.core = sip_core::Config::new([4; 32]);
    let mut other = Rig::new(UserAgent::new(config));
    other.machine.restore_dialog(other.now, &bytes).unwrap();
    assert_eq!(sends(&other.drain(), "UPDATE"), [0]);
}

/// What nobody has accepted yet, and what is being ended, is not kept by itself.
#[test]
fn what_is_not_settled_is_not_kept_alone() {
    let mut call = Call::placed(config(), "");
    let refer = NewRefer::new("<sip:carol@x>");
    let id = call.rig.machine.refer_in(call.rig.now, call.dialog, &refer).unwrap();
    assert_eq!(call.rig.machine.snapshot_subscription(call.rig.now, id), Err(Misuse::WrongState));

    let mut call = Call::ringing(config(), BODY);
    call.rig.machine.accept(call.rig.now, call.dialog, &SDP).unwrap();
    call.rig.machine.hang_up(call.rig.now, call.dialog, &Content::NONE).unwrap();
    assert_eq!(call.rig.machine.snapshot_dialog(call.rig.now, call.dialog), Err(Misuse::WrongState));
}
