//! Which server transaction a request belongs to (RFC 3261 §17.2.3, §8.2.2.2).
//!
//! Client transactions need no table: the branch that we mint names the slot. The peer picks what server transactions
//! are found by, so their keys are hashed under a secret key, and the 128 bits of the hash are the key.

use crate::message::{Message, Method};
use crate::random::{BytesHash, KeyedHash};
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

    /// How many places have this hash.
    pub(crate) fn count(&self, hash: u64) -> usize {
        self.0.iter_hash(spread(hash as u32)).filter(|entry| entry.0 == hash as u32).count()
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

/// A cache from the hash of something to the place of who had it last: one look, and nothing to take out. Who finds a place asks
/// there whether it is the right one still; what is not found has only to be looked for elsewhere.
#[derive(Default)]
pub(crate) struct Recent(Vec<(u32, u32)>);

impl Recent {
    /// A place to ask at.
    pub(crate) fn get(&self, hash: u64) -> Option<u32> {
        let (known, place) = *self.0.get(hash as usize & self.0.len().wrapping_sub(1))?;
        (known == hash as u32).then_some(place)
    }

    /// Enters a place; who stood there before is forgotten. The cache has room for `all` places, and never shrinks.
    pub(crate) fn insert(&mut self, hash: u64, place: u32, all: usize) {
        if self.0.len() < all {
            let length = all.next_power_of_two().max(64);
            for (hash, place) in core::mem::replace(&mut self.0, vec![(0, u32::MAX); length]) {
                self.set(hash, place);
            }
        }
        self.set(hash as u32, place);
    }

    fn set(&mut self, hash: u32, place: u32) {
        let at = hash as usize & self.0.len().wrapping_sub(1);
        if let Some(entry) = self.0.get_mut(at) {
            *entry = (hash, place);
        }
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
    rule: Rule,
    request: &Message<'_>,
    method: Method<'_>,
    to_tag: Option<&[u8]>,
) -> u128 {
    let via = request.via();
    let port = via.port.map_or_else(|| default_port(via.transport), core::num::NonZero::get);
    // Rule, port and number in one.
    let numbers = |rule: u8| {
        let ([p, q], [a, b, c, d]) = (port.to_be_bytes(), request.cseq().number.to_be_bytes());
        [rule, p, q, a, b, c, d]
    };
    let sent_by = [via.host, request.branch().unwrap_or_default()];
    let method = method.as_bytes();
    match rule {
        Rule::Branch => hash.hash(&sent_by, &[&numbers(b'b'), method]),
        Rule::Rfc2543 => {
            let from_tag = request.from_tag().unwrap_or_default();
            let to_tag = to_tag.unwrap_or_default();
            hash.hash(&sent_by, &[&numbers(b'2'), method, request.call_id(), from_tag, to_tag])
        }
    }
}

fn default_port(transport: &[u8]) -> u16 {
    if transport.eq_ignore_ascii_case(b"TLS") { 5061 } else { 5060 }
}

/// RFC 3261 §8.2.2.2: what a request and its copy by another path have in common; never zero.
pub(crate) fn merge_key(hash: &BytesHash, request: &Message<'_>) -> u64 {
    let cseq = request.cseq();
    let from_tag = request.from_tag().unwrap_or_default();
    hash.of((cseq.number, cseq.method, from_tag, request.call_id()))
}
