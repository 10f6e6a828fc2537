//! Sessions in the less likely order: numbers that are not, offers that meet, PRACKs, timers, and what a BYE that failed leaves.

mod support;

use core::time::Duration;
use sip_core::headers::Refresher;
use sip_core::message::{Content, Method, Status};
use sip_core::ua::{Config, NewRefer, NewRequest, SessionTimer, UserAgent};
use sip_core::{Machine, Misuse};
use support::call::{BODY, CONTACT, Call, SDP, config, hear, place, sent};
use support::{PEER, Rig, header, ms, response, sends};

const RELIABLE: &str = "Contact: <sip:bob@192.0.2.2:5099>\r\nRequire: 100rel\r\n";

fn timer(timer: SessionTimer) -> Config {
    Config { session_timer: timer, ..config() }
}

/// A call of the peer's that is accepted and has no ACK yet.
fn accepted() -> Call {
    let mut call = Call::ringing(config(), BODY);
    call.rig.machine.accept(call.rig.now, call.dialog, &SDP).unwrap();
    call.us = header(&sent(&call.rig.drain(), "SIP/2.0 200"), "To").unwrap().into();
    call
}

/// RFC 3261 §13.2.2.4, §15: a BYE that the callee refused, or never answered, while it rang has hung nothing up.
#[test]
fn a_2xx_after_a_bye_that_failed_is_hung_up() {
    for refused in [true, false] {
        let mut rig = Rig::new(UserAgent::new(config()));
        let (_, invite) = place(&mut rig, SDP);
        let early = hear(&mut rig, &response(&invite, "180 Ringing", "b1", CONTACT)).dialog.unwrap();
        rig.machine.bye(rig.now, early, &Content::NONE).unwrap();
        let bye = sent(&rig.drain(), "BYE");
        if refused {
            hear(&mut rig, &response(&bye, "481 Call/Transaction Does Not Exist", "", ""));
        } else {
            rig.run_until(ms(40_000));
        }
        rig.drain();
        hear(&mut rig, &response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}")));
        let out = rig.drain();
        assert_eq!((sends(&out, "ACK").len(), sends(&out, "BYE").len()), (1, 1), "refused: {refused}");
    }
}

/// The same, where the machine itself hung up: its PRACK was refused.
#[test]
fn after_a_prack_that_was_refused() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    hear(&mut rig, &response(&invite, "183 Session Progress", "b1", &format!("{RELIABLE}RSeq: 1\r\n")));
    let prack = sent(&rig.drain(), "PRACK");
    hear(&mut rig, &response(&prack, "481 Call/Transaction Does Not Exist", "", ""));
    let bye = sent(&rig.drain(), "BYE");
    hear(&mut rig, &response(&bye, "481 Call/Transaction Does Not Exist", "", ""));
    rig.drain();
    hear(&mut rig, &response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}")));
    let out = rig.drain();
    assert_eq!((sends(&out, "ACK").len(), sends(&out, "BYE").len()), (1, 1));
}

/// RFC 3311 §5.1, the caller: the offer that an INVITE without one asks for comes first.
#[test]
fn no_offer_before_the_one_that_was_asked_for() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, Content::NONE);
    let early = hear(&mut rig, &response(&invite, "180 Ringing", "b1", CONTACT)).dialog.unwrap();
    let update = rig.machine.request_in(rig.now, early, Method::Update, 1, &SDP);
    rig.drain();
    let heard = hear(&mut rig, &response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}")));
    // As it is: the UPDATE goes out, and the offer of the 2xx is acknowledged by the machine without an answer.
    assert_eq!((update, heard.wants), (Err(Misuse::WrongState), true));
    assert_eq!(sends(&rig.drain(), "ACK").len(), 0);
}

/// The callee: of a call, and of a re-INVITE.
#[test]
fn nor_by_the_callee() {
    let mut call = Call::ringing(config(), "Supported: 100rel\r\nAllow: UPDATE\r\n");
    call.rig.machine.ring(call.rig.now, call.dialog, Status::RINGING, &Content::NONE).unwrap();
    let update = call.send(Method::Update, SDP);
    let accepted = call.rig.machine.accept(call.rig.now, call.dialog, &SDP);
    assert_eq!((update, accepted), (Err(Misuse::WrongState), Ok(())));
}

#[test]
fn nor_in_a_reinvite() {
    let mut call = Call::taken(config(), "");
    let txn = call.ask("INVITE", "").0.txn.unwrap();
    let update = call.send(Method::Update, SDP);
    let accepted = call.rig.machine.respond(call.rig.now, txn, Status::OK, &SDP);
    assert_eq!((update, accepted), (Err(Misuse::WrongState), Ok(())));
}

