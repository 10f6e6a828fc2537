//! What is asked of a request outside any dialog, in the order of RFC 3261 §8.2.

use super::{ACCEPT, Config, NOREFERSUB};
use crate::headers::{Contact, ContentType, Header, Name, Require};
use crate::message::{Message, Method, Status, Writer};
use crate::uri::Uri;

/// A refusal: a status, and the header that tells what would have been taken.
pub(super) struct Refusal<'a> {
    pub(super) status: Status,
    wanted: Wanted<'a>,
}

enum Wanted<'a> {
    Nothing,
    /// Allow: the methods that are taken.
    Methods,
    /// Accept: the bodies that are taken.
    Bodies,
    /// Allow-Events: the event packages that can be subscribed to.
    Packages,
    /// Unsupported: the extensions of this request that are not known.
    Without(&'a Message<'a>),
}

impl Refusal<'_> {
    pub(super) const fn status(status: Status) -> Self {
        Self { status, wanted: Wanted::Nothing }
    }

    /// The package is not known (RFC 6665 §7.2).
    pub(super) const fn event() -> Self {
        Self { status: Status::BAD_EVENT, wanted: Wanted::Packages }
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>, allow: &str, config: &Config) {
        match self.wanted {
            Wanted::Nothing => {}
            Wanted::Methods => {
                writer.field(Name::Allow, &[allow.as_bytes()]);
            }
            Wanted::Bodies => {
                writer.field(Name::Accept, &[ACCEPT.as_bytes()]);
            }
            Wanted::Packages => {
                writer.field(Name::AllowEvents, &[config.packages.join(", ").as_bytes()]);
            }
            Wanted::Without(request) => {
                for tag in unknown(request, config) {
                    writer.field(Name::Unsupported, &[tag]);
                }
            }
        }
    }
}

/// The refusal of a method that is not taken: 405 if it is known, else 501 (§8.2.1).
pub(super) fn method(method: Method<'_>) -> Refusal<'static> {
    let known = !matches!(method, Method::Other(_));
    let status = if known { Status::METHOD_NOT_ALLOWED } else { Status::NOT_IMPLEMENTED };
    Refusal { status, wanted: Wanted::Methods }
}

/// Whether a request without a To tag is taken: an INVITE, an OPTIONS or what the user answers, that nothing stands against.
pub(super) fn outside<'a>(request: &'a Message<'_>, config: &Config) -> Result<(), Refusal<'a>> {
    let refuse = |status| Err(Refusal::status(status));
    let content_type = request.get::<ContentType<'_>>();
    // RFC 2046 §5.1.1: parts that nothing parts.
    let unparted = |of: &ContentType<'_>| {
        of.kind.eq_ignore_ascii_case(b"multipart") && of.params.get("boundary").is_none()
    };
    if content_type.is_err() || content_type.is_ok_and(|of| of.is_some_and(|of| unparted(&of))) {
        return refuse(Status::BAD_REQUEST);
    }
    // RFC 3891 §3
    if request.method() != Method::Invite && request.value(Name::Replaces).is_some() {
        return refuse(Status::BAD_REQUEST);
    }
    match request.method() {
        Method::Invite | Method::Options => {}
        // What lives only inside a dialog, and a CANCEL that matched nothing (§9.2, §15.1.2).
        Method::Bye | Method::Cancel | Method::Prack | Method::Update | Method::Info | Method::Notify => {
            return refuse(Status::NO_SUCH_TRANSACTION);
        }
        // RFC 3515 §2.4.2: told apart from a REFER that is only not taken.
        Method::Refer if request.values(Name::ReferTo).count() != 1 => return refuse(Status::BAD_REQUEST),
        Method::Subscribe if !config.packages.is_empty() => {}
        other if config.methods.contains(&other) => {}
        other => return Err(method(other)),
    }
    // §8.2.2.1
    if !matches!(request.uri(), Uri::Sip(_)) {
        return refuse(Status::UNSUPPORTED_URI_SCHEME);
    }
    match request.method() {
        Method::Invite => invite(request)?,
        // RFC 6665 §4.1.2.1, RFC 3515 §2.2: NOTIFYs go to its Contact.
        Method::Subscribe | Method::Refer if !has_one_contact(request) => return refuse(Status::BAD_REQUEST),
        _ => {}
    }
    extensions(request, config)?;
    // §8.2.3; the bodies of other methods are their user's.
    let unknown_body = !request.body().is_empty()
        && match request.get::<ContentType<'_>>() {
            // RFC 5621 §3.1: of several parts one may be.
            Ok(Some(of)) => {
                let parts = of.kind.eq_ignore_ascii_case(b"multipart");
                !parts && !of.is("application", "sdp") && !optional(request)
            }
            Ok(None) | Err(_) => true,
        };
    if unknown_body && matches!(request.method(), Method::Invite | Method::Options) {
        return Err(Refusal { status: Status::UNSUPPORTED_MEDIA_TYPE, wanted: Wanted::Bodies });
    }
    Ok(())
}

/// §8.2.2.3
pub(super) fn extensions<'a>(request: &'a Message<'_>, config: &Config) -> Result<(), Refusal<'a>> {
    match unknown(request, config).next() {
        Some(_) => Err(Refusal { status: Status::BAD_EXTENSION, wanted: Wanted::Without(request) }),
        None => Ok(()),
    }
}

/// The extensions that a request requires and nobody here knows. What can't be read can't be known.
fn unknown<'a>(request: &'a Message<'_>, config: &Config) -> impl Iterator<Item = &'a [u8]> {
    let known = move |tag: &Require<'_>| {
        let own = super::SUPPORTED.split(", ").any(|own| tag.is(own));
        let refers = tag.is(NOREFERSUB) && config.methods.contains(&Method::Refer);
        own || refers || config.extensions.iter().any(|own| tag.is(own))
    };
    let tags = request.all::<Require<'_>>().map_while(Result::ok);
    tags.filter(move |tag| !known(tag)).map(|tag| tag.0)
}

/// What an INVITE must have besides.
fn invite(request: &Message<'_>) -> Result<(), Refusal<'static>> {
    // RFC 3891 §3, RFC 3911 §4
    let replaces = request.values(Name::Replaces).flat_map(|value| value.split(|byte| *byte == b',')).count();
    let joins = request.values(Name::Join).count();
    if !has_one_contact(request) || replaces > 1 || (replaces > 0 && joins > 0) {
        return Err(Refusal::status(Status::BAD_REQUEST));
    }
    // §13.3.1: the answer will be SDP.
    let mut accepted =
        request.values(Name::Accept).flat_map(ContentType::list).filter_map(Result::ok).peekable();
    let any = |of: &ContentType<'_>| {
        of.is("application", "sdp") || of.is("application", "*") || of.is("*", "*") || of.kind == b"multipart"
    };
    if accepted.peek().is_some() && !accepted.any(|of| any(&of)) {
        return Err(Refusal { status: Status::NOT_ACCEPTABLE, wanted: Wanted::Nothing });
    }
    Ok(())
}

/// §8.1.1.8: exactly one Contact.
fn has_one_contact(request: &Message<'_>) -> bool {
    let mut contacts = request.all::<Contact<'_>>();
    matches!(contacts.next(), Some(Ok(Contact::At(_)))) && contacts.next().is_none()
}

/// RFC 3261 §20.11: a body that may be left aside.
fn optional(request: &Message<'_>) -> bool {
    request
        .value(Name::ContentDisposition)
        .is_some_and(|value| value.to_ascii_lowercase().windows(17).any(|part| part == b"handling=optional"))
}
