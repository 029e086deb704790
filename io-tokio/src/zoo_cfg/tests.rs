use std::time::Duration;

use zabra_core::config::{Config, FourLetterWords};
use zabra_core::types::Compression;

use super::keys::SECTIONS;
use super::value::Kind;
use super::*;

const BASE: &str = "dataDir=/nowhere/zk\nclientPort=2181\n";

fn load_with(text: &str, properties: &[(&str, &str)]) -> Result<Loaded, String> {
    let properties: Vec<_> = properties.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    from_bytes("zoo.cfg", text.as_bytes(), &properties).map_err(|error| error.to_string())
}

fn load_file(text: &str) -> Result<Loaded, String> {
    load_with(&format!("{BASE}{text}"), &[])
}

fn core(text: &str) -> Config {
    load_file(text).expect("a good file").settings.core
}

fn refusal(text: &str) -> String {
    load_file(text).expect_err("a bad file")
}

#[test]
fn a_minimal_file_has_zookeeper_s_defaults() {
    let loaded = load_file("").unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    let settings = loaded.settings;
    assert_eq!(settings.client_addr.port(), 2181);
    assert!(settings.client_addr.ip().is_unspecified());
    assert_eq!(settings.data_log_dir, settings.data_dir);
    assert_eq!(settings.core.about.data_dir, "/nowhere/zk/version-2");
    let about = settings.core.about.clone();
    assert_eq!(settings.core, Config { about, ..Config::default() });
}

/// The sample that comes with ZooKeeper, as Debian installs it, comments apart.
#[test]
fn zookeeper_s_sample_file_loads_without_a_warning() {
    let text = "# The number of milliseconds of each tick\ntickTime=2000\ninitLimit=10\nsyncLimit=5\n\
                dataDir=/nowhere/zookeeper\n# the port at which the clients will connect\nclientPort=2181\n\
                #maxClientCnxns=60\n#autopurge.snapRetainCount=3\n";
    let loaded = load_with(text, &[]).unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    assert_eq!(loaded.settings.core.tick_time, Duration::from_secs(2));
    assert_eq!(loaded.settings.core.min_session_timeout, Duration::from_secs(4));
    assert_eq!(loaded.settings.core.max_session_timeout, Duration::from_secs(40));
}

