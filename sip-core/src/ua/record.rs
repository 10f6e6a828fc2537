//! What is kept of a dialog: its state, the session in it, and how many other usages share it (RFC 5057).

use super::alarms::{Alarm, Due};
use super::{Event, Few, Kind, Reason, UserAgent};
use crate::auth::Answers;
use crate::dialog::offer::Exchange;
use crate::dialog::session_timer::Terms;
use crate::dialog::{Dialog, Id};
use crate::endpoint::{Misuse, Txn};
use crate::handle::{DialogId, Invitation, Key, RequestId, ServerTxn};
use crate::message::{Content, Message, Status};
use crate::time::Instant;
use crate::transaction::BufferId;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

/// A dialog in the table of its user agent. It lives as long as a usage does, or a request of this side is under way in it.
pub(super) struct Record {
    pub(super) dialog: Dialog,
    /// The hash of its set, once it is entered.
    pub(super) hash: Option<u64>,
    /// The value of Contact: how the peer reaches this side.
    pub(super) contact: Arc<[u8]>,
    pub(super) user: u64,
    pub(super) session: Session,
    /// How this side has answered challenges in it.
    pub(super) answers: Answers,
    /// Requests of the peer that wait for the user.
    pub(super) waiting: Few<ServerTxn>,
    /// The subscriptions that share it.
    pub(super) subscriptions: Vec<Key>,
    /// Requests of this side that are under way, the INVITE that made it, and subscriptions.
    pub(super) holds: u32,
}

/// The usage that an INVITE makes, from the first response to the BYE.
pub(super) struct Session {
    pub(super) phase: Phase,
    /// Whether the user knows of it, and is to be told of its end.
    pub(super) announced: bool,
    pub(super) exchange: Exchange,
    /// The peer takes UPDATE.
    pub(super) takes_update: bool,
    /// The peer knows reliable provisional responses.
    pub(super) knows_100rel: bool,
    /// Caller: the INVITE that it belongs to, while that lives.
    pub(super) invitation: Option<Invitation>,
    /// The INVITE of this side that is under way, or was last: the last reliable provisional response to it, and whether a response has
    /// carried the peer's part of the offer and answer exchange.
    pub(super) rseq: Option<u32>,
    pub(super) heard: bool,
    /// The INVITE of the peer that has no final response yet: the first, or a re-INVITE.
    pub(super) invite: Option<Invite>,
    /// The 2xx of this side that has no ACK yet.
    pub(super) unacked: Option<Unacked>,
    /// Callee: provisional responses that must be acknowledged in their order.
    pub(super) reliable: Option<Box<Reliable>>,
    /// This side has sent its BYE: there is no other.
    pub(super) bye_sent: bool,
    /// The user hung up when no BYE could be sent yet: what it is to hold.
    pub(super) bye_queued: Option<Box<OwnContent>>,
    /// Callee: it was refused while a reliable response waited for its PRACK, which may still come (RFC 3262 §3); the INVITE's transaction holds
    /// the dialog.
    pub(super) late_prack: bool,
    /// Another call takes its place.
    pub(super) replaced: bool,
    /// Callee: a response has told the peer of the dialog.
    pub(super) tagged: bool,
    /// The peer has shown that it knows of the dialog. Until then it has not lost it, whatever it says: the response that tells it may be lost or late.
    pub(super) proven: bool,
    /// The re-INVITE and the UPDATE of this side that are not answered, or are to be sent again.
    pub(super) own_invite: Option<RequestId>,
    pub(super) own_update: Option<RequestId>,
    /// The UPDATE of the peer that is not answered.
    pub(super) peer_update: Option<ServerTxn>,
    /// The RSeq that waits for the user's PRACK, and the number of its INVITE.
    pub(super) owed_pracks: Vec<(u32, u32)>,
    /// The PRACKs of this side that have no answer.
    pub(super) pracks: Vec<RequestId>,
    /// The number of the INVITE whose 2xx waits for the user's answer.
    pub(super) owed_ack: Option<u32>,
    /// The INVITE of that is over: no copies of its 2xx come, and its ACK is not kept.
    pub(super) owed_late: bool,
    /// The number of the last INVITE of this side that was accepted.
    pub(super) accepted_cseq: Option<u32>,
    /// The credentials of that INVITE, which its ACK repeats (RFC 3261 §22.1): header lines.
    pub(super) credentials: Box<[u8]>,
    /// The ACKs for 2xx, by the number of their INVITE, while copies of the 2xx may come.
    pub(super) acks: Few<(u32, BufferId)>,
    pub(super) timer: Option<Terms>,
    pub(super) timer_alarm: Option<Alarm>,
    /// When it is over unless it is refreshed.
    pub(super) timer_ends: Option<Instant>,
    /// The largest Min-SE that the peer has told in it, in seconds (RFC 4028 §7.4).
    pub(super) min_se: u32,
    /// The dialog that is hung up when this one is accepted (RFC 3891).
    pub(super) replaces: Option<DialogId>,
    /// Only if that one was not answered meanwhile.
    pub(super) early_only: bool,
}

