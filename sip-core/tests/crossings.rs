//! Calls in which one thing crosses another: challenges, collisions, forks that come late, and dialogs that are not there yet.

mod support;

use sip_core::message::{Content, Method, Status};
use sip_core::ua::{Config, Event, Offer, UserAgent};
use sip_core::{Local, Machine, Misuse, Transport};
use support::call::{BODY, CHALLENGE, CONTACT, Call, SDP, config, hear, known, outside, place, sent, told};
use support::{Rig, header, ms, response, sends};

const RELIABLE: &str = "Require: 100rel\r\nRSeq: 1\r\n";

/// RFC 4028 §7.4: "a UAC MUST insert the Min-SE header field into an INVITE request if it has ever received a 422 response to a previous
/// INVITE request with the same Call-ID".
#[test]
fn a_422_is_not_forgotten_by_the_next_challenge() {
    let mut config = known();
    config.session_timer.expires = Some(core::time::Duration::from_secs(90));
    let mut rig = Rig::new(UserAgent::new(config));
    let (_, invite) = place(&mut rig, SDP);
    hear(&mut rig, &response(&invite, "422 Session Interval Too Small", "p1", "Min-SE: 600\r\n"));
    let second = sent(&rig.drain(), "INVITE");
    assert_eq!(header(&second, "Min-SE"), Some("600"));
    hear(&mut rig, &response(&second, "401 Unauthorized", "b1", CHALLENGE));
    let third = sent(&rig.drain(), "INVITE");
    assert_eq!((header(&third, "Min-SE"), header(&third, "Session-Expires")), (Some("600"), Some("600")));
}

/// RFC 3311 §5.1, the callee: "the UPDATE cannot be sent with an offer unless the callee has generated an answer in a reliable provisional
/// response, has received a PRACK for that reliable provisional response".
#[test]
fn the_callee_offers_nothing_before_the_prack() {
    let mut call = Call::ringing(config(), &format!("Supported: 100rel\r\nAllow: UPDATE, PRACK\r\n{BODY}"));
    let machine = &mut call.rig.machine;
    machine.ring_reliably(call.rig.now, call.dialog, Status::new(183).unwrap(), &SDP).unwrap();
    call.rig.drain();
    assert_eq!(call.send(Method::Update, SDP), Err(Misuse::WrongState));
}

/// RFC 3264 §4, RFC 3261 §13.2.2.4: a re-INVITE that is sent again with credentials makes its offer again, and the 2xx answers it.
#[test]
fn a_reinvite_that_was_answered_reliably_and_then_challenged() {
    let mut call = Call::placed(known(), "");
    let first = call.sent(Method::Invite, SDP);
    call.answer(&first, "183 Progress", &format!("{CONTACT}{RELIABLE}{BODY}"));
    let prack = sent(&call.rig.drain(), "PRACK");
    call.answer(&prack, "200 OK", "");
    assert_eq!(call.offer(), Offer::Stable);
    call.answer(&first, "401 Unauthorized", CHALLENGE);
    let again = sent(&call.rig.drain(), "INVITE");
    assert!(again.contains("v=0"));
    let state = call.offer();
    let heard = call.answer(&again, "200 OK", &format!("{CONTACT}{BODY}"));
    let acks = sends(&call.rig.drain(), "ACK").len();
    assert_eq!((state, heard.wants, acks), (Offer::Local, false, 1));
}

