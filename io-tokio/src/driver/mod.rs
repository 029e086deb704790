//! The one place that owns the state machine: feeds it what happened, carries out what it asks for.
//!
//! A *turn* is the unit of work. The runtime reports every socket that became readable in one system call and
//! queues their tasks; each reads once and feeds what it read. The first of them wakes the driver's task, which
//! therefore runs behind all of them: it drains the actions once for all, hands disk operations over, and offers
//! each connection's outbox to the operating system with one write. Nothing here blocks.
//!
//! What bounds a turn: one read of at most [`READ_BYTES`] per connection before the others had theirs, and
//! [`TURN_BYTES`] fed in all, after which the actions are drained at once, whoever is running.

mod inbox;
mod leaving;
mod links;
mod tasks;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use zabra_core::server::{Action, CloseReason, HaltReason, Input};
use zabra_core::store::{DiskDone, DiskOp};
use zabra_core::time::{Instant, Now};
use zabra_core::types::{ConnId, ConnIdHash, Membership};

use self::inbox::Inbox;
use self::leaving::Leaving;
use self::links::Links;
pub(crate) use self::tasks::{AbortOnPanic, ConnTask, DriverTask};
use crate::clock::Clock;
use crate::conn::{Closing, Conn, Farewell};
use crate::dial::Dial;
use crate::events;
use crate::limit_log::LimitLog;
use crate::listener::Door;
use crate::machine::Machine;
use crate::open_files;

/// At most this much is read from one connection before the others had their turn.
const READ_BYTES: usize = 64 << 10;

/// So much may be fed before the actions are drained. It is little, so that under load the log's next batch leaves
/// as soon as the one before is durable, while the rest of the round is still being read: with all of a round in one
/// batch, disk and processor would wait for each other in turns. Other servers, too, get to work the sooner.
const TURN_BYTES: usize = 32 << 10;

/// A driver, shared by the tasks of one thread.
pub(crate) type Shared<M> = Rc<RefCell<Driver<M>>>;

/// Where disk operations go. The flag says that one may be carried out on the spot, and its completion come back at
/// once: nothing is under way on the disk, and no client but one is waiting for this thread.
pub(crate) type DiskPort = Box<dyn FnMut(DiskOp, bool) -> Option<DiskDone>>;

/// Where configurations go that the next start begins with. It may block: members change when an operator says so. What
/// the core is to be told, if they could not be kept.
pub(crate) type KeepConfig = Box<dyn FnMut(Kept<'_>) -> Option<Input>>;

/// A configuration of the ensemble that is to be kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kept<'a> {
    /// In force from now on.
    InForce(&'a Membership),
    /// The newest one that was proposed, if that is not in force.
    Seen(Option<&'a Membership>),
}

/// How sockets are treated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketOptions {
    /// How many clients' connections may be there at a time.
    pub(crate) conn_max: usize,
    /// Whether TCP looks after silent clients.
    pub(crate) conn_keep_alive: bool,
    /// Whether it looks after silent servers.
    pub(crate) link_keep_alive: bool,
}

/// Owns the state machine and every connection.
pub(crate) struct Driver<M> {
    machine: M,
    clock: Clock,
    disk: DiskPort,
    keep_config: KeepConfig,
    /// Never longer than the core has disk operations under way, each of which it counts.
    completions: mpsc::UnboundedReceiver<DiskDone>,
    conns: HashMap<ConnId, Conn, ConnIdHash>,
    conn_last: u64,
    options: SocketOptions,
    open_files: open_files::Counter,
    /// Connections to other servers.
    links: Links,
    inbox: Inbox,
    /// Bytes fed since the last drain, and in how many reads.
    fed: usize,
    reads: usize,
    /// Disk operations whose end the core does not know yet.
    disk_pending: usize,
    /// Completions of what was done on the spot.
    done: Vec<DiskDone>,
    /// Connections with something to send.
    dirty: Vec<ConnId>,
    /// Connections that ended while the core did not know it yet.
    ended: Vec<ConnId>,
    /// Connections that the core closed and that are still there.
    leaving: Leaving,
    limit_log: LimitLog,
    halted: Option<HaltReason>,
    /// The driver's own task.
    waker: Option<Waker>,
    /// The tasks that accept connections, those of them that wait for room.
    accept_wakers: Vec<Waker>,
    /// End those tasks and close their listeners.
    accept_aborts: Vec<AbortHandle>,
}

impl<M> fmt::Debug for Driver<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("conns", &self.conns.len()).finish_non_exhaustive()
    }
}

