//! What goes on inside a call: re-INVITE and UPDATE, reliable provisional responses, session timers, Replaces, redirection, credentials.

mod support;

use core::time::Duration;
use sip_core::auth::Credentials;
use sip_core::headers::Refresher;
use sip_core::message::{Content, Method, Status};
use sip_core::ua::{
    Config, NewInvite, NewRefer, NewRequest, NewSubscription, Offer, SessionTimer, UserAgent,
};
use sip_core::{DialogId, Machine, Misuse};
use support::call::{BODY, CONTACT, Call, Heard, SDP, config, hear, place, sent, told};
use support::{Out, PEER, Rig, US, header, ms, response, sends};

// re-INVITE and UPDATE.

/// RFC 3261 §14.1
#[test]
fn a_reinvite_holds_and_its_2xx_is_acknowledged() {
    let mut call = Call::placed(config(), "");
    let reinvite = call.sent(Method::Invite, SDP);
    assert_eq!(header(&reinvite, "CSeq"), Some("2 INVITE"));
    assert_eq!(header(&reinvite, "Contact"), Some("<sip:alice@192.0.2.1:5060>"));
    assert_eq!(call.offer(), Offer::Local);
    // One at a time.
    assert_eq!(call.send(Method::Invite, SDP), Err(Misuse::WrongState));
    assert_eq!(call.send(Method::Update, SDP), Err(Misuse::WrongState), "an offer is open");
    let moved = format!("Contact: <sip:bob@192.0.2.2:5077>\r\n{BODY}");
    assert!(call.answer(&reinvite, "200 OK", &moved).text.starts_with("Response"));
    let ack = sent(&call.rig.drain(), "ACK");
    assert!(ack.starts_with("ACK sip:bob@192.0.2.2:5077"), "a target refresh: {ack}");
    assert_eq!(header(&ack, "CSeq"), Some("2 ACK"));
    assert_eq!(call.offer(), Offer::Stable);
    // A copy of the 2xx: the same ACK, and no word to the user.
    assert_eq!(call.answer(&reinvite, "200 OK", &moved).text, "");
    assert_eq!(sent(&call.rig.drain(), "ACK"), ack);
    assert!(call.send(Method::Invite, SDP).is_ok());
}

/// RFC 3261 §14.1: the session stays as it was.
#[test]
fn a_reinvite_that_is_refused_changes_nothing() {
    let mut call = Call::placed(config(), "");
    let reinvite = call.sent(Method::Invite, SDP);
    call.answer(&reinvite, "488 Not Acceptable Here", "Contact: <sip:bob@192.0.2.2:1>\r\n");
    assert_eq!(sent(&call.rig.drain(), "ACK").lines().next(), Some("ACK sip:bob@192.0.2.2:5099 SIP/2.0"));
    assert_eq!(call.offer(), Offer::Stable);
    let reinvite = call.sent(Method::Invite, SDP);
    assert!(reinvite.starts_with("INVITE sip:bob@192.0.2.2:5099"), "{reinvite}");
}

/// RFC 3261 §13.2.2.4: an offer in the 2xx is answered in the ACK.
#[test]
fn a_reinvite_without_an_offer_is_answered_in_the_ack() {
    let mut call = Call::placed(config(), "");
    let reinvite = call.sent(Method::Invite, Content::NONE);
    assert!(call.answer(&reinvite, "200 OK", &format!("{CONTACT}{BODY}")).wants);
    assert_eq!(call.offer(), Offer::Remote);
    assert_eq!(call.rig.drain(), []);
    assert_eq!(call.answer(&reinvite, "200 OK", &format!("{CONTACT}{BODY}")).text, "");
    call.rig.machine.ack(call.rig.now, call.dialog, &SDP).unwrap();
    assert!(sent(&call.rig.drain(), "ACK").ends_with("v=0\r\n"));
    assert_eq!(call.rig.machine.ack(call.rig.now, call.dialog, &SDP), Err(Misuse::WrongState));
}

/// pjproject#1725: the ACK of each INVITE is kept while copies of its 2xx may come.
#[test]
fn an_old_2xx_gets_its_own_ack() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    let ok = response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}"));
    let dialog = hear(&mut rig, &ok).dialog.unwrap();
    let ack = sent(&rig.drain(), "ACK");
    rig.machine.request_in(rig.now, dialog, Method::Invite, 0, &SDP).unwrap();
    rig.drain();
    assert_eq!(hear(&mut rig, &ok).text, "");
    assert_eq!(sent(&rig.drain(), "ACK"), ack);
}

#[test]
fn the_peer_changes_the_session() {
    let mut call = Call::taken(config(), "");
    let (heard, out) = call.ask("INVITE", &format!("Contact: <sip:bob@192.0.2.2:5077>\r\n{BODY}"));
    assert_eq!((heard.dialog, out.len()), (Some(call.dialog), 0));
    assert_eq!(call.offer(), Offer::Remote);
    // RFC 6141 §4.3: not before it is accepted.
    let info = call.sent(Method::Info, Content::NONE);
    assert!(info.starts_with("INFO sip:bob@192.0.2.2:5099"), "{info}");
    let out = call.respond(heard.txn.unwrap(), 200, SDP);
    assert!(header(&sent(&out, "SIP/2.0 200"), "Contact").is_some());
    assert_eq!(call.offer(), Offer::Stable);
    let info = call.sent(Method::Info, Content::NONE);
    assert!(info.starts_with("INFO sip:bob@192.0.2.2:5077"), "{info}");
    // Sent again until its ACK comes.
    let out = call.rig.run_until(ms(1_600));
    assert_eq!(sends(&out, "SIP/2.0 200"), [500, 1_500]);
    let ack = call.request("ACK", call.cseq, "Content-Length: 0\r\n\r\n");
    assert!(hear(&mut call.rig, &ack).text.starts_with("Established"));
    assert_eq!(sends(&call.rig.run_until(ms(60_000)), "SIP/2.0 200"), [] as [u64; 0]);
}

#[test]
fn a_reinvite_that_is_never_acknowledged_ends_the_call() {
    let mut call = Call::taken(config(), "");
    let (heard, _) = call.ask("INVITE", BODY);
    call.respond(heard.txn.unwrap(), 200, SDP);
    let out = call.rig.run_until(ms(32_000));
    assert_eq!(sends(&out, "BYE"), [32_000]);
    assert_eq!(told(&out, "NoAck"), 1);
}

/// RFC 3261 §14.2
#[test]
fn requests_that_meet() {
    let mut call = Call::taken(config(), "");
    // Two of the peer's.
    let (first, _) = call.ask("INVITE", BODY);
    let (_, out) = call.ask("INVITE", BODY);
    let busy = sent(&out, "SIP/2.0 500");
    assert!(header(&busy, "Retry-After").unwrap().parse::<u32>().unwrap() <= 10);
    let (_, out) = call.ask("UPDATE", BODY);
    assert!(header(&sent(&out, "SIP/2.0 500"), "Retry-After").is_some(), "its offer is open");
    assert_eq!(call.send(Method::Invite, SDP), Err(Misuse::WrongState), "nor one of ours meanwhile");
    let out = call.respond(first.txn.unwrap(), 488, Content::NONE);
    let ack = call.request("ACK", 101, "Content-Length: 0\r\n\r\n");
    assert_eq!(told(&out, "Withdrawn"), 0);
    hear(&mut call.rig, &ack.replace("z9hG4bKACK101", "z9hG4bKINVITE101"));
    assert_eq!(call.offer(), Offer::Stable);
    // Ours against theirs.
    call.sent(Method::Invite, SDP);
    let (_, out) = call.ask("INVITE", BODY);
    sent(&out, "SIP/2.0 491");
    let (_, out) = call.ask("UPDATE", BODY);
    sent(&out, "SIP/2.0 491");
    // An UPDATE without an offer changes no session.
    let (_, out) = call.ask("UPDATE", "Content-Length: 0\r\n\r\n");
    sent(&out, "SIP/2.0 200");
}

/// RFC 3261 §14.1: 2.1 to 4 s for who made the Call-ID, 0 to 2 s for the other, in steps of 10 ms.
#[test]
fn a_collision_is_tried_again() {
    for (placed, least, most) in [(true, 2_100, 4_000), (false, 0, 2_000)] {
        for method in [Method::Invite, Method::Update] {
            let mut call = if placed { Call::placed(config(), "") } else { Call::taken(config(), "") };
            let mut request = call.sent(method, SDP);
            let mut tries = 0;
            loop {
                let start = call.rig.now;
                let told = call.answer(&request, "491 Request Pending", "").text;
                tries += 1;
                if told.contains("491") {
                    break;
                }
                let out = call.rig.run_until(ms(start.as_micros() / 1_000 + 4_500));
                let at = sends(&out, &method.to_string())[0] - start.as_micros() / 1_000;
                assert!((least..=most).contains(&at) && at % 10 == 0, "{method} {at}");
                let again = sent(&out, &method.to_string());
                assert_ne!(header(&again, "CSeq"), header(&request, "CSeq"));
                assert!(again.ends_with("v=0\r\n"));
                request = again;
            }
            assert_eq!(tries, 5, "after four it is enough");
            assert_eq!(call.offer(), Offer::Stable);
        }
    }
}

/// While this side waits to try again, the peer may.
#[test]
fn who_collided_lets_the_other_go_first() {
    let mut call = Call::placed(config(), "");
    let request = call.sent(Method::Invite, SDP);
    call.answer(&request, "491 Request Pending", "");
    call.rig.drain();
    let (heard, _) = call.ask("INVITE", "Content-Length: 0\r\n\r\n");
    let txn = heard.txn.expect("it is taken");
    let out = call.rig.run_until(ms(5_000));
    assert_eq!(sends(&out, "INVITE"), [] as [u64; 0], "it still waits");
    call.respond(txn, 488, Content::NONE);
    assert!(!sends(&call.rig.run_until(ms(7_000)), "INVITE").is_empty());
}

/// The offer of a re-INVITE that waits is not open: the peer's offer is taken, or two that are alike would refuse each other for ever.
#[test]
fn an_offer_that_collided_does_not_stand_in_the_way() {
    let mut call = Call::placed(config(), "");
    let request = call.sent(Method::Invite, SDP);
    call.answer(&request, "491 Request Pending", "");
    call.rig.drain();
    assert_eq!(call.offer(), Offer::Stable);
    let (heard, out) = call.ask("UPDATE", BODY);
    let txn = heard.txn.unwrap_or_else(|| panic!("it is refused: {out:?}"));
    let out = call.rig.run_until(ms(5_000));
    assert_eq!(sends(&out, "INVITE"), [] as [u64; 0], "the offer of the peer is open");
    call.respond(txn, 200, SDP);
    assert!(!sends(&call.rig.run_until(ms(7_000)), "INVITE").is_empty());
    assert_eq!(call.offer(), Offer::Local);
}

/// The end of the first INVITE says nothing of the copies that the 2xx to a later one may still have.
#[test]
fn the_ack_of_a_reinvite_outlives_the_first_invite() {
    let mut call = Call::placed(config(), "");
    call.rig.run_until(ms(31_000));
    call.rig.now = ms(31_000);
    let request = call.sent(Method::Invite, SDP);
    let ok = format!("{CONTACT}{BODY}");
    call.answer(&request, "200 OK", &ok);
    let ack = sent(&call.rig.drain(), "ACK");
    call.rig.run_until(ms(35_000));
    call.rig.now = ms(35_000);
    call.answer(&request, "200 OK", &ok);
    assert_eq!(sent(&call.rig.drain(), "ACK"), ack);
}

