//! What the examples share. Their command lines are those of the tokio adapter.

#[path = "../../../sip-tokio-adapter/examples/support/cli.rs"]
pub(crate) mod cli;

use core::sync::atomic::AtomicBool;
use mio::{Poll, Token};
use sip_core::{Machine, Target, TransactionUser};
use sip_mio_adapter::Driver;
use std::io;
use std::sync::Arc;

/// Runs an agent on mio.
pub(crate) fn run<M: Machine + 'static, U: TransactionUser<M>>(
    machine: M,
    agent: U,
    listen: &[Target],
    announce: bool,
) -> io::Result<(M, U)> {
    let mut poll = Poll::new()?;
    let mut driver = Driver::new(machine, agent, poll.registry().try_clone()?, Token(0));
    for target in listen {
        let bound = driver
            .bind(*target)
            .map_err(|error| io::Error::new(error.kind(), format!("{target}: {error}")))?;
        if announce {
            eprintln!("listening on {bound}");
        }
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    driver.run(&mut poll, &stop)
}
