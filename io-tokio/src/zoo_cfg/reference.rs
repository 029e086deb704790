//! The reference of all keys, printed from the tables that the parser reads.

use std::fmt::Write as _;

use super::keys::{Effect, Key, Property, SECTIONS};

const HEAD: &str = "\
# Configuration

Every key of `zoo.cfg`, as ZooKeeper 3.9 has them. Written by a test from the tables that the parser reads
(`io-tokio/src/zoo_cfg/keys/`); `ZABRA_BLESS=1 cargo test -p io-tokio reference` writes it anew.

Any key can be given in the file or as `-Dname=value`, with or without `zookeeper.` in front; the file wins. A wrong
value is an error. An unknown key is named in the log and ignored. \"No effect\" keys are named in the log too.

Of the environment a server reads `RUST_LOG`, what to log, and on glibc `GLIBC_TUNABLES`: unless that says something of
`glibc.malloc.tcache_count`, the server begins itself once more with 1024, under the same process number.
";

/// The whole reference, in Markdown.
pub fn reference() -> String {
    let mut text = String::from(HEAD);
    for (title, keys) in SECTIONS {
        let _ = write!(
            text,
            "\n## {title}\n\n| key | Java property | value | default | here | |\n|---|---|---|---|---|---|\n"
        );
        for key in *keys {
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} | {} | {} |",
                key.name,
                property(key),
                key.kind,
                key.default,
                effect(key),
                key.about
            );
        }
    }
    text
}

fn property(key: &Key) -> String {
    match key.property {
        Property::None => "–".into(),
        Property::Prefixed => format!("`zookeeper.{}`", key.name),
        Property::Bare => format!("`{}`", key.name),
    }
}

fn effect(key: &Key) -> String {
    match key.effect {
        Effect::Int(_) | Effect::Flag(_) | Effect::Text(_) | Effect::Member | Effect::Quiet => "works".into(),
        Effect::Idle(why) | Effect::IdleInEnsemble { why, .. } => format!("no effect: {why}"),
        Effect::Refused { harmless: "", why } => format!("error: {why}"),
        Effect::Refused { harmless, why } => format!("only `{harmless}`: {why}"),
    }
}
