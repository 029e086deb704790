//! Where the servers of a local ensemble listen and keep their files, and the configuration that says so.

use std::fmt;
use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// How far the quorum ports lie above the client ports: server 1 has 2888 when it serves clients on 2181, as usual.
const QUORUM_OFFSET: u16 = 2888 - 2181;

/// How far the election ports lie above the client ports: 3888, as usual.
const ELECTION_OFFSET: u16 = 3888 - 2181;

/// The most servers that one ensemble may have here; what is tried with more is not an ensemble's behaviour.
pub const SERVERS_MAX: u16 = 25;

/// The file that is locked for as long as the ensemble runs.
const LOCK_FILE: &str = "zabra-ensemble.lock";

/// The plan of a local ensemble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    servers: u16,
    base_port: u16,
    dir: PathBuf,
}

/// Why there can be no such ensemble.
#[derive(Debug)]
pub enum LayoutError {
    /// None, or more than make sense.
    Servers(u16),
    /// Some server's port would be none.
    Ports {
        /// The port of the first server's clients.
        base: u16,
        /// The largest that works.
        max: u16,
    },
    /// The directory's name cannot be written into a configuration.
    Name(PathBuf),
    /// The directory holds an ensemble of another size.
    OtherSize {
        /// Which.
        dir: PathBuf,
        /// What was asked for.
        asked: u16,
        /// How many servers are there.
        found: u16,
    },
    /// Another process runs an ensemble in the directory.
    InUse(PathBuf),
    /// A file or directory cannot be made or read.
    File(PathBuf, io::Error),
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Servers(count) => {
                write!(f, "{count} servers: expected a number from 1 to {SERVERS_MAX}, usually 3 or 5")
            }
            Self::Ports { base, max } => write!(
                f,
                "--base-port {base}: expected a port from 1 to {max}, because the servers' other ports lie above it"
            ),
            Self::Name(path) => {
                write!(f, "--dir {}: expected a name without control characters, in UTF-8", path.display())
            }
            Self::OtherSize { dir, asked, found } => write!(
                f,
                "{} holds an ensemble of {found}, not {asked}: start {found} servers, \
                 or name another directory with --dir",
                dir.display()
            ),
            Self::InUse(dir) => write!(
                f,
                "{} is in use: another `zabra ensemble` runs its servers there (it holds the lock on {LOCK_FILE})\n\
                 end that one with Ctrl-C, or start this one with --dir DIR and --base-port PORT of its own",
                dir.display()
            ),
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for LayoutError {}

impl Layout {
    /// An ensemble of so many servers with everything in `dir`; the first serves clients on `base_port`, the next on
    /// the port behind, and so on.
    ///
    /// # Errors
    /// If there can be none; nothing is written yet.
    pub fn new(servers: u16, base_port: u16, dir: &Path) -> Result<Self, LayoutError> {
        if !(1..=SERVERS_MAX).contains(&servers) {
            return Err(LayoutError::Servers(servers));
        }
        let max = u16::MAX - ELECTION_OFFSET - (servers - 1);
        if !(1..=max).contains(&base_port) {
            return Err(LayoutError::Ports { base: base_port, max });
        }
        // The servers may be started again from elsewhere, by their configuration alone.
        let dir = std::path::absolute(dir).map_err(|error| LayoutError::File(dir.into(), error))?;
        if dir.to_str().is_none_or(|name| name.contains(char::is_control)) {
            return Err(LayoutError::Name(dir));
        }
        Ok(Self { servers, base_port, dir: dir.components().collect() })
    }

    /// The numbers of the servers.
    pub fn servers(&self) -> impl Iterator<Item = u16> + use<> {
        1..=self.servers
    }

    /// Where everything is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where clients of a server connect.
    pub fn client_port(&self, server: u16) -> u16 {
        self.base_port + (server - 1)
    }

    /// What clients are given to connect to all of them.
    pub fn connect_string(&self) -> String {
        let one = |server| format!("127.0.0.1:{}", self.client_port(server));
        self.servers().map(one).collect::<Vec<_>>().join(",")
    }

    /// The configuration file of a server.
    pub fn configuration(&self, server: u16) -> PathBuf {
        self.folder(server).join("zoo.cfg")
    }

    /// Where a server's log goes.
    pub fn log(&self, server: u16) -> PathBuf {
        self.folder(server).join("zabra.log")
    }

    fn folder(&self, server: u16) -> PathBuf {
        self.dir.join(server.to_string())
    }

