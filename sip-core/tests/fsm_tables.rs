//! The transaction machines against the state tables in `data/fsm`: every row is driven, and every pair that no row lists
//! does nothing.

use core::fmt::Debug;
use sip_core::Reliability::{self, Reliable, Unreliable};
use sip_core::transaction::{Action, Delay, Report, Send, Timer, ict, ist, nict, nist};
use std::collections::BTreeSet;

/// One machine as the tables see it.
trait Table {
    type State: Copy + PartialEq + Debug + 'static;
    type Event: Copy + Debug + 'static;
    const ROWS: &'static str;
    /// Every state, with all that it may hold.
    const STATES: &'static [Self::State];
    const EVENTS: &'static [Self::Event];

    fn start(on: Reliability) -> (Self::State, Vec<Action>);
    fn step(state: Self::State, event: Self::Event, on: Reliability) -> (Self::State, Vec<Action>);
    fn name(state: Self::State) -> &'static str;
    /// Whether an event of ours is the one that the table names.
    fn matches(event: Self::Event, name: &str) -> bool;
    /// Whether a row's condition speaks of this state and event; `None`: the words are not known here.
    fn holds(state: Self::State, event: Self::Event, condition: &str) -> Option<bool>;
}

struct Row {
    state: String,
    event: String,
    transport: String,
    condition: String,
    actions: String,
    next: String,
    section: String,
}

fn rows(text: &str) -> Vec<Row> {
    text.lines()
        .skip(1)
        .map(|line| {
            let mut cells = line.split('\t').map(str::to_owned);
            let mut cell = || cells.next().expect("seven columns");
            Row {
                state: cell(),
                event: cell(),
                transport: cell(),
                condition: cell(),
                actions: cell(),
                next: cell(),
                section: cell(),
            }
        })
        .collect()
}

/// Rows that are no step of a machine, but say what the layer does before one exists, beside it, or after it is gone: state,
/// event, and the test in `transactions.rs` that drives it.
const OF_THE_LAYER: [(&str, &str, &str); 10] = [
    ("Terminated", "net.any", "what_comes_after_the_end_is_stray_or_new"),
    ("Terminated", "net.INVITE", "what_comes_after_the_end_is_stray_or_new"),
    ("Terminated", "net.request", "what_comes_after_the_end_is_stray_or_new"),
    ("(none)", "net.ACK", "a_refusal_is_sent_until_it_is_acknowledged"),
    ("(none)", "net.CANCEL", "a_cancel_after_the_final_response_has_no_effect"),
    ("Proceeding", "net.CANCEL", "a_cancel_finds_its_invite_and_is_answered_with_the_same_tag"),
    ("Completed", "net.CANCEL", "a_cancel_after_the_final_response_has_no_effect"),
    ("Confirmed", "net.CANCEL", "a_cancel_after_the_final_response_has_no_effect"),
    ("Accepted", "net.CANCEL", "a_cancel_after_the_final_response_has_no_effect"),
    ("(none)", "tu.request", "an_ack_is_sent_outside_transactions"),
];

fn is_of_the_layer(row: &Row) -> bool {
    let test = OF_THE_LAYER.iter().find(|(state, event, _)| (*state, *event) == (&row.state, &row.event));
    let Some((_, event, test)) = test else { return false };
    // Only one of the rows that begin a NICT speaks of an ACK.
    if *event == "tu.request" && row.condition != "method ACK" {
        return false;
    }
    assert!(include_str!("transactions.rs").contains(&format!("fn {test}()")), "no test {test}");
    true
}

/// The actions of a row, as those of ours that it asks for. What stands in parentheses explains.
fn expected(row: &Row) -> Vec<Action> {
    let mut plain = row.actions.clone();
    while let Some(start) = plain.find(" (") {
        let end = plain[start..].find(')').map_or(plain.len(), |length| start + length + 1);
        plain.replace_range(start..end, "");
    }
    let mut list: Vec<Action> =
        plain.split(';').flat_map(|action| action_of(action.trim(), row.event.starts_with("tu."))).collect();
    if row.event == "timer.guard" && row.actions.contains("send 500") {
        // A final response disarms the automatic 100, as every other row with one says.
        list.push(Action::Stop(Timer::Trying));
    }
    list
}

