//! The transaction layer: the table of live transactions and what moves them.
//!
//! [`Layer`] belongs to one machine ([`Endpoint`](crate::Endpoint) or a sibling). It takes parsed messages, facts and
//! commands, and hands its owner what they mean: a [`Heard`] for a message, [`Told`]s for everything else, in the order of
//! their causes. Client and server transactions live beside this file in `client.rs` and `server.rs`.

use super::buffers::{BufferId, Buffers};
use super::lanes::Lanes;
use super::outbox::{Item, Outbox};
use super::skeleton::Skeleton;
use super::table::Index;
use super::{Action, Report, Send, State, Step, Timer, Timers};
use crate::config::{Config, Limits};
use crate::endpoint::{Cause, Destination, SendError, Source, Stats, Ticket, Txn};
use crate::handle::{ClientTxn, FlowId, Key, ResolveId, ServerTxn, Slab};
use crate::message::{Message, Method, Status};
use crate::random::{KeyedHash, Random};
use crate::time::{Instant, micros};
use crate::transport::{Flow, Flows, Local, Locals, Reliability, Target, Transport};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
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
    timers: Timers,
    clock: Instant,
    pub(crate) random: Random,
    pub(crate) hash: KeyedHash,
    pub(crate) locals: Locals,
    pub(super) flows: Flows,
    pub(super) txns: Slab<Record>,
    lanes: Lanes,
    /// Server transactions by what their requests are matched with.
    pub(super) requests: Index,
    /// Server transactions by what merged requests have in common.
    pub(super) merged: Index,
    /// The transactions of CANCELs that we sent, by the branch they share with their INVITE.
    pub(super) cancels: Index,
    pub(crate) buffers: Buffers,
    pub(crate) out: Outbox,
    pub(super) told: VecDeque<Told>,
    /// Transactions whose message could not be sent, to be told when the step at hand is done.
    failed: VecDeque<Key>,
    questions: Slab<Question>,
    /// What the adapter owes an answer for: connections by their place times two, questions by theirs and one.
    owed: Lanes,
    pub(super) scratch: Vec<u8>,
    pub(crate) draining: bool,
    /// RFC 3261 §8.1.3.3: a user agent takes no response with more than one Via.
    pub(crate) one_via: bool,
    pub(crate) stats: Stats,
}

/// What is kept of one transaction.
pub(super) struct Record {
    pub(super) state: State,
    /// Nobody is told of it: the NICT of a CANCEL.
    pub(super) silent: bool,
    pub(super) cause: Cause,
    pub(super) reliability: Reliability,
    /// Where its messages go; nothing until a name is resolved.
    pub(super) to: Option<Destination>,
    /// Where they go when the flow is gone.
    pub(super) target: Target,
    pub(super) user: u64,
    /// Client: the random part of the branch. Server: the To tag.
    pub(super) secret: u64,
    /// Client: the request. Server: skeleton and last response.
    pub(super) buffer: BufferId,
    /// The ACK that an ICT has sent.
    pub(super) ack: Option<BufferId>,
    /// The present interval of the timer that repeats.
    interval: u64,
    timers: Option<Box<Timers>>,
    pub(super) born: Instant,
    pub(super) key: u128,
    pub(super) merge_key: Option<u128>,
    pub(super) skeleton: Skeleton,
    /// The neighbours in the list of transactions on one flow.
    prev: u32,
    next: u32,
}

/// A name whose address was asked for.
struct Question {
    transport: Transport,
    waits: Waits,
}

/// Who waits for an address.
enum Waits {
    Txn(Key),
    Message(BufferId),
}

const NOBODY: u32 = u32::MAX;

impl Layer {
    pub(crate) fn new(config: Config) -> Self {
        let mut random = Random::new(config.seed);
        Self {
            timers: config.timers,
            clock: Instant::ZERO,
            hash: random.hash_key(),
            random,
            locals: Locals::default(),
            flows: Flows::new(config.limits.flows),
            txns: Slab::new(),
            lanes: Lanes::default(),
            requests: Index::default(),
            merged: Index::default(),
            cancels: Index::default(),
            buffers: Buffers::new(config.limits.idle_buffers),
            out: Outbox::new(config.limits.outbox),
            told: VecDeque::new(),
            failed: VecDeque::new(),
            questions: Slab::new(),
            owed: Lanes::default(),
            scratch: Vec::new(),
            draining: false,
            one_via: false,
            stats: Stats::default(),
            limits: config.limits,
        }
    }

