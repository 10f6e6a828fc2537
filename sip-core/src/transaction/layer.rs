//! The transaction layer: the table of live transactions and what moves them.
//!
//! [`Layer`] belongs to one machine ([`Endpoint`](crate::Endpoint) or a sibling). It takes parsed messages, facts and
//! commands, and hands its owner what they mean: a [`Heard`] for a message, [`Told`]s for everything else, in the order of
//! their causes. Client and server transactions live beside this file in `client.rs` and `server.rs`.

use super::buffers::{BufferId, Buffers};
use super::lanes::Lanes;
use super::outbox::{Item, Outbox};
use super::record::{NOBODY, Record, Way};
use super::table::{EarlyCancels, Index, Recent};
use super::timers::Delays;
use super::{Action, Delay, Report, Send, State, Step, Timer, Timers};
use crate::config::{Config, Limits, Matching};
use crate::endpoint::{Cause, Destination, SendError, Source, Stats, Ticket, Txn};
use crate::framing::StreamBuf;
use crate::handle::{ClientTxn, FlowId, Key, ResolveId, ServerTxn, Slab};
use crate::message::{Message, Method, Status};
use crate::random::{BytesHash, KeyedHash, Random};
use crate::time::{Instant, micros};
use crate::transport::{Flow, Flows, Local, Locals, Target, Transport, Waiting};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

/// What a message means. The message itself stays with the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A new request, in a new transaction. `merged`: another path brought it before (RFC 3261 §8.2.2.2).
    Request { txn: ServerTxn, merged: bool },
    /// An ACK for a 2xx; `txn` if it matched the INVITE's transaction.
    Ack { txn: Option<ServerTxn> },
    /// A CANCEL for this INVITE, which has no final response yet. It has been answered.
    Cancel { invite: ServerTxn, user: u64 },
    /// A response to a request of this side.
    Response { txn: ClientTxn, user: u64 },
    /// A response to nothing that is alive here.
    Stray,
}

/// What the owner of the layer is told without a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The transaction is over; its handle is stale already, the token is the owner's.
    Terminated { txn: Txn, user: u64, cause: Cause },
    /// A response, or an INVITE that was already under way, could not be sent; the transaction stays.
    TransportError { txn: Txn, user: u64 },
    /// The INVITE was answered with 500 because its user did not answer it.
    Unanswered { txn: ServerTxn, user: u64 },
}

pub(crate) struct Layer {
    pub(crate) limits: Limits,
    pub(super) matching: Matching,
    pub(super) delays: Delays,
    clock: Instant,
    pub(crate) random: Random,
    pub(crate) hash: KeyedHash,
    pub(super) bytes_hash: BytesHash,
    pub(crate) locals: Locals,
    pub(super) flows: Flows,
    pub(super) txns: Slab<Record>,
    pub(super) lanes: Lanes,
    /// Server transactions by what their requests are matched with.
    pub(super) requests: Index,
    /// Server transactions by what merged requests have in common.
    pub(super) merged: Index,
    /// Server transactions by the bytes of their requests, if they came as datagrams.
    pub(super) exact: Recent,
    /// The transactions of CANCELs that we sent, by the branch they share with their INVITE.
    pub(super) cancels: Index,
    /// What CANCELs that wait say of why: lines of headers, by the places of their INVITEs.
    pub(super) reasons: BTreeMap<u32, BufferId>,
    pub(crate) buffers: Buffers,
    pub(crate) out: Outbox,
    pub(super) told: VecDeque<Told>,
    /// Transactions whose message could not be sent, to be told when the step at hand is done.
    pub(super) failed: VecDeque<Key>,
    /// The transactions of connections that are gone, first of a list through them. One is told in each step.
    lost: VecDeque<(FlowId, u32)>,
    /// Server transactions that wait for their user.
    pub(super) unanswered: usize,
    /// Connections that are gone, of those that are [watched](Self::watch).
    pub(crate) gone: Vec<FlowId>,
    pub(super) questions: Slab<Question>,
    /// How many of them are for messages outside transactions.
    pub(super) asked_for_messages: usize,
    /// What the adapter owes an answer for: connections by their place times two, questions by theirs and one.
    pub(super) owed: Lanes,
    pub(super) scratch: Vec<u8>,
    pub(crate) draining: bool,
    /// The INVITEs of this side that have rung as long as they may and are cancelled, by the tokens of their owner, if it wants to know.
    pub(crate) rung_out: Option<Vec<u64>>,
    /// The names of headers that the CANCEL and the ACK of an INVITE have from it.
    pub(crate) hop_headers: Vec<String>,
    pub(super) early_cancels: EarlyCancels,
    /// RFC 3261 §8.1.3.3: a user agent takes no response with more than one Via.
    pub(crate) one_via: bool,
    pub(crate) stats: Stats,
}

