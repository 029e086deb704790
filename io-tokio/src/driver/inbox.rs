//! The one buffer that every connection reads into; a read is cut off and handed over without a copy.

use std::io;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};

use super::READ_BYTES;
use crate::stream::Stream;

/// Room for reads that is allocated at a time, once what was read before is still in use.
const INBOX_BYTES: usize = 4 * READ_BYTES;

/// The buffer.
#[derive(Debug)]
pub(super) struct Inbox(BytesMut);

impl Inbox {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self(BytesMut::with_capacity(INBOX_BYTES))
    }

    /// Reads once from a connection, at most [`READ_BYTES`].
    pub(super) fn poll_read(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.0.capacity() < READ_BYTES && !self.0.try_reclaim(READ_BYTES) {
            self.0 = BytesMut::with_capacity(INBOX_BYTES);
        }
        stream.poll_read(cx, &mut self.0, READ_BYTES)
    }

    /// What was just read.
    pub(super) fn take(&mut self) -> Bytes {
        self.0.split().freeze()
    }
}
