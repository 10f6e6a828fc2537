//! The rules of the transport layer (RFC 3261 §18): where a message goes, by what, and what a response finds back by.

mod flows;
mod locals;
mod next_hop;
mod packed;
mod response;

pub use locals::Local;

pub(crate) use flows::{Flow, Flows, Waiting};
pub(crate) use locals::Locals;
pub(crate) use next_hop::{NextHop, next_hop_of};
pub(crate) use packed::PackedAddr;
pub(crate) use response::reply_address;

use core::fmt;
use core::net::SocketAddr;

/// A transport protocol.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A byte stream.
    Tcp,
    /// A byte stream inside TLS.
    Tls,
    /// WebSocket, one message a frame (RFC 7118).
    Ws,
    /// WebSocket inside TLS.
    Wss,
}

/// Whether a transport delivers what it takes: decides which timers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reliability {
    /// Messages may be lost: the transaction repeats them.
    Unreliable,
    /// The transport repeats them.
    Reliable,
}

impl Transport {
    /// Whether it delivers.
    pub const fn reliability(self) -> Reliability {
        match self {
            Self::Udp => Reliability::Unreliable,
            _ => Reliability::Reliable,
        }
    }

    /// The token in a Via.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// The value of a `transport` parameter.
    pub const fn param(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// The transport that a token or parameter names, without case.
    pub fn named(token: &[u8]) -> Option<Self> {
        [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss]
            .into_iter()
            .find(|transport| transport.token().as_bytes().eq_ignore_ascii_case(token))
    }

    /// The port where none is given (RFC 3261 §18.1.1, RFC 7118 §5).
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.param())
    }
}

/// Where a request is to be sent: a transport and an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// By what.
    pub transport: Transport,
    /// To whom.
    pub addr: SocketAddr,
}

/// An address that is not written as `transport:ip:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTarget;

impl fmt::Display for BadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an address: write udp:127.0.0.1:5060 or tcp:[::1]:5060")
    }
}

impl core::error::Error for BadTarget {}

impl core::str::FromStr for Target {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        let (transport, addr) = text.split_once(':').ok_or(BadTarget)?;
        let transport = Transport::named(transport.as_bytes()).ok_or(BadTarget)?;
        Ok(Self { transport, addr: addr.parse().map_err(|_| BadTarget)? })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport, self.addr)
    }
}
