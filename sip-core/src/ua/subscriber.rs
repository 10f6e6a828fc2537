//! Subscriptions of this side (RFC 6665 §4.1), and those that a REFER makes (RFC 3515 §2.4.4).

use super::alarms::Due;
use super::machine::Meaning;
use super::record::OwnContent;
use super::requests::{Outgoing, Outside, Purpose, check_own, check_stated};
use super::subscriptions::{Asked, Role, Subscription};
use super::validate::Refusal;
use super::{NewRefer, NewSubscription, UserAgent, validate};
use crate::auth::{Answers, Credentials};
use crate::dialog::subscription::{self, Ended, Notice};
use crate::dialog::{Dialog, Id, Side, token};
use crate::endpoint::{Cause, Misuse, Source};
use crate::handle::{DialogId, Key, ServerTxn, SubscriptionId};
use crate::headers::{Event as EventHeader, Expires, Header, ReferSub, ReferTo, RetryAfter};
use crate::message::{Content, Message, Method, Status, is_text};
use crate::time::Instant;
use crate::transaction::Timers;
use crate::transport::Target;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

impl UserAgent {
    /// Subscribes to a state. What is told of it comes as [`Notified`](super::Event::Notified), from the first NOTIFY on, which may come
    /// before the response; if none comes in 64·T1 (Timer N), it ends. It is refreshed by itself until [`unsubscribe`](Self::unsubscribe).
    ///
    /// # Errors
    /// [`Misuse::BadUri`], [`Misuse::BadContent`], [`Misuse::NoLocal`], [`Misuse::Full`], [`Misuse::Draining`].
    pub fn subscribe(
        &mut self,
        now: Instant,
        subscription: &NewSubscription<'_>,
    ) -> Result<SubscriptionId, Misuse> {
        check_event(subscription)?;
        self.layer.may_begin()?;
        self.enter(now);
        let expires = seconds(subscription.expires);
        let done = self.ask_outside(
            asked(subscription, None),
            &Ask {
                method: Method::Subscribe,
                uri: subscription.uri,
                target: subscription.target,
                timers: subscription.timers.map(Arc::new),
                credentials: subscription.credentials,
                extra: &[("Event", subscription.event), ("Expires", &expires)],
                content: &subscription.content,
            },
        );
        self.leave();
        done
    }

    /// The same inside a dialog, which the two share (RFC 5057); the URI is not used.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe), [`Misuse::Gone`], and [`Misuse::WrongState`] after the BYE of this side, or if the dialog has a subscription to
    /// this event already: give it an `id`.
    pub fn subscribe_in(
        &mut self,
        now: Instant,
        dialog: DialogId,
        subscription: &NewSubscription<'_>,
    ) -> Result<SubscriptionId, Misuse> {
        check_event(subscription)?;
        self.layer.may_begin()?;
        self.enter(now);
        let all = &self.open(dialog)?.subscriptions;
        let made = asked(subscription, Some(dialog.0));
        // RFC 6665 §4.5.2: to the peer it would be a refresh of that.
        let is_same = |other: &Key| {
            self.subscriptions.get(*other).is_some_and(|other| {
                matches!(other.role, Role::Subscriber(Asked { refer: false, .. }))
                    && other.is_about((&made.package, made.id.as_deref()))
            })
        };
        if all.iter().any(is_same) {
            return Err(Misuse::WrongState);
        }
        let key = self.open_subscription(made);
        let sent = self.ask(key, subscription.expires, &subscription.content);
        self.leave_asked(key, sent)
    }

