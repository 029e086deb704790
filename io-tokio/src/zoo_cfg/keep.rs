//! Keeps a configuration of the ensemble for the next start, beside the `zoo.cfg` (PARITY `reconf.dynfile`).
//!
//! The members go to `zoo.cfg.dynamic.<version>`, in hexadecimal, and `zoo.cfg` is made to name that file in place of
//! what it said itself of members. What else it says stays as it is, comments included; ZooKeeper keeps none of those.
//! The file as an operator wrote it, with the members in it, is kept as `zoo.cfg.bak`.
//!
//! What was proposed and is not in force yet is in `zoo.cfg.dynamic.next`, with its version.
//!
//! Each file is replaced at once, the list before the file that names it: a crash in between leaves what there was.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use zabra_core::types::{Membership, ServerId};

use super::properties;

/// Writes both files.
///
/// # Errors
/// If a file cannot be read or written, or the `zoo.cfg` is none any more.
pub(crate) fn keep(config: &Path, membership: &Membership, server: ServerId) -> io::Result<()> {
    let bytes = fs::read(config)?;
    let list = beside(config, &format!(".dynamic.{:x}", membership.version()));
    replace(&list, members(membership).as_bytes())?;
    let own_client = membership.member(server).is_some_and(|member| member.client.is_some());
    let edited = edit(&bytes, &list, own_client)?;
    if !edited.had_list {
        replace(&beside(config, ".bak"), &bytes)?;
    }
    replace(config, &edited.bytes)
}

/// Writes the file of what was proposed, or removes it.
///
/// # Errors
/// If that cannot be done.
pub(crate) fn keep_seen(config: &Path, membership: Option<&Membership>) -> io::Result<()> {
    let next = next_file(config);
    match membership {
        Some(membership) => replace(&next, lines(&membership.text(), |_| true).as_bytes()),
        None => match fs::remove_file(&next) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done.and_then(|()| sync_directory(&next)),
        },
    }
}

/// Where what was proposed is kept.
pub(super) fn next_file(config: &Path) -> PathBuf {
    beside(config, ".dynamic.next")
}

/// The members as a dynamic file has them: sorted lines, and no version, which is in its name.
fn members(membership: &Membership) -> String {
    lines(&membership.text(), |line| !line.starts_with("version="))
}

fn lines(text: &str, stays: impl Fn(&str) -> bool) -> String {
    let mut lines: Vec<&str> = text.lines().filter(|line| stays(line)).collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// What [`edit`] made of a file.
pub(super) struct Edited {
    pub(super) bytes: Vec<u8>,
    /// Whether it named a dynamic file before.
    had_list: bool,
}

/// Whether an entry is in the list now, or says where that is.
pub(super) fn goes(key: &str, own_client: bool) -> bool {
    let of_members = ["server.", "group", "weight", "peerType"].iter().any(|start| key.starts_with(start));
    // `clientPortListenBacklog` begins like the client port, and ZooKeeper takes it out; that can only be a mistake.
    let of_client = own_client && key.starts_with("clientPort") && key != "clientPortListenBacklog";
    of_members || of_client || names_list(key)
}

fn names_list(key: &str) -> bool {
    key.starts_with("dynamicConfigFile")
}

/// Takes out what the list says now, and names the list.
pub(super) fn edit(bytes: &[u8], list: &Path, own_client: bool) -> io::Result<Edited> {
    let malformed = |_| io::Error::new(io::ErrorKind::InvalidData, "a \\u without four hexadecimal digits");
    let entries = properties::parse(bytes).map_err(malformed)?;
    let had_list = entries.iter().any(|entry| names_list(&entry.key));
    let mut out = Vec::with_capacity(bytes.len() + 100);
    let mut at = 0;
    for entry in entries.iter().filter(|entry| goes(&entry.key, own_client)) {
        out.extend_from_slice(&bytes[at..entry.span.start]);
        at = entry.span.end;
    }
    out.extend_from_slice(&bytes[at..]);
    if out.last().is_some_and(|&byte| byte != b'\n') {
        out.push(b'\n');
    }
    // The last line may end with a backslash that nothing followed: what comes now must not.
    if properties::is_open(&out) {
        out.push(b'\n');
    }
    let name =
        list.to_str().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidFilename, "it is not UTF-8"))?;
    writeln!(out, "dynamicConfigFile={}", escape(name))?;
    Ok(Edited { bytes: out, had_list })
}

/// A path as a value of a properties file.
fn escape(path: &str) -> String {
    let mut escaped = String::new();
    for unit in path.encode_utf16() {
        match char::from_u32(unit.into()).filter(|c| c.is_ascii_graphic() || *c == ' ') {
            Some('\\') => escaped.push_str("\\\\"),
            Some(c) => escaped.push(c),
            None => escaped.push_str(&format!("\\u{unit:04x}")),
        }
    }
    escaped
}

fn beside(config: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(config);
    name.push(end);
    PathBuf::from(name)
}

