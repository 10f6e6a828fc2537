//! Invariants that watch a run. A monitor sees the trace and nothing else.
//!
//! The invariants of single transactions are functions over a whole [`History`](super::History), in `history.rs`; what is here needs more
//! than one transaction.

use super::histories::Histories;
use super::note::Note;
use super::trace::{Entry, Trace, What};
use crate::time::Instant;
use crate::transaction::Timers;
use crate::transport::Transport;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub monitor: &'static str,
    /// What was seen.
    pub what: String,
    /// When.
    pub at: Instant,
    /// At which node.
    pub node: usize,
}

impl Violation {
    pub(super) const fn new(monitor: &'static str, what: String, at: Instant, node: usize) -> Self {
        Self { monitor, what, at, node }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at node {} at {}: {}",
            self.monitor,
            self.node,
            super::trace::seconds(self.at),
            self.what
        )
    }
}

impl core::error::Error for Violation {}

/// Watches a run.
pub trait Monitor {
    /// Sees one line of the trace.
    ///
    /// # Errors
    /// The invariant does not hold.
    fn see(&mut self, entry: &Entry, trace: &Trace) -> Result<(), Violation>;

    /// Sees that the run is over: nothing is left to do.
    ///
    /// # Errors
    /// The invariant does not hold.
    fn at_rest(&mut self, trace: &Trace) -> Result<(), Violation> {
        let _ = trace;
        Ok(())
    }
}

/// All monitors of the transaction layer, for machines with these timers. `most_open` is their cap on transactions
/// ([`Limits::transactions`](crate::Limits::transactions)).
///
/// | name | says |
/// |---|---|
/// | I1, I2, I3, I4 | a NICT, NIST, ICT, IST ends when its timers say so |
/// | I5 | the user is told one outcome |
/// | I6 | copies are sent by Timers A, E and G, the same bytes each time |
/// | I7 | after the end nothing is sent and nothing told |
/// | I8 | each refusal of an INVITE is acknowledged once, by an ACK made of the INVITE |
/// | I11 | a request is given to the user once, and its copies bring the last response |
/// | I12 | CANCEL is sent after a provisional response and before a final one, and answered once |
/// | I15 | at rest all tables are empty |
/// | I16 | deadlines are honest, and a wake-up without need does nothing |
/// | I18 | what is sent fits, and one input does not bring outputs without end |
/// | I19 | a response that belongs to nothing brings nothing |
/// | I20 | the cap on transactions holds |
/// | I21 | a response repeats what its request has |
/// | I22 | an INVITE gets a 100 in 200 ms |
/// | I25 | a connection is read in order |
/// | I26 | what is sent can be parsed |
/// | I27 | responses go where Via says, or by their connection |
/// | I33 | what is sent arrives or is lost |
pub fn monitors(timers: &Timers, most_open: usize) -> Vec<Box<dyn Monitor>> {
    vec![
        Box::new(Histories::new(timers)),
        Box::new(Honesty),
        Box::new(Messages::default()),
        Box::new(Caps(most_open)),
        Box::new(Conservation::default()),
    ]
}

/// Those among them that need to know nothing of what the users are told: I16, I18, I25, I26 and I33.
pub(super) fn wire_monitors() -> Vec<Box<dyn Monitor>> {
    vec![Box::new(Honesty), Box::new(Messages::default()), Box::new(Conservation::default())]
}

pub(super) fn broken(monitor: &'static str, node: usize, what: String) -> Result<(), Violation> {
    Err(Violation::new(monitor, what, Instant::ZERO, node))
}

/// I16: deadlines are honest. After a node has done what was due its deadline is later than now; a wake-up without need changes
/// nothing; and one wake-up is not answered with outputs without end (I18).
struct Honesty;

impl Monitor for Honesty {
    fn see(&mut self, entry: &Entry, _: &Trace) -> Result<(), Violation> {
        match entry.what {
            What::Rest { deadline: Some(deadline), .. } if deadline <= entry.local => broken(
                "I16",
                entry.node,
                alloc::format!("the deadline {deadline:?} is not later than {:?}", entry.local),
            ),
            What::Spurious { changed: true } => {
                broken("I16", entry.node, "a wake-up without need changed something".into())
            }
            What::Rest { outputs, .. } if outputs > 50_000 => {
                broken("I18", entry.node, alloc::format!("{outputs} outputs at once"))
            }
            _ => Ok(()),
        }
    }
}

/// I26 and I18: what a machine sends can be parsed, stands in CRLF lines, and fits its transport. The answer to a malformed request is
/// excepted: it repeats what stands there.
#[derive(Default)]
struct Messages {
    /// The arrival at each node that was malformed.
    malformed: BTreeMap<usize, u32>,
}

