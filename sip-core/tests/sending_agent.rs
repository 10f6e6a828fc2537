//! The agent that sends what programs write that know no SIP, over virtual time.
#![cfg(feature = "agent")]

mod support;

use core::cell::RefCell;
use sip_core::agent::{Sender, Sent};
use sip_core::{Config, Endpoint, Instant, Machine, Output, TransactionUser};
use std::rc::Rc;
use support::{Out, Rig, US, header, ms, response, sends};

type Tell = Box<dyn FnMut(&Sent<'_>)>;

/// The agent, and the lines that it told.
struct Sending {
    rig: Rig<Endpoint>,
    agent: Sender<Tell>,
    told: Rc<RefCell<Vec<String>>>,
}

impl Sending {
    fn new() -> Self {
        let told = Rc::new(RefCell::new(Vec::new()));
        let lines = told.clone();
        let tell = move |sent: &Sent<'_>| {
            let Sent { file, method, uri, code, reason } = sent;
            lines.borrow_mut().push(format!("{file}|{method} {uri}|{code} {reason}"));
        };
        let agent = Sender::new("<sip:send@h>", [7; 32], Box::new(tell) as Tell);
        Self { rig: Rig::new(Endpoint::new(Config::new([5; 32]))), agent, told }
    }

    /// What is sent for these bytes of the input.
    fn feed(&mut self, text: &str) -> Vec<String> {
        self.agent.feed(self.rig.now, &mut self.rig.machine, text.as_bytes());
        self.sent()
    }

    fn sent(&mut self) -> Vec<String> {
        let out = self.rig.drain();
        out.iter().map(Out::bytes).filter(|bytes| !bytes.is_empty()).map(str::to_owned).collect()
    }

    fn hear(&mut self, bytes: &str) -> Vec<String> {
        let Rig { machine, now } = &mut self.rig;
        if let Some(event) = machine.datagram(*now, Rig::<Endpoint>::source(), bytes.as_bytes()) {
            self.agent.event(*now, machine, event);
        }
        self.sent()
    }

    fn wait(&mut self, until: Instant) {
        let Rig { machine, now } = &mut self.rig;
        while let Some(due) = machine.deadline().filter(|due| *due <= until) {
            *now = (*now).max(due);
            machine.advance(*now);
            while let Some(output) = machine.poll() {
                if let Output::Event(event) = output {
                    self.agent.event(*now, machine, event);
                }
            }
        }
        self.rig.now = until;
    }

    fn told(&self) -> Vec<String> {
        self.told.take()
    }
}

const MESSAGE: &str =
    ":t_uac:/tmp/x\nMESSAGE\nsip:bob@192.0.2.2\nFrom: <sip:alice@h>\nSubject: hi\n\nhello\n\n";

#[test]
fn a_message_is_sent_and_its_status_told_once() {
    let mut sending = Sending::new();
    let [message] = &sending.feed(MESSAGE)[..] else { panic!() };
    assert!(
        message.starts_with("MESSAGE sip:bob@192.0.2.2 SIP/2.0\r\n")
            && message.ends_with("\r\n\r\nhello\r\n")
    );
    assert!(header(message, "From").unwrap().starts_with("<sip:alice@h>;tag="));
    assert_eq!(header(message, "To"), Some("<sip:bob@192.0.2.2>"));
    assert_eq!(
        (header(message, "Subject"), header(message, "Content-Type")),
        (Some("hi"), Some("text/plain"))
    );
    sending.hear(&response(message, "100 Trying", "", ""));
    assert!(sending.told().is_empty());
    let ok = response(message, "202 Accepted", "b", "");
    sending.hear(&ok);
    sending.hear(&ok);
    assert_eq!(sending.told(), ["/tmp/x|MESSAGE sip:bob@192.0.2.2|202 Accepted"]);
    assert!(!sending.agent.is_done());
    sending.agent.end(sending.rig.now, &mut sending.rig.machine);
    assert!(sending.agent.is_done() && sending.agent.succeeded() == (1, 1));
}

/// What the writer says stands; what it must not say is not written twice.
#[test]
fn the_headers_are_the_writers() {
    let mut sending = Sending::new();
    let text = ":t_uac:\nNOTIFY\nsip:bob@example.com\nf: <sip:alice@h>;tag=a\nt: <sip:bob@h>;tag=b\ni: call\nCSeq: 7 NOTIFY\n\
        Route: <sip:192.0.2.9;lr>\nMax-Forwards: 3\nl: 99\nc: application/xml\nEvent: x\n\n<a/>\n\n";
    let [notify] = &sending.feed(text)[..] else { panic!() };
    for (name, value) in [
        ("From", "<sip:alice@h>;tag=a"),
        ("To", "<sip:bob@h>;tag=b"),
        ("Call-ID", "call"),
        ("CSeq", "7 NOTIFY"),
        ("Route", "<sip:192.0.2.9;lr>"),
        ("Content-Type", "application/xml"),
        ("Content-Length", "6"),
        ("Event", "x"),
    ] {
        assert_eq!(header(notify, name), Some(value), "{notify}");
    }
    assert_eq!(notify.matches("Max-Forwards").count() + notify.matches("Content-Length").count(), 2);
}

