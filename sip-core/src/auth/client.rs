//! The side that is challenged (RFC 3261 §22.2, §22.3; RFC 7616 §3.3, §3.4; RFC 8760 §2.4).

use super::Credentials;
use super::digest::{Algorithm, Input, Qop, Secret, hex, quoted};
use crate::headers::{
    AuthParams, Authorization, Header, Name, ProxyAuthenticate, ProxyAuthorization, WwwAuthenticate,
};
use crate::message::{Message, Method, Writer};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// What this side answers the challenges of one peer with: one answer for each realm, used again in later requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    answers: Vec<Answer>,
    /// The credentials that were given with the request; they come before those of the configuration.
    own: Box<[Credentials]>,
}

/// How to answer one realm.
#[derive(Clone, Debug)]
struct Answer {
    proxy: bool,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    opaque: Option<Vec<u8>>,
    algorithm: Algorithm,
    /// The spelling of the challenge; nothing if it named none.
    named: bool,
    qop: Option<Qop>,
    userhash: bool,
    /// How often this nonce was used.
    count: u32,
    /// What its session key was made with.
    cnonce: Option<u64>,
}

/// The realms that requests of one dialog, or one request, answer at once.
const MOST_REALMS: usize = 8;

impl Answers {
    /// None yet, with these credentials.
    pub(crate) fn with(own: &[Credentials]) -> Self {
        Self { answers: Vec::new(), own: own.into() }
    }

    /// None yet, with the same credentials.
    pub(crate) fn anew(&self) -> Self {
        Self { answers: Vec::new(), own: self.own.clone() }
    }

    /// Takes the challenges of a 401 or 407. True if the request is worth being sent again: there are credentials for one of the realms
    /// whose challenge is new. A realm that refuses an answer made with the nonce it just gave, or gives another nonce without saying that the old
    /// one was stale, refuses the password: then there is nothing to try.
    ///
    /// `request` is the request that was refused.
    pub(crate) fn challenged(
        &mut self,
        request: &Message<'_>,
        response: &Message<'_>,
        credentials: &[Credentials],
    ) -> bool {
        let mut fresh: Vec<Answer> = Vec::new();
        let server = response.all::<WwwAuthenticate<'_>>().flatten();
        let proxies = response.all::<ProxyAuthenticate<'_>>().flatten();
        let server = server.map(|challenge| (false, challenge.scheme, challenge.params));
        let proxies = proxies.map(|challenge| (true, challenge.scheme, challenge.params));
        for (proxy, scheme, params) in server.chain(proxies) {
            let Some(answer) = Answer::to(proxy, scheme, params) else { continue };
            let known = find(&self.own, credentials, &answer.realm).is_some();
            // RFC 8760 §2.4: of several for one realm the topmost that is known.
            if !known || fresh.iter().any(|other| other.is_for(proxy, &answer.realm)) {
                continue;
            }
            let stale = params.get("stale").is_some_and(|value| value.eq_ignore_ascii_case(b"true"));
            let refused = sent(request, proxy, &answer.realm)
                .is_some_and(|nonce| nonce == answer.nonce || (!stale && self.is_first_use(&answer, nonce)));
            if refused {
                return false;
            }
            fresh.push(answer);
        }
        let worth = !fresh.is_empty();
        for mut answer in fresh {
            // RFC 7616 §3.4: the same nonce goes on to be counted.
            let known = |old: &&Answer| old.is_for(answer.proxy, &answer.realm) && old.nonce == answer.nonce;
            if let Some(old) = self.answers.iter().find(known) {
                (answer.count, answer.cnonce) = (old.count, old.cnonce);
            }
            self.answers.retain(|old| !old.is_for(answer.proxy, &answer.realm));
            self.answers.push(answer);
        }
        // The oldest go: who challenges with ever new realms does not make requests grow.
        let surplus = self.answers.len().saturating_sub(MOST_REALMS);
        self.answers.drain(..surplus);
        worth
    }

