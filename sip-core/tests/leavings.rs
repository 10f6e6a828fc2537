//! Calls behind proxies that challenge and route, and what is left of them when two ends cross.

mod support;

use sip_core::message::{Content, Method, Status};
use sip_core::ua::{Config, NewInvite, UserAgent};
use sip_core::{Local, Machine, Transport};
use support::call::{BODY, CHALLENGE, CONTACT, Call, SDP, config, hear, known, outside, place, sent, told};
use support::{Out, PEER, Rig, header, ms, response, sends};

const RELIABLE: &str = "Require: 100rel\r\nRSeq: 1\r\n";

fn nc(request: &str) -> String {
    header(request, "Authorization").unwrap().split("nc=").nth(1).unwrap()[..8].to_owned()
}

fn limits(forks: usize, dialogs: usize) -> sip_core::Config {
    let mut core = sip_core::Config::new([3; 32]);
    core.limits.forks = forks;
    core.limits.dialogs = dialogs;
    core
}

/// An INVITE that has been challenged and sent again.
fn challenged(config: Config) -> (Rig<UserAgent>, String) {
    let mut rig = Rig::new(UserAgent::new(config));
    let (_, invite) = place(&mut rig, SDP);
    hear(&mut rig, &response(&invite, "401 Unauthorized", "p", CHALLENGE));
    let invite = sent(&rig.drain(), "INVITE");
    (rig, invite)
}

/// RFC 3261 §22.1: "UACs creating an ACK message will duplicate all of the Authorization and Proxy-Authorization header field values that appeared in
/// the INVITE". Also for the second fork.
#[test]
fn the_ack_of_the_second_fork_has_the_credentials() {
    for keep_forks in [true, false] {
        let (mut rig, invite) = challenged(Config { keep_forks, ..known() });
        let mut acks = vec![];
        for tag in ["b1", "b2"] {
            hear(&mut rig, &response(&invite, "200 OK", tag, &format!("{CONTACT}{BODY}")));
            let ack = sent(&rig.drain(), "ACK");
            acks.push(header(&ack, "Authorization").is_some());
        }
        assert_eq!(acks, [true, true], "keep_forks: {keep_forks}");
    }
}

/// The same for the 2xx of an early dialog that this side has hung up.
#[test]
fn the_ack_after_an_early_bye_has_the_credentials() {
    let (mut rig, invite) = challenged(known());
    let early = hear(&mut rig, &response(&invite, "180 Ringing", "b1", CONTACT)).dialog.unwrap();
    rig.machine.bye(rig.now, early, &Content::NONE).unwrap();
    rig.drain();
    hear(&mut rig, &response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}")));
    assert!(header(&sent(&rig.drain(), "ACK"), "Authorization").is_some());
}

/// RFC 7616 §3.4: the BYE of who is turned away and the requests of the first fork count one nonce.
#[test]
fn who_is_turned_away_does_not_count_a_nonce_again() {
    let (mut rig, invite) = challenged(Config { core: limits(1, 100), ..known() });
    let mut counts = vec![nc(&invite)];
    let dialog =
        hear(&mut rig, &response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}"))).dialog.unwrap();
    hear(&mut rig, &response(&invite, "200 OK", "b2", &format!("{CONTACT}{BODY}")));
    counts.push(nc(&sent(&rig.drain(), "BYE")));
    rig.machine.bye(rig.now, dialog, &Content::NONE).unwrap();
    counts.push(nc(&sent(&rig.drain(), "BYE")));
    let mut once = counts.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), 3, "{counts:?}");
}

