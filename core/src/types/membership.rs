//! Who belongs to an ensemble, and which of its members make a quorum: membership and quorum arithmetic, nothing else.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use super::ids::ServerId;

/// Where something listens: a host's name or address, unresolved, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// A name or an IP address; IPv6 without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// Whether a member votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberRole {
    /// It follows without a vote.
    Observer,
    /// It votes.
    Participant,
}

/// One server of an ensemble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where a leader listens for its learners.
    pub quorum: Vec<Address>,
    /// Where it listens for votes; as many as `quorum`, in the same order.
    pub election: Vec<Address>,
    /// Where it listens for clients, if its entry says so.
    pub client: Option<Address>,
    /// Whether it votes.
    pub role: MemberRole,
}

/// The members of an ensemble in one version of its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    version: i64,
    members: BTreeMap<ServerId, Member>,
}

impl Membership {
    /// An ensemble in which a majority of the participants is a quorum.
    pub const fn majority(version: i64, members: BTreeMap<ServerId, Member>) -> Self {
        Self { version, members }
    }

    /// The version: the zxid of the reconfiguration that made it, 0 when it comes from a file.
    pub const fn version(&self) -> i64 {
        self.version
    }

    /// Every member, in order of ids.
    pub const fn members(&self) -> &BTreeMap<ServerId, Member> {
        &self.members
    }

    /// The member of this id.
    pub fn member(&self, server: ServerId) -> Option<&Member> {
        self.members.get(&server)
    }

    /// The participants, in order of ids.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.members.iter().filter(|(_, member)| member.role == MemberRole::Participant).map(|(&id, _)| id)
    }

    /// Whether the server is a participant.
    pub fn is_voter(&self, server: ServerId) -> bool {
        self.member(server).is_some_and(|member| member.role == MemberRole::Participant)
    }

    /// How much the server's vote counts; 0 for who has none.
    pub fn weight(&self, server: ServerId) -> i64 {
        i64::from(self.is_voter(server))
    }

    /// Whether `servers` contains a quorum.
    pub fn has_quorum(&self, servers: &BTreeSet<ServerId>) -> bool {
        let count = self.voters().filter(|voter| servers.contains(voter)).count();
        count > self.voters().count() / 2
    }
}
