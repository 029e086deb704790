//! Who leads is followed (P18): a leader that a quorum has not been heard from for longer than `syncLimit` gives up,
//! whether it can reach anybody or not. Otherwise its clients would be told of the past for as long as they stay.
//!
//! It notices by its own clock, and looks twice in a tick; the bound allows for a clock at half speed, the slowest
//! there is, and for two ticks until it has looked. A learner has been heard from when its leader takes something from
//! it, or lets it in.
//!
//! A learner likewise gives up a leader that it has not heard from for `syncLimit`.
//!
//! And a leader gives up a learner that has not acknowledged for as long what it was sent, whatever else that one says: it
//! would count for those that follow, and have nothing of what they are there for. A leader that stood still has to look at
//! what came meanwhile first, so from then on the learner has as long again. And it talks with each on one link, that on
//! which the learner came last (P16).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use zabra_core::types::{Message, Zxid};

use super::leaders::Leaders;
use super::{Check, Checker, Facts, Violation};
use crate::clock::SimTime;
use crate::history::{Observed, Record};
use crate::link::LinkId;
use crate::places::NodeId;

/// See the module.
#[derive(Debug)]
pub struct Leaderships {
    bound: Duration,
    tick: Duration,
    leaders: Leaders<Leading>,
}

/// A leader, since it took the role.
#[derive(Debug)]
struct Leading {
    since: SimTime,
    /// When it last heard from whom.
    heard: BTreeMap<NodeId, SimTime>,
    /// When its clock was last looked at.
    ticked: SimTime,
    /// What it has sent to learners that follow and they have not acknowledged.
    owed: BTreeMap<LinkId, Owed>,
    /// The link on which it last told each learner of its epoch: what another one carries is nobody's any more.
    links: BTreeMap<NodeId, LinkId>,
}

/// See [`Leading::owed`].
#[derive(Debug, Default)]
struct Owed {
    /// Oldest first, with when that was.
    proposed: VecDeque<(Zxid, SimTime)>,
    /// The leader's clock was looked at when the first was overdue: it has given the learner up.
    is_overdue: bool,
}

impl Leading {
    fn begin(since: SimTime) -> Self {
        let (heard, owed) = (BTreeMap::new(), BTreeMap::new());
        Self { since, heard, ticked: since, owed, links: BTreeMap::new() }
    }

    /// Its clock is looked at, which it has not been for too long if the leader stood still.
    fn on_ticked(&mut self, now: SimTime, bound: Duration, tick: Duration) {
        let stood_still = now.since(self.ticked) > tick * 4;
        self.ticked = now;
        for owed in self.owed.values_mut() {
            if stood_still {
                owed.proposed.iter_mut().for_each(|(_, at)| *at = now);
            }
            owed.is_overdue |= owed.proposed.front().is_some_and(|&(_, at)| now.since(at) > bound);
        }
    }

    /// Whether a learner hears something that it should not hear any more.
    fn on_said(&mut self, now: SimTime, link: LinkId, message: &Message) -> bool {
        if *message == Message::UpToDate {
            self.owed.insert(link, Owed::default());
        }
        let Some(owed) = self.owed.get_mut(&link) else { return false };
        if let Message::Proposal { zxid, .. } = message {
            owed.proposed.push_back((*zxid, now));
        }
        owed.is_overdue
    }

    fn on_acknowledged(&mut self, link: LinkId, acked: Zxid) {
        if let Some(owed) = self.owed.get_mut(&link) {
            while owed.proposed.pop_front_if(|(zxid, _)| *zxid <= acked).is_some() {}
        }
    }
}

const fn bound(tick: Duration, sync_limit: Duration) -> Duration {
    sync_limit.saturating_add(tick.saturating_mul(2)).saturating_mul(2)
}

/// A learner that serves has heard from its leader lately.
///
/// # Errors
/// If that was too long ago.
pub fn still_heard(
    node: NodeId,
    silent: Duration,
    tick: Duration,
    sync_limit: Duration,
) -> Result<(), Violation> {
    if silent <= bound(tick, sync_limit) {
        return Ok(());
    }
    let words = format!("{node} follows on, and has heard nothing of its leader for {silent:?}");
    Err(Violation::new(Checker::Leadership, words))
}

