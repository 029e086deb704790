//! Four-letter words: commands of administrators that come raw, where a client would send a frame's length.

use core::fmt;

/// Bytes of a word.
pub const WORD_LEN: usize = 4;
/// Bytes that follow [`Word::Stmk`]: the new mask, a long.
pub const STMK_ARGUMENT_LEN: usize = 8;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// A command (PARITY `4lw.*`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Word {
            $($(#[$doc])* $name,)*
            /// What telnet sends for Ctrl-C: close, and say nothing (PARITY `4lw.telnetclose`).
            TelnetClose,
        }

        impl Word {
            /// Every word that has a text.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The command that these are the first bytes of, if it is one. No length looks like a word: read
            /// as one, each is beyond any limit, or negative.
            pub fn recognise(bytes: [u8; WORD_LEN]) -> Option<Self> {
                if bytes == TELNET_CLOSE {
                    return Some(Self::TelnetClose);
                }
                Self::ALL.iter().copied().find(|word| word.as_str().as_bytes() == bytes)
            }

            /// The word; empty for telnet's.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::TelnetClose => "",
                }
            }
        }
    };
}

const TELNET_CLOSE: [u8; WORD_LEN] = [0xff, 0xf4, 0xff, 0xfd];

words! {
    /// The configuration.
    Conf = "conf";
    /// Every connection and what it did.
    Cons = "cons";
    /// Reset what `cons` tells.
    Crst = "crst";
    /// Sizes of the directories.
    Dirs = "dirs";
    /// Sessions and their ephemeral znodes.
    Dump = "dump";
    /// The environment of the process.
    Envi = "envi";
    /// The trace mask.
    Gtmk = "gtmk";
    /// Digests of the tree, with their zxids.
    Hash = "hash";
    /// Whether this server is read-only.
    Isro = "isro";
    /// Everything that is measured.
    Mntr = "mntr";
    /// Whether the process is alive.
    Ruok = "ruok";
    /// Reset what `srvr` tells.
    Srst = "srst";
    /// The server's state in short.
    Srvr = "srvr";
    /// `srvr` and the clients.
    Stat = "stat";
    /// Set the trace mask; the mask follows.
    Stmk = "stmk";
    /// Watches by session.
    Wchc = "wchc";
    /// Watches by path.
    Wchp = "wchp";
    /// How many watches there are.
    Wchs = "wchs";
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PARITY `4lw.*`, `4lw.telnetclose`: each word in the table is recognised, and no frame's length is
    /// taken for one.
    #[test]
    fn words() {
        let table =
            "conf cons crst dirs dump envi gtmk hash isro mntr ruok srst srvr stat stmk wchc wchp wchs";
        for (text, word) in table.split(' ').zip(Word::ALL) {
            assert_eq!(word.as_str(), text);
            let bytes = *text.as_bytes().first_chunk().expect("four letters");
            assert_eq!(Word::recognise(bytes), Some(*word));
            assert!(i32::from_be_bytes(bytes) > 1 << 29);
        }
        assert_eq!(table.split(' ').count(), Word::ALL.len());
        assert_eq!(Word::recognise([0xff, 0xf4, 0xff, 0xfd]), Some(Word::TelnetClose));
        for length in (0..1 << 22).chain([i32::MAX, -1, i32::MIN]) {
            assert_eq!(Word::recognise(length.to_be_bytes()), None);
        }
        assert_eq!(Word::recognise(*b"RUOK"), None);
    }
}
