//! The one place that owns the state machine: feeds it what happened, carries out what it asks for.
//!
//! A *turn* is the unit of work. The runtime reports every socket that became readable in one system call and
//! queues their tasks; each reads once and feeds what it read. The first of them wakes the driver's task, which
//! therefore runs behind all of them: it drains the actions once for all, hands disk operations over, and offers
//! each connection's outbox to the operating system with one write. Nothing here blocks.
//!
//! What bounds a turn: one read of at most [`READ_BYTES`] per connection before the others had theirs, and
//! [`TURN_BYTES`] fed in all, after which the actions are drained at once, whoever is running.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::mem;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Sleep;
use zabra_core::server::{Action, HaltReason, Input};
use zabra_core::store::{DiskDone, DiskOp};
use zabra_core::time::{Instant, Now};
use zabra_core::types::ConnId;

use crate::clock::Clock;
use crate::conn::{Closing, Conn, Farewell};
use crate::events;
use crate::machine::Machine;

/// At most this much is read from one connection before the others had their turn.
const READ_BYTES: usize = 64 << 10;

/// Room for reads that is allocated at a time, once what was read before is still in use.
const INBOX_BYTES: usize = 4 * READ_BYTES;

/// So much may be fed before the actions are drained.
const TURN_BYTES: usize = 1 << 20;

/// Disk completions fed per turn.
const COMPLETIONS_PER_TURN: usize = 256;

/// How long a closed connection may take to send what is left, and then its client to close its half.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long an ordered stop waits for the last replies to leave.
const LAST_REPLIES: Duration = Duration::from_secs(1);

/// A driver, shared by the tasks of one thread.
pub(crate) type Shared<M> = Rc<RefCell<Driver<M>>>;

/// Where disk operations go. The flag says that one may be carried out on the spot, and its completion come back at
/// once: nothing is under way on the disk, and no client but one is waiting for this thread.
pub(crate) type DiskPort = Box<dyn FnMut(DiskOp, bool) -> Option<DiskDone>>;

/// Owns the state machine and every connection.
pub(crate) struct Driver<M> {
    machine: M,
    clock: Clock,
    disk: DiskPort,
    conns: HashMap<ConnId, Conn, BuildHasherDefault<ConnIdHasher>>,
    conn_last: u64,
    conn_max: usize,
    keep_alive: bool,
    /// Every connection reads into this one; a read is cut off and handed over without a copy.
    inbox: BytesMut,
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
    /// Connections that the core closed, with the time at which they are dropped whatever they still hold. All
    /// wait equally long, so the earliest is in front.
    leaving: VecDeque<(Instant, ConnId)>,
    halted: Option<HaltReason>,
    /// The driver's own task.
    waker: Option<Waker>,
    /// The task that accepts connections, when it waits for room.
    accept_waker: Option<Waker>,
    /// Ends that task and closes its listener.
    accept_abort: Option<AbortHandle>,
}

impl<M> fmt::Debug for Driver<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("conns", &self.conns.len()).finish_non_exhaustive()
    }
}

/// Connection numbers are ours, dense and never chosen by a client: one multiplication spreads them.
#[derive(Debug, Default)]
pub(crate) struct ConnIdHasher(u64);

