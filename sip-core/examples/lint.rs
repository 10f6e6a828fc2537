//! What a user agent makes of messages in files: `cargo run -p sip-core --example lint -- [--tcp] FILE…`
//!
//! Each file is one received datagram, or with `--tcp` the bytes of one connection. One line a message, tab-separated: file,
//! `accept`, `reject` or `drop`, the status that answers it or `-`, and the reason in words.

use sip_core::message::Status;
use sip_core::ua::{self, UserAgent};
use sip_core::{Config, Instant, Local, Machine, Output, Source, Target, Transport};
use std::process::ExitCode;

const US: &str = "192.0.2.1:5060";
const PEER: &str = "192.0.2.200:5060";
/// What stands beside `reject`, and beside nothing else: the message itself is at fault.
const FAULTS: [u16; 5] = [400, 413, 414, 505, 513];

fn main() -> ExitCode {
    let mut files: Vec<String> = std::env::args().skip(1).collect();
    if files.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!(
            "lint [--tcp] FILE...\n\nOne line a message: file, accept|reject|drop, status or -, reason."
        );
        return ExitCode::SUCCESS;
    }
    let stream = files.iter().any(|arg| arg == "--tcp");
    files.retain(|arg| arg != "--tcp");
    if let Some(flag) = files.iter().find(|arg| arg.starts_with("--")) {
        eprintln!("error: unknown flag {flag}; see --help");
        return ExitCode::from(2);
    }
    if files.is_empty() {
        eprintln!("error: no file given; see --help");
        return ExitCode::FAILURE;
    }
    for file in &files {
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) => {
                eprintln!("error: {file}: {error}");
                return ExitCode::FAILURE;
            }
        };
        let verdicts = if stream { connection(&bytes) } else { vec![datagram(&bytes)] };
        for (word, status, reason) in verdicts {
            println!("{file}\t{word}\t{status}\t{reason}");
        }
    }
    ExitCode::SUCCESS
}

pub(crate) type Verdict = (&'static str, String, String);

fn agent(transport: Transport) -> UserAgent {
    let mut agent = UserAgent::new(ua::Config::new(Config::new([0; 32]), "lint"));
    let addr = US.parse().expect("an address");
    agent.listen(Instant::ZERO, Local { transport, addr, advertised: None });
    agent
}

pub(crate) fn datagram(bytes: &[u8]) -> Verdict {
    let mut agent = agent(Transport::Udp);
    let from = Source::Datagram {
        local: US.parse().expect("an address"),
        remote: PEER.parse().expect("an address"),
    };
    let found = agent.datagram(Instant::ZERO, from, bytes).map(verdict);
    answered(&mut agent, found).0.unwrap_or_else(|| dropped("nothing to act on"))
}

/// The verdicts of a stream, and one for a rest that is no whole message.
pub(crate) fn connection(bytes: &[u8]) -> Vec<Verdict> {
    let mut agent = agent(Transport::Tcp);
    let target = Target { transport: Transport::Tcp, addr: PEER.parse().expect("an address") };
    let flow =
        agent.flow_accepted(Instant::ZERO, target, US.parse().expect("an address")).expect("room for a flow");
    let mut buf = sip_core::framing::StreamBuf::new();
    buf.extend(bytes);
    let (mut verdicts, mut closed) = (Vec::new(), false);
    while let Some(event) = agent.stream(Instant::ZERO, flow, &mut buf) {
        let found = Some(verdict(event));
        let (verdict, end) = answered(&mut agent, found);
        verdicts.extend(verdict);
        closed |= end;
    }
    if verdicts.is_empty() || !closed && !buf.is_empty() {
        verdicts.push(dropped("the stream ends before a message does"));
    }
    verdicts
}

fn dropped(reason: &str) -> Verdict {
    ("drop", "-".into(), reason.into())
}

fn verdict(event: ua::Event<'_>) -> Verdict {
    let accept = |status: String, reason: &str| ("accept", status, reason.to_owned());
    match event {
        ua::Event::Rejected(rejected) => match rejected.status {
            Some(status) => ("reject", status.code().to_string(), rejected.error.to_string()),
            None => dropped(&rejected.error.to_string()),
        },
        ua::Event::Declined { status, .. } if FAULTS.contains(&status.code()) => {
            ("reject", status.code().to_string(), status.reason().into())
        }
        ua::Event::Declined { status, .. } | ua::Event::Served { status, .. } => {
            accept(status.code().to_string(), status.reason())
        }
        ua::Event::Incoming { .. } => accept("-".into(), "a call comes in"),
        ua::Event::Stray(_) => accept("-".into(), "well formed, belongs to nothing here"),
        other => accept("-".into(), &format!("{other:?}")),
    }
}

/// Checks the verdict against what was really sent, and tells whether the connection is closed.
fn answered(agent: &mut UserAgent, verdict: Option<Verdict>) -> (Option<Verdict>, bool) {
    let (mut sent, mut closed) = (None, false);
    while let Some(output) = agent.poll() {
        match output {
            Output::Transmit(transmit) => {
                let code =
                    transmit.bytes.get(8..11).and_then(|code| core::str::from_utf8(code).ok()?.parse().ok());
                sent = code.and_then(Status::new);
            }
            Output::Close { .. } => closed = true,
            _ => {}
        }
    }
    if let (Some((_, status, reason)), Some(sent)) = (&verdict, sent) {
        assert_eq!(*status, sent.code().to_string(), "{reason}: what is told and what is sent differ");
    }
    (verdict, closed)
}
