//! What the fuzz targets do with their bytes; the package `zabra-fuzz` only hands them over.
//!
//! Every body takes any bytes at all and panics if something is wrong. They are here, not there, so that ordinary
//! builds compile them and ordinary tests run them over the corpus that the repository keeps.

mod client;
mod codec;
mod compression;

mod frame;
mod quorum;
mod record;
mod requests;
mod script;
mod server;
mod snapshot;
mod source;
mod tree;
mod txn;

pub use self::codec::{reply, request};
pub use self::compression::compression;
pub use self::frame::frame;
pub use self::quorum::quorum;
pub use self::record::record;
pub use self::server::server;
pub use self::snapshot::snapshot;
pub use self::source::Source;
pub use self::tree::tree;
pub use self::txn::txn;

/// What a fuzz target calls.
pub type Body = fn(&[u8]);

/// Every target by name, as the corpus has them.
pub const TARGETS: [(&str, Body); 10] = [
    ("compression", compression),
    ("frame", frame),
    ("quorum", quorum),
    ("record", record),
    ("reply", reply),
    ("request", request),
    ("server", server),
    ("snapshot", snapshot),
    ("tree", tree),
    ("txn", txn),
];
