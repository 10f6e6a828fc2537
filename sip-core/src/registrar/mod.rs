//! The bindings of a registrar (RFC 3261 §10.3): which contacts an address-of-record has, for how long, along which Path (RFC 3327).
//!
//! [`register`] is the rule alone: the bindings that there are and a REGISTER give the bindings that there will be, and the headers of
//! the 200. It keeps nothing, so that an application puts its own database under it: read, register, write, respond. [`Bindings`] is
//! the same over a table in memory.
//!
//! Who may register what is the application's to say, before the rule is asked (§10.3, steps 2 to 5): that the domain is its own, who the client is
//! ([`auth`](crate::auth)), and that this one may bind that address-of-record. A registrar as the user of a machine, on any runtime:
//!
//! ```
//! # #[cfg(feature = "auth")] mod all {
//! use sip_core::auth::{Authenticator, Secret, Verdict};
//! use sip_core::message::{Content, Method, Request, Status};
//! use sip_core::registrar::{Bindings, Headers, Policy, address_of_record};
//! use sip_core::ua::{Event, UserAgent};
//! use sip_core::{Instant, TransactionUser};
//!
//! struct Registrar { domain: &'static str, door: Authenticator, bindings: Bindings }
//!
//! impl Registrar {
//!     fn answer(&mut self, now: Instant, request: &Request<'_>) -> (Status, Headers) {
//!         let aor = request.to().uri().ok().as_ref().and_then(address_of_record);
//!         let of_domain = |aor: &String| aor.ends_with(&format!("@{}", self.domain));
//!         let Some(aor) = aor.filter(of_domain) else { return (Status::NOT_FOUND, Headers::new()) };
//!         let verdict = match self.door.claim(request) {
//!             // A database would be asked for the secret of `claim.username()`.
//!             Some(claim) => self.door.verify(now, request, &claim, "alice", Secret::Password("wonderland")),
//!             None => Verdict::Unproven,
//!         };
//!         match verdict {
//!             Verdict::Accepted if aor == format!("sip:alice@{}", self.domain) => {}
//!             Verdict::Accepted | Verdict::Refused => return (Status::FORBIDDEN, Headers::new()),
//!             Verdict::Malformed => return (Status::BAD_REQUEST, Headers::new()),
//!             Verdict::Unproven | Verdict::Stale => {
//!                 let name = self.door.side().header();
//!                 let challenges = self.door.challenge(now, verdict).into_iter().map(|value| (name, value));
//!                 return (self.door.side().status(), challenges.collect());
//!             }
//!         }
//!         match self.bindings.register(now, request, &Policy::default()) {
//!             Ok(headers) => (Status::OK, headers),
//!             Err(refusal) => (refusal.status, refusal.headers),
//!         }
//!     }
//! }
//!
//! // Of an agent whose configuration names REGISTER among its methods.
//! impl TransactionUser<UserAgent> for Registrar {
//!     fn event(&mut self, now: Instant, agent: &mut UserAgent, event: Event<'_>) {
//!         let Event::Request { txn, request, .. } = event else { return };
//!         if request.method() != Method::Register { return }
//!         let (status, headers) = self.answer(now, &request);
//!         let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
//!         let _ = agent.respond(now, txn, status, &Content::headers(&headers));
//!     }
//! }
//! # }
//! ```

mod bindings;

pub use bindings::Bindings;

use crate::headers::{Address, Contact, Expires, Header, Params, Path, Supported, Via};
use crate::message::{Request, Status, lex};
use crate::time::Instant;
use crate::uri::{SipUri, Uri, is_sips, unescaped_bytes};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// What a registrar takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The least that a binding lasts; less gets 423, but never an hour and more (RFC 3261 §10.3, step 7). By default a
    /// minute.
    pub min_expires: Duration,
    /// The most; more is cut. By default a day.
    pub max_expires: Duration,
    /// How long a binding lasts that does not say. By default an hour.
    pub default_expires: Duration,
    /// How many bindings an address-of-record may have; beyond: 403. By default ten.
    pub bindings: usize,
    /// How many addresses-of-record [`Bindings`] may have; beyond: 503. By default a million.
    pub addresses: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            min_expires: Duration::from_secs(60),
            max_expires: Duration::from_secs(86_400),
            default_expires: Duration::from_secs(3_600),
            bindings: 10,
            addresses: 1_000_000,
        }
    }
}