/// A name whose address was asked for.
pub(super) struct Question {
    pub(super) transport: Transport,
    pub(super) waits: Waits,
}

/// Who waits for an address.
pub(super) enum Waits {
    Txn(Key),
    Message(BufferId),
}

impl Layer {
    pub(crate) fn new(config: Config) -> Self {
        let mut random = Random::new(config.seed);
        Self {
            matching: config.matching,
            delays: Delays::of(config.timers),
            clock: Instant::ZERO,
            hash: random.hash_key(),
            bytes_hash: random.bytes_hash(),
            random,
            locals: Locals::default(),
            flows: Flows::new(config.limits.flows),
            txns: Slab::new(),
            lanes: Lanes::default(),
            requests: Index::default(),
            merged: Index::default(),
            exact: Recent::default(),
            cancels: Index::default(),
            reasons: BTreeMap::new(),
            buffers: Buffers::new(config.limits.idle_buffers),
            out: Outbox::new(config.limits.outbox),
            told: VecDeque::new(),
            failed: VecDeque::new(),
            lost: VecDeque::new(),
            unanswered: 0,
            gone: Vec::new(),
            questions: Slab::new(),
            asked_for_messages: 0,
            owed: Lanes::default(),
            scratch: Vec::new(),
            draining: false,
            rung_out: None,
            hop_headers: Vec::new(),
            early_cancels: EarlyCancels::default(),
            one_via: false,
            stats: Stats::default(),
            limits: config.limits,
        }
    }

    // Time.

    pub(crate) const fn clock(&self) -> Instant {
        self.clock
    }

    /// Moves the horizon; never back, and never to the end of time, where everything would be due at once.
    pub(crate) fn set_clock(&mut self, now: Instant) {
        let last = Instant::from_micros(Instant::LAST.as_micros() - 1);
        self.clock = self.clock.max(now.min(last));
    }

