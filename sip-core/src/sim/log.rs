//! Inputs as text: the log of a run, which is the form of a bug report.
//!
//! [`Log`] writes it and describes it, [`replay`] gives it to a machine.

use crate::endpoint::{
    Command, Destination, Endpoint, Misuse, NewRequest, Output, SendError, Source, Ticket, Txn,
};
use crate::handle::{ClientTxn, FlowId, Key, ResolveId, ServerTxn};
use crate::machine::{Input, Machine, Streams};
use crate::message::{Content, Method, Status};
use crate::random::Seed;
use crate::time::{Instant, micros};
use crate::transaction::{Restart, Timers};
use crate::transport::{Local, Target};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::net::SocketAddr;
use core::time::Duration;

/// A log that is being written: the seed of its machine, then one input a line.
///
/// ```text
/// # seed 7 0 0 …
/// 0 listen udp:192.0.2.1:5060
/// 1500000 datagram 192.0.2.1:5060 192.0.2.2:5060 "OPTIONS sip:us@192.0.2.1 SIP/2.0\r\n…"
/// ```
///
/// A line has the time of the machine's clock in microseconds, a word, and the rest. Bytes and texts stand in quotes, with `\r`, `\n`,
/// `\t`, `\\`, `\"` and `\xNN`. The same log to a machine of the same seed and configuration is the same run, byte for byte:
/// [`replay`] and the command `scenario FILE.log` do that.
#[derive(Clone, Debug)]
pub struct Log(String);

/// The first line of a log begins so.
const SEED: &str = "# seed";

/// The seed in the first line of a log, if it stands there.
pub fn seed_of(log: &str) -> Option<Seed> {
    let mut numbers = log.lines().next()?.strip_prefix(SEED)?.split_whitespace();
    let mut seed = Seed::default();
    for place in &mut seed {
        *place = numbers.next()?.parse().ok()?;
    }
    numbers.next().is_none().then_some(seed)
}