/// An INVITE of the peer without a final response.
#[derive(Clone, Copy)]
pub(super) struct Invite {
    pub(super) txn: ServerTxn,
    pub(super) cseq: u32,
    /// Provisional responses must be reliable.
    pub(super) requires_100rel: bool,
    /// A response has carried this side's part of the offer and answer exchange; what later ones carry is the same again.
    pub(super) spoke: bool,
    /// The Expires of the INVITE, and a minute after the last response.
    pub(super) expires: Option<Alarm>,
    pub(super) still: Option<Alarm>,
    /// The last provisional response.
    pub(super) last: Status,
}

/// A 2xx that is sent again until its ACK comes.
#[derive(Clone, Copy)]
pub(super) struct Unacked {
    pub(super) txn: ServerTxn,
    pub(super) cseq: u32,
    pub(super) interval: Duration,
    pub(super) repeat: Alarm,
    pub(super) end: Alarm,
}

/// Provisional responses that are sent one after the other, each when the one before is acknowledged.
#[derive(Default)]
pub(super) struct Reliable {
    /// The last RSeq, and the number of the INVITE.
    pub(super) rseq: u32,
    pub(super) cseq: u32,
    /// Its PRACK is to come: after a final response too, though nothing is repeated then (RFC 3262 §3).
    pub(super) awaits: bool,
    /// What is repeated until it comes.
    pub(super) open: Option<Open>,
    /// What is to be sent then; at last perhaps the 2xx.
    pub(super) queue: Vec<(Status, OwnContent)>,
}

pub(super) struct Open {
    pub(super) interval: Duration,
    pub(super) repeat: Alarm,
    pub(super) end: Alarm,
    /// It carries an offer or an answer: no 2xx before its PRACK (RFC 3262 §3).
    pub(super) session: bool,
}

/// A [`Content`] that waits.
#[derive(Clone, Default)]
pub(super) struct OwnContent {
    pub(super) headers: Vec<(String, String)>,
    pub(super) content_type: String,
    pub(super) body: Vec<u8>,
}

impl OwnContent {
    pub(super) fn of(content: &Content<'_>) -> Self {
        let headers = content.headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Self {
            headers: headers.collect(),
            content_type: content.content_type.into(),
            body: content.body.into(),
        }
    }

    pub(super) fn with<T>(&self, then: impl FnOnce(&Content<'_>) -> T) -> T {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        then(&Content { headers: &headers, content_type: &self.content_type, body: &self.body })
    }
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The dialog has no session, or no longer.
    Over,
    /// Callee: no final response sent.
    Ringing,
    /// Caller: provisional response received.
    Early,
    /// 2xx sent or received.
    Up,
    /// BYE sent, not answered.
    Terminating,
}

impl Session {
    pub(super) fn new(phase: Phase, announced: bool) -> Self {
        Self {
            phase,
            announced,
            exchange: Exchange::default(),
            takes_update: false,
            knows_100rel: false,
            invitation: None,
            rseq: None,
            heard: false,
            invite: None,
            unacked: None,
            reliable: None,
            bye_sent: false,
            bye_queued: None,
            late_prack: false,
            replaced: false,
            tagged: false,
            // Who calls knows the dialog from the peer.
            proven: !matches!(phase, Phase::Ringing),
            own_invite: None,
            own_update: None,
            peer_update: None,
            owed_pracks: Vec::new(),
            pracks: Vec::new(),
            owed_ack: None,
            owed_late: false,
            accepted_cseq: None,
            credentials: Box::default(),
            acks: Few::new(),
            timer: None,
            timer_alarm: None,
            timer_ends: None,
            min_se: 0,
            replaces: None,
            early_only: false,
        }
    }

    /// No session: the dialog is there for something else.
    pub(super) fn none() -> Self {
        Self::new(Phase::Over, false)
    }

    /// Whether the dialog has, or had, a session.
    pub(super) const fn was_there(&self) -> bool {
        !matches!(self.phase, Phase::Over) || self.announced || self.tagged || self.invitation.is_some()
    }

