//! The agents, over virtual time.
#![cfg(feature = "agent")]

mod support;

use sip_core::TransactionUser;
use sip_core::agent::{Enrolment, Uas, UasOptions};
use sip_core::ua::{Config, UserAgent};
use support::acting::Acting;
use support::call::{CONTACT, config, outside, sent};
use support::{Out, PEER, Rig, US, header, ms, response, sends};

fn answering(options: UasOptions) -> Acting<Uas> {
    let mut config = config();
    Uas::configure(&mut config);
    Acting::new(config, Uas::new(options))
}

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

/// A registrar that is not there, and one that would not have it: the agent says so and tries again.
#[test]
fn an_agent_registers_when_its_registrar_is_there() {
    let register = Enrolment::new(&format!("sip:{PEER}"), "alice");
    let mut uas = answering(UasOptions { register, ..UasOptions::default() });
    uas.run(ms(61_999));
    assert_eq!(sends(&uas.take(), "REGISTER").first(), Some(&0));
    uas.run(ms(62_000)); // Timer F and half a minute
    let again = sent(&uas.take(), "REGISTER");
    uas.hear(&response(&again, "403 Forbidden", "r", ""));
    uas.run(ms(92_000));
    let again = sent(&uas.take(), "REGISTER");
    uas.hear(&response(&again, "200 OK", "r", "Expires: 300\r\n"));
    uas.run(ms(93_000));
    assert!(uas.agent.report(&uas.rig.machine).ends_with(" unregistered=2"));
}

/// RFC 3515 §2.4.5: who prolongs what a REFER made is told in the same way.
#[test]
fn a_refer_is_told_of_in_sipfrag() {
    let mut uas = answering(UasOptions::default());
    uas.hear(&outside("REFER", "Refer-To: <sip:c@x>\r\nContent-Length: 0\r\n\r\n"));
    uas.settle();
    let out = uas.take();
    let (accepted, first) = (sent(&out, "SIP/2.0 202"), sent(&out, "NOTIFY"));
    uas.hear(&response(&first, "200 OK", "", ""));
    uas.hear(&format!(
        "SUBSCRIBE sip:alice@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKs\r\nFrom: <sip:bob@x>;tag=b9\r\n\
         To: {}\r\nCall-ID: REFER\r\nCSeq: 2 SUBSCRIBE\r\nMax-Forwards: 70\r\n{CONTACT}Event: {}\r\nExpires: 60\r\n\
         Content-Length: 0\r\n\r\n",
        header(&accepted, "To").unwrap(),
        header(&first, "Event").unwrap()
    ));
    uas.run(ms(200));
    let out = uas.take();
    let told: Vec<_> = out.iter().filter(|out| out.line().starts_with("NOTIFY")).map(Out::bytes).collect();
    assert!(told.len() >= 2 && told.iter().all(|text| text.contains("message/sipfrag")), "{told:#?}");
}
