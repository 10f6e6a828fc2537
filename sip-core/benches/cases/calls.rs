//! Whole calls in memory, between two user agents: INVITE, 180, 200, ACK, BYE, 200, every message parsed and written.

use core::time::Duration;
use sip_core::message::{Content, Status};
use sip_core::ua::{Config, Event, NewInvite, UserAgent};
use sip_core::{DialogId, Instant, Limits, Local, Machine, Output, Source, Transport};

const ADDRS: [&str; 2] = ["192.0.2.1:5060", "192.0.2.2:5060"];
const SDP: Content<'static> = Content::body(
    "application/sdp",
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n\
    a=rtpmap:0 PCMU/8000\r\n",
);
/// Between two calls.
const PACE: Duration = Duration::from_micros(10);

/// Two user agents, and the bytes on their way.
pub(crate) struct Calls {
    agents: [UserAgent; 2],
    sources: [Source; 2],
    now: Instant,
    /// The dialogs of the last call, the caller's and the callee's.
    up: [Option<DialogId>; 2],
    done: u64,
    wire: Vec<(usize, usize, usize)>,
    bytes: Vec<u8>,
}

impl Calls {
    pub(crate) fn new() -> Self {
        let agent = |seed: u8, at: usize| {
            let many = 4_000_000;
            let limits = Limits {
                transactions: many,
                unanswered: many,
                dialogs: many,
                retained: many << 11,
                ..Limits::DEFAULT
            };
            let core = sip_core::Config { limits, ..sip_core::Config::new([seed; 32]) };
            let mut agent = UserAgent::new(Config::new(core, "user"));
            let addr = ADDRS[at].parse().expect("an address");
            agent.listen(Instant::ZERO, Local { transport: Transport::Udp, addr, advertised: None });
            agent
        };
        let addr = |at: usize| ADDRS[at].parse().expect("an address");
        let source = |at: usize| Source::Datagram { local: addr(at), remote: addr(1 - at) };
        Self {
            agents: [agent(1, 0), agent(2, 1)],
            sources: [source(0), source(1)],
            now: Instant::ZERO,
            up: [None; 2],
            done: 0,
            wire: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Delivers what is to be sent until nothing is.
    fn deliver(&mut self) {
        loop {
            self.wire.clear();
            self.bytes.clear();
            for (from, agent) in self.agents.iter_mut().enumerate() {
                while let Some(output) = agent.poll() {
                    if let Output::Transmit(transmit) = output {
                        let start = self.bytes.len();
                        self.bytes.extend_from_slice(transmit.bytes);
                        self.wire.push((1 - from, start, self.bytes.len()));
                    }
                }
            }
            if self.wire.is_empty() {
                return;
            }
            for (to, start, end) in &self.wire {
                let agent = &mut self.agents[*to];
                match agent.datagram(self.now, self.sources[*to], &self.bytes[*start..*end]) {
                    Some(Event::Incoming { dialog, .. }) => {
                        self.up[1] = Some(dialog);
                        agent.ring(self.now, dialog, Status::RINGING, &Content::NONE).expect("it rings");
                        agent.accept(self.now, dialog, &SDP).expect("it is accepted");
                    }
                    Some(Event::Answered { dialog, .. }) => self.up[0] = Some(dialog),
                    _ => {}
                }
            }
        }
    }

    /// A call that is up.
    pub(crate) fn begin(&mut self) {
        self.now += PACE;
        for agent in &mut self.agents {
            agent.advance(self.now);
        }
        let invite = NewInvite { content: SDP, ..NewInvite::new("sip:user@192.0.2.2") };
        self.agents[0].invite(self.now, &invite).expect("a call");
        self.deliver();
    }

    /// The last one is hung up.
    pub(crate) fn end(&mut self) {
        let dialog = self.up[0].take().expect("it is up");
        self.agents[0].bye(self.now, dialog, &Content::NONE).expect("it is hung up");
        self.deliver();
    }

    /// A call from its INVITE to the end of its last transaction; every 64 of them time goes on.
    pub(crate) fn whole(&mut self) {
        self.begin();
        self.end();
        self.done += 1;
        if self.done % 64 == 0 {
            self.settle();
        }
    }

    /// A call from its INVITE to the end of its last transaction, with no other.
    pub(crate) fn alone(&mut self) {
        self.begin();
        self.end();
        self.settle();
    }

    /// Lets all transactions end; the dialogs stay.
    pub(crate) fn settle(&mut self) {
        self.now += Duration::from_secs(40);
        for agent in &mut self.agents {
            agent.advance(self.now);
        }
        self.deliver();
    }
}
