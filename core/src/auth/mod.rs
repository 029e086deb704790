//! Authentication schemes, and what the identities of a connection may do.
//!
//! A scheme answers five questions, as ZooKeeper's providers do: is an id well-formed in an ACL, do credentials
//! prove an identity, does an identity match an ACL's id, does the ACL scheme `auth` stand for it, and what user
//! name does it show. The schemes `x509` and `sasl` take their place here once connections can prove them.

pub mod digest;
pub mod ip;

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use crate::config::Config;
use crate::types::{Acl, AclList, ErrorCode, Id, Perms};

/// The identities of one connection. Nearly every connection has just its address.
pub type Identities = smallvec::SmallVec<[Id; 1]>;

/// A scheme that this server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `user:base64(sha1(user:password))`.
    Digest,
    /// A guard against connecting to the wrong ensemble; proves no identity.
    Ensemble,
    /// An address or a range of addresses.
    Ip,
}

/// What came of presenting credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// These identities are the connection's from now on.
    Accepted(Vec<Id>),
    /// The connection is closed without a word, so that the client tries another server.
    Hangup,
    /// The credentials prove nothing.
    Refused,
}

impl Scheme {
    /// The scheme of a name, if this server has it.
    pub fn find(name: &str, config: &Config) -> Option<Self> {
        match name {
            "digest" if config.digest_auth_enabled => Some(Self::Digest),
            "ensemble" => Some(Self::Ensemble),
            "ip" => Some(Self::Ip),
            _ => None,
        }
    }

    /// Whether an ACL may name `id` in this scheme.
    fn is_valid(self, id: &str) -> bool {
        match self {
            Self::Digest => digest::is_valid(id),
            Self::Ensemble => false,
            Self::Ip => ip::is_valid(id),
        }
    }

    /// Whether the connection's identity `id` is meant by the ACL's `pattern`.
    fn matches(self, id: &str, pattern: &str) -> bool {
        match self {
            Self::Digest => id == pattern,
            Self::Ensemble => false,
            Self::Ip => ip::matches(id, pattern),
        }
    }

    /// Whether the ACL scheme `auth` stands for identities of this scheme.
    const fn is_authenticated(self) -> bool {
        match self {
            Self::Digest => true,
            Self::Ensemble | Self::Ip => false,
        }
    }
}

/// Presents credentials (PARITY `auth.*`). `address` is the connection's own, as the scheme `ip` writes it.
pub fn authenticate(config: &Config, scheme: &str, credentials: &[u8], address: &str) -> Authentication {
    match Scheme::find(scheme, config) {
        None => Authentication::Refused,
        Some(Scheme::Digest) => {
            Authentication::Accepted(digest::identities(credentials, config.super_digest.as_deref()))
        }
        Some(Scheme::Ip) => Authentication::Accepted(alloc::vec![Id::new("ip", address)]),
        Some(Scheme::Ensemble) => {
            let names = &config.ensemble_auth_names;
            if credentials.is_empty()
                || names.is_empty()
                || names.iter().any(|name| name.as_bytes() == credentials)
            {
                Authentication::Accepted(Vec::new())
            } else {
                Authentication::Hangup
            }
        }
    }
}

/// Whether any of `identities` has any of the permissions `wanted` (PARITY `acl.check`).
pub fn allows(config: &Config, acl: &AclList, wanted: Perms, identities: &[Id]) -> bool {
    if config.skip_acl {
        return true;
    }
    let entries = match acl {
        AclList::OpenUnsafe => return true,
        AclList::Entries(entries) => entries,
    };
    if entries.is_empty() || identities.iter().any(|id| id.scheme == "super") {
        return true;
    }
    entries.iter().filter(|entry| entry.perms.intersects(wanted)).any(|entry| {
        entry.id == Id::ANYONE
            || Scheme::find(&entry.id.scheme, config).is_some_and(|scheme| {
                identities
                    .iter()
                    .any(|id| id.scheme == entry.id.scheme && scheme.matches(&id.id, &entry.id.id))
            })
    })
}

