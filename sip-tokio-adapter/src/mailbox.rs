//! Events and commands of other tasks.

use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};
use sip_core::{Instant, Machine, TransactionUser};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// A command: what a task wants done with the machine and its user.
pub(crate) type Command<M, U> = Box<dyn FnOnce(&mut M, &mut U, Instant) + Send>;

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

/// Gives commands to a machine that a driver owns, and to its user. Clones give commands to the same machine.
pub struct Handle<M: Machine, U = Mailbox<M>>(mpsc::Sender<Command<M, U>>);

impl<M: Machine, U> Clone for Handle<M, U> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Machine + 'static, U: 'static> Handle<M, U> {
    /// Carries out a command on the machine and returns its result.
    ///
    /// # Errors
    /// The driver has ended.
    pub async fn call<R: Send + 'static>(
        &self,
        command: impl FnOnce(&mut M, Instant) -> R + Send + 'static,
    ) -> Result<R, Closed> {
        self.call_user(|machine, _, now| command(machine, now)).await
    }

    /// The same with the machine's user, which is asked for what it knows, or told to do something.
    ///
    /// # Errors
    /// The driver has ended.
    pub async fn call_user<R: Send + 'static>(
        &self,
        command: impl FnOnce(&mut M, &mut U, Instant) -> R + Send + 'static,
    ) -> Result<R, Closed> {
        let (answer, result) = oneshot::channel();
        let command: Command<M, U> = Box::new(move |machine, user, now| {
            // Whoever asked may have stopped waiting.
            let _ = answer.send(command(machine, user, now));
        });
        self.0.send(command).await.map_err(|_| Closed)?;
        result.await.map_err(|_| Closed)
    }
}

/// A handle, and where its commands arrive.
pub(crate) fn handle<M: Machine, U>() -> (Handle<M, U>, mpsc::Receiver<Command<M, U>>) {
    let (commands, inbox) = mpsc::channel(COMMANDS);
    (Handle(commands), inbox)
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

pub(crate) fn mailbox<M: Machine>(capacity: usize) -> (Mailbox<M>, Events<M>) {
    let (sender, events) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    (Mailbox { events: sender, waiting: waiting.clone(), capacity }, Events { events, waiting })
}
