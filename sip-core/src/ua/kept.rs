//! Snapshots of a user agent, and of what is in it.

use super::alarms::{Alarm, Alarms, Due};
use super::outbound::Bound;
use super::outgoing::Call;
use super::publication::Publication;
use super::record::{Invite, Open, OwnContent, Phase, Record, Reliable, Session, Unacked};
use super::registration::Registration;
use super::requests::{Outgoing, Purpose};
use super::subscriptions::{Asked, Role, Subscription};
use super::upkeep::{Upkeep, What};
use super::{Config, Kind, Serving, UserAgent, Work};
use crate::dialog::offer::{self, Carrier, Exchange, Offer};
use crate::dialog::session_timer::Terms;
use crate::dialog::subscription::refresh_after;
use crate::dialog::{Dialog, Ends, Names};
use crate::endpoint::Misuse;
use crate::handle::{DialogId, Key, PublicationId, RegistrationId, SubscriptionId};
use crate::message::Status;
use crate::snapshot::{In, Keep, Kind as Snapshot, NotByte, Out, RestoreError, kept, kept_enum};
use crate::time::Instant;
use crate::transaction::Buffers;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

kept_enum!(Offer { 1 Stable, 2 Local, 3 Remote });
kept_enum!(Carrier { 1 OwnInvite, 2 PeerInvite, 3 OwnUpdate, 4 PeerUpdate, 5 OwnPrack, 6 PeerPrack });
kept!(offer::Open { 1 offer, 2 within });
kept!(Exchange { 1 open });
kept_enum!(Ends { 1 Transaction, 2 Usage, 3 Dialog });
kept_enum!(Phase { 1 Over, 2 Ringing, 3 Early, 4 Up, 5 Terminating });
kept_enum!(Kind { 1 Call, 2 Reinvite, 3 Update, 4 Prack, 5 Subscribe(key), 6 Refer(key), 7 Other });
kept_enum!(Purpose {
    1 Call(invitation), 2 Reinvite, 3 Update, 4 Refresh, 5 Prack { silent }, 6 Bye, 7 Subscribe(key), 8 Notify(key),
    9 Upkeep(key), 10 Other(ends),
});
kept_enum!(Due {
    1 Forks(key), 2 CallExpires(key), 3 RingingExpires(key), 4 StillRinging(key), 5 Repeat2xx(key), 6 NoAck(key),
    7 RepeatReliable(key), 8 NoPrack(key), 9 Refresh(key), 10 Unrefreshed(key), 11 Again(key), 12 TimerN(key),
    13 SubscriptionRefresh(key), 14 SubscriptionOver(key), 15 Upkeep(key), 16 KeepAlive(key),
});
kept_enum!(Role { 1 Subscriber(asked), 2 Notifier { accepted } });
kept_enum!(Work { 1 Request(request), 2 Serving(serving) });

