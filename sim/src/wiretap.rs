//! Reads what servers say to each other, without a part in it: bytes of the quorum port become messages, and those of
//! the election port notifications, a second time, for the checkers.
//!
//! After SNAP a snapshot follows that is no packet; it ends with a signature, and nothing that simulated clients
//! write looks like it.

use std::fmt;

use bytes::Bytes;
use smallvec::SmallVec;
use zabra_core::types::{Message, Notification, Zxid};
use zabra_core::wire::election::{Frames, Hello, decode_notification};
use zabra_core::wire::quorum::{Deframer, QuorumDecodeError};

use crate::link::FRAME_MAX;
use crate::places::Named;

/// What a snapshot between packets ends with, as jute writes a string.
const SIGNATURE: &[u8] = b"\0\0\0\x0aBenWasHere";

/// The messages that bytes complete: most often there is one.
pub type Messages = SmallVec<[Message; 1]>;

/// Follows one direction of one link.
#[derive(Debug)]
pub struct Wiretap {
    deframer: Deframer,
    /// In the middle of a snapshot: its last bytes, so that a signature in two pieces is found.
    snapshot: Option<Vec<u8>>,
}

impl Default for Wiretap {
    fn default() -> Self {
        Self { deframer: Deframer::new(FRAME_MAX), snapshot: None }
    }
}

impl Wiretap {
    /// Bytes pass. Answers the messages that are complete with them.
    ///
    /// # Errors
    /// If they are none.
    pub fn pass(&mut self, bytes: Bytes) -> Result<Messages, QuorumDecodeError> {
        self.deframer.push(bytes);
        let mut messages = Messages::new();
        loop {
            if self.snapshot.is_some() && !self.skip_snapshot() {
                return Ok(messages);
            }
            let Some(message) = self.deframer.next()? else { return Ok(messages) };
            if matches!(message, Message::Snap { .. }) {
                self.snapshot = Some(Vec::new());
            }
            messages.push(message);
        }
    }

    /// Passes over the bytes of a snapshot. Answers whether its end was found.
    fn skip_snapshot(&mut self) -> bool {
        let Some(mut seen) = self.snapshot.take() else { return true };
        while let Some(bytes) = self.deframer.raw() {
            let before = seen.len();
            seen.extend_from_slice(&bytes);
            if let Some(at) = seen.windows(SIGNATURE.len()).position(|window| window == SIGNATURE) {
                self.deframer.unread(bytes.slice(at + SIGNATURE.len() - before..));
                return true;
            }
            seen.drain(..seen.len().saturating_sub(SIGNATURE.len() - 1));
        }
        self.snapshot = Some(seen);
        false
    }
}

/// Follows one direction of one link between election ports.
#[derive(Debug, Default)]
pub struct VoteTap {
    /// What has come of a greeting, which is before everything else where the one who connected speaks.
    greeting: Option<Vec<u8>>,
    frames: Frames,
}

impl VoteTap {
    /// What is said by who connected, or by who was connected to.
    pub fn new(connected: bool) -> Self {
        Self { greeting: connected.then(Vec::new), frames: Frames::default() }
    }

    /// Bytes pass. Answers the notifications that are complete with them. What is none is passed over, as by any
    /// server.
    pub fn pass(&mut self, bytes: Bytes) -> Vec<Notification> {
        match self.greeting.take() {
            None => self.frames.push(bytes),
            Some(mut gathered) => {
                gathered.extend_from_slice(&bytes);
                match Hello::decode(&gathered) {
                    Ok(Some((_, len))) => self.frames.push(Bytes::from(gathered).slice(len..)),
                    Ok(None) | Err(_) => self.greeting = Some(gathered),
                }
            }
        }
        let mut notifications = Vec::new();
        while let Ok(Some(frame)) = self.frames.next_frame() {
            notifications.extend(decode_notification(&frame));
        }
        notifications
    }
}

/// A notification in few words.
#[derive(Clone, Copy, Debug)]
pub struct Opinion<'a>(pub &'a Notification);

impl fmt::Display for Opinion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Notification { state, vote, election_epoch: round, .. } = self.0;
        let (leader, epoch, zxid) = (Named(vote.leader), vote.peer_epoch, vote.zxid);
        write!(f, "{state:?} {leader}, history of {epoch} up to {zxid}, round {round}")
    }
}

/// A message in few words.
#[derive(Clone, Copy, Debug)]
pub struct Gist<'a>(pub &'a Message);

