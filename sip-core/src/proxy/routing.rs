//! What a proxy does to requests: validation (RFC 3261 §16.3), the routing information they come with (§16.4) and leave with (§16.6).

use super::{Branch, Config};
use crate::endpoint::{Misuse, Source};
use crate::headers::{Header, MaxBreadth, MaxForwards, Name, ProxyRequire, RecordRoute, Route, Via};
use crate::message::{Edit, Error, Message, Method, Status, UriOf, hex};
use crate::random::KeyedHash;
use crate::transaction::{Layer, mark_of};
use crate::transport::{Locals, NextHop, Target, Transport};
use crate::uri::{Uri, is_sips, without_headers};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::num::NonZero;

/// The parameter of a Record-Route that stands above another of this proxy: of two that were put on at once (RFC 5658 §3).
const DOUBLE: &str = "r2";
/// The parameter that proves who wrote a Record-Route.
const PROOF: &str = "d";

/// What a proxy knows of itself.
#[derive(Clone, Copy)]
pub(super) struct Own<'a> {
    pub(super) config: &'a Config,
    pub(super) locals: &'a Locals,
    pub(super) hash: &'a KeyedHash,
    /// What Record-Routes are proven with.
    pub(super) proof: &'a KeyedHash,
}

/// The hash of [`Own::proof`].
pub(super) fn proof_key(config: &Config, layer: &Layer) -> KeyedHash {
    config.route_key.map_or(layer.hash, |key| KeyedHash::new(&key))
}

/// The socket that a request came by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) transport: Transport,
    pub(super) local: Option<SocketAddr>,
    pub(super) remote: SocketAddr,
}

/// The routing information that a request comes with.
pub(super) struct Incoming<'m> {
    /// The last Route, where a strict router has put what was in the Request-URI.
    moved: Option<Route<'m>>,
    /// How many of the Routes on top are this proxy's, of how many.
    own: usize,
    count: usize,
    /// The Request-URI names this proxy in its maddr.
    own_maddr: bool,
    /// Where it goes is said in it (RFC 3261 §16.5).
    pub(super) is_routed: bool,
    /// By a Route that this proxy wrote for its dialog.
    pub(super) is_recorded: bool,
}

impl Arrival {
    /// Nothing for a connection that is closed.
    pub(super) fn of(layer: &Layer, source: Source) -> Option<Self> {
        let peer = layer.peer(source)?;
        let local = match source {
            Source::Datagram { local, .. } => Some(local),
            Source::Flow(id) => layer.flow(id).and_then(|flow| flow.local),
        };
        Some(Self { transport: peer.transport, local, remote: peer.addr })
    }
}