    /// Ends a subscription of this side; [`SubscriptionEnded`](super::Event::SubscriptionEnded) comes with the last NOTIFY. The content stands in the
    /// SUBSCRIBE that says so.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] for one that the peer has, or that is being ended; and as
    /// [`subscribe`](Self::subscribe).
    pub fn unsubscribe(
        &mut self,
        now: Instant,
        subscription: SubscriptionId,
        content: &Content<'_>,
    ) -> Result<(), Misuse> {
        check_stated(content)?;
        self.enter(now);
        let found = self.subscriptions.get_mut(subscription.0).ok_or(Misuse::Gone)?;
        let Role::Subscriber(asked) = &mut found.role else { return Err(Misuse::WrongState) };
        if asked.leaving {
            return Err(Misuse::WrongState);
        }
        // Without a dialog there is nowhere to send it yet: the first NOTIFY brings one.
        let parts = found.dialog.is_some();
        asked.leaving = true;
        asked.parting = (!parts && *content != Content::NONE).then(|| Box::new(OwnContent::of(content)));
        let done = match parts {
            true => self.ask(subscription.0, Duration::ZERO, content),
            false => Ok(()),
        };
        // What could not be sent can be tried again.
        if let Some(found) = self.subscriptions.get_mut(subscription.0) {
            if let Role::Subscriber(asked) = &mut found.role {
                (asked.leaving, asked.parted) = (done.is_ok(), done.is_ok() && parts);
            }
            if done.is_ok() {
                self.alarms.stop(found.alarm.take());
                self.want_no_forks(subscription.0);
            }
        }
        self.leave();
        done
    }

    /// Asks somebody to contact somebody else (RFC 3515), outside any dialog; which one it is about, Target-Dialog may say (RFC 4538, see
    /// [`target_dialog`](Self::target_dialog)). How that goes is told by [`Notified`](super::Event::Notified), with bodies of type `message/sipfrag`.
    ///
    /// # Errors
    /// [`Misuse::BadUri`], [`Misuse::BadContent`], [`Misuse::NoLocal`], [`Misuse::Full`], [`Misuse::Draining`].
    pub fn refer(&mut self, now: Instant, refer: &NewRefer<'_>) -> Result<SubscriptionId, Misuse> {
        check_refer(refer)?;
        self.layer.may_begin()?;
        self.enter(now);
        let done = self.ask_outside(
            referred(refer, None),
            &Ask {
                method: Method::Refer,
                uri: refer.uri,
                target: refer.target,
                timers: refer.timers.map(Arc::new),
                credentials: refer.credentials,
                extra: &refer_headers(refer),
                content: &refer.content,
            },
        );
        self.leave();
        done
    }

    /// The same inside a dialog: to transfer the call, most often. The URI is not used.
    ///
    /// # Errors
    /// As [`refer`](Self::refer), [`Misuse::Gone`], and [`Misuse::WrongState`] after the BYE of this side.
    pub fn refer_in(
        &mut self,
        now: Instant,
        dialog: DialogId,
        refer: &NewRefer<'_>,
    ) -> Result<SubscriptionId, Misuse> {
        check_refer(refer)?;
        self.layer.may_begin()?;
        self.enter(now);
        self.open(dialog)?;
        let key = self.open_subscription(referred(refer, Some(dialog.0)));
        let extra = refer_headers(refer);
        let sent =
            self.send_inside(dialog.0, Purpose::Subscribe(key), Method::Refer, 0, &refer.content, &extra);
        let sent = sent.map(|id| {
            let cseq = self.outgoing(id.0).map_or(0, |outgoing| outgoing.cseq);
            self.has_asked(key, id.0, cseq);
            self.numbered(key, cseq);
        });
        self.leave_asked(key, sent)
    }

    fn leave_asked(&mut self, key: Key, sent: Result<(), Misuse>) -> Result<SubscriptionId, Misuse> {
        if sent.is_err() {
            self.drop_subscription(key);
        }
        self.leave();
        sent.map(|()| SubscriptionId(key))
    }