    /// Whether the nonce in the refused request was used there for the first time: it was the answer to a challenge, and not an old one that
    /// was used again.
    fn is_first_use(&self, answer: &Answer, nonce: &[u8]) -> bool {
        let old = self.answers.iter().find(|old| old.is_for(answer.proxy, &answer.realm));
        old.is_some_and(|old| old.nonce == nonce && old.count == 1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Writes the credentials of a request: Authorization, Proxy-Authorization.
    pub(crate) fn write(
        &mut self,
        writer: &mut Writer<'_>,
        method: Method<'_>,
        uri: &[u8],
        body: &[u8],
        credentials: &[Credentials],
        random: u64,
    ) {
        for answer in &mut self.answers {
            if let Some(credentials) = find(&self.own, credentials, &answer.realm) {
                answer.write(writer, method, uri, body, credentials, random);
            }
        }
    }
}

/// The credentials for a realm: its own, or those for every realm; of the first list that has some.
fn find<'c>(first: &'c [Credentials], then: &'c [Credentials], realm: &[u8]) -> Option<&'c Credentials> {
    let own = |of: &&Credentials| of.realm.as_ref().is_some_and(|of| quoted(of) == realm);
    let of =
        |all: &'c [Credentials]| all.iter().find(own).or_else(|| all.iter().find(|of| of.realm.is_none()));
    of(first).or_else(|| of(then))
}

/// The nonce that a request has credentials for a realm with.
fn sent<'m>(request: &'m Message<'_>, proxy: bool, realm: &[u8]) -> Option<&'m [u8]> {
    let nonce = |params: AuthParams<'m>| params.get("nonce").filter(|_| params.get("realm") == Some(realm));
    if proxy {
        request.all::<ProxyAuthorization<'_>>().flatten().find_map(|found| nonce(found.params))
    } else {
        request.all::<Authorization<'_>>().flatten().find_map(|found| nonce(found.params))
    }
}

impl Answer {
    /// How to answer a challenge; nothing if it wants what this side can't.
    fn to(proxy: bool, scheme: &[u8], params: AuthParams<'_>) -> Option<Self> {
        let algorithm = params.get("algorithm");
        // RFC 7616 §3.3: without qop it is of RFC 2069; with it, `auth` costs least.
        let qop = match params.get("qop") {
            None => None,
            Some(offered) => {
                let all = offered.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                Some(all.filter_map(Qop::named).min_by_key(|qop| *qop as u8)?)
            }
        };
        scheme.eq_ignore_ascii_case(b"Digest").then_some(())?;
        Some(Self {
            proxy,
            realm: params.get("realm")?.into(),
            nonce: params.get("nonce")?.into(),
            opaque: params.get("opaque").map(Vec::from),
            algorithm: Algorithm::named(algorithm.unwrap_or(b"MD5"))?,
            named: algorithm.is_some(),
            qop,
            userhash: params.get("userhash").is_some_and(|value| value.eq_ignore_ascii_case(b"true")),
            count: 0,
            cnonce: None,
        })
    }

    fn is_for(&self, proxy: bool, realm: &[u8]) -> bool {
        self.proxy == proxy && self.realm == realm
    }

    fn write(
        &mut self,
        writer: &mut Writer<'_>,
        method: Method<'_>,
        uri: &[u8],
        body: &[u8],
        credentials: &Credentials,
        random: u64,
    ) {
        self.count = self.count.wrapping_add(1);
        let username = quoted(&credentials.username);
        // RFC 7616 §3.4.2: a session key is made once, with the first cnonce.
        let random = if self.algorithm.is_sess() { *self.cnonce.get_or_insert(random) } else { random };
        let (count, cnonce) = (hex(&self.count.to_be_bytes()), hex(&random.to_be_bytes()));
        let input = Input {
            algorithm: self.algorithm,
            username: &username,
            realm: &self.realm,
            secret: Secret::Password(&credentials.password),
            nonce: &self.nonce,
            method: method.as_bytes(),
            uri,
            body,
            quality: self.qop.map(|qop| (qop, &count[..], &cnonce[..])),
            first_cnonce: None,
        };
        let response = input.response();
        let hashed = self.userhash.then(|| self.algorithm.hash(&[&username, &self.realm]));
        let username = hashed.as_deref().unwrap_or(&username);
        let mut parts: Vec<&[u8]> = Vec::with_capacity(32);
        parts.extend([&b"Digest username=\""[..], username, b"\", realm=\"", &self.realm, b"\", nonce=\""]);
        parts.extend([&self.nonce[..], b"\", uri=\"", uri, b"\", response=\"", &response, b"\""]);
        if self.named {
            parts.extend([&b", algorithm="[..], self.algorithm.name().as_bytes()]);
        }
        if let Some(opaque) = &self.opaque {
            parts.extend([&b", opaque=\""[..], opaque, b"\""]);
        }
        if let Some(qop) = self.qop {
            parts.extend([&b", qop="[..], qop.name().as_bytes(), b", nc=", &count]);
            parts.extend([&b", cnonce=\""[..], &cnonce, b"\""]);
        }
        if self.userhash {
            parts.push(b", userhash=true");
        }
        let name = if self.proxy { ProxyAuthorization::NAME } else { Authorization::NAME };
        debug_assert!(matches!(name, Name::Authorization | Name::ProxyAuthorization));
        writer.field(name, &parts);
    }
}

#[cfg(feature = "snapshot")]
mod kept {
    use super::{Algorithm, Answer, Answers, Credentials, Qop};
    use crate::snapshot::{In, Keep, NotByte, Out, RestoreError, kept, kept_enum};
    use alloc::vec::Vec;

    impl Keep for Answers {
        fn keep(&self, out: &mut Out<'_>) {
            out.map(2);
            out.field(1, &self.answers);
            out.field(2, &self.own.to_vec());
        }

        fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
            let mut answers = Self::default();
            from.fields(|number, from| {
                match number {
                    1 => answers.answers = Keep::back(from)?,
                    2 => answers.own = Vec::back(from)?.into(),
                    _ => from.skip()?,
                }
                Ok(())
            })?;
            Ok(answers)
        }

        fn missing() -> Result<Self, RestoreError> {
            Ok(Self::default())
        }
    }

    impl NotByte for Answer {}
    impl NotByte for Credentials {}
    kept!(Credentials { 1 realm, 2 username, 3 password });
    kept!(Answer { 1 proxy, 2 realm, 3 nonce, 4 opaque, 5 algorithm, 6 named, 7 qop, 8 userhash, 9 count, 10 cnonce });
    kept_enum!(Algorithm { 1 Md5, 2 Md5Sess, 3 Sha256, 4 Sha256Sess, 5 Sha512_256, 6 Sha512_256Sess });
    kept_enum!(Qop { 1 Auth, 2 AuthInt });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instant;
    use crate::auth::{Authenticator, Guard, Side, Verdict};
    use crate::config::Limits;
    use crate::message::Request;
    use std::string::{String, ToString};

    fn request(method: &str, headers: &str, body: &str) -> String {
        std::format!(
            "{method} sip:registrar.example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\
             From: <sip:a@h>;tag=1\r\nTo: <sip:a@h>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n{headers}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn challenge(headers: &[&str]) -> String {
        let headers: String = headers.iter().map(|header| std::format!("{header}\r\n")).collect();
        std::format!(
            "SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
             To: <sip:a@h>;tag=2\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n{headers}Content-Length: 0\r\n\r\n"
        )
    }

    fn challenged(answers: &mut Answers, request: &str, response: &str, known: &[Credentials]) -> bool {
        let request = Message::parse(request.as_bytes(), &Limits::DEFAULT).unwrap();
        let response = Message::parse(response.as_bytes(), &Limits::DEFAULT).unwrap();
        answers.challenged(&request, &response, known)
    }

    fn written(answers: &mut Answers, known: &[Credentials], body: &str) -> String {
        let mut out = Vec::new();
        let mut writer = Writer::resume(&mut out);
        let uri = b"sip:registrar.example.com";
        answers.write(&mut writer, Method::Register, uri, body.as_bytes(), known, 0xabcd);
        String::from_utf8(out).unwrap()
    }

    const BARE: &str = "Digest realm=\"r\", nonce=\"n1\"";

    #[test]
    fn each_realm_gets_its_own_answer() {
        let own = Credentials { realm: Some("r".into()), ..Credentials::new("alice", "pr") };
        let known = [Credentials::new("anyone", "pa"), own];
        let mut answers = Answers::default();
        let response = challenge(&[
            "WWW-Authenticate: Basic realm=\"r\"",
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"a\", algorithm=SHA-1024",
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"b\", algorithm=SHA-256, qop=\"auth-int,auth\", opaque=\"o\"",
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"c\", algorithm=MD5",
            "Proxy-Authenticate: Digest realm=\"p\", nonce=\"d\", qop=\"auth-int\"",
        ]);
        assert!(challenged(&mut answers, &request("REGISTER", "", ""), &response, &known));
        let text = written(&mut answers, &known, "body");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with("Authorization: Digest username=\"alice\", realm=\"r\", nonce=\"b\""));
        assert!(lines[0].contains("algorithm=SHA-256, opaque=\"o\", qop=auth, nc=00000001, cnonce="));
        assert!(lines[1].starts_with("Proxy-Authorization: Digest username=\"anyone\", realm=\"p\""));
        assert!(lines[1].contains("qop=auth-int") && !lines[1].contains("algorithm"));
        // A proxy is not helped by the server's answer, nor the other way round.
        assert!(!challenged(&mut Answers::default(), &request("REGISTER", "", ""), &response, &[]));
    }

    /// The count is in hexadecimal digits and never wraps early.
    #[test]
    fn nc_is_hexadecimal() {
        let known = [Credentials::new("a", "p")];
        let mut answers = Answers::default();
        let response = challenge(&[&std::format!("WWW-Authenticate: {BARE}, qop=\"auth\"")]);
        assert!(challenged(&mut answers, &request("REGISTER", "", ""), &response, &known));
        let all: Vec<_> = (0..300).map(|_| written(&mut answers, &known, "")).collect();
        assert!(all[9].contains("nc=0000000a"));
        assert!(all[299].contains("nc=0000012c"));
    }

    #[test]
    fn one_retry_then_it_gives_up() {
        let known = [Credentials::new("a", "p")];
        let mut answers = Answers::default();
        let first = challenge(&[&std::format!("WWW-Authenticate: {BARE}")]);
        let other = challenge(&["WWW-Authenticate: Digest realm=\"r\", nonce=\"n2\""]);
        let stale = challenge(&["WWW-Authenticate: Digest realm=\"r\", nonce=\"n2\", stale=TRUE"]);
        let plain = request("REGISTER", "", "");
        assert!(challenged(&mut answers, &plain, &first, &known));
        let sent = request("REGISTER", &written(&mut answers, &known, ""), "");
        assert!(!challenged(&mut answers.clone(), &sent, &first, &known), "the same nonce again");
        assert!(!challenged(&mut answers.clone(), &sent, &other, &known), "refused, and not stale");
        assert!(challenged(&mut answers.clone(), &sent, &stale, &known));
        // A nonce that was good once may have aged without the server saying so.
        let sent = request("REGISTER", &written(&mut answers, &known, ""), "");
        assert!(challenged(&mut answers, &sent, &other, &known));
        assert!(written(&mut answers, &known, "").contains("nonce=\"n2\""));
    }

    /// Both sides, every algorithm, with and without the body.
    #[test]
    fn the_authenticator_takes_what_the_client_writes() {
        let known = [Credentials::new("dave \"d\"", "p@ss w0rd")];
        let now = Instant::from_millis(5_000);
        for algorithm in ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess"] {
            for (qop, userhash) in [(Qop::Auth, false), (Qop::AuthInt, false), (Qop::Auth, true)] {
                let guard = Guard {
                    algorithms: [Algorithm::named(algorithm.as_bytes()).unwrap()].into(),
                    qops: [qop].into(),
                    userhash,
                    ..Guard::new("my \"realm\"", [9; 32])
                };
                let mut door = Authenticator::new(guard);
                let value = door.challenge(now, Verdict::Unproven).remove(0);
                let mut answers = Answers::default();
                let response = challenge(&[&std::format!("WWW-Authenticate: {value}")]);
                assert!(challenged(&mut answers, &request("REGISTER", "", ""), &response, &known));
                let text = request("REGISTER", &written(&mut answers, &known, "body"), "body");
                let mut judge = |text: &str, name: &str, password: &str| {
                    let request = Request::parse(text.as_bytes()).unwrap();
                    let claim = door.claim(&request).unwrap();
                    assert_eq!(claim.username().is_none(), userhash);
                    door.verify(now, &request, &claim, name, Secret::Password(password))
                };
                assert_eq!(judge(&text, "dave \"d\"", "wrong"), Verdict::Refused);
                assert_eq!(judge(&text, "eve", "p@ss w0rd"), Verdict::Refused);
                let other = text.replace("\r\n\r\nbody", "\r\n\r\nmore");
                let expected = if qop == Qop::AuthInt { Verdict::Refused } else { Verdict::Accepted };
                assert_eq!(judge(&other, "dave \"d\"", "p@ss w0rd"), expected);
                let expected = if qop == Qop::AuthInt { Verdict::Accepted } else { Verdict::Stale };
                assert_eq!(judge(&text, "dave \"d\"", "p@ss w0rd"), expected, "a count is taken once");
                assert_eq!(judge(&text, "dave \"d\"", "p@ss w0rd"), Verdict::Stale);
            }
        }
    }

