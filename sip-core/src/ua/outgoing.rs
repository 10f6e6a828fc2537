//! Calls that this side places (RFC 3261 §13.2).

use super::machine::Meaning;
use super::session::{Phase, Session};
use super::{ACCEPT, ALLOW, Event, NewInvite, Reason, UserAgent, Work, contact};
use crate::dialog::{Dialog, Side, token};
use crate::endpoint::{Cause, Misuse};
use crate::handle::{ClientTxn, DialogId, Invitation, Key};
use crate::headers::{Address, Header, Name, Route};
use crate::message::{Content, Message, Method, is_text};
use crate::time::{Instant, micros};
use crate::transaction::{ClientRequest, towards};
use crate::transport::{NextHop, next_hop};
use crate::uri::Uri;
use alloc::vec::Vec;

/// An INVITE and the dialogs that its forks make.
pub(super) struct Call {
    txn: Option<ClientTxn>,
    user: u64,
    /// The INVITE held an offer.
    offered: bool,
    /// A 2xx came.
    answered: bool,
    /// The user does not want the call any more.
    cancelled: bool,
    sessions: Vec<Key>,
}

impl UserAgent {
    /// Places a call.
    ///
    /// # Errors
    /// [`Misuse::BadUri`], [`Misuse::BadContent`], [`Misuse::NoLocal`], [`Misuse::Full`], [`Misuse::Draining`].
    pub fn invite(&mut self, now: Instant, invite: &NewInvite<'_>) -> Result<Invitation, Misuse> {
        self.enter(now);
        let done = self.place(invite);
        self.leave();
        done
    }

    fn place(&mut self, invite: &NewInvite<'_>) -> Result<Invitation, Misuse> {
        invite.content.check().map_err(|_| Misuse::BadContent)?;
        let routes_are_sound =
            invite.route.iter().all(|route| is_text(route) && Route::whole(route.as_bytes()).is_ok());
        let from = if invite.from.is_empty() { &*self.config.identity } else { invite.from };
        if !routes_are_sound || !is_text(from) || Address::whole(from.as_bytes()).is_err() {
            return Err(Misuse::BadContent);
        }
        Uri::parse(invite.uri.as_bytes()).map_err(|_| Misuse::BadUri)?;
        if self.sessions_full() {
            return Err(Misuse::Full);
        }
        let towards = towards(invite.uri.as_bytes(), invite.route.first().map(|route| route.as_bytes()));
        let (tag, call_id) = (token(self.layer.random.u64()), token(self.layer.random.u64()));
        let (transport, addr) = match (invite.target, Uri::parse(towards).ok().as_ref().and_then(next_hop)) {
            (Some(target), _) | (None, Some(NextHop::Address(target))) => {
                (target.transport, Some(target.addr))
            }
            (None, Some(NextHop::Name { transport, .. })) => (transport, None),
            (None, None) => return Err(Misuse::BadUri),
        };
        let (_, sent_by) = self.layer.locals.towards(transport, addr).ok_or(Misuse::NoLocal(transport))?;
        let sent_by = alloc::string::String::from(sent_by);
        let call = Call {
            txn: None,
            user: invite.user,
            offered: !invite.content.body.is_empty(),
            answered: false,
            cancelled: false,
            sessions: Vec::new(),
        };
        let invitation = Invitation(self.calls.insert(call));
        let token = self.enlist(Work::Invite(invitation));
        let request = ClientRequest {
            method: Method::Invite,
            uri: invite.uri.as_bytes(),
            towards,
            target: invite.target,
            timers: invite.timers,
            user: token,
        };
        let from = if invite.from.is_empty() { &*self.config.identity } else { invite.from };
        let (user, product) = (&self.config.user, &self.config.product);
        let txn = self.layer.request(&request, |writer| {
            for route in invite.route {
                writer.field(Name::Route, &[route.as_bytes()]);
            }
            writer
                .field(Name::From, &[from.as_bytes(), b";tag=", &tag])
                .field(Name::To, &[b"<", invite.uri.as_bytes(), b">"])
                .field(Name::CallId, &[&call_id])
                .cseq(1, Method::Invite)
                .number(Name::MaxForwards, 70);
            contact(writer, user, transport, &sent_by);
            writer.field(Name::Allow, &[ALLOW.as_bytes()]).field(Name::Accept, &[ACCEPT.as_bytes()]);
            if !product.is_empty() {
                writer.field(Name::UserAgent, &[product.as_bytes()]);
            }
            writer.finish(&invite.content);
        });
        match txn {
            Ok(txn) => {
                if let Some(call) = self.calls.get_mut(invitation.0) {
                    call.txn = Some(txn);
                }
                Ok(invitation)
            }
            Err(misuse) => {
                self.unassign(token);
                self.calls.remove(invitation.0);
                Err(misuse)
            }
        }
    }

