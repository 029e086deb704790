//! Votes that servers tell each other, and what they show of an election.

use std::collections::BTreeMap;

use zabra_core::types::{Notification, PeerState, Vote, Zxid};

use super::{Mark, Marks};
use crate::places::{NodeId, server_of};

/// What a server that looks has said, and to whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Ballot {
    round: Option<i64>,
    told: BTreeMap<NodeId, (i64, Vote)>,
}

impl Marks {
    pub(super) fn notified(&mut self, from: NodeId, to: NodeId, notification: &Notification) {
        let Notification { state, vote, election_epoch: round, .. } = *notification;
        if state != PeerState::Looking {
            return self.reach(Mark::LeaderNamed);
        }
        if vote.zxid == Zxid::UNKNOWN {
            self.reach(Mark::LookedWithoutData);
        }
        let ballot = self.ballots.entry(from).or_default();
        let before = ballot.told.insert(to, (round, vote));
        let begun = *ballot.round.get_or_insert(round);
        ballot.round = Some(round);
        if round > begun {
            self.reach(Mark::RoundJoined);
        }
        if before == Some((round, vote)) {
            self.reach(Mark::VoteRepeated);
        } else if vote.leader != server_of(from) {
            self.reach(Mark::VoteChanged);
        }
    }
}