/// What a value that is taken does: one line for every key that works.
#[test]
fn keys_reach_the_configuration() {
    assert_eq!(
        core("minSessionTimeout=5\nmaxSessionTimeout=7").min_session_timeout,
        Duration::from_millis(5)
    );
    assert_eq!(core("maxClientCnxns=0").max_client_cnxns, 0);
    assert_eq!(core("maxClientCnxns=-3").max_client_cnxns, 0);
    assert_eq!(core("maxCnxns=9").max_cnxns, 9);
    assert_eq!(core("nio.sessionlessCnxnTimeout=5").sessionless_cnxn_timeout, Duration::from_millis(5));
    let jute = core("jute.maxbuffer=0x400000");
    assert_eq!((jute.jute_max_buffer, jute.jute_max_buffer_extra), (4 << 20, 4 << 20));
    assert_eq!(core("jute.maxbuffer.extrasize=1").jute_max_buffer_extra, 1024);
    assert_eq!(core("globalOutstandingLimit=5").global_outstanding_limit, 5);
    assert_eq!(core("largeRequestThreshold=5").large_request_threshold, Some(5));
    assert_eq!(core("largeRequestThreshold=0").large_request_threshold, None);
    assert_eq!(core("largeRequestMaxBytes=5").large_request_max_bytes, 5);
    assert_eq!(core("snapCount=1").snap_count, 2);
    assert_eq!(core("snapSizeLimitInKb=0").snap_size_limit, None);
    assert_eq!(core("snapSizeLimitInKb=2").snap_size_limit, Some(2048));
    assert_eq!(core("txnLogSizeLimitInKb=2").txn_log_size_limit, Some(2048));
    assert_eq!(core("preAllocSize=2").pre_alloc_size, 2048);
    assert_eq!(core(&format!("preAllocSize={}", i64::MAX)).pre_alloc_size, 64 << 30);
    assert!(!core("forceSync=no").force_sync);
    for (ms, expected) in [("50", 50), ("0", 0), ("-1", 0)] {
        let threshold = core(&format!("fsync.warningthresholdms={ms}")).fsync_warning_threshold;
        assert_eq!(threshold, Duration::from_millis(expected));
    }
    for (method, expected) in
        [("", Compression::None), ("gz", Compression::Gzip), ("SNAPPY", Compression::Snappy)]
    {
        let compression = core(&format!("snapshot.compression.method={method}")).snapshot_compression;
        assert_eq!(compression, expected);
    }
    assert_eq!(core("autopurge.snapRetainCount=2").snap_retain_count, 3);
    assert_eq!(core("autopurge.purgeInterval=2").purge_interval, Some(Duration::from_secs(7200)));
    assert_eq!(core("autopurge.purgeInterval=0").purge_interval, None);
    assert!(!core("digest.enabled=false").digest_enabled);
    assert!(!core("serializeLastProcessedZxid.enabled=false").serialize_last_processed_zxid);
    assert!(!core("closeSessionTxn.enabled=false").close_session_txn);
    assert!(core("extendedTypesEnabled=true").extended_types);
    assert!(core("enforceQuota=true").enforce_quota);
    assert!(core("skipACL=yes").skip_acl);
    assert!(core("reconfigEnabled=true").reconfig_enabled);
    assert!(core("snapshot.trust.empty=true").snapshot_trust_empty);
    assert!(!core("db.autocreate=false").db_autocreate);
    assert_eq!(core("znode.container.checkIntervalMs=5").container_check_interval, Duration::from_millis(5));
    assert_eq!(core("znode.container.maxPerMinute=5").container_max_per_minute, 5);
    let never_used = core("znode.container.maxNeverUsedIntervalMs=5").container_max_never_used;
    assert_eq!(never_used, Some(Duration::from_millis(5)));
    assert_eq!(core("throttled_op_wait_time=5").throttled_op_wait, Some(Duration::from_millis(5)));
    assert!(!core("DigestAuthenticationProvider.enabled=false").digest_auth_enabled);
    let digest = core("DigestAuthenticationProvider.superDigest=super:x=").super_digest;
    assert_eq!(digest.as_deref(), Some("super:x="));
    assert_eq!(core("ensembleAuthName=a, b").ensemble_auth_names, ["a", "b"]);
    let schemes = core("enforce.auth.enabled=true\nenforce.auth.schemes=digest").enforce_auth_schemes;
    assert_eq!(schemes, ["digest"]);
    assert_eq!(core("enforce.auth.schemes=digest").enforce_auth_schemes, [""; 0]);
    let settings = load_file(
        "clientPortListenBacklog=7\nclientTcpKeepAlive=true\ndatadir.autocreate=false\n\
                              dataLogDir=/nowhere/log\nclientPortAddress=127.0.0.1",
    );
    let settings = settings.unwrap().settings;
    assert_eq!((settings.listen_backlog, settings.core.about.listen_backlog), (7, 7));
    assert!(settings.client_tcp_keep_alive && !settings.data_dir_autocreate);
    assert_eq!(settings.data_log_dir, Path::new("/nowhere/log"));
    assert_eq!(settings.client_addr, "127.0.0.1:2181".parse().unwrap());
}

#[test]
fn four_letter_words_keep_srvr() {
    let words = |text| core(text).four_letter_words;
    let only = |list: &[&str]| FourLetterWords::Only(list.iter().map(|&word| word.to_owned()).collect());
    assert_eq!(words("4lw.commands.whitelist=*"), FourLetterWords::All);
    assert_eq!(words("4lw.commands.whitelist= stat, ruok"), only(&["stat", "ruok", "srvr"]));
    assert_eq!(words("readonlymode.enabled=true"), only(&["srvr", "isro"]));
    let warnings = load_file("4lw.commands.whitelist=foo,ruok, ,mntr,ruokruok").unwrap().warnings;
    let expected = ["foo", "ruokruok"]
        .map(|word| format!("4lw.commands.whitelist: {word} is no four-letter word, and ignored"));
    assert_eq!(warnings, expected);
}

#[test]
fn properties_have_the_same_names_and_the_file_wins() {
    for name in ["zookeeper.snapCount", "snapCount"] {
        let loaded = load_with(BASE, &[(name, "77")]).unwrap();
        assert_eq!(loaded.settings.core.snap_count, 77, "{name}");
    }
    let loaded = load_with(&format!("{BASE}snapCount=5"), &[("zookeeper.snapCount", "77")]).unwrap();
    assert_eq!(loaded.settings.core.snap_count, 5);
    let warning = "zoo.cfg:3: snapCount is set at -Dzookeeper.snapCount already; this value, \"5\", counts";
    assert_eq!(loaded.warnings, [warning]);
}

