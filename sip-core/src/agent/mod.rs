//! The agents behind the examples, without a runtime (feature `agent`): one that answers calls, one that places them, one
//! that asks whether a peer lives, one that forwards, one where others are at home, one that stands between two parties, one that sends what programs write that know no
//! SIP.
//!
//! Each is a [`TransactionUser`](crate::TransactionUser) of a [`UserAgent`] or a [`Proxy`](crate::proxy::Proxy). Both
//! adapters run them as they are.

mod b2bua;
mod enrolment;
mod forwarder;
mod home;
mod order;
mod ping;
mod registrar;
mod sender;
mod uac;
mod uas;

pub use b2bua::{B2bua, B2buaOptions};
pub use enrolment::Enrolment;
pub use forwarder::{Forwarder, ForwarderOptions, Report};
pub use home::{Home, HomeOptions};
pub use ping::{Ping, PingError};
pub use sender::{Sender, Sent};
pub use uac::{Uac, UacOptions, Within};
pub use uas::{Uas, UasOptions};

use crate::message::{Content, Method, Request};
use crate::ua::{Offer, UserAgent};
use crate::{DialogId, Instant, Invitation, SubscriptionId};
use alloc::collections::BTreeSet;

/// The body of every offer and answer: one audio stream that nobody listens to.
const SDP: &[u8] =
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n\
    a=rtpmap:0 PCMU/8000\r\n";

const SESSION: Content<'static> = Content::body("application/sdp", SDP);

/// The same put on hold, and the answer to one that is (RFC 3264 §8.4).
const HOLD: Content<'static> = Content::body(
    "application/sdp",
    b"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n\
    a=rtpmap:0 PCMU/8000\r\na=sendonly\r\n",
);
const HELD: Content<'static> = Content::body(
    "application/sdp",
    b"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n\
    a=rtpmap:0 PCMU/8000\r\na=recvonly\r\n",
);

/// What a request of the peer in a call is answered with besides a status.
fn session_for(machine: &UserAgent, dialog: Option<DialogId>, request: &Request<'_>) -> Content<'static> {
    // An UPDATE or a PRACK may bring something else than an offer; an INVITE without one is answered by one.
    let asked = dialog.is_some_and(|dialog| machine.offer(dialog) == Ok(Offer::Remote));
    match request.method() {
        Method::Invite | Method::Update if is_held(request.body()) => HELD,
        Method::Invite => SESSION,
        Method::Update | Method::Prack if asked => SESSION,
        _ => Content::NONE,
    }
}

/// Whether an offer puts the session on hold.
fn is_held(offer: &[u8]) -> bool {
    offer.split(|byte| *byte == b'\n').any(|line| line.trim_ascii() == b"a=sendonly")
}

/// What an agent does later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Answer(DialogId),
    HangUp(DialogId),
    Cancel(Invitation),
    /// To register, again if it could not be done before.
    Enrol,
    /// What is done within a call, the next step of it.
    Within(DialogId),
    EndPresence(SubscriptionId),
    Referred(SubscriptionId),
}

/// Tasks by the time at which they are due.
#[derive(Debug, Default)]
struct Agenda(BTreeSet<(Instant, Task)>);

impl Agenda {
    fn of(first: Option<(Instant, Task)>) -> Self {
        Self(first.into_iter().collect())
    }

    fn add(&mut self, at: Instant, task: Task) {
        self.0.insert((at, task));
    }

    fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    fn take(&mut self, now: Instant) -> Option<Task> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_first().map(|(_, task)| task)
    }
}
