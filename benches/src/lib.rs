//! What Zabra is measured with: a load generator, a null server, and the script that compares.
//!
//! - `zabra-load` speaks the ZooKeeper client protocol to any server of it and reports throughput, latency,
//!   memory-relevant crowds of sessions and watches, and every broken promise it sees (order, errors, lost sessions,
//!   missed watch events).
//! - `zabra-null` is a server without a tree: it parses frames and answers canned replies of the right size. What it
//!   reaches is the upper bound of one thread with the same traffic on the same machine.
//! - `benches/compare` starts Java ZooKeeper, Zabra and the null server in one go and prints the table of ratios:
//!
//! ```text
//! cargo build --release
//! benches/compare                                   # everything: about 40 minutes
//! benches/compare --only matrix --quick             # a subset, shortened
//! benches/compare --java-classpath 'jars/*' --help
//! ```
//!
//! Absolute numbers belong to one machine and one hour; only ratios from one run are worth quoting.
//!
//! The bytes are written and read here a second time, apart from the server's own codec, on purpose: a generator that
//! shares the server's code shares its mistakes. The two programs share [`stream`] and [`jute`] and nothing else:
//!
//! ```text
//!  zabra-load                                            zabra-null
//!  options → plan → setup → worker × threads → report    null::server → null::replies
//!                 ↘ crowd (sessions, idle, watches)                   ↘ null::log
//! ```

#![forbid(unsafe_code)]

pub mod alarm;
pub mod clock;
pub mod crowd;
pub mod generator;
pub mod jute;
pub mod limits;
pub mod load;
pub mod null;
pub mod options;
pub mod outstanding;
pub mod report;
pub mod run;
pub mod session;
pub mod setup;
pub mod stream;
pub mod tally;
pub mod template;
pub mod worker;
