//! Calls through [`UserAgent`]: dialogs, the ACK and the 2xx, and every race between them.

mod support;

use sip_core::message::{Content, Method, Status};
use sip_core::ua::{Config, Event, NewInvite, NewRequest, UserAgent};
use sip_core::{DialogId, Invitation, Machine, Misuse};
use support::{Out, PEER, Rig, US, header, ms, response, sends};

const OFFER: Content<'static> = Content::body("application/sdp", b"v=0\r\n");

fn rig() -> Rig<UserAgent> {
    let mut config = Config::new(sip_core::Config::new([3; 32]), "alice");
    config.identity = "<sip:alice@example.com>".into();
    Rig::new(UserAgent::new(config))
}

fn text(outputs: &[Out], start: &str) -> String {
    let found = outputs.iter().find(|out| out.line().starts_with(start) && !out.bytes().is_empty());
    found.unwrap_or_else(|| panic!("no {start} in {outputs:#?}")).bytes().to_owned()
}

fn ended(outputs: &[Out], reason: &str) -> bool {
    outputs.iter().any(|out| out.line().starts_with("Ended") && out.line().contains(reason))
}

// The caller.

/// Places a call; the INVITE.
fn call(rig: &mut Rig<UserAgent>) -> (Invitation, String) {
    let uri = format!("sip:bob@{PEER}");
    let invitation =
        rig.machine.invite(rig.now, &NewInvite { content: OFFER, user: 5, ..NewInvite::new(&uri) }).unwrap();
    let invite = text(&rig.drain(), "INVITE");
    (invitation, invite)
}

const CONTACT: &str = "Contact: <sip:bob@192.0.2.2:5099>\r\n";

fn answered(rig: &mut Rig<UserAgent>, bytes: &str) -> DialogId {
    match rig.machine.datagram(rig.now, Rig::<UserAgent>::source(), bytes.as_bytes()) {
        Some(Event::Answered { dialog, user: 5, .. }) => dialog,
        other => panic!("not answered: {other:?}"),
    }
}

#[test]
fn a_call_is_placed_and_hung_up() {
    let mut rig = rig();
    let (_, invite) = call(&mut rig);
    assert_eq!(header(&invite, "Contact"), Some("<sip:alice@192.0.2.1:5060>"));
    assert!(header(&invite, "From").unwrap().starts_with("<sip:alice@example.com>;tag="));
    assert_eq!(header(&invite, "To"), Some("<sip:bob@192.0.2.2:5060>"));
    assert!(invite.ends_with("Content-Length: 5\r\n\r\nv=0\r\n"));
    assert!(rig.hear(&response(&invite, "180 Ringing", "b1", CONTACT)).unwrap().contains("dialog: Some"));
    let dialog = answered(&mut rig, &response(&invite, "200 OK", "b1", CONTACT));
    // RFC 3261 §13.2.2.4: to the Contact, the INVITE's number, a branch of its own.
    let outputs = rig.drain();
    let ack = text(&outputs, "ACK");
    assert!(ack.starts_with("ACK sip:bob@192.0.2.2:5099 SIP/2.0\r\n"));
    assert!(matches!(&outputs[0], Out::Sent { to, .. } if to == "192.0.2.2:5099"));
    assert_eq!(header(&ack, "CSeq"), Some("1 ACK"));
    assert_eq!(header(&ack, "To"), Some("<sip:bob@192.0.2.2:5060>;tag=b1"));
    assert_ne!(header(&ack, "Via"), header(&invite, "Via"));
    // Each copy of the 2xx gets the same ACK, and its user hears of none.
    assert_eq!(rig.hear(&response(&invite, "200 OK", "b1", CONTACT)), None);
    assert_eq!(text(&rig.drain(), "ACK"), ack);
    rig.machine.bye(rig.now, dialog, &Content::NONE).unwrap();
    assert_eq!(rig.machine.bye(rig.now, dialog, &Content::NONE), Err(Misuse::WrongState));
    let bye = text(&rig.drain(), "BYE");
    assert_eq!(header(&bye, "CSeq"), Some("2 BYE"));
    assert_eq!(rig.hear(&response(&bye, "200 OK", "", "")), None);
    assert!(ended(&rig.drain(), "LocalBye"));
    assert_eq!(rig.machine.bye(rig.now, dialog, &Content::NONE), Err(Misuse::Gone));
    // A copy of the 2xx that comes after the end is still acknowledged.
    assert_eq!(rig.hear(&response(&invite, "200 OK", "b1", CONTACT)), None);
    assert_eq!(text(&rig.drain(), "ACK"), ack);
    let outputs = rig.run_until(ms(100_000));
    assert!(outputs.iter().any(|out| out.line().starts_with("InvitationEnded")));
    assert!(rig.machine.is_idle(), "nothing is left: {outputs:?}");
}

