//! Jute, ZooKeeper's encoding: big-endian numbers, length-prefixed strings and buffers, counted vectors, -1
//! for null. Records are their fields one after the other, without tags or alignment.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The file does not begin with the letters that its kind begins with.
    BadMagic,
    /// A part of a snapshot does not have the checksum that is written behind it.
    BadSeal,
    /// A snapshot that a leader sent does not end with its signature.
    BadSignature,
    /// A string is not UTF-8.
    BadUtf8,
    /// The file's format has a version that nobody has defined.
    BadVersion,
    /// A multi mixes reads and writes, has an operation that is not allowed in it, or a create mode that does
    /// not exist.
    InvalidMulti,
    /// A length or count is negative and not the -1 of null.
    NegativeLength,
    /// A field that must not be null is.
    Null,
    /// A string or buffer is longer than the limit.
    TooLong,
    /// The bytes end in the middle of a field.
    UnexpectedEnd,
    /// There is no operation or transaction with this number, or not here.
    UnknownOperation,
    /// A field of fixed size has another.
    WrongLength,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadMagic => "the file begins with the wrong magic number",
            Self::BadSeal => "a checksum in the snapshot does not match",
            Self::BadSignature => "the snapshot does not end with its signature",
            Self::BadUtf8 => "a string is not UTF-8",
            Self::BadVersion => "the file has an unknown format version",
            Self::InvalidMulti => "a multi has operations that cannot be combined",
            Self::NegativeLength => "a length is negative",
            Self::Null => "a required field is null",
            Self::TooLong => "a field is longer than jute.maxbuffer allows",
            Self::UnexpectedEnd => "the bytes end in the middle of a field",
            Self::UnknownOperation => "the operation is unknown",
            Self::WrongLength => "a field of fixed size has another size",
        })
    }
}

impl core::error::Error for DecodeError {}

/// Reads jute fields one after the other, borrowing from the input.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Strings and buffers longer than this are refused; those longer than `rest` are in any case.
    field_max: usize,
}

impl<'a> Reader<'a> {
    /// A reader whose fields are limited only by the bytes that are there.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, field_max: usize::MAX }
    }

    /// A reader that also refuses any string or buffer of more than `field_max` bytes (PARITY `jute.limit`).
    #[inline]
    pub const fn with_limit(bytes: &'a [u8], field_max: usize) -> Self {
        Self { rest: bytes, field_max }
    }

    /// The limit of one string or buffer.
    #[inline]
    pub const fn field_max(&self) -> usize {
        self.field_max
    }

    /// How many bytes are left.
    #[inline]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The bytes that are left.
    #[inline]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `N` bytes as they are.
    ///
    /// # Errors
    /// If fewer are left.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::UnexpectedEnd)?;
        self.rest = rest;
        Ok(*array)
    }

    /// A 32-bit number.
    ///
    /// # Errors
    /// If the bytes end before it does.
    #[inline]
    pub fn int(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    /// A 64-bit number.
    ///
    /// # Errors
    /// If the bytes end before it does.
    #[inline]
    pub fn long(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    /// A boolean; any byte but zero is true, as in Java.
    ///
    /// # Errors
    /// If no byte is left.
    #[inline]
    pub fn boolean(&mut self) -> Result<bool, DecodeError> {
        self.array().map(|[byte]| byte != 0)
    }

    /// A buffer, or null.
    ///
    /// # Errors
    /// If its length is negative, beyond the limit, or more than what is left.
    #[inline]
    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        let length = self.int()?;
        let Ok(length) = usize::try_from(length) else {
            return if length == -1 { Ok(None) } else { Err(DecodeError::NegativeLength) };
        };
        if length > self.field_max {
            return Err(DecodeError::TooLong);
        }
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::UnexpectedEnd)?;
        self.rest = rest;
        Ok(Some(bytes))
    }

    /// A string, or null.
    ///
    /// # Errors
    /// As [`Reader::buffer`], and if it is not UTF-8.
    #[inline]
    pub fn string(&mut self) -> Result<Option<&'a str>, DecodeError> {
        match self.buffer()? {
            None => Ok(None),
            Some(bytes) => core::str::from_utf8(bytes).map(Some).map_err(|_| DecodeError::BadUtf8),
        }
    }

    /// A string that must not be null.
    ///
    /// # Errors
    /// As [`Reader::string`], and if it is null.
    #[inline]
    pub fn required_string(&mut self) -> Result<&'a str, DecodeError> {
        self.string()?.ok_or(DecodeError::Null)
    }

    /// The number of elements of a vector, or null. It is never more than what is left can hold, since no
    /// element of any vector takes less than four bytes.
    ///
    /// # Errors
    /// If it is negative, or more than what is left can hold.
    #[inline]
    pub fn vector_len(&mut self) -> Result<Option<usize>, DecodeError> {
        let count = self.int()?;
        let Ok(count) = usize::try_from(count) else {
            return if count == -1 { Ok(None) } else { Err(DecodeError::NegativeLength) };
        };
        if count > self.rest.len() / 4 {
            return Err(DecodeError::UnexpectedEnd);
        }
        Ok(Some(count))
    }

    /// A vector of strings, none of which may be null, nor the vector itself.
    ///
    /// # Errors
    /// As [`Reader::vector_len`] and [`Reader::required_string`].
    pub fn required_strings(&mut self) -> Result<Vec<&'a str>, DecodeError> {
        let count = self.vector_len()?.ok_or(DecodeError::Null)?;
        let mut strings = Vec::with_capacity(count);
        for _ in 0..count {
            strings.push(self.required_string()?);
        }
        Ok(strings)
    }
}

/// Appends jute fields to a vector.
#[derive(Debug)]
pub struct Writer<'a>(&'a mut Vec<u8>);

