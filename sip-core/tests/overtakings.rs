//! Dialogs in which something comes late or is lost: requests that overtake each other, refusals that end them, refreshes that fail, what was
//! kept at different times.

mod support;

use core::time::Duration;
use sip_core::message::{Content, Method, Status};
use sip_core::ua::{Config, Ended, Event, NewPublication, NewSubscription, Notice, UserAgent};
use sip_core::{Machine, Misuse, SubscriptionId};
use support::call::{BODY, CONTACT, Call, SDP, config, hear, outside, place, sent, told};
use support::subscription::{begun, notify};
use support::{PEER, Rig, header, ms, response, sends};

const RELIABLE: &str = "Contact: <sip:bob@192.0.2.2:5099>\r\nRequire: 100rel\r\nRSeq: 1\r\n";

/// A user agent that the peer subscribes to.
fn watched() -> (Rig<UserAgent>, SubscriptionId, String, String) {
    let mut rig = Rig::new(UserAgent::new(Config { packages: vec!["presence".into()], ..config() }));
    let text = outside("SUBSCRIBE", "Event: presence\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n");
    let event = rig.machine.datagram(rig.now, Rig::<UserAgent>::source(), text.as_bytes());
    let Some(Event::Subscribe { txn, subscription, .. }) = event else { panic!("{event:?}") };
    rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE).unwrap();
    rig.machine.notify(rig.now, subscription, Notice::Active, &Content::NONE).unwrap();
    let out = rig.drain();
    (rig, subscription, sent(&out, "SIP/2.0 200"), sent(&out, "NOTIFY"))
}

/// RFC 3262 §3: the PRACK that is waited for is taken, though its number is lower than that of a request which came before it.
#[test]
fn a_prack_that_was_overtaken_is_taken() {
    let mut call = Call::ringing(config(), &format!("Supported: 100rel\r\n{BODY}"));
    let (now, dialog) = (call.rig.now, call.dialog);
    call.rig.machine.ring_reliably(now, dialog, Status::SESSION_PROGRESS, &SDP).unwrap();
    let progress = sent(&call.rig.drain(), "SIP/2.0 183");
    call.us = header(&progress, "To").unwrap().into();
    let rack = format!("RAck: {} 1 INVITE\r\nContent-Length: 0\r\n\r\n", header(&progress, "RSeq").unwrap());
    let info = call.request("INFO", 4, "Content-Length: 0\r\n\r\n");
    hear(&mut call.rig, &info);
    call.rig.drain();
    for (cseq, status) in [(2, "200"), (3, "500")] {
        let prack = call.request("PRACK", cseq, &rack);
        hear(&mut call.rig, &prack);
        assert!(call.rig.drain()[0].line().starts_with(&format!("SIP/2.0 {status}")), "once");
    }
}

/// And one that was refused for its number is sent with another.
#[test]
fn a_prack_that_was_refused_for_its_number_is_sent_again() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    hear(&mut rig, &response(&invite, "183 Session Progress", "b1", RELIABLE));
    let first = sent(&rig.drain(), "PRACK");
    let dialog = rig.machine.dialogs().next().unwrap();
    rig.machine.request_in(rig.now, dialog, Method::Info, 1, &Content::NONE).unwrap();
    rig.drain();
    hear(&mut rig, &response(&first, "500 Server Internal Error", "", ""));
    let second = sent(&rig.drain(), "PRACK");
    assert_eq!(header(&second, "RAck"), header(&first, "RAck"));
    assert_eq!((header(&first, "CSeq"), header(&second, "CSeq")), (Some("2 PRACK"), Some("4 PRACK")));
    // If the first was taken after all, nobody waits for this one, and the call goes on.
    hear(&mut rig, &response(&second, "481 Call/Transaction Does Not Exist", "", ""));
    let out = rig.drain();
    assert_eq!((told(&out, "Ended {"), sends(&out, "BYE").len()), (0, 0));
    // One that nothing has overtaken was refused for something else.
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    hear(&mut rig, &response(&invite, "183 Session Progress", "b1", RELIABLE));
    let first = sent(&rig.drain(), "PRACK");
    hear(&mut rig, &response(&first, "500 Server Internal Error", "", ""));
    assert!(sends(&rig.run_until(ms(10_000)), "PRACK").is_empty());
}

