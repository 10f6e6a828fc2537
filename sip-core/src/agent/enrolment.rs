//! Where an agent registers.

use crate::ua::{NewRegistration, UserAgent};
use crate::uri::Uri;
use crate::{Instant, Misuse, RegistrationId};
use alloc::format;
use alloc::string::String;
use core::time::Duration;

/// A registrar, and whom an agent registers there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// The URI of the registrar.
    pub registrar: String,
    /// The address-of-record: a value of From.
    pub aor: String,
}

impl Enrolment {
    /// The registrar is the host of this URI; the user is its user part, or else `user`. Nothing if it is no SIP URI.
    pub fn new(uri: &str, user: &str) -> Option<Self> {
        let parsed = Uri::parse(uri.as_bytes()).ok()?;
        let sip = parsed.as_sip()?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let scheme = if sip.secure { "sips" } else { "sip" };
        let user = sip.user.map_or(user.into(), text);
        let port = sip.port.map(|port| format!(":{port}")).unwrap_or_default();
        let host = format!("{}{port}", text(sip.host));
        let registrar = match sip.params.get("transport") {
            Some(transport) => format!("{scheme}:{host};transport={}", text(transport)),
            None => format!("{scheme}:{host}"),
        };
        Some(Self { registrar, aor: format!("<{scheme}:{user}@{host}>") })
    }

    pub(super) fn register(&self, now: Instant, machine: &mut UserAgent) -> Result<RegistrationId, Misuse> {
        let expires = Duration::from_secs(300);
        machine
            .register(now, &NewRegistration { expires, ..NewRegistration::new(&self.registrar, &self.aor) })
    }
}