fn action_of(text: &str, from_tu: bool) -> Vec<Action> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let timer = |letter: &str| match letter {
        "A" => Timer::A,
        "B" => Timer::B,
        "D" | "D>=32s" => Timer::D,
        "E" => Timer::E,
        "F" => Timer::F,
        "G" => Timer::G,
        "H" => Timer::H,
        "I" => Timer::I,
        "J" => Timer::J,
        "K" => Timer::K,
        "L" => Timer::L,
        "M" => Timer::M,
        other => panic!("no timer {other:?} in {text:?}"),
    };
    match words.first().copied().unwrap_or_default() {
        "set" => {
            let (letter, value) = words[1].split_once('=').unwrap_or((words[1], ""));
            let letter = letter.trim_end_matches('>');
            let delay = match value {
                "2*previous" => Delay::Doubled,
                "min(2*previous,T2)" => Delay::Capped,
                "T2" => Delay::T2,
                _ => Delay::First,
            };
            vec![Action::Set(timer(letter), delay)]
        }
        "cancel" => words[1].split(',').map(|letter| Action::Stop(timer(letter))).collect(),
        "disarm" if text.contains("auto-100") => vec![Action::Stop(Timer::Trying)],
        "disarm" => vec![Action::Stop(Timer::LateTrying)],
        "arm" if text.contains("auto-100") => vec![Action::Set(Timer::Trying, Delay::First)],
        "arm" => vec![Action::Set(Timer::LateTrying, Delay::First)],
        "send" => vec![Action::Send(match &words[1..] {
            ["INVITE" | "request", ..] => Send::Request,
            ["ACK", ..] => Send::Ack,
            ["100"] if !from_tu => Send::Trying,
            ["100" | "response"] => Send::Response,
            ["final", ..] | ["last", "provisional", ..] => Send::Last,
            ["500"] => Send::Failure,
            other => panic!("send what? {other:?}"),
        })],
        "recommended:" if text.contains("send 100 now") => {
            vec![Action::Send(Send::Trying), Action::Stop(Timer::Trying)]
        }
        "create" => vec![Action::Send(Send::Cancel)],
        "refuse" | "refuse:" => vec![Action::Refuse],
        "as" | "then" if text.contains("as tu.cancel") => vec![Action::Send(Send::Cancel)],
        "as" if text == "as in Trying" => vec![Action::Tell(Report::Unanswered)],
        // A cancelled INVITE without a final response ends for its user as one that timed out.
        "tu" => vec![Action::Tell(Report::Timeout)],
        "then" if text == "then tu.cancel_guard" => Vec::new(),
        "unspecified:" => vec![Action::Tell(Report::TransportError)],
        "no" if text.contains("RFC timer ends") => vec![Action::Tell(Report::Unanswered)],
        first if first.starts_with("tu<-") => vec![Action::Tell(match &first[4..] {
            "response" => Report::Response,
            "request" => Report::Request,
            "timeout" => Report::Timeout,
            "transport_error" => Report::TransportError,
            "transaction_failure" => Report::NoAck,
            "ACK" => Report::Ack,
            "guard" => Report::Unanswered,
            other => panic!("tell what? {other:?}"),
        })],
        // What is not done, or is left to the one who uses the machine.
        "none" | "never" | "no" | "not" | "drop" | "absorb" | "discard" | "ignored" | "keep" | "remember"
        | "remember:" | "stay" | "CANCEL" | "M" | "TU" | "nothing" | "destroy" | "single" => Vec::new(),
        other => panic!("unknown action {other:?} in {text:?}"),
    }
}