/// RFC 3261 §12.1.2, §12.2.1.1
#[test]
fn requests_follow_the_route_set_of_the_2xx() {
    let mut rig = rig();
    let (_, invite) = call(&mut rig);
    let early = format!("{CONTACT}Record-Route: <sip:192.0.2.40;lr>\r\n");
    rig.hear(&response(&invite, "180 Ringing", "b1", &early));
    let late = format!("{CONTACT}Record-Route: <sip:192.0.2.31;lr>, <sip:192.0.2.30;lr>\r\n");
    let dialog = answered(&mut rig, &response(&invite, "200 OK", "b1", &late));
    let outputs = rig.drain();
    assert!(matches!(&outputs[0], Out::Sent { to, .. } if to == "192.0.2.30:5060"), "{outputs:?}");
    let ack = text(&outputs, "ACK");
    let routes: Vec<_> = ack.lines().filter(|line| line.starts_with("Route")).collect();
    assert_eq!(routes, ["Route: <sip:192.0.2.30;lr>", "Route: <sip:192.0.2.31;lr>"]);
    rig.machine.bye(rig.now, dialog, &Content::NONE).unwrap();
    assert!(
        text(&rig.drain(), "BYE").contains("Route: <sip:192.0.2.30;lr>\r\nRoute: <sip:192.0.2.31;lr>\r\n")
    );
}

#[test]
fn a_strict_router_becomes_the_request_uri() {
    let mut rig = rig();
    let (_, invite) = call(&mut rig);
    let routes = format!("{CONTACT}Record-Route: <sip:192.0.2.31;lr>, <sip:192.0.2.30>\r\n");
    answered(&mut rig, &response(&invite, "200 OK", "b1", &routes));
    let ack = text(&rig.drain(), "ACK");
    assert!(ack.starts_with("ACK sip:192.0.2.30 SIP/2.0\r\n"));
    assert!(ack.contains("Route: <sip:192.0.2.31;lr>\r\nRoute: <sip:bob@192.0.2.2:5099>\r\n"));
}

/// RFC 3261 §13.2.2.4: each To tag is a dialog; every 2xx is acknowledged, the second one hung up.
#[test]
fn a_second_fork_that_answers_is_acknowledged_and_hung_up() {
    let mut rig = rig();
    let (_, invite) = call(&mut rig);
    for tag in ["b1", "b2", "b3"] {
        assert!(rig.hear(&response(&invite, "180 Ringing", tag, CONTACT)).is_some());
    }
    assert_eq!(rig.machine.dialogs().count(), 3);
    answered(&mut rig, &response(&invite, "200 OK", "b2", CONTACT));
    rig.drain();
    assert_eq!(rig.hear(&response(&invite, "200 OK", "b4", CONTACT)), None);
    let outputs = rig.drain();
    assert_eq!(header(&text(&outputs, "ACK"), "To"), Some("<sip:bob@192.0.2.2:5060>;tag=b4"));
    let bye = text(&outputs, "BYE");
    assert_eq!(header(&bye, "To"), Some("<sip:bob@192.0.2.2:5060>;tag=b4"));
    rig.hear(&response(&bye, "200 OK", "", ""));
    // A copy of it: the ACK, and not another BYE.
    assert_eq!(rig.hear(&response(&invite, "200 OK", "b4", CONTACT)), None);
    let outputs = rig.drain();
    assert_eq!((sends(&outputs, "ACK").len(), sends(&outputs, "BYE").len()), (1, 0));
    // 64·T1 after the first 2xx the early dialogs are over.
    let outputs = rig.run_until(ms(31_999));
    assert!(!ended(&outputs, "NotChosen"));
    let outputs = rig.run_until(ms(32_000));
    assert_eq!(outputs.iter().filter(|out| out.line().contains("NotChosen")).count(), 2);
    assert_eq!(rig.machine.dialogs().count(), 1);
}

/// RFC 3261 §13.2.2.4: a 2xx for which there is no room is acknowledged and hung up all the same.
#[test]
fn a_fork_beyond_the_cap_is_acknowledged_and_hung_up() {
    let mut core = sip_core::Config::new([3; 32]);
    core.limits.forks = 1;
    let mut rig = Rig::new(UserAgent::new(Config::new(core, "alice")));
    let (_, invite) = call(&mut rig);
    answered(&mut rig, &response(&invite, "200 OK", "b1", CONTACT));
    rig.drain();
    let route = "Record-Route: <sip:192.0.2.7;lr>\r\n";
    let ok = |tag: &str| response(&invite, "200 OK", tag, &format!("{CONTACT}{route}"));
    {
        assert!(rig.hear(&ok("b2")).unwrap().starts_with("TurnedAway"));
        let outputs = rig.drain();
        let (ack, bye) = (text(&outputs, "ACK"), text(&outputs, "BYE"));
        assert_eq!((header(&ack, "CSeq"), header(&bye, "CSeq")), (Some("1 ACK"), Some("2 BYE")));
        for request in [&ack, &bye] {
            assert!(header(request, "To").unwrap().ends_with(";tag=b2"));
            assert_eq!(header(request, "Route"), Some("<sip:192.0.2.7;lr>"));
        }
        assert_eq!(rig.hear(&response(&bye, "200 OK", "", "")), None);
    }
    // A copy of it is acknowledged; who answers beyond that is left alone.
    assert_eq!((rig.hear(&ok("b2")), rig.hear(&ok("b3"))), (None, None));
    let outputs = rig.drain();
    assert_eq!((sends(&outputs, "ACK").len(), sends(&outputs, "BYE").len()), (1, 0));
    assert_eq!(rig.machine.dialogs().count(), 1);
}