/// RFC 3261 §22.2: their BYE answers a challenge as any request, once, and nothing is left of it in the end.
#[test]
fn who_is_turned_away_is_hung_up_though_that_is_challenged() {
    let (mut rig, invite) = challenged(Config { core: limits(1, 100), ..known() });
    for tag in ["b1", "b2"] {
        hear(&mut rig, &response(&invite, "200 OK", tag, &format!("{CONTACT}{BODY}")));
    }
    let bye = sent(&rig.drain(), "BYE");
    let challenge = CHALLENGE.replace("n1", "n2");
    hear(&mut rig, &response(&bye, "401 Unauthorized", "", &challenge));
    let again = sent(&rig.drain(), "BYE");
    assert!(header(&again, "Authorization").unwrap().contains("n2"), "{again}");
    assert_eq!((header(&again, "To"), header(&again, "CSeq").unwrap()), (header(&bye, "To"), "4 BYE"));
    hear(&mut rig, &response(&again, "401 Unauthorized", "", &challenge.replace("n2", "n3")));
    let heard = rig.run_until(ms(100_000));
    assert!(sends(&heard, "BYE").is_empty() && !heard.iter().any(|out| out.line().starts_with("Ended")));
    assert_eq!(rig.machine.stats().client_transactions, 0);
}

/// The same: the fork's PRACK and the INVITE that is sent again after a 422.
#[test]
fn an_invite_that_is_sent_again_does_not_count_a_nonce_again() {
    let mut config = known();
    config.session_timer.expires = Some(core::time::Duration::from_secs(90));
    let (mut rig, invite) = challenged(config);
    hear(&mut rig, &response(&invite, "183 Progress", "b1", &format!("{CONTACT}{RELIABLE}")));
    let prack = sent(&rig.drain(), "PRACK");
    hear(&mut rig, &response(&prack, "200 OK", "", ""));
    hear(&mut rig, &response(&invite, "422 Session Interval Too Small", "b1", "Min-SE: 600\r\n"));
    let again = sent(&rig.drain(), "INVITE");
    assert_ne!(nc(&prack), nc(&again));
}

/// The second BYE, after a 481 to the one that crossed the 2xx, is waited for.
#[test]
fn the_end_of_the_first_bye_is_not_the_end_of_the_second() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    let early = hear(&mut rig, &response(&invite, "180 Ringing", "b1", CONTACT)).dialog.unwrap();
    rig.machine.bye(rig.now, early, &Content::NONE).unwrap();
    let bye = sent(&rig.drain(), "BYE");
    hear(&mut rig, &response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}")));
    hear(&mut rig, &response(&bye, "481 Call/Transaction Does Not Exist", "", ""));
    let second = sent(&rig.drain(), "BYE");
    // T4 after its answer the transaction of the first one ends; the second has no answer yet, and is still sent again.
    let mut out = rig.run_until(ms(6_000));
    hear(&mut rig, &response(&second, "200 OK", "", ""));
    out.extend(rig.drain());
    let ended: Vec<_> = out.iter().map(Out::line).filter(|line| line.starts_with("Ended")).collect();
    assert!(ended.len() == 1 && ended[0].contains("LocalBye"), "{ended:?}");
}

/// RFC 3261 §8.1.1.8: "If the Request-URI or top Route header field value contains a SIPS URI, the Contact header field MUST contain a SIPS URI as
/// well." A redirection changes the Request-URI and not the Route.
#[test]
fn a_redirection_behind_a_sips_route_keeps_its_sips_contact() {
    let mut rig = Rig::new(UserAgent::new(Config { redirects: 3, ..config() }));
    let addr = "192.0.2.1:5061".parse().unwrap();
    rig.machine.listen(rig.now, Local { transport: Transport::Tls, addr, advertised: None });
    let uri = format!("sip:bob@{PEER}");
    let route = ["<sips:192.0.2.7:5061;lr>"];
    rig.machine.invite(rig.now, &NewInvite { content: SDP, route: &route, ..NewInvite::new(&uri) }).unwrap();
    rig.drain();
    rig.machine.flow_opened(rig.now, sip_core::FlowId::from_bits(0), addr);
    let invite = sent(&rig.drain(), "INVITE");
    assert!(header(&invite, "Contact").unwrap().starts_with("<sips:"));
    hear(&mut rig, &response(&invite, "302 Moved Temporarily", "p", "Contact: <sip:carol@192.0.2.9>\r\n"));
    let again = sent(&rig.drain(), "INVITE sip:carol@192.0.2.9");
    assert_eq!(header(&again, "Route"), Some(route[0]));
    assert!(header(&again, "Contact").unwrap().starts_with("<sips:"), "{again}");
}

