//! Server transactions: requests in, responses out (RFC 3261 §17.2, §9.2).

use super::layer::{Heard, Layer, class_of};
use super::record::{Key128, Record};
use super::skeleton::{Skeleton, Tag};
use super::table::{self, Rule};
use super::{BufferId, State, Step, ist, nist};
use crate::config::{Limits, Overload};
use crate::endpoint::{Destination, Misuse, Source, Txn};
use crate::handle::{Key, ServerTxn};
use crate::headers::Name;
use crate::message::{Content, Error, ErrorKind, Message, Method, Status, Writer};
use crate::transport::{PackedAddr, Reliability, Target, reply_address};
use crate::uri::Uri;
use core::time::Duration;

/// Room for the end of a response without a body.
const TAIL: usize = b"Content-Length: 0\r\n\r\n".len();

/// A request that has come.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    source: Source,
    peer: Target,
    request: &'a Message<'a>,
    method: Method<'a>,
    /// How it is matched, and what with.
    rule: Rule,
    key: Key128,
    /// The hash of its datagram; zero if it came over a connection.
    exact: u64,
}

impl Layer {
    pub(super) fn receive_request(
        &mut self,
        source: Source,
        peer: Target,
        request: &Message<'_>,
        exact: u64,
    ) -> Option<Heard> {
        let method = request.request_method()?;
        let rule = table::rule(request);
        let of = if method == Method::Ack { Method::Invite } else { method };
        // RFC 3261 §17.2.3: of an ACK by the rules of RFC 2543 the To tag is that of the response, or the INVITE had it too.
        let to_tag = request.to_tag().filter(|_| method != Method::Ack);
        let key = self.key_as(rule, request, of, to_tag);
        let arrival = Arrival { source, peer, request, method, rule, key, exact };
        let found = self.matching(rule, request, key).or_else(|| {
            let tagged = method == Method::Ack && rule == Rule::Rfc2543;
            let key = tagged.then(|| self.key_as(rule, request, of, request.to_tag()));
            self.matching(rule, request, key?)
        });
        if let Some(found) = found {
            return self.receive_again(found, method == Method::Ack);
        }
        match method {
            Method::Ack => Some(Heard::Ack { txn: None }),
            Method::Cancel => self.receive_cancel(&arrival),
            _ => self.receive_new(&arrival),
        }
    }

    /// A datagram that is, byte for byte and from the same peer, the request of a live transaction is dealt with, and need not be
    /// parsed. Of any other the hash comes back, which [`receive`](Self::receive) wants with the message.
    pub(crate) fn receive_exact(&mut self, source: Source, data: &[u8]) -> Option<u64> {
        let Source::Datagram { remote, .. } = source else { return Some(0) };
        let hash = self.bytes_hash.of((PackedAddr::from(remote), data));
        let is = |place| self.txns.at(place).is_some_and(|record| record.exact == hash);
        let Some(key) = self.exact.get(hash, is).and_then(|place| self.txns.key_at(place)) else {
            return Some(hash);
        };
        self.stats.received += 1;
        self.receive_again(key, false);
        self.report_failures();
        None
    }

    /// The live transaction of a request. By the rules of RFC 2543 the Request-URI counts too, by RFC 3261 §19.1.4, and the
    /// To tag: that of the request, or for an ACK the one that we gave.
    fn matching(&self, rule: Rule, request: &Message<'_>, key: Key128) -> Option<Key> {
        let is = |place| {
            self.txns.at(place).is_some_and(|record| {
                record.key == key && (rule == Rule::Branch || self.matches(record, request))
            })
        };
        self.txns.key_at(self.requests.get(key.hash(), is)?)
    }

