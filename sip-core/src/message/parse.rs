//! From bytes to an index: start line, header lines, and the fields that everything else stands on.

use super::fields::Lines;
use super::index::{Index, Line, MAX_LINE, MAX_MESSAGE, Span, Start, offset_in};
use super::lex::{self, complete};
use super::view::Message;
use super::{Error, ErrorKind, Method};
use crate::config::Limits;
use crate::headers::{Address, Name, Via};
use crate::uri::Uri;
use nom::Parser;
use nom::sequence::{preceded, separated_pair};

/// A message as far as it could be read: what is wrong may be answered by it.
///
/// It is large, so it is filled where it stays: who wants one has it unread, and lends it.
#[derive(Debug)]
pub(crate) struct Parsed<'b> {
    pub(crate) message: Message<'b>,
    /// What is wrong with it.
    pub(crate) fault: Option<Error>,
}

impl<'b> Parsed<'b> {
    #[inline(always)]
    pub(crate) fn unread() -> Self {
        Self { message: Message::borrowed(b"", Index::new()), fault: None }
    }

    /// Reads one whole message: `bytes` end where its body ends.
    pub(crate) fn read(&mut self, bytes: &'b [u8], limits: &Limits) {
        debug_assert!(!self.message.is_read(), "an index is filled once");
        self.message.set_bytes(bytes);
        self.fault = read(bytes, limits, self.message.index_mut()).err();
    }
}

/// All is read that can be; the first fault counts.
fn read(bytes: &[u8], limits: &Limits, index: &mut Index) -> Result<(), Error> {
    index.body = bytes.len() as u32;
    let fail = |offset, kind| Err(Error::new(offset, kind));
    let most = limits.message.min(MAX_MESSAGE);
    if bytes.len() > most {
        return fail(most, ErrorKind::TooLarge);
    }
    let Some((first, at)) = first_line(bytes) else { return fail(0, ErrorKind::NotSip) };
    if first.len() > limits.line {
        return fail(limits.line, ErrorKind::TooLarge);
    }
    let (start, faulty) = start_line(bytes, first).map_err(|kind| Error::new(0, kind))?;
    index.start = start;
    let (core, lines) = header_lines(bytes, at, limits, index);
    let fields = core.check(bytes, limits, index);
    faulty.map_or(Ok(()), Err).and(lines).and(fields)
}

/// The first line without its CRLF, and the offset of what follows.
fn first_line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = memchr::memchr(b'\n', bytes)?;
    Some((bytes.get(..end)?.strip_suffix(b"\r")?, end + 1))
}

/// RFC 3261 §7.1, §7.2. A fault in the version or the URI leaves a start line that can be answered.
fn start_line(bytes: &[u8], line: &[u8]) -> Result<(Start, Option<Error>), ErrorKind> {
    if line.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/")) {
        return status_line(bytes, line).map(|start| (start, None));
    }
    let space = memchr::memchr(b' ', line).ok_or_else(|| not_sip(line))?;
    let (method, rest) = line.split_at_checked(space).ok_or(ErrorKind::StartLine)?;
    let rest = rest.get(1..).unwrap_or_default();
    let space = memchr::memrchr(b' ', rest).ok_or_else(|| not_sip(line))?;
    let (uri, version) = rest.split_at_checked(space).ok_or(ErrorKind::StartLine)?;
    let version = version.trim_ascii_start();
    let current = version.eq_ignore_ascii_case(b"SIP/2.0");
    let fault = if !current && !is_version(version) && !version.is_empty() {
        return Err(not_sip(line));
    } else if !lex::is_token(method) || version.is_empty() {
        Some(Error::new(0, ErrorKind::StartLine))
    } else if !current {
        Some(Error::new(line.len() - version.len(), ErrorKind::Version))
    } else if Uri::parse(uri).is_err() {
        Some(Error::new(method.len() + 1, ErrorKind::RequestUri))
    } else {
        None
    };
    let known = Method::known(method);
    Ok((Start::Request { method: Span::of(bytes, method), known, uri: Span::of(bytes, uri) }, fault))
}

