//! A whole call between two user agents over real loopback sockets, with the ladder as it happens:
//! `cargo run --release -p sip-tokio-adapter --example call`

use core::net::SocketAddr;
use core::time::Duration;
use sip_core::agent::{Uac, UacOptions, Uas, UasOptions};
use sip_core::framing::StreamBuf;
use sip_core::ua::{self, UserAgent};
use sip_core::{
    Config, FlowId, Instant, Local, Machine, Misuse, Output, ResolveId, SendError, Source, Stats, Target,
    Ticket,
};
use sip_tokio_adapter::{Driver, seed};
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if let Some(argument) = std::env::args().nth(1) {
        println!(
            "call: a whole call between two user agents over loopback, with its ladder; it takes no arguments"
        );
        return if matches!(&*argument, "--help" | "-h") { ExitCode::SUCCESS } else { ExitCode::from(2) };
    }
    match call().await {
        Ok(()) => {
            println!("call ok");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn call() -> Result<(), Box<dyn core::error::Error>> {
    let anywhere: Target = "udp:127.0.0.1:0".parse()?;

    // Bob rings for half a second and answers.
    let ring = Duration::from_millis(500);
    let bob = Shown::new("bob", "alice ◄── {} ── bob");
    let mut bob = Driver::new(bob, Rings(Uas::new(UasOptions { ring, ..UasOptions::default() })));
    let at = bob.bind(anywhere).await?;

    // Alice calls him, talks for 300 ms and hangs up.
    let options =
        UacOptions { hold: Duration::from_millis(300), ..UacOptions::new(&format!("sip:bob@{}", at.addr)) };
    let mut alice = Driver::new(Shown::new("alice", "alice ── {} ──► bob"), Calls(Uac::new(options)));
    alice.bind(anywhere).await?;

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let bob = tokio::spawn(bob.run_until(async {
        let _ = stopped.await;
    }));
    let (alice, Calls(caller)) = tokio::time::timeout(Duration::from_secs(40), alice.run()).await?;
    let _ = stop.send(());
    let (bob, Rings(callee)) = bob.await?;
    println!("alice: {}\nbob:   {}", caller.report(&alice.0), callee.report(&bob.0));
    if caller.has_failed() { Err("the call failed".into()) } else { Ok(()) }
}

/// A user agent that shows what it sends.
struct Shown(UserAgent, &'static str);

impl Shown {
    fn new(user: &str, arrow: &'static str) -> Self {
        Self(UserAgent::new(ua::Config::new(Config::new(seed()), user)), arrow)
    }
}

/// A machine around a machine: every verb is passed on, and `poll` is looked at.
impl Machine for Shown {
    type Event<'b> = ua::Event<'b>;
    type Command<'a> = ua::Command<'a>;
    type Made = ua::Made;

    fn poll(&mut self) -> Option<Output<'_, ua::Event<'static>>> {
        let output = self.0.poll();
        if let Some(Output::Transmit(transmit)) = &output {
            let line = String::from_utf8_lossy(transmit.bytes);
            let line = line.lines().next().unwrap_or_default();
            println!("{}", self.1.replace("{}", &format!("{:^38}", line.replace(" SIP/2.0", ""))));
        }
        output
    }

    fn datagram<'b>(&mut self, now: Instant, from: Source, data: &'b [u8]) -> Option<ua::Event<'b>> {
        self.0.datagram(now, from, data)
    }
    fn stream<'b>(&mut self, now: Instant, flow: FlowId, buf: &'b mut StreamBuf) -> Option<ua::Event<'b>> {
        self.0.stream(now, flow, buf)
    }
    fn advance(&mut self, now: Instant) {
        self.0.advance(now);
    }
    fn poll_event(&mut self) -> Option<ua::Event<'static>> {
        self.0.poll_event()
    }
    fn deadline(&self) -> Option<Instant> {
        self.0.deadline()
    }
    fn listen(&mut self, now: Instant, local: Local) {
        self.0.listen(now, local);
    }
    fn flow_accepted(&mut self, now: Instant, target: Target, local: SocketAddr) -> Result<FlowId, Misuse> {
        self.0.flow_accepted(now, target, local)
    }
    fn flow_opened(&mut self, now: Instant, flow: FlowId, local: SocketAddr) -> bool {
        self.0.flow_opened(now, flow, local)
    }
    fn flow_closed(&mut self, now: Instant, flow: FlowId) {
        self.0.flow_closed(now, flow);
    }
    fn send_failed(&mut self, now: Instant, ticket: Ticket, error: SendError) {
        self.0.send_failed(now, ticket, error);
    }
    fn resolved(&mut self, now: Instant, id: ResolveId, addrs: &[SocketAddr]) {
        self.0.resolved(now, id, addrs);
    }
    fn command(&mut self, now: Instant, command: ua::Command<'_>) -> Result<ua::Made, Misuse> {
        self.0.command(now, command)
    }
    fn drain(&mut self, now: Instant) {
        self.0.drain(now);
    }
    fn is_idle(&self) -> bool {
        self.0.is_idle()
    }
    fn stats(&self) -> Stats {
        self.0.stats()
    }
    fn into_owned(event: ua::Event<'_>) -> ua::Event<'static> {
        UserAgent::into_owned(event)
    }
    fn refuse<'b>(&mut self, now: Instant, event: Self::Event<'b>) -> Option<Self::Event<'b>> {
        self.0.refuse(now, event)
    }
}

/// The agents use the user agent inside.
struct Rings(Uas);
struct Calls(Uac);

macro_rules! inside {
    ($($name:ident)*) => {$(
        impl sip_core::TransactionUser<Shown> for $name {
            fn event(&mut self, now: Instant, machine: &mut Shown, event: ua::Event<'_>) {
                self.0.event(now, &mut machine.0, event);
            }
            fn deadline(&self) -> Option<Instant> {
                sip_core::TransactionUser::<UserAgent>::deadline(&self.0)
            }
            fn advance(&mut self, now: Instant, machine: &mut Shown) {
                self.0.advance(now, &mut machine.0);
            }
            fn is_done(&self) -> bool {
                sip_core::TransactionUser::<UserAgent>::is_done(&self.0)
            }
        }
    )*};
}

inside!(Rings Calls);
