//! What operators are told of a member's role (PARITY `4lw.srvr`, `4lw.conf`, `met.gauges`).

use alloc::string::String;
use core::fmt::{self, Write};

use super::{Ensemble, Role};
use crate::conn::summary::Sizes;
use crate::server::Server;
use crate::types::MemberRole;
use crate::zab::LearnerMaster;

impl Server {
    /// The mode of `srvr`, and the `server_state` of `mntr`; `None` where no clients are served.
    pub(in crate::server) fn mode(&self) -> Option<&'static str> {
        match self.ensemble.as_deref().map(|ensemble| &ensemble.role) {
            None => Some("standalone"),
            Some(Role::Leading(leading)) => leading.leader.is_serving().then_some("leader"),
            Some(Role::Learning(learning)) if !learning.learner.is_serving() => None,
            Some(Role::Learning(learning)) if learning.learner.is_observer() => Some("observer"),
            Some(Role::Learning(_)) => Some("follower"),
            Some(Role::Looking | Role::Settling) => self.is_read_only().then_some("read-only"),
        }
    }

    /// The line of `srvr` that only a leader has.
    pub(in crate::server) fn write_proposal_sizes(&self, out: &mut String) -> fmt::Result {
        match self.ensemble.as_deref().and_then(Ensemble::leading) {
            Some(leading) => writeln!(out, "Proposal sizes last/min/max: {}", leading.proposal_sizes),
            None => Ok(()),
        }
    }

    /// The lines of `conf` that only a member has, its number first.
    pub(in crate::server) fn write_member(&self, out: &mut String) -> fmt::Result {
        let (Some(ensemble), Some(config)) = (self.ensemble.as_deref(), &self.config.ensemble) else {
            // A standalone server has no number, whatever `myid` says.
            return writeln!(out, "serverId=0");
        };
        let member = ensemble.configs.current().member(ensemble.me);
        let port = |election: bool| {
            let addresses = member.map(|member| if election { &member.election } else { &member.quorum });
            addresses.and_then(|addresses| addresses.first()).map_or(0, |address| address.port)
        };
        writeln!(out, "serverId={}", ensemble.me)?;
        writeln!(out, "initLimit={}", config.init_limit)?;
        writeln!(out, "syncLimit={}", config.sync_limit)?;
        writeln!(out, "electionAlg=3")?;
        writeln!(out, "electionPort={}", port(true))?;
        writeln!(out, "quorumPort={}", port(false))?;
        let observes = member.is_some_and(|member| member.role == MemberRole::Observer);
        writeln!(out, "peerType={}", i32::from(observes))?;
        writeln!(out, "membership: ")?;
        out.push_str(&ensemble.configs.current().text());
        // The text ends without a line's end.
        writeln!(out)
    }

    /// Forgets how large proposals were.
    pub(in crate::server) fn reset_proposal_sizes(&mut self) {
        if let Some(leading) = self.leading() {
            leading.proposal_sizes = Sizes::default();
        }
    }

    /// The first lines of `mntr` that only a member has: what it does.
    pub(in crate::server) fn write_peer_state(&self, out: &mut String) -> fmt::Result {
        let Some(ensemble) = self.ensemble.as_deref() else { return Ok(()) };
        let state = match &ensemble.role {
            Role::Leading(leading) if leading.leader.is_serving() => "leading - broadcast",
            Role::Leading(_) => "leading - discovery",
            Role::Learning(learning) if learning.learner.is_observer() => "observing - broadcast",
            Role::Learning(_) => "following - broadcast",
            Role::Looking | Role::Settling => "looking",
        };
        writeln!(out, "zk_peer_state\t{state}")?;
        match &ensemble.role {
            Role::Learning(learning) if learning.learner.is_observer() => {
                let master = ensemble.masters.current().unwrap_or(learning.learner.leader());
                writeln!(out, "zk_observer_master_id\t{master}")
            }
            Role::Leading(_) | Role::Learning(_) | Role::Looking | Role::Settling => Ok(()),
        }
    }

    /// The gauges of `mntr` that only a member has, most of them only a leader (PARITY `met.gauges`).
    pub(in crate::server) fn write_member_gauges(&self, out: &mut String) -> fmt::Result {
        let Some(ensemble) = self.ensemble.as_deref() else { return Ok(()) };
        writeln!(out, "zk_quorum_size\t{}", ensemble.configs.current().voters().count())?;
        if let Role::Learning(learning) = &ensemble.role
            && learning.observers.is_some()
        {
            return writeln!(out, "zk_synced_observers\t{}", learning.observer_count());
        }
        let Some(leading) = ensemble.leading() else { return Ok(()) };
        let (mut synced, mut observers, mut without_vote) = (0, 0, 0);
        for (_, server) in leading.leader.followers() {
            match ensemble.configs.current().member(server).map(|member| member.role) {
                Some(MemberRole::Participant) => synced += 1,
                Some(MemberRole::Observer) => observers += 1,
                None => without_vote += 1,
            }
        }
        let uptime = leading.serving_since.map_or(0, |since| self.now.mono.since(since).as_millis());
        for (key, value) in [
            ("learners", leading.leader.learner_count() as u128),
            ("synced_followers", synced),
            ("synced_observers", observers),
            ("synced_non_voting_followers", without_vote),
            ("pending_syncs", leading.pending_syncs() as u128),
            ("leader_uptime", uptime),
        ] {
            writeln!(out, "zk_{key}\t{value}")?;
        }
        leading.proposal_sizes.write("proposal_size", out)
    }
}
