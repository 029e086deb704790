//! The program `zabra` as an operator meets it: exact messages and exit codes.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::{Process, zabra};

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = zabra(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn version_and_help() {
    let version = format!("zabra {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["version"]), (Some(0), version.clone(), String::new()));
    assert_eq!(run(&["--version"]), (Some(0), version, String::new()));
    let (code, help, _) = run(&["server", "--help"]);
    assert_eq!(code, Some(0));
    for part in ["[ZOO_CFG]", "-D <NAME=VALUE>", "--log <LEVEL>", "--accept-data-loss", "Exit codes:"] {
        assert!(help.contains(part), "{part} in {help}");
    }
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    let (code, _, text) = run(&["server", "-Dnothing"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("expected NAME=VALUE"), "{text}");
    assert_eq!(run(&["serve"]).0, Some(2));
}

#[test]
fn a_wrong_log_level_ends_with_2_and_says_what_is_expected() {
    let expected = "expected error, warn, info, debug, trace or off, alone or in a list such as";
    let wrong = [("verbose", "there is no such level"), ("io_tokio=verbose", "error parsing level filter")];
    for (wrong, why) in wrong {
        for command in ["server", "ensemble"] {
            let (code, _, text) = run(&[command, "--log", wrong]);
            assert_eq!(code, Some(2), "{text}");
            let named =
                text.starts_with(&format!("error: invalid value '{wrong}' for '--log <LEVEL>': {why}"));
            assert!(named && text.contains(expected), "{text}");
        }
    }
    for right in ["warn", "OFF", "3", "zabra", "io_tokio::driver", "warn,zabra_core=debug", "hyper=trace", ""]
    {
        // It goes on to the configuration, of which there is none.
        assert_eq!(run(&["server", "--log", right, "/nowhere/zoo.cfg"]).0, Some(1), "{right}");
    }
}

/// It is not this program's alone: what other programs understand does not stop it, nor what none does.
#[test]
fn a_log_filter_of_the_environment_stops_nobody() {
    let ignored = "zabra: RUST_LOG=io_tokio=verbose is ignored, and info is logged: ";
    let word = "zabra: RUST_LOG=hyper is no level: only what a part named hyper logs is shown\n";
    for (text, begins) in [
        ("io_tokio=verbose", ignored),
        ("hyper", word),
        ("warn,hyper", "zabra: /nowhere/zoo.cfg: "),
        ("hyper=debug", "zabra: /nowhere/zoo.cfg: "),
        ("", "zabra: /nowhere/zoo.cfg: "),
    ] {
        let run = |arguments: &[&str]| {
            let output = zabra(arguments).env("RUST_LOG", text).output().unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        let (code, said) = run(&["server", "/nowhere/zoo.cfg"]);
        assert!(code == Some(1) && said.starts_with(begins), "{text}: {code:?} {said}");
        let (_, said) = run(&["server", "--log=off", "/nowhere/zoo.cfg"]);
        assert!(said.starts_with("zabra: /nowhere/zoo.cfg: "), "--log counts: {said}");
    }
}

#[test]
fn a_marker_that_cannot_be_removed_ends_with_3_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let marker = dir.path().join("initialize");
    std::fs::create_dir(&marker).unwrap();
    let (code, _, text) = run(&["server", "0", dir.path().to_str().unwrap()]);
    assert_eq!(code, Some(3), "{text}");
    let expected = format!("zabra: cannot remove {}: ", marker.display());
    let at = text.find(&expected).unwrap_or_else(|| panic!("{text}"));
    assert!(text[at..].contains("\nzabra: it permits this server to begin without data"), "{text}");
}

/// `disk.corrupt`: where the file really is, and what the operator can really do, who then does it.
#[test]
fn damage_ends_with_3_and_names_the_file_and_the_way_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let mut process = Process::start(dir.path());
    let mut client = common::Client::open(process.address);
    client.socket.write_all(&common::create(1, "/a", &[b'x'; 100])).unwrap();
    assert_eq!(client.reply().unwrap().1, 0);
    client.socket.write_all(&common::create(2, "/b", b"")).unwrap();
    assert_eq!(client.reply().unwrap().1, 0);
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
    let log = dir.path().canonicalize().unwrap().join("version-2/log.1");
    let mut bytes = std::fs::read(&log).unwrap();
    let at = bytes.windows(50).position(|bytes| bytes == [b'x'; 50]).expect("it was logged");
    bytes[at] = b'y';
    std::fs::write(&log, bytes).unwrap();
    let (code, _, text) = run(&["server", "0", data]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains(&format!("zabra: {} is corrupt at offset ", log.display())), "{text}");
    assert!(text.contains("copy dataDir and dataLogDir to another place first"), "{text}");
    let (_, way) = text.split_once("start once with ").expect("a way on");
    let option = way.split(' ').next().unwrap();
    let mut child = zabra(&["server", option, "0", data]).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("serving   port") {
        assert_ne!(lines.read_line(&mut said).unwrap(), 0, "{said}");
    }
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    // The log has a thread of its own, which may be behind.
    lines.read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    let dropped = format!("DATA LOSS ACCEPTED: dropped everything behind 0x1, from {}", log.display());
    assert!(said.contains(&dropped), "{said}");
}

#[test]
fn a_wrong_configuration_ends_with_1_and_names_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zoo.cfg");
    std::fs::write(&path, "dataDir=/nowhere\nclientPort=2181\ntickTime=soon\nsnapCount=many\n").unwrap();
    let path = path.to_str().unwrap();
    let (code, out, text) = run(&["server", path]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    let expected = format!(
        "zabra: {path}:3: tickTime=soon: expected a whole number of milliseconds from 1 to 2147483647\n\
         zabra: {path}:4: snapCount=many: expected a whole number\n"
    );
    assert_eq!(text, expected);
}

#[test]
fn a_missing_file_ends_with_1() {
    let (code, _, text) = run(&["server", "/nowhere/zoo.cfg"]);
    let expected = "zabra: /nowhere/zoo.cfg: cannot be read: No such file or directory (os error 2)\n";
    assert_eq!((code, text.as_str()), (Some(1), expected));
}

#[test]
fn a_port_alone_ends_with_1_and_says_what_is_expected() {
    let (code, _, text) = run(&["server", "2281"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("expected the path of a zoo.cfg, <port> <dataDir>"), "{text}");
    assert!(text.ends_with("or -DclientPort=2281 alone\n"), "{text}");
}

#[test]
fn an_address_of_another_host_ends_with_4_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    // For documentation alone: no host has it.
    let address = "-DclientPortAddress=192.0.2.1";
    let (code, _, text) = run(&["server", address, "0", dir.path().to_str().unwrap()]);
    assert_eq!(code, Some(4), "{text}");
    assert!(text.starts_with("zabra: cannot listen on 192.0.2.1:0: "), "{text}");
    assert!(text.contains("\nzabra: clientPortAddress must be an address of this host"), "{text}");
}

/// A limit on the size of files is a disk that fails, not a signal that ends the server without a word.
#[test]
fn a_file_that_may_not_grow_ends_with_5() {
    let dir = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_zabra");
    let script = format!("ulimit -f 32; exec {program} server -DpreAllocSize=0 0 {}", dir.path().display());
    let mut child = Command::new("sh").args(["-c", &script]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains("serving   port ") {
        assert_ne!(lines.read_line(&mut text).unwrap(), 0, "{text}");
    }
    let (_, port) = text.split_once("serving   port ").unwrap();
    let port: u16 = port.split(' ').next().unwrap().parse().unwrap();
    let mut client = common::Client::open(([127, 0, 0, 1], port).into());
    client.socket.write_all(&common::create(1, "/large", &[7; 100_000])).unwrap();
    assert!(client.reply().is_err(), "it cannot be written");
    lines.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5), "{text}");
    assert!(text.contains("zabra: the disk failed while "), "{text}");
}

#[test]
fn a_taken_port_ends_with_4_and_says_what_to_do() {
    let taken = TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind("0.0.0.0:0")).unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let (code, _, text) = run(&["server", &port.to_string(), dir.path().to_str().unwrap()]);
    let expected = format!(
        "zabra: port {port} is taken: another server listens on it already\n\
         zabra: stop that one (`ss -ltnp 'sport = :{port}'` shows which it is), or give this one another clientPort\n"
    );
    assert_eq!((code, text), (Some(4), expected));
}