impl Log {
    /// The log of a machine with this seed.
    pub fn new(seed: &Seed) -> Self {
        let numbers: String = seed.iter().map(|byte| alloc::format!(" {byte}")).collect();
        Self(alloc::format!("{SEED}{numbers}\n"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Adds an input.
    pub fn write(&mut self, now: Instant, input: &Input<'_, Command<'_>>) {
        // Writing to a String can't fail.
        let _ = line(&mut self.0, now, input);
    }
}

fn line(out: &mut String, now: Instant, input: &Input<'_, Command<'_>>) -> fmt::Result {
    write!(out, "{} ", now.as_micros())?;
    match input {
        Input::Datagram { from: Source::Datagram { local, remote }, data } => {
            write!(out, "datagram {local} {remote} {}", Quoted(data))
        }
        Input::Datagram { from: Source::Flow(flow), data } => {
            write!(out, "message {} {}", flow.to_bits(), Quoted(data))
        }
        Input::Stream { flow, data } => write!(out, "stream {} {}", flow.to_bits(), Quoted(data)),
        Input::Advance => out.write_str("advance"),
        Input::Listen(Local { transport, addr, advertised }) => {
            write!(out, "listen {transport}:{addr}")?;
            advertised.as_ref().map_or(Ok(()), |name| write!(out, " {}", Quoted(name.as_bytes())))
        }
        Input::FlowAccepted { target, local } => write!(out, "accepted {target} {local}"),
        Input::FlowOpened { flow, local } => write!(out, "opened {} {local}", flow.to_bits()),
        Input::FlowClosed(flow) => write!(out, "closed {}", flow.to_bits()),
        Input::SendFailed(Ticket(key), error) => {
            let key = key.map_or(u64::MAX, Key::to_bits);
            write!(out, "failed {key} {error:?}")
        }
        Input::Resolved { id, addrs } => {
            write!(out, "resolved {}", id.to_bits())?;
            addrs.iter().try_for_each(|addr| write!(out, " {addr}"))
        }
        Input::Drain => out.write_str("drain"),
        Input::Command(command) => write_command(out, command),
    }?;
    out.write_char('\n')
}

fn write_command(out: &mut String, command: &Command<'_>) -> fmt::Result {
    match command {
        Command::Request(request) => write_request(out, "request", request),
        Command::Ack(request) => write_request(out, "ack", request),
        Command::Respond { txn, status, content } => {
            write!(out, "respond {} {}", txn.to_bits(), status.code())?;
            write_content(out, content)
        }
        Command::Repeat(txn) => write!(out, "repeat {}", txn.to_bits()),
        Command::Cancel(txn) => write!(out, "cancel {}", txn.to_bits()),
        Command::Abort(Txn::Client(txn)) => write!(out, "abort client {}", txn.to_bits()),
        Command::Abort(Txn::Server(txn)) => write!(out, "abort server {}", txn.to_bits()),
    }
}

fn write_request(out: &mut String, word: &str, request: &NewRequest<'_>) -> fmt::Result {
    let quoted = |text: &'_ str| alloc::format!("{}", Quoted(text.as_bytes()));
    write!(
        out,
        "{word} {} {} {} {} {} {} {}",
        quoted(core::str::from_utf8(request.method.as_bytes()).unwrap_or_default()),
        quoted(request.uri),
        quoted(request.from),
        quoted(request.to),
        quoted(request.call_id),
        request.cseq,
        request.user
    )?;
    request.route.iter().try_for_each(|route| write!(out, " route {}", quoted(route)))?;
    if let Some(target) = request.target {
        write!(out, " target {target}")?;
    }
    if let Some(timers) = &request.timers {
        out.write_str(" timers")?;
        values(timers).into_iter().try_for_each(|value| match value {
            Some(value) => write!(out, " {}", micros(value)),
            None => out.write_str(" -"),
        })?;
    }
    write_content(out, &request.content)
}

fn write_content(out: &mut String, content: &Content<'_>) -> fmt::Result {
    for (name, value) in content.headers {
        write!(out, " header {} {}", Quoted(name.as_bytes()), Quoted(value.as_bytes()))?;
    }
    if !content.content_type.is_empty() || !content.body.is_empty() {
        write!(out, " body {} {}", Quoted(content.content_type.as_bytes()), Quoted(content.body))?;
    }
    Ok(())
}

fn values(timers: &Timers) -> [Option<Duration>; 25] {
    let Timers {
        t1,
        t2,
        t4,
        a,
        b,
        d,
        e,
        f,
        g,
        h,
        i,
        j,
        k,
        l,
        m,
        trying,
        ringing,
        unanswered_invite,
        unanswered,
        rport,
        a_most,
        intervals,
        restart,
    } = *timers;
    let interval = |at: usize| intervals.and_then(|all| all.get(at).copied());
    [
        Some(t1),
        Some(t2),
        Some(t4),
        a,
        b,
        d,
        e,
        f,
        g,
        h,
        i,
        j,
        k,
        l,
        m,
        trying,
        ringing,
        unanswered_invite,
        unanswered,
        rport,
        a_most,
        Some(Duration::from_micros(restart as u64)),
        interval(0),
        interval(1),
        interval(2),
    ]
}

/// Bytes as they stand in a log: in quotes.
pub fn quote(bytes: &[u8]) -> String {
    alloc::format!("{}", Quoted(bytes))
}

struct Quoted<'a>(&'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for byte in self.0 {
            match byte {
                b'\r' => f.write_str("\\r"),
                b'\n' => f.write_str("\\n"),
                b'\t' => f.write_str("\\t"),
                b'"' | b'\\' => write!(f, "\\{}", char::from(*byte)),
                b' '..=b'~' => f.write_char(char::from(*byte)),
                _ => write!(f, "\\x{byte:02x}"),
            }?;
        }
        f.write_char('"')
    }
}

/// A line of a log that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLog {
    /// The number of the line, from one.
    pub line: usize,
    /// What it says.
    pub text: String,
}

impl fmt::Display for BadLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is no input: {}", self.line, self.text)
    }
}

impl core::error::Error for BadLog {}

