//! What no well-behaved client does: it presents what is not its own, lies about what it has seen, closes its session in
//! the middle of a burst, or says things that make no sense. No machine helps it; it writes its frames by hand.
//!
//! A client does so between two sessions. What it is answered is judged like any other answer.
//!
//! Less rude is who comes back to the session that it has left behind. It wants another timeout than before, says
//! little, and is gone for good.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use zabra_core::client::Credentials;
use zabra_core::types::{DialId, SessionId, Zxid};
use zabra_core::wire::ConnectRequest;
use zabra_core::wire::connect::PASSWORD_LEN;

use super::tap::{Claims, Manner, Tap};
use super::{SimClient, Want, codec};
use crate::check::Violation;
use crate::clock::SimTime;
use crate::op::{Mode, Op};
use crate::places::ClientId;

/// What clients know of each other's sessions.
pub type Board = Rc<RefCell<BTreeMap<ClientId, Credentials>>>;

/// How long an episode lasts at most.
const LONGEST: Duration = Duration::from_secs(5);

/// Attempts of this kind of connection are numbered from here on: no machine ever gets there.
const FIRST_DIAL: u64 = 1 << 32;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rudeness {
    /// Requests before and behind the end of the session, all at once.
    CloseInBurst,
    /// Bytes that are no request.
    Garbage,
    /// A session that nobody has.
    Ghost,
    /// More requests at once than any machine lets wait.
    Flood,
    /// It has seen what has not happened yet.
    FromTheFuture,
    /// Another client's session with a wrong password.
    Imposter,
    /// Its own session of before.
    Return(Credentials),
    /// Another client's session.
    Thief,
}

/// What is done for no other reason than rudeness.
const ALL: [Rudeness; 7] = [
    Rudeness::CloseInBurst,
    Rudeness::Garbage,
    Rudeness::Ghost,
    Rudeness::Flood,
    Rudeness::FromTheFuture,
    Rudeness::Imposter,
    Rudeness::Thief,
];

/// One connection, from begin to end.
#[derive(Debug)]
pub(super) struct Episode {
    what: Rudeness,
    dial: DialId,
    /// Whether the session was attached, and everything said.
    spoken: bool,
}

impl SimClient {
    /// Begins an episode, whatever it is about.
    pub(super) fn be_rude(&mut self, now: SimTime) {
        let what = *self.rng.pick(&ALL);
        self.begin_episode(now, what);
    }

    /// Comes back to a session that it has left behind.
    pub(super) fn come_back(&mut self, now: SimTime, left: Credentials) {
        self.begin_episode(now, Rudeness::Return(left));
    }

    fn begin_episode(&mut self, now: SimTime, what: Rudeness) {
        let dial = DialId(FIRST_DIAL + self.rude_count);
        self.rude_count += 1;
        let manner = match what {
            Rudeness::Ghost | Rudeness::Imposter => Manner::Imposter,
            Rudeness::CloseInBurst
            | Rudeness::Flood
            | Rudeness::FromTheFuture
            | Rudeness::Garbage
            | Rudeness::Return(_)
            | Rudeness::Thief => Manner::Liar,
        };
        self.tap = Some(Tap::new(self.id, dial, Claims::default(), manner));
        let address = self.rng.pick(&self.servers).clone();
        self.wants.push_back(Want::Dial { dial, address });
        let until = now + self.rng.duration(Duration::from_millis(1), LONGEST);
        self.episode = Some(Episode { what, dial, spoken: false });
        self.next_act = until;
    }