/// A re-INVITE without an offer that collided: it is not sent again while an offer of the peer is open.
#[test]
fn nor_when_it_is_sent_again() {
    let mut call = Call::placed(config(), "");
    let reinvite = call.sent(Method::Invite, Content::NONE);
    call.answer(&reinvite, "491 Request Pending", "");
    call.rig.drain();
    assert!(call.ask("UPDATE", BODY).0.txn.is_some(), "the user has not answered it yet");
    let out = call.rig.run_until(ms(4_200));
    assert_eq!(sends(&out, "INVITE"), [] as [u64; 0]);
}

/// RFC 3261 §15: who has hung up and waits for the ACK takes no re-INVITE; else the BYE waits for the peer's pleasure.
#[test]
fn a_reinvite_does_not_hold_up_a_bye() {
    let mut call = accepted();
    call.rig.machine.bye(call.rig.now, call.dialog, &Content::NONE).unwrap();
    let mut byes = 0;
    for round in 1..=5 {
        let (heard, _) = call.ask("INVITE", BODY);
        if let Some(txn) = heard.txn {
            call.respond(txn, 200, SDP);
        }
        byes += sends(&call.rig.run_until(ms(30_000 * round)), "BYE").len();
    }
    assert!(byes > 0, "150 s, and no BYE");
}

/// RFC 3262 §3, §4: after the first, several reliable responses may be out; each wants its PRACK.
#[test]
fn each_reliable_response_gets_its_prack() {
    let mut rig = Rig::new(UserAgent::new(Config { auto_prack: false, ..config() }));
    let (_, invite) = place(&mut rig, SDP);
    let reliable =
        |rseq| response(&invite, "183 Session Progress", "b1", &format!("{RELIABLE}RSeq: {rseq}\r\n"));
    let early = hear(&mut rig, &reliable(1)).dialog.unwrap();
    rig.machine.prack(rig.now, early, 1, &Content::NONE).unwrap();
    let prack = sent(&rig.drain(), "PRACK");
    hear(&mut rig, &response(&prack, "200 OK", "", ""));
    assert!(hear(&mut rig, &reliable(2)).wants && hear(&mut rig, &reliable(3)).wants);
    rig.machine.prack(rig.now, early, 2, &Content::NONE).unwrap();
    assert_eq!(header(&sent(&rig.drain(), "PRACK"), "RAck"), Some("2 1 INVITE"));
    rig.machine.prack(rig.now, early, 3, &Content::NONE).unwrap();
    assert_eq!(header(&sent(&rig.drain(), "PRACK"), "RAck"), Some("3 1 INVITE"));
}

/// RFC 6141 §4.6, §4.8: requests are ordered by their CSeq; a 2xx to the older one moves the target back nowhere.
#[test]
fn the_newest_request_moves_the_target() {
    for reliably in [false, true] {
        let mut call = Call::taken(config(), "Supported: 100rel\r\n");
        let require = if reliably { "Require: 100rel\r\n" } else { "" };
        let reinvite = format!("Contact: <sip:bob@192.0.2.2:6001>\r\n{require}{BODY}");
        let txn = call.ask("INVITE", &reinvite).0.txn.unwrap();
        if reliably {
            let ringing = sent(&call.respond(txn, 183, SDP), "SIP/2.0 183");
            let rack = format!("RAck: {} {} INVITE\r\n", header(&ringing, "RSeq").unwrap(), call.cseq);
            call.ask("PRACK", &rack);
        }
        sent(&call.ask("UPDATE", "Contact: <sip:bob@192.0.2.2:6002>\r\n").1, "SIP/2.0 200");
        call.respond(txn, 200, SDP);
        let target = call.rig.machine.view(call.dialog).unwrap().target;
        assert_eq!(String::from_utf8_lossy(target), "sip:bob@192.0.2.2:6002", "reliably: {reliably}");
    }
}

/// RFC 4028 §9: "The UAS MUST NOT increase the value of the Session-Expires"; a proxy asked, and counts by what it asked for.
#[test]
fn an_interval_is_never_raised() {
    let min = Duration::from_secs(300);
    let mut call = Call::ringing(
        timer(SessionTimer { min, ..SessionTimer::DEFAULT }),
        &format!("Session-Expires: 120\r\n{BODY}"),
    );
    call.rig.machine.accept(call.rig.now, call.dialog, &SDP).unwrap();
    let ok = sent(&call.rig.drain(), "SIP/2.0 200");
    assert_eq!(header(&ok, "Session-Expires"), Some("120;refresher=uas"));
}

