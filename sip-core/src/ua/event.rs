//! What a user agent tells its user, and what its user tells it.

use crate::auth::Credentials;
use crate::dialog::subscription::{Ended, Notice};
use crate::endpoint::{Cause, Rejected, Source};
use crate::handle::{
    DialogId, Invitation, PublicationId, RegistrationId, RequestId, ServerTxn, SubscriptionId,
};
use crate::message::{Content, Method, Request, Response, Status};
use crate::transaction::Timers;
use crate::transport::Target;
use core::net::SocketAddr;
use core::time::Duration;

/// What a user agent tells its user. `user` is the number that was attached to the thing the event is about.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'b> {
    /// A call comes in: [`ring`](super::UserAgent::ring), [`accept`](super::UserAgent::accept) or
    /// [`reject`](super::UserAgent::reject) it. A 100 goes out by itself after 200 ms.
    Incoming {
        /// The dialog that it makes.
        dialog: DialogId,
        /// The call that it is to take the place of: that is hung up when this one is accepted (RFC 3891). Whether the caller may do so is the
        /// user's to judge.
        replaces: Option<DialogId>,
        /// The INVITE.
        request: Request<'b>,
        /// Where it came from.
        source: Source,
    },
    /// The peer has acknowledged the 2xx, of the call or of a re-INVITE: the call is up. The ACK has the answer if the 2xx had the offer.
    Established {
        /// The call.
        dialog: DialogId,
        /// Its number.
        user: u64,
        /// The ACK.
        request: Request<'b>,
    },
    /// An INVITE of this side has a provisional response; `dialog` if that makes or belongs to an early dialog.
    Progress {
        /// The INVITE.
        invitation: Invitation,
        /// Its number.
        user: u64,
        /// The early dialog of the fork that answers.
        dialog: Option<DialogId>,
        /// Whether it waits for [`prack`](super::UserAgent::prack): it holds an offer, or [`Config::auto_prack`](super::Config::auto_prack) is
        /// off. Else the PRACK has been sent, if one is due.
        wants_prack: bool,
        /// The response.
        response: Response<'b>,
    },
    /// An INVITE of this side is answered by a 2xx: the call is up.
    Answered {
        /// The INVITE.
        invitation: Invitation,
        /// Its number; the dialog has it too, unless it was given another while it rang.
        user: u64,
        /// The call.
        dialog: DialogId,
        /// Whether the 2xx holds an offer that the ACK must answer: give it with [`ack`](super::UserAgent::ack). Else the ACK
        /// has been sent.
        wants_answer: bool,
        /// The 2xx.
        response: Response<'b>,
    },
    /// An INVITE of this side is refused: 300 to 699. The ACK has been sent.
    Refused {
        /// The INVITE.
        invitation: Invitation,
        /// Its number.
        user: u64,
        /// The response.
        response: Response<'b>,
    },
    /// An INVITE of this side is answered by a 2xx that there is no room for, with as many forks or dialogs as the limits allow. It has been
    /// acknowledged and hung up (RFC 3261 §13.2.2.4).
    TurnedAway {
        /// The INVITE.
        invitation: Invitation,
        /// Its number.
        user: u64,
        /// The 2xx.
        response: Response<'b>,
    },
    /// The terminal event of an invitation. Before it came every [`Answered`](Self::Answered), [`TurnedAway`](Self::TurnedAway) and
    /// [`Refused`](Self::Refused) that there is; without any, `cause` says why. After a 2xx it comes 64·T1 later, when no other fork can answer any
    /// more: go on at [`Answered`](Self::Answered).
    InvitationEnded {
        /// The INVITE.
        invitation: Invitation,
        /// Its number.
        user: u64,
        /// Why its transaction ended.
        cause: Cause,
    },
    /// The call is over: the terminal event of the session in a dialog. Subscriptions that share the dialog have their own.
    Ended {
        /// The dialog.
        dialog: DialogId,
        /// Its number.
        user: u64,
        /// Why.
        reason: Reason,
    },
    /// A request of the peer, inside a dialog or outside: answer it with [`respond`](super::UserAgent::respond). A re-INVITE or an UPDATE with an
    /// offer changes the session; the others are those of [`Config::methods`](super::Config::methods).
    Request {
        /// Its transaction.
        txn: ServerTxn,
        /// The dialog that it is in.
        dialog: Option<DialogId>,
        /// The dialog's number.
        user: u64,
        /// The request.
        request: Request<'b>,
        /// Where it came from.
        source: Source,
    },
    /// Such a request wants no answer any more: it was cancelled, its dialog ended, or it waited too long. It has been answered.
    Withdrawn {
        /// Its transaction, which is over for the user.
        txn: ServerTxn,
    },
    /// The peer has acknowledged a reliable provisional response. The PRACK has the answer if the response had the offer.
    Acknowledged {
        /// The call.
        dialog: DialogId,
        /// Its number.
        user: u64,
        /// The PRACK.
        request: Request<'b>,
    },
    /// A response to a request that was sent with [`request`](super::UserAgent::request) or
    /// [`request_in`](super::UserAgent::request_in).
    Response {
        /// The request.
        id: RequestId,
        /// Its number.
        user: u64,
        /// The dialog that it was sent in.
        dialog: Option<DialogId>,
        /// Whether it is a reliable provisional response to a re-INVITE that waits for [`prack`](super::UserAgent::prack).
        wants_prack: bool,
        /// Whether it is the 2xx to a re-INVITE and holds an offer: give the answer with [`ack`](super::UserAgent::ack).
        wants_answer: bool,
        /// The response.
        response: Response<'b>,
    },
    /// The terminal event of such a request. Without a final response before it, `cause` says why. It comes when its transaction ends, some seconds after
    /// the response, and 64·T1 after the 2xx of a re-INVITE: go on at [`Response`](Self::Response).
    RequestEnded {
        /// The request.
        id: RequestId,
        /// Its number.
        user: u64,
        /// Why.
        cause: Cause,
    },
    /// The final response to a SUBSCRIBE or REFER of this side: 2xx, then a NOTIFY follows; or a refusal, after which
    /// [`SubscriptionEnded`](Self::SubscriptionEnded) comes if that ends it.
    SubscriptionAnswered {
        /// The subscription.
        subscription: SubscriptionId,
        /// Its number.
        user: u64,
        /// The response.
        response: Response<'b>,
    },
    /// A NOTIFY for a subscription of this side. It has been answered with 200.
    Notified {
        /// The subscription; another one for each fork that notifies, all with the number of the first.
        subscription: SubscriptionId,
        /// Its number.
        user: u64,
        /// The state that it is in; after [`Notice::Terminated`] comes [`SubscriptionEnded`](Self::SubscriptionEnded).
        notice: Notice,
        /// The NOTIFY.
        request: Request<'b>,
    },
    /// The peer subscribes to one of [`Config::packages`](super::Config::packages), or refreshes its subscription, or prolongs or ends what its REFER
    /// made: answer with [`respond`](super::UserAgent::respond), then tell the present state with [`notify`](super::UserAgent::notify).
    Subscribe {
        /// Its transaction.
        txn: ServerTxn,
        /// The subscription; it is known from before if this is a refresh.
        subscription: SubscriptionId,
        /// Its number.
        user: u64,
        /// Whether it is known from before.
        refresh: bool,
        /// How long it lasts if it is accepted; zero: the peer wants the state once more and no longer, and the next NOTIFY is the last.
        expires: Duration,
        /// The SUBSCRIBE.
        request: Request<'b>,
        /// Where it came from.
        source: Source,
    },
    /// The peer wants this side to contact somebody (RFC 3515): answer with [`respond`](super::UserAgent::respond), then tell with
    /// [`notify`](super::UserAgent::notify) how it goes, in bodies of type `message/sipfrag`.
    Refer {
        /// Its transaction.
        txn: ServerTxn,
        /// The dialog that it is in.
        dialog: Option<DialogId>,
        /// The dialog's number.
        user: u64,
        /// What is told by; nothing if the peer wants to hear nothing (RFC 4488).
        subscription: Option<SubscriptionId>,
        /// The REFER.
        request: Request<'b>,
        /// Where it came from.
        source: Source,
    },
    /// The registrar has the bindings of a registration.
    Registered {
        /// The registration.
        registration: RegistrationId,
        /// Its number.
        user: u64,
        /// How long they last; they are refreshed before.
        expires: Duration,
        /// Where the registrar saw this side (RFC 3581), if it said so. Behind a NAT that is not the address of the Contact:
        /// [`listen`](crate::Machine::listen) again with it as `advertised`, and [`register_again`](super::UserAgent::register_again).
        public: Option<SocketAddr>,
        /// The 200: it lists the bindings of all devices.
        response: Response<'b>,
    },
    /// A REGISTER is refused. While the bindings last it is tried again; after that, or for the first,
    /// [`RegistrationEnded`](Self::RegistrationEnded) follows.
    RegistrationRefused {
        /// The registration.
        registration: RegistrationId,
        /// Its number.
        user: u64,
        /// The response.
        response: Response<'b>,
    },
    /// The terminal event of a registration: it was taken away, or [`RegistrationRefused`](Self::RegistrationRefused) came before, or it was not
    /// answered.
    RegistrationEnded {
        /// The registration.
        registration: RegistrationId,
        /// Its number.
        user: u64,
        /// How the last REGISTER ended: `Completed` with a response, of whatever kind.
        cause: Cause,
    },
    /// The compositor has the state of a publication.
    Published {
        /// The publication.
        publication: PublicationId,
        /// Its number.
        user: u64,
        /// How long it lasts; it is refreshed before.
        expires: Duration,
        /// The 200.
        response: Response<'b>,
    },
    /// A PUBLISH is refused: as with registrations. After a 412 the compositor knows of nothing: publish anew.
    PublicationRefused {
        /// The publication.
        publication: PublicationId,
        /// Its number.
        user: u64,
        /// The response.
        response: Response<'b>,
    },
    /// The terminal event of a publication.
    PublicationEnded {
        /// The publication.
        publication: PublicationId,
        /// Its number.
        user: u64,
        /// How the last PUBLISH ended.
        cause: Cause,
    },
    /// The terminal event of a subscription of either side.
    SubscriptionEnded {
        /// The subscription.
        subscription: SubscriptionId,
        /// Its number.
        user: u64,
        /// Why.
        reason: Ended,
        /// When it may be tried again, if the notifier said so.
        retry_after: Option<Duration>,
    },
    /// The state of a dialog has changed: a number, the remote target, its session timer. Only with
    /// [`Config::tell_changes`](super::Config::tell_changes).
    Changed {
        /// The dialog.
        dialog: DialogId,
        /// Its number.
        user: u64,
    },
    /// A session is to be refreshed, and the peer takes no UPDATE: send a re-INVITE with the present session description, or the session ends
    /// (RFC 4028 §7.4).
    RefreshDue {
        /// The call.
        dialog: DialogId,
        /// Its number.
        user: u64,
    },
    /// A message that is malformed.
    Rejected(Rejected<'b>),
    /// A request that this side refused by itself: no dialog, no such method, no such extension …
    Declined {
        /// The request.
        request: Request<'b>,
        /// With what it was answered.
        status: Status,
    },
    /// A request that this side answered by itself: OPTIONS; a BYE, whose headers may say why ([`Ended`](Self::Ended) follows); an UPDATE that only
    /// refreshes the session.
    Served {
        /// The dialog that it is in; after a BYE that has no session any more.
        dialog: Option<DialogId>,
        /// The request.
        request: Request<'b>,
        /// With what it was answered.
        status: Status,
    },
    /// A response or an ACK that belongs to nothing here.
    Stray(Stray<'b>),
}

/// A message that belongs to nothing here and is not answered.
#[derive(Clone, Debug)]
pub enum Stray<'b> {
    /// A response (RFC 6026 §8.9).
    Response(Response<'b>),
    /// An ACK.
    Ack(Request<'b>),
}

/// Why a dialog ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The peer hung up.
    RemoteBye,
    /// This side hung up, and the peer has answered the BYE.
    LocalBye,
    /// This side hung up, and the BYE was never answered or could not be sent.
    ByeUnanswered,
    /// The caller cancelled before an answer.
    Cancelled,
    /// This side rejected the call.
    Rejected,
    /// This side never answered the call: it got a 500.
    Unanswered,
    /// The 2xx was never acknowledged; a BYE was sent.
    NoAck,
    /// A reliable provisional response was never acknowledged; the INVITE got a 504 (RFC 3262 §3).
    NoPrack,
    /// The time that the INVITE gave is over (RFC 3261 §13.3.1).
    Expired,
    /// The session was not refreshed in time (RFC 4028 §10).
    NotRefreshed,
    /// Another call took its place (RFC 3891).
    Replaced,
    /// The INVITE that this early dialog belongs to failed, or another fork was answered. If the user gave it up: [`Cancelled`](Self::Cancelled).
    NotChosen,
    /// No request can be sent to where the peer wants them: a Contact or Route of a transport that this side does not speak.
    Unreachable,
    /// The peer knows nothing of the dialog any more, or does not answer in it (RFC 5057 §5.1).
    Lost,
}

impl Event<'_> {
    /// The event with a copy of its bytes.
    pub fn into_owned(self) -> Event<'static> {
        match self {
            Self::Incoming { dialog, replaces, request, source } => {
                Event::Incoming { dialog, replaces, request: request.into_owned(), source }
            }
            Self::Established { dialog, user, request } => {
                Event::Established { dialog, user, request: request.into_owned() }
            }
            Self::Progress { invitation, user, dialog, wants_prack, response } => {
                let response = response.into_owned();
                Event::Progress { invitation, user, dialog, wants_prack, response }
            }
            Self::Answered { invitation, user, dialog, wants_answer, response } => {
                Event::Answered { invitation, user, dialog, wants_answer, response: response.into_owned() }
            }
            Self::Refused { invitation, user, response } => {
                Event::Refused { invitation, user, response: response.into_owned() }
            }
            Self::TurnedAway { invitation, user, response } => {
                Event::TurnedAway { invitation, user, response: response.into_owned() }
            }
            Self::InvitationEnded { invitation, user, cause } => {
                Event::InvitationEnded { invitation, user, cause }
            }
            Self::Ended { dialog, user, reason } => Event::Ended { dialog, user, reason },
            Self::Request { txn, dialog, user, request, source } => {
                Event::Request { txn, dialog, user, request: request.into_owned(), source }
            }
            Self::Withdrawn { txn } => Event::Withdrawn { txn },
            Self::Acknowledged { dialog, user, request } => {
                Event::Acknowledged { dialog, user, request: request.into_owned() }
            }
            Self::Response { id, user, dialog, wants_prack, wants_answer, response } => {
                let response = response.into_owned();
                Event::Response { id, user, dialog, wants_prack, wants_answer, response }
            }
            Self::RequestEnded { id, user, cause } => Event::RequestEnded { id, user, cause },
            Self::SubscriptionAnswered { subscription, user, response } => {
                Event::SubscriptionAnswered { subscription, user, response: response.into_owned() }
            }
            Self::Notified { subscription, user, notice, request } => {
                Event::Notified { subscription, user, notice, request: request.into_owned() }
            }
            Self::Subscribe { txn, subscription, user, refresh, expires, request, source } => {
                let request = request.into_owned();
                Event::Subscribe { txn, subscription, user, refresh, expires, request, source }
            }
            Self::Refer { txn, dialog, user, subscription, request, source } => {
                Event::Refer { txn, dialog, user, subscription, request: request.into_owned(), source }
            }
            Self::Registered { registration, user, expires, public, response } => {
                Event::Registered { registration, user, expires, public, response: response.into_owned() }
            }
            Self::RegistrationRefused { registration, user, response } => {
                Event::RegistrationRefused { registration, user, response: response.into_owned() }
            }
            Self::RegistrationEnded { registration, user, cause } => {
                Event::RegistrationEnded { registration, user, cause }
            }
            Self::Published { publication, user, expires, response } => {
                Event::Published { publication, user, expires, response: response.into_owned() }
            }
            Self::PublicationRefused { publication, user, response } => {
                Event::PublicationRefused { publication, user, response: response.into_owned() }
            }
            Self::PublicationEnded { publication, user, cause } => {
                Event::PublicationEnded { publication, user, cause }
            }
            Self::SubscriptionEnded { subscription, user, reason, retry_after } => {
                Event::SubscriptionEnded { subscription, user, reason, retry_after }
            }
            Self::Changed { dialog, user } => Event::Changed { dialog, user },
            Self::RefreshDue { dialog, user } => Event::RefreshDue { dialog, user },
            Self::Rejected(rejected) => Event::Rejected(rejected.into_owned()),
            Self::Declined { request, status } => Event::Declined { request: request.into_owned(), status },
            Self::Served { dialog, request, status } => {
                Event::Served { dialog, request: request.into_owned(), status }
            }
            Self::Stray(Stray::Response(response)) => Event::Stray(Stray::Response(response.into_owned())),
            Self::Stray(Stray::Ack(request)) => Event::Stray(Stray::Ack(request.into_owned())),
        }
    }
}