    fn ask_outside(
        &mut self,
        mut subscription: Subscription,
        ask: &Ask<'_>,
    ) -> Result<SubscriptionId, Misuse> {
        // The first NOTIFY needs room for its dialog.
        if self.is_full() {
            return Err(Misuse::Full);
        }
        let (tag, call_id) = (token(self.layer.random.u64()), token(self.layer.random.u64()));
        let contact = self.contact_towards(ask.uri.as_bytes(), ask.uri.as_bytes(), ask.target)?;
        if let Role::Subscriber(asked) = &mut subscription.role {
            (asked.call_id, asked.tag) = (call_id.as_slice().into(), tag.as_slice().into());
        }
        let key = self.open_subscription(subscription);
        let outgoing = Outgoing {
            target: ask.target,
            timers: ask.timers.clone(),
            answers: Answers::with(ask.credentials),
            ..Outgoing::new(Purpose::Subscribe(key), 0, None)
        };
        let outside = Outside {
            tag: &tag,
            call_id: &call_id,
            contact: &contact,
            extra: ask.extra,
            ..Outside::new(ask.method, ask.uri, ask.content)
        };
        match self.send_outside(outgoing, &outside) {
            Err(misuse) => {
                self.drop_subscription(key);
                Err(misuse)
            }
            Ok(work) => {
                let set = Id { call_id: &call_id, local_tag: &tag, remote_tag: b"" };
                self.asked.insert(set.set_hash(&self.layer.hash), key.index);
                self.has_asked(key, work, 1);
                self.numbered(key, 1);
                Ok(SubscriptionId(key))
            }
        }
    }

    /// Sends a SUBSCRIBE inside the dialog.
    fn ask(&mut self, key: Key, expires: Duration, content: &Content<'_>) -> Result<(), Misuse> {
        let subscription = self.subscriptions.get(key).ok_or(Misuse::Gone)?;
        let dialog = subscription.dialog.ok_or(Misuse::WrongState)?;
        let event = subscription.event_value();
        let expires = seconds(expires);
        // RFC 6665 §4.1.2.2: a refresh is about the same.
        let (event, accept) = match &subscription.role {
            Role::Subscriber(asked) if !asked.event.is_empty() => (text(&asked.event), text(&asked.accept)),
            _ => (event, String::new()),
        };
        let mut extra = Vec::from([("Event", &*event), ("Expires", &*expires)]);
        if !accept.is_empty() {
            extra.push(("Accept", &*accept));
        }
        let purpose = Purpose::Subscribe(key);
        let id = self.send_inside(dialog, purpose, Method::Subscribe, 0, content, &extra)?;
        let cseq = self.outgoing(id.0).map_or(0, |outgoing| outgoing.cseq);
        self.has_asked(key, id.0, cseq);
        Ok(())
    }

    /// RFC 6665 §4.1.2.4: Timer N runs from each SUBSCRIBE.
    pub(super) fn has_asked(&mut self, key: Key, work: super::WorkId, cseq: u32) {
        let own = self.outgoing(work).and_then(|sent| sent.timers.as_deref());
        let timers = own.unwrap_or(&self.config.core.timers);
        let (after, clock) = (timers.t1x64(), self.layer.clock());
        // The forks of the first wait no longer for this one.
        if self.subscriptions.get(key).is_some_and(|found| found.dialog.is_some()) {
            self.outlive(key);
        }
        let Some(subscription) = self.subscriptions.get_mut(key) else { return };
        let Role::Subscriber(asked) = &mut subscription.role else { return };
        self.alarms.stop(asked.timer_n.take());
        (asked.work, asked.cseq, asked.notified, asked.timed) = (Some(work), cseq, false, false);
        asked.timer_n = Some(self.alarms.set(clock, after, Due::TimerN(key)));
    }

    /// With which number it was asked for; another one after a challenge.
    pub(super) fn numbered(&mut self, key: Key, cseq: u32) {
        let Some(subscription) = self.subscriptions.get_mut(key) else { return };
        let Role::Subscriber(asked) = &mut subscription.role else { return };
        asked.cseq = cseq;
        // RFC 3515 §2.4.6: the id of the event is the number of the REFER, and not of what ends it.
        if asked.refer && subscription.alarm.is_none() && !asked.leaving {
            subscription.id = Some(Box::from(format!("{cseq}").as_bytes()));
        }
    }

