//! Four-letter words: they arrive on the client port unframed, before any handshake (PARITY `wire.frame.4lw`).

/// A four-letter word. Each variant says what it asks; [`Word::name`] is how it is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    /// `ruok`: whether the process is up.
    AreYouOk,
    /// `conf`: the configuration.
    Configuration,
    /// `crst`: reset the counters of all connections.
    ConnectionStatsReset,
    /// `cons`: every connection with its counters.
    Connections,
    /// `dirs`: sizes of snapshots and logs.
    Dirs,
    /// `dump`: sessions and ephemeral znodes.
    Dump,
    /// `envi`: the process's environment.
    Environment,
    /// `gtmk`: the trace mask.
    GetTraceMask,
    /// `hash`: digests of the tree at past transactions.
    Hash,
    /// `isro`: whether the server is read-only.
    IsReadOnly,
    /// `mntr`: metrics.
    Monitor,
    /// `srvr`: the server's state in brief.
    ServerBrief,
    /// `stat`: the server's state with its clients.
    ServerFull,
    /// `srst`: reset the server's counters.
    ServerStatsReset,
    /// `stmk`: set the trace mask, eight bytes that follow.
    SetTraceMask,
    /// Control-C in a telnet client.
    TelnetClose,
    /// `wchc`: watches by connection.
    WatchesByConnection,
    /// `wchp`: watches by path.
    WatchesByPath,
    /// `wchs`: how many watches there are.
    WatchesSummary,
}

const TABLE: [(Word, [u8; 4], &str); 19] = [
    (Word::AreYouOk, *b"ruok", "ruok"),
    (Word::Configuration, *b"conf", "conf"),
    (Word::ConnectionStatsReset, *b"crst", "crst"),
    (Word::Connections, *b"cons", "cons"),
    (Word::Dirs, *b"dirs", "dirs"),
    (Word::Dump, *b"dump", "dump"),
    (Word::Environment, *b"envi", "envi"),
    (Word::GetTraceMask, *b"gtmk", "gtmk"),
    (Word::Hash, *b"hash", "hash"),
    (Word::IsReadOnly, *b"isro", "isro"),
    (Word::Monitor, *b"mntr", "mntr"),
    (Word::ServerBrief, *b"srvr", "srvr"),
    (Word::ServerFull, *b"stat", "stat"),
    (Word::ServerStatsReset, *b"srst", "srst"),
    (Word::SetTraceMask, *b"stmk", "stmk"),
    (Word::TelnetClose, [0xff, 0xf4, 0xff, 0xfd], "telnet close"),
    (Word::WatchesByConnection, *b"wchc", "wchc"),
    (Word::WatchesByPath, *b"wchp", "wchp"),
    (Word::WatchesSummary, *b"wchs", "wchs"),
];

impl Word {
    /// The word that these bytes spell. None of them is a length that a frame may have.
    pub fn from_bytes(bytes: [u8; 4]) -> Option<Self> {
        TABLE.iter().find(|(_, spelled, _)| *spelled == bytes).map(|(word, _, _)| *word)
    }

    /// Its name, as whitelists have it.
    pub fn name(self) -> &'static str {
        let entry = TABLE.iter().find(|(word, _, _)| *word == self);
        entry.expect("every word is in the table").2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_frame_4lw() {
        for (word, bytes, name) in TABLE {
            assert_eq!(Word::from_bytes(bytes), Some(word));
            assert_eq!(word.name(), name);
            assert!(i32::from_be_bytes(bytes) < 0 || i32::from_be_bytes(bytes) > 0x0fff_ffff);
        }
        assert_eq!(Word::from_bytes([0, 0, 0, 45]), None);
        assert_eq!(Word::from_bytes(*b"STAT"), None);
    }
}
