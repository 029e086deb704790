//! The sessions of this server: their timeouts, their owners, and when each expires.
//!
//! Expiry is in buckets one tick wide, as ZooKeeper's (`ExpiryQueue`): a session's deadline is rounded up to the
//! next multiple of the tick, so a session may live up to a tick longer than its timeout, never shorter. Touching
//! a session only moves its deadline; its entry stays in the bucket it is in, and is moved on when that bucket is
//! due. So a touch costs one look-up however many sessions there are.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use crate::time::{Instant, Now, WallTime};
use crate::types::{ConnId, ErrorCode, ServerId, SessionId};

/// Of a drawn number, this many bits are not used: what is left is far less than the ids that a server has, and far
/// more than it will ever give.
const DRAWN_SHIFT: u32 = 16;

/// The byte of a session id that names the server which gave it.
const SERVER_MASK: i64 = 0xff << 56;

/// The session ended, is about to, or never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpired;

/// Who serves a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This server, on a connection of its own.
    Conn(ConnId),
    /// This server, on a connection that is gone, until the session comes again: whatever a learner still says for it is
    /// older than what was taken here.
    Gone,
    /// A learner of this server.
    Learner(ServerId),
}

#[derive(Debug)]
struct Session {
    /// What its createSession transaction says; snapshots keep it.
    timeout_ms: i32,
    /// What it is tracked with: the last negotiated one.
    current_timeout_ms: i32,
    /// The bucket it is due in.
    due_ms: u64,
    /// The bucket that lists it, never after `due_ms`. A later bucket may list it, too, to no effect.
    listed_ms: u64,
    /// Who serves it, if anybody did since this server knows of it or has its role.
    owner: Option<Owner>,
    /// Something was heard from it that the leader has not been told.
    touched: bool,
    /// Its createSession was applied: it is part of the state that snapshots keep.
    committed: bool,
    /// Its closeSession is on the way; nothing more is taken from it.
    closing: bool,
    /// No other server knows it; it is not committed.
    local: bool,
}

/// All sessions that this server tracks.
#[derive(Debug)]
pub struct SessionTable {
    /// Ordered, so that whatever walks it is deterministic.
    sessions: BTreeMap<SessionId, Session>,
    /// Bucket to the sessions listed in it; each session is listed in exactly one.
    buckets: BTreeMap<u64, Vec<SessionId>>,
    tick_ms: u64,
    next_id: SessionId,
    /// Sessions that were heard from, where a leader wants to know; each once.
    touched: Option<Vec<SessionId>>,
    /// How many sessions are local.
    local_count: usize,
}

impl SessionTable {
    /// The table of a server that starts with the sessions `recovered` from disk, each with its full timeout.
    ///
    /// New ids begin with `server_id` in the top byte and the wall clock below it (PARITY `sess.id`). ZooKeeper
    /// takes the time since boot, which repeats itself after a reboot while old sessions may still live. Here no
    /// id is given that a live session of this server has reached; where the clock is behind those, ids go on from
    /// a place drawn by `draw`, any random number, since sessions that ended may have reached further still.
    pub fn new(
        server_id: i64,
        tick: Duration,
        recovered: &BTreeMap<SessionId, i32>,
        now: Now,
        draw: u64,
    ) -> Self {
        let first = Self::first_id(server_id, now.wall);
        let reached = recovered.keys().filter(|id| (id.0 as u64) >> 56 == (first as u64) >> 56).max();
        let next_id = match reached {
            Some(reached) if reached.0 >= first => {
                let from = reached.0.wrapping_add((draw >> DRAWN_SHIFT) as i64);
                after(SessionId(first & SERVER_MASK | from & !SERVER_MASK))
            }
            _ => SessionId(first),
        };
        let tick_ms = u64::try_from(tick.as_millis()).unwrap_or(u64::MAX);
        let mut table = Self {
            sessions: BTreeMap::new(),
            buckets: BTreeMap::new(),
            tick_ms,
            next_id,
            touched: None,
            local_count: 0,
        };
        for (&session, &timeout_ms) in recovered {
            table.track(session, timeout_ms, None, now.mono);
            table.commit(session);
        }
        table
    }

