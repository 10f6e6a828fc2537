//! The side that challenges (RFC 3261 §22.2 and §22.3, RFC 7616 §3.4.6).

use super::digest::{Algorithm, Input, Qop, Secret, equal};
use super::nonce::Nonces;
use crate::Instant;
use crate::headers::{AuthParams, Authorization, ProxyAuthorization};
use crate::message::{Request, Status};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// Who challenges: a server or registrar with 401, a proxy with 407.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// 401, WWW-Authenticate, Authorization
    Server,
    /// 407, Proxy-Authenticate, Proxy-Authorization
    Proxy,
}

impl Side {
    /// The status of a challenge.
    pub const fn status(self) -> Status {
        match self {
            Self::Server => Status::UNAUTHORIZED,
            Self::Proxy => Status::PROXY_AUTHENTICATION_REQUIRED,
        }
    }

    /// The header of a challenge.
    pub const fn header(self) -> &'static str {
        match self {
            Self::Server => "WWW-Authenticate",
            Self::Proxy => "Proxy-Authenticate",
        }
    }
}

/// What a realm is protected with.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Who challenges.
    pub side: Side,
    /// The realm.
    pub realm: String,
    /// The algorithms that are offered, the best first: a client takes the first that it knows (RFC 8760 §2.4).
    pub algorithms: Vec<Algorithm>,
    /// What may be protected.
    pub qops: Vec<Qop>,
    /// Whether clients may send the hash of their user name instead of it (RFC 7616 §3.4.4).
    pub userhash: bool,
    /// What nonces are sealed with. A new one at each start, unless the time goes on from where it was: nonces hold the time of the machine, and which
    /// counts were used is forgotten with it.
    pub key: [u8; 32],
    /// How long a nonce may be used.
    pub lifetime: Duration,
    /// How many nonces in use are remembered, so that none of their counts is taken twice. At the cap the oldest goes, and counts as stale.
    pub windows: usize,
}

impl Guard {
    /// A server's guard: MD5 and SHA-256, `auth` and `auth-int`, nonces of five minutes.
    pub fn new(realm: &str, key: [u8; 32]) -> Self {
        Self {
            side: Side::Server,
            realm: realm.into(),
            algorithms: [Algorithm::Sha256, Algorithm::Md5].into(),
            qops: [Qop::Auth, Qop::AuthInt].into(),
            userhash: false,
            key,
            lifetime: Duration::from_secs(300),
            windows: 100_000,
        }
    }
}

/// Challenges requests and judges their credentials.
///
/// ```
/// use sip_core::auth::{Authenticator, Guard, Secret, Verdict};
/// use sip_core::message::{Content, Request};
/// # fn handle(now: sip_core::Instant, request: &Request<'_>) {
/// let mut door = Authenticator::new(Guard::new("example.com", [7; 32]));
/// // For each request: whose is it?
/// let verdict = match door.claim(request) {
///     Some(claim) => door.verify(now, request, &claim, "alice", Secret::Password("wonderland")),
///     None => Verdict::Unproven,
/// };
/// // One that is malformed gets 400, and a wrong secret 403 or another challenge.
/// if matches!(verdict, Verdict::Unproven | Verdict::Stale) {
///     let challenges = door.challenge(now, verdict);
///     let headers: Vec<_> = challenges.iter().map(|value| (door.side().header(), &**value)).collect();
///     let answer = (door.side().status(), Content::headers(&headers));
/// #   let _ = answer;
/// }
/// # }
/// ```
pub struct Authenticator {
    guard: Guard,
    nonces: Nonces,
}

/// Who a request says that it is from, and its proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<'m> {
    params: AuthParams<'m>,
    realm: &'m [u8],
    username: &'m [u8],
    algorithm: Algorithm,
    hashed: bool,
}

/// What a proof is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is who it says.
    Accepted,
    /// The secret is right but the nonce is old or its count was seen before: challenge again, and the client tries again without
    /// asking its user.
    Stale,
    /// The request has no credentials for this realm: challenge it.
    Unproven,
    /// The secret is wrong.
    Refused,
    /// The credentials are malformed, or not of the kind that was asked for: 400.
    Malformed,
}