    /// Takes a subscription away that nobody has heard of.
    fn drop_subscription(&mut self, key: Key) {
        let Some(subscription) = self.subscriptions.remove(key) else { return };
        if let Some(dialog) = subscription.dialog {
            if let Some(record) = self.dialogs.get_mut(dialog) {
                record.subscriptions.retain(|other| *other != key);
            }
            self.release(dialog);
        }
    }

    /// What was asked outside a dialog is not looked for any more.
    pub(super) fn forget_asked(&mut self, key: Key, asked: &Asked) {
        if !asked.call_id.is_empty() {
            self.asked.remove(asked.hash(&self.layer.hash), key.index);
        }
    }

    pub(super) fn on_timer_n(&mut self, key: Key) {
        let Some(subscription) = self.subscriptions.get_mut(key) else { return };
        let Role::Subscriber(asked) = &mut subscription.role else { return };
        asked.timer_n = None;
        if !asked.notified || asked.leaving {
            let reason = if asked.leaving { Ended::Unsubscribed } else { Ended::NoAnswer };
            return self.end_subscription(key, reason, None);
        }
        // Forks that have not notified by now are none.
        let waited = subscription.dialog.is_none();
        if let Some(asked) = self.take_asked(key) {
            self.forget_asked(key, &asked);
        }
        if waited {
            self.drop_subscription(key);
        }
    }

    /// By what the NOTIFYs of forks are known, which this subscription does not wait for any more.
    fn take_asked(&mut self, key: Key) -> Option<Asked> {
        let asked = self.asked_mut(key).filter(|asked| !asked.call_id.is_empty())?;
        let (call_id, tag) = (core::mem::take(&mut asked.call_id), core::mem::take(&mut asked.tag));
        Some(Asked { call_id, tag, ..Asked::default() })
    }

    /// RFC 6665 §4.1.4: one fork is over, and others may still notify until Timer N. What it says late makes no subscription again.
    pub(super) fn fork_over(&mut self, key: Key) {
        let Some(found) = self.subscriptions.get(key) else { return };
        let Some(record) = found.dialog.and_then(|dialog| self.dialogs.get(dialog)) else { return };
        let id = record.dialog.id();
        let tag = id.remote_tag.to_vec();
        let Some(root) = self.find_asked(&id, (&found.package, found.id.as_deref())) else { return };
        let root = if root == key { self.outlive(key) } else { Some(root) };
        if let Some(asked) = root.and_then(|root| self.asked_mut(root)) {
            asked.forks = asked.forks.saturating_sub(1);
            asked.over.push(tag);
        }
    }

    /// A subscription is given up: forks that nobody knows of yet are not wanted any more.
    fn want_no_forks(&mut self, key: Key) {
        let root = self.subscriptions.get(key).and_then(|found| {
            let record = self.dialogs.get(found.dialog?)?;
            self.find_asked(&record.dialog.id(), (&found.package, found.id.as_deref()))
        });
        // The first one may be alive, which its user has not given up.
        let waits = root.filter(|root| self.subscriptions.get(*root).is_some_and(|found| found.silent));
        if let Some(asked) = waits.and_then(|root| self.asked_mut(root)) {
            asked.leaving = true;
        }
    }

