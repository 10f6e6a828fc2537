//! URIs: SIP and SIPS (RFC 3261 §19.1), tel (RFC 3966), and any other scheme as opaque text.

mod compare;
mod escape;
mod sip;
mod tel;

pub(crate) use compare::hosts as same_host;
pub(crate) use escape::{escaped, unescaped, unescaped_bytes};
pub use sip::{SipUri, UriParams};
pub use tel::TelUri;

use crate::message::{Error, ErrorKind, lex};
use core::fmt;
use core::net::Ipv6Addr;

/// A URI, borrowed from the text it was parsed from.
///
/// `==` compares the parts as they are spelt; [`equivalent`](Self::equivalent) by the rules of the scheme.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Uri<'a> {
    /// `sip:` or `sips:`
    Sip(SipUri<'a>),
    /// `tel:`
    Tel(TelUri<'a>),
    /// The whole text of a URI of another scheme.
    Other(&'a [u8]),
}

impl<'a> Uri<'a> {
    /// Parses a whole URI.
    ///
    /// # Errors
    /// No scheme, bytes that no URI may hold, or a SIP, SIPS or tel URI that breaks its grammar.
    pub fn parse(text: &'a [u8]) -> Result<Self, Error> {
        Self::lex(text).map_err(|offset| Error::new(offset, ErrorKind::Syntax))
    }

    #[inline]
    fn lex(text: &'a [u8]) -> Result<Self, usize> {
        match text {
            [b's' | b'S', b'i' | b'I', b'p' | b'P', b':', rest @ ..] => {
                SipUri::parse(false, rest).map(Self::Sip).map_err(|offset| 4 + offset)
            }
            [b's' | b'S', b'i' | b'I', b'p' | b'P', b's' | b'S', b':', rest @ ..] => {
                SipUri::parse(true, rest).map(Self::Sip).map_err(|offset| 5 + offset)
            }
            [b't' | b'T', b'e' | b'E', b'l' | b'L', b':', rest @ ..] => {
                TelUri::parse(rest).map(Self::Tel).map_err(|offset| 4 + offset)
            }
            _ => match lex::complete(text, lex::uri)? {
                _ if memchr::memchr(b':', text) == Some(text.len() - 1) || !lex::is_uri_text(text) => {
                    Err(text.len())
                }
                whole => Ok(Self::Other(whole)),
            },
        }
    }

    /// The SIP or SIPS URI, if it is one.
    pub const fn as_sip(&self) -> Option<&SipUri<'a>> {
        match self {
            Self::Sip(sip) => Some(sip),
            _ => None,
        }
    }

    /// Whether both name the same resource: RFC 3261 §19.1.4 for SIP and SIPS, RFC 3966 §4 for tel, byte by byte
    /// for others. Reflexive and symmetric; not transitive, because parameters that only one side has are ignored.
    pub fn equivalent(&self, other: &Uri<'_>) -> bool {
        compare::uris(self, other)
    }
}

/// Whether this is a SIPS URI, by its scheme.
pub(crate) fn is_sips(uri: &[u8]) -> bool {
    uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sips:"))
}

/// A URI without its headers, which no Request-URI has (RFC 3261 §19.1.1).
pub(crate) fn without_headers(text: &[u8]) -> &[u8] {
    let parsed = Uri::parse(text).ok();
    let headers = parsed.as_ref().and_then(Uri::as_sip).map_or(0, |sip| sip.headers.len());
    let cut = if headers == 0 { 0 } else { headers + 1 };
    text.get(..text.len().saturating_sub(cut)).unwrap_or_default()
}

/// `[…]` around an IPv6 address (RFC 5954).
pub(crate) fn is_ipv6_reference(host: &[u8]) -> bool {
    ipv6(host).is_some()
}

/// The address of an IPv6 reference.
pub(crate) fn ipv6(host: &[u8]) -> Option<Ipv6Addr> {
    let inside = host.strip_prefix(b"[")?.strip_suffix(b"]")?;
    core::str::from_utf8(inside).ok()?.parse().ok()
}

/// The address that a host is, if it is one: IPv4, or IPv6 with or without brackets.
pub(crate) fn ip(host: &[u8]) -> Option<core::net::IpAddr> {
    if let Some(v6) = ipv6(host) {
        return Some(v6.into());
    }
    core::str::from_utf8(host).ok()?.parse().ok()
}

/// A part of a URI as text: what was parsed is printable ASCII.
fn text(part: &[u8]) -> &str {
    core::str::from_utf8(part).unwrap_or_default()
}

impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sip(uri) => fmt::Display::fmt(uri, f),
            Self::Tel(uri) => fmt::Display::fmt(uri, f),
            Self::Other(whole) => f.write_str(text(whole)),
        }
    }
}

impl fmt::Debug for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
