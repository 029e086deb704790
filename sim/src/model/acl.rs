//! Who may do what: ACLs as ZooKeeper's documentation describes them, decided here a second time.
//!
//! Known are the schemes `world`, `ip` (whole addresses only), `digest` and, in lists that clients send, `auth`.

use zabra_core::types::{Acl, AclList, ErrorCode, Id, Perms};

/// Users, by what they prove themselves with: `digest` credentials, and what ACLs and servers call them.
pub const USERS: [(&str, &str); 3] = [
    ("ann:one", "ann:grDcJ7OS1jCu/cG2TyJHw/I9L8o="),
    ("bob:two", "bob:yqVrLFrvoaI9z9fohteaNPJvRu8="),
    ("eve:three", "eve:SP8oM+JZiFIhEVvIKGI0fgz1/6g="),
];

/// What the super user proves itself with, and what servers are configured with for that.
pub const SUPER: (&str, &str) = ("super:test", "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");

/// The identity that credentials prove, if they are known. (The super user has another one besides, which no list names.)
pub fn identity(scheme: &str, auth: &str) -> Option<Id> {
    if (scheme, auth) == ("digest", SUPER.0) {
        return Some(Id::new("super", ""));
    }
    let (_, id) = USERS.iter().find(|(known, _)| scheme == "digest" && *known == auth)?;
    Some(Id::new("digest", *id))
}

fn is_anyone(id: &Id) -> bool {
    id.scheme == "world" && id.id == "anyone"
}

/// Whether one of these identities may do something.
pub fn allows(acl: &AclList, wanted: Perms, who: &[Id]) -> bool {
    let is_super = who.iter().any(|id| id.scheme == "super");
    is_super
        || acl
            .entries()
            .iter()
            .any(|entry| entry.perms.0 & wanted.0 != 0 && (is_anyone(&entry.id) || who.contains(&entry.id)))
}

/// The list that is stored for one that was sent: each entry once, and `auth` replaced by who was proved.
pub fn stored(sent: &AclList, who: &[Id]) -> Result<AclList, ErrorCode> {
    let mut stored: Vec<Acl> = Vec::new();
    let mut seen: Vec<&Acl> = Vec::new();
    for entry in sent.entries() {
        if seen.contains(&entry) {
            continue;
        }
        seen.push(entry);
        match &*entry.id.scheme {
            "world" if is_anyone(&entry.id) => stored.push(entry.clone()),
            "auth" => {
                let proved = who.iter().filter(|id| id.scheme == "digest");
                let before = stored.len();
                stored.extend(proved.map(|id| Acl { perms: entry.perms, id: id.clone() }));
                if stored.len() == before {
                    return Err(ErrorCode::INVALIDACL);
                }
            }
            "digest" if entry.id.id.split(':').count() == 2 => stored.push(entry.clone()),
            "ip" if entry.id.id.parse::<std::net::Ipv4Addr>().is_ok() => stored.push(entry.clone()),
            _ => return Err(ErrorCode::INVALIDACL),
        }
    }
    if stored.is_empty() { Err(ErrorCode::INVALIDACL) } else { Ok(stored.into()) }
}

/// The list as somebody sees it: who may not change it does not see what others prove themselves with.
pub fn shown(acl: &AclList, who: &[Id]) -> Vec<Acl> {
    let administers = allows(acl, Perms::ADMIN, who);
    let show = |entry: &Acl| match entry.id.id.split_once(':') {
        Some((user, _)) if entry.id.scheme == "digest" && !administers => {
            Acl { perms: entry.perms, id: Id::new("digest", format!("{user}:x")) }
        }
        _ => entry.clone(),
    };
    acl.entries().iter().map(show).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(i32, &'static str, &'static str)]) -> AclList {
        let entry =
            |&(perms, scheme, id): &(i32, &str, &str)| Acl { perms: Perms(perms), id: Id::new(scheme, id) };
        entries.iter().map(entry).collect::<Vec<Acl>>().into()
    }

    #[test]
    fn t5_who_may_do_what() {
        let ann = identity("digest", "ann:one").unwrap();
        let who = [Id::new("ip", "10.0.0.1"), ann.clone()];
        for (entries, wanted, allowed) in [
            (&[(31, "world", "anyone")][..], Perms::ADMIN, true),
            (&[(1, "world", "anyone")], Perms::WRITE, false),
            (&[(1, "world", "anyone")], Perms::READ | Perms::ADMIN, true),
            (&[(2, "ip", "10.0.0.1")], Perms::WRITE, true),
            (&[(2, "ip", "10.0.0.2")], Perms::WRITE, false),
            (&[(4, "digest", USERS[0].1)], Perms::CREATE, true),
            (&[(4, "digest", USERS[1].1)], Perms::CREATE, false),
        ] {
            assert_eq!(allows(&list(entries), wanted, &who), allowed, "{entries:?} {wanted:?}");
        }
        assert_eq!(identity("digest", "ann:two"), None);
        assert_eq!(stored(&list(&[(3, "auth", "")]), &who), Ok(list(&[(3, "digest", USERS[0].1)])));
        for refused in [&[][..], &[(3, "nobody", "knows")], &[(3, "ip", "here")], &[(3, "digest", "ann")]] {
            assert_eq!(stored(&list(refused), &who), Err(ErrorCode::INVALIDACL), "{refused:?}");
        }
        assert_eq!(stored(&list(&[(3, "auth", "")]), &who[..1]), Err(ErrorCode::INVALIDACL));
        let masked = shown(&list(&[(1, "world", "anyone"), (2, "digest", USERS[1].1)]), &who);
        assert_eq!(masked[1].id, Id::new("digest", "bob:x"));
    }
}
