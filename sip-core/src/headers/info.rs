//! More about a call, an alert, an error (RFC 3261 §20.4, §20.9, §20.18), and INFO packages (RFC 6086 §7).

use super::Address;
use super::shapes::{addresses, words_with_params};
use crate::message::lex;

addresses! {
    /// One other ring tone.
    AlertInfo(Address::lex_angle);
    /// One thing to know of the caller or callee: `purpose` says what.
    CallInfo(Address::lex_angle);
    /// One place that says more of an error.
    ErrorInfo(Address::lex_angle);
}

words_with_params! {
    /// The package of an INFO.
    InfoPackage(
        /// The name of the package.
        package: lex::token
    );
    /// One package that the sender takes; none if the value is empty.
    RecvInfo(
        /// The name of the package.
        package: lex::token
    ) EMPTY;
}
