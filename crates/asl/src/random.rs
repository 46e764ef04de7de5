//! Randomness: one seed a step comes from outside, everything else is derived from it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// 32 bytes that one step derives its task tokens, jitter, UUIDs and random numbers from.
///
/// Seeds are recorded with the step, so a replay draws the same values. Task tokens are as
/// unguessable as the seeds are: give real entropy in production.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Tokens can be derived from a seed, so it stays out of logs.
        f.write_str("Seed(..)")
    }
}

impl Serialize for Seed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0u8; 32];
        hex::decode_to_slice(&text, &mut bytes).map_err(serde::de::Error::custom)?;
        Ok(Seed(bytes))
    }
}

/// Where seeds come from.
pub trait RandomSource {
    /// The next seed; called once for each accepted step.
    fn seed(&mut self) -> Seed;
}

/// A reproducible source: the n-th seed is a hash of the given number and n. For tests,
/// simulations and the virtual clock; its tokens are guessable.
#[derive(Debug, Clone)]
pub struct CountingSource {
    base: u64,
    next: u64,
}

impl CountingSource {
    /// A source whose seeds depend only on `base`.
    pub fn new(base: u64) -> Self {
        CountingSource { base, next: 0 }
    }
}

impl RandomSource for CountingSource {
    fn seed(&mut self) -> Seed {
        let mut hash = Sha256::new();
        hash.update(self.base.to_le_bytes());
        hash.update(self.next.to_le_bytes());
        self.next += 1;
        Seed(hash.finalize().into())
    }
}

/// Draws of one step: SHA-256 of the seed and a counter.
pub(crate) struct Draw {
    seed: Seed,
    counter: u64,
}

impl Draw {
    pub(crate) fn new(seed: Seed) -> Self {
        Draw { seed, counter: 0 }
    }

    fn block(&mut self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.seed.0);
        hash.update(self.counter.to_le_bytes());
        self.counter += 1;
        hash.finalize().into()
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        let block = self.block();
        let mut word = [0u8; 8];
        word.copy_from_slice(&block[..8]);
        u64::from_le_bytes(word)
    }

    /// A number in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A version 4 UUID.
    pub(crate) fn uuid(&mut self) -> String {
        let mut bytes = [0u8; 16];
        bytes.copy_from_slice(&self.block()[..16]);
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let text = hex::encode(bytes);
        format!(
            "{}-{}-{}-{}-{}",
            &text[..8],
            &text[8..12],
            &text[12..16],
            &text[16..20],
            &text[20..]
        )
    }

    /// A task token: 256 bits in hexadecimal.
    pub(crate) fn token(&mut self) -> String {
        hex::encode(self.block())
    }
}

/// The number `States.MathRandom` gives for a caller's seed: the same each time.
pub(crate) fn seeded_bits(seed: i64) -> u64 {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    let block: [u8; 32] = hash.finalize().into();
    let mut word = [0u8; 8];
    word.copy_from_slice(&block[..8]);
    u64::from_le_bytes(word)
}
