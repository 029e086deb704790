//! The vocabulary shared by every other module: plain values, no protocol and no bytes.

pub mod acl;
pub mod compression;
pub mod error_code;
pub mod history;
pub mod ids;
pub mod membership;
pub mod message;
pub mod op_code;
pub mod path;
pub mod stat;
pub mod txn;
pub mod watch;
pub mod zxid;

pub use acl::{Acl, AclList, Id, Perms};
pub use compression::Compression;
pub use error_code::ErrorCode;
pub use history::{EPOCHS, OwnHistory};
pub use ids::{ConnId, ConnIdHash, DialId, DialIds, LinkId, ServerId, SessionId, Ticket};
pub use membership::{
    Address, EntryProblem, Member, MemberRole, Membership, MembershipError, ReconfigureError,
};
pub use message::{HangupReason, LearnerInfo, Message, Notification, PeerState, Vote};
pub use op_code::OpCode;
pub use stat::{Stat, StatPersisted};
pub use txn::{CreateTxn, NodeKind, SubTxn, Txn, TxnDigest, TxnHeader};
pub use watch::{EventType, WatcherType};
pub use zxid::Zxid;
