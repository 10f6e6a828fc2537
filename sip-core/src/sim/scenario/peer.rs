//! What the peer does: requests and responses, made of what was said before.

use super::words::{is_method, key, named, need, number, only};
use super::{Did, Held, PEER, Stage, US};
use crate::config::Limits;
use crate::endpoint::{SendError, Source, Ticket};
use crate::framing::StreamBuf;
use crate::handle::ServerTxn;
use crate::machine::Machine;
use crate::message::{Message, Status};
use crate::sim::log::unquote;
use crate::transport::{Target, Transport};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;

/// The fields of a request of the peer.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) method: String,
    pub(super) branch: String,
    pub(super) call_id: String,
    pub(super) from_tag: String,
    pub(super) to_tag: String,
    pub(super) cseq: u32,
    pub(super) cseq_method: String,
    pub(super) sent_by: String,
    pub(super) uri: String,
    /// The transaction, once the user was told of it.
    pub(super) txn: Option<ServerTxn>,
}

impl Fields {
    pub(super) fn new(method: &str, name: &str) -> Self {
        Self {
            method: method.into(),
            branch: format!("z9hG4bK-{name}"),
            call_id: name.into(),
            from_tag: name.into(),
            to_tag: String::new(),
            cseq: 1,
            cseq_method: method.into(),
            sent_by: PEER.into(),
            uri: format!("sip:us@{US}"),
            txn: None,
        }
    }

    pub(super) fn text(&self, transport: Transport) -> String {
        let tag = if self.to_tag.is_empty() { String::new() } else { format!(";tag={}", self.to_tag) };
        let branch = if self.branch == "none" { String::new() } else { format!(";branch={}", self.branch) };
        format!(
            "{} {} SIP/2.0\r\nVia: SIP/2.0/{} {}{branch}\r\nMax-Forwards: 70\r\nFrom: <sip:peer@192.0.2.2>;tag={}\r\n\
             To: <sip:us@192.0.2.1>{tag}\r\nCall-ID: {}\r\nCSeq: {} {}\r\nContent-Length: 0\r\n\r\n",
            self.method,
            self.uri,
            transport.token(),
            self.sent_by,
            self.from_tag,
            self.call_id,
            self.cseq,
            self.cseq_method
        )
    }

    /// Whether a response can be one to this request.
    pub(super) fn fits(&self, response: &Message<'_>) -> bool {
        let branch = response.branch().unwrap_or_default();
        (self.branch == "none" || branch.eq_ignore_ascii_case(self.branch.as_bytes()))
            && response.call_id() == self.call_id.as_bytes()
            && response.cseq().number == self.cseq
            && response.from_tag().unwrap_or_default() == self.from_tag.as_bytes()
    }
}

