//! What the server says: answers to calls, events, and the odd reply that nobody asked for.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::pending::{Expected, Waiting};
use super::watches::WatchKind;
use super::{CallError, Client, ClientAction, ClientEvent, ClientHangup, Effect, Outcome, SessionState};
use crate::types::path::is_within;
use crate::types::{ErrorCode, EventType, OpCode, Zxid};
use crate::wire::request::{XID_AUTH, XID_PING, XID_WATCH_EVENT};
use crate::wire::{Answer, DecodeError, Reader, ReplyHeader, WatchEvent};

impl Client {
    /// One frame from the server, with the session attached.
    pub(super) fn on_reply(&mut self, frame: &[u8]) {
        let mut reader = Reader::new(frame);
        let taken = ReplyHeader::decode(&mut reader).and_then(|header| match header.xid {
            XID_PING => Ok(()),
            XID_AUTH => {
                self.on_identity_answered(header.err);
                Ok(())
            }
            XID_WATCH_EVENT => self.on_event(header.zxid, &mut reader),
            _ => self.on_answer(header, &mut reader),
        });
        if taken.is_err() {
            self.hang_up(ClientHangup::BadReply);
        }
    }

    fn on_event(&mut self, zxid: Zxid, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let event = WatchEvent::decode(reader)?;
        match event.kind {
            EventType::NodeChildrenChanged
            | EventType::NodeCreated
            | EventType::NodeDataChanged
            | EventType::NodeDeleted => {}
            // Clients tell themselves of these.
            EventType::ChildWatchRemoved
            | EventType::DataWatchRemoved
            | EventType::None
            | EventType::PersistentWatchRemoved => return Err(DecodeError::UnknownOperation),
        }
        let watchers = self.watches.take(event.kind, event.path);
        let path = self.strip_chroot(event.path).to_owned();
        let event = ClientEvent::Watch { kind: event.kind, path, zxid, watchers };
        self.actions.push_back(ClientAction::Event(event));
        Ok(())
    }

    fn on_answer(&mut self, header: ReplyHeader, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let Some(expected) = self.pending.answered(header.xid) else {
            self.hang_up(ClientHangup::BadReply);
            return Ok(());
        };
        let decoded = match expected {
            Expected::Call(waiting) => self.on_call_answered(waiting, header, reader),
            // Whatever the server says about it, it will close the connection.
            Expected::Close => {
                self.hang_up_and_end(SessionState::Closed, CallError::Closed);
                Ok(())
            }
            // The watches would be silent for good.
            Expected::SetWatches if header.err != ErrorCode::OK => {
                self.hang_up(ClientHangup::WatchesRefused);
                return Ok(());
            }
            Expected::SetWatches => Ok(()),
        };
        // An answer that nobody could read has shown nothing.
        if decoded.is_ok() && header.zxid > self.last_zxid {
            self.last_zxid = header.zxid;
        }
        decoded
    }

    fn on_call_answered(
        &mut self,
        waiting: Waiting,
        header: ReplyHeader,
        reader: &mut Reader<'_>,
    ) -> Result<(), DecodeError> {
        let Waiting { call, op, parts, effect } = waiting;
        let decoded = if header.err == ErrorCode::OK {
            Answer::decode(op, reader).and_then(|answer| self.outcome(op, parts, answer))
        } else {
            Ok(Err(header.err))
        };
        let outcome = match decoded {
            Ok(outcome) => outcome,
            Err(error) => {
                // It was taken from those that wait, so it is told here (PARITY `cl.xidmismatch`).
                self.complete(call, Err(CallError::ConnectionLoss { sent: true }));
                return Err(error);
            }
        };
        let code = outcome.as_ref().err().copied().unwrap_or(ErrorCode::OK);
        let result = match effect {
            Effect::Nothing => outcome.map_err(CallError::Refused),
            Effect::Leaves { path, kind, or_exist, watcher } => {
                if code == ErrorCode::OK {
                    self.watches.add(kind, path, watcher);
                } else if or_exist && code == ErrorCode::NONODE {
                    self.watches.add(WatchKind::Exist, path, watcher);
                }
                outcome.map_err(CallError::Refused)
            }
            Effect::Removes { .. } => self.remove_watches(&effect, code),
        };
        self.complete(call, result);
        Ok(())
    }

