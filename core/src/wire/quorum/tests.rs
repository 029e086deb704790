use alloc::string::String;
use alloc::vec;

use proptest::prelude::*;

use super::*;

const LIMIT: usize = 4096;

/// Packets that ZooKeeper 3.9.3 wrote: a name and the bytes in hexadecimal, line by line.
const GOLDEN: &str = include_str!("../../../tests/golden/quorum.packets");

fn encoded(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    encode(message, &mut out);
    out
}

fn decode(bytes: &[u8], piece: usize) -> Result<Vec<Message>, QuorumDecodeError> {
    let mut deframer = Deframer::new(LIMIT);
    let mut found = vec![];
    for piece in bytes.chunks(piece) {
        deframer.push(Bytes::copy_from_slice(piece));
        while let Some(message) = deframer.next()? {
            found.push(message);
        }
    }
    assert_eq!(deframer.buffered(), 0, "behind {found:?}");
    Ok(found)
}

fn one(bytes: &[u8]) -> Result<Message, QuorumDecodeError> {
    let mut found = decode(bytes, bytes.len())?;
    assert_eq!(found.len(), 1, "one message");
    Ok(found.remove(0))
}

/// A packet that nobody here would send.
fn raw_packet(kind: i32, zxid: i64, data: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    packet(&mut out, kind, Zxid(zxid), data);
    out
}

