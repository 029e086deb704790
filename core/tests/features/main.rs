//! ZooKeeper's features one by one, asked of a whole server: a test is named after the feature it shows.
//!
//! `docs/compatibility.md` names these tests; what a feature is, is said there.

mod acls;
mod ask;
mod limits;
mod metrics;
mod nodes;
mod quotas;
mod reads;
mod sessions;
mod stats;
mod storage;
mod watches;
mod wire;
mod words;
