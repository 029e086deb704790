//! Applications: programs of yours on the client machine, as they are put into a simulated world.
//!
//! An [`Application`] is a state machine like everything else here. It is told what happened and asks for things through
//! its [`Session`]: the same calls, answers and events that a program on `zabra_core::client` or on the client of
//! `io_tokio` has, in the same order, through the same code. Where a real program would wait, it remembers what it waits
//! for; and what it does must follow from what it is told, so it uses no clock, no randomness and no threads of its own.
//!
//! [`crate::trial`] puts applications into a world and lets things go wrong there.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use zabra_core::client::{Call, CallError, CallId, ClientEvent, Outcome, SessionState};
use zabra_core::types::SessionId;

use crate::clock::SimTime;

/// A program that uses a client.
pub trait Application: fmt::Debug {
    /// It begins. The session is not there yet; calls wait for it.
    fn on_start(&mut self, it: &mut Session<'_>);

    /// A call has come to its end. Every call does, once.
    fn on_answer(&mut self, it: &mut Session<'_>, call: CallId, result: Result<Outcome, CallError>);

    /// The session's state changed, or a watch saw something.
    ///
    /// Behind a final state ([`SessionState::is_final`]) a new session begins by itself: the next state is
    /// [`SessionState::Connected`].
    fn on_event(&mut self, _it: &mut Session<'_>, _event: ClientEvent) {}

    /// The time that it asked for with [`Session::wake_in`] has passed.
    fn on_wake(&mut self, _it: &mut Session<'_>) {}
}

/// Something that an application is told.
#[derive(Clone, Debug)]
pub(crate) enum News {
    Answered(CallId, Result<Outcome, CallError>),
    Event(ClientEvent),
    Started,
    Woken,
}

/// What an application asks for.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Call(CallId, Call),
    Close,
    Violated(String),
    Wake(SimTime),
}

/// An application's session, for the moment in which it is told something.
#[derive(Debug)]
pub struct Session<'a> {
    pub(crate) now: SimTime,
    pub(crate) state: SessionState,
    pub(crate) session: Option<SessionId>,
    pub(crate) next_call: u64,
    pub(crate) asks: &'a mut VecDeque<Ask>,
}

impl Session<'_> {
    /// Asks for something. The number names the call when it is answered.
    ///
    /// Not everything can be judged by the simulator's reference: [`crate::trial`] lists what it does not know.
    pub fn call(&mut self, call: Call) -> CallId {
        let id = CallId(self.next_call);
        self.next_call += 1;
        self.asks.push_back(Ask::Call(id, call));
        id
    }

    /// Ends the session once everything asked before is answered. Another begins by itself.
    pub fn close(&mut self) {
        self.asks.push_back(Ask::Close);
    }

    /// Lets [`Application::on_wake`] come after a time. There is one alarm: the one set last.
    pub fn wake_in(&mut self, pause: Duration) {
        self.asks.push_back(Ask::Wake(self.now + pause));
    }

    /// Something happened that must not: the run fails with these words.
    pub fn violated(&mut self, what: impl Into<String>) {
        self.asks.push_back(Ask::Violated(what.into()));
    }

    /// How it stands with the session.
    pub const fn state(&self) -> SessionState {
        self.state
    }

    /// The session's number, if there is one: the owner of its ephemeral znodes.
    pub const fn id(&self) -> Option<SessionId> {
        self.session
    }

    /// The time since the world began. Real programs do not know it: for checks alone.
    pub const fn now(&self) -> SimTime {
        self.now
    }
}
