//! The verbs of a user agent.

use super::{Command, Config, Event, Made, Stray, UserAgent};
use crate::dialog::subscription::Notice;
use crate::endpoint::{Misuse, Rejected, Source, Stats, Txn};
use crate::handle::{
    DialogId, Invitation, PublicationId, RegistrationId, RequestId, ServerTxn, SubscriptionId,
};
use crate::machine::Machine;
use crate::message::{Content, Error, Message, Parsed, Status};
use crate::time::Instant;
use crate::transaction::{Heard, Told};
use core::net::SocketAddr;
use core::time::Duration;

/// What a message means, without the message.
#[derive(Clone, Copy)]
pub(super) enum Meaning {
    Incoming { dialog: DialogId, replaces: Option<DialogId> },
    Established { dialog: DialogId, user: u64 },
    Acknowledged { dialog: DialogId, user: u64 },
    Request { txn: ServerTxn, dialog: Option<DialogId>, user: u64 },
    Progress { invitation: Invitation, user: u64, dialog: Option<DialogId>, wants_prack: bool },
    Answered { invitation: Invitation, user: u64, dialog: DialogId, wants_answer: bool },
    Refused { invitation: Invitation, user: u64 },
    TurnedAway { invitation: Invitation, user: u64 },
    SubscriptionAnswered { subscription: SubscriptionId, user: u64 },
    Notified { subscription: SubscriptionId, user: u64, notice: Notice },
    Subscribe { txn: ServerTxn, subscription: SubscriptionId, user: u64, refresh: bool, expires: Duration },
    Refer { txn: ServerTxn, dialog: Option<DialogId>, user: u64, subscription: Option<SubscriptionId> },
    Registered { registration: RegistrationId, user: u64, expires: Duration, public: Option<SocketAddr> },
    RegistrationRefused { registration: RegistrationId, user: u64 },
    Published { publication: PublicationId, user: u64, expires: Duration },
    PublicationRefused { publication: PublicationId, user: u64 },
    Response { id: RequestId, user: u64, dialog: Option<DialogId>, wants_prack: bool, wants_answer: bool },
    Declined(Status),
    Served(Option<DialogId>),
    Rejected(Error, Option<Status>),
    Stray,
    StrayAck,
}

impl<'b> Event<'b> {
    /// A message with what it means.
    fn of(meaning: Meaning, source: Source, message: Message<'b>) -> Self {
        if let Meaning::Rejected(error, status) = meaning {
            return Self::Rejected(Rejected::new(message, error, status, source));
        }
        match (message.classify(), meaning) {
            (Ok(request), Meaning::Incoming { dialog, replaces }) => {
                Self::Incoming { dialog, replaces, request, source }
            }
            (Ok(request), Meaning::Established { dialog, user }) => {
                Self::Established { dialog, user, request }
            }
            (Ok(request), Meaning::Acknowledged { dialog, user }) => {
                Self::Acknowledged { dialog, user, request }
            }
            (Ok(request), Meaning::Request { txn, dialog, user }) => {
                Self::Request { txn, dialog, user, request, source }
            }
            (Ok(request), Meaning::Notified { subscription, user, notice }) => {
                Self::Notified { subscription, user, notice, request }
            }
            (Ok(request), Meaning::Subscribe { txn, subscription, user, refresh, expires }) => {
                Self::Subscribe { txn, subscription, user, refresh, expires, request, source }
            }
            (Ok(request), Meaning::Refer { txn, dialog, user, subscription }) => {
                Self::Refer { txn, dialog, user, subscription, request, source }
            }
            (Ok(request), Meaning::Declined(status)) => Self::Declined { request, status },
            (Ok(request), Meaning::Served(dialog)) => Self::Served { dialog, request, status: Status::OK },
            (Ok(request), _) => Self::Stray(Stray::Ack(request)),
            (Err(response), Meaning::Progress { invitation, user, dialog, wants_prack }) => {
                Self::Progress { invitation, user, dialog, wants_prack, response }
            }
            (Err(response), Meaning::Answered { invitation, user, dialog, wants_answer }) => {
                Self::Answered { invitation, user, dialog, wants_answer, response }
            }
            (Err(response), Meaning::TurnedAway { invitation, user }) => {
                Self::TurnedAway { invitation, user, response }
            }
            (Err(response), Meaning::Refused { invitation, user }) => {
                Self::Refused { invitation, user, response }
            }
            (Err(response), Meaning::SubscriptionAnswered { subscription, user }) => {
                Self::SubscriptionAnswered { subscription, user, response }
            }
            (Err(response), Meaning::Registered { registration, user, expires, public }) => {
                Self::Registered { registration, user, expires, public, response }
            }
            (Err(response), Meaning::RegistrationRefused { registration, user }) => {
                Self::RegistrationRefused { registration, user, response }
            }
            (Err(response), Meaning::Published { publication, user, expires }) => {
                Self::Published { publication, user, expires, response }
            }
            (Err(response), Meaning::PublicationRefused { publication, user }) => {
                Self::PublicationRefused { publication, user, response }
            }
            (Err(response), Meaning::Response { id, user, dialog, wants_prack, wants_answer }) => {
                Self::Response { id, user, dialog, wants_prack, wants_answer, response }
            }
            (Err(response), _) => Self::Stray(Stray::Response(response)),
        }
    }
}

