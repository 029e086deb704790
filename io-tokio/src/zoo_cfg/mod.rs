//! `zoo.cfg`, Java system properties and ZooKeeper's command line, turned into [`Settings`].
//!
//! Keys, defaults and their quirks are ZooKeeper 3.9's, so that a file that works there works here. Three things
//! are better: a wrong value is an error that says where it stands and what was expected; an unknown key is named,
//! with the known one it resembles; and a key that does nothing here says so. What is in no way acted on, but
//! would be missed, such as TLS, is an error too.
//!
//! A property may be given with or without `zookeeper.` in front, in the file or as `-Dname=value`. The file wins,
//! as it does with ZooKeeper.

mod draft;
mod ensemble;
mod error;
pub mod fuzz;
mod keep;
mod keys;
mod nearest;
mod outside;
mod properties;
mod reference;
mod value;

use std::collections::HashMap;
use std::path::Path;

use self::draft::Draft;
use self::ensemble::MemberLine;
pub use self::error::{ConfigError, Problem};
pub(crate) use self::keep::{keep, keep_seen};
use self::keys::{Effect, Key};
use self::outside::{Outside, ThisMachine};
pub use self::reference::reference;
use self::value::Value;
use crate::environment;
use crate::settings::{CLIENT_PORT, Settings};

/// ZooKeeper's other command line.
const PORT_AND_DIRECTORY: &str = "<port> <dataDir> [tickTime] [maxClientCnxns]";

/// Settings, and what the operator should know about them.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What to start a server with.
    pub settings: Settings,
    /// One sentence each.
    pub warnings: Vec<String>,
}

/// One `key=value` and where it comes from.
struct Assignment {
    place: String,
    name: String,
    value: String,
}

/// Reads a `zoo.cfg`. `properties` are those of the command line, as pairs.
///
/// # Errors
/// Everything that is wrong with the file or the properties.
pub fn from_file(path: &Path, properties: &[(String, String)]) -> Result<Loaded, ConfigError> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| {
        let problem = match shown.parse::<u16>() {
            // ZooKeeper's own command line begins so.
            Ok(port) => Problem::general(
                &shown,
                &format!("{error}: expected the path of a zoo.cfg, {PORT_AND_DIRECTORY}, or -DclientPort={port} alone"),
            ),
            Err(_) => Problem::unreadable(&shown, &error),
        };
        ConfigError::one(problem)
    })?;
    let mut loaded = from_bytes(&shown, &bytes, properties)?;
    loaded.settings.config_file = Some(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    Ok(loaded)
}

/// Likewise, from the file's content; `file` is its name in messages.
///
/// # Errors
/// As [`from_file`].
pub fn from_bytes(file: &str, bytes: &[u8], properties: &[(String, String)]) -> Result<Loaded, ConfigError> {
    let (draft, assignments) = read(file, bytes, properties)?;
    Ok(described(load(draft, file, assignments, &ThisMachine)?))
}

/// What a file and properties assign, and a draft that says so far what is wrong with the file as such.
fn read(
    file: &str,
    bytes: &[u8],
    properties: &[(String, String)],
) -> Result<(Draft, Vec<Assignment>), ConfigError> {
    let entries = properties::parse(bytes)
        .map_err(|malformed| ConfigError::one(Problem::malformed(&format!("{file}:{}", malformed.line))))?;
    let mut assignments = from_command_line(properties);
    assignments.extend(entries.into_iter().map(|entry| Assignment {
        place: format!("{file}:{}", entry.line),
        name: entry.key,
        value: entry.value,
    }));
    let mut draft = Draft::new();
    if !bytes.is_ascii() {
        draft.warn(format!(
            "{file}: bytes that are not ASCII are read as ISO-8859-1, as Java does; write \\uXXXX instead"
        ));
    }
    Ok((draft, assignments))
}

/// ZooKeeper's other command line: `<port> <dataDir> [tickTime] [maxClientCnxns]`.
///
/// # Errors
/// Everything that is wrong with the arguments or the properties.
pub fn from_arguments(arguments: &[String], properties: &[(String, String)]) -> Result<Loaded, ConfigError> {
    const NAMES: [&str; 4] = ["clientPort", "dataDir", "tickTime", "maxClientCnxns"];
    let place = "command line";
    if !(2..=NAMES.len()).contains(&arguments.len()) {
        return Err(ConfigError::one(Problem::general(
            place,
            &format!("expected the path of a zoo.cfg, or {PORT_AND_DIRECTORY}"),
        )));
    }
    let mut draft = Draft::new();
    // Without a file, ZooKeeper knows no limit.
    draft.settings.core.max_client_cnxns = 0;
    let mut assignments = from_command_line(properties);
    assignments.extend(NAMES.iter().zip(arguments).map(|(name, value)| Assignment {
        place: place.into(),
        name: (*name).into(),
        value: value.clone(),
    }));
    Ok(described(load(draft, place, assignments, &ThisMachine)?))
}

