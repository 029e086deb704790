//! Cuts: ways between two nodes on which nothing gets through for a while, in one direction or both.
//!
//! A cut tells nobody. What is on its way is held back and arrives when the cut is mended; so does the news that a
//! link was closed; and who dials across a cut waits. Clients have ways of their own, which are not cut here.

use super::{Event, World};
use crate::clock::SimTime;
use crate::link::{End, LinkId};
use crate::places::{NodeId, Party};

/// Until when the way from one node to another is cut.
#[derive(Clone, Debug)]
pub(super) struct Cuts {
    until: Vec<Vec<SimTime>>,
}

impl Cuts {
    /// No cuts among so many nodes.
    pub(super) fn new(nodes: usize) -> Self {
        Self { until: vec![vec![SimTime::ZERO; nodes]; nodes] }
    }
}

impl World {
    /// Whether nothing gets from one node to another.
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cuts.until[from.0][to.0] > self.now
    }

    /// Lets nothing get from one node to another before `until`.
    pub fn cut(&mut self, from: NodeId, to: NodeId, until: SimTime) {
        let cut = &mut self.cuts.until[from.0][to.0];
        *cut = (*cut).max(until);
        for (id, end) in self.ends_at(from, to) {
            let state = self.links.get_mut(id).expect("just listed");
            for at in state.link.hold(end, until) {
                self.schedule(at, Event::Arrive { link: id, to: end });
            }
        }
    }

    /// Cuts all ways between nodes of different groups, both ways. A node that is in no group is not cut off.
    pub fn partition(&mut self, groups: &[Vec<NodeId>], until: SimTime) {
        for (index, group) in groups.iter().enumerate() {
            for other in
                groups.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, group)| group)
            {
                for &from in group {
                    for &to in other {
                        self.cut(from, to, until);
                    }
                }
            }
        }
    }

    /// Lets everything get from one node to another again.
    pub fn mend(&mut self, from: NodeId, to: NodeId) {
        self.cuts.until[from.0][to.0] = SimTime::ZERO;
        for (id, end) in self.ends_at(from, to) {
            let soon = self.now + self.latency();
            let state = self.links.get_mut(id).expect("just listed");
            if state.link.held_until(end) <= soon {
                continue;
            }
            let arrivals = state.link.release(end, soon);
            let (last, close_due) = (state.link.last_arrival(end), state.close_due == Some(end));
            for at in arrivals {
                self.schedule(at, Event::Arrive { link: id, to: end });
            }
            if close_due {
                self.schedule(SimTime(last.0 + 1), Event::Close { link: id, to: end });
            }
        }
    }

    /// Mends all cuts.
    pub fn mend_all(&mut self) {
        for from in 0..self.nodes.len() {
            for to in (0..self.nodes.len()).filter(|&to| to != from) {
                self.mend(NodeId(from), NodeId(to));
            }
        }
    }

    /// The ends at `to` of links with `from`.
    fn ends_at(&self, from: NodeId, to: NodeId) -> Vec<(LinkId, End)> {
        let (from, to) = (Party::Node(from), Party::Node(to));
        self.links
            .iter()
            .flat_map(|(id, state)| [End::Acceptor, End::Dialer].map(|end| (id, end, &state.link)))
            .filter(|(_, end, link)| link.party(*end) == to && link.party(end.other()) == from)
            .map(|(id, end, _)| (id, end))
            .collect()
    }
}