impl Stage<'_> {
    pub(super) fn inject(&mut self, words: &[&str], line: &str) -> Held {
        match words {
            ["open"] => {
                let flow = need(self.connecting.take(), "a connection asked for")?;
                let (now, local) = (self.now, need(US.parse().ok(), "an address")?);
                if self.machine().flow_opened(now, flow, local) {
                    self.flow = Some(flow);
                }
            }
            ["refuse"] => {
                let flow = need(self.connecting.take(), "a connection asked for")?;
                let now = self.now;
                self.machine().flow_closed(now, flow);
            }
            ["close"] => {
                let flow = need(self.flow.take(), "an open connection")?;
                let now = self.now;
                self.stream = StreamBuf::new();
                self.machine().flow_closed(now, flow);
            }
            ["error", name] => {
                let ticket = need(self.last_ticket(name), "what was sent")?;
                let now = self.now;
                self.machine().send_failed(now, ticket, SendError::Unreachable);
            }
            ["again"] if self.last_bytes.is_empty() => return Err("nothing was sent before".into()),
            ["again"] => self.hear(self.last_bytes.clone())?,
            ["raw", ..] => {
                let (_, quoted) = need(line.split_once('"'), "a text in quotes")?;
                let (bytes, _) = need(unquote(quoted), "a text in quotes")?;
                self.hear(bytes)?;
            }
            [what, name, keys @ ..] => {
                let text = match what.parse() {
                    Ok(status) => {
                        only(keys, &["to-tag", "cseq-method", "branch", "sent-by", "extra-via", "no-via"])?;
                        self.response(status, name, keys)?
                    }
                    Err(_) if is_method(what) => {
                        let known = [
                            "branch",
                            "call-id",
                            "from-tag",
                            "to-tag",
                            "cseq",
                            "cseq-method",
                            "sent-by",
                            "uri",
                            "like",
                        ];
                        only(keys, &known)?;
                        number::<u32>(keys, "cseq")?;
                        self.incoming(what, name, keys)?
                    }
                    Err(_) => return Err(format!("{what} is neither a method nor a status")),
                };
                self.hear(text.into_bytes())?;
            }
            [word, ..] => {
                return Err(format!("{word} is nothing that a peer does, or something is missing behind it"));
            }
            [] => return Err("there is nothing behind the arrow".into()),
        }
        Ok(())
    }

    pub(super) fn last_ticket(&self, name: &str) -> Option<Ticket> {
        let fits = |bytes: &[u8]| {
            let Ok(message) = Message::parse(bytes, &Limits::DEFAULT) else { return false };
            if message.is_request() {
                message.call_id() == name.as_bytes()
            } else {
                self.servers.get(name).is_some_and(|fields| fields.fits(&message))
            }
        };
        self.sent.iter().rev().find(|(bytes, _)| fits(bytes)).map(|(_, ticket)| *ticket)
    }

    pub(super) fn hear(&mut self, bytes: Vec<u8>) -> Held {
        let now = self.now;
        let (local, remote): (SocketAddr, SocketAddr) =
            (need(US.parse().ok(), "an address")?, need(PEER.parse().ok(), "an address")?);
        self.last_bytes.clone_from(&bytes);
        if self.transport == Transport::Udp {
            let mut machine = self.machine.take();
            if machine.is_none() {
                self.machine();
                machine = self.machine.take();
            }
            let event = machine
                .as_mut()
                .and_then(|machine| machine.datagram(now, Source::Datagram { local, remote }, &bytes));
            let told = event.map(|event| self.told(&event));
            self.machine = machine;
            self.note_request(told);
            return Ok(());
        }
        if self.flow.is_none() {
            let target = Target { transport: self.transport, addr: remote };
            let accepted = self.machine().flow_accepted(now, target, local);
            self.flow = Some(accepted.map_err(|misuse| format!("the connection is refused: {misuse:?}"))?);
        }
        let flow = need(self.flow, "a connection")?;
        let mut stream = core::mem::take(&mut self.stream);
        stream.extend(&bytes);
        loop {
            let mut machine = self.machine.take();
            let event = machine.as_mut().and_then(|machine| machine.stream(now, flow, &mut stream));
            let told = event.map(|event| self.told(&event));
            self.machine = machine;
            if told.is_none() {
                break;
            }
            self.note_request(told);
        }
        self.stream = stream;
        Ok(())
    }

    /// What the bytes themselves caused; a new transaction has the name of their line.
    pub(super) fn note_request(&mut self, told: Option<Did>) {
        let Some(told) = told else { return };
        if let Did::Told { server: Some(txn), .. } = &told {
            if let Some(fields) = self.servers.get_mut(&self.last_name) {
                fields.txn = Some(*txn);
            }
        }
        let at = self.now;
        self.push(at, told);
    }

    /// A request of the peer.
    pub(super) fn incoming(&mut self, method: &str, name: &str, keys: &[&str]) -> Result<String, String> {
        self.last_name = name.into();
        if let (Some(known), "ACK" | "CANCEL") = (self.servers.get(name), method) {
            // Of a known transaction: its fields, and in the ACK the To of our response.
            if known.method != method {
                let mut fields =
                    Fields { method: method.into(), cseq_method: method.into(), ..known.clone() };
                if method == "ACK" {
                    fields.to_tag = self.our_tag(known).unwrap_or_default();
                }
                overlay(&mut fields, keys);
                return Ok(fields.text(self.transport));
            }
        }
        let fields = match (self.servers.get(name), key(keys, "like")) {
            (Some(known), _) if keys.is_empty() && known.method == method => known.clone(),
            (_, Some(other)) => {
                let mut fields = named(self.like(other), other)?;
                fields.method = method.into();
                fields.cseq_method = method.into();
                fields.txn = None;
                overlay(&mut fields, keys);
                // An ACK made like an INVITE of the peer is for our response.
                if method == "ACK" && key(keys, "to-tag").is_none() {
                    if let Some(tag) = self.servers.get(other).and_then(|known| self.our_tag(known)) {
                        fields.to_tag = tag;
                    }
                }
                fields
            }
            _ => {
                let mut fields = Fields::new(method, name);
                overlay(&mut fields, keys);
                fields
            }
        };
        // Written again, it is the same transaction until the user is told of a new one.
        let known = self.servers.get(name).and_then(|known| known.txn);
        let fields = Fields { txn: known, ..fields };
        let text = fields.text(self.transport);
        self.servers.insert(name.into(), fields);
        Ok(text)
    }

    /// The fields of another request: of the peer, or of ours when it is sent back.
    pub(super) fn like(&self, name: &str) -> Option<Fields> {
        if let Some(fields) = self.servers.get(name) {
            return Some(fields.clone());
        }
        let (bytes, _) = self.sent.iter().rev().find(|(bytes, _)| {
            Message::parse(bytes, &Limits::DEFAULT)
                .is_ok_and(|message| message.is_request() && message.call_id() == name.as_bytes())
        })?;
        let request = Message::parse(bytes, &Limits::DEFAULT).ok()?;
        let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
        let method = text(request.method().as_bytes());
        Some(Fields {
            branch: text(request.branch()?),
            call_id: name.into(),
            from_tag: text(request.from_tag()?),
            to_tag: request.to_tag().map(text).unwrap_or_default(),
            cseq: request.cseq().number,
            cseq_method: method.clone(),
            sent_by: US.into(),
            uri: text(request.request_uri()),
            method,
            txn: None,
        })
    }

    /// The To tag of our responses to a request.
    pub(super) fn our_tag(&self, fields: &Fields) -> Option<String> {
        self.sent.iter().rev().find_map(|(bytes, _)| {
            let message = Message::parse(bytes, &Limits::DEFAULT).ok()?;
            if message.is_request() || !fields.fits(&message) {
                return None;
            }
            message.to_tag().map(|tag| String::from_utf8_lossy(tag).into_owned())
        })
    }

    /// A response of the peer to a request of ours.
    pub(super) fn response(&self, status: u16, name: &str, keys: &[&str]) -> Result<String, String> {
        let client = named(self.client(name), name)?;
        let method = key(keys, "cseq-method").unwrap_or(&client.method);
        // A CANCEL has the Via of its INVITE, so the last message of ours by this name will do for either.
        let sent = self.sent.iter().rev().find_map(|(bytes, _)| {
            let text = core::str::from_utf8(bytes).ok()?;
            let ours = !text.starts_with("SIP/") && !text.starts_with("ACK ");
            (ours && text.contains(&format!("\r\nCall-ID: {name}\r\n"))).then_some(text)
        });
        let sent = need(sent, "what was sent")?;
        let header = |name: &str| {
            sent.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
        };
        let mut via = header("Via").to_string();
        if let Some(branch) = key(keys, "branch") {
            let own =
                via.split(";branch=").nth(1).and_then(|rest| rest.split(';').next()).unwrap_or_default();
            let new = if branch == "swapcase" { swap_case(own) } else { branch.to_string() };
            via = via.replace(own, &new);
        }
        if let Some(sent_by) = key(keys, "sent-by") {
            via = via.replace(US, sent_by);
        }
        let mut vias = format!("Via: {via}\r\n");
        if key(keys, "extra-via").is_some() {
            vias += &format!("Via: SIP/2.0/{} {PEER};branch=z9hG4bK-more\r\n", self.transport.token());
        }
        if key(keys, "no-via").is_some() {
            vias.clear();
        }
        let to = header("To");
        let tag = key(keys, "to-tag").unwrap_or(if status == 100 { "" } else { "peer" });
        let tag = if tag.is_empty() || to.contains(";tag=") { String::new() } else { format!(";tag={tag}") };
        let reason = Status::new(status).map_or("", Status::reason);
        Ok(format!(
            "SIP/2.0 {status} {reason}\r\n{vias}From: {}\r\nTo: {to}{tag}\r\nCall-ID: {name}\r\nCSeq: {} {method}\r\n\
             Content-Length: 0\r\n\r\n",
            header("From"),
            client.cseq
        ))
    }
}

fn overlay(fields: &mut Fields, keys: &[&str]) {
    for word in keys {
        let Some((key, value)) = word.split_once('=') else { continue };
        let value = value.to_string();
        match key {
            "branch" => fields.branch = value,
            "call-id" => fields.call_id = value,
            "from-tag" => fields.from_tag = value,
            "to-tag" => fields.to_tag = value,
            "cseq" => fields.cseq = value.parse().unwrap_or(fields.cseq),
            "cseq-method" => fields.cseq_method = value,
            "sent-by" => fields.sent_by = value,
            "uri" => fields.uri = value,
            _ => {}
        }
    }
}

fn swap_case(text: &str) -> String {
    let swap = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    text.chars().map(swap).collect()
}
