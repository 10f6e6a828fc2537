//! The agents, over virtual time.
#![cfg(feature = "agent")]

mod support;

use sip_core::agent::{Enrolment, Home, HomeOptions, Uas, UasOptions};
use sip_core::auth::Credentials;
use sip_core::proxy::{self, Proxy};
use sip_core::ua::{Config, Event, NewInvite, NewRegistration, UserAgent};
use sip_core::{Destination, Local, Machine, Output, Source, Target, TransactionUser, Transport};
use support::acting::Acting;
use support::call::{CONTACT, SDP, config, outside, sent};
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
        let event =
            Machine::datagram(&mut rig.machine, rig.now, Rig::<UserAgent>::source(), request.as_bytes());
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

/// Two phones and their home, on one wire.
struct Street {
    phones: [UserAgent; 2],
    proxy: Proxy,
    home: Home,
    told: Vec<(usize, String)>,
}

const ADDRS: [&str; 3] = ["192.0.2.1:5060", "192.0.2.2:5060", "192.0.2.3:5060"];

impl Street {
    fn new() -> Self {
        let phone = |name: &str, seed| {
            let mut config = Config::new(sip_core::Config::new([seed; 32]), name);
            config.identity = format!("<sip:{name}@example.com>");
            config.credentials = vec![Credentials::new(name, name)];
            UserAgent::new(config)
        };
        let logins = ["alice", "bob"].map(|name| (name.into(), name.into())).into();
        let domains = vec!["example.com".to_owned()];
        let proxy =
            proxy::Config { domains: domains.clone(), ..proxy::Config::new(sip_core::Config::new([3; 32])) };
        let mut street = Self {
            phones: [phone("alice", 1), phone("bob", 2)],
            proxy: Proxy::new(proxy),
            home: Home::new(&HomeOptions { logins, key: [7; 32], domains }),
            told: Vec::new(),
        };
        for (at, addr) in ADDRS.into_iter().enumerate() {
            let local = Local { transport: Transport::Udp, addr: addr.parse().unwrap(), advertised: None };
            match street.phones.get_mut(at) {
                Some(phone) => phone.listen(ms(0), local),
                None => street.proxy.listen(ms(0), local),
            }
        }
        street
    }

    /// Delivers what is sent until nothing is; a phone takes every call.
    fn settle(&mut self) {
        loop {
            let mut wire: Vec<(usize, usize, Vec<u8>)> = Vec::new();
            for from in 0..3 {
                loop {
                    let sent = match self.phones.get_mut(from) {
                        Some(phone) => sent_by(phone, |event| self.told.push((from, event))),
                        None => {
                            let mut events = Vec::new();
                            let sent = sent_by(&mut self.proxy, |event| events.push(event));
                            self.told.extend(events.into_iter().map(|event| (from, event)));
                            sent
                        }
                    };
                    let Some((to, bytes)) = sent else { break };
                    wire.push((from, ADDRS.iter().position(|addr| *addr == to).unwrap(), bytes));
                }
            }
            if wire.is_empty() {
                return;
            }
            for (from, to, bytes) in wire {
                let source = Source::Datagram {
                    local: ADDRS[to].parse().unwrap(),
                    remote: ADDRS[from].parse().unwrap(),
                };
                if let Some(phone) = self.phones.get_mut(to) {
                    let event = phone.datagram(ms(0), source, &bytes).map(Event::into_owned);
                    self.told.extend(event.iter().map(|event| (to, format!("{event:?}"))));
                    if let Some(Event::Incoming { dialog, .. }) = event {
                        phone.accept(ms(0), dialog, &SDP).unwrap();
                    }
                } else if let Some(event) = self.proxy.datagram(ms(0), source, &bytes) {
                    self.home.event(ms(0), &mut self.proxy, event);
                }
            }
        }
    }

    fn heard(&self, who: usize, start: &str) -> usize {
        self.told.iter().filter(|(at, event)| *at == who && event.starts_with(start)).count()
    }
}

/// What a machine sends next, and where to.
fn sent_by<M: Machine>(machine: &mut M, mut tell: impl FnMut(String)) -> Option<(String, Vec<u8>)>
where
    for<'b> M::Event<'b>: core::fmt::Debug,
{
    loop {
        match machine.poll()? {
            Output::Transmit(transmit) => {
                let Destination::Datagram { remote, .. } = transmit.to else { continue };
                return Some((remote.to_string(), transmit.bytes.to_vec()));
            }
            Output::Event(event) => tell(format!("{event:?}")),
            _ => {}
        }
    }
}

