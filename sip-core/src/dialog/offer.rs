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

impl Offer {
    /// This side sends a session description: an answer if the peer's offer is open, else an offer. `None`: it may not, its own offer is open.
    pub(crate) const fn sent(self) -> Option<Self> {
        match self {
            Self::Stable => Some(Self::Local),
            Self::Remote => Some(Self::Stable),
            Self::Local => None,
        }
    }

    /// The peer sends one. A second offer of the peer changes nothing: the first is still to be answered.
    pub(crate) const fn received(self) -> Self {
        match self {
            Self::Stable | Self::Remote => Self::Remote,
            Self::Local => Self::Stable,
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
    if let Ok(disposition) = ContentDisposition::whole(disposition) {
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
        assert_eq!(Offer::Stable.sent(), Some(Offer::Local));
        assert_eq!(Offer::Local.sent(), None);
        assert_eq!(Offer::Local.received(), Offer::Stable);
        assert_eq!(Offer::Stable.received(), Offer::Remote);
        assert_eq!(Offer::Remote.received(), Offer::Remote);
        assert_eq!(Offer::Remote.sent(), Some(Offer::Stable));
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
