//! What is kept of configurations beside the log, and what it means when it cannot be (PARITY `reconf.dynfile`).

use core::time::Duration;

use zabra_core::server::{Event, Role};
use zabra_core::testing::cluster::{Cluster, members};
use zabra_core::types::OpCode;
use zabra_core::zab::learner::LostReason;

use super::{agree, change, config, dynamic, ensemble, join, of, reconfig, voters, write};

/// PARITY `reconf.dynfile`: a leader of ZooKeeper begins its epoch with what it saw last, and that need not be in any
/// log. Who acknowledged it, and forgot it in a crash, would help those who never heard of it to a quorum. Here nobody has
/// acknowledged anything: who knows may follow who does not, but leads only with a quorum of both.
#[test]
fn reconf_dynfile_what_was_seen_counts_in_elections_without_a_transaction() {
    let seen = members(5, 0).with_version(0x1_0000_0007);
    for knows in [0, 1, 2, 3] {
        let mut cluster = Cluster::new(&members(3, 0), |config| {
            dynamic(config);
            if config.server_id <= knows {
                config.ensemble.as_mut().expect("a member").seen = Some(seen.clone());
            }
        });
        cluster.start(1);
        cluster.start(2);
        cluster.pass(Duration::from_secs(5));
        assert_eq!(cluster.leader().is_some(), knows < 2, "{knows} know: {}", cluster.roles());
        // Of the five that those who know go by, three have to agree.
        cluster.start(3);
        cluster.settle();
        assert!(cluster.leader().is_some(), "{knows} know: {}", cluster.roles());
        let comes_into_force = cluster.leader().is_some_and(|leader| leader <= knows);
        let expected: &[i64] = if comes_into_force { &[1, 2, 3, 4, 5] } else { &[1, 2, 3] };
        agree(&mut cluster, &[1, 2, 3], expected);
    }
}

/// PARITY `reconf.dynfile`: and who cannot keep it does not acknowledge the epoch that begins with it, until it can.
#[test]
fn reconf_dynfile_what_cannot_be_kept_is_not_acknowledged() {
    let seen = members(5, 0).with_version(0x1_0000_0007);
    let mut cluster = Cluster::new(&members(3, 0), |config| {
        dynamic(config);
        if config.server_id == 3 {
            config.ensemble.as_mut().expect("a member").seen = Some(seen.clone());
        }
    });
    cluster.keep_configs(1, false);
    for id in [1, 2, 3] {
        cluster.start(id);
    }
    cluster.pass(Duration::from_secs(30));
    assert_eq!(cluster.leader(), None, "of five, three have to agree: {}", cluster.roles());
    assert_eq!(cluster.kept_seen_config(1), None);
    cluster.keep_configs(1, true);
    cluster.settle();
    agree(&mut cluster, &[1, 2, 3], &[1, 2, 3, 4, 5]);
}

/// Nor does a leader count itself that would not know after a crash whom it leads: three servers are in force, of which
/// it and another one are a quorum; but its file has five others, of which it could be in a quorum without that one.
#[test]
fn reconf_dynfile_a_leader_that_cannot_keep_the_members_does_not_count_itself() {
    let in_force = of(&[1, 2, 3]).with_version(0x1_0000_0007);
    for keeps in [false, true] {
        let mut cluster = Cluster::new(&in_force, |config| {
            dynamic(config);
            if config.server_id == 3 {
                config.ensemble.as_mut().expect("a member").membership = of(&[1, 3, 4, 5, 6]);
            }
        });
        cluster.keep_configs(3, keeps);
        cluster.start(1);
        cluster.start(3);
        cluster.pass(Duration::from_secs(60));
        assert_eq!(cluster.leader(), keeps.then_some(3), "1 is no quorum: {}", cluster.roles());
        if keeps {
            continue;
        }
        cluster.start(2);
        cluster.settle();
        assert_eq!(cluster.leader(), Some(3), "1 and 2 are one: {}", cluster.roles());
        write(&mut cluster, 1, "/by-two");
        cluster.kill(2, 1);
        cluster.pass(Duration::from_secs(60));
        assert_eq!(cluster.leader(), None, "1 is none any more: {}", cluster.roles());
        cluster.keep_configs(3, true);
        cluster.settle();
        assert_eq!(cluster.leader(), Some(3), "{}", cluster.roles());
        assert!(cluster.exists(3, "/by-two"));
        agree(&mut cluster, &[1, 3], &[1, 2, 3]);
    }
}