#[test]
fn forks_can_be_kept() {
    let mut config = Config::new(sip_core::Config::new([3; 32]), "alice");
    config.keep_forks = true;
    let mut rig = Rig::new(UserAgent::new(config));
    let (_, invite) = call(&mut rig);
    let one = answered(&mut rig, &response(&invite, "200 OK", "b1", CONTACT));
    let two = answered(&mut rig, &response(&invite, "200 OK", "b2", CONTACT));
    assert_ne!(one, two);
    assert_eq!(sends(&rig.drain(), "ACK").len(), 2);
    assert_eq!(rig.machine.dialogs().count(), 2);
}

/// RFC 6228 §4
#[test]
fn a_199_ends_its_own_early_dialog() {
    let mut rig = rig();
    let (_, invite) = call(&mut rig);
    rig.hear(&response(&invite, "180 Ringing", "b1", CONTACT));
    rig.hear(&response(&invite, "180 Ringing", "b2", CONTACT));
    assert_eq!(rig.hear(&response(&invite, "199 Early Dialog Terminated", "b9", "")), None);
    rig.hear(&response(&invite, "199 Early Dialog Terminated", "b1", ""));
    assert!(ended(&rig.drain(), "NotChosen"));
    assert_eq!(rig.machine.dialogs().count(), 1);
}

#[test]
fn a_100_or_a_1xx_without_a_tag_makes_no_dialog() {
    let mut rig = rig();
    let (_, invite) = call(&mut rig);
    assert!(rig.hear(&response(&invite, "100 Trying", "b1", "")).unwrap().contains("dialog: None"));
    assert!(rig.hear(&response(&invite, "180 Ringing", "", "")).unwrap().contains("dialog: None"));
    // Without Contact it is tolerated.
    assert!(rig.hear(&response(&invite, "180 Ringing", "b1", "")).unwrap().contains("dialog: Some"));
}

#[test]
fn a_refused_call_drops_its_early_dialogs() {
    let mut rig = rig();
    let (invitation, invite) = call(&mut rig);
    rig.hear(&response(&invite, "180 Ringing", "b1", CONTACT));
    assert!(rig.hear(&response(&invite, "486 Busy Here", "b1", "")).unwrap().starts_with("Refused"));
    let outputs = rig.drain();
    assert_eq!(sends(&outputs, "ACK").len(), 1);
    assert!(ended(&outputs, "NotChosen"));
    assert_eq!(rig.machine.cancel(rig.now, invitation), Err(Misuse::WrongState));
    rig.run_until(ms(40_000));
    assert!(rig.machine.is_idle());
}

#[test]
fn a_call_without_an_answer_times_out() {
    let mut rig = rig();
    call(&mut rig);
    let outputs = rig.run_until(ms(40_000));
    assert_eq!(sends(&outputs, "INVITE").len(), 6);
    assert!(outputs.last().unwrap().line().contains("Timeout"));
    assert!(rig.machine.is_idle());
}

/// RFC 3261 §9.1: the 2xx wins the race; then the call is acknowledged and hung up.
#[test]
fn a_2xx_that_crosses_a_cancel_is_acknowledged_and_hung_up() {
    let mut rig = rig();
    let (invitation, invite) = call(&mut rig);
    rig.hear(&response(&invite, "180 Ringing", "b1", CONTACT));
    rig.machine.cancel(rig.now, invitation).unwrap();
    text(&rig.drain(), "CANCEL");
    answered(&mut rig, &response(&invite, "200 OK", "b1", CONTACT));
    let outputs = rig.drain();
    assert!(!text(&outputs, "ACK").is_empty());
    let bye = text(&outputs, "BYE");
    rig.hear(&response(&bye, "200 OK", "", ""));
    assert!(ended(&rig.drain(), "LocalBye"));
}

#[test]
fn an_offer_in_the_2xx_is_answered_in_the_ack() {
    let mut rig = rig();
    let uri = format!("sip:bob@{PEER}");
    rig.machine.invite(rig.now, &NewInvite { user: 5, ..NewInvite::new(&uri) }).unwrap();
    let invite = text(&rig.drain(), "INVITE");
    let offer = format!("{CONTACT}Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n");
    let ok = response(&invite, "200 OK", "b1", &offer);
    let dialog = match rig.machine.datagram(rig.now, Rig::<UserAgent>::source(), ok.as_bytes()) {
        Some(Event::Answered { dialog, wants_answer: true, .. }) => dialog,
        other => panic!("{other:?}"),
    };
    assert_eq!(sends(&rig.drain(), "ACK"), []);
    assert_eq!(rig.hear(&ok), None, "a copy waits as the first");
    rig.machine.ack(rig.now, dialog, &OFFER).unwrap();
    assert!(text(&rig.drain(), "ACK").ends_with("\r\n\r\nv=0\r\n"));
    assert_eq!(rig.machine.ack(rig.now, dialog, &OFFER), Err(Misuse::WrongState));
}