/// A call to place.
#[derive(Clone, Copy, Debug)]
pub struct NewInvite<'a> {
    /// The URI to call; it becomes Request-URI and To.
    pub uri: &'a str,
    /// The value of From without a tag; empty: [`Config::identity`](super::Config::identity).
    pub from: &'a str,
    /// How many hops it may go (RFC 3261 §8.1.1.6): 70; of who stands between two parties one less than came in (RFC 7332).
    pub max_forwards: u8,
    /// Its Call-ID; empty: one that nobody can guess.
    pub call_id: &'a str,
    /// The values of Route, top first.
    pub route: &'a [&'a str],
    /// Where to send it; `None`: by Route and Request-URI (RFC 3263).
    pub target: Option<Target>,
    /// The timers of its transaction; `None`: those of the user agent.
    pub timers: Option<Timers>,
    /// When it is given up without a final response, and by whom it is answered: this side cancels it, the callee need not ring longer
    /// (RFC 3261 §13.2.1). `None`: after [`Timers::ringing`].
    pub expires: Option<Duration>,
    /// The call that this one is to take the place of, as a value of Replaces (RFC 3891); empty: none.
    pub replaces: &'a str,
    /// What challenges to it are answered with, before [`Config::credentials`](super::Config::credentials).
    pub credentials: &'a [Credentials],
    /// A number of the caller's.
    pub user: u64,
    /// What else stands in it, the offer above all.
    pub content: Content<'a>,
}

