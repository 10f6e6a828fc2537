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

/// By what rule the best of several outcomes is found. The texts leave much of it open, and what users hear of a call that failed depends on it: who
/// takes the place of another proxy can keep its rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Preference {
    /// RFC 3261 §16.7: a 6xx, else the lowest class, and in that what the caller can mend; anything that was received is better than what
    /// nobody said.
    #[default]
    Rfc3261,
    /// Kamailio's `tm`: as the RFC, but plain numbers within a class, and what nobody said counts as if it had been received.
    Kamailio,
    /// OpenSIPS' `tm`: as Kamailio, but a 408 is worse than any 5xx but 503, and a 487 the best where the caller has cancelled.
    OpenSips,
    /// repro's: by how easily the caller can mend it, and then by how much it says.
    Repro,
}

impl Preference {
    /// The place of the best of these outcomes; of equals the first. None of nothing. `cancelled`: the caller does not want the call any more.
    pub fn best(self, outcomes: impl IntoIterator<Item = Outcome>, cancelled: bool) -> Option<usize> {
        let ranked = outcomes.into_iter().map(|outcome| self.rank(outcome, cancelled)).enumerate();
        ranked.min_by_key(|(place, rank)| (*rank, *place)).map(|(place, _)| place)
    }

    /// How good an outcome is; less is better.
    fn rank(self, Outcome { status, origin }: Outcome, cancelled: bool) -> u16 {
        let code = status.code();
        match self {
            Self::Rfc3261 => {
                let class = if code >= 600 { 0 } else { code / 100 };
                let within = match code {
                    // Who has cancelled wants to hear that it is.
                    487 if cancelled => 0,
                    _ if is_mendable(code) => 1,
                    // What says least.
                    408 | 503 => 3,
                    _ => 2,
                };
                let unheard = u16::from(origin != Origin::Received);
                unheard * 100 + class * 10 + within
            }
            Self::Kamailio => {
                // Of a call that was cancelled it says so itself.
                let code = if cancelled && origin != Origin::Received { 487 } else { code };
                match code {
                    600.. => code % 100,
                    400..=499 if !is_mendable(code) => 4_100 + code % 100,
                    _ => code / 100 * 1_000 + code % 100,
                }
            }
            Self::OpenSips => match code {
                487 if cancelled => 0,
                600.. => code - 300,
                300..=399 => code + 100,
                401 => 500,
                407 => 501,
                415 => 502,
                420 => 503,
                484 => 504,
                408 => 800,
                503 => 801,
                _ => code + 200,
            },
            Self::Repro => match code {
                600.. => 0,
                412 => 1,
                484 => 2,
                422 | 423 => 3,
                401 | 407 => 4,
                300..=399 => 5,
                402 => 6,
                493 => 10,
                420 => 12,
                406 | 415 | 488 => 13,
                416 | 417 => 20,
                405 | 501 => 21,
                580 => 22,
                485 => 23,
                428 | 429 | 494 => 24,
                413 | 414 => 25,
                421 => 26,
                486 => 30,
                480 => 31,
                410 => 32,
                436 | 437 | 513 => 33,
                403 => 34,
                404 => 35,
                487 => 36,
                482 | 483 => 41,
                500..=502 | 504.. => 42,
                408 => 49,
                _ => 43,
            },
        }
    }
}

/// What the caller can mend by sending its request again.
const fn is_mendable(code: u16) -> bool {
    matches!(code, 401 | 407 | 415 | 420 | 484)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

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
                    assert!(rule.rank(*a, false) == rule.rank(*b, false) || first != second);
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
}
