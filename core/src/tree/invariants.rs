//! What must hold of a tree at any time, looked at all at once.

use alloc::collections::BTreeSet;

use super::node::NO_SLOT;
use super::{ROOT_SLOT, Tree, digest};
use crate::types::{NodeKind, path};

impl Tree {
    /// Checks every invariant of the tree. It goes over every znode: for tests and the simulator.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check_invariants(&self) {
        let (mut sum, mut size, mut ephemerals, mut children) = (0_u64, 0, 0, 0);
        let (mut containers, mut ttls) = (BTreeSet::new(), BTreeSet::new());
        for (slot, node) in self.nodes.iter() {
            assert_eq!(self.find(&node.path), Some(slot), "{} is indexed", node.path);
            if slot == ROOT_SLOT {
                assert_eq!(node.parent, NO_SLOT);
            } else {
                assert!(node.parent < slot, "{} is above its parent", node.path);
                let parent = self.nodes.get(node.parent);
                assert_eq!(path::parent(&node.path), Some(&*parent.path));
                assert_eq!(parent.children()[node.position as usize], slot);
            }
            children += node.children().len();
            size += node.path.len() + node.data_len();
            let expected = if self.options.digest_enabled {
                digest::node_digest(&node.path, node.data.as_deref(), &node.stat_persisted())
            } else {
                0
            };
            assert_eq!(u64::from(node.digest), expected, "the digest of {} is kept", node.path);
            sum = sum.wrapping_add(expected);
            match self.kind_of(node.owner) {
                NodeKind::Container => assert!(containers.insert(slot)),
                NodeKind::Ephemeral => {
                    ephemerals += 1;
                    assert!(self.ephemerals.values().any(|slots| slots.contains(&slot)));
                }
                NodeKind::Persistent => {}
                NodeKind::Ttl(_) => assert!(ttls.insert(slot)),
            }
        }
        assert_eq!(children, self.nodes.len() - 1, "every znode but the root is some znode's child");
        assert_eq!(self.digest, sum);
        assert_eq!(self.data_size, size as u64);
        assert_eq!(self.containers, containers);
        assert_eq!(self.ttls, ttls);
        assert_eq!(self.ephemeral_count, ephemerals);
        assert_eq!(self.ephemerals.values().map(BTreeSet::len).sum::<usize>(), ephemerals);
        assert!(self.ephemerals.values().all(|slots| !slots.is_empty()));
        self.acls.check_uses(self.nodes.iter().map(|(_, node)| node.acl));
    }
}
