//! Four-letter words.

use zabra_core::config::{About, Config, FourLetterWords};
use zabra_core::server::CloseReason;
use zabra_core::testing::lone::LoneServer;
use zabra_core::types::{ConnId, OpCode};
use zabra_core::wire::Request;
use zabra_core::wire::request::MultiOp;

use crate::ask::{acl, ask, children, create, delete, exists, get, make, must, set};

fn server() -> (LoneServer, ConnId) {
    let about = About {
        version: "1.2.3, built".into(),
        client_port: 2181,
        secure_client_port: -1,
        data_dir: "/data/version-2".into(),
        data_log_dir: "/log/version-2".into(),
        listen_backlog: -1,
        environment: vec![("host.name".into(), "here".into()), ("os.name".into(), "Linux".into())],
    };
    let config = Config { four_letter_words: FourLetterWords::All, about, ..Config::default() };
    crate::ask::server_with(config)
}

/// The keys of lines of the form `key=value`, `key: value` or `key<tab>value`.
fn keys(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.split(['=', ':', '\t']).next().unwrap_or_default()).collect()
}

/// `4lw.whitelist`: `srvr` is always answered; the others say what is wrong.
#[test]
fn whitelist() {
    let words = FourLetterWords::Only(vec!["ruok".into()]);
    let mut lone = LoneServer::new(Config { four_letter_words: words, ..Config::default() });
    assert_eq!(lone.word("ruok"), "imok");
    for word in ["stat", "mntr", "stmk", "isro"] {
        assert_eq!(lone.word(word), format!("{word} is not executed because it is not in the whitelist.\n"));
    }
    assert!(lone.word("srvr").starts_with("Zookeeper version: "));
}

/// `4lw.telnetclose`: closed without a word.
#[test]
fn telnetclose() {
    let (mut lone, _) = server();
    let conn = lone.connect();
    lone.receive(conn, &[0xff, 0xf4, 0xff, 0xfd][..]);
    assert_eq!(lone.take_sent(conn), b"");
    assert_eq!(lone.closed[&conn], CloseReason::AdminWordAnswered);
}

/// `4lw.conf`: ZooKeeper's keys in ZooKeeper's order.
#[test]
fn conf() {
    let (mut lone, _) = server();
    let text = lone.word("conf");
    assert_eq!(
        keys(&text),
        [
            "clientPort",
            "secureClientPort",
            "dataDir",
            "dataDirSize",
            "dataLogDir",
            "dataLogSize",
            "tickTime",
            "maxClientCnxns",
            "minSessionTimeout",
            "maxSessionTimeout",
            "clientPortListenBacklog",
            "serverId"
        ]
    );
    assert!(text.contains("dataLogDir=/log/version-2\n") && text.ends_with("serverId=0\n"), "{text}");
}

/// `4lw.dirs`, `4lw.conf`: one directory for both has all the bytes twice, as with ZooKeeper.
#[test]
fn dirs() {
    for shared in [false, true] {
        let data_log_dir = if shared { "/data" } else { "/log" };
        let about = About { data_dir: "/data".into(), data_log_dir: data_log_dir.into(), ..About::default() };
        let four_letter_words = FourLetterWords::All;
        let config = Config { about, four_letter_words, snap_count: 4, ..Config::default() };
        let (mut lone, conn) = crate::ask::server_with(config);
        for n in 0..9 {
            make(&mut lone, conn, &format!("/n{n}"));
        }
        let text = lone.word("dirs");
        let sizes: Vec<u64> = text
            .lines()
            .map(|line| line.split(": ").nth(1).expect("a size").parse().expect("a number"))
            .collect();
        assert!(sizes[0] > 0 && sizes[1] > 0, "{text}");
        assert_eq!(sizes[0] == sizes[1], shared, "{text}");
        let conf = lone.word("conf");
        for (key, size) in [("dataDirSize", sizes[0]), ("dataLogSize", sizes[1])] {
            assert!(conf.contains(&format!("{key}={size}\n")), "{conf}");
        }
    }
}

/// `4lw.cons`, `4lw.crst`: a line for each connection; counters start again when told to.
#[test]
fn cons() {
    let (mut lone, conn) = server();
    let (_, answer) = lone.client();
    lone.connect_from("[::1]:5".parse().expect("an address"));
    make(&mut lone, conn, "/a");
    let text = lone.word("cons");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 5, "three connections, the one that asks, and an empty line: {text}");
    assert!(lines[0].starts_with(" /10.0.0.1:4000[1](queued=0,recved=2,sent=2,sid=0x"), "{text}");
    let rest = ",lop=CREA,est=1700000000000,to=10000,lcxid=0x1,lzxid=0x3,lresp=1000,llat=0,minlat=0,avglat=0,maxlat=0)";
    assert!(lines[0].ends_with(rest), "{text}");
    let opened = format!(
        ",sid={},lop=SESS,est=1700000000000,to=10000,lcxid=0x0,lzxid=0x2,lresp=1000,",
        answer.session
    );
    assert!(lines[1].contains(&opened), "{text}");
    assert!(lines[2].starts_with(" /[::1]:5[1](queued=0,recved=0,sent=0)"), "{text}");
    assert!(lines[3].starts_with(" /10.0.0.1:4000[0](queued=0,recved=1,sent=0)"), "{text}");
    lone.send(conn, -2, OpCode::PING, &Request::Ping);
    let text = lone.word("cons");
    assert!(text.contains(",lop=PING,est=1700000000000,to=10000,lcxid=0x1,"), "{text}");
    assert_eq!(lone.word("crst"), "Connection stats reset.\n");
    assert!(lone.word("cons").contains("(queued=0,recved=0,sent=0,sid="), "{text}");
}

