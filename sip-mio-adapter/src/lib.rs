//! sip-core on mio.
//!
//! A [`Driver`] owns one machine, its transaction user and its sockets, and lives in a [`mio::Poll`]: its own, with
//! [`Driver::run`], or yours:
//!
//! ```no_run
//! use mio::{Events, Poll, Token};
//! use sip_core::{Config, TransactionUser, ua};
//! use sip_mio_adapter::{Driver, seed};
//!
//! struct Greeter;
//! impl TransactionUser<ua::UserAgent> for Greeter {
//!     fn event(&mut self, now: sip_core::Instant, machine: &mut ua::UserAgent, event: ua::Event<'_>) {
//!         if let ua::Event::Incoming { dialog, .. } = event {
//!             let busy = sip_core::message::Status::BUSY_HERE;
//!             let _ = machine.reject(now, dialog, busy, &sip_core::message::Content::NONE);
//!         }
//!     }
//! }
//!
//! let mut poll = Poll::new()?;
//! let machine = ua::UserAgent::new(ua::Config::new(Config::new(seed()), "greeter"));
//! // Tokens from 1000 on are the driver's; those below are yours.
//! let mut driver = Driver::new(machine, Greeter, poll.registry().try_clone()?, Token(1000));
//! driver.bind("udp:127.0.0.1:5060".parse().unwrap())?;
//! let mut events = Events::with_capacity(256);
//! loop {
//!     driver.settle();
//!     poll.poll(&mut events, driver.timeout())?;
//!     for event in &events {
//!         if !driver.ready(event) {
//!             // One of yours.
//!         }
//!     }
//! }
//! # #[allow(unreachable_code)]
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Nothing blocks but [`mio::Poll`], and name resolution, which has a thread of its own while a name is asked for. A
//! connection has a queue of 1 MiB; beyond, sending fails. Dropping the driver closes the sockets at once;
//! [`Driver::run`] first writes what is queued.

mod clock;
mod driver;
mod resolver;
mod sockets;

pub use driver::Driver;

/// A seed from the system's entropy.
///
/// # Panics
/// The system has none to give.
pub fn seed() -> sip_core::Seed {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("the system has entropy");
    seed
}
