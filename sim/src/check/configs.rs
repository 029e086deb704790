//! Which configurations there are, and which rules. A configuration is known by its version: the transaction that makes
//! it, which somebody has proposed, if only to be cut off before it was in any log; or, of the first one, the epoch of
//! the leader that gave it its version.
//!
//! One is *established* once it is agreed on for good: its transaction is committed, or a leader has said UPTODATE in an
//! epoch that it begins with it, which a leader may do with one that it has seen and that is in no log. The newest
//! established one rules: its quorums hold what is committed. What comes behind it may yet be.
//!
//! What a leader needs follows from what its epoch begins with, which NEWLEADER says, and from the changes of that epoch.

use std::collections::BTreeMap;

use zabra_core::types::Zxid;

use crate::places::NodeId;
use crate::roster::Roster;

/// A leader, in its epoch.
type Reign = (NodeId, i64);

/// A configuration that was established, and the one that ruled before it.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Its version.
    pub version: Zxid,
    /// Who ruled before.
    pub before: Roster,
    /// Whether a transaction says so.
    pub is_logged: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Configs {
    known: BTreeMap<Zxid, Roster>,
    ruling: Zxid,
    /// In the order in which they were established.
    changes: Vec<Change>,
    /// What each leader has begun its epoch with, as it said at first.
    offered: BTreeMap<Reign, Zxid>,
    /// What each server has said so last, and in which epoch.
    said: BTreeMap<NodeId, (i64, Zxid)>,
}

impl Configs {
    /// The first one.
    pub fn new(first: Roster) -> Self {
        Self { known: BTreeMap::from([(Zxid::ZERO, first)]), ..Self::default() }
    }

    /// Somebody has proposed a change, or logged it.
    pub fn learn(&mut self, version: Zxid, roster: Roster) {
        self.known.insert(version, roster);
    }

    /// The members in a version, if there is such a configuration.
    pub fn get(&self, version: Zxid) -> Option<Roster> {
        match self.known.get(&version) {
            None if version.begins_epoch() => self.known.get(&Zxid::ZERO).copied(),
            known => known.copied(),
        }
    }

    /// The one that rules.
    pub fn ruling(&self) -> Roster {
        self.get(self.ruling).unwrap_or_default()
    }

    /// Its version.
    pub const fn version(&self) -> Zxid {
        self.ruling
    }

    /// The newest that anybody has proposed.
    pub fn newest(&self) -> Option<Zxid> {
        self.known.keys().next_back().copied()
    }

    /// What counts among servers of which none has a newer one in force than this: that one, and all that are newer, of
    /// which they may have heard; those that rule and that may yet be established are always among them.
    ///
    /// That a change is established does not mean that who knows of it knows that, too. Who has logged it as a proposal
    /// only, and hears of nobody who has it in force, needs a quorum of those before it as well: it may be void.
    pub fn counting(&self, in_force: Zxid) -> impl Iterator<Item = Roster> {
        let oldest = in_force.min(self.ruling);
        let newer = self.known.range(Zxid(oldest.0 + 1)..).map(|(_, &roster)| roster);
        self.get(oldest).into_iter().chain(newer)
    }

    /// Whether a server has a vote, whatever it goes by whose history has everything up to `end`. The last change there it
    /// may have heard of as a proposal only.
    pub fn is_voter(&self, node: NodeId, end: Zxid) -> bool {
        self.known.range(self.established_in(end, 1)..).all(|(_, roster)| roster.is_voter(node))
    }

