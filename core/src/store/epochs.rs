//! The epoch files: `acceptedEpoch` (the newest epoch this server promised to) and `currentEpoch` (the newest whose
//! history it holds), and whether they fit the data that was found beside them.
//!
//! A standalone server has neither; what is written here it leaves alone.

use alloc::format;
use alloc::string::String;
use core::fmt;

use super::op::{Dir, FileName};
use crate::types::{EPOCHS, Zxid};

/// The file that holds the accepted epoch.
pub const ACCEPTED_EPOCH: &str = "acceptedEpoch";
/// The file that holds the current epoch.
pub const CURRENT_EPOCH: &str = "currentEpoch";
/// What Java leaves behind when it stops between writing the current epoch and giving the file its name.
pub const CURRENT_EPOCH_TEMPORARY: &str = "currentEpoch.tmp";

/// Says that this server may have lost what it once acknowledged, until a leader has brought it up to date. ZooKeeper
/// does not know it.
pub const UNSYNCED: &str = "zabra.unsynced";

/// The epoch file of this name.
pub fn epoch_file(name: &str) -> FileName {
    FileName { dir: Dir::Snapshot, name: String::from(name) }
}

/// The content of an epoch file.
pub fn encode(epoch: i64) -> String {
    format!("{epoch}")
}

/// Reads an epoch file: a decimal number on the first line, and nothing else on it.
pub fn decode(content: &[u8]) -> Option<i64> {
    let text = core::str::from_utf8(content).ok()?;
    text.lines().next()?.parse().ok()
}

/// What the epoch files say; `None`: there is no such file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoundEpochs {
    /// In `acceptedEpoch`.
    pub accepted: Option<i64>,
    /// In `currentEpoch`.
    pub current: Option<i64>,
    /// In `currentEpoch.tmp`.
    pub current_temporary: Option<i64>,
}

/// The epochs to go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epochs {
    /// The newest epoch this server promised to.
    pub accepted: i64,
    /// The newest epoch whose history it holds.
    pub current: i64,
    /// Whether `acceptedEpoch` is still to be written.
    pub write_accepted: bool,
    /// Whether `currentEpoch` is still to be written.
    pub write_current: bool,
}

/// Why the epochs do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochError {
    /// There is no such epoch.
    OutOfRange {
        /// The file that says so.
        file: &'static str,
        /// What it says.
        epoch: i64,
    },
    /// The promise is older than the history.
    AcceptedBehindCurrent {
        /// The promise.
        accepted: i64,
        /// The history's.
        current: i64,
    },
    /// The history holds transactions of a later epoch.
    CurrentBehindData {
        /// What the file says.
        current: i64,
        /// The newest transaction.
        last_zxid: Zxid,
    },
}

impl fmt::Display for EpochError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = "Epoch files and data do not belong together: were files copied here from another server? \
                      Restore the whole directory from one backup, or empty it and let the server copy the data \
                      from its ensemble";
        match self {
            Self::OutOfRange { file, epoch } => {
                write!(
                    f,
                    "{file} says {epoch}, which is no epoch that a server can be in: no other would take it for a \
                     member of its ensemble. Epoch files of all members agree but for the last few epochs: was one of \
                     them changed, or did somebody who is no member reach the quorum port? Where it is this one alone, \
                     empty its directory and let it copy the data from its ensemble. Where it is all of them, stop all, \
                     and write the epoch of the newest transaction that any has to both files of each"
                )
            }
            Self::AcceptedBehindCurrent { accepted, current } => {
                write!(
                    f,
                    "{ACCEPTED_EPOCH} says {accepted}, less than {current} in {CURRENT_EPOCH}. {advice}"
                )
            }
            Self::CurrentBehindData { current, last_zxid } => {
                let epoch = last_zxid.epoch();
                write!(
                    f,
                    "{CURRENT_EPOCH} says {current}, but the last transaction is {last_zxid} of epoch {epoch}. {advice}"
                )
            }
        }
    }
}

impl core::error::Error for EpochError {}

