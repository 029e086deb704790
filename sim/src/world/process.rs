//! Processes: they start, recover, are told what happened, have their wishes carried out, and end.

use std::time::Duration;

use zabra_core::recovery::Recovery;
use zabra_core::server::{Action, Event as Told, HaltReason, Input, Server};
use zabra_core::store::{Dir, DiskOp, FileName};
use zabra_core::types::{ConnId, SessionId, Zxid};
use zabra_core::wire::Reader;

use super::{Event, World};
use crate::check::{Checker, Violation, attached, liveness, snapshot, storage};
use crate::client::codec::ReplyHead;
use crate::clock::SimTime;
use crate::disk::SyncMode;
use crate::ending::{Crash, Ending, Excuse, RoleEnd};
use crate::history::{Nonsense, Observed, Rewind, Touch};
use crate::node::{DiskQueue, Life, Node, Standing};
use crate::places::NodeId;
use crate::rt;
use crate::txnlog::{LogTap, numbered};

/// How many of the last things in an inbox are looked at for something that a new one belongs to.
const INBOX_SEARCHED: usize = 16;
/// How often the checkers are told what a clock shows: what is late by then is so at the next time, too.
const SHOW: Duration = Duration::from_millis(20);
/// What a server is told of the time so much later than it wanted is worth a note.
const DELAY: Duration = Duration::from_millis(1);

/// How long it takes, at least and at most, until a process looks at what happened, and at what is in no hurry.
const SOON: (Duration, Duration) = (Duration::from_micros(1), Duration::from_micros(100));
const AT_LEISURE: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(10));

impl World {
    pub(super) fn on_start(&mut self, id: NodeId, generation: u64) -> Result<(), Violation> {
        if self.nodes[id.0].generation == generation { self.start(id) } else { Ok(()) }
    }

    /// Starts a process, whatever became of the last one.
    pub(crate) fn boot(&mut self, id: NodeId) -> Result<(), Violation> {
        let config = self.config_of(id);
        let node = &mut self.nodes[id.0];
        node.forget_process();
        node.powered = true;
        node.tap = LogTap::new(&node.disk);
        node.epoch_named = node.named_epoch();
        // Far from zero and different for each process, as a machine's uptime is.
        let base = node.rng.below(1 << 50);
        node.clock.restart(base);
        let hash_seed = [0; 4].map(|_: u64| node.rng.bits());
        node.life = Life::Recovering(Box::new(Recovery::new(&config, hash_seed, !node.has_begun)));
        self.found(id)?;
        self.drive_recovery(id)
    }

    /// Carries out what recovery asks for; once it has an outcome, there is a server or an end.
    pub(super) fn drive_recovery(&mut self, id: NodeId) -> Result<(), Violation> {
        let Life::Recovering(recovery) = &mut self.nodes[id.0].life else { return Ok(()) };
        let ops: Vec<DiskOp> = std::iter::from_fn(|| recovery.poll_op()).collect();
        let outcome = if ops.is_empty() { recovery.poll_outcome() } else { None };
        for op in ops {
            self.trace.debug(&op);
            self.submit(id, op)?;
        }
        match outcome {
            None => Ok(()),
            Some(Ok(recovered)) => {
                self.nodes[id.0].has_begun = true;
                let last = recovered.last_zxid;
                let notices = recovered.report.as_slice().into();
                let taken = recovered.epochs.map(|epochs| epochs.current);
                let epoch = self.nodes[id.0].epoch_named.zip(taken);
                self.observe(Observed::Recovered { node: id, notices, epoch })?;
                let config = self.config_of(id);
                let node = &mut self.nodes[id.0];
                let now = node.clock.now(self.now);
                let seed = node.rng.seed();
                let server = Server::new(config, recovered, seed, now);
                node.expect(server.poll_timeout());
                node.life = Life::Up(Box::new(server));
                let mono = now.mono.as_nanos();
                self.observe(Observed::Started { node: id, recovered: last, mono })?;
                self.process(id)
            }
            Some(Err(error)) => self.stopped(id, Ending::Refused(Box::new(error))),
        }
    }

