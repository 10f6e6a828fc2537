//! Names, by the system's resolver: it blocks, so it has threads of its own.

use core::net::SocketAddr;
use sip_core::ResolveId;
use std::net::ToSocketAddrs;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

type Question = (ResolveId, String, u16);
type Answer = (ResolveId, Vec<SocketAddr>);

/// A name that nobody answers for holds up one of these, and not those behind it.
const THREADS: usize = 4;
/// Names that wait for a thread.
const QUEUE: usize = 1_024;

/// The threads; they end when this is dropped and their last questions are answered.
pub(crate) struct Resolver {
    questions: mpsc::SyncSender<Question>,
    answers: mpsc::Receiver<Answer>,
}

impl Resolver {
    pub(crate) fn start() -> Self {
        let (questions, asked) = mpsc::sync_channel::<Question>(QUEUE);
        let (answer, answers) = mpsc::channel();
        let asked = Arc::new(Mutex::new(asked));
        for _ in 0..THREADS {
            let (asked, answer) = (Arc::clone(&asked), answer.clone());
            std::thread::spawn(move || {
                // The lock is held while a thread waits for a question, not while it looks for the answer.
                let next = || asked.lock().unwrap_or_else(PoisonError::into_inner).recv();
                while let Ok((id, host, port)) = next() {
                    let addrs = (host.as_str(), port).to_socket_addrs();
                    if answer.send((id, addrs.map(Iterator::collect).unwrap_or_default())).is_err() {
                        return;
                    }
                }
            });
        }
        Self { questions, answers }
    }

    /// Asks; false if too many names wait. The machine gives up those that take too long.
    pub(crate) fn ask(&self, id: ResolveId, host: &str, port: u16) -> bool {
        self.questions.try_send((id, host.to_owned(), port)).is_ok()
    }

    /// An answer, if one has come.
    pub(crate) fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}
