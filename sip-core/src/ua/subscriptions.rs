//! Subscriptions of either side: what is kept of them, and how they end (RFC 6665).

use super::alarms::{Alarm, Due};
use super::record::OwnContent;
use super::{Event, Kind, UserAgent, WorkId};
use crate::auth::Answers;
use crate::dialog::Id;
use crate::dialog::subscription::{self, Ended};
use crate::endpoint::Txn;
use crate::handle::{Key, ServerTxn, SubscriptionId};
use crate::message::{Message, Status};
use crate::random::KeyedHash;
use crate::time::Instant;
use crate::transaction::Timers;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

/// A subscription: one usage of its dialog.
pub(super) struct Subscription {
    pub(super) role: Role,
    pub(super) user: u64,
    /// At the subscriber there is none before the first NOTIFY.
    pub(super) dialog: Option<Key>,
    /// The event package, and what tells several in one dialog apart.
    pub(super) package: Box<[u8]>,
    pub(super) id: Option<Box<[u8]>>,
    /// How long it is to last, each time that it is refreshed.
    pub(super) lasts: Duration,
    /// When it is over unless it is refreshed; nothing before somebody has said.
    pub(super) until: Option<Instant>,
    /// The refresh, or the end.
    pub(super) alarm: Option<Alarm>,
    /// The NOTIFY that was sent last.
    pub(super) told: Option<WorkId>,
    /// Its user was never told of it, and is not told of its end.
    pub(super) silent: bool,
}

/// Which side it is on.
pub(super) enum Role {
    Subscriber(Asked),
    Notifier {
        /// A SUBSCRIBE or REFER was accepted.
        accepted: bool,
    },
}

/// What the subscriber has asked for.
#[derive(Default)]
pub(super) struct Asked {
    /// Call-ID and tag of this side, by which the NOTIFYs of forks are known before there is a dialog; empty for what was asked inside one.
    pub(super) call_id: Box<[u8]>,
    pub(super) tag: Box<[u8]>,
    /// The SUBSCRIBE or REFER that is under way.
    pub(super) work: Option<WorkId>,
    /// The number of the last one.
    pub(super) cseq: u32,
    /// A NOTIFY has come since, or else Timer N runs.
    pub(super) notified: bool,
    /// And has said for how long, which a 2xx that comes later does not change (RFC 6665 §4.1.3).
    pub(super) timed: bool,
    pub(super) timer_n: Option<Alarm>,
    /// It is not wanted any more.
    pub(super) leaving: bool,
    /// And the peer was told so.
    pub(super) parted: bool,
    /// What is to stand in the SUBSCRIBE that tells it, which waits for a dialog.
    pub(super) parting: Option<Box<OwnContent>>,
    /// It is what a REFER makes: never refreshed.
    pub(super) refer: bool,
    /// The value of Event as the user gave it, and that of Accept, for refreshes.
    pub(super) event: Box<[u8]>,
    pub(super) accept: Box<[u8]>,
    /// The timers of its transactions, if it has its own.
    pub(super) timers: Option<Arc<Timers>>,
    /// How many forks are alive besides.
    pub(super) forks: usize,
    /// The tags of those whose subscriptions are over.
    pub(super) over: Vec<Vec<u8>>,
    /// How challenges were answered outside a dialog, for the dialogs that NOTIFYs make.
    pub(super) answers: Answers,
}

impl Asked {
    /// The same once more, for another fork.
    pub(super) fn fork(&self) -> Self {
        Self {
            cseq: self.cseq,
            notified: true,
            refer: self.refer,
            event: self.event.clone(),
            accept: self.accept.clone(),
            timers: self.timers.clone(),
            ..Self::default()
        }
    }

    /// What the NOTIFYs of its forks are found by.
    pub(super) fn hash(&self, hash: &KeyedHash) -> u64 {
        Id { call_id: &self.call_id, local_tag: &self.tag, remote_tag: b"" }.set_hash(hash)
    }
}

impl Subscription {
    /// Another one that the same request has asked for, before it has a dialog.
    pub(super) fn fork(&self, asked: Asked) -> Self {
        Self {
            role: Role::Subscriber(asked),
            user: self.user,
            dialog: None,
            package: self.package.clone(),
            id: self.id.clone(),
            lasts: self.lasts,
            until: None,
            alarm: None,
            told: None,
            silent: false,
        }
    }

    /// Whether a message is about it. A NOTIFY for the only REFER of a dialog may have no id.
    pub(super) fn is_about(&self, (package, id): (&[u8], Option<&[u8]>)) -> bool {
        let refer = matches!(self.role, Role::Subscriber(Asked { refer: true, .. }));
        self.package.eq_ignore_ascii_case(package) && (self.id.as_deref() == id || (refer && id.is_none()))
    }
}

