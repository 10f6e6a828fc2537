//! What goes out of an agent: written down, and held, lost or copied as the flow wants it.

use super::super::node::{Act, Node};
use super::super::scenario::words;
use super::{Diary, Happened};
use crate::config::Limits;
use crate::endpoint::{Destination, SendError, Source, Stats, Ticket, Transmit};
use crate::handle::{FlowId, ResolveId};
use crate::headers::Name;
use crate::message::Message;
use crate::time::Instant;
use crate::transport::Target;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

/// What becomes of the next message like this.
#[derive(Clone, Debug)]
pub(super) struct Trick {
    pub(super) node: usize,
    words: String,
    does: Does,
}

#[derive(Clone, Copy, Debug)]
enum Does {
    Hold(Duration),
    Lose,
    Copy,
}

impl Trick {
    pub(super) fn read(name: &str, node: usize, words: &[&str]) -> Result<Self, String> {
        let (does, words) = match (name, words) {
            ("hold", [words @ .., time]) => (Does::Hold(words::time(time)?), words),
            ("lose", words) => (Does::Lose, words),
            ("copy", words) => (Does::Copy, words),
            _ => return Err("hold what, and how long?".into()),
        };
        if words.is_empty() {
            return Err(format!("{name} what?"));
        }
        Ok(Self { node, words: words.join(" "), does })
    }
}

/// An address that no node has.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 9);

/// A message that is held.
struct Held {
    to: Destination,
    ticket: Ticket,
    retransmission: bool,
    bytes: Vec<u8>,
}

/// An agent with what lies between it and the network.
pub(super) struct Wire {
    node: usize,
    inner: Box<dyn Node>,
    tricks: Vec<Trick>,
    diary: Diary,
    /// What goes out at its time.
    held: BTreeMap<(Instant, u64), Held>,
    order: u64,
}

impl Wire {
    pub(super) fn around(node: usize, inner: Box<dyn Node>, tricks: Vec<Trick>, diary: Diary) -> Self {
        Self { node, inner, tricks, diary, held: BTreeMap::new(), order: 0 }
    }
}

/// A message in a few words; two that begin alike are alike.
fn words_of(bytes: &[u8]) -> Option<String> {
    let message = Message::parse(bytes, &Limits::NONE).ok()?;
    let method = message.cseq().method;
    if !message.is_request() {
        return Some(format!("{} {method}", message.status_code()));
    }
    let auth =
        [Name::Authorization, Name::ProxyAuthorization].iter().any(|name| message.value(*name).is_some());
    Some(format!("{method}{}", if auth { " auth" } else { "" }))
}

impl Node for Wire {
    fn datagram(&mut self, now: Instant, from: Source, data: &[u8]) {
        self.inner.datagram(now, from, data);
    }

    fn bytes(&mut self, now: Instant, flow: FlowId, data: &[u8]) {
        self.inner.bytes(now, flow, data);
    }

    fn accepted(&mut self, now: Instant, peer: Target, local: SocketAddr) -> Option<FlowId> {
        self.inner.accepted(now, peer, local)
    }

    fn opened(&mut self, now: Instant, flow: FlowId, local: SocketAddr) -> bool {
        self.inner.opened(now, flow, local)
    }

    fn closed(&mut self, now: Instant, flow: FlowId) {
        self.inner.closed(now, flow);
    }

    fn send_failed(&mut self, now: Instant, ticket: Ticket, error: SendError) {
        self.inner.send_failed(now, ticket, error);
    }

    fn resolved(&mut self, now: Instant, id: ResolveId, addrs: &[SocketAddr]) {
        self.inner.resolved(now, id, addrs);
    }

    fn advance(&mut self, now: Instant) {
        self.inner.advance(now);
    }

    fn poll(&mut self, now: Instant, sink: &mut dyn FnMut(Act<'_>)) -> bool {
        if let Some(due) = self.held.first_entry().filter(|held| held.key().0 <= now) {
            let Held { to, ticket, retransmission, bytes } = due.remove();
            sink(Act::Transmit(Transmit { to, ticket, retransmission, bytes: &bytes }));
            return true;
        }
        let Self { node, inner, tricks, diary, held, order } = self;
        inner.poll(now, &mut |act| {
            let Act::Transmit(transmit) = act else { return sink(act) };
            let words = words_of(transmit.bytes).unwrap_or_default();
            let again = if transmit.retransmission { " again" } else { "" };
            let happened = Happened { at: now, node: *node, what: "->", words: format!("{words}{again}") };
            diary.borrow_mut().push(happened);
            let trick = tricks.iter().position(|trick| trick.words == words).map(|at| tricks.remove(at).does);
            let after = match trick {
                None => return sink(Act::Transmit(transmit)),
                // To where nobody is: whoever watches the wire sees that it was sent.
                Some(Does::Lose) => {
                    let to = match transmit.to {
                        Destination::Datagram { local, .. } => {
                            Destination::Datagram { local, remote: NOWHERE }
                        }
                        Destination::Flow(_) => return,
                    };
                    return sink(Act::Transmit(Transmit { to, ..transmit }));
                }
                Some(Does::Hold(after)) => after,
                Some(Does::Copy) => {
                    sink(Act::Transmit(transmit));
                    Duration::ZERO
                }
            };
            *order += 1;
            let Transmit { to, ticket, retransmission, bytes } = transmit;
            held.insert((now + after, *order), Held { to, ticket, retransmission, bytes: bytes.to_vec() });
        })
    }

    fn deadline(&self) -> Option<Instant> {
        let held = self.held.first_key_value().map(|((at, _), _)| *at);
        self.inner.deadline().into_iter().chain(held).min()
    }

    fn is_idle(&self) -> bool {
        self.inner.is_idle() && self.held.is_empty()
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }
}
