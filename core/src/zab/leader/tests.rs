use alloc::vec;
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

/// ZOOKEEPER-1343: one more than the newest promise of a quorum, whoever made it.
#[test]
fn sync_newepoch_is_newer_than_every_promise() {
    for (mine, theirs, epoch) in [(5, 6, 7), (6, 5, 7), (6, 6, 7), (0, 0, 1)] {
        let mut lead = Lead::new(3, 0, own(mine, 0, Zxid::ZERO));
        lead.introduce(1, 2, theirs, false);
        assert_eq!(lead.leader.epoch(), epoch);
    }
}

/// ZOOKEEPER-1294, -2959: observers make no quorum of promises, histories or acknowledgements.
#[test]
fn obs_role_observers_count_nowhere() {
    let mut lead = fresh(3, 2);
    lead.introduce(1, 4, 0, true);
    lead.introduce(2, 5, 0, true);
    assert_eq!(lead.took(), [], "two observers and a leader are no quorum of three voters");
    lead.follow(3, 2, false);
    for link in [1, 2] {
        lead.promise(link, 0, Zxid::ZERO);
        lead.say(link, Message::Ack { zxid: beginning(1) });
    }
    assert!(lead.leader.is_serving());
    lead.took();
    let zxid = lead.propose();
    lead.leader.on_durable(zxid);
    for link in [1, 2] {
        lead.say(link, Message::Ack { zxid });
    }
    assert_eq!(lead.committed(), []);
    lead.say(3, Message::Ack { zxid });
    assert_eq!(lead.committed(), [zxid]);
}

/// An observer that had promised an epoch of which nothing came could follow no leader that those follow who had not.
#[test]
fn an_observer_promises_only_what_a_quorum_has_promised() {
    let mut lead = fresh(3, 1);
    let hear = |lead: &mut Lead| {
        let heard = |output: LeaderOutput| match output {
            LeaderOutput::Learners(LearnersOutput::Send { link, message: Message::LeaderInfo { .. } }) => {
                Some(link.0)
            }
            _ => None,
        };
        lead.took().into_iter().filter_map(heard).collect::<Vec<_>>()
    };
    lead.introduce(1, 4, 0, true);
    lead.introduce(2, 2, 0, false);
    assert_eq!(hear(&mut lead), [2]);
    lead.promise(2, 0, Zxid::ZERO);
    assert_eq!(hear(&mut lead), [1]);
}

#[test]
fn nothing_is_said_before_it_is_durable() {
    let mut lead = fresh(3, 0);
    lead.durable_at_once = false;
    lead.introduce(1, 2, 0, false);
    assert_eq!(lead.took(), [LeaderOutput::SaveAccepted { epoch: 1 }]);
    lead.leader.on_accepted_saved();
    lead.run();
    let link = LinkId(1);
    let message = Message::LeaderInfo { epoch: 1, protocol_version: LearnerInfo::PROTOCOL_VERSION };
    assert_eq!(lead.took(), [LeaderOutput::Learners(LearnersOutput::Send { link, message })]);
    lead.promise(1, 0, Zxid::ZERO);
    assert_eq!(lead.took(), [LeaderOutput::SaveCurrent { epoch: 1 }]);
    lead.leader.on_current_saved(lead.now);
    lead.run();
    assert_eq!(
        lead.took(),
        [LeaderOutput::Learners(LearnersOutput::BeginSync { link, last_zxid: Zxid::ZERO })]
    );
}

/// Whoever had promised the epoch already did so to somebody else.
#[test]
fn quorum_ackepoch_a_promise_counts_once() {
    let mut lead = fresh(3, 0);
    lead.introduce(1, 2, 0, false);
    lead.promise(1, -1, Zxid::ZERO);
    assert!(!lead.took().contains(&LeaderOutput::SaveCurrent { epoch: 1 }));
    lead.introduce(2, 3, 0, false);
    lead.promise(2, 0, Zxid::ZERO);
    assert!(lead.took().contains(&LeaderOutput::SaveCurrent { epoch: 1 }));
}

