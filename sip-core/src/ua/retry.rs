//! Requests that are sent again, changed: with credentials (RFC 3261 §22), with a longer interval (RFC 4028 §7.4), to where a 3xx leads
//! (RFC 3261 §8.1.3.4), or after a collision (RFC 3261 §14.1).

use super::alarms::Due;
use super::requests::Purpose;
use super::{UserAgent, WorkId, refresh, token_of};
use crate::auth::Answers;
use crate::config::Limits;
use crate::dialog::offer::{self, Carrier, Offer};
use crate::dialog::subscription::{self, Notice};
use crate::endpoint::Cause;
use crate::handle::Key;
use crate::headers::{Contact, Expires, MinExpires, MinSe, Name, SessionExpires};
use crate::message::{Content, Message, Method, Writer};
use crate::transaction::{ClientRequest, towards};
use crate::uri::{Uri, is_sips};
use alloc::vec::Vec;
use core::time::Duration;

/// Whether a request goes on after a failure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    Yes,
    No,
}

/// How often a request is sent again, for whatever reasons.
const MAX_TRIES: u8 = 5;
/// After how many collisions in a row it is given up.
const MAX_COLLISIONS: u8 = 4;

/// What is changed in a request that is sent again.
#[derive(Default)]
struct Change<'a> {
    /// The Request-URI.
    uri: Option<&'a [u8]>,
    /// These headers are written anew, by their values in seconds.
    numbers: &'a [(Name, u32)],
}

impl UserAgent {
    /// A request was refused with 300 to 699: whether it is sent again, now or later.
    pub(super) fn send_again(&mut self, work: WorkId, response: &Message<'_>) -> Again {
        let Some(outgoing) = self.outgoing(work) else { return Again::No };
        let (purpose, tries, dialog) = (outgoing.purpose, outgoing.tries, outgoing.dialog);
        let cancelled = outgoing.cancelled
            || matches!(purpose, Purpose::Call(invitation) if self.is_cancelled(invitation));
        let most = if let Purpose::Call(_) = purpose {
            MAX_TRIES.saturating_add(self.config.redirects)
        } else {
            MAX_TRIES
        };
        if cancelled || tries >= most || !self.may_repeat(work, purpose, dialog) {
            return Again::No;
        }
        let done = match (response.status_code(), purpose) {
            (401 | 407, _) => self.on_challenge(work, response),
            (422, Purpose::Call(_) | Purpose::Reinvite | Purpose::Update | Purpose::Refresh) => {
                self.on_short_interval(work, response)
            }
            (423, Purpose::Subscribe(_) | Purpose::Upkeep(_)) => self.on_brief_interval(work, response),
            // RFC 3261 §12.2.2: another request has overtaken it, and nobody else says it again.
            (500, Purpose::Bye | Purpose::Prack { .. } | Purpose::Notify(_)) if self.was_overtaken(work) => {
                self.repeat(work, &Change::default())
            }
            (491, Purpose::Reinvite | Purpose::Update | Purpose::Refresh) => self.on_collision(work),
            // A 6xx is for all addresses.
            (300..=599, Purpose::Call(invitation)) => {
                self.note_redirects(invitation, response);
                self.redirect(work, invitation)
            }
            _ => Again::No,
        };
        if let (Again::Yes, Some(outgoing)) = (done, self.outgoing_mut(work)) {
            outgoing.tries += 1;
        }
        done
    }

    /// Whether a request with a higher number has been sent in the same dialog.
    fn was_overtaken(&self, work: WorkId) -> bool {
        self.outgoing(work).is_some_and(|sent| {
            let record = sent.dialog.and_then(|key| self.dialogs.get(key));
            record.is_some_and(|record| record.dialog.local_cseq > sent.cseq)
        })
    }

