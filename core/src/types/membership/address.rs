//! Where a server listens, as configurations write it.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use core::net::{IpAddr, Ipv6Addr};

/// Where something listens: a host's name or address, unresolved, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// A name or an IP address; IPv6 without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl Address {
    /// The address of `host`, which is written as ZooKeeper would write it.
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: normal(host), port }
    }

    /// Whether it says nothing about where the host is: every server may have the same.
    pub(super) fn is_anywhere(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.is_unspecified() || address.is_loopback(),
            Err(_) => self.host == "localhost",
        }
    }
}

/// In an entry of a configuration: with brackets around IPv6.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Host(&self.host), self.port)
    }
}

/// A host in an entry of a configuration.
pub(super) struct Host<'a>(pub(super) &'a str);

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = normal(self.0);
        if host.contains(':') { write!(f, "[{host}]") } else { f.write_str(&host) }
    }
}

/// Whether it is a name or an IP address, as far as can be told without asking.
pub(super) fn is_host(text: &str) -> bool {
    if text.contains(':') {
        let (address, scope) = scoped(text);
        return address.parse::<Ipv6Addr>().is_ok() && scope.is_none_or(is_name);
    }
    is_name(text)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_'))
}

/// An IPv6 address that is only good on one of the host's interfaces says on which.
fn scoped(text: &str) -> (&str, Option<&str>) {
    text.split_once('%').map_or((text, None), |(address, scope)| (address, Some(scope)))
}

/// Java writes every part of an IPv6 address, and one that stands for an IPv4 address as that.
fn normal(host: &str) -> String {
    let (address, scope) = scoped(host);
    let Ok(address) = address.parse::<Ipv6Addr>() else { return host.to_string() };
    if let Some(address) = address.to_ipv4_mapped() {
        return address.to_string();
    }
    let mut text = address.segments().map(|part| format!("{part:x}")).join(":");
    if let Some(scope) = scope {
        text.push('%');
        text.push_str(scope);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_java_writes_them() {
        let table = [
            ("zoo1", "zoo1:5"),
            ("10.0.0.1", "10.0.0.1:5"),
            ("::1", "[0:0:0:0:0:0:0:1]:5"),
            ("2001:DB8::a", "[2001:db8:0:0:0:0:0:a]:5"),
            ("::ffff:10.0.0.1", "10.0.0.1:5"),
            ("fe80::1%eth0", "[fe80:0:0:0:0:0:0:1%eth0]:5"),
        ];
        for (host, expected) in table {
            assert_eq!(Address::new(host, 5).to_string(), expected);
            assert_eq!(Address { host: host.into(), port: 5 }.to_string(), expected);
        }
    }

    #[test]
    fn hosts() {
        for host in ["zoo1", "zoo-1.zoo_headless", "10.0.0.1", "::1", "fe80::1%eth0", "zo\u{f6}"] {
            assert!(is_host(host), "{host}");
        }
        for host in
            ["", "a b", "a\nserver.1=b", "a=b", "a|b", "a;b", "[::1]", "a:b", "::1%", "::1%a;b", "a\\"]
        {
            assert!(!is_host(host), "{host}");
        }
    }

    #[test]
    fn anywhere() {
        for (host, expected) in [
            ("0.0.0.0", true),
            ("::", true),
            ("127.0.0.2", true),
            ("::1", true),
            ("localhost", true),
            ("10.0.0.1", false),
            ("zoo1", false),
        ] {
            assert_eq!(Address::new(host, 5).is_anywhere(), expected, "{host}");
        }
    }
}
