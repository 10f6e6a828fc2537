//! Reliable provisional responses and their PRACKs (RFC 3262): sent until acknowledged by the callee, acknowledged by the caller.

use super::alarms::Due;
use super::machine::Meaning;
use super::record::{Open, Phase, Reliable};
use super::requests::{Purpose, check_own};
use super::validate::Refusal;
use super::{Kind, Reason, UserAgent, WorkId};
use crate::dialog::offer::{self, Carrier, Offer};
use crate::dialog::reliable::{self, Order};
use crate::endpoint::Misuse;
use crate::handle::{DialogId, Key, RequestId, ServerTxn};
use crate::message::{Content, Message, Method, Status};
use crate::time::Instant;
use crate::transaction::Timers;
use alloc::format;

// The callee.

impl Reliable {
    /// Whether this is the PRACK that is to come.
    pub(super) fn awaits_this(&self, prack: &Message<'_>) -> bool {
        self.awaits && prack.method() == Method::Prack && reliable::acknowledges(prack, self.rseq, self.cseq)
    }
}

impl UserAgent {
    /// Sends a provisional response reliably; no other waits for its PRACK.
    pub(super) fn send_reliably(
        &mut self,
        key: Key,
        status: Status,
        content: &Content<'_>,
    ) -> Result<(), Misuse> {
        let random = self.layer.random.u64();
        let session = self.session_mut(key).ok_or(Misuse::Gone)?;
        let invite = session.invite.ok_or(Misuse::WrongState)?;
        // RFC 3262 §5: the first one to who asks for an offer has it.
        let asked = !invite.spoke && session.exchange.state() == Offer::Stable;
        if asked && !offer::is_in_content(content) {
            return Err(Misuse::BadContent);
        }
        // The numbers of each INVITE begin anew.
        let last = session.reliable.as_ref().filter(|last| last.cseq == invite.cseq).map(|last| last.rseq);
        let rseq = last.map_or(reliable::first(random), |last| last.wrapping_add(1));
        self.respond_inside(key, invite.txn, status, content, Some(rseq))?;
        let (timers, clock) = (self.config.core.timers, self.layer.clock());
        let Some(record) = self.dialogs.get_mut(key) else { return Ok(()) };
        let reliable = record.session.reliable.get_or_insert_default();
        (reliable.rseq, reliable.cseq, reliable.awaits) = (rseq, invite.cseq, true);
        reliable.open = Some(Open {
            interval: timers.t1,
            repeat: self.alarms.set(clock, timers.t1, Due::RepeatReliable(key)),
            end: self.alarms.set(clock, timers.t1x64(), Due::NoPrack(key)),
            session: offer::is_in_content(content),
        });
        Ok(())
    }

    pub(super) fn on_prack(&mut self, key: Key, txn: ServerTxn, prack: &Message<'_>) -> Option<Meaning> {
        let record = self.dialogs.get_mut(key)?;
        let (session, user) = (&mut record.session, record.user);
        let awaited = session.reliable.as_mut().filter(|open| open.awaits_this(prack));
        let Some(reliable) = awaited else {
            return self.decline(txn, Refusal::status(Status::NO_SUCH_TRANSACTION));
        };
        reliable.awaits = false;
        let open = reliable.open.take();
        self.alarms.stop(open.as_ref().map(|open| open.repeat));
        self.alarms.stop(open.as_ref().map(|open| open.end));
        let offers = offer::is_in(prack) && session.exchange.state() == Offer::Stable;
        // The offer that it answers, or leaves unanswered for good; one in the 2xx is the ACK's to answer.
        if open.as_ref().is_some_and(|open| open.session) {
            session.exchange.close(Offer::Local, Carrier::PeerInvite);
        }
        let meaning = if offers {
            let meaning = self.hand_over(txn, Some(key), Kind::Prack, b"", None);
            self.take_offer(key, txn, true);
            meaning
        } else {
            self.answer(txn, Status::OK, |_| {});
            Some(Meaning::Acknowledged { dialog: DialogId(key), user })
        };
        self.send_next(key);
        meaning
    }

    /// RFC 3262 §3: a PRACK for what waited for it when the INVITE was refused.
    pub(super) fn on_late_prack(&mut self, key: Key, txn: ServerTxn, prack: &Message<'_>) -> Option<Meaning> {
        let reliable = self.session_mut(key).and_then(|session| session.reliable.as_mut());
        let awaited = reliable.filter(|open| open.awaits_this(prack)).map(|open| open.awaits = false);
        if awaited.is_none() {
            return self.decline(txn, Refusal::status(Status::NO_SUCH_TRANSACTION));
        }
        self.answer(txn, Status::OK, |_| {});
        Some(Meaning::Served(Some(DialogId(key))))
    }

    /// Sends what has waited for a PRACK.
    fn send_next(&mut self, key: Key) {
        loop {
            let Some(session) = self.session_mut(key) else { return };
            let (Some(invite), Some(reliable)) = (session.invite, session.reliable.as_mut()) else { return };
            if reliable.queue.is_empty() || reliable.open.is_some() {
                return;
            }
            let (status, content) = reliable.queue.remove(0);
            let done = content.with(|content| match status.is_final() {
                true => self.respond_inside(key, invite.txn, status, content, None),
                false => self.send_reliably(key, status, content),
            });
            if done.is_err() && status.is_final() {
                // What the user said cannot be sent any more: a second offer. The call must not hang.
                self.fail_invite(key, Status::SERVER_INTERNAL_ERROR, Reason::Rejected);
            }
        }
    }