/// RFC 3261 §8.1.2, §8.1.3.4: with a Route the request goes there, whatever transport its new Request-URI names.
#[test]
fn a_redirection_behind_a_route_needs_no_way_to_its_target() {
    let mut rig = Rig::new(UserAgent::new(Config { redirects: 3, ..config() }));
    let uri = format!("sip:bob@{PEER}");
    let route = ["<sip:192.0.2.2:5060;lr>"];
    rig.machine.invite(rig.now, &NewInvite { content: SDP, route: &route, ..NewInvite::new(&uri) }).unwrap();
    let invite = sent(&rig.drain(), "INVITE");
    let moved = "Contact: <sip:carol@192.0.2.9;transport=ws>\r\n";
    hear(&mut rig, &response(&invite, "302 Moved Temporarily", "p", moved));
    assert_eq!(sends(&rig.drain(), "INVITE sip:carol@192.0.2.9").len(), 1);
}

/// RFC 3261 §8.1.1.8, §8.1.2: a SIPS Request-URI behind a Route that is none.
#[test]
fn a_sips_request_uri_behind_a_sip_route_has_a_sips_contact() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let addr = "192.0.2.1:5061".parse().unwrap();
    rig.machine.listen(rig.now, Local { transport: Transport::Tls, addr, advertised: None });
    let route = ["<sip:192.0.2.2:5060;lr>"];
    let new = NewInvite { content: SDP, route: &route, ..NewInvite::new("sips:bob@192.0.2.9") };
    rig.machine.invite(rig.now, &new).unwrap();
    let out = rig.drain();
    let Some(invite) = out.iter().find(|out| out.bytes().starts_with("INVITE")) else { return };
    assert!(header(invite.bytes(), "Contact").unwrap().starts_with("<sips:"), "{invite:?}");
}

/// `Limits::forks`: one INVITE does not take the room of all calls.
#[test]
fn early_dialogs_that_end_do_not_fill_the_table() {
    let mut rig = Rig::new(UserAgent::new(Config { core: limits(2, 20), ..config() }));
    let (_, invite) = place(&mut rig, SDP);
    for tag in 0..20 {
        for status in ["180 Ringing", "199 Early Dialog Terminated"] {
            hear(&mut rig, &response(&invite, status, &format!("t{tag}"), CONTACT));
        }
    }
    rig.drain();
    assert_eq!(rig.machine.dialogs().count(), 0);
    let heard = hear(&mut rig, &outside("INVITE", BODY));
    assert!(heard.text.starts_with("Incoming"), "{}", heard.text);
}

/// RFC 3311 §5.1, the callee: it may offer once it "has generated an answer in a reliable provisional response, has received a PRACK for that
/// reliable provisional response".
#[test]
fn a_reliable_180_without_a_session_does_not_forbid_an_offer() {
    let mut call = Call::ringing(config(), &format!("Supported: 100rel\r\nAllow: UPDATE, PRACK\r\n{BODY}"));
    let now = call.rig.now;
    call.rig.machine.ring_reliably(now, call.dialog, Status::new(183).unwrap(), &SDP).unwrap();
    let progress = sent(&call.rig.drain(), "SIP/2.0 183");
    call.us = header(&progress, "To").unwrap().into();
    let rseq = header(&progress, "RSeq").unwrap().to_owned();
    call.ask("PRACK", &format!("RAck: {rseq} 1 INVITE\r\n"));
    call.rig.machine.ring_reliably(now, call.dialog, Status::RINGING, &Content::NONE).unwrap();
    call.rig.drain();
    assert!(call.send(Method::Update, SDP).is_ok());
}

/// RFC 6228 §4, RFC 3262 §4: a reliable 199 with an offer (there must be one if the INVITE had none) is acknowledged like any other.
#[test]
fn a_reliable_199_with_an_offer_is_acknowledged() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, Content::NONE);
    let heard = hear(
        &mut rig,
        &response(&invite, "199 Early Dialog Terminated", "b1", &format!("{CONTACT}{RELIABLE}{BODY}")),
    );
    let by_itself = sends(&rig.drain(), "PRACK").len();
    let by_the_user = heard.dialog.map(|dialog| rig.machine.prack(rig.now, dialog, 0, &SDP).is_ok());
    assert!(by_itself == 1 || by_the_user == Some(true), "wants a PRACK: {}, {by_the_user:?}", heard.wants);
}

