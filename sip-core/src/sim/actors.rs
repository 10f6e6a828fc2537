//! Transaction users for worlds: one that calls, one that is called, and the pieces that both share.

use super::node::{Actor, Hand};
use crate::endpoint::{Command, Event, NewRequest};
use crate::handle::{ClientTxn, ServerTxn};
use crate::headers::{Contact, Name};
use crate::message::{Content, Message, Method, Request, Response, Status};
use crate::time::Instant;
use crate::transaction::Timers;
use crate::transport::{Target, Transport};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

/// Times at which something is to be done, by a number.
#[derive(Debug, Default)]
pub(super) struct Agenda(BTreeSet<(Instant, u64)>);

impl Agenda {
    pub(super) fn set(&mut self, at: Instant, what: u64) {
        self.0.insert((at, what));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    pub(super) fn due(&mut self, now: Instant) -> Option<u64> {
        let first = *self.0.first().filter(|(at, _)| *at <= now)?;
        self.0.remove(&first);
        Some(first.1)
    }
}

/// What a call is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// INVITE, 200, ACK; some time later BYE.
    Call,
    /// Cancelled when it rings.
    Cancelled,
    /// Cancelled before anything was heard.
    CancelledAtOnce,
    /// The callee is busy.
    Busy,
    /// OPTIONS.
    Options,
    /// REGISTER, refused with a challenge, and once more with credentials.
    Register,
    /// A call that both sides end at the same time.
    Glare,
}

impl Script {
    pub(super) const ALL: [Self; 7] = [
        Self::Call,
        Self::Cancelled,
        Self::CancelledAtOnce,
        Self::Busy,
        Self::Options,
        Self::Register,
        Self::Glare,
    ];

    const fn user(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Glare => "glare",
            _ => "bob",
        }
    }

    const fn method(self) -> Method<'static> {
        match self {
            Self::Options => Method::Options,
            Self::Register => Method::Register,
            _ => Method::Invite,
        }
    }
}

/// How long a call is up.
const HOLD: Duration = Duration::from_secs(2);

/// One side of a call, as far as its requests need it.
#[derive(Clone, Debug, Default)]
struct Leg {
    /// The remote target.
    target: String,
    from: String,
    to: String,
    call_id: String,
    cseq: u32,
}

