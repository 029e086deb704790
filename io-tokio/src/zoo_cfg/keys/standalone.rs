//! Where the server listens, where its data is, how long sessions last.

use super::Effect::{Flag, Idle, Int, Refused, Text};
use super::Property::{Bare, None, Prefixed};
use super::{Key, NO_TLS, key};
use crate::zoo_cfg::value::Kind;
use crate::zoo_cfg::value::{PORT, any, any_long, from};

const INT: Kind = Kind::Num(any(""));
const COUNT: Kind = Kind::Num(from(1, ""));
const ONE_LOOP: &str = "one event loop serves all connections";

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("dataDir", None, Kind::Text, "required", Text(|d, path| { let dir = d.directory(path); d.data_dir = Some(dir); }),
        "Snapshots, `myid` and epoch files; the log too unless `dataLogDir` says otherwise."),
    key("dataLogDir", None, Kind::Text, "dataDir", Text(|d, path| { let dir = d.directory(path); d.data_log_dir = Some(dir); }),
        "The transaction log; best on a disk of its own."),
    key("clientPort", None, Kind::Int(PORT), "required", Int(|d, n| d.client_port = u16::try_from(n).ok()),
        "Where clients connect; 0 takes any free port."),
    key("clientPortAddress", None, Kind::Text, "all addresses", Text(|d, host| d.client_host = Some(host.into())),
        "The address to listen on, IPv4 or IPv6 or a host name."),
    key("secureClientPort", None, Kind::Int(PORT), "none", Refused { harmless: "", why: NO_TLS },
        "Where clients connect with TLS."),
    key("secureClientPortAddress", None, Kind::Text, "all addresses", Refused { harmless: "", why: NO_TLS },
        "The address for TLS."),
    key("clientPortListenBacklog", None, Kind::Int(from(-1, "")), "-1", Int(|d, n| d.settings.listen_backlog = n as i32),
        "Connections that the kernel holds until they are accepted; -1 is 4096 here, 50 with Java."),
    key("tickTime", None, Kind::Int(from(1, " of milliseconds")), "3000", Int(|d, n| d.tick_ms = n.unsigned_abs()),
        "The unit of session expiry."),
    key("minSessionTimeout", None, Kind::Int(from(-1, " of milliseconds")), "-1", Int(|d, n| d.min_session_timeout_ms = n),
        "Shorter session timeouts are raised to it; -1 is twice `tickTime`."),
    key("maxSessionTimeout", None, Kind::Int(from(-1, " of milliseconds")), "-1", Int(|d, n| d.max_session_timeout_ms = n),
        "Longer session timeouts are cut to it; -1 is twenty times `tickTime`."),
    key("maxClientCnxns", None, Kind::Int(any("")), "60", Int(|d, n| d.settings.core.max_client_cnxns = usize::try_from(n).unwrap_or(0)),
        "Connections of one address; further ones are reset. 0 or less: no limit."),
    key("maxCnxns", Prefixed, INT, "0", Int(|d, n| d.settings.core.max_cnxns = usize::try_from(n).unwrap_or(0)),
        "Connections in all; further ones are reset. 0 or less: no limit but that of open files."),
    key("clientTcpKeepAlive", Prefixed, Kind::Flag, "false", Flag(|d, on| d.settings.client_tcp_keep_alive = on),
        "Whether TCP looks after silent clients."),
    key("tcpKeepAlive", Prefixed, Kind::Flag, "false", Flag(|d, on| d.settings.peers.tcp_keep_alive = on), "Likewise between servers."),
    key("nio.sessionlessCnxnTimeout", Prefixed, Kind::Num(from(1, " of milliseconds")), "10000",
        Int(|d, n| d.settings.core.sessionless_cnxn_timeout = std::time::Duration::from_millis(n.unsigned_abs())),
        "How long a connection may stay without a session."),
    key("nio.numSelectorThreads", Prefixed, COUNT, "sqrt(cores/2)", Idle(ONE_LOOP), "Threads that wait for sockets."),
    key("nio.numWorkerThreads", Prefixed, INT, "2 × cores", Idle(ONE_LOOP), "Threads that read and write."),
    key("nio.directBufferBytes", Prefixed, INT, "65536", Idle("buffers need no tuning here"), "Size of write buffers."),
    key("nio.shutdownTimeout", Prefixed, Kind::Num(any_long(" of milliseconds")), "5000", Idle("there are no worker threads to wait for"), "How long to wait for worker threads."),
    key("netty.advancedFlowControl.enabled", Prefixed, Kind::Flag, "false", Idle("flow control is always on"), "Netty's flow control."),
    key("netty.server.outstandingHandshake.limit", Prefixed, INT, "-1", Idle("it is about TLS, which is not in this release"), "TLS handshakes at a time."),
    key("netty.server.earlyDropSecureConnectionHandshakes", Prefixed, Kind::Flag, "false", Idle("it is about TLS, which is not in this release"), "Drop TLS handshakes early."),
    key("serverCnxnFactory", Prefixed, Kind::Text, "NIOServerCnxnFactory", Idle("there is one way to serve connections here"), "The class that serves connections."),
    key("jute.maxbuffer", Bare, Kind::Num(from(1, " of bytes")), "1048575", Int(|d, n| d.settings.core.jute_max_buffer = n as usize),
        "The longest request; a longer one closes its connection. Must match on clients and servers."),
    key("jute.maxbuffer.extrasize", Prefixed, Kind::Num(any(" of bytes")), "jute.maxbuffer", Int(|d, n| d.jute_extra = Some(n)),
        "What a stored record may have on top, at least 1024."),
    key("datadir.autocreate", Prefixed, Kind::Flag, "true", Flag(|d, on| d.settings.data_dir_autocreate = on),
        "Whether data directories that do not exist are made."),
    key("4lw.commands.whitelist", Prefixed, Kind::Text, "srvr",
        Text(|d, list| d.four_letter_words = Some(list.split(',').map(|word| word.trim().into()).collect())),
        "The four-letter words that are answered, with commas between them; `*` is all. `srvr` always is."),
    key("readonlymode.enabled", Bare, Kind::Flag, "false", Flag(|d, on| d.read_only_mode = on),
        "Whether a member that finds no leader serves clients that only read; adds `isro` to the four-letter words."),
];
