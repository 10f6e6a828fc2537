//! Caller preferences and capabilities: Accept-Contact, Reject-Contact, Request-Disposition (RFC 3841 §9), Feature-Caps
//! (RFC 6809).

use super::shapes::{words, words_with_params};
use crate::message::lex;

words_with_params! {
    /// Features that a contact should have. The word is always `*`.
    AcceptContact(
        /// `*`
        any: lex::star
    );
    /// Features that a contact must not have. The word is always `*`.
    RejectContact(
        /// `*`
        any: lex::star
    );
    /// Features that the elements on the way support. The word is always `*`.
    FeatureCaps(
        /// `*`
        any: lex::star
    );
}

words! {
    /// One wish for how a server handles a request: `proxy`, `no-fork`, `sequential` …
    RequestDisposition(lex::token);
}

impl AcceptContact<'_> {
    /// Whether contacts that lack a feature are dropped, not only ranked lower.
    pub fn require(&self) -> bool {
        self.params.get("require").is_some()
    }

    /// Whether contacts that say nothing of a feature count as lacking it.
    pub fn explicit(&self) -> bool {
        self.params.get("explicit").is_some()
    }
}
