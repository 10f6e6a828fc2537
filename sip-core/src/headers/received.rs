//! What a server writes into the top Via: where the request came from (RFC 3261 §18.2.1, RFC 3581 §4).

use super::Via;
use crate::message::push_number;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// Appends the value of the top Via as this side hands it back: with `received` where the source differs from sent-by or
/// `rport` asks for it, and with `rport` filled. `value` is the whole field; what stands behind the first element of its
/// comma list is copied.
pub(crate) fn stamped_via(out: &mut Vec<u8>, value: &[u8], via: &Via<'_>, source: SocketAddr) {
    // A socket for both families shows IPv4 addresses inside IPv6 ones.
    let ip = source.ip().to_canonical();
    let [rport, received] = via.params.have(["rport", "received"]);
    let differs = crate::uri::ip(via.host) != Some(ip);
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