    #[test]
    fn what_the_authenticator_refuses() {
        let known = [Credentials::new("a", "p")];
        let now = Instant::from_millis(5_000);
        let mut door = Authenticator::new(Guard { side: Side::Proxy, ..Guard::new("r", [9; 32]) });
        assert_eq!((door.side().status().code(), door.side().header()), (407, "Proxy-Authenticate"));
        let value = door.challenge(now, Verdict::Stale).remove(0);
        assert!(value.ends_with(", algorithm=SHA-256, qop=\"auth,auth-int\", stale=true"), "{value}");
        let mut answers = Answers::default();
        let response = challenge(&[&std::format!("Proxy-Authenticate: {value}")]);
        assert!(challenged(&mut answers, &request("REGISTER", "", ""), &response, &known));
        let good = request("REGISTER", &written(&mut answers, &known, ""), "");
        let mut judge = |now, text: &str| {
            let request = Request::parse(text.as_bytes()).unwrap();
            let claim = door.claim(&request)?;
            Some(door.verify(now, &request, &claim, "a", Secret::Password("p")))
        };
        assert_eq!(judge(now, &request("REGISTER", "", "")), None);
        // For the server, not for the proxy; another realm; an algorithm that was not offered.
        assert_eq!(judge(now, &good.replace("Proxy-Auth", "Auth")), None);
        assert_eq!(judge(now, &good.replace("realm=\"r\"", "realm=\"s\"")), None);
        assert_eq!(judge(now, &good.replace("SHA-256", "SHA-512-256")), None);
        let refused = |change: (&str, &str)| good.replace(change.0, change.1);
        assert_eq!(judge(now, &refused(("uri=\"sip:reg", "uri=\"sip:rag"))), Some(Verdict::Refused));
        assert_eq!(judge(now, &refused(("nc=00000001", "nc=-1"))), Some(Verdict::Malformed));
        assert_eq!(judge(now, &refused(("nc=00000001", "nc=00000002"))), Some(Verdict::Refused));
        assert_eq!(judge(now, &refused(("qop=auth", "qop=none"))), Some(Verdict::Malformed));
        assert_eq!(judge(now, &refused((", cnonce=", ", xnonce="))), Some(Verdict::Malformed));
        assert_eq!(judge(now, &refused((", nonce=\"0", ", nonce=\"1"))), Some(Verdict::Refused));
        let late = Instant::from_millis(1_000_000);
        assert_eq!(judge(late, &good), Some(Verdict::Stale), "the password is right, the nonce is old");
        assert_eq!(judge(now, &good.to_string()), Some(Verdict::Accepted));
    }

