//! Messages: zero-copy views of requests and responses, the writer that makes new ones, the editor that changes old ones.
//!
//! Parse a message, read a header, answer it:
//!
//! ```
//! use sip_core::headers::{Contact, Expires};
//! use sip_core::message::{Content, Request, Status, Writer};
//!
//! let datagram = b"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
//!     From: <sip:bob@example.com>;tag=a\r\nTo: <sip:bob@example.com>\r\nCall-ID: 1@192.0.2.4\r\nCSeq: 1 REGISTER\r\n\
//!     Contact: <sip:bob@192.0.2.4>, <sip:bob@192.0.2.5>;q=0.5\r\nExpires: 3600\r\n\r\n";
//! let request = Request::parse(datagram)?;
//! let seconds = request.get::<Expires>()?.map_or(0, |expires| expires.0);
//! let contacts: Vec<Contact> = request.all().collect::<Result<_, _>>()?;
//! let mut out = Vec::new();
//! let mut response = Writer::answer(&mut out, &request, Status::OK, "to-tag");
//! for contact in &contacts {
//!     response.header(contact);
//! }
//! response.header(&Expires(seconds)).finish(&Content::NONE);
//! assert!(out.starts_with(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bK1\r\n"));
//! # Ok::<(), sip_core::message::Error>(())
//! ```
//!
//! # Two views
//!
//! [`Request`] and [`Response`] are what [`framing`](crate::framing) makes of bytes; both are a [`Message`]. A view **borrows** the
//! input, or after [`Request::into_owned`] **owns** a copy of it: the type is the same, `Request<'b>` or `Request<'static>`, and so
//! are the methods. Beside the bytes lies an index of small integers, eight bytes a header line, inline up to 64 lines: reading a
//! message allocates nothing, owning one allocates its bytes, and the index needs no fixing up. What accessors return borrows the
//! view.
//!
//! # What is checked when
//!
//! **At once**, when a message is parsed: the start line with its version and Request-URI, the shape of every header line, that
//! Via, From, To, Call-ID and CSeq are there, that what may stand once does, and the values of the top Via, From, To, Call-ID,
//! CSeq, Max-Forwards and Content-Length. Their accessors can't fail ([`Message::via`], [`Message::from`], [`Message::call_id`] …).
//! Of the URIs in From and To only that they are some URI: [`Address::uri`](crate::headers::Address::uri) checks the rest.
//!
//! **When asked for**: everything else. [`Message::get`] gives a header that stands once, [`Message::all`] the elements of one that
//! is a list, [`Message::parts`] the parts of a body. A broken Date or Contact is the error of who asks for it; it does not keep a
//! message from being answered or relayed.
//!
//! **Never**: headers without a type and bodies. They are bytes ([`Message::value_of`], [`Message::fields`], [`Message::body`]) and
//! stay what they were. [`Message::as_bytes`] is the message as it came; an [`Edit`] changes a copy of it, and every byte that it
//! does not touch stays the same.
//!
//! [`Fields`] is less than a view: the bare split into lines.

mod edit;
mod error;
mod fields;
mod index;
pub(crate) mod lex;
mod method;
mod multipart;
mod parse;
mod status;
mod view;
mod write;

pub use edit::{Edit, UriOf};
pub use error::{Error, ErrorKind};
pub use fields::Fields;
pub use method::Method;
pub use multipart::{Multipart, Part};
pub use status::Status;
pub use view::{Field, Message, Request, Response};
pub use write::{Content, Writer};

pub(crate) use index::{AddressSpans, Index, Span, Start, ViaSpans};
pub(crate) use parse::Parsed;
pub(crate) use write::{hex, is_text, push_hex, push_number};
