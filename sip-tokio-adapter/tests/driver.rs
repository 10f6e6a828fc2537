//! The driver on real loopback sockets, with generous bounds.

use core::time::Duration;
use sip_core::agent::{Uac, UacOptions, Uas, UasOptions};
use sip_core::message::{Content, Status};
use sip_core::ua::{Config, Event, NewInvite, UserAgent};
use sip_core::{Machine, Target};
use sip_tokio_adapter::{Closed, Driver, seed};

const PATIENCE: Duration = Duration::from_secs(20);

fn agent(user: &str) -> UserAgent {
    UserAgent::new(Config::new(sip_core::Config::new(seed()), user))
}

fn anywhere(transport: &str) -> Target {
    format!("{transport}:127.0.0.1:0").parse().unwrap()
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}

/// A callee of these options that runs until the test is over; where it listens.
async fn callee(transport: &str, options: UasOptions) -> Target {
    let mut driver = Driver::new(agent("bob"), Uas::new(options));
    let at = driver.bind(anywhere(transport)).await.unwrap();
    tokio::spawn(driver.run());
    at
}

async fn caller(to: Target, calls: u64, expect: Status) -> (UserAgent, Uac) {
    let uri = format!("sip:bob@{};transport={}", to.addr, to.transport);
    let options = UacOptions { calls, rate: 1_000, expect, ..UacOptions::new(&uri) };
    let mut driver = Driver::new(agent("alice"), Uac::new(options));
    driver.bind(anywhere(&to.transport.to_string())).await.unwrap();
    in_time(driver.run()).await
}

#[tokio::test]
async fn calls_over_udp_and_tcp() {
    for transport in ["udp", "tcp"] {
        let to = callee(transport, UasOptions::default()).await;
        let (machine, caller) = caller(to, 100, Status::OK).await;
        assert_eq!(caller.completed(), 100, "{transport}: {}", caller.report(&machine));
    }
}

#[tokio::test]
async fn a_connection_that_is_refused_fails_the_call() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let to = Target { addr, ..anywhere("tcp") };
    let (_, caller) = caller(to, 1, Status::SERVICE_UNAVAILABLE).await;
    assert_eq!(caller.completed(), 1);
}

/// Tasks reach the user as well as the machine.
#[tokio::test]
async fn a_user_takes_commands() {
    let (mut driver, handle) = Driver::with_handle(agent("bob"), Uas::new(UasOptions::default()));
    let to = driver.bind(anywhere("udp")).await.unwrap();
    tokio::spawn(async move { drop(driver.run().await) });
    let (machine, caller) = caller(to, 3, Status::OK).await;
    assert_eq!(caller.completed(), 3, "{}", caller.report(&machine));
    let report = in_time(handle.call_user(|machine, uas, _| uas.report(machine))).await.unwrap();
    assert!(report.starts_with("calls=3 "), "{report}");
    assert!(!in_time(handle.clone().call(|machine, _| machine.is_idle())).await.unwrap());
}

#[tokio::test]
async fn a_full_mailbox_refuses_new_calls_and_keeps_what_ends_them() {
    let (mut driver, handle, mut events) = Driver::with_mailbox(agent("bob"), 1);
    let to = driver.bind(anywhere("udp")).await.unwrap();
    tokio::spawn(driver.run());

    // One call waits unread; those behind it have no room.
    let mut first = Driver::new(agent("one"), Uac::new(UacOptions::new(&format!("sip:bob@{}", to.addr))));
    first.bind(anywhere("udp")).await.unwrap();
    let first = tokio::spawn(first.run());
    while in_time(handle.call(|bob, _| bob.dialogs().count())).await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    let (_, refused) = caller(to, 3, Status::SERVICE_UNAVAILABLE).await;
    assert_eq!(refused.completed(), 3);

    let Some(Event::Incoming { dialog, .. }) = in_time(events.recv()).await else { panic!("no call") };
    let sdp = Content::body("application/sdp", b"v=0\r\n");
    in_time(handle.call(move |bob, now| bob.accept(now, dialog, &sdp))).await.unwrap().unwrap();
    let mut up = false;
    while let Some(event) = in_time(events.recv()).await {
        match event {
            Event::Established { .. } => up = true,
            Event::Ended { .. } => break,
            _ => {}
        }
    }
    assert!(up);
    assert!(!in_time(first).await.unwrap().1.has_failed());
}

#[tokio::test]
async fn dropping_all_handles_ends_the_driver_when_all_is_over() {
    let (driver, handle, events) = Driver::with_mailbox(agent("idle"), 8);
    let running = tokio::spawn(driver.run());
    let kept = handle.clone();
    drop((handle, events));
    assert_eq!(in_time(kept.call(|machine, _| machine.is_idle())).await, Ok(true));
    drop(kept);
    in_time(running).await.unwrap();
}

#[tokio::test]
async fn a_driver_that_is_gone_is_told() {
    let (driver, handle, mut events) = Driver::with_mailbox(agent("gone"), 8);
    drop(driver);
    assert_eq!(in_time(handle.call(|_, _| ())).await, Err(Closed));
    assert!(in_time(events.recv()).await.is_none());
}

/// A command whose future is dropped is carried out or not, and nothing else breaks.
#[tokio::test]
async fn calls_are_cancel_safe() {
    let (mut driver, handle, events) = Driver::with_mailbox(agent("alice"), 8);
    driver.bind(anywhere("udp")).await.unwrap();
    tokio::spawn(driver.run());
    for _ in 0..50 {
        let place = handle.call(|ua, now| ua.invite(now, &NewInvite::new("sip:bob@127.0.0.1:9")).is_ok());
        let _ = tokio::time::timeout(Duration::ZERO, place).await;
    }
    assert_eq!(in_time(handle.call(|ua, _| ua.stats().client_transactions <= 50)).await, Ok(true));
    drop(events);
}

#[tokio::test]
async fn names_are_resolved() {
    let to = callee("udp", UasOptions::default()).await;
    let uri = format!("sip:bob@localhost:{}", to.addr.port());
    let mut driver = Driver::new(agent("alice"), Uac::new(UacOptions::new(&uri)));
    driver.bind(anywhere("udp")).await.unwrap();
    // Which address a name has first is the system's business; that the call ends is ours.
    let (_, caller) = tokio::time::timeout(Duration::from_secs(45), driver.run()).await.expect("in time");
    assert_eq!(caller.done(), 1);
}

#[tokio::test]
async fn what_is_not_built_is_refused() {
    let mut driver = Driver::new(agent("alice"), Uas::new(UasOptions::default()));
    let error = driver.bind("tls:127.0.0.1:0".parse().unwrap()).await.unwrap_err();
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

#[tokio::test]
async fn a_connection_is_not_held_for_who_takes_nothing() {
    let to = callee("tcp", UasOptions::default()).await;
    tokio::task::spawn_blocking(move || greedy(to.addr)).await.unwrap();
}
