//! [`UserAgent`]: calls and all that goes on inside and around them (RFC 3261 §8–§15).
//!
//! A user agent places calls with [`invite`](UserAgent::invite), is told of calls with [`Event::Incoming`], and does by
//! itself what no application should have to know: the ACK and the PRACK, the repetition of the 2xx, the 487 after a CANCEL, the route
//! set, the numbers, credentials, 491 and its delays, session timers, the 481 for a dialog that is none.
//!
//! # An agent that answers
//!
//! ```no_run
//! use sip_core::message::{Content, Status};
//! use sip_core::ua::{Config, Event, UserAgent};
//! use sip_core::{Destination, Instant, Local, Machine, Output, Source, Transport};
//!
//! fn main() -> std::io::Result<()> {
//!     let socket = std::net::UdpSocket::bind("127.0.0.1:5060")?;
//!     let (local, start, mut buf) = (socket.local_addr()?, std::time::Instant::now(), [0; 65_536]);
//!     let clock = || Instant::from_micros(start.elapsed().as_micros() as u64);
//!     let mut seed = [0; 32]; // another one at each start: it mints the tags and Call-IDs
//!     getrandom::fill(&mut seed).expect("the system has entropy");
//!     let mut agent = UserAgent::new(Config::new(sip_core::Config::new(seed), "bob"));
//!     agent.listen(clock(), Local { transport: Transport::Udp, addr: local, advertised: None });
//!     let sdp = Content::body("application/sdp", b"v=0\r\n");
//!     loop {
//!         agent.advance(clock());
//!         while let Some(output) = agent.poll() {
//!             let Output::Transmit(transmit) = output else { continue };
//!             let Destination::Datagram { remote, .. } = transmit.to else { continue };
//!             socket.send_to(transmit.bytes, remote).ok(); // what is lost is sent again
//!         }
//!         let wait = agent.deadline().map(|at| at.since(clock()).max(std::time::Duration::from_micros(1)));
//!         socket.set_read_timeout(wait)?;
//!         let Ok((length, remote)) = socket.recv_from(&mut buf) else { continue };
//!         match agent.datagram(clock(), Source::Datagram { local, remote }, &buf[..length]) {
//!             Some(Event::Incoming { dialog, .. }) => drop(agent.accept(clock(), dialog, &sdp)),
//!             Some(Event::Request { txn, .. }) => drop(agent.respond(clock(), txn, Status::OK, &sdp)),
//!             _ => {}
//!         }
//!     }
//! }
//! ```
//!
//! # What a softphone does
//!
//! | to | command | and then |
//! |---|---|---|
//! | call | [`invite`](UserAgent::invite) with an offer, or without | [`Progress`](Event::Progress), [`Answered`](Event::Answered); with `wants_answer` [`ack`](UserAgent::ack). The ACK goes by itself otherwise |
//! | give up, refuse | [`cancel`](UserAgent::cancel), [`reject`](UserAgent::reject) | [`Refused`](Event::Refused), [`Ended`](Event::Ended) |
//! | be called | [`ring`](UserAgent::ring), [`accept`](UserAgent::accept) after [`Incoming`](Event::Incoming) | [`Established`](Event::Established) with the ACK, and with that of each re-INVITE |
//! | hold, take back | [`request_in`](UserAgent::request_in)`(dialog, Method::Invite, …)` with the session that says so: bodies are opaque here | [`Response`](Event::Response); the peer's come as [`Request`](Event::Request), to [`respond`](UserAgent::respond) |
//! | say something, send digits | `request_in` with [`Info`](Method::Info) or [`Message`](Method::Message); to get them, name them in [`Config::methods`] | `Response` |
//! | hang up | [`bye`](UserAgent::bye), or [`hang_up`](UserAgent::hang_up) in any state | `Ended` |
//! | transfer | [`refer_in`](UserAgent::refer_in); with [`refer_to`](UserAgent::refer_to) to the other party of a second call, which takes the place of both | [`Notified`](Event::Notified) with a body `message/sipfrag` (`SIP/2.0 200 OK`), then [`SubscriptionEnded`](Event::SubscriptionEnded); who transfers hangs up |
//! | be transferred | [`Event::Refer`] (REFER in `Config::methods`): [`respond`](UserAgent::respond) with 202, `invite` what [`ReferTo::invitation`](crate::headers::ReferTo::invitation) says | [`notify`](UserAgent::notify) with the sipfrag, at last with [`Notice::Terminated`], the reason [`Ended::NoResource`]. What the REFER says in Referred-By goes into the INVITE (RFC 3892) |
//! | register | [`register`](UserAgent::register), credentials in [`Config::credentials`] (feature `auth`) | [`Registered`](Event::Registered) each time, [`RegistrationRefused`](Event::RegistrationRefused) |
//! | see who is there | [`subscribe`](UserAgent::subscribe) | `Notified` until `SubscriptionEnded` |
//!
//! Two things are called alike elsewhere: [`Event::Ended`] is of calls, with a [`Reason`], and [`Ended`] says why a *subscription* is over. The `user`
//! of a command is a number of yours that its events carry; [`Config::user`] is the user part of Contact.
//!
//! # Handles
//!
//! A call is named by its [`DialogId`]; an INVITE of this side, which may be answered by several, by its [`Invitation`](crate::Invitation); another
//! request of this side by its [`RequestId`](crate::RequestId), however often it has to be sent; a request of the peer that waits for an answer by its
//! [`ServerTxn`].
//!
//! # The states of a session
//!
//! ```text
//!  callee   Incoming ──► ringing ──accept──► up ─────bye──► terminating ──┐
//!                           │ reject, CANCEL, BYE │ BYE, no ACK, no refresh │ answered, or not
//!                           ▼                     ▼                         ▼
//!                         Ended                 Ended                     Ended
//!                           ▲                     ▲                         ▲
//!                           │ 3xx–6xx, 199        │                         │
//!  caller   invite ────► early, one a fork ──2xx─► up ─────bye──► terminating ──┘
//! ```
//!
//! What ends by itself: a call that the user never answers (500 after [`Timers::unanswered_invite`]), one whose INVITE says that it expires, a 2xx
//! without ACK or a reliable provisional response without PRACK (64·T1), a session with a timer that is not refreshed, a call of this side that
//! rings too long ([`Timers::ringing`]). A call that is up and has no timer lasts until somebody hangs up.
//!
//! [`Timers::unanswered_invite`]: crate::transaction::Timers::unanswered_invite
//! [`Timers::ringing`]: crate::transaction::Timers::ringing