/// After the user has hung up nothing is sent in the call but the BYE.
#[test]
fn an_update_does_not_come_back_after_the_user_has_hung_up() {
    let mut call = Call::ringing(config(), &format!("Allow: UPDATE\r\n{BODY}"));
    call.rig.machine.accept(call.rig.now, call.dialog, &SDP).unwrap();
    let ok = sent(&call.rig.drain(), "SIP/2.0 200");
    call.us = header(&ok, "To").unwrap().into();
    let update = call.sent(Method::Update, SDP);
    call.answer(&update, "491 Request Pending", "");
    call.rig.machine.bye(call.rig.now, call.dialog, &Content::NONE).unwrap();
    let out = call.rig.run_until(ms(10_000));
    assert_eq!(sends(&out, "UPDATE").len(), 0);
}

/// RFC 4028 §7.4: Session-Expires "SHOULD be equal to the maximum of the Min-SE header field … and the current session interval".
#[test]
fn no_refresh_asks_for_less_than_its_min_se() {
    let mut config = config();
    config.session_timer.min = core::time::Duration::from_secs(600);
    // The caller does not know session timers; a proxy has asked.
    let mut call = Call::taken(config, "Allow: UPDATE\r\nSession-Expires: 100\r\n");
    let update = sent(&call.rig.run_until(ms(55_000)), "UPDATE");
    let number =
        |name| header(&update, name).map_or(90, |value| value.split(';').next().unwrap().parse().unwrap());
    let (expires, min): (u32, u32) = (number("Session-Expires"), number("Min-SE"));
    assert!(expires >= min, "{expires} < {min}");
}

/// `hang_up`: "Ends a call, whatever its state". After a 2xx there is nothing to cancel, though it was turned away.
#[test]
fn an_early_fork_is_hung_up_after_another_was_turned_away() {
    let mut rig = Rig::new(UserAgent::new(Config { core: limits(1, 100), ..config() }));
    let (_, invite) = place(&mut rig, SDP);
    let early = hear(&mut rig, &response(&invite, "180 Ringing", "b1", CONTACT)).dialog.unwrap();
    let heard = hear(&mut rig, &response(&invite, "200 OK", "b2", &format!("{CONTACT}{BODY}")));
    assert!(heard.text.starts_with("TurnedAway"));
    rig.drain();
    assert_eq!(rig.machine.hang_up(rig.now, early, &Content::NONE), Ok(()));
    assert_eq!(sends(&rig.drain(), "BYE").len(), 1);
}

/// The same after the 2xx of a fork that this side had hung up.
#[test]
fn an_early_fork_is_hung_up_after_another_that_was_over_has_answered() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    let one = hear(&mut rig, &response(&invite, "180 Ringing", "b1", CONTACT)).dialog.unwrap();
    let two = hear(&mut rig, &response(&invite, "180 Ringing", "b2", CONTACT)).dialog.unwrap();
    rig.machine.bye(rig.now, one, &Content::NONE).unwrap();
    hear(&mut rig, &response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}")));
    rig.drain();
    assert_eq!(rig.machine.hang_up(rig.now, two, &Content::NONE), Ok(()));
}

/// RFC 3261 §12.2.1.2: "If there is no response received for the request … the client SHOULD … terminate the dialog"; §9.1 is about an INVITE for
/// which a CANCEL was sent, and none was.
#[test]
fn a_peer_that_is_gone_is_noticed_though_the_reinvite_was_cancelled() {
    let mut call = Call::placed(config(), "");
    let id = call.send(Method::Invite, SDP).unwrap();
    call.rig.machine.cancel_request(call.rig.now, id).unwrap();
    let out = call.rig.run_until(ms(60_000));
    assert_eq!(
        (sends(&out, "CANCEL").len(), sends(&out, "BYE").is_empty()),
        (0, false),
        "the call goes on without a peer"
    );
}

