//! What the examples share. Their command lines are those of the tokio adapter.
#![allow(dead_code, reason = "each example uses a part of this")]

#[path = "../../../sip-tokio-adapter/examples/support/cli.rs"]
pub(crate) mod cli;

use cli::{Feed, Input};
use core::sync::atomic::{AtomicBool, Ordering};
use mio::{Events, Poll, Token, Waker};
use sip_core::{Machine, Target, TransactionUser};
use sip_mio_adapter::Driver;
use std::io::{self, Read};
use std::sync::{Arc, mpsc};

/// Runs an agent on mio.
pub(crate) fn run<M: Machine + 'static, U: TransactionUser<M>>(
    machine: M,
    agent: U,
    listen: &[Target],
    announce: bool,
) -> io::Result<(M, U)> {
    let mut poll = Poll::new()?;
    let driver = bound(machine, agent, &poll, listen, announce)?;
    driver.run(&mut poll, &*signals()?)
}

/// Runs an agent that reads an input.
pub(crate) fn run_fed<M: Machine + 'static, U: TransactionUser<M> + 'static>(
    machine: M,
    agent: U,
    listen: &[Target],
    mut input: Input,
    feed: Feed<M, U>,
) -> io::Result<(M, U)> {
    let mut poll = Poll::new()?;
    let mut driver = bound(machine, agent, &poll, listen, false)?;
    let stop = signals()?;
    let (pieces, read) = mpsc::sync_channel::<Option<Vec<u8>>>(16);
    // Held here too: with its last owner goes what it has not told yet.
    let waker = Arc::new(Waker::new(poll.registry(), Token(0))?);
    let wake = waker.clone();
    // A thread, because a terminal or a pipe may say nothing for ever.
    std::thread::spawn(move || {
        let mut buf = [0; 4_096];
        loop {
            let piece = match input.read(&mut buf) {
                Ok(length @ 1..) => Some(buf[..length].to_vec()),
                _ => None,
            };
            let last = piece.is_none();
            if pieces.send(piece).is_err() || wake.wake().is_err() || last {
                return;
            }
        }
    });
    let mut events = Events::with_capacity(1_024);
    while !stop.load(Ordering::Relaxed) {
        for piece in read.try_iter() {
            driver.command(|machine, agent, now| feed(machine, agent, now, piece.as_deref()));
        }
        driver.settle();
        if driver.user().is_done() {
            break;
        }
        match poll.poll(&mut events, driver.timeout()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            polled => polled?,
        }
        for event in &events {
            driver.ready(event);
        }
    }
    drop(waker);
    // What is queued is still written.
    driver.run(&mut poll, &AtomicBool::new(true))
}

/// A driver with its sockets; its tokens begin at 1.
fn bound<M: Machine + 'static, U: TransactionUser<M>>(
    machine: M,
    agent: U,
    poll: &Poll,
    listen: &[Target],
    announce: bool,
) -> io::Result<Driver<M, U>> {
    let mut driver = Driver::new(machine, agent, poll.registry().try_clone()?, Token(1));
    for target in listen {
        let bound = driver
            .bind(*target)
            .map_err(|error| io::Error::new(error.kind(), format!("{target}: {error}")))?;
        if announce {
            eprintln!("listening on {bound}");
        }
    }
    Ok(driver)
}

/// Set when the process is asked to end.
fn signals() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    Ok(stop)
}
