//! Changing a message without building it anew: what is not touched keeps its bytes.

use super::index::{Line, MAX_LINE, MAX_MESSAGE, Start, offset_in};
use super::view::Message;
use super::{Error, ErrorKind, lex, push_number};
use crate::headers::{Address, Asks, CSeq, Header, Name, RecordRoute, Route, Via, stamped_via};
use crate::uri::{SipUri, Uri};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Range;
use smallvec::SmallVec;

/// A copy of a message that is changed in place, in a buffer of the caller's.
///
/// Each change sees those before it. A change that is refused leaves the copy as it was. What a message can't do without may
/// be taken out, to be put in again, but not be made malformed or be there twice; Content-Length and the body stay as they are.
/// With a warm buffer, at most 64 header lines and values below 512 bytes nothing is allocated.
///
/// What a proxy does to a request (RFC 3261 §16.6):
///
/// ```
/// use sip_core::headers::{Header, Via};
/// use sip_core::message::Request;
/// let request = Request::parse(
///     b"BYE sip:bob@b.example SIP/2.0\r\nVia: SIP/2.0/UDP a.example;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
///       Route: <sip:p.example;lr>,<sip:q.example;lr>\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>;tag=2\r\nCall-ID: c\r\n\
///       CSeq: 1 BYE\r\n\r\n",
/// )?;
/// let mut out = Vec::new();
/// let mut edit = request.edit(&mut out);
/// edit.decrement_max_forwards()?;
/// edit.pop_route()?;
/// edit.push_via(&Via::whole(b"SIP/2.0/UDP p.example;branch=z9hG4bK2")?)?;
/// assert_eq!(
///     out,
///     b"BYE sip:bob@b.example SIP/2.0\r\nVia: SIP/2.0/UDP p.example;branch=z9hG4bK2\r\n\
///       Via: SIP/2.0/UDP a.example;branch=z9hG4bK1\r\nMax-Forwards: 69\r\nRoute: <sip:q.example;lr>\r\n\
///       From: <sip:a@a>;tag=1\r\nTo: <sip:b@b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 BYE\r\n\r\n"
/// );
/// # Ok::<(), sip_core::message::Error>(())
/// ```
#[derive(Debug)]
pub struct Edit<'o> {
    out: &'o mut Vec<u8>,
    /// Where the copy begins in the buffer.
    base: usize,
    start: Start,
    lines: SmallVec<[Line; 64]>,
    /// Offset of the empty line.
    end: usize,
}

/// Which URI of a message is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UriOf {
    /// The Request-URI.
    Request,
    /// That of the first address in the first field of this name: From, To, Contact, Route …
    First(Name),
}

impl Message<'_> {
    /// Copies the message behind what `out` holds, to be changed there.
    pub fn edit<'o>(&self, out: &'o mut Vec<u8>) -> Edit<'o> {
        let base = out.len();
        out.extend_from_slice(self.as_bytes());
        let index = self.index();
        Edit {
            out,
            base,
            start: index.start,
            lines: index.lines.clone(),
            end: (index.body as usize).saturating_sub(2),
        }
    }
}

