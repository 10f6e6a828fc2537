//! Requests outside any transaction: ACKs for 2xx, and what is forwarded without state (RFC 3261 §16.11).

use super::BufferId;
use super::client::{COOKIE, OwnVia, hop, unhex};
use super::layer::Layer;
use crate::endpoint::{Destination, Misuse, Source, Ticket};
use crate::handle::FlowId;
use crate::headers::{Asks, Name, Via};
use crate::message::{Message, Method, Writer, hex};
use crate::transport::{Flow, NextHop, Reliability, Target, Transport, next_hop_of, reply_address};
use crate::uri;
use core::net::{IpAddr, SocketAddr};
use core::num::NonZero;

impl Layer {
    /// Sends a request outside any transaction, an ACK for a 2xx, and keeps it: it can be sent again with
    /// [`repeat_stateless`](Self::repeat_stateless) until the buffer is unpinned.
    pub(crate) fn send_stateless(
        &mut self,
        method: Method<'_>,
        uri: &[u8],
        towards: &[u8],
        write: impl FnOnce(&mut Writer<'_>),
    ) -> Result<BufferId, Misuse> {
        if self.buffers.retained() >= self.limits.retained.saturating_add(self.limits.retained / 4) {
            return Err(Misuse::Full);
        }
        let hop = hop(None, uri, towards)?;
        let (transport, addr) = hop.address();
        let (_, sent_by) = self.locals.towards(transport, addr).ok_or(Misuse::NoLocal(transport))?;
        let mut text = core::mem::take(&mut self.scratch);
        text.clear();
        let mut writer = Writer::request(&mut text, method, uri);
        let branch = branch(b"0000000000000000");
        let via = OwnVia { transport, sent_by, branch: &branch, mark: b"", way: b"" };
        writer.field(Name::Via, &via.parts());
        let digits = writer.len() - b";rport\r\n".len();
        write(&mut writer);
        // RFC 3261 §13.2.2.4: the ACK for a copy of the 2xx is the same ACK. Its branch follows from all else in it.
        let branch = self::branch(&hex(self.hash.of(&[&text]) as u64));
        if let Some(place) = text.get_mut(digits - branch.len()..digits) {
            place.copy_from_slice(&branch);
        }
        let buffer = self.buffers.keep(&text);
        self.scratch = text;
        // One that can't be sent now goes with the next copy of the 2xx.
        self.send_hop(buffer, hop, false);
        Ok(buffer)
    }

    /// Sends such a request again, to the next hop that follows from `uri` and `towards`.
    pub(crate) fn repeat_stateless(&mut self, buffer: BufferId, (uri, towards): (&[u8], &[u8])) {
        if let Some(hop) = next_hop_of(uri, towards) {
            self.send_hop(buffer, hop, true);
        }
    }

    /// Forwards a request, with the Via of who sent it stamped, below one of this side.
    pub(crate) fn forward_stateless(
        &mut self,
        source: Source,
        request: &Message<'_>,
        hop: NextHop<'_>,
    ) -> Result<(), Misuse> {
        let (transport, addr) = hop.address();
        let (_, sent_by) = self.locals.towards(transport, addr).ok_or(Misuse::NoLocal(transport))?;
        if !self.out.has_room() {
            return Err(Misuse::Full);
        }
        let mut text = core::mem::take(&mut self.scratch);
        text.clear();
        let branch = branch(&self.identity(request, &request.via()));
        let way = self.way_of(source);
        OwnVia { transport, sent_by, branch: &branch, mark: b"", way: way.as_flattened() }
            .put_on(&mut text, request.as_bytes());
        let buffer = self.buffers.keep(&text);
        self.scratch = text;
        let sent = self.send_hop(buffer, hop, false);
        self.buffers.unpin(buffer);
        if sent { Ok(()) } else { Err(Misuse::Full) }
    }

    /// Sends on a response to a request that was [forwarded](Self::forward_stateless); `stripped` is that without the Via of this side. False if
    /// this side never forwarded such a request, or nothing leads back.
    pub(crate) fn return_stateless(&mut self, response: &Message<'_>, stripped: &[u8]) -> bool {
        let mut vias = response.all::<Via<'_>>();
        let (Some(Ok(own)), Some(Ok(next))) = (vias.next(), vias.next()) else { return false };
        let port = |via: &Via<'_>| via.port.map(NonZero::get);
        // Nobody else can make the branch: what was not asked for goes nowhere, and by no other way than the request came.
        let is_ours = own.branch() == Some(&branch(&self.identity(response, &next)))
            && self.locals.is_ours(own.transport, own.host, port(&own));
        let (Some(transport), Some(ip)) =
            (Transport::named(next.transport), next.received().or_else(|| uri::ip(next.host)))
        else {
            return false;
        };
        if !is_ours || !self.out.has_room() {
            return false;
        }
        let from = SocketAddr::new(ip, next.rport().unwrap_or_default());
        let target = Target { transport, addr: reply_address(&next, Asks::of(&next), transport, from) };
        // That of another process would be somebody else's.
        let said = own.params.get("i").unwrap_or_default();
        let number = said.get(..16).and_then(unhex).unwrap_or_default();
        let is_it = |source| self.way_of(source).as_flattened() == said;
        let to = if transport.reliability() == Reliability::Unreliable {
            let local = self.locals.at(number as usize);
            let local = local.filter(|local| is_it(Source::Datagram { local: *local, remote: target.addr }));
            local.map(|local| Destination::Datagram { local, remote: target.addr })
        } else {
            let id = FlowId::from_bits(number);
            let leads_back =
                |flow: &&Flow| flow.open && (flow.target.transport, flow.target.addr.ip()) == (transport, ip);
            let flow = self.flows.get(id).filter(leads_back).filter(|_| is_it(Source::Flow(id)));
            flow.map(|_| Destination::Flow(id))
        };
        let buffer = self.buffers.keep(stripped);
        match to {
            Some(to) => self.transmit(to, buffer, Ticket(None), false),
            None => self.send_to(target, buffer, false),
        }
        self.buffers.unpin(buffer);
        true
    }

    /// What a request has in common with its copies, its CANCEL, the ACK of its failure and all its responses, as digits. A hop before that has no
    /// branch of RFC 3261 is known by the rest.
    fn identity(&self, message: &Message<'_>, sender: &Via<'_>) -> [u8; 16] {
        let is_of_3261 = |branch: &&[u8]| {
            branch.get(..COOKIE.len()).is_some_and(|start| start.eq_ignore_ascii_case(COOKIE))
        };
        let param = |name| sender.params.get(name).unwrap_or_default();
        let port = sender.port.map_or(0, NonZero::get).to_be_bytes();
        let number = message.cseq().number.to_be_bytes();
        let parts = [
            sender.branch().filter(is_of_3261).unwrap_or_default(),
            &port,
            param("received"),
            param("rport"),
            message.call_id(),
            message.from_tag().unwrap_or_default(),
            &number,
        ];
        hex(self.hash.hash(&[sender.host], &parts) as u64)
    }

    /// By what a request came here, as digits: the place of the socket or the number of the connection, and what nobody else can say of it.
    fn way_of(&self, source: Source) -> [[u8; 16]; 2] {
        let (number, addr) = match source {
            Source::Datagram { local, .. } => (self.locals.place(Transport::Udp, local) as u64, Some(local)),
            Source::Flow(id) => (id.to_bits(), self.flows.get(id).map(|flow| flow.target.addr)),
        };
        let ip = addr.map(|addr| match addr.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        });
        let port = addr.map_or(0, |addr| addr.port()).to_be_bytes();
        let parts: [&[u8]; 4] = [b"way", &number.to_be_bytes(), &ip.unwrap_or_default(), &port];
        [hex(number), hex(self.hash.of(&parts) as u64)]
    }

    /// False if there is no room to wait for a name.
    fn send_hop(&mut self, buffer: BufferId, hop: NextHop<'_>, again: bool) -> bool {
        match hop {
            NextHop::Address(target) => {
                self.send_to(target, buffer, again);
                true
            }
            NextHop::Name { transport, host, port } => self.send_to_name(host, port, transport, buffer),
        }
    }
}

fn branch(digits: &[u8; 16]) -> [u8; COOKIE.len() + 16] {
    let mut branch = [0; COOKIE.len() + 16];
    for (place, byte) in branch.iter_mut().zip(COOKIE.iter().chain(digits)) {
        *place = *byte;
    }
    branch
}