impl fmt::Display for Gist<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |f: &mut fmt::Formatter<'_>, name: &str, zxid: Zxid| write!(f, "{name} {zxid}");
        match self.0 {
            Message::Ack { zxid } => at(f, "ACK", *zxid),
            Message::AckEpoch { last_zxid, current_epoch } => {
                write!(f, "ACKEPOCH, history of {current_epoch} up to {last_zxid}")
            }
            Message::Commit { zxid } => at(f, "COMMIT", *zxid),
            Message::CommitAndActivate { zxid, .. } => at(f, "COMMITANDACTIVATE", *zxid),
            Message::Diff { zxid } => at(f, "DIFF", *zxid),
            Message::FollowerInfo { accepted_epoch, .. } => write!(f, "FOLLOWERINFO {accepted_epoch}"),
            Message::Inform { zxid, .. } => at(f, "INFORM", *zxid),
            Message::InformAndActivate { zxid, .. } => at(f, "INFORMANDACTIVATE", *zxid),
            Message::LeaderInfo { epoch, .. } => write!(f, "LEADERINFO {epoch}"),
            Message::NewLeader { zxid, .. } => at(f, "NEWLEADER", *zxid),
            Message::ObserverInfo { accepted_epoch, .. } => write!(f, "OBSERVERINFO {accepted_epoch}"),
            Message::Ping { .. } => f.write_str("PING"),
            Message::Proposal { zxid, .. } => at(f, "PROPOSAL", *zxid),
            Message::Request { session, cxid, op, .. } => write!(f, "REQUEST {op:?} of {session} #{cxid}"),
            Message::Revalidate { session, .. } => write!(f, "REVALIDATE {session}"),
            Message::Revalidated { session, valid } => write!(f, "REVALIDATE {session}: {valid}"),
            Message::Snap { zxid } => at(f, "SNAP", *zxid),
            Message::Sync => f.write_str("SYNC"),
            Message::Trunc { zxid } => at(f, "TRUNC", *zxid),
            Message::UpToDate => f.write_str("UPTODATE"),
        }
    }
}

#[cfg(test)]
mod tests {
    use zabra_core::types::{Address, PeerState, ServerId, Vote};
    use zabra_core::wire::election::encode_notification;
    use zabra_core::wire::quorum::encode;

    use super::*;

    #[test]
    fn messages_around_a_snapshot_are_read_whatever_the_pieces() {
        let mut bytes = Vec::new();
        encode(&Message::Snap { zxid: Zxid(5) }, &mut bytes);
        bytes.extend_from_slice(b"anything at all\0\0\0\x0aBen and more");
        bytes.extend_from_slice(SIGNATURE);
        encode(&Message::NewLeader { zxid: Zxid::new(2, 0), config: None }, &mut bytes);
        encode(&Message::UpToDate, &mut bytes);
        for piece in [1, 2, 3, 7, 20, 1000] {
            let mut tap = Wiretap::default();
            let messages: Vec<Message> = bytes
                .chunks(piece)
                .flat_map(|bytes| tap.pass(Bytes::copy_from_slice(bytes)).unwrap())
                .collect();
            let words: Vec<String> = messages.iter().map(|message| Gist(message).to_string()).collect();
            assert_eq!(words, ["SNAP 0x5", "NEWLEADER 0x200000000", "UPTODATE"], "pieces of {piece}");
        }
    }

    #[test]
    fn notifications_behind_a_greeting_are_read_whatever_the_pieces() {
        let vote = Vote { leader: ServerId(3), zxid: Zxid::new(1, 2), peer_epoch: 1 };
        let (state, version) = (PeerState::Looking, 2);
        let notification = Notification { state, vote, election_epoch: 4, version, config: Bytes::new() };
        let address = Address { host: "node2".into(), port: 3888 };
        let mut greeting = Vec::new();
        Hello { server: ServerId(2), addresses: vec![address] }.encode(&mut greeting);
        for connected in [false, true] {
            let mut bytes = if connected { greeting.clone() } else { Vec::new() };
            bytes.extend_from_slice(&encode_notification(&notification));
            bytes.extend_from_slice(&encode_notification(&notification));
            for piece in [1, 2, 3, 7, 20, 1000] {
                let mut tap = VoteTap::new(connected);
                let passed: Vec<Notification> =
                    bytes.chunks(piece).flat_map(|bytes| tap.pass(Bytes::copy_from_slice(bytes))).collect();
                assert_eq!(passed, [notification.clone(), notification.clone()], "pieces of {piece}");
            }
        }
        let words = "Looking n2, history of 1 up to 0x100000002, round 4";
        assert_eq!(Opinion(&notification).to_string(), words);
    }

    #[test]
    fn nonsense_is_noticed() {
        let mut tap = Wiretap::default();
        assert!(tap.pass(Bytes::from_static(&[0xff; 64])).is_err());
    }
}
