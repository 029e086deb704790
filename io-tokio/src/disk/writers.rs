//! Finds another process that writes to a server's files.
//!
//! Zabra servers keep each other out by a lock; a ZooKeeper server takes none, and one that was forgotten, on whatever
//! port, would go on writing to files that recovery is about to cut. Linux tells who has which file open; of processes
//! of other users only to root. What cannot be seen is not held against anybody.

use std::fs;
use std::path::{Path, PathBuf};

/// Access modes of open files are in these bits; reading alone has none of them.
const WRITES: u32 = 0o3;

/// A process that has a file open for writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// Its number.
    pub process: u32,
    /// What it is called, such as `java`.
    pub name: String,
    /// The file.
    pub file: PathBuf,
}

/// Another process that has some file in `folder` open for writing. Who only reads, such as a backup, may go on.
pub(super) fn other_writer(folder: &Path) -> Option<Writer> {
    let folder = fs::canonicalize(folder).ok()?;
    let numbers = entries(Path::new("/proc")).filter_map(|path| path.file_name()?.to_str()?.parse().ok());
    let others = numbers.filter(|number: &u32| *number != std::process::id());
    others.into_iter().find_map(|process| writer(process, &folder))
}

fn writer(process: u32, folder: &Path) -> Option<Writer> {
    let place = PathBuf::from(format!("/proc/{process}"));
    let file = entries(&place.join("fd")).find_map(|descriptor| {
        let file = fs::read_link(&descriptor).ok().filter(|file| file.parent() == Some(folder))?;
        let info = place.join("fdinfo").join(descriptor.file_name()?);
        writes(&fs::read_to_string(info).ok()?).then_some(file)
    })?;
    let name = fs::read_to_string(place.join("comm")).unwrap_or_default();
    Some(Writer { process, name: name.trim().to_owned(), file })
}

/// Whether this description of an open file says that it was opened for writing.
fn writes(info: &str) -> bool {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & WRITES != 0)
}

/// What is in a folder, as far as it can be read.
fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    /// Opens a file of the folder in another process, as the shell's redirection says, and looks who writes.
    fn found(redirection: &str) -> Option<Writer> {
        let root = tempfile::tempdir().expect("a place for tests");
        fs::write(root.path().join("log.1"), "x").expect("written");
        let script = format!("exec 7{redirection} log.1; echo open; read -r line");
        let mut other = Command::new("sh")
            .args(["-c", &script])
            .current_dir(root.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut said = String::new();
        BufReader::new(other.stdout.take().expect("piped")).read_line(&mut said).expect("it says so");
        assert_eq!(said, "open\n");
        let found = other_writer(root.path());
        drop(other.stdin.take());
        other.wait().expect("it ends");
        assert_eq!(other_writer(root.path()), None, "it is gone");
        if let Some(writer) = &found {
            assert_eq!((writer.process, writer.name.as_str()), (other.id(), "sh"));
            assert_eq!(writer.file, fs::canonicalize(root.path()).expect("there").join("log.1"));
        }
        found
    }

    #[test]
    fn who_has_a_file_open_for_writing_is_found() {
        for redirection in [">", ">>", "<>"] {
            assert!(found(redirection).is_some(), "{redirection}");
        }
    }

    #[test]
    fn who_reads_may_go_on() {
        assert_eq!(found("<"), None);
    }
}
