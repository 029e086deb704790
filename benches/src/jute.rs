//! The few jute primitives and protocol numbers that load generator and null server need.
//!
//! Not a codec: no record types, no versions. A [`Reader`] never reads past its slice and says so with [`Malformed`].

/// Operation numbers of requests.
pub mod opcode {
    /// Creates a znode and answers its path.
    pub const CREATE: i32 = 1;
    /// Deletes a znode.
    pub const DELETE: i32 = 2;
    /// Answers the stat of a znode.
    pub const EXISTS: i32 = 3;
    /// Answers data and stat.
    pub const GET_DATA: i32 = 4;
    /// Replaces the data and answers the stat.
    pub const SET_DATA: i32 = 5;
    /// Answers the names of the children.
    pub const GET_CHILDREN: i32 = 8;
    /// Flushes the path between leader and follower.
    pub const SYNC: i32 = 9;
    /// Keeps a session alive.
    pub const PING: i32 = 11;
    /// Answers the names of the children and the stat.
    pub const GET_CHILDREN2: i32 = 12;
    /// Checks a version inside a multi.
    pub const CHECK: i32 = 13;
    /// Several operations, all or none.
    pub const MULTI: i32 = 14;
    /// Creates a znode and answers path and stat.
    pub const CREATE2: i32 = 15;
    /// Ends a session.
    pub const CLOSE_SESSION: i32 = -11;
}

/// Transaction-independent numbers in the xid field of a reply.
pub mod xid {
    /// A watch event.
    pub const EVENT: i32 = -1;
    /// The answer to a ping.
    pub const PING: i32 = -2;
}

/// Result codes the programs look at by name.
pub mod error_code {
    /// All is well.
    pub const OK: i32 = 0;
    /// The znode does not exist.
    pub const NO_NODE: i32 = -101;
    /// The znode exists already.
    pub const NODE_EXISTS: i32 = -110;

    /// ZooKeeper's own name of a code, for reports.
    pub fn name(code: i32) -> &'static str {
        match code {
            -1 => "SystemError",
            -2 => "RuntimeInconsistency",
            -4 => "ConnectionLoss",
            -5 => "MarshallingError",
            -6 => "Unimplemented",
            -7 => "OperationTimeout",
            -8 => "BadArguments",
            NO_NODE => "NoNode",
            -102 => "NoAuth",
            -103 => "BadVersion",
            -108 => "NoChildrenForEphemerals",
            NODE_EXISTS => "NodeExists",
            -111 => "NotEmpty",
            -112 => "SessionExpired",
            -113 => "InvalidCallback",
            -114 => "InvalidACL",
            -115 => "AuthFailed",
            -118 => "SessionMoved",
            -119 => "NotReadOnly",
            -125 => "QuotaExceeded",
            -127 => "ThrottledOp",
            _ => "other",
        }
    }
}

/// Bytes of a serialized stat: eleven fields.
pub const STAT_SIZE: usize = 68;
/// Bytes of a reply header: xid, zxid, error.
pub const REPLY_HEADER_SIZE: usize = 16;
/// Bytes of a session password.
pub const PASSWORD_SIZE: usize = 16;

/// The peer sent something that is not what the protocol says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Appends a 32-bit integer.
pub fn put_i32(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a 64-bit integer.
pub fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a length-prefixed buffer or string.
pub fn put_buffer(out: &mut Vec<u8>, bytes: &[u8]) {
    put_i32(out, i32::try_from(bytes.len()).expect("buffers here are far below 2 GiB"));
    out.extend_from_slice(bytes);
}

/// Appends the access control list of everyone.
pub fn put_open_acl(out: &mut Vec<u8>) {
    const ALL_PERMISSIONS: i32 = 31;
    put_i32(out, 1);
    put_i32(out, ALL_PERMISSIONS);
    put_buffer(out, b"world");
    put_buffer(out, b"anyone");
}

/// Appends a frame whose body `fill` writes.
pub fn put_frame(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put_i32(out, 0);
    fill(out);
    let size = i32::try_from(out.len() - start - 4).expect("frames here are far below 2 GiB");
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

/// Reads primitives from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `size` bytes.
    pub fn take(&mut self, size: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(size).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    /// One byte as a boolean.
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        Ok(self.take(1)?[0] != 0)
    }

    /// A 32-bit integer.
    pub fn i32(&mut self) -> Result<i32, Malformed> {
        let (value, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(i32::from_be_bytes(*value))
    }

    /// A 64-bit integer.
    pub fn i64(&mut self) -> Result<i64, Malformed> {
        let (value, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(i64::from_be_bytes(*value))
    }

    /// A length-prefixed buffer or string; ZooKeeper writes "none" as length -1, which reads as empty.
    pub fn buffer(&mut self) -> Result<&'a [u8], Malformed> {
        match self.i32()? {
            -1 => Ok(&[]),
            size => self.take(usize::try_from(size).map_err(|_| Malformed)?),
        }
    }

    /// Steps over an access control list.
    pub fn skip_acl(&mut self) -> Result<(), Malformed> {
        for _ in 0..self.i32()?.max(0) {
            self.i32()?;
            self.buffer()?;
            self.buffer()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what is put comes back, and each way of ending early is an error, never a panic.
    #[test]
    fn reads_what_was_put_and_no_further() {
        let mut out = Vec::new();
        put_frame(&mut out, |body| {
            put_i64(body, -7);
            put_buffer(body, b"abc");
            put_open_acl(body);
            body.push(1);
        });
        let mut reader = Reader::new(&out);
        assert_eq!(reader.i32().unwrap() as usize, out.len() - 4);
        assert_eq!(reader.i64(), Ok(-7));
        assert_eq!(reader.buffer(), Ok(&b"abc"[..]));
        reader.skip_acl().unwrap();
        assert_eq!(reader.bool(), Ok(true));
        assert_eq!(reader.bool(), Err(Malformed));

        for cut in 0..out.len() - 1 {
            let mut reader = Reader::new(&out[4.min(cut)..cut]);
            let all = reader
                .i64()
                .and_then(|_| reader.buffer())
                .and_then(|_| reader.skip_acl())
                .and_then(|()| reader.bool());
            assert_eq!(all, Err(Malformed), "cut at {cut}");
        }
    }

    /// Goal: hostile lengths are refused and "none" is empty.
    #[test]
    fn buffer_lengths() {
        assert_eq!(Reader::new(&(-1i32).to_be_bytes()).buffer(), Ok(&[][..]));
        assert_eq!(Reader::new(&(-2i32).to_be_bytes()).buffer(), Err(Malformed));
        assert_eq!(Reader::new(&i32::MAX.to_be_bytes()).buffer(), Err(Malformed));
    }
}
