//! Reads along on one connection of a client, both ways, at the client's end: what it asks for and what it is answered,
//! as the bytes say. The checkers judge by this, and not by what the client machine makes of it.
//!
//! It believes nothing: bytes that make no sense, answers in another order than that of the requests (C2), and a session that
//! is given to somebody without its password (S8) are a violation. So is a machine that says of itself what is not so, on a
//! new connection or where it renews its watches (C11).

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use zabra_core::client::Credentials;
use zabra_core::types::{DialId, SessionId, Zxid};
use zabra_core::wire::connect::PASSWORD_LEN;
use zabra_core::wire::request::{XID_AUTH, XID_PING, XID_SET_WATCHES, XID_WATCH_EVENT};
use zabra_core::wire::{ConnectRequest, ConnectResponse, Deframer, Reader, Request, RequestHeader};

use super::Want;
use super::account::Account;
use super::codec::{self, Garbled, ReplyHead};
use crate::check::{Checker, Violation};
use crate::history::Observed;
use crate::link::FRAME_MAX;
use crate::op::{Op, WatchTable};
use crate::places::ClientId;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was said.
    New,
    /// The handshake is sent.
    Greeting { presented: SessionId, claimed: Zxid, asked_ms: i32 },
    /// The session is attached.
    Up { session: SessionId },
    /// The session is gone.
    Refused,
}

/// What is to be thought of who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It says what is so.
    Honest,
    /// It presents a session that it cannot have: to take it would be wrong, and that it is refused means nothing.
    Imposter,
    /// It may say anything of what it has seen.
    Liar,
}

/// What a machine has to say of itself on every connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// The timeout that it was configured with.
    pub timeout_ms: i32,
    /// The session that it was given, as it was given.
    pub held: Option<Credentials>,
    /// The latest transaction that an answer has shown to it, on any connection.
    pub last_zxid: Zxid,
}

/// See the module.
#[derive(Debug)]
pub struct Tap {
    client: ClientId,
    dial: DialId,
    manner: Manner,
    claims: Claims,
    stage: Stage,
    /// The client hangs up, and hears nothing of what else is said.
    deaf: bool,
    sent: Deframer,
    received: Deframer,
    /// Requests that wait for an answer.
    pending: VecDeque<(i32, Rc<Op>)>,
    /// Identities that wait for one, and how many were presented.
    presented: VecDeque<Rc<Op>>,
    presented_count: usize,
    /// For comparing requests.
    scratch: Vec<u8>,
}

fn garbled(client: ClientId, garbled: &Garbled) -> Violation {
    Violation::new(Checker::Wire, format!("{client}: {garbled}"))
}

fn wrong<T>(what: String) -> Result<T, Violation> {
    Err(Violation::new(Checker::Client, what))
}

impl Tap {
    /// A connection in the making, of a client of which this is so.
    pub fn new(client: ClientId, dial: DialId, claims: Claims, manner: Manner) -> Self {
        Self {
            client,
            dial,
            manner,
            claims,
            stage: Stage::New,
            deaf: false,
            sent: Deframer::new(FRAME_MAX),
            received: Deframer::new(FRAME_MAX),
            pending: VecDeque::new(),
            presented: VecDeque::new(),
            presented_count: 0,
            scratch: Vec::new(),
        }
    }

    /// Which connection.
    pub const fn dial(&self) -> DialId {
        self.dial
    }

    /// Whether anything was said.
    pub fn is_used(&self) -> bool {
        self.stage != Stage::New
    }

    /// The session that is attached.
    pub const fn session(&self) -> Option<SessionId> {
        match self.stage {
            Stage::Up { session } => Some(session),
            Stage::New | Stage::Greeting { .. } | Stage::Refused => None,
        }
    }

    /// What the machine has to say of itself from now on.
    pub const fn claims(&self) -> Claims {
        self.claims
    }

    /// The client sends.
    ///
    /// # Errors
    /// If it sends something else than it was asked to.
    pub fn on_sent(
        &mut self,
        bytes: &Bytes,
        account: &mut Account,
        wants: &mut VecDeque<Want>,
    ) -> Result<(), Violation> {
        self.sent.push(bytes.clone());
        while let Some(frame) = self.sent.next_frame().expect("our own frames are whole") {
            match self.stage {
                Stage::New => self.on_hello(&frame)?,
                Stage::Up { session } => self.on_request(session, &frame, account, wants)?,
                Stage::Greeting { .. } | Stage::Refused => {
                    return wrong(format!("{} sends {} bytes too early", self.client, frame.len()));
                }
            }
        }
        Ok(())
    }

