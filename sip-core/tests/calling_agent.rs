//! The agents of the examples, when things go wrong.

#![cfg(feature = "agent")]
mod support;

use core::time::Duration;
use sip_core::agent::{Enrolment, Uac, UacOptions, Within};
use sip_core::message::Status;
use sip_core::ua::UserAgent;
use sip_core::{Machine, Output, SendError, TransactionUser};
use support::acting::Acting;
use support::call::{BODY, CONTACT, config, outside, sent};
use support::{PEER, Rig, header, ms, response, sends};

fn calling(options: UacOptions) -> Acting<Uac> {
    Acting::new(config(), Uac::new(options))
}

/// Who waits for the answer to its last REGISTER is not woken without end.
#[test]
fn an_agent_that_leaves_its_registrar_sleeps() {
    let uri = format!("sip:bob@{PEER}");
    let register = Enrolment::new(&uri, "alice");
    let mut calling =
        calling(UacOptions { register, expect: Status::new(486).unwrap(), ..UacOptions::new(&uri) });
    calling.run(ms(0));
    let first = sent(&calling.take(), "REGISTER");
    calling.hear(&response(&first, "200 OK", "r", "Expires: 300\r\n"));
    calling.run(ms(10));
    let invite = sent(&calling.take(), "INVITE");
    calling.hear(&response(&invite, "486 Busy Here", "b", ""));
    let most = calling.run(ms(20_000));
    assert!(most < 10, "woken {most} times at {:?}", calling.rig.now);
}

/// A step of a call that can't be sent is not waited for for ever.
#[test]
fn a_hold_that_can_not_be_sent() {
    let uri = format!("sip:bob@{PEER}");
    let mut calling = calling(UacOptions { within: Within::Hold, ..UacOptions::new(&uri) });
    calling.run(ms(0));
    let invite = sent(&calling.take(), "INVITE");
    calling.hear(&response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}")));
    // Up to the re-INVITE, which the system does not take.
    let mut now = 0;
    loop {
        now += 10;
        assert!(now < 1000);
        calling.rig.now = ms(now);
        calling.rig.machine.advance(ms(now));
        if calling.agent.deadline().is_some_and(|due| due <= ms(now)) {
            calling.agent.advance(ms(now), &mut calling.rig.machine);
        }
        let mut ticket = None;
        while let Some(output) = calling.rig.machine.poll() {
            if let Output::Transmit(transmit) = output {
                if transmit.bytes.starts_with(b"INVITE") {
                    ticket = Some(transmit.ticket);
                }
            }
        }
        if let Some(ticket) = ticket {
            calling.rig.machine.send_failed(ms(now), ticket, SendError::Unreachable);
            break;
        }
    }
    for second in 1..200 {
        calling.run(ms(second * 1000));
        for out in calling.take() {
            if out.line().starts_with("BYE") {
                calling.hear(&response(out.bytes(), "200 OK", "", ""));
            }
        }
    }
    assert!(calling.agent.is_done());
}

/// Two forks of one subscription are one.
#[test]
fn forks_of_a_subscription_count_once() {
    let uri = format!("sip:bob@{PEER}");
    let mut calling = calling(UacOptions {
        subscribe: Some("presence".into()),
        calls: 2,
        rate: 1,
        ..UacOptions::new(&uri)
    });
    calling.run(ms(0));
    let first = sent(&calling.take(), "SUBSCRIBE");
    calling.hear(&response(&first, "200 OK", "n1", "Expires: 100\r\n"));
    for (tag, cseq, state) in [
        ("n1", 1, "active;expires=60"),
        ("n2", 1, "active;expires=60"),
        ("n1", 2, "terminated;reason=noresource"),
        ("n2", 2, "terminated;reason=noresource"),
    ] {
        let to = header(&first, "To").unwrap();
        let notify = format!(
            "NOTIFY sip:alice@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{tag}{cseq}\r\nFrom: {to};tag={tag}\r\n\
             To: {}\r\nCall-ID: {}\r\nCSeq: {cseq} NOTIFY\r\nMax-Forwards: 70\r\n{CONTACT}\
             Event: presence\r\nSubscription-State: {state}\r\nContent-Length: 0\r\n\r\n",
            header(&first, "From").unwrap(),
            header(&first, "Call-ID").unwrap(),
        );
        calling.hear(&notify);
        calling.settle();
    }
    assert_eq!((calling.agent.done(), calling.agent.completed(), calling.agent.has_failed()), (1, 1, false));
}

