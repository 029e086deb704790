//! The program `zabra`: arguments, configuration, run.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use io_tokio::local_ensemble::{Ended, LaunchError, Layout, LayoutError, LocalEnsemble};
use io_tokio::zoo_cfg::{self, ConfigError, Loaded};
use io_tokio::{CLIENT_PORT, Running, Server, Settings, StartError, allocator, environment};
use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{self, SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use zabra_core::server::HaltReason;

/// Where the data goes if nothing says otherwise.
const DATA_DIR: &str = "./zabra-data";

/// Likewise for a whole ensemble.
const ENSEMBLE_DIR: &str = "./zabra-ensemble";

const ABOUT_EXIT: &str = "\
Exit codes:
  0  stopped in order (SIGTERM, SIGINT)
  1  wrong configuration
  2  wrong command line
  3  the data directory cannot be used, or its data cannot be recovered
  4  a port cannot be listened on
  5  halted: the disk failed while running
  6  the operating system refused something else
  7  every server of a local ensemble ended by itself
  128 + n  stopped at once by a second signal n";

/// What a server ends with that cannot listen.
const EXIT_LISTEN: u8 = 4;

/// Coordination service; a drop-in replacement for Apache ZooKeeper.
#[derive(Debug, Parser)]
#[command(name = "zabra", version, after_help = ABOUT_EXIT)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a server: without arguments, on port 2181 with its data in ./zabra-data
    #[command(after_help = ABOUT_EXIT)]
    Server(ServerArguments),
    /// Run an ensemble on this machine, to try things with: several servers on loopback, each a process of its own
    #[command(after_help = ABOUT_EXIT)]
    Ensemble(EnsembleArguments),
    /// Print the version
    Version,
}

#[derive(Debug, clap::Args)]
struct ServerArguments {
    /// Path of a zoo.cfg, or, as with ZooKeeper: `<PORT> <DATA_DIR> [TICK_TIME] [MAX_CLIENT_CNXNS]`
    #[arg(value_name = "ZOO_CFG", num_args = 0..=4)]
    configuration: Vec<String>,
    #[command(flatten)]
    common: CommonArguments,
    /// Go on where data are damaged or missing, and lose what cannot be read; the message of the start that failed says what
    #[arg(long)]
    accept_data_loss: bool,
    /// Stop when the standard input ends, as it does with the process that started this one
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

#[derive(Debug, clap::Args)]
struct EnsembleArguments {
    /// How many servers
    #[arg(default_value_t = 3)]
    servers: u16,
    /// Where their configurations, data and logs go, each server's in a directory of its own
    #[arg(long, value_name = "DIR", default_value = ENSEMBLE_DIR)]
    dir: PathBuf,
    /// Where clients of the first server connect; the others follow, and the servers' own ports lie above
    #[arg(long, value_name = "PORT", default_value_t = CLIENT_PORT)]
    base_port: u16,
    #[command(flatten)]
    common: CommonArguments,
}

#[derive(Debug, clap::Args)]
struct CommonArguments {
    /// Set a configuration key or Java system property, with or without `zookeeper.` in front; repeatable
    #[arg(short = 'D', value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
    /// What to log: error, warn, info, debug, trace, or a filter as in RUST_LOG, which counts without this [default: info]
    #[arg(short, long, value_name = "LEVEL", value_parser = log_filter)]
    log: Option<String>,
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// What is logged unless somebody says otherwise.
const LOG_DEFAULT: &str = "info";

/// What `--log` may be. A filter takes any word for the name of a part of the program, of which everything is logged, and
/// nothing of the others; here that would be a level that is misspelt, and silence them all.
fn log_filter(text: &str) -> Result<String, String> {
    const EXPECTED: &str = "expected error, warn, info, debug, trace or off, alone or in a list such as \
                            warn,io_tokio::driver=debug (without --log, RUST_LOG counts)";
    if is_unknown_word(text) {
        return Err(format!(
            "there is no such level; {EXPECTED}; all of a part of the program is {text}=trace"
        ));
    }
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}; {EXPECTED}")),
    }
}

/// Whether it is one word, and neither a level nor this program.
fn is_unknown_word(text: &str) -> bool {
    let is_word = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_word && text != env!("CARGO_BIN_NAME") && text.parse::<LevelFilter>().is_err()
}

