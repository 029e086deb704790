//! Exercises a server through the crate `zookeeper-client` and checks every result: `interop-rust-client ADDRESS`.
//!
//! Ends with "ok", or panics. It prints "restart" and waits for a line on standard input; its caller restarts the
//! server then, which is the reconnect.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use zookeeper_client::{
    Acl, Acls, AddWatchMode, AuthId, Client, CreateMode, CreateOptions, Error, EventType, MultiWriteError, Permission,
};

const OPEN: CreateOptions<'static> = CreateMode::Persistent.with_acls(Acls::anyone_all());
const EPHEMERAL: CreateOptions<'static> = CreateMode::Ephemeral.with_acls(Acls::anyone_all());

#[tokio::main]
async fn main() {
    let address = std::env::args().nth(1).expect("the server's address is the argument");
    let client = connect(&address).await;
    nodes(&client).await;
    watches(&client).await;
    multi(&client).await;
    acls(&client, &address).await;
    ephemerals(&client, &address).await;
    reconnect(&client).await;
    println!("ok");
}

async fn connect(address: &str) -> Client {
    Client::connector()
        .with_session_timeout(Duration::from_secs(30))
        .connect(address)
        .await
        .expect("connect")
}

async fn nodes(client: &Client) {
    let (stat, _) = client.create("/rust", b"root", &OPEN).await.unwrap();
    assert_eq!(stat.czxid, stat.mzxid);
    assert_eq!(client.create("/rust", b"", &OPEN).await.unwrap_err(), Error::NodeExists);
    assert_eq!(client.create("/rust/no/parent", b"", &OPEN).await.unwrap_err(), Error::NoNode);
    assert_eq!(client.get_data("/rust").await.unwrap(), (b"root".to_vec(), stat));

    let changed = client.set_data("/rust", b"changed", Some(0)).await.unwrap();
    assert_eq!((changed.version, changed.data_length), (1, 7));
    assert_eq!(client.set_data("/rust", b"stale", Some(0)).await.unwrap_err(), Error::BadVersion);

    let sequential = CreateMode::PersistentSequential.with_acls(Acls::anyone_all());
    let (_, first) = client.create("/rust/seq-", b"", &sequential).await.unwrap();
    let (_, second) = client.create("/rust/seq-", b"", &sequential).await.unwrap();
    assert_eq!((first.into_i64(), second.into_i64()), (0, 1));

    let container = CreateMode::Container.with_acls(Acls::anyone_all());
    client.create("/rust/box", b"", &container).await.unwrap();
    let ttl = OPEN.with_ttl(Duration::from_secs(600));
    client.create("/rust/ttl", b"", &ttl).await.unwrap();

    let (mut names, stat) = client.get_children("/rust").await.unwrap();
    names.sort();
    assert_eq!(names, ["box", "seq-0000000000", "seq-0000000001", "ttl"]);
    assert_eq!((stat.num_children, stat.cversion), (4, 4));
    assert_eq!(client.count_descendants_number("/rust").await.unwrap(), 4);
    assert_eq!(client.delete("/rust", None).await.unwrap_err(), Error::NotEmpty);
    client.delete("/rust/seq-0000000000", Some(0)).await.unwrap();
    assert_eq!(client.check_stat("/rust/seq-0000000000").await.unwrap(), None);
}

async fn watches(client: &Client) {
    let path = "/rust/watched";
    let (stat, watcher) = client.check_and_watch_stat(path).await.unwrap();
    assert_eq!(stat, None);
    let (created, _) = client.create(path, b"", &OPEN).await.unwrap();
    let event = watcher.changed().await;
    assert_eq!((event.event_type, event.path.as_str()), (EventType::NodeCreated, path));
    assert!(event.zxid == created.czxid || event.zxid == -1, "zxid of the event: {}", event.zxid);

    let (_, _, data) = client.get_and_watch_data(path).await.unwrap();
    let (_, _, children) = client.get_and_watch_children(path).await.unwrap();
    let mut all = client.watch("/rust", AddWatchMode::PersistentRecursive).await.unwrap();
    client.set_data(path, b"1", None).await.unwrap();
    assert_eq!(data.changed().await.event_type, EventType::NodeDataChanged);
    client.create("/rust/watched/below", b"", &OPEN).await.unwrap();
    assert_eq!(children.changed().await.event_type, EventType::NodeChildrenChanged);
    client.delete("/rust/watched/below", None).await.unwrap();

    for (event_type, path) in [
        (EventType::NodeDataChanged, "/rust/watched"),
        (EventType::NodeCreated, "/rust/watched/below"),
        (EventType::NodeDeleted, "/rust/watched/below"),
    ] {
        let event = all.changed().await;
        assert_eq!((event.event_type, event.path.as_str()), (event_type, path));
    }
    drop(all);
}