/// RFC 5057 §5.1
#[test]
fn a_404_inside_ends_the_dialog_and_a_481_to_options_does_not() {
    for (method, status, ends) in [
        (Method::Options, "481 Call/Transaction Does Not Exist", false),
        (Method::Options, "404 Not Found", true),
        (Method::Info, "481 Call/Transaction Does Not Exist", true),
        (Method::Info, "405 Method Not Allowed", false),
    ] {
        let mut rig = rig();
        let (_, invite) = call(&mut rig);
        let dialog = answered(&mut rig, &response(&invite, "200 OK", "b1", CONTACT));
        rig.drain();
        rig.machine.request_in(rig.now, dialog, method, 9, &Content::NONE).unwrap();
        let sent = text(&rig.drain(), &method.to_string());
        assert!(header(&sent, "CSeq").unwrap().starts_with("2 "));
        assert!(rig.hear(&response(&sent, status, "", "")).unwrap().contains("user: 9"));
        assert_eq!(ended(&rig.drain(), "Lost"), ends, "{method} {status}");
    }
}

#[test]
fn requests_outside_dialogs() {
    let mut rig = rig();
    let uri = format!("sip:{PEER}");
    let options = NewRequest { user: 8, ..NewRequest::new(Method::Options, &uri) };
    rig.machine.request(rig.now, &options).unwrap();
    let sent = text(&rig.drain(), "OPTIONS");
    assert!(rig.hear(&response(&sent, "200 OK", "b", "")).unwrap().contains("user: 8"));
    let outputs = rig.run_until(ms(10_000));
    assert!(outputs[0].line().starts_with("RequestEnded") && outputs[0].line().contains("user: 8"));
    for method in [Method::Invite, Method::Ack, Method::Cancel, Method::Bye, Method::Other(b"a b")] {
        let request = NewRequest { method, ..options };
        assert_eq!(rig.machine.request(rig.now, &request), Err(Misuse::BadMethod));
    }
}

// The callee.

fn request(method: &str, cseq: u32, to_tag: &str, extra: &str) -> String {
    let tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
    format!(
        "{method} sip:alice@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{method}{cseq}\r\n\
         From: <sip:bob@x>;tag=b1\r\nTo: <sip:alice@x>{tag}\r\nCall-ID: c1@x\r\nCSeq: {cseq} {method}\r\n\
         Max-Forwards: 70\r\nContact: <sip:bob@192.0.2.2:5099>\r\n{extra}Content-Length: 0\r\n\r\n"
    )
}

fn incoming(rig: &mut Rig<UserAgent>, extra: &str) -> DialogId {
    let invite = request("INVITE", 1, "", extra);
    match rig.machine.datagram(rig.now, Rig::<UserAgent>::source(), invite.as_bytes()) {
        Some(Event::Incoming { dialog, .. }) => dialog,
        other => panic!("no call: {other:?}"),
    }
}

/// Rings and answers; the To tag of this side.
fn accept(rig: &mut Rig<UserAgent>, dialog: DialogId) -> String {
    rig.machine.ring(rig.now, dialog, Status::RINGING, &Content::NONE).unwrap();
    rig.machine.accept(rig.now, dialog, &OFFER).unwrap();
    let outputs = rig.drain();
    let (ringing, ok) = (text(&outputs, "SIP/2.0 180"), text(&outputs, "SIP/2.0 200"));
    assert_eq!(header(&ringing, "To"), header(&ok, "To"));
    assert_eq!(header(&ok, "Contact"), Some("<sip:alice@192.0.2.1:5060>"));
    header(&ok, "To").unwrap().rsplit('=').next().unwrap().to_owned()
}

/// RFC 3261 §13.3.1.4
#[test]
fn a_2xx_is_sent_until_the_ack_comes() {
    let mut rig = rig();
    let dialog =
        incoming(&mut rig, "Record-Route: <sip:192.0.2.31;lr>\r\nRecord-Route: <sip:192.0.2.30;lr>\r\n");
    rig.machine.set_user(rig.now, dialog, 77).unwrap();
    let tag = accept(&mut rig, dialog);
    let outputs = rig.run_until(ms(8_000));
    assert_eq!(sends(&outputs, "SIP/2.0 200"), [500, 1_500, 3_500, 7_500]);
    let ok = text(&outputs, "SIP/2.0 200");
    assert!(ok.contains("Record-Route: <sip:192.0.2.31;lr>\r\nRecord-Route: <sip:192.0.2.30;lr>\r\n"));
    // An ACK of another number is not it; a branch that is none of this side's business does not matter.
    assert_eq!(rig.hear(&request("ACK", 2, &tag, "")), None);
    let up = rig.hear(&request("ACK", 1, &tag, "")).unwrap();
    assert!(up.starts_with("Established") && up.contains("user: 77"));
    assert_eq!(rig.hear(&request("ACK", 1, &tag, "")), None);
    assert_eq!(sends(&rig.run_until(ms(31_000)), "SIP/2.0"), []);
    // This side hangs up along the route set, in its order.
    rig.machine.bye(rig.now, dialog, &Content::NONE).unwrap();
    let outputs = rig.drain();
    assert!(matches!(&outputs[0], Out::Sent { to, .. } if to == "192.0.2.31:5060"));
    let bye = text(&outputs, "BYE");
    assert!(bye.starts_with("BYE sip:bob@192.0.2.2:5099 SIP/2.0\r\n"));
    assert_eq!(header(&bye, "From"), Some(&*format!("<sip:alice@x>;tag={tag}")));
    rig.hear(&response(&bye, "481 Call/Transaction Does Not Exist", "", ""));
    assert!(ended(&rig.drain(), "LocalBye"));
    rig.run_until(ms(100_000));
    assert!(rig.machine.is_idle());
}

