//! Subscriptions whose messages cross: an answer to what was asked before, a refresh that waits, a table that is full.

mod support;

use core::time::Duration;
use sip_core::message::{Content, Status};
use sip_core::transaction::Timers;
use sip_core::ua::{Config, Ended, Event, NewSubscription, Notice, UserAgent};
use sip_core::{Machine, Misuse, ServerTxn, SubscriptionId};
use support::call::{CHALLENGE, CONTACT, Call, SDP, config, hear, known, place, sent, told};
use support::subscription::{notify, subscribed};
use support::{Rig, header, ms, response, sends};

const URI: &str = "sip:bob@192.0.2.2";

fn new(seconds: u64) -> NewSubscription<'static> {
    NewSubscription { expires: Duration::from_secs(seconds), ..NewSubscription::new(URI, "presence") }
}

/// A refusal of the refresh says nothing of the un-SUBSCRIBE that was sent after it: that is answered to its challenge.
#[test]
fn a_refusal_of_what_was_asked_before() {
    for answer in ["401 Unauthorized", "481 Subscription Does Not Exist", "200 OK"] {
        let (mut rig, id, first) = subscribed(known());
        let refresh = loop {
            let at = rig.machine.deadline().unwrap();
            let out = rig.run_until(at);
            if !sends(&out, "SUBSCRIBE").is_empty() {
                break sent(&out, "SUBSCRIBE");
            }
        };
        rig.machine.unsubscribe(rig.now, id, &Content::NONE).unwrap();
        let end = sent(&rig.drain(), "SUBSCRIBE");
        hear(&mut rig, &response(&refresh, answer, "", CHALLENGE));
        assert_eq!(told(&rig.drain(), "SubscriptionEnded"), 0, "{answer}");
        hear(&mut rig, &response(&end, "401 Unauthorized", "", CHALLENGE));
        let again = sent(&rig.drain(), "SUBSCRIBE");
        assert_eq!(header(&again, "Expires"), Some("0"));
        assert!(header(&again, "Authorization").is_some());
        hear(&mut rig, &response(&again, "200 OK", "", "Expires: 0\r\n"));
        hear(&mut rig, &notify(&first, "n1", 2, "terminated;reason=timeout"));
        assert_eq!(told(&rig.drain(), "SubscriptionEnded"), 1);
    }
}

/// RFC 6665 §4.1.2.1: the NOTIFY that came before the 2xx has said for how long.
#[test]
fn a_2xx_without_expires_behind_its_notify() {
    let mut rig = Rig::new(UserAgent::new(config()));
    rig.machine.subscribe(rig.now, &new(3_600)).unwrap();
    let first = sent(&rig.drain(), "SUBSCRIBE");
    hear(&mut rig, &notify(&first, "n1", 1, "active;expires=60"));
    hear(&mut rig, &response(&first, "200 OK", "n1", ""));
    rig.drain();
    assert!(!sends(&rig.run_until(ms(60_000)), "SUBSCRIBE").is_empty());
}

/// Timer N is 64 times the T1 of this subscription.
#[test]
fn timer_n_of_a_slow_path() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let timers = Timers { t1: Duration::from_secs(2), ..Timers::DEFAULT };
    rig.machine.subscribe(rig.now, &NewSubscription { timers: Some(timers), ..new(100) }).unwrap();
    rig.drain();
    assert_eq!(told(&rig.run_until(ms(127_999)), "SubscriptionEnded"), 0);
    assert_eq!(told(&rig.run_until(ms(128_000)), "SubscriptionEnded"), 1);
}

