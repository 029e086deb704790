//! What can be asked of `zabra-load`, and the checks that make it a run that can be done.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::generator::{KEY_COUNT_MAX, Names};
use crate::limits::{DATA_SIZE_MAX, OUTSTANDING_COUNT_MAX, raise_open_files};
use crate::load::Load;

/// Puts load on any server of the ZooKeeper client protocol.
///
/// Without --phase or --fill it runs a load and reports throughput and latency. It exits with 1 if it could not run and
/// with 2 if the server broke a promise: an error code, a lost session, a reply out of order, a watch event missed or
/// without cause, a request without reply.
#[derive(Clone, Debug, Parser)]
#[command(name = "zabra-load", version)]
pub struct Options {
    /// Servers, divided by commas; connections go to them in turn
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:2181")]
    pub hosts: Vec<SocketAddr>,

    /// read, write, mixN (N % writes), create, churn, sequential, ephemeral, watch, exists, children, multi
    #[arg(long, default_value = "read")]
    pub load: Load,

    /// Instead of a load: create this many numbered znodes with --size bytes each
    #[arg(long, conflicts_with = "phase")]
    pub fill: Option<u64>,

    /// Instead of a load: hold sessions, see the values
    #[arg(long)]
    pub phase: Option<Phase>,

    /// Sessions, each on its own connection
    #[arg(long, default_value_t = 16)]
    pub connections: usize,

    /// Requests outstanding on each connection (closed loop; also the window of --phase watches)
    #[arg(long, default_value_t = 16)]
    pub outstanding: usize,

    /// Requests per second in all, sent when due whatever the server does (open loop). Latency counts from the moment a
    /// request was due
    #[arg(long)]
    pub rate: Option<f64>,

    /// Threads, each with its share of the connections
    #[arg(long, default_value_t = 1)]
    pub threads: usize,

    /// Bytes of data in a znode
    #[arg(long, default_value_t = 100)]
    pub size: usize,

    /// Numbered znodes to choose from
    #[arg(long, default_value_t = 1000)]
    pub keys: u64,

    /// Children of the znode that --load children lists
    #[arg(long, default_value_t = 16)]
    pub children: u64,

    /// Operations in each request of --load multi
    #[arg(long, default_value_t = 8)]
    pub multi: usize,

    /// Stop after this many requests instead of after --secs; there is no warm-up then
    #[arg(long)]
    pub total: Option<u64>,

    /// Seconds to measure, or to hold a phase; a phase without it lasts until a line or the end of standard input
    #[arg(long)]
    pub secs: Option<f64>,

    /// Run a load until a line or the end of standard input, instead of for --secs; a first line of output says that it
    /// has begun
    #[arg(long, conflicts_with_all = ["secs", "total", "fill", "phase"])]
    pub until_line: bool,

    /// Seconds to run before measuring
    #[arg(long, default_value_t = 1.0)]
    pub warm: f64,

    /// Seconds to wait for sessions to open and, at the end, for the last replies
    #[arg(long, default_value_t = 30.0)]
    pub patience: f64,

    /// Sessions that may be opening at a time in a phase: all at once unless a server's listen backlog is too short for
    /// that
    #[arg(long)]
    pub opening: Option<usize>,

    /// Watches of --phase watches, over all sessions: each on another znode, modulo --keys
    #[arg(long, default_value_t = 1_000_000)]
    pub watches: u64,

    /// Session timeout to ask for, in milliseconds
    #[arg(long, default_value_t = 30_000)]
    pub session_timeout_ms: u32,

    /// The folder of everything a run creates
    #[arg(long, default_value = "/zabra-load")]
    pub root: String,

    /// Decides which znodes are chosen
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// The znodes exist already: do not create what the load needs
    #[arg(long)]
    pub no_prepare: bool,

    /// Replies in each second of the run
    #[arg(long)]
    pub series: bool,

