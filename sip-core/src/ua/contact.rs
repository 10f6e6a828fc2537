//! How this side is reached: values of Contact (RFC 3261 §8.1.1.8, §12.1.1).

use super::UserAgent;
use crate::dialog;
use crate::endpoint::{Misuse, Source};
use crate::headers::RecordRoute;
use crate::message::Message;
use crate::transport::{NextHop, Target, Transport, next_hop_of};
use crate::uri::{Uri, is_sips};
use alloc::sync::Arc;

/// The value that was made last: the dialogs that have the same share its text, as there may be a million of them.
#[derive(Default)]
pub(super) struct Contacts {
    last: Arc<[u8]>,
}

impl Contacts {
    /// `<sip:user@sent-by;transport=…>`; SIPS where the peer asks for that.
    fn value(&mut self, user: &str, transport: Transport, sent_by: &str, secure: bool) -> Arc<[u8]> {
        let secure = secure && transport == Transport::Tls;
        let scheme = if secure { "<sips:" } else { "<sip:" };
        let at = if user.is_empty() { "" } else { "@" };
        let (param, value) = match transport {
            Transport::Udp => ("", ""),
            Transport::Tls if secure => ("", ""),
            other => (";transport=", other.param()),
        };
        self.share(&[scheme, user, at, sent_by, param, value, ">"].map(str::as_bytes))
    }

    /// A text by its parts.
    pub(super) fn share(&mut self, parts: &[&[u8]]) -> Arc<[u8]> {
        let rest = parts.iter().try_fold(&*self.last, |rest, part| rest.strip_prefix(*part));
        if rest.is_none_or(|rest| !rest.is_empty()) {
            self.last = parts.concat().into();
        }
        self.last.clone()
    }
}

impl UserAgent {
    /// How who is reached by a request to this URI reaches this side.
    pub(super) fn contact_towards(
        &mut self,
        uri: &[u8],
        towards: &[u8],
        target: Option<Target>,
    ) -> Result<Arc<[u8]>, Misuse> {
        Uri::parse(towards).map_err(|_| Misuse::BadUri)?;
        let (transport, addr) = match (target, next_hop_of(uri, towards)) {
            (Some(target), _) | (None, Some(NextHop::Address(target))) => {
                (target.transport, Some(target.addr))
            }
            (None, Some(NextHop::Name { transport, .. })) => (transport, None),
            (None, None) => return Err(Misuse::BadUri),
        };
        let (_, sent_by) = self.layer.locals.towards(transport, addr).ok_or(Misuse::NoLocal(transport))?;
        let secure = is_sips(uri) || is_sips(towards);
        Ok(self.contacts.value(&self.config.user, transport, sent_by, secure))
    }

    /// How the peer at the source of a request reaches this side.
    pub(super) fn contact_at(&mut self, source: Source, request: &Message<'_>) -> Option<Arc<[u8]>> {
        let local = match source {
            Source::Datagram { local, .. } => Some(local),
            Source::Flow(flow) => self.layer.flow(flow).and_then(|flow| flow.local),
        };
        let peer = self.layer.peer(source)?;
        let sent_by = self.layer.locals.contact(peer.transport, local, peer.addr);
        // RFC 3261 §12.1.1
        let recorded = request.all::<RecordRoute<'_>>().next().and_then(Result::ok);
        let secure = is_sips(request.request_uri())
            || recorded.map_or_else(
                || dialog::contact(request).is_some_and(is_sips),
                |route| is_sips(route.0.uri_bytes),
            );
        Some(self.contacts.value(&self.config.user, peer.transport, sent_by, secure))
    }
}
