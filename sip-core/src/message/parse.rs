//! From bytes to an index: start line, header lines, and the fields that everything else stands on.

use super::index::{AddressSpans, Index, Line, MAX_LINE, MAX_MESSAGE, Span, Start, ViaSpans};
use super::lex::{self, complete};
use super::view::Message;
use super::{Error, ErrorKind, Method};
use crate::config::Limits;
use crate::headers::{Address, CSeq, Header, Name, Via};
use crate::uri::Uri;
use nom::Parser;
use nom::sequence::{preceded, separated_pair, terminated};
use smallvec::SmallVec;

/// A message that is wrong, with what could be read of it: enough to answer it by.
#[derive(Debug)]
pub(crate) struct Malformed<'b> {
    pub(crate) error: Error,
    /// What was read, if the start line was.
    pub(crate) partial: Option<Message<'b>>,
}

/// Parses one whole message: `bytes` end where its body ends.
pub(crate) fn parse<'b>(bytes: &'b [u8], limits: &Limits) -> Result<Message<'b>, Malformed<'b>> {
    let fail = |offset, kind| Malformed { error: Error::new(offset, kind), partial: None };
    if bytes.len() > MAX_MESSAGE {
        return Err(fail(MAX_MESSAGE, ErrorKind::TooLarge));
    }
    let Some((first, mut at)) = first_line(bytes) else { return Err(fail(0, ErrorKind::NotSip)) };
    if first.len() > limits.line {
        return Err(fail(limits.line, ErrorKind::TooLarge));
    }
    let (start, mut fault) = start_line(bytes, first).map_err(|kind| fail(0, kind))?;
    let mut index = Index {
        start,
        lines: SmallVec::new(),
        body: bytes.len() as u32,
        via: ViaSpans::default(),
        from: AddressSpans::default(),
        to: AddressSpans::default(),
        call_id: Span::default(),
        cseq: 0,
        cseq_method: Span::default(),
        max_forwards: None,
    };
    if let Err(error) = header_lines(bytes, &mut at, limits, &mut index) {
        fault.get_or_insert(error);
    }
    if let Err(error) = core_fields(bytes, &mut index, limits) {
        fault.get_or_insert(error);
    }
    let message = Message::borrowed(bytes, index);
    match fault {
        None => Ok(message),
        Some(error) => Err(Malformed { error, partial: Some(message) }),
    }
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
    let fault = if !is_version(version) && !version.is_empty() {
        return Err(not_sip(line));
    } else if !lex::is_token(method) || version.is_empty() {
        Some(Error::new(0, ErrorKind::StartLine))
    } else if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        Some(Error::new(line.len() - version.len(), ErrorKind::Version))
    } else if Uri::parse(uri).is_err() {
        Some(Error::new(method.len() + 1, ErrorKind::RequestUri))
    } else {
        None
    };
    Ok((Start::Request { method: Span::of(bytes, method), uri: Span::of(bytes, uri) }, fault))
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

/// Splits the header section into fields; `at` moves from its first line to the body.
///
/// A faulty line is left out and its fault returned, but the lines after it are still read, so that the message
/// can be answered. Without an end the section reaches to the end of the bytes.
fn header_lines(bytes: &[u8], at: &mut usize, limits: &Limits, index: &mut Index) -> Result<(), Error> {
    let section = *at;
    let max_line = limits.line.min(MAX_LINE);
    let mut fault = Ok(());
    loop {
        let start = *at;
        if let Some([b'\r', b'\n']) = bytes.get(start..start + 2) {
            index.body = start as u32 + 2;
            return fault;
        }
        if index.lines.len() >= limits.header_lines || start - section > limits.header_section {
            return fault.and(Err(Error::new(start, ErrorKind::TooLarge)));
        }
        let Some(end) = line_end(bytes, start) else {
            return fault.and(Err(Error::new(start, ErrorKind::LineEnd)));
        };
        *at = end;
        match field(bytes, start, end, max_line) {
            Ok(line) => index.lines.push(line),
            Err(kind) => fault = fault.and(Err(Error::new(start, kind))),
        }
    }
}

/// The offset behind the CRLF that ends the field at `start`, folded lines included (RFC 3261 §7.3.1).
pub(crate) fn line_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        at += memchr::memchr(b'\n', bytes.get(at..)?)? + 1;
        if !matches!(bytes.get(at), Some(b' ' | b'\t')) {
            return Some(at);
        }
    }
}