/// `SIP/` and two numbers, of whatever version.
fn is_version(text: &[u8]) -> bool {
    text.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"SIP/"))
        && text.get(4..).is_some_and(|rest| {
            complete(rest, separated_pair(lex::digits, lex::byte(b'.'), lex::digits)).is_ok()
        })
}

/// A line that begins with a token is meant as SIP; anything else is some other protocol.
fn not_sip(line: &[u8]) -> ErrorKind {
    if line.first().is_some_and(u8::is_ascii_alphabetic) { ErrorKind::StartLine } else { ErrorKind::NotSip }
}

fn status_line(bytes: &[u8], line: &[u8]) -> Result<Start, ErrorKind> {
    let (version, rest) = line.split_at_checked(7).ok_or(ErrorKind::StartLine)?;
    if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        return Err(ErrorKind::Version);
    }
    let (reason, digits) =
        preceded(lex::byte(b' '), lex::digits).parse(rest).map_err(|_| ErrorKind::StartLine)?;
    let status = match digits {
        [b'1'..=b'6', _, _] => digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')),
        _ => return Err(ErrorKind::StartLine),
    };
    // The blank before an empty reason is often left out; nothing is lost by taking it so.
    let reason = match reason {
        [] => reason,
        [b' ', reason @ ..] => reason,
        _ => return Err(ErrorKind::StartLine),
    };
    Ok(Start::Response { status, reason: Span::of(bytes, reason) })
}

/// Splits the header section into fields.
///
/// A faulty line is left out and its fault returned, but the lines after it are still read, so that the message
/// can be answered. Without an end the section reaches to the end of the bytes.
fn header_lines(bytes: &[u8], at: usize, limits: &Limits, index: &mut Index) -> (Core, Result<(), Error>) {
    let max_line = limits.line.min(MAX_LINE);
    let mut lines = Lines::new(bytes, at);
    let mut core = Core::default();
    let mut fault = Ok(());
    loop {
        let start = lines.at();
        let Some((length, field)) = lines.next() else { break };
        if index.lines.len() >= limits.header_lines || start - at > limits.header_section {
            return (core, fault.and(Err(Error::new(start, ErrorKind::TooLarge))));
        }
        match field {
            _ if length > max_line.saturating_add(2) => {
                fault = fault.and(Err(Error::new(start, ErrorKind::TooLarge)));
            }
            Ok(field) => {
                let line = Line::new(field.name, start, offset_in(bytes, field.value), field.value.len());
                index.lines.push(line);
                core.note(line);
            }
            Err(kind) => fault = fault.and(Err(Error::new(start, kind))),
        }
    }
    match lines.body() {
        Some(body) => index.body = body as u32,
        None => fault = fault.and(Err(Error::new(lines.at(), ErrorKind::LineEnd))),
    }
    (core, fault)
}

/// No Via is shorter with its comma: `SIP/2/U h,`
const LEAST_VIA: usize = 10;
/// No Route is shorter with its comma: `<a:b>,`
const LEAST_ROUTE: usize = 6;

/// The lines of the fields that are checked at once (RFC 3261 §8.1.1).
#[derive(Default)]
struct Core {
    // No fewer than there are of each.
    vias: usize,
    routes: usize,
    record_routes: usize,
    via: Option<Line>,
    from: Option<Line>,
    to: Option<Line>,
    call_id: Option<Line>,
    cseq: Option<Line>,
    max_forwards: Option<Line>,
    content_length: Option<Line>,
    content_type: Option<Line>,
    repeated: Option<Line>,
}

