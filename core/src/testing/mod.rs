//! Helpers for tests of this crate and of those around it: nothing here runs in production.
//!
//! A server alone with a perfect disk, an ensemble of them, a client in lock-step with one, and models that are slow
//! and obvious, to compare the real thing with: in property tests, in fuzz targets, and in the simulator.

pub mod cluster;
pub mod disk;
pub mod fuzz;
pub mod lone;
pub mod naive_tree;
pub mod naive_watches;
pub mod pair;
