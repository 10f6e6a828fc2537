//! What a failure response to a request inside a dialog ends (RFC 5057 §5.1).

use crate::message::{Method, Status};

/// How far a failure reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// The request alone has failed.
    Transaction,
    /// The usage that the request belongs to is over; here that is the session.
    Usage,
    /// The dialog is over, with all its usages.
    Dialog,
}

/// What a final response ends; a timeout counts as 408. OPTIONS, MESSAGE and methods that are not known belong to no
/// usage (§5.3).
pub(crate) fn ends(method: Method<'_>, status: Status) -> Ends {
    let session =
        matches!(method, Method::Invite | Method::Bye | Method::Prack | Method::Update | Method::Info);
    match status.code() {
        404 | 410 | 416 | 482..=485 | 502 | 604 => Ends::Dialog,
        408 | 480 | 481 if session => Ends::Usage,
        // Only if the method is integral to the usage: a session lives on without INFO and UPDATE.
        405 | 501 if matches!(method, Method::Invite | Method::Bye) => Ends::Usage,
        _ => Ends::Transaction,
    }
}
