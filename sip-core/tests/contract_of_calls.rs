//! The contract again, held against a [`UserAgent`] in generated calls: invites, forks, answers, races and forgetful users.

mod support;

use core::time::Duration;
use proptest::prelude::*;
use sip_core::auth::Credentials;
use sip_core::message::{Content, Method, Status};
use sip_core::ua::{
    Command, Config, Ended, NewInvite, NewPublication, NewRefer, NewRegistration, NewRequest,
    NewSubscription, Notice, UserAgent,
};
use sip_core::{
    DialogId, Instant, Invitation, Machine, PublicationId, RegistrationId, RequestId, ServerTxn,
    SubscriptionId,
};
use support::driven::{Driven, Step};
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
        6 => (any::<u8>(), 0..6_u8, 0..2_u8).prop_map(|(kind, slot, generation)| Op::Command { kind, slot, generation }),
        4 => prop_oneof![1..700_u32, 500..40_000_u32].prop_map(|millis| Op::Advance { millis }),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..50)
}

const OFFER: Content<'static> = Content::body("application/sdp", b"v=0\r\n");

fn config() -> Config {
    let mut config = Config::new(sip_core::Config::new([5; 32]), "us");
    config.methods = vec![Method::Info, Method::Refer, Method::Register];
    config.packages = vec!["presence".into()];
    config.credentials = vec![Credentials::new("us", "secret")];
    config.redirects = 2;
    config.session_timer.expires = Some(Duration::from_secs(120));
    config
}

fn driven() -> Driven<UserAgent> {
    Driven::new(UserAgent::new(config()), give)
}

fn give(agent: &mut UserAgent, now: Instant, kind: u8, handle: u64) -> String {
    let dialog = DialogId::from_bits(handle);
    let uri = format!("sip:peer@{PEER}");
    let subscription = SubscriptionId::from_bits(handle);
    let content = if handle % 2 == 0 { OFFER } else { Content::NONE };
    let new = NewSubscription::new(&uri, "presence");
    let over = Notice::Terminated { reason: Ended::NoResource, retry_after: None };
    let command = match kind % 32 {
        12 | 13 => Command::RequestIn(dialog, Method::Invite, 1, content),
        14 => Command::RequestIn(dialog, Method::Update, 1, content),
        15 => Command::Subscribe(new),
        16 => Command::SubscribeIn(dialog, new),
        17 => Command::Register(NewRegistration::new(&uri, "<sip:us@x>")),
        18 => Command::Publish(NewPublication::new(&uri, "presence", OFFER)),
        19 | 20 => Command::Respond(ServerTxn::from_bits(handle), Status::OK, content),
        21 => Command::Respond(ServerTxn::from_bits(handle), Status::DECLINE, Content::NONE),
        22 => Command::RingReliably(dialog, Status::SESSION_PROGRESS, content),
        23 => Command::Prack(dialog, 1, content),
        24 => Command::Notify(subscription, Notice::Active, OFFER),
        25 => Command::Notify(subscription, over, Content::NONE),
        26 => Command::ReferIn(dialog, NewRefer::new("<sip:other@x>")),
        27 => Command::Unsubscribe(subscription, Content::NONE),
        28 => Command::Unregister(RegistrationId::from_bits(handle)),
        29 => Command::Unpublish(PublicationId::from_bits(handle), Content::NONE),
        30 => Command::CancelRequest(RequestId::from_bits(handle)),
        0 => Command::Invite(NewInvite { content: OFFER, ..NewInvite::new(&uri) }),
        1 => Command::Invite(NewInvite::new(&uri)),
        2 => Command::Cancel(Invitation::from_bits(handle)),
        3 => Command::Ring(dialog, Status::RINGING, Content::NONE),
        4 | 5 => Command::Accept(dialog, OFFER),
        6 => Command::Reject(dialog, Status::BUSY_HERE, Content::NONE),
        7 | 8 => Command::Bye(dialog, Content::NONE),
        9 => Command::Ack(dialog, OFFER),
        10 => Command::RequestIn(dialog, Method::Info, 1, Content::NONE),
        _ => Command::Request(NewRequest::new(Method::Options, &uri)),
    };
    format!("{:?}", agent.command(now, command))
}

