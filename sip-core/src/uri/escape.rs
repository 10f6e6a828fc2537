//! Escapes in URIs (RFC 3261 §19.1.2).

use alloc::string::String;
use alloc::vec::Vec;

/// A text as the value of a header in a URI: what may not stand there is escaped.
pub(crate) fn escaped(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()[]/?:+$".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.push(DIGITS.get(usize::from(digit)).map_or('0', |digit| char::from(*digit)));
            }
        }
    }
    out
}

/// The text that an escaped one stands for.
pub(crate) fn unescaped(text: &[u8]) -> String {
    String::from_utf8_lossy(&unescaped_bytes(text)).into_owned()
}

/// The bytes that an escaped text stands for.
pub(crate) fn unescaped_bytes(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits =
            after.get(..2).filter(|digits| *first == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let byte = digits.and_then(|digits| u8::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let replaces = "a@b c;to-tag=1%;from-tag=ü";
        assert_eq!(escaped(replaces), "a%40b%20c%3Bto-tag%3D1%25%3Bfrom-tag%3D%C3%BC");
        assert_eq!(unescaped(escaped(replaces).as_bytes()), replaces);
        assert_eq!(unescaped(b"%4g%"), "%4g%");
    }
}
