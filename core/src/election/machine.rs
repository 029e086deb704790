//! Fast leader election: notifications in, decision out.
//!
//! ```text
//!            look                    a quorum votes alike, or follows somebody who leads
//!   Idle ───────────▶  Looking  ────────────────────────────────────────────────────────▶  Settled
//!                         ▲                              look                                 │
//!                         └───────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A server that looks begins a round with a vote for itself and tells every voter. It takes over each better vote
//! that it hears ([`super::vote::beats`]) and tells everybody again, so in the end all that can talk to each other
//! vote alike. Who hears of a later round joins it and forgets what was said in earlier ones. A server that is
//! settled answers those who look with the leader that it has, and who looks joins once a quorum and the leader
//! itself say the same.
//!
//! The election promises nothing: two servers may decide differently, or on one that is gone. Only an epoch that a
//! quorum accepted makes a leader; here it is only about who should try, and that it rarely be in vain.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::time::Duration;

use super::view::View;
use super::vote::{BLANK, HeardVote, NOBODY, beats};
use crate::config::EnsembleConfig;
use crate::time::Instant;
use crate::types::{Membership, Notification, OwnHistory, PeerState, ServerId, Vote, Zxid};
use crate::wire::election::{NOTIFICATION_VERSION, config_version};

/// How many servers without a vote are remembered as waiting for an answer. Those beyond ask again by themselves.
const WAITING_MAX: usize = 256;

/// What an election asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElectionOutput {
    /// The election is over for this server.
    Decided {
        /// The vote that won.
        vote: Vote,
        /// What this server is to do: lead, follow or observe.
        state: PeerState,
    },
    /// Those whose votes made the decision have turned away: a leader lost its quorum of votes, or a follower's
    /// leader looks for one itself. Whoever has not begun to serve may as well look again at once, where it would
    /// wait for nothing; afterwards this says nothing, for servers that joined later are not counted.
    Doubted,
    /// A server that looks heard of a configuration newer than its own (PARITY `fle.config`). If it is adopted, call
    /// [`Election::look`] again before any other output is taken; else ignore this, it is said once per version.
    NewerConfig {
        /// The configuration.
        config: Membership,
    },
    /// Tell a server.
    Send {
        /// Whom.
        to: ServerId,
        /// What.
        notification: Notification,
    },
}

/// The election as one server sees it.
#[derive(Debug)]
pub struct Election {
    me: ServerId,
    finalize_wait: Duration,
    interval_min: Duration,
    interval_max: Duration,
    /// The round, ZooKeeper's logical clock.
    round: i64,
    phase: Phase,
    /// Servers that can be heard: what they send will arrive.
    reachable: BTreeSet<ServerId>,
    /// Servers that looked, and are owed word of what comes of this election. At most all voters and
    /// [`WAITING_MAX`].
    waiting: BTreeSet<ServerId>,
    /// The newest version of a configuration that was reported since this server began to look.
    config_reported: i64,
    outputs: VecDeque<ElectionOutput>,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Looking(Looking),
    Settled(Settled),
}

#[derive(Debug)]
struct Looking {
    view: View,
    /// What this server votes for as long as it heard of nothing better.
    own: Vote,
    has_data: bool,
    proposal: Vote,
    /// What was heard in this round from voters, this server included; those that are settled among them if they
    /// decided in the same round.
    votes: BTreeMap<ServerId, HeardVote>,
    /// What was heard from voters that are settled, of whatever round (PARITY `fle.joinrunning`).
    settled: BTreeMap<ServerId, HeardVote>,
    /// When the own vote is told again, in case it was lost.
    resend_at: Instant,
    interval: Duration,
    /// A quorum agrees with `proposal`; when to stop waiting for better votes.
    finalize_at: Option<Instant>,
    /// Candidates that were given up once because they could not be reached.
    given_up: BTreeSet<ServerId>,
}

#[derive(Debug)]
struct Settled {
    view: View,
    state: PeerState,
    vote: Vote,
    round: i64,
    /// Whose votes made the decision, without those who turned away.
    supporters: BTreeSet<ServerId>,
    doubted: bool,
    /// Whether `vote` has the epoch that the leader begins with it, rather than the one before.
    epoch_begun: bool,
}