#[test]
fn a_2xx_that_is_never_acknowledged_ends_in_a_bye() {
    let mut rig = rig();
    let dialog = incoming(&mut rig, "");
    accept(&mut rig, dialog);
    let outputs = rig.run_until(ms(32_000));
    assert_eq!(sends(&outputs, "SIP/2.0 200").len(), 10);
    assert_eq!(sends(&outputs, "BYE"), [32_000]);
    assert!(ended(&outputs, "NoAck"));
    rig.run_until(ms(100_000));
    assert!(rig.machine.is_idle());
}

/// RFC 3261 §15: the callee may not hang up before the ACK.
#[test]
fn a_bye_waits_for_the_ack() {
    let mut rig = rig();
    let dialog = incoming(&mut rig, "");
    assert_eq!(rig.machine.bye(rig.now, dialog, &Content::NONE), Err(Misuse::WrongState), "reject it");
    let tag = accept(&mut rig, dialog);
    let why = Content { headers: &[("Reason", "Q.850;cause=16")], ..Content::NONE };
    rig.machine.bye(rig.now, dialog, &why).unwrap();
    assert_eq!(rig.drain(), []);
    let more = rig.machine.request_in(rig.now, dialog, Method::Info, 0, &Content::NONE);
    assert_eq!(more, Err(Misuse::WrongState));
    rig.hear(&request("ACK", 1, &tag, ""));
    let outputs = rig.drain();
    assert_eq!(sends(&outputs, "BYE").len(), 1);
    assert_eq!(header(&text(&outputs, "BYE"), "Reason"), Some("Q.850;cause=16"));
}

#[test]
fn a_call_is_cancelled() {
    let mut rig = rig();
    let dialog = incoming(&mut rig, "");
    rig.machine.ring(rig.now, dialog, Status::RINGING, &Content::NONE).unwrap();
    rig.drain();
    let cancel = request("CANCEL", 1, "", "").replace("z9hG4bKCANCEL1", "z9hG4bKINVITE1");
    assert_eq!(rig.hear(&cancel), None);
    let outputs = rig.drain();
    assert_eq!(header(&text(&outputs, "SIP/2.0 487"), "To"), header(&text(&outputs, "SIP/2.0 200"), "To"));
    assert!(ended(&outputs, "Cancelled"));
    assert_eq!(rig.machine.accept(rig.now, dialog, &OFFER), Err(Misuse::Gone));
}

#[test]
fn a_call_is_rejected() {
    let mut rig = rig();
    let dialog = incoming(&mut rig, "");
    assert_eq!(rig.machine.reject(rig.now, dialog, Status::OK, &Content::NONE), Err(Misuse::BadStatus));
    let retry = [("Retry-After", "30")];
    rig.machine.reject(rig.now, dialog, Status::BUSY_HERE, &Content::headers(&retry)).unwrap();
    let outputs = rig.drain();
    assert_eq!(header(&text(&outputs, "SIP/2.0 486"), "Retry-After"), Some("30"));
    assert!(ended(&outputs, "Rejected"));
}

/// RFC 3261 §15.1.2
#[test]
fn a_bye_ends_a_call_in_every_phase() {
    // Ringing: the INVITE is answered with 487.
    let mut rig = rig();
    let dialog = incoming(&mut rig, "");
    rig.machine.ring(rig.now, dialog, Status::RINGING, &Content::NONE).unwrap();
    let ringing = text(&rig.drain(), "SIP/2.0 180");
    let tag = header(&ringing, "To").unwrap().rsplit('=').next().unwrap();
    rig.hear(&request("BYE", 2, tag, ""));
    let outputs = rig.drain();
    assert!(!text(&outputs, "SIP/2.0 200").is_empty() && !text(&outputs, "SIP/2.0 487").is_empty());
    assert!(ended(&outputs, "RemoteBye"));

    // Before the ACK: the 2xx stops.
    let mut rig = self::rig();
    let dialog = incoming(&mut rig, "");
    let tag = accept(&mut rig, dialog);
    rig.hear(&request("BYE", 2, &tag, ""));
    assert!(ended(&rig.drain(), "RemoteBye"));
    assert_eq!(sends(&rig.run_until(ms(100_000)), "SIP/2.0"), []);
    assert!(rig.machine.is_idle());

    // Crossing our own: 200 to theirs, and ours goes on.
    let mut rig = self::rig();
    let dialog = incoming(&mut rig, "");
    let tag = accept(&mut rig, dialog);
    rig.hear(&request("ACK", 1, &tag, ""));
    rig.machine.bye(rig.now, dialog, &Content::NONE).unwrap();
    rig.drain();
    rig.hear(&request("BYE", 2, &tag, ""));
    let outputs = rig.drain();
    assert!(!text(&outputs, "SIP/2.0 200").is_empty());
    assert!(!ended(&outputs, ""));
}