#[test]
fn sync_ackepoch_check_a_leader_that_knows_less_gives_up() {
    let mine = own(3, 2, Zxid::new(2, 5));
    for (current_epoch, last_zxid, ahead) in [
        (2, Zxid::new(2, 6), true),
        (3, Zxid::new(2, 5), true),
        (3, Zxid::new(1, 1), true),
        (2, Zxid::new(2, 5), false),
        (1, Zxid::new(2, 9), false),
    ] {
        let mut lead = Lead::new(3, 0, mine);
        lead.introduce(1, 2, 3, false);
        lead.promise(1, current_epoch, last_zxid);
        let expected = ahead.then_some(StepDownReason::FollowerAhead);
        assert_eq!(lead.stepped_down(), expected, "{current_epoch} {last_zxid}");
    }
}

/// What others have, or say that they have, is no voter's business: an observer that was brought up to date by a leader
/// without a quorum may have more, and so may somebody who is no member.
#[test]
fn sync_ackepoch_check_is_of_voters_alone() {
    for (server, observer) in [(4, true), (99, true), (99, false)] {
        let mut lead = Lead::new(3, 1, own(3, 2, Zxid::new(2, 5)));
        lead.introduce(1, 2, 3, false);
        lead.introduce(2, server, 3, observer);
        lead.promise(2, 9, Zxid::new(9, 1));
        assert_eq!(lead.stepped_down(), None, "{server}");
        lead.promise(1, 2, Zxid::new(2, 5));
        assert!(lead.took().contains(&LeaderOutput::SaveCurrent { epoch: 4 }), "{server}");
    }
}

#[test]
fn a_voter_that_promised_more_than_the_epoch_ends_it() {
    let mut lead = fresh(3, 0);
    lead.follow(1, 2, false);
    assert!(lead.leader.is_serving());
    lead.introduce(2, 3, 7, false);
    assert_eq!(lead.stepped_down(), Some(StepDownReason::EpochOvertaken { promised: 7 }));
    // Whoever comes first then, the next one is later.
    let mut lead = fresh(3, 0);
    lead.leader.begin_above(7);
    lead.introduce(1, 2, 0, false);
    assert!(lead.took().contains(&LeaderOutput::SaveAccepted { epoch: 8 }));
    lead.leader.begin_above(20);
    assert_eq!(lead.leader.epoch(), 8, "it is decided");
}

/// More than half, for even and odd numbers of voters.
#[test]
fn quorum_commit_takes_more_than_half() {
    for (voters, needed) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3), (7, 3)] {
        let mut lead = fresh(voters, 0);
        let links = || (2..=voters).map(|server| (u64::try_from(server).expect("positive"), server));
        links().for_each(|(link, server)| lead.introduce(link, server, 0, false));
        links().for_each(|(link, _)| lead.promise(link, 0, Zxid::ZERO));
        links().for_each(|(link, _)| lead.say(link, Message::Ack { zxid: beginning(1) }));
        assert!(lead.leader.is_serving(), "{voters} voters");
        lead.took();
        let zxid = lead.propose();
        lead.leader.on_durable(zxid);
        lead.run();
        for acks in 0..=needed {
            let committed = lead.committed();
            assert_eq!(committed.is_empty(), acks < needed, "{acks} of {voters}");
            lead.say(acks + 2, Message::Ack { zxid });
        }
    }
}

/// The leader's own log is one of those that count, and no more than that.
#[test]
fn the_leader_counts_itself_only_once_it_has_it_durable() {
    let mut lead = fresh(3, 0);
    lead.follow(2, 2, false);
    lead.follow(3, 3, false);
    lead.took();
    let zxid = lead.propose();
    lead.say(2, Message::Ack { zxid });
    assert_eq!(lead.committed(), []);
    lead.say(3, Message::Ack { zxid });
    assert_eq!(lead.committed(), [zxid], "two of three others are a quorum, too");
    let zxid = lead.propose();
    lead.leader.on_durable(zxid);
    lead.run();
    assert_eq!(lead.committed(), []);
}

