//! Subscriptions (RFC 6665) of either side, and what a REFER makes (RFC 3515).

mod support;

use core::time::Duration;
use sip_core::auth::Credentials;
use sip_core::message::{Content, Method, Status};
use sip_core::ua::{Config, Ended, Event, NewInvite, NewRefer, NewSubscription, Notice, UserAgent};
use sip_core::{DialogId, Machine, Misuse, ServerTxn, SubscriptionId};
use support::{Out, PEER, Rig, US, header, ms, response, sends};

const CONTACT: &str = "Contact: <sip:bob@192.0.2.2:5099>\r\n";
const STATE: Content<'static> = Content::body("application/pidf+xml", b"<open/>");

fn config() -> Config {
    let mut config = Config::new(sip_core::Config::new([3; 32]), "alice");
    config.identity = "<sip:alice@example.com>".into();
    config.methods = vec![Method::Refer];
    config.packages = vec!["presence".into(), "dialog".into()];
    config.credentials = vec![Credentials::new("alice", "wonderland")];
    config
}

fn rig() -> Rig<UserAgent> {
    Rig::new(UserAgent::new(config()))
}

#[derive(Debug, Default, PartialEq)]
struct Heard {
    subscription: Option<SubscriptionId>,
    dialog: Option<DialogId>,
    txn: Option<ServerTxn>,
    notice: Option<Notice>,
    refresh: bool,
    expires: Duration,
    text: String,
}

fn hear(rig: &mut Rig<UserAgent>, bytes: &str) -> Heard {
    let event = rig.machine.datagram(rig.now, Rig::<UserAgent>::source(), bytes.as_bytes());
    let text = event.as_ref().map_or(String::new(), |event| format!("{event:?}"));
    let mut heard = Heard { text, ..Heard::default() };
    match event {
        Some(Event::Notified { subscription, notice, .. }) => {
            (heard.subscription, heard.notice) = (Some(subscription), Some(notice));
        }
        Some(Event::Subscribe { txn, subscription, refresh, expires, .. }) => {
            (heard.subscription, heard.txn) = (Some(subscription), Some(txn));
            (heard.refresh, heard.expires) = (refresh, expires);
        }
        Some(Event::Refer { txn, subscription, dialog, .. }) => {
            (heard.subscription, heard.txn, heard.dialog) = (subscription, Some(txn), dialog);
        }
        Some(Event::Answered { dialog, .. }) => heard.dialog = Some(dialog),
        _ => {}
    }
    heard
}

fn sent(outputs: &[Out], start: &str) -> String {
    let found = outputs.iter().find(|out| out.bytes().starts_with(start));
    found.unwrap_or_else(|| panic!("no {start} in {outputs:#?}")).bytes().to_owned()
}

fn ended(outputs: &[Out]) -> Vec<&str> {
    let all = outputs
        .iter()
        .filter(|out| matches!(out, Out::Event { .. }) && out.line().starts_with("SubscriptionEnded"));
    all.map(|out| out.line().split("reason: ").nth(1).unwrap().split(',').next().unwrap()).collect()
}

/// The subscriber.
fn subscribe(rig: &mut Rig<UserAgent>, seconds: u64) -> (SubscriptionId, String) {
    let uri = format!("sip:bob@{PEER}");
    let expires = Duration::from_secs(seconds);
    let new = NewSubscription { expires, user: 8, ..NewSubscription::new(&uri, "presence") };
    let id = rig.machine.subscribe(rig.now, &new).unwrap();
    (id, sent(&rig.drain(), "SUBSCRIBE"))
}

/// A NOTIFY of the peer for this SUBSCRIBE.
fn notify(subscribe: &str, tag: &str, cseq: u32, state: &str) -> String {
    let to = header(subscribe, "To").unwrap();
    let to = to.split(";tag").next().unwrap();
    format!(
        "NOTIFY sip:alice@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{tag}{cseq}\r\nFrom: {to};tag={tag}\r\n\
         To: {}\r\nCall-ID: {}\r\nCSeq: {cseq} NOTIFY\r\nMax-Forwards: 70\r\n{CONTACT}Record-Route: <sip:192.0.2.7;lr>\r\n\
         Event: {}\r\n{}Content-Length: 0\r\n\r\n",
        header(subscribe, "From").unwrap(),
        header(subscribe, "Call-ID").unwrap(),
        header(subscribe, "Event").unwrap_or("refer"),
        if state.is_empty() { String::new() } else { format!("Subscription-State: {state}\r\n") },
    )
}

#[test]
fn a_subscription_is_notified_refreshed_and_ended() {
    let mut rig = rig();
    let (id, first) = subscribe(&mut rig, 100);
    assert_eq!((header(&first, "Event"), header(&first, "Expires")), (Some("presence"), Some("100")));
    assert_eq!(header(&first, "Contact"), Some("<sip:alice@192.0.2.1:5060>"));
    assert!(
        hear(&mut rig, &response(&first, "200 OK", "n1", "Expires: 100\r\n"))
            .text
            .starts_with("SubscriptionAnswered")
    );
    let heard = hear(&mut rig, &notify(&first, "n1", 1, "active;expires=90"));
    assert_eq!((heard.subscription, heard.notice), (Some(id), Some(Notice::Active)));
    assert!(heard.text.contains("user: 8"));
    sent(&rig.drain(), "SIP/2.0 200");
    // 40 s before the end, or at half of it; along the route set of the NOTIFY.
    let out = rig.run_until(ms(60_000));
    assert_eq!(sends(&out, "SUBSCRIBE")[0], 50_000);
    let refresh = sent(&out, "SUBSCRIBE");
    assert!(refresh.starts_with("SUBSCRIBE sip:bob@192.0.2.2:5099"));
    assert_eq!(header(&refresh, "Route"), Some("<sip:192.0.2.7;lr>"));
    assert_eq!((header(&refresh, "CSeq"), header(&refresh, "Expires")), (Some("2 SUBSCRIBE"), Some("100")));
    assert_eq!(header(&refresh, "To"), Some("<sip:bob@192.0.2.2:5060>;tag=n1"));
    hear(&mut rig, &response(&refresh, "200 OK", "", "Expires: 100\r\n"));
    hear(&mut rig, &notify(&first, "n1", 2, "active;expires=100"));
    rig.machine.unsubscribe(rig.now, id, &Content::NONE).unwrap();
    assert_eq!(rig.machine.unsubscribe(rig.now, id, &Content::NONE), Err(Misuse::WrongState));
    let last = sent(&rig.drain(), "SUBSCRIBE");
    assert_eq!(header(&last, "Expires"), Some("0"));
    hear(&mut rig, &response(&last, "200 OK", "", "Expires: 0\r\n"));
    let heard = hear(&mut rig, &notify(&first, "n1", 3, "terminated;reason=timeout"));
    assert!(matches!(heard.notice, Some(Notice::Terminated { reason: Ended::Timeout, .. })));
    assert_eq!(ended(&rig.drain()), ["Unsubscribed"]);
    hear(&mut rig, &notify(&first, "n1", 4, "active"));
    rig.run_until(ms(200_000));
    assert!(rig.machine.is_idle());
}