kept!(Dialog {
    12 names, 7 routes, 8 local_cseq, 9 remote_cseq, 10 owner,
    11 target_cseq,
});
kept!(Terms { 1 interval, 2 ours });
kept!(Record { 1 dialog, 10 hash, 2 contact, 3 user, 4 session, 5 answers, 6 waiting, 7 subscriptions, 8 holds });
kept!(Session {
    1 phase, 2 announced, 3 exchange, 4 takes_update, 5 knows_100rel, 6 invitation, 7 rseq, 8 heard, 9 invite, 10 unacked,
    11 reliable, 12 bye_queued, 13 own_invite, 14 own_update, 15 peer_update, 16 owed_pracks, 17 owed_ack,
    18 accepted_cseq, 19 credentials, 20 acks, 21 timer, 22 timer_alarm, 23 replaces,
    24 bye_sent, 25 min_se, 26 timer_ends, 28 early_only, 29 pracks, 30 owed_late, 31 tagged, 32 replaced, 33 late_prack, 34 proven,
});
kept!(Invite { 1 txn, 2 cseq, 3 requires_100rel, 4 spoke, 5 expires, 6 still, 7 last });
kept!(Unacked { 1 txn, 2 cseq, 3 interval, 4 repeat, 5 end });
kept!(Reliable { 1 rseq, 2 cseq, 3 awaits, 4 open, 5 queue });
kept!(Open { 1 interval, 2 repeat, 3 end, 4 session });
kept!(OwnContent { 1 headers, 2 content_type, 3 body });
kept!(Call {
    1 work, 2 user, 3 contact, 4 offered, 5 answered, 6 refused, 7 cancelled, 8 dialogs, 9 targets, 10 tried,
    11 expires, 12 forks, 13 turned_away, 14 min_se,
});
kept!(Outgoing {
    1 purpose, 2 txn, 3 user, 4 dialog, 5 request, 6 answers, 7 cseq, 8 tries, 9 target, 10 timers, 11 offered,
    12 cancelled, 13 rang, 14 early,
});
kept!(Serving { 1 dialog, 2 kind, 3 target, 4 terms, 5 waits, 6 offered, 7 contact, 8 cseq, 9 lasts, 10 early });
kept!(Subscription { 1 role, 2 user, 3 dialog, 4 package, 5 id, 6 lasts, 7 until, 8 alarm, 9 silent, 10 told });
kept!(Asked { 1 call_id, 2 tag, 3 work, 4 cseq, 5 notified, 6 timer_n, 7 leaving, 8 refer, 9 forks, 10 parted, 11 answers, 12 over, 13 timed, 14 event, 15 accept, 16 timers, 17 parting });
kept!(Upkeep {
    1 what, 2 user, 3 uri, 4 target, 5 timers, 6 call_id, 7 tag, 8 cseq, 9 lasts, 10 until, 11 answers, 12 work,
    13 leaving, 14 alarm, 15 bound, 16 failures,
});
kept!(Bound { 1 flow, 7 lasted, 3 every, 4 next, 5 asked, 6 alarm });
kept_enum!(What { 1 Registration(registration), 2 Publication(publication) });
kept!(Registration { 1 aor, 2 contact_params, 3 contacts, 4 route, 5 service_route, 6 bound, 7 headers });
kept!(Publication { 1 event, 2 etag, 3 unsaid, 4 parting });

impl NotByte for (Status, OwnContent) {}
impl NotByte for crate::handle::RequestId {}

impl Keep for Status {
    fn keep(&self, out: &mut Out<'_>) {
        self.code().keep(out);
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        Self::new(Keep::back(from)?).ok_or(RestoreError::Damaged)
    }
}

impl Keep for Names {
    fn keep(&self, out: &mut Out<'_>) {
        let parts = self.parts();
        out.list(parts.len());
        parts.into_iter().for_each(|part| out.bytes(part));
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        if from.list()? != 6 {
            return Err(RestoreError::Damaged);
        }
        let [a, b, c, d] = [from.bytes()?, from.bytes()?, from.bytes()?, from.bytes()?];
        let [e, f] = [from.bytes()?, from.bytes()?];
        Ok(Self::of([&[a], &[b], &[c], &[d], &[e], &[f]]))
    }
}

impl Keep for Alarm {
    fn keep(&self, out: &mut Out<'_>) {
        self.key().keep(out);
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        Keep::back(from).map(Self::of_key)
    }
}

impl UserAgent {
    /// The whole machine as bytes: every dialog, transaction, subscription and registration, and when each is due. The configuration, the seed and the
    /// addresses are not in them. They are secret: who has them can take part in the calls, and knows the credentials that were given with requests.
    ///
    /// # Errors
    /// [`Misuse::WrongState`] while outputs wait to be drained, or something is due.
    pub fn snapshot(&self, now: Instant) -> Result<Vec<u8>, Misuse> {
        let clock = self.clock_at(now);
        if !self.layer.is_drained()
            || !self.events.is_empty()
            || self.next_due().is_some_and(|due| due <= clock)
        {
            return Err(Misuse::WrongState);
        }
        let mut out = Out::new(Snapshot::UserAgent, clock, &self.layer.buffers);
        out.map(8);
        out.number(1);
        self.layer.keep(&mut out);
        out.field(2, &self.dialogs);
        out.field(3, &self.calls);
        out.field(4, &self.work);
        out.field(5, &self.subscriptions);
        out.field(6, &self.upkeeps);
        out.field(7, self.alarms.set_ones());
        out.field(8, &self.alarms.armed());
        Ok(out.into_bytes())
    }

