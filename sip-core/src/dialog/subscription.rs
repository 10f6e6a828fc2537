//! What a subscription says of itself (RFC 6665 §4.1.3, §4.2.2).

use crate::headers::{Event, SubscriptionState};
use crate::message::{Message, push_number};
use alloc::vec::Vec;
use core::time::Duration;

/// The state of a subscription, as a NOTIFY tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// It is accepted and has a state.
    Active,
    /// Nobody has decided on it yet.
    Pending,
    /// It is over.
    Terminated {
        /// Why.
        reason: Ended,
        /// When it may be tried again; nothing if that was not said.
        retry_after: Option<Duration>,
    },
}

/// Why a subscription is over (RFC 6665 §4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ended {
    /// `deactivated`: subscribe again at once.
    Deactivated,
    /// `probation`: subscribe again later.
    Probation,
    /// `rejected`: do not subscribe again.
    Rejected,
    /// `timeout`: it was not refreshed.
    Timeout,
    /// `giveup`: nobody decided on it in time.
    GiveUp,
    /// `noresource`: what it is about does not exist.
    NoResource,
    /// `invariant`: what it is about will not change any more.
    Invariant,
    /// The notifier gave another reason, or none.
    Unknown,
    /// The subscriber wanted it so.
    Unsubscribed,
    /// The SUBSCRIBE or REFER was refused, or could not be sent.
    Refused,
    /// No NOTIFY came in time (Timer N), or a request of this side was not answered.
    NoAnswer,
    /// The peer knows nothing of it any more, or the dialog that it was in is over (RFC 5057 §5.1).
    Lost,
}

impl Ended {
    const NAMED: [(Self, &'static str); 7] = [
        (Self::Deactivated, "deactivated"),
        (Self::Probation, "probation"),
        (Self::Rejected, "rejected"),
        (Self::Timeout, "timeout"),
        (Self::GiveUp, "giveup"),
        (Self::NoResource, "noresource"),
        (Self::Invariant, "invariant"),
    ];

    fn name(self) -> Option<&'static str> {
        // Who ended it itself expects no more than that it is so.
        let named = if self == Self::Unsubscribed { Self::Timeout } else { self };
        Self::NAMED.iter().find(|(reason, _)| *reason == named).map(|(_, name)| *name)
    }

    fn named(name: &[u8]) -> Self {
        let found = Self::NAMED.iter().find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name));
        found.map_or(Self::Unknown, |(reason, _)| *reason)
    }
}

/// What a NOTIFY says, and for how many seconds it holds; nothing if it does not say. A state that nobody knows counts as active (§4.1.3).
pub(crate) fn read(notify: &Message<'_>) -> Option<(Notice, Option<u32>)> {
    let state = notify.get::<SubscriptionState<'_>>().ok().flatten()?;
    let notice = if state.is("terminated") {
        let retry_after = state.retry_after().map(|after| Duration::from_secs(after.into()));
        Notice::Terminated { reason: state.reason().map_or(Ended::Unknown, Ended::named), retry_after }
    } else if state.is("pending") {
        Notice::Pending
    } else {
        Notice::Active
    };
    Some((notice, state.expires()))
}

/// The value of Subscription-State.
pub(crate) fn write(notice: Notice, left: Duration) -> Vec<u8> {
    let mut out = Vec::new();
    match notice {
        Notice::Active => out.extend_from_slice(b"active;expires="),
        Notice::Pending => out.extend_from_slice(b"pending;expires="),
        Notice::Terminated { reason, retry_after } => {
            out.extend_from_slice(b"terminated");
            if let Some(reason) = reason.name() {
                out.extend_from_slice(b";reason=");
                out.extend_from_slice(reason.as_bytes());
            }
            if let Some(after) = retry_after {
                out.extend_from_slice(b";retry-after=");
                push_number(&mut out, after.as_secs());
            }
            return out;
        }
    }
    push_number(&mut out, left.as_secs());
    out
}

/// The event package of a message, and the `id` that tells several subscriptions in one dialog apart.
pub(crate) fn event<'a>(message: &'a Message<'_>) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let event = message.get::<Event<'_>>().ok().flatten()?;
    Some((event.package, event.id()))
}

/// When something that lasts so long is refreshed: early enough that a request may fail and be sent again.
pub(crate) fn refresh_after(lasts: Duration) -> Duration {
    lasts.saturating_sub((lasts / 2).min(Duration::from_secs(40)))
}

/// What a final failure of a SUBSCRIBE or NOTIFY inside the dialog ends (§4.1.2.2, §4.2.2): the codes after which the subscription is over.
pub(crate) const fn ends(code: u16) -> bool {
    matches!(code, 404 | 405 | 410 | 416 | 480..=485 | 489 | 501 | 604)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written() {
        let text =
            |notice| std::string::String::from_utf8(write(notice, Duration::from_millis(59_999))).unwrap();
        assert_eq!(text(Notice::Active), "active;expires=59");
        assert_eq!(text(Notice::Pending), "pending;expires=59");
        let over = |reason| Notice::Terminated { reason, retry_after: None };
        assert_eq!(text(over(Ended::NoResource)), "terminated;reason=noresource");
        assert_eq!(text(over(Ended::Unsubscribed)), "terminated;reason=timeout");
        assert_eq!(text(over(Ended::Unknown)), "terminated");
        let later =
            Notice::Terminated { reason: Ended::Probation, retry_after: Some(Duration::from_secs(9)) };
        assert_eq!(text(later), "terminated;reason=probation;retry-after=9");
        assert_eq!(Ended::named(b"GiveUp"), Ended::GiveUp);
        assert_eq!(Ended::named(b"whatever"), Ended::Unknown);
    }

    #[test]
    fn a_refresh_comes_in_time() {
        let after = |seconds| refresh_after(Duration::from_secs(seconds)).as_secs();
        assert_eq!((after(3_600), after(60), after(1), after(0)), (3_560, 30, 0, 0));
    }
}
