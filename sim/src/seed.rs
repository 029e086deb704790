//! One number decides everything: seeds, and the named streams of randomness drawn from them.
//!
//! Every concern (net, disk, clock, workload, faults, each node) draws from a stream of its own, so that switching
//! one fault off, or adding a draw in one place, leaves all other decisions where they were. That is what makes
//! shrinking a failure possible at all.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// What a whole run follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seed(pub u64);

impl Seed {
    /// The stream called `name`; `index` tells apart those of several nodes or clients.
    pub fn stream(self, name: &str, index: u64) -> Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.0.to_le_bytes());
        key[8..16].copy_from_slice(&fnv(name.as_bytes()).to_le_bytes());
        key[16..24].copy_from_slice(&index.to_le_bytes());
        Rng(ChaCha8Rng::from_seed(key))
    }

    /// The `index`-th seed of the family that begins here: what a base seed stands for in a run over many.
    pub fn nth(self, index: u64) -> Self {
        Self(self.0.wrapping_add(index))
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A text is neither a number nor a commit hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeedError;

impl fmt::Display for SeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a seed is a decimal number, a 0x number or a 40-digit commit hash")
    }
}

impl std::error::Error for SeedError {}

impl FromStr for Seed {
    type Err = SeedError;

    /// Reads a decimal number, a hexadecimal one after `0x`, or a commit hash, whose first 16 digits count.
    fn from_str(text: &str) -> Result<Self, SeedError> {
        if let Some(digits) = text.strip_prefix("0x") {
            return u64::from_str_radix(digits, 16).map(Self).map_err(|_| SeedError);
        }
        if text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return u64::from_str_radix(&text[..16], 16).map(Self).map_err(|_| SeedError);
        }
        text.parse().map(Self).map_err(|_| SeedError)
    }
}

/// What a binary logarithm in 1/1024, times 693, is out of to be a natural one.
const LOG2_UNIT: u64 = 1_024_000;

/// A stream of randomness. Integers only: a run must not depend on how a platform rounds a logarithm.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// Any number.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`, which is at least 1. The bias of the multiplication is of no interest here.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing is below zero");
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "an empty range");
        match (high - low).checked_add(1) {
            Some(width) => low + self.below(width),
            None => self.bits(),
        }
    }

    /// An index into something of `len` elements.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True `per_million` times in a million.
    pub fn chance(&mut self, per_million: u32) -> bool {
        // The draw happens whatever the odds are, so that odds of zero shift nothing that is drawn later.
        self.below(1_000_000) < u64::from(per_million)
    }

    /// One of `choices`.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.index(choices.len())]
    }

    /// One of `choices`, each in proportion to its weight, of which one at least is not zero.
    pub fn weighted<T: Copy>(&mut self, choices: &[(T, u32)]) -> T {
        let total: u64 = choices.iter().map(|&(_, weight)| u64::from(weight)).sum();
        let mut left = self.below(total);
        for &(choice, weight) in choices {
            if left < u64::from(weight) {
                return choice;
            }
            left -= u64::from(weight);
        }
        unreachable!("the draw is below the sum of the weights")
    }

    /// A duration between both, both included.
    pub fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        Duration::from_nanos(self.within(low.as_nanos() as u64, high.as_nanos() as u64))
    }

    /// A duration distributed exponentially around `mean`, by a piecewise linear logarithm.
    pub fn exponential(&mut self, mean: Duration) -> Duration {
        let bits = self.bits() | 1;
        let zeros = u64::from(bits.leading_zeros());
        // -log2 of the draw in 1/1024: whole part from the leading zeros, the rest linear in the next ten bits.
        let fraction = 1023 - ((bits << zeros) >> 53 & 1023);
        let log2 = zeros * 1024 + fraction;
        // The mean times 0.693 (the natural logarithm of 2) times the draw, whole parts apart so that 64 bits are enough.
        let (mean, factor) = (mean.as_nanos() as u64, log2 * 693);
        Duration::from_nanos(mean / LOG2_UNIT * factor + mean % LOG2_UNIT * factor / LOG2_UNIT)
    }

    /// A seed for something that has randomness of its own.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        seed
    }
}

/// FNV-1a over 64 bits: names of streams and trace hashes, where nobody chooses the input with ill intent.
pub fn fnv(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for &byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_independent_and_repeatable() {
        let draw = |name: &str, index| Seed(7).stream(name, index).bits();
        assert_eq!(draw("disk", 0), draw("disk", 0));
        assert_ne!(draw("disk", 0), draw("disk", 1));
        assert_ne!(draw("disk", 0), draw("net", 0));
        assert_ne!(Seed(8).stream("disk", 0).bits(), draw("disk", 0));
    }

    #[test]
    fn seeds_are_read_in_three_spellings() {
        assert_eq!("17".parse(), Ok(Seed(17)));
        assert_eq!("0x1f".parse(), Ok(Seed(31)));
        assert_eq!("00000000000000ff89abcdef0123456789abcdef".parse(), Ok(Seed(255)));
        assert_eq!("seventeen".parse::<Seed>(), Err(SeedError));
    }

    #[test]
    fn exponential_keeps_its_mean() {
        let mut rng = Seed(1).stream("test", 0);
        let mean = Duration::from_millis(10);
        let sum: Duration = (0..20_000).map(|_| rng.exponential(mean)).sum();
        let measured = sum / 20_000;
        assert!(
            measured > Duration::from_micros(9_500) && measured < Duration::from_micros(10_500),
            "{measured:?}"
        );
    }

    #[test]
    fn what_weighs_more_is_chosen_more_often() {
        let mut rng = Seed(1).stream("test", 0);
        let mut counts = [0; 3];
        (0..4_000).for_each(|_| counts[rng.weighted(&[(0, 1), (1, 0), (2, 3)])] += 1);
        assert!((900..1_100).contains(&counts[0]), "{counts:?}");
        assert_eq!((counts[1], counts[0] + counts[2]), (0, 4_000));
    }

    #[test]
    fn chances_draw_even_when_impossible() {
        let mut with = Seed(1).stream("test", 0);
        let mut without = with.clone();
        with.chance(500_000);
        assert!(!without.chance(0));
        assert_eq!(with.bits(), without.bits());
    }
}
