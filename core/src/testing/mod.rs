//! Models that are slow and obvious, to compare the real thing with: here in property tests, in fuzz targets,
//! and in the simulator.

pub mod naive_tree;
pub mod naive_watches;
