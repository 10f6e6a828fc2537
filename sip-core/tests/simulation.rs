//! Worlds of calls under every fault, exhaustively where they are small and by seeds where they are not.
//!
//! A run that fails leaves its seed, its choices, its ladder and a pcap in the target folder, and names them.

#[path = "../examples/support/pcap.rs"]
mod pcap;

use core::time::Duration;
use sip_core::sim::{
    Faults, Kind, Question, Report, Script, Setup, Site, Tape, Topology, Violation, all_faults, ladder,
    quote, read_choices, replay, seed_of, shrink, write_choices,
};
use sip_core::transaction::Timers;
use sip_core::{Config, Endpoint, Limits, Transport};
use std::path::Path;

const TOPOLOGIES: [Topology; 3] = [Topology::Direct, Topology::Proxy, Topology::Fork];

/// Fails with all that is needed to see why, if a run did not hold.
fn hold(setup: &Setup, report: &Report, name: &str) {
    let Some(violation) = report.violations.first() else { return };
    let fails =
        |tape: Tape| setup.run(tape).violations.iter().any(|found| found.monitor == violation.monitor);
    let choices = shrink(&report.choices, 1_000, fails);
    let short = Setup { keep_trace: true, ..setup.clone() }.run(Tape::list(&choices));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.pcap"));
    let packets = match pcap::write(&path, &short.trace) {
        Ok(()) => format!("packets: {}", path.display()),
        Err(error) => format!("no packets: {error}"),
    };
    panic!(
        "{name}: {violation}\nchoices: {}\n{}{packets}",
        write_choices(&choices),
        ladder(&short.trace, &["0", "1", "2", "3", "4", "5"])
    );
}

fn chaos(topology: Topology, transport: Transport, tape: &mut Tape) -> Setup {
    Setup {
        topology,
        transport,
        faults: Faults::swarm(tape),
        calls: 2,
        script: None,
        spread: Duration::from_secs(2),
        hostile: transport == Transport::Udp && tape.below(Site::node(Kind::Rate, 99), 2) == 0,
        ..Setup::default()
    }
}

/// The lane of seeds; CI runs many more in release.
#[test]
fn seeds_hold_in_every_topology() {
    for topology in TOPOLOGIES {
        for transport in [Transport::Udp, Transport::Tcp] {
            for seed in 0..150 {
                let mut tape = Tape::seed(seed);
                let setup = chaos(topology, transport, &mut tape);
                let report = setup.run(tape);
                hold(&setup, &report, &format!("{topology:?}-{transport:?}-{seed}"));
                assert_eq!(report.leaked, 0);
            }
        }
    }
}

/// Every single fault of the base flows: each datagram lost, doubled, or held back for any of the delays.
#[test]
fn every_single_fault_of_the_base_flows_holds() {
    let mut runs = 0;
    for setup in Setup::base_flows() {
        runs += all_faults(1, |tape| {
            let report = setup.run(tape);
            hold(&setup, &report, &format!("single-{:?}-{:?}", setup.topology, setup.script));
            (report.questions, true)
        });
    }
    assert!(runs > 300, "{runs} runs");
}

/// Without faults every call ends as it should, and what is sent is what the flows of RFC 3665 have.
#[test]
fn calls_without_faults_are_complete() {
    for flow in Setup::base_flows() {
        let setup = Setup { faults: Faults::NONE, calls: 3, ..flow };
        let report = setup.run(Tape::list(&[]));
        hold(&setup, &report, "plain");
        assert_eq!((report.calls, report.completed), (3, 3), "{:?} {:?}", setup.topology, setup.script);
        assert_eq!(report.retransmissions, 0);
    }
}

/// The same seed is the same run: in this process, in another build, on another machine.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test may look at its environment")]
fn the_same_seed_has_the_same_digest() {
    let digest = |seed| {
        let mut tape = Tape::seed(seed);
        let setup = chaos(Topology::Fork, Transport::Udp, &mut tape);
        setup.run(tape).digest
    };
    assert_eq!(digest(7), digest(7));
    assert_ne!(digest(7), digest(8));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/digests.tsv");
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        let rows: String = (1..=8).map(|seed| format!("{seed}\t{:032x}\n", digest(seed))).collect();
        std::fs::write(&path, format!("seed\tdigest\n{rows}")).unwrap();
    }
    let file = std::fs::read_to_string(path).unwrap();
    assert!(file.lines().count() > 5, "digests that were written down");
    for line in file.lines().skip(1) {
        let (seed, known) = line.split_once('\t').unwrap();
        assert_eq!(format!("{:032x}", digest(seed.parse().unwrap())), known, "seed {seed}");
    }
}

