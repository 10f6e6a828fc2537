//! Sessions: a dialog with the usage that an INVITE makes in it, from the first response to the BYE.

use super::{Event, Reason, UserAgent, Work};
use crate::dialog::{self, Dialog};
use crate::endpoint::Misuse;
use crate::handle::{DialogId, Invitation, Key, ServerTxn};
use crate::message::{Content, Method};
use crate::time::micros;
use crate::transaction::{BufferId, ClientRequest, Timers};
use crate::transport::Transport;
use alloc::string::String;
use core::time::Duration;

pub(super) struct Session {
    pub(super) dialog: Dialog,
    pub(super) phase: Phase,
    pub(super) user: u64,
    /// Whether the user knows of it, and is to be told of its end.
    pub(super) announced: bool,
    /// At the callee: over what the INVITE came, and how the caller reaches this side.
    pub(super) reached_at: Option<(Transport, String)>,
    /// At the caller: the INVITE that it belongs to, while that lives.
    pub(super) invitation: Option<Invitation>,
    /// The number of the INVITE.
    pub(super) invite_cseq: u32,
    /// At the caller: the ACK for the 2xx, to be sent again with each copy of that.
    pub(super) ack: Option<BufferId>,
    /// The user hung up when no BYE could be sent yet.
    pub(super) bye_queued: bool,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Callee: no final response sent.
    Ringing { txn: ServerTxn },
    /// Callee: 2xx sent, and sent again after `interval`, until the ACK comes (RFC 3261 §13.3.1.4).
    Accepted { txn: ServerTxn, interval: Duration },
    /// Caller: provisional response received.
    Early,
    /// 2xx sent or received, and acknowledged or about to be.
    Confirmed,
    /// BYE sent, not answered.
    Terminating,
    /// Over for the user; kept only to acknowledge late copies of the 2xx.
    Over,
}

impl UserAgent {
    pub(super) fn open_session(&mut self, session: Session) -> DialogId {
        let key = session.dialog.key(&self.layer.hash);
        let id = DialogId(self.sessions.insert(session));
        if self.find_key(key).is_none() {
            self.dialogs.insert(key as u64, id.0.index);
        }
        id
    }

    pub(super) fn sessions_full(&self) -> bool {
        self.sessions.len() >= self.config.core.limits.dialogs
    }

    /// Ends a session for its user.
    pub(super) fn end_session(&mut self, key: Key, reason: Reason) {
        // A stale key has no say over the timers of who lives in its place now.
        let Some(session) = self.sessions.get_mut(key) else { return };
        self.session_timers.disarm(key.index * 2);
        self.session_timers.disarm(key.index * 2 + 1);
        if session.phase == Phase::Over {
            return;
        }
        session.phase = Phase::Over;
        let (user, announced, keep) = (session.user, session.announced, session.invitation.is_some());
        if announced {
            self.push(Event::Ended { dialog: DialogId(key), user, reason });
        }
        if !keep {
            self.forget_session(key);
        }
    }

    /// Removes a session from the tables.
    pub(super) fn forget_session(&mut self, key: Key) {
        let Some(session) = self.sessions.remove(key) else { return };
        self.dialogs.remove(session.dialog.key(&self.layer.hash) as u64, key.index);
        if let Some(ack) = session.ack {
            self.layer.buffers.unpin(ack);
        }
    }

    /// Hangs up (RFC 3261 §15.1.1).
    ///
    /// The callee may not send a BYE before the ACK: then it waits for that, or for the 64·T1 after which none comes.
    /// [`Event::Ended`] comes when the BYE is answered or given up.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] for a call that comes in and is not accepted (reject it), and after another
    /// BYE; [`Misuse::BadContent`].
    pub fn bye(
        &mut self,
        now: crate::Instant,
        dialog: DialogId,
        content: &Content<'_>,
    ) -> Result<(), Misuse> {
        content.check().map_err(|_| Misuse::BadContent)?;
        self.enter(now);
        let done = self.hang_up(dialog, content);
        self.leave();
        done
    }

