//! What clients see, and are told of: watches across servers, and reads that must not be stale.

use sim::clock::Clock;
use sim::cluster::{Cluster, id_of};
use sim::history::Observed;
use sim::op::Op;
use sim::places::ClientId;
use sim::scenario::{create, set, watch};
use sim::world::World;
use zabra_core::server::Role;

use super::{SECOND, two_clients};

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

/// A leader that nobody follows any more, and that does not know it yet, for its clock is slow, is asked for a sync: no
/// stale answer.
#[test]
fn a_sync_on_a_leader_that_was_left_alone() {
    Cluster::often(&two_clients(), |it| {
        let (f, g, old) = (1, 2, 3);
        it.black_out_but(&[]);
        it.node_mut(old).clock = Clock::new(-500_000, 0);
        it.start_all();
        it.lead(old);
        it.write("/kept");
        it.connect(0, f);
        it.connect(1, old);
        it.cut_off_for_a_while(old);
        let leads = |world: &World, server: usize| {
            world.node(id_of(server)).standing.is_some_and(|standing| standing.role == Role::Leading)
        };
        it.wait("another leader", |world| leads(world, f) || leads(world, g));
        it.ask(0, create("/new"));
        it.wait("the write", |world| world.model().node("/new").is_some());
        assert!(leads(it.world(), old), "it knows already");
        it.ask(1, Op::Sync { path: "/".into() });
        it.ask(1, Op::Exists { path: "/new".into(), watch: false });
        it.until("an answer, or the end of the connection", |what| match what {
            Observed::Answered { client: ClientId(1), op, answer, .. }
                if matches!(**op, Op::Exists { .. }) =>
            {
                assert!(answer.is_ok(), "what was read behind a sync is stale");
                true
            }
            Observed::Disconnected { client: ClientId(1) } => true,
            _ => false,
        });
        it.finale(&["/new"], &[]);
    });
}
