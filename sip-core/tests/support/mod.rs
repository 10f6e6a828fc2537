//! What the integration tests share.
#![allow(dead_code, reason = "each test uses a part of this")]

pub(crate) mod acting;
pub(crate) mod call;
pub(crate) mod driven;
pub(crate) mod proxying;
pub(crate) mod subscription;

use sip_core::{Destination, Instant, Local, Machine, Output, Source, Target, Transport};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A folder of the data that lies outside the project: `SIP_SHARED`, by default `../shared` beside it. Without it a test is
/// skipped, and says so; under `CI` that is an error.
#[expect(clippy::disallowed_methods, reason = "a test may look at its environment")]
pub(crate) fn shared(folder: &str) -> Option<PathBuf> {
    let root = std::env::var("SIP_SHARED")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared").into());
    let path = Path::new(&root).join(folder);
    if path.is_dir() {
        return Some(path);
    }
    assert!(std::env::var("CI").is_err(), "no data in {}: set SIP_SHARED", path.display());
    eprintln!("SKIPPED: no data in {}: set SIP_SHARED", path.display());
    None
}

/// The rows of a tab-separated file, by the names in its first line.
pub(crate) fn table(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut lines = text.lines();
    let names: Vec<_> = lines.next().unwrap_or_default().split('\t').map(str::to_owned).collect();
    lines.map(|line| names.iter().cloned().zip(line.split('\t').map(str::to_owned)).collect()).collect()
}

/// Names and contents of the files of a folder with this ending, in order.
pub(crate) fn files(folder: &Path, ending: &str) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    found.sort();
    found
}

/// The contents of all files below a folder.
pub(crate) fn tree(folder: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        } else {
            found.push(std::fs::read(path).unwrap());
        }
    }
    found
}

pub(crate) const US: &str = "192.0.2.1:5060";
pub(crate) const PEER: &str = "192.0.2.2:5060";

pub(crate) fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// A machine with a UDP and a TCP address, and what came out of it.
pub(crate) struct Rig<M: Machine> {
    pub(crate) machine: M,
    pub(crate) now: Instant,
}

/// What came out of a machine, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Out {
    Sent { at: Instant, to: String, bytes: String, again: bool },
    Event { at: Instant, event: String },
    Other(String),
}

impl Out {
    /// The start line of what was sent; of an event its text.
    pub(crate) fn line(&self) -> &str {
        match self {
            Self::Sent { bytes, .. } => bytes.lines().next().unwrap_or_default(),
            Self::Event { event, .. } => event,
            Self::Other(text) => text,
        }
    }

    pub(crate) fn bytes(&self) -> &str {
        if let Self::Sent { bytes, .. } = self { bytes } else { "" }
    }
}

impl<M: Machine> Rig<M> {
    pub(crate) fn new(mut machine: M) -> Self {
        for transport in [Transport::Udp, Transport::Tcp] {
            let addr = US.parse().unwrap();
            machine.listen(Instant::ZERO, Local { transport, addr, advertised: None });
        }
        Self { machine, now: Instant::ZERO }
    }

    pub(crate) fn source() -> Source {
        Source::Datagram { local: US.parse().unwrap(), remote: PEER.parse().unwrap() }
    }

    /// A datagram from the peer; the event that it caused, as text.
    pub(crate) fn hear(&mut self, bytes: &str) -> Option<String> {
        let event = self.machine.datagram(self.now, Self::source(), bytes.as_bytes());
        event.map(|event| format!("{event:?}"))
    }

    /// All outputs that are there now.
    pub(crate) fn drain(&mut self) -> Vec<Out> {
        let at = self.now;
        let mut all = Vec::new();
        while let Some(output) = self.machine.poll() {
            assert!(all.len() < 100_000, "outputs without end: {:?}", all.last());
            all.push(match output {
                Output::Transmit(transmit) => Out::Sent {
                    at,
                    to: match transmit.to {
                        Destination::Datagram { remote, .. } => remote.to_string(),
                        Destination::Flow(flow) => format!("{flow:?}"),
                    },
                    bytes: String::from_utf8_lossy(transmit.bytes).into_owned(),
                    again: transmit.retransmission,
                },
                Output::Event(event) => Out::Event { at, event: format!("{event:?}") },
                Output::Connect { flow, target } => Out::Other(format!("connect {flow:?} {target}")),
                Output::Close { flow } => Out::Other(format!("close {flow:?}")),
                Output::Resolve { id, host, port, transport } => {
                    Out::Other(format!("resolve {id:?} {host}:{port} {transport}"))
                }
                other => Out::Other(format!("{other:?}")),
            });
        }
        all
    }

    /// Lets time pass up to `until`, stopping at every deadline; all outputs on the way.
    pub(crate) fn run_until(&mut self, until: Instant) -> Vec<Out> {
        let mut all = self.drain();
        while let Some(deadline) = self.machine.deadline().filter(|deadline| *deadline <= until) {
            self.now = self.now.max(deadline);
            self.machine.advance(self.now);
            let outputs = self.drain();
            assert!(
                !outputs.is_empty() || self.machine.deadline().is_none_or(|next| next > self.now),
                "a deadline at which nothing happens"
            );
            all.extend(outputs);
        }
        self.now = self.now.max(until);
        self.machine.advance(self.now);
        all.extend(self.drain());
        all
    }

    /// A connection that the peer opened.
    pub(crate) fn accept(&mut self) -> sip_core::FlowId {
        let target = Target { transport: Transport::Tcp, addr: PEER.parse().unwrap() };
        self.machine.flow_accepted(self.now, target, US.parse().unwrap()).unwrap()
    }
}

/// When messages were sent whose start line begins so.
pub(crate) fn sends(outputs: &[Out], start: &str) -> Vec<u64> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Out::Sent { at, bytes, .. } if bytes.starts_with(start) => Some(at.as_micros() / 1_000),
            _ => None,
        })
        .collect()
}

/// The value of a header in a message.
pub(crate) fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// A response to a request that was sent: its Vias, Record-Routes, From, Call-ID and CSeq, its To with a tag.
pub(crate) fn response(request: &str, status: &str, tag: &str, extra: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for line in request.lines().take_while(|line| !line.is_empty()) {
        let tag = match line.split(':').next() {
            Some("Via" | "Record-Route" | "From" | "Call-ID" | "CSeq") => String::new(),
            Some("To") if tag.is_empty() || line.contains(";tag=") => String::new(),
            Some("To") => format!(";tag={tag}"),
            _ => continue,
        };
        text += &format!("{line}{tag}\r\n");
    }
    text + extra + if extra.contains("\r\n\r\n") { "" } else { "Content-Length: 0\r\n\r\n" }
}

/// A REGISTER or PUBLISH of alice.
pub(crate) fn request(method: &str, cseq: u32, headers: &str, body: &str) -> String {
    format!(
        "{method} sip:alice@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{cseq}\r\n\
         From: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\nCall-ID: c\r\nCSeq: {cseq} {method}\r\n\
         {headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