/// RFC 6665 §4.4.1: the first NOTIFY may come before the response, and makes the dialog.
#[test]
fn a_notify_before_the_response() {
    let mut rig = rig();
    let (id, first) = subscribe(&mut rig, 600);
    assert_eq!(hear(&mut rig, &notify(&first, "n1", 5, "pending")).notice, Some(Notice::Pending));
    sent(&rig.drain(), "SIP/2.0 200");
    hear(&mut rig, &response(&first, "202 Accepted", "n1", ""));
    assert_eq!(hear(&mut rig, &notify(&first, "n1", 6, "active;expires=600")).subscription, Some(id));
    // Numbers only rise.
    assert!(hear(&mut rig, &notify(&first, "n1", 4, "active")).text.contains("500"));
}

/// RFC 6665 §4.1.2.4: Timer N.
#[test]
fn without_a_notify_it_ends_at_timer_n() {
    let mut rig = rig();
    let (_, first) = subscribe(&mut rig, 600);
    hear(&mut rig, &response(&first, "200 OK", "n1", "Expires: 600\r\n"));
    let out = rig.run_until(ms(31_999));
    assert_eq!(ended(&out), [] as [&str; 0]);
    let out = rig.run_until(ms(32_000));
    assert_eq!(ended(&out), ["NoAnswer"]);
    assert!(hear(&mut rig, &notify(&first, "n1", 1, "active")).text.contains("481"));
    rig.run_until(ms(100_000));
    assert!(rig.machine.is_idle());
    // Nor after a refresh.
    let (_, first) = subscribe(&mut rig, 100);
    hear(&mut rig, &notify(&first, "n1", 1, "active;expires=100"));
    hear(&mut rig, &response(&first, "200 OK", "n1", ""));
    let out = rig.run_until(ms(160_000));
    hear(&mut rig, &response(&sent(&out, "SUBSCRIBE"), "200 OK", "", ""));
    assert_eq!(ended(&rig.run_until(ms(191_999))), [] as [&str; 0]);
    assert_eq!(ended(&rig.run_until(ms(192_000))), ["NoAnswer"]);
}

/// RFC 6665 §4.1.4: each fork is a subscription of its own, as long as Timer N runs.
#[test]
fn forks_notify_each_in_its_own_dialog() {
    let mut rig = rig();
    let (id, first) = subscribe(&mut rig, 600);
    assert_eq!(hear(&mut rig, &notify(&first, "n1", 1, "active;expires=600")).subscription, Some(id));
    let second = hear(&mut rig, &notify(&first, "n2", 1, "active;expires=600"));
    assert!(second.subscription.is_some_and(|other| other != id) && second.text.contains("user: 8"));
    let again = hear(&mut rig, &notify(&first, "n2", 2, "terminated;reason=noresource;retry-after=7"));
    assert_eq!(again.subscription, second.subscription);
    let out = rig.drain();
    assert_eq!(ended(&out), ["NoResource"]);
    assert!(out.iter().any(|out| out.line().contains("retry_after: Some(7s)")));
    rig.run_until(ms(32_000));
    assert!(hear(&mut rig, &notify(&first, "n3", 1, "active")).text.contains("481"));
    assert_eq!(hear(&mut rig, &notify(&first, "n1", 2, "active;expires=600")).subscription, Some(id));
}

#[test]
fn a_subscription_that_is_refused() {
    for (status, reason) in [("489 Bad Event", "Refused"), ("603 Decline", "Refused")] {
        let mut rig = rig();
        let (_, first) = subscribe(&mut rig, 600);
        assert!(hear(&mut rig, &response(&first, status, "n", "")).text.starts_with("SubscriptionAnswered"));
        assert_eq!(ended(&rig.drain()), [reason]);
        rig.run_until(ms(100_000));
        assert!(rig.machine.is_idle());
    }
    let mut rig = rig();
    subscribe(&mut rig, 600);
    assert_eq!(ended(&rig.run_until(ms(40_000))), ["NoAnswer"]);
}

/// RFC 6665 §4.1.2.2: some failures of a refresh end it, others leave it until its time is over.
#[test]
fn a_refresh_that_fails() {
    for (status, ends_at) in
        [("481 Call/Transaction Does Not Exist", 60_000), ("503 Service Unavailable", 100_000)]
    {
        let mut rig = rig();
        let (_, first) = subscribe(&mut rig, 100);
        hear(&mut rig, &notify(&first, "n1", 1, "active;expires=100"));
        hear(&mut rig, &response(&first, "200 OK", "n1", ""));
        let out = rig.run_until(ms(60_000));
        let refresh = sent(&out, "SUBSCRIBE");
        rig.now = rig.now.max(ms(60_000));
        hear(&mut rig, &response(&refresh, status, "", ""));
        let out = rig.run_until(ms(110_000));
        let at = out.iter().find_map(|out| match out {
            Out::Event { at, event } if event.starts_with("SubscriptionEnded") => {
                Some(at.as_micros() / 1_000)
            }
            _ => None,
        });
        assert_eq!(at, Some(ends_at));
    }
}

