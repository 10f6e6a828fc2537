//! The best response (RFC 3261 §16.7, step 6): one pure function over what came of the branches.

use crate::message::Status;

/// What came of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The final response, or what stands for it.
    pub status: Status,
    /// Who said so.
    pub origin: Origin,
}

/// Where an outcome comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A response.
    Received,
    /// No final response came in time: a 408 (RFC 3261 §16.8).
    Timeout,
    /// It was cancelled before it was sent: a 487.
    Cancelled,
    /// The request could not be sent, or its connection is gone: a 503 (RFC 3261 §16.9).
    Transport,
}

impl Outcome {
    /// How good it is; less is better. Anything that was received is better than what nobody said. Who has cancelled wants to hear that it is.
    fn rank(self, cancelled: bool) -> (u8, u8) {
        let code = self.status.code();
        let class = match code / 100 {
            // A 6xx ends the search; else the lowest class wins.
            6 => 0,
            class => class as u8,
        };
        let within = match code {
            487 if cancelled => 0,
            // What the caller can mend by sending its request again.
            401 | 407 | 415 | 420 | 484 => 1,
            // What says least.
            408 | 503 => 3,
            _ => 2,
        };
        (if self.origin == Origin::Received { class } else { 10 + class }, within)
    }
}

/// The place of the best of these outcomes; of equals the first. None of nothing.
pub(super) fn best(outcomes: impl Iterator<Item = Outcome>, cancelled: bool) -> Option<usize> {
    let best = outcomes.enumerate().min_by_key(|(place, outcome)| (outcome.rank(cancelled), *place));
    best.map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn received(code: u16) -> Outcome {
        Outcome { status: Status::new(code).unwrap(), origin: Origin::Received }
    }

    fn local(code: u16) -> Outcome {
        Outcome { origin: Origin::Timeout, ..received(code) }
    }

    #[test]
    fn which_is_best() {
        for (outcomes, place) in [
            (&[received(404), received(302), received(500)][..], 1),
            (&[received(302), received(603)], 1),
            (&[received(404), received(407), received(401)], 1),
            (&[received(486), received(480)], 0),
            (&[received(408), received(486)], 1),
            (&[received(503), received(500)], 1),
            (&[local(408), received(486)], 1),
            (&[local(408), received(503)], 1),
            (&[local(503), local(408)], 1),
        ] {
            assert_eq!(best(outcomes.iter().copied(), false), Some(place), "{outcomes:?}");
        }
        assert_eq!(best([].into_iter(), false), None);
        let cancelled = [received(486), received(401), received(487)].into_iter();
        assert_eq!((best(cancelled.clone(), true), best(cancelled, false)), (Some(2), Some(1)));
    }

    /// No 6xx loses, what was received beats what was not, and the order decides only between equals.
    #[test]
    fn the_order_decides_only_between_equals() {
        let all: Vec<Outcome> = (300..700).flat_map(|code| [received(code), local(code)]).collect();
        for a in &all {
            for b in &all {
                let (first, second) = (best([*a, *b].into_iter(), false), best([*b, *a].into_iter(), false));
                assert!(a.rank(false) == b.rank(false) || first != second);
                if a.origin == Origin::Received && a.status.code() >= 600 && b.status.code() < 600 {
                    assert_eq!(first, Some(0));
                }
            }
        }
    }
}
