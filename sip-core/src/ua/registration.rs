//! Registrations of this side (RFC 3261 §10.2), kept up until they are not wanted any more.

use super::alarms::{Alarm, Due};
use super::machine::Meaning;
use super::requests::{Outgoing, Outside, Purpose};
use super::{Event, NewRegistration, UserAgent, WorkId};
use crate::auth::Answers;
use crate::dialog::subscription::refresh_after;
use crate::dialog::token;
use crate::endpoint::{Cause, Misuse};
use crate::handle::{Key, RegistrationId};
use crate::headers::{Address, Contact, Expires, Header, Name, Params, ServiceRoute};
use crate::message::{Content, Message, Method, is_text};
use crate::time::Instant;
use crate::transaction::Timers;
use crate::transport::Target;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

/// What is kept of a registration.
pub(super) struct Registration {
    pub(super) user: u64,
    pub(super) registrar: String,
    pub(super) aor: String,
    pub(super) contact_params: String,
    pub(super) contacts: Vec<String>,
    pub(super) route: Vec<String>,
    pub(super) target: Option<Target>,
    pub(super) timers: Option<Timers>,
    /// RFC 3261 §10.2: the same Call-ID for all of them, and numbers that rise.
    pub(super) call_id: Vec<u8>,
    pub(super) tag: Vec<u8>,
    pub(super) cseq: u32,
    pub(super) lasts: Duration,
    /// Until when the registrar has the bindings; nothing before its first 200.
    pub(super) until: Option<Instant>,
    pub(super) service_route: Vec<String>,
    pub(super) answers: Answers,
    pub(super) work: Option<WorkId>,
    pub(super) leaving: bool,
    pub(super) alarm: Option<Alarm>,
}

impl UserAgent {
    /// Registers this side's address, and keeps it registered: each 200 comes as [`Registered`](super::Event::Registered). Before the
    /// bindings end they are refreshed; a refresh that fails is tried again until they have ended.
    ///
    /// # Errors
    /// [`Misuse::BadUri`], [`Misuse::BadContent`], [`Misuse::NoLocal`], [`Misuse::Full`], [`Misuse::Draining`].
    pub fn register(&mut self, now: Instant, new: &NewRegistration<'_>) -> Result<RegistrationId, Misuse> {
        let sound = Address::whole(new.aor.as_bytes()).is_ok()
            && is_text(new.aor)
            && Params::parse(new.contact_params.as_bytes()).is_ok()
            && is_text(new.contact_params)
            && new.contacts.iter().all(|value| is_text(value) && Contact::whole(value.as_bytes()).is_ok());
        if !sound {
            return Err(Misuse::BadContent);
        }
        self.enter(now);
        let own = |values: &[&str]| values.iter().map(|value| String::from(*value)).collect();
        let registration = Registration {
            user: new.user,
            registrar: new.registrar.into(),
            aor: new.aor.into(),
            contact_params: new.contact_params.into(),
            contacts: own(new.contacts),
            route: own(new.route),
            target: new.target,
            timers: new.timers,
            call_id: token(self.layer.random.u64()),
            tag: token(self.layer.random.u64()),
            cseq: 0,
            lasts: new.expires,
            until: None,
            service_route: Vec::new(),
            answers: Answers::default(),
            work: None,
            leaving: false,
            alarm: None,
        };
        let key = self.registrations.insert(registration);
        let sent = self.send_register(key, new.expires);
        if sent.is_err() {
            self.registrations.remove(key);
        }
        self.leave();
        sent.map(|()| RegistrationId(key))
    }

    /// Registers once more at once: this side's address has changed, say.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] while a REGISTER is under way; and as [`register`](Self::register).
    pub fn register_again(&mut self, now: Instant, registration: RegistrationId) -> Result<(), Misuse> {
        self.enter(now);
        let found = self.registrations.get(registration.0).ok_or(Misuse::Gone)?;
        if found.work.is_some() || found.leaving {
            return Err(Misuse::WrongState);
        }
        let lasts = found.lasts;
        let done = self.send_register(registration.0, lasts);
        self.leave();
        done
    }