/// The phones among some bindings, each with the flows that lead to it, the newest first: a request goes to one of them, and to the next only when that
/// has failed, by a 430, a 408 or its connection (RFC 5626 §7). Bindings without an instance are a phone each.
pub fn by_phone<'a>(bindings: impl IntoIterator<Item = &'a Binding>) -> Vec<Vec<&'a Binding>> {
    let mut phones: Vec<(Option<String>, Vec<&Binding>)> = Vec::new();
    for binding in bindings {
        let instance = binding.instance();
        match phones.iter_mut().find(|(known, _)| known.is_some() && *known == instance) {
            Some((_, flows)) => {
                flows.insert(flows.partition_point(|other| other.since >= binding.since), binding)
            }
            None => phones.push((instance, Vec::from([binding]))),
        }
    }
    phones.into_iter().map(|(_, flows)| flows).collect()
}

/// An order in which places are tried one after the other, by chance: the higher its q, the more often a place comes early; of equal ones each as often
/// (mode 1 of `t_load_contacts` in Kamailio's TM). Those whose q is zero come last. `draw` gives random numbers.
///
/// ```
/// use sip_core::registrar::by_chance;
/// let mut drawn = 0;
/// let order = by_chance(vec![(1_000, "a"), (0, "b"), (500, "c")], || { drawn += 1_200; drawn });
/// assert_eq!(order, ["c", "a", "b"]);
/// ```
pub fn by_chance<T>(mut places: Vec<(u16, T)>, mut draw: impl FnMut() -> u64) -> Vec<T> {
    let mut order = Vec::with_capacity(places.len());
    while !places.is_empty() {
        let all: u64 = places.iter().map(|(q, _)| u64::from(*q)).sum();
        let mut left = draw().checked_rem(all).unwrap_or_default();
        let found = places.iter().position(|(q, _)| match left.checked_sub(u64::from(*q)) {
            Some(rest) if all > 0 => {
                left = rest;
                false
            }
            _ => true,
        });
        order.push(places.remove(found.unwrap_or_default()).1);
    }
    order
}

/// One contact of an address-of-record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The URI of the contact.
    pub uri: String,
    /// Its parameters but for `expires`, as they stand, from the first semicolon on: `q`, `+sip.instance`, `reg-id` …
    pub params: String,
    /// Its preference in thousandths; 1,000 if it has none.
    pub q: u16,
    /// When it was bound, or refreshed last.
    pub since: Instant,
    /// When it ends.
    pub until: Instant,
    /// The Call-ID and CSeq number of the REGISTER that it comes from, which later ones must not fall behind.
    pub call_id: Vec<u8>,
    /// The number.
    pub cseq: u32,
    /// The proxies on the way to it, as values of Route (RFC 3327).
    pub path: Vec<String>,
}

impl Binding {
    /// Which phone it is, if it says so (RFC 5626 §4.1).
    pub fn instance(&self) -> Option<String> {
        let text = alloc::format!("<{}>{}", self.uri, self.params);
        let contact = Contact::whole(text.as_bytes()).ok()?;
        let instance = contact.address()?.params.get("+sip.instance")?;
        Some(String::from_utf8_lossy(instance).into_owned())
    }
}

/// Why a REGISTER is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// With what it is to be answered.
    pub status: Status,
    /// The headers of the response.
    pub headers: Headers,
}

/// What lasts so long is never too brief (RFC 3261 §10.3, step 7).
const HOUR: Duration = Duration::from_secs(3_600);

/// Headers of a response, by name and value.
pub type Headers = Vec<(&'static str, String)>;

impl Refusal {
    const fn of(status: Status) -> Self {
        Self { status, headers: Vec::new() }
    }
}

/// The address-of-record that a REGISTER is about (§10.3, step 5): the URI of To without parameters, its host in lower case, and without escapes but
/// for `%` and what is no text. A SIPS URI is the same one as the SIP URI (RFC 5630 §5.2). Nothing if it is neither.
pub fn address_of_record(uri: &Uri<'_>) -> Option<String> {
    let sip = uri.as_sip()?;
    let host = String::from_utf8_lossy(sip.host).to_ascii_lowercase();
    let user = sip.user.map(|user| format!("{}@", canonical(user))).unwrap_or_default();
    let port = sip.port.map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("sip:{user}{host}{port}"))
}

