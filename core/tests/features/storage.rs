//! What a server writes to its disk, and what becomes of it when the disk refuses.

use std::time::Duration;

use zabra_core::config::Config;
use zabra_core::server::Event;
use zabra_core::store::{DiskAnswer, DiskError, DiskOp};
use zabra_core::testing::lone::{LoneServer, new_session};
use zabra_core::types::{Compression, OpCode, Txn, TxnDigest, TxnHeader};
use zabra_core::wire::Request;
use zabra_core::wire::compression::Decompressor;
use zabra_core::wire::record::{Scan, scan};

use crate::ask::{create, make, must, server_with};

/// The records that wait to be written, decoded.
fn held_records(lone: &LoneServer) -> Vec<(TxnHeader, Txn, Option<TxnDigest>)> {
    let mut records = Vec::new();
    for op in lone.held() {
        let DiskOp::LogAppend { bytes, .. } = op else { continue };
        let mut rest = &bytes[..];
        while let Scan::Record { payload, total_len } = scan(rest, usize::MAX) {
            records.push(zabra_core::wire::txn::decode(payload, usize::MAX).expect("a transaction"));
            rest = &rest[total_len..];
        }
    }
    records
}

/// `disk.log.payload`: a record that cannot say with which others it was written is written before them.
#[test]
fn disk_log_payload_without_a_mark_begins_a_write() {
    let (mut lone, conn) = server_with(Config { close_session_txn: false, ..Config::default() });
    let closing = lone.connect();
    lone.handshake(closing, &new_session(10_000)).expect("a session");
    lone.hold_disk();
    lone.send(conn, 1, OpCode::CREATE, &create("/a", 0));
    lone.send(conn, 2, OpCode::CREATE, &create("/b", 0));
    lone.send(closing, 1, OpCode::CLOSE_SESSION, &Request::CloseSession);
    lone.send(conn, 3, OpCode::CREATE, &create("/c", 0));
    let mut written = Vec::new();
    while lone.held().next().is_some() {
        let ops: Vec<_> = held_records(&lone).into_iter().map(|(header, ..)| header.op).collect();
        written.extend((!ops.is_empty()).then_some(ops));
        lone.end_next(Ok(DiskAnswer::Done));
    }
    let expected = [vec![OpCode::CREATE], vec![OpCode::CREATE], vec![OpCode::CLOSE_SESSION, OpCode::CREATE]];
    assert_eq!(written, expected);
}

/// Makes a snapshot due at the next write, and keeps what it asks of the disk.
fn snapshot_due(config: Config) -> LoneServer {
    let (mut lone, conn) = server_with(Config { snap_count: 2, ..config });
    lone.hold_disk();
    for name in ["/a", "/b", "/c"] {
        lone.send(conn, 1, OpCode::CREATE, &create(name, 0));
    }
    while !matches!(lone.held().next(), Some(DiskOp::SnapshotCreate { .. })) {
        lone.end_next(Ok(DiskAnswer::Done));
    }
    lone
}

/// `disk.snap.trigger`: a start with the newest snapshot needs no log file but those that begin behind it, however much
/// was on its way to the disk when the snapshot became due.
#[test]
fn disk_snap_trigger_the_log_goes_on_in_a_new_file_first() {
    let (mut lone, conn) = server_with(Config { snap_count: 20, ..Config::default() });
    lone.hold_disk();
    let zxid = |name: &str| name.rsplit('.').next().map(|hex| u64::from_str_radix(hex, 16).expect("a zxid"));
    let (mut logs, mut snapshots) = (Vec::new(), Vec::new());
    for number in 0..100 {
        for part in ["a", "b", "c"] {
            lone.send(conn, 1, OpCode::CREATE, &create(&format!("/{part}{number}"), 0));
        }
        match lone.held().next() {
            Some(DiskOp::LogCreate { file, .. }) => logs.extend(zxid(&file.name)),
            Some(DiskOp::SnapshotCreate { file, .. }) => {
                snapshots.extend(zxid(&file.name));
                assert_eq!(logs.len(), snapshots.len(), "no new file of the log");
                assert!(
                    logs.last() <= snapshots.last().map(|last| last + 1).as_ref(),
                    "{logs:?} {snapshots:?}"
                );
            }
            Some(_) | None => {}
        }
        lone.end_next(Ok(DiskAnswer::Done));
    }
    assert!(snapshots.len() > 1, "{snapshots:?}");
}

