//! Who belongs to an ensemble, and which of its members make a quorum: membership and quorum arithmetic, nothing else.
//!
//! A configuration is written as ZooKeeper writes it ([`Membership::parse`], [`Membership::text`]); it comes from a
//! file, from another server, and out of `/zookeeper/config`. A quorum is a majority of the participants, or, where
//! there are groups, more than half of the weight in each of more than half of the groups.

mod address;
mod parse;
mod properties;
mod reconfigure;
mod text;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

pub use address::Address;
pub use parse::{EntryProblem, MembershipError};
pub use reconfigure::ReconfigureError;

use super::ids::ServerId;

/// Bytes of a configuration's text, whatever its version: servers tell each other of it with every vote, in a frame of
/// no more than 512 KiB (PARITY `qcm.frame`).
pub const TEXT_MAX: usize = 512 * 1024 - 64;

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
    /// `None` where a majority of the participants is a quorum.
    hierarchy: Option<Hierarchy>,
}

/// Groups of servers and what each of these weighs (PARITY `qv.hier`).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    /// Which group a server is in. There may be servers that are no members.
    group_of: BTreeMap<ServerId, i64>,
    /// What a server weighs, never less than nothing: every participant's, and whatever else the text says.
    weights: BTreeMap<ServerId, i64>,
    /// What the servers of each group weigh together. A group without weight does not count.
    group_weights: BTreeMap<i64, i64>,
}

impl Hierarchy {
    /// Whether more than half of the groups have more than half of their weight among `servers`.
    fn has_quorum(&self, servers: impl Iterator<Item = ServerId>) -> bool {
        let mut found: BTreeMap<i64, i64> = BTreeMap::new();
        for server in servers {
            let (Some(&group), Some(&weight)) = (self.group_of.get(&server), self.weights.get(&server))
            else {
                continue;
            };
            *found.entry(group).or_default() += weight;
        }
        let counts = |(group, weight): (&i64, &i64)| *weight > self.group_weights[group] / 2;
        let won = found.iter().filter(|&pair| counts(pair)).count();
        let groups = self.group_weights.values().filter(|&&weight| weight != 0).count();
        won > groups / 2
    }
}

impl Membership {
    /// An ensemble in which a majority of the participants is a quorum.
    pub const fn majority(version: i64, members: BTreeMap<ServerId, Member>) -> Self {
        Self { version, members, hierarchy: None }
    }

    /// Reads a configuration that comes from another server. `None`: it is none, or none to go by, for nobody could be
    /// elected in it, or nobody told of it.
    pub fn from_peer(text: &[u8]) -> Option<Self> {
        let membership = Self::parse(core::str::from_utf8(text).ok()?).ok()?;
        (membership.can_elect() && !membership.is_too_long()).then_some(membership)
    }

    /// Whether all voters together are a quorum. Where there is none, or none that weighs anything, they are not.
    pub fn can_elect(&self) -> bool {
        self.has_quorum(&self.voters().collect())
    }

    /// Whether its text could become longer than [`TEXT_MAX`].
    pub fn is_too_long(&self) -> bool {
        self.clone().with_version(i64::MAX).text().len() > TEXT_MAX
    }

    /// The version: the zxid of the reconfiguration that made it, 0 when it comes from a file.
    pub const fn version(&self) -> i64 {
        self.version
    }

    /// The same members in another version.
    #[must_use]
    pub fn with_version(self, version: i64) -> Self {
        Self { version, ..self }
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

    /// Whether a majority of the participants is a quorum: there are no groups.
    pub const fn is_majority(&self) -> bool {
        self.hierarchy.is_none()
    }

    /// How much the server's vote counts; 0 for who has none. Without groups every vote counts the same.
    pub fn weight(&self, server: ServerId) -> i64 {
        match &self.hierarchy {
            _ if !self.is_voter(server) => 0,
            None => 1,
            Some(hierarchy) => hierarchy.weights.get(&server).copied().unwrap_or(0),
        }
    }

    /// Whether `servers` contains a quorum. Who is no participant does not count.
    pub fn has_quorum(&self, servers: &BTreeSet<ServerId>) -> bool {
        self.has_quorum_of(|server| servers.contains(&server))
    }

    /// Likewise the servers that are said to be `here`.
    pub(crate) fn has_quorum_of(&self, here: impl Fn(ServerId) -> bool) -> bool {
        let here = |voter: &ServerId| here(*voter);
        match &self.hierarchy {
            None => {
                let (mut all, mut present) = (0, 0);
                for voter in self.voters() {
                    all += 1;
                    present += usize::from(here(&voter));
                }
                present > all / 2
            }
            Some(hierarchy) => hierarchy.has_quorum(self.voters().filter(here)),
        }
    }
}

#[cfg(test)]
mod tests;