impl Leg {
    fn request<'a>(&'a self, method: Method<'a>, user: u64, content: Content<'a>) -> NewRequest<'a> {
        NewRequest {
            call_id: &self.call_id,
            user,
            content,
            ..NewRequest::new(method, &self.target, &self.from, &self.to, self.cseq)
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Where the peer of a message wants requests.
fn contact(message: &Message<'_>) -> Option<String> {
    let contact = message.all::<Contact<'_>>().next()?.ok()?;
    Some(text(contact.address()?.uri_bytes))
}

/// A Contact value for this side.
fn own_contact(addr: SocketAddr, transport: Transport) -> String {
    format!("<sip:{addr};transport={transport}>")
}

/// A call that this side has begun.
#[derive(Debug)]
struct Placed {
    script: Script,
    leg: Leg,
    txn: Option<ClientTxn>,
    rang: bool,
    /// The forks that answered, and whether a BYE was sent to each.
    answered: Vec<(Leg, bool)>,
    over: bool,
    good: bool,
}

/// Places calls.
#[derive(Debug)]
pub struct Caller {
    own: SocketAddr,
    target: Target,
    tag: u32,
    planned: Vec<(Duration, Script)>,
    began: bool,
    agenda: Agenda,
    calls: Vec<Placed>,
    completed: u64,
}

impl Caller {
    /// One that makes these calls, so long after its start each. `tag` tells its incarnations apart.
    pub const fn new(own: SocketAddr, target: Target, tag: u32, planned: Vec<(Duration, Script)>) -> Self {
        Self {
            own,
            target,
            tag,
            planned,
            began: false,
            agenda: Agenda(BTreeSet::new()),
            calls: Vec::new(),
            completed: 0,
        }
    }

    fn begin(&mut self, hand: &mut Hand<'_>, at: usize) {
        let Some((_, script)) = self.planned.get(at).copied() else { return };
        let Self { own, target, tag, .. } = *self;
        let number = self.calls.len();
        let leg = Leg {
            target: format!("sip:{}@{};transport={}", script.user(), target.addr, target.transport),
            from: format!("<sip:alice@{}>;tag=a{tag}.{number}", own.ip()),
            to: format!("<sip:{}@{}>", script.user(), target.addr.ip()),
            call_id: format!("{number}.{tag}@{}", own.ip()),
            cseq: 1,
        };
        let placed =
            Placed { script, leg, txn: None, rang: false, answered: Vec::new(), over: false, good: false };
        self.calls.push(placed);
        self.send(hand, number, &[]);
        if script == Script::CancelledAtOnce {
            if let Some(txn) = self.calls.get(number).and_then(|call| call.txn) {
                let _ = hand.command(Command::Cancel(txn));
            }
        }
    }

    fn send(&mut self, hand: &mut Hand<'_>, number: usize, headers: &[(&str, &str)]) {
        let contact = own_contact(self.own, self.target.transport);
        let Some(call) = self.calls.get_mut(number) else { return };
        let mut all = Vec::from([("Contact", contact.as_str())]);
        all.extend_from_slice(headers);
        let request = call.leg.request(call.script.method(), number as u64, Content::headers(&all));
        match hand.request(&request) {
            Ok(txn) => call.txn = Some(txn),
            Err(_) => call.over = true,
        }
    }

    fn response(
        &mut self,
        now: Instant,
        hand: &mut Hand<'_>,
        txn: ClientTxn,
        number: u64,
        response: &Response<'_>,
    ) {
        let Some(call) = self.calls.get_mut(number as usize) else { return };
        let status = response.status_code();
        if response.cseq().method == Method::Bye {
            call.over |= status >= 200;
            if (200..300).contains(&status) {
                self.completed(number as usize);
            }
            return;
        }
        match (call.script, status) {
            (_, ..=100) => {}
            (Script::Cancelled, 101..=199) if !call.rang => {
                call.rang = true;
                let _ = hand.command(Command::Cancel(txn));
            }
            (_, 101..=199) => {}
            (Script::Register, 401) if call.leg.cseq == 1 => {
                call.leg.cseq = 2;
                self.send(
                    hand,
                    number as usize,
                    &[("Authorization", "Digest username=\"alice\", response=\"0\"")],
                );
            }
            (Script::Options | Script::Register, _) => {
                call.over = true;
                if status < 300 {
                    self.completed(number as usize);
                }
            }
            (_, 200..=299) => {
                let to = text(response.value(Name::To).unwrap_or_default());
                let leg = Leg {
                    to: to.clone(),
                    target: contact(response).unwrap_or_else(|| call.leg.target.clone()),
                    ..call.leg.clone()
                };
                // RFC 3261 §13.2.2.4: each copy of a 2xx is acknowledged by the same ACK.
                let _ = hand.command(Command::Ack(leg.request(Method::Ack, 0, Content::NONE)));
                if call.answered.iter().all(|(known, _)| known.to != to) {
                    call.answered.push((leg, false));
                    let surplus = call.answered.len() > 1
                        || matches!(call.script, Script::Cancelled | Script::CancelledAtOnce);
                    let hold = if surplus { Duration::ZERO } else { HOLD };
                    self.agenda.set(now + hold, PLAN + number);
                }
            }
            (script, _) => {
                call.over = true;
                let good = match script {
                    Script::Busy => status == 486,
                    Script::Cancelled | Script::CancelledAtOnce => status == 487,
                    _ => false,
                };
                if good {
                    self.completed(number as usize);
                }
            }
        }
    }

    /// A call ended as it should.
    fn completed(&mut self, number: usize) {
        if let Some(call) = self.calls.get_mut(number) {
            call.over = true;
            self.completed += u64::from(!core::mem::replace(&mut call.good, true));
        }
    }

    fn hang_up(&mut self, hand: &mut Hand<'_>, number: u64) {
        let Some(call) = self.calls.get_mut(number as usize) else { return };
        for (leg, done) in &mut call.answered {
            if !core::mem::replace(done, true) {
                leg.cseq += 1;
                let _ = hand.request(&leg.request(Method::Bye, number, Content::NONE));
            }
        }
    }
}

/// Numbers of the agenda from here on are calls to hang up; below are calls to begin.
const PLAN: u64 = 1 << 32;

impl Actor for Caller {
    fn event(&mut self, now: Instant, hand: &mut Hand<'_>, event: Event<'_>) {
        match event {
            Event::Response { txn, user, response } => self.response(now, hand, txn, user, &response),
            Event::Request { txn, request, .. } => {
                // The other side hangs up, or wants something that is not done here.
                let bye = request.request_method() == Some(Method::Bye);
                hand.respond(txn, if bye { Status::OK } else { Status::NOT_IMPLEMENTED }, &Content::NONE);
                if bye {
                    // The Call-ID begins with the number of the call.
                    let number =
                        text(request.call_id()).split('.').next().and_then(|number| number.parse().ok());
                    if let Some(number) = number {
                        self.completed(number);
                    }
                }
            }
            Event::Terminated { user, .. } => {
                if let Some(call) = self.calls.get_mut(user as usize) {
                    call.over |= call.answered.is_empty();
                }
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if self.began { self.agenda.next() } else { Some(Instant::ZERO) }
    }

    fn advance(&mut self, now: Instant, hand: &mut Hand<'_>) {
        if !self.began {
            self.began = true;
            for (at, (after, _)) in self.planned.iter().enumerate() {
                self.agenda.set(now + *after, at as u64);
            }
        }
        while let Some(what) = self.agenda.due(now) {
            match what.checked_sub(PLAN) {
                Some(number) => self.hang_up(hand, number),
                None => self.begin(hand, what as usize),
            }
        }
    }

    fn calls(&self) -> (u64, u64) {
        (self.calls.len() as u64, self.completed)
    }
}

/// How a callee behaves, one for each INVITE or other request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// 180 at once, the answer a second later.
    Prompt,
    /// The answer after five seconds, with nothing before.
    Slow,
    /// No answer at all.
    Never,
    /// Each answer twice.
    Twice,
    /// A provisional response behind the final one, and an answer after a CANCEL.
    Late,
    /// Busy.
    Busy,
    /// The 2xx is never sent again.
    Silent,
}

impl Manner {
    pub(super) const ALL: [Self; 7] =
        [Self::Prompt, Self::Slow, Self::Never, Self::Twice, Self::Late, Self::Busy, Self::Silent];
}

/// Sends a 2xx again until its ACK comes (RFC 3261 §13.3.1.4).
#[derive(Clone, Copy, Debug)]
struct Repeat {
    interval: Duration,
    until: Instant,
}

#[derive(Debug)]
struct Taken {
    txn: ServerTxn,
    leg: Leg,
    manner: Manner,
    glare: bool,
    answered: bool,
    cancelled: bool,
    repeat: Option<Repeat>,
    hang_up: bool,
}

/// Takes calls.
#[derive(Debug)]
pub struct Callee {
    own: SocketAddr,
    transport: Transport,
    timers: Timers,
    manners: Vec<Manner>,
    asked: usize,
    agenda: Agenda,
    calls: BTreeMap<u64, Taken>,
    /// Calls by Call-ID, and by the transaction of their INVITE.
    by_call: BTreeMap<String, u64>,
    by_txn: BTreeMap<ServerTxn, u64>,
    next: u64,
    /// Requests to answer later.
    waiting: BTreeMap<u64, ServerTxn>,
}

impl Callee {
    /// One that behaves so, request by request; prompt when the list is used up.
    pub const fn new(own: SocketAddr, transport: Transport, timers: Timers, manners: Vec<Manner>) -> Self {
        Self {
            own,
            transport,
            timers,
            manners,
            asked: 0,
            agenda: Agenda(BTreeSet::new()),
            calls: BTreeMap::new(),
            by_call: BTreeMap::new(),
            by_txn: BTreeMap::new(),
            next: 0,
            waiting: BTreeMap::new(),
        }
    }

    fn manner(&mut self) -> Manner {
        self.asked += 1;
        self.manners.get(self.asked - 1).copied().unwrap_or(Manner::Prompt)
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn request(
        &mut self,
        now: Instant,
        hand: &mut Hand<'_>,
        txn: ServerTxn,
        request: &Request<'_>,
        merged: bool,
    ) {
        if merged {
            return hand.respond(txn, Status::LOOP_DETECTED, &Content::NONE);
        }
        let method = request.request_method();
        if method == Some(Method::Invite) {
            return self.invite(now, hand, txn, request);
        }
        match (method, self.manner()) {
            (Some(Method::Cancel), _) => {
                hand.respond(txn, Status::NO_SUCH_TRANSACTION, &Content::NONE);
            }
            (Some(Method::Register), _) if request.value(Name::Authorization).is_none() => {
                let challenge = [("WWW-Authenticate", "Digest realm=\"sim\", nonce=\"1\"")];
                hand.respond(txn, Status::UNAUTHORIZED, &Content::headers(&challenge));
            }
            (_, Manner::Never) => {}
            (_, Manner::Slow) => {
                let number = self.number();
                self.waiting.insert(number, txn);
                self.agenda.set(now + Duration::from_secs(5), number);
            }
            (_, manner) => {
                hand.respond(txn, Status::OK, &Content::NONE);
                if matches!(manner, Manner::Twice | Manner::Late) {
                    hand.respond(txn, Status::OK, &Content::NONE);
                    hand.respond(txn, Status::TRYING, &Content::NONE);
                }
            }
        }
        if method == Some(Method::Bye) {
            if let Some(call) =
                self.by_call.get(&text(request.call_id())).and_then(|number| self.calls.get_mut(number))
            {
                (call.repeat, call.hang_up) = (None, false);
            }
        }
    }

    fn invite(&mut self, now: Instant, hand: &mut Hand<'_>, txn: ServerTxn, request: &Request<'_>) {
        let user = request.request_uri();
        let manner = if user.starts_with(b"sip:busy@") { Manner::Busy } else { self.manner() };
        let leg = Leg {
            target: contact(request).unwrap_or_default(),
            from: text(request.value(Name::To).unwrap_or_default()),
            to: text(request.value(Name::From).unwrap_or_default()),
            call_id: text(request.call_id()),
            cseq: 1,
        };
        let number = self.number();
        let after = match manner {
            Manner::Never => None,
            Manner::Slow => Some(Duration::from_secs(5)),
            Manner::Busy => Some(Duration::ZERO),
            _ => {
                hand.respond(txn, Status::RINGING, &Content::NONE);
                Some(Duration::from_secs(1))
            }
        };
        let glare = user.starts_with(b"sip:glare@");
        let taken = Taken {
            txn,
            leg,
            manner,
            glare,
            answered: false,
            cancelled: false,
            repeat: None,
            hang_up: false,
        };
        self.by_call.insert(taken.leg.call_id.clone(), number);
        self.by_txn.insert(txn, number);
        self.calls.insert(number, taken);
        if let Some(after) = after {
            self.agenda.set(now + after, number);
        }
    }

    /// Something is to be done about a call: answer it, send its answer again, or hang up.
    fn attend(&mut self, now: Instant, hand: &mut Hand<'_>, number: u64) {
        let contact = own_contact(self.own, self.transport);
        let Some(call) = self.calls.get_mut(&number) else { return };
        if !call.answered {
            if call.cancelled && call.manner != Manner::Late {
                return;
            }
            call.answered = true;
            let status = if call.manner == Manner::Busy { Status::BUSY_HERE } else { Status::OK };
            hand.respond(call.txn, status, &Content::headers(&[("Contact", &contact)]));
            if matches!(call.manner, Manner::Late | Manner::Twice) {
                hand.respond(call.txn, Status::RINGING, &Content::NONE);
                hand.respond(call.txn, Status::BUSY_HERE, &Content::NONE);
            }
            if status == Status::OK && call.manner != Manner::Silent {
                let interval = self.timers.t1;
                call.repeat = Some(Repeat { interval, until: now + self.timers.t1x64() });
                self.agenda.set(now + interval, number);
            }
            if call.glare && status == Status::OK {
                call.hang_up = true;
                self.agenda.set(now + HOLD, number);
            }
            return;
        }
        if let Some(repeat) = &mut call.repeat {
            if now >= repeat.until {
                call.repeat = None;
            } else {
                let _ = hand.command(Command::Repeat(call.txn));
                repeat.interval = (repeat.interval * 2).min(self.timers.t2);
                self.agenda.set(now + repeat.interval, number);
            }
        }
        if call.hang_up && call.repeat.is_none() {
            call.hang_up = false;
            let _ = hand.request(&call.leg.request(Method::Bye, number, Content::NONE));
        }
    }

    fn ack(&mut self, now: Instant, ack: &Request<'_>) {
        let Some(number) = self.by_call.get(&text(ack.call_id())) else { return };
        let Some(call) = self.calls.get_mut(number) else { return };
        if call.repeat.take().is_some() {
            call.leg.from = ack.value(Name::To).map(text).unwrap_or_default();
            if call.hang_up {
                self.agenda.set(now + HOLD, *number);
            }
        }
    }
}

impl Actor for Callee {
    fn event(&mut self, now: Instant, hand: &mut Hand<'_>, event: Event<'_>) {
        match event {
            Event::Request { txn, request, merged, .. } => self.request(now, hand, txn, &request, merged),
            Event::Ack { request, .. } => self.ack(now, &request),
            Event::Cancelled { txn, .. } => {
                let call = self.by_txn.get(&txn).and_then(|number| self.calls.get_mut(number));
                let Some(call) = call else { return };
                call.cancelled = true;
                if call.manner != Manner::Late && call.manner != Manner::Never {
                    call.answered = true;
                    hand.respond(txn, Status::REQUEST_TERMINATED, &Content::NONE);
                }
            }
            Event::Terminated { txn: crate::Txn::Server(txn), .. } => {
                let Some(number) = self.by_txn.remove(&txn) else { return };
                if self.calls.get(&number).is_some_and(|call| !call.hang_up) {
                    if let Some(call) = self.calls.remove(&number) {
                        self.by_call.remove(&call.leg.call_id);
                    }
                }
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.agenda.next()
    }

    fn advance(&mut self, now: Instant, hand: &mut Hand<'_>) {
        while let Some(number) = self.agenda.due(now) {
            if let Some(txn) = self.waiting.remove(&number) {
                hand.respond(txn, Status::OK, &Content::NONE);
            }
            self.attend(now, hand, number);
        }
    }
}