impl<'a> NewInvite<'a> {
    /// A call without an offer: the 2xx will hold it.
    pub const fn new(uri: &'a str) -> Self {
        Self {
            uri,
            from: "",
            max_forwards: 70,
            call_id: "",
            route: &[],
            target: None,
            timers: None,
            expires: None,
            replaces: "",
            credentials: &[],
            user: 0,
            content: Content::NONE,
        }
    }
}

/// A request outside any dialog.
#[derive(Clone, Copy, Debug)]
pub struct NewRequest<'a> {
    /// The method; what has a command of its own is not sent this way: INVITE, ACK, CANCEL, BYE, PRACK, SUBSCRIBE, NOTIFY, REFER.
    pub method: Method<'a>,
    /// The URI; it becomes Request-URI and To.
    pub uri: &'a str,
    /// The value of From without a tag; empty: [`Config::identity`](super::Config::identity).
    pub from: &'a str,
    /// How many hops it may go, as of an [`INVITE`](NewInvite::max_forwards).
    pub max_forwards: u8,
    /// Where to send it; `None`: by the Request-URI (RFC 3263).
    pub target: Option<Target>,
    /// The timers of its transaction; `None`: those of the user agent.
    pub timers: Option<Timers>,
    /// What challenges to it are answered with, before [`Config::credentials`](super::Config::credentials).
    pub credentials: &'a [Credentials],
    /// A number of the caller's.
    pub user: u64,
    /// What else stands in it.
    pub content: Content<'a>,
}

