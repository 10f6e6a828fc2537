//! sip-core on tokio.
//!
//! A [`Driver`] owns one machine and its sockets, and runs until its user is done:
//!
//! ```no_run
//! # async fn run() -> std::io::Result<()> {
//! use sip_core::{Config, ua};
//! use sip_tokio_adapter::{Driver, seed};
//!
//! let alice = ua::UserAgent::new(ua::Config::new(Config::new(seed()), "alice"));
//! let (mut driver, handle, mut events) = Driver::with_mailbox(alice, 64);
//! driver.bind("udp:127.0.0.1:5060".parse().unwrap()).await?;
//! tokio::spawn(driver.run());
//!
//! handle.call(|ua, now| ua.invite(now, &ua::NewInvite::new("sip:bob@127.0.0.1:5070"))).await.unwrap().unwrap();
//! while let Some(event) = events.recv().await {
//!     println!("{event:?}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! An agent that answers every call, and what is asked inside it:
//!
//! ```no_run
//! use sip_core::message::{Content, Status};
//! use sip_core::ua::{Config, Event, UserAgent};
//! use sip_tokio_adapter::{Driver, seed};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let bob = UserAgent::new(Config::new(sip_core::Config::new(seed()), "bob"));
//!     let (mut driver, handle, mut events) = Driver::with_mailbox(bob, 64);
//!     driver.bind("udp:127.0.0.1:5060".parse()?).await?;
//!     tokio::spawn(driver.run());
//!     let sdp = Content::body("application/sdp", b"v=0\r\n");
//!     while let Some(event) = events.recv().await {
//!         let answered = match event {
//!             Event::Incoming { dialog, .. } => handle.call(move |ua, now| ua.accept(now, dialog, &sdp)).await?,
//!             Event::Request { txn, .. } => {
//!                 handle.call(move |ua, now| ua.respond(now, txn, Status::OK, &sdp)).await?
//!             }
//!             _ => Ok(()),
//!         };
//!         answered.unwrap_or_else(|gone| eprintln!("too late: {gone}"));
//!     }
//!     Ok(())
//! }
//! ```
//!
//! There is one task for the machine, and two for each connection; they share nothing but bounded channels. No lock is
//! held across an await, because there is none. What decides anything is in the core.
//!
//! * **Cancel safety.** [`Handle::call`] may be dropped at any point: either the command was not sent, or it is carried out
//!   and its result is lost. [`Events::recv`] loses nothing.
//! * **Dropping.** When all [`Handle`]s and the [`Events`] are dropped, the machine is drained: it begins nothing new, and the
//!   driver ends when all is over. Dropping the driver, or its task, closes the sockets at once.
//! * **Bounds.** A mailbox takes as many events as it was made for. Then new requests are refused with 503 and provisional
//!   responses are dropped; final responses and what ends something are always delivered, so that the peers of live
//!   transactions decide how many there are. A connection has a queue of 256 messages; beyond, sending fails.

mod clock;
mod driver;
mod mailbox;
mod tcp;
mod udp;

pub use driver::Driver;
pub use mailbox::{Closed, Events, Handle, Mailbox};

/// A seed from the system's entropy.
///
/// # Panics
/// The system has none to give.
pub fn seed() -> sip_core::Seed {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("the system has entropy");
    seed
}

/// The snippets of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
