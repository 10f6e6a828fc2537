//! How the search for somebody who answers goes on and ends, where that is not as the RFC says, and what a user may do to it.

mod support;

use core::time::Duration;
use sip_core::message::{Content, Message, Status};
use sip_core::proxy::{Branch, CancelMode, Config, Event, Proxy};
use sip_core::transaction::Timers;
use sip_core::{BranchId, ContextId, Limits, Machine, Matching, Misuse};
use support::proxying::{B, C, config, invite, relayed, request, rig, take, texts};
use support::{Out, Rig, header, ms, response, sends};

/// Start lines of what went out, without those of this and that.
fn lines(out: &[Out], start: &str) -> Vec<String> {
    texts(out, start).iter().map(|text| text.lines().next().unwrap_or_default().into()).collect()
}

/// A response of a branch, and what it brings.
fn answer(rig: &mut Rig<Proxy>, request: &str, status: &str) -> Vec<Out> {
    rig.hear(&response(request, status, "t", ""));
    rig.drain()
}

/// The branches of a context, in the order in which they answer.
fn branch_of(rig: &mut Rig<Proxy>, request: &str, status: &str) -> BranchId {
    let text = response(request, status, "t", "");
    match rig.machine.datagram(rig.now, Rig::<Proxy>::source(), text.as_bytes()) {
        Some(Event::Response { branch, .. }) => branch,
        other => panic!("{other:?}"),
    }
}

/// The CANCEL of the caller for [`invite`].
fn cancel() -> String {
    request("CANCEL", "sip:bob@example.com", "1", "")
}

/// RFC 3261 §16.7, step 5, and Kamailio's `disable_6xx_block`.
#[test]
fn a_6xx_ends_the_search_or_not() {
    for end_at_6xx in [true, false] {
        let mut rig = rig(Config { end_at_6xx, ..config() });
        let later = Branch { q: 1, ..Branch::to("sip:d@192.0.2.9") };
        let (context, sent) = relayed(&mut rig, &invite("1"), &[B, C, later]);
        answer(&mut rig, &sent[0], "180 Ringing");
        let out = answer(&mut rig, &sent[1], "603 Decline");
        assert_eq!(texts(&out, "CANCEL").len(), usize::from(end_at_6xx));
        let more = rig.machine.relay(rig.now, context, &[Branch::to("sip:e@192.0.2.10")]);
        assert_eq!(more, if end_at_6xx { Err(Misuse::WrongState) } else { Ok(()) });
        rig.drain();
        if !end_at_6xx {
            assert_eq!(lines(&answer(&mut rig, &sent[0], "200 OK"), "SIP/2.0 2"), ["SIP/2.0 200 OK"]);
        }
    }
}

/// RFC 3841 §9.1, and OpenSIPS' `T_MULTI_200OK`: each callee may answer.
#[test]
fn a_2xx_leaves_the_others_alone_if_that_is_wanted() {
    for (cancel_others, wish) in
        [(false, ""), (true, "Request-Disposition: fork, no-cancel\r\n"), (true, "d: no-cancel\r\n")]
    {
        let mut rig = rig(Config { cancel_others, ..config() });
        let text = request("INVITE", "sip:bob@example.com", "1", wish);
        let (context, sent) = relayed(&mut rig, &text, &[B, C]);
        answer(&mut rig, &sent[1], "180 Ringing");
        let out = answer(&mut rig, &sent[0], "200 OK");
        assert!(texts(&out, "CANCEL").is_empty());
        // What rings is not told any more, who answers is; nobody is asked who was not.
        assert!(texts(&answer(&mut rig, &sent[1], "180 Ringing"), "SIP/2.0 1").is_empty());
        assert_eq!(rig.machine.relay(rig.now, context, &[B]), Err(Misuse::WrongState));
        assert_eq!(texts(&answer(&mut rig, &sent[1], "200 OK"), "SIP/2.0 200").len(), 1);
        rig.run_until(ms(100_000));
        assert!(rig.machine.is_idle());
    }
    let mut rig = rig(config());
    let (_, sent) = relayed(&mut rig, &invite("1"), &[B, C]);
    answer(&mut rig, &sent[1], "180 Ringing");
    assert_eq!(texts(&answer(&mut rig, &sent[0], "200 OK"), "CANCEL").len(), 1);
}

/// RFC 3841 §9.1: the caller wants to hear of other addresses, and no proxy to try them.
#[test]
fn no_recursion_for_who_does_not_want_it() {
    let mut rig = rig(Config { recurse: true, ..config() });
    let text = request("INVITE", "sip:bob@example.com", "1", "Request-Disposition: no-recurse\r\n");
    let (_, sent) = relayed(&mut rig, &text, &[B]);
    rig.hear(&response(&sent[0], "302 Moved", "t", "Contact: <sip:bob@192.0.2.66>\r\n"));
    let out = rig.drain();
    assert_eq!((texts(&out, "INVITE").len(), texts(&out, "SIP/2.0 302").len()), (0, 1));
}