mod abilities;
mod alarms;
mod answering;
mod contact;
mod event;
mod hanging_up;
mod incoming;
mod inside;
#[cfg(feature = "snapshot")]
mod kept;
mod machine;
mod notifier;
mod outbound;
mod outgoing;
mod publication;
mod record;
mod refresh;
mod registration;
mod reliable;
mod requests;
mod retry;
mod subscriber;
mod subscriptions;
mod upkeep;
mod validate;
mod view;

pub use crate::dialog::offer::Offer;
pub use crate::dialog::session_timer::SessionTimer;
pub use crate::dialog::subscription::{Ended, Notice};
pub use event::{
    Command, Event, Made, NewInvite, NewPublication, NewRefer, NewRegistration, NewRequest, NewSubscription,
    Reason, Stray,
};
pub use view::{DialogView, SessionState};

use crate::auth::Credentials;
use crate::config::Config as CoreConfig;
use crate::dialog::Id;
use crate::dialog::offer::Carrier;
use crate::dialog::session_timer::Terms;
use crate::endpoint::{Misuse, Txn};
use crate::handle::{DialogId, Key, ServerTxn, Slab};
use crate::headers::{Name, TargetDialog};
use crate::message::{Content, Method, Request, Status, Writer};
use crate::time::Instant;
use crate::transaction::{Index, Item, Layer, State};
use abilities::{ACCEPT, Abilities, NOREFERSUB, SUPPORTED};
use alarms::Alarms;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use contact::Contacts;
use core::time::Duration;
use outgoing::Call;
use record::{Phase, Record};
use requests::Outgoing;
use subscriptions::Subscription;
use upkeep::Upkeep;

