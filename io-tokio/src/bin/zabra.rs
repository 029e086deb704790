//! The program `zabra`: arguments, configuration, run.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use io_tokio::zoo_cfg::{self, ConfigError, Loaded};
use io_tokio::{Running, Server, Settings, StartError, environment};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;
use zabra_core::server::HaltReason;

/// Where the data goes if nothing says otherwise.
const DATA_DIR: &str = "./zabra-data";

const ABOUT_EXIT: &str = "\
Exit codes:
  0  stopped in order (SIGTERM, SIGINT)
  1  wrong configuration
  2  wrong command line
  3  the data directory cannot be used, or its data cannot be recovered
  4  a port cannot be listened on
  5  halted: the disk failed while running
  6  the operating system refused something else
  128 + n  stopped at once by a second signal n";

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
    /// Print the version
    Version,
}

#[derive(Debug, clap::Args)]
struct ServerArguments {
    /// Path of a zoo.cfg, or, as with ZooKeeper: `<PORT> <DATA_DIR> [TICK_TIME] [MAX_CLIENT_CNXNS]`
    #[arg(value_name = "ZOO_CFG", num_args = 0..=4)]
    configuration: Vec<String>,
    /// Set a configuration key or Java system property, with or without `zookeeper.` in front; repeatable
    #[arg(short = 'D', value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
    /// What to log: error, warn, info, debug, trace, or a filter as in RUST_LOG
    #[arg(short, long, value_name = "LEVEL", env = "RUST_LOG", default_value = "info")]
    log: String,
    /// Go on after corruption in the middle of the log, and lose all that was written behind it
    #[arg(long)]
    accept_data_loss: bool,
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Why the program ends before or while it serves.
enum Failure {
    Config(ConfigError),
    Start(StartError),
    Halted(HaltReason),
    System(std::io::Error),
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
                (4, error.to_string())
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
            Self::Halted(HaltReason::Shutdown) => return ExitCode::SUCCESS,
            Self::System(error) => (6, error.to_string()),
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
        Command::Server(arguments) => match run(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(),
        },
    }
}

fn run(arguments: &ServerArguments) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&arguments.log).unwrap_or_else(|_| EnvFilter::new("info"));
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
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::System)?;
    runtime.block_on(serve(settings))
}

fn configuration(arguments: &ServerArguments) -> Result<Loaded, ConfigError> {
    let properties = &arguments.properties;
    match arguments.configuration.as_slice() {
        [] => zoo_cfg::defaults(Path::new(DATA_DIR), properties),
        [file] => zoo_cfg::from_file(Path::new(file), properties),
        several => zoo_cfg::from_arguments(several, properties),
    }
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    // Before the start, so that a signal during recovery is not lost.
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::System)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::System)?;
    let data_dir = settings.data_dir.clone();
    let mut running = tokio::select! {
        running = Server::start(settings) => running?,
        // Nothing was served yet, so there is nothing to finish.
        number = either(&mut terminate, &mut interrupt) => exit_at_once(number),
    };
    banner(&running, &data_dir);
    let why = tokio::select! {
        why = running.ended() => why,
        number = either(&mut terminate, &mut interrupt) => {
            tracing::info!("signal {number}: stopping; a second one stops at once");
            running.stop();
            tokio::select! {
                why = running.ended() => why,
                number = either(&mut terminate, &mut interrupt) => exit_at_once(number),
            }
        }
    };
    match why {
        HaltReason::Shutdown => {
            tracing::info!("stopped");
            Ok(())
        }
        why @ HaltReason::Disk { .. } => Err(Failure::Halted(why)),
    }
}

/// Waits for one of the signals, and says which came.
async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> i32 {
    tokio::select! {
        _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
        _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
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
