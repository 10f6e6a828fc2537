//! The bodies of the fuzz targets. Each takes bytes and panics if something is wrong with what the core makes of them.
//!
//! `cargo fuzz run datagram -s none` runs one on a stable compiler; `cargo test` replays the corpus and the project's own
//! bad input.

mod dialog;
mod editing;
mod forward;
mod framing;
mod headers;
mod machine;
mod restore;
mod table;
mod uri;
mod world;

pub use dialog::dialog;
pub use editing::editing;
pub use forward::forward;
pub use framing::{datagram, stream};
pub use headers::headers;
pub use machine::machine;
pub use restore::restore;
pub use table::table;
pub use uri::uri;
pub use world::world;

use sip_core::{Config, Endpoint, Instant, Local, Machine, Source, Transport};

/// A target: its name, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 11] = [
    ("datagram", datagram),
    ("stream", stream),
    ("uri", uri),
    ("headers", headers),
    ("editing", editing),
    ("machine", machine),
    ("dialog", dialog),
    ("forward", forward),
    ("restore", restore),
    ("table", table),
    ("world", world),
];

const US: &str = "192.0.2.1:5060";
const PEER: &str = "192.0.2.2:5060";

/// How much may happen in a scene, and how many timers fire until all is over.
const STEPS: usize = 60;
const TIMERS: usize = 20_000;

/// The next byte; zero if there is none.
fn take(bytes: &mut &[u8]) -> u8 {
    let Some((first, rest)) = bytes.split_first() else { return 0 };
    *bytes = rest;
    *first
}

/// The next bytes, up to so many, as text of one line.
fn line(bytes: &mut &[u8], length: usize) -> String {
    let (text, rest) = bytes.split_at(length.min(bytes.len()));
    *bytes = rest;
    String::from_utf8_lossy(text).replace(['\r', '\n'], " ")
}

fn endpoint() -> Endpoint {
    let mut endpoint = Endpoint::new(Config::new([0; 32]));
    for transport in [Transport::Udp, Transport::Tcp] {
        let addr = US.parse().expect("an address");
        endpoint.listen(Instant::ZERO, Local { transport, addr, advertised: None });
    }
    endpoint
}

fn source() -> Source {
    Source::Datagram { local: US.parse().expect("an address"), remote: PEER.parse().expect("an address") }
}