fn bytes(text: &str) -> Bytes {
    let nibbles: Vec<u8> = text.chars().map(|digit| digit.to_digit(16).expect("hexadecimal") as u8).collect();
    nibbles.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn golden_messages() -> Vec<(&'static str, Message)> {
    let zxid = Zxid::new(5, 7);
    let (session, txn) = (SessionId(0x2_0000_0001), Bytes::from_static(&[1, 2, 3]));
    let info = LearnerInfo {
        server: Some(ServerId(2)),
        protocol_version: LearnerInfo::PROTOCOL_VERSION,
        config_version: 0x1_0000_0003,
    };
    let request = |cxid, op, body: &Bytes, identities| Message::Request {
        session,
        cxid,
        op: OpCode(op),
        body: body.clone(),
        identities,
    };
    let new_leader = |config| Message::NewLeader { zxid: Zxid::new(5, 0), config };
    let ping = |touched| Message::Ping { zxid, touched };
    let identities = vec![Id::new("ip", "10.0.0.1"), Id::new("digest", "u:h")];
    let touched = vec![(session, 4000), (SessionId(0x2_0000_0002), 30_000)];
    let (activated, designated) = (Zxid::new(5, 8), ServerId(3));
    let last_zxid = Zxid::new(4, 9);
    vec![
        ("ack", Message::Ack { zxid }),
        ("ack-epoch", Message::AckEpoch { last_zxid, current_epoch: 4 }),
        ("ack-epoch-again", Message::AckEpoch { last_zxid, current_epoch: -1 }),
        ("commit", Message::Commit { zxid }),
        ("commit-and-activate", Message::CommitAndActivate { zxid: activated, designated }),
        ("diff", Message::Diff { zxid: Zxid::new(4, 12) }),
        ("follower-info", Message::FollowerInfo { accepted_epoch: 4, info }),
        ("inform", Message::Inform { zxid, txn: txn.clone() }),
        ("inform-and-activate", Message::InformAndActivate { zxid: activated, designated, txn: txn.clone() }),
        ("leader-info", Message::LeaderInfo { epoch: 5, protocol_version: LearnerInfo::PROTOCOL_VERSION }),
        ("new-leader", new_leader(Some(Bytes::from_static(b"version=0")))),
        ("new-leader-old", new_leader(None)),
        ("observer-info", Message::ObserverInfo { accepted_epoch: -1, info }),
        ("ping", ping(None)),
        ("ping-answer", ping(Some(touched))),
        ("ping-answer-empty", ping(Some(vec![]))),
        ("proposal", Message::Proposal { zxid, txn: txn.clone() }),
        ("request", request(9, 1, &txn, identities)),
        ("request-own", request(0, -10, &Bytes::from_static(&[0, 0, 15, 160]), vec![])),
        ("request-empty", request(0, -11, &Bytes::new(), vec![])),
        ("revalidate", Message::Revalidate { session, timeout_ms: 4000 }),
        ("revalidated", Message::Revalidated { session, valid: true }),
        ("snap", Message::Snap { zxid }),
        ("sync", Message::Sync),
        ("trunc", Message::Trunc { zxid: Zxid::new(4, 3) }),
        ("up-to-date", Message::UpToDate),
    ]
}

/// PARITY `quorum.pkt` and every packet of section 3.2: the same bytes as ZooKeeper, both ways.
#[test]
fn quorum_pkt_golden() {
    let messages = golden_messages();
    assert_eq!(GOLDEN.lines().count(), messages.len());
    let mut stream = Vec::new();
    for (line, (name, message)) in GOLDEN.lines().zip(&messages) {
        let expected = bytes(line.strip_prefix(name).expect("the same order").trim());
        assert_eq!(encoded(message), expected, "{name}");
        assert_eq!(one(&expected).as_ref(), Ok(message), "{name}");
        stream.extend_from_slice(&expected);
    }
    let messages: Vec<Message> = messages.into_iter().map(|(_, message)| message).collect();
    for piece in 1..=stream.len() {
        assert_eq!(decode(&stream, piece).as_ref(), Ok(&messages), "pieces of {piece}");
    }
}

/// PARITY `quorum.followerinfo`: early releases said less about themselves.
#[test]
fn quorum_followerinfo_old() {
    let data = [0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0xff];
    for length in 0..=data.len() {
        let info = LearnerInfo {
            server: (length >= 8).then_some(ServerId(9)),
            protocol_version: if length >= 12 { 0x1_0000 } else { 1 },
            config_version: if length >= 20 { 0x1_0000_0003 } else { 0 },
        };
        let found = one(&raw_packet(kind::FOLLOWER_INFO, 4 << 32, Some(&data[..length])));
        assert_eq!(found, Ok(Message::FollowerInfo { accepted_epoch: 4, info }), "{length} bytes");
    }
    let info = LearnerInfo { server: None, protocol_version: 1, config_version: 0 };
    let nothing = raw_packet(kind::OBSERVER_INFO, 4 << 32, None);
    let message = Message::ObserverInfo { accepted_epoch: 4, info };
    assert_eq!(one(&nothing), Ok(message.clone()));
    assert_eq!(encoded(&message), nothing);
}

/// PARITY `quorum.leaderinfo`: a leader that does not name its protocol speaks the first.
#[test]
fn quorum_leaderinfo_old() {
    for data in [None, Some(&[][..]), Some(&[0, 1, 0])] {
        let found = one(&raw_packet(kind::LEADER_INFO, 6 << 32, data));
        assert_eq!(found, Ok(Message::LeaderInfo { epoch: 6, protocol_version: 1 }));
    }
}

/// A type that nobody has defined is skipped, and what is behind it read (PARITY `quorum.unexpected`).
#[test]
fn quorum_unexpected_type() {
    for unknown in [i32::MIN, -1, 0, 20, i32::MAX] {
        let stream = [raw_packet(unknown, 3, Some(&[1; 50])), encoded(&Message::Sync)].concat();
        for piece in [1, 13, stream.len()] {
            let mut deframer = Deframer::new(LIMIT);
            let mut found = vec![];
            for piece in stream.chunks(piece) {
                deframer.push(Bytes::copy_from_slice(piece));
                while let Some(result) = deframer.next().transpose() {
                    found.push(result);
                }
            }
            assert_eq!(found, [Err(QuorumDecodeError::UnknownType(unknown)), Ok(Message::Sync)]);
        }
    }
}

/// Data that is too short for its type, or not there.
#[test]
fn short_data() {
    use QuorumDecodeError::Malformed;
    let needed = [
        (kind::ACK_EPOCH, 4),
        (kind::COMMIT_AND_ACTIVATE, 8),
        (kind::INFORM, 0),
        (kind::INFORM_AND_ACTIVATE, 8),
        (kind::PROPOSAL, 0),
        (kind::REQUEST, 16),
        (kind::REVALIDATE, 9),
    ];
    for (kind, needed) in needed {
        assert_eq!(one(&raw_packet(kind, 0, None)), Err(Malformed(DecodeError::Null)), "type {kind}");
        for length in 0..40 {
            let found = one(&raw_packet(kind, 0, Some(&[0; 40][..length])));
            let expected = (length < needed).then_some(Malformed(DecodeError::UnexpectedEnd));
            assert_eq!(found.err(), expected, "type {kind}, {length} bytes");
        }
    }
    for length in 0..40 {
        let found = one(&raw_packet(kind::PING, 0, Some(&[0; 40][..length])));
        assert_eq!(found.is_ok(), length % 12 == 0, "{length} bytes");
    }
}

/// Lengths that cannot be are refused as soon as they are there, and from then on.
#[test]
fn refused() {
    let head = |length: i32| [&[0; 12][..], &length.to_be_bytes()].concat();
    let limit = LIMIT as i32;
    let longest = [head(limit), vec![0; LIMIT]].concat();
    let with_strings = |lengths: [i32; 2], count: i32| {
        let strings = lengths.map(|length| {
            [&length.to_be_bytes()[..], &vec![b'x'; usize::try_from(length).unwrap_or(0)]].concat()
        });
        [&raw_packet(kind::SYNC, 0, None)[..16], &count.to_be_bytes(), &strings.concat()].concat()
    };
    let table = [
        (head(-2), Some(DecodeError::NegativeLength)),
        (head(i32::MIN), Some(DecodeError::NegativeLength)),
        (head(limit + 1), Some(DecodeError::TooLong)),
        (head(i32::MAX), Some(DecodeError::TooLong)),
        (head(limit), None),
        ([&longest[..], &[0xff, 0xff, 0xff, 0xfe]].concat(), Some(DecodeError::NegativeLength)),
        (with_strings([0, 0], -3), Some(DecodeError::NegativeLength)),
        (with_strings([0, 0], IDENTITIES_MAX as i32 + 1), Some(DecodeError::TooLong)),
        (with_strings([0, 0], IDENTITIES_MAX as i32), None),
        (with_strings([5, -2], 3), Some(DecodeError::NegativeLength)),
        (with_strings([limit + 1, 0], 1), Some(DecodeError::TooLong)),
        (with_strings([limit - 3, 4], 1), Some(DecodeError::TooLong)),
        (with_strings([limit - 3, 3], 2), None),
    ];
    for (bytes, error) in table {
        for piece in [1, bytes.len()] {
            let mut deframer = Deframer::new(LIMIT);
            let mut found = Ok(None);
            for piece in bytes.chunks(piece) {
                deframer.push(Bytes::copy_from_slice(piece));
                found = deframer.next();
                if found.is_err() {
                    break;
                }
            }
            let expected = error.map_or(Ok(None), |error| Err(QuorumDecodeError::Malformed(error)));
            assert_eq!(found, expected);
            if error.is_some() {
                deframer.push(encoded(&Message::Sync).into());
                assert_eq!(deframer.next(), expected, "nothing can be understood any more");
            }
        }
    }
}

/// A name that is null or not UTF-8 is no reason to give up the link.
#[test]
fn odd_identities() {
    let mut stream = raw_packet(kind::REQUEST, -1, Some(&[0; 16]));
    stream.truncate(stream.len() - 4);
    let mut writer = Writer::new(&mut stream);
    writer.vector_len(2);
    writer.null();
    writer.null();
    writer.string("x");
    writer.buffer(Some(&[0xff]));
    for piece in 1..stream.len() {
        let found = decode(&stream, piece).expect("a request");
        let [Message::Request { identities, .. }] = &found[..] else { panic!("{found:?}") };
        assert_eq!(identities, &[Id::new("", ""), Id::new("x", "\u{fffd}")]);
    }
}

/// Behind the packet that announces it, a snapshot is read as it is; what its reader leaves are packets again.
#[test]
fn raw_and_back() {
    let snapshot: Vec<u8> = (0..200).collect();
    let last = Message::NewLeader { zxid: Zxid::new(5, 0), config: None };
    let snap = Message::Snap { zxid: Zxid(9) };
    let stream = [encoded(&snap), snapshot.clone(), encoded(&last), encoded(&Message::UpToDate)].concat();
    for piece in 1..=stream.len() {
        let mut deframer = Deframer::new(LIMIT);
        let (mut messages, mut raw) = (vec![], vec![]);
        for piece in stream.chunks(piece) {
            deframer.push(Bytes::copy_from_slice(piece));
            loop {
                if messages.len() != 1 || raw.len() == snapshot.len() {
                    let Some(message) = deframer.next().expect("a message") else { break };
                    messages.push(message);
                } else {
                    let Some(mut bytes) = deframer.raw() else { break };
                    let rest = bytes.split_off(bytes.len().min(snapshot.len() - raw.len()));
                    raw.extend_from_slice(&bytes);
                    deframer.unread(rest);
                }
            }
        }
        assert_eq!(raw, snapshot);
        assert_eq!(messages, [snap.clone(), last.clone(), Message::UpToDate]);
        assert_eq!(deframer.buffered(), 0);
    }
}

/// What is put back stands in front of everything that is held, a packet that has begun included.
#[test]
fn unread_in_front() {
    let whole = encoded(&Message::Commit { zxid: Zxid(77) });
    let mut deframer = Deframer::new(LIMIT);
    deframer.push(Bytes::copy_from_slice(&whole[2..9]));
    assert_eq!(deframer.next(), Ok(None));
    deframer.push(Bytes::copy_from_slice(&whole[9..12]));
    deframer.push(Bytes::copy_from_slice(&whole[12..]));
    deframer.unread(Bytes::copy_from_slice(&whole[..2]));
    assert_eq!(deframer.buffered(), whole.len());
    assert_eq!(deframer.next(), Ok(Some(Message::Commit { zxid: Zxid(77) })));
    assert_eq!((deframer.next(), deframer.raw()), (Ok(None), None));
}

fn name() -> impl Strategy<Value = String> {
    "(ip|digest|world|anyone|.{0,6})"
}

fn info() -> impl Strategy<Value = LearnerInfo> {
    // Who does not say its id says nothing.
    let nothing = LearnerInfo { server: None, protocol_version: 1, config_version: 0 };
    let something = any::<(i64, i32, i64)>().prop_map(|(server, protocol_version, config_version)| {
        LearnerInfo { server: Some(ServerId(server)), protocol_version, config_version }
    });
    prop_oneof![Just(nothing), something]
}

fn any_message() -> impl Strategy<Value = Message> {
    let zxid = || any::<i64>().prop_map(Zxid);
    let server = || any::<i64>().prop_map(ServerId);
    let session = || any::<i64>().prop_map(SessionId);
    let epoch = || any::<i32>().prop_map(i64::from);
    let data = || any::<Vec<u8>>().prop_map(Bytes::from);
    let identity = (name(), name()).prop_map(|(scheme, id)| Id::new(scheme, id));
    let touched = proptest::collection::vec((session(), any::<i32>()), 0..5);
    let request = (session(), any::<i32>(), any::<i32>(), data(), proptest::collection::vec(identity, 0..4));
    let leader = prop_oneof![
        zxid().prop_map(|zxid| Message::Commit { zxid }),
        (zxid(), server()).prop_map(|(zxid, designated)| Message::CommitAndActivate { zxid, designated }),
        zxid().prop_map(|zxid| Message::Diff { zxid }),
        (zxid(), data()).prop_map(|(zxid, txn)| Message::Inform { zxid, txn }),
        (zxid(), server(), data()).prop_map(|(zxid, designated, txn)| Message::InformAndActivate {
            zxid,
            designated,
            txn
        }),
        (epoch(), any::<i32>())
            .prop_map(|(epoch, protocol_version)| Message::LeaderInfo { epoch, protocol_version }),
        (zxid(), proptest::option::of(data())).prop_map(|(zxid, config)| Message::NewLeader { zxid, config }),
        (zxid(), data()).prop_map(|(zxid, txn)| Message::Proposal { zxid, txn }),
        (session(), any::<bool>()).prop_map(|(session, valid)| Message::Revalidated { session, valid }),
        zxid().prop_map(|zxid| Message::Snap { zxid }),
        Just(Message::Sync),
        zxid().prop_map(|zxid| Message::Trunc { zxid }),
        Just(Message::UpToDate),
    ];
    let learner = prop_oneof![
        zxid().prop_map(|zxid| Message::Ack { zxid }),
        (zxid(), any::<i32>())
            .prop_map(|(last_zxid, current_epoch)| Message::AckEpoch { last_zxid, current_epoch }),
        (epoch(), info()).prop_map(|(accepted_epoch, info)| Message::FollowerInfo { accepted_epoch, info }),
        (epoch(), info()).prop_map(|(accepted_epoch, info)| Message::ObserverInfo { accepted_epoch, info }),
        (zxid(), proptest::option::of(touched)).prop_map(|(zxid, touched)| Message::Ping { zxid, touched }),
        request.prop_map(|(session, cxid, op, body, identities)| {
            Message::Request { session, cxid, op: OpCode(op), body, identities }
        }),
        (session(), any::<i32>())
            .prop_map(|(session, timeout_ms)| Message::Revalidate { session, timeout_ms }),
    ];
    prop_oneof![leader, learner]
}

proptest! {
    /// What is written is read back, whatever the pieces.
    #[test]
    fn round_trip(messages in proptest::collection::vec(any_message(), 0..6), piece in 1_usize..100) {
        let mut stream = Vec::new();
        for message in &messages {
            encode(message, &mut stream);
        }
        prop_assert_eq!(decode(&stream, piece), Ok(messages));
    }
}
