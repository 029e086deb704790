//! The log file: its header, and the framing of its records.
//!
//! ```text
//! file:    "ZKLG"  int version = 2  long dbid  record*  zeros (preallocated)
//! record:  long Adler-32 of the payload   int length   payload   'B'
//! ```

use alloc::vec::Vec;

use super::checksum;
use super::data::pack;
use super::jute::{DecodeError, Reader};

/// What the first bytes of a log or snapshot say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// Which kind of file.
    pub magic: i32,
    /// Version of the format.
    pub version: i32,
    /// A number of the database that nobody looks at.
    pub dbid: i64,
}

impl FileHeader {
    /// Bytes of a header.
    pub const LEN: usize = 16;
    /// The header of a log (PARITY `disk.log.header`).
    pub const LOG: Self = Self { magic: i32::from_be_bytes(*b"ZKLG"), version: 2, dbid: 0 };
    /// The header of a snapshot (PARITY `disk.snap.header`).
    pub const SNAPSHOT: Self = Self { magic: i32::from_be_bytes(*b"ZKSN"), version: 2, dbid: -1 };

    /// Appends the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&pack![Self::LEN; self.magic, self.version, self.dbid]);
    }

    /// Decodes a header that must have the magic number and version of `expected`.
    ///
    /// # Errors
    /// If it has others, or the bytes end before it does.
    pub fn decode(reader: &mut Reader<'_>, expected: &Self) -> Result<Self, DecodeError> {
        let header = Self { magic: reader.int()?, version: reader.int()?, dbid: reader.long()? };
        if header.magic != expected.magic {
            return Err(DecodeError::BadMagic);
        }
        if header.version != expected.version {
            return Err(DecodeError::BadVersion);
        }
        Ok(header)
    }
}

/// Bytes in front of a payload: checksum and length.
pub const PREFIX_LEN: usize = 12;
/// Bytes of a record that are not payload.
pub const OVERHEAD: usize = PREFIX_LEN + 1;
/// The byte behind a payload: it was written to its end.
const END_MARK: u8 = b'B';

/// Appends a record whose payload `write` appends, and returns the bytes of the whole record.
///
/// # Panics
/// If `write` appends nothing (an empty record reads as the end of the file), removes bytes, or appends 2
/// GiB.
pub fn append(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_LEN]);
    write(out);
    let payload = &out[start + PREFIX_LEN..];
    assert!(!payload.is_empty(), "an empty record reads as the end of the file");
    let length = i32::try_from(payload.len()).expect("a transaction is limited far below 2 GiB");
    let prefix = pack![PREFIX_LEN; checksum::checksum(payload), length];
    out[start..start + PREFIX_LEN].copy_from_slice(&prefix);
    out.push(END_MARK);
    out.len() - start
}

/// What stands at the beginning of a window into a log file, behind the header or a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan<'a> {
    /// A whole record that was written to its end, but is not what was written.
    BadChecksum {
        /// Bytes of the record.
        total_len: usize,
    },
    /// A length that is negative or beyond the limit. What follows cannot be found.
    BadLength,
    /// The window ends within a record, or before it.
    NeedMore {
        /// How long a window must be to say more.
        window_len: usize,
    },
    /// The length is zero: nothing was written here, or not even this much of it.
    Padding,
    /// A record as it was written.
    Record {
        /// What it holds.
        payload: &'a [u8],
        /// Bytes of the record.
        total_len: usize,
    },
    /// The byte behind the payload is not there: the record was not written to its end.
    Unmarked {
        /// Bytes of the record.
        total_len: usize,
    },
}

