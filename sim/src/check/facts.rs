//! What all checkers share: the order of transactions as the log has it, executed by the reference tree.
//!
//! Of the log only order, time stamp ([`super::stamps`] looks at it) and author are believed. What a transaction does and
//! answers follows from the request that its author made. Violations at once are a transaction that nobody asked for (P7), or
//! only a server that may not (S6, T4); one that was asked for once and logged twice (C6); one that failed where the
//! reference succeeds, or the other way round (C7, C10, S2, T5), also because its session had moved if it has not (S7); a
//! session that was there before (S1), has an id that no server gives, or another timeout than its client is told (S11); and
//! what stands behind an epoch that had begun without it (P6, P9), or is gone after a restart (D3, D6).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use zabra_core::server::Role;
use zabra_core::types::{ErrorCode, Id, Message, OpCode, SessionId, Zxid};

use super::by_request::ByRequest;
use super::by_zxid::ByZxid;
use super::chain::Chain;
use super::configs::Configs;
use super::{Checker, Violation};
use crate::history::{Observed, Record};
use crate::model::{Model, Place, acl};
use crate::node::Standing;
use crate::op::{Answer, Op, Outcome};
use crate::places::{ClientId, NodeId};
use crate::roster::Roster;
use crate::txnlog::{Logged, path_mark, proposed_members};

/// No world has more servers than these, numbered from 1.
const SERVERS_MAX: u8 = 16;

/// A request that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What.
    pub op: Rc<Op>,
    /// Who the asking connection had proved to be.
    pub who: Rc<[Id]>,
    /// The latest transaction that anybody had been told of when it was made.
    pub floor: Zxid,
}

/// A write in its place, as the reference executed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// Its place.
    pub zxid: Zxid,
    /// What it must be answered.
    pub answer: Answer,
}

/// What becomes of a request that has its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It closes a session that its server has let expire meanwhile: nothing is left to be done.
    ClosedBefore,
    /// It does what the reference does.
    Executed,
    /// It was not looked at. Its session had moved; or a follower that serves observers has put a request that fails so in its
    /// place, for that reason.
    Refused(ErrorCode),
}

/// What is known.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    model: Model,
    /// What is in the logs.
    chain: Chain,
    /// Whether there is an ensemble; if not, one server stands alone.
    is_ensemble: bool,
    /// Who belongs to it.
    configs: Configs,
    /// What servers have called the beginning of an epoch: nothing from before it is committed any more.
    begun: Zxid,
    /// The last transaction that was committed by who led, or followed, in each epoch.
    committed_in: BTreeMap<i64, Zxid>,
    /// What of each server's history would survive a power failure.
    durable: BTreeMap<NodeId, Zxid>,
    /// Members of the ensemble that follow or lead.
    serving: BTreeMap<NodeId, Standing>,
    asked: ByRequest<Asked>,
    executed: ByRequest<Executed>,
    /// The digest after each transaction.
    digests: ByZxid<u64>,
    /// Sessions that a client wanted closed, or that a server declared expired.
    ended: BTreeSet<SessionId>,
    /// Those of them that a client wanted closed.
    given_up: BTreeSet<SessionId>,
    /// The latest transaction that anybody has been told of.
    told: Zxid,
    /// Who each client's connection says it is.
    who: BTreeMap<ClientId, Rc<[Id]>>,
    /// Who was last given a session, and whether it was another before.
    holders: BTreeMap<SessionId, (ClientId, bool)>,
    /// Sessions that came back, or may have: what they had asked for elsewhere may be refused since.
    moved: BTreeSet<SessionId>,
    /// Whether observers learn from followers.
    has_observer_masters: bool,
}

impl Facts {
    /// Nothing is known yet of the servers of this ensemble, or of one that stands alone.
    pub fn new(ensemble: Option<Roster>) -> Self {
        let first = ensemble.unwrap_or_default();
        let mut facts =
            Self { is_ensemble: ensemble.is_some(), configs: Configs::new(first), ..Self::default() };
        facts.model.bring_members(first, 0);
        facts
    }

    /// Followers serve observers.
    pub const fn expect_observer_masters(&mut self) {
        self.has_observer_masters = true;
    }

    /// Whether there is an ensemble; if not, one server stands alone.
    pub const fn is_ensemble(&self) -> bool {
        self.is_ensemble
    }

