//! What a proxy is configured with, and what it is told of a place.

use super::Preference;
#[cfg(doc)]
use super::{Event, Proxy};
use crate::config::Config as CoreConfig;
use crate::transaction::Timers;
use crate::transport::Target;
use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZero;
use core::time::Duration;

/// What a proxy is configured with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Seed, timers and limits. [`Timers::ringing`] is Timer C (RFC 3261 §16.8); [`Limits::forks`](crate::Limits::forks) is how many branches a
    /// request may have, with those that have failed.
    pub core: CoreConfig,
    /// The domains that it is responsible for, besides its addresses.
    pub domains: Vec<String>,
    /// The option tags of Proxy-Require that it lets pass; others get 420.
    pub extensions: Vec<String>,
    /// Stay on the way of dialogs (RFC 3261 §16.6, step 4).
    pub record_route: bool,
    /// What its Record-Routes are proven to be its own with, secret: one that outlives the machine, so that the dialogs of before a restart are known
    /// again. `None`: it is drawn from the seed.
    pub route_key: Option<[u8; 16]>,
    /// An ACK is forwarded only within a dialog that was let through: by a Route of this proxy's own. For one that records its route and asks who calls.
    pub guarded: bool,
    /// A CANCEL to a branch says why (RFC 3326): with the response that won, or as the caller's CANCEL does.
    pub reasons: bool,
    /// Which response goes back when all branches have failed.
    pub prefer: Preference,
    /// A 6xx ends the search: what is under way is cancelled, and nothing is added (RFC 3261 §16.7, step 5). Else it is a response like others until all
    /// have come, and then the best.
    pub end_at_6xx: bool,
    /// A 2xx cancels the other branches (RFC 3261 §16.7, step 10). Else each may answer, as where the request itself wants so: `Request-Disposition:
    /// no-cancel` (RFC 3841 §9.1).
    pub cancel_others: bool,
    /// What cancelling a branch means that nobody has heard of yet.
    pub cancel: CancelMode,
    /// A branch that has rung as long as it may ([`Timers::ringing`]) counts as timed out at once: [`Event::BranchFailed`], and 408 for the caller. Else it has
    /// ended when its CANCEL has had its effect (RFC 3261 §16.8), and what the callee says to that goes back, a 487.
    pub give_up_at_once: bool,
    /// What the places of one turn have said counts beside what those of the next will say, or those that the user adds when all have failed. Else only the
    /// last ones count, as with [`forget`](Proxy::forget).
    pub carry_over: bool,
    /// Provisional responses go on only when the user [passes](Proxy::pass) them; else at once, but for 100.
    pub screen: bool,
    /// A 503 goes back as 500 (RFC 3261 §16.7, step 6): what is true of one server is not true of this proxy. Off where it is (`remap_503_500`).
    pub hide_503: bool,
    /// A 401 or 407 goes back with the challenges of all branches (RFC 3261 §16.7, step 7), else with its own (`aggregate_challenges`).
    pub join_challenges: bool,
    /// Names of headers that the CANCEL and the ACK of an INVITE have from it as it was sent (`ac_extra_hdrs` of Kamailio's TM).
    pub hop_headers: Vec<String>,
    /// Whether the addresses of a 3xx are tried by this proxy (RFC 3261 §16.7, step 4), each once; else the response is one like others.
    pub recurse: bool,
    /// How long an INVITE may have branches in all, however often others are added, and how long another request: then what is under way is given
    /// up. `None`: as long as its branches do.
    pub invite_lifetime: Option<Duration>,
    /// The same of other requests.
    pub lifetime: Option<Duration>,
    /// When all branches have failed, [`Event::AllFailed`] asks the user what to do, and once more when a [`hold`](Proxy::hold) has run out. Not after a 6xx
    /// (unless [`end_at_6xx`](Self::end_at_6xx) is off) or a CANCEL: then there is nothing to decide.
    pub ask: bool,
    /// How long the user may take to decide: then a new request is answered with 500, and one whose branches have failed with the best
    /// response. A request that is [held](Proxy::hold) is so as long as that says. 30 s: who sent anything but an INVITE has given up after 32 s.
    pub patience: Duration,
}

