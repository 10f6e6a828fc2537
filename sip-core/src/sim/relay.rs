//! A minimal relay, for topologies with something in the middle: it takes a call, places it at each of its targets, and couples the
//! two sides. The first who answers has the call; the others are cancelled. (It stands here until there is a proxy.)

use super::actors::Agenda;
use super::node::{Actor, Hand};
use crate::endpoint::{Command, Event, NewRequest, Txn};
use crate::handle::{ClientTxn, ServerTxn};
use crate::headers::Name;
use crate::message::{Content, Method, Request, Response, Status};
use crate::time::Instant;
use crate::transaction::Timers;
use crate::transport::Target;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

/// One target of a call.
#[derive(Debug)]
struct Leg {
    target: Target,
    call_id: String,
    txn: Option<ClientTxn>,
    /// The To of its 2xx.
    to: Option<String>,
    chosen: bool,
    hung_up: bool,
}

#[derive(Debug)]
struct Call {
    up: ServerTxn,
    call_id: String,
    legs: Vec<Leg>,
    answered: bool,
    /// Until when the 2xx is sent again, and how often.
    repeat: Option<(Duration, Instant)>,
    /// The worst that the targets said so far.
    refusal: u16,
    gone: bool,
}

/// Relays calls.
#[derive(Debug)]
pub(super) struct Relay {
    own: SocketAddr,
    tag: u32,
    targets: Vec<Target>,
    timers: Timers,
    agenda: Agenda,
    calls: BTreeMap<u64, Call>,
    next: u64,
}

impl Relay {
    pub(super) fn new(own: SocketAddr, tag: u32, targets: Vec<Target>, timers: Timers) -> Self {
        Self { own, tag, targets, timers, agenda: Agenda::default(), calls: BTreeMap::new(), next: 0 }
    }

    fn invite(&mut self, hand: &mut Hand<'_>, txn: ServerTxn, request: &Request<'_>) {
        self.next += 1;
        let number = self.next;
        let user = match request.request_uri() {
            uri if uri.starts_with(b"sip:busy@") => "busy",
            _ => "bob",
        };
        let mut call = Call {
            up: txn,
            call_id: String::from_utf8_lossy(request.call_id()).into_owned(),
            legs: Vec::new(),
            answered: false,
            repeat: None,
            refusal: 0,
            gone: false,
        };
        let contact = format!("<sip:{}>", self.own);
        for (at, target) in self.targets.iter().enumerate() {
            let call_id = format!("{number}.{at}.{}@relay", self.tag);
            let mut leg =
                Leg { target: *target, call_id, txn: None, to: None, chosen: false, hung_up: false };
            let uri = uri(user, *target);
            let (from, to) = (self.from(number, at), format!("<sip:{user}@{}>", target.addr.ip()));
            let headers = [("Contact", contact.as_str())];
            let request = NewRequest {
                call_id: &leg.call_id,
                user: number,
                content: Content::headers(&headers),
                ..NewRequest::new(Method::Invite, &uri, &from, &to, 1)
            };
            leg.txn = hand.request(&request).ok();
            call.legs.push(leg);
        }
        if call.legs.iter().all(|leg| leg.txn.is_none()) {
            hand.respond(txn, Status::SERVICE_UNAVAILABLE, &Content::NONE);
        }
        self.calls.insert(number, call);
    }

    fn from(&self, number: u64, at: usize) -> String {
        format!("<sip:relay@{}>;tag=r{}.{number}.{at}", self.own.ip(), self.tag)
    }

    fn response(
        &mut self,
        now: Instant,
        hand: &mut Hand<'_>,
        txn: ClientTxn,
        number: u64,
        response: &Response<'_>,
    ) {
        if response.cseq().method != Method::Invite {
            return;
        }
        let contact = format!("<sip:{}>", self.own);
        let Some(call) = self.calls.get_mut(&number) else { return };
        let Some(at) = call.legs.iter().position(|leg| leg.txn == Some(txn)) else { return };
        match response.status_code() {
            ..=100 => {}
            101..=199 if !call.answered => hand.respond(call.up, Status::RINGING, &Content::NONE),
            101..=199 => {}
            200..=299 => {
                let to = String::from_utf8_lossy(response.value(Name::To).unwrap_or_default()).into_owned();
                let first = !call.answered && !call.gone;
                if let Some(leg) = call.legs.get_mut(at) {
                    leg.to = Some(to);
                    leg.chosen |= first;
                }
                if first {
                    call.answered = true;
                    hand.respond(call.up, Status::OK, &Content::headers(&[("Contact", &contact)]));
                    call.repeat = Some((self.timers.t1, now + self.timers.t1x64()));
                    self.agenda.set(now + self.timers.t1, number);
                    let others = call.legs.iter().filter(|leg| leg.txn != Some(txn) && leg.to.is_none());
                    for other in others.filter_map(|leg| leg.txn) {
                        let _ = hand.command(Command::Cancel(other));
                    }
                }
                self.in_leg(hand, number, at, Method::Ack);
                let chosen =
                    self.calls.get(&number).and_then(|call| call.legs.get(at)).is_some_and(|leg| leg.chosen);
                if !chosen {
                    self.in_leg(hand, number, at, Method::Bye);
                }
            }
            status => {
                call.refusal = call.refusal.max(status);
                if let Some(leg) = call.legs.get_mut(at) {
                    leg.txn = None;
                }
                self.give_up(hand, number);
            }
        }
    }