    /// What else must be equal by the rules of RFC 2543.
    fn matches(&self, record: &Record, request: &Message<'_>) -> bool {
        let whole = self.buffers.whole(record.buffer);
        let untagged = record.skeleton.to_tag(whole).is_none();
        // That of the response: ours, or that of who was asked where a proxy has passed it on.
        let last = || Message::parse(self.buffers.message(record.buffer), &Limits::NONE);
        let for_ours = || {
            request.to_tag().is_some_and(|tag| {
                Tag(record.secret).is(tag) || last().is_ok_and(|last| last.to_tag() == Some(tag))
            })
        };
        if request.request_method() == Some(Method::Ack) && untagged && !for_ours() {
            return false;
        }
        if !self.matching.uri {
            return true;
        }
        let kept = record.skeleton.uri(whole);
        match (Uri::parse(kept), Uri::parse(request.request_uri())) {
            (Ok(kept), Ok(uri)) => kept.equivalent(&uri),
            _ => kept == request.request_uri(),
        }
    }

    /// A request that its transaction has seen, or the ACK for its response.
    fn receive_again(&mut self, key: Key, ack: bool) -> Option<Heard> {
        let record = self.txns.get(key)?;
        let on = record.reliability();
        let step = match record.state {
            State::Ist(state) if ack => ist::step(state, ist::Event::Ack, on).map(State::Ist),
            State::Ist(state) => ist::step(state, ist::Event::Invite, on).map(State::Ist),
            State::Nist(state) => nist::step(state, nist::Event::Request, on).map(State::Nist),
            State::Ict(_) | State::Nict(_) => return None,
        };
        self.stats.retransmissions_in += u64::from(!ack);
        let applied = self.apply(key, &step, None, true);
        applied.report.map(|_| Heard::Ack { txn: Some(ServerTxn(key)) })
    }

    fn receive_new(&mut self, arrival: &Arrival<'_>) -> Option<Heard> {
        let Arrival { source, request, method, .. } = *arrival;
        // Of RFC 2543 requests that differ in their Request-URIs only there are not many at once.
        let crowded = arrival.rule == Rule::Rfc2543 && self.requests.count(arrival.key.hash()) >= 16;
        let tagged = request.to_tag().is_some();
        // A drain spares what is inside a dialog: it is no new work, and may be what ends it.
        if crowded || self.is_busy(method) || self.draining && !tagged {
            self.stats.overloaded += 1;
            self.refuse(source, request);
            return None;
        }
        // RFC 3261 §8.2.2.2: no To tag, and the rest equal to a request that is under way and that it does not match.
        let merge_key = if tagged { 0 } else { table::merge_key(&self.hash, request) };
        let is = |place| self.txns.at(place).is_some_and(|record| record.merge_key == merge_key);
        let merged = merge_key != 0 && self.merged.get(merge_key, is).is_some();
        let txn = self.open_server(arrival);
        // Its CANCEL has overtaken it.
        if method == Method::Invite && self.early_cancels.take(arrival.key) {
            if let Some(record) = self.txns.get_mut(txn.0) {
                record.silent = true;
            }
            let _ = self.respond(txn, Status::REQUEST_TERMINATED, &Content::NONE, |_| {});
            return None;
        }
        if merge_key != 0 && !merged {
            self.merged.insert(merge_key, txn.0.index);
            if let Some(record) = self.txns.get_mut(txn.0) {
                record.merge_key = merge_key;
            }
        }
        Some(Heard::Request { txn, merged })
    }

    /// Whether a new request finds no room: a cap on transactions or bytes, or the user has too many unanswered ones.
    fn is_busy(&self, method: Method<'_>) -> bool {
        let ends = matches!(method, Method::Bye | Method::Cancel);
        self.is_full(method) || !ends && self.unanswered >= self.limits.unanswered
    }

