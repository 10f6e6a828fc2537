//! Names, by the system's resolver: it blocks, so it has a thread of its own.

use core::net::SocketAddr;
use sip_core::ResolveId;
use std::net::ToSocketAddrs;
use std::sync::mpsc;

type Question = (ResolveId, String, u16);
type Answer = (ResolveId, Vec<SocketAddr>);

/// The thread; it ends when this is dropped and its last question is answered.
pub(crate) struct Resolver {
    questions: mpsc::Sender<Question>,
    answers: mpsc::Receiver<Answer>,
}

impl Resolver {
    pub(crate) fn start() -> Self {
        let (questions, asked) = mpsc::channel::<Question>();
        let (answer, answers) = mpsc::channel();
        std::thread::spawn(move || {
            for (id, host, port) in asked {
                let addrs =
                    (host.as_str(), port).to_socket_addrs().map(Iterator::collect).unwrap_or_default();
                if answer.send((id, addrs)).is_err() {
                    return;
                }
            }
        });
        Self { questions, answers }
    }

    /// Asks. The machine has a cap on its questions, and gives up those that take too long.
    pub(crate) fn ask(&self, id: ResolveId, host: &str, port: u16) {
        let _ = self.questions.send((id, host.to_owned(), port));
    }

    /// An answer, if one has come.
    pub(crate) fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}
