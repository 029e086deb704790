//! See `zabra_core::testing::fuzz::server`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| zabra_core::testing::fuzz::server(bytes));
