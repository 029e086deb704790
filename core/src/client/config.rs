//! Every limit, timeout and switch of one client, in one place, and the text that names its servers.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::types::path::{self, PathError};
use crate::types::{Address, SessionId};
use crate::wire::connect::PASSWORD_LEN;

/// The port of servers that do not name one.
pub const DEFAULT_PORT: u16 = 2181;

/// A session that another client had, to go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The session.
    pub session: SessionId,
    /// What proves that it is ours.
    pub password: [u8; PASSWORD_LEN],
}

/// The configuration of one client. Defaults are those of ZooKeeper's client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Where the servers listen; at least one.
    pub servers: Vec<Address>,
    /// Put in front of every path, and taken off every path that comes back (PARITY `cl.chroot`). Never `/`.
    pub chroot: Option<String>,
    /// The session timeout to ask for; the server has the last word (PARITY `cl.negotiated`).
    pub session_timeout: Duration,
    /// The session to go on with. `None`: a new one.
    pub resume: Option<Credentials>,
    /// Whether a server without a quorum will do, until another is found (PARITY `cl.readonly`).
    pub can_be_read_only: bool,
    /// Whether watches are registered again on every connection; otherwise one-shot watches end with the connection
    /// (PARITY `cl.autowatchreset`).
    pub auto_watch_reset: bool,
    /// Whether the session is given up without a server saying so, when none was heard for 4/3 of the timeout
    /// (PARITY `cl.selfexpiry`).
    pub local_expiry: bool,
    /// Before each connection but the first: a random pause shorter than this (PARITY `cl.reconnect.delay`).
    pub reconnect_delay_max: Duration,
    /// The pause after every server has been tried in vain (PARITY `cl.hostprovider`).
    pub cycle_delay: Duration,
    /// `jute.maxbuffer`: a longer reply ends the connection, a longer request is refused here.
    pub jute_max_buffer: usize,
    /// Calls that may wait for an answer; one more is refused with [`super::CallError::TooManyCalls`].
    pub calls_max: usize,
    /// Bytes of requests that may wait for an answer; beyond it calls are refused likewise. A single call may be
    /// larger.
    pub call_bytes_max: usize,
    /// Watches; one more is refused with [`super::CallError::TooManyWatches`]. Calls under way may exceed it.
    pub watches_max: usize,
    /// Identities that may be presented; one more is refused with [`super::CallError::TooManyIdentities`].
    pub identities_max: usize,
    /// Bytes of paths in one setWatches (PARITY `cl.setwatches.batch`). A single path may be longer.
    pub set_watches_bytes_max: usize,
}

/// Why a text names no servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectStringError {
    /// The part from the first `/` on is no path.
    Chroot(PathError),
    /// A server has no name.
    EmptyHost,
    /// There is no server.
    NoServers,
    /// A port is no number from 1 to 65535.
    Port,
}

impl fmt::Display for ConnectStringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chroot(error) => error.fmt(f),
            Self::EmptyHost => f.write_str("a server needs a name or an address"),
            Self::NoServers => f.write_str("at least one server must be named"),
            Self::Port => f.write_str("a port is a number from 1 to 65535"),
        }
    }
}

impl core::error::Error for ConnectStringError {}

impl ClientConfig {
    /// The configuration for `host[:port][,…][/chroot]` (PARITY `cl.connectstring`).
    ///
    /// # Errors
    /// If the text is none.
    pub fn parse(servers: &str, session_timeout: Duration) -> Result<Self, ConnectStringError> {
        let (hosts, chroot) = match servers.find('/') {
            None => (servers, None),
            Some(at) => {
                let (hosts, chroot) = servers.split_at(at);
                path::validate(chroot).map_err(ConnectStringError::Chroot)?;
                (hosts, (chroot != path::ROOT).then(|| chroot.to_owned()))
            }
        };
        // ZooKeeper skips empty entries too, such as the one behind a trailing comma.
        let hosts = hosts.split(',').map(str::trim).filter(|host| !host.is_empty());
        let servers = hosts.map(parse_address).collect::<Result<Vec<_>, _>>()?;
        if servers.is_empty() {
            return Err(ConnectStringError::NoServers);
        }
        Ok(Self { chroot, ..Self::new(servers, session_timeout) })
    }

    /// The configuration for these servers, with ZooKeeper's default for everything else.
    pub const fn new(servers: Vec<Address>, session_timeout: Duration) -> Self {
        Self {
            servers,
            chroot: None,
            session_timeout,
            resume: None,
            can_be_read_only: false,
            auto_watch_reset: true,
            local_expiry: false,
            reconnect_delay_max: Duration::from_secs(1),
            cycle_delay: Duration::from_secs(1),
            jute_max_buffer: 0xf_ffff,
            calls_max: 10_000,
            call_bytes_max: 64 << 20,
            watches_max: 1_000_000,
            identities_max: 64,
            set_watches_bytes_max: 128 << 10,
        }
    }
}

fn parse_address(text: &str) -> Result<Address, ConnectStringError> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(ConnectStringError::EmptyHost)?;
        match rest.strip_prefix(':') {
            None if rest.is_empty() => (host, ""),
            None => return Err(ConnectStringError::Port),
            Some(port) => (host, port),
        }
    } else {
        text.rsplit_once(':').unwrap_or((text, ""))
    };
    if host.is_empty() {
        return Err(ConnectStringError::EmptyHost);
    }
    let port = match port {
        "" => DEFAULT_PORT,
        digits => digits.parse().ok().filter(|&port| port > 0).ok_or(ConnectStringError::Port)?,
    };
    Ok(Address { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PARITY `cl.connectstring`.
    #[test]
    fn cl_connectstring() {
        let parse = |text| {
            ClientConfig::parse(text, Duration::from_secs(1)).map(|config| {
                let servers: Vec<(String, u16)> =
                    config.servers.into_iter().map(|server| (server.host, server.port)).collect();
                (servers, config.chroot)
            })
        };
        let server = |host: &str, port| (host.to_owned(), port);
        for (text, servers, chroot) in [
            ("a", alloc::vec![server("a", 2181)], None),
            ("a:1,b:65535", alloc::vec![server("a", 1), server("b", 65_535)], None),
            ("a:,b,", alloc::vec![server("a", 2181), server("b", 2181)], None),
            (" a , b:3 ", alloc::vec![server("a", 2181), server("b", 3)], None),
            ("a/", alloc::vec![server("a", 2181)], None),
            ("a,b:7/x/y", alloc::vec![server("a", 2181), server("b", 7)], Some("/x/y")),
            ("[::1]:5,[fe80::1]", alloc::vec![server("::1", 5), server("fe80::1", 2181)], None),
        ] {
            assert_eq!(parse(text), Ok((servers, chroot.map(str::to_owned))), "{text}");
        }
        for (text, why) in [
            ("", ConnectStringError::NoServers),
            (",", ConnectStringError::NoServers),
            ("/x", ConnectStringError::NoServers),
            (":5", ConnectStringError::EmptyHost),
            ("[::1", ConnectStringError::EmptyHost),
            ("[]:3", ConnectStringError::EmptyHost),
            ("[::1]5", ConnectStringError::Port),
            ("a:0", ConnectStringError::Port),
            ("a:65536", ConnectStringError::Port),
            ("a:b", ConnectStringError::Port),
            ("a/x/", ConnectStringError::Chroot(PathError::TrailingSlash)),
            ("a//x", ConnectStringError::Chroot(PathError::EmptyName)),
        ] {
            assert_eq!(parse(text), Err(why), "{text}");
        }
    }
}
