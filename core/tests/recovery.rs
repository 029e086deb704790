//! Recovers a directory that ZooKeeper 3.8.0 wrote (Debian's package): a snapshot in the middle of the log, all kinds
//! of znodes, multis, failed operations, a closed session, and an end without a shutdown. ZooKeeper itself said what
//! was in its tree at that moment.

use std::collections::BTreeMap;

use bytes::Bytes;
use zabra_core::config::Config;
use zabra_core::recovery::{Notice, Recovered, Recovery, RecoveryError};
use zabra_core::store::{Dir, DirEntry, DiskAnswer, DiskDone, DiskOp, FileName};
use zabra_core::types::{NodeKind, SessionId, Zxid};

const LAST_ZXID: Zxid = Zxid(0x11);
const DIGEST: u64 = 22_009_131_609;
const SESSION: SessionId = SessionId(0x0100_0037_f77e_0000);

const LOGS: [(&str, &[u8]); 2] =
    [("log.1", include_bytes!("golden/recovery/log.1")), ("log.9", include_bytes!("golden/recovery/log.9"))];
const SNAPSHOTS: [(&str, &[u8]); 4] = [
    ("snapshot.0", include_bytes!("golden/recovery/snapshot.0")),
    ("snapshot.8", include_bytes!("golden/recovery/snapshot.8")),
    ("snapshot.8.gz", include_bytes!("golden/recovery/snapshot.8.gz")),
    ("snapshot.8.snappy", include_bytes!("golden/recovery/snapshot.8.snappy")),
];

type Files = BTreeMap<FileName, &'static [u8]>;

fn recover(files: &Files) -> Recovered {
    let (recovered, written) = recover_accepting(files, false).unwrap_or_else(|error| panic!("{error}"));
    assert!(written.is_empty(), "there is nothing to repair: {written:?}");
    recovered
}

/// Likewise where an operator may have accepted a loss; also returns the files that were written.
fn recover_accepting(
    files: &Files,
    accept_data_loss: bool,
) -> Result<(Recovered, Vec<FileName>), RecoveryError> {
    let config = Config { extended_types: true, accept_data_loss, ..Config::default() };
    let mut written = Vec::new();
    let mut recovery = Recovery::new(&config, [1, 2, 3, 4], false);
    let entry =
        |(file, bytes): (&FileName, &&[u8])| DirEntry { file: file.clone(), size: bytes.len() as u64 };
    loop {
        let mut asked = Vec::new();
        while let Some(op) = recovery.poll_op() {
            asked.push(op);
        }
        if let Some(outcome) = recovery.poll_outcome() {
            return outcome.map(|recovered| (recovered, written));
        }
        for op in asked {
            let ticket = op.ticket();
            let answer = match op {
                DiskOp::List { .. } => DiskAnswer::Listing(files.iter().map(entry).collect()),
                DiskOp::Read { file, offset, len, .. } => {
                    let rest = files[&file].get(offset as usize..).unwrap_or_default();
                    DiskAnswer::Data(Bytes::copy_from_slice(&rest[..len.min(rest.len())]))
                }
                // The newest log is made durable before it is served, and what it was preallocated to goes.
                DiskOp::Truncate { file, size, .. } => {
                    let padding = &files[&file][size as usize..];
                    assert!(padding.iter().all(|byte| *byte == 0), "a record is cut off");
                    DiskAnswer::Done
                }
                DiskOp::Sync { .. } => DiskAnswer::Done,
                DiskOp::Replace { file, .. } => {
                    written.push(file);
                    DiskAnswer::Done
                }
                other => panic!("there is nothing to repair: {other:?}"),
            };
            recovery.on_done(DiskDone { ticket, result: Ok(answer) });
        }
    }
}

fn logs() -> Files {
    LOGS.into_iter().map(|(name, bytes)| (FileName { dir: Dir::Log, name: name.into() }, bytes)).collect()
}

fn check(recovered: &Recovered) {
    assert_eq!(recovered.last_zxid, LAST_ZXID);
    assert_eq!(recovered.tree.digest(), DIGEST);
    let mismatch = recovered.report.iter().any(|notice| matches!(notice, Notice::DigestMismatch { .. }));
    assert!(!mismatch, "{:?}", recovered.report);
    let node = |path: &str| recovered.tree.node(path);
    assert_eq!(node("/a").expect("it was created").data(), Some(&b"two"[..]));
    assert_eq!(node("/a").expect("it was created").stat().version, 1);
    assert_eq!(node("/e").expect("its session is open").stat().ephemeral_owner, SESSION);
    assert_eq!(node("/c").expect("it was created").kind(), NodeKind::Container);
    assert_eq!(node("/m").expect("the multi went through").stat().czxid, Zxid(0xc));
    for gone in ["/m2", "/e2", "/a/s-0000000002"] {
        assert!(node(gone).is_none(), "{gone}");
    }
    let sessions: Vec<_> = recovered.sessions.iter().map(|(session, timeout)| (*session, *timeout)).collect();
    assert_eq!(sessions, [(SESSION, 20_000)]);
}

/// PARITY `disk.load.order`, `disk.snap.compress`: from each snapshot alone the same comes out, and ZooKeeper's own
/// digests agree with every step.
#[test]
fn disk_load_order_of_a_directory_from_java() {
    for (name, bytes) in SNAPSHOTS {
        let mut files = logs();
        files.insert(FileName { dir: Dir::Snapshot, name: name.into() }, bytes);
        let recovered = recover(&files);
        check(&recovered);
        let replayed = if name == "snapshot.0" { 0x11 } else { 9 };
        assert_eq!(recovered.replayed_txns, replayed, "{name}");
    }
}

/// PARITY `disk.snap.try`: a damaged snapshot, compressed or not, makes way for an older one.
#[test]
fn disk_snap_try_of_a_directory_from_java() {
    for (name, bytes) in &SNAPSHOTS[1..] {
        let mut files = logs();
        let half: &[u8] = &bytes[..bytes.len() / 2];
        files.insert(FileName { dir: Dir::Snapshot, name: (*name).into() }, half);
        files.insert(FileName { dir: Dir::Snapshot, name: "snapshot.0".into() }, SNAPSHOTS[0].1);
        let recovered = recover(&files);
        check(&recovered);
        assert!(recovered.report.iter().any(|notice| matches!(notice, Notice::SnapshotUnreadable { .. })));
    }
}

/// PARITY `disk.snap.fuzzy`: of a snapshot that ends behind the transaction it is named after, and no log, nothing is made
/// unasked; and if it is, it is all that there is in it.
#[test]
fn disk_snap_fuzzy_alone_is_used_only_by_who_accepts_the_loss() {
    for (name, bytes) in &SNAPSHOTS[1..] {
        let file = FileName { dir: Dir::Snapshot, name: name.replace('8', "7") };
        let files = Files::from([(file.clone(), *bytes)]);
        let error = recover_accepting(&files, false).expect_err("the log is missing");
        assert_eq!(error, RecoveryError::PartialSnapshot { snapshot: file, reaches: Zxid(8) });
        let (recovered, written) = recover_accepting(&files, true).expect("it is accepted");
        assert_eq!((recovered.last_zxid, recovered.digest_mismatches), (Zxid(8), 0));
        assert!(recovered.tree.node("/a").is_some());
        assert_eq!(recovered.sessions.keys().collect::<Vec<_>>(), [&SESSION]);
        assert_eq!(written, [FileName { dir: Dir::Snapshot, name: "snapshot.8".into() }]);
    }
}
