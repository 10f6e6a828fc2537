//! The transaction machines (RFC 3261 §17 as amended by RFC 6026 and RFC 4320).
//!
//! [`ict`], [`nict`], [`ist`] and [`nist`] are pure steps: a state and an event give the next state and a list of
//! [`Action`]s. They hold no table, no clock and no bytes, and read like the figures of the RFCs; who wants to drive
//! them alone may. Everything around them is private: the table that matches messages to transactions, the timers,
//! the retained bytes, and the layer that brings them together for [`Endpoint`](crate::Endpoint) and its siblings.

pub mod ict;
pub mod ist;
pub mod nict;
pub mod nist;

mod action;
mod buffers;
mod client;
#[cfg(feature = "snapshot")]
mod kept;
mod lanes;
mod layer;
mod outbox;
mod record;
mod sending;
mod server;
mod skeleton;
mod state;
mod stateless;
mod table;
mod timers;

pub use action::{Action, Delay, Report, Send, Step};
pub use state::State;
pub use timers::{Restart, Timer, Timers};

pub(crate) use buffers::BufferId;
#[cfg(feature = "snapshot")]
pub(crate) use buffers::Buffers;
pub(crate) use client::{ClientRequest, hop, mark_of, towards};
#[cfg(feature = "snapshot")]
pub(crate) use lanes::Armed;
pub(crate) use lanes::Lanes;
pub(crate) use layer::{Heard, Layer, Told};
pub(crate) use outbox::Item;
pub(crate) use table::Index;