    /// Refuses a call that no target takes.
    fn give_up(&mut self, hand: &mut Hand<'_>, number: u64) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        if !call.answered && call.legs.iter().all(|leg| leg.txn.is_none()) {
            call.answered = true;
            let status = Status::new(call.refusal).filter(|status| status.code() >= 300);
            hand.respond(call.up, status.unwrap_or(Status::SERVICE_UNAVAILABLE), &Content::NONE);
        }
    }

    /// Sends an ACK, or hangs up once, towards a target.
    fn in_leg(&mut self, hand: &mut Hand<'_>, number: u64, at: usize, method: Method<'_>) {
        let from = self.from(number, at);
        let Some(leg) = self.calls.get_mut(&number).and_then(|call| call.legs.get_mut(at)) else { return };
        let Some(to) = leg.to.clone() else { return };
        let uri = uri("bob", leg.target);
        let cseq = if method == Method::Ack { 1 } else { 2 };
        let request =
            NewRequest { call_id: &leg.call_id, user: 0, ..NewRequest::new(method, &uri, &from, &to, cseq) };
        if method == Method::Ack {
            let _ = hand.command(Command::Ack(request));
        } else if !core::mem::replace(&mut leg.hung_up, true) {
            let _ = hand.request(&request);
        }
    }
}

fn uri(user: &str, target: Target) -> String {
    format!("sip:{user}@{};transport={}", target.addr, target.transport)
}

impl Actor for Relay {
    fn event(&mut self, now: Instant, hand: &mut Hand<'_>, event: Event<'_>) {
        match event {
            Event::Request { txn, request, .. } => match request.request_method() {
                Some(Method::Invite) => self.invite(hand, txn, &request),
                Some(Method::Bye) => {
                    hand.respond(txn, Status::OK, &Content::NONE);
                    let of = |call: &Call| call.call_id.as_bytes() == request.call_id();
                    let numbers: Vec<u64> =
                        self.calls.iter().filter(|(_, call)| of(call)).map(|(number, _)| *number).collect();
                    for number in numbers {
                        for at in 0..self.targets.len() {
                            self.in_leg(hand, number, at, Method::Bye);
                        }
                        if let Some(call) = self.calls.get_mut(&number) {
                            call.repeat = None;
                        }
                    }
                }
                Some(Method::Cancel) => {
                    hand.respond(txn, Status::NO_SUCH_TRANSACTION, &Content::NONE);
                }
                _ => hand.respond(txn, Status::OK, &Content::NONE),
            },
            Event::Ack { request, .. } => {
                for call in
                    self.calls.values_mut().filter(|call| call.call_id.as_bytes() == request.call_id())
                {
                    call.repeat = None;
                }
            }
            Event::Cancelled { txn, .. } => {
                for call in self.calls.values_mut().filter(|call| call.up == txn && !call.answered) {
                    (call.answered, call.gone) = (true, true);
                    hand.respond(txn, Status::REQUEST_TERMINATED, &Content::NONE);
                    for leg in call.legs.iter().filter_map(|leg| leg.txn) {
                        let _ = hand.command(Command::Cancel(leg));
                    }
                }
            }
            Event::Response { txn, user, response } => self.response(now, hand, txn, user, &response),
            Event::Terminated { txn: Txn::Client(txn), user, .. } => {
                let leg = self.calls.get_mut(&user).and_then(|call| {
                    call.legs.iter_mut().find(|leg| leg.txn == Some(txn) && leg.to.is_none())
                });
                if let Some(leg) = leg {
                    leg.txn = None;
                    self.give_up(hand, user);
                }
            }
            Event::Terminated { txn: Txn::Server(txn), .. } => {
                for call in self.calls.values_mut().filter(|call| call.up == txn) {
                    call.answered = true;
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
            let Some(call) = self.calls.get_mut(&number) else { continue };
            let Some((interval, until)) = call.repeat.filter(|(_, until)| now < *until) else { continue };
            let _ = hand.command(Command::Repeat(call.up));
            let interval = (interval * 2).min(self.timers.t2);
            call.repeat = Some((interval, until));
            self.agenda.set(now + interval, number);
        }
    }
}
