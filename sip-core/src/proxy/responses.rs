//! What comes back (RFC 3261 §16.7), and what does not.

use super::best::{Origin, Outcome};
use super::context::{BranchRecord, Context, Ended, Phase, key_of};
use super::machine::Meaning;
use super::{Branch, Event, NOTHING, Part, Proxy, Wait};
use crate::config::Limits;
use crate::endpoint::{Cause, Txn};
use crate::handle::{Key, ServerTxn};
use crate::headers::{Contact, Name, Via};
use crate::message::{Content, Message, Status};
use crate::time::micros;
use crate::transaction::{BufferId, Delay, Timer};
use crate::transport::Reliability;
use crate::uri::without_headers;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

impl Proxy {
    pub(super) fn on_response(&mut self, token: u64, response: &Message<'_>) -> Option<Meaning> {
        let id = key_of(token)?;
        let (key, branch_user) = self.branches.get(id).map(|branch| (branch.context, branch.user))?;
        let status = Status::new(response.status_code())?;
        // RFC 3261 §16.7, step 5: a 100 is for this hop alone.
        if status == Status::TRYING {
            return None;
        }
        let mut text = core::mem::take(&mut self.text);
        text.clear();
        // Step 3: below our Via stands that of who sent the request here. Without it the response is for nobody, and the branch ends as if
        // there were none.
        let is_for_others = response.all::<Via<'_>>().nth(1).is_some_and(|via| via.is_ok());
        let mut edit = response.edit(&mut text);
        let was_done = self.branches.get(id).is_some_and(|branch| branch.is_done);
        let goes_on =
            is_for_others && edit.pop_via().is_ok() && edit.declare_length(response.body().len()).is_ok();
        let forwarded = goes_on && self.pass_on(key, id, status, &text);
        self.text = text;
        let user = self.contexts.get(key)?.user;
        self.settle(key);
        // What became of it has been told.
        if was_done && !status.is_success() {
            return None;
        }
        let context = Context::id(key);
        Some(Meaning::Response { context, user, branch: BranchRecord::id(id), branch_user, forwarded })
    }

    /// Sends a response on, or keeps it; whether it was sent on.
    fn pass_on(&mut self, key: Key, id: Key, status: Status, response: &[u8]) -> bool {
        let (Some(context), Some(branch)) = (self.contexts.get(key), self.branches.get_mut(id)) else {
            return false;
        };
        let (server, is_answered, is_over) = (context.server, context.is_answered(), context.is_over());
        let (is_copy, was_done) = (branch.part == Part::Copy, branch.is_done);
        if status.is_provisional() {
            if is_copy && !context.serving {
                self.quiet_copies(key);
            }
            let is_heard = !is_copy && !is_over && !was_done;
            if is_heard && self.config.screen {
                self.screen(id, Some((status, response)));
                return false;
            }
            return is_heard && self.layer.relay(server, status, response).is_ok();
        }
        (branch.is_done, branch.has_answered) = (true, true);
        // Of a request that was released somebody may take the call, and nothing more.
        let is_wanted = context.is_invite || is_answered || !is_over;
        self.screen(id, None);
        if is_copy {
            return false;
        }
        if status.is_success() {
            // Step 5: every 2xx to an INVITE goes back, of another request the first.
            let sent = is_wanted && self.layer.relay(server, status, response).is_ok();
            if sent && !is_answered {
                self.has_answered(key, status);
            }
            return sent;
        }
        // It was given up, and has its outcome.
        if was_done {
            return false;
        }
        if (300..400).contains(&status.code()) && self.recurse(key, response) {
            return false;
        }
        if !is_over {
            let response = self.layer.buffers.keep(response);
            // What a branch says of being given up from here tells nobody why the call failed.
            let given_up = self.branches.get(id).is_some_and(|branch| branch.given_up);
            let was_cancelled = given_up && status == Status::REQUEST_TERMINATED;
            let origin = if was_cancelled { Origin::Cancelled } else { Origin::Received };
            self.note(key, Outcome { status, origin }, response);
        }
        if status.code() >= 600 && self.config.end_at_6xx {
            if let Some(context) = self.contexts.get_mut(key) {
                context.refused = true;
            }
            self.forget_later(key);
            self.cancel_branches(key, |proxy| proxy.reason_for(status));
        }
        false
    }

