//! How long a proxy goes on: what restarts Timer C, the life of a whole request, waiting for places that are still to be found, and the addresses
//! of a 3xx.

mod support;

use core::time::Duration;
use sip_core::proxy::{Branch, Config, Part};
use sip_core::transaction::{Restart, Timers};
use sip_core::{Machine, Misuse};
use support::proxying::{B, C, config, invite, relayed, request, rig, take, texts};
use support::{header, ms, response, sends};

const TEN: Option<Duration> = Some(Duration::from_secs(10));

/// TM's `restart_fr_on_each_reply`: a phone that says 180 without end keeps nobody from its turn, if that is wanted.
#[test]
fn what_restarts_timer_c() {
    for (restart, cancelled) in [(Restart::Each, 24_000), (Restart::Rising, 11_000), (Restart::Never, 11_000)]
    {
        let timers = Timers { ringing: TEN, restart, ..Timers::DEFAULT };
        let mut rig = rig(config());
        let (_, sent) = relayed(&mut rig, &invite("1"), &[Branch { timers: Some(timers), ..B }]);
        let mut cancels = Vec::new();
        // The first provisional response, again, a higher one, a lower one.
        for (at, status) in [(1_000, "180 A"), (9_000, "180 A"), (12_000, "182 B"), (14_000, "181 C")] {
            cancels.extend(sends(&rig.run_until(ms(at)), "CANCEL"));
            rig.hear(&response(&sent[0], status, "t", ""));
        }
        cancels.extend(sends(&rig.run_until(ms(30_000)), "CANCEL"));
        assert_eq!(cancels.first(), Some(&cancelled), "{restart:?}");
    }
    // A higher code prolongs it.
    let timers = Timers { ringing: TEN, restart: Restart::Rising, ..Timers::DEFAULT };
    let mut rig = rig(config());
    let (_, sent) = relayed(&mut rig, &invite("1"), &[Branch { timers: Some(timers), ..B }]);
    for (at, status) in [(1_000, "183 A"), (2_000, "180 B"), (3_000, "170 C"), (9_000, "199 D")] {
        assert!(sends(&rig.run_until(ms(at)), "CANCEL").is_empty());
        rig.hear(&response(&sent[0], status, "t", ""));
    }
    assert_eq!(sends(&rig.run_until(ms(30_000)), "CANCEL").first(), Some(&19_000));
}

/// TM's `max_inv_lifetime`: who has not answered by then counts as timed out, who rings is cancelled, and nobody else is asked.
#[test]
fn an_invite_has_a_life() {
    let mut rig = rig(Config { invite_lifetime: TEN, ..config() });
    let last = Branch { q: 1, ..Branch::to("sip:d@192.0.2.9") };
    let (context, sent) = relayed(&mut rig, &invite("1"), &[B, C, last]);
    rig.hear(&response(&sent[0], "180 Ringing", "t", ""));
    let out = rig.run_until(ms(10_000));
    assert_eq!(sends(&out, "CANCEL"), [10_000]);
    assert_eq!(rig.machine.relay(rig.now, context, &[B]), Err(Misuse::WrongState));
    let after = rig.run_until(ms(20_000));
    assert!(sends(&after, "INVITE").is_empty(), "the silent one is not asked any more");
    rig.hear(&response(&sent[0], "487 Request Terminated", "t", ""));
    assert_eq!(texts(&rig.drain(), "SIP/2.0 487").len(), 1);
    // Nobody rings: it is as if all had timed out.
    let mut rig = support::proxying::rig(Config { invite_lifetime: TEN, ..config() });
    relayed(&mut rig, &invite("1"), &[B]);
    assert_eq!(sends(&rig.run_until(ms(10_000)), "SIP/2.0 408"), [10_000]);
    // One that was answered goes on.
    let mut rig = support::proxying::rig(Config { invite_lifetime: TEN, ..config() });
    let (_, sent) = relayed(&mut rig, &invite("1"), &[B]);
    rig.hear(&response(&sent[0], "200 OK", "t", ""));
    rig.drain();
    let out = rig.run_until(ms(20_000));
    assert!(texts(&out, "SIP/2.0").is_empty() && texts(&out, "CANCEL").is_empty());
}

/// `max_noninv_lifetime`; nothing is said to who has given up by then (RFC 4320 §4.2).
#[test]
fn another_request_has_a_life() {
    let mut rig = rig(Config { lifetime: TEN, ..config() });
    relayed(&mut rig, &request("MESSAGE", "sip:bob@example.com", "1", ""), &[B]);
    let out = rig.run_until(ms(100_000));
    assert!(sends(&out, "MESSAGE").last().is_some_and(|last| *last < 10_000));
    assert!(texts(&out, "SIP/2.0 408").is_empty());
    assert!(rig.machine.is_idle());
}