    /// Whether there is still what a request is about: after a BYE nothing of the session is sent but that, and nothing of a subscription that is
    /// over or has been asked for otherwise since.
    fn may_repeat(&self, work: WorkId, purpose: Purpose, dialog: Option<Key>) -> bool {
        match purpose {
            // Who gave up before there was a dialog does not ask again.
            Purpose::Subscribe(key) => {
                return self
                    .asked(key)
                    .is_some_and(|asked| asked.work == Some(work) && !(asked.leaving && dialog.is_none()));
            }
            // Of several states the newest is told, and nothing behind the last.
            Purpose::Notify(key) => {
                return match self.subscriptions.get(key) {
                    Some(subscription) => subscription.told == Some(work),
                    None => self.is_last_word(work),
                };
            }
            _ => {}
        }
        let Some(key) = dialog else { return true };
        let session = self.dialogs.get(key).map(|record| &record.session);
        match purpose {
            Purpose::Reinvite | Purpose::Update | Purpose::Refresh | Purpose::Prack { .. } => {
                session.is_some_and(|session| session.is_alive() && session.bye_queued.is_none())
            }
            Purpose::Other(_) => self.open(crate::handle::DialogId(key)).is_ok(),
            _ => true,
        }
    }

    /// Whether a NOTIFY says that its subscription is over.
    fn is_last_word(&self, work: WorkId) -> bool {
        let Some(outgoing) = self.outgoing(work) else { return false };
        let sent = Message::parse(self.layer.buffers.message(outgoing.request), &Limits::NONE);
        let notice = sent.ok().and_then(|sent| subscription::read(&sent));
        matches!(notice, Some((Notice::Terminated { .. }, _)))
    }

    fn on_challenge(&mut self, work: WorkId, response: &Message<'_>) -> Again {
        let Some(outgoing) = self.outgoing(work) else { return Again::No };
        let dialog = outgoing.dialog;
        let bytes = Vec::from(self.layer.buffers.message(outgoing.request));
        let Ok(request) = Message::parse(&bytes, &Limits::NONE) else { return Again::No };
        let mut answers = self.take_answers(work, dialog);
        let worth = answers.challenged(&request, response, &self.config.credentials);
        self.put_answers(work, dialog, answers);
        if worth { self.repeat(work, &Change::default()) } else { Again::No }
    }

    /// The dialog that has the answers to challenges that a request draws on; those of an INVITE are its first fork's, so that a nonce is
    /// counted in one place (RFC 7616 §3.4).
    fn home_of_answers(&self, work: WorkId, dialog: Option<Key>) -> Option<Key> {
        let first_fork = || match self.outgoing(work)?.purpose {
            Purpose::Call(invitation) => self.calls.get(invitation.0)?.dialogs.first().copied(),
            _ => None,
        };
        dialog.or_else(first_fork)
    }

    /// How challenges were answered, as far as this request draws on that.
    pub(super) fn answers_of(&self, work: WorkId) -> Option<&Answers> {
        let outgoing = self.outgoing(work)?;
        let home = self.home_of_answers(work, outgoing.dialog).and_then(|key| self.dialogs.get(key));
        Some(home.map_or(&outgoing.answers, |record| &record.answers))
    }

    /// The answers to challenges that a request draws on: its dialog's, or its own.
    pub(super) fn take_answers(&mut self, work: WorkId, dialog: Option<Key>) -> Answers {
        let home = self.home_of_answers(work, dialog);
        let of_dialog = home.and_then(|key| self.dialogs.get_mut(key)).map(|record| &mut record.answers);
        if let Some(answers) = of_dialog {
            return core::mem::take(answers);
        }
        self.outgoing_mut(work).map(|outgoing| core::mem::take(&mut outgoing.answers)).unwrap_or_default()
    }

    pub(super) fn put_answers(&mut self, work: WorkId, dialog: Option<Key>, answers: Answers) {
        let home = self.home_of_answers(work, dialog);
        if let Some(record) = home.and_then(|key| self.dialogs.get_mut(key)) {
            record.answers = answers;
        } else if let Some(outgoing) = self.outgoing_mut(work) {
            outgoing.answers = answers;
        }
    }

