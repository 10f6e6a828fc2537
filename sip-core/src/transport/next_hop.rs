//! Where a request goes (RFC 3261 §8.1.2, RFC 3263 §4).

use super::{Target, Transport};
use crate::uri::{Uri, is_sips};
use core::net::SocketAddr;

/// The next hop of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextHop<'a> {
    /// An address.
    Address(Target),
    /// A name, to be resolved.
    Name { transport: Transport, host: &'a [u8], port: u16 },
}

impl NextHop<'_> {
    /// Its transport, and its address if that is known.
    pub(crate) const fn address(&self) -> (Transport, Option<SocketAddr>) {
        match *self {
            Self::Address(target) => (target.transport, Some(target.addr)),
            Self::Name { transport, .. } => (transport, None),
        }
    }
}

/// The next hop that a URI names: its `maddr` or its host; its `transport`, else TLS for SIPS and UDP for SIP (RFC 3263
/// §4.1); its port or the default one. Nothing for a URI that is no SIP or SIPS URI, or of an unknown transport.
pub(crate) fn next_hop<'a>(uri: &Uri<'a>) -> Option<NextHop<'a>> {
    let sip = uri.as_sip()?;
    let named = match sip.params.get("transport") {
        Some(token) => Some(Transport::named(token)?),
        None => None,
    };
    let transport = match (named, sip.secure) {
        (None, false) => Transport::Udp,
        (None | Some(Transport::Tcp | Transport::Udp), true) => Transport::Tls,
        (Some(Transport::Ws), true) => Transport::Wss,
        (Some(transport), _) => transport,
    };
    let host = sip.params.get("maddr").filter(|host| !host.is_empty()).unwrap_or(sip.host);
    let port = sip.port.map_or(transport.default_port(), core::num::NonZero::get);
    Some(match crate::uri::ip(host) {
        Some(ip) => NextHop::Address(Target { transport, addr: SocketAddr::new(ip, port) }),
        None => NextHop::Name { transport, host, port },
    })
}

/// The next hop of a request to `uri`: where `towards` leads, its first Route or the URI itself; over TLS if the URI is SIPS (RFC 3261 §26.2.2).
pub(crate) fn next_hop_of<'a>(uri: &[u8], towards: &'a [u8]) -> Option<NextHop<'a>> {
    let mut towards = Uri::parse(towards).ok()?;
    if let Uri::Sip(sip) = &mut towards {
        sip.secure |= is_sips(uri);
    }
    next_hop(&towards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transport_port_and_maddr_decide() {
        let hop = |text: &'static str| next_hop(&Uri::parse(text.as_bytes()).unwrap());
        let address =
            |transport, addr: &str| Some(NextHop::Address(Target { transport, addr: addr.parse().unwrap() }));
        assert_eq!(hop("sip:a@192.0.2.1"), address(Transport::Udp, "192.0.2.1:5060"));
        assert_eq!(hop("sip:a@[2001:db8::1]:9;transport=TCP"), address(Transport::Tcp, "[2001:db8::1]:9"));
        assert_eq!(hop("sips:192.0.2.1;transport=tcp"), address(Transport::Tls, "192.0.2.1:5061"));
        assert_eq!(hop("sip:x.example;maddr=192.0.2.7"), address(Transport::Udp, "192.0.2.7:5060"));
        let name = NextHop::Name { transport: Transport::Udp, host: b"x.example", port: 5060 };
        assert_eq!(hop("sip:x.example"), Some(name));
        assert_eq!(hop("sip:x.example;transport=carrier-pigeon"), None);
        assert_eq!(hop("tel:+1"), None);
    }
}