fn field(bytes: &[u8], start: usize, end: usize, max_line: usize) -> Result<Line, ErrorKind> {
    let line = bytes.get(start..end).and_then(|line| line.strip_suffix(b"\r\n")).ok_or(ErrorKind::LineEnd)?;
    if line.len() > max_line {
        return Err(ErrorKind::TooLarge);
    }
    let (value, name) =
        terminated(lex::token, lex::separator(b':')).parse(line).map_err(|_| ErrorKind::HeaderLine)?;
    let trimmed = lex::trim(value);
    let offset = if trimmed.is_empty() { line.len() - value.len() } else { offset_in(line, trimmed) };
    Ok(Line::new(Name::lookup(name), start, start + offset, trimmed.len()))
}

fn offset_in(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

/// The fields that are checked at once (RFC 3261 §8.1.1). All are looked at, so that what is sound can be used in
/// an answer; the first fault counts.
fn core_fields(bytes: &[u8], index: &mut Index, limits: &Limits) -> Result<(), Error> {
    const SINGLE: [Name; 7] = [
        Name::From,
        Name::To,
        Name::CallId,
        Name::CSeq,
        Name::MaxForwards,
        Name::ContentLength,
        Name::ContentType,
    ];
    let mut found = [None; SINGLE.len()];
    let mut top_via = None;
    let mut vias = 0;
    let mut fault = Ok(());
    for line in &index.lines {
        let name = line.name();
        if name == Name::Via {
            vias += 1;
            top_via.get_or_insert(*line);
        } else if let Some(slot) =
            SINGLE.iter().position(|single| *single == name).and_then(|at| found.get_mut(at))
        {
            if slot.is_some() {
                fault = fault.and(Err(Error::new(line.start(), ErrorKind::Repeated(name))));
            } else {
                *slot = Some(*line);
            }
        }
    }
    if vias > limits.vias {
        fault = fault.and(Err(Error::new(0, ErrorKind::TooLarge)));
    }
    let mut check = |name: Name, line: Option<Line>, result: Option<Result<(), Error>>| {
        let start = line.map_or(0, Line::start);
        let error = match result {
            None => Error::new(bytes.len().min(index.body as usize), ErrorKind::Missing(name)),
            Some(Err(_)) => Error::new(start, ErrorKind::Field(name)),
            Some(Ok(())) => return,
        };
        fault = fault.and(Err(error));
    };

    let [from, to, call_id, cseq, max_forwards, content_length, _] = found;
    // What stands behind the first element is a comma and more, or nothing.
    let via = top_via.map(|line| match Via::list(line.value(bytes)).next() {
        Some(via) => via.map(|via| index.via = via.spans(bytes)),
        None => Err(Error::new(0, ErrorKind::Syntax)),
    });
    check(Name::Via, top_via, via);
    let parsed =
        from.map(|line| Address::whole(line.value(bytes)).map(|from| index.from = from.spans(bytes)));
    check(Name::From, from, parsed);
    let parsed = to.map(|line| Address::whole(line.value(bytes)).map(|to| index.to = to.spans(bytes)));
    check(Name::To, to, parsed);
    let parsed = call_id.map(|line| {
        let value = line.value(bytes);
        complete(value, lex::call_id)
            .map(|call_id| index.call_id = Span::of(bytes, call_id))
            .map_err(|offset| Error::new(offset, ErrorKind::Syntax))
    });
    check(Name::CallId, call_id, parsed);
    let parsed = cseq.map(|line| {
        CSeq::whole(line.value(bytes)).map(|cseq| {
            index.cseq = cseq.number;
            index.cseq_method = Span::of(bytes, cseq.method.as_bytes_in(line.value(bytes)));
        })
    });
    check(Name::CSeq, cseq, parsed);
    if let Some(line) = max_forwards {
        let parsed =
            complete(line.value(bytes), lex::number::<u8>).map(|hops| index.max_forwards = Some(hops));
        check(
            Name::MaxForwards,
            max_forwards,
            Some(parsed.map_err(|offset| Error::new(offset, ErrorKind::Syntax))),
        );
    }
    if let Some(line) = content_length {
        let parsed = complete(line.value(bytes), lex::number::<u32>).map(|_| ());
        check(
            Name::ContentLength,
            content_length,
            Some(parsed.map_err(|at| Error::new(at, ErrorKind::Syntax))),
        );
    }
    fault?;
    if let Start::Request { method, .. } = index.start {
        if method.get(bytes) != index.cseq_method.get(bytes) {
            let start = cseq.map_or(0, Line::start);
            return Err(Error::new(start, ErrorKind::MethodMismatch));
        }
    }
    Ok(())
}

impl<'b> Method<'b> {
    /// The method's token where it stands in `value`.
    fn as_bytes_in(&self, value: &'b [u8]) -> &'b [u8] {
        let length = self.as_bytes().len();
        value.get(value.len() - length.min(value.len())..).unwrap_or_default()
    }
}
