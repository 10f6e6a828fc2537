//! Via (RFC 3261 §20.42, RFC 3581).

use super::params::is_name;
use super::shapes::debug;
use super::{Asks, Header, Name, Params, value};
use crate::message::lex::{self, Lexed};
use crate::message::{Error, Span, ViaSpans, push_number};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::num::NonZero;
use nom::Parser;
use nom::sequence::{separated_pair, terminated};

/// One Via: who sent the request over what, and how the response finds back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Via<'a> {
    /// The transport token: `UDP`, `TCP`, `TLS`, `WS` …
    pub transport: &'a [u8],
    /// The host of sent-by.
    pub host: &'a [u8],
    /// The port of sent-by, if one is given.
    pub port: Option<NonZero<u16>>,
    /// The parameters.
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    fn lex(input: &'a [u8]) -> Lexed<'a, Self> {
        Self::lex_noting(input).map(|(rest, (via, ..))| (rest, via))
    }

    /// Parses a Via, and finds on the way its branch and what it asks for.
    fn lex_noting(input: &'a [u8]) -> Lexed<'a, (Self, &'a [u8], Asks)> {
        let (rest, (transport, host)) = separated_pair(sent_protocol, lex::lws1, lex::host).parse(input)?;
        // A colon that no port follows is a port that is none.
        let (rest, port) = match lex::separator(b':')(rest) {
            Ok((port, ())) => lex::port(port)?,
            Err(_) => (rest, 0),
        };
        let (mut branch, mut asks) = (None, Asks::default());
        let (rest, params) = Params::lex_seeing(rest, |name, value| {
            if branch.is_none() && is_name(name, "branch") {
                branch = Some(value);
            }
            asks.note(name);
        })?;
        let via = Self { transport, host, port: NonZero::new(port), params };
        Ok((rest, (via, branch.unwrap_or_default(), asks)))
    }

    /// The branch parameter.
    pub fn branch(&self) -> Option<&'a [u8]> {
        self.params.get("branch")
    }

    /// Where the request came from, if a server wrote it there.
    pub fn received(&self) -> Option<IpAddr> {
        crate::uri::ip(self.params.get("received")?)
    }

    /// The port it came from, if a server wrote it there.
    pub fn rport(&self) -> Option<u16> {
        self.params.number("rport")
    }

    /// Where the parts of the first Via of a field lie in the message. Behind it stands a comma and more, or nothing.
    pub(crate) fn index(value: &'a [u8], whole: &[u8]) -> Result<ViaSpans, usize> {
        let behind = |input| match lex::separator(b',')(input) {
            Ok(_) => Ok((&b""[..], ())),
            Err(_) => Ok((input, ())),
        };
        let (via, branch, asks) = lex::complete(value, terminated(Self::lex_noting, behind))?;
        Ok(ViaSpans {
            transport: Span::of(whole, via.transport),
            host: Span::of(whole, via.host),
            port: via.port.map_or(0, NonZero::get),
            params: Span::of(whole, via.params.as_bytes()),
            branch: Span::of(whole, branch),
            asks,
        })
    }
}

/// `sent-protocol`: the transport, if the protocol is SIP of some version.
#[inline]
fn sent_protocol(input: &[u8]) -> Lexed<'_, &[u8]> {
    if let Some(transport @ [b'A'..=b'Z', ..]) = input.strip_prefix(b"SIP/2.0/") {
        return lex::token(transport);
    }
    let slash = lex::separator(b'/');
    let (rest, (name, (), _, (), transport)) =
        (lex::token, &slash, lex::token, &slash, lex::token).parse(input)?;
    if name.eq_ignore_ascii_case(b"SIP") { Ok((rest, transport)) } else { lex::fail(input) }
}

impl<'a> Header<'a> for Via<'a> {
    const NAME: Name = Name::Via;

    fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        value(input, Self::lex)
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"SIP/2.0/");
        out.extend_from_slice(self.transport);
        out.push(b' ');
        out.extend_from_slice(self.host);
        if let Some(port) = self.port {
            out.push(b':');
            push_number(out, u64::from(port.get()));
        }
        out.extend_from_slice(self.params.as_bytes());
    }
}

debug!(Via<'_>);