    /// RFC 3261 §9.2: 200 if there is something to cancel, whether it has an effect or not.
    fn receive_cancel(&mut self, arrival: &Arrival<'_>) -> Option<Heard> {
        let Arrival { source, request: cancel, rule, .. } = *arrival;
        let Some(found) = self.cancelled(rule, cancel) else {
            let key = self.key_as(rule, cancel, Method::Invite, cancel.to_tag());
            self.early_cancels.insert(key, self.limits.early_cancels);
            return self.receive_new(arrival);
        };
        if self.is_full(Method::Cancel) {
            self.stats.overloaded += 1;
            self.refuse(source, cancel);
            return None;
        }
        let txn = self.open_server(arrival);
        let invite = self.txns.get(found)?;
        // The To tag of both answers should be equal.
        let (tag, user, state) = (invite.secret, invite.user, invite.state);
        if let Some(record) = self.txns.get_mut(txn.0) {
            record.secret = tag;
            record.silent = true;
        }
        let _ = self.respond(txn, Status::OK, &Content::NONE, |_| {});
        let waiting = matches!(state, State::Ist(ist::State::Proceeding { .. }));
        waiting.then_some(Heard::Cancel { invite: ServerTxn(found), user })
    }

    /// What a CANCEL cancels.
    fn cancelled(&self, rule: Rule, cancel: &Message<'_>) -> Option<Key> {
        let all = Method::KNOWN.into_iter().filter(|of| !matches!(of, Method::Ack | Method::Cancel));
        all.into_iter()
            .find_map(|of| self.matching(rule, cancel, self.key_as(rule, cancel, of, cancel.to_tag())))
    }

    /// The server transaction of a request, by all that could match it.
    pub(super) fn find_request(&self, request: &Message<'_>) -> Option<ServerTxn> {
        let method = request.request_method()?;
        let rule = table::rule(request);
        let found = match method {
            Method::Cancel => self.cancelled(rule, request),
            Method::Ack => [None, request.to_tag()].into_iter().find_map(|to_tag| {
                self.matching(rule, request, self.key_as(rule, request, Method::Invite, to_tag))
            }),
            _ => self.matching(rule, request, self.key_as(rule, request, method, request.to_tag())),
        };
        found.map(ServerTxn)
    }

    /// The key of a request as if its method and its To tag were these.
    fn key_as(&self, rule: Rule, request: &Message<'_>, method: Method<'_>, to_tag: Option<&[u8]>) -> Key128 {
        table::key(&self.hash, self.matching, rule, request, method, to_tag).into()
    }

    fn open_server(&mut self, arrival: &Arrival<'_>) -> ServerTxn {
        let Arrival { source, peer, request, method, rule, key, exact } = *arrival;
        let on = peer.transport.reliability();
        let step = if method == Method::Invite {
            ist::start(on).map(State::Ist)
        } else {
            nist::start(on).map(State::Nist)
        };
        let via = request.via();
        let target = Target {
            transport: peer.transport,
            addr: reply_address(&via, request.asks(), peer.transport, peer.addr),
        };
        let uri = match rule {
            Rule::Branch => b"",
            Rule::Rfc2543 => request.request_uri(),
        };
        let mut text = core::mem::take(&mut self.scratch);
        text.clear();
        let skeleton = Skeleton::write(&mut text, request, peer.addr, uri);
        // Room for a response without a body.
        let buffer = self.buffers.take(skeleton.room(TAIL));
        self.buffers.write(buffer, |out| {
            out.extend_from_slice(&text);
            0
        });
        self.scratch = text;
        let record = Record::new(step.next, target, 0, None, self.clock());
        let counted = !matches!(method, Method::Bye | Method::Cancel);
        let slot = self.open(Record { buffer, skeleton, key, exact, counted, ..record });
        self.requests.insert(key.hash(), slot.index);
        if exact != 0 {
            self.exact.insert(exact, slot.index, self.txns.len());
        }
        let to = match source {
            Source::Datagram { local, .. } => Destination::Datagram { local, remote: target.addr },
            Source::Flow(flow) => Destination::Flow(flow),
        };
        self.set_destination(slot, Some(to));
        self.apply(slot, &step, None, false);
        ServerTxn(slot)
    }