/// The list that is stored for the list a client sent: duplicates gone, `auth` replaced by the connection's own
/// identities (PARITY `acl.fixup`).
///
/// # Errors
/// [`ErrorCode::INVALIDACL`] for an empty list or an entry that no scheme accepts; [`ErrorCode::BADARGUMENTS`] for
/// a list that no stored record could hold.
pub fn fix_up(config: &Config, acl: Option<AclList>, identities: &[Id]) -> Result<AclList, ErrorCode> {
    let entries = match acl {
        None => return Err(ErrorCode::INVALIDACL),
        Some(AclList::OpenUnsafe) => return Ok(AclList::OpenUnsafe),
        Some(AclList::Entries(entries)) => entries,
    };
    let mut fixed: Vec<Acl> = Vec::with_capacity(entries.len());
    let mut seen = BTreeSet::new();
    let (mut bytes, mut measured) = (0, 0);
    for entry in entries.iter() {
        if !seen.insert((entry.perms.0, entry.id.scheme.as_ref(), entry.id.id.as_ref())) {
            continue;
        }
        // An entry `auth` stands for many: what they grow to is looked at before it has grown.
        bytes += fixed[measured..].iter().map(|acl| acl.id.scheme.len() + acl.id.id.len()).sum::<usize>();
        measured = fixed.len();
        if bytes > config.stored_field_max() {
            return Err(ErrorCode::BADARGUMENTS);
        }
        if entry.id == Id::ANYONE {
            fixed.push(entry.clone());
        } else if entry.id.scheme == "auth" {
            let before = fixed.len();
            fixed.extend(
                identities
                    .iter()
                    .filter(|id| {
                        Scheme::find(&id.scheme, config).is_some_and(|scheme| scheme.is_authenticated())
                    })
                    .map(|id| Acl { perms: entry.perms, id: id.clone() }),
            );
            if fixed.len() == before {
                return Err(ErrorCode::INVALIDACL);
            }
        } else if Scheme::find(&entry.id.scheme, config).is_some_and(|scheme| scheme.is_valid(&entry.id.id)) {
            fixed.push(entry.clone());
        } else {
            return Err(ErrorCode::INVALIDACL);
        }
    }
    if fixed.is_empty() { Err(ErrorCode::INVALIDACL) } else { Ok(fixed.into()) }
}

/// The list as it is shown to those who may read but not administer the znode: digests hidden (PARITY
/// `op.getACL`).
pub fn mask(acl: &AclList) -> AclList {
    let masked = acl.entries().iter().map(|entry| {
        if entry.id.scheme != "digest" {
            return entry.clone();
        }
        let user = entry.id.id.split(':').next().unwrap_or_default();
        Acl { perms: entry.perms, id: Id::new("digest", alloc::format!("{user}:x")) }
    });
    masked.collect::<Vec<_>>().into()
}