/// Gives the inputs of a log to a machine, and drains it after each. What it sends and says is handed to `each` as text.
///
/// # Errors
/// [`BadLog`] at the first line that can't be read.
pub fn replay(log: &str, machine: &mut Endpoint, mut each: impl FnMut(Instant, &str)) -> Result<(), BadLog> {
    let mut streams = Streams::default();
    for (at, text) in log.lines().enumerate() {
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let bad = || BadLog { line: at + 1, text: text.into() };
        let words = words(text).ok_or_else(bad)?;
        let now = Words(&words)
            .next()
            .and_then(|(now, _)| Some(Instant::from_micros(now.number()?)))
            .ok_or_else(bad)?;
        let fed = feed(&words, now, machine, &mut streams, &mut each);
        if let Err(misuse) = fed.ok_or_else(bad)? {
            each(now, &alloc::format!("refused {misuse:?}"));
        }
        while let Some(output) = machine.poll() {
            let text = match &output {
                Output::Transmit(transmit) => match transmit.to {
                    Destination::Datagram { remote, .. } => {
                        alloc::format!("sent {remote} {}", Quoted(transmit.bytes))
                    }
                    Destination::Flow(flow) => alloc::format!("sent {flow:?} {}", Quoted(transmit.bytes)),
                },
                other => alloc::format!("{other:?}"),
            };
            each(now, &text);
        }
    }
    Ok(())
}

/// A word of a line: bare, or in quotes.
#[derive(Clone, Debug)]
enum Word<'a> {
    Bare(&'a str),
    Bytes(Vec<u8>),
}

impl Word<'_> {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Bare(text) => Some(text),
            Self::Bytes(bytes) => core::str::from_utf8(bytes).ok(),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bare(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    fn parse<T: core::str::FromStr>(&self) -> Option<T> {
        self.text()?.parse().ok()
    }

    fn number(&self) -> Option<u64> {
        self.parse()
    }
}

/// The words that are left.
struct Words<'w, 'a>(&'w [Word<'a>]);

impl<'w, 'a> Words<'w, 'a> {
    fn next(&self) -> Option<(&'w Word<'a>, Self)> {
        self.0.split_first().map(|(first, rest)| (first, Self(rest)))
    }
}

fn words(line: &str) -> Option<Vec<Word<'_>>> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (bytes, behind) = unquote(quoted)?;
            words.push(Word::Bytes(bytes));
            rest = behind.trim_start();
        } else {
            let (word, behind) = rest.split_once(' ').unwrap_or((rest, ""));
            words.push(Word::Bare(word));
            rest = behind.trim_start();
        }
    }
    Some(words)
}

/// What stands up to the closing quote, and what behind it.
pub(super) fn unquote(text: &str) -> Option<(Vec<u8>, &str)> {
    let mut bytes = Vec::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((bytes, text.get(at + 1..)?)),
            '\\' => bytes.push(match chars.next()?.1 {
                'r' => b'\r',
                'n' => b'\n',
                't' => b'\t',
                'x' => {
                    let digits = [chars.next()?.1.to_digit(16)?, chars.next()?.1.to_digit(16)?];
                    (digits[0] << 4 | digits[1]) as u8
                }
                other => u8::try_from(other).ok()?,
            }),
            _ => {
                let mut utf8 = [0; 4];
                bytes.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
            }
        }
    }
    None
}

