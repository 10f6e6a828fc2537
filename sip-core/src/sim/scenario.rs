//! Scenario files: one machine, its user and its peer, line by line, at exact instants.
//!
//! ```text
//! == an INVITE that is refused, and the 486 once more
//! over udp
//! 0       tu   > INVITE inv
//! .       wire < INVITE inv
//! 100ms   wire > 486 inv
//! .       tu   < response inv 486
//! .       wire < ACK inv
//! 200ms   wire > again
//! .       wire < ACK inv again
//! 32.1s   tu   < end inv Completed
//! quiet
//! ```
//!
//! A line has a time, a side, a direction and words. The time is absolute (`0`, `500ms`, `3.5s`, `5min`), relative to the line before
//! (`+200ms`), or the same (`.`); a number without a unit is seconds. The reader is strict: all that the machine sends, and all that its user is told, must stand there, in
//! this order and at this microsecond. `==` begins a section with a fresh machine at time 0; `#` begins a comment.
//!
//! | line | means |
//! |---|---|
//! | `over udp`, `over tcp` | how they talk, for the section or, before the first, for the file |
//! | `timers t1=2s t2=4s`, `limits transactions=2` | the machine's configuration |
//! | `tu > METHOD name [cseq= to-tag=]` | the user begins a client transaction |
//! | `tu > respond name STATUS`, `ack name`, `cancel name`, `repeat name`, `abort name` | its other commands; behind `!` stands the refusal that is expected: `Gone`, `WrongState`, `Forbidden`, `Full`, `BadMethod` |
//! | `tu < request name METHOD [merged]`, `response name STATUS`, `ack name`, `cancelled name`, `error name`, `unanswered name`, `end name CAUSE`, `stray STATUS`, `rejected STATUS` or `-` | what the user is told. CAUSE: `Completed`, `Timeout`, `TransportError`, `NoAck`, `Unanswered`, `Aborted` |
//! | `wire > METHOD name [key=value …]` | a request of the peer; the same line again is the same request. Keys: `branch`, `call-id`, `from-tag`, `to-tag`, `cseq`, `cseq-method`, `sent-by`, `uri`, and `like=other` to begin with the fields of another. ACK and CANCEL of a known name have its fields |
//! | `wire > STATUS name [key=value …]` | a response to our request: `to-tag`, `cseq-method`, `branch`, `sent-by`, `extra-via=1`, `no-via=1` |
//! | `wire > again`, `raw "…"`, `error name` | the last message once more; any bytes; what was sent last for `name` could not be sent |
//! | `wire > open`, `refuse`, `close` | the connection asked for opens or not; the open one is lost |
//! | `wire < METHOD name [again]`, `STATUS name [METHOD] [again]`, `connect`, `close` | what the machine sends; `again`: the same bytes as before |
//! | `quiet 5s`, `quiet` | nothing happens for so long; or ever more, and the machine is idle. A section ends with one of them |

mod peer;
pub(super) mod words;

use self::peer::Fields;
use self::words::{instant, is_method, key, named, need, number, only, time};
use crate::config::{Config, Limits};
use crate::endpoint::{Command, Destination, Endpoint, Event, Misuse, NewRequest, Output, Ticket, Txn};
use crate::framing::StreamBuf;
use crate::handle::{ClientTxn, FlowId, ServerTxn};
use crate::machine::Machine;
use crate::message::{Content, Message, Method, Status};
use crate::time::Instant;
use crate::transaction::Timers;
use crate::transport::{Local, Transport};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

const US: &str = "192.0.2.1:5060";
const PEER: &str = "192.0.2.2:5060";

/// A line of a scenario that does not hold, or can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The number of the line, from one.
    pub line: usize,
    /// The title of its section.
    pub section: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} ({}): {}", self.line, self.section, self.what)
    }
}

impl core::error::Error for Failed {}

