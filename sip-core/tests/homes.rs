//! The agent that is the home of its users: who is let in, who is found, and what nobody may do through it.
#![cfg(feature = "agent")]

mod support;

use sip_core::agent::{Home, HomeOptions};
use sip_core::auth::Credentials;
use sip_core::proxy::{self, Proxy};
use sip_core::ua::{self, NewInvite, NewRegistration, UserAgent};
use sip_core::{Destination, Local, Machine, Output, Source, Target, TransactionUser, Transport};
use support::call::{BODY, SDP, sent};
use support::{Out, PEER, Rig, US, header, ms, response};

const EVIL: &str = "203.0.113.9:5060";

/// A home at US with the user alice; and its proxy.
struct Street {
    rig: Rig<Proxy>,
    home: Home,
}

impl Street {
    fn new() -> Self {
        Self::of(3)
    }

    fn of(seed: u8) -> Self {
        let domains = vec!["example.com".to_owned()];
        let core = sip_core::Config::new([seed; 32]);
        let logins = vec![("alice".into(), "secret".into())];
        let options = HomeOptions { logins, key: [7; 32], domains };
        let mut config = proxy::Config { route_key: Some([5; 16]), ..proxy::Config::new(core) };
        Home::configure(&mut config, &options);
        Self { rig: Rig::new(Proxy::new(config)), home: Home::new(&options) }
    }

    /// What is sent for a datagram from there, and where to.
    fn hear(&mut self, from: &str, bytes: &str) -> Vec<(String, String)> {
        let source = Source::Datagram { local: US.parse().unwrap(), remote: from.parse().unwrap() };
        if let Some(event) = self.rig.machine.datagram(self.rig.now, source, bytes.as_bytes()) {
            self.home.event(self.rig.now, &mut self.rig.machine, event);
        }
        self.sent()
    }
}

impl Street {
    /// What is sent now that the home has heard of all.
    fn sent(&mut self) -> Vec<(String, String)> {
        let mut sent = Vec::new();
        while let Some(output) = self.rig.machine.poll() {
            match output {
                Output::Event(event) => {
                    let event = event.into_owned();
                    self.home.event(self.rig.now, &mut self.rig.machine, event);
                }
                Output::Transmit(transmit) => {
                    let Destination::Datagram { remote, .. } = transmit.to else { continue };
                    sent.push((remote.to_string(), String::from_utf8_lossy(transmit.bytes).into_owned()));
                }
                _ => {}
            }
        }
        sent
    }
}

/// Alice's phone, at PEER.
fn phone() -> Rig<UserAgent> {
    let mut config = ua::Config::new(sip_core::Config::new([1; 32]), "alice");
    config.identity = "<sip:alice@example.com>".into();
    config.credentials = vec![Credentials::new("alice", "secret")];
    let mut machine = UserAgent::new(config);
    machine.listen(ms(0), Local { transport: Transport::Udp, addr: PEER.parse().unwrap(), advertised: None });
    Rig { machine, now: ms(0) }
}

fn phone_hear(phone: &mut Rig<UserAgent>, from: &str, bytes: &str) -> Vec<Out> {
    let source = Source::Datagram { local: PEER.parse().unwrap(), remote: from.parse().unwrap() };
    phone.machine.datagram(phone.now, source, bytes.as_bytes());
    phone.drain()
}

