//! A server among others: which role it has, and how it goes from one to the next.
//!
//! ```text
//!            disk at rest          a vote is decided          quorum, or UPTODATE
//!   Settling ───────────▶ Looking ───────────────▶ Leading / Learning ─────────▶ … serving clients
//!      ▲                                                  │
//!      └────── step down, leader lost ────────────────────┘
//! ```
//!
//! `zab` and `election` decide; here it is carried out: messages get bytes, promises go to the disk and come back,
//! transactions to the log and the tree. A role begins with everything of the role before at rest: no append, no
//! snapshot and no promise is under way when a vote is cast, so that nothing late of one role can reach into the next,
//! and what the vote claims is durable.
//!
//! | file | what happens there |
//! |---|---|
//! | `elections` | votes come and go; what is decided is begun |
//! | `links` | connections to other servers come, speak and go |
//! | `peers` | those of the quorum port: bytes cut into messages, messages gathered |
//! | `leading` | what a leader wants done; requests of its learners |
//! | `learning` | what a learner wants done; requests to its leader |
//! | `held` | what learners ask for while there is no room for it |
//! | `masters` | whom an observer learns from |
//! | `observers` | observers that learn from this server while it follows |
//! | `transfer` | a learner is brought up to date, as fast as it takes it |
//! | `turns` | who gets the tree for a snapshot, and for how long |
//! | `configs` | the configurations that are known |
//! | `reconfig` | members change |
//! | `strangers` | sessions that do not live, as far as a leader knows |
//! | `pauses` | how long it waits before it comes back |
//! | `install` | a snapshot that comes becomes the database; a log is cut |
//! | `promises` | the epoch files |
//! | `read_only` | without a leader, clients that only read |
//! | `report` | what operators are told |
//! | `waits` | that nobody waits for what has come |
//! | `disk` | what all of these ask of the disk |

mod configs;
mod disk;
mod elections;
mod held;
mod install;
mod leading;
mod learning;
mod links;
mod masters;
mod observers;
mod pace;
mod pauses;
mod peers;
mod promises;
mod read_only;
mod reconfig;
mod report;
mod strangers;
mod transfer;
mod turns;
mod waits;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;

use self::configs::Configs;
use self::install::Work;
use self::leading::Leading;
use self::learning::Learning;
use self::masters::Masters;
use self::observers::Observers;
use self::pauses::Pauses;
use self::peers::PeerLinks;
use self::promises::Promises;
use self::read_only::ReadOnly;
pub(super) use self::read_only::changes_something;
use self::transfer::{Serving, Transfers};
use super::{Action, CloseReason, HangupReason, PeerPort, Server};
use crate::config::Config;
use crate::election::{Election, Links};
use crate::pipeline::pending::Pending;
use crate::recovery::Recovered;
use crate::time::Instant;
use crate::types::{DialIds, OwnHistory, ServerId, Ticket, Zxid};
use crate::zab::{Leader, LearnerMaster, Tail};

/// What only a member of an ensemble has.
#[derive(Debug)]
pub(super) struct Ensemble {
    me: ServerId,
    configs: Configs,
    masters: Masters,
    pauses: Pauses,
    /// The latest epoch that a voter said it had promised when it was too late for the one that this server led.
    promised: i64,
    /// Who leads from here on, as the leader before said.
    designated: Option<ServerId>,
    election: Election,
    election_links: Links,
    dials: DialIds,
    role: Role,
    peers: PeerLinks,
    promises: Promises,
    /// What a learner asked for that changes the database under it.
    work: Work,
    tail: Tail,
    /// The newest transaction that a leader with a quorum, this server or another one, said is committed. Nobody who leads
    /// later lacks it.
    known_committed: Zxid,
    /// Reads that nobody waits for any more.
    stale: BTreeSet<Ticket>,
    /// Something ended: there may be room for what learners ask for.
    room: bool,
    /// It has data that it may vote with (PARITY `fle.zxid-1`).
    has_data: bool,
    /// What a leader sent did not lead to what that leader had, now or before this server was started: the next one, or the
    /// same one again, is to send a snapshot (see `zab::learner`). Until that is installed, or this server itself leads.
    wants_snapshot: bool,
    /// Who had sent less than it was elected for when this server left it, and for what that was.
    lacked: Option<(ServerId, Zxid)>,
    /// Whether clients that only read are served meanwhile.
    read_only: ReadOnly,
    /// Behind the end of the log there may be something damaged on the disk.
    is_damaged: bool,
    /// Since when it looks for a leader, if it does.
    looking_since: Option<Instant>,
    /// Since when it serves nobody, if it does not.
    unavailable_since: Option<Instant>,
}

/// See the module's drawing.
#[derive(Debug)]
enum Role {
    Leading(Box<Leading>),
    Learning(Box<Learning>),
    Looking,
    Settling,
}

