//! SIP as a pure state machine (RFC 3261 and what amends it).
//!
//! Bytes, time, facts and commands go in; bytes, a deadline and events come out. Nothing here opens a socket, reads a clock,
//! draws entropy or spawns a task, so the same machine runs on tokio, on mio, in a simulator and under a fuzzer.
//!
//! ```
//! use sip_core::message::{Content, Status};
//! use sip_core::{Config, Endpoint, Event, Instant, Local, Machine, Output, Source, Transport};
//!
//! let addr = "192.0.2.1:5060".parse().unwrap();
//! let mut endpoint = Endpoint::new(Config::new([7; 32]));
//! endpoint.listen(Instant::ZERO, Local { transport: Transport::Udp, addr, advertised: None });
//!
//! // A datagram has come from somewhere.
//! let data = b"OPTIONS sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n\
//!     From: <sip:a@x>;tag=1\r\nTo: <sip:192.0.2.1>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n";
//! let from = Source::Datagram { local: addr, remote: "192.0.2.9:5060".parse().unwrap() };
//! let now = Instant::from_millis(40);
//! if let Some(Event::Request { txn, request, .. }) = endpoint.datagram(now, from, data) {
//!     assert_eq!(request.call_id(), b"1");
//!     endpoint.respond(now, txn, Status::OK, &Content::NONE).unwrap();
//! }
//!
//! // What is to be done about it.
//! while let Some(output) = endpoint.poll() {
//!     if let Output::Transmit(transmit) = output {
//!         assert!(transmit.bytes.starts_with(b"SIP/2.0 200 OK\r\n"));
//!     }
//! }
//! // Nothing more before then: the request may come again until Timer J is over.
//! assert_eq!(endpoint.deadline(), Some(Instant::from_millis(32_040)));
//! ```
//!
//! # The machines
//!
//! * [`Endpoint`]: transports and transactions (RFC 3261 §17, §18). ICT, NICT, IST and NIST are in
//!   [`transaction`], each a pure step.
//! * [`ua::UserAgent`]: that, and dialogs with all that goes on in them: sessions, subscriptions; and registrations and publications (§8–§15 and
//!   what extends them). [`auth`], [`registrar`] and [`compositor`] stand beside it for who serves others.
//! * [`proxy::Proxy`]: transactions, and response contexts that couple them (§16); and [`proxy::stateless::Stateless`], which has neither.
//!
//! All have the verbs of [`Machine`]; drivers are written against it. Their commands are their own methods, and exist as
//! values too ([`Input`]).
//!
//! # The contract
//!
//! Each point is a property that `tests/contract.rs` holds against the machines, and that a planted fault makes fail.
//!
//! 1. **Pure.** No clock, entropy, environment, thread or global has a part in what a machine does.
//! 2. **Deterministic.** The same configuration, seed and inputs give the same output bytes on every platform; when outputs are
//!    drained changes nothing in them.
//! 3. **Progress.** `advance` only moves the horizon; draining then reaches a `deadline()` of `None` or later than now, one due
//!    timer a step. A timer that is late fires once and runs anew from now. Bytes beat the timers of the same instant.
//! 4. **No lost wake-up.** While output is pending, `deadline()` is due.
//! 5. **Any order.** No call needs another before it; an undrained output loses nothing.
//! 6. **Spurious wake-ups.** An `advance` without need does nothing, and time never runs backwards inside, whatever `now` says.
//! 7. **Order.** Polled outputs leave in the order of their causes; timers fire in the order of their deadlines. An event that a
//!    call returns precedes all that the call queued.
//! 8. **Bounded.** Everything that a peer could make grow has a cap in [`Limits`], and a documented answer at it. At the cap of
//!    the outbox retransmissions count as lost; what ends something always has room.
//! 9. **No panic**, on any bytes and any sequence of calls.
//! 10. **No leak.** Every transaction ends by itself, and every dialog that is not an established call: that lasts until somebody
//!     hangs up, or its session timer ends it; so do registrations and publications that nobody answers for any more. A user that forgets one can't keep it alive. A connection or a
//!     name that the adapter never answers for is given up after 64·T1.
//! 11. **No heap allocation in steady state** (pools warm, messages up to 4 KiB and 64 header lines) on the paths that receive,
//!     match, repeat and respond in an [`Endpoint`]. Setting up a dialog allocates.
//!
//! Who is to blame is in the type: what a peer did wrong is an event ([`Event::Rejected`]), what the caller did wrong is
//! [`Misuse`], and what the network did is an event too.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(feature = "agent")]
pub mod agent;
pub mod auth;
pub mod compositor;
mod config;
mod dialog;
mod endpoint;
pub mod framing;
mod handle;
pub mod headers;
mod machine;
pub mod message;
mod paged;
pub mod proxy;
mod random;
pub mod registrar;
#[cfg(feature = "sim")]
pub mod sim;
#[cfg(feature = "snapshot")]
mod snapshot;
mod time;
pub mod transaction;
mod transport;
pub mod ua;
pub mod uri;

pub use config::{Config, Limits, Matching, Overload};
pub use endpoint::{
    Cause, Command, Destination, Endpoint, Event, Misuse, NewRequest, Output, Rejected, SendError, Source,
    Stats, Ticket, Transmit, Txn,
};
pub use handle::{
    BranchId, ClientTxn, ContextId, DialogId, FlowId, Invitation, PublicationId, RegistrationId, RequestId,
    ResolveId, ServerTxn, SubscriptionId,
};
pub use machine::{Input, Machine, Streams, TransactionUser};
pub use random::Seed;
#[cfg(feature = "snapshot")]
pub use snapshot::RestoreError;
pub use time::Instant;
pub use transport::{BadTarget, Local, Reliability, Target, Transport};
