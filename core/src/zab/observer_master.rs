//! Serving observers as a follower: they learn from this server what its leader says, and the leader has as many links
//! fewer (Java's `ObserverMaster`, PARITY `obs.master`).
//!
//! ```text
//!     observer                    follower, which serves                      leader
//!        OBSERVERINFO ────────────────▶
//!        ◀──────────── LEADERINFO(e)     e is the epoch that it follows in
//!        ACKEPOCH ────────────────────▶
//!        ◀── DIFF | TRUNC | SNAP, NEWLEADER      as a leader, of what is committed
//!        ACK(e, 0) ───────────────────▶
//!        ◀───────────────── UPTODATE
//!        ◀─────────────── INFORM(z)      z was proposed ◀──────────── PROPOSAL(z)
//!                                                       ◀───────────── COMMIT(z)
//!        PING, REQUEST, REVALIDATE ───▶ passed on ─────────────────────────────▶
//! ```
//!
//! Only what is committed is ever sent: what a follower has in its log beyond that may yet be cut. So an observer may
//! come with more than this server knows to be committed, from a server that knew it earlier. Of this epoch its leader
//! proposed all there is, and as long as this epoch lasts all of it will be committed; so that observer waits until it
//! is, where Java has it cut off what its clients have seen. What it has of earlier epochs beyond this server's history
//! was never committed, and goes.
//!
//! It begins when its server serves in the epoch, and ends with that: whoever leaves its leader closes every link.

use alloc::collections::VecDeque;
use core::time::Duration;

use bytes::Bytes;

use super::leader::beginning;
use super::learners::{LearnerMaster, Learners, LearnersOutput};
use super::progress::{Progress, Stage};
use super::tail::Tail;
use crate::ASSERTS_ALL;
use crate::config::EnsembleConfig;
use crate::time::Instant;
use crate::types::{HangupReason, LearnerInfo, LinkId, Message, ServerId, Zxid};

/// See the module.
#[derive(Debug)]
pub struct ObserverMaster {
    epoch: i64,
    tick: Duration,
    learners: Learners,
    /// The last commit that observers were told of.
    committed: Zxid,
    /// Whoever knows a later configuration has to wait until this server does.
    config_version: i64,
    next_ping: Instant,
    outputs: VecDeque<LearnersOutput>,
}

impl ObserverMaster {
    /// Begins to serve observers in an epoch, by a follower that knows everything up to `committed` to be.
    pub fn new(
        me: ServerId,
        epoch: i64,
        committed: Zxid,
        tick: Duration,
        config: &EnsembleConfig,
        now: Instant,
    ) -> Self {
        Self {
            epoch,
            tick,
            learners: Learners::new(me, tick * config.init_limit, tick * config.sync_limit),
            committed,
            config_version: config.membership.version(),
            next_ping: now + tick / 2,
            outputs: VecDeque::new(),
        }
    }

    /// What is to be done next, if anything: call until `None`.
    pub fn poll_output(&mut self) -> Option<LearnersOutput> {
        self.outputs.pop_front()
    }

    /// The oldest position of an observer that is still being brought up to date.
    pub fn oldest_position(&self) -> Option<Zxid> {
        self.learners.oldest_position()
    }

    /// The configuration in force has this version.
    pub const fn on_config(&mut self, version: i64) {
        self.config_version = version;
    }

    fn on_introduction(&mut self, link: LinkId, accepted_epoch: i64, info: LearnerInfo) {
        let version = self.config_version;
        if self.learners.introduce(link, info, true, version, &mut self.outputs).is_none() {
            return;
        }
        // It has promised itself to a later epoch: this server's own leader may be deposed.
        if accepted_epoch > self.epoch {
            return self.hang_up(link, HangupReason::Unwanted);
        }
        self.learners.send_leader_info(link, self.epoch, &mut self.outputs);
    }

    fn on_promise(&mut self, link: LinkId, last_zxid: Zxid, now: Instant) {
        // Who cannot tell what it has gets a snapshot.
        if last_zxid != Zxid::UNKNOWN && i64::from(last_zxid.epoch()) > self.epoch {
            return self.hang_up(link, HangupReason::BadMessage);
        }
        if let Some(learner) = self.learners.get_mut(link) {
            learner.last_zxid = last_zxid;
            learner.stage = Stage::Promised;
        }
        self.begin_syncs(now);
    }

