//! Members that change, on real sockets: an ensemble within this process, each server on a loopback address of its own.

mod common;

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use common::{Client, connect, create, hello, read_frame, request, string};
use io_tokio::{Running, Server, Settings};
use tempfile::TempDir;
use zabra_core::config::EnsembleConfig;
use zabra_core::server::HaltReason;
use zabra_core::types::Membership;

/// A server that has a vote from the start, and the one that gets one.
const VOTER: u8 = 1;
const OBSERVER: u8 = 4;

/// Three voters, and one observer.
struct Ensemble {
    runtime: tokio::runtime::Runtime,
    servers: Vec<Running>,
    /// What the entries of the members have behind their number.
    entries: Vec<String>,
    /// Where voters serve observers.
    port: u16,
    _dir: TempDir,
}

/// A port on which nobody listens, on any of the loopback addresses that are used here.
fn free_port() -> u16 {
    TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
}

/// Tries until it works; a failed test ends.
fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "it takes too long until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Ensemble {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let entry = |server: u8| format!("127.0.0.{server}:{}:{}", free_port(), free_port());
        let entries: Vec<String> = (VOTER..=OBSERVER).map(entry).collect();
        let role = |server: u8| if server == OBSERVER { "observer" } else { "participant" };
        let line =
            |server: u8| format!("server.{server}={}:{}", entries[usize::from(server - 1)], role(server));
        let text: Vec<String> = (VOTER..=OBSERVER).map(line).collect();
        let members = Membership::parse(&text.join("\n")).expect("members");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let servers = (VOTER..=OBSERVER).map(|server| {
            let mut settings = Settings::new(
                format!("127.0.0.{server}:0").parse().unwrap(),
                dir.path().join(server.to_string()),
            );
            settings.core.server_id = server.into();
            settings.core.reconfig_enabled = true;
            settings.core.skip_acl = true;
            let mut ensemble = EnsembleConfig::new(members.clone());
            ensemble.observer_master_port = Some(port);
            settings.core.ensemble = Some(ensemble);
            runtime.block_on(Server::start(settings)).unwrap()
        });
        let servers = servers.collect();
        Self { runtime, servers, entries, port, _dir: dir }
    }

    /// A session with a server, once it serves.
    fn client(&self, server: u8) -> Client {
        let address = self.servers[usize::from(server - 1)].local_addr();
        wait_for("a server serves", || {
            let mut socket = connect(address);
            socket.write_all(&hello(30_000)).ok()?;
            let answer = read_frame(&mut socket).ok()?;
            Some(Client { socket, session: common::long(&answer, 8), timeout_ms: common::int(&answer, 4) })
        })
    }

    /// Where a server serves observers, if it does.
    fn observer_port(&self, server: u8) -> SocketAddr {
        format!("127.0.0.{server}:{}", self.port).parse().unwrap()
    }

    fn is_open(&self, server: u8) -> bool {
        TcpStream::connect(self.observer_port(server)).is_ok()
    }

    /// Makes the last server a voter or an observer.
    fn change(&self, role: &str) {
        let joining =
            format!("server.{OBSERVER}={}:{role};{}", self.entries[usize::from(OBSERVER - 1)], free_port());
        let null = (-1_i32).to_be_bytes();
        let body = [&string(&joining)[..], &null, &null, &(-1_i64).to_be_bytes()].concat();
        wait_for("the change is agreed on", || {
            let mut client = self.client(VOTER);
            client.socket.write_all(&request(1, 16, &body)).ok()?;
            let (_, error, _) = client.reply().ok()?;
            (error == 0).then_some(())
        });
    }

    fn stop(self) {
        for running in self.servers {
            assert_eq!(self.runtime.block_on(running.shutdown()), HaltReason::Shutdown);
        }
    }
}

/// PARITY `obs.master`: whoever gets a vote serves observers from then on, and whoever loses it does no more. A port that is
/// taken keeps it from neither voting nor serving, and is listened on once it is free.
#[test]
fn obs_master_the_port_opens_and_closes_as_members_change() {
    let ensemble = Ensemble::start();
    drop(ensemble.client(OBSERVER));
    assert!(ensemble.is_open(VOTER));
    assert!(!ensemble.is_open(OBSERVER), "it has no vote");
    ensemble.change("participant");
    wait_for("the port is open", || ensemble.is_open(OBSERVER).then_some(()));
    ensemble.change("observer");
    wait_for("the port is closed", || (!ensemble.is_open(OBSERVER)).then_some(()));
    assert!(ensemble.is_open(VOTER));

    let other = TcpListener::bind(ensemble.observer_port(OBSERVER)).expect("it is free again");
    ensemble.change("participant");
    let mut client = ensemble.client(OBSERVER);
    client.socket.write_all(&create(1, "/served-without-the-port", b"")).unwrap();
    assert_eq!(client.reply().unwrap().1, 0);
    drop(other);
    wait_for("the port is open", || ensemble.is_open(OBSERVER).then_some(()));
    ensemble.stop();
}
