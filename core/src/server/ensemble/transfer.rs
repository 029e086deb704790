//! A learner is brought up to date, as fast as it takes what it is sent.
//!
//! What is in memory, what has to be read from the log, and what is encoded from the tree goes in pieces, for as long as
//! little enough waits on the link; so a slow learner costs neither memory nor time. A snapshot is made of the
//! tree as it is when it begins, while writes go on, one at a time: all learners of a rank that wait for one get the same,
//! in step, and who comes later waits for the next. A snapshot for learners and one for the disk do not run at the same
//! time. Who has to make room for whom, and when, is in `turns`.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::Ensemble;
use super::configs::Configs;
use super::pace::Pace;
use super::peers::PeerLinks;
use super::turns::{Rank, Stopwatch, Turns};
use crate::config::Config;
use crate::recovery::{LogReader, LogStart, LogStep};
use crate::server::{HangupReason, Server};
use crate::store::{DiskDone, DiskOp, Inventory, LogFile, SnapshotFile};
use crate::time::Instant;
use crate::types::{LinkId, Message, ServerId, Ticket, Zxid};
use crate::wire::quorum;
use crate::wire::snapshot::Encoder;
use crate::zab::sync::{Sync, choose};
use crate::zab::{LearnerMaster, Tail};

/// Bytes that wait on a link before more is read or encoded for it.
const WINDOW_BYTES: usize = 1 << 20;

/// Bytes of a snapshot that are encoded between two inputs: a snapshot must not hold up the clients. What was sent is an
/// input once it is taken, so there is a next one.
const SNAPSHOT_TURN_BYTES: usize = 64 << 10;

/// How long the first learner that needs a snapshot waits for others: those of a new epoch come one after the other.
const GATHERING: Duration = Duration::from_millis(100);

/// The learners that are being brought up to date by more than what is told to all.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    pub(super) under_way: BTreeMap<LinkId, Transfer>,
    /// When the next snapshot is sent, to all who wait for one by then.
    snapshot_due: Option<Instant>,
    /// The snapshot that is on its way to those who wait for one.
    pub(super) snapshot: Option<SnapshotSend>,
    pub(super) turns: Turns,
    /// Servers that neither memory nor the log could bring up to date: a snapshot is the way.
    snapshot_next: BTreeSet<ServerId>,
}

impl Transfers {
    /// When it is time for something: for a snapshot to begin (one that is overdue waits for the tree, not for the time),
    /// for more of one to go out, or for somebody to make room who has had the tree for long enough.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let due = self.snapshot_due.filter(|&due| due > now);
        let resumes = self.snapshot.as_ref().map(|snapshot| snapshot.pace.resumes()).filter(|&at| at > now);
        Instant::earliest(&[due, resumes, self.turns.due])
    }

    /// Whether somebody waits for a snapshot, and none is to begin.
    pub(super) fn forgets_somebody(&self) -> bool {
        let waits = |transfer: &Transfer| matches!(transfer, Transfer::Waiting);
        self.snapshot_due.is_none() && self.under_way.values().any(waits)
    }
}

/// What a role that brings learners up to date does it with.
pub(super) struct Serving<'a> {
    pub(super) master: &'a mut dyn LearnerMaster,
    pub(super) transfers: &'a mut Transfers,
    pub(super) peers: &'a mut PeerLinks,
    pub(super) tail: &'a Tail,
    pub(super) configs: &'a Configs,
    pub(super) stale: &'a mut BTreeSet<Ticket>,
    /// Whether all members may come, or only those without a vote.
    pub(super) voters_come: bool,
}

impl Serving<'_> {
    /// How many servers may come.
    fn learners_max(&self) -> usize {
        let current = self.configs.current();
        let others = if self.voters_come { 1 } else { current.voters().count() };
        current.members().len().saturating_sub(others)
    }
}

/// How a learner is brought up to date.
#[derive(Debug)]
pub(super) enum Transfer {
    /// From the log on disk.
    Log {
        reader: Box<LogReader>,
        /// The last transaction that was sent, or that the learner has.
        sent: Zxid,
        started: bool,
    },
    /// From memory.
    Memory {
        /// The last transaction that was sent, or that the learner has.
        sent: Zxid,
    },
    /// By the snapshot under way.
    Snapshot {
        /// How long it has had no room while others had.
        holds_up: Stopwatch,
    },
    /// By the next snapshot.
    Waiting,
}

