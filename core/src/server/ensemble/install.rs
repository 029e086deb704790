//! What changes the database under a learner: its log is cut, or a snapshot from the leader takes its place.
//!
//! Both wait until the disk is at rest, and once begun both run to their end, whatever becomes of the leader meanwhile:
//! they leave nothing half done in memory, for memory changes last, and nothing on the disk that the next start could
//! not go on from.
//!
//! ```text
//! TRUNC(z)   recovery with the limit z: cuts the log, reads everything again         (recovery::rewind)
//! SNAP(z)    if the log goes beyond z: as TRUNC(z), for nobody must find that behind snapshot.z; if something is
//!            damaged: as TRUNC(where the log ends)
//!            snapshot.z from the bytes that come                  ● durable
//!            remove every log file: they end before z, and what follows z would seem to continue them
//!            the tree that was read takes the place of the one there was
//! ```
//!
//! TRUNC(z) is not always possible: nothing may lead up to z but what a snapshot from behind z holds together with what
//! was never committed. Others may rely on what is in it, so it stays until there is another:
//!
//! ```text
//! TRUNC(z)   nothing is changed, and the leader is asked for a snapshot instead
//! SNAP(z)    as TRUNC(s), where s is the newest snapshot here
//!            snapshot.z from the bytes that come                  ● durable; who starts now still finds snapshot.s
//!            remove every log file, and every snapshot behind z but snapshot.s
//!            remove snapshot.s
//!            the tree that was read takes the place of the one there was
//! ```
//!
//! If there is no such snapshot that is whole, everything goes before the leader's comes, and from before that on this server
//! has no vote.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;
use rand_core::RngCore;

use super::{Ensemble, Role};
use crate::recovery::{Recovered, Recovery, RecoveryError};
use crate::server::{Action, Event, HaltReason, Phase, Server, log_header};
use crate::store::{DiskDone, DiskError, DiskOp, FileName, LogWriter, SnapshotOutcome, Snapshotter};
use crate::tree::{Tree, TreeLoader, TreeOptions};
use crate::types::{AclList, SessionId, Ticket, Zxid};
use crate::wire::DecodeError;
use crate::wire::compressor::Compressor;
use crate::wire::snapshot::{Decoder, Encoder, Item};
use crate::zab::learner::LostReason;

/// See the module.
#[derive(Debug)]
pub(super) enum Work {
    Installing(Box<Install>),
    None,
    Rewinding(Box<Rewind>),
    /// Waits for the disk to be at rest.
    Wanted(Wanted),
}

impl Work {
    pub(super) const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    Install(Zxid),
    /// As that, over the newest snapshot here, which holds more and stays until then.
    InstallOver(Zxid),
    Rewind(Zxid),
    /// As that, of what was never acknowledged; and no less wanted once the leader is lost.
    TakeBack(Zxid),
}

/// The log is being cut.
#[derive(Debug)]
pub(super) struct Rewind {
    recovery: Recovery,
    zxid: Zxid,
    /// What it is for.
    purpose: Purpose,
}

#[derive(Clone, Copy, Debug)]
enum Purpose {
    /// The leader wants it.
    Cut,
    /// A snapshot is to be installed then.
    Install(Zxid),
    /// A snapshot is to be installed over the newest one here.
    InstallOver(Zxid),
    /// A snapshot is to be installed, and everything goes before.
    Replace(Zxid),
    /// What was never acknowledged goes.
    TakeBack,
}

/// A snapshot comes, and goes to the disk.
#[derive(Debug)]
pub(super) struct Install {
    zxid: Zxid,
    decoder: Decoder,
    loader: Option<TreeLoader>,
    tree: Option<Tree>,
    sessions: BTreeMap<SessionId, i32>,
    acls: Vec<(i64, AclList)>,
    /// Begun with the first znode, when it is known how many sessions and lists there are.
    encoder: Option<Encoder>,
    /// Taken with the last of it.
    compressor: Option<Compressor>,
    chunk: Vec<u8>,
    /// What is being removed once the snapshot is durable, step by step, and by which request.
    removing: VecDeque<Vec<FileName>>,
    removal: Option<Ticket>,
    finished: bool,
}

impl Server {
    pub(super) fn begin_rewind(&mut self, zxid: Zxid) {
        self.want(Wanted::Rewind(zxid));
    }