impl Monitor for Messages {
    fn see(&mut self, entry: &Entry, trace: &Trace) -> Result<(), Violation> {
        if let What::Note(Note::Rejected { .. }) = entry.what {
            self.malformed.insert(entry.node, entry.cause);
        }
        if let What::Arrived { damaged: true, .. } = entry.what {
            self.malformed.insert(entry.node, entry.number);
        }
        let What::Sent { packet } = entry.what else { return Ok(()) };
        if self.malformed.get(&entry.node) == Some(&entry.cause) {
            return Ok(());
        }
        let Some(packet) = trace.packet(packet).filter(|packet| !packet.forged) else { return Ok(()) };
        let pong = packet.transport != Transport::Udp && packet.bytes == b"\r\n";
        if packet.gist.is_none() && !pong {
            return broken("I26", entry.node, "what was sent can't be parsed".into());
        }
        if packet.transport == Transport::Udp && packet.length > 65_507 {
            return broken("I18", entry.node, alloc::format!("{} bytes in a datagram", packet.length));
        }
        // A body may hold what it likes; the header section ends at the first empty line.
        let head = memchr::memmem::find(&packet.bytes, b"\r\n\r\n").unwrap_or(packet.bytes.len());
        let head = packet.bytes.get(..head).unwrap_or_default();
        let bare = memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head.get(at - 1) != Some(&b'\r'));
        if bare {
            return broken("I26", entry.node, "a line ends without CR".into());
        }
        Ok(())
    }
}

/// I20: a table never holds more than its cap, and a quarter for what ends something; the CANCELs of this side come on top, one for each
/// INVITE.
pub(super) struct Caps(pub(super) usize);

impl Monitor for Caps {
    fn see(&mut self, entry: &Entry, _: &Trace) -> Result<(), Violation> {
        let What::Rest { open: (clients, servers), .. } = entry.what else { return Ok(()) };
        let most = self.0.saturating_add(self.0 / 4 + 1);
        if servers > most || clients + servers > most.saturating_mul(2) {
            let what = alloc::format!("{clients} and {servers} transactions are open, the cap is {}", self.0);
            return broken("I20", entry.node, what);
        }
        Ok(())
    }
}

/// I33: every message that was sent arrives or is lost, and so does every copy; and a stream is read as it was written (I25): the
/// messages of one connection arrive in their order.
#[derive(Default)]
struct Conservation {
    under_way: BTreeMap<u32, i64>,
    last: BTreeMap<(u32, usize), u32>,
}

impl Monitor for Conservation {
    fn see(&mut self, entry: &Entry, trace: &Trace) -> Result<(), Violation> {
        let (packet, by) = match entry.what {
            What::Sent { packet } | What::Copied { packet } => (packet, 1),
            What::Lost { packet, .. } => (packet, -1),
            What::Arrived { packet, .. } => {
                if let Some(conn) = trace.packet(packet).and_then(|packet| packet.conn) {
                    let last = self.last.insert((conn, entry.node), packet);
                    if last.is_some_and(|last| last >= packet) {
                        return broken("I25", entry.node, "a connection delivered out of order".into());
                    }
                }
                (packet, -1)
            }
            _ => return Ok(()),
        };
        let left = self.under_way.entry(packet).or_default();
        *left += by;
        match *left {
            0 => {
                self.under_way.remove(&packet);
                Ok(())
            }
            1.. => Ok(()),
            _ => broken("I33", entry.node, "a message arrived that was not sent".into()),
        }
    }

    fn at_rest(&mut self, trace: &Trace) -> Result<(), Violation> {
        // What was written to a connection that then broke is neither here nor there.
        let stuck =
            self.under_way.keys().find(|id| trace.packet(**id).is_some_and(|packet| packet.conn.is_none()));
        match stuck.and_then(|id| trace.packet(*id)) {
            Some(packet) => {
                broken("I33", packet.node, "a message was sent, and neither arrived nor was lost".into())
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::trace::{Loss, Packet};
    use alloc::string::ToString;

    fn trace_of_two() -> Trace {
        let mut trace = Trace::new(true);
        let addr = "10.0.0.1:5060".parse().unwrap();
        for conn in [None, Some(0)] {
            let at = Instant::ZERO;
            trace.add_packet(Packet {
                at,
                node: 0,
                peer: Some(1),
                from: addr,
                to: addr,
                transport: Transport::Udp,
                conn,
                gist: None,
                again: false,
                forged: false,
                bytes: Vec::new(),
                length: 0,
            });
        }
        trace
    }

    fn line(what: What) -> Entry {
        Entry { at: Instant::ZERO, local: Instant::ZERO, node: 1, number: 0, cause: 0, what }
    }

    #[test]
    fn what_was_not_sent_does_not_arrive() {
        let trace = trace_of_two();
        let mut monitor = Conservation::default();
        let arrived = line(What::Arrived { packet: 0, damaged: false });
        assert!(monitor.see(&arrived, &trace).unwrap_err().to_string().starts_with("I33"));
        let mut monitor = Conservation::default();
        monitor.see(&line(What::Sent { packet: 0 }), &trace).unwrap();
        assert!(monitor.at_rest(&trace).unwrap_err().to_string().starts_with("I33"));
        monitor.see(&line(What::Lost { packet: 0, why: Loss::Dropped }), &trace).unwrap();
        assert_eq!(monitor.at_rest(&trace), Ok(()));
    }

    #[test]
    fn a_connection_delivers_in_order() {
        let mut trace = trace_of_two();
        let second = trace.packet(1).unwrap().clone();
        trace.add_packet(second);
        let mut monitor = Conservation::default();
        for packet in [1, 2] {
            monitor.see(&line(What::Sent { packet }), &trace).unwrap();
        }
        monitor.see(&line(What::Arrived { packet: 2, damaged: false }), &trace).unwrap();
        let early = monitor.see(&line(What::Arrived { packet: 1, damaged: false }), &trace);
        assert!(early.unwrap_err().to_string().starts_with("I25"));
    }
}