    /// What was asked waits for the other forks without a dialog, when the first is over; its user knows only what they make.
    fn outlive(&mut self, key: Key) -> Option<Key> {
        let asked = self.asked(key).filter(|asked| !asked.leaving && asked.timer_n.is_some())?;
        let sent = asked.work.and_then(|work| self.outgoing(work)).filter(|sent| sent.dialog.is_none());
        let answers = sent.map_or(&asked.answers, |sent| &sent.answers).anew();
        let waits = self.take_asked(key)?;
        self.forget_asked(key, &waits);
        let subscription = self.subscriptions.get_mut(key)?;
        let Role::Subscriber(first) = &mut subscription.role else { return None };
        let timer_n = first.timer_n.take();
        let waits = Asked {
            call_id: waits.call_id,
            tag: waits.tag,
            timer_n,
            forks: first.forks + 1,
            over: core::mem::take(&mut first.over),
            answers,
            ..first.fork()
        };
        let hash = waits.hash(&self.layer.hash);
        let root = Subscription { silent: true, ..subscription.fork(waits) };
        let root = self.subscriptions.insert(root);
        self.asked.insert(hash, root.index);
        self.alarms.hand_over(timer_n, Due::TimerN(root));
        Some(root)
    }

    /// The subscription that a NOTIFY outside any known dialog is for (RFC 6665 §4.4.1).
    pub(super) fn asked_by(&self, notify: &Message<'_>) -> Option<Key> {
        // What is refused makes nothing.
        let sound =
            subscription::read(notify).is_some() && validate::extensions(notify, &self.config).is_ok();
        let event = subscription::event(notify).filter(|_| sound)?;
        let id = Id::of(notify, Side::Callee);
        let key = self.find_asked(&id, event)?;
        let is_over = self.asked(key)?.over.iter().any(|tag| tag == id.remote_tag);
        (!is_over).then_some(key)
    }

    /// What was asked outside a dialog, while forks may notify: by the Call-ID and the tag of this side.
    fn find_asked(&self, id: &Id<'_>, event: (&[u8], Option<&[u8]>)) -> Option<Key> {
        let found = self.asked.all(id.set_hash(&self.layer.hash)).find(|place| {
            self.subscriptions.at(*place).is_some_and(|found| match &found.role {
                Role::Subscriber(asked) => {
                    *asked.call_id == *id.call_id && *asked.tag == *id.local_tag && found.is_about(event)
                }
                Role::Notifier { .. } => false,
            })
        });
        self.subscriptions.key_at(found?)
    }

    /// The dialog that a NOTIFY for a subscription makes.
    pub(super) fn notify_makes_dialog(
        &mut self,
        key: Key,
        source: Source,
        notify: &Message<'_>,
    ) -> Option<Key> {
        let contact = self.contact_at(source, notify)?;
        let subscription = self.subscriptions.get(key)?;
        let Role::Subscriber(first) = &subscription.role else { return None };
        // Another fork of what is being given up: 481 ends it at the notifier.
        let fork = subscription.dialog.is_some() || first.notified;
        let (most, whole) = (self.config.core.limits.forks, usize::from(subscription.dialog.is_some()));
        let all = first.forks + whole;
        if fork && (first.leaving || all >= most || all + first.over.len() >= self.most_forks()) {
            return None;
        }
        let sent = first.work.and_then(|work| self.outgoing(work));
        let cseq = sent.map_or(first.cseq, |sent| sent.cseq);
        let answers = sent.map_or(&first.answers, |sent| &sent.answers);
        // RFC 7616 §3.4: a nonce is counted in one place.
        let answers = if fork { answers.anew() } else { answers.clone() };
        let forked = fork.then(|| Subscription {
            until: Some(self.layer.clock() + subscription.lasts),
            ..subscription.fork(Asked { cseq, ..first.fork() })
        });
        let dialog =
            self.open_dialog(Dialog::of_notify(notify, cseq), contact, super::record::Session::none());
        if let Some(record) = self.dialogs.get_mut(dialog) {
            record.answers = answers;
        }
        let key = match forked {
            // RFC 6665 §4.1.4: each fork that notifies is a subscription of its own.
            Some(fork) => {
                if let Some(first) = self.asked_mut(key) {
                    first.forks += 1;
                }
                self.open_subscription(fork)
            }
            None => key,
        };
        self.attach(key, dialog);
        Some(dialog)
    }

