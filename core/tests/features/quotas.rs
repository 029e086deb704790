//! Quotas.

use std::time::Duration;

use zabra_core::config::Config;
use zabra_core::server::Event;
use zabra_core::testing::lone::LoneServer;
use zabra_core::types::{ConnId, ErrorCode};

use crate::ask::{code, create, create_with, make, must, no_mismatch, server_with};

/// A server and a client of it, and `/q` with this quota.
fn limited(enforce_quota: bool, limits: &[u8]) -> (LoneServer, ConnId) {
    let (mut lone, conn) = server_with(Config { enforce_quota, ..Config::default() });
    make(&mut lone, conn, "/q");
    make(&mut lone, conn, "/zookeeper/quota/q");
    for (name, data) in [("zookeeper_limits", limits), ("zookeeper_stats", &b"count=0,bytes=0"[..])] {
        let path = format!("/zookeeper/quota/q/{name}");
        must(&mut lone, conn, &create_with(&path, Some(data), &[(31, "world", "anyone")]));
    }
    (lone, conn)
}

/// What was told of quotas, and how often nothing was told before.
fn told(lone: &LoneServer) -> Vec<(String, u64)> {
    let warning = |event: &Event| match event {
        Event::QuotaExceeded { exceeded, untold } => Some((exceeded.to_string(), *untold)),
        _ => None,
    };
    lone.events.iter().filter_map(warning).collect()
}

/// `quota.hard`: only with enforceQuota is a write refused.
#[test]
fn quota_hard() {
    for enforce_quota in [false, true] {
        let (mut lone, conn) =
            limited(enforce_quota, b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=2");
        make(&mut lone, conn, "/q/one");
        let expected = if enforce_quota { ErrorCode::QUOTAEXCEEDED } else { ErrorCode::OK };
        assert_eq!(code(&mut lone, conn, &create("/q/two", 0)), expected);
        let warning = "Quota exceeded: /q [current count=3, hardCountLimit=2]";
        assert_eq!(told(&lone), if enforce_quota { vec![(warning.into(), 0)] } else { vec![] });
        no_mismatch(&lone);
    }
}

/// `quota.soft`: a limit that is only a warning refuses nothing; where quotas are enforced it is told of, once in a
/// while.
#[test]
fn quota_soft() {
    for enforce_quota in [false, true] {
        let (mut lone, conn) = limited(enforce_quota, b"count=1,bytes=-1");
        for path in ["/q/one", "/q/two", "/q/three"] {
            make(&mut lone, conn, path);
        }
        let mut warnings = vec![("Quota exceeded: /q [current count=2, softCountLimit=1]".to_owned(), 0)];
        assert_eq!(told(&lone), if enforce_quota { warnings.clone() } else { vec![] });
        lone.pass(Duration::from_millis(100));
        make(&mut lone, conn, "/q/four");
        warnings.push(("Quota exceeded: /q [current count=5, softCountLimit=1]".to_owned(), 2));
        assert_eq!(told(&lone), if enforce_quota { warnings } else { vec![] });
    }
}
