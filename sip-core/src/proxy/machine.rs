//! The verbs of a proxy.

use super::context::{Context, Phase, Wishes};
use super::routing::Arrival;
use super::{Branch, Command, Event, Proxy, Wait, routing};
use crate::config::Limits;
use crate::endpoint::{Misuse, Rejected, Source, Stats, Txn};
use crate::handle::{BranchId, ContextId, ServerTxn};
use crate::headers::Name;
use crate::machine::Machine;
use crate::message::{Content, Error, Message, Method, Parsed, Status};
use crate::time::Instant;
use crate::transaction::{Heard, Told};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// What a message means, without the message.
#[derive(Clone, Copy)]
pub(super) enum Meaning {
    Request { context: ContextId, routed: bool, recorded: bool },
    Ack { context: Option<ContextId>, first: bool, forwarded: bool },
    Cancelled { context: ContextId, user: u64 },
    Response { context: ContextId, user: u64, branch: BranchId, branch_user: u64, forwarded: bool },
    Refused(Status),
    Rejected(Error, Option<Status>),
    Stray,
}

impl<'b> Event<'b> {
    /// A message with what it means.
    fn of(meaning: Meaning, source: Source, message: Message<'b>) -> Self {
        if let Meaning::Rejected(error, status) = meaning {
            return Self::Rejected(Rejected::new(message, error, status, source));
        }
        match (message.classify(), meaning) {
            (Ok(request), Meaning::Request { context, routed, recorded }) => {
                Self::Request { context, request, source, routed, recorded }
            }
            (Ok(request), Meaning::Cancelled { context, user }) => Self::Cancelled { context, user, request },
            (Ok(request), Meaning::Refused(status)) => Self::Refused { request, status },
            (Ok(request), Meaning::Ack { context, first, forwarded }) => {
                Self::Ack { context, first, request, forwarded }
            }
            (Ok(request), _) => Self::Ack { context: None, first: false, request, forwarded: false },
            (Err(response), Meaning::Response { context, user, branch, branch_user, forwarded }) => {
                Self::Response { context, user, branch, branch_user, response, forwarded }
            }
            (Err(response), _) => Self::Stray(response),
        }
    }
}

impl Proxy {
    /// Every call begins here: what was due before it is done first, so that it makes no difference when outputs are drained.
    pub(super) fn enter(&mut self, now: Instant) {
        while self.is_due() {
            self.fire();
        }
        self.layer.set_clock(now);
    }

