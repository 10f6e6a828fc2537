//! A proxy: requests forwarded with state, forked, and answered with the best response (RFC 3261 §16).
//!
//! A [`Proxy`] takes a request, checks it (§16.3), reads its routing information (§16.4), and tells its user of it. The user says where it
//! goes: [`relay`](Proxy::relay) forwards it to one place or to several at once (§16.6). Provisional responses and every 2xx go back as they come; of the
//! others the best one goes back when all have come (§16.7). What is not wanted any more is cancelled.
//!
//! ```
//! use sip_core::proxy::{Branch, Config, Event, Proxy};
//! use sip_core::{Config as CoreConfig, Instant, Local, Machine, Output, Source, Transport};
//!
//! let mut proxy = Proxy::new(Config::new(CoreConfig::new([1; 32])));
//! let (now, addr) = (Instant::ZERO, "192.0.2.1:5060".parse().unwrap());
//! proxy.listen(now, Local { transport: Transport::Udp, addr, advertised: None });
//! let from = Source::Datagram { local: addr, remote: "192.0.2.9:5060".parse().unwrap() };
//! let event = proxy.datagram(now, from, b"OPTIONS sip:bob@192.0.2.1 SIP/2.0\r\n\
//!     Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:a@x>;tag=1\r\n\
//!     To: <sip:bob@192.0.2.1>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n");
//! let Some(Event::Request { context, routed: false, .. }) = event else { panic!() };
//! // Where bob is, somebody else knows. To ask him may take a while: the request is kept.
//! proxy.relay(now, context, &[Branch::to("sip:bob@192.0.2.7")]).unwrap();
//! let Some(Output::Transmit(sent)) = proxy.poll() else { panic!() };
//! assert!(sent.bytes.starts_with(b"OPTIONS sip:bob@192.0.2.7 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK"));
//! ```
//!
//! # Who is asked first, and what when all have failed
//!
//! Places have their turns by [`q`](Branch::q). With [`Config::ask`] the user is told when all have failed, and may add others or answer with what it likes.
//! Events come from two places, what a message means from the call that brings it, and the rest from `poll`: one function takes both.
//!
//! ```
//! use sip_core::message::{Content, Status};
//! use sip_core::proxy::{Branch, Config, Event, Proxy};
//! use sip_core::{ContextId, Instant, Machine, Output};
//!
//! fn on_event(proxy: &mut Proxy, now: Instant, event: Event<'_>, voicemail: &mut Vec<ContextId>) {
//!     match event {
//!         Event::Request { context, routed: true, .. } => {
//!             proxy.relay(now, context, &[Branch::AS_IT_IS]).ok();
//!         }
//!         Event::Request { context, .. } => {
//!             let desk = Branch { q: 1_000, ..Branch::to("sip:desk@192.0.2.7") };
//!             let mobile = Branch { q: 500, ..Branch::to("sip:mobile@192.0.2.8") };
//!             if proxy.relay(now, context, &[desk, mobile]).is_err() {
//!                 proxy.respond(now, context, Status::SERVER_INTERNAL_ERROR, &Content::NONE).ok();
//!             }
//!         }
//!         // The failure route (`t_on_failure`): once more, then with a reason of one's own.
//!         Event::AllFailed { context, .. } if !voicemail.contains(&context) => {
//!             voicemail.push(context);
//!             proxy.relay(now, context, &[Branch::to("sip:voicemail@192.0.2.9")]).ok();
//!         }
//!         Event::AllFailed { context, .. } => {
//!             let reason = Content::headers(&[("Reason", "SIP;cause=480;text=\"nobody is there\"")]);
//!             proxy.respond(now, context, Status::TEMPORARILY_UNAVAILABLE, &reason).ok();
//!         }
//!         Event::Ended { context, .. } => voicemail.retain(|known| *known != context),
//!         _ => {}
//!     }
//! }
//!
//! fn drain(proxy: &mut Proxy, now: Instant, voicemail: &mut Vec<ContextId>) {
//!     while let Some(output) = proxy.poll() {
//!         match output {
//!             Output::Event(event) => {
//!                 let event = event.into_owned();
//!                 on_event(proxy, now, event, voicemail);
//!             }
//!             Output::Transmit(_transmit) => {} // and whatever else a machine wants of its adapter
//!             _ => {}
//!         }
//!     }
//! }
//! # let mut proxy = Proxy::new(Config { ask: true, ..Config::new(sip_core::Config::new([1; 32])) });
//! # drain(&mut proxy, Instant::ZERO, &mut Vec::new());
//! ```

