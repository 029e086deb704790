//! What the driver needs of the state machine it drives: the core's server, and in tests a script.

use zabra_core::server::{Action, Input, Server};
use zabra_core::time::{Instant, Now};

/// The run-loop contract of [`Server`].
pub(crate) trait Machine: 'static {
    /// Something happened.
    fn handle(&mut self, now: Now, input: Input);
    /// What is to be done about it, until `None`.
    fn poll_action(&mut self) -> Option<Action>;
    /// When [`Input::Tick`] is next worth sending.
    fn poll_timeout(&self) -> Option<Instant>;
}

impl Machine for Server {
    fn handle(&mut self, now: Now, input: Input) {
        Self::handle(self, now, input);
    }

    fn poll_action(&mut self) -> Option<Action> {
        Self::poll_action(self)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Self::poll_timeout(self)
    }
}