/// `cancel_b_method` of Kamailio's TM.
#[test]
fn a_cancel_before_anybody_has_been_heard_of() {
    for (mode, cancels, answered) in [
        // RFC 3261 §9.1: it waits.
        (CancelMode::WhenHeard, 0, 0),
        (CancelMode::CountNow, 0, 1),
        (CancelMode::Now, 1, 0),
    ] {
        let mut rig = rig(Config { cancel: mode, ..config() });
        let (_, sent) = relayed(&mut rig, &invite("1"), &[B]);
        rig.hear(&cancel());
        let out = rig.drain();
        assert_eq!(texts(&out, "CANCEL").len(), cancels, "{mode:?}");
        assert_eq!(texts(&out, "SIP/2.0 487").len(), answered, "{mode:?}");
        // Only where it was not cancelled for certain it is sent again.
        let again = sends(&rig.run_until(ms(600)), "INVITE").len();
        assert_eq!(again, if mode == CancelMode::Now { 0 } else { 1 }, "{mode:?}");
        let out = answer(&mut rig, &sent[0], "180 Ringing");
        assert_eq!(texts(&out, "CANCEL").len(), 1 - cancels, "{mode:?}");
        let out = answer(&mut rig, &sent[0], "487 Request Terminated");
        assert_eq!(texts(&out, "SIP/2.0 487").len(), 1 - answered, "{mode:?}");
        rig.hear(&request("ACK", "sip:bob@example.com", "1", ""));
        rig.run_until(ms(200_000));
        assert!(rig.machine.is_idle(), "{mode:?}");
    }
    // Who answers all the same is heard: a 2xx always goes back.
    let mut rig = rig(Config { cancel: CancelMode::CountNow, ..config() });
    let (_, sent) = relayed(&mut rig, &invite("1"), &[B]);
    let out = {
        rig.hear(&cancel());
        rig.drain()
    };
    let failed = out.iter().filter(|out| out.line().starts_with("BranchFailed")).count();
    assert_eq!(failed, 1);
    // The 487 stands; RFC 3261 §17.2.1 has no way for a 2xx after it.
    assert!(texts(&answer(&mut rig, &sent[0], "200 OK"), "SIP/2.0 200").is_empty());
    rig.run_until(ms(200_000));
    assert!(rig.machine.is_idle());
}

/// One branch alone, in each of the ways.
#[test]
fn one_of_two_is_cancelled() {
    let mut rig = rig(Config { cancel: CancelMode::CountNow, ..config() });
    let (context, _) = take(&mut rig, &invite("1"));
    rig.machine.relay(rig.now, context, &[Branch { user: 7, ..B }, C]).unwrap();
    let sent = texts(&rig.drain(), "INVITE");
    answer(&mut rig, &sent[1], "486 Busy Here");
    let branch = branch_of(&mut rig, &sent[0], "183 Session Progress");
    rig.machine.cancel_branch(rig.now, branch, "").unwrap();
    // It rings: its CANCEL is answered in its time.
    assert!(lines(&rig.drain(), "SIP/2.0 4").is_empty());
    let out = answer(&mut rig, &sent[0], "487 Request Terminated");
    assert_eq!(lines(&out, "SIP/2.0 4"), ["SIP/2.0 486 Busy Here"]);
}

/// TM answers with 408 when `fr_inv_timer` fires, and does not wait for what the CANCEL brings.
#[test]
fn who_has_rung_too_long_is_given_up_at_once() {
    let ringing = Some(Duration::from_secs(10));
    for (give_up_at_once, at) in [(true, 10_000), (false, 11_000)] {
        let mut rig = rig(Config { give_up_at_once, ..config() });
        let timers = Some(Timers { ringing, ..Timers::DEFAULT });
        let (_, sent) = relayed(&mut rig, &invite("1"), &[Branch { timers, ..B }]);
        answer(&mut rig, &sent[0], "180 Ringing");
        let out = rig.run_until(ms(10_500));
        assert_eq!(sends(&out, "CANCEL").first(), Some(&10_000));
        let mut finals = sends(&out, "SIP/2.0 408");
        let failed = out.iter().filter(|out| out.line().starts_with("BranchFailed")).count();
        assert_eq!(failed, usize::from(give_up_at_once));
        rig.now = ms(11_000);
        rig.machine.advance(rig.now);
        let out = answer(&mut rig, &sent[0], "487 Request Terminated");
        finals.extend(sends(&out, "SIP/2.0 487"));
        assert_eq!(finals.first(), Some(&at));
        rig.hear(&request("ACK", "sip:bob@example.com", "1", ""));
        rig.run_until(ms(200_000));
        assert!(rig.machine.is_idle());
    }
}

/// `failure_reply_mode` and `t_drop_replies`: which of the earlier failures still count.
#[test]
fn what_counts_of_earlier_turns() {
    let next = Branch { q: 1, ..C };
    for (carry_over, best) in [(true, "SIP/2.0 401 A"), (false, "SIP/2.0 404 B")] {
        let mut rig = rig(Config { carry_over, ..config() });
        let (_, first) = relayed(&mut rig, &invite("1"), &[B, next]);
        let second = texts(&answer(&mut rig, &first[0], "401 A"), "INVITE");
        assert_eq!(lines(&answer(&mut rig, &second[0], "404 B"), "SIP/2.0 4"), [best]);
    }
    // The user drops them when it is asked.
    let mut rig = rig(Config { ask: true, ..config() });
    let (context, first) = relayed(&mut rig, &invite("1"), &[B]);
    answer(&mut rig, &first[0], "401 A");
    rig.machine.forget(rig.now, context).unwrap();
    assert_eq!(rig.machine.forward_best(rig.now, context), Err(Misuse::WrongState));
    rig.machine.relay(rig.now, context, &[C]).unwrap();
    let second = texts(&rig.drain(), "INVITE");
    answer(&mut rig, &second[0], "404 B");
    rig.machine.forward_best(rig.now, context).unwrap();
    assert_eq!(lines(&rig.drain(), "SIP/2.0 4"), ["SIP/2.0 404 B"]);
    assert_eq!(rig.machine.forget(rig.now, context), Err(Misuse::WrongState));
}

