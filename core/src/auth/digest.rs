//! The scheme `digest`: a user name and the SHA-1 of name and password.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::types::Id;

/// The id that `user:password` proves: `user:base64(sha1(user:password))`.
pub fn digest(credentials: &str) -> String {
    let user = credentials.split(':').next().unwrap_or_default();
    format!("{user}:{}", STANDARD.encode(Sha1::digest(credentials.as_bytes())))
}

/// The identities that `user:password` proves; the super user's also has one that passes every check.
pub fn identities(credentials: &[u8], super_digest: Option<&str>) -> Vec<Id> {
    let id = digest(&String::from_utf8_lossy(credentials));
    let mut identities = Vec::with_capacity(2);
    if super_digest == Some(id.as_str()) {
        identities.push(Id::new("super", ""));
    }
    identities.push(Id::new("digest", id));
    identities
}

/// Whether an ACL may name this id: a user and a hash, as Java's `split(":")` counts, which drops empty ends.
pub fn is_valid(id: &str) -> bool {
    let parts: Vec<&str> = id.trim_end_matches(':').split(':').collect();
    parts.len() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PARITY `acl.digest`: the example of ZooKeeper's documentation.
    #[test]
    fn acl_digest() {
        assert_eq!(digest("super:test"), "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
        assert!(is_valid("user:hash"));
        assert!(is_valid(":hash"));
        assert!(!is_valid("user"));
        assert!(!is_valid("user:"));
        assert!(!is_valid("user:a:b"));
    }

    /// PARITY `acl.digest.super`: the super identity comes in addition to the digest's.
    #[test]
    fn acl_digest_super() {
        let ids = identities(b"super:test", Some("super:D/InIHSb7yEEbrWz8b9l71RjZJU="));
        assert_eq!(ids, [Id::new("super", ""), Id::new("digest", "super:D/InIHSb7yEEbrWz8b9l71RjZJU=")]);
        let ids = identities(b"super:wrong", Some("super:D/InIHSb7yEEbrWz8b9l71RjZJU="));
        assert_eq!(ids.len(), 1);
    }
}