impl Leaderships {
    /// Leaders give up after `sync_limit` of silence, and look every half `tick`.
    pub fn new(tick: Duration, sync_limit: Duration) -> Self {
        Self { bound: bound(tick, sync_limit), tick, leaders: Leaders::default() }
    }

    fn on_heard(&mut self, leader: NodeId, from: NodeId, (link, message): (LinkId, &Message), at: SimTime) {
        let Some(leading) = self.leaders.get_mut(leader) else { return };
        leading.heard.insert(from, at);
        if let Message::Ack { zxid } = message {
            leading.on_acknowledged(link, *zxid);
        }
    }

    fn on_said(
        &mut self,
        leader: NodeId,
        to: NodeId,
        (link, message): (LinkId, &Message),
        at: SimTime,
    ) -> Result<(), Violation> {
        let Some(leading) = self.leaders.get_mut(leader) else { return Ok(()) };
        if *message == Message::UpToDate {
            leading.heard.insert(to, at);
        }
        if matches!(message, Message::LeaderInfo { .. }) {
            leading.links.insert(to, link);
        }
        if leading.links.get(&to).is_some_and(|&newest| newest != link) {
            let words = format!("{leader} says {message:?} to {to} on a link from before it came back");
            return Err(Violation::new(Checker::Leadership, words));
        }
        if !leading.on_said(at, link, message) {
            return Ok(());
        }
        let bound = self.bound;
        let words = format!("{leader} goes on with {to}, which has acknowledged nothing for {bound:?}");
        Err(Violation::new(Checker::Leadership, words))
    }

    fn on_ticked(&mut self, node: NodeId, now: SimTime, facts: &Facts) -> Result<(), Violation> {
        let Some(leading) = self.leaders.get_mut(node) else { return Ok(()) };
        leading.on_ticked(now, self.bound, self.tick);
        let Leading { since, heard, .. } = leading;
        if now.since(*since) <= self.bound {
            return Ok(());
        }
        let lately = heard.iter().filter(|&(_, &at)| now.since(at) <= self.bound).map(|(&node, _)| node);
        let lately = lately.chain([node]);
        if facts.backs(node, lately.clone()) {
            return Ok(());
        }
        let lately: Vec<NodeId> = lately.collect();
        let words = format!("{node} leads on, and has heard of {lately:?} alone for {:?}", self.bound);
        Err(Violation::new(Checker::Leadership, words))
    }
}

