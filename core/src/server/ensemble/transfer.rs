//! A learner is brought up to date, as fast as it takes what it is sent.
//!
//! What is in memory, what has to be read from the log, and what is encoded from the tree goes in pieces, for as long as
//! little enough waits on the link; so a slow learner costs neither memory nor time. A snapshot is made of the
//! tree as it is when it begins, while writes go on, one at a time: all learners that wait for one get the same, in step,
//! and who comes later waits for the next. A snapshot for learners and one for the disk do not run at the same time.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::configs::Configs;
use super::leading::Leading;
use super::peers::PeerLinks;
use super::{Ensemble, Role};
use crate::config::Config;
use crate::recovery::{LogReader, LogStart, LogStep};
use crate::server::{HangupReason, Server};
use crate::store::{DiskDone, DiskOp, Inventory};
use crate::types::{LinkId, Message, Ticket, Zxid};
use crate::wire::quorum;
use crate::wire::snapshot::Encoder;
use crate::zab::Leader;
use crate::zab::sync::{Sync, choose};

/// Bytes that wait on a link before more is read or encoded for it.
const WINDOW_BYTES: usize = 1 << 20;

/// How long the first learner that needs a snapshot waits for others: those of a new epoch come one after the other.
const GATHERING: Duration = Duration::from_millis(100);

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
    Snapshot,
    /// By the next snapshot.
    Waiting,
}

/// A snapshot on its way to learners.
#[derive(Debug)]
pub(super) struct SnapshotSend {
    /// Its last transaction.
    zxid: Zxid,
    encoder: Encoder,
}

impl Server {
    pub(super) fn begin_transfer(&mut self, link: LinkId, last_zxid: Zxid) {
        let force = self.config.ensemble.as_ref().is_some_and(|ensemble| ensemble.force_snapshot_sync);
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        let Ensemble { role: Role::Leading(leading), tail, peers, .. } = ensemble else { return };
        let server = leading.leader.server_on(link);
        let force = force || server.is_some_and(|server| leading.snapshot_next.remove(&server));
        let log_begins = self.inventory.logs().first().map(|log| log.zxid);
        let mut choice = choose(last_zxid, tail, log_begins, force);
        if let Sync::Log { after } = choice
            && !is_log_worth_it(&self.config, &self.inventory, after)
        {
            choice = Sync::Snap;
        }
        match choice {
            Sync::Diff { after } => {
                peers.send(link, &Message::Diff { zxid: tail.committed() });
                leading.transfers.insert(link, Transfer::Memory { sent: after });
                self.continue_transfer(link);
            }
            Sync::Trunc { to } => {
                peers.send(link, &Message::Trunc { zxid: to });
                leading.leader.on_sent(link, to);
                leading.transfers.insert(link, Transfer::Memory { sent: to });
                self.continue_transfer(link);
            }
            Sync::Log { after } => self.begin_log_transfer(link, after),
            Sync::Snap => self.wait_for_snapshot(link),
        }
    }

    fn begin_log_transfer(&mut self, link: LinkId, after: Zxid) {
        let until = self.log.durable().min(self.tree.last_zxid());
        let reader = Box::new(LogReader::new(&self.config, &self.inventory, after, until));
        if let Some(leading) = self.leading() {
            leading.transfers.insert(link, Transfer::Log { reader, sent: after, started: false });
        }
        self.continue_transfers();
    }

    pub(super) fn forget_transfer(&mut self, link: LinkId) {
        let Some(Ensemble { role: Role::Leading(leading), stale, .. }) = self.ensemble.as_deref_mut() else {
            return;
        };
        if let Some(Transfer::Log { reader, .. }) = leading.transfers.remove(&link) {
            stale.extend(reader.in_flight());
        }
        let wanted = leading.transfers.values().any(|transfer| matches!(transfer, Transfer::Snapshot));
        if !wanted && leading.snapshot.take().is_some() {
            self.tree.end_snapshot();
        }
    }

    /// All transfers end with the leadership.
    pub(super) fn forget_transfers(&mut self) {
        for link in self.transferring() {
            self.forget_transfer(link);
        }
    }

    fn transferring(&self) -> Vec<LinkId> {
        let leading = self.ensemble.as_deref().and_then(Ensemble::leading);
        leading.map(|leading| leading.transfers.keys().copied().collect()).unwrap_or_default()
    }