    /// Puts something into a node's inbox; the process looks at it soon.
    pub(super) fn tell_node(&mut self, id: NodeId, input: Input) {
        self.put(id, input, SOON);
    }

    /// Likewise, with how much an operating system took of what waits for a link or a connection. That is in no hurry,
    /// most often comes along with something else, and joins what is there of the same.
    pub(super) fn mention_drained(&mut self, id: NodeId, input: Input) {
        let inbox = &mut self.nodes[id.0].inbox;
        let known = inbox.iter_mut().rev().take(INBOX_SEARCHED).find_map(|known| match (known, &input) {
            (Input::LinkDrained { link, bytes }, Input::LinkDrained { link: same, bytes: more })
                if link == same =>
            {
                Some((bytes, *more))
            }
            (Input::Drained { conn, bytes }, Input::Drained { conn: same, bytes: more }) if conn == same => {
                Some((bytes, *more))
            }
            _ => None,
        });
        match known {
            Some((bytes, more)) => *bytes += more,
            None => self.put(id, input, AT_LEISURE),
        }
    }

    fn put(&mut self, id: NodeId, input: Input, (least, most): (Duration, Duration)) {
        let node = &mut self.nodes[id.0];
        if !node.is_up() {
            return;
        }
        node.inbox.push_back(input);
        if node.wake.is_some_and(|at| at.since(self.now) <= most) {
            return;
        }
        let at = self.now + node.rng.duration(least, most);
        if node.wake.is_none_or(|before| at < before) {
            node.wake = Some(at);
            let generation = node.generation;
            self.schedule(at, Event::Wake { node: id, generation });
        }
    }

    pub(super) fn on_wake(&mut self, id: NodeId, generation: u64) -> Result<(), Violation> {
        let node = &mut self.nodes[id.0];
        // Another one may have come first, and told it all.
        if node.generation != generation || node.wake.is_none_or(|at| at > self.now) {
            return Ok(());
        }
        if node.paused_until > self.now {
            let until = node.paused_until;
            node.wake = Some(until);
            self.schedule(until, Event::Wake { node: id, generation });
            return Ok(());
        }
        self.process(id)
    }