    /// When the next timer is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        if !self.lost.is_empty() {
            return Some(self.clock);
        }
        match (self.lanes.next(), self.owed.next()) {
            (Some((timer, _)), Some((owed, _))) => Some(timer.min(owed)),
            (timer, owed) => timer.or(owed).map(|(due, _)| due),
        }
    }

    /// Whether there is something to fire.
    pub(crate) fn is_due(&self) -> bool {
        self.next_due().is_some_and(|due| due <= self.clock)
    }

    /// Fires the next timer, if it is due.
    pub(crate) fn fire(&mut self) {
        if let Some((flow, first)) = self.lost.pop_front() {
            return self.lose(flow, first);
        }
        let Some(due) = self.next_due().filter(|due| *due <= self.clock) else { return };
        let Some((_, timer)) = self.lanes.next().filter(|(at, _)| *at == due) else {
            if let Some((_, owed)) = self.owed.next() {
                self.owed.disarm(owed);
                self.give_up(owed);
            }
            return;
        };
        self.lanes.disarm(timer);
        let Some(key) = self.txns.key_at(timer / 2) else { return };
        if let Some(timer) = self.txns.get(key).and_then(|record| record.state.timer(timer % 2 == 1)) {
            self.on_timer(key, timer);
            self.report_failures();
        }
    }

    pub(crate) fn told(&mut self) -> Option<Told> {
        self.told.pop_front()
    }

    // Facts.

    pub(crate) fn listen(&mut self, local: Local) {
        self.locals.add(local);
    }

    pub(crate) fn flow_accepted(&mut self, target: Target, local: SocketAddr) -> Option<FlowId> {
        let id = self.flows.add(target, Some(local), true)?;
        self.owed.arm(id.0.index * 2, self.clock, micros(self.limits.stream_idle));
        Some(id)
    }

    pub(crate) fn flow_opened(&mut self, id: FlowId, local: SocketAddr) -> bool {
        let Some(flow) = self.flows.get_mut(id) else { return false };
        self.owed.disarm(id.0.index * 2);
        flow.open = true;
        flow.local = Some(local);
        let waiting = core::mem::take(&mut flow.waiting);
        for Waiting { buffer, ticket, while_alive } in waiting {
            if !while_alive || ticket.0.is_some_and(|key| self.txns.get(key).is_some()) {
                self.transmit(Destination::Flow(id), buffer, ticket, false);
            }
            self.buffers.unpin(buffer);
        }
        true
    }

    /// RFC 3261 §17.1.4: the loss of a connection fails every client transaction on it, each once.
    pub(crate) fn flow_closed(&mut self, id: FlowId) {
        let Some(flow) = self.flows.remove(id) else { return };
        if flow.watched {
            self.gone.push(id);
        }
        self.owed.disarm(id.0.index * 2);
        for Waiting { buffer, ticket, while_alive } in flow.waiting {
            self.buffers.unpin(buffer);
            // RFC 6026 §8.8: whose response is lost is told. Client transactions are in the list below.
            self.failed.extend(ticket.0.filter(|_| !while_alive));
        }
        if flow.first_txn != NOBODY {
            self.lost.push_back((id, flow.first_txn));
        }
        self.report_failures();
    }

    /// One transaction of a connection that is gone.
    fn lose(&mut self, flow: FlowId, index: u32) {
        let Some(key) = self.txns.key_at(index) else { return };
        let Some(txn) = self.txns.get_mut(key) else { return };
        let Way::Flow { id, prev, next } = &mut txn.way else { return };
        if *id != flow {
            return;
        }
        let after = core::mem::replace(next, NOBODY);
        *prev = NOBODY;
        if after != NOBODY {
            self.lost.push_front((flow, after));
        }
        if txn.state.is_client() {
            let step = txn.state.on_connection_lost(txn.reliability());
            self.apply(key, &step, None, false);
            self.report_failures();
        }
    }

    /// From now on the end of this connection is told in [`gone`](Self::gone); false if it is gone already.
    pub(crate) fn watch(&mut self, id: FlowId) -> bool {
        let found = self.flows.get_mut(id);
        found.map(|flow| flow.watched = true).is_some()
    }

    /// Bytes have come on a connection. A line end before them answers a [ping](Self::ping), and with another one would look like one itself.
    pub(crate) fn heard_on(&mut self, id: FlowId, buf: &mut StreamBuf) {
        let clock = self.clock;
        let Some(flow) = self.flows.get_mut(id).filter(|flow| flow.watched) else { return };
        flow.heard = Some(clock);
        if flow.pings > 0 && buf.skip_line_end() {
            flow.pings -= 1;
        }
    }

    /// When bytes came last on a connection that is watched.
    pub(crate) fn last_heard(&self, id: FlowId) -> Option<Instant> {
        self.flows.get(id)?.heard
    }

    pub(crate) fn hash_of_flow(&self, id: FlowId) -> u64 {
        self.hash.of(&[&id.to_bits().to_be_bytes()]) as u64
    }

    pub(crate) fn close_flow(&mut self, id: FlowId) {
        if self.flows.get(id).is_some() {
            self.out.push(Item::Close(id));
            self.flow_closed(id);
        }
    }

    pub(crate) fn send_failed(&mut self, ticket: Ticket, _: SendError) {
        if let Some(key) = ticket.0 {
            self.failed.push_back(key);
            self.report_failures();
        }
    }

    pub(crate) fn resolved(&mut self, id: ResolveId, addrs: &[SocketAddr]) {
        let Some(question) = self.questions.remove(id.0) else { return };
        self.owed.disarm(id.0.index * 2 + 1);
        let target = addrs.first().map(|addr| Target { transport: question.transport, addr: *addr });
        match (question.waits, target) {
            (Waits::Txn(key), Some(target)) => {
                let Some(buffer) = self.txns.get_mut(key).map(|txn| {
                    txn.set_target(target);
                    txn.buffer
                }) else {
                    return;
                };
                self.direct(key);
                self.send(key, buffer, false);
            }
            (Waits::Txn(key), None) => self.failed.push_back(key),
            (Waits::Message(buffer), target) => {
                self.asked_for_messages = self.asked_for_messages.saturating_sub(1);
                if let Some(target) = target {
                    self.send_to(target, buffer, false);
                }
                self.buffers.unpin(buffer);
            }
        }
        self.report_failures();
    }

    /// Asks for the address of a name.
    pub(super) fn resolve_for_txn(&mut self, key: Key, host: &[u8], port: u16, transport: Transport) {
        if self.questions.len() >= self.limits.transactions {
            return self.failed.push_back(key);
        }
        self.resolve(host, port, transport, Waits::Txn(key));
    }

    pub(super) fn resolve(&mut self, host: &[u8], port: u16, transport: Transport, waits: Waits) {
        let id = ResolveId(self.questions.insert(Question { transport, waits }));
        let buffer = self.buffers.keep(host);
        // The queue has the buffer's one pin.
        self.out.push(Item::Resolve { id, buffer, port, transport });
        self.owed.arm(id.0.index * 2 + 1, self.clock, micros(self.delays.timers.t1x64()));
    }

    /// The adapter has not answered in 64·T1: nobody waits for it any longer.
    fn give_up(&mut self, owed: u32) {
        if owed % 2 == 1 {
            if let Some(key) = self.questions.key_at(owed / 2) {
                self.resolved(ResolveId(key), &[]);
            }
        } else if let Some(id) = self.flows.at(owed / 2) {
            self.close_flow(id);
        }
    }

    pub(crate) fn flow_ids(&self) -> impl Iterator<Item = FlowId> {
        self.flows.all().iter().map(|(key, _)| FlowId(key))
    }

    pub(crate) fn flow(&self, id: FlowId) -> Option<&Flow> {
        self.flows.get(id)
    }

    /// Who is at the other end of a source, over what; nothing for a flow that is closed.
    pub(crate) fn peer(&self, source: Source) -> Option<Target> {
        match source {
            Source::Datagram { remote, .. } => Some(Target { transport: Transport::Udp, addr: remote }),
            Source::Flow(id) => self.flows.get(id).map(|flow| flow.target),
        }
    }

    // Messages.

    /// What a message means; `None` if it is absorbed: a retransmission, or an ACK that ends one. `exact` is the hash of its datagram,
    /// zero if it came over a connection.
    pub(crate) fn receive(&mut self, source: Source, message: &Message<'_>, exact: u64) -> Option<Heard> {
        self.count_received(source);
        if let Some(class) = class_of(&mut self.stats.responses_received, message.status_code()) {
            *class += 1;
        }
        let heard = if message.is_request() {
            let peer = self.peer(source)?;
            self.receive_request(source, peer, message, exact)
        } else {
            self.receive_response(message)
        };
        self.report_failures();
        heard
    }

    /// A message has come that is none of a peer's faults.
    pub(crate) fn count_received(&mut self, source: Source) {
        self.stats.received += 1;
        if let Source::Flow(id) = source {
            self.owed.disarm(id.0.index * 2);
        }
    }

    // Handles.

    pub(crate) fn user(&self, txn: Txn) -> Option<u64> {
        self.get(txn).map(|txn| txn.user)
    }

    pub(crate) fn set_user(&mut self, txn: Txn, user: u64) {
        if let Some(txn) = self.txns.get_mut(key_of(txn)) {
            txn.user = user;
        }
    }

    pub(super) fn get(&self, txn: Txn) -> Option<&Record> {
        self.txns.get(key_of(txn)).filter(|found| found.state.is_client() == matches!(txn, Txn::Client(_)))
    }

    pub(crate) fn state(&self, txn: Txn) -> Option<State> {
        self.get(txn).map(|record| record.state)
    }

    /// The transaction that a message belongs to; of an ACK or a CANCEL that of its INVITE. Nothing changes.
    pub(crate) fn find(&self, message: &Message<'_>) -> Option<Txn> {
        if message.is_request() {
            self.find_request(message).map(Txn::Server)
        } else {
            self.match_response(message).map(|key| Txn::Client(ClientTxn(key)))
        }
    }

    pub(crate) fn abort(&mut self, txn: Txn) -> bool {
        if self.get(txn).is_none() {
            return false;
        }
        if let Some(found) = self.txns.get_mut(key_of(txn)) {
            found.cause = Cause::Aborted;
        }
        self.end(key_of(txn));
        true
    }

    pub(crate) fn transactions(&self) -> impl Iterator<Item = Txn> {
        self.txns.iter().map(|(key, txn)| handle_of(key, txn.state))
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.txns.len() == 0 && self.out.is_empty() && self.questions.len() == 0
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.stats;
        stats.server_transactions = self.txns.len() - stats.client_transactions;
        stats.unanswered = self.unanswered;
        stats.flows = self.flows.len();
        stats.retained_bytes = self.buffers.retained();
        stats.lost = self.out.lost();
        stats
    }

    // The life of a transaction.

    /// Whether there is no room for a transaction of this method. What ends something has a quarter more than others.
    pub(super) fn is_full(&self, method: Method<'_>) -> bool {
        let cap = |cap: usize| match method {
            Method::Bye | Method::Cancel => cap.saturating_add(cap / 4 + 1),
            _ => cap,
        };
        self.txns.len() >= cap(self.limits.transactions)
            || self.buffers.retained() >= cap(self.limits.retained)
    }

    /// A transaction in the table, before its first step.
    pub(super) fn open(&mut self, record: Record) -> Key {
        let secret = self.random.u64();
        if record.state.is_client() {
            self.stats.client_transactions += 1;
        } else {
            self.unanswered += usize::from(record.counted);
        }
        self.txns.insert(Record { secret, ..record })
    }

    /// Tells the owner, then releases the slot.
    fn end(&mut self, key: Key) {
        self.lanes.disarm(key.index * 2);
        self.lanes.disarm(key.index * 2 + 1);
        self.unlink(key);
        let Some(txn) = self.txns.remove(key) else { return };
        self.unanswered -= usize::from(txn.counted && txn.state.is_unanswered());
        if txn.state.is_client() {
            self.stats.client_transactions -= 1;
            if txn.silent {
                self.cancels.remove(txn.key.hash(), key.index);
            }
        } else {
            self.requests.remove(txn.key.hash(), key.index);
            if txn.merge_key != 0 {
                self.merged.remove(txn.merge_key, key.index);
            }
        }
        self.buffers.unpin(txn.buffer);
        self.buffers.unpin(txn.ack);
        if let Some(reason) = self.reasons.remove(&key.index) {
            self.buffers.unpin(reason);
        }
        if !txn.silent {
            self.told.push_back(Told::Terminated {
                txn: handle_of(key, txn.state),
                user: txn.user,
                cause: txn.cause,
            });
        }
    }

    pub(super) fn timers_of<'a>(&'a self, record: &'a Record) -> &'a Timers {
        record.timers.as_deref().unwrap_or(&self.delays.timers)
    }

    /// Carries out the actions of a step, then the step's change of state. What the TU is to be told with a message is
    /// returned.
    pub(super) fn apply(
        &mut self,
        key: Key,
        step: &Step<State>,
        message: Option<&Message<'_>>,
        again: bool,
    ) -> Applied {
        let next = step.next;
        let mut applied = Applied { report: None };
        let mut at_once = None;
        for action in &step.actions {
            match *action {
                Action::Send(what) => {
                    self.send_what(key, what, message, again);
                }
                Action::Set(timer, delay) => {
                    let Some(txn) = self.txns.get_mut(key) else { break };
                    let node = node_of(key, timer);
                    let on = txn.reliability();
                    let delay = match (&txn.timers, delay) {
                        (None, Delay::First) => self.delays.first(timer, on),
                        (own, delay) => {
                            let timers = own.as_deref().unwrap_or(&self.delays.timers);
                            let before = Duration::from_micros(txn.interval.into());
                            timers.delay(timer, delay, before, on).map(micros)
                        }
                    };
                    match delay {
                        Some(0) if timer.ends() => at_once = Some(timer),
                        Some(delay) => {
                            if node % 2 == 0 {
                                txn.interval = u32::try_from(delay).unwrap_or(u32::MAX);
                            }
                            self.lanes.arm(node, self.clock, delay);
                        }
                        None => self.lanes.disarm(node),
                    }
                }
                Action::Stop(timer) => self.lanes.disarm(node_of(key, timer)),
                Action::Tell(report) => self.tell(key, next, report, &mut applied),
                Action::Refuse => {}
            }
        }
        if let Some(txn) = self.txns.get_mut(key) {
            let before = core::mem::replace(&mut txn.state, next);
            self.unanswered -= usize::from(txn.counted && before.is_unanswered() && !next.is_unanswered());
        }
        if next.is_terminated() {
            self.end(key);
        } else if let Some(timer) = at_once {
            self.on_timer(key, timer);
        }
        applied
    }

    fn tell(&mut self, key: Key, next: State, report: Report, applied: &mut Applied) {
        let Some(txn) = self.txns.get_mut(key) else { return };
        let handle = handle_of(key, txn.state);
        let silent = txn.silent;
        match report {
            Report::Request | Report::Response | Report::Ack => applied.report = Some(report),
            Report::Timeout => txn.cause = Cause::Timeout,
            Report::NoAck => txn.cause = Cause::NoAck,
            Report::TransportError if next.is_terminated() => txn.cause = Cause::TransportError,
            Report::Unanswered if next.is_terminated() => txn.cause = Cause::Unanswered,
            Report::TransportError if silent => {}
            Report::TransportError => {
                self.told.push_back(Told::TransportError { txn: handle, user: txn.user })
            }
            Report::Unanswered => {
                if let Txn::Server(server) = handle {
                    self.told.push_back(Told::Unanswered { txn: server, user: txn.user });
                }
            }
        }
    }

    fn send_what(&mut self, key: Key, what: Send, message: Option<&Message<'_>>, again: bool) {
        let Some(txn) = self.txns.get(key) else { return };
        match what {
            Send::Trying | Send::Last if txn.muted => {}
            Send::Request | Send::Response | Send::Last => self.send(key, txn.buffer, again),
            Send::Ack => self.send_ack(key, message),
            Send::Cancel => self.send_cancel(key),
            Send::Trying => self.write_own(key, Status::TRYING),
            Send::Failure => self.write_own(key, Status::SERVER_INTERNAL_ERROR),
        }
    }

    /// A response of the transaction's own making.
    fn write_own(&mut self, key: Key, status: Status) {
        self.write_response(key, status, |_| {}, &crate::message::Content::NONE);
        if let Some(buffer) = self.txns.get(key).map(|txn| txn.buffer) {
            self.send(key, buffer, false);
        }
    }

    fn on_timer(&mut self, key: Key, timer: Timer) {
        let Some(record) = self.txns.get(key) else { return };
        let step = record.state.on_timer(timer, record.reliability());
        if let (Timer::Ringing, Some(rung_out)) = (timer, &mut self.rung_out) {
            rung_out.push(record.user);
        }
        self.apply(key, &step, None, true);
    }

    /// From now on a client transaction has these timers: what it waits for, it waits for so long again. Nothing else changes once it has had an answer
    /// or is being cancelled.
    pub(crate) fn set_timers(&mut self, txn: ClientTxn, timers: Timers) -> bool {
        let Some(record) = self.txns.get_mut(txn.0).filter(|record| record.state.is_client()) else {
            return false;
        };
        if let Some(timer @ (Timer::B | Timer::F | Timer::Ringing)) = record.state.timer(true) {
            let (node, on) = (node_of(txn.0, timer), record.reliability());
            match timers.first(timer, on) {
                Some(after) => self.lanes.arm(node, self.clock, micros(after)),
                None => self.lanes.disarm(node),
            }
        }
        record.timers = Some(Arc::new(timers));
        true
    }

    /// Says nothing more to a request but what its user says: copies of it are absorbed.
    pub(crate) fn mute(&mut self, txn: ServerTxn) {
        if let Some(record) = self.txns.get_mut(txn.0) {
            record.muted = true;
            self.lanes.disarm(txn.0.index * 2);
        }
    }

    pub(super) fn report_failures(&mut self) {
        while let Some(key) = self.failed.pop_front() {
            let Some(record) = self.txns.get(key) else { continue };
            let step = record.state.on_transport_error(record.reliability());
            self.apply(key, &step, None, false);
        }
    }
}

/// What a step had besides its change of state.
pub(super) struct Applied {
    pub(super) report: Option<Report>,
}

/// The counter of a class of status codes; of a request, whose code is zero, there is none.
pub(super) fn class_of(counters: &mut [u64; 6], code: u16) -> Option<&mut u64> {
    counters.get_mut(usize::from(code / 100).checked_sub(1)?)
}

/// The place of a timer: two for each transaction.
const fn node_of(key: Key, timer: Timer) -> u32 {
    key.index * 2 + timer.ends() as u32
}

/// A branch as a key: slot, generation and secret.
pub(super) const fn branch_key(key: Key, secret: u64) -> u128 {
    (key.to_bits() as u128) << 64 | secret as u128
}

const fn key_of(txn: Txn) -> Key {
    match txn {
        Txn::Client(txn) => txn.0,
        Txn::Server(txn) => txn.0,
    }
}

const fn handle_of(key: Key, state: State) -> Txn {
    if state.is_client() { Txn::Client(ClientTxn(key)) } else { Txn::Server(ServerTxn(key)) }
}