/// However many acknowledgements come in a turn; and a link that is hung up in it takes its own along.
#[test]
fn quorum_commit_counts_once_for_all_of_a_turn() {
    let mut lead = fresh(3, 0);
    lead.follow(2, 2, false);
    lead.took();
    let proposed = [lead.propose(), lead.propose(), lead.propose(), lead.propose()];
    lead.leader.on_durable(proposed[3]);
    let mut ack = |zxid| lead.leader.on_message(LinkId(2), Message::Ack { zxid }, lead.now);
    proposed[..3].iter().for_each(|&zxid| ack(zxid));
    lead.run();
    assert_eq!(lead.committed(), [proposed[2]]);
    let mut ack = |zxid| lead.leader.on_message(LinkId(2), Message::Ack { zxid }, lead.now);
    [proposed[3], proposed[3].next()].into_iter().for_each(&mut ack);
    lead.run();
    assert_eq!(lead.committed(), [], "it spoke of what was not proposed");
}

/// What a link acknowledged before it broke counts no more.
#[test]
fn an_acknowledgement_belongs_to_its_link() {
    let mut lead = fresh(3, 0);
    lead.follow(2, 2, false);
    lead.took();
    let zxid = lead.propose();
    lead.say(2, Message::Ack { zxid });
    lead.leader.on_link_down(LinkId(2));
    lead.follow(3, 2, false);
    lead.leader.on_durable(zxid);
    lead.run();
    assert_eq!(lead.committed(), []);
    for zxid in [Zxid::new(2, 0), Zxid::new(2, 1), zxid.next()] {
        lead.follow(9, 3, false);
        lead.took();
        lead.say(9, Message::Ack { zxid });
        let why = HangupReason::BadMessage;
        assert_eq!(
            lead.took(),
            [LeaderOutput::Learners(LearnersOutput::Hangup { link: LinkId(9), why })],
            "{zxid} was not proposed here"
        );
    }
}

/// ZOOKEEPER-1277: behind the last zxid of an epoch comes the next epoch.
#[test]
fn zab_rollover_ends_the_epoch() {
    let mut lead = fresh(1, 0);
    // As ZooKeeper's, none proposes the last number of all.
    lead.leader.last_proposed = Zxid::new(1, u32::MAX - 2);
    assert_eq!(lead.propose(), Zxid::new(1, u32::MAX - 1));
    // Two writes of one packet may ask for it.
    assert_eq!([lead.leader.next_zxid(), lead.leader.next_zxid()], [None; 2]);
    lead.run();
    assert_eq!(lead.stepped_down(), Some(StepDownReason::EpochUsedUp));
}

/// PARITY `zab.zxid`: every epoch counts from 1, wherever the one before it ended.
#[test]
fn zab_zxid_counts_from_one_in_every_epoch() {
    let mut lead = Lead::new(3, 0, own(4, 4, Zxid::new(4, 9)));
    lead.follow(2, 2, false);
    assert_eq!([lead.propose(), lead.propose()], [Zxid::new(5, 1), Zxid::new(5, 2)]);
}

