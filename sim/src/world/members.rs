//! Members that change: what the operator asks for, and what servers are asked to keep of it.
//!
//! The operator is a client that may do everything and does nothing by itself. It changes the configuration that rules, one
//! step at a time: a server joins, or leaves, or has another role, or one takes the place of another. The server that leads
//! is no exception. What became of the last change it does not ask: it sees what the members are now, and goes on.
//!
//! Servers keep configurations as a server does that has a `zoo.cfg`: at once, durably, and beside what else is on the
//! disk; see `ConfigKeeper` of `io-tokio`, which this follows.

use std::time::Duration;

use bytes::Bytes;
use zabra_core::config::Config;
use zabra_core::server::Input;
use zabra_core::store::{Dir, DiskOp, FileName};
use zabra_core::types::{MemberRole, Membership, Ticket, Zxid};

use super::World;
use crate::check::{Checker, Violation};
use crate::fault::{Drawn, FaultKind, Harm};
use crate::model::acl::SUPER;
use crate::node::{Life, Node};
use crate::op::Op;
use crate::places::{ClientId, NodeId, Party, joiner, server_of};
use crate::roster::{Roster, entry};
use crate::rt;

/// What is in force, and what was seen last and is newer.
const IN_FORCE: &str = "zoo.cfg.dynamic";
const SEEN: &str = "zoo.cfg.dynamic.next";

/// So few members that vote are left, if there is a choice.
const VOTERS_MIN: u32 = 3;
/// And never fewer than these.
const VOTERS_LEFT: u32 = 2;

fn file(name: &str) -> FileName {
    FileName { dir: Dir::Snapshot, name: name.into() }
}

impl World {
    /// How the server on a node is configured.
    pub(super) fn config_of(&self, node: NodeId) -> Config {
        let mut config = Config { server_id: server_of(node).0, ..self.options.config.clone() };
        if let Some(ensemble) = &mut config.ensemble {
            let kept = &self.nodes[node.0];
            let first = &ensemble.membership;
            ensemble.membership =
                kept.configuration(IN_FORCE).unwrap_or_else(|| match first.member(server_of(node)) {
                    Some(_) => first.clone(),
                    // Who is to join knows those who were members at first, and itself.
                    None => joiner(first, node, self.role_to_join(node)),
                });
            ensemble.seen = kept.configuration(SEEN);
        }
        config
    }

    /// As what a server that is no member comes.
    fn role_to_join(&self, node: NodeId) -> MemberRole {
        match self.seed.stream("joiner", node.0 as u64).chance(500_000) {
            true => MemberRole::Participant,
            false => MemberRole::Observer,
        }
    }

    /// A server has another configuration in force.
    pub(super) fn keep_in_force(&mut self, id: NodeId, membership: Membership) -> Result<(), Violation> {
        self.nodes[id.0].unkept = Some(membership);
        self.keep(id, None)
    }

    /// A server has seen another one, or none is newer any more than what is in force.
    pub(super) fn keep_seen(&mut self, id: NodeId, membership: Option<&Membership>) -> Result<(), Violation> {
        self.keep(id, Some(membership))
    }

    /// One in force that could not be written is tried again first; what was seen stays until then. What could not be
    /// kept the server knows before it does anything else.
    fn keep(&mut self, id: NodeId, seen: Option<Option<&Membership>>) -> Result<(), Violation> {
        let node = &mut self.nodes[id.0];
        if let Some(in_force) = node.unkept.take()
            && !node.write(IN_FORCE, &in_force.text())
        {
            node.unkept = Some(in_force);
        }
        let in_force = node.unkept.is_some();
        if !in_force
            && seen.is_none_or(|seen| node.write(SEEN, &seen.map(Membership::text).unwrap_or_default()))
        {
            return Ok(());
        }
        let now = node.clock.now(self.now);
        let Life::Up(server) = &mut node.life else { return Ok(()) };
        rt::catch(|| server.handle(now, Input::ConfigNotKept { in_force }))
            .map_err(|message| Violation::new(Checker::Panic, format!("{id}: {message}")))?;
        self.remark(id, "the members could not be kept".into())
    }

    /// The version of what the server on a node goes by, or will when it starts.
    pub(super) fn in_force(&self, node: NodeId) -> Zxid {
        let node = &self.nodes[node.0];
        let in_force = node.unkept.clone().or_else(|| node.configuration(IN_FORCE));
        Zxid(in_force.map_or(0, |membership| membership.version()))
    }

