//! Keeps account of a client machine: what was asked of it, what went over the wire, and what it tells.
//!
//! The machine under test is `zabra_core::client`. It must not be believed, so this follows it from both sides: the
//! calls as they are made, and the frames as [`super::tap`] reads them. What must hold:
//!
//! - Requests leave in the order in which they were asked for, byte for byte as asked.
//! - Every call is answered exactly once, in that order, with what the server said; or with the loss of the
//!   connection, and then it tells truly whether it was sent (C2).
//! - Every watch event of the server is told once, to everybody who waits for it and to nobody else (W2).
//! - A new connection presents every identity again, in order and before anything is asked for on it, and registers every
//!   watch again, each once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use zabra_core::client::{CallError, CallId, Outcome as Told, WatcherId};
use zabra_core::types::{ErrorCode, EventType, WatcherType};

use super::convert;
use crate::check::{Checker, Violation};
use crate::op::{Answer, Op, WatchTable};

/// A call that was not answered yet.
#[derive(Debug)]
struct Entry {
    /// The number that the machine was given; none for closeSession, which is no call.
    call: Option<CallId>,
    op: Rc<Op>,
    watcher: Option<WatcherId>,
    sent: bool,
    /// What the server said.
    answer: Option<Answer>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Account {
    /// In the order in which they were asked.
    calls: VecDeque<Entry>,
    /// How many of them were sent, and how many of these were answered by the server.
    sent: usize,
    answered: usize,
    /// Presented on every connection, in this order.
    identities: Vec<Rc<Op>>,
    /// Calls that presented one for the first time, with its place, and what the server said.
    presenting: VecDeque<(CallId, usize, Option<Answer>)>,
    /// How many identities were sent on this connection, and how many of these the server answered.
    identities_sent: usize,
    identities_answered: usize,
    /// Told of removed watches, before the removal itself is.
    removed: Vec<(EventType, String, Vec<WatcherId>)>,
    /// Who waits for what.
    watchers: BTreeMap<WatchTable, BTreeMap<String, BTreeSet<WatcherId>>>,
    /// What this connection's setWatches have listed.
    renewed: BTreeSet<(WatchTable, String)>,
    /// Events that the server sent and the machine did not tell yet.
    events: VecDeque<(EventType, String)>,
    next_call: u64,
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Violation> {
    Err(Violation::new(Checker::Client, what))
}

impl Account {
    /// A new session, in which no number of a call is given that was given before.
    pub fn begin(&mut self) {
        *self = Self { next_call: self.next_call, ..Self::default() };
    }

    /// The number that the next call will have.
    pub const fn next_call(&self) -> u64 {
        self.next_call
    }

    /// This number was given to a call that is not made.
    pub fn skip_call(&mut self, call: CallId) {
        self.next_call = call.0 + 1;
    }

    /// Calls that were not answered yet.
    pub fn outstanding(&self) -> usize {
        self.calls.len()
    }

    /// Somebody asks for something. Answers the number to ask it with.
    pub fn ask(&mut self, op: Rc<Op>, watcher: Option<WatcherId>) -> CallId {
        let call = CallId(self.next_call);
        self.next_call += 1;
        if let Op::AddAuth { .. } = *op {
            self.presenting.push_back((call, self.identities.len(), None));
            self.identities.push(op);
            return call;
        }
        self.calls.push_back(Entry { call: Some(call), op, watcher, sent: false, answer: None });
        call
    }

    /// Somebody wants the session closed.
    pub fn close(&mut self) {
        let op = Rc::new(Op::CloseSession);
        self.calls.push_back(Entry { call: None, op, watcher: None, sent: false, answer: None });
    }

    /// What must be sent next.
    pub fn next_to_send(&mut self) -> Option<Rc<Op>> {
        let entry = self.calls.get_mut(self.sent)?;
        entry.sent = true;
        self.sent += 1;
        Some(entry.op.clone())
    }

    /// The identity that is presented at this place on a connection.
    pub fn present(&mut self, place: usize) -> Option<Rc<Op>> {
        self.identities_sent = place + 1;
        self.identities.get(place).cloned()
    }

    /// How many identities there are.
    pub const fn identities(&self) -> usize {
        self.identities.len()
    }

    /// The server answers the oldest identity that it has not answered on this connection.
    pub fn identity_answered(&mut self, answer: Answer) {
        let place = self.identities_answered;
        self.identities_answered += 1;
        if let Some(waiting) = self.presenting.iter_mut().find(|(_, at, _)| *at == place) {
            waiting.2 = Some(answer);
        }
    }

    /// The server answers the oldest request that it has not answered.
    pub fn answer(&mut self, answer: Answer) {
        if let Some(entry) = self.calls.get_mut(self.answered).filter(|entry| entry.sent) {
            entry.answer = Some(answer);
            self.answered += 1;
        }
    }

    /// The server tells of a change.
    pub fn event(&mut self, kind: EventType, path: String) {
        self.events.push_back((kind, path));
    }

    /// A setWatches was sent.
    ///
    /// # Errors
    /// If it lists what nobody watches, or lists it again.
    pub fn renew(&mut self, table: WatchTable, path: &str) -> Result<(), Violation> {
        if !self.watchers.get(&table).is_some_and(|watched| watched.contains_key(path)) {
            return wrong(format!("renews a {table:?} watch of {path}, which nobody has"));
        }
        if !self.renewed.insert((table, path.to_owned())) {
            return wrong(format!("renews the {table:?} watch of {path} twice"));
        }
        Ok(())
    }

    /// Everything that a new connection begins with was sent.
    ///
    /// # Errors
    /// If a watch was not renewed.
    pub fn primed(&mut self) -> Result<(), Violation> {
        for (table, watched) in &self.watchers {
            let forgotten = watched.keys().find(|path| !self.renewed.contains(&(*table, (*path).clone())));
            if let Some(path) = forgotten {
                return wrong(format!("does not renew the {table:?} watch of {path}"));
            }
        }
        self.renewed.clear();
        Ok(())
    }

    /// The machine says that a call has come to its end. Answers what it was, and what the server said to it.
    ///
    /// # Errors
    /// If that is not so.
    pub fn completed(
        &mut self,
        call: CallId,
        result: &Result<Told, CallError>,
        connected: bool,
    ) -> Result<(Rc<Op>, Option<Answer>), Violation> {
        if self.presenting.front().is_some_and(|(first, ..)| *first == call) {
            return self.presented(result, connected);
        }
        let Some(entry) = self.calls.pop_front() else {
            return wrong(format!("completes {call:?}, which nobody made"));
        };
        let Entry { op, watcher, sent, answer, .. } = entry;
        if entry.call != Some(call) {
            return wrong(format!("completes {call:?} while {:?} ({op}) is due", entry.call));
        }
        self.sent -= usize::from(sent);
        self.answered -= usize::from(answer.is_some());
        if let (Op::RemoveWatches { path, kind }, Some(answer)) = (&*op, &answer) {
            self.remove(path, *kind, answer, result)?;
            return Ok((op, Some(answer.clone())));
        }
        let fits = match (result, &answer) {
            (Ok(told), Some(Ok(outcome))) => convert::outcome(told) == *outcome,
            (Err(CallError::Refused(code)), Some(Err(said))) => code == said,
            (Err(CallError::ConnectionLoss { sent: said }), None) => !connected && sent == *said,
            (Err(CallError::AuthFailed | CallError::Closed | CallError::SessionExpired), None) => !connected,
            _ => false,
        };
        if !fits {
            return wrong(format!("completes {op} with {result:?}; sent {sent}, the server said {answer:?}"));
        }
        if let Some((watcher, answer)) = watcher.zip(answer.as_ref())
            && let Some((table, path)) = op.leaves_watch(answer)
        {
            self.watchers.entry(table).or_default().entry(path.to_owned()).or_default().insert(watcher);
        }
        Ok((op, answer))
    }

    /// The machine says that an identity was accepted or not.
    fn presented(
        &mut self,
        result: &Result<Told, CallError>,
        connected: bool,
    ) -> Result<(Rc<Op>, Option<Answer>), Violation> {
        let (_, place, answer) = self.presenting.pop_front().expect("looked at by the caller");
        let op = self.identities[place].clone();
        let fits = match (result, &answer) {
            (Ok(Told::Done), Some(Ok(_))) => true,
            (Err(CallError::Refused(code)), Some(Err(said))) => code == said,
            (Err(CallError::AuthFailed), Some(Err(ErrorCode::AUTHFAILED))) => true,
            (Err(CallError::ConnectionLoss { sent }), None) => {
                !connected && *sent == (place < self.identities_sent)
            }
            (Err(CallError::AuthFailed | CallError::Closed | CallError::SessionExpired), None) => !connected,
            _ => false,
        };
        if fits {
            return Ok((op, answer));
        }
        wrong(format!("completes {op} with {result:?}; the server said {answer:?}"))
    }

    /// The machine says that watches were removed, or not: it knows better than the server who waited.
    fn remove(
        &mut self,
        path: &str,
        kind: WatcherType,
        answer: &Answer,
        result: &Result<Told, CallError>,
    ) -> Result<(), Violation> {
        let tables = WatchTable::of_kind(kind);
        let is_watched =
            |table: &WatchTable| self.watchers.get(table).is_some_and(|watched| watched.contains_key(path));
        let (expected, gone) = match answer {
            _ if !tables.iter().any(is_watched) => (Err(CallError::Refused(ErrorCode::NOWATCHER)), false),
            Ok(_) => (Ok(Told::Done), true),
            Err(code) => (Err(CallError::Refused(*code)), false),
        };
        let mut told: BTreeMap<EventType, BTreeSet<WatcherId>> = BTreeMap::new();
        for table in tables.iter().filter(|_| gone) {
            let watched = self.watchers.get_mut(table).and_then(|watched| watched.remove(path));
            if let Some(watchers) = watched {
                told.entry(table.removal()).or_default().extend(watchers);
            }
        }
        let told: Vec<_> = told
            .into_iter()
            .map(|(kind, watchers)| (kind, path.to_owned(), watchers.into_iter().collect::<Vec<WatcherId>>()))
            .collect();
        let removed = std::mem::take(&mut self.removed);
        if *result == expected && removed == told {
            return Ok(());
        }
        wrong(format!(
            "removes {kind:?} watches of {path} with {result:?}, telling {removed:?}; should {expected:?}, {told:?}"
        ))
    }

    /// The machine tells of a change.
    ///
    /// # Errors
    /// If that is not so, or not for these.
    pub fn told(&mut self, kind: EventType, path: &str, told: &[WatcherId]) -> Result<(), Violation> {
        if let EventType::ChildWatchRemoved
        | EventType::DataWatchRemoved
        | EventType::PersistentWatchRemoved = kind
        {
            self.removed.push((kind, path.to_owned(), told.to_vec()));
            return Ok(());
        }
        match self.events.pop_front() {
            Some((sent, at)) if sent == kind && at == path => {}
            other => return wrong(format!("tells of {kind:?} {path}, the server of {other:?}")),
        }
        let mut expected = BTreeSet::new();
        for (table, watched) in &mut self.watchers {
            if table.is_one_shot() && table.hears_of(kind) {
                expected.extend(watched.remove(path).into_iter().flatten());
            } else if table.hears_of(kind) {
                let reached = watched.iter().filter(|(at, _)| table.reaches(at, path));
                expected.extend(reached.flat_map(|(_, watchers)| watchers));
            }
        }
        if !expected.iter().eq(told) {
            return wrong(format!("tells {told:?} of {kind:?} {path}, {expected:?} wait for it"));
        }
        Ok(())
    }

    /// The machine has nothing more to tell of a connection that is gone.
    ///
    /// # Errors
    /// If it kept something for itself.
    pub fn disconnected(&mut self) -> Result<(), Violation> {
        self.renewed.clear();
        (self.identities_sent, self.identities_answered) = (0, 0);
        if !self.presenting.is_empty() {
            return wrong("lost its connection and says nothing of an identity");
        }
        if let Some((kind, path)) = self.events.pop_front() {
            return wrong(format!("was told of {kind:?} {path}, and told nobody"));
        }
        // closeSession is no call: whether its answer came makes no difference.
        if self.calls.front().is_some_and(|entry| entry.call.is_none()) {
            self.calls.pop_front();
            (self.sent, self.answered) = (0, 0);
        }
        if let Some(entry) = self.calls.iter().find(|entry| entry.sent) {
            return wrong(format!("lost its connection and says nothing of {}", entry.op));
        }
        Ok(())
    }

    /// The machine has come to its end.
    ///
    /// # Errors
    /// If somebody still waits.
    pub fn over(&mut self) -> Result<(), Violation> {
        self.disconnected()?;
        self.watchers.clear();
        match self.calls.pop_front() {
            None => Ok(()),
            Some(entry) => wrong(format!("came to its end and says nothing of {}", entry.op)),
        }
    }
}
