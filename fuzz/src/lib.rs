//! Fuzz targets for `zabra-core` and `io-tokio`, one a file in `fuzz_targets/`. What each of them does is in
//! `zabra_core::testing::fuzz`, where ordinary builds compile it and `core/tests/fuzz_corpus.rs` runs it over the
//! corpus; here a fuzzer only hands over its bytes. The one target that is not about the core is in
//! `io_tokio::zoo_cfg::fuzz`, likewise.
//!
//! | target | what goes in | what must come out |
//! |---|---|---|
//! | `compression` | a compressed snapshot | the same bytes, or the same error, however it is cut |
//! | `frame` | a stream, cut anywhere | the frames of a naive deframer; nothing held without need |
//! | `quorum` | packets of the quorum port, cut anywhere | the same messages, which are encoded to the same again |
//! | `record` | a log of good, damaged and random records | the findings of a naive scanner |
//! | `reply` | what a server sends | what decodes is encoded to the same again |
//! | `request` | what a client sends | what decodes is encoded to the same again |
//! | `server` | what happens to a server | no panic, replies in order, nothing lost in a crash |
//! | `snapshot` | a snapshot with right seals | the same items however it is cut, a tree that is one |
//! | `tree` | transactions, and snapshots in between | the naive tree |
//! | `txn` | a logged transaction | what decodes is encoded to the same again, and can be applied |
//! | `zoo_cfg` | a configuration, and a file it refers to | one to serve under; the same entries when it is written again |
//!
//! With a nightly toolchain and `cargo install cargo-fuzz`, from the root of the repository:
//!
//! ```text
//! fuzz/smoke                             every target for 15 seconds
//! fuzz/smoke 600 server tree             these for ten minutes each
//! cargo +nightly fuzz run server         one until something is found
//! cargo +nightly fuzz run server FILE    one input again
//! cargo +nightly fuzz tmin server FILE   the smallest input that does the same
//! ```
//!
//! What was found belongs in a test beside the code that was wrong, named after what went wrong; the input may go
//! to `corpus/`, which is kept small: what `cargo fuzz cmin` leaves of a long run, and of that the part that
//! `smoke` needs to get everywhere soon.
