//! Views of a parsed message: bytes, borrowed or owned, and the index beside them.

use super::{Error, ErrorKind, Index, Method, Parsed, Start, Status};
use crate::config::Limits;
use crate::framing::read_datagram;
use crate::headers::{Address, Asks, CSeq, Header, Name, Params, Via};
use crate::uri::Uri;
use alloc::borrow::Cow;
use core::fmt;
use core::ops::Deref;

/// What requests and responses have in common: header fields and a body.
#[derive(Clone)]
pub struct Message<'b> {
    bytes: Cow<'b, [u8]>,
    index: Index,
}

/// One header field as it stands in the message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Which header it is.
    pub name: Name,
    /// The name as it is spelt.
    pub spelt: &'a [u8],
    /// The value without surrounding blanks, line folds inside it left as they are.
    pub value: &'a [u8],
}

impl<'b> Message<'b> {
    pub(crate) const fn borrowed(bytes: &'b [u8], index: Index) -> Self {
        Self { bytes: Cow::Borrowed(bytes), index }
    }

    pub(crate) fn into_index(self) -> Index {
        self.index
    }

    pub(crate) const fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) const fn index_mut(&mut self) -> &mut Index {
        &mut self.index
    }

    /// The same message over other bytes, which begin as its own.
    pub(crate) fn set_bytes(&mut self, bytes: &'b [u8]) {
        self.bytes = Cow::Borrowed(bytes);
    }

    /// The message with a copy of its bytes, for another task or a later time.
    pub fn into_owned(self) -> Message<'static> {
        Message { bytes: Cow::Owned(self.bytes.into_owned()), index: self.index }
    }

    /// The whole message as it was received.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The body: what stands behind the empty line, as far as Content-Length says.
    pub fn body(&self) -> &[u8] {
        self.bytes.get(self.index.body as usize..).unwrap_or_default()
    }

    /// Parses a datagram that holds a request or a response.
    ///
    /// # Errors
    /// What is wrong with the message, and where.
    pub fn parse(datagram: &'b [u8], limits: &Limits) -> Result<Self, Error> {
        let mut parsed = Parsed::unread();
        read_datagram(datagram, limits, &mut parsed);
        match parsed.fault {
            None => Ok(parsed.message),
            Some(error) => Err(error),
        }
    }

    pub(crate) fn content_length(&self) -> Option<usize> {
        self.index.content_length.map(|length| length as usize)
    }

    /// Whether it begins with a start line, be it faulty.
    pub(crate) const fn is_read(&self) -> bool {
        !matches!(self.index.start, Start::Unread)
    }

    pub(crate) const fn is_request(&self) -> bool {
        matches!(self.index.start, Start::Request { .. })
    }

    /// The method of the Request-Line; nothing for a response.
    pub(crate) fn request_method(&self) -> Option<Method<'_>> {
        match self.index.start {
            Start::Request { known: Some(method), .. } => Some(method),
            Start::Request { method, known: None, .. } => Some(Method::Other(method.get(&self.bytes))),
            Start::Response { .. } | Start::Unread => None,
        }
    }

    /// The method of a message that is known to be a request.
    pub(crate) fn method(&self) -> Method<'_> {
        self.request_method().unwrap_or(Method::Other(b""))
    }

    /// The Request-URI of a message that is known to be a request.
    pub(crate) fn uri(&self) -> Uri<'_> {
        Uri::parse(self.request_uri()).unwrap_or(Uri::Other(self.request_uri()))
    }

    /// The Request-URI as it stands; nothing for a response.
    pub(crate) fn request_uri(&self) -> &[u8] {
        match self.index.start {
            Start::Request { uri, .. } => uri.get(&self.bytes),
            Start::Response { .. } | Start::Unread => b"",
        }
    }

    /// The code of the Status-Line; zero for a request.
    pub(crate) const fn status_code(&self) -> u16 {
        match self.index.start {
            Start::Request { .. } | Start::Unread => 0,
            Start::Response { status, .. } => status,
        }
    }

    /// The message as the request that it is, or else as the response.
    ///
    /// # Errors
    /// It is a response: that is the error.
    pub fn classify(self) -> Result<Request<'b>, Response<'b>> {
        if self.is_request() { Ok(Request(self)) } else { Err(Response(self)) }
    }

    /// The header fields in their order: name, the line as it stands without its end, value.
    pub(crate) fn raw_fields(&self) -> impl Iterator<Item = (Name, &[u8], &[u8])> {
        self.index.lines.iter().map(|line| (line.name(), line.raw(&self.bytes), line.value(&self.bytes)))
    }

    /// The header fields in their order.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        self.index.lines.iter().map(|line| Field {
            name: line.name(),
            spelt: line.spelt(&self.bytes),
            value: line.value(&self.bytes),
        })
    }

    /// The header lines as they stand, folds and line ends included.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (Name, &[u8])> {
        let ends = self.index.lines.iter().skip(1).map(|next| next.start());
        let ends = ends.chain([(self.index.body as usize).saturating_sub(2)]);
        self.index
            .lines
            .iter()
            .zip(ends)
            .map(|(line, end)| (line.name(), self.bytes.get(line.start()..end).unwrap_or_default()))
    }

    /// The value of the first field of this name, whether this library knows it or not; long, compact, in any case.
    pub fn value_of(&self, name: &str) -> Option<&[u8]> {
        self.values_of(name).next()
    }

    /// The values of all fields of this name, whether this library knows it or not.
    pub fn values_of<'m, 'n>(&'m self, name: &'n str) -> impl Iterator<Item = &'m [u8]> + use<'m, 'n, 'b> {
        let known = Name::lookup(name.as_bytes());
        let lines = self.index.lines.iter().filter(move |line| line.id() == known.id());
        lines
            .filter(move |line| {
                known != Name::Other || line.spelt(&self.bytes).eq_ignore_ascii_case(name.as_bytes())
            })
            .map(|line| line.value(&self.bytes))
    }

    /// The values of all fields of this name, one for each line, comma lists not taken apart. [`Name::Other`] names none: see
    /// [`value_of`](Self::value_of).
    pub fn values(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        let lines = self.index.lines.iter();
        lines
            .filter(move |line| name != Name::Other && line.id() == name.id())
            .map(|line| line.value(&self.bytes))
    }

    /// The value of the first field of this name.
    pub fn value(&self, name: Name) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// The header `T`, if the message has it: the first value of the first field, or nothing if its list is empty.
    ///
    /// # Errors
    /// That value does not follow the grammar of the header. The message itself stays as usable as it was.
    #[doc(alias = "header")]
    pub fn get<'a, T: Header<'a>>(&'a self) -> Result<Option<T>, Error> {
        self.all().next().transpose()
    }

    /// Every value of the header `T`, in order, comma lists taken apart. A line ends after its first error; the offset of an error
    /// counts from the start of the message.
    pub fn all<'a, T: Header<'a>>(&'a self) -> impl Iterator<Item = Result<T, Error>> {
        let lines = self.index.lines.iter().filter(|line| line.id() == T::NAME.id());
        lines.flat_map(|line| {
            let start = line.start() + line.back();
            T::list(line.value(&self.bytes)).map(move |value| {
                value.map_err(|error| Error::new(start + error.offset as usize, ErrorKind::Field(T::NAME)))
            })
        })
    }

    /// The top Via (RFC 3261 §20.42).
    pub fn via(&self) -> Via<'_> {
        let via = self.index.via;
        Via {
            transport: via.transport.get(&self.bytes),
            host: via.host.get(&self.bytes),
            port: core::num::NonZero::new(via.port),
            params: Params::new(via.params.get(&self.bytes)),
        }
    }

    /// What the top Via asks of who answers.
    pub(crate) const fn asks(&self) -> Asks {
        self.index.via.asks
    }

    /// The branch of the top Via; nothing if it has none (RFC 2543).
    pub fn branch(&self) -> Option<&[u8]> {
        let branch = self.index.via.branch;
        (!branch.is_empty()).then(|| branch.get(&self.bytes))
    }

    /// From (RFC 3261 §20.20).
    pub fn from(&self) -> Address<'_> {
        Address::from_spans(self.index.from, &self.bytes)
    }

    /// To (RFC 3261 §20.39).
    pub fn to(&self) -> Address<'_> {
        Address::from_spans(self.index.to, &self.bytes)
    }

    /// The tag of From; nothing if it has none (RFC 2543).
    pub fn from_tag(&self) -> Option<&[u8]> {
        let tag = self.index.from.tag;
        (!tag.is_empty()).then(|| tag.get(&self.bytes))
    }

    /// The tag of To, if it has one.
    pub fn to_tag(&self) -> Option<&[u8]> {
        let tag = self.index.to.tag;
        (!tag.is_empty()).then(|| tag.get(&self.bytes))
    }

    /// Call-ID (RFC 3261 §20.8). Compared byte by byte.
    pub fn call_id(&self) -> &[u8] {
        self.index.call_id.get(&self.bytes)
    }

    /// CSeq (RFC 3261 §20.16).
    pub fn cseq(&self) -> CSeq<'_> {
        CSeq { number: self.index.cseq, method: Method::new(self.index.cseq_method.get(&self.bytes)) }
    }

    /// Max-Forwards, 0 to 255 (RFC 3261 §20.22); nothing if it is missing.
    pub const fn max_forwards(&self) -> Option<u8> {
        self.index.max_forwards
    }
}

