//! The arithmetic of digests (RFC 7616 §3.4).

use alloc::vec::Vec;
use arrayvec::ArrayVec;
use core::fmt;
use md5::Md5;
use sha2::{Sha256, Sha512_256};

/// A hash function, and whether a session key is made of it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// MD5: what every phone speaks. Also meant by a challenge that names none.
    Md5,
    /// MD5-sess
    Md5Sess,
    /// SHA-256
    Sha256,
    /// SHA-256-sess
    Sha256Sess,
    /// SHA-512-256
    Sha512_256,
    /// SHA-512-256-sess
    Sha512_256Sess,
}

impl Algorithm {
    const ALL: [Self; 6] =
        [Self::Md5, Self::Md5Sess, Self::Sha256, Self::Sha256Sess, Self::Sha512_256, Self::Sha512_256Sess];

    /// The algorithm of this name; nothing if it is none of these.
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|of| of.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Its name in a header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Md5Sess => "MD5-sess",
            Self::Sha256 => "SHA-256",
            Self::Sha256Sess => "SHA-256-sess",
            Self::Sha512_256 => "SHA-512-256",
            Self::Sha512_256Sess => "SHA-512-256-sess",
        }
    }

    pub(super) const fn is_sess(self) -> bool {
        matches!(self, Self::Md5Sess | Self::Sha256Sess | Self::Sha512_256Sess)
    }

    /// The hash of parts with colons between them, in hexadecimal digits.
    pub(super) fn hash(self, parts: &[&[u8]]) -> Hex {
        fn of<D: md5::Digest>(parts: &[&[u8]]) -> Hex {
            let mut hash = D::new();
            for (at, part) in parts.iter().enumerate() {
                if at > 0 {
                    hash.update(b":");
                }
                hash.update(part);
            }
            hex(&hash.finalize())
        }
        match self {
            Self::Md5 | Self::Md5Sess => of::<Md5>(parts),
            Self::Sha256 | Self::Sha256Sess => of::<Sha256>(parts),
            Self::Sha512_256 | Self::Sha512_256Sess => of::<Sha512_256>(parts),
        }
    }
}

/// A hash in hexadecimal digits.
pub(super) type Hex = ArrayVec<u8, 64>;

pub(super) fn hex(bytes: &[u8]) -> Hex {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.take(64).map(|digit| if digit < 10 { b'0' + digit } else { b'a' - 10 + digit }).collect()
}

/// What of a request is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Qop {
    /// Method and URI.
    Auth,
    /// Those and the body.
    AuthInt,
}

impl Qop {
    /// Its name in a header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }

    pub(super) fn named(name: &[u8]) -> Option<Self> {
        [Self::Auth, Self::AuthInt].into_iter().find(|of| of.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

/// What is known of a user.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Secret<'a> {
    /// The password.
    Password(&'a str),
    /// The hash of `user:realm:password` in hexadecimal digits, by the algorithm that is used without its `-sess`.
    Hashed(&'a str),
}

/// Passwords are not for logs.
impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(…)",
            Self::Hashed(_) => "Hashed(…)",
        })
    }
}

/// All that a response is computed from.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) username: &'a [u8],
    pub(super) realm: &'a [u8],
    pub(super) secret: Secret<'a>,
    pub(super) nonce: &'a [u8],
    pub(super) method: &'a [u8],
    /// As it stands in the `uri` parameter.
    pub(super) uri: &'a [u8],
    pub(super) body: &'a [u8],
    /// Qop, nc and cnonce; nothing for what RFC 2069 had.
    pub(super) quality: Option<(Qop, &'a [u8], &'a [u8])>,
    /// The cnonce that the key of a `-sess` was made with, if it is another than that of this request (RFC 7616 §3.4.2).
    pub(super) first_cnonce: Option<&'a [u8]>,
}

impl Input<'_> {
    /// The value of `response` (RFC 7616 §3.4.1).
    pub(super) fn response(&self) -> Hex {
        let algorithm = self.algorithm;
        let hashed;
        let mut key: &[u8] = match self.secret {
            Secret::Hashed(hash) => hash.as_bytes(),
            Secret::Password(password) => {
                hashed = algorithm.hash(&[self.username, self.realm, password.as_bytes()]);
                &hashed
            }
        };
        let session;
        if algorithm.is_sess() {
            let cnonce = self.first_cnonce.or(self.quality.map(|(_, _, cnonce)| cnonce)).unwrap_or_default();
            session = algorithm.hash(&[key, self.nonce, cnonce]);
            key = &session;
        }
        let request = match self.quality {
            Some((Qop::AuthInt, ..)) => {
                algorithm.hash(&[self.method, self.uri, &algorithm.hash(&[self.body])])
            }
            _ => algorithm.hash(&[self.method, self.uri]),
        };
        match self.quality {
            Some((qop, nc, cnonce)) => {
                algorithm.hash(&[key, self.nonce, nc, cnonce, qop.name().as_bytes(), &request])
            }
            None => algorithm.hash(&[key, self.nonce, &request]),
        }
    }
}

