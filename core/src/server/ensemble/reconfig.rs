//! Members change: a proposal of it is seen, it comes into force, and what this server is may change with it.
//!
//! ```text
//! leader     reconfig ─▶ proposal ── quorums of both ──▶ COMMITANDACTIVATE ─▶ in force ─▶ leads on, or hands over
//! learner                proposal: seen ── ACK             in force ─▶ follows on, or goes to the designated leader
//! NEWLEADER              seen                               in force with UPTODATE, which begins an election if the
//!                                                           leader, or what this server is, changes with it; but what
//!                                                           was proposed in this epoch, and is not committed, waits
//! Looking                another server's, in force there, is newer: in force here; the election begins anew
//! ```

use alloc::vec::Vec;

use super::configs::proposed;
use super::{Ensemble, Role};
use crate::pipeline::prep::Members;
use crate::server::{Action, Event, PeerPort, Server};
use crate::types::{Membership, OpCode, ServerId, Txn, TxnHeader, Zxid};
use crate::zab::learner::LostReason;

impl Server {
    /// Writes the configuration in force to the tree, without a transaction, as ZooKeeper does (PARITY
    /// `config.node.stat`, `sync.snap.config`). What the tree has that is newer, the log has, too, and it stays; unless
    /// configurations do not change: then whatever another server had there does not count here.
    pub(in crate::server) fn write_config(&mut self) {
        let Some(ensemble) = self.ensemble.as_deref() else { return };
        let configs = &ensemble.configs;
        let version = Zxid(configs.current().version());
        let text = configs.text();
        let found = self.tree.node(crate::types::path::CONFIG);
        let stays = found.is_some_and(|node| {
            let is_newer = configs.is_dynamic() && node.stat().mzxid > version;
            is_newer || (node.data() == Some(&text[..]) && node.stat().mzxid == version)
        });
        if !stays {
            self.tree.write_config(text, version, self.now.wall);
        }
    }

    /// What a request is judged by that may change the members; nothing for any other.
    pub(in crate::server) fn members_asked_about(&self, op: OpCode) -> Option<Members> {
        let ensemble = self.ensemble.as_deref().filter(|_| op == OpCode::RECONFIG)?;
        let leading = ensemble.leading()?;
        let current = ensemble.configs.current();
        Some(Members {
            version: current.version(),
            newest: ensemble.configs.next().unwrap_or(current).clone(),
            following: leading.leader.following(),
            standalone_enabled: self.config.ensemble.as_ref().is_none_or(|config| config.standalone_enabled),
        })
    }

    /// A transaction is to be logged: if it changes the members, it is known from here on.
    pub(super) fn see_config(&mut self, header: &TxnHeader, txn: &Txn) {
        let Some(membership) = proposed(header, txn) else { return };
        self.settle_config(&membership);
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        if ensemble.configs.propose(membership.clone()) {
            if let Some(leading) = ensemble.leading_mut() {
                leading.leader.propose_members(membership);
            }
            self.show_configs();
        }
    }

    /// A learner that does not serve yet hears of what was proposed before it hears what became of that. The next change
    /// shows that the one before is in force: it counts from here on, in elections, too, which know of no more than one
    /// that may be to come.
    fn settle_config(&mut self, next: &Membership) {
        let Some(ensemble) = self.ensemble.as_deref_mut().filter(|it| matches!(it.role, Role::Learning(_)))
        else {
            return;
        };
        let Some(settled) = ensemble.configs.settled_by(next) else { return };
        let observed = ensemble.configs.is_observer(ensemble.me);
        self.put_in_force(settled);
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        if observed != ensemble.configs.is_observer(ensemble.me)
            && let Role::Learning(learning) = &mut ensemble.role
        {
            learning.learner.fail(LostReason::Reconfigured);
        }
    }

    /// What the log says was in force, and the file, which could not be written, does not have. That the newest one is known
    /// is not enough: it may be void, and then those agree on what counts who have a quorum of this one.
    pub(in crate::server) fn recall_config(&mut self, before: Option<Membership>) {
        let Some(ensemble) = self.ensemble.as_deref() else { return };
        let configs = &ensemble.configs;
        let is_newer = |before: &Membership| before.version() > configs.current().version();
        if let Some(before) = before.filter(|before| configs.is_dynamic() && is_newer(before)) {
            self.put_in_force(before);
        }
    }

    /// What a leader's epoch begins with (PARITY `quorum.newleader`).
    pub(super) fn on_configuration(&mut self, text: &[u8]) {
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        // Who cannot read it learns of it by the next change; ZooKeeper does no more.
        let Some(membership) = Membership::from_peer(text) else { return };
        ensemble.configs.offer(membership);
        self.show_configs();
    }