/// Messages are part of the interface: each of these is all that an operator sees.
#[test]
fn wrong_values_say_where_what_and_what_was_expected() {
    let cases = [
        (
            "tickTime=abc",
            "zoo.cfg:3: tickTime=abc: expected a whole number of milliseconds from 1 to 2147483647",
        ),
        ("tickTime=0", "zoo.cfg:3: tickTime=0: expected a whole number of milliseconds from 1 to 2147483647"),
        ("\n\ndigest.enabled=yes", "zoo.cfg:5: digest.enabled=yes: expected true or false"),
        ("forceSync=false", "zoo.cfg:3: forceSync=false: expected yes or no, in small letters"),
        ("clientPort=99999", "zoo.cfg:3: clientPort=99999: expected a whole number from 0 to 65535"),
        ("peerType=leader", "zoo.cfg:3: peerType=leader: expected participant or observer"),
        (
            "minSessionTimeout=9\nmaxSessionTimeout=8",
            "zoo.cfg:4: minSessionTimeout=9 must not be larger than maxSessionTimeout=8",
        ),
        (
            "minSessionTimeout=90000",
            "zoo.cfg:3: minSessionTimeout=90000 must not be larger than maxSessionTimeout=60000 \
             (20 x tickTime=3000 unless it is set)",
        ),
        (
            "maxSessionTimeout=1000",
            "zoo.cfg:3: minSessionTimeout=6000 (2 x tickTime=3000 unless it is set) must not be larger than \
             maxSessionTimeout=1000",
        ),
        (
            "secureClientPort=2281",
            "zoo.cfg:3: secureClientPort=2281: TLS is not in this release of Zabra; serve clients on clientPort only",
        ),
        ("sslQuorum=true", "zoo.cfg:3: sslQuorum=true: TLS between servers is not in this release of Zabra"),
        (
            "sessionRequireClientSASLAuth=true",
            "zoo.cfg:3: sessionRequireClientSASLAuth=true: SASL is not in this release of Zabra",
        ),
        (
            "enforce.auth.enabled=true",
            "zoo.cfg: enforce.auth.enabled is true, so enforce.auth.schemes must name at least one scheme",
        ),
        (
            "x=\\u12",
            "zoo.cfg:3: malformed \\u escape: expected four hexadecimal digits behind it, or \\\\ for a backslash",
        ),
        (
            "a=1\ntickTime=x\nsnapCount=y",
            "zoo.cfg:4: tickTime=x: expected a whole number of milliseconds from 1 to 2147483647\n\
             zoo.cfg:5: snapCount=y: expected a whole number",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(text), expected, "{text}");
    }
}

#[test]
fn what_is_required_is_asked_for() {
    let missing = |text| load_with(text, &[]).unwrap_err();
    assert_eq!(
        missing("clientPort=1"),
        "zoo.cfg: dataDir is not set: name the directory that holds, or is to hold, the data"
    );
    assert_eq!(
        missing("dataDir=/nowhere"),
        "zoo.cfg: clientPort is not set: name the port that clients connect to, usually 2181"
    );
    assert_eq!(
        missing("dataDir=/nowhere\nclientPortAddress=localhost"),
        "zoo.cfg: clientPortAddress is set but clientPort is not set"
    );
    for (text, what) in [
        (
            "dataDir=\nclientPort=1",
            "dataDir is not set: name the directory that holds, or is to hold, the data",
        ),
        (
            "dataDir=/nowhere\ndataLogDir=\nclientPort=1",
            "dataLogDir is empty: name the directory of the log, or leave the key out",
        ),
        (
            "dataDir=/nowhere\ndynamicConfigFile=\nclientPort=1",
            "dynamicConfigFile is empty: name the file with the members, or leave the key out",
        ),
    ] {
        assert_eq!(missing(text), format!("zoo.cfg: {what}"));
    }
    let error = from_file(Path::new("/nowhere/zoo.cfg"), &[]).unwrap_err().to_string();
    assert_eq!(error, "/nowhere/zoo.cfg: cannot be read: No such file or directory (os error 2)");
}

