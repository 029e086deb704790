//! The election port: the greeting of whoever connects, and the notifications behind it (PARITY `qcm.hello`,
//! `qcm.frame`, `fle.msg`).
//!
//! The side that connected says who it is, once; the other side answers nothing. From then on both send frames:
//! four bytes of length, then a notification. Nothing ends a greeting but its own lengths, so it is decoded from
//! the front of the stream, and what is left belongs to the first frame.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use bytes::Bytes;

use super::frame::{Deframer, FrameError};
use super::jute::{DecodeError, Reader, Writer};
use crate::types::membership::TEXT_MAX;
use crate::types::{Address, Notification, PeerState, ServerId, Vote, Zxid};

/// The largest frame on the election port (PARITY `qcm.frame`).
pub const FRAME_MAX: usize = 512 * 1024;

/// The longest list of addresses in a greeting (PARITY `qcm.hello`).
pub const ADDRESSES_MAX: usize = 2048;

/// The version of a notification that carries a configuration (PARITY `fle.msg`).
pub const NOTIFICATION_VERSION: i32 = 2;

/// First number of a greeting with one address.
const HELLO_ONE_ADDRESS: i64 = -65536;
/// First number of a greeting with any number of addresses.
const HELLO_ADDRESSES: i64 = -65535;

/// Bytes of a notification without the peer's epoch, from before there was one.
const LEN_WITHOUT_EPOCH: usize = 28;
/// Bytes of a notification whose last four are to be ignored: they became the version only later.
const LEN_WITHOUT_VERSION: usize = 40;

/// Bytes of a notification around the configuration that it carries.
const LEN_WITHOUT_CONFIG: usize = 44;

const _: () = assert!(LEN_WITHOUT_CONFIG + TEXT_MAX <= FRAME_MAX, "every configuration can be told of");

/// How a server that connected introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Who it says it is; `i64::MAX` from an observer that has no number.
    pub server: ServerId,
    /// Where it listens for votes. None from releases before 3.5, and where it gave only wildcard addresses, which
    /// lead nowhere.
    pub addresses: Vec<Address>,
}

impl Hello {
    /// Decodes the greeting at the front of `bytes` and says how many of them it was; `None` if its end has not come
    /// yet. Its longest form has [`ADDRESSES_MAX`] and 20 bytes.
    ///
    /// # Errors
    /// If it is none.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, DecodeError> {
        match Self::decode_whole(bytes) {
            Ok(found) => Ok(Some(found)),
            Err(DecodeError::UnexpectedEnd) => Ok(None),
            Err(why) => Err(why),
        }
    }

    fn decode_whole(bytes: &[u8]) -> Result<(Self, usize), DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.long()?;
        if version >= 0 {
            // What is now the version was the server's id before 3.5, and nothing followed.
            return Ok((Self { server: ServerId(version), addresses: Vec::new() }, 8));
        }
        if version != HELLO_ONE_ADDRESS && version != HELLO_ADDRESSES {
            return Err(DecodeError::BadVersion);
        }
        let server = ServerId(reader.long()?);
        let length = match usize::try_from(reader.int()?) {
            Err(_) => return Err(DecodeError::NegativeLength),
            Ok(0) => return Err(DecodeError::WrongLength),
            Ok(length) if length > ADDRESSES_MAX => return Err(DecodeError::TooLong),
            Ok(length) => length,
        };
        let text = reader.rest().get(..length).ok_or(DecodeError::UnexpectedEnd)?;
        let text = core::str::from_utf8(text).map_err(|_| DecodeError::BadUtf8)?;
        let mut addresses = Vec::new();
        for address in text.split('|') {
            let address = parse_address(address).ok_or(DecodeError::WrongLength)?;
            if !is_wildcard(&address.host) {
                addresses.push(address);
            }
        }
        Ok((Self { server, addresses }, 20 + length))
    }

    /// Appends the greeting. Several addresses are understood from release 3.6 on only.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut text = String::new();
        for address in &self.addresses {
            let separator = if text.is_empty() { "" } else { "|" };
            let open = if address.host.contains(':') { ("[", "]") } else { ("", "") };
            let added = (separator, open.0, &address.host, open.1, address.port);
            fmt::write(&mut text, format_args!("{}{}{}{}:{}", added.0, added.1, added.2, added.3, added.4))
                .expect("a String takes everything");
        }
        let mut writer = Writer::new(out);
        writer.long(if self.addresses.len() > 1 { HELLO_ADDRESSES } else { HELLO_ONE_ADDRESS });
        writer.long(self.server.0);
        writer.buffer(Some(text.as_bytes()));
    }
}