    /// One line of JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// What to do with sessions instead of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Phase {
    /// Open a session a connection, say "ready", and keep them alive with pings
    Idle,
    /// Try until the server answers a request, and report how long that took
    Probe,
    /// Open all sessions at once and report the time until all are up
    Sessions,
    /// Open the sessions, set one-shot watches, say "ready", and hold them
    Watches,
}

impl Phase {
    /// The name as it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Probe => "probe",
            Self::Sessions => "sessions",
            Self::Watches => "watches",
        }
    }
}

impl Options {
    /// Checks what clap cannot, and makes room for the sockets.
    pub fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: u64, max: u64| {
            if (1..=max).contains(&value) {
                Ok(())
            } else {
                Err(format!("--{name} is {value}, it must be between 1 and {max}"))
            }
        };
        within("connections", self.connections as u64, 100_000)?;
        within("outstanding", self.outstanding as u64, OUTSTANDING_COUNT_MAX as u64)?;
        within("threads", self.threads as u64, self.connections.min(256) as u64)?;
        within("opening", self.opening.unwrap_or(1) as u64, u64::MAX)?;
        within("keys", self.keys, KEY_COUNT_MAX)?;
        within("children", self.children, KEY_COUNT_MAX)?;
        within("multi", self.multi as u64, 10_000)?;
        within("fill", self.fill.unwrap_or(1), KEY_COUNT_MAX)?;
        within("total", self.total.unwrap_or(1), u64::MAX)?;
        within("size", self.size as u64 + 1, DATA_SIZE_MAX as u64)?;
        for (name, value) in [
            ("rate", self.rate.unwrap_or(1.0)),
            ("secs", self.secs.unwrap_or(1.0)),
            ("warm", self.warm + 1.0),
            ("patience", self.patience),
        ] {
            if !(value > 0.0 && value < 1e9) {
                return Err(format!("--{name} is out of range"));
            }
        }
        if !self.root.starts_with('/') || self.root.len() < 2 || self.root.ends_with('/') {
            return Err("--root must be an absolute path below /".into());
        }
        raise_open_files(self.connections)
    }

    /// The load to run: filling is one of its own.
    pub fn load(&self) -> Load {
        if self.fill.is_some() { Load::Fill } else { self.load }
    }

    /// The number of requests to stop after.
    pub fn total(&self) -> Option<u64> {
        self.fill.or(self.total)
    }

    /// How long to measure.
    pub fn measure(&self) -> Duration {
        Duration::from_secs_f64(self.secs.unwrap_or(5.0))
    }

    /// How long to wait for what should come.
    pub fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.patience)
    }

    /// The session timeout to ask for.
    pub fn session_timeout(&self) -> Duration {
        Duration::from_millis(self.session_timeout_ms.into())
    }

    /// Paths of this run. The process id keeps created names of two runs apart.
    pub fn names(&self) -> Names {
        Names::new(&self.root, std::process::id())
    }

    /// The data of each znode.
    pub fn data(&self) -> Vec<u8> {
        vec![b'x'; self.size]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what cannot be done is refused before anything starts.
    #[test]
    fn out_of_range_is_refused() {
        let options = |arguments: &str| {
            Options::try_parse_from(["zabra-load"].into_iter().chain(arguments.split_whitespace()))
                .map_err(|error| error.to_string())
                .and_then(|options| options.check())
        };
        assert_eq!(options("--connections 2 --threads 2 --rate 1e5"), Ok(()));
        assert_eq!(options("--until-line --rate 1e5"), Ok(()));
        for bad in [
            "--connections 0",
            "--connections 2 --threads 3",
            "--outstanding 0",
            "--keys 10000001",
            "--rate 0",
            "--rate NaN",
            "--secs -1",
            "--root relative",
            "--root /",
            "--load nothing",
            "--phase idle --fill 3",
            "--until-line --secs 3",
            "--until-line --total 3",
        ] {
            assert!(options(bad).is_err(), "{bad}");
        }
    }
}
