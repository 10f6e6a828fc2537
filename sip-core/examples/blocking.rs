//! A runtime of one blocking socket: `cargo run -p sip-core --example blocking -- 127.0.0.1:5060` answers calls and OPTIONS.

use sip_core::message::{Content, Status};
use sip_core::ua::{Config, Event, UserAgent};
use sip_core::{Destination, Instant, Local, Machine, Output, SendError, Source, Transport};
use std::net::UdpSocket;

const SDP: &[u8] =
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n";

#[expect(clippy::disallowed_methods, reason = "here the machine is told the real time")]
fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5060".into());
    let socket = UdpSocket::bind(addr)?;
    let local = socket.local_addr()?;
    let epoch = std::time::Instant::now();
    let clock = || Instant::from_micros(epoch.elapsed().as_micros() as u64);

    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("the system has entropy");
    let mut agent = UserAgent::new(Config::new(sip_core::Config::new(seed), "blocking"));
    agent.listen(clock(), Local { transport: Transport::Udp, addr: local, advertised: None });
    println!("listening on {local}");

    let mut buf = [0; 1 << 16];
    loop {
        agent.advance(clock());
        let mut failed = None;
        while let Some(output) = agent.poll() {
            match output {
                Output::Transmit(transmit) => {
                    let Destination::Datagram { remote, .. } = transmit.to else { continue };
                    if socket.send_to(transmit.bytes, remote).is_err() {
                        failed = Some(transmit.ticket);
                        break;
                    }
                }
                Output::Event(event) => println!("{event:?}"),
                _ => {}
            }
        }
        if let Some(ticket) = failed {
            agent.send_failed(clock(), ticket, SendError::Unreachable);
            continue;
        }
        let wait = agent.deadline().map(|at| at.since(clock()).max(core::time::Duration::from_micros(1)));
        socket.set_read_timeout(wait)?;
        let Ok((length, remote)) = socket.recv_from(&mut buf) else { continue };
        if let Some(event) = agent.datagram(clock(), Source::Datagram { local, remote }, &buf[..length]) {
            println!("{event:?}");
            let sdp = Content::body("application/sdp", SDP);
            let _ = match event {
                Event::Incoming { dialog, .. } => agent.accept(clock(), dialog, &sdp),
                // A change of the session: the peer puts it on hold, say.
                Event::Request { txn, .. } => agent.respond(clock(), txn, Status::OK, &sdp),
                _ => Ok(()),
            };
        }
    }
}