/// OpenSIPS' `t_wait_for_new_branches`: a phone that has to be woken by a push registers, and is called then.
#[test]
fn places_that_are_still_to_be_found() {
    // There is none yet.
    let mut rig = rig(config());
    let (context, _) = take(&mut rig, &invite("1"));
    rig.machine.hold(rig.now, context, Duration::from_secs(60)).unwrap();
    rig.run_until(ms(59_000));
    rig.machine.relay(rig.now, context, &[B]).unwrap();
    let sent = texts(&rig.drain(), "INVITE");
    rig.hear(&response(&sent[0], "200 OK", "t", ""));
    assert_eq!(texts(&rig.drain(), "SIP/2.0 200").len(), 1);
    assert_eq!(rig.machine.hold(rig.now, context, Duration::from_secs(60)), Err(Misuse::WrongState));
    // There was one, which is busy; another may come, and does not.
    let mut rig = support::proxying::rig(config());
    let (context, sent) = relayed(&mut rig, &invite("1"), &[B]);
    rig.machine.hold(rig.now, context, Duration::from_secs(20)).unwrap();
    rig.run_until(ms(5_000));
    rig.hear(&response(&sent[0], "486 Busy Here", "t", ""));
    assert_eq!(sends(&rig.run_until(ms(30_000)), "SIP/2.0 486").first(), Some(&20_000));
    // Nobody comes at all.
    let mut rig = support::proxying::rig(config());
    let (context, _) = take(&mut rig, &invite("1"));
    rig.machine.hold(rig.now, context, Duration::from_secs(60)).unwrap();
    assert_eq!(sends(&rig.run_until(ms(60_000)), "SIP/2.0 408").first(), Some(&60_000));
    // And who cancels is not kept waiting.
    let mut rig = support::proxying::rig(config());
    let (context, _) = take(&mut rig, &invite("1"));
    rig.machine.hold(rig.now, context, Duration::from_secs(60)).unwrap();
    rig.machine.cancel(rig.now, context, "").unwrap();
    assert_eq!(texts(&rig.drain(), "SIP/2.0 487").len(), 1);
}

/// RFC 3261 §16.7, step 4: the addresses of a 3xx, best first, each once; those that can't be used are passed over.
#[test]
fn the_addresses_of_a_3xx() {
    let mut rig = rig(Config { recurse: true, ..config() });
    let (_, sent) = relayed(&mut rig, &invite("1"), &[B]);
    let moved = "Contact: <sip:d@192.0.2.9?Subject=x>;q=0.2, <sip:c@192.0.2.8>;q=0.9, <sip:b@192.0.2.7>, <mailto:b@x>, <sips:e@192.0.2.10>\r\n";
    rig.hear(&response(&sent[0], "302 Moved Temporarily", "t", moved));
    let mut all = Vec::new();
    loop {
        let out = rig.drain();
        let next = texts(&out, "INVITE");
        if next.is_empty() {
            assert_eq!(texts(&out, "SIP/2.0 404").len(), 1);
            break;
        }
        assert_eq!(next.len(), 1, "each in its turn");
        all.push(next[0].split(' ').nth(1).unwrap().to_owned());
        rig.hear(&response(&next[0], "404 Not Found", "t", ""));
    }
    assert_eq!(all, ["sip:c@192.0.2.8", "sip:d@192.0.2.9"]);
    // One that leads back to where all have been is a refusal like others, and the best of them.
    let mut rig = support::proxying::rig(Config { recurse: true, ..config() });
    let (_, mut sent) = relayed(&mut rig, &invite("1"), &[B]);
    for (back, goes_on) in [("<sip:c@192.0.2.8>", true), ("<sip:b@192.0.2.7>", false)] {
        let moved = format!("Contact: {back}\r\n");
        rig.hear(&response(&sent[0], "302 Moved Temporarily", "t", &moved));
        let out = rig.drain();
        sent = texts(&out, "INVITE");
        assert_eq!((sent.len() == 1, texts(&out, "SIP/2.0 302").is_empty()), (goes_on, goes_on));
    }
    // Without the policy it is the caller's.
    let mut rig = support::proxying::rig(config());
    let (_, sent) = relayed(&mut rig, &invite("1"), &[B]);
    rig.hear(&response(&sent[0], "302 Moved Temporarily", "t", moved));
    let out = rig.drain();
    assert!(texts(&out, "INVITE").is_empty());
    assert!(header(&texts(&out, "SIP/2.0 302")[0], "Contact").is_some());
}

