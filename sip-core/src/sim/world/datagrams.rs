//! Datagrams: lost, doubled, late, damaged, overheard.

use super::{Due, World};
use crate::endpoint::{SendError, Source, Ticket};
use crate::message::Message;
use crate::sim::faults::Faults;
use crate::sim::net::Side;
use crate::sim::note::Gist;
use crate::sim::tape::{Kind, Site};
use crate::sim::trace::{Loss, Packet, PacketId, What};
use crate::transport::Transport;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

impl World {
    pub(super) fn packet(
        &mut self,
        node: usize,
        from: SocketAddr,
        to: SocketAddr,
        conn: Option<u32>,
        again: bool,
        bytes: Vec<u8>,
    ) -> PacketId {
        let gist = Message::parse(&bytes, &crate::Limits::DEFAULT).ok().map(|message| Gist::of(&message));
        let transport = if conn.is_some() { Transport::Tcp } else { Transport::Udp };
        let length = bytes.len();
        let (at, mut peer) = (self.now, self.at(to));
        if let Some(conn) = conn.and_then(|number| self.conns.get(number)) {
            let ends = [Side::Caller, Side::Callee].map(|side| conn.node(side));
            peer = ends.into_iter().flatten().find(|end| *end != node).or(peer);
        }
        let forged = self.is_tap(node);
        let packet = Packet { at, node, peer, from, to, transport, conn, gist, again, forged, bytes, length };
        let id = self.trace.add_packet(packet);
        self.note(node, What::Sent { packet: id });
        id
    }

    pub(super) fn is_tap(&self, node: usize) -> bool {
        self.places.get(node).is_some_and(|place| place.tap)
    }

    pub(super) fn send(
        &mut self,
        node: usize,
        local: SocketAddr,
        remote: SocketAddr,
        ticket: Ticket,
        again: bool,
        bytes: Vec<u8>,
    ) {
        let seen = self.places.get(node).and_then(|place| place.seen);
        let from = SocketAddr::new(local.ip(), seen.unwrap_or_else(|| local.port()));
        let packet = self.packet(node, from, remote, None, again, bytes);
        let Some(peer) = self.at(remote) else {
            self.note(node, What::Lost { packet, why: Loss::Nobody });
            return self.trace.forget_bytes(packet);
        };
        let weights = Faults::weights(self.rate(self.faults.send), [0, 2, 1, 1]);
        let sent = self.tape.choose(Site::link(Kind::Send, node, peer), &weights);
        let mut wait = Duration::ZERO;
        match sent {
            0 => {}
            1 => wait = Duration::from_secs(1),
            _ => {
                let error = if sent == 2 { SendError::Unreachable } else { SendError::Full };
                self.note(node, What::Lost { packet, why: Loss::NotSent });
                self.trace.forget_bytes(packet);
                return self.push(self.now, Due::SendFailed { node, ticket, error });
            }
        }
        self.forward(packet, node, peer, wait);
    }

    /// What the network does with a datagram.
    pub(super) fn forward(&mut self, packet: PacketId, node: usize, peer: usize, wait: Duration) {
        let faults = self.faults;
        let site = |kind| Site::link(kind, node, peer);
        let burst = self.bursts.get(&(node, peer)).copied().unwrap_or_default();
        let mut lost = burst > 0;
        if lost {
            self.bursts.insert((node, peer), burst - 1);
        } else if self.rate(faults.burst) > 0 {
            let chosen = self
                .tape
                .choose(site(Kind::Burst), &Faults::weights(self.rate(faults.burst), [0, 4, 3, 2, 1]));
            let length = [0, 2, 5, 12, 30].get(chosen as usize).copied().unwrap_or_default();
            if length > 0 {
                self.bursts.insert((node, peer), length - 1);
                lost = true;
            }
        }
        let rate = |rate| self.rate(rate);
        let rest = [rate(faults.loss), rate(faults.duplicate), rate(faults.reorder), rate(faults.damage)];
        let boring = 10_000_u32.saturating_sub(rest.iter().sum());
        let fate = self.tape.choose(site(Kind::Fate), &[boring, rest[0], rest[1], rest[2], rest[3]]);
        lost |= fate == 1 && !self.healed;
        let cut = [(node, true), (peer, false)].into_iter().any(|(place, out)| {
            self.places.get(place).is_some_and(|place| self.now < if out { place.mute } else { place.deaf })
        });
        if lost || cut {
            let why = if cut { Loss::Cut } else { Loss::Dropped };
            self.note(node, What::Lost { packet, why });
            return self.trace.forget_bytes(packet);
        }
        self.overhear(packet);
        let mut at = self.now + wait + self.delay(node, peer);
        if fate == 3 {
            at += self.later(node, peer);
        }
        let damage = (fate == 4).then(|| self.tape.below(site(Kind::Damage), 256));
        self.under_way.insert(packet, 1);
        self.push(at, Due::Datagram { packet, damage });
        if fate == 2 {
            self.note(node, What::Copied { packet });
            self.under_way.insert(packet, 2);
            let later = at + self.later(node, peer);
            self.push(later, Due::Datagram { packet, damage: None });
        }
    }

