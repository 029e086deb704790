//! See `zabra_core::testing::fuzz::quorum`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| zabra_core::testing::fuzz::quorum(bytes));