/// A promise beyond what a zxid has room for is nobody's, and must not become this leader's epoch; nor one that is further
/// ahead than anybody can be who is honest.
#[test]
fn sync_newepoch_has_an_end() {
    let last = i64::from(i32::MAX) - 1;
    let ahead = 1 << 24;
    let table = [
        (0, -1, true),
        (0, ahead - 1, true),
        (0, ahead, false),
        (0, last, false),
        (0, -2, false),
        (ahead, 2 * ahead - 1, true),
        (last - 2, last - 1, true),
        (last - 2, last, false),
        (last - 2, last + 1, false),
        (last - 1, 0, true),
    ];
    for (promised, accepted, taken) in table {
        let mut lead = Lead::new(3, 0, own(promised, 0, Zxid::ZERO));
        lead.introduce(2, 2, accepted, false);
        let saved = lead.took().iter().any(|output| matches!(output, LeaderOutput::SaveAccepted { .. }));
        assert_eq!(saved, taken, "{promised} {accepted}");
        let epoch = lead.leader.epoch();
        assert!(epoch <= last && (!taken || epoch == promised.max(accepted) + 1), "{epoch}");
    }
    let mut lead = Lead::new(3, 0, own(last, 0, Zxid::ZERO));
    lead.introduce(2, 2, 0, false);
    assert_eq!(lead.stepped_down(), Some(StepDownReason::EpochUsedUp));
}

/// A leader in its epoch is overtaken by nobody who is not to be believed.
#[test]
fn sync_newepoch_a_promise_from_nowhere_ends_no_epoch() {
    let (some, many) = (1 + (1 << 10), 1 << 24);
    for (accepted, overtaken, unserving) in [
        (2, true, true),
        (some, true, true),
        (some + 1, false, true),
        (many - 1, false, true),
        (many, false, false),
        (i64::MAX, false, false),
    ] {
        let why = StepDownReason::EpochOvertaken { promised: accepted };
        for (serves, expected) in [(true, overtaken), (false, unserving)] {
            let mut lead = fresh(3, 0);
            if serves {
                lead.follow(2, 2, false);
            } else {
                lead.introduce(2, 2, 0, false);
            }
            assert_eq!(lead.leader.is_serving(), serves);
            lead.took();
            lead.introduce(3, 3, accepted, false);
            let took = lead.took();
            let down = took.iter().any(|output| *output == LeaderOutput::StepDown { why });
            assert_eq!(down, expected, "{accepted}, {serves}");
            let hangup = LearnersOutput::Hangup { link: LinkId(3), why: HangupReason::Unwanted };
            let other = LearnersOutput::Hangup { link: LinkId(3), why: HangupReason::BadMessage };
            let hung_up = [hangup, other].map(LeaderOutput::Learners).iter().any(|it| took.contains(it));
            assert_eq!(hung_up, !expected, "{accepted}, {serves}");
        }
    }
}

/// A member that cannot tell what it had logged may have had more than this leader.
#[test]
fn sync_ackepoch_check_counts_nobody_without_a_history() {
    let mut lead = fresh(3, 0);
    lead.introduce(2, 2, 0, false);
    lead.promise(2, 0, Zxid::UNKNOWN);
    assert!(!lead.took().iter().any(|output| matches!(output, LeaderOutput::SaveCurrent { .. })));
    lead.introduce(3, 3, 0, false);
    lead.promise(3, 0, Zxid::ZERO);
    assert!(lead.took().iter().any(|output| matches!(output, LeaderOutput::SaveCurrent { .. })));
}

/// What a learner owes is bounded, whatever else it says meanwhile, and it counts again once it has answered.
#[test]
fn a_learner_that_owes_many_answers_is_not_asked_on() {
    let mut lead = fresh(3, 0);
    lead.follow(2, 2, false);
    let asked = |lead: &mut Lead| {
        lead.leader.confirm();
        lead.leader.flush();
        lead.run();
        let ping = |output: &LeaderOutput| {
            matches!(
                output,
                LeaderOutput::Learners(LearnersOutput::Send { message: Message::Ping { .. }, .. })
            )
        };
        lead.took().iter().any(ping)
    };
    lead.took();
    let rounds = (0..).take_while(|_| asked(&mut lead)).count();
    assert!((100..10_000).contains(&rounds), "{rounds}");
    lead.say(2, Message::Ping { zxid: Zxid::ZERO, touched: Some(vec![]) });
    assert!(asked(&mut lead));
}

