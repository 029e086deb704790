//! Packets of the quorum port, between a leader and its learners (PARITY `quorum.*`).
//!
//! ```text
//! int type   long zxid   buffer data   vector<Id> identities
//! ```
//!
//! They follow each other without a length in front; where one ends is known only after all of it was looked at.
//! [`encode`] writes exactly the bytes that ZooKeeper writes. The [`Deframer`] reads what any release sends, and
//! keeps looking where it stopped when more comes. Behind the packet that announces a snapshot the stream is none
//! of packets: its reader takes the bytes by [`Deframer::raw`] and puts back what is behind its end.

mod deframer;

use alloc::vec::Vec;

use bytes::Bytes;

pub use deframer::{Deframer, QuorumDecodeError};

use super::data::known;
use super::jute::{DecodeError, Reader, Writer};
use crate::types::{Id, LearnerInfo, Message, OpCode, ServerId, SessionId, Zxid};

/// What a server speaks that does not say so.
const OLD_PROTOCOL_VERSION: i32 = 1;

/// The most identities a request may carry.
const IDENTITIES_MAX: usize = 1000;

/// Numbers of the packets' types, as ZooKeeper's `Leader` has them.
mod kind {
    pub(super) const REQUEST: i32 = 1;
    pub(super) const PROPOSAL: i32 = 2;
    pub(super) const ACK: i32 = 3;
    pub(super) const COMMIT: i32 = 4;
    pub(super) const PING: i32 = 5;
    pub(super) const REVALIDATE: i32 = 6;
    pub(super) const SYNC: i32 = 7;
    pub(super) const INFORM: i32 = 8;
    pub(super) const COMMIT_AND_ACTIVATE: i32 = 9;
    pub(super) const NEW_LEADER: i32 = 10;
    pub(super) const FOLLOWER_INFO: i32 = 11;
    pub(super) const UP_TO_DATE: i32 = 12;
    pub(super) const DIFF: i32 = 13;
    pub(super) const TRUNC: i32 = 14;
    pub(super) const SNAP: i32 = 15;
    pub(super) const OBSERVER_INFO: i32 = 16;
    pub(super) const LEADER_INFO: i32 = 17;
    pub(super) const ACK_EPOCH: i32 = 18;
    pub(super) const INFORM_AND_ACTIVATE: i32 = 19;
}

/// Appends a message.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    match message {
        Message::Ack { zxid } => packet(out, kind::ACK, *zxid, None),
        Message::AckEpoch { last_zxid, current_epoch } => {
            packet(out, kind::ACK_EPOCH, *last_zxid, Some(&current_epoch.to_be_bytes()));
        }
        Message::Commit { zxid } => packet(out, kind::COMMIT, *zxid, None),
        Message::CommitAndActivate { zxid, designated } => {
            packet(out, kind::COMMIT_AND_ACTIVATE, *zxid, Some(&designated.0.to_be_bytes()));
        }
        Message::Diff { zxid } => packet(out, kind::DIFF, *zxid, None),
        Message::FollowerInfo { accepted_epoch, info } => {
            learner_info(out, kind::FOLLOWER_INFO, *accepted_epoch, info);
        }
        Message::Inform { zxid, txn } => inform(out, *zxid, txn),
        Message::InformAndActivate { zxid, designated, txn } => {
            inform_and_activate(out, *zxid, *designated, txn);
        }
        Message::LeaderInfo { epoch, protocol_version } => {
            packet(out, kind::LEADER_INFO, epoch_begin(*epoch), Some(&protocol_version.to_be_bytes()));
        }
        Message::NewLeader { zxid, config } => packet(out, kind::NEW_LEADER, *zxid, config.as_deref()),
        Message::ObserverInfo { accepted_epoch, info } => {
            learner_info(out, kind::OBSERVER_INFO, *accepted_epoch, info);
        }
        Message::Ping { zxid, touched: None } => packet(out, kind::PING, *zxid, None),
        Message::Ping { zxid, touched: Some(touched) } => {
            packet_with(out, kind::PING, *zxid, touched.len() * TOUCH_LEN, |writer| {
                for &(session, timeout_ms) in touched {
                    writer.long(session.0);
                    writer.int(timeout_ms);
                }
            });
        }
        Message::Proposal { zxid, txn } => proposal(out, *zxid, txn),
        Message::Request { session, cxid, op, body, identities } => {
            request(out, (*session, *cxid, *op), body, identities);
        }
        Message::Revalidate { session, timeout_ms } => {
            packet_with(out, kind::REVALIDATE, Zxid::UNKNOWN, REVALIDATE_LEN, |writer| {
                writer.long(session.0);
                writer.int(*timeout_ms);
            });
        }
        Message::Revalidated { session, valid } => {
            packet_with(out, kind::REVALIDATE, Zxid::UNKNOWN, REVALIDATED_LEN, |writer| {
                writer.long(session.0);
                writer.boolean(*valid);
            });
        }
        Message::Snap { zxid } => packet(out, kind::SNAP, *zxid, None),
        Message::Sync => packet(out, kind::SYNC, Zxid::ZERO, None),
        Message::Trunc { zxid } => packet(out, kind::TRUNC, *zxid, None),
        Message::UpToDate => packet(out, kind::UP_TO_DATE, Zxid::UNKNOWN, None),
    }
}

