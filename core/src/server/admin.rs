//! Four-letter words: what an operator may ask on the client port (PARITY `4lw.*`).
//!
//! A word is the first four bytes of a connection; the answer is text, and the connection closes. Keys and layout
//! are ZooKeeper's, for scripts read them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use super::{CloseReason, Server};
use crate::conn::{Conn, Phase};
use crate::store::Dir;
use crate::types::ConnId;
use crate::wire::admin::Word;

/// What `gtmk` answers until somebody changes it (`ZooTrace.DEFAULT_TRACE_MASK`).
pub(super) const TRACE_MASK_DEFAULT: i64 = 0b1_0011_0010;

/// Bytes of `stmk` and the mask behind it.
const SET_TRACE_MASK_LEN: usize = 12;

impl Server {
    /// Answers a four-letter word if the connection begins with one. Whether it does, or may once more has come.
    pub(super) fn take_word(&mut self, conn: &mut Conn) -> bool {
        let Some(word) = conn.deframer.peek::<4>().and_then(Word::from_bytes) else { return false };
        let mask = conn.deframer.peek::<SET_TRACE_MASK_LEN>();
        if word == Word::SetTraceMask && mask.is_none() && self.allows(word) {
            return true;
        }
        conn.stats.received += 1;
        self.stats.received += 1;
        self.metrics.counters.bytes_received_count += word.name().len() as u64;
        let text = if !self.allows(word) {
            format!("{} is not executed because it is not in the whitelist.\n", word.name())
        } else {
            let mask = mask.map(|bytes| i64::from_be_bytes(bytes[4..].try_into().expect("eight are left")));
            self.word(word, mask, conn)
        };
        conn.outbox.extend_from_slice(text.as_bytes());
        self.close(conn, CloseReason::AdminWordAnswered);
        true
    }

    fn allows(&self, word: Word) -> bool {
        matches!(word, Word::ServerBrief | Word::TelnetClose)
            || self.config.four_letter_words.allows(word.name())
    }

    fn word(&mut self, word: Word, mask: Option<i64>, asking: &Conn) -> String {
        let mut out = String::new();
        if needs_service(word) && self.mode().is_none() {
            return String::from("This ZooKeeper instance is not currently serving requests\n");
        }
        // Writing to a String cannot fail.
        let _ = match word {
            Word::AreYouOk => out.write_str("imok"),
            Word::Configuration => self.write_configuration(&mut out),
            Word::ConnectionStatsReset => {
                self.conns.for_each(|conn| conn.stats.reset());
                writeln!(out, "Connection stats reset.")
            }
            Word::Connections => self.write_connections(&mut out, false, asking),
            Word::Dirs => {
                let (data, log) = self.dir_sizes();
                writeln!(out, "datadir_size: {data}\nlogdir_size: {log}")
            }
            Word::Dump => self.write_dump(&mut out, asking),
            Word::Environment => self.write_environment(&mut out),
            Word::GetTraceMask => write!(out, "{}", self.trace_mask),
            Word::Hash => self.tree.digest_history().try_for_each(|(zxid, digest)| {
                // Java prints the digest as a signed number.
                writeln!(out, "{zxid:x}: {}", digest as i64)
            }),
            Word::IsReadOnly => out.write_str(match self.mode() {
                Some(_) if self.is_read_only() => "ro",
                Some(_) => "rw",
                None => "null",
            }),
            Word::Monitor => self.write_monitor(&mut out),
            Word::ServerBrief => self.write_status(&mut out, None),
            Word::ServerFull => self.write_status(&mut out, Some(asking)),
            Word::ServerStatsReset => {
                self.reset_metrics();
                writeln!(out, "Server stats reset.")
            }
            Word::SetTraceMask => {
                self.trace_mask = mask.unwrap_or(self.trace_mask);
                write!(out, "{}", self.trace_mask)
            }
            Word::TelnetClose => Ok(()),
            Word::WatchesByConnection => self.write_watches_by_connection(&mut out),
            Word::WatchesByPath => self.write_watches_by_path(&mut out),
            Word::WatchesSummary => {
                let summary = self.watches.summary();
                writeln!(
                    out,
                    "{} connections watching {} paths\nTotal watches:{}",
                    summary.connections, summary.paths, summary.watches
                )
            }
        };
        out
    }

