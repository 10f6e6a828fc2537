//! Which server transaction a request belongs to (RFC 3261 §17.2.3, §8.2.2.2).
//!
//! Client transactions need no table: the branch that we mint names the slot. The peer picks what server transactions
//! are found by, so their keys are hashed under a secret key, and the 128 bits of the hash are the key.

use super::record::Key128;
use crate::config::Matching;
use crate::message::{Message, Method};
use crate::random::KeyedHash;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use hashbrown::HashTable;

/// From the hash of a key to the place of who has it. The keys stand with those who have them, so an entry is 8 bytes; half of
/// the hash stands here too, so that growing touches nothing else.
#[derive(Default)]
pub(crate) struct Index(HashTable<(u32, u32)>);

impl Index {
    /// The place with this hash that has the key, by `is`.
    pub(crate) fn get(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        let half = hash as u32;
        self.0.find(spread(half), |entry| entry.0 == half && is(entry.1)).map(|entry| entry.1)
    }

    /// The places with this hash.
    pub(crate) fn all(&self, hash: u64) -> impl Iterator<Item = u32> {
        let half = hash as u32;
        self.0.iter_hash(spread(half)).filter(move |entry| entry.0 == half).map(|entry| entry.1)
    }

    /// How many places have this hash.
    pub(crate) fn count(&self, hash: u64) -> usize {
        self.all(hash).count()
    }

    /// Enters a place.
    pub(crate) fn insert(&mut self, hash: u64, place: u32) {
        self.0.insert_unique(spread(hash as u32), (hash as u32, place), |entry| spread(entry.0));
    }

    /// Takes a place out, if it is there.
    pub(crate) fn remove(&mut self, hash: u64, place: u32) {
        if let Ok(entry) = self.0.find_entry(spread(hash as u32), |entry| entry.1 == place) {
            entry.remove();
        }
    }
}

/// The table takes its buckets from the low bits and its tags from the high ones.
fn spread(half: u32) -> u64 {
    u64::from(half) << 32 | u64::from(half)
}

/// A cache from the hash of something to the places of those who had it lately, four to a set: nothing has to be taken out. Who finds a
/// place asks there whether it is the right one still; what is not found has only to be looked for elsewhere.
#[derive(Default)]
pub(crate) struct Recent {
    /// As many as a power of two. The latest of a set comes first.
    sets: Vec<[(u32, u32); 4]>,
}

impl Recent {
    const NOBODY: (u32, u32) = (0, u32::MAX);

    /// A place to ask at.
    pub(crate) fn get(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        let set = self.sets.get(self.set_of(hash as u32))?;
        set.iter().find(|entry| entry.0 == hash as u32 && is(entry.1)).map(|entry| entry.1)
    }

    /// Enters a place; the oldest of its set is forgotten. The cache has room for `all` places at least, and never shrinks.
    pub(crate) fn insert(&mut self, hash: u64, place: u32, all: usize) {
        if self.sets.len() * 4 < all {
            let length = (all / 4).next_power_of_two().max(16);
            let old = core::mem::replace(&mut self.sets, vec![[Self::NOBODY; 4]; length]);
            let known = old.iter().flat_map(|set| set.iter().rev()).filter(|entry| **entry != Self::NOBODY);
            known.for_each(|(hash, place)| self.enter(*hash, *place));
        }
        self.enter(hash as u32, place);
    }

    fn enter(&mut self, hash: u32, place: u32) {
        let set = self.set_of(hash);
        if let Some([first, second, third, fourth]) = self.sets.get_mut(set) {
            (*first, *second, *third, *fourth) = ((hash, place), *first, *second, *third);
        }
    }

    fn set_of(&self, hash: u32) -> usize {
        hash as usize & self.sets.len().wrapping_sub(1)
    }
}

/// The keys of INVITEs that were cancelled before they came, a bounded number of them.
#[derive(Default)]
pub(super) struct EarlyCancels {
    known: BTreeSet<Key128>,
    /// In the order in which they came; those that have been taken since among them.
    order: VecDeque<Key128>,
}

impl EarlyCancels {
    /// Remembers one; of more than `most` the oldest is forgotten.
    pub(super) fn insert(&mut self, key: Key128, most: usize) {
        if most > 0 && self.known.insert(key) {
            let surplus = (self.order.len() + 1).saturating_sub(most);
            for old in self.order.drain(..surplus) {
                self.known.remove(&old);
            }
            self.order.push_back(key);
        }
    }

    /// Whether this one was cancelled; it is forgotten with that.
    pub(super) fn take(&mut self, key: Key128) -> bool {
        self.known.remove(&key)
    }
}

