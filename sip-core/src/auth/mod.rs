//! Digest authentication (RFC 7616 as RFC 8760 brings it to SIP; RFC 3261 §22).
//!
//! A [`UserAgent`](crate::ua::UserAgent) answers challenges by itself with the [`Credentials`] of its configuration. Who wants to
//! challenge others keeps an [`Authenticator`] beside its machine: it makes the challenges, finds the credentials of a request
//! and judges them. It asks no database: the user name is handed out first, and the secret of that user is handed in.
//!
//! Values between quotes count as they stand there, backslashes and all, on both sides (RFC 7616 §3.3: `unq`).
//!
//! The feature `auth` brings the hashes. Without it challenges go to the user as every other response does.

#[cfg(feature = "auth")]
mod client;
#[cfg(not(feature = "auth"))]
#[path = "unable.rs"]
mod client;
#[cfg(feature = "auth")]
mod digest;
#[cfg(feature = "auth")]
mod nonce;
#[cfg(feature = "auth")]
mod server;

pub(crate) use client::Answers;
#[cfg(feature = "auth")]
pub use digest::{Algorithm, Qop, Secret};
#[cfg(feature = "auth")]
pub use server::{Authenticator, Claim, Guard, Side, Verdict};

use alloc::string::String;
use core::fmt;

/// What a user agent proves who it is with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The realm that they are for; `None`: every realm that has no credentials of its own.
    pub realm: Option<String>,
    /// The user name, as it is known in that realm.
    pub username: String,
    /// The password.
    pub password: String,
}

impl Credentials {
    /// Credentials for whoever asks.
    pub fn new(username: &str, password: &str) -> Self {
        Self { realm: None, username: username.into(), password: password.into() }
    }
}

/// Passwords are not for logs.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("realm", &self.realm).field("username", &self.username).finish()
    }
}
