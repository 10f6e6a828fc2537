//! [`UserAgent`]: calls (RFC 3261 §8–§15).
//!
//! A user agent places calls with [`invite`](UserAgent::invite), is told of calls with [`Event::Incoming`], and does by
//! itself what no application should have to know: the ACK, the repetition of the 2xx, the 487 after a CANCEL, the route
//! set, the numbers, the 481 for a dialog that is none. A call is named by its [`DialogId`]; an INVITE
//! of this side, which may be answered by several, by its [`Invitation`].

mod event;
mod incoming;
mod machine;
mod outgoing;
mod requests;
mod session;
mod validate;

pub use event::{Command, Event, Made, NewInvite, NewRequest, Reason, Stray};

use crate::config::Config as CoreConfig;
use crate::dialog::{self, Ends, Side};
use crate::endpoint::{Misuse, Txn};
use crate::handle::{DialogId, Invitation, Key, ServerTxn, Slab};
use crate::headers::Name;
use crate::message::{Message, Writer};
use crate::time::Instant;
use crate::transaction::{Index, Item, Lanes, Layer, State};
use crate::transport::Transport;
use alloc::collections::VecDeque;
use alloc::string::String;
use outgoing::Call;
use session::{Phase, Session};

/// What a user agent is configured with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Seed, timers and limits.
    pub core: CoreConfig,
    /// The value of From in requests outside dialogs, without a tag: `"Alice" <sip:alice@example.com>`.
    pub identity: String,
    /// The user part of its Contact.
    pub user: String,
    /// The value of User-Agent and Server; empty: none.
    pub product: String,
    /// What becomes of the second and later forks that answer an INVITE: kept as calls of their own, or hung up as soon
    /// as they are acknowledged (RFC 3261 §13.2.2.4).
    pub keep_forks: bool,
}

impl Config {
    /// A user agent of this user. Its From is `<sip:alice@anonymous.invalid>` until [`identity`](Self::identity) is set.
    pub fn new(core: CoreConfig, user: &str) -> Self {
        Self {
            core,
            identity: alloc::format!("<sip:{user}@anonymous.invalid>"),
            user: user.into(),
            product: String::new(),
            keep_forks: false,
        }
    }
}

/// A user agent (RFC 3261 §6).
pub struct UserAgent {
    layer: Layer,
    config: Config,
    events: VecDeque<Event<'static>>,
    sessions: Slab<Session>,
    calls: Slab<Call>,
    /// Dialogs by Call-ID and both tags.
    dialogs: Index,
    /// What each transaction is for; its key is the transaction's token in the layer.
    work: Slab<Work>,
    /// Two timers for each session: the 2xx again, and its end.
    session_timers: Lanes,
    /// One timer for each call: 64·T1 after the first 2xx.
    call_timers: Lanes,
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// The INVITE of a call of ours.
    Invite(Invitation),
    /// The INVITE that a session began with.
    Incoming(DialogId),
    /// The BYE that ends a session.
    Bye(DialogId),
    /// A request of the user's, perhaps inside a dialog, and what its timeout ends there.
    Request { dialog: Option<DialogId>, user: u64, on_timeout: Ends },
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
        Self {
            layer,
            config,
            events: VecDeque::new(),
            sessions: Slab::new(),
            calls: Slab::new(),
            dialogs: Index::default(),
            work: Slab::new(),
            session_timers: Lanes::default(),
            call_timers: Lanes::default(),
        }
    }

    /// Attaches a number of the caller's to a dialog; events about it carry the number.
    ///
    /// # Errors
    /// [`Misuse::Gone`]
    pub fn set_user(&mut self, now: Instant, dialog: DialogId, user: u64) -> Result<(), Misuse> {
        self.enter(now);
        self.session(dialog)?;
        if let Some(session) = self.sessions.get_mut(dialog.0) {
            session.user = user;
        }
        Ok(())
    }

    /// All dialogs that are not over.
    pub fn dialogs(&self) -> impl Iterator<Item = DialogId> {
        self.sessions.iter().filter(|(_, session)| session.phase != Phase::Over).map(|(key, _)| DialogId(key))
    }

    /// The state of a transaction; nothing if it is over.
    pub fn state(&self, txn: Txn) -> Option<State> {
        self.layer.state(txn)
    }

    /// A session that is not over for its user.
    fn session(&self, dialog: DialogId) -> Result<&Session, Misuse> {
        self.sessions.get(dialog.0).filter(|session| session.phase != Phase::Over).ok_or(Misuse::Gone)
    }

    /// The session that a message belongs to.
    fn find(&self, message: &Message<'_>, side: Side) -> Option<Key> {
        self.find_key(dialog::by_message(&self.layer.hash, message, side))
    }

    fn find_key(&self, key: u128) -> Option<Key> {
        let is = |place| {
            self.sessions.at(place).is_some_and(|session| session.dialog.key(&self.layer.hash) == key)
        };
        self.sessions.key_at(self.dialogs.get(key as u64, is)?)
    }

    fn push(&mut self, event: Event<'static>) {
        self.events.push_back(event);
        self.layer.out.push(Item::Event);
    }

    /// Notes what a transaction is for; the token that the transaction is to carry. A transaction may end as it begins, so
    /// this comes first.
    fn enlist(&mut self, work: Work) -> u64 {
        self.work.insert(work).to_bits() + 1
    }

    /// What the transaction with this token is for; zero is the token of those that are for nothing more.
    fn work(&self, token: u64) -> Option<Work> {
        self.work.get(Key::from_bits(token.checked_sub(1)?)).copied()
    }

    fn unassign(&mut self, token: u64) -> Option<Work> {
        self.work.remove(Key::from_bits(token.checked_sub(1)?))
    }

    /// Answers a request that needs no decision.
    fn answer(
        &mut self,
        txn: ServerTxn,
        status: crate::message::Status,
        headers: impl FnOnce(&mut Writer<'_>),
    ) {
        let product = &self.config.product;
        // It was just received: nothing can stand against a first final response.
        let _ = self.layer.respond(txn, status, &crate::message::Content::NONE, |writer| {
            if !product.is_empty() {
                writer.field(Name::Server, &[product.as_bytes()]);
            }
            headers(writer);
        });
    }
}

/// The methods that a user agent takes (RFC 3261 §20.5).
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS";
/// The body that it takes.
const ACCEPT: &str = "application/sdp";

/// `<sip:user@sent-by;transport=…>`: where requests of a dialog reach this side.
fn contact(writer: &mut Writer<'_>, user: &str, transport: Transport, sent_by: &str) {
    let scheme: &[u8] = if matches!(transport, Transport::Tls) { b"<sips:" } else { b"<sip:" };
    let at: &[u8] = if user.is_empty() { b"" } else { b"@" };
    let (param, value): (&[u8], &[u8]) = match transport {
        Transport::Udp | Transport::Tls => (b"", b""),
        other => (b";transport=", other.param().as_bytes()),
    };
    writer.field(Name::Contact, &[scheme, user.as_bytes(), at, sent_by.as_bytes(), param, value, b">"]);
}