impl Check for Leaderships {
    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        self.leaders.follow(&record.what, || Leading::begin(record.at));
        match &record.what {
            Observed::Heard { node, from, link, message } => {
                self.on_heard(*node, *from, (*link, message), record.at);
            }
            Observed::Said { node, to, link, message, .. } => {
                return self.on_said(*node, *to, (*link, message), record.at);
            }
            Observed::Ticked { node, .. } => return self.on_ticked(*node, record.at, facts),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use zabra_core::server::Role;
    use zabra_core::types::Zxid;

    use super::*;
    use crate::check::testing::Story;
    use crate::link::LinkId;
    use crate::node::Standing;

    const L: NodeId = NodeId(0);
    const F: NodeId = NodeId(1);

    /// The leader of three hears of one now and then, for this long; then its clock is looked at after as long again.
    fn lead(heard_for: u64, silent_for: u64) -> Result<(), Violation> {
        let facts = Story::ensemble(3).judge.facts().clone();
        let mut check = Leaderships::new(Duration::from_millis(100), Duration::from_millis(300));
        let mut tell = |ms: u64, what| check.observe(&Record { at: SimTime(ms * 1_000_000), what }, &facts);
        let standing = Standing { role: Role::Leading, epoch: 1, leader: None };
        tell(0, Observed::RoleTaken { node: L, standing, mono: 0 })?;
        for ms in (0..=heard_for).step_by(50) {
            let message = Rc::new(Message::Ack { zxid: Zxid::new(1, 1) });
            tell(ms, Observed::Heard { node: L, from: F, link: LinkId(1), message })?;
            tell(ms, Observed::Ticked { node: L, mono: 0 })?;
        }
        tell(heard_for + silent_for, Observed::Ticked { node: L, mono: 0 })
    }

    /// A follower answers pings for this long, and acknowledges what it is sent or does not; the leader's clock is looked at
    /// every so often.
    fn follow(acknowledges: bool, ms: u64, every: u64) -> Result<(), Violation> {
        let facts = Story::ensemble(3).judge.facts().clone();
        let mut check = Leaderships::new(Duration::from_millis(100), Duration::from_millis(300));
        let mut tell = |ms: u64, what| check.observe(&Record { at: SimTime(ms * 1_000_000), what }, &facts);
        let standing = Standing { role: Role::Leading, epoch: 1, leader: None };
        tell(0, Observed::RoleTaken { node: L, standing, mono: 0 })?;
        let link = LinkId(1);
        let said = |message| Observed::Said { node: L, to: F, link, message: Rc::new(message), kept: None };
        let heard = |message| Observed::Heard { node: L, from: F, link, message: Rc::new(message) };
        let zxid = Zxid::new(1, 1);
        // What it was brought up to date with it need not acknowledge.
        tell(0, said(Message::Proposal { zxid: Zxid::new(0, 9), txn: bytes::Bytes::new() }))?;
        tell(0, said(Message::UpToDate))?;
        tell(0, said(Message::Proposal { zxid, txn: bytes::Bytes::new() }))?;
        for ms in (0..=ms).step_by(usize::try_from(every).expect("a short time")) {
            if acknowledges {
                tell(ms, heard(Message::Ack { zxid }))?;
            }
            tell(ms, heard(Message::Ping { zxid: Zxid::ZERO, touched: None }))?;
            tell(ms, said(Message::Ping { zxid, touched: None }))?;
            tell(ms, Observed::Ticked { node: L, mono: 0 })?;
        }
        Ok(())
    }

    #[test]
    fn p18_a_leader_gives_up_who_acknowledges_nothing() {
        assert_eq!(follow(true, 5_000, 50), Ok(()));
        assert_eq!(follow(false, 1_050, 50), Ok(()), "it may be slow, and a clock");
        let words = "n0 goes on with n1, which has acknowledged nothing for 1s";
        assert_eq!(follow(false, 1_100, 50), Err(Violation::new(Checker::Leadership, words)));
        assert_eq!(follow(false, 2_000, 500), Ok(()), "it stands still again and again");
    }

    #[test]
    fn p16_a_learner_that_came_back_is_talked_to_on_its_new_link() {
        let facts = Story::ensemble(3).judge.facts().clone();
        let mut check = Leaderships::new(Duration::from_millis(100), Duration::from_millis(300));
        let mut tell = |what| check.observe(&Record { at: SimTime(0), what }, &facts);
        let standing = Standing { role: Role::Leading, epoch: 1, leader: None };
        tell(Observed::RoleTaken { node: L, standing, mono: 0 }).unwrap();
        let mut said = |link, message| {
            let link = LinkId(link);
            tell(Observed::Said { node: L, to: F, link, message: Rc::new(message), kept: None })
        };
        let epoch = || Message::LeaderInfo { epoch: 1, protocol_version: 0x10000 };
        let ping = || Message::Ping { zxid: Zxid::ZERO, touched: None };
        assert_eq!(said(1, ping()), Ok(()), "it came before the leader was known to be one");
        assert_eq!([said(1, epoch()), said(1, ping())], [Ok(()), Ok(())]);
        assert_eq!([said(2, epoch()), said(2, ping())], [Ok(()), Ok(())]);
        assert!(said(1, ping()).unwrap_err().what.ends_with("on a link from before it came back"));
    }

    #[test]
    fn p18_a_learner_gives_up_that_hears_nothing() {
        let [tick, limit] = [100, 300].map(Duration::from_millis);
        assert_eq!(still_heard(F, Duration::from_secs(1), tick, limit), Ok(()));
        let violation = still_heard(F, Duration::from_millis(1_001), tick, limit).unwrap_err();
        assert_eq!(violation.checker, Checker::Leadership);
    }

    #[test]
    fn p18_a_leader_gives_up_that_no_quorum_is_heard_from() {
        assert_eq!(lead(5_000, 1_000), Ok(()), "a learner may be slow, and a clock");
        assert_eq!(lead(0, 1_000), Ok(()));
        assert!(lead(5_000, 1_001).unwrap_err().what.contains("n0 leads on"));
    }
}
