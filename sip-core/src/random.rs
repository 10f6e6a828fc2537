//! Everything random in the core comes from here, and all of it from one seed.

use crate::transport::PackedAddr;
use chacha20::ChaCha8Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use core::hash::{Hash, Hasher};
use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use siphasher::sip128::{Hasher128, SipHasher13};

/// The seed of a machine. The same seed, configuration and inputs give the same output bytes.
///
/// Branches, tags and Call-IDs are drawn from it, and the keys of the hash tables that peers can aim at:
/// outside of simulations it must come from the system's entropy.
pub type Seed = [u8; 32];

/// The stream of random numbers of one machine (ChaCha8).
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    pub(crate) fn new(seed: Seed) -> Self {
        Self(ChaCha8Rng::from_seed(seed))
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A new seed for a [`BytesHash`].
    pub(crate) fn bytes_hash(&mut self) -> BytesHash {
        BytesHash { seed: self.u64(), shared: SharedSeed::from_u64(self.u64()) }
    }

    /// A new key for a [`KeyedHash`].
    pub(crate) fn hash_key(&mut self) -> KeyedHash {
        let mut key = [0; 16];
        self.0.fill_bytes(&mut key);
        KeyedHash(SipHasher13::new_with_key(&key))
    }
}

/// A fast hash of whole datagrams under a secret seed. Who could find two of one hash could have a datagram of his own taken for
/// a copy of another one of his own: the sender is hashed too.
pub(crate) struct BytesHash {
    seed: u64,
    shared: SharedSeed,
}

impl BytesHash {
    /// The hash of a datagram and its sender; never zero.
    pub(crate) fn of(&self, data: &[u8], from: PackedAddr) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        from.hash(&mut hasher);
        hasher.write(data);
        hasher.finish().max(1)
    }
}

/// SipHash-1-3 with 128 bits of output under a secret key.
///
/// With a secret key a peer can't find two inputs of equal hash, and by chance none will meet in 2^64 keys:
/// the hash *is* the key of a table, and no entry has to keep what it was made from.
#[derive(Clone, Copy)]
pub(crate) struct KeyedHash(SipHasher13);

impl KeyedHash {
    /// Hashes the parts; each is closed by its length, so that no two lists of parts run together.
    pub(crate) fn of(&self, parts: &[&[u8]]) -> u128 {
        let mut hasher = self.0;
        for part in parts {
            hasher.write(part);
            hasher.write(&(part.len() as u32).to_le_bytes());
        }
        hasher.finish128().as_u128()
    }

    /// The lower half: enough where a wrong match is no harm.
    pub(crate) fn short(&self, parts: &[&[u8]]) -> u64 {
        self.of(parts) as u64
    }

    /// The same over ASCII lower case, for parts that compare without case.
    pub(crate) fn of_lower(&self, parts: &[&[u8]]) -> u128 {
        let mut hasher = self.0;
        for part in parts {
            let mut chunks = part.chunks(64);
            for chunk in &mut chunks {
                let mut lower = [0; 64];
                let Some(lower) = lower.get_mut(..chunk.len()) else { continue };
                lower.copy_from_slice(chunk);
                lower.make_ascii_lowercase();
                hasher.write(lower);
            }
            hasher.write(&(part.len() as u32).to_le_bytes());
        }
        hasher.finish128().as_u128()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_fixed_by_its_seed() {
        let mut random = Random::new([7; 32]);
        let first = random.u64();
        assert_eq!(first, Random::new([7; 32]).u64());
        assert_ne!(first, random.u64());
        assert_ne!(first, Random::new([8; 32]).u64());
    }

    #[test]
    fn parts_do_not_run_together() {
        let hash = Random::new([7; 32]).hash_key();
        assert_ne!(hash.of(&[b"ab", b"c"]), hash.of(&[b"a", b"bc"]));
        assert_ne!(hash.of(&[b"ab"]), hash.of(&[b"AB"]));
        assert_eq!(hash.of_lower(&[b"aB"]), hash.of_lower(&[b"Ab"]));
        assert_eq!(hash.of_lower(&[b"ab"]), hash.of(&[b"ab"]));
    }
}
