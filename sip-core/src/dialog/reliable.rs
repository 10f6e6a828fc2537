//! Reliable provisional responses (RFC 3262): the numbers of both sides.

use crate::headers::{RAck, RSeq, Require};
use crate::message::{Message, Method};

/// What a provisional response is to the one who receives it (§4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// It is not reliable: nothing is to be acknowledged.
    Unreliable,
    /// The next one, or the first: a PRACK is sent.
    Next,
    /// Sent again, or ahead of one that is missing: discarded.
    Discarded,
}

/// The RSeq of a provisional response that was sent reliably; a 100 never is.
pub(crate) fn rseq(response: &Message<'_>) -> Option<u32> {
    let required = response.all::<Require<'_>>().map_while(Result::ok).any(|tag| tag.is("100rel"));
    let number = response.get::<RSeq>().ok().flatten()?.0;
    (required && number > 0 && (101..200).contains(&response.status_code())).then_some(number)
}

/// Where the response stands after the last one that was acknowledged, which it becomes if it is the next.
pub(crate) fn take(last: &mut Option<u32>, response: &Message<'_>) -> Order {
    let Some(number) = rseq(response) else { return Order::Unreliable };
    if last.is_some_and(|last| last.wrapping_add(1) != number) {
        return Order::Discarded;
    }
    *last = Some(number);
    Order::Next
}

/// The first RSeq of a response, from a random number: 1 to 2^31 - 1 (§3).
pub(crate) const fn first(random: u64) -> u32 {
    (random as u32 & 0x7fff_ffff).saturating_sub(1) + 1
}

/// Whether a PRACK acknowledges this response to this INVITE.
pub(crate) fn acknowledges(prack: &Message<'_>, rseq: u32, cseq: u32) -> bool {
    let wanted = RAck { rseq, cseq, method: Method::Invite };
    prack.get::<RAck<'_>>().is_ok_and(|found| found == Some(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_leaves_room() {
        for random in [0, 1, u64::MAX, 0x8000_0000, 0x7fff_ffff, 0xffff_ffff_0000_0000] {
            assert!((1..0x8000_0000).contains(&first(random)), "{random:x}");
        }
    }
}
