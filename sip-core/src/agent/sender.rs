//! An agent that sends requests for programs that know no SIP.

use super::order::{Broken, Order, Orders};
use crate::endpoint::Event;
use crate::headers::{Address, Contact, Header, Name, RecordRoute};
use crate::message::{Content, Method, Response, Status, hex};
use crate::random::{Random, Seed};
use crate::uri::Uri;
use crate::{Cause, Endpoint, Instant, Misuse, NewRequest, TransactionUser, Txn};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent<'a> {
    /// The file in which its writer wants to be told; empty: none.
    pub file: &'a str,
    /// Its method.
    pub method: &'a str,
    /// Its Request-URI.
    pub uri: &'a str,
    /// The final status; 400, 408, 413 or 503 stand for what could not be sent or was not answered.
    pub code: u16,
    /// Its reason phrase.
    pub reason: &'a str,
}

/// Sends what is [fed](Self::feed) to it in the form of SER's FIFO, each request in a transaction of its own, and tells each final status once.
///
/// The headers may say From, To, Call-ID, CSeq, Route and Content-Type; what they don't of these is filled in. A Contact is the writer's. An INVITE is acknowledged, and left alone then: its
/// writer hangs up.
pub struct Sender<F> {
    from: String,
    tell: F,
    random: Random,
    orders: Orders,
    /// The input is over.
    ended: bool,
    /// Requests by their numbers, until their transactions are over.
    sent: BTreeMap<u64, Asked>,
    next: u64,
    told: u64,
    succeeded: u64,
}

/// A request that was sent.
struct Asked {
    order: Order,
    told: bool,
    /// For the ACK of a 2xx.
    from: String,
    cseq: u32,
}

impl<F: FnMut(&Sent<'_>)> Sender<F> {
    /// An agent that is this, a value of From, in requests that don't say who they are from.
    pub fn new(from: &str, seed: Seed, tell: F) -> Self {
        Self {
            from: from.into(),
            tell,
            random: Random::new(seed),
            orders: Orders::default(),
            ended: false,
            sent: BTreeMap::new(),
            next: 0,
            told: 0,
            succeeded: 0,
        }
    }

    /// Sends the requests that these bytes of the input complete.
    pub fn feed(&mut self, now: Instant, machine: &mut Endpoint, bytes: &[u8]) {
        for order in self.orders.read(bytes) {
            self.take(now, machine, order);
        }
    }

    /// The input is over: the agent is done when all is answered.
    pub fn end(&mut self, now: Instant, machine: &mut Endpoint) {
        for order in self.orders.end() {
            self.take(now, machine, order);
        }
        self.ended = true;
    }

    /// How many requests had a 2xx, of how many.
    pub const fn succeeded(&self) -> (u64, u64) {
        (self.succeeded, self.told)
    }

    fn take(&mut self, now: Instant, machine: &mut Endpoint, order: Result<Order, Broken>) {
        match order {
            Ok(order) => {
                if let Err((code, reason)) = self.send(now, machine, &order) {
                    self.tell(&order, code, reason);
                }
            }
            Err(Broken { order, code, reason }) => self.tell(&order, code, reason),
        }
    }

    fn tell(&mut self, order: &Order, code: u16, reason: &str) {
        self.told += 1;
        self.succeeded += u64::from((200..300).contains(&code));
        let Order { file, method, uri, .. } = order;
        (self.tell)(&Sent { file, method, uri, code, reason });
    }

    fn send(
        &mut self,
        now: Instant,
        machine: &mut Endpoint,
        order: &Order,
    ) -> Result<(), (u16, &'static str)> {
        let value = |name: Name| {
            let mut all =
                order.headers.iter().filter(move |(found, _)| Name::lookup(found.as_bytes()) == name);
            all.next().map(|(_, value)| value.as_str())
        };
        let mut from = String::from(value(Name::From).unwrap_or(&self.from));
        if Address::whole(from.as_bytes()).is_ok_and(|from| from.tag().is_none()) {
            let tag = hex(self.random.u64());
            from.push_str(";tag=");
            from.push_str(core::str::from_utf8(&tag).unwrap_or_default());
        }
        let to = value(Name::To).map_or_else(|| format!("<{}>", order.uri), String::from);
        let cseq = value(Name::CSeq).map_or(Some(1), |text| text.split_whitespace().next()?.parse().ok());
        let cseq = cseq.filter(|cseq| *cseq < 1 << 31).ok_or((400, "CSeq is no number below 2^31"))?;
        let routes: Vec<&str> = order
            .headers
            .iter()
            .filter(|(name, _)| is(name, Name::Route))
            .map(|(_, value)| &**value)
            .collect();
        let headers: Vec<(&str, &str)> = order
            .headers
            .iter()
            .filter(|(name, _)| !is_written(name))
            .map(|(name, value)| (&**name, &**value))
            .collect();
        if order.method.bytes().any(|byte| byte.is_ascii_whitespace()) {
            return Err((400, "The method is no token"));
        }
        if Uri::parse(order.uri.as_bytes()).is_err() {
            return Err((400, "The URI is none"));
        }
        let content_type =
            value(Name::ContentType).unwrap_or(if order.body.is_empty() { "" } else { "text/plain" });
        let request = NewRequest {
            call_id: value(Name::CallId).unwrap_or_default(),
            route: &routes,
            user: self.next,
            content: Content { headers: &headers, content_type, body: &order.body },
            ..NewRequest::new(Method::new(order.method.as_bytes()), &order.uri, &from, &to, cseq)
        };
        machine.request(now, &request).map_err(|misuse| match misuse {
            Misuse::BadMethod => (400, "ACK and CANCEL are no requests of their own"),
            Misuse::BadUri => (400, "The URI leads nowhere"),
            Misuse::NoLocal(_) => (503, "No socket of this transport"),
            Misuse::Full => (503, "Too many requests are under way"),
            _ => (400, "A header can't stand in a request as it is"),
        })?;
        let order = Order {
            file: order.file.clone(),
            method: order.method.clone(),
            uri: order.uri.clone(),
            ..Order::default()
        };
        self.sent.insert(self.next, Asked { order, told: false, from, cseq });
        self.next += 1;
        Ok(())
    }

    fn answered(&mut self, now: Instant, machine: &mut Endpoint, user: u64, response: &Response<'_>) {
        let status = response.status();
        let Some(asked) = self.sent.get_mut(&user).filter(|_| status.is_final()) else { return };
        if status.is_success() && response.cseq().method == Method::Invite {
            acknowledge(now, machine, asked, response);
        }
        if !core::mem::replace(&mut asked.told, true) {
            let order = core::mem::take(&mut asked.order);
            self.tell(&order, status.code(), &String::from_utf8_lossy(response.reason()));
        }
    }

    fn over(&mut self, user: u64, cause: Cause) {
        let Some(asked) = self.sent.remove(&user).filter(|asked| !asked.told) else { return };
        // RFC 3261 §8.1.3.1
        let status = match cause {
            Cause::Timeout => Status::REQUEST_TIMEOUT,
            _ => Status::SERVICE_UNAVAILABLE,
        };
        self.tell(&asked.order, status.code(), status.reason());
    }
}