impl<'a> NewRequest<'a> {
    /// A request without content.
    pub const fn new(method: Method<'a>, uri: &'a str) -> Self {
        Self {
            method,
            uri,
            from: "",
            max_forwards: 70,
            target: None,
            timers: None,
            credentials: &[],
            user: 0,
            content: Content::NONE,
        }
    }
}

/// A subscription to the state of something (RFC 6665).
#[derive(Clone, Copy, Debug)]
pub struct NewSubscription<'a> {
    /// Whose state: the Request-URI and To.
    pub uri: &'a str,
    /// The value of Event: the package, and an `id` if there are to be several in one dialog.
    pub event: &'a str,
    /// How long it is to last. It is refreshed before its end; zero: the state is wanted once.
    pub expires: Duration,
    /// Where to send it; `None`: by the Request-URI (RFC 3263).
    pub target: Option<Target>,
    /// The timers of its transactions; `None`: those of the user agent.
    pub timers: Option<Timers>,
    /// What challenges to it are answered with, before [`Config::credentials`](super::Config::credentials).
    pub credentials: &'a [Credentials],
    /// A number of the caller's.
    pub user: u64,
    /// What else stands in the SUBSCRIBE: Accept, a body that filters.
    pub content: Content<'a>,
}

impl<'a> NewSubscription<'a> {
    /// A subscription for an hour.
    pub const fn new(uri: &'a str, event: &'a str) -> Self {
        let expires = Duration::from_secs(3_600);
        Self {
            uri,
            event,
            expires,
            target: None,
            timers: None,
            credentials: &[],
            user: 0,
            content: Content::NONE,
        }
    }
}

