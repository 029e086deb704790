//! What clients see, and are told of: watches across servers, and reads that must not be stale.

use sim::cluster::Cluster;
use sim::link::ClientId;
use sim::op::Op;
use sim::options::Options;
use sim::scenario::{create, set, watch};

use super::{SECOND, three};

fn two_clients() -> Options {
    let mut options = three();
    options.clients = 2;
    options
}

/// Watches are registered again at another server: each fires if, and only if, something has changed meanwhile.
#[test]
fn zookeeper_1412_watches_that_move_to_another_server() {
    Cluster::often(&two_clients(), |it| {
        for path in ["/same", "/changed", "/gone", "/parent"] {
            it.write(path);
        }
        let (leader, [f, g]) = it.cast();
        it.connect(0, leader);
        it.connect(1, f);
        for path in ["/same", "/changed", "/gone"] {
            it.ask(1, watch(path));
        }
        it.ask(1, Op::Exists { path: "/new".into(), watch: true });
        it.ask(1, Op::GetChildren { path: "/parent".into(), watch: true });
        it.ask(1, Op::GetChildren { path: "/same".into(), watch: true });
        it.answered();
        it.kill(f);
        for op in [
            set("/changed", b"2"),
            Op::Delete { path: "/gone".into(), version: -1 },
            create("/new"),
            create("/parent/child"),
        ] {
            it.ask(0, op);
        }
        it.wait("answers", |world| world.client(ClientId(0)).outstanding() == 0);
        let events = it.world().counts().watch_events;
        it.connect(1, g);
        it.wait("four events", move |world| world.counts().watch_events == events + 4);
        it.pass(SECOND);
        assert_eq!(it.world().counts().watch_events, events + 4, "something fired that did not change");
        it.start(f);
        it.connect(1, f);
        it.pass(SECOND);
        assert_eq!(it.world().counts().watch_events, events + 4, "something fired twice");
    });
}

/// A leader that nobody follows any more, and that does not know it yet, is asked for a sync: no stale answer.
#[test]
fn a_sync_on_a_leader_that_was_left_alone() {
    Cluster::often(&two_clients(), |it| {
        it.write("/a");
        let (old, [f, g]) = it.cast();
        it.connect(0, f);
        it.connect(1, old);
        it.pause(old, 3 * SECOND);
        it.partition(&[&[old], &[f, g]]);
        it.wait("another leader", |world| {
            [f, g].iter().any(|&server| {
                let standing = world.node(sim::link::NodeId(server - 1)).standing;
                standing.is_some_and(|standing| standing.role == zabra_core::server::Role::Leading)
            })
        });
        it.connect(0, f);
        it.ask(0, create("/new"));
        it.wait("the write", |world| world.model().node("/new").is_some());
        it.ask(1, Op::Sync { path: "/".into() });
        it.ask(1, Op::Exists { path: "/new".into(), watch: false });
        it.pass(4 * SECOND);
        it.let_go();
        it.expect_everywhere("/new", true);
    });
}