/// A ping that was on its way before somebody asked says nothing about who follows now.
#[test]
fn op_sync_is_confirmed_by_pings_sent_after_it() {
    let mut lead = fresh(3, 0);
    lead.follow(2, 2, false);
    lead.pass(TICK / 2);
    lead.took();
    let round = lead.leader.confirm();
    assert_eq!(lead.leader.confirm(), round, "one ping serves everybody who asked before it");
    lead.leader.flush();
    lead.run();
    assert_ne!(lead.leader.confirm(), round);
    let pong = || Message::Ping { zxid: Zxid::ZERO, touched: Some(vec![]) };
    lead.took();
    lead.say(2, pong());
    assert!(!lead.took().iter().any(|output| matches!(output, LeaderOutput::Confirmed { .. })));
    lead.say(2, pong());
    assert!(lead.took().contains(&LeaderOutput::Confirmed { round }));
    lead.say(2, pong());
    let why = HangupReason::BadMessage;
    assert!(
        lead.took().contains(&LeaderOutput::Learners(LearnersOutput::Hangup { link: LinkId(2), why })),
        "one pong a ping"
    );
}

#[test]
fn zab_synclimit_a_leader_that_nobody_follows_steps_down() {
    let mut lead = fresh(3, 0);
    lead.follow(2, 2, false);
    for _ in 0..4 {
        lead.pass(TICK);
        lead.say(2, Message::Ping { zxid: Zxid::ZERO, touched: Some(vec![]) });
    }
    assert_eq!(lead.stepped_down(), None);
    for _ in 0..6 {
        lead.pass(TICK);
    }
    assert_eq!(lead.stepped_down(), Some(StepDownReason::QuorumLost));
}

/// A learner that answers pings and acknowledges nothing is of no use.
#[test]
fn zab_synclimit_acknowledgements_have_a_limit_of_their_own() {
    let mut lead = fresh(3, 0);
    lead.follow(2, 2, false);
    lead.follow(3, 3, false);
    let zxid = lead.propose();
    for _ in 0..7 {
        lead.pass(TICK);
        lead.say(3, Message::Ack { zxid });
        for link in [2, 3] {
            lead.say(link, Message::Ping { zxid: Zxid::ZERO, touched: Some(vec![]) });
        }
    }
    let why = HangupReason::Timeout;
    let outputs = lead.took();
    assert!(outputs.contains(&LeaderOutput::Learners(LearnersOutput::Hangup { link: LinkId(2), why })));
    assert!(!outputs.contains(&LeaderOutput::Learners(LearnersOutput::Hangup { link: LinkId(3), why })));
}

/// `initLimit` is for each step of a learner: for which it waited while the leader's disk was slow does not count.
#[test]
fn zab_initlimit_of_a_synchronisation_begins_with_it() {
    let mut lead = fresh(3, 0);
    lead.durable_at_once = false;
    lead.introduce(2, 2, 0, false);
    lead.leader.on_accepted_saved();
    lead.run();
    lead.promise(2, 0, Zxid::ZERO);
    lead.pass(9 * TICK);
    lead.leader.on_current_saved(lead.now);
    lead.run();
    lead.took();
    lead.pass(9 * TICK);
    let hangup =
        |output: &LeaderOutput| matches!(output, LeaderOutput::Learners(LearnersOutput::Hangup { .. }));
    assert!(!lead.took().iter().any(hangup));
}

/// One that comes when all is committed, and nothing is proposed for long, owes no acknowledgement.
#[test]
fn zab_synclimit_what_came_before_newleader_is_acknowledged_with_it() {
    let mut lead = fresh(3, 0);
    lead.follow(2, 2, false);
    let zxid = lead.propose();
    lead.say(2, Message::Ack { zxid });
    lead.leader.announce_commit(zxid, None);
    lead.introduce(3, 3, 0, false);
    lead.promise(3, 0, Zxid::ZERO);
    lead.say(3, Message::Ack { zxid: beginning(lead.leader.epoch()) });
    lead.took();
    for _ in 0..20 {
        lead.pass(TICK);
        for link in [2, 3] {
            lead.say(link, Message::Ping { zxid: Zxid::ZERO, touched: Some(vec![]) });
        }
    }
    let hangup =
        |output: &LeaderOutput| matches!(output, LeaderOutput::Learners(LearnersOutput::Hangup { .. }));
    assert!(!lead.took().iter().any(hangup));
}

