//! The scheme `ip`: an address, or a range written `address/bits`, of either family.

use core::net::IpAddr;

/// Whether an ACL may name this address or range.
pub fn is_valid(pattern: &str) -> bool {
    parse(pattern).is_some()
}

/// Whether the address `id` is in the range `pattern`.
pub fn matches(id: &str, pattern: &str) -> bool {
    let (Ok(address), Some((network, bits))) = (id.parse::<IpAddr>(), parse(pattern)) else {
        return false;
    };
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let shift = 32 - bits;
            address.to_bits().checked_shr(shift) == network.to_bits().checked_shr(shift)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let shift = 128 - bits;
            address.to_bits().checked_shr(shift) == network.to_bits().checked_shr(shift)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

fn parse(pattern: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = match pattern.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (pattern, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let widest = match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    let bits = match bits {
        Some(bits) => bits.parse().ok().filter(|&bits| bits <= widest)?,
        None => widest,
    };
    Some((address, bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PARITY `acl.ip`: exact addresses, ranges at every boundary, both families.
    #[test]
    fn acl_ip() {
        assert!(matches("10.1.2.3", "10.1.2.3"));
        assert!(!matches("10.1.2.3", "10.1.2.4"));
        assert!(matches("10.1.2.3", "10.1.0.0/16"));
        assert!(matches("10.1.2.3", "0.0.0.0/0"));
        assert!(matches("10.1.2.3", "10.1.2.2/31"));
        assert!(!matches("10.1.2.3", "10.1.2.4/31"));
        assert!(matches("2001:db8::1", "2001:db8::/32"));
        assert!(matches("::1", "::/0"));
        assert!(!matches("::1", "::2"));
        assert!(!matches("10.1.2.3", "::/0"));
        for bad in ["10.1.2", "10.1.2.3/33", "10.1.2.3/-1", "10.1.2.3/x", "::/129", "", "host"] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