impl<'a> Writer<'a> {
    /// A writer that appends to `out`.
    #[inline]
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self(out)
    }

    /// The vector appended to.
    #[inline]
    pub const fn out(&mut self) -> &mut Vec<u8> {
        self.0
    }

    /// Bytes as they are.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A 32-bit number.
    #[inline]
    pub fn int(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    /// A 64-bit number.
    #[inline]
    pub fn long(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    /// A boolean.
    #[inline]
    pub fn boolean(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    /// Null, in place of a string, buffer or vector.
    #[inline]
    pub fn null(&mut self) {
        self.int(-1);
    }

    /// A buffer, or null.
    #[inline]
    pub fn buffer(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.null(),
            Some(bytes) => {
                self.0.reserve(4 + bytes.len());
                self.vector_len(bytes.len());
                self.raw(bytes);
            }
        }
    }

    /// A string.
    #[inline]
    pub fn string(&mut self, value: &str) {
        self.buffer(Some(value.as_bytes()));
    }

    /// A string, or null.
    #[inline]
    pub fn optional_string(&mut self, value: Option<&str>) {
        self.buffer(value.map(str::as_bytes));
    }

    /// The number of elements of a vector that follows.
    ///
    /// # Panics
    /// If it does not fit 31 bits: nothing in this crate may grow that far.
    #[inline]
    pub fn vector_len(&mut self, count: usize) {
        self.int(i32::try_from(count).expect("every list and buffer is limited far below 2 GiB"));
    }

    /// A vector of strings.
    pub fn strings<S: AsRef<str>>(&mut self, strings: &[S]) {
        self.vector_len(strings.len());
        for string in strings {
            self.string(string.as_ref());
        }
    }
}

/// A string in which whatever is not UTF-8 was replaced, as Java's decoder does.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    /// PARITY `jute.int-long`, `jute.string`, `jute.buffer`, `jute.vector`: the bytes of each, by hand.
    #[test]
    fn jute_bytes() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        writer.int(-2);
        writer.long(0x0102_0304_0506_0708);
        writer.boolean(true);
        writer.string("é");
        writer.string("");
        writer.optional_string(None);
        writer.buffer(Some(&[]));
        writer.buffer(None);
        writer.vector_len(3);
        let expected = [
            vec![0xff, 0xff, 0xff, 0xfe],
            vec![1, 2, 3, 4, 5, 6, 7, 8],
            vec![1],
            vec![0, 0, 0, 2, 0xc3, 0xa9],
            vec![0, 0, 0, 0],
            vec![0xff; 4],
            vec![0, 0, 0, 0],
            vec![0xff; 4],
            vec![0, 0, 0, 3],
        ]
        .concat();
        assert_eq!(out, expected);
    }

    /// Null and empty stay apart; a required string is not null; any byte but zero is true.
    #[test]
    fn jute_null_and_empty() {
        let mut reader = Reader::new(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(reader.string(), Ok(None));
        assert_eq!(reader.string(), Ok(Some("")));
        assert_eq!(reader.boolean(), Ok(true));
        assert_eq!(reader.required_string(), Err(DecodeError::Null));
        assert_eq!(reader.remaining(), 0);
        assert_eq!(reader.boolean(), Err(DecodeError::UnexpectedEnd));
    }

    /// PARITY `jute.limit`: hostile lengths and counts are refused before anything is allocated.
    #[test]
    fn jute_limit() {
        let read = |bytes: &[u8]| Reader::with_limit(bytes, 3).buffer().map(|b| b.map(<[u8]>::len));
        assert_eq!(read(&[0, 0, 0, 3, 1, 2, 3]), Ok(Some(3)));
        assert_eq!(read(&[0, 0, 0, 4, 1, 2, 3, 4]), Err(DecodeError::TooLong));
        assert_eq!(read(&[0, 0, 0, 3, 1, 2]), Err(DecodeError::UnexpectedEnd));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xfe]), Err(DecodeError::NegativeLength));
        assert_eq!(read(&[0x7f, 0xff, 0xff, 0xff]), Err(DecodeError::TooLong));
        let count = |bytes: &[u8]| Reader::new(bytes).vector_len();
        assert_eq!(count(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]), Err(DecodeError::UnexpectedEnd));
        assert_eq!(count(&[0x80, 0, 0, 0]), Err(DecodeError::NegativeLength));
        assert_eq!(count(&[0xff; 4]), Ok(None));
        assert_eq!(count(&[0, 0, 0, 1, 0, 0, 0, 0]), Ok(Some(1)));
        assert_eq!(Reader::new(&[0, 0, 0, 1, 0xff]).string(), Err(DecodeError::BadUtf8));
    }

    proptest! {
        /// What is written is read back, and no strict prefix of it reads as the whole.
        #[test]
        fn jute_round_trip(number: i32, long: i64, flag: bool, text in proptest::option::of(".{0,20}"),
                           data: Option<Vec<u8>>,
                           texts in proptest::collection::vec(".{0,9}", 0..9)) {
            let mut out = Vec::new();
            let mut writer = Writer::new(&mut out);
            writer.int(number);
            writer.long(long);
            writer.boolean(flag);
            writer.optional_string(text.as_deref());
            writer.buffer(data.as_deref());
            writer.strings(&texts);
            let read = |bytes| {
                let mut reader = Reader::new(bytes);
                Ok((reader.int()?, reader.long()?, reader.boolean()?, reader.string()?, reader.buffer()?,
                    reader.required_strings()?))
            };
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            prop_assert_eq!(read(&out), Ok((number, long, flag, text.as_deref(), data.as_deref(), texts)));
            for cut in 0..out.len() {
                prop_assert_eq!(read(&out[..cut]), Err(DecodeError::UnexpectedEnd));
            }
        }
    }
}