    pub(super) fn begin_take_back(&mut self, zxid: Zxid) {
        self.want(Wanted::TakeBack(zxid));
    }

    pub(super) fn begin_install(&mut self, zxid: Zxid) {
        self.want(Wanted::Install(zxid));
    }

    fn want(&mut self, wanted: Wanted) {
        self.abandon_snapshots();
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        assert!(ensemble.work.is_none(), "a learner asks for one thing at a time");
        ensemble.work = Work::Wanted(wanted);
    }

    /// Gives up the snapshot that is being written or received, unless it is all there.
    pub(in crate::server) fn abandon_snapshots(&mut self) {
        if self.snapshot.take().is_some() {
            self.tree.end_snapshot();
            self.snapshotter.abandon();
        } else if self.unfinished_snapshot.take().is_some() {
            self.snapshotter.abandon();
        }
        self.abandon_install();
    }

    /// Gives up the snapshot that is being received, unless it is all there, and what waits for the disk to be at rest.
    fn abandon_install(&mut self) {
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        match &ensemble.work {
            Work::Installing(install) if !install.finished => {
                ensemble.work = Work::None;
                self.snapshotter.abandon();
            }
            Work::Wanted(Wanted::Install(_) | Wanted::InstallOver(_) | Wanted::Rewind(_)) => {
                ensemble.work = Work::None;
            }
            Work::Installing(_) | Work::None | Work::Rewinding(_) | Work::Wanted(Wanted::TakeBack(_)) => {}
        }
    }

    /// Whether the disk belongs to recovery alone.
    pub(in crate::server) fn is_rewinding(&self) -> bool {
        matches!(self.ensemble.as_deref(), Some(Ensemble { work: Work::Rewinding(_), .. }))
    }

    /// Begins what is wanted, if the disk is at rest.
    pub(super) fn begin_work(&mut self) {
        let at_rest = self.log.is_idle() && !self.snapshotter.is_running() && self.purger.is_idle();
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        let Work::Wanted(wanted) = ensemble.work else { return };
        // A server that stops would wait for the end of what it begins.
        if !at_rest || !ensemble.promises.is_idle() || self.phase != Phase::Running {
            return;
        }
        match wanted {
            Wanted::Rewind(zxid) => self.rewind(zxid, Purpose::Cut),
            Wanted::TakeBack(zxid) => self.rewind(zxid, Purpose::TakeBack),
            Wanted::Install(zxid) if self.log.appended() > zxid => self.rewind(zxid, Purpose::Install(zxid)),
            Wanted::Install(zxid) if ensemble.is_damaged => {
                self.rewind(self.log.appended(), Purpose::Install(zxid));
            }
            Wanted::Install(zxid) | Wanted::InstallOver(zxid) => self.install(zxid),
        }
    }

    fn rewind(&mut self, zxid: Zxid, purpose: Purpose) {
        let seed = self.hash_seed();
        let tickets = mem::take(&mut self.tickets);
        let recovery = match purpose {
            Purpose::Replace(_) => Recovery::discarding(&self.config, seed),
            _ => Recovery::rewinding(&self.config, seed, zxid),
        };
        let recovery = recovery.with_tickets(tickets);
        if let Some(ensemble) = self.ensemble.as_deref_mut() {
            ensemble.work = Work::Rewinding(Box::new(Rewind { recovery, zxid, purpose }));
        }
    }

    /// A snapshot is to be installed, and what there is does not lead up to it. ZooKeeper's servers have such a history: one
    /// that has led, and had nothing to do, may leave a snapshot of its epoch's beginning and no other, and the next
    /// leader may never have heard of that epoch.
    fn install_over(&mut self, zxid: Zxid) {
        let snapshots = self.inventory.snapshots();
        match snapshots.iter().rfind(|snapshot| snapshot.complete).filter(|newest| newest.zxid > zxid) {
            Some(newest) => self.rewind(newest.zxid, Purpose::InstallOver(zxid)),
            None => self.replace_everything(zxid),
        }
    }

    /// Likewise, and nothing that there is can be relied on: all of it goes. Until the snapshot is there, nothing of what this
    /// server once acknowledged is, so it must not vote.
    fn replace_everything(&mut self, zxid: Zxid) {
        if let Some(ensemble) = self.ensemble.as_deref_mut() {
            ensemble.has_data = false;
        }
        self.rewind(Zxid::ZERO, Purpose::Replace(zxid));
    }