    // Time.

    pub(crate) const fn clock(&self) -> Instant {
        self.clock
    }

    /// Moves the horizon; never back.
    pub(crate) fn set_clock(&mut self, now: Instant) {
        self.clock = self.clock.max(now);
    }

    /// When the next timer is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let owed = self.owed.next();
        self.lanes.next().into_iter().chain(owed).map(|(due, _)| due).min()
    }

    /// Fires the next timer, if it is due.
    pub(crate) fn fire(&mut self) {
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
        self.owed.arm(id.0.index * 2, self.clock, self.limits.stream_idle);
        Some(id)
    }

    pub(crate) fn flow_opened(&mut self, id: FlowId, local: SocketAddr) -> bool {
        let Some(flow) = self.flows.get_mut(id) else { return false };
        self.owed.disarm(id.0.index * 2);
        flow.open = true;
        flow.local = Some(local);
        let waiting = core::mem::take(&mut flow.waiting);
        for (buffer, ticket) in waiting {
            // What its transaction no longer wants sent is not sent.
            if ticket.0.is_none_or(|key| self.txns.get(key).is_some()) {
                self.transmit(Destination::Flow(id), buffer, ticket, false);
            }
            self.buffers.unpin(buffer);
        }
        true
    }

    /// RFC 3261 §17.1.4: the loss of a connection fails every client transaction on it, each once.
    pub(crate) fn flow_closed(&mut self, id: FlowId) {
        let Some(flow) = self.flows.remove(id) else { return };
        self.owed.disarm(id.0.index * 2);
        for (buffer, _) in flow.waiting {
            self.buffers.unpin(buffer);
        }
        let mut next = flow.first_txn;
        while let Some(key) = self.txns.key_at(next) {
            let Some(txn) = self.txns.get_mut(key) else { break };
            next = txn.next;
            (txn.prev, txn.next) = (NOBODY, NOBODY);
            if txn.state.is_client() {
                let step = txn.state.on_connection_lost(txn.reliability);
                self.apply(key, &step, None, false);
            }
        }
        self.report_failures();
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
                    txn.target = target;
                    txn.buffer
                }) else {
                    return;
                };
                self.direct(key);
                self.send(key, buffer, false);
            }
            (Waits::Txn(key), None) => self.failed.push_back(key),
            (Waits::Message(buffer), target) => {
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

    fn resolve(&mut self, host: &[u8], port: u16, transport: Transport, waits: Waits) {
        let id = ResolveId(self.questions.insert(Question { transport, waits }));
        let buffer = self.buffers.take(host.len());
        self.buffers.write(buffer, |out| {
            out.extend_from_slice(host);
            0
        });
        // The queue has the buffer's one pin.
        self.out.push(Item::Resolve { id, buffer, port, transport });
        self.owed.arm(id.0.index * 2 + 1, self.clock, self.timers.t1x64());
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

    /// What a message means; `None` if it is absorbed: a retransmission, or an ACK that ends one.
    pub(crate) fn receive(&mut self, source: Source, message: &Message<'_>) -> Option<Heard> {
        self.stats.received += 1;
        if let Source::Flow(id) = source {
            self.owed.disarm(id.0.index * 2);
        }
        let heard = if message.is_request() {
            let peer = self.peer(source)?;
            self.receive_request(source, peer, message)
        } else {
            self.receive_response(message)
        };
        self.report_failures();
        heard
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
        stats.client_transactions = self.txns.iter().filter(|(_, txn)| txn.state.is_client()).count();
        stats.server_transactions = self.txns.len() - stats.client_transactions;
        stats.flows = self.flows.len();
        stats.retained_bytes = self.buffers.retained();
        stats.lost = self.out.lost();
        stats
    }

    // The life of a transaction.

    /// Whether there is no room for a transaction of this method. What ends something has a quarter more than others.
    pub(super) fn is_full(&self, method: Method<'_>) -> bool {
        let reserve = match method {
            Method::Bye | Method::Cancel => self.limits.transactions / 4 + 1,
            _ => 0,
        };
        self.txns.len() >= self.limits.transactions.saturating_add(reserve)
    }

    /// A transaction in the table, before its first step.
    pub(super) fn open(&mut self, state: State, target: Target, user: u64, timers: Option<Timers>) -> Key {
        let secret = self.random.u64();
        let buffer = self.buffers.take(0);
        self.txns.insert(Record {
            state,
            silent: false,
            cause: Cause::Completed,
            reliability: target.transport.reliability(),
            to: None,
            target,
            user,
            secret,
            buffer,
            ack: None,
            interval: 0,
            timers: timers.map(Box::new),
            born: self.clock,
            key: 0,
            merge_key: None,
            skeleton: Skeleton::default(),
            prev: NOBODY,
            next: NOBODY,
        })
    }

    /// Tells the owner, then releases the slot.
    fn end(&mut self, key: Key) {
        self.lanes.disarm(key.index * 2);
        self.lanes.disarm(key.index * 2 + 1);
        self.unlink(key);
        let Some(txn) = self.txns.remove(key) else { return };
        if txn.state.is_client() {
            if txn.silent {
                self.cancels.remove(txn.key, key.index);
            }
        } else {
            self.requests.remove(txn.key, key.index);
            if let Some(merge_key) = txn.merge_key {
                self.merged.remove(merge_key, key.index);
            }
        }
        self.buffers.unpin(txn.buffer);
        if let Some(ack) = txn.ack {
            self.buffers.unpin(ack);
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
        record.timers.as_deref().unwrap_or(&self.timers)
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
                    let timers = txn.timers.as_deref().unwrap_or(&self.timers);
                    let before = Duration::from_micros(txn.interval);
                    let node = node_of(key, timer);
                    match timers.delay(timer, delay, before, txn.reliability) {
                        Some(Duration::ZERO) if timer.ends() => at_once = Some(timer),
                        Some(delay) => {
                            if node % 2 == 0 {
                                txn.interval = micros(delay);
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
            txn.state = next;
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
        let step = record.state.on_timer(timer, record.reliability);
        self.apply(key, &step, None, true);
    }

    pub(super) fn report_failures(&mut self) {
        while let Some(key) = self.failed.pop_front() {
            let Some(record) = self.txns.get(key) else { continue };
            let step = record.state.on_transport_error(record.reliability);
            self.apply(key, &step, None, false);
        }
    }

    // Sending.

    /// Sends one of a transaction's messages.
    pub(super) fn send(&mut self, key: Key, buffer: BufferId, again: bool) {
        let Some(txn) = self.txns.get(key) else { return };
        let ticket = Ticket(Some(key));
        // A request that waits for its connection is not sent when nobody waits for it any more. A response or an ACK is:
        // on a reliable transport their transactions end at once.
        let waits = Ticket(Some(key).filter(|_| txn.state.is_client() && buffer == txn.buffer));
        match txn.to {
            // A name that is still being resolved: it is sent when the answer comes.
            None => {}
            Some(to @ Destination::Datagram { .. }) => self.transmit(to, buffer, ticket, again),
            Some(Destination::Flow(id)) => match self.flows.get_mut(id) {
                Some(flow) if flow.open => self.transmit(Destination::Flow(id), buffer, ticket, again),
                Some(_) => self.wait_for(id, buffer, waits),
                None => {
                    // RFC 3261 §18.2.2: the connection is gone, another is opened.
                    self.direct(key);
                    match self.txns.get(key).and_then(|txn| txn.to) {
                        Some(Destination::Flow(id)) => self.wait_for(id, buffer, waits),
                        _ => self.failed.push_back(key),
                    }
                }
            },
        }
    }

    fn wait_for(&mut self, id: FlowId, buffer: BufferId, ticket: Ticket) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        if flow.open {
            return self.transmit(Destination::Flow(id), buffer, ticket, false);
        }
        if flow.waiting.len() >= self.limits.waiting_for_flow {
            if let Some(key) = ticket.0 {
                self.failed.push_back(key);
            }
            return;
        }
        flow.waiting.push_back((buffer, ticket));
        self.buffers.pin(buffer);
    }

    fn transmit(&mut self, to: Destination, buffer: BufferId, ticket: Ticket, again: bool) {
        self.stats.sent += 1;
        self.stats.retransmissions_out += u64::from(again);
        self.out.transmit(&mut self.buffers, to, buffer, ticket, again);
    }

    /// Finds the way to a transaction's target: the socket, or the connection that leads there or is to be opened.
    pub(super) fn direct(&mut self, key: Key) {
        let Some(target) = self.txns.get(key).map(|txn| txn.target) else { return };
        let to = self.way_to(target);
        self.set_destination(key, to);
    }

    pub(super) fn set_destination(&mut self, key: Key, to: Option<Destination>) {
        self.unlink(key);
        if let Some(txn) = self.txns.get_mut(key) {
            txn.to = to;
        }
        match to {
            Some(Destination::Flow(id)) => self.link(key, id),
            Some(Destination::Datagram { .. }) => {}
            None => self.failed.push_back(key),
        }
    }

    fn way_to(&mut self, target: Target) -> Option<Destination> {
        if target.transport.reliability() == Reliability::Unreliable {
            let (local, _) = self.locals.towards(target.transport, Some(target.addr))?;
            return Some(Destination::Datagram { local, remote: target.addr });
        }
        if let Some(id) = self.flows.towards(target) {
            return Some(Destination::Flow(id));
        }
        let id = self.flows.add(target, None, false)?;
        self.out.push(Item::Connect { flow: id, target });
        self.owed.arm(id.0.index * 2, self.clock, self.timers.t1x64());
        Some(Destination::Flow(id))
    }

    /// Sends a message outside any transaction to an address.
    pub(super) fn send_to(&mut self, target: Target, buffer: BufferId, again: bool) {
        match self.way_to(target) {
            Some(Destination::Flow(id)) => self.wait_for(id, buffer, Ticket(None)),
            Some(to) => self.transmit(to, buffer, Ticket(None), again),
            None => {}
        }
    }

    /// Sends a message outside any transaction to a host by name.
    pub(super) fn send_to_name(&mut self, host: &[u8], port: u16, transport: Transport, buffer: BufferId) {
        // One question for a message is enough, and there are not more than may wait for one connection.
        let asked =
            |question: &Question| matches!(question.waits, Waits::Message(waiting) if waiting == buffer);
        let full = self.questions.len() >= self.limits.waiting_for_flow;
        if full || self.questions.iter().any(|(_, question)| asked(question)) {
            return;
        }
        self.buffers.pin(buffer);
        self.resolve(host, port, transport, Waits::Message(buffer));
    }

    /// Sends a response outside any transaction back to where its request came from. Nobody waits for it: a full outbox
    /// loses it.
    pub(super) fn send_back(&mut self, source: Source, target: Target, buffer: BufferId) {
        if !self.out.has_room() {
            return;
        }
        match source {
            Source::Datagram { local, .. } => {
                let to = Destination::Datagram { local, remote: target.addr };
                self.transmit(to, buffer, Ticket(None), false);
            }
            Source::Flow(id) => self.wait_for(id, buffer, Ticket(None)),
        }
    }

    /// Answers the ping of a flow (RFC 5626 §3.5.1).
    pub(crate) fn pong(&mut self, id: FlowId) {
        if self.flows.get(id).is_some_and(|flow| flow.open) && self.out.has_room() {
            let buffer = self.buffers.take(2);
            self.buffers.write(buffer, |out| {
                out.extend_from_slice(b"\r\n");
                0
            });
            self.out.transmit(&mut self.buffers, Destination::Flow(id), buffer, Ticket(None), false);
            self.buffers.unpin(buffer);
        }
    }

    // The list of transactions on one flow.

    fn link(&mut self, key: Key, id: FlowId) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        let head = core::mem::replace(&mut flow.first_txn, key.index);
        if let Some(after) = self.at(head) {
            after.prev = key.index;
        }
        if let Some(txn) = self.txns.get_mut(key) {
            (txn.prev, txn.next) = (NOBODY, head);
        }
    }

    fn unlink(&mut self, key: Key) {
        let Some(txn) = self.txns.get_mut(key) else { return };
        let (prev, next) = (txn.prev, txn.next);
        (txn.prev, txn.next) = (NOBODY, NOBODY);
        if let Some(Destination::Flow(id)) = txn.to {
            if let Some(flow) = self.flows.get_mut(id).filter(|flow| flow.first_txn == key.index) {
                flow.first_txn = next;
            }
        }
        if let Some(before) = self.at(prev) {
            before.next = next;
        }
        if let Some(after) = self.at(next) {
            after.prev = prev;
        }
    }

    fn at(&mut self, index: u32) -> Option<&mut Record> {
        let key = self.txns.key_at(index)?;
        self.txns.get_mut(key)
    }
}

impl Record {
    /// The timers that this transaction was given of its own.
    pub(super) fn timers(&self) -> Option<Timers> {
        self.timers.as_deref().copied()
    }
}

/// What a step had besides its change of state.
pub(super) struct Applied {
    pub(super) report: Option<Report>,
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