/// A BYE and the last word of a REFER as well: nobody else would end what they end.
#[test]
fn what_ends_something_is_said_again_when_it_was_overtaken() {
    let mut call = Call::taken(config(), "");
    call.cseq += 1;
    let refer = call.request("REFER", call.cseq, "Refer-To: <sip:c@x>\r\n");
    let event = call.rig.machine.datagram(call.rig.now, Rig::<UserAgent>::source(), refer.as_bytes());
    let Some(Event::Refer { txn, subscription: Some(id), .. }) = event else { panic!("{event:?}") };
    call.respond(txn, 202, Content::NONE);
    let over = Notice::Terminated { reason: Ended::NoResource, retry_after: None };
    let done = Content::body("message/sipfrag", b"SIP/2.0 200 OK\r\n");
    call.rig.machine.notify(call.rig.now, id, over, &done).unwrap();
    let last = sent(&call.rig.drain(), "NOTIFY");
    call.rig.machine.bye(call.rig.now, call.dialog, &Content::NONE).unwrap();
    let bye = sent(&call.rig.drain(), "BYE");
    call.answer(&last, "500 Server Internal Error", "");
    let again = sent(&call.rig.drain(), "NOTIFY");
    assert!(again.ends_with("SIP/2.0 200 OK\r\n"));
    call.answer(&bye, "500 Server Internal Error", "");
    assert_eq!(sends(&call.rig.drain(), "BYE").len(), 1);
    call.answer(&again, "200 OK", "");
}

/// RFC 3261 §21.4.4: a refresh that is forbidden is not asked for again.
#[test]
fn a_refresh_that_is_forbidden() {
    let uri = format!("sip:bob@{PEER}");
    let new = NewSubscription { expires: Duration::from_secs(600), ..NewSubscription::new(&uri, "presence") };
    let (mut rig, _, _) = begun(config(), &new);
    let refresh = sent(&rig.run_until(ms(560_000)), "SUBSCRIBE");
    hear(&mut rig, &response(&refresh, "403 Forbidden", "", ""));
    let out = rig.run_until(ms(700_000));
    assert_eq!((sends(&out, "SUBSCRIBE").len(), told(&out, "SubscriptionEnded")), (0, 1));
}

/// RFC 6665 §4.1.4: each fork is a subscription of its own: who gives one up keeps the first.
#[test]
fn who_gives_up_a_fork_keeps_the_first() {
    let uri = format!("sip:bob@{PEER}");
    let new = NewSubscription { expires: Duration::from_secs(600), ..NewSubscription::new(&uri, "presence") };
    let (mut rig, first, subscribe) = begun(config(), &new);
    let text = notify(&subscribe, "n2", 1, "active;expires=600");
    let event = rig.machine.datagram(rig.now, Rig::<UserAgent>::source(), text.as_bytes());
    let Some(Event::Notified { subscription: fork, .. }) = event else { panic!("{event:?}") };
    assert_ne!(first, fork);
    rig.machine.unsubscribe(rig.now, fork, &Content::NONE).unwrap();
    let last = sent(&rig.drain(), "SUBSCRIBE");
    hear(&mut rig, &response(&last, "200 OK", "", "Expires: 0\r\n"));
    hear(&mut rig, &notify(&subscribe, "n2", 2, "terminated;reason=timeout"));
    hear(&mut rig, &notify(&subscribe, "n1", 2, "active;expires=600"));
    let out = rig.run_until(ms(40_000));
    assert_eq!((told(&out, "SubscriptionEnded"), sends(&out, "SUBSCRIBE").len()), (1, 0));
}

/// RFC 3261 §13.3.1.1: what is said again each minute is what was said: a 180 would take early media away.
#[test]
fn early_media_goes_on() {
    let mut call = Call::ringing(config(), &format!("Supported: 100rel\r\n{BODY}"));
    let (now, dialog) = (call.rig.now, call.dialog);
    call.rig.machine.ring_reliably(now, dialog, Status::SESSION_PROGRESS, &SDP).unwrap();
    let progress = sent(&call.rig.drain(), "SIP/2.0 183");
    call.us = header(&progress, "To").unwrap().into();
    let rack = format!("RAck: {} 1 INVITE\r\nContent-Length: 0\r\n\r\n", header(&progress, "RSeq").unwrap());
    let prack = call.request("PRACK", 2, &rack);
    hear(&mut call.rig, &prack);
    call.rig.drain();
    let out = call.rig.run_until(ms(60_000));
    assert_eq!((sends(&out, "SIP/2.0 183"), sends(&out, "SIP/2.0 180")), (vec![60_000], vec![]));
}

