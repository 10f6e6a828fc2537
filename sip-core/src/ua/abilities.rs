//! What messages of this side say of it: what it can, and what it is (RFC 3261 §20.5, §20.37, §20.35, §20.41).

use super::Config;
use crate::headers::Name;
use crate::message::{Method, Writer};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The methods that a user agent takes without its user's word.
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, NOTIFY";
const OWN: [Method<'static>; 8] = [
    Method::Invite,
    Method::Ack,
    Method::Cancel,
    Method::Bye,
    Method::Options,
    Method::Prack,
    Method::Update,
    Method::Notify,
];
/// The extensions that it knows.
pub(super) const SUPPORTED: &str = "100rel, replaces, timer";
/// And for who takes REFER (RFC 4488 §4).
pub(super) const NOREFERSUB: &str = "norefersub";
/// The bodies that it takes.
pub(super) const ACCEPT: &str = "application/sdp, multipart/mixed, multipart/alternative";

/// The values of these headers, made once.
pub(super) struct Abilities {
    /// Allow
    pub(super) allow: String,
    supported: String,
    /// What stands in Supported of other requests.
    known: String,
    /// Allow-Events; empty: none.
    events: String,
    /// Server and User-Agent; empty: neither.
    product: String,
}

impl Abilities {
    pub(super) fn of(config: &Config) -> Self {
        let mut allow = String::from(ALLOW);
        for method in config.methods.iter().filter(|method| !OWN.contains(method)) {
            allow.push_str(&format!(", {method}"));
        }
        if !config.packages.is_empty() && !config.methods.contains(&Method::Subscribe) {
            allow.push_str(", SUBSCRIBE");
        }
        let with_own = |known: &str| {
            let refers = config.methods.contains(&Method::Refer).then_some(NOREFERSUB);
            let tags = config.extensions.iter().map(|tag| &**tag);
            [known].into_iter().chain(refers).chain(tags).collect::<Vec<_>>().join(", ")
        };
        let (supported, known) = (with_own(SUPPORTED), with_own("timer"));
        Self { allow, supported, known, events: config.packages.join(", "), product: config.product.clone() }
    }

    /// Allow, Accept, Supported and Allow-Events: in INVITE and UPDATE, in the 2xx of INVITE, and in the answer to OPTIONS (§11.2, §13.2.1,
    /// RFC 6665 §4.4.4).
    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.field(Name::Allow, &[self.allow.as_bytes()]).field(Name::Accept, &[ACCEPT.as_bytes()]);
        writer.field(Name::Supported, &[self.supported.as_bytes()]);
        if !self.events.is_empty() {
            writer.field(Name::AllowEvents, &[self.events.as_bytes()]);
        }
    }

    /// RFC 4028 §7.1, RFC 3261 §20.37: who knows extensions says so in every request.
    pub(super) fn write_known(&self, writer: &mut Writer<'_>) {
        writer.field(Name::Supported, &[self.known.as_bytes()]);
    }

    /// The name of the product: in `User-Agent` or `Server`.
    pub(super) fn write_product(&self, writer: &mut Writer<'_>, name: Name) {
        if !self.product.is_empty() {
            writer.field(name, &[self.product.as_bytes()]);
        }
    }
}
