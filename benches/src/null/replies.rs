//! The null server's answers: right in size and shape, empty in content.

use crate::jute::{
    Malformed, PASSWORD_SIZE, REPLY_HEADER_SIZE, Reader, STAT_SIZE, error_code, opcode, put_buffer,
    put_frame, put_i32, put_i64, xid,
};
use crate::null::log::Log;

/// Digits a server appends to the name of a sequential znode.
const SEQUENCE: &[u8] = b"0000000000";
/// The bit of a create's flags that asks for a sequence number.
const FLAG_SEQUENTIAL: i32 = 2;
/// Name of every child in a listing: as long as those that the load generator creates.
const CHILD_NAME: &[u8] = b"c0000000";
const EVENT_DATA_CHANGED: i32 = 3;
const STATE_CONNECTED: i32 = 3;

/// What the null server remembers of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Client {
    established: bool,
    /// A read with a watch has come and no write since.
    watching: bool,
}

/// What a frame asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To end the session.
    Close,
    /// Nothing that outlives the reply.
    Read,
    /// Something that must be durable before the reply leaves.
    Write,
}

/// Answers requests.
#[derive(Debug)]
pub struct Replies {
    children: usize,
    /// Size of the data that was written last; every read returns that much.
    data: Vec<u8>,
    zxid: i64,
    sessions: i64,
}

impl Replies {
    /// Reads answer `data_size` bytes until a write comes, listings `children` names.
    pub fn new(data_size: usize, children: usize) -> Self {
        Self { children, data: vec![0; data_size], zxid: 0, sessions: 0 }
    }

    /// Appends the reply to `frame`, and what must be durable before it to `log`.
    pub fn answer(
        &mut self,
        client: &mut Client,
        frame: &[u8],
        out: &mut Vec<u8>,
        log: &mut Log,
    ) -> Result<Asked, Malformed> {
        let mut request = Reader::new(frame);
        if !client.established {
            client.established = true;
            self.greet(request, out)?;
            return Ok(Asked::Read);
        }
        let xid = request.i32()?;
        let op = request.i32()?;
        let asked = match op {
            opcode::CLOSE_SESSION => Asked::Close,
            opcode::CREATE | opcode::CREATE2 | opcode::DELETE | opcode::MULTI | opcode::SET_DATA => {
                log.push(frame);
                self.zxid += 1;
                Asked::Write
            }
            _ => Asked::Read,
        };
        if op == opcode::SET_DATA && client.watching {
            client.watching = false;
            put_event(out, request.clone().buffer()?);
        }
        let start = out.len();
        put_i32(out, 0);
        put_i32(out, xid);
        put_i64(out, self.zxid);
        put_i32(out, error_code::OK);
        debug_assert_eq!(out.len() - start, 4 + REPLY_HEADER_SIZE);
        match op {
            opcode::GET_DATA => {
                request.buffer()?;
                client.watching |= request.bool()?;
                put_buffer(out, &self.data);
                put_stat(out);
            }
            opcode::GET_CHILDREN | opcode::GET_CHILDREN2 => {
                put_i32(out, i32::try_from(self.children).map_err(|_| Malformed)?);
                for _ in 0..self.children {
                    put_buffer(out, CHILD_NAME);
                }
                if op == opcode::GET_CHILDREN2 {
                    put_stat(out);
                }
            }
            opcode::EXISTS => put_stat(out),
            opcode::SYNC => put_buffer(out, request.buffer()?),
            opcode::MULTI => self.answer_multi(&mut request, out)?,
            opcode::CREATE | opcode::CREATE2 | opcode::DELETE | opcode::SET_DATA => {
                self.answer_write(op, &mut request, out)?;
            }
            _ => {}
        }
        let size = i32::try_from(out.len() - start - 4).map_err(|_| Malformed)?;
        out[start..start + 4].copy_from_slice(&size.to_be_bytes());
        Ok(asked)
    }