    /// Takes the bindings of this side away (§10.2.2); [`RegistrationEnded`](super::Event::RegistrationEnded) comes when that is done, or has failed.
    ///
    /// # Errors
    /// As [`register_again`](Self::register_again); with a REGISTER under way it waits for that.
    pub fn unregister(&mut self, now: Instant, registration: RegistrationId) -> Result<(), Misuse> {
        self.enter(now);
        let found = self.registrations.get_mut(registration.0).ok_or(Misuse::Gone)?;
        if core::mem::replace(&mut found.leaving, true) {
            return Err(Misuse::WrongState);
        }
        self.alarms.stop(found.alarm.take());
        let waits = found.work.is_some();
        let done = if waits { Ok(()) } else { self.send_register(registration.0, Duration::ZERO) };
        self.leave();
        done
    }

    /// The route that the registrar wants requests of this side to take (RFC 3608): values for [`NewInvite::route`](super::NewInvite::route).
    ///
    /// # Errors
    /// [`Misuse::Gone`]
    pub fn service_route(&self, registration: RegistrationId) -> Result<&[String], Misuse> {
        self.registrations.get(registration.0).map(|found| &*found.service_route).ok_or(Misuse::Gone)
    }

    fn send_register(&mut self, key: Key, expires: Duration) -> Result<(), Misuse> {
        let registration = self.registrations.get_mut(key).ok_or(Misuse::Gone)?;
        registration.cseq = registration.cseq.wrapping_add(1) & 0x7fff_ffff;
        let found = self.registrations.get(key).ok_or(Misuse::Gone)?;
        let route: Vec<String> = found.route.clone();
        let route: Vec<&str> = route.iter().map(|value| &**value).collect();
        let towards = crate::transaction::towards(
            found.registrar.as_bytes(),
            route.first().map(|route| route.as_bytes()),
        );
        let own = self.contact_towards(towards, found.target)?;
        let own = format!("{}{}", String::from_utf8_lossy(&own), found.contact_params);
        let (registrar, aor) = (found.registrar.clone(), found.aor.clone());
        let (call_id, tag) = (found.call_id.clone(), found.tag.clone());
        let others = found.contacts.clone();
        let seconds = format!("{}", expires.as_secs());
        // RFC 5626 §4.2.1
        let outbound = if found.contact_params.contains("reg-id") { "path, outbound" } else { "path" };
        let mut extra = Vec::from([("Supported", outbound), ("Expires", &*seconds)]);
        extra.extend(others.iter().map(|value| ("Contact", &**value)));
        let outgoing = Outgoing {
            target: found.target,
            timers: found.timers,
            answers: found.answers.clone(),
            ..Outgoing::new(Purpose::Register(key), 0, None)
        };
        let outside = Outside {
            from: &aor,
            to: &aor,
            route: &route,
            tag: &tag,
            call_id: &call_id,
            cseq: found.cseq,
            contact: own.as_bytes(),
            extra: &extra,
            ..Outside::new(Method::Register, &registrar, &Content::NONE)
        };
        let work = self.send_outside(outgoing, &outside)?;
        if let Some(registration) = self.registrations.get_mut(key) {
            registration.work = Some(work);
        }
        Ok(())
    }

