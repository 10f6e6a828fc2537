//! When two URIs are the same (RFC 3261 §19.1.4, RFC 5954 §4, RFC 3966 §4).

use super::{SipUri, TelUri, Uri, ip};

pub(super) fn uris(left: &Uri<'_>, right: &Uri<'_>) -> bool {
    match (left, right) {
        (Uri::Sip(left), Uri::Sip(right)) => sip(left, right),
        (Uri::Tel(left), Uri::Tel(right)) => tel(left, right),
        (Uri::Other(left), Uri::Other(right)) => left == right,
        _ => false,
    }
}

fn sip(left: &SipUri<'_>, right: &SipUri<'_>) -> bool {
    left.secure == right.secure
        && optional(left.user, right.user, |left, right| unescaped(left).eq(unescaped(right)))
        && optional(left.password, right.password, |left, right| unescaped(left).eq(unescaped(right)))
        && hosts(left.host, right.host)
        && left.port == right.port
        && sip_params(left, right)
        && headers(left.headers, right.headers)
}

fn optional(left: Option<&[u8]>, right: Option<&[u8]>, same: impl Fn(&[u8], &[u8]) -> bool) -> bool {
    match (left, right) {
        (None, None) => true,
        (Some(left), Some(right)) => same(left, right),
        _ => false,
    }
}

/// An escape is the same as the byte it stands for, unless that byte is reserved: `%3B` is no semicolon.
fn unescaped(text: &[u8]) -> impl Iterator<Item = u16> + '_ {
    const ESCAPED: u16 = 0x100;
    let mut rest = text;
    core::iter::from_fn(move || match rest {
        [b'%', high, low, tail @ ..] => {
            rest = tail;
            let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or(0) as u8;
            let byte = digit(high) << 4 | digit(low);
            let reserved =
                matches!(byte, b';' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b'+' | b'$' | b',');
            Some(if reserved { ESCAPED | u16::from(byte) } else { u16::from(byte) })
        }
        [byte, tail @ ..] => {
            rest = tail;
            Some(u16::from(*byte))
        }
        [] => None,
    })
}

fn unescaped_lower(text: &[u8]) -> impl Iterator<Item = u16> + '_ {
    unescaped(text).map(|unit| u8::try_from(unit).map_or(unit, |byte| u16::from(byte.to_ascii_lowercase())))
}

/// Names without case; addresses by value (RFC 5954 §4.2).
pub(crate) fn hosts(left: &[u8], right: &[u8]) -> bool {
    if left.eq_ignore_ascii_case(right) {
        return true;
    }
    match (ip(left), ip(right)) {
        (Some(left), Some(right)) => left == right,
        _ => false,
    }
}

/// A parameter in both must agree; these may not stand in one alone: `user`, `ttl`, `method`, `maddr`, and
/// `transport` (by the examples of §19.1.4), and `gr` (RFC 5627 §4.3). Others in one alone are ignored.
fn sip_params(left: &SipUri<'_>, right: &SipUri<'_>) -> bool {
    const BOTH: [&str; 6] = ["user", "ttl", "method", "maddr", "transport", "gr"];
    if left.params.as_bytes() == right.params.as_bytes() {
        return true;
    }
    if is_long(left.params.as_bytes(), b';') || is_long(right.params.as_bytes(), b';') {
        return false;
    }
    // A name that stands twice, which §19.1.1 forbids, is what it is first.
    let agree = left.params.iter().all(|(name, _)| {
        let name = core::str::from_utf8(name).unwrap_or_default();
        match (left.params.get(name), right.params.get(name)) {
            (Some(value), Some(other)) => unescaped_lower(value).eq(unescaped_lower(other)),
            _ => true,
        }
    });
    agree && BOTH.iter().all(|name| left.params.get(name).is_some() == right.params.get(name).is_some())
}

/// Whether there is more than is compared part by part: each with each would be the square of what a peer sends.
/// Longer lists are the same if their bytes are.
fn is_long(text: &[u8], separator: u8) -> bool {
    text.len() > 2_048 || text.iter().filter(|byte| **byte == separator).count() > 64
}

/// Header components are never ignored; their order does not count.
fn headers(left: &[u8], right: &[u8]) -> bool {
    if left == right {
        return true;
    }
    if is_long(left, b'&') || is_long(right, b'&') {
        return false;
    }
    let parts = |text: &'_ [u8]| text.split(|byte| *byte == b'&').count();
    let within = |left: &[u8], right: &[u8]| {
        left.split(|byte| *byte == b'&').all(|part| {
            let (name, value) = split(part);
            right.split(|byte| *byte == b'&').any(|other| {
                let (other_name, other_value) = split(other);
                unescaped_lower(name).eq(unescaped_lower(other_name))
                    && unescaped(value).eq(unescaped(other_value))
            })
        })
    };
    parts(left) == parts(right) && within(left, right) && within(right, left)
}