/// A snapshot on its way to learners.
#[derive(Debug)]
pub(super) struct SnapshotSend {
    /// That of all who get it.
    pub(super) rank: Rank,
    pub(super) begun: Instant,
    /// How long others have waited for it to end.
    pub(super) waited_for: Stopwatch,
    pace: Pace,
    /// Its last transaction.
    zxid: Zxid,
    encoder: Encoder,
}

impl Server {
    pub(super) fn begin_transfer(&mut self, link: LinkId, last_zxid: Zxid) {
        let force = self.config.ensemble.as_ref().is_some_and(|ensemble| ensemble.force_snapshot_sync);
        let Some(Serving { master, transfers, peers, tail, .. }) =
            self.ensemble.as_deref_mut().and_then(Ensemble::serving)
        else {
            return;
        };
        let server = master.server_on(link);
        let force = force || server.is_some_and(|server| transfers.snapshot_next.remove(&server));
        let log_begins = self.inventory.logs().first().map(|log| log.zxid);
        let mut choice = choose(last_zxid, tail, log_begins, force);
        if let Sync::Log { after } = choice
            && !is_log_worth_it(&self.config, &self.inventory, self.log.position(), after)
        {
            choice = Sync::Snap;
        }
        match choice {
            Sync::Diff { after } => {
                self.metrics.counters.diff_count += 1;
                peers.send(link, &Message::Diff { zxid: tail.committed() });
                transfers.under_way.insert(link, Transfer::Memory { sent: after });
                self.continue_transfer(link);
            }
            Sync::Trunc { to } => {
                self.metrics.counters.diff_count += 1;
                peers.send(link, &Message::Trunc { zxid: to });
                master.on_sent(link, to);
                transfers.under_way.insert(link, Transfer::Memory { sent: to });
                self.continue_transfer(link);
            }
            Sync::Log { after } => self.begin_log_transfer(link, after, false),
            Sync::Snap => self.wait_for_snapshot(link),
        }
    }

    /// Sends what the log has behind `after`. `started`: the learner knows by what it is brought up to date, and that was the
    /// first part of it.
    fn begin_log_transfer(&mut self, link: LinkId, after: Zxid, started: bool) {
        let until = self.readable_log_end();
        let reader = Box::new(LogReader::new(&self.config, &self.inventory, after, until));
        if let Some(transfers) = self.transfers() {
            transfers.under_way.insert(link, Transfer::Log { reader, sent: after, started });
        }
        self.continue_transfers();
    }

    /// Up to where what is in the log is final, and on the disk to be read.
    fn readable_log_end(&self) -> Zxid {
        self.log.durable().min(self.tree.last_zxid())
    }

    pub(super) fn forget_transfer(&mut self, link: LinkId) {
        let Some(serving) = self.ensemble.as_deref_mut().and_then(Ensemble::serving) else { return };
        if let Some(Transfer::Log { reader, .. }) = serving.transfers.under_way.remove(&link) {
            serving.stale.extend(reader.in_flight());
        }
        let mut under_way = serving.transfers.under_way.values();
        let wanted = under_way.any(|transfer| matches!(transfer, Transfer::Snapshot { .. }));
        if !wanted && let Some(snapshot) = serving.transfers.snapshot.take() {
            let is_urgent = serving.waiting().iter().any(|&(_, rank)| rank < snapshot.rank);
            serving.transfers.turns.disk_is_next = !is_urgent;
            self.tree.end_snapshot();
        }
    }

    /// All transfers end with the role.
    pub(super) fn forget_transfers(&mut self) {
        for link in self.transferring() {
            self.forget_transfer(link);
        }
    }

    fn transfers(&mut self) -> Option<&mut Transfers> {
        Some(self.ensemble.as_deref_mut()?.serving()?.transfers)
    }

    fn transferring(&mut self) -> Vec<LinkId> {
        let transfers = self.transfers();
        transfers.map(|transfers| transfers.under_way.keys().copied().collect()).unwrap_or_default()
    }

    /// Somebody may have waited for the tree to be free.
    pub(super) fn continue_waiting_transfers(&mut self) {
        if self.begin_snapshot_send() {
            self.continue_transfers();
        }
    }

    /// Whether the tree is being walked for learners.
    pub(in crate::server) fn is_sending_snapshot(&self) -> bool {
        let transfers = self.ensemble.as_deref().and_then(Ensemble::transfers);
        transfers.is_some_and(|transfers| transfers.snapshot.is_some())
    }

