//! Bodies live in zabra-core; see `fuzz_targets/`.
