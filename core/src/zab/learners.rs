//! The learners of a server that others learn from: a leader, or a follower that serves observers. How far each has
//! come, what is said to it on the way, and when it is given up.
//!
//! Whose word counts for what is not known here; that is the leader's.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::progress::{Progress, Stage};
use super::tail::Tail;
use crate::time::Instant;
use crate::types::{HangupReason, LearnerInfo, LinkId, Message, ServerId, Zxid};

/// What is to be done about learners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LearnersOutput {
    /// Bring the learner up to date from its last transaction, then say so by [`LearnerMaster::on_caught_up`].
    BeginSync {
        /// Which.
        link: LinkId,
        /// The last transaction in its log.
        last_zxid: Zxid,
    },
    /// Close a link.
    Hangup {
        /// Which.
        link: LinkId,
        /// Why.
        why: HangupReason,
    },
    /// A learner asks for something that is not the protocol's own business: a request, a session.
    Said {
        /// On which link.
        link: LinkId,
        /// Which server it is.
        server: ServerId,
        /// What it says.
        message: Message,
    },
    /// Say something to a learner.
    Send {
        /// On which link.
        link: LinkId,
        /// What.
        message: Message,
    },
}

/// Whom learners learn from: somebody who is told what happens on their links, and how far bringing them up to date has
/// come.
pub trait LearnerMaster {
    /// Somebody connected.
    fn on_link_up(&mut self, link: LinkId, now: Instant);

    /// A learner is gone.
    fn on_link_down(&mut self, link: LinkId);

    /// A learner said something.
    fn on_message(&mut self, link: LinkId, message: Message, now: Instant);

    /// Whether a packet of an unknown type is passed over (PARITY `quorum.unexpected`).
    fn passes_over_unknown(&self, link: LinkId) -> bool;

    /// A learner takes what it is sent.
    fn on_drained(&mut self, link: LinkId, now: Instant);

    /// Who is at the other end of a link, if it has said so.
    fn server_on(&self, link: LinkId) -> Option<ServerId>;

    /// How many learners follow.
    fn following_count(&self) -> usize;

    /// Whether it brings learners into an epoch that serves clients.
    fn is_serving(&self) -> bool;

    /// Everything up to `sent` is on its way to the learner, in whatever form.
    fn on_sent(&mut self, link: LinkId, sent: Zxid);

    /// The learner has been sent everything up to `sent`, all of which `tail` reaches back to: what is committed comes
    /// from there, then NEWLEADER, then what is not, and from now on it hears of everything at once (Java's
    /// `startForwarding`, which has NEWLEADER come last: with a change of members among what is not committed, learners
    /// would forget of that, or take it for committed). `config` is the configuration that the learner is to act by.
    fn on_caught_up(&mut self, link: LinkId, sent: Zxid, tail: &Tail, config: &Bytes);

    /// Closes the link to a learner. It may come back.
    fn hang_up(&mut self, link: LinkId, why: HangupReason);
}

/// Pings that a learner may owe an answer to. Whoever owes as many is not asked again before it answers: more would not
/// tell whether it follows any sooner.
const PINGS_OWED_MAX: usize = 1000;

/// Servers that have connected and not said who they are. Who means to learn says so at once; and were there no end of the
/// others, there would be of the links that a port accepts.
const GREETING_MAX: usize = 64;

/// See the module. What is to be done goes to the queue that each call is given.
#[derive(Debug)]
pub(super) struct Learners {
    me: ServerId,
    init_time: Duration,
    sync_time: Duration,
    links: BTreeMap<LinkId, Progress>,
}

impl Learners {
    pub(super) const fn new(me: ServerId, init_time: Duration, sync_time: Duration) -> Self {
        Self { me, init_time, sync_time, links: BTreeMap::new() }
    }

    pub(super) fn get(&self, link: LinkId) -> Option<&Progress> {
        self.links.get(&link)
    }

    pub(super) fn get_mut(&mut self, link: LinkId) -> Option<&mut Progress> {
        self.links.get_mut(&link)
    }

    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Progress> {
        self.links.values()
    }

