//! Members change (P19): what a server has in force was agreed on, by quorums of the old members and of the new ones, and
//! its configurations only get newer; a leader begins its epoch with one that is no older than those in its history.
//!
//! That a change had both quorums is looked at where it is committed, see [`super::ledger`], and where somebody relies on
//! it, see [`super::durability`]; here, that nobody acts by one that has come into force in no such way.

use std::collections::BTreeMap;

use zabra_core::types::{Message, Zxid};

use super::{Check, Checker, Facts, Violation};
use crate::clock::SimTime;
use crate::history::{Observed, Record};
use crate::places::{NodeId, node_of};
use crate::roster::Roster;

/// See the module.
#[derive(Debug, Default)]
pub struct Members {
    /// The newest that each process had in force.
    newest: BTreeMap<NodeId, Zxid>,
    /// What came into force in a turn that may not be over: a leader says UPTODATE behind it.
    new: Vec<(SimTime, NodeId, Zxid)>,
}

fn wrong<T>(words: String) -> Result<T, Violation> {
    Err(Violation::new(Checker::Members, words))
}

impl Members {
    fn judge_new(&mut self, now: SimTime, facts: &Facts) -> Result<(), Violation> {
        let over = self.new.extract_if(.., |(at, ..)| *at < now);
        for (_, node, version) in over {
            if !facts.configs().is_established(version) {
                return wrong(format!("{node} goes by the members of {version}, which nobody agreed on"));
            }
        }
        Ok(())
    }

    fn on_offered(&self, node: NodeId, zxid: Zxid, text: &[u8], facts: &Facts) -> Result<(), Violation> {
        let parsed = std::str::from_utf8(text).ok().and_then(Roster::parse);
        let Some((roster, version)) = parsed else {
            return wrong(format!("{node} begins {zxid} with what is no configuration"));
        };
        let version = Zxid(version);
        if facts.configs().get(version) != Some(roster) {
            return wrong(format!("{node} begins {zxid} with {roster} as {version}"));
        }
        // Whoever follows brings observers to what is in force, which is older than what may be in its log.
        if facts.standing(node).is_some() {
            return Ok(());
        }
        let inherited = facts.chain().meant_by(node, zxid);
        let missed = facts
            .configs()
            .changes()
            .find(|&change| change <= inherited && facts.chain().leads_to(inherited, change));
        match missed.filter(|&missed| missed > version) {
            Some(missed) => {
                wrong(format!("{node} begins {zxid} with the members of {version}, and has {missed}"))
            }
            None => Ok(()),
        }
    }
}

impl Check for Members {
    #[inline(always)]
    fn observe(&mut self, record: &Record, facts: &Facts) -> Result<(), Violation> {
        if !self.new.is_empty() {
            self.judge_new(record.at, facts)?;
        }
        match &record.what {
            Observed::Reconfigured { node, version, members } => {
                let (node, version) = (*node, Zxid(*version));
                let newest = self.newest.insert(node, version);
                if newest.is_some_and(|newest| newest >= version) {
                    return wrong(format!(
                        "{node} goes by the members of {version} after those of {newest:?}"
                    ));
                }
                let named = members.iter().map(|&member| node_of(member));
                if !facts.configs().get(version).is_some_and(|roster| roster.members().eq(named)) {
                    return wrong(format!("{node} takes {members:?} for the members of {version}"));
                }
                self.new.push((record.at, node, version));
                Ok(())
            }
            Observed::Said { node, message, .. } => match &**message {
                Message::NewLeader { zxid, config: Some(text) } => self.on_offered(*node, *zxid, text, facts),
                _ => Ok(()),
            },
            Observed::Crashed { node, .. } | Observed::Stopped { node, .. } => {
                self.newest.remove(node);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use bytes::Bytes;

    use super::*;
    use crate::check::testing::logged_change;
    use crate::link::LinkId;
    use crate::places::server_of;

    const L: NodeId = NodeId(0);
    const F: NodeId = NodeId(1);
    const CHANGE: Zxid = Zxid::new(1, 1);

    /// Three servers, a fourth of which the first change says that it is a member, and who is told what of it.
    struct Tale {
        facts: Facts,
        check: Members,
        at: SimTime,
        result: Result<(), Violation>,
    }

    impl Tale {
        fn begin() -> Self {
            let facts = Facts::new(Some(Roster::first(3, 0)));
            let mut tale = Self { facts, check: Members::default(), at: SimTime::ZERO, result: Ok(()) };
            tale.tell(Observed::Logged { node: L, record: logged_change(CHANGE, 4) });
            tale
        }

        fn tell(&mut self, what: Observed) {
            self.at.0 += 1_000_000;
            let record = Record { at: self.at, what };
            let Self { facts, check, result, .. } = self;
            if result.is_ok() {
                *result = facts.take(&record).and_then(|()| check.observe(&record, facts));
            }
        }

        fn says(&mut self, message: Message) {
            self.tell(Observed::Said {
                node: L,
                to: F,
                link: LinkId(1),
                message: Rc::new(message),
                kept: None,
            });
        }

        fn begins(&mut self, roster: Roster, version: Zxid) {
            let config = Some(Bytes::from(roster.text(version.0)));
            self.says(Message::NewLeader { zxid: Zxid::new(2, 0), config });
        }

        fn goes_by(&mut self, node: NodeId, count: usize, version: Zxid) {
            let members = (0..count).map(|index| server_of(NodeId(index))).collect();
            self.tell(Observed::Reconfigured { node, version: version.0, members });
            self.tell(Observed::Healed);
        }

        #[track_caller]
        fn expect_violation(&self, words: &str) {
            let violation = self.result.clone().unwrap_err();
            assert!(violation.checker == Checker::Members && violation.what.contains(words), "{violation}");
        }
    }

    #[test]
    fn p19_nobody_goes_by_members_that_nobody_agreed_on() {
        for agreed in [true, false] {
            let mut tale = Tale::begin();
            tale.begins(Roster::first(4, 0), CHANGE);
            if agreed {
                tale.says(Message::UpToDate);
            }
            tale.goes_by(F, 4, CHANGE);
            match agreed {
                true => assert_eq!(tale.result, Ok(())),
                false => tale.expect_violation("which nobody agreed on"),
            }
        }
    }

    #[test]
    fn p19_members_are_those_of_the_change_and_none_of_before() {
        let mut tale = Tale::begin();
        tale.begins(Roster::first(4, 0), CHANGE);
        tale.says(Message::UpToDate);
        tale.goes_by(F, 4, CHANGE);
        tale.goes_by(F, 3, Zxid::new(1, 0));
        tale.expect_violation("n1 goes by the members of 0x100000000 after");
        let mut tale = Tale::begin();
        tale.goes_by(F, 3, CHANGE);
        tale.expect_violation("for the members of 0x100000001");
    }

    #[test]
    fn p19_who_leads_begins_with_the_newest_members_in_its_history() {
        let mut tale = Tale::begin();
        tale.begins(Roster::first(3, 0), Zxid::new(1, 0));
        tale.expect_violation("begins 0x200000000 with the members of 0x100000000, and has 0x100000001");
        let mut tale = Tale::begin();
        tale.begins(Roster::first(3, 0), CHANGE);
        tale.expect_violation("begins 0x200000000 with n0 n1 n2 as");
    }
}