#[test]
fn a_request_that_waits_to_be_sent_again_can_be_given_up() {
    let mut call = Call::placed(config(), "");
    let id = call.send(Method::Invite, SDP).unwrap();
    let request = sent(&call.rig.drain(), "INVITE");
    call.answer(&request, "491 Request Pending", "");
    call.rig.drain();
    call.rig.machine.cancel_request(call.rig.now, id).unwrap();
    assert_eq!(told(&call.rig.drain(), "RequestEnded"), 1);
    assert_eq!(sends(&call.rig.run_until(ms(10_000)), "INVITE"), [] as [u64; 0]);
    assert_eq!(call.rig.machine.cancel_request(call.rig.now, id), Err(Misuse::Gone));
    assert!(call.send(Method::Invite, SDP).is_ok());
}

#[test]
fn a_reinvite_can_be_cancelled_by_either_side() {
    let mut call = Call::placed(config(), "");
    let id = call.send(Method::Invite, SDP).unwrap();
    let request = sent(&call.rig.drain(), "INVITE");
    call.answer(&request, "180 Ringing", "");
    call.rig.machine.cancel_request(call.rig.now, id).unwrap();
    sent(&call.rig.drain(), "CANCEL");
    assert!(call.answer(&request, "487 Request Terminated", "").text.starts_with("Response"));
    call.rig.drain();
    let (heard, _) = call.ask("INVITE", BODY);
    let cancel = call.request("CANCEL", call.cseq, "Content-Length: 0\r\n\r\n");
    hear(&mut call.rig, &cancel.replace("z9hG4bKCANCEL", "z9hG4bKINVITE"));
    let out = call.rig.drain();
    sent(&out, "SIP/2.0 487");
    assert_eq!(told(&out, "Withdrawn"), 1);
    let late = call.rig.machine.respond(call.rig.now, heard.txn.unwrap(), Status::OK, &SDP);
    assert_eq!(late, Err(Misuse::WrongState));
    assert_eq!(call.offer(), Offer::Stable);
    assert_eq!(call.rig.machine.dialogs().count(), 1, "the call itself goes on");
}

/// RFC 5407 §3.1.4, §3.1.5
#[test]
fn a_reinvite_before_the_ack() {
    for (offer_in_2xx, policy, taken) in [(false, true, true), (false, false, false), (true, true, false)] {
        let config = Config { reinvite_before_ack: policy, ..config() };
        let mut call = Call::ringing(config, if offer_in_2xx { "Content-Length: 0\r\n\r\n" } else { BODY });
        call.rig.machine.accept(call.rig.now, call.dialog, &SDP).unwrap();
        call.us = header(&sent(&call.rig.drain(), "SIP/2.0 200"), "To").unwrap().into();
        let (heard, out) = call.ask("INVITE", BODY);
        assert_eq!(heard.txn.is_some(), taken);
        if taken {
            call.respond(heard.txn.unwrap(), 200, SDP);
            // The 2xx of the first is not sent any more; an ACK for it means nothing.
            let old = call.request("ACK", 1, "Content-Length: 0\r\n\r\n");
            assert_eq!(hear(&mut call.rig, &old).text, "");
            let out = call.rig.run_until(ms(500));
            let numbers: Vec<_> = out.iter().filter_map(|out| header(out.bytes(), "CSeq")).collect();
            assert_eq!(numbers, ["101 INVITE"]);
        } else {
            sent(&out, "SIP/2.0 491");
        }
    }
}

/// RFC 3261 §15.1.2: what waits in the dialog gets 487.
#[test]
fn a_bye_ends_what_waits() {
    let mut call = Call::taken(config(), "");
    let (reinvite, _) = call.ask("INVITE", BODY);
    let (info, _) = call.ask("INFO", "Content-Length: 0\r\n\r\n");
    let (_, out) = call.ask("BYE", "Content-Length: 0\r\n\r\n");
    let lines: Vec<_> = out.iter().map(|out| out.line().split(' ').nth(1).unwrap_or_default()).collect();
    assert_eq!(sends(&out, "SIP/2.0 200").len(), 1);
    assert_eq!(sends(&out, "SIP/2.0 487").len(), 2, "{lines:?}");
    assert_eq!((told(&out, "Withdrawn"), told(&out, "RemoteBye")), (2, 1));
    for txn in [reinvite.txn.unwrap(), info.txn.unwrap()] {
        assert!(call.rig.machine.respond(call.rig.now, txn, Status::OK, &SDP).is_err());
    }
}

/// RFC 5407 §3.2.3: a 2xx to our re-INVITE that crosses a BYE is acknowledged all the same.
#[test]
fn a_2xx_that_crosses_a_bye_is_acknowledged() {
    for ours in [true, false] {
        let mut call = Call::placed(config(), "");
        let reinvite = call.sent(Method::Invite, SDP);
        if ours {
            call.rig.machine.bye(call.rig.now, call.dialog, &Content::NONE).unwrap();
            call.rig.drain();
        } else {
            call.ask("BYE", "Content-Length: 0\r\n\r\n");
        }
        let ok = format!("{CONTACT}{BODY}");
        call.answer(&reinvite, "200 OK", &ok);
        let ack = sent(&call.rig.drain(), "ACK");
        assert_eq!(header(&ack, "CSeq"), Some("2 ACK"));
        call.answer(&reinvite, "200 OK", &ok);
        assert_eq!(sent(&call.rig.drain(), "ACK"), ack);
        call.rig.run_until(ms(100_000));
        assert!(call.rig.machine.is_idle());
    }
}

/// After our BYE nothing else is taken (RFC 5407 §3.2).
#[test]
fn after_a_bye_changes_are_refused() {
    let mut call = Call::placed(config(), "");
    call.rig.machine.bye(call.rig.now, call.dialog, &Content::NONE).unwrap();
    for method in ["INVITE", "UPDATE", "REFER", "INFO"] {
        let (_, out) = call.ask(method, "Content-Length: 0\r\n\r\n");
        sent(&out, "SIP/2.0 481");
    }
    let (_, out) = call.ask("BYE", "Content-Length: 0\r\n\r\n");
    sent(&out, "SIP/2.0 200");
}

/// RFC 3261 §15.1.1: nor is anything else sent. Found in the simulator.
#[test]
fn after_a_bye_nothing_new_is_sent() {
    let mut call = Call::placed(config(), "");
    let (now, dialog) = (call.rig.now, call.dialog);
    call.rig.machine.bye(now, dialog, &Content::NONE).unwrap();
    call.rig.drain();
    for method in [Method::Invite, Method::Update, Method::Info, Method::Options] {
        let asked = call.rig.machine.request_in(now, dialog, method, 0, &Content::NONE);
        assert_eq!(asked.unwrap_err(), Misuse::WrongState);
    }
    let refer = call.rig.machine.refer_in(now, dialog, &NewRefer::new("<sip:c@x>"));
    assert_eq!(refer.unwrap_err(), Misuse::WrongState);
    assert!(call.rig.drain().is_empty());
}

#[test]
fn an_update_with_an_offer_is_answered_by_the_user() {
    let mut call = Call::taken(config(), "");
    let (heard, _) = call.ask("UPDATE", BODY);
    assert_eq!(call.offer(), Offer::Remote);
    let (_, out) = call.ask("UPDATE", "Content-Length: 0\r\n\r\n");
    sent(&out, "SIP/2.0 500");
    let out = call.respond(heard.txn.unwrap(), 200, SDP);
    assert!(header(&sent(&out, "SIP/2.0 200"), "Contact").is_some());
    assert_eq!(call.offer(), Offer::Stable);
}

/// The methods that the user has named come to it; others do not.
#[test]
fn requests_inside_go_to_who_takes_them() {
    let mut call = Call::taken(config(), "");
    for (method, code) in [("INFO", 200), ("FOO", 202)] {
        let (heard, out) = call.ask(method, "Content-Length: 0\r\n\r\n");
        assert_eq!((heard.dialog, out.len()), (Some(call.dialog), 0), "{method}");
        let out = call.respond(heard.txn.unwrap(), code, Content::NONE);
        sent(&out, &format!("SIP/2.0 {code}"));
        let again = call.rig.machine.respond(call.rig.now, heard.txn.unwrap(), Status::OK, &SDP);
        assert_eq!(again, Err(Misuse::WrongState));
    }
    let (_, out) = call.ask("MESSAGE", "Content-Length: 0\r\n\r\n");
    let allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, NOTIFY, INFO, REFER, FOO";
    assert_eq!(header(&sent(&out, "SIP/2.0 405"), "Allow"), Some(allow));
    let (_, out) = call.ask("BAR", "Content-Length: 0\r\n\r\n");
    sent(&out, "SIP/2.0 501");
}

/// A user that never answers leaks nothing.
#[test]
fn a_request_that_is_not_answered_is_withdrawn() {
    let mut call = Call::taken(config(), "");
    call.ask("INFO", "Content-Length: 0\r\n\r\n");
    let (reinvite, _) = call.ask("INVITE", BODY);
    let out = call.rig.run_until(ms(400_000));
    assert_eq!(told(&out, "Withdrawn"), 2);
    assert_eq!(sends(&out, "SIP/2.0 500")[0], 300_000);
    assert_eq!(call.offer(), Offer::Stable);
    assert!(call.rig.machine.respond(call.rig.now, reinvite.txn.unwrap(), Status::OK, &SDP).is_err());
    call.rig.machine.bye(call.rig.now, call.dialog, &Content::NONE).unwrap();
    call.rig.run_until(ms(500_000));
    assert!(call.rig.machine.is_idle());
}

// Reliable provisional responses (RFC 3262).

const RELIABLE: &str = "Supported: 100rel\r\n";

fn prack(call: &mut Call, rack: &str, rest: &str) -> (Heard, Vec<Out>) {
    call.ask("PRACK", &format!("RAck: {rack}\r\n{rest}"))
}

#[test]
fn a_reliable_response_is_sent_until_its_prack() {
    let mut call = Call::ringing(config(), &format!("{RELIABLE}{BODY}"));
    call.rig.machine.ring_reliably(call.rig.now, call.dialog, Status::SESSION_PROGRESS, &SDP).unwrap();
    let first = sent(&call.rig.drain(), "SIP/2.0 183");
    call.us = header(&first, "To").unwrap().into();
    let rseq: u32 = header(&first, "RSeq").unwrap().parse().unwrap();
    assert!((1..1 << 31).contains(&rseq));
    assert_eq!(header(&first, "Require"), Some("100rel"));
    assert_eq!(call.offer(), Offer::Stable);
    // The 200 waits, because the response has the answer.
    call.rig.machine.accept(call.rig.now, call.dialog, &Content::NONE).unwrap();
    assert_eq!(call.rig.machine.accept(call.rig.now, call.dialog, &SDP), Err(Misuse::WrongState));
    let out = call.rig.run_until(ms(10_000));
    assert_eq!(sends(&out, "SIP/2.0 183"), [500, 1_500, 3_500, 7_500]);
    let (_, out) = prack(&mut call, &format!("{} 1 INVITE", rseq + 1), "");
    sent(&out, "SIP/2.0 481");
    let (_, out) = prack(&mut call, &format!("{rseq} 2 INVITE"), "");
    sent(&out, "SIP/2.0 481");
    let (heard, out) = prack(&mut call, &format!("{rseq} 1 INVITE"), "");
    assert!(heard.text.starts_with("Acknowledged"));
    let lines: Vec<_> = out.iter().filter_map(|out| header(out.bytes(), "CSeq")).collect();
    assert_eq!(lines, ["103 PRACK", "1 INVITE"]);
    // A stray one.
    let (_, out) = prack(&mut call, &format!("{rseq} 1 INVITE"), "");
    sent(&out, "SIP/2.0 481");
}

