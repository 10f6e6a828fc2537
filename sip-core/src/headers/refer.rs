//! Transfer: Refer-To (RFC 3515), Referred-By (RFC 3892), Refer-Sub (RFC 4488).

use super::Address;
use super::shapes::{addresses, words_with_params};
use crate::message::lex;

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
