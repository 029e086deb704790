//! Members change under a leader: it needs quorums of both, and may not lead the new ones (PARITY
//! `reconf.leader-handoff`).

use core::cmp::Reverse;

use super::{Leader, LeaderOutput, Phase, StepDownReason};
use crate::types::{Membership, ServerId, Zxid};
use crate::zab::progress::{Progress, Stage};

impl Leader {
    /// The transaction that is proposed next changes the members.
    pub fn propose_members(&mut self, membership: Membership) {
        self.quorums.propose(membership, self.last_proposed.next());
    }

    /// There is another configuration than the one in force, of which no transaction of this epoch says so; learners
    /// hear of it by NEWLEADER.
    pub fn bring_members(&mut self, membership: Membership) {
        assert!(self.phase < Phase::History, "too late for NEWLEADER");
        let from = Zxid(membership.version());
        self.quorums.propose(membership, from);
    }

    /// The change of members is committed (PARITY `reconf.leader-handoff`).
    pub(super) fn activate(&mut self, zxid: Zxid) {
        let designated = if self.stays_leader() { self.me } else { self.successor(zxid) };
        self.quorums.activate();
        let untold = self.learners.values().filter(|l| !l.observer && l.is_told()).map(|l| l.committed).min();
        self.activated.retain(|&change, _| untold.is_some_and(|untold| change > untold));
        self.activated.insert(zxid, designated);
        self.outputs.push_back(LeaderOutput::Activate { designated: Some(designated) });
        if designated != self.me {
            self.hand_over();
        }
    }

    /// Whether this server leads the next configuration, too: it votes there, and is where it was.
    pub(super) fn stays_leader(&self) -> bool {
        let Some(next) = self.quorums.next() else { return true };
        let place = |membership: &Membership| membership.member(self.me).map(|member| member.quorum.clone());
        next.is_voter(self.me) && place(next) == place(self.quorums.current())
    }

    /// Of the voters to be, one that has the change, and the most of what follows.
    fn successor(&self, zxid: Zxid) -> ServerId {
        let voter = |server| self.quorums.next().is_some_and(|next| next.is_voter(server));
        let may = |learner: &&Progress| learner.stage == Stage::Following && learner.acked >= zxid;
        let others = self.learners.values().filter(may).filter_map(|l| Some((l.acked, Reverse(l.server?))));
        let best = others.filter(|&(_, Reverse(server))| server != self.me && voter(server)).max();
        best.map_or(self.me, |(_, Reverse(server))| server)
    }

    /// Whoever follows hears who leads from here on, and goes there; then this server does.
    pub(super) fn hand_over(&mut self) {
        self.phase = Phase::HandingOver;
        self.init_deadline = self.next_ping + self.sync_time;
    }

    /// Once those who go have all that was said to them, they hang up.
    pub(super) fn end_handing_over(&mut self) {
        if self.phase == Phase::HandingOver && !self.is_followed() {
            self.step_down(StepDownReason::HandedOver);
        }
    }
}