/// Appends a [`Message::Proposal`] of a transaction that need not be owned.
pub fn proposal(out: &mut Vec<u8>, zxid: Zxid, txn: &[u8]) {
    packet(out, kind::PROPOSAL, zxid, Some(txn));
}

/// Appends a [`Message::Inform`] of a transaction that need not be owned.
pub fn inform(out: &mut Vec<u8>, zxid: Zxid, txn: &[u8]) {
    packet(out, kind::INFORM, zxid, Some(txn));
}

/// Appends a [`Message::InformAndActivate`] of a transaction that need not be owned.
pub fn inform_and_activate(out: &mut Vec<u8>, zxid: Zxid, designated: ServerId, txn: &[u8]) {
    packet_with(out, kind::INFORM_AND_ACTIVATE, zxid, 8 + txn.len(), |writer| {
        writer.long(designated.0);
        writer.raw(txn);
    });
}

/// Bytes of a session and its timeout in the answer to a ping.
const TOUCH_LEN: usize = 12;
/// Bytes of a revalidation's data.
const REVALIDATE_LEN: usize = 12;
/// Bytes of its answer's data: this is how the two are told apart.
const REVALIDATED_LEN: usize = 9;

/// Only a request says who is behind it. One that no client made has no list at all.
fn request(out: &mut Vec<u8>, (session, cxid, op): (SessionId, i32, OpCode), body: &[u8], identities: &[Id]) {
    let mut writer = head(out, kind::REQUEST, Zxid::UNKNOWN);
    writer.vector_len(16 + body.len());
    writer.long(session.0);
    writer.int(cxid);
    writer.int(op.0);
    writer.raw(body);
    if identities.is_empty() {
        return writer.null();
    }
    writer.vector_len(identities.len());
    for Id { scheme, id } in identities {
        writer.string(scheme);
        writer.string(id);
    }
}

/// A server without an id says nothing about itself.
fn learner_info(out: &mut Vec<u8>, kind: i32, accepted_epoch: i64, info: &LearnerInfo) {
    let &LearnerInfo { server, protocol_version, config_version } = info;
    let Some(server) = server else { return packet(out, kind, epoch_begin(accepted_epoch), None) };
    packet_with(out, kind, epoch_begin(accepted_epoch), 20, |writer| {
        writer.long(server.0);
        writer.int(protocol_version);
        writer.long(config_version);
    });
}

/// Epochs are longs here and ints everywhere else; what does not fit is cut off, as ZooKeeper does.
const fn epoch_begin(epoch: i64) -> Zxid {
    Zxid(epoch << 32)
}

fn packet(out: &mut Vec<u8>, kind: i32, zxid: Zxid, data: Option<&[u8]>) {
    let mut writer = head(out, kind, zxid);
    writer.buffer(data);
    writer.null();
}

fn packet_with(
    out: &mut Vec<u8>,
    kind: i32,
    zxid: Zxid,
    data_len: usize,
    data: impl FnOnce(&mut Writer<'_>),
) {
    let mut writer = head(out, kind, zxid);
    writer.vector_len(data_len);
    data(&mut writer);
    writer.null();
}

fn head(out: &mut Vec<u8>, kind: i32, zxid: Zxid) -> Writer<'_> {
    let mut writer = Writer::new(out);
    writer.int(kind);
    writer.long(zxid.0);
    writer
}

/// A packet cut into its parts, which stand on their own.
struct Packet {
    kind: i32,
    zxid: Zxid,
    data: Option<Bytes>,
    identities: Vec<Id>,
}