/// `host:port`, an IPv6 address in brackets.
fn parse_address(text: &str) -> Option<Address> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once("]:")?,
        None => text.split_once(':')?,
    };
    if host.is_empty() {
        return None;
    }
    Some(Address { host: String::from(host), port: port.parse().ok()? })
}

fn is_wildcard(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

/// Frames out of the bytes behind a greeting.
#[derive(Debug)]
pub struct Frames(Deframer);

impl Default for Frames {
    fn default() -> Self {
        Self(Deframer::new(FRAME_MAX))
    }
}

impl Frames {
    /// Takes bytes as the socket gave them.
    pub fn push(&mut self, bytes: Bytes) {
        self.0.push(bytes);
    }

    /// The next frame, or `None` until more has come.
    ///
    /// # Errors
    /// If the announced length cannot be: on this port an empty frame cannot either (PARITY `qcm.frame`).
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        match self.0.next_frame()? {
            Some(frame) if frame.is_empty() => Err(FrameError::NegativeLength),
            frame => Ok(frame),
        }
    }
}

/// Decodes the content of a frame (PARITY `fle.msg.compat`). What cannot be decoded is to be ignored; the frames
/// behind it are as good as ever.
///
/// # Errors
/// If it is no notification.
pub fn decode_notification(frame: &Bytes) -> Result<Notification, DecodeError> {
    let mut reader = Reader::new(frame);
    let state = match reader.int()? {
        0 => PeerState::Looking,
        1 => PeerState::Following,
        2 => PeerState::Leading,
        3 => PeerState::Observing,
        _ => return Err(DecodeError::UnknownOperation),
    };
    let leader = ServerId(reader.long()?);
    let zxid = Zxid(reader.long()?);
    let election_epoch = reader.long()?;
    let peer_epoch = if frame.len() == LEN_WITHOUT_EPOCH { zxid.0 >> 32 } else { reader.long()? };
    let version = if frame.len() <= LEN_WITHOUT_VERSION {
        // Between the two old forms there is none.
        if frame.len() != LEN_WITHOUT_EPOCH && frame.len() != LEN_WITHOUT_VERSION {
            return Err(DecodeError::UnexpectedEnd);
        }
        0
    } else {
        reader.int()?
    };
    let config = if version > 1 {
        let length = usize::try_from(reader.int()?).map_err(|_| DecodeError::NegativeLength)?;
        if length > reader.remaining() {
            return Err(DecodeError::UnexpectedEnd);
        }
        let from = frame.len() - reader.remaining();
        frame.slice(from..from + length)
    } else {
        Bytes::new()
    };
    let vote = Vote { leader, zxid, peer_epoch };
    Ok(Notification { state, vote, election_epoch, version, config })
}

/// The version that a configuration's text says it has (`version=` and a hexadecimal number), 0 if it says none.
/// Whether the rest of the text makes sense is not looked at.
pub fn config_version(config: &[u8]) -> i64 {
    let version = |line: &[u8]| {
        let digits = core::str::from_utf8(line.strip_prefix(b"version=")?).ok()?;
        i64::from_str_radix(digits.trim(), 16).ok()
    };
    config.split(|&byte| byte == b'\n').find_map(version).unwrap_or(0)
}

