//! A run for people: as a ladder of text, as a Mermaid diagram, as SVG.

use super::note::{Gist, Note};
use super::trace::{Entry, Loss, Packet, PacketId, Trace, What, seconds};
use crate::time::Instant;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// One arrow, or one remark at a node.
enum Line<'t> {
    Arrow { at: Instant, packet: &'t Packet, lost: Option<Loss>, copy: bool, late: Option<Instant> },
    Remark { at: Instant, node: usize, text: String },
}

/// From this on it is said when a message arrives.
const LATE: Duration = Duration::from_millis(100);

/// What became of each message: why it was lost, and when it and its copies arrived.
#[derive(Default)]
struct Ends {
    lost: BTreeMap<PacketId, Loss>,
    arrivals: BTreeMap<PacketId, VecDeque<Instant>>,
}

impl Ends {
    fn of(trace: &Trace) -> Self {
        let mut ends = Self::default();
        for entry in trace.entries() {
            match entry.what {
                What::Lost { packet, why } => {
                    ends.lost.entry(packet).or_insert(why);
                }
                What::Arrived { packet, .. } => ends.arrivals.entry(packet).or_default().push_back(entry.at),
                _ => {}
            }
        }
        ends
    }

    /// When the next of a message and its copies arrives, if that is long after it was sent.
    fn late(&mut self, packet: PacketId, at: Instant) -> Option<Instant> {
        let arrival = self.arrivals.get_mut(&packet)?.pop_front()?;
        (arrival.since(at) >= LATE).then_some(arrival)
    }
}

/// What is drawn: each message once when it is sent, and once more for each copy that the network made.
fn lines(trace: &Trace) -> impl Iterator<Item = Line<'_>> {
    let mut ends = Ends::of(trace);
    trace.entries().iter().filter_map(move |entry| {
        let Entry { at, node, .. } = *entry;
        let remark = |text: &str| Some(Line::Remark { at, node, text: text.into() });
        match entry.what {
            What::Sent { packet: id } => {
                let lost = ends.lost.get(&id).copied();
                let late = if lost.is_none() { ends.late(id, at) } else { None };
                Some(Line::Arrow { at, packet: trace.packet(id)?, lost, copy: false, late })
            }
            What::Copied { packet: id } => {
                let late = ends.late(id, at);
                Some(Line::Arrow { at, packet: trace.packet(id)?, lost: None, copy: true, late })
            }
            What::Note(note) => remark(remark_of(&note)?),
            What::Crashed => remark("crashes"),
            What::Restarted => remark("is back"),
            What::Jumped { by, forward } => {
                let way = if forward { "forward" } else { "back" };
                remark(&format!("clock {way} by {by:?}"))
            }
            What::Connection { open: false, .. } => remark("connection lost"),
            What::Healed => remark("the network heals"),
            _ => None,
        }
    })
}

fn remark_of(note: &Note) -> Option<&'static str> {
    use crate::endpoint::Cause;
    match note {
        Note::Ended { cause: Cause::Timeout, .. } => Some("timeout"),
        Note::Ended { cause: Cause::TransportError, .. } => Some("transport error"),
        Note::Ended { cause: Cause::NoAck, .. } => Some("no ACK"),
        Note::Ended { cause: Cause::Unanswered, .. } | Note::Unanswered { .. } => Some("not answered"),
        Note::Stray { .. } => Some("stray"),
        Note::Rejected { .. } => Some("rejected"),
        _ => None,
    }
}

/// A message, and when it arrives if that is long after.
fn long_title(packet: &Packet, late: Option<Instant>) -> String {
    let late = late.map_or(String::new(), |late| format!(", arrives {}", seconds(late)));
    title(packet) + &late
}

fn title(packet: &Packet) -> String {
    match packet.gist {
        Some(Gist { status: 0, verb, .. }) => verb.as_str().into(),
        Some(Gist { status, verb, .. }) => format!("{status} ({})", verb.as_str()),
        None => format!("{} bytes", packet.length),
    }
}

/// How wide a column of the text ladder is.
const COLUMN: usize = 24;

/// A ladder: time on the left, a column for each node. `--x` is lost, `-->>` a copy, `~>` sent before. At the right stands when a message
/// arrives, if that is 100 ms and more after it was sent. Of a world that did not keep its trace there is nothing to draw.
pub fn ladder(trace: &Trace, nodes: &[&str]) -> String {
    let mut out = format!("{:>12}  ", "");
    for node in nodes {
        out.push_str(&format!("{node:<COLUMN$}"));
    }
    out = format!("{}\n", out.trim_end());
    for line in lines(trace) {
        let (at, text) = match line {
            Line::Arrow { at, packet, lost, copy, late } => {
                let mut row = arrow(packet, lost, copy, nodes.len());
                if let Some(late) = late {
                    write_at(
                        &mut row,
                        nodes.len().saturating_sub(1) * COLUMN + 2,
                        &format!("arrives {}", seconds(late)),
                    );
                }
                (at, row)
            }
            Line::Remark { at, node, text } => {
                let mut row = rails(nodes.len());
                write_at(&mut row, node * COLUMN + 2, &format!("({text})"));
                (at, row)
            }
        };
        let text: String = text.into_iter().collect();
        out.push_str(&format!("{:>12}  {}\n", seconds(at), text.trim_end()));
    }
    out
}

