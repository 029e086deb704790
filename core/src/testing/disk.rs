//! A small disk: two queues, failures when told to, and crashes that tear the last write.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::store::{DirEntry, DiskAnswer, DiskDone, DiskError, DiskOp, FileName, Stream};

/// What is written is durable at once; what is only asked for may or may not be, when the power fails.
#[derive(Debug, Default)]
pub struct Disk {
    files: BTreeMap<FileName, Vec<u8>>,
    /// The log file that is written to, and where its content ends.
    log: Option<(FileName, usize)>,
    /// The snapshot under its temporary name; none after one of its operations failed, so that no snapshot with a
    /// hole gets its name.
    snapshot: Option<(FileName, Vec<u8>)>,
    log_queue: VecDeque<DiskOp>,
    bulk_queue: VecDeque<DiskOp>,
    /// What happened to the log, and from then on happens to all that is asked of it.
    log_failure: Option<DiskError>,
}

impl Disk {
    /// The files there are, to look at and to damage.
    pub const fn files(&mut self) -> &mut BTreeMap<FileName, Vec<u8>> {
        &mut self.files
    }

    /// Takes an operation in.
    pub fn ask(&mut self, op: DiskOp) {
        self.queue(op.stream()).push_back(op);
    }

    fn queue(&mut self, stream: Stream) -> &mut VecDeque<DiskOp> {
        match stream {
            Stream::Log => &mut self.log_queue,
            Stream::Bulk => &mut self.bulk_queue,
        }
    }

    /// Whether the oldest operation of a stream puts bytes into a snapshot.
    pub fn writes_snapshot_next(&mut self, stream: Stream) -> bool {
        matches!(self.queue(stream).front(), Some(DiskOp::SnapshotAppend { .. }))
    }

    /// Carries out the oldest operation of a stream, or fails to.
    pub fn end_next(&mut self, stream: Stream, failure: Option<DiskError>) -> Option<DiskDone> {
        let op = self.queue(stream).pop_front()?;
        let ticket = op.ticket();
        let result = match self.log_failure.filter(|_| stream == Stream::Log) {
            Some(error) => Err(error),
            None => self.end(op, stream, failure),
        };
        Some(DiskDone { ticket, result })
    }

    fn end(
        &mut self,
        op: DiskOp,
        stream: Stream,
        failure: Option<DiskError>,
    ) -> Result<DiskAnswer, DiskError> {
        match failure {
            // What a failed write leaves behind is anybody's guess; here, half of it.
            Some(error) => {
                match op {
                    DiskOp::SnapshotCreate { .. }
                    | DiskOp::SnapshotAppend { .. }
                    | DiskOp::SnapshotFinish { .. } => self.snapshot = None,
                    _ if stream == Stream::Log => self.log_failure = Some(error),
                    _ => {}
                }
                self.tear(op, 2);
                Err(error)
            }
            None => self.execute(op),
        }
    }

    /// The power fails: of each queue's oldest operation a part is done, of the others nothing.
    pub fn crash(&mut self, parts: usize) {
        for stream in [Stream::Log, Stream::Bulk] {
            let oldest = self.queue(stream).pop_front();
            if let Some(op) = oldest.filter(|_| stream == Stream::Bulk || self.log_failure.is_none()) {
                self.tear(op, parts);
            }
            self.queue(stream).clear();
        }
        self.log_failure = None;
        self.log = None;
        self.snapshot = None;
    }

    /// Writes one part of a log append, and all of it where that is one part of one. The file may have grown.
    fn tear(&mut self, op: DiskOp, parts: usize) {
        match op {
            DiskOp::LogAppend { ticket, bytes, grow_to, sync } => {
                let bytes = bytes.slice(..bytes.len() / parts.max(1));
                let _ = self.execute(DiskOp::LogAppend { ticket, bytes, grow_to, sync });
            }
            op if parts == 1 => drop(self.execute(op)),
            DiskOp::LogCreate { .. }
            | DiskOp::Truncate { .. }
            | DiskOp::Sync { .. }
            | DiskOp::SnapshotCreate { .. }
            | DiskOp::SnapshotAppend { .. }
            | DiskOp::SnapshotFinish { .. }
            | DiskOp::SnapshotDiscard { .. }
            | DiskOp::Replace { .. }
            | DiskOp::Remove { .. }
            | DiskOp::List { .. }
            | DiskOp::Read { .. } => {}
        }
    }

    /// Carries an operation out.
    pub fn execute(&mut self, op: DiskOp) -> Result<DiskAnswer, DiskError> {
        match op {
            DiskOp::LogCreate { file, .. } => {
                let before = self.files.insert(file.clone(), Vec::new());
                assert_eq!(before, None, "{file} is created a second time");
                self.log = Some((file, 0));
            }
            DiskOp::LogAppend { bytes, grow_to, .. } => self.append(&bytes, grow_to),
            DiskOp::Truncate { file, size, .. } => {
                self.files.get_mut(&file).expect("what is cut is there").truncate(size as usize);
            }
            DiskOp::Sync { .. } => {}
            DiskOp::SnapshotCreate { file, .. } => {
                assert_eq!(self.snapshot, None, "one snapshot at a time");
                self.snapshot = Some((file, Vec::new()));
            }
            DiskOp::SnapshotAppend { bytes, .. } => {
                let (_, content) = self.snapshot.as_mut().ok_or(DiskError::NotFound)?;
                content.extend_from_slice(&bytes);
            }
            DiskOp::SnapshotFinish { .. } => {
                let (file, content) = self.snapshot.take().ok_or(DiskError::NotFound)?;
                self.files.insert(file, content);
            }
            DiskOp::SnapshotDiscard { .. } => self.snapshot = None,
            DiskOp::Replace { file, bytes, .. } => drop(self.files.insert(file, bytes.to_vec())),
            DiskOp::Remove { files, .. } => files.iter().for_each(|file| drop(self.files.remove(file))),
            DiskOp::List { .. } => {
                let entry = |(file, bytes): (&FileName, &Vec<u8>)| DirEntry {
                    file: file.clone(),
                    size: bytes.len() as u64,
                };
                return Ok(DiskAnswer::Listing(self.files.iter().map(entry).collect()));
            }
            DiskOp::Read { file, offset, len, .. } => {
                let bytes = self.files.get(&file).ok_or(DiskError::NotFound)?;
                let start = (offset as usize).min(bytes.len());
                let end = (start + len).min(bytes.len());
                return Ok(DiskAnswer::Data(Bytes::copy_from_slice(&bytes[start..end])));
            }
        }
        Ok(DiskAnswer::Done)
    }

    fn append(&mut self, bytes: &[u8], grow_to: Option<u64>) {
        let (name, end) = self.log.as_mut().expect("a log file was created");
        let content = self.files.get_mut(name).expect("the file that is written to is never removed");
        let size = (*end + bytes.len()).max(content.len()).max(grow_to.unwrap_or(0) as usize);
        content.resize(size, 0);
        content[*end..*end + bytes.len()].copy_from_slice(bytes);
        *end += bytes.len();
    }
}
