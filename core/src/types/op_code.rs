//! Operation numbers of ZooKeeper's protocol (`ZooDefs.OpCode`).

use core::fmt;

/// An operation number, in request headers and in transaction headers alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpCode(pub i32);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        impl OpCode {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// ZooKeeper's name of the operation, if it has one.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// Only the server sends it; as a request it is refused.
    NOTIFICATION = 0, "notification";
    /// Create a znode; the reply is its path.
    CREATE = 1, "create";
    /// Delete a znode without children.
    DELETE = 2, "delete";
    /// A znode's stat, or NONODE; may leave a watch either way.
    EXISTS = 3, "exists";
    /// A znode's data and stat.
    GET_DATA = 4, "getData";
    /// Replace a znode's data.
    SET_DATA = 5, "setData";
    /// A znode's ACL and stat.
    GET_ACL = 6, "getACL";
    /// Replace a znode's ACL.
    SET_ACL = 7, "setACL";
    /// Names of a znode's children.
    GET_CHILDREN = 8, "getChildren";
    /// Bring this server up to date with the leader.
    SYNC = 9, "sync";
    /// Keep the session alive.
    PING = 11, "ping";
    /// Names of a znode's children, and its stat.
    GET_CHILDREN2 = 12, "getChildren2";
    /// Compare a version; only inside a multi.
    CHECK = 13, "check";
    /// Several writes, all or none.
    MULTI = 14, "multi";
    /// Create a znode; the reply is its path and stat.
    CREATE2 = 15, "create2";
    /// Change the ensemble's membership.
    RECONFIG = 16, "reconfig";
    /// Whether this connection has a certain watch.
    CHECK_WATCHES = 17, "checkWatches";
    /// Drop a watch of this connection.
    REMOVE_WATCHES = 18, "removeWatches";
    /// Create a container.
    CREATE_CONTAINER = 19, "createContainer";
    /// Delete an empty container or an expired TTL node; the server's own.
    DELETE_CONTAINER = 20, "deleteContainer";
    /// Create a TTL node.
    CREATE_TTL = 21, "createTTL";
    /// Several reads at one point.
    MULTI_READ = 22, "multiRead";
    /// Present credentials.
    AUTH = 100, "auth";
    /// Re-register one-shot watches after a reconnect.
    SET_WATCHES = 101, "setWatches";
    /// One step of a SASL exchange.
    SASL = 102, "sasl";
    /// Paths of this session's ephemeral znodes.
    GET_EPHEMERALS = 103, "getEphemerals";
    /// How many descendants a znode has.
    GET_ALL_CHILDREN_NUMBER = 104, "getAllChildrenNumber";
    /// Re-register watches of every mode after a reconnect.
    SET_WATCHES2 = 105, "setWatches2";
    /// Add a persistent watch.
    ADD_WATCH = 106, "addWatch";
    /// The identities of this connection.
    WHO_AM_I = 107, "whoAmI";
    /// A session begins; the server's own.
    CREATE_SESSION = -10, "createSession";
    /// A session ends.
    CLOSE_SESSION = -11, "closeSession";
    /// A failed write in the log, a failed operation in a multi's reply.
    ERROR = -1, "error";
}

impl fmt::Debug for OpCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "OpCode({})", self.0),
        }
    }
}