/// What a user agent is configured with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Seed, timers and limits.
    pub core: CoreConfig,
    /// The value of From in requests outside dialogs, without a tag: `"Alice" <sip:alice@example.com>`. By default
    /// `<sip:USER@anonymous.invalid>`.
    pub identity: String,
    /// The user part of its Contact.
    pub user: String,
    /// The value of User-Agent and Server; empty, as by default: none.
    pub product: String,
    /// What challenges are answered with. **Without the feature `auth` none is**: a 401 or 407 is then the last word. By default
    /// nothing.
    pub credentials: Vec<Credentials>,
    /// The methods that the user answers besides INVITE and UPDATE: they come as [`Event::Request`], REFER as [`Event::Refer`], inside dialogs and
    /// outside. Others are refused with 405 or 501. By default there are none: a MESSAGE, an INFO or a REFER gets 405.
    pub methods: Vec<Method<'static>>,
    /// The event packages that the peer may subscribe to: [`Event::Subscribe`]. For others it gets 489. By default none.
    pub packages: Vec<String>,
    /// The least and the most that subscriptions of the peer last. What would last less gets 423, but for what is wanted once or for an hour and
    /// more (RFC 6665 §4.2.1.1). By default nothing is too brief, and the most is a day.
    pub min_subscription: Duration,
    /// The most.
    pub max_subscription: Duration,
    /// Option tags that the user takes care of: they go into Supported, and may be required. By default none.
    pub extensions: Vec<String>,
    /// What becomes of the second and later forks that answer an INVITE: kept as calls of their own, or hung up as soon
    /// as they are acknowledged, as by default (RFC 3261 §13.2.2.4).
    pub keep_forks: bool,
    /// How many addresses a call is redirected to by 3xx, in all, before the response goes to the user (RFC 3261 §8.1.3.4). By default
    /// none: every 3xx is the user's.
    pub redirects: u8,
    /// Whether reliable provisional responses are acknowledged without asking, as by default; else with [`prack`](UserAgent::prack).
    pub auto_prack: bool,
    /// Whether a re-INVITE is taken while the 2xx of this side has no ACK yet, as long as no offer of this side is open (RFC 5407
    /// §3.1.4), as by default; else it gets 491.
    pub reinvite_before_ack: bool,
    /// How long sessions last without a refresh (RFC 4028). By default [`SessionTimer::DEFAULT`].
    pub session_timer: SessionTimer,
    /// Whether [`Event::Changed`] tells when the state of a dialog has changed, for who keeps snapshots of them (feature `snapshot`). By
    /// default not.
    pub tell_changes: bool,
}

impl Config {
    /// A user agent of this user. Its From is `<sip:alice@anonymous.invalid>` until [`identity`](Self::identity) is set.
    pub fn new(core: CoreConfig, user: &str) -> Self {
        Self {
            core,
            identity: alloc::format!("<sip:{user}@anonymous.invalid>"),
            user: user.into(),
            product: String::new(),
            credentials: Vec::new(),
            methods: Vec::new(),
            packages: Vec::new(),
            min_subscription: Duration::ZERO,
            max_subscription: Duration::from_secs(86_400),
            extensions: Vec::new(),
            keep_forks: false,
            redirects: 0,
            auto_prack: true,
            reinvite_before_ack: true,
            session_timer: SessionTimer::DEFAULT,
            tell_changes: false,
        }
    }
}