/// What to log. `RUST_LOG` may be there for other programs: whatever a filter can be it may be here, and what is none
/// stops nobody; but it is said, and not in the log, where it might be left out.
fn filter(log: Option<&str>) -> EnvFilter {
    let from_environment = std::env::var_os("RUST_LOG").filter(|text| log.is_none() && !text.is_empty());
    let Some(found) = from_environment else {
        return EnvFilter::try_new(log.unwrap_or(LOG_DEFAULT))
            .expect("it was looked at with the other arguments");
    };
    let text = found.to_string_lossy();
    match EnvFilter::try_new(&text) {
        Ok(filter) => {
            if is_unknown_word(&text) {
                eprintln!("zabra: RUST_LOG={text} is no level: only what a part named {text} logs is shown");
            }
            filter
        }
        Err(error) => {
            eprintln!("zabra: RUST_LOG={text} is ignored, and {LOG_DEFAULT} is logged: {error}");
            EnvFilter::new(LOG_DEFAULT)
        }
    }
}

/// Why the program ends before or while it serves.
enum Failure {
    Config(ConfigError),
    Start(StartError),
    Halted(HaltReason),
    System(std::io::Error),
    Launch(LaunchError),
    /// Every server of a local ensemble ended by itself.
    Deserted,
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

impl Failure {
    fn report(&self) -> ExitCode {
        let (code, text) = match self {
            Self::Config(error) => (1, error.to_string()),
            Self::Start(error @ (StartError::Listen { .. } | StartError::ListenPeers(_))) => {
                (EXIT_LISTEN, error.to_string())
            }
            Self::Start(error @ StartError::System { .. }) => (6, error.to_string()),
            Self::Start(error) => (3, error.to_string()),
            Self::Halted(HaltReason::Disk { doing, error }) => (
                5,
                format!(
                    "the disk failed while {doing}: {error}\n\
                     The server has stopped, and acknowledged nothing that may be lost. \
                     Put the disk right and start it again."
                ),
            ),
            Self::Halted(HaltReason::Rewind { zxid, error }) => (
                5,
                format!(
                    "the leader asked for the log to be cut behind {zxid}, and that cannot be done: {error}\n\
                     The server has stopped. Move its version-2 directories away and start it again: it will get \
                     everything from the leader."
                ),
            ),
            Self::Halted(HaltReason::Shutdown) => return ExitCode::SUCCESS,
            Self::System(error) => (6, error.to_string()),
            Self::Launch(error @ LaunchError::Start(..)) => (6, error.to_string()),
            Self::Launch(LaunchError::Layout(
                error @ (LayoutError::File(..) | LayoutError::InUse(_) | LayoutError::OtherSize { .. }),
            )) => (3, error.to_string()),
            Self::Launch(error) => (2, error.to_string()),
            Self::Deserted => (7, "no server is left; the logs say why".into()),
        };
        for line in text.lines() {
            eprintln!("zabra: {line}");
        }
        ExitCode::from(code)
    }
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Version => {
            println!("zabra {}", environment::version());
            ExitCode::SUCCESS
        }
        Command::Server(arguments) => {
            allocator::settle();
            finish(run(&arguments))
        }
        Command::Ensemble(arguments) => finish(run_ensemble(&arguments)),
    }
}

