//! SIP and SIPS URIs (RFC 3261 §19.1.1).

use super::text;
use crate::message::{Error, ErrorKind, lex};
use core::fmt;
use core::net::IpAddr;
use core::num::NonZero;
use nom::Parser;
use nom::combinator::opt;
use nom::sequence::{pair, preceded};

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
    /// `text` is what stands behind the scheme and its colon; its escapes have been checked.
    pub(super) fn parse(secure: bool, text: &'a [u8]) -> Result<Self, Error> {
        let (user, password, rest) = match memchr::memchr(b'@', text) {
            None => (None, None, text),
            Some(at) => {
                let userinfo = text.get(..at).unwrap_or_default();
                let rest = text.get(at + 1..).unwrap_or_default();
                let (user, password) = match memchr::memchr(b':', userinfo) {
                    Some(colon) => (userinfo.get(..colon), userinfo.get(colon + 1..)),
                    None => (Some(userinfo), None),
                };
                let user = user.filter(|user| !user.is_empty() && user.iter().all(|byte| is_user(*byte)));
                if user.is_none()
                    || password.is_some_and(|password| !password.iter().all(|byte| is_user(*byte)))
                {
                    return Err(Error::new(0, ErrorKind::Syntax));
                }
                (user, password, rest)
            }
        };
        let fault = |offset| Error::new(text.len() - rest.len() + offset, ErrorKind::Syntax);
        let hostport = pair(lex::host, opt(preceded(lex::byte(b':'), lex::port)));
        let (host, port, params, headers) = lex::complete(
            rest,
            (hostport, UriParams::lex, headers)
                .map(|((host, port), params, headers)| (host, port, params, headers)),
        )
        .map_err(fault)?;
        Ok(Self { secure, user, password, host, port: port.and_then(NonZero::new), params, headers })
    }

    /// The address that the host is, if it is no name.
    pub fn host_ip(&self) -> Option<IpAddr> {
        super::ip(self.host)
    }
}

/// The user part and the password, without the escapes.
fn is_user(byte: u8) -> bool {
    // unreserved, user-unreserved and `%`; the colon of a telephone subscriber too
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'_'
                | b'.'
                | b'!'
                | b'~'
                | b'*'
                | b'\''
                | b'('
                | b')'
                | b'%'
                | b'&'
                | b'='
                | b'+'
                | b'$'
                | b','
                | b';'
                | b'?'
                | b'/'
                | b':'
                | b'#'
                | b'['
                | b']'
        )
}

/// `paramchar`
fn is_param(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'_'
                | b'.'
                | b'!'
                | b'~'
                | b'*'
                | b'\''
                | b'('
                | b')'
                | b'%'
                | b'['
                | b']'
                | b'/'
                | b':'
                | b'&'
                | b'+'
                | b'$'
                | b','
        )
}

fn headers(input: &[u8]) -> lex::Lexed<'_, &[u8]> {
    match input {
        [] => Ok((input, input)),
        [b'?', rest @ ..] if !rest.is_empty() && !rest.contains(&b'@') => Ok((&[], rest)),
        _ => lex::fail(input),
    }
}

/// The parameters of a SIP, SIPS or tel URI.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct UriParams<'a>(&'a [u8]);

impl<'a> UriParams<'a> {
    /// `*( ";" pname [ "=" pvalue ] )`
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
fn split_param(input: &[u8]) -> ((&[u8], &[u8]), &[u8]) {
    let end = input.iter().position(|byte| !is_param(*byte)).unwrap_or(input.len());
    let (name, rest) = input.split_at_checked(end).unwrap_or_default();
    match rest {
        [b'=', value @ ..] => {
            let end = value.iter().position(|byte| !is_param(*byte) && *byte != b'=').unwrap_or(value.len());
            let (value, rest) = value.split_at_checked(end).unwrap_or_default();
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
