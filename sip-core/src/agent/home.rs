//! An agent that is the home of its users: their registrar, and the proxy that finds them.

use super::registrar::{Door, Registrar, admit, is_user};
use crate::auth::{Authenticator, Guard, Side};
use crate::headers::{Contact, Header};
use crate::message::{Content, Method, Request, Status};
use crate::proxy::{Branch, Event, Proxy};
use crate::registrar::{Binding, Headers, address_of_record};
use crate::{ContextId, Instant, Machine, TransactionUser};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Who is at home, and who may call.
#[derive(Clone, Debug, Default)]
pub struct HomeOptions {
    /// Names and passwords of those who may register, each for itself, and whose requests are forwarded. Empty: anybody registers, and everything is
    /// forwarded.
    pub logins: Vec<(String, String)>,
    /// What the nonces of the challenges are sealed with.
    pub key: [u8; 32],
    /// Its domains, as in the [`Config`](crate::proxy::Config) of its proxy: who is at home in one of them is so under the address called, too.
    pub domains: Vec<String>,
}

/// Registers its users in memory, and forwards requests to where they are, along their Path (RFC 3261 §10, §16; RFC 3327 §5.3).
pub struct Home {
    registrar: Registrar,
    door: Option<Door>,
    domains: Vec<String>,
    requests: u64,
    answered: u64,
}

const REALM: &str = "sip-core";

impl Home {
    /// An agent with these options.
    pub fn new(options: &HomeOptions) -> Self {
        let guard = Guard {
            side: Side::Proxy,
            algorithms: [crate::auth::Algorithm::Md5].into(),
            ..Guard::new(REALM, options.key)
        };
        let door = (!options.logins.is_empty()).then(|| (Authenticator::new(guard), options.logins.clone()));
        let registrar = Registrar::new(&options.logins, REALM, options.key);
        Self { registrar, door, domains: options.domains.clone(), requests: 0, answered: 0 }
    }

    /// What it did, as one line of `key=value`.
    pub fn report(&self, machine: &Proxy) -> String {
        let stats = machine.stats();
        format!(
            "requests={} answered={} addresses={} retransmissions_in={} retransmissions_out={} transactions_open={}",
            self.requests,
            self.answered,
            self.registrar.len(),
            stats.retransmissions_in,
            stats.retransmissions_out,
            stats.client_transactions + stats.server_transactions,
        )
    }

    fn on_request(
        &mut self,
        now: Instant,
        machine: &mut Proxy,
        context: ContextId,
        request: &Request<'_>,
        (routed, recorded): (bool, bool),
    ) {
        let answer = if !routed && request.method() == Method::Register {
            Err(self.register(now, machine, request))
        } else {
            // Within a dialog that was let through nobody is asked again.
            let door = self.door.as_mut().filter(|_| !recorded);
            let admitted = match admit(door, now, request) {
                // Nobody calls in another's name.
                Ok(Some(username)) if !is_user(request.from(), username) => {
                    Err((Status::FORBIDDEN, Headers::new()))
                }
                Ok(_) => Ok(()),
                Err(refusal) => Err(refusal),
            };
            admitted.and_then(|()| self.forward(now, machine, context, request, routed))
        };
        let Err((status, headers)) = answer else { return };
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        // It may have been cancelled.
        let _ = machine.respond(now, context, status, &Content::headers(&headers));
    }

    /// RFC 3261 §10.3, step 5: for whom this is the home, and nobody else.
    fn register(&mut self, now: Instant, machine: &Proxy, request: &Request<'_>) -> (Status, Headers) {
        match request.to().uri() {
            Ok(uri) if machine.is_responsible(&uri) => self.registrar.answer(now, request),
            _ => (Status::NOT_FOUND, Headers::new()),
        }
    }

    fn forward(
        &self,
        now: Instant,
        machine: &mut Proxy,
        context: ContextId,
        request: &Request<'_>,
        routed: bool,
    ) -> Result<(), (Status, Headers)> {
        let refuse = |status| (status, Headers::new());
        if routed {
            return machine.relay(now, context, &[Branch::AS_IT_IS]).map_err(|_| refuse(Status::NOT_FOUND));
        }
        let aor = address_of_record(&request.uri()).ok_or_else(|| refuse(Status::NOT_FOUND))?;
        let user = aor.split_once('@').map_or(&*aor, |(user, _)| user);
        let names = self.domains.iter().map(|domain| format!("{user}@{}", domain.to_ascii_lowercase()));
        let all = [aor.clone()].into_iter().chain(names);
        let found =
            all.map(|name| self.registrar.of(now, &name)).find(|found| !found.is_empty()).unwrap_or_default();
        if found.is_empty() {
            return Err(refuse(Status::TEMPORARILY_UNAVAILABLE));
        }
        let found = one_for_each_phone(found);
        let routes: Vec<Vec<&str>> =
            found.iter().map(|binding| binding.path.iter().map(|path| &**path).collect()).collect();
        let branches = found.iter().zip(&routes).map(|(binding, routes)| Branch {
            q: binding.q,
            routes,
            ..Branch::to(&binding.uri)
        });
        // A contact that no call can go to, or not this one (RFC 5630 §5.3), hides no other.
        let branches: Vec<_> = branches.filter(|branch| machine.check(context, branch).is_ok()).collect();
        if branches.is_empty() {
            return Err(refuse(Status::TEMPORARILY_UNAVAILABLE));
        }
        machine.relay(now, context, &branches).map_err(|_| refuse(Status::SERVER_INTERNAL_ERROR))
    }
}

/// RFC 5626 §7: of several flows to one phone the newest; the same request twice would be a loop there.
fn one_for_each_phone(all: Vec<&Binding>) -> Vec<&Binding> {
    let mut phones: Vec<(Option<String>, &Binding)> = Vec::new();
    for binding in all {
        let instance = instance_of(binding);
        match phones.iter_mut().find(|(known, _)| known.is_some() && *known == instance) {
            Some((_, known)) if known.until < binding.until => *known = binding,
            Some(_) => {}
            None => phones.push((instance, binding)),
        }
    }
    phones.into_iter().map(|(_, binding)| binding).collect()
}

/// Which phone it is, if it says so.
fn instance_of(binding: &Binding) -> Option<String> {
    let text = format!("<{}>{}", binding.uri, binding.params);
    let contact = Contact::whole(text.as_bytes()).ok()?;
    let instance = contact.address()?.params.get("+sip.instance")?;
    Some(String::from_utf8_lossy(instance).into_owned())
}

impl TransactionUser<Proxy> for Home {
    fn event(&mut self, now: Instant, machine: &mut Proxy, event: Event<'_>) {
        match event {
            Event::Request { context, request, routed, recorded, .. } => {
                self.requests += 1;
                self.on_request(now, machine, context, &request, (routed, recorded));
            }
            Event::Answered { .. } => self.answered += 1,
            _ => {}
        }
    }
}
