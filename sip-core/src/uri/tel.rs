//! Telephone numbers as URIs (RFC 3966).

use super::{UriParams, text};
use crate::message::lex;
use core::fmt;

/// A tel URI.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TelUri<'a> {
    /// The number with its visual separators; a global one begins with `+`.
    pub number: &'a [u8],
    /// The parameters.
    pub params: UriParams<'a>,
}

impl<'a> TelUri<'a> {
    /// `text` is what stands behind `tel:`. The error is an offset.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, usize> {
        let end = memchr::memchr(b';', text).unwrap_or(text.len());
        let (number, rest) = text.split_at_checked(end).unwrap_or_default();
        let params = lex::complete(rest, UriParams::lex).map_err(|offset| end + offset)?;
        let uri = Self { number, params };
        let sound = match number {
            [b'+', digits @ ..] => {
                digits.iter().any(u8::is_ascii_digit) && digits.iter().all(|byte| is_phone_digit(*byte))
            }
            // §5.1.5: a local number means something only within its context.
            local => {
                local.iter().any(|byte| !is_separator(*byte))
                    && local.iter().all(|byte| {
                        is_phone_digit(*byte) || byte.is_ascii_hexdigit() || matches!(byte, b'*' | b'#')
                    })
                    && params.get("phone-context").is_some_and(|context| !context.is_empty())
            }
        };
        if sound { Ok(uri) } else { Err(0) }
    }

    /// Whether the number is global: written from the country code on.
    pub fn is_global(&self) -> bool {
        self.number.starts_with(b"+")
    }

    /// The digits without the visual separators.
    pub fn digits(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.number.iter().copied().filter(|byte| !is_separator(*byte)).map(|byte| byte.to_ascii_lowercase())
    }
}

const fn is_separator(byte: u8) -> bool {
    matches!(byte, b'-' | b'.' | b'(' | b')')
}

const fn is_phone_digit(byte: u8) -> bool {
    byte.is_ascii_digit() || is_separator(byte)
}

impl fmt::Display for TelUri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tel:{}{}", text(self.number), text(self.params.as_bytes()))
    }
}

impl fmt::Debug for TelUri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