mod best;
mod cancelling;
mod config;
mod context;
mod event;
mod forking;
mod machine;
mod responses;
mod routing;
pub mod stateless;

pub use best::{Origin, Outcome, Preference};
pub use config::{Branch, CancelMode, Config, Part};
pub use event::{Command, Event};

use self::context::{BranchRecord, Context, Ended, Later, Phase, token_of};
use self::routing::Own;
use crate::endpoint::{Misuse, Txn};
use crate::handle::{BranchId, ContextId, FlowId, Key, Slab};
use crate::message::{Content, Message, Status, is_text};
use crate::random::KeyedHash;
use crate::time::{Instant, micros};
use crate::transaction::{BufferId, Delay, Index, Item, Lanes, Layer, Timer, Timers};
use crate::transport::Reliability;
use crate::uri::{SipUri, Uri};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// The line of a Reason.
fn reason_line(value: &str) -> Result<String, Misuse> {
    match value {
        "" => Ok(String::new()),
        value if is_text(value) => Ok(format!("Reason: {value}")),
        _ => Err(Misuse::BadContent),
    }
}

/// A transaction-stateful proxy (RFC 3261 §16.2).
pub struct Proxy {
    layer: Layer,
    config: Config,
    proof: KeyedHash,
    events: VecDeque<Event<'static>>,
    contexts: Slab<Context>,
    branches: Slab<BranchRecord>,
    /// Contexts by Call-ID and CSeq number.
    by_call: Index,
    /// Contexts whose user has to decide something, and those that do not live for ever.
    waits: Lanes,
    /// The request or response at hand, as it goes on.
    text: Vec<u8>,
    /// An ACK at hand, as it goes on.
    made: Vec<u8>,
}

impl Proxy {
    /// A proxy without addresses: state them with [`listen`](crate::Machine::listen).
    pub fn new(config: Config) -> Self {
        let mut core = config.core.clone();
        // A call rings as long as its branches do; what the user leaves undecided is this machine's to end.
        core.timers.unanswered_invite = None;
        let mut layer = Layer::new(core);
        layer.rung_out = Some(Vec::new());
        // Those that could not be written, or are there already, are left out.
        let can_stand = |name: &&String| Content::headers(&[(name, "")]).check().is_ok();
        layer.hop_headers = config.hop_headers.iter().filter(can_stand).cloned().collect();
        Self {
            proof: routing::proof_key(&config, &layer),
            layer,
            config,
            events: VecDeque::new(),
            contexts: Slab::new(),
            branches: Slab::new(),
            by_call: Index::default(),
            waits: Lanes::default(),
            text: Vec::new(),
            made: Vec::new(),
        }
    }