/// RFC 3261 §12.2.2
#[test]
fn numbers_inside_a_dialog_only_rise() {
    let mut rig = rig();
    let dialog = incoming(&mut rig, "");
    let tag = accept(&mut rig, dialog);
    rig.hear(&request("ACK", 1, &tag, ""));
    rig.drain();
    for (cseq, status) in [(5, "200"), (4, "500"), (9, "200"), (8, "500")] {
        rig.hear(&request("OPTIONS", cseq, &tag, ""));
        assert!(rig.drain()[0].line().starts_with(&format!("SIP/2.0 {status}")), "{cseq}");
    }
    // Another request with a number that was used, and that is no retransmission.
    rig.hear(&request("OPTIONS", 9, &tag, "").replace("z9hG4bKOPTIONS9", "z9hG4bKother"));
    assert!(rig.drain()[0].line().starts_with("SIP/2.0 500"));
}

#[test]
fn what_belongs_to_no_dialog_gets_481() {
    let mut rig = rig();
    for method in ["BYE", "OPTIONS", "INVITE", "INFO", "NOTIFY", "PRACK", "UPDATE"] {
        assert!(rig.hear(&request(method, 3, "unknown", "")).unwrap().contains("481"), "{method}");
        assert!(rig.drain()[0].line().starts_with("SIP/2.0 481"), "{method}");
    }
    for method in ["BYE", "INFO", "CANCEL"] {
        assert!(rig.hear(&request(method, 4, "", "")).unwrap().contains("481"), "{method}");
        rig.drain();
    }
    assert!(rig.hear(&request("ACK", 3, "unknown", "")).unwrap().starts_with("Stray"));
    assert_eq!(rig.drain(), []);
}

/// RFC 3261 §8.2
#[test]
fn requests_that_are_not_taken() {
    for (text, status, with) in [
        (request("REGISTER", 1, "", ""), 405, "Allow"),
        (request("FOO", 1, "", ""), 501, "Allow"),
        (request("INVITE", 1, "", "Require: bar, 100rel, foo\r\n"), 420, "Unsupported"),
        (request("INVITE", 1, "", "").replace("INVITE sip:", "INVITE foo:"), 416, "Via"),
        (request("INVITE", 1, "", "Contact: <sip:second@x>\r\n"), 400, "Via"),
        (request("INVITE", 1, "", "Accept: text/plain\r\n"), 406, "Via"),
        (
            request("INVITE", 1, "", "Content-Type: text/plain\r\n")
                .replace("Length: 0\r\n\r\n", "Length: 2\r\n\r\nhi"),
            415,
            "Accept",
        ),
    ] {
        let mut rig = rig();
        assert!(rig.hear(&text).unwrap().contains(&status.to_string()), "{text}");
        let sent = rig.drain()[0].bytes().to_owned();
        assert!(sent.starts_with(&format!("SIP/2.0 {status}")), "{sent}");
        assert!(header(&sent, with).is_some(), "{sent}");
    }
    let mut rig = rig();
    rig.hear(&request("INVITE", 1, "", "Require: bar, 100rel, foo\r\n"));
    let sent = text(&rig.drain(), "SIP/2.0 420");
    assert!(sent.contains("Unsupported: bar\r\nUnsupported: foo\r\n"));
    // The same request by two paths.
    rig.hear(&request("OPTIONS", 2, "", ""));
    assert!(
        rig.hear(&request("OPTIONS", 2, "", "").replace("z9hG4bKOPTIONS2", "z9hG4bKpath2"))
            .unwrap()
            .contains("482")
    );
}

#[test]
fn options_are_answered() {
    let mut rig = rig();
    assert!(rig.hear(&request("OPTIONS", 1, "", "")).unwrap().starts_with("Served"));
    let sent = text(&rig.drain(), "SIP/2.0 200");
    assert_eq!(header(&sent, "Allow"), Some("INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, NOTIFY"));
    assert_eq!(header(&sent, "Supported"), Some("100rel, replaces, timer"));
    assert_eq!(header(&sent, "Accept"), Some("application/sdp, multipart/mixed, multipart/alternative"));
}

#[test]
fn a_call_that_nobody_answers_gets_a_500() {
    let mut rig = rig();
    incoming(&mut rig, "");
    let outputs = rig.run_until(ms(300_000));
    assert!(ended(&outputs, "Unanswered"));
    assert_eq!(sends(&outputs, "SIP/2.0 500"), [300_000]);
    rig.run_until(ms(500_000));
    assert!(rig.machine.is_idle());
}

