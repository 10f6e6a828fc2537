//! Published event state (RFC 3903 §6): what publishers have said, by entity tag, for as long as they refresh it.
//!
//! The state is soft and belongs to no dialog. A [`Compositor`] keeps it; what the composed state of a resource is, its application
//! decides from [`publications`](Compositor::publications).

use crate::headers::{Event, Expires, Name, SipIfMatch};

use crate::message::{Request, Status, lex, push_hex};
use crate::registrar::{Headers, address_of_record};
use crate::time::Instant;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// What a compositor takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The event packages that may be published; others get 489.
    pub packages: Vec<String>,
    /// The least that a publication lasts; less gets 423.
    pub min_expires: Duration,
    /// The most; more is cut. How long one lasts that does not say.
    pub max_expires: Duration,
    /// How many publications a resource may have; beyond: 403.
    pub publications: usize,
    /// How many resources may have publications; beyond: 503.
    pub resources: usize,
}

impl Policy {
    /// For these packages: a minute to an hour, ten for each resource.
    pub fn new(packages: &[&str]) -> Self {
        Self {
            packages: packages.iter().map(|package| (*package).into()).collect(),
            min_expires: Duration::from_secs(60),
            max_expires: Duration::from_secs(3_600),
            publications: 10,
            resources: 1_000_000,
        }
    }
}

/// What one publisher has said of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The event package.
    pub package: String,
    /// The entity tag that it has now.
    pub etag: String,
    /// The media type of its body.
    pub content_type: String,
    /// Its body.
    pub body: Vec<u8>,
    /// When it ends.
    pub until: Instant,
}

/// All publications, by resource.
#[derive(Clone, Debug, Default)]
pub struct Compositor {
    resources: BTreeMap<String, Vec<Publication>>,
    /// Resources with publications that have ended, which nobody has heard of yet; as many as there may be resources.
    changed: BTreeSet<String>,
    made: u64,
}

/// A response to a PUBLISH: status and headers.
pub type Answer = (Status, Headers);

impl Compositor {
    /// A compositor that knows of nothing. Its entity tags begin after `made`: give one that has lasted more than the tags of a restart before.
    pub const fn new(made: u64) -> Self {
        Self { resources: BTreeMap::new(), changed: BTreeSet::new(), made }
    }

    /// Takes a PUBLISH (§6), and says with what it is to be answered: 200 with SIP-ETag and Expires, 400, 403, 404, 412, 423,
    /// 489 or 503.
    pub fn publish(&mut self, now: Instant, request: &Request<'_>, policy: &Policy) -> Answer {
        let refuse = |status| (status, Vec::new());
        let Some(resource) = address_of_record(&request.uri()) else { return refuse(Status::NOT_FOUND) };
        let event = request.get::<Event<'_>>().ok().flatten();
        let package = event.map(|event| String::from_utf8_lossy(event.package).to_ascii_lowercase());
        let takes =
            |package: &String| policy.packages.iter().any(|known| known.eq_ignore_ascii_case(package));
        let Some(package) = package.filter(takes) else {
            return (Status::BAD_EVENT, [("Allow-Events", policy.packages.join(", "))].into());
        };
        let expires = request.get::<Expires>().ok().flatten();
        let lasts = expires.map_or(policy.max_expires, |expires| Duration::from_secs(expires.0.into()));
        let is_brief = !lasts.is_zero() && lasts < policy.min_expires;
        let lasts = lasts.min(policy.max_expires);
        // §6, step 3: one entity tag, or none.
        let mut tags = request.all::<SipIfMatch<'_>>();
        let wanted = match (request.value(Name::SipIfMatch), tags.next(), tags.next()) {
            (None, ..) => None,
            (Some(_), Some(Ok(etag)), None) => Some(etag.0),
            _ => return refuse(Status::BAD_REQUEST),
        };
        let is_new = !self.resources.contains_key(&resource);
        if is_new && self.resources.len() >= policy.resources {
            self.forget(now);
        }
        let full = is_new && self.resources.len() >= policy.resources;
        let known = self.resources.entry(resource.clone()).or_default();
        let before = known.len();
        known.retain(|publication| publication.until > now);
        if known.len() < before {
            self.changed.insert(resource.clone());
        }
        // Who never asks for them is not told of all.
        while self.changed.len() > policy.resources {
            self.changed.pop_first();
        }
        let old = known.iter().position(|old| Some(old.etag.as_bytes()) == wanted && old.package == package);
        let has_body = !request.body().is_empty();
        let encoded =
            has_body && request.value(Name::ContentEncoding).is_some_and(|value| value != b"identity");
        let status = match (wanted, old) {
            (Some(_), None) => Some(Status::CONDITIONAL_REQUEST_FAILED),
            _ if is_brief => Some(Status::INTERVAL_TOO_BRIEF),
            // §6, step 5: what can't be told again as it came.
            _ if encoded => Some(Status::UNSUPPORTED_MEDIA_TYPE),
            _ if has_body && request.value(Name::ContentType).is_none() => Some(Status::BAD_REQUEST),
            // §6, step 4: the first has something to say.
            (None, _) if !has_body => Some(Status::BAD_REQUEST),
            (None, _) if known.len() >= policy.publications => Some(Status::FORBIDDEN),
            (None, _) if full => Some(Status::SERVICE_UNAVAILABLE),
            _ => None,
        };
        if let Some(status) = status {
            self.tidy(&resource);
            let min = || ("Min-Expires", format!("{}", policy.min_expires.as_secs()));
            let headers = (status == Status::INTERVAL_TOO_BRIEF).then(min);
            return (status, headers.into_iter().collect());
        }
        self.made += 1;
        let mut etag = Vec::new();
        push_hex(&mut etag, self.made);
        let etag = String::from_utf8_lossy(&etag).into_owned();
        let before = old.map(|at| known.remove(at));
        let content_type = request.value(Name::ContentType).unwrap_or_default();
        let publication = match before {
            Some(before) if !has_body => Publication { etag: etag.clone(), until: now + lasts, ..before },
            _ => Publication {
                package,
                etag: etag.clone(),
                content_type: lex::unfolded(content_type),
                body: request.body().into(),
                until: now + lasts,
            },
        };
        if !lasts.is_zero() {
            known.push(publication);
        }
        self.tidy(&resource);
        (Status::OK, [("SIP-ETag", etag), ("Expires", format!("{}", lasts.as_secs()))].into())
    }

    /// What is published of a resource, named by its [`address_of_record`], the latest last.
    pub fn publications(&self, now: Instant, resource: &str) -> impl Iterator<Item = &Publication> {
        let all = self.resources.get(resource).into_iter().flatten();
        all.filter(move |publication| publication.until > now)
    }

    /// When the next publication ends.
    pub fn deadline(&self) -> Option<Instant> {
        if !self.changed.is_empty() {
            return Some(Instant::ZERO);
        }
        self.resources.values().flatten().map(|publication| publication.until).min()
    }

    /// Forgets what has ended; the resources whose state has changed with that.
    pub fn advance(&mut self, now: Instant) -> Vec<String> {
        self.forget(now);
        core::mem::take(&mut self.changed).into_iter().collect()
    }

    fn forget(&mut self, now: Instant) {
        let changed = &mut self.changed;
        self.resources.retain(|resource, publications| {
            let before = publications.len();
            publications.retain(|publication| publication.until > now);
            if publications.len() < before {
                changed.insert(resource.clone());
            }
            !publications.is_empty()
        });
    }

    fn tidy(&mut self, resource: &str) {
        if self.resources.get(resource).is_some_and(Vec::is_empty) {
            self.resources.remove(resource);
        }
    }
}