    /// Sends what learners have room for.
    pub(super) fn continue_transfers(&mut self) {
        self.begin_snapshot_send();
        self.continue_snapshot_send();
        for link in self.transferring() {
            self.continue_transfer(link);
        }
    }

    fn wait_for_snapshot(&mut self, link: LinkId) {
        let Some(serving) = self.ensemble.as_deref_mut().and_then(Ensemble::serving) else { return };
        // Besides this learner, and those that follow already, nobody would come.
        let is_last = serving.master.following_count() + 1 >= serving.learners_max();
        let gathering = GATHERING.min(self.config.tick_time / 2);
        let due = if is_last { self.now.mono } else { self.now.mono + gathering };
        let transfers = serving.transfers;
        transfers.under_way.insert(link, Transfer::Waiting);
        transfers.snapshot_due = Some(transfers.snapshot_due.map_or(due, |earlier| earlier.min(due)));
    }

    /// A snapshot for all of the first rank who wait for one, if it is time and nobody else walks the tree. Whether there is
    /// one now.
    fn begin_snapshot_send(&mut self) -> bool {
        if self.snapshot.is_some() || self.is_sending_snapshot() {
            return false;
        }
        let Some(mut serving) = self.ensemble.as_deref_mut().and_then(Ensemble::serving) else {
            return false;
        };
        let now = self.now.mono;
        if serving.transfers.snapshot_due.take_if(|due| *due <= now).is_none() {
            return false;
        }
        let waiting = serving.waiting();
        let Some(first) = waiting.iter().map(|&(_, rank)| rank).min() else { return false };
        let links: Vec<LinkId> =
            waiting.iter().filter(|&&(_, rank)| rank == first).map(|&(link, _)| link).collect();
        let Serving { master, transfers, peers, .. } = &mut serving;
        if links.len() < waiting.len() {
            transfers.snapshot_due = Some(now);
        }
        let zxid = self.tree.begin_snapshot().zxid;
        let mut head = Vec::new();
        let (sessions, acls) = (self.sessions.timeouts(), self.tree.acl_entries());
        let encoder = Encoder::head(&mut head, Encoder::begin_stream, sessions, acls);
        for link in links {
            self.metrics.counters.snap_count += 1;
            transfers.under_way.insert(link, Transfer::Snapshot { holds_up: Stopwatch::default() });
            peers.send(link, &Message::Snap { zxid });
            peers.write(link, |out| out.extend_from_slice(&head));
            // What commits from here on is kept for the learner.
            master.on_sent(link, zxid);
        }
        let (waited_for, pace) = (Stopwatch::default(), Pace::begin(now));
        transfers.snapshot = Some(SnapshotSend { rank: first, begun: now, waited_for, pace, zxid, encoder });
        true
    }

    /// Encodes some pieces of the snapshot, if it is time and every learner that gets it has room.
    fn continue_snapshot_send(&mut self) {
        let (now, chunk_bytes) = (self.now.mono, self.config.snapshot_chunk_bytes);
        let window = self.link_window();
        let mut encoded = 0;
        while encoded < SNAPSHOT_TURN_BYTES {
            let Some(Serving { transfers, peers, .. }) =
                self.ensemble.as_deref_mut().and_then(Ensemble::serving)
            else {
                return;
            };
            let Transfers { under_way, snapshot, turns, .. } = transfers;
            let Some(SnapshotSend { pace, zxid, encoder, .. }) = snapshot else { return };
            if pace.resumes() > now {
                return;
            }
            let getting =
                under_way.iter_mut().filter(|(_, transfer)| matches!(transfer, Transfer::Snapshot { .. }));
            let mut getting: Vec<(LinkId, &mut Transfer)> =
                getting.map(|(&link, transfer)| (link, transfer)).collect();
            if getting.iter().any(|(link, _)| peers.owed(*link) > window) {
                return;
            }
            let mut chunk = Vec::with_capacity(chunk_bytes + chunk_bytes / 8);
            let more = self.tree.snapshot_chunk(chunk_bytes, &mut |node| {
                encoder.node(&mut chunk, node.path, node.data, node.acl_id, &node.stat);
            });
            if !more {
                encoder.end_nodes(&mut chunk);
            }
            encoded += chunk.len();
            pace.on_sent(chunk.len(), now);
            for (link, transfer) in &mut getting {
                peers.write(*link, |out| out.extend_from_slice(&chunk));
                if !more {
                    // What comes behind it is in memory.
                    **transfer = Transfer::Memory { sent: *zxid };
                }
            }
            if !more {
                *snapshot = None;
                turns.on_sent();
                self.tree.end_snapshot();
                return;
            }
        }
    }