/// RFC 3262 §4, §7.2: the RAck names the response that waits. One to an INVITE that was refused meanwhile waits no more.
#[test]
fn a_prack_is_owed_to_the_invite_that_lives() {
    let mut call = Call::placed(Config { auto_prack: false, ..known() }, "");
    let first = call.sent(Method::Invite, SDP);
    assert!(
        call.answer(&first, "180 Ringing", &format!("{CONTACT}{RELIABLE}"))
            .text
            .contains("wants_prack: true")
    );
    call.answer(&first, "401 Unauthorized", CHALLENGE);
    let again = sent(&call.rig.drain(), "INVITE");
    call.answer(&again, "180 Ringing", &format!("{CONTACT}Require: 100rel\r\nRSeq: 77\r\n"));
    call.rig.machine.prack(call.rig.now, call.dialog, 0, &Content::NONE).unwrap();
    let prack = sent(&call.rig.drain(), "PRACK");
    let cseq = header(&again, "CSeq").unwrap();
    assert_eq!(header(&prack, "RAck"), Some(&*format!("77 {cseq}")));
}

/// RFC 7616 §3.4: nc is "the count of the number of requests (including the current request) that the client has sent with the nonce value
/// in this request": no two of them have the same.
#[test]
fn forks_do_not_count_one_nonce_twice() {
    let mut rig = Rig::new(UserAgent::new(known()));
    let (_, invite) = place(&mut rig, SDP);
    hear(&mut rig, &response(&invite, "401 Unauthorized", "p", CHALLENGE));
    let invite = sent(&rig.drain(), "INVITE");
    let mut counts = vec![];
    let mut count = |request: &str| {
        counts.push(header(request, "Authorization").unwrap().split("nc=").nth(1).unwrap()[..8].to_owned());
    };
    count(&invite);
    hear(&mut rig, &response(&invite, "183 Progress", "b1", &format!("{CONTACT}{RELIABLE}")));
    count(&sent(&rig.drain(), "PRACK"));
    assert_eq!(counts, ["00000001", "00000002"]);
    // The next fork asks for a nonce of its own.
    hear(&mut rig, &response(&invite, "183 Progress", "b2", &format!("{CONTACT}{RELIABLE}")));
    let prack = sent(&rig.drain(), "PRACK");
    assert_eq!(header(&prack, "Authorization"), None);
    hear(&mut rig, &response(&prack, "401 Unauthorized", "", &CHALLENGE.replace("n1", "n2")));
    assert!(header(&sent(&rig.drain(), "PRACK"), "Authorization").unwrap().contains("nc=00000001"));
}

/// RFC 3311 §5.1, RFC 3261 §13.2.2.4: an UPDATE that met another does not come back beside an INVITE that asks for an offer; else the offer in
/// the 2xx is acknowledged without an answer.
#[test]
fn an_update_that_collided_waits_for_who_asks_for_an_offer() {
    let mut call = Call::placed(config(), "Allow: UPDATE\r\n");
    let update = call.sent(Method::Update, SDP);
    call.answer(&update, "491 Request Pending", "");
    let reinvite = call.sent(Method::Invite, Content::NONE);
    call.answer(&reinvite, "100 Trying", "");
    let beside = sends(&call.rig.run_until(ms(10_000)), "UPDATE").len();
    let heard = call.answer(&reinvite, "200 OK", &format!("{CONTACT}{BODY}"));
    assert_eq!((beside, heard.wants), (0, true));
}

/// The same where it is the peer's INVITE that asks: the user can't answer it.
#[test]
fn an_update_that_collided_waits_for_the_offer_that_the_peer_asked_for() {
    let mut call = Call::placed(config(), "Allow: UPDATE\r\n");
    let update = call.sent(Method::Update, SDP);
    call.answer(&update, "491 Request Pending", "");
    let (heard, _) = call.ask("INVITE", "");
    let beside = sends(&call.rig.run_until(ms(10_000)), "UPDATE").len();
    let done = call.rig.machine.respond(call.rig.now, heard.txn.unwrap(), Status::OK, &SDP);
    assert_eq!((beside, done), (0, Ok(())));
}

