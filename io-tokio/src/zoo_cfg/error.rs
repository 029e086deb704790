//! What is wrong with a configuration, so that it can be put right at once.

use std::fmt;
use std::io;

/// A configuration that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Everything that is wrong, at least one thing.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// File and line, or which argument.
    pub place: String,
    /// What is there and what was expected.
    pub what: String,
}

impl ConfigError {
    pub(crate) fn one(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl Problem {
    pub(crate) fn general(place: &str, what: &str) -> Self {
        Self { place: place.into(), what: what.into() }
    }

    pub(crate) fn unreadable(file: &str, error: &io::Error) -> Self {
        Self::general(file, &cannot_be_read(error))
    }

    pub(crate) fn malformed(place: &str) -> Self {
        Self::general(
            place,
            "malformed \\u escape: expected four hexadecimal digits behind it, or \\\\ for a backslash",
        )
    }

    pub(crate) fn value(place: &str, key: &str, value: &str, expected: &str) -> Self {
        Self { place: place.into(), what: format!("{key}={value}: expected {expected}") }
    }

    pub(crate) fn refused(place: &str, key: &str, value: &str, why: &str) -> Self {
        Self { place: place.into(), what: format!("{key}={value}: {why}") }
    }
}

/// What the operating system says of a file, and what to do where the file is there.
pub(crate) fn cannot_be_read(error: &io::Error) -> String {
    let act = if error.kind() == io::ErrorKind::PermissionDenied {
        ": start the server as the user to whom the data belongs, or let this user read it"
    } else {
        ""
    };
    format!("cannot be read: {error}{act}")
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