/// The list of choices that were not boring is the whole run.
#[test]
fn a_run_is_its_choices() {
    for seed in 0..40 {
        let mut tape = Tape::seed(seed);
        let setup = chaos(Topology::Proxy, Transport::Udp, &mut tape);
        let report = setup.run(tape);
        let choices = read_choices(&write_choices(&report.choices)).unwrap();
        // The rates were chosen before the world was made; here they are in the setup.
        let choices: Vec<_> =
            choices.into_iter().filter(|choice| !format!("{choice}").starts_with("rate")).collect();
        assert_eq!(setup.run(Tape::list(&choices)).digest, report.digest, "seed {seed}");
    }
}

/// Bytes of a fuzzer drive the same world.
#[test]
fn any_bytes_are_a_run() {
    for start in 0..40_u8 {
        let bytes: Vec<u8> =
            (0..400_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 ^ start).collect();
        let setup = chaos(Topology::Direct, Transport::Udp, &mut Tape::bytes(bytes.clone()));
        let report = setup.run(Tape::bytes(bytes));
        hold(&setup, &report, &format!("bytes-{start}"));
    }
}

/// I28: with every duration k times as long, everything happens k times as late, and nothing else changes.
#[test]
fn time_scales() {
    let times = |k: u32| {
        let timers = Timers {
            t1: Timers::DEFAULT.t1 * k,
            t2: Timers::DEFAULT.t2 * k,
            t4: Timers::DEFAULT.t4 * k,
            d: Some(Duration::from_secs(32) * k),
            trying: Timers::DEFAULT.trying.map(|trying| trying * k),
            ringing: Timers::DEFAULT.ringing.map(|ringing| ringing * k),
            unanswered_invite: Timers::DEFAULT.unanswered_invite.map(|wait| wait * k),
            ..Timers::DEFAULT
        };
        // Nobody answers: all that happens is the machines' own doing.
        let faults = Faults { loss: 10_000, chaos: Duration::from_secs(200) * k, ..Faults::NONE };
        let setup = Setup { timers, faults, script: None, calls: 5, keep_trace: true, ..Setup::default() };
        let report = setup.run(Tape::seed(3));
        hold(&setup, &report, "scaled");
        let packets = report.trace.packets();
        packets.iter().map(|packet| (packet.at.as_micros() / u64::from(k), packet.length)).collect::<Vec<_>>()
    };
    let once = times(1);
    assert!(once.len() > 30);
    assert_eq!(once, times(4));
}

/// I30: with half of all datagrams lost, a request that is sent 11 times fails with q¹¹, q = 1 − (1/2)²: 4.2 percent.
#[test]
fn as_many_requests_fail_as_must() {
    const CALLS: u32 = 20_000;
    let faults = Faults { loss: 5_000, chaos: Duration::from_secs(10_000), ..Faults::NONE };
    let setup = Setup {
        faults,
        calls: CALLS,
        script: Some(Script::Options),
        spread: Duration::from_secs(200),
        ..Setup::default()
    };
    let report = setup.run(Tape::seed(11));
    hold(&setup, &report, "statistics");
    let failed = (report.calls - report.completed) as f64;
    let expected = f64::from(CALLS) * 0.75_f64.powi(11);
    let sigma = (expected * (1.0 - 0.75_f64.powi(11))).sqrt();
    assert!((failed - expected).abs() < 4.0 * sigma, "{failed} failed, expected {expected} ± {sigma}");
}

/// I25: however a stream is cut, its messages mean the same, at the same instants.
#[test]
fn segments_change_nothing() {
    for script in [Script::Call, Script::Register, Script::Cancelled] {
        let notes = |tape: Tape, cut: u32| {
            let faults = Faults { cut, ..Faults::NONE };
            let setup = Setup {
                faults,
                transport: Transport::Tcp,
                script: Some(script),
                keep_trace: true,
                ..Setup::default()
            };
            let report = setup.run(tape);
            hold(&setup, &report, "segments");
            let told = report.trace.entries().iter().filter_map(|entry| match entry.what {
                sip_core::sim::What::Note(note) => Some(format!("{} {note:?}", entry.node)),
                _ => None,
            });
            let mut told: Vec<_> = told.collect();
            told.sort();
            told
        };
        let whole = notes(Tape::list(&[]), 0);
        assert!(whole.len() > 5);
        for seed in 0..20 {
            assert_eq!(notes(Tape::seed(seed), 10_000), whole, "{script:?} {seed}");
        }
    }
}