/// Feeds one line; `None` if it can't be read.
fn feed(
    words: &[Word<'_>],
    now: Instant,
    machine: &mut Endpoint,
    streams: &mut Streams,
    each: &mut impl FnMut(Instant, &str),
) -> Option<Result<(), Misuse>> {
    let rest = words.get(2..)?;
    let at = |index: usize| rest.get(index);
    let number = |index: usize| at(index)?.number();
    let addr = |index: usize| at(index)?.parse::<SocketAddr>();
    let (headers, routes, addrs);
    let input = match words.get(1)?.text()? {
        "datagram" => Input::Datagram {
            from: Source::Datagram { local: addr(0)?, remote: addr(1)? },
            data: at(2)?.bytes(),
        },
        "message" => {
            Input::Datagram { from: Source::Flow(FlowId::from_bits(number(0)?)), data: at(1)?.bytes() }
        }
        "stream" => Input::Stream { flow: FlowId::from_bits(number(0)?), data: at(1)?.bytes() },
        "advance" => Input::Advance,
        "listen" => {
            let Target { transport, addr } = at(0)?.parse()?;
            let advertised = at(1).and_then(|name| name.text().map(String::from));
            Input::Listen(Local { transport, addr, advertised })
        }
        "accepted" => Input::FlowAccepted { target: at(0)?.parse()?, local: addr(1)? },
        "opened" => Input::FlowOpened { flow: FlowId::from_bits(number(0)?), local: addr(1)? },
        "closed" => Input::FlowClosed(FlowId::from_bits(number(0)?)),
        "failed" => {
            let key = Some(number(0)?).filter(|bits| *bits != u64::MAX).map(Key::from_bits);
            let errors = [SendError::Unreachable, SendError::Full, SendError::TooLarge];
            let name = at(1)?.text()?;
            Input::SendFailed(Ticket(key), *errors.iter().find(|error| alloc::format!("{error:?}") == name)?)
        }
        "resolved" => {
            addrs = rest.get(1..)?.iter().map(Word::parse).collect::<Option<Vec<SocketAddr>>>()?;
            Input::Resolved { id: ResolveId::from_bits(number(0)?), addrs: &addrs }
        }
        "drain" => Input::Drain,
        "respond" => {
            headers = pairs(rest);
            let status = Status::new(u16::try_from(number(1)?).ok()?)?;
            let content = content(rest, &headers)?;
            Input::Command(Command::Respond { txn: ServerTxn::from_bits(number(0)?), status, content })
        }
        "repeat" => Input::Command(Command::Repeat(ServerTxn::from_bits(number(0)?))),
        "cancel" => Input::Command(Command::Cancel(ClientTxn::from_bits(number(0)?))),
        "abort" => Input::Command(Command::Abort(match at(0)?.text()? {
            "client" => Txn::Client(ClientTxn::from_bits(number(1)?)),
            _ => Txn::Server(ServerTxn::from_bits(number(1)?)),
        })),
        word @ ("request" | "ack") => {
            headers = pairs(rest);
            routes = following(rest, "route").filter_map(|words| words.first()?.text()).collect::<Vec<_>>();
            let request = NewRequest {
                method: Method::new(at(0)?.bytes()),
                uri: at(1)?.text()?,
                from: at(2)?.text()?,
                to: at(3)?.text()?,
                call_id: at(4)?.text()?,
                cseq: u32::try_from(number(5)?).ok()?,
                user: number(6)?,
                route: &routes,
                target: following(rest, "target").next().and_then(|words| words.first()?.parse()),
                timers: following(rest, "timers").next().and_then(read_timers),
                content: content(rest, &headers)?,
            };
            Input::Command(if word == "ack" { Command::Ack(request) } else { Command::Request(request) })
        }
        _ => return None,
    };
    Some(streams.feed(machine, now, input, |_, event| each(now, &alloc::format!("{event:?}"))))
}

/// What stands behind each bare word of this name.
fn following<'w, 'a>(words: &'w [Word<'a>], name: &'static str) -> impl Iterator<Item = &'w [Word<'a>]> {
    words.iter().enumerate().filter_map(move |(at, word)| match word {
        Word::Bare(bare) if *bare == name => words.get(at + 1..),
        _ => None,
    })
}

fn pairs<'w>(words: &'w [Word<'_>]) -> Vec<(&'w str, &'w str)> {
    following(words, "header")
        .filter_map(|words| Some((words.first()?.text()?, words.get(1)?.text()?)))
        .collect()
}

fn content<'w>(words: &'w [Word<'_>], headers: &'w [(&'w str, &'w str)]) -> Option<Content<'w>> {
    Some(match following(words, "body").next() {
        Some(body) => Content { headers, content_type: body.first()?.text()?, body: body.get(1)?.bytes() },
        None => Content::headers(headers),
    })
}

fn read_timers(words: &[Word<'_>]) -> Option<Timers> {
    let value = |at: usize| Some(Duration::from_micros(words.get(at)?.number()?));
    Some(Timers {
        t1: value(0)?,
        t2: value(1)?,
        t4: value(2)?,
        a: value(3),
        b: value(4),
        d: value(5),
        e: value(6),
        f: value(7),
        g: value(8),
        h: value(9),
        i: value(10),
        j: value(11),
        k: value(12),
        l: value(13),
        m: value(14),
        trying: value(15),
        ringing: value(16),
        unanswered_invite: value(17),
        unanswered: value(18),
        rport: value(19),
        a_most: value(20),
        restart: match value(21)?.as_micros() {
            0 => Restart::Each,
            1 => Restart::Rising,
            2 => Restart::Never,
            _ => return None,
        },
        intervals: value(22)
            .zip(value(23))
            .zip(value(24))
            .map(|((first, second), third)| [first, second, third]),
    })
}