    /// Bytes that may wait on a link before more is read or encoded for it.
    pub(in crate::server) fn link_window(&self) -> usize {
        let limit = self.config.ensemble.as_ref().map_or(usize::MAX, |ensemble| ensemble.link_outbox_bytes);
        WINDOW_BYTES.min(limit / 4)
    }

    fn continue_transfer(&mut self, link: LinkId) {
        let (window, readable) = (self.link_window(), self.readable_log_end());
        while let Some(step) = self.step_transfer(link, window) {
            match step {
                Step::Said => {}
                // More was written meanwhile than memory keeps for it: a large snapshot takes long.
                Step::Forgotten { sent } if sent < readable => {
                    return self.begin_log_transfer(link, sent, true);
                }
                // Trying the same again would not help. Nor would a log whose disk is behind what memory forgets.
                Step::Broken | Step::Forgotten { .. } => return self.give_up_transfer(link),
                Step::Refused => {
                    // Its reader may have read ahead.
                    self.forget_transfer(link);
                    return self.wait_for_snapshot(link);
                }
                // What comes behind that is in memory.
                Step::LogEnd { sent } => {
                    self.forget_transfer(link);
                    if let Some(transfers) = self.transfers() {
                        transfers.under_way.insert(link, Transfer::Memory { sent });
                    }
                }
            }
        }
    }

    /// Says to a learner what comes next in its transfer, if it has room for that. `None`: the transfer is over, or waits
    /// for something.
    fn step_transfer(&mut self, link: LinkId, window: usize) -> Option<Step> {
        let Serving { master, transfers, peers, tail, configs, .. } =
            self.ensemble.as_deref_mut()?.serving()?;
        if peers.owed(link) > window {
            return None;
        }
        match transfers.under_way.get_mut(&link)? {
            Transfer::Snapshot { .. } | Transfer::Waiting => None,
            Transfer::Memory { sent } if *sent < tail.base() => Some(Step::Forgotten { sent: *sent }),
            Transfer::Memory { sent } => match tail.behind(*sent).next() {
                Some((zxid, txn)) if *zxid <= tail.committed() => {
                    send_committed(peers, link, *zxid, txn);
                    *sent = *zxid;
                    master.on_sent(link, *zxid);
                    Some(Step::Said)
                }
                Some(_) | None => {
                    let sent = *sent;
                    transfers.under_way.remove(&link);
                    let config = config_for_learners(configs, master);
                    master.on_caught_up(link, sent, tail, &config);
                    None
                }
            },
            Transfer::Log { reader, sent, started } => match reader.step() {
                Ok(LogStep::Blocked) => None,
                Ok(LogStep::End) => Some(Step::LogEnd { sent: *sent }),
                Ok(LogStep::Record { zxid, payload }) => {
                    send_committed(peers, link, zxid, &payload);
                    *sent = zxid;
                    master.on_sent(link, zxid);
                    Some(Step::Said)
                }
                Ok(LogStep::Start(LogStart::Found)) if *started => Some(Step::Said),
                Ok(LogStep::Start(LogStart::Found)) => {
                    *started = true;
                    self.metrics.counters.diff_count += 1;
                    peers.send(link, &Message::Diff { zxid: self.tree.last_zxid() });
                    Some(Step::Said)
                }
                Ok(LogStep::Start(LogStart::Missing { .. })) | Err(_) if *started => Some(Step::Broken),
                Ok(LogStep::Start(LogStart::Missing { .. })) | Err(_) => Some(Step::Refused),
            },
        }
    }

    /// Neither memory nor the log brings the learner up to date: it is to come again, for a snapshot.
    fn give_up_transfer(&mut self, link: LinkId) {
        let Some(serving) = self.ensemble.as_deref_mut().and_then(Ensemble::serving) else { return };
        serving.transfers.snapshot_next.extend(serving.master.server_on(link));
        serving.master.hang_up(link, HangupReason::SlowReader);
    }

    /// What the transfers ask of the disk.
    pub(super) fn poll_transfer_op(&mut self) -> Option<DiskOp> {
        let transfers = self.ensemble.as_deref_mut()?.serving()?.transfers;
        readers(transfers).find_map(|(_, reader)| reader.poll_op(&mut self.tickets))
    }

