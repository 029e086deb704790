//! What the fuzz target `zoo_cfg` does with its bytes: they are a `zoo.cfg`, and whatever that refers to.
//!
//! It takes any bytes at all and panics if something is wrong. It is here, not there, so that ordinary builds compile
//! it and an ordinary test runs it over the corpus that the repository keeps.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use zabra_core::types::Membership;

use super::keep::{edit, goes};
use super::outside::Outside;
use super::{Loaded, load, properties, read};

/// The list of members that a kept configuration names.
const LIST: &str = "/zk/zoo.cfg.dynamic.1";

/// Files and hosts as the rest of the input has them.
#[derive(Clone, Copy, Debug)]
struct Drawn<'a> {
    /// Every file but `myid`.
    file: &'a [u8],
}

impl Outside for Drawn<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path.ends_with("myid") {
            return Ok(b"1\n".to_vec());
        }
        if self.file.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(self.file.to_vec()) }
    }

    fn look_up(&self, host: &str) -> Result<IpAddr, String> {
        if host.starts_with('x') { Err("nobody knows it".into()) } else { Ok(Ipv4Addr::LOCALHOST.into()) }
    }
}

/// Reads the bytes up to the first 0 as a `zoo.cfg`, which may refer to what is behind it, keeps another list of
/// members in it, and writes every entry in another way.
///
/// # Panics
/// If what is read cannot be a configuration, or something is read in another way afterwards.
pub fn zoo_cfg(bytes: &[u8]) {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let (file, rest) = bytes.split_at(end);
    let outside = Drawn { file: rest.get(1..).unwrap_or_default() };
    let loaded = read("zoo.cfg", file, &[])
        .and_then(|(draft, assignments)| load(draft, "zoo.cfg", assignments, &outside));
    match loaded {
        Ok(loaded) => check(&loaded),
        Err(error) => {
            assert!(!error.problems.is_empty(), "refused for nothing");
            for problem in &error.problems {
                assert!(!problem.place.is_empty() && !problem.what.is_empty(), "{problem:?}");
            }
        }
    }
    let Ok(entries) = properties::parse(file) else { return };
    let pairs: Vec<(String, String)> = entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
    let rewritten: String =
        pairs.iter().map(|(key, value)| format!("{}={}\n", escaped(key), escaped(value))).collect();
    assert_eq!(read_pairs(rewritten.as_bytes()), pairs);
    for own_client in [false, true] {
        let edited = edit(file, Path::new(LIST), own_client).expect("it can be parsed").bytes;
        let mut expected = pairs.clone();
        expected.retain(|(key, _)| !goes(key, own_client));
        expected.push(("dynamicConfigFile".into(), LIST.into()));
        assert_eq!(read_pairs(&edited), expected);
    }
}

/// A configuration that was taken can be served under.
fn check(loaded: &Loaded) {
    let core = &loaded.settings.core;
    assert_eq!(core.check(), Ok(()));
    for directory in [&loaded.settings.data_dir, &loaded.settings.data_log_dir] {
        assert!(!directory.as_os_str().is_empty(), "data has no place");
    }
    if let Some(ensemble) = &core.ensemble {
        assert!(ensemble.init_limit > 0 && ensemble.sync_limit > 0);
        assert!(ensemble.notification_interval_min <= ensemble.notification_interval_max);
        let membership = &ensemble.membership;
        assert!(membership.voters().count() > 0);
        assert_eq!(Membership::parse(&membership.text()).as_ref(), Ok(membership));
    }
}

fn read_pairs(bytes: &[u8]) -> Vec<(String, String)> {
    let entries = properties::parse(bytes).expect("it was just made of what was read");
    entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
}

/// As a properties file may have any text: by numbers.
fn escaped(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every file of the corpus that the repository keeps.
    fn corpus_files() -> Vec<Vec<u8>> {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/zoo_cfg");
        let files = std::fs::read_dir(corpus).expect("there is a corpus");
        let read = |entry: io::Result<std::fs::DirEntry>| {
            std::fs::read(entry.expect("it can be listed").path()).expect("it can be read")
        };
        files.map(read).collect()
    }

    #[test]
    fn corpus() {
        let files = corpus_files();
        assert!(!files.is_empty(), "the corpus is empty");
        files.iter().for_each(|file| zoo_cfg(file));
    }

    /// The corpus with some bytes put in, taken out, replaced or repeated, by a generator that is as good as any.
    #[test]
    fn drawn() {
        const PIECES: [&[u8]; 14] = [
            b"\\",
            b"\n",
            b"\r",
            b"\r\n",
            b"=",
            b":",
            b"#",
            b" ",
            b"\\u00e9",
            b"\0",
            b"\xe9",
            b"server.4=d:1:2\n",
            b"group.1=1:2\n",
            b"clientPort",
        ];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |end: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).expect("31 bits fit") % end
        };
        let files = corpus_files();
        for _ in 0..1_000 {
            let mut bytes = files[below(files.len())].clone();
            for _ in 0..=below(6) {
                let at = below(bytes.len() + 1);
                let end = at + below(bytes.len() - at + 1).min(below(40));
                match below(4) {
                    0 => drop(bytes.splice(at..at, PIECES[below(PIECES.len())].iter().copied())),
                    1 => drop(bytes.drain(at..end)),
                    2 => bytes.extend_from_within(at..end),
                    _ if at < bytes.len() => bytes[at] = u8::try_from(below(256)).expect("it is below"),
                    _ => {}
                }
            }
            zoo_cfg(&bytes);
        }
    }
}
