//! The only file that asks the operating system for random bytes.

use std::io;

/// A seed for everything random that the core does.
///
/// # Errors
/// If the operating system has none to give; a server whose session ids can be guessed must not start.
pub(crate) fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
}

/// A key for hash tables, so that clients cannot choose names that collide.
///
/// # Errors
/// As [`seed`].
pub(crate) fn hash_seed() -> io::Result<[u64; 4]> {
    let seed = seed()?;
    let (words, _) = seed.as_chunks::<8>();
    Ok(std::array::from_fn(|index| u64::from_ne_bytes(words[index])))
}

#[cfg(test)]
mod tests {
    #[test]
    fn seeds_differ() {
        assert_ne!(super::seed().unwrap(), super::seed().unwrap());
    }
}
