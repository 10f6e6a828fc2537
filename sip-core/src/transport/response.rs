//! How a response finds back (RFC 3261 §18.2, RFC 3581 §4).

use super::{Reliability, Transport};
use crate::headers::Via;
use crate::message::push_number;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::num::NonZero;

/// Appends the value of the top Via as this side hands it back: with `received` where the source differs from sent-by or
/// `rport` asks for it, and with `rport` filled. `value` is the whole field; what stands behind the first element of its
/// comma list is copied.
pub(crate) fn stamped_via(out: &mut Vec<u8>, value: &[u8], via: &Via<'_>, source: SocketAddr) {
    let rport = via.params.get("rport").is_some();
    let differs = crate::uri::ip(via.host) != Some(source.ip());
    let (before, params, behind) = split(value, via.params.as_bytes());
    out.extend_from_slice(before);
    for (name, text) in via.params.iter() {
        // What the network claims about the source is replaced by what is true.
        let ours = name.eq_ignore_ascii_case(b"received") || rport && name.eq_ignore_ascii_case(b"rport");
        if !ours {
            out.push(b';');
            out.extend_from_slice(name);
            if !text.is_empty() {
                let quote = is_quoted(params, text);
                out.extend_from_slice(if quote { b"=\"" } else { b"=" });
                out.extend_from_slice(text);
                out.extend_from_slice(if quote { b"\"" } else { b"" });
            }
        }
    }
    if rport || differs {
        out.extend_from_slice(b";received=");
        push_ip(out, source.ip());
    }
    if rport {
        out.extend_from_slice(b";rport=");
        push_number(out, u64::from(source.port()));
    }
    out.extend_from_slice(behind);
}

/// What stands before, in and behind the parameters.
fn split<'a>(value: &'a [u8], params: &[u8]) -> (&'a [u8], &'a [u8], &'a [u8]) {
    let end = memchr::memchr(b',', value).unwrap_or(value.len());
    if params.is_empty() {
        let (before, behind) = value.split_at_checked(end).unwrap_or((value, b""));
        return (crate::message::lex::trim(before), b"", behind);
    }
    let at = (params.as_ptr() as usize).saturating_sub(value.as_ptr() as usize);
    (
        value.get(..at).unwrap_or(value),
        value.get(at..at + params.len()).unwrap_or_default(),
        value.get(at + params.len()..).unwrap_or_default(),
    )
}

/// Whether a parameter's value stands in quotes.
fn is_quoted(params: &[u8], text: &[u8]) -> bool {
    let at = (text.as_ptr() as usize).wrapping_sub(params.as_ptr() as usize);
    at.checked_sub(1).and_then(|before| params.get(before)) == Some(&b'"')
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

/// RFC 3261 §18.2.2: where a response goes whose request came from `source`.
///
/// Over datagrams: to `maddr`, else to the source at `rport`, else to the source at the port of sent-by. Over a
/// connection this is where a new one leads when the old one is gone: to the source at the port of sent-by.
/// A `maddr` that is a name, a broadcast, multicast or unspecified address is not followed: one request must not become many.
pub(crate) fn reply_address(via: &Via<'_>, transport: Transport, source: SocketAddr) -> SocketAddr {
    let port = via.port.map_or(transport.default_port(), NonZero::get);
    if transport.reliability() == Reliability::Reliable {
        return SocketAddr::new(source.ip(), port);
    }
    if let Some(maddr) = via.params.get("maddr").and_then(crate::uri::ip).filter(is_followed) {
        return SocketAddr::new(maddr, port);
    }
    if via.params.get("rport").is_some() { source } else { SocketAddr::new(source.ip(), port) }
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
    use crate::headers::Header;

    fn stamp(value: &str, source: &str) -> (std::string::String, SocketAddr) {
        let via = Via::list(value.as_bytes()).next().unwrap().unwrap();
        let source = source.parse().unwrap();
        let mut out = Vec::new();
        stamped_via(&mut out, value.as_bytes(), &via, source);
        (std::string::String::from_utf8(out).unwrap(), reply_address(&via, Transport::Udp, source))
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
