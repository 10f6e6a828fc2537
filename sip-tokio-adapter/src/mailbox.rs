//! Events and commands of other tasks.

use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};
use sip_core::{Instant, Machine, TransactionUser};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// A command: what a task wants done with the machine.
pub(crate) type Command<M> = Box<dyn FnOnce(&mut M, Instant) + Send>;

/// Commands that wait for the driver.
const COMMANDS: usize = 256;

/// The driver is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the driver has ended")
    }
}

impl core::error::Error for Closed {}

/// Gives commands to a machine that a driver owns. Clones give commands to the same machine.
pub struct Handle<M>(mpsc::Sender<Command<M>>);

impl<M> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Machine + 'static> Handle<M> {
    /// Carries out a command on the machine and returns its result.
    ///
    /// # Errors
    /// The driver has ended.
    pub async fn call<R: Send + 'static>(
        &self,
        command: impl FnOnce(&mut M, Instant) -> R + Send + 'static,
    ) -> Result<R, Closed> {
        let (answer, result) = oneshot::channel();
        let command: Command<M> = Box::new(move |machine, now| {
            // Whoever asked may have stopped waiting.
            let _ = answer.send(command(machine, now));
        });
        self.0.send(command).await.map_err(|_| Closed)?;
        result.await.map_err(|_| Closed)
    }
}

/// The events of a machine that a driver owns.
pub struct Events<M: Machine> {
    events: mpsc::UnboundedReceiver<M::Event<'static>>,
    waiting: Arc<AtomicUsize>,
}

impl<M: Machine> Events<M> {
    /// The next event; `None` when the driver has ended and all events are read. Cancel-safe.
    pub async fn recv(&mut self) -> Option<M::Event<'static>> {
        let event = self.events.recv().await?;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(event)
    }
}

/// The transaction user that passes events on to [`Events`].
///
/// The channel has no bound of its own: `capacity` is kept by refusing what may be refused, and what may not is bounded
/// by the limits of the machine.
pub struct Mailbox<M: Machine> {
    events: mpsc::UnboundedSender<M::Event<'static>>,
    waiting: Arc<AtomicUsize>,
    capacity: usize,
}

impl<M: Machine> TransactionUser<M> for Mailbox<M> {
    fn event(&mut self, now: Instant, machine: &mut M, event: M::Event<'_>) {
        let full = self.waiting.load(Ordering::Relaxed) >= self.capacity || self.events.is_closed();
        let kept = if full { machine.refuse(now, event) } else { Some(event) };
        if let Some(event) = kept {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            // With nobody left to read it, there is nobody to tell.
            let _ = self.events.send(M::into_owned(event));
        }
    }
}

pub(crate) fn mailbox<M: Machine>(
    capacity: usize,
) -> (Mailbox<M>, Handle<M>, Events<M>, mpsc::Receiver<Command<M>>) {
    let (sender, events) = mpsc::unbounded_channel();
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let waiting = Arc::new(AtomicUsize::new(0));
    let mailbox = Mailbox { events: sender, waiting: waiting.clone(), capacity };
    (mailbox, Handle(commands), Events { events, waiting }, inbox)
}