    /// Keeps the last provisional response of a branch for its user; nothing: it is too late.
    fn screen(&mut self, id: Key, response: Option<(Status, &[u8])>) {
        let kept = response.map(|(status, response)| (status, self.layer.buffers.keep(response)));
        let before =
            self.branches.get_mut(id).and_then(|branch| core::mem::replace(&mut branch.screened, kept));
        if let Some((_, before)) = before {
            self.layer.buffers.unpin(before);
        }
    }

    /// RFC 3261 §16.7, step 4: the addresses of a 3xx that have not been tried take its place; whether there is one.
    fn recurse(&mut self, key: Key, response: &[u8]) -> bool {
        let Some(context) = self.contexts.get(key).filter(|_| self.config.recurse) else { return false };
        if context.wishes.no_recurse {
            return false;
        }
        let Ok(response) = Message::parse(response, &Limits::NONE) else { return false };
        let mut found: Vec<(u16, String)> = Vec::new();
        for contact in response.all::<Contact<'_>>().map_while(Result::ok) {
            let Some(address) = contact.address() else { continue };
            let uri = String::from_utf8_lossy(without_headers(address.uri_bytes)).into_owned();
            let is_new = context.tried.iter().all(|known| **known != *uri)
                && found.iter().all(|(_, other)| *other != uri);
            // One that can't be used does not keep the others from their turn.
            let mut scratch = Vec::new();
            if is_new && self.build(context, &Branch::to(&uri), &mut scratch).is_ok() {
                found.push((contact.q().unwrap_or(1_000), uri));
            }
        }
        found.truncate(self.config.core.limits.forks.saturating_sub(context.tried.len()));
        let branches: Vec<_> = found.iter().map(|(q, uri)| Branch { q: *q, ..Branch::to(uri) }).collect();
        !branches.is_empty() && self.add(key, &branches).is_ok()
    }

    fn note(&mut self, key: Key, outcome: Outcome, response: BufferId) {
        match self.contexts.get_mut(key) {
            Some(context) => context.ended.push(Ended { outcome, response }),
            None => self.layer.buffers.unpin(response),
        }
    }

    /// A branch ends without a response.
    pub(super) fn fail(&mut self, id: Key, origin: Origin) {
        self.screen(id, None);
        let Some(branch) = self.branches.get_mut(id) else { return };
        branch.is_done = true;
        let (key, branch_user, part) = (branch.context, branch.user, branch.part);
        let status = match origin {
            Origin::Transport => Status::SERVICE_UNAVAILABLE,
            Origin::Received | Origin::Timeout => Status::REQUEST_TIMEOUT,
            Origin::Cancelled => Status::REQUEST_TERMINATED,
        };
        let outcome = Outcome { status, origin };
        let Some(context) = self.contexts.get_mut(key) else { return };
        let user = context.user;
        if !context.is_over() && part != Part::Copy {
            context.ended.push(Ended { outcome, response: NOTHING });
        }
        let (context, branch) = (Context::id(key), BranchRecord::id(id));
        self.push(Event::BranchFailed { context, user, branch, branch_user, outcome });
        // One that was never sent has no transaction whose end would tell.
        if self.branches.get(id).is_some_and(|branch| branch.txn.is_none()) {
            self.drop_branch(id);
        }
    }

    fn drop_branch(&mut self, id: Key) {
        self.screen(id, None);
        let Some(branch) = self.branches.remove(id) else { return };
        if let Some(context) = self.contexts.get_mut(branch.context) {
            context.branches.retain(|other| *other != id);
        }
    }

    pub(super) fn on_branch_over(&mut self, token: u64, cause: Cause) {
        let Some(id) = key_of(token) else { return };
        let Some(branch) = self.branches.get(id) else { return };
        let key = branch.context;
        if !branch.is_done {
            let origin = match cause {
                Cause::TransportError => Origin::Transport,
                Cause::Aborted => Origin::Cancelled,
                _ => Origin::Timeout,
            };
            self.fail(id, origin);
        }
        self.drop_branch(id);
        self.settle(key);
        self.close(key);
    }

    pub(super) fn on_server_over(&mut self, token: u64) {
        let Some(key) = key_of(token) else { return };
        let Some(context) = self.contexts.get_mut(key) else { return };
        context.serving = false;
        self.forget_later(key);
        self.cancel_branches(key, |_| String::new());
        self.quiet_copies(key);
        self.close(key);
    }

    /// When all branches of a context have failed, its user decides, or the best response goes back.
    pub(super) fn settle(&mut self, key: Key) {
        self.start_ready(key);
        let Some(context) = self.contexts.get(key) else { return };
        let waits = |id: &Key| {
            self.branches.get(*id).is_some_and(|branch| !branch.is_done && branch.part == Part::Whole)
        };
        if context.phase != Phase::Relaying || context.branches.iter().any(waits) || context.waits_for_room()
        {
            return;
        }
        if !context.is_closed() && self.start_next(key) {
            // They may have failed as they began.
            return self.settle(key);
        }
        let Some(context) = self.contexts.get_mut(key) else { return };
        let clock = self.layer.clock();
        let is_held = context.held.is_some_and(|until| until > clock) && !context.is_closed();
        let Some(found) = context.best(self.config.prefer) else { return self.give_up(key) };
        if is_held && !self.config.ask {
            context.phase = Phase::Undecided;
            return self.wait(key);
        }
        if !self.config.ask || context.is_closed() {
            return self.send_best(key);
        }
        let (user, best) = (context.user, context.ended.get(found).map(|ended| ended.outcome));
        if let (Some(best), Some(context)) = (best, self.contexts.get_mut(key)) {
            context.phase = Phase::Undecided;
            self.wait(key);
            self.push(Event::AllFailed { context: Context::id(key), user, best });
        }
    }

    /// Those that were to be asked have been given up before they were: nothing will come.
    fn give_up(&mut self, key: Key) {
        let Some(context) = self.contexts.get(key).filter(|context| context.is_closed()) else { return };
        let is_meant = |id: &Key| self.branches.get(*id).is_some_and(|branch| branch.part != Part::Copy);
        if context.branches.iter().any(is_meant) {
            return;
        }
        let (server, is_invite) = (context.server, context.is_invite);
        let status = if context.cancelled { Status::REQUEST_TERMINATED } else { Status::REQUEST_TIMEOUT };
        // RFC 4320 §4.2: nobody waits for another any more.
        if is_invite && self.layer.respond(server, status, &Content::NONE, |_| {}).is_ok() {
            self.has_answered(key, status);
        }
    }

    /// RFC 3261 §16.7, steps 6 to 9.
    pub(super) fn send_best(&mut self, key: Key) {
        let Some(context) = self.contexts.get(key) else { return };
        let Some(found) = context.best(self.config.prefer) else { return };
        let Some(Ended { outcome, response }) = context.ended.get(found) else { return };
        let (server, status, response) = (context.server, outcome.status, *response);
        let status = match (outcome.origin, status) {
            // A branch that was cancelled and said nothing is what the caller wanted.
            (Origin::Timeout | Origin::Transport | Origin::Cancelled, _) if context.cancelled => {
                Status::REQUEST_TERMINATED
            }
            // Step 6: what is true of one server is not true of this one.
            (_, Status::SERVICE_UNAVAILABLE) if self.config.hide_503 => Status::SERVER_INTERNAL_ERROR,
            (_, status) => status,
        };
        // RFC 4320 §4.2: who waits for anything but an INVITE has given up by then.
        let sent = if status == Status::REQUEST_TIMEOUT && !context.is_invite {
            false
        } else if response != NOTHING && status == outcome.status {
            let mut text = core::mem::take(&mut self.text);
            text.clear();
            self.aggregate(key, found, response, &mut text);
            let sent = self.layer.relay(server, status, &text).is_ok();
            self.text = text;
            sent
        } else {
            self.layer.respond(server, status, &Content::NONE, |_| {}).is_ok()
        };
        if sent {
            self.has_answered(key, status);
        } else {
            // Nobody is to be answered: the server transaction ends by itself.
            self.waits.disarm(Wait::User.of(key));
        }
    }

    /// The best response; of challenges all (RFC 3261 §16.7, step 7).
    fn aggregate(&self, key: Key, found: usize, response: BufferId, out: &mut Vec<u8>) {
        let bytes = self.layer.buffers.message(response);
        let is_challenge = |status: Status| matches!(status.code(), 401 | 407);
        let Some(context) = self.contexts.get(key) else { return };
        let others = context.ended.iter().enumerate().filter(|(place, ended)| {
            *place != found && is_challenge(ended.outcome.status) && ended.response != NOTHING
        });
        let wanted = context.ended.get(found).is_some_and(|best| is_challenge(best.outcome.status));
        let parsed = Message::parse(bytes, &Limits::NONE);
        let wanted = wanted && self.config.join_challenges;
        let (true, Ok(best)) = (wanted && others.clone().next().is_some(), parsed) else {
            return out.extend_from_slice(bytes);
        };
        let mut edit = best.edit(out);
        for (_, other) in others {
            let Ok(other) = Message::parse(self.layer.buffers.message(other.response), &Limits::NONE) else {
                continue;
            };
            for name in [Name::WwwAuthenticate, Name::ProxyAuthenticate] {
                for value in other.values(name) {
                    let _ = edit.add(name.as_str(), value);
                }
            }
        }
    }

    /// A final response went back: nobody else is wanted (RFC 3261 §16.7, step 10).
    pub(super) fn has_answered(&mut self, key: Key, status: Status) {
        self.waits.disarm(Wait::User.of(key));
        let Some(context) = self.contexts.get_mut(key) else { return };
        context.phase = Phase::Answered(status);
        let (server, user, no_cancel) = (context.server, context.user, context.wishes.no_cancel);
        for ended in core::mem::take(&mut context.ended) {
            self.layer.buffers.unpin(ended.response);
        }
        self.push(Event::Answered { context: Context::id(key), user, status });
        self.layer.uncount(server);
        self.forget_later(key);
        let keeps_others = status.is_success() && (!self.config.cancel_others || no_cancel);
        if !keeps_others {
            self.cancel_branches(key, |proxy| proxy.reason_for(status));
        }
    }

    /// Why a branch is not wanted any more when this response came (RFC 3326): a line, or nothing.
    fn reason_for(&self, status: Status) -> String {
        let text = if status.is_success() { "Call completed elsewhere" } else { status.reason() };
        match self.config.reasons {
            true => format!("Reason: SIP;cause={};text=\"{text}\"", status.code()),
            false => String::new(),
        }
    }

    /// What a CANCEL says of why.
    pub(super) fn reason_of(&self, cancel: &Message<'_>) -> String {
        let said = cancel.values(Name::Reason).filter(|_| self.config.reasons);
        let lines: Vec<String> =
            said.map(|value| format!("Reason: {}", String::from_utf8_lossy(value))).collect();
        lines.join("\r\n")
    }

    /// The caller does not want the call any more (RFC 3261 §16.10).
    pub(super) fn on_cancel(&mut self, key: Key, reason: &str) {
        let Some(context) = self.contexts.get_mut(key) else { return };
        context.cancelled = true;
        self.forget_later(key);
        let Some(context) = self.contexts.get(key) else { return };
        if context.phase == Phase::Relaying {
            self.cancel_branches(key, |_| String::from(reason));
            return self.settle(key);
        }
        // Nothing is under way: what would come back is known.
        let server = context.server;
        if self.layer.respond(server, Status::REQUEST_TERMINATED, &Content::NONE, |_| {}).is_ok() {
            self.has_answered(key, Status::REQUEST_TERMINATED);
        }
    }

    /// An INVITE has rung as long as it may. Its CANCEL has gone out.
    pub(super) fn on_rung_out(&mut self, token: u64) {
        let Some(id) = key_of(token).filter(|_| self.config.give_up_at_once) else { return };
        let Some(key) = self.branches.get(id).map(|branch| branch.context) else { return };
        self.fail(id, Origin::Timeout);
        self.settle(key);
    }

    /// The 2xx that was given here has no ACK yet (RFC 3261 §13.3.1.4).
    pub(super) fn repeat_success(&mut self, key: Key) {
        let timers = &self.config.core.timers;
        let Some(context) = self.contexts.get_mut(key) else { return };
        let (server, Some((response, before))) = (context.server, context.own) else { return };
        // As any final response to an INVITE, over any transport.
        let after = timers.delay(Timer::G, Delay::Capped, before, Reliability::Unreliable).unwrap_or(before);
        context.own = Some((response, after));
        self.waits.arm(Wait::Repeat.of(key), self.layer.clock(), micros(after));
        self.layer.repeat_kept(server, response);
    }

    /// The user has not decided in time.
    pub(super) fn on_patience_over(&mut self, key: Key) {
        let Some(context) = self.contexts.get(key) else { return };
        match context.phase {
            Phase::Answered(_) => return,
            // Copies of the request have been absorbed long enough.
            Phase::Released => {
                self.layer.abort(Txn::Server(context.server));
                return;
            }
            Phase::Undecided | Phase::Relaying => {}
        }
        let (user, was_held) = (context.user, context.held.is_some());
        if was_held && self.config.ask && !context.is_closed() {
            let found = context.best(self.config.prefer).and_then(|at| context.ended.get(at));
            let nobody = Outcome { status: Status::REQUEST_TIMEOUT, origin: Origin::Timeout };
            let best = found.map_or(nobody, |ended| ended.outcome);
            if let Some(context) = self.contexts.get_mut(key) {
                context.held = None;
            }
            self.wait(key);
            return self.push(Event::AllFailed { context: Context::id(key), user, best });
        }
        if !context.ended.is_empty() {
            return self.send_best(key);
        }
        let server = context.server;
        // RFC 3261 §21.4.9: the callee was not found in time.
        let status = match context.held {
            Some(_) if context.is_invite => Status::REQUEST_TIMEOUT,
            _ => Status::SERVER_INTERNAL_ERROR,
        };
        if self.layer.respond(server, status, &Content::NONE, |_| {}).is_ok() {
            self.has_answered(key, status);
        }
    }

    /// A request has lived as long as it may: what nobody has answered counts as timed out, what rings is cancelled, and nothing is added.
    pub(super) fn on_lifetime_over(&mut self, key: Key) {
        self.quiet_copies(key);
        self.abort_silent(key, |part| part == Part::Copy, Origin::Cancelled);
        let Some(context) = self.contexts.get_mut(key).filter(|context| !context.is_over()) else {
            return;
        };
        context.expired = true;
        if context.phase == Phase::Undecided {
            return self.on_patience_over(key);
        }
        self.forget_later(key);
        self.abort_silent(key, |_| true, Origin::Timeout);
        self.cancel_branches(key, |_| String::new());
        self.settle(key);
    }

    /// The context of a server transaction.
    pub(super) fn context_of(&self, txn: ServerTxn) -> Option<Key> {
        key_of(self.layer.user(Txn::Server(txn))?)
    }
}