impl Config {
    /// The defaults of the RFCs: nothing is its own but its addresses, it does not stay on the way, CANCELs have a Reason, a 2xx cancels the others, a 6xx ends
    /// the search, a CANCEL waits for a provisional response, all that was said counts, 503 becomes 500 and challenges are joined; it asks nobody, tries no
    /// address of a 3xx, lets provisional responses pass, and a request lives as long as its branches.
    pub const fn new(core: CoreConfig) -> Self {
        Self {
            core,
            domains: Vec::new(),
            extensions: Vec::new(),
            record_route: false,
            route_key: None,
            guarded: false,
            reasons: true,
            prefer: Preference::Rfc3261,
            end_at_6xx: true,
            cancel_others: true,
            cancel: CancelMode::WhenHeard,
            give_up_at_once: false,
            carry_over: true,
            screen: false,
            hide_503: true,
            join_challenges: true,
            hop_headers: Vec::new(),
            recurse: false,
            invite_lifetime: None,
            lifetime: None,
            ask: false,
            patience: Duration::from_secs(30),
        }
    }
}

/// What cancelling a branch means that has no provisional response yet (`cancel_b_method` of Kamailio's TM).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CancelMode {
    /// The CANCEL waits for one (RFC 3261 §9.1).
    #[default]
    WhenHeard,
    /// As well, but the branch counts as cancelled now. Who answers it all the same is not kept from that: a 2xx may follow a 487.
    CountNow,
    /// The CANCEL goes out now, and the INVITE is not sent again. It may overtake it; then nobody has been cancelled.
    Now,
}

/// A place to forward a request to.
#[derive(Clone, Copy, Debug)]
pub struct Branch<'a> {
    /// The new Request-URI, without what stands behind a `?` in it; `None`: as it is. One that is named twice is called twice.
    pub uri: Option<&'a str>,
    /// Routes to go by first, top first: the Path of a registered contact (RFC 3327 §5.3).
    pub routes: &'a [&'a str],
    /// Where to send it; `None`: where the first Route leads, or else the Request-URI.
    pub target: Option<Target>,
    /// Headers to add.
    pub headers: &'a [(&'a str, &'a str)],
    /// The timers of this branch; `None`: those of the proxy.
    pub timers: Option<Timers>,
    /// Its turn: a Contact's q in thousandths, or any other number. Those of the highest go at once, the next when these have failed (RFC 3261 §16.6).
    pub q: u16,
    /// How much of what is left of Max-Breadth it takes at most (RFC 5393 §5.3.3): who wants to add others while it is under way leaves some.
    /// `None`: all, or an equal share with those that go at once. Of 60, if the request says none.
    pub breadth: Option<NonZero<u32>>,
    /// What its outcome is worth.
    pub part: Part,
    /// A number of the caller's; events about the branch carry it.
    pub user: u64,
}

/// What the outcome of a branch is worth to its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Part {
    /// The request waits for it.
    #[default]
    Whole,
    /// The request does not wait for it, but takes what it says meanwhile; when the others have failed it is cancelled.
    Minor,
    /// None: a copy for somebody who only listens (TM's `t_replicate`). What it says goes nowhere, it is not cancelled with the others, and the user answers
    /// the request if nobody else is asked. It is cancelled when the request is over, at the end of its life, and when Max-Breadth has no room for one that counts.
    /// Its own share of that is 1.
    Copy,
}

impl<'a> Branch<'a> {
    /// Forwards the request as it is: the way of all that says itself where it goes.
    pub const AS_IT_IS: Self = Self {
        uri: None,
        routes: &[],
        target: None,
        headers: &[],
        timers: None,
        q: 1_000,
        breadth: None,
        part: Part::Whole,
        user: 0,
    };

    /// Forwards it to this URI.
    pub const fn to(uri: &'a str) -> Self {
        Self { uri: Some(uri), ..Self::AS_IT_IS }
    }
}