/// A request (RFC 3261 §7.1).
#[derive(Clone)]
pub struct Request<'b>(Message<'b>);

impl<'b> Request<'b> {
    /// A message that is known to be one.
    pub(crate) fn of(message: Message<'b>) -> Self {
        debug_assert!(message.is_request());
        Self(message)
    }

    /// Parses a datagram that holds a request, within the default limits. A machine does this by itself.
    ///
    /// # Errors
    /// What is wrong with the message, and where; [`ErrorKind::StartLine`] if it is a response.
    pub fn parse(datagram: &'b [u8]) -> Result<Self, Error> {
        let mut parsed = Parsed::unread();
        read_datagram(datagram, &Limits::DEFAULT, &mut parsed);
        match parsed.fault {
            None if parsed.message.is_request() => Ok(Self(parsed.message)),
            fault => Err(fault.unwrap_or(Error::new(0, ErrorKind::StartLine))),
        }
    }

    /// The method of the Request-Line.
    pub fn method(&self) -> Method<'_> {
        self.0.method()
    }

    /// The Request-URI as it stands.
    pub fn uri_bytes(&self) -> &[u8] {
        self.0.request_uri()
    }

    /// The Request-URI. It was checked when the request was parsed.
    pub fn uri(&self) -> Uri<'_> {
        self.0.uri()
    }

    /// The request with a copy of its bytes.
    pub fn into_owned(self) -> Request<'static> {
        Request(self.0.into_owned())
    }
}

