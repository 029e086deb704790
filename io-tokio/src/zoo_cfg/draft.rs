//! A configuration in the making: keys set it one by one, then what they demand of each other is settled.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use zabra_core::config::FourLetterWords;

use crate::settings::{Settings, any_address};

/// A configuration in the making.
#[derive(Debug)]
pub(crate) struct Draft {
    /// What needs no other key is written straight into it.
    pub(crate) settings: Settings,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) data_log_dir: Option<PathBuf>,
    pub(crate) client_port: Option<u16>,
    pub(crate) client_host: Option<String>,
    pub(crate) tick_ms: u64,
    /// -1: twice the tick.
    pub(crate) min_session_timeout_ms: i64,
    /// -1: twenty ticks.
    pub(crate) max_session_timeout_ms: i64,
    /// Absent: as much as `jute.maxbuffer`.
    pub(crate) jute_extra: Option<i64>,
    pub(crate) four_letter_words: Option<Vec<String>>,
    pub(crate) read_only_mode: bool,
    pub(crate) enforce_auth: bool,
    pub(crate) auth_schemes: Vec<String>,
    /// Voting members named by `server.N`.
    pub(crate) voters: usize,
    /// Observers named by `server.N`.
    pub(crate) observers: usize,
    pub(crate) warnings: Vec<String>,
}

impl Draft {
    /// ZooKeeper's defaults, and nothing that has none.
    pub(crate) fn new() -> Self {
        Self {
            settings: Settings::new(SocketAddr::from(([0, 0, 0, 0], 0)), PathBuf::new()),
            data_dir: None,
            data_log_dir: None,
            client_port: None,
            client_host: None,
            tick_ms: 3000,
            min_session_timeout_ms: -1,
            max_session_timeout_ms: -1,
            jute_extra: None,
            four_letter_words: None,
            read_only_mode: false,
            enforce_auth: false,
            auth_schemes: Vec::new(),
            voters: 0,
            observers: 0,
            warnings: Vec::new(),
        }
    }

    /// Notes something that the operator should know.
    pub(crate) fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// A directory, with ZooKeeper's warning if it is relative.
    pub(crate) fn directory(&mut self, path: &str) -> PathBuf {
        let directory = PathBuf::from(path);
        if directory.is_relative() && !path.starts_with('.') {
            self.warn(format!("{path} is relative. Prepend ./ to indicate that you're sure!"));
        }
        directory
    }

    /// Notes a member of an ensemble.
    pub(crate) fn member(&mut self, address: &str) {
        let is_observer = address.to_ascii_lowercase().split([':', ';']).any(|part| part == "observer");
        if is_observer {
            self.observers += 1;
        } else {
            self.voters += 1;
        }
    }

    /// Settles what keys demand of each other.
    ///
    /// # Errors
    /// Everything that is wrong, each as one sentence.
    pub(crate) fn finish(mut self) -> Result<(Settings, Vec<String>), Vec<String>> {
        let mut wrong = Vec::new();
        self.settle_members(&mut wrong);
        self.settle_directories(&mut wrong);
        self.settle_address(&mut wrong);
        self.settle_sessions();
        self.settle_access(&mut wrong);
        self.settle_server_id(&mut wrong);
        let core = &mut self.settings.core;
        let extra = self.jute_extra.unwrap_or(i64::try_from(core.jute_max_buffer).unwrap_or(i64::MAX));
        // ZooKeeper's own floor, from when the number was fixed.
        core.jute_max_buffer_extra = usize::try_from(extra.max(1024)).unwrap_or(usize::MAX);
        if let Err(error) = core.check() {
            wrong.push(error.to_string());
        }
        if wrong.is_empty() { Ok((self.settings, self.warnings)) } else { Err(wrong) }
    }

    fn settle_members(&mut self, wrong: &mut Vec<String>) {
        match (self.voters, self.observers) {
            (0, 0) => {}
            (1, 0) => self.warn(
                "server.N names a single server: it is ignored, and this server runs standalone, as ZooKeeper's does",
            ),
            _ => wrong.push(
                "server.N names an ensemble, and replication is not in this release of Zabra: \
                 remove the server.N lines to run a standalone server"
                    .into(),
            ),
        }
    }