/// Checks the epoch files against the data, as `QuorumPeer.loadDataBase` does. A missing file is derived from the
/// data, as after an upgrade from a release that had none. A current epoch behind the data is replaced by the one
/// in `currentEpoch.tmp`, where that is new enough: Java takes it in any case, and then fails later. Without one, it
/// is right where the data's epoch was promised: a learner's history is durable before its epoch is, so one that
/// stops in between has more of the leader's history than it may speak for. Java refuses to start then.
///
/// # Errors
/// The first thing that does not fit.
pub fn check(found: FoundEpochs, last_zxid: Zxid) -> Result<Epochs, EpochError> {
    let said = [(ACCEPTED_EPOCH, found.accepted), (CURRENT_EPOCH, found.current)];
    let odd = said.into_iter().find(|(_, epoch)| epoch.is_some_and(|epoch| !EPOCHS.contains(&epoch)));
    if let Some((file, Some(epoch))) = odd {
        return Err(EpochError::OutOfRange { file, epoch });
    }
    let temporary = found.current_temporary.filter(|epoch| EPOCHS.contains(epoch));
    let of_data = i64::from(last_zxid.epoch());
    let mut current = found.current.unwrap_or(of_data);
    let mut write_current = found.current.is_none();
    if of_data > current {
        match temporary {
            Some(temporary) if temporary >= of_data => {
                current = temporary;
                write_current = true;
            }
            // It stopped while a leader of an epoch that it had promised to brought it up to date.
            Some(_) | None if found.accepted.is_some_and(|accepted| accepted >= of_data) => {}
            Some(_) | None => return Err(EpochError::CurrentBehindData { current, last_zxid }),
        }
    }
    let accepted = found.accepted.unwrap_or(of_data);
    if accepted < current {
        return Err(EpochError::AcceptedBehindCurrent { accepted, current });
    }
    Ok(Epochs { accepted, current, write_accepted: found.accepted.is_none(), write_current })
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn disk_epochs_are_decimal_text() {
        assert_eq!(encode(12), "12");
        for (content, expected) in
            [("12", Some(12)), ("12\n", Some(12)), ("-1", Some(-1)), ("", None), ("12 ", None), ("0x1", None)]
        {
            assert_eq!(decode(content.as_bytes()), expected, "{content:?}");
        }
        assert_eq!(decode(&[0xff]), None);
    }

    #[test]
    fn disk_epochs_check_over_every_small_combination() {
        let choices = [None, Some(0), Some(1), Some(2), Some(3)];
        for accepted in choices {
            for current in choices {
                for current_temporary in choices {
                    for epoch in 0..3_u32 {
                        let found = FoundEpochs { accepted, current, current_temporary };
                        check_one(found, epoch);
                    }
                }
            }
        }
    }

    fn check_one(found: FoundEpochs, epoch: u32) {
        match check(found, Zxid::new(epoch, 7)) {
            Ok(epochs) => {
                assert!(epochs.current >= i64::from(epoch) || found.accepted >= Some(i64::from(epoch)));
                assert!(epochs.accepted >= epochs.current);
                assert_eq!(epochs.write_accepted, found.accepted.is_none());
                assert_eq!(epochs.write_current, found.current != Some(epochs.current));
            }
            Err(EpochError::CurrentBehindData { current, .. }) => {
                assert!(current < i64::from(epoch));
                assert!(found.accepted < Some(i64::from(epoch)));
                assert_eq!(found.current, Some(current));
                assert!(found.current_temporary.is_none_or(|temporary| temporary < i64::from(epoch)));
            }
            Err(EpochError::OutOfRange { .. }) => unreachable!("these are small"),
            Err(EpochError::AcceptedBehindCurrent { accepted, current }) => {
                assert!(accepted < current);
                assert!(found.accepted.is_none() || found.accepted == Some(accepted));
            }
        }
    }

    #[test]
    fn disk_epochs_check_knows_the_last_epoch() {
        let last = i64::from(i32::MAX) - 1;
        for (epoch, fits) in
            [(last, true), (last + 1, false), (i64::MAX, false), (-2, false), (i64::MIN, false)]
        {
            let both = FoundEpochs { accepted: Some(epoch), current: Some(epoch), current_temporary: None };
            let one = FoundEpochs { accepted: Some(epoch), current: Some(0), current_temporary: Some(epoch) };
            for found in [both, one] {
                let outcome = check(found, Zxid::new(0, 7));
                assert_eq!(outcome.is_ok(), fits, "{found:?}");
                let Err(error) = outcome else { continue };
                assert_eq!(error, EpochError::OutOfRange { file: ACCEPTED_EPOCH, epoch });
                assert!(error.to_string().contains("acceptedEpoch says"), "{error}");
            }
            let current = FoundEpochs { accepted: None, current: Some(epoch), current_temporary: None };
            assert!(check(current, Zxid::new(0, 7)).is_err(), "{epoch}");
        }
    }

    #[test]
    fn disk_epochs_check_names_both_numbers() {
        let error = check(
            FoundEpochs { accepted: Some(1), current: Some(1), ..FoundEpochs::default() },
            Zxid::new(2, 5),
        );
        let text = error.expect_err("the data is newer").to_string();
        assert!(text.contains("currentEpoch says 1"), "{text}");
        assert!(text.contains("0x200000005"), "{text}");
    }
}