/// The registrar and proxy in one: a phone registers under its own name, is called by another who proves its own, and nobody else is let in.
#[test]
fn a_home_for_phones() {
    let mut street = Street::new();
    let target = Some(Target { transport: Transport::Udp, addr: ADDRS[2].parse().unwrap() });
    // By whatever name of theirs.
    let call = NewInvite { target, content: SDP, ..NewInvite::new("sip:bob@192.0.2.3") };
    // Nobody is at home.
    street.phones[0].invite(ms(0), &call).unwrap();
    street.settle();
    assert!(street.told.iter().any(|(at, event)| *at == 0 && event.contains("480 Temporarily Unavailable")));
    // Under its own name, and no other.
    for (aor, well) in [("<sip:alice@example.com>", false), ("<sip:bob@example.com>", true)] {
        let new = NewRegistration { target, ..NewRegistration::new("sip:example.com", aor) };
        street.told.clear();
        street.phones[1].register(ms(0), &new).unwrap();
        street.settle();
        assert_eq!(
            (street.heard(1, "Registered"), street.heard(1, "RegistrationRefused")),
            (usize::from(well), usize::from(!well))
        );
    }
    street.told.clear();
    street.phones[0].invite(ms(0), &call).unwrap();
    street.settle();
    assert_eq!(
        (street.heard(0, "Answered"), street.heard(1, "Incoming"), street.heard(1, "Established")),
        (1, 1, 1)
    );
    // Who proves nothing is not let in.
    let stranger = [Credentials::new("mallory", "m")];
    street.phones[0]
        .invite(ms(0), &NewInvite { from: "<sip:mallory@example.com>", credentials: &stranger, ..call })
        .unwrap();
    street.settle();
    assert_eq!((street.heard(0, "Refused"), street.heard(1, "Incoming")), (1, 1));
}

/// RFC 3261 §16.12, §26.3.2: a To tag, a foreign Request-URI and a Route that anybody can write let nobody through; §10.3, step 5: nor is anybody
/// registered whose home this is not.
#[test]
fn a_home_is_no_open_relay() {
    let domains = vec!["example.com".to_owned()];
    let core = sip_core::Config::new([3; 32]);
    let config = proxy::Config { domains: domains.clone(), record_route: true, ..proxy::Config::new(core) };
    let logins = vec![("alice".into(), "alice".into())];
    for (method, uri, to, extra, logins, status) in [
        ("INVITE", "sip:+900123456@203.0.113.9", "sip:b@x>;tag=made-up", "", &logins, "407"),
        (
            "INVITE",
            "sip:bob@203.0.113.9",
            "sip:b@x>;tag=made-up",
            "Route: <sip:192.0.2.1;lr>\r\n",
            &logins,
            "407",
        ),
        ("REGISTER", "sip:example.com", "sip:alice@other.invalid>", "", &Vec::new(), "404"),
        ("REGISTER", "sip:example.com", "sip:alice@example.com>", "", &Vec::new(), "200"),
        ("REGISTER", "sip:192.0.2.1", "sip:alice@192.0.2.1>", "", &Vec::new(), "200"),
    ] {
        let mut rig = Rig::new(Proxy::new(config.clone()));
        let mut home =
            Home::new(&HomeOptions { logins: logins.clone(), key: [7; 32], domains: domains.clone() });
        let request = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKa\r\nFrom: <sip:mallory@x>;tag=m\r\nTo: <{to}\r\n\
             Call-ID: relay\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n{CONTACT}{extra}Content-Length: 0\r\n\r\n"
        );
        let event = rig.machine.datagram(rig.now, Rig::<Proxy>::source(), request.as_bytes()).unwrap();
        home.event(rig.now, &mut rig.machine, event);
        let out = rig.drain();
        assert!(
            sends(&out, "").len() == 1 && out[0].line().starts_with(&format!("SIP/2.0 {status}")),
            "{uri}: {out:#?}"
        );
    }
}

/// Who is asked to end takes its registration back, and is done when the registrar has said so; who has none ends at once.
#[test]
fn who_ends_is_registered_no_more() {
    let register = Enrolment::new(&format!("sip:{PEER}"), "alice");
    let mut uas = answering(UasOptions { register, ..UasOptions::default() });
    let stop = |uas: &mut Acting<Uas>| uas.agent.stop(uas.rig.now, &mut uas.rig.machine);
    uas.settle();
    let register = sent(&uas.take(), "REGISTER");
    let contact = header(&register, "Contact").unwrap();
    uas.hear(&response(&register, "200 OK", "r", &format!("Contact: {contact};expires=300\r\n")));
    assert!(!uas.agent.is_done() && stop(&mut uas) && !uas.agent.is_done());
    uas.settle();
    let last = sent(&uas.take(), "REGISTER");
    assert!(
        header(&last, "Contact").unwrap().ends_with("expires=0") || header(&last, "Expires") == Some("0"),
        "{last}"
    );
    uas.hear(&response(&last, "200 OK", "r", ""));
    uas.settle();
    assert!(uas.agent.is_done());
    assert!(uas.agent.report(&uas.rig.machine).ends_with("unregistered=0"));
    let mut other = answering(UasOptions::default());
    assert!(!stop(&mut other));
}