/// What an operation comes to, by what was sent up to now; it may move the time.
fn step(op: &Op, driven: &Driven<UserAgent>, now: &mut Instant) -> Option<Step> {
    match op {
        Op::Invite { offer } => Some(Step::Command { kind: u8::from(!offer), handle: 0 }),
        Op::Command { kind, slot, generation } => {
            Some(Step::Command { kind: *kind, handle: u64::from(*generation) << 32 | u64::from(*slot) })
        }
        Op::Advance { millis } => {
            *now += Duration::from_millis(u64::from(*millis));
            Some(Step::Advance)
        }
        Op::Reply { which, status, tag } => {
            let requests = driven.requests();
            let (status, headers) = [
                ("100 Trying", ""),
                ("180 Ringing", ""),
                ("200 OK", ""),
                (
                    "200 OK",
                    "Expires: 60\r\nSIP-ETag: e\r\nAllow: UPDATE\r\nSession-Expires: 90;refresher=uac\r\n",
                ),
                ("200 OK", "Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"),
                ("486 Busy Here", ""),
                ("481 Gone", ""),
                ("199 Early", ""),
                ("183 Progress", "Require: 100rel\r\nRSeq: 1\r\n"),
                ("183 Progress", "Require: 100rel\r\nRSeq: 2\r\n"),
                ("401 Unauthorized", "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n"),
                ("423 Brief", "Min-Expires: 9000\r\n"),
                ("422 Small", "Min-SE: 200\r\n"),
                ("491 Pending", ""),
                ("302 Moved", ""),
                ("404 Not Found", ""),
            ][*status as usize % 16];
            let contact = format!("Contact: <sip:peer{tag}@{PEER}>\r\n{headers}");
            requests.get(*which as usize % requests.len().max(1)).map(|request| {
                Step::Datagram(response(request, status, &format!("t{tag}"), &contact).into_bytes())
            })
        }
        Op::Incoming { kind, call, tag, cseq } => {
            let (method, headers) = [
                ("INVITE", "Supported: 100rel, timer\r\nSession-Expires: 100\r\n"),
                ("INVITE", "Expires: 20\r\n"),
                ("INVITE", ""),
                ("ACK", ""),
                ("ACK", ""),
                ("BYE", ""),
                ("CANCEL", ""),
                ("OPTIONS", ""),
                ("PRACK", "RAck: 1 1 INVITE\r\n"),
                ("UPDATE", ""),
                ("INFO", ""),
                ("SUBSCRIBE", "Event: presence\r\nExpires: 60\r\n"),
                ("NOTIFY", "Event: presence\r\nSubscription-State: active;expires=60\r\n"),
                ("NOTIFY", "Event: refer\r\nSubscription-State: terminated\r\n"),
                ("REFER", "Refer-To: <sip:other@x>\r\n"),
                ("REGISTER", ""),
            ][*kind as usize % 16];
            let body = if tag % 2 == 0 { "Content-Type: application/sdp\r\n" } else { "" };
            let sdp = if tag % 2 == 0 { "v=0\r\n" } else { "" };
            let call_id = format!("in{call}");
            // Inside the dialog, if this side has given it a tag; the INVITE mostly not.
            let known = driven
                .sent
                .iter()
                .rev()
                .find(|text| text.starts_with("SIP/2.0") && header(text, "Call-ID") == Some(&call_id));
            let to = known.and_then(|text| header(text, "To")).filter(|_| method != "INVITE" || tag % 4 == 0);
            let to = to.unwrap_or("<sip:us@x>");
            let branch =
                if method == "CANCEL" { format!("INVITE{call}1") } else { format!("{method}{call}{cseq}") };
            let cseq = if matches!(method, "CANCEL" | "ACK") { 1 } else { *cseq };
            Some(Step::Datagram(
                format!(
                    "{method} sip:us@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bK{branch}\r\n\
                         From: <sip:p@x>;tag=p\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
                         Contact: <sip:p@{PEER}>\r\n{headers}{body}Content-Length: {}\r\n\r\n{sdp}",
                    sdp.len()
                )
                .into_bytes(),
            ))
        }
    }
}