impl UserAgent {
    /// The configuration that the user agent was made with.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Every call begins here: what was due before it is done first, so that it makes no difference when outputs are drained.
    pub(super) fn enter(&mut self, now: Instant) {
        while self.is_due() {
            self.fire();
        }
        self.layer.set_clock(now);
    }

    /// Every call ends here: what the layer has to tell is acted on.
    pub(super) fn leave(&mut self) {
        while let Some(told) = self.layer.told() {
            self.on_told(told);
        }
        while let Some(flow) = self.layer.gone.pop() {
            self.on_flow_gone(flow);
        }
        while let Some(key) = self.changed.pop() {
            // What ended is told of by its end.
            if self.alive(DialogId(key)).is_ok() {
                let user = self.dialogs.get(key).map_or(0, |record| record.user);
                self.push(Event::Changed { dialog: DialogId(key), user });
            }
        }
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.alarms.next().into_iter().chain(self.layer.next_due()).min()
    }

    fn is_due(&self) -> bool {
        self.next_due().is_some_and(|due| due <= self.layer.clock())
    }

    /// Fires the timer that is due first; of equal ones a transaction's before one of this machine's own.
    fn fire(&mut self) {
        if self.layer.next_due() == self.next_due() {
            self.layer.fire();
        } else if let Some(due) = self.alarms.take() {
            self.on_alarm(due);
        }
        self.leave();
    }

    fn on_told(&mut self, told: Told) {
        match told {
            Told::Terminated { txn: Txn::Client(txn), user, cause } => {
                self.on_request_ended(txn, user, cause)
            }
            Told::Terminated { txn: Txn::Server(txn), user, .. } => self.on_serving_ended(txn, user),
            Told::Unanswered { txn, user } => self.on_unanswered(txn, user),
            // The transaction goes on, and so does the call.
            Told::TransportError { .. } => {}
        }
    }

    fn hear(&mut self, source: Source, parsed: &Parsed<'_>, exact: u64) -> Option<Meaning> {
        let message = &parsed.message;
        let meaning = match parsed.fault {
            None => self
                .layer
                .receive(source, message, exact)
                .and_then(|heard| self.on_heard(heard, source, message)),
            Some(error) => Some(Meaning::Rejected(error, self.layer.reject(source, message, error))),
        };
        self.leave();
        meaning
    }

    fn on_heard(&mut self, heard: Heard, source: Source, message: &Message<'_>) -> Option<Meaning> {
        match heard {
            Heard::Request { txn, merged } => self.on_request(txn, merged, source, message),
            Heard::Ack { txn } => self.on_ack(txn, message),
            Heard::Cancel { invite, user } => {
                self.on_cancel(invite, user);
                None
            }
            Heard::Response { txn, user } => {
                let meaning = self.on_response(txn, user, message);
                if let (Some(Meaning::Registered { registration, .. }), Source::Flow(flow)) =
                    (meaning, source)
                {
                    self.bind_flow(registration.0, flow, message);
                }
                meaning
            }
            Heard::Stray => self.on_stray(message),
        }
    }
}

impl Machine for UserAgent {
    type Event<'b> = Event<'b>;
    type Command<'a> = Command<'a>;
    type Made = Made;

    crate::machine::verbs!();