#[test]
fn without_a_prack_the_call_ends() {
    let mut call = Call::ringing(config(), &format!("{RELIABLE}{BODY}"));
    call.rig.machine.ring_reliably(call.rig.now, call.dialog, Status::RINGING, &Content::NONE).unwrap();
    let out = call.rig.run_until(ms(40_000));
    // Doubled without a cap: the last but one at 31.5 s.
    assert_eq!(sends(&out, "SIP/2.0 180"), [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    assert_eq!(sends(&out, "SIP/2.0 504")[0], 32_000);
    assert_eq!(told(&out, "NoPrack"), 1);
    call.rig.run_until(ms(100_000));
    assert!(call.rig.machine.is_idle());
}

/// Sofia's fix_467: several, each after the PRACK of the one before, the 200 behind them.
#[test]
fn several_reliable_responses_wait_for_each_other() {
    let mut call = Call::ringing(config(), &format!("Require: 100rel\r\n{BODY}"));
    for code in [183, 184, 185] {
        call.rig.machine.ring(call.rig.now, call.dialog, Status::new(code).unwrap(), &Content::NONE).unwrap();
    }
    call.rig.machine.accept(call.rig.now, call.dialog, &SDP).unwrap();
    let out = call.rig.drain();
    let first = sent(&out, "SIP/2.0 183");
    assert_eq!(out.len(), 1);
    call.us = header(&first, "To").unwrap().into();
    let mut rseq: u32 = header(&first, "RSeq").unwrap().parse().unwrap();
    for next in ["SIP/2.0 184", "SIP/2.0 185", "SIP/2.0 200"] {
        let (_, out) = prack(&mut call, &format!("{rseq} 1 INVITE"), "");
        assert_eq!(out.len(), 2);
        let response = out[1].bytes().to_owned();
        assert!(response.starts_with(next), "{response}");
        if let Some(number) = header(&response, "RSeq") {
            assert_eq!(number, (rseq + 1).to_string());
            rseq += 1;
        }
    }
}

/// An INVITE without an offer: the reliable response has it, the PRACK answers; then either may offer anew.
#[test]
fn offers_in_reliable_responses_and_pracks() {
    let mut call = Call::ringing(config(), "Supported: 100rel\r\nContent-Length: 0\r\n\r\n");
    call.rig.machine.ring_reliably(call.rig.now, call.dialog, Status::SESSION_PROGRESS, &SDP).unwrap();
    let first = sent(&call.rig.drain(), "SIP/2.0 183");
    call.us = header(&first, "To").unwrap().into();
    assert_eq!(call.offer(), Offer::Local);
    let rseq: u32 = header(&first, "RSeq").unwrap().parse().unwrap();
    prack(&mut call, &format!("{rseq} 1 INVITE"), BODY);
    assert_eq!(call.offer(), Offer::Stable);
    call.rig.machine.ring_reliably(call.rig.now, call.dialog, Status::RINGING, &Content::NONE).unwrap();
    call.rig.drain();
    // A new offer in a PRACK is the user's to answer.
    let (heard, out) = prack(&mut call, &format!("{} 1 INVITE", rseq + 1), BODY);
    assert!(heard.txn.is_some() && out.is_empty());
    assert_eq!(call.offer(), Offer::Remote);
    call.respond(heard.txn.unwrap(), 200, SDP);
    assert_eq!(call.offer(), Offer::Stable);
    // UPDATE both ways, before the call is answered (RFC 3311).
    let update = call.sent(Method::Update, SDP);
    assert_eq!(call.offer(), Offer::Local);
    call.answer(&update, "200 OK", &format!("{CONTACT}{BODY}"));
    let (heard, _) = call.ask("UPDATE", BODY);
    call.respond(heard.txn.unwrap(), 200, SDP);
    call.rig.machine.accept(call.rig.now, call.dialog, &Content::NONE).unwrap();
    sent(&call.rig.drain(), "SIP/2.0 200");
    assert_eq!(call.offer(), Offer::Stable);
}

#[test]
fn reliable_only_to_who_knows_it() {
    let mut call = Call::ringing(config(), BODY);
    let rung = call.rig.machine.ring_reliably(call.rig.now, call.dialog, Status::RINGING, &Content::NONE);
    assert_eq!(rung, Err(Misuse::Forbidden));
    let rung = call.rig.machine.ring_reliably(call.rig.now, call.dialog, Status::TRYING, &Content::NONE);
    assert_eq!(rung, Err(Misuse::BadStatus));
}

/// RFC 3262 §3: after a final response nothing is repeated, and the PRACK is answered still.
#[test]
fn a_prack_after_the_final_response() {
    let mut call = Call::ringing(config(), &format!("{RELIABLE}{BODY}"));
    call.rig.machine.ring_reliably(call.rig.now, call.dialog, Status::RINGING, &Content::NONE).unwrap();
    let first = sent(&call.rig.drain(), "SIP/2.0 180");
    call.us = header(&first, "To").unwrap().into();
    call.rig.machine.accept(call.rig.now, call.dialog, &SDP).unwrap();
    let out = call.rig.run_until(ms(600));
    assert_eq!((sends(&out, "SIP/2.0 180").len(), sends(&out, "SIP/2.0 200").len()), (0, 2));
    let rack = format!("{} 1 INVITE", header(&first, "RSeq").unwrap());
    let (_, out) = prack(&mut call, &rack, "");
    assert_eq!(header(&sent(&out, "SIP/2.0 200"), "CSeq"), Some("101 PRACK"));
}

/// The caller: in order, each once, in the dialog of its fork.
#[test]
fn reliable_responses_are_acknowledged_in_order() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    let reliable = |rseq: u32, tag: &str| {
        let extra = format!(
            "Contact: <sip:bob@192.0.2.2:{}>\r\nRequire: 100rel\r\nRSeq: {rseq}\r\nRecord-Route: <sip:192.0.2.7;lr>\r\n",
            if tag == "b1" { 5077 } else { 5078 }
        );
        response(&invite, "183 Session Progress", tag, &extra)
    };
    let heard = hear(&mut rig, &reliable(70, "b1"));
    assert!(!heard.wants && heard.text.starts_with("Progress"));
    let out = rig.drain();
    let first = sent(&out, "PRACK");
    assert!(first.starts_with("PRACK sip:bob@192.0.2.2:5077"));
    assert_eq!(header(&first, "RAck"), Some("70 1 INVITE"));
    assert_eq!(header(&first, "Route"), Some("<sip:192.0.2.7;lr>"));
    assert_eq!(header(&first, "CSeq"), Some("2 PRACK"));
    for discarded in [70, 72, 69] {
        assert_eq!(hear(&mut rig, &reliable(discarded, "b1")).text, "", "{discarded}");
        assert_eq!(rig.drain(), []);
    }
    hear(&mut rig, &reliable(71, "b1"));
    assert_eq!(header(&sent(&rig.drain(), "PRACK"), "RAck"), Some("71 1 INVITE"));
    // Another fork counts by itself; a response that is not reliable wants none.
    hear(&mut rig, &reliable(5, "b2"));
    assert!(sent(&rig.drain(), "PRACK").starts_with("PRACK sip:bob@192.0.2.2:5078"));
    hear(&mut rig, &response(&invite, "180 Ringing", "b2", &format!("{CONTACT}RSeq: 6\r\n")));
    assert_eq!(sends(&rig.drain(), "PRACK"), [] as [u64; 0]);
    // 199 for a dialog that nobody knows: only if it is reliable it is acknowledged, and forgotten.
    let gone = |reliable: &str| {
        response(&invite, "199 Early Dialog Terminated", "b9", &format!("{CONTACT}{reliable}"))
    };
    assert_eq!(hear(&mut rig, &gone("")).text, "");
    assert_eq!(rig.drain(), []);
    hear(&mut rig, &gone("Require: 100rel\r\nRSeq: 1\r\n"));
    sent(&rig.drain(), "PRACK");
    assert_eq!(rig.machine.dialogs().count(), 2);
}

#[test]
fn a_prack_with_an_answer_or_an_offer_is_the_users() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, Content::NONE);
    let extra = format!("{CONTACT}Require: 100rel\r\nRSeq: 1\r\n{BODY}");
    let heard = hear(&mut rig, &response(&invite, "183 Session Progress", "b1", &extra));
    assert!(heard.wants);
    assert_eq!(rig.drain(), []);
    let dialog = heard.dialog.unwrap();
    assert_eq!(rig.machine.offer(dialog), Ok(Offer::Remote));
    rig.machine.prack(rig.now, dialog, 4, &SDP).unwrap();
    let prack = sent(&rig.drain(), "PRACK");
    assert!(prack.ends_with("v=0\r\n"));
    assert_eq!(rig.machine.offer(dialog), Ok(Offer::Stable));
    assert_eq!(rig.machine.prack(rig.now, dialog, 4, &SDP), Err(Misuse::WrongState));
    assert!(hear(&mut rig, &response(&prack, "200 OK", "", "")).text.contains("user: 4"));
    // The 2xx repeats the offer, and needs no answer.
    let ok = response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}"));
    assert!(!hear(&mut rig, &ok).wants);
    sent(&rig.drain(), "ACK");

    let mut rig = Rig::new(UserAgent::new(Config { auto_prack: false, ..config() }));
    let (_, invite) = place(&mut rig, SDP);
    let heard = hear(&mut rig, &response(&invite, "183 Session Progress", "b1", &extra));
    assert!(heard.wants);
    rig.machine.prack(rig.now, heard.dialog.unwrap(), 4, &SDP).unwrap();
    let prack = sent(&rig.drain(), "PRACK");
    assert_eq!(rig.machine.offer(heard.dialog.unwrap()), Ok(Offer::Local));
    hear(&mut rig, &response(&prack, "200 OK", "", BODY));
    assert_eq!(rig.machine.offer(heard.dialog.unwrap()), Ok(Offer::Stable));
}

// Session timers (RFC 4028).

fn timed(expires: u64, refresher: Option<Refresher>) -> Config {
    let session_timer =
        SessionTimer { expires: Some(Duration::from_secs(expires)), refresher, ..SessionTimer::DEFAULT };
    Config { session_timer, ..config() }
}