#[test]
fn a_short_subscription_and_a_challenge_are_tried_again() {
    let mut rig = rig();
    let (_, first) = subscribe(&mut rig, 60);
    hear(&mut rig, &response(&first, "423 Interval Too Brief", "n", "Min-Expires: 300\r\n"));
    let second = sent(&rig.drain(), "SUBSCRIBE");
    assert_eq!((header(&second, "Expires"), header(&second, "CSeq")), (Some("300"), Some("2 SUBSCRIBE")));
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    hear(&mut rig, &response(&second, "401 Unauthorized", "n", challenge));
    let third = sent(&rig.drain(), "SUBSCRIBE");
    assert!(header(&third, "Authorization").is_some());
    assert_eq!((header(&third, "Expires"), header(&third, "Event")), (Some("300"), Some("presence")));
    // The dialog goes on from there, credentials and all.
    hear(&mut rig, &notify(&third, "n1", 1, "active;expires=300"));
    hear(&mut rig, &response(&third, "200 OK", "n1", ""));
    let refresh = sent(&rig.run_until(ms(261_000)), "SUBSCRIBE");
    assert_eq!(header(&refresh, "CSeq"), Some("4 SUBSCRIBE"));
    assert!(header(&refresh, "Authorization").unwrap().contains("nc=00000002"));
}

#[test]
fn unsubscribing_before_the_first_notify() {
    let mut rig = rig();
    let (id, first) = subscribe(&mut rig, 600);
    rig.machine.unsubscribe(rig.now, id, &Content::NONE).unwrap();
    assert_eq!(rig.drain(), []);
    hear(&mut rig, &notify(&first, "n1", 1, "active;expires=600"));
    let out = rig.drain();
    assert_eq!(header(&sent(&out, "SUBSCRIBE"), "Expires"), Some("0"));
    hear(&mut rig, &notify(&first, "n1", 2, "terminated"));
    assert_eq!(ended(&rig.drain()), ["Unsubscribed"]);
}

#[test]
fn a_state_that_is_wanted_once() {
    let mut rig = rig();
    let (_, first) = subscribe(&mut rig, 0);
    hear(&mut rig, &response(&first, "200 OK", "n1", "Expires: 0\r\n"));
    hear(&mut rig, &notify(&first, "n1", 1, "terminated;reason=timeout"));
    let out = rig.drain();
    assert_eq!(ended(&out), ["Timeout"]);
    rig.run_until(ms(100_000));
    assert!(rig.machine.is_idle());
}

/// What is no NOTIFY of ours, or none at all.
#[test]
fn notifies_that_are_refused() {
    let mut rig = rig();
    let (_, first) = subscribe(&mut rig, 600);
    hear(&mut rig, &notify(&first, "n1", 1, "active"));
    for (text, code) in [
        (notify(&first, "n1", 2, "active").replace("Event: presence", "Event: dialog"), "481"),
        (notify(&first, "n1", 3, "active").replace("Event: presence", "Event: presence;id=7"), "481"),
        (notify(&first, "n1", 4, ""), "400"),
        (notify(&first, "n1", 5, "active").replace("Event: presence\r\n", ""), "481"),
    ] {
        assert!(hear(&mut rig, &text).text.contains(code), "{text}");
    }
}

// The notifier.

fn peer_subscribes(cseq: u32, to: &str, rest: &str) -> String {
    format!(
        "SUBSCRIBE sip:alice@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKs{cseq}\r\nFrom: <sip:bob@x>;tag=b1\r\n\
         To: {to}\r\nCall-ID: c-1\r\nCSeq: {cseq} SUBSCRIBE\r\nMax-Forwards: 70\r\n{CONTACT}{rest}Content-Length: 0\r\n\r\n"
    )
}

fn accepted(rig: &mut Rig<UserAgent>, rest: &str) -> (SubscriptionId, String) {
    let heard = hear(rig, &peer_subscribes(1, "<sip:alice@x>", rest));
    assert!(!heard.refresh);
    rig.machine.respond(rig.now, heard.txn.unwrap(), Status::OK, &Content::NONE).unwrap();
    (heard.subscription.unwrap(), sent(&rig.drain(), "SIP/2.0 200"))
}

/// RFC 6665 §4.1.2.1, RFC 3515 §2.2: NOTIFYs need a Contact to go to.
#[test]
fn who_subscribes_has_one_contact() {
    let mut rig = rig();
    let whole = peer_subscribes(1, "<sip:alice@x>", "Event: presence\r\n");
    let refer = whole.replace("SUBSCRIBE", "REFER").replace("Event: presence", "Refer-To: <sip:c@x>");
    for (text, branch) in [(whole.replace(CONTACT, ""), "1"), (refer.replace(CONTACT, ""), "2")] {
        hear(&mut rig, &text.replace("z9hG4bKs1", branch).replace("c-1", branch));
        sent(&rig.drain(), "SIP/2.0 400");
    }
    assert_eq!(rig.machine.stats().dialogs, 0);
}

