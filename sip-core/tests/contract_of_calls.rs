//! The contract again, held against a [`UserAgent`] in generated calls: invites, forks, answers, races and forgetful users.

mod support;

use core::time::Duration;
use proptest::prelude::*;
use sip_core::message::{Content, Method, Status};
use sip_core::ua::{Command, Config, NewInvite, NewRequest, UserAgent};
use sip_core::{DialogId, Instant, Invitation, Local, Machine, Output, Source, Transport};
use support::{PEER, US, header, response};

#[derive(Clone, Debug)]
enum Op {
    Invite { offer: bool },
    Reply { which: u8, status: u8, tag: u8 },
    Incoming { kind: u8, call: u8, tag: u8, cseq: u8 },
    Command { kind: u8, slot: u8, generation: u8 },
    Advance { millis: u32 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => any::<bool>().prop_map(|offer| Op::Invite { offer }),
        5 => (any::<u8>(), any::<u8>(), 0..3_u8).prop_map(|(which, status, tag)| Op::Reply { which, status, tag }),
        5 => (any::<u8>(), 0..3_u8, any::<u8>(), 0..4_u8).prop_map(|(kind, call, tag, cseq)| Op::Incoming { kind, call, tag, cseq }),
        6 => (any::<u8>(), 0..4_u8, 0..2_u8).prop_map(|(kind, slot, generation)| Op::Command { kind, slot, generation }),
        4 => prop_oneof![1..700_u32, 500..40_000_u32].prop_map(|millis| Op::Advance { millis }),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..50)
}

#[derive(Clone, Debug)]
enum Step {
    Datagram(Vec<u8>),
    Advance,
    Command { kind: u8, handle: u64 },
}

const OFFER: Content<'static> = Content::body("application/sdp", b"v=0\r\n");

fn agent() -> UserAgent {
    let mut agent = UserAgent::new(Config::new(sip_core::Config::new([5; 32]), "us"));
    let addr = US.parse().unwrap();
    agent.listen(Instant::ZERO, Local { transport: Transport::Udp, addr, advertised: None });
    agent
}

struct Driven {
    agent: UserAgent,
    returned: Vec<String>,
    outputs: Vec<String>,
    /// Requests and responses that went out, and the tags of this side in them.
    sent: Vec<String>,
}

impl Driven {
    fn new() -> Self {
        Self { agent: agent(), returned: Vec::new(), outputs: Vec::new(), sent: Vec::new() }
    }

    fn take(&mut self, now: Instant, step: &Step) {
        let event = match step {
            Step::Datagram(data) => {
                let from = Source::Datagram { local: US.parse().unwrap(), remote: PEER.parse().unwrap() };
                self.agent.datagram(now, from, data).map(|event| format!("{event:?}"))
            }
            Step::Advance => {
                self.agent.advance(now);
                None
            }
            Step::Command { kind, handle } => {
                let dialog = DialogId::from_bits(*handle);
                let uri = format!("sip:peer@{PEER}");
                let command = match kind % 12 {
                    0 => Command::Invite(NewInvite { content: OFFER, ..NewInvite::new(&uri) }),
                    1 => Command::Invite(NewInvite::new(&uri)),
                    2 => Command::Cancel(Invitation::from_bits(*handle)),
                    3 => Command::Ring(dialog, Status::RINGING, Content::NONE),
                    4 | 5 => Command::Accept(dialog, OFFER),
                    6 => Command::Reject(dialog, Status::BUSY_HERE, Content::NONE),
                    7 | 8 => Command::Bye(dialog, Content::NONE),
                    9 => Command::Ack(dialog, OFFER),
                    10 => Command::RequestIn(dialog, Method::Info, 1, Content::NONE),
                    _ => Command::Request(NewRequest::new(Method::Options, &uri)),
                };
                Some(format!("{:?}", self.agent.command(now, command)))
            }
        };
        self.returned.extend(event);
    }

