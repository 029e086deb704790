//! An ensemble on one machine, to try things with: several servers on loopback, each a process of its own.
//!
//! The servers are this very program, started with configurations made up for them. They are in a process group of
//! their own, so that Ctrl-C reaches only the process that looks after them, which then stops them in order. One that
//! ends is not started again: what an ensemble does without it is what one wants to see.
//!
//! Each has a pipe for its standard input, to which nothing is ever written: when this process is gone, however it ended,
//! the operating system closes the pipe, and the servers stop.

mod last_words;
mod layout;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

pub use self::layout::{Layout, LayoutError, SERVERS_MAX};

/// How often to look whether a server has ended.
const LOOK: Duration = Duration::from_millis(50);

/// Tells a server to stop when its standard input ends.
pub const UNTIL_STDIN_ENDS: &str = "--until-stdin-ends";

/// Why the servers could not be started.
#[derive(Debug)]
pub enum LaunchError {
    /// Their files cannot be made.
    Layout(LayoutError),
    /// This server's process cannot be started.
    Start(u16, io::Error),
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout(error) => error.fmt(f),
            Self::Start(server, error) => write!(f, "server {server} cannot be started: {error}"),
        }
    }
}

impl std::error::Error for LaunchError {}

/// Servers that run.
#[derive(Debug)]
pub struct LocalEnsemble {
    layout: Layout,
    servers: Vec<Process>,
    /// Keeps other ensembles out of the directory.
    _lock: File,
}

/// One of them.
#[derive(Debug)]
struct Process {
    number: u16,
    child: Child,
    ended: Option<ExitStatus>,
    /// Tells the server that this process is there. Waiting for the child would close its own one.
    _alive: Option<ChildStdin>,
    /// Where its log of this time begins.
    log_begin: u64,
}

/// A server that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub server: u16,
    /// How.
    pub status: ExitStatus,
    /// Where it says why.
    pub log: PathBuf,
    /// The last of what it said of troubles there.
    pub last_words: Vec<String>,
}

impl LocalEnsemble {
    /// Writes the configurations and starts a server with each: `program server <options> <zoo.cfg>`.
    ///
    /// # Errors
    /// If a file cannot be made or a process not be started; those that were started are stopped again.
    pub fn launch(layout: Layout, program: &Path, options: &[String]) -> Result<Self, LaunchError> {
        // Before anything is written: the files may be those of servers that run.
        let lock = layout.lock().map_err(LaunchError::Layout)?;
        layout.write().map_err(LaunchError::Layout)?;
        let numbers = layout.servers();
        // From here on, dropping it stops what was started.
        let mut ensemble = Self { layout, servers: Vec::new(), _lock: lock };
        for number in numbers {
            let process =
                ensemble.start(number, program, options).map_err(|e| LaunchError::Start(number, e))?;
            ensemble.servers.push(process);
        }
        Ok(ensemble)
    }

    fn start(&self, number: u16, program: &Path, options: &[String]) -> io::Result<Process> {
        let log = File::options().create(true).append(true).open(self.layout.log(number))?;
        let log_begin = log.metadata()?.len();
        let mut child = Command::new(program)
            .args(["server", UNTIL_STDIN_ENDS])
            .args(options)
            .arg(self.layout.configuration(number))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        let alive = child.stdin.take();
        Ok(Process { number, child, ended: None, _alive: alive, log_begin })
    }

    /// What the operator wants to know, in lines.
    pub fn describe(&self) -> String {
        let mut text = format!(
            "{} servers on 127.0.0.1, with everything in {}\n\n  connect   zkCli.sh -server {}\n",
            self.servers.len(),
            self.layout.dir().display(),
            self.layout.connect_string()
        );
        for Process { number, child, .. } in &self.servers {
            let (pid, port, log) = (child.id(), self.layout.client_port(*number), self.layout.log(*number));
            text.push_str(&format!(
                "  server {number:<3}process {pid}, clients on {port}, log in {}\n",
                log.display()
            ));
        }
        text
    }

    /// Whether any server runs.
    pub fn runs(&self) -> bool {
        self.servers.iter().any(|server| server.ended.is_none())
    }

    /// Asks those that run to stop in order. Asked twice, a server stops at once.
    pub fn stop(&self) {
        for server in self.servers.iter().filter(|server| server.ended.is_none()) {
            // It has not been waited for, so its number is not another process's yet.
            if let Some(pid) = i32::try_from(server.child.id()).ok().and_then(Pid::from_raw) {
                // It fails if the server has just ended by itself.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
    }

    /// Waits until one more server ends; `None` if none runs.
    ///
    /// # Errors
    /// If the operating system does not say.
    pub async fn next_end(&mut self) -> io::Result<Option<Ended>> {
        loop {
            if !self.runs() {
                return Ok(None);
            }
            for server in self.servers.iter_mut().filter(|server| server.ended.is_none()) {
                if let Some(status) = server.child.try_wait()? {
                    server.ended = Some(status);
                    let log = self.layout.log(server.number);
                    // The server has ended, whether or not its log can be read.
                    let last_words = last_words::of(&log, server.log_begin).unwrap_or_default();
                    return Ok(Some(Ended { server: server.number, status, log, last_words }));
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for LocalEnsemble {
    fn drop(&mut self) {
        self.stop();
        for server in &mut self.servers {
            if server.ended.is_none() {
                let _ = server.child.wait();
            }
        }
    }
}
