//! What leaders say, and followers that bring an observer up to date: epochs, histories, proposals and commits.

use zabra_core::types::{Message, Zxid};

use super::{Ledger, Said, may_equal};
use crate::check::Violation;
use crate::check::chain::{hides_past, may_follow};

impl Ledger {
    /// A leader says something.
    pub(super) fn leader_says(&mut self, said: Said<'_>) -> Result<(), Violation> {
        match *said.message {
            Message::LeaderInfo { epoch, .. } => self.on_leader_info(said, epoch),
            Message::NewLeader { zxid, .. } => self.on_new_leader(said, zxid),
            Message::UpToDate => self.on_up_to_date(said),
            Message::Snap { zxid } | Message::Trunc { zxid } => {
                let talk = self.talk(said.link);
                talk.end = (!hides_past(zxid)).then_some(zxid);
                talk.pending.clear();
                Ok(())
            }
            Message::Proposal { zxid, .. } => {
                self.propose(said, zxid)?;
                self.talk(said.link).pending.push_back(zxid);
                Ok(())
            }
            Message::Inform { zxid, .. } | Message::InformAndActivate { zxid, .. } => {
                self.propose(said, zxid)?;
                self.decide(said, zxid)
            }
            Message::Commit { zxid } | Message::CommitAndActivate { zxid, .. } => {
                let next = self.talk(said.link).pending.pop_front();
                if next != Some(zxid) {
                    let (to, next) = (said.to, next.unwrap_or_default());
                    return said.wrong(format_args!("COMMIT {zxid} to {to}, next in line is {next}"));
                }
                self.decide(said, zxid)
            }
            _ => Ok(()),
        }
    }

    /// A leader proposes an epoch, or a follower announces the one that it serves in.
    fn on_leader_info(&mut self, said: Said<'_>, epoch: i64) -> Result<(), Violation> {
        let follows = self.follows.get(&said.node).filter(|(follows, _)| *follows == epoch);
        let led_by = follows.map(|&(_, leader)| leader);
        let talk = self.talk(said.link);
        (talk.epoch, talk.led_by) = (Some(epoch), led_by);
        if led_by.is_some() {
            return relayed(said, epoch);
        }
        let is_new = self.proposed.insert(said.node, epoch) != Some(epoch);
        if let Some(kept) = said.kept {
            // Once the epoch has begun it is the epoch's own, and nobody's promise is waited for any more.
            let support = self.support(said.node, epoch);
            support.own = support.own.max(Some((kept.current, kept.last)));
            if kept.accepted != epoch {
                let accepted = kept.accepted;
                return said.wrong(format_args!("LEADERINFO {epoch}, its own disk has {accepted}"));
            }
        }
        // It is later than what each of a quorum had promised; those who come later find it so, whoever else votes by then.
        let introduced = self.introduced.entry(said.node).or_default();
        let later = introduced.iter().filter(|&(_, &accepted)| accepted < epoch).map(|(&node, _)| node);
        if !is_new || said.facts.may_back(said.node, later.chain([said.node])) {
            return Ok(());
        }
        said.wrong(format_args!("LEADERINFO {epoch}, introduced were {introduced:?}"))
    }

