//! Counters of one connection and of the server, for people (`cons`, `stat`, `srvr`, `mntr`).

use super::summary::Summary;
use crate::time::{Instant, Now, WallTime};
use crate::types::Zxid;

/// Counters of one connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnStats {
    /// When it was accepted.
    pub established: WallTime,
    /// Packets that came.
    pub received: u64,
    /// Packets that left, events included.
    pub sent: u64,
    /// ZooKeeper's short name of the last operation.
    pub last_op: &'static str,
    /// The xid of the last answered request of the client itself, 0 being the session; -1 before the first.
    pub last_cxid: i32,
    /// The zxid of the last reply.
    pub last_zxid: Zxid,
    /// When the last reply left.
    pub last_response: Instant,
    /// How long the last request took, in milliseconds.
    pub last_latency_ms: u64,
    /// How long requests took, in milliseconds.
    pub latency: Summary,
}

impl ConnStats {
    /// The counters of a new connection.
    pub const fn new(now: Now) -> Self {
        Self {
            established: now.wall,
            received: 0,
            sent: 0,
            last_op: "NA",
            last_cxid: -1,
            last_zxid: Zxid::UNKNOWN,
            last_response: Instant::ZERO,
            last_latency_ms: 0,
            latency: Summary::NONE,
        }
    }

    /// A request was answered.
    pub fn answered(&mut self, op: &'static str, cxid: i32, zxid: Zxid, received: Instant, now: Instant) {
        let latency = now.since(received);
        self.last_op = op;
        // Pings and the like have negative ones, and are not what the client last asked for.
        if cxid >= 0 {
            self.last_cxid = cxid;
        }
        self.last_zxid = zxid;
        self.last_response = now;
        self.last_latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        self.latency.add_ms(latency);
    }

    /// Starts counting again (`crst`).
    pub const fn reset(&mut self) {
        let established = self.established;
        *self = Self::new(Now { mono: Instant::ZERO, wall: established });
    }
}

/// Counters of the whole server.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerStats {
    /// Packets that came.
    pub received: u64,
    /// Packets that left.
    pub sent: u64,
    /// How long requests took, in milliseconds.
    pub latency: Summary,
}

/// ZooKeeper's short name of an operation (PARITY `4lw.cons.lop`).
pub const fn short_name(op: crate::types::OpCode) -> &'static str {
    use crate::types::OpCode;
    match op {
        OpCode::ADD_WATCH => "ADDW",
        OpCode::CHECK => "CHEC",
        OpCode::CHECK_WATCHES => "CHKW",
        OpCode::CLOSE_SESSION => "CLOS",
        OpCode::CREATE | OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => "CREA",
        OpCode::CREATE_SESSION => "SESS",
        OpCode::DELETE | OpCode::DELETE_CONTAINER => "DELE",
        OpCode::EXISTS => "EXIS",
        OpCode::GET_ACL => "GETA",
        OpCode::GET_ALL_CHILDREN_NUMBER => "GETACN",
        OpCode::GET_CHILDREN | OpCode::GET_CHILDREN2 => "GETC",
        OpCode::GET_DATA => "GETD",
        OpCode::GET_EPHEMERALS => "GETE",
        OpCode::MULTI => "MULT",
        OpCode::MULTI_READ => "MLTR",
        OpCode::PING => "PING",
        OpCode::RECONFIG => "RECO",
        OpCode::REMOVE_WATCHES => "REMW",
        OpCode::SET_ACL => "SETA",
        OpCode::SET_DATA => "SETD",
        OpCode::SET_WATCHES => "SETW",
        OpCode::SET_WATCHES2 => "STW2",
        OpCode::SYNC => "SYNC",
        OpCode::WHO_AM_I => "HOMI",
        _ => "NA",
    }
}