/// The name that `whoAmI` shows for an identity.
pub fn user_name(id: &Id) -> String {
    match id.scheme.as_ref() {
        "digest" => id.id.split(':').next().unwrap_or_default().into(),
        _ => id.id.clone().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(i32, &str, &str)]) -> AclList {
        entries
            .iter()
            .map(|&(perms, scheme, id)| Acl { perms: Perms(perms), id: Id::new(scheme, id) })
            .collect::<Vec<_>>()
            .into()
    }

    /// PARITY `acl.check`: world, scheme by scheme, super, empty lists, skipACL.
    #[test]
    fn acl_check() {
        let config = Config::default();
        let ids = [Id::new("ip", "10.1.2.3"), Id::new("digest", "bob:hash")];
        let allowed = |entries: &[(i32, &str, &str)], wanted| allows(&config, &acl(entries), wanted, &ids);
        assert!(allowed(&[(1, "world", "anyone")], Perms::READ));
        assert!(!allowed(&[(1, "world", "anyone")], Perms::WRITE));
        assert!(allowed(&[(2, "ip", "10.1.0.0/16")], Perms::WRITE));
        assert!(!allowed(&[(2, "ip", "10.2.0.0/16")], Perms::WRITE));
        assert!(allowed(&[(1, "world", "anyone"), (2, "digest", "bob:hash")], Perms::WRITE));
        assert!(!allowed(&[(2, "digest", "bob:other")], Perms::WRITE));
        assert!(allowed(&[(1, "digest", "bob:hash")], Perms::READ | Perms::ADMIN));
        assert!(allowed(&[], Perms::ADMIN));
        let root = [Id::new("super", "")];
        assert!(allows(&config, &acl(&[(1, "digest", "eve:x")]), Perms::ADMIN, &root));
        let open = Config { skip_acl: true, ..Config::default() };
        assert!(allows(&open, &acl(&[(1, "digest", "eve:x")]), Perms::ADMIN, &ids));
    }

    /// PARITY `acl.fixup`, `acl.auth`.
    #[test]
    fn acl_fixup() {
        let config = Config::default();
        let ip = Id::new("ip", "10.1.2.3");
        let bob = Id::new("digest", "bob:hash");
        let fixed = |entries: &[(i32, &str, &str)], ids: &[Id]| fix_up(&config, Some(acl(entries)), ids);
        assert_eq!(fix_up(&config, None, &[]), Err(ErrorCode::INVALIDACL));
        assert_eq!(fixed(&[], &[]), Err(ErrorCode::INVALIDACL));
        assert_eq!(fixed(&[(31, "auth", "")], core::slice::from_ref(&ip)), Err(ErrorCode::INVALIDACL));
        assert_eq!(fixed(&[(31, "auth", "")], &[ip, bob]), Ok(acl(&[(31, "digest", "bob:hash")])));
        assert_eq!(
            fixed(&[(1, "world", "anyone"), (1, "world", "anyone"), (2, "ip", "1.2.3.4")], &[]),
            Ok(acl(&[(1, "world", "anyone"), (2, "ip", "1.2.3.4")]))
        );
        for bad in
            [("world", "someone"), ("digest", "nocolon"), ("digest", "a:b:c"), ("ip", "1.2.3"), ("foo", "x")]
        {
            assert_eq!(fixed(&[(31, bad.0, bad.1)], &[]), Err(ErrorCode::INVALIDACL), "{bad:?}");
        }
        assert_eq!(fixed(&[(99, "world", "anyone")], &[]), Ok(acl(&[(99, "world", "anyone")])));
    }

    /// Many entries that stand for many identities are refused before they have become very many.
    #[test]
    fn acl_auth_is_bounded() {
        let config = Config { jute_max_buffer: 1000, jute_max_buffer_extra: 1000, ..Config::default() };
        let many: Vec<Id> = (0..64).map(|n| Id::new("digest", alloc::format!("user{n}:hash"))).collect();
        let entries = |count| acl(&(0..count).map(|perms| (perms, "auth", "")).collect::<Vec<_>>());
        let fixed = |count| fix_up(&config, Some(entries(count)), &many).map(|acl| acl.entries().len());
        assert_eq!(fixed(1), Ok(64));
        assert_eq!(fixed(100_000), Err(ErrorCode::BADARGUMENTS));
    }

    /// PARITY `op.getACL`: without ADMIN the hash does not show.
    #[test]
    fn op_get_acl_masks_digests() {
        let masked = mask(&acl(&[(31, "digest", "bob:secret"), (1, "ip", "1.2.3.4")]));
        assert_eq!(masked, acl(&[(31, "digest", "bob:x"), (1, "ip", "1.2.3.4")]));
    }

    /// PARITY `auth.ensemble`.
    #[test]
    fn auth_ensemble() {
        let mut config = Config::default();
        assert_eq!(authenticate(&config, "ensemble", b"a", ""), Authentication::Accepted(Vec::new()));
        config.ensemble_auth_names = alloc::vec!["a".into(), "b".into()];
        assert_eq!(authenticate(&config, "ensemble", b"b", ""), Authentication::Accepted(Vec::new()));
        assert_eq!(authenticate(&config, "ensemble", b"", ""), Authentication::Accepted(Vec::new()));
        assert_eq!(authenticate(&config, "ensemble", b"c", ""), Authentication::Hangup);
        assert_eq!(authenticate(&config, "nonsense", b"c", ""), Authentication::Refused);
    }
}
