//! What the examples share.

pub(crate) mod cli;

use sip_core::{Machine, Target, TransactionUser};
use sip_tokio_adapter::Driver;
use std::io;
use tokio::signal::unix::{SignalKind, signal};

/// Runs an agent on tokio.
pub(crate) fn run<M: Machine + 'static, U: TransactionUser<M>>(
    machine: M,
    agent: U,
    listen: &[Target],
    announce: bool,
) -> io::Result<(M, U)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut driver = Driver::new(machine, agent);
        for target in listen {
            let bound = driver
                .bind(*target)
                .await
                .map_err(|error| io::Error::new(error.kind(), format!("{target}: {error}")))?;
            if announce {
                eprintln!("listening on {bound}");
            }
        }
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let stop = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        Ok(driver.run_until(stop).await)
    })
}