/// What is forgotten counts among the branches that a request may have.
#[test]
fn to_forget_makes_no_room() {
    let mut core = sip_core::Config::new([9; 32]);
    core.limits.forks = 3;
    let mut rig = rig(Config { ask: true, carry_over: false, ..Config { core, ..config() } });
    let (context, mut sent) = relayed(&mut rig, &invite("1"), &[B]);
    for _ in 0..2 {
        answer(&mut rig, &sent[0], "404 No");
        rig.machine.forget(rig.now, context).unwrap();
        rig.machine.relay(rig.now, context, &[B]).unwrap();
        sent = texts(&rig.drain(), "INVITE");
    }
    answer(&mut rig, &sent[0], "404 No");
    rig.machine.forget(rig.now, context).unwrap();
    assert_eq!(rig.machine.relay(rig.now, context, &[B]), Err(Misuse::Full));
}

/// `t_release`, and `noisy_ctimer` off: nobody is told anything.
#[test]
fn a_request_without_an_answer() {
    for method in ["INVITE", "OPTIONS"] {
        let mut rig = rig(config());
        let text = request(method, "sip:bob@example.com", "1", "");
        let (context, _) = take(&mut rig, &text);
        rig.machine.release(rig.now, context).unwrap();
        assert_eq!(rig.machine.release(rig.now, context), Err(Misuse::WrongState));
        assert_eq!(rig.machine.relay(rig.now, context, &[B]), Err(Misuse::WrongState));
        assert_eq!(
            rig.machine.respond(rig.now, context, Status::OK, &Content::NONE),
            Err(Misuse::WrongState)
        );
        // Copies are absorbed, and not even a 100 goes out.
        for second in 1..32 {
            let out = rig.run_until(ms(second * 1_000));
            assert!(texts(&out, "SIP/2.0").is_empty(), "{out:?}");
            assert_eq!(rig.hear(&text), None, "{method} {second}");
        }
        let out = rig.run_until(ms(33_000));
        assert!(texts(&out, "SIP/2.0").is_empty(), "{out:?}");
        let ended: Vec<_> = out.iter().filter(|out| out.line().starts_with("Ended")).collect();
        assert_eq!(ended.len(), 1);
        assert!(ended[0].line().ends_with("status: None }"), "{ended:?}");
        assert!(rig.machine.is_idle());
    }
}

/// Who takes the call all the same has it.
#[test]
fn a_2xx_that_crosses_a_release() {
    let mut rig = rig(Config { ask: true, ..config() });
    let (context, sent) = relayed(&mut rig, &invite("1"), &[B]);
    answer(&mut rig, &sent[0], "180 Ringing");
    rig.machine.release(rig.now, context).unwrap();
    assert_eq!(texts(&rig.drain(), "CANCEL").len(), 1);
    assert!(texts(&answer(&mut rig, &sent[0], "180 Ringing"), "SIP/2.0").is_empty());
    assert_eq!(texts(&answer(&mut rig, &sent[0], "200 OK"), "SIP/2.0 200").len(), 1);
    rig.run_until(ms(200_000));
    assert!(rig.machine.is_idle());
}

/// `t_set_fr`: a branch that is under way has other timers.
#[test]
fn timers_of_a_branch_that_is_under_way() {
    let soon = |seconds| Timers { ringing: Some(Duration::from_secs(seconds)), ..Timers::DEFAULT };
    let mut rig = rig(config());
    let (_, sent) = relayed(&mut rig, &invite("1"), &[B]);
    let branch = branch_of(&mut rig, &sent[0], "180 Ringing");
    rig.run_until(ms(5_000));
    rig.machine.set_timers(ms(5_000), branch, &soon(20)).unwrap();
    // From now on, and from each that restarts it.
    rig.run_until(ms(15_000));
    rig.hear(&response(&sent[0], "180 Ringing", "t", ""));
    assert_eq!(sends(&rig.run_until(ms(60_000)), "CANCEL").first(), Some(&35_000));
    // Once it is cancelled nothing is left to wait for.
    rig.machine.set_timers(rig.now, branch, &soon(1)).unwrap();
    rig.hear(&response(&sent[0], "487 Request Terminated", "t", ""));
    rig.hear(&request("ACK", "sip:bob@example.com", "1", ""));
    rig.run_until(ms(200_000));
    assert!(rig.machine.is_idle());
    assert_eq!(rig.machine.set_timers(rig.now, branch, &soon(1)), Err(Misuse::Gone));
    // One that nobody has answered: Timer B.
    let mut rig = support::proxying::rig(config());
    let (context, _) = take(&mut rig, &invite("1"));
    rig.machine.relay(rig.now, context, &[Branch { user: 8, ..B }, Branch { user: 9, ..C }]).unwrap();
    rig.drain();
    let branches: Vec<_> = rig.machine.branches(context).collect();
    assert_eq!(branches.iter().map(|(_, user)| *user).collect::<Vec<_>>(), [8, 9]);
    let b = Some(Duration::from_secs(3));
    rig.machine.set_timers(ms(0), branches[1].0, &Timers { b, ..Timers::DEFAULT }).unwrap();
    let out = rig.run_until(ms(40_000));
    let failed = out.iter().filter_map(|out| match out {
        Out::Event { at, event } if event.starts_with("BranchFailed") => Some(*at),
        _ => None,
    });
    assert_eq!(failed.collect::<Vec<_>>(), [ms(3_000), ms(32_000)]);
}