    /// What its clock says when it is given this time: a machine may have been told nothing for long.
    fn clock_at(&self, now: Instant) -> Instant {
        now.max(self.layer.clock())
    }

    /// The user agent that a [`snapshot`](Self::snapshot) was made of: all handles are what they were, and what was due in so long is due in
    /// so long from `now`. What it mints from here on comes from the seed of this configuration: another one than before, or it mints the
    /// same tags and Call-IDs once more.
    ///
    /// State its addresses with [`listen`](crate::Machine::listen). Connections that did not survive are to be reported with
    /// [`flow_closed`](crate::Machine::flow_closed), for all of [`flows`](Self::flows).
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn restore(now: Instant, config: Config, bytes: &[u8]) -> Result<Self, RestoreError> {
        let mut agent = Self::new(config);
        agent.layer.set_clock(now);
        let buffers = core::mem::replace(&mut agent.layer.buffers, Buffers::new(0));
        let mut from = In::new(bytes, Snapshot::UserAgent, agent.layer.clock(), buffers)?;
        let (mut set, mut armed) = (None, None);
        from.fields(|number, from| {
            match number {
                1 => agent.layer.restore(from)?,
                2 => agent.dialogs = Keep::back(from)?,
                3 => agent.calls = Keep::back(from)?,
                4 => agent.work = Keep::back(from)?,
                5 => agent.subscriptions = Keep::back(from)?,
                6 => agent.upkeeps = Keep::back(from)?,
                7 => set = Some(Keep::back(from)?),
                8 => armed = Some(Keep::back(from)?),
                _ => from.skip()?,
            }
            Ok(())
        })?;
        if let (Some(set), Some(armed)) = (set, armed) {
            agent.alarms = Alarms::of(set, armed).ok_or(RestoreError::Damaged)?;
        }
        agent.layer.buffers = from.buffers;
        let dialogs: Vec<Key> = agent.dialogs.iter().map(|(key, _)| key).collect();
        for key in dialogs {
            agent.enter_dialog(key);
            if let Some(record) = agent.dialogs.get_mut(key) {
                record.contact = agent.contacts.share(&[&record.contact]);
            }
        }
        let subscriptions: Vec<Key> = agent.subscriptions.iter().map(|(key, _)| key).collect();
        subscriptions.into_iter().for_each(|key| agent.enter_asked(key));
        let upkeeps: Vec<Key> = agent.upkeeps.iter().map(|(key, _)| key).collect();
        for key in upkeeps {
            agent.enter_upkeep(key);
            agent.enter_bound(key);
        }
        Ok(agent)
    }

    /// A dialog whose session is up, as bytes: identity, route set, numbers, and the session timer with what is left of it; and the
    /// credentials that were given with its INVITE, so they are secret. Requests that are under way in it are not.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] if the session is not up, or is being hung up.
    pub fn snapshot_dialog(&self, now: Instant, dialog: DialogId) -> Result<Vec<u8>, Misuse> {
        let record = self.alive(dialog)?;
        if record.session.phase != Phase::Up || record.session.bye_queued.is_some() {
            return Err(Misuse::WrongState);
        }
        let clock = self.clock_at(now);
        let mut out = Out::new(Snapshot::Dialog, clock, &self.layer.buffers);
        self.keep_dialog(record, clock, &mut out);
        Ok(out.into_bytes())
    }