impl Edit<'_> {
    /// The message as it is now.
    pub fn as_bytes(&self) -> &[u8] {
        self.out.get(self.base..).unwrap_or_default()
    }

    /// Puts a Via on top (RFC 3261 §16.6, step 8).
    ///
    /// # Errors
    /// The Via does not parse as it would be written, or the message would be too large.
    pub fn push_via(&mut self, via: &Via<'_>) -> Result<(), Error> {
        self.push(via, 0, |text| Via::whole(text).is_ok())
    }

    /// Takes the top Via off (RFC 3261 §16.7, step 3).
    ///
    /// # Errors
    /// There is none, or it is malformed.
    pub fn pop_via(&mut self) -> Result<(), Error> {
        self.pop(Name::Via, |value| Ok(Via::parse(value)?.1.len()))
    }

    /// Writes into the top Via where the request came from: `received` if that differs from sent-by or `rport` is asked for,
    /// and `rport` (RFC 3261 §18.2.1, RFC 3581 §4). A proxy does it before it pushes its own.
    ///
    /// # Errors
    /// There is no Via, or it is malformed.
    pub fn stamp_via(&mut self, source: SocketAddr) -> Result<(), Error> {
        let at = self.first("Via")?;
        let old: SmallVec<[u8; 512]> = self.value(at).into();
        match Via::list(&old).next() {
            Some(Ok(via)) => {
                self.splice(self.range(at), |out| stamped_via(out, &old, &via, Asks::of(&via), source))
            }
            _ => Err(self.fault(at)),
        }
    }

    /// Puts a Record-Route on top of those there are (RFC 3261 §16.6, step 4).
    ///
    /// # Errors
    /// The value does not parse as it would be written, or the message would be too large.
    pub fn push_record_route(&mut self, route: &RecordRoute<'_>) -> Result<(), Error> {
        self.push(route, self.vias(), |text| RecordRoute::whole(text).is_ok())
    }

    /// Puts a Route on top of those there are (RFC 3261 §16.6, step 6).
    ///
    /// # Errors
    /// The value does not parse as it would be written, or the message would be too large.
    pub fn push_route(&mut self, route: &Route<'_>) -> Result<(), Error> {
        self.push(route, self.vias(), |text| Route::whole(text).is_ok())
    }

    /// Takes the top Route off (RFC 3261 §16.4).
    ///
    /// # Errors
    /// There is none, or it is malformed.
    pub fn pop_route(&mut self) -> Result<(), Error> {
        self.pop(Name::Route, |value| Ok(Route::parse(value)?.1.len()))
    }

    /// Counts Max-Forwards down, and returns what is left. A request without it gets 70 (RFC 3261 §16.6, step 3).
    ///
    /// # Errors
    /// [`ErrorKind::TooManyHops`], to be answered with 483: it is 0 already. It is no number.
    pub fn decrement_max_forwards(&mut self) -> Result<u8, Error> {
        let Ok(at) = self.first("Max-Forwards") else {
            return self.add(Name::MaxForwards.as_str(), b"70").map(|()| 70);
        };
        let hops = lex::complete(self.value(at), lex::number::<u8>).map_err(|_| self.fault(at))?;
        let spent = Error::new(self.fault(at).offset as usize, ErrorKind::TooManyHops);
        let left = hops.checked_sub(1).ok_or(spent)?;
        self.splice(self.range(at), |out| push_number(out, u64::from(left)))?;
        Ok(left)
    }

    /// Replaces the Request-URI.
    ///
    /// # Errors
    /// It does not parse, or the message is a response.
    pub fn set_uri(&mut self, uri: &[u8]) -> Result<(), Error> {
        Uri::parse(uri)?;
        let (range, _) = self.find(UriOf::Request)?;
        self.splice(range, |out| out.extend_from_slice(uri))
    }

    /// Sets the user of a SIP or SIPS URI, escapes as they are to be; without one it is taken out, with its password.
    ///
    /// # Errors
    /// No such URI, one of another scheme, or a user that can't be one.
    pub fn set_user(&mut self, of: UriOf, user: Option<&[u8]>) -> Result<(), Error> {
        let user = user.unwrap_or_default();
        if !lex::user(user).1.is_empty() || user.contains(&b':') {
            return Err(Error::new(0, ErrorKind::Syntax));
        }
        self.rewrite(of, user, b"@", |uri, text| {
            let host = offset_in(text, uri.host);
            let start = uri.user.map_or(host, |user| offset_in(text, user));
            // An old user keeps its password and its `@`.
            match uri.user {
                Some(old) if !user.is_empty() => (start..start + old.len(), user.len()),
                _ if user.is_empty() => (start..host, 0),
                _ => (host..host, user.len() + 1),
            }
        })
    }

    /// Sets a parameter of a SIP or SIPS URI, escapes as they are to be; an empty value makes it one without a value.
    ///
    /// # Errors
    /// No such URI, one of another scheme, or bytes that can't stand in a parameter.
    pub fn set_uri_param(&mut self, of: UriOf, name: &str, value: &[u8]) -> Result<(), Error> {
        let mut param: SmallVec<[u8; 512]> = SmallVec::from_slice(b";");
        param.extend_from_slice(name.as_bytes());
        if !value.is_empty() {
            param.push(b'=');
            param.extend_from_slice(value);
        }
        let sound = !name.is_empty()
            && lex::uri_param_name(name.as_bytes()).1.is_empty()
            && lex::uri_param_value(value).1.is_empty();
        if !sound {
            return Err(Error::new(0, ErrorKind::Syntax));
        }
        self.rewrite(of, &param, b"", |uri, text| {
            let params = uri.params.as_bytes();
            let behind = offset_in(text, params) + params.len();
            (param_range(uri, text, name).unwrap_or(behind..behind), param.len())
        })
    }

    /// Takes a parameter out of a SIP or SIPS URI, if it is there.
    ///
    /// # Errors
    /// No such URI, or one of another scheme.
    pub fn remove_uri_param(&mut self, of: UriOf, name: &str) -> Result<(), Error> {
        // One that stands twice, which it must not, goes twice.
        loop {
            let before = self.out.len();
            self.rewrite(of, b"", b"", |uri, text| (param_range(uri, text, name).unwrap_or(0..0), 0))?;
            if self.out.len() >= before {
                return Ok(());
            }
        }
    }

    /// Adds a field behind the last.
    ///
    /// # Errors
    /// The name is no token, the value ends its line or holds NUL, the message would be malformed by it or too large.
    pub fn add(&mut self, name: &str, value: &[u8]) -> Result<(), Error> {
        let known = Name::lookup(name.as_bytes());
        if !lex::is_token(name.as_bytes()) {
            return Err(Error::new(0, ErrorKind::HeaderLine));
        }
        if is_single(known) && self.first(known.as_str()).is_ok() {
            return Err(Error::new(0, ErrorKind::Repeated(known)));
        }
        if !self.takes(known, value) {
            return Err(Error::new(0, ErrorKind::Field(known)));
        }
        self.insert(self.lines.len(), name, |out| out.extend_from_slice(lex::trim(value)), |_| true)
    }

    /// Replaces the value of the first field of this name, long or compact; adds one if there is none.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn set(&mut self, name: &str, value: &[u8]) -> Result<(), Error> {
        match self.first(name) {
            Err(_) => self.add(name, value),
            Ok(at) if !self.takes(Name::lookup(name.as_bytes()), value) => Err(self.fault(at)),
            Ok(at) => self.splice(self.range(at), |out| out.extend_from_slice(lex::trim(value))),
        }
    }

    /// Takes all fields of this name out, long or compact, and says how many there were.
    pub fn remove(&mut self, name: &str) -> usize {
        let before = self.lines.len();
        while let Ok(at) = self.first(name) {
            self.remove_line(at);
        }
        before - self.lines.len()
    }

    /// Says how long the body is, if nothing says it: on a stream that must be (RFC 3261 §20.14).
    ///
    /// # Errors
    /// The message would be too large.
    pub(crate) fn declare_length(&mut self, body: usize) -> Result<(), Error> {
        if self.first(Name::ContentLength.as_str()).is_ok() {
            return Ok(());
        }
        let length = |out: &mut Vec<u8>| push_number(out, body as u64);
        self.insert(self.lines.len(), Name::ContentLength.as_str(), length, |_| true)
    }

    /// Whether a value may stand in a field of this name without making the message malformed.
    fn takes(&self, name: Name, value: &[u8]) -> bool {
        let value = lex::trim(value);
        let fits = match name {
            Name::ContentLength => false,
            Name::Via => Via::list(value).all(|via| via.is_ok()),
            Name::From | Name::To => Address::whole(value).is_ok(),
            Name::CallId => lex::complete(value, lex::call_id).is_ok(),
            Name::CSeq => CSeq::whole(value).is_ok_and(|cseq| match self.start {
                Start::Request { method, .. } => method.get(self.as_bytes()) == cseq.method.as_bytes(),
                Start::Response { .. } | Start::Unread => true,
            }),
            Name::MaxForwards => lex::complete(value, lex::number::<u8>).is_ok(),
            _ => true,
        };
        fits && lex::is_folded(value) && !value.contains(&0)
    }

    /// The first line of a name.
    fn first(&self, name: &str) -> Result<usize, Error> {
        let known = Name::lookup(name.as_bytes());
        let is_it = |line: &Line| {
            line.id() == known.id()
                && (known != Name::Other || line.spelt(self.as_bytes()).eq_ignore_ascii_case(name.as_bytes()))
        };
        self.lines.iter().position(is_it).ok_or(Error::new(self.end, ErrorKind::Missing(known)))
    }

    /// How many Via lines stand on top.
    fn vias(&self) -> usize {
        self.lines.iter().take_while(|line| line.name() == Name::Via).count()
    }

    /// Where the value of a line is.
    fn range(&self, at: usize) -> Range<usize> {
        self.lines
            .get(at)
            .map_or(0..0, |line| line.start() + line.back()..line.start() + line.back() + line.len())
    }

    fn value(&self, at: usize) -> &[u8] {
        self.as_bytes().get(self.range(at)).unwrap_or_default()
    }

    fn fault(&self, at: usize) -> Error {
        let line = self.lines.get(at);
        line.map_or(Error::new(0, ErrorKind::HeaderLine), |line| {
            Error::new(line.start(), ErrorKind::Field(line.name()))
        })
    }

    /// Where a line begins; behind the last, where the empty line does.
    fn line_start(&self, at: usize) -> usize {
        self.lines.get(at).map_or(self.end, |line| line.start())
    }

    /// Inserts a field as the first of its name, or as line `otherwise`.
    fn push<'a, T: Header<'a>>(
        &mut self,
        value: &T,
        otherwise: usize,
        sound: fn(&[u8]) -> bool,
    ) -> Result<(), Error> {
        let at = self.first(T::NAME.as_str()).unwrap_or(otherwise);
        self.insert(at, T::NAME.as_str(), |out| value.emit(out), sound)
    }

    /// Inserts a field as line `at`, if its value is `sound`: what was put together by hand may not be what its type says.
    fn insert(
        &mut self,
        at: usize,
        name: &str,
        emit: impl FnOnce(&mut Vec<u8>),
        sound: fn(&[u8]) -> bool,
    ) -> Result<(), Error> {
        let kind = Name::lookup(name.as_bytes());
        let whole = self.out.len();
        emit(self.out);
        let text = self.out.get(whole..).unwrap_or_default();
        let length = text.len();
        let line = name.len() + 2 + length;
        let fits = line <= MAX_LINE && whole - self.base + line + 2 < MAX_MESSAGE;
        if !fits || !lex::is_folded(text) || !sound(text) {
            self.out.truncate(whole);
            let fault = if fits { ErrorKind::Field(kind) } else { ErrorKind::TooLarge };
            return Err(Error::new(0, fault));
        }
        self.out.extend_from_slice(b"\r\n");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        // The name was written last: the value had to be looked at first.
        if let Some(line) = self.out.get_mut(whole..) {
            line.rotate_right(name.len() + 2);
        }
        let start = self.line_start(at);
        self.settle(start..start, whole);
        self.lines.insert(at, Line::new(kind, start, start + name.len() + 2, length));
        Ok(())
    }

    fn remove_line(&mut self, at: usize) {
        let range = self.line_start(at)..self.line_start(at + 1);
        self.lines.remove(at);
        let whole = self.out.len();
        self.settle(range, whole);
    }

    /// Takes the first element of the first field off; with it the line, if it was the only one. `behind` says how much is
    /// left behind the element.
    fn pop(&mut self, name: Name, behind: fn(&[u8]) -> Result<usize, Error>) -> Result<(), Error> {
        let at = self.first(name.as_str())?;
        let range = self.range(at);
        match behind(self.value(at)) {
            Ok(0) => {
                self.remove_line(at);
                Ok(())
            }
            Ok(left) => {
                let rest = self.value(at).get(range.len() - left..).unwrap_or_default();
                let Some(next) = lex::past(b',', rest) else { return Err(self.fault(at)) };
                if next.is_empty() {
                    // A comma with nothing behind it parts nothing.
                    self.remove_line(at);
                    return Ok(());
                }
                self.splice(range.start..range.end - next.len(), |_| ())
            }
            Err(_) => Err(self.fault(at)),
        }
    }

    /// Where a URI is, and whether it stands in angle brackets or needs none.
    fn find(&self, of: UriOf) -> Result<(Range<usize>, bool), Error> {
        let (text, closed, fault) = match (of, self.start) {
            (UriOf::Request, Start::Request { uri, .. }) => {
                (uri.get(self.as_bytes()), true, Error::new(0, ErrorKind::RequestUri))
            }
            (UriOf::Request, Start::Response { .. } | Start::Unread) => {
                return Err(Error::new(0, ErrorKind::RequestUri));
            }
            (UriOf::First(name), _) => {
                let at = self.first(name.as_str())?;
                let value = self.value(at);
                let (_, address) = Address::lex(value).map_err(|_| self.fault(at))?;
                let before = offset_in(value, address.uri_bytes).checked_sub(1);
                let closed = before.and_then(|before| value.get(before)) == Some(&b'<');
                (address.uri_bytes, closed, self.fault(at))
            }
        };
        let start = offset_in(self.as_bytes(), text);
        if text.is_empty() { Err(fault) } else { Ok((start..start + text.len(), closed)) }
    }

    /// Replaces a part of a SIP URI by the first bytes of `new` and `more`: `part` says which, and how many.
    fn rewrite(
        &mut self,
        of: UriOf,
        new: &[u8],
        more: &[u8],
        part: impl FnOnce(&SipUri<'_>, &[u8]) -> (Range<usize>, usize),
    ) -> Result<(), Error> {
        let (range, closed) = self.find(of)?;
        let text = self.as_bytes().get(range.clone()).unwrap_or_default();
        let uri = Uri::parse(text)?;
        let Some(sip) = uri.as_sip() else { return Err(Error::new(range.start, ErrorKind::Syntax)) };
        let (part, length) = part(sip, text);
        if part.is_empty() && length == 0 {
            return Ok(());
        }
        let part = range.start + part.start..range.start + part.end;
        let brackets = if closed { 0 } else { 2 };
        if !self.fits(self.out.len(), &part, length + brackets) {
            return Err(Error::new(range.start, ErrorKind::TooLarge));
        }
        self.splice(part.clone(), |out| {
            out.extend_from_slice(new);
            out.extend_from_slice(more);
            out.truncate(out.len() - (new.len() + more.len() - length));
        })?;
        if closed {
            return Ok(());
        }
        // RFC 3261 §20.10: without brackets, what follows a semicolon would be a parameter of the header.
        let end = range.end + length - part.len();
        self.splice(end..end, |out| out.push(b'>'))?;
        self.splice(range.start..range.start, |out| out.push(b'<'))
    }

    /// Replaces a part of a value or of the Request-URI.
    fn splice(&mut self, range: Range<usize>, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
        let whole = self.out.len();
        write(self.out);
        let new = self.out.len() - whole;
        if !self.fits(whole, &range, new) {
            self.out.truncate(whole);
            return Err(Error::new(range.start, ErrorKind::TooLarge));
        }
        self.settle(range, whole);
        Ok(())
    }

    /// Whether a part of the message, which ends at `whole`, may be replaced by so many bytes: neither it nor the line becomes
    /// larger than an index holds.
    fn fits(&self, whole: usize, range: &Range<usize>, new: usize) -> bool {
        let around = |line: &&Line| {
            line.start() <= range.start && range.end <= line.start() + line.back() + line.len()
        };
        let line = self.lines.iter().find(around).map_or(0, |line| line.back() + line.len());
        whole - self.base + new < MAX_MESSAGE && (line + new).saturating_sub(range.len()) <= MAX_LINE
    }

    /// Moves what was written behind the message (from `whole` on) to the place of `range`, and the index with it.
    fn settle(&mut self, range: Range<usize>, whole: usize) {
        let new = self.out.len() - whole;
        let at = self.base + range.start;
        if let Some(tail) = self.out.get_mut(at..) {
            tail.rotate_right(new);
        }
        self.out.drain(at + new..at + new + range.len());
        let shift = |offset: usize| offset + new - range.len();
        for line in &mut self.lines {
            let value = line.start() + line.back();
            if line.start() >= range.end {
                *line = Line::new(line.name(), shift(line.start()), shift(value), line.len());
            } else if value <= range.start && range.end <= value + line.len() {
                *line = Line::new(line.name(), line.start(), value, shift(line.len()));
            }
        }
        if let Start::Request { uri, .. } = &mut self.start {
            *uri = uri.grown(&range, new);
        }
        self.end = shift(self.end);
    }
}

/// Where a parameter is in the text of a URI, with its semicolon.
fn param_range(uri: &SipUri<'_>, text: &[u8], name: &str) -> Option<Range<usize>> {
    let (found, value) = uri.params.iter().find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))?;
    let start = offset_in(text, found);
    let end = if value.is_empty() { start + found.len() } else { offset_in(text, value) + value.len() };
    // An equal sign with nothing behind it belongs to it too.
    let end = if text.get(end) == Some(&b'=') { end + 1 } else { end };
    Some(start.saturating_sub(1)..end)
}

/// Whether a header is one of those that the parser takes only once.
const fn is_single(name: Name) -> bool {
    use Name::{CSeq, CallId, ContentLength, ContentType, From, MaxForwards, To};
    matches!(name, From | To | CallId | CSeq | MaxForwards | ContentLength | ContentType)
}