/// What is no package stands in no header.
#[test]
fn a_package_that_is_none() {
    let packages = vec!["presence\r\nX-Own: 1".into(), "dialog".into()];
    let mut rig = Rig::new(UserAgent::new(Config { packages, ..config() }));
    let (_, invite) = place(&mut rig, SDP);
    assert_eq!((header(&invite, "Allow-Events"), header(&invite, "X-Own")), (Some("dialog"), None));
}

/// RFC 5057 §5.1: what a refusal ends at the peer it ends here, too; a BYE says so to who does not know that.
#[test]
fn who_refuses_with_404_has_no_dialog_any_more() {
    for (method, rest) in [("INVITE", BODY), ("INFO", ""), ("REFER", "Refer-To: <sip:c@x>\r\n")] {
        for (code, ends) in [(404, true), (603, false)] {
            let mut call = Call::taken(config(), "");
            call.cseq += 1;
            let request = call.request(method, call.cseq, rest);
            let event =
                call.rig.machine.datagram(call.rig.now, Rig::<UserAgent>::source(), request.as_bytes());
            let (Some(Event::Request { txn, .. }) | Some(Event::Refer { txn, .. })) = event else {
                panic!("{event:?}")
            };
            let out = call.respond(txn, code, Content::NONE);
            let ended = out.iter().filter(|out| out.line().starts_with("Ended {")).count();
            assert_eq!(
                (ended, sends(&out, "BYE").len()),
                (usize::from(ends), usize::from(ends)),
                "{method} {code}"
            );
        }
    }
}

/// RFC 6665 §4.1.2.2: a refresh that is refused for now, or lost, is tried again while there is time.
#[test]
fn a_refresh_of_a_subscription_is_tried_again() {
    let uri = format!("sip:bob@{PEER}");
    let new =
        NewSubscription { expires: Duration::from_secs(3_600), ..NewSubscription::new(&uri, "presence") };
    let (mut rig, _, _) = begun(config(), &new);
    let refresh = sent(&rig.run_until(ms(3_560_000)), "SUBSCRIBE");
    hear(&mut rig, &response(&refresh, "503 Service Unavailable", "", "Retry-After: 12\r\n"));
    assert_eq!(sends(&rig.run_until(ms(3_572_000)), "SUBSCRIBE"), [3_572_000]);
    // Nobody answers that one; there are no two seconds left for another.
    let out = rig.run_until(ms(3_700_000));
    assert_eq!(told(&out, "SubscriptionEnded"), 1);
    let (mut rig, _, _) = begun(config(), &NewSubscription { expires: Duration::from_secs(600), ..new });
    let refresh = sent(&rig.run_until(ms(560_000)), "SUBSCRIBE");
    hear(&mut rig, &response(&refresh, "503 Service Unavailable", "", ""));
    assert_eq!(sends(&rig.run_until(ms(570_000)), "SUBSCRIBE"), [570_000], "a quarter of what is left");
}

/// RFC 3261 §12.2.1.2: of two usages of a dialog that were kept at different times, the newer knows where the peer is, whichever comes back first.
#[test]
fn the_newer_snapshot_knows_the_target() {
    let mut call = Call::placed(config(), "Allow: UPDATE\r\n");
    let new = NewSubscription::new("", "presence");
    let id = call.rig.machine.subscribe_in(call.rig.now, call.dialog, &new).unwrap();
    let subscribe = sent(&call.rig.drain(), "SUBSCRIBE");
    hear(&mut call.rig, &response(&subscribe, "200 OK", "b1", "Expires: 3600\r\n"));
    call.ask(
        "NOTIFY",
        "Event: presence\r\nSubscription-State: active;expires=3600\r\nContent-Length: 0\r\n\r\n",
    );
    let subscription = call.rig.machine.snapshot_subscription(call.rig.now, id).unwrap();
    call.ask("UPDATE", "Contact: <sip:bob@192.0.2.9>\r\nContent-Length: 0\r\n\r\n");
    let session = call.rig.machine.snapshot_dialog(call.rig.now, call.dialog).unwrap();
    for session_first in [true, false] {
        let mut other = Rig::new(UserAgent::new(config()));
        let now = other.now;
        let mut dialog = None;
        for turn in [session_first, !session_first] {
            if turn {
                dialog = Some(other.machine.restore_dialog(now, &session).unwrap());
            } else {
                other.machine.restore_subscription(now, &subscription).unwrap();
            }
        }
        assert_eq!(other.machine.view(dialog.unwrap()).unwrap().target, b"sip:bob@192.0.2.9");
    }
}

