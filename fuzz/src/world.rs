//! Whole worlds, their tape fed by the fuzzer.

use core::time::Duration;
use sip_core::Transport;
use sip_core::sim::{Faults, Setup, Tape, Topology, ladder, write_choices};

/// The first byte picks topology and transport; the rest is the tape: rates, calls, users, the network, and a hostile peer. Every monitor
/// watches.
pub fn world(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let topology = [Topology::Direct, Topology::Proxy, Topology::Fork][usize::from(first % 3)];
    let transport = if first & 8 == 0 { Transport::Udp } else { Transport::Tcp };
    let mut tape = Tape::bytes(rest.to_vec());
    let setup = Setup {
        topology,
        transport,
        faults: Faults::swarm(&mut tape),
        calls: u32::from(first >> 6) + 1,
        script: None,
        spread: Duration::from_secs(1),
        hostile: transport == Transport::Udp && first & 16 != 0,
        ..Setup::default()
    };
    let report = setup.run(tape);
    if let Some(violation) = report.violations.first() {
        let short = Setup { keep_trace: true, ..setup }.run(Tape::list(&report.choices));
        let names = ["0", "1", "2", "3", "4", "5"];
        panic!("{violation}\nchoices: {}\n{}", write_choices(&report.choices), ladder(&short.trace, &names));
    }
}
