//! What goes on inside dialogs: a user agent with calls and subscriptions, and a peer and a user who do anything.

use crate::{PEER, STEPS, TIMERS, US, line, source, take};
use core::time::Duration;
use sip_core::message::{Content, Method, Status};
use sip_core::ua::{Command, Config, Ended, NewInvite, NewRefer, NewSubscription, Notice, Offer, UserAgent};
use sip_core::{
    DialogId, Instant, Invitation, Local, Machine, Output, RequestId, ServerTxn, SubscriptionId, Transport,
};
use std::collections::{BTreeMap, BTreeSet};

/// Each byte picks what comes next: a request of the peer in one of its dialogs, a response to what was sent, a command, time. Bytes behind some of them
/// are lines of a header. Whatever happens, numbers rise, each dialog has one BYE of this side, and when all have hung up nothing is left.
pub fn dialog(data: &[u8]) {
    let mut scene = Scene::new();
    let mut bytes = data;
    for _ in 0..STEPS {
        let Some((op, rest)) = bytes.split_first() else { break };
        bytes = rest;
        match op % 8 {
            0..=2 => scene.request(op / 8, &mut bytes),
            3 | 4 => scene.response(op / 8, &mut bytes),
            5 | 6 => scene.command(op / 8, take(&mut bytes)),
            _ => {
                let unit = [1, 20, 200, 2_000][usize::from(op / 8 % 4)];
                scene.now += Duration::from_millis(u64::from(take(&mut bytes)) * unit);
            }
        }
        scene.drain();
    }
    scene.end();
}

/// Up to so many bytes as the next one says, as text.
fn text(bytes: &mut &[u8]) -> String {
    let length = usize::from(take(bytes) % 64);
    line(bytes, length)
}

const METHODS: [&str; 10] =
    ["INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO", "NOTIFY", "SUBSCRIBE", "REFER"];
const LINES: [&str; 16] = [
    "",
    "Supported: 100rel, timer",
    "Require: 100rel",
    "Session-Expires: 90;refresher=uas",
    "Session-Expires: 90;refresher=uac",
    "Min-SE: 200",
    "Require: 100rel\r\nRSeq: 1",
    "Require: 100rel\r\nRSeq: 2",
    "RAck: 1 1 INVITE",
    "Event: presence\r\nSubscription-State: active;expires=60",
    "Event: presence\r\nSubscription-State: terminated;reason=timeout",
    "Event: presence\r\nExpires: 60",
    "Refer-To: <sip:x@h>",
    "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"",
    "Retry-After: 5\r\nExpires: 60",
    "Record-Route: <sip:192.0.2.9;lr>, <sip:192.0.2.8>",
];
const STATUSES: [&str; 16] = [
    "100 a", "180 a", "183 a", "199 a", "200 a", "202 a", "302 a", "401 a", "404 a", "408 a", "422 a",
    "481 a", "487 a", "491 a", "500 a", "603 a",
];
const OFFER: Content<'static> = Content::body("application/sdp", b"v=0\r\n");

struct Scene {
    agent: UserAgent,
    now: Instant,
    /// The last requests of this side.
    requests: Vec<String>,
    /// The last To tag that this side gave in each call of the peer.
    tags: BTreeMap<u8, String>,
    cseq: u32,
    /// What stands in the way of a fault: the last number and the BYE in each dialog, and the branches seen.
    numbers: BTreeMap<(String, String, String), u32>,
    hung_up: BTreeSet<(String, String, String)>,
    branches: BTreeSet<String>,
}

fn value<'a>(message: &'a str, name: &str) -> &'a str {
    message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
}

fn tag(address: &str) -> &str {
    address.split(";tag=").nth(1).unwrap_or_default()
}

impl Scene {
    fn new() -> Self {
        let mut config = Config::new(sip_core::Config::new([4; 32]), "us");
        config.methods = vec![Method::Info, Method::Refer];
        config.packages = vec!["presence".into()];
        config.credentials = vec![sip_core::auth::Credentials::new("us", "secret")];
        config.core.limits.subscriptions = 4;
        let mut agent = UserAgent::new(config);
        let addr = US.parse().expect("an address");
        agent.listen(Instant::ZERO, Local { transport: Transport::Udp, addr, advertised: None });
        let mut scene = Self {
            agent,
            now: Instant::ZERO,
            requests: Vec::new(),
            tags: BTreeMap::new(),
            cseq: 10,
            numbers: BTreeMap::new(),
            hung_up: BTreeSet::new(),
            branches: BTreeSet::new(),
        };
        // A call of the peer and one of this side, both up, to begin with.
        let mut bytes: &[u8] = &[0, 0, 0];
        scene.request(3, &mut bytes);
        let _ = scene.agent.accept(scene.now, DialogId::from_bits(0), &OFFER);
        scene.drain();
        scene.send("ACK", 0, 1, "");
        let uri = format!("sip:peer@{PEER}");
        let _ = scene.agent.invite(scene.now, &NewInvite { content: OFFER, ..NewInvite::new(&uri) });
        scene.drain();
        scene.response(4, &mut &[0, 0, 0, 1][..]);
        scene.drain();
        scene
    }