#[test]
fn the_refresher_sends_an_update_at_half_of_the_interval() {
    let mut call = Call::placed(
        timed(1_800, None),
        "Allow: INVITE, UPDATE\r\nRequire: timer\r\nSession-Expires: 600;refresher=uac\r\n",
    );
    assert_eq!(header(&call.invite, "Session-Expires"), Some("1800"));
    let out = call.rig.run_until(ms(300_000));
    assert_eq!(sends(&out, "UPDATE"), [300_000]);
    let update = sent(&out, "UPDATE");
    assert_eq!(header(&update, "Session-Expires"), Some("600;refresher=uac"));
    assert!(update.ends_with("Content-Length: 0\r\n\r\n"));
    assert_eq!(call.answer(&update, "200 OK", "Session-Expires: 600;refresher=uac\r\n").text, "");
    let out = call.rig.run_until(ms(700_000));
    assert_eq!(sends(&out, "UPDATE")[0], 600_000);
    // Nobody answers that one: the session ends in time (§10: 600 - 32 s after the last refresh).
    assert_eq!(sends(&call.rig.run_until(ms(1_000_000)), "BYE").len(), 0, "a timeout has ended it before");
    assert_eq!(told(&out, "Lost"), 1);
}

#[test]
fn who_waits_for_a_refresh_hangs_up_without_one() {
    let mut call = Call::taken(config(), "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\n");
    let (_, out) = call.ask("UPDATE", "Supported: timer\r\nSession-Expires: 120;refresher=uac\r\n");
    let ok = sent(&out, "SIP/2.0 200");
    assert_eq!(header(&ok, "Session-Expires"), Some("120;refresher=uac"));
    assert_eq!(header(&ok, "Require"), Some("timer"));
    let out = call.rig.run_until(ms(200_000));
    assert_eq!(sends(&out, "BYE")[0], 88_000);
    assert_eq!(told(&out, "NotRefreshed"), 1);
}

/// A peer that takes no UPDATE: the user has the session description that a re-INVITE needs.
#[test]
fn a_refresh_by_reinvite_is_the_users() {
    let mut call = Call::placed(timed(90, None), "Allow: INVITE\r\nSession-Expires: 90;refresher=uac\r\n");
    let out = call.rig.run_until(ms(45_000));
    assert_eq!((told(&out, "RefreshDue"), sends(&out, "UPDATE").len()), (1, 0));
    let reinvite = call.sent(Method::Invite, SDP);
    assert_eq!(header(&reinvite, "Session-Expires"), Some("90;refresher=uac"));
    call.answer(&reinvite, "200 OK", &format!("{CONTACT}Session-Expires: 90;refresher=uac\r\n{BODY}"));
    let out = call.rig.run_until(ms(89_999));
    assert_eq!(sends(&out, "BYE"), [] as [u64; 0]);
    // This time it is not sent: 15 s after it was due, the lesser of a third and 32 s before the end.
    let out = call.rig.run_until(ms(110_000));
    assert_eq!(sends(&out, "BYE")[0], 105_000);
}

/// §6: an interval that is too small for the server, and what the client makes of that.
#[test]
fn a_422_raises_the_interval() {
    let rig = Rig::new(UserAgent::new(config()));
    let mut call = Call::of(
        rig,
        String::new(),
        DialogId::from_bits(0),
        "<sip:bob@x>;tag=b".into(),
        "<sip:alice@x>".into(),
    );
    call.call_id = "c".into();
    let (_, out) = call.ask("INVITE", &format!("Supported: timer\r\nSession-Expires: 60\r\n{BODY}"));
    assert_eq!(header(&sent(&out, "SIP/2.0 422"), "Min-SE"), Some("90"));

    let mut rig = Rig::new(UserAgent::new(timed(200, Some(Refresher::Uas))));
    let (_, invite) = place(&mut rig, SDP);
    assert_eq!(header(&invite, "Session-Expires"), Some("200;refresher=uas"));
    let refused = response(&invite, "422 Session Interval Too Small", "b", "Min-SE: 500\r\n");
    assert_eq!(hear(&mut rig, &refused).text, "");
    let out = rig.drain();
    let again = sent(&out, "INVITE");
    assert_eq!(
        (header(&again, "Session-Expires"), header(&again, "Min-SE")),
        (Some("500;refresher=uas"), Some("500"))
    );
    assert_eq!(header(&again, "CSeq"), Some("2 INVITE"));
    assert_eq!(header(&again, "Call-ID"), header(&invite, "Call-ID"));
    assert!(again.ends_with("v=0\r\n"));
    // A server that wants no more than it got is not humoured.
    assert!(
        hear(&mut rig, &response(&again, "422 Session Interval Too Small", "b", "Min-SE: 500\r\n"))
            .text
            .starts_with("Refused")
    );
}

// Replaces (RFC 3891).

#[test]
fn a_call_takes_the_place_of_another() {
    let mut call = Call::taken(config(), "");
    let tag = call.us.rsplit_once("tag=").unwrap().1.to_owned();
    let with = |cseq: u32, replaces: &str| {
        format!(
            "INVITE sip:alice@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKr{cseq}\r\n\
             From: <sip:carol@x>;tag=c{cseq}\r\nTo: <sip:alice@x>\r\nCall-ID: r{cseq}\r\nCSeq: {cseq} INVITE\r\n\
             Max-Forwards: 70\r\nContact: <sip:carol@192.0.2.2>\r\nReplaces: {replaces}\r\n{BODY}"
        )
    };
    for (replaces, status) in [
        ("c-1;to-tag=nobody;from-tag=b1".to_owned(), "SIP/2.0 481"),
        (format!("c-1;to-tag={tag};from-tag=b1;early-only"), "SIP/2.0 486"),
        ("c-1;to-tag=a;from-tag=b\r\nReplaces: c-1;to-tag=a;from-tag=b".to_owned(), "SIP/2.0 400"),
    ] {
        call.cseq += 1;
        hear(&mut call.rig, &with(call.cseq, &replaces));
        sent(&call.rig.drain(), status);
    }
    let heard = hear(&mut call.rig, &with(900, &format!("c-1;to-tag={tag};from-tag=b1")));
    assert_eq!(heard.replaces, Some(call.dialog));
    call.rig.machine.accept(call.rig.now, heard.dialog.unwrap(), &SDP).unwrap();
    let out = call.rig.drain();
    sent(&out, "SIP/2.0 200");
    let bye = sent(&out, "BYE");
    assert_eq!(header(&bye, "Call-ID"), Some("c-1"));
    assert_eq!(told(&out, "Replaced"), 1);
    // What is over can't be replaced.
    hear(&mut call.rig, &with(901, &format!("c-1;to-tag={tag};from-tag=b1")));
    sent(&call.rig.drain(), "SIP/2.0 603");
}

#[test]
fn an_early_call_of_this_side_is_given_up_for_another() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    hear(&mut rig, &response(&invite, "180 Ringing", "b1", CONTACT));
    rig.drain();
    let heard = hear(&mut rig, &in_place_of(&invite));
    assert!(heard.replaces.is_some());
    rig.machine.accept(rig.now, heard.dialog.unwrap(), &SDP).unwrap();
    let out = rig.drain();
    sent(&out, "SIP/2.0 200");
    sent(&out, "CANCEL");
}

/// RFC 3891 §3: and not once it was answered, though it rang when the other call came in.
#[test]
fn an_early_call_that_was_answered_meanwhile_stays() {
    for restored in [false, true] {
        let mut rig = Rig::new(UserAgent::new(config()));
        let (_, invite) = place(&mut rig, SDP);
        hear(&mut rig, &response(&invite, "180 Ringing", "b1", CONTACT));
        let heard = hear(&mut rig, &in_place_of(&invite)).dialog.unwrap();
        hear(&mut rig, &response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}")));
        rig.drain();
        if restored {
            let kept = rig.machine.snapshot(rig.now).unwrap();
            rig.machine = UserAgent::restore(rig.now, config(), &kept).unwrap();
        }
        assert_eq!(rig.machine.accept(rig.now, heard, &SDP), Err(Misuse::WrongState));
        rig.machine.reject(rig.now, heard, Status::BUSY_HERE, &Content::NONE).unwrap();
        let out = rig.drain();
        sent(&out, "SIP/2.0 486");
        assert!(sends(&out, "BYE").is_empty());
    }
}

/// An INVITE that takes the place of the call that another INVITE began, while that rings.
fn in_place_of(invite: &str) -> String {
    let tag = header(invite, "From").unwrap().rsplit_once("tag=").unwrap().1;
    let replaces = format!("{};to-tag={tag};from-tag=b1;early-only", header(invite, "Call-ID").unwrap());
    format!(
        "INVITE sip:alice@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKr\r\nFrom: <sip:carol@x>;tag=c\r\n\
         To: <sip:alice@x>\r\nCall-ID: r\r\nCSeq: 1 INVITE\r\nContact: <sip:carol@192.0.2.2>\r\nReplaces: {replaces}\r\n{BODY}"
    )
}

#[test]
fn an_invite_with_replaces() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let uri = format!("sip:bob@{PEER}");
    let invite = NewInvite { replaces: "c@h;to-tag=1;from-tag=2", ..NewInvite::new(&uri) };
    rig.machine.invite(rig.now, &invite).unwrap();
    let text = sent(&rig.drain(), "INVITE");
    assert_eq!(header(&text, "Replaces"), Some("c@h;to-tag=1;from-tag=2"));
    assert_eq!(header(&text, "Require"), Some("replaces"));
    let bad = NewInvite { replaces: "c@h;to-tag=\"", ..NewInvite::new(&uri) };
    assert_eq!(rig.machine.invite(rig.now, &bad), Err(Misuse::BadContent));
}

// Time limits of an INVITE (RFC 3261 §13.2.1, §13.3.1).

#[test]
fn an_invite_expires_at_both_ends() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let uri = format!("sip:bob@{PEER}");
    let expires = Some(Duration::from_secs(20));
    rig.machine.invite(rig.now, &NewInvite { expires, ..NewInvite::new(&uri) }).unwrap();
    let invite = sent(&rig.drain(), "INVITE");
    assert_eq!(header(&invite, "Expires"), Some("20"));
    hear(&mut rig, &response(&invite, "180 Ringing", "b1", CONTACT));
    assert_eq!(sends(&rig.run_until(ms(25_000)), "CANCEL")[0], 20_000);

    let mut call = Call::ringing(config(), &format!("Expires: 10\r\n{BODY}"));
    let out = call.rig.run_until(ms(20_000));
    assert_eq!(sends(&out, "SIP/2.0 487")[0], 10_000);
    assert_eq!(told(&out, "Expired"), 1);
    // Answered in time it is nobody's limit.
    let mut call = Call::taken(config(), "Expires: 10\r\n");
    assert_eq!(told(&call.rig.run_until(ms(60_000)), "Expired"), 0);
}

/// RFC 3261 §13.3.1.1
#[test]
fn a_call_that_rings_reliably_says_so_every_minute() {
    let mut call = Call::ringing(config(), &format!("{RELIABLE}{BODY}"));
    call.rig.machine.ring_reliably(call.rig.now, call.dialog, Status::RINGING, &Content::NONE).unwrap();
    let first = sent(&call.rig.drain(), "SIP/2.0 180");
    call.us = header(&first, "To").unwrap().into();
    prack(&mut call, &format!("{} 1 INVITE", header(&first, "RSeq").unwrap()), "Content-Length: 0\r\n\r\n");
    assert_eq!(sends(&call.rig.run_until(ms(130_000)), "SIP/2.0 180"), [60_000, 120_000]);
}

