//! What is found on disk becomes the state that a server starts from.

use alloc::collections::BTreeMap;

use crate::store::{Inventory, Tickets};
use crate::tree::Tree;
use crate::types::SessionId;

/// The state that a server starts from.
#[derive(Debug)]
pub struct Recovered {
    /// The tree, with every transaction that was found applied.
    pub tree: Tree,
    /// The sessions that were alive, with their timeouts in milliseconds.
    pub sessions: BTreeMap<SessionId, i32>,
    /// The files that are there.
    pub inventory: Inventory,
    /// Continues the numbers of disk operations.
    pub tickets: Tickets,
    /// Transactions that were read from the log after the snapshot.
    pub replayed_txns: u64,
    /// Their bytes.
    pub replayed_bytes: u64,
}
