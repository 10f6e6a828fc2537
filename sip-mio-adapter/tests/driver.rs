//! The driver on real loopback sockets, in a loop of its own and inside another's, with generous bounds.

use core::sync::atomic::AtomicBool;
use core::time::Duration;
use mio::{Events, Interest, Poll, Token};
use sip_core::agent::{Uac, UacOptions, Uas, UasOptions};
use sip_core::message::Status;
use sip_core::ua::{Config, UserAgent};
use sip_core::{Machine, Target, TransactionUser};
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
