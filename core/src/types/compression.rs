//! How a snapshot's file is compressed (PARITY `disk.snap.compress`).

/// How a snapshot's file is compressed; its name says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// No other ending.
    #[default]
    None,
    /// `.gz`.
    Gzip,
    /// `.snappy`.
    Snappy,
}

impl Compression {
    /// What the name of a file says.
    pub fn of_name(name: &str) -> Self {
        match name.rsplit_once('.') {
            Some((_, ending)) if ending.eq_ignore_ascii_case("gz") => Self::Gzip,
            Some((_, ending)) if ending.eq_ignore_ascii_case("snappy") => Self::Snappy,
            _ => Self::None,
        }
    }

    /// What the file's name ends with, dot included.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::None => "",
            Self::Snappy => ".snappy",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name of the file tells, whatever the case; the zxid is no ending.
    #[test]
    fn names() {
        for compression in [Compression::Gzip, Compression::None, Compression::Snappy] {
            let name = alloc::format!("snapshot.1a{}", compression.ending());
            assert_eq!(Compression::of_name(&name), compression);
        }
        assert_eq!(Compression::of_name("snapshot.1.GZ"), Compression::Gzip);
        assert_eq!(Compression::of_name("snapshot"), Compression::None);
    }
}