/// RFC 4028 §7.3, §7.4: the interval was a proxy's; "the UAC MAY retry".
#[test]
fn a_422_for_who_asked_for_no_timer() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    assert!(header(&invite, "Supported").unwrap().contains("timer"));
    hear(&mut rig, &response(&invite, "422 Session Interval Too Small", "b", "Min-SE: 3600\r\n"));
    assert_eq!(header(&sent(&rig.drain(), "INVITE"), "Min-SE"), Some("3600"));
}

/// RFC 4028 §7.4: what is sent again says who refreshes as the first did, or as it is by now.
#[test]
fn a_422_leaves_the_refresher() {
    let expires = Some(Duration::from_secs(200));
    let mut rig = Rig::new(UserAgent::new(timer(SessionTimer {
        expires,
        refresher: Some(Refresher::Uas),
        ..SessionTimer::DEFAULT
    })));
    let (_, invite) = place(&mut rig, SDP);
    hear(&mut rig, &response(&invite, "422 Session Interval Too Small", "b", "Min-SE: 500\r\n"));
    assert_eq!(header(&sent(&rig.drain(), "INVITE"), "Session-Expires"), Some("500;refresher=uas"));
}

#[test]
fn a_refresh_that_collided_goes_by_the_terms_of_now() {
    let expires = Some(Duration::from_secs(600));
    let config = timer(SessionTimer { expires, ..SessionTimer::DEFAULT });
    let mut call = Call::placed(config, "Allow: UPDATE\r\nSession-Expires: 600;refresher=uac\r\n");
    let update = sent(&call.rig.run_until(ms(300_000)), "UPDATE");
    call.answer(&update, "491 Request Pending", "");
    // The peer's comes first, and from here on the peer refreshes.
    let (_, out) = call.ask("UPDATE", "Supported: timer\r\nSession-Expires: 400;refresher=uac\r\n");
    assert_eq!(header(&sent(&out, "SIP/2.0 200"), "Session-Expires"), Some("400;refresher=uac"));
    let out = call.rig.run_until(ms(305_000));
    let again = out.iter().find(|out| out.bytes().starts_with("UPDATE"));
    // Best not at all; else with the present terms.
    assert!(
        again.is_none_or(|again| header(again.bytes(), "Session-Expires") == Some("400;refresher=uas")),
        "{again:?}"
    );
}

/// RFC 5057 §5.1: 404 ends the dialog, 481 the usage; a call that rings here too, if the peer has known of it.
#[test]
fn a_call_that_rings_ends_with_its_dialog() {
    for status in ["404 Not Found", "481 Call/Transaction Does Not Exist"] {
        let mut call = Call::ringing(config(), BODY);
        call.rig.machine.ring(call.rig.now, call.dialog, Status::RINGING, &Content::NONE).unwrap();
        call.us = header(&sent(&call.rig.drain(), "SIP/2.0 180"), "To").unwrap().into();
        let info = call.sent(Method::Info, Content::NONE);
        call.answer(&info, "200 OK", "");
        let info = call.sent(Method::Info, Content::NONE);
        call.answer(&info, status, "");
        let accepted = call.rig.machine.accept(call.rig.now, call.dialog, &SDP);
        assert_eq!(accepted, Err(Misuse::Gone), "{status}");
    }
}

/// A method that has a command of its own, spelled as another.
#[test]
fn methods_by_any_name() {
    let mut call = Call::taken(config(), "");
    let mut took = Vec::new();
    for name in ["BYE", "ACK", "CANCEL", "PRACK", "SUBSCRIBE", "NOTIFY", "REFER"] {
        if call.send(Method::Other(name.as_bytes()), Content::NONE) != Err(Misuse::BadMethod) {
            took.push(format!(
                "{name} -> {:?}",
                call.rig.drain().iter().map(|out| out.line().to_owned()).collect::<Vec<_>>()
            ));
        }
    }
    let uri = format!("sip:bob@{PEER}");
    let outside = call.rig.machine.request(call.rig.now, &NewRequest::new(Method::Other(b"INVITE"), &uri));
    assert!(took.is_empty() && outside.is_err(), "{took:#?} {outside:?}");
}