    /// Forwards the request to these places (RFC 3261 §16.6): to those of the highest q at once, to the others in their turn, when all that went
    /// before have failed. More may be added while these are under way, or when they have failed.
    ///
    /// A place that nothing can be sent to counts as one that failed. One for which Max-Breadth leaves no room waits for the end of another (RFC 5393
    /// §5.3.3), **and a branch takes all of that unless its [`breadth`](Branch::breadth) says less**: who wants to add others while the first ones ring gives
    /// those ones a breadth.
    ///
    /// ```
    /// # use sip_core::proxy::{Branch, Config, Event, Proxy};
    /// # use sip_core::{Config as CoreConfig, Instant, Local, Machine, Source, Transport};
    /// # let (now, addr) = (Instant::ZERO, "192.0.2.1:5060".parse().unwrap());
    /// # let mut proxy = Proxy::new(Config::new(CoreConfig::new([1; 32])));
    /// # proxy.listen(now, Local { transport: Transport::Udp, addr, advertised: None });
    /// # let from = Source::Datagram { local: addr, remote: "192.0.2.9:5060".parse().unwrap() };
    /// # let Some(Event::Request { context, .. }) = proxy.datagram(now, from, b"INVITE sip:bob@192.0.2.1 SIP/2.0\r\n\
    /// #     Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:a@x>;tag=1\r\n\
    /// #     To: <sip:bob@192.0.2.1>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n") else { panic!() };
    /// let some = std::num::NonZero::new(10); // of 60, if the caller says nothing
    /// let desk = Branch { breadth: some, ..Branch::to("sip:desk@192.0.2.7") };
    /// proxy.relay(now, context, &[desk]).unwrap();
    /// // A push has woken another phone, while that one rings:
    /// proxy.relay(now, context, &[Branch::to("sip:mobile@192.0.2.8")]).unwrap();
    /// assert_eq!(proxy.branches(context).count(), 2);
    /// ```
    ///
    /// # Errors
    /// Nothing has been forwarded: [`Misuse::Gone`]; [`Misuse::WrongState`] after a final response, a 6xx or a CANCEL, or when the caller
    /// has given up; [`Misuse::BadUri`], [`Misuse::SipsMismatch`], [`Misuse::BadContent`]; [`Misuse::Full`] if there are more places than a request may have, or none.
    pub fn relay(&mut self, now: Instant, context: ContextId, branches: &[Branch<'_>]) -> Result<(), Misuse> {
        self.enter(now);
        let done = self.add(context.0, branches);
        self.leave();
        done
    }

    /// Whether a request could be [forwarded](Self::relay) there, as far as can be known before it is tried.
    ///
    /// # Errors
    /// As [`relay`](Self::relay).
    pub fn check(&self, context: ContextId, branch: &Branch<'_>) -> Result<(), Misuse> {
        let context = self.contexts.get(context.0).ok_or(Misuse::Gone)?;
        self.build(context, branch, &mut Vec::new()).map(drop)
    }

    fn build(&self, context: &Context, branch: &Branch<'_>, out: &mut Vec<u8>) -> Result<bool, Misuse> {
        let request = self.request(context)?;
        self.own().build(&request, context.arrival, branch, out)
    }

    /// The prepared request of a context.
    fn request(&self, context: &Context) -> Result<Message<'_>, Misuse> {
        let bytes = self.layer.buffers.message(context.request);
        Message::parse(bytes, &crate::config::Limits::NONE).map_err(|_| Misuse::Gone)
    }