impl Ensemble {
    /// A member that has not looked for a leader yet.
    pub(super) fn new(config: &Config, recovered: &Recovered, seed: [u8; 32]) -> Option<Box<Self>> {
        let ensemble = config.ensemble.as_ref()?;
        let me = ServerId(config.server_id);
        let epochs = recovered.epochs.expect("recovery of a member reads its epochs");
        let last_zxid = recovered.tree.last_zxid();
        let membership = ensemble.membership.clone();
        let mut ensemble = Box::new(Self {
            me,
            configs: Configs::new(
                config.reconfig_enabled,
                membership,
                ensemble.seen.clone(),
                &recovered.tree,
                recovered.config_before.as_ref(),
            ),
            masters: Masters::new(ensemble.observer_master_port, seed),
            pauses: Pauses::new(ensemble, config.tick_time, seed),
            promised: 0,
            designated: None,
            election: Election::new(me, ensemble),
            election_links: Links::new(me, ensemble, config.tick_time * ensemble.sync_limit),
            dials: DialIds::default(),
            role: Role::Settling,
            peers: PeerLinks::default(),
            promises: Promises::new(epochs.accepted, epochs.current),
            work: Work::None,
            tail: Tail::new(last_zxid, ensemble.commit_log_count, ensemble.commit_log_bytes),
            known_committed: Zxid::ZERO,
            stale: BTreeSet::new(),
            room: false,
            has_data: !recovered.unsynced,
            wants_snapshot: recovered.diverged,
            lacked: None,
            read_only: ReadOnly::Off,
            is_damaged: recovered.unsynced,
            looking_since: None,
            unavailable_since: None,
        });
        // A change of members may have been under way.
        ensemble.show_configs();
        Some(ensemble)
    }

    fn is_observer(&self) -> bool {
        self.configs.is_observer(self.me)
    }

    const fn leading(&self) -> Option<&Leading> {
        match &self.role {
            Role::Leading(leading) => Some(leading),
            Role::Learning(_) | Role::Looking | Role::Settling => None,
        }
    }

    const fn leading_mut(&mut self) -> Option<&mut Leading> {
        match &mut self.role {
            Role::Leading(leading) => Some(leading),
            Role::Learning(_) | Role::Looking | Role::Settling => None,
        }
    }

    /// The learners that are being brought up to date, in a role that does so.
    fn transfers(&self) -> Option<&Transfers> {
        match &self.role {
            Role::Leading(leading) => Some(&leading.transfers),
            Role::Learning(learning) => learning.observers.as_ref().map(|observers| &observers.transfers),
            Role::Looking | Role::Settling => None,
        }
    }

    /// What it does that with.
    fn serving(&mut self) -> Option<Serving<'_>> {
        let Self { role, peers, tail, configs, stale, .. } = self;
        match role {
            Role::Leading(leading) => {
                let Leading { leader, transfers, .. } = &mut **leading;
                Some(Serving { master: leader, transfers, peers, tail, configs, stale, voters_come: true })
            }
            Role::Learning(learning) => {
                let Observers { master, transfers } = learning.observers.as_deref_mut()?;
                Some(Serving { master, transfers, peers, tail, configs, stale, voters_come: false })
            }
            Role::Looking | Role::Settling => None,
        }
    }

    /// A quorum has everything up to here. What stands for the beginning of an epoch is no transaction: whoever leads next
    /// may never have heard of that epoch.
    fn know_committed(&mut self, zxid: Zxid) {
        if !zxid.begins_epoch() {
            self.known_committed = self.known_committed.max(zxid);
        }
    }

    /// What speaks for this server, whose log ends at `last_zxid`.
    const fn own_history(&self, last_zxid: Zxid) -> OwnHistory {
        OwnHistory {
            accepted_epoch: self.promises.accepted(),
            current_epoch: self.promises.current(),
            last_zxid,
            has_data: self.has_data,
        }
    }
}

impl Server {
    /// Whether clients are served: always, where the server stands alone.
    pub(super) fn is_serving(&self) -> bool {
        match self.ensemble.as_deref().map(|ensemble| &ensemble.role) {
            None => true,
            Some(Role::Leading(leading)) => leading.leader.is_serving() && self.leader_serves(),
            Some(Role::Learning(learning)) => learning.learner.is_serving(),
            Some(Role::Looking | Role::Settling) => false,
        }
    }

    fn leader_serves(&self) -> bool {
        self.config.ensemble.as_ref().is_none_or(|ensemble| ensemble.leader_serves)
    }

    /// Whether writes of clients go to another server.
    pub(super) fn is_learning(&self) -> bool {
        self.ensemble.as_deref().is_some_and(|ensemble| matches!(ensemble.role, Role::Learning(_)))
    }

    /// Whether this server orders writes and lets sessions expire.
    pub(super) fn is_ordering(&self) -> bool {
        match self.ensemble.as_deref().map(|ensemble| &ensemble.role) {
            None => true,
            Some(Role::Leading(leading)) => leading.leader.is_serving(),
            Some(Role::Learning(_) | Role::Looking | Role::Settling) => false,
        }
    }

    /// The leader that this server is.
    pub(super) fn leader(&mut self) -> Option<&mut Leader> {
        Some(&mut self.leading()?.leader)
    }

    fn leading(&mut self) -> Option<&mut Leading> {
        self.ensemble.as_deref_mut()?.leading_mut()
    }

