//! The tasks of the runtime that the driver's work is done in: one for each client's connection, and its own.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Sleep;
use zabra_core::server::{HaltReason, Input};
use zabra_core::time::Instant;
use zabra_core::types::ConnId;

use super::{Shared, run_after_next_look};
use crate::clock::Clock;
use crate::link;
use crate::machine::Machine;

/// How long an ordered stop waits for the last replies to leave.
const LAST_REPLIES: Duration = Duration::from_secs(1);

/// Stops the process if a task panics: a broken invariant must not be served on.
pub(crate) struct AbortOnPanic;

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
    stop: Option<oneshot::Receiver<()>>,
    timer: Pin<Box<Sleep>>,
    /// What the timer is set to.
    armed: Option<Instant>,
    /// When the last replies must have left.
    last_call: Option<Instant>,
}

impl<M: Machine> DriverTask<M> {
    /// The task that runs `driver` until the core halts; `stop` asks for an ordered stop.
    pub(crate) fn new(driver: Shared<M>, stop: oneshot::Receiver<()>) -> Self {
        Self {
            driver,
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
            for abort in driver.accept_aborts.drain(..) {
                abort.abort(); // The listener closes, and clients turn to other servers.
            }
            driver.tell(now, Input::Shutdown);
        }
        driver.poll_completions(now, cx);
        if this.armed.is_some() && this.timer.as_mut().poll(cx).is_ready() {
            this.armed = None;
            driver.tell(now, Input::Tick);
            driver.drop_overdue(now.mono);
        }
        driver.turn();
        if !driver.is_idle() {
            // Others may have something to say first.
            run_after_next_look(cx);
        }
        let (dials, lookups) = driver.links.take_dials();
        for dial in dials {
            tokio::task::spawn_local(link::dial(Rc::clone(&shared), dial, Arc::clone(&lookups)));
        }
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