/// RFC 6228 §4, RFC 3262 §4: a 199 that was sent reliably is acknowledged too.
#[test]
fn a_reliable_199_is_acknowledged_by_itself() {
    let mut rig = Rig::new(UserAgent::new(Config { auto_prack: false, ..config() }));
    let (_, invite) = place(&mut rig, SDP);
    hear(&mut rig, &response(&invite, "180 Ringing", "b1", CONTACT));
    let heard = hear(
        &mut rig,
        &response(&invite, "199 Early Dialog Terminated", "b1", &format!("{CONTACT}{RELIABLE}")),
    );
    assert!(!heard.wants);
    assert_eq!(sends(&rig.drain(), "PRACK").len(), 1);
}

/// `Config::tell_changes`: "when the state of a dialog has changed: a number, the remote target, its session timer."
#[test]
fn a_target_that_a_refer_moved_is_told_of() {
    let mut call = Call::placed(Config { tell_changes: true, ..config() }, "");
    call.cseq += 1;
    let refer =
        call.request("REFER", call.cseq, "Contact: <sip:bob@192.0.2.9:5070>\r\nRefer-To: <sip:carol@x>\r\n");
    let source = Rig::<UserAgent>::source();
    let Some(Event::Refer { txn, .. }) = call.rig.machine.datagram(call.rig.now, source, refer.as_bytes())
    else {
        panic!()
    };
    call.rig.drain();
    let before = call.rig.machine.view(call.dialog).unwrap().target.to_vec();
    call.rig.machine.respond(call.rig.now, txn, Status::new(202).unwrap(), &Content::NONE).unwrap();
    let out = call.rig.drain();
    assert_ne!(call.rig.machine.view(call.dialog).unwrap().target, before, "it moves the target");
    assert_eq!(told(&out, "Changed"), 1);
}

/// The same by a reliable provisional response whose PRACK is the user's (RFC 6141 §4.7).
#[test]
fn a_target_that_a_reliable_response_moved_is_told_of() {
    let mut call = Call::placed(Config { tell_changes: true, auto_prack: false, ..config() }, "");
    let reinvite = call.sent(Method::Invite, SDP);
    let before = call.rig.machine.view(call.dialog).unwrap().target.to_vec();
    call.answer(&reinvite, "183 Progress", &format!("Contact: <sip:bob@192.0.2.9:5070>\r\n{RELIABLE}{BODY}"));
    let out = call.rig.drain();
    assert_ne!(call.rig.machine.view(call.dialog).unwrap().target, before, "it moves the target");
    assert_eq!(told(&out, "Changed"), 1);
}

/// RFC 3261 §8.1.1.8: "If the Request-URI or top Route header field value contains a SIPS URI, the Contact header field MUST contain a SIPS URI as
/// well." A redirection may lead to one.
#[test]
fn a_redirection_to_sips_has_a_sips_contact() {
    let mut rig = Rig::new(UserAgent::new(Config { redirects: 3, ..config() }));
    let addr = "192.0.2.1:5061".parse().unwrap();
    rig.machine.listen(rig.now, Local { transport: Transport::Tls, addr, advertised: None });
    let (_, invite) = place(&mut rig, SDP);
    hear(
        &mut rig,
        &response(&invite, "302 Moved Temporarily", "p", "Contact: <sips:bob@192.0.2.2:5061>\r\n"),
    );
    rig.drain();
    rig.machine.flow_opened(rig.now, sip_core::FlowId::from_bits(0), addr);
    let again = sent(&rig.drain(), "INVITE");
    assert!(again.starts_with("INVITE sips:"));
    assert!(header(&again, "Contact").unwrap().starts_with("<sips:"), "{again}");
}

