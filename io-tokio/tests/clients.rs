//! Clients of every kind on real sockets: good, slow, silent and broken ones.

mod common;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Client, Process, connect, create, get_data, hello, long, read_frame};
use io_tokio::{Server, Settings};
use zabra_core::server::HaltReason;

const MIB: usize = 1 << 20;

/// A server within this process, and a client's work against it on another thread.
fn embedded<T: Send>(
    adjust: impl FnOnce(&mut Settings),
    work: impl FnOnce(std::net::SocketAddr) -> T + Send,
) -> T {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::new("127.0.0.1:0".parse().unwrap(), dir.path());
    settings.core.max_client_cnxns = 0;
    adjust(&mut settings);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let running = runtime.block_on(Server::start(settings)).unwrap();
    let address = running.local_addr();
    let result = std::thread::scope(|scope| scope.spawn(|| work(address)).join());
    assert_eq!(runtime.block_on(running.shutdown()), HaltReason::Shutdown);
    result.unwrap()
}

#[test]
fn a_session_is_opened_and_requests_are_answered_in_order() {
    embedded(
        |_| {},
        |address| {
            let mut client = Client::open(address);
            assert_ne!(client.session, 0);
            assert_eq!(client.timeout_ms, 30_000);
            let requests: Vec<u8> = (1..=500).flat_map(|xid| get_data(xid, "/zookeeper")).collect();
            client.socket.write_all(&requests).unwrap();
            for xid in 1..=500 {
                assert_eq!(client.reply().unwrap().0, xid);
            }
        },
    );
}

#[test]
fn a_handshake_may_come_byte_by_byte() {
    embedded(
        |_| {},
        |address| {
            let mut socket = connect(address);
            for byte in hello(30_000) {
                socket.write_all(&[byte]).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(read_frame(&mut socket).unwrap().len(), 37);
        },
    );
}

#[test]
fn half_frames_held_open_cost_little_and_others_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path());
    Client::open(process.address);
    let before = process.resident();
    let held: Vec<TcpStream> = (0..500)
        .map(|_| {
            let mut client = Client::open(process.address);
            let whole = create(1, "/never", &[0; 1000]);
            client.socket.write_all(&whole[..whole.len() - 1]).unwrap();
            client.socket
        })
        .collect();
    let mut other = Client::open(process.address);
    other.socket.write_all(&get_data(1, "/zookeeper")).unwrap();
    assert_eq!(other.reply().unwrap().0, 1);
    let grown = process.resident().saturating_sub(before);
    assert!(grown < 16 * MIB, "{} connections took {grown} bytes", held.len());
    assert!(process.runs());
}

/// Goal: a client is served while thousands say nothing, and stays when they have to go. Method: first nobody has to go
/// for as long as the test can take, then everybody at once.
#[test]
fn thousands_that_never_speak_hold_up_nobody_and_are_shown_out() {
    let meet = |allowed: Duration, look: fn(&mut TcpStream)| {
        embedded(
            |settings| settings.core.sessionless_cnxn_timeout = allowed,
            |address| {
                let mut silent: Vec<TcpStream> = (0..3000).map(|_| connect(address)).collect();
                let mut client = Client::open(address);
                client.socket.write_all(&get_data(1, "/zookeeper")).unwrap();
                assert_eq!(client.reply().unwrap().0, 1);
                silent.iter_mut().for_each(look);
                client.socket.write_all(&get_data(2, "/zookeeper")).unwrap();
                assert_eq!(client.reply().unwrap().0, 2);
            },
        );
    };
    meet(Duration::from_secs(3600), |silent| {
        silent.set_nonblocking(true).unwrap();
        assert_eq!(silent.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "it is there");
    });
    meet(Duration::from_millis(500), |silent| match silent.read(&mut [0]) {
        Ok(count) => assert_eq!(count, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    });
}

#[test]
fn a_client_that_never_reads_costs_bounded_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path());
    let mut writer = Client::open(process.address);
    writer.socket.write_all(&create(1, "/big", &vec![7; MIB / 2])).unwrap();
    assert_eq!(writer.reply().unwrap().1, 0);
    let before = process.resident();
    let mut deaf = Client::open(process.address);
    deaf.socket.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    // Asks for a gigabyte: in the end the server does not read on, or closes.
    for xid in 1..2000 {
        if deaf.socket.write_all(&get_data(xid, "/big")).is_err() {
            break;
        }
    }
    writer.socket.write_all(&get_data(2, "/zookeeper")).unwrap();
    assert_eq!(writer.reply().unwrap().0, 2);
    let grown = process.resident().saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown} bytes");
    assert!(process.runs());
}

#[test]
fn wrong_lengths_close_the_connection_and_nothing_else() {
    embedded(
        |_| {},
        |address| {
            for length in [-1_i32, 0, i32::MAX, 0x10_0001] {
                let mut client = Client::open(address);
                client.socket.write_all(&length.to_be_bytes()).unwrap();
                let mut byte = [0];
                match client.socket.read(&mut byte) {
                    Ok(count) => assert_eq!(count, 0, "length {length}"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "length {length}"),
                }
            }
            Client::open(address);
        },
    );
}

#[test]
fn a_stop_under_load_ends_in_order_and_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path());
    let address = process.address;
    let stopping = AtomicBool::new(false);
    let created = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut client = Client::open(address);
            let mut created = 0;
            for xid in 1.. {
                let sent = client.socket.write_all(&create(xid, &format!("/n{xid}"), b"data"));
                match sent.and_then(|()| client.reply()) {
                    Ok((_, 0, _)) => created = xid,
                    Ok(_) | Err(_) => break,
                }
            }
            assert!(stopping.load(Ordering::SeqCst), "it ended before it was asked to");
            created
        });
        std::thread::sleep(Duration::from_millis(500));
        stopping.store(true, Ordering::SeqCst);
        process.signal("TERM");
        assert_eq!(process.wait().code(), Some(0));
        load.join().unwrap()
    });
    assert!(created > 0);
    let again = Process::start(dir.path());
    let mut client = Client::open(again.address);
    for xid in 1..=created {
        client.socket.write_all(&get_data(xid, &format!("/n{xid}"))).unwrap();
        let (_, error, _) = client.reply().unwrap();
        assert_eq!(error, 0, "/n{xid} was acknowledged");
    }
}

/// Ten thousand sessions at once need 20,000 descriptors in this process; a third of them shows the same.
#[test]
fn three_thousand_sessions_at_once_are_all_opened() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let mut sockets: Vec<TcpStream> = (0..3000).map(|_| connect(process.address)).collect();
    for socket in &mut sockets {
        socket.write_all(&hello(30_000)).unwrap();
    }
    let sessions: BTreeSet<i64> =
        sockets.iter_mut().map(|socket| long(&read_frame(socket).unwrap(), 8)).collect();
    assert_eq!(sessions.len(), sockets.len());
    assert!(!sessions.contains(&0), "a session was refused");
}
