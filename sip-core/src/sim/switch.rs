//! The user of a proxy in the middle of calls: it sends each to all places at once.

use crate::machine::TransactionUser;
use crate::message::{Content, Status};
use crate::proxy::{Branch, Event, Proxy};
use crate::time::Instant;
use crate::transport::Target;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Forwards to the user that was asked for, at each of its places.
pub(super) struct Switch {
    places: Vec<Target>,
}

impl Switch {
    pub(super) const fn new(places: Vec<Target>) -> Self {
        Self { places }
    }
}

impl TransactionUser<Proxy> for Switch {
    fn event(&mut self, now: Instant, proxy: &mut Proxy, event: Event<'_>) {
        let Event::Request { context, request, routed, .. } = event else { return };
        if routed {
            let _ = proxy.relay(now, context, &[Branch::AS_IT_IS]);
            return;
        }
        let uri = request.uri();
        let user = uri.as_sip().and_then(|sip| sip.user).unwrap_or_default();
        let user = String::from_utf8_lossy(user);
        let uris: Vec<_> = self
            .places
            .iter()
            .map(|place| format!("sip:{user}@{};transport={}", place.addr, place.transport))
            .collect();
        let branches: Vec<_> = uris.iter().map(|uri| Branch::to(uri)).collect();
        if proxy.relay(now, context, &branches).is_err() {
            let _ = proxy.respond(now, context, Status::SERVER_INTERNAL_ERROR, &Content::NONE);
        }
    }
}