    fn keep_dialog(&self, record: &Record, clock: Instant, out: &mut Out<'_>) {
        let session = &record.session;
        // A refresh that is under way is not kept: it is sent again at once.
        let refreshing = session.timer.is_some_and(|terms| terms.ours)
            && session
                .timer_alarm
                .is_some_and(|alarm| matches!(self.alarms.what(alarm), Some(Due::Unrefreshed(_))));
        let due = session.timer_alarm.and_then(|alarm| self.alarms.due(alarm));
        let due = due.map(|due| if refreshing { clock } else { due });
        out.map(11);
        out.field(1, &record.dialog);
        out.field(2, &record.contact);
        out.field(3, &record.user);
        out.field(4, &record.answers);
        out.field(5, &session.takes_update);
        out.field(6, &session.knows_100rel);
        out.field(7, &session.accepted_cseq);
        out.field(8, &session.timer);
        out.field(9, &due);
        out.field(10, &session.timer_ends);
        out.field(11, &session.min_se);
    }

    /// A dialog that a [`snapshot_dialog`](Self::snapshot_dialog) was made of, in this machine under a new handle; that of
    /// a subscription restored before, if the two share it.
    ///
    /// Its Contact stays what it was, and that is where the peer sends: this machine must be reached there, or tell the peer otherwise with a re-INVITE.
    /// In the machine that it was taken from the dialog goes on as well; that one is to be dropped, or it refreshes it too.
    ///
    /// # Errors
    /// What is wrong with the bytes; [`RestoreError::Exists`] if its session lives here, [`RestoreError::Full`].
    pub fn restore_dialog(&mut self, now: Instant, bytes: &[u8]) -> Result<DialogId, RestoreError> {
        self.enter(now);
        let mut from = In::new(bytes, Snapshot::Dialog, self.layer.clock(), Buffers::new(0))?;
        let kept = KeptDialog::read(&mut from)?;
        let key = self.open_kept(kept, Phase::Up)?;
        Ok(DialogId(key))
    }

    fn open_kept(&mut self, kept: KeptDialog, phase: Phase) -> Result<Key, RestoreError> {
        let dialog = kept.dialog.ok_or(RestoreError::Damaged)?;
        let session = Session {
            takes_update: kept.takes_update,
            knows_100rel: kept.knows_100rel,
            accepted_cseq: kept.accepted_cseq,
            timer_ends: kept.timer_ends,
            min_se: kept.min_se,
            ..Session::new(phase, phase == Phase::Up)
        };
        let contact = self.contacts.share(&[&kept.contact]);
        let known = self.find_id(&dialog.id());
        let key = match known {
            Some(key) => self.share_kept(key, dialog, contact, session)?,
            None if self.is_full() => return Err(RestoreError::Full),
            None => self.open_dialog(dialog, contact, session),
        };
        if known.is_some() && phase == Phase::Over {
            return Ok(key);
        }
        let clock = self.layer.clock();
        if let Some(record) = self.dialogs.get_mut(key) {
            (record.user, record.answers, record.session.timer) = (kept.user, kept.answers, kept.timer);
            if let (Some(terms), Some(due), Phase::Up) = (kept.timer, kept.due, phase) {
                let then = if terms.ours { Due::Refresh(key) } else { Due::Unrefreshed(key) };
                record.session.timer_alarm = Some(self.alarms.set(clock, due.since(clock), then));
            }
        }
        Ok(key)
    }

