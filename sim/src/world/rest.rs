//! The end of a run: faults stop, and the world must come to rest (L1, L2, L3, L4, L5, L7, L8).
//!
//! 1. First only some are mended: just enough voters for a quorum, drawn from the seed, with no way to the others. They
//!    must serve all clients within the bound, whatever state the others are in.
//! 2. Then all are. Every server serves, every client has its last request answered, and a last write is applied by
//!    every server: all have the same history, and (as digests are compared with each transaction) the same tree.
//! 3. Then nothing may happen any more: no server gives its role up while nothing is wrong, and no client loses its
//!    connection. But containers that were empty
//!    before must be gone, and TTL nodes whose time was over (T4), whichever server leads now, and however it came by them.

use std::collections::BTreeSet;

use zabra_core::server::Role;
use zabra_core::time::WallTime;
use zabra_core::types::Zxid;

use super::World;
use crate::check::liveness::{self, Waiting};
use crate::check::{Checker, Violation};
use crate::client::SimClient;
use crate::clock::SimTime;
use crate::history::Observed;
use crate::link::LinkId;
use crate::node::Node;
use crate::op::Op;
use crate::places::{ClientId, NodeId};
use crate::roster::Roster;

/// How often the last write is made, if it does not come through.
const LAST_WRITES: u32 = 6;

impl World {
    /// Mends a quorum of an ensemble, drawn from the seed, and lets nobody else take part. It must serve.
    ///
    /// # Errors
    /// If it does not within the bound, or any other violation.
    pub fn rest_of_core(&mut self) -> Result<(), Violation> {
        let Some(core) = self.draw_core() else { return Ok(()) };
        let others: Vec<NodeId> =
            (0..self.nodes.len()).map(NodeId).filter(|node| !core.contains(node)).collect();
        let words = format!("all faults stop among {core:?}, the others are cut off");
        self.observe(Observed::Fault { fault: None, words })?;
        self.healed = true;
        self.mend_all();
        self.give_up_silent()?;
        self.partition(&[core.clone(), others], SimTime::FOREVER);
        for &node in &core {
            self.heal_node(node);
        }
        for client in 0..self.clients.len() {
            self.set_homes(ClientId(client), core.clone());
            if self.clients[client].link().is_some() {
                self.disconnect(ClientId(client))?;
            }
            self.clients[client].rest();
        }
        self.read_all_again()?;
        let known = self.judge.facts().configs().newest();
        match self.settle(&core) {
            // A change that was on its way, and for which these are no quorum, came to a leader among them.
            Err(found)
                if found.checker == Checker::Liveness && self.judge.facts().configs().newest() > known => {}
            settled => settled?,
        }
        for client in 0..self.clients.len() {
            self.homes.remove(&ClientId(client));
        }
        Ok(())
    }

    /// Just enough voters, and any observers. Who may have lost what it acknowledged has no vote, and nobody can count on a
    /// server that is not on its own list.
    ///
    /// Enough they are if they are a quorum of all that counts among them: of what rules and of what may yet come into
    /// force, and, where none of them knows that what rules is in force, of what they go by instead. Servers tell each
    /// other what they have in force while they look, so the newest that one of them has counts for all.
    fn draw_core(&self) -> Option<Vec<NodeId>> {
        self.options.config.ensemble.as_ref()?;
        let configs = self.judge.facts().configs();
        let mut rng = self.seed.stream("core", 0);
        let all = || (0..self.nodes.len()).map(NodeId);
        let mut core = BTreeSet::new();
        let mut in_force = configs.version();
        let rosters = loop {
            let rosters: Vec<Roster> = configs.counting(in_force).collect();
            let is_enough =
                |core: &BTreeSet<NodeId>| rosters.iter().all(|roster| roster.is_quorum(core.iter().copied()));
            let votes = |node: &NodeId| {
                let may = self.bereft != Some(*node) && self.is_on_its_list(*node);
                may && rosters.iter().any(|roster| roster.is_voter(*node))
            };
            let mut left: Vec<NodeId> = all().filter(votes).filter(|node| !core.contains(node)).collect();
            while !is_enough(&core) {
                if left.is_empty() {
                    return None;
                }
                core.insert(left.swap_remove(rng.index(left.len())));
            }
            in_force = core.iter().map(|&node| self.in_force(node)).max().unwrap_or_default();
            if !configs.counting(in_force).all(|roster| roster.is_quorum(core.iter().copied())) {
                continue;
            }
            if left.is_empty() || self.may_be_led(&core, in_force) {
                break rosters;
            }
            core.insert(left.swap_remove(rng.index(left.len())));
        };
        let votes = |node: &NodeId| rosters.iter().any(|roster| roster.is_voter(*node));
        let others: Vec<NodeId> = all().filter(|node| !votes(node)).filter(|_| rng.chance(500_000)).collect();
        core.extend(
            others.into_iter().filter(|&node| self.knows_whom_to_ask(node, &core)).collect::<Vec<_>>(),
        );
        (core.len() < self.nodes.len()).then(|| core.into_iter().collect())
    }

