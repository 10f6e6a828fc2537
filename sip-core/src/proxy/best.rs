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
                    // What says least, and what is this search's own affair: a flow that has failed (RFC 5626 §11.5), a second way to one callee.
                    408 | 430 | 482 | 503 => 3,
                    _ => 2,
                };
                // What the caller has cancelled before it was sent is cancelled.
                let heard = origin == Origin::Received || cancelled && origin == Origin::Cancelled;
                let unheard = u16::from(!heard);
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
