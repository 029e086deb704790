//! What learners say: promises and acknowledgements.

use zabra_core::types::{Message, Zxid};

use super::{Ledger, Said, may_equal};
use crate::check::Violation;
use crate::check::chain::hides_past;
use crate::history::Kept;

impl Ledger {
    /// A learner says something. A power failure would leave `kept` of it.
    pub(super) fn learner_says(&mut self, said: Said<'_>, kept: Kept) -> Result<(), Violation> {
        let Some(epoch) = self.talk(said.link).epoch else {
            return said.wrong("more than who it is before LEADERINFO");
        };
        match *said.message {
            Message::AckEpoch { last_zxid, current_epoch } => {
                self.talk(said.link).end = (!hides_past(last_zxid)).then_some(last_zxid);
                self.on_promise(said, epoch, current_epoch, kept)
            }
            Message::Ack { zxid } if zxid.begins_epoch() => self.on_beginning(said, epoch, zxid, kept),
            Message::Ack { zxid } if kept.durable < zxid => {
                said.wrong(format_args!("ACK {zxid}, while only {} is durable", kept.durable))
            }
            _ => Ok(()),
        }
    }

    /// It promises to follow nobody of an earlier epoch, with a history of `current`.
    fn on_promise(&mut self, said: Said<'_>, epoch: i64, current: i32, kept: Kept) -> Result<(), Violation> {
        if kept.accepted > epoch {
            return said.wrong(format_args!("ACKEPOCH {epoch}, it promised {}", kept.accepted));
        }
        // This answer promises nothing. The epoch was promised before, by a process that may have died before
        // the file's new name was durable.
        if current == Message::UNCOUNTED {
            return Ok(());
        }
        if kept.accepted < epoch {
            return said.wrong(format_args!("ACKEPOCH {epoch}, its disk has {}", kept.accepted));
        }
        let other = *self.promises.entry((said.node, epoch)).or_insert(said.to);
        if other != said.to {
            return said.wrong(format_args!("ACKEPOCH {epoch} to {}, as to {other} before", said.to));
        }
        if i64::from(current) > kept.current {
            return said.wrong(format_args!("ACKEPOCH with history of {current}, has {}", kept.current));
        }
        Ok(())
    }

    /// It has the history that the epoch begins with.
    fn on_beginning(&mut self, said: Said<'_>, epoch: i64, zxid: Zxid, kept: Kept) -> Result<(), Violation> {
        let Some(inherited) = self.talk(said.link).inherited else {
            return said.wrong("ACK before NEWLEADER");
        };
        if i64::from(zxid.epoch()) != epoch {
            return said.wrong(format_args!("ACK {zxid} in epoch {epoch}"));
        }
        if kept.current < epoch {
            return said.wrong(format_args!("ACK {zxid}, its disk has epoch {}", kept.current));
        }
        let own = said.meaning(zxid);
        if !may_equal(own, inherited) {
            return said.wrong(format_args!("ACK {zxid} with a history up to {own}, not {inherited}"));
        }
        if kept.durable < own {
            let durable = kept.durable;
            return said.wrong(format_args!("ACK {zxid}, of its history {own} only {durable} is durable"));
        }
        Ok(())
    }
}
