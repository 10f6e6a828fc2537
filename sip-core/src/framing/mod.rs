//! Where a message begins and ends (RFC 3261 §18.3, RFC 5626 §3.5.1).

mod datagram;
mod stream;

pub use stream::StreamBuf;

pub(crate) use datagram::read_datagram;
pub(crate) use stream::{Framed, read_frame};
