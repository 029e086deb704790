//! What makes a configuration one of an ensemble: its members, this server's number among them, and what follows.
//!
//! One voter alone is a standalone server unless `standaloneEnabled` is false; any more make an ensemble. What is said
//! of a key that matters in ensembles only is kept back until that is clear.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use zabra_core::config::EnsembleConfig;
use zabra_core::types::MembershipError;
use zabra_core::types::{Address, MemberRole, Membership, ServerId};

use super::error::{Problem, cannot_be_read};
use super::keep::next_file;
use super::outside::Outside;
use super::properties;

/// One `server.N`, `group.N` or `weight.N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberLine {
    /// Where it stands.
    pub(crate) place: String,
    /// Without `zookeeper.` in front.
    pub(crate) name: String,
    pub(crate) value: String,
}

/// The part of a draft that only ensembles need.
#[derive(Debug)]
pub(crate) struct EnsembleDraft {
    /// What needs no other key is written straight into it; its members come last. Limits that have no default are 0.
    pub(crate) options: EnsembleConfig,
    pub(crate) lines: Vec<MemberLine>,
    pub(crate) dynamic_file: Option<PathBuf>,
    pub(crate) peer_type: MemberRole,
    pub(crate) multi_address: bool,
    /// To be said if this is an ensemble.
    pub(crate) warnings: Vec<String>,
    /// Wrong if this is an ensemble.
    pub(crate) problems: Vec<Problem>,
}

/// The list of members, and where it stands.
#[derive(Debug)]
pub(crate) struct MemberList {
    /// The file, for messages.
    pub(crate) file: String,
    /// Who they are.
    pub(crate) membership: Membership,
    /// Who they were to become when this server ended, if it saw such a change.
    pub(crate) seen: Option<Membership>,
    /// Whether they make an ensemble: otherwise this server runs standalone.
    pub(crate) is_ensemble: bool,
}