#[test]
fn zab_initlimit_a_leader_without_a_quorum_steps_down() {
    let mut lead = fresh(3, 0);
    lead.pass(TICK * 9);
    assert_eq!(lead.stepped_down(), None);
    lead.pass(TICK);
    assert_eq!(lead.stepped_down(), Some(StepDownReason::NoQuorumInTime));
}

/// Its own pings, which a learner that waits for the others takes from it all the time, bring nobody closer.
#[test]
fn zab_initlimit_is_not_put_off_by_pings() {
    let mut lead = fresh(5, 0);
    for server in [2, 3] {
        lead.introduce(server, server as i64, 0, false);
    }
    for link in [2, 3] {
        lead.promise(link, 0, Zxid::ZERO);
    }
    lead.say(2, Message::Ack { zxid: beginning(lead.leader.epoch()) });
    lead.took();
    for _ in 0..12 {
        lead.pass(TICK);
        let pinged = |output: &LeaderOutput| match output {
            LeaderOutput::Learners(LearnersOutput::Send { link, message: Message::Ping { .. } }) => {
                Some(*link)
            }
            _ => None,
        };
        for link in lead.outputs.iter().filter_map(pinged).collect::<BTreeSet<_>>() {
            assert_eq!(link, LinkId(2), "who is still being brought up has no use for a ping");
            lead.leader.on_drained(link, lead.now);
        }
    }
    assert_eq!(lead.stepped_down(), Some(StepDownReason::NoQuorumInTime));
}

/// What is in memory goes out with its commits; behind NEWLEADER comes what is not committed.
#[test]
fn sync_proposal_commit_pairs_come_before_newleader() {
    let mut lead = fresh(3, 1);
    lead.follow(2, 2, false);
    let first = lead.propose();
    lead.leader.on_durable(first);
    lead.say(2, Message::Ack { zxid: first });
    lead.leader.announce_commit(first, None);
    let second = lead.propose();
    lead.took();
    let sent = |lead: &mut Lead, link| -> Vec<Message> {
        let to = |output| match output {
            LeaderOutput::Learners(LearnersOutput::Send { link: to, message }) if to == LinkId(link) => {
                Some(message)
            }
            _ => None,
        };
        lead.took().into_iter().filter_map(to).collect()
    };
    let txn = Bytes::new();
    let new_leader = Message::NewLeader { zxid: beginning(1), config: Some(Bytes::new()) };
    lead.introduce(3, 3, 1, false);
    lead.took();
    lead.promise(3, -1, Zxid::ZERO);
    assert_eq!(
        sent(&mut lead, 3),
        [
            Message::Proposal { zxid: first, txn: txn.clone() },
            Message::Commit { zxid: first },
            new_leader.clone(),
            Message::Proposal { zxid: second, txn: txn.clone() },
        ]
    );
    lead.introduce(4, 4, 0, true);
    lead.took();
    lead.promise(4, 0, Zxid::ZERO);
    assert_eq!(sent(&mut lead, 4), [Message::Inform { zxid: first, txn }, new_leader]);
}