/// Runs all sections of a scenario file. `trace` is given each thing that happens as text. Returns how many sections there are.
///
/// # Errors
/// Every section that fails, with its first line that does not hold.
pub fn run(text: &str, mut trace: impl FnMut(&str)) -> Result<usize, Vec<Failed>> {
    let sections = sections(text).map_err(|failed| Vec::from([failed]))?;
    let mut failures = Vec::new();
    let count = sections.len();
    'sections: for (title, lines) in sections {
        let mut last = (0, "");
        trace(&format!("== {title}"));
        let mut stage = Stage::new(&mut trace);
        for (number, line) in lines {
            last = (number, line);
            if let Err(what) = stage.line(line) {
                failures.push(Failed { line: number, section: title.clone(), what });
                continue 'sections;
            }
        }
        // What has happened by now must have been written, and what comes later must be spoken of.
        let ended = match last.1.split_whitespace().next() {
            Some("quiet") => Ok(()),
            _ => Err("the section does not end with `quiet`, or with `quiet 5s` where it may go on".into()),
        };
        if let Err(what) = stage.nothing_left().and(ended) {
            failures.push(Failed { line: last.0, section: title, what });
        }
    }
    if failures.is_empty() { Ok(count) } else { Err(failures) }
}

/// A title with its lines, each with its number.
type Section<'t> = (String, Vec<(usize, &'t str)>);

/// The sections of a file; what stands before the first one belongs to all.
pub(super) fn sections(text: &str) -> Result<Vec<Section<'_>>, Failed> {
    let mut head = Vec::new();
    let mut sections: Vec<Section<'_>> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(title) = line.strip_prefix("==") {
            sections.push((title.trim().into(), head.clone()));
        } else if !line.is_empty() && !line.starts_with('#') {
            match sections.last_mut() {
                Some((_, lines)) => lines.push((at + 1, line)),
                None => head.push((at + 1, line)),
            }
        }
    }
    if sections.is_empty() {
        let what = "there is no section: begin one with a line `== title`".into();
        return Err(Failed { line: 1, section: String::new(), what });
    }
    Ok(sections)
}

/// Something that the machine did.
struct Seen {
    at: Instant,
    what: Did,
}

enum Did {
    Sent { bytes: Vec<u8>, ticket: Ticket },
    Connect,
    Close,
    Told { words: String, request: Option<Vec<u8>>, server: Option<ServerTxn> },
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent { bytes, .. } => {
                let text = String::from_utf8_lossy(bytes);
                let mut lines = text.lines();
                let first = lines.next().unwrap_or_default();
                let header =
                    |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
                write!(f, "wire < {first} (Call-ID{}, CSeq{})", header("Call-ID:"), header("CSeq:"))
            }
            Self::Connect => f.write_str("wire < connect"),
            Self::Close => f.write_str("wire < close"),
            Self::Told { words, .. } => write!(f, "tu   < {words}"),
        }
    }
}

/// A client transaction of the user.
struct Client {
    txn: ClientTxn,
    name: String,
    /// The To tag of the last 2xx that the user was given.
    to_tag: String,
    method: String,
    cseq: u32,
}

/// What every line works on.
struct Stage<'t> {
    trace: &'t mut dyn FnMut(&str),
    machine: Option<Endpoint>,
    timers: Timers,
    limits: Limits,
    transport: Transport,
    now: Instant,
    seen: VecDeque<Seen>,
    clients: Vec<Client>,
    servers: BTreeMap<String, Fields>,
    /// Everything sent so far, in order.
    sent: Vec<(Vec<u8>, Ticket)>,
    /// The name of the last request of the peer, and the last bytes of its.
    last_name: String,
    last_bytes: Vec<u8>,
    connecting: Option<FlowId>,
    flow: Option<FlowId>,
    stream: StreamBuf,
}

type Held = Result<(), String>;

impl<'t> Stage<'t> {
    fn new(trace: &'t mut dyn FnMut(&str)) -> Self {
        Self {
            trace,
            machine: None,
            timers: Timers::DEFAULT,
            limits: Limits::DEFAULT,
            transport: Transport::Udp,
            now: Instant::ZERO,
            seen: VecDeque::new(),
            clients: Vec::new(),
            servers: BTreeMap::new(),
            sent: Vec::new(),
            last_name: String::new(),
            last_bytes: Vec::new(),
            connecting: None,
            flow: None,
            stream: StreamBuf::new(),
        }
    }

