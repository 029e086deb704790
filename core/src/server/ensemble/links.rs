//! Connections to other servers: they come, speak and go. Those of the election port are the election's; those of the
//! others are `peers`, and whose they are is a matter of the role.

use alloc::collections::VecDeque;

use bytes::Bytes;

use super::{Ensemble, Role};
use crate::election::links::Origin;
use crate::server::{Action, HangupReason, LinkOrigin, PeerPort, Phase, Server};
use crate::types::{DialId, LinkId};
use crate::zab::LearnerMaster;
use crate::zab::learner::LostReason;

impl Server {
    /// A link stands: to the election port it is a vote's, to the quorum port a learner's.
    pub(in crate::server) fn on_link_up(&mut self, link: LinkId, origin: LinkOrigin) {
        let now = self.now.mono;
        let Some(ensemble) = self.ensemble.as_deref_mut() else {
            self.actions.push_back(Action::Hangup { link, why: HangupReason::Unwanted });
            return;
        };
        match origin {
            LinkOrigin::Accepted { port: PeerPort::Election, .. } => {
                ensemble.election_links.on_link_up(now, link, Origin::Accepted);
            }
            LinkOrigin::Accepted { port: PeerPort::ObserverMaster, .. } => self.on_observer_up(link),
            LinkOrigin::Accepted { port: PeerPort::Quorum, .. } => self.on_learner_up(link),
            LinkOrigin::Dialed { dial } => match &mut ensemble.role {
                Role::Learning(learning) if learning.dial == Some(dial) => {
                    learning.dial = None;
                    learning.linked_at = Some(now);
                    ensemble.peers.insert(link, &self.config);
                    learning.learner.on_link_up(link);
                    learning.learner.heard(now);
                }
                _ if ensemble.election_links.owns_dial(dial) => {
                    ensemble.election_links.on_link_up(now, link, Origin::Dialed(dial));
                }
                // The role that asked for it is over.
                _ => self.actions.push_back(Action::Hangup { link, why: HangupReason::RoleOver }),
            },
        }
    }

    pub(in crate::server) fn on_dial_failed(&mut self, dial: DialId) {
        let now = self.now.mono;
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        match &mut ensemble.role {
            Role::Learning(learning) if learning.dial == Some(dial) => {
                learning.dial = None;
                let is_alive = ensemble.election.is_reachable(learning.learner.leader());
                learning.learner.on_dial_failed(now, is_alive);
            }
            _ => ensemble.election_links.on_dial_failed(now, dial),
        }
    }

    pub(in crate::server) fn on_link_received(&mut self, link: LinkId, bytes: Bytes) {
        if !self.listens_to(link) {
            return;
        }
        let now = self.now.mono;
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        if ensemble.peers.contains(link) {
            ensemble.peers.push(link, bytes);
            self.take_messages(link);
        } else {
            ensemble.election_links.on_received(now, link, bytes);
        }
    }

    /// Who stops listens only to those whom its own clients wait for; and in the end to nobody: while a leader proposes
    /// there is always something under way. Bytes that were not listened to once are missing: this never becomes true
    /// again.
    fn listens_to(&self, link: LinkId) -> bool {
        match (self.phase, self.ensemble.as_deref()) {
            (Phase::Running, _) => true,
            (Phase::Finishing { .. }, Some(Ensemble { role: Role::Learning(learning), .. })) => {
                learning.learner.link() == Some(link)
            }
            (Phase::Finishing { .. }, Some(Ensemble { role: Role::Leading(_), peers, .. })) => {
                peers.contains(link)
            }
            (Phase::Finishing { .. } | Phase::Stopping | Phase::Halted, _) => false,
        }
    }