/// `retr_timer1p1` to `1p3`: three intervals, then doubled ones.
#[test]
fn intervals_of_ones_own() {
    let seconds = Duration::from_secs;
    let intervals = Some([Duration::from_millis(300), seconds(1), seconds(5)]);
    let timers = Timers { intervals, a_most: Some(seconds(8)), ..Timers::DEFAULT };
    let mut rig = rig(config());
    relayed(&mut rig, &invite("1"), &[Branch { timers: Some(timers), ..B }]);
    assert_eq!(sends(&rig.run_until(ms(30_000)), "INVITE"), [300, 1_300, 6_300, 14_300, 22_300]);
    // T2 holds for others.
    let mut rig = support::proxying::rig(config());
    let options = request("OPTIONS", "sip:bob@example.com", "1", "");
    relayed(&mut rig, &options, &[Branch { timers: Some(timers), ..B }]);
    assert_eq!(sends(&rig.run_until(ms(14_000)), "OPTIONS"), [300, 1_300, 5_300, 9_300, 13_300]);
}

/// `ac_extra_hdrs`: what a hop wants to see in all that is sent to it.
#[test]
fn headers_that_go_with_the_invite() {
    let names = vec!["X-Cluster".to_owned(), "X-None".to_owned()];
    let mut rig = rig(Config { hop_headers: names, ..config() });
    let headers = [("X-Cluster", "7"), ("X-Other", "8")];
    let branches = [Branch { headers: &headers, ..B }, Branch { headers: &headers, ..C }];
    let (context, sent) = relayed(&mut rig, &invite("1"), &branches);
    let ack = texts(&answer(&mut rig, &sent[0], "486 Busy Here"), "ACK");
    answer(&mut rig, &sent[1], "180 Ringing");
    rig.machine.cancel(rig.now, context, "").unwrap();
    let cancel = texts(&rig.drain(), "CANCEL");
    for made in [&ack[0], &cancel[0]] {
        assert_eq!((header(made, "X-Cluster"), header(made, "X-Other")), (Some("7"), None), "{made}");
        assert!(Message::parse(made.as_bytes(), &Limits::DEFAULT).is_ok());
    }
}

/// `t_lookup_request`, and what a router of a cluster asks (`t_anycast_replicate`).
#[test]
fn contexts_are_found_by_their_messages() {
    let mut rig = rig(config());
    let text = invite("1");
    let parsed = |text: &str| Message::parse(text.as_bytes(), &Limits::DEFAULT).unwrap().into_owned();
    assert_eq!(rig.machine.find(&parsed(&text)), None);
    let (context, sent) = relayed(&mut rig, &text, &[B]);
    let ringing = response(&sent[0], "180 Ringing", "t", "");
    for (text, found) in [
        (text.clone(), Some(context)),
        (cancel(), Some(context)),
        (ringing, Some(context)),
        (invite("2"), None),
        (request("CANCEL", "sip:bob@example.com", "2", ""), None),
    ] {
        assert_eq!(rig.machine.find(&parsed(&text)), found, "{text}");
    }
    // By what a call is known by (`t_cancel_callid`, `t_reply_callid`), and a spiral is two.
    let of =
        |rig: &Rig<Proxy>, call: &[u8], number| rig.machine.contexts_of(call, number).collect::<Vec<_>>();
    assert_eq!(of(&rig, b"call", 1), [context]);
    assert_eq!((of(&rig, b"call", 2), of(&rig, b"other", 1)), (vec![], vec![]));
    let (spiral, _) = take(&mut rig, &request("INVITE", "sip:carol@example.com", "3", ""));
    assert_eq!(of(&rig, b"call", 1).len(), 2);
    rig.machine.release(rig.now, spiral).unwrap();
    rig.machine.cancel(rig.now, context, "").unwrap();
    rig.run_until(ms(200_000));
    assert_eq!(of(&rig, b"call", 1), [] as [ContextId; 0]);
}