    /// Somebody may have waited for the tree to be free.
    pub(super) fn continue_waiting_transfers(&mut self) {
        if self.begin_snapshot_send() {
            self.continue_transfers();
        }
    }

    /// Whether the tree is being walked for learners.
    pub(in crate::server) fn is_sending_snapshot(&self) -> bool {
        let leading = self.ensemble.as_deref().and_then(Ensemble::leading);
        leading.is_some_and(|leading| leading.snapshot.is_some())
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
        let Some(Ensemble { role: Role::Leading(leading), configs, .. }) = self.ensemble.as_deref_mut()
        else {
            return;
        };
        // This learner, the leader, and those that follow already: nobody else would come.
        let is_last = leading.leader.followers().count() + 2 >= configs.current().members().len();
        let gathering = GATHERING.min(self.config.tick_time / 2);
        let due = if is_last { self.now.mono } else { self.now.mono + gathering };
        leading.transfers.insert(link, Transfer::Waiting);
        leading.snapshot_due = Some(leading.snapshot_due.map_or(due, |earlier| earlier.min(due)));
    }

    /// A snapshot for all who wait for one, if it is time and nobody else walks the tree. Whether there is one now.
    fn begin_snapshot_send(&mut self) -> bool {
        if self.snapshot.is_some() || self.is_sending_snapshot() {
            return false;
        }
        let Some(Ensemble { role: Role::Leading(leading), peers, .. }) = self.ensemble.as_deref_mut() else {
            return false;
        };
        if leading.snapshot_due.take_if(|due| *due <= self.now.mono).is_none() {
            return false;
        }
        let waiting =
            leading.transfers.iter_mut().filter(|(_, transfer)| matches!(transfer, Transfer::Waiting));
        let mut links = Vec::new();
        for (&link, transfer) in waiting {
            *transfer = Transfer::Snapshot;
            links.push(link);
        }
        if links.is_empty() {
            return false;
        }
        let zxid = self.tree.begin_snapshot().zxid;
        let mut head = Vec::new();
        let (sessions, acls) = (self.sessions.timeouts(), self.tree.acl_entries());
        let encoder = Encoder::head(&mut head, Encoder::begin_stream, sessions, acls);
        for link in links {
            peers.send(link, &Message::Snap { zxid });
            peers.write(link, |out| out.extend_from_slice(&head));
            // What commits from here on is kept for the learner.
            leading.leader.on_sent(link, zxid);
        }
        leading.snapshot = Some(SnapshotSend { zxid, encoder });
        true
    }

    /// Encodes pieces of the snapshot for as long as every learner that gets it has room.
    fn continue_snapshot_send(&mut self) {
        let chunk_bytes = self.config.snapshot_chunk_bytes;
        let window = self.link_window();
        loop {
            let Some(Ensemble { role: Role::Leading(leading), peers, .. }) = self.ensemble.as_deref_mut()
            else {
                return;
            };
            let Leading { transfers, snapshot, .. } = &mut **leading;
            let Some(SnapshotSend { zxid, encoder }) = snapshot else { return };
            let getting = transfers.iter_mut().filter(|(_, transfer)| matches!(transfer, Transfer::Snapshot));
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
            for (link, transfer) in &mut getting {
                peers.write(*link, |out| out.extend_from_slice(&chunk));
                if !more {
                    // What comes behind it is in memory.
                    **transfer = Transfer::Memory { sent: *zxid };
                }
            }
            if !more {
                *snapshot = None;
                self.tree.end_snapshot();
                return;
            }
        }
    }

    /// Bytes that may wait on a link before more is read or encoded for it.
    fn link_window(&self) -> usize {
        let limit = self.config.ensemble.as_ref().map_or(usize::MAX, |ensemble| ensemble.link_outbox_bytes);
        WINDOW_BYTES.min(limit / 4)
    }

