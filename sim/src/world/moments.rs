//! Misfortune at the worst moment: right when a server says or does something that its protocol hangs on.
//!
//! Faults that come at random times seldom fall between two steps that follow each other at once. Those that are tied
//! to a step do: between a promise and the epoch that it is for, between the epoch and its first commit, between a cut
//! of the log and what comes behind it. What happens all the time (proposals, acknowledgements, syncs) is struck more
//! rarely, in proportion.
//!
//! What went wrong once goes wrong again where its cause has not gone: now and then the same happens to the same server
//! whenever it takes the same step, a few times in a row. A server that dies each time it has promised an epoch leads
//! others into states that no single fault does.
//!
//! They are the one kind that depends on what servers do: where another fault is left out there are other moments from
//! then on.

use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use zabra_core::server::Role;
use zabra_core::types::Message;

use super::faults::FaultStream;
use super::{Event, World};
use crate::check::Violation;
use crate::ending::Crash;
use crate::fault::{Drawn, Fault, FaultKind, Harm, Step};
use crate::history::Observed;
use crate::places::{NodeId, Party};

/// For one strike at what happens all the time there are this many at what is rare.
const COMMON: u32 = 80;

/// Something to be struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    /// Which of all moments.
    number: u32,
    /// Who did something, how much of the longest time it takes, and what happens to whom.
    drawn: Drawn,
    /// With whom.
    other: Option<NodeId>,
}

/// How long after a step something goes wrong: at once, or while what follows from the step is under way.
const DELAYS: [Duration; 5] = [
    Duration::ZERO,
    Duration::ZERO,
    Duration::from_micros(30),
    Duration::from_micros(300),
    Duration::from_millis(3),
];

/// Odds per million that a moment comes again, and how often at most.
const AGAIN: u32 = 300_000;
const AGAIN_MAX: u64 = 3;

/// A step, of whatever epoch or transaction.
type Shape = (Discriminant<Observed>, Option<Discriminant<Message>>);

/// What is struck whenever it comes, without a draw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again {
    shape: Shape,
    left: u64,
    delay: Duration,
    drawn: Drawn,
}

impl World {
    /// Decides whether what was just seen is the moment for something to go wrong.
    pub(super) fn watch_for_moment(&mut self, what: &Observed) {
        let odds = self.options.faults.moment;
        if odds == 0 || self.healed {
            return;
        }
        let Some((node, other, step)) = step(what) else { return };
        if let Some(again) = self.again.as_mut().filter(|it| (it.drawn.node, it.shape) == (node, shape(what)))
        {
            again.left -= 1;
            let Again { left, delay, drawn, .. } = *again;
            if left == 0 {
                self.again = None;
            }
            return self.schedule_moment(drawn, other, delay);
        }
        if self.now < self.next_moment {
            return;
        }
        if self.options.faults.moment_focus.is_some_and(|focus| focus != step) {
            return;
        }
        let FaultStream { rng, .. } = self.faults(FaultKind::Moment);
        if !rng.chance(if step == Step::Common { odds / COMMON } else { odds }) {
            return;
        }
        let delay = *rng.pick(&DELAYS);
        let drawn = Drawn { node, share: rng.below(1_000_000) as u32, choice: rng.bits() };
        let (comes_again, left) = (rng.chance(AGAIN), rng.within(1, AGAIN_MAX));
        self.next_moment = self.now + self.options.faults.moment_pause;
        if comes_again && step != Step::Common {
            self.again = Some(Again { shape: shape(what), left, delay, drawn });
        }
        self.schedule_moment(drawn, other, delay);
    }

    fn schedule_moment(&mut self, drawn: Drawn, other: Option<NodeId>, delay: Duration) {
        let FaultStream { count, .. } = self.faults(FaultKind::Moment);
        *count += 1;
        let moment = Moment { number: *count, drawn, other };
        self.schedule(self.now + delay, Event::Moment(Box::new(moment)));
    }

