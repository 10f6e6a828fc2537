//! What the examples share.
#![allow(dead_code, reason = "each example uses a part of this")]

pub(crate) mod cli;

use cli::{Feed, Input};
use core::future::Future;
use sip_core::{Machine, Target, TransactionUser};
use sip_tokio_adapter::Driver;
use std::io::{self, Read};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Runs an agent on tokio.
pub(crate) fn run<M: Machine + 'static, U: TransactionUser<M>>(
    machine: M,
    agent: U,
    listen: &[Target],
    announce: bool,
) -> io::Result<(M, U)> {
    runtime()?.block_on(async {
        let mut driver = Driver::new(machine, agent);
        bind(&mut driver, listen, announce).await?;
        Ok(driver.run_until(signals()?).await)
    })
}

/// Runs an agent that reads an input.
pub(crate) fn run_fed<M: Machine + 'static, U: TransactionUser<M> + 'static>(
    machine: M,
    agent: U,
    listen: &[Target],
    mut input: Input,
    feed: Feed<M, U>,
) -> io::Result<(M, U)> {
    runtime()?.block_on(async {
        let (mut driver, handle) = Driver::with_handle(machine, agent);
        bind(&mut driver, listen, false).await?;
        let (pieces, mut read) = mpsc::channel::<Vec<u8>>(16);
        // A thread, because a terminal or a pipe may say nothing for ever.
        std::thread::spawn(move || {
            let mut buf = [0; 4_096];
            while let Ok(length @ 1..) = input.read(&mut buf) {
                if pieces.blocking_send(buf[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        tokio::spawn(async move {
            while let Some(piece) = read.recv().await {
                let _ = handle
                    .call_user(move |machine, agent, now| feed(machine, agent, now, Some(&piece)))
                    .await;
            }
            let _ = handle.call_user(move |machine, agent, now| feed(machine, agent, now, None)).await;
        });
        Ok(driver.run_until(signals()?).await)
    })
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

async fn bind<M: Machine + 'static, U: TransactionUser<M>>(
    driver: &mut Driver<M, U>,
    listen: &[Target],
    announce: bool,
) -> io::Result<()> {
    for target in listen {
        let bound = driver
            .bind(*target)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("{target}: {error}")))?;
        if announce {
            eprintln!("listening on {bound}");
        }
    }
    Ok(())
}

/// Ready when the process is asked to end.
fn signals() -> io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