    fn continue_transfer(&mut self, link: LinkId) {
        let window = self.link_window();
        while let Some(Ensemble { role: Role::Leading(leading), peers, tail, configs, .. }) =
            self.ensemble.as_deref_mut()
        {
            if peers.owed(link) > window {
                return;
            }
            let Leading { leader, transfers, snapshot_next, .. } = &mut **leading;
            let over = match transfers.get_mut(&link) {
                None | Some(Transfer::Snapshot | Transfer::Waiting) => return,
                Some(Transfer::Memory { sent }) if *sent < tail.base() => Over::Broken,
                Some(Transfer::Memory { sent }) => match tail.behind(*sent).next() {
                    Some((zxid, txn)) if *zxid <= tail.committed() => {
                        send_committed(peers, link, *zxid, txn);
                        *sent = *zxid;
                        leader.on_sent(link, *zxid);
                        Over::Not
                    }
                    Some(_) | None => {
                        let sent = *sent;
                        transfers.remove(&link);
                        let config = config_for_learners(configs, leader);
                        return leader.on_caught_up(link, sent, tail, &config);
                    }
                },
                Some(Transfer::Log { reader, sent, started }) => match reader.step() {
                    Ok(LogStep::Blocked) => return,
                    Ok(LogStep::End) => Over::Sent(*sent),
                    Ok(LogStep::Record { zxid, payload }) => {
                        send_committed(peers, link, zxid, &payload);
                        *sent = zxid;
                        leader.on_sent(link, zxid);
                        Over::Not
                    }
                    Ok(LogStep::Start(LogStart::Found)) => {
                        *started = true;
                        peers.send(link, &Message::Diff { zxid: self.tree.last_zxid() });
                        Over::Not
                    }
                    // Nothing was said to the learner yet that a snapshot would contradict.
                    Ok(LogStep::Start(LogStart::Missing { .. })) => Over::Refused,
                    Err(_) if !*started => Over::Refused,
                    Err(_) => Over::Broken,
                },
            };
            match over {
                Over::Not => {}
                // Not even memory reaches back to what it has now; trying the same again would not help.
                Over::Broken => {
                    snapshot_next.extend(leader.server_on(link));
                    return leader.hang_up(link, HangupReason::SlowReader);
                }
                Over::Refused => {
                    // Its reader may have read ahead.
                    self.forget_transfer(link);
                    return self.wait_for_snapshot(link);
                }
                // What comes behind that is in memory.
                Over::Sent(zxid) => {
                    self.forget_transfer(link);
                    if let Some(leading) = self.leading() {
                        leading.transfers.insert(link, Transfer::Memory { sent: zxid });
                    }
                }
            }
        }
    }

    /// What the transfers ask of the disk.
    pub(super) fn poll_transfer_op(&mut self) -> Option<DiskOp> {
        let leading = self.ensemble.as_deref_mut()?.leading_mut()?;
        readers(&mut leading.transfers).find_map(|(_, reader)| reader.poll_op(&mut self.tickets))
    }

    /// The link for which the operation was asked for.
    pub(super) fn transfer_of(&mut self, ticket: Ticket) -> Option<LinkId> {
        readers(&mut self.leading()?.transfers).find(|(_, reader)| reader.owns(ticket)).map(|(link, _)| link)
    }

    pub(super) fn on_transfer_read(&mut self, link: LinkId, done: DiskDone) {
        if let Some(leading) = self.leading()
            && let Some(Transfer::Log { reader, .. }) = leading.transfers.get_mut(&link)
        {
            reader.on_done(done);
        }
        self.continue_transfer(link);
    }
}

/// Whether the log behind `after` is small enough beside a snapshot (PARITY `sync.choice.txnlog`).
fn is_log_worth_it(config: &Config, inventory: &Inventory, after: Zxid) -> bool {
    let ensemble = config.ensemble.as_ref();
    let Some(permille) = ensemble.and_then(|ensemble| ensemble.snapshot_size_permille) else { return false };
    let log_bytes: u64 = inventory.logs_from(after.next()).iter().map(|log| log.size).sum();
    let snapshot_bytes = inventory.snapshots().last().map_or(0, |snapshot| snapshot.size);
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
fn config_for_learners(configs: &Configs, leader: &Leader) -> Bytes {
    if leader.is_serving() { configs.text().clone() } else { configs.newest_text() }
}

/// What came of a step.
enum Over {
    Broken,
    Not,
    Refused,
    Sent(Zxid),
}

fn readers(transfers: &mut BTreeMap<LinkId, Transfer>) -> impl Iterator<Item = (LinkId, &mut LogReader)> {
    transfers.iter_mut().filter_map(|(&link, transfer)| match transfer {
        Transfer::Log { reader, .. } => Some((link, &mut **reader)),
        Transfer::Memory { .. } | Transfer::Snapshot | Transfer::Waiting => None,
    })
}