impl Core {
    #[inline]
    fn note(&mut self, line: Line) {
        let slot = match line.name() {
            Name::Via => {
                self.vias += 1 + line.len() / LEAST_VIA;
                self.via.get_or_insert(line);
                return;
            }
            Name::Route => return self.routes += 1 + line.len() / LEAST_ROUTE,
            Name::RecordRoute => return self.record_routes += 1 + line.len() / LEAST_ROUTE,
            Name::From => &mut self.from,
            Name::To => &mut self.to,
            Name::CallId => &mut self.call_id,
            Name::CSeq => &mut self.cseq,
            Name::MaxForwards => &mut self.max_forwards,
            Name::ContentLength => &mut self.content_length,
            Name::ContentType => &mut self.content_type,
            _ => return,
        };
        if slot.is_some() {
            self.repeated.get_or_insert(line);
        } else {
            *slot = Some(line);
        }
    }

    /// Reads the fields into the index. All are looked at, so that what is sound can be used in an answer; the first
    /// fault counts.
    fn check(&self, bytes: &[u8], limits: &Limits, index: &mut Index) -> Result<(), Error> {
        let mut fault = match self.repeated {
            Some(line) => Err(Error::new(line.start(), ErrorKind::Repeated(line.name()))),
            None => Ok(()),
        };
        let lists = [
            (Name::Via, self.vias, limits.vias),
            (Name::Route, self.routes, limits.routes),
            (Name::RecordRoute, self.record_routes, limits.routes),
        ];
        let too_many = |(name, found, most)| found > most && has_more(bytes, &index.lines, name, most);
        if lists.into_iter().any(too_many) {
            fault = fault.and(Err(Error::new(0, ErrorKind::TooLarge)));
        }
        let body = bytes.len().min(index.body as usize);
        let mut must = |name, line: Option<Line>, read: &mut dyn FnMut(&[u8]) -> Result<(), usize>| {
            let error = match line.map(|line| (line.start(), read(line.value(bytes)))) {
                Some((_, Ok(()))) => return,
                Some((start, Err(_))) => Error::new(start, ErrorKind::Field(name)),
                None => Error::new(body, ErrorKind::Missing(name)),
            };
            fault = fault.and(Err(error));
        };
        must(Name::Via, self.via, &mut |value| Via::index(value, bytes).map(|via| index.via = via));
        must(Name::From, self.from, &mut |value| Address::index(value, bytes).map(|from| index.from = from));
        must(Name::To, self.to, &mut |value| Address::index(value, bytes).map(|to| index.to = to));
        must(Name::CallId, self.call_id, &mut |value| {
            complete(value, lex::call_id).map(|call_id| index.call_id = Span::of(bytes, call_id))
        });
        must(Name::CSeq, self.cseq, &mut |value| {
            complete(value, separated_pair(lex::number, lex::lws1, lex::token)).map(|(number, method)| {
                index.cseq = number;
                index.cseq_method = Span::of(bytes, method);
            })
        });
        if self.max_forwards.is_some() {
            must(Name::MaxForwards, self.max_forwards, &mut |value| {
                complete(value, lex::number).map(|hops| index.max_forwards = Some(hops))
            });
        }
        if self.content_length.is_some() {
            must(Name::ContentLength, self.content_length, &mut |value| {
                complete(value, lex::number).map(|length| index.content_length = Some(length))
            });
        }
        fault?;
        match index.start {
            Start::Request { method, .. } if method.get(bytes) != index.cseq_method.get(bytes) => {
                Err(Error::new(self.cseq.map_or(0, Line::start), ErrorKind::MethodMismatch))
            }
            _ => Ok(()),
        }
    }
}

/// Whether the fields of this name hold more than so many elements.
fn has_more(bytes: &[u8], lines: &[Line], name: Name, most: usize) -> bool {
    let values = || lines.iter().filter(|line| line.id() == name.id()).map(|line| line.value(bytes));
    // There are no more elements than commas and lines; only if those are too many they are looked at closer.
    let commas = values().map(|value| 1 + memchr::memchr_iter(b',', value).count()).sum::<usize>();
    commas > most && values().map(lex::elements).sum::<usize>() > most
}