#[test]
fn a_data_directory_in_use_ends_with_3() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Process::start(dir.path());
    let (code, _, text) = run(&["server", "0", dir.path().to_str().unwrap()]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("is in use by another Zabra server"), "{text}");
}

#[test]
fn a_data_directory_that_may_not_be_made_ends_with_3() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let (code, _, text) = run(&["server", "-Ddatadir.autocreate=false", "0", missing.to_str().unwrap()]);
    assert_eq!(code, Some(3), "{text}");
    assert!(!missing.exists());
}

#[test]
fn a_signal_stops_in_order() {
    for name in ["TERM", "INT"] {
        let dir = tempfile::tempdir().unwrap();
        let mut process = Process::start(dir.path());
        process.signal(name);
        assert_eq!(process.wait().code(), Some(0), "SIG{name}");
    }
}

#[test]
fn a_local_ensemble_that_cannot_be_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    let (code, _, text) = run(&["ensemble", "0", "--dir", dir]);
    let expected = "zabra: 0 servers: expected a number from 1 to 25, usually 3 or 5\n";
    assert_eq!((code, text.as_str()), (Some(2), expected));
    let (code, _, text) = run(&["ensemble", "--base-port", "65000", "--dir", dir]);
    assert_eq!(code, Some(2));
    assert!(text.starts_with("zabra: --base-port 65000: expected a port from 1 to "), "{text}");
    assert_eq!(run(&["ensemble", "three"]).0, Some(2));
    std::fs::create_dir(format!("{dir}/1")).unwrap();
    std::fs::write(format!("{dir}/1/myid"), "1").unwrap();
    let (code, _, text) = run(&["ensemble", "3", "--dir", dir]);
    assert_eq!(code, Some(3));
    assert!(text.contains("holds an ensemble of 1, not 3"), "{text}");
}

