//! What a checker knows of each server that leads, from when it begins to until it does no more.

use std::collections::BTreeMap;

use zabra_core::server::Role;

use crate::history::Observed;
use crate::places::NodeId;

/// See the module.
#[derive(Clone, Debug)]
pub struct Leaders<T> {
    known: BTreeMap<NodeId, T>,
}

impl<T> Default for Leaders<T> {
    fn default() -> Self {
        Self { known: BTreeMap::new() }
    }
}

impl<T> Leaders<T> {
    /// Takes note of who begins to lead, and of whom `begin` is known then, and of who stops.
    #[inline(always)]
    pub fn follow(&mut self, what: &Observed, begin: impl FnOnce() -> T) {
        match what {
            Observed::RoleTaken { node, standing, .. } if standing.role == Role::Leading => {
                self.known.insert(*node, begin());
            }
            Observed::RoleTaken { node, .. }
            | Observed::RoleLost { node, .. }
            | Observed::Crashed { node, .. }
            | Observed::Stopped { node, .. } => {
                self.known.remove(node);
            }
            _ => {}
        }
    }

    /// What is known of a server, if it leads.
    pub fn get_mut(&mut self, node: NodeId) -> Option<&mut T> {
        self.known.get_mut(&node)
    }
}