    pub(super) fn on_notify(&mut self, dialog: Key, txn: ServerTxn, notify: &Message<'_>) -> Option<Meaning> {
        let is = |role: &Role| matches!(role, Role::Subscriber(_));
        let Some(key) = self.find_subscription(dialog, notify, is) else {
            return self.decline(txn, Refusal::status(Status::NO_SUCH_TRANSACTION));
        };
        let Some((notice, expires)) = subscription::read(notify) else {
            return self.decline(txn, Refusal::status(Status::BAD_REQUEST));
        };
        self.answer(txn, Status::OK, |_| {});
        if let Some(record) = self.dialogs.get_mut(dialog) {
            record.dialog.refresh(notify);
            record.dialog.target_cseq = notify.cseq().number;
        }
        let clock = self.layer.clock();
        let subscription = self.subscriptions.get_mut(key)?;
        let (user, lasts, held) = (subscription.user, subscription.lasts, subscription.alarm.is_some());
        let granted = subscription.until.map(|until| until.since(clock));
        let Role::Subscriber(asked) = &mut subscription.role else { return None };
        asked.notified = true;
        asked.timed |= expires.is_some();
        let (leaving, parted, refer) = (asked.leaving, asked.parted, asked.refer);
        match notice {
            Notice::Terminated { reason, retry_after } => {
                let reason = if leaving && !refer { Ended::Unsubscribed } else { reason };
                self.end_subscription(key, reason, retry_after);
            }
            // It was given up before there was a dialog to say so in.
            _ if leaving && !parted => {
                let parting = asked.parting.take().unwrap_or_default();
                let parted = parting.with(|content| self.ask(key, Duration::ZERO, content)).is_ok();
                if let Some(asked) = self.asked_mut(key) {
                    asked.parted = parted;
                }
            }
            _ if leaving => {}
            // A refresh that is on its way will tell.
            _ => match expires {
                Some(seconds) => self.lasts_for(key, Duration::from_secs(seconds.into())),
                // What was granted holds; who granted nothing means what was asked for.
                None if !held => self.lasts_for(key, granted.unwrap_or(lasts)),
                None => {}
            },
        }
        Some(Meaning::Notified { subscription: SubscriptionId(key), user, notice })
    }

    /// The subscription holds for so long from now.
    fn lasts_for(&mut self, key: Key, lasts: Duration) {
        let until = self.layer.clock() + lasts;
        let Some(subscription) = self.subscriptions.get_mut(key) else { return };
        subscription.until = Some(until);
        let refer = matches!(subscription.role, Role::Subscriber(Asked { refer: true, .. }));
        let once = subscription.lasts.is_zero() || lasts.is_zero();
        let after = if refer || once { lasts } else { subscription::refresh_after(lasts) };
        let due = if refer || once { Due::SubscriptionOver(key) } else { Due::SubscriptionRefresh(key) };
        self.set_subscription_alarm(key, after, due);
    }

    pub(super) fn on_subscription_refresh(&mut self, key: Key) {
        let clock = self.layer.clock();
        let Some(subscription) = self.subscriptions.get(key) else { return };
        let left = subscription.until.map_or(Duration::ZERO, |until| until.since(clock));
        let lasts = subscription.lasts;
        self.set_subscription_alarm(key, left, Due::SubscriptionOver(key));
        // One that can't be sent is over in its time.
        let _ = self.ask(key, lasts, &Content::NONE);
    }

    /// RFC 6665 §4.1.2.2: a refresh that fails leaves the subscription as it was until it expires, and no NOTIFY is owed. In what is left of it it is
    /// tried again, not before `after` is over, if that is of any use.
    fn refresh_failed(&mut self, key: Key, after: Option<Duration>) {
        let clock = self.layer.clock();
        let Some(subscription) = self.subscriptions.get_mut(key) else { return };
        let Role::Subscriber(asked) = &mut subscription.role else { return };
        asked.notified = true;
        let Some(after) = after else { return };
        let left = subscription.until.map_or(Duration::ZERO, |until| until.since(clock));
        let wait = after.max(SOONEST).max(left / 4);
        let refreshes = !asked.refer && !asked.leaving && !subscription.lasts.is_zero();
        if refreshes && wait.saturating_add(SOONEST) < left {
            self.set_subscription_alarm(key, wait, Due::SubscriptionRefresh(key));
        }
    }