impl Own<'_> {
    /// Whether a request may be forwarded; else what it is answered with (RFC 3261 §16.3). With its [mark](Self::mark) loops are found.
    pub(super) fn validate(self, request: &Message<'_>, mark: Option<u64>) -> Result<(), Status> {
        if matches!(request.uri(), Uri::Other { .. }) {
            return Err(Status::UNSUPPORTED_URI_SCHEME);
        }
        // What forwarding goes by must be readable (§16.3, step 1).
        let routes = request.all::<Route<'_>>().all(|route| route.is_ok_and(|route| route.0.uri().is_ok()));
        if !routes || request.all::<ProxyRequire<'_>>().any(|tag| tag.is_err()) {
            return Err(Status::BAD_REQUEST);
        }
        if request.get::<MaxForwards>().is_ok_and(|hops| hops == Some(MaxForwards(0))) {
            return Err(Status::TOO_MANY_HOPS);
        }
        if breadth(request) == 0 && request.method() != Method::Ack {
            return Err(Status::MAX_BREADTH_EXCEEDED);
        }
        let has_looped = |via: &Via<'_>| {
            via.branch().and_then(mark_of).is_some_and(|found| Some(found) == mark)
                && self.locals.is_ours(via.transport, via.host, via.port.map(NonZero::get))
        };
        if mark.is_some() && request.all::<Via<'_>>().flatten().any(|via| has_looped(&via)) {
            return Err(Status::LOOP_DETECTED);
        }
        // An ACK can't be refused: it goes its way.
        if request.method() != Method::Ack && self.unsupported(request).next().is_some() {
            return Err(Status::BAD_EXTENSION);
        }
        Ok(())
    }

    /// What a request wants of proxies and this one does not know.
    fn unsupported<'m>(self, request: &'m Message<'_>) -> impl Iterator<Item = &'m [u8]> {
        let known = &self.config.extensions;
        let known = move |tag: &[u8]| known.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(tag));
        request.all::<ProxyRequire<'m>>().flatten().map(|tag| tag.0).filter(move |tag| !known(tag))
    }

    /// The value of Unsupported in the response that refuses a request.
    pub(super) fn unsupported_line(self, request: &Message<'_>, status: Status) -> Vec<u8> {
        match status {
            Status::BAD_EXTENSION => self.unsupported(request).collect::<Vec<_>>().join(&b", "[..]),
            _ => Vec::new(),
        }
    }

    /// What all that decides about the way of a request comes down to: when it comes again and this has not changed, it runs in a circle
    /// (RFC 5393 §4.2.1). The method is not in it.
    pub(super) fn mark(self, request: &Message<'_>) -> u64 {
        let routes: Vec<u8> = request.values(Name::Route).collect::<Vec<_>>().join(&b","[..]);
        let number = request.cseq().number.to_be_bytes();
        self.hash.of(&[
            request.request_uri(),
            &routes,
            request.call_id(),
            request.from_tag().unwrap_or_default(),
            request.to_tag().unwrap_or_default(),
            &number,
        ]) as u64
    }

    /// Whether a URI leads to this proxy: by one of its addresses, or to a domain of its own.
    pub(super) fn is_ours(self, uri: &Uri<'_>) -> bool {
        let Some(sip) = uri.as_sip() else { return false };
        self.has(sip.host, sip.port.map(NonZero::get))
    }

    fn has(self, host: &[u8], port: Option<u16>) -> bool {
        let is_domain = |domain: &String| crate::uri::same_host(domain.as_bytes(), host);
        let is_port = port.is_none_or(|port| self.locals.has_port(port));
        is_port && self.config.domains.iter().any(is_domain) || self.locals.has(host, port)
    }

    /// Reads the routing information of a request as it comes (RFC 3261 §16.4). It was validated.
    pub(super) fn incoming<'m>(self, request: &'m Message<'_>) -> Incoming<'m> {
        let uri = request.uri();
        let routes = || request.all::<Route<'_>>().flatten();
        let from_strict_router =
            self.is_ours(&uri) && uri.as_sip().is_some_and(|sip| sip.user.is_none() && is_loose(&uri));
        // A strict router has put our Record-Route into the Request-URI, and that behind the routes.
        let moved = routes().last().filter(|_| from_strict_router);
        let count = routes().count() - usize::from(moved.is_some());
        // Those on top that are this proxy's: one, or two that it has put on at once.
        let is_double = |uri: &Uri<'_>| uri.as_sip().is_some_and(|sip| sip.params.get(DOUBLE).is_some());
        let (mut own, mut expected) = (0, if moved.is_some() { u8::from(is_double(&uri)) } else { 2 });
        let mut is_recorded = moved.is_some() && self.has_recorded(&uri, request);
        for uri in routes().take(count).map_while(|route| route.0.uri().ok()) {
            if expected == 0 || !self.is_ours(&uri) {
                break;
            }
            own += 1;
            is_recorded |= self.has_recorded(&uri, request);
            expected = if is_double(&uri) { expected - 1 } else { 0 };
        }
        let maddr = uri.as_sip().and_then(|sip| sip.params.get("maddr")).filter(|_| !from_strict_router);
        let port = uri.as_sip().and_then(|sip| sip.port).map(NonZero::get);
        let own_maddr = maddr.is_some_and(|maddr| self.has(maddr, port));
        let target = moved.as_ref().map(|moved| without_headers(moved.0.uri_bytes));
        let says = match target.map(Uri::parse) {
            None => maddr.is_some() && !own_maddr || !self.is_ours(&uri),
            Some(Ok(uri)) => has_maddr(&uri) || !self.is_ours(&uri),
            Some(Err(_)) => true,
        };
        Incoming { moved, own, count, own_maddr, is_routed: count > own || says, is_recorded }
    }

    /// What stands in a Record-Route of this proxy, that nobody else can write: of the dialog's Call-ID and the tag of who began it.
    fn proof(self, call_id: &[u8], tag: &[u8]) -> [u8; 16] {
        hex(self.proof.of(&[b"recorded", call_id, tag]) as u64)
    }

    /// Whether a URI of this proxy was put into the dialog of this request by it.
    fn has_recorded(self, uri: &Uri<'_>, request: &Message<'_>) -> bool {
        let proof = uri.as_sip().and_then(|sip| sip.params.get(PROOF));
        // Who began it may be at either end of this request, and have no tag (RFC 2543).
        let ends = [request.from_tag(), request.to_tag()].map(Option::unwrap_or_default);
        request.to_tag().is_some()
            && proof
                .is_some_and(|proof| ends.into_iter().any(|tag| self.proof(request.call_id(), tag) == proof))
    }

    /// Takes the routing information out (RFC 3261 §16.4), stamps the Via and counts the hop.
    pub(super) fn prepare(
        self,
        request: &Message<'_>,
        incoming: &Incoming<'_>,
        remote: SocketAddr,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let Incoming { moved, own, count, own_maddr, .. } = incoming;
        let mut edit = request.edit(out);
        edit.stamp_via(remote)?;
        edit.decrement_max_forwards()?;
        if request.values(Name::MaxBreadth).count() > 1 {
            edit.remove(Name::MaxBreadth.as_str());
        }
        set_breadth(&mut edit, breadth(request))?;
        if let Some(moved) = moved {
            edit.remove(Name::Route.as_str());
            edit.set_uri(without_headers(moved.0.uri_bytes))?;
            for route in request.all::<Route<'_>>().flatten().take(*count).skip(*own) {
                edit.add(Name::Route.as_str(), &emitted(&route))?;
            }
        } else {
            for _ in 0..*own {
                edit.pop_route()?;
            }
        }
        if *own_maddr {
            edit.remove_uri_param(UriOf::Request, "maddr")?;
            edit.remove_uri_param(UriOf::Request, "transport")?;
        }
        edit.declare_length(request.body().len())
    }

    /// Makes what goes out by a branch of a prepared request (RFC 3261 §16.6, steps 2 to 6), all but the Via. Whether the next hop is a strict
    /// router, which the Request-URI leads to then.
    pub(super) fn build(
        self,
        request: &Message<'_>,
        arrival: Arrival,
        branch: &Branch<'_>,
        out: &mut Vec<u8>,
    ) -> Result<bool, Misuse> {
        let too_large = |_| Misuse::BadContent;
        let uri = branch.uri.map_or(request.request_uri(), str::as_bytes);
        let hop = crate::transaction::hop(branch.target, uri, branch.towards(request))?.address();
        let mut edit = request.edit(out);
        if let Some(uri) = branch.uri {
            // RFC 5630 §5.3: neither into the clear, nor from there into what was promised to be secure all the way.
            let parsed = Uri::parse(uri.as_bytes()).map_err(|_| Misuse::BadUri)?;
            if parsed.as_sip().is_some() && is_sips(uri.as_bytes()) != is_sips(request.request_uri()) {
                return Err(Misuse::SipsMismatch);
            }
            edit.set_uri(without_headers(uri.as_bytes())).map_err(|_| Misuse::BadUri)?;
        }
        if self.config.record_route && makes_dialogs(request.method()) {
            let by_tls = matches!(arrival.transport, Transport::Tls | Transport::Wss);
            let came = is_sips(request.request_uri())
                || by_tls && request.value(Name::Route).is_some_and(is_secure_route);
            let leaves =
                is_sips(request.request_uri()) || branch.first_route(request).is_some_and(is_secure_route);
            let (arrival, hop) = ((came, arrival), (leaves, hop.0, hop.1));
            let proof = self.proof(request.call_id(), request.from_tag().unwrap_or_default());
            self.record_route(arrival, hop, &proof, &mut edit).map_err(too_large)?;
        }
        for route in branch.routes.iter().rev() {
            let route = Route::whole(route.as_bytes()).map_err(|_| Misuse::BadContent)?;
            edit.push_route(&route).map_err(too_large)?;
        }
        for (name, value) in branch.headers {
            edit.add(name, value.as_bytes()).map_err(|_| Misuse::BadContent)?;
        }
        // RFC 3261 §16.6, step 6: a strict router wants to find itself in the Request-URI.
        let strict = branch.first_route(request).filter(|route| !is_loose_route(route));
        let strict = strict.and_then(first_of);
        if let Some(route) = &strict {
            let uri = branch.uri.map_or(request.request_uri(), str::as_bytes);
            let last = [b"<".as_slice(), without_headers(uri), b">"].concat();
            edit.add(Name::Route.as_str(), &last).map_err(too_large)?;
            edit.pop_route().map_err(too_large)?;
            edit.set_uri(without_headers(route.0.uri_bytes)).map_err(|_| Misuse::BadUri)?;
        }
        Ok(strict.is_some())
    }

    /// RFC 3261 §16.6, step 4; two where the request leaves by another socket than it came by, or leaves secure (RFC 5658 §3). Each says
    /// first whether it is.
    fn record_route(
        self,
        (came_secure, arrival): (bool, Arrival),
        (leaves_secure, transport, addr): (bool, Transport, Option<SocketAddr>),
        proof: &[u8; 16],
        edit: &mut Edit<'_>,
    ) -> Result<(), Error> {
        let came = self.locals.contact(arrival.transport, arrival.local, arrival.remote);
        let leaves = self.locals.towards(transport, addr).map_or(came, |(_, sent_by)| sent_by);
        let ways = [(came_secure, came, arrival.transport), (leaves_secure, leaves, transport)];
        let double = ways[0] != ways[1];
        for (secure, sent_by, transport) in ways.into_iter().skip(usize::from(!double)) {
            let scheme = if secure { "sips" } else { "sip" };
            let (param, value) = match transport {
                // What a URI without the parameter leads to.
                Transport::Udp => ("", ""),
                Transport::Tls if secure => ("", ""),
                other => (";transport=", other.param()),
            };
            let (semicolon, mark) = if double { (";", DOUBLE) } else { ("", "") };
            let start =
                ["<", scheme, ":", sent_by, param, value, ";lr", semicolon, mark, ";", PROOF, "="].concat();
            let text = [start.as_bytes(), proof, b">"].concat();
            edit.push_record_route(&RecordRoute::whole(&text)?)?;
        }
        Ok(())
    }
}

