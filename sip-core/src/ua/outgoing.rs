//! Calls that this side places (RFC 3261 §13.2).

use super::alarms::{Alarm, Due};
use super::machine::Meaning;
use super::record::{OwnContent, Phase, Session};
use super::requests::{Outgoing, Outside, Purpose, check_own};
use super::{Event, Few, NewInvite, Reason, UserAgent, Work, WorkId};
use crate::auth::Answers;
use crate::dialog::offer::{self, Carrier, Exchange, Offer};
use crate::dialog::{Dialog, Id, Sent, Side, token};
use crate::endpoint::{Cause, Misuse};
use crate::handle::{DialogId, Invitation, Key};
use crate::headers::{CallId, Header, Replaces};
use crate::message::{Content, Message, Method, is_text};
use crate::time::Instant;
use crate::transaction::towards;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// An INVITE and the dialogs that its forks make.
pub(super) struct Call {
    pub(super) work: WorkId,
    pub(super) user: u64,
    /// The value of Contact in it.
    pub(super) contact: Arc<[u8]>,
    /// The INVITE held an offer.
    pub(super) offered: bool,
    /// A 2xx came.
    pub(super) answered: bool,
    /// It is refused for good.
    pub(super) refused: bool,
    /// The user does not want the call any more.
    pub(super) cancelled: bool,
    /// The least session interval that a 422 has named (RFC 4028 §7.4).
    pub(super) min_se: u32,
    pub(super) dialogs: Few<Key>,
    /// The tags of forks that answered when there was no room for more.
    pub(super) turned_away: Vec<Vec<u8>>,
    /// The addresses that it was and will be sent to, and how many of them it was sent to.
    pub(super) targets: Vec<Vec<u8>>,
    pub(super) tried: usize,
    pub(super) expires: Option<Alarm>,
    pub(super) forks: Option<Alarm>,
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
        check_own(&invite.content)?;
        let call_id = invite.call_id.as_bytes();
        let call_id_is_sound = call_id.is_empty()
            || (call_id.iter().all(u8::is_ascii_graphic) && CallId::whole(call_id).is_ok());
        let replaces_is_sound = invite.replaces.is_empty()
            || (is_text(invite.replaces) && Replaces::whole(invite.replaces.as_bytes()).is_ok());
        if !replaces_is_sound || !call_id_is_sound {
            return Err(Misuse::BadContent);
        }
        self.layer.may_begin()?;
        if self.is_full() {
            return Err(Misuse::Full);
        }
        let towards = towards(invite.uri.as_bytes(), invite.route.first().map(|route| route.as_bytes()));
        let (tag, minted) = (token(self.layer.random.u64()), token(self.layer.random.u64()));
        let call_id = if invite.call_id.is_empty() { &minted } else { invite.call_id.as_bytes() };
        let contact = self.contact_towards(invite.uri.as_bytes(), towards, invite.target)?;
        let call = Call {
            // Put right in a moment: each of the two names the other.
            work: Key::from_bits(0),
            user: invite.user,
            contact: contact.clone(),
            offered: offer::is_in_content(&invite.content),
            answered: false,
            refused: false,
            cancelled: false,
            dialogs: Few::new(),
            min_se: 0,
            turned_away: Vec::new(),
            // It is the first of those that a 3xx may add to.
            targets: (self.config.redirects > 0).then(|| invite.uri.into()).into_iter().collect(),
            tried: 1,
            expires: None,
            forks: None,
        };
        let invitation = Invitation(self.calls.insert(call));
        let outgoing = Outgoing {
            target: invite.target,
            timers: invite.timers.map(Arc::new),
            answers: Answers::with(invite.credentials),
            ..Outgoing::new(Purpose::Call(invitation), invite.user, None)
        };
        let seconds = invite.expires.map(|expires| alloc::format!("{}", expires.as_secs()));
        let mut extra = Vec::new();
        extra.extend(seconds.as_deref().map(|seconds| ("Expires", seconds)));
        if !invite.replaces.is_empty() {
            extra.extend([("Replaces", invite.replaces), ("Require", "replaces")]);
        }
        let outside = Outside {
            from: invite.from,
            max_forwards: invite.max_forwards,
            route: invite.route,
            tag: &tag,
            call_id,
            contact: &contact,
            extra: &extra,
            ..Outside::new(Method::Invite, invite.uri, &invite.content)
        };
        let work = match self.send_outside(outgoing, &outside) {
            Ok(work) => work,
            Err(misuse) => {
                self.calls.remove(invitation.0);
                return Err(misuse);
            }
        };
        let due = Due::CallExpires(invitation.0);
        let expires = invite.expires.map(|after| self.alarms.set(self.layer.clock(), after, due));
        if let Some(call) = self.calls.get_mut(invitation.0) {
            (call.work, call.expires) = (work, expires);
        }
        Ok(invitation)
    }

    /// Gives up a call that is not answered (RFC 3261 §9.1): the CANCEL goes out when a provisional response has come. A 2xx
    /// may still win the race; then it is acknowledged and the call hung up.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] after a final response.
    pub fn cancel(&mut self, now: Instant, invitation: Invitation) -> Result<(), Misuse> {
        self.enter(now);
        let done = self.cancel_invitation(invitation, &Content::NONE);
        self.leave();
        done
    }

    /// The headers of the content stand in the CANCEL: a Reason (RFC 3326).
    pub(super) fn cancel_invitation(
        &mut self,
        invitation: Invitation,
        content: &Content<'_>,
    ) -> Result<(), Misuse> {
        let call = self.calls.get(invitation.0).ok_or(Misuse::Gone)?;
        let txn = self.outgoing(call.work).and_then(|outgoing| outgoing.txn).ok_or(Misuse::WrongState)?;
        if call.refused {
            return Err(Misuse::WrongState);
        }
        let lines: Vec<String> =
            content.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        self.layer.cancel_because(txn, lines.join("\r\n").as_bytes())?;
        if let Some(call) = self.calls.get_mut(invitation.0) {
            call.cancelled = true;
        }
        Ok(())
    }

    pub(super) fn is_cancelled(&self, invitation: Invitation) -> bool {
        self.calls.get(invitation.0).is_some_and(|call| call.cancelled)
    }

    /// RFC 3261 §13.2.1
    pub(super) fn on_call_expired(&mut self, invitation: Invitation) {
        let _ = self.cancel_invitation(invitation, &Content::NONE);
    }

    /// Whether copies of the final response of this INVITE may still come and want their ACK.
    pub fn awaits_copies(&self, invitation: Invitation) -> bool {
        self.calls.get(invitation.0).is_some()
    }

    /// A response below 300.
    pub(super) fn on_invite_response(
        &mut self,
        invitation: Invitation,
        response: &Message<'_>,
    ) -> Option<Meaning> {
        let call = self.calls.get(invitation.0)?;
        if response.status_code() >= 200 {
            self.alarms.stop(call.expires);
            return self.on_success(invitation, response);
        }
        let user = call.user;
        let dialog = self.on_provisional(invitation, response)?;
        // What this side has hung up rings no more, and nothing is sent in it.
        if dialog.is_some_and(|dialog| self.dialogs.get(dialog.0).is_some_and(|it| !it.session.is_alive())) {
            return None;
        }
        let wants_prack = match dialog {
            Some(DialogId(key)) => self.on_reliable(key, response)?,
            None => false,
        };
        // RFC 6228 §4: 199 ends this early dialog and nothing else.
        if let (199, Some(DialogId(key))) = (response.status_code(), dialog) {
            if self.is_early(key) {
                self.end_session(key, Reason::NotChosen);
            }
        }
        let is_announced = |record: &super::record::Record| record.session.announced;
        let known = dialog.filter(|dialog| self.dialogs.get(dialog.0).is_some_and(is_announced));
        Some(Meaning::Progress { invitation, user, dialog: known, wants_prack })
    }

    /// RFC 3261 §12.1.2, §13.2.2.1: each To tag is an early dialog of its own; a 100, or a response without a tag, is none.
    fn on_provisional(&mut self, invitation: Invitation, response: &Message<'_>) -> Option<Option<DialogId>> {
        let status = response.status_code();
        if status == 100 || response.to_tag().is_none() {
            return Some(None);
        }
        if let Some(key) = self.fork_of(invitation, response) {
            if let Some(session) = self.session_mut(key) {
                session.learn(response);
            }
            return Some(Some(DialogId(key)));
        }
        if self.was_turned_away(invitation, response) {
            return None;
        }
        // RFC 6228 §4: of a dialog that nobody knows; only if it was sent reliably it is acknowledged.
        if status == 199 && crate::dialog::reliable::rseq(response).is_none() {
            return None;
        }
        self.fork(invitation, response, Phase::Early).map(Some)
    }

    /// RFC 3261 §13.2.2.4: every 2xx with a new To tag is a dialog of its own; every one is acknowledged.
    fn on_success(&mut self, invitation: Invitation, response: &Message<'_>) -> Option<Meaning> {
        let cseq = response.cseq().number;
        let key = match self.fork_of(invitation, response) {
            Some(key) => {
                let record = self.dialogs.get_mut(key)?;
                match record.session.phase {
                    Phase::Early => {
                        record.dialog.confirm(response);
                        record.session.phase = Phase::Up;
                    }
                    // Over before it was answered: acknowledged all the same, and hung up if that was not done.
                    Phase::Over | Phase::Terminating if record.session.accepted_cseq.is_none() => {
                        let over = record.session.phase == Phase::Over;
                        let hung_up = record.session.bye_sent;
                        // A BYE that crosses this 2xx may find no call yet.
                        if !over || hung_up {
                            record.session.bye_queued = Some(Box::new(OwnContent::of(&Content::NONE)));
                        }
                        record.dialog.confirm(response);
                        record.session.announced &= !over;
                        record.session.accepted_cseq = Some(cseq);
                        let work = self.calls.get(invitation.0)?.work;
                        self.keep_credentials(work, key);
                        self.send_ack(key, cseq, &Content::NONE);
                        if over && !hung_up {
                            self.give_up(key);
                        }
                        return None;
                    }
                    _ => {
                        self.repeat_ack(key, cseq);
                        return None;
                    }
                }
                key
            }
            None => {
                // Who has got a BYE gets no call, though there is room by now.
                let known = self.was_turned_away(invitation, response);
                let fork = if known { None } else { self.fork(invitation, response, Phase::Up) };
                let Some(DialogId(key)) = fork else {
                    let user = self.calls.get(invitation.0)?.user;
                    let turned = self.turn_away(invitation, response);
                    return turned.then_some(Meaning::TurnedAway { invitation, user });
                };
                key
            }
        };
        self.answered(invitation, key, cseq, response)
    }

    /// A fork has answered, for the first time.
    fn answered(
        &mut self,
        invitation: Invitation,
        key: Key,
        cseq: u32,
        response: &Message<'_>,
    ) -> Option<Meaning> {
        let call = self.calls.get_mut(invitation.0)?;
        let surplus = call.answered && !self.config.keep_forks;
        let (user, unwanted, work) = (call.user, call.cancelled || surplus, call.work);
        if !core::mem::replace(&mut call.answered, true) {
            let after = self.config.core.timers.t1x64();
            call.forks = Some(self.alarms.set(self.layer.clock(), after, Due::Forks(invitation.0)));
        }
        self.keep_credentials(work, key);
        let session = self.session_mut(key)?;
        session.accepted_cseq = Some(cseq);
        session.learn(response);
        if offer::is_in(response) && !core::mem::replace(&mut session.heard, true) {
            session.exchange = session.exchange.received(Carrier::OwnInvite);
        }
        let wants_answer = session.exchange.is(Offer::Remote, Carrier::OwnInvite) && !unwanted;
        if wants_answer {
            session.owed_ack = Some(cseq);
        } else {
            // Who has no answer in the 2xx will never have one.
            session.exchange.close(session.exchange.state(), Carrier::OwnInvite);
            self.send_ack(key, cseq, &Content::NONE);
        }
        self.agree(key, response);
        let up = self.dialogs.get(key).is_some_and(|record| record.session.phase == Phase::Up);
        if up && unwanted {
            self.give_up(key);
        }
        if surplus {
            return None;
        }
        // A call that ended as it began is told of with its end, which is queued already.
        let session = self.session_mut(key)?;
        if !core::mem::replace(&mut session.announced, true) && session.phase == Phase::Over {
            self.push(Event::Ended { dialog: DialogId(key), user, reason: Reason::Unreachable });
        }
        Some(Meaning::Answered { invitation, user, dialog: DialogId(key), wants_answer })
    }

    /// The dialog of the fork that answers: its transaction says which call it is, its To tag which fork.
    fn fork_of(&self, invitation: Invitation, response: &Message<'_>) -> Option<Key> {
        let tag = response.to_tag().unwrap_or_default();
        let is_it =
            |key: &&Key| self.dialogs.get(**key).is_some_and(|found| found.dialog.id().remote_tag == tag);
        self.calls.get(invitation.0)?.dialogs.iter().find(is_it).copied()
    }

    /// Whether this fork has answered when there was no room for it.
    fn was_turned_away(&self, invitation: Invitation, response: &Message<'_>) -> bool {
        let tag = response.to_tag().unwrap_or_default();
        self.calls.get(invitation.0).is_some_and(|call| call.turned_away.iter().any(|known| **known == *tag))
    }

    /// A dialog for a fork that this side has not heard of.
    fn fork(&mut self, invitation: Invitation, response: &Message<'_>, phase: Phase) -> Option<DialogId> {
        let call = self.calls.get(invitation.0)?;
        // Those that a 199 has ended are known until the INVITE is over, and leave room.
        let over = |key: &&Key| self.dialogs.get(**key).is_none_or(|it| it.session.phase == Phase::Over);
        let alive = call.dialogs.len() - call.dialogs.iter().filter(over).count();
        let most = self.config.core.limits.forks;
        if alive >= most || call.dialogs.len() >= self.most_forks() || self.is_full() {
            return None;
        }
        let announced = phase == Phase::Early && response.status_code() != 199;
        let mut session = Session::new(phase, announced);
        session.invitation = Some(invitation);
        if call.offered {
            session.exchange = Exchange::local(Carrier::OwnInvite);
        }
        session.learn(response);
        let (user, contact) = (call.user, call.contact.clone());
        let Some(Work::Request(outgoing)) = self.work.get(call.work) else { return None };
        let invite = Sent::of(self.layer.buffers.message(outgoing.request));
        let dialog = Dialog::of_response(&invite, response);
        let work = call.work;
        // The first fork takes over the answers to challenges; those that come later ask for nonces of their own.
        let first = call.dialogs.first().copied();
        let answers = match first.and_then(|first| self.dialogs.get(first)) {
            Some(first) => first.answers.anew(),
            None => self.take_answers(work, None),
        };
        let key = self.open_dialog(dialog, contact, session);
        let record = self.dialogs.get_mut(key)?;
        (record.user, record.answers, record.holds) = (user, answers, 1);
        self.calls.get_mut(invitation.0)?.dialogs.push(key);
        Some(DialogId(key))
    }

    /// The INVITE is refused for good.
    pub(super) fn on_invite_refused(&mut self, invitation: Invitation) -> Option<Meaning> {
        let call = self.calls.get_mut(invitation.0)?;
        call.refused = true;
        let (user, expires) = (call.user, call.expires.take());
        self.alarms.stop(expires);
        Some(Meaning::Refused { invitation, user })
    }

    /// Ends the early dialogs of a call: 64·T1 after the first 2xx those that are left are over (RFC 3261 §13.2.2.4), and with a
    /// failure all of them.
    pub(super) fn drop_early(&mut self, invitation: Invitation) {
        let Some(call) = self.calls.get(invitation.0) else { return };
        let early: Vec<Key> = call.dialogs.iter().copied().filter(|key| self.is_early(*key)).collect();
        let reason = if call.cancelled { Reason::Cancelled } else { Reason::NotChosen };
        for key in early {
            self.end_session(key, reason);
        }
    }

    /// The INVITE's transaction is over, and with it all that only it could bring.
    pub(super) fn on_invite_ended(&mut self, invitation: Invitation, cause: Cause, cseq: u32) {
        self.drop_early(invitation);
        let Some(call) = self.calls.remove(invitation.0) else { return };
        self.alarms.stop(call.forks);
        self.alarms.stop(call.expires);
        for key in call.dialogs {
            self.leave_fork(key, cseq);
        }
        self.push(Event::InvitationEnded { invitation, user: call.user, cause });
    }

    /// The INVITE begins anew, and its forks with it: one that keeps its tag is another dialog.
    pub(super) fn forget_forks(&mut self, invitation: Invitation) {
        let Some(call) = self.calls.get(invitation.0) else { return };
        let work = call.work;
        let answers = self.take_answers(work, None);
        let forks = self.calls.get_mut(invitation.0).map(|call| core::mem::take(&mut call.dialogs));
        self.put_answers(work, None, answers);
        for key in forks.unwrap_or_default() {
            self.leave_fork(key, 0);
        }
    }

    fn leave_fork(&mut self, key: Key, cseq: u32) {
        if let Some(session) = self.session_mut(key) {
            session.invitation = None;
            self.drop_ack(key, cseq);
            self.release(key);
        }
    }

    /// A response that no transaction wants: a 2xx that comes late still gets its ACK if the dialog lives.
    pub(super) fn on_stray(&mut self, response: &Message<'_>) -> Option<Meaning> {
        // RFC 3261 §18.1.2: one that was not for us is nobody's.
        let via = response.via();
        let ours = self.layer.locals.is_ours(via.transport, via.host, via.port.map(core::num::NonZero::get));
        let cseq = response.cseq();
        let success = ours && (200..300).contains(&response.status_code()) && cseq.method == Method::Invite;
        let key = self.find_id(&Id::of(response, Side::Caller)).filter(|key| {
            let record = self.dialogs.get(*key);
            success && record.is_some_and(|record| record.session.accepted_cseq == Some(cseq.number))
        });
        match key {
            Some(key) => {
                self.repeat_late_ack(key, cseq.number);
                None
            }
            None => Some(Meaning::Stray),
        }
    }
}