#[test]
fn a_call_that_rings_says_so_every_minute() {
    let mut call = Call::ringing(config(), BODY);
    call.rig.machine.ring(call.rig.now, call.dialog, Status::RINGING, &Content::NONE).unwrap();
    let out = call.rig.run_until(ms(200_000));
    assert_eq!(sends(&out, "SIP/2.0 180"), [0, 60_000, 120_000, 180_000]);
}

// Redirection (RFC 3261 §8.1.3.4).

#[test]
fn a_redirection_is_followed_best_first_and_never_twice() {
    let mut rig = Rig::new(UserAgent::new(Config { redirects: 3, ..config() }));
    let (invitation, invite) = place(&mut rig, SDP);
    let contacts = "Contact: <sip:b@192.0.2.10>;q=0.2, <sip:a@192.0.2.11?Subject=x>;q=0.9\r\n\
                    Contact: <sip:bob@192.0.2.2:5060>, <mailto:bob@x>\r\n";
    assert_eq!(hear(&mut rig, &response(&invite, "302 Moved Temporarily", "b", contacts)).text, "");
    let out = rig.drain();
    let second = sent(&out, "INVITE");
    assert!(second.starts_with("INVITE sip:a@192.0.2.11 SIP/2.0"), "{second}");
    for name in ["To", "From", "Call-ID"] {
        assert_eq!(header(&second, name), header(&invite, name), "{name}");
    }
    // A contact of a contact; then what is left of the first.
    let next = "Contact: <sip:a@192.0.2.11>, <sip:c@192.0.2.12>;q=0.1\r\n";
    hear(&mut rig, &response(&second, "302 Moved Temporarily", "b", next));
    let third = sent(&rig.drain(), "INVITE");
    assert!(third.starts_with("INVITE sip:b@192.0.2.10"), "{third}");
    hear(&mut rig, &response(&third, "486 Busy Here", "b", ""));
    let fourth = sent(&rig.drain(), "INVITE");
    assert!(fourth.starts_with("INVITE sip:c@192.0.2.12"), "{fourth}");
    assert!(hear(&mut rig, &response(&fourth, "404 Not Found", "b", "")).text.starts_with("Refused"));
    assert_eq!(rig.machine.cancel(rig.now, invitation), Err(Misuse::WrongState));
    let out = rig.run_until(ms(100_000));
    assert_eq!(told(&out, "InvitationEnded"), 1);
    assert!(rig.machine.is_idle());
}

#[test]
fn a_redirection_to_itself_or_without_policy_goes_to_the_user() {
    for redirects in [0, 5] {
        let mut rig = Rig::new(UserAgent::new(Config { redirects, ..config() }));
        let (_, invite) = place(&mut rig, SDP);
        let to_itself = format!("Contact: <sip:bob@{PEER}>\r\n");
        let refused = response(&invite, "302 Moved Temporarily", "b", &to_itself);
        assert!(hear(&mut rig, &refused).text.starts_with("Refused"));
    }
}

// Credentials (RFC 3261 §22).

fn with_credentials() -> Config {
    Config { credentials: vec![Credentials::new("alice", "wonderland")], ..config() }
}

const CHALLENGE: &str = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n1\", qop=\"auth\"\r\n";

#[test]
fn a_challenge_is_answered_and_the_ack_has_the_credentials() {
    let mut rig = Rig::new(UserAgent::new(with_credentials()));
    let (_, invite) = place(&mut rig, SDP);
    assert_eq!(
        hear(&mut rig, &response(&invite, "407 Proxy Authentication Required", "p", CHALLENGE)).text,
        ""
    );
    let out = rig.drain();
    assert_eq!(header(&sent(&out, "ACK"), "To"), Some("<sip:bob@192.0.2.2:5060>;tag=p"));
    let again = sent(&out, "INVITE");
    let credentials = header(&again, "Proxy-Authorization").unwrap();
    assert!(credentials.contains("uri=\"sip:bob@192.0.2.2:5060\"") && credentials.contains("nc=00000001"));
    assert_eq!(header(&again, "CSeq"), Some("2 INVITE"));
    assert_ne!(header(&again, "Via"), header(&invite, "Via"));
    let heard = hear(&mut rig, &response(&again, "200 OK", "b1", &format!("{CONTACT}{BODY}")));
    let ack = sent(&rig.drain(), "ACK");
    assert_eq!(header(&ack, "Proxy-Authorization"), Some(credentials));
    assert_eq!(header(&ack, "CSeq"), Some("2 ACK"));
    // Later requests have them without being asked, with the next count.
    rig.machine.bye(rig.now, heard.dialog.unwrap(), &Content::NONE).unwrap();
    let bye = sent(&rig.drain(), "BYE");
    assert_eq!(header(&bye, "CSeq"), Some("3 BYE"));
    assert!(header(&bye, "Proxy-Authorization").unwrap().contains("nc=00000002"));
    // The nonce has aged meanwhile.
    let stale = CHALLENGE.replace("n1\"", "n2\", stale=true");
    assert_eq!(hear(&mut rig, &response(&bye, "407 Proxy Authentication Required", "", &stale)).text, "");
    let bye = sent(&rig.drain(), "BYE");
    assert!(header(&bye, "Proxy-Authorization").unwrap().contains("nonce=\"n2\""));
    hear(&mut rig, &response(&bye, "200 OK", "", ""));
    assert_eq!(told(&rig.run_until(ms(100_000)), "LocalBye"), 1);
    assert!(rig.machine.is_idle());
}

#[test]
fn a_wrong_password_is_tried_once() {
    let mut rig = Rig::new(UserAgent::new(with_credentials()));
    let (_, invite) = place(&mut rig, SDP);
    hear(&mut rig, &response(&invite, "407 Proxy Authentication Required", "p", CHALLENGE));
    let again = sent(&rig.drain(), "INVITE");
    let other = CHALLENGE.replace("n1", "n2");
    let refused = response(&again, "407 Proxy Authentication Required", "p", &other);
    assert!(hear(&mut rig, &refused).text.starts_with("Refused"));
    // Without credentials the challenge is a response like others.
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    let refused = response(&invite, "407 Proxy Authentication Required", "p", CHALLENGE);
    assert!(hear(&mut rig, &refused).text.starts_with("Refused"));
}

/// One handle, however many transactions it takes.
#[test]
fn a_request_outside_answers_challenges_of_several_realms() {
    let mut rig = Rig::new(UserAgent::new(with_credentials()));
    let uri = format!("sip:bob@{PEER}");
    let content = Content::body("text/plain", b"hello");
    let request = NewRequest { content, user: 3, ..NewRequest::new(Method::Message, &uri) };
    rig.machine.request(rig.now, &request).unwrap();
    let first = sent(&rig.drain(), "MESSAGE");
    hear(&mut rig, &response(&first, "407 Proxy Authentication Required", "p", CHALLENGE));
    let second = sent(&rig.drain(), "MESSAGE");
    let server = "WWW-Authenticate: Digest realm=\"s\", nonce=\"m\", algorithm=SHA-256, qop=\"auth-int\"\r\n";
    hear(&mut rig, &response(&second, "401 Unauthorized", "s", server));
    let third = sent(&rig.drain(), "MESSAGE");
    assert!(header(&third, "Proxy-Authorization").unwrap().contains("nc=00000002"));
    assert!(header(&third, "Authorization").unwrap().contains("qop=auth-int"));
    assert!(third.ends_with("\r\n\r\nhello"));
    assert_eq!(header(&third, "CSeq"), Some("3 MESSAGE"));
    assert!(hear(&mut rig, &response(&third, "200 OK", "s", "")).text.contains("user: 3"));
    assert_eq!(told(&rig.run_until(ms(100_000)), "RequestEnded"), 1);
    assert!(rig.machine.is_idle());
}

// Dialogs by their names.

#[test]
fn dialogs_are_found_by_their_ids_and_sets() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    for tag in ["b1", "b2"] {
        hear(&mut rig, &response(&invite, "180 Ringing", tag, CONTACT));
    }
    let call_id = header(&invite, "Call-ID").unwrap().as_bytes();
    let tag = header(&invite, "From").unwrap().rsplit_once("tag=").unwrap().1.as_bytes();
    let set: Vec<_> = rig.machine.dialog_set(call_id, tag).collect();
    assert_eq!(set.len(), 2);
    assert!(set.contains(&rig.machine.dialog(call_id, tag, b"b2").unwrap()));
    assert_eq!(rig.machine.dialog(call_id, tag, b"b3"), None);
    assert_eq!(rig.machine.dialog_set(call_id, b"other").count(), 0);
}

// What moves a dialog, and what does not.

/// A peer of RFC 2543: the missing tag is part of the name, and requests have none either.
#[test]
fn a_2xx_without_a_to_tag_makes_a_dialog_all_the_same() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    let dialog = hear(&mut rig, &response(&invite, "200 OK", "", &format!("{CONTACT}{BODY}"))).dialog;
    assert_eq!(header(&sent(&rig.drain(), "ACK"), "To"), Some("<sip:bob@192.0.2.2:5060>"));
    rig.machine.bye(rig.now, dialog.unwrap(), &Content::NONE).unwrap();
    assert_eq!(header(&sent(&rig.drain(), "BYE"), "To"), Some("<sip:bob@192.0.2.2:5060>"));
}

/// RFC 6141 §4.7, §4.9
#[test]
fn an_unreliable_response_moves_no_target() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    let dialog = hear(&mut rig, &response(&invite, "180 Ringing", "b1", CONTACT)).dialog.unwrap();
    let moved = "Contact: <sip:bob@192.0.2.2:5077>\r\n";
    hear(&mut rig, &response(&invite, "183 Session Progress", "b1", moved));
    rig.machine.request_in(rig.now, dialog, Method::Info, 0, &Content::NONE).unwrap();
    assert!(sent(&rig.drain(), "INFO").starts_with("INFO sip:bob@192.0.2.2:5099"));
    hear(
        &mut rig,
        &response(&invite, "183 Session Progress", "b1", &format!("{moved}Require: 100rel\r\nRSeq: 1\r\n")),
    );
    assert!(sent(&rig.drain(), "PRACK").starts_with("PRACK sip:bob@192.0.2.2:5077"));
}

