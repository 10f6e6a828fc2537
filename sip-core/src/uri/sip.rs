//! SIP and SIPS URIs (RFC 3261 §19.1.1).

use super::text;
use crate::message::{Error, ErrorKind, lex};
use core::fmt;
use core::net::IpAddr;
use core::num::NonZero;

/// A SIP or SIPS URI; every part as it is spelt, escapes included.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SipUri<'a> {
    /// `sips:`
    pub secure: bool,
    /// The user part.
    pub user: Option<&'a [u8]>,
    /// The password behind the user; its use is discouraged.
    pub password: Option<&'a [u8]>,
    /// A name, an IPv4 address, or an IPv6 reference with its brackets.
    pub host: &'a [u8],
    /// The port, if one is given: no port is not the same as the default port (§19.1.4).
    pub port: Option<NonZero<u16>>,
    /// The parameters.
    pub params: UriParams<'a>,
    /// What stands behind `?`; empty if there is none.
    pub headers: &'a [u8],
}

impl<'a> SipUri<'a> {
    /// `text` is what stands behind the scheme and its colon. The error is an offset.
    #[inline]
    pub(super) fn parse(secure: bool, text: &'a [u8]) -> Result<Self, usize> {
        // What may stand in a user part may stand in the rest too: the user ends at the first `@`.
        let (user, password, rest) = match lex::user(text) {
            (userinfo, [b'@', rest @ ..]) => match userinfo.iter().position(|byte| *byte == b':') {
                None if !userinfo.is_empty() => (Some(userinfo), None, rest),
                None | Some(0) => return Err(0),
                Some(colon) => (userinfo.get(..colon), userinfo.get(colon + 1..), rest),
            },
            _ => (None, None, text),
        };
        let fault = |fault| text.len() - lex::left(fault);
        let (rest, host) = lex::host(rest).map_err(fault)?;
        let (rest, port) = match rest {
            [b':', rest @ ..] => lex::port(rest).map_err(fault)?,
            _ => (rest, 0),
        };
        let (rest, params) = UriParams::lex(rest).map_err(fault)?;
        let headers = match rest {
            [] => rest,
            [b'?', rest @ ..] if !rest.is_empty() && lex::is_uri_text(rest) && !rest.contains(&b'@') => rest,
            _ => return Err(text.len() - rest.len()),
        };
        Ok(Self { secure, user, password, host, port: NonZero::new(port), params, headers })
    }

    /// The address that the host is, if it is no name.
    pub fn host_ip(&self) -> Option<IpAddr> {
        super::ip(self.host)
    }
}

/// The parameters of a SIP, SIPS or tel URI.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct UriParams<'a>(&'a [u8]);

impl<'a> UriParams<'a> {
    /// Parses parameters, each with its semicolon: `;transport=tcp;lr`.
    ///
    /// # Errors
    /// Where they break their grammar.
    pub fn parse(text: &'a [u8]) -> Result<Self, Error> {
        lex::complete(text, Self::lex).map_err(|offset| Error::new(offset, ErrorKind::Syntax))
    }

    /// `*( ";" pname [ "=" pvalue ] )`
    #[inline]
    pub(super) fn lex(input: &'a [u8]) -> lex::Lexed<'a, Self> {
        let mut rest = input;
        while let [b';', tail @ ..] = rest {
            let ((_, _), left) = split_param(tail);
            let length = tail.len() - left.len();
            match tail.get(..length) {
                Some([first, ..]) if *first != b'=' => rest = left,
                _ => return lex::fail(tail),
            }
        }
        let length = input.len() - rest.len();
        Ok((rest, Self(input.get(..length).unwrap_or_default())))
    }

    /// Names and values in their order; a parameter without a value has an empty one.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let [b';', tail @ ..] = rest else { return None };
            let (param, left) = split_param(tail);
            rest = left;
            Some(param)
        })
    }

    /// The value of a parameter, its name compared without case.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The parameters as they stand, each with its semicolon.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }
}

/// The parameter at the start of `input`, and what is behind it.
#[inline]
fn split_param(input: &[u8]) -> ((&[u8], &[u8]), &[u8]) {
    let (name, rest) = lex::uri_param_name(input);
    match rest {
        [b'=', rest @ ..] => {
            let (value, rest) = lex::uri_param_value(rest);
            ((name, value), rest)
        }
        _ => ((name, b""), rest),
    }
}

impl fmt::Display for SipUri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secure { "sips:" } else { "sip:" })?;
        if let Some(user) = self.user {
            f.write_str(text(user))?;
            if let Some(password) = self.password {
                write!(f, ":{}", text(password))?;
            }
            f.write_str("@")?;
        }
        f.write_str(text(self.host))?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(text(self.params.0))?;
        if !self.headers.is_empty() {
            write!(f, "?{}", text(self.headers))?;
        }
        Ok(())
    }
}

impl fmt::Debug for SipUri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for UriParams<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}
