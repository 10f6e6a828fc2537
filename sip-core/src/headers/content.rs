//! What a body is: Content-Type, Content-Disposition, Content-Encoding, Content-Language, MIME-Version, and what the sender
//! accepts (RFC 3261 §20.1 to §20.3, §20.11 to §20.15, §20.24).

use super::shapes::{debug, words, words_with_params};
use super::{Header, Name, Params, value};
use crate::message::{Error, lex};
use alloc::vec::Vec;
use nom::Parser;
use nom::sequence::{pair, separated_pair};

macro_rules! media_types {
    ($($(#[$doc:meta])* $name:ident $($empty:ident)?;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name<'a> {
            /// `application` in `application/sdp`
            pub kind: &'a [u8],
            /// `sdp` in `application/sdp`
            pub subtype: &'a [u8],
            /// The parameters.
            pub params: Params<'a>,
        }

        impl $name<'_> {
            /// Whether this is the media type `kind/subtype`, without case.
            pub fn is(&self, kind: &str, subtype: &str) -> bool {
                self.kind.eq_ignore_ascii_case(kind.as_bytes())
                    && self.subtype.eq_ignore_ascii_case(subtype.as_bytes())
            }
        }

        impl<'a> Header<'a> for $name<'a> {
            const NAME: Name = Name::$name;
            $(const $empty: bool = true;)?

            fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
                value(input, |input| {
                    pair(separated_pair(lex::token, lex::separator(b'/'), lex::token), Params::lex)
                        .map(|((kind, subtype), params)| Self { kind, subtype, params })
                        .parse(input)
                })
            }

            fn emit(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.kind);
                out.push(b'/');
                out.extend_from_slice(self.subtype);
                out.extend_from_slice(self.params.as_bytes());
            }
        }

        debug!($name<'_>);
    )*};
}

media_types! {
    /// The media type of the body.
    ContentType;
    /// One media range that the sender takes: `*/*` is any. None if the value is empty.
    Accept EMPTY;
}

words_with_params! {
    /// What the body is for.
    ContentDisposition(
        /// `session`, `render`, `icon`, `alert`, `by-reference` …
        kind: lex::token
    );
    /// One coding that the sender takes.
    AcceptEncoding(
        /// `gzip`, `identity`, `*` …
        coding: lex::token
    ) EMPTY;
    /// One language that the sender takes.
    AcceptLanguage(
        /// `en`, `da-DK`, `*` …
        range: lex::token
    ) EMPTY;
}

words! {
    /// One coding that was applied to the body, the first of them first.
    ContentEncoding(lex::token);
    /// One language of the body.
    ContentLanguage(lex::token);
    /// The version of MIME: `1.0`.
    MimeVersion(lex::token);
}

impl ContentDisposition<'_> {
    /// Whether a receiver that can't handle the body must refuse the message (RFC 5621 §8): unless `handling` says `optional`.
    pub fn is_required(&self) -> bool {
        !self.params.get("handling").is_some_and(|handling| handling.eq_ignore_ascii_case(b"optional"))
    }
}