    /// Removes watches as far as the answer allows, and tells the watchers.
    pub(super) fn remove_watches(
        &mut self,
        effect: &Effect,
        answer: ErrorCode,
    ) -> Result<Outcome, CallError> {
        let Effect::Removes { path, kind, watcher, local } = effect else {
            unreachable!("only called for removals");
        };
        let removed =
            self.watches.remove(path, *kind, *watcher, *local, answer).map_err(CallError::Refused)?;
        for (kind, watchers) in removed {
            let path = self.strip_chroot(path).to_owned();
            let event = ClientEvent::Watch { kind, path, zxid: Zxid::UNKNOWN, watchers };
            self.actions.push_back(ClientAction::Event(event));
        }
        Ok(Outcome::Done)
    }

    /// What an answer without error means to the caller. The inner error is addWatch's own.
    fn outcome(
        &self,
        op: OpCode,
        parts: usize,
        answer: Answer<'_>,
    ) -> Result<Result<Outcome, ErrorCode>, DecodeError> {
        if let Answer::Multi(results) = answer {
            // Only as many results as there were operations can be told apart.
            if results.len() != parts {
                return Err(DecodeError::InvalidMulti);
            }
            let outcomes = results.into_iter().map(|result| self.single(result.op, result.answer)).collect();
            return Ok(Ok(Outcome::Multi(outcomes)));
        }
        Ok(self.single(op, answer))
    }

    fn single(&self, op: OpCode, answer: Answer<'_>) -> Result<Outcome, ErrorCode> {
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<String>>();
        Ok(match answer {
            Answer::Acl { acl, stat } => Outcome::Acl { acl, stat },
            Answer::Children(paths) if op == OpCode::GET_EPHEMERALS => {
                // A prefix is no path: with the chroot `/a`, the server also tells of what lies in `/ab`.
                let chroot = self.config.chroot.as_deref();
                let ours =
                    paths.into_iter().filter(|path| chroot.is_none_or(|chroot| is_within(path, chroot)));
                Outcome::Paths(ours.map(|path| self.strip_chroot(path).to_owned()).collect())
            }
            Answer::Children(names) => Outcome::Children { names: owned(names), stat: None },
            Answer::ChildrenStat { children, stat } => {
                Outcome::Children { names: owned(children), stat: Some(stat) }
            }
            Answer::Count(count) => Outcome::Count(count),
            // A copy: a piece of the frame would keep all of what came with it.
            Answer::Data { data, stat } => Outcome::Data { data: data.map(Bytes::copy_from_slice), stat },
            Answer::Empty => Outcome::Done,
            // addWatch says OK in this way; an operation of a multi says that it was undone.
            Answer::Error(ErrorCode::OK) if op == OpCode::ADD_WATCH => Outcome::Done,
            Answer::Error(code) => return Err(code),
            Answer::Identities(identities) => Outcome::Identities(
                identities.into_iter().map(|(scheme, user)| (scheme.to_owned(), user.to_owned())).collect(),
            ),
            Answer::Path(path) if op == OpCode::SYNC => Outcome::Path(self.strip_chroot(path).to_owned()),
            Answer::Path(path) => Outcome::Created { path: self.strip_chroot(path).to_owned(), stat: None },
            Answer::PathStat { path, stat } => {
                Outcome::Created { path: self.strip_chroot(path).to_owned(), stat: Some(stat) }
            }
            Answer::Stat(stat) => Outcome::Stat(stat),
            Answer::Multi(_) | Answer::Sasl(_) => {
                unreachable!("no multi is inside another, and nobody asks for sasl")
            }
        })
    }
}