/// A user agent (RFC 3261 §6).
pub struct UserAgent {
    layer: Layer,
    config: Config,
    events: VecDeque<Event<'static>>,
    dialogs: Slab<Record>,
    /// Dialogs by Call-ID and local tag.
    by_set: Index,
    calls: Slab<Call>,
    /// What each transaction is for; its key is the transaction's token in the layer.
    work: Slab<Work>,
    subscriptions: Slab<Subscription>,
    /// Subscriptions that were asked for outside dialogs and may still be notified by forks, by Call-ID and local tag.
    asked: Index,
    /// Registrations and publications.
    upkeeps: Slab<Upkeep>,
    /// And where they are, by Call-ID, and by the connections that they are bound to.
    kept_up: Index,
    bound: Index,
    /// Dialogs whose change is to be told.
    changed: Vec<Key>,
    alarms: Alarms,
    abilities: Abilities,
    contacts: Contacts,
}

/// Of these there is mostly one.
type Few<T> = smallvec::SmallVec<[T; 1]>;

/// The place of a [`Work`].
type WorkId = Key;

/// What transactions are for.
enum Work {
    /// A request of this side.
    Request(Outgoing),
    /// A request of the peer that the user answers.
    Serving(Serving),
}

/// A request of the peer that the user answers.
struct Serving {
    dialog: Option<Key>,
    kind: Kind,
    /// Where the peer wants to be reached once it is accepted; empty: where it was.
    target: Box<[u8]>,
    /// Outside dialogs: the value of Contact in a 2xx that must have one.
    contact: Arc<[u8]>,
    /// The session timer that a 2xx agrees to, and whether that requires the extension.
    terms: Option<(Terms, bool)>,
    /// For how long a 2xx to a SUBSCRIBE or REFER grants what it asks for.
    lasts: Duration,
    /// The peer's number of it, inside a dialog.
    cseq: u32,
    /// It has no final response yet.
    waits: bool,
    /// It brought an offer.
    offered: bool,
    /// An UPDATE that came before the session was up.
    early: bool,
}

/// What kind of request it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The INVITE that made the dialog: answered by its [`DialogId`].
    Call,
    Reinvite,
    Update,
    Prack,
    /// A SUBSCRIBE of the peer.
    Subscribe(Key),
    /// A REFER, and what is told by.
    Refer(Option<Key>),
    Other,
}

impl Kind {
    /// Whether a 1xx or 2xx to it says where this side is reached (RFC 3261 §20.10, table 2; RFC 3515 §2.4.2, RFC 6665 §8.1).
    const fn has_contact(self) -> bool {
        !matches!(self, Self::Prack | Self::Other)
    }

    /// The method, as far as it matters to what a refusal ends.
    const fn method(self) -> Method<'static> {
        match self {
            Self::Call | Self::Reinvite => Method::Invite,
            Self::Update => Method::Update,
            Self::Prack => Method::Prack,
            Self::Subscribe(_) => Method::Subscribe,
            Self::Refer(_) => Method::Refer,
            Self::Other => Method::Options,
        }
    }

    /// What an offer in it belongs to; nothing if what it carries is none of the session's.
    const fn carrier(self) -> Option<Carrier> {
        match self {
            Self::Call | Self::Reinvite => Some(Carrier::PeerInvite),
            Self::Update => Some(Carrier::PeerUpdate),
            Self::Prack => Some(Carrier::PeerPrack),
            Self::Subscribe(_) | Self::Refer(_) | Self::Other => None,
        }
    }
}