impl EnsembleDraft {
    /// ZooKeeper's defaults, and no members.
    pub(crate) fn new() -> Self {
        let options = EnsembleConfig {
            init_limit: 0,
            sync_limit: 0,
            ..EnsembleConfig::new(Membership::majority(0, BTreeMap::new()))
        };
        Self {
            options,
            lines: Vec::new(),
            dynamic_file: None,
            peer_type: MemberRole::Participant,
            multi_address: false,
            warnings: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// `peerType`, whose row has checked the word.
    pub(crate) fn set_peer_type(&mut self, word: &str) {
        let is_observer = word.eq_ignore_ascii_case("observer");
        self.peer_type = if is_observer { MemberRole::Observer } else { MemberRole::Participant };
    }

    /// `snapshotSizeFactor`. ZooKeeper takes what is below 0 for never, 0 for any size, and what is above 1 for a
    /// mistake.
    ///
    /// # Errors
    /// What the operator should know of a mistake.
    pub(crate) fn set_snapshot_size_factor(&mut self, text: &str) -> Result<(), String> {
        let factor = text.parse().unwrap_or(f64::NAN);
        self.options.snapshot_size_permille = match factor {
            _ if factor < 0.0 => None,
            _ if factor == 0.0 => Some(u32::MAX),
            // Checked to be at most 1000, and at least 1 so that it is not taken for 0.
            _ if factor <= 1.0 => Some(((factor * 1000.0).round() as u32).max(1)),
            _ => return Err(format!("snapshotSizeFactor={text}: it should be 1 or less, and is 0.33 now")),
        };
        Ok(())
    }

    /// Reads the list of members, from the file that `whole` names or from the dynamic one. `Ok(None)`: there is none,
    /// and need not be.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn members(
        &mut self,
        whole: &str,
        outside: &dyn Outside,
        warnings: &mut Vec<String>,
    ) -> Result<Option<MemberList>, Vec<Problem>> {
        let (file, lines, version, seen) = match self.dynamic_file.take() {
            None => (whole.to_owned(), std::mem::take(&mut self.lines), None, None),
            Some(dynamic) if dynamic.as_os_str().is_empty() => {
                let what = "dynamicConfigFile is empty: name the file with the members, or leave the key out";
                return Err(vec![Problem::general(whole, what)]);
            }
            Some(dynamic) => {
                let misplaced: Vec<_> = self.lines.iter().map(|line| misplaced(line, &dynamic)).collect();
                if !misplaced.is_empty() {
                    return Err(misplaced);
                }
                let shown = dynamic.display().to_string();
                let seen =
                    read_seen(&next_file(Path::new(whole)), outside).map_err(|problem| vec![problem])?;
                (shown.clone(), read_dynamic(&dynamic, &shown, outside)?, version_of(&shown), seen)
            }
        };
        if lines.is_empty() {
            if self.options.standalone_enabled {
                return Ok(None);
            }
            return Err(vec![Problem::general(
                &file,
                "standaloneEnabled is false, so there must be a server.N line for every server, this one included",
            )]);
        }
        let membership = parse(&file, &lines, version)?;
        let list = self.judge(file, membership, warnings).map_err(|problem| vec![problem])?;
        Ok(Some(MemberList { seen, ..list }))
    }

    /// Decides whether the members make an ensemble.
    fn judge(
        &self,
        file: String,
        membership: Membership,
        warnings: &mut Vec<String>,
    ) -> Result<MemberList, Problem> {
        let voters = membership.voters().count();
        let observers = membership.members().len() - voters;
        let wrong = |what: &str| Err(Problem::general(&file, what));
        if voters == 0 {
            return wrong("every server.N is an observer: at least one must be a participant");
        }
        let several = membership.members().iter().find(|(_, m)| m.quorum.len() > 1 || m.election.len() > 1);
        if let (Some((id, _)), false) = (several, self.multi_address) {
            return wrong(&format!(
                "server.{id} has several addresses: set multiAddress.enabled=true on every server, or leave one"
            ));
        }
        let is_ensemble = voters > 1 || !self.options.standalone_enabled;
        if !is_ensemble && observers > 0 {
            return wrong(
                "observers need an ensemble, and a single participant runs standalone: \
                 set standaloneEnabled=false, or name more participants",
            );
        }
        if !is_ensemble {
            warnings.push(
                "server.N names a single server: it is ignored, and this server runs standalone, as ZooKeeper's does"
                    .into(),
            );
        } else if voters <= 2 {
            warnings.push(format!(
                "{file}: with {voters} voting servers no failure is tolerated; it takes at least 3"
            ));
        } else if voters.is_multiple_of(2) {
            warnings.push(format!(
                "{file}: {voters} voting servers tolerate no more failures than {}; an odd number is better",
                voters - 1
            ));
        }
        Ok(MemberList { file, membership, seen: None, is_ensemble })
    }

    /// What an ensemble needs besides its members.
    pub(crate) fn check(&self, whole: &str) -> Vec<Problem> {
        let mut problems = self.problems.clone();
        let mut wrong = |what: &str| problems.push(Problem::general(whole, what));
        if self.options.init_limit == 0 {
            wrong("initLimit is not set: an ensemble needs it, in ticks, usually initLimit=10");
        }
        if self.options.sync_limit == 0 {
            wrong("syncLimit is not set: an ensemble needs it, in ticks, usually syncLimit=5");
        }
        if self.options.notification_interval_min > self.options.notification_interval_max {
            wrong(
                "fastleader.minNotificationInterval must not be larger than fastleader.maxNotificationInterval",
            );
        }
        problems
    }
}

impl MemberList {
    /// What clients connect to by this server's own line.
    pub(crate) fn client(&self, server: i64) -> Option<&Address> {
        self.membership.member(ServerId(server))?.client.as_ref()
    }
}

fn misplaced(line: &MemberLine, dynamic: &Path) -> Problem {
    let what =
        format!("{} must be in {}, because dynamicConfigFile names that", line.name, dynamic.display());
    Problem::general(&line.place, &what)
}

/// The lines of a dynamic file.
fn read_dynamic(path: &Path, shown: &str, outside: &dyn Outside) -> Result<Vec<MemberLine>, Vec<Problem>> {
    let bytes = outside.read(path).map_err(|error| vec![Problem::unreadable(shown, &error)])?;
    let entries = properties::parse(&bytes)
        .map_err(|malformed| vec![Problem::malformed(&format!("{shown}:{}", malformed.line))])?;
    let (mut lines, mut problems): (Vec<MemberLine>, Vec<_>) = (Vec::new(), Vec::new());
    for entry in entries {
        let place = format!("{shown}:{}", entry.line);
        let is_member = ["server.", "group", "weight"].iter().any(|prefix| entry.key.starts_with(prefix));
        if is_member {
            // As in any properties file, the last one counts.
            lines.retain(|line| line.name != entry.key);
            lines.push(MemberLine { place, name: entry.key, value: entry.value });
        } else if entry.key == "version" {
            problems.push(Problem::general(
                &place,
                "version does not belong here: it is the end of the file's name",
            ));
        } else {
            let what = format!("{} does not belong here: expected server.N, group.N or weight.N", entry.key);
            problems.push(Problem::general(&place, &what));
        }
    }
    if problems.is_empty() { Ok(lines) } else { Err(problems) }
}

/// The change of members that was under way when this server ended, if there was one.
fn read_seen(path: &Path, outside: &dyn Outside) -> Result<Option<Membership>, Problem> {
    let shown = path.display().to_string();
    let text = match outside.read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Problem::unreadable(&shown, &error)),
    };
    let seen = Membership::parse(&text).map_err(|error| Problem::general(&shown, &error.to_string()))?;
    // Members that can elect nobody would keep this server from every election.
    if seen.can_elect() {
        Ok(Some(seen))
    } else {
        Err(Problem::general(
            &shown,
            "it names no participants that could elect a leader: put back what was in it",
        ))
    }
}