impl Election {
    /// A server that does not take part yet: it answers nobody, for now.
    pub const fn new(me: ServerId, config: &EnsembleConfig) -> Self {
        Self {
            me,
            finalize_wait: config.finalize_wait,
            interval_min: config.notification_interval_min,
            interval_max: config.notification_interval_max,
            round: 0,
            phase: Phase::Idle,
            reachable: BTreeSet::new(),
            waiting: BTreeSet::new(),
            config_reported: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Begins a round: the server has no leader, or its configuration changed while it was looking for one. Outputs
    /// that were not taken yet are void. What `own` says must be durable: a quorum may elect this server because of
    /// it.
    pub fn look(&mut self, now: Instant, own: OwnHistory, view: View) {
        self.outputs.clear();
        self.config_reported = 0;
        // A peer that claims the last of all rounds starts them over; nobody is stuck behind it.
        self.round = self.round.wrapping_add(1);
        let has_data = own.has_data;
        let own = if view.is_observer(self.me) {
            BLANK
        } else {
            let leader = if view.is_candidate(self.me) { self.me } else { ServerId(NOBODY) };
            Vote { leader, zxid: own.voted_zxid(), peer_epoch: own.current_epoch }
        };
        self.phase = Phase::Looking(Looking {
            view,
            own,
            has_data,
            proposal: own,
            votes: BTreeMap::new(),
            settled: BTreeMap::new(),
            resend_at: now + self.interval_min,
            interval: self.interval_min,
            finalize_at: None,
            given_up: BTreeSet::new(),
        });
        self.tell_all(now);
        self.try_finish(now);
    }

    /// The leader is known without an election. Outputs that were not taken yet are void.
    pub fn follow(&mut self, view: View, vote: Vote, state: PeerState) {
        self.outputs.clear();
        let supporters = view.voters();
        let (round, doubted, epoch_begun) = (self.round, false, false);
        self.phase = Phase::Settled(Settled { view, state, vote, round, supporters, doubted, epoch_begun });
    }

    /// What the election led to is over, and what this server is going to claim next may not be durable yet: until it
    /// looks again, or follows, it says nothing; least of all that it leads, or whom it follows. Who asks is told what
    /// comes of it then. Outputs that were not taken yet are void.
    pub fn leave(&mut self) {
        self.outputs.clear();
        self.phase = Phase::Idle;
    }

    /// The epoch that the leader begins is known: who asks from now on is told of it, and who asked before is told
    /// again. Servers of one ensemble must name the same epoch, or nobody could join them (ZOOKEEPER-1732).
    pub fn on_epoch(&mut self, epoch: i64) {
        let Phase::Settled(settled) = &mut self.phase else { return };
        settled.vote.peer_epoch = epoch;
        settled.epoch_begun = true;
        self.answer_waiting();
    }

    /// What those who look are told by a server that has a leader.
    pub fn answer(&self) -> Option<Notification> {
        match &self.phase {
            Phase::Settled(settled) => Some(settled.answer()),
            Phase::Idle | Phase::Looking(_) => None,
        }
    }

    /// The configuration changed while the server had a leader.
    pub fn on_view(&mut self, view: View) {
        match &mut self.phase {
            Phase::Settled(settled) => settled.view = view,
            Phase::Idle | Phase::Looking(_) => {}
        }
    }

    /// Whether votes can be sent to a server, and come from it.
    pub fn is_reachable(&self, server: ServerId) -> bool {
        self.reachable.contains(&server)
    }

    /// Whether the server can be heard: a link to it stands. Missing votes of those that cannot be are not waited
    /// for.
    pub fn set_reachable(&mut self, now: Instant, server: ServerId, reachable: bool) {
        if !reachable {
            self.reachable.remove(&server);
            self.waiting.remove(&server);
        } else if self.reachable.insert(server)
            && let Phase::Looking(looking) = &self.phase
            && looking.view.is_voter(server)
        {
            let notification = looking.ballot(self.round);
            self.outputs.push_back(ElectionOutput::Send { to: server, notification });
        }
        self.try_finish(now);
    }

    /// Another server said something. `from` is who it said it is when it connected; nobody has checked.
    pub fn on_notification(&mut self, now: Instant, from: ServerId, notification: &Notification) {
        if from == self.me {
            return;
        }
        match &self.phase {
            Phase::Idle if notification.state == PeerState::Looking => self.remember_waiting(from),
            Phase::Idle => {}
            Phase::Looking(looking) => {
                let newest = looking.view.version().max(self.config_reported);
                if let Some(config) = newer_config(&notification.config, newest) {
                    self.config_reported = config.version();
                    self.outputs.push_back(ElectionOutput::NewerConfig { config });
                }
                if looking.view.is_voter(from) {
                    self.on_vote(now, from, notification);
                } else if notification.state == PeerState::Looking {
                    // ZooKeeper answers at once, with the leader of the election before. Nobody can make use of
                    // that; who asks is told what comes of this one.
                    self.remember_waiting(from);
                }
            }
            Phase::Settled(_) => self.on_question(from, notification),
        }
    }

    /// Time has passed. Early and repeated calls do no harm.
    pub fn on_tick(&mut self, now: Instant) {
        let Phase::Looking(looking) = &mut self.phase else { return };
        if looking.finalize_at.is_some_and(|at| at <= now) {
            self.finish(now);
            return;
        }
        if looking.resend_at <= now {
            looking.interval = (looking.interval * 2).min(self.interval_max);
            self.tell_all(now);
            self.try_finish(now);
        }
    }

    /// When [`Election::on_tick`] is next worth calling.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Looking(looking) => {
                Some(looking.finalize_at.map_or(looking.resend_at, |at| at.min(looking.resend_at)))
            }
            Phase::Idle | Phase::Settled(_) => None,
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<ElectionOutput> {
        self.outputs.pop_front()
    }

    /// What the server is doing, as far as the election knows. [`PeerState::Looking`] before the first round.
    pub const fn state(&self) -> PeerState {
        match &self.phase {
            Phase::Idle | Phase::Looking(_) => PeerState::Looking,
            Phase::Settled(settled) => settled.state,
        }
    }

    /// The round that the server is in, or in which it decided.
    pub const fn round(&self) -> i64 {
        self.round
    }

    /// A voter said something while this server looks.
    fn on_vote(&mut self, now: Instant, from: ServerId, notification: &Notification) {
        let Phase::Looking(looking) = &mut self.phase else { return };
        let looks = notification.state == PeerState::Looking;
        if looks && notification.election_epoch < self.round {
            // It lags behind; with this it joins the round.
            let notification = looking.ballot(self.round);
            self.outputs.push_back(ElectionOutput::Send { to: from, notification });
            return;
        }
        if !looking.view.is_voter(notification.vote.leader) {
            if looks {
                self.remember_waiting(from);
            }
            return;
        }
        match notification.state {
            PeerState::Looking => self.on_looking(now, from, notification),
            PeerState::Following | PeerState::Leading => self.on_settled(now, from, notification),
            // Who observes says nothing about votes.
            PeerState::Observing => {}
        }
    }

    /// A voter that looks, in this round or a later one.
    fn on_looking(&mut self, now: Instant, from: ServerId, notification: &Notification) {
        let Phase::Looking(looking) = &mut self.phase else { return };
        let vote = notification.vote;
        if !looking.has_data || vote.zxid == Zxid::UNKNOWN {
            self.remember_waiting(from);
            return;
        }
        let weight = looking.view.weight(vote.leader);
        let weight_of_proposal = looking.view.weight(looking.proposal.leader);
        let later = notification.election_epoch > self.round;
        if later && looking.finalize_at.is_some() && !beats(&vote, weight, &looking.proposal) {
            // A quorum agrees already, and others of it may have decided. Joining the later round would take a vote
            // away that they counted, and leave a leader without followers; ZooKeeper, too, looks only at better
            // votes here. The sender learns who leads in a moment.
            self.remember_waiting(from);
            return;
        }
        if later {
            self.round = notification.election_epoch;
            looking.votes.clear();
            looking.proposal = if beats(&vote, weight, &looking.own) { vote } else { looking.own };
            looking.finalize_at = None;
            self.tell_all(now);
        } else if beats(&vote, weight, &looking.proposal) {
            looking.proposal = vote;
            looking.finalize_at = None;
            self.tell_all(now);
        } else if beats(&looking.proposal, weight_of_proposal, &vote) {
            // It may have begun to look after this server told everybody, and would hear the better vote only when
            // that is told again. Of two servers only one answers so, whatever weights they go by.
            let notification = looking.ballot(self.round);
            self.outputs.push_back(ElectionOutput::Send { to: from, notification });
        }
        if let Phase::Looking(looking) = &mut self.phase {
            let heard = HeardVote { vote, round: self.round, state: PeerState::Looking, version: 0 };
            looking.votes.insert(from, heard);
        }
        self.try_finish(now);
    }

    /// A voter that has a leader (PARITY `fle.joinrunning`).
    fn on_settled(&mut self, now: Instant, from: ServerId, notification: &Notification) {
        let me = self.me;
        let current_round = self.round;
        let Phase::Looking(looking) = &mut self.phase else { return };
        let Notification { state, vote, election_epoch: round, version, .. } = *notification;
        let heard = HeardVote { vote, round, state, version };
        if vote.leader == me && !looking.has_data {
            return;
        }
        if round == current_round {
            looking.votes.insert(from, heard);
        }
        looking.settled.insert(from, heard);
        let decided = [&looking.votes, &looking.settled].into_iter().find_map(|votes| {
            let supporters = agreeing(votes, &heard);
            // Followers may not have noticed that their leader is gone, so it must say itself that it leads. This
            // server knows best about itself: it does not lead, but may take up the leadership that a quorum gave
            // it in this very round. In any other round that would be a relapse: those who look would elect in
            // their round, and no two groups of servers would ever name the same one (ZOOKEEPER-1514).
            let (leads, is_quorum) = if vote.leader == me {
                (round == current_round, looking.view.has_quorums(&supporters))
            } else {
                let leader = votes.get(&vote.leader);
                let leads = leader.is_some_and(|heard| heard.state == PeerState::Leading);
                (leads, looking.view.is_led_by(&supporters))
            };
            (leads && is_quorum).then_some(supporters)
        });
        if let Some(supporters) = decided {
            // The leader knows best what it was elected for: who follows it may have gone to it for a vote from before.
            let zxid = looking.settled.get(&vote.leader).map_or(vote.zxid, |heard| heard.vote.zxid);
            self.round = round;
            self.settle(Vote { zxid, ..vote }, supporters);
            return;
        }
        if looking.finalize_at.is_some() {
            self.try_finish(now);
        }
    }

    /// Somebody said something while this server has a leader.
    fn on_question(&mut self, from: ServerId, notification: &Notification) {
        let Phase::Settled(settled) = &mut self.phase else { return };
        if notification.state != PeerState::Looking {
            // ZooKeeper answers servers without a vote whatever they do. Two servers that hold each other for such
            // would never stop.
            return;
        }
        let answer = settled.answer();
        self.outputs.push_back(ElectionOutput::Send { to: from, notification: answer });
        let round_differs = notification.election_epoch != settled.round;
        match settled.state {
            PeerState::Leading if settled.view.is_voter(from) => {
                if round_differs || notification.vote.leader != self.me {
                    settled.supporters.remove(&from);
                } else {
                    settled.supporters.insert(from);
                }
                settled.doubt(!settled.view.has_quorums(&settled.supporters), &mut self.outputs);
            }
            // What the leader said in an earlier round may have been under way for longer than the decision.
            PeerState::Following | PeerState::Observing if from == settled.vote.leader => {
                let later = notification.election_epoch > settled.round;
                let other = !round_differs && notification.vote.leader != from;
                settled.doubt(later || other, &mut self.outputs);
            }
            PeerState::Looking | PeerState::Leading | PeerState::Following | PeerState::Observing => {}
        }
        if !settled.epoch_begun {
            self.remember_waiting(from);
        }
    }

    /// Ends the election if a quorum agrees with this server's vote and nobody need be waited for.
    ///
    /// ZooKeeper waits in any case, 200 ms from when a quorum agrees, lest a better vote be under way. But a vote
    /// can only be under way from a voter that a link leads to. Where all those agree already there is no better
    /// one: they would have sent it in this place. And whoever no link leads to cannot send one, most of all the
    /// leader that was just killed. So in these two cases, which are nearly all, the wait would be for nothing, and
    /// it is most of the time that an ensemble is without a leader. What the wait may still miss, it misses in
    /// ZooKeeper too: a server that connects later finds a leader, and follows it.
    fn try_finish(&mut self, now: Instant) {
        let Phase::Looking(looking) = &mut self.phase else { return };
        let supporters = agreeing(&looking.votes, &looking.mine(self.round));
        if !looking.view.has_quorums(&supporters) {
            looking.finalize_at = None;
            return;
        }
        let leader = looking.proposal.leader;
        let missing = |voter: &ServerId| *voter != self.me && !supporters.contains(voter);
        let nobody_missing =
            !looking.view.voters().iter().any(|voter| missing(voter) && self.reachable.contains(voter));
        if nobody_missing && (leader == self.me || self.reachable.contains(&leader)) {
            let vote = looking.proposal;
            self.settle(vote, supporters);
            return;
        }
        looking.finalize_at.get_or_insert(now + self.finalize_wait);
    }

    /// The wait for better votes is over.
    fn finish(&mut self, now: Instant) {
        let Phase::Looking(looking) = &mut self.phase else { return };
        let leader = looking.proposal.leader;
        let gone = leader != self.me && !self.reachable.contains(&leader);
        if gone && looking.has_data && looking.view.is_candidate(self.me) && looking.given_up.insert(leader) {
            // The best candidate told its vote and died. ZooKeeper elects it all the same, and begins anew when
            // nobody could follow it; a new round, in which the dead says nothing, is sooner there. Only once for
            // each, because it may be alive and only this server without a link to it.
            self.round = self.round.wrapping_add(1);
            looking.votes.clear();
            looking.proposal = looking.own;
            looking.finalize_at = None;
            self.tell_all(now);
            self.try_finish(now);
            return;
        }
        let vote = looking.proposal;
        let supporters = agreeing(&looking.votes, &looking.mine(self.round));
        self.settle(vote, supporters);
    }

    /// The decision.
    fn settle(&mut self, vote: Vote, supporters: BTreeSet<ServerId>) {
        let Phase::Looking(looking) = &self.phase else { return };
        assert!(looking.view.is_voter(vote.leader), "elected a server that is no voter");
        let is_quorum = match vote.leader == self.me {
            true => looking.view.has_quorums(&supporters),
            false => looking.view.is_led_by(&supporters),
        };
        assert!(is_quorum, "elected without a quorum");
        // What others heard of this server in this round may be from before its log was cut.
        let vote = if vote.leader == self.me { Vote { zxid: looking.own.zxid, ..vote } } else { vote };
        let state = if vote.leader == self.me {
            PeerState::Leading
        } else if looking.view.is_observer(self.me) {
            PeerState::Observing
        } else {
            PeerState::Following
        };
        self.phase = Phase::Settled(Settled {
            view: looking.view.clone(),
            state,
            vote,
            round: self.round,
            supporters,
            doubted: false,
            epoch_begun: false,
        });
        self.outputs.push_back(ElectionOutput::Decided { vote, state });
        self.answer_waiting();
    }

    /// Tells those who wait what this server knows. They go on waiting until it knows the epoch, too.
    fn answer_waiting(&mut self) {
        let Phase::Settled(settled) = &self.phase else { return };
        let answer = |&to: &ServerId| ElectionOutput::Send { to, notification: settled.answer() };
        self.outputs.extend(self.waiting.iter().map(answer));
        if settled.epoch_begun {
            self.waiting.clear();
        }
    }

    fn remember_waiting(&mut self, server: ServerId) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.insert(server);
        }
    }

    /// Tells every voter how this server votes, itself included.
    fn tell_all(&mut self, now: Instant) {
        let Phase::Looking(looking) = &mut self.phase else { return };
        let view = &looking.view;
        if looking.has_data && view.is_voter(self.me) && view.is_voter(looking.proposal.leader) {
            let mine = looking.mine(self.round);
            looking.votes.insert(self.me, mine);
        }
        looking.resend_at = now + looking.interval;
        let notification = looking.ballot(self.round);
        for to in looking.view.voters().into_iter().filter(|&to| to != self.me) {
            self.outputs.push_back(ElectionOutput::Send { to, notification: notification.clone() });
        }
    }
}