    /// RFC 4028 §7.4: with the interval that the peer wants at least, which grows each time or there is no end.
    fn on_short_interval(&mut self, work: WorkId, response: &Message<'_>) -> Again {
        let Ok(Some(min)) = response.get::<MinSe<'_>>() else { return Again::No };
        let Some(outgoing) = self.outgoing(work) else { return Again::No };
        let (key, purpose) = (outgoing.dialog, outgoing.purpose);
        let sent = Message::parse(self.layer.buffers.message(outgoing.request), &Limits::NONE);
        // A proxy may have asked where this side has not; then what is said is the least that it may ask for.
        let before = sent.ok().map(|sent| {
            let asked = sent.get::<SessionExpires<'_>>().ok().flatten().map(|sent| sent.seconds);
            let least = sent.get::<MinSe<'_>>().ok().flatten().map(|sent| sent.seconds);
            asked.or(least).unwrap_or_default()
        });
        if before.is_none_or(|before| before >= min.seconds) {
            return Again::No;
        }
        if let Some(session) = key.and_then(|key| self.session_mut(key)) {
            session.min_se = session.min_se.max(min.seconds);
            if let Some(terms) = session.timer.as_mut() {
                terms.interval = min.seconds;
            }
        }
        if let Purpose::Call(invitation) = purpose {
            if let Some(call) = self.calls.get_mut(invitation.0) {
                call.min_se = call.min_se.max(min.seconds);
            }
        }
        self.repeat(work, &Change::default())
    }

    /// RFC 3261 §10.2.8, RFC 6665 §4.1.2.1, RFC 3903 §4.2: as long as the server wants it at least.
    fn on_brief_interval(&mut self, work: WorkId, response: &Message<'_>) -> Again {
        let Ok(Some(MinExpires(min))) = response.get::<MinExpires>() else { return Again::No };
        let Some(outgoing) = self.outgoing(work) else { return Again::No };
        let sent = Message::parse(self.layer.buffers.message(outgoing.request), &Limits::NONE);
        let before = sent.ok().and_then(|sent| sent.get::<Expires>().ok().flatten());
        // What is to end is not to last longer.
        if before.is_none_or(|Expires(before)| before == 0 || before >= min) {
            return Again::No;
        }
        if let Purpose::Upkeep(key) = outgoing.purpose {
            if let Some(found) = self.upkeeps.get_mut(key) {
                found.lasts = Duration::from_secs(min.into());
            }
        }
        self.repeat(work, &Change { numbers: &[(Name::Expires, min)], ..Change::default() })
    }

    /// RFC 3261 §14.1: who made the Call-ID waits longer, so that the two do not meet again.
    fn on_collision(&mut self, work: WorkId) -> Again {
        let Some(outgoing) = self.outgoing(work).filter(|outgoing| outgoing.tries < MAX_COLLISIONS) else {
            return Again::No;
        };
        let owner = outgoing.dialog.and_then(|key| self.dialogs.get(key)).map(|record| record.dialog.owner);
        let Some(owner) = owner else { return Again::No };
        // The offer in it is not open while it waits: the peer's may come first.
        self.take_back(work);
        let random = self.layer.random.u64();
        let millis = if owner { 2_100 + random % 191 * 10 } else { random % 201 * 10 };
        self.later(work, Duration::from_millis(millis));
        Again::Yes
    }

    fn later(&mut self, work: WorkId, after: Duration) {
        let clock = self.layer.clock();
        if let Some(outgoing) = self.outgoing_mut(work) {
            outgoing.txn = None;
            self.alarms.set(clock, after, Due::Again(work));
        }
    }

    /// The time has come to send a request again that met another.
    pub(super) fn on_again(&mut self, work: WorkId) {
        let Some(outgoing) = self.outgoing(work).filter(|outgoing| outgoing.txn.is_none()) else { return };
        let (purpose, dialog) = (outgoing.purpose, outgoing.dialog);
        let sent = Message::parse(self.layer.buffers.message(outgoing.request), &Limits::NONE);
        let offers = sent.is_ok_and(|sent| offer::is_in(&sent));
        let Some(record) = dialog.and_then(|key| self.dialogs.get(key)) else { return };
        let crowded = purpose != Purpose::Reinvite && offers && self.is_crowded(&record.session);
        let Some(session) = dialog.and_then(|key| self.session_mut(key)) else { return };
        if !session.is_alive() || session.bye_queued.is_some() {
            return self.end_request(work, Cause::Aborted);
        }
        // One of the peer is under way now: it goes first.
        let busy = match purpose {
            Purpose::Reinvite => session.invite.is_some() || session.unacked.is_some(),
            _ => session.peer_update.is_some(),
        };
        let carrier = purpose.carrier().filter(|_| offers);
        let exchange = carrier.and_then(|carrier| session.exchange.sent(carrier));
        // One that asks for an offer waits until none is open.
        let asks = purpose == Purpose::Reinvite && !offers && session.exchange.state() != Offer::Stable;
        if busy || asks || crowded || offers && exchange.is_none() {
            return self.later(work, Duration::from_secs(1));
        }
        session.exchange = exchange.unwrap_or(session.exchange);
        if let Some(outgoing) = self.outgoing_mut(work) {
            outgoing.offered = offers;
        }
        if self.repeat(work, &Change::default()) == Again::No {
            self.end_request(work, Cause::TransportError);
        }
    }