    fn on_hello(&mut self, frame: &[u8]) -> Result<(), Violation> {
        let hello = ConnectRequest::decode(frame).expect("our own handshake can be read");
        if self.manner == Manner::Honest {
            self.check_hello(&hello)?;
        }
        self.stage = Stage::Greeting {
            presented: hello.session,
            claimed: hello.last_zxid_seen,
            asked_ms: hello.timeout_ms,
        };
        Ok(())
    }

    /// A machine presents the session that it has, by its password, asks for the timeout that it was given, and says
    /// what it has seen.
    fn check_hello(&self, hello: &ConnectRequest<'_>) -> Result<(), Violation> {
        let (client, Claims { timeout_ms, held, last_zxid }) = (self.client, self.claims);
        if hello.last_zxid_seen != last_zxid {
            let claimed = hello.last_zxid_seen;
            return wrong(format!("{client} says it has seen {claimed}, and has seen {last_zxid}"));
        }
        let none = Credentials { session: SessionId::NONE, password: [0; PASSWORD_LEN] };
        let held = held.unwrap_or(none);
        if hello.session != held.session || hello.password != held.password {
            let (presented, held) = (hello.session, held.session);
            return wrong(format!("{client} presents {presented}, or its password, and has {held}"));
        }
        if hello.timeout_ms != timeout_ms {
            let asked = hello.timeout_ms;
            return wrong(format!("{client} asks for a timeout of {asked} ms, and is to have {timeout_ms}"));
        }
        Ok(())
    }

    fn on_request(
        &mut self,
        session: SessionId,
        frame: &Bytes,
        account: &mut Account,
        wants: &mut VecDeque<Want>,
    ) -> Result<(), Violation> {
        let mut reader = Reader::new(frame);
        let header = RequestHeader::decode(&mut reader).expect("our own header can be read");
        let client = self.client;
        let op = match header.xid {
            XID_PING => return Ok(()),
            XID_SET_WATCHES => {
                let request = Request::decode(header.op, &mut reader).expect("our own lists can be read");
                let Request::SetWatches { relative_zxid, data, exist, child, persistent, recursive } =
                    request
                else {
                    return wrong(format!("{client} sends {:?} as setWatches", header.op));
                };
                let seen = self.claims.last_zxid;
                if self.manner == Manner::Honest && relative_zxid != seen {
                    let words = format!("{client} renews watches since {relative_zxid}, and has seen {seen}");
                    return wrong(words);
                }
                let mut list = |table, paths: Vec<&str>| -> Result<Vec<String>, Violation> {
                    let renewed = |&path: &&str| account.renew(table, path).map(|()| path.to_owned());
                    paths.iter().map(renewed).collect()
                };
                Rc::new(Op::SetWatches {
                    relative: relative_zxid,
                    data: list(WatchTable::Data, data)?,
                    exist: list(WatchTable::Exist, exist)?,
                    child: list(WatchTable::Child, child)?,
                    persistent: list(WatchTable::Persistent, persistent)?,
                    recursive: list(WatchTable::Recursive, recursive)?,
                })
            }
            xid => {
                let next = if xid == XID_AUTH {
                    self.presented_count += 1;
                    account.present(self.presented_count - 1)
                } else {
                    let (presented, known) = (self.presented_count, account.identities());
                    if self.manner == Manner::Honest && presented < known {
                        let words =
                            format!("{client} asks having presented {presented} of {known} identities");
                        return wrong(words);
                    }
                    account.next_to_send()
                };
                let Some(op) = next else {
                    return wrong(format!("{client} sends {:?}, which nobody asked for", header.op));
                };
                self.scratch.clear();
                codec::encode(xid, &op, &mut self.scratch);
                if self.scratch[4..] != frame[..] {
                    return wrong(format!("{client} sends {frame:?} for {op}"));
                }
                op
            }
        };
        if header.xid == XID_AUTH {
            // Answered at once, whatever else waits.
            self.presented.push_back(op.clone());
        } else {
            self.pending.push_back((header.xid, op.clone()));
        }
        wants.push_back(Want::Tell(Observed::Invoked { client, session, xid: header.xid, op }));
        Ok(())
    }

