//! The agents, over virtual time.
#![cfg(feature = "agent")]

mod support;

use sip_core::TransactionUser;
use sip_core::agent::{Uas, UasOptions};
use sip_core::ua::{Config, UserAgent};
use support::{Out, PEER, Rig, US, header};

struct Answering {
    rig: Rig<UserAgent>,
    uas: Uas,
}

impl Answering {
    fn new() -> Self {
        let mut config = Config::new(sip_core::Config::new([3; 32]), "uas");
        Uas::configure(&mut config);
        Self { rig: Rig::new(UserAgent::new(config)), uas: Uas::new(UasOptions::default()) }
    }

    /// Takes a request of the peer; what is sent for it.
    fn hear(&mut self, method: &str, to: &str, rest: &str) -> Vec<String> {
        let request = format!(
            "{method} sip:uas@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{method}\r\n\
             From: <sip:peer@h>;tag=p\r\nTo: {to}\r\nCall-ID: c\r\nCSeq: {} {method}\r\nMax-Forwards: 70\r\n\
             Contact: <sip:peer@{PEER}>\r\n{rest}",
            if method == "INVITE" { 1 } else { 2 },
        );
        let (rig, uas) = (&mut self.rig, &mut self.uas);
        let event = sip_core::Machine::datagram(
            &mut rig.machine,
            rig.now,
            Rig::<UserAgent>::source(),
            request.as_bytes(),
        );
        if let Some(event) = event {
            uas.event(rig.now, &mut rig.machine, event);
        }
        let sent = rig.drain();
        sent.iter().map(Out::bytes).filter(|bytes| !bytes.is_empty()).map(str::to_owned).collect()
    }
}

/// RFC 3262 §5: who asks for an offer gets it in the first reliable response, and answers it in the PRACK.
#[test]
fn who_asks_for_an_offer_gets_it_while_it_rings() {
    let mut answering = Answering::new();
    let ringing = answering.hear("INVITE", "<sip:uas@h>", "Supported: 100rel\r\nContent-Length: 0\r\n\r\n");
    let [_, ringing] = &*ringing else { panic!("{ringing:#?}") };
    assert!(ringing.starts_with("SIP/2.0 180") && ringing.contains("v=0"), "{ringing}");
    let rack = format!("RAck: {} 1 INVITE\r\n", header(ringing, "RSeq").unwrap());
    let answer = "Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n";
    let answers = answering.hear("PRACK", header(ringing, "To").unwrap(), &format!("{rack}{answer}"));
    let [prack, invite] = &*answers else { panic!("{answers:#?}") };
    assert!(prack.starts_with("SIP/2.0 200") && prack.contains("CSeq: 2 PRACK"), "{prack}");
    assert!(invite.starts_with("SIP/2.0 200") && invite.contains("CSeq: 1 INVITE"), "{invite}");
}
