//! Addresses: From, To, Route, Record-Route, and what Contact is made of (RFC 3261 §20.10, §25.1).

use super::{Header, Name, Params, value};
use crate::message::lex::{self, Lexed};
use crate::message::{AddressSpans, Error, ErrorKind, Span};
use crate::uri::Uri;
use alloc::vec::Vec;
use nom::Parser;
use nom::branch::alt;
use nom::combinator::{opt, peek};
use nom::sequence::{delimited, pair, preceded, terminated};

/// `( name-addr / addr-spec ) *( SEMI generic-param )`
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Address<'a> {
    /// The display name without its quotes, escapes left as they are; empty if there is none.
    pub display: &'a [u8],
    /// The text of the URI.
    pub uri_bytes: &'a [u8],
    /// The header parameters. Without angle brackets every parameter is one of the header (RFC 8217).
    pub params: Params<'a>,
}

impl<'a> Address<'a> {
    pub(crate) fn lex(input: &'a [u8]) -> Lexed<'a, Self> {
        let angle = delimited(lex::byte(b'<'), lex::uri, lex::byte(b'>'));
        let bare = lex::bare_uri.map(|uri| (&b""[..], uri));
        let (rest, ((display, uri_bytes), params)) =
            pair(alt((pair(display_name, angle), bare)), Params::lex).parse(input)?;
        Ok((rest, Self { display, uri_bytes, params }))
    }

    /// Parses a value that holds one address.
    ///
    /// # Errors
    /// The value is no address, or more than one.
    pub fn whole(input: &'a [u8]) -> Result<Self, Error> {
        match value(input, Self::lex)? {
            (address, []) => Ok(address),
            (_, rest) => Err(Error::new(input.len() - rest.len(), ErrorKind::Syntax)),
        }
    }

    /// The URI.
    ///
    /// # Errors
    /// It does not follow the grammar of its scheme: only that it is some URI was checked before.
    pub fn uri(&self) -> Result<Uri<'a>, Error> {
        Uri::parse(self.uri_bytes)
    }

    /// The `tag` parameter.
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.params.get("tag")
    }

    /// Appends the address, its URI in angle brackets.
    pub fn emit(&self, out: &mut Vec<u8>) {
        if !self.display.is_empty() {
            out.push(b'"');
            out.extend_from_slice(self.display);
            out.extend_from_slice(b"\" ");
        }
        out.push(b'<');
        out.extend_from_slice(self.uri_bytes);
        out.push(b'>');
        out.extend_from_slice(self.params.as_bytes());
    }

    pub(crate) fn spans(&self, whole: &[u8]) -> AddressSpans {
        AddressSpans {
            display: Span::of(whole, self.display),
            uri: Span::of(whole, self.uri_bytes),
            params: Span::of(whole, self.params.as_bytes()),
            tag: Span::of(whole, self.tag().unwrap_or_default()),
        }
    }

    pub(crate) fn from_spans(spans: AddressSpans, whole: &'a [u8]) -> Self {
        Self {
            display: spans.display.get(whole),
            uri_bytes: spans.uri.get(whole),
            params: Params::new(spans.params.get(whole)),
        }
    }
}

/// `[ display-name ]` before an angle bracket: a quoted string, or tokens with blanks between them.
fn display_name(input: &[u8]) -> Lexed<'_, &[u8]> {
    let bracket = preceded(lex::lws, peek(lex::byte(b'<')));
    let (rest, name) = alt((lex::quoted, tokens.map(lex::trim))).parse(input)?;
    let (rest, ()) = terminated(lex::lws, opt(bracket)).parse(rest)?;
    Ok((rest, name))
}

/// `*(token LWS)`, the last blank optional: a fault of the grammar that RFC 4475 §3.1.1.6 names.
fn tokens(input: &[u8]) -> Lexed<'_, &[u8]> {
    let mut rest = input;
    while let Ok((after, _)) = terminated(word, lex::lws).parse(rest) {
        rest = after;
    }
    let length = input.len() - rest.len();
    Ok((rest, input.get(..length).unwrap_or_default()))
}

/// A token; text beyond ASCII is let through, because phones put it here unquoted.
fn word(input: &[u8]) -> Lexed<'_, &[u8]> {
    let end = input
        .iter()
        .position(|byte| *byte < 0x80 && !lex::is_token(core::slice::from_ref(byte)))
        .unwrap_or(input.len());
    match input.split_at_checked(end) {
        Some((found, rest)) if end > 0 => Ok((rest, found)),
        _ => lex::fail(input),
    }
}

macro_rules! routes {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name<'a>(pub Address<'a>);

        impl<'a> Header<'a> for $name<'a> {
            const NAME: Name = Name::$name;

            fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
                value(input, route).map(|(address, rest)| (Self(address), rest))
            }

            fn emit(&self, out: &mut Vec<u8>) {
                self.0.emit(out);
            }
        }
    )*};
}

routes! {
    /// One element of a Route header (RFC 3261 §20.34).
    Route
    /// One element of a Record-Route header (RFC 3261 §20.30).
    RecordRoute
}

/// `name-addr *( SEMI rr-param )`: here the angle brackets are a must.
fn route(input: &[u8]) -> Lexed<'_, Address<'_>> {
    let angle = delimited(lex::byte(b'<'), lex::uri, lex::byte(b'>'));
    let (rest, ((display, uri_bytes), params)) = pair(pair(display_name, angle), Params::lex).parse(input)?;
    Ok((rest, Address { display, uri_bytes, params }))
}