    /// What was established behind one transaction, up to another.
    pub fn changed_within(&self, behind: Zxid, up_to: Zxid) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |change| behind < change.version && change.version <= up_to)
    }

    /// It is agreed on for good; there is a transaction that says so, or none.
    pub fn establish(&mut self, version: Zxid, is_logged: bool) {
        if version > self.ruling {
            self.changes.push(Change { version, before: self.ruling(), is_logged });
            self.ruling = version;
        }
    }

    /// Whether it was agreed on. What was given to the first configuration as a version makes no difference.
    pub fn is_established(&self, version: Zxid) -> bool {
        let newest = self.changes.iter().any(|change| change.version == version);
        newest || version.begins_epoch() && version <= self.ruling
    }

    /// A leader says what its epoch begins with; later, to those who come later, what is in force.
    pub fn offer(&mut self, leader: NodeId, epoch: i64, version: Zxid) {
        self.offered.entry((leader, epoch)).or_insert(version);
        self.said.insert(leader, (epoch, version));
    }

    /// Whether this is what a leader said last that its epoch begins with.
    pub fn offers(&self, leader: NodeId, version: Zxid) -> bool {
        self.said.get(&leader).is_some_and(|&(_, said)| said == version)
    }

    /// A leader says UPTODATE: what its epoch began with, as it said last. That is news, if it was not established.
    pub fn accept(&mut self, leader: NodeId) -> Option<(Zxid, Roster)> {
        let (_, version) = *self.said.get(&leader)?;
        if version <= self.ruling {
            return None;
        }
        let roster = self.get(version)?;
        self.establish(version, false);
        Some((version, roster))
    }

    /// What a leader's epoch began with. One that says nothing of it goes by what rules.
    pub fn offered(&self, leader: NodeId, epoch: i64) -> Zxid {
        self.offered.get(&(leader, epoch)).copied().unwrap_or(self.ruling)
    }

    /// The newest that a leader goes by in its epoch when everything up to `zxid` is in force there.
    fn of_reign(&self, reign: Reign, zxid: Zxid) -> Option<Zxid> {
        let begin = Zxid::new(reign.1 as u32, 1);
        let own = (begin <= zxid).then(|| self.known.range(begin..=zxid).next_back()).flatten();
        own.map(|(&version, _)| version).or_else(|| self.offered.get(&reign).copied())
    }

    /// What a leader goes by once everything up to `zxid` is in force, or the ruling one where that is not known.
    fn in_force(&self, leader: NodeId, epoch: i64, zxid: Zxid) -> Roster {
        self.of_reign((leader, epoch), zxid)
            .and_then(|version| self.get(version))
            .unwrap_or_else(|| self.ruling())
    }

    /// Whose quorums a transaction needs that a leader calls committed: of the configuration that it belongs to, and of the
    /// one before, if it changes it.
    pub fn needed(&self, leader: NodeId, epoch: i64, zxid: Zxid) -> impl Iterator<Item = Roster> {
        let before = self.known.contains_key(&zxid).then(|| self.in_force(leader, epoch, Zxid(zxid.0 - 1)));
        before.into_iter().chain([self.in_force(leader, epoch, zxid)])
    }

    /// Whether these are a quorum for a leader that has committed everything up to `zxid`; what was in force before that
    /// in the same epoch may have been when it counted.
    pub fn backs(
        &self,
        leader: NodeId,
        epoch: i64,
        zxid: Zxid,
        nodes: impl Iterator<Item = NodeId> + Clone,
    ) -> bool {
        let now = self.of_reign((leader, epoch), zxid);
        let before = now.and_then(|now| self.of_reign((leader, epoch), Zxid(now.0 - 1)));
        let count = |version: Option<Zxid>| version.and_then(|version| self.get(version));
        let counts = [count(now).or_else(|| Some(self.ruling())), count(before)];
        counts.into_iter().flatten().any(|roster| roster.is_quorum(nodes.clone()))
    }

    /// Whether these are a quorum in anything that a server may go by whose history has everything up to `end`: it knows
    /// of what was established up to there. One that is no member knows itself besides.
    pub fn may_back(&self, node: NodeId, end: Zxid, nodes: impl Iterator<Item = NodeId> + Clone) -> bool {
        self.is_quorum_since(self.established_in(end, 0), node, nodes)
    }

    /// Whether these are worth following for it, if one of them says that it leads: a quorum in what it may have in force.
    /// Of the last change in its history it may have heard as a proposal only, and then that is the one before.
    pub fn may_follow(&self, node: NodeId, end: Zxid, nodes: impl Iterator<Item = NodeId> + Clone) -> bool {
        self.is_quorum_since(self.established_in(end, 1), node, nodes)
    }

    /// What was established last in a history up to `end`, but for so many.
    fn established_in(&self, end: Zxid, but: usize) -> Zxid {
        let established = self.changes.iter().rev().filter(|change| change.version <= end).nth(but);
        let version = established.map(|change| change.version);
        version.filter(|version| !version.begins_epoch()).unwrap_or_default()
    }

    /// Whether these are a quorum in this one, or in one that is newer.
    fn is_quorum_since(
        &self,
        known: Zxid,
        node: NodeId,
        nodes: impl Iterator<Item = NodeId> + Clone,
    ) -> bool {
        self.known.range(known..).any(|(_, roster)| {
            let knows_itself = !roster.is_member(node) && roster.with(node, true).is_quorum(nodes.clone());
            roster.is_quorum(nodes.clone()) || knows_itself
        })
    }

    /// Changes, newest first.
    pub fn changes(&self) -> impl Iterator<Item = Zxid> {
        self.known.keys().rev().copied().filter(|version| !version.begins_epoch())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_depends_on_what_is_known_to_be_in_force() {
        let [three, four, two, five] = [3, 4, 2, 5].map(|voters| Roster::first(voters, 0));
        let mut configs = Configs::new(three);
        let [first, void, ruling, pending] = [0, 5, 7, 9].map(|counter| Zxid::new(1, counter));
        configs.establish(first, false);
        configs.learn(void, four);
        configs.learn(ruling, two);
        configs.establish(ruling, true);
        configs.learn(pending, five);
        let counting = |in_force| configs.counting(in_force).collect::<Vec<_>>();
        assert_eq!(counting(ruling), [two, five]);
        assert_eq!(counting(pending), [two, five], "what rules counts, whatever anybody says");
        assert_eq!(counting(first), [three, four, two, five], "nobody knows what became of the others");
        assert_eq!(counting(Zxid::ZERO), [three, four, two, five]);
    }

    /// Two of three follow a leader, and a third comes to them that has heard of a change to five: whether it may depends on
    /// whether that can be a proposal for it.
    #[test]
    fn who_is_followed_need_not_be_a_quorum_of_the_last_change() {
        let [first, change, next] = [0, 5, 7].map(|counter| Zxid::new(1, counter));
        let mut configs = Configs::new(Roster::first(3, 0));
        configs.establish(first, false);
        let two = || [NodeId(0), NodeId(1)].into_iter();
        for (version, roster) in [(change, 5), (next, 4)] {
            configs.learn(version, Roster::first(roster, 0));
            configs.establish(version, true);
        }
        for (end, may_back, may_follow) in [(first, true, true), (change, false, true), (next, false, false)]
        {
            assert_eq!(configs.may_back(NodeId(2), end, two()), may_back, "{end}");
            assert_eq!(configs.may_follow(NodeId(2), end, two()), may_follow, "{end}");
        }
    }
}