/// RFC 6665 §4.2.2: a 481 would end at the notifier what only finds no room here.
#[test]
fn a_notify_that_finds_no_room() {
    let mut full = config();
    full.core.limits.dialogs = 1;
    let mut rig = Rig::new(UserAgent::new(full));
    rig.machine.subscribe(rig.now, &new(100)).unwrap();
    let first = sent(&rig.drain(), "SUBSCRIBE");
    hear(&mut rig, &response(&first, "200 OK", "n1", "Expires: 100\r\n"));
    let (_, invite) = place(&mut rig, SDP);
    hear(&mut rig, &response(&invite, "180 Ringing", "b1", CONTACT));
    hear(&mut rig, &notify(&first, "n1", 1, "active;expires=100"));
    let refused = sent(&rig.drain(), "SIP/2.0 503");
    assert!(header(&refused, "Retry-After").is_some());
    // Nor is anything asked for then.
    assert_eq!(rig.machine.subscribe(rig.now, &new(100)), Err(Misuse::Full));
}

/// RFC 3262 §4: a PRACK that was answered is out of the way, though its transaction lives on.
#[test]
fn pracks_that_were_answered() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    for rseq in 1..=20 {
        let reliable = format!("{CONTACT}Require: 100rel\r\nRSeq: {rseq}\r\n");
        hear(&mut rig, &response(&invite, "183 Session Progress", "b1", &reliable));
        let prack = sent(&rig.drain(), "PRACK");
        hear(&mut rig, &response(&prack, "200 OK", "", ""));
    }
}

// The notifier.

fn asked(call: &mut Call, seconds: u32) -> (ServerTxn, SubscriptionId) {
    call.cseq += 1;
    let headers = format!("Event: presence\r\nExpires: {seconds}\r\n");
    let request = call.request("SUBSCRIBE", call.cseq, &headers);
    match call.rig.machine.datagram(call.rig.now, Rig::<UserAgent>::source(), request.as_bytes()) {
        Some(Event::Subscribe { txn, subscription, .. }) => (txn, subscription),
        other => panic!("{other:?}"),
    }
}

/// A call whose peer has subscribed for 100 s.
fn watched() -> Call {
    let mut call = Call::taken(Config { packages: vec!["presence".into()], ..config() }, "");
    let (txn, subscription) = asked(&mut call, 100);
    call.rig.machine.respond(call.rig.now, txn, Status::OK, &Content::NONE).unwrap();
    call.rig.machine.notify(call.rig.now, subscription, Notice::Active, &Content::NONE).unwrap();
    let notify = sent(&call.rig.drain(), "NOTIFY");
    hear(&mut call.rig, &response(&notify, "200 OK", "", ""));
    call
}

/// RFC 6665 §4.2.1: a refresh that came in time is in time, however long the user takes.
#[test]
fn a_refresh_that_waits_for_its_answer() {
    for accepted in [true, false] {
        let mut call = watched();
        call.rig.run_until(ms(99_000));
        let (txn, _) = asked(&mut call, 100);
        assert!(sends(&call.rig.run_until(ms(101_000)), "NOTIFY").is_empty());
        let status = if accepted { Status::OK } else { Status::FORBIDDEN };
        call.rig.machine.respond(call.rig.now, txn, status, &Content::NONE).unwrap();
        let out = call.rig.drain();
        if accepted {
            assert_eq!(header(&sent(&out, "SIP/2.0 200"), "Expires"), Some("100"));
            assert!(sends(&out, "NOTIFY").is_empty());
            let over = call.rig.run_until(ms(201_000));
            assert_eq!((sends(&over, "NOTIFY")[0], told(&over, "SubscriptionEnded")), (201_000, 1));
        } else {
            // It changes nothing: what was granted is over since a second.
            assert_eq!((sends(&out, "NOTIFY").len(), told(&out, "SubscriptionEnded")), (1, 1));
        }
    }
}

/// Whatever ends a subscription ends the requests that would prolong it.
#[test]
fn what_waits_when_a_subscription_ends() {
    let mut call = watched();
    let (txn, subscription) = asked(&mut call, 100);
    let notice = Notice::Terminated { reason: Ended::Deactivated, retry_after: None };
    call.rig.machine.notify(call.rig.now, subscription, notice, &Content::NONE).unwrap();
    let out = call.rig.drain();
    sent(&out, "SIP/2.0 481");
    assert_eq!(told(&out, "Withdrawn"), 1);
    let late = call.rig.machine.respond(call.rig.now, txn, Status::OK, &Content::NONE);
    assert!(late.is_err());
}