impl UserAgent {
    /// Enters a subscription into the table, and into its dialog.
    pub(super) fn open_subscription(&mut self, subscription: Subscription) -> Key {
        let dialog = subscription.dialog;
        let key = self.subscriptions.insert(subscription);
        if let Some(dialog) = dialog {
            self.attach(key, dialog);
        }
        key
    }

    pub(super) fn asked(&self, key: Key) -> Option<&Asked> {
        match &self.subscriptions.get(key)?.role {
            Role::Subscriber(asked) => Some(asked),
            Role::Notifier { .. } => None,
        }
    }

    pub(super) fn asked_mut(&mut self, key: Key) -> Option<&mut Asked> {
        match &mut self.subscriptions.get_mut(key)?.role {
            Role::Subscriber(asked) => Some(asked),
            Role::Notifier { .. } => None,
        }
    }

    /// Whether a dialog has as many subscriptions as it may.
    pub(super) fn has_all_subscriptions(&self, dialog: Key) -> bool {
        let most = self.config.core.limits.subscriptions;
        self.dialogs.get(dialog).is_some_and(|record| record.subscriptions.len() >= most)
    }

    /// The subscription is a usage of this dialog from now on.
    pub(super) fn attach(&mut self, key: Key, dialog: Key) {
        self.hold(dialog);
        if let Some(record) = self.dialogs.get_mut(dialog) {
            record.subscriptions.push(key);
        }
        if let Some(subscription) = self.subscriptions.get_mut(key) {
            subscription.dialog = Some(dialog);
        }
    }

    /// The subscription in a dialog that a message is about.
    pub(super) fn find_subscription(
        &self,
        dialog: Key,
        message: &Message<'_>,
        is: impl Fn(&Role) -> bool,
    ) -> Option<Key> {
        let event = subscription::event(message)?;
        let record = self.dialogs.get(dialog)?;
        record.subscriptions.iter().copied().find(|key| {
            self.subscriptions.get(*key).is_some_and(|found| is(&found.role) && found.is_about(event))
        })
    }

    /// Ends a subscription for its user.
    pub(super) fn end_subscription(&mut self, key: Key, reason: Ended, retry_after: Option<Duration>) {
        self.fork_over(key);
        let waiting: Vec<ServerTxn> = self.waiting_for(key).collect();
        let Some(subscription) = self.subscriptions.remove(key) else { return };
        self.alarms.stop(subscription.alarm);
        // What is over can't be prolonged (RFC 6665 §4.2.1.4).
        waiting.into_iter().for_each(|txn| self.withdraw(txn, Status::NO_SUCH_TRANSACTION));
        if let Role::Subscriber(asked) = subscription.role {
            self.alarms.stop(asked.timer_n);
            self.forget_asked(key, &asked);
        }
        if !subscription.silent {
            self.push(Event::SubscriptionEnded {
                subscription: SubscriptionId(key),
                user: subscription.user,
                reason,
                retry_after,
            });
        }
        if let Some(dialog) = subscription.dialog {
            if let Some(record) = self.dialogs.get_mut(dialog) {
                record.subscriptions.retain(|other| *other != key);
            }
            self.release(dialog);
        }
    }

    /// The requests about a subscription of the peer that wait for their answer.
    pub(super) fn waiting_for(&self, key: Key) -> impl Iterator<Item = ServerTxn> {
        let dialog = self.subscriptions.get(key).and_then(|found| self.dialogs.get(found.dialog?));
        let waiting = dialog.map(|record| &*record.waiting).unwrap_or_default();
        let is_about = move |txn: &ServerTxn| {
            let found = self.layer.user(Txn::Server(*txn)).and_then(|token| self.serving(token));
            found.is_some_and(|(_, serving)| matches!(serving.kind, Kind::Subscribe(of) | Kind::Refer(Some(of)) if of == key))
        };
        waiting.iter().copied().filter(is_about)
    }

    /// All subscriptions of a dialog end with it (RFC 5057 §5.1).
    pub(super) fn end_subscriptions(&mut self, dialog: Key) {
        let all = self.dialogs.get(dialog).map(|record| record.subscriptions.clone()).unwrap_or_default();
        for key in all {
            self.end_subscription(key, Ended::Lost, None);
        }
    }

    /// Sets when something is done about a subscription next, in place of what was set before.
    pub(super) fn set_subscription_alarm(&mut self, key: Key, after: Duration, due: Due) {
        let clock = self.layer.clock();
        if let Some(subscription) = self.subscriptions.get_mut(key) {
            self.alarms.stop(subscription.alarm.take());
            subscription.alarm = Some(self.alarms.set(clock, after, due));
        }
    }
}
