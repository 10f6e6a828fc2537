//! Via (RFC 3261 §20.42, RFC 3581).

use super::{Header, Name, Params, value};
use crate::message::lex::{self, Lexed};
use crate::message::{Error, Span, ViaSpans, push_number};
use alloc::vec::Vec;
use core::num::NonZero;
use nom::Parser;
use nom::combinator::opt;
use nom::sequence::{preceded, terminated};

/// One Via: who sent the request over what, and how the response finds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        let slash = lex::separator(b'/');
        let protocol = (lex::token, &slash, lex::token, &slash, lex::token);
        let port = opt(preceded(lex::separator(b':'), lex::port));
        let (rest, ((name, (), _, (), transport), host, port, params)) =
            (terminated(protocol, lex::lws1), lex::host, port, Params::lex).parse(input)?;
        if !name.eq_ignore_ascii_case(b"SIP") {
            return lex::fail(input);
        }
        // A colon that no port follows is a port that is none.
        if port.is_none() && lex::separator(b':')(rest).is_ok() {
            return lex::fail(rest);
        }
        Ok((rest, Self { transport, host, port: port.and_then(NonZero::new), params }))
    }

    /// The branch parameter.
    pub fn branch(&self) -> Option<&'a [u8]> {
        self.params.get("branch")
    }

    pub(crate) fn spans(&self, whole: &[u8]) -> ViaSpans {
        ViaSpans {
            transport: Span::of(whole, self.transport),
            host: Span::of(whole, self.host),
            port: self.port.map_or(0, NonZero::get),
            params: Span::of(whole, self.params.as_bytes()),
            branch: Span::of(whole, self.branch().unwrap_or_default()),
        }
    }
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