/// How a request is matched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rule {
    /// By branch, sent-by and method.
    Branch,
    /// By the rules of RFC 2543.
    Rfc2543,
}

/// Which rule a request falls under: the branch begins with the magic cookie and has something behind it.
///
/// The cookie is compared without case, as tokens are (RFC 3261 §7.3.1); the bare cookie names nothing, so it is matched
/// as if there were no branch (RFC 4475 §3.2.1).
pub(crate) fn rule(request: &Message<'_>) -> Rule {
    match request.branch().and_then(|branch| branch.split_at_checked(7)) {
        Some((cookie, [_, ..])) if cookie.eq_ignore_ascii_case(b"z9hG4bK") => Rule::Branch,
        _ => Rule::Rfc2543,
    }
}

/// The key of a request as if its method were `method`, and for RFC 2543 its To tag `to_tag`.
///
/// RFC 3261 §17.2.3: branch, sent-by and method. An absent port equals the default one, and hosts compare
/// without case; branches are tokens and do too. The CSeq number is one more: a client that uses a branch again for another
/// request is wrong, but to take its request for a copy would lose it.
///
/// By the rules of RFC 2543: Call-ID, From tag, To tag, CSeq number, method and the top Via. The Request-URI is compared by the
/// caller, because a URI has no one spelling. All that a peer could vary is in the key, so that it can't fill one place of the table.
pub(crate) fn key(
    hash: &KeyedHash,
    matching: Matching,
    rule: Rule,
    request: &Message<'_>,
    method: Method<'_>,
    to_tag: Option<&[u8]>,
) -> u128 {
    let via = request.via();
    let port = via.port.map_or_else(|| default_port(via.transport), core::num::NonZero::get);
    // Rule, port and number in one.
    let numbers = |rule: u8| {
        let port = if rule == b'2' && !matching.via { 0 } else { port };
        let ([p, q], [a, b, c, d]) = (port.to_be_bytes(), request.cseq().number.to_be_bytes());
        [rule, p, q, a, b, c, d]
    };
    let sent_by = [via.host, request.branch().unwrap_or_default()];
    let method = method.as_bytes();
    let from_tag = request.from_tag().unwrap_or_default();
    match rule {
        Rule::Branch if matching.call_id => {
            hash.hash(&sent_by, &[&numbers(b'c'), method, request.call_id(), from_tag])
        }
        Rule::Branch => hash.hash(&sent_by, &[&numbers(b'b'), method]),
        Rule::Rfc2543 => {
            let sent_by = if matching.via { sent_by } else { [b"".as_slice(); 2] };
            let to_tag = to_tag.unwrap_or_default();
            hash.hash(&sent_by, &[&numbers(b'2'), method, request.call_id(), from_tag, to_tag])
        }
    }
}

fn default_port(transport: &[u8]) -> u16 {
    if transport.eq_ignore_ascii_case(b"TLS") { 5061 } else { 5060 }
}

/// RFC 3261 §8.2.2.2: what a request and its copy by another path have in common; never zero.
pub(crate) fn merge_key(hash: &KeyedHash, request: &Message<'_>) -> u64 {
    let cseq = request.cseq();
    let from_tag = request.from_tag().unwrap_or_default();
    let parts = [from_tag, request.call_id(), &cseq.number.to_be_bytes(), cseq.method.as_bytes()];
    (hash.of(&parts) as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that hash functions could give.
    fn hash(number: u32) -> u64 {
        u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
    }

    #[test]
    fn what_came_lately_is_found() {
        for all in [1, 65, 128, 5_000] {
            let mut recent = Recent::default();
            for place in 0..all * 3 {
                recent.insert(hash(place), place, place.min(all) as usize + 1);
            }
            // As many live as there is room for: few of those that came last are forgotten, and none of the very last.
            let found = |from: u32| {
                (from..all * 3).filter(|place| recent.get(hash(*place), |_| true) == Some(*place))
            };
            assert!(found(all * 2).count() as u32 * 100 >= all * 80, "{all}: {}", found(all * 2).count());
            let last = all.div_ceil(10);
            assert!(found(all * 3 - last).count() as u32 * 100 >= last * 98, "{all}");
            assert_eq!(recent.get(hash(all * 3), |_| true), None);
            assert_eq!(recent.get(hash(all * 3 - 1), |_| false), None);
        }
    }

    #[test]
    fn nothing_is_lost_when_it_grows() {
        let mut recent = Recent::default();
        for place in 0..4 {
            recent.insert(0, place, 1);
        }
        recent.insert(hash(9), 9, 1_000);
        for place in 0..4 {
            assert_eq!(recent.get(0, |found| found == place), Some(place));
        }
    }
}
