//! An agent that forwards requests to fixed places.

use crate::endpoint::Misuse;
use crate::message::{Content, Request, Status};
use crate::proxy::{Branch, Event, Origin, Proxy};
use crate::{BranchId, ContextId, Instant, Machine, Source, TransactionUser};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Where requests go.
#[derive(Clone, Debug, Default)]
pub struct ForwarderOptions {
    /// The URIs for what does not say itself where it goes.
    pub targets: Vec<String>,
    /// One after the other, and not all at once.
    pub serial: bool,
}

/// What happened to a request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Report<'a> {
    /// It came.
    Request {
        /// Its response context.
        context: ContextId,
        /// The request.
        request: &'a Request<'a>,
        /// Where it came from.
        source: Source,
    },
    /// A branch of it has a final response, or will have none.
    Branch {
        /// Its response context.
        context: ContextId,
        /// The branch.
        branch: BranchId,
        /// The target that it went to; nothing if the request said itself where it went.
        target: Option<&'a str>,
        /// What it was, or what stands for it.
        status: Status,
        /// Who said so.
        origin: Origin,
    },
    /// The final response went back.
    Final {
        /// Its response context.
        context: ContextId,
        /// What it was.
        status: Status,
    },
}

/// Forwards by Route, by the Request-URI if that is not of this proxy, and else to its targets; gives a report of all that happens to `tell`.
pub struct Forwarder<F> {
    options: ForwarderOptions,
    tell: F,
    requests: u64,
    answered: u64,
}

impl<F: FnMut(Instant, &Report<'_>)> Forwarder<F> {
    /// An agent with these options.
    pub const fn new(options: ForwarderOptions, tell: F) -> Self {
        Self { options, tell, requests: 0, answered: 0 }
    }

    /// What it did, as one line of `key=value`.
    pub fn report(&self, machine: &Proxy) -> String {
        let stats = machine.stats();
        format!(
            "requests={} answered={} retransmissions_in={} retransmissions_out={} transactions_open={}",
            self.requests,
            self.answered,
            stats.retransmissions_in,
            stats.retransmissions_out,
            stats.client_transactions + stats.server_transactions,
        )
    }

    /// A branch has its end.
    fn told(
        &mut self,
        now: Instant,
        context: ContextId,
        branch: BranchId,
        number: u64,
        (status, origin): (Status, Origin),
    ) {
        let places = &self.options.targets;
        let target = number.checked_sub(1).and_then(|place| places.get(usize::try_from(place).ok()?));
        let target = target.map(|uri| &**uri);
        (self.tell)(now, &Report::Branch { context, branch, target, status, origin });
    }

    fn branches(&self) -> Vec<Branch<'_>> {
        // The number of a place is its turn.
        let turn = |place: usize| if self.options.serial { u16::MAX - place as u16 } else { u16::MAX };
        let targets = self.options.targets.iter().enumerate();
        targets
            .map(|(place, uri)| Branch { q: turn(place), user: place as u64 + 1, ..Branch::to(uri) })
            .collect()
    }
}

impl<F: FnMut(Instant, &Report<'_>)> TransactionUser<Proxy> for Forwarder<F> {
    fn event(&mut self, now: Instant, machine: &mut Proxy, event: Event<'_>) {
        match event {
            Event::Request { context, request, source, routed, .. } => {
                self.requests += 1;
                (self.tell)(now, &Report::Request { context, request: &request, source });
                let branches = if routed { Vec::from([Branch::AS_IT_IS]) } else { self.branches() };
                let status = match machine.relay(now, context, &branches) {
                    Ok(()) => return,
                    // RFC 5630 §5.3
                    Err(Misuse::SipsMismatch) => Status::TEMPORARILY_UNAVAILABLE,
                    // Nothing can be sent there: RFC 3261 §16.5 says 404 for a resource that does not exist.
                    Err(_) => Status::NOT_FOUND,
                };
                let _ = machine.respond(now, context, status, &Content::NONE);
            }
            Event::Response { context, branch, branch_user, response, .. }
                if response.status().is_final() =>
            {
                let (status, origin) = (response.status(), Origin::Received);
                self.told(now, context, branch, branch_user, (status, origin));
            }
            Event::BranchFailed { context, branch, branch_user, outcome, .. } => {
                self.told(now, context, branch, branch_user, (outcome.status, outcome.origin));
            }
            Event::Answered { context, status, .. } => {
                self.answered += 1;
                (self.tell)(now, &Report::Final { context, status });
            }
            _ => {}
        }
    }
}