    fn greet(&mut self, mut request: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        request.i32()?;
        request.i64()?;
        let timeout_ms = request.i32()?;
        self.sessions += 1;
        put_frame(out, |body| {
            put_i32(body, 0);
            put_i32(body, timeout_ms);
            put_i64(body, self.sessions);
            put_buffer(body, &[0; PASSWORD_SIZE]);
            body.push(0);
        });
        Ok(())
    }

    /// Reads one operation's body and appends its result.
    fn answer_write(
        &mut self,
        op: i32,
        request: &mut Reader<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        let path = request.buffer()?;
        match op {
            opcode::CREATE | opcode::CREATE2 => {
                let data = request.buffer()?;
                if !data.is_empty() {
                    self.set_data_size(data.len());
                }
                request.skip_acl()?;
                let suffix = if request.i32()? & FLAG_SEQUENTIAL == 0 { &[][..] } else { SEQUENCE };
                put_i32(out, i32::try_from(path.len() + suffix.len()).map_err(|_| Malformed)?);
                out.extend_from_slice(path);
                out.extend_from_slice(suffix);
                if op == opcode::CREATE2 {
                    put_stat(out);
                }
            }
            opcode::SET_DATA => {
                self.set_data_size(request.buffer()?.len());
                request.i32()?;
                put_stat(out);
            }
            opcode::DELETE | opcode::CHECK => {
                request.i32()?;
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }

    fn answer_multi(&mut self, request: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        loop {
            let op = request.i32()?;
            let done = request.bool()?;
            request.i32()?;
            put_i32(out, op);
            out.push(done.into());
            put_i32(out, if done { -1 } else { error_code::OK });
            if done {
                return Ok(());
            }
            self.answer_write(op, request, out)?;
        }
    }

    fn set_data_size(&mut self, size: usize) {
        if self.data.len() != size {
            self.data.resize(size, 0);
        }
    }
}

fn put_stat(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; STAT_SIZE]);
}

fn put_event(out: &mut Vec<u8>, path: &[u8]) {
    put_frame(out, |body| {
        put_i32(body, xid::EVENT);
        put_i64(body, -1);
        put_i32(body, error_code::OK);
        put_i32(body, EVENT_DATA_CHANGED);
        put_i32(body, STATE_CONNECTED);
        put_buffer(body, path);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{CreateMode, PathPattern, Template};

    /// Body sizes of the replies to one request on an established connection.
    fn sizes(request: &Template) -> Vec<usize> {
        let path = std::env::temp_dir().join(format!("zabra-null-replies-{}", std::process::id()));
        let mut log = Log::create(&path, false).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut replies = Replies::new(100, 3);
        let mut client = Client { established: true, watching: true };
        let mut frame = Vec::new();
        request.append(&mut frame, 1, || 0);
        let mut out = Vec::new();
        replies.answer(&mut client, &frame[4..], &mut out, &mut log).unwrap();
        let mut reader = Reader::new(&out);
        let mut sizes = Vec::new();
        while let Ok(size) = reader.i32() {
            sizes.push(reader.take(size as usize).unwrap().len() - REPLY_HEADER_SIZE);
        }
        assert!(reader.rest().is_empty());
        sizes
    }

    /// Goal: each reply has the size the protocol gives it.
    #[test]
    fn reply_sizes() {
        let path = PathPattern::fixed("/abc");
        assert_eq!(sizes(&Template::get_data(&path, false)), [4 + 100 + 68]);
        assert_eq!(sizes(&Template::exists(&path)), [68]);
        assert_eq!(sizes(&Template::children(&path)), [4 + 3 * (4 + 8) + 68]);
        assert_eq!(sizes(&Template::delete(&path)), [0]);
        assert_eq!(sizes(&Template::create(&path, b"x", CreateMode::Persistent)), [4 + 4]);
        assert_eq!(sizes(&Template::create(&path, b"x", CreateMode::PersistentSequential)), [4 + 14]);
        assert_eq!(sizes(&Template::multi_set_data(&path, b"x", 2)), [2 * (9 + 68) + 9]);
        // The event of the watch that is set comes first.
        assert_eq!(sizes(&Template::set_data(&path, b"x")), [4 + 4 + 4 + 4, 68]);
    }
}
