//! The configurations a member knows: the one in force, and the newest one it has seen.
//!
//! What is in force comes from the file the server was started with, from a leader or, while it looks for one, from
//! other servers. What is newer than that was proposed and may come into force: until that is known, it takes quorums
//! of both to elect a leader.
//!
//! The newest one is durable before it is acknowledged. If a transaction proposed it, that is in the log, and in the
//! tree of the next start, whatever becomes of the files. But a leader can also begin its epoch with one of which there
//! is no transaction: a new leader gives the first configuration a version (PARITY `sync.leader.activation`), and a
//! leader of ZooKeeper, which looks for none in its log, takes what it saw last from the file `zoo.cfg.dynamic.next`
//! (PARITY `reconf.dynfile`), into which it went before the transaction went to the log, and maybe instead. So that is
//! kept, too, as ZooKeeper keeps it: for a ZooKeeper server that takes over the files, and for this one, lest it
//! acknowledge the beginning of an epoch, forget the configuration in a crash, and help those who never heard of it to
//! a quorum that is none any more. Where it cannot be kept, and is in no log, this server does not acknowledge the
//! epoch's beginning, and as a leader does not count itself; the same goes for one in force that another server told of.
//! ZooKeeper logs the error and goes on.

use core::mem;

use bytes::Bytes;

use crate::election::View;
use crate::recovery::config_in;
use crate::tree::Tree;
use crate::types::{MemberRole, Membership, OpCode, ServerId, Txn, TxnHeader, Zxid, path};

/// See the module.
#[derive(Debug)]
pub(super) struct Configs {
    /// Whether configurations change at all (`reconfigEnabled`).
    dynamic: bool,
    current: Membership,
    /// `current` as text.
    text: Bytes,
    /// The newest one that the log has, if it is newer than `current`.
    proposed: Option<Membership>,
    /// The newest one that need not be in the log, until a leader says what counts. Newer than `current`.
    heard: Option<Membership>,
    /// The version of the newest one as it was to be kept last.
    kept: Option<i64>,
    /// The newest one that the log has, or the snapshot that it goes on from.
    logged: i64,
    /// The one before that, if the log has it, too: the next start knows that it came into force.
    logged_before: i64,
    /// `current` could not be kept.
    current_is_lost: bool,
    /// The last one in force before `current` that was kept.
    filed: Option<Membership>,
    /// `heard` could not be kept.
    heard_is_lost: bool,
    /// What the leader's epoch begins with.
    offered: Option<Membership>,
}

impl Configs {
    /// The configuration of the file, the one that was seen last according to another, and what the tree has.
    pub(super) fn new(
        dynamic: bool,
        current: Membership,
        seen: Option<Membership>,
        tree: &Tree,
        before: Option<&Membership>,
    ) -> Self {
        let text = Bytes::from(current.text());
        let kept = seen.as_ref().map(Membership::version);
        let heard = seen.filter(|seen| dynamic && seen.version() > current.version());
        let mut configs = Self {
            dynamic,
            current,
            text,
            proposed: None,
            heard,
            kept,
            logged: 0,
            logged_before: 0,
            current_is_lost: false,
            filed: None,
            heard_is_lost: false,
            offered: None,
        };
        configs.reload(tree);
        configs.logged_before = before.map_or(0, Membership::version);
        configs
    }

    pub(super) const fn is_dynamic(&self) -> bool {
        self.dynamic
    }

    /// The configuration in force.
    pub(super) const fn current(&self) -> &Membership {
        &self.current
    }

    /// The newest one, if that is not in force.
    pub(super) fn next(&self) -> Option<&Membership> {
        self.proposed.iter().chain(&self.heard).max_by_key(|membership| membership.version())
    }

    /// The text of the configuration in force.
    pub(super) const fn text(&self) -> &Bytes {
        &self.text
    }

    /// The text of the newest one.
    pub(super) fn newest_text(&self) -> Bytes {
        self.next().map_or_else(|| self.text.clone(), |next| Bytes::from(next.text()))
    }

    /// What elections go by, for a server whose history is of this epoch.
    pub(super) fn view(&self, current_epoch: i64) -> View {
        let view = View::new(self.current.clone(), self.next().cloned(), self.text.clone());
        view.of_a_proposal(self.is_proposal(current_epoch))
    }

    /// Whether the newest is no more than a proposal here: who has acknowledged an epoch that began with it has a history of
    /// a later epoch than its transaction's.
    fn is_proposal(&self, current_epoch: i64) -> bool {
        let version = self.next().map(|next| Zxid(next.version()));
        version.is_some_and(|version| !version.begins_epoch() && current_epoch <= i64::from(version.epoch()))
    }

