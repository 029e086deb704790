//! Words for what many scenarios do: who is there in the beginning, who falls behind and comes back, whose history goes
//! another way, and what must be left in the end.

use std::time::Duration;

use zabra_core::store::{DiskOp, epochs};
use zabra_core::types::Message;

use super::{Cluster, id_of};
use crate::scenario::create;

/// It acknowledges something.
pub const fn is_ack(message: &Message) -> bool {
    matches!(message, Message::Ack { .. })
}

/// It says that a transaction is committed.
pub const fn is_commit(message: &Message) -> bool {
    matches!(message, Message::Commit { .. })
}

/// It proposes an epoch.
pub const fn is_leader_info(message: &Message) -> bool {
    matches!(message, Message::LeaderInfo { .. })
}

/// It says what its sender has promised.
pub const fn is_follower_info(message: &Message) -> bool {
    matches!(message, Message::FollowerInfo { .. })
}

/// It says of which epoch its sender's history is, and where that ends.
pub const fn is_ack_epoch(message: &Message) -> bool {
    matches!(message, Message::AckEpoch { .. })
}

/// It says that what came before is the history of the epoch.
pub const fn is_new_leader(message: &Message) -> bool {
    matches!(message, Message::NewLeader { .. })
}

/// It proposes a transaction.
pub const fn is_proposal(message: &Message) -> bool {
    matches!(message, Message::Proposal { .. })
}

/// It begins with a snapshot.
pub const fn is_snapshot(message: &Message) -> bool {
    matches!(message, Message::Snap { .. })
}

/// It has a log cut.
pub const fn is_trunc(message: &Message) -> bool {
    matches!(message, Message::Trunc { .. })
}

/// It says that its receiver may serve.
pub const fn is_up_to_date(message: &Message) -> bool {
    matches!(message, Message::UpToDate)
}

/// It adds to the log.
pub const fn is_append(op: &DiskOp) -> bool {
    matches!(op, DiskOp::LogAppend { .. })
}

/// It writes down of which epoch the history is.
pub fn is_current_epoch(op: &DiskOp) -> bool {
    matches!(op, DiskOp::Replace { file, .. } if file.name == epochs::CURRENT_EPOCH)
}

/// It writes an epoch.
pub const fn is_epoch(op: &DiskOp) -> bool {
    matches!(op, DiskOp::Replace { .. })
}

impl Cluster {
    /// The first client creates `/kept`, which everybody has on its disk then. Answers the leader and the others, in
    /// ascending order.
    ///
    /// # Panics
    /// If there are not as many of them as the scenario has names for.
    pub fn opening<const N: usize>(&mut self) -> (usize, [usize; N]) {
        self.write("/kept");
        let cast = self.cast();
        self.caught_up();
        cast
    }

    /// As [`Cluster::opening`]; then the leader is alone, and logs the creation of a znode that nobody else hears of.
    pub fn opening_with_a_tail<const N: usize>(&mut self, path: &str) -> (usize, [usize; N]) {
        let (leader, others) = self.opening();
        self.log_alone(leader, path);
        (leader, others)
    }

    /// The leader, which has a tail of its own, loses its power. The others elect another, which is answered.
    pub fn replace_leader(&mut self, old: usize) -> usize {
        self.power_failure(old);
        self.let_go();
        self.leader()
    }

    /// The first client creates so many znodes, `/<name>0` and on, one behind the other.
    pub fn write_some(&mut self, name: &str, count: usize) {
        for index in 0..count {
            self.ask(0, create(&format!("/{name}{index}")));
        }
        self.answered();
    }

    /// A server is killed, and the others go on without it: see [`Cluster::write_some`].
    pub fn fall_behind(&mut self, server: usize, name: &str, count: usize) {
        self.kill(server);
        self.write_some(name, count);
    }

    /// A server starts, and is brought up to date: all that is committed is on its disk.
    pub fn rejoin(&mut self, server: usize) {
        self.start(server);
        self.expect_serving(server);
        self.caught_up();
    }

    /// Servers are killed, and start again at once.
    pub fn restart(&mut self, servers: &[usize]) {
        servers.iter().for_each(|&server| self.kill(server));
        servers.iter().for_each(|&server| self.start(server));
    }

    /// The power of servers fails at one moment, and is back at once.
    pub fn power_cycle(&mut self, servers: &[usize]) {
        servers.iter().for_each(|&server| self.power_failure(server));
        servers.iter().for_each(|&server| self.start(server));
    }

    /// The power of all servers fails at one moment, and only these start.
    pub fn black_out_but(&mut self, servers: &[usize]) {
        self.power_failure_of_all();
        self.let_go();
        servers.iter().for_each(|&server| self.start(server));
    }

    /// Nobody hears of a server any more, nor it of them, until it notices.
    pub fn cut_off(&mut self, server: usize) {
        self.cut_off_for_a_while(server);
        self.until_looking(server);
    }

    /// Nobody hears of a server any more, nor it of them. Who notices first is not said.
    pub fn cut_off_for_a_while(&mut self, server: usize) {
        let others: Vec<usize> = self.servers().filter(|&other| other != server).collect();
        self.partition(&[&[server], &others]);
    }

    /// Every server that runs shows these znodes to a client.
    ///
    /// # Panics
    /// If one of them does not.
    pub fn expect_everywhere(&mut self, paths: &[&str]) {
        paths.iter().for_each(|path| self.expect_of_all(path, true));
    }

    /// No server that runs shows such a znode to a client.
    ///
    /// # Panics
    /// If one of them does.
    pub fn expect_nowhere(&mut self, path: &str) {
        self.expect_of_all(path, false);
    }

    fn expect_of_all(&mut self, path: &str, is_there: bool) {
        for server in self.servers() {
            if !self.node(server).is_up() {
                continue;
            }
            self.expect_serving(server);
            self.connect(0, server);
            assert_eq!(self.sees(0, path), is_there, "{path} on {}; {}", id_of(server), self.tail());
        }
        self.roam(0);
    }

    /// Everything is mended and every server runs; what everybody shows then, it shows once more after the power of all
    /// failed.
    ///
    /// # Panics
    /// If one of them does not show these, or shows what must not be.
    pub fn finale(&mut self, has: &[&str], lacks: &[&str]) {
        self.let_go();
        for _ in 0..2 {
            self.start_all();
            self.expect_everywhere(has);
            lacks.iter().for_each(|path| self.expect_nowhere(path));
            self.caught_up();
            self.power_failure_of_all();
        }
        self.start_all();
    }

    /// Waits for what a server shows a client that asks it alone, as soon as it serves.
    ///
    /// # Panics
    /// If it does not show such a znode.
    pub fn expect_at(&mut self, server: usize, path: &str) {
        self.expect_serving(server);
        self.connect(0, server);
        assert!(self.sees(0, path), "{path} on {}; {}", id_of(server), self.tail());
    }

    /// A moment longer than anything on a disk or a link takes that nothing holds back.
    pub fn settle(&mut self) {
        self.pass(Duration::from_millis(100));
    }
}