/// `cfg.forceSync`, `disk.log.flush`: whether a write waits for the disk.
#[test]
fn cfg_force_sync() {
    for force_sync in [true, false] {
        let (mut lone, conn) = server_with(Config { force_sync, ..Config::default() });
        lone.hold_disk();
        lone.send(conn, 1, OpCode::CREATE, &create("/a", 0));
        let synced: Vec<_> = lone
            .held()
            .map(|op| match op {
                DiskOp::LogAppend { sync, .. } => *sync,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(synced, [force_sync]);
    }
}

/// `cfg.fsync.warningthresholdms`, `disk.log.flush`: a sync that takes longer is told of. The first one is for a new
/// file, whose creation does not count.
#[test]
fn cfg_fsync_warningthresholdms() {
    for force_sync in [true, false] {
        let fsync_warning_threshold = Duration::from_millis(50);
        let config =
            Config { force_sync, fsync_warning_threshold, pre_alloc_size: 4096, ..Config::default() };
        let mut lone = LoneServer::new(config);
        lone.hold_disk();
        let conn = lone.connect();
        assert_eq!(lone.handshake(conn, &new_session(10_000)), None, "it waits for the disk");
        for (create_ms, append_ms) in [(70, 50), (0, 51)] {
            if matches!(lone.held().next(), Some(DiskOp::LogCreate { .. })) {
                lone.pass(Duration::from_millis(create_ms));
                lone.end_next(Ok(DiskAnswer::Done));
            }
            lone.pass(Duration::from_millis(append_ms));
            lone.end_next(Ok(DiskAnswer::Done));
            assert_eq!(lone.held().count(), 0);
            lone.send(conn, 1, OpCode::CREATE, &create("/a", 0));
        }
        let slow = Event::SlowSync { took: Duration::from_millis(51), file_size: 8192 };
        let told: Vec<_> =
            lone.events.iter().filter(|event| matches!(event, Event::SlowSync { .. })).collect();
        assert_eq!(told, if force_sync { vec![&slow] } else { vec![] });
    }
}

/// `cfg.closeSessionTxn.enabled`, `node.ephemeral.close`: the end of a session lists its znodes, or nothing.
#[test]
fn cfg_close_session_txn() {
    for close_session_txn in [true, false] {
        let (mut lone, conn) = server_with(Config { close_session_txn, ..Config::default() });
        must(&mut lone, conn, &create("/e", 1));
        lone.hold_disk();
        lone.send(conn, 1, OpCode::CLOSE_SESSION, &Request::CloseSession);
        let (header, txn, _) = held_records(&lone).pop().expect("one record");
        assert_eq!(header.op, OpCode::CLOSE_SESSION);
        assert_eq!(txn, Txn::CloseSession { paths: close_session_txn.then(|| vec!["/e".into()]) });
    }
}

/// `cfg.digest.enabled`, `disk.digest.records`: every record has the digest of the tree after it, or none.
#[test]
fn cfg_digest_enabled() {
    for digest_enabled in [true, false] {
        let (mut lone, conn) = server_with(Config { digest_enabled, ..Config::default() });
        lone.hold_disk();
        lone.send(conn, 1, OpCode::CREATE, &create("/a", 0));
        let (_, _, digest) = held_records(&lone).pop().expect("one record");
        assert_eq!(digest.map(|digest| digest.version), digest_enabled.then_some(2));
    }
}

/// `cfg.serializeLastProcessedZxid.enabled`, `disk.snap.seal`: a snapshot ends with its zxid and one more seal.
#[test]
fn cfg_serialize_last_processed_zxid() {
    let length = |serialize_last_processed_zxid| {
        let mut lone = snapshot_due(Config { serialize_last_processed_zxid, ..Config::default() });
        let mut length = 0;
        while lone.held().next().is_some() {
            if let Some(DiskOp::SnapshotAppend { bytes, .. }) = lone.held().next() {
                length += bytes.len();
            }
            lone.end_next(Ok(DiskAnswer::Done));
        }
        assert!(lone.events.iter().any(|event| matches!(event, Event::SnapshotFinished { .. })));
        length
    };
    assert_eq!(length(true) - length(false), 8 + 8 + 4 + 1);
}

/// `disk.snap.compress`: a snapshot is the same however it is compressed, and its name says how it is.
#[test]
fn disk_snap_compress() {
    let written = |snapshot_compression| {
        let mut lone =
            snapshot_due(Config { snapshot_compression, snapshot_chunk_bytes: 64, ..Config::default() });
        let (mut name, mut bytes) = (String::new(), Vec::new());
        loop {
            let Some(op) = lone.held().next().cloned() else { break };
            match op {
                DiskOp::SnapshotCreate { file, .. } => name = file.name,
                DiskOp::SnapshotAppend { bytes: piece, .. } => bytes.extend_from_slice(&piece),
                _ => {}
            }
            lone.end_next(Ok(DiskAnswer::Done));
        }
        assert!(lone.events.iter().any(|event| matches!(event, Event::SnapshotFinished { .. })));
        (name, bytes)
    };
    let (plain_name, plain) = written(Compression::None);
    for compression in [Compression::Gzip, Compression::Snappy] {
        let (name, bytes) = written(compression);
        assert_eq!(name, format!("{plain_name}{}", compression.ending()));
        assert!(bytes.len() < plain.len(), "{} of {}", bytes.len(), plain.len());
        let mut decompressor = Decompressor::new(compression);
        decompressor.push(&bytes);
        let mut out = Vec::new();
        while decompressor.read(&mut out, 1 << 20).expect("it was just written") > 0 {}
        decompressor.finish().expect("all of it was written");
        assert_eq!(out, plain);
    }
}

/// `disk.snap.fail`: the server goes on, says so, and tries again when the next one is due.
#[test]
fn disk_snap_fail() {
    let mut lone = snapshot_due(Config::default());
    lone.end_next(Err(DiskError::Full));
    lone.release_disk();
    assert_eq!(lone.halted, None);
    let failed = |event: &Event| matches!(event, Event::SnapshotFailed { error: DiskError::Full, .. });
    assert!(lone.events.iter().any(failed));
    let (conn, _) = lone.client();
    for name in ["/d", "/e", "/f"] {
        make(&mut lone, conn, name);
    }
    assert!(lone.events.iter().any(|event| matches!(event, Event::SnapshotFinished { .. })));
}
