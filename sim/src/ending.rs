//! How things end: a process that is struck, one that stops by itself, and a role.

use std::fmt;

use zabra_core::recovery::RecoveryError;
use zabra_core::server::HaltReason;
use zabra_core::zab::leader::StepDownReason;
use zabra_core::zab::learner::LostReason;

/// How a process ends that is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process is killed; its operating system keeps what it was given.
    Killed,
    /// The machine loses its power, and what was not synchronised is at risk.
    Unpowered,
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed => "was killed",
            Self::Unpowered => "lost its power",
        })
    }
}

/// Why a process ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It did not want to go on.
    Halted(HaltReason),
    /// It did not start on what was on its disk.
    Refused(Box<RecoveryError>),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Halted(why) => write!(f, "{why:?}"),
            Self::Refused(error) => write!(f, "recovery refused: {error:?}"),
        }
    }
}

/// What a process that ends by itself has for an excuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excuse {
    /// It was asked to.
    Asked,
    /// Its files were damaged.
    Damaged,
    /// Its disk fails, or is full.
    DiskFails,
}

/// Why a server has its role no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleEnd {
    /// It follows, or tried to, no longer.
    LeaderLost(LostReason),
    /// It leads, or tried to, no longer.
    SteppedDown(StepDownReason),
}

impl fmt::Display for RoleEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeaderLost(why) => write!(f, "its leader is lost: {why:?}"),
            Self::SteppedDown(why) => write!(f, "it steps down: {why:?}"),
        }
    }
}
