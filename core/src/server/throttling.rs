//! Who may ask for something, and who waits until there is room (PARITY `lim.outstanding`).
//!
//! The server is full when as many requests are in it as may be. Then a client waits that has requests of its own under
//! way, for as long as it has; one that has none goes on, however many others keep the server full. So nobody is
//! refused, and nobody waits for ever.
//!
//! The server is backed up when what was asked for goes nowhere: to the disk, or to the leader. Then everybody waits, also
//! who has nothing under way: else who asks once and comes anew would get around the limit.

use super::Server;
use crate::conn::Conn;

impl Server {
    /// Whether the connection has to wait before it may ask for something.
    pub(super) fn must_wait(&self, conn: &Conn) -> bool {
        // Not only those count that `conn.outstanding` counts: the client chooses which these are.
        self.is_backed_up() || !conn.waiting.is_empty() && self.is_full()
    }

    /// Asks the connection to wait.
    pub(super) fn throttle(&mut self, conn: &mut Conn) {
        self.throttled.enter(conn);
    }

    /// Lets a connection go on that has nothing under way any more. Where the server is backed up, it waits on without
    /// those that have.
    pub(super) fn reconsider(&mut self, conn: &mut Conn) {
        let Some(place) = conn.throttled else { return };
        if conn.waiting.is_empty() && (place.busy || !self.is_backed_up()) {
            self.throttled.leave(conn);
        }
    }

    /// There may be room for requests again: goes on with the connections that wait for it, in turn.
    pub(super) fn resume_throttled(&mut self) {
        // Those that are throttled again queue up behind, so each gets at most one turn here.
        for _ in 0..self.throttled.len() {
            if !self.resume_next_throttled() {
                break;
            }
        }
    }

    /// There may be room in the log again. As long as there is, every request that is held for a learner has its turn
    /// beside a connection of this server's own: else those who come first take all of it, every time.
    pub(super) fn share_room(&mut self) {
        let mut turns = self.throttled.len();
        loop {
            let learner = self.take_held();
            let client = turns > 0 && self.resume_next_throttled();
            turns = turns.saturating_sub(1);
            if !learner && !client {
                break;
            }
        }
    }

    /// Goes on with the connection whose turn it is, if there is one and it need not wait any more.
    fn resume_next_throttled(&mut self) -> bool {
        let Some((place, id)) = self.throttled.first() else { return false };
        if self.is_backed_up() || place.busy && self.is_full() {
            return false;
        }
        let mut conn = self.conns.take(id).expect("whoever is closed waits no more");
        self.throttled.leave(&mut conn);
        self.take_frames(&mut conn);
        self.conns.put_back(conn);
        true
    }

    /// Whether there are as many requests in the server as may be, or the leader is slow to take them.
    fn is_full(&self) -> bool {
        self.in_process() > self.config.global_outstanding_limit
            || self.owes_leader_more_than(self.link_window())
    }

    /// Whether nobody may ask for anything more, because what was asked for goes nowhere.
    fn is_backed_up(&self) -> bool {
        self.log_is_full() || self.owes_leader_more_than(self.owed_to_leader_max())
    }

    /// Whether the disk has been at the same append to the log for longer than a server may be silent in an ensemble.
    pub(super) fn disk_hangs(&self) -> bool {
        let Some(config) = &self.config.ensemble else { return false };
        let limit = self.config.tick_time * config.sync_limit;
        self.append_since.is_some_and(|since| self.now.mono.since(since) >= limit)
    }

    /// Whether as much waits for the disk as may; every append that ends lets the server go on.
    pub(super) const fn log_is_full(&self) -> bool {
        self.log.buffered_bytes() > self.config.log_buffer_max
    }
}
