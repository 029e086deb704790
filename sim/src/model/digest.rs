//! ZooKeeper's digest of a znode: CRC-32 of path, data and the nine stored numbers. A tree's digest is the sum.

use super::node::Node;

/// The digest of one znode; zero for the server's own below `/zookeeper`.
pub fn of(path: &str, node: &Node) -> u64 {
    if path.starts_with("/zookeeper/") {
        return 0;
    }
    let path = if path == "/" { "" } else { path };
    let data = node.data.as_deref().unwrap_or_default();
    let longs = [node.czxid.0, node.mzxid.0, node.pzxid.0, node.ctime.0, node.mtime.0].map(i64::to_be_bytes);
    let ints = [node.version, node.created, node.aversion].map(i32::to_be_bytes);
    let owner = node.owner.0.to_be_bytes();
    u64::from(crc32(&[path.as_bytes(), data, longs.as_flattened(), ints.as_flattened(), &owner]))
}

/// CRC-32 (IEEE) of these one behind the other, a byte at a time.
fn crc32(parts: &[&[u8]]) -> u32 {
    const TABLE: [u32; 256] = table();
    !parts
        .iter()
        .copied()
        .flatten()
        .fold(!0, |crc: u32, &byte| (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)])
}

/// What each byte adds, found bit by bit.
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_the_check_string() {
        assert_eq!(crc32(&[b"12345", b"", b"6789"]), 0xcbf4_3926);
    }
}