    /// Answers a request (RFC 3261 §8.2.6, §17.2). `headers` writes what the owner adds.
    pub(crate) fn respond(
        &mut self,
        txn: ServerTxn,
        status: Status,
        content: &Content<'_>,
        headers: impl FnOnce(&mut Writer<'_>),
    ) -> Result<(), Misuse> {
        let step = self.response_step(txn, status)?;
        self.write_response(txn.0, status, headers, content);
        self.has_responded(txn, status, &step);
        Ok(())
    }

    /// Passes on a response to what was forwarded, byte for byte (RFC 3261 §16.7).
    pub(crate) fn relay(&mut self, txn: ServerTxn, status: Status, response: &[u8]) -> Result<(), Misuse> {
        let step = self.response_step(txn, status)?;
        self.stats.responses_relayed += 1;
        self.count_sent(status);
        if let Some(record) = self.txns.get_mut(txn.0) {
            let skeleton = record.skeleton.len();
            let room = skeleton + response.len();
            if !self.buffers.is_writable(record.buffer, room) {
                record.buffer = self.buffers.replace(record.buffer, skeleton, room);
            }
            self.buffers.write(record.buffer, |out| {
                out.truncate(skeleton);
                out.extend_from_slice(response);
                skeleton
            });
        }
        self.has_responded(txn, status, &step);
        Ok(())
    }

    /// The step of a server transaction whose user gives a response, if it may.
    fn response_step(&self, txn: ServerTxn, status: Status) -> Result<Step<State>, Misuse> {
        let record = self.get(Txn::Server(txn)).ok_or(Misuse::Gone)?;
        let on = record.reliability();
        let step = match record.state {
            State::Ist(state) => {
                let event = match status.code() {
                    100..=199 => ist::Event::Provisional,
                    200..=299 => ist::Event::Success,
                    _ => ist::Event::Failure,
                };
                ist::step(state, event, on).map(State::Ist)
            }
            State::Nist(state) => {
                let event = match status.code() {
                    100 => nist::Event::Trying { due: self.late_trying_is_due(txn.0) },
                    101..=199 => nist::Event::Provisional,
                    408 => nist::Event::RequestTimeout,
                    _ => nist::Event::Final,
                };
                nist::step(state, event, on).map(State::Nist)
            }
            State::Ict(_) | State::Nict(_) => return Err(Misuse::Gone),
        };
        if step.actions.contains(&super::Action::Refuse) {
            return Err(Misuse::Forbidden);
        }
        if !step.actions.contains(&super::Action::Send(super::Send::Response)) {
            return Err(Misuse::WrongState);
        }
        // The first final response always has room: it ends something.
        let first_final = record.state.is_unanswered() && !status.is_provisional();
        if !first_final && self.buffers.retained() >= self.limits.retained {
            return Err(Misuse::Full);
        }
        Ok(step)
    }

    fn has_responded(&mut self, txn: ServerTxn, status: Status, step: &Step<State>) {
        if status.code() >= 300 {
            self.unmerge(txn.0);
        }
        // Who is answered after all is so with all that belongs to it.
        if let Some(record) = self.txns.get_mut(txn.0).filter(|_| !status.is_provisional()) {
            record.muted = false;
        }
        self.apply(txn.0, step, None, false);
        self.report_failures();
    }

    /// The user of this request waits for others to answer it: it does not count as one that the user leaves without an answer.
    pub(crate) fn uncount(&mut self, txn: ServerTxn) {
        let Some(record) = self.txns.get_mut(txn.0) else { return };
        let counted = core::mem::take(&mut record.counted);
        self.unanswered -= usize::from(counted && record.state.is_unanswered());
    }

    /// A request that is refused is not under way any more: the next one of a serial fork is no copy of it.
    fn unmerge(&mut self, key: Key) {
        let Some(record) = self.txns.get_mut(key) else { return };
        let merge_key = core::mem::take(&mut record.merge_key);
        if merge_key != 0 {
            self.merged.remove(merge_key, key.index);
        }
    }

    /// Sends the 2xx of an INVITE again (RFC 3261 §13.3.1.4).
    pub(crate) fn repeat_success(&mut self, txn: ServerTxn) {
        let Some(record) = self.get(Txn::Server(txn)) else { return };
        if let State::Ist(state @ ist::State::Accepted) = record.state {
            let step = ist::step(state, ist::Event::Success, record.reliability()).map(State::Ist);
            self.apply(txn.0, &step, None, true);
            self.report_failures();
        }
    }

    /// Pins the last response of a server transaction; the caller unpins it.
    pub(crate) fn keep_response(&mut self, txn: ServerTxn) -> BufferId {
        let buffer = self.get(Txn::Server(txn)).map_or(BufferId::NONE, |record| record.buffer);
        self.buffers.pin(buffer);
        buffer
    }

    /// Sends again a 2xx that was [kept](Self::keep_response); another may have been passed on since.
    pub(crate) fn repeat_kept(&mut self, txn: ServerTxn, response: BufferId) {
        if self.state(Txn::Server(txn)) == Some(State::Ist(ist::State::Accepted)) {
            self.send(txn.0, response, true);
            self.report_failures();
        }
    }

    /// Sends the last provisional response of an INVITE again.
    pub(crate) fn repeat_provisional(&mut self, txn: ServerTxn) {
        let Some(record) = self.get(Txn::Server(txn)) else { return };
        if matches!(record.state, State::Ist(ist::State::Proceeding { .. })) {
            self.send(txn.0, record.buffer, true);
            self.report_failures();
        }
    }

    /// Whether an ACK is for the 2xx that this side has given (RFC 3261 §13.3.1.4).
    pub(crate) fn is_acknowledged_by(&self, txn: ServerTxn, ack: &Message<'_>) -> bool {
        self.get(Txn::Server(txn)).zip(ack.to_tag()).is_some_and(|(record, tag)| {
            record.skeleton.to_tag(self.buffers.whole(record.buffer)) == Some(tag)
                || Tag(record.secret).is(tag)
        })
    }

    /// The To tag that the responses of this transaction carry, where the request had none.
    pub(crate) fn local_tag(&self, txn: ServerTxn) -> Option<u64> {
        self.get(Txn::Server(txn)).map(|record| record.secret)
    }

    pub(super) fn write_response(
        &mut self,
        key: Key,
        status: Status,
        headers: impl FnOnce(&mut Writer<'_>),
        content: &Content<'_>,
    ) {
        self.count_sent(status);
        let mut tail = core::mem::take(&mut self.scratch);
        tail.clear();
        let mut writer = Writer::resume(&mut tail);
        headers(&mut writer);
        writer.finish(content);
        let clock = self.clock();
        if let Some(record) = self.txns.get_mut(key) {
            let (skeleton, tag) = (record.skeleton, Tag(record.secret));
            // The response before this one may still wait to be sent: then it stays as it is.
            let room = skeleton.room(tail.len());
            if !self.buffers.is_writable(record.buffer, room) {
                record.buffer = self.buffers.replace(record.buffer, skeleton.len(), room);
            }
            let waited = clock.since(record.born);
            self.buffers.write(record.buffer, |out| skeleton.respond(out, status, tag, waited, &tail));
        }
        self.scratch = tail;
    }

    fn count_sent(&mut self, status: Status) {
        if let Some(class) = class_of(&mut self.stats.responses_sent, status.code()) {
            *class += 1;
        }
    }

    /// RFC 4320 §4.1
    fn late_trying_is_due(&self, key: Key) -> bool {
        let Some(record) = self.txns.get(key) else { return false };
        let after = self.timers_of(record).first(super::Timer::LateTrying, Reliability::Unreliable);
        after.is_some_and(|after| self.clock() >= record.born + after)
    }

    /// Answers a request without a transaction (RFC 3261 §8.2.7): nothing of it is kept.
    pub(crate) fn respond_stateless(
        &mut self,
        source: Source,
        request: &Message<'_>,
        status: Status,
        content: &Content<'_>,
        headers: impl FnOnce(&mut Writer<'_>),
    ) {
        let Some(peer) = self.peer(source) else { return };
        self.count_sent(status);
        let via = request.via();
        let target = Target {
            transport: peer.transport,
            addr: reply_address(&via, request.asks(), peer.transport, peer.addr),
        };
        // The same tag for the same request.
        let tag = Tag(self.hash.of(&[request.call_id(), request.branch().unwrap_or_default()]) as u64);
        let mut tail = core::mem::take(&mut self.scratch);
        tail.clear();
        let mut writer = Writer::resume(&mut tail);
        headers(&mut writer);
        writer.finish(content);
        let buffer = self.buffers.take(request.as_bytes().len() + TAIL);
        self.buffers.write(buffer, |out| {
            let skeleton = Skeleton::write(out, request, peer.addr, b"");
            skeleton.respond(out, status, tag, Duration::ZERO, &tail)
        });
        self.scratch = tail;
        self.send_back(source, target, buffer);
        self.buffers.unpin(buffer);
    }

    /// 503 with Retry-After, or silence, for a request beyond a cap.
    fn refuse(&mut self, source: Source, request: &Message<'_>) {
        // RFC 3261 §8.2.7: without a transaction a CANCEL is ignored.
        if self.limits.overload == Overload::Silence || request.request_method() == Some(Method::Cancel) {
            return;
        }
        let after = self.limits.retry_after.as_secs();
        self.respond_stateless(source, request, Status::SERVICE_UNAVAILABLE, &Content::NONE, |writer| {
            writer.number(Name::RetryAfter, after);
        });
    }

    /// What a malformed message is answered with: nothing, if it is a response, an ACK, or no way back can be read.
    pub(crate) fn reject(&mut self, source: Source, partial: &Message<'_>, error: Error) -> Option<Status> {
        self.stats.rejected += 1;
        let method = partial.request_method()?;
        let readable = !partial.via().host.is_empty();
        if method == Method::Ack || !readable || error.kind == ErrorKind::NotSip {
            return None;
        }
        let status = error.status();
        self.respond_stateless(source, partial, status, &Content::NONE, |_| {});
        Some(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::transport::{Local, Transport};

    /// Whoever parses a copy gets the same answer, so that nothing outside could tell.
    #[test]
    fn a_copy_is_known_by_its_bytes_while_its_transaction_lives() {
        let mut layer = Layer::new(Config::new([7; 32]));
        let addr = "192.0.2.1:5060".parse().unwrap();
        layer.listen(Local { transport: Transport::Udp, addr, advertised: None });
        let source = |remote: &str| Source::Datagram { local: addr, remote: remote.parse().unwrap() };
        let (peer, other) = (source("192.0.2.2:5060"), source("192.0.2.3:5060"));
        let data: &[u8] =
            b"OPTIONS sip:us@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1\r\n\
            From: <sip:p@192.0.2.2>;tag=f\r\nTo: <sip:us@192.0.2.1>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\
            Max-Forwards: 70\r\n\r\n";
        let exact = layer.receive_exact(peer, data).expect("it is new");
        let request = Message::parse(data, &layer.limits).unwrap();
        let Some(Heard::Request { txn, .. }) = layer.receive(peer, &request, exact) else { panic!() };
        assert_eq!(layer.receive_exact(peer, data), None);
        assert!(layer.receive_exact(other, data).is_some_and(|hash| hash != exact));
        assert_eq!(layer.stats.retransmissions_in, 1);
        assert!(layer.abort(Txn::Server(txn)));
        assert_eq!(layer.receive_exact(peer, data), Some(exact));
    }
}