/// RFC 7616 §5.4 (replay), RFC 3261 §22.3: what alice proves to the proxy of her home is seen by whoever it forwards her request to; it must not
/// open the door of its registrar.
#[test]
fn what_is_proven_to_the_proxy_registers_nobody() {
    let (mut street, mut phone) = (Street::new(), phone());
    let target = Some(Target { transport: Transport::Udp, addr: US.parse().unwrap() });
    // Alice registers elsewhere, by way of her home.
    let new =
        NewRegistration { target, ..NewRegistration::new("sip:203.0.113.9", "<sip:alice@203.0.113.9>") };
    phone.machine.register(phone.now, &new).unwrap();
    let register = sent(&phone.drain(), "REGISTER");
    let (_, challenge) = street.hear(PEER, &register).remove(0);
    assert!(challenge.starts_with("SIP/2.0 407"), "{challenge}");
    let register = sent(&phone_hear(&mut phone, US, &challenge), "REGISTER");
    let forwarded = street.hear(PEER, &register);
    let (to, forwarded) = forwarded.iter().find(|(_, bytes)| bytes.starts_with("REGISTER")).unwrap();
    assert_eq!(to, EVIL);
    // That registrar is not honest.
    let stolen = header(forwarded, "Proxy-Authorization").expect("the proxy leaves it in");
    let forged = format!(
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP {EVIL};branch=z9hG4bKevil\r\n\
         From: <sip:alice@example.com>;tag=e\r\nTo: <sip:alice@example.com>\r\nCall-ID: evil\r\nCSeq: 1 REGISTER\r\n\
         Max-Forwards: 70\r\nContact: <sip:alice@203.0.113.9>\r\nAuthorization: {stolen}\r\nExpires: 3600\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let (_, answer) = street.hear(EVIL, &forged).remove(0);
    assert!(!answer.starts_with("SIP/2.0 200"), "alice's calls go to somebody else now: {answer}");
}

/// RFC 7616 §3.4.6, RFC 3261 §22.4, point 6: a proof is for a URI.
#[test]
fn what_is_proven_for_one_uri_calls_no_other() {
    let (mut street, mut phone) = (Street::new(), phone());
    let invite = |uri: &str, branch: &str, extra: &str| {
        format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {EVIL};branch=z9hG4bK{branch}\r\nFrom: <sip:m@x>;tag=m{branch}\r\n\
             To: <{uri}>\r\nCall-ID: m{branch}\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:m@{EVIL}>\r\n{extra}\
             Content-Length: 0\r\n\r\n"
        )
    };
    // Mallory asks alice's home for a nonce, and is called by alice without her home.
    let (_, challenge) = street.hear(EVIL, &invite("sip:+900123456@198.51.100.9", "1", "")).remove(0);
    let challenge = header(&challenge, "Proxy-Authenticate").unwrap().to_owned();
    phone.machine.invite(phone.now, &NewInvite::new("sip:mallory@203.0.113.9")).unwrap();
    let call = sent(&phone.drain(), "INVITE");
    let challenged = response(
        &call,
        "407 Proxy Authentication Required",
        "m",
        &format!("Proxy-Authenticate: {challenge}\r\n"),
    );
    let proven = sent(&phone_hear(&mut phone, EVIL, &challenged), "INVITE sip:mallory@203.0.113.9");
    let proof = header(&proven, "Proxy-Authorization").unwrap();
    assert!(proof.contains("uri=\"sip:mallory@203.0.113.9\""), "{proof}");
    let extra = format!("Proxy-Authorization: {proof}\r\n");
    let out = street.hear(EVIL, &invite("sip:+900123456@198.51.100.9", "2", &extra));
    assert!(!out.iter().any(|(to, _)| to == "198.51.100.9:5060"), "alice pays for it: {out:#?}");
}

/// RFC 3261 §26.3.2: as with all else, nobody gets an ACK to somewhere through a home that has not let its INVITE through.
#[test]
fn a_home_relays_no_acks_of_strangers() {
    let mut street = Street::new();
    let ack = format!(
        "ACK sip:victim@198.51.100.9 SIP/2.0\r\nVia: SIP/2.0/UDP {EVIL};branch=z9hG4bKack\r\nFrom: <sip:m@x>;tag=m\r\n\
         To: <sip:v@x>;tag=made-up\r\nCall-ID: ack\r\nCSeq: 1 ACK\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    let out = street.hear(EVIL, &ack);
    assert!(out.is_empty(), "{out:#?}");
}

/// `Config::seed`: "a restart" needs another seed. Who is in a call with alice, and has no password, still ends it.
#[test]
fn a_call_that_is_older_than_a_restart_can_be_hung_up() {
    let mut street = Street::new();
    let mut phone = phone();
    let target = Some(Target { transport: Transport::Udp, addr: US.parse().unwrap() });
    let call = NewInvite { target, content: SDP, ..NewInvite::new("sip:gateway@203.0.113.9") };
    phone.machine.invite(phone.now, &call).unwrap();
    let invite = sent(&phone.drain(), "INVITE");
    let challenge =
        street.hear(PEER, &invite).into_iter().find(|(_, text)| text.starts_with("SIP/2.0 407")).unwrap().1;
    let invite = sent(&phone_hear(&mut phone, US, &challenge), "INVITE");
    let forwarded = street.hear(PEER, &invite).into_iter().find(|(to, _)| to == EVIL).unwrap().1;
    let ok = response(&forwarded, "200 OK", "g", &format!("Contact: <sip:gateway@{EVIL}>\r\n{BODY}"));
    street.hear(EVIL, &ok);
    // The home is started anew, with another seed.
    street = Street::of(4);
    let bye = format!(
        "BYE sip:alice@{PEER} SIP/2.0\r\nVia: SIP/2.0/UDP {EVIL};branch=z9hG4bKbye\r\nRoute: {}\r\nFrom: {};tag=g\r\nTo: {}\r\n\
         Call-ID: {}\r\nCSeq: 1 BYE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        header(&forwarded, "Record-Route").unwrap(),
        header(&forwarded, "To").unwrap(),
        header(&forwarded, "From").unwrap(),
        header(&forwarded, "Call-ID").unwrap(),
    );
    let out = street.hear(EVIL, &bye);
    assert!(out.iter().any(|(to, text)| to == PEER && text.starts_with("BYE")), "{out:#?}");
}

/// A home for anybody, with these contacts of bob's; what is sent for a call to him.
fn call_to(uri: &str, contacts: &[&str]) -> Vec<(String, String)> {
    let mut street = Street::new();
    street.home =
        Home::new(&HomeOptions { domains: vec!["example.com".to_owned()], ..HomeOptions::default() });
    for (cseq, contact) in contacts.iter().enumerate() {
        let scheme = if contact.contains("sips:") { "sips" } else { "sip" };
        let register = format!(
            "REGISTER {scheme}:example.com SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKr{cseq}\r\nFrom: <sip:bob@example.com>;tag=e\r\n\
             To: <sip:bob@example.com>\r\nCall-ID: r\r\nCSeq: {} REGISTER\r\nMax-Forwards: 70\r\nContact: {contact}\r\nExpires: 3600\r\n\
             Content-Length: 0\r\n\r\n",
            cseq + 1
        );
        let answer = street.hear(PEER, &register);
        assert!(answer[0].1.starts_with("SIP/2.0 200"), "{answer:#?}");
    }
    street.hear(
        PEER,
        &format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKi\r\nFrom: <sip:c@x>;tag=c\r\nTo: <{uri}>\r\nCall-ID: i\r\n\
             CSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:c@{PEER}>\r\nContent-Length: 0\r\n\r\n"
        ),
    )
}