#[test]
fn the_peer_subscribes_and_is_notified() {
    let mut rig = rig();
    let heard =
        hear(&mut rig, &peer_subscribes(1, "<sip:alice@x>", "Event: presence;id=4\r\nExpires: 120\r\n"));
    assert_eq!((heard.expires, heard.refresh), (Duration::from_secs(120), false));
    let id = heard.subscription.unwrap();
    let early = rig.machine.notify(rig.now, id, Notice::Active, &STATE);
    assert_eq!(early, Err(Misuse::WrongState));
    rig.machine.respond(rig.now, heard.txn.unwrap(), Status::OK, &Content::NONE).unwrap();
    rig.machine.notify(rig.now, id, Notice::Active, &STATE).unwrap();
    let out = rig.drain();
    let ok = sent(&out, "SIP/2.0 200");
    assert_eq!(
        (header(&ok, "Expires"), header(&ok, "Contact")),
        (Some("120"), Some("<sip:alice@192.0.2.1:5060>"))
    );
    let notify = sent(&out, "NOTIFY");
    assert!(notify.starts_with("NOTIFY sip:bob@192.0.2.2:5099"));
    assert_eq!(header(&notify, "Event"), Some("presence;id=4"));
    assert_eq!(header(&notify, "Subscription-State"), Some("active;expires=120"));
    assert_eq!(header(&notify, "From"), header(&ok, "To"));
    assert!(notify.ends_with("<open/>"));
    hear(&mut rig, &response(&notify, "200 OK", "", ""));
    // A refresh, with what is left in the next NOTIFY.
    rig.run_until(ms(50_000));
    let to = header(&ok, "To").unwrap().to_owned();
    let heard = hear(&mut rig, &peer_subscribes(2, &to, "Event: presence;id=4\r\nExpires: 120\r\n"));
    assert_eq!((heard.subscription, heard.refresh), (Some(id), true));
    rig.machine.respond(rig.now, heard.txn.unwrap(), Status::OK, &Content::NONE).unwrap();
    rig.drain();
    rig.run_until(ms(60_000));
    rig.machine.notify(rig.now, id, Notice::Pending, &Content::NONE).unwrap();
    let notify = sent(&rig.drain(), "NOTIFY");
    assert_eq!(header(&notify, "Subscription-State"), Some("pending;expires=110"));
    hear(&mut rig, &response(&notify, "200 OK", "", ""));
    // Nobody refreshes it (RFC 6665 §4.2.2).
    let out = rig.run_until(ms(170_000));
    assert_eq!(sends(&out, "NOTIFY"), [170_000]);
    let last = sent(&out, "NOTIFY");
    assert_eq!(header(&last, "Subscription-State"), Some("terminated;reason=timeout"));
    assert_eq!(ended(&out), ["Timeout"]);
    hear(&mut rig, &response(&last, "200 OK", "", ""));
    assert_eq!(rig.machine.notify(rig.now, id, Notice::Active, &STATE), Err(Misuse::Gone));
    rig.run_until(ms(300_000));
    assert!(rig.machine.is_idle());
}

#[test]
fn what_can_not_be_subscribed_to() {
    let mut rig = rig();
    for (rest, status) in [("Event: weather\r\n", "SIP/2.0 489"), ("", "SIP/2.0 489")] {
        hear(
            &mut rig,
            &peer_subscribes(1, "<sip:alice@x>", rest)
                .replace("z9hG4bKs1", &format!("z9hG4bK{}", rest.len())),
        );
        assert_eq!(header(&sent(&rig.drain(), status), "Allow-Events"), Some("presence, dialog"));
        rig.run_until(ms(rig.now.as_micros() / 1_000 + 40_000));
    }
    let mut rig =
        Rig::new(UserAgent::new(Config { min_subscription: Duration::from_secs(7_200), ..config() }));
    hear(&mut rig, &peer_subscribes(9, "<sip:alice@x>", "Event: presence\r\nExpires: 3599\r\n"));
    assert_eq!(header(&sent(&rig.drain(), "SIP/2.0 423"), "Min-Expires"), Some("7200"));
    let heard = hear(&mut rig, &peer_subscribes(8, "<sip:alice@x>", "Event: presence\r\nExpires: 3600\r\n"));
    assert_eq!(heard.expires, Duration::from_secs(3_600), "an hour is never too brief");
    let mut rig = Rig::new(UserAgent::new(Config { min_subscription: Duration::from_secs(60), ..config() }));
    hear(&mut rig, &peer_subscribes(1, "<sip:alice@x>", "Event: presence\r\nExpires: 59\r\n"));
    assert_eq!(header(&sent(&rig.drain(), "SIP/2.0 423"), "Min-Expires"), Some("60"));
    // A fetch is not too short; what is too long is cut.
    assert!(
        hear(&mut rig, &peer_subscribes(2, "<sip:alice@x>", "Event: presence\r\nExpires: 0\r\n"))
            .txn
            .is_some()
    );
    let heard =
        hear(&mut rig, &peer_subscribes(3, "<sip:alice@x>", "Event: presence\r\nExpires: 999999\r\n"));
    assert_eq!(heard.expires, Duration::from_secs(86_400));
    // Without packages SUBSCRIBE is no method of this side.
    let mut rig = Rig::new(UserAgent::new(Config { packages: Vec::new(), ..config() }));
    hear(&mut rig, &peer_subscribes(1, "<sip:alice@x>", "Event: presence\r\n"));
    sent(&rig.drain(), "SIP/2.0 405");
}

#[test]
fn a_subscriber_that_does_not_answer_or_knows_of_nothing() {
    for answer in [Some("481 Call/Transaction Does Not Exist"), Some("500 Server Internal Error"), None] {
        let mut rig = rig();
        let (id, _) = accepted(&mut rig, "Event: presence\r\nExpires: 600\r\n");
        rig.machine.notify(rig.now, id, Notice::Active, &STATE).unwrap();
        let notify = sent(&rig.drain(), "NOTIFY");
        if let Some(status) = answer {
            hear(&mut rig, &response(&notify, status, "", ""));
        }
        let expected: &[&str] = match answer {
            Some("481 Call/Transaction Does Not Exist") => &["Lost"],
            Some(_) => &[],
            None => &["NoAnswer"],
        };
        assert_eq!(ended(&rig.run_until(ms(40_000))), expected);
    }
}

