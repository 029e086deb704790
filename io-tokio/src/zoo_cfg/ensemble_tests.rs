//! Configurations of ensembles: what makes one, what it needs, and every message about it.

use std::path::Path;
use std::time::Duration;

use zabra_core::config::EnsembleConfig;
use zabra_core::types::{Address, MemberRole, ServerId};

use super::*;
use crate::any_address;

const LIMITS: &str = "initLimit=10\nsyncLimit=5\n";
const THREE: &str =
    "server.1=127.0.0.1:2888:3888\nserver.2=127.0.0.2:2888:3888\nserver.3=127.0.0.3:2888:3888\n";

/// A data directory with a `myid` file.
struct Home(tempfile::TempDir);

impl Home {
    fn new(myid: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("myid"), myid).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn load(&self, text: &str) -> Result<Loaded, String> {
        let whole = format!("dataDir={}\n{text}", self.0.path().display());
        from_bytes("zoo.cfg", whole.as_bytes(), &[]).map_err(|error| error.to_string())
    }

    /// Of server 2 of three.
    fn three(&self, text: &str) -> Result<Loaded, String> {
        self.load(&format!("clientPort=2181\n{LIMITS}{THREE}{text}"))
    }
}

fn ensemble(text: &str) -> EnsembleConfig {
    Home::new("2\n").three(text).unwrap().settings.core.ensemble.expect("an ensemble")
}

fn refusal(text: &str) -> String {
    Home::new("2\n").three(text).unwrap_err()
}

fn warnings(text: &str) -> String {
    Home::new("2\n").three(text).unwrap().warnings.join("\n")
}

#[test]
fn three_servers_are_an_ensemble_with_zookeeper_s_defaults() {
    let loaded = Home::new("2\n").three("").unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    let core = loaded.settings.core;
    assert_eq!(core.server_id, 2);
    let ensemble = core.ensemble.unwrap();
    let membership = ensemble.membership.clone();
    assert_eq!(ensemble, EnsembleConfig::new(membership.clone()));
    assert_eq!(membership.version(), 0);
    assert_eq!(membership.members().keys().map(|id| id.0).collect::<Vec<_>>(), [1, 2, 3]);
    let second = membership.member(ServerId(2)).unwrap();
    assert_eq!(second.quorum, [Address { host: "127.0.0.2".into(), port: 2888 }]);
    assert_eq!(second.election, [Address { host: "127.0.0.2".into(), port: 3888 }]);
    assert_eq!(loaded.settings.peers, crate::Peers::default());
}

#[test]
fn keys_of_ensembles_reach_the_configuration() {
    assert_eq!(ensemble("initLimit=7").init_limit, 7);
    assert_eq!(ensemble("syncLimit=7").sync_limit, 7);
    assert_eq!(ensemble("connectToLearnerMasterLimit=7").connect_to_leader_limit, 7);
    let masters = |text| {
        let ensemble = ensemble(text);
        (ensemble.observer_master_port, ensemble.observer_master_bytes)
    };
    assert_eq!(masters(""), (None, 32 << 20));
    assert_eq!(masters("observerMasterPort=0\nobserverMaster.sizeLimit=-1"), (None, 0));
    assert_eq!(masters("observerMasterPort=2191\nobserverMaster.sizeLimit=9"), (Some(2191), 9));
    assert_eq!(ensemble("cnxTimeout=7").cnx_timeout, Duration::from_millis(7));
    assert_eq!(
        ensemble("fastleader.minNotificationInterval=7").notification_interval_min,
        Duration::from_millis(7)
    );
    assert_eq!(
        ensemble("fastleader.maxNotificationInterval=777").notification_interval_max,
        Duration::from_millis(777)
    );
    assert_eq!(ensemble("leaderConnectDelayDuringRetryMs=7").leader_connect_delay, Duration::from_millis(7));
    let delays = |text: &str| {
        let EnsembleConfig { observer_reconnect_delay, observer_election_delay, .. } = ensemble(text);
        (observer_reconnect_delay.as_millis(), observer_election_delay.as_millis())
    };
    assert_eq!(delays(""), (0, 200));
    assert_eq!(delays("observer.reconnectDelayMs=7\nobserver.election.DelayMs=8"), (7, 8));
    assert_eq!(delays("observer.reconnectDelayMs=-7\nobserver.election.DelayMs=-8"), (0, 0));
    let long = u128::from(u32::MAX);
    assert_eq!(delays(&format!("observer.reconnectDelayMs={}", i64::MAX)), (long, 200));
    assert!(!ensemble("leaderServes=no").leader_serves);
    assert!(ensemble("forceSnapshotSync=true").force_snapshot_sync);
    assert!(!ensemble("standaloneEnabled=false").standalone_enabled);
    assert!(ensemble("localSessionsEnabled=true").local_sessions);
    assert!(ensemble("localSessionsUpgradingEnabled=true").local_sessions_upgrading);
    assert!(ensemble("readonlymode.enabled=true").read_only_mode);
    assert!(!ensemble("").local_sessions && !ensemble("").read_only_mode);
    assert_eq!(ensemble("commitLogCount=700").commit_log_count, 700);
    assert_eq!(ensemble("commitLogCount=7").commit_log_count, 500);
    for (text, permille) in [
        ("0.5", Some(500)),
        ("-1", None),
        ("0", Some(u32::MAX)),
        ("0.00001", Some(1)),
        ("7", Some(330)),
        ("NaN", Some(330)),
    ] {
        let factor = ensemble(&format!("snapshotSizeFactor={text}")).snapshot_size_permille;
        assert_eq!(factor, permille, "{text}");
    }
    let peers = |text: &str| Home::new("2").three(text).unwrap().settings.peers;
    assert!(peers("quorumListenOnAllIPs=true").listen_on_all_ips);
    assert!(peers("tcpKeepAlive=true").tcp_keep_alive);
    for (text, tries) in [("7", Some(7)), ("0", None), ("-7", Some(3))] {
        assert_eq!(peers(&format!("electionPortBindRetry={text}")).bind_tries, tries, "{text}");
    }
}

