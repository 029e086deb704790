//! Nobody waits for what has come.
//!
//! Much here waits for something, and goes on in the turn in which that comes. Who is forgotten then does not stand for
//! ever: something else comes that makes all of its kind go on, or its time is over and it tries again, so that no
//! client ever knows more than that it took long. So this is looked at where it is looked for, between two turns.

use super::Role;
use crate::server::Server;

impl Server {
    /// # Panics
    /// If somebody waits for what is there.
    pub(in crate::server) fn check_waits(&self) {
        let applied = self.tree.last_zxid();
        let first = self.reattaching.first();
        assert!(
            first.is_none_or(|&(awaited, _)| awaited > applied),
            "a session waits for writes that are applied"
        );
        let Some(ensemble) = self.ensemble.as_deref() else { return };
        if let Some(transfers) = ensemble.transfers() {
            assert!(
                !transfers.forgets_somebody(),
                "a learner waits for a snapshot that nobody is going to begin"
            );
        }
        if let Role::Leading(leading) = &ensemble.role {
            assert!(!leading.has_due_sync(applied), "a sync waits that is done");
            let asked = leading.strangers.first_round();
            assert!(
                asked.is_none_or(|round| round > leading.confirmed),
                "a session waits for a quorum that has shown that it follows"
            );
        }
    }
}