/// RFC 3261 §12.2: the route set never changes again.
#[test]
fn record_routes_inside_a_dialog_change_nothing() {
    let mut call = Call::placed(config(), "Record-Route: <sip:192.0.2.7;lr>\r\n");
    let reinvite = call.sent(Method::Invite, SDP);
    assert_eq!(header(&reinvite, "Route"), Some("<sip:192.0.2.7;lr>"));
    call.answer(&reinvite, "200 OK", &format!("{CONTACT}Record-Route: <sip:192.0.2.8;lr>\r\n{BODY}"));
    assert_eq!(header(&sent(&call.rig.drain(), "ACK"), "Route"), Some("<sip:192.0.2.7;lr>"));
    call.ask("UPDATE", "Record-Route: <sip:192.0.2.9;lr>\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(header(&call.sent(Method::Info, Content::NONE), "Route"), Some("<sip:192.0.2.7;lr>"));
}

/// RFC 3261 §15: the caller may hang up an early dialog, the callee may not; who does all the same is answered.
#[test]
fn who_may_hang_up_an_early_call() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    let dialog = hear(&mut rig, &response(&invite, "180 Ringing", "b1", CONTACT)).dialog.unwrap();
    hear(&mut rig, &response(&invite, "180 Ringing", "b2", CONTACT));
    rig.machine.bye(rig.now, dialog, &Content::NONE).unwrap();
    assert_eq!(header(&sent(&rig.drain(), "BYE"), "To"), Some("<sip:bob@192.0.2.2:5060>;tag=b1"));
    let from = format!("{};tag=b2", header(&invite, "To").unwrap());
    let mut call = Call::of(rig, invite.clone(), dialog, from, header(&invite, "From").unwrap().into());
    let (_, out) = call.ask("BYE", "Content-Length: 0\r\n\r\n");
    sent(&out, "SIP/2.0 200");
    assert_eq!(told(&out, "RemoteBye"), 1);
    // The INVITE goes on: another fork may answer.
    let ok = response(&invite, "200 OK", "b3", &format!("{CONTACT}{BODY}"));
    assert!(hear(&mut call.rig, &ok).text.starts_with("Answered"));

    let mut call = Call::ringing(config(), BODY);
    assert_eq!(call.rig.machine.bye(call.rig.now, call.dialog, &Content::NONE), Err(Misuse::WrongState));
    call.rig.machine.ring(call.rig.now, call.dialog, Status::RINGING, &Content::NONE).unwrap();
    call.us = header(&sent(&call.rig.drain(), "SIP/2.0 180"), "To").unwrap().into();
    let (_, out) = call.ask("BYE", "Content-Length: 0\r\n\r\n");
    sent(&out, "SIP/2.0 200");
    sent(&out, "SIP/2.0 487");
}

/// RFC 5057 §5.1, every code: what a failure of a re-INVITE ends, with a subscription in the same dialog.
#[test]
fn mid_dialog_failures_by_their_table() {
    for row in include_str!("data/fsm/mid_dialog_failures.tsv").lines().skip(1) {
        let mut cells = row.split('\t');
        let (code, ends) = (cells.next().unwrap(), cells.next().unwrap());
        let code: u16 = match code {
            "4xx-other" => 470,
            "5xx-other" => 570,
            "6xx-other" => 670,
            code => code.parse().unwrap(),
        };
        // Only to SUBSCRIBE and NOTIFY: subscriptions.rs has them.
        let ends = if code == 489 { "transaction" } else { ends };
        let mut call = Call::placed(config(), "");
        let new = NewSubscription::new("", "dialog");
        call.rig.machine.subscribe_in(call.rig.now, call.dialog, &new).unwrap();
        let subscribe = sent(&call.rig.drain(), "SUBSCRIBE");
        call.answer(&subscribe, "200 OK", "Expires: 3600\r\n");
        call.ask(
            "NOTIFY",
            "Event: dialog\r\nSubscription-State: active;expires=3600\r\nContent-Length: 0\r\n\r\n",
        );
        let reinvite = call.sent(Method::Invite, SDP);
        call.answer(&reinvite, &format!("{code} Failure"), "");
        let out = call.rig.drain();
        let found =
            (told(&out, "Ended {") - told(&out, "SubscriptionEnded {"), told(&out, "SubscriptionEnded"));
        let wanted = match ends {
            "transaction" => (0, 0),
            "usage" => (1, 0),
            "dialog" => (1, 1),
            other => panic!("{other}"),
        };
        assert_eq!(found, wanted, "{code} {ends}: {out:?}");
        // To a peer that does not know that it is over, too.
        assert_eq!(sends(&out, "BYE").len(), usize::from(ends != "transaction"), "{code}");
    }
}

// What other stacks got wrong (the names are those of their issues).

/// resip tfdum SessionTimerUasRefresher
#[test]
fn the_callee_may_be_the_one_who_refreshes() {
    let mut call =
        Call::taken(config(), "Supported: timer\r\nAllow: UPDATE\r\nSession-Expires: 200;refresher=uas\r\n");
    let out = call.rig.run_until(ms(100_000));
    assert_eq!(sends(&out, "UPDATE"), [100_000]);
    let update = sent(&out, "UPDATE");
    // In its own request it is the client.
    assert_eq!(header(&update, "Session-Expires"), Some("200;refresher=uac"));
    call.answer(&update, "200 OK", "Session-Expires: 200;refresher=uac\r\n");
    assert_eq!(sends(&call.rig.run_until(ms(200_000)), "UPDATE"), [200_000]);
}

/// rsipstack#46: a call that is up stays up.
#[test]
fn a_call_is_accepted_once() {
    let mut call = Call::taken(config(), "");
    for _ in 0..2 {
        assert_eq!(call.rig.machine.accept(call.rig.now, call.dialog, &SDP), Err(Misuse::WrongState));
        let busy = call.rig.machine.reject(call.rig.now, call.dialog, Status::BUSY_HERE, &Content::NONE);
        assert_eq!(busy, Err(Misuse::WrongState));
    }
    assert_eq!(call.rig.drain(), []);
    assert!(call.sent(Method::Info, Content::NONE).starts_with("INFO"));
}

/// siphon-rs#72: no two calls share a tag or a Call-ID.
#[test]
fn each_call_has_its_own_names() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (one, other) = (place(&mut rig, SDP).1, place(&mut rig, SDP).1);
    assert_ne!(header(&one, "From"), header(&other, "From"));
    assert_ne!(header(&one, "Call-ID"), header(&other, "Call-ID"));
}

/// livekit/sip#467, #745: nothing but an INVITE is acknowledged.
#[test]
fn no_ack_for_a_bye_or_an_update() {
    let mut call = Call::placed(config(), "");
    let update = call.sent(Method::Update, SDP);
    call.answer(&update, "200 OK", &format!("{CONTACT}{BODY}"));
    call.rig.machine.bye(call.rig.now, call.dialog, &Content::NONE).unwrap();
    let bye = sent(&call.rig.drain(), "BYE");
    call.answer(&bye, "200 OK", "");
    assert_eq!(sends(&call.rig.run_until(ms(100_000)), "ACK"), [] as [u64; 0]);
}

/// pjproject#4541, belle-sip#8: the ACK goes where Contact and route say, port and all.
#[test]
fn the_ack_goes_to_the_port_of_the_contact() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    let moved = format!("Contact: <sip:bob@192.0.2.66:5099>\r\n{BODY}");
    hear(&mut rig, &response(&invite, "200 OK", "b1", &moved));
    let out = rig.drain();
    assert!(
        matches!(&out[0], Out::Sent { to, bytes, .. } if to == "192.0.2.66:5099" && bytes.starts_with("ACK"))
    );
}

/// siphon-sip#113, #119: the PRACK goes by the Contact, tag and route of its own response.
#[test]
fn each_prack_goes_by_its_own_fork() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    for (tag, port) in [("b1", 5071), ("b2", 5072)] {
        let extra = format!("Contact: <sip:bob@192.0.2.2:{port}>\r\nRequire: 100rel\r\nRSeq: 1\r\n");
        hear(&mut rig, &response(&invite, "183 Session Progress", tag, &extra));
        let out = rig.drain();
        let prack = sent(&out, "PRACK");
        assert!(header(&prack, "To").unwrap().ends_with(tag));
        assert!(
            out.iter().any(|out| matches!(out, Out::Sent { to, .. } if *to == format!("192.0.2.2:{port}")))
        );
    }
}

/// resip tfdum UASPrackStrayPrack, and one outside any dialog.
#[test]
fn a_stray_prack_gets_481() {
    let mut call = Call::taken(config(), "");
    let (_, out) = prack(&mut call, "1 1 INVITE", "");
    sent(&out, "SIP/2.0 481");
}

/// resip tfdum ReinviteNo200, ReinviteWithByeSentAfterMissedAck: a re-INVITE that nobody answers ends the session with a BYE.
#[test]
fn a_reinvite_without_an_answer_ends_the_call() {
    let mut call = Call::placed(config(), "");
    call.sent(Method::Invite, SDP);
    let out = call.rig.run_until(ms(32_000));
    assert_eq!(sends(&out, "BYE"), [32_000]);
    assert_eq!((told(&out, "Lost"), told(&out, "RequestEnded")), (1, 1));
    call.rig.run_until(ms(100_000));
    assert!(call.rig.machine.is_idle());
}

/// resip tfdum ByesCrossedOnTheWire
#[test]
fn byes_that_cross_are_both_answered() {
    let mut call = Call::placed(config(), "");
    call.rig.machine.bye(call.rig.now, call.dialog, &Content::NONE).unwrap();
    let bye = sent(&call.rig.drain(), "BYE");
    let (_, out) = call.ask("BYE", "Content-Length: 0\r\n\r\n");
    sent(&out, "SIP/2.0 200");
    call.answer(&bye, "481 Call/Transaction Does Not Exist", "");
    assert_eq!(told(&call.rig.drain(), "Ended {"), 1);
    call.rig.run_until(ms(100_000));
    assert!(call.rig.machine.is_idle());
}

/// RFC 3261 §12.1.2: Call-ID and From of the dialog are the INVITE's, whatever the response made of them. Found in the simulator.
#[test]
fn a_response_does_not_rename_this_side() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    let (call_id, from) = (header(&invite, "Call-ID").unwrap(), header(&invite, "From").unwrap());
    let ok = response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}"));
    let ok = ok.replace(call_id, "other").replace(from, "<sip:other@x>;tag=other");
    assert!(hear(&mut rig, &ok).dialog.is_some());
    let ack = sent(&rig.drain(), "ACK");
    assert_eq!((header(&ack, "Call-ID"), header(&ack, "From")), (Some(call_id), Some(from)));
    assert_eq!(hear(&mut rig, &ok).dialog, None);
    assert_eq!(sent(&rig.drain(), "ACK"), ack);
}

/// RFC 3311 §5.1: the answer to an offer stands in the response to it, not in a request of this side's own.
#[test]
fn a_request_does_not_answer_an_open_offer() {
    let mut call = Call::taken(config(), "");
    let (heard, _) = call.ask("UPDATE", BODY);
    assert_eq!(call.offer(), Offer::Remote);
    for method in [Method::Invite, Method::Update] {
        assert_eq!(call.send(method, SDP), Err(Misuse::WrongState));
    }
    assert_eq!(call.offer(), Offer::Remote);
    call.respond(heard.txn.unwrap(), 200, SDP);
    assert_eq!(call.offer(), Offer::Stable);
}