/// A server without any configuration: the usual port on all addresses, data in `data_dir`.
///
/// # Errors
/// Everything that is wrong with the properties.
pub fn defaults(data_dir: &Path, properties: &[(String, String)]) -> Result<Loaded, ConfigError> {
    let mut draft = Draft::new();
    draft.data_dir = Some(data_dir.to_path_buf());
    draft.client_port = Some(CLIENT_PORT);
    Ok(described(load(draft, "command line", from_command_line(properties), &ThisMachine)?))
}

fn from_command_line(properties: &[(String, String)]) -> Vec<Assignment> {
    let assignment = |(name, value): &(String, String)| Assignment {
        place: format!("-D{name}"),
        name: name.clone(),
        value: value.clone(),
    };
    properties.iter().map(assignment).collect()
}

/// Carries out the assignments, the last one of each key, in their order.
fn load(
    mut draft: Draft,
    whole: &str,
    assignments: Vec<Assignment>,
    outside: &dyn Outside,
) -> Result<Loaded, ConfigError> {
    let mut problems = Vec::new();
    let mut known: Vec<(&'static Key, Assignment)> = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for assignment in assignments {
        let Some(key) = keys::find(&assignment.name) else {
            draft.warn(unknown(&assignment));
            continue;
        };
        let name = assignment.name.strip_prefix("zookeeper.").unwrap_or(&assignment.name).to_owned();
        match seen.get(&name) {
            Some(&index) => {
                let (_, earlier) = &known[index];
                draft.warn(format!(
                    "{}: {name} is set at {} already; this value, {:?}, counts",
                    assignment.place, earlier.place, assignment.value
                ));
                known[index] = (key, assignment);
            }
            None => {
                seen.insert(name, known.len());
                known.push((key, assignment));
            }
        }
    }
    for (key, assignment) in &known {
        if matches!(key.name, "minSessionTimeout" | "maxSessionTimeout") {
            draft.session_timeouts_place = Some(assignment.place.clone());
        }
        if let Err(problem) = apply(&mut draft, key, assignment) {
            problems.push(problem);
        }
    }
    if !problems.is_empty() {
        return Err(ConfigError { problems });
    }
    let (settings, warnings) = draft.finish(whole, outside).map_err(|problems| ConfigError { problems })?;
    Ok(Loaded { settings, warnings })
}

/// With what is told of this process.
fn described(mut loaded: Loaded) -> Loaded {
    environment::describe(&mut loaded.settings);
    loaded
}

fn apply(draft: &mut Draft, key: &Key, assignment: &Assignment) -> Result<(), Problem> {
    let Assignment { place, name, value } = assignment;
    let Some(read) = key.kind.read(value) else {
        return Err(Problem::value(place, name, value, &key.kind.to_string()));
    };
    match (key.effect, read) {
        (Effect::Int(set), Value::Int(number)) => set(draft, number),
        (Effect::Flag(set), Value::Flag(on)) => set(draft, on),
        (Effect::Text(set), Value::Text(text)) => set(draft, text),
        (Effect::Member, Value::Text(text)) => draft.ensemble.lines.push(MemberLine {
            place: place.clone(),
            name: name.strip_prefix("zookeeper.").unwrap_or(name).to_owned(),
            value: text.to_owned(),
        }),
        (Effect::Quiet, _) => {}
        (
            Effect::Refused { harmless, .. }
            | Effect::IdleInEnsemble { harmless, .. }
            | Effect::IdleUnless { harmless, .. },
            _,
        ) if value.eq_ignore_ascii_case(harmless) => {}
        (Effect::IdleInEnsemble { why, .. }, _) => {
            draft.ensemble.warnings.push(format!("{place}: {name} has no effect: {why}"));
        }
        (Effect::Idle(why) | Effect::IdleUnless { why, .. }, _) => {
            draft.warn(format!("{place}: {name} has no effect: {why}"));
        }
        (Effect::Refused { why, .. }, _) => return Err(Problem::refused(place, name, value, why)),
        (Effect::Int(_) | Effect::Flag(_) | Effect::Text(_) | Effect::Member, _) => {
            unreachable!("{name}: the effect does not fit the kind; a test reads every row")
        }
    }
    Ok(())
}

fn unknown(assignment: &Assignment) -> String {
    let Assignment { place, name, .. } = assignment;
    let bare = name.strip_prefix("zookeeper.").unwrap_or(name);
    let names = keys::all().map(|key| key.name).filter(|name| !name.ends_with('*'));
    match nearest::nearest(bare, names) {
        Some(near) => format!("{place}: unknown key {name} is ignored; did you mean {near}?"),
        None => format!("{place}: unknown key {name} is ignored"),
    }
}

#[cfg(test)]
mod ensemble_tests;
#[cfg(test)]
mod tests;
