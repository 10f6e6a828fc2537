//! Reason (RFC 3326).

use super::shapes::words_with_params;
use crate::message::lex;

words_with_params! {
    /// Why a request was sent or a response chosen; one value for each protocol.
    Reason(
        /// `SIP`, `Q.850` …
        protocol: lex::token
    );
}

impl<'a> Reason<'a> {
    /// The cause: a status code, or a cause of Q.850.
    pub fn cause(&self) -> Option<u16> {
        self.params.number("cause")
    }

    /// The cause in words, escapes left as they are.
    pub fn text(&self) -> Option<&'a [u8]> {
        self.params.get("text")
    }
}
