//! Subscriptions of the peer (RFC 6665 §4.2), and the REFERs that it sends (RFC 3515 §2.4).

use super::alarms::Due;
use super::machine::Meaning;
use super::record::Session;
use super::requests::{Purpose, check_own};
use super::subscriptions::{Role, Subscription};
use super::validate::Refusal;
use super::{Kind, UserAgent};
use crate::dialog::subscription::{self, Ended, Notice};
use crate::dialog::{self, Dialog};
use crate::endpoint::{Misuse, Source};
use crate::handle::{DialogId, Key, ServerTxn, SubscriptionId};
use crate::headers::{Expires, Name, ReferSub, ReferTo};
use crate::message::{Content, Message, Method, Status};
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::format;
use core::time::Duration;

impl UserAgent {
    /// Tells the peer the state that it has subscribed to, in a NOTIFY. After [`Notice::Terminated`] the subscription is over, and after any where the
    /// peer wants the state once, or no longer (§4.4.3).
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] for a subscription of this side, or one that is not accepted yet; [`Misuse::BadContent`],
    /// [`Misuse::NoLocal`], [`Misuse::BadUri`], [`Misuse::Full`].
    pub fn notify(
        &mut self,
        now: Instant,
        subscription: SubscriptionId,
        notice: Notice,
        content: &Content<'_>,
    ) -> Result<(), Misuse> {
        check_own(content)?;
        self.enter(now);
        let found = self.subscriptions.get(subscription.0).ok_or(Misuse::Gone)?;
        if !matches!(found.role, Role::Notifier { accepted: true }) {
            return Err(Misuse::WrongState);
        }
        let done = self.tell(subscription.0, notice, content);
        self.leave();
        done
    }

    fn tell(&mut self, key: Key, notice: Notice, content: &Content<'_>) -> Result<(), Misuse> {
        let subscription = self.subscriptions.get(key).ok_or(Misuse::Gone)?;
        let dialog = subscription.dialog.ok_or(Misuse::Gone)?;
        let left = subscription.until.map_or(Duration::ZERO, |until| until.since(self.layer.clock()));
        // RFC 6665 §4.2.1.4, §4.4.3: who wants the state once, or no longer, gets it with the last word.
        let (notice, over) = match notice {
            Notice::Terminated { reason, .. } => (notice, Some(reason)),
            _ if subscription.lasts.is_zero() => {
                (Notice::Terminated { reason: Ended::Timeout, retry_after: None }, Some(Ended::Unsubscribed))
            }
            _ => (notice, None),
        };
        let (event, state) = (subscription.event_value(), subscription::write(notice, left));
        let state = core::str::from_utf8(&state).unwrap_or_default();
        let extra = [("Event", &*event), ("Subscription-State", state)];
        let sent = self.send_inside(dialog, Purpose::Notify(key), Method::Notify, 0, content, &extra)?;
        if let Some(subscription) = self.subscriptions.get_mut(key) {
            subscription.told = Some(sent.0);
        }
        if let Some(reason) = over {
            self.end_subscription(key, reason, None);
        }
        Ok(())
    }

    /// A SUBSCRIBE, in a dialog or to make one.
    pub(super) fn on_subscribe(
        &mut self,
        dialog: Option<Key>,
        txn: ServerTxn,
        source: Source,
        request: &Message<'_>,
    ) -> Option<Meaning> {
        // RFC 6665 §4.2.1.1, §8.2.1
        let is = |role: &Role| matches!(role, Role::Notifier { .. });
        let old = dialog.and_then(|dialog| self.find_subscription(dialog, request, is));
        // RFC 3515 §2.4.4: a REFER alone makes such a subscription, but who sent it may prolong or end it.
        if is_refer(request) && old.is_none() {
            return self.decline(txn, Refusal::status(Status::FORBIDDEN));
        }
        let known = |package: &[u8]| {
            old.is_some()
                || self.config.packages.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(package))
        };
        let event = subscription::event(request).filter(|(package, _)| known(package));
        let Some((package, id)) = event else {
            return self.decline(txn, Refusal::event());
        };
        let wanted = request.get::<Expires>().ok().flatten().map_or(3_600, |expires| expires.0);
        let expires = Duration::from_secs(wanted.into()).min(self.config.max_subscription);
        // RFC 6665 §4.2.1.1: an hour and more is never too brief.
        if (1..3_600).contains(&wanted) && expires < self.config.min_subscription {
            let min = self.config.min_subscription.as_secs();
            self.answer(txn, Status::INTERVAL_TOO_BRIEF, |writer| {
                writer.number(Name::MinExpires, min);
            });
            return Some(Meaning::Declined(Status::INTERVAL_TOO_BRIEF));
        }
        let (key, refresh) = match old {
            Some(key) => (key, true),
            None => {
                let subscription = Subscription {
                    role: Role::Notifier { accepted: false },
                    user: 0,
                    dialog: None,
                    package: package.into(),
                    id: id.map(Box::from),
                    lasts: expires,
                    until: Some(self.layer.clock() + expires),
                    alarm: None,
                    told: None,
                    silent: false,
                };
                (self.open_served(dialog, subscription, txn, source, request)?, false)
            }
        };
        let dialog = self.subscriptions.get(key)?.dialog?;
        let target = dialog::contact(request).unwrap_or_default();
        self.hand_over(txn, Some(dialog), Kind::Subscribe(key), target, None);
        if let Some(serving) = self.serving_mut(txn) {
            serving.lasts = expires;
        }
        let user = self.subscriptions.get(key)?.user;
        Some(Meaning::Subscribe { txn, subscription: SubscriptionId(key), user, refresh, expires })
    }

    /// A subscription of the peer, in its dialog or a new one; full: `None`, and the request is answered.
    fn open_served(
        &mut self,
        dialog: Option<Key>,
        subscription: Subscription,
        txn: ServerTxn,
        source: Source,
        request: &Message<'_>,
    ) -> Option<Key> {
        let dialog = match dialog {
            Some(dialog) if self.has_all_subscriptions(dialog) => {
                self.decline_overload(txn);
                return None;
            }
            Some(dialog) => dialog,
            None if self.is_full() => {
                self.decline_overload(txn);
                return None;
            }
            None => {
                let contact = self.contact_at(source, request)?;
                let made = Dialog::of_request(request, self.layer.local_tag(txn)?, 0);
                self.open_dialog(made, contact, Session::none())
            }
        };
        Some(self.open_subscription(Subscription { dialog: Some(dialog), ..subscription }))
    }

    /// RFC 3515 §2.4.2
    pub(super) fn on_refer(
        &mut self,
        dialog: Option<Key>,
        txn: ServerTxn,
        source: Source,
        request: &Message<'_>,
    ) -> Option<Meaning> {
        let mut targets = request.all::<ReferTo<'_>>();
        if !matches!((targets.next(), targets.next()), (Some(Ok(_)), None)) {
            return self.decline(txn, Refusal::status(Status::BAD_REQUEST));
        }
        let unfollowed = request.get::<ReferSub<'_>>().ok().flatten().is_some_and(|sub| sub.is("false"));
        let target = dialog::contact(request).unwrap_or_default();
        let user = dialog.and_then(|key| self.dialogs.get(key)).map_or(0, |record| record.user);
        let key = if unfollowed {
            None
        } else {
            let subscription = Subscription {
                role: Role::Notifier { accepted: false },
                user,
                dialog: None,
                package: b"refer"[..].into(),
                // §2.4.6
                id: Some(Box::from(format!("{}", request.cseq().number).as_bytes())),
                lasts: REFER_LASTS,
                until: Some(self.layer.clock() + REFER_LASTS),
                alarm: None,
                told: None,
                silent: false,
            };
            Some(self.open_served(dialog, subscription, txn, source, request)?)
        };
        let within =
            key.and_then(|key| self.subscriptions.get(key)).and_then(|found| found.dialog).or(dialog);
        self.hand_over(txn, within, Kind::Refer(key), target, None);
        if let Some(serving) = self.serving_mut(txn) {
            serving.lasts = REFER_LASTS;
        }
        if within.is_none() {
            let contact = self.contact_at(source, request)?;
            if let Some(serving) = self.serving_mut(txn) {
                serving.contact = contact;
            }
        }
        let subscription = key.map(SubscriptionId);
        Some(Meaning::Refer { txn, dialog: dialog.map(DialogId), user, subscription })
    }

    /// A SUBSCRIBE or REFER is answered: granted for so long, or refused.
    pub(super) fn on_subscribe_answered(&mut self, key: Key, granted: Option<Duration>) {
        let clock = self.layer.clock();
        let Some(subscription) = self.subscriptions.get_mut(key) else { return };
        let Role::Notifier { accepted: before } = &mut subscription.role else { return };
        let Some(lasts) = granted else {
            if !*before {
                self.end_subscription(key, Ended::Refused, None);
            } else if subscription.alarm.is_none() && subscription.until.is_some_and(|until| until <= clock) {
                // A refresh that is refused changes nothing: it was over while this one waited.
                self.on_subscription_over(key);
            }
            return;
        };
        *before = true;
        (subscription.lasts, subscription.until) = (lasts, Some(clock + lasts));
        // Who wants the state once, or no longer, is told it by the user at once, and that it is over now.
        self.set_subscription_alarm(key, lasts.max(LAST_WORD), Due::SubscriptionOver(key));
    }

    /// A subscription was not refreshed (RFC 6665 §4.2.2), or not told of any more.
    pub(super) fn on_subscription_over(&mut self, key: Key) {
        let Some(subscription) = self.subscriptions.get(key) else { return };
        if let Role::Subscriber(_) = subscription.role {
            return self.end_subscription(key, Ended::Timeout, None);
        }
        // The user has yet to say what becomes of a refresh that came in time.
        if self.waiting_for(key).next().is_some() {
            if let Some(subscription) = self.subscriptions.get_mut(key) {
                subscription.alarm = None;
            }
            return;
        }
        let notice = Notice::Terminated { reason: Ended::Timeout, retry_after: None };
        // RFC 3515 §2.4.4: of a REFER something has to be said. What became of it is not known here.
        let refer = subscription.package.eq_ignore_ascii_case(b"refer");
        let content =
            if refer { Content::body("message/sipfrag", b"SIP/2.0 100 Trying\r\n") } else { Content::NONE };
        if self.tell(key, notice, &content).is_err() {
            self.end_subscription(key, Ended::Lost, None);
        }
    }

    /// A response to a NOTIFY (RFC 6665 §4.2.2).
    pub(super) fn on_notify_answered(&mut self, key: Key, code: u16) {
        if subscription::ends(code) {
            self.end_subscription(key, Ended::Lost, None);
        }
    }
}

/// Whether a SUBSCRIBE is about a REFER.
pub(super) fn is_refer(request: &Message<'_>) -> bool {
    subscription::event(request).is_some_and(|(package, _)| package.eq_ignore_ascii_case(b"refer"))
}

/// How long this side may take to tell what became of a REFER.
const REFER_LASTS: Duration = Duration::from_secs(180);
/// How long the user may take to tell the state to one who wants it only once.
const LAST_WORD: Duration = Duration::from_secs(1);
