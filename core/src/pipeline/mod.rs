//! From request to transaction, from commit to reply, and reads.

pub mod pending;
pub mod prep;
pub mod quota_log;
pub mod read;
pub mod reply;