fn split(part: &[u8]) -> (&[u8], &[u8]) {
    match part.iter().position(|byte| *byte == b'=') {
        Some(at) => (part.get(..at).unwrap_or_default(), part.get(at + 1..).unwrap_or_default()),
        None => (part, b""),
    }
}

fn tel(left: &TelUri<'_>, right: &TelUri<'_>) -> bool {
    let within = |left: &TelUri<'_>, right: &TelUri<'_>| {
        left.params.iter().all(|(name, _)| {
            let name = core::str::from_utf8(name).unwrap_or_default();
            match (left.params.get(name), right.params.get(name)) {
                (Some([b'+', value @ ..]), Some([b'+', other @ ..])) => digits(value).eq(digits(other)),
                (Some(value), Some(other)) => unescaped_lower(value).eq(unescaped_lower(other)),
                _ => false,
            }
        })
    };
    if is_long(left.params.as_bytes(), b';') || is_long(right.params.as_bytes(), b';') {
        return left == right;
    }
    left.is_global() == right.is_global()
        && left.digits().eq(right.digits())
        && within(left, right)
        && within(right, left)
}

fn digits(text: &[u8]) -> impl Iterator<Item = u8> + '_ {
    text.iter().copied().filter(|byte| !matches!(byte, b'-' | b'.' | b'(' | b')'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(left: &str, right: &str) -> bool {
        let (left, right) = (Uri::parse(left.as_bytes()).unwrap(), Uri::parse(right.as_bytes()).unwrap());
        let result = left.equivalent(&right);
        assert_eq!(result, right.equivalent(&left), "symmetric: {left} {right}");
        assert!(left.equivalent(&left) && right.equivalent(&right), "reflexive");
        result
    }

    /// The examples of RFC 3261 §19.1.4, RFC 5954 §4.2 and RFC 3966 §4.
    #[test]
    fn the_examples_of_the_standards() {
        for (left, right) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
            ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("sip:bob@[2001:db8::9:1]", "sip:bob@[2001:0DB8::9:01]"),
            ("tel:+1-201-555-0123", "tel:+12015550123"),
            ("tel:7042;phone-context=Example.com", "tel:70-42;phone-context=example.com"),
        ] {
            assert!(same(left, right), "{left} {right}");
        }
        for (left, right) in [
            ("sip:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:bob@biloxi.com", "sips:bob@biloxi.com"),
            ("sip:bob@biloxi.com;gr=a", "sip:bob@biloxi.com"),
            ("sip:a%3Bb@biloxi.com", "sip:a;b@biloxi.com"),
            ("tel:7042;phone-context=example.com", "tel:7042;phone-context=example.net"),
        ] {
            assert!(!same(left, right), "{left} {right}");
        }
    }

    /// RFC 3261 §19.1.1, RFC 3966 §3: a name may stand once. If it stands twice, the first counts, on both sides.
    #[test]
    fn parameters_that_stand_twice() {
        assert!(same("tel:+0;a;a=c", "tel:+0;a;a=d"));
        assert!(!same("tel:+0;a;a=c", "tel:+0;a=c"));
        assert!(same("sip:x;a=1;a=2", "sip:x;a=1"));
        assert!(!same("sip:x;a=1;a=2", "sip:x;a=2"));
    }

    #[test]
    fn malformed_uris_are_refused() {
        for text in [
            "",
            "sip:",
            "sip",
            ":x",
            "sip:@host",
            "sip:a@b@c",
            "sip:a@[::1",
            "sip:a@[1:2:3:4:5:6:7:8:9]",
            "sip:a@host:65536",
            "sip:a@host:0",
            "sip:a%zz@host",
            "sip:a%4",
            "sip:a b@host",
            "sip:a@host;=x",
            "sip:a@host;;x",
            "sip:a@host?",
            "<sip:a@host>",
            "tel:",
            "tel:7042",
            "tel:+",
            "tel:+1x",
            "sip:a@ho st",
            "sip:host:",
            "http:",
        ] {
            assert!(Uri::parse(text.as_bytes()).is_err(), "{text}");
        }
        for text in [
            "http://example.com/x?y#z",
            "sip:host",
            "SIPS:a:b@host:5061;lr;x=y?a=b",
            "sip:o'neil@host",
            "x:\\y",
            "urn:service:sos",
        ] {
            let uri = Uri::parse(text.as_bytes()).unwrap();
            assert_eq!(std::format!("{uri}").to_lowercase(), text.to_lowercase());
        }
    }
}