/// A user by which it is equal to what it is equal to (RFC 3261 §19.1.4), and to nothing else.
fn canonical(user: &[u8]) -> String {
    let mut out = String::new();
    for chunk in unescaped_bytes(user).utf8_chunks() {
        out.push_str(&chunk.valid().replace('%', "%25"));
        for byte in chunk.invalid() {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// What a REGISTER makes of the bindings of its address-of-record (§10.3, steps 6 to 8): the bindings that there are afterwards, and
/// the headers of the 200 that lists them. All of it or, with an error, nothing. Bindings that have ended are left out.
///
/// # Errors
/// The response to give: 400 for contacts that make no sense, 423 for one that lasts too short, 500 for a request that comes out of order,
/// 403 for too many, 439 for a flow that the first hop does not keep (RFC 5626 §6).
pub fn register(
    now: Instant,
    request: &Request<'_>,
    bindings: &[Binding],
    policy: &Policy,
) -> Result<(Vec<Binding>, Headers), Refusal> {
    let before: Vec<_> = bindings.iter().filter(|binding| binding.until > now).collect();
    let mut bindings: Vec<_> = before.iter().map(|binding| (*binding).clone()).collect();
    let overall = request.get::<Expires>().ok().flatten().map(|expires| expires.0);
    let path: Result<Vec<String>, _> =
        request.all::<Path<'_>>().map(|path| path.map(|path| text(&path))).collect();
    let path = path.map_err(|_| Refusal::of(Status::BAD_REQUEST))?;
    let mut contacts = Vec::new();
    for contact in request.all::<Contact<'_>>() {
        contacts.push(contact.map_err(|_| Refusal::of(Status::BAD_REQUEST))?);
    }
    if contacts.contains(&Contact::All) {
        // §10.3, step 6
        if contacts.len() != 1 || overall != Some(0) {
            return Err(Refusal::of(Status::BAD_REQUEST));
        }
        in_order(request, before.iter().copied())?;
        bindings.clear();
    }
    let keeps_flows = keeps_flows(request, &path);
    let wants_flow = request.all::<Supported<'_>>().flatten().any(|tag| tag.is("outbound"));
    let is_flow =
        |contact: &Contact<'_>| contact.address().is_some_and(|address| flow(&address.params).is_some());
    let lasting = || contacts.iter().filter(|contact| seconds(contact, overall) != Some(0));
    if lasting().any(is_secure) && !(lasting().all(is_secure) && is_secure_way(request, &path)) {
        return Err(Refusal::of(Status::BAD_REQUEST));
    }
    if keeps_flows && lasting().any(is_flow) && lasting().count() > 1 {
        return Err(Refusal::of(Status::BAD_REQUEST));
    }
    if !keeps_flows && wants_flow && contacts.iter().any(is_flow) {
        return Err(Refusal::of(Status::FIRST_HOP_LACKS_OUTBOUND));
    }
    let binds_flow = keeps_flows && wants_flow && contacts.iter().any(is_flow);
    for contact in contacts {
        let Contact::At(address) = contact else { continue };
        let uri = address.uri().map_err(|_| Refusal::of(Status::BAD_REQUEST))?;
        let seconds = seconds(&contact, overall);
        let lasts = seconds.map_or(policy.default_expires, |seconds| Duration::from_secs(seconds.into()));
        if !lasts.is_zero() && lasts < policy.min_expires.min(HOUR) {
            let min = format!("{}", policy.min_expires.as_secs());
            return Err(Refusal {
                status: Status::INTERVAL_TOO_BRIEF,
                headers: [("Min-Expires", min)].into(),
            });
        }
        let flow = flow(&address.params).filter(|_| keeps_flows);
        let old = bindings.iter().position(|binding| is_same(binding, &uri, flow.as_ref()));
        let was = before.iter().copied().find(|binding| is_same(binding, &uri, flow.as_ref()));
        in_order(request, was.into_iter())?;
        let new = Binding {
            uri: String::from_utf8_lossy(address.uri_bytes).into_owned(),
            params: kept_params(&address, flow.is_some()),
            q: contact.q().unwrap_or(1_000),
            since: now,
            until: now + lasts.min(policy.max_expires),
            call_id: request.call_id().into(),
            cseq: request.cseq().number,
            path: path.clone(),
        };
        match (old.and_then(|at| bindings.get_mut(at)), lasts.is_zero()) {
            (Some(binding), false) => *binding = new,
            (Some(_), true) => {
                bindings.remove(old.unwrap_or_default());
            }
            (None, false) => bindings.push(new),
            (None, true) => {}
        }
    }
    if bindings.len() > policy.bindings.max(before.len()) {
        return Err(Refusal::of(Status::FORBIDDEN));
    }
    let mut headers: Vec<_> = bindings
        .iter()
        .map(|binding| {
            // Of less than a second a zero would say that it is gone.
            let left = binding.until.since(now).as_micros().div_ceil(1_000_000);
            ("Contact", format!("<{}>{};expires={left}", binding.uri, binding.params))
        })
        .collect();
    // RFC 3327 §5.3: to who asked for it.
    if request.all::<Supported<'_>>().map_while(Result::ok).any(|tag| tag.is("path")) {
        headers.extend(path.iter().map(|path| ("Path", path.clone())));
    }
    if binds_flow {
        headers.push(("Require", "outbound".into()));
    }
    Ok((bindings, headers))
}

/// RFC 5626 §6: whether the first hop keeps the flow on which a REGISTER came, as its URI says. It was the first to write a Path, so its value is
/// the last (RFC 3327 §5.2).
fn keeps_flows(request: &Request<'_>, path: &[String]) -> bool {
    let is_first_hop = request.all::<Via<'_>>().take(2).count() == 1;
    is_first_hop
        || path.last().and_then(|path| Path::whole(path.as_bytes()).ok()).is_some_and(|path| {
            path.0.uri().is_ok_and(|uri| uri.as_sip().is_some_and(|sip| sip.params.get("ob").is_some()))
        })
}

/// How long a contact is to last, if somebody says so. What can't be read counts as an hour (RFC 3261 §20.10).
fn seconds(contact: &Contact<'_>, overall: Option<u32>) -> Option<u32> {
    let said = contact.address().is_some_and(|address| address.params.get("expires").is_some());
    let unread = said.then_some(3_600);
    contact.expires().or(unread).or(overall)
}

fn is_secure(contact: &Contact<'_>) -> bool {
    contact.address().is_some_and(|address| is_sips(address.uri_bytes))
}

/// RFC 5630 §5.2: SIPS contacts are bound if Request-URI and Path are SIPS, too.
fn is_secure_way(request: &Request<'_>, path: &[String]) -> bool {
    let is_secure = |path: &String| Path::whole(path.as_bytes()).is_ok_and(|path| is_sips(path.0.uri_bytes));
    is_sips(request.request_uri()) && path.iter().all(is_secure)
}

/// The flow of a contact: its instance and reg-id.
fn flow(params: &Params<'_>) -> Option<(Vec<u8>, u32)> {
    Some((params.get("+sip.instance")?.into(), params.number("reg-id")?))
}

/// §10.3, step 7: a binding is not changed by a request that was sent before the one which made it.
fn in_order<'b>(
    request: &Request<'_>,
    mut bindings: impl Iterator<Item = &'b Binding>,
) -> Result<(), Refusal> {
    let late =
        |binding: &Binding| binding.call_id == request.call_id() && request.cseq().number <= binding.cseq;
    match bindings.any(late) {
        true => Err(Refusal::of(Status::SERVER_INTERNAL_ERROR)),
        false => Ok(()),
    }
}