    /// Another usage of a dialog that lives here, for its session or a subscription (RFC 5057). Of two that were kept at different times the newer
    /// knows the numbers.
    fn share_kept(
        &mut self,
        key: Key,
        dialog: Dialog,
        contact: Arc<[u8]>,
        session: Session,
    ) -> Result<Key, RestoreError> {
        let record = self.dialogs.get_mut(key).ok_or(RestoreError::Exists)?;
        if session.is_alive() && (record.session.is_alive() || record.session.announced) {
            return Err(RestoreError::Exists);
        }
        let known = &mut record.dialog;
        let said = |it: &Dialog| u64::from(it.local_cseq) + u64::from(it.remote_cseq.unwrap_or_default());
        let is_newer = said(&dialog) > said(known);
        (known.local_cseq, known.remote_cseq) =
            (known.local_cseq.max(dialog.local_cseq), known.remote_cseq.max(dialog.remote_cseq));
        if session.is_alive() {
            record.session = session;
        }
        // And it knows where either side is.
        if is_newer {
            known.names.set_target(dialog.names.target());
            known.target_cseq = dialog.target_cseq;
            record.contact = contact;
        }
        Ok(key)
    }

    /// A subscription of either side as bytes, with its dialog.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] before there is a dialog, before it is accepted, or while it is being ended.
    pub fn snapshot_subscription(
        &self,
        now: Instant,
        subscription: SubscriptionId,
    ) -> Result<Vec<u8>, Misuse> {
        let found = self.subscriptions.get(subscription.0).ok_or(Misuse::Gone)?;
        let record = found.dialog.and_then(|key| self.dialogs.get(key)).ok_or(Misuse::WrongState)?;
        let (subscriber, refer) = match &found.role {
            Role::Subscriber(asked) if asked.leaving || found.alarm.is_none() => {
                return Err(Misuse::WrongState);
            }
            Role::Subscriber(asked) => (true, asked.refer),
            Role::Notifier { accepted: true } => (false, false),
            Role::Notifier { accepted: false } => return Err(Misuse::WrongState),
        };
        let clock = self.clock_at(now);
        let mut out = Out::new(Snapshot::Subscription, clock, &self.layer.buffers);
        out.map(12);
        out.number(1);
        self.keep_dialog(record, clock, &mut out);
        out.field(2, &subscriber);
        out.field(3, &refer);
        out.field(4, &found.user);
        out.field(5, &found.package);
        out.field(6, &found.id);
        out.field(7, &found.lasts);
        out.field(8, &found.until);
        // A refresh that is under way is not kept: it is sent again at once.
        let over = found
            .alarm
            .is_some_and(|alarm| matches!(self.alarms.what(alarm), Some(Due::SubscriptionOver(_))));
        let refreshing = subscriber && !refer && !found.lasts.is_zero() && over;
        let due = found.alarm.and_then(|alarm| self.alarms.due(alarm));
        out.field(9, &due.map(|due| if refreshing { clock } else { due }));
        let (event, accept, timers) = match &found.role {
            Role::Subscriber(asked) => (asked.event.clone(), asked.accept.clone(), asked.timers.clone()),
            Role::Notifier { .. } => Default::default(),
        };
        out.field(10, &event);
        out.field(11, &accept);
        out.field(12, &timers);
        Ok(out.into_bytes())
    }