    /// A response to a SUBSCRIBE or REFER.
    pub(super) fn on_asked(
        &mut self,
        key: Key,
        work: super::WorkId,
        response: &Message<'_>,
    ) -> Option<Meaning> {
        let code = response.status_code();
        let inside = self.outgoing(work).is_some_and(|sent| sent.dialog.is_some());
        let subscription = self.subscriptions.get_mut(key)?;
        let user = subscription.user;
        let Role::Subscriber(asked) = &mut subscription.role else { return None };
        if code < 200 {
            return None;
        }
        let (established, leaving, refer) =
            (subscription.dialog.is_some() && !asked.refer, asked.leaving, asked.refer);
        let told = Meaning::SubscriptionAnswered { subscription: SubscriptionId(key), user };
        // What an older one is answered says nothing of what has been asked since.
        if asked.work != Some(work) {
            return Some(told);
        }
        if code >= 300 {
            // RFC 6665 §4.1.2.2: a refresh that fails is not the end of what it would refresh, but for some codes.
            let refreshing = established && subscription.alarm.is_some() && !leaving;
            if leaving {
                self.end_subscription(key, Ended::Unsubscribed, None);
            } else if !refreshing {
                self.end_subscription(key, Ended::Refused, None);
            } else if subscription::ends(code) {
                self.end_subscription(key, Ended::Lost, None);
            } else {
                let after = response.get::<RetryAfter<'_>>().ok().flatten().map_or(0, |after| after.seconds);
                let for_now = matches!(code, 408 | 500 | 503 | 504);
                self.refresh_failed(key, for_now.then_some(Duration::from_secs(after.into())));
            }
            return Some(told);
        }
        if refer {
            let no = response.get::<ReferSub<'_>>().ok().flatten().is_some_and(|sub| sub.is("false"));
            if no {
                self.end_subscription(key, Ended::Unsubscribed, None);
            }
            return Some(told);
        }
        // A 2xx in the dialog that says no time grants what was asked for; of the SUBSCRIBE that makes one the NOTIFY may say it.
        let (timed, asked) = (asked.timed, subscription.lasts);
        // That of another fork is not about this one.
        let dialog = subscription.dialog.and_then(|dialog| self.dialogs.get(dialog));
        let is_of_another = dialog.is_some_and(|it| Some(it.dialog.id().remote_tag) != response.to_tag());
        let expires = response.get::<Expires>().ok().flatten();
        let lasts = expires.map(|expires| Duration::from_secs(expires.0.into())).or(inside.then_some(asked));
        if let (Some(lasts), false) = (lasts, leaving || timed || is_of_another) {
            let until = self.layer.clock() + lasts;
            match self.subscriptions.get_mut(key) {
                Some(found) if found.dialog.is_none() => found.until = Some(until),
                _ => self.lasts_for(key, lasts),
            }
        }
        Some(told)
    }

