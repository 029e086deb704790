//! What operators are told of a member's role (PARITY `4lw.srvr`, `4lw.conf`, `met.gauges`).

use alloc::string::String;
use core::fmt::{self, Write};

use super::{Ensemble, Role};
use crate::server::Server;
use crate::types::MemberRole;
use crate::zab::LearnerMaster;

/// Bytes of the transactions that a leader proposed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProposalSizes {
    /// Last, smallest, largest.
    seen: Option<(usize, usize, usize)>,
}

impl ProposalSizes {
    pub(super) fn add(&mut self, bytes: usize) {
        let (_, min, max) = self.seen.unwrap_or((bytes, bytes, bytes));
        self.seen = Some((bytes, min.min(bytes), max.max(bytes)));
    }
}

/// As Java prints it: -1 for each before the first proposal.
impl fmt::Display for ProposalSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seen {
            Some((last, min, max)) => write!(f, "{last}/{min}/{max}"),
            None => f.write_str("-1/-1/-1"),
        }
    }
}

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

    /// The lines of `mntr` that only a member has.
    pub(in crate::server) fn write_member_metrics(&self, out: &mut String) -> fmt::Result {
        let Some(ensemble) = self.ensemble.as_deref() else { return Ok(()) };
        let state = match &ensemble.role {
            Role::Leading(leading) if leading.leader.is_serving() => "leading - broadcast",
            Role::Leading(_) => "leading - discovery",
            Role::Learning(learning) if learning.learner.is_observer() => "observing - broadcast",
            Role::Learning(_) => "following - broadcast",
            Role::Looking | Role::Settling => "looking - election",
        };
        writeln!(out, "zk_peer_state\t{state}")?;
        writeln!(out, "zk_quorum_size\t{}", ensemble.configs.current().voters().count())?;
        if let Role::Learning(learning) = &ensemble.role {
            return match ensemble.masters.current().filter(|_| learning.learner.is_observer()) {
                Some(master) => writeln!(out, "zk_observer_master_id\t{master}"),
                None => writeln!(out, "zk_synced_observers\t{}", learning.observer_count()),
            };
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
        for (key, value) in [
            ("learners", leading.leader.learner_count()),
            ("synced_followers", synced),
            ("synced_observers", observers),
            ("synced_non_voting_followers", without_vote),
            ("pending_syncs", leading.pending_syncs()),
        ] {
            writeln!(out, "zk_{key}\t{value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn four_letter_srvr_proposal_sizes_as_java_prints_them() {
        let mut sizes = ProposalSizes::default();
        assert_eq!(format!("{sizes}"), "-1/-1/-1");
        for (bytes, expected) in [(48, "48/48/48"), (10, "10/10/48"), (60, "60/10/60"), (20, "20/10/60")] {
            sizes.add(bytes);
            assert_eq!(format!("{sizes}"), expected);
        }
    }
}