/// ZooKeeper 3.8 acknowledges what it was brought up to date with, before or behind its answer to NEWLEADER.
#[test]
fn quorum_ack_of_earlier_epochs_counts_for_nothing_and_harms_nobody() {
    let history: Vec<Zxid> = (1..=5).map(|counter| Zxid::new(1, counter)).collect();
    for before in 0..=history.len() {
        let mut lead = Lead::new(3, 0, own(1, 1, Zxid::new(1, 5)));
        lead.introduce(2, 2, 1, false);
        lead.promise(2, 1, Zxid::new(1, 5));
        lead.took();
        let (early, late) = history.split_at(before);
        for &zxid in early {
            lead.say(2, Message::Ack { zxid });
        }
        assert_eq!(lead.took(), [], "{before} acknowledgements serve nobody");
        lead.say(2, Message::Ack { zxid: beginning(2) });
        let welcome =
            LeaderOutput::Learners(LearnersOutput::Send { link: LinkId(2), message: Message::UpToDate });
        assert_eq!(lead.took(), [LeaderOutput::Serve, welcome]);
        for &zxid in late {
            lead.say(2, Message::Ack { zxid });
        }
        assert_eq!(lead.took(), []);
    }
}

#[test]
fn quorum_ack_before_the_one_of_newleader_counts_once_that_came() {
    let mut lead = fresh(3, 0);
    lead.follow(2, 2, false);
    let zxid = lead.propose();
    lead.leader.on_durable(zxid);
    lead.leader.on_link_down(LinkId(2));
    lead.introduce(3, 3, 0, false);
    lead.promise(3, 0, Zxid::ZERO);
    lead.took();
    lead.say(3, Message::Ack { zxid });
    assert_eq!(lead.took(), [], "who does not follow does not count");
    lead.say(3, Message::Ack { zxid: beginning(1) });
    assert_eq!(lead.committed(), [zxid], "nobody will acknowledge it again");
}

/// ZOOKEEPER-4394: a COMMIT between NEWLEADER and UPTODATE is the end of a follower of version 3.8.0.
#[test]
fn quorum_commit_waits_for_uptodate_and_comes_once() {
    let mut lead = fresh(3, 0);
    lead.follow(2, 2, false);
    let commit = |lead: &mut Lead, zxid| {
        lead.leader.on_durable(zxid);
        lead.say(2, Message::Ack { zxid });
        lead.leader.announce_commit(zxid, None);
        lead.run();
    };
    let zxids: Vec<Zxid> = (0..4).map(|_| lead.propose()).collect();
    commit(&mut lead, zxids[0]);
    lead.introduce(3, 3, 0, false);
    lead.promise(3, 0, Zxid::ZERO);
    let to_three = |lead: &mut Lead| -> Vec<Message> {
        let message = |output| match output {
            LeaderOutput::Learners(LearnersOutput::Send { link: LinkId(3), message }) => Some(message),
            _ => None,
        };
        lead.took()
            .into_iter()
            .filter_map(message)
            .filter(|it| !matches!(it, Message::Proposal { .. }))
            .collect()
    };
    let new_leader = Message::NewLeader { zxid: beginning(1), config: Some(Bytes::new()) };
    let commits =
        |zxids: &[Zxid]| -> Vec<Message> { zxids.iter().map(|&zxid| Message::Commit { zxid }).collect() };
    let told = to_three(&mut lead);
    assert_eq!(told[told.len() - 2..], [Message::Commit { zxid: zxids[0] }, new_leader]);
    commit(&mut lead, zxids[1]);
    commit(&mut lead, zxids[2]);
    assert_eq!(to_three(&mut lead), []);
    lead.say(3, Message::Ack { zxid: beginning(1) });
    assert_eq!(to_three(&mut lead), [vec![Message::UpToDate], commits(&zxids[1..3])].concat());
    commit(&mut lead, zxids[3]);
    assert_eq!(to_three(&mut lead), commits(&zxids[3..]));
}