/// A response (RFC 3261 §7.2).
#[derive(Clone)]
pub struct Response<'b>(Message<'b>);

impl<'b> Response<'b> {
    /// A message that is known to be one.
    pub(crate) fn of(message: Message<'b>) -> Self {
        debug_assert!(!message.is_request());
        Self(message)
    }

    /// Parses a datagram that holds a response, within the default limits. A machine does this by itself.
    ///
    /// # Errors
    /// What is wrong with the message, and where; [`ErrorKind::StartLine`] if it is a request.
    pub fn parse(datagram: &'b [u8]) -> Result<Self, Error> {
        let mut parsed = Parsed::unread();
        read_datagram(datagram, &Limits::DEFAULT, &mut parsed);
        match parsed.fault {
            None if !parsed.message.is_request() => Ok(Self(parsed.message)),
            fault => Err(fault.unwrap_or(Error::new(0, ErrorKind::StartLine))),
        }
    }

    /// The status code.
    pub fn status(&self) -> Status {
        Status::new(self.0.status_code()).unwrap_or(Status::SERVER_INTERNAL_ERROR)
    }

    /// The reason phrase as it stands, UTF-8 by the grammar but not checked.
    pub fn reason(&self) -> &[u8] {
        match self.0.index.start {
            Start::Response { reason, .. } => reason.get(&self.0.bytes),
            Start::Request { .. } | Start::Unread => b"",
        }
    }

    /// The response with a copy of its bytes.
    pub fn into_owned(self) -> Response<'static> {
        Response(self.0.into_owned())
    }
}

impl<'b> Deref for Request<'b> {
    type Target = Message<'b>;

    fn deref(&self) -> &Message<'b> {
        &self.0
    }
}

impl<'b> Deref for Response<'b> {
    type Target = Message<'b>;

    fn deref(&self) -> &Message<'b> {
        &self.0
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = memchr::memchr(b'\r', &self.bytes).unwrap_or(self.bytes.len());
        write!(f, "{}", self.bytes.get(..end).unwrap_or_default().escape_ascii())
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.spelt.escape_ascii(), self.value.escape_ascii())
    }
}
