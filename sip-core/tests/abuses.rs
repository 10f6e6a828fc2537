//! What neighbours of a proxy do that they must not, and what comes of it: the Via abuse, the second finals and the dead servers of repro's suite.

mod support;

use sip_core::proxy::Branch;
use sip_core::{Machine, Output};
use support::proxying::{B, C, config, invite, relayed, request, rig, take, texts};
use support::{Out, header, ms, response, sends};

/// A response of the callee with other Vias.
fn with_vias(request: &str, status: &str, vias: &[&str]) -> String {
    let text = response(request, status, "t", "");
    let (start, rest) = text.split_once("\r\n").unwrap();
    let others: String = rest.split_inclusive("\r\n").filter(|line| !line.starts_with("Via:")).collect();
    let vias: String = vias.iter().map(|via| format!("Via: {via}\r\n")).collect();
    format!("{start}\r\n{vias}{others}")
}

/// Our Via of a request that went out, and the caller's below it.
fn vias(request: &str) -> (String, String) {
    let mut found = request.lines().filter_map(|line| line.strip_prefix("Via: ")).map(str::to_owned);
    (found.next().unwrap(), found.next().unwrap())
}

const OTHER: &str = "SIP/2.0/UDP 192.0.2.99;branch=z9hG4bKother";

/// UASRemovesProxyVia, UASAddsVia, UASChangesProxyBranch, and the same of other requests (Nit…): a response that is not this proxy's goes nowhere. The
/// request ends as if none had come: an INVITE with 408, another with nothing (RFC 4320 §4.2).
#[test]
fn responses_with_the_wrong_vias() {
    for method in ["INVITE", "MESSAGE"] {
        for which in 0..3 {
            let mut rig = rig(config());
            let (_, sent) = relayed(&mut rig, &request(method, "sip:bob@example.com", "1", ""), &[B]);
            let (ours, callers) = vias(&sent[0]);
            let changed = ours.replace("branch=z9hG4bK", "branch=z9hG4bKx");
            let wrong = [vec![&*callers], vec![OTHER, &ours, &callers], vec![&changed, &callers]];
            let heard = rig.hear(&with_vias(&sent[0], "200 OK", &wrong[which]));
            assert!(heard.unwrap().starts_with("Stray"));
            let out = rig.run_until(ms(40_000));
            assert!(sends(&out, "SIP/2.0 200").is_empty());
            let failed: &[u64] = if method == "INVITE" { &[32_000] } else { &[] };
            assert_eq!(sends(&out, "SIP/2.0 408").iter().take(1).copied().collect::<Vec<_>>(), failed);
            rig.hear(&request("ACK", "sip:bob@example.com", "1", ""));
            rig.run_until(ms(100_000));
            assert!(rig.machine.is_idle());
        }
    }
}

/// A Via between ours and the caller's is not for us to judge (RFC 3261 §16.7, step 3): the response goes back by the way the request came.
#[test]
fn a_via_below_ours_goes_back() {
    let mut rig = rig(config());
    let (_, sent) = relayed(&mut rig, &invite("1"), &[B]);
    let (ours, callers) = vias(&sent[0]);
    rig.hear(&with_vias(&sent[0], "200 OK", &[&ours, OTHER, &callers]));
    let out = rig.drain();
    let back = texts(&out, "SIP/2.0 200");
    assert_eq!(back.len(), 1);
    assert_eq!(header(&back[0], "Via"), Some(OTHER));
    assert!(out.iter().any(|out| matches!(out, Out::Sent { to, .. } if to == support::PEER)));
}

/// InviteMultiple4xx, Invite4xxThen2xx, Invite6xxThen1xx …: the first final response of a callee is its last.
#[test]
fn second_finals() {
    for (first, second) in
        [("486 Busy", "200 OK"), ("486 Busy", "404 No"), ("603 No", "180 Ringing"), ("404 No", "603 No")]
    {
        let mut rig = rig(config());
        let (_, sent) = relayed(&mut rig, &invite("1"), &[B, C]);
        rig.hear(&response(&sent[0], first, "t", ""));
        rig.drain();
        assert_eq!(rig.hear(&response(&sent[0], second, "t", "")), None, "{first} {second}");
        let out = rig.drain();
        assert!(texts(&out, "SIP/2.0").is_empty() && texts(&out, "CANCEL").is_empty(), "{out:#?}");
        // The other is not touched.
        rig.hear(&response(&sent[1], "200 OK", "u", ""));
        assert_eq!(texts(&rig.drain(), "SIP/2.0 200").len(), 1);
    }
    // Behind a 2xx only another 2xx goes up.
    let mut rig = rig(config());
    let (_, sent) = relayed(&mut rig, &invite("1"), &[B]);
    for (status, up) in [("200 OK", 1), ("180 Ringing", 0), ("486 Busy", 0), ("200 OK", 1)] {
        rig.hear(&response(&sent[0], status, "t", ""));
        assert_eq!(texts(&rig.drain(), "SIP/2.0").len(), up, "{status}");
    }
}

