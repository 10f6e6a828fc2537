//! TCP connections: a task that reads and a task that writes for each.

use core::net::SocketAddr;
use core::time::Duration;
use sip_core::FlowId;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Messages that wait to be written to one connection.
const QUEUE: usize = 256;
/// How long a peer may take to accept a connection, or to take the last bytes of one.
const PATIENCE: Duration = Duration::from_secs(10);

/// What happens on connections.
pub(crate) enum Happening {
    /// A peer opened one.
    Accepted(TcpStream, SocketAddr),
    /// One that was asked for is open, or can't be.
    Connected(FlowId, io::Result<TcpStream>),
    /// Bytes were read.
    Read(FlowId, Vec<u8>),
    /// It is closed.
    Closed(FlowId),
}

/// An open connection.
pub(crate) struct Connection {
    queue: mpsc::Sender<Vec<u8>>,
    reader: JoinHandle<()>,
    writer: Option<JoinHandle<()>>,
    /// Dropped with the connection: from then on the writer has [`PATIENCE`].
    _alive: oneshot::Sender<()>,
}

impl Connection {
    pub(crate) fn open(stream: TcpStream, flow: FlowId, happenings: mpsc::Sender<Happening>) -> Self {
        // Requests and responses are small and wait for each other; there is nothing to gather.
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        let (queue, messages) = mpsc::channel(QUEUE);
        let reader = tokio::spawn(reader(read, flow, happenings.clone()));
        let (alive, closed) = oneshot::channel();
        let writer = tokio::spawn(async move {
            let late = async {
                let _ = closed.await;
                tokio::time::sleep(PATIENCE).await;
            };
            tokio::select! {
                () = writer(write, flow, messages, happenings) => {}
                () = late => {}
            }
        });
        Self { queue, reader, writer: Some(writer), _alive: alive }
    }

    /// Queues a message; false if the queue is full or the connection is gone.
    pub(crate) fn send(&self, bytes: &[u8]) -> bool {
        self.queue.try_send(bytes.to_vec()).is_ok()
    }
}

/// Closes connections when what is queued on them is written; all of them in [`PATIENCE`].
pub(crate) async fn close(mut connections: Vec<Connection>) {
    let writers: Vec<_> = connections.iter_mut().filter_map(|connection| connection.writer.take()).collect();
    drop(connections);
    let all = async {
        for writer in writers {
            let _ = writer.await;
        }
    };
    let _ = tokio::time::timeout(PATIENCE, all).await;
}

/// What was queued is still written; nothing more is read.
impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn reader(mut stream: OwnedReadHalf, flow: FlowId, happenings: mpsc::Sender<Happening>) {
    let mut buf = vec![0; 16 << 10];
    loop {
        let happening = match stream.read(&mut buf).await {
            Ok(0) | Err(_) => Happening::Closed(flow),
            Ok(length) => Happening::Read(flow, buf.get(..length).unwrap_or_default().to_vec()),
        };
        let last = matches!(happening, Happening::Closed(_));
        // The bounded channel is what slows a peer down that sends faster than we read.
        if happenings.send(happening).await.is_err() || last {
            return;
        }
    }
}

async fn writer(
    mut stream: OwnedWriteHalf,
    flow: FlowId,
    mut messages: mpsc::Receiver<Vec<u8>>,
    happenings: mpsc::Sender<Happening>,
) {
    while let Some(message) = messages.recv().await {
        if stream.write_all(&message).await.is_err() {
            let _ = happenings.send(Happening::Closed(flow)).await;
            return;
        }
    }
    let _ = stream.shutdown().await;
}

/// Opens a connection in a task of its own.
pub(crate) fn connect(flow: FlowId, addr: SocketAddr, happenings: mpsc::Sender<Happening>) {
    tokio::spawn(async move {
        let stream = match tokio::time::timeout(PATIENCE, TcpStream::connect(addr)).await {
            Ok(stream) => stream,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        let _ = happenings.send(Happening::Connected(flow, stream)).await;
    });
}

/// Accepts connections in a task of its own, until it is aborted.
pub(crate) fn accept(
    listener: tokio::net::TcpListener,
    happenings: mpsc::Sender<Happening>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => {
                    if happenings.send(Happening::Accepted(stream, remote)).await.is_err() {
                        return;
                    }
                }
                // Out of descriptors, most likely: others must close first.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    })
}