/// Puts the bytes where there was something else, or nothing: durably, and at once.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = beside(path, ".tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_directory(path)
}

/// Makes durable which files are where this one is, or was.
fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(directory) => File::open(directory)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo_cfg::from_file;

    const TWO: &str = "server.1=h1:1:2:participant;0.0.0.0:2181\nserver.2=h2:1:2:participant";

    fn write(directory: &Path, content: &str) -> PathBuf {
        fs::create_dir_all(directory.join("data")).expect("a directory");
        fs::write(directory.join("data/myid"), "1").expect("written");
        let config = directory.join("zoo.cfg");
        let data = directory.join("data");
        let whole = format!("dataDir={}\ninitLimit=10\nsyncLimit=5\n{content}", data.display());
        fs::write(&config, whole).expect("written");
        config
    }

    /// PARITY `reconf.dynfile`: the next start finds what was kept, and so does the one after the next change.
    #[test]
    fn reconf_dynfile_the_next_start_finds_what_was_kept() {
        let directory = tempfile::tempdir().expect("a place for tests");
        let first = "# ours\nclientPort=2181\nclientPortListenBacklog=7\nserver.1=h1:1:2\nserver.2=h2:\\\n  1:2\npeerType=observer\nreconfigEnabled=true\n";
        let config = write(directory.path(), first);
        let before = fs::read(&config).expect("it is there");
        let next = Membership::parse(TWO).expect("members").with_version(0x1_0000_0002);
        keep(&config, &next, ServerId(1)).expect("kept");
        assert_eq!(fs::read(beside(&config, ".bak")).expect("the file of before"), before);
        let dynamic = beside(&config, ".dynamic.100000002");
        assert_eq!(fs::read_to_string(&dynamic).expect("the list"), TWO);
        let text = fs::read_to_string(&config).expect("it is there");
        let data = directory.path().join("data");
        let kept = "# ours\nclientPortListenBacklog=7\nreconfigEnabled=true\n";
        let expected = format!(
            "dataDir={}\ninitLimit=10\nsyncLimit=5\n{kept}dynamicConfigFile={}\n",
            data.display(),
            dynamic.display()
        );
        assert_eq!(text, expected);
        let loaded = from_file(&config, &[]).expect("a good file");
        assert_eq!(loaded.settings.core.ensemble.expect("an ensemble").membership, next);
        assert_eq!(loaded.settings.client_addr.port(), 2181);
        let later = next.with_version(0x1_0000_0009);
        keep(&config, &later, ServerId(1)).expect("kept again");
        assert_eq!(fs::read(beside(&config, ".bak")).expect("still that of the operator"), before);
        let loaded = from_file(&config, &[]).expect("a good file");
        assert_eq!(loaded.settings.core.ensemble.expect("an ensemble").membership, later);
    }

    /// PARITY `reconf.dynfile`: what was seen is kept with its version, replaced, and removed.
    #[test]
    fn reconf_dynfile_what_was_seen_is_kept_until_it_is_in_force() {
        let directory = tempfile::tempdir().expect("a place for tests");
        let config = directory.path().join("zoo.cfg");
        let members = Membership::parse(TWO).expect("members");
        keep_seen(&config, None).expect("nothing to remove");
        for version in [0x1_0000_0002, 0x2_0000_000a] {
            let seen = members.clone().with_version(version);
            keep_seen(&config, Some(&seen)).expect("kept");
            let text = fs::read_to_string(next_file(&config)).expect("it is there");
            assert_eq!(text, format!("{TWO}\nversion={version:x}"));
            assert_eq!(Membership::parse(&text), Ok(seen));
        }
        keep_seen(&config, None).expect("removed");
        assert!(!next_file(&config).exists());
    }

    /// What stays says the same as before, however its lines end, and the list is named on a line of its own.
    #[test]
    fn reconf_dynfile_what_stays_says_what_it_said() {
        for (text, expected) in [
            ("a=1\rserver.1=h:1:2\rb=2", "a=1\rb=2\ndynamicConfigFile=/list\n"),
            ("a=1\\\n", "a=1\\\n\ndynamicConfigFile=/list\n"),
            ("a=1\\", "a=1\\\n\ndynamicConfigFile=/list\n"),
            ("server.1=h:1:2\\ \nb=2\n", "b=2\ndynamicConfigFile=/list\n"),
            ("group.1=1\\\n  :2\n# c\\\nb=2\n", "# c\\\nb=2\ndynamicConfigFile=/list\n"),
            ("", "dynamicConfigFile=/list\n"),
        ] {
            let edited = edit(text.as_bytes(), Path::new("/list"), false).expect("a good file");
            assert_eq!(String::from_utf8_lossy(&edited.bytes), expected, "{text:?}");
        }
    }

    #[test]
    fn a_path_is_escaped() {
        assert_eq!(escape("/a b/c\\d/\u{e9}"), "/a b/c\\\\d/\\u00e9");
    }
}