fn rails(nodes: usize) -> Vec<char> {
    let mut row = alloc::vec![' '; nodes * COLUMN + 40];
    (0..nodes).for_each(|node| write_at(&mut row, node * COLUMN, "|"));
    row
}

fn write_at(row: &mut [char], at: usize, text: &str) {
    for (place, c) in row.iter_mut().skip(at).zip(text.chars()) {
        *place = c;
    }
}

fn arrow(packet: &Packet, lost: Option<Loss>, copy: bool, nodes: usize) -> Vec<char> {
    let mut row = rails(nodes);
    let peer = packet.peer.unwrap_or(packet.node);
    let (left, right) = (packet.node.min(peer) * COLUMN + 1, packet.node.max(peer) * COLUMN);
    for place in row.iter_mut().take(right).skip(left).filter(|place| **place != '|') {
        *place = if packet.again { '~' } else { '-' };
    }
    let head = match (lost, copy) {
        (Some(_), _) => "x",
        (None, true) => ">>",
        (None, false) => ">",
    };
    if peer > packet.node {
        write_at(&mut row, right - head.len(), head);
    } else {
        write_at(&mut row, left, &head.replace('>', "<"));
    }
    let title = format!(" {} ", title(packet));
    write_at(&mut row, left + (right.saturating_sub(left + title.len())) / 2, &title);
    row
}

/// A sequence diagram that Mermaid draws, and with it GitHub.
pub fn mermaid(trace: &Trace, nodes: &[&str]) -> String {
    let mut out = String::from("sequenceDiagram\n");
    for (at, node) in nodes.iter().enumerate() {
        out.push_str(&format!("    participant n{at} as {node}\n"));
    }
    for line in lines(trace) {
        match line {
            Line::Arrow { at, packet, lost, copy, late } => {
                let arrow = match (lost, copy) {
                    (Some(_), _) => "--x",
                    (None, true) => "-->>",
                    (None, false) => "->>",
                };
                let peer = packet.peer.unwrap_or(packet.node);
                let again = if packet.again { " again" } else { "" };
                out.push_str(&format!(
                    "    n{}{arrow}n{peer}: {} {}{again}\n",
                    packet.node,
                    seconds(at),
                    long_title(packet, late)
                ));
            }
            Line::Remark { at, node, text } => {
                out.push_str(&format!("    Note over n{node}: {} {text}\n", seconds(at)));
            }
        }
    }
    out
}

/// The same as a picture that any browser shows.
pub fn svg(trace: &Trace, nodes: &[&str]) -> String {
    const WIDE: usize = 220;
    const HIGH: usize = 22;
    let x = |node: usize| 130 + node * WIDE;
    let mut rows = String::new();
    let mut y = 60;
    for line in lines(trace) {
        let at = match line {
            Line::Arrow { at, packet, lost, copy, late } => {
                let peer = packet.peer.unwrap_or(packet.node);
                let (from, to) = (x(packet.node), x(peer));
                let end = if lost.is_some() { (from + to) / 2 } else { to };
                let dash = if copy || packet.again { " stroke-dasharray=\"5 3\"" } else { "" };
                let mark = if lost.is_some() { "x" } else { "a" };
                rows.push_str(&format!(
                    "<line x1=\"{from}\" y1=\"{y}\" x2=\"{end}\" y2=\"{y}\" stroke=\"black\"{dash} marker-end=\"url(#{mark})\"/>\n\
                     <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                    (from + to) / 2,
                    y - 4,
                    long_title(packet, late)
                ));
                at
            }
            Line::Remark { at, node, text } => {
                rows.push_str(&format!(
                    "<text x=\"{}\" y=\"{}\" font-style=\"italic\">{text}</text>\n",
                    x(node) + 6,
                    y + 4
                ));
                at
            }
        };
        rows.push_str(&format!("<text x=\"6\" y=\"{}\" fill=\"gray\">{}</text>\n", y + 4, seconds(at)));
        y += HIGH;
    }
    let width = x(nodes.len());
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">\
         <path d=\"M0 0 8 4 0 8z\"/></marker><marker id=\"x\" viewBox=\"0 0 8 8\" refX=\"4\" refY=\"4\" markerWidth=\"9\" \
         markerHeight=\"9\"><path d=\"M0 0 8 8M8 0 0 8\" stroke=\"red\" fill=\"none\"/></marker></defs>\n",
        y + 10
    );
    for (at, node) in nodes.iter().enumerate() {
        let x = x(at);
        out.push_str(&format!(
            "<text x=\"{x}\" y=\"24\" text-anchor=\"middle\" font-weight=\"bold\">{node}</text>\n\
             <line x1=\"{x}\" y1=\"32\" x2=\"{x}\" y2=\"{y}\" stroke=\"lightgray\"/>\n"
        ));
    }
    out + &rows + "</svg>\n"
}
