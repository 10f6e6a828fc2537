//! Client transactions: requests out, responses in (RFC 3261 §17.1, §9.1).

use super::layer::{Applied, Heard, Layer, branch_key};
use super::record::{Key128, Record};
use super::{BufferId, Restart, State, Timers, ict, nict};
use crate::config::Limits;
use crate::endpoint::{Destination, Misuse, Txn};
use crate::handle::{ClientTxn, Key};
use crate::headers::{Header, Name, Route, Via};
use crate::message::{Content, Message, Method, Writer, hex};
use crate::transport::{NextHop, Target, Transport, next_hop_of};
use crate::uri::Uri;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// A request that is to be sent in a transaction of its own.
pub(crate) struct ClientRequest<'a> {
    pub(crate) method: Method<'a>,
    pub(crate) uri: &'a [u8],
    /// The URI that the next hop follows from: the top Route, or the Request-URI.
    pub(crate) towards: &'a [u8],
    /// The next hop, if the transaction user knows better.
    pub(crate) target: Option<Target>,
    pub(crate) timers: Option<Arc<Timers>>,
    pub(crate) user: u64,
}

/// The start of every branch that RFC 3261 elements make (§8.1.1.7).
pub(super) const COOKIE: &[u8] = b"z9hG4bK";

impl Layer {
    /// Whether something new may begin; what is under way goes on in any case.
    pub(crate) const fn may_begin(&self) -> Result<(), Misuse> {
        if self.draining { Err(Misuse::Draining) } else { Ok(()) }
    }