/// RFC 3326 §2: what the user says of the end stands in the CANCEL.
#[test]
fn a_call_that_is_hung_up_early_says_why() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    let dialog = hear(&mut rig, &response(&invite, "180 Ringing", "b1", CONTACT)).dialog.unwrap();
    let headers = [("Reason", "SIP;cause=200;text=\"Call completed elsewhere\"")];
    rig.machine.hang_up(rig.now, dialog, &Content::headers(&headers)).unwrap();
    assert_eq!(header(&sent(&rig.drain(), "CANCEL"), "Reason"), Some(headers[0].1));
}

/// RFC 3261 §12.2.1.2: a NOTIFY may move the target, and so may its 2xx.
#[test]
fn the_2xx_of_a_notify_moves_the_target() {
    let (mut rig, id, _, first) = watched();
    assert!(first.starts_with("NOTIFY sip:bob@192.0.2.2:5099 "));
    for (status, target) in [("100 Trying", "sip:bob@192.0.2.2:5099"), ("200 OK", "sip:bob@192.0.2.9")] {
        hear(&mut rig, &response(&first, status, "", "Contact: <sip:bob@192.0.2.9>\r\n"));
        rig.machine.notify(rig.now, id, Notice::Active, &Content::NONE).unwrap();
        assert!(sent(&rig.drain(), "NOTIFY").starts_with(&format!("NOTIFY {target} ")));
    }
}

/// RFC 6141 §4.6: the newest request moves the target, whichever is answered last.
#[test]
fn an_older_reinvite_does_not_move_the_target_back() {
    let mut call = Call::taken(config(), "");
    let new = NewSubscription::new("", "presence");
    call.rig.machine.subscribe_in(call.rig.now, call.dialog, &new).unwrap();
    let subscribe = sent(&call.rig.drain(), "SUBSCRIBE");
    hear(&mut call.rig, &response(&subscribe, "200 OK", "b1", "Expires: 3600\r\n"));
    let (reinvite, _) = call.ask("INVITE", &format!("Contact: <sip:bob@192.0.2.8>\r\n{BODY}"));
    call.ask(
        "NOTIFY",
        "Contact: <sip:bob@192.0.2.9>\r\nEvent: presence\r\nSubscription-State: active;expires=3600\r\n\r\n",
    );
    call.respond(reinvite.txn.unwrap(), 200, SDP);
    assert_eq!(call.rig.machine.view(call.dialog).unwrap().target, b"sip:bob@192.0.2.9");
}

/// RFC 6665 §4.1.4: what was given up makes no subscriptions of forks, be it refreshed before or not.
#[test]
fn what_was_given_up_makes_no_forks() {
    let uri = format!("sip:bob@{PEER}");
    let new = NewSubscription { expires: Duration::from_secs(10), ..NewSubscription::new(&uri, "presence") };
    for refreshed in [false, true] {
        let (mut rig, id, first) = begun(config(), &new);
        if refreshed {
            let refresh = sent(&rig.run_until(ms(5_500)), "SUBSCRIBE");
            hear(&mut rig, &response(&refresh, "200 OK", "", "Expires: 10\r\n"));
            hear(&mut rig, &notify(&first, "n1", 2, "active;expires=10"));
        }
        rig.machine.unsubscribe(rig.now, id, &Content::NONE).unwrap();
        rig.drain();
        assert!(hear(&mut rig, &notify(&first, "n2", 1, "active;expires=10")).text.starts_with("Declined"));
        assert_eq!(sends(&rig.drain(), "SIP/2.0 481").len(), 1, "refreshed: {refreshed}");
    }
}

/// RFC 5057 §5.3, RFC 3261 §15.1.2: a BYE is for a call, and there is none.
#[test]
fn a_bye_where_there_is_no_call() {
    let (mut rig, _, ok, _) = watched();
    let bye = outside("BYE", "Content-Length: 0\r\n\r\n")
        .replace("To: <sip:alice@x>", &format!("To: {}", header(&ok, "To").unwrap()))
        .replace("Call-ID: BYE", "Call-ID: SUBSCRIBE")
        .replace("CSeq: 1", "CSeq: 2");
    hear(&mut rig, &bye);
    assert_eq!(sends(&rig.drain(), "SIP/2.0 481").len(), 1);
}

