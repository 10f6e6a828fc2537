//! Sockets that never block.

use core::net::SocketAddr;
use mio::event::Source;
use mio::net::{TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};
use sip_core::{FlowId, SendError, Ticket};
use std::collections::VecDeque;
use std::io::{self, Read, Write};

/// Datagrams that wait for a socket to take them.
const DATAGRAMS: usize = 1_024;
/// Bytes that wait for a connection to take them.
const BYTES: usize = 1 << 20;

pub(crate) struct Udp {
    pub(crate) socket: UdpSocket,
    pub(crate) local: SocketAddr,
    queue: VecDeque<(SocketAddr, Vec<u8>, Ticket)>,
}

impl Udp {
    pub(crate) fn bind(addr: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut socket = UdpSocket::bind(addr)?;
        let local = socket.local_addr()?;
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { socket, local, queue: VecDeque::new() })
    }

    /// Sends a datagram, or keeps it until the socket takes it.
    pub(crate) fn send(&mut self, remote: SocketAddr, bytes: &[u8], ticket: Ticket) -> Result<(), SendError> {
        if self.queue.is_empty() {
            match self.socket.send_to(bytes, remote) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return sent.map(|_| ()).map_err(|error| reason(&error)),
            }
        }
        if self.queue.len() >= DATAGRAMS {
            return Err(SendError::Full);
        }
        self.queue.push_back((remote, bytes.to_vec(), ticket));
        Ok(())
    }

    /// Sends what is kept, as far as the socket takes it; returns the first that can't be sent at all.
    pub(crate) fn flush(&mut self) -> Option<(Ticket, SendError)> {
        while let Some((remote, bytes, ticket)) = self.queue.front() {
            let ticket = *ticket;
            match self.socket.send_to(bytes, *remote) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                sent => {
                    self.queue.pop_front();
                    if let Err(error) = sent {
                        return Some((ticket, reason(&error)));
                    }
                }
            }
        }
        None
    }
}

/// EMSGSIZE on Linux, macOS and the BSDs, and on Windows.
const TOO_LARGE: [i32; 3] = [90, 40, 10_040];

fn reason(error: &io::Error) -> SendError {
    if error.raw_os_error().is_some_and(|code| TOO_LARGE.contains(&code)) {
        SendError::TooLarge
    } else {
        SendError::Unreachable
    }
}

/// A TCP connection.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) flow: FlowId,
    /// False until the peer has accepted it.
    pub(crate) open: bool,
    /// To be closed when the queue is written.
    pub(crate) closing: bool,
    queue: VecDeque<u8>,
}

impl Connection {
    pub(crate) fn new(
        mut stream: TcpStream,
        flow: FlowId,
        open: bool,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        stream.register(registry, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, flow, open, closing: false, queue: VecDeque::new() })
    }

    /// Queues a message and writes what can be written.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        if self.queue.len() + bytes.len() > BYTES {
            return Err(SendError::Full);
        }
        self.queue.extend(bytes);
        self.flush().map_err(|_| SendError::Unreachable)
    }

    /// Writes what can be written.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while !self.queue.is_empty() {
            let (front, _) = self.queue.as_slices();
            match self.stream.write(front) {
                Ok(written) => drop(self.queue.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(crate) fn is_flushed(&self) -> bool {
        self.queue.is_empty()
    }

    /// Reads once: the number of bytes, nothing if there are none now, or an error, of which the end of the stream is one.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            return match self.stream.read(buf) {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => Ok(Some(length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }
}

/// The address from which the system would reach others, with the port of `addr`; the loopback address if it reaches nobody.
pub(crate) fn outward(addr: SocketAddr) -> SocketAddr {
    // An address of documentation (RFC 5737, RFC 3849); connecting a datagram socket sends nothing.
    let far: SocketAddr = if addr.is_ipv4() {
        ([192, 0, 2, 1], 9).into()
    } else {
        ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9).into()
    };
    let found = std::net::UdpSocket::bind(SocketAddr::new(addr.ip(), 0)).and_then(|socket| {
        socket.connect(far)?;
        socket.local_addr()
    });
    match found {
        Ok(found) => SocketAddr::new(found.ip(), addr.port()),
        Err(_) if addr.is_ipv4() => SocketAddr::new(core::net::Ipv4Addr::LOCALHOST.into(), addr.port()),
        Err(_) => SocketAddr::new(core::net::Ipv6Addr::LOCALHOST.into(), addr.port()),
    }
}
