//! Session passwords.
//!
//! A password is not a secret of its own: every server of an ensemble computes it from the session id, so that a
//! client may present it to any of them. The rule is ZooKeeper's (`ZooKeeperServer.generatePasswd`), so that a
//! session survives its move between a ZooKeeper and a Zabra server.

use crate::types::SessionId;

/// Mixed into the id before it seeds the generator (`ZooKeeperServer.superSecret`).
const SUPER_SECRET: i64 = 0xB341_5C00;

/// The password of a session: the first 16 bytes of Java's `java.util.Random` seeded with the mixed id.
pub fn password(session: SessionId) -> [u8; 16] {
    let mut random = JavaRandom::new(session.0 ^ SUPER_SECRET);
    let mut bytes = [0; 16];
    for chunk in bytes.chunks_exact_mut(4) {
        chunk.copy_from_slice(&random.next_int().to_le_bytes());
    }
    bytes
}

/// The linear congruential generator of `java.util.Random`.
struct JavaRandom(u64);

impl JavaRandom {
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;

    fn new(seed: i64) -> Self {
        Self((seed as u64 ^ Self::MULTIPLIER) & Self::MASK)
    }

    fn next_int(&mut self) -> i32 {
        self.0 = (self.0.wrapping_mul(Self::MULTIPLIER).wrapping_add(0xB)) & Self::MASK;
        (self.0 >> 16) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PARITY `conn.password`: the values are what Java's own Random gives for these ids.
    #[test]
    fn conn_password() {
        for (session, expected) in [
            (0x1000_2a3b_4c5d_0000_i64, "791daa7e12740aab7f63547cabbf0832"),
            (1, "054cc74a37327db215e702e20c73f005"),
            (-1, "20f62cb5648dc2d771471c8a2486a9ee"),
        ] {
            let hex: alloc::string::String =
                password(SessionId(session)).iter().map(|b| alloc::format!("{b:02x}")).collect();
            assert_eq!(hex, expected);
        }
    }
}
