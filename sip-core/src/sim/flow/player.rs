//! The user of an agent in a flow.

use super::super::calls::address;
use super::super::ledger::Ledger;
use super::super::scenario::words::{is_method, key, need};
use super::{Diary, Happened, node};
use crate::endpoint::{Cause, Misuse};
use crate::handle::{DialogId, Invitation, RegistrationId, RequestId, ServerTxn, SubscriptionId};
use crate::headers::Name;
use crate::machine::TransactionUser;
use crate::message::{Content, Message, Method, Request, Status};
use crate::time::Instant;
use crate::transport::{Target, Transport};
use crate::ua::{
    Ended, Event, NewInvite, NewRefer, NewRegistration, NewRequest, NewSubscription, Notice, UserAgent,
};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;

const SESSION: Content<'static> = Content::body("application/sdp", b"v=0\r\n");
const STATE: Content<'static> = Content::body("application/pidf+xml", b"<presence/>");
const CHALLENGE: Content<'static> =
    Content::headers(&[("WWW-Authenticate", "Digest realm=\"r\", nonce=\"n\", algorithm=MD5, qop=\"auth\"")]);

/// What users can do: the word, how many words must stand behind it, and which may follow them.
const COMMANDS: [(&str, usize, &[&str]); 18] = [
    ("invite", 1, &["bare", "to=", "replaces=", "expires="]),
    ("ring", 2, &["reliably", "offer"]),
    ("accept", 1, &["bare"]),
    ("reject", 2, &["challenge", "to="]),
    ("cancel", 1, &[]),
    ("bye", 1, &[]),
    ("ack", 1, &[]),
    ("prack", 1, &["bare"]),
    ("send", 2, &["bare"]),
    ("stop", 0, &[]),
    ("answer", 1, &["bare", "offer", "challenge"]),
    ("request", 1, &["to="]),
    ("register", 0, &["to="]),
    ("unregister", 0, &[]),
    ("subscribe", 0, &["to="]),
    ("unsubscribe", 0, &[]),
    ("notify", 1, &[]),
    ("refer", 1, &["to="]),
];

/// Whether words are a command.
fn check(words: &[&str]) -> Result<(), String> {
    let [verb, rest @ ..] = words else { return Err("there is no command".into()) };
    let Some((_, most, options)) = COMMANDS.iter().find(|(known, ..)| known == verb) else {
        let all: Vec<&str> = COMMANDS.iter().map(|(verb, ..)| *verb).collect();
        return Err(format!("{verb:?} is no command; there are {}", all.join(", ")));
    };
    let Some((fixed, more)) = rest.split_at_checked(*most) else {
        return Err(format!("{most} words must stand behind {verb}"));
    };
    let is_option = |word: &&str| {
        options.iter().any(|known| match known.strip_suffix('=') {
            Some(name) => word.split_once('=').is_some_and(|(key, value)| key == name && !value.is_empty()),
            None => known == word,
        })
    };
    if let Some(word) = more.iter().find(|word| !is_option(word)) {
        return Err(format!("{word:?} may not stand behind {verb}; there are {options:?}"));
    }
    let sound = match (*verb, fixed) {
        ("ring" | "reject", [_, status]) | ("answer", [status]) => {
            status.parse().is_ok_and(|it| Status::new(it).is_some())
        }
        ("send", [_, method]) | ("request", [method]) => is_method(method),
        ("notify", [state]) => ["active", "pending", "over"].contains(state),
        _ => true,
    };
    if sound { Ok(()) } else { Err(format!("{} is nothing for {verb}", fixed.join(" "))) }
}

/// When those who still talk hang up.
pub(super) const FAREWELL: Instant = Instant::from_millis(300_000);

/// The names of calls for Replaces, as who placed them knows them.
pub(super) type Names = Rc<RefCell<BTreeMap<String, String>>>;

/// A command.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) node: usize,
    at: Instant,
    after: Option<After>,
    words: Vec<String>,
    /// How it is refused.
    refusal: Option<String>,
}