    /// Who belongs to it.
    pub const fn configs(&self) -> &Configs {
        &self.configs
    }

    /// What is in the logs.
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The last that is committed: a transaction, or the beginning of an epoch.
    pub fn committed(&self) -> Zxid {
        self.model.last().max(self.begun)
    }

    /// The last transaction that was committed in an epoch before `epoch`: what its leader must have. A later leader may
    /// commit more of an earlier epoch while one that was overtaken still tries to begin.
    pub fn committed_before(&self, epoch: i64) -> Zxid {
        self.committed_in.range(..epoch).map(|(_, &zxid)| zxid).max().unwrap_or_default()
    }

    /// Whether a server takes itself for the leader of an epoch although something was committed in a later one.
    pub fn has_deposed_leader(&self) -> bool {
        let newest = self.committed_in.keys().next_back();
        let deposed = |standing: &Standing| {
            standing.role == Role::Leading && newest.is_some_and(|newest| standing.epoch < *newest)
        };
        self.serving.values().any(deposed)
    }

    /// What a server does, if it serves; nothing where it stands alone.
    pub fn standing(&self, node: NodeId) -> Option<Standing> {
        self.serving.get(&node).copied()
    }

    /// Whether a server's tree is of committed transactions only.
    pub fn serves(&self, node: NodeId) -> bool {
        !self.is_ensemble || self.serving.contains_key(&node)
    }

    /// Whether a majority of those who vote in the ruling configuration is among these.
    pub fn is_quorum(&self, nodes: impl Iterator<Item = NodeId>) -> bool {
        self.configs.ruling().is_quorum(nodes)
    }

    /// Whether a leader may go on with these behind it.
    pub fn backs(&self, leader: NodeId, nodes: impl Iterator<Item = NodeId> + Clone) -> bool {
        let Some(standing) = self.serving.get(&leader) else { return self.is_quorum(nodes) };
        let committed = self.committed_in.get(&standing.epoch).copied().unwrap_or_default();
        self.configs.backs(leader, standing.epoch, committed, nodes)
    }

    /// Whether these may be a quorum, as far as a server knows.
    pub fn may_back(&self, node: NodeId, nodes: impl Iterator<Item = NodeId> + Clone) -> bool {
        self.configs.may_back(node, self.chain.end(node), nodes)
    }

    /// Whether these are worth following for a server, as far as it knows, if one of them leads.
    pub fn may_follow(&self, node: NodeId, nodes: impl Iterator<Item = NodeId> + Clone) -> bool {
        self.configs.may_follow(node, self.chain.end(node), nodes)
    }

