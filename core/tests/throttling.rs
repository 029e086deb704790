//! Who waits when a server is full, and until when (PARITY `lim.outstanding`): steps of clients and disk, one at a time.

use zabra_core::config::Config;
use zabra_core::server::Input;
use zabra_core::store::{DiskAnswer, DiskOp};
use zabra_core::testing::cluster::create;
use zabra_core::testing::lone::LoneServer;
use zabra_core::types::{ConnId, OpCode};
use zabra_core::wire::Request;

/// The disk ends an append of the log, after whatever comes before it.
fn end_append(lone: &mut LoneServer) {
    loop {
        let is_append = matches!(lone.held().next(), Some(DiskOp::LogAppend { .. }));
        lone.end_next(Ok(DiskAnswer::Done));
        if is_append {
            return;
        }
    }
}

fn write_all(lone: &mut LoneServer, clients: &[ConnId], xid: i32) {
    for &conn in clients {
        lone.send(conn, xid, OpCode::CREATE, &create(&format!("/{}-{xid}", conn.0)));
    }
}

fn xids(lone: &mut LoneServer, conn: ConnId) -> Vec<i32> {
    lone.replies(conn).iter().map(|reply| reply.xid).collect()
}

/// A client that waits with two requests under way goes on once both are answered, though others keep the server full all
/// the while: they come one group behind the other, each client with its first request.
#[test]
fn lim_outstanding_a_client_goes_on_once_it_waits_for_nothing() {
    let mut lone = LoneServer::new(Config { global_outstanding_limit: 2, ..Config::default() });
    let (first, slow) = (lone.client().0, lone.client().0);
    let groups: Vec<Vec<ConnId>> = (0..10).map(|_| (0..4).map(|_| lone.client().0).collect()).collect();
    lone.hold_disk();
    // While this is on the disk, what follows gathers for the next append.
    write_all(&mut lone, &[first], 1);
    for xid in 1..=6 {
        write_all(&mut lone, &[slow], xid);
    }
    let mut answered = Vec::new();
    for group in &groups {
        write_all(&mut lone, group, 1);
        end_append(&mut lone);
        answered.extend(xids(&mut lone, slow));
    }
    assert_eq!(answered, [1, 2, 3, 4, 5, 6]);
}

/// Who waits only because the log is full goes on once it has room, though others keep the server full: nothing of its own
/// will be answered and let it go on. What has requests under way waits behind it.
#[test]
fn lim_outstanding_who_has_nothing_under_way_waits_for_the_log_alone() {
    let config = Config { global_outstanding_limit: 1, log_buffer_max: 2000, ..Config::default() };
    let mut lone = LoneServer::new(config);
    let clients: Vec<ConnId> = (0..6).map(|_| lone.client().0).collect();
    let (large, small, reader) = (&clients[..3], &clients[3..5], clients[5]);
    lone.hold_disk();
    let set = Request::SetData { path: "/", data: Some(&[7; 1100]), version: -1 };
    for &conn in large {
        lone.send(conn, 1, OpCode::SET_DATA, &set);
    }
    lone.send(large[1], 2, OpCode::SET_DATA, &set);
    lone.send(reader, -2, OpCode::PING, &Request::Ping);
    write_all(&mut lone, small, 1);
    assert_eq!(xids(&mut lone, reader), [], "the log is full");
    end_append(&mut lone);
    assert_eq!((xids(&mut lone, large[0]), xids(&mut lone, reader)), (vec![1], vec![-2]));
    end_append(&mut lone);
    assert_eq!(xids(&mut lone, large[2]), [1]);
    assert_eq!(xids(&mut lone, small[0]), []);
    lone.release_disk();
    assert_eq!(xids(&mut lone, large[1]), [1, 2]);
}

/// Who is closed waits no more, and takes nobody else's turn.
#[test]
fn lim_outstanding_whoever_leaves_while_it_waits_is_passed_over() {
    let mut lone = LoneServer::new(Config { global_outstanding_limit: 1, ..Config::default() });
    let clients: Vec<ConnId> = (0..3).map(|_| lone.client().0).collect();
    lone.hold_disk();
    for xid in 1..=3 {
        write_all(&mut lone, &clients, xid);
    }
    lone.input(Input::Closed { conn: clients[1] });
    lone.release_disk();
    assert_eq!(xids(&mut lone, clients[0]), [1, 2, 3]);
    assert_eq!(xids(&mut lone, clients[2]), [1, 2, 3]);
}
