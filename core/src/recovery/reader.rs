//! Reads one file from front to end, ahead of whoever uses it, by a bounded amount.

use alloc::collections::VecDeque;

use bytes::Bytes;

use crate::store::{DiskAnswer, DiskDone, DiskError, DiskOp, FileName, Tickets};
use crate::types::Ticket;

/// Bytes asked for at a time.
pub(super) const READ_BYTES: usize = 1 << 20;
/// Pieces that were asked for or have come and were not taken yet.
const READS_AHEAD_MAX: usize = 2;

/// Brings a file's bytes in order.
#[derive(Debug)]
pub(super) struct FileReader {
    file: FileName,
    /// Where the next read begins.
    next_offset: u64,
    /// Where reading ends: the file's size, less once a read came short.
    end: u64,
    in_flight: VecDeque<(Ticket, usize)>,
    ready: VecDeque<Bytes>,
}

impl FileReader {
    pub(super) const fn new(file: FileName, size: u64) -> Self {
        Self { file, next_offset: 0, end: size, in_flight: VecDeque::new(), ready: VecDeque::new() }
    }

    pub(super) const fn file(&self) -> &FileName {
        &self.file
    }

    /// The next read to ask for, until `None`.
    pub(super) fn poll_op(&mut self, tickets: &mut Tickets) -> Option<DiskOp> {
        if self.in_flight.len() + self.ready.len() >= READS_AHEAD_MAX || self.next_offset >= self.end {
            return None;
        }
        let left = usize::try_from(self.end - self.next_offset).unwrap_or(usize::MAX);
        let (ticket, offset, len) = (tickets.issue(), self.next_offset, left.min(READ_BYTES));
        self.next_offset += len as u64;
        self.in_flight.push_back((ticket, len));
        Some(DiskOp::Read { ticket, file: self.file.clone(), offset, len })
    }

    /// Takes a completion.
    ///
    /// # Panics
    /// If it is not that of the oldest read in flight.
    pub(super) fn on_done(&mut self, done: DiskDone) -> Result<(), DiskError> {
        let (ticket, len) = self.in_flight.pop_front().expect("a completion with no read in flight");
        assert_eq!(ticket, done.ticket, "reads end in order");
        let bytes = match done.result? {
            DiskAnswer::Data(bytes) => bytes,
            DiskAnswer::Done | DiskAnswer::Listing(_) => panic!("a read is answered with bytes"),
        };
        assert!(bytes.len() <= len, "more bytes than were asked for");
        if bytes.len() < len {
            // The file is shorter than it was listed; what was asked for behind this has nothing either.
            self.end = 0;
        }
        if !bytes.is_empty() {
            self.ready.push_back(bytes);
        }
        Ok(())
    }

    /// The next bytes, if they have come.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }

    /// Whether all bytes were taken.
    pub(super) fn is_at_end(&self) -> bool {
        self.ready.is_empty() && self.in_flight.is_empty() && self.next_offset >= self.end
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::store::Dir;

    /// Reads a file that is `actual` bytes long though it was listed with `listed`.
    fn read(listed: usize, actual: usize) -> Vec<u8> {
        let content: Vec<u8> = (0..actual).map(|at| (at / 1000) as u8).collect();
        let mut tickets = Tickets::default();
        let mut reader = FileReader::new(FileName { dir: Dir::Log, name: "log.1".into() }, listed as u64);
        let mut found = Vec::new();
        let mut asked = VecDeque::new();
        while !reader.is_at_end() {
            while let Some(op) = reader.poll_op(&mut tickets) {
                asked.push_back(op);
            }
            assert!(asked.len() <= READS_AHEAD_MAX);
            let Some(DiskOp::Read { ticket, offset, len, .. }) = asked.pop_front() else { panic!("a read") };
            let offset = (offset as usize).min(content.len());
            let end = (offset + len).min(content.len());
            let bytes = Bytes::copy_from_slice(&content[offset..end]);
            reader.on_done(DiskDone { ticket, result: Ok(DiskAnswer::Data(bytes)) }).expect("it went well");
            while let Some(bytes) = reader.next() {
                found.extend_from_slice(&bytes);
            }
        }
        assert_eq!(found, content[..actual.min(listed)]);
        found
    }

    #[test]
    fn every_byte_comes_once() {
        for size in [0, 1, READ_BYTES - 1, READ_BYTES, READ_BYTES + 1, 5 * READ_BYTES + 7] {
            assert_eq!(read(size, size).len(), size);
        }
    }

    #[test]
    fn a_file_may_be_shorter_than_it_was_listed() {
        for actual in [0, 5, READ_BYTES, 3 * READ_BYTES + 5] {
            assert_eq!(read(4 * READ_BYTES, actual), read(actual, actual));
        }
        assert_eq!(read(0, 0), vec![]);
    }
}