    fn settle_directories(&mut self, wrong: &mut Vec<String>) {
        let Some(data_dir) = self.data_dir.take() else {
            wrong.push("dataDir is not set: name the directory that holds, or is to hold, the data".into());
            return;
        };
        self.settings.data_log_dir = self.data_log_dir.take().unwrap_or_else(|| data_dir.clone());
        self.settings.data_dir = data_dir;
    }

    fn settle_address(&mut self, wrong: &mut Vec<String>) {
        let Some(port) = self.client_port else {
            wrong.push(if self.client_host.is_some() {
                "clientPortAddress is set but clientPort is not set".into()
            } else {
                "clientPort is not set: name the port that clients connect to, usually 2181".into()
            });
            return;
        };
        self.settings.core.about.client_port = i32::from(port);
        self.settings.core.about.secure_client_port = -1;
        self.settings.core.about.listen_backlog = self.settings.listen_backlog;
        self.settings.client_addr = match self.client_host.as_deref() {
            None => any_address(port),
            Some(host) => match resolve(host) {
                Ok(address) => SocketAddr::new(address, port),
                Err(why) => {
                    wrong.push(format!("clientPortAddress={host}: expected an address of this host: {why}"));
                    return;
                }
            },
        };
    }

    fn settle_sessions(&mut self) {
        let tick = Duration::from_millis(self.tick_ms);
        let of = |millis: i64, ticks: u32| u64::try_from(millis).map_or(tick * ticks, Duration::from_millis);
        let core = &mut self.settings.core;
        core.tick_time = tick;
        core.min_session_timeout = of(self.min_session_timeout_ms, 2);
        core.max_session_timeout = of(self.max_session_timeout_ms, 20);
    }

    fn settle_access(&mut self, wrong: &mut Vec<String>) {
        if let Some(mut words) = self.four_letter_words.take() {
            // zkServer.sh depends on it, so ZooKeeper always answers it.
            words.push("srvr".into());
            let all = words.iter().any(|word| word == "*");
            let core = &mut self.settings.core;
            core.four_letter_words = if all { FourLetterWords::All } else { FourLetterWords::Only(words) };
        }
        if self.read_only_mode
            && let FourLetterWords::Only(words) = &mut self.settings.core.four_letter_words
        {
            words.push("isro".into());
        }
        if !self.enforce_auth {
            return;
        }
        if self.auth_schemes.is_empty() {
            wrong.push(
                "enforce.auth.enabled is true, so enforce.auth.schemes must name at least one scheme".into(),
            );
        }
        for scheme in &self.auth_schemes {
            if !matches!(scheme.as_str(), "digest" | "ip" | "ensemble") {
                wrong.push(format!(
                    "enforce.auth.schemes={scheme}: expected digest, ip or ensemble: \
                     this release of Zabra has no other scheme, and no client could ever be let in"
                ));
            }
        }
        self.settings.core.enforce_auth_schemes = std::mem::take(&mut self.auth_schemes);
    }

    /// The number in `dataDir/myid`, which a standalone server may have.
    fn settle_server_id(&mut self, wrong: &mut Vec<String>) {
        let path = self.settings.data_dir.join("myid");
        let Ok(text) = std::fs::read_to_string(&path) else { return };
        let line = text.lines().next().unwrap_or_default();
        match line.parse::<i64>() {
            // A session id has one byte for it, and TTL nodes need its last value.
            Ok(id @ 0..=254) => self.settings.core.server_id = id,
            Ok(id) => self.warn(format!(
                "{}: {id} does not fit into a session id (0 to 254); a standalone server does without",
                path.display()
            )),
            Err(_) => wrong.push(format!("{}: serverid {line} is not a number", path.display())),
        }
    }
}

fn resolve(host: &str) -> Result<IpAddr, String> {
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = literal.parse() {
        return Ok(address);
    }
    let mut addresses = (host, 0).to_socket_addrs().map_err(|error| error.to_string())?;
    addresses.next().map(|address| address.ip()).ok_or_else(|| "it has no address".into())
}