    /// RFC 3261 §8.1.3.4: the addresses of a 3xx, best first, that were not tried.
    fn note_redirects(&mut self, invitation: crate::Invitation, response: &Message<'_>) {
        if !(300..400).contains(&response.status_code()) || self.config.redirects == 0 {
            return;
        }
        let most = usize::from(self.config.redirects);
        let Some(call) = self.calls.get_mut(invitation.0) else { return };
        // A call that was to be secure all the way is not redirected into the clear unseen.
        let secure = call.targets.first().is_some_and(|first| is_sips(first));
        let mut found: Vec<(u16, &[u8])> = response
            .all::<Contact<'_>>()
            .map_while(Result::ok)
            .filter_map(|contact| {
                let address = contact.address()?;
                // Headers in a URI are not for Request-URIs (RFC 3261 §19.1.1).
                let uri = address.uri_bytes.split(|byte| *byte == b'?').next()?;
                let fits = matches!(Uri::parse(uri), Ok(Uri::Sip(_))) && (is_sips(uri) || !secure);
                fits.then(|| (contact.q().unwrap_or(1_000), uri))
            })
            .collect();
        found.sort_by_key(|(q, _)| core::cmp::Reverse(*q));
        for (_, uri) in found {
            let known = call.targets.iter().any(|known| known == uri);
            if !known && call.targets.len() < most + 1 {
                call.targets.push(uri.into());
            }
        }
    }

    fn redirect(&mut self, work: WorkId, invitation: crate::Invitation) -> Again {
        let Some(call) = self.calls.get_mut(invitation.0) else { return Again::No };
        let Some(next) = call.targets.get(call.tried).cloned() else { return Again::No };
        call.tried += 1;
        if let Some(outgoing) = self.outgoing_mut(work) {
            outgoing.target = None;
        }
        match self.repeat(work, &Change { uri: Some(&next), ..Change::default() }) {
            Again::Yes => Again::Yes,
            // Nothing can be sent there: perhaps to the next.
            Again::No => self.redirect(work, invitation),
        }
    }