    /// The connection of an episode was made.
    pub(super) fn on_rude_connected(&mut self) -> Result<(), Violation> {
        let Some(Episode { what, dial, .. }) = self.episode else { return Ok(()) };
        if what == Rudeness::Garbage {
            let bytes = (0..self.rng.within(1, 60)).map(|_| self.rng.bits() as u8).collect::<Vec<u8>>();
            self.wants.push_back(Want::Send { dial, bytes: bytes.into() });
            return Ok(());
        }
        let mut password = [0; PASSWORD_LEN];
        let mut session = SessionId::NONE;
        match what {
            Rudeness::Ghost => session = self.nobodys_session(),
            Rudeness::Imposter | Rudeness::Thief => {
                let board = self.board.borrow();
                let victim = (!board.is_empty()).then(|| board.values().nth(self.rng.index(board.len())));
                if let Some(victim) = victim.flatten() {
                    (session, password) = (victim.session, victim.password);
                }
            }
            Rudeness::Return(left) => (session, password) = (left.session, left.password),
            Rudeness::CloseInBurst | Rudeness::Flood | Rudeness::FromTheFuture | Rudeness::Garbage => {}
        }
        let mut known = PASSWORD_LEN;
        if what == Rudeness::Imposter {
            if session == SessionId::NONE {
                session = self.nobodys_session();
            }
            // A part of it is not the password, either.
            if self.rng.chance(400_000) {
                known = *self.rng.pick(&[0, 8, 15]);
            } else {
                password = self.wrong_password(password);
            }
        }
        let future = what == Rudeness::FromTheFuture;
        let timeout_ms = self.draw_timeout().as_millis() as i32;
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: if future { Zxid(i64::MAX >> self.rng.below(8)) } else { Zxid::ZERO },
            timeout_ms,
            session,
            password: &password[..known],
            read_only: if self.rng.chance(500_000) { Some(false) } else { None },
        };
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        self.say(dial, bytes.into())
    }

    /// Something came during an episode.
    pub(super) fn on_rude_bytes(&mut self) -> Result<(), Violation> {
        let attached = self.is_attached();
        let Some(episode) = self.episode.as_mut().filter(|episode| attached && !episode.spoken) else {
            return Ok(());
        };
        episode.spoken = true;
        let (what, dial) = (episode.what, episode.dial);
        let ops = match what {
            Rudeness::CloseInBurst => {
                let path = format!("/burst-{}-", self.rude_count);
                let create = crate::scenario::create_as(&path, Mode::EphemeralSequential);
                let mut ops = vec![create.clone(), create.clone()];
                ops.insert(self.rng.index(3), Op::CloseSession);
                ops.push(create);
                ops.push(self.workload.next_op());
                ops
            }
            Rudeness::Flood => (0..self.rng.within(50, 300)).map(|_| self.workload.next_op()).collect(),
            Rudeness::Return(_) | Rudeness::Thief => {
                let mut ops: Vec<Op> = (0..self.rng.below(6)).map(|_| self.workload.next_op()).collect();
                if self.rng.chance(200_000) {
                    ops.push(Op::CloseSession);
                }
                ops
            }
            Rudeness::FromTheFuture | Rudeness::Garbage | Rudeness::Ghost | Rudeness::Imposter => Vec::new(),
        };
        let mut bytes = Vec::new();
        // Identities have numbers of their own, and need a machine.
        for op in ops.into_iter().filter(|op| !matches!(op, Op::AddAuth { .. })) {
            // Far from the numbers of the machine that the session may belong to.
            let xid = (((self.id.0 as i32 & 0x3ff) + 1) << 20) + self.rude_xid;
            self.rude_xid = (self.rude_xid + 1) & 0xf_ffff;
            codec::encode(xid, &op, &mut bytes);
            self.account.ask(Rc::new(op), None);
        }
        self.say(dial, bytes.into())
    }

    /// The highest byte of every session is the number of a server, and none has the number 0.
    fn nobodys_session(&mut self) -> SessionId {
        SessionId((self.rng.bits() >> 8) as i64 | 1)
    }

    /// The password of another session, or the right one but for a bit. Sessions that differ in nothing but their servers
    /// have one password.
    fn wrong_password(&mut self, right: [u8; PASSWORD_LEN]) -> [u8; PASSWORD_LEN] {
        let known: Vec<_> = self.board.borrow().values().map(|other| other.password).collect();
        let others: Vec<_> = known.into_iter().filter(|password| *password != right).collect();
        if !others.is_empty() && self.rng.chance(500_000) {
            return *self.rng.pick(&others);
        }
        let mut password = right;
        password[self.rng.index(PASSWORD_LEN)] ^= 0x40;
        password
    }

    fn say(&mut self, dial: DialId, bytes: Bytes) -> Result<(), Violation> {
        if let Some(tap) = &mut self.tap {
            tap.on_sent(&bytes, &mut self.account, &mut self.wants)?;
        }
        self.wants.push_back(Want::Send { dial, bytes });
        Ok(())
    }

    /// Ends the episode, if there is one, whatever it was about.
    pub(super) fn end_episode(&mut self, now: SimTime) {
        let Some(episode) = self.episode.take() else { return };
        self.wants.push_back(Want::Hangup { dial: episode.dial });
        self.lose();
        self.lost = false;
        self.account.begin();
        self.next_act = now + self.rng.exponential(self.profile.think);
    }

    /// Forgets the machine, as a process does that dies: the session is left to expire, or to be come back to.
    pub(super) fn abandon(&mut self, now: SimTime) {
        self.left = self.machine.as_ref().and_then(|machine| machine.session());
        if let Some(dial) = self.tap.as_ref().map(Tap::dial) {
            self.wants.push_back(Want::Hangup { dial });
        }
        self.lose();
        self.lost = false;
        self.machine = None;
        self.account.begin();
        self.next_act = now + self.rng.exponential(self.profile.think);
    }
}
