//! What a configuration refers to and is not in it: other files, and names of hosts.

use std::fs;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;

/// Where files and addresses come from: this machine, or whatever a test says.
pub(crate) trait Outside {
    /// All of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The address that a name of this host stands for.
    ///
    /// # Errors
    /// Why there is none, as a sentence.
    fn look_up(&self, host: &str) -> Result<IpAddr, String>;
}

/// The machine that this runs on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThisMachine;

impl Outside for ThisMachine {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn look_up(&self, host: &str) -> Result<IpAddr, String> {
        let mut addresses = (host, 0).to_socket_addrs().map_err(|error| error.to_string())?;
        addresses.next().map(|address| address.ip()).ok_or_else(|| "it has no address".into())
    }
}

/// The address that `host` is, or stands for.
///
/// # Errors
/// Why there is none, as a sentence.
pub(crate) fn resolve(host: &str, outside: &dyn Outside) -> Result<IpAddr, String> {
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    literal.parse().or_else(|_| outside.look_up(host))
}
