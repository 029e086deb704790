//! Learners on their way into an epoch: how they are brought up to date, how far they are, and what becomes of it.

use zabra_core::types::Message;

use super::{Mark, Marks};
use crate::link::LinkId;
use crate::places::NodeId;

/// How a learner is brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Diff,
    Snap,
    Trunc,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Begun,
    NewLeader,
    Acknowledged,
    UpToDate,
    Following,
}

/// A learner on its way into an epoch, or in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Join {
    pub(super) leader: NodeId,
    link: LinkId,
    how: How,
    pub(super) stage: Stage,
    proposals: usize,
}

impl Marks {
    /// A learner's way into an epoch is over, where it was not at its end.
    pub(super) fn interrupted(&mut self, node: NodeId) {
        let Some(join) = self.joins.remove(&node) else { return };
        if join.stage >= Stage::Acknowledged {
            return;
        }
        match join.how {
            How::Diff => {}
            How::Snap => {
                self.known(node).snap_interrupted = true;
                self.reach(Mark::SnapInterrupted);
            }
            How::Trunc => self.reach(Mark::TruncInterrupted),
        }
    }

    fn learner_said(&mut self, node: NodeId, message: &Message) {
        match message {
            Message::AckEpoch { last_zxid, current_epoch } => {
                self.known(node).said_last = *last_zxid;
                let counts = *current_epoch != Message::UNCOUNTED;
                self.reach(if counts { Mark::EpochPromised } else { Mark::PromisedBefore });
            }
            Message::Ack { zxid } if zxid.begins_epoch() => {
                let Some(join) = self.joins.get_mut(&node) else { return };
                let (next, mark) = match join.stage {
                    Stage::Begun | Stage::NewLeader | Stage::Acknowledged => {
                        (Stage::Acknowledged, Mark::HistoryAcknowledged)
                    }
                    Stage::UpToDate | Stage::Following => (Stage::Following, Mark::UpToDateAcknowledged),
                };
                join.stage = next;
                self.reach(mark);
            }
            _ => {}
        }
    }

    pub(super) fn said(&mut self, node: NodeId, to: NodeId, link: LinkId, message: &Message) {
        match message {
            Message::Diff { .. } => self.begin(node, to, link, How::Diff),
            Message::Snap { .. } => self.begin(node, to, link, How::Snap),
            Message::Trunc { zxid } => {
                let known = *self.known(to);
                if known.led {
                    self.reach(Mark::TruncOfAnOldLeader);
                }
                if zxid.epoch() < known.said_last.epoch() {
                    self.reach(Mark::TruncAcrossEpochs);
                }
                self.begin(node, to, link, How::Trunc);
            }
            Message::LeaderInfo { epoch, .. } => {
                self.reach(Mark::EpochProposed);
                self.known(node).looks = false;
                if *epoch > self.known(node).accepted_before + 1 {
                    self.reach(Mark::EpochLeapt);
                }
            }
            Message::Ack { .. } | Message::AckEpoch { .. } => self.learner_said(node, message),
            Message::FollowerInfo { .. } => {
                self.known(node).looks = false;
                self.reach(Mark::FollowerIntroduced);
            }
            Message::ObserverInfo { .. } => {
                self.known(node).looks = false;
                self.reach(Mark::ObserverIntroduced);
            }
            Message::InformAndActivate { .. } => self.reach(Mark::ChangeToldToObserver),
            Message::Request { .. } => self.reach(Mark::Request),
            Message::Revalidate { .. } => self.reach(Mark::Revalidate),
            Message::Revalidated { valid: false, .. } => self.reach(Mark::RevalidateInVain),
            Message::Sync => self.reach(Mark::Sync),
            Message::Commit { zxid } => {
                if self.known(node).durable < *zxid {
                    self.reach(Mark::CommitBeforeOwnSync);
                }
                self.said_in_join(to, link, message);
            }
            Message::Inform { .. } => {
                self.reach(Mark::Inform);
                self.said_in_join(to, link, message);
            }
            Message::Proposal { .. } | Message::NewLeader { .. } => self.said_in_join(to, link, message),
            Message::UpToDate => {
                if !self.known(node).leads {
                    self.reach(Mark::ObserverMaster);
                }
                self.said_in_join(to, link, message);
            }
            _ => {}
        }
    }