    /// Lets the hostile nodes hear a datagram of somebody else.
    pub(super) fn overhear(&mut self, packet: PacketId) {
        let Some(sent) = self.trace.packet(packet).filter(|packet| !packet.forged) else { return };
        let (from, to) = (sent.from, sent.to);
        let taps = self.places.iter_mut().filter(|place| place.tap && !self.healed);
        let Some(place) = taps.last() else { return };
        let now = place.clock.local(self.now);
        let Some(machine) = &mut place.node else { return };
        machine.datagram(now, Source::Datagram { local: to, remote: from }, &sent.bytes);
        let deadline = machine.deadline();
        if let Some(node) = self.places.iter().position(|place| place.tap) {
            self.schedule(node, deadline);
        }
    }

    pub(super) fn delay(&mut self, node: usize, peer: usize) -> Duration {
        let most = if self.healed { Duration::ZERO } else { self.faults.delay };
        // A datagram is always under way for some time.
        let least = Duration::from_millis(1);
        if most.is_zero() {
            return least;
        }
        let part = self.tape.below(Site::link(Kind::Delay, node, peer), 17);
        least + most * part / 16
    }

    pub(super) fn later(&mut self, node: usize, peer: usize) -> Duration {
        let chosen = self.tape.choose(Site::link(Kind::Later, node, peer), &[4, 4, 3, 2, 1, 1]);
        let millis =
            [100, 600, 2_100, 6_000, 20_000, 40_000].get(chosen as usize).copied().unwrap_or_default();
        Duration::from_millis(millis)
    }

    pub(super) fn deliver(&mut self, packet: PacketId, damage: Option<u32>) {
        let left = self.under_way.get_mut(&packet).map_or(0, |left| {
            *left -= 1;
            *left
        });
        if left == 0 {
            self.under_way.remove(&packet);
        }
        let Some(sent) = self.trace.packet(packet) else { return };
        let (sender, from, to, mut bytes) = (sent.node, sent.from, sent.to, sent.bytes.clone());
        // By the time that it arrives another may have the address, or nobody.
        let Some(node) =
            self.at(to).filter(|node| self.places.get(*node).is_some_and(|place| place.node.is_some()))
        else {
            self.note(sender, What::Lost { packet, why: Loss::Nobody });
            return;
        };
        if let Some(damage) = damage {
            spoil(&mut bytes, damage);
        }
        self.cause(node, What::Arrived { packet, damaged: damage.is_some() });
        if left == 0 {
            self.trace.forget_bytes(packet);
        }
        let local = self.places.get(node).map_or(to, |place| place.addr);
        self.with(node, |machine, now| {
            machine.datagram(now, Source::Datagram { local, remote: from }, &bytes)
        });
        let weights = Faults::weights(self.rate(self.faults.spurious), [0, 1]);
        if self.tape.choose(Site::node(Kind::Spurious, node), &weights) == 1 {
            self.spurious(node);
        }
    }

    /// Wakes a machine that has nothing to do.
    pub(super) fn spurious(&mut self, node: usize) {
        let Some(place) = self.places.get_mut(node) else { return };
        let now = place.clock.local(self.now);
        let Some(machine) = &mut place.node else { return };
        let before = machine.deadline();
        if before.is_some_and(|deadline| deadline <= place.local) {
            return;
        }
        machine.advance(now);
        let changed = machine.poll(now, &mut |_| {}) || machine.deadline() != before;
        self.note(node, What::Spurious { changed });
    }
}

/// Damages a datagram: a byte is changed, the end is missing, or something stands behind it.
fn spoil(bytes: &mut Vec<u8>, how: u32) {
    let at = how as usize * bytes.len() / 256;
    match how % 3 {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (how % 8);
            }
        }
        1 => bytes.truncate(at),
        _ => bytes.extend_from_slice(b"\r\nbehind the end"),
    }
}