    fn first_id(server_id: i64, wall: WallTime) -> i64 {
        let id = ((((wall.0 << 24) as u64) >> 8) as i64) | (server_id << 56);
        // The owner field of containers must not name a session.
        if id == i64::MIN { id + 1 } else { id }
    }

    /// Begins a session on a connection and gives it an id: the next one that nobody has. Other servers are to open
    /// sessions under ids of their own, but nothing makes them.
    pub fn create(&mut self, timeout_ms: i32, owner: ConnId, now: Instant) -> SessionId {
        while self.sessions.contains_key(&self.next_id) {
            self.next_id = after(self.next_id);
        }
        let session = self.next_id;
        self.next_id = after(session);
        self.track(session, timeout_ms, Some(Owner::Conn(owner)), now);
        session
    }

    /// The session stays with this server: no other one knows it.
    pub fn set_local(&mut self, session: SessionId) {
        if let Some(entry) = self.sessions.get_mut(&session)
            && !entry.local
        {
            assert!(!entry.committed, "a session that all servers know");
            entry.local = true;
            self.local_count += 1;
        }
    }

    /// Whether no other server knows the session.
    pub fn is_local(&self, session: SessionId) -> bool {
        self.local_count > 0 && self.sessions.get(&session).is_some_and(|entry| entry.local)
    }