/// Looks at the beginning of `window`. Judging what was found is recovery's business: the same finding may be
/// a torn tail or corruption, depending on what follows (PARITY `disk.log.eof`).
///
/// `payload_max` is the largest payload that may be (PARITY `jute.limit`).
pub fn scan(window: &[u8], payload_max: usize) -> Scan<'_> {
    let mut reader = Reader::new(window);
    let (Ok(checksum), Ok(length)) = (reader.long(), reader.int()) else {
        return Scan::NeedMore { window_len: PREFIX_LEN };
    };
    let Ok(length) = usize::try_from(length) else { return Scan::BadLength };
    if length == 0 {
        return Scan::Padding;
    }
    if length > payload_max {
        return Scan::BadLength;
    }
    let total_len = length + OVERHEAD;
    let Some((payload, rest)) = reader.rest().split_at_checked(length) else {
        return Scan::NeedMore { window_len: total_len };
    };
    match rest.first() {
        None => Scan::NeedMore { window_len: total_len },
        Some(&END_MARK) if checksum == checksum::checksum(payload) => Scan::Record { payload, total_len },
        Some(&END_MARK) => Scan::BadChecksum { total_len },
        Some(_) => Scan::Unmarked { total_len },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        append(&mut out, |out| out.extend_from_slice(payload));
        out
    }

    /// PARITY `disk.log.header`: sixteen bytes, and each way to be something else.
    #[test]
    fn disk_log_header() {
        let mut out = Vec::new();
        FileHeader::LOG.encode(&mut out);
        assert_eq!(out, *b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0");
        let decode = |bytes: &[u8], expected| FileHeader::decode(&mut Reader::new(bytes), expected);
        assert_eq!(decode(&out, &FileHeader::LOG), Ok(FileHeader::LOG));
        assert_eq!(decode(&out, &FileHeader::SNAPSHOT), Err(DecodeError::BadMagic));
        for cut in 0..FileHeader::LEN {
            assert_eq!(decode(&out[..cut], &FileHeader::LOG), Err(DecodeError::UnexpectedEnd));
        }
        out[7] = 3;
        assert_eq!(decode(&out, &FileHeader::LOG), Err(DecodeError::BadVersion));
    }

    /// PARITY `disk.log.record`: the checksum first, as a long; the Adler-32 of "Wikipedia" is well known.
    #[test]
    fn disk_log_record() {
        let out = record(b"Wikipedia");
        assert_eq!(out, *b"\0\0\0\0\x11\xe6\x03\x98\0\0\0\x09WikipediaB");
        assert_eq!(scan(&out, 9), Scan::Record { payload: b"Wikipedia", total_len: 22 });
        assert_eq!(scan(&out, 8), Scan::BadLength);
        for cut in 0..PREFIX_LEN {
            assert_eq!(scan(&out[..cut], 9), Scan::NeedMore { window_len: PREFIX_LEN });
        }
        for cut in PREFIX_LEN..out.len() {
            assert_eq!(scan(&out[..cut], 9), Scan::NeedMore { window_len: 22 });
        }
    }

    /// PARITY `disk.log.eof`: each way in which a record is none.
    #[test]
    fn disk_log_eof() {
        assert_eq!(scan(&[0; 64], 64), Scan::Padding);
        let whole = record(b"abc");
        let mut torn = whole.clone();
        torn[12..].fill(0);
        assert_eq!(scan(&torn, 64), Scan::Unmarked { total_len: 16 });
        let mut damaged = whole.clone();
        damaged[13] ^= 1;
        assert_eq!(scan(&damaged, 64), Scan::BadChecksum { total_len: 16 });
        let mut unsure = whole;
        unsure[8] = 0x80;
        assert_eq!(scan(&unsure, 64), Scan::BadLength);
        unsure[8] = 0x7f;
        assert_eq!(scan(&unsure, 64), Scan::BadLength);
    }

    proptest! {
        /// Records written one behind the other are found one behind the other, and any flipped bit is seen.
        #[test]
        fn round_trip(payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 1..5),
                      flip: prop::sample::Index) {
            let mut out = Vec::new();
            for payload in &payloads {
                append(&mut out, |out| out.extend_from_slice(payload));
            }
            let mut at = 0;
            for expected in &payloads {
                let Scan::Record { payload, total_len } = scan(&out[at..], 64) else {
                    return Err(TestCaseError::fail("no record"));
                };
                prop_assert_eq!(payload, expected);
                at += total_len;
            }
            prop_assert_eq!(scan(&out[at..], 64), Scan::NeedMore { window_len: PREFIX_LEN });

            let mut first = record(&payloads[0]);
            let bit = flip.index(first.len() * 8);
            first[bit / 8] ^= 1 << (bit % 8);
            let found = scan(&first, 64);
            prop_assert!(!matches!(found, Scan::Record { .. }), "{:?}", found);
        }
    }
}