    /// Whether a server has a vote, as far as it may know.
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.configs.is_voter(node, self.chain.end(node))
    }

    /// Whether a quorum would still have a transaction after a power failure of all of them.
    pub fn is_held(&self, zxid: Zxid) -> bool {
        match self.is_ensemble {
            true => self.is_held_by(self.configs.ruling(), zxid),
            false => self.durable.values().any(|&durable| durable >= zxid),
        }
    }

    /// Likewise a quorum of these members.
    pub fn is_held_by(&self, roster: Roster, zxid: Zxid) -> bool {
        roster.is_quorum(self.durable.iter().filter(|&(_, &durable)| durable >= zxid).map(|(&node, _)| node))
    }

    /// Whether a quorum would still have a transaction if one server had lost it. Who does not serve does not count: it
    /// may have been told, when the transaction was not committed yet, to cut its log, and not have come to it.
    pub fn is_held_without(&self, node: NodeId, zxid: Zxid) -> bool {
        let holds = |&(&holder, &durable): &(&NodeId, &Zxid)| durable >= zxid && self.serves(holder);
        let holders = self.durable.iter().filter(holds).filter(|&(&holder, _)| holder != node);
        self.configs.ruling().is_quorum(holders.map(|(&holder, _)| holder))
    }

    /// What of a server's history would survive a power failure.
    pub fn durable(&self, node: NodeId) -> Zxid {
        self.durable.get(&node).copied().unwrap_or_default()
    }

    /// The latest that anybody has been told of.
    pub const fn told(&self) -> Zxid {
        self.told
    }

    /// The reference tree.
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// The request `xid` of a session.
    pub fn asked(&self, session: SessionId, xid: i32) -> Option<&Asked> {
        self.asked.get(session, xid)
    }

    /// What became of a write in the reference, once it has its place for good.
    pub fn executed(&self, session: SessionId, xid: i32) -> Option<&Executed> {
        self.executed.get(session, xid)
    }

    /// The head of a transaction that is in any server's log.
    pub fn logged(&self, zxid: Zxid) -> Option<&Logged> {
        self.chain.logged(zxid)
    }

    /// The reference's digest after a transaction.
    pub fn digest_after(&self, zxid: Zxid) -> Option<u64> {
        self.digests.get(zxid).copied()
    }

    /// Whether a session was to end, by its client's wish or by a server's decision.
    pub fn is_ended(&self, session: SessionId) -> bool {
        self.ended.contains(&session)
    }

    /// Whether a client wanted the session closed.
    pub fn is_given_up(&self, session: SessionId) -> bool {
        self.given_up.contains(&session)
    }

    /// Who the connection of a client says it is, in the order in which it said so.
    pub fn who(&self, client: ClientId) -> Rc<[Id]> {
        self.who.get(&client).cloned().unwrap_or_default()
    }

    /// A connection presents an identity. What it asks from now on, it asks as this one, too.
    fn prove(&mut self, client: ClientId, op: &Op) {
        let Op::AddAuth { scheme, auth } = op else { return };
        let Some(id) = acl::identity(scheme, auth) else { return };
        let who = self.who(client);
        if !who.contains(&id) {
            self.who.insert(client, who.iter().cloned().chain([id]).collect());
        }
    }

    /// Whether several clients have had a session: whoever loses it to another may be told so.
    pub fn is_shared(&self, session: SessionId) -> bool {
        self.holders.get(&session).is_some_and(|(_, shared)| *shared)
    }

    /// Learns from the next record.
    ///
    /// # Errors
    /// If no order of transactions could explain it.
    pub fn take(&mut self, record: &Record) -> Result<(), Violation> {
        match &record.what {
            Observed::Connected { client, session, timeout_ms, resumed, .. } => {
                if !resumed {
                    self.opened_as_told(*session, *timeout_ms)?;
                }
                let holder = self.holders.entry(*session).or_insert((*client, false));
                *holder = (*client, holder.1 || holder.0 != *client);
                let address = std::net::Ipv4Addr::from(client.address());
                self.who.insert(*client, Rc::new([Id::new("ip", address.to_string())]));
            }
            Observed::Invoked { client, op, .. } if matches!(**op, Op::AddAuth { .. }) => {
                self.prove(*client, op);
            }
            Observed::Invoked { client, session, xid, op } if *xid > 0 => {
                if **op == Op::CloseSession {
                    self.ended.insert(*session);
                    self.given_up.insert(*session);
                }
                let asked = Asked { op: op.clone(), who: self.who(*client), floor: self.told };
                self.asked.insert(*session, *xid, asked);
            }
            Observed::Answered { zxid, .. } => self.told = self.told.max(*zxid),
            Observed::SessionExpired { session, .. } => {
                self.ended.insert(*session);
            }
            Observed::Found { node, last, durable } => {
                self.chain.on_found(*node, *last);
                self.durable.insert(*node, *durable);
            }
            Observed::Synced { node, durable } => {
                self.durable.insert(*node, *durable);
            }
            Observed::Crashed { node, .. }
            | Observed::RoleLost { node, .. }
            | Observed::Stopped { node, .. } => {
                self.serving.remove(node);
            }
            Observed::RoleTaken { node, standing, .. } => {
                if standing.role == Role::Looking {
                    self.serving.remove(node);
                } else {
                    self.serving.insert(*node, *standing);
                }
            }
            Observed::Logged { node, record } => {
                self.chain.on_logged(*node, *record)?;
                if let Some(roster) = record.members {
                    self.configs.learn(record.zxid, roster);
                }
            }
            // A leader that has the quorum may have nobody left whom it could say so.
            Observed::Reconfigured { node, version, .. } if self.configs.offers(*node, Zxid(*version)) => {
                self.on_accepted(*node);
            }
            Observed::Said { node, message, .. } => self.on_said(*node, message),
            Observed::Attached { session, .. } => {
                self.moved.insert(*session);
            }
            // One that is brought up to date is told to commit and applies what may yet be undone.
            Observed::Applied { node, zxid, .. } if self.serves(*node) => self.commit(*node, *zxid)?,
            Observed::Committed { node, zxid } if self.serves(*node) => self.commit(*node, *zxid)?,
            // Who is told of it may rely on it.
            Observed::Sent { node, zxid, .. } if self.is_ensemble => self.commit(*node, *zxid)?,
            Observed::Started { node, recovered, .. } if !self.is_ensemble => {
                self.on_started(*node, *recovered)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// A leader proposes other members, or says what its epoch begins with, and then that this is agreed on; a learner that a
    /// session has come to it.
    fn on_said(&mut self, node: NodeId, message: &Message) {
        match message {
            // It is kept as seen before it is in any log, and the next epoch may begin with it.
            Message::Proposal { zxid, txn } => {
                if let Some(roster) = proposed_members(txn) {
                    self.configs.learn(*zxid, roster);
                }
            }
            Message::NewLeader { zxid, config: Some(text) } => {
                let parsed = std::str::from_utf8(text).ok().and_then(Roster::parse);
                if let Some((_, version)) = parsed {
                    self.configs.offer(node, i64::from(zxid.epoch()), Zxid(version));
                }
            }
            // A follower says so to those that it serves, of what is in force.
            Message::UpToDate if self.standing(node).is_none_or(|it| it.role == Role::Leading) => {
                self.on_accepted(node);
            }
            Message::Revalidate { session, .. } => {
                self.moved.insert(*session);
            }
            _ => {}
        }
    }

    /// What a leader begins its epoch with is agreed on. If it is in its log, it comes about by its transaction.
    fn on_accepted(&mut self, node: NodeId) {
        if let Some((version, roster)) = self.configs.accept(node)
            && (version.begins_epoch() || !self.chain.leads_to(self.chain.end(node), version))
        {
            self.model.bring_members(roster, version.0);
        }
    }

    /// What a server recovered is there for good; what it did not is gone for good, if it may.
    fn on_started(&mut self, node: NodeId, recovered: Zxid) -> Result<(), Violation> {
        if recovered < self.model.last() {
            let last = self.model.last();
            return Err(Violation::new(
                Checker::Facts,
                format!("recovered up to {recovered}, had applied {last}"),
            ));
        }
        self.commit(node, recovered)?;
        self.chain.forget_tail(recovered);
        Ok(())
    }

    /// A server says, or shows, that its history is committed up to `claim`.
    fn commit(&mut self, node: NodeId, claim: Zxid) -> Result<(), Violation> {
        if claim.begins_epoch() && claim <= self.begun {
            return Ok(());
        }
        let last = self.model.last();
        let target = self.chain.meant_by(node, claim);
        if let Some(standing) = self.serving.get(&node) {
            let known = self.committed_in.entry(standing.epoch).or_default();
            *known = target.max(*known);
        }
        if target > last {
            for logged in self.chain.path(last, target)? {
                self.execute(logged)?;
                self.digests.insert(logged.zxid, self.model.digest());
            }
        } else if target > Zxid::ZERO && self.digests.get(target).is_none() {
            return Err(Violation::new(
                Checker::Facts,
                format!("{node} calls {target} committed, which was left out"),
            ));
        }
        if claim.begins_epoch() {
            self.begun = self.begun.max(claim);
        }
        Ok(())
    }

    fn execute(&mut self, logged: Logged) -> Result<(), Violation> {
        if logged.zxid <= self.begun {
            let begun = self.begun;
            return Err(Violation::new(
                Checker::Facts,
                format!("{logged} is committed after {begun} had begun"),
            ));
        }
        let place = Place { zxid: logged.zxid, time: logged.time, session: logged.session };
        match logged.op {
            OpCode::CREATE_SESSION => return self.open_session(&logged, place),
            OpCode::DELETE_CONTAINER => return self.clear_away(&logged, place),
            OpCode::ERROR if logged.session == SessionId::NONE && logged.cxid == 0 => {
                // The server wanted to remove a znode that is gone, or used again.
                self.model.skip(place.zxid);
                return Ok(());
            }
            _ => {}
        }
        let (op, who) = self.author(&logged)?;
        if logged.error.is_none() && logged.op != op.code() {
            return Err(Violation::new(Checker::Facts, format!("{logged} was asked for as {op}")));
        }
        if logged.error.is_none() && matches!(*op, Op::Reconfig { .. }) {
            self.configs.establish(logged.zxid, true);
        }
        let answer = match self.fate(&logged, &op, place, &who) {
            Fate::Refused(error) => {
                self.model.skip(place.zxid);
                Err(error)
            }
            Fate::ClosedBefore => {
                self.model.skip(place.zxid);
                Ok(Outcome::Done)
            }
            Fate::Executed => self.model.write(&op, place, &who),
        };
        if let Some(members) = logged.members.filter(|&members| members != self.model.members().0) {
            let expected = self.model.members().0;
            let words = format!("{logged} makes {members} the members, {op} should {expected}");
            return Err(Violation::new(Checker::Facts, words));
        }
        if answer.as_ref().err() != logged.error.as_ref() {
            return Err(Violation::new(Checker::Facts, format!("{logged}: {op} should bring {answer:?}")));
        }
        if logged.cxid != 0 {
            let executed = Executed { zxid: logged.zxid, answer };
            if let Some(first) = self.executed.insert(logged.session, logged.cxid, executed) {
                return Err(Violation::new(
                    Checker::Facts,
                    format!("{logged}: it was executed at {} before", first.zxid),
                ));
            }
        }
        Ok(())
    }

    /// What was asked for where a transaction stands, and as whom.
    fn author(&self, logged: &Logged) -> Result<(Rc<Op>, Rc<[Id]>), Violation> {
        if logged.op == OpCode::CLOSE_SESSION && logged.cxid == 0 {
            return match self.ended.contains(&logged.session) {
                true => Ok((Rc::new(Op::CloseSession), Rc::default())),
                false => Err(Violation::new(Checker::Facts, format!("{logged}: it has not expired"))),
            };
        }
        match self.asked.get(logged.session, logged.cxid) {
            Some(asked) => Ok((asked.op.clone(), asked.who.clone())),
            None => Err(Violation::new(Checker::Facts, format!("nobody asked for {logged}"))),
        }
    }

    /// What became of a request where it stands.
    fn fate(&self, logged: &Logged, op: &Op, place: Place, who: &[Id]) -> Fate {
        let is_closed =
            || self.model.sessions().get(&logged.session).is_some_and(|known| known.closed.is_some());
        let may_have_moved = self.moved.contains(&logged.session);
        match logged.error {
            Some(error @ ErrorCode::SESSIONMOVED) if may_have_moved => Fate::Refused(error),
            // What a follower puts in the place of an observer's request whose session has moved.
            Some(error @ ErrorCode::MARSHALLINGERROR)
                if may_have_moved
                    && self.has_observer_masters
                    && self.model.foresee(op, place, who) != Err(error) =>
            {
                Fate::Refused(error)
            }
            // Who follows at the moment, and whether another change is under way, the order does not tell.
            Some(error @ (ErrorCode::NEWCONFIGNOQUORUM | ErrorCode::RECONFIGINPROGRESS))
                if matches!(op, Op::Reconfig { .. }) =>
            {
                Fate::Refused(error)
            }
            None if *op == Op::CloseSession && is_closed() => Fate::ClosedBefore,
            Some(_) | None => Fate::Executed,
        }
    }

    /// A server removes a container or a TTL node.
    fn clear_away(&mut self, logged: &Logged, place: Place) -> Result<(), Violation> {
        let named = |path: &&str| Some(path_mark(path.as_bytes())) == logged.removes;
        let Some(path) = self.model.paths().find(named).map(str::to_owned) else {
            return Err(Violation::new(Checker::Facts, format!("{logged}: there is no such znode")));
        };
        let cleared = self.model.clear_away(&path, place);
        cleared.map_err(|why| Violation::new(Checker::Facts, format!("{logged} removes {path}: {why}")))
    }

    /// A client is told of a new session: with the timeout that all servers have for it.
    fn opened_as_told(&self, session: SessionId, timeout_ms: i32) -> Result<(), Violation> {
        match self.model.sessions().get(&session).map(|known| known.timeout_ms) {
            Some(logged) if logged == timeout_ms => Ok(()),
            logged => {
                let words =
                    format!("{session} is opened with a timeout of {timeout_ms} ms, logged {logged:?}");
                Err(Violation::new(Checker::Facts, words))
            }
        }
    }

    fn open_session(&mut self, logged: &Logged, place: Place) -> Result<(), Violation> {
        // The highest byte names the server that gave it. So it is never what containers and TTL nodes have instead.
        let giver = u8::try_from(logged.session.0 >> 56).unwrap_or_default();
        if !(1..=SERVERS_MAX).contains(&giver) {
            return Err(Violation::new(Checker::Facts, format!("{logged}: no server gives such an id")));
        }
        if self.model.sessions().contains_key(&logged.session) {
            return Err(Violation::new(Checker::Facts, format!("{logged}: the id was given before")));
        }
        let timeout_ms = logged
            .timeout_ms
            .ok_or_else(|| Violation::new(Checker::Facts, format!("{logged} has no timeout")))?;
        self.model.open_session(place, timeout_ms);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NODE, Story, create, set};
    use super::*;

    #[test]
    fn a_right_history_passes() {
        let mut story = Story::begin();
        story.write(1, &create("/a"), 2);
        story.write(2, &set("/a"), 3);
        story.write(3, &set("/missing"), 4);
        // The failed write was logged as if it had succeeded.
        story.expect_violation(Checker::Facts, "should bring Err(NONODE)");
    }

    #[test]
    fn a_transaction_that_nobody_asked_for() {
        let mut story = Story::begin();
        story.log(2, 9, OpCode::DELETE, None);
        story.apply(2);
        story.expect_violation(Checker::Facts, "nobody asked");
    }

    #[test]
    fn a_request_executed_twice() {
        let mut story = Story::begin();
        story.write(1, &create("/a"), 2);
        story.write(2, &set("/a"), 3);
        story.log(4, 2, OpCode::SET_DATA, None);
        story.apply(4);
        story.expect_violation(Checker::Facts, "executed at 0x3 before");
    }

    #[test]
    fn s7_only_who_has_moved_is_refused_for_it() {
        let moved = ErrorCode::SESSIONMOVED;
        let refused = |came_back, masters, code| {
            let mut story = Story::begin();
            if masters {
                story.judge.expect_observer_masters();
            }
            if came_back {
                let (session, timeout_ms) = (super::super::testing::S, 4000);
                story.tell(Observed::Attached { node: NODE, session, timeout_ms, mono: 0 });
            }
            story.invoke(1, &create("/a"));
            story.log_failed(2, 1, create("/a").code(), code);
            story.apply(2);
            story
        };
        refused(true, false, moved).expect_fine();
        refused(false, true, moved).expect_violation(Checker::Facts, "should bring Ok");
        let in_vain = ErrorCode::MARSHALLINGERROR;
        refused(true, true, in_vain).expect_fine();
        refused(true, false, in_vain).expect_violation(Checker::Facts, "should bring Ok");
        refused(false, true, in_vain).expect_violation(Checker::Facts, "should bring Ok");
    }

    #[test]
    fn a_gap_in_the_log() {
        let mut story = Story::begin();
        story.log(3, 1, OpCode::DELETE, None);
        story.expect_violation(Checker::Chain, "logged after 0x1");
    }

    #[test]
    fn a_session_closed_that_had_not_expired() {
        let mut story = Story::begin();
        story.log(2, 0, OpCode::CLOSE_SESSION, None);
        story.apply(2);
        story.expect_violation(Checker::Facts, "has not expired");
    }

    #[test]
    fn a_start_that_forgets_what_was_applied() {
        let mut story = Story::begin();
        story.write(1, &create("/a"), 2);
        story.tell(Observed::Started { node: NODE, recovered: Zxid(1), mono: 0 });
        story.expect_violation(Checker::Facts, "recovered up to 0x1");
    }

    #[test]
    fn what_was_logged_and_not_recovered_may_be_something_else_next_time() {
        let mut story = Story::begin();
        story.invoke(1, &create("/lost"));
        story.log(2, 1, OpCode::CREATE, None);
        story.tell(Observed::Found { node: NODE, last: Zxid(1), durable: Zxid(1) });
        story.tell(Observed::Started { node: NODE, recovered: Zxid(1), mono: 0 });
        story.write(2, &create("/kept"), 2);
        story.expect_fine();
    }
}