    /// Whether the session is known here, and not for this server alone.
    pub fn is_global(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|entry| !entry.local)
    }

    /// A local session is to be known to all servers. Returns its timeout in milliseconds, if it was one.
    pub fn upgrade(&mut self, session: SessionId) -> Option<i32> {
        let entry = self.sessions.get_mut(&session).filter(|entry| entry.local && !entry.closing)?;
        entry.local = false;
        self.local_count -= 1;
        entry.timeout_ms = entry.current_timeout_ms;
        Some(entry.timeout_ms)
    }

    /// A session that another server opened is known from here on, with who serves it. Whether it was not before.
    pub fn learn(&mut self, session: SessionId, timeout_ms: i32, owner: Option<Owner>, now: Instant) -> bool {
        let new = !self.sessions.contains_key(&session);
        if new {
            self.track(session, timeout_ms, owner, now);
        }
        new
    }

    /// Nobody serves any session any more: those that are committed go on, each with its full timeout, and the others
    /// never were.
    pub fn restart(&mut self, now: Instant) {
        let committed: Vec<(SessionId, i32)> = self.timeouts().collect();
        self.replace(committed, now);
    }

    /// From now on the sessions are these, with their timeouts in milliseconds, and nobody serves them.
    pub fn replace(&mut self, sessions: impl IntoIterator<Item = (SessionId, i32)>, now: Instant) {
        self.sessions.clear();
        self.buckets.clear();
        self.touched = None;
        self.local_count = 0;
        for (session, timeout_ms) in sessions {
            self.track(session, timeout_ms, None, now);
            self.commit(session);
        }
    }

    /// From now on sessions that are heard from are remembered for [`SessionTable::take_touched`].
    pub fn report_touched(&mut self) {
        self.touched = Some(Vec::new());
    }

    /// Sessions that were heard from since the last call, with their timeouts in milliseconds; the others of them next time
    /// if they are more than so many.
    pub fn take_touched(&mut self, count_max: usize) -> Vec<(SessionId, i32)> {
        let Some(touched) = &mut self.touched else { return Vec::new() };
        let count = touched.len().min(count_max);
        let mut sessions = Vec::with_capacity(count);
        for session in touched.drain(..count) {
            if let Some(entry) = self.sessions.get_mut(&session) {
                entry.touched = false;
                sessions.push((session, entry.current_timeout_ms));
            }
        }
        sessions
    }

    fn track(&mut self, session: SessionId, timeout_ms: i32, owner: Option<Owner>, now: Instant) {
        let due_ms = self.bucket(timeout_ms, now);
        let entry = Session {
            timeout_ms,
            current_timeout_ms: timeout_ms,
            due_ms,
            listed_ms: due_ms,
            owner,
            touched: false,
            committed: false,
            closing: false,
            local: false,
        };
        let before = self.sessions.insert(session, entry);
        assert!(before.is_none(), "a session id was given twice");
        self.buckets.entry(due_ms).or_default().push(session);
    }

    /// The session's createSession was applied.
    pub fn commit(&mut self, session: SessionId) {
        if let Some(entry) = self.sessions.get_mut(&session) {
            entry.committed = true;
            self.local_count -= usize::from(core::mem::replace(&mut entry.local, false));
        }
    }

    fn bucket(&self, timeout_ms: i32, now: Instant) -> u64 {
        bucket(self.tick_ms, timeout_ms, now)
    }

    /// Something was heard from the session; where a learner says so, with the timeout that it has there.
    pub fn touch(&mut self, session: SessionId, timeout_ms: Option<i32>, now: Instant) {
        let tick_ms = self.tick_ms;
        if let Some(entry) = self.sessions.get_mut(&session)
            && !entry.closing
        {
            let timeout_ms = timeout_ms.unwrap_or(entry.current_timeout_ms);
            entry.due_ms = entry.due_ms.max(bucket(tick_ms, timeout_ms, now));
            if let Some(touched) = &mut self.touched
                && !entry.touched
                && !entry.local
            {
                entry.touched = true;
                touched.push(session);
            }
        }
    }

    /// Whether `owner` may act for the session; whoever is the first to, serves it from now on (PARITY `sess.owner`).
    ///
    /// # Errors
    /// The session is over, or somebody else serves it.
    pub fn check(&mut self, session: SessionId, owner: Owner) -> Result<(), ErrorCode> {
        let entry = self.sessions.get_mut(&session).filter(|entry| !entry.closing);
        let entry = entry.ok_or(ErrorCode::SESSIONEXPIRED)?;
        if *entry.owner.get_or_insert(owner) == owner { Ok(()) } else { Err(ErrorCode::SESSIONMOVED) }
    }

    /// Attaches a session to who serves it from now on, with a newly negotiated timeout. Returns who did before.
    ///
    /// # Errors
    /// If the session ended, is about to, or never was.
    pub fn reattach(
        &mut self,
        session: SessionId,
        timeout_ms: i32,
        owner: Owner,
        now: Instant,
    ) -> Result<Option<Owner>, SessionExpired> {
        let due_ms = self.bucket(timeout_ms, now);
        let entry = self.sessions.get_mut(&session).filter(|entry| !entry.closing).ok_or(SessionExpired)?;
        entry.current_timeout_ms = timeout_ms;
        entry.due_ms = due_ms;
        // A shorter timeout may make it due earlier than the bucket that lists it; list it there, too, and let the
        // later listing be of no effect.
        if due_ms < entry.listed_ms {
            entry.listed_ms = due_ms;
            self.buckets.entry(due_ms).or_default().push(session);
        }
        Ok(entry.owner.replace(owner))
    }

    /// If a learner serves the session, the connection does from now on.
    pub fn take_over(&mut self, session: SessionId, owner: ConnId) {
        if let Some(entry) = self.sessions.get_mut(&session)
            && matches!(entry.owner, Some(Owner::Learner(_)))
        {
            entry.owner = Some(Owner::Conn(owner));
        }
    }

    /// The connection is gone; its session stays.
    pub fn detach(&mut self, session: SessionId, owner: ConnId) {
        if let Some(entry) = self.sessions.get_mut(&session)
            && entry.owner == Some(Owner::Conn(owner))
        {
            entry.owner = Some(Owner::Gone);
        }
    }

    /// The connection of this server that the session is attached to.
    pub fn conn(&self, session: SessionId) -> Option<ConnId> {
        match self.sessions.get(&session)?.owner? {
            Owner::Conn(conn) => Some(conn),
            Owner::Gone | Owner::Learner(_) => None,
        }
    }

    /// Whether the session is known and not about to end.
    pub fn is_alive(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|entry| !entry.closing)
    }

    /// From now on nothing is taken from the session: its end is on the way.
    pub fn set_closing(&mut self, session: SessionId) {
        if let Some(entry) = self.sessions.get_mut(&session) {
            entry.closing = true;
        }
    }

    /// The session ended. Returns the connection of this server that it was attached to.
    pub fn remove(&mut self, session: SessionId) -> Option<ConnId> {
        let conn = self.conn(session);
        let entry = self.sessions.remove(&session);
        self.local_count -= usize::from(entry.is_some_and(|entry| entry.local));
        conn
    }

    /// When the next bucket is due. `all`: whether only local sessions expire here, or all of them.
    pub fn poll_timeout(&self, all: bool) -> Option<Instant> {
        let first = self.buckets.keys().next().filter(|_| all || self.local_count > 0);
        first.map(|&due_ms| Instant::from_millis(due_ms))
    }

    /// Takes the sessions that were not heard from in time and marks them closing; but those that all servers know only
    /// if `all` expire here. Where they do not, they are tracked again from the next [`SessionTable::restart`] on.
    pub fn expire(&mut self, now: Instant, all: bool) -> Vec<SessionId> {
        let mut expired = Vec::new();
        while let Some(bucket) = self.buckets.first_entry() {
            let bucket_ms = *bucket.key();
            if bucket_ms > now.as_millis() {
                break;
            }
            for session in bucket.remove() {
                let Some(entry) = self.sessions.get_mut(&session) else { continue };
                if entry.closing || entry.listed_ms != bucket_ms || !all && !entry.local {
                    continue;
                }
                if entry.due_ms <= now.as_millis() {
                    entry.closing = true;
                    expired.push(session);
                } else {
                    entry.listed_ms = entry.due_ms;
                    self.buckets.entry(entry.due_ms).or_default().push(session);
                }
            }
        }
        expired
    }

    /// Every committed session with the timeout that its transaction gave it, in order of ids, as snapshots keep
    /// them.
    pub fn timeouts(&self) -> impl Iterator<Item = (SessionId, i32)> + Clone + '_ {
        let committed = self.sessions.iter().filter(|(_, entry)| entry.committed);
        committed.map(|(&session, entry)| (session, entry.timeout_ms))
    }

    /// How many of them no other server knows.
    pub const fn local_count(&self) -> usize {
        self.local_count
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Buckets with the sessions due in them, earliest first, for the four-letter word `dump`.
    pub fn due(&self) -> BTreeMap<u64, Vec<SessionId>> {
        let mut due: BTreeMap<u64, Vec<SessionId>> = BTreeMap::new();
        for (&session, entry) in &self.sessions {
            due.entry(entry.due_ms).or_default().push(session);
        }
        due
    }
}

