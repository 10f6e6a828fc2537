//! The best response (RFC 3261 §16.7, step 6), by the rule of the RFC and those of other proxies.

use sip_core::message::Status;
use sip_core::proxy::{Origin, Outcome, Preference};

const ALL: [Preference; 4] =
    [Preference::Rfc3261, Preference::Kamailio, Preference::OpenSips, Preference::Repro];

fn received(code: u16) -> Outcome {
    Outcome { status: Status::new(code).unwrap(), origin: Origin::Received }
}

fn local(code: u16) -> Outcome {
    Outcome { origin: Origin::Timeout, ..received(code) }
}

/// What each rule makes of the same outcomes: RFC, Kamailio, OpenSIPS, repro.
#[test]
fn which_is_best() {
    for (outcomes, cancelled, places) in [
        (&[received(404), received(302), received(500)][..], false, [1, 1, 1, 1]),
        (&[received(302), received(603)], false, [1, 1, 1, 1]),
        (&[received(404), received(407), received(401)], false, [1, 2, 2, 1]),
        (&[received(486), received(480)], false, [0, 1, 1, 0]),
        (&[received(486), received(400)], false, [0, 1, 1, 0]),
        (&[received(404), received(503), received(500)], false, [0, 0, 0, 0]),
        (&[received(503), received(500)], false, [1, 1, 1, 1]),
        (&[received(408), received(486)], false, [1, 0, 1, 1]),
        (&[received(408), received(500)], false, [0, 0, 1, 1]),
        (&[received(412), received(401)], false, [1, 1, 1, 0]),
        (&[received(302), received(401)], false, [0, 0, 0, 1]),
        // What a branch that never left the box says, beside a phone.
        (&[local(408), received(486)], false, [1, 0, 1, 1]),
        (&[local(408), received(503)], false, [1, 0, 0, 1]),
        (&[local(503), local(408)], false, [1, 1, 1, 0]),
        (&[received(486), received(401), received(487)], true, [2, 1, 2, 1]),
        (&[received(486), received(401), received(487)], false, [1, 1, 1, 1]),
        (&[local(408), received(486)], true, [1, 1, 1, 1]),
    ] {
        let found = ALL.map(|rule| rule.best(outcomes.iter().copied(), cancelled));
        assert_eq!(found, places.map(Some), "{outcomes:?} {cancelled}");
    }
    assert_eq!(ALL.map(|rule| rule.best([], false)), [None; 4]);
}

/// No 6xx loses, and the order decides only between equals; by the RFC's rule what was received beats what was not.
#[test]
fn the_order_decides_only_between_equals() {
    let all: Vec<Outcome> = (300..700).flat_map(|code| [received(code), local(code)]).collect();
    for rule in ALL {
        for a in &all {
            for b in &all {
                let (first, second) = (rule.best([*a, *b], false), rule.best([*b, *a], false));
                // Of equals the first, whichever that is.
                assert!(first == Some(0) || second == Some(0));
                if a.origin == Origin::Received && a.status.code() >= 600 && b.status.code() < 600 {
                    assert_eq!(first, Some(0), "{rule:?} {a:?} {b:?}");
                }
                if rule == Preference::Rfc3261 && a.origin == Origin::Received && b.origin != a.origin {
                    assert_eq!(first, Some(0));
                }
            }
        }
    }
}
