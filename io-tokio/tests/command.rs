//! The program `zabra` as an operator meets it: exact messages and exit codes.

mod common;

use std::net::TcpListener;
use std::process::Output;

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