    /// Sends a request once more in a transaction of its own, with the next CSeq.
    fn repeat(&mut self, work: WorkId, change: &Change<'_>) -> Again {
        let Some(outgoing) = self.outgoing(work) else { return Again::No };
        let (dialog, target, timers) = (outgoing.dialog, outgoing.target, outgoing.timers.clone());
        let (purpose, early) = (outgoing.purpose, outgoing.early);
        let bytes = Vec::from(self.layer.buffers.message(outgoing.request));
        let Ok(old) = Message::parse(&bytes, &Limits::NONE) else { return Again::No };
        let method = old.method();
        if purpose == Purpose::Reinvite && !self.offer_again(work, &old) {
            self.later(work, Duration::from_secs(1));
            return Again::Yes;
        }
        let least = match purpose {
            Purpose::Call(invitation) => self.calls.get(invitation.0).map_or(0, |call| call.min_se),
            _ => 0,
        };
        // RFC 3261 §8.1.1.8: where it goes decides what this side is reached by.
        let contact = match change.uri {
            Some(uri) => match self.contact_towards(uri, towards(uri, old.value(Name::Route)), target) {
                Ok(contact) => Some(contact),
                Err(_) => return Again::No,
            },
            None => None,
        };
        let cseq = match dialog.and_then(|key| self.dialogs.get_mut(key)) {
            Some(record) => record.dialog.next_cseq(),
            None => old.cseq().number.wrapping_add(1) & 0x7fff_ffff,
        };
        let random = self.layer.random.u64();
        let mut answers = self.take_answers(work, dialog);
        // Inside a dialog, its target, its routes and this side's Contact may be others by now.
        let record = dialog.and_then(|key| self.dialogs.get(key));
        let (uri, towards) = match record {
            Some(record) => record.dialog.uris(),
            None => {
                let uri = change.uri.unwrap_or(old.request_uri());
                (uri, towards(uri, old.value(Name::Route)))
            }
        };
        let request = ClientRequest { method, uri, towards, target, timers, user: token_of(work) };
        let config = &self.config;
        // RFC 4028 §7.4: by the terms of now, and not those of when it was sent first.
        let session = record.map(|record| &record.session);
        let refreshes = matches!(method, Method::Invite | Method::Update) && !early;
        let terms = session.and_then(|session| session.timer);
        let min_se = session.map_or(least, |session| session.min_se);
        let stays = |name: Name| !(refreshes && matches!(name, Name::SessionExpires | Name::MinSe));
        let sent = self.layer.request(&request, |writer| {
            match record {
                Some(record) => {
                    record.dialog.write(writer, method, cseq);
                    if old.value(Name::Contact).is_some() {
                        writer.field(Name::Contact, &[&record.contact]);
                    }
                    copy(writer, &old, change, |name| stays(name) && !is_of_dialog(name));
                }
                None => {
                    if let Some(contact) = &contact {
                        writer.field(Name::Contact, &[contact]);
                    }
                    copy(writer, &old, change, |name| {
                        stays(name) && !(name == Name::Contact && contact.is_some())
                    });
                    writer.cseq(cseq, method);
                }
            }
            if refreshes {
                refresh::write_request(writer, &config.session_timer, terms, min_se);
            }
            answers.write(writer, method, uri, old.body(), &config.credentials, random);
            writer.finish(&Content { headers: &[], content_type: "", body: old.body() });
        });
        self.put_answers(work, dialog, answers);
        let Ok(txn) = sent else { return Again::No };
        if let Some(key) = dialog {
            self.note_change(key);
        }
        let _ = self.begun(work, Ok(txn));
        if let Some(outgoing) = self.outgoing_mut(work) {
            outgoing.cseq = cseq;
        }
        if let Purpose::Subscribe(key) = purpose {
            // Timer N runs anew: the NOTIFY answers this one.
            self.has_asked(key, work, cseq);
            self.numbered(key, cseq);
        }
        if let (Purpose::Call(invitation), Some(contact)) = (purpose, contact) {
            if let Some(call) = self.calls.get_mut(invitation.0) {
                call.contact = contact;
            }
        }
        Again::Yes
    }

    /// A re-INVITE that is sent again makes its offer again, whatever reliable responses said of the first one; false while that finds no room.
    fn offer_again(&mut self, work: WorkId, old: &Message<'_>) -> bool {
        self.take_back(work);
        let dialog = self.outgoing(work).and_then(|outgoing| outgoing.dialog);
        let Some(session) = dialog.and_then(|key| self.session_mut(key)) else { return true };
        let offers = offer::is_in(old);
        if offers {
            let Some(exchange) = session.exchange.sent(Carrier::OwnInvite) else { return false };
            session.exchange = exchange;
        } else if session.exchange.state() != Offer::Stable {
            return false;
        }
        (session.rseq, session.heard) = (None, false);
        if let Some(outgoing) = self.outgoing_mut(work) {
            outgoing.offered = offers;
        }
        true
    }
}

/// What its dialog says of a request.
const fn is_of_dialog(name: Name) -> bool {
    matches!(name, Name::Route | Name::From | Name::To | Name::CallId | Name::MaxForwards | Name::Contact)
}

/// What of a request stands in its repetition as it did.
fn copy(writer: &mut Writer<'_>, old: &Message<'_>, change: &Change<'_>, stays: impl Fn(Name) -> bool) {
    for (name, line, _) in old.raw_fields() {
        let anew = change.numbers.iter().any(|(changed, _)| *changed == name);
        let own = matches!(
            name,
            Name::Via | Name::CSeq | Name::ContentLength | Name::Authorization | Name::ProxyAuthorization
        );
        if !own && !anew && stays(name) {
            writer.line(line);
        }
    }
    for (name, value) in change.numbers {
        writer.number(*name, (*value).into());
    }
}
