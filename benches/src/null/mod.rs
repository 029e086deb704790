//! A server without a tree: the upper bound of what one thread can serve on this machine.
//!
//! It does what no server of the protocol can avoid, and nothing else: it reads, cuts frames, appends writes to a file
//! with one sync per turn of its loop, and answers replies of the shape and size that a real server would send. It
//! keeps no znodes, no sessions and no watches beyond one bit a connection, so it is right about sizes and wrong about
//! everything else: a read of a znode that was never written succeeds.

pub mod log;
pub mod replies;
pub mod server;