/// RFC 6228 §4: a 199 of a dialog that nobody knew is no dialog for the user.
#[test]
fn a_reliable_199_of_an_unknown_fork() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    let heard = hear(&mut rig, &response(&invite, "199 Early Dialog Terminated", "b7", RELIABLE));
    let out = rig.drain();
    assert!(heard.text.starts_with("Progress") && heard.dialog.is_none(), "{}", heard.text);
    assert_eq!((sends(&out, "PRACK").len(), told(&out, "Ended")), (1, 0));
}

/// RFC 5621 §3.1, RFC 4488 §4, RFC 3891 §3, RFC 6665 §4.4.4
#[test]
fn what_a_request_may_have() {
    let parts = "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b\r\nContent-Type: application/pidf+xml\r\n\r\n<p/>\r\n--b--\r\n";
    let parts =
        format!("Content-Type: multipart/mixed;boundary=b\r\nContent-Length: {}\r\n\r\n{parts}", parts.len());
    let empty = "Content-Length: 0\r\n\r\n";
    let refer = format!("Refer-To: <sip:c@x>\r\nRefer-Sub: false\r\nRequire: norefersub\r\n{empty}");
    let replaces = format!("Replaces: a;to-tag=1;from-tag=2\r\n{empty}");
    for (method, rest, event) in
        [("INVITE", &*parts, "Incoming"), ("REFER", &*refer, "Refer {"), ("OPTIONS", &*replaces, "Declined")]
    {
        let mut rig = Rig::new(UserAgent::new(config()));
        let heard = hear(&mut rig, &outside(method, rest));
        assert!(heard.text.starts_with(event), "{method}: {}", heard.text);
        if method == "OPTIONS" {
            assert_eq!(sends(&rig.drain(), "SIP/2.0 400").len(), 1);
        }
    }
    let (mut rig, ..) = watched();
    hear(&mut rig, &outside("OPTIONS", empty));
    let options = sent(&rig.drain(), "SIP/2.0 200");
    assert_eq!(header(&options, "Allow-Events"), Some("presence"));
    assert_eq!(header(&place(&mut rig, SDP).1, "Allow-Events"), Some("presence"));
}

/// What the user says of the end stands in the request that says it, at once or when there is a dialog for it; and once.
#[test]
fn the_last_word_has_headers_of_the_users() {
    let uri = format!("sip:bob@{PEER}");
    let why = [("X-Why", "moved")];
    for early in [true, false] {
        let mut rig = Rig::new(UserAgent::new(config()));
        let id = rig.machine.subscribe(rig.now, &NewSubscription::new(&uri, "presence")).unwrap();
        let first = sent(&rig.drain(), "SUBSCRIBE");
        let told = notify(&first, "n1", 1, "active;expires=100");
        if !early {
            hear(&mut rig, &told);
            rig.drain();
        }
        rig.machine.unsubscribe(rig.now, id, &Content::headers(&why)).unwrap();
        if early {
            assert!(rig.drain().is_empty());
            hear(&mut rig, &told);
        }
        let last = sent(&rig.drain(), "SUBSCRIBE");
        assert_eq!((header(&last, "Expires"), header(&last, "X-Why")), (Some("0"), Some("moved")));
    }
    let mut rig = Rig::new(UserAgent::new(config()));
    let state = Content::body("text/plain", b"open");
    let id = rig.machine.publish(rig.now, &NewPublication::new(&uri, "presence", state)).unwrap();
    let first = sent(&rig.drain(), "PUBLISH");
    hear(&mut rig, &response(&first, "200 OK", "r", "SIP-ETag: e\r\nExpires: 60\r\n"));
    assert_eq!(rig.machine.unpublish(rig.now, id, &state), Err(Misuse::BadContent));
    rig.machine.unpublish(rig.now, id, &Content::headers(&why)).unwrap();
    assert_eq!(rig.machine.unpublish(rig.now, id, &Content::NONE), Err(Misuse::WrongState));
    let last = sent(&rig.drain(), "PUBLISH");
    assert_eq!((header(&last, "Expires"), header(&last, "X-Why")), (Some("0"), Some("moved")));
    assert!(last.ends_with("\r\n\r\n"));
}