/// The agent that is a registrar.
#[test]
fn a_folded_contact_is_answered() {
    use sip_core::agent::{Uas, UasOptions};
    use sip_core::ua::Config;
    let mut config = Config::new(sip_core::Config::new([3; 32]), "uas");
    Uas::configure(&mut config);
    let mut rig = Rig::new(UserAgent::new(config));
    let mut uas = Uas::new(UasOptions::default());
    let mut answers = Vec::new();
    for (cseq, contact) in
        [(1, "Contact: <sip:a@192.0.2.1>\r\n ;q=0.5\r\n"), (2, "Contact: <sip:b@192.0.2.2>\r\n")]
    {
        let text = format!(
            "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{cseq}\r\nFrom: <sip:a@example.com>;tag=1\r\n\
             To: <sip:a@example.com>\r\nCall-ID: c{cseq}\r\nCSeq: {cseq} REGISTER\r\nMax-Forwards: 70\r\n{contact}Content-Length: 0\r\n\r\n"
        );
        let event = rig.machine.datagram(rig.now, Rig::<UserAgent>::source(), text.as_bytes()).unwrap();
        uas.event(rig.now, &mut rig.machine, event);
        let until = rig.now + Duration::from_secs(1000);
        answers.push(rig.run_until(until).iter().map(|out| out.line().to_owned()).collect::<Vec<_>>());
    }
    assert!(answers.iter().all(|all| all.first().is_some_and(|line| line.starts_with("SIP/2.0 200"))));
}

/// RFC 3261 §10.3, step 4: who proves one name registers that one.
#[test]
fn who_is_alice_does_not_register_bob() {
    use sip_core::agent::{Uas, UasOptions};
    use sip_core::auth::Credentials;
    use sip_core::ua::{Config, NewRegistration};
    let mut config = Config::new(sip_core::Config::new([3; 32]), "uas");
    Uas::configure(&mut config);
    let mut rig = Rig::new(UserAgent::new(config));
    let mut uas =
        Uas::new(UasOptions { login: Some(("alice".into(), "pw".into())), ..UasOptions::default() });
    let mut client = Config::new(sip_core::Config::new([4; 32]), "alice");
    client.credentials = vec![Credentials::new("alice", "pw")];
    let mut client = Rig::new(UserAgent::new(client));
    client
        .machine
        .register(ms(0), &NewRegistration::new(&format!("sip:{PEER}"), "<sip:bob@example.com>"))
        .unwrap();
    let mut lines = Vec::new();
    for _ in 0..2 {
        let text = sent(&client.drain(), "REGISTER");
        let event = rig.machine.datagram(rig.now, Rig::<UserAgent>::source(), text.as_bytes()).unwrap();
        uas.event(rig.now, &mut rig.machine, event);
        let out = rig.drain();
        lines.push(out[0].line().to_owned());
        client.hear(out[0].bytes());
    }
    assert_eq!(lines[1], "SIP/2.0 403 Forbidden");
}

/// RFC 3261 §14.2: a PBX that moves the media of a call, and somebody who calls the agent, are answered.
#[test]
fn who_calls_is_called() {
    let uri = format!("sip:bob@{PEER}");
    let mut calling = calling(UacOptions { hold: Duration::from_secs(300), ..UacOptions::new(&uri) });
    calling.run(ms(10));
    let invite = sent(&calling.take(), "INVITE");
    calling.hear(&response(&invite, "200 OK", "b1", &format!("{CONTACT}{BODY}")));
    calling.run(ms(20));
    calling.take();
    let value = |name| header(&invite, name).unwrap();
    calling.hear(&format!(
        "INVITE sip:alice@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKre\r\nFrom: {};tag=b1\r\nTo: {}\r\n\
         Call-ID: {}\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n{CONTACT}{BODY}",
        value("To"),
        value("From"),
        value("Call-ID")
    ));
    calling.run(ms(30));
    assert!(sent(&calling.take(), "SIP/2.0 200").ends_with("PCMU/8000\r\n"));
    calling.hear(&outside("INVITE", BODY));
    calling.run(ms(40));
    assert_eq!(sends(&calling.take(), "SIP/2.0 486").len(), 1);
}

/// A call for which there was no room has failed.
#[test]
fn a_call_that_was_turned_away_has_failed() {
    let uri = format!("sip:bob@{PEER}");
    let mut config = config();
    config.core.limits.dialogs = 1;
    let hold = Duration::from_secs(5);
    let options = UacOptions { calls: 2, rate: 1_000, hold, ..UacOptions::new(&uri) };
    let mut calling = Acting::new(config, Uac::new(options));
    calling.run(ms(10));
    let out = calling.take();
    for (at, invite) in out.iter().filter(|out| out.line().starts_with("INVITE")).enumerate() {
        calling.hear(&response(invite.bytes(), "200 OK", &format!("b{at}"), &format!("{CONTACT}{BODY}")));
    }
    for second in 1..100 {
        calling.run(ms(second * 1_000));
        for out in calling.take() {
            if out.line().starts_with("BYE") {
                calling.hear(&response(out.bytes(), "200 OK", "", ""));
            }
        }
    }
    assert_eq!((calling.agent.is_done(), calling.agent.done(), calling.agent.completed()), (true, 2, 1));
}
