//! Who is where: nodes, the servers that run on them, clients, and where all of them can be reached.
//!
//! Every node has a name, `node` and its server's id, and three ports.

use std::fmt;

use zabra_core::types::{Address, Member, MemberRole, Membership, ServerId};

/// Where every node listens for its leader's learners.
pub const QUORUM_PORT: u16 = 2888;
/// Where every node listens for votes.
pub const ELECTION_PORT: u16 = 3888;
/// Where every node listens for clients.
pub const CLIENT_PORT: u16 = 2181;

/// A server process by its place in the node table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub usize);

/// A client by its place in the client table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(pub usize);

impl ClientId {
    /// The address that it connects from.
    pub const fn address(self) -> [u8; 4] {
        [10, 0, (self.0 >> 8) as u8, self.0 as u8]
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// Who is at one end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// A client.
    Client(ClientId),
    /// A server.
    Node(NodeId),
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(client) => client.fmt(f),
            Self::Node(node) => node.fmt(f),
        }
    }
}

/// The server that runs on a node.
pub const fn server_of(node: NodeId) -> ServerId {
    ServerId(node.0 as i64 + 1)
}

/// The node that a server runs on.
pub const fn node_of(server: ServerId) -> NodeId {
    NodeId(server.0 as usize - 1)
}

/// A server that somebody names, called as its node is; but there need not be such a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named(pub ServerId);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0.0.saturating_sub(1))
    }
}

/// An ensemble of this many voters and observers, which have the highest ids.
pub fn membership(voters: usize, observers: usize) -> Membership {
    let member = |index: usize| {
        let address = |port| vec![Address { host: format!("node{}", index + 1), port }];
        Member {
            quorum: address(QUORUM_PORT),
            election: address(ELECTION_PORT),
            client: Some(address(CLIENT_PORT).remove(0)),
            role: if index < voters { MemberRole::Participant } else { MemberRole::Observer },
        }
    };
    let members = (0..voters + observers).map(|index| (server_of(NodeId(index)), member(index)));
    Membership::majority(0, members.collect())
}

/// What the server on a node that is no member begins with: these members, and itself.
pub fn joiner(first: &Membership, node: NodeId, role: MemberRole) -> Membership {
    let mut members = first.members().clone();
    let all = membership(node.0 + 1, 0);
    let own = all.member(server_of(node)).expect("it is the last of them");
    members.insert(server_of(node), Member { role, ..own.clone() });
    Membership::majority(0, members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ensemble_knows_who_votes() {
        let ensemble = membership(3, 2);
        let voters: Vec<i64> = ensemble.voters().map(|server| server.0).collect();
        assert_eq!(voters, [1, 2, 3]);
        assert_eq!(ensemble.members().len(), 5);
        let member = ensemble.member(ServerId(5)).unwrap();
        assert_eq!((member.role, member.election[0].host.as_str()), (MemberRole::Observer, "node5"));
        assert_eq!(node_of(server_of(NodeId(4))), NodeId(4));
    }

    #[test]
    fn whoever_is_named_has_a_name() {
        assert_eq!(Named(server_of(NodeId(4))).to_string(), NodeId(4).to_string());
        assert_eq!(Party::Client(ClientId(2)).to_string(), "c2");
        for nobody in [i64::MIN, -1, 0, 8, i64::MAX] {
            assert!(Named(ServerId(nobody)).to_string().starts_with('n'), "{nobody}");
        }
    }
}