    pub(super) fn on_timer(&mut self, id: NodeId, generation: u64) -> Result<(), Violation> {
        let node = &mut self.nodes[id.0];
        if node.generation != generation || node.timer.is_none_or(|at| at > self.now) {
            return Ok(());
        }
        if node.paused_until > self.now {
            let until = node.paused_until;
            self.schedule(until, Event::Timer { node: id, generation });
            return Ok(());
        }
        node.timer = None;
        match node.due() {
            Some(due) if due <= self.now => self.process(id),
            // It was set for something that has come or gone meanwhile.
            Some(due) => {
                self.set_timer(id, due);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn set_timer(&mut self, id: NodeId, at: SimTime) {
        let node = &mut self.nodes[id.0];
        node.timer = Some(at);
        let generation = node.generation;
        self.schedule(at, Event::Timer { node: id, generation });
    }

    /// Tells a server all that happened, and does all that it wants.
    fn process(&mut self, id: NodeId) -> Result<(), Violation> {
        if !self.nodes[id.0].is_up() {
            return Ok(());
        }
        let mut inputs = std::mem::take(&mut self.nodes[id.0].inbox);
        self.nodes[id.0].wake = None;
        let mut reported = Vec::new();
        for input in &inputs {
            if let Input::LinkReceived { link, bytes } = input {
                let sessions = self.overhear(id, *link, bytes)?;
                reported.extend(sessions.into_iter().map(|(session, how)| (*link, session, how)));
            }
        }
        self.notice_delay(id)?;
        let node = &mut self.nodes[id.0];
        node.idle_turns = if inputs.is_empty() { node.idle_turns + 1 } else { 0 };
        let now = node.clock.now(self.now);
        let is_due = node.is_due(now);
        let Life::Up(server) = &mut node.life else { return Ok(()) };
        let (mut spoke, mut closed, mut down) = (Vec::new(), Vec::new(), Vec::new());
        if is_due {
            // Whether time or news comes first in a batch must not matter.
            let place = node.rng.index(inputs.len() + 1);
            inputs.insert(place, Input::Tick);
        }
        self.trace.number(self.now.0);
        self.trace.number(id.0 as u64);
        for input in &inputs {
            self.trace.input(input);
            match input {
                Input::Received { conn: id, .. } => {
                    if let Some(conn) = node.conns.get_mut(id) {
                        conn.heard = now.mono.as_nanos();
                        spoke.extend(conn.session.map(|session| (*id, session)));
                    }
                }
                Input::Closed { conn } => closed.push(*conn),
                Input::LinkDown { link } => down.push(*link),
                _ => {}
            }
        }
        let mut actions = std::mem::take(&mut self.actions);
        rt::catch(|| {
            for input in inputs.drain(..) {
                server.handle(now, input);
            }
            actions.extend(std::iter::from_fn(|| server.poll_action()));
        })
        .map_err(|message| Violation::new(Checker::Panic, format!("{id}: {message}")))?;
        assert!(node.inbox.is_empty(), "nothing comes while a process is at work");
        node.inbox = inputs;
        while !actions.is_empty() {
            let keeps = actions
                .iter()
                .any(|action| matches!(action, Action::KeepConfig { .. } | Action::KeepSeenConfig { .. }));
            for action in actions.drain(..) {
                self.trace.action(&action);
                self.act(id, action)?;
            }
            // What could not be kept, it was told at once.
            if let Life::Up(server) = &mut self.nodes[id.0].life
                && keeps
            {
                actions.extend(std::iter::from_fn(|| server.poll_action()));
            }
        }
        self.actions = actions;
        let node = &mut self.nodes[id.0];
        // What came on a link or a connection that the server has closed meanwhile may not have been looked at.
        let of_links = reported.into_iter().map(|(link, session, how)| {
            let surely = node.peers.contains_key(&link) && !down.contains(&link);
            (session, how, surely)
        });
        let (asked, reported): (Vec<_>, Vec<_>) =
            of_links.partition(|(_, how, _)| matches!(how, Touch::Asked { .. }));
        let granted = std::mem::take(&mut node.granted).into_iter();
        let granted = granted.map(|(session, to)| (session, Touch::Granted { to }, true));
        let of_conns = spoke.into_iter().map(|(conn, session)| {
            let surely = !node.stopping && node.conns.contains_key(&conn);
            (session, Touch::Spoke, surely)
        });
        let heard: Vec<(SessionId, Touch, bool)> =
            asked.into_iter().chain(granted).chain(reported).chain(of_conns).collect();
        // Only now: what was told in this batch may be about them.
        for conn in &closed {
            node.conns.remove(conn);
        }
        for link in &down {
            node.peers.remove(link);
        }
        self.after_drain(id, &heard)
    }

    /// Says so if a server is about to be told of the time much later than it wanted.
    fn notice_delay(&mut self, id: NodeId) -> Result<(), Violation> {
        let node = &self.nodes[id.0];
        let mono = node.clock.now(self.now).mono;
        let late = node.delay(mono);
        if late < DELAY {
            return Ok(());
        }
        self.observe(Observed::StoodStill { node: id, mono: mono.as_nanos(), late })
    }

    /// The sessions that were heard of are touched only now: in the batch, a tick may have come first.
    fn after_drain(&mut self, id: NodeId, heard: &[(SessionId, Touch, bool)]) -> Result<(), Violation> {
        let node = &mut self.nodes[id.0];
        for (session, placed) in std::mem::take(&mut node.placed) {
            let count = node.conns.values().filter(|conn| conn.session == Some(session)).count();
            attached::in_one_place(id, session, placed, count)?;
        }
        node.shows_after_turn(self.now);
        let mono = node.clock.now(self.now).mono.as_nanos();
        let Life::Up(server) = &node.life else { return Ok(()) };
        let timeout = server.poll_timeout();
        node.expect(timeout);
        let due = node.due().map(|due| due.max(self.now));
        if due.is_none_or(|due| due > self.now) {
            node.idle_turns = 0;
        }
        liveness::at_work(id, node.idle_turns)?;
        let set = due.filter(|&due| node.timer.is_none_or(|timer| due < timer));
        if let Some(due) = set {
            // A timer that is due already is due again a moment later, or a server that does not stop asking
            // would stop the world.
            self.set_timer(id, due.max(self.now + Duration::from_micros(1)));
        }
        for &(session, how, surely) in heard {
            self.observe(Observed::Touched { node: id, session, mono, how, surely })?;
        }
        let node = &mut self.nodes[id.0];
        // A server that was asked to stop expires nobody any more.
        if node.stopping || mono < node.show_due {
            return Ok(());
        }
        node.show_due = mono + SHOW.as_nanos() as u64;
        self.check_hearing(id)?;
        self.observe(Observed::Ticked { node: id, mono })
    }

    fn act(&mut self, id: NodeId, action: Action) -> Result<(), Violation> {
        match action {
            Action::Send { conn, bytes } => {
                self.look_at_sent(id, conn, &bytes)?;
                if let Some(link) = self.nodes[id.0].conns.get(&conn).map(|conn| conn.link) {
                    self.send(link, crate::link::End::Dialer, bytes);
                }
                Ok(())
            }
            Action::PauseReads { conn } => {
                self.counts.read_pauses += 1;
                self.set_server_reads(id, conn, false)
            }
            Action::ResumeReads { conn } => self.set_server_reads(id, conn, true),
            Action::Close { conn, .. } => {
                self.close_by_server(id, conn);
                Ok(())
            }
            Action::KeepConfig { membership } => self.keep_in_force(id, membership),
            Action::KeepSeenConfig { membership } => self.keep_seen(id, membership.as_ref()),
            Action::Dial { dial, port, addresses, timeout, .. } => {
                self.dial_peer(id, dial, port, addresses, timeout)
            }
            Action::Hangup { link, why } => self.hang_up_peer(id, link, why),
            Action::PauseLink { link } => self.set_peer_reads(id, link, false),
            Action::ResumeLink { link } => self.set_peer_reads(id, link, true),
            Action::SendLink { link, bytes } => self.send_peer(id, link, bytes),
            Action::Disk(op) => self.submit(id, op),
            Action::Event(told) => self.on_told(id, told),
            Action::Halt { why } => {
                if matches!(why, HaltReason::Disk { .. }) {
                    self.counts.disk_halts += 1;
                }
                self.stopped(id, Ending::Halted(why))
            }
        }
    }

    /// Sees what a client is told, at the moment it leaves the server.
    fn look_at_sent(&mut self, id: NodeId, conn: ConnId, bytes: &bytes::Bytes) -> Result<(), Violation> {
        let node = &mut self.nodes[id.0];
        let durable = node.tap.durable();
        let Some(conn) = node.conns.get_mut(&conn) else { return Ok(()) };
        conn.sent.push(bytes.clone());
        let mut latest: Option<ReplyHead> = None;
        loop {
            let frame = match conn.sent.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => return self.garbled(id, None, Nonsense::Frame(error)),
            };
            if !std::mem::replace(&mut conn.greeted, true) {
                continue;
            }
            match ReplyHead::decode(&mut Reader::new(&frame)) {
                Ok(head) if latest.is_none_or(|latest| head.zxid > latest.zxid) => latest = Some(head),
                Ok(_) => {}
                Err(garbled) => return self.garbled(id, None, Nonsense::Reply(garbled)),
            }
        }
        match latest {
            Some(ReplyHead { xid, zxid, .. }) if zxid > Zxid::ZERO => {
                self.observe(Observed::Sent { node: id, xid, zxid, durable })
            }
            _ => Ok(()),
        }
    }

    fn on_told(&mut self, id: NodeId, told: Told) -> Result<(), Violation> {
        let mono = self.nodes[id.0].clock.now(self.now).mono.as_nanos();
        match told {
            Told::Applied { zxid, digest } => self.observe(Observed::Applied { node: id, zxid, digest }),
            Told::DigestMismatch { zxid, expected, found } => {
                self.observe(Observed::DigestMismatch { node: id, zxid, expected, found })
            }
            Told::SessionAttached { session, conn, timeout_ms } => {
                let Some(conn) = self.nodes[id.0].conns.get_mut(&conn) else { return Ok(()) };
                conn.session = Some(session);
                self.nodes[id.0].placed.push((session, attached::Placed::Attached));
                self.observe(Observed::Attached { node: id, session, timeout_ms, mono })
            }
            Told::SessionOpened { session, conn, timeout_ms } => {
                let Some(conn) = self.nodes[id.0].conns.get_mut(&conn) else { return Ok(()) };
                conn.session = Some(session);
                let (mono, how) = (conn.heard, Touch::Opened { timeout_ms });
                self.observe(Observed::Touched { node: id, session, mono, how, surely: true })
            }
            Told::SessionClosed { session } => {
                self.nodes[id.0].placed.push((session, attached::Placed::Over));
                Ok(())
            }
            Told::SessionExpired { session } => {
                self.observe(Observed::SessionExpired { node: id, session, mono })
            }
            Told::SnapshotFinished { zxid } => {
                self.counts.snapshots += 1;
                let named = |file: &FileName| numbered(file, Dir::Snapshot, "snapshot.") == Some(zxid);
                let bytes = self.nodes[id.0].disk.files().find(|(file, _)| named(file));
                let Some((_, bytes)) = bytes else { return Ok(()) };
                snapshot::is_as_named(id, zxid, &bytes.to_vec(), self.judge.facts())
            }
            Told::SnapshotFailed { zxid, error } => {
                let why = format!("the one at {zxid}: {error:?}");
                let node = &self.nodes[id.0];
                let full = node.disk.is_limited().then_some(Excuse::DiskFails);
                storage::snapshot_failed(id, &why, node.excuse().or(full))
            }
            Told::Committed { zxid } => self.observe(Observed::Committed { node: id, zxid }),
            Told::EpochAccepted { epoch } => {
                let kept = self.nodes[id.0].kept();
                self.observe(Observed::EpochAccepted { node: id, epoch, kept })
            }
            Told::EpochCurrent { epoch } => {
                let kept = self.nodes[id.0].kept();
                self.observe(Observed::EpochCurrent { node: id, epoch, kept })
            }
            Told::RoleTaken { role, epoch, leader } => {
                let standing = Standing { role, epoch, leader };
                self.nodes[id.0].standing = Some(standing);
                self.observe(Observed::RoleTaken { node: id, standing, mono })
            }
            Told::LeaderLost { why } => self.role_lost(id, RoleEnd::LeaderLost(why)),
            Told::SteppedDown { why } => self.role_lost(id, RoleEnd::SteppedDown(why)),
            Told::Rewound { last_zxid: last, .. } => {
                self.observe(Observed::Rewound { node: id, last, how: Rewind::Cut })
            }
            Told::SnapshotInstalled { zxid: last } => {
                self.observe(Observed::Rewound { node: id, last, how: Rewind::Snapshot })
            }
            Told::Synced => {
                self.bereft.take_if(|bereft| *bereft == id);
                self.observe(Observed::VotesAgain { node: id })
            }
            Told::Reconfigured { version, members } => {
                self.observe(Observed::Reconfigured { node: id, version, members: members.into() })
            }
            Told::ReadOnlyBegun { .. } => {
                self.observe(Observed::Remark { node: id, words: format!("{told:?}") })
            }
            Told::FileNotRemoved { .. }
            | Told::QuotaExceeded { .. }
            | Told::SessionUnknown { .. }
            | Told::SlowSync { .. }
            // It hangs up on its leader, which nobody is given reason to.
            | Told::SnapshotAskedFor { .. }
            | Told::SnapshotStarted { .. } => Ok(()),
        }
    }

    fn role_lost(&mut self, id: NodeId, why: RoleEnd) -> Result<(), Violation> {
        self.nodes[id.0].standing = None;
        self.observe(Observed::RoleLost { node: id, why })
    }

    /// A process ended by its own decision.
    fn stopped(&mut self, id: NodeId, why: Ending) -> Result<(), Violation> {
        self.abandon_conns(id, true);
        self.abandon_peers(id, true);
        let excuse = self.nodes[id.0].excuse();
        self.end_process(id);
        self.nodes[id.0].life = Life::Stopped;
        self.observe(Observed::Stopped { node: id, why, excuse })?;
        if !self.stays_down {
            self.schedule_restart(id);
        }
        Ok(())
    }

    /// What a process leaves behind: a beginning of what it had asked the disk for.
    fn end_process(&mut self, id: NodeId) {
        let node = &mut self.nodes[id.0];
        for DiskQueue { current, .. } in node.queues.values() {
            if let Some(op) = current {
                node.disk.run_partly(op, &mut self.disk_rng);
            }
        }
        node.disk.end_process();
        node.forget_process();
    }

    /// Ends the process of a node.
    ///
    /// # Errors
    /// What a checker has against it.
    pub fn crash(&mut self, id: NodeId, how: Crash) -> Result<(), Violation> {
        if matches!(self.nodes[id.0].life, Life::Down) {
            return Ok(());
        }
        // Without its operating system nobody tells the others.
        let is_powered = how == Crash::Killed;
        self.abandon_conns(id, is_powered);
        self.abandon_peers(id, is_powered);
        self.end_process(id);
        let node = &mut self.nodes[id.0];
        node.life = Life::Down;
        node.powered = is_powered;
        match how {
            Crash::Killed => self.counts.kills += 1,
            Crash::Unpowered => {
                self.counts.power_failures += 1;
                Self::cycle_power(node, &mut self.disk_rng, &self.options.disk.tear);
            }
        }
        self.observe(Observed::Crashed { node: id, how })
    }

    fn cycle_power(node: &mut Node, rng: &mut crate::seed::Rng, tear: &crate::disk::TearProfile) {
        node.disk.lose_power(rng, tear);
        node.disk.set_sync_mode(SyncMode::Honest);
        node.cache_lies = false;
    }

    /// Starts a process on a node that has none.
    ///
    /// # Errors
    /// What a checker has against it.
    pub fn start(&mut self, id: NodeId) -> Result<(), Violation> {
        if !self.nodes[id.0].is_down() {
            return Ok(());
        }
        if self.nodes[id.0].cache_lies {
            // A restart on a cache that shows what the disk does not have would deceive any server.
            Self::cycle_power(&mut self.nodes[id.0], &mut self.disk_rng, &self.options.disk.tear);
        }
        let node = &mut self.nodes[id.0];
        node.disk_fails = node.disk.is_limited();
        node.is_damaged = self.bereft == Some(id);
        let raised = node.rng.chance(self.options.faults.promise);
        // So many that elections that each get one further do not make up for them, now and then.
        let (least, most) = if node.rng.chance(250_000) { (20, 60) } else { (1, 2) };
        let by = node.rng.within(least, most) as i64;
        // Only who votes is ever elected.
        if raised && id.0 < self.options.servers && !self.healed && node.promise_more(by) {
            self.remark(id, "promised an epoch that nobody else has heard of".into())?;
        }
        self.lose_data(id)?;
        self.boot(id)
    }

    /// Asks a server to stop in order.
    pub fn stop(&mut self, id: NodeId) {
        self.nodes[id.0].stopping = true;
        self.tell_node(id, Input::Shutdown);
    }
}