    /// Sends a request. `write` adds what stands between Via and the end of the message.
    pub(crate) fn request(
        &mut self,
        request: &ClientRequest<'_>,
        write: impl FnOnce(&mut Writer<'_>),
    ) -> Result<ClientTxn, Misuse> {
        self.open_client(request, b"", |text, via| {
            let mut writer = Writer::request(text, request.method, request.uri);
            writer.field(Name::Via, &via.parts());
            write(&mut writer);
        })
    }

    /// Forwards a request: below the Via of this side it stays as it is (RFC 3261 §16.6). The mark goes into the branch, behind what names the
    /// transaction (RFC 5393 §4.2.1).
    pub(crate) fn forward(
        &mut self,
        request: &ClientRequest<'_>,
        mark: u64,
        message: &[u8],
    ) -> Result<ClientTxn, Misuse> {
        self.open_client(request, &hex(mark), |text, via| via.put_on(text, message))
    }

    fn open_client(
        &mut self,
        request: &ClientRequest<'_>,
        mark: &[u8],
        write: impl FnOnce(&mut Vec<u8>, &OwnVia<'_>),
    ) -> Result<ClientTxn, Misuse> {
        if self.is_full(request.method) {
            return Err(Misuse::Full);
        }
        let hop = hop(request.target, request.uri, request.towards)?;
        let (transport, addr) = hop.address();
        let (local, _) = self.locals.towards(transport, addr).ok_or(Misuse::NoLocal(transport))?;
        let target = Target { transport, addr: addr.unwrap_or(SocketAddr::new(local.ip(), 0)) };
        let (state, step) = if request.method == Method::Invite {
            let step = ict::start(transport.reliability());
            (State::Ict(step.next), step.map(State::Ict))
        } else {
            let step = nict::start(transport.reliability());
            (State::Nict(step.next), step.map(State::Nict))
        };
        let key = self.open(Record::new(state, target, request.user, request.timers.clone(), self.clock()));
        self.write_request(key, addr, mark, write);
        match hop {
            NextHop::Address(_) => self.direct(key),
            NextHop::Name { host, port, .. } => self.resolve_for_txn(key, host, port, transport),
        }
        self.apply(key, &step, None, false);
        self.report_failures();
        Ok(ClientTxn(key))
    }

    /// Pins the message of a client transaction; the caller unpins it.
    pub(crate) fn keep_request(&mut self, txn: ClientTxn) -> BufferId {
        let buffer = self.get(Txn::Client(txn)).map_or(BufferId::NONE, |record| record.buffer);
        self.buffers.pin(buffer);
        buffer
    }

    fn write_request(
        &mut self,
        key: Key,
        addr: Option<SocketAddr>,
        mark: &[u8],
        write: impl FnOnce(&mut Vec<u8>, &OwnVia<'_>),
    ) {
        let Some(record) = self.txns.get(key) else { return };
        let (secret, transport) = (record.secret, record.target().transport);
        let sent_by = self.locals.towards(transport, addr).map_or("", |(_, sent_by)| sent_by);
        let mut text = core::mem::take(&mut self.scratch);
        text.clear();
        let branch = Branch { key, secret }.to_bytes();
        write(&mut text, &OwnVia { transport, sent_by, branch: &branch, mark, way: b"" });
        let buffer = self.buffers.keep(&text);
        self.scratch = text;
        if let Some(record) = self.txns.get_mut(key) {
            record.buffer = buffer;
        }
    }

    /// RFC 3261 §9.1: at once after a provisional response, else when one comes; never after a final one.
    pub(crate) fn cancel(&mut self, txn: ClientTxn) -> Result<(), Misuse> {
        let record = self.get(Txn::Client(txn)).ok_or(Misuse::Gone)?;
        let State::Ict(state) = record.state else { return Err(Misuse::BadMethod) };
        if !matches!(state, ict::State::Calling { .. } | ict::State::Proceeding { .. }) {
            return Err(Misuse::WrongState);
        }
        // There is nothing to cancel of what has not left.
        if self.is_unsent(txn) {
            self.abort(Txn::Client(txn));
            return Ok(());
        }
        let step = ict::step(state, ict::Event::Cancel, record.reliability()).map(State::Ict);
        self.apply(txn.0, &step, None, false);
        self.report_failures();
        Ok(())
    }

    /// The same, with lines of headers in the CANCEL that say why (RFC 3326).
    pub(crate) fn cancel_because(&mut self, txn: ClientTxn, reason: &[u8]) -> Result<(), Misuse> {
        let waits = self
            .get(Txn::Client(txn))
            .is_some_and(|record| matches!(record.state, State::Ict(state) if state.takes_cancel()));
        if waits && !reason.is_empty() {
            let reason = self.buffers.keep(reason);
            if let Some(before) = self.reasons.insert(txn.0.index, reason) {
                self.buffers.unpin(before);
            }
        }
        self.cancel(txn)
    }

    /// The same, though nothing has been heard: the CANCEL goes out at once, and the INVITE is not sent again.
    pub(crate) fn cancel_at_once(&mut self, txn: ClientTxn, reason: &[u8]) -> Result<(), Misuse> {
        self.cancel_because(txn, reason)?;
        let waiting = self
            .get(Txn::Client(txn))
            .filter(|record| record.state == State::Ict(ict::State::Calling { cancel: true }));
        if let Some(record) = waiting {
            // As if a 100 had come.
            let state = ict::State::Calling { cancel: true };
            let step = ict::step(state, ict::Event::Trying, record.reliability()).map(State::Ict);
            self.apply(txn.0, &step, None, false);
            self.report_failures();
        }
        Ok(())
    }

    /// Whether a request still waits here: for the address of its peer, or for the connection that leads there.
    pub(crate) fn is_unsent(&self, txn: ClientTxn) -> bool {
        match self.get(Txn::Client(txn)).map(Record::to) {
            Some(None) => true,
            Some(Some(Destination::Flow(id))) => self.flow(id).is_some_and(|flow| !flow.open),
            _ => false,
        }
    }

    pub(super) fn receive_response(&mut self, response: &Message<'_>) -> Option<Heard> {
        let surplus = self.one_via && response.all::<Via<'_>>().take(2).count() > 1;
        let Some(key) = self.match_response(response).filter(|_| !surplus) else {
            self.stats.strays += 1;
            return Some(Heard::Stray);
        };
        let status = response.status_code();
        let rings_anew = self.rings_anew(key, status);
        let record = self.txns.get(key)?;
        let on = record.reliability();
        let step = match record.state {
            State::Ict(state) => {
                let event = match status {
                    101..=199 if rings_anew => ict::Event::Provisional,
                    ..=199 => ict::Event::Trying,
                    200..=299 => ict::Event::Success,
                    _ => ict::Event::Failure,
                };
                ict::step(state, event, on).map(State::Ict)
            }
            State::Nict(state) => {
                let event = if status < 200 { nict::Event::Provisional } else { nict::Event::Final };
                nict::step(state, event, on).map(State::Nict)
            }
            State::Ist(_) | State::Nist(_) => return None,
        };
        let (user, silent) = (record.user, record.silent);
        let Applied { report, .. } = self.apply(key, &step, Some(response), false);
        report.filter(|_| !silent).map(|_| Heard::Response { txn: ClientTxn(key), user })
    }

    /// Whether an INVITE rings as long again from this provisional response on.
    fn rings_anew(&mut self, key: Key, status: u16) -> bool {
        let usual = self.delays.timers.restart;
        let Some(record) = self.txns.get_mut(key) else { return false };
        let State::Ict(state) = record.state else { return false };
        let Some(code @ 1..=99) = u8::try_from(status).ok().and_then(|status| status.checked_sub(100)) else {
            return false;
        };
        let before = record.rang;
        record.rang = before.max(code);
        match record.timers.as_deref().map_or(usual, |timers| timers.restart) {
            _ if matches!(state, ict::State::Calling { .. }) => true,
            Restart::Each => true,
            Restart::Rising => before == 0 || code >= 80 && code > before,
            Restart::Never => before == 0,
        }
    }

    /// RFC 3261 §17.1.3: the branch of the top Via and the method of CSeq; before it §18.1.2: sent-by is ours.
    pub(super) fn match_response(&self, response: &Message<'_>) -> Option<Key> {
        let via = response.via();
        if !self.locals.is_ours(via.transport, via.host, via.port.map(core::num::NonZero::get)) {
            return None;
        }
        let branch = Branch::parse(response.branch()?)?;
        let method = response.cseq().method;
        if method == Method::Cancel {
            let shared = Key128::from(branch_key(branch.key, branch.secret));
            let is = |place| self.txns.at(place).is_some_and(|record| record.key == shared);
            return self.txns.key_at(self.cancels.get(shared.hash(), is)?);
        }
        let record = self.txns.get(branch.key).filter(|record| record.secret == branch.secret)?;
        let fits = match record.state {
            State::Ict(_) => method == Method::Invite,
            State::Nict(_) => !matches!(method, Method::Invite | Method::Ack) && !record.silent,
            State::Ist(_) | State::Nist(_) => false,
        };
        // A NICT is for one method; the request that is kept tells which.
        let fits = fits
            && (method == Method::Invite
                || self
                    .buffers
                    .message(record.buffer)
                    .strip_prefix(method.as_bytes())
                    .is_some_and(|rest| rest.starts_with(b" ")));
        fits.then_some(branch.key)
    }

    /// RFC 3261 §17.1.1.3: the ACK of the transaction. It is made once and sent for each copy of the final response.
    pub(super) fn send_ack(&mut self, key: Key, response: Option<&Message<'_>>) {
        let Some(record) = self.txns.get(key) else { return };
        if record.ack != BufferId::NONE {
            return self.send(key, record.ack, true);
        }
        let to = response.and_then(|response| response.value(Name::To));
        let buffer = self.derive(record.buffer, Method::Ack, to, BufferId::NONE);
        if let Some(record) = self.txns.get_mut(key) {
            record.ack = buffer;
        }
        self.send(key, buffer, false);
    }

    /// RFC 3261 §9.1: the CANCEL, in a transaction of its own that nobody is told of.
    pub(super) fn send_cancel(&mut self, invite: Key) {
        let Some(record) = self.txns.get(invite) else { return };
        let (target, to, secret, request) = (record.target(), record.to(), record.secret, record.buffer);
        let timers = record.timers.clone();
        let reason = self.reasons.remove(&invite.index);
        let buffer = self.derive(request, Method::Cancel, None, reason.unwrap_or(BufferId::NONE));
        if let Some(reason) = reason {
            self.buffers.unpin(reason);
        }
        let step = nict::start(target.transport.reliability()).map(State::Nict);
        let shared = Key128::from(branch_key(invite, secret));
        let record = Record::new(step.next, target, 0, timers, self.clock());
        let key = self.open(Record { buffer, silent: true, key: shared, ..record });
        self.cancels.insert(shared.hash(), key.index);
        self.set_destination(key, to);
        self.apply(key, &step, None, false);
    }

    /// A request made from an INVITE of ours: same Request-URI, top Via, Call-ID, From, CSeq number and Route. An ACK has
    /// the To of the response and, by RFC 3261 §22.1, the credentials of the INVITE.
    fn derive(
        &mut self,
        invite: BufferId,
        method: Method<'_>,
        to: Option<&[u8]>,
        lines: BufferId,
    ) -> BufferId {
        let mut text = core::mem::take(&mut self.scratch);
        text.clear();
        if let Ok(invite) = Message::parse(self.buffers.message(invite), &Limits::NONE) {
            derived(&mut text, &invite, method, to, (&self.hop_headers, self.buffers.message(lines)));
        }
        let buffer = self.buffers.keep(&text);
        self.scratch = text;
        buffer
    }
}

/// The Via of this side on a request.
pub(super) struct OwnVia<'a> {
    pub(super) transport: Transport,
    pub(super) sent_by: &'a str,
    pub(super) branch: &'a [u8],
    /// What stands behind it, if anything.
    pub(super) mark: &'a [u8],
    /// By what the request came here, if the response is to say that again.
    pub(super) way: &'a [u8],
}

impl<'a> OwnVia<'a> {
    pub(super) fn parts(&self) -> [&'a [u8]; 11] {
        let protocol = self.transport.token().as_bytes();
        let sent_by = self.sent_by.as_bytes();
        let dot: &[u8] = if self.mark.is_empty() { b"" } else { b"." };
        let way: &[u8] = if self.way.is_empty() { b"" } else { b";i=" };
        let branch = self.branch;
        [b"SIP/2.0/", protocol, b" ", sent_by, b";branch=", branch, dot, self.mark, way, self.way, b";rport"]
    }

    /// Copies a request, with this Via above all that stands in it.
    pub(super) fn put_on(&self, out: &mut Vec<u8>, request: &[u8]) {
        let line = memchr::memchr(b'\n', request).map_or(request.len(), |end| end + 1);
        let (start, rest) = request.split_at(line);
        out.extend_from_slice(start);
        out.extend_from_slice(b"Via: ");
        self.parts().into_iter().for_each(|part| out.extend_from_slice(part));
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(rest);
    }
}

/// Where a request to a URI goes: to the target that is given, else to where `towards` leads, its first Route or the URI itself.
pub(crate) fn hop<'a>(target: Option<Target>, uri: &[u8], towards: &'a [u8]) -> Result<NextHop<'a>, Misuse> {
    match target {
        Some(target) => Ok(NextHop::Address(target)),
        None => next_hop_of(uri, towards).ok_or(Misuse::BadUri),
    }
}