    /// Makes the directory and keeps every other ensemble out of it, for as long as what is returned lives: the operating
    /// system releases it with the process, however that ends.
    ///
    /// # Errors
    /// If another ensemble runs there, or the operating system refuses.
    pub fn lock(&self) -> Result<File, LayoutError> {
        fs::create_dir_all(&self.dir).map_err(|error| LayoutError::File(self.dir.clone(), error))?;
        let path = self.dir.join(LOCK_FILE);
        let failed = |error| LayoutError::File(path.clone(), error);
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(LayoutError::InUse(self.dir.clone())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Writes every server's `zoo.cfg` and `myid`. Data of an earlier run stays, if it had as many servers.
    ///
    /// # Errors
    /// If the directory holds an ensemble of another size, or the operating system refuses something.
    pub fn write(&self) -> Result<(), LayoutError> {
        self.check_size()?;
        for server in self.servers() {
            let folder = self.folder(server);
            fs::create_dir_all(&folder).map_err(|error| LayoutError::File(folder.clone(), error))?;
            write(&folder.join("myid"), &format!("{server}\n"))?;
            write(&self.configuration(server), &self.text(server))?;
        }
        Ok(())
    }

    /// With another number of voters, servers that remember the old one could elect two leaders.
    fn check_size(&self) -> Result<(), LayoutError> {
        let failed = |error| LayoutError::File(self.dir.clone(), error);
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let mut found = 0;
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let number: Option<u16> = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if number.is_some() && entry.path().join("myid").exists() {
                found += 1;
            }
        }
        if found == 0 || found == self.servers {
            return Ok(());
        }
        Err(LayoutError::OtherSize { dir: self.dir.clone(), asked: self.servers, found })
    }

    /// A server's `zoo.cfg`.
    fn text(&self, server: u16) -> String {
        let data = escape(&self.folder(server).to_string_lossy());
        let mut text = format!(
            "# Written by `zabra ensemble`, and anew each time it starts.\n\
             tickTime=2000\n\
             initLimit=10\n\
             syncLimit=5\n\
             dataDir={data}\n\
             clientPort={}\n\
             clientPortAddress=127.0.0.1\n\
             standaloneEnabled=false\n",
            self.client_port(server)
        );
        for member in self.servers() {
            let port = self.client_port(member);
            let (quorum, election) = (port + QUORUM_OFFSET, port + ELECTION_OFFSET);
            let _ = writeln!(text, "server.{member}=127.0.0.1:{quorum}:{election}");
        }
        text
    }
}

fn write(path: &Path, text: &str) -> Result<(), LayoutError> {
    fs::write(path, text).map_err(|error| LayoutError::File(path.into(), error))
}

/// A value as a properties file has it: backslashes doubled, and what is not ASCII by its UTF-16 units.
fn escape(value: &str) -> String {
    let mut escaped = String::new();
    for c in value.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            _ if c.is_ascii() => escaped.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo_cfg;

    fn layout(servers: u16, base_port: u16, dir: &Path) -> Result<Layout, String> {
        Layout::new(servers, base_port, dir).map_err(|error| error.to_string())
    }

    #[test]
    fn the_configuration_is_one_that_the_server_reads() {
        let dir = tempfile::tempdir().unwrap();
        // A name that needs every kind of escape.
        let odd = dir.path().join("a b\\c=d:e é\u{1f993}");
        let layout = layout(3, 2181, &odd).unwrap();
        layout.write().unwrap();
        assert_eq!(layout.connect_string(), "127.0.0.1:2181,127.0.0.1:2182,127.0.0.1:2183");
        for server in layout.servers() {
            let loaded = zoo_cfg::from_file(&layout.configuration(server), &[]).unwrap();
            assert_eq!(loaded.warnings, [""; 0]);
            let settings = loaded.settings;
            assert_eq!(settings.client_addr.to_string(), format!("127.0.0.1:{}", 2180 + server));
            assert_eq!(settings.data_dir, odd.join(server.to_string()));
            assert_eq!(settings.core.server_id, i64::from(server));
            let members = settings.core.ensemble.unwrap().membership;
            let ports: Vec<_> =
                members.members().values().map(|m| (m.quorum[0].port, m.election[0].port)).collect();
            assert_eq!(ports, [(2888, 3888), (2889, 3889), (2890, 3890)]);
        }
    }

    #[test]
    fn no_port_comes_twice() {
        let layout = layout(SERVERS_MAX, 2181, Path::new("x")).unwrap();
        let mut ports: Vec<u16> = layout
            .servers()
            .map(|server| layout.client_port(server))
            .flat_map(|port| [port, port + QUORUM_OFFSET, port + ELECTION_OFFSET])
            .collect();
        ports.sort_unstable();
        let count = ports.len();
        ports.dedup();
        assert_eq!(ports.len(), count);
    }

    #[test]
    fn wrong_sizes_and_ports_are_refused() {
        let dir = Path::new("x");
        assert_eq!(
            layout(0, 2181, dir).unwrap_err(),
            "0 servers: expected a number from 1 to 25, usually 3 or 5"
        );
        assert!(layout(26, 2181, dir).is_err());
        let expected = "--base-port 63827: expected a port from 1 to 63826, because the servers' other ports lie above it";
        assert_eq!(layout(3, 63_827, dir).unwrap_err(), expected);
        assert!(layout(3, 63_826, dir).is_ok());
        assert!(layout(3, 0, dir).is_err());
        assert!(layout(3, 2181, Path::new("line\nbreak")).is_err());
    }

    #[test]
    fn a_directory_of_another_size_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        layout(3, 2181, dir.path()).unwrap().write().unwrap();
        fs::write(dir.path().join("2/data"), "kept").unwrap();
        layout(3, 3181, dir.path()).unwrap().write().unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("2/data")).unwrap(), "kept");
        let error = layout(5, 2181, dir.path()).unwrap().write().unwrap_err().to_string();
        let expected = format!(
            "{} holds an ensemble of 3, not 5: start 3 servers, or name another directory with --dir",
            dir.path().display()
        );
        assert_eq!(error, expected);
        assert!(!dir.path().join("4").exists());
    }
}