    /// The link for which the operation was asked for.
    pub(super) fn transfer_of(&mut self, ticket: Ticket) -> Option<LinkId> {
        readers(self.transfers()?).find(|(_, reader)| reader.owns(ticket)).map(|(link, _)| link)
    }

    pub(super) fn on_transfer_read(&mut self, link: LinkId, done: DiskDone) {
        if let Some(transfers) = self.transfers()
            && let Some(Transfer::Log { reader, .. }) = transfers.under_way.get_mut(&link)
        {
            reader.on_done(done);
        }
        self.continue_transfer(link);
    }
}

/// Whether the log behind `after` is small enough beside a snapshot (PARITY `sync.choice.txnlog`). `written` is how much
/// of the file that is written to would have to be read. Where there is no snapshot it is, as with ZooKeeper.
fn is_log_worth_it(config: &Config, inventory: &Inventory, written: u64, after: Zxid) -> bool {
    let ensemble = config.ensemble.as_ref();
    let Some(permille) = ensemble.and_then(|ensemble| ensemble.snapshot_size_permille) else { return false };
    // Of the file that is written to the inventory does not know the size yet.
    let size = |log: &LogFile| if log.size == 0 { written } else { log.size };
    let log_bytes: u64 = inventory.logs_from(after.next()).iter().map(size).sum();
    let finished = |snapshot: &&SnapshotFile| snapshot.size > 0;
    let Some(snapshot_bytes) = inventory.snapshots().iter().rfind(finished).map(|snapshot| snapshot.size)
    else {
        return true;
    };
    log_bytes.saturating_mul(1000) <= snapshot_bytes.saturating_mul(u64::from(permille))
}

/// A transaction that is final goes with its commit, to observers, too, as ZooKeeper does.
fn send_committed(peers: &mut PeerLinks, link: LinkId, zxid: Zxid, txn: &[u8]) {
    peers.write(link, |out| {
        quorum::proposal(out, zxid, txn);
        quorum::encode(&Message::Commit { zxid }, out);
    });
}

/// What learners are to act by once they serve: the newest configuration, as long as all that this server has in its log
/// is the history that its epoch begins with; later, the one in force.
fn config_for_learners(configs: &Configs, master: &dyn LearnerMaster) -> Bytes {
    if master.is_serving() { configs.text().clone() } else { configs.newest_text() }
}

/// What came of one step of a transfer.
enum Step {
    /// The log cannot be relied on any further.
    Broken,
    /// Memory does not reach back to what was sent last.
    Forgotten { sent: Zxid },
    /// All that can be read of the log was sent.
    LogEnd { sent: Zxid },
    /// The log is no way, and nothing was said to the learner yet that a snapshot would contradict.
    Refused,
    /// The learner was told what came next, or knew it.
    Said,
}

fn readers(transfers: &mut Transfers) -> impl Iterator<Item = (LinkId, &mut LogReader)> {
    transfers.under_way.iter_mut().filter_map(|(&link, transfer)| match transfer {
        Transfer::Log { reader, .. } => Some((link, &mut **reader)),
        Transfer::Memory { .. } | Transfer::Snapshot { .. } | Transfer::Waiting => None,
    })
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::config::EnsembleConfig;
    use crate::store::{Dir, DirEntry, FileName};
    use crate::testing::cluster::members;

    #[test]
    fn sync_choice_txnlog_counts_the_file_that_is_written_to() {
        let config = Config { ensemble: Some(EnsembleConfig::new(members(3, 0))), ..Config::default() };
        let entry = |dir, name: &str, size| DirEntry { file: FileName { dir, name: name.into() }, size };
        let mut files = vec![entry(Dir::Log, "log.1", 200), entry(Dir::Log, "log.9", 0)];
        let is_worth_it = |files: &[DirEntry], written, after| {
            is_log_worth_it(&config, &Inventory::new(files.to_vec()), written, Zxid(after))
        };
        assert!(is_worth_it(&files, 1 << 30, 3), "there is no snapshot");
        files.push(entry(Dir::Snapshot, "snapshot.2", 1000));
        assert!(is_worth_it(&files, 130, 3));
        assert!(!is_worth_it(&files, 131, 3), "a third of a snapshot, and more");
        assert!(is_worth_it(&files, 330, 9), "the older file is not needed");
        assert!(!is_worth_it(&files, 331, 9));
    }
}
