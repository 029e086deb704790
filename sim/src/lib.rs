//! Seeded fault injection for `zabra-core`: whole worlds of servers, clients, links, disks and clocks in one
//! thread, where every decision follows from one number.
//!
//! | module | what it is |
//! |---|---|
//! | [`seed`], [`options`], [`omissions`] | the number, the streams drawn from it, the profile of a run, and what is left out |
//! | [`places`], [`roster`], [`fault`] | who is where, who belongs to the ensemble, and what can go wrong there |
//! | [`clock`], [`disk`], [`link`] | what errs, fails and delays |
//! | [`op`], [`client`], [`workload`] | who asks, and for what |
//! | [`txnlog`], [`wiretap`], [`history`], [`ending`] | what is seen of the servers |
//! | [`model`], [`check`] | the reference, and what must hold |
//! | [`marks`] | where runs have been |
//! | [`node`], [`world`], [`trace`] | processes that start, serve and end; everything on one heap of events |
//! | [`rt`], [`report`] | a seed becomes a run, and a run a report |
//! | [`shrink`], [`onlooker`], [`picture`] | what helps to understand a failure: the least that fails, and how it looks |
//! | [`arena`], [`scenario`], [`cluster`] | named situations in a few lines |
//! | [`app`], [`trial`] | programs of yours in a simulated world |

#[cfg(not(madsim))]
compile_error!(
    "the simulator needs `--cfg madsim`, which .cargo/config.toml sets; a RUSTFLAGS variable in the environment \
     replaces that line, so append `--cfg madsim` to it"
);

pub mod app;
pub mod arena;
pub mod check;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod disk;
pub mod ending;
pub mod fault;
pub mod history;
pub mod link;
pub mod marks;
pub mod model;
pub mod node;
pub mod omissions;
pub mod onlooker;
pub mod op;
pub mod options;
pub mod picture;
pub mod places;
pub mod report;
pub mod roster;
pub mod rt;
pub mod scenario;
pub mod seed;
pub mod shrink;
pub mod trace;
pub mod trial;
pub mod txnlog;
pub mod wiretap;
pub mod workload;
pub mod world;