    /// Whether one of these can be elected where this is in force, and nobody else who may count is ahead of it.
    ///
    /// Only those lead who have a vote in force; of whom a change that is to come gives one, none does, though it may have
    /// logged more than all others that are left. It promises nothing to those, and the change, if it came into force at
    /// a leader that is gone now, may need it. ZooKeeper's servers wait for another one there, too (`getInitId`,
    /// `totalOrderPredicate`): one that knows that the change is in force, or has a vote and as long a history. And those
    /// who have not heard of the change could not follow one who gets its vote with it, nor even reach it.
    fn may_be_led(&self, core: &BTreeSet<NodeId>, in_force: Zxid) -> bool {
        let configs = self.judge.facts().configs();
        let leads = |node: &NodeId| configs.get(in_force).is_some_and(|roster| roster.is_voter(*node));
        let counts = |node: &NodeId| configs.counting(in_force).any(|roster| roster.is_voter(*node));
        let kept = |node: &NodeId| self.nodes[node.0].kept();
        let (candidates, others): (Vec<NodeId>, Vec<NodeId>) =
            core.iter().copied().filter(counts).partition(leads);
        let best = candidates.iter().map(kept).map(|kept| (kept.current, kept.durable)).max();
        others.iter().map(kept).all(|kept| Some((kept.current, kept.last)) <= best)
    }

    /// Whether a server that has no vote itself knows one of these as a voter. It may have been away while all those whom it
    /// knows were replaced, and nobody connects to it: who has a vote asks those who have one. ZooKeeper's observers are as
    /// lost then; an operator tells them.
    fn knows_whom_to_ask(&self, node: NodeId, core: &BTreeSet<NodeId>) -> bool {
        let known = self.judge.facts().configs().get(self.in_force(node));
        known.is_none_or(|roster| core.iter().any(|&other| roster.is_voter(other)))
    }

    /// Ends all faults and asks the clients for one last request each.
    ///
    /// # Errors
    /// What a checker has against it.
    pub fn heal(&mut self) -> Result<(), Violation> {
        self.observe(Observed::Healed)?;
        self.healed = true;
        self.mend_all();
        self.give_up_silent()?;
        for index in 0..self.nodes.len() {
            self.heal_node(NodeId(index));
        }
        for client in &mut self.clients {
            client.rest();
        }
        self.read_all_again()
    }

    fn read_all_again(&mut self) -> Result<(), Violation> {
        let links: Vec<LinkId> = self.links.iter().map(|(link, _)| link).collect();
        for link in links {
            self.read_again(link)?;
        }
        Ok(())
    }

    /// Lets time pass until everybody is at rest.
    ///
    /// # Errors
    /// If that takes too long, or any other violation.
    pub fn rest(&mut self) -> Result<(), Violation> {
        let all: Vec<NodeId> = (0..self.nodes.len()).map(NodeId).collect();
        // What is left to be removed may use an epoch up, and there is the next one to agree on.
        while !self.rests(&all)? {}
        Ok(())
    }