    /// A leader has said all of the history that its epoch begins with.
    fn on_new_leader(&mut self, said: Said<'_>, zxid: Zxid) -> Result<(), Violation> {
        let epoch = i64::from(zxid.epoch());
        if let Some(kept) = said.kept.filter(|kept| kept.current != epoch) {
            let current = kept.current;
            return said.wrong(format_args!("NEWLEADER {zxid}, its own disk has epoch {current}"));
        }
        let talk = self.talk(said.link);
        if talk.epoch != Some(epoch) {
            return said.wrong(format_args!("NEWLEADER {zxid} after LEADERINFO {:?}", talk.epoch));
        }
        let inherited = said.meaning(zxid);
        talk.inherited = Some(inherited);
        if let Some(end) = talk.end
            && !may_equal(end, inherited)
            && i64::from(end.epoch()) != epoch
        {
            let words = format_args!("NEWLEADER {zxid} behind {end}, its own history ends with {inherited}");
            return said.wrong(words);
        }
        let leader = talk.led_by.unwrap_or(said.node);
        // What is in force, and what is to be with this epoch.
        let configs = said.facts.configs();
        let offered = configs.offered(leader, epoch);
        let support = self.support(leader, epoch);
        if support.needed.is_empty() {
            let ruling = (!configs.is_established(offered)).then(|| configs.ruling());
            support.needed = configs.get(offered).into_iter().chain(ruling).collect();
        }
        let promised = &support.promised;
        if !support.has_all(promised.iter().copied().chain([leader])) {
            return said.wrong(format_args!("NEWLEADER {zxid}, promised it was by {promised:?}"));
        }
        let committed = said.facts.committed_before(epoch);
        if !said.facts.chain().leads_to(inherited, committed) {
            let words = format_args!("NEWLEADER {zxid} with a history without {committed}, committed");
            return said.wrong(words);
        }
        Ok(())
    }

    fn on_up_to_date(&mut self, said: Said<'_>) -> Result<(), Violation> {
        let talk = self.talk(said.link);
        let (Some(epoch), Some(inherited)) = (talk.epoch, talk.inherited) else {
            return said.wrong("UPTODATE before NEWLEADER");
        };
        let leader = talk.led_by.unwrap_or(said.node);
        let own = (said.facts.durable(leader) >= inherited).then_some(leader);
        let support = self.support(leader, epoch);
        let begun = &support.begun;
        if support.has_all(begun.iter().copied().chain(own)) {
            return Ok(());
        }
        said.wrong(format_args!("UPTODATE in epoch {epoch}, acknowledged it was by {begun:?}"))
    }

    fn propose(&mut self, said: Said<'_>, zxid: Zxid) -> Result<(), Violation> {
        let Some(end) = self.talk(said.link).end.replace(zxid) else { return Ok(()) };
        let follows = match said.facts.chain().parent(zxid) {
            Some(parent) => parent == end,
            None => may_follow(end, zxid),
        };
        if follows { Ok(()) } else { said.wrong(format_args!("PROPOSAL {zxid} behind {end}")) }
    }

    /// A leader calls a transaction of its epoch committed.
    fn decide(&mut self, said: Said<'_>, zxid: Zxid) -> Result<(), Violation> {
        let talk = self.talk(said.link);
        let Some(epoch) = talk.epoch.filter(|&epoch| i64::from(zxid.epoch()) == epoch) else { return Ok(()) };
        let leader = talk.led_by.unwrap_or(said.node);
        let support = self.support(leader, epoch);
        if zxid <= support.decided {
            return Ok(());
        }
        let acked = &support.acked;
        let own = (said.facts.durable(leader) >= zxid).then_some(leader);
        let have_it = acked.iter().filter(|&(_, &acked)| acked >= zxid).map(|(&node, _)| node);
        let have_it = have_it.chain(own);
        if said.facts.configs().needed(leader, epoch, zxid).all(|roster| roster.is_quorum(have_it.clone())) {
            support.decided = zxid;
            return Ok(());
        }
        said.wrong(format_args!(
            "COMMIT {zxid}, acknowledged it was {acked:?}, durable at the leader: {}",
            own.is_some()
        ))
    }
}

/// A follower announces the epoch that it serves in.
fn relayed(said: Said<'_>, epoch: i64) -> Result<(), Violation> {
    match said.kept.filter(|kept| kept.accepted != epoch || kept.current != epoch) {
        Some(kept) => {
            let (accepted, current) = (kept.accepted, kept.current);
            said.wrong(format_args!("LEADERINFO {epoch}, promised {accepted}, with the history of {current}"))
        }
        None => Ok(()),
    }
}