/// The change and what is proposed behind it reach a learner behind NEWLEADER, their commits behind UPTODATE, however
/// many changes there were in between.
#[test]
fn reconf_activate_waits_for_uptodate_like_any_commit() {
    for before in [true, false] {
        let mut lead = fresh(3, 1);
        lead.follow(2, 2, false);
        lead.follow(9, 4, true);
        let change = |lead: &mut Lead| {
            let version = lead.leader.last_proposed().next().0;
            lead.leader.propose_members(members(3, 1).with_version(version));
            lead.propose()
        };
        let commit = |lead: &mut Lead, zxid| {
            lead.leader.on_durable(zxid);
            lead.say(2, Message::Ack { zxid });
            lead.leader.announce_commit(zxid, Some(&Bytes::new()));
            lead.run();
        };
        let join = |lead: &mut Lead| {
            lead.introduce(3, 3, 0, false);
            lead.promise(3, 0, Zxid::ZERO);
        };
        let to = |outputs: &[LeaderOutput], to: u64| -> Vec<Message> {
            let sent = outputs.iter().filter_map(|output| match output {
                LeaderOutput::Learners(LearnersOutput::Send { link, message }) if *link == LinkId(to) => {
                    Some(message.clone())
                }
                _ => None,
            });
            sent.filter(|message| !matches!(message, Message::LeaderInfo { .. })).collect()
        };
        lead.took();
        if !before {
            join(&mut lead);
        }
        let first = change(&mut lead);
        if before {
            join(&mut lead);
        }
        let outputs = lead.took();
        let new_leader = Message::NewLeader { zxid: beginning(1), config: Some(Bytes::new()) };
        assert_eq!(to(&outputs, 3), [new_leader, Message::Proposal { zxid: first, txn: Bytes::new() }]);
        commit(&mut lead, first);
        let second = change(&mut lead);
        commit(&mut lead, second);
        let third = lead.propose();
        commit(&mut lead, third);
        let outputs = lead.took();
        assert!(!to(&outputs, 3).iter().any(|message| !matches!(message, Message::Proposal { .. })));
        let designated = ServerId(1);
        let activate = |zxid| Message::CommitAndActivate { zxid, designated };
        let expected = [activate(first), activate(second), Message::Commit { zxid: third }];
        let commits = to(&outputs, 2).into_iter().filter(|it| !matches!(it, Message::Proposal { .. }));
        assert_eq!(commits.collect::<Vec<_>>(), expected);
        let inform = |zxid| Message::InformAndActivate { zxid, designated, txn: Bytes::new() };
        let last = Message::Inform { zxid: third, txn: Bytes::new() };
        assert_eq!(to(&outputs, 9), [inform(first), inform(second), last]);
        lead.say(3, Message::Ack { zxid: beginning(1) });
        assert_eq!(to(&lead.took(), 3), [&[Message::UpToDate], &expected[..]].concat());
        assert!(lead.leader.activated.len() <= 2);
        let fourth = change(&mut lead);
        commit(&mut lead, fourth);
        assert_eq!(lead.leader.activated.len(), 1, "everybody was told of those before");
        assert!(to(&lead.took(), 3).contains(&activate(fourth)));
    }
}

/// What a quorum has and nobody was told of yet is told by the announcement, once.
#[test]
fn sync_what_is_not_announced_comes_behind_newleader() {
    let mut lead = fresh(3, 1);
    lead.follow(2, 2, false);
    let zxid = lead.propose();
    lead.leader.on_durable(zxid);
    lead.say(2, Message::Ack { zxid });
    lead.introduce(4, 4, 0, true);
    lead.promise(4, 0, Zxid::ZERO);
    lead.introduce(3, 3, 0, false);
    lead.promise(3, 0, Zxid::ZERO);
    lead.leader.announce_commit(zxid, Some(&Bytes::new()));
    lead.say(3, Message::Ack { zxid: beginning(1) });
    let outputs = lead.took();
    let count = |wanted: &Message, to| {
        let wanted =
            LeaderOutput::Learners(LearnersOutput::Send { link: LinkId(to), message: wanted.clone() });
        outputs.iter().filter(|output| **output == wanted).count()
    };
    assert_eq!(count(&Message::Inform { zxid, txn: Bytes::new() }, 4), 1);
    assert_eq!(count(&Message::Commit { zxid }, 3), 1);
}
