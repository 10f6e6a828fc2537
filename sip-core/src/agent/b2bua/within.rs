//! Requests in either direction, within calls and beside them.

use super::{B2bua, For, hops, passed_on, refusal, sender, session_of, silence};
use crate::message::{Content, Method, Request, Response, Status};
use crate::ua::{NewRequest, UserAgent};
use crate::{Cause, DialogId, Instant, Misuse, RequestId, ServerTxn};

impl B2bua {
    pub(super) fn request(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        txn: ServerTxn,
        dialog: Option<DialogId>,
        request: &Request<'_>,
    ) {
        let asked = match (dialog, request.method()) {
            (Some(caller), Method::Prack) => {
                self.acknowledge(now, machine, caller, request).unwrap_or(Err(Misuse::Gone))
            }
            (Some(dialog), method) => match self.others.get(&dialog) {
                // Another fork than the one that the caller talks to.
                Some(other) if self.others.get(other) != Some(&dialog) => Err(Misuse::Forbidden),
                Some(other) => {
                    passed_on(request, None, |content| machine.request_in(now, *other, method, 0, content))
                }
                None => Err(Misuse::WrongState),
            },
            (None, method) => self.request_outside(now, machine, method, request),
        };
        match asked {
            Ok(id) => {
                self.asked.insert(id, For::Request(txn));
                self.waiting.insert(txn, id);
            }
            Err(misuse) => {
                let status = match misuse {
                    // RFC 3261 §14.2: the other side is changing the session.
                    Misuse::WrongState => Status::REQUEST_PENDING,
                    Misuse::Forbidden => Status::NOT_ACCEPTABLE_HERE,
                    _ if hops(request).is_none() => Status::TOO_MANY_HOPS,
                    _ => Status::SERVER_INTERNAL_ERROR,
                };
                let _ = machine.respond(now, txn, status, &Content::NONE);
            }
        }
    }

    pub(super) fn request_outside(
        &self,
        now: Instant,
        machine: &mut UserAgent,
        method: Method<'_>,
        request: &Request<'_>,
    ) -> Result<RequestId, Misuse> {
        let from = sender(request);
        let max_forwards = hops(request).ok_or(Misuse::BadContent)?;
        passed_on(request, None, |content| {
            let content = *content;
            machine.request(
                now,
                &NewRequest {
                    from: &from,
                    max_forwards,
                    content,
                    ..NewRequest::new(method, &self.options.target)
                },
            )
        })
    }

    pub(super) fn response(
        &mut self,
        now: Instant,
        machine: &mut UserAgent,
        id: RequestId,
        dialog: Option<DialogId>,
        (wants_prack, wants_answer): (bool, bool),
        response: &Response<'_>,
    ) {
        let Some(asked) = self.asked.get(&id).copied() else { return };
        let status = response.status();
        if let (true, Some(dialog)) = (wants_prack, dialog) {
            if let Some(session) = session_of(response) {
                self.said_to.insert(id, session);
            }
            if machine.prack(now, dialog, 0, &Content::NONE).is_err() {
                let _ = machine.cancel_request(now, id);
            }
        }
        if !status.is_final() {
            if let For::Request(txn) = asked {
                let _ = passed_on(response, None, |content| machine.respond(now, txn, status, content));
            }
            return;
        }
        self.asked.remove(&id);
        let said = self.said_to.remove(&id);
        // Whether it makes the session what the request wanted it to be.
        let has_agreed = status.is_success() && (said.is_some() || !response.body().is_empty());
        match (asked, dialog) {
            (For::Request(txn), _) => {
                self.waiting.remove(&txn);
                let passed = passed_on(response, said.as_ref(), |content| {
                    // What it has had already need not be said again.
                    machine.respond(now, txn, refusal(status), content).or_else(|_| {
                        machine.respond(now, txn, refusal(status), &Content::headers(content.headers))
                    })
                });
                if passed.is_err() {
                    let _ = machine.respond(now, txn, Status::SERVER_INTERNAL_ERROR, &Content::NONE);
                }
                match dialog {
                    Some(dialog) if wants_answer && passed.is_ok() => {
                        self.offered.insert(dialog);
                    }
                    Some(dialog) if passed.is_err() && has_agreed => self.part(now, machine, dialog),
                    _ => {}
                }
            }
            (For::Call { caller, instead_of }, Some(other)) if status.is_success() => {
                if self.accept(now, machine, (caller, other), wants_answer, response, said.as_ref()) {
                    self.others.remove(&instead_of);
                    self.pair(caller, other);
                } else {
                    self.refuse(now, machine, caller, Status::SERVER_INTERNAL_ERROR, &Content::NONE);
                    self.part(now, machine, other);
                }
            }
            (For::Nothing, Some(dialog)) if has_agreed => self.part(now, machine, dialog),
            (For::Call { caller, .. }, _) => {
                passed_on(response, None, |content| self.refuse(now, machine, caller, status, content));
            }
            (For::Refresh, Some(dialog)) if wants_answer => {
                let other = self.others.get(&dialog).copied();
                let asked = other.map(|other| {
                    passed_on(response, None, |content| {
                        machine.request_in(now, other, Method::Invite, 0, content)
                    })
                });
                match asked {
                    Some(Ok(id)) => drop(self.asked.insert(id, For::Answer(dialog))),
                    _ => self.part(now, machine, dialog),
                }
            }
            (For::Answer(dialog), _) => {
                let answered = status.is_success()
                    && passed_on(response, said.as_ref(), |content| machine.ack(now, dialog, content))
                        .is_ok();
                if !answered {
                    self.part(now, machine, dialog);
                }
            }
            // What can't be refreshed ends by itself.
            (For::Refresh | For::Nothing, _) => {}
        }
    }

    /// A request of this side has no final response.
    pub(super) fn unanswered(&mut self, now: Instant, machine: &mut UserAgent, id: RequestId, cause: Cause) {
        self.said_to.remove(&id);
        match self.asked.remove(&id) {
            Some(For::Request(txn)) => {
                self.waiting.remove(&txn);
                let _ = machine.respond(now, txn, silence(cause), &Content::NONE);
            }
            Some(For::Call { caller, .. }) => {
                self.refuse(now, machine, caller, silence(cause), &Content::NONE)
            }
            Some(For::Answer(dialog)) => self.part(now, machine, dialog),
            Some(For::Refresh | For::Nothing) | None => {}
        }
    }

    pub(super) fn withdrawn(&mut self, now: Instant, machine: &mut UserAgent, txn: ServerTxn) {
        if let Some(id) = self.waiting.remove(&txn) {
            // Anything but an INVITE goes on, and nobody hears of it.
            self.asked.insert(id, For::Nothing);
            let _ = machine.cancel_request(now, id);
        }
    }
}