    /// Bytes in `dataDir` and in `dataLogDir`. Where they are one, each has all files, as ZooKeeper counts.
    fn dir_sizes(&self) -> (u64, u64) {
        let about = &self.config.about;
        let data = self.inventory.size(Dir::Snapshot);
        let log = self.inventory.size(Dir::Log) + self.log.file_size();
        if about.data_dir == about.data_log_dir { (data + log, data + log) } else { (data, log) }
    }

    fn write_configuration(&self, out: &mut String) -> core::fmt::Result {
        let (config, about) = (&self.config, &self.config.about);
        let (data_size, log_size) = self.dir_sizes();
        writeln!(out, "clientPort={}", about.client_port)?;
        writeln!(out, "secureClientPort={}", about.secure_client_port)?;
        writeln!(out, "dataDir={}", about.data_dir)?;
        writeln!(out, "dataDirSize={}", data_size)?;
        writeln!(out, "dataLogDir={}", about.data_log_dir)?;
        writeln!(out, "dataLogSize={}", log_size)?;
        writeln!(out, "tickTime={}", config.tick_time.as_millis())?;
        writeln!(out, "maxClientCnxns={}", config.max_client_cnxns)?;
        writeln!(out, "minSessionTimeout={}", config.min_session_timeout.as_millis())?;
        writeln!(out, "maxSessionTimeout={}", config.max_session_timeout.as_millis())?;
        writeln!(out, "clientPortListenBacklog={}", about.listen_backlog)?;
        self.write_member(out)
    }

    fn write_connections(&self, out: &mut String, brief: bool, asking: &Conn) -> core::fmt::Result {
        for conn in self.everyone(asking) {
            // Nothing more is read from the one that asks.
            let reads = !conn.paused && conn.id != asking.id;
            write_connection(out, conn, brief, reads)?;
        }
        writeln!(out)
    }

    /// All connections in the order in which they came, with the one that asks, which is taken out of the table.
    fn everyone<'a>(&'a self, asking: &'a Conn) -> Vec<&'a Conn> {
        let mut conns = self.conns.sorted();
        let place = conns.partition_point(|conn| conn.id < asking.id);
        conns.insert(place, asking);
        conns
    }

    /// `srvr`, or `stat` with its list of clients.
    fn write_status(&self, out: &mut String, with_clients: Option<&Conn>) -> core::fmt::Result {
        writeln!(out, "Zookeeper version: {}", self.config.about.version)?;
        if self.is_read_only() {
            writeln!(out, "READ-ONLY mode; serving only read-only clients")?;
        }
        if let Some(asking) = with_clients {
            writeln!(out, "Clients:")?;
            self.write_connections(out, true, asking)?;
        }
        let latency = &self.stats.latency;
        writeln!(out, "Latency min/avg/max: {}/{}/{}", latency.min(), latency.mean(), latency.max())?;
        writeln!(out, "Received: {}", self.stats.received)?;
        writeln!(out, "Sent: {}", self.stats.sent)?;
        writeln!(out, "Connections: {}", self.conns.len())?;
        writeln!(out, "Outstanding: {}", self.in_process())?;
        writeln!(out, "Zxid: 0x{:x}", self.tree.last_zxid())?;
        writeln!(out, "Mode: {}", self.mode().unwrap_or_default())?;
        writeln!(out, "Node count: {}", self.tree.node_count())?;
        self.write_proposal_sizes(out)
    }

    fn write_environment(&self, out: &mut String) -> core::fmt::Result {
        writeln!(out, "Environment:")?;
        writeln!(out, "zookeeper.version={}", self.config.about.version)?;
        for (key, value) in &self.config.about.environment {
            writeln!(out, "{key}={value}")?;
        }
        Ok(())
    }