    /// Nobody is listened to any more once the others have no part in what clients of this server wait for, or have had
    /// their time. A client that does not take its replies waits for itself.
    pub(in crate::server) fn stop_listening_if_answered(&mut self) {
        let Phase::Finishing { until } = self.phase else { return };
        let waits = match self.ensemble.as_deref().map(|ensemble| &ensemble.role) {
            Some(Role::Leading(leading)) => {
                // Without a quorum nothing is decided here any more.
                let decides = leading.leader.is_serving() && leading.leader.is_followed();
                decides && (!self.proposals.is_empty() || leading.owes_a_sync())
            }
            Some(Role::Learning(learning)) => self.forwarded > 0 || learning.owes_a_sync(),
            Some(Role::Looking | Role::Settling) | None => false,
        };
        if !waits || self.now.mono >= until {
            self.phase = Phase::Stopping;
        }
    }

    pub(in crate::server) fn on_link_drained(&mut self, link: LinkId, bytes: usize) {
        let now = self.now.mono;
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        if ensemble.election_links.owns_link(link) {
            ensemble.election_links.on_drained(link, bytes);
        } else if ensemble.peers.drained(link, bytes) {
            if let Some(serving) = ensemble.serving() {
                serving.master.on_drained(link, now);
            }
            if let Role::Learning(learning) = &ensemble.role
                && learning.learner.link() == Some(link)
            {
                self.make_room();
                self.resume_throttled();
            }
            self.continue_transfers();
        }
    }

    pub(in crate::server) fn on_link_down(&mut self, link: LinkId) {
        let now = self.now.mono;
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        if !ensemble.peers.remove(link) {
            ensemble.election_links.on_link_down(now, link);
            return;
        }
        if let Role::Learning(learning) = &mut ensemble.role
            && learning.learner.link() == Some(link)
        {
            learning.learner.on_link_down(link);
        } else if let Some(serving) = ensemble.serving() {
            serving.master.on_link_down(link);
            self.forget_transfer(link);
        }
    }

    /// A link that nobody here has any use for.
    pub(super) fn refuse_link(&mut self, link: LinkId) {
        self.actions.push_back(Action::Hangup { link, why: HangupReason::Unwanted });
    }

    /// Somebody expects to be served here, which may be so in a moment: it waits.
    pub(super) fn park_link(&mut self, link: LinkId, port: PeerPort) {
        let now = self.now.mono;
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        if let Some(oldest) = ensemble.peers.park(link, port, &self.config, now) {
            self.refuse_link(oldest);
        }
    }

    /// Whoever waits on a port waits in vain.
    pub(super) fn hang_up_parked(&mut self, port: PeerPort) {
        let parked = self.ensemble.as_deref().map(|ensemble| ensemble.peers.parked(port));
        for link in parked.unwrap_or_default() {
            self.hang_up(link, HangupReason::RoleOver);
        }
    }

    pub(super) fn hang_up(&mut self, link: LinkId, why: HangupReason) {
        if let Some(ensemble) = self.ensemble.as_deref_mut()
            && ensemble.peers.remove(link)
        {
            self.actions.push_back(Action::Hangup { link, why });
        }
    }

    /// Bytes for other servers leave, one buffer a link.
    pub(in crate::server) fn gather_link_sends(&mut self) {
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        let outbox_max =
            self.config.ensemble.as_ref().map_or(usize::MAX, |ensemble| ensemble.link_outbox_bytes);
        let mut slow: VecDeque<LinkId> = VecDeque::new();
        while let Some((link, bytes, untaken)) = ensemble.peers.poll_send() {
            self.actions.push_back(Action::SendLink { link, bytes });
            // However much comes at once, it is only too much for who has not taken what came before.
            if untaken > outbox_max {
                slow.push_back(link);
            }
        }
        let any_slow = !slow.is_empty();
        for link in slow {
            match &mut ensemble.role {
                Role::Leading(leading) => leading.leader.hang_up(link, HangupReason::SlowReader),
                Role::Learning(learning) if learning.learner.link() == Some(link) => {
                    learning.learner.fail(LostReason::Timeout);
                }
                Role::Learning(learning) => {
                    if let Some(observers) = &mut learning.observers {
                        observers.master.hang_up(link, HangupReason::SlowReader);
                    }
                }
                Role::Looking | Role::Settling => {}
            }
        }
        // Who has given up waits for no timer, and maybe for no input.
        if any_slow {
            self.run_ensemble();
        }
    }
}