    fn drain(&mut self, most: usize) -> usize {
        for drained in 0..most {
            let Some(output) = self.agent.poll() else { return drained };
            self.outputs.push(match &output {
                Output::Transmit(transmit) => {
                    let text = String::from_utf8_lossy(transmit.bytes).into_owned();
                    self.sent.push(text.clone());
                    format!("{:?} {text}", transmit.to)
                }
                other => format!("{other:?}"),
            });
        }
        most
    }
}

fn record(ops: &[Op]) -> (Vec<(Instant, Step)>, Driven) {
    let (mut driven, mut log, mut now) = (Driven::new(), Vec::new(), Instant::ZERO);
    for op in ops {
        let step = match op {
            Op::Invite { offer } => Some(Step::Command { kind: u8::from(!offer), handle: 0 }),
            Op::Command { kind, slot, generation } => {
                Some(Step::Command { kind: *kind, handle: u64::from(*generation) << 32 | u64::from(*slot) })
            }
            Op::Advance { millis } => {
                now += Duration::from_millis(u64::from(*millis));
                Some(Step::Advance)
            }
            Op::Reply { which, status, tag } => {
                let requests: Vec<_> =
                    driven.sent.iter().filter(|text| !text.starts_with("SIP/2.0")).collect();
                let status = [
                    "100 Trying",
                    "180 Ringing",
                    "200 OK",
                    "200 OK",
                    "486 Busy Here",
                    "481 Gone",
                    "199 Early",
                ][*status as usize % 7];
                let contact = format!("Contact: <sip:peer@{PEER}>\r\n");
                requests.get(*which as usize % requests.len().max(1)).map(|request| {
                    Step::Datagram(response(request, status, &format!("t{tag}"), &contact).into_bytes())
                })
            }
            Op::Incoming { kind, call, tag, cseq } => {
                let method =
                    ["INVITE", "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "PRACK"][*kind as usize % 7];
                let call_id = format!("in{call}");
                // Inside the dialog, if this side has given it a tag; the INVITE mostly not.
                let known =
                    driven.sent.iter().rev().find(|text| {
                        text.starts_with("SIP/2.0") && header(text, "Call-ID") == Some(&call_id)
                    });
                let to =
                    known.and_then(|text| header(text, "To")).filter(|_| method != "INVITE" || tag % 4 == 0);
                let to = to.unwrap_or("<sip:us@x>");
                let branch = if method == "CANCEL" {
                    format!("INVITE{call}1")
                } else {
                    format!("{method}{call}{cseq}")
                };
                let cseq = if matches!(method, "CANCEL" | "ACK") { 1 } else { *cseq };
                Some(Step::Datagram(
                    format!(
                        "{method} sip:us@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{branch}\r\n\
                         From: <sip:p@x>;tag=p\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
                         Contact: <sip:p@{PEER}>\r\nContent-Length: 0\r\n\r\n"
                    )
                    .into_bytes(),
                ))
            }
        };
        let Some(step) = step else { continue };
        driven.take(now, &step);
        driven.drain(usize::MAX);
        log.push((now, step));
    }
    (log, driven)
}

fn replay(log: &[(Instant, Step)], mut after: impl FnMut(&mut Driven, Instant)) -> Driven {
    let mut driven = Driven::new();
    for (now, step) in log {
        driven.take(*now, step);
        after(&mut driven, *now);
    }
    driven.drain(usize::MAX);
    driven
}

fn same(left: &Driven, right: &Driven) -> Result<(), TestCaseError> {
    prop_assert_eq!(&left.returned, &right.returned);
    prop_assert_eq!(&left.outputs, &right.outputs);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Points 1, 2, 5 and 6: the same again, however it is drained and woken.
    #[test]
    fn the_same_inputs_give_the_same_outputs(ops in ops(), seed in any::<u64>()) {
        let (log, first) = record(&ops);
        same(&first, &replay(&log, |driven, _| { driven.drain(usize::MAX); }))?;
        same(&first, &replay(&log, |_, _| {}))?;
        let mut random = seed;
        same(&first, &replay(&log, |driven, now| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            driven.agent.advance(now);
            driven.agent.advance(Instant::ZERO);
            driven.drain((random >> 60) as usize % 3);
        }))?;
    }

    /// Points 3 and 4: the deadline is honest.
    #[test]
    fn the_deadline_is_honest(ops in ops()) {
        let (log, _) = record(&ops);
        let mut wrong = None;
        replay(&log, |driven, now| loop {
            let deadline = driven.agent.deadline();
            if driven.drain(1) == 0 {
                // What was due and had nothing to say is done.
                wrong = wrong.or(driven.agent.deadline().filter(|deadline| *deadline <= now));
                return;
            }
            if deadline.is_none_or(|deadline| deadline > now) {
                wrong = Some(now);
            }
        });
        prop_assert_eq!(wrong, None);
    }

    /// Point 10, and each handle's one terminal event: whatever happened, and though the user forgets everything, all ends.
    #[test]
    fn everything_ends(ops in ops()) {
        let (log, mut driven) = record(&ops);
        let mut now = log.last().map_or(Instant::ZERO, |(now, _)| *now);
        for round in 0.. {
            let Some(deadline) = driven.agent.deadline() else { break };
            prop_assert!(round < 10_000, "it never ends");
            now = now.max(deadline);
            driven.agent.advance(now);
            driven.drain(usize::MAX);
        }
        let stats = driven.agent.stats();
        prop_assert_eq!(stats.client_transactions + stats.server_transactions, 0);
        // Calls that are up stay up until somebody hangs up.
        for dialog in driven.agent.dialogs().collect::<Vec<_>>() {
            let _ = driven.agent.bye(now, dialog, &Content::NONE);
        }
        while let Some(deadline) = driven.agent.deadline() {
            now = now.max(deadline);
            driven.agent.advance(now);
            driven.drain(usize::MAX);
        }
        prop_assert!(driven.agent.is_idle(), "{:?}", driven.agent.stats());
        prop_assert_eq!(driven.agent.stats().retained_bytes, 0);

        let count = |what: &str| driven.outputs.iter().filter(|output| output.contains(what)).count();
        for kind in ["Event(Ended { dialog: ", "Event(InvitationEnded { invitation: "] {
            for handle in driven.outputs.iter().filter_map(|output| output.strip_prefix(kind)) {
                let handle = handle.split_once(", ").map_or(handle, |(handle, _)| handle);
                prop_assert_eq!(count(&format!("{kind}{handle},")), 1, "{}", handle);
            }
        }
        // Every call that came in was told to have ended.
        for call in driven.returned.iter().filter_map(|event| event.strip_prefix("Incoming { dialog: ")) {
            let handle = call.split_once(", ").map_or(call, |(handle, _)| handle);
            prop_assert_eq!(count(&format!("Event(Ended {{ dialog: {handle},")), 1, "{}", handle);
        }
    }
}

/// What is left of a call that is over (here its BYE, which is never answered) must not touch the call that lives in its place.
#[test]
fn the_end_of_a_call_leaves_the_next_one_alone() {
    let ops = [
        Op::Incoming { kind: 63, call: 0, tag: 0, cseq: 0 },
        Op::Command { kind: 172, slot: 0, generation: 0 },
        Op::Advance { millis: 32_000 },
        Op::Incoming { kind: 42, call: 0, tag: 1, cseq: 0 },
        Op::Command { kind: 208, slot: 0, generation: 1 },
    ];
    let (log, mut driven) = record(&ops);
    let mut now = log.last().map_or(Instant::ZERO, |(now, _)| *now);
    while let Some(deadline) = driven.agent.deadline() {
        now = now.max(deadline);
        driven.agent.advance(now);
        driven.drain(usize::MAX);
    }
    assert!(driven.agent.is_idle(), "{:?}", driven.agent.stats());
}
