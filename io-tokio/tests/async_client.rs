//! The asynchronous client against a real server in the same process, on real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use io_tokio::client::{Client, ConnectError, MultiError, WatchedEvent};
use io_tokio::{Running, Server, Settings};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use zabra_core::client::{AddWatchMode, CallError, CreateMode, SessionState, Write};
use zabra_core::server::HaltReason;
use zabra_core::types::{AclList, ErrorCode, EventType};

const TIMEOUT: Duration = Duration::from_secs(10);

/// A server on any free port of this host, and the directory that goes with it.
async fn server() -> (Running, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::new("127.0.0.1:0".parse().unwrap(), dir.path());
    settings.core.max_client_cnxns = 0;
    (Server::start(settings).await.unwrap(), dir)
}

async fn client(address: SocketAddr, chroot: &str) -> Client {
    let servers = format!("{address}{chroot}");
    timeout(TIMEOUT, Client::connect(&servers, TIMEOUT)).await.expect("in time").expect("a session")
}

/// What a watch sees next; a watch that sees nothing fails the test.
async fn next(watch: &mut io_tokio::client::Watch) -> Option<(EventType, String)> {
    let event = timeout(TIMEOUT, watch.next()).await.expect("in time");
    event.map(|WatchedEvent { kind, path, .. }| (kind, path))
}

/// Connections to the server go through here, and break when told.
struct Relay {
    address: SocketAddr,
    breaks: watch::Sender<u64>,
}

impl Relay {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (breaks, broken) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut broken = broken.clone();
                broken.mark_unchanged();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = broken.changed() => {}
                    }
                });
            }
        });
        Self { address, breaks }
    }

    fn break_all(&self) {
        self.breaks.send_modify(|count| *count += 1);
    }
}

#[tokio::test]
async fn every_method_does_what_it_says() {
    let (running, _dir) = server().await;
    let client = client(running.local_addr(), "").await;
    assert_eq!(client.state(), SessionState::Connected);
    assert_eq!(client.create("/a", "one", CreateMode::Persistent).await, Ok("/a".into()));
    let again = client.create("/a", "one", CreateMode::Persistent).await;
    assert_eq!(again, Err(CallError::Refused(ErrorCode::NODEEXISTS)));
    let (data, stat) = client.get_data("/a").await.unwrap();
    assert_eq!((data.as_deref(), stat.version), (Some(&b"one"[..]), 0));
    let set = client.set_data("/a", "two", 0).await.unwrap();
    assert_eq!(set.version, 1);
    assert_eq!(client.exists("/a").await, Ok(Some(set)));
    assert_eq!(client.exists("/b").await, Ok(None));
    let name = client.create("/a/s", "", CreateMode::EphemeralSequential).await.unwrap();
    assert_eq!(name, "/a/s0000000000");
    assert_eq!(client.get_children("/a").await.unwrap().0, ["s0000000000"]);
    assert_eq!(client.get_all_children_number("/a").await, Ok(1));
    assert_eq!(client.get_ephemerals("/").await, Ok(vec![name.clone()]));
    assert_eq!(client.sync("/").await, Ok(()));
    assert_eq!(client.get_acl("/a").await.unwrap().0, AclList::OpenUnsafe);
    assert_eq!(client.set_acl("/a", AclList::OpenUnsafe, -1).await.unwrap().aversion, 1);
    assert!(client.get_config().await.is_ok());
    client.add_auth("digest", "user:secret").await.unwrap();
    let identities = client.who_am_i().await.unwrap();
    assert!(identities.contains(&("digest".into(), "user".into())), "{identities:?}");
    let delete = |path: &str, version| Write::Delete { path: path.into(), version };
    let failed = client.multi(vec![delete(&name, -1), delete("/a", 7)]).await;
    assert_eq!(failed, Err(MultiError::Operation { index: 1, code: ErrorCode::BADVERSION }));
    assert_eq!(client.multi(vec![delete(&name, -1), delete("/a", -1)]).await.unwrap().len(), 2);
    assert_eq!(client.delete("/a", -1).await, Err(CallError::Refused(ErrorCode::NONODE)));
    assert!(client.session().await.is_some());
    assert_eq!(client.close().await, SessionState::Closed);
    assert_eq!(client.sync("/").await, Err(CallError::Closed));
    assert_eq!(client.close().await, SessionState::Closed);
    assert_eq!(running.shutdown().await, HaltReason::Shutdown);
}

