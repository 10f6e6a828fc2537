//! What an agent answers a REGISTER with: a registrar in memory, behind a password if it was given one.

use crate::Instant;
use crate::auth::{Authenticator, Guard, Secret, Verdict};
use crate::message::{Request, Status};
use crate::registrar::{Bindings, Headers, Policy};
use alloc::string::String;

/// Whether a request is about the address of this user.
fn is_user(request: &Request<'_>, username: &str) -> bool {
    let uri = request.to().uri();
    uri.is_ok_and(|uri| uri.as_sip().is_some_and(|sip| sip.user == Some(username.as_bytes())))
}

/// A registrar for one user.
pub(super) struct Registrar {
    bindings: Bindings,
    door: Option<(Authenticator, String, String)>,
}

impl Registrar {
    /// A registrar that lets anybody in, or only who knows this name and password.
    pub(super) fn new(login: Option<(&str, &str)>, realm: &str, key: [u8; 32]) -> Self {
        let door = login.map(|(username, password)| {
            // The one algorithm that every phone speaks.
            let guard = Guard { algorithms: [crate::auth::Algorithm::Md5].into(), ..Guard::new(realm, key) };
            (Authenticator::new(guard), username.into(), password.into())
        });
        Self { bindings: Bindings::default(), door }
    }

    /// Status and headers of the response.
    pub(super) fn answer(&mut self, now: Instant, request: &Request<'_>) -> (Status, Headers) {
        if let Some((door, username, password)) = &mut self.door {
            let verdict = door.claim(request).map_or(Verdict::Unproven, |claim| {
                door.verify(now, request, &claim, username, Secret::Password(password))
            });
            match verdict {
                // RFC 3261 §10.3, step 4: each for itself.
                Verdict::Accepted if !is_user(request, username) => {
                    return (Status::FORBIDDEN, Headers::new());
                }
                Verdict::Accepted => {}
                Verdict::Malformed => return (Status::BAD_REQUEST, Headers::new()),
                Verdict::Refused => return (Status::FORBIDDEN, Headers::new()),
                Verdict::Stale | Verdict::Unproven => {
                    let name = door.side().header();
                    let challenges = door.challenge(now, verdict).into_iter();
                    return (door.side().status(), challenges.map(|value| (name, value)).collect());
                }
            }
        }
        self.bindings.advance(now);
        match self.bindings.register(now, request, &Policy::default()) {
            Ok(headers) => (Status::OK, headers),
            Err(refusal) => (refusal.status, refusal.headers),
        }
    }
}
