//! An agent that is the home of its users: their registrar, and the proxy that finds them.

use super::registrar::{Door, Registrar, admit, is_user};
use crate::auth::{Authenticator, Guard, Side};
use crate::message::{Content, Method, Request, Status};
use crate::proxy::{Branch, Config, Event, Origin, Proxy};
use crate::registrar::{Binding, Headers, address_of_record, by_phone};
use crate::{ContextId, Instant, Machine, TransactionUser};
use alloc::collections::BTreeMap;
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
    /// The flows by which the phones of a request have not been tried, the next one last; a branch has the place of its phone as its number.
    untried: BTreeMap<ContextId, Vec<Vec<Binding>>>,
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
        Self {
            registrar,
            door,
            domains: options.domains.clone(),
            untried: BTreeMap::new(),
            requests: 0,
            answered: 0,
        }
    }

    /// Lets a proxy do what this agent goes by.
    pub fn configure(config: &mut Config, options: &HomeOptions) {
        config.domains.clone_from(&options.domains);
        config.record_route = true;
        config.guarded = !options.logins.is_empty();
        // When one flow of a phone has failed, another is tried.
        config.ask = true;
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
        &mut self,
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
        // A contact that no call can go to, or not this one (RFC 5630 §5.3), hides no other.
        let found = found
            .into_iter()
            .filter(|binding| with_branch(binding, 0, |branch| machine.check(context, branch)).is_ok());
        let phones = by_phone(found);
        let first: Vec<&Binding> = phones.iter().filter_map(|flows| flows.first().copied()).collect();
        if first.is_empty() {
            return Err(refuse(Status::TEMPORARILY_UNAVAILABLE));
        }
        let paths: Vec<Vec<&str>> = first.iter().map(|binding| path_of(binding)).collect();
        let places = first.iter().zip(&paths).zip(0..);
        let branches: Vec<_> =
            places.map(|((binding, path), place)| branch_to(binding, path, place)).collect();
        machine.relay(now, context, &branches).map_err(|_| refuse(Status::SERVER_INTERNAL_ERROR))?;
        if phones.iter().any(|flows| flows.len() > 1) {
            let others = |flows: &Vec<&Binding>| {
                flows.iter().skip(1).rev().map(|binding| (*binding).clone()).collect()
            };
            let untried = phones.iter().map(others).collect();
            self.untried.insert(context, untried);
        }
        Ok(())
    }

    /// RFC 5626 §7: a phone that could not be reached by one flow is tried by its next one, unless that is under way.
    fn try_next_flow(&mut self, now: Instant, machine: &mut Proxy, context: ContextId, phone: u64) {
        let phones = self.untried.get_mut(&context);
        let Some(flows) = phones.and_then(|phones| phones.get_mut(usize::try_from(phone).ok()?)) else {
            return;
        };
        let is_called = |machine: &Proxy| {
            let branches = machine.branches(context).map(|(_, user)| user);
            branches.chain(machine.waiting(context)).any(|user| user == phone)
        };
        while !is_called(machine) {
            let Some(binding) = flows.pop() else { return };
            // What can't be sent has failed at once.
            let _ = with_branch(&binding, phone, |branch| machine.relay(now, context, &[*branch]));
        }
    }

    /// All that were called have failed: those that have other flows are tried by them. The others have their answer.
    fn all_failed(&mut self, now: Instant, machine: &mut Proxy, context: ContextId, best: Status) {
        let phones = self.untried.get(&context).map_or(0, Vec::len);
        (0..).zip(0..phones).for_each(|(phone, _)| self.try_next_flow(now, machine, context, phone));
        if machine.branches(context).next().is_some() || machine.waiting(context).next().is_some() {
            return;
        }
        let _ = match best {
            // What a flow was is nothing to the caller.
            Status::FLOW_FAILED => {
                machine.respond(now, context, Status::TEMPORARILY_UNAVAILABLE, &Content::NONE)
            }
            _ => machine.forward_best(now, context),
        };
    }

    /// A phone has refused: by whatever flow, that is its answer.
    fn refused(&mut self, context: ContextId, phone: u64) {
        let phones = self.untried.get_mut(&context);
        if let Some(flows) = phones.and_then(|phones| phones.get_mut(usize::try_from(phone).ok()?)) {
            flows.clear();
        }
    }
}

fn path_of(binding: &Binding) -> Vec<&str> {
    binding.path.iter().map(|path| &**path).collect()
}

fn branch_to<'a>(binding: &'a Binding, path: &'a [&'a str], phone: u64) -> Branch<'a> {
    Branch { q: binding.q, routes: path, user: phone, ..Branch::to(&binding.uri) }
}

fn with_branch<T>(binding: &Binding, phone: u64, then: impl FnOnce(&Branch<'_>) -> T) -> T {
    then(&branch_to(binding, &path_of(binding), phone))
}

impl TransactionUser<Proxy> for Home {
    fn event(&mut self, now: Instant, machine: &mut Proxy, event: Event<'_>) {
        match event {
            Event::Request { context, request, routed, recorded, .. } => {
                self.requests += 1;
                self.on_request(now, machine, context, &request, (routed, recorded));
            }
            Event::Response { context, branch_user, response, .. }
                if matches!(response.status(), Status::FLOW_FAILED | Status::REQUEST_TIMEOUT) =>
            {
                self.try_next_flow(now, machine, context, branch_user);
            }
            Event::BranchFailed { context, branch_user, outcome, .. }
                if outcome.origin != Origin::Cancelled =>
            {
                self.try_next_flow(now, machine, context, branch_user);
            }
            Event::Response { context, branch_user, response, .. } if response.status().is_final() => {
                self.refused(context, branch_user);
            }
            Event::AllFailed { context, best, .. } => self.all_failed(now, machine, context, best.status),
            Event::Ended { context, .. } => {
                self.untried.remove(&context);
            }
            Event::Answered { .. } => self.answered += 1,
            _ => {}
        }
    }
}
