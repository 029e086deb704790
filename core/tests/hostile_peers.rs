//! Whoever reaches the ports of other servers may say anything: it ends their link, and nothing else.

use core::time::Duration;

use bytes::Bytes;
use zabra_core::server::{Event, Role};
use zabra_core::testing::cluster::{Cluster, members};
use zabra_core::time::WallTime;
use zabra_core::types::{Message, OpCode, SessionId, Txn, TxnHeader, Zxid};
use zabra_core::wire::txn;
use zabra_core::zab::learner::LostReason;

fn ensemble(voters: i64, observers: i64) -> Cluster {
    let mut cluster = Cluster::new(&members(voters, observers), |_| {});
    cluster.start_all();
    assert_eq!(cluster.leader(), Some(voters), "{}", cluster.roles());
    let (conn, _) = cluster.client(1).expect("a session");
    assert!(cluster.write(1, conn, "/before"));
    cluster
}

/// The bytes of a transaction that is as good as any.
fn transaction(zxid: Zxid) -> Bytes {
    let header = TxnHeader {
        session: SessionId(0x77),
        cxid: 0,
        zxid,
        time: WallTime(1_700_000_000_000),
        op: OpCode::CREATE_SESSION,
    };
    let mut bytes = Vec::new();
    txn::encode(&header, &Txn::CreateSession { timeout_ms: 10_000 }, None, &mut bytes);
    Bytes::from(bytes)
}

/// A member left its leader because of what that said, and comes back to it.
fn comes_back(cluster: &mut Cluster, id: i64, role: Role, what: &str) {
    let lost = |event: &&Event| matches!(event, Event::LeaderLost { .. });
    let last = cluster.events(id).iter().rev().find(lost);
    assert_eq!(last, Some(&Event::LeaderLost { why: LostReason::BadMessage }), "{what}");
    for _ in 0..3 {
        cluster.pass(Duration::from_secs(1));
        cluster.settle();
    }
    assert_eq!(cluster.role(id), Some(role), "{what}: {}", cluster.roles());
    let (conn, _) = cluster.client(id).expect("a session");
    assert!(cluster.write(id, conn, "/after"), "{what}");
}

/// An observer is informed of what is no transaction, or is another one than it is said to be.
#[test]
fn an_observer_refuses_what_it_is_informed_of() {
    for (what, is_encoded) in [("no transaction", false), ("another transaction", true)] {
        let mut cluster = ensemble(3, 1);
        let (last, _) = cluster.applied(4).expect("it observes");
        let zxid = last.next();
        let txn = if is_encoded { transaction(zxid.next()) } else { Bytes::from_static(b"no transaction") };
        cluster.forge(3, 4, &Message::Inform { zxid, txn });
        comes_back(&mut cluster, 4, Role::Observing, what);
    }
}

/// A follower is to log a transaction of an epoch that its leader has not begun: it would refuse its own log at the next
/// start, if that log took it at all.
#[test]
fn sync_contiguous_a_follower_refuses_what_is_of_a_later_epoch() {
    for zxid in [Zxid::new(1 << 31, 1), Zxid::new(9, 1)] {
        let mut cluster = ensemble(3, 0);
        cluster.forge(3, 1, &Message::Proposal { zxid, txn: transaction(zxid) });
        comes_back(&mut cluster, 1, Role::Following, &zxid.to_string());
        cluster.kill(1, 1);
        cluster.start(1);
        cluster.settle();
        assert_eq!(cluster.role(1), Some(Role::Following), "{zxid}: {}", cluster.roles());
    }
}
