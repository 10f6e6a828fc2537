//! What can be wrong with a message.

use crate::headers::Name;
use crate::message::Status;
use core::fmt;

/// Where a message is wrong, and how.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Error {
    /// Bytes from the start of what was parsed: for a whole message to the line at fault, for a value to the fault itself.
    pub offset: u32,
    /// What is wrong there.
    pub kind: ErrorKind,
}

/// The kinds of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No message at all: nothing but line ends or NULs, some other protocol, or lines that do not end in CRLF.
    NotSip,
    /// Neither a Request-Line nor a Status-Line (RFC 3261 §7.1, §7.2), or not the one of the two that was asked for.
    StartLine,
    /// Another version than `SIP/2.0`.
    Version,
    /// The Request-URI does not follow the grammar of its scheme (RFC 3261 §19.1.1).
    RequestUri,
    /// A line of the header section does not end in CRLF, or no empty line ends the section (RFC 3261 §7).
    LineEnd,
    /// A header line without a name and a colon (RFC 3261 §7.3.1).
    HeaderLine,
    /// A mandatory header field is missing (RFC 3261 §8.1.1).
    Missing(Name),
    /// A header field that may stand once stands more often (RFC 3261 §7.3.1).
    Repeated(Name),
    /// The value of a header field does not follow its grammar (RFC 3261 §25.1).
    Field(Name),
    /// CSeq names another method than the Request-Line (RFC 3261 §8.1.1.5).
    MethodMismatch,
    /// The body is shorter than Content-Length says (RFC 3261 §18.3).
    Truncated,
    /// A stream needs a Content-Length to find the end of the message (RFC 3261 §18.3).
    NoContentLength,
    /// The message, its header section, a line or a list is longer than the configured limit.
    TooLarge,
    /// Max-Forwards is 0 and the request is to be sent on (RFC 3261 §16.3).
    TooManyHops,
    /// Bytes that the grammar of the field or URI does not allow here.
    Syntax,
}

impl Error {
    pub(crate) const fn new(offset: usize, kind: ErrorKind) -> Self {
        Self { offset: offset as u32, kind }
    }

    /// Whether nobody can tell any more where the next message of a stream begins (RFC 3261 §18.3).
    pub(crate) const fn breaks_stream(self) -> bool {
        matches!(
            self.kind,
            ErrorKind::NotSip
                | ErrorKind::StartLine
                | ErrorKind::LineEnd
                | ErrorKind::NoContentLength
                | ErrorKind::TooLarge
                | ErrorKind::Truncated
                | ErrorKind::Field(Name::ContentLength)
                | ErrorKind::Repeated(Name::ContentLength)
        )
    }

    /// The status that answers a request with this fault.
    pub const fn status(self) -> Status {
        match self.kind {
            ErrorKind::Version => Status::VERSION_NOT_SUPPORTED,
            ErrorKind::TooLarge => Status::MESSAGE_TOO_LARGE,
            ErrorKind::TooManyHops => Status::TOO_MANY_HOPS,
            _ => Status::BAD_REQUEST,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSip => f.write_str("not a SIP message, or its lines do not end in CRLF"),
            Self::StartLine => f.write_str("malformed start line"),
            Self::Version => f.write_str("version is not SIP/2.0"),
            Self::RequestUri => f.write_str("malformed Request-URI"),
            Self::LineEnd => f.write_str("header section not ended by CRLF and an empty line"),
            Self::HeaderLine => f.write_str("header line without name and colon"),
            Self::Missing(name) => write!(f, "no {name} header"),
            Self::Repeated(name) => write!(f, "more than one {name}"),
            Self::Field(name) => write!(f, "malformed {name}"),
            Self::MethodMismatch => f.write_str("CSeq names another method than the start line"),
            Self::Truncated => f.write_str("body shorter than Content-Length"),
            Self::NoContentLength => f.write_str("no Content-Length on a stream"),
            Self::TooLarge => f.write_str("larger than the configured limit"),
            Self::TooManyHops => f.write_str("Max-Forwards is used up"),
            Self::Syntax => f.write_str("syntax error"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.kind, self.offset)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for Error {}
