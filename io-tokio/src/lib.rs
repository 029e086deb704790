//! Runs the core on real sockets, files and clocks.

pub mod disk;