/// Whether a contact is the one that is bound: by its flow alone if it has one (RFC 5626 §6), else by its URI (§19.1.4), be it SIP or SIPS (RFC 5630
/// §5.1.1.1).
fn is_same(binding: &Binding, uri: &Uri<'_>, new: Option<&(Vec<u8>, u32)>) -> bool {
    let bound = Params::parse(binding.params.as_bytes()).unwrap_or_default();
    match new {
        Some(new) => flow(&bound).as_ref() == Some(new),
        None => Uri::parse(binding.uri.as_bytes())
            .is_ok_and(|bound| without_scheme(bound).equivalent(&without_scheme(*uri))),
    }
}

/// A SIPS URI as the SIP URI of the same resource.
const fn without_scheme(uri: Uri<'_>) -> Uri<'_> {
    match uri {
        Uri::Sip(sip) => Uri::Sip(SipUri { secure: false, ..sip }),
        other => other,
    }
}

/// What a binding has of the parameters of its contact; a reg-id that binds no flow is ignored.
fn kept_params(address: &Address<'_>, binds_flow: bool) -> String {
    let kept = address.params.as_written().filter(|(name, _)| {
        let ignored = name.eq_ignore_ascii_case(b"reg-id") && !binds_flow;
        !name.eq_ignore_ascii_case(b"expires") && !ignored
    });
    kept.map(|(_, written)| lex::unfolded(written)).collect()
}

fn text<'a>(header: &impl Header<'a>) -> String {
    let mut out = Vec::new();
    header.emit(&mut out);
    lex::unfolded(&out)
}