/// RFC 3261 §9.1, §14.1: a re-INVITE that this side has cancelled because it rang too long leaves the session as it was, too.
#[test]
fn a_reinvite_that_rang_too_long_leaves_the_call() {
    let mut call = Call::placed(config(), "");
    let reinvite = call.sent(Method::Invite, SDP);
    call.answer(&reinvite, "180 Ringing", CONTACT);
    let mut out = vec![];
    let mut at = 0;
    while sends(&out, "CANCEL").is_empty() {
        at += 1_000;
        out.extend(call.rig.run_until(ms(at)));
        assert!(at < 3_600_000);
    }
    let cancel = sent(&out, "CANCEL");
    call.answer(&cancel, "200 OK", "");
    let out = call.rig.run_until(ms(at + 60_000));
    assert_eq!((sends(&out, "BYE").len(), told(&out, "RequestEnded")), (0, 1));
}

/// RFC 3261 §13.2.2.4: a re-INVITE that asks for an offer is not sent again (after a challenge) beside an UPDATE of the peer that holds one: the offer of
/// its 2xx gets no answer.
#[test]
fn a_challenged_reinvite_that_asks_waits_for_the_offer_of_the_peer() {
    let mut call = Call::placed(known(), "Allow: UPDATE\r\n");
    let reinvite = call.sent(Method::Invite, Content::NONE);
    let (heard, _) = call.ask("UPDATE", BODY);
    assert!(heard.txn.is_some());
    call.answer(&reinvite, "401 Unauthorized", CHALLENGE);
    let beside = sends(&call.rig.drain(), "INVITE").len();
    assert_eq!(beside, 0);
}

/// `Reason::Replaced`: "Another call took its place (RFC 3891)". Also of an early one, and of one whose BYE waits for the ACK.
#[test]
fn an_early_call_that_is_replaced_says_so() {
    let mut rig = Rig::new(UserAgent::new(config()));
    let (_, invite) = place(&mut rig, SDP);
    let early = hear(&mut rig, &response(&invite, "180 Ringing", "b1", CONTACT)).dialog.unwrap();
    rig.drain();
    let view = rig.machine.view(early).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (id, to, from) = (text(view.call_id), text(view.local_tag), text(view.remote_tag));
    let replaces = format!("Replaces: {id};to-tag={to};from-tag={from}\r\n");
    let heard = hear(&mut rig, &outside("INVITE", &format!("{replaces}{BODY}")));
    assert_eq!(heard.replaces, Some(early));
    rig.machine.accept(rig.now, heard.dialog.unwrap(), &SDP).unwrap();
    let mut out = rig.drain();
    hear(&mut rig, &response(&invite, "487 Request Terminated", "b1", ""));
    out.extend(rig.drain());
    let ended: Vec<_> = out.iter().map(Out::line).filter(|line| line.starts_with("Ended")).collect();
    assert!(ended.len() == 1 && ended[0].contains("Replaced"), "{ended:?}");
}

/// The same.
#[test]
fn a_call_without_its_ack_that_is_replaced_says_so() {
    let mut call = Call::ringing(config(), BODY);
    call.rig.machine.accept(call.rig.now, call.dialog, &SDP).unwrap();
    let ok = sent(&call.rig.drain(), "SIP/2.0 200");
    call.us = header(&ok, "To").unwrap().into();
    let tag = call.us.split(";tag=").nth(1).unwrap().to_owned();
    let replaces = format!("Replaces: c-1;to-tag={tag};from-tag=b1\r\n");
    let heard = hear(&mut call.rig, &outside("INVITE", &format!("{replaces}{BODY}")));
    assert_eq!(heard.replaces, Some(call.dialog));
    call.rig.machine.accept(call.rig.now, heard.dialog.unwrap(), &SDP).unwrap();
    let ack = call.request("ACK", 1, "Content-Length: 0\r\n\r\n");
    hear(&mut call.rig, &ack);
    let mut out = call.rig.drain();
    let bye = sent(&out, "BYE");
    hear(&mut call.rig, &response(&bye, "200 OK", "", ""));
    out.extend(call.rig.drain());
    let ended: Vec<_> = out.iter().map(Out::line).filter(|line| line.starts_with("Ended")).collect();
    assert!(ended.len() == 1 && ended[0].contains("Replaced"), "{ended:?}");
}