/// E2EACK_IN and E2EACK_RETR_IN of TM, but by what it acknowledges: each callee's first one.
#[test]
fn an_ack_is_told_from_its_copies() {
    let mut rig = rig(Config { cancel_others: false, ..config() });
    let (context, sent) = relayed(&mut rig, &invite("1"), &[B, C]);
    for (sent, tag) in [(&sent[0], "b"), (&sent[1], "c")] {
        rig.hear(&response(sent, "200 OK", tag, ""));
    }
    let mut ack = |branch: &str, tag: &str| {
        let text = request("ACK", "sip:b@192.0.2.7", branch, "Route: <sip:192.0.2.1;lr>\r\n");
        let text = text.replace("<sip:bob@example.com>", &format!("<sip:bob@example.com>;tag={tag}"));
        match rig.machine.datagram(rig.now, Rig::<Proxy>::source(), text.as_bytes()) {
            Some(Event::Ack { context, first, forwarded, .. }) => (context, first, forwarded),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ack("k1", "b"), (Some(context), true, true));
    assert_eq!(ack("k1", "b"), (Some(context), false, true));
    assert_eq!(ack("k2", "c"), (Some(context), true, true));
    rig.run_until(ms(100_000));
    let text = request("ACK", "sip:b@192.0.2.7", "k3", "");
    assert!(rig.hear(&text).unwrap().starts_with("Ack { context: None, first: false"));
}

/// `t_reply` with a 2xx: it is sent again until the ACK comes, on any transport.
#[test]
fn a_call_that_is_taken_here() {
    let contact = Content::headers(&[("Contact", "<sip:announcement@192.0.2.1>")]);
    let mut rig = rig(config());
    let (context, sent) = relayed(&mut rig, &invite("1"), &[B]);
    answer(&mut rig, &sent[0], "180 Ringing");
    rig.machine.respond(rig.now, context, Status::OK, &contact).unwrap();
    let out = rig.drain();
    assert_eq!(texts(&out, "CANCEL").len(), 1);
    let ok = texts(&out, "SIP/2.0 200").remove(0);
    assert_eq!(header(&ok, "Contact"), Some("<sip:announcement@192.0.2.1>"));
    assert_eq!(sends(&rig.run_until(ms(12_000)), "SIP/2.0 200"), [500, 1_500, 3_500, 7_500, 11_500]);
    // An ACK of another dialog is none of it.
    let ack = |tag: &str| {
        request("ACK", "sip:announcement@192.0.2.1", "k", "")
            .replace("To: <sip:bob@example.com>", &format!("To: <sip:bob@example.com>;tag={tag}"))
    };
    rig.hear(&ack("other"));
    assert_eq!(sends(&rig.run_until(ms(16_000)), "SIP/2.0 200"), [15_500]);
    let to = header(&ok, "To").unwrap();
    let tag = to.split("tag=").nth(1).unwrap();
    let heard = rig.hear(&ack(tag)).unwrap();
    assert!(heard.contains("first: true") && heard.contains("forwarded: false"), "{heard}");
    let out = rig.run_until(ms(60_000));
    assert!(sends(&out, "SIP/2.0 200").is_empty() && sends(&out, "ACK").is_empty());
    assert!(rig.machine.is_idle());
    // Without an ACK it ends with Timer L.
    let mut rig = support::proxying::rig(config());
    let (context, _) = take(&mut rig, &invite("1"));
    rig.machine.respond(rig.now, context, Status::OK, &contact).unwrap();
    assert_eq!(sends(&rig.run_until(ms(100_000)), "SIP/2.0 200").len(), 11);
    assert!(rig.machine.is_idle());
}

/// An INVITE of RFC 2543, and its CANCEL with another Request-URI and another Via (`ruri_matching`, `via1_matching`).
#[test]
fn what_must_be_equal_in_old_requests() {
    let old = |method: &str, uri: &str, via: &str| {
        request(method, uri, "1", "").replace("branch=z9hG4bK1;rport", via)
    };
    let invite = old("INVITE", "sip:bob@example.com", "x=1");
    for (cancel, uri, via, found) in [
        (old("CANCEL", "sip:bob@example.com", "x=1"), true, true, true),
        (old("CANCEL", "sip:b@example.com", "x=1"), true, true, false),
        (old("CANCEL", "sip:b@example.com", "x=1"), false, true, true),
        (old("CANCEL", "sip:bob@example.com", "branch=2"), true, true, false),
        (old("CANCEL", "sip:bob@example.com", "branch=2"), true, false, true),
    ] {
        let mut core = sip_core::Config::new([9; 32]);
        core.matching = Matching { uri, via, ..Matching::DEFAULT };
        let mut rig = rig(Config { core, ..config() });
        let (_, _) = take(&mut rig, &invite);
        rig.hear(&cancel);
        let out = rig.drain();
        let status = if found { "SIP/2.0 200" } else { "SIP/2.0 481" };
        assert_eq!(texts(&out, status).len(), 1, "{cancel} {uri} {via}: {out:#?}");
    }
}

/// `callid_matching`: peers that use a branch for several calls.
#[test]
fn a_branch_that_two_calls_have() {
    for call_id in [false, true] {
        let mut core = sip_core::Config::new([9; 32]);
        core.matching.call_id = call_id;
        let mut rig = rig(Config { core, ..config() });
        let text = request("OPTIONS", "sip:bob@example.com", "1", "");
        take(&mut rig, &text);
        let heard = rig.hear(&text.replace("Call-ID: call", "Call-ID: other"));
        assert_eq!(heard.is_some(), call_id);
    }
}

/// `unmatched_cancel`: a CANCEL that has overtaken its INVITE, if there is room to remember it.
#[test]
fn a_cancel_that_overtakes_its_invite() {
    for room in [0, 2] {
        let mut core = sip_core::Config::new([9; 32]);
        core.limits.early_cancels = room;
        let mut rig = rig(Config { core, ..config() });
        for branch in ["1", "2", "3"] {
            rig.hear(&request("CANCEL", "sip:bob@example.com", branch, ""));
        }
        assert_eq!(texts(&rig.drain(), "SIP/2.0 481").len(), 3);
        // The oldest was forgotten.
        for (branch, known) in [("1", false), ("2", room > 0), ("3", room > 0)] {
            let heard = rig.hear(&invite(branch).replace("Call-ID: call", &format!("Call-ID: c{branch}")));
            assert_eq!(heard.is_none(), known, "{branch} {heard:?}");
            let out = rig.drain();
            assert_eq!(texts(&out, "SIP/2.0 487").len(), usize::from(known), "{branch}: {out:#?}");
        }
        if room > 0 {
            // Once.
            rig.hear(&request("ACK", "sip:bob@example.com", "2", ""));
            rig.run_until(ms(60_000));
            assert!(rig.hear(&invite("2")).is_some());
        }
    }
}

/// The statistics of Kamailio's tmx: what came and what went, by class; what is somebody else's.
#[test]
fn responses_are_counted() {
    let mut rig = rig(config());
    let (_, sent) = relayed(&mut rig, &invite("1"), &[B, C]);
    for (sent, status) in
        [(&sent[0], "100 Trying"), (&sent[0], "180 Ringing"), (&sent[1], "486 Busy"), (&sent[0], "200 OK")]
    {
        answer(&mut rig, sent, status);
    }
    rig.hear(&response(&sent[0], "200 OK", "t", "").replace("z9hG4bK", "z9hG4bKnobody"));
    let (context, _) = take(&mut rig, &request("OPTIONS", "sip:bob@example.com", "2", ""));
    rig.machine.respond(rig.now, context, Status::NOT_FOUND, &Content::NONE).unwrap();
    let stats = rig.machine.stats();
    assert_eq!(stats.responses_received, [2, 2, 0, 1, 0, 0]);
    assert_eq!(stats.responses_sent, [1, 1, 0, 1, 0, 0]);
    assert_eq!(stats.responses_relayed, 2);
    // A copy is nothing new.
    rig.hear(&invite("1"));
    assert_eq!(rig.machine.stats().responses_sent, [1, 1, 0, 1, 0, 0]);
}

/// The 2xx of a callee that crosses the CANCEL is the callee's to repeat; this side repeats its own, whatever T2 is.
#[test]
fn the_2xx_of_this_side_is_repeated_and_no_others() {
    for t2 in [4_000, 0] {
        let mut core = sip_core::Config::new([9; 32]);
        core.timers.t2 = Duration::from_millis(t2);
        let mut rig = rig(Config { core, ..config() });
        let (context, sent) = relayed(&mut rig, &invite("1"), &[B]);
        answer(&mut rig, &sent[0], "180 Ringing");
        rig.machine.respond(rig.now, context, Status::OK, &Content::NONE).unwrap();
        let own = header(&texts(&rig.drain(), "SIP/2.0 200")[0], "To").unwrap().to_owned();
        assert_eq!(texts(&answer(&mut rig, &sent[0], "200 OK"), "SIP/2.0 200").len(), 1);
        let again = texts(&rig.run_until(ms(504)), "SIP/2.0 200");
        assert_eq!(again.len(), if t2 == 0 { 5 } else { 1 });
        assert!(again.iter().all(|text| header(text, "To") == Some(&*own)), "{again:#?}");
        rig.run_until(ms(100_000));
        assert!(rig.machine.is_idle() && rig.machine.stats().retained_bytes == 0);
    }
}

/// Two passes of one call are each answered here: each ACK ends the 2xx that it is for.
#[test]
fn each_ack_finds_its_own_2xx() {
    let mut rig = rig(config());
    let mut acks = Vec::new();
    for branch in ["1", "2"] {
        let (context, _) = take(&mut rig, &invite(branch));
        rig.machine.respond(rig.now, context, Status::OK, &Content::NONE).unwrap();
        let ok = texts(&rig.drain(), "SIP/2.0 200").remove(0);
        let ack = request("ACK", "sip:bob@example.com", "9", "");
        let to = format!("To: {}", header(&ok, "To").unwrap());
        acks.push((context, ack.replace("To: <sip:bob@example.com>", &to)));
    }
    for (context, ack) in acks.into_iter().rev() {
        match rig.machine.datagram(rig.now, Rig::<Proxy>::source(), ack.as_bytes()) {
            Some(Event::Ack { context: found, first: true, .. }) => assert_eq!(found, Some(context)),
            other => panic!("{other:?}"),
        }
    }
    assert!(sends(&rig.run_until(ms(40_000)), "SIP/2.0 200").is_empty());
}

/// RFC 5393 §5.3.3.1: only a final response gives a branch's share of Max-Breadth to others.
#[test]
fn who_is_given_up_keeps_its_breadth() {
    let text = request("INVITE", "sip:bob@example.com", "1", "Max-Breadth: 1\r\n");
    let turns = [B, Branch { q: 1, ..C }];
    let mut rig = rig(Config { cancel: CancelMode::CountNow, give_up_at_once: true, ..config() });
    let (context, sent) = relayed(&mut rig, &text, &turns);
    let branch = rig.machine.branches(context).next().unwrap().0;
    rig.machine.cancel_branch(rig.now, branch, "").unwrap();
    assert!(texts(&rig.drain(), "INVITE").is_empty());
    // What comes then is no news, and makes room.
    assert_eq!(rig.hear(&response(&sent[0], "180 Ringing", "t", "")), None);
    assert_eq!(rig.hear(&response(&sent[0], "487 Request Terminated", "t", "")), None);
    assert_eq!(lines(&rig.drain(), "INVITE"), ["INVITE sip:c@192.0.2.8 SIP/2.0"]);
    // Who has rung too long.
    let mut rig = support::proxying::rig(Config { give_up_at_once: true, ..config() });
    let (_, sent) = relayed(&mut rig, &text, &turns);
    answer(&mut rig, &sent[0], "180 Ringing");
    assert!(lines(&rig.run_until(ms(190_000)), "INVITE").is_empty());
    assert_eq!(lines(&answer(&mut rig, &sent[0], "487 No"), "INVITE sip:c").len(), 1);
}

/// Who only listens keeps nobody from its turn, and nothing alive.
#[test]
fn copies_take_no_part() {
    let copy = Branch { part: sip_core::proxy::Part::Copy, ..C };
    for extra in ["", "Max-Breadth: 1\r\n"] {
        let mut rig = rig(config());
        let text = request("INVITE", "sip:bob@example.com", "1", extra);
        let (context, sent) = relayed(&mut rig, &text, &[copy]);
        answer(&mut rig, &sent[0], "183 Session Progress");
        rig.machine.relay(rig.now, context, &[B]).unwrap();
        let out = rig.drain();
        // Where there is room for one alone the copy is given up, and the other waits for its end.
        let called = texts(&out, "INVITE sip:b").len();
        assert_eq!((called, texts(&out, "CANCEL").len()), if extra.is_empty() { (1, 0) } else { (0, 1) });
        let out = answer(&mut rig, &sent[0], "487 Request Terminated");
        assert_eq!(called + texts(&out, "INVITE sip:b").len(), 1);
    }
    // One that says 183 without end, of a call that is answered, and of one that has a life.
    for invite_lifetime in [None, Some(Duration::from_secs(60))] {
        let mut rig = rig(Config { invite_lifetime, ..config() });
        let (_, sent) = relayed(&mut rig, &invite("1"), &[B, copy]);
        answer(&mut rig, &sent[1], "183 Session Progress");
        answer(&mut rig, &sent[0], "200 OK");
        for minute in 1..5 {
            rig.run_until(ms(minute * 60_000));
            answer(&mut rig, &sent[1], "183 Session Progress");
        }
        assert!(rig.machine.contexts().next().is_none());
    }
}

/// The caller who cancels is answered, until its ACK comes; a late 2xx to another request is nobody's.
#[test]
fn what_comes_to_a_request_that_was_released() {
    let mut rig = rig(config());
    let (context, _) = relayed(&mut rig, &invite("1"), &[B]);
    rig.machine.release(rig.now, context).unwrap();
    rig.hear(&cancel());
    assert_eq!(texts(&rig.drain(), "SIP/2.0 487").len(), 1);
    assert_eq!(sends(&rig.run_until(ms(2_000)), "SIP/2.0 487"), [500, 1_500]);
    rig.hear(&request("ACK", "sip:bob@example.com", "1", ""));
    rig.run_until(ms(100_000));
    assert!(rig.machine.is_idle());
    let mut rig = support::proxying::rig(config());
    let (context, sent) = relayed(&mut rig, &request("OPTIONS", "sip:bob@example.com", "1", ""), &[B]);
    rig.machine.release(rig.now, context).unwrap();
    assert!(texts(&answer(&mut rig, &sent[0], "200 OK"), "SIP/2.0").is_empty());
}

/// Mode 3 of `failure_reply_mode`: what the user adds takes the place of what was.
#[test]
fn what_the_user_adds_counts_alone() {
    let mut rig = rig(Config { ask: true, carry_over: false, ..config() });
    let (context, first) = relayed(&mut rig, &invite("1"), &[B]);
    answer(&mut rig, &first[0], "401 A");
    rig.machine.relay(rig.now, context, &[C]).unwrap();
    let second = texts(&rig.drain(), "INVITE");
    answer(&mut rig, &second[0], "404 B");
    rig.machine.forward_best(rig.now, context).unwrap();
    assert_eq!(lines(&rig.drain(), "SIP/2.0 4"), ["SIP/2.0 404 B"]);
}

/// TM's `t_on_reply` with `drop`: which provisional responses go on, the user says.
#[test]
fn provisional_responses_are_screened() {
    let mut rig = rig(Config { screen: true, ..config() });
    let (_, sent) = relayed(&mut rig, &invite("1"), &[B, C]);
    let branch = branch_of(&mut rig, &sent[0], "183 Progress");
    assert!(texts(&rig.drain(), "SIP/2.0 1").is_empty());
    rig.machine.pass(rig.now, branch).unwrap();
    assert_eq!(lines(&rig.drain(), "SIP/2.0 1"), ["SIP/2.0 183 Progress"]);
    assert_eq!(rig.machine.pass(rig.now, branch), Err(Misuse::WrongState));
    // The last one counts; what is not passed is dropped.
    answer(&mut rig, &sent[0], "180 A");
    answer(&mut rig, &sent[0], "180 B");
    rig.machine.pass(rig.now, branch).unwrap();
    assert_eq!(lines(&rig.drain(), "SIP/2.0 1"), ["SIP/2.0 180 B"]);
    answer(&mut rig, &sent[0], "181 C");
    assert_eq!(lines(&answer(&mut rig, &sent[1], "200 OK"), "SIP/2.0 2"), ["SIP/2.0 200 OK"]);
    assert_eq!(rig.machine.pass(rig.now, branch), Err(Misuse::WrongState));
    answer(&mut rig, &sent[0], "487 Request Terminated");
    rig.run_until(ms(100_000));
    assert!(rig.machine.is_idle() && rig.machine.stats().retained_bytes == 0);
}

/// `remap_503_500` and `aggregate_challenges`, both on by the RFC.
#[test]
fn what_a_503_and_a_challenge_become() {
    for by_the_rfc in [true, false] {
        let both = Config { hide_503: by_the_rfc, join_challenges: by_the_rfc, ..config() };
        let mut rig = rig(both.clone());
        let (_, sent) = relayed(&mut rig, &invite("1"), &[B]);
        let out = answer(&mut rig, &sent[0], "503 Service Unavailable");
        let code = if by_the_rfc { "SIP/2.0 500" } else { "SIP/2.0 503" };
        assert_eq!(texts(&out, code).len(), 1, "{out:#?}");
        let mut rig = support::proxying::rig(both);
        let (_, sent) = relayed(&mut rig, &invite("1"), &[B, C]);
        for (sent, realm) in sent.iter().zip(["one", "two"]) {
            let challenge = format!("WWW-Authenticate: Digest realm=\"{realm}\", nonce=\"n\"\r\n");
            rig.hear(&response(sent, "401 Unauthorized", "t", &challenge));
        }
        let back = texts(&rig.drain(), "SIP/2.0 401").remove(0);
        assert_eq!((back.contains("\"one\""), back.contains("\"two\"")), (true, by_the_rfc));
    }
}

/// `failover_reply_codes`: a server that can't take the request, and the next of the same name. The 503 of one does not hide what the other says.
#[test]
fn another_address_for_a_503() {
    let mut rig = rig(Config { ask: true, ..config() });
    let (context, sent) = relayed(&mut rig, &invite("1"), &[B]);
    answer(&mut rig, &sent[0], "503 Service Unavailable");
    let next = Branch { target: Some("udp:192.0.2.77:5060".parse().unwrap()), ..B };
    rig.machine.relay(rig.now, context, &[next]).unwrap();
    let out = rig.drain();
    assert!(out.iter().any(|out| matches!(out, Out::Sent { to, .. } if to == "192.0.2.77:5060")));
    let second = texts(&out, "INVITE sip:b@192.0.2.7").remove(0);
    answer(&mut rig, &second, "486 Busy Here");
    rig.machine.forward_best(rig.now, context).unwrap();
    assert_eq!(lines(&rig.drain(), "SIP/2.0"), ["SIP/2.0 486 Busy Here"]);
}

/// A copy goes its way though the request has its answer: over a connection that opens late, or sent again.
#[test]
fn a_copy_is_not_ended_by_the_answer() {
    for to in ["sip:c@192.0.2.8;transport=tcp", "sip:c@192.0.2.8"] {
        let mut rig = rig(config());
        let flow = rig.accept();
        let text =
            request("MESSAGE", "sip:bob@example.com", "1", "Content-Length: 0\r\n").replace("/UDP", "/TCP");
        let mut buf = sip_core::framing::StreamBuf::new();
        buf.extend(text.as_bytes());
        let Some(Event::Request { context, .. }) = rig.machine.stream(rig.now, flow, &mut buf) else {
            panic!()
        };
        let copy = Branch { part: sip_core::proxy::Part::Copy, ..Branch::to(to) };
        rig.machine.relay(rig.now, context, &[copy]).unwrap();
        rig.machine.respond(rig.now, context, Status::OK, &Content::NONE).unwrap();
        let mut sent = texts(&rig.drain(), "MESSAGE").len();
        let opened = rig.machine.flows().find(|other| *other != flow);
        if let Some(other) = opened {
            rig.machine.flow_opened(rig.now, other, support::US.parse().unwrap());
        }
        sent += texts(&rig.run_until(ms(3_000)), "MESSAGE").len();
        assert_eq!(sent, if to.contains("tcp") { 1 } else { 3 });
        rig.run_until(ms(100_000));
        assert!(rig.machine.contexts().next().is_none());
    }
}

/// What a branch said before its end is not passed after it.
#[test]
fn nothing_is_passed_of_who_is_over() {
    let mut rig = rig(Config { screen: true, cancel: CancelMode::CountNow, ..config() });
    let (context, sent) = relayed(&mut rig, &invite("1"), &[B, C]);
    let first = branch_of(&mut rig, &sent[0], "180 Ringing");
    answer(&mut rig, &sent[0], "486 Busy Here");
    assert_eq!(rig.machine.pass(rig.now, first), Err(Misuse::WrongState));
    assert!(texts(&rig.drain(), "SIP/2.0 180").is_empty());
    rig.machine.cancel(rig.now, context, "").unwrap();
    rig.run_until(ms(200_000));
    assert!(rig.machine.is_idle() && rig.machine.stats().retained_bytes == 0);
}