#[test]
fn the_user_refuses_ends_or_forgets_a_subscription() {
    let mut rig = rig();
    let heard = hear(&mut rig, &peer_subscribes(1, "<sip:alice@x>", "Event: presence\r\n"));
    rig.machine.respond(rig.now, heard.txn.unwrap(), Status::FORBIDDEN, &Content::NONE).unwrap();
    assert_eq!(ended(&rig.drain()), ["Refused"]);
    let heard = hear(&mut rig, &peer_subscribes(2, "<sip:alice@x>", "Event: presence\r\n"));
    let id = heard.subscription.unwrap();
    rig.machine.respond(rig.now, heard.txn.unwrap(), Status::OK, &Content::NONE).unwrap();
    let over = Notice::Terminated { reason: Ended::NoResource, retry_after: None };
    rig.machine.notify(rig.now, id, over, &Content::NONE).unwrap();
    let out = rig.drain();
    assert_eq!(header(&sent(&out, "NOTIFY"), "Subscription-State"), Some("terminated;reason=noresource"));
    assert_eq!(ended(&out), ["NoResource"]);
    rig.run_until(ms(100_000));
    hear(&mut rig, &peer_subscribes(9, "<sip:alice@x>", "Event: presence\r\n"));
    let out = rig.run_until(ms(200_000));
    assert!(out.iter().any(|out| out.line().starts_with("Withdrawn")));
    assert_eq!(ended(&out), ["Refused"]);
    assert!(rig.machine.is_idle());
}

// Both in one dialog (RFC 5057).

const BODY: &str = "Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n";

fn call(rig: &mut Rig<UserAgent>) -> (DialogId, String) {
    let uri = format!("sip:bob@{PEER}");
    let content = Content::body("application/sdp", b"v=0\r\n");
    rig.machine.invite(rig.now, &NewInvite { content, ..NewInvite::new(&uri) }).unwrap();
    let invite = sent(&rig.drain(), "INVITE");
    let dialog = hear(rig, &response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}"))).dialog.unwrap();
    rig.drain();
    (dialog, invite)
}

#[test]
fn a_transfer_outlives_its_call() {
    let mut rig = rig();
    let (dialog, invite) = call(&mut rig);
    let id = rig.machine.refer_in(rig.now, dialog, &NewRefer::new("<sip:carol@x>")).unwrap();
    let refer = sent(&rig.drain(), "REFER");
    assert_eq!(header(&refer, "Refer-To"), Some("<sip:carol@x>"));
    assert!(header(&refer, "Contact").is_some());
    assert!(
        hear(&mut rig, &response(&refer, "202 Accepted", "", "")).text.starts_with("SubscriptionAnswered")
    );
    let trying = notify(&invite, "b1", 1, "active;expires=60");
    assert_eq!(hear(&mut rig, &trying).subscription, Some(id));
    // The session ends; the subscription does not.
    rig.machine.bye(rig.now, dialog, &Content::NONE).unwrap();
    let bye = sent(&rig.drain(), "BYE");
    hear(&mut rig, &response(&bye, "200 OK", "", ""));
    assert!(rig.drain().iter().any(|out| out.line().starts_with("Ended")));
    let number = header(&refer, "CSeq").unwrap().split(' ').next().unwrap();
    let done = notify(&invite, "b1", 2, "terminated;reason=noresource")
        .replace("Event: refer", &format!("Event: refer;id={number}"));
    assert_eq!(hear(&mut rig, &done).subscription, Some(id));
    assert_eq!(ended(&rig.drain()), ["NoResource"]);
    rig.run_until(ms(100_000));
    assert!(rig.machine.is_idle());
}

/// RFC 3515 §2.4.6: the id is the number of the REFER that was accepted.
#[test]
fn a_transfer_that_is_challenged() {
    let mut config = Config::new(sip_core::Config::new([3; 32]), "alice");
    config.credentials = vec![Credentials::new("alice", "wonderland")];
    let mut rig = Rig::new(UserAgent::new(config));
    let (dialog, invite) = call(&mut rig);
    let id = rig.machine.refer_in(rig.now, dialog, &NewRefer::new("<sip:carol@x>")).unwrap();
    let refer = sent(&rig.drain(), "REFER");
    let challenge = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    rig.hear(&response(&refer, "407 Proxy Authentication Required", "", challenge));
    let refer = sent(&rig.drain(), "REFER");
    rig.hear(&response(&refer, "202 Accepted", "", ""));
    let number = header(&refer, "CSeq").unwrap().split(' ').next().unwrap();
    let trying = notify(&invite, "b1", 1, "active;expires=60");
    let trying = trying.replace("Event: refer", &format!("Event: refer;id={number}"));
    assert_eq!(hear(&mut rig, &trying).subscription, Some(id), "{trying}");
}

/// RFC 4488, and a REFER that is refused.
#[test]
fn a_transfer_that_is_not_followed_or_refused() {
    let mut rig = rig();
    let (dialog, _) = call(&mut rig);
    let quiet = NewRefer { follow: false, ..NewRefer::new("<sip:carol@x>") };
    rig.machine.refer_in(rig.now, dialog, &quiet).unwrap();
    let refer = sent(&rig.drain(), "REFER");
    assert_eq!(header(&refer, "Refer-Sub"), Some("false"));
    hear(&mut rig, &response(&refer, "200 OK", "", "Refer-Sub: false\r\n"));
    assert_eq!(ended(&rig.drain()), ["Unsubscribed"]);
    rig.machine.refer_in(rig.now, dialog, &NewRefer::new("<sip:carol@x>")).unwrap();
    let refer = sent(&rig.drain(), "REFER");
    hear(&mut rig, &response(&refer, "603 Decline", "", ""));
    assert_eq!(ended(&rig.drain()), ["Refused"]);
    assert_eq!(
        rig.machine.refer_in(rig.now, dialog, &NewRefer::new("<sip:carol@x")),
        Err(Misuse::BadContent)
    );
    assert_eq!(rig.machine.dialogs().count(), 1);
}

fn peer_refers(invite: &str, cseq: u32, rest: &str) -> String {
    format!(
        "REFER sip:alice@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKr{cseq}\r\nFrom: {};tag=b1\r\nTo: {}\r\n\
         Call-ID: {}\r\nCSeq: {cseq} REFER\r\nMax-Forwards: 70\r\n{CONTACT}{rest}Content-Length: 0\r\n\r\n",
        header(invite, "To").unwrap(),
        header(invite, "From").unwrap(),
        header(invite, "Call-ID").unwrap(),
    )
}