    fn write_dump(&self, out: &mut String, asking: &Conn) -> core::fmt::Result {
        let due = self.sessions.due();
        writeln!(out, "SessionTracker dump:")?;
        writeln!(out, "Session Sets ({})/({}):", due.len(), self.sessions.len())?;
        for (due_ms, sessions) in due {
            let in_ms = due_ms.saturating_sub(self.now.mono.as_millis());
            writeln!(out, "{} expire in {in_ms}ms:", sessions.len())?;
            for session in sessions {
                writeln!(out, "\t{session}")?;
            }
        }
        writeln!(out, "ephemeral nodes dump:")?;
        let owners = self.tree.ephemeral_sessions();
        writeln!(out, "Sessions with Ephemerals ({}):", owners.clone().count())?;
        for session in owners {
            writeln!(out, "{session}:")?;
            for path in self.tree.ephemerals(session) {
                writeln!(out, "\t{path}")?;
            }
        }
        writeln!(out, "Connections dump:")?;
        let conns = self.everyone(asking);
        writeln!(out, "Connections Sets (1)/({}):", conns.len())?;
        for conn in conns {
            writeln!(out, "\tip: /{} sessionId: {}", conn.from, conn.session)?;
        }
        Ok(())
    }

    fn write_watches_by_path(&self, out: &mut String) -> core::fmt::Result {
        for (path, conns) in self.watches.data_by_path() {
            writeln!(out, "{path}")?;
            for conn in conns {
                writeln!(out, "\t{}", self.session_of(conn))?;
            }
        }
        writeln!(out)
    }

    fn write_watches_by_connection(&self, out: &mut String) -> core::fmt::Result {
        for (conn, paths) in self.watches.data_by_conn() {
            writeln!(out, "{}", self.session_of(conn))?;
            for path in paths {
                writeln!(out, "\t{path}")?;
            }
        }
        writeln!(out)
    }

    fn session_of(&self, conn: ConnId) -> crate::types::SessionId {
        self.conns.get(conn).map_or(crate::types::SessionId::NONE, |conn| conn.session)
    }
}

/// Whether the word is about the server of clients, which a member of an ensemble has only with a leader (PARITY
/// `4lw.notserving`).
const fn needs_service(word: Word) -> bool {
    match word {
        Word::AreYouOk
        | Word::Environment
        | Word::GetTraceMask
        | Word::IsReadOnly
        | Word::SetTraceMask
        | Word::TelnetClose => false,
        Word::Configuration
        | Word::ConnectionStatsReset
        | Word::Connections
        | Word::Dirs
        | Word::Dump
        | Word::Hash
        | Word::Monitor
        | Word::ServerBrief
        | Word::ServerFull
        | Word::ServerStatsReset
        | Word::WatchesByConnection
        | Word::WatchesByPath
        | Word::WatchesSummary => true,
    }
}

fn write_connection(out: &mut String, conn: &Conn, brief: bool, reads: bool) -> core::fmt::Result {
    let stats = &conn.stats;
    let interest = u8::from(reads);
    write!(
        out,
        " /{}[{interest}](queued={},recved={},sent={}",
        conn.from, conn.outstanding, stats.received, stats.sent
    )?;
    if !brief && conn.phase == Phase::Established {
        write!(
            out,
            ",sid={},lop={},est={},to={}",
            conn.session, stats.last_op, stats.established.0, conn.timeout_ms
        )?;
        if stats.last_cxid >= 0 {
            write!(out, ",lcxid=0x{:x}", stats.last_cxid)?;
        }
        write!(
            out,
            ",lzxid=0x{:x},lresp={},llat={},minlat={},avglat={},maxlat={}",
            stats.last_zxid,
            stats.last_response.as_millis(),
            stats.last_latency_ms,
            stats.latency.min(),
            stats.latency.whole_mean(),
            stats.latency.max()
        )?;
    }
    writeln!(out, ")")
}