/// A log of a machine's inputs, commands included, replays it byte for byte.
#[test]
fn a_log_replays_a_machine() {
    for seed in 0..20 {
        let mut tape = Tape::seed(seed);
        // A crash would begin a second machine.
        let faults = Faults { episodes: 0, clocks: 0, ..Faults::swarm(&mut tape) };
        for transport in [Transport::Udp, Transport::Tcp] {
            let setup = Setup {
                faults,
                transport,
                script: None,
                calls: 2,
                logs: true,
                keep_trace: true,
                ..Setup::default()
            };
            let report = setup.run(tape.clone());
            hold(&setup, &report, "log");
            for (node, log) in report.logs.iter().enumerate() {
                let id = seed_of(log).expect("a log begins with its seed");
                let mut machine = Endpoint::new(Config { limits: Limits::DEFAULT, ..Config::new(id) });
                let mut sent = Vec::new();
                replay(log, &mut machine, |at, what| {
                    if let Some(at_quotes) = what.find('"').filter(|_| what.starts_with("sent ")) {
                        sent.push((at.as_micros(), what[at_quotes..].to_owned()));
                    }
                })
                .unwrap();
                let known = report.trace.packets().iter().filter(|packet| packet.node == node);
                let known: Vec<_> =
                    known.map(|packet| (packet.at.as_micros(), quote(&packet.bytes))).collect();
                assert_eq!(sent, known, "seed {seed}, node {node}");
            }
        }
    }
}

/// A machine that mints the Call-IDs itself is watched like any other.
#[test]
fn a_request_without_a_call_id_is_watched_too() {
    use sip_core::message::{Content, Method, Status};
    use sip_core::sim::{Actor, Hand, Host, Node, World, monitors};
    use sip_core::{Event, Instant, NewRequest};

    #[derive(Default)]
    struct Pinger(bool);
    impl Actor for Pinger {
        fn event(&mut self, _: Instant, hand: &mut Hand<'_>, event: Event<'_>) {
            if let Event::Request { txn, .. } = event {
                hand.respond(txn, Status::OK, &Content::NONE);
            }
        }
        fn deadline(&self) -> Option<Instant> {
            (!self.0).then_some(Instant::ZERO)
        }
        fn advance(&mut self, _: Instant, hand: &mut Hand<'_>) {
            self.0 = true;
            let ping = NewRequest::new(Method::Options, "sip:10.0.0.2", "<sip:a@x>;tag=a", "<sip:b@x>", 1);
            hand.request(&ping).unwrap();
        }
    }

    let mut world = World::new(Tape::seed(1), Faults { loss: 3_000, ..Faults::NONE });
    for (number, active) in [(1, false), (2, true)] {
        let addr = format!("10.0.0.{number}:5060").parse().unwrap();
        world.add(addr, move |_| -> Box<dyn Node> {
            let endpoint = Endpoint::new(Config::new([number; 32]));
            Box::new(Host::new(endpoint, addr, Pinger(active)))
        });
    }
    for monitor in monitors(&Timers::DEFAULT, Limits::DEFAULT.transactions) {
        world.watch(monitor);
    }
    world.run();
    assert_eq!(world.violations(), []);
    assert!(world.trace().packets().len() >= 2);
}

/// The enumerator goes through each list once.
#[test]
fn all_faults_are_all() {
    let mut lists = Vec::new();
    let runs = all_faults(2, |mut tape| {
        for _ in 0..3 {
            tape.choose(Site::link(Kind::Fate, 0, 1), &[1, 1, 0, 1]);
        }
        lists.push(tape.choices().to_vec());
        (tape.questions().to_vec() as Vec<Question>, true)
    });
    // One without, three places with two faults each, and three pairs of places with four pairs of faults each.
    assert_eq!((runs, lists.len()), (1 + 6 + 12, 19));
    lists.sort();
    lists.dedup();
    assert_eq!(lists.len(), 19);
}

