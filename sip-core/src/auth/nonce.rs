//! Nonces that nobody has to remember, and the counts seen with those that were used (RFC 7616 §3.3, §5.4).
//!
//! A nonce says when it was made and its number, and is sealed with a key: `time number seal`, in hexadecimal digits. What is kept is a
//! window of counts for each nonce that was used *with the right password*, so that nobody else can make it grow. When there are too many,
//! the oldest goes, and nonces that are not younger count as stale from then on.

use super::Side;
use super::digest::{equal, hex};
use crate::Instant;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;
use md5::Digest as _;
use sha2::Sha512_256;

/// When a nonce was made, in microseconds, and its number.
pub(super) type Id = (u64, u64);

pub(super) struct Nonces {
    key: [u8; 32],
    /// What is proven to a proxy is seen by others, who are not to open a registrar with it.
    side: Side,
    lifetime: Duration,
    made: u64,
    windows: BTreeMap<Id, Window>,
    /// Nonces up to this one that have no window had one once.
    forgotten: Option<Id>,
    max: usize,
}

/// The counts that were seen: the highest, and which of the 64 below it.
struct Window {
    highest: u32,
    seen: u64,
    /// The cnonce of the first request, if a session key was made with it; empty: none.
    cnonce: Box<[u8]>,
}

/// A longer cnonce is not kept: its session key is good for one request.
const LONGEST_CNONCE: usize = 128;

/// The digits of a time and of a number.
const HALF: usize = 16;

impl Nonces {
    pub(super) const fn new(key: [u8; 32], side: Side, lifetime: Duration, max: usize) -> Self {
        Self { key, side, lifetime, made: 0, windows: BTreeMap::new(), forgotten: None, max }
    }

    /// SHA-512-256 of key and text: its truncation is what keeps anybody from adding to the text.
    fn seal(&self, realm: &[u8], id: &[u8]) -> super::digest::Hex {
        let mut hash = Sha512_256::new();
        hash.update(self.key);
        hash.update(self.side.header());
        hash.update(id);
        hash.update(realm);
        hex(hash.finalize().get(..16).unwrap_or_default())
    }

    pub(super) fn mint(&mut self, now: Instant, realm: &[u8]) -> Vec<u8> {
        self.made = self.made.wrapping_add(1);
        let mut nonce = Vec::with_capacity(4 * HALF);
        crate::message::push_hex(&mut nonce, now.as_micros());
        crate::message::push_hex(&mut nonce, self.made);
        let seal = self.seal(realm, &nonce);
        nonce.extend_from_slice(&seal);
        nonce
    }

    /// Who a nonce is, if it is one of ours.
    pub(super) fn read(&self, nonce: &[u8], realm: &[u8]) -> Option<Id> {
        let (id, seal) = nonce.split_at_checked(2 * HALF)?;
        if !equal(seal, &self.seal(realm, id)) {
            return None;
        }
        let (time, number) = id.split_at_checked(HALF)?;
        let value = |digits| u64::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok();
        Some((value(time)?, value(number)?))
    }

    /// Whether a nonce may still be used. One of the future is of another clock.
    pub(super) fn is_fresh(&self, now: Instant, id: Id) -> bool {
        let made = Instant::from_micros(id.0);
        let known = self.windows.contains_key(&id) || self.forgotten.is_none_or(|last| id > last);
        made <= now && now.since(made) <= self.lifetime && known
    }

    /// The cnonce that the session key of this nonce was made with.
    pub(super) fn first_cnonce(&self, id: Id) -> Option<&[u8]> {
        self.windows.get(&id).map(|window| &*window.cnonce).filter(|cnonce| !cnonce.is_empty())
    }

