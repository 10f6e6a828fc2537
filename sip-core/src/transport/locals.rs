//! The addresses of this side.

use super::{Reliability, Transport};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;

/// An address that the machine may use as its own: a fact that the adapter states with
/// [`listen`](crate::Machine::listen).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// What is spoken there.
    pub transport: Transport,
    /// The address of the socket.
    pub addr: SocketAddr,
    /// What others reach it by, as it stands in Via and Contact: a host, or a host and a port. `None`: the address.
    pub advertised: Option<String>,
}

/// All of them, with sent-by as text.
#[derive(Default)]
pub(crate) struct Locals(Vec<(Local, String)>);

impl Locals {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn add(&mut self, local: Local) {
        let sent_by = local.advertised.clone().unwrap_or_else(|| local.addr.to_string());
        self.0.retain(|(known, _)| (known.transport, known.addr) != (local.transport, local.addr));
        self.0.push((local, sent_by));
    }

    /// The local address from which `remote` is reached: of its transport and, if it can be, of its family.
    pub(crate) fn towards(
        &self,
        transport: Transport,
        remote: Option<SocketAddr>,
    ) -> Option<(SocketAddr, &str)> {
        let of_transport = || self.0.iter().filter(|(local, _)| local.transport == transport);
        let of_family = of_transport()
            .find(|(local, _)| remote.is_none_or(|remote| remote.is_ipv4() == local.addr.is_ipv4()));
        of_family.or_else(|| of_transport().next()).map(|(local, sent_by)| (local.addr, sent_by.as_str()))
    }

    /// The place of a socket among them; behind all, if it is none of them.
    pub(crate) fn place(&self, transport: Transport, addr: SocketAddr) -> usize {
        let found = self.0.iter().position(|(local, _)| (local.transport, local.addr) == (transport, addr));
        found.unwrap_or(self.0.len())
    }

    /// The datagram socket in a place.
    pub(crate) fn at(&self, place: usize) -> Option<SocketAddr> {
        let (local, _) = self.0.get(place)?;
        (local.transport.reliability() == Reliability::Unreliable).then_some(local.addr)
    }

    /// How others reach the socket with the address `at`, or else one from which `remote` is reached.
    pub(crate) fn contact(&self, transport: Transport, at: Option<SocketAddr>, remote: SocketAddr) -> &str {
        let exact = self.0.iter().find(|(local, _)| local.transport == transport && Some(local.addr) == at);
        match exact {
            Some((_, sent_by)) => sent_by,
            None => self.towards(transport, Some(remote)).map_or("", |(_, sent_by)| sent_by),
        }
    }

    /// Whether host and port of a URI lead here, by whatever transport. An absent port is the default one.
    pub(crate) fn has(&self, host: &[u8], port: Option<u16>) -> bool {
        self.0.iter().any(|(local, sent_by)| {
            let default = local.transport.default_port();
            let (own_host, own_port) = split(sent_by);
            let same_port = |own: u16| own == port.unwrap_or(default);
            crate::uri::same_host(own_host.as_bytes(), host) && same_port(own_port.unwrap_or(default))
                || crate::uri::ip(host) == Some(local.addr.ip()) && same_port(local.addr.port())
        })
    }

    /// Whether one of them has this host, whatever its port.
    pub(crate) fn has_host(&self, host: &[u8]) -> bool {
        self.0.iter().any(|(local, sent_by)| {
            crate::uri::same_host(split(sent_by).0.as_bytes(), host)
                || crate::uri::ip(host) == Some(local.addr.ip())
        })
    }

    /// Whether one of the sockets has this port.
    pub(crate) fn has_port(&self, port: u16) -> bool {
        self.0.iter().any(|(local, sent_by)| {
            local.addr.port() == port || split(sent_by).1.unwrap_or(local.transport.default_port()) == port
        })
    }

    /// RFC 3261 §18.1.2: whether a response is for us. An absent port equals the default one of its transport.
    pub(crate) fn is_ours(&self, transport: &[u8], host: &[u8], port: Option<u16>) -> bool {
        self.0.iter().any(|(local, sent_by)| {
            let default = local.transport.default_port();
            let (own_host, own_port) = split(sent_by);
            local.transport.token().as_bytes().eq_ignore_ascii_case(transport)
                && crate::uri::same_host(own_host.as_bytes(), host)
                && own_port.unwrap_or(default) == port.unwrap_or(default)
        })
    }
}

/// Host and port of a sent-by.
fn split(sent_by: &str) -> (&str, Option<u16>) {
    if sent_by.ends_with(']') {
        return (sent_by, None);
    }
    match sent_by.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (sent_by, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sent_by_is_compared_by_value() {
        let mut locals = Locals::default();
        let addr = "192.0.2.1:5060".parse().unwrap();
        locals.add(Local { transport: Transport::Udp, addr, advertised: None });
        let v6 = "[2001:db8::1]:5062".parse().unwrap();
        locals.add(Local { transport: Transport::Udp, addr: v6, advertised: None });
        let public = Some("Sip.Example.com".into());
        locals.add(Local { transport: Transport::Tcp, addr, advertised: public });
        assert!(locals.is_ours(b"udp", b"192.0.2.1", None));
        assert!(locals.is_ours(b"UDP", b"[2001:0DB8::1]", Some(5062)));
        assert!(locals.is_ours(b"TCP", b"sip.example.COM", Some(5060)));
        assert!(!locals.is_ours(b"TCP", b"192.0.2.1", None));
        assert!(!locals.is_ours(b"UDP", b"192.0.2.1", Some(5061)));
        assert_eq!(locals.towards(Transport::Udp, Some(v6)).unwrap().0, v6);
    }
}