fn derived(
    out: &mut Vec<u8>,
    invite: &Message<'_>,
    method: Method<'_>,
    to: Option<&[u8]>,
    (copied, lines): (&[String], &[u8]),
) {
    let mut writer = Writer::request(out, method, invite.request_uri());
    // One Via, that of this side: those below it are the business of who sent the INVITE here.
    if let Some(via) = invite.value(Name::Via) {
        writer.field(Name::Via, &[via]);
    }
    let mut copy = |name: Name| {
        for value in invite.values(name) {
            writer.field(name, &[value]);
        }
    };
    copy(Name::Route);
    copy(Name::From);
    copy(Name::CallId);
    if method == Method::Ack {
        copy(Name::Authorization);
        copy(Name::ProxyAuthorization);
    }
    match to {
        Some(to) => {
            writer.field(Name::To, &[to]);
        }
        None => copy(Name::To),
    }
    writer.cseq(invite.cseq().number, method).number(Name::MaxForwards, 70).line(lines);
    for name in copied {
        for value in invite.values_of(name) {
            writer.line(&[name.as_bytes(), b": ", value].concat());
        }
    }
    writer.finish(&Content::NONE);
}

/// The mark of a branch of ours: what a proxy put behind its name.
pub(crate) fn mark_of(branch: &[u8]) -> Option<u64> {
    Branch::parse(branch)?;
    let digits = core::str::from_utf8(branch.get(COOKIE.len() + 33..)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

/// What a branch of ours says: where the transaction lives, and a secret that nobody can guess.
struct Branch {
    key: Key,
    secret: u64,
}

impl Branch {
    fn to_bytes(&self) -> [u8; COOKIE.len() + 32] {
        let mut out = [0; COOKIE.len() + 32];
        let (cookie, digits) = out.split_at_mut(COOKIE.len());
        let (key, secret) = digits.split_at_mut(16);
        cookie.copy_from_slice(COOKIE);
        key.copy_from_slice(&hex(self.key.to_bits()));
        secret.copy_from_slice(&hex(self.secret));
        out
    }

    /// Hexadecimal digits read without case: a branch is a token, and some elements change its case.
    fn parse(branch: &[u8]) -> Option<Self> {
        let (cookie, rest) = branch.split_at_checked(COOKIE.len())?;
        let (rest, mark) = rest.split_at_checked(32)?;
        if !matches!(mark, [] | [b'.', ..]) || !cookie.eq_ignore_ascii_case(COOKIE) {
            return None;
        }
        let (key, secret) = rest.split_at_checked(16)?;
        Some(Self { key: Key::from_bits(unhex(key)?), secret: unhex(secret)? })
    }
}

/// The number that these digits are.
pub(super) fn unhex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

/// The URI that the next hop of a request with this route set follows from (RFC 3261 §8.1.2): the first Route if
/// it is a loose router, else the Request-URI.
pub(crate) fn towards<'a>(uri: &'a [u8], first_route: Option<&'a [u8]>) -> &'a [u8] {
    let Some(Ok(route)) = first_route.and_then(|value| Route::list(value).next()) else { return uri };
    match route.0.uri() {
        Ok(Uri::Sip(sip)) if sip.params.get("lr").is_some() => route.0.uri_bytes,
        _ => uri,
    }
}
