//! Authentication: challenges, credentials, Authentication-Info (RFC 3261 §20.6, §20.7, §20.27, §20.28, §20.44; RFC 7616;
//! RFC 8898).

use super::shapes::debug;
use super::{Header, Name, value};
use crate::message::Error;
use crate::message::lex::{self, Lexed};
use alloc::vec::Vec;
use core::fmt;

/// `name=value` pairs between commas, as they stand; or the one opaque word that some schemes have.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct AuthParams<'a>(&'a [u8]);

impl<'a> AuthParams<'a> {
    /// Parses a whole list of them.
    ///
    /// # Errors
    /// Where the list breaks its grammar.
    pub fn parse(input: &'a [u8]) -> Result<Self, Error> {
        lex::complete(input, Self::lex)
            .map_err(|offset| Error::new(offset, crate::message::ErrorKind::Syntax))
    }

    fn lex(input: &'a [u8]) -> Lexed<'a, Self> {
        let mut rest = match pair(input) {
            Ok((rest, _)) => rest,
            // `token68`: what Basic and its like put here.
            Err(_) => lex::parameter_value(input)?.0,
        };
        // What follows a comma and is no pair begins another challenge (RFC 9110 §11.6.1 lets several stand in a field).
        while let Some((after, _)) = lex::past(b',', rest).and_then(|after| pair(after).ok()) {
            rest = after;
        }
        Ok((rest, Self(input.get(..input.len() - rest.len()).unwrap_or_default())))
    }

    /// Names and values in their order; quotes are taken off, escapes left as they are.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut rest = Some(self.0);
        core::iter::from_fn(move || {
            let (after, found) = pair(rest?).ok()?;
            rest = lex::past(b',', after);
            Some(found)
        })
    }

    /// The value of a parameter, its name compared without case.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The parameters as they stand.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }
}

/// `token EQUAL ( token / quoted-string )`
fn pair(input: &[u8]) -> Lexed<'_, (&[u8], &[u8])> {
    let (rest, name) = lex::token(input)?;
    let Some(text) = lex::past(b'=', rest) else { return lex::fail(rest) };
    lex::parameter_value(text).map(|(rest, text)| (rest, (name, text)))
}

impl fmt::Debug for AuthParams<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

macro_rules! schemes {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name<'a> {
            /// `Digest`, `Bearer`, `Basic` …
            pub scheme: &'a [u8],
            /// `realm`, `nonce`, `response` …
            pub params: AuthParams<'a>,
        }

        impl $name<'_> {
            /// Whether this is of the scheme `scheme`, without case.
            pub fn is(&self, scheme: &str) -> bool {
                self.scheme.eq_ignore_ascii_case(scheme.as_bytes())
            }
        }

        impl<'a> Header<'a> for $name<'a> {
            const NAME: Name = Name::$name;

            fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
                value(input, |input| {
                    let (rest, scheme) = lex::token(input)?;
                    let (rest, ()) = lex::lws1(rest)?;
                    let (rest, params) = AuthParams::lex(rest)?;
                    Ok((rest, Self { scheme, params }))
                })
            }

            fn emit(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.scheme);
                out.push(b' ');
                out.extend_from_slice(self.params.as_bytes());
            }
        }

        debug!($name<'_>);
    )*};
}

schemes! {
    /// One challenge of a user agent server or registrar.
    WwwAuthenticate
    /// One challenge of a proxy.
    ProxyAuthenticate
    /// Credentials for a user agent server or registrar.
    Authorization
    /// Credentials for a proxy.
    ProxyAuthorization
}

/// What a server says once it has authenticated a client: `nextnonce`, `rspauth` …
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuthenticationInfo<'a>(pub AuthParams<'a>);

impl<'a> Header<'a> for AuthenticationInfo<'a> {
    const NAME: Name = Name::AuthenticationInfo;

    fn parse(input: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        value(input, AuthParams::lex).map(|(params, rest)| (Self(params), rest))
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }
}

debug!(AuthenticationInfo<'_>);