    /// Whether requests may change it.
    pub(super) const fn is_alive(&self) -> bool {
        !matches!(self.phase, Phase::Over | Phase::Terminating)
    }

    /// Takes what a message of the peer says of its abilities.
    pub(super) fn learn(&mut self, message: &Message<'_>) {
        use crate::headers::{Allow, MinSe, Supported};
        use crate::message::Method;
        let mut methods = message.all::<Allow<'_>>().map_while(Result::ok).peekable();
        if methods.peek().is_some() {
            self.takes_update = methods.any(|allow| allow.0 == Method::Update);
        }
        let mut tags = message.all::<Supported<'_>>().map_while(Result::ok);
        self.knows_100rel |= tags.any(|tag| tag.is("100rel"));
        if let (true, Ok(Some(min))) = (message.is_request(), message.get::<MinSe<'_>>()) {
            self.min_se = self.min_se.max(min.seconds);
        }
    }
}

impl UserAgent {
    pub(super) fn open_dialog(&mut self, dialog: Dialog, contact: Arc<[u8]>, session: Session) -> Key {
        let key = self.dialogs.insert(Record {
            dialog,
            hash: None,
            contact,
            user: 0,
            session,
            answers: Answers::default(),
            waiting: Few::new(),
            subscriptions: Vec::new(),
            holds: 0,
        });
        self.enter_dialog(key);
        key
    }

    /// Makes a dialog one that is found. Of two with one name, the one that lives: a tag may come back when the first is over.
    pub(super) fn enter_dialog(&mut self, key: Key) {
        let Some(record) = self.dialogs.get(key) else { return };
        let id = record.dialog.id();
        let hash = id.set_hash(&self.layer.hash);
        if let Some(known) = self.find_hashed(&id, hash) {
            if self.alive(DialogId(known)).is_ok() {
                return;
            }
            self.unfind(known);
        }
        self.by_set.insert(hash, key.index);
        if let Some(record) = self.dialogs.get_mut(key) {
            record.hash = Some(hash);
        }
    }

    /// It is not found any more.
    fn unfind(&mut self, key: Key) {
        if let Some(hash) = self.dialogs.get_mut(key).and_then(|record| record.hash.take()) {
            self.by_set.remove(hash, key.index);
        }
    }

    /// How many forks one request may have in all, those that are over among them: four times as many as may be alive.
    pub(super) const fn most_forks(&self) -> usize {
        self.config.core.limits.forks.saturating_mul(4)
    }

    pub(super) fn is_full(&self) -> bool {
        self.dialogs.len() >= self.config.core.limits.dialogs
    }

    pub(super) fn find_id(&self, id: &Id<'_>) -> Option<Key> {
        self.find_hashed(id, id.set_hash(&self.layer.hash))
    }

    fn find_hashed(&self, id: &Id<'_>, hash: u64) -> Option<Key> {
        let is = |place| self.dialogs.at(place).is_some_and(|record| record.dialog.id() == *id);
        self.dialogs.key_at(self.by_set.get(hash, is)?)
    }

    /// A dialog in which there is something for its user: a session, or subscriptions.
    pub(super) fn alive(&self, dialog: DialogId) -> Result<&Record, Misuse> {
        let used = |record: &&Record| record.session.phase != Phase::Over || !record.subscriptions.is_empty();
        self.dialogs.get(dialog.0).filter(used).ok_or(Misuse::Gone)
    }

    /// One in which a new request may be sent: after the BYE of this side none may.
    pub(super) fn open(&self, dialog: DialogId) -> Result<&Record, Misuse> {
        let record = self.alive(dialog)?;
        let session = &record.session;
        let leaving = session.phase == Phase::Terminating || session.bye_queued.is_some();
        // RFC 3261 §12.1: the peer knows of the dialog by a response with its tag.
        let unknown = session.phase == Phase::Ringing && !session.tagged;
        if leaving || unknown { Err(Misuse::WrongState) } else { Ok(record) }
    }

    pub(super) fn session_mut(&mut self, key: Key) -> Option<&mut Session> {
        self.dialogs.get_mut(key).map(|record| &mut record.session)
    }

    /// One more that needs the dialog.
    pub(super) fn hold(&mut self, key: Key) {
        if let Some(record) = self.dialogs.get_mut(key) {
            record.holds += 1;
        }
    }

    /// One less: the last one takes the dialog with it, if its session is over. What still waits in it is answered with 481.
    pub(super) fn release(&mut self, key: Key) {
        if let Some(record) = self.dialogs.get_mut(key) {
            record.holds = record.holds.saturating_sub(1);
            self.forget_if_over(key);
        }
    }

