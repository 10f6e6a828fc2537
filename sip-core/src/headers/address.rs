//! Addresses: what From, To, Route, Contact and many more are made of (RFC 3261 §20.10, §25.1).

use super::{Params, value};
use crate::message::lex::{self, Lexed};
use crate::message::{AddressSpans, Error, ErrorKind, Span};
use crate::uri::Uri;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use nom::Parser;
use nom::sequence::terminated;

/// `( name-addr / addr-spec ) *( SEMI generic-param )`
#[derive(Clone, Copy, Default, PartialEq, Eq)]
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
        Self::lex_tagged(input).map(|(rest, (address, _))| (rest, address))
    }

    /// `name-addr *( SEMI rr-param )`: here the angle brackets are a must.
    pub(crate) fn lex_route(input: &'a [u8]) -> Lexed<'a, Self> {
        let (rest, (display, uri_bytes)) = name_addr(input)?;
        let (rest, params) = Params::lex(rest)?;
        Ok((rest, Self { display, uri_bytes, params }))
    }

    /// `LAQUOT absoluteURI RAQUOT *( SEMI param )`: no display name either.
    pub(crate) fn lex_angle(input: &'a [u8]) -> Lexed<'a, Self> {
        if input.starts_with(b"<") { Self::lex_route(input) } else { lex::fail(input) }
    }

    /// Parses an address, and finds its tag on the way.
    pub(crate) fn lex_tagged(input: &'a [u8]) -> Lexed<'a, (Self, Option<&'a [u8]>)> {
        // The commonest form, without detours: long lists are made of it.
        if let [b'<', bracketed @ ..] = input {
            let (rest, uri_bytes) = lex::uri(bracketed)?;
            let [b'>', rest @ ..] = rest else { return lex::fail(rest) };
            let (rest, (params, tag)) = Params::lex_and_get(rest, "tag")?;
            return Ok((rest, (Self { display: b"", uri_bytes, params }, tag)));
        }
        let (rest, (display, uri_bytes)) = match name_addr(input) {
            Err(_) => lex::bare_uri(input).map(|(rest, uri)| (rest, (&b""[..], uri)))?,
            name_addr => name_addr?,
        };
        let (rest, (params, tag)) = Params::lex_and_get(rest, "tag")?;
        Ok((rest, (Self { display, uri_bytes, params }, tag)))
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

    /// Where the parts of a field that holds one address lie in the message.
    pub(crate) fn index(value: &'a [u8], whole: &[u8]) -> Result<AddressSpans, usize> {
        let (address, tag) = lex::complete(value, Self::lex_tagged)?;
        Ok(AddressSpans {
            display: Span::of(whole, address.display),
            uri: Span::of(whole, address.uri_bytes),
            params: Span::of(whole, address.params.as_bytes()),
            tag: Span::of(whole, tag.unwrap_or_default()),
        })
    }

    pub(crate) fn from_spans(spans: AddressSpans, whole: &'a [u8]) -> Self {
        Self {
            display: spans.display.get(whole),
            uri_bytes: spans.uri.get(whole),
            params: Params::new(spans.params.get(whole)),
        }
    }
}

/// `name-addr`: the display name and the text of the URI.
#[inline]
fn name_addr(input: &[u8]) -> Lexed<'_, (&[u8], &[u8])> {
    let (rest, display) = display_name(input)?;
    let (rest, ()) = lex::byte(b'<')(rest)?;
    let (rest, uri) = lex::uri(rest)?;
    let (rest, ()) = lex::byte(b'>')(rest)?;
    Ok((rest, (display, uri)))
}

/// `[ display-name ]`: a quoted string, or words with blanks between them.
fn display_name(input: &[u8]) -> Lexed<'_, &[u8]> {
    match input {
        [b'<', ..] => Ok((input, b"")),
        [b'"', ..] => terminated(lex::quoted, lex::lws).parse(input),
        _ => words(input),
    }
}

/// `*(token LWS)`, the last blank optional: a fault of the grammar that RFC 4475 §3.1.1.6 names.
fn words(input: &[u8]) -> Lexed<'_, &[u8]> {
    let mut rest = input;
    while let Ok((after, _)) = terminated(lex::display_word, lex::lws).parse(rest) {
        rest = after;
    }
    let length = input.len() - rest.len();
    Ok((rest, lex::trim(input.get(..length).unwrap_or_default())))
}

impl fmt::Debug for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::new();
        self.emit(&mut out);
        write!(f, "{}", out.escape_ascii())
    }
}
/// An address as it stands, but for the scheme of its URI: SIPS or SIP (RFC 5630 §5.1.1). What has another scheme keeps that.
pub(crate) fn with_scheme(value: &str, secure: bool) -> String {
    let (old, new) = if secure { ("sip:", "sips:") } else { ("sips:", "sip:") };
    let uri = Address::whole(value.as_bytes()).map(|address| address.uri_bytes).unwrap_or_default();
    let has_old = uri.get(..old.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(old.as_bytes()));
    let at = uri.as_ptr().addr().wrapping_sub(value.as_ptr().addr());
    match (value.get(..at), value.get(at.wrapping_add(old.len())..)) {
        (Some(before), Some(after)) if has_old => [before, new, after].concat(),
        _ => value.into(),
    }
}
