//! Helpers for tests of this crate and of those around it: nothing here runs in production.

pub mod lone;