/// The id behind this one, of the same server.
const fn after(session: SessionId) -> SessionId {
    let next = session.0 & SERVER_MASK | session.0.wrapping_add(1) & !SERVER_MASK;
    // Neither no session nor the owner of containers.
    if next & !SERVER_MASK == 0 { SessionId(next + 1) } else { SessionId(next) }
}

/// The bucket in which a session is due that has this timeout and is heard from now.
fn bucket(tick_ms: u64, timeout_ms: i32, now: Instant) -> u64 {
    let timeout_ms = u64::try_from(timeout_ms).unwrap_or(0);
    ((now.as_millis() + timeout_ms) / tick_ms + 1) * tick_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONN: ConnId = ConnId(1);

    fn table() -> SessionTable {
        let tick = Duration::from_millis(100);
        SessionTable::new(1, tick, &BTreeMap::new(), start(1_700_000_000_000), 0)
    }

    fn start(wall_ms: i64) -> Now {
        Now { mono: Instant::ZERO, wall: WallTime(wall_ms) }
    }

    fn is_over(table: &SessionTable, session: SessionId) -> bool {
        table.sessions.get(&session).is_none_or(|entry| entry.closing)
    }

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    /// PARITY `sess.bucket`: never before the timeout, at most one tick after it.
    #[test]
    fn sess_bucket() {
        for start in 0..250 {
            for timeout_ms in [1, 99, 100, 101, 250] {
                let mut table = table();
                let session = table.create(timeout_ms, CONN, at(start));
                let due = table.poll_timeout(true).expect("one session is due some time");
                let earliest = start + u64::try_from(timeout_ms).expect("positive");
                assert!(due.as_millis() > earliest);
                assert!(due.as_millis() <= earliest + 100);
                assert_eq!(table.expire(at(due.as_millis() - 1), true), []);
                assert_eq!(table.expire(due, true), [session]);
                assert!(is_over(&table, session));
                assert_eq!(table.expire(at(10_000), true), [], "a session expires once");
            }
        }
    }

    /// PARITY `sess.touch`: a touched session lives on from the touch.
    #[test]
    fn sess_touch() {
        let mut table = table();
        let session = table.create(500, CONN, at(0));
        table.touch(session, None, at(400));
        assert_eq!(table.expire(at(900), true), []);
        assert_eq!(table.expire(at(1000), true), [session]);
        table.touch(session, None, at(1000));
        assert!(is_over(&table, session), "no touch revives a closing session");
    }

    /// PARITY `quorum.ping`: all sessions that were heard from are named, however many, each once.
    #[test]
    fn quorum_ping_names_so_many_sessions_and_the_others_next_time() {
        let mut table = table();
        table.report_touched();
        let sessions: Vec<SessionId> = (0..5).map(|_| table.create(500, CONN, at(0))).collect();
        for _ in 0..2 {
            sessions.iter().for_each(|&session| table.touch(session, None, at(100)));
            let mut named = Vec::new();
            for count in [2, 2, 1, 0] {
                let touched = table.take_touched(2);
                assert_eq!(touched.len(), count);
                named.extend(touched);
            }
            named.sort_unstable();
            assert_eq!(named, sessions.iter().map(|&session| (session, 500)).collect::<Vec<_>>());
        }
    }

    /// PARITY `sess.owner`, `sess.reconnect.timeout`: one connection at a time, with the timeout it negotiated.
    #[test]
    fn sess_owner_moves() {
        let mut table = table();
        let session = table.create(5000, CONN, at(0));
        let other = ConnId(2);
        assert_eq!(table.conn(session), Some(CONN));
        assert_eq!(table.reattach(session, 200, Owner::Conn(other), at(10)), Ok(Some(Owner::Conn(CONN))));
        assert_eq!(table.conn(session), Some(other));
        assert_eq!(table.timeouts().count(), 0, "nothing is committed");
        table.commit(session);
        assert_eq!(
            table.timeouts().collect::<Vec<_>>(),
            [(session, 5000)],
            "the transaction's timeout stays"
        );
        assert_eq!(table.expire(at(300), true), [session], "the shorter timeout counts");
        assert_eq!(table.reattach(session, 200, Owner::Conn(CONN), at(301)), Err(SessionExpired));
    }

    /// PARITY `sess.owner`: what a learner says for a session that was here since is late, also when its connection here
    /// is gone; until the learner asks for the session anew.
    #[test]
    fn sess_owner_stays_when_its_connection_goes() {
        let mut table = table();
        let session = table.create(5000, CONN, at(0));
        let learner = Owner::Learner(ServerId(2));
        assert_eq!(table.check(session, learner), Err(ErrorCode::SESSIONMOVED));
        table.detach(session, CONN);
        assert_eq!(
            (table.conn(session), table.check(session, learner)),
            (None, Err(ErrorCode::SESSIONMOVED))
        );
        assert_eq!(table.reattach(session, 5000, learner, at(1)), Ok(Some(Owner::Gone)));
        assert_eq!(table.check(session, learner), Ok(()));
        table.detach(session, CONN);
        assert_eq!(table.check(session, learner), Ok(()), "it was not attached to that any more");
    }

    /// A session that came back over and over with a long timeout and a short one in turn was listed once more each
    /// time, and every listing was carried on for as long as the session lived.
    #[test]
    fn every_reconnect_lists_the_session_again() {
        let mut table = table();
        let session = table.create(5000, CONN, at(0));
        for round in 0..1000 {
            for timeout_ms in [300, 5000] {
                assert!(table.reattach(session, timeout_ms, Owner::Conn(CONN), at(round * 10)).is_ok());
            }
            assert_eq!(table.expire(at(round * 10), true), []);
            let listed: usize = table.buckets.values().map(Vec::len).sum();
            assert!(listed <= 1 + 5000 / 100, "{listed} listings of one session");
        }
        assert_eq!(table.reattach(session, 300, Owner::Conn(CONN), at(10_000)), Ok(Some(Owner::Conn(CONN))));
        assert_eq!(table.expire(at(10_300), true), []);
        assert_eq!(table.expire(at(10_400), true), [session], "the last timeout counts");
    }

    /// PARITY `sess.id`: an id that another server opened a session under is not given once more.
    #[test]
    fn sess_id_that_somebody_has_is_passed_over() {
        let mut table = table();
        let first = table.create(1000, CONN, at(0));
        for ahead in [1, 2, 4] {
            assert!(table.learn(SessionId(first.0 + ahead), 1000, None, at(0)));
        }
        let given = [3, 5, 6].map(|ahead| SessionId(first.0 + ahead));
        assert_eq!([0; 3].map(|_| table.create(1000, CONN, at(0))), given);
        let end = SessionId(first.0 | !SERVER_MASK);
        table.next_id = end;
        assert_eq!(table.create(1000, CONN, at(0)), end);
        assert_eq!(table.create(1000, CONN, at(0)), SessionId((first.0 & SERVER_MASK) + 1));
    }

    /// PARITY `sess.id`: the top byte is the server's, and no id is given that a recovered session has.
    #[test]
    fn sess_id() {
        let wall_ms = 1_700_000_000_000;
        let tick = Duration::from_millis(100);
        let none = BTreeMap::new();
        let first = SessionTable::new(0x7f, tick, &none, start(wall_ms), 0).create(1000, CONN, at(0));
        assert_eq!(first.0 >> 56, 0x7f);
        // The wall clock went back across the restart. Sessions that ended may have had the ids that follow.
        let recovered = BTreeMap::from([(SessionId(first.0 + 5), 1000)]);
        for (draw, expected) in [(0, first.0 + 6), (7 << 16, first.0 + 13)] {
            let mut table = SessionTable::new(0x7f, tick, &recovered, start(wall_ms - 1), draw);
            assert_eq!(table.create(1000, CONN, at(0)), SessionId(expected));
        }
        // It stays this server's, however far somebody made the ids go.
        let end = SessionId(first.0 | !SERVER_MASK);
        let recovered = BTreeMap::from([(end, 1000)]);
        let mut table = SessionTable::new(0x7f, tick, &recovered, start(wall_ms), 0);
        let begin = SessionId(first.0 & SERVER_MASK);
        assert_eq!(table.create(1000, CONN, at(0)), SessionId(begin.0 + 1));
        let other = BTreeMap::from([(SessionId(first.0 + 5 - (1 << 56)), 1000)]);
        let mut table = SessionTable::new(0x7f, tick, &other, start(wall_ms), 9 << 16);
        assert_eq!(table.create(1000, CONN, at(0)), first, "another server's sessions do not matter");
    }
}