    fn begin(&mut self, leader: NodeId, learner: NodeId, link: LinkId, how: How) {
        self.interrupted(learner);
        match how {
            How::Diff => {
                if std::mem::take(&mut self.known(learner).snap_interrupted) {
                    self.reach(Mark::SnapThenDiff);
                }
            }
            How::Snap => {
                self.reach(Mark::SnapSent);
                let others =
                    self.joins.values().filter(|join| join.leader == leader && join.how == How::Snap);
                if others.filter(|join| join.stage == Stage::Begun).count() > 0 {
                    self.reach(Mark::SnapForSeveral);
                }
            }
            How::Trunc => self.reach(Mark::TruncSent),
        }
        self.joins.insert(learner, Join { leader, link, how, stage: Stage::Begun, proposals: 0 });
    }

    fn said_in_join(&mut self, to: NodeId, link: LinkId, message: &Message) {
        let Some(join) = self.joins.get_mut(&to).filter(|join| join.link == link) else { return };
        let stage = join.stage;
        match message {
            Message::Proposal { .. } | Message::Inform { .. } => join.proposals += 1,
            Message::NewLeader { .. } => join.stage = Stage::NewLeader,
            Message::UpToDate => join.stage = Stage::UpToDate,
            _ => {}
        }
        let (how, proposals) = (join.how, join.proposals);
        let is_open = stage == Stage::NewLeader || stage == Stage::Acknowledged;
        match message {
            Message::Proposal { .. } if is_open => self.reach(Mark::ProposalBeforeUpToDate),
            Message::Commit { .. } if stage == Stage::UpToDate => self.reach(Mark::CommitBehindUpToDate),
            Message::Inform { .. } if is_open => self.reach(Mark::InformBeforeUpToDate),
            Message::UpToDate => self.reach(Mark::UpToDate),
            Message::NewLeader { .. } if how == How::Diff => self.reach(match proposals {
                0 => Mark::DiffEmpty,
                _ if proposals > self.commit_log_count => Mark::DiffFromLog,
                _ => Mark::DiffFromMemory,
            }),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use zabra_core::types::Zxid;

    use super::*;
    use crate::ending::Crash;
    use crate::history::Observed;

    const LEADER: NodeId = NodeId(0);
    const LEARNER: NodeId = NodeId(1);

    fn say(marks: &mut Marks, message: Message) {
        let message = Rc::new(message);
        marks.observe(&Observed::Said { node: LEADER, to: LEARNER, link: LinkId(1), message, kept: None });
    }

    #[test]
    fn a_snapshot_that_is_interrupted_and_then_a_difference() {
        let mut marks = Marks::new(5);
        say(&mut marks, Message::Snap { zxid: Zxid::new(1, 7) });
        marks.observe(&Observed::Crashed { node: LEARNER, how: Crash::Unpowered });
        say(&mut marks, Message::Diff { zxid: Zxid::new(1, 7) });
        say(&mut marks, Message::NewLeader { zxid: Zxid::new(1, 0), config: None });
        say(&mut marks, Message::UpToDate);
        say(&mut marks, Message::Commit { zxid: Zxid::new(1, 8) });
        let reached = marks.reached();
        let all: Vec<Mark> = Mark::ALL.iter().copied().filter(|&mark| reached.count(mark) == 1).collect();
        assert_eq!(
            all,
            [
                Mark::ObserverMaster,
                Mark::DiffEmpty,
                Mark::SnapSent,
                Mark::SnapInterrupted,
                Mark::SnapThenDiff,
                Mark::UpToDate,
                Mark::CrashBeforeNewLeader,
                Mark::CommitBehindUpToDate,
                Mark::CommitBeforeOwnSync,
            ]
        );
        assert_eq!(reached.missing().len(), Mark::ALL.len() - all.len());
    }
}
