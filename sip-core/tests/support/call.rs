//! A call of a user agent, its peer played by hand.

use super::{Out, PEER, Rig, US, header, response};
use sip_core::auth::Credentials;
use sip_core::message::{Content, Method, Status};
use sip_core::ua::{Config, Event, NewInvite, Offer, UserAgent};
use sip_core::{DialogId, Invitation, Machine, Misuse, RequestId, ServerTxn};

pub(crate) const SDP: Content<'static> = Content::body("application/sdp", b"v=0\r\n");
pub(crate) const CONTACT: &str = "Contact: <sip:bob@192.0.2.2:5099>\r\n";
pub(crate) const BODY: &str = "Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n";

/// What the user agent told.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) dialog: Option<DialogId>,
    pub(crate) replaces: Option<DialogId>,
    pub(crate) txn: Option<ServerTxn>,
    pub(crate) wants: bool,
    pub(crate) text: String,
}

pub(crate) struct Call {
    pub(crate) rig: Rig<UserAgent>,
    /// The last INVITE of either side.
    pub(crate) invite: String,
    /// From and To as the peer writes them in its requests.
    pub(crate) peer: String,
    pub(crate) us: String,
    pub(crate) call_id: String,
    pub(crate) dialog: DialogId,
    pub(crate) cseq: u32,
}

pub(crate) fn config() -> Config {
    let mut config = Config::new(sip_core::Config::new([3; 32]), "alice");
    config.identity = "<sip:alice@example.com>".into();
    config.methods = vec![Method::Info, Method::Refer, Method::Other(b"FOO")];
    config
}

/// A user agent that knows a password, and what asks it for that.
pub(crate) fn known() -> Config {
    Config { credentials: vec![Credentials::new("alice", "pw")], ..config() }
}

pub(crate) const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"x\", nonce=\"n1\", qop=\"auth\"\r\n";

/// A request of the peer outside any dialog that is there.
pub(crate) fn outside(method: &str, rest: &str) -> String {
    format!(
        "{method} sip:alice@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{method}\r\nFrom: <sip:bob@x>;tag=b9\r\n\
         To: <sip:alice@x>\r\nCall-ID: {method}\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n{CONTACT}{rest}"
    )
}

pub(crate) fn hear(rig: &mut Rig<UserAgent>, bytes: &str) -> Heard {
    let event = rig.machine.datagram(rig.now, Rig::<UserAgent>::source(), bytes.as_bytes());
    let mut heard = Heard {
        text: event.as_ref().map_or(String::new(), |event| format!("{event:?}")),
        ..Heard::default()
    };
    match event {
        Some(Event::Incoming { dialog, replaces, .. }) => {
            (heard.dialog, heard.replaces) = (Some(dialog), replaces);
        }
        Some(Event::Request { txn, dialog, .. }) => (heard.txn, heard.dialog) = (Some(txn), dialog),
        Some(Event::Progress { dialog, wants_prack, .. }) => {
            (heard.dialog, heard.wants) = (dialog, wants_prack);
        }
        Some(Event::Answered { dialog, wants_answer, .. }) => {
            (heard.dialog, heard.wants) = (Some(dialog), wants_answer);
        }
        Some(Event::Response { wants_answer, .. }) => heard.wants = wants_answer,
        _ => {}
    }
    heard
}

pub(crate) fn sent(outputs: &[Out], start: &str) -> String {
    let found = outputs.iter().find(|out| out.bytes().starts_with(start));
    found.unwrap_or_else(|| panic!("no {start} in {outputs:#?}")).bytes().to_owned()
}

pub(crate) fn told(outputs: &[Out], start: &str) -> usize {
    outputs.iter().filter(|out| matches!(out, Out::Event { event, .. } if event.contains(start))).count()
}

pub(crate) fn place(rig: &mut Rig<UserAgent>, content: Content<'_>) -> (Invitation, String) {
    let uri = format!("sip:bob@{PEER}");
    let invitation = rig.machine.invite(rig.now, &NewInvite { content, ..NewInvite::new(&uri) }).unwrap();
    (invitation, sent(&rig.drain(), "INVITE"))
}