impl Claim<'_> {
    /// The user name as it stands between its quotes; nothing if it was sent as a hash.
    pub fn username(&self) -> Option<&str> {
        if self.hashed { None } else { core::str::from_utf8(self.username).ok() }
    }

    /// Whether this is the user, be its name sent as it is or as a hash.
    pub fn is(&self, username: &str) -> bool {
        let username = super::digest::quoted(username);
        if self.hashed {
            equal(self.username, &self.algorithm.hash(&[&username, self.realm]))
        } else {
            self.username == username
        }
    }

    /// The URI that its proof is for. It is that of the request as it was sent, which may have been for another one: with forwarding on the way the two
    /// need not be equal (RFC 3261 §22.4).
    pub fn uri(&self) -> Option<&[u8]> {
        self.params.get("uri")
    }

    /// By which algorithm its proof was made: a [`Secret::Hashed`] must be made by it.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Authenticator {
    /// An authenticator that has seen nobody.
    pub fn new(guard: Guard) -> Self {
        let nonces = Nonces::new(guard.key, guard.side, guard.lifetime, guard.windows.max(1));
        Self { guard, nonces }
    }

    /// Who challenges.
    pub const fn side(&self) -> Side {
        self.guard.side
    }

    /// The values of the challenge, one for each algorithm, all with a new nonce. After [`Verdict::Stale`] they say so.
    pub fn challenge(&mut self, now: Instant, verdict: Verdict) -> Vec<String> {
        let guard = &self.guard;
        let realm = super::digest::quoted(&guard.realm);
        let nonce = self.nonces.mint(now, &realm);
        let (realm, nonce) = (String::from_utf8_lossy(&realm), String::from_utf8_lossy(&nonce));
        let qops: Vec<_> = guard.qops.iter().map(|qop| qop.name()).collect();
        let qop = if qops.is_empty() { String::new() } else { format!(", qop=\"{}\"", qops.join(",")) };
        let stale = if verdict == Verdict::Stale { ", stale=true" } else { "" };
        let userhash = if guard.userhash { ", userhash=true" } else { "" };
        let value = |algorithm: &Algorithm| {
            let algorithm = algorithm.name();
            format!(
                "Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm={algorithm}{qop}{stale}{userhash}"
            )
        };
        guard.algorithms.iter().map(value).collect()
    }

    /// The credentials of a request for this realm, if it has some that can be read. Ask [`username`](Claim::username) whose secret to
    /// look up, then [`verify`](Self::verify).
    pub fn claim<'m>(&self, request: &'m Request<'_>) -> Option<Claim<'m>> {
        let ours = |scheme: &'m [u8], params: AuthParams<'m>| {
            let realm = params.get("realm")?;
            let algorithm = Algorithm::named(params.get("algorithm").unwrap_or(b"MD5"))?;
            let ours = scheme.eq_ignore_ascii_case(b"Digest")
                && realm == super::digest::quoted(&self.guard.realm)
                && self.guard.algorithms.contains(&algorithm);
            let hashed = params.get("userhash").is_some_and(|value| value.eq_ignore_ascii_case(b"true"));
            let username = params.get("username")?;
            ours.then_some(Claim { params, realm, username, algorithm, hashed })
        };
        match self.guard.side {
            Side::Server => request
                .all::<Authorization<'_>>()
                .flatten()
                .find_map(|found| ours(found.scheme, found.params)),
            Side::Proxy => request
                .all::<ProxyAuthorization<'_>>()
                .flatten()
                .find_map(|found| ours(found.scheme, found.params)),
        }
    }

    fn offers_auth(&self) -> bool {
        self.guard.qops.is_empty() || self.guard.qops.contains(&Qop::Auth)
    }

    /// Judges a claim by the name and the secret of its user. For a user that does not exist give some secret all the same: then nobody
    /// learns from the time it takes who exists.
    pub fn verify(
        &mut self,
        now: Instant,
        request: &Request<'_>,
        claim: &Claim<'_>,
        username: &str,
        secret: Secret<'_>,
    ) -> Verdict {
        let params = claim.params;
        let (Some(nonce), Some(uri), Some(response)) =
            (params.get("nonce"), params.get("uri"), params.get("response"))
        else {
            return Verdict::Malformed;
        };
        // A count is eight digits (RFC 7616 §3.4); some write fewer.
        let count = |nc: &[u8]| {
            let digits = nc.iter().all(u8::is_ascii_hexdigit).then_some(nc)?;
            u32::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()
        };
        let (quality, count) = match params.get("qop") {
            // Without qop there is no count: such a nonce is good for once. It stands for `auth` (RFC 8760 §2.7), and a session key needs one
            // (RFC 3261 §22.4).
            None if claim.algorithm.is_sess() || !self.offers_auth() => return Verdict::Malformed,
            None => (None, Some(1)),
            Some(qop) => {
                let qop = Qop::named(qop).filter(|qop| self.guard.qops.contains(qop));
                let (Some(qop), Some(nc), Some(cnonce)) = (qop, params.get("nc"), params.get("cnonce"))
                else {
                    return Verdict::Malformed;
                };
                (Some((qop, nc, cnonce)), count(nc))
            }
        };
        let Some(count) = count else { return Verdict::Malformed };
        // RFC 3261 §22.4: a proxy on the way may have put another Request-URI there; who cares asks the claim for its URI.
        let input = Input {
            algorithm: claim.algorithm,
            username: &super::digest::quoted(username),
            realm: claim.realm,
            secret,
            nonce,
            method: request.method().as_bytes(),
            uri,
            body: request.body(),
            quality,
            first_cnonce: None,
        };
        let id = self.nonces.read(nonce, claim.realm);
        // RFC 7616 §3.4.2: the key of a session is made with the cnonce of its first request; some make one with that of each.
        let session = id.filter(|_| claim.algorithm.is_sess()).and_then(|id| self.nonces.first_cnonce(id));
        let response = response.to_ascii_lowercase();
        let by = |first_cnonce| equal(&Input { first_cnonce, ..input }.response(), &response);
        let proven = by(None) || session.is_some_and(|cnonce| by(Some(cnonce)));
        if !proven || !claim.is(username) {
            return Verdict::Refused;
        }
        let Some(id) = id.filter(|id| self.nonces.is_fresh(now, *id)) else { return Verdict::Stale };
        let cnonce = quality.filter(|_| claim.algorithm.is_sess()).map(|(_, _, cnonce)| cnonce);
        if self.nonces.count(now, id, count, cnonce) { Verdict::Accepted } else { Verdict::Stale }
    }
}
