//! Dialogs (RFC 3261 §12): what two user agents know of each other, and how a request inside is made and checked.

mod failure;
mod id;
mod names;
pub(crate) mod offer;
pub(crate) mod reliable;
mod route_set;
pub(crate) mod session_timer;
pub(crate) mod subscription;

pub(crate) use failure::{Ends, ends};
pub(crate) use id::{Id, Side};
pub(crate) use names::Names;
pub(crate) use route_set::RouteSet;

use crate::headers::{Address, CSeq, Contact, Header, Name};
use crate::message::{Fields, Message, Method, Status, Writer, hex};

/// The state of a dialog as this side sees it (RFC 3261 §12).
///
/// Its identity never changes. Of the rest, the route set is set by the response that makes the dialog and once more by the
/// 2xx that confirms it (§13.2.2.4); the remote target by what RFC 6141 lets refresh it; and each side counts its own CSeq.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    /// Its id (the remote tag is empty for a peer of RFC 2543), From and To of requests of this side, and the remote target.
    pub(crate) names: Names,
    /// The number of the peer's request that moved it last.
    pub(crate) target_cseq: u32,
    pub(crate) routes: RouteSet,
    pub(crate) local_cseq: u32,
    pub(crate) remote_cseq: Option<u32>,
    /// Whether this side made the Call-ID.
    pub(crate) owner: bool,
}

/// A tag or Call-ID of ours as text.
pub(crate) fn token(value: u64) -> [u8; 16] {
    hex(value)
}

impl Dialog {
    /// The dialog that a request makes at the one who receives it (§12.1.1).
    pub(crate) fn of_request(request: &Message<'_>, local_tag: u64, initial_cseq: u32) -> Self {
        let local_tag = token(local_tag);
        Self {
            names: Names::of([
                &[request.call_id()],
                &[&local_tag],
                &[request.from_tag().unwrap_or_default()],
                &[request.value(Name::To).unwrap_or_default(), b";tag=", &local_tag],
                &[request.value(Name::From).unwrap_or_default()],
                &[contact(request).unwrap_or(request.from().uri_bytes)],
            ]),
            routes: RouteSet::of_request(request),
            local_cseq: initial_cseq,
            remote_cseq: Some(request.cseq().number),
            target_cseq: request.cseq().number,
            owner: false,
        }
    }

    /// The dialog that a NOTIFY makes at the subscriber (RFC 6665 §4.4.1), whose SUBSCRIBE had this number.
    pub(crate) fn of_notify(notify: &Message<'_>, cseq: u32) -> Self {
        let id = Id::of(notify, Side::Callee);
        Self {
            names: Names::of([
                &[id.call_id],
                &[id.local_tag],
                &[id.remote_tag],
                &[notify.value(Name::To).unwrap_or_default()],
                &[notify.value(Name::From).unwrap_or_default()],
                &[contact(notify).unwrap_or(notify.from().uri_bytes)],
            ]),
            routes: RouteSet::of_request(notify),
            local_cseq: cseq,
            remote_cseq: None,
            target_cseq: 0,
            owner: true,
        }
    }

    /// The dialog that a response makes at the one who sent the request (§12.1.2). What names this side is the request's: the response
    /// may have it otherwise.
    pub(crate) fn of_response(request: &Sent<'_>, response: &Message<'_>) -> Self {
        let local_tag = Address::whole(request.from).ok().and_then(|from| from.tag()).unwrap_or_default();
        Self {
            names: Names::of([
                &[request.call_id],
                &[local_tag],
                &[response.to_tag().unwrap_or_default()],
                &[request.from],
                &[response.value(Name::To).unwrap_or_default()],
                &[contact(response).unwrap_or(response.to().uri_bytes)],
            ]),
            routes: RouteSet::of_response(response),
            local_cseq: request.cseq,
            remote_cseq: None,
            target_cseq: 0,
            owner: true,
        }
    }

    /// The 2xx that confirms the dialog: its route set and its target count from here on (§13.2.2.4).
    pub(crate) fn confirm(&mut self, response: &Message<'_>) {
        self.routes = RouteSet::of_response(response);
        self.refresh(response);
    }

    /// Takes the Contact of a message that may move the remote target: a request that was accepted, a 2xx, a reliable provisional response
    /// (RFC 6141 §4.3, §4.7). The route set stays.
    pub(crate) fn refresh(&mut self, message: &Message<'_>) {
        if let Some(target) = contact(message) {
            self.names.set_target(target);
        }
    }

    /// Takes the number of a request from the peer (§12.2.2); ACK and CANCEL are not asked.
    ///
    /// A lower number is answered with 500, an equal one too: it is no retransmission, or the transaction would have it.
    /// The number counts even if the request is refused for another reason.
    pub(crate) fn take_cseq(&mut self, request: &Message<'_>) -> Result<(), Status> {
        let number = request.cseq().number;
        if self.remote_cseq.is_some_and(|last| number <= last) {
            return Err(Status::SERVER_INTERNAL_ERROR);
        }
        self.remote_cseq = Some(number);
        Ok(())
    }

    /// The next number of this side.
    pub(crate) const fn next_cseq(&mut self) -> u32 {
        self.local_cseq = self.local_cseq.wrapping_add(1) & 0x7fff_ffff;
        self.local_cseq
    }

    /// The Request-URI of requests in this dialog, and the URI that their next hop follows from (§12.2.1.1).
    pub(crate) fn uris(&self) -> (&[u8], &[u8]) {
        self.routes.uris(self.names.target())
    }

    /// Writes what every request in this dialog has between Via and its content.
    pub(crate) fn write(&self, writer: &mut Writer<'_>, method: Method<'_>, cseq: u32) {
        let [call_id, _, _, local, remote, target] = self.names.parts();
        self.routes.write(writer, target);
        writer
            .field(Name::From, &[local])
            .field(Name::To, &[remote])
            .field(Name::CallId, &[call_id])
            .cseq(cseq, method)
            .number(Name::MaxForwards, 70);
    }

    /// What the dialog is found by.
    pub(crate) fn id(&self) -> Id<'_> {
        self.names.id()
    }
}

/// What a request of this side calls it.
#[derive(Default)]
pub(crate) struct Sent<'a> {
    call_id: &'a [u8],
    from: &'a [u8],
    cseq: u32,
}

impl<'a> Sent<'a> {
    /// It stands near the top of what this side has written, which need not be read to its end.
    pub(crate) fn of(request: &'a [u8]) -> Self {
        let mut sent = Self::default();
        for field in Fields::of_message(request).map_while(Result::ok) {
            match field.name {
                Name::CallId => sent.call_id = field.value,
                Name::From => sent.from = field.value,
                Name::CSeq => sent.cseq = CSeq::whole(field.value).map_or(0, |cseq| cseq.number),
                _ => continue,
            }
            if !sent.call_id.is_empty() && !sent.from.is_empty() && sent.cseq > 0 {
                break;
            }
        }
        sent
    }
}

/// The URI of the first Contact, if it is one that requests can be sent to, without the headers that no Request-URI has (RFC 3261 §19.1.1).
pub(crate) fn contact<'a>(message: &'a Message<'_>) -> Option<&'a [u8]> {
    let value = message.value(Name::Contact)?;
    let address = Contact::list(value).next()?.ok()?.address()?;
    let headers = address.uri().ok()?.as_sip()?.headers.len();
    let cut = if headers == 0 { 0 } else { headers + 1 };
    address.uri_bytes.get(..address.uri_bytes.len().checked_sub(cut)?)
}