impl Call {
    /// A call that this side placed, up.
    pub(crate) fn placed(config: Config, extra: &str) -> Self {
        let mut rig = Rig::new(UserAgent::new(config));
        let (_, invite) = place(&mut rig, SDP);
        let ok = response(&invite, "200 OK", "b1", &format!("{CONTACT}{extra}{BODY}"));
        let dialog = hear(&mut rig, &ok).dialog.unwrap();
        rig.drain();
        Self::of(
            rig,
            invite.clone(),
            dialog,
            format!("{};tag=b1", header(&invite, "To").unwrap()),
            header(&invite, "From").unwrap().into(),
        )
    }

    /// A call of the peer's, up.
    pub(crate) fn taken(config: Config, extra: &str) -> Self {
        let mut call = Self::ringing(config, &format!("{extra}{BODY}"));
        call.rig.machine.accept(call.rig.now, call.dialog, &SDP).unwrap();
        let ok = sent(&call.rig.drain(), "SIP/2.0 200");
        call.us = header(&ok, "To").unwrap().into();
        let ack = call.request("ACK", 1, "Content-Length: 0\r\n\r\n");
        hear(&mut call.rig, &ack);
        assert_eq!(call.rig.machine.offer(call.dialog), Ok(Offer::Stable));
        call
    }

    /// A call of the peer's that is not answered.
    pub(crate) fn ringing(config: Config, rest: &str) -> Self {
        let rig = Rig::new(UserAgent::new(config));
        let dialog = DialogId::from_bits(0);
        let mut call =
            Self::of(rig, String::new(), dialog, "<sip:bob@x>;tag=b1".into(), "<sip:alice@x>".into());
        call.call_id = "c-1".into();
        call.invite = call.request("INVITE", 1, rest);
        call.dialog = hear(&mut call.rig, &call.invite.clone()).dialog.unwrap();
        call
    }

    pub(crate) fn of(
        rig: Rig<UserAgent>,
        invite: String,
        dialog: DialogId,
        peer: String,
        us: String,
    ) -> Self {
        let call_id = header(&invite, "Call-ID").unwrap_or_default().into();
        Self { rig, invite, peer, us, call_id, dialog, cseq: 100 }
    }

    /// A request of the peer's in the dialog.
    pub(crate) fn request(&self, method: &str, cseq: u32, rest: &str) -> String {
        let contact = if rest.contains("Contact:") { "" } else { CONTACT };
        format!(
            "{method} sip:alice@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{method}{cseq}\r\n\
             From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n{contact}{rest}{}",
            self.peer,
            self.us,
            self.call_id,
            if rest.contains("\r\n\r\n") { "" } else { "Content-Length: 0\r\n\r\n" }
        )
    }

    /// The peer asks; what this side hears, and sends at once.
    pub(crate) fn ask(&mut self, method: &str, rest: &str) -> (Heard, Vec<Out>) {
        self.cseq += 1;
        let request = self.request(method, self.cseq, rest);
        let heard = hear(&mut self.rig, &request);
        (heard, self.rig.drain())
    }

    pub(crate) fn send(&mut self, method: Method<'_>, content: Content<'_>) -> Result<RequestId, Misuse> {
        self.rig.machine.request_in(self.rig.now, self.dialog, method, 9, &content)
    }

    pub(crate) fn sent(&mut self, method: Method<'_>, content: Content<'_>) -> String {
        self.send(method, content).unwrap();
        sent(&self.rig.drain(), &method.to_string())
    }

    pub(crate) fn answer(&mut self, request: &str, status: &str, extra: &str) -> Heard {
        hear(&mut self.rig, &response(request, status, "b1", extra))
    }

    pub(crate) fn offer(&self) -> Offer {
        self.rig.machine.offer(self.dialog).unwrap()
    }

    pub(crate) fn respond(&mut self, txn: ServerTxn, code: u16, content: Content<'_>) -> Vec<Out> {
        self.rig.machine.respond(self.rig.now, txn, Status::new(code).unwrap(), &content).unwrap();
        self.rig.drain()
    }
}
