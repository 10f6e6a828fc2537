//! Whose offer is open: requests that overlap, each with an exchange of its own (RFC 3264, RFC 3311, RFC 6337).

mod support;

use sip_core::Misuse;
use sip_core::message::{Content, Method, Status};
use sip_core::ua::{Offer, UserAgent};
use support::call::{BODY, CONTACT, Call, SDP, config, hear, place, sent, told};
use support::{Rig, header, ms, response, sends};

/// A call of the peer's, answered with a 2xx that has no ACK yet.
fn accepted(rest: &str) -> Call {
    let mut call = Call::ringing(config(), rest);
    call.rig.machine.accept(call.rig.now, call.dialog, &SDP).unwrap();
    call.us = header(&sent(&call.rig.drain(), "SIP/2.0 200"), "To").unwrap().into();
    call
}

/// RFC 3311 §5.1: the callee may offer anew before its ACK comes; that answers nothing.
#[test]
fn an_ack_leaves_the_offer_of_an_update_open() {
    let mut call = accepted(BODY);
    let update = call.sent(Method::Update, SDP);
    let ack = call.request("ACK", 1, "");
    hear(&mut call.rig, &ack);
    assert_eq!(call.offer(), Offer::Local);
    assert_eq!(call.ask("UPDATE", BODY).1[0].line(), "SIP/2.0 491 Request Pending");
    call.answer(&update, "200 OK", &format!("{CONTACT}{BODY}"));
    assert_eq!(call.offer(), Offer::Stable);
}

/// The 2xx of the peer's INVITE answers that, and not an UPDATE that waits for its user.
#[test]
fn a_2xx_leaves_the_offer_of_another_request_open() {
    let mut call = Call::ringing(config(), &format!("Supported: 100rel\r\n{BODY}"));
    call.rig.machine.ring_reliably(call.rig.now, call.dialog, Status::SESSION_PROGRESS, &SDP).unwrap();
    let first = sent(&call.rig.drain(), "SIP/2.0 183");
    call.us = header(&first, "To").unwrap().into();
    call.ask("PRACK", &format!("RAck: {} 1 INVITE\r\n", header(&first, "RSeq").unwrap()));
    let (update, _) = call.ask("UPDATE", BODY);
    call.rig.machine.accept(call.rig.now, call.dialog, &Content::NONE).unwrap();
    assert_eq!(call.offer(), Offer::Remote);
    call.respond(update.txn.unwrap(), 200, SDP);
    assert_eq!(call.offer(), Offer::Stable);
}

/// The caller owes an answer in its ACK only if the 2xx brought the offer.
#[test]
fn a_2xx_without_an_offer_wants_no_answer() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    let progress = format!("{CONTACT}Require: 100rel\r\nRSeq: 1\r\n{BODY}");
    let dialog = hear(&mut rig, &response(&invite, "183 Session Progress", "b1", &progress)).dialog;
    let prack = sent(&rig.drain(), "PRACK");
    hear(&mut rig, &response(&prack, "200 OK", "b1", ""));
    let mut call = Call::of(
        rig,
        invite.clone(),
        dialog.unwrap(),
        format!("{};tag=b1", header(&invite, "To").unwrap()),
        header(&invite, "From").unwrap().into(),
    );
    let (update, _) = call.ask("UPDATE", BODY);
    assert_eq!(call.offer(), Offer::Remote);
    assert!(!call.answer(&invite, "200 OK", CONTACT).wants);
    sent(&call.rig.drain(), "ACK");
    assert_eq!(call.offer(), Offer::Remote);
    call.respond(update.txn.unwrap(), 200, SDP);
    assert_eq!(call.offer(), Offer::Stable);
}

/// An UPDATE without an offer is no answer to the re-INVITE beside it.
#[test]
fn an_update_leaves_the_offer_of_a_reinvite_open() {
    let mut call = Call::placed(config(), "");
    call.sent(Method::Invite, SDP);
    let update = call.sent(Method::Update, Content::NONE);
    call.answer(&update, "200 OK", CONTACT);
    assert_eq!(call.offer(), Offer::Local);
}