    /// It is the moment.
    pub(super) fn on_moment(&mut self, moment: Moment) -> Result<(), Violation> {
        if self.healed {
            return Ok(());
        }
        let Moment { number, drawn, other } = moment;
        let Drawn { node, choice, .. } = drawn;
        let fault = Fault { kind: FaultKind::Moment, number };
        if self.options.omissions.omits(fault) {
            return Ok(());
        }
        self.counts.moments += 1;
        // Mostly whoever did it, sometimes who is about to learn of it.
        let (struck, other) = match other {
            Some(other) if choice & 3 == 0 => (other, Some(node)),
            other => (node, other),
        };
        let aimed = Drawn { node: struck, ..drawn };
        let harm = match (choice >> 2 & 15, other) {
            (0..=4, _) => self.strike_down(vec![struck], Crash::Unpowered),
            (5 | 6, _) => self.strike_down(vec![struck], Crash::Killed),
            (7..=9, Some(other)) => self.strike_way(aimed, other),
            (10 | 11, _) => self.stall_disk(aimed),
            _ => self.freeze(aimed),
        };
        self.strike(fault, drawn, harm)
    }

    /// The way to another node, from it, or both, is cut for a while.
    fn strike_way(&mut self, drawn: Drawn, other: NodeId) -> Option<Harm> {
        let (node, which) = (drawn.node, drawn.choice >> 6 & 3);
        let lasts = drawn.part(self.options.faults.cut_max);
        let until = self.now + lasts;
        if which != 0 {
            self.cut(node, other, until);
        }
        if which != 1 {
            self.cut(other, node, until);
        }
        let arrow = ["from", "to", "and", "and"][which as usize & 3];
        let words = format!("the way between {node} {arrow} {other} is cut for {lasts:?}");
        Some(Harm::to_all(FaultKind::Cut, vec![Party::Node(node), Party::Node(other)], lasts, words))
    }
}

fn shape(what: &Observed) -> Shape {
    let message = match what {
        Observed::Said { message, .. } => Some(discriminant(&**message)),
        _ => None,
    };
    (discriminant(what), message)
}

/// Who takes a step, with whom, and what it is about; nothing, if it is none.
fn step(what: &Observed) -> Option<(NodeId, Option<NodeId>, Step)> {
    match what {
        Observed::EpochAccepted { node, .. } => Some((*node, None, Step::Promise)),
        Observed::EpochCurrent { node, .. } => Some((*node, None, Step::Begin)),
        Observed::Replaced { node, .. } => Some((*node, None, Step::Promise)),
        Observed::Reconfigured { node, .. } => Some((*node, None, Step::Begin)),
        Observed::RoleTaken { node, standing, .. } if standing.role != Role::Looking => {
            Some((*node, None, Step::Begin))
        }
        Observed::Rewound { node, .. } => Some((*node, None, Step::Synchronize)),
        Observed::Logged { node, .. } | Observed::Synced { node, .. } => Some((*node, None, Step::Common)),
        Observed::Said { node, to, message, .. } => Some((*node, Some(*to), step_of(message)?)),
        _ => None,
    }
}

fn step_of(message: &Message) -> Option<Step> {
    match message {
        Message::Ping { .. } => None,
        Message::AckEpoch { .. }
        | Message::FollowerInfo { .. }
        | Message::LeaderInfo { .. }
        | Message::ObserverInfo { .. } => Some(Step::Promise),
        Message::Diff { .. } | Message::NewLeader { .. } | Message::Snap { .. } | Message::Trunc { .. } => {
            Some(Step::Synchronize)
        }
        Message::UpToDate | Message::CommitAndActivate { .. } | Message::InformAndActivate { .. } => {
            Some(Step::Begin)
        }
        Message::Ack { zxid } if zxid.begins_epoch() => Some(Step::Begin),
        Message::Ack { .. }
        | Message::Commit { .. }
        | Message::Inform { .. }
        | Message::Proposal { .. }
        | Message::Request { .. }
        | Message::Revalidate { .. }
        | Message::Revalidated { .. }
        | Message::Sync => Some(Step::Common),
    }
}