/// What only this project adds: its guards, and a stop or a start of theirs that no row speaks of.
fn without_guards(actions: &[Action]) -> Vec<Action> {
    let own = |timer: &Timer| {
        matches!(
            timer,
            Timer::Ringing | Timer::Cancelled | Timer::Rport | Timer::Unanswered | Timer::UnansweredInvite
        )
    };
    let mut rest: Vec<Action> = actions
        .iter()
        .filter(|action| !matches!(action, Action::Set(timer, _) | Action::Stop(timer) if own(timer)))
        .copied()
        .collect();
    rest.sort_by_key(|action| format!("{action:?}"));
    rest
}

/// On reliable transports some timers never run, so that neither starting nor stopping them is anything.
fn comparable(actions: &[Action], on: Reliability) -> Vec<Action> {
    let mut list = without_guards(actions);
    list.retain(|action| {
        let never_runs = on == Reliable
            && matches!(action, Action::Stop(timer) | Action::Set(timer, _) if matches!(timer, Timer::A | Timer::E | Timer::G));
        !never_runs && !matches!(action, Action::Stop(Timer::LateTrying))
    });
    list
}

fn transports(row: &Row) -> &'static [Reliability] {
    match &*row.transport {
        "unreliable" => &[Unreliable],
        "reliable" => &[Reliable],
        _ => &[Unreliable, Reliable],
    }
}

fn check<T: Table>() {
    let rows = rows(T::ROWS);
    let mut hit = BTreeSet::new();
    let mut listed = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        if is_of_the_layer(row) {
            hit.insert(number);
            continue;
        }
        for on in transports(row).iter().copied() {
            if row.state == "(none)" {
                let (next, actions) = T::start(on);
                assert_eq!(T::name(next), row.next, "{}", row.section);
                assert_eq!(comparable(&actions, on), comparable(&expected(row), on), "{}", row.section);
                hit.insert(number);
                continue;
            }
            for state in T::STATES.iter().copied().filter(|state| T::name(*state) == row.state) {
                for event in T::EVENTS.iter().copied().filter(|event| T::matches(*event, &row.event)) {
                    let holds = T::holds(state, event, &row.condition)
                        .unwrap_or_else(|| panic!("unknown condition {:?}", row.condition));
                    if !holds {
                        continue;
                    }
                    hit.insert(number);
                    listed.push((state, format!("{event:?}"), on));
                    let (next, actions) = T::step(state, event, on);
                    let place =
                        format!("row {number}: {} {} {on:?} ({state:?}, {event:?})", row.state, row.event);
                    assert_eq!(T::name(next), row.next, "{place}");
                    let want = expected(row);
                    assert_eq!(comparable(&actions, on), comparable(&want, on), "{place}: {}", row.actions);
                }
            }
        }
    }
    let missed: Vec<_> = (0..rows.len()).filter(|number| !hit.contains(number)).collect();
    assert!(missed.is_empty(), "rows that nothing drives: {missed:?}");

    // Everything else does nothing at all.
    for state in T::STATES.iter().copied() {
        for event in T::EVENTS.iter().copied() {
            for on in [Unreliable, Reliable] {
                if !listed.contains(&(state, format!("{event:?}"), on)) {
                    let (next, actions) = T::step(state, event, on);
                    assert_eq!((next, actions), (state, Vec::new()), "unlisted: {state:?} {event:?} {on:?}");
                }
            }
        }
    }
}

fn timer_named(timer: Timer, name: &str) -> bool {
    match name {
        "timer.100" => timer == Timer::Trying,
        "timer.NIT100" => timer == Timer::LateTrying,
        "timer.guard" => matches!(timer, Timer::Ringing | Timer::UnansweredInvite),
        "timer.expiry" => timer == Timer::Unanswered,
        "timer.rport" => timer == Timer::Rport,
        "tu.cancel_guard" => timer == Timer::Cancelled,
        _ => name.strip_prefix("timer.").is_some_and(|letter| format!("{timer:?}") == letter),
    }
}

struct Ict;