/// RFC 6665 §4.4.3, §4.2.1.4: who wants the state once, or no longer, gets it with the last word, and nothing behind it.
#[test]
fn a_state_that_is_wanted_once() {
    for fetched in [true, false] {
        let (mut rig, id) = if fetched {
            let mut rig = Rig::new(UserAgent::new(Config { packages: vec!["presence".into()], ..config() }));
            let text = outside("SUBSCRIBE", "Event: presence\r\nExpires: 0\r\nContent-Length: 0\r\n\r\n");
            let event = rig.machine.datagram(rig.now, Rig::<UserAgent>::source(), text.as_bytes());
            let Some(Event::Subscribe { txn, subscription, .. }) = event else { panic!("{event:?}") };
            rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE).unwrap();
            (rig, subscription)
        } else {
            let (mut rig, id, ok, first) = watched();
            hear(&mut rig, &response(&first, "200 OK", "", ""));
            let text = outside("SUBSCRIBE", "Event: presence\r\nExpires: 0\r\nContent-Length: 0\r\n\r\n")
                .replace("To: <sip:alice@x>", &format!("To: {}", header(&ok, "To").unwrap()))
                .replace("CSeq: 1", "CSeq: 2")
                .replace("z9hG4bKSUBSCRIBE", "z9hG4bKagain");
            let event = rig.machine.datagram(rig.now, Rig::<UserAgent>::source(), text.as_bytes());
            let Some(Event::Subscribe { txn, .. }) = event else { panic!("{event:?}") };
            rig.machine.respond(rig.now, txn, Status::OK, &Content::NONE).unwrap();
            (rig, id)
        };
        let state = Content::body("text/plain", b"open");
        rig.machine.notify(rig.now, id, Notice::Active, &state).unwrap();
        let out = rig.drain();
        let last = sent(&out, "NOTIFY");
        assert_eq!(header(&last, "Subscription-State"), Some("terminated;reason=timeout"));
        assert!(last.ends_with("open"));
        assert_eq!(told(&out, "SubscriptionEnded"), 1);
        assert!(out.iter().any(|out| out.line().contains("reason: Unsubscribed")), "{out:#?}");
        hear(&mut rig, &response(&last, "200 OK", "", ""));
        assert!(sends(&rig.run_until(ms(10_000)), "NOTIFY").is_empty());
    }
}

/// RFC 3261 §13.3.1.4: the 2xx is sent again because it may be lost. Who does not know the dialog yet has not lost it.
#[test]
fn what_overtakes_the_2xx_costs_no_call() {
    for method in [Method::Info, Method::Update] {
        let mut call = Call::ringing(config(), BODY);
        call.rig.machine.accept(call.rig.now, call.dialog, &SDP).unwrap();
        let ok = sent(&call.rig.drain(), "SIP/2.0 200"); // It is lost.
        call.us = header(&ok, "To").unwrap().into();
        let request = call.sent(method, Content::NONE);
        call.answer(&request, "481 Call/Transaction Does Not Exist", "");
        call.rig.drain();
        // Half a second later it comes, and the call is up at both ends.
        assert_eq!(sends(&call.rig.run_until(ms(500)), "SIP/2.0 200"), [500]);
        let ack = call.request("ACK", 1, "Content-Length: 0\r\n\r\n");
        hear(&mut call.rig, &ack);
        assert!(sends(&call.rig.drain(), "BYE").is_empty(), "hung up with the ACK");
    }
}

/// RFC 3261 §13.3.1.1: a provisional response may be lost; a request of this side that the caller does not know what to do with then must not cost the call.
#[test]
fn a_180_that_was_overtaken_costs_no_call() {
    let mut call = Call::ringing(config(), BODY);
    call.rig.machine.ring(call.rig.now, call.dialog, Status::RINGING, &Content::NONE).unwrap();
    call.rig.drain(); // It is lost, or late.
    let update = call.sent(Method::Update, Content::NONE);
    call.answer(&update, "481 Call/Transaction Does Not Exist", "");
    let out = call.rig.drain();
    assert_eq!((told(&out, "Ended {"), sends(&out, "SIP/2.0 487").len()), (0, 0), "{out:#?}");
    call.rig.machine.accept(call.rig.now, call.dialog, &SDP).unwrap();
}
