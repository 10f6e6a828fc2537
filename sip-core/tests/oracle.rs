//! Random walks: an endpoint against the pure machines, which `fsm_tables.rs` holds to the tables. Every pair of state and event that
//! does anything is hit, over both kinds of transport.

#[path = "support/walk.rs"]
mod walk;

use sip_core::Reliability::{Reliable, Unreliable};
use std::collections::BTreeSet;
use walk::{KINDS, Kind, all_pairs};

/// What no walk of one machine can reach: over a connection some states are over at once; before anything was sent nothing can fail; and
/// the automatic 100 goes out long before a guard ends, and when a 100 of the user's is due.
fn out_of_reach(kind: Kind, pair: &str) -> bool {
    let at_once = match kind {
        Kind::Ict => pair.contains("Reliable Ict(Completed)"),
        Kind::Nict => pair.contains("Reliable Nict(Completed)"),
        Kind::Ist => pair.contains("Reliable Ist(Confirmed)"),
        Kind::Nist => pair.contains("Reliable Nist(Completed)"),
    };
    let unsent = pair.contains("Ist(Proceeding { answered: false }) Error")
        || pair.contains("Ist(Proceeding { answered: false }) Timer(UnansweredInvite)")
        || pair.contains("Nist(Trying) Error")
        || pair.contains("Unreliable Nist(Trying) 100")
        || pair.contains("Nist(Trying) Timer(Unanswered)");
    // A connection is lost where there is one.
    unsent
        || pair.starts_with("Reliable") && at_once
        || pair.starts_with("Unreliable") && pair.ends_with("Lost")
}

#[test]
fn endpoints_walk_like_the_tables() {
    for kind in KINDS {
        for on in [Unreliable, Reliable] {
            let mut hit = BTreeSet::new();
            for seed in 0..1_500_u64 {
                let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66_D000_0005;
                let mut choose = |below: u32| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 33) as u32 % below
                };
                hit.extend(walk::walk(kind, on, 60, &mut choose));
            }
            let missed: Vec<_> = all_pairs(kind, on)
                .into_iter()
                .filter(|pair| !hit.contains(pair) && !out_of_reach(kind, pair))
                .collect();
            assert!(missed.is_empty(), "{kind:?} never walked {missed:#?}");
        }
    }
}
