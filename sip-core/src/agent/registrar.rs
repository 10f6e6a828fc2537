//! What an agent answers a REGISTER with: a registrar in memory, behind a password if it was given one.

use crate::Instant;
use crate::auth::{Authenticator, Claim, Guard, Secret, Verdict};
use crate::headers::Address;
use crate::message::{Request, Status};
use crate::registrar::{Binding, Bindings, Headers, Policy};
use crate::uri::Uri;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// Whether an address is that of this user.
pub(super) fn is_user(address: Address<'_>, username: &str) -> bool {
    let uri = address.uri();
    uri.is_ok_and(|uri| uri.as_sip().is_some_and(|sip| sip.user == Some(username.as_bytes())))
}

/// A registrar in memory.
pub(super) struct Registrar {
    bindings: Bindings,
    door: Option<Door>,
    /// When what has ended was forgotten last.
    swept: Instant,
}

/// How often that is done.
const SWEEP: Duration = Duration::from_secs(10);

impl Registrar {
    /// A registrar that lets in who knows one of these names with its password, each for itself; anybody if there is none.
    pub(super) fn new(logins: &[(String, String)], realm: &str, key: [u8; 32]) -> Self {
        let door = (!logins.is_empty()).then(|| {
            // The one algorithm that every phone speaks.
            let guard = Guard { algorithms: [crate::auth::Algorithm::Md5].into(), ..Guard::new(realm, key) };
            (Authenticator::new(guard), logins.to_vec())
        });
        Self { bindings: Bindings::default(), door, swept: Instant::ZERO }
    }

    /// Where an address-of-record is, the best first.
    pub(super) fn of(&self, now: Instant, aor: &str) -> Vec<&Binding> {
        self.bindings.of(now, aor)
    }

    /// How many addresses-of-record there are.
    pub(super) fn len(&self) -> usize {
        self.bindings.len()
    }

    /// Status and headers of the response.
    pub(super) fn answer(&mut self, now: Instant, request: &Request<'_>) -> (Status, Headers) {
        match admit(self.door.as_mut(), now, request) {
            // RFC 3261 §10.3, step 4: each for itself.
            Ok(Some(username)) if !is_user(request.to(), username) => {
                return (Status::FORBIDDEN, Headers::new());
            }
            Ok(_) => {}
            Err(refusal) => return refusal,
        }
        if now.since(self.swept) >= SWEEP {
            self.bindings.advance(now);
            self.swept = now;
        }
        match self.bindings.register(now, request, &Policy::default()) {
            Ok(headers) => (Status::OK, headers),
            Err(refusal) => (refusal.status, refusal.headers),
        }
    }
}

/// Names and passwords, and who asks for them.
pub(super) type Door = (Authenticator, Vec<(String, String)>);

/// Whose request it is, if that is asked for; else what it is answered with.
pub(super) fn admit<'d>(
    door: Option<&'d mut Door>,
    now: Instant,
    request: &Request<'_>,
) -> Result<Option<&'d str>, (Status, Headers)> {
    let Some((door, logins)) = door else { return Ok(None) };
    let claim = door.claim(request);
    // RFC 7616 §3.4.6: what was proven for another URI is somebody else's proof.
    let is_for_this = |claim: &Claim<'_>| {
        let (said, asked) = (claim.uri().map(Uri::parse), request.uri());
        matches!(said, Some(Ok(said)) if said.equivalent(&asked))
    };
    if claim.is_some_and(|claim| !is_for_this(&claim)) {
        return Err((Status::BAD_REQUEST, Headers::new()));
    }
    let login = claim.and_then(|claim| logins.iter().find(|(username, _)| claim.is(username)));
    let verdict = match (claim, login) {
        (Some(claim), Some((username, password))) => {
            door.verify(now, request, &claim, username, Secret::Password(password))
        }
        (Some(_), None) => Verdict::Refused,
        (None, _) => Verdict::Unproven,
    };
    match verdict {
        Verdict::Accepted => Ok(login.map(|(username, _)| &**username)),
        Verdict::Malformed => Err((Status::BAD_REQUEST, Headers::new())),
        Verdict::Refused => Err((Status::FORBIDDEN, Headers::new())),
        Verdict::Stale | Verdict::Unproven => {
            let name = door.side().header();
            let challenges = door.challenge(now, verdict).into_iter().map(|value| (name, value));
            Err((door.side().status(), challenges.collect()))
        }
    }
}
