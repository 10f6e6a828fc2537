//! Whose offer is open: requests that overlap, each with an exchange of its own (RFC 3264, RFC 3311, RFC 6337).

mod support;

use sip_core::message::{Content, Method, Status};
use sip_core::ua::{Offer, UserAgent};
use support::call::{BODY, CONTACT, Call, SDP, config, hear, place, sent};
use support::{Rig, header, response};

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