/// `4lw.cons.lop`: the short name of the last operation.
#[test]
fn cons_lop() {
    let (mut lone, conn) = server();
    let multi = |op, request| vec![MultiOp { op, request }];
    for (request, name) in [
        (Request::Ping, "PING"),
        (create("/a", 0), "CREA"),
        (set("/a", b"2"), "SETD"),
        (Request::SetAcl { path: "/a", acl: Some(acl(&[(31, "world", "anyone")])), version: -1 }, "SETA"),
        (exists("/a"), "EXIS"),
        (get("/a"), "GETD"),
        (Request::GetAcl { path: "/a" }, "GETA"),
        (children("/a"), "GETC"),
        (Request::GetChildren2 { path: "/a", watch: false }, "GETC"),
        (Request::GetAllChildrenNumber { path: "/a" }, "GETACN"),
        (Request::GetEphemerals { prefix: None }, "GETE"),
        (Request::Sync { path: "/a" }, "SYNC"),
        (Request::AddWatch { path: "/a", mode: 0 }, "ADDW"),
        (Request::CheckWatches { path: "/a", kind: 3 }, "CHKW"),
        (Request::RemoveWatches { path: "/a", kind: 3 }, "REMW"),
        (Request::WhoAmI, "HOMI"),
        (Request::Multi(multi(OpCode::DELETE, delete("/a"))), "MULT"),
        (Request::MultiRead(multi(OpCode::GET_DATA, get("/a"))), "MLTR"),
        (delete("/a"), "DELE"),
    ] {
        ask(&mut lone, conn, &request);
        let text = lone.word("cons");
        assert!(text.contains(&format!(",lop={name},")), "{name}: {text}");
    }
}

/// `4lw.dump`: sessions by when they expire, ephemeral znodes by session, connections.
#[test]
fn dump() {
    let (mut lone, _) = server();
    let (conn, answer) = lone.client();
    must(&mut lone, conn, &create("/e", 1));
    let text = lone.word("dump");
    for part in [
        "SessionTracker dump:\nSession Sets (1)/(2):\n2 expire ",
        &format!("\t{}\n", answer.session),
        &format!("ephemeral nodes dump:\nSessions with Ephemerals (1):\n{}:\n\t/e\n", answer.session),
        "Connections dump:\nConnections Sets ",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

/// `4lw.envi`: what the process around it knows.
#[test]
fn envi() {
    let (mut lone, _) = server();
    assert_eq!(
        lone.word("envi"),
        "Environment:\nzookeeper.version=1.2.3, built\nhost.name=here\nos.name=Linux\n"
    );
}

/// `4lw.srvr`, `4lw.stat`, `4lw.srst`: the lines that scripts look for.
#[test]
fn srvr_and_stat() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/a");
    let srvr = [
        "Zookeeper version",
        "Latency min/avg/max",
        "Received",
        "Sent",
        "Connections",
        "Outstanding",
        "Zxid",
        "Mode",
        "Node count",
    ];
    let text = lone.word("srvr");
    assert_eq!(keys(&text), srvr);
    for line in [
        "Latency min/avg/max: 0/0.0/0\n",
        "Received: 3\n",
        "Zxid: 0x2\n",
        "Mode: standalone\nNode count: 6\n",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
    let text = lone.word("stat");
    let mut expected = srvr.to_vec();
    expected.splice(1..1, ["Clients", " /10.0.0.1", " /10.0.0.1", ""]);
    assert_eq!(keys(&text), expected, "{text}");
    assert_eq!(lone.word("srst"), "Server stats reset.\n");
    assert!(lone.word("srvr").contains("Received: 1\n"), "the question itself");
}

/// `4lw.hash`, `digest.log`: the digest at every 128th transaction.
#[test]
fn hash() {
    let (mut lone, conn) = server();
    make(&mut lone, conn, "/a");
    for _ in 0..300 {
        must(&mut lone, conn, &set("/a", b"2"));
    }
    let text = lone.word("hash");
    assert_eq!(keys(&text), ["80", "100"], "{text}");
}

/// `4lw.gtmk`, `4lw.stmk`: the mask is kept, and changes nothing.
#[test]
fn stmk() {
    let (mut lone, _) = server();
    assert_eq!(lone.word("gtmk"), "306");
    let conn = lone.connect();
    lone.receive(conn, [&b"stmk"[..], &5_i64.to_be_bytes()].concat());
    assert_eq!(lone.take_sent(conn), b"5");
    assert_eq!(lone.word("gtmk"), "5");
}

/// `4lw.wchs`, `4lw.wchc`, `4lw.wchp`: data watches alone, as with ZooKeeper.
#[test]
fn wchs() {
    let (mut lone, conn) = server();
    let (other, answer) = lone.client();
    ask(&mut lone, conn, &Request::GetChildren { path: "/", watch: true });
    ask(&mut lone, other, &Request::Exists { path: "/a", watch: true });
    ask(&mut lone, other, &Request::GetData { path: "/", watch: true });
    assert_eq!(lone.word("wchs"), "1 connections watching 2 paths\nTotal watches:2\n");
    assert!(lone.word("mntr").contains("\nzk_watch_count\t3\n"), "here child watches count, too");
    assert_eq!(lone.word("wchp"), format!("/\n\t{0}\n/a\n\t{0}\n\n", answer.session));
    let by_session = lone.word("wchc");
    let mut lines: Vec<_> = by_session.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["", "\t/", "\t/a", &answer.session.to_string()], "in any order, as there");
}