/// RFC 3261 §13.2.2.4: every 2xx to an INVITE has its ACK, by the route set; §17.1.1.3: so has a refusal, from the transaction.
#[test]
fn an_invite_is_acknowledged() {
    let mut sending = Sending::new();
    let [invite] = &sending.feed(":t_uac:\nINVITE\nsip:bob@192.0.2.2\nContact: <sip:me@h>\n\n\n")[..] else {
        panic!()
    };
    let ok = response(
        invite,
        "200 OK",
        "b",
        "Record-Route: <sip:192.0.2.8;lr>, <sip:192.0.2.9;lr>\r\nContact: <sip:bob@192.0.2.50>\r\n",
    );
    let first = sending.hear(&ok);
    assert!(
        first[0].starts_with("ACK sip:bob@192.0.2.50 ")
            && header(&first[0], "To").unwrap().ends_with(";tag=b")
    );
    let routes: Vec<_> = first[0].lines().filter(|line| line.starts_with("Route: ")).collect();
    assert_eq!(routes, ["Route: <sip:192.0.2.9;lr>", "Route: <sip:192.0.2.8;lr>"]);
    assert_eq!(sending.hear(&ok), first);
    assert_eq!(sending.told(), ["|INVITE sip:bob@192.0.2.2|200 OK"]);
    let [invite] = &sending.feed(":t_uac:\nINVITE\nsip:bob@192.0.2.2\n\n\n")[..] else { panic!() };
    assert!(
        sending.hear(&response(invite, "486 Busy Here", "b", ""))[0].starts_with("ACK sip:bob@192.0.2.2 ")
    );
    assert_eq!(sending.told(), ["|INVITE sip:bob@192.0.2.2|486 Busy Here"]);
}

/// Every request is told of, what can't be sent too, and none keeps the others waiting.
#[test]
fn what_can_not_be_sent_is_told() {
    let mut sending = Sending::new();
    let mut all = String::new();
    for (method, uri, headers) in [
        ("ACK", "sip:b@192.0.2.2", ""),
        ("OPTIONS", "bob", ""),
        ("OPTIONS", "sip:b@192.0.2.2;transport=tls", ""),
        ("OPTIONS", "sip:b@192.0.2.2", "CSeq: x\n"),
        ("OPTIONS", "sip:b@192.0.2.2", "Via: SIP/2.0/UDP h\n"),
        ("OPTIONS", "sip:b@192.0.2.2", "From: <<\n"),
    ] {
        all += &format!(":t_uac:\n{method}\n{uri}\n{headers}\n\n");
    }
    assert!(sending.feed(&(all + "garbage\n")).is_empty());
    let codes: Vec<_> =
        sending.told().iter().map(|line| line.split('|').nth(2).unwrap()[..3].to_owned()).collect();
    assert_eq!(codes, ["400", "400", "503", "400", "400", "400", "400"]);
    assert_eq!(sending.feed(MESSAGE).len(), 1);
    sending.agent.end(sending.rig.now, &mut sending.rig.machine);
    assert!(!sending.agent.is_done());
    sending.wait(ms(32_000));
    assert_eq!(sending.told(), ["/tmp/x|MESSAGE sip:bob@192.0.2.2|408 Request Timeout"]);
    assert!(sending.agent.is_done() && sending.agent.succeeded() == (0, 8));
}

/// A request of somebody else does not end one of this side's.
#[test]
fn nobody_is_at_home() {
    let mut sending = Sending::new();
    let message = sending.feed(MESSAGE).remove(0);
    let asked = format!(
        "OPTIONS sip:x@{US} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\nFrom: <sip:a@h>;tag=a\r\nTo: <sip:x@h>\r\n\
         Call-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n"
    );
    assert!(sending.hear(&asked)[0].starts_with("SIP/2.0 480"));
    sending.hear(&response(&message, "100 Trying", "", ""));
    sending.wait(ms(31_000));
    assert!(sending.told().is_empty());
}

/// RFC 3261 §8.1.3.1: a name without an address is as a 503.
#[test]
fn a_name_that_leads_nowhere() {
    let mut sending = Sending::new();
    sending.agent.feed(
        Instant::ZERO,
        &mut sending.rig.machine,
        b":t_uac:\nOPTIONS\nsip:nowhere.example\n\n\n",
    );
    let Some(Output::Resolve { id, .. }) = sending.rig.machine.poll() else { panic!() };
    sending.rig.machine.resolved(Instant::ZERO, id, &[]);
    sending.wait(ms(0));
    assert_eq!(sending.told(), ["|OPTIONS sip:nowhere.example|503 Service Unavailable"]);
}

/// Somebody who writes to the pipe is killed in the midst of a request: the next one's is its own.
#[test]
fn a_request_that_breaks_off_does_not_swallow_the_next() {
    for broken in [
        ":t_uac:/tmp/a\nMESSAGE\nsip:bob@192.0.2.2\nFrom: <sip:alice@h>\n",
        // No body, and but one empty line.
        ":t_uac:/tmp/a\nOPTIONS\nsip:bob@192.0.2.2\nFrom: <sip:alice@h>\n\n",
        ":t_uac:/tmp/a\nMESSAGE\n",
    ] {
        let lines = Rc::new(RefCell::new(Vec::new()));
        let told = lines.clone();
        let tell = move |sent: &Sent<'_>| {
            told.borrow_mut().push(format!("{} {} {}", sent.file, sent.code, sent.reason))
        };
        let mut agent = Sender::new("<sip:send@h>", [7; 32], Box::new(tell) as Tell);
        let mut rig = Rig::new(Endpoint::new(Config::new([5; 32])));
        agent.feed(rig.now, &mut rig.machine, broken.as_bytes());
        let next = ":t_uac:/tmp/b\nMESSAGE\nsip:carol@192.0.2.2\nContent-Type: text/plain\n\nhello\n\n";
        agent.feed(rig.now, &mut rig.machine, next.as_bytes());
        let out = rig.drain();
        assert_eq!(sends(&out, "MESSAGE sip:carol@").len(), 1, "{broken:?}: {:?} {out:#?}", lines.borrow());
    }
}
