//! Log files: records, damaged records and anything else, looked at through windows of any size.

use alloc::vec::Vec;

use simd_adler32::adler32;

use super::Source;
use crate::wire::record::{self, FileHeader, OVERHEAD, PREFIX_LEN, Scan};
use crate::wire::{Reader, txn};

const PAYLOAD_MAX: usize = 300;

/// Builds a log from good records, records with one thing wrong and bytes as they come, checksums put right, then
/// scans it: every finding must be the naive one, and a shorter window must ask for more instead of guessing.
///
/// # Panics
/// If the scanner says anything else.
pub fn record(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let mut log = Vec::new();
    while !source.is_empty() && log.len() < 4096 {
        append_something(&mut source, &mut log);
    }
    for header in [FileHeader::LOG, FileHeader::SNAPSHOT] {
        if let Ok(decoded) = FileHeader::decode(&mut Reader::new(&log), &header) {
            let mut again = Vec::new();
            decoded.encode(&mut again);
            assert_eq!(again, log[..FileHeader::LEN]);
        }
    }
    let mut at = 0;
    loop {
        let window = &log[at..];
        let found = record::scan(window, PAYLOAD_MAX);
        check_finding(window, found);
        match found {
            Scan::Record { payload, total_len } => {
                let _ = txn::decode(payload, PAYLOAD_MAX);
                at += total_len;
            }
            Scan::BadChecksum { total_len } | Scan::Unmarked { total_len } => at += total_len,
            Scan::BadLength | Scan::Padding => at += 1,
            Scan::NeedMore { .. } => break,
        }
    }
}

fn append_something(source: &mut Source<'_>, log: &mut Vec<u8>) {
    let choice = source.below(8);
    let payload = source.bytes(255);
    let start = log.len();
    if choice == 0 || payload.is_empty() {
        log.extend_from_slice(payload);
        return;
    }
    let total = record::append(log, |out| out.extend_from_slice(payload));
    assert_eq!(total, payload.len() + OVERHEAD);
    match choice {
        1 => *log.last_mut().expect("it is not empty") = source.byte(),
        2 => log[start + source.below(8)] ^= 1 << source.below(8),
        3 => log[start + 8 + source.below(4)] ^= 1 << source.below(8),
        4 => log[start + PREFIX_LEN + source.below(payload.len())] ^= 1 << source.below(8),
        5 => log.truncate(log.len() - source.below(total)),
        _ => {}
    }
}

fn check_finding(window: &[u8], found: Scan<'_>) {
    let naive = naive_scan(window);
    assert_eq!(found, naive);
    let needed = match found {
        Scan::BadLength | Scan::Padding => PREFIX_LEN,
        Scan::BadChecksum { total_len } | Scan::Record { total_len, .. } | Scan::Unmarked { total_len } => {
            total_len
        }
        Scan::NeedMore { window_len } => {
            assert!(window_len > window.len(), "more of what is there already");
            return;
        }
    };
    assert_eq!(record::scan(&window[..needed], PAYLOAD_MAX), found, "what follows does not matter");
    for shorter in [0, needed / 2, needed - 1] {
        let Scan::NeedMore { window_len } = record::scan(&window[..shorter], PAYLOAD_MAX) else {
            panic!("{shorter} of {needed} bytes were enough");
        };
        assert!(shorter < window_len && window_len <= needed);
    }
}

fn naive_scan(window: &[u8]) -> Scan<'_> {
    if window.len() < 12 {
        return Scan::NeedMore { window_len: 12 };
    }
    let length = i32::from_be_bytes([window[8], window[9], window[10], window[11]]);
    if length == 0 {
        return Scan::Padding;
    }
    if length < 0 || length as usize > PAYLOAD_MAX {
        return Scan::BadLength;
    }
    let total_len = length as usize + 13;
    if window.len() < total_len {
        return Scan::NeedMore { window_len: total_len };
    }
    let payload = &window[12..total_len - 1];
    let checksum = [&[0; 4][..], &adler32(&payload).to_be_bytes()].concat();
    match window[total_len - 1] {
        b'B' if window[..8] == checksum => Scan::Record { payload, total_len },
        b'B' => Scan::BadChecksum { total_len },
        _ => Scan::Unmarked { total_len },
    }
}
