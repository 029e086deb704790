//! The null server, see `zabra-null --help`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use zabra_benches::limits::raise_open_files;
use zabra_benches::null::log::Log;
use zabra_benches::null::replies::Replies;
use zabra_benches::null::server::Server;

/// Answers ZooKeeper clients without keeping anything: an upper bound to measure servers against.
#[derive(Debug, Parser)]
#[command(name = "zabra-null", version)]
struct Options {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:2181")]
    address: SocketAddr,

    /// File for the writes; it is overwritten
    #[arg(long)]
    log: PathBuf,

    /// Leave out the sync after each batch of writes: what remains is what the disk does not cost
    #[arg(long)]
    unsynced: bool,

    /// Bytes a read returns until a write says otherwise
    #[arg(long, default_value_t = 100)]
    size: usize,

    /// Names in every listing of children
    #[arg(long, default_value_t = 16)]
    children: usize,

    /// Connections to make room for
    #[arg(long, default_value_t = 12_000)]
    connections: usize,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let served = raise_open_files(options.connections).and_then(|()| {
        let replies = Replies::new(options.size, options.children);
        let serve =
            || Server::bind(options.address, replies, Log::create(&options.log, !options.unsynced)?)?.run();
        serve().map_err(|error| error.to_string())
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("zabra-null: {why}");
            ExitCode::FAILURE
        }
    }
}
