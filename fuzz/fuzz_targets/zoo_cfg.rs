//! See `io_tokio::zoo_cfg::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| io_tokio::zoo_cfg::fuzz::zoo_cfg(bytes));
