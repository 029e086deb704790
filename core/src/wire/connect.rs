//! The session handshake: the first frame in each direction, without any header.

use alloc::vec::Vec;

use super::jute::{DecodeError, Reader, Writer};
use super::reply;
use crate::types::{SessionId, Zxid};

/// Bytes of a session's password.
pub const PASSWORD_LEN: usize = 16;

/// What a client begins with (PARITY `conn.req`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectRequest<'a> {
    /// 0; nobody looks at it.
    pub protocol_version: i32,
    /// The newest transaction that the client has seen.
    pub last_zxid_seen: Zxid,
    /// The session timeout that the client would like, in milliseconds.
    pub timeout_ms: i32,
    /// The session to resume, or [`SessionId::NONE`].
    pub session: SessionId,
    /// The session's password. Null reads as empty, which is no session's password either.
    pub password: &'a [u8],
    /// Whether a read-only server will do. `None`: an old client that does not know the question, and must
    /// not be answered it (PARITY `conn.oldclient`).
    pub read_only: Option<bool>,
}

impl<'a> ConnectRequest<'a> {
    /// Decodes the content of a frame.
    ///
    /// # Errors
    /// If it is no handshake.
    pub fn decode(frame: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame);
        Ok(Self {
            protocol_version: reader.int()?,
            last_zxid_seen: Zxid(reader.long()?),
            timeout_ms: reader.int()?,
            session: SessionId(reader.long()?),
            password: reader.buffer()?.unwrap_or_default(),
            read_only: reader.boolean().ok(),
        })
    }

    /// Appends a whole frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let frame = reply::begin(out);
        let mut writer = Writer::new(out);
        writer.int(self.protocol_version);
        writer.long(self.last_zxid_seen.0);
        writer.int(self.timeout_ms);
        writer.long(self.session.0);
        writer.buffer(Some(self.password));
        if let Some(read_only) = self.read_only {
            writer.boolean(read_only);
        }
        reply::end(out, frame);
    }
}

/// What a server answers (PARITY `conn.resp`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectResponse {
    /// The negotiated session timeout in milliseconds; 0: there is no such session.
    pub timeout_ms: i32,
    /// The session.
    pub session: SessionId,
    /// Its password.
    pub password: [u8; PASSWORD_LEN],
    /// Whether this server is read-only. `None`: the client did not ask, so the byte is left out.
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    /// The answer when the session has expired, is not known, or has another password (PARITY
    /// `conn.expired`).
    pub const fn expired(read_only: Option<bool>) -> Self {
        Self { timeout_ms: 0, session: SessionId::NONE, password: [0; PASSWORD_LEN], read_only }
    }

    /// Appends a whole frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let frame = reply::begin(out);
        let mut writer = Writer::new(out);
        writer.int(0);
        writer.int(self.timeout_ms);
        writer.long(self.session.0);
        writer.buffer(Some(&self.password));
        if let Some(read_only) = self.read_only {
            writer.boolean(read_only);
        }
        reply::end(out, frame);
    }

    /// Decodes the content of a frame.
    ///
    /// # Errors
    /// If it is no handshake, or the password is not of [`PASSWORD_LEN`].
    pub fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame);
        reader.int()?;
        Ok(Self {
            timeout_ms: reader.int()?,
            session: SessionId(reader.long()?),
            password: match reader.buffer()? {
                None => return Err(DecodeError::Null),
                Some(password) => password.try_into().map_err(|_| DecodeError::WrongLength)?,
            },
            read_only: reader.boolean().ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: ConnectRequest<'_> = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid(0x1_0000_0002),
        timeout_ms: 30_000,
        session: SessionId(0x0100_0000_0000_0001),
        password: &[7; 16],
        read_only: Some(true),
    };

    /// PARITY `conn.req`, `conn.oldclient`: 45 bytes with the trailing flag, 44 without, and nothing shorter.
    #[test]
    fn conn_req() {
        for (read_only, length) in [(Some(true), 45), (Some(false), 45), (None, 44)] {
            let request = ConnectRequest { read_only, ..REQUEST };
            let mut out = Vec::new();
            request.encode(&mut out);
            assert_eq!(out[..4], [0, 0, 0, length]);
            assert_eq!(out.len(), 4 + usize::from(length));
            assert_eq!(ConnectRequest::decode(&out[4..]), Ok(request));
            for cut in 0..44 {
                assert_eq!(ConnectRequest::decode(&out[4..4 + cut]), Err(DecodeError::UnexpectedEnd));
            }
        }
    }

    /// A null password is what some clients send for a new session.
    #[test]
    fn null_password() {
        let mut out = Vec::new();
        REQUEST.encode(&mut out);
        let frame = [&out[4..28], &[0xff; 4]].concat();
        let decoded = ConnectRequest::decode(&frame).expect("null is allowed");
        assert_eq!(decoded.password, b"");
        assert_eq!(decoded.read_only, None);
    }

    /// PARITY `conn.resp`, `conn.oldclient`, `conn.expired`: 37 bytes, or 36 for a client that did not ask.
    #[test]
    fn conn_resp() {
        for (read_only, length) in [(Some(false), 37), (None, 36)] {
            let response = ConnectResponse {
                timeout_ms: 10_000,
                session: SessionId(-5),
                password: core::array::from_fn(|i| i as u8),
                read_only,
            };
            let mut out = Vec::new();
            response.encode(&mut out);
            assert_eq!(out[..4], [0, 0, 0, length]);
            assert_eq!(ConnectResponse::decode(&out[4..]), Ok(response));
            let mut expired = Vec::new();
            ConnectResponse::expired(read_only).encode(&mut expired);
            assert_eq!(expired.len(), out.len());
            assert!(expired[4..20].iter().all(|byte| *byte == 0));
        }
        let short = [&[0; 16][..], &[0, 0, 0, 2, 1, 2]].concat();
        assert_eq!(ConnectResponse::decode(&short), Err(DecodeError::WrongLength));
    }
}