/// A registration (RFC 3261 §10.2).
#[derive(Clone, Copy, Debug)]
pub struct NewRegistration<'a> {
    /// The registrar: the Request-URI, `sip:example.com`.
    pub registrar: &'a str,
    /// Who is registered: the value of To and From, `<sip:alice@example.com>`. Its scheme is SIPS if all contacts are, and else SIP (RFC 5630 §5.1.1.1).
    pub aor: &'a str,
    /// Parameters of this side's Contact, each with its semicolon: `;q=0.7`, `;+sip.instance="<urn:uuid:…>";reg-id=1`. Not `expires`, which
    /// is for all bindings.
    pub contact_params: &'a str,
    /// Other values of Contact to be bound with it, without `expires`.
    pub contacts: &'a [&'a str],
    /// The values of Route, top first.
    pub route: &'a [&'a str],
    /// Other headers of each REGISTER.
    pub headers: &'a [(&'a str, &'a str)],
    /// How long it is to last before it is refreshed.
    pub expires: Duration,
    /// Where to send it; `None`: by Route and Request-URI (RFC 3263).
    pub target: Option<Target>,
    /// The timers of its transactions; `None`: those of the user agent.
    pub timers: Option<Timers>,
    /// What challenges to it are answered with, before [`Config::credentials`](super::Config::credentials).
    pub credentials: &'a [Credentials],
    /// A number of the caller's.
    pub user: u64,
}