    /// What was forgotten at the cap counts as stale, and is not taken twice.
    #[test]
    fn no_replay_at_the_cap() {
        let known = [Credentials::new("a", "p")];
        let now = Instant::from_millis(5_000);
        let mut door = Authenticator::new(Guard { windows: 2, ..Guard::new("r", [9; 32]) });
        let requests: Vec<String> = (0..4)
            .map(|_| {
                let value = door.challenge(now, Verdict::Unproven).remove(0);
                let mut answers = Answers::default();
                let response = challenge(&[&std::format!("WWW-Authenticate: {value}")]);
                assert!(challenged(&mut answers, &request("REGISTER", "", ""), &response, &known));
                request("REGISTER", &written(&mut answers, &known, ""), "")
            })
            .collect();
        let mut judge = |at: usize| {
            let request = Request::parse(requests[at].as_bytes()).unwrap();
            let claim = door.claim(&request).unwrap();
            door.verify(now, &request, &claim, "a", Secret::Password("p"))
        };
        assert_eq!([judge(1), judge(2), judge(0), judge(3)], [Verdict::Accepted; 4]);
        assert_eq!(judge(1), Verdict::Stale, "the very same request again");
    }

    /// RFC 3261 §22.4: another Request-URI is no failure; the claim says for which URI it is.
    #[test]
    fn a_request_that_a_proxy_has_retargeted() {
        let known = [Credentials::new("a", "p")];
        let now = Instant::from_millis(5_000);
        let mut door = Authenticator::new(Guard::new("r", [9; 32]));
        let value = door.challenge(now, Verdict::Unproven).remove(0);
        let mut answers = Answers::default();
        let response = challenge(&[&std::format!("WWW-Authenticate: {value}")]);
        assert!(challenged(&mut answers, &request("INVITE", "", ""), &response, &known));
        let mut out = Vec::new();
        let mut writer = Writer::resume(&mut out);
        answers.write(&mut writer, Method::Invite, b"sip:registrar.example.com", b"", &known, 1);
        let text = request("INVITE", &String::from_utf8(out).unwrap(), "");
        // The proxy of the domain puts the bound contact in the place of the address-of-record (16.5, 16.6 item 2).
        let text = text.replace("INVITE sip:registrar.example.com SIP", "INVITE sip:bob@192.0.2.4 SIP");
        let request = Request::parse(text.as_bytes()).unwrap();
        let claim = door.claim(&request).unwrap();
        assert_eq!(door.verify(now, &request, &claim, "a", Secret::Password("p")), Verdict::Accepted);
    }