/// What arrives long after it was sent is drawn so.
#[test]
fn a_ladder_says_what_is_late() {
    let late = read_choices("fate 0>1 #0 = hold; later 0>1 #0 = 20s").unwrap();
    let setup = Setup { keep_trace: true, ..Setup::default() };
    let text = ladder(&setup.run(Tape::list(&late)).trace, &["a", "b"]);
    let lines: Vec<_> = text.lines().filter(|line| line.contains("arrives")).collect();
    assert_eq!(lines, ["    0.000000  |------- INVITE ------->| arrives 20.001000"]);
}

/// A failing run shrinks to the choices that matter, and what is told of it is readable.
#[test]
fn a_failing_run_shrinks() {
    let setup = Setup {
        faults: Faults { loss: 3_000, duplicate: 2_000, ..Faults::NONE },
        calls: 2,
        ..Setup::default()
    };
    // What is looked for: an INVITE that was sent four times.
    let fails = |tape: Tape| {
        let report = Setup { keep_trace: true, ..setup.clone() }.run(tape);
        let invites = |packet: &&sip_core::sim::Packet| packet.bytes.starts_with(b"INVITE");
        report.trace.packets().iter().filter(invites).count() >= 5
    };
    let seed = (0..1_000).find(|seed| fails(Tape::seed(*seed))).unwrap();
    let choices = shrink(&setup.run(Tape::seed(seed)).choices, 2_000, fails);
    assert!(choices.len() <= 3, "{}", write_choices(&choices));
    assert!(fails(Tape::list(&choices)));
    for at in 0..choices.len() {
        let mut shorter = choices.clone();
        shorter.remove(at);
        assert!(!fails(Tape::list(&shorter)), "{} can be left out", choices[at]);
    }
    let shown =
        Violation { monitor: "I6", what: "late".into(), at: sip_core::Instant::from_millis(1_500), node: 1 };
    assert_eq!(shown.to_string(), "I6 at node 1 at 1.500000: late");
}

/// A ladder, a diagram and a picture of a run, as they were when somebody last looked at them (`UPDATE_GOLDEN=1` writes them).
#[test]
#[expect(clippy::disallowed_methods, reason = "a test may look at its environment")]
fn drawings_are_as_they_were() {
    let choices = read_choices("fate 0>1 #0 = drop; fate 1>0 #1 = copy; later 1>0 #0 = 600ms").unwrap();
    let setup = Setup { script: Some(Script::Busy), keep_trace: true, ..Setup::default() };
    let report = setup.run(Tape::list(&choices));
    hold(&setup, &report, "drawing");
    let names = ["alice", "bob"];
    for (file, text) in [
        ("ladder.txt", ladder(&report.trace, &names)),
        ("ladder.mmd", sip_core::sim::mermaid(&report.trace, &names)),
        ("ladder.svg", sip_core::sim::svg(&report.trace, &names)),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden").join(file);
        if std::env::var("UPDATE_GOLDEN").is_ok() {
            std::fs::write(&path, &text).unwrap();
        }
        let known = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, known, "{file}; UPDATE_GOLDEN=1 writes what it is now");
    }
}

/// Packets can be read back: by etherparse here, by tshark and sngrep from the file.
#[test]
fn packets_are_packets() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let setup = Setup { transport, keep_trace: true, ..Setup::default() };
        let report = setup.run(Tape::list(&[]));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("packets-{transport}.pcap"));
        pcap::write(&path, &report.trace).unwrap();
        let mut reader = pcap_file::pcap::PcapReader::new(std::fs::File::open(&path).unwrap()).unwrap();
        let mut first_lines = Vec::new();
        while let Some(packet) = reader.next_packet() {
            let packet = packet.unwrap();
            let sliced = etherparse::SlicedPacket::from_ip(&packet.data).unwrap();
            let payload = match sliced.transport {
                Some(etherparse::TransportSlice::Udp(udp)) => udp.payload().to_vec(),
                Some(etherparse::TransportSlice::Tcp(tcp)) => tcp.payload().to_vec(),
                _ => panic!("neither UDP nor TCP"),
            };
            let text = String::from_utf8(payload).unwrap();
            first_lines.push(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "));
        }
        assert_eq!(first_lines.len(), 6);
        assert!(first_lines[0].starts_with("INVITE") && first_lines[5] == "SIP/2.0 200", "{first_lines:?}");
    }
}