impl<M: Machine> Driver<M> {
    /// A driver without connections.
    pub(crate) fn new(
        machine: M,
        clock: Clock,
        disk: DiskPort,
        keep_config: KeepConfig,
        completions: mpsc::UnboundedReceiver<DiskDone>,
        options: SocketOptions,
    ) -> Self {
        Self {
            machine,
            clock,
            disk,
            keep_config,
            completions,
            conns: HashMap::default(),
            conn_last: 0,
            options,
            open_files: open_files::Counter::new(),
            links: Links::new(options.link_keep_alive),
            inbox: Inbox::new(),
            fed: 0,
            reads: 0,
            disk_pending: 0,
            done: Vec::new(),
            dirty: Vec::new(),
            ended: Vec::new(),
            leaving: Leaving::new(options.conn_max),
            limit_log: LimitLog::default(),
            halted: None,
            waker: None,
            accept_wakers: Vec::new(),
            accept_aborts: Vec::new(),
        }
    }

    /// Whether another connection may be accepted; if not, `cx` is woken once that may have changed.
    pub(crate) fn poll_room(&mut self, door: Door, cx: &Context<'_>) -> Poll<()> {
        let has_room = match door {
            Door::Clients => self.conns.len() < self.options.conn_max,
            Door::Servers(port) => self.links.has_room(port),
        };
        if has_room {
            return Poll::Ready(());
        }
        if !self.accept_wakers.iter().any(|known| known.will_wake(cx.waker())) {
            self.accept_wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Something was closed: whoever waits to accept may look again.
    fn make_room(&mut self) {
        for waker in self.accept_wakers.drain(..) {
            waker.wake();
        }
    }

    /// Remembers how to end a task that accepts connections.
    pub(crate) fn add_accept_abort(&mut self, abort: AbortHandle) {
        self.accept_aborts.retain(|known| !known.is_finished());
        self.accept_aborts.push(abort);
    }

    /// Takes a new connection in and says which number it got.
    pub(crate) fn accept(&mut self, socket: TcpStream, from: SocketAddr) -> ConnId {
        self.conn_last += 1;
        let conn = ConnId(self.conn_last);
        self.conns.insert(conn, Conn::new(socket, self.options.conn_keep_alive));
        let now = self.clock.now();
        // Who asks for that number comes anew, so it is never older than the question.
        if let Some(files) = self.open_files.count(now.mono) {
            self.tell(now, Input::OpenFiles(files));
        }
        // A socket for both protocols shows IPv4 clients by an IPv6 address, which no ACL would match.
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        self.tell(now, Input::Accepted { conn, from });
        self.schedule();
        conn
    }

    /// Has the driver's task run behind those that are ready already.
    fn schedule(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// The task of one connection: completes once the connection is gone.
    fn poll_conn(&mut self, id: ConnId, cx: &mut Context<'_>) -> Poll<()> {
        let Some(conn) = self.conns.get_mut(&id) else { return Poll::Ready(()) };
        conn.stream.remember(cx.waker());
        if conn.stream.blocked && self.poll_blocked(id, cx) {
            self.schedule();
        }
        loop {
            let Some(conn) = self.conns.get_mut(&id) else { return Poll::Ready(()) };
            if conn.stream.ended || (conn.stream.paused && conn.is_open()) {
                return Poll::Pending;
            }
            match self.inbox.poll_read(&mut conn.stream, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(count)) if count > 0 => {
                    self.received(id, count);
                    // As much as it may have at once: there may be more, which waits until the others had theirs.
                    if count == READ_BYTES {
                        run_after_next_look(cx);
                        return Poll::Pending;
                    }
                }
                Poll::Ready(_) => {
                    conn.stream.ended = true;
                    self.ended.push(id);
                    self.schedule();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Goes on with a connection that did not take all it was offered. Returns whether there is work for a turn.
    fn poll_blocked(&mut self, id: ConnId, cx: &mut Context<'_>) -> bool {
        let Some(conn) = self.conns.get_mut(&id) else { return false };
        // An error shows itself again when writing.
        if conn.stream.poll_writable(cx).is_pending() {
            return false;
        }
        conn.stream.blocked = false;
        if conn.stream.mark_dirty() {
            self.dirty.push(id);
        }
        true
    }

    /// Feeds what was just read from a connection.
    fn received(&mut self, id: ConnId, count: usize) {
        let bytes = self.inbox.take();
        if self.conns.get(&id).is_some_and(Conn::is_open) {
            self.feed(Input::Received { conn: id, bytes }, count);
        }
        // Whatever a client says while it is shown out is dropped.
    }

    /// Feeds what one read gave.
    fn feed(&mut self, input: Input, count: usize) {
        if self.halted.is_some() {
            return;
        }
        let now = self.clock.now();
        self.machine.handle(now, input);
        self.fed += count;
        self.reads += 1;
        if self.fed >= TURN_BYTES {
            self.take_completions(now);
            self.turn();
        }
        // Also behind a turn: only the driver's own task sets the timer, and sees that the core has halted.
        self.schedule();
    }

    /// Drains the actions and offers what is to be sent once. A client that takes replies as fast as they are made, and
    /// a learner that takes a snapshot, has to wait for the next turn like everybody else.
    fn turn(&mut self) {
        self.fed = 0;
        self.drain();
        if self.is_idle() {
            self.reads = 0;
            return;
        }
        let now = self.clock.now();
        self.flush_links(now);
        self.flush(now);
        self.report_ended_links(now);
        self.report_ended(now);
        self.drain();
        self.reads = 0;
    }

    /// Whether a turn has nothing to send and nobody to see off.
    fn is_idle(&self) -> bool {
        self.dirty.is_empty() && self.ended.is_empty() && self.links.is_idle()
    }

    /// Carries out what the core asks for, until it asks for nothing.
    fn drain(&mut self) {
        loop {
            while self.halted.is_none()
                && let Some(action) = self.machine.poll_action()
            {
                self.perform(action);
            }
            if self.done.is_empty() {
                return;
            }
            let now = self.clock.now();
            for done in mem::take(&mut self.done) {
                self.disk_done(now, done);
            }
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Send { conn: id, bytes } => {
                let Some(conn) = self.conns.get_mut(&id) else { return };
                conn.stream.push(bytes);
                if conn.stream.mark_dirty() {
                    self.dirty.push(id);
                }
            }
            Action::PauseReads { conn } => {
                if let Some(conn) = self.conns.get_mut(&conn) {
                    conn.stream.paused = true;
                }
            }
            Action::ResumeReads { conn } => {
                if let Some(conn) = self.conns.get_mut(&conn) {
                    conn.stream.paused = false;
                    conn.stream.wake();
                }
            }
            Action::Close { conn, why } => {
                tracing::debug!(conn = conn.0, ?why, "connection closed");
                self.warn_of_limit(conn, why);
                self.close(conn, Farewell::of(why));
            }
            Action::KeepConfig { membership } => self.keep(Kept::InForce(&membership)),
            Action::KeepSeenConfig { membership } => self.keep(Kept::Seen(membership.as_ref())),
            Action::Dial { dial, port, server, addresses, timeout } => {
                self.links.dial(Dial { dial, port, server, addresses, timeout });
                self.schedule();
            }
            Action::SendLink { link, bytes } => self.links.send(link, bytes),
            Action::PauseLink { link } => self.links.pause(link),
            Action::ResumeLink { link } => self.links.resume(link),
            Action::Hangup { link, why } => self.hang_up(link, why),
            Action::Disk(op) => {
                // Other servers carry more clients than this thread sees, and a leader's own write must not hold up
                // what it sends them.
                let alone = self.reads <= 1 && self.links.is_empty();
                let on_the_spot = alone && self.disk_pending == 0;
                self.disk_pending += 1;
                self.done.extend((self.disk)(op, on_the_spot));
            }
            Action::Event(event) => events::log(&event),
            Action::Halt { why } => self.halted = Some(why),
        }
    }

    /// What could not be kept the core knows before anything is done that it asked for behind it.
    fn keep(&mut self, kept: Kept<'_>) {
        if let Some(news) = (self.keep_config)(kept) {
            let now = self.clock.now();
            self.tell(now, news);
        }
    }

    /// Tells the operator of a connection that is closed by a limit, unless that was told a moment ago.
    fn warn_of_limit(&mut self, id: ConnId, why: CloseReason) {
        if let Some(warning) = self.limit_log.warning(why, self.clock.now().mono) {
            let from = self.conns.get(&id).map_or_else(|| "gone".into(), |conn| conn.stream.peer());
            tracing::warn!("{}", warning.of(&from));
        }
    }

    /// Begins to show a client out.
    fn close(&mut self, id: ConnId, farewell: Farewell) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.closing = Closing::Flushing(farewell);
        if farewell == Farewell::Reset {
            conn.stream.reset_on_drop();
            self.drop_conn(id);
            return;
        }
        self.leaving.enter(id, conn.stream.unsent(), self.clock.now().mono);
        if conn.stream.mark_dirty() {
            self.dirty.push(id);
        }
        while let Some(id) = self.leaving.too_many() {
            self.cut_off(id);
        }
    }

    /// Offers every outbox that has something new to the operating system.
    fn flush(&mut self, now: Now) {
        let mut dirty = mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            let Some(conn) = self.conns.get_mut(&id) else { continue };
            conn.stream.dirty = false;
            let flushed = conn.stream.flush();
            if conn.stream.blocked {
                conn.stream.wake(); // Its task asks to be told when the socket takes more.
            }
            let done = conn.stream.is_flushed();
            if !conn.is_open() && flushed.bytes > 0 {
                self.leaving.sent(id, flushed.bytes, now.mono);
            }
            match conn.closing {
                _ if flushed.broken => self.lost(id),
                Closing::Open if flushed.bytes > 0 => {
                    self.tell(now, Input::Drained { conn: id, bytes: flushed.bytes });
                }
                Closing::Flushing(Farewell::Polite) if done && !conn.stream.ended => {
                    conn.stream.shut_write();
                    conn.closing = Closing::Lingering;
                    conn.stream.wake();
                }
                Closing::Flushing(_) if done => self.drop_conn(id),
                Closing::Open | Closing::Flushing(_) | Closing::Lingering => {}
            }
        }
        // What was allocated serves the next turn; nothing was added meanwhile.
        debug_assert!(self.dirty.is_empty());
        self.dirty = dirty;
    }

    /// Feeds the core, unless it has halted.
    fn tell(&mut self, now: Now, input: Input) {
        if self.halted.is_none() {
            self.machine.handle(now, input);
        }
    }

    /// Takes the disk operations that have ended, and has the running task woken by the next.
    fn poll_completions(&mut self, now: Now, cx: &mut Context<'_>) {
        while let Poll::Ready(done) = self.completions.poll_recv(cx) {
            self.disk_done(now, done.expect("the disk threads must outlive the driver"));
        }
    }

    /// Takes the disk operations that have ended. Who waits for the next goes on waiting.
    fn take_completions(&mut self, now: Now) {
        while let Ok(done) = self.completions.try_recv() {
            self.disk_done(now, done);
        }
    }

    /// A disk operation ended.
    fn disk_done(&mut self, now: Now, done: DiskDone) {
        self.disk_pending -= 1;
        self.tell(now, Input::Disk(done));
    }

    /// A write failed.
    fn lost(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if !mem::replace(&mut conn.stream.ended, true) {
            self.ended.push(id);
        }
    }

    /// Tells the core of connections that ended. This comes after the answers to what they said last were sent:
    /// some clients shut their half right behind a request.
    fn report_ended(&mut self, now: Now) {
        for id in mem::take(&mut self.ended) {
            let Some(conn) = self.conns.get(&id) else { continue };
            match conn.closing {
                Closing::Open => {
                    self.drop_conn(id);
                    self.tell(now, Input::Closed { conn: id });
                }
                // The client has shut its half but may still read what is left; its deadline runs.
                Closing::Flushing(_) if conn.stream.blocked => {}
                Closing::Flushing(_) | Closing::Lingering => self.drop_conn(id),
            }
        }
    }

    fn drop_conn(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.remove(&id) {
            conn.stream.wake(); // Its task finds it gone and ends.
            self.leaving.gone(id);
            self.make_room();
        }
    }

    /// Drops a connection that has not left in time. Where something is left to be sent, its client must not take
    /// what it got for all there is.
    fn cut_off(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id) {
            // It may have been closed in this very turn, and what it is owed not offered yet.
            conn.stream.flush();
            if !conn.stream.is_flushed() {
                conn.stream.reset_on_drop();
            }
        }
        self.drop_conn(id);
    }

    /// Drops the connections whose time is up.
    fn drop_overdue(&mut self, now: Instant) {
        while let Some(id) = self.leaving.overdue(now) {
            self.cut_off(id);
        }
    }

    /// When something is to be done though nothing happens.
    fn deadline(&self) -> Option<Instant> {
        [self.machine.poll_timeout(), self.leaving.deadline()].into_iter().flatten().min()
    }

    /// Whether everything that was to be sent has left.
    fn all_flushed(&self) -> bool {
        self.conns.values().all(|conn| conn.stream.is_flushed()) && self.links.all_flushed()
    }
}

/// Has the running task run again once the runtime has looked at the sockets. Waking it at once would keep the
/// queue of tasks from ever being empty, and the runtime would look only every so many tasks: a client that never
/// stops sending would hold up the others for as long.
pub(crate) fn run_after_next_look(cx: &mut Context<'_>) {
    let later = pin!(tokio::task::yield_now()).poll(cx);
    debug_assert!(later.is_pending());
}

#[cfg(test)]
mod harness;
#[cfg(test)]
mod link_tests;
#[cfg(test)]
mod tests;