    /// Gives up a call that is not answered (RFC 3261 §9.1): the CANCEL goes out when a provisional response has come. A 2xx
    /// may still win the race; then it is acknowledged and the call hung up.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] after a final response.
    pub fn cancel(&mut self, now: Instant, invitation: Invitation) -> Result<(), Misuse> {
        self.enter(now);
        let txn = self.calls.get(invitation.0).ok_or(Misuse::Gone)?.txn.ok_or(Misuse::WrongState)?;
        let done = self.layer.cancel(txn);
        if let (Ok(()), Some(call)) = (done, self.calls.get_mut(invitation.0)) {
            call.cancelled = true;
        }
        self.leave();
        done
    }

    /// Whether copies of the final response of this INVITE may still come and want their ACK.
    pub fn awaits_copies(&self, invitation: Invitation) -> bool {
        self.calls.get(invitation.0).is_some()
    }

    /// Acknowledges a 2xx that held an offer, with the answer (RFC 3261 §13.2.2.4).
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] if the ACK has been sent or there is nothing to acknowledge;
    /// [`Misuse::BadContent`].
    pub fn ack(&mut self, now: Instant, dialog: DialogId, answer: &Content<'_>) -> Result<(), Misuse> {
        answer.check().map_err(|_| Misuse::BadContent)?;
        self.enter(now);
        let session = self.session(dialog)?;
        let waits =
            session.phase == Phase::Confirmed && session.invitation.is_some() && session.ack.is_none();
        if !waits {
            return Err(Misuse::WrongState);
        }
        self.send_ack(dialog.0, answer);
        self.leave();
        Ok(())
    }

    /// RFC 3261 §13.2.2.4: by the route set of the dialog, with the number of the INVITE and a branch of its own. Where no ACK can
    /// be sent there is no call.
    pub(super) fn send_ack(&mut self, key: Key, content: &Content<'_>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let (uri, towards) = session.dialog.uris();
        let ack = self.layer.send_stateless(Method::Ack, uri, towards, |writer| {
            session.dialog.write(writer, Method::Ack, session.invite_cseq);
            writer.finish(content);
        });
        match ack {
            Ok(ack) => session.ack = Some(ack),
            Err(_) => self.end_session(key, Reason::Unreachable),
        }
    }

    /// The same ACK again.
    fn repeat_ack(&mut self, key: Key) {
        if let Some(Session { ack: Some(ack), dialog, .. }) = self.sessions.get(key) {
            self.layer.repeat_stateless(*ack, dialog.uris().1);
        }
    }

    pub(super) fn on_invite_response(
        &mut self,
        invitation: Invitation,
        response: &Message<'_>,
    ) -> Option<Meaning> {
        let user = self.calls.get(invitation.0)?.user;
        match response.status_code() {
            ..=199 => {
                let dialog = self.on_provisional(invitation, response)?;
                Some(Meaning::Progress { invitation, user, dialog })
            }
            200..=299 => self.on_success(invitation, response),
            _ => {
                self.drop_early(invitation);
                if let Some(call) = self.calls.get_mut(invitation.0) {
                    call.txn = None;
                }
                Some(Meaning::Refused { invitation, user })
            }
        }
    }

    /// RFC 3261 §12.1.2, §13.2.2.1: each To tag is an early dialog of its own; a 100, or a response without a tag, is none.
    fn on_provisional(&mut self, invitation: Invitation, response: &Message<'_>) -> Option<Option<DialogId>> {
        let status = response.status_code();
        if status == 100 || response.to_tag().is_none() {
            return Some(None);
        }
        if let Some(key) = self.find(response, Side::Caller) {
            // RFC 6228 §4: 199 ends this early dialog and nothing else.
            let early = self.sessions.get(key).is_some_and(|session| session.phase == Phase::Early);
            if status == 199 && early {
                self.end_session(key, Reason::NotChosen);
            }
            return Some(Some(DialogId(key)));
        }
        if status == 199 {
            return None;
        }
        self.fork(invitation, response, Phase::Early).map(Some)
    }

    /// RFC 3261 §13.2.2.4: every 2xx with a new To tag is a dialog of its own; every one is acknowledged.
    fn on_success(&mut self, invitation: Invitation, response: &Message<'_>) -> Option<Meaning> {
        let key = match self.find(response, Side::Caller) {
            Some(key) => {
                let session = self.sessions.get_mut(key)?;
                match session.phase {
                    Phase::Early => {
                        session.dialog.confirm(response);
                        session.phase = Phase::Confirmed;
                    }
                    // Over before it was answered: acknowledged all the same, and hung up if that was not done.
                    Phase::Over | Phase::Terminating if session.ack.is_none() => {
                        let over = session.phase == Phase::Over;
                        session.dialog.confirm(response);
                        session.announced &= !over;
                        self.send_ack(key, &Content::NONE);
                        if over {
                            self.give_up(key);
                        }
                        return None;
                    }
                    _ => {
                        self.repeat_ack(key);
                        return None;
                    }
                }
                key
            }
            None => self.fork(invitation, response, Phase::Confirmed)?.0,
        };
        let call = self.calls.get_mut(invitation.0)?;
        let surplus = call.answered && !self.config.keep_forks;
        let wants_answer = !call.offered && !response.body().is_empty() && !call.cancelled && !surplus;
        let (user, cancelled) = (call.user, call.cancelled);
        if !core::mem::replace(&mut call.answered, true) {
            let after = self.config.core.timers.t1x64();
            self.call_timers.arm(invitation.0.index, self.layer.clock(), micros(after));
        }
        if !wants_answer {
            self.send_ack(key, &Content::NONE);
        }
        let up = self.sessions.get(key).is_some_and(|session| session.phase == Phase::Confirmed);
        if up && (surplus || cancelled) {
            self.give_up(key);
        }
        if surplus {
            return None;
        }
        // A call that ended as it began is told of with its end, which is queued already.
        let session = self.sessions.get_mut(key)?;
        if !core::mem::replace(&mut session.announced, true) && session.phase == Phase::Over {
            self.push(Event::Ended { dialog: DialogId(key), user, reason: Reason::Unreachable });
        }
        Some(Meaning::Answered { invitation, user, dialog: DialogId(key), wants_answer })
    }

    /// A dialog for a fork that this side has not heard of.
    fn fork(&mut self, invitation: Invitation, response: &Message<'_>, phase: Phase) -> Option<DialogId> {
        let call = self.calls.get(invitation.0)?;
        if call.sessions.len() >= self.config.core.limits.forks || self.sessions_full() {
            return None;
        }
        let session = Session {
            dialog: Dialog::of_response(response),
            phase,
            user: call.user,
            announced: phase == Phase::Early,
            reached_at: None,
            invitation: Some(invitation),
            invite_cseq: response.cseq().number,
            ack: None,
            bye_queued: false,
        };
        let id = self.open_session(session);
        self.calls.get_mut(invitation.0)?.sessions.push(id.0);
        Some(id)
    }

    /// Ends the early dialogs of a call.
    pub(super) fn drop_early(&mut self, invitation: Invitation) {
        let sessions = self.calls.get(invitation.0).map(|call| call.sessions.clone()).unwrap_or_default();
        for key in sessions {
            if self.sessions.get(key).is_some_and(|session| session.phase == Phase::Early) {
                self.end_session(key, Reason::NotChosen);
            }
        }
    }

    /// RFC 3261 §13.2.2.4: 64·T1 after the first 2xx the early dialogs that are left are over.
    pub(super) fn on_call_timer(&mut self, index: u32) {
        if let Some(key) = self.calls.key_at(index) {
            self.drop_early(Invitation(key));
        }
    }

    /// The INVITE's transaction is over, and with it all that only it could bring.
    pub(super) fn on_invite_ended(&mut self, invitation: Invitation, cause: Cause) {
        self.drop_early(invitation);
        self.call_timers.disarm(invitation.0.index);
        let Some(call) = self.calls.remove(invitation.0) else { return };
        for key in call.sessions {
            let Some(session) = self.sessions.get_mut(key) else { continue };
            session.invitation = None;
            if session.phase == Phase::Over {
                self.forget_session(key);
            }
        }
        self.push(Event::InvitationEnded { invitation, user: call.user, cause });
    }

    /// A response that no transaction wants: a 2xx that comes late still gets its ACK if the dialog lives.
    pub(super) fn on_stray(&mut self, response: &Message<'_>) -> Option<Meaning> {
        // RFC 3261 §18.1.2: one that was not for us is nobody's.
        let via = response.via();
        let ours = self.layer.locals.is_ours(via.transport, via.host, via.port.map(core::num::NonZero::get));
        let success =
            ours && (200..300).contains(&response.status_code()) && response.cseq().method == Method::Invite;
        let session = self.find(response, Side::Caller).filter(|key| {
            success
                && self
                    .sessions
                    .get(*key)
                    .is_some_and(|session| session.invite_cseq == response.cseq().number)
        });
        match session {
            Some(key) => {
                self.repeat_ack(key);
                None
            }
            None => Some(Meaning::Stray),
        }
    }
}
