//! Whole SIP networks in virtual time, the same on every machine (feature `sim`).
//!
//! A [`World`] has machines, a network between them, and one clock that jumps to whatever is due next. Everything that could go one
//! way or the other (is this datagram lost, does that callee answer, is the clock of a machine fast) is asked of a [`Tape`]:
//! a seed, the bytes of a fuzzer, or a list of [`Choice`]s. Monitors watch the trace and nothing else; they hold the machines to
//! what the standards say. After the chaos the network heals, and then nothing may be left: no transaction, no byte, no deadline.
//!
//! ```
//! use sip_core::sim::{Faults, Script, Setup, Tape, ladder};
//!
//! // Two calls over a network that loses a third of all datagrams.
//! let faults = Faults { loss: 3_300, ..Faults::NONE };
//! let setup = Setup { faults, calls: 2, keep_trace: true, ..Setup::default() };
//! let report = setup.run(Tape::seed(7));
//! assert!(report.violations.is_empty() && report.leaked == 0);
//! assert!(ladder(&report.trace, &["alice", "bob"]).contains("INVITE"));
//! // The same seed is the same run, byte for byte.
//! assert_eq!(report.digest, setup.run(Tape::seed(7)).digest);
//! // And so is the list of what went wrong in it.
//! assert_eq!(report.digest, setup.run(Tape::list(&report.choices)).digest);
//! ```
//!
//! # Machines of your own
//!
//! ```
//! use sip_core::message::{Content, Method, Status};
//! use sip_core::sim::{Actor, Faults, Hand, Host, Node, Tape, World, ladder, monitors};
//! use sip_core::{Config, Endpoint, Event, Instant, NewRequest};
//!
//! /// Sends one OPTIONS, or none, and answers all.
//! struct Ping(bool);
//!
//! impl Actor for Ping {
//!     fn event(&mut self, _: Instant, hand: &mut Hand<'_>, event: Event<'_>) {
//!         if let Event::Request { txn, .. } = event {
//!             hand.respond(txn, Status::OK, &Content::NONE);
//!         }
//!     }
//!     fn deadline(&self) -> Option<Instant> {
//!         self.0.then_some(Instant::ZERO)
//!     }
//!     fn advance(&mut self, _: Instant, hand: &mut Hand<'_>) {
//!         self.0 = false; // the deadline moves on
//!         let ping = NewRequest::new(Method::Options, "sip:10.0.0.1", "<sip:a@x>;tag=1", "<sip:b@x>", 1);
//!         hand.request(&ping).unwrap();
//!     }
//! }
//!
//! let mut world = World::new(Tape::seed(1), Faults { loss: 5_000, ..Faults::NONE });
//! world.keep_trace(); // without it there is nothing to draw
//! for (number, pings) in [(1, false), (2, true)] {
//!     let addr = format!("10.0.0.{number}:5060").parse().unwrap();
//!     // Called once, and again after each crash.
//!     world.add(addr, move |_| -> Box<dyn Node> {
//!         Box::new(Host::new(Endpoint::new(Config::new([number; 32])), addr, Ping(pings)))
//!     });
//! }
//! let config = Config::new([0; 32]);
//! for monitor in monitors(&config.timers, config.limits.transactions) {
//!     world.watch(monitor);
//! }
//! world.run();
//! assert!(world.violations().is_empty());
//! print!("{}", ladder(world.trace(), &["bob", "alice"]));
//! ```
//!
//! # What to use it for
//!
//! * **Your own transaction user**: implement [`Actor`], put it into a [`Host`], and add that to a world.
//! * **User agents** that call each other, directly or by a proxy that forks, with all that goes on inside calls: [`Talks`]; a user of your own with any machine: [`Party`].
//! * **What user agents do together**, line by line, and the same over bad networks: [`flow`].
//! * **Your own wrapper of a machine**: implement [`Node`] for it; a world needs nothing else.
//! * **Your own invariant**: implement [`Monitor`].
//! * **A bug**: [`shrink`] makes the list of choices short, [`ladder`], [`mermaid`] and [`svg`] draw the run, [`replay`] gives the log
//!   of one machine to a fresh one.
//! * **All small faults**: [`all_faults`] goes through every single and every double fault of a run.
//! * **One machine, line by line**: [`scenario`] runs files that say what comes, and what has to happen when.

mod actors;
mod calls;
mod dialogs;
mod draw;
mod explore;
mod faults;
pub mod flow;
mod forwarding;
mod histories;
mod history;
mod hostile;
mod ledger;
mod log;
mod monitor;
mod net;
mod node;
mod note;
mod party;
mod router;
pub mod scenario;
mod switch;
mod talks;
mod tape;
mod trace;
mod world;

pub use actors::{Callee, Caller, Manner, Script};
pub use calls::{Report, Setup, Topology, Wrap};
pub use dialogs::dialog_monitors;
pub use draw::{ladder, mermaid, svg};
pub use explore::{all_faults, shrink};
pub use faults::Faults;
pub use history::{History, Role};
pub use log::{BadLog, Log, quote, replay, seed_of};
pub use monitor::{Monitor, Violation, monitors};
pub use node::{Act, Actor, Hand, Host, Node};
pub use note::{Gist, Note, Verb};
pub use party::Party;
pub use talks::{Talked, Talks};
pub use tape::{BadChoice, Choice, Kind, Question, Site, Tape, read_choices, write_choices};
pub use trace::{Entry, Loss, Packet, PacketId, Trace, What};
pub use world::World;