    /// Whether a server is on the list that it starts with next. On one without itself no server starts, neither this one
    /// nor ZooKeeper's: it takes an operator. Here it does, and follows; but it cannot tell others where it listens, and who
    /// has a greater id, and has not heard of a change that brings it back, does not find it.
    pub(super) fn is_on_its_list(&self, node: NodeId) -> bool {
        let kept = &self.nodes[node.0];
        let Some(in_force) = kept.configuration(IN_FORCE) else { return true };
        let has_it = |list: Membership| list.member(server_of(node)).is_some();
        has_it(in_force) || kept.configuration(SEEN).is_some_and(has_it)
    }

    /// The client that changes members, if one does.
    pub(super) fn operator(&self) -> Option<ClientId> {
        self.options.faults.reconfig.map(|_| ClientId(self.clients.len() - 1))
    }

    /// The operator asks for other members.
    pub(super) fn change_members(&mut self, drawn: Drawn) -> Option<Harm> {
        let operator = self.operator()?;
        if self.clients[operator.0].outstanding() > 0 {
            return None;
        }
        let op = self.change(drawn)?;
        let words = format!("{operator} asks for {op}");
        let client = &mut self.clients[operator.0];
        if !client.is_somebody() {
            client.ask(Op::AddAuth { scheme: "digest", auth: SUPER.0 });
        }
        client.ask(op);
        self.counts.reconfigs += 1;
        Some(Harm::to_all(FaultKind::Reconfig, vec![Party::Client(operator)], Duration::ZERO, words))
    }

    /// What a draw stands for, where these are the members.
    fn change(&self, Drawn { node, share, choice }: Drawn) -> Option<Op> {
        let configs = self.judge.facts().configs();
        let now = configs.ruling();
        let all = (0..self.nodes.len()).map(NodeId);
        let strangers: Vec<NodeId> = all.filter(|&node| !now.is_member(node)).collect();
        let stranger = || strangers.get((choice >> 8) as usize % strangers.len().max(1)).copied();
        let member = Some(node).filter(|&node| now.is_member(node));
        let leaver = member.filter(|&node| may_go(now, node));
        let as_voter = choice >> 4 & 3 != 0;
        let kind = share % 100;
        let (joins, leaves) = match kind {
            // One takes the place of another.
            0..20 => (stranger().map(|node| (node, as_voter)), leaver),
            20..50 => (stranger().map(|node| (node, as_voter)), None),
            50..75 => (None, leaver),
            // Another role, or a member that comes again as it is.
            _ => (
                member
                    .filter(|&node| !now.is_voter(node) || may_go(now, node))
                    .map(|node| (node, !now.is_voter(node))),
                None,
            ),
        };
        // What cannot be is made up for by what can.
        let joins = joins.or_else(|| leaves.is_none().then(stranger).flatten().map(|node| (node, as_voter)));
        let next = leaves.map_or(now, |node| now.without(node));
        let next = joins.map_or(next, |(node, voter)| next.with(node, voter));
        if next == now {
            return None;
        }
        let version = match choice >> 16 & 15 {
            0..=2 => configs.version().0,
            // One that was true once, or never.
            3 => configs.version().0 - 1,
            _ => -1,
        };
        if choice >> 24 & 15 == 0 {
            let members: Vec<String> = next.members().map(|node| entry(node, next.is_voter(node))).collect();
            let (joining, leaving) = (String::new(), String::new());
            return Some(Op::Reconfig { joining, leaving, members: members.join(","), version });
        }
        let joining = joins.map(|(node, voter)| entry(node, voter)).unwrap_or_default();
        let leaving = leaves.map(|node| server_of(node).to_string()).unwrap_or_default();
        Some(Op::Reconfig { joining, leaving, members: String::new(), version })
    }
}

/// Whether enough are left that vote, should a member leave them.
fn may_go(roster: Roster, node: NodeId) -> bool {
    let left = roster.without(node).voters();
    // Ensembles of two or three get smaller, too, but not often: there is little to be seen in them.
    !roster.is_voter(node) || left >= VOTERS_MIN || left == VOTERS_LEFT
}

impl Node {
    /// What a server has kept under this name.
    fn configuration(&self, name: &str) -> Option<Membership> {
        let name = file(name);
        let (_, content) = self.disk.files().find(|(file, _)| **file == name)?;
        (!content.is_empty()).then(|| {
            let text = String::from_utf8(content.to_vec()).expect("it was text");
            Membership::parse(&text).expect("it was a configuration")
        })
    }

    /// Replaces a file at once. Whether that could be done.
    fn write(&mut self, name: &str, text: &str) -> bool {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        self.disk.run(&DiskOp::Replace { ticket: Ticket(0), file: file(name), bytes }).is_ok()
    }
}