    fn hash_seed(&mut self) -> [u64; 4] {
        core::array::from_fn(|_| self.hash_rng.next_u64())
    }

    fn install(&mut self, zxid: Zxid) {
        let seed = self.hash_seed();
        let options = TreeOptions {
            extended_types: self.config.extended_types,
            digest_enabled: self.config.digest_enabled,
        };
        let install = Install {
            zxid,
            decoder: Decoder::stream(self.config.stored_field_max()),
            loader: Some(TreeLoader::new(options, seed)),
            tree: None,
            sessions: BTreeMap::new(),
            acls: Vec::new(),
            encoder: None,
            compressor: Some(Compressor::new(self.config.snapshot_compression)),
            chunk: Vec::new(),
            removing: VecDeque::new(),
            removal: None,
            finished: false,
        };
        self.snapshotter.begin_received(zxid, self.snapshot_rng.next_u64());
        if let Some(ensemble) = self.ensemble.as_deref_mut() {
            ensemble.work = Work::Installing(Box::new(install));
        }
    }

    pub(super) fn rewind_owns(&self, ticket: Ticket) -> bool {
        match self.ensemble.as_deref() {
            Some(Ensemble { work: Work::Rewinding(rewind), .. }) => rewind.recovery.owns(ticket),
            _ => false,
        }
    }

    /// What recovery asks of the disk.
    pub(super) fn poll_rewind_op(&mut self) -> Option<DiskOp> {
        match self.ensemble.as_deref_mut() {
            Some(Ensemble { work: Work::Rewinding(rewind), .. }) => rewind.recovery.poll_op(),
            _ => None,
        }
    }

    pub(super) fn on_rewind_done(&mut self, done: DiskDone) {
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        let Work::Rewinding(rewind) = &mut ensemble.work else { return };
        rewind.recovery.on_done(done);
        let Some(outcome) = rewind.recovery.poll_outcome() else { return };
        let Work::Rewinding(rewind) = mem::replace(&mut ensemble.work, Work::None) else {
            unreachable!("it was there some lines above")
        };
        let Rewind { recovery, zxid, purpose } = *rewind;
        self.tickets = recovery.into_tickets();
        match (outcome, purpose) {
            (Ok(recovered), _) => self.on_rewound(recovered, zxid, purpose),
            // Nothing was changed.
            (Err(RecoveryError::CannotRewind { .. }), Purpose::Cut) => self.on_rewind_refused(),
            (Err(RecoveryError::CannotRewind { .. }), Purpose::Install(snapshot)) => {
                self.install_over(snapshot);
            }
            (Err(RecoveryError::CannotRewind { .. }), Purpose::InstallOver(snapshot)) => {
                self.replace_everything(snapshot);
            }
            (Err(error), _) => self.halt(HaltReason::Rewind { zxid, error: Box::new(error) }),
        }
    }

    fn on_rewind_refused(&mut self) {
        if let Some(Ensemble { role: Role::Learning(learning), .. }) = self.ensemble.as_deref_mut() {
            learning.learner.on_rewind_refused();
            learning.learner.heard(self.now.mono);
        }
    }

    fn on_rewound(&mut self, recovered: Recovered, asked: Zxid, purpose: Purpose) {
        let last_zxid = recovered.last_zxid;
        let Recovered { tree, sessions, inventory, replayed_txns, replayed_bytes, .. } = recovered;
        self.inventory = inventory;
        let draw = self.snapshot_rng.next_u64();
        self.snapshotter = Snapshotter::new(&self.config, draw, replayed_txns, replayed_bytes);
        self.replace_database(tree, sessions, last_zxid);
        self.tell(Event::Rewound { asked, last_zxid });
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        ensemble.is_damaged = false;
        let Role::Learning(learning) = &mut ensemble.role else { return };
        match purpose {
            Purpose::Install(zxid) | Purpose::Replace(zxid) => {
                ensemble.work = Work::Wanted(Wanted::Install(zxid));
            }
            Purpose::InstallOver(zxid) => ensemble.work = Work::Wanted(Wanted::InstallOver(zxid)),
            Purpose::Cut | Purpose::TakeBack => {
                learning.learner.on_rewound(asked, last_zxid);
                learning.learner.heard(self.now.mono);
            }
        }
    }