/// The frame of a notification, in the form that carries a configuration.
///
/// # Panics
/// If the configuration is longer than any that a server goes by.
pub fn encode_notification(notification: &Notification) -> Bytes {
    let mut content = Vec::with_capacity(48 + notification.config.len());
    let mut writer = Writer::new(&mut content);
    let length = LEN_WITHOUT_CONFIG + notification.config.len();
    assert!(length <= FRAME_MAX, "a configuration that no peer would read");
    writer.int(i32::try_from(length).expect("at most FRAME_MAX"));
    writer.int(match notification.state {
        PeerState::Looking => 0,
        PeerState::Following => 1,
        PeerState::Leading => 2,
        PeerState::Observing => 3,
    });
    writer.long(notification.vote.leader.0);
    writer.long(notification.vote.zxid.0);
    writer.long(notification.election_epoch);
    writer.long(notification.vote.peer_epoch);
    writer.int(NOTIFICATION_VERSION);
    writer.buffer(Some(&notification.config));
    Bytes::from(content)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    /// What ZooKeeper 3.9.3 builds for a participant that looks.
    const LOOKING: &str = "\
        00000000000000000000000300000005000000070000000000000009000000000000000500000002000000477365727665722e31\
        3d3132372e302e302e313a323838313a333838313a7061727469636970616e743b302e302e302e303a323138310a76657273696f\
        6e3d313030303030303030";
    /// For an observer that looks.
    const OBSERVER: &str =
        "0000000080000000000000008000000000000000000000000000000180000000000000000000000200000000";
    /// The form without a version that its tests still build.
    const FORTY: &str = "00000002000000000000000300000005000000070000000000000009000000000000000500000001";
    /// What server 5 sends to server 1 after connecting: greeting and first frame.
    const ONE_ADDRESS: &str = "\
        ffffffffffff000000000000000000050000000e3132372e302e302e313a33383835\
        0000002d000000010000000000000003000000000000000700000000000000090000000000000005000000020000000178";
    /// The same with multiAddress.enabled.
    const TWO_ADDRESSES: &str = "\
        ffffffffffff000100000000000000050000001d3132372e302e302e313a333838357c6c6f63616c686f73743a33383836\
        0000002d000000010000000000000003000000000000000700000000000000090000000000000005000000020000000178";

    const CONFIG: &[u8] = b"server.1=127.0.0.1:2881:3881:participant;0.0.0.0:2181\nversion=100000000";

    fn unhex(text: &str) -> Bytes {
        let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
        (0..text.len()).step_by(2).map(digit).collect::<Vec<u8>>().into()
    }

    fn address(host: &str, port: u16) -> Address {
        Address { host: String::from(host), port }
    }

    fn notification(state: PeerState, leader: i64, zxid: i64, round: i64, peer_epoch: i64) -> Notification {
        Notification {
            state,
            vote: Vote { leader: ServerId(leader), zxid: Zxid(zxid), peer_epoch },
            election_epoch: round,
            version: NOTIFICATION_VERSION,
            config: Bytes::new(),
        }
    }

    /// PARITY `fle.msg`: bytes that ZooKeeper 3.9.3 built decode to what went in, and encode to the same.
    /// ZOOKEEPER-4787: the configuration is bytes to us, so no choice of characters can come between.
    #[test]
    fn fle_msg() {
        let mut looking = notification(PeerState::Looking, 3, 0x5_0000_0007, 9, 5);
        looking.config = Bytes::from_static(CONFIG);
        let observer = notification(PeerState::Looking, i64::MIN, i64::MIN, 1, i64::MIN);
        for (golden, expected) in [(LOOKING, looking), (OBSERVER, observer)] {
            let golden = unhex(golden);
            assert_eq!(decode_notification(&golden), Ok(expected.clone()));
            let mut frames = Frames::default();
            frames.push(encode_notification(&expected));
            assert_eq!(frames.next_frame(), Ok(Some(golden)));
        }
    }

    /// PARITY `fle.states`.
    #[test]
    fn fle_states() {
        let states = [PeerState::Looking, PeerState::Following, PeerState::Leading, PeerState::Observing];
        for (number, state) in states.into_iter().enumerate() {
            let frame = encode_notification(&notification(state, 1, 2, 3, 4)).slice(4..);
            assert_eq!(usize::from(frame[3]), number);
            assert_eq!(decode_notification(&frame).map(|found| found.state), Ok(state));
        }
        let mut unknown =
            encode_notification(&notification(PeerState::Looking, 1, 2, 3, 4)).slice(4..).to_vec();
        unknown[3] = 4;
        assert_eq!(decode_notification(&Bytes::from(unknown)), Err(DecodeError::UnknownOperation));
    }

    /// PARITY `fle.msg.compat`: every length from 0 on, of a message whose config is 5 bytes.
    #[test]
    fn fle_msg_compat() {
        let mut whole = notification(PeerState::Following, 3, 0x5_0000_0007, 9, 6);
        whole.config = Bytes::from_static(b"hello");
        let frame = encode_notification(&whole).slice(4..);
        let mut old = Notification { version: 0, config: Bytes::new(), ..whole.clone() };
        for length in 0..frame.len() {
            let cut = frame.slice(..length);
            let expected = match length {
                28 => Some(Notification { vote: Vote { peer_epoch: 5, ..old.vote }, ..old.clone() }),
                40 => Some(old.clone()),
                _ => None,
            };
            assert_eq!(decode_notification(&cut).ok(), expected, "{length} bytes");
        }
        let longer = Bytes::from([&frame[..], b"more"].concat());
        assert_eq!(decode_notification(&longer), Ok(whole), "what follows is ignored");
        // The 40 bytes that ZooKeeper's own tests build say version 1, and it reads them as version 0.
        old = notification(PeerState::Leading, 3, 0x5_0000_0007, 9, 5);
        old.version = 0;
        assert_eq!(decode_notification(&unhex(FORTY)), Ok(old.clone()));
        // Version 1 with anything behind it has no configuration.
        old.version = 1;
        let more = Bytes::from([&unhex(FORTY)[..], b"x"].concat());
        assert_eq!(decode_notification(&more), Ok(old));
        // A configuration of negative or too great a length.
        for length in [-1_i32, 6, i32::MAX, i32::MIN] {
            let mut bad = frame.to_vec();
            bad[40..44].copy_from_slice(&length.to_be_bytes());
            assert!(decode_notification(&Bytes::from(bad)).is_err(), "{length}");
        }
    }

    /// PARITY `fle.config`: the version in a configuration's text.
    #[test]
    fn fle_config() {
        let cases: [(&[u8], i64); 7] = [
            (CONFIG, 0x1_0000_0000),
            (b"version=ff\r\nserver.1=a:1:2", 255),
            (b"version=-1", -1),
            (b"server.1=version=5", 0),
            (b"version=xyz", 0),
            (b"version=\xff", 0),
            (b"", 0),
        ];
        for (config, version) in cases {
            assert_eq!(config_version(config), version, "{config:?}");
        }
    }

    /// PARITY `qcm.hello`: the first bytes that ZooKeeper 3.9.3 sends, cut anywhere.
    #[test]
    fn qcm_hello() {
        let one = vec![address("127.0.0.1", 3885)];
        let two = vec![address("127.0.0.1", 3885), address("localhost", 3886)];
        for (golden, addresses) in [(ONE_ADDRESS, one), (TWO_ADDRESSES, two)] {
            let golden = unhex(golden);
            let hello = Hello { server: ServerId(5), addresses };
            let mut encoded = vec![];
            hello.encode(&mut encoded);
            let length = golden.len() - 49;
            assert_eq!(encoded, golden[..length]);
            for cut in 0..=golden.len() {
                let expected = (cut >= length).then(|| (hello.clone(), length));
                assert_eq!(Hello::decode(&golden[..cut]), Ok(expected));
            }
            let mut frames = Frames::default();
            frames.push(golden.slice(length..));
            let frame = frames.next_frame().expect("frames").expect("whole");
            let mut expected = notification(PeerState::Following, 3, 7, 9, 5);
            expected.config = Bytes::from_static(b"x");
            assert_eq!(decode_notification(&frame), Ok(expected));
        }
        let old = Hello { server: ServerId(7), addresses: vec![] };
        assert_eq!(Hello::decode(&[0, 0, 0, 0, 0, 0, 0, 7, 0, 0]), Ok(Some((old, 8))));
    }

    /// PARITY `qcm.hello`: what a greeting must not be. A wildcard address is no error, and no address either.
    #[test]
    fn qcm_hello_refused() {
        let hello = |version: i64, length: i32, text: &str| {
            let parts =
                [&version.to_be_bytes()[..], &5_i64.to_be_bytes(), &length.to_be_bytes(), text.as_bytes()];
            Hello::decode(&parts.concat())
        };
        assert_eq!(hello(-65534, 3, "a:1"), Err(DecodeError::BadVersion));
        assert_eq!(hello(-1, 3, "a:1"), Err(DecodeError::BadVersion));
        assert_eq!(hello(-65536, -1, "a:1"), Err(DecodeError::NegativeLength));
        assert_eq!(hello(-65536, 0, "a:1"), Err(DecodeError::WrongLength));
        assert_eq!(hello(-65536, 2049, "a:1"), Err(DecodeError::TooLong));
        assert_eq!(hello(-65536, 2048, "a:1"), Ok(None));
        for text in ["a", "a:", ":1", "a:x", "a:65536", "[::1:5", "[::1]", "a:1|", "|", "a:-1"] {
            let length = i32::try_from(text.len()).expect("short");
            assert_eq!(hello(-65535, length, text), Err(DecodeError::WrongLength), "{text}");
        }
        let cases = [
            ("0.0.0.0:5", vec![]),
            ("[::]:5|b:6", vec![address("b", 6)]),
            ("[::1]:7", vec![address("::1", 7)]),
        ];
        for (text, addresses) in cases {
            let length = i32::try_from(text.len()).expect("short");
            let expected = Hello { server: ServerId(5), addresses };
            assert_eq!(hello(-65535, length, text), Ok(Some((expected, 20 + text.len()))));
        }
    }

    /// PARITY `qcm.frame`: 1 to 524288 bytes.
    #[test]
    fn qcm_frame() {
        for (length, fits) in [(-1_i32, false), (0, false), (1, true), (524_288, true), (524_289, false)] {
            let mut frames = Frames::default();
            frames.push(Bytes::copy_from_slice(&length.to_be_bytes()));
            if length > 0 {
                frames.push(Bytes::from(vec![0; usize::try_from(length).expect("positive")]));
            }
            assert_eq!(frames.next_frame().is_ok(), fits, "{length}");
        }
    }

    proptest! {
        /// Whatever is encoded is decoded again.
        #[test]
        fn round_trip(state in 0..4_usize, numbers in any::<[i64; 4]>(), config in proptest::collection::vec(any::<u8>(), 0..50)) {
            let state = [PeerState::Looking, PeerState::Following, PeerState::Leading, PeerState::Observing][state];
            let mut value = notification(state, numbers[0], numbers[1], numbers[2], numbers[3]);
            value.config = Bytes::from(config);
            prop_assert_eq!(decode_notification(&encode_notification(&value).slice(4..)), Ok(value));
        }

        /// Nothing that comes can do harm.
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Hello::decode(&bytes);
            let _ = Hello::decode(&[&HELLO_ADDRESSES.to_be_bytes()[..], &bytes].concat());
            let _ = decode_notification(&Bytes::from(bytes));
        }
    }
}