/// Whether two texts are equal, in a time that does not tell how far.
pub(super) fn equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
}

/// Appends a value between quotes; a quote or backslash in it gets a backslash.
pub(super) fn quoted(text: &str) -> Vec<u8> {
    let escape = |byte: &u8| matches!(byte, b'"' | b'\\').then_some(b'\\');
    text.as_bytes().iter().flat_map(|byte| escape(byte).into_iter().chain([*byte])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(input: &Input<'_>) -> std::string::String {
        std::string::String::from_utf8(input.response().to_vec()).unwrap()
    }

    /// RFC 7616 §3.9.1
    #[test]
    fn mufasa() {
        let with = |algorithm| Input {
            algorithm,
            username: b"Mufasa",
            realm: b"http-auth@example.org",
            secret: Secret::Password("Circle of Life"),
            nonce: b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            method: b"GET",
            uri: b"/dir/index.html",
            body: b"",
            quality: Some((Qop::Auth, b"00000001", b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")),
            first_cnonce: None,
        };
        assert_eq!(response(&with(Algorithm::Md5)), "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(
            response(&with(Algorithm::Sha256)),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
    }

    /// RFC 7616 §3.9.2, but for its hashes, which are those of a SHA-512 cut to 256 bits: these are what Python's `hashlib` makes of
    /// the same parts.
    #[test]
    fn jason_doe() {
        let username = "J\u{e4}s\u{f8}n Doe".as_bytes();
        let realm = b"api@example.org";
        let hashed = Algorithm::Sha512_256.hash(&[username, realm]);
        assert_eq!(&hashed[..], b"793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b");
        let input = Input {
            algorithm: Algorithm::Sha512_256,
            username,
            realm,
            secret: Secret::Password("Secret, or not?"),
            nonce: b"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
            method: b"GET",
            uri: b"/doe.json",
            body: b"",
            quality: Some((Qop::Auth, b"00000001", b"NTg6RKcb9boFIAS3KrFK9BGeh+niz/sm")),
            first_cnonce: None,
        };
        assert_eq!(response(&input), "7a4e1192babbba02e91182d2895bfdbf7adafc6e48d4e517ca301974843d840c");
    }

    /// RFC 2069 had neither qop nor cnonce; the example is that of RFC 2617 §3.5 without them.
    #[test]
    fn without_qop() {
        let input = Input {
            algorithm: Algorithm::Md5,
            username: b"Mufasa",
            realm: b"testrealm@host.com",
            secret: Secret::Password("Circle Of Life"),
            nonce: b"dcd98b7102dd2f0e8b11d0f600bfb0c093",
            method: b"GET",
            uri: b"/dir/index.html",
            body: b"",
            quality: None,
            first_cnonce: None,
        };
        assert_eq!(response(&input), "670fd8c2df070c60b045671b8b24ff02");
        let with = Input { quality: Some((Qop::Auth, b"00000001", b"0a4f113b")), ..input };
        assert_eq!(response(&with), "6629fae49393a05397450978507c4ef1");
    }

    /// A session key is a hash of the hash, and a hashed secret stands for its password.
    #[test]
    fn sessions_bodies_and_hashed_secrets() {
        fn input<'a>(algorithm: Algorithm, secret: Secret<'a>, qop: Qop, body: &'a [u8]) -> Input<'a> {
            Input {
                algorithm,
                username: b"bob",
                realm: b"r",
                secret,
                nonce: b"n",
                method: b"REGISTER",
                uri: b"sip:r",
                body,
                quality: Some((qop, b"0000000a", b"c")),
                first_cnonce: None,
            }
        }
        for algorithm in Algorithm::ALL {
            let of = |qop, body| response(&input(algorithm, Secret::Password("p"), qop, body));
            let (auth, int) = (of(Qop::Auth, b"x"), of(Qop::AuthInt, b"x"));
            assert_eq!(auth, of(Qop::Auth, b"y"));
            assert_ne!(int, of(Qop::AuthInt, b"y"));
            assert_ne!(auth, int);
            let hashed = algorithm.hash(&[b"bob", b"r", b"p"]);
            let hashed = Secret::Hashed(core::str::from_utf8(&hashed).unwrap());
            assert_eq!(auth, response(&input(algorithm, hashed, Qop::Auth, b"x")));
            assert_eq!(Algorithm::named(algorithm.name().to_lowercase().as_bytes()), Some(algorithm));
        }
        let plain = response(&input(Algorithm::Sha256, Secret::Password("p"), Qop::Auth, b""));
        assert_ne!(plain, response(&input(Algorithm::Sha256Sess, Secret::Password("p"), Qop::Auth, b"")));
        assert_eq!(Algorithm::named(b"SHA512"), None);
    }
}
