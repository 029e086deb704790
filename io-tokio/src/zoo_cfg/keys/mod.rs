//! Every key: its name, its Java property, what it takes, its default, and what it does here.
//!
//! One row per key. The parser reads these tables and nothing else, and the reference in `docs/configuration.md`
//! is printed from them.

mod access;
mod ensemble;
mod operation;
mod standalone;
mod storage;

use super::draft::Draft;
use super::value::Kind;

/// One key, or a family of keys if the name ends in `*`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// As in `zoo.cfg`.
    pub(crate) name: &'static str,
    /// Where ZooKeeper takes it from besides.
    pub(crate) property: Property,
    /// What values it takes.
    pub(crate) kind: Kind,
    /// ZooKeeper's default, in words if it has no value.
    pub(crate) default: &'static str,
    /// What it does here.
    pub(crate) effect: Effect,
    /// One line for the reference.
    pub(crate) about: &'static str,
}

/// How ZooKeeper names the Java system property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Property {
    /// There is none: ZooKeeper reads the key from the file alone. Zabra takes `-D` for it too.
    None,
    /// `zookeeper.` and the key's name.
    Prefixed,
    /// The key's name as it is. ZooKeeper cannot take it from the file; Zabra does.
    Bare,
}

/// What a key does in this release.
#[derive(Clone, Copy)]
pub(crate) enum Effect {
    /// It sets a number.
    Int(fn(&mut Draft, i64)),
    /// It sets a switch.
    Flag(fn(&mut Draft, bool)),
    /// It sets something else.
    Text(fn(&mut Draft, &str)),
    /// It names a member of the ensemble, or how it votes.
    Member,
    /// There is nothing to set; said to nobody.
    Quiet,
    /// It has no effect, for this reason. A standalone Java server would not care either, so only a member of an
    /// ensemble is told, unless the value is `harmless`.
    IdleInEnsemble {
        /// The value that is as good as none, in lower case.
        harmless: &'static str,
        /// Why it has no effect.
        why: &'static str,
    },
    /// It has no effect, for this reason; said as a warning.
    Idle(&'static str),
    /// Likewise, unless the value is `harmless`: that asks for what is so in any case.
    IdleUnless {
        /// The value that nobody is told of, in lower case.
        harmless: &'static str,
        /// Why the others have no effect.
        why: &'static str,
    },
    /// Values other than `harmless` are refused, for this reason.
    Refused {
        /// The value that changes nothing, in lower case.
        harmless: &'static str,
        /// Why the others are refused.
        why: &'static str,
    },
}

impl std::fmt::Debug for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Int(_) | Self::Flag(_) | Self::Text(_) | Self::Member => "works",
            Self::Quiet => "quiet",
            Self::Idle(_) | Self::IdleInEnsemble { .. } | Self::IdleUnless { .. } => "idle",
            Self::Refused { .. } => "refused",
        })
    }
}

/// A row of a table.
const fn key(
    name: &'static str,
    property: Property,
    kind: Kind,
    default: &'static str,
    effect: Effect,
    about: &'static str,
) -> Key {
    Key { name, property, kind, default, effect, about }
}

/// TLS is missing.
const NO_TLS: &str = "TLS is not in this release of Zabra; serve clients on clientPort only";
/// SASL is missing.
const NO_SASL: &str = "SASL is not in this release of Zabra";
/// TLS between servers is missing.
const NO_PEER_TLS: &str = "TLS between servers is not in this release of Zabra";
/// SASL between servers is missing.
const NO_PEER_SASL: &str = "SASL between servers is not in this release of Zabra";

/// The tables, each with its title in the reference.
pub(crate) const SECTIONS: &[(&str, &[Key])] = &[
    ("Server and clients", standalone::KEYS),
    ("Storage", storage::KEYS),
    ("Requests and operation", operation::KEYS),
    ("Access and TLS", access::KEYS),
    ("Ensemble", ensemble::KEYS),
];

/// Every key.
pub(crate) fn all() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|(_, keys)| keys.iter())
}

/// The key that goes by `name`, with or without `zookeeper.` in front.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    let exact = |name: &str| all().find(|key| key.name == name);
    let family = |name: &str| {
        all().find(|key| key.name.strip_suffix('*').is_some_and(|prefix| name.starts_with(prefix)))
    };
    let bare = name.strip_prefix("zookeeper.");
    exact(name).or_else(|| bare.and_then(exact)).or_else(|| family(name)).or_else(|| bare.and_then(family))
}
