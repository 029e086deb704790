//! How these tests ask, and how they read what comes back.

use zabra_core::config::Config;
use zabra_core::server::Event;
use zabra_core::testing::lone::{LoneServer, Reply};
use zabra_core::types::{Acl, AclList, ConnId, ErrorCode, EventType, Id, OpCode, Perms, Stat, Zxid};
use zabra_core::wire::data::decode_stat;
use zabra_core::wire::reply::WatchEvent;
use zabra_core::wire::{Reader, Request};

/// A server and a client of it.
pub fn server() -> (LoneServer, ConnId) {
    server_with(Config::default())
}

pub fn server_with(config: Config) -> (LoneServer, ConnId) {
    let mut lone = LoneServer::new(config);
    let (conn, _) = lone.client();
    (lone, conn)
}

pub fn create(path: &str, flags: i32) -> Request<'_> {
    Request::Create { path, data: Some(b"x"), acl: Some(AclList::OpenUnsafe), flags, ttl: None }
}

pub fn create_with<'a>(path: &'a str, data: Option<&'a [u8]>, acl: &[(i32, &str, &str)]) -> Request<'a> {
    Request::Create { path, data, acl: Some(self::acl(acl)), flags: 0, ttl: None }
}

pub fn acl(entries: &[(i32, &str, &str)]) -> AclList {
    let entry =
        |&(perms, scheme, id): &(i32, &str, &str)| Acl { perms: Perms(perms), id: Id::new(scheme, id) };
    entries.iter().map(entry).collect::<Vec<_>>().into()
}

pub fn set<'a>(path: &'a str, data: &'a [u8]) -> Request<'a> {
    Request::SetData { path, data: Some(data), version: -1 }
}

pub fn delete(path: &str) -> Request<'_> {
    Request::Delete { path, version: -1 }
}

pub fn exists(path: &str) -> Request<'_> {
    Request::Exists { path, watch: false }
}

pub fn get(path: &str) -> Request<'_> {
    Request::GetData { path, watch: false }
}

pub fn children(path: &str) -> Request<'_> {
    Request::GetChildren { path, watch: false }
}

pub fn login(scheme: &'static str, auth: &'static [u8]) -> Request<'static> {
    Request::Auth { kind: 0, scheme: Some(scheme), auth: Some(auth) }
}

/// Which operation these requests are, where there is only one.
pub fn op_of(request: &Request<'_>) -> OpCode {
    match request {
        Request::AddWatch { .. } => OpCode::ADD_WATCH,
        Request::Auth { .. } => OpCode::AUTH,
        Request::CheckWatches { .. } => OpCode::CHECK_WATCHES,
        Request::CloseSession => OpCode::CLOSE_SESSION,
        Request::Create { ttl: Some(_), .. } => OpCode::CREATE_TTL,
        Request::Create { .. } => OpCode::CREATE,
        Request::Delete { .. } => OpCode::DELETE,
        Request::Exists { .. } => OpCode::EXISTS,
        Request::GetAcl { .. } => OpCode::GET_ACL,
        Request::GetAllChildrenNumber { .. } => OpCode::GET_ALL_CHILDREN_NUMBER,
        Request::GetChildren { .. } => OpCode::GET_CHILDREN,
        Request::GetChildren2 { .. } => OpCode::GET_CHILDREN2,
        Request::GetData { .. } => OpCode::GET_DATA,
        Request::GetEphemerals { .. } => OpCode::GET_EPHEMERALS,
        Request::Multi(_) => OpCode::MULTI,
        Request::MultiRead(_) => OpCode::MULTI_READ,
        Request::Ping => OpCode::PING,
        Request::RemoveWatches { .. } => OpCode::REMOVE_WATCHES,
        Request::SetAcl { .. } => OpCode::SET_ACL,
        Request::SetData { .. } => OpCode::SET_DATA,
        Request::SetWatches { .. } => OpCode::SET_WATCHES2,
        Request::Sync { .. } => OpCode::SYNC,
        Request::WhoAmI => OpCode::WHO_AM_I,
        other => panic!("{other:?} is asked by its number"),
    }
}

/// Asks and takes the one reply.
pub fn ask(lone: &mut LoneServer, conn: ConnId, request: &Request<'_>) -> Reply {
    lone.call(conn, op_of(request), request)
}

/// Asks and takes the code of the one reply.
pub fn code(lone: &mut LoneServer, conn: ConnId, request: &Request<'_>) -> ErrorCode {
    ask(lone, conn, request).err
}

/// Asks what must succeed.
pub fn must(lone: &mut LoneServer, conn: ConnId, request: &Request<'_>) -> Reply {
    let reply = ask(lone, conn, request);
    assert_eq!(reply.err, ErrorCode::OK, "{request:?}");
    reply
}

pub fn make(lone: &mut LoneServer, conn: ConnId, path: &str) {
    must(lone, conn, &create(path, 0));
}

pub fn stat(lone: &mut LoneServer, conn: ConnId, path: &str) -> Stat {
    stat_in(&must(lone, conn, &exists(path)))
}

pub fn stat_in(reply: &Reply) -> Stat {
    decode_stat(&mut Reader::new(&reply.body)).expect("a stat")
}

pub fn data(lone: &mut LoneServer, conn: ConnId, path: &str) -> Option<Vec<u8>> {
    let reply = must(lone, conn, &get(path));
    Reader::new(&reply.body).buffer().expect("data").map(<[u8]>::to_vec)
}

pub fn path_of(reply: &Reply) -> String {
    Reader::new(&reply.body).required_string().expect("a path").into()
}

/// The strings of a vector at the beginning of a body, in order.
pub fn strings(reply: &Reply) -> Vec<String> {
    let mut strings: Vec<String> =
        Reader::new(&reply.body).required_strings().expect("strings").into_iter().map(String::from).collect();
    strings.sort();
    strings
}

/// What an event tells: what happened, and where.
pub fn event(reply: &Reply) -> (EventType, String) {
    assert_eq!((reply.xid, reply.err), (-1, ErrorCode::OK), "an event");
    let event = WatchEvent::decode(&mut Reader::new(&reply.body)).expect("an event");
    (event.kind, event.path.into())
}

/// What the client is told of, without what it asked.
pub fn events(lone: &mut LoneServer, conn: ConnId) -> Vec<(EventType, String)> {
    lone.replies(conn).iter().filter(|reply| reply.xid == -1).map(event).collect()
}

/// The last transaction, as a ping tells it.
pub fn last_zxid(lone: &mut LoneServer, conn: ConnId) -> Zxid {
    must(lone, conn, &Request::Ping).zxid
}

/// The predicted digests were right throughout.
pub fn no_mismatch(lone: &LoneServer) {
    assert!(!lone.events.iter().any(|event| matches!(event, Event::DigestMismatch { .. })));
}