    /// Who demands auth-int gets it.
    #[test]
    fn auth_int_is_not_left_out() {
        let known = [Credentials::new("a", "p")];
        let now = Instant::from_millis(5_000);
        let mut door = Authenticator::new(Guard { qops: [Qop::AuthInt].into(), ..Guard::new("r", [9; 32]) });
        let value = door.challenge(now, Verdict::Unproven).remove(0);
        // Somebody on the way has taken the qop out of the challenge (RFC 7616 5.8), and writes the body anew.
        let value = value.replace(", qop=\"auth-int\"", "");
        let mut answers = Answers::default();
        let response = challenge(&[&std::format!("WWW-Authenticate: {value}")]);
        assert!(challenged(&mut answers, &request("REGISTER", "", ""), &response, &known));
        let text = request("REGISTER", &written(&mut answers, &known, "good"), "evil");
        let request = Request::parse(text.as_bytes()).unwrap();
        let claim = door.claim(&request).unwrap();
        assert_ne!(door.verify(now, &request, &claim, "a", Secret::Password("p")), Verdict::Accepted);
    }

    /// RFC 7616 §3.4.2: A1 of -sess is made with the cnonce of the first request under its nonce.
    #[test]
    fn a_session_key_is_made_once() {
        let known = [Credentials::new("a", "p")];
        let mut answers = Answers::default();
        let response =
            challenge(&[&std::format!("WWW-Authenticate: {BARE}, qop=\"auth\", algorithm=MD5-sess")]);
        assert!(challenged(&mut answers, &request("REGISTER", "", ""), &response, &known));
        let mut write = |random| {
            let mut out = Vec::new();
            let mut writer = Writer::resume(&mut out);
            answers.write(&mut writer, Method::Register, b"sip:r", b"", &known, random);
            String::from_utf8(out).unwrap()
        };
        let (_, second) = (write(1), write(2));
        let md5 = |parts: &[&[u8]]| Algorithm::Md5.hash(parts);
        let first = hex(&1_u64.to_be_bytes());
        let value = |name: &str| {
            second.split(&std::format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap().to_string()
        };
        let a1 = md5(&[&md5(&[b"a", b"r", b"p"]), b"n1", &first]);
        let a2 = md5(&[b"REGISTER", b"sip:r"]);
        let good = md5(&[&a1, b"n1", b"00000002", value("cnonce").as_bytes(), b"auth", &a2]);
        assert_eq!(value("response").as_bytes(), &good[..], "{second}");
    }

    /// RFC 7616 §3.4.2: at the server, too: later requests may have another cnonce, and the key is that of the first. One that is made with the
    /// cnonce of each request is taken as well.
    #[test]
    fn a_session_key_lasts_at_the_server() {
        let now = Instant::from_millis(5_000);
        let guard = Guard { algorithms: [Algorithm::Sha256Sess].into(), ..Guard::new("r", [9; 32]) };
        let mut door = Authenticator::new(guard);
        let value = door.challenge(now, Verdict::Unproven).remove(0);
        let nonce = value.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap();
        let hash = |parts: &[&[u8]]| Algorithm::Sha256.hash(parts);
        let mut judge = |key: &str, cnonce: &str, count: &str| {
            let a1 = hash(&[&hash(&[b"a", b"r", b"p"]), nonce.as_bytes(), key.as_bytes()]);
            let a2 = hash(&[b"REGISTER", b"sip:r"]);
            let proof = hash(&[&a1, nonce.as_bytes(), count.as_bytes(), cnonce.as_bytes(), b"auth", &a2]);
            let proof = String::from_utf8(proof.to_vec()).unwrap();
            let line = std::format!(
                "Authorization: Digest username=\"a\", realm=\"r\", nonce=\"{nonce}\", uri=\"sip:r\", response=\"{proof}\", \
                 algorithm=SHA-256-sess, qop=auth, nc={count}, cnonce=\"{cnonce}\"\r\n"
            );
            let text = request("REGISTER", &line, "");
            let request = Request::parse(text.as_bytes()).unwrap();
            let claim = door.claim(&request).unwrap();
            door.verify(now, &request, &claim, "a", Secret::Password("p"))
        };
        assert_eq!(judge("c1", "c2", "00000001"), Verdict::Refused, "no first request has made that key");
        assert_eq!(judge("c1", "c1", "00000001"), Verdict::Accepted);
        assert_eq!(judge("c1", "c2", "00000002"), Verdict::Accepted);
        assert_eq!(judge("c3", "c3", "00000003"), Verdict::Accepted);
        assert_eq!(judge("c3", "c4", "00000004"), Verdict::Refused, "the key is still that of the first");
        assert_eq!(judge("c1", "c2", "00000002"), Verdict::Stale);
    }

    /// RFC 8760 §2.4: a scheme that is not known is passed over.
    #[test]
    fn a_scheme_alone_does_not_hide_the_others() {
        let known = [Credentials::new("a", "p")];
        let response = challenge(&["WWW-Authenticate: Negotiate", &std::format!("WWW-Authenticate: {BARE}")]);
        assert!(challenged(&mut Answers::default(), &request("REGISTER", "", ""), &response, &known));
    }
}
