//! The driver on real loopback sockets, in a loop of its own and inside another's, with generous bounds.

use core::sync::atomic::AtomicBool;
use core::time::Duration;
use mio::{Events, Interest, Poll, Token};
use sip_core::agent::{Uac, UacOptions, Uas, UasOptions};
use sip_core::message::Status;
use sip_core::ua::{Config, Event, UserAgent};
use sip_core::{Instant, Machine, Target, TransactionUser};
use sip_mio_adapter::{Driver, seed};
use std::sync::Arc;

fn agent(user: &str) -> UserAgent {
    UserAgent::new(Config::new(sip_core::Config::new(seed()), user))
}

fn anywhere(transport: &str) -> Target {
    format!("{transport}:127.0.0.1:0").parse().unwrap()
}

fn uac(to: Target, calls: u64, expect: Status) -> Uac {
    let uri = format!("sip:bob@{};transport={}", to.addr, to.transport);
    Uac::new(UacOptions { calls, rate: 1_000, expect, ..UacOptions::new(&uri) })
}

/// A callee in a thread of its own, until the flag that it returns is set.
fn callee(transport: &str, options: UasOptions) -> (Target, Arc<AtomicBool>) {
    let mut poll = Poll::new().unwrap();
    let registry = poll.registry().try_clone().unwrap();
    let mut driver = Driver::new(agent("bob"), Uas::new(options), registry, Token(0));
    let at = driver.bind(anywhere(transport)).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    std::thread::spawn(move || {
        // Whatever happens, no longer than any test.
        driver.run(&mut poll, &stopped).unwrap();
    });
    (at, stop)
}

fn run(agent_of: &str, user: Uac, transport: &str) -> (UserAgent, Uac) {
    let mut poll = Poll::new().unwrap();
    let registry = poll.registry().try_clone().unwrap();
    let mut driver = Driver::new(agent(agent_of), user, registry, Token(0));
    driver.bind(anywhere(transport)).unwrap();
    driver.run(&mut poll, &AtomicBool::new(false)).unwrap()
}

#[test]
fn calls_over_udp_and_tcp() {
    for transport in ["udp", "tcp"] {
        let (to, _) = callee(transport, UasOptions::default());
        let (machine, caller) = run("alice", uac(to, 100, Status::OK), transport);
        assert_eq!(caller.completed(), 100, "{transport}: {}", caller.report(&machine));
    }
}

#[test]
fn a_connection_that_is_refused_fails_the_call() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let to = Target { addr, ..anywhere("tcp") };
    let (_, caller) = run("alice", uac(to, 1, Status::SERVICE_UNAVAILABLE), "tcp");
    assert_eq!(caller.completed(), 1);
}

/// A user's own poll, with a socket of the user's beside the driver's.
#[test]
fn the_driver_lives_in_another_loop() {
    const MINE: Token = Token(7);
    let (to, _) = callee("tcp", UasOptions { ring: Duration::from_millis(50), ..UasOptions::default() });
    let mut poll = Poll::new().unwrap();
    let mut mine = mio::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    poll.registry().register(&mut mine, MINE, Interest::READABLE).unwrap();
    let registry = poll.registry().try_clone().unwrap();
    let mut driver = Driver::new(agent("alice"), uac(to, 5, Status::OK), registry, Token(1_000));
    driver.bind(anywhere("tcp")).unwrap();
    let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    other.send_to(b"not SIP", mine.local_addr().unwrap()).unwrap();

    let (mut heard, mut events) = (0, Events::with_capacity(64));
    while !driver.user().is_done() {
        driver.settle();
        let wait = driver.timeout().unwrap_or(Duration::from_secs(20)).min(Duration::from_secs(20));
        poll.poll(&mut events, Some(wait)).unwrap();
        for event in &events {
            let ours = driver.ready(event);
            assert_eq!(ours, event.token() != MINE);
            heard += usize::from(!ours);
        }
    }
    assert!(heard > 0);
    assert_eq!(driver.user().completed(), 5);
    assert!(driver.command(|machine, _, now| {
        machine.drain(now);
        machine.stats().dialogs == 0
    }));
}

#[test]
fn what_is_not_built_is_refused() {
    let poll = Poll::new().unwrap();
    let registry = poll.registry().try_clone().unwrap();
    let mut driver = Driver::new(agent("alice"), Uas::new(UasOptions::default()), registry, Token(0));
    let error = driver.bind("tls:127.0.0.1:0".parse().unwrap()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
}

/// A peer that asks a lot, takes nothing of the answers and breaks the framing; returns when its connection is gone.
#[expect(clippy::disallowed_methods, reason = "a peer in real time")]
fn greedy(to: core::net::SocketAddr) {
    use std::io::Write;
    let mut peer = std::net::TcpStream::connect(to).unwrap();
    let long = "x".repeat(8_000);
    for number in 0..1_500 {
        let text = format!(
            "OPTIONS sip:bob@{to} SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bK{number};x={long}\r\nFrom: <sip:a@x>;tag=1\r\n\
             To: <sip:bob@x>\r\nCall-ID: {number}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        );
        if peer.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
    for _ in 0..600 {
        if peer.write_all(b"this is no SIP\r\n\r\n").is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the connection is held for who takes nothing");
}

#[test]
fn a_connection_is_not_held_for_who_takes_nothing() {
    let (to, _) = callee("tcp", UasOptions::default());
    greedy(to.addr);
}

/// However much comes, each turn takes no more than two batches before timers have theirs.
#[test]
fn a_flood_leaves_timers_their_turn() {
    struct Count(usize);
    impl TransactionUser<UserAgent> for Count {
        fn event(&mut self, _: Instant, _: &mut UserAgent, _: Event<'_>) {
            self.0 += 1;
        }
    }
    let mut poll = Poll::new().unwrap();
    let registry = poll.registry().try_clone().unwrap();
    let mut driver = Driver::new(agent("bob"), Count(0), registry, Token(0));
    let at = driver.bind(anywhere("udp")).unwrap();
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let stray = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:a@h>;tag=2\r\n\
        Call-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    let (mut events, mut most) = (Events::with_capacity(64), 0);
    for _ in 0..50 {
        for _ in 0..200 {
            peer.send_to(stray, at.addr).unwrap();
        }
        let before = driver.user().0;
        driver.settle();
        poll.poll(&mut events, driver.timeout()).unwrap();
        for event in &events {
            driver.ready(event);
        }
        most = most.max(driver.user().0 - before);
    }
    assert!((64..=128).contains(&most), "{most} in a turn");
}