/// The version at the end of a dynamic file's name, in hexadecimal: `zoo.cfg.dynamic.100000002`.
fn version_of(file: &str) -> Option<i64> {
    let (_, end) = file.rsplit_once('.')?;
    i64::from_str_radix(end, 16).ok()
}

/// Reads the lines as ZooKeeper's own form of a membership.
///
/// # Errors
/// Every line that is wrong by itself; or, if none is, what they make wrong together.
fn parse(file: &str, lines: &[MemberLine], version: Option<i64>) -> Result<Membership, Vec<Problem>> {
    let mut rest: Vec<&MemberLine> = lines.iter().collect();
    let mut problems = Vec::new();
    loop {
        let one = |line: &&MemberLine| format!("{}={}\n", escape(&line.name), escape(&line.value));
        let mut text: String = rest.iter().map(one).collect();
        if let Some(version) = version {
            text.push_str(&format!("version={version:x}\n"));
        }
        match Membership::parse(&text) {
            Ok(membership) if problems.is_empty() => return Ok(membership),
            // One line of text for each of `rest`, counted from 1, and a good one behind them.
            Err(MembershipError::Entry { line, problem, .. }) if (1..=rest.len()).contains(&line) => {
                let MemberLine { place, name, value } = rest.remove(line - 1);
                problems.push(Problem::refused(place, name, value, &problem.to_string()));
            }
            Err(together) if problems.is_empty() => {
                return Err(vec![Problem::general(file, &together.to_string())]);
            }
            // Without the lines that are wrong, the others need not make sense.
            Ok(_) | Err(_) => return Err(problems),
        }
    }
}

/// A name or a value as a properties file has it, on one line.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\\' | '=' | ':' | '#' | '!' => escaped.extend(['\\', c]),
            _ if c.is_whitespace() => escaped.extend(['\\', c]),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// The number in a `myid` file.
///
/// # Errors
/// What is wrong, as a sentence; `Ok(None)`: there is no such file.
pub(crate) fn read_my_id(path: &Path, outside: &dyn Outside) -> Result<Option<i64>, String> {
    let text = match outside.read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot_be_read(&error)),
    };
    let line = text.lines().next().unwrap_or_default();
    line.parse().map(Some).map_err(|_| format!("serverid {line} is not a number"))
}
