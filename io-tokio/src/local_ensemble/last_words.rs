//! What a server that ended said last of troubles, found in its log.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// So much of the log's end is looked at.
const LOOKED_AT: u64 = 64 << 10;

/// The last so many lines are told.
const LINES_MAX: usize = 6;

/// The last lines of a log, from the byte `begin` on, that are no mere news.
///
/// # Errors
/// If the log cannot be read.
pub(super) fn of(log: &Path, begin: u64) -> io::Result<Vec<String>> {
    let mut file = File::open(log)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(begin.max(end.saturating_sub(LOOKED_AT))))?;
    let mut bytes = Vec::new();
    file.take(LOOKED_AT).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| is_of_trouble(line)).collect();
    let left_out = lines.len().saturating_sub(LINES_MAX);
    Ok(lines[left_out..].iter().map(|line| (*line).to_owned()).collect())
}

/// What the program says at its end begins with its name; a panic, with its thread; the log has a level behind the time.
fn is_of_trouble(line: &str) -> bool {
    let level = line.split_whitespace().nth(1);
    let panicked = line.starts_with("thread '") && line.contains("panicked at");
    line.starts_with("zabra: ") || panicked || matches!(level, Some("WARN" | "ERROR"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_of_this_time_are_found_the_last_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("zabra.log");
        let warning = "2026-01-01T00:00:00.000000Z  WARN io_tokio::events: leader lost";
        let before = format!("{warning}\nzabra: long ago\n");
        let now = format!(
            "{before}2026-01-01T00:00:00Z  INFO zabra: of no concern\n{warning}\nzabra: port 1 is taken\n"
        );
        std::fs::write(&log, &now).unwrap();
        let begin = u64::try_from(before.len()).unwrap();
        assert_eq!(of(&log, begin).unwrap(), [warning, "zabra: port 1 is taken"]);
        assert_eq!(of(&log, u64::try_from(now.len()).unwrap()).unwrap(), [""; 0]);
        let many: String = (0..10_000).map(|number| format!("zabra: line {number}\n")).collect();
        std::fs::write(&log, many).unwrap();
        let expected: Vec<String> = (9_994..10_000).map(|number| format!("zabra: line {number}")).collect();
        assert_eq!(of(&log, 0).unwrap(), expected);
        assert!(of(&dir.path().join("none"), 0).is_err());
    }
}
