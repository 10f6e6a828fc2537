//! A socket address in 24 bytes instead of 32: there are two in every transaction.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// A [`SocketAddr`] without its flow label, which no reply needs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PackedAddr {
    ip: [u8; 16],
    scope: u32,
    port: u16,
    v6: bool,
}

impl From<SocketAddr> for PackedAddr {
    fn from(addr: SocketAddr) -> Self {
        let port = addr.port();
        match addr {
            SocketAddr::V4(v4) => {
                let [a, b, c, d] = v4.ip().octets();
                let ip = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                Self { ip, scope: 0, port, v6: false }
            }
            SocketAddr::V6(v6) => Self { ip: v6.ip().octets(), scope: v6.scope_id(), port, v6: true },
        }
    }
}

impl From<PackedAddr> for SocketAddr {
    fn from(packed: PackedAddr) -> Self {
        if packed.v6 {
            return SocketAddrV6::new(Ipv6Addr::from(packed.ip), packed.port, 0, packed.scope).into();
        }
        let [a, b, c, d, ..] = packed.ip;
        Self::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), packed.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_were() {
        assert_eq!(size_of::<PackedAddr>(), 24);
        for text in
            ["192.0.2.1:5060", "[2001:db8::1]:1", "[::ffff:192.0.2.1]:5060", "[fe80::1%3]:5060", "0.0.0.0:0"]
        {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(SocketAddr::from(PackedAddr::from(addr)), addr);
        }
    }
}