async fn multi(client: &Client) {
    let mut writer = client.new_multi_writer();
    writer.add_create("/rust/multi", b"m", &OPEN).unwrap();
    writer.add_set_data("/rust/multi", b"n", Some(0)).unwrap();
    writer.add_check_version("/rust/multi", 1).unwrap();
    writer.add_delete("/rust/seq-0000000001", None).unwrap();
    assert_eq!(writer.commit().await.unwrap().len(), 4);
    assert_eq!(client.get_data("/rust/multi").await.unwrap().0, b"n");

    let mut writer = client.new_multi_writer();
    writer.add_create("/rust/never", b"", &OPEN).unwrap();
    writer.add_check_version("/rust/multi", 99).unwrap();
    let refused = writer.commit().await.unwrap_err();
    assert_eq!(refused, MultiWriteError::OperationFailed { index: 1, source: Error::BadVersion });
    assert_eq!(client.check_stat("/rust/never").await.unwrap(), None);

    let mut reader = client.new_multi_reader();
    reader.add_get_data("/rust/multi").unwrap();
    reader.add_get_children("/rust").unwrap();
    assert_eq!(reader.commit().await.unwrap().len(), 2);
}

async fn acls(client: &Client, address: &str) {
    client.auth("digest", b"user:password").await.unwrap();
    let users = client.list_auth_users().await.unwrap();
    assert!(users.iter().any(|user| format!("{user:?}").contains("digest")), "{users:?}");
    let mine = CreateMode::Persistent.with_acls(Acls::creator_all());
    client.create("/rust/mine", b"secret", &mine).await.unwrap();
    let (acl, _) = client.get_acl("/rust/mine").await.unwrap();
    assert_eq!(acl, [Acl::new(Permission::ALL, AuthId::new("digest", "user:tpUq/4Pn5A64fVZyQ0gOJ8ZWqkY="))]);

    let stranger = connect(address).await;
    assert_eq!(stranger.get_data("/rust/mine").await.unwrap_err(), Error::NoAuth);
    let read = [Acl::new(Permission::READ, AuthId::anyone())];
    assert_eq!(stranger.set_acl("/rust/mine", &read, None).await.unwrap_err(), Error::NoAuth);
    assert_eq!(client.set_acl("/rust/mine", &read, Some(0)).await.unwrap().aversion, 1);
    assert_eq!(stranger.get_data("/rust/mine").await.unwrap().0, b"secret");
}

async fn ephemerals(client: &Client, address: &str) {
    let other = connect(address).await;
    let (stat, _) = other.create("/rust/eph", b"", &EPHEMERAL).await.unwrap();
    assert_ne!(stat.ephemeral_owner, 0);
    assert_eq!(other.create("/rust/eph/child", b"", &OPEN).await.unwrap_err(), Error::NoChildrenForEphemerals);
    assert_eq!(other.list_ephemerals("/").await.unwrap(), ["/rust/eph"]);
    let (_, watcher) = client.check_and_watch_stat("/rust/eph").await.unwrap();
    // The last handle closes the session.
    drop(other);
    assert_eq!(watcher.changed().await.event_type, EventType::NodeDeleted);
}

async fn reconnect(client: &Client) {
    client.create("/rust/stays", b"", &EPHEMERAL).await.unwrap();
    let session = client.session_id();
    let (_, _, watcher) = client.get_and_watch_data("/rust/multi").await.unwrap();
    println!("restart");
    let mut line = String::new();
    BufReader::new(tokio::io::stdin()).read_line(&mut line).await.unwrap();

    while let Err(error) = client.set_data("/rust/multi", b"after", None).await {
        assert_eq!(error, Error::ConnectionLoss);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(watcher.changed().await.event_type, EventType::NodeDataChanged);
    assert_eq!(client.session_id(), session);
    assert!(client.check_stat("/rust/stays").await.unwrap().is_some(), "the ephemeral node outlives the restart");
}
