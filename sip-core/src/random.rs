//! Everything random in the core comes from here, and all of it from one seed.

#[cfg(feature = "snapshot")]
use crate::snapshot::{In, Keep, Out, RestoreError};
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
        BytesHash::of_seeds((self.u64(), self.u64()))
    }

    /// A new key for a [`KeyedHash`].
    pub(crate) fn hash_key(&mut self) -> KeyedHash {
        let mut key = [0; 16];
        self.0.fill_bytes(&mut key);
        KeyedHash::new(&key)
    }
}

/// A fast hash of whole datagrams with their sender, under a secret seed of 128 bits: what has the same hash is taken for the same
/// datagram. It is no cryptographic hash; its seed never leaves the machine, and nothing that a peer sees depends on its values.
pub(crate) struct BytesHash {
    seed: u64,
    shared: SharedSeed,
    /// What both are made of.
    #[cfg(feature = "snapshot")]
    made_of: (u64, u64),
}

impl BytesHash {
    fn of_seeds(made_of: (u64, u64)) -> Self {
        Self {
            seed: made_of.0,
            shared: SharedSeed::from_u64(made_of.1),
            #[cfg(feature = "snapshot")]
            made_of,
        }
    }

    /// The hash of something; never zero.
    pub(crate) fn of(&self, what: impl Hash) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        what.hash(&mut hasher);
        hasher.finish().max(1)
    }
}

/// SipHash-1-3 with 128 bits of output under a secret key.
///
/// With a secret key a peer can't find two inputs of equal hash, and by chance none will meet in 2^64 keys:
/// the hash *is* the key of a table, and no entry has to keep what it was made from.
#[derive(Clone, Copy)]
pub(crate) struct KeyedHash(SipHasher13);

#[cfg(feature = "snapshot")]
/// What is found by a hash is found again only by the same.
impl Keep for KeyedHash {
    fn keep(&self, out: &mut Out<'_>) {
        out.bytes(&self.0.key());
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        let key = from.bytes()?.try_into().map_err(|_| RestoreError::Damaged)?;
        Ok(Self(SipHasher13::new_with_key(&key)))
    }
}

#[cfg(feature = "snapshot")]
impl Keep for BytesHash {
    fn keep(&self, out: &mut Out<'_>) {
        self.made_of.keep(out);
    }

    fn back(from: &mut In<'_>) -> Result<Self, RestoreError> {
        Keep::back(from).map(Self::of_seeds)
    }
}

impl KeyedHash {
    /// Hashes the parts; each is closed by its length, so that no two lists of parts run together.
    pub(crate) fn new(key: &[u8; 16]) -> Self {
        Self(SipHasher13::new_with_key(key))
    }

    pub(crate) fn of(&self, parts: &[&[u8]]) -> u128 {
        self.hash(&[], parts)
    }

    /// The same, the first parts in ASCII lower case: they compare without case.
    pub(crate) fn hash(&self, lower: &[&[u8]], parts: &[&[u8]]) -> u128 {
        let mut hasher = Gather { hasher: self.0, bytes: [0; 128], length: 0 };
        for part in lower {
            hasher.write(part, true);
        }
        for part in parts {
            hasher.write(part, false);
        }
        hasher.finish()
    }
}

/// Collects small parts, because a hasher takes one large one faster than many small ones.
struct Gather {
    hasher: SipHasher13,
    bytes: [u8; 128],
    length: usize,
}

impl Gather {
    fn write(&mut self, part: &[u8], lower: bool) {
        let length = (part.len() as u32).to_le_bytes();
        // Nearly always part and length fit behind what is there.
        let end = self.length + part.len();
        if let Some((place, behind)) = self
            .bytes
            .get_mut(self.length..)
            .and_then(|rest| rest.split_at_mut_checked(part.len()))
            .and_then(|(place, rest)| Some((place, rest.first_chunk_mut::<4>()?)))
        {
            copy(place, part, lower);
            *behind = length;
            self.length = end + length.len();
            return;
        }
        for chunk in part.chunks(self.bytes.len()) {
            self.push(chunk, lower);
        }
        self.push(&length, false);
    }

    fn push(&mut self, chunk: &[u8], lower: bool) {
        self.flush();
        if let Some(place) = self.bytes.get_mut(..chunk.len()) {
            copy(place, chunk, lower);
            self.length = chunk.len();
        }
    }

    fn flush(&mut self) {
        self.hasher.write(self.bytes.get(..self.length).unwrap_or_default());
        self.length = 0;
    }

    fn finish(mut self) -> u128 {
        self.flush();
        self.hasher.finish128().as_u128()
    }
}

/// Copies bytes to a place of their length.
fn copy(place: &mut [u8], bytes: &[u8], lower: bool) {
    if lower {
        place.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte.to_ascii_lowercase());
    } else {
        place.copy_from_slice(bytes);
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
        assert_eq!(hash.hash(&[b"aB"], &[b"c"]), hash.hash(&[b"Ab"], &[b"c"]));
        assert_eq!(hash.hash(&[b"ab"], &[]), hash.of(&[b"ab"]));
        assert_ne!(hash.of(&[&[7; 300]]), hash.of(&[&[7; 301]]));
    }
}