/// What its user is told before it.
#[derive(Clone, Debug)]
pub(super) struct After {
    pub(super) words: String,
    /// For which time, from one.
    pub(super) nth: usize,
    /// When, where all goes well.
    pub(super) at: Instant,
}

impl Step {
    pub(super) fn read(
        at: Instant,
        node: usize,
        after: Option<After>,
        words: &[&str],
    ) -> Result<Self, String> {
        let (words, refusal) = match words {
            [words @ .., "!", refusal] => (words, Some((*refusal).into())),
            words => (words, None),
        };
        check(words)?;
        Ok(Self { node, at, after, words: words.iter().map(|word| (*word).into()).collect(), refusal })
    }
}

/// Does what the flow says, and writes down what it is told.
pub(super) struct Player {
    node: usize,
    transport: Transport,
    steps: VecDeque<Step>,
    diary: Diary,
    ledger: Rc<RefCell<Ledger>>,
    names: Names,
    farewell: Option<Instant>,
    /// What it was told, and when.
    told: Vec<(String, Instant)>,
    calls: BTreeMap<String, (Option<Invitation>, Option<DialogId>)>,
    /// The call of every dialog that it was told of: forks are one call, and so is a late copy of an INVITE.
    dialogs: BTreeMap<DialogId, String>,
    waiting: VecDeque<(ServerTxn, bool)>,
    subscriptions: Vec<SubscriptionId>,
    registration: Option<RegistrationId>,
    request: Option<RequestId>,
}

impl Player {
    pub(super) fn new(
        node: usize,
        transport: Transport,
        steps: Vec<Step>,
        diary: Diary,
        ledger: Rc<RefCell<Ledger>>,
        names: Names,
        farewell: Option<Instant>,
    ) -> Self {
        Self {
            node,
            transport,
            steps: steps.into(),
            diary,
            ledger,
            names,
            farewell,
            told: Vec::new(),
            calls: BTreeMap::new(),
            dialogs: BTreeMap::new(),
            waiting: VecDeque::new(),
            subscriptions: Vec::new(),
            registration: None,
            request: None,
        }
    }

    /// When the next command is due: so long after what its user is told before it as the flow says.
    fn next(&self) -> Option<Instant> {
        let step = self.steps.front()?;
        let Some(after) = &step.after else { return Some(step.at) };
        let (_, told) = self.told.iter().filter(|(told, _)| *told == after.words).nth(after.nth - 1)?;
        Some(*told + step.at.since(after.at))
    }

    fn dialog(&self, name: &str) -> Result<DialogId, Misuse> {
        self.calls.get(name).and_then(|call| call.1).ok_or(Misuse::Gone)
    }

    fn name(&self, is: impl Fn(&(Option<Invitation>, Option<DialogId>)) -> bool) -> String {
        let found = self.calls.iter().find(|(_, call)| is(call));
        found.map_or_else(|| "?".to_string(), |(name, _)| name.clone())
    }

    fn dialog_name(&self, dialog: DialogId) -> String {
        self.dialogs.get(&dialog).cloned().unwrap_or_else(|| "?".into())
    }

    fn target(&self, words: &[&str]) -> Result<(Target, String), String> {
        let to = match key(words, "to") {
            Some(name) => node(name)?,
            None => 1 - self.node.min(1),
        };
        Ok((Target { transport: self.transport, addr: address(to) }, super::uri(to, Transport::Udp)))
    }