/// RFC 3261 §12.2.1.1: whatever has been sent before, the Request-URI, the routes and the Contact are the dialog's of now.
#[test]
fn a_request_that_is_sent_again_goes_by_the_dialog_as_it_is_now() {
    let mut call = Call::placed(config(), "Record-Route: <sip:192.0.2.7>\r\n");
    let first = call.sent(Method::Invite, SDP);
    call.answer(&first, "491 Request Pending", "");
    let (update, _) = call.ask("UPDATE", "Contact: <sip:bob@192.0.2.2:5098>\r\n");
    assert!(update.txn.is_none(), "without an offer it is answered at once");
    let again = sent(&call.rig.run_until(ms(5_000)), "INVITE");
    // The router is strict: it stands first, the target last.
    assert!(again.starts_with("INVITE sip:192.0.2.7 "), "{again}");
    assert_eq!(header(&again, "Route"), Some("<sip:bob@192.0.2.2:5098>"));
    assert_eq!(again.matches("\nRoute:").count(), 1);
    assert_eq!(again.matches("\nContact:").count(), 1);
    for name in ["From", "To", "Call-ID", "Max-Forwards", "Session-Expires", "Allow", "Content-Type"] {
        assert_eq!(header(&again, name), header(&first, name), "{name}");
        assert!(again.matches(&format!("\n{name}:")).count() <= 1, "{name}");
    }
    let number = |request: &str| -> u32 {
        header(request, "CSeq").unwrap().split(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(number(&again), number(&first) + 1);
    assert!(again.ends_with("v=0\r\n"));
}

/// RFC 3261 §15: the callee hangs up after the ACK, or when none has come in time, though the peer may know of nothing by then.
#[test]
fn a_failure_before_the_ack_waits_with_its_bye() {
    for acked in [true, false] {
        let mut call = Call::ringing(config(), BODY);
        call.rig.machine.accept(call.rig.now, call.dialog, &SDP).unwrap();
        call.us = header(&sent(&call.rig.drain(), "SIP/2.0 200"), "To").unwrap().into();
        let info = call.sent(Method::Info, Content::NONE);
        call.answer(&info, "200 OK", "");
        let info = call.sent(Method::Info, Content::NONE);
        call.answer(&info, "481 Call/Transaction Does Not Exist", "");
        let out = call.rig.run_until(ms(31_999));
        assert_eq!((sends(&out, "BYE"), told(&out, "reason:")), (vec![], 0));
        if acked {
            let ack = call.request("ACK", 1, "");
            hear(&mut call.rig, &ack);
        }
        let out = call.rig.run_until(ms(100_000));
        assert_eq!(sends(&out, "BYE")[0], if acked { 31_999 } else { 32_000 });
        assert_eq!(told(&out, "reason:"), 1);
        assert!(call.rig.machine.is_idle());
    }
}

/// RFC 4028 §7.4: an UPDATE that only refreshes is tried again where it met another; where it is not taken, the user has the session to try with.
#[test]
fn a_refresh_that_is_refused_is_tried_again_or_the_users() {
    let mut call = Call::placed(timed(120, None), "Allow: UPDATE\r\nSession-Expires: 120;refresher=uac\r\n");
    let update = sent(&call.rig.run_until(ms(60_000)), "UPDATE");
    call.answer(&update, "491 Request Pending", "");
    let update = sent(&call.rig.run_until(ms(65_000)), "UPDATE");
    call.answer(&update, "405 Method Not Allowed", "");
    assert_eq!(told(&call.rig.drain(), "RefreshDue"), 1);
    let reinvite = call.sent(Method::Invite, SDP);
    let agreed = format!("{CONTACT}Session-Expires: 120;refresher=uac\r\n{BODY}");
    call.answer(&reinvite, "200 OK", &agreed);
    call.rig.drain();
    let out = call.rig.run_until(ms(125_000));
    assert_eq!((sends(&out, "UPDATE").len(), told(&out, "RefreshDue"), told(&out, "reason:")), (0, 1, 0));
}

/// What was hung up while it rang is over for its user: a copy of the 180 that comes late says nothing, and a 2xx brings no second BYE.
#[test]
fn what_was_hung_up_while_it_rang_is_not_told_of_again() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    let ringing = response(&invite, "180 Ringing", "b1", CONTACT);
    let dialog = hear(&mut rig, &ringing).dialog.unwrap();
    rig.machine.bye(rig.now, dialog, &Content::NONE).unwrap();
    let bye = sent(&rig.drain(), "BYE");
    assert_eq!(hear(&mut rig, &ringing).text, "");
    hear(&mut rig, &response(&bye, "200 OK", "", ""));
    rig.drain();
    let reliable =
        response(&invite, "183 Session Progress", "b1", &format!("{CONTACT}Require: 100rel\r\nRSeq: 1\r\n"));
    for late in [&ringing, &reliable] {
        assert_eq!(hear(&mut rig, late).text, "");
        assert_eq!(rig.drain(), []);
    }
    assert_eq!(hear(&mut rig, &response(&invite, "200 OK", "b1", CONTACT)).text, "");
    let out = rig.drain();
    assert_eq!((sends(&out, "ACK").len(), sends(&out, "BYE").len()), (1, 0));
}

/// Sofia's check_session 4.2: a BYE is challenged while the session runs out. It is sent again, and the call ends once.
#[test]
fn a_bye_that_is_challenged() {
    let mut config = with_credentials();
    config.session_timer.expires = Some(Duration::from_secs(90));
    let mut call = Call::placed(config, "Session-Expires: 90;refresher=uas\r\n");
    call.rig.run_until(ms(59_900));
    call.rig.machine.bye(call.rig.now, call.dialog, &Content::NONE).unwrap();
    let first = sent(&call.rig.drain(), "BYE");
    let out = call.rig.run_until(ms(60_100));
    assert_eq!(told(&out, "reason:"), 0, "it is being ended already");
    call.answer(
        &first,
        "401 Unauthorized",
        "WWW-Authenticate: Digest realm=\"x\", nonce=\"n\", qop=\"auth\"\r\n",
    );
    let second = sent(&call.rig.drain(), "BYE");
    assert!(header(&second, "Authorization").is_some());
    call.answer(&second, "200 OK", "");
    let out = call.rig.run_until(ms(200_000));
    assert_eq!((sends(&out, "BYE").len(), told(&out, "LocalBye")), (0, 1));
    assert!(call.rig.machine.is_idle());
}

/// RFC 4916, JAIN's LooseDialogValidation: tags and Call-ID name a dialog, and not the URIs of From and To.
#[test]
fn the_uris_of_from_and_to_name_no_dialog() {
    let mut call = Call::placed(config(), "");
    (call.peer, call.us) =
        ("<sip:other@example.org>;tag=b1".into(), call.us.replace("alice@example.com", "x@y"));
    assert!(call.ask("INFO", "").0.txn.is_some());
}

/// JAIN's MultipleContacts: RFC 3261 §8.1.1.8 wants one. An INVITE with several gets 400; of several in a 2xx the first counts.
#[test]
fn several_contacts() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let call = Call::of(
        rig,
        String::new(),
        DialogId::from_bits(0),
        "<sip:bob@x>;tag=b1".into(),
        "<sip:alice@x>".into(),
    );
    let invite =
        call.request("INVITE", 1, &format!("Contact: <sip:a@192.0.2.2>, <sip:b@192.0.2.2>\r\n{BODY}"));
    rig = call.rig;
    assert!(hear(&mut rig, &invite).text.contains("400"));
    rig.drain();
    let (_, invite) = place(&mut rig, SDP);
    let two = "Contact: <sip:a@192.0.2.2:5097>, <sip:b@192.0.2.2:5098>\r\n";
    hear(&mut rig, &response(&invite, "200 OK", "b1", &format!("{two}{BODY}")));
    assert!(sent(&rig.drain(), "ACK").starts_with("ACK sip:a@192.0.2.2:5097 "));
}

/// The digest is over the URI as it is sent, escapes and case and all (RFC 3261 §22.4, item 5).
#[test]
fn the_uri_is_hashed_as_sent() {
    let mut rig = Rig::new(UserAgent::new(with_credentials()));
    let uri = format!("sip:%62OB@{PEER};X=y");
    rig.machine.request(rig.now, &NewRequest::new(Method::Options, &uri)).unwrap();
    let first = sent(&rig.drain(), "OPTIONS");
    hear(&mut rig, &response(&first, "407 Proxy Authentication Required", "b1", CHALLENGE));
    let second = sent(&rig.drain(), "OPTIONS");
    assert!(second.starts_with(&format!("OPTIONS {uri} ")));
    assert!(header(&second, "Proxy-Authorization").unwrap().contains(&format!("uri=\"{uri}\"")), "{second}");
}

/// `lr` with a value is `lr` (RFC 3261 §16.4): some routers write `lr=on`.
#[test]
fn lr_with_a_value_is_loose() {
    let mut call = Call::placed(config(), "Record-Route: <sip:192.0.2.7;lr=on>\r\n");
    let info = call.sent(Method::Info, Content::NONE);
    assert!(info.starts_with("INFO sip:bob@192.0.2.2:5099 "));
    assert_eq!(header(&info, "Route"), Some("<sip:192.0.2.7;lr=on>"));
}

/// The ACK and what follows it go by the connection that is there (RFC 3261 §18.1.1, RFC 5923).
#[test]
fn an_ack_opens_no_second_connection() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let uri = format!("sip:bob@{PEER};transport=tcp");
    rig.machine.invite(rig.now, &NewInvite { content: SDP, ..NewInvite::new(&uri) }).unwrap();
    rig.drain();
    let flow = sip_core::FlowId::from_bits(0);
    rig.machine.flow_opened(rig.now, flow, US.parse().unwrap());
    let invite = sent(&rig.drain(), "INVITE");
    let mut buf = sip_core::framing::StreamBuf::new();
    let contact = format!("Contact: <sip:bob@{PEER};transport=tcp>\r\n");
    buf.extend(response(&invite, "200 OK", "b1", &format!("{contact}{BODY}")).as_bytes());
    assert!(rig.machine.stream(rig.now, flow, &mut buf).is_some());
    let [Out::Sent { to, bytes, .. }] = &rig.drain()[..] else { panic!("only the ACK goes out") };
    assert!(bytes.starts_with("ACK ") && *to == format!("{flow:?}"));
}

/// RFC 3261 §15.1.1, RFC 5407 §3.2: with the BYE the session is over; what the peer still wants to change in it is refused at once.
#[test]
fn a_bye_refuses_the_reinvite_that_waits() {
    let mut call = Call::placed(config(), "");
    let (reinvite, _) = call.ask("INVITE", BODY);
    call.rig.machine.bye(call.rig.now, call.dialog, &Content::NONE).unwrap();
    let out = call.rig.drain();
    sent(&out, "SIP/2.0 487");
    assert_eq!(told(&out, "Withdrawn"), 1);
    assert!(call.rig.machine.respond(call.rig.now, reinvite.txn.unwrap(), Status::OK, &SDP).is_err());
    let bye = sent(&out, "BYE");
    call.answer(&bye, "200 OK", "");
    let out = call.rig.run_until(ms(60_000));
    assert_eq!((sends(&out, "BYE").len(), told(&out, "LocalBye")), (0, 1));
    assert!(call.rig.machine.is_idle());
}

