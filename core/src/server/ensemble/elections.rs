//! Elections, carried out: votes come and go, what is decided is begun, and what it took is measured.

use super::Role;
use crate::election::{ElectionOutput, LinksOutput};
use crate::server::{Action, Event, PeerPort, Phase, Role as RoleName, Server};
use crate::types::{PeerState, ServerId, Vote, Zxid};
use crate::zab::LearnerMaster;
use crate::zab::learner::LostReason;

impl Server {
    pub(super) fn on_election_link(&mut self, output: LinksOutput) {
        let now = self.now.mono;
        let ensemble = self.ensemble.as_deref_mut().expect("only a member has links");
        match output {
            LinksOutput::Dial { dial, server, addresses, timeout } => {
                let port = PeerPort::Election;
                self.actions.push_back(Action::Dial { dial, port, server, addresses, timeout });
            }
            LinksOutput::Hangup { link, why } => self.actions.push_back(Action::Hangup { link, why }),
            LinksOutput::Reachable { server, reachable } => {
                ensemble.election.set_reachable(now, server, reachable);
            }
            LinksOutput::Received { from, notification } => {
                ensemble.election.on_notification(now, from, &notification);
                self.answer_notifications();
            }
            LinksOutput::Send { link, bytes } => {
                self.actions.push_back(Action::SendLink { link, bytes });
            }
        }
    }

    /// The server serves in this epoch. Who looks is told; also on a link that is made later in place of one on which the
    /// epoch before was named, for whoever asked on that one is not known to wait any more.
    pub(super) fn name_epoch(&mut self, epoch: i64) {
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        ensemble.election.on_epoch(epoch);
        if let Some(answer) = ensemble.election.answer() {
            ensemble.election_links.correct(&answer);
        }
        self.answer_notifications();
    }

    /// What the election says while the server has a leader: answers to those who look for one.
    pub(super) fn answer_notifications(&mut self) {
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        if !matches!(ensemble.role, Role::Leading(_) | Role::Learning(_)) {
            return;
        }
        let mut doubted = false;
        while let Some(output) = ensemble.election.poll_output() {
            match output {
                ElectionOutput::Send { to, notification } => {
                    ensemble.election_links.send(self.now.mono, to, &notification);
                }
                ElectionOutput::Doubted => doubted = true,
                ElectionOutput::Decided { .. } | ElectionOutput::NewerConfig { .. } => {}
            }
        }
        // Who has clients keeps them until the leader says otherwise; who has none has nothing to wait for.
        match &mut ensemble.role {
            Role::Leading(leading) if doubted && !leading.leader.is_serving() => leading.leader.give_up(),
            Role::Learning(learning) if doubted && !learning.learner.is_serving() => {
                learning.learner.fail(LostReason::Doubted);
            }
            Role::Leading(_) | Role::Learning(_) | Role::Looking | Role::Settling => {}
        }
    }

    pub(super) fn on_elected(&mut self, output: ElectionOutput) {
        let now = self.now.mono;
        let ensemble = self.ensemble.as_deref_mut().expect("only a member is in elections");
        match output {
            ElectionOutput::Decided { vote, state } => {
                assert!(matches!(ensemble.role, Role::Looking), "decided while not looking");
                ensemble.election_links.set_looking(now, false);
                match state {
                    PeerState::Leading => self.begin_leading(),
                    PeerState::Following | PeerState::Observing => {
                        self.begin_learning(vote.leader, vote.zxid);
                    }
                    PeerState::Looking => unreachable!("that would be no decision"),
                }
            }
            // It is still looking.
            ElectionOutput::Doubted => {}
            ElectionOutput::NewerConfig { config } => {
                if self.adopt_config(config) {
                    self.look();
                }
            }
            ElectionOutput::Send { to, notification } => {
                ensemble.election_links.send(now, to, &notification);
            }
        }
    }

    /// Goes from settling to looking, once the disk is at rest and nothing else is waited for. Whether it did.
    pub(super) fn settle(&mut self) -> bool {
        let now = self.now.mono;
        let done = self
            .ensemble
            .as_deref()
            .is_some_and(|ensemble| self.is_at_rest(ensemble) && !ensemble.pauses.holds(now));
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return false };
        if !matches!(ensemble.role, Role::Settling) || !done || self.phase != Phase::Running {
            return false;
        }
        ensemble.role = Role::Looking;
        match ensemble.designated.take() {
            Some(leader) => self.go_to(leader),
            None => self.look(),
        }
        true
    }

    /// Follows, or leads, without an election: the leader before said who leads from here on, and a quorum knows
    /// (PARITY `reconf.leader-handoff`). That takes a quorum's promises like any other epoch.
    fn go_to(&mut self, leader: ServerId) {
        let last_zxid = self.log.appended();
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        let peer_epoch = ensemble.promises.current();
        let state = match leader == ensemble.me {
            true => PeerState::Leading,
            false if ensemble.is_observer() => PeerState::Observing,
            false => PeerState::Following,
        };
        ensemble.election.follow(
            ensemble.configs.view(peer_epoch),
            Vote { leader, zxid: last_zxid, peer_epoch },
            state,
        );
        if leader == ensemble.me {
            self.begin_leading();
        } else {
            // Nobody has said what that one has.
            self.begin_learning(leader, Zxid::UNKNOWN);
        }
    }

    fn look(&mut self) {
        // What could not be kept is tried again: it may be possible now.
        self.show_configs();
        let now = self.now.mono;
        let last_zxid = self.log.appended();
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        self.metrics.counters.looking_count += 1;
        ensemble.looking_since = Some(now);
        ensemble.unavailable_since.get_or_insert(now);
        let own = ensemble.own_history(last_zxid);
        ensemble.await_read_only(&self.config, now);
        ensemble.election_links.set_looking(now, true);
        ensemble.election.look(now, own, ensemble.configs.view(own.current_epoch));
        self.tell(Event::RoleTaken { role: RoleName::Looking, epoch: own.current_epoch, leader: None });
    }

    /// There is a leader.
    pub(super) fn measure_election(&mut self) {
        self.role_since = self.now.mono;
        let looking = self.ensemble.as_deref_mut().and_then(|ensemble| ensemble.looking_since.take());
        if let Some(since) = looking {
            self.metrics.summaries.election_time.add_ms(self.now.mono.since(since));
        }
    }

    /// The server serves clients from here on, as a leader or a learner.
    pub(super) fn measure_available(&mut self, leads: bool) {
        let since = self.ensemble.as_deref_mut().and_then(|ensemble| ensemble.unavailable_since.take());
        let Some(took) = since.map(|since| self.now.mono.since(since)) else { return };
        self.metrics.summaries.unavailable_time.add_ms(took);
        if leads {
            self.metrics.summaries.leader_unavailable_time.add_ms(took);
        }
    }
}