    /// Whether the configuration in force has the server as an observer; one that it does not have at all follows
    /// without a vote (PARITY `reconf.learneraction`).
    pub(super) fn is_observer(&self, server: ServerId) -> bool {
        self.current.member(server).is_some_and(|member| member.role == MemberRole::Observer)
    }

    /// The database is another one, as the next start would find it: what was proposed and is not in its log was never
    /// agreed on.
    pub(super) fn reload(&mut self, tree: &Tree) {
        let in_tree = config_in(tree).filter(|_| self.dynamic);
        self.logged = in_tree.as_ref().map_or(0, Membership::version);
        self.logged_before = 0;
        self.proposed = in_tree.filter(|found| found.version() > self.current.version());
    }

    /// Remembers a configuration that was proposed. Whether it is news.
    pub(super) fn propose(&mut self, membership: Membership) -> bool {
        let newest = self.next().unwrap_or(&self.current).version();
        let news = self.dynamic && membership.version() > newest;
        if membership.version() > self.logged {
            self.logged_before = mem::replace(&mut self.logged, membership.version());
        }
        if news {
            self.proposed = Some(membership);
        }
        news
    }

    /// What a proposal of `membership` shows to be in force: nobody proposes a change before the one before it is.
    pub(super) fn settled_by(&self, membership: &Membership) -> Option<Membership> {
        let version = membership.version();
        let settled = |before: &&Membership| self.dynamic && before.version() < version;
        self.proposed.as_ref().filter(settled).cloned()
    }

    /// Remembers what a leader's epoch begins with. What is newer and not in the log counts no more.
    pub(super) fn offer(&mut self, membership: Membership) {
        if self.dynamic {
            self.heard = Some(membership.clone()).filter(|heard| heard.version() > self.current.version());
            self.offered = Some(membership);
        }
    }

    /// Gives the first configuration, with which this server's own epoch begins, its version.
    pub(super) fn number(&mut self, version: i64) -> Option<Membership> {
        if !self.dynamic || self.current.version() != 0 || self.next().is_some() {
            return None;
        }
        let first = self.current.clone().with_version(version);
        self.heard = Some(first.clone());
        Some(first)
    }

    /// What is to be kept as the newest one, if that is not what was kept last, or not all that was to be kept is.
    pub(super) fn unkept(&mut self) -> Option<Option<Membership>> {
        let newest = self.next().cloned();
        let version = newest.as_ref().map(Membership::version);
        let is_lost = mem::take(&mut self.current_is_lost) | mem::take(&mut self.heard_is_lost);
        (mem::replace(&mut self.kept, version) != version || is_lost).then_some(newest)
    }

    /// What was to be kept last could not be; if that is the one in force, nothing behind it either.
    pub(super) const fn not_kept(&mut self, in_force: bool) {
        self.current_is_lost |= in_force;
        self.heard_is_lost = true;
    }

    /// Whether the next start would know what counts here, as far as it need not be told by others: of the last two
    /// configurations that the log has, since the last is not proposed before the other is in force. One that is older than
    /// these, or in a log of which only the snapshot behind it is left, would be forgotten for the last, which may be void.
    pub(super) fn is_remembered(&self) -> bool {
        let is_logged = |config: &Membership| [self.logged, self.logged_before].contains(&config.version());
        // A new version of the same members makes no other quorums.
        let same = |a: &Membership, b: &Membership| a.clone().with_version(b.version()) == *b;
        let is_filed = |config: &Membership| self.filed.as_ref().is_some_and(|filed| same(filed, config));
        let current = Some(&self.current).filter(|_| self.current_is_lost);
        let heard = self.heard.as_ref().filter(|_| self.heard_is_lost);
        current.is_none_or(|current| is_logged(current) || is_filed(current))
            && heard.is_none_or(|heard| is_logged(heard) || same(&self.current, heard))
    }

    pub(super) fn forget_offer(&mut self) {
        self.offered = None;
    }

    /// What is in force with UPTODATE, if that is news: what the leader's epoch began with. But who joins later may be
    /// offered what was proposed since, for a leader of ZooKeeper names what it saw last, agreed on or not. That waits for
    /// its commit, and what came as a transaction that is committed is in force. A learner of ZooKeeper acts by it all the
    /// same: then those who do and those who never heard of it may have a leader each.
    pub(super) fn take_offer(&mut self, awaits_commit: impl Fn(Zxid) -> bool) -> Option<Membership> {
        let offered = self.offered.take()?;
        let is_agreed_on = |membership: &Membership| !awaits_commit(Zxid(membership.version()));
        let agreed_on =
            if is_agreed_on(&offered) { Some(offered) } else { self.proposed.clone().filter(is_agreed_on) };
        agreed_on.filter(|agreed_on| agreed_on.version() > self.current.version())
    }