/// `Part::Minor`: "The request does not wait for it." Nor does a branch of it that there is no room for (RFC 5393 §5.3.3).
#[test]
fn a_minor_branch_keeps_no_other_from_its_turn() {
    let minor = Branch { part: Part::Minor, ..C };
    let mut rig = rig(config());
    let (context, _) = take(&mut rig, &request("INVITE", "sip:bob@example.com", "1", "Max-Breadth: 1\r\n"));
    rig.machine.relay(rig.now, context, &[minor]).unwrap();
    let first = texts(&rig.drain(), "INVITE").remove(0);
    rig.hear(&response(&first, "180 Ringing", "c", ""));
    rig.drain();
    // Who is waited for takes its place.
    rig.machine.relay(rig.now, context, &[B]).unwrap();
    assert_eq!(sends(&rig.drain(), "CANCEL").len(), 1);
    rig.hear(&response(&first, "487 Request Terminated", "c", ""));
    let second = texts(&rig.drain(), "INVITE").remove(0);
    rig.hear(&response(&second, "486 Busy Here", "b", ""));
    let out = rig.drain();
    assert_eq!(sends(&out, "SIP/2.0 486").len(), 1, "{out:#?}");
}

/// The same of two that are asked at once, in whatever order they were named.
#[test]
fn who_is_waited_for_goes_first() {
    let minor = Branch { part: Part::Minor, ..C };
    let mut rig = rig(config());
    let text = request("INVITE", "sip:bob@example.com", "1", "Max-Breadth: 1\r\n");
    let (_, sent) = relayed(&mut rig, &text, &[minor, B]);
    assert!(sent.len() == 1 && sent[0].starts_with("INVITE sip:b@"), "{sent:?}");
}

/// A request whose branch has found no room yet is answered all the same when it is cancelled, or when it has lived as long as it may.
#[test]
fn what_was_never_asked_is_answered() {
    let copy = Branch { part: Part::Copy, ..C };
    for cancelled in [true, false] {
        let mut rig = rig(Config { invite_lifetime: Some(Duration::from_secs(20)), ..config() });
        let (context, _) =
            take(&mut rig, &request("INVITE", "sip:bob@example.com", "1", "Max-Breadth: 1\r\n"));
        rig.machine.relay(rig.now, context, &[copy]).unwrap();
        rig.machine.relay(rig.now, context, &[B]).unwrap();
        assert!(sends(&rig.drain(), "INVITE sip:b@").is_empty());
        let out = if cancelled {
            rig.hear(&request("CANCEL", "sip:bob@example.com", "1", ""));
            rig.drain()
        } else {
            rig.run_until(ms(20_000))
        };
        let status = if cancelled { "SIP/2.0 487" } else { "SIP/2.0 408" };
        assert_eq!(sends(&out, status).len(), 1, "{out:#?}");
        rig.run_until(ms(100_000));
        assert!(rig.machine.is_idle());
    }
}

/// Who wants to be asked is so when a hold has run out, whether all have failed before or nobody was called.
#[test]
fn a_hold_that_runs_out_asks() {
    let asked = |out: &[support::Out]| -> Vec<u64> {
        let of = |out: &support::Out| match out {
            support::Out::Event { at, event } if event.starts_with("AllFailed") => {
                Some(at.as_micros() / 1_000)
            }
            _ => None,
        };
        out.iter().filter_map(of).collect()
    };
    for (ask, patience, answered) in
        [(true, 10, 30_000), (true, 40, 60_000), (false, 10, 20_000), (false, 40, 20_000)]
    {
        let patience = Duration::from_secs(patience);
        let mut rig = rig(Config { ask, patience, ..config() });
        let (context, _) = take(&mut rig, &invite("1"));
        rig.machine.hold(rig.now, context, Duration::from_secs(20)).unwrap();
        let out = rig.run_until(ms(100_000));
        assert_eq!(asked(&out), if ask { vec![20_000] } else { vec![] });
        let code = if ask { "SIP/2.0 500" } else { "SIP/2.0 408" };
        assert_eq!(sends(&out, code).first(), Some(&answered), "{ask} {patience:?} {out:#?}");
    }
    let mut rig = rig(Config { ask: true, ..config() });
    let (context, sent) = relayed(&mut rig, &invite("1"), &[B]);
    rig.machine.hold(rig.now, context, Duration::from_secs(20)).unwrap();
    rig.hear(&response(&sent[0], "486 Busy Here", "t", ""));
    let out = rig.run_until(ms(100_000));
    assert_eq!(asked(&out), [0, 20_000]);
    assert_eq!(sends(&out, "SIP/2.0 486").first(), Some(&50_000));
}
