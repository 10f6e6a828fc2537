//! A proxy's user: who says where requests go.

use crate::handle::ContextId;
use crate::headers::ProxyAuthorization;
use crate::machine::TransactionUser;
use crate::message::{Content, Message, Status};
use crate::proxy::{Branch, Event, Proxy};
use crate::time::Instant;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Forwards what says itself where it goes, and all else to its targets: at once, or one after the other.
pub(super) struct Router {
    targets: Vec<String>,
    serial: bool,
    /// The realm for which it wants credentials, with a request that begins something; any will do.
    realm: Option<String>,
    /// How many targets were tried.
    tried: BTreeMap<ContextId, usize>,
}

impl Router {
    pub(super) const fn new(targets: Vec<String>, serial: bool, realm: Option<String>) -> Self {
        Self { targets, serial, realm, tried: BTreeMap::new() }
    }

    /// The challenge for a request without credentials.
    fn challenge(&self, request: &Message<'_>) -> Option<String> {
        let realm = self.realm.as_deref()?;
        let knows = |given: ProxyAuthorization<'_>| given.params.get("realm") == Some(realm.as_bytes());
        let known = request.all::<ProxyAuthorization<'_>>().flatten().any(knows);
        (!known).then(|| format!("Digest realm=\"{realm}\", nonce=\"n\", algorithm=MD5, qop=\"auth\""))
    }

    fn next(&mut self, now: Instant, proxy: &mut Proxy, context: ContextId) {
        let tried = self.tried.entry(context).or_default();
        let most = if self.serial { 1 } else { self.targets.len() };
        let branches: Vec<Branch<'_>> =
            self.targets.iter().skip(*tried).take(most).map(|uri| Branch::to(uri)).collect();
        *tried += branches.len();
        if proxy.relay(now, context, &branches).is_err() {
            let _ = proxy.forward_best(now, context);
        }
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
                    return self.next(now, proxy, context);
                };
                let headers = [("Proxy-Authenticate", &*challenge)];
                let status = Status::PROXY_AUTHENTICATION_REQUIRED;
                let _ = proxy.respond(now, context, status, &Content::headers(&headers));
            }
            Event::AllFailed { context, .. } => self.next(now, proxy, context),
            Event::Ended { context, .. } => {
                self.tried.remove(&context);
            }
            _ => {}
        }
    }
}