    /// The learners that follow, as links and servers.
    pub(super) fn following(&self) -> impl Iterator<Item = (LinkId, ServerId)> + '_ {
        let following = self.links.iter().filter(|(_, learner)| learner.stage == Stage::Following);
        following.filter_map(|(&link, learner)| Some((link, learner.server?)))
    }

    /// The oldest position of a learner that is still being brought up to date.
    pub(super) fn oldest_position(&self) -> Option<Zxid> {
        self.links.values().filter_map(Progress::position).min()
    }

    /// Whether any learner hears of commits by INFORM.
    pub(super) fn has_observers(&self) -> bool {
        self.links.values().any(|learner| learner.observer && learner.is_told())
    }

    pub(super) fn in_stage(&self, stage: Stage) -> Vec<LinkId> {
        let there = self.links.iter().filter(|(_, learner)| learner.stage == stage);
        there.map(|(&link, _)| link).collect()
    }

    /// Somebody connected. Whoever has not said who it is for the longest goes if there are too many of those.
    pub(super) fn on_link_up<O: From<LearnersOutput>>(
        &mut self,
        link: LinkId,
        now: Instant,
        outputs: &mut VecDeque<O>,
    ) {
        let greeting = self.in_stage(Stage::Greeting);
        if greeting.len() >= GREETING_MAX {
            self.hang_up(greeting[0], HangupReason::Unwanted, outputs);
        }
        self.links.insert(link, Progress::new(now + self.init_time));
    }

    pub(super) fn on_link_down(&mut self, link: LinkId) {
        self.links.remove(&link);
    }

    /// Something came from the learner. Where it is, if it is known.
    pub(super) fn heard(&mut self, link: LinkId, now: Instant) -> Option<Stage> {
        let learner = self.links.get_mut(&link)?;
        learner.heard(now, self.init_time, self.sync_time);
        Some(learner.stage)
    }

    /// Until it has acknowledged NEWLEADER, what a learner is to say next is one thing.
    pub(super) fn pass_over_unknown(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(|learner| learner.stage >= Stage::Acknowledged)
    }

    /// The learner takes what it is sent: it has as long again for the rest, however much there is. Behind its
    /// acknowledgement there come only pings, of which it makes nothing. Who it is, if that was so.
    pub(super) fn on_drained(&mut self, link: LinkId, now: Instant) -> Option<&Progress> {
        let learner = self.links.get_mut(&link)?;
        if !matches!(learner.stage, Stage::Synchronizing | Stage::Announced) {
            return None;
        }
        learner.heard(now, self.init_time, self.sync_time);
        Some(learner)
    }

    pub(super) fn on_sent(&mut self, link: LinkId, sent: Zxid) {
        if let Some(learner) = self.links.get_mut(&link) {
            learner.sent = sent;
        }
    }

    /// FOLLOWERINFO or OBSERVERINFO (PARITY `sync.configversion`): who it is, if it may learn here. Whoever was taken
    /// for the same server has gone.
    pub(super) fn introduce<O: From<LearnersOutput>>(
        &mut self,
        link: LinkId,
        info: LearnerInfo,
        observer: bool,
        config_version: i64,
        outputs: &mut VecDeque<O>,
    ) -> Option<ServerId> {
        let Some(server) = info.server.filter(|&server| server != self.me) else {
            self.hang_up(link, HangupReason::Unwanted, outputs);
            return None;
        };
        // Learners of before Zab 1.0 know neither LEADERINFO nor NEWLEADER's acknowledgement.
        if info.protocol_version < LearnerInfo::PROTOCOL_VERSION || info.config_version > config_version {
            self.hang_up(link, HangupReason::Unwanted, outputs);
            return None;
        }
        let older = self.links.iter().find(|(id, other)| **id != link && other.server == Some(server));
        if let Some(older) = older.map(|(&id, _)| id) {
            self.hang_up(older, HangupReason::Duplicate, outputs);
        }
        let learner = self.links.get_mut(&link)?;
        learner.server = Some(server);
        learner.observer = observer;
        learner.stage = Stage::Waiting;
        Some(server)
    }

    pub(super) fn send_leader_info<O: From<LearnersOutput>>(
        &mut self,
        link: LinkId,
        epoch: i64,
        outputs: &mut VecDeque<O>,
    ) {
        if let Some(learner) = self.links.get_mut(&link) {
            learner.stage = Stage::Promising;
            let message = Message::LeaderInfo { epoch, protocol_version: LearnerInfo::PROTOCOL_VERSION };
            send(outputs, link, message);
        }
    }

    /// It is brought up to date from here on, for which it has as long as for every other step: however long it was kept
    /// waiting for that.
    pub(super) fn begin_sync<O: From<LearnersOutput>>(
        &mut self,
        link: LinkId,
        now: Instant,
        outputs: &mut VecDeque<O>,
    ) {
        let learner = self.links.get_mut(&link).expect("it is in a stage");
        learner.stage = Stage::Synchronizing;
        learner.heard(now, self.init_time, self.sync_time);
        learner.sent = learner.last_zxid;
        outputs.push_back(LearnersOutput::BeginSync { link, last_zxid: learner.last_zxid }.into());
    }

    /// See [`LearnerMaster::on_caught_up`]. Everything up to `announced` is committed, and who is told by now was told.
    pub(super) fn catch_up<O: From<LearnersOutput>>(
        &mut self,
        link: LinkId,
        sent: Zxid,
        announced: Zxid,
        tail: &Tail,
        new_leader: Message,
        outputs: &mut VecDeque<O>,
    ) {
        let Some(learner) = self.links.get_mut(&link) else { return };
        if learner.stage != Stage::Synchronizing {
            return;
        }
        assert!(sent >= tail.base(), "{sent} is behind what is in memory");
        learner.stage = Stage::Announced;
        learner.inherited = announced;
        learner.committed = announced;
        let observer = learner.observer;
        for (zxid, txn) in tail.behind(sent).take_while(|&&(zxid, _)| zxid <= announced) {
            let (zxid, txn) = (*zxid, txn.clone());
            if observer {
                send(outputs, link, Message::Inform { zxid, txn });
            } else {
                send(outputs, link, Message::Proposal { zxid, txn });
                send(outputs, link, Message::Commit { zxid });
            }
        }
        send(outputs, link, new_leader);
        for (zxid, txn) in tail.behind(sent.max(announced)).filter(|_| !observer) {
            send(outputs, link, Message::Proposal { zxid: *zxid, txn: txn.clone() });
        }
    }

    /// UPTODATE: it follows. Returns it if it logs proposals, and may not have heard of all commits.
    pub(super) fn welcome<O: From<LearnersOutput>>(
        &mut self,
        link: LinkId,
        now: Instant,
        outputs: &mut VecDeque<O>,
    ) -> Option<&mut Progress> {
        let learner = self.links.get_mut(&link)?;
        learner.stage = Stage::Following;
        learner.heard(now, self.init_time, self.sync_time);
        send(outputs, link, Message::UpToDate);
        (!learner.observer).then_some(learner)
    }

    /// The transaction is to be logged by everybody who does not wait for its commit.
    pub(super) fn propose<O: From<LearnersOutput>>(
        &self,
        zxid: Zxid,
        txn: &Bytes,
        outputs: &mut VecDeque<O>,
    ) {
        for (&link, learner) in &self.links {
            if learner.is_told() && !learner.observer {
                send(outputs, link, Message::Proposal { zxid, txn: txn.clone() });
            }
        }
    }

    /// The transaction is committed, and makes `designated` the leader if it changes the members: tells the learners.
    ///
    /// A voter that has not answered NEWLEADER hears of it behind UPTODATE: ZooKeeper 3.8.0 leaves its leader when a
    /// COMMIT between the two is for a proposal of before (ZOOKEEPER-4394), which under load is in every try.
    pub(super) fn announce_commit<O: From<LearnersOutput>>(
        &mut self,
        zxid: Zxid,
        txn: Option<&Bytes>,
        designated: Option<ServerId>,
        outputs: &mut VecDeque<O>,
    ) {
        for (&link, learner) in &mut self.links {
            if !learner.is_told() {
                continue;
            }
            let message = match (learner.observer, txn) {
                (true, Some(txn)) => inform(zxid, designated, txn.clone()),
                (true, None) => continue,
                (false, _) if learner.stage != Stage::Following || zxid <= learner.committed => continue,
                (false, _) => {
                    learner.committed = zxid;
                    commit(zxid, designated)
                }
            };
            send(outputs, link, message);
        }
    }

    /// Passes on what a learner said.
    pub(super) fn pass_on<O: From<LearnersOutput>>(
        &self,
        link: LinkId,
        message: Message,
        outputs: &mut VecDeque<O>,
    ) {
        if let Some(server) = self.links.get(&link).and_then(|learner| learner.server) {
            outputs.push_back(LearnersOutput::Said { link, server, message }.into());
        }
    }

    /// The learner answered a ping. Whether it owed an answer.
    pub(super) fn on_pong<O: From<LearnersOutput>>(
        &mut self,
        link: LinkId,
        outputs: &mut VecDeque<O>,
    ) -> bool {
        let Some(learner) = self.links.get_mut(&link) else { return false };
        let owed = !learner.pings.is_empty();
        if owed {
            learner.answered();
        } else {
            self.hang_up(link, HangupReason::BadMessage, outputs);
        }
        owed
    }

    pub(super) fn ping<O: From<LearnersOutput>>(
        &mut self,
        round: u64,
        zxid: Zxid,
        outputs: &mut VecDeque<O>,
    ) {
        for (&link, learner) in &mut self.links {
            if learner.pings.len() >= PINGS_OWED_MAX {
                continue;
            }
            // Before UPTODATE learners answer none. But once they have acknowledged the history they hear that their
            // leader is there, and wait for the others.
            if learner.stage == Stage::Following {
                learner.pings.push_back(round);
            }
            if learner.stage >= Stage::Acknowledged {
                send(outputs, link, Message::Ping { zxid, touched: None });
            }
        }
    }

    /// Learners that said nothing, or acknowledged nothing, for too long (PARITY `zab.synclimit`); the others are to
    /// acknowledge what was proposed by now in time.
    pub(super) fn drop_silent<O: From<LearnersOutput>>(
        &mut self,
        now: Instant,
        last_proposed: Zxid,
        outputs: &mut VecDeque<O>,
    ) {
        let late = self.links.iter().filter(|(_, learner)| learner.is_late(now));
        for link in late.map(|(&link, _)| link).collect::<Vec<_>>() {
            self.hang_up(link, HangupReason::Timeout, outputs);
        }
        for learner in self.links.values_mut() {
            learner.watch_acks(last_proposed, now + self.sync_time);
        }
    }

    pub(super) fn hang_up<O: From<LearnersOutput>>(
        &mut self,
        link: LinkId,
        why: HangupReason,
        outputs: &mut VecDeque<O>,
    ) {
        if self.links.remove(&link).is_some() {
            outputs.push_back(LearnersOutput::Hangup { link, why }.into());
        }
    }
}

/// Says something to a learner.
pub(super) fn send<O: From<LearnersOutput>>(outputs: &mut VecDeque<O>, link: LinkId, message: Message) {
    outputs.push_back(LearnersOutput::Send { link, message }.into());
}

/// What learners that log proposals hear of a commit, and of whom it makes the leader if it changes the members.
pub(super) const fn commit(zxid: Zxid, designated: Option<ServerId>) -> Message {
    match designated {
        Some(designated) => Message::CommitAndActivate { zxid, designated },
        None => Message::Commit { zxid },
    }
}

/// Likewise for the others, who get the transaction with it.
const fn inform(zxid: Zxid, designated: Option<ServerId>, txn: Bytes) -> Message {
    match designated {
        Some(designated) => Message::InformAndActivate { zxid, designated, txn },
        None => Message::Inform { zxid, txn },
    }
}