#[test]
fn beyond_the_cap_of_dialogs_calls_get_503() {
    let mut config = Config::new(sip_core::Config::new([3; 32]), "alice");
    config.core.limits.dialogs = 1;
    let mut rig = Rig::new(UserAgent::new(config));
    incoming(&mut rig, "");
    let second = request("INVITE", 1, "", "").replace("c1@x", "c2@x").replace("INVITE1", "INVITE2");
    assert!(rig.hear(&second).unwrap().contains("503"));
    assert!(rig.drain()[0].line().starts_with("SIP/2.0 503"));
    let uri = format!("sip:bob@{PEER}");
    assert_eq!(rig.machine.invite(rig.now, &NewInvite::new(&uri)), Err(Misuse::Full));
}

// What a review found, and what must stay mended.

#[test]
fn a_peer_hangs_up_while_this_side_drains() {
    let mut rig = rig();
    let dialog = incoming(&mut rig, "");
    let tag = accept(&mut rig, dialog);
    rig.hear(&request("ACK", 1, &tag, ""));
    rig.machine.drain(rig.now);
    rig.hear(&request("BYE", 2, &tag, ""));
    assert!(text(&rig.drain(), "SIP/2.0").starts_with("SIP/2.0 200"));
    rig.run_until(ms(100_000));
    assert!(rig.machine.is_idle());
}

#[test]
fn a_call_that_can_not_be_sent_is_told_to_have_ended() {
    let mut config = Config::new(sip_core::Config::new([3; 32]), "alice");
    config.core.limits.waiting_for_flow = 2;
    let mut rig = Rig::new(UserAgent::new(config));
    let uri = format!("sip:bob@{PEER};transport=tcp");
    for _ in 0..4 {
        rig.machine.invite(rig.now, &NewInvite { content: OFFER, ..NewInvite::new(&uri) }).unwrap();
    }
    let outputs = rig.run_until(ms(100_000));
    assert_eq!(outputs.iter().filter(|out| out.line().starts_with("InvitationEnded")).count(), 4);
    assert!(rig.machine.is_idle());
}

/// A peer that wants requests where none can be sent has no call.
#[test]
fn a_contact_that_can_not_be_reached_ends_the_call() {
    let mut rig = rig();
    let (_, invite) = call(&mut rig);
    answered(&mut rig, &response(&invite, "200 OK", "b1", "Contact: <sip:bob@192.0.2.2;transport=tls>\r\n"));
    assert!(ended(&rig.drain(), "Unreachable"));
    rig.run_until(ms(100_000));
    assert!(rig.machine.is_idle());
}

#[test]
fn the_contact_of_an_answer_outlives_its_connection() {
    let mut rig = rig();
    let flow = rig.accept();
    let mut buf = sip_core::framing::StreamBuf::new();
    buf.extend(request("INVITE", 1, "", "").replace("UDP", "TCP").as_bytes());
    let Some(Event::Incoming { dialog, .. }) = rig.machine.stream(rig.now, flow, &mut buf) else {
        panic!("no call")
    };
    rig.machine.flow_closed(rig.now, flow);
    rig.machine.accept(rig.now, dialog, &OFFER).unwrap();
    rig.drain();
    rig.machine.flow_opened(rig.now, sip_core::FlowId::from_bits(1 << 32), US.parse().unwrap());
    let ok = text(&rig.drain(), "SIP/2.0 200");
    assert_eq!(header(&ok, "Contact"), Some("<sip:alice@192.0.2.1:5060;transport=tcp>"));
}

#[test]
fn a_caller_notices_that_its_connection_is_lost() {
    let mut rig = rig();
    let uri = format!("sip:bob@{PEER};transport=tcp");
    rig.machine.invite(rig.now, &NewInvite { content: OFFER, ..NewInvite::new(&uri) }).unwrap();
    let flow = sip_core::FlowId::from_bits(0);
    rig.machine.flow_opened(rig.now, flow, US.parse().unwrap());
    let invite = text(&rig.drain(), "INVITE");
    let mut buf = sip_core::framing::StreamBuf::new();
    buf.extend(response(&invite, "180 Ringing", "b1", CONTACT).as_bytes());
    assert!(rig.machine.stream(rig.now, flow, &mut buf).is_some());
    rig.machine.flow_closed(rig.now, flow);
    let outputs = rig.drain();
    assert!(
        outputs
            .iter()
            .any(|out| out.line().contains("InvitationEnded") && out.line().contains("TransportError"))
    );
    assert!(ended(&outputs, "NotChosen"));
}

/// RFC 3261 §8.1.3.3
#[test]
fn a_response_with_two_vias_is_nobodys() {
    let mut rig = rig();
    let (_, invite) = call(&mut rig);
    let ok = response(&invite, "200 OK", "b1", CONTACT);
    for extra in ["Via: SIP/2.0/UDP other\r\n", ""] {
        let two = if extra.is_empty() {
            ok.replace(";rport\r\n", ";rport, SIP/2.0/UDP other\r\n")
        } else {
            ok.replace("From:", &format!("{extra}From:"))
        };
        assert_ne!(two, ok);
        assert!(rig.hear(&two).unwrap().starts_with("Stray"));
    }
    assert!(rig.hear(&response(&invite, "486 Busy Here", "b1", "")).unwrap().starts_with("Refused"));
}