impl Hasher for ConnIdHasher {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a connection's number is a u64");
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl<M: Machine> Driver<M> {
    /// A driver without connections. `conn_max` is how many it may hold at a time.
    pub(crate) fn new(machine: M, clock: Clock, disk: DiskPort, conn_max: usize, keep_alive: bool) -> Self {
        Self {
            machine,
            clock,
            disk,
            conns: HashMap::default(),
            conn_last: 0,
            conn_max,
            keep_alive,
            inbox: BytesMut::with_capacity(INBOX_BYTES),
            fed: 0,
            reads: 0,
            disk_pending: 0,
            done: Vec::new(),
            dirty: Vec::new(),
            ended: Vec::new(),
            leaving: VecDeque::new(),
            halted: None,
            waker: None,
            accept_waker: None,
            accept_abort: None,
        }
    }

    /// Whether another connection may be accepted; if not, `cx` is woken once that may have changed.
    pub(crate) fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.conns.len() < self.conn_max {
            return Poll::Ready(());
        }
        self.accept_waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Remembers how to end the task that accepts connections.
    pub(crate) fn set_accept_abort(&mut self, abort: AbortHandle) {
        self.accept_abort = Some(abort);
    }

    /// Takes a new connection in and says which number it got.
    pub(crate) fn accept(&mut self, socket: TcpStream, from: SocketAddr) -> ConnId {
        self.conn_last += 1;
        let conn = ConnId(self.conn_last);
        self.conns.insert(conn, Conn::new(socket, self.keep_alive));
        let now = self.clock.now();
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
            if self.inbox.capacity() < READ_BYTES && !self.inbox.try_reclaim(READ_BYTES) {
                self.inbox = BytesMut::with_capacity(INBOX_BYTES);
            }
            match conn.stream.poll_read(cx, &mut self.inbox, READ_BYTES) {
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
        if !mem::replace(&mut conn.stream.dirty, true) {
            self.dirty.push(id);
        }
        true
    }

    /// Feeds what was just read from a connection.
    fn received(&mut self, id: ConnId, count: usize) {
        let bytes = self.inbox.split().freeze();
        let open = self.conns.get(&id).is_some_and(Conn::is_open);
        if !open || self.halted.is_some() {
            return; // Whatever a client says while it is shown out is dropped.
        }
        let now = self.clock.now();
        self.machine.handle(now, Input::Received { conn: id, bytes });
        self.fed += count;
        self.reads += 1;
        if self.fed >= TURN_BYTES {
            self.turn();
        } else {
            self.schedule();
        }
    }

    /// Drains the actions and offers what is to be sent once. A client that takes replies as fast as they are made
    /// has to wait for the next turn like everybody else.
    fn turn(&mut self) {
        self.fed = 0;
        self.drain();
        if self.dirty.is_empty() && self.ended.is_empty() {
            self.reads = 0;
            return;
        }
        let now = self.clock.now();
        self.flush(now);
        self.report_ended(now);
        self.drain();
        self.reads = 0;
        if !self.dirty.is_empty() || !self.ended.is_empty() {
            self.schedule();
        }
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
                if !conn.stream.blocked && !mem::replace(&mut conn.stream.dirty, true) {
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
                self.close(conn, Farewell::of(why));
            }
            Action::Dial { .. }
            | Action::Hangup { .. }
            | Action::PauseLink { .. }
            | Action::ResumeLink { .. }
            | Action::SendLink { .. } => unreachable!("a standalone server has no links"),
            Action::Disk(op) => {
                let on_the_spot = self.reads <= 1 && self.disk_pending == 0;
                self.disk_pending += 1;
                self.done.extend((self.disk)(op, on_the_spot));
            }
            Action::Event(event) => events::log(&event),
            Action::Halt { why } => self.halted = Some(why),
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
        self.leaving.push_back((self.clock.now().mono + FAREWELL, id));
        if !conn.stream.blocked && !mem::replace(&mut conn.stream.dirty, true) {
            self.dirty.push(id);
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
            if let Some(waker) = self.accept_waker.take() {
                waker.wake();
            }
        }
    }

    /// Drops the connections whose time is up.
    fn drop_overdue(&mut self, now: Instant) {
        while let Some(&(deadline, id)) = self.leaving.front() {
            if deadline > now {
                return;
            }
            self.leaving.pop_front();
            self.drop_conn(id);
        }
    }

    /// When something is to be done though nothing happens.
    fn deadline(&self) -> Option<Instant> {
        let leaving = self.leaving.front().map(|&(deadline, _)| deadline);
        match (self.machine.poll_timeout(), leaving) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Whether every reply has left.
    fn all_flushed(&self) -> bool {
        self.conns.values().all(|conn| conn.stream.is_flushed())
    }
}

/// Has the running task run again once the runtime has looked at the sockets. Waking it at once would keep the
/// queue of tasks from ever being empty, and the runtime would look only every so many tasks: a client that never
/// stops sending would hold up the others for as long.
pub(crate) fn run_after_next_look(cx: &mut Context<'_>) {
    let later = pin!(tokio::task::yield_now()).poll(cx);
    debug_assert!(later.is_pending());
}

/// Stops the process if a task panics: a broken invariant must not be served on.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "zabra: a broken invariant (see above); the process stops, the log on disk is the truth"
            );
            std::process::abort();
        }
    }
}