    /// Every call ends here: what the layer has to tell is acted on.
    pub(super) fn leave(&mut self) {
        while let Some(told) = self.layer.told() {
            match told {
                Told::Terminated { txn: Txn::Client(_), user, cause } => self.on_branch_over(user, cause),
                Told::Terminated { txn: Txn::Server(_), user, .. } => self.on_server_over(user),
                // The transaction goes on, and the peer sends its request again.
                Told::TransportError { .. } | Told::Unanswered { .. } => {}
            }
        }
        while let Some(token) = self.layer.rung_out.as_mut().and_then(Vec::pop) {
            self.on_rung_out(token);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.waits.next().map(|(due, _)| due).into_iter().chain(self.layer.next_due()).min()
    }

    fn is_due(&self) -> bool {
        self.next_due().is_some_and(|due| due <= self.layer.clock())
    }

    /// Fires the timer that is due first; of equal ones a transaction's before one of this machine's own.
    fn fire(&mut self) {
        if self.layer.next_due() == self.next_due() {
            self.layer.fire();
        } else if let Some((_, place)) = self.waits.next() {
            self.waits.disarm(place);
            match (self.contexts.key_at(place / 3), Wait::ALL.get(place as usize % 3)) {
                (Some(key), Some(Wait::User)) => self.on_patience_over(key),
                (Some(key), Some(Wait::Life)) => self.on_lifetime_over(key),
                (Some(key), Some(Wait::Repeat)) => self.repeat_success(key),
                _ => {}
            }
        }
        self.leave();
    }

    fn hear(&mut self, source: Source, parsed: &Parsed<'_>, exact: u64) -> Option<Meaning> {
        let message = &parsed.message;
        let meaning = match parsed.fault {
            None => self
                .layer
                .receive(source, message, exact)
                .and_then(|heard| self.on_heard(heard, source, message)),
            Some(error) => Some(Meaning::Rejected(error, self.layer.reject(source, message, error))),
        };
        self.leave();
        meaning
    }

    fn on_heard(&mut self, heard: Heard, source: Source, message: &Message<'_>) -> Option<Meaning> {
        match heard {
            // RFC 3261 §16.3: a request that came by another path before is no loop, and a proxy takes it.
            Heard::Request { txn, .. } => Some(self.on_request(txn, source, message)),
            Heard::Ack { .. } => Some(self.on_ack(source, message)),
            Heard::Cancel { invite, .. } => {
                let key = self.context_of(invite)?;
                let user = self.contexts.get(key)?.user;
                let reason = self.reason_of(message);
                self.on_cancel(key, &reason);
                Some(Meaning::Cancelled { context: Context::id(key), user })
            }
            Heard::Response { user, .. } => self.on_response(user, message),
            Heard::Stray => Some(Meaning::Stray),
        }
    }

    fn on_request(&mut self, txn: ServerTxn, source: Source, request: &Message<'_>) -> Meaning {
        let own = self.own();
        let mark = own.mark(request);
        let checked = match (request.method(), Arrival::of(&self.layer, source)) {
            // There is nothing to cancel here, and a proxy with state has forwarded nothing without it.
            (Method::Cancel, _) => Err(Status::NO_SUCH_TRANSACTION),
            (_, None) => Err(Status::SERVER_INTERNAL_ERROR),
            (_, Some(arrival)) => own.validate(request, Some(mark)).map(|()| arrival),
        };
        let mut text = core::mem::take(&mut self.text);
        text.clear();
        let prepared = checked.and_then(|arrival| {
            let incoming = self.own().incoming(request);
            let done = self.own().prepare(request, &incoming, arrival.remote, &mut text);
            done.map(|()| (arrival, incoming.is_routed, incoming.is_recorded)).map_err(|error| error.status())
        });
        let meaning = match prepared {
            Ok((arrival, routed, recorded)) => {
                let context = Context {
                    user: 0,
                    server: txn,
                    serving: true,
                    is_invite: request.method() == Method::Invite,
                    wishes: Wishes::of(request),
                    arrival,
                    request: self.layer.buffers.keep(&text),
                    mark,
                    call: self.hash_of_call(request.call_id(), request.cseq().number),
                    phase: Phase::Undecided,
                    cancelled: false,
                    expired: false,
                    refused: false,
                    held: None,
                    tried: self.first_tried(request),
                    branches: Vec::new(),
                    breadth: routing::breadth(request),
                    ready: VecDeque::new(),
                    later: Vec::new(),
                    ended: Vec::new(),
                    forgotten: 0,
                    acked: Vec::new(),
                    own: None,
                };
                Meaning::Request { context: Context::id(self.open(context)), routed, recorded }
            }
            Err(status) => {
                let unsupported = self.own().unsupported_line(request, status);
                let _ = self.layer.respond(txn, status, &Content::NONE, |writer| {
                    if !unsupported.is_empty() {
                        writer.field(Name::Unsupported, &[&unsupported]);
                    }
                });
                Meaning::Refused(status)
            }
        };
        self.text = text;
        meaning
    }

    /// The ACK for a 2xx: of a callee, whom it goes on to, or of this side.
    fn on_ack(&mut self, source: Source, ack: &Message<'_>) -> Meaning {
        let call = self.hash_of_call(ack.call_id(), ack.cseq().number);
        let tag = self.layer.hash.of(&[ack.to_tag().unwrap_or_default()]) as u64;
        let is_own =
            |context: &Context| context.own.is_some() && self.layer.is_acknowledged_by(context.server, ack);
        let is_taken = |context: &&Context| {
            context.call == call && context.is_invite && context.status().is_some_and(Status::is_success)
        };
        // Of several (a spiral) that which it acknowledges, if that can be known.
        let all = self.by_call.all(call);
        let all = all.filter_map(|place| {
            let context = self.contexts.at(place).filter(is_taken)?;
            Some((!is_own(context), self.contexts.key_at(place)?))
        });
        let found =
            all.min_by_key(|(not_own, key)| (*not_own, key.index)).map(|(not_own, key)| (key, !not_own));
        let most = self.config.core.limits.forks;
        let found = found.and_then(|(key, is_own)| Some((key, is_own, self.contexts.get_mut(key)?)));
        let Some((key, is_own, context)) = found else {
            return Meaning::Ack {
                context: None,
                first: false,
                forwarded: self.forward_ack(source, ack).is_some(),
            };
        };
        let first = !context.acked.contains(&tag) && context.acked.len() < most;
        if first {
            context.acked.push(tag);
        }
        if is_own {
            self.waits.disarm(Wait::Repeat.of(key));
        }
        let forwarded = !is_own && self.forward_ack(source, ack).is_some();
        Meaning::Ack { context: Some(Context::id(key)), first, forwarded }
    }

    /// RFC 3261 §16.6, RFC 6026 §7.3: the ACK for a 2xx goes its way without a transaction. Nothing comes back to it, so what may not go
    /// on is dropped.
    fn forward_ack(&mut self, source: Source, ack: &Message<'_>) -> Option<()> {
        let arrival = Arrival::of(&self.layer, source)?;
        self.own().validate(ack, Some(self.own().mark(ack))).ok()?;
        let mut prepared = core::mem::take(&mut self.text);
        prepared.clear();
        let incoming = self.own().incoming(ack);
        let done = self.own().prepare(ack, &incoming, arrival.remote, &mut prepared).ok();
        let known = incoming.is_recorded || !self.config.guarded;
        let goes_on = done.filter(|()| incoming.is_routed && known);
        let done = goes_on.and_then(|()| self.send_ack(source, arrival, &prepared));
        self.text = prepared;
        done
    }

    fn send_ack(&mut self, source: Source, arrival: Arrival, prepared: &[u8]) -> Option<()> {
        let ack = Message::parse(prepared, &Limits::NONE).ok()?;
        let mut made = core::mem::take(&mut self.made);
        made.clear();
        let built = self.own().build(&ack, arrival, &Branch::AS_IT_IS, &mut made);
        let sent = built.and_then(|strict| {
            let ack = Message::parse(&made, &Limits::NONE).map_err(|_| Misuse::BadContent)?;
            self.layer.forward_stateless(source, &ack, routing::hop(&ack, None, strict)?)
        });
        self.made = made;
        sent.ok()
    }
}

impl Machine for Proxy {
    type Event<'b> = Event<'b>;
    type Command<'a> = Command<'a>;
    type Made = ();