impl Table for Ict {
    type State = ict::State;
    type Event = ict::Event;
    const ROWS: &'static str = include_str!("data/fsm/ict.tsv");
    const STATES: &'static [ict::State] = &[
        ict::State::Calling { cancel: false },
        ict::State::Calling { cancel: true },
        ict::State::Proceeding { cancelled: false },
        ict::State::Proceeding { cancelled: true },
        ict::State::Completed,
        ict::State::Accepted,
        ict::State::Terminated,
    ];
    const EVENTS: &'static [ict::Event] = &[
        ict::Event::Trying,
        ict::Event::Provisional,
        ict::Event::Success,
        ict::Event::Failure,
        ict::Event::Cancel,
        ict::Event::TransportError,
        ict::Event::Timer(Timer::A),
        ict::Event::Timer(Timer::B),
        ict::Event::Timer(Timer::D),
        ict::Event::Timer(Timer::M),
        ict::Event::Timer(Timer::Ringing),
        ict::Event::Timer(Timer::Cancelled),
        ict::Event::Timer(Timer::Rport),
    ];

    fn start(on: Reliability) -> (ict::State, Vec<Action>) {
        let step = ict::start(on);
        (step.next, step.actions.to_vec())
    }

    fn step(state: ict::State, event: ict::Event, on: Reliability) -> (ict::State, Vec<Action>) {
        let step = ict::step(state, event, on);
        (step.next, step.actions.to_vec())
    }

    fn name(state: ict::State) -> &'static str {
        match state {
            ict::State::Calling { .. } => "Calling",
            ict::State::Proceeding { .. } => "Proceeding",
            ict::State::Completed => "Completed",
            ict::State::Accepted => "Accepted",
            ict::State::Terminated => "Terminated",
        }
    }

    fn matches(event: ict::Event, name: &str) -> bool {
        match event {
            ict::Event::Trying | ict::Event::Provisional => name == "net.1xx",
            ict::Event::Success => name == "net.2xx",
            ict::Event::Failure => name == "net.3xx-6xx",
            ict::Event::Cancel => name.starts_with("tu.cancel") && name != "tu.cancel_guard",
            ict::Event::TransportError => name == "transport.error",
            // In parentheses in the table; it has a test of its own below.
            ict::Event::ConnectionLost => false,
            ict::Event::Timer(timer) => timer_named(timer, name),
        }
    }

    fn holds(state: ict::State, event: ict::Event, condition: &str) -> Option<bool> {
        let waiting = matches!(
            state,
            ict::State::Calling { cancel: true } | ict::State::Proceeding { cancelled: true }
        );
        Some(match condition {
            "matches 17.1.3; no cancel remembered" => !waiting,
            "matches 17.1.3; a cancel is remembered" => waiting,
            "no provisional received yet" => true,
            "CANCEL already remembered or sent" => waiting,
            "no final response yet" => !waiting,
            text if text.starts_with("64*T1 after CANCEL") => waiting,
            text if text.starts_with("> 3 min") => !waiting,
            text if text.starts_with("policy") => true,
            "-" | "matches 17.1.3" => true,
            text if text.starts_with("stale") || text.starts_with("any To tag") => true,
            text if text.contains("send of this transaction") || text.contains("sending ACK") => true,
            text if text.starts_with("no send is outstanding") || text.starts_with("nothing is sent") => true,
            text if text.starts_with("reliable:") => true,
            _ => {
                let _ = event;
                return None;
            }
        })
    }
}

struct Nict;