    fn learning(&mut self) -> Option<&mut Learning> {
        match &mut self.ensemble.as_deref_mut()?.role {
            Role::Learning(learning) => Some(learning),
            Role::Leading(_) | Role::Looking | Role::Settling => None,
        }
    }

    pub(super) fn tick_ensemble(&mut self) {
        let now = self.now.mono;
        let has_room = self.has_room_for_snapshot();
        let hangs = self.disk_hangs();
        let full = self.leader_must_wait() && !hangs;
        let in_the_way = hangs && self.log_is_full();
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        ensemble.election_links.on_tick(now);
        match &mut ensemble.role {
            Role::Leading(leading) => {
                leading.leader.on_tick(now);
                if in_the_way {
                    leading.leader.make_way();
                }
            }
            Role::Learning(learning) => {
                // What the leader says waits for this server's own disk: that is not the leader's silence. Of a disk that
                // ends nothing any more nobody knows when it will again; the leader may have hung up by then, which
                // nobody notices on a link that is not read from.
                if full || learning.learner.receives_snapshot() && !has_room {
                    learning.learner.heard(now);
                }
                learning.learner.on_tick(now);
                if let Some(observers) = &mut learning.observers {
                    observers.master.on_tick(now);
                }
            }
            Role::Looking => ensemble.election.on_tick(now),
            Role::Settling => {}
        }
        for link in ensemble.peers.overdue(now) {
            self.hang_up(link, HangupReason::Timeout);
        }
        self.begin_read_only();
    }

    pub(super) fn ensemble_timeout(&self) -> Option<Instant> {
        let ensemble = self.ensemble.as_deref()?;
        let role = match &ensemble.role {
            Role::Leading(leading) => {
                let transfers = leading.transfers.poll_timeout(self.now.mono);
                Instant::earliest(&[leading.leader.poll_timeout(), transfers])
            }
            Role::Learning(learning) => {
                let observers = learning.observers.as_deref();
                Instant::earliest(&[
                    learning.learner.poll_timeout(),
                    observers.map(|observers| observers.master.poll_timeout()),
                    observers.and_then(|observers| observers.transfers.poll_timeout(self.now.mono)),
                ])
            }
            Role::Looking => Instant::earliest(&[ensemble.election.poll_timeout(), ensemble.read_only_due()]),
            // What is under way ends with an input. Where nothing is, as at the start, there is none to wait for.
            Role::Settling => self.is_at_rest(ensemble).then(|| ensemble.pauses.ends(self.now.mono)),
        };
        Instant::earliest(&[role, ensemble.election_links.poll_timeout(), ensemble.peers.deadline()])
    }

    /// Carries out what election, leader and learner want done, until none of them wants anything.
    pub(super) fn run_ensemble(&mut self) {
        loop {
            let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
            if let Some(output) = ensemble.election_links.poll_output(&mut ensemble.dials) {
                self.on_election_link(output);
            } else if let Role::Leading(leading) = &mut ensemble.role {
                leading.leader.flush();
                self.carry_out_leader();
                // A commit lets requests go on that waited, and one of them may want a ping.
                let wants_more = self.leader().is_some_and(|leader| leader.wants_flush());
                if !wants_more && !self.resume_learners() && !self.take_turns() {
                    return self.continue_waiting_transfers();
                }
            } else if let Role::Learning(learning) = &mut ensemble.role {
                let Some(output) = learning.learner.poll_output() else {
                    learning.unsaid = 0;
                    if self.carry_out_observer_master()
                        || self.receive_snapshot()
                        || self.take_leader_messages()
                        || self.resume_learners()
                        || self.take_turns()
                    {
                        continue;
                    }
                    return self.continue_waiting_transfers();
                };
                self.on_learner_output(output);
            } else if let Some(output) = ensemble.election.poll_output() {
                self.on_elected(output);
            } else if !self.settle() {
                return;
            }
        }
    }

    /// Whether nothing of the role before is under way on the disk.
    fn is_at_rest(&self, ensemble: &Ensemble) -> bool {
        let log_is_idle = self.log.is_idle() && !self.snapshotter.is_running();
        log_is_idle && ensemble.promises.is_idle() && ensemble.work.is_none()
    }

    /// The role is over: clients go, links of the quorum port are closed, but for those of servers that came for the next
    /// one, and nothing new is begun.
    fn leave_role(&mut self) {
        self.forget_transfers();
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        ensemble.role = Role::Settling;
        ensemble.masters.leave();
        ensemble.configs.forget_offer();
        ensemble.election.leave();
        ensemble.election_links.forget_said();
        for link in ensemble.peers.clear_except_parked(PeerPort::Quorum) {
            self.actions.push_back(Action::Hangup { link, why: HangupReason::RoleOver });
        }
        self.abandon_snapshots();
        for id in self.conns.ids() {
            self.close_by_id(id, CloseReason::LeaderLost);
        }
        self.greetings.clear();
        self.yielded.clear();
        self.reattaching.clear();
        self.sessions.restart(self.now.mono);
        self.reset_pending();
    }

    /// From now on writes are judged against the tree as it is.
    fn reset_pending(&mut self) {
        self.pending = Pending::new(&self.tree);
    }
}