impl UserAgent {
    /// A user agent without addresses: state them with [`listen`](crate::Machine::listen).
    ///
    /// A product or user that can't stand in a header is left out.
    pub fn new(mut config: Config) -> Self {
        let mut layer = Layer::new(config.core.clone());
        layer.one_via = true;
        if !crate::message::is_text(&config.product) {
            config.product.clear();
        }
        if crate::uri::Uri::parse(alloc::format!("sip:{}@h", config.user).as_bytes()).is_err() {
            config.user.clear();
        }
        for names in [&mut config.extensions, &mut config.packages] {
            names.retain(|name| crate::message::lex::is_token(name.as_bytes()));
        }
        let abilities = Abilities::of(&config);
        Self {
            layer,
            config,
            events: VecDeque::new(),
            dialogs: Slab::new(),
            by_set: Index::default(),
            calls: Slab::new(),
            work: Slab::new(),
            subscriptions: Slab::new(),
            asked: Index::default(),
            upkeeps: Slab::new(),
            kept_up: Index::default(),
            bound: Index::default(),
            changed: Vec::new(),
            alarms: Alarms::default(),
            abilities,
            contacts: Contacts::default(),
        }
    }

    /// Attaches a number of the caller's to a dialog; events about it carry the number.
    ///
    /// # Errors
    /// [`Misuse::Gone`]
    pub fn set_user(&mut self, now: Instant, dialog: DialogId, user: u64) -> Result<(), Misuse> {
        self.enter(now);
        self.alive(dialog)?;
        if let Some(record) = self.dialogs.get_mut(dialog.0) {
            record.user = user;
        }
        Ok(())
    }

    /// All dialogs with a session that is not over.
    pub fn dialogs(&self) -> impl Iterator<Item = DialogId> {
        let all = self.dialogs.iter().filter(|(_, record)| record.session.phase != Phase::Over);
        all.map(|(key, _)| DialogId(key))
    }

    /// The dialog with this Call-ID and these tags (RFC 3261 §12). Takes as long among a million as among ten.
    pub fn dialog(&self, call_id: &[u8], local_tag: &[u8], remote_tag: &[u8]) -> Option<DialogId> {
        let found = self.find_id(&Id { call_id, local_tag, remote_tag }).map(DialogId);
        found.filter(|dialog| self.alive(*dialog).is_ok())
    }

    /// The dialogs with this Call-ID and local tag: all forks that answered one INVITE of this side.
    pub fn dialog_set(&self, call_id: &[u8], local_tag: &[u8]) -> impl Iterator<Item = DialogId> {
        let set = Id { call_id, local_tag, remote_tag: b"" };
        let places = self.by_set.all(set.set_hash(&self.layer.hash)).filter_map(|place| {
            let found = self.dialogs.at(place)?;
            found.dialog.id().is_of_set(&set).then(|| self.dialogs.key_at(place)).flatten()
        });
        // Collected, because the two tags need not live as long as the iterator.
        places.map(DialogId).filter(|dialog| self.alive(*dialog).is_ok()).collect::<Vec<_>>().into_iter()
    }

    /// The name of a dialog for others: a value of Replaces for [`NewInvite::replaces`] (RFC 3891 §3).
    ///
    /// # Errors
    /// [`Misuse::Gone`]
    pub fn replaces(&self, dialog: DialogId) -> Result<String, Misuse> {
        let Id { call_id, local_tag, remote_tag } = self.alive(dialog)?.dialog.id();
        let text = |bytes| String::from_utf8_lossy(bytes);
        // A peer of RFC 2543 has no tag.
        let remote_tag = if remote_tag.is_empty() { b"0" } else { remote_tag };
        Ok(alloc::format!("{};to-tag={};from-tag={}", text(call_id), text(remote_tag), text(local_tag)))
    }

    /// The peer of a dialog, to be called in the place of this side: a value of Refer-To with the Replaces in its URI, as an attended transfer gives it
    /// to the other call (RFC 5589 §7.1).
    ///
    /// # Errors
    /// [`Misuse::Gone`]
    pub fn refer_to(&self, dialog: DialogId) -> Result<String, Misuse> {
        let target = String::from_utf8_lossy(self.alive(dialog)?.dialog.names.target());
        let replaces = crate::uri::escaped(&self.replaces(dialog)?);
        let mark = if target.contains('?') { '&' } else { '?' };
        Ok(alloc::format!("<{target}{mark}Replaces={replaces}>"))
    }

