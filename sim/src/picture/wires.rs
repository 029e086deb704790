//! Follows the bytes on every link and says which messages are on their way, of which kind, and when they arrive.
//!
//! It reads along on all three ports with decoders of its own. A message ends where the sender handed over its last
//! byte, and has arrived when as many bytes have been read at the other end. What it cannot read it passes over:
//! checkers say what is wrong with that.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use zabra_core::server::PeerPort;
use zabra_core::types::{Message, Notification};
use zabra_core::wire::election::{Frames, Hello, decode_notification};
use zabra_core::wire::request::{XID_PING, XID_WATCH_EVENT};
use zabra_core::wire::{Deframer, Reader, RequestHeader};

use crate::client::codec::{ReplyHead, decode_event};
use crate::link::{End, FRAME_MAX, LinkId};
use crate::places::{Named, Party};
use crate::wiretap::{Gist, Wiretap};

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Proposals, their acknowledgements and commits.
    Broadcast,
    /// Requests and answers of clients, and their watch events.
    Client,
    /// Votes.
    Election,
    /// What a learner passes on to its leader, and what comes of it.
    Forward,
    /// Signs of life.
    Ping,
    /// How a learner and its leader come to agree on a history.
    Sync,
}

impl Kind {
    /// All there are, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Broadcast, Self::Client, Self::Election, Self::Forward, Self::Ping, Self::Sync];

    /// Its name in the page.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Broadcast => "broadcast",
            Self::Client => "client",
            Self::Election => "election",
            Self::Forward => "forward",
            Self::Ping => "ping",
            Self::Sync => "sync",
        }
    }
}

/// One direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pipe {
    /// The link.
    pub link: LinkId,
    /// The end that it leads to.
    pub to: End,
    /// Who sends.
    pub sender: Party,
    /// Who receives.
    pub receiver: Party,
    /// Which port of a server; none, for a client's connection.
    pub port: Option<PeerPort>,
}

/// What reads along on one direction of a link.
#[derive(Debug)]
enum Ear {
    /// It cannot make sense of what it hears.
    Deaf,
    /// Votes.
    Election {
        /// The greeting is still to come, or the rest of it.
        hello: Option<Vec<u8>>,
        frames: Frames,
    },
    /// A leader or a learner.
    Quorum(Wiretap),
    /// A client's connection, after the handshake or before it.
    Client { greeted: bool, frames: Deframer },
}

#[derive(Debug)]
struct Flow {
    ear: Ear,
    sent: u64,
    arrived: u64,
    /// Where messages end, and their numbers.
    flying: VecDeque<(u64, u64)>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Wires {
    flows: BTreeMap<(LinkId, End), Flow>,
}

impl Wires {
    /// Bytes are on their way. Answers the messages that are complete with them; each gets a number from `number`.
    pub fn sent(&mut self, pipe: Pipe, bytes: &Bytes, mut number: impl FnMut(Kind, String) -> u64) {
        let flow = self.flows.entry((pipe.link, pipe.to)).or_insert_with(|| Flow::new(pipe));
        flow.sent += bytes.len() as u64;
        let end = flow.sent;
        for (kind, words) in flow.ear.hear(pipe.to, bytes) {
            flow.flying.push_back((end, number(kind, words)));
        }
    }