    const fn own(&self) -> Own<'_> {
        Own { config: &self.config, locals: &self.layer.locals, hash: &self.layer.hash, proof: &self.proof }
    }

    /// The user has said what becomes of the request.
    fn decided(&mut self, key: Key) {
        self.waits.disarm(Wait::User.of(key));
        let Some(context) = self.contexts.get_mut(key) else { return };
        context.phase = Phase::Relaying;
        let server = context.server;
        self.layer.uncount(server);
    }

    /// Sends back the best of what the branches said, when all have failed (RFC 3261 §16.7, step 6).
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] while a branch is under way, before the first, or after a final response.
    pub fn forward_best(&mut self, now: Instant, context: ContextId) -> Result<(), Misuse> {
        self.enter(now);
        let found = self.contexts.get(context.0).ok_or(Misuse::Gone)?;
        if found.phase != Phase::Undecided || found.ended.is_empty() {
            return Err(Misuse::WrongState);
        }
        self.send_best(context.0);
        self.leave();
        Ok(())
    }

    /// Answers the request from here. A final response cancels what is under way, unless it is a 2xx that [leaves the others
    /// alone](Config::cancel_others). A 2xx to an INVITE is sent again until its ACK comes ([`Event::Ack`]), or for 64·T1 (RFC 3261 §13.3.1.4). What else makes a dialog is the user's: the Contact, an answer to the offer, and what
    /// comes within it, as requests like others. A [`UserAgent`](crate::ua::UserAgent) does all that.
    ///
    /// # Errors
    /// As [`Endpoint::respond`](crate::Endpoint::respond); [`Misuse::WrongState`] after a final response, as a 6xx of a callee may be one
    /// ([`Config::end_at_6xx`]).
    pub fn respond(
        &mut self,
        now: Instant,
        context: ContextId,
        status: Status,
        content: &Content<'_>,
    ) -> Result<(), Misuse> {
        content.check().map_err(|_| Misuse::BadContent)?;
        self.enter(now);
        let found = self.contexts.get(context.0).ok_or(Misuse::Gone)?;
        let server = found.server;
        let takes_call = found.is_invite && status.is_success();
        if found.is_over() {
            return Err(Misuse::WrongState);
        }
        let done = self.layer.respond(server, status, content, |_| {});
        if done.is_ok() && takes_call {
            let timers = &self.config.core.timers;
            let after = timers.delay(Timer::G, Delay::First, Duration::ZERO, Reliability::Unreliable);
            let after = after.unwrap_or(timers.t1);
            let response = self.layer.keep_response(server);
            if let Some(found) = self.contexts.get_mut(context.0) {
                found.own = Some((response, after));
            }
            self.waits.arm(Wait::Repeat.of(context.0), self.layer.clock(), micros(after));
        }
        if done.is_ok() && !status.is_provisional() {
            self.has_answered(context.0, status);
        }
        self.leave();
        done
    }

    /// Cancels all branches, as a CANCEL of the caller would (RFC 3261 §16.10). What they answer goes back; a request without branches gets 487.
    /// `reason` is the value of Reason in the CANCELs, or empty.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::BadMethod`] if it is no INVITE; [`Misuse::WrongState`] after a final response; [`Misuse::BadContent`].
    pub fn cancel(&mut self, now: Instant, context: ContextId, reason: &str) -> Result<(), Misuse> {
        let reason = reason_line(reason)?;
        self.enter(now);
        let found = self.contexts.get(context.0).ok_or(Misuse::Gone)?;
        if !found.is_invite {
            return Err(Misuse::BadMethod);
        }
        if found.is_over() {
            return Err(Misuse::WrongState);
        }
        self.on_cancel(context.0, &reason);
        self.leave();
        Ok(())
    }

    /// Cancels one branch (RFC 3261 §9.1): at once if it rings, else when it does. `reason` as in [`cancel`](Self::cancel).
    ///
    /// # Errors
    /// As [`Endpoint::cancel`](crate::Endpoint::cancel); [`Misuse::BadContent`].
    pub fn cancel_branch(&mut self, now: Instant, branch: BranchId, reason: &str) -> Result<(), Misuse> {
        let reason = reason_line(reason)?;
        self.enter(now);
        let txn = self.branches.get(branch.0).and_then(|branch| branch.txn).ok_or(Misuse::Gone)?;
        let done = self.cancel_txn(branch.0, txn, reason.as_bytes());
        let found = self.branches.get_mut(branch.0);
        if let (Ok(()), Some(key)) = (done, found.map(|branch| branch.context)) {
            if let Some(branch) = self.branches.get_mut(branch.0) {
                branch.given_up = true;
            }
            self.settle(key);
        }
        self.leave();
        done
    }

    /// Lets the last provisional response of a branch go on, if [they wait for that](Config::screen): what is not passed is dropped (`t_on_reply`, `drop`).
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] if none waits, or after a final response; [`Misuse::Full`].
    pub fn pass(&mut self, now: Instant, branch: BranchId) -> Result<(), Misuse> {
        self.enter(now);
        let found = self.branches.get_mut(branch.0).ok_or(Misuse::Gone)?;
        let (status, response) = found.screened.take().ok_or(Misuse::WrongState)?;
        let context = self.contexts.get(found.context).filter(|context| !context.is_over());
        let server = context.map(|context| context.server).ok_or(Misuse::WrongState);
        let mut text = core::mem::take(&mut self.text);
        text.clear();
        text.extend_from_slice(self.layer.buffers.message(response));
        self.layer.buffers.unpin(response);
        let done = server.and_then(|server| self.layer.relay(server, status, &text));
        self.text = text;
        self.leave();
        done
    }

    /// What has come of branches so far counts no more (`t_drop_replies`): before others are added when all have failed.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] if the search is over.
    pub fn forget(&mut self, now: Instant, context: ContextId) -> Result<(), Misuse> {
        self.enter(now);
        if self.contexts.get(context.0).ok_or(Misuse::Gone)?.is_closed() {
            return Err(Misuse::WrongState);
        }
        self.forget_outcomes(context.0);
        Ok(())
    }

    /// Leaves a request without an answer (`t_release`, `noisy_ctimer`): what is under way is cancelled, and nothing goes back, unless somebody takes the
    /// call all the same, or the caller cancels, who gets 487. Copies of it are absorbed for 64·T1.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] after a final response.
    pub fn release(&mut self, now: Instant, context: ContextId) -> Result<(), Misuse> {
        self.enter(now);
        let found = self.contexts.get_mut(context.0).ok_or(Misuse::Gone)?;
        if found.is_over() {
            return Err(Misuse::WrongState);
        }
        found.phase = Phase::Released;
        let server = found.server;
        self.layer.uncount(server);
        self.layer.mute(server);
        self.forget_later(context.0);
        self.forget_outcomes(context.0);
        self.cancel_branches(context.0, |_| String::new());
        let absorbs = micros(self.config.core.timers.t1x64());
        self.waits.arm(Wait::User.of(context.0), self.layer.clock(), absorbs);
        self.leave();
        Ok(())
    }

    /// Gives a branch other timers (`t_set_fr`): one of [`branches`](Self::branches). Those whose turn has not come have theirs from [`Branch::timers`].
    /// What it waits for now, its first or its final response, it waits for as long as these say from now on.
    ///
    /// # Errors
    /// [`Misuse::Gone`]
    pub fn set_timers(&mut self, now: Instant, branch: BranchId, timers: &Timers) -> Result<(), Misuse> {
        self.enter(now);
        let txn = self.branches.get(branch.0).and_then(|branch| branch.txn).ok_or(Misuse::Gone)?;
        if self.layer.set_timers(txn, *timers) { Ok(()) } else { Err(Misuse::Gone) }
    }

    /// Keeps a request open for so long from now, though all its branches have failed or there is none: others are still to be found, by waking a phone
    /// with a push, say. [`relay`](Self::relay) them while it lasts. After that, or after a final response, it is as if there were no more: the user is asked if
    /// it wants to be ([`Config::ask`], whether it was asked before or not), else the best response goes back; without any an INVITE gets 408, another
    /// request 500.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] after a final response, a 6xx or a CANCEL.
    pub fn hold(&mut self, now: Instant, context: ContextId, time: Duration) -> Result<(), Misuse> {
        self.enter(now);
        let until = self.layer.clock() + time;
        let found = self.contexts.get_mut(context.0).ok_or(Misuse::Gone)?;
        if found.is_closed() {
            return Err(Misuse::WrongState);
        }
        found.held = Some(until);
        if found.phase == Phase::Undecided {
            self.wait(context.0);
        }
        Ok(())
    }

    /// Attaches a number of the caller's to a response context; events about it carry the number.
    ///
    /// # Errors
    /// [`Misuse::Gone`]
    pub fn set_user(&mut self, now: Instant, context: ContextId, user: u64) -> Result<(), Misuse> {
        self.enter(now);
        self.contexts.get_mut(context.0).ok_or(Misuse::Gone)?.user = user;
        Ok(())
    }

    /// Whether an address-of-record belongs to this proxy: its host is a domain of its own or one of its addresses, with their port if it says one.
    pub fn is_responsible(&self, aor: &Uri<'_>) -> bool {
        let bare = |sip: &SipUri<'_>| sip.port.is_none() && self.layer.locals.has_host(sip.host);
        self.own().is_ours(aor) || aor.as_sip().is_some_and(bare)
    }

    /// All connections that are open or being opened.
    pub fn flows(&self) -> impl Iterator<Item = FlowId> {
        self.layer.flow_ids()
    }

    /// All response contexts that are alive.
    pub fn contexts(&self) -> impl Iterator<Item = ContextId> {
        self.contexts.iter().map(|(key, _)| ContextId(key))
    }

    /// The branches of a request that have no final response yet, in the order in which they were sent, with their numbers.
    pub fn branches(&self, context: ContextId) -> impl Iterator<Item = (BranchId, u64)> {
        let all = self.contexts.get(context.0).into_iter().flat_map(|context| &context.branches);
        let open = |id: &Key| self.branches.get(*id).filter(|branch| !branch.is_done);
        all.filter_map(move |id| Some((BranchRecord::id(*id), open(id)?.user)))
    }

    /// The numbers of those that wait for their turn, or for room (RFC 5393 §5.3.3).
    pub fn waiting(&self, context: ContextId) -> impl Iterator<Item = u64> {
        let all = self
            .contexts
            .get(context.0)
            .into_iter()
            .flat_map(|context| context.ready.iter().chain(&context.later));
        all.map(|later| later.way.user)
    }

    /// The response context of a message: of a request, a CANCEL, an ACK that its transaction takes, or a response. Nothing changes: for who spreads
    /// messages over several machines.
    pub fn find(&self, message: &Message<'_>) -> Option<ContextId> {
        match self.layer.find(message)? {
            Txn::Server(txn) => self.context_of(txn).map(ContextId),
            Txn::Client(txn) => {
                let branch = context::key_of(self.layer.user(Txn::Client(txn))?)?;
                self.branches.get(branch).map(|branch| ContextId(branch.context))
            }
        }
    }

    /// The response contexts of the requests with this Call-ID and this number: one, or several if a request came back on its way (a spiral). Takes as
    /// long among a million as among ten.
    pub fn contexts_of(&self, call_id: &[u8], cseq: u32) -> impl Iterator<Item = ContextId> {
        let call = self.hash_of_call(call_id, cseq);
        let is = move |place: &u32| self.contexts.at(*place).is_some_and(|context| context.call == call);
        self.by_call.all(call).filter(is).filter_map(|place| self.contexts.key_at(place).map(ContextId))
    }

    fn hash_of_call(&self, call_id: &[u8], cseq: u32) -> u64 {
        self.layer.hash.of(&[call_id, &cseq.to_be_bytes()]) as u64
    }

    /// The request of a context as it will be forwarded: its Via stamped, its hops counted, routes to this proxy taken off.
    ///
    /// # Errors
    /// [`Misuse::Gone`]
    pub fn request_of(&self, context: ContextId) -> Result<Message<'_>, Misuse> {
        self.request(self.contexts.get(context.0).ok_or(Misuse::Gone)?)
    }

    fn push(&mut self, event: Event<'static>) {
        self.events.push_back(event);
        self.layer.out.push(Item::Event);
    }

    /// The user has so long to decide.
    fn wait(&mut self, key: Key) {
        let held = self.contexts.get(key).and_then(|context| context.held);
        let clock = self.layer.clock();
        let held = held.map_or(Duration::ZERO, |until| until.since(clock));
        let after = if held.is_zero() { self.config.patience } else { held };
        self.waits.arm(Wait::User.of(key), clock, micros(after));
    }

    /// Whether a context is over, and what follows from that.
    fn close(&mut self, key: Key) {
        let Some(context) = self.contexts.get(key) else { return };
        if context.serving || !context.branches.is_empty() {
            return;
        }
        Wait::ALL.into_iter().for_each(|wait| self.waits.disarm(wait.of(key)));
        let Some(context) = self.contexts.remove(key) else { return };
        self.by_call.remove(context.call, key.index);
        self.layer.buffers.unpin(context.request);
        for Later { request, .. } in context.ready.iter().chain(&context.later) {
            self.layer.buffers.unpin(*request);
        }
        for Ended { response, .. } in &context.ended {
            self.layer.buffers.unpin(*response);
        }
        if let Some((own, _)) = context.own {
            self.layer.buffers.unpin(own);
        }
        self.push(Event::Ended { context: Context::id(key), user: context.user, status: context.status() });
    }

    /// Keeps a new request.
    fn open(&mut self, context: Context) -> Key {
        let (server, call) = (context.server, context.call);
        let lasts = if context.is_invite { self.config.invite_lifetime } else { self.config.lifetime };
        let key = self.contexts.insert(context);
        self.by_call.insert(call, key.index);
        self.layer.set_user(Txn::Server(server), token_of(key));
        self.wait(key);
        if let Some(lasts) = lasts {
            self.waits.arm(Wait::Life.of(key), self.layer.clock(), micros(lasts));
        }
        key
    }
}

/// No response is kept.
const NOTHING: BufferId = BufferId::NONE;

/// What a context may wait for.
#[derive(Clone, Copy)]
enum Wait {
    /// Its user, who has to decide something.
    User,
    /// The end of its life.
    Life,
    /// The ACK for the 2xx that was given here.
    Repeat,
}

impl Wait {
    const ALL: [Self; 3] = [Self::User, Self::Life, Self::Repeat];

    /// The timer of a context for it.
    const fn of(self, key: Key) -> u32 {
        key.index * 3 + self as u32
    }
}
