//! Runs [`zabra_core`] on real sockets, files and clocks: a library to embed a server or a client, and the program
//! `zabra`.
//!
//! This crate moves bytes and takes no decision that the simulator could not see. What it does decide is about
//! the operating system alone: how much to read at a time, how to close a socket, when to stop accepting.
//!
//! # The input and output, and why they are like this
//!
//! One thread owns the core, the sockets of all clients and the timer; it is a tokio `LocalRuntime`, so tasks
//! share the core by `Rc<RefCell>` without a lock, and waking one is a push to a queue of the same thread. Two
//! more threads carry out disk operations ([`disk`]), so that reads go on while a write waits for the disk.
//!
//! ```text
//! epoll_wait ─▶ task of each readable connection: one read into the shared buffer ─▶ core.handle(Received)
//!            └▶ driver's task, behind all of them: disk completions, timer, then one drain of the actions
//!                 ├─▶ disk operations to their threads: one write and one sync for all that waited
//!                 └─▶ one write per connection, however many replies it gets
//! ```
//!
//! So the price of a system call is shared by all requests that arrived together, and the busier the server, the
//! more share it. Per request there is no lock, no channel, no task switch and no system call; per read of a
//! connection there is one read, one write and one task poll. A `LocalSet` on an ordinary runtime would cost an
//! eventfd write per turn to wake itself, and a task per connection on several threads a lock around the core.
//!
//! With canned replies in place of the core this answers 64 connections × 16 outstanding reads at 0.9 of the rate
//! of a bare single-threaded epoll loop that does the same and nothing else, and one connection at 1.1 of its
//! median latency; both run side by side on a two-core machine. Polling the sockets by hand would gain the rest
//! and lose tokio's timers, signals and TLS.
//!
//! # What bounds memory and work
//!
//! | what grows | its bound |
//! |---|---|
//! | replies that a client does not read | the core pauses reads at `outbox_pause_bytes`, closes at `outbox_close_bytes` |
//! | requests in the server | `global_outstanding_limit` and friends, in the core |
//! | connections | `maxClientCnxns` and `maxCnxns` in the core; here, open files less a reserve for the log |
//! | bytes that another server does not read | the core hangs up at `link_outbox_bytes` |
//! | links that other servers make | 256 on each of the three ports; more wait for room |
//! | names being looked up | 16 at a time |
//! | disk operations and completions | those the core has under way |
//! | input of one turn | 64 KiB a connection, 32 KiB in all before the actions are drained |
//! | closed connections | 2 s to send the rest and be closed by their client |
//!
//! Links to other servers are connections like clients': one task, one read a turn, one write a turn, however many
//! proposals it carries. They come first in a turn, and while there are any, every disk operation is left to the disk
//! threads, so that what a leader sends its followers is on the wire before its own disk begins to work.
//!
//! An idle connection costs its socket, its task and about 200 bytes here: there is no buffer per connection,
//! because all read into one and write from what the core made.

#![forbid(unsafe_code)]

pub mod allocator;
pub mod client;
mod clock;
mod config_keeper;
mod conn;
mod dial;
pub mod disk;
mod driver;
mod entropy;
pub mod environment;
mod events;
mod limit_log;
mod limits;
mod link;
mod listener;
pub mod local_ensemble;
mod machine;
mod observer_port;
mod open_files;
mod peer_listeners;
mod server;
mod settings;
mod stream;
pub mod zoo_cfg;

pub use client::Client;
pub use peer_listeners::PeerListenError;
pub use server::{Running, Server, StartError};
pub use settings::{CLIENT_PORT, Peers, Settings, any_address};
