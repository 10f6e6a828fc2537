//! Snapshots that are anything.

use crate::{US, source};
use sip_core::message::Content;
use sip_core::ua::{Config, UserAgent};
use sip_core::{Endpoint, Instant, Local, Machine, Transport};

/// How many timers a restored machine may fire here.
const STEPS: usize = 300;

/// Bytes behind the word and the version of a snapshot: restored as whatever they may be, and driven on. What is restored can be kept again.
pub fn restore(data: &[u8]) {
    let now = Instant::from_millis(5_000);
    let config = || Config::new(sip_core::Config::new([2; 32]), "us");
    for kind in 1..=6 {
        let mut bytes = vec![b's', b'i', b'p', b'c', 1, kind];
        bytes.extend_from_slice(data);
        match kind {
            1 => {
                if let Ok(endpoint) = Endpoint::restore(now, sip_core::Config::new([2; 32]), &bytes) {
                    drive(endpoint, now);
                }
            }
            2 => {
                if let Ok(mut agent) = UserAgent::restore(now, config(), &bytes) {
                    for dialog in agent.dialogs().collect::<Vec<_>>() {
                        let _ = agent.accept(now, dialog, &Content::NONE);
                        let _ = agent.bye(now, dialog, &Content::NONE);
                    }
                    drive(agent, now);
                }
            }
            kind => {
                let mut agent = UserAgent::new(config());
                let _ = match kind {
                    3 => agent.restore_dialog(now, &bytes).map(drop),
                    4 => agent.restore_subscription(now, &bytes).map(drop),
                    5 => agent.restore_registration(now, &bytes).map(drop),
                    _ => agent.restore_publication(now, &bytes).map(drop),
                };
                drive(agent, now);
            }
        }
    }
}

fn drive<M: Machine>(mut machine: M, mut now: Instant) {
    let addr = US.parse().expect("an address");
    machine.listen(now, Local { transport: Transport::Udp, addr, advertised: None });
    let _ = machine.datagram(now, source(), b"SIP/2.0 200 OK\r\n\r\n");
    for _ in 0..STEPS {
        while machine.poll().is_some() {}
        let Some(deadline) = machine.deadline() else { break };
        now = now.max(deadline);
        machine.advance(now);
    }
    let _ = machine.stats();
}