fn finish(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(arguments: &ServerArguments) -> Result<(), Failure> {
    let filter = filter(arguments.common.log.as_deref());
    // A thread of its own writes the log: a terminal that stands still must not stop the server. What does not fit
    // into its queue is dropped.
    let (writer, _flushed_when_dropped) = tracing_appender::non_blocking(std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let Loaded { mut settings, warnings } = configuration(arguments)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    settings.core.accept_data_loss = arguments.accept_data_loss;
    runtime()?.block_on(async {
        // Before the start, so that a signal during recovery is not lost.
        let signals = Signals::listen().map_err(Failure::System)?;
        if arguments.until_stdin_ends {
            stop_when_stdin_ends().map_err(Failure::System)?;
        }
        serve(settings, signals).await
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::System)
}

fn run_ensemble(arguments: &EnsembleArguments) -> Result<(), Failure> {
    let EnsembleArguments { servers, dir, base_port, common } = arguments;
    let layout = Layout::new(*servers, *base_port, dir)
        .map_err(|error| Failure::Launch(LaunchError::Layout(error)))?;
    // They have the environment of this process.
    let log = common.log.iter().map(|log| format!("--log={log}"));
    let properties = common.properties.iter().map(|(name, value)| format!("-D{name}={value}"));
    let options: Vec<String> = log.chain(properties).collect();
    let program = std::env::current_exe().map_err(Failure::System)?;
    runtime()?.block_on(async {
        let signals = Signals::listen().map_err(Failure::System)?;
        let ensemble = LocalEnsemble::launch(layout, &program, &options).map_err(Failure::Launch)?;
        look_after(ensemble, signals).await
    })
}

/// Waits until every server has ended, and tells them to if a signal comes.
async fn look_after(mut ensemble: LocalEnsemble, mut signals: Signals) -> Result<(), Failure> {
    eprintln!(
        "\n  Zabra {}: {}  stop      Ctrl-C, or SIGTERM to process {}\n",
        environment::version(),
        ensemble.describe(),
        std::process::id()
    );
    let mut stopping = false;
    loop {
        tokio::select! {
            end = ensemble.next_end() => match end.map_err(Failure::System)? {
                None if stopping => return Ok(()),
                None => return Err(Failure::Deserted),
                Some(ended) => report_end(&ended),
            },
            _ = signals.next() => {
                stopping = true;
                ensemble.stop();
            }
        }
    }
}

/// Says that a server ended, and what it said last unless it was told to.
fn report_end(ended: &Ended) {
    let Ended { server, status, log, last_words } = ended;
    eprintln!("  server {server} ended: {status}; its log is {}", log.display());
    if status.success() {
        return;
    }
    for line in last_words {
        eprintln!("    {line}");
    }
    if status.code() == Some(i32::from(EXIT_LISTEN)) {
        eprintln!("    (all ports of this ensemble are others with --base-port PORT)");
    }
}

fn configuration(arguments: &ServerArguments) -> Result<Loaded, ConfigError> {
    let properties = &arguments.common.properties;
    match arguments.configuration.as_slice() {
        [] => zoo_cfg::defaults(Path::new(DATA_DIR), properties),
        [file] => zoo_cfg::from_file(Path::new(file), properties),
        several => zoo_cfg::from_arguments(several, properties),
    }
}

/// Has a thread wait for the end of the standard input; then it is as if somebody had ended this process.
fn stop_when_stdin_ends() -> std::io::Result<()> {
    let wait = || {
        // What comes is of no interest; an error is an end, too.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        tracing::warn!("the process that started this server is gone");
        // It cannot fail: this process is there.
        let _ = kill_process(getpid(), Signal::TERM);
    };
    std::thread::Builder::new().name("stdin".into()).spawn(wait).map(drop)
}

async fn serve(settings: Settings, mut signals: Signals) -> Result<(), Failure> {
    let data_dir = settings.data_dir.clone();
    let mut running = tokio::select! {
        running = Server::start(settings) => running?,
        // Nothing was served yet, so there is nothing to finish.
        number = signals.next() => exit_at_once(number),
    };
    banner(&running, &data_dir);
    let why = tokio::select! {
        why = running.ended() => why,
        number = signals.next() => {
            tracing::info!("signal {number}: stopping; a second one stops at once");
            running.stop();
            tokio::select! {
                why = running.ended() => why,
                number = signals.next() => exit_at_once(number),
            }
        }
    };
    match why {
        HaltReason::Shutdown => {
            tracing::info!("stopped");
            Ok(())
        }
        why @ (HaltReason::Disk { .. } | HaltReason::Rewind { .. }) => Err(Failure::Halted(why)),
    }
}

/// The signals that ask for a stop.
struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    /// Of a client that hangs up while it is written to: handled, so that it does not end the process, and ignored.
    _pipe: unix::Signal,
    /// Of a file that may not grow any more (`ulimit -f`): likewise, and the write fails instead.
    _file_size: unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _pipe: signal(SignalKind::pipe())?,
            _file_size: signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?,
        })
    }

    /// Waits for one, and says which came.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        }
    }
}

fn exit_at_once(signal: i32) -> ! {
    std::process::exit(128 + signal)
}

fn banner(running: &Running, data_dir: &Path) {
    let address = running.local_addr();
    let (place, host) = if address.ip().is_unspecified() {
        ("all addresses".to_owned(), "localhost".to_owned())
    } else {
        (address.ip().to_string(), address.ip().to_string())
    };
    let data: PathBuf = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_path_buf());
    eprintln!(
        "\n  Zabra {}, compatible with ZooKeeper 3.9\n\n  \
         serving   port {} on {place}\n  \
         data      {}\n  \
         connect   zkCli.sh -server {host}:{}\n  \
         stop      Ctrl-C, or SIGTERM to process {}\n",
        environment::version(),
        address.port(),
        data.components().collect::<PathBuf>().display(),
        address.port(),
        std::process::id(),
    );
}