    /// The name of a dialog for its peer: a value of Target-Dialog, in a request outside that is about it (RFC 4538 §7).
    ///
    /// # Errors
    /// [`Misuse::Gone`]
    pub fn target_dialog(&self, dialog: DialogId) -> Result<String, Misuse> {
        let Id { call_id, local_tag, remote_tag } = self.alive(dialog)?.dialog.id();
        let text = |bytes| String::from_utf8_lossy(bytes);
        Ok(alloc::format!("{};local-tag={};remote-tag={}", text(call_id), text(local_tag), text(remote_tag)))
    }

    /// The dialog that the Target-Dialog of a request names, if it is one of this side's with the sender's tag and its own (RFC 4538 §6): who knows them
    /// has seen the dialog. What that allows is the user's to decide.
    pub fn dialog_targeted(&self, request: &Request<'_>) -> Option<DialogId> {
        let target = request.get::<TargetDialog<'_>>().ok().flatten()?;
        self.dialog(target.call_id, target.remote_tag()?, target.local_tag()?)
    }

    /// Where the offer and answer exchange of a dialog stands.
    ///
    /// # Errors
    /// [`Misuse::Gone`]
    pub fn offer(&self, dialog: DialogId) -> Result<Offer, Misuse> {
        Ok(self.alive(dialog)?.session.exchange.state())
    }

    /// All connections that are open or being opened.
    pub fn flows(&self) -> impl Iterator<Item = crate::FlowId> {
        self.layer.flow_ids()
    }

    /// The state of a transaction; nothing if it is over.
    pub fn state(&self, txn: Txn) -> Option<State> {
        self.layer.state(txn)
    }

    /// The state of a dialog has changed: that is told when all is done that the call at hand brings.
    fn note_change(&mut self, key: Key) {
        if self.config.tell_changes && !self.changed.contains(&key) {
            self.changed.push(key);
        }
    }

    fn push(&mut self, event: Event<'static>) {
        self.events.push_back(event);
        self.layer.out.push(Item::Event);
    }

    /// Notes what a transaction is for; the token that the transaction is to carry. A transaction may end as it begins, so
    /// this comes first.
    fn enlist(&mut self, work: Work) -> WorkId {
        self.work.insert(work)
    }

    fn serving(&self, token: u64) -> Option<(WorkId, &Serving)> {
        match self.work.get(work_of(token)?)? {
            Work::Serving(serving) => Some((work_of(token)?, serving)),
            Work::Request(_) => None,
        }
    }

    fn serving_mut(&mut self, txn: ServerTxn) -> Option<&mut Serving> {
        match self.work.get_mut(work_of(self.layer.user(Txn::Server(txn))?)?)? {
            Work::Serving(serving) => Some(serving),
            Work::Request(_) => None,
        }
    }

    fn outgoing(&self, work: WorkId) -> Option<&Outgoing> {
        match self.work.get(work)? {
            Work::Request(request) => Some(request),
            Work::Serving(_) => None,
        }
    }

    fn outgoing_mut(&mut self, work: WorkId) -> Option<&mut Outgoing> {
        match self.work.get_mut(work)? {
            Work::Request(request) => Some(request),
            Work::Serving(_) => None,
        }
    }

    /// Answers a request that needs no decision.
    fn answer(&mut self, txn: ServerTxn, status: Status, headers: impl FnOnce(&mut Writer<'_>)) {
        let abilities = &self.abilities;
        // It was just received: nothing can stand against a first final response.
        let _ = self.layer.respond(txn, status, &Content::NONE, |writer| {
            abilities.write_product(writer, Name::Server);
            headers(writer);
        });
    }
}

/// The token of a work.
const fn token_of(work: WorkId) -> u64 {
    work.to_bits() + 1
}

fn work_of(token: u64) -> Option<WorkId> {
    token.checked_sub(1).map(Key::from_bits)
}