#[test]
fn the_peer_transfers() {
    let mut rig = rig();
    let (dialog, invite) = call(&mut rig);
    for (rest, status) in [("", "400"), ("Refer-To: <sip:a@x>\r\nRefer-To: <sip:b@x>\r\n", "400")] {
        let cseq = 10 + rest.len() as u32;
        assert!(hear(&mut rig, &peer_refers(&invite, cseq, rest)).text.contains(status));
    }
    let heard = hear(&mut rig, &peer_refers(&invite, 100, "Refer-To: <sip:carol@x>\r\n"));
    assert_eq!(heard.dialog, Some(dialog));
    let id = heard.subscription.unwrap();
    rig.machine.respond(rig.now, heard.txn.unwrap(), Status::ACCEPTED, &Content::NONE).unwrap();
    let frag = |text: &'static str| Content::body("message/sipfrag", text.as_bytes());
    rig.machine.notify(rig.now, id, Notice::Active, &frag("SIP/2.0 100 Trying")).unwrap();
    let out = rig.drain();
    assert!(header(&sent(&out, "SIP/2.0 202"), "Contact").is_some());
    let first = sent(&out, "NOTIFY");
    assert_eq!(header(&first, "Event"), Some("refer;id=100"));
    hear(&mut rig, &response(&first, "200 OK", "", ""));
    let over = Notice::Terminated { reason: Ended::NoResource, retry_after: None };
    rig.machine.notify(rig.now, id, over, &frag("SIP/2.0 200 OK")).unwrap();
    let last = sent(&rig.drain(), "NOTIFY");
    assert!(last.ends_with("SIP/2.0 200 OK"));
    hear(&mut rig, &response(&last, "200 OK", "", ""));
    // Nobody wants to hear of this one.
    let heard = hear(&mut rig, &peer_refers(&invite, 101, "Refer-To: <sip:carol@x>\r\nRefer-Sub: false\r\n"));
    assert_eq!(heard.subscription, None);
    rig.machine.respond(rig.now, heard.txn.unwrap(), Status::OK, &Content::NONE).unwrap();
    assert_eq!(header(&sent(&rig.drain(), "SIP/2.0 200"), "Refer-Sub"), Some("false"));
    assert_eq!(rig.machine.dialogs().count(), 1);
}

/// A REFER outside any dialog makes one.
#[test]
fn a_refer_outside() {
    let mut rig = rig();
    let refer =
        peer_subscribes(1, "<sip:alice@x>", "Refer-To: <sip:carol@x>\r\n").replace("SUBSCRIBE", "REFER");
    let heard = hear(&mut rig, &refer);
    rig.machine.respond(rig.now, heard.txn.unwrap(), Status::ACCEPTED, &Content::NONE).unwrap();
    let over = Notice::Terminated { reason: Ended::NoResource, retry_after: None };
    rig.machine.notify(rig.now, heard.subscription.unwrap(), over, &Content::NONE).unwrap();
    let notify = sent(&rig.drain(), "NOTIFY");
    assert!(notify.starts_with("NOTIFY sip:bob@192.0.2.2:5099"));
    hear(&mut rig, &response(&notify, "200 OK", "", ""));
    rig.run_until(ms(100_000));
    assert!(rig.machine.is_idle());
}

/// RFC 5057 §5.1: what ends a dialog ends all that is in it, what ends a usage only that.
#[test]
fn a_dialog_ends_with_all_its_usages() {
    for (status, all) in [("404 Not Found", true), ("481 Call/Transaction Does Not Exist", false)] {
        let mut rig = rig();
        let (dialog, invite) = call(&mut rig);
        let new = NewSubscription { user: 3, ..NewSubscription::new("", "dialog") };
        let id = rig.machine.subscribe_in(rig.now, dialog, &new).unwrap();
        let subscribe = sent(&rig.drain(), "SUBSCRIBE");
        hear(&mut rig, &response(&subscribe, "200 OK", "", "Expires: 3600\r\n"));
        let active = notify(&invite, "b1", 1, "active;expires=3600").replace("Event: refer", "Event: dialog");
        assert_eq!(hear(&mut rig, &active).subscription, Some(id));
        rig.drain();
        rig.machine.request_in(rig.now, dialog, Method::Info, 1, &Content::NONE).unwrap();
        let info = sent(&rig.drain(), "INFO");
        hear(&mut rig, &response(&info, status, "", ""));
        let out = rig.drain();
        assert_eq!(ended(&out).len(), usize::from(all), "{status}");
        assert!(out.iter().any(|out| out.line().contains("Lost")));
        let active = notify(&invite, "b1", 2, "active").replace("Event: refer", "Event: dialog");
        assert_eq!(hear(&mut rig, &active).subscription.is_some(), !all);
    }
}

/// What is refused makes nothing: forged NOTIFYs do not fill the table.
#[test]
fn a_notify_that_is_refused_makes_no_dialog() {
    let mut rig = rig();
    rig.machine.subscribe(rig.now, &NewSubscription::new(&format!("sip:{PEER}"), "presence")).unwrap();
    let subscribe = sent(&rig.drain(), "SUBSCRIBE");
    let (call_id, from) = (header(&subscribe, "Call-ID").unwrap(), header(&subscribe, "From").unwrap());
    let own = from.split(";tag=").nth(1).unwrap();
    let known = |rig: &Rig<UserAgent>, tag: &str| {
        rig.machine.dialog(call_id.as_bytes(), own.as_bytes(), tag.as_bytes())
    };
    for number in 1..20 {
        let tag = format!("f{number}");
        hear(&mut rig, &notify(&subscribe, &tag, number, ""));
        let strange = notify(&subscribe, &format!("g{number}"), number, "active;expires=60");
        hear(&mut rig, &strange.replace("Event:", "Require: strange\r\nEvent:"));
        for made in [&*tag, &*format!("g{number}")] {
            assert_eq!(known(&rig, made), None);
        }
    }
    rig.drain();
    let good = hear(&mut rig, &notify(&subscribe, "b1", 1, "active;expires=60"));
    assert!(good.subscription.is_some());
    assert!(known(&rig, "b1").is_some());
}

