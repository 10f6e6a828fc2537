//! Transfer: Refer-To (RFC 3515), Referred-By (RFC 3892), Refer-Sub (RFC 4488).

use super::Address;
use super::shapes::{addresses, words_with_params};
use crate::message::lex;
use crate::uri::unescaped;
use alloc::string::String;

addresses! {
    /// Whom to contact instead. Its URI may carry headers, Replaces among them.
    ReferTo(Address::lex);
    /// Who referred.
    ReferredBy(Address::lex);
}

words_with_params! {
    /// Whether a REFER makes a subscription: `true` or `false`.
    ReferSub(
        /// `true` or `false`
        value: lex::token
    );
}

impl ReferTo<'_> {
    /// Whom to call, for who follows it with an INVITE: the URI without its headers, and the value of Replaces among them (RFC 3891 §6.1); empty: none.
    /// Nothing if it is no SIP or SIPS URI, or wants another method.
    pub fn invitation(&self) -> Option<(String, String)> {
        let uri = self.0.uri().ok()?;
        let sip = uri.as_sip()?;
        if sip.params.get("method").is_some_and(|method| method != b"INVITE") {
            return None;
        }
        let headers = sip.headers.split(|byte| *byte == b'&');
        let named = headers.filter_map(|header| {
            let at = header.iter().position(|byte| *byte == b'=')?;
            Some((header.get(..at)?, header.get(at + 1..)?))
        });
        let mut replaces = named.filter(|(name, _)| name.eq_ignore_ascii_case(b"Replaces"));
        let replaces = replaces.next().map(|(_, value)| unescaped(value)).unwrap_or_default();
        let bare = self.0.uri_bytes.split(|byte| *byte == b'?').next().unwrap_or_default();
        Some((String::from_utf8_lossy(bare).into_owned(), replaces))
    }
}
