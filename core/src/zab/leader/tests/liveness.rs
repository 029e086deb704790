//! Who is heard from, and for how long one that is not is waited for.

use alloc::vec;

use super::*;

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