/// RFC 5057 §5.5: the session is over, the subscription is not; a BYE that was never sent bars nothing.
#[test]
fn a_bye_that_waited_in_vain_is_forgotten() {
    let mut call = accepted();
    call.rig.machine.refer_in(call.rig.now, call.dialog, &NewRefer::new("<sip:carol@x>")).unwrap();
    let refer = sent(&call.rig.drain(), "REFER");
    call.answer(&refer, "202 Accepted", CONTACT);
    call.rig.machine.bye(call.rig.now, call.dialog, &Content::NONE).unwrap();
    sent(&call.ask("BYE", "").1, "SIP/2.0 200");
    call.send(Method::Options, Content::NONE).unwrap();
}

/// Nothing more is sent in what was hung up: the user's PRACK neither.
#[test]
fn no_prack_of_the_user_after_a_bye() {
    let mut rig = Rig::new(UserAgent::new(Config { auto_prack: false, ..config() }));
    let (_, invite) = place(&mut rig, SDP);
    let reliable = response(&invite, "183 Session Progress", "b1", &format!("{RELIABLE}RSeq: 1\r\n"));
    let early = hear(&mut rig, &reliable).dialog.unwrap();
    rig.machine.bye(rig.now, early, &Content::NONE).unwrap();
    rig.drain();
    assert_eq!(rig.machine.prack(rig.now, early, 3, &Content::NONE), Err(Misuse::WrongState));
}

/// RFC 3262 §5: the PRACK for an offer holds the answer. Without, the 2xx is thought to hold an offer.
#[test]
fn a_prack_that_owes_the_answer_holds_it() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, Content::NONE);
    let reliable = response(&invite, "183 Session Progress", "b1", &format!("{RELIABLE}RSeq: 1\r\n{BODY}"));
    let early = hear(&mut rig, &reliable).dialog.unwrap();
    let prack = rig.machine.prack(rig.now, early, 1, &Content::NONE);
    rig.drain();
    let wants = hear(&mut rig, &response(&invite, "200 OK", "b1", CONTACT)).wants;
    assert!(prack.is_err() || !wants, "{prack:?}: the 2xx has no offer, and wants an answer");
}

/// RFC 3311 §4: a reliable provisional response with SDP lists UPDATE, or no caller sends one early.
#[test]
fn a_reliable_response_says_that_update_is_taken() {
    let mut call = Call::ringing(config(), &format!("Supported: 100rel\r\n{BODY}"));
    let progress = Status::new(183).unwrap();
    call.rig.machine.ring_reliably(call.rig.now, call.dialog, progress, &SDP).unwrap();
    let ringing = sent(&call.rig.drain(), "SIP/2.0 183");
    assert!(header(&ringing, "Allow").is_some_and(|allow| allow.contains("UPDATE")), "{ringing}");
}

/// RFC 4028 §7.1: Supported with `timer` "in each request (except ACK)".
#[test]
fn each_request_supports_timer() {
    let mut call = Call::taken(config(), "");
    let info = call.sent(Method::Info, Content::NONE);
    assert!(header(&info, "Supported").is_some_and(|tags| tags.contains("timer")));
}

#[test]
fn replaces_that_cant_be_read() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let invite = format!(
        "INVITE sip:alice@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKr1\r\nFrom: <sip:b@x>;tag=z\r\nTo: <sip:a@x>\r\n\
         Call-ID: rr\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n{CONTACT}Require: replaces\r\nReplaces: @@;;to-tag\r\n{BODY}"
    );
    hear(&mut rig, &invite);
    assert_eq!(sends(&rig.drain(), "SIP/2.0 400").len(), 1);
}

/// RFC 3261 §13.2.2.4: the ACK has the number of the INVITE; a 2xx with another number is none of its, and no second answer.
#[test]
fn a_2xx_with_another_number() {
    let mut call = Call::placed(config(), "");
    let reinvite = call.sent(Method::Invite, SDP);
    let ok = response(&reinvite, "200 OK", "b1", &format!("{CONTACT}{BODY}"));
    let (mut answers, mut acks) = (0, 0);
    for number in 2..2_002 {
        let heard = hear(&mut call.rig, &ok.replace("CSeq: 2 INVITE", &format!("CSeq: {number} INVITE")));
        answers += usize::from(heard.text.starts_with("Response"));
        acks += call
            .rig
            .drain()
            .iter()
            .filter(|out| out.bytes().starts_with("ACK") && !out.bytes().contains("CSeq: 2 ACK"))
            .count();
    }
    // The re-INVITE is long over.
    call.rig.run_until(ms(100_000));
    let retained = call.rig.machine.stats().retained_bytes;
    assert_eq!((answers, acks, retained < 10_000), (1, 0, true), "{retained} bytes are retained");
}