impl Table for Nict {
    type State = nict::State;
    type Event = nict::Event;
    const ROWS: &'static str = include_str!("data/fsm/nict.tsv");
    const STATES: &'static [nict::State] =
        &[nict::State::Trying, nict::State::Proceeding, nict::State::Completed, nict::State::Terminated];
    const EVENTS: &'static [nict::Event] = &[
        nict::Event::Provisional,
        nict::Event::Final,
        nict::Event::TransportError,
        nict::Event::Timer(Timer::E),
        nict::Event::Timer(Timer::F),
        nict::Event::Timer(Timer::K),
    ];

    fn start(on: Reliability) -> (nict::State, Vec<Action>) {
        let step = nict::start(on);
        (step.next, step.actions.to_vec())
    }

    fn step(state: nict::State, event: nict::Event, on: Reliability) -> (nict::State, Vec<Action>) {
        let step = nict::step(state, event, on);
        (step.next, step.actions.to_vec())
    }

    fn name(state: nict::State) -> &'static str {
        match state {
            nict::State::Trying => "Trying",
            nict::State::Proceeding => "Proceeding",
            nict::State::Completed => "Completed",
            nict::State::Terminated => "Terminated",
        }
    }

    fn matches(event: nict::Event, name: &str) -> bool {
        match event {
            nict::Event::Provisional => matches!(name, "net.1xx" | "net.any"),
            nict::Event::Final => matches!(name, "net.2xx-6xx" | "net.any"),
            nict::Event::TransportError => name == "transport.error",
            nict::Event::Timer(timer) => timer_named(timer, name),
        }
    }

    fn holds(_: nict::State, _: nict::Event, condition: &str) -> Option<bool> {
        let known = condition == "-"
            || ["method not", "matches", "reliable:", "nothing is sent"]
                .iter()
                .any(|start| condition.starts_with(start));
        known.then_some(true)
    }
}

struct Ist;

impl Table for Ist {
    type State = ist::State;
    type Event = ist::Event;
    const ROWS: &'static str = include_str!("data/fsm/ist.tsv");
    const STATES: &'static [ist::State] = &[
        ist::State::Proceeding { answered: false },
        ist::State::Proceeding { answered: true },
        ist::State::Completed,
        ist::State::Confirmed,
        ist::State::Accepted,
        ist::State::Terminated,
    ];
    const EVENTS: &'static [ist::Event] = &[
        ist::Event::Invite,
        ist::Event::Ack,
        ist::Event::Provisional,
        ist::Event::Success,
        ist::Event::Failure,
        ist::Event::TransportError,
        ist::Event::Timer(Timer::Trying),
        ist::Event::Timer(Timer::UnansweredInvite),
        ist::Event::Timer(Timer::G),
        ist::Event::Timer(Timer::H),
        ist::Event::Timer(Timer::I),
        ist::Event::Timer(Timer::L),
    ];

    fn start(on: Reliability) -> (ist::State, Vec<Action>) {
        let step = ist::start(on);
        (step.next, step.actions.to_vec())
    }

    fn step(state: ist::State, event: ist::Event, on: Reliability) -> (ist::State, Vec<Action>) {
        let step = ist::step(state, event, on);
        (step.next, step.actions.to_vec())
    }

    fn name(state: ist::State) -> &'static str {
        match state {
            ist::State::Proceeding { .. } => "Proceeding",
            ist::State::Completed => "Completed",
            ist::State::Confirmed => "Confirmed",
            ist::State::Accepted => "Accepted",
            ist::State::Terminated => "Terminated",
        }
    }

    fn matches(event: ist::Event, name: &str) -> bool {
        match event {
            ist::Event::Invite => name == "net.INVITE",
            ist::Event::Ack => name == "net.ACK",
            ist::Event::Provisional => matches!(name, "tu.1xx" | "tu.any"),
            ist::Event::Success => matches!(name, "tu.2xx" | "tu.any"),
            ist::Event::Failure => matches!(name, "tu.3xx-6xx" | "tu.any"),
            ist::Event::TransportError => name == "transport.error",
            ist::Event::Timer(timer) => timer_named(timer, name),
        }
    }

    fn holds(state: ist::State, _: ist::Event, condition: &str) -> Option<bool> {
        let answered = matches!(state, ist::State::Proceeding { answered: true });
        Some(match condition {
            text if text.starts_with("200 ms passed") => !answered,
            "retransmission; a provisional was sent" => answered,
            "retransmission; nothing sent yet" => !answered,
            text if text.starts_with("TU never answers") => true,
            "-" | "100-199" | "retransmission" | "stale" | "matches" => true,
            text if text.starts_with("matches 17.2.3") || text.starts_with("after RFC 3263") => true,
            text if text.starts_with("second final") || text.starts_with("retransmission by TU") => true,
            text if text.starts_with("reliable:") => true,
            _ => return None,
        })
    }
}

