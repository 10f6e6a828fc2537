//! UDP sockets.

use core::net::SocketAddr;
use core::task::{Context, Poll};
use sip_core::{SendError, Ticket};
use std::collections::VecDeque;
use std::io;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

/// Datagrams that wait for a socket to take them.
const QUEUE: usize = 1_024;

pub(crate) struct Udp {
    socket: UdpSocket,
    pub(crate) local: SocketAddr,
    queue: VecDeque<(SocketAddr, Vec<u8>, Ticket)>,
}

impl Udp {
    pub(crate) async fn bind(addr: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(addr).await?;
        let local = socket.local_addr()?;
        Ok(Self { socket, local, queue: VecDeque::new() })
    }

    /// Receives a datagram; the length is that of the part which `buf` could hold.
    pub(crate) fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut buf = ReadBuf::new(buf);
        self.socket.poll_recv_from(cx, &mut buf).map_ok(|remote| (buf.filled().len(), remote))
    }

    /// Sends a datagram, or keeps it until the socket takes it.
    pub(crate) fn send(&mut self, remote: SocketAddr, bytes: &[u8], ticket: Ticket) -> Result<(), SendError> {
        if self.queue.is_empty() {
            match self.socket.try_send_to(bytes, remote) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return sent.map(|_| ()).map_err(|error| reason(&error)),
            }
        }
        if self.queue.len() >= QUEUE {
            return Err(SendError::Full);
        }
        self.queue.push_back((remote, bytes.to_vec(), ticket));
        Ok(())
    }

    /// Sends what is kept, as far as the socket takes it. Ready with the first that can't be sent at all.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<(Ticket, SendError)> {
        while let Some((remote, bytes, ticket)) = self.queue.front() {
            match self.socket.poll_send_to(cx, bytes, *remote) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(sent) => {
                    let ticket = *ticket;
                    self.queue.pop_front();
                    if let Err(error) = sent {
                        return Poll::Ready((ticket, reason(&error)));
                    }
                }
            }
        }
        Poll::Pending
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
