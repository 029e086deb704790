//! Access control lists: who may do what with one znode.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::BitOr;

/// A set of permissions, bit by bit as ZooKeeper numbers them (`ZooDefs.Perms`).
///
/// Unknown bits are kept: ZooKeeper does not validate the number either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Perms(pub i32);

impl Perms {
    /// getData, getChildren, exists, check, and whether a watch event may be seen.
    pub const READ: Self = Self(1);
    /// setData.
    pub const WRITE: Self = Self(2);
    /// Creating a child.
    pub const CREATE: Self = Self(4);
    /// Deleting a child.
    pub const DELETE: Self = Self(8);
    /// setACL.
    pub const ADMIN: Self = Self(16);
    /// All of the above.
    pub const ALL: Self = Self(31);

    /// Whether any permission of `wanted` is among these.
    pub const fn intersects(self, wanted: Self) -> bool {
        self.0 & wanted.0 != 0
    }
}

impl BitOr for Perms {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// An identity within an authentication scheme, such as `world:anyone` or `ip:10.0.0.1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    /// The scheme that gives the id its meaning.
    pub scheme: Cow<'static, str>,
    /// The identity, in the scheme's own notation.
    pub id: Cow<'static, str>,
}

impl Id {
    /// Everyone.
    pub const ANYONE: Self = Self { scheme: Cow::Borrowed("world"), id: Cow::Borrowed("anyone") };

    /// The identity `id` of `scheme`.
    pub fn new(scheme: impl Into<String>, id: impl Into<String>) -> Self {
        Self { scheme: Cow::Owned(scheme.into()), id: Cow::Owned(id.into()) }
    }
}

/// One entry of an access control list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Acl {
    /// What the identity may do.
    pub perms: Perms,
    /// Whom the entry is about.
    pub id: Id,
}

static OPEN_UNSAFE: [Acl; 1] = [Acl { perms: Perms::ALL, id: Id::ANYONE }];

/// A znode's access control list. Cheap to clone; the list nearly every znode has costs nothing at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AclList {
    /// `world:anyone` may do everything (`ZooDefs.Ids.OPEN_ACL_UNSAFE`).
    OpenUnsafe,
    /// Any other list. Kept distinct from [`AclList::OpenUnsafe`] by construction through `From`.
    Entries(Arc<[Acl]>),
}

impl AclList {
    /// The entries in order.
    pub fn entries(&self) -> &[Acl] {
        match self {
            Self::OpenUnsafe => &OPEN_UNSAFE,
            Self::Entries(entries) => entries,
        }
    }
}

impl From<Vec<Acl>> for AclList {
    fn from(entries: Vec<Acl>) -> Self {
        if entries == OPEN_UNSAFE { Self::OpenUnsafe } else { Self::Entries(entries.into()) }
    }
}
