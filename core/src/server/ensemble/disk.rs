//! What the roles ask of the disk, and what comes back.

use super::promises::Promise;
use super::{Ensemble, Role};
use crate::server::{Action, Event, HaltReason, Server};
use crate::store::DiskDone;
use crate::types::{Ticket, Zxid};

impl Server {
    /// The log is durable up to here: alone that means committed, among others it is one acknowledgement.
    pub(in crate::server) fn on_durable(&mut self, durable: Zxid) {
        match self.ensemble.as_deref().map(|ensemble| &ensemble.role) {
            None => self.commit_up_to(durable),
            Some(Role::Leading(_)) => self.on_durable_as_leader(durable),
            Some(Role::Learning(_)) => self.on_durable_as_learner(durable),
            Some(Role::Looking | Role::Settling) => {}
        }
    }

    pub(in crate::server) fn ensemble_owns(&mut self, ticket: Ticket) -> bool {
        let Some(ensemble) = self.ensemble.as_deref() else { return false };
        ensemble.promises.owns(ticket)
            || ensemble.stale.contains(&ticket)
            || self.rewind_owns(ticket)
            || self.install_owns(ticket)
            || self.transfer_of(ticket).is_some()
    }

    pub(in crate::server) fn on_ensemble_disk(&mut self, done: &DiskDone) {
        let transfer = self.transfer_of(done.ticket);
        let rewind = self.rewind_owns(done.ticket);
        let install = self.install_owns(done.ticket);
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        if ensemble.promises.owns(done.ticket) {
            self.on_promise_done(done);
        } else if ensemble.stale.remove(&done.ticket) {
            // Whoever wanted to know has gone.
        } else if rewind {
            self.on_rewind_done(done.clone());
        } else if install {
            self.on_replaced_removed(done);
        } else if let Some(link) = transfer {
            self.on_transfer_read(link, done.clone());
        }
    }

    fn on_promise_done(&mut self, done: &DiskDone) {
        if let Err(error) = done.result {
            let doing = alloc::string::String::from(
                "writing an epoch file, or removing the one that says that data were lost",
            );
            return self.halt(HaltReason::Disk { doing, error });
        }
        let now = self.now.mono;
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        let promise = ensemble.promises.on_done();
        if let Promise::Accepted(_) = promise {
            self.number_first_config();
        }
        let Some(ensemble) = self.ensemble.as_deref_mut() else { return };
        match (&mut ensemble.role, promise) {
            (Role::Leading(leading), Promise::Accepted(_)) => leading.leader.on_accepted_saved(),
            (Role::Leading(leading), Promise::Current(_)) => leading.leader.on_current_saved(now),
            (Role::Learning(learning), Promise::Accepted(epoch)) => learning.learner.on_accepted_saved(epoch),
            (Role::Learning(learning), Promise::Current(epoch)) => learning.learner.on_current_saved(epoch),
            (Role::Leading(_) | Role::Learning(_), Promise::Synced) | (Role::Looking | Role::Settling, _) => {
            }
        }
        if let Role::Learning(learning) = &mut ensemble.role {
            learning.learner.heard(now);
        }
        self.tell(match promise {
            Promise::Accepted(epoch) => Event::EpochAccepted { epoch },
            Promise::Current(epoch) => Event::EpochCurrent { epoch },
            Promise::Synced => Event::Synced,
        });
    }

    /// Asks the disk for what the roles need. Whether nobody else may ask for anything meanwhile.
    pub(in crate::server) fn gather_ensemble_disk_ops(&mut self) -> bool {
        self.begin_work();
        while let Some(op) = self.poll_rewind_op() {
            self.actions.push_back(Action::Disk(op));
        }
        if self.is_rewinding() {
            return true;
        }
        if let Some(Ensemble { promises, .. }) = self.ensemble.as_deref_mut()
            && let Some(op) = promises.poll_op(&mut self.tickets)
        {
            self.actions.push_back(Action::Disk(op));
        }
        while let Some(op) = self.poll_transfer_op() {
            self.actions.push_back(Action::Disk(op));
        }
        false
    }
}