fn record(ops: &[Op]) -> (Vec<(Instant, Step)>, Driven<UserAgent>) {
    let (mut driven, mut log, mut now) = (driven(), Vec::new(), Instant::ZERO);
    for op in ops {
        let Some(step) = step(op, &driven, &mut now) else { continue };
        driven.take(now, &step);
        driven.drain(usize::MAX);
        log.push((now, step));
    }
    (log, driven)
}

/// What two machines have minted in each other's place: tokens of hexadecimal digits, and numbers that are drawn.
#[derive(Default)]
struct Minted(std::collections::BTreeMap<String, String>);

impl Minted {
    /// Whether two lists are the same, if what stands in the same place in both is the same thing.
    fn align(&mut self, left: &[String], right: &[String]) -> bool {
        left.len() == right.len() && left.iter().zip(right).all(|(left, right)| self.align_text(left, right))
    }

    fn align_text(&mut self, left: &str, right: &str) -> bool {
        let (left, right) = (words(left), words(right));
        let drawn = |at: usize| {
            let before = left.get(at.saturating_sub(10)..at).unwrap_or_default().concat();
            before.ends_with("RSeq: ") || before.ends_with("Retry-After: ")
        };
        left.len() == right.len()
            && left.iter().zip(&right).enumerate().all(|(at, (left, right))| {
                let minted = is_token(left) && is_token(right) && left.len() == right.len();
                left == right
                    || drawn(at)
                    || (minted && *self.0.entry((*left).into()).or_insert((*right).into()) == *right)
            })
    }

    fn translated(&self, step: &Step) -> Step {
        let Step::Datagram(data) = step else { return step.clone() };
        let text = String::from_utf8_lossy(data).into_owned();
        let words = words(&text).into_iter().map(|word| self.0.get(word).map_or(word, |other| other));
        Step::Datagram(words.collect::<String>().into_bytes())
    }
}

/// A text in words of hexadecimal digits and what stands between.
fn words(text: &str) -> Vec<&str> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.as_bytes()
        .chunk_by(|a, b| hex(*a) == hex(*b))
        .map(|chunk| core::str::from_utf8(chunk).unwrap_or("?"))
        .collect()
}