    /// A subscription that a [`snapshot_subscription`](Self::snapshot_subscription) was made of, in this machine under a new handle. If its dialog lives
    /// here, because it was restored for another usage, it shares that.
    ///
    /// # Errors
    /// What is wrong with the bytes; [`RestoreError::Full`]; [`RestoreError::Exists`].
    pub fn restore_subscription(
        &mut self,
        now: Instant,
        bytes: &[u8],
    ) -> Result<SubscriptionId, RestoreError> {
        self.enter(now);
        let clock = self.layer.clock();
        let mut from = In::new(bytes, Snapshot::Subscription, clock, Buffers::new(0))?;
        let (mut kept, mut subscriber, mut refer, mut due) = (None, true, false, None);
        let (mut event, mut accept, mut timers) = Default::default();
        let mut subscription = Subscription {
            role: Role::Notifier { accepted: true },
            user: 0,
            dialog: None,
            package: Default::default(),
            id: None,
            lasts: Default::default(),
            until: None,
            alarm: None,
            told: None,
            silent: false,
        };
        from.fields(|number, from| {
            match number {
                1 => kept = Some(KeptDialog::read(from)?),
                2 => subscriber = Keep::back(from)?,
                3 => refer = Keep::back(from)?,
                4 => subscription.user = Keep::back(from)?,
                5 => subscription.package = Keep::back(from)?,
                6 => subscription.id = Keep::back(from)?,
                7 => subscription.lasts = Keep::back(from)?,
                8 => subscription.until = Keep::back(from)?,
                9 => due = Keep::back(from)?,
                10 => event = Keep::back(from)?,
                11 => accept = Keep::back(from)?,
                12 => timers = Keep::back(from)?,
                _ => from.skip()?,
            }
            Ok(())
        })?;
        let kept = kept.ok_or(RestoreError::Damaged)?;
        let known = kept.dialog.as_ref().and_then(|dialog| self.find_id(&dialog.names.id()));
        let is_this = |other: &Subscription| {
            matches!(other.role, Role::Subscriber(_)) == subscriber
                && (&other.package, &other.id) == (&subscription.package, &subscription.id)
        };
        let lives = known.and_then(|key| self.dialogs.get(key)).is_some_and(|record| {
            record.subscriptions.iter().filter_map(|key| self.subscriptions.get(*key)).any(is_this)
        });
        if lives {
            return Err(RestoreError::Exists);
        }
        let dialog = self.open_kept(kept, Phase::Over)?;
        if subscriber {
            let asked = Asked { notified: true, refer, event, accept, timers, ..Asked::default() };
            subscription.role = Role::Subscriber(asked);
        }
        let once = refer || subscription.lasts.is_zero() || !subscriber;
        let key = self.open_subscription(Subscription { dialog: Some(dialog), ..subscription });
        let then = if once { Due::SubscriptionOver(key) } else { Due::SubscriptionRefresh(key) };
        let due = due.unwrap_or(clock);
        self.set_subscription_alarm(key, due.since(clock), then);
        Ok(SubscriptionId(key))
    }

    /// A registration as bytes: its identity and numbers, its bindings' end, and how challenges were answered.
    ///
    /// # Errors
    /// [`Misuse::Gone`]
    pub fn snapshot_registration(
        &self,
        now: Instant,
        registration: RegistrationId,
    ) -> Result<Vec<u8>, Misuse> {
        self.service_route(registration)?;
        self.keep_upkeep(now, registration.0, Snapshot::Registration)
    }

    /// A registration that a [`snapshot_registration`](Self::snapshot_registration) was made of, in this machine under a new handle. It is refreshed at
    /// once if its bindings are nearly over, else in time.
    ///
    /// # Errors
    /// What is wrong with the bytes; [`RestoreError::Exists`] if it lives here.
    pub fn restore_registration(
        &mut self,
        now: Instant,
        bytes: &[u8],
    ) -> Result<RegistrationId, RestoreError> {
        self.restore_upkeep(now, bytes, Snapshot::Registration).map(RegistrationId)
    }

    /// A publication as bytes.
    ///
    /// # Errors
    /// [`Misuse::Gone`]
    pub fn snapshot_publication(&self, now: Instant, publication: PublicationId) -> Result<Vec<u8>, Misuse> {
        match self.upkeeps.get(publication.0).map(|upkeep| &upkeep.what) {
            Some(What::Publication(_)) => self.keep_upkeep(now, publication.0, Snapshot::Publication),
            _ => Err(Misuse::Gone),
        }
    }

    /// A publication that a [`snapshot_publication`](Self::snapshot_publication) was made of, as with registrations.
    ///
    /// # Errors
    /// What is wrong with the bytes; [`RestoreError::Exists`] if it lives here.
    pub fn restore_publication(&mut self, now: Instant, bytes: &[u8]) -> Result<PublicationId, RestoreError> {
        self.restore_upkeep(now, bytes, Snapshot::Publication).map(PublicationId)
    }