/// RFC 3262 §3: after a final response the callee is "prepared to process PRACK requests for those outstanding responses", and then it forgets them.
#[test]
fn a_prack_after_a_refusal_is_answered() {
    for cancelled in [false, true] {
        let mut call = Call::ringing(config(), &format!("Supported: 100rel\r\n{BODY}"));
        let now = call.rig.now;
        call.rig.machine.ring_reliably(now, call.dialog, Status::RINGING, &Content::NONE).unwrap();
        let ringing = sent(&call.rig.drain(), "SIP/2.0 180");
        call.us = header(&ringing, "To").unwrap().into();
        let rack = |rseq: u32| format!("RAck: {rseq} 1 INVITE\r\n");
        let rseq: u32 = header(&ringing, "RSeq").unwrap().parse().unwrap();
        if cancelled {
            let cancel = call.invite.replacen("INVITE", "CANCEL", 1).replace("1 INVITE", "1 CANCEL");
            hear(&mut call.rig, &cancel);
        } else {
            call.rig.machine.reject(now, call.dialog, Status::new(486).unwrap(), &Content::NONE).unwrap();
        }
        assert_eq!(told(&call.rig.drain(), "Ended"), 1);
        for (rseq, status) in [(rseq + 1, "SIP/2.0 481"), (rseq, "SIP/2.0 200"), (rseq, "SIP/2.0 481")] {
            let (_, out) = call.ask("PRACK", &rack(rseq));
            assert_eq!(sends(&out, status).len(), 1, "{out:#?}");
        }
        let (_, out) = call.ask("INFO", "");
        assert_eq!(sends(&out, "SIP/2.0 481").len(), 1);
        call.rig.run_until(ms(100_000));
        assert!(call.rig.machine.is_idle(), "{:?}", call.rig.machine.stats());
    }
}

/// RFC 3311 §5.2, RFC 4028 §7.4: a refresh that is refused for now is tried again, while there is time; then the user is asked.
#[test]
fn a_refresh_that_was_refused_for_now_is_tried_again() {
    let timer = "Allow: INVITE, UPDATE\r\nSupported: timer\r\nSession-Expires: 1800;refresher=uac\r\n";
    let mut call = Call::placed(config(), timer);
    let update = sent(&call.rig.run_until(ms(900_000)), "UPDATE");
    call.answer(&update, "500 Server Internal Error", "Retry-After: 300\r\n");
    let out = call.rig.run_until(ms(1_200_000));
    assert_eq!((sends(&out, "UPDATE"), told(&out, "RefreshDue")), (vec![1_200_000], 0));
    let again = sent(&out, "UPDATE");
    call.answer(&again, "503 Service Unavailable", "Retry-After: 3600\r\n");
    let out = call.rig.drain();
    assert_eq!((sends(&out, "UPDATE").len(), told(&out, "RefreshDue")), (0, 1));
}

/// RFC 3262 §3, RFC 3261 §13.3.1.1: a response that has its PRACK is not sent again; who still rings after a minute says so anew.
#[test]
fn a_response_that_has_its_prack_is_not_sent_again() {
    for (extra, numbers) in [("Supported", 0), ("Require", 2)] {
        let mut call = Call::ringing(config(), &format!("{extra}: 100rel\r\n{BODY}"));
        call.rig.machine.ring_reliably(call.rig.now, call.dialog, Status::RINGING, &Content::NONE).unwrap();
        let ringing = sent(&call.rig.drain(), "SIP/2.0 180");
        call.us = header(&ringing, "To").unwrap().into();
        let mut rseq: u32 = header(&ringing, "RSeq").unwrap().parse().unwrap();
        let mut again = Vec::new();
        for minute in 1..=2 {
            call.ask("PRACK", &format!("RAck: {rseq} 1 INVITE\r\n"));
            let out = call.rig.run_until(ms(60_000 * minute));
            assert_eq!(sends(&out, "SIP/2.0 180"), [60_000 * minute]);
            let next = header(&sent(&out, "SIP/2.0 180"), "RSeq").map(|next| next.parse().unwrap());
            again.extend(next.filter(|next| *next == rseq + 1));
            rseq = next.unwrap_or(rseq);
        }
        assert_eq!(again.len(), numbers);
    }
}
