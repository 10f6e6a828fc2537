//! How a response finds back (RFC 3261 §18.2, RFC 3581 §4).

use super::{Reliability, Transport};
use crate::headers::{Asks, Via};
use core::net::{IpAddr, SocketAddr};
use core::num::NonZero;

/// RFC 3261 §18.2.2: where a response goes whose request came from `source`.
///
/// Over datagrams: to `maddr`, else to the source at `rport`, else to the source at the port of sent-by. Over a
/// connection this is where a new one leads when the old one is gone: to the source at the port of sent-by.
/// A `maddr` that is a name, a broadcast, multicast or unspecified address is not followed: one request must not become many.
pub(crate) fn reply_address(
    via: &Via<'_>,
    asks: Asks,
    transport: Transport,
    source: SocketAddr,
) -> SocketAddr {
    let port = via.port.map_or(transport.default_port(), NonZero::get);
    if transport.reliability() == Reliability::Reliable {
        return SocketAddr::new(source.ip(), port);
    }
    if asks.maddr {
        if let Some(maddr) = via.params.get("maddr").and_then(crate::uri::ip).filter(is_followed) {
            return SocketAddr::new(maddr, port);
        }
    }
    if asks.rport { source } else { SocketAddr::new(source.ip(), port) }
}

fn is_followed(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            !v4.is_broadcast() && !v4.is_multicast() && !v4.is_unspecified() && v4.octets()[3] != 255
        }
        IpAddr::V6(v6) => !v6.is_multicast() && !v6.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::{Header, stamped_via};
    use alloc::vec::Vec;

    fn stamp(value: &str, source: &str) -> (std::string::String, SocketAddr) {
        let via = Via::list(value.as_bytes()).next().unwrap().unwrap();
        let source = source.parse().unwrap();
        let mut out = Vec::new();
        let asks = Asks::of(&via);
        stamped_via(&mut out, value.as_bytes(), &via, asks, source);
        (std::string::String::from_utf8(out).unwrap(), reply_address(&via, asks, Transport::Udp, source))
    }

    #[test]
    fn received_and_rport() {
        for (value, source, stamped, reply) in [
            (
                "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa",
                "192.0.2.1:9",
                "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa",
                "192.0.2.1:5060",
            ),
            (
                "SIP/2.0/UDP a.example:5070;branch=z",
                "192.0.2.1:9",
                "SIP/2.0/UDP a.example:5070;branch=z;received=192.0.2.1",
                "192.0.2.1:5070",
            ),
            (
                "SIP/2.0/UDP 10.1.1.1:4540;rport;branch=z , SIP/2.0/UDP b",
                "192.0.2.1:9988",
                "SIP/2.0/UDP 10.1.1.1:4540;branch=z;received=192.0.2.1;rport=9988 , SIP/2.0/UDP b",
                "192.0.2.1:9988",
            ),
            (
                "SIP/2.0/UDP 192.0.2.1;received=198.51.100.1;x=\"a,b\"",
                "192.0.2.1:5060",
                "SIP/2.0/UDP 192.0.2.1;x=\"a,b\"",
                "192.0.2.1:5060",
            ),
            (
                "SIP/2.0/UDP 192.0.2.1, SIP/2.0/UDP b",
                "192.0.2.1:1",
                "SIP/2.0/UDP 192.0.2.1, SIP/2.0/UDP b",
                "192.0.2.1:5060",
            ),
            // RFC 3261 §8.2.6.2: what is not ours to change stays as it is written.
            (
                "SIP/2.0/UDP h ; x=\"\" ;branch = z;rport ;y",
                "192.0.2.1:7",
                "SIP/2.0/UDP h ; x=\"\" ;branch = z ;y;received=192.0.2.1;rport=7",
                "192.0.2.1:7",
            ),
            (
                "SIP/2.0/UDP 192.0.2.1",
                "[::ffff:192.0.2.1]:5060",
                "SIP/2.0/UDP 192.0.2.1",
                "[::ffff:192.0.2.1]:5060",
            ),
            (
                "SIP/2.0/UDP [2001:db8::9:1];rport",
                "[2001:db8::9:255]:7",
                "SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;rport=7",
                "[2001:db8::9:255]:7",
            ),
            (
                "SIP/2.0/UDP h;maddr=192.0.2.9",
                "192.0.2.1:1",
                "SIP/2.0/UDP h;maddr=192.0.2.9;received=192.0.2.1",
                "192.0.2.9:5060",
            ),
            (
                "SIP/2.0/UDP 192.0.2.1;maddr=255.255.255.255",
                "192.0.2.1:1",
                "SIP/2.0/UDP 192.0.2.1;maddr=255.255.255.255",
                "192.0.2.1:5060",
            ),
        ] {
            assert_eq!(stamp(value, source), (stamped.into(), reply.parse().unwrap()));
        }
    }
}