/// RFC 4320 §4.2: a 408 to anything but an INVITE says what its client knows by then.
#[test]
fn a_408_to_a_message_goes_nowhere() {
    let mut rig = rig(config());
    let (_, sent) = relayed(&mut rig, &request("MESSAGE", "sip:bob@example.com", "1", ""), &[B]);
    rig.hear(&response(&sent[0], "408 Request Timeout", "t", ""));
    let out = rig.run_until(ms(100_000));
    assert!(texts(&out, "SIP/2.0 4").is_empty(), "{out:#?}");
    assert!(rig.machine.is_idle());
}

/// 200BeatsCancel: who has answered is not cancelled, and the CANCEL gets its 200.
#[test]
fn a_cancel_behind_the_answer() {
    for status in ["200 OK", "486 Busy Here"] {
        let mut rig = rig(config());
        let (_, sent) = relayed(&mut rig, &invite("1"), &[B]);
        rig.hear(&response(&sent[0], status, "t", ""));
        rig.drain();
        rig.hear(&request("CANCEL", "sip:bob@example.com", "1", ""));
        let out = rig.drain();
        assert_eq!((texts(&out, "SIP/2.0 200").len(), texts(&out, "CANCEL").len()), (1, 0), "{status}");
        assert!(!out.iter().any(|out| out.line().starts_with("Cancelled")));
    }
}

/// CancelTimeout: eleven copies to a deaf callee, and 487 for the caller 64·T1 after the first.
#[test]
fn a_cancel_that_nobody_answers() {
    let mut rig = rig(config());
    let (_, sent) = relayed(&mut rig, &invite("1"), &[B]);
    rig.hear(&response(&sent[0], "180 Ringing", "t", ""));
    rig.run_until(ms(1_000));
    rig.hear(&request("CANCEL", "sip:bob@example.com", "1", ""));
    let out = rig.run_until(ms(34_000));
    assert_eq!(sends(&out, "CANCEL").len(), 11);
    assert_eq!(sends(&out, "SIP/2.0 487").first(), Some(&33_000));
}

/// BadAckTid1: an ACK of a 2xx that has the branch of its INVITE is for the callee all the same.
#[test]
fn an_ack_with_the_branch_of_its_invite() {
    let mut rig = rig(config());
    let (_, sent) = relayed(&mut rig, &invite("1"), &[B]);
    rig.hear(&response(&sent[0], "200 OK", "t", ""));
    rig.drain();
    let ack = request("ACK", "sip:b@192.0.2.7", "1", "")
        .replace("<sip:bob@example.com>", "<sip:bob@example.com>;tag=t");
    let heard = rig.hear(&ack).unwrap();
    assert!(heard.contains("first: true") && heard.contains("forwarded: true"), "{heard}");
    assert_eq!(texts(&rig.drain(), "ACK sip:b@192.0.2.7").len(), 1);
}

/// NoDNS, NoDNSTcp: a name without an address is as one that can't be reached (RFC 3261 §16.9): 503, which here is 500 (§16.7, step 6).
#[test]
fn a_name_without_an_address() {
    for uri in ["sip:b@nowhere.example", "sip:b@nowhere.example;transport=tcp"] {
        let mut rig = rig(config());
        let (context, _) = take(&mut rig, &invite("1"));
        rig.machine.relay(rig.now, context, &[Branch::to(uri)]).unwrap();
        let mut asked = Vec::new();
        while let Some(output) = rig.machine.poll() {
            asked.extend(if let Output::Resolve { id, .. } = output { Some(id) } else { None });
        }
        rig.machine.resolved(rig.now, asked[0], &[]);
        let out = rig.drain();
        assert_eq!(texts(&out, "SIP/2.0 500").len(), 1, "{out:#?}");
        assert_eq!(texts(&out, "INVITE").len(), 0);
    }
}

/// pjproject#1056: of two branches by one connection that is lost each fails, once; a third goes on.
#[test]
fn a_connection_that_is_lost() {
    let mut rig = rig(config());
    let far = |user: &str| format!("sip:{user}@192.0.2.8;transport=tcp");
    let (x, y) = (far("x"), far("y"));
    let (context, _) = take(&mut rig, &invite("1"));
    rig.machine.relay(rig.now, context, &[B, Branch::to(&x), Branch::to(&y)]).unwrap();
    let mut flows = Vec::new();
    let mut sent = Vec::new();
    while let Some(output) = rig.machine.poll() {
        match output {
            Output::Connect { flow, .. } => flows.push(flow),
            Output::Transmit(transmit) => sent.push(String::from_utf8_lossy(transmit.bytes).into_owned()),
            _ => {}
        }
    }
    assert_eq!((flows.len(), sent.len()), (1, 1), "one connection for both");
    rig.machine.flow_opened(rig.now, flows[0], support::US.parse().unwrap());
    assert_eq!(texts(&rig.drain(), "INVITE").len(), 2);
    rig.machine.flow_closed(rig.now, flows[0]);
    let out = rig.run_until(ms(100));
    assert_eq!(out.iter().filter(|out| out.line().starts_with("BranchFailed")).count(), 2, "{out:#?}");
    assert!(texts(&out, "SIP/2.0").is_empty());
    rig.hear(&response(&sent[0], "200 OK", "t", ""));
    assert_eq!(texts(&rig.drain(), "SIP/2.0 200").len(), 1);
}