impl<'a> NewRegistration<'a> {
    /// A registration of this side's own address, for an hour.
    pub const fn new(registrar: &'a str, aor: &'a str) -> Self {
        Self {
            registrar,
            aor,
            contact_params: "",
            contacts: &[],
            route: &[],
            headers: &[],
            expires: Duration::from_secs(3_600),
            target: None,
            timers: None,
            credentials: &[],
            user: 0,
        }
    }
}

/// A state to publish (RFC 3903).
#[derive(Clone, Copy, Debug)]
pub struct NewPublication<'a> {
    /// Whose state: the Request-URI and To.
    pub uri: &'a str,
    /// The value of Event: the package.
    pub event: &'a str,
    /// How long it is to last before it is refreshed.
    pub expires: Duration,
    /// Where to send it; `None`: by the Request-URI (RFC 3263).
    pub target: Option<Target>,
    /// The timers of its transactions; `None`: those of the user agent.
    pub timers: Option<Timers>,
    /// What challenges to it are answered with, before [`Config::credentials`](super::Config::credentials).
    pub credentials: &'a [Credentials],
    /// A number of the caller's.
    pub user: u64,
    /// The state.
    pub content: Content<'a>,
}

impl<'a> NewPublication<'a> {
    /// This state, for an hour.
    pub const fn new(uri: &'a str, event: &'a str, content: Content<'a>) -> Self {
        let expires = Duration::from_secs(3_600);
        Self { uri, event, expires, target: None, timers: None, credentials: &[], user: 0, content }
    }
}

