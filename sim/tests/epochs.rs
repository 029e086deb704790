//! Named situations between a promise and the epoch that it is for, each in a world where nothing else goes wrong: what
//! random worlds come to only once in many. That nobody promises twice is checked all along.

use sim::cluster::{Cluster, id_of};
use sim::world::World;
use zabra_core::server::Role;
use zabra_core::types::Message;

/// What a server has promised, as its disk has it.
fn accepted(world: &World, server: usize) -> i64 {
    world.node(id_of(server)).kept().accepted
}

/// The epoch that a server leads, if it does.
fn leads(world: &World, server: usize) -> Option<i64> {
    let standing = world.node(id_of(server)).standing?;
    (standing.role == Role::Leading).then_some(standing.epoch)
}

/// A server promises an epoch to one that dies. Others begin the same epoch without having heard of either: what the
/// server says to their leader must not count as a promise, and it follows all the same.
#[test]
fn an_epoch_is_promised_to_two_leaders_and_counts_for_one() {
    Cluster::run(5, |it| {
        it.write("/a");
        let old = it.leader();
        let epoch = leads(it.world(), old).expect("it leads") + 1;
        it.kill(old);
        // Whoever is elected proposes the epoch; only one other server hears of it.
        let up: Vec<usize> = (1..=5).filter(|&server| server != old).collect();
        let all = up.clone();
        it.wait("somebody to propose the next epoch", move |world| {
            all.iter().any(|&server| accepted(world, server) == epoch)
        });
        let first = *up.iter().find(|&&server| accepted(it.world(), server) == epoch).expect("just seen");
        let others: Vec<usize> = up.into_iter().filter(|&server| server != first).collect();
        let (deceived, rest) = (others[0], &others[1..]);
        rest.iter().for_each(|&server| it.cut(first, server));
        it.wait("the promise", move |world| accepted(world, deceived) == epoch);
        rest.iter().for_each(|&server| assert!(accepted(it.world(), server) < epoch, "it was told"));
        // The others, with the one that was killed first, are a quorum that knows of none of this.
        it.power_failure(first);
        let quorum = [rest[0], rest[1], old];
        quorum.iter().for_each(|&server| it.cut(deceived, server));
        it.start(old);
        it.wait("another leader", move |world| quorum.iter().any(|&server| leads(world, server).is_some()));
        let second = *quorum.iter().find(|&&server| leads(it.world(), server).is_some()).expect("just seen");
        assert_eq!(leads(it.world(), second), Some(epoch), "the same epoch");
        it.mend();
        it.expect_learner(deceived);
        assert_eq!(leads(it.world(), second), Some(epoch), "nothing made it step down");
        it.start(first);
        it.expect_learner(first);
        it.write("/b");
        it.caught_up();
    });
}

/// A server is elected twice and dies each time when it alone has the epoch that it is about to propose. The others, who
/// heard of neither, begin the first of the two with another leader. What the one has promised is later than that: it
/// does not follow there, and another epoch begins with all of them.
#[test]
fn nobody_follows_in_an_earlier_epoch_than_it_has_promised() {
    Cluster::run(3, |it| {
        let is_proposed = |message: &Message| matches!(message, Message::LeaderInfo { .. });
        let (lonely, other, late) = (3, 1, 2);
        it.write("/a");
        it.lead(lonely);
        let epoch = it.epoch();
        it.hold(lonely, other, is_proposed);
        it.kill(late);
        for promised in [epoch + 1, epoch + 2] {
            it.kill(lonely);
            it.start(lonely);
            it.wait("the promise", move |world| accepted(world, lonely) == promised);
        }
        assert_eq!(accepted(it.world(), other), epoch, "it was not told");
        it.kill(lonely);
        it.let_go();
        it.start(late);
        it.wait("another leader", move |world| [other, late].iter().any(|&it| leads(world, it).is_some()));
        assert_eq!(it.epoch(), epoch + 1);
        it.start(lonely);
        it.wait("an epoch no earlier than anybody has promised", move |world| {
            [other, late, lonely].iter().any(|&it| leads(world, it) >= Some(epoch + 2))
        });
        it.wait("all to serve", |world| (1..=3).all(|it| world.node(id_of(it)).standing.is_some()));
        it.caught_up();
        it.write("/b");
        it.caught_up();
    });
}