#[tokio::test]
async fn watches_fire_stay_and_go() {
    let (running, _dir) = server().await;
    let watcher = client(running.local_addr(), "/app").await;
    let writer = client(running.local_addr(), "").await;
    writer.create("/app", "", CreateMode::Persistent).await.unwrap();
    let (found, mut created) = watcher.exists_and_watch("/x").await.unwrap();
    assert_eq!(found, None);
    let (_, _, mut children) = watcher.get_children_and_watch("/").await.unwrap();
    let mut all = watcher.add_watch("/", AddWatchMode::PersistentRecursive).await.unwrap();
    writer.create("/app/x", "", CreateMode::Persistent).await.unwrap();
    assert_eq!(next(&mut created).await, Some((EventType::NodeCreated, "/x".into())));
    assert_eq!(next(&mut created).await, None, "it fires once");
    assert_eq!(next(&mut children).await, Some((EventType::NodeChildrenChanged, "/".into())));
    let (_, _, mut data) = watcher.get_data_and_watch("/x").await.unwrap();
    writer.set_data("/app/x", "new", -1).await.unwrap();
    assert_eq!(next(&mut data).await, Some((EventType::NodeDataChanged, "/x".into())));
    writer.delete("/app/x", -1).await.unwrap();
    for kind in [EventType::NodeCreated, EventType::NodeDataChanged, EventType::NodeDeleted] {
        assert_eq!(next(&mut all).await, Some((kind, "/x".into())));
    }
    all.remove().await.unwrap();
    let missing = watcher.get_data_and_watch("/no").await.map(|_| ()).unwrap_err();
    assert_eq!(missing, CallError::Refused(ErrorCode::NONODE));
    let (_, mut open) = watcher.exists_and_watch("/").await.unwrap();
    watcher.close().await;
    assert_eq!(next(&mut open).await, None, "watches end with the session");
}

#[tokio::test]
async fn a_session_outlives_its_connections() {
    let (running, _dir) = server().await;
    let relay = Relay::to(running.local_addr()).await;
    let through = client(relay.address, "").await;
    let direct = client(running.local_addr(), "").await;
    let session = through.session().await;
    through.create("/e", "", CreateMode::Ephemeral).await.unwrap();
    let (_, _, mut data) = through.get_data_and_watch("/e").await.unwrap();
    let mut all = through.add_watch("/", AddWatchMode::Persistent).await.unwrap();
    for round in 0..3 {
        let mut states = through.states();
        relay.break_all();
        timeout(TIMEOUT, states.wait_for(|&state| state == SessionState::Disconnected))
            .await
            .unwrap()
            .unwrap();
        timeout(TIMEOUT, states.wait_for(|&state| state == SessionState::Connected)).await.unwrap().unwrap();
        assert_eq!(through.session().await, session);
        // An answer shows that the watches were registered before.
        through.sync("/").await.unwrap();
        direct.create(&format!("/{round}"), "", CreateMode::Persistent).await.unwrap();
        assert_eq!(next(&mut all).await, Some((EventType::NodeChildrenChanged, "/".into())));
    }
    direct.set_data("/e", "changed", -1).await.unwrap();
    assert_eq!(next(&mut data).await, Some((EventType::NodeDataChanged, "/e".into())));
    // Dropping the last handle ends the session, and its ephemeral znode goes.
    let (_, mut gone) = direct.exists_and_watch("/e").await.unwrap();
    drop(through);
    assert_eq!(next(&mut gone).await, Some((EventType::NodeDeleted, "/e".into())));
}

/// Many tasks on one handle, many more calls than the queue to the task holds: each gets its own answer.
#[tokio::test]
async fn many_tasks_share_one_client() {
    let (running, _dir) = server().await;
    let client = client(running.local_addr(), "").await;
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                let path = format!("/{number}");
                client.create(&path, path.clone(), CreateMode::Persistent).await.unwrap();
                for _ in 0..40 {
                    let (data, _) = client.get_data(&path).await.unwrap();
                    assert_eq!(data.as_deref(), Some(path.as_bytes()));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(client.get_children("/").await.unwrap().0.len(), 51, "and /zookeeper");
}

#[tokio::test]
async fn a_refused_identity_and_wrong_servers_end_it() {
    let (running, _dir) = server().await;
    let client = client(running.local_addr(), "").await;
    assert_eq!(client.add_auth("nonsense", "x").await, Err(CallError::AuthFailed));
    assert_eq!(client.sync("/").await, Err(CallError::AuthFailed));
    assert_eq!(client.close().await, SessionState::AuthFailed);
    assert!(matches!(Client::connect("", TIMEOUT).await, Err(ConnectError::Servers(_))));
    // The first of two servers is not there; the client finds the other.
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let servers = format!("{unused},{}", running.local_addr());
    let client = timeout(TIMEOUT, Client::connect(&servers, TIMEOUT)).await.unwrap().unwrap();
    assert_eq!(client.sync("/").await, Ok(()));
}
