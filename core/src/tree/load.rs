//! Building a tree from a snapshot's items, in the order in which the snapshot has them.

use alloc::boxed::Box;
use core::fmt;

use super::acl_table::AclLoader;
use super::node::{NO_SLOT, Node};
use super::{ROOT_SLOT, Tree, TreeOptions};
use crate::types::{AclList, StatPersisted, Zxid, path};

/// Why a snapshot's items make no tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// A path comes a second time.
    Duplicate,
    /// There is no root, or it is not the first znode.
    NoRoot,
    /// The znode's parent did not come before it.
    UnknownParent,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Duplicate => "a path comes twice in the snapshot",
            Self::NoRoot => "the snapshot does not begin with the root",
            Self::UnknownParent => "a znode comes before its parent in the snapshot",
        })
    }
}

/// Builds a [`Tree`]: ACLs first, then znodes, parents before children.
#[derive(Debug)]
pub struct TreeLoader {
    tree: Tree,
    acls: AclLoader,
    /// The parent of the znode before; that of the next is mostly the same.
    last_parent: u32,
}

impl TreeLoader {
    /// Begins with nothing. `hash_seed` as in [`Tree::new`].
    pub fn new(options: TreeOptions, hash_seed: [u64; 4]) -> Self {
        let tree = Tree::without_nodes(options, hash_seed);
        Self { tree, acls: AclLoader::default(), last_parent: ROOT_SLOT }
    }

    /// Takes up one entry of the ACL map.
    pub fn load_acl(&mut self, id: i64, acl: AclList) {
        self.acls.load(&mut self.tree.acls, id, acl);
    }

    /// Takes up one znode; the root's path is empty.
    ///
    /// # Errors
    /// If it does not fit what came before; the snapshot is of no use then.
    pub fn load_node(
        &mut self,
        path: impl Into<Box<str>>,
        data: Option<Box<[u8]>>,
        acl_id: i64,
        stat: StatPersisted,
    ) -> Result<(), LoadError> {
        let path: Box<str> = path.into();
        if path.is_empty() {
            if self.tree.nodes.len() != 0 {
                return Err(LoadError::Duplicate);
            }
            let acl = self.acls.acquire(&mut self.tree.acls, acl_id);
            self.tree.insert_node(Node::new(path::ROOT.into(), data, acl, NO_SLOT, &stat));
            return Ok(());
        }
        if self.tree.nodes.len() == 0 {
            return Err(LoadError::NoRoot);
        }
        let parent = self.parent_of(&path)?;
        let hash = self.tree.index.hash(&path);
        if self.tree.find_hashed(&path, hash).is_some() {
            return Err(LoadError::Duplicate);
        }
        let acl = self.acls.acquire(&mut self.tree.acls, acl_id);
        self.tree.insert_hashed(Node::new(path, data, acl, parent, &stat), hash, None);
        Ok(())
    }

    /// The tree, after `last_zxid`: usage of quotas counted, ACLs that nobody has left out.
    ///
    /// # Errors
    /// If there was no znode at all.
    pub fn finish_load(self, last_zxid: Zxid) -> Result<Tree, LoadError> {
        let Self { mut tree, acls, last_parent: _ } = self;
        if tree.nodes.len() == 0 {
            return Err(LoadError::NoRoot);
        }
        acls.finish(&mut tree.acls);
        tree.quota_setup();
        tree.last_zxid = last_zxid;
        Ok(tree)
    }

    fn parent_of(&mut self, path: &str) -> Result<u32, LoadError> {
        let parent = path::parent(path).ok_or(LoadError::UnknownParent)?;
        if *self.tree.nodes.get(self.last_parent).path != *parent {
            self.last_parent = self.tree.find(parent).ok_or(LoadError::UnknownParent)?;
        }
        Ok(self.last_parent)
    }
}