#[test]
fn what_does_nothing_is_said() {
    let warning = |text: &str| load_file(text).unwrap().warnings.join("\n");
    let cases = [
        ("tickTme=5", "zoo.cfg:3: unknown key tickTme is ignored; did you mean tickTime?"),
        ("heapSize=5", "zoo.cfg:3: unknown key heapSize is ignored"),
        (
            "metricsProvider.className=x",
            "zoo.cfg:3: metricsProvider.className has no effect: metrics providers are not in this release of Zabra",
        ),
        (
            "ssl.keyStore.location=/k",
            "zoo.cfg:3: ssl.keyStore.location has no effect: TLS is not in this release of Zabra",
        ),
        (
            "dataDir=relative",
            "zoo.cfg:3: dataDir is set at zoo.cfg:1 already; this value, \"relative\", counts\n\
                              relative is relative. Prepend ./ to indicate that you're sure!",
        ),
        ("snapCount=1", "snapCount=1: it should be 2 or more, and is 2 now"),
        ("autopurge.snapRetainCount=1", "Invalid autopurge.snapRetainCount: 1. Defaulting to 3"),
        (
            "server.1=a:1:2",
            "server.N names a single server: it is ignored, and this server runs standalone, as ZooKeeper's does",
        ),
        ("admin.enableServer=False", ""),
        (
            "admin.enableServer=true",
            "zoo.cfg:3: admin.enableServer has no effect: the admin server is not in this release of Zabra",
        ),
        ("sslQuorum=false\npeerType=participant\nstandaloneEnabled=TRUE", ""),
        // What matters in ensembles only is not worth a word here.
        ("observerMasterPort=2191\nlocalSessionsEnabled=true\nleader.nodelay=false\nsyncLimit=0", ""),
    ];
    for (text, expected) in cases {
        assert_eq!(warning(text), expected, "{text}");
    }
}

#[test]
fn zookeeper_s_other_command_line_works() {
    let arguments = |list: &[&str]| {
        let list: Vec<String> = list.iter().map(|&s| s.to_owned()).collect();
        from_arguments(&list, &[])
    };
    let settings = arguments(&["2182", "/nowhere/zk"]).unwrap().settings;
    assert_eq!((settings.client_addr.port(), settings.core.max_client_cnxns), (2182, 0));
    let settings = arguments(&["2182", "/nowhere/zk", "500", "7"]).unwrap().settings;
    assert_eq!(settings.core.tick_time, Duration::from_millis(500));
    assert_eq!(settings.core.max_client_cnxns, 7);
    assert_eq!(
        arguments(&["here", "/nowhere/zk"]).unwrap_err().to_string(),
        "command line: clientPort=here: expected a whole number from 0 to 65535"
    );
    assert!(arguments(&["1"]).is_err() && arguments(&["1", "2", "3", "4", "5"]).is_err());
}

#[test]
fn myid_is_read_if_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let load = |content: &str| {
        std::fs::write(dir.path().join("myid"), content).unwrap();
        load_with(&format!("clientPort=1\ndataDir={}", dir.path().display()), &[])
    };
    assert_eq!(load("7\n").unwrap().settings.core.server_id, 7);
    let big = load("300").unwrap();
    assert_eq!((big.settings.core.server_id, big.warnings.len()), (1, 1));
    assert!(load("seven").unwrap_err().ends_with("myid: serverid seven is not a number"));
}

/// Every row is consistent: its effect fits its kind, its default is a value, no name comes twice.
#[test]
fn every_row_of_the_table_holds() {
    let mut names: Vec<&str> = Vec::new();
    for (section, keys) in SECTIONS {
        for key in *keys {
            assert!(!names.contains(&key.name), "{section}: {} comes twice", key.name);
            names.push(key.name);
            let fits = match key.effect {
                Effect::Int(_) => matches!(key.kind, Kind::Int(_) | Kind::Num(_)),
                Effect::Flag(_) => matches!(key.kind, Kind::Flag | Kind::YesNo),
                Effect::Text(_) => matches!(key.kind, Kind::Text | Kind::OneOf(_) | Kind::Float),
                Effect::Member => key.kind == Kind::Text,
                // What changes nothing is a value like others, or stands for none.
                Effect::IdleInEnsemble { harmless, .. }
                | Effect::IdleUnless { harmless, .. }
                | Effect::Refused { harmless, .. } => {
                    harmless.is_empty() || key.kind.read(harmless).is_some()
                }
                Effect::Quiet | Effect::Idle(_) => true,
            };
            assert!(fits, "{section}: {}", key.name);
            // Defaults in words aside, a default is a value, and setting it is no error.
            let is_number = key.default.parse::<f64>().is_ok();
            if is_number || matches!(key.default, "true" | "false" | "yes" | "no") {
                assert!(key.kind.read(key.default).is_some(), "{section}: {}", key.name);
                let assignment =
                    Assignment { place: "here".into(), name: key.name.into(), value: key.default.into() };
                apply(&mut Draft::new(), key, &assignment).unwrap_or_else(|problem| panic!("{problem}"));
            }
        }
    }
    assert!(names.len() > 180, "{}", names.len());
}

/// The reference in the documentation is the one printed from the tables.
#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    if std::env::var_os("ZABRA_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, reference()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == reference(), "run: ZABRA_BLESS=1 cargo test -p io-tokio reference");
}