/// Each answer grants what its own request asked for; one that is refused changes nothing.
#[test]
fn two_refreshes_that_wait() {
    let mut call = watched();
    let (first, _) = asked(&mut call, 200);
    let (second, _) = asked(&mut call, 0);
    call.rig.machine.respond(call.rig.now, first, Status::OK, &Content::NONE).unwrap();
    assert_eq!(header(&sent(&call.rig.drain(), "SIP/2.0 200"), "Expires"), Some("200"));
    call.rig.machine.respond(call.rig.now, second, Status::FORBIDDEN, &Content::NONE).unwrap();
    let start = call.rig.now;
    assert_eq!(told(&call.rig.run_until(start + Duration::from_millis(199_999)), "SubscriptionEnded"), 0);
    assert_eq!(told(&call.rig.run_until(start + Duration::from_secs(200)), "SubscriptionEnded"), 1);
}

/// RFC 5057: a dialog of a call and a subscription goes on elsewhere in either order; of the two the one that was kept last knows the numbers.
#[test]
fn both_usages_go_on_elsewhere() {
    for call_first in [true, false] {
        let mut call = Call::taken(Config { packages: vec!["presence".into()], ..config() }, "");
        let early = call.rig.machine.snapshot_dialog(call.rig.now, call.dialog).unwrap();
        let (txn, subscription) = asked(&mut call, 100);
        call.rig.machine.respond(call.rig.now, txn, Status::OK, &Content::NONE).unwrap();
        call.rig.machine.notify(call.rig.now, subscription, Notice::Active, &Content::NONE).unwrap();
        let before = sent(&call.rig.drain(), "NOTIFY");
        hear(&mut call.rig, &response(&before, "200 OK", "", ""));
        let late = call.rig.machine.snapshot_subscription(call.rig.now, subscription).unwrap();

        let mut other = Rig::new(UserAgent::new(Config { packages: vec!["presence".into()], ..config() }));
        let first = call_first.then(|| other.machine.restore_dialog(other.now, &early).unwrap());
        let subscription = other.machine.restore_subscription(other.now, &late).unwrap();
        let dialog = first.unwrap_or_else(|| other.machine.restore_dialog(other.now, &early).unwrap());
        assert!(other.machine.restore_dialog(other.now, &early).is_err(), "it lives here");
        other.machine.notify(other.now, subscription, Notice::Active, &Content::NONE).unwrap();
        let notify = sent(&other.drain(), "NOTIFY");
        let number =
            |text: &str| header(text, "CSeq").unwrap().split(' ').next().unwrap().parse::<u32>().unwrap();
        assert_eq!(number(&notify), number(&before) + 1, "call first: {call_first}");
        hear(&mut other, &response(&notify, "200 OK", "", ""));
        hear(&mut other, &call.request("BYE", call.cseq + 1, ""));
        let out = other.drain();
        sent(&out, "SIP/2.0 200");
        assert_eq!(told(&out, "Ended"), 1);
        assert!(other.machine.view(dialog).is_ok(), "the subscription goes on");
    }
}