/// A REFER (RFC 3515).
#[derive(Clone, Copy, Debug)]
pub struct NewRefer<'a> {
    /// Who is asked: the Request-URI and To; not used inside a dialog.
    pub uri: &'a str,
    /// The value of Refer-To: whom the peer is to contact.
    pub refer_to: &'a str,
    /// Whether this side wants to hear how it goes; if not, and the peer agrees, there is no subscription (RFC 4488).
    pub follow: bool,
    /// Where to send it outside a dialog; `None`: by the Request-URI (RFC 3263).
    pub target: Option<Target>,
    /// The timers of its transaction outside a dialog; `None`: those of the user agent.
    pub timers: Option<Timers>,
    /// What challenges to it are answered with, before [`Config::credentials`](super::Config::credentials).
    pub credentials: &'a [Credentials],
    /// A number of the caller's.
    pub user: u64,
    /// What else stands in it: Referred-By, Target-Dialog.
    pub content: Content<'a>,
}

impl<'a> NewRefer<'a> {
    /// A REFER inside a dialog: contact this address, and tell how it goes.
    pub const fn new(refer_to: &'a str) -> Self {
        Self::outside("", refer_to)
    }

    /// One outside any dialog.
    pub const fn outside(uri: &'a str, refer_to: &'a str) -> Self {
        Self {
            uri,
            refer_to,
            follow: true,
            target: None,
            timers: None,
            credentials: &[],
            user: 0,
            content: Content::NONE,
        }
    }
}

/// What a command of a [`UserAgent`](super::UserAgent) makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Made {
    /// No handle.
    Nothing,
    /// A call.
    Invitation(Invitation),
    /// A request.
    Request(RequestId),
    /// A subscription.
    Subscription(SubscriptionId),
    /// A registration.
    Registration(RegistrationId),
    /// A publication.
    Publication(PublicationId),
}

/// The commands of a user agent as values.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Command<'a> {
    /// [`invite`](super::UserAgent::invite)
    Invite(NewInvite<'a>),
    /// [`cancel`](super::UserAgent::cancel)
    Cancel(Invitation),
    /// [`ack`](super::UserAgent::ack)
    Ack(DialogId, Content<'a>),
    /// [`ring`](super::UserAgent::ring)
    Ring(DialogId, Status, Content<'a>),
    /// [`accept`](super::UserAgent::accept)
    Accept(DialogId, Content<'a>),
    /// [`reject`](super::UserAgent::reject)
    Reject(DialogId, Status, Content<'a>),
    /// [`ring_reliably`](super::UserAgent::ring_reliably)
    RingReliably(DialogId, Status, Content<'a>),
    /// [`prack`](super::UserAgent::prack)
    Prack(DialogId, u64, Content<'a>),
    /// [`respond`](super::UserAgent::respond)
    Respond(ServerTxn, Status, Content<'a>),
    /// [`cancel_request`](super::UserAgent::cancel_request)
    CancelRequest(RequestId),
    /// [`subscribe`](super::UserAgent::subscribe)
    Subscribe(NewSubscription<'a>),
    /// [`subscribe_in`](super::UserAgent::subscribe_in)
    SubscribeIn(DialogId, NewSubscription<'a>),
    /// [`unsubscribe`](super::UserAgent::unsubscribe)
    Unsubscribe(SubscriptionId, Content<'a>),
    /// [`register`](super::UserAgent::register)
    Register(NewRegistration<'a>),
    /// [`register_again`](super::UserAgent::register_again)
    RegisterAgain(RegistrationId),
    /// [`unregister`](super::UserAgent::unregister)
    Unregister(RegistrationId),
    /// [`publish`](super::UserAgent::publish)
    Publish(NewPublication<'a>),
    /// [`publish_change`](super::UserAgent::publish_change)
    PublishChange(PublicationId, Content<'a>),
    /// [`unpublish`](super::UserAgent::unpublish)
    Unpublish(PublicationId, Content<'a>),
    /// [`refer`](super::UserAgent::refer)
    Refer(NewRefer<'a>),
    /// [`refer_in`](super::UserAgent::refer_in)
    ReferIn(DialogId, NewRefer<'a>),
    /// [`notify`](super::UserAgent::notify)
    Notify(SubscriptionId, Notice, Content<'a>),
    /// [`hang_up`](super::UserAgent::hang_up)
    HangUp(DialogId, Content<'a>),
    /// [`bye`](super::UserAgent::bye)
    Bye(DialogId, Content<'a>),
    /// [`request`](super::UserAgent::request)
    Request(NewRequest<'a>),
    /// [`request_in`](super::UserAgent::request_in)
    RequestIn(DialogId, Method<'a>, u64, Content<'a>),
}