struct Nist;

impl Table for Nist {
    type State = nist::State;
    type Event = nist::Event;
    const ROWS: &'static str = include_str!("data/fsm/nist.tsv");
    const STATES: &'static [nist::State] =
        &[nist::State::Trying, nist::State::Proceeding, nist::State::Completed, nist::State::Terminated];
    const EVENTS: &'static [nist::Event] = &[
        nist::Event::Request,
        nist::Event::Trying { due: false },
        nist::Event::Trying { due: true },
        nist::Event::Provisional,
        nist::Event::RequestTimeout,
        nist::Event::Final,
        nist::Event::TransportError,
        nist::Event::Timer(Timer::LateTrying),
        nist::Event::Timer(Timer::Unanswered),
        nist::Event::Timer(Timer::J),
    ];

    fn start(on: Reliability) -> (nist::State, Vec<Action>) {
        let step = nist::start(on);
        (step.next, step.actions.to_vec())
    }

    fn step(state: nist::State, event: nist::Event, on: Reliability) -> (nist::State, Vec<Action>) {
        let step = nist::step(state, event, on);
        (step.next, step.actions.to_vec())
    }

    fn name(state: nist::State) -> &'static str {
        match state {
            nist::State::Trying => "Trying",
            nist::State::Proceeding => "Proceeding",
            nist::State::Completed => "Completed",
            nist::State::Terminated => "Terminated",
        }
    }

    fn matches(event: nist::Event, name: &str) -> bool {
        let of_tu = match event {
            nist::Event::Request => return name == "net.request",
            nist::Event::TransportError => return name == "transport.error",
            nist::Event::Timer(timer) => return timer_named(timer, name),
            nist::Event::Trying { .. } => "tu.100",
            nist::Event::Provisional => "tu.101-199",
            nist::Event::RequestTimeout => "tu.408",
            nist::Event::Final => "tu.2xx-6xx",
        };
        name == of_tu || name == "tu.any"
    }

    fn holds(_: nist::State, event: nist::Event, condition: &str) -> Option<bool> {
        Some(match condition {
            text if text.starts_with("before the time") => {
                matches!(event, nist::Event::Trying { due: false })
            }
            text if text.starts_with("at or after") => matches!(event, nist::Event::Trying { due: true }),
            "-" | "retransmission" | "not 408" | "no response sent yet" => true,
            text if text.starts_with("nothing is sent") || text.starts_with("after RFC 3263") => true,
            text if text.starts_with("TU never answers") || text.starts_with("reliable:") => true,
            _ => return None,
        })
    }
}

/// The row of Proceeding and transport.error says it in parentheses: on a closed connection as in Calling.
#[test]
fn a_lost_connection_ends_an_ict_that_waits() {
    for state in Ict::STATES {
        let step = ict::step(*state, ict::Event::ConnectionLost, Reliable);
        let waits = matches!(state, ict::State::Calling { .. } | ict::State::Proceeding { .. });
        assert_eq!(
            step.next == ict::State::Terminated,
            waits || *state == ict::State::Terminated,
            "{state:?}"
        );
        assert_eq!(step.actions.contains(&Action::Tell(Report::TransportError)), waits, "{state:?}");
    }
}

#[test]
fn ict_by_its_table() {
    check::<Ict>();
}

#[test]
fn nict_by_its_table() {
    check::<Nict>();
}

#[test]
fn ist_by_its_table() {
    check::<Ist>();
}

#[test]
fn nist_by_its_table() {
    check::<Nist>();
}