    /// The files do not have what they should. While nothing is acknowledged that only they would remember, that is for
    /// the operator to mend; ZooKeeper leaves it at that, and forgets. Else the leader has to do without this server's
    /// word, also where it is the leader itself.
    pub(in crate::server) fn on_config_not_kept(&mut self, in_force: bool) {
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        ensemble.configs.not_kept(in_force);
        if ensemble.configs.is_remembered() {
            return;
        }
        match &mut ensemble.role {
            Role::Leading(leading) => leading.leader.withhold(),
            Role::Learning(learning) => learning.learner.withhold(self.now.mono),
            Role::Looking | Role::Settling => {}
        }
    }

    /// This server leads an epoch that is now decided. The first configuration gets a version: then it is newer than
    /// that of a server that is about to join, and knows only some of the members.
    pub(super) fn number_first_config(&mut self) {
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        let Role::Leading(leading) = &mut ensemble.role else { return };
        if let Some(first) = ensemble.configs.number(leading.leader.epoch() << 32) {
            leading.leader.bring_members(first);
            self.show_configs();
        }
    }

    /// The leader that this server is has brought what it proposed into force.
    pub(super) fn activate_as_leader(&mut self, designated: Option<ServerId>) {
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        ensemble.designated = designated.filter(|&designated| designated != ensemble.me);
        let next = ensemble.configs.next().cloned().expect("a leader activates what it proposed");
        self.put_in_force(next);
    }

    /// A leader brought what it proposed into force.
    pub(super) fn activate_as_learner(&mut self, zxid: Zxid, designated: ServerId) {
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        let Role::Learning(learning) = &mut ensemble.role else { return };
        let leads_on = designated == learning.learner.leader();
        let next = match ensemble.configs.proposed_by(zxid) {
            Ok(Some(next)) => next,
            // It is in force already, or no change is of any concern here.
            Ok(None) => return,
            Err(_) => return learning.learner.fail(LostReason::BadMessage),
        };
        let observed = ensemble.configs.is_observer(ensemble.me);
        self.put_in_force(next);
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        if !leads_on || observed != ensemble.configs.is_observer(ensemble.me) {
            ensemble.designated = Some(designated);
            if let Role::Learning(learning) = &mut ensemble.role {
                learning.learner.fail(LostReason::Reconfigured);
            }
        } else {
            // Whoever came because this server might be the one was wrong.
            self.hang_up_parked(PeerPort::Quorum);
        }
    }

    /// The leader has a quorum for its epoch, and with it for the configuration that the epoch begins with; not for one
    /// that it proposed since, which only COMMITANDACTIVATE brings into force. Whether this server may go on as it is.
    pub(super) fn activate_offered(&mut self) -> bool {
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return false };
        let Role::Learning(learning) = &ensemble.role else { return false };
        let (me, leader) = (ensemble.me, learning.learner.leader());
        let awaits_commit = |version| learning.learner.awaits_commit_of(version);
        let Some(offered) = ensemble.configs.take_offer(awaits_commit) else { return true };
        let observed = ensemble.configs.is_observer(me);
        let before = self.put_in_force(offered);
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return false };
        let place = |membership: &Membership| {
            membership
                .member(leader)
                .filter(|_| membership.is_voter(leader))
                .map(|member| member.quorum.clone())
        };
        let now = place(ensemble.configs.current());
        let goes_on = now.is_some() && now == place(&before) && observed == ensemble.configs.is_observer(me);
        if !goes_on && let Role::Learning(learning) = &mut ensemble.role {
            learning.learner.fail(LostReason::Reconfigured);
        }
        goes_on
    }

    /// A server that has found a leader before, or has looked for longer, has a newer configuration in force (PARITY
    /// `fle.config`). Whether it is one.
    pub(super) fn adopt_config(&mut self, found: Membership) -> bool {
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return false };
        let configs = &ensemble.configs;
        let adopts = configs.is_dynamic() && found.version() > configs.current().version();
        if adopts {
            self.put_in_force(found);
        }
        adopts
    }

    /// Returns the configuration that was in force before.
    fn put_in_force(&mut self, membership: Membership) -> Membership {
        let version = membership.version();
        let ensemble = self.ensemble.as_deref_mut().expect("only a member has configurations");
        let before = ensemble.configs.activate(membership.clone());
        if let Role::Learning(learning) = &mut ensemble.role
            && let Some(observers) = &mut learning.observers
        {
            observers.master.on_config(version);
        }
        let members: Vec<ServerId> = membership.members().keys().copied().collect();
        self.tell(Event::Reconfigured { version, members });
        self.actions.push_back(Action::KeepConfig { membership });
        self.show_configs();
        self.write_config();
        before
    }

    /// Elections go by what this server knows now, and so does its next start.
    pub(super) fn show_configs(&mut self) {
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        ensemble.show_configs();
        if let Some(newest) = ensemble.configs.unkept() {
            self.actions.push_back(Action::KeepSeenConfig { membership: newest });
        }
    }
}

impl Ensemble {
    /// Elections go by what this server knows now.
    pub(super) fn show_configs(&mut self) {
        self.election_links.set_membership(self.configs.current(), self.configs.next());
        self.election.on_view(self.configs.view(self.promises.current()));
    }
}