/// What the log has needs no file: an ensemble whose files nobody can write changes its members like any other.
#[test]
fn reconf_dynfile_files_that_cannot_be_written_stop_nobody() {
    let mut cluster = Cluster::new(&members(4, 0), dynamic);
    for id in 1..=4 {
        cluster.keep_configs(id, false);
    }
    cluster.start_all();
    assert_eq!(reconfig(&mut cluster, 1, &change(None, Some("1"))), 0);
    cluster.kill(4, 1);
    cluster.settle();
    write(&mut cluster, 2, "/by-two-of-three");
    for id in [1, 2, 3] {
        cluster.kill(id, 1);
        cluster.start(id);
    }
    cluster.start(4);
    cluster.settle();
    write(&mut cluster, 2, "/after");
    assert_eq!(voters(&config(&mut cluster, 2)), [2, 3, 4]);
    assert_eq!(cluster.kept_config(2), &members(4, 0));
    for id in 1..=4 {
        let refused = |event: &&Event| matches!(event, Event::LeaderLost { why: LostReason::ConfigNotKept });
        assert_eq!(cluster.events(id).iter().find(refused), None, "server {id}");
    }
}

/// A change that is in force and in no file, and behind it in the log one that came to nothing, to the members that there
/// were at first: who knew of these two alone would be a quorum with one that never heard of any change, beside the leader
/// of the others.
#[test]
fn reconf_dynfile_what_is_in_force_is_found_in_the_log_before_another_change() {
    for keeps in [true, false] {
        let mut cluster = ensemble(3, 0);
        cluster.keep_configs(3, keeps);
        cluster.kill(1, 1);
        cluster.settle();
        assert_eq!(cluster.leader(), Some(3), "{}", cluster.roles());
        for id in [4, 5] {
            cluster.add(id, &members(5, 0), dynamic);
            cluster.start(id);
            cluster.settle();
        }
        let joining = format!("{},{}", join(4), join(5));
        assert_eq!(reconfig(&mut cluster, 3, &change(Some(&joining), Some("1"))), 0);
        assert_eq!(voters(cluster.kept_config(2)), [2, 3, 4, 5]);
        assert_eq!(voters(cluster.kept_config(3)), if keeps { vec![2, 3, 4, 5] } else { vec![1, 2, 3] });
        let (conn, _) = cluster.client(3).expect("it leads");
        for id in [2, 4, 5] {
            cluster.silence(3, id);
        }
        cluster.send(3, conn, 1, OpCode::RECONFIG, &change(Some(&join(1)), Some("4,5")));
        cluster.run();
        cluster.kill(3, 1);
        cluster.heal();
        for id in [1, 3] {
            for other in [2, 4, 5] {
                cluster.cut(id, other);
            }
        }
        cluster.start(1);
        cluster.start(3);
        cluster.pass(Duration::from_secs(10));
        write(&mut cluster, 2, "/by-three-of-four");
        for id in [1, 3] {
            assert_eq!(cluster.role(id), Some(Role::Looking), "{keeps}: {}", cluster.roles());
        }
        cluster.heal();
        cluster.settle();
        assert!(cluster.exists(3, "/by-three-of-four"), "{keeps}");
        assert_eq!(voters(&config(&mut cluster, 3)), [2, 3, 4, 5], "{keeps}");
    }
}
