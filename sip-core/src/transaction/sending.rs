//! Where the messages of transactions go: the way to a peer, connections that are opened for it, and what waits for them.

use super::buffers::BufferId;
use super::layer::{Layer, Question, Waits};
use super::outbox::Item;
use super::record::{NOBODY, Record, Way};
use crate::endpoint::{Destination, Source, Ticket};
use crate::handle::{FlowId, Key};
use crate::time::micros;
use crate::transport::{Reliability, Target, Transport, Waiting};

impl Layer {
    /// Sends one of a transaction's messages.
    pub(super) fn send(&mut self, key: Key, buffer: BufferId, again: bool) {
        let Some(txn) = self.txns.get(key) else { return };
        let ticket = Ticket(Some(key));
        let request = txn.state.is_client() && buffer == txn.buffer;
        match txn.to() {
            // A name that is still being resolved: it is sent when the answer comes.
            None => {}
            Some(to @ Destination::Datagram { .. }) => self.transmit(to, buffer, ticket, again),
            Some(Destination::Flow(id)) => match self.flows.get_mut(id) {
                Some(flow) if flow.open => self.transmit(Destination::Flow(id), buffer, ticket, again),
                Some(_) => self.wait_for(id, buffer, ticket, request),
                None => {
                    // RFC 3261 §18.2.2: the connection is gone, another is opened.
                    self.direct(key);
                    match self.txns.get(key).and_then(Record::to) {
                        Some(Destination::Flow(id)) => self.wait_for(id, buffer, ticket, request),
                        _ => self.failed.push_back(key),
                    }
                }
            },
        }
    }

    fn wait_for(&mut self, id: FlowId, buffer: BufferId, ticket: Ticket, while_alive: bool) {
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
        flow.waiting.push_back(Waiting { buffer, ticket, while_alive });
        self.buffers.pin(buffer);
    }

    pub(super) fn transmit(&mut self, to: Destination, buffer: BufferId, ticket: Ticket, again: bool) {
        self.stats.sent += 1;
        self.stats.retransmissions_out += u64::from(again);
        self.out.transmit(&mut self.buffers, to, buffer, ticket, again);
    }

    /// Finds the way to a transaction's target: the socket, or the connection that leads there or is to be opened.
    pub(super) fn direct(&mut self, key: Key) {
        let Some(target) = self.txns.get(key).map(Record::target) else { return };
        let to = self.way_to(target);
        self.set_destination(key, to);
    }

    pub(super) fn set_destination(&mut self, key: Key, to: Option<Destination>) {
        self.unlink(key);
        match to {
            Some(Destination::Flow(id)) => self.link(key, id),
            Some(Destination::Datagram { local, .. }) => self.set_way(key, Way::Datagram(local.into())),
            None => {
                self.set_way(key, Way::None);
                self.failed.push_back(key);
            }
        }
    }

    fn set_way(&mut self, key: Key, way: Way) {
        if let Some(txn) = self.txns.get_mut(key) {
            txn.way = way;
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
        self.owed.arm(id.0.index * 2, self.clock(), micros(self.delays.timers.t1x64()));
        Some(Destination::Flow(id))
    }

    /// Sends a message outside any transaction to an address.
    pub(super) fn send_to(&mut self, target: Target, buffer: BufferId, again: bool) {
        match self.way_to(target) {
            Some(Destination::Flow(id)) => self.wait_for(id, buffer, Ticket(None), false),
            Some(to) => self.transmit(to, buffer, Ticket(None), again),
            None => {}
        }
    }

    /// Sends a message outside any transaction to a host by name; false if too many wait for theirs.
    pub(super) fn send_to_name(
        &mut self,
        host: &[u8],
        port: u16,
        transport: Transport,
        buffer: BufferId,
    ) -> bool {
        // One question for a message is enough.
        let asked =
            |question: &Question| matches!(question.waits, Waits::Message(waiting) if waiting == buffer);
        if self.questions.iter().any(|(_, question)| asked(question)) {
            return true;
        }
        if self.asked_for_messages >= self.limits.waiting_for_flow {
            return false;
        }
        self.asked_for_messages += 1;
        self.buffers.pin(buffer);
        self.resolve(host, port, transport, Waits::Message(buffer));
        true
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
            Source::Flow(id) => self.wait_for(id, buffer, Ticket(None), false),
        }
    }

    /// Answers the ping of a flow (RFC 5626 §3.5.1).
    pub(crate) fn pong(&mut self, id: FlowId) {
        self.send_line_ends(id, b"\r\n");
    }

    /// Asks whether a flow lives; false if there is no room for that now.
    pub(crate) fn ping(&mut self, id: FlowId) -> bool {
        let sent = self.send_line_ends(id, b"\r\n\r\n");
        if let Some(flow) = self.flows.get_mut(id).filter(|_| sent) {
            flow.pings = flow.pings.saturating_add(1);
        }
        sent
    }

    fn send_line_ends(&mut self, id: FlowId, bytes: &[u8]) -> bool {
        let can = self.flows.get(id).is_some_and(|flow| flow.open) && self.out.has_room();
        if can {
            let buffer = self.buffers.keep(bytes);
            self.out.transmit(&mut self.buffers, Destination::Flow(id), buffer, Ticket(None), false);
            self.buffers.unpin(buffer);
        }
        can
    }

    // The list of transactions on one flow.

    fn link(&mut self, key: Key, id: FlowId) {
        let head = match self.flows.get_mut(id) {
            Some(flow) => core::mem::replace(&mut flow.first_txn, key.index),
            None => NOBODY,
        };
        if let Some((prev, _)) = self.neighbours(head) {
            *prev = key.index;
        }
        self.set_way(key, Way::Flow { id, prev: NOBODY, next: head });
    }

    pub(super) fn unlink(&mut self, key: Key) {
        let Some(txn) = self.txns.get_mut(key) else { return };
        let Way::Flow { id, prev, next } = core::mem::replace(&mut txn.way, Way::None) else { return };
        if let Some(flow) = self.flows.get_mut(id).filter(|flow| flow.first_txn == key.index) {
            flow.first_txn = next;
        }
        if let Some((_, before)) = self.neighbours(prev) {
            *before = next;
        }
        if let Some((after, _)) = self.neighbours(next) {
            *after = prev;
        }
    }

    /// The places before and after a transaction in its list.
    fn neighbours(&mut self, index: u32) -> Option<(&mut u32, &mut u32)> {
        match &mut self.txns.at_mut(index)?.way {
            Way::Flow { prev, next, .. } => Some((prev, next)),
            Way::None | Way::Datagram(_) => None,
        }
    }
}
