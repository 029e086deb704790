//! A learner is brought up to date, as fast as it takes what it is sent.
//!
//! What is in memory, what has to be read from the log, and what is encoded from the tree goes in pieces, for as long as
//! little enough waits on the link; so a slow learner costs neither memory nor time. Snapshots are made of the
//! tree as it is when they begin, while writes go on, one at a time: the next learner waits for its turn. A snapshot for
//! a learner and one for the disk do not run at the same time either.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

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
use crate::zab::sync::{Sync, choose};

/// Bytes that wait on a link before more is read or encoded for it.
const WINDOW_BYTES: usize = 1 << 20;

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
    /// By a snapshot, whose turn has come.
    Snapshot { zxid: Zxid, encoder: Encoder },
    /// By a snapshot, whose turn has not come.
    Waiting,
}

impl Server {
    pub(super) fn begin_transfer(&mut self, link: LinkId, last_zxid: Zxid) {
        let force = self.config.ensemble.as_ref().is_some_and(|ensemble| ensemble.force_snapshot_sync);
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        let Ensemble { role: Role::Leading(leading), tail, peers, history_base, .. } = ensemble else {
            return;
        };
        let server = leading.leader.server_on(link);
        let force = force || server.is_some_and(|server| leading.snapshot_next.remove(&server));
        let mut choice = choose(last_zxid, tail, *history_base, force);
        if let Sync::Log { after } = choice
            && !is_log_worth_it(&self.config, &self.inventory, after)
        {
            choice = Sync::Snap;
        }
        match choice {
            Sync::Diff { after } => {
                let zxid = if after == tail.committed() { after } else { tail.committed() };
                peers.send(link, &Message::Diff { zxid });
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
            Sync::Snap => {
                leading.transfers.insert(link, Transfer::Waiting);
                self.continue_transfers();
            }
        }
    }

    fn begin_log_transfer(&mut self, link: LinkId, after: Zxid) {
        let until = self.log.durable().min(self.tree.last_zxid());
        let reader = Box::new(LogReader::new(&self.config, &self.inventory, after, until));
        if let Some(Ensemble { role: Role::Leading(leading), .. }) = self.ensemble.as_deref_mut() {
            leading.transfers.insert(link, Transfer::Log { reader, sent: after, started: false });
        }
        self.continue_transfers();
    }

    pub(super) fn forget_transfer(&mut self, link: LinkId) {
        let Some(Ensemble { role: Role::Leading(leading), stale, .. }) = self.ensemble.as_deref_mut() else {
            return;
        };
        match leading.transfers.remove(&link) {
            Some(Transfer::Snapshot { .. }) => self.tree.end_snapshot(),
            Some(Transfer::Log { reader, .. }) => stale.extend(reader.in_flight()),
            Some(Transfer::Memory { .. } | Transfer::Waiting) | None => {}
        }
    }

    /// Somebody may have waited for the tree to be free.
    pub(super) fn continue_waiting_transfers(&mut self) {
        let waiting = match self.ensemble.as_deref() {
            Some(Ensemble { role: Role::Leading(leading), .. }) => {
                leading.transfers.values().any(|transfer| matches!(transfer, Transfer::Waiting))
            }
            _ => false,
        };
        if waiting && self.snapshot.is_none() && !self.is_sending_snapshot() {
            self.continue_transfers();
        }
    }

    /// All transfers end with the leadership.
    pub(super) fn forget_transfers(&mut self) {
        let links: Vec<LinkId> = match self.ensemble.as_deref() {
            Some(Ensemble { role: Role::Leading(leading), .. }) => {
                leading.transfers.keys().copied().collect()
            }
            _ => return,
        };
        for link in links {
            self.forget_transfer(link);
        }
    }

    /// Whether the tree is being walked for a learner.
    pub(in crate::server) fn is_sending_snapshot(&self) -> bool {
        match self.ensemble.as_deref() {
            Some(Ensemble { role: Role::Leading(leading), .. }) => {
                leading.transfers.values().any(|transfer| matches!(transfer, Transfer::Snapshot { .. }))
            }
            _ => false,
        }
    }

    /// Sends what learners have room for.
    pub(super) fn continue_transfers(&mut self) {
        let links: Vec<LinkId> = match self.ensemble.as_deref() {
            Some(Ensemble { role: Role::Leading(leading), .. }) => {
                leading.transfers.keys().copied().collect()
            }
            _ => return,
        };
        for link in links {
            self.begin_snapshot_transfer(link);
            self.continue_transfer(link);
        }
    }

    /// The learner's turn for a snapshot has come, if nobody else walks the tree.
    fn begin_snapshot_transfer(&mut self, link: LinkId) {
        if self.snapshot.is_some() || self.is_sending_snapshot() {
            return;
        }
        let Some(Ensemble { role: Role::Leading(leading), peers, .. }) = self.ensemble.as_deref_mut() else {
            return;
        };
        if !matches!(leading.transfers.get(&link), Some(Transfer::Waiting)) {
            return;
        }
        let zxid = self.tree.begin_snapshot().zxid;
        peers.send(link, &Message::Snap { zxid });
        let (sessions, tree) = (&self.sessions, &self.tree);
        let mut encoder = None;
        peers.write(link, |out| {
            let mut begun = Encoder::begin_stream(out, sessions.timeouts().count());
            for (session, timeout_ms) in sessions.timeouts() {
                begun.session(out, session, timeout_ms);
            }
            begun.begin_acls(out, tree.acl_entries().count());
            for (id, acl) in tree.acl_entries() {
                begun.acl(out, id, acl.entries());
            }
            encoder = Some(begun);
        });
        // What commits from here on is kept for the learner.
        leading.leader.on_sent(link, zxid);
        let transfer = encoder.map(|encoder| Transfer::Snapshot { zxid, encoder });
        match transfer {
            Some(transfer) => drop(leading.transfers.insert(link, transfer)),
            None => self.tree.end_snapshot(),
        }
    }

    fn continue_transfer(&mut self, link: LinkId) {
        let chunk_bytes = self.config.snapshot_chunk_bytes;
        let limit = self.config.ensemble.as_ref().map_or(usize::MAX, |ensemble| ensemble.link_outbox_bytes);
        let window = WINDOW_BYTES.min(limit / 4);
        while let Some(Ensemble { role: Role::Leading(leading), peers, tail, config_text, .. }) =
            self.ensemble.as_deref_mut()
        {
            if peers.owed(link) > window {
                return;
            }
            let Leading { leader, transfers, snapshot_next, .. } = &mut **leading;
            let over = match transfers.get_mut(&link) {
                None | Some(Transfer::Waiting) => return,
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
                        return leader.on_caught_up(link, sent, tail, config_text);
                    }
                },
                Some(Transfer::Snapshot { zxid, encoder }) => {
                    let tree = &mut self.tree;
                    let mut more = true;
                    peers.write(link, |out| {
                        more = tree.snapshot_chunk(chunk_bytes, &mut |node| {
                            encoder.node(out, node.path, node.data, node.acl_id, &node.stat);
                        });
                        if !more {
                            encoder.end_nodes(out);
                        }
                    });
                    if more { Over::Not } else { Over::Sent(*zxid) }
                }
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
                    transfers.insert(link, Transfer::Waiting);
                    return self.begin_snapshot_transfer(link);
                }
                // What comes behind that is in memory.
                Over::Sent(zxid) => {
                    self.forget_transfer(link);
                    if let Some(Ensemble { role: Role::Leading(leading), .. }) = self.ensemble.as_deref_mut()
                    {
                        leading.transfers.insert(link, Transfer::Memory { sent: zxid });
                    }
                }
            }
        }
    }

    /// What the transfers ask of the disk.
    pub(super) fn poll_transfer_op(&mut self) -> Option<DiskOp> {
        let Some(Ensemble { role: Role::Leading(leading), .. }) = self.ensemble.as_deref_mut() else {
            return None;
        };
        readers(&mut leading.transfers).find_map(|(_, reader)| reader.poll_op(&mut self.tickets))
    }

    /// The link for which the operation was asked for.
    pub(super) fn transfer_of(&mut self, ticket: Ticket) -> Option<LinkId> {
        let Some(Ensemble { role: Role::Leading(leading), .. }) = self.ensemble.as_deref_mut() else {
            return None;
        };
        readers(&mut leading.transfers).find(|(_, reader)| reader.owns(ticket)).map(|(link, _)| link)
    }

    pub(super) fn on_transfer_read(&mut self, link: LinkId, done: DiskDone) {
        if let Some(Ensemble { role: Role::Leading(leading), .. }) = self.ensemble.as_deref_mut()
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
        Transfer::Memory { .. } | Transfer::Snapshot { .. } | Transfer::Waiting => None,
    })
}