/// RFC 3262 §5: "if a reliable provisional response is the first reliable message sent back to the UAC, and the INVITE did not contain an offer, one
/// MUST appear in that reliable provisional response."
#[test]
fn the_first_reliable_response_to_who_asks_for_an_offer_has_one() {
    for required in [true, false] {
        let extra = if required { "Require: 100rel\r\n" } else { "Supported: 100rel\r\n" };
        let mut call = Call::ringing(config(), &format!("{extra}Content-Length: 0\r\n\r\n"));
        let machine = &mut call.rig.machine;
        let done = if required {
            machine.ring(call.rig.now, call.dialog, Status::RINGING, &Content::NONE)
        } else {
            machine.ring_reliably(call.rig.now, call.dialog, Status::RINGING, &Content::NONE)
        };
        assert_eq!(done, Err(Misuse::BadContent), "required: {required}");
        assert_eq!(machine.ring_reliably(call.rig.now, call.dialog, Status::RINGING, &SDP), Ok(()));
    }
}

/// RFC 3261 §13.2.2.4, §22.3: the BYE of a fork that there is no room for goes where its INVITE went, and has its credentials.
#[test]
fn who_is_turned_away_is_hung_up_behind_a_proxy_that_challenges() {
    let mut core = sip_core::Config::new([3; 32]);
    core.limits.forks = 1;
    let mut rig = Rig::new(UserAgent::new(Config { core, ..known() }));
    let (_, invite) = place(&mut rig, SDP);
    let challenge = CHALLENGE.replace("WWW-Authenticate", "Proxy-Authenticate");
    hear(&mut rig, &response(&invite, "407 Proxy Authentication Required", "p", &challenge));
    let invite = sent(&rig.drain(), "INVITE");
    for tag in ["b1", "b2"] {
        hear(&mut rig, &response(&invite, "200 OK", tag, &format!("{CONTACT}{BODY}")));
    }
    let bye = sent(&rig.drain(), "BYE");
    hear(&mut rig, &response(&bye, "407 Proxy Authentication Required", "", &challenge.replace("n1", "n2")));
    let again = sends(&rig.drain(), "BYE").len();
    assert!(header(&bye, "Proxy-Authorization").is_some() || again == 1, "b2 stays in its call");
}

/// RFC 6228 §1: a 199 frees the early dialog. What is over leaves room for the forks that come after it.
#[test]
fn forks_that_are_over_make_room() {
    let mut core = sip_core::Config::new([3; 32]);
    core.limits.forks = 2;
    let mut rig = Rig::new(UserAgent::new(Config { core, ..config() }));
    let (_, invite) = place(&mut rig, SDP);
    for tag in ["b1", "b2"] {
        hear(&mut rig, &response(&invite, "180 Ringing", tag, CONTACT));
        hear(&mut rig, &response(&invite, "199 Early Dialog Terminated", tag, CONTACT));
    }
    rig.drain();
    let rings = hear(&mut rig, &response(&invite, "180 Ringing", "b3", CONTACT)).dialog.is_some();
    let heard = hear(&mut rig, &response(&invite, "200 OK", "b3", &format!("{CONTACT}{BODY}")));
    let byes = sends(&rig.drain(), "BYE").len();
    assert_eq!((rings, heard.text.starts_with("Answered"), byes), (true, true, 0));
}

/// RFC 3261 §13.2.2.4: the 2xx of an early dialog whose BYE the callee did not understand is hung up, whichever of the two comes first, and
/// whether the user has hung up or this side for a reason of its own.
#[test]
fn a_2xx_before_the_481_to_an_early_bye() {
    for (bye_first, abandoned) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut rig = Rig::new(UserAgent::new(config()));
        let (_, invite) = place(&mut rig, SDP);
        let ringing = response(&invite, "180 Ringing", "b1", &format!("{CONTACT}Allow: UPDATE\r\n"));
        let early = hear(&mut rig, &ringing).dialog.unwrap();
        if abandoned {
            rig.machine.request_in(rig.now, early, Method::Update, 0, &Content::NONE).unwrap();
            let update = sent(&rig.drain(), "UPDATE");
            hear(&mut rig, &response(&update, "481 Call/Transaction Does Not Exist", "", ""));
        } else {
            rig.machine.bye(rig.now, early, &Content::NONE).unwrap();
        }
        let bye = sent(&rig.drain(), "BYE");
        let refused = response(&bye, "481 Call/Transaction Does Not Exist", "", "");
        let ok = response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}"));
        let (one, two) = if bye_first { (refused, ok) } else { (ok, refused) };
        hear(&mut rig, &one);
        hear(&mut rig, &two);
        assert_eq!(sends(&rig.drain(), "BYE").len(), 1, "the 481 first: {bye_first}, abandoned: {abandoned}");
    }
}

