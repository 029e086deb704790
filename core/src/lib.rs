//! Zabra's protocol core: every decision of a ZooKeeper-compatible server, and none of its input and output.
//!
//! A [`server::Server`] is a state machine. Whoever runs it tells it what happened ([`server::Input`]) and when
//! ([`time::Now`]), then does what it asks for ([`server::Action`]), and so on:
//!
//! ```text
//! loop {
//!     wait for bytes, connections, disk completions, or until server.poll_timeout()
//!     for each thing that happened { server.handle(now, input) }       // any number of times …
//!     while let Some(action) = server.poll_action() { carry it out }   // … then drain, always before waiting
//! }
//! ```
//!
//! It reads no clock, draws no randomness but from the seed it was given, starts no thread and opens no file. Two
//! runs that are told the same do the same, bit by bit; the simulator rests on that, and the compiler sees to it:
//! this crate is `no_std`.
//!
//! Comments and tests name features of ZooKeeper by ids such as PARITY `sess.bucket`: each is a row of
//! `docs/compatibility.md`, which says what works, what differs, and which test shows it.
//!
//! | module | what it knows |
//! |---|---|
//! | [`types`] | the vocabulary: zxid, session, ACL, stat, transaction |
//! | [`time`], [`rng`], [`config`] | time as a value; one seed, a stream for every concern; every limit in one place |
//! | [`wire`] | every byte on the client port, between servers and on disk, and nothing of what they mean |
//! | [`tree`] | znodes, watches, quotas, the digest; applies transactions |
//! | [`session`] | who is connected, since when, and until when |
//! | [`auth`] | authentication schemes, and what the identities of a connection may do |
//! | [`store`] | disk operations, the log, snapshots, file names |
//! | [`election`] | who should lead: votes, and the links that carry them |
//! | [`zab`] | how the servers of an ensemble agree on one history |
//! | [`recovery`] | from what is found on the disk to where a server goes on |
//! | [`conn`] | one client connection: handshake, frames in, replies out |
//! | [`pipeline`] | request to transaction, commit to reply, reads |
//! | [`server`] | owns the parts and dispatches |
//! | [`client`] | the other end: a session that survives connections and servers |
//! | `testing` | for tests here and in other packages: servers in lock-step, naive twins, bodies of fuzz targets |

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod auth;
pub mod client;
pub mod config;
pub mod conn;
pub mod election;
pub mod pipeline;
pub mod recovery;
pub mod rng;
pub mod server;
pub mod session;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod tree;
pub mod types;
pub mod wire;
pub mod zab;

/// Whether what a server at work does not look at is asserted, too: in tests, and in the simulator.
pub(crate) const ASSERTS_ALL: bool = cfg!(any(debug_assertions, feature = "testing"));
