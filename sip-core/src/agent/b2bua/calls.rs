//! Calls: what is placed for who calls, and how its answer goes back.

use super::{B2bua, For, Session, hops, passed_on, refusal, sender, session_of};
use crate::headers::{Expires, Require};
use crate::message::{Content, Method, Request, Response, Status};
use crate::ua::{NewInvite, UserAgent};
use crate::{DialogId, Instant, Invitation, Misuse, RequestId};
use alloc::vec::Vec;
use core::time::Duration;

impl B2bua {
    pub(super) fn incoming(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        caller: DialogId,
        invite: &Request<'_>,
    ) {
        let Some(max_forwards) = hops(invite) else {
            return self.refuse(now, machine, caller, Status::TOO_MANY_HOPS, &Content::NONE);
        };
        if invite.all::<Require<'_>>().map_while(Result::ok).any(|tag| tag.is("100rel")) {
            self.reliable.insert(caller);
        }
        let (target, from) = (&*self.options.target, sender(invite));
        let expires = invite.get::<Expires>().ok().flatten();
        let expires = expires.map(|expires| Duration::from_secs(expires.0.into()));
        let placed = passed_on(invite, None, |content| {
            let new =
                NewInvite { from: &from, max_forwards, expires, content: *content, ..NewInvite::new(target) };
            machine.invite(now, &new)
        });
        match placed {
            Ok(invitation) => {
                self.placed.insert(caller, invitation);
                self.callers.insert(invitation, caller);
            }
            Err(_) => {
                self.refuse(now, machine, caller, Status::SERVICE_UNAVAILABLE, &Content::NONE);
            }
        }
    }

    /// RFC 3891: the caller takes the place of a party, whose other is asked to talk to it.
    pub(super) fn replace(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        caller: DialogId,
        instead_of: DialogId,
        invite: &Request<'_>,
    ) {
        if !self.options.replaces {
            return self.refuse(now, machine, caller, Status::FORBIDDEN, &Content::NONE);
        }
        let Some(other) = self.others.get(&instead_of).copied() else {
            return self.refuse(now, machine, caller, Status::NO_SUCH_TRANSACTION, &Content::NONE);
        };
        let asked =
            passed_on(invite, None, |content| machine.request_in(now, other, Method::Invite, 0, content));
        match asked {
            Ok(id) => drop(self.asked.insert(id, For::Call { caller, instead_of })),
            Err(_) => self.refuse(now, machine, caller, Status::TEMPORARILY_UNAVAILABLE, &Content::NONE),
        }
    }

    pub(super) fn refuse(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        caller: DialogId,
        status: Status,
        content: &Content<'_>,
    ) {
        if machine.reject(now, caller, refusal(status), content).is_err() {
            let _ = machine.reject(now, caller, refusal(status), &Content::NONE);
        }
    }

    pub(super) fn progress(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        (invitation, fork): (Invitation, DialogId),
        wants_prack: bool,
        response: &Response<'_>,
    ) {
        let Some(caller) = self.callers.get(&invitation).copied() else { return };
        let status = response.status();
        // What the caller says before the answer goes to the fork that it has agreed with, or the first one.
        self.others.insert(fork, caller);
        self.others.entry(caller).or_insert(fork);
        let session = session_of(response);
        let agreed = self.agreed.get(&caller).copied();
        let is_its_own = agreed.is_none_or(|agreed| agreed == fork);
        // RFC 6228: one fork of several is over, and for the caller there is only one.
        let rings = status.code() != 199;
        let knows_100rel = machine.view(caller).is_ok_and(|view| view.knows_100rel);
        let ring = |machine: &mut UserAgent, reliably: bool| {
            passed_on(response, None, |content| {
                let content =
                    if is_its_own { *content } else { Content { content_type: "", body: b"", ..*content } };
                match reliably {
                    true => machine.ring_reliably(now, caller, status, &content),
                    // What does not fit the session of the caller rings all the same.
                    false => machine
                        .ring(now, caller, status, &content)
                        .or_else(|_| machine.ring(now, caller, status, &Content::NONE)),
                }
            })
        };
        if rings && wants_prack && knows_100rel && ring(machine, true).is_ok() {
            if session.is_some() && is_its_own {
                self.agreed.insert(caller, fork);
                self.others.insert(caller, fork);
            }
            return self.unacknowledged.entry(caller).or_default().push_back(Some(fork));
        }
        let waiting = self.unacknowledged.entry(caller).or_default();
        // What comes behind a reliable response is one as well.
        let is_reliable = self.reliable.contains(&caller) || !waiting.is_empty();
        if rings && ring(machine, false).is_ok() && is_reliable {
            waiting.push_back(None);
        }
        if wants_prack {
            if let Some(session) = session {
                self.said.insert(fork, session);
            }
            if machine.prack(now, fork, 0, &Content::NONE) == Err(Misuse::BadContent) {
                self.disagree(now, machine, caller);
            }
        }
    }

    /// The caller has acknowledged a reliable response: so is that of the fork it came from. Whether there is one.
    pub(super) fn acknowledge(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        caller: DialogId,
        prack: &Request<'_>,
    ) -> Option<Result<RequestId, Misuse>> {
        let fork = self.unacknowledged.get_mut(&caller)?.pop_front()??;
        Some(passed_on(prack, None, |content| machine.prack(now, fork, 0, content)))
    }

    pub(super) fn up(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        (invitation, callee): (Invitation, DialogId),
        wants_answer: bool,
        response: &Response<'_>,
    ) {
        let Some(caller) = self.callers.remove(&invitation) else {
            let _ = machine.hang_up(now, callee, &Content::NONE);
            return;
        };
        self.placed.remove(&caller);
        self.pair(caller, callee);
        let is_its_own = self.agreed.get(&caller).is_none_or(|agreed| *agreed == callee);
        if !is_its_own {
            // RFC 3261 §13.2.1: what another fork has answered stands.
            self.refuse(now, machine, caller, Status::NOT_ACCEPTABLE_HERE, &Content::NONE);
            let _ = machine.hang_up(now, callee, &Content::NONE);
        } else if !self.accept(now, machine, (caller, callee), wants_answer, response, None) {
            self.refuse(now, machine, caller, Status::SERVER_INTERNAL_ERROR, &Content::NONE);
            let _ = machine.hang_up(now, callee, &Content::NONE);
        }
    }

    /// The 2xx of one side is that to the caller; whether it could be.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        (caller, callee): (DialogId, DialogId),
        wants_answer: bool,
        response: &Response<'_>,
        said: Option<&Session>,
    ) -> bool {
        let said = said.or_else(|| self.said.get(&callee));
        let accepted = passed_on(response, said, |content| {
            // The session that a reliable response has brought may stand in the 2xx once more.
            machine.accept(now, caller, content).or_else(|_| machine.accept(now, caller, &Content::NONE))
        });
        if accepted.is_ok() && wants_answer {
            self.offered.insert(callee);
        }
        self.answered += u64::from(accepted.is_ok());
        accepted.is_ok()
    }

    /// The ACK of one side has the answer to what the other has offered.
    pub(super) fn established(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        dialog: DialogId,
        ack: &Request<'_>,
    ) {
        let Some(other) = self.others.get(&dialog).copied() else { return };
        if self.offered.remove(&other)
            && passed_on(ack, None, |content| machine.ack(now, other, content)).is_err()
        {
            self.part(now, machine, dialog);
        }
    }

    /// A call that is not answered can't be, because its parties find no session.
    pub(super) fn disagree(&mut self, now: Instant, machine: &mut UserAgent, caller: DialogId) {
        if let Some(invitation) = self.placed.remove(&caller) {
            self.callers.remove(&invitation);
            let _ = machine.cancel(now, invitation);
        }
        self.refuse(now, machine, caller, Status::NOT_ACCEPTABLE_HERE, &Content::NONE);
    }

    /// The INVITE for a caller has come to nothing.
    pub(super) fn refused(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        invitation: Invitation,
        status: Status,
        response: Option<&Response<'_>>,
    ) {
        let Some(caller) = self.callers.remove(&invitation) else { return };
        self.placed.remove(&caller);
        match response {
            Some(response) => {
                passed_on(response, None, |content| self.refuse(now, machine, caller, status, content))
            }
            None => self.refuse(now, machine, caller, status, &Content::NONE),
        }
    }

    pub(super) fn ended(&mut self, now: Instant, machine: &mut UserAgent, dialog: DialogId) {
        let reasons = self.reasons.remove(&dialog).unwrap_or_default();
        self.said.remove(&dialog);
        self.agreed.remove(&dialog);
        // Who wanted to take another's place does so no more.
        let is_its = |asked: &For| matches!(asked, For::Call { caller, .. } if *caller == dialog);
        for (id, asked) in self.asked.iter_mut().filter(|(_, asked)| is_its(asked)) {
            *asked = For::Nothing;
            let _ = machine.cancel_request(now, *id);
        }
        self.offered.remove(&dialog);
        self.reliable.remove(&dialog);
        self.unacknowledged.remove(&dialog);
        let other = self.others.remove(&dialog);
        if let Some(invitation) = self.placed.remove(&dialog) {
            self.callers.remove(&invitation);
            let _ = machine.cancel(now, invitation);
            return;
        }
        let Some(other) = other.filter(|other| self.others.get(other) == Some(&dialog)) else { return };
        self.others.remove(&other);
        // One fork of several that ring.
        if !self.placed.contains_key(&other) {
            let headers: Vec<_> = reasons.iter().map(|reason| ("Reason", &**reason)).collect();
            let _ = machine.hang_up(now, other, &Content::headers(&headers));
        }
    }

    /// Hangs up both sides.
    pub(super) fn part(&mut self, now: Instant, machine: &mut UserAgent, dialog: DialogId) {
        let _ = machine.hang_up(now, dialog, &Content::NONE);
        if let Some(other) = self.others.get(&dialog) {
            let _ = machine.hang_up(now, *other, &Content::NONE);
        }
    }
}
