//! Requests prepared once, so that issuing one is a copy and a few digits.
//!
//! The only parts of a request that change between two issues are the xid and the number at the end of a path. A
//! template holds the finished frame and knows where these are.

use crate::jute::{opcode, put_buffer, put_frame, put_i32, put_open_acl};

/// Offset of the xid in a frame: behind the length.
const XID_AT: usize = 4;

/// The path of a request: fixed, or ending in a number of fixed width.
#[derive(Clone, Debug)]
pub struct PathPattern {
    prefix: String,
    digit_count: usize,
}

impl PathPattern {
    /// A path without a number.
    pub fn fixed(path: impl Into<String>) -> Self {
        Self { prefix: path.into(), digit_count: 0 }
    }

    /// A path whose last `digit_count` characters are a decimal number.
    pub fn numbered(prefix: impl Into<String>, digit_count: usize) -> Self {
        Self { prefix: prefix.into(), digit_count }
    }

    /// The path with the number filled in.
    pub fn path(&self, number: u64) -> String {
        let mut path = self.prefix.clone().into_bytes();
        path.resize(path.len() + self.digit_count, b'0');
        put_digits(&mut path[self.prefix.len()..], number);
        String::from_utf8(path).expect("a string and digits")
    }

    /// Appends the path and returns where its digits end.
    fn put(&self, out: &mut Vec<u8>) -> usize {
        put_buffer(out, self.path(0).as_bytes());
        out.len()
    }
}

/// How a created znode lives.
#[derive(Clone, Copy, Debug)]
pub enum CreateMode {
    /// Until it is deleted.
    Persistent = 0,
    /// As long as its session.
    Ephemeral = 1,
    /// Until it is deleted, with a number the server appends to its name.
    PersistentSequential = 2,
}

/// A finished request frame but for its xid and its numbers.
#[derive(Clone, Debug)]
pub struct Template {
    frame: Vec<u8>,
    /// Where the digits of each number end.
    number_ends: Vec<usize>,
    digit_count: usize,
}

impl Template {
    /// Reads data, with or without leaving a watch.
    pub fn get_data(path: &PathPattern, watch: bool) -> Self {
        Self::path_and_flag(opcode::GET_DATA, path, watch)
    }

    /// Reads the stat.
    pub fn exists(path: &PathPattern) -> Self {
        Self::path_and_flag(opcode::EXISTS, path, false)
    }

    /// Lists the children, with the stat.
    pub fn children(path: &PathPattern) -> Self {
        Self::path_and_flag(opcode::GET_CHILDREN2, path, false)
    }

    /// Replaces the data at any version.
    pub fn set_data(path: &PathPattern, data: &[u8]) -> Self {
        Self::build(opcode::SET_DATA, path.digit_count, |body, ends| put_set_data(body, ends, path, data))
    }

    /// Creates a znode open to everyone.
    pub fn create(path: &PathPattern, data: &[u8], mode: CreateMode) -> Self {
        Self::build(opcode::CREATE, path.digit_count, |body, ends| {
            ends.push(path.put(body));
            put_buffer(body, data);
            put_open_acl(body);
            put_i32(body, mode as i32);
        })
    }

    /// Deletes a znode at any version.
    pub fn delete(path: &PathPattern) -> Self {
        Self::build(opcode::DELETE, path.digit_count, |body, ends| {
            ends.push(path.put(body));
            put_i32(body, -1);
        })
    }

    /// Replaces the data of `count` znodes, all or none.
    pub fn multi_set_data(path: &PathPattern, data: &[u8], count: usize) -> Self {
        Self::build(opcode::MULTI, path.digit_count, |body, ends| {
            for _ in 0..count {
                put_multi_header(body, opcode::SET_DATA, false);
                put_set_data(body, ends, path, data);
            }
            put_multi_header(body, -1, true);
        })
    }

    fn path_and_flag(op: i32, path: &PathPattern, flag: bool) -> Self {
        Self::build(op, path.digit_count, |body, ends| {
            ends.push(path.put(body));
            body.push(flag.into());
        })
    }

    fn build(op: i32, digit_count: usize, fill: impl FnOnce(&mut Vec<u8>, &mut Vec<usize>)) -> Self {
        let mut frame = Vec::new();
        let mut number_ends = Vec::new();
        put_frame(&mut frame, |body| {
            put_i32(body, 0);
            put_i32(body, op);
            fill(body, &mut number_ends);
        });
        Self { frame, number_ends, digit_count }
    }

    /// Appends the request to `out`, asking `number` once for each path.
    pub fn append(&self, out: &mut Vec<u8>, xid: i32, mut number: impl FnMut() -> u64) {
        let start = out.len();
        out.extend_from_slice(&self.frame);
        let frame = &mut out[start..];
        frame[XID_AT..XID_AT + 4].copy_from_slice(&xid.to_be_bytes());
        if self.digit_count > 0 {
            for &end in &self.number_ends {
                put_digits(&mut frame[end - self.digit_count..end], number());
            }
        }
    }
}

fn put_multi_header(out: &mut Vec<u8>, op: i32, done: bool) {
    put_i32(out, op);
    out.push(done.into());
    put_i32(out, -1);
}

fn put_set_data(out: &mut Vec<u8>, ends: &mut Vec<usize>, path: &PathPattern, data: &[u8]) {
    ends.push(path.put(out));
    put_buffer(out, data);
    put_i32(out, -1);
}

fn put_digits(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    debug_assert_eq!(number, 0, "the pattern has too few digits");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute::Reader;

    /// Goal: a template gives the frame the protocol asks for, with its own xid and number each time.
    #[test]
    fn set_data_round_trip() {
        let template = Template::set_data(&PathPattern::numbered("/a/k", 6), b"xyz");
        let mut out = Vec::new();
        template.append(&mut out, 7, || 42);
        template.append(&mut out, 8, || 999_999);
        let mut reader = Reader::new(&out);
        for (xid, path) in [(7, "/a/k000042"), (8, "/a/k999999")] {
            let size = reader.i32().unwrap() as usize;
            let mut body = Reader::new(reader.take(size).unwrap());
            assert_eq!(body.i32(), Ok(xid));
            assert_eq!(body.i32(), Ok(opcode::SET_DATA));
            assert_eq!(body.buffer(), Ok(path.as_bytes()));
            assert_eq!(body.buffer(), Ok(&b"xyz"[..]));
            assert_eq!(body.i32(), Ok(-1));
            assert!(body.rest().is_empty());
        }
        assert!(reader.rest().is_empty());
    }

    /// Goal: each operation of a multi draws its own number.
    #[test]
    fn multi_numbers_each_operation() {
        let template = Template::multi_set_data(&PathPattern::numbered("/k", 3), b"", 3);
        let mut out = Vec::new();
        let mut next = 0;
        template.append(&mut out, 1, || {
            next += 1;
            next
        });
        let text = String::from_utf8_lossy(&out).into_owned();
        for path in ["/k001", "/k002", "/k003"] {
            assert_eq!(text.matches(path).count(), 1, "{path}");
        }
    }
}