impl<'a> Branch<'a> {
    /// The first Route that the request will have.
    fn first_route<'m: 'r, 'r>(&'r self, request: &'m Message<'_>) -> Option<&'r [u8]> {
        self.routes.first().map(|route| route.as_bytes()).or_else(|| request.value(Name::Route))
    }

    /// The URI that the next hop follows from (RFC 3261 §16.6, step 7).
    pub(super) fn towards<'m: 'r, 'r>(&'r self, request: &'m Message<'_>) -> &'r [u8] {
        match self.first_route(request).and_then(first_of) {
            Some(route) => route.0.uri_bytes,
            None => self.uri.map_or(request.request_uri(), str::as_bytes),
        }
    }
}

/// The URI that the next hop of a request follows from, that is made: of a strict router it is the Request-URI, whatever its first Route.
pub(super) fn towards<'m>(request: &'m Message<'_>, strict: bool) -> &'m [u8] {
    let route = request.value(Name::Route).filter(|_| !strict);
    crate::transaction::towards(request.request_uri(), route)
}

/// Where such a request goes.
pub(super) fn hop<'m>(
    request: &'m Message<'_>,
    target: Option<Target>,
    strict: bool,
) -> Result<NextHop<'m>, Misuse> {
    crate::transaction::hop(target, request.request_uri(), towards(request, strict))
}