/// After the BYE nothing of the session is sent again, though it is challenged.
#[test]
fn what_is_challenged_after_a_bye_is_not_sent_again() {
    for (method, status, extra) in [
        (Method::Invite, "401 Unauthorized", "WWW-Authenticate: Digest realm=\"x\", nonce=\"n\"\r\n"),
        (Method::Info, "401 Unauthorized", "WWW-Authenticate: Digest realm=\"x\", nonce=\"n\"\r\n"),
        (Method::Update, "422 Session Interval Too Small", "Min-SE: 900\r\n"),
    ] {
        let mut config = with_credentials();
        config.session_timer.expires = Some(Duration::from_secs(90));
        let mut call = Call::placed(config, "Session-Expires: 90;refresher=uac\r\n");
        let request = call.sent(method, Content::NONE);
        call.rig.machine.bye(call.rig.now, call.dialog, &Content::NONE).unwrap();
        call.rig.drain();
        assert!(call.answer(&request, status, extra).text.starts_with("Response"), "{method}");
        let out = call.rig.run_until(ms(1_000));
        assert_eq!(sends(&out, &method.to_string()), [] as [u64; 0], "{method}");
    }
}

/// A 2xx that comes when the session is over sets no timer: nothing is left.
#[test]
fn a_refresh_that_comes_too_late_sets_no_timer() {
    let mut call = Call::placed(timed(90, None), "Allow: UPDATE\r\nSession-Expires: 90;refresher=uac\r\n");
    let update = sent(&call.rig.run_until(ms(45_000)), "UPDATE");
    call.ask("BYE", "");
    call.answer(&update, "200 OK", "Session-Expires: 4294967295;refresher=uac\r\n");
    call.rig.run_until(ms(90_000));
    assert!(call.rig.machine.is_idle());
    assert_eq!(call.rig.machine.deadline(), None);
}

/// RFC 4028 §10: a change that was under way when the refresh was due, and failed, is none: the refresh comes after it.
#[test]
fn a_refresh_follows_a_change_that_failed() {
    let mut call = Call::placed(timed(90, None), "Allow: UPDATE\r\nSession-Expires: 90;refresher=uac\r\n");
    call.rig.run_until(ms(44_900));
    let reinvite = call.sent(Method::Invite, SDP);
    call.answer(&reinvite, "100 Trying", "");
    let out = call.rig.run_until(ms(46_000));
    assert_eq!(sends(&out, "UPDATE"), [] as [u64; 0]);
    call.answer(&reinvite, "488 Not Acceptable Here", "");
    let out = call.rig.run_until(ms(50_000));
    assert_eq!(sends(&out, "UPDATE")[0], 47_000);
}

/// RFC 4028 §7.4: the largest Min-SE that was told in the dialog stands in what refreshes it.
#[test]
fn the_least_interval_is_remembered() {
    let mut call = Call::placed(timed(600, None), "Allow: UPDATE\r\nSession-Expires: 600;refresher=uac\r\n");
    call.ask("UPDATE", "Supported: timer\r\nSession-Expires: 600;refresher=uas\r\nMin-SE: 300\r\n");
    let refresh = sent(&call.rig.run_until(ms(300_000)), "UPDATE");
    assert_eq!(header(&refresh, "Min-SE"), Some("300"));
}

/// RFC 3261 §12.2.2: in a dialog that is over nothing is taken, though copies of its 2xx may still come.
#[test]
fn a_dialog_that_is_over_takes_nothing() {
    let mut config = config();
    config.methods.push(Method::Message);
    config.packages = vec!["presence".into()];
    let mut call = Call::placed(config, "");
    call.ask("BYE", "");
    for (method, extra) in [("SUBSCRIBE", "Event: presence\r\n"), ("MESSAGE", ""), ("OPTIONS", "")] {
        assert_eq!(
            call.ask(method, extra).1[0].line(),
            "SIP/2.0 481 Call/Transaction Does Not Exist",
            "{method}"
        );
    }
}

/// RFC 3261 §22.3: a callee that keeps its tag when it is called again with credentials is a dialog of its own all the same.
#[test]
fn a_tag_may_come_back_after_a_challenge() {
    let mut rig = Rig::new(UserAgent::new(with_credentials()));
    let (_, invite) = place(&mut rig, SDP);
    hear(&mut rig, &response(&invite, "180 Ringing", "b1", CONTACT));
    hear(&mut rig, &response(&invite, "407 Proxy Authentication Required", "b1", CHALLENGE));
    let again = sent(&rig.drain(), "INVITE");
    assert!(hear(&mut rig, &response(&again, "180 Ringing", "b1", CONTACT)).dialog.is_some());
    let ok = response(&again, "200 OK", "b1", &format!("{CONTACT}{BODY}"));
    let heard = hear(&mut rig, &ok);
    assert!(heard.text.starts_with("Answered"), "{}", heard.text);
    let out = rig.drain();
    assert_eq!((sends(&out, "ACK").len(), sends(&out, "BYE").len()), (1, 0));
    assert_eq!(rig.machine.dialogs().count(), 1);
}

/// What the machine writes itself is refused in content: a message would have it twice.
#[test]
fn content_has_no_contact_of_its_own() {
    let own = [("contact", "<sip:x@y>")];
    let content = Content::headers(&own);
    let mut rig = Rig::new(UserAgent::new(config()));
    let uri = format!("sip:bob@{PEER}");
    let invite = NewInvite { content, ..NewInvite::new(&uri) };
    assert_eq!(rig.machine.invite(rig.now, &invite), Err(Misuse::BadContent));
    let mut call = Call::taken(config(), "");
    assert_eq!(call.send(Method::Update, content), Err(Misuse::BadContent));
    let (reinvite, _) = call.ask("INVITE", BODY);
    let answered = call.rig.machine.respond(call.rig.now, reinvite.txn.unwrap(), Status::OK, &content);
    assert_eq!(answered, Err(Misuse::BadContent));
    // A redirection has the Contact that its user gives.
    let mut call = Call::ringing(config(), BODY);
    call.rig.machine.reject(call.rig.now, call.dialog, Status::new(302).unwrap(), &content).unwrap();
    assert_eq!(header(&sent(&call.rig.drain(), "SIP/2.0 302"), "contact"), Some("<sip:x@y>"));
    for method in [Method::Refer, Method::Subscribe, Method::Notify] {
        let mut call = Call::taken(config(), "");
        assert_eq!(call.send(method, Content::NONE), Err(Misuse::BadMethod), "{method}");
    }
}

/// A call has the name that its user gives it, and says what it is.
#[test]
fn a_dialog_can_be_looked_at() {
    use sip_core::ua::SessionState;
    let mut rig = Rig::new(UserAgent::new(config()));
    let uri = format!("sip:bob@{PEER}");
    let named = NewInvite { call_id: "a-b@leg2", ..NewInvite::new(&uri) };
    for bad in ["a b", "a\r\nb", "ü"] {
        let bad = NewInvite { call_id: bad, ..named };
        assert_eq!(rig.machine.invite(rig.now, &bad), Err(Misuse::BadContent));
    }
    rig.machine.invite(rig.now, &named).unwrap();
    let invite = sent(&rig.drain(), "INVITE");
    assert_eq!(header(&invite, "Call-ID"), Some("a-b@leg2"));
    let dialog = hear(&mut rig, &response(&invite, "180 Ringing", "b1", CONTACT)).dialog.unwrap();
    let view = rig.machine.view(dialog).unwrap();
    assert_eq!(
        (view.call_id, view.remote_tag, view.session),
        (&b"a-b@leg2"[..], &b"b1"[..], SessionState::Early)
    );
    assert_eq!((view.target, view.local_cseq, view.is_owner), (&b"sip:bob@192.0.2.2:5099"[..], 1, true));
    assert!(
        header(&invite, "From").unwrap().as_bytes() == view.local && view.local.ends_with(view.local_tag)
    );
    hear(&mut rig, &response(&invite, "200 OK", "b1", CONTACT));
    rig.machine.bye(rig.now, dialog, &Content::NONE).unwrap();
    assert_eq!(rig.machine.view(dialog).unwrap().session, SessionState::Terminating);
    rig.run_until(ms(100_000));
    assert_eq!(rig.machine.view(dialog), Err(Misuse::Gone));
    let route = "Record-Route: <sip:192.0.2.7;lr>\r\nSupported: 100rel\r\n";
    let mut call = Call::ringing(config(), &format!("{route}{BODY}"));
    let view = call.rig.machine.view(call.dialog).unwrap();
    assert_eq!((view.session, view.remote_cseq, view.is_owner), (SessionState::Ringing, Some(1), false));
    assert_eq!(
        (view.routes, view.contact),
        (&[b"<sip:192.0.2.7;lr>".to_vec()][..], &b"<sip:alice@192.0.2.1:5060>"[..])
    );
    assert!(view.knows_100rel && !view.awaits_ack);
    call.rig.machine.accept(call.rig.now, call.dialog, &SDP).unwrap();
    let view = call.rig.machine.view(call.dialog).unwrap();
    assert!(view.session == SessionState::Up && view.awaits_ack);
}

/// Two users behind one machine, in one realm: each call has credentials of its own, and its dialog goes on with them.
#[test]
fn a_call_has_credentials_of_its_own() {
    let mut rig = Rig::new(UserAgent::new(with_credentials()));
    let uri = format!("sip:bob@{PEER}");
    let carol = [Credentials::new("carol", "looking glass")];
    let place = NewInvite { credentials: &carol, content: SDP, ..NewInvite::new(&uri) };
    rig.machine.invite(rig.now, &place).unwrap();
    let first = sent(&rig.drain(), "INVITE");
    hear(&mut rig, &response(&first, "407 Proxy Authentication Required", "p", CHALLENGE));
    let again = sent(&rig.drain(), "INVITE");
    let is_carols =
        |request: &str| header(request, "Proxy-Authorization").unwrap().contains("username=\"carol\"");
    assert!(is_carols(&again));
    let ok = response(&again, "200 OK", "b1", &format!("{CONTACT}{BODY}"));
    let dialog = hear(&mut rig, &ok).dialog.unwrap();
    rig.drain();
    // They go where the dialog goes.
    let mut other = Rig::new(UserAgent::new(config()));
    let bytes = rig.machine.snapshot_dialog(rig.now, dialog).unwrap();
    let dialog = other.machine.restore_dialog(other.now, &bytes).unwrap();
    other.machine.request_in(other.now, dialog, Method::Info, 0, &Content::NONE).unwrap();
    assert!(is_carols(&sent(&other.drain(), "INFO")));
}

#[test]
fn a_call_is_ended_in_any_state() {
    let mut call = Call::ringing(config(), BODY);
    call.rig.machine.hang_up(call.rig.now, call.dialog, &Content::NONE).unwrap();
    sent(&call.rig.drain(), "SIP/2.0 603");
    assert_eq!(call.rig.machine.hang_up(call.rig.now, call.dialog, &Content::NONE), Err(Misuse::Gone));

    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    let dialog = hear(&mut rig, &response(&invite, "180 Ringing", "b1", CONTACT)).dialog.unwrap();
    rig.machine.hang_up(rig.now, dialog, &Content::NONE).unwrap();
    sent(&rig.drain(), "CANCEL");

    let mut call = Call::placed(config(), "");
    let why = [("Reason", "Q.850;cause=16")];
    call.rig.machine.hang_up(call.rig.now, call.dialog, &Content::headers(&why)).unwrap();
    assert_eq!(header(&sent(&call.rig.drain(), "BYE"), "Reason"), Some("Q.850;cause=16"));
    let again = call.rig.machine.hang_up(call.rig.now, call.dialog, &Content::NONE);
    assert_eq!(again, Err(Misuse::WrongState));
}
