//! Event notification: Event, Allow-Events, Subscription-State (RFC 6665 §8.2), entity tags (RFC 3903 §11.3).

use super::shapes::{words, words_with_params};
use crate::message::lex;

words_with_params! {
    /// The event package, with its template if it has one.
    Event(
        /// `presence`, `dialog`, `refer` …
        package: lex::token
    );
    /// The state of a subscription.
    SubscriptionState(
        /// `active`, `pending` or `terminated`
        state: lex::token
    );
}

words! {
    /// One event package that the sender takes.
    AllowEvents(lex::token);
    /// The entity tag that a publication got.
    SipETag(lex::token);
    /// The entity tag of the publication that this one changes.
    SipIfMatch(lex::token);
}

impl<'a> Event<'a> {
    /// What tells several subscriptions in one dialog apart.
    pub fn id(&self) -> Option<&'a [u8]> {
        self.params.get("id")
    }
}

impl<'a> SubscriptionState<'a> {
    /// Seconds until the subscription ends.
    pub fn expires(&self) -> Option<u32> {
        self.params.number("expires")
    }

    /// Why it ended: `deactivated`, `timeout`, `rejected`, `noresource` …
    pub fn reason(&self) -> Option<&'a [u8]> {
        self.params.get("reason")
    }

    /// Seconds until it may be tried again.
    pub fn retry_after(&self) -> Option<u32> {
        self.params.number("retry-after")
    }
}
