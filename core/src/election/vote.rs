//! Which of two votes wins, and when votes agree. No state.

use crate::types::{PeerState, ServerId, Vote, Zxid};

/// What the votes of those who cannot be elected carry in every field (PARITY `fle.init`); less than anything else.
pub const NOBODY: i64 = i64::MIN;

/// The vote of a server that cannot be elected: every other one beats it.
pub const BLANK: Vote = Vote { leader: ServerId(NOBODY), zxid: Zxid(NOBODY), peer_epoch: NOBODY };

/// Whether `new` should replace `old`: the later epoch, then the longer history, then the greater id. `weight` is
/// what the vote of `new`'s candidate counts; one that counts nothing is never preferred (PARITY `fle.order`).
///
/// The epoch comes first because a history of a later epoch was agreed on by a quorum that knew all that was
/// committed before; a longer history of an earlier epoch has only more of what was never committed.
pub fn beats(new: &Vote, weight: i64, old: &Vote) -> bool {
    let rank = |vote: &Vote| (vote.peer_epoch, vote.zxid, vote.leader);
    weight != 0 && rank(new) > rank(old)
}

/// A vote as it was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeardVote {
    /// For whom.
    pub vote: Vote,
    /// In which round.
    pub round: i64,
    /// What the voter was doing.
    pub state: PeerState,
    /// The version of its notification.
    pub version: i32,
}

impl HeardVote {
    /// Whether two votes name the same leader of the same election.
    ///
    /// Of servers that look, everything counts. Of two that follow or lead, zxid and round do not: they are from
    /// when each of them decided, and one that joined later decided on other grounds (ZOOKEEPER-1732, 1805). The
    /// epoch does, because each is used by one leader once; unless just one of the two is from before 3.4.6, which
    /// kept the epoch of the vote where later ones put the epoch that was begun with it.
    pub fn agrees_with(&self, other: &Self) -> bool {
        if self.state == PeerState::Looking || other.state == PeerState::Looking {
            return self.vote == other.vote && self.round == other.round;
        }
        let epoch_counts = (self.version > 0) == (other.version > 0);
        self.vote.leader == other.vote.leader
            && (!epoch_counts || self.vote.peer_epoch == other.vote.peer_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(leader: i64, zxid: i64, peer_epoch: i64) -> Vote {
        Vote { leader: ServerId(leader), zxid: Zxid(zxid), peer_epoch }
    }

    /// PARITY `fle.order`: every pair of a small space, against the order written out field by field.
    #[test]
    fn fle_order() {
        let values = [i64::MIN, -1, 0, 1, i64::MAX];
        let all = || {
            values.into_iter().flat_map(move |leader| {
                values
                    .into_iter()
                    .flat_map(move |zxid| values.into_iter().map(move |epoch| vote(leader, zxid, epoch)))
            })
        };
        for new in all() {
            for old in all() {
                let better = if new.peer_epoch != old.peer_epoch {
                    new.peer_epoch > old.peer_epoch
                } else if new.zxid != old.zxid {
                    new.zxid > old.zxid
                } else {
                    new.leader > old.leader
                };
                assert_eq!(beats(&new, 1, &old), better, "{new:?} against {old:?}");
                assert!(!beats(&new, 0, &old));
                assert!(!(beats(&new, 1, &old) && beats(&old, 1, &new)));
            }
            assert_eq!(beats(&new, 3, &BLANK), new != BLANK);
        }
    }

    /// ZOOKEEPER-1732, 1805 and PARITY `fle.joinrunning`: what must be equal depends on what the voters do.
    #[test]
    fn zookeeper_1732_agreement() {
        use PeerState::{Following, Leading, Looking};
        let heard = |state, vote, round, version| HeardVote { vote, round, state, version };
        let base = heard(Following, vote(3, 7, 5), 9, 2);
        let cases = [
            (heard(Leading, vote(3, 8, 5), 1, 2), true),
            (heard(Leading, vote(3, 7, 6), 9, 2), false),
            (heard(Leading, vote(3, 7, 6), 9, 1), false),
            (heard(Leading, vote(3, 7, 6), 9, 0), true),
            (heard(Leading, vote(2, 7, 5), 9, 0), false),
            (heard(Looking, vote(3, 7, 5), 9, 0), true),
            (heard(Looking, vote(3, 7, 5), 8, 2), false),
            (heard(Looking, vote(3, 8, 5), 9, 2), false),
            (heard(Looking, vote(3, 7, 6), 9, 2), false),
        ];
        for (other, agrees) in cases {
            assert_eq!(base.agrees_with(&other), agrees, "{other:?}");
            assert_eq!(other.agrees_with(&base), agrees, "{other:?}");
        }
    }
}