/// A port such that it, the two behind it, and those that a local ensemble takes above them are free. Another one for each
/// test, which may not listen yet when the next one looks.
fn free_base_port() -> u16 {
    static NEXT: Mutex<u16> = Mutex::new(0);
    let mut next = NEXT.lock().unwrap();
    let first = (*next).max(20_000 + u16::try_from(std::process::id() % 8_000).unwrap());
    let found = (first..)
        .step_by(3)
        .find(|base| {
            let ports = [0, 707, 1707].into_iter().flat_map(|offset| (0..3).map(move |n| base + offset + n));
            ports.map(|port| TcpListener::bind(("127.0.0.1", port))).all(|bound| bound.is_ok())
        })
        .expect("free ports");
    *next = found + 3;
    found
}

/// Whether somebody answers there. That somebody can be connected to is not enough: the port is open before the server
/// has started, and until then a signal stops it at once.
fn answers(port: u16) -> bool {
    let mut answer = [0];
    let ask = |mut socket: TcpStream| socket.write_all(b"srvr").and_then(|()| socket.read_exact(&mut answer));
    TcpStream::connect(("127.0.0.1", port)).and_then(ask).is_ok()
}

/// A local ensemble, what it says at its start, the processes of its servers, and what it says from then on.
fn local_ensemble(
    dir: &std::path::Path,
    base: u16,
) -> (std::process::Child, String, Vec<String>, BufReader<std::process::ChildStderr>) {
    let arguments = ["ensemble", "--dir", dir.to_str().unwrap(), "--base-port", &base.to_string()];
    let mut child = zabra(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    while !text.contains("Ctrl-C") {
        assert_ne!(lines.read_line(&mut text).unwrap(), 0, "{text}");
    }
    let pids: Vec<String> = text
        .lines()
        .filter(|line| line.trim().starts_with("server "))
        .map(|line| line.split("process ").nth(1).unwrap().split(',').next().unwrap().to_owned())
        .collect();
    assert_eq!(pids.len(), 3, "{text}");
    (child, text, pids, lines)
}

/// What a server says before it ends is told where the operator looks.
#[test]
fn a_local_ensemble_says_why_its_servers_end() {
    let dir = tempfile::tempdir().unwrap();
    let base = free_base_port();
    let _taken: Vec<TcpListener> =
        (base..base + 3).map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap()).collect();
    let (mut child, _, _, mut lines) = local_ensemble(dir.path(), base);
    let mut text = String::new();
    lines.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7), "{text}");
    for port in base..base + 3 {
        assert!(text.contains(&format!("    zabra: port {port} is taken: ")), "{text}");
    }
    assert!(text.contains("--base-port PORT"), "{text}");
}

/// However the process ends that looks after them: no server stays on its port.
#[test]
fn a_local_ensemble_that_is_killed_takes_its_servers_along() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, _, pids, _) = local_ensemble(dir.path(), free_base_port());
    child.kill().unwrap();
    child.wait().unwrap();
    let begin = Instant::now();
    for pid in pids {
        // Who has nobody left to wait for it may stay for a while as a process that has ended.
        let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        while !(state().is_empty() || state().contains(") Z ")) {
            assert!(begin.elapsed() < Duration::from_secs(20), "server {pid} is left");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_local_ensemble_starts_and_ends_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let base = free_base_port();
    let (mut child, mut text, pids, mut lines) = local_ensemble(dir.path(), base);
    let connect = format!("127.0.0.1:{base},127.0.0.1:{},127.0.0.1:{}", base + 1, base + 2);
    assert!(text.contains(&format!("-server {connect}\n")), "{text}");
    let configuration = dir.path().join("1/zoo.cfg");
    let before = std::fs::read(&configuration).unwrap();
    let (code, _, second) =
        run(&["ensemble", "--dir", dir.path().to_str().unwrap(), "--base-port", &(base + 3).to_string()]);
    assert_eq!(code, Some(3), "{second}");
    assert!(second.contains("is in use: another `zabra ensemble`"), "{second}");
    assert_eq!(std::fs::read(&configuration).unwrap(), before, "nothing was written");
    let begin = Instant::now();
    for port in base..base + 3 {
        while !answers(port) {
            assert!(begin.elapsed() < Duration::from_secs(20), "nobody serves port {port}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let killed = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    for pid in pids {
        assert!(!std::path::Path::new("/proc").join(&pid).exists(), "server {pid} is left");
    }
    lines.read_to_string(&mut text).unwrap();
    let ends = text.lines().filter(|line| line.contains("ended: exit status: 0")).count();
    assert_eq!(ends, 3, "{text}");
}