#[test]
fn fle_alg_there_is_one_way_to_elect() {
    assert_eq!(warnings("electionAlg=3"), "");
    for older in ["0", "1", "2", "4"] {
        assert!(refusal(&format!("electionAlg={older}")).contains("electionAlg"), "{older}");
    }
}

#[test]
fn reconf_standalone_one_server_is_an_ensemble_only_if_it_is_said() {
    let home = Home::new("1");
    let one = "clientPort=2181\nserver.1=127.0.0.1:2888:3888\n";
    assert_eq!(home.load(one).unwrap().settings.core.ensemble, None);
    let loaded = home.load(&format!("{one}{LIMITS}standaloneEnabled=false")).unwrap();
    let ensemble = loaded.settings.core.ensemble.unwrap();
    assert_eq!(ensemble.membership.members().len(), 1);
    let error = home.load("clientPort=2181\nstandaloneEnabled=false").unwrap_err();
    let expected = "zoo.cfg: standaloneEnabled is false, so there must be a server.N line for every server, \
                    this one included";
    assert_eq!(error, expected);
    let error = home.load(&format!("{one}server.2=127.0.0.2:2888:3888:observer")).unwrap_err();
    assert!(error.starts_with("zoo.cfg: observers need an ensemble"), "{error}");
}

#[test]
fn addr_server_observers_do_not_vote_and_peer_type_must_match() {
    let home = Home::new("4");
    let observer = format!("clientPort=2181\n{LIMITS}{THREE}server.4=127.0.0.4:2888:3888:observer\n");
    let loaded = home.load(&format!("{observer}peerType=observer")).unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    let membership = loaded.settings.core.ensemble.unwrap().membership;
    assert_eq!(membership.member(ServerId(4)).unwrap().role, MemberRole::Observer);
    assert_eq!(
        home.load(&observer).unwrap().warnings,
        ["peerType=participant is not what server.4 in zoo.cfg says: observer, which counts"]
    );
    assert_eq!(
        warnings("peerType=observer"),
        "peerType=observer is not what server.2 in zoo.cfg says: participant, which counts"
    );
}

#[test]
fn disk_myid_is_required_and_must_be_in_the_list() {
    let home = Home::new("2");
    let path = home.path("myid");
    let with = |myid: Option<&str>| {
        std::fs::remove_file(&path).ok();
        if let Some(myid) = myid {
            std::fs::write(&path, myid).unwrap();
        }
        home.three("").unwrap_err()
    };
    let missing = "myid file is missing: write this server's number into it, the N of its server.N line";
    assert_eq!(with(None), format!("{path}: {missing}"));
    assert_eq!(with(Some("")), format!("{path}: serverid  is not a number"));
    assert_eq!(with(Some("two\n")), format!("{path}: serverid two is not a number"));
    assert_eq!(
        with(Some("7\n")),
        format!("{path}: 7 is not in the list of servers: there is no server.7 in zoo.cfg")
    );
}

#[test]
fn limits_are_required() {
    let error = Home::new("2").load(&format!("clientPort=2181\n{THREE}")).unwrap_err();
    let expected = "zoo.cfg: initLimit is not set: an ensemble needs it, in ticks, usually initLimit=10\n\
                    zoo.cfg: syncLimit is not set: an ensemble needs it, in ticks, usually syncLimit=5";
    assert_eq!(error, expected);
}