    fn replace_database(&mut self, tree: Tree, sessions: BTreeMap<SessionId, i32>, last_zxid: Zxid) {
        assert!(self.log.is_idle(), "the log is at rest when the database changes");
        self.tree = tree;
        self.sessions.replace(sessions, self.now.mono);
        self.proposals.clear();
        self.log = LogWriter::new(&self.config, log_header(), last_zxid);
        self.reset_pending();
        if let Some(ensemble) = self.ensemble.as_deref_mut() {
            ensemble.tail.reset(last_zxid);
            ensemble.configs.reload(&self.tree);
        }
        self.show_configs();
        self.write_config();
        self.rolled_behind = None;
        self.digest_differs = false;
    }

    /// Whether a snapshot that the leader sends waits for more of it, and not for this server's disk.
    pub(super) fn has_room_for_snapshot(&self) -> bool {
        let receives = |work: &Work| matches!(work, Work::Installing(install) if !install.finished);
        self.snapshotter.wants_chunk() && self.ensemble.as_deref().is_some_and(|it| receives(&it.work))
    }

    /// Bytes of the snapshot, as far as there is room for them on the way to the disk. Whether there were any.
    pub(super) fn receive_snapshot(&mut self) -> bool {
        if !self.snapshotter.wants_chunk() {
            return false;
        }
        let limit = self.config.received_chunk_bytes;
        let Some(Ensemble { work: Work::Installing(install), role: Role::Learning(learning), peers, .. }) =
            self.ensemble.as_deref_mut()
        else {
            return false;
        };
        if install.finished {
            return false;
        }
        let Some(peer) = learning.learner.link().and_then(|link| peers.get(link)) else { return false };
        let Some(bytes) = peer.deframer.raw() else { return false };
        match install.push(&bytes) {
            Ok(None) => {
                if install.chunk.len() >= limit {
                    // As much again without growing step by step, and the last item of a read on top.
                    let next = Vec::with_capacity(limit + limit / 8);
                    let chunk = mem::replace(&mut install.chunk, next);
                    let compressor = install.compressor.as_mut().expect("there is more to come");
                    self.snapshotter.chunk(Bytes::from(compressor.push(chunk)));
                }
            }
            Ok(Some(rest)) => {
                peer.deframer.unread(rest);
                install.finished = true;
                let compressor = install.compressor.take().expect("the end comes once");
                let last = compressor.finish(mem::take(&mut install.chunk));
                self.snapshotter.chunk(Bytes::from(last));
                self.snapshotter.finish();
            }
            Err(Refused) => {
                learning.learner.on_snapshot_refused();
            }
        }
        true
    }

    /// The snapshot that is written has come further: one from the leader, if this returns true.
    pub(in crate::server) fn on_install_done(&mut self, outcome: &SnapshotOutcome) -> bool {
        let Some(Ensemble { work: Work::Installing(install), .. }) = self.ensemble.as_deref_mut() else {
            return false;
        };
        match outcome {
            SnapshotOutcome::Ongoing => {}
            SnapshotOutcome::Finished { entry, .. } => {
                self.inventory.add(entry.clone());
                self.inventory.mark_complete(&entry.file, true);
                let logs = self.inventory.logs().iter().map(|log| log.file.clone());
                let newer = self.inventory.snapshots().iter().filter(|snapshot| snapshot.zxid > install.zxid);
                let mut files: Vec<FileName> = newer.map(|snapshot| snapshot.file.clone()).collect();
                // As long as it is there, the log behind it may be.
                let newest = files.pop();
                files.extend(logs);
                install.removing =
                    [Some(files), newest.map(|newest| Vec::from([newest]))].into_iter().flatten().collect();
                self.remove_replaced();
            }
            // It is a learner without its snapshot, which comes back for it, with what was here, less what had to go before
            // a snapshot of that zxid. Room can be made under a server that runs. Any other failure may be of a disk that
            // cannot be trusted.
            SnapshotOutcome::Failed { zxid, error: error @ DiskError::Full } => {
                let (zxid, error) = (*zxid, *error);
                let Some(ensemble) = self.ensemble.as_deref_mut() else { return true };
                ensemble.work = Work::None;
                if let Role::Learning(learning) = &mut ensemble.role {
                    learning.learner.fail(LostReason::SnapshotNotKept);
                }
                self.tell(Event::SnapshotFailed { zxid, error });
            }
            SnapshotOutcome::Failed { error, .. } => {
                let doing = alloc::string::String::from("writing the snapshot that the leader sent");
                let error = *error;
                self.halt(HaltReason::Disk { doing, error });
            }
        }
        true
    }

