//! What a load asks of the server, by name.

use std::str::FromStr;

/// The requests of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Lists the children of one znode.
    Children,
    /// Creates a znode, then deletes it.
    Churn,
    /// Creates znodes under ever new names.
    Create,
    /// Creates ephemeral znodes under ever new names.
    Ephemeral,
    /// Reads the stat of a random znode.
    Exists,
    /// Creates the numbered znodes that other loads read and write; those that exist already count as done.
    Fill,
    /// Reads and writes random znodes; the number is the percentage of writes.
    Mix(u8),
    /// Replaces the data of several random znodes in one request.
    Multi,
    /// Reads data of a random znode.
    Read,
    /// Creates sequential znodes under one name.
    Sequential,
    /// Reads with a watch, then writes the same znode: each write fires exactly one event, ahead of its own reply.
    Watch,
    /// Replaces the data of a random znode.
    Write,
}

impl Load {
    /// Whether the load needs the numbered znodes to exist.
    pub fn uses_keys(self) -> bool {
        match self {
            Self::Exists | Self::Mix(_) | Self::Multi | Self::Read | Self::Write => true,
            Self::Children
            | Self::Churn
            | Self::Create
            | Self::Ephemeral
            | Self::Fill
            | Self::Sequential
            | Self::Watch => false,
        }
    }
}

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "children" => Self::Children,
            "churn" => Self::Churn,
            "create" => Self::Create,
            "ephemeral" => Self::Ephemeral,
            "exists" => Self::Exists,
            "multi" => Self::Multi,
            "read" => Self::Read,
            "sequential" => Self::Sequential,
            "watch" => Self::Watch,
            "write" => Self::Write,
            _ => {
                let percent = text.strip_prefix("mix").and_then(|number| number.parse().ok());
                Self::Mix(percent.filter(|percent| *percent <= 100).ok_or(
                    "one of read, write, mixN (N % writes), create, churn, sequential, ephemeral, watch, exists, \
                     children, multi",
                )?)
            }
        })
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Children => "children",
            Self::Churn => "churn",
            Self::Create => "create",
            Self::Ephemeral => "ephemeral",
            Self::Exists => "exists",
            Self::Fill => "fill",
            Self::Mix(percent) => return write!(f, "mix{percent}"),
            Self::Multi => "multi",
            Self::Read => "read",
            Self::Sequential => "sequential",
            Self::Watch => "watch",
            Self::Write => "write",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: every load that can be asked for prints as it was asked for.
    #[test]
    fn names_round_trip() {
        for name in [
            "children",
            "churn",
            "create",
            "ephemeral",
            "exists",
            "mix0",
            "mix50",
            "mix100",
            "multi",
            "read",
            "sequential",
            "watch",
            "write",
        ] {
            assert_eq!(name.parse::<Load>().unwrap().to_string(), name);
        }
        for name in ["", "mix", "mix101", "mix-1", "reads", "fill"] {
            assert!(name.parse::<Load>().is_err(), "{name}");
        }
    }
}
