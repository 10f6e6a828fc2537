//! What a server writes into the top Via: where the request came from (RFC 3261 §18.2.1, RFC 3581 §4).

use super::Via;
use super::params::is_name;
use crate::message::push_number;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// What a Via asks of who answers.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Asks {
    pub(crate) rport: bool,
    pub(crate) maddr: bool,
    /// Somebody before wrote `received`, which is ours to write.
    received: bool,
}

impl Asks {
    pub(crate) fn of(via: &Via<'_>) -> Self {
        let mut asks = Self::default();
        via.params.iter().for_each(|(name, _)| asks.note(name));
        asks
    }

    /// Takes note of a parameter.
    #[inline]
    pub(crate) fn note(&mut self, name: &[u8]) {
        match name.len() {
            5 => {
                self.rport |= is_name(name, "rport");
                self.maddr |= is_name(name, "maddr");
            }
            8 => self.received |= is_name(name, "received"),
            _ => {}
        }
    }
}

/// Appends the value of the top Via as this side hands it back: with `received` where the source differs from sent-by or
/// `rport` asks for it, and with `rport` filled. `value` is the whole field; what stands behind the first element of its
/// comma list is copied.
pub(crate) fn stamped_via(out: &mut Vec<u8>, value: &[u8], via: &Via<'_>, asks: Asks, source: SocketAddr) {
    // A socket for both families shows IPv4 addresses inside IPv6 ones.
    let ip = source.ip().to_canonical();
    let Asks { rport, received, .. } = asks;
    let differs = !is_spelt(ip, via.host) && crate::uri::ip(via.host) != Some(ip);
    if !(rport || received || differs) {
        return out.extend_from_slice(value);
    }
    let (before, behind) = split(value, via.params.as_bytes());
    out.extend_from_slice(before);
    for (name, as_written) in via.params.as_written() {
        // What the network claims about the source is replaced by what is true.
        let ours = name.eq_ignore_ascii_case(b"received") || rport && name.eq_ignore_ascii_case(b"rport");
        if !ours {
            out.extend_from_slice(as_written);
        }
    }
    if rport || differs {
        out.extend_from_slice(b";received=");
        push_ip(out, ip);
    }
    if rport {
        out.extend_from_slice(b";rport=");
        push_number(out, u64::from(source.port()));
    }
    out.extend_from_slice(behind);
}

/// Whether an IPv4 address is written so: cheaper to see than to read. Of numbers that begin with a zero it says no.
fn is_spelt(ip: IpAddr, host: &[u8]) -> bool {
    let IpAddr::V4(v4) = ip else { return false };
    let mut octets = v4.octets().into_iter();
    host.split(|byte| *byte == b'.').all(|digits| {
        let number = digits.iter().try_fold(0_u16, |number, digit| match digit {
            b'0'..=b'9' if digits.len() <= 3 => Some(number * 10 + u16::from(digit - b'0')),
            _ => None,
        });
        !matches!(digits, [] | [b'0', _, ..]) && number.is_some() && number == octets.next().map(u16::from)
    }) && octets.next().is_none()
}

/// What stands before and behind the parameters.
fn split<'a>(value: &'a [u8], params: &[u8]) -> (&'a [u8], &'a [u8]) {
    let end = memchr::memchr(b',', value).unwrap_or(value.len());
    if params.is_empty() {
        let (before, behind) = value.split_at_checked(end).unwrap_or((value, b""));
        return (crate::message::lex::trim(before), behind);
    }
    let at = (params.as_ptr() as usize).saturating_sub(value.as_ptr() as usize);
    (value.get(..at).unwrap_or(value), value.get(at + params.len()..).unwrap_or_default())
}

fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => {
            for (at, octet) in v4.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                push_number(out, u64::from(octet));
            }
        }
        IpAddr::V6(v6) => {
            // RFC 3261 §25.1: `received` has no brackets. Formatting into a Vec can't fail.
            let _ = core::fmt::Write::write_fmt(&mut Text(out), format_args!("{v6}"));
        }
    }
}

struct Text<'o>(&'o mut Vec<u8>);

impl core::fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelt_is_as_it_would_be_written() {
        let ips = ["1.0.2.3", "192.0.2.1", "255.255.255.255", "0.0.0.0", "10.20.30.100"];
        let others = [
            "1..2.3",
            "1.0.2.3.",
            ".1.0.2.3",
            "1.0.2",
            "01.0.2.3",
            "1.00.2.3",
            "1.0.2.259",
            "1.256.2.3",
            "1.0.2.0003",
            "a",
            "",
        ];
        for ip in ips {
            let addr: IpAddr = ip.parse().unwrap();
            for host in ips.into_iter().chain(others) {
                assert_eq!(is_spelt(addr, host.as_bytes()), host == ip, "{host} for {ip}");
            }
        }
        assert!(!is_spelt("::1".parse().unwrap(), b"::1"));
    }
}
