//! Who is asked, and when: turns by q, and the room that Max-Breadth leaves (RFC 3261 §16.6, RFC 5393 §5.3.3).

use super::best::Origin;
use super::context::{BranchRecord, Context, Later, Phase, Way, token_of};
use super::{Branch, Part, Proxy, routing};
use crate::config::Limits;
use crate::endpoint::Misuse;
use crate::handle::{ClientTxn, Key};
use crate::message::Message;
use crate::transaction::{BufferId, ClientRequest};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZero;

impl Proxy {
    pub(super) fn add(&mut self, key: Key, branches: &[Branch<'_>]) -> Result<(), Misuse> {
        let found = self.contexts.get(key).ok_or(Misuse::Gone)?;
        if found.is_closed() || !found.serving {
            return Err(Misuse::WrongState);
        }
        let under_way = |id: &&Key| self.branches.get(**id).is_some_and(|branch| !branch.is_done);
        let under_way = found.branches.iter().filter(under_way).count();
        let waiting = found.ready.len() + found.later.len();
        let all = under_way + found.ended.len() + found.forgotten + waiting + branches.len();
        if branches.is_empty() || all > self.config.core.limits.forks {
            return Err(Misuse::Full);
        }
        // All are made before the first is sent: either all are sound, or nothing happens.
        let mut text = core::mem::take(&mut self.text);
        text.clear();
        let mut made = Vec::with_capacity(branches.len());
        let sound = branches.iter().try_for_each(|branch| {
            let start = text.len();
            let strict = self.build(found, branch, &mut text)?;
            let Branch { target, timers, breadth, part, user, .. } = *branch;
            let timers = timers.map(Arc::new);
            // Who only listens leaves the others their share.
            let breadth = if part == Part::Copy { breadth.or(NonZero::new(1)) } else { breadth };
            let way = Way { target, timers, breadth, part, user, strict };
            made.push((branch.q, start..text.len(), way));
            Ok(())
        });
        if sound.is_ok() {
            if branches.iter().any(|branch| branch.part != Part::Copy) {
                let is_asked =
                    self.contexts.get(key).is_some_and(|context| context.phase == Phase::Undecided);
                if is_asked && !self.config.carry_over {
                    self.forget_outcomes(key);
                }
                self.decided(key);
            }
            if self.config.recurse {
                self.note_tried(key, branches);
            }
            let first = branches.iter().map(|branch| branch.q).max();
            for (q, range, way) in made {
                let request = text.get(range).unwrap_or_default();
                let later = Later { q, request: self.layer.buffers.keep(request), way };
                let Some(context) = self.contexts.get_mut(key) else { continue };
                if Some(q) == first { context.make_ready(later) } else { context.put_off(later) }
            }
        }
        self.text = text;
        if sound.is_ok() {
            self.start_ready(key);
            self.settle(key);
        }
        sound
    }

    /// What a 3xx does not lead back to: the Request-URI, if those of a 3xx are tried at all.
    pub(super) fn first_tried(&self, request: &Message<'_>) -> Vec<Box<str>> {
        let uri = self.config.recurse.then(|| String::from_utf8_lossy(request.request_uri()).into());
        uri.into_iter().collect()
    }

    /// The Request-URIs that have been tried, which a 3xx does not lead to once more.
    fn note_tried(&mut self, key: Key, branches: &[Branch<'_>]) {
        let most = self.config.core.limits.forks;
        let Some(context) = self.contexts.get_mut(key) else { return };
        let uris = branches.iter().filter_map(|branch| branch.uri).map(Box::from);
        let room = most.saturating_sub(context.tried.len());
        context.tried.extend(uris.take(room));
    }

    /// Sends those whose turn it is, as far as Max-Breadth has room: each gets its share of that (RFC 5393 §5.3.3).
    pub(super) fn start_ready(&mut self, key: Key) {
        let Some(context) = self.contexts.get(key) else { return };
        let mut room = context.breadth.saturating_sub(self.outgoing_breadth(context));
        // Who is not waited for keeps nobody from its turn.
        if room == 0 && context.waits_for_room() {
            self.cancel_those(key, |part| part == Part::Copy, |_| String::new());
            return self.cancel_minor(key);
        }
        let mut left = room.min(u32::try_from(context.ready.len()).unwrap_or(u32::MAX));
        while left > 0 {
            let ready = self.contexts.get_mut(key).and_then(|context| context.ready.pop_front());
            let Some(Later { request, way, .. }) = ready else { return };
            let most = way.breadth.map_or(u32::MAX, NonZero::get);
            let breadth = room.div_ceil(left).min(most);
            (room, left) = (room - breadth, left - 1);
            self.start(key, &way, request, breadth);
            self.layer.buffers.unpin(request);
        }
    }

    /// What the branches without a final response have of Max-Breadth.
    fn outgoing_breadth(&self, context: &Context) -> u32 {
        let branches = context.branches.iter().filter_map(|id| self.branches.get(*id));
        branches.filter(|branch| !branch.has_answered).map(|branch| branch.breadth).sum()
    }

    /// It is the turn of those of the next q, if there are some.
    pub(super) fn start_next(&mut self, key: Key) -> bool {
        let next = self.contexts.get_mut(key).is_some_and(Context::turn);
        if next && !self.config.carry_over {
            self.forget_outcomes(key);
        }
        self.start_ready(key);
        next
    }

    /// Forgets those that have not been sent.
    pub(super) fn forget_later(&mut self, key: Key) {
        let Some(context) = self.contexts.get_mut(key) else { return };
        for later in context.ready.drain(..).chain(context.later.drain(..)) {
            self.layer.buffers.unpin(later.request);
        }
    }

    /// What has been answered counts no more.
    pub(super) fn forget_outcomes(&mut self, key: Key) {
        let Some(context) = self.contexts.get_mut(key) else { return };
        context.forgotten += context.ended.len();
        for ended in context.ended.drain(..) {
            self.layer.buffers.unpin(ended.response);
        }
    }

    /// Sends one branch.
    fn start(&mut self, key: Key, way: &Way, request: BufferId, breadth: u32) {
        let Way { user, part, .. } = *way;
        let record = BranchRecord {
            user,
            context: key,
            txn: None,
            part,
            is_done: false,
            has_answered: false,
            screened: None,
            breadth,
            given_up: false,
        };
        let id = self.branches.insert(record);
        if let Some(context) = self.contexts.get_mut(key) {
            context.branches.push(id);
        }
        let sent = self.send(key, way, request, id, breadth);
        match (sent, self.branches.get_mut(id)) {
            (Some(txn), Some(record)) => record.txn = Some(txn),
            _ => self.fail(id, Origin::Transport),
        }
    }

    fn send(&mut self, key: Key, way: &Way, request: BufferId, id: Key, breadth: u32) -> Option<ClientTxn> {
        let &Context { mark, breadth: whole, .. } = self.contexts.get(key)?;
        let mut text = core::mem::take(&mut self.text);
        text.clear();
        let request = self.layer.buffers.message(request);
        let made = if breadth == whole {
            text.extend_from_slice(request);
            Ok(())
        } else {
            routing::with_breadth(request, breadth, &mut text)
        };
        let sent = made.ok().and_then(|()| self.send_text(way, mark, &text, id));
        self.text = text;
        sent
    }

    fn send_text(&mut self, way: &Way, mark: u64, text: &[u8], id: Key) -> Option<ClientTxn> {
        let request = Message::parse(text, &Limits::NONE).ok()?;
        let client = ClientRequest {
            method: request.method(),
            uri: request.request_uri(),
            towards: routing::towards(&request, way.strict),
            target: way.target,
            timers: way.timers.clone(),
            user: token_of(id),
        };
        self.layer.forward(&client, mark, text).ok()
    }
}
