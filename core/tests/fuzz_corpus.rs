//! The bodies of the fuzz targets over the corpus that the repository keeps, and over a few inputs that are drawn
//! on the spot: what a fuzzer found once, ordinary tests find from then on.

use std::fs;
use std::path::PathBuf;

use zabra_core::testing::fuzz::TARGETS;

/// Every file of every corpus.
#[test]
fn corpus() {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, body) in TARGETS {
        let mut seen = 0;
        for entry in fs::read_dir(corpus.join(name)).expect("every target has a corpus") {
            let path = entry.expect("the corpus can be listed").path();
            println!("{}", path.display());
            body(&fs::read(&path).expect("the corpus can be read"));
            seen += 1;
        }
        assert!(seen > 0, "the corpus of {name} is empty");
    }
}

/// Inputs of a generator that is as good as any.
#[test]
fn drawn() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..200_usize {
        let bytes: Vec<u8> = (0..round * 4)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect();
        for (_, body) in TARGETS {
            body(&bytes);
        }
    }
}