/// `hang_up`: "`Misuse::WrongState` if it is being ended".
#[test]
fn an_early_call_is_hung_up_once() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    let early = hear(&mut rig, &response(&invite, "180 Ringing", "b1", CONTACT)).dialog.unwrap();
    assert_eq!(rig.machine.hang_up(rig.now, early, &Content::NONE), Ok(()));
    assert_eq!(rig.machine.hang_up(rig.now, early, &Content::NONE), Err(Misuse::WrongState));
}

/// RFC 3261 §12.1: a response with a tag makes the dialog. Before that there is none to send a request in (RFC 3311 §5.1).
#[test]
fn nothing_is_sent_in_a_dialog_before_there_is_one() {
    let mut call = Call::ringing(config(), BODY);
    call.rig.drain();
    for method in [Method::Update, Method::Info, Method::Options] {
        assert_eq!(call.send(method, Content::NONE), Err(Misuse::WrongState));
    }
    call.rig.machine.ring(call.rig.now, call.dialog, Status::RINGING, &Content::NONE).unwrap();
    assert!(call.send(Method::Info, Content::NONE).is_ok());
}

/// RFC 3261 §13.2.2.4: the answer to the offer of a 2xx is in its ACK. While the user owes it no ACK without one goes out.
#[test]
fn a_late_2xx_is_not_acknowledged_before_the_user() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, Content::NONE);
    let ok = response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}"));
    let dialog = hear(&mut rig, &ok).dialog.unwrap();
    rig.run_until(ms(32_500));
    hear(&mut rig, &ok);
    assert_eq!(sends(&rig.drain(), "ACK").len(), 0, "without an answer");
    rig.machine.ack(rig.now, dialog, &SDP).unwrap();
}

/// RFC 3261 §13.2.2.4: a fork that was turned away has got its BYE. A copy of its 2xx is acknowledged once more and makes no call, though there is
/// room by now.
#[test]
fn who_was_turned_away_does_not_come_back() {
    let mut core = sip_core::Config::new([3; 32]);
    core.limits.dialogs = 1;
    let mut rig = Rig::new(UserAgent::new(Config { core, ..config() }));
    let (_, invite) = place(&mut rig, SDP);
    let other = hear(&mut rig, &outside("INVITE", BODY)).dialog.unwrap();
    let ok = response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}"));
    hear(&mut rig, &ok);
    let out = rig.drain();
    assert_eq!((sends(&out, "ACK").len(), sends(&out, "BYE").len()), (1, 1));
    rig.machine.reject(rig.now, other, Status::new(486).unwrap(), &Content::NONE).unwrap();
    rig.drain();
    let heard = hear(&mut rig, &ok);
    assert!(heard.text.is_empty(), "{}", heard.text);
    let out = rig.drain();
    assert_eq!((sends(&out, "ACK").len(), sends(&out, "BYE").len()), (1, 0));
    rig.run_until(ms(600_000));
    assert!(rig.machine.is_idle());
}

