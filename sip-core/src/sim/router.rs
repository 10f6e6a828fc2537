//! A proxy's user: who says where requests go.

use crate::headers::ProxyAuthorization;
use crate::machine::TransactionUser;
use crate::message::{Content, Message, Status};
use crate::proxy::{Branch, Event, Proxy};
use crate::time::Instant;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Forwards what says itself where it goes, and all else to its targets: at once, or one after the other.
pub(super) struct Router {
    targets: Vec<String>,
    serial: bool,
    /// The realm for which it wants credentials, with a request that begins something; any will do.
    realm: Option<String>,
}

impl Router {
    pub(super) const fn new(targets: Vec<String>, serial: bool, realm: Option<String>) -> Self {
        Self { targets, serial, realm }
    }

    /// The challenge for a request without credentials.
    fn challenge(&self, request: &Message<'_>) -> Option<String> {
        let realm = self.realm.as_deref()?;
        let knows = |given: ProxyAuthorization<'_>| given.params.get("realm") == Some(realm.as_bytes());
        let known = request.all::<ProxyAuthorization<'_>>().flatten().any(knows);
        (!known).then(|| format!("Digest realm=\"{realm}\", nonce=\"n\", algorithm=MD5, qop=\"auth\""))
    }

    /// Where a request goes that does not say so itself.
    fn branches(&self) -> Vec<Branch<'_>> {
        let q = |place: usize| if self.serial { 1_000 - place.min(1_000) as u16 } else { 1_000 };
        self.targets
            .iter()
            .enumerate()
            .map(|(place, uri)| Branch { q: q(place), ..Branch::to(uri) })
            .collect()
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
                    let _ = proxy.relay(now, context, &self.branches());
                    return;
                };
                let headers = [("Proxy-Authenticate", &*challenge)];
                let status = Status::PROXY_AUTHENTICATION_REQUIRED;
                let _ = proxy.respond(now, context, status, &Content::headers(&headers));
            }
            _ => {}
        }
    }
}