/// Whoever takes the last SUBSCRIBE and never says that it is over: 64·T1 later it is.
#[test]
fn what_is_left_ends_without_a_last_notify() {
    let mut rig = rig();
    let id =
        rig.machine.subscribe(rig.now, &NewSubscription::new(&format!("sip:{PEER}"), "presence")).unwrap();
    let subscribe = sent(&rig.drain(), "SUBSCRIBE");
    hear(&mut rig, &response(&subscribe, "200 OK", "b1", "Expires: 600\r\n"));
    hear(&mut rig, &notify(&subscribe, "b1", 1, "active;expires=600"));
    rig.drain();
    rig.machine.unsubscribe(rig.now, id, &Content::NONE).unwrap();
    let last = sent(&rig.drain(), "SUBSCRIBE");
    hear(&mut rig, &response(&last, "200 OK", "b1", "Expires: 0\r\n"));
    hear(&mut rig, &notify(&subscribe, "b1", 2, "active;expires=600"));
    let out = rig.run_until(ms(200_000));
    assert_eq!(ended(&out), ["Unsubscribed"]);
    assert!(rig.machine.is_idle());
}

/// RFC 5057 §5.1: what still waits for its user in a dialog that is over gets 481, and is withdrawn.
#[test]
fn what_waits_in_a_dialog_ends_with_its_last_subscription() {
    let mut rig = Rig::new(UserAgent::new(Config { methods: vec![Method::Message], ..config() }));
    let (id, ok) = accepted(&mut rig, "Event: presence\r\nExpires: 60\r\n");
    let message = peer_subscribes(2, header(&ok, "To").unwrap(), "").replace("SUBSCRIBE", "MESSAGE");
    assert!(hear(&mut rig, &message).text.starts_with("Request"));
    let over = Notice::Terminated { reason: Ended::NoResource, retry_after: None };
    rig.machine.notify(rig.now, id, over, &STATE).unwrap();
    let last = sent(&rig.drain(), "NOTIFY");
    hear(&mut rig, &response(&last, "200 OK", "", ""));
    let out = rig.run_until(ms(5_000));
    assert_eq!(header(&sent(&out, "SIP/2.0 481"), "CSeq"), Some("2 MESSAGE"));
    assert!(out.iter().any(|out| out.line().starts_with("Withdrawn")), "{out:#?}");
    rig.run_until(ms(100_000));
    assert!(rig.machine.is_idle());
}

#[test]
fn forks_and_subscriptions_of_a_dialog_have_caps() {
    let mut config = config();
    (config.core.limits.forks, config.core.limits.subscriptions) = (2, 2);
    let mut rig = Rig::new(UserAgent::new(config));
    let (_, first) = subscribe(&mut rig, 600);
    for tag in ["n1", "n2"] {
        assert!(hear(&mut rig, &notify(&first, tag, 1, "active;expires=600")).subscription.is_some());
    }
    assert!(hear(&mut rig, &notify(&first, "n3", 1, "active;expires=600")).text.contains("481"));
    rig.drain();
    let (_, ok) = accepted(&mut rig, "Event: presence;id=1\r\n");
    let more = |cseq: u32| {
        peer_subscribes(cseq, header(&ok, "To").unwrap(), &format!("Event: presence;id={cseq}\r\n"))
    };
    let second = hear(&mut rig, &more(2));
    assert!(second.txn.is_some(), "{}", second.text);
    rig.machine.respond(rig.now, second.txn.unwrap(), Status::OK, &Content::NONE).unwrap();
    rig.drain();
    assert!(hear(&mut rig, &more(3)).txn.is_none());
    assert!(header(&sent(&rig.drain(), "SIP/2.0 503"), "Retry-After").is_some());
    // A refresh of one that is there is none more.
    let refresh = peer_subscribes(4, header(&ok, "To").unwrap(), "Event: presence;id=1\r\n");
    assert!(hear(&mut rig, &refresh).refresh);
}

/// RFC 3515 outside dialogs, RFC 4538: it says which dialog it is about, and the one who is asked finds it.
#[test]
fn a_transfer_from_outside_its_call() {
    let mut rig = rig();
    let (dialog, invite) = call(&mut rig);
    let target = rig.machine.target_dialog(dialog).unwrap();
    let headers = [("Target-Dialog", &*target), ("Require", "tdialog")];
    let uri = format!("sip:bob@{PEER}");
    let new = NewRefer { content: Content::headers(&headers), ..NewRefer::outside(&uri, "<sip:carol@x>") };
    let id = rig.machine.refer(rig.now, &new).unwrap();
    let refer = sent(&rig.drain(), "REFER");
    assert_ne!(header(&refer, "Call-ID"), header(&invite, "Call-ID"));
    assert_eq!(
        (header(&refer, "CSeq"), header(&refer, "Refer-To")),
        (Some("1 REFER"), Some("<sip:carol@x>"))
    );
    hear(&mut rig, &response(&refer, "202 Accepted", "n1", ""));
    // The first NOTIFY makes the dialog; without an id it is for the one REFER that there is.
    for (cseq, event) in [(1, "refer"), (2, "refer;id=1")] {
        let told = notify(&refer, "n1", cseq, "active;expires=60").replace("presence", event);
        assert_eq!(hear(&mut rig, &told).subscription, Some(id), "{told}");
    }
    let last = notify(&refer, "n1", 3, "terminated;reason=noresource").replace("presence", "refer");
    hear(&mut rig, &last);
    assert_eq!(ended(&rig.drain()), ["NoResource"]);
    assert_eq!(rig.machine.refer(rig.now, &NewRefer::new("<sip:carol@x>")), Err(Misuse::BadUri));
    // The other side: what this side calls remote is local there.
    let tag = |name: &str| target.split(name).nth(1).unwrap().split(';').next().unwrap().to_owned();
    let call_id = header(&invite, "Call-ID").unwrap();
    let theirs = format!("{call_id};local-tag={};remote-tag={}", tag("remote-tag="), tag("local-tag="));
    for (value, found) in [(theirs, Some(dialog)), (target.clone(), None)] {
        let text = format!(
            "REFER sip:alice@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKr\r\nFrom: <sip:c@x>;tag=c\r\n\
             To: <sip:alice@x>\r\nCall-ID: r\r\nCSeq: 1 REFER\r\nTarget-Dialog: {value}\r\nContent-Length: 0\r\n\r\n"
        );
        let request = sip_core::message::Request::parse(text.as_bytes()).unwrap();
        assert_eq!(rig.machine.dialog_targeted(&request), found, "{value}");
    }
}