/// The Max-Breadth of a request, at most what is recommended, and that if it has none that can be read (RFC 5393 §5.3.3).
pub(super) fn breadth(request: &Message<'_>) -> u32 {
    request.get::<MaxBreadth>().ok().flatten().map_or(BREADTH, |breadth| breadth.0.min(BREADTH))
}

/// A request that has a Max-Breadth, with this one instead.
pub(super) fn with_breadth(request: &[u8], breadth: u32, out: &mut Vec<u8>) -> Result<(), Error> {
    set_breadth(&mut Message::parse(request, &crate::config::Limits::NONE)?.edit(out), breadth)
}

/// What [`breadth`] gave, or a share of that: it has two digits at most.
fn set_breadth(edit: &mut Edit<'_>, breadth: u32) -> Result<(), Error> {
    let [tens, ones] = [breadth / 10 % 10, breadth % 10].map(|digit| b'0' + digit as u8);
    let digits: &[u8] = if tens == b'0' { &[ones] } else { &[tens, ones] };
    edit.set(Name::MaxBreadth.as_str(), digits)
}

/// RFC 5393 §5.3.3
const BREADTH: u32 = 60;

/// Requests whose route matters to those that follow (RFC 3261 §16.6, step 4), and those of which it is not known.
fn makes_dialogs(method: Method<'_>) -> bool {
    !matches!(
        method,
        Method::Register | Method::Options | Method::Message | Method::Publish | Method::Cancel | Method::Ack
    )
}

/// The first of the values of a Route.
fn first_of(route: &[u8]) -> Option<Route<'_>> {
    Route::list(route).next()?.ok()
}

fn is_secure_route(route: &[u8]) -> bool {
    first_of(route).is_some_and(|route| is_sips(route.0.uri_bytes))
}

fn is_loose_route(route: &[u8]) -> bool {
    first_of(route).is_some_and(|route| route.0.uri().is_ok_and(|uri| is_loose(&uri)))
}

fn is_loose(uri: &Uri<'_>) -> bool {
    uri.as_sip().is_some_and(|sip| sip.params.get("lr").is_some())
}

fn has_maddr(uri: &Uri<'_>) -> bool {
    uri.as_sip().is_some_and(|sip| sip.params.get("maddr").is_some())
}

fn emitted(route: &Route<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    route.emit(&mut text);
    text
}