/// What the packet says, or `None` if nobody has defined its type. What stands behind the part of the data that
/// is known is left alone, except where its length gives it a meaning.
fn message(packet: Packet) -> Result<Option<Message>, DecodeError> {
    let Packet { kind, zxid, data, identities } = packet;
    Ok(Some(match kind {
        kind::ACK => Message::Ack { zxid },
        kind::ACK_EPOCH => {
            let data = required(data)?;
            Message::AckEpoch { last_zxid: zxid, current_epoch: Reader::new(&data).int()? }
        }
        kind::COMMIT => Message::Commit { zxid },
        kind::COMMIT_AND_ACTIVATE => {
            Message::CommitAndActivate { zxid, designated: designated(&mut required(data)?)? }
        }
        kind::DIFF => Message::Diff { zxid },
        kind::FOLLOWER_INFO => {
            Message::FollowerInfo { accepted_epoch: epoch(zxid), info: decode_info(data.as_deref())? }
        }
        kind::INFORM => Message::Inform { zxid, txn: required(data)? },
        kind::INFORM_AND_ACTIVATE => {
            let mut txn = required(data)?;
            Message::InformAndActivate { zxid, designated: designated(&mut txn)?, txn }
        }
        kind::LEADER_INFO => {
            let protocol_version = data.and_then(|data| Reader::new(&data).int().ok());
            let protocol_version = protocol_version.unwrap_or(OLD_PROTOCOL_VERSION);
            Message::LeaderInfo { epoch: epoch(zxid), protocol_version }
        }
        kind::NEW_LEADER => Message::NewLeader { zxid, config: data },
        kind::OBSERVER_INFO => {
            Message::ObserverInfo { accepted_epoch: epoch(zxid), info: decode_info(data.as_deref())? }
        }
        kind::PING => Message::Ping { zxid, touched: data.map(|data| touched(&data)).transpose()? },
        kind::PROPOSAL => Message::Proposal { zxid, txn: required(data)? },
        kind::REQUEST => {
            let mut body = required(data)?;
            let mut reader = Reader::new(&body);
            let (session, cxid) = (SessionId(reader.long()?), reader.int()?);
            let op = OpCode(reader.int()?);
            let used = body.len() - reader.remaining();
            let body = body.split_off(used);
            Message::Request { session, cxid, op, body, identities }
        }
        kind::REVALIDATE => revalidation(&required(data)?)?,
        kind::SNAP => Message::Snap { zxid },
        kind::SYNC => Message::Sync,
        kind::TRUNC => Message::Trunc { zxid },
        kind::UP_TO_DATE => Message::UpToDate,
        _ => return Ok(None),
    }))
}

fn required(data: Option<Bytes>) -> Result<Bytes, DecodeError> {
    data.ok_or(DecodeError::Null)
}

const fn epoch(zxid: Zxid) -> i64 {
    zxid.0 >> 32
}

/// Takes the designated leader off the data's beginning.
fn designated(data: &mut Bytes) -> Result<ServerId, DecodeError> {
    let designated = Reader::new(data).long()?;
    *data = data.split_off(8);
    Ok(ServerId(designated))
}

/// Early releases said less, and the first nothing (PARITY `quorum.followerinfo`).
fn decode_info(data: Option<&[u8]>) -> Result<LearnerInfo, DecodeError> {
    let data = data.unwrap_or_default();
    let mut reader = Reader::new(data);
    let server = if data.len() >= 8 { Some(ServerId(reader.long()?)) } else { None };
    let protocol_version = if data.len() >= 12 { reader.int()? } else { OLD_PROTOCOL_VERSION };
    let config_version = if data.len() >= 20 { reader.long()? } else { 0 };
    Ok(LearnerInfo { server, protocol_version, config_version })
}

fn touched(data: &[u8]) -> Result<Vec<(SessionId, i32)>, DecodeError> {
    let mut reader = Reader::new(data);
    let mut touched = Vec::with_capacity(data.len() / TOUCH_LEN);
    while reader.remaining() > 0 {
        touched.push((SessionId(reader.long()?), reader.int()?));
    }
    Ok(touched)
}

fn revalidation(data: &[u8]) -> Result<Message, DecodeError> {
    let mut reader = Reader::new(data);
    let session = SessionId(reader.long()?);
    if data.len() >= REVALIDATE_LEN {
        return Ok(Message::Revalidate { session, timeout_ms: reader.int()? });
    }
    Ok(Message::Revalidated { session, valid: reader.boolean()? })
}

/// Reads a list of identities. One without a scheme or an id has empty ones, which open nothing.
fn identities(reader: &mut Reader<'_>) -> Result<Vec<Id>, DecodeError> {
    let count = reader.vector_len()?.unwrap_or(0);
    let mut identities = Vec::with_capacity(count.min(IDENTITIES_MAX));
    for _ in 0..count {
        let (scheme, id) = (reader.buffer()?.unwrap_or_default(), reader.buffer()?.unwrap_or_default());
        identities.push(Id { scheme: known(scheme), id: known(id) });
    }
    Ok(identities)
}

#[cfg(test)]
mod tests;
