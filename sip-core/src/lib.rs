//! SIP as a pure state machine.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(feature = "agent")]
pub mod agent;
mod config;
mod dialog;
mod endpoint;
pub mod framing;
mod handle;
pub mod headers;
mod machine;
pub mod message;
mod random;
mod time;
pub mod transaction;
mod transport;
pub mod ua;
pub mod uri;

pub use config::{Config, Limits};
pub use endpoint::{
    Cause, Command, Destination, Endpoint, Event, Misuse, NewRequest, Output, Rejected, SendError, Source, Stats,
    Ticket, Transmit, Txn,
};
pub use handle::{ClientTxn, DialogId, FlowId, Invitation, ResolveId, ServerTxn};
pub use machine::{Input, Machine, Streams, TransactionUser};
pub use random::Seed;
pub use time::Instant;
pub use transport::{BadTarget, Local, Reliability, Target, Transport};
