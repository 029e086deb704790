//! What the driver needs of the state machine it drives. One implementation serves, others test the driver.

use zabra_core::server::{Action, Input};
use zabra_core::time::{Instant, Now};

/// The run-loop contract of [`zabra_core::server::Server`].
pub(crate) trait Machine: 'static {
    /// Something happened.
    fn handle(&mut self, now: Now, input: Input);
    /// What is to be done about it, until `None`.
    fn poll_action(&mut self) -> Option<Action>;
    /// When [`Input::Tick`] is next worth sending.
    fn poll_timeout(&self) -> Option<Instant>;
}