    fn line(&mut self, line: &str) -> Held {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["over", over] => self.transport = need(Transport::named(over.as_bytes()), "the transport")?,
            ["timers", rest @ ..] => {
                only(rest, &["t1", "t2", "t4"])?;
                let Timers { t1, t2, t4, .. } = &mut self.timers;
                for (name, timer) in [("t1", t1), ("t2", t2), ("t4", t4)] {
                    if let Some(value) = key(rest, name) {
                        *timer = time(value)?;
                    }
                }
            }
            ["limits", rest @ ..] => {
                only(rest, &["transactions", "unanswered"])?;
                let Limits { transactions, unanswered, .. } = &mut self.limits;
                for (name, limit) in [("transactions", transactions), ("unanswered", unanswered)] {
                    *limit = number(rest, name)?.unwrap_or(*limit);
                }
            }
            ["quiet"] => return self.quiet(None),
            ["quiet", length] => return self.quiet(Some(time(length)?)),
            [time, side, "<", rest @ ..] => {
                let at = instant(time, self.now)?;
                return self.must_happen(at, side, rest);
            }
            [time, side, ">", rest @ ..] => {
                let at = instant(time, self.now)?;
                self.pass_to(at)?;
                (self.trace)(&format!("{:>12} {side:<4} > {}", super::trace::seconds(at), rest.join(" ")));
                match *side {
                    "tu" => self.command(rest)?,
                    "wire" => self.inject(rest, line)?,
                    _ => return Err(format!("{side} is neither tu nor wire")),
                }
                self.drain();
            }
            _ => return Err(format!("{line:?} is no line of a scenario")),
        }
        Ok(())
    }

    fn machine(&mut self) -> &mut Endpoint {
        let Self { machine, timers, limits, .. } = self;
        machine.get_or_insert_with(|| {
            let config = Config { timers: *timers, limits: limits.clone(), ..Config::new([7; 32]) };
            let mut endpoint = Endpoint::new(config);
            for transport in [Transport::Udp, Transport::Tcp] {
                if let Ok(addr) = US.parse() {
                    endpoint.listen(Instant::ZERO, Local { transport, addr, advertised: None });
                }
            }
            endpoint
        })
    }

    // Time.

    /// Lets time pass; nothing may happen before it is over.
    fn pass_to(&mut self, at: Instant) -> Held {
        self.nothing_left()?;
        while let Some(deadline) = self.machine().deadline().filter(|deadline| *deadline < at) {
            self.wake(deadline);
            self.nothing_left()?;
        }
        self.now = at;
        Ok(())
    }

    fn wake(&mut self, at: Instant) {
        self.now = self.now.max(at);
        let now = self.now;
        self.machine().advance(now);
        self.drain();
    }

    fn nothing_left(&self) -> Held {
        match self.seen.front() {
            Some(seen) => Err(format!("not expected: {} {}", super::trace::seconds(seen.at), seen.what)),
            None => Ok(()),
        }
    }

    fn quiet(&mut self, length: Option<Duration>) -> Held {
        if let Some(length) = length {
            let until = self.now + length;
            self.pass_to(until)?;
            self.wake(until);
            return self.nothing_left();
        }
        self.nothing_left()?;
        while let Some(deadline) = self.machine().deadline() {
            self.wake(deadline);
            self.nothing_left()?;
        }
        if self.machine().is_idle() {
            Ok(())
        } else {
            Err("something is left, and nothing will happen to it".into())
        }
    }

    /// All that the machine does now.
    fn drain(&mut self) {
        let at = self.now;
        loop {
            let machine = self.machine();
            let what = match machine.poll() {
                Some(Output::Transmit(transmit)) => {
                    let _: Destination = transmit.to;
                    Did::Sent { bytes: transmit.bytes.into(), ticket: transmit.ticket }
                }
                Some(Output::Connect { flow, .. }) => {
                    self.connecting = Some(flow);
                    Did::Connect
                }
                Some(Output::Close { .. }) => Did::Close,
                Some(Output::Event(event)) => self.told(&event),
                Some(Output::Resolve { .. }) => continue,
                None => return,
            };
            self.push(at, what);
        }
    }

    fn push(&mut self, at: Instant, what: Did) {
        (self.trace)(&format!("{:>12} {what}", super::trace::seconds(at)));
        self.seen.push_back(Seen { at, what });
    }

    /// An event as the words of a line; who it is about by name.
    fn told(&self, event: &Event<'_>) -> Did {
        let name = |txn: Txn| match txn {
            Txn::Client(txn) => {
                self.clients.iter().find(|client| client.txn == txn).map(|client| client.name.clone())
            }
            Txn::Server(txn) => {
                self.servers.iter().find(|(_, fields)| fields.txn == Some(txn)).map(|(name, _)| name.clone())
            }
        };
        let name = |txn: Txn| name(txn).unwrap_or_else(|| "?".into());
        let (mut bytes, mut server) = (None, None);
        let words = match event {
            Event::Request { txn, request, merged, .. } => {
                (bytes, server) = (Some(request.as_bytes().to_vec()), Some(*txn));
                let method = String::from_utf8_lossy(request.method().as_bytes()).into_owned();
                format!("request {} {method}{}", self.last_name, if *merged { " merged" } else { "" })
            }
            Event::Ack { txn, .. } => match txn {
                Some(txn) => format!("ack {}", name(Txn::Server(*txn))),
                None => format!("ack {}", self.last_name),
            },
            Event::Cancelled { txn, .. } => format!("cancelled {}", name(Txn::Server(*txn))),
            Event::Response { txn, response, .. } => {
                bytes = Some(response.as_bytes().to_vec());
                format!("response {} {}", name(Txn::Client(*txn)), response.status_code())
            }
            Event::Stray(response) => format!("stray {}", response.status_code()),
            Event::Rejected(rejected) => match rejected.status {
                Some(status) => format!("rejected {}", status.code()),
                None => "rejected -".into(),
            },
            Event::TransportError { txn, .. } => format!("error {}", name(*txn)),
            Event::Unanswered { txn, .. } => format!("unanswered {}", name(Txn::Server(*txn))),
            Event::Terminated { txn, cause, .. } => format!("end {} {cause:?}", name(*txn)),
        };
        Did::Told { words, request: bytes, server }
    }

    // What is expected.

    fn must_happen(&mut self, at: Instant, side: &str, words: &[&str]) -> Held {
        while self.seen.is_empty() {
            match self.machine().deadline().filter(|deadline| *deadline <= at) {
                Some(deadline) => self.wake(deadline),
                None => return Err(format!("nothing happened by {}", super::trace::seconds(at))),
            }
        }
        let Some(Seen { at: when, what }) = self.seen.pop_front() else { return Ok(()) };
        let got = format!("but at {}: {what}", super::trace::seconds(when));
        if when != at {
            return Err(format!("expected at {}, {got}", super::trace::seconds(at)));
        }
        let fits = match (side, &what, words) {
            ("tu", Did::Told { words: told, .. }, _) => *told == words.join(" "),
            ("wire", Did::Connect, ["connect"]) | ("wire", Did::Close, ["close"]) => true,
            ("wire", Did::Sent { bytes, .. }, [what, name, rest @ ..]) => {
                self.is_sent(bytes, what, name, rest)?
            }
            _ => false,
        };
        if !fits {
            return Err(format!("expected {side} < {}, {got}", words.join(" ")));
        }
        self.now = at;
        match what {
            Did::Sent { bytes, ticket } => self.sent.push((bytes, ticket)),
            Did::Told { request: Some(bytes), server: None, .. } => {
                // The To tag of a 2xx is what its ACK needs.
                if let (["response", name, status], Ok(response)) =
                    (words, Message::parse(&bytes, &Limits::DEFAULT))
                {
                    let tag = response.to_tag().map(|tag| String::from_utf8_lossy(tag).into_owned());
                    let client = self.clients.iter_mut().find(|client| client.name == *name);
                    if let (Some(client), Some(tag), true) = (client, tag, status.starts_with('2')) {
                        client.to_tag = tag;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn is_sent(&self, bytes: &[u8], what: &str, name: &str, rest: &[&str]) -> Result<bool, String> {
        let message = Message::parse(bytes, &Limits::DEFAULT)
            .map_err(|_| "what was sent can't be parsed".to_string())?;
        let again = rest.contains(&"again");
        if again && !self.sent.iter().any(|(before, _)| before == bytes) {
            return Ok(false);
        }
        let method = rest.iter().find(|word| **word != "again");
        if message.is_request() {
            return Ok(message.method().as_bytes() == what.as_bytes() && message.call_id() == name.as_bytes());
        }
        let fields = named(self.servers.get(name), name)?;
        let of = method.map_or(fields.cseq_method.as_str(), |method| method);
        Ok(message.status_code().to_string() == what
            && message.cseq().method.as_bytes() == of.as_bytes()
            && fields.fits(&message))
    }

    // What the user does.

    fn command(&mut self, words: &[&str]) -> Held {
        let (words, refusal) = match words.iter().position(|word| *word == "!") {
            Some(at) => (words.get(..at).unwrap_or_default(), words.get(at + 1).copied()),
            None => (words, None),
        };
        let done = match words {
            ["respond", name, status] => {
                let txn = named(self.servers.get(*name).and_then(|fields| fields.txn), name)?;
                let status = need(status.parse().ok().and_then(Status::new), "the status")?;
                self.give(&Command::Respond { txn, status, content: Content::NONE })
            }
            ["repeat", name] => {
                let txn = named(self.servers.get(*name).and_then(|fields| fields.txn), name)?;
                self.give(&Command::Repeat(txn))
            }
            ["cancel", name] => {
                let txn = named(self.client(name), name)?.txn;
                self.give(&Command::Cancel(txn))
            }
            ["abort", name] => {
                let txn = match self.client(name) {
                    Some(client) => Txn::Client(client.txn),
                    None => Txn::Server(named(self.servers.get(*name).and_then(|fields| fields.txn), name)?),
                };
                self.give(&Command::Abort(txn))
            }
            ["ack", name] => {
                let client = named(self.client(name), name)?;
                let (to_tag, cseq) = (client.to_tag.clone(), client.cseq);
                self.request(None, name, &to_tag, cseq)
            }
            [method, name, keys @ ..] if is_method(method) => {
                only(keys, &["cseq", "to-tag"])?;
                let cseq = number(keys, "cseq")?.unwrap_or(1);
                self.request(Some(method), name, key(keys, "to-tag").unwrap_or_default(), cseq)
            }
            [word, ..] => return Err(format!("{word} is no command, or something is missing behind it")),
            [] => return Err("there is no command".into()),
        };
        let done = done.err().map(|misuse| format!("{misuse:?}"));
        if done.as_deref() == refusal {
            return Ok(());
        }
        Err(match (done, refusal) {
            (Some(done), _) => format!("refused: {done}"),
            (None, refusal) => format!("not refused with {}", refusal.unwrap_or_default()),
        })
    }

    fn client(&self, name: &str) -> Option<&Client> {
        self.clients.iter().find(|client| client.name == name)
    }

    fn give(&mut self, command: &Command<'_>) -> Result<Option<ClientTxn>, Misuse> {
        let now = self.now;
        self.machine().command(now, *command)
    }

    /// Begins a transaction, or without a method sends an ACK for a 2xx.
    fn request(
        &mut self,
        method: Option<&str>,
        name: &str,
        to_tag: &str,
        cseq: u32,
    ) -> Result<Option<ClientTxn>, Misuse> {
        let uri = format!("sip:peer@{PEER};transport={}", self.transport);
        let from = format!("<sip:us@192.0.2.1>;tag={name}");
        let tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
        let to = format!("<sip:peer@192.0.2.2>{tag}");
        let request = NewRequest {
            call_id: name,
            ..NewRequest::new(Method::new(method.unwrap_or("ACK").as_bytes()), &uri, &from, &to, cseq)
        };
        let Some(method) = method else { return self.give(&Command::Ack(request)) };
        let made = self.give(&Command::Request(request))?;
        if let Some(txn) = made {
            let client =
                Client { txn, name: name.into(), to_tag: String::new(), method: method.into(), cseq };
            self.clients.retain(|known| known.name != name);
            self.clients.push(client);
        }
        Ok(made)
    }
}