impl Looking {
    /// This server's vote as others hear it.
    const fn mine(&self, round: i64) -> HeardVote {
        HeardVote { vote: self.proposal, round, state: PeerState::Looking, version: 0 }
    }

    fn ballot(&self, round: i64) -> Notification {
        Notification {
            state: PeerState::Looking,
            vote: self.proposal,
            election_epoch: round,
            version: NOTIFICATION_VERSION,
            config: self.view.text().clone(),
        }
    }
}

impl Settled {
    /// What those who look are told.
    fn answer(&self) -> Notification {
        Notification {
            state: self.state,
            vote: self.vote,
            election_epoch: self.round,
            version: NOTIFICATION_VERSION,
            config: self.view.text().clone(),
        }
    }

    fn doubt(&mut self, lost: bool, outputs: &mut VecDeque<ElectionOutput>) {
        if lost && !self.doubted {
            self.doubted = true;
            outputs.push_back(ElectionOutput::Doubted);
        }
    }
}

/// What a notification says of the members, if that is newer than `version` and makes sense.
fn newer_config(text: &[u8], version: i64) -> Option<Membership> {
    // Nearly always it is no newer, and need not be read.
    let says_so = config_version(text) > version;
    says_so.then(|| Membership::from_peer(text)).flatten().filter(|config| config.version() > version)
}

/// Who voted as `sample` says.
fn agreeing(votes: &BTreeMap<ServerId, HeardVote>, sample: &HeardVote) -> BTreeSet<ServerId> {
    votes.iter().filter(|(_, heard)| heard.agrees_with(sample)).map(|(&server, _)| server).collect()
}
