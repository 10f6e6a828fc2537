//! Who is who: From, To, Reply-To (RFC 3261 §20), asserted identities (RFC 3325), retargeting (RFC 7044, RFC 5806), Privacy
//! (RFC 3323).

use super::shapes::{addresses, debug};
use super::{Address, Header, Name, value};
use crate::message::Error;
use crate::message::lex::{self, Lexed};
use alloc::vec::Vec;

addresses! {
    /// The initiator of a request.
    From(Address::lex);
    /// The logical recipient of a request.
    To(Address::lex);
    /// Where a reply call goes.
    ReplyTo(Address::lex);
    /// One identity that a trusted network vouches for: a SIP or SIPS URI, a tel URI, or one of each.
    PAssertedIdentity(Address::lex);
    /// One identity that the user agent would like to be asserted.
    PPreferredIdentity(Address::lex);
    /// One target on the way of a request.
    HistoryInfo(Address::lex_route);
    /// One element that diverted a call.
    Diversion(Address::lex_route);
}

impl<'a> HistoryInfo<'a> {
    /// The place in the tree of targets: numbers joined by dots.
    pub fn index(&self) -> Option<&'a [u8]> {
        self.0.params.get("index")
    }
}

impl<'a> Diversion<'a> {
    /// Why the call was diverted: `unconditional`, `user-busy`, `no-answer` …
    pub fn reason(&self) -> Option<&'a [u8]> {
        self.0.params.get("reason")
    }
}

/// What privacy is asked for: `id`, `header`, `session`, `user`, `critical`, `none`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Privacy<'a>(&'a [u8]);

impl<'a> Privacy<'a> {
    /// The values in their order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.0.split(|byte| *byte == b';').map(lex::trim)
    }

    /// Whether `value` is asked for, without case.
    pub fn has(&self, value: &str) -> bool {
        self.iter().any(|found| found.eq_ignore_ascii_case(value.as_bytes()))
    }

    fn lex(input: &'a [u8]) -> Lexed<'a, Self> {
        let (mut rest, _) = lex::token(input)?;
        while let Some(after) = lex::past(b';', rest) {
            rest = lex::token(after)?.0;
        }
        Ok((rest, Self(input.get(..input.len() - rest.len()).unwrap_or_default())))
    }
}

impl<'a> Header<'a> for Privacy<'a> {
    const NAME: Name = Name::Privacy;

    fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        value(input, Self::lex)
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0);
    }
}

debug!(Privacy<'_>);
