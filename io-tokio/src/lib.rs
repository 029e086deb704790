//! Runs the core on real sockets, files and clocks.

#![forbid(unsafe_code)]

pub mod disk;
mod environment;
mod settings;
pub mod zoo_cfg;

pub use settings::{CLIENT_PORT, Settings, any_address};
