//! Messages: zero-copy views of requests and responses, and the writer that makes new ones.
//!
//! [`Request`] and [`Response`] are what [`framing`](crate::framing) makes of bytes. They borrow the input (or
//! own a copy, after [`Request::into_owned`]) and keep beside it an index of small integers, one for each header
//! line, inline up to 64 lines: reading a message allocates nothing.
//!
//! **Checked at once** is what transactions and routing stand on: the start line, the framing, every header
//! line's shape, and the top Via, From, To, Call-ID, CSeq, Max-Forwards and Content-Length. Their accessors
//! can't fail. **Checked when asked for** is everything else ([`Message::get`], [`Message::all`]): a broken Date
//! or Contact does not keep a message from being answered or relayed. Unknown headers are opaque and kept as
//! they came.

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
pub(crate) use parse::{Malformed, parse};
pub(crate) use write::{hex, is_text, push_hex, push_number};
