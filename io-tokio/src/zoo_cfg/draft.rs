//! A configuration in the making: keys set it one by one, then what they demand of each other is settled.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use zabra_core::config::{ConfigError, EnsembleConfig, FourLetterWords};
use zabra_core::types::{Address, MemberRole, ServerId};
use zabra_core::wire::admin::Word;

use super::ensemble::{EnsembleDraft, MemberList, read_my_id};
use super::error::Problem;
use super::outside::{Outside, resolve};
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
    /// Where one of the two was set last.
    pub(crate) session_timeouts_place: Option<String>,
    /// Absent: as much as `jute.maxbuffer`.
    pub(crate) jute_extra: Option<i64>,
    pub(crate) four_letter_words: Option<Vec<String>>,
    pub(crate) read_only_mode: bool,
    pub(crate) enforce_auth: bool,
    pub(crate) auth_schemes: Vec<String>,
    /// What only an ensemble needs.
    pub(crate) ensemble: EnsembleDraft,
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
            session_timeouts_place: None,
            jute_extra: None,
            four_letter_words: None,
            read_only_mode: false,
            enforce_auth: false,
            auth_schemes: Vec::new(),
            ensemble: EnsembleDraft::new(),
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

    /// Settles what keys demand of each other.
    ///
    /// # Errors
    /// Everything that is wrong; `whole` is where what has no line of its own is wrong.
    pub(crate) fn finish(
        mut self,
        whole: &str,
        outside: &dyn Outside,
    ) -> Result<(Settings, Vec<String>), Vec<Problem>> {
        let mut problems = Vec::new();
        let mut wrong = Vec::new();
        self.settle_directories(&mut wrong);
        self.settle_membership(whole, outside, &mut wrong, &mut problems);
        self.settle_address(outside, &mut wrong);
        self.settle_sessions();
        self.settle_access(&mut wrong);
        let core = &mut self.settings.core;
        let extra = self.jute_extra.unwrap_or(i64::try_from(core.jute_max_buffer).unwrap_or(i64::MAX));
        // ZooKeeper's own floor, from when the number was fixed.
        core.jute_max_buffer_extra = usize::try_from(extra.max(1024)).unwrap_or(usize::MAX);
        match core.check() {
            Ok(()) => {}
            Err(ConfigError::SessionTimeouts) => {
                let place = self.session_timeouts_place.as_deref().unwrap_or(whole);
                problems.push(Problem::general(place, &self.wrong_session_timeouts()));
            }
            Err(error) => wrong.push(error.to_string()),
        }
        problems.extend(wrong.iter().map(|sentence| Problem::general(whole, sentence)));
        if problems.is_empty() { Ok((self.settings, self.warnings)) } else { Err(problems) }
    }

    /// Settles who the members are, which of them this server is, and what its own line says of it.
    fn settle_membership(
        &mut self,
        whole: &str,
        outside: &dyn Outside,
        wrong: &mut Vec<String>,
        problems: &mut Vec<Problem>,
    ) {
        let mut list = match self.ensemble.members(whole, outside, &mut self.warnings) {
            Ok(list) => list,
            Err(found) => {
                problems.extend(found);
                return;
            }
        };
        let is_ensemble = list.as_ref().is_some_and(|list| list.is_ensemble);
        let id = match self.server_id(list.as_ref().filter(|list| list.is_ensemble), outside) {
            Ok(id) => id,
            Err(problem) => {
                problems.push(problem);
                None
            }
        };
        if let (Some(list), Some(id)) = (&list, id) {
            self.settle_client(list, id, outside, wrong);
            self.settle_role(list, id);
        }
        if let Some(list) = list.take().filter(|_| is_ensemble) {
            problems.extend(self.ensemble.check(whole));
            self.warnings.append(&mut self.ensemble.warnings);
            let options = self.ensemble.options.clone();
            let MemberList { membership, seen, .. } = list;
            let ensemble =
                EnsembleConfig { membership, seen, read_only_mode: self.read_only_mode, ..options };
            self.settings.core.ensemble = Some(ensemble);
        }
    }

    fn settle_directories(&mut self, wrong: &mut Vec<String>) {
        let is_named = |path: &PathBuf| !path.as_os_str().is_empty();
        let Some(data_dir) = self.data_dir.take().filter(is_named) else {
            wrong.push("dataDir is not set: name the directory that holds, or is to hold, the data".into());
            return;
        };
        if self.data_log_dir.as_ref().is_some_and(|path| !is_named(path)) {
            wrong.push("dataLogDir is empty: name the directory of the log, or leave the key out".into());
        }
        self.settings.data_log_dir = self.data_log_dir.take().unwrap_or_else(|| data_dir.clone());
        self.settings.data_dir = data_dir;
    }

    fn settle_address(&mut self, outside: &dyn Outside, wrong: &mut Vec<String>) {
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
            Some(host) => match resolve(host, outside) {
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

    /// Why the two do not fit each other, where the operator may have set but one, or none.
    fn wrong_session_timeouts(&self) -> String {
        let core = &self.settings.core;
        let of = |set: i64, ticks: u32, counts: Duration| {
            let unless_set = if set < 0 {
                format!(" ({ticks} x tickTime={} unless it is set)", self.tick_ms)
            } else {
                String::new()
            };
            format!("{}{unless_set}", counts.as_millis())
        };
        format!(
            "minSessionTimeout={} must not be larger than maxSessionTimeout={}",
            of(self.min_session_timeout_ms, 2, core.min_session_timeout),
            of(self.max_session_timeout_ms, 20, core.max_session_timeout)
        )
    }

    fn settle_access(&mut self, wrong: &mut Vec<String>) {
        if let Some(mut words) = self.four_letter_words.take() {
            for word in words.iter().filter(|word| !matches!(word.as_str(), "" | "*")) {
                let bytes = word.as_bytes().try_into().ok();
                if bytes.and_then(Word::from_bytes).is_none() {
                    self.warnings
                        .push(format!("4lw.commands.whitelist: {word} is no four-letter word, and ignored"));
                }
            }
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

    /// The number in `dataDir/myid`: a member of an ensemble must have one, a standalone server may.
    fn server_id(
        &mut self,
        ensemble: Option<&MemberList>,
        outside: &dyn Outside,
    ) -> Result<Option<i64>, Problem> {
        if self.settings.data_dir.as_os_str().is_empty() {
            return Ok(None); // That is wrong enough.
        }
        let path = self.settings.data_dir.join("myid");
        let shown = path.display().to_string();
        let wrong = |what: &str| Err(Problem::general(&shown, what));
        let id = match (read_my_id(&path, outside), ensemble) {
            (Ok(Some(id)), _) => id,
            (Ok(None), None) => return Ok(None),
            (Ok(None), Some(_)) => {
                return wrong(
                    "myid file is missing: write this server's number into it, the N of its server.N line",
                );
            }
            (Err(what), _) => return wrong(&what),
        };
        match ensemble {
            Some(list) if list.membership.member(ServerId(id)).is_none() => {
                return wrong(&format!(
                    "{id} is not in the list of servers: there is no server.{id} in {}",
                    list.file
                ));
            }
            Some(_) => self.settings.core.server_id = id,
            // A session id has one byte for it, and TTL nodes need its last value.
            None if (0..=254).contains(&id) => self.settings.core.server_id = id,
            None => self.warn(format!(
                "{shown}: {id} does not fit into a session id (0 to 254); a standalone server does without"
            )),
        }
        Ok(Some(id))
    }

    /// Where clients connect, if this server's own line says so too. It may be more exact than `clientPort`, but not
    /// say something else.
    fn settle_client(&mut self, list: &MemberList, id: i64, outside: &dyn Outside, wrong: &mut Vec<String>) {
        let Some(Address { host, port }) = list.client(id) else { return };
        if let Some(set) = self.client_port {
            let set_host = self.client_host.as_deref().map(|host| resolve(host, outside));
            let same_host = match (set_host, resolve(host, outside)) {
                (None, _) => true,
                (Some(Ok(here)), Ok(there)) => here.is_unspecified() || here == there,
                // A name that nobody knows is told of where it is used.
                (Some(_), _) => true,
            };
            if set != *port || !same_host {
                let here = self.client_host.as_deref().unwrap_or("all addresses");
                wrong.push(format!(
                    "clientPort={set} on {here} is not where clients connect by server.{id} in {}: \
                     {host}:{port}; leave clientPort and clientPortAddress out",
                    list.file
                ));
                return;
            }
        }
        self.client_port = Some(*port);
        let everywhere = resolve(host, outside).is_ok_and(|address| address.is_unspecified());
        self.client_host = (!everywhere).then(|| host.clone());
    }

    /// Whether this server votes: its own line says so, and wins over `peerType`.
    fn settle_role(&mut self, list: &MemberList, id: i64) {
        let name = |role| match role {
            MemberRole::Observer => "observer",
            MemberRole::Participant => "participant",
        };
        let Some(member) = list.membership.member(ServerId(id)) else { return };
        let peer_type = self.ensemble.peer_type;
        if member.role != peer_type {
            self.warn(format!(
                "peerType={} is not what server.{id} in {} says: {}, which counts",
                name(peer_type),
                list.file,
                name(member.role)
            ));
        }
    }
}