    /// Whether all agreed, and nothing happened from then on; or an epoch had no zxids left.
    fn rests(&mut self, all: &[NodeId]) -> Result<bool, Violation> {
        self.settle(all)?;
        self.agree()?;
        let used_up = self.epochs_used_up;
        let (lost, last) = (self.member_roles_lost, self.model().last());
        let wall = self.ordering_wall();
        let (time, steady) = (self.calm_time(), self.steady());
        self.run_for(time)?;
        if self.epochs_used_up > used_up {
            return Ok(false);
        }
        liveness::calm(self.member_roles_lost - lost, time)?;
        self.still_steady(&steady, time)?;
        let model = self.model();
        liveness::cleared_away(model.abandoned(last), "an empty container", time)?;
        let overdue = wall.into_iter().flat_map(|wall| model.overdue(last, wall));
        liveness::cleared_away(overdue, "a TTL node whose time is over", time)?;
        Ok(true)
    }

    /// What the wall clock of the server shows that stamps transactions.
    fn ordering_wall(&self) -> Option<WallTime> {
        let leads = |node: &&Node| match self.options.config.ensemble {
            Some(_) => node.standing.is_some_and(|standing| standing.role == Role::Leading),
            None => node.is_up(),
        };
        let epoch = |node: &&Node| node.standing.map(|standing| standing.epoch);
        let node = self.nodes.iter().filter(leads).max_by_key(epoch)?;
        Some(node.clock.now(self.now).wall)
    }

    /// These servers serve, and all clients have their last answer, within the bound.
    fn settle(&mut self, nodes: &[NodeId]) -> Result<(), Violation> {
        let (max, begun) = (self.options.settle_max, self.now);
        self.run_while(max, |world| {
            !nodes.iter().all(|&node| world.waits_for(node).is_none())
                || !world.clients.iter().all(SimClient::rested)
        })?;
        self.settled = self.settled.max(self.now.since(begun));
        liveness::at_rest(&self.standings(nodes), max)
    }

    /// A last write reaches everybody.
    fn agree(&mut self) -> Result<(), Violation> {
        let Some(client) = self.clients.iter().position(|client| !client.is_mute()) else { return Ok(()) };
        let before = self.model().last();
        let max = self.options.settle_max;
        for _ in 0..LAST_WRITES {
            let (path, data) = ("/".into(), Some(b"the end".to_vec()));
            self.clients[client].ask(Op::SetData { path, data, version: -1 });
            let agreed = self.run_while(max / LAST_WRITES, |world| {
                let last = world.model().last();
                last == before || !world.members().all(|id| world.nodes[id.0].applied == last)
            })?;
            if agreed {
                return Ok(());
            }
        }
        let last = self.model().last();
        let standings = self.members().map(|id| {
            let applied = self.nodes[id.0].applied;
            Waiting {
                who: format!("{id}, which applied {applied},"),
                waits_for: (last == before || applied != last).then(|| format!("what follows {before}")),
            }
        });
        liveness::at_rest(&standings.collect::<Vec<_>>(), max)
    }

    /// Those that have to serve: who is no member any more, or not yet, may follow, and need not.
    fn members(&self) -> impl Iterator<Item = NodeId> {
        let roster = self.judge.facts().configs().ruling();
        let is_ensemble = self.judge.facts().is_ensemble();
        (0..self.nodes.len()).map(NodeId).filter(move |&node| !is_ensemble || roster.is_member(node))
    }

    /// What a server lacks to be where all should come to once nothing goes wrong any more.
    fn waits_for(&self, id: NodeId) -> Option<&'static str> {
        let node = &self.nodes[id.0];
        let follows = node.standing.is_some_and(|standing| standing.leader.is_some());
        match self.options.config.ensemble {
            Some(_) if !self.members().any(|member| member == id) => None,
            _ if !node.is_up() => Some("a process that serves"),
            Some(_) if !follows => Some("a leader"),
            Some(_) if node.tap.durable() < self.model().last() => Some("the last transactions"),
            Some(_) | None => None,
        }
    }

    fn standings(&self, nodes: &[NodeId]) -> Vec<Waiting> {
        let nodes = nodes.iter().map(|&node| Waiting {
            who: node.to_string(),
            waits_for: self.waits_for(node).map(str::to_owned),
        });
        let clients = self.clients.iter().enumerate().map(|(index, client)| Waiting {
            who: ClientId(index).to_string(),
            waits_for: (!client.rested()).then(|| match client.is_up() {
                true => format!("{} answers", client.outstanding()),
                false => "a connection".into(),
            }),
        });
        nodes.chain(clients).collect()
    }
}