/// The task of one connection.
pub(crate) struct ConnTask<M> {
    driver: Shared<M>,
    conn: ConnId,
}

impl<M> ConnTask<M> {
    /// The task for a connection that was just accepted.
    pub(crate) fn new(driver: Shared<M>, conn: ConnId) -> Self {
        Self { driver, conn }
    }
}

impl<M: Machine> Future for ConnTask<M> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let _guard = AbortOnPanic;
        self.driver.borrow_mut().poll_conn(self.conn, cx)
    }
}

/// The driver's own task: disk completions, time, the end of every turn, and the stop.
pub(crate) struct DriverTask<M> {
    driver: Shared<M>,
    /// Never longer than the core has disk operations under way, each of which it counts.
    completions: mpsc::UnboundedReceiver<DiskDone>,
    batch: Vec<DiskDone>,
    stop: Option<oneshot::Receiver<()>>,
    timer: Pin<Box<Sleep>>,
    /// What the timer is set to.
    armed: Option<Instant>,
    /// When the last replies must have left.
    last_call: Option<Instant>,
}

impl<M: Machine> DriverTask<M> {
    /// The task that runs `driver` until the core halts; `stop` asks for an ordered stop.
    pub(crate) fn new(
        driver: Shared<M>,
        completions: mpsc::UnboundedReceiver<DiskDone>,
        stop: oneshot::Receiver<()>,
    ) -> Self {
        Self {
            driver,
            completions,
            batch: Vec::with_capacity(COMPLETIONS_PER_TURN),
            stop: Some(stop),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed: Some(Instant::ZERO),
            last_call: None,
        }
    }

    /// Sets the timer if it would go off too late. Going off early costs one idle turn, and setting it less often
    /// than once a turn is worth that.
    fn arm(&mut self, clock: Clock, deadline: Option<Instant>, cx: &mut Context<'_>) {
        let Some(deadline) = deadline else { return };
        if self.armed.is_some_and(|armed| armed <= deadline) {
            return;
        }
        self.armed = Some(deadline);
        self.timer.as_mut().reset(clock.to_runtime(deadline));
        // Already due: a timer that has fired says so again when it is asked the next time.
        if self.timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}

impl<M: Machine> Future for DriverTask<M> {
    type Output = HaltReason;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<HaltReason> {
        let _guard = AbortOnPanic;
        let this = self.get_mut();
        let shared = Rc::clone(&this.driver);
        let mut driver = shared.borrow_mut();
        if driver.waker.is_none() {
            driver.waker = Some(cx.waker().clone());
        }
        let now = driver.clock.now();
        if let Some(stop) = &mut this.stop
            && Pin::new(stop).poll(cx).is_ready()
        {
            this.stop = None;
            if let Some(abort) = driver.accept_abort.take() {
                abort.abort(); // The listener closes, and clients turn to other servers.
            }
            driver.tell(now, Input::Shutdown);
        }
        while let Poll::Ready(count) =
            this.completions.poll_recv_many(cx, &mut this.batch, COMPLETIONS_PER_TURN)
        {
            assert_ne!(count, 0, "the disk threads must outlive the driver");
            for done in this.batch.drain(..) {
                driver.disk_done(now, done);
            }
        }
        if this.armed.is_some() && this.timer.as_mut().poll(cx).is_ready() {
            this.armed = None;
            driver.tell(now, Input::Tick);
            driver.drop_overdue(now.mono);
        }
        driver.turn();
        match &driver.halted {
            None => {
                let (clock, deadline) = (driver.clock, driver.deadline());
                this.arm(clock, deadline, cx);
                Poll::Pending
            }
            Some(why) => {
                let last_call = *this.last_call.get_or_insert(now.mono + LAST_REPLIES);
                if *why != HaltReason::Shutdown || driver.all_flushed() || now.mono >= last_call {
                    return Poll::Ready(why.clone());
                }
                let clock = driver.clock;
                this.arm(clock, Some(last_call), cx);
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests;