/// The same of the first INVITE: its dialog is not that of another number.
#[test]
fn the_first_invite() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    let ok = response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}"));
    hear(&mut rig, &ok.replace("CSeq: 1 INVITE", "CSeq: 77 INVITE"));
    hear(&mut rig, &ok);
    let out = rig.drain();
    let acks: Vec<_> = out.iter().filter_map(|out| header(out.bytes(), "CSeq")).collect();
    assert_eq!(acks, ["1 ACK"]);
}

/// A callee that counts its reliable responses up makes this side open a transaction for each.
#[test]
fn pracks_without_end() {
    let mut c = config();
    c.core.limits.transactions = 2_000;
    let mut rig = Rig::new(UserAgent::new(c));
    let (_, invite) = place(&mut rig, SDP);
    for rseq in 1..=3_000 {
        hear(
            &mut rig,
            &response(&invite, "183 Session Progress", "b1", &format!("{RELIABLE}RSeq: {rseq}\r\n")),
        );
        rig.drain();
    }
    let stats = rig.machine.stats();
    let uri = format!("sip:carol@{PEER}");
    let other = rig.machine.invite(rig.now, &sip_core::ua::NewInvite::new(&uri));
    assert!(stats.client_transactions < 100 && other.is_ok(), "{stats:?} {other:?}");
}

/// RFC 3261 §19.1.1: headers in a Contact are not for the Request-URI.
#[test]
fn a_target_has_no_headers() {
    for (contact, target) in [
        ("<sip:bob@192.0.2.2:5099?Subject=x&y=z>", "sip:bob@192.0.2.2:5099"),
        ("<sip:b?b@192.0.2.2:5099;x=y>", "sip:b?b@192.0.2.2:5099;x=y"),
    ] {
        let mut rig = Rig::new(UserAgent::new(config()));
        let (_, invite) = place(&mut rig, SDP);
        let ok = response(&invite, "200 OK", "b1", &format!("Contact: {contact}\r\n{BODY}"));
        let dialog = hear(&mut rig, &ok).dialog.unwrap();
        rig.drain();
        rig.machine.bye(rig.now, dialog, &Content::NONE).unwrap();
        let bye = sent(&rig.drain(), "BYE");
        assert_eq!(bye.split(' ').nth(1), Some(target));
    }
}

/// RFC 3261 §13.2.1: the answer stands in the first reliable response that is no failure, at last in the 2xx.
#[test]
fn an_answer_that_is_owed_must_be_there() {
    let mut call = Call::ringing(config(), BODY);
    assert_eq!(call.rig.machine.accept(call.rig.now, call.dialog, &Content::NONE), Err(Misuse::BadContent));
    call.rig.machine.accept(call.rig.now, call.dialog, &SDP).unwrap();
    // Behind a reliable response that has no PRACK yet, it may be one that waits.
    for said in [Content::NONE, SDP] {
        let mut call = Call::ringing(config(), &format!("Supported: 100rel\r\n{BODY}"));
        let (now, dialog) = (call.rig.now, call.dialog);
        let ring = |call: &mut Call, content| {
            call.rig.machine.ring_reliably(now, dialog, Status::SESSION_PROGRESS, &content).unwrap();
        };
        ring(&mut call, Content::NONE);
        ring(&mut call, said);
        // It would have to wait for a PRACK only if something else does.
        let done = call.rig.machine.accept(now, dialog, &Content::NONE);
        assert_eq!(done, if said.body.is_empty() { Err(Misuse::BadContent) } else { Ok(()) });
    }
    // The same for a re-INVITE, and for the ACK of an offer in a 2xx.
    let mut call = Call::placed(config(), "");
    let reinvite = call.request("INVITE", 1, &format!("{CONTACT}{BODY}"));
    let txn = hear(&mut call.rig, &reinvite).txn.unwrap();
    let done = call.rig.machine.respond(call.rig.now, txn, Status::OK, &Content::NONE);
    assert_eq!(done, Err(Misuse::BadContent));
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, Content::NONE);
    let heard = hear(&mut rig, &response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}")));
    let dialog = heard.dialog.unwrap();
    assert_eq!(rig.machine.ack(rig.now, dialog, &Content::NONE), Err(Misuse::BadContent));
    assert_eq!(rig.machine.ack(rig.now, dialog, &SDP), Ok(()));
    assert_eq!(sends(&rig.drain(), "ACK").len(), 1);
}