    fn command(&mut self, now: Instant, command: Command<'_>) -> Result<Made, Misuse> {
        match command {
            Command::Invite(invite) => return self.invite(now, &invite).map(Made::Invitation),
            Command::Request(request) => return self.request(now, &request).map(Made::Request),
            Command::RequestIn(dialog, method, user, content) => {
                return self.request_in(now, dialog, method, user, &content).map(Made::Request);
            }
            Command::Prack(dialog, user, content) => {
                return self.prack(now, dialog, user, &content).map(Made::Request);
            }
            Command::Subscribe(new) => return self.subscribe(now, &new).map(Made::Subscription),
            Command::SubscribeIn(dialog, new) => {
                return self.subscribe_in(now, dialog, &new).map(Made::Subscription);
            }
            Command::Refer(new) => return self.refer(now, &new).map(Made::Subscription),
            Command::ReferIn(dialog, new) => {
                return self.refer_in(now, dialog, &new).map(Made::Subscription);
            }
            Command::Unsubscribe(subscription, content) => self.unsubscribe(now, subscription, &content)?,
            Command::Notify(subscription, notice, content) => {
                self.notify(now, subscription, notice, &content)?;
            }
            Command::Register(new) => return self.register(now, &new).map(Made::Registration),
            Command::RegisterAgain(registration) => self.register_again(now, registration)?,
            Command::Unregister(registration) => self.unregister(now, registration)?,
            Command::Publish(new) => return self.publish(now, &new).map(Made::Publication),
            Command::PublishChange(publication, content) => {
                self.publish_change(now, publication, &content)?;
            }
            Command::Unpublish(publication, content) => self.unpublish(now, publication, &content)?,
            Command::Cancel(invitation) => self.cancel(now, invitation)?,
            Command::CancelRequest(request) => self.cancel_request(now, request)?,
            Command::Respond(txn, status, content) => self.respond(now, txn, status, &content)?,
            Command::Ack(dialog, content) => self.ack(now, dialog, &content)?,
            Command::Ring(dialog, status, content) => self.ring(now, dialog, status, &content)?,
            Command::RingReliably(dialog, status, content) => {
                self.ring_reliably(now, dialog, status, &content)?;
            }
            Command::Accept(dialog, content) => self.accept(now, dialog, &content)?,
            Command::Reject(dialog, status, content) => self.reject(now, dialog, status, &content)?,
            Command::HangUp(dialog, content) => self.hang_up(now, dialog, &content)?,
            Command::Bye(dialog, content) => self.bye(now, dialog, &content)?,
        }
        Ok(Made::Nothing)
    }

    fn is_idle(&self) -> bool {
        self.layer.is_idle()
            && self.dialogs.len() == 0
            && self.calls.len() == 0
            && self.work.len() == 0
            && self.subscriptions.len() == 0
            && self.upkeeps.len() == 0
            && self.alarms.next().is_none()
    }

    fn stats(&self) -> Stats {
        Stats { dialogs: self.dialogs().count(), ..self.layer.stats() }
    }

    fn into_owned(event: Event<'_>) -> Event<'static> {
        event.into_owned()
    }

    fn refuse<'b>(&mut self, now: Instant, event: Self::Event<'b>) -> Option<Self::Event<'b>> {
        let after = alloc::format!("{}", self.config.core.limits.retry_after.as_secs());
        let headers = [("Retry-After", &*after)];
        let busy = (Status::SERVICE_UNAVAILABLE, Content::headers(&headers));
        match event {
            Event::Incoming { dialog, .. } => {
                // Who was not told of the call is not told of its end.
                if let Some(session) = self.session_mut(dialog.0) {
                    session.announced = false;
                }
                let _ = self.reject(now, dialog, busy.0, &busy.1);
                None
            }
            Event::Request { txn, .. } | Event::Subscribe { txn, .. } | Event::Refer { txn, .. } => {
                // Nor of a subscription that was to begin.
                if let Event::Subscribe { subscription, refresh: false, .. }
                | Event::Refer { subscription: Some(subscription), .. } = event
                {
                    if let Some(subscription) = self.subscriptions.get_mut(subscription.0) {
                        subscription.silent = true;
                    }
                }
                let _ = self.respond(now, txn, busy.0, &busy.1);
                None
            }
            Event::Response { response, wants_prack: false, .. } if response.status().is_provisional() => {
                None
            }
            // What has changed can be asked for, and of a state only the last is of any worth.
            Event::Changed { .. }
            | Event::Notified { notice: Notice::Active | Notice::Pending, .. }
            | Event::Progress { wants_prack: false, .. }
            | Event::Rejected(_)
            | Event::Declined { .. }
            | Event::Served { .. }
            | Event::Stray(_) => None,
            kept => Some(kept),
        }
    }
}