/// Tags, Call-IDs and branches, cnonces and what is hashed of them.
fn is_token(word: &str) -> bool {
    word.len() >= 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn replay(
    log: &[(Instant, Step)],
    mut after: impl FnMut(&mut Driven<UserAgent>, Instant),
) -> Driven<UserAgent> {
    let mut driven = driven();
    for (now, step) in log {
        driven.take(*now, step);
        after(&mut driven, *now);
    }
    driven.drain(usize::MAX);
    driven
}

fn same(left: &Driven<UserAgent>, right: &Driven<UserAgent>) -> Result<(), TestCaseError> {
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
            driven.machine.advance(now);
            driven.machine.advance(Instant::ZERO);
            driven.drain((random >> 60) as usize % 3);
        }))?;
    }

    /// Points 3 and 4: the deadline is honest.
    #[test]
    fn the_deadline_is_honest(ops in ops()) {
        let (log, _) = record(&ops);
        let mut wrong = None;
        replay(&log, |driven, now| loop {
            let deadline = driven.machine.deadline();
            if driven.drain(1) == 0 {
                // What was due and had nothing to say is done.
                wrong = wrong.or(driven.machine.deadline().filter(|deadline| *deadline <= now));
                return;
            }
            if deadline.is_none_or(|deadline| deadline > now) {
                wrong = Some(now);
            }
        });
        prop_assert_eq!(wrong, None);
    }

    /// A machine that comes back from a snapshot, elsewhere and at another time, answers all that follows as the original does, but for what both mint
    /// anew.
    #[test]
    fn a_restored_machine_goes_on_as_the_original(
        ops in ops(),
        at in any::<u64>(),
        shift in 0..100_000_000_u64,
        quiet in 0..100_u64,
    ) {
        // When who collided tries again is drawn anew: nobody collides here.
        let calm = |op: &Op| !matches!(op, Op::Reply { status, .. } if status % 16 == 13);
        let ops: Vec<_> = ops.into_iter().filter(calm).collect();
        let (before, after) = ops.split_at((at % (ops.len() as u64 + 1)) as usize);
        let (mut original, mut now) = (driven(), Instant::ZERO);
        for op in before {
            if let Some(step) = step(op, &original, &mut now) {
                original.take(now, &step);
                original.drain(usize::MAX);
            }
        }
        // Nobody tells the original what time it is while nothing is due.
        let left = original.machine.deadline().map_or(1_000_000, |due| due.as_micros() - now.as_micros() - 1);
        now = Instant::from_micros(now.as_micros() + left * quiet / 100);
        let bytes = original.machine.snapshot(now).expect("it is drained");
        let later = |now: Instant| Instant::from_micros(now.as_micros() + shift);
        let mut other = config();
        other.core.seed = [6; 32];
        let restored = UserAgent::restore(later(now), other, &bytes).expect("its own bytes");
        let mut copy = Driven::new(restored, give);
        let again = copy.machine.snapshot(later(now)).expect("nothing is due that was not");
        prop_assert_eq!(again.len(), bytes.len());
        prop_assert_eq!(copy.machine.dialogs().collect::<Vec<_>>(), original.machine.dialogs().collect::<Vec<_>>());
        prop_assert_eq!(copy.machine.deadline(), original.machine.deadline().map(later));
        original.outputs.clear();
        original.returned.clear();
        let mut minted = Minted::default();
        for op in after {
            let Some(step) = step(op, &original, &mut now) else { continue };
            copy.take(later(now), &minted.translated(&step));
            original.take(now, &step);
            copy.drain(usize::MAX);
            original.drain(usize::MAX);
            prop_assert!(minted.align(&original.returned, &copy.returned), "{:?}\n{:?}", original.returned, copy.returned);
            prop_assert!(minted.align(&original.outputs, &copy.outputs), "{:#?}\n{:#?}", original.outputs, copy.outputs);
        }
    }

    /// Point 10, and each handle's one terminal event: whatever happened, and though the user forgets everything, all ends.
    #[test]
    fn everything_ends(ops in ops()) {
        let (log, mut driven) = record(&ops);
        let mut now = log.last().map_or(Instant::ZERO, |(now, _)| *now);
        for round in 0.. {
            let Some(deadline) = driven.machine.deadline() else { break };
            prop_assert!(round < 10_000, "it never ends");
            now = now.max(deadline);
            driven.machine.advance(now);
            driven.drain(usize::MAX);
        }
        let stats = driven.machine.stats();
        prop_assert_eq!(stats.client_transactions + stats.server_transactions, 0);
        // Calls that are up stay up until somebody hangs up.
        for dialog in driven.machine.dialogs().collect::<Vec<_>>() {
            let _ = driven.machine.bye(now, dialog, &Content::NONE);
        }
        while let Some(deadline) = driven.machine.deadline() {
            now = now.max(deadline);
            driven.machine.advance(now);
            driven.drain(usize::MAX);
        }
        prop_assert!(driven.machine.is_idle(), "{:?}", driven.machine.stats());
        prop_assert_eq!(driven.machine.stats().retained_bytes, 0);

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
    while let Some(deadline) = driven.machine.deadline() {
        now = now.max(deadline);
        driven.machine.advance(now);
        driven.drain(usize::MAX);
    }
    assert!(driven.machine.is_idle(), "{:?}", driven.machine.stats());
}