/// RFC 3261 §10.2.1 (its own example registers a mailto), §16.5: a contact that no call can go to keeps no call from the others.
#[test]
fn a_contact_that_can_not_be_called_hides_no_phone() {
    let out = call_to("sip:bob@example.com", &["<sip:bob@192.0.2.7>", "<mailto:bob@example.com>;q=0.1"]);
    assert!(out.iter().any(|(to, _)| to == "192.0.2.7:5060"), "{out:#?}");
}

/// RFC 5630 §5.3: nor does one that only a secure call can go to.
#[test]
fn a_secure_contact_hides_no_phone() {
    let out = call_to("sip:bob@example.com", &["<sip:bob@192.0.2.7>", "<sips:bob@192.0.2.8>"]);
    assert!(out.iter().any(|(to, _)| to == "192.0.2.7:5060"), "{out:#?}");
}

/// A phone at PEER that has registered by two edge proxies, and a call to it.
fn called_by_two_flows() -> (Street, Vec<(String, String)>) {
    called_by(&["", ""])
}

/// By as many as there are parameters of their edge proxies.
fn called_by(params: &[&str]) -> (Street, Vec<(String, String)>) {
    let options = HomeOptions { domains: vec!["example.com".to_owned()], ..HomeOptions::default() };
    let mut street = Street::new();
    street.home = Home::new(&options);
    for (id, param) in (1..).zip(params) {
        let register = format!(
            "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2{id};branch=z9hG4bKe{id}\r\nVia: SIP/2.0/TCP {PEER};branch=z9hG4bKr{id}\r\n\
             From: <sip:bob@example.com>;tag=e{id}\r\nTo: <sip:bob@example.com>\r\nCall-ID: r{id}\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n\
             Path: <sip:192.0.2.2{id}{param};lr;ob>\r\nSupported: path, outbound\r\n\
             Contact: <sip:bob@192.0.2.2;transport=tcp>;+sip.instance=\"<urn:uuid:1>\";reg-id={id}\r\nExpires: 3600\r\n\
             Content-Length: 0\r\n\r\n"
        );
        let answer = street.hear(PEER, &register);
        assert!(answer[0].1.starts_with("SIP/2.0 200"), "{answer:#?}");
        street.rig.now = ms(id * 1_000);
    }
    let out = street.hear(
        PEER,
        &format!(
            "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKi\r\nFrom: <sip:c@x>;tag=c\r\n\
             To: <sip:bob@example.com>\r\nCall-ID: i\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:c@{PEER}>\r\n\
             Content-Length: 0\r\n\r\n"
        ),
    );
    (street, starting(out, "INVITE"))
}

fn starting(out: Vec<(String, String)>, start: &str) -> Vec<(String, String)> {
    out.into_iter().filter(|(_, text)| text.starts_with(start)).collect()
}

#[test]
fn a_phone_with_two_flows_is_called_once() {
    let (_, calls) = called_by_two_flows();
    assert_eq!(calls.len(), 1, "one phone, called by {calls:?}");
    // By the newest.
    assert_eq!(calls[0].0, "192.0.2.22:5060");
}

