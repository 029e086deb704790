//! Who belongs to an ensemble and who of them votes: a configuration as the reference has it. How configurations are read,
//! written, changed and counted is decided here a second time; nothing of it is the core's.
//!
//! Every server of a world is called by its node, and listens where every node does (see [`crate::places`]), so a set of
//! nodes says it all, and a majority of those that vote is a quorum.

use std::fmt;

use zabra_core::types::{ErrorCode, ServerId};

use crate::places::{CLIENT_PORT, ELECTION_PORT, NodeId, QUORUM_PORT, server_of};

/// See the module. A bit for each node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    voters: u64,
    observers: u64,
}

/// Fewer members that vote are never agreed on.
const VOTERS_MIN: u32 = 2;

impl Roster {
    /// The first so many nodes vote, and as many as `observers` behind them observe.
    pub fn first(voters: usize, observers: usize) -> Self {
        let below = |count: usize| (1_u64 << count) - 1;
        Self { voters: below(voters), observers: below(voters + observers) & !below(voters) }
    }

    /// Reads what servers write; nothing, if it is not of this world. Answers its version, too.
    pub fn parse(text: &str) -> Option<(Self, i64)> {
        let (mut roster, mut version) = (Self::default(), 0);
        for line in text.lines() {
            match line.strip_prefix("version=") {
                Some(number) => version = i64::from_str_radix(number, 16).ok()?,
                None => roster = roster.joined(line)?,
            }
        }
        Some((roster, version))
    }

    /// As servers write it.
    pub fn text(self, version: i64) -> String {
        let lines = self.members().map(|node| format!("{}\n", entry(node, self.is_voter(node))));
        format!("{}version={version:x}", lines.collect::<String>())
    }

    /// What becomes of it: those that leave go, then those that join come, or have another role; or it is another one.
    ///
    /// # Errors
    /// What is answered to a change that makes no sense.
    pub fn changed(self, joining: &str, leaving: &str, members: &str) -> Result<Self, ErrorCode> {
        let words = |text: &str| text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let mut next = if members.is_empty() { self } else { Self::default() };
        let leaving: Vec<String> = if members.is_empty() { words(leaving) } else { Vec::new() };
        for server in leaving {
            let server = server.parse().map_err(|_| ErrorCode::MARSHALLINGERROR)?;
            let node = next.members().find(|&node| server_of(node) == ServerId(server));
            next = node.map_or(next, |node| next.without(node));
        }
        let joining: Vec<String> = words(if members.is_empty() { joining } else { members });
        for joiner in joining {
            next = next.joined(&joiner).ok_or(ErrorCode::BADARGUMENTS)?;
        }
        if next.voters.count_ones() < VOTERS_MIN { Err(ErrorCode::BADARGUMENTS) } else { Ok(next) }
    }

    /// A member more, or one that has another role from now on: what an entry says.
    fn joined(self, entry_of: &str) -> Option<Self> {
        let (key, _) = entry_of.split_once('=')?;
        let server: usize = key.strip_prefix("server.")?.parse().ok()?;
        let node = NodeId(server.checked_sub(1).filter(|&node| node < u64::BITS as usize)?);
        let voter = [true, false].into_iter().find(|&voter| entry_of == entry(node, voter))?;
        Some(self.with(node, voter))
    }

    /// With this node in this role.
    #[must_use]
    pub const fn with(self, node: NodeId, voter: bool) -> Self {
        let Self { voters, observers } = self.without(node);
        if voter {
            Self { voters: voters | bit(node), observers }
        } else {
            Self { voters, observers: observers | bit(node) }
        }
    }

    /// Without this node.
    #[must_use]
    pub const fn without(self, node: NodeId) -> Self {
        Self { voters: self.voters & !bit(node), observers: self.observers & !bit(node) }
    }

    /// Whether a node votes.
    pub const fn is_voter(self, node: NodeId) -> bool {
        self.voters & bit(node) != 0
    }

    /// Whether a node belongs to it.
    pub const fn is_member(self, node: NodeId) -> bool {
        (self.voters | self.observers) & bit(node) != 0
    }

    /// How many vote.
    pub const fn voters(self) -> u32 {
        self.voters.count_ones()
    }

    /// Everybody, in order.
    pub fn members(self) -> impl Iterator<Item = NodeId> {
        (0..u64::BITS as usize).map(NodeId).filter(move |&node| self.is_member(node))
    }

    /// Whether a majority of those who vote is among these. It is counted here: how servers count is among what they may
    /// have wrong.
    pub fn is_quorum(self, nodes: impl Iterator<Item = NodeId>) -> bool {
        let among = nodes.fold(0, |among, node| among | bit(node)) & self.voters;
        among.count_ones() * 2 > self.voters.count_ones()
    }
}

/// What stands for a node in a set of them.
const fn bit(node: NodeId) -> u64 {
    1 << node.0
}

/// The entry of a node in a configuration.
pub fn entry(node: NodeId, voter: bool) -> String {
    let server = server_of(node).0;
    let role = if voter { "participant" } else { "observer" };
    format!("server.{server}=node{server}:{QUORUM_PORT}:{ELECTION_PORT}:{role};node{server}:{CLIENT_PORT}")
}

/// Those that observe stand in brackets.
impl fmt::Display for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, node) in self.members().enumerate() {
            let space = if index == 0 { "" } else { " " };
            if self.is_voter(node) { write!(f, "{space}{node}")? } else { write!(f, "{space}({node})")? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::membership;

    #[test]
    fn it_is_written_and_read_as_servers_do() {
        for (voters, observers) in [(1, 0), (3, 2), (7, 2)] {
            let roster = Roster::first(voters, observers);
            let text = membership(voters, observers).with_version(0x1_0000_0007).text();
            assert_eq!(roster.text(0x1_0000_0007), text);
            assert_eq!(Roster::parse(&text), Some((roster, 0x1_0000_0007)));
        }
        assert_eq!(Roster::parse("server.1=elsewhere:2888:3888:participant"), None);
    }

    #[test]
    fn members_come_and_go() {
        let three = Roster::first(3, 0);
        let joins = |node, voter| entry(NodeId(node), voter);
        let four = three.changed(&joins(3, true), "", "").unwrap();
        assert_eq!(four, Roster::first(4, 0));
        assert_eq!(three.changed(&joins(3, false), "", ""), Ok(Roster::first(3, 1)));
        assert_eq!(four.changed("", "4", ""), Ok(three));
        assert_eq!(four.changed(&joins(3, false), "", ""), Ok(Roster::first(3, 1)));
        let two = format!("{},{}", joins(0, true), joins(1, true));
        assert_eq!(four.changed("", "", &two), Ok(Roster::first(2, 0)));
        assert_eq!(three.changed("", "1,2", ""), Err(ErrorCode::BADARGUMENTS));
        assert_eq!(three.changed("server.9=h:1:2", "", ""), Err(ErrorCode::BADARGUMENTS));
        let quorum = |nodes: &[usize]| four.is_quorum(nodes.iter().copied().map(NodeId));
        assert!(quorum(&[0, 1, 3]) && !quorum(&[0, 1]) && !quorum(&[0, 1, 4]));
        assert_eq!(Roster::first(1, 1).to_string(), "n0 (n1)");
    }
}