    /// So many bytes have arrived. Answers the numbers of the messages among them.
    pub fn arrived(&mut self, link: LinkId, to: End, count: usize) -> Vec<u64> {
        let Some(flow) = self.flows.get_mut(&(link, to)) else { return Vec::new() };
        flow.arrived += count as u64;
        let arrived = flow.flying.iter().take_while(|(end, _)| *end <= flow.arrived).count();
        flow.flying.drain(..arrived).map(|(_, number)| number).collect()
    }
}

impl Flow {
    fn new(pipe: Pipe) -> Self {
        let ear = match pipe.port {
            None => Ear::Client { greeted: false, frames: Deframer::new(FRAME_MAX) },
            Some(PeerPort::ObserverMaster | PeerPort::Quorum) => Ear::Quorum(Wiretap::default()),
            Some(PeerPort::Election) => Ear::Election {
                // Only who connected says who it is.
                hello: (pipe.to == End::Acceptor).then(Vec::new),
                frames: Frames::default(),
            },
        };
        Self { ear, sent: 0, arrived: 0, flying: VecDeque::new() }
    }
}

impl Ear {
    fn hear(&mut self, to: End, bytes: &Bytes) -> Vec<(Kind, String)> {
        let heard = match self {
            Self::Deaf => return Vec::new(),
            Self::Client { greeted, frames } => hear_client(to, greeted, frames, bytes),
            Self::Election { hello, frames } => hear_election(hello, frames, bytes),
            Self::Quorum(tap) => tap.pass(bytes.clone()).ok().map(|messages| {
                messages.iter().map(|message| (kind_of(message), Gist(message).to_string())).collect()
            }),
        };
        heard.unwrap_or_else(|| {
            *self = Self::Deaf;
            Vec::new()
        })
    }
}

fn hear_client(
    to: End,
    greeted: &mut bool,
    frames: &mut Deframer,
    bytes: &Bytes,
) -> Option<Vec<(Kind, String)>> {
    frames.push(bytes.clone());
    let mut heard = Vec::new();
    while let Some(frame) = frames.next_frame().ok()? {
        if !std::mem::replace(greeted, true) {
            let words = if to == End::Acceptor { "connect" } else { "connected" };
            heard.push((Kind::Client, words.into()));
            continue;
        }
        let mut reader = Reader::new(&frame);
        heard.push(if to == End::Acceptor {
            let header = RequestHeader::decode(&mut reader).ok()?;
            let kind = if header.xid == XID_PING { Kind::Ping } else { Kind::Client };
            (kind, format!("#{} {}", header.xid, header.op.name().unwrap_or("unknown")))
        } else {
            reply(&mut reader)?
        });
    }
    Some(heard)
}

fn reply(reader: &mut Reader<'_>) -> Option<(Kind, String)> {
    let head = ReplyHead::decode(reader).ok()?;
    Some(match head.xid {
        XID_PING => (Kind::Ping, "answer to a ping".into()),
        XID_WATCH_EVENT => {
            let (kind, path) = decode_event(reader).ok()?;
            (Kind::Client, format!("event {kind:?} {path} at {}", head.zxid))
        }
        xid => (Kind::Client, format!("answer to #{xid} at {}: {:?}", head.zxid, head.code)),
    })
}

fn hear_election(
    hello: &mut Option<Vec<u8>>,
    frames: &mut Frames,
    bytes: &Bytes,
) -> Option<Vec<(Kind, String)>> {
    let mut heard = Vec::new();
    let rest = match hello {
        None => bytes.clone(),
        Some(begun) => {
            begun.extend_from_slice(bytes);
            let Some((greeting, length)) = Hello::decode(begun).ok()? else { return Some(heard) };
            heard.push((Kind::Election, format!("HELLO from {}", Named(greeting.server))));
            let rest = Bytes::copy_from_slice(&begun[length..]);
            *hello = None;
            rest
        }
    };
    frames.push(rest);
    while let Some(frame) = frames.next_frame().ok()? {
        let Notification { state, vote, election_epoch, .. } = decode_notification(&frame).ok()?;
        let words = format!(
            "{state:?}, for {} with {} of epoch {}, round {election_epoch}",
            Named(vote.leader),
            vote.zxid,
            vote.peer_epoch
        );
        heard.push((Kind::Election, words));
    }
    Some(heard)
}

const fn kind_of(message: &Message) -> Kind {
    match message {
        // The first of an epoch says that its history was taken over.
        Message::Ack { zxid } if zxid.begins_epoch() => Kind::Sync,
        Message::Ack { .. }
        | Message::Commit { .. }
        | Message::CommitAndActivate { .. }
        | Message::Inform { .. }
        | Message::InformAndActivate { .. }
        | Message::Proposal { .. } => Kind::Broadcast,
        Message::AckEpoch { .. }
        | Message::Diff { .. }
        | Message::FollowerInfo { .. }
        | Message::LeaderInfo { .. }
        | Message::NewLeader { .. }
        | Message::ObserverInfo { .. }
        | Message::Snap { .. }
        | Message::Trunc { .. }
        | Message::UpToDate => Kind::Sync,
        Message::Ping { .. } => Kind::Ping,
        Message::Request { .. }
        | Message::Revalidate { .. }
        | Message::Revalidated { .. }
        | Message::Sync => Kind::Forward,
    }
}

#[cfg(test)]
mod tests {
    use zabra_core::types::{Address, PeerState, ServerId, Vote, Zxid};
    use zabra_core::wire::election::encode_notification;
    use zabra_core::wire::quorum::encode;