/// RFC 5626 §7: when that flow has failed, by the other; once.
#[test]
fn a_phone_is_called_by_its_next_flow() {
    for last in ["200 OK", "430 Flow Failed", "486 Busy Here"] {
        let (mut street, calls) = called_by_two_flows();
        let out = street.hear("192.0.2.22:5060", &response(&calls[0].1, "430 Flow Failed", "f", ""));
        let next = starting(out.clone(), "INVITE");
        assert_eq!(next.iter().map(|(to, _)| &**to).collect::<Vec<_>>(), ["192.0.2.21:5060"]);
        assert!(starting(out, "SIP/2.0 4").is_empty());
        let out = street.hear("192.0.2.21:5060", &response(&next[0].1, last, "g", ""));
        assert!(starting(out.clone(), "INVITE").is_empty());
        let heard = starting(out, "SIP/2.0");
        let expected = if last.starts_with("430") { "480" } else { &last[..3] };
        assert!(heard.len() == 1 && heard[0].1[8..].starts_with(expected), "{last}: {heard:?}");
    }
    // Whom nothing can be sent to, or who says nothing for 64·T1.
    let (mut street, _) = called_by_two_flows();
    let mut called = Vec::new();
    while let Some(due) = street.rig.machine.deadline().filter(|due| *due < ms(50_000)) {
        street.rig.now = due;
        street.rig.machine.advance(due);
        for (to, _) in starting(street.sent(), "INVITE") {
            if to.starts_with("192.0.2.21:") && called.is_empty() {
                called.push(due);
            }
        }
    }
    assert_eq!(called, [ms(34_000)]);
}

/// One that nothing can be sent by, and another behind it.
#[test]
fn a_flow_that_fails_at_once_hides_no_other() {
    let (mut street, calls) = called_by(&["", ";transport=tls", ""]);
    assert_eq!(calls[0].0, "192.0.2.23:5060");
    let out = street.hear("192.0.2.23:5060", &response(&calls[0].1, "430 Flow Failed", "f", ""));
    let next = starting(out.clone(), "INVITE");
    assert_eq!(next.iter().map(|(to, _)| &**to).collect::<Vec<_>>(), ["192.0.2.21:5060"], "{out:?}");
    assert!(starting(out, "SIP/2.0 4").is_empty());
    // Its refusal is the answer.
    let out = street.hear("192.0.2.21:5060", &response(&next[0].1, "486 Busy Here", "g", ""));
    assert_eq!(starting(out, "SIP/2.0 486").len(), 1);
}

/// Where Max-Breadth has no room, a flow waits; no other of the same phone is called for that.
#[test]
fn a_flow_that_waits_for_room_is_one() {
    let options = HomeOptions { domains: vec!["example.com".to_owned()], ..HomeOptions::default() };
    let mut street = Street::new();
    street.home = Home::new(&options);
    for (id, phone) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 3)] {
        let register = format!(
            "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2{id};branch=z9hG4bKe{id}\r\nVia: SIP/2.0/TCP {PEER};branch=z9hG4bKr{id}\r\n\
             From: <sip:bob@example.com>;tag=e{id}\r\nTo: <sip:bob@example.com>\r\nCall-ID: r{id}\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n\
             Path: <sip:192.0.2.2{id};lr;ob>\r\nSupported: path, outbound\r\n\
             Contact: <sip:bob{phone}@192.0.2.2;transport=tcp>;+sip.instance=\"<urn:uuid:{phone}>\";reg-id={id}\r\nExpires: 3600\r\n\
             Content-Length: 0\r\n\r\n"
        );
        street.hear(PEER, &register);
        street.rig.now = ms(id * 1_000);
    }
    let invite = format!(
        "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKi\r\nFrom: <sip:c@x>;tag=c\r\nMax-Breadth: 2\r\n\
         To: <sip:bob@example.com>\r\nCall-ID: i\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:c@{PEER}>\r\nContent-Length: 0\r\n\r\n"
    );
    let mut called = starting(street.hear(PEER, &invite), "INVITE");
    let mut open = 0;
    // The first phone's flows fail; the others are busy.
    let mut order = Vec::new();
    while let Some((to, text)) = (open < called.len()).then(|| called[open].clone()) {
        open += 1;
        order.push(to.clone());
        let status = if ["21", "22", "23"].iter().any(|flow| to.contains(&format!(".{flow}:"))) {
            "430 Flow Failed"
        } else {
            "486 Busy Here"
        };
        let out = street.hear(&to, &response(&text, status, "f", ""));
        let next = starting(out, "INVITE");
        // One place at a time becomes free, and one is called for it.
        assert!(next.len() <= 1, "{next:?}");
        called.extend(next);
    }
    assert_eq!(order.len(), 5, "{order:?}");
    let flows: Vec<_> = order.iter().filter(|to| to.as_str() < "192.0.2.24").collect();
    assert_eq!(flows, ["192.0.2.23:5060", "192.0.2.22:5060", "192.0.2.21:5060"]);
}