#[test]
fn what_is_not_built_is_refused() {
    let cases = [
        ("sslQuorum=true", "sslQuorum=true: TLS between servers is not in this release of Zabra"),
        ("portUnification=true", "portUnification=true: TLS between servers is not in this release of Zabra"),
        (
            "quorum.auth.enableSasl=true",
            "quorum.auth.enableSasl=true: SASL between servers is not in this release of Zabra",
        ),
        ("oraclePath=/o", "oraclePath=/o: oracles are not in this release of Zabra; have three voters"),
        ("observerMasterPort=65536", "observerMasterPort=65536: expected a whole number from 0 to 65535"),
        ("electionAlg=0", "electionAlg=0: expected 3"),
        ("syncLimit=-1", "syncLimit=-1: expected a whole number of ticks from 0 to 2147483647"),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(text), format!("zoo.cfg:8: {expected}"), "{text}");
    }
    let text = "fastleader.minNotificationInterval=9\nfastleader.maxNotificationInterval=8";
    assert!(refusal(text).ends_with("must not be larger than fastleader.maxNotificationInterval"));
}

#[test]
fn what_does_nothing_in_an_ensemble_is_said() {
    let cases = [
        (
            "leader.nodelay=false",
            "zoo.cfg:8: leader.nodelay has no effect: small packets are never held back here",
        ),
        ("commitLogCount=1", "commitLogCount=1: it should be 500 or more, and is 500 now"),
        ("leader.nodelay=true\nobserverMasterPort=0\nlocalSessionsEnabled=FALSE", ""),
        (
            "server.4=127.0.0.4:2888:3888",
            "zoo.cfg: 4 voting servers tolerate no more failures than 3; an odd number is better",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(warnings(text), expected, "{text}");
    }
    let two = format!("clientPort=1\n{LIMITS}server.1=127.0.0.1:1:2\nserver.2=127.0.0.2:1:2\n");
    assert_eq!(
        Home::new("2").load(&two).unwrap().warnings,
        ["zoo.cfg: with 2 voting servers no failure is tolerated; it takes at least 3"]
    );
}

#[test]
fn addr_server_the_client_s_address_comes_from_the_server_s_own_line() {
    let home = Home::new("1");
    let client = |own: &str, keys: &str| {
        let text =
            format!("{LIMITS}server.1=127.0.0.1:2888:3888{own}\nserver.2=127.0.0.2:2888:3888;2999\n{keys}");
        home.load(&text).map(|loaded| loaded.settings.client_addr.to_string())
    };
    let everywhere = any_address(2182).to_string();
    assert_eq!(client(";2182", ""), Ok(everywhere.clone()));
    assert_eq!(client(";127.0.0.9:2182", ""), Ok("127.0.0.9:2182".into()));
    assert_eq!(client(";127.0.0.9:2182", "clientPort=2182"), Ok("127.0.0.9:2182".into()), "it is more exact");
    assert_eq!(client("", "clientPort=2182"), Ok(everywhere));
    let same = "clientPort=2182\nclientPortAddress=127.0.0.9";
    assert_eq!(client(";127.0.0.9:2182", same), Ok("127.0.0.9:2182".into()));
    let conflict = |here: &str, there: &str| {
        Err(format!(
            "zoo.cfg: clientPort={here} is not where clients connect by server.1 in zoo.cfg: {there}; \
             leave clientPort and clientPortAddress out"
        ))
    };
    assert_eq!(client(";2182", "clientPort=2181"), conflict("2181 on all addresses", "0.0.0.0:2182"));
    assert_eq!(client(";2182", same), conflict("2182 on 127.0.0.9", "0.0.0.0:2182"));
}

#[test]
fn addr_multi_several_addresses_must_be_allowed() {
    let line = "server.2=127.0.0.2:2888:3888|127.0.0.9:2888:3888\n";
    let three = THREE.replace("server.2=127.0.0.2:2888:3888\n", line);
    let text = format!("clientPort=2181\n{LIMITS}{three}");
    let home = Home::new("2");
    let expected = "zoo.cfg: server.2 has several addresses: set multiAddress.enabled=true on every server, or leave one";
    assert_eq!(home.load(&text).unwrap_err(), expected);
    let membership = home
        .load(&format!("{text}multiAddress.enabled=true"))
        .unwrap()
        .settings
        .core
        .ensemble
        .unwrap()
        .membership;
    assert_eq!(membership.member(ServerId(2)).unwrap().election.len(), 2);
}

#[test]
fn wrong_lines_are_each_told_with_their_place() {
    let home = Home::new("2");
    let text = format!("clientPort=2181\n{LIMITS}server.1=here\nserver.two=127.0.0.2:2888:3888\n{THREE}");
    // The later server.1 counts, so only the other one is left to be wrong.
    let error = home.load(&text.replace("server.1=here", "server.9=here")).unwrap_err();
    let places: Vec<_> = error.lines().map(|line| line.split(": ").next().unwrap().to_owned()).collect();
    assert_eq!(places, ["zoo.cfg:5", "zoo.cfg:6"], "{error}");
    assert!(error.contains("server.9=here: "), "{error}");
    assert!(error.contains("server.two=127.0.0.2:2888:3888: "), "{error}");
    // A value cannot smuggle another line in.
    let error = home.three("server.4=127.0.0.4:1:2\\nversion=ff").unwrap_err();
    assert!(error.starts_with("zoo.cfg:8: server.4="), "{error}");
}

#[test]
fn qv_hier_groups_and_weights_reach_the_membership() {
    let groups = "group.1=1:2:3\nweight.1=5\nweight.3=0";
    let membership = ensemble(groups).membership;
    assert_eq!([1, 2, 3].map(|id| membership.weight(ServerId(id))), [5, 1, 0]);
    let error = refusal("group.1=1:2");
    assert!(error.starts_with("zoo.cfg: server.3: "), "{error}");
    let error = refusal("group.1=1:2:3\ngroup.2=3");
    assert!(error.starts_with("zoo.cfg:9: group.2=3: "), "{error}");
}

#[test]
fn cfg_rule_dynfile_names_members_and_version() {
    let home = Home::new("2");
    let file = home.path("zoo.cfg.dynamic.100000002");
    std::fs::write(&file, format!("# members\n{THREE}")).unwrap();
    let text = format!("clientPort=2181\n{LIMITS}dynamicConfigFile={file}\n");
    let loaded = home.load(&text).unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    let membership = loaded.settings.core.ensemble.unwrap().membership;
    assert_eq!((membership.version(), membership.members().len()), (0x1_0000_0002, 3));
    assert_eq!(
        home.load(&format!("{text}server.1=127.0.0.1:1:2")).unwrap_err(),
        format!("zoo.cfg:6: server.1 must be in {file}, because dynamicConfigFile names that")
    );
    std::fs::write(&file, "version=5\nclientPort=7\nserver.1=x\n").unwrap();
    assert_eq!(
        home.load(&text).unwrap_err(),
        format!(
            "{file}:1: version does not belong here: it is the end of the file's name\n\
             {file}:2: clientPort does not belong here: expected server.N, group.N or weight.N"
        )
    );
    std::fs::write(&file, "server.1=x\n").unwrap();
    assert!(home.load(&text).unwrap_err().starts_with(&format!("{file}:1: server.1=x: ")));
    std::fs::remove_file(&file).unwrap();
    assert!(home.load(&text).unwrap_err().starts_with(&format!("{file}: cannot be read: ")));
}

/// PARITY `reconf.dynfile`: the change that was under way is known again, with its version.
#[test]
fn reconf_dynfile_a_change_of_members_under_way_is_read() {
    let home = Home::new("2");
    let (static_file, dynamic) = (home.path("zoo.cfg"), home.path("zoo.cfg.dynamic"));
    let next = home.path("zoo.cfg.dynamic.next");
    std::fs::write(&dynamic, THREE).unwrap();
    let data = home.0.path().display();
    let text = format!("dataDir={data}\nclientPort=2181\n{LIMITS}dynamicConfigFile={dynamic}\n");
    std::fs::write(&static_file, text).unwrap();
    let load = || from_file(Path::new(&static_file), &[]);
    assert_eq!(load().unwrap().settings.core.ensemble.unwrap().seen, None);
    std::fs::write(&next, format!("{THREE}server.4=127.0.0.4:2888:3888\nversion=100000002\n")).unwrap();
    let loaded = load().unwrap();
    let ensemble = loaded.settings.core.ensemble.unwrap();
    assert_eq!((ensemble.membership.version(), ensemble.membership.members().len()), (0, 3));
    let seen = ensemble.seen.expect("what was seen");
    assert_eq!((seen.version(), seen.members().len()), (0x1_0000_0002, 4));
    assert_eq!(loaded.warnings, [""; 0]);
    std::fs::write(&next, "server.4=x\n").unwrap();
    assert!(load().unwrap_err().to_string().starts_with(&format!("{next}: ")));
    // Newer than the members in force, these would have a say in every election, and nobody could be elected.
    let weightless = "group.1=1\nweight.1=0\nserver.1=127.0.0.1:2888:3888\nversion=100000002\n";
    for text in ["", "version=100000002\n", weightless] {
        std::fs::write(&next, text).unwrap();
        let expected =
            format!("{next}: it names no participants that could elect a leader: put back what was in it");
        assert_eq!(load().unwrap_err().to_string(), expected, "{text:?}");
    }
}