    fn act(&mut self, now: Instant, machine: &mut UserAgent, step: &Step) -> Result<(), String> {
        let words: Vec<&str> = step.words.iter().map(String::as_str).collect();
        let (target, uri) = self.target(&words)?;
        let session = if words.contains(&"bare") { Content::NONE } else { SESSION };
        let offer = if words.contains(&"offer") { SESSION } else { Content::NONE };
        let status = |word: &str| need(word.parse().ok().and_then(Status::new), "the status");
        let done = match *words {
            ["invite", name, ..] => {
                let replaces = key(&words, "replaces").map(|name| self.names.borrow().get(name).cloned());
                let replaces = replaces.flatten().unwrap_or_default();
                let expires = key(&words, "expires").map(super::words::time).transpose()?;
                let headers = [("Subject", name)];
                let content = Content { headers: &headers, ..session };
                let invite = NewInvite {
                    target: Some(target),
                    content,
                    expires,
                    replaces: &replaces,
                    ..NewInvite::new(&uri)
                };
                machine.invite(now, &invite).map(|invitation| {
                    self.calls.insert(name.into(), (Some(invitation), None));
                })
            }
            ["ring", name, code, ..] if words.contains(&"reliably") => self.dialog(name).and_then(|dialog| {
                machine.ring_reliably(now, dialog, status(code).unwrap_or(Status::RINGING), &offer)
            }),
            ["ring", name, code, ..] => {
                let status = status(code)?;
                self.dialog(name).and_then(|dialog| machine.ring(now, dialog, status, &offer))
            }
            ["accept", name, ..] => {
                self.dialog(name).and_then(|dialog| machine.accept(now, dialog, &session))
            }
            ["reject", name, code, ..] => {
                let status = status(code)?;
                let contact = format!("<{uri};transport={}>", target.transport.param());
                let headers = [("Contact", &*contact)];
                let moved = (300..400).contains(&status.code());
                let content = match *words {
                    [_, _, _, "challenge", ..] => CHALLENGE,
                    _ => Content::headers(if moved { &headers } else { &[] }),
                };
                self.dialog(name).and_then(|dialog| machine.reject(now, dialog, status, &content))
            }
            ["cancel", name] => {
                let invitation = self.calls.get(name).and_then(|call| call.0);
                invitation.ok_or(Misuse::Gone).and_then(|invitation| machine.cancel(now, invitation))
            }
            ["bye", name] => self.dialog(name).and_then(|dialog| machine.bye(now, dialog, &Content::NONE)),
            ["ack", name] => self.dialog(name).and_then(|dialog| machine.ack(now, dialog, &SESSION)),
            ["prack", name, ..] => {
                self.dialog(name).and_then(|dialog| machine.prack(now, dialog, 0, &session).map(drop))
            }
            ["send", name, method, ..] => {
                let method = Method::new(method.as_bytes());
                let speaks = matches!(method, Method::Invite | Method::Update);
                let content = if speaks { session } else { Content::NONE };
                self.dialog(name)
                    .and_then(|dialog| machine.request_in(now, dialog, method, 0, &content))
                    .map(|request| self.request = Some(request))
            }
            ["stop"] => {
                self.request.ok_or(Misuse::Gone).and_then(|request| machine.cancel_request(now, request))
            }
            ["answer", code, ..] => {
                let status = status(code)?;
                let waiting = self.waiting.front().copied();
                if status.is_final() {
                    self.waiting.pop_front();
                }
                match waiting {
                    Some((txn, offers)) => {
                        let content = if words.contains(&"challenge") {
                            CHALLENGE
                        } else if offers && status.is_success() {
                            session
                        } else {
                            offer
                        };
                        machine.respond(now, txn, status, &content)
                    }
                    None => Err(Misuse::Gone),
                }
            }
            ["request", method, ..] => {
                let method = Method::new(method.as_bytes());
                let request = NewRequest { target: Some(target), ..NewRequest::new(method, &uri) };
                machine.request(now, &request).map(drop)
            }
            ["register", ..] => {
                let new =
                    NewRegistration { target: Some(target), ..NewRegistration::new(&uri, "<sip:user@h>") };
                machine.register(now, &new).map(|registration| self.registration = Some(registration))
            }
            ["unregister"] => {
                self.registration.ok_or(Misuse::Gone).and_then(|it| machine.unregister(now, it))
            }
            ["subscribe", ..] => {
                let new = NewSubscription { target: Some(target), ..NewSubscription::new(&uri, "presence") };
                machine.subscribe(now, &new).map(|subscription| self.subscriptions.push(subscription))
            }
            ["unsubscribe"] => self.last().and_then(|it| machine.unsubscribe(now, it, &Content::NONE)),
            ["notify", state] => {
                let over = Notice::Terminated { reason: Ended::NoResource, retry_after: None };
                let notice = match state {
                    "active" => Notice::Active,
                    "pending" => Notice::Pending,
                    _ => over,
                };
                self.last().and_then(|it| machine.notify(now, it, notice, &STATE))
            }
            ["refer", name, ..] => {
                let refer_to = format!("<{uri}>");
                self.dialog(name)
                    .and_then(|dialog| machine.refer_in(now, dialog, &NewRefer::new(&refer_to)))
                    .map(|subscription| self.subscriptions.push(subscription))
            }
            _ => Ok(()),
        };
        let done = done.err().map(|misuse| format!("{misuse:?}"));
        if done == step.refusal { Ok(()) } else { Err(done.unwrap_or_else(|| "not refused".into())) }
    }