    pub(super) fn on_repeat_reliable(&mut self, key: Key) {
        let clock = self.layer.clock();
        let Some(session) = self.session_mut(key) else { return };
        let (Some(invite), Some(reliable)) = (session.invite, session.reliable.as_mut()) else { return };
        let Some(open) = reliable.open.as_mut() else { return };
        // RFC 3262 §3: doubled without a cap.
        open.interval = Timers::interval(open.interval.saturating_mul(2));
        let after = open.interval;
        let repeat = self.alarms.set(clock, after, Due::RepeatReliable(key));
        if let Some(open) = self
            .session_mut(key)
            .and_then(|session| session.reliable.as_mut())
            .and_then(|reliable| reliable.open.as_mut())
        {
            open.repeat = repeat;
        }
        self.layer.repeat_provisional(invite.txn);
    }

    /// RFC 3262 §3: "a 5xx"; a PRACK that does not come is a time-out.
    pub(super) fn on_no_prack(&mut self, key: Key) {
        self.fail_invite(key, Status::SERVER_TIMEOUT, Reason::NoPrack);
    }

    /// Refuses the INVITE of the peer in the user's place. A call that it was to begin is over; one that it was to change goes on.
    pub(super) fn fail_invite(&mut self, key: Key, status: Status, reason: Reason) {
        let Some(session) = self.session_mut(key) else { return };
        let Some(invite) = session.invite else { return };
        let begins = session.phase == Phase::Ringing;
        self.withdraw(invite.txn, status);
        if begins {
            self.end_session(key, reason);
        }
    }
}

// The caller.

impl UserAgent {
    /// Acknowledges a reliable provisional response whose [`Progress`](super::Event::Progress) (or, to a re-INVITE,
    /// [`Response`](super::Event::Response)) waits for it, with the answer to its offer, or with an offer
    /// if none is open (RFC 3262 §5).
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] if nothing waits for a PRACK, for a second offer, or after the BYE of this side;
    /// [`Misuse::BadContent`], also where an answer is owed and is not there;
    /// [`Misuse::NoLocal`], [`Misuse::BadUri`], [`Misuse::Full`].
    pub fn prack(
        &mut self,
        now: Instant,
        dialog: DialogId,
        user: u64,
        content: &Content<'_>,
    ) -> Result<RequestId, Misuse> {
        check_own(content)?;
        self.enter(now);
        let session = &self.open(dialog)?.session;
        let owed = session.owed_pracks.first().filter(|_| session.is_alive());
        let owed = *owed.ok_or(Misuse::WrongState)?;
        // RFC 3262 §5: the offer came with the last of them at the latest, and is answered in its PRACK.
        let answers =
            session.exchange.is(Offer::Remote, Carrier::OwnInvite) && session.owed_pracks.len() == 1;
        if answers && !offer::is_in_content(content) {
            return Err(Misuse::BadContent);
        }
        let sent = self.send_prack(dialog.0, owed, Purpose::Prack { silent: false }, user, content);
        if let (Ok(_), Some(session)) = (&sent, self.session_mut(dialog.0)) {
            session.owed_pracks.remove(0);
        }
        self.leave();
        sent
    }

    fn send_prack(
        &mut self,
        key: Key,
        (rseq, cseq): (u32, u32),
        purpose: Purpose,
        user: u64,
        content: &Content<'_>,
    ) -> Result<RequestId, Misuse> {
        let rack = format!("{rseq} {cseq} INVITE");
        let sent = self.send_inside(key, purpose, Method::Prack, user, content, &[("RAck", &rack)])?;
        if let Some(session) = self.session_mut(key) {
            session.pracks.push(sent);
        }
        Ok(sent)
    }

    /// A PRACK is answered, or will not be.
    pub(super) fn prack_done(&mut self, key: Key, work: WorkId) {
        if let Some(session) = self.session_mut(key) {
            session.pracks.retain(|open| *open != RequestId(work));
        }
    }

    /// A provisional response to an INVITE of this side, in its dialog. `None`: it is not the next one, and as if it had not come; else
    /// whether it waits for the user's PRACK.
    pub(super) fn on_reliable(&mut self, key: Key, response: &Message<'_>) -> Option<bool> {
        // RFC 6228 §4: what ends the dialog is acknowledged by itself.
        let auto = self.config.auto_prack || response.status_code() == 199;
        let record = self.dialogs.get_mut(key)?;
        let session = &mut record.session;
        // A callee that waits for no PRACK makes no end of them: what is not taken now comes again.
        let open = session.pracks.len() + session.owed_pracks.len();
        if open >= MOST_PRACKS && reliable::rseq(response).is_some() {
            return None;
        }
        match reliable::take(&mut session.rseq, response) {
            Order::Unreliable => return Some(false),
            Order::Discarded => return None,
            Order::Next => {}
        }
        // RFC 6141 §4.7
        record.dialog.refresh(response);
        self.note_change(key);
        let session = self.session_mut(key)?;
        let speaks = offer::is_in(response) && !session.heard;
        if speaks {
            session.heard = true;
            session.exchange = session.exchange.received(Carrier::OwnInvite);
        }
        let rack = (session.rseq?, response.cseq().number);
        let ends = response.status_code() == 199;
        if !auto || (speaks && !ends && session.exchange.is(Offer::Remote, Carrier::OwnInvite)) {
            session.owed_pracks.push(rack);
            return Some(true);
        }
        // One that can't be sent is missed by the callee alone, which gives up in its time.
        let _ = self.send_prack(key, rack, Purpose::Prack { silent: true }, 0, &Content::NONE);
        Some(false)
    }

    /// Whether the session of this dialog may still come to be.
    pub(super) fn is_early(&self, key: Key) -> bool {
        self.dialogs.get(key).is_some_and(|record| record.session.phase == Phase::Early)
    }
}

/// How many reliable responses of one dialog may be without their PRACK, or it without its answer.
const MOST_PRACKS: usize = 8;
