//! The reference of all keys, printed from the tables that the parser reads.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use zabra_core::config::{Config, EnsembleConfig};
use zabra_core::types::Membership;

use super::keys::{Effect, Key, Property, SECTIONS};
use crate::limits::{ACCEPTED_LINKS_MAX, LOOKUPS_MAX};

const HEAD: &str = "\
# Configuration

Every key of `zoo.cfg`, as ZooKeeper 3.9 has them. Written by a test from the tables that the parser reads
(`io-tokio/src/zoo_cfg/keys/`); `ZABRA_BLESS=1 cargo test -p io-tokio reference` writes it anew.

Any key can be given in the file or as `-Dname=value`, with or without `zookeeper.` in front; the file wins. A wrong
value is an error, and the server does not start. What is named in the log instead: unknown keys and unknown words in
`4lw.commands.whitelist`, which are ignored; numbers that are out of bounds, for which the bound counts
(`autopurge.snapRetainCount` from 3, `snapCount` from 2, `commitLogCount` from 500, `preAllocSize` up to 64 GiB); a
`snapshotSizeFactor` above 1; keys with \"no effect\".

Of the environment a server reads `RUST_LOG`, what to log, and on glibc `GLIBC_TUNABLES`: unless that says something of
`glibc.malloc.tcache_count`, the server begins itself once more with 256, under the same process number.
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
    text.push_str(FIXED_HEAD);
    for (value, what, then) in fixed() {
        let _ = writeln!(text, "| {what} | {value} | {then} |");
    }
    text
}

const FIXED_HEAD: &str = "
## Limits without a key

ZooKeeper has no name for these, so they are fixed; a program that embeds the server can set most of them in its `Config`.

| at most | | beyond it |
|---|---|---|
";

/// Limits that no key sets: how much, of what, and what happens then.
fn fixed() -> Vec<(String, &'static str, &'static str)> {
    let core = Config::default();
    let ensemble = EnsembleConfig::new(Membership::majority(0, BTreeMap::new()));
    let count = |count: usize, of: &str| format!("{count} {of}");
    vec![
        (
            bytes(core.log_buffer_max),
            "log that waits for the disk",
            "no requests are taken until it catches up",
        ),
        (
            format!("{}, and each an equal share of as much again", bytes(core.log_buffer_max)),
            "requests of learners held meanwhile",
            "of a learner with more, nothing is taken",
        ),
        (
            count(core.identities_max, "identities"),
            "what one connection may prove to be",
            "one more is refused, and the connection closed",
        ),
        (bytes(core.turn_work_max), "work for one connection at a time", "the others come first"),
        (
            bytes(core.inbox_pause_bytes),
            "requests of one client that are not taken yet",
            "it is not read from",
        ),
        (
            bytes(core.outbox_pause_bytes),
            "replies that one client has not read",
            "its requests are not taken",
        ),
        (bytes(core.outbox_close_bytes), "replies and events that one client has not read", "it is closed"),
        (bytes(core.snapshot_chunk_bytes), "a piece of a snapshot, written or sent", "the next piece waits"),
        (
            bytes(core.received_chunk_bytes),
            "a piece of a snapshot that a leader sends, written",
            "the next piece waits",
        ),
        (
            count(
                core.quota_warnings_max,
                &format!("limits in {} ms", core.quota_warning_interval.as_millis()),
            ),
            "exceeded quotas that are logged",
            "they are counted",
        ),
        (bytes(ensemble.commit_log_bytes), "transactions kept in memory for followers", "the oldest go"),
        (bytes(ensemble.link_outbox_bytes), "what another server has not read", "the link is closed"),
        (
            format!("{} ms", ensemble.finalize_wait.as_millis()),
            "wait for a better vote once a quorum agrees",
            "the vote is decided",
        ),
        (count(ACCEPTED_LINKS_MAX, "on each port"), "links that other servers made", "new ones wait"),
        (count(LOOKUPS_MAX, "at a time"), "names of servers that are looked up", "the others wait"),
    ]
}

/// A number of bytes as people say it; all of these are round.
fn bytes(bytes: usize) -> String {
    if bytes.is_multiple_of(1 << 20) {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{} KiB", bytes >> 10)
    }
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
        Effect::Idle(why) | Effect::IdleInEnsemble { why, .. } | Effect::IdleUnless { why, .. } => {
            format!("no effect: {why}")
        }
        Effect::Refused { harmless: "", why } => format!("error: {why}"),
        Effect::Refused { harmless, why } => format!("only `{harmless}`: {why}"),
    }
}