    /// The server sends.
    ///
    /// # Errors
    /// If it makes no sense.
    pub fn on_received(
        &mut self,
        bytes: &Bytes,
        account: &mut Account,
        wants: &mut VecDeque<Want>,
    ) -> Result<(), Violation> {
        self.received.push(bytes.clone());
        loop {
            let client = self.client;
            let wrong = |words: &Garbled| garbled(client, words);
            let next = self.received.next_frame().map_err(|error| wrong(&Garbled(error.to_string())))?;
            let Some(frame) = next.filter(|_| !self.deaf) else { return Ok(()) };
            match self.stage {
                Stage::Greeting { presented, claimed, asked_ms } => {
                    let told = self.on_welcome(&frame, presented, claimed, asked_ms);
                    let told = told.map_err(|words| wrong(&words))?;
                    wants.extend(told.map(Want::Tell));
                }
                Stage::Up { session } => {
                    let told = self.on_reply(session, &frame, account).map_err(|words| wrong(&words))?;
                    wants.extend(told.map(Want::Tell));
                }
                Stage::New | Stage::Refused => {
                    return Err(wrong(&Garbled("the server speaks without being asked".into())));
                }
            }
        }
    }

    fn on_welcome(
        &mut self,
        frame: &[u8],
        presented: SessionId,
        claimed: Zxid,
        asked_ms: i32,
    ) -> Result<Option<Observed>, Garbled> {
        let client = self.client;
        let response = ConnectResponse::decode(frame)?;
        let resumed = presented != SessionId::NONE;
        if self.manner == Manner::Imposter {
            self.stage = Stage::Refused;
            let taken = response.timeout_ms > 0;
            return if taken { Err(Garbled(format!("{presented} is given away"))) } else { Ok(None) };
        }
        if response.timeout_ms <= 0 {
            if !resumed {
                return Err(Garbled("a new session is refused as expired".into()));
            }
            self.stage = Stage::Refused;
            return Ok(Some(Observed::SessionGone { client, session: presented }));
        }
        let session = response.session;
        if resumed && session != presented {
            return Err(Garbled(format!("asked for {presented}, got {session}")));
        }
        self.stage = Stage::Up { session };
        self.claims.held = Some(Credentials { session, password: response.password });
        let timeout_ms = response.timeout_ms;
        Ok(Some(Observed::Connected { client, session, timeout_ms, asked_ms, resumed, claimed }))
    }

    fn on_reply(
        &mut self,
        session: SessionId,
        frame: &[u8],
        account: &mut Account,
    ) -> Result<Option<Observed>, Garbled> {
        let client = self.client;
        let mut reader = Reader::new(frame);
        let head = ReplyHead::decode(&mut reader)?;
        match head.xid {
            XID_WATCH_EVENT => {
                let (kind, path) = codec::decode_event(&mut reader)?;
                account.event(kind.event_type(), path.clone());
                return Ok(Some(Observed::Event { client, zxid: head.zxid, kind, path }));
            }
            XID_PING => return Ok(None),
            XID_AUTH => {
                let Some(op) = self.presented.pop_front() else {
                    return Err(Garbled("an identity is answered that was not presented".into()));
                };
                let answer = codec::decode(&op, head.code, &mut reader)?;
                account.identity_answered(answer.clone());
                let (xid, zxid) = (head.xid, head.zxid);
                return Ok(Some(Observed::Answered { client, session, xid, op, zxid, answer }));
            }
            _ => {}
        }
        let op = match self.pending.pop_front() {
            Some((expected, op)) if expected == head.xid => op,
            Some((expected, op)) => {
                return Err(Garbled(format!("answer #{} while #{expected} ({op}) is due", head.xid)));
            }
            None => return Err(Garbled(format!("answer #{} to no request", head.xid))),
        };
        let answer = codec::decode(&op, head.code, &mut reader)?;
        if head.xid != XID_SET_WATCHES {
            account.answer(answer.clone());
        } else if answer.is_err() {
            // With watches that stay silent nobody goes on.
            self.deaf = true;
            return Ok(None);
        }
        // A machine that has closed its session tells nobody of what comes behind the answer.
        self.deaf |= self.manner == Manner::Honest && *op == Op::CloseSession;
        self.claims.last_zxid = self.claims.last_zxid.max(head.zxid);
        let (xid, zxid) = (head.xid, head.zxid);
        Ok(Some(Observed::Answered { client, session, xid, op, zxid, answer }))
    }
}