/// RFC 3261 §13.2.2.4: every 2xx is acknowledged; a call that nobody wants any more is hung up.
#[test]
fn a_2xx_of_an_early_dialog_that_is_over_is_hung_up() {
    let mut rig = rig();
    let (_, invite) = call(&mut rig);
    rig.hear(&response(&invite, "180 Ringing", "b1", CONTACT));
    rig.hear(&response(&invite, "199 Early Dialog Terminated", "b1", ""));
    assert!(ended(&rig.drain(), "NotChosen"));
    assert_eq!(rig.hear(&response(&invite, "200 OK", "b1", CONTACT)), None);
    let outputs = rig.drain();
    assert_eq!((sends(&outputs, "ACK").len(), sends(&outputs, "BYE").len()), (1, 1));
    let bye = text(&outputs, "BYE");
    rig.hear(&response(&bye, "200 OK", "", ""));
    assert!(!ended(&rig.run_until(ms(100_000)), ""), "it was told once");
    assert!(rig.machine.is_idle());
}

#[test]
fn a_timeout_inside_ends_what_a_408_would() {
    for (method, ends) in [(Method::Info, true), (Method::Options, false)] {
        let mut rig = rig();
        let (_, invite) = call(&mut rig);
        let dialog = answered(&mut rig, &response(&invite, "200 OK", "b1", CONTACT));
        rig.machine.request_in(rig.now, dialog, method, 0, &Content::NONE).unwrap();
        assert_eq!(ended(&rig.run_until(ms(40_000)), "Lost"), ends, "{method}");
    }
}

#[test]
fn a_cancel_with_a_to_tag_that_matches_nothing_gets_481() {
    let mut rig = rig();
    let dialog = incoming(&mut rig, "");
    let tag = accept(&mut rig, dialog);
    rig.hear(&request("CANCEL", 1, &tag, ""));
    assert!(rig.drain()[0].line().starts_with("SIP/2.0 481"));
}

#[test]
fn headers_of_the_configuration_can_not_inject_others() {
    let mut config = Config::new(sip_core::Config::new([3; 32]), "al\r\nice");
    config.product = "x\r\nEvil: yes".into();
    config.identity = "\"x\r\nEvil: yes\" <sip:a@x>".into();
    let mut rig = Rig::new(UserAgent::new(config));
    let uri = format!("sip:{PEER}");
    assert_eq!(rig.machine.invite(rig.now, &NewInvite::new(&uri)), Err(Misuse::BadContent));
    assert_eq!(
        rig.machine.request(rig.now, &NewRequest::new(Method::Options, &uri)),
        Err(Misuse::BadContent)
    );
    rig.hear(&request("OPTIONS", 1, "", ""));
    assert!(!text(&rig.drain(), "SIP/2.0 200").contains("Evil"));
}

/// Copies of a 2xx whose Contact is a name ask for its address once.
#[test]
fn copies_of_a_2xx_do_not_multiply_questions() {
    let mut rig = rig();
    let (_, invite) = call(&mut rig);
    let ok = response(&invite, "200 OK", "b1", "Contact: <sip:bob@peer.example>\r\n");
    answered(&mut rig, &ok);
    for _ in 0..100 {
        assert_eq!(rig.hear(&ok), None);
    }
    assert_eq!(rig.drain().iter().filter(|out| out.line().starts_with("resolve")).count(), 1);
}

// Two user agents and a wire between them.

#[test]
fn two_user_agents_agree() {
    use sip_core::Instant;
    let mut alice = rig();
    let mut bob = Rig::new(UserAgent::new(Config::new(sip_core::Config::new([4; 32]), "bob")));
    let uri = format!("sip:bob@{US}");
    alice.machine.invite(Instant::ZERO, &NewInvite { content: OFFER, ..NewInvite::new(&uri) }).unwrap();
    let mut calls = Vec::new();
    for _ in 0..10 {
        for out in alice.drain() {
            let data = out.bytes().as_bytes().to_vec();
            let event = bob.machine.datagram(bob.now, Rig::<UserAgent>::source(), &data);
            if let Some(Event::Incoming { dialog, .. }) = event {
                calls.push(dialog);
                bob.machine.accept(bob.now, dialog, &OFFER).unwrap();
            }
        }
        for out in bob.drain() {
            let data = out.bytes().as_bytes().to_vec();
            let event = alice.machine.datagram(alice.now, Rig::<UserAgent>::source(), &data);
            if let Some(Event::Answered { dialog, .. }) = event {
                alice.machine.bye(alice.now, dialog, &Content::NONE).unwrap();
            }
        }
    }
    assert_eq!(calls.len(), 1);
    assert_eq!((alice.machine.dialogs().count(), bob.machine.dialogs().count()), (0, 0));
    alice.run_until(ms(100_000));
    bob.run_until(ms(100_000));
    assert!(alice.machine.is_idle() && bob.machine.is_idle());
}
