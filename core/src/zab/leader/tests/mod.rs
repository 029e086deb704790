//! A leader whose learners say whatever a test wants.

mod broadcast;
mod discovery;
mod joining;
mod liveness;

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::*;
use crate::testing::cluster::members;
use crate::types::LearnerInfo;
use crate::zab::LearnersOutput;

const TICK: Duration = Duration::from_millis(100);

/// A leader whose promises are durable as soon as it asks.
struct Lead {
    leader: Leader,
    now: Instant,
    outputs: Vec<LeaderOutput>,
    tail: Tail,
    durable_at_once: bool,
}

impl Lead {
    fn new(voters: i64, observers: i64, own: OwnHistory) -> Self {
        let now = Instant::from_millis(1000);
        let membership = members(voters, observers);
        let config = EnsembleConfig::new(membership.clone());
        let quorums = Quorums::new(membership, None);
        let leader = Leader::new(ServerId(1), TICK, &config, quorums, own, now);
        let tail = Tail::new(own.last_zxid, 500, 1 << 20);
        let mut lead = Self { leader, now, outputs: Vec::new(), tail, durable_at_once: true };
        lead.run();
        lead
    }

    fn run(&mut self) {
        self.leader.commit_what_a_quorum_has(); // the part of a flush that sends nothing
        while let Some(output) = self.leader.poll_output() {
            if self.durable_at_once {
                match output {
                    LeaderOutput::SaveAccepted { .. } => self.leader.on_accepted_saved(),
                    LeaderOutput::SaveCurrent { .. } => self.leader.on_current_saved(self.now),
                    LeaderOutput::Learners(LearnersOutput::BeginSync { link, last_zxid }) => {
                        let sent = last_zxid.max(self.tail.base());
                        self.leader.on_caught_up(link, sent, &self.tail, &Bytes::new());
                    }
                    _ => {}
                }
            }
            self.outputs.push(output);
        }
    }

    fn say(&mut self, link: u64, message: Message) {
        self.leader.on_message(LinkId(link), message, self.now);
        self.run();
    }

    fn introduce(&mut self, link: u64, server: i64, accepted_epoch: i64, observer: bool) {
        self.leader.on_link_up(LinkId(link), self.now);
        let info = LearnerInfo {
            server: Some(ServerId(server)),
            protocol_version: LearnerInfo::PROTOCOL_VERSION,
            config_version: 0,
        };
        self.say(
            link,
            match observer {
                true => Message::ObserverInfo { accepted_epoch, info },
                false => Message::FollowerInfo { accepted_epoch, info },
            },
        );
    }

    fn promise(&mut self, link: u64, current_epoch: i32, last_zxid: Zxid) {
        self.say(link, Message::AckEpoch { last_zxid, current_epoch });
    }

    /// A learner comes and follows.
    fn follow(&mut self, link: u64, server: i64, observer: bool) {
        self.introduce(link, server, 0, observer);
        self.promise(link, 0, self.tail.last());
        let beginning = beginning(self.leader.epoch());
        self.say(link, Message::Ack { zxid: beginning });
    }

    fn propose(&mut self) -> Zxid {
        let zxid = self.leader.next_zxid().expect("a zxid");
        self.leader.propose(zxid, &Bytes::new());
        self.tail.push(zxid, Bytes::new());
        self.run();
        zxid
    }

    fn took(&mut self) -> Vec<LeaderOutput> {
        mem::take(&mut self.outputs)
    }

    fn committed(&mut self) -> Vec<Zxid> {
        let commit = |output: LeaderOutput| match output {
            LeaderOutput::Commit { zxid } => Some(zxid),
            _ => None,
        };
        self.took().into_iter().filter_map(commit).collect()
    }

    fn stepped_down(&mut self) -> Option<StepDownReason> {
        self.took().into_iter().find_map(|output| match output {
            LeaderOutput::StepDown { why } => Some(why),
            _ => None,
        })
    }

    fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.leader.on_tick(self.now);
        self.run();
    }
}

fn own(accepted_epoch: i64, current_epoch: i64, last_zxid: Zxid) -> OwnHistory {
    OwnHistory { accepted_epoch, current_epoch, last_zxid, has_data: true }
}

fn fresh(voters: i64, observers: i64) -> Lead {
    Lead::new(voters, observers, own(0, 0, Zxid::ZERO))
}