    use super::*;
    use crate::client::codec;
    use crate::op::Op;
    use crate::places::{ClientId, NodeId};

    fn pipe(to: End, port: Option<PeerPort>) -> Pipe {
        let (sender, receiver) = (Party::Client(ClientId(0)), Party::Node(NodeId(0)));
        Pipe { link: LinkId(1), to, sender, receiver, port }
    }

    /// What is heard when bytes are sent in pieces of some size, with the count of bytes after which it was complete.
    fn heard(pipe: Pipe, bytes: &[u8], piece: usize) -> Vec<(Kind, String)> {
        let mut wires = Wires::default();
        let mut heard = Vec::new();
        for piece in bytes.chunks(piece) {
            wires.sent(pipe, &Bytes::copy_from_slice(piece), |kind, words| {
                heard.push((kind, words));
                heard.len() as u64
            });
        }
        heard
    }

    #[test]
    fn messages_of_every_port_are_heard_whatever_the_pieces() {
        let mut quorum = Vec::new();
        encode(&Message::Diff { zxid: Zxid(5) }, &mut quorum);
        encode(&Message::Ack { zxid: Zxid::new(2, 0) }, &mut quorum);
        encode(&Message::Ack { zxid: Zxid::new(2, 1) }, &mut quorum);
        let mut client = vec![0, 0, 0, 1, 9];
        codec::encode(XID_PING, &Op::Ping, &mut client);
        codec::encode(7, &Op::Sync { path: "/".into() }, &mut client);
        let mut election = Vec::new();
        let addresses = vec![Address { host: "node3".into(), port: 3888 }];
        Hello { server: ServerId(3), addresses }.encode(&mut election);
        let vote = Vote { leader: ServerId(2), zxid: Zxid(9), peer_epoch: 4 };
        election.extend_from_slice(&encode_notification(&Notification {
            state: PeerState::Looking,
            vote,
            election_epoch: 6,
            version: 2,
            config: Bytes::new(),
        }));
        for piece in [1, 3, 8, 1000] {
            let words = [
                (Kind::Sync, "DIFF 0x5"),
                (Kind::Sync, "ACK 0x200000000"),
                (Kind::Broadcast, "ACK 0x200000001"),
            ];
            let found = heard(pipe(End::Dialer, Some(PeerPort::Quorum)), &quorum, piece);
            assert_eq!(found, words.map(|(kind, words)| (kind, words.to_string())));
            let found = heard(pipe(End::Acceptor, Some(PeerPort::Election)), &election, piece);
            let words = ["HELLO from n2", "Looking, for n1 with 0x9 of epoch 4, round 6"];
            assert_eq!(found, words.map(|words| (Kind::Election, words.to_string())));
            let words = [(Kind::Client, "connect"), (Kind::Ping, "#-2 ping"), (Kind::Client, "#7 sync")];
            let found = heard(pipe(End::Acceptor, None), &client, piece);
            assert_eq!(found, words.map(|(kind, words)| (kind, words.to_string())));
        }
    }

    #[test]
    fn a_message_has_arrived_with_its_last_byte() {
        let mut wires = Wires::default();
        let pipe = pipe(End::Acceptor, None);
        let mut count = 0;
        for frame in [&[0_u8, 0, 0, 1, 9][..], &[0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 9]] {
            wires.sent(pipe, &Bytes::copy_from_slice(frame), |_, _| {
                count += 1;
                count
            });
        }
        assert_eq!(wires.arrived(pipe.link, pipe.to, 4), []);
        assert_eq!(wires.arrived(pipe.link, pipe.to, 1), [1]);
        assert_eq!(wires.arrived(pipe.link, End::Dialer, 100), []);
        assert_eq!(wires.arrived(pipe.link, pipe.to, 12), [2]);
    }

    #[test]
    fn nonsense_is_passed_over() {
        for port in [None, Some(PeerPort::Election), Some(PeerPort::Quorum)] {
            for to in [End::Acceptor, End::Dialer] {
                heard(pipe(to, port), &[0xff; 100], 10);
            }
        }
    }
}
