//! Every limit of the two programs, and the one limit of the system they must raise.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Longest frame either program accepts. Above what any load here produces; a longer one is a broken peer.
pub const FRAME_SIZE_MAX: usize = 16 << 20;

/// Bytes one read may bring, and what a thread keeps for it. Grows to the size of a longer frame.
pub const SCRATCH_SIZE: usize = 256 << 10;

/// The generator issues nothing more on a connection with this many unsent bytes; an open loop falls behind and its
/// latencies say so.
pub const UNSENT_SIZE_MAX: usize = 1 << 20;

/// The null server closes a connection that lets this many bytes of replies pile up.
pub const UNREAD_SIZE_MAX: usize = 64 << 20;

/// The generator has at most this many requests outstanding on one connection, whatever the rate asks for.
pub const OUTSTANDING_COUNT_MAX: usize = 1 << 20;

/// Data of a znode. Java ZooKeeper's default frame limit is just below 1 MiB.
pub const DATA_SIZE_MAX: usize = 8 << 20;

/// Makes room for `sockets` open sockets and a few files, or says how many there may be.
pub fn raise_open_files(sockets: usize) -> Result<(), String> {
    let wanted = sockets as u64 + 64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        return Err(format!(
            "{wanted} open files are needed, the hard limit is {}",
            limit.maximum.unwrap_or(0)
        ));
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })
        .map_err(|error| format!("cannot raise the limit of open files to {wanted}: {error}"))
}