/// A session description in what is none of the session's opens nothing.
#[test]
fn the_body_of_another_request_is_no_offer() {
    let mut call = Call::taken(config(), "");
    let (info, _) = call.ask("INFO", BODY);
    assert_eq!(call.offer(), Offer::Stable);
    call.respond(info.txn.unwrap(), 200, SDP);
    assert_eq!(call.offer(), Offer::Stable);
}

/// RFC 3262: what holds for the first INVITE holds for a re-INVITE. One that gets no PRACK fails alone.
#[test]
fn provisional_responses_to_a_reinvite_are_sent_reliably() {
    let mut call = Call::taken(config(), "");
    let (reinvite, _) = call.ask("INVITE", &format!("Require: 100rel\r\n{BODY}"));
    let txn = reinvite.txn.unwrap();
    let first = call.respond(txn, 183, SDP)[0].bytes().to_owned();
    assert_eq!(header(&first, "Require"), Some("100rel"));
    let rseq: u32 = header(&first, "RSeq").unwrap().parse().unwrap();
    // The next ones wait for the PRACK, the 2xx behind them.
    assert_eq!(call.respond(txn, 180, Content::NONE), []);
    assert_eq!(call.respond(txn, 200, Content::NONE), []);
    assert_eq!(
        call.rig.machine.respond(call.rig.now, txn, Status::OK, &Content::NONE),
        Err(Misuse::WrongState)
    );
    let cseq = call.cseq;
    let (_, out) = call.ask("PRACK", &format!("RAck: {rseq} {cseq} INVITE\r\n"));
    assert_eq!(header(&sent(&out, "SIP/2.0 180"), "RSeq"), Some(&*(rseq + 1).to_string()));
    let (_, out) = call.ask("PRACK", &format!("RAck: {} {cseq} INVITE\r\n", rseq + 1));
    assert!(out.iter().any(|out| header(out.bytes(), "CSeq") == Some(&format!("{cseq} INVITE"))));
    let ack = call.request("ACK", cseq, "");
    hear(&mut call.rig, &ack);
    // Another, which is not acknowledged.
    call.rig.drain();
    let (reinvite, _) = call.ask("INVITE", &format!("Require: 100rel\r\n{BODY}"));
    call.respond(reinvite.txn.unwrap(), 183, SDP);
    let out = call.rig.run_until(ms(40_000));
    assert_eq!(sends(&out, "SIP/2.0 504")[0], 32_000);
    assert_eq!((told(&out, "Withdrawn"), told(&out, "reason:")), (1, 0));
    assert_eq!(call.rig.machine.dialogs().count(), 1);
}

/// The same on the other side: an offer in a reliable response to a re-INVITE is answered in the user's PRACK.
#[test]
fn a_reliable_response_to_a_reinvite_may_wait_for_its_prack() {
    let mut call = Call::placed(config(), "");
    let reinvite = call.sent(Method::Invite, Content::NONE);
    let progress = format!("{CONTACT}Require: 100rel\r\nRSeq: 9\r\n{BODY}");
    let heard = call.answer(&reinvite, "183 Session Progress", &progress);
    assert!(heard.text.contains("wants_prack: true"), "{}", heard.text);
    call.rig.machine.prack(call.rig.now, call.dialog, 0, &SDP).unwrap();
    let prack = sent(&call.rig.drain(), "PRACK");
    let cseq = header(&reinvite, "CSeq").unwrap();
    assert_eq!(header(&prack, "RAck"), Some(&*format!("9 {cseq}")));
    assert_eq!(call.offer(), Offer::Stable);
    call.answer(&prack, "200 OK", "");
    assert!(!call.answer(&reinvite, "200 OK", CONTACT).wants);
    sent(&call.rig.drain(), "ACK");
}