    /// A request of the peer: in its own call number `which % 3`, or in the dialog of this side's last request.
    fn request(&mut self, which: u8, bytes: &mut &[u8]) {
        let method = METHODS[usize::from(take(bytes)) % METHODS.len()];
        let more = take(bytes);
        let lines = LINES[usize::from(more % 16)];
        let lines = match text(bytes) {
            line if line.is_empty() => lines.to_owned(),
            line if lines.is_empty() => line,
            line => format!("{lines}\r\n{line}"),
        };
        self.cseq += u32::from(more / 16 % 3);
        let cseq = if method == "ACK" && more & 128 != 0 { 1 } else { self.cseq };
        if which % 4 == 3 && method == "INVITE" {
            self.tags.remove(&(which / 4 % 3));
        }
        self.send(method, which, cseq, &lines);
    }

    fn send(&mut self, method: &str, which: u8, cseq: u32, lines: &str) {
        let call = which / 4 % 3;
        let (from, to, call_id) = match self.requests.last() {
            Some(last) if which % 4 == 2 => {
                let from = value(last, "To");
                let from = if from.contains(";tag=") { from.into() } else { format!("{from};tag=b1") };
                (from, value(last, "From").to_owned(), value(last, "Call-ID").to_owned())
            }
            _ => {
                let tag = self.tags.get(&call).map(|tag| format!(";tag={tag}")).unwrap_or_default();
                ("<sip:peer@h>;tag=p".into(), format!("<sip:us@h>{tag}"), format!("call-{call}"))
            }
        };
        let body = if which & 32 != 0 { "" } else { "v=0\r\n" };
        let lines = if lines.is_empty() { String::new() } else { format!("{lines}\r\n") };
        let request = format!(
            "{method} sip:us@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{call}{method}{cseq}\r\nFrom: {from}\r\n\
             To: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 9\r\nContact: <sip:peer@{PEER}>\r\n{lines}\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let _ = self.agent.datagram(self.now, source(), request.as_bytes());
    }

    /// A response to one of the last requests of this side.
    fn response(&mut self, which: u8, bytes: &mut &[u8]) {
        let status = STATUSES[usize::from(which) % 16];
        let more = take(bytes);
        let lines = LINES[usize::from(more % 16)];
        let line = text(bytes);
        let back = usize::from(take(bytes) % 8);
        let Some(request) = self.requests.iter().rev().nth(back) else { return };
        let mut response = format!("SIP/2.0 {status}\r\n");
        for name in ["Via", "From", "Call-ID", "CSeq"] {
            response += &format!("{name}: {}\r\n", value(request, name));
        }
        let to = value(request, "To");
        let tag = if to.contains(";tag=") { String::new() } else { format!(";tag=b{}", more / 16 % 4) };
        let body = if more & 128 != 0 { "" } else { "v=0\r\n" };
        response += &format!("To: {to}{tag}\r\nContact: <sip:peer@{PEER}>\r\n");
        for line in [lines, &line] {
            if !line.is_empty() {
                response += &format!("{line}\r\n");
            }
        }
        response += &format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let _ = self.agent.datagram(self.now, source(), response.as_bytes());
    }

    fn command(&mut self, kind: u8, handle: u8) {
        let bits = u64::from(handle & 7) | u64::from(handle >> 3 & 3) << 32;
        let content = if handle & 128 != 0 { OFFER } else { Content::NONE };
        let (dialog, subscription) = (DialogId::from_bits(bits), SubscriptionId::from_bits(bits));
        let uri = format!("sip:peer@{PEER}");
        let over = Notice::Terminated { reason: Ended::NoResource, retry_after: None };
        let command = match kind {
            0 => Command::Invite(NewInvite { content, ..NewInvite::new(&uri) }),
            1 => Command::Ring(dialog, Status::RINGING, content),
            2 => Command::RingReliably(dialog, Status::SESSION_PROGRESS, content),
            3 | 4 => Command::Accept(dialog, content),
            5 => Command::Reject(dialog, Status::BUSY_HERE, content),
            6 => Command::Bye(dialog, Content::NONE),
            7 => Command::Ack(dialog, content),
            8 => Command::Prack(dialog, 0, content),
            9 => Command::RequestIn(dialog, Method::Invite, 0, content),
            10 => Command::RequestIn(dialog, Method::Update, 0, content),
            11 => Command::RequestIn(dialog, Method::Info, 0, content),
            12..=15 => Command::Respond(ServerTxn::from_bits(bits), Status::OK, content),
            16 => Command::Respond(ServerTxn::from_bits(bits), Status::RINGING, content),
            17 => Command::Respond(ServerTxn::from_bits(bits), Status::BUSY_HERE, content),
            18 => Command::Cancel(Invitation::from_bits(bits)),
            19 => Command::CancelRequest(RequestId::from_bits(bits)),
            20 => Command::Subscribe(NewSubscription::new(&uri, "presence")),
            21 => Command::SubscribeIn(dialog, NewSubscription::new(&uri, "presence")),
            22 => Command::ReferIn(dialog, NewRefer::new("<sip:x@h>")),
            23 => Command::Unsubscribe(subscription, Content::NONE),
            24 | 25 => Command::Notify(subscription, Notice::Active, Content::NONE),
            _ => Command::Notify(subscription, over, Content::NONE),
        };
        let _ = self.agent.command(self.now, command);
    }

    fn drain(&mut self) {
        while let Some(output) = self.agent.poll() {
            let Output::Transmit(transmit) = output else { continue };
            let sent = String::from_utf8_lossy(transmit.bytes).into_owned();
            if sent.starts_with("SIP/2.0") {
                let call = value(&sent, "Call-ID").strip_prefix("call-").and_then(|call| call.parse().ok());
                let tag = tag(value(&sent, "To"));
                if let (Some(call), false) = (call, tag.is_empty()) {
                    self.tags.insert(call, tag.into());
                }
                continue;
            }
            self.check(&sent);
            self.requests.push(sent);
            if self.requests.len() > 8 {
                self.requests.remove(0);
            }
        }
    }

    /// A request that is new has a higher number than the one before, and none of the session's comes after its BYE.
    fn check(&mut self, sent: &str) {
        let method = sent.split(' ').next().unwrap_or_default();
        let branch = value(sent, "Via").split("branch=").nth(1).unwrap_or_default();
        if matches!(method, "ACK" | "CANCEL") || !self.branches.insert(branch.into()) {
            return;
        }
        let (from, to) = (tag(value(sent, "From")), tag(value(sent, "To")));
        if to.is_empty() {
            return;
        }
        let name = (value(sent, "Call-ID").to_owned(), from.to_owned(), to.to_owned());
        let number =
            value(sent, "CSeq").split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        let last = self.numbers.insert(name.clone(), number);
        assert!(last.is_none_or(|last| last < number), "{number} after {last:?}: {sent}");
        // Subscriptions outlive their session, who has one may refer, and a BYE that was challenged comes again.
        let other = matches!(method, "NOTIFY" | "SUBSCRIBE" | "REFER")
            || (method == "BYE" && !value(sent, "Authorization").is_empty());
        assert!(other || !self.hung_up.contains(&name), "after the BYE: {sent}");
        if method == "BYE" {
            self.hung_up.insert(name);
        }
    }

    /// The peer and the user are silent until no offer of this side can be answered any more; then everybody hangs up.
    fn end(mut self) {
        let silent = self.now + Duration::from_secs(400);
        for _ in 0..TIMERS {
            let Some(deadline) = self.agent.deadline().filter(|deadline| *deadline <= silent) else { break };
            self.now = self.now.max(deadline);
            self.agent.advance(self.now);
            self.drain();
        }
        for dialog in self.agent.dialogs() {
            assert_ne!(self.agent.offer(dialog), Ok(Offer::Local), "nobody will answer it");
        }
        for _ in 0..TIMERS {
            for dialog in self.agent.dialogs().collect::<Vec<_>>() {
                let _ = self.agent.bye(self.now, dialog, &Content::NONE);
            }
            self.drain();
            let Some(deadline) = self.agent.deadline() else { break };
            self.now = self.now.max(deadline);
            self.agent.advance(self.now);
        }
        if self.agent.deadline().is_none() {
            assert!(self.agent.is_idle(), "left: {:?}", self.agent.stats());
        }
    }
}
