//! Who has to speak in an offer and answer exchange (RFC 3264; RFC 3261 §13.2.1, RFC 3262 §5, RFC 3311 §5.1). Bodies are opaque:
//! what counts is that a message carries a session description, and which way it goes.

use crate::headers::{ContentDisposition, ContentType, Header, Name};
use crate::message::{Content, Message};

/// Where the exchange of a session stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Offer {
    /// No offer is open: either side may make one.
    #[default]
    Stable,
    /// This side has made an offer that is not answered.
    Local,
    /// The peer has made an offer that is not answered.
    Remote,
}

/// The request that an offer stands in, or in whose response: the answer comes in a response to it, in its ACK or in a PRACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    OwnInvite,
    PeerInvite,
    OwnUpdate,
    PeerUpdate,
    OwnPrack,
    PeerPrack,
}

/// Where the exchange of a session stands, and what the open offer belongs to: the end of another request does not end it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) open: Option<Open>,
}

/// An offer that is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    /// Who made it: `Local` or `Remote`.
    pub(crate) offer: Offer,
    pub(crate) within: Carrier,
}

impl Exchange {
    /// With this side's offer open.
    pub(crate) const fn local(within: Carrier) -> Self {
        Self { open: Some(Open { offer: Offer::Local, within }) }
    }

    pub(crate) fn state(self) -> Offer {
        self.open.map_or(Offer::Stable, |open| open.offer)
    }

    /// Whether this offer is open.
    pub(crate) fn is(self, offer: Offer, within: Carrier) -> bool {
        self.open == Some(Open { offer, within })
    }

    /// This side sends a session description: the answer to the peer's offer that is open there, or an offer if none is open. `None`: it may not.
    pub(crate) fn sent(self, within: Carrier) -> Option<Self> {
        match self.open {
            None => Some(Self::local(within)),
            Some(_) if self.is(Offer::Remote, within) => Some(Self::default()),
            Some(_) => None,
        }
    }

    /// The peer sends one. What is neither an offer nor the answer that is waited for changes nothing.
    pub(crate) fn received(self, within: Carrier) -> Self {
        match self.open {
            None => Self { open: Some(Open { offer: Offer::Remote, within }) },
            Some(_) if self.is(Offer::Local, within) => Self::default(),
            Some(_) => self,
        }
    }

    /// This offer will not be answered any more: it is as if it had not been made.
    pub(crate) fn close(&mut self, offer: Offer, within: Carrier) {
        if self.is(offer, within) {
            self.open = None;
        }
    }
}

/// Whether a received message carries a session description: a body that is SDP or has several parts, unless its disposition is another.
pub(crate) fn is_in(message: &Message<'_>) -> bool {
    let value = |name| message.value(name).unwrap_or_default();
    !message.body().is_empty() && is_session(value(Name::ContentType), value(Name::ContentDisposition))
}

/// The same for what this side is about to send.
pub(crate) fn is_in_content(content: &Content<'_>) -> bool {
    let disposition =
        content.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("Content-Disposition"));
    let disposition = disposition.map_or("", |(_, value)| *value);
    !content.body.is_empty() && is_session(content.content_type.as_bytes(), disposition.as_bytes())
}

fn is_session(kind: &[u8], disposition: &[u8]) -> bool {
    let said = (!disposition.is_empty()).then(|| ContentDisposition::whole(disposition));
    if let Some(Ok(disposition)) = said {
        return ["session", "early-session"].iter().any(|word| disposition.is(word));
    }
    ContentType::whole(kind)
        .is_ok_and(|kind| kind.is("application", "sdp") || kind.kind.eq_ignore_ascii_case(b"multipart"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_offer() {
        use Carrier::{OwnInvite, OwnUpdate, PeerInvite, PeerUpdate};
        let none = Exchange::default();
        let ours = none.sent(OwnInvite).unwrap();
        assert_eq!((ours.state(), ours.sent(OwnInvite), ours.sent(OwnUpdate)), (Offer::Local, None, None));
        assert_eq!(ours.received(OwnInvite), none);
        let theirs = none.received(PeerInvite);
        assert_eq!((theirs.state(), theirs.received(PeerInvite)), (Offer::Remote, theirs));
        assert_eq!((theirs.sent(PeerInvite), theirs.sent(OwnUpdate)), (Some(none), None));
        assert_eq!(ours.received(PeerUpdate), ours);
    }

    #[test]
    fn the_end_of_another_request_does_not_end_it() {
        let mut exchange = Exchange::local(Carrier::OwnUpdate);
        exchange.close(Offer::Local, Carrier::PeerInvite);
        exchange.close(Offer::Remote, Carrier::OwnUpdate);
        assert_eq!(exchange.state(), Offer::Local);
        exchange.close(Offer::Local, Carrier::OwnUpdate);
        assert_eq!(exchange.state(), Offer::Stable);
    }

    #[test]
    fn what_is_a_session_description() {
        let with = |disposition: &'static str| {
            let headers = [("content-disposition", disposition)];
            is_in_content(&Content { headers: &headers, content_type: "application/sdp", body: b"v=0" })
        };
        assert!(with("session") && with("session;handling=required") && !with("render"));
        assert!(is_in_content(&Content::body("Application/SDP", b"v=0")));
        assert!(is_in_content(&Content::body("multipart/mixed;boundary=b", b"--b")));
        assert!(!is_in_content(&Content::body("text/plain", b"v=0")));
        assert!(!is_in_content(&Content::body("application/sdp", b"")));
    }
}
