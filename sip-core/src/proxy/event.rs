//! What a proxy tells its user, and what its user tells it.

use super::{Branch, Outcome};
use crate::endpoint::{Rejected, Source};
use crate::handle::{BranchId, ContextId};
use crate::message::{Content, Request, Response, Status};
use crate::transaction::Timers;
use core::time::Duration;

/// What a proxy tells its user. `user` is the number that was attached to the response context, `branch_user` that of the branch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'b> {
    /// A request that may be forwarded: [`relay`](super::Proxy::relay) it or [`respond`](super::Proxy::respond).
    Request {
        /// Its response context.
        context: ContextId,
        /// The request as it came.
        request: Request<'b>,
        /// Where it came from.
        source: Source,
        /// Where it goes is said in it: by a Route, or by a Request-URI that this proxy is not responsible for (RFC 3261 §16.5). Relay it as it is.
        routed: bool,
        /// It comes by a Route that this proxy wrote for its dialog, as nobody else can: who sends it was let through before. A To tag and a Route alone
        /// prove nothing.
        recorded: bool,
    },
    /// An ACK for a 2xx. It has been forwarded, unless it has no more hops or leads nowhere but here, as that of a 2xx that was given here.
    Ack {
        /// The response context of the INVITE, while that lives: 64·T1 from the 2xx on.
        context: Option<ContextId>,
        /// Whether it is the first of who sends it for that 2xx, and no copy. Without a context nobody knows.
        first: bool,
        /// The ACK.
        request: Request<'b>,
        /// Whether it was.
        forwarded: bool,
    },
    /// The caller cancels. The CANCEL has been answered, and the branches are cancelled.
    Cancelled {
        /// The response context.
        context: ContextId,
        /// Its number.
        user: u64,
        /// The CANCEL.
        request: Request<'b>,
    },
    /// A response from a branch: each provisional one but 100, and each final one.
    Response {
        /// The response context.
        context: ContextId,
        /// Its number.
        user: u64,
        /// The branch.
        branch: BranchId,
        /// Its number.
        branch_user: u64,
        /// The response as it came.
        response: Response<'b>,
        /// Whether it went on at once.
        forwarded: bool,
    },
    /// A branch ends without a final response, or counts as if it did; a refusal that comes later is not told.
    BranchFailed {
        /// The response context.
        context: ContextId,
        /// Its number.
        user: u64,
        /// The branch.
        branch: BranchId,
        /// Its number.
        branch_user: u64,
        /// What stands for its response.
        outcome: Outcome,
    },
    /// All branches have failed, and nothing has gone back: [`relay`](super::Proxy::relay) to more,
    /// [`forward_best`](super::Proxy::forward_best), or [`respond`](super::Proxy::respond). Only if [`ask`](super::Config::ask) is set; not after a 6xx, unless
    /// [`end_at_6xx`](super::Config::end_at_6xx) is off; once more when a [`hold`](super::Proxy::hold) has run out.
    AllFailed {
        /// The response context.
        context: ContextId,
        /// Its number.
        user: u64,
        /// The best of what they said; of none a 408 that nobody said.
        best: Outcome,
    },
    /// The first final response went back: one of a branch, or one of this side.
    Answered {
        /// The response context.
        context: ContextId,
        /// Its number.
        user: u64,
        /// Its status.
        status: Status,
    },
    /// A request that may not be forwarded (RFC 3261 §16.3), and was answered.
    Refused {
        /// The request.
        request: Request<'b>,
        /// With what.
        status: Status,
    },
    /// A response that belongs to nothing here. It is not forwarded (RFC 6026 §7.3).
    Stray(Response<'b>),
    /// A message that is malformed.
    Rejected(Rejected<'b>),
    /// The one terminal event of a response context. Its handle is stale from here on.
    Ended {
        /// Which one.
        context: ContextId,
        /// Its number.
        user: u64,
        /// The final response that went back; none to a request other than INVITE that nobody answered in time (RFC 4320 §4.2).
        status: Option<Status>,
    },
}

impl Event<'_> {
    /// The event with a copy of its bytes.
    pub fn into_owned(self) -> Event<'static> {
        match self {
            Self::Request { context, request, source, routed, recorded } => {
                Event::Request { context, request: request.into_owned(), source, routed, recorded }
            }
            Self::Ack { context, first, request, forwarded } => {
                Event::Ack { context, first, request: request.into_owned(), forwarded }
            }
            Self::Cancelled { context, user, request } => {
                Event::Cancelled { context, user, request: request.into_owned() }
            }
            Self::Response { context, user, branch, branch_user, response, forwarded } => {
                let response = response.into_owned();
                Event::Response { context, user, branch, branch_user, response, forwarded }
            }
            Self::BranchFailed { context, user, branch, branch_user, outcome } => {
                Event::BranchFailed { context, user, branch, branch_user, outcome }
            }
            Self::AllFailed { context, user, best } => Event::AllFailed { context, user, best },
            Self::Answered { context, user, status } => Event::Answered { context, user, status },
            Self::Refused { request, status } => Event::Refused { request: request.into_owned(), status },
            Self::Stray(response) => Event::Stray(response.into_owned()),
            Self::Rejected(rejected) => Event::Rejected(rejected.into_owned()),
            Self::Ended { context, user, status } => Event::Ended { context, user, status },
        }
    }
}

/// The commands of a proxy as values.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Command<'a> {
    /// [`relay`](super::Proxy::relay)
    Relay(ContextId, &'a [Branch<'a>]),
    /// [`forward_best`](super::Proxy::forward_best)
    ForwardBest(ContextId),
    /// [`respond`](super::Proxy::respond)
    Respond(ContextId, Status, Content<'a>),
    /// [`cancel`](super::Proxy::cancel)
    Cancel(ContextId, &'a str),
    /// [`cancel_branch`](super::Proxy::cancel_branch)
    CancelBranch(BranchId, &'a str),
    /// [`hold`](super::Proxy::hold)
    Hold(ContextId, Duration),
    /// [`pass`](super::Proxy::pass)
    Pass(BranchId),
    /// [`forget`](super::Proxy::forget)
    Forget(ContextId),
    /// [`release`](super::Proxy::release)
    Release(ContextId),
    /// [`set_timers`](super::Proxy::set_timers)
    SetTimers(BranchId, &'a Timers),
}