    fn last(&self) -> Result<SubscriptionId, Misuse> {
        self.subscriptions.last().copied().ok_or(Misuse::Gone)
    }

    /// Who still talks hangs up, and takes back what it has said of itself.
    fn farewell(&mut self, now: Instant, machine: &mut UserAgent) {
        for invitation in self.calls.values().filter_map(|call| call.0) {
            let _ = machine.cancel(now, invitation);
        }
        for dialog in self.dialogs.keys() {
            let _ = machine.bye(now, *dialog, &Content::NONE);
        }
        for subscription in self.subscriptions.drain(..) {
            let over = Notice::Terminated { reason: Ended::NoResource, retry_after: None };
            let _ = machine.unsubscribe(now, subscription, &Content::NONE);
            let _ = machine.notify(now, subscription, over, &Content::NONE);
        }
        if let Some(registration) = self.registration {
            let _ = machine.unregister(now, registration);
        }
    }

    fn write(&mut self, now: Instant, words: String) {
        self.told.push((words.clone(), now));
        self.diary.borrow_mut().push(Happened { at: now, node: self.node, what: "<", words });
    }

    /// An event in words; nothing for what only says that something is over that was done.
    fn words(&mut self, event: &Event<'_>) -> Option<String> {
        Some(match event {
            Event::Incoming { dialog, request, .. } => {
                let name = name_of(request);
                self.calls.insert(name.clone(), (None, Some(*dialog)));
                format!("incoming {name}")
            }
            Event::Progress { invitation, dialog, wants_prack, response, .. } => {
                let name = self.name(|call| call.0 == Some(*invitation));
                if let (Some(dialog), Some(call)) = (dialog, self.calls.get_mut(&name)) {
                    call.1 = Some(*dialog);
                }
                if response.status_code() == 100 {
                    return None;
                }
                let prack = if *wants_prack { " prack" } else { "" };
                format!("progress {name} {}{prack}", response.status_code())
            }
            Event::Answered { invitation, dialog, wants_answer, .. } => {
                let name = self.name(|call| call.0 == Some(*invitation));
                if let Some(call) = self.calls.get_mut(&name) {
                    call.1 = Some(*dialog);
                }
                format!("answered {name}{}", if *wants_answer { " offer" } else { "" })
            }
            Event::Established { dialog, .. } => {
                format!("established {}", self.dialog_name(*dialog))
            }
            Event::Acknowledged { dialog, .. } => format!("acknowledged {}", self.dialog_name(*dialog)),
            Event::Refused { invitation, response, .. } => {
                let name = self.name(|call| call.0 == Some(*invitation));
                format!("refused {name} {}", response.status_code())
            }
            Event::Ended { dialog, reason, .. } => {
                format!("ended {} {reason:?}", self.dialog_name(*dialog))
            }
            Event::Request { txn, request, .. } => {
                let speaks = matches!(request.method(), Method::Invite | Method::Update | Method::Prack);
                self.waiting.push_back((*txn, speaks));
                format!("request {}", request.method())
            }
            Event::Withdrawn { txn } => {
                self.waiting.retain(|(waiting, _)| waiting != txn);
                "withdrawn".into()
            }
            // RFC 3261 §16.7: a 100 is not worth telling.
            Event::Response { response, .. } if response.status_code() == 100 => return None,
            Event::Response { response, wants_prack, wants_answer, .. } => {
                let more = if *wants_answer || *wants_prack { " offer" } else { "" };
                format!("{}{more}", response_words(response))
            }
            Event::Declined { request, status } => format!("declined {} {}", status.code(), request.method()),
            Event::Subscribe { txn, subscription, .. } => {
                self.waiting.push_back((*txn, false));
                if !self.subscriptions.contains(subscription) {
                    self.subscriptions.push(*subscription);
                }
                "subscribe".into()
            }
            Event::Refer { txn, subscription, .. } => {
                self.waiting.push_back((*txn, false));
                self.subscriptions.extend(*subscription);
                "refer".into()
            }
            Event::SubscriptionAnswered { response, .. } => format!("subscribed {}", response.status_code()),
            Event::Notified { notice, .. } => match notice {
                Notice::Active => "notified active".into(),
                Notice::Pending => "notified pending".into(),
                Notice::Terminated { .. } => "notified over".into(),
            },
            Event::SubscriptionEnded { reason, subscription, .. } => {
                self.subscriptions.retain(|known| known != subscription);
                format!("over {reason:?}")
            }
            Event::Registered { .. } => "registered".into(),
            Event::RegistrationRefused { response, .. } => format!("refused {}", response.status_code()),
            Event::RegistrationEnded { .. } => "unregistered".into(),
            Event::RefreshDue { dialog, .. } => format!("refresh due {}", self.dialog_name(*dialog)),
            Event::InvitationEnded { cause, .. } | Event::RequestEnded { cause, .. }
                if *cause != Cause::Completed =>
            {
                format!("failed {cause:?}")
            }
            _ => return None,
        })
    }
}

