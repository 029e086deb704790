//! Result codes of ZooKeeper's protocol (`KeeperException.Code`).

use core::fmt;

/// A result code. Numbers this crate has no name for survive a round trip through log and wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub i32);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// ZooKeeper's name of the code, if it has one.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// Success.
    OK = 0;
    /// The multi's operations after the one that failed.
    RUNTIMEINCONSISTENCY = -2;
    /// The connection was lost. Clients tell themselves; it is never sent.
    CONNECTIONLOSS = -4;
    /// The request's body could not be decoded.
    MARSHALLINGERROR = -5;
    /// The operation is unknown or not supported by this server.
    UNIMPLEMENTED = -6;
    /// A path, flag or other argument is not acceptable.
    BADARGUMENTS = -8;
    /// The session is not known here.
    UNKNOWNSESSION = -12;
    /// The new configuration has no synced quorum.
    NEWCONFIGNOQUORUM = -13;
    /// Another reconfiguration is under way.
    RECONFIGINPROGRESS = -14;
    /// The znode does not exist.
    NONODE = -101;
    /// The identities of this connection do not have the permission.
    NOAUTH = -102;
    /// The expected version is not the current one.
    BADVERSION = -103;
    /// Ephemeral znodes have no children.
    NOCHILDRENFOREPHEMERALS = -108;
    /// The znode exists already.
    NODEEXISTS = -110;
    /// The znode has children.
    NOTEMPTY = -111;
    /// The session has ended.
    SESSIONEXPIRED = -112;
    /// The ACL is empty or has an entry that no scheme accepts.
    INVALIDACL = -114;
    /// The credentials were refused.
    AUTHFAILED = -115;
    /// The session is attached to another connection.
    SESSIONMOVED = -118;
    /// This server is read-only.
    NOTREADONLY = -119;
    /// Local sessions cannot own ephemeral znodes.
    EPHEMERALONLOCALSESSION = -120;
    /// There is no such watch.
    NOWATCHER = -121;
    /// Reconfiguration is switched off.
    RECONFIGDISABLED = -123;
    /// The session was closed because the server demands authentication.
    SESSIONCLOSEDREQUIRESASLAUTH = -124;
    /// A hard quota would be exceeded.
    QUOTAEXCEEDED = -125;
    /// The request waited too long in the server and was not executed.
    THROTTLEDOP = -127;
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "ErrorCode({})", self.0),
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