    pub(super) fn install_owns(&self, ticket: Ticket) -> bool {
        match self.ensemble.as_deref() {
            Some(Ensemble { work: Work::Installing(install), .. }) => install.removal == Some(ticket),
            _ => false,
        }
    }

    /// The next step of removing what was there before the snapshot.
    fn remove_replaced(&mut self) {
        let Some(Ensemble { work: Work::Installing(install), .. }) = self.ensemble.as_deref_mut() else {
            return;
        };
        let Some(files) = install.removing.front().cloned() else { return self.on_installed() };
        let ticket = self.tickets.issue();
        install.removal = Some(ticket);
        self.actions.push_back(Action::Disk(DiskOp::Remove { ticket, files }));
    }

    pub(super) fn on_replaced_removed(&mut self, done: &DiskDone) {
        if let Err(error) = done.result {
            let doing = alloc::string::String::from("removing what was there before the leader's snapshot");
            return self.halt(HaltReason::Disk { doing, error });
        }
        let Some(Ensemble { work: Work::Installing(install), .. }) = self.ensemble.as_deref_mut() else {
            return;
        };
        for file in install.removing.pop_front().unwrap_or_default() {
            self.inventory.remove(&file);
        }
        self.remove_replaced();
    }

    /// What was there before is gone: the snapshot is the database.
    fn on_installed(&mut self) {
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        let Work::Installing(install) = mem::replace(&mut ensemble.work, Work::None) else { return };
        let Install { zxid, tree, sessions, .. } = *install;
        let tree = tree.expect("a snapshot that is all there is a tree");
        self.replace_database(tree, sessions, zxid);
        self.tell(Event::SnapshotInstalled { zxid });
        let now = self.now.mono;
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        ensemble.wants_snapshot = false;
        if let Role::Learning(learning) = &mut ensemble.role {
            learning.learner.on_snapshot_installed(zxid);
            learning.learner.heard(now);
        }
    }
}

/// What came is no snapshot.
#[derive(Debug)]
struct Refused;

impl From<DecodeError> for Refused {
    fn from(_: DecodeError) -> Self {
        Self
    }
}

impl Install {
    /// Takes bytes of the stream. Once all of it has come, returns those that came behind it.
    fn push(&mut self, bytes: &[u8]) -> Result<Option<Bytes>, Refused> {
        self.decoder.push(bytes);
        loop {
            let Some(item) = self.decoder.next()? else { return Ok(None) };
            let loader = self.loader.as_mut().expect("nothing comes behind the end");
            match item {
                Item::AclEntry { id, list } => {
                    self.acls.push((id, list.clone()));
                    loader.load_acl(id, list);
                }
                // Neither is in a stream.
                Item::Digest { .. } | Item::LastZxid(_) => return Err(Refused),
                Item::End => break,
                Item::Node { path, data, acl, stat } => {
                    let chunk = &mut self.chunk;
                    let (sessions, acls) = (&self.sessions, &self.acls);
                    let encoder = self.encoder.get_or_insert_with(|| {
                        let sessions = sessions.iter().map(|(&session, &timeout_ms)| (session, timeout_ms));
                        let acls = acls.iter().map(|(id, list)| (*id, list));
                        Encoder::head(chunk, Encoder::begin, sessions, acls)
                    });
                    encoder.node(chunk, path, data, acl, &stat);
                    loader.load_node(path, data.map(Box::from), acl, stat).map_err(|_| Refused)?;
                }
                Item::Session { session, timeout_ms } => {
                    self.sessions.insert(session, timeout_ms);
                }
            }
        }
        let loader = self.loader.take().expect("the end comes once");
        self.tree = Some(loader.finish_load(self.zxid).map_err(|_| Refused)?);
        let encoder = self.encoder.as_mut().ok_or(Refused)?;
        encoder.end_nodes(&mut self.chunk);
        let decoder = mem::replace(&mut self.decoder, Decoder::stream(0));
        Ok(Some(Bytes::from(decoder.into_rest())))
    }
}