    /// The final response to a REGISTER.
    pub(super) fn on_registered(
        &mut self,
        key: Key,
        work: WorkId,
        response: &Message<'_>,
    ) -> Option<Meaning> {
        let code = response.status_code();
        if code < 200 {
            return None;
        }
        let clock = self.layer.clock();
        let sent = self.outgoing(work).map(|sent| (sent.answers.clone(), sent.cseq, self.asked_for(sent)));
        let (answers, cseq, (asked, contact)) = sent?;
        let registration = self.registrations.get_mut(key)?;
        let (id, user) = (RegistrationId(key), registration.user);
        (registration.answers, registration.cseq) = (answers, cseq);
        registration.work = None;
        let leaving = core::mem::take(&mut registration.leaving);
        if leaving && !asked.is_zero() {
            // It was given up while it was under way.
            registration.leaving = true;
            if self.send_register(key, Duration::ZERO).is_err() {
                self.end_registration(key, Cause::TransportError);
            }
            return None;
        }
        if leaving {
            self.end_registration(key, Cause::Completed);
            return (code >= 300).then_some(Meaning::RegistrationRefused { registration: id, user });
        }
        if code >= 300 {
            self.registration_failed(key, Cause::Completed);
            return Some(Meaning::RegistrationRefused { registration: id, user });
        }
        // §10.2.4: as long as the registrar says of this contact, or of all, or as was asked.
        let own = Contact::whole(&contact).ok().and_then(|contact| contact.address());
        let own = own.and_then(|address| address.uri().ok());
        let listed = response.all::<Contact<'_>>().map_while(Result::ok).find_map(|listed| {
            let uri = listed.address()?.uri().ok()?;
            own.as_ref().is_some_and(|own| own.equivalent(&uri)).then(|| listed.expires()).flatten()
        });
        let overall = response.get::<Expires>().ok().flatten().map(|expires| expires.0);
        let lasts = listed.or(overall).map_or(asked, |seconds| Duration::from_secs(seconds.into()));
        registration.until = Some(clock + lasts);
        registration.service_route = response
            .all::<ServiceRoute<'_>>()
            .map_while(Result::ok)
            .map(|route| {
                let mut value = Vec::new();
                route.emit(&mut value);
                String::from_utf8_lossy(&value).into_owned()
            })
            .collect();
        let due = Due::RegisterAgain(key);
        registration.alarm = Some(self.alarms.set(clock, refresh_after(lasts).max(SOONEST), due));
        let public = public_address(response);
        Some(Meaning::Registered { registration: id, user, expires: lasts, public })
    }

    /// The Expires of a REGISTER, and its first Contact.
    fn asked_for(&self, sent: &Outgoing) -> (Duration, Vec<u8>) {
        let bytes = self.layer.buffers.message(sent.request);
        let Ok(request) = Message::parse(bytes, &crate::config::Limits::NONE) else {
            return Default::default();
        };
        let expires = request.get::<Expires>().ok().flatten().map_or(0, |expires| expires.0);
        let contact = request.value(Name::Contact).unwrap_or_default();
        (Duration::from_secs(expires.into()), contact.into())
    }

    /// A REGISTER is over without a response.
    pub(super) fn on_registering_ended(&mut self, key: Key, work: WorkId, cause: Cause) {
        let Some(registration) = self.registrations.get_mut(key) else { return };
        if registration.work != Some(work) {
            return;
        }
        registration.work = None;
        if registration.leaving {
            self.end_registration(key, cause);
        } else {
            self.registration_failed(key, cause);
        }
    }

    /// The bindings that there are hold until their end: so long it is tried again, each time when half of what is left is over.
    fn registration_failed(&mut self, key: Key, cause: Cause) {
        let clock = self.layer.clock();
        let Some(registration) = self.registrations.get_mut(key) else { return };
        let left = registration.until.map_or(Duration::ZERO, |until| until.since(clock));
        if left < SOONEST {
            return self.end_registration(key, cause);
        }
        registration.alarm = Some(self.alarms.set(clock, (left / 2).max(SOONEST), Due::RegisterAgain(key)));
    }

    pub(super) fn on_register_again(&mut self, key: Key) {
        let Some(registration) = self.registrations.get(key) else { return };
        let lasts = registration.lasts;
        if registration.work.is_none() && self.send_register(key, lasts).is_err() {
            self.registration_failed(key, Cause::TransportError);
        }
    }

    /// A registration that comes back: what was under way is not, and it is refreshed when its time has come.
    pub(super) fn take_up_registration(&mut self, mut registration: Registration) -> Key {
        let clock = self.layer.clock();
        (registration.work, registration.alarm) = (None, None);
        let left = registration.until.map_or(Duration::ZERO, |until| until.since(clock));
        let key = self.registrations.insert(registration);
        let alarm = self.alarms.set(clock, refresh_after(left), Due::RegisterAgain(key));
        if let Some(registration) = self.registrations.get_mut(key) {
            registration.alarm = Some(alarm);
        }
        key
    }

    fn end_registration(&mut self, key: Key, cause: Cause) {
        let Some(registration) = self.registrations.remove(key) else { return };
        self.alarms.stop(registration.alarm);
        let user = registration.user;
        self.push(Event::RegistrationEnded { registration: RegistrationId(key), user, cause });
    }
}

/// No more often than this.
const SOONEST: Duration = Duration::from_secs(1);

/// Where the registrar saw a request of this side come from (RFC 3581): `received` and `rport` of its Via.
fn public_address(response: &Message<'_>) -> Option<SocketAddr> {
    let via = response.via();
    let host = crate::uri::ip(via.params.get("received")?)?;
    Some(SocketAddr::new(host, via.params.number("rport").or(via.port.map(core::num::NonZero::get))?))
}
