//! A proxy's user: who says where requests go.

use crate::handle::ContextId;
use crate::headers::ProxyAuthorization;
use crate::machine::TransactionUser;
use crate::message::{Content, Message, Status};
use crate::proxy::{Branch, Event, Proxy};
use crate::time::Instant;
use crate::transaction::Timers;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// Forwards what says itself where it goes, and all else to its targets, turn by turn.
#[derive(Default)]
pub(super) struct Router {
    /// The URIs of each turn: those of one at once.
    pub(super) turns: Vec<Vec<String>>,
    /// The realm for which it wants credentials, with a request that begins something; any will do.
    pub(super) realm: Option<String>,
    /// It says where they are, in a 302, in place of forwarding.
    pub(super) redirects: bool,
    pub(super) spiral: Option<Spiral>,
    /// How long a place may ring.
    pub(super) ringing: Option<Duration>,
}

/// A request that comes back to its proxy several times, each time for another user: for the number one less (RFC 3261 §16.3, step 4: no loop).
#[derive(Clone)]
pub(super) struct Spiral {
    /// The address of the proxy.
    pub(super) host: String,
    /// Where it goes when the number is zero.
    pub(super) end: Vec<String>,
}

impl Router {
    /// The challenge for a request without credentials.
    fn challenge(&self, request: &Message<'_>) -> Option<String> {
        let realm = self.realm.as_deref()?;
        let knows = |given: ProxyAuthorization<'_>| given.params.get("realm") == Some(realm.as_bytes());
        let known = request.all::<ProxyAuthorization<'_>>().flatten().any(knows);
        (!known).then(|| format!("Digest realm=\"{realm}\", nonce=\"n\", algorithm=MD5, qop=\"auth\""))
    }

    /// Where a request goes that does not say so itself: each URI with its q.
    fn places(&self, request: &Message<'_>) -> Vec<(u16, String)> {
        let uri = request.uri();
        let user = uri.as_sip().and_then(|sip| core::str::from_utf8(sip.user?).ok());
        let left = user.and_then(|user| user.parse::<u8>().ok());
        if let (Some(spiral), Some(left)) = (&self.spiral, left) {
            return match left.checked_sub(1) {
                Some(left) => Vec::from([(1_000, format!("sip:{left}@{}", spiral.host))]),
                None => spiral.end.iter().map(|uri| (1_000, uri.clone())).collect(),
            };
        }
        let qs = (0..=1_000).rev();
        let turns = qs.zip(&self.turns);
        turns.flat_map(|(q, turn)| turn.iter().map(move |uri| (q, uri.clone()))).collect()
    }

    /// Forwards it there, or says where that is.
    fn route(&self, now: Instant, proxy: &mut Proxy, context: ContextId, places: &[(u16, String)]) {
        if self.redirects {
            let contacts: Vec<_> =
                places.iter().map(|(q, uri)| format!("<{uri}>;q={}.{:03}", q / 1_000, q % 1_000)).collect();
            let headers: Vec<_> = contacts.iter().map(|contact| ("Contact", &**contact)).collect();
            let _ = proxy.respond(now, context, Status::MOVED_TEMPORARILY, &Content::headers(&headers));
            return;
        }
        let timers = self.ringing.map(|ringing| Timers { ringing: Some(ringing), ..Timers::DEFAULT });
        let branches: Vec<_> =
            places.iter().map(|(q, uri)| Branch { q: *q, timers, ..Branch::to(uri) }).collect();
        let _ = proxy.relay(now, context, &branches);
    }
}

impl TransactionUser<Proxy> for Router {
    fn event(&mut self, now: Instant, proxy: &mut Proxy, event: Event<'_>) {
        match event {
            Event::Request { context, routed: true, .. } => {
                let _ = proxy.relay(now, context, &[Branch::AS_IT_IS]);
            }
            Event::Request { context, request, .. } => {
                let Some(challenge) = self.challenge(&request) else {
                    return self.route(now, proxy, context, &self.places(&request));
                };
                let headers = [("Proxy-Authenticate", &*challenge)];
                let status = Status::PROXY_AUTHENTICATION_REQUIRED;
                let _ = proxy.respond(now, context, status, &Content::headers(&headers));
            }
            _ => {}
        }
    }
}
