//! What was found out when a transaction was made, for when it is applied.

use super::digest::DigestPrefix;

/// Saves looking for a znode twice: once to judge a request, and again to carry its transaction out.
///
/// A hint may be out of date, for what was proposed earlier is applied in between: a slot counts only if the znode with
/// the wanted path is found there. The hash and the prefix depend on the transaction alone and stay true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Where the tree keeps the znode to change or, if one is to be created, its parent.
    pub(super) slot: Option<u32>,
    /// The hash of the transaction's path.
    pub(super) hash: Option<u64>,
    /// What the digest knows of the transaction's path and data.
    pub(super) prefix: Option<DigestPrefix>,
}

impl Hint {
    /// Nothing is known.
    pub const NONE: Self = Self { slot: None, hash: None, prefix: None };

    /// The znode whose path has this hash is at this slot.
    pub(super) const fn of(slot: u32, hash: u64) -> Self {
        Self { slot: Some(slot), hash: Some(hash), prefix: None }
    }

    /// For a transaction that sets the data of the znode that this is about.
    #[must_use]
    pub const fn with_data(self, prefix: Option<DigestPrefix>) -> Self {
        Self { prefix, ..self }
    }

    /// For the creation of a child, whose path has this hash, of the znode that this is about.
    #[must_use]
    pub const fn for_child(self, hash: u64, prefix: Option<DigestPrefix>) -> Self {
        Self { hash: Some(hash), prefix, ..self }
    }
}