/// RFC 6665 §4.1.4: that one fork has nothing to tell is not the end of the others, until Timer N.
#[test]
fn a_fork_that_ends_leaves_the_others() {
    for (seconds, state) in [(100, "terminated;reason=noresource"), (0, "active;expires=0")] {
        let mut rig = Rig::new(UserAgent::new(config()));
        rig.machine.subscribe(rig.now, &new(seconds)).unwrap();
        let first = sent(&rig.drain(), "SUBSCRIBE");
        hear(&mut rig, &response(&first, "200 OK", "n1", ""));
        hear(&mut rig, &notify(&first, "n1", 1, state));
        assert_eq!(told(&rig.run_until(ms(1)), "SubscriptionEnded"), 1, "{state}");
        // What the first says after its end is no fork.
        let heard = hear(&mut rig, &notify(&first, "n1", 2, "active;expires=100"));
        assert!(heard.text.starts_with("Declined"), "{state} {}", heard.text);
        sent(&rig.drain(), "SIP/2.0 481");
        let heard = hear(&mut rig, &notify(&first, "n2", 1, "active;expires=90"));
        assert!(heard.text.starts_with("Notified"), "{}", heard.text);
        sent(&rig.drain(), "SIP/2.0 200");
        // The third ends at once, too.
        let heard = hear(&mut rig, &notify(&first, "n3", 1, "terminated;reason=rejected"));
        assert!(heard.text.starts_with("Notified"), "{}", heard.text);
        assert_eq!(told(&rig.drain(), "SubscriptionEnded"), 1);
        rig.run_until(ms(31_999));
        assert!(hear(&mut rig, &notify(&first, "n4", 1, "active;expires=90")).text.starts_with("Notified"));
        rig.run_until(ms(32_000));
        assert!(hear(&mut rig, &notify(&first, "n5", 1, "active;expires=90")).text.starts_with("Declined"));
    }
}

/// Nobody waits for the forks of what was given up, and what waited leaves nothing.
#[test]
fn who_waits_for_forks_leaves_nothing() {
    for given_up in [false, true] {
        let mut rig = Rig::new(UserAgent::new(config()));
        let id = rig.machine.subscribe(rig.now, &new(100)).unwrap();
        let first = sent(&rig.drain(), "SUBSCRIBE");
        hear(&mut rig, &response(&first, "200 OK", "n1", ""));
        if given_up {
            rig.machine.unsubscribe(rig.now, id, &Content::NONE).unwrap();
        }
        hear(&mut rig, &notify(&first, "n1", 1, "terminated;reason=noresource"));
        let out = rig.drain();
        assert_eq!(told(&out, "SubscriptionEnded"), 1);
        let heard = hear(&mut rig, &notify(&first, "n2", 1, "terminated;reason=noresource"));
        assert_eq!(heard.text.starts_with("Declined"), given_up, "{}", heard.text);
        let out = rig.run_until(ms(80_000));
        assert_eq!(told(&out, "SubscriptionEnded"), usize::from(!given_up));
        assert!(rig.machine.is_idle(), "{:?}", rig.machine.stats());
    }
}

/// RFC 6665 §4.1.3, §4.1.4: how long it lasts its notifier says in the NOTIFY; a 2xx that comes behind it says nothing else, nor does that of another fork.
#[test]
fn the_notify_says_how_long() {
    for answering in ["n1", "n2"] {
        let mut rig = Rig::new(UserAgent::new(config()));
        rig.machine.subscribe(rig.now, &new(3_600)).unwrap();
        let first = sent(&rig.drain(), "SUBSCRIBE");
        hear(&mut rig, &notify(&first, "n1", 1, "active;expires=100"));
        hear(&mut rig, &response(&first, "200 OK", answering, "Expires: 3600\r\n"));
        hear(&mut rig, &notify(&first, "n2", 1, "active;expires=3600"));
        rig.drain();
        assert_eq!(sends(&rig.run_until(ms(100_000)), "SUBSCRIBE")[0], 60_000, "{answering}");
    }
    // At a refresh, too.
    let (mut rig, _, first) = subscribed(config());
    let refresh = sent(&rig.run_until(ms(60_000)), "SUBSCRIBE");
    hear(&mut rig, &notify(&first, "n1", 2, "active;expires=50"));
    hear(&mut rig, &response(&refresh, "200 OK", "n1", "Expires: 100\r\n"));
    rig.drain();
    assert_eq!(sends(&rig.run_until(ms(99_000)), "SUBSCRIBE")[0], 85_000);
}
