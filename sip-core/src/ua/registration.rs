//! Registrations of this side (RFC 3261 §10.2).

use super::record::OwnContent;
use super::requests::{Outside, check_stated};
use super::upkeep::{NewUpkeep, What};
use super::{NewRegistration, UserAgent};
use crate::endpoint::Misuse;
use crate::handle::RegistrationId;
use crate::headers::{Address, Contact, Expires, Header, Params, ServiceRoute, with_scheme};
use crate::message::{Content, Message, Method, is_text, lex};
use crate::time::Instant;
use crate::transaction::towards;
use crate::transport::Target;
use crate::uri::is_sips;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// What a registration has besides.
#[derive(Clone)]
pub(super) struct Registration {
    pub(super) aor: String,
    pub(super) contact_params: String,
    pub(super) contacts: Vec<String>,
    pub(super) route: Vec<String>,
    pub(super) service_route: Vec<String>,
    /// The address that is bound, in angle brackets; empty before a 200.
    pub(super) bound: String,
    /// Headers of the user's.
    pub(super) headers: Vec<(String, String)>,
}

impl UserAgent {
    /// Registers this side's address, and keeps it registered: each 200 comes as [`Registered`](super::Event::Registered). Before the
    /// bindings end they are refreshed; a refresh that fails is tried again until they have ended.
    ///
    /// # Errors
    /// [`Misuse::BadUri`], [`Misuse::BadContent`], [`Misuse::NoLocal`], [`Misuse::Full`], [`Misuse::Draining`].
    pub fn register(&mut self, now: Instant, new: &NewRegistration<'_>) -> Result<RegistrationId, Misuse> {
        let sound = is_text(new.aor)
            && Address::whole(new.aor.as_bytes()).is_ok()
            && is_text(new.contact_params)
            && Params::parse(new.contact_params.as_bytes())
                .is_ok_and(|params| params.get("expires").is_none())
            && new.contacts.iter().all(|value| is_text(value) && is_contact(value));
        if !sound {
            return Err(Misuse::BadContent);
        }
        check_stated(&Content::headers(new.headers))?;
        self.enter(now);
        let own = |values: &[&str]| values.iter().map(|value| String::from(*value)).collect();
        let registration = Registration {
            aor: new.aor.into(),
            contact_params: new.contact_params.into(),
            contacts: own(new.contacts),
            route: own(new.route),
            service_route: Vec::new(),
            bound: String::new(),
            headers: OwnContent::of(&Content::headers(new.headers)).headers,
        };
        let NewRegistration { registrar: uri, expires, target, timers, credentials, user, .. } = *new;
        let timers = timers.map(Arc::new);
        let upkeep = NewUpkeep { uri, expires, target, timers, credentials, user };
        let done = self.keep_up(What::Registration(registration), &upkeep);
        self.leave();
        done.map(RegistrationId)
    }

    /// Registers once more at once: this side's address has changed, say.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] while a REGISTER is under way; [`Misuse::NoLocal`], [`Misuse::Full`].
    pub fn register_again(&mut self, now: Instant, registration: RegistrationId) -> Result<(), Misuse> {
        self.enter(now);
        self.registration(registration)?;
        let done = self.keep_up_now(registration.0);
        self.leave();
        done
    }

    /// Takes the bindings of this side away (§10.2.2); [`RegistrationEnded`](super::Event::RegistrationEnded) comes when that is done, or has failed.
    ///
    /// # Errors
    /// [`Misuse::Gone`]; [`Misuse::WrongState`] if they are being taken away. With a REGISTER under way it waits for that.
    pub fn unregister(&mut self, now: Instant, registration: RegistrationId) -> Result<(), Misuse> {
        self.enter(now);
        self.registration(registration)?;
        let done = self.let_go(registration.0);
        self.leave();
        done
    }

    /// The route that the registrar wants requests of this side to take (RFC 3608): values for [`NewInvite::route`](super::NewInvite::route).
    ///
    /// # Errors
    /// [`Misuse::Gone`]
    pub fn service_route(&self, registration: RegistrationId) -> Result<&[String], Misuse> {
        Ok(&self.registration(registration)?.service_route)
    }

    fn registration(&self, registration: RegistrationId) -> Result<&Registration, Misuse> {
        match self.upkeeps.get(registration.0).map(|upkeep| &upkeep.what) {
            Some(What::Registration(found)) => Ok(found),
            _ => Err(Misuse::Gone),
        }
    }

    /// How this side is reached from its registrar: an address in angle brackets.
    pub(super) fn contact_of(
        &mut self,
        registration: &Registration,
        registrar: &str,
        target: Option<Target>,
    ) -> Result<String, Misuse> {
        let first = registration.route.first().map(|route| route.as_bytes());
        let contact =
            self.contact_towards(registrar.as_bytes(), towards(registrar.as_bytes(), first), target)?;
        Ok(String::from_utf8_lossy(&contact).into_owned())
    }
}

