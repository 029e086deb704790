//! Where the null server's writes go: one append and one sync for all writes of a turn.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Size of the file, set when it is opened, so that an append changes blocks and not the size.
const LOG_SIZE: u64 = 256 << 20;

/// The file, and the writes of the turn under way.
#[derive(Debug)]
pub struct Log {
    file: File,
    /// Whether a turn's writes are synced: off, it shows what the disk costs.
    synced: bool,
    batch: Vec<u8>,
    offset: u64,
}

impl Log {
    /// Creates the file, or empties it.
    pub fn create(path: &Path, synced: bool) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        file.set_len(LOG_SIZE)?;
        file.sync_all()?;
        Ok(Self { file, synced, batch: Vec::new(), offset: 0 })
    }

    /// Adds a write to the turn.
    pub fn push(&mut self, request: &[u8]) {
        self.batch.extend_from_slice(request);
    }

    /// Makes the turn's writes durable. Nothing is done when there are none.
    pub fn commit(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        if self.offset + self.batch.len() as u64 > LOG_SIZE {
            // Start over in a file without blocks: an append never writes the same block twice.
            self.file.set_len(0)?;
            self.file.set_len(LOG_SIZE)?;
            self.offset = 0;
        }
        self.file.write_all_at(&self.batch, self.offset)?;
        self.offset += self.batch.len() as u64;
        self.batch.clear();
        if self.synced { self.file.sync_data() } else { Ok(()) }
    }
}