/// The ACK for a 2xx (RFC 3261 §13.2.2.4): to its Contact, by its Record-Routes. Where none can be sent, the callee will end the call.
fn acknowledge(now: Instant, machine: &mut Endpoint, asked: &Asked, response: &Response<'_>) {
    let contact = response.get::<Contact<'_>>().ok().flatten().and_then(|contact| contact.address());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let Some(uri) = contact.map(|contact| text(contact.uri_bytes)) else { return };
    let mut routes: Vec<String> = response
        .all::<RecordRoute<'_>>()
        .map_while(Result::ok)
        .map(|route| {
            let mut out = Vec::new();
            route.emit(&mut out);
            text(&out)
        })
        .collect();
    routes.reverse();
    let route: Vec<&str> = routes.iter().map(|route| &**route).collect();
    let (to, call_id) = (text(response.value_of("To").unwrap_or_default()), text(response.call_id()));
    let ack = NewRequest {
        call_id: &call_id,
        route: &route,
        ..NewRequest::new(Method::Ack, &uri, &asked.from, &to, asked.cseq)
    };
    let _ = machine.ack(now, &ack);
}

fn is(name: &str, known: Name) -> bool {
    Name::lookup(name.as_bytes()) == known
}

/// Headers that are written from what they say, or by the core alone.
fn is_written(name: &str) -> bool {
    matches!(
        Name::lookup(name.as_bytes()),
        Name::From
            | Name::To
            | Name::CallId
            | Name::CSeq
            | Name::Route
            | Name::ContentType
            | Name::ContentLength
            | Name::MaxForwards
    )
}

impl<F: FnMut(&Sent<'_>)> TransactionUser<Endpoint> for Sender<F> {
    fn event(&mut self, now: Instant, machine: &mut Endpoint, event: Event<'_>) {
        match event {
            Event::Response { user, response, .. } => self.answered(now, machine, user, &response),
            Event::Terminated { txn: Txn::Client(_), user, cause } => self.over(user, cause),
            // Nobody is at home here.
            Event::Request { txn, .. } => {
                let _ = machine.respond(now, txn, Status::TEMPORARILY_UNAVAILABLE, &Content::NONE);
            }
            _ => {}
        }
    }

    fn is_done(&self) -> bool {
        self.ended && self.sent.values().all(|asked| asked.told)
    }
}