    fn hang_up(&mut self, dialog: DialogId, content: &Content<'_>) -> Result<(), Misuse> {
        self.session(dialog)?;
        let session = self.sessions.get_mut(dialog.0).ok_or(Misuse::Gone)?;
        match session.phase {
            Phase::Ringing { .. } | Phase::Terminating | Phase::Over => return Err(Misuse::WrongState),
            Phase::Accepted { .. } if session.bye_queued => return Err(Misuse::WrongState),
            Phase::Accepted { .. } => {
                session.bye_queued = true;
                return Ok(());
            }
            Phase::Early | Phase::Confirmed => {}
        }
        if session.phase == Phase::Confirmed && session.invitation.is_some() && session.ack.is_none() {
            // The offer of the 2xx was never answered; it must be acknowledged all the same.
            self.send_ack(dialog.0, &Content::NONE);
        }
        match self.send_bye(dialog.0, content) {
            Err(Misuse::NoLocal(_) | Misuse::BadUri) => {
                self.end_session(dialog.0, Reason::Unreachable);
                Ok(())
            }
            done => done,
        }
    }

    /// Hangs up for a reason of this side's own. A BYE that can't be sent leaves nothing to wait for.
    pub(super) fn give_up(&mut self, key: Key) {
        if self.send_bye(key, &Content::NONE).is_err() {
            self.end_session(key, Reason::Unreachable);
        }
    }

    fn send_bye(&mut self, key: Key, content: &Content<'_>) -> Result<(), Misuse> {
        let token = self.enlist(Work::Bye(DialogId(key)));
        let sent = self.request_bye(key, token, content);
        if sent.is_err() {
            self.unassign(token);
        }
        sent
    }

    fn request_bye(&mut self, key: Key, user: u64, content: &Content<'_>) -> Result<(), Misuse> {
        let session = self.sessions.get_mut(key).ok_or(Misuse::Gone)?;
        let cseq = session.dialog.next_cseq();
        let (uri, towards) = session.dialog.uris();
        let product = &self.config.product;
        let request = ClientRequest { method: Method::Bye, uri, towards, target: None, timers: None, user };
        self.layer.request(&request, |writer| {
            session.dialog.write(writer, Method::Bye, cseq);
            if !product.is_empty() {
                writer.field(crate::headers::Name::UserAgent, &[product.as_bytes()]);
            }
            writer.finish(content);
        })?;
        session.phase = Phase::Terminating;
        Ok(())
    }

    /// A timer of a session: the 2xx again, or no ACK in time.
    pub(super) fn on_session_timer(&mut self, timer: u32) {
        let Some(key) = self.sessions.key_at(timer / 2) else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Phase::Accepted { txn, interval } = &mut session.phase else { return };
        let txn = *txn;
        if timer % 2 == 0 {
            *interval = Timers::interval(interval.saturating_mul(2).min(self.config.core.timers.t2));
            self.session_timers.arm(timer, self.layer.clock(), micros(*interval));
            self.layer.repeat_success(txn);
        } else {
            // RFC 3261 §13.3.1.4: the dialog is confirmed, but the session ends with a BYE.
            self.give_up(key);
            self.end_session(key, Reason::NoAck);
        }
    }

    /// What a failure inside the dialog ends (RFC 5057).
    pub(super) fn on_failure(&mut self, dialog: DialogId, ends: dialog::Ends) {
        let Some(session) = self.sessions.get(dialog.0) else { return };
        if !matches!(session.phase, Phase::Early | Phase::Confirmed) {
            return;
        }
        match ends {
            dialog::Ends::Transaction => {}
            // RFC 3261 §12.2.1.2: the session is ended with a BYE, which the peer may still understand.
            dialog::Ends::Usage => {
                self.give_up(dialog.0);
                self.end_session(dialog.0, Reason::Lost);
            }
            dialog::Ends::Dialog => self.end_session(dialog.0, Reason::Lost),
        }
    }
}
