//! Randomness: one seed, and a stream of its own for every concern, so that a draw more in one does not shift the
//! others.

use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;

/// What randomness is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// In which order a client tries its servers, and how long it waits between.
    Connect = 4,
    /// Keys of hash tables, so that clients cannot choose colliding paths.
    Hash = 1,
    /// In which order an observer tries those whom it may learn from.
    LearnerMaster = 5,
    /// How long an observer waits before it comes back.
    ObserverDelay = 6,
    /// Where session ids go on after the clock went back.
    Session = 3,
    /// When the next snapshot is taken.
    Snapshot = 2,
}

/// The generator of one concern.
pub fn stream(seed: [u8; 32], stream: Stream) -> ChaCha12Rng {
    let mut rng = ChaCha12Rng::from_seed(seed);
    rng.set_stream(stream as u64);
    rng
}