fn response_words(response: &Message<'_>) -> String {
    format!("response {} {}", response.status_code(), response.cseq().method)
}

/// The name of a call is its subject.
fn name_of(request: &Request<'_>) -> String {
    String::from_utf8_lossy(request.value(Name::Subject).unwrap_or_default()).into_owned()
}

impl TransactionUser<UserAgent> for Player {
    fn event(&mut self, now: Instant, machine: &mut UserAgent, event: Event<'_>) {
        self.ledger.borrow_mut().note(self.node, machine, &event);
        match &event {
            Event::Incoming { dialog, request, .. } => {
                self.dialogs.insert(*dialog, name_of(request));
            }
            Event::Progress { invitation, dialog: Some(dialog), .. }
            | Event::Answered { invitation, dialog, .. } => {
                self.dialogs.insert(*dialog, self.name(|call| call.0 == Some(*invitation)));
            }
            _ => {}
        }
        if let Some(words) = self.words(&event) {
            self.write(now, words);
        }
        if let Event::Answered { dialog, .. } = event {
            let replaces = machine.replaces(dialog).unwrap_or_default();
            self.names.borrow_mut().insert(self.dialog_name(dialog), replaces);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.next().into_iter().chain(self.farewell).min()
    }

    fn advance(&mut self, now: Instant, machine: &mut UserAgent) {
        if self.farewell.is_some_and(|at| at <= now) {
            self.farewell = None;
            self.steps.clear();
            return self.farewell(now, machine);
        }
        if self.next().is_none_or(|at| at > now) {
            return;
        }
        let Some(step) = self.steps.pop_front() else { return };
        let words = step.words.join(" ");
        self.diary.borrow_mut().push(Happened { at: now, node: self.node, what: ">", words });
        if let Err(what) = self.act(now, machine, &step) {
            // Over a bad network much can't be done; where all goes well, the flow is wrong.
            if self.diary_is_kept() {
                self.write(now, format!("{:?} can't be done: {what}", step.words.join(" ")));
            }
        }
    }
}

impl Player {
    const fn diary_is_kept(&self) -> bool {
        self.farewell.is_none()
    }
}