    /// Brings those up to date that have nothing of this epoch which this server does not know to be committed.
    fn begin_syncs(&mut self, now: Instant) {
        for link in self.learners.in_stage(Stage::Promised) {
            if self.learners.get(link).is_some_and(|learner| self.may_begin_sync(learner)) {
                self.learners.begin_sync(link, now, &mut self.outputs);
            }
        }
    }

    fn may_begin_sync(&self, learner: &Progress) -> bool {
        let last_zxid = learner.last_zxid;
        let is_of_this_epoch = i64::from(last_zxid.epoch()) == self.epoch && !last_zxid.begins_epoch();
        learner.stage == Stage::Promised && (last_zxid <= self.committed || !is_of_this_epoch)
    }

    fn on_ack(&mut self, link: LinkId, zxid: Zxid, now: Instant) {
        if zxid > self.committed.max(beginning(self.epoch)) {
            return self.hang_up(link, HangupReason::BadMessage);
        }
        // Behind UPTODATE observers acknowledge the beginning of the epoch once more; other acknowledgements, of which
        // those of ZooKeeper send some, count nowhere.
        let answers = self.learners.get(link).is_some_and(|learner| learner.stage == Stage::Announced);
        if answers && zxid == beginning(self.epoch) {
            self.learners.welcome(link, now, &mut self.outputs);
        }
    }

    /// The transaction is committed, and makes `designated` the leader if it changes the members: tells the observers.
    pub fn announce_commit(&mut self, zxid: Zxid, txn: &Bytes, designated: Option<ServerId>, now: Instant) {
        assert!(zxid > self.committed, "observers hear of every commit once, in order");
        self.committed = zxid;
        self.learners.announce_commit(zxid, Some(txn), designated, &mut self.outputs);
        self.begin_syncs(now);
    }

    /// When [`ObserverMaster::on_tick`] is next worth calling.
    pub const fn poll_timeout(&self) -> Instant {
        self.next_ping
    }

    /// Time passed.
    pub fn on_tick(&mut self, now: Instant) {
        // As with a leader: who waited for a commit goes on with it.
        let waits = |learner: &Progress| self.may_begin_sync(learner);
        assert!(
            !ASSERTS_ALL || !self.learners.values().any(waits),
            "an observer waits for what is committed"
        );
        if now >= self.next_ping {
            self.next_ping = now + self.tick / 2;
            self.learners.drop_silent(now, self.committed, &mut self.outputs);
            self.learners.ping(0, self.committed, &mut self.outputs);
        }
    }
}

impl LearnerMaster for ObserverMaster {
    fn on_link_up(&mut self, link: LinkId, now: Instant) {
        self.learners.on_link_up(link, now, &mut self.outputs);
    }

    fn on_link_down(&mut self, link: LinkId) {
        self.learners.on_link_down(link);
    }

    fn passes_over_unknown(&self, link: LinkId) -> bool {
        self.learners.pass_over_unknown(link)
    }

    fn on_drained(&mut self, link: LinkId, now: Instant) {
        self.learners.on_drained(link, now);
    }

    fn on_message(&mut self, link: LinkId, message: Message, now: Instant) {
        let Some(stage) = self.learners.heard(link, now) else { return };
        match (stage, message) {
            (Stage::Greeting, Message::ObserverInfo { accepted_epoch, info }) => {
                self.on_introduction(link, accepted_epoch, info);
            }
            // Whoever votes follows the leader itself.
            (Stage::Greeting, Message::FollowerInfo { .. }) => self.hang_up(link, HangupReason::Unwanted),
            (Stage::Promising, Message::AckEpoch { last_zxid, .. }) => {
                self.on_promise(link, last_zxid, now);
            }
            (Stage::Announced | Stage::Acknowledged | Stage::Following, Message::Ack { zxid }) => {
                self.on_ack(link, zxid, now);
            }
            (Stage::Following, Message::Ping { touched, .. }) => {
                if self.learners.on_pong(link, &mut self.outputs) {
                    let message = Message::Ping { zxid: Zxid::ZERO, touched };
                    self.learners.pass_on(link, message, &mut self.outputs);
                }
            }
            (Stage::Following, message @ (Message::Request { .. } | Message::Revalidate { .. })) => {
                self.learners.pass_on(link, message, &mut self.outputs);
            }
            _ => self.hang_up(link, HangupReason::BadMessage),
        }
    }