    crate::machine::verbs!();

    fn command(&mut self, now: Instant, command: Command<'_>) -> Result<(), Misuse> {
        match command {
            Command::Relay(context, branches) => self.relay(now, context, branches),
            Command::ForwardBest(context) => self.forward_best(now, context),
            Command::Respond(context, status, content) => self.respond(now, context, status, &content),
            Command::Cancel(context, reason) => self.cancel(now, context, reason),
            Command::CancelBranch(branch, reason) => self.cancel_branch(now, branch, reason),
            Command::Hold(context, time) => self.hold(now, context, time),
            Command::Pass(branch) => self.pass(now, branch),
            Command::Forget(context) => self.forget(now, context),
            Command::Release(context) => self.release(now, context),
            Command::SetTimers(branch, timers) => self.set_timers(now, branch, timers),
        }
    }

    fn is_idle(&self) -> bool {
        self.layer.is_idle() && self.contexts.len() == 0
    }

    fn stats(&self) -> Stats {
        self.layer.stats()
    }

    fn into_owned(event: Event<'_>) -> Event<'static> {
        event.into_owned()
    }

    fn refuse<'b>(&mut self, now: Instant, event: Self::Event<'b>) -> Option<Self::Event<'b>> {
        match event {
            Event::Request { context, .. } => {
                let after = alloc::format!("{}", self.config.core.limits.retry_after.as_secs());
                let headers = [("Retry-After", &*after)];
                let _ = self.respond(now, context, Status::SERVICE_UNAVAILABLE, &Content::headers(&headers));
                None
            }
            Event::Ended { .. } | Event::AllFailed { .. } => Some(event),
            // What these tell has been done.
            _ => None,
        }
    }
}
