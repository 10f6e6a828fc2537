//! Security agreement: Security-Client, Security-Server, Security-Verify (RFC 3329).

use super::shapes::words_with_params;
use crate::message::lex;

words_with_params! {
    /// One mechanism that the client knows.
    SecurityClient(
        /// `digest`, `tls`, `ipsec-3gpp` …
        mechanism: lex::token
    );
    /// One mechanism that the server knows.
    SecurityServer(
        /// `digest`, `tls`, `ipsec-3gpp` …
        mechanism: lex::token
    );
    /// One mechanism of the server, as the client saw it.
    SecurityVerify(
        /// `digest`, `tls`, `ipsec-3gpp` …
        mechanism: lex::token
    );
}