/// RFC 6141 §4.3: a re-INVITE that fails leaves nothing open, though a reliable response to it made an offer.
#[test]
fn an_offer_within_a_reinvite_ends_with_it() {
    let mut call = Call::placed(config(), "");
    let reinvite = call.sent(Method::Invite, Content::NONE);
    let progress = format!("{CONTACT}Require: 100rel\r\nRSeq: 9\r\n{BODY}");
    call.answer(&reinvite, "183 Session Progress", &progress);
    assert_eq!(call.offer(), Offer::Remote);
    let own = [("RAck", "1 1 INVITE")];
    let twice = call.rig.machine.prack(call.rig.now, call.dialog, 0, &Content { headers: &own, ..SDP });
    assert_eq!(twice, Err(Misuse::BadContent), "this machine writes it");
    call.answer(&reinvite, "488 Not Acceptable Here", "");
    assert_eq!(call.offer(), Offer::Stable);
    let late = call.rig.machine.prack(call.rig.now, call.dialog, 0, &SDP);
    assert_eq!(late, Err(Misuse::WrongState));
    call.sent(Method::Update, SDP);

    let mut call = Call::taken(config(), "");
    for withdrawn in [false, true] {
        let (reinvite, _) = call.ask("INVITE", "Require: 100rel\r\n");
        call.respond(reinvite.txn.unwrap(), 183, SDP);
        assert_eq!(call.offer(), Offer::Local);
        if withdrawn {
            call.rig.run_until(ms(40_000));
        } else {
            call.respond(reinvite.txn.unwrap(), 488, Content::NONE);
        }
        assert_eq!(call.offer(), Offer::Stable);
    }
}

/// RFC 3311 §5.2: where an UPDATE makes no offer its 2xx has nothing to answer.
#[test]
fn a_2xx_to_an_update_only_answers() {
    let mut call = Call::taken(config(), "");
    let text = "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi";
    let (update, _) = call.ask("UPDATE", text);
    let txn = update.txn.unwrap();
    assert_eq!(call.rig.machine.respond(call.rig.now, txn, Status::OK, &SDP), Err(Misuse::WrongState));
    call.respond(txn, 200, Content::NONE);
    assert_eq!(call.offer(), Offer::Stable);
}

/// RFC 3262 §3: a 100 is not repeated in the place of a response that waits for its PRACK.
#[test]
fn a_100_does_not_take_the_place_of_a_reliable_response() {
    let mut call = Call::ringing(config(), &format!("Supported: 100rel\r\n{BODY}"));
    call.rig.machine.ring_reliably(call.rig.now, call.dialog, Status::SESSION_PROGRESS, &SDP).unwrap();
    call.rig.machine.ring(call.rig.now, call.dialog, Status::TRYING, &Content::NONE).unwrap();
    let out = call.rig.run_until(ms(600));
    assert_eq!((sends(&out, "SIP/2.0 183"), sends(&out, "SIP/2.0 100")), (vec![0, 500], vec![]));
}

/// The end of a re-INVITE that was accepted, half a minute ago, says nothing of the offer in the next.
#[test]
fn the_end_of_a_reinvite_leaves_the_next_one_alone() {
    for content in [SDP, Content::NONE] {
        let mut call = Call::placed(config(), "");
        let first = call.sent(Method::Invite, SDP);
        call.answer(&first, "200 OK", &format!("{CONTACT}{BODY}"));
        call.rig.run_until(ms(31_000));
        let second = call.sent(Method::Invite, content);
        let progress = format!("{CONTACT}Require: 100rel\r\nRSeq: 9\r\n{BODY}");
        if content.body.is_empty() {
            call.answer(&second, "183 Session Progress", &progress);
        } else {
            call.answer(&second, "180 Ringing", "");
        }
        let open = call.offer();
        assert_ne!(open, Offer::Stable);
        call.rig.run_until(ms(33_000));
        assert_eq!(call.offer(), open);
    }
}

/// RFC 3311 §5.1: an INVITE without an offer asks for one. It does not go beside an offer of this side, nor one beside it: the answer to both would
/// have to stand in one ACK.
#[test]
fn who_asks_for_an_offer_makes_none() {
    let mut call = Call::placed(config(), "");
    let update = call.sent(Method::Update, SDP);
    assert_eq!(call.send(Method::Invite, Content::NONE), Err(Misuse::WrongState));
    call.answer(&update, "200 OK", &format!("{CONTACT}{BODY}"));
    let reinvite = call.sent(Method::Invite, Content::NONE);
    assert_eq!(call.send(Method::Update, SDP), Err(Misuse::WrongState));
    call.send(Method::Update, Content::NONE).unwrap();
    assert!(call.answer(&reinvite, "200 OK", &format!("{CONTACT}{BODY}")).wants);
}