    /// A SUBSCRIBE or REFER is over; without a response, so is what only it could have brought.
    pub(super) fn on_asking_ended(&mut self, key: Key, work: super::WorkId, cause: Cause) {
        // That of an older one says nothing of what has been asked since.
        if self.asked(key).is_none_or(|asked| asked.work != Some(work)) {
            return;
        }
        let sent = self.outgoing(work);
        let inside = sent.is_some_and(|sent| sent.dialog.is_some());
        let answers = sent.filter(|sent| sent.dialog.is_none()).map(|sent| sent.answers.clone());
        let Some(subscription) = self.subscriptions.get_mut(key) else { return };
        let refreshing = subscription.alarm.is_some();
        let Role::Subscriber(asked) = &mut subscription.role else { return };
        asked.work = None;
        asked.answers = answers.unwrap_or_default();
        if !matches!(cause, Cause::Timeout | Cause::TransportError) {
            return;
        }
        // What a NOTIFY has brought holds, whatever becomes of the SUBSCRIBE that asked for it.
        asked.notified |= refreshing;
        if refreshing && inside {
            return self.refresh_failed(key, Some(Duration::ZERO));
        }
        if !asked.notified {
            let reason = if asked.leaving { Ended::Unsubscribed } else { Ended::NoAnswer };
            self.end_subscription(key, reason, None);
        }
    }
}

impl Subscription {
    /// The value of Event.
    pub(super) fn event_value(&self) -> String {
        let package = String::from_utf8_lossy(&self.package);
        match &self.id {
            Some(id) => format!("{package};id={}", String::from_utf8_lossy(id)),
            None => package.into_owned(),
        }
    }
}

/// A refresh is sent no more often than this.
const SOONEST: Duration = Duration::from_secs(1);

/// What the user gave as text.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A time as Expires says it (RFC 3261 §20.19).
fn seconds(time: Duration) -> String {
    format!("{}", u32::try_from(time.as_secs()).unwrap_or(u32::MAX))
}

fn check_event(new: &NewSubscription<'_>) -> Result<(), Misuse> {
    let sound = is_text(new.event) && EventHeader::whole(new.event.as_bytes()).is_ok();
    if !sound {
        return Err(Misuse::BadContent);
    }
    check_stated(&new.content)
}

/// A SUBSCRIBE or REFER outside any dialog, as it is asked.
struct Ask<'a> {
    method: Method<'a>,
    uri: &'a str,
    target: Option<Target>,
    timers: Option<Arc<Timers>>,
    credentials: &'a [Credentials],
    extra: &'a [(&'a str, &'a str)],
    content: &'a Content<'a>,
}

fn check_refer(new: &NewRefer<'_>) -> Result<(), Misuse> {
    if !is_text(new.refer_to) || ReferTo::whole(new.refer_to.as_bytes()).is_err() {
        return Err(Misuse::BadContent);
    }
    check_own(&new.content)
}

fn refer_headers<'a>(new: &NewRefer<'a>) -> Vec<(&'a str, &'a str)> {
    let mut headers = Vec::from([("Refer-To", new.refer_to)]);
    if !new.follow {
        headers.extend([("Refer-Sub", "false"), ("Supported", "norefersub")]);
    }
    headers
}

/// The subscription that a REFER makes.
fn referred(new: &NewRefer<'_>, dialog: Option<Key>) -> Subscription {
    let NewRefer { user, timers, .. } = *new;
    let mut subscription =
        asked(&NewSubscription { user, timers, ..NewSubscription::new("", "refer") }, dialog);
    if let Role::Subscriber(asked) = &mut subscription.role {
        // Its id is known when it is sent.
        (asked.refer, asked.event) = (true, Box::default());
    }
    subscription
}

fn asked(new: &NewSubscription<'_>, dialog: Option<Key>) -> Subscription {
    let event = EventHeader::whole(new.event.as_bytes()).ok();
    let accepts = new.content.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Accept"));
    let accept = accepts.map(|(_, value)| *value).collect::<Vec<_>>().join(", ").into_bytes().into();
    let (whole, timers) = (new.event.as_bytes().into(), new.timers.map(Arc::new));
    let role = Asked { cseq: 1, event: whole, accept, timers, ..Asked::default() };
    Subscription {
        role: Role::Subscriber(role),
        user: new.user,
        dialog,
        package: event.map_or(&b""[..], |event| event.package).into(),
        id: event.and_then(|event| event.id()).map(Box::from),
        lasts: new.expires,
        until: None,
        alarm: None,
        told: None,
        silent: false,
    }
}