impl Registration {
    /// Its REGISTER, with this side at `now_at`. What is bound is taken away by its own name, and where this side is somewhere else by now, what was
    /// bound goes.
    pub(super) fn with<T>(
        &self,
        registrar: &str,
        now_at: &str,
        expires: &str,
        send: impl FnOnce(Outside<'_>) -> T,
    ) -> T {
        // RFC 5626 §4.2.1
        let supported = if self.is_flow() { "path, outbound" } else { "path" };
        let mut extra = Vec::from([("Supported", supported), ("Expires", expires)]);
        let moved = !self.bound.is_empty() && self.bound != now_at;
        let at = if moved && expires == "0" { &*self.bound } else { now_at };
        let contact = format!("{at}{}", self.contact_params);
        let left = format!("{};expires=0", self.bound);
        if moved && expires != "0" {
            extra.push(("Contact", &*left));
        }
        extra.extend(self.contacts.iter().map(|value| ("Contact", &**value)));
        let route: Vec<&str> = self.route.iter().map(|value| &**value).collect();
        // RFC 5630 §5.1.1.1: SIPS if all contacts are.
        let mut contacts = self.contacts.iter().map(|value| value.as_bytes()).chain([contact.as_bytes()]);
        let is_secure = |value| Address::whole(value).is_ok_and(|address| is_sips(address.uri_bytes));
        let aor = with_scheme(&self.aor, contacts.all(is_secure));
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        send(Outside {
            from: &aor,
            to: &aor,
            route: &route,
            contact: contact.as_bytes(),
            extra: &extra,
            ..Outside::new(Method::Register, registrar, &Content::headers(&headers))
        })
    }

    /// Whether it is a flow: bound to the connection that it goes by.
    pub(super) fn is_flow(&self) -> bool {
        Params::parse(self.contact_params.as_bytes()).is_ok_and(|params| params.get("reg-id").is_some())
    }

    /// A 200 to this REGISTER. RFC 3608 §5: each says the route anew.
    pub(super) fn learn(&mut self, request: &Message<'_>, response: &Message<'_>) {
        let own = request.get::<Contact<'_>>().ok().flatten();
        if let Some(address) = own.and_then(|own| own.address()) {
            self.bound = format!("<{}>", String::from_utf8_lossy(address.uri_bytes));
        }
        let text = |route: ServiceRoute<'_>| {
            let mut value = Vec::new();
            route.emit(&mut value);
            lex::unfolded(&value)
        };
        self.service_route = response.all::<ServiceRoute<'_>>().map_while(Result::ok).map(text).collect();
    }
}

/// Whether this is the address of a binding. How long it lasts is said for all at once, or it could not be taken back (RFC 3261 §10.2.1.1).
fn is_contact(value: &str) -> bool {
    Contact::whole(value.as_bytes())
        .is_ok_and(|contact| contact.address().is_some() && contact.expires().is_none())
}

/// RFC 3261 §10.2.4: how many seconds the registrar says that the first to end of the Contacts of this REGISTER lasts; what this takes away does not
/// count. If it lists one Contact, and that is none of them, it has written ours anew.
pub(super) fn listed(request: &Message<'_>, response: &Message<'_>) -> Option<u32> {
    let contacts = |message: &'_ Message<'_>| message.all::<Contact<'_>>().map_while(Result::ok).count();
    let leaves = request.get::<Expires>().ok().flatten().is_some_and(|expires| expires.0 == 0);
    let (mut is_known, mut least) = (false, None::<u32>);
    for own in request.all::<Contact<'_>>().map_while(Result::ok).filter(|own| own.expires() != Some(0)) {
        let Some(Ok(uri)) = own.address().map(|address| address.uri()) else { continue };
        let is_it = |listed: &Contact<'_>| {
            listed.address().is_some_and(|address| address.uri().is_ok_and(|listed| listed.equivalent(&uri)))
        };
        let Some(listed) = response.all::<Contact<'_>>().map_while(Result::ok).find(is_it) else { continue };
        is_known = true;
        least = listed.expires().into_iter().chain(least).min();
    }
    if is_known || leaves || contacts(response) != 1 {
        return least;
    }
    response.get::<Contact<'_>>().ok().flatten().and_then(|contact| contact.expires())
}

/// Where the registrar saw a request of this side come from (RFC 3581): `received` and `rport` of its Via.
pub(super) fn public_address(response: &Message<'_>) -> Option<SocketAddr> {
    let via = response.via();
    let host = crate::uri::ip(via.params.get("received")?)?;
    Some(SocketAddr::new(host, via.params.number("rport").or(via.port.map(core::num::NonZero::get))?))
}