    fn keep_upkeep(&self, now: Instant, key: Key, kind: Snapshot) -> Result<Vec<u8>, Misuse> {
        let found = self.upkeeps.get(key).ok_or(Misuse::Gone)?;
        let mut out = Out::new(kind, self.clock_at(now), &self.layer.buffers);
        // What is under way may have been sent more than once: its number is used, and so is its nonce.
        match found.work.and_then(|work| self.outgoing(work)) {
            Some(sent) => {
                let (cseq, answers) = (sent.cseq, sent.answers.clone());
                Upkeep { cseq, answers, ..found.clone() }.keep(&mut out);
            }
            None => found.keep(&mut out),
        }
        Ok(out.into_bytes())
    }

    fn restore_upkeep(&mut self, now: Instant, bytes: &[u8], kind: Snapshot) -> Result<Key, RestoreError> {
        self.enter(now);
        let mut from = In::new(bytes, kind, self.layer.clock(), Buffers::new(0))?;
        let upkeep = Upkeep::back(&mut from)?;
        let wanted = match upkeep.what {
            What::Registration(_) => Snapshot::Registration,
            What::Publication(_) => Snapshot::Publication,
        };
        if wanted != kind {
            return Err(RestoreError::Damaged);
        }
        if self.keeps_up(&upkeep.call_id) {
            return Err(RestoreError::Exists);
        }
        Ok(self.take_up(upkeep))
    }

    /// One that comes back from a snapshot: what was under way is not, and it is refreshed when its time has come.
    fn take_up(&mut self, mut upkeep: Upkeep) -> Key {
        let clock = self.layer.clock();
        let was_saying = upkeep.work.take().is_some() || upkeep.what.has_unsaid();
        (upkeep.alarm, upkeep.bound) = (None, None);
        // What is taken back goes on with that, what was being said is said again, and what is bound to a connection needs another one.
        let waits = !upkeep.leaving && !was_saying && !upkeep.what.is_flow();
        let left = upkeep.until.filter(|_| waits).map_or(Duration::ZERO, |until| until.since(clock));
        let key = self.upkeeps.insert(upkeep);
        self.enter_upkeep(key);
        let alarm = self.alarms.set(clock, refresh_after(left), Due::Upkeep(key));
        if let Some(upkeep) = self.upkeeps.get_mut(key) {
            upkeep.alarm = Some(alarm);
        }
        key
    }

    /// What was asked outside dialogs is found by its set again.
    fn enter_asked(&mut self, key: Key) {
        let Some(Subscription { role: Role::Subscriber(asked), .. }) = self.subscriptions.get(key) else {
            return;
        };
        if !asked.call_id.is_empty() {
            let hash = asked.hash(&self.layer.hash);
            self.asked.insert(hash, key.index);
        }
    }
}

/// What is kept of a single dialog.
#[derive(Default)]
struct KeptDialog {
    dialog: Option<Dialog>,
    contact: Arc<[u8]>,
    user: u64,
    answers: crate::auth::Answers,
    takes_update: bool,
    knows_100rel: bool,
    accepted_cseq: Option<u32>,
    timer: Option<Terms>,
    due: Option<Instant>,
    timer_ends: Option<Instant>,
    min_se: u32,
}

impl KeptDialog {
    fn read(from: &mut In<'_>) -> Result<Self, RestoreError> {
        let mut kept = Self::default();
        from.fields(|number, from| {
            match number {
                1 => kept.dialog = Keep::back(from)?,
                2 => kept.contact = Keep::back(from)?,
                3 => kept.user = Keep::back(from)?,
                4 => kept.answers = Keep::back(from)?,
                5 => kept.takes_update = Keep::back(from)?,
                6 => kept.knows_100rel = Keep::back(from)?,
                7 => kept.accepted_cseq = Keep::back(from)?,
                8 => kept.timer = Keep::back(from)?,
                9 => kept.due = Keep::back(from)?,
                10 => kept.timer_ends = Keep::back(from)?,
                11 => kept.min_se = Keep::back(from)?,
                _ => from.skip()?,
            }
            Ok(())
        })?;
        Ok(kept)
    }
}