    fn server_on(&self, link: LinkId) -> Option<ServerId> {
        self.learners.get(link)?.server
    }

    fn following_count(&self) -> usize {
        self.learners.following().count()
    }

    fn is_serving(&self) -> bool {
        true
    }

    fn on_sent(&mut self, link: LinkId, sent: Zxid) {
        self.learners.on_sent(link, sent);
    }

    fn on_caught_up(&mut self, link: LinkId, sent: Zxid, tail: &Tail, config: &Bytes) {
        let new_leader = Message::NewLeader { zxid: beginning(self.epoch), config: Some(config.clone()) };
        self.learners.catch_up(link, sent, self.committed, tail, new_leader, &mut self.outputs);
    }

    fn hang_up(&mut self, link: LinkId, why: HangupReason) {
        self.learners.hang_up(link, why, &mut self.outputs);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::testing::cluster::members;
    use crate::types::{OpCode, SessionId};

    const TICK: Duration = Duration::from_millis(100);
    const EPOCH: i64 = 3;
    const OBSERVER: LinkId = LinkId(7);

    /// A follower of epoch 3 with two transactions of it committed, and one more proposed.
    struct Serve {
        master: ObserverMaster,
        tail: Tail,
        now: Instant,
    }

    fn zxid(counter: u32) -> Zxid {
        Zxid::new(3, counter)
    }

    impl Serve {
        fn new() -> Self {
            let now = Instant::from_millis(1000);
            let mut tail = Tail::new(Zxid::new(2, 9), 500, 1 << 20);
            for counter in 1..=3 {
                tail.push(zxid(counter), Bytes::from_static(b"txn"));
            }
            tail.commit(zxid(2), None);
            let config = EnsembleConfig::new(members(3, 2));
            let master = ObserverMaster::new(ServerId(2), EPOCH, zxid(2), TICK, &config, now);
            Self { master, tail, now }
        }

        fn say(&mut self, link: LinkId, message: Message) -> Vec<LearnersOutput> {
            self.master.on_message(link, message, self.now);
            self.took()
        }

        fn took(&mut self) -> Vec<LearnersOutput> {
            core::iter::from_fn(|| self.master.poll_output()).collect()
        }

        fn introduce(&mut self, link: LinkId, server: i64, accepted_epoch: i64) -> Vec<LearnersOutput> {
            self.master.on_link_up(link, self.now);
            let info = info(Some(ServerId(server)), 0);
            self.say(link, Message::ObserverInfo { accepted_epoch, info })
        }

        fn promise(&mut self, link: LinkId, last_zxid: Zxid) -> Vec<LearnersOutput> {
            self.say(link, Message::AckEpoch { last_zxid, current_epoch: 2 })
        }

        /// An observer comes that has everything, and follows.
        fn follow(&mut self, link: LinkId, server: i64) {
            self.introduce(link, server, 0);
            self.promise(link, zxid(2));
            self.master.on_caught_up(link, zxid(2), &self.tail, &Bytes::new());
            let outputs = self.say(link, Message::Ack { zxid: beginning(EPOCH) });
            assert_eq!(outputs.last(), Some(&send(link, Message::UpToDate)));
        }

        fn commit(&mut self, counter: u32, designated: Option<ServerId>) -> Vec<LearnersOutput> {
            self.tail.commit(zxid(counter), None);
            self.master.announce_commit(zxid(counter), &Bytes::from_static(b"txn"), designated, self.now);
            self.took()
        }
    }

    fn info(server: Option<ServerId>, config_version: i64) -> LearnerInfo {
        LearnerInfo { server, protocol_version: LearnerInfo::PROTOCOL_VERSION, config_version }
    }

    fn send(link: LinkId, message: Message) -> LearnersOutput {
        LearnersOutput::Send { link, message }
    }

    fn hangup(link: LinkId, why: HangupReason) -> Vec<LearnersOutput> {
        vec![LearnersOutput::Hangup { link, why }]
    }

    #[test]
    fn obs_master_an_observer_is_brought_up_to_date_and_hears_of_commits_alone() {
        let mut serve = Serve::new();
        let version = LearnerInfo::PROTOCOL_VERSION;
        let leader_info = Message::LeaderInfo { epoch: EPOCH, protocol_version: version };
        assert_eq!(serve.introduce(OBSERVER, 4, 2), [send(OBSERVER, leader_info)]);
        let begin = LearnersOutput::BeginSync { link: OBSERVER, last_zxid: zxid(1) };
        assert_eq!(serve.promise(OBSERVER, zxid(1)), [begin]);
        assert_eq!(serve.master.oldest_position(), Some(zxid(1)));
        serve.master.on_caught_up(OBSERVER, zxid(1), &serve.tail, &Bytes::from_static(b"config"));
        let txn = Bytes::from_static(b"txn");
        let config = Some(Bytes::from_static(b"config"));
        let expected = [
            send(OBSERVER, Message::Inform { zxid: zxid(2), txn: txn.clone() }),
            send(OBSERVER, Message::NewLeader { zxid: beginning(EPOCH), config }),
        ];
        assert_eq!(serve.took(), expected, "and nothing of what is only proposed");
        let ack = Message::Ack { zxid: beginning(EPOCH) };
        assert_eq!(serve.say(OBSERVER, ack.clone()), [send(OBSERVER, Message::UpToDate)]);
        assert_eq!(serve.say(OBSERVER, ack), [], "the one behind UPTODATE");
        assert_eq!(
            serve.commit(3, None),
            [send(OBSERVER, Message::Inform { zxid: zxid(3), txn: txn.clone() })]
        );
        serve.tail.push(zxid(4), txn.clone());
        let designated = ServerId(1);
        let inform = Message::InformAndActivate { zxid: zxid(4), designated, txn };
        assert_eq!(serve.commit(4, Some(designated)), [send(OBSERVER, inform)]);
    }

    /// It was served by somebody who knew earlier what is committed: it keeps what its clients have seen.
    #[test]
    fn obs_master_who_has_more_of_this_epoch_waits_for_it() {
        let begin = |last_zxid| LearnersOutput::BeginSync { link: OBSERVER, last_zxid };
        let (mut waited, mut began) = (0, 0);
        for (last_zxid, waits) in [
            (zxid(2), false),
            (zxid(3), true),
            (zxid(0), false),
            (Zxid::new(2, 9), false),
            (Zxid::new(2, 12), false),
            (Zxid::ZERO, false),
        ] {
            let mut serve = Serve::new();
            serve.introduce(OBSERVER, 4, 0);
            let outputs = serve.promise(OBSERVER, last_zxid);
            if waits {
                assert_eq!(outputs, [], "{last_zxid}");
                assert_eq!(serve.commit(3, None), [begin(last_zxid)]);
                waited += 1;
            } else {
                assert_eq!(outputs, [begin(last_zxid)], "{last_zxid}");
                began += 1;
            }
        }
        assert_eq!((waited, began), (1, 5));
        // What never comes is not waited for forever.
        let mut serve = Serve::new();
        serve.introduce(OBSERVER, 4, 0);
        assert_eq!(serve.promise(OBSERVER, zxid(1000)), []);
        serve.now = serve.now + TICK * 10;
        serve.master.on_tick(serve.now);
        assert_eq!(serve.took(), hangup(OBSERVER, HangupReason::Timeout));
    }

    #[test]
    fn obs_master_refuses_whoever_is_no_observer_of_this_epoch() {
        let unwanted = hangup(OBSERVER, HangupReason::Unwanted);
        let mut serve = Serve::new();
        serve.master.on_link_up(OBSERVER, serve.now);
        let voter = Message::FollowerInfo { accepted_epoch: 0, info: info(Some(ServerId(3)), 0) };
        assert_eq!(serve.say(OBSERVER, voter), unwanted);
        let old = LearnerInfo { protocol_version: 0, ..info(Some(ServerId(4)), 0) };
        for (accepted_epoch, info) in [
            (EPOCH + 1, info(Some(ServerId(4)), 0)),
            (0, info(Some(ServerId(2)), 0)),
            (0, info(None, 0)),
            (0, info(Some(ServerId(4)), 1)),
            (0, old),
        ] {
            serve.master.on_link_up(OBSERVER, serve.now);
            let message = Message::ObserverInfo { accepted_epoch, info };
            assert_eq!(serve.say(OBSERVER, message), unwanted, "{accepted_epoch} {info:?}");
        }
        serve.master.on_config(1);
        serve.master.on_link_up(OBSERVER, serve.now);
        let message = Message::ObserverInfo { accepted_epoch: 0, info: info(Some(ServerId(4)), 1) };
        assert!(matches!(serve.say(OBSERVER, message)[..], [LearnersOutput::Send { .. }]));
        let bad = hangup(OBSERVER, HangupReason::BadMessage);
        assert_eq!(serve.promise(OBSERVER, Zxid::new(4, 1)), bad, "of an epoch that it has not promised");
    }

    /// In no stage may anything be said that belongs to another one.
    #[test]
    fn obs_master_answers_what_makes_no_sense_with_the_end_of_the_link() {
        let session = SessionId(1);
        let (op, identities) = (OpCode::CREATE, Vec::new());
        let messages = [
            Message::AckEpoch { last_zxid: Zxid::ZERO, current_epoch: 0 },
            Message::Ack { zxid: beginning(EPOCH) },
            Message::Ping { zxid: Zxid::ZERO, touched: None },
            Message::Revalidate { session, timeout_ms: 1 },
            Message::Request { session, cxid: 1, op, body: Bytes::new(), identities },
            Message::Proposal { zxid: zxid(4), txn: Bytes::new() },
            Message::Commit { zxid: zxid(3) },
            Message::UpToDate,
        ];
        let fits = |stage: usize, message: &Message| match message {
            Message::AckEpoch { .. } => stage == 1,
            Message::Ack { .. } => stage >= 3,
            Message::Revalidate { .. } | Message::Request { .. } => stage == 4,
            _ => false,
        };
        let mut refused = 0;
        for stage in 0..5 {
            for message in &messages {
                let mut serve = Serve::new();
                match stage {
                    0 => serve.master.on_link_up(OBSERVER, serve.now),
                    4 => serve.follow(OBSERVER, 4),
                    _ => drop(serve.introduce(OBSERVER, 4, 0)),
                }
                if matches!(stage, 2 | 3) {
                    serve.promise(OBSERVER, zxid(2));
                }
                if stage == 3 {
                    serve.master.on_caught_up(OBSERVER, zxid(2), &serve.tail, &Bytes::new());
                }
                serve.took();
                let outputs = serve.say(OBSERVER, message.clone());
                let hung_up = outputs == hangup(OBSERVER, HangupReason::BadMessage);
                assert_eq!(hung_up, !fits(stage, message), "{stage} {message:?}: {outputs:?}");
                refused += usize::from(hung_up);
            }
        }
        assert_eq!(refused, 5 * messages.len() - 5);
    }

    #[test]
    fn obs_master_a_ping_is_answered_once_and_silence_ends_the_link() {
        let mut serve = Serve::new();
        serve.follow(OBSERVER, 4);
        let touched = Some(vec![(SessionId(9), 4000)]);
        let pong = Message::Ping { zxid: Zxid::ZERO, touched };
        serve.now = serve.now + TICK / 2;
        serve.master.on_tick(serve.now);
        assert_eq!(serve.took(), [send(OBSERVER, Message::Ping { zxid: zxid(2), touched: None })]);
        let said = LearnersOutput::Said { link: OBSERVER, server: ServerId(4), message: pong.clone() };
        assert_eq!(serve.say(OBSERVER, pong.clone()), [said]);
        assert_eq!(serve.say(OBSERVER, pong), hangup(OBSERVER, HangupReason::BadMessage));
        serve.follow(OBSERVER, 4);
        serve.now = serve.now + TICK * 5;
        serve.master.on_tick(serve.now);
        assert_eq!(serve.took(), hangup(OBSERVER, HangupReason::Timeout));
    }

    #[test]
    fn obs_master_the_newer_link_of_a_server_takes_the_place_of_the_older() {
        let mut serve = Serve::new();
        serve.follow(OBSERVER, 4);
        let outputs = serve.introduce(LinkId(8), 4, 0);
        assert_eq!(outputs[..1], hangup(OBSERVER, HangupReason::Duplicate));
        assert_eq!(serve.master.following_count(), 0);
    }
}