/// RFC 6086 §4: an INFO belongs to a session; in a dialog that has subscriptions alone there is none.
#[test]
fn an_info_needs_a_session() {
    let mut rig = rig();
    let (dialog, ok) = {
        let (id, ok) = accepted(&mut rig, "Event: presence\r\n");
        rig.machine.notify(rig.now, id, Notice::Active, &STATE).unwrap();
        let call_id = header(&ok, "Call-ID").unwrap();
        let tag = header(&ok, "To").unwrap().split(";tag=").nth(1).unwrap();
        (rig.machine.dialog(call_id.as_bytes(), tag.as_bytes(), b"b1").unwrap(), ok)
    };
    assert!(ok.starts_with("SIP/2.0 200"));
    for (method, may) in [(Method::Info, false), (Method::Invite, false), (Method::Message, true)] {
        assert_eq!(
            rig.machine.request_in(rig.now, dialog, method, 0, &Content::NONE).is_ok(),
            may,
            "{method}"
        );
    }
}

/// RFC 6665 §4.1.2.1: what was granted holds until somebody says otherwise; a NOTIFY that names no time changes nothing.
#[test]
fn a_notify_without_a_time_prolongs_nothing() {
    let mut rig = rig();
    let (_, first) = subscribe(&mut rig, 3_600);
    hear(&mut rig, &response(&first, "200 OK", "n1", "Expires: 60\r\n"));
    hear(&mut rig, &notify(&first, "n1", 1, "active"));
    rig.run_until(ms(10_000));
    hear(&mut rig, &notify(&first, "n1", 2, "active"));
    let out = rig.run_until(ms(60_000));
    assert_eq!(sends(&out, "SUBSCRIBE").first(), Some(&30_000));
}

/// RFC 4488 §4, RFC 3515: who is asked for no subscription says that there is none, and who it is.
#[test]
fn a_refer_outside_that_is_not_followed() {
    let mut rig = rig();
    let rest = "Refer-To: <sip:carol@x>\r\nRefer-Sub: false\r\n";
    let refer = peer_subscribes(1, "<sip:alice@x>", rest).replace("SUBSCRIBE", "REFER");
    let heard = hear(&mut rig, &refer);
    let txn = heard.txn.unwrap_or_else(|| panic!("{refer}: {}", heard.text));
    assert_eq!(heard.subscription, None);
    let own = [("Contact", "<sip:x@y>")];
    let twice = rig.machine.respond(rig.now, txn, Status::ACCEPTED, &Content::headers(&own));
    assert_eq!(twice, Err(Misuse::BadContent), "this machine writes it");
    rig.machine.respond(rig.now, txn, Status::ACCEPTED, &Content::NONE).unwrap();
    let ok = sent(&rig.drain(), "SIP/2.0 202");
    assert_eq!(header(&ok, "Refer-Sub"), Some("false"));
    assert_eq!(header(&ok, "Contact"), Some("<sip:alice@192.0.2.1:5060>"));
}

/// RFC 5589 §7.1: who has talked to both gives the second call to the first, which takes its place.
#[test]
fn an_attended_transfer() {
    let mut rig = rig();
    let (first, _) = call(&mut rig);
    let (second, consulted) = call(&mut rig);
    let refer_to = rig.machine.refer_to(second).unwrap();
    rig.machine.refer_in(rig.now, first, &NewRefer::new(&refer_to)).unwrap();
    let refer = sent(&rig.drain(), "REFER");
    assert_eq!(header(&refer, "Refer-To"), Some(&*refer_to));
    // The one who is transferred reads it, and calls.
    let request = sip_core::message::Request::parse(refer.as_bytes()).unwrap();
    let found = request.get::<sip_core::headers::ReferTo<'_>>().unwrap().unwrap();
    let (uri, replaces) = found.invitation().unwrap();
    assert_eq!(uri, "sip:bob@192.0.2.2:5099");
    let tag = header(&consulted, "From").unwrap().split(";tag=").nth(1).unwrap();
    let call_id = header(&consulted, "Call-ID").unwrap();
    assert_eq!(replaces, format!("{call_id};to-tag=b1;from-tag={tag}"));
    let invite = NewInvite { replaces: &replaces, ..NewInvite::new(&uri) };
    rig.machine.invite(rig.now, &invite).unwrap();
    assert_eq!(header(&sent(&rig.drain(), "INVITE"), "Replaces"), Some(&*replaces));
    let whole = refer_to.trim_matches(['<', '>']);
    assert_eq!(
        rig.machine.invite(rig.now, &NewInvite::new(whole)),
        Err(Misuse::BadUri),
        "headers are no part of a Request-URI"
    );
}

/// RFC 3515 §2.4.5: the body of a NOTIFY about a REFER begins with the status line of what came of it.
#[test]
fn what_became_of_a_transfer() {
    for (body, status) in [
        ("SIP/2.0 100 Trying\r\n", Some(100)),
        ("SIP/2.0 200 OK", Some(200)),
        ("sip/2.0 603\r\nContact: <sip:x>\r\n", Some(603)),
        ("SIP/2.0 20 OK", None),
        ("SIP/2.0 2000 OK", None),
        ("SIP/2.0 +20 OK", None),
        ("SIP/2.0 999 Huh", None),
        ("SIP/3.0 200 OK", None),
        ("INVITE sip:200 SIP/2.0\r\n", None),
        ("", None),
    ] {
        assert_eq!(Status::of_fragment(body.as_bytes()).map(Status::code), status, "{body}");
    }
}