    /// The configuration that this transaction proposed, if it is not in force. `Err`: nobody knows it.
    pub(super) fn proposed_by(&self, zxid: Zxid) -> Result<Option<Membership>, Unknown> {
        if !self.dynamic || self.current.version() >= zxid.0 {
            return Ok(None);
        }
        match self.next() {
            Some(next) if next.version() == zxid.0 => Ok(Some(next.clone())),
            Some(_) | None => Err(Unknown),
        }
    }

    /// The configuration is in force. Returns the one that was.
    pub(super) fn activate(&mut self, membership: Membership) -> Membership {
        assert!(membership.version() > self.current.version(), "configurations do not go back");
        for next in [&mut self.proposed, &mut self.heard] {
            next.take_if(|next| next.version() <= membership.version());
        }
        self.text = Bytes::from(membership.text());
        let before = mem::replace(&mut self.current, membership);
        if !mem::take(&mut self.current_is_lost) {
            self.filed = Some(before.clone());
        }
        before
    }
}

/// A leader activates what it did not propose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unknown;

/// The configuration that a transaction proposes.
pub(super) fn proposed(header: &TxnHeader, txn: &Txn) -> Option<Membership> {
    match txn {
        Txn::SetData { path, data: Some(data), .. }
            if header.op == OpCode::RECONFIG && **path == *path::CONFIG =>
        {
            Membership::from_peer(data).filter(|membership| Zxid(membership.version()) == header.zxid)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cluster::members;
    use crate::time::WallTime;
    use crate::tree::TreeOptions;

    const OPTIONS: TreeOptions = TreeOptions { extended_types: true, digest_enabled: true };

    /// PARITY `qv.equals`: a version names one configuration; what else is said to be of it is not looked at.
    #[test]
    fn qv_equals_other_members_of_a_known_version_are_no_news() {
        let [known, other] = [3, 5].map(|voters| members(voters, 0).with_version(9));
        let mut configs = Configs::new(true, known.clone(), None, &Tree::new(OPTIONS, [1; 4]), None);
        assert!(!configs.propose(other.clone()));
        configs.offer(other.clone());
        assert_eq!(configs.take_offer(|_| false), None);
        assert_eq!((configs.current(), configs.next()), (&known, None));
        let [proposed, other] = [other, known].map(|members| members.with_version(10));
        assert!(configs.propose(proposed.clone()) && !configs.propose(other));
        assert_eq!(configs.next(), Some(&proposed));
    }

    /// What is in force with UPTODATE where 9 was: the offer, unless its commit is to come.
    #[test]
    fn quorum_uptodate_puts_in_force_what_is_agreed_on() {
        let of = |version| members(3, 0).with_version(version);
        let awaits_commit = |version: Zxid| version.0 > 20;
        for (proposed, offered, in_force) in [
            (None, 9, None),
            (None, 10, Some(10)),
            (None, 20, Some(20)),
            (None, 21, None),
            (Some(19), 20, Some(20)),
            (Some(19), 21, Some(19)),
            (Some(21), 21, None),
            (Some(21), 22, None),
        ] {
            let mut configs = Configs::new(true, of(9), None, &Tree::new(OPTIONS, [1; 4]), None);
            configs.proposed = proposed.map(of);
            configs.offer(of(offered));
            let taken = configs.take_offer(awaits_commit).map(|it| it.version());
            assert_eq!(taken, in_force, "{proposed:?}, {offered}");
            assert_eq!(configs.take_offer(awaits_commit), None, "once");
            if in_force.is_none() && offered > 9 {
                assert_eq!(configs.next().map(Membership::version), Some(offered), "it may come into force");
            }
        }
    }
    /// 5 came into force behind 3, which the file has, and could not be written. Of the transactions that the log has since
    /// then, or of the tree that came with a snapshot, the next start has to know that.
    #[test]
    fn reconf_dynfile_what_is_in_force_is_not_forgotten_for_what_may_be_void() {
        let of = |voters, version| members(voters, 0).with_version(version);
        let empty = || Tree::new(OPTIONS, [1; 4]);
        let snapshot_of = |version| {
            let mut tree = empty();
            tree.write_config(of(3, version).text().as_bytes(), Zxid(version), WallTime(0));
            tree
        };
        for (logged, snapshot, remembered) in [
            (&[][..], None, false),
            (&[5], None, true),
            (&[5, 7], None, true),
            (&[7], None, false),
            (&[], Some(5), true),
            (&[7], Some(5), true),
            (&[], Some(7), false),
            (&[5], Some(7), false),
        ] {
            let mut configs = Configs::new(true, of(3, 3), None, &empty(), None);
            if let Some(version) = snapshot {
                configs.reload(&snapshot_of(version));
            }
            for &version in logged {
                configs.propose(of(4, version));
            }
            configs.activate(of(4, 5));
            configs.not_kept(true);
            assert_eq!(configs.is_remembered(), remembered, "{logged:?} {snapshot:?}");
        }
    }
}