    fn forget_if_over(&mut self, key: Key) {
        let over = |record: &Record| record.session.phase == Phase::Over && record.holds == 0;
        if !self.dialogs.get(key).is_some_and(over) {
            return;
        }
        self.unfind(key);
        let Some(record) = self.dialogs.remove(key) else { return };
        self.alarms.stop(record.session.timer_alarm);
        for (_, ack) in record.session.acks {
            self.layer.buffers.unpin(ack);
        }
        for txn in record.waiting {
            self.withdraw(txn, Status::NO_SUCH_TRANSACTION);
        }
    }

    /// Ends a session for its user. The requests of the peer that wait in it are answered with 487 (RFC 3261 §15.1.2), but for those that have a
    /// usage of their own (RFC 5057 §5.5).
    pub(super) fn end_session(&mut self, key: Key, reason: Reason) {
        // RFC 3261 §13.2.2.4: a 2xx whose answer the user still owes is acknowledged without.
        if let Some(cseq) = self.session_mut(key).and_then(|session| session.owed_ack.take()) {
            if let Some(ack) = self.write_ack(key, cseq, &Content::NONE) {
                self.keep_ack(key, cseq, ack);
            }
        }
        let Some(record) = self.dialogs.get_mut(key) else { return };
        let session = &mut record.session;
        if session.phase == Phase::Over {
            return;
        }
        let awaits = session.reliable.as_ref().is_some_and(|reliable| reliable.awaits);
        if awaits && session.phase == Phase::Ringing {
            session.late_prack = true;
            record.holds += 1;
        }
        session.phase = Phase::Over;
        let (user, announced) = (record.user, session.announced);
        let reason = if session.replaced { Reason::Replaced } else { reason };
        let alarms = [
            session.timer_alarm.take(),
            session.invite.and_then(|invite| invite.expires),
            session.invite.and_then(|invite| invite.still),
            session.unacked.map(|unacked| unacked.repeat),
            session.unacked.map(|unacked| unacked.end),
        ];
        let reliable = session.reliable.as_mut().and_then(|reliable| reliable.open.take());
        session.reliable = session.reliable.take().filter(|_| session.late_prack);
        let reliable = reliable.map(|open| [open.repeat, open.end]).into_iter().flatten().map(Some);
        session.unacked = None;
        session.invite = None;
        session.bye_queued = None;
        session.owed_pracks.clear();
        for alarm in alarms.into_iter().chain(reliable) {
            self.alarms.stop(alarm);
        }
        let waiting = core::mem::take(&mut record.waiting);
        let (stay, go): (Few<_>, Few<_>) =
            waiting.into_iter().partition(|txn| self.is_for_subscription(*txn));
        if let Some(record) = self.dialogs.get_mut(key) {
            record.waiting = stay;
        }
        for txn in go {
            self.withdraw(txn, Status::REQUEST_TERMINATED);
        }
        if announced {
            self.push(Event::Ended { dialog: DialogId(key), user, reason });
        }
        self.forget_if_over(key);
    }

    /// Whether a request of the peer asks for something that outlives a session.
    fn is_for_subscription(&self, txn: ServerTxn) -> bool {
        let serving = self.layer.user(Txn::Server(txn)).and_then(|token| self.serving(token));
        serving.is_some_and(|(_, serving)| matches!(serving.kind, Kind::Subscribe(_) | Kind::Refer(Some(_))))
    }

    pub(super) fn on_alarm(&mut self, due: Due) {
        match due {
            Due::Forks(call) => self.drop_early(Invitation(call)),
            Due::CallExpires(call) => self.on_call_expired(Invitation(call)),
            Due::RingingExpires(key) => self.on_ringing_expired(key),
            Due::StillRinging(key) => self.on_still_ringing(key),
            Due::Repeat2xx(key) => self.on_repeat_2xx(key),
            Due::NoAck(key) => self.on_no_ack(key),
            Due::RepeatReliable(key) => self.on_repeat_reliable(key),
            Due::NoPrack(key) => self.on_no_prack(key),
            Due::Refresh(key) => self.on_refresh_due(key),
            Due::Unrefreshed(key) => self.on_unrefreshed(key),
            Due::Again(work) => self.on_again(work),
            Due::TimerN(key) => self.on_timer_n(key),
            Due::SubscriptionRefresh(key) => self.on_subscription_refresh(key),
            Due::SubscriptionOver(key) => self.on_subscription_over(key),
            Due::Upkeep(key) => self.on_upkeep_due(key),
            Due::KeepAlive(key) => self.on_keep_alive(key),
        }
    }
}