    /// Takes a count; false if it was seen before, or is so low that nobody knows. With the first comes the cnonce that a session key is made with.
    pub(super) fn count(&mut self, now: Instant, id: Id, count: u32, cnonce: Option<&[u8]>) -> bool {
        if !self.windows.contains_key(&id) {
            self.make_room(now);
        }
        let cnonce = cnonce.filter(|cnonce| cnonce.len() <= LONGEST_CNONCE).unwrap_or_default();
        let window =
            self.windows.entry(id).or_insert_with(|| Window { highest: 0, seen: 1, cnonce: cnonce.into() });
        if count > window.highest {
            let by = count - window.highest;
            window.seen = window.seen.checked_shl(by).unwrap_or(0) | 1;
            window.highest = count;
            return true;
        }
        let bit = 1_u64.checked_shl(window.highest - count).unwrap_or(0);
        let new = bit != 0 && window.seen & bit == 0;
        window.seen |= bit;
        new
    }

    fn make_room(&mut self, now: Instant) {
        while let Some((id, _)) = self.windows.first_key_value() {
            let id = *id;
            if self.windows.len() < self.max && now.since(Instant::from_micros(id.0)) <= self.lifetime {
                return;
            }
            self.windows.remove(&id);
            self.forgotten = self.forgotten.max(Some(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_nonce_is_sealed_and_ages() {
        let mut nonces = Nonces::new([1; 32], Side::Server, Duration::from_secs(60), 10);
        let nonce = nonces.mint(at(5), b"r");
        assert_ne!(nonce, nonces.mint(at(5), b"r"), "no two clients count in one window");
        let id = nonces.read(&nonce, b"r").unwrap();
        assert_eq!(nonces.read(&nonce, b"other"), None);
        let mut forged = nonce.clone();
        forged[15] ^= 1;
        assert_eq!(nonces.read(&forged, b"r"), None);
        assert_eq!(nonces.read(&nonce[..63], b"r"), None);
        assert_eq!(nonces.read(b"", b"r"), None);
        assert!(!nonces.is_fresh(at(4), id), "of the future");
        assert!(nonces.is_fresh(at(5), id) && nonces.is_fresh(at(65), id));
        assert!(!nonces.is_fresh(at(66), id));
        // After a restart with the same key it is as good as before.
        assert_eq!(Nonces::new([1; 32], Side::Server, Duration::ZERO, 1).read(&nonce, b"r"), Some(id));
        assert_eq!(Nonces::new([2; 32], Side::Server, Duration::ZERO, 1).read(&nonce, b"r"), None);
    }

    #[test]
    fn a_count_is_taken_once() {
        let mut nonces = Nonces::new([1; 32], Side::Server, Duration::from_secs(60), 10);
        let mut take = |count| nonces.count(at(0), (0, 1), count, None);
        assert!(!take(0), "counts begin with one");
        assert!(take(1) && !take(1));
        // Over UDP they may overtake each other.
        assert!(take(4) && take(2) && take(3) && !take(2) && !take(4));
        assert!(take(100) && take(37) && !take(36), "further back than the window");
        assert!(take(u32::MAX) && !take(100));
    }

    /// A nonce that was made early and is used late does not bring back those that were forgotten before it.
    #[test]
    fn what_was_forgotten_stays_forgotten() {
        let mut nonces = Nonces::new([1; 32], Side::Server, Duration::from_secs(60), 2);
        let mut take = |id: u64| nonces.is_fresh(at(1), (0, id)) && nonces.count(at(1), (0, id), 1, None);
        assert!(take(5) && take(6));
        assert!(take(3), "5 goes");
        assert!(take(7), "3 goes");
        assert!(!take(5));
    }

    /// What was forgotten can't be told from what was never used: it is stale.
    #[test]
    fn the_oldest_window_goes() {
        let mut nonces = Nonces::new([1; 32], Side::Server, Duration::from_secs(60), 2);
        for id in 1..=3 {
            assert!(nonces.is_fresh(at(1), (0, id)));
            assert!(nonces.count(at(1), (0, id), 1, None));
        }
        assert!(!nonces.is_fresh(at(1), (0, 1)));
        assert!(nonces.is_fresh(at(1), (0, 2)) && nonces.is_fresh(at(1), (0, 3)));
        // Windows whose nonces have aged go before there is need.
        assert!(nonces.count(at(100), (100_000_000, 4), 1, None));
        assert_eq!(nonces.windows.len(), 1);
    }
}
