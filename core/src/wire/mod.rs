//! Every byte on the client port, between servers and on disk, and nothing of what they mean.
//!
//! Decoders read from a slice and borrow from it; encoders append to a `Vec<u8>` that the caller keeps.
//! Nothing here trusts a number that came from outside: a length or a count is compared with the bytes that
//! are there before anything is allocated for it.

pub mod admin;
pub mod answer;
mod checksum;
pub mod compression;
pub mod compressor;
pub mod connect;
pub mod data;
pub mod election;
pub mod frame;
pub mod jute;
pub mod multi;
pub mod quorum;
pub mod record;
pub mod reply;
pub mod request;
mod snappy;
mod snappy_writer;
pub mod snapshot;
pub mod txn;

pub use answer::{Answer, MultiAnswer, ReplyHeader};
pub use connect::{ConnectRequest, ConnectResponse};
pub use frame::{Deframer, FrameError};
pub use jute::{DecodeError, Reader, Writer};
pub use reply::{EventType, MultiResult, WatchEvent};
pub use request::{MultiOp, Request, RequestHeader};