/// RFC 3262 §4: as above, with a response to the first INVITE that its 2xx has overtaken.
#[test]
fn no_prack_is_owed_to_an_invite_that_was_accepted() {
    let mut rig = Rig::new(UserAgent::new(Config { auto_prack: false, ..config() }));
    let (_, invite) = place(&mut rig, SDP);
    hear(&mut rig, &response(&invite, "180 Ringing", "b1", &format!("{CONTACT}{RELIABLE}")));
    let ok = response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}"));
    let dialog = hear(&mut rig, &ok).dialog.unwrap();
    rig.drain();
    rig.machine.request_in(rig.now, dialog, Method::Invite, 0, &SDP).unwrap();
    let reinvite = sent(&rig.drain(), "INVITE");
    hear(
        &mut rig,
        &response(&reinvite, "180 Ringing", "", &format!("{CONTACT}Require: 100rel\r\nRSeq: 77\r\n")),
    );
    rig.machine.prack(rig.now, dialog, 0, &Content::NONE).unwrap();
    assert_eq!(header(&sent(&rig.drain(), "PRACK"), "RAck"), Some("77 2 INVITE"));
}

/// RFC 3262 §5: the caller may offer anew in its PRACK, and the 2xx to that has the answer.
#[test]
fn the_offer_of_a_prack_is_not_swallowed() {
    let mut call = Call::ringing(config(), &format!("Supported: 100rel\r\nAllow: UPDATE, PRACK\r\n{BODY}"));
    let machine = &mut call.rig.machine;
    machine.ring_reliably(call.rig.now, call.dialog, Status::new(183).unwrap(), &SDP).unwrap();
    let progress = sent(&call.rig.drain(), "SIP/2.0 183");
    call.us = header(&progress, "To").unwrap().into();
    let _ = call.send(Method::Update, SDP);
    call.rig.drain();
    let rseq = header(&progress, "RSeq").unwrap().to_owned();
    let (heard, out) = call.ask("PRACK", &format!("RAck: {rseq} 1 INVITE\r\n{BODY}"));
    assert_eq!((heard.txn.is_some(), sends(&out, "SIP/2.0 200").len()), (true, 0), "{}", heard.text);
}

/// RFC 3311 §5.2: "the UAS MUST … generate an answer in the 2xx response"; as `prack` asks for it where one is owed.
#[test]
fn a_2xx_to_an_offer_has_the_answer() {
    let mut call = Call::placed(config(), "");
    let (heard, _) = call.ask("UPDATE", BODY);
    assert!(call.rig.machine.respond(call.rig.now, heard.txn.unwrap(), Status::OK, &Content::NONE).is_err());
}

/// RFC 3261 §9.1: 64·T1 after the CANCEL "the client SHOULD then consider the original transaction cancelled"; §14.1: a re-INVITE that came to nothing
/// leaves the session as it was.
#[test]
fn a_cancelled_reinvite_without_a_487_leaves_the_call() {
    let mut call = Call::placed(config(), "");
    let id = call.send(Method::Invite, SDP).unwrap();
    let reinvite = sent(&call.rig.drain(), "INVITE");
    call.answer(&reinvite, "180 Ringing", CONTACT);
    call.rig.machine.cancel_request(call.rig.now, id).unwrap();
    let cancel = sent(&call.rig.drain(), "CANCEL");
    call.answer(&cancel, "200 OK", "");
    let out = call.rig.run_until(ms(60_000));
    assert_eq!((sends(&out, "BYE").len(), told(&out, "RequestEnded")), (0, 1), "{out:#?}");
}

/// RFC 3261 §14.2: what can't be answered now gets 491 (as with an offer), and not to a user who can only refuse it.
#[test]
fn a_reinvite_that_asks_for_an_offer_meets_an_open_one() {
    let mut call = Call::placed(config(), "");
    let update = call.sent(Method::Update, SDP);
    let (heard, out) = call.ask("INVITE", "Content-Length: 0\r\n\r\n");
    let refused = out.iter().any(|out| out.line().starts_with("SIP/2.0 491"));
    if let Some(txn) = heard.txn {
        let done = call.rig.machine.respond(call.rig.now, txn, Status::OK, &SDP);
        assert_eq!(done, Ok(()), "handed over, and not to be answered");
    }
    assert!(refused);
    call.answer(&update, "200 OK", &format!("{CONTACT}{BODY}"));
}
