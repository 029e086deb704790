//! One thread of a load: its share of the connections on one poll.
//!
//! ```text
//! opening ──all sessions of the run up──▶ waiting for the start ──▶ warm-up, window ──▶ draining ──▶ closing
//! ```
//!
//! Under a closed loop, each connection is refilled as soon as its replies have been read. Under an open loop, requests
//! go out when they are due, in turn over the connections; while a connection cannot take more they stay due, so the
//! wait counts.

use std::mem;
use std::ops::Range;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Token};

use crate::alarm::Alarm;
use crate::clock::{Nanos, nanos};
use crate::generator::{Class, Cursor, Generator};
use crate::jute::error_code;
use crate::limits::{OUTSTANDING_COUNT_MAX, UNSENT_SIZE_MAX};
use crate::load::Load;
use crate::options::Options;
use crate::outstanding::{Outstanding, Sent};
use crate::run::Shared;
use crate::session::{Arrival, Lost, Session};
use crate::tally::Tally;

const ALARM: Token = Token(usize::MAX);
/// How long a poll waits at most, so that pings and the end of the run are seen in time.
const TURN_MAX: Duration = Duration::from_millis(5);
const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// What a connection knows about the one watch it may have set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    /// No watch is set.
    Absent,
    /// The server has confirmed the watch.
    Armed,
}

#[derive(Debug)]
struct Connection {
    session: Session,
    outstanding: Outstanding,
    cursor: Cursor,
    watch: Watch,
    /// Requests it may still issue; endless unless the run has a total.
    quota: u64,
}

impl Connection {
    /// Appends one request.
    fn issue(&mut self, generator: &Generator, at: Nanos) {
        let class = generator.issue(&mut self.cursor, self.session.out(), self.outstanding.next_xid());
        self.outstanding.push(Sent { at, class });
        self.quota -= 1;
    }

    fn can_issue(&self, outstanding_max: usize) -> bool {
        self.quota > 0
            && self.outstanding.count() < outstanding_max
            && self.session.unsent() < UNSENT_SIZE_MAX
    }
}

/// When an open loop's requests are due.
#[derive(Debug)]
struct Pace {
    start: Nanos,
    interval: f64,
    issued: u64,
    /// Whose turn it is.
    connection: usize,
}

impl Pace {
    fn next_due(&self) -> Nanos {
        // Multiplied afresh each time: a sum of rounded intervals would drift.
        self.start + (self.issued as f64 * self.interval) as Nanos
    }
}

/// One thread of a load.
#[derive(Debug)]
pub struct Worker<'a> {
    options: &'a Options,
    shared: &'a Shared,
    load: Load,
    poll: Poll,
    events: Events,
    alarm: Alarm,
    scratch: Vec<u8>,
    /// Lost connections leave their place empty.
    connections: Vec<Option<Connection>>,
    generator: Generator,
    tally: Tally,
    /// Set while requests may be issued.
    issuing: bool,
    pace: Option<Pace>,
    tick_next: Nanos,
}

impl<'a> Worker<'a> {
    /// Starts to connect the share of thread number `index`.
    pub fn new(options: &'a Options, shared: &'a Shared, index: usize) -> Result<Self, String> {
        let poll = Poll::new().map_err(|error| format!("cannot poll: {error}"))?;
        let alarm = Alarm::new(poll.registry(), ALARM).map_err(|error| format!("no alarm: {error}"))?;
        let load = options.load();
        let data = options.data();
        let generator = Generator::new(
            load,
            &options.names(),
            &data,
            options.keys,
            options.connections as u64,
            options.multi,
        );
        let mut connections = Vec::new();
        for number in (index..options.connections).step_by(options.threads) {
            let address = options.hosts[number % options.hosts.len()];
            let token = Token(connections.len());
            let now = shared.clock.now();
            let session = Session::open(address, options.session_timeout(), poll.registry(), token, now)
                .map_err(|lost| format!("{address}: {lost}"))?;
            connections.push(Some(Connection {
                session,
                outstanding: Outstanding::default(),
                cursor: Cursor::new(number as u64, options.seed),
                watch: Watch::Absent,
                quota: quota(options.total(), options.connections as u64, number as u64),
            }));
        }
        Ok(Self {
            options,
            shared,
            load,
            poll,
            events: Events::with_capacity(1024),
            alarm,
            scratch: Vec::new(),
            connections,
            generator,
            tally: Tally::default(),
            issuing: false,
            pace: None,
            tick_next: 0,
        })
    }

    /// Runs from the first handshake to the last reply.
    pub fn run(mut self) -> Result<Tally, String> {
        let start = self.open()?;
        let window = self.window(start);
        self.tally = Tally::new(window.clone());
        self.issue_until(start, window.end)?;
        self.drain()?;
        self.close()?;
        Ok(self.tally)
    }

    /// Waits until all sessions of the run are up, then for the start.
    fn open(&mut self) -> Result<Nanos, String> {
        let deadline = self.shared.clock.now() + nanos(self.options.patience());
        loop {
            self.turn(TURN_MAX)?;
            if let Some((why, _)) = self.tally.lost.first_key_value() {
                return Err(format!("a session could not be opened: {why}"));
            }
            let now = self.shared.clock.now();
            match self.shared.start() {
                Some(start) if start <= now => return Ok(start),
                Some(_) => {}
                None if now > deadline => return Err("not all sessions came up in time".into()),
                None if self.shared.has_failed() => return Err("another thread gave up".into()),
                None => {}
            }
        }
    }

    fn window(&self, start: Nanos) -> Range<Nanos> {
        let warm = start + nanos(Duration::from_secs_f64(self.options.warm));
        match self.options.total() {
            Some(_) => start..Nanos::MAX,
            None if self.options.until_line => warm..Nanos::MAX,
            None => warm..warm + nanos(self.options.measure()),
        }
    }

    /// The load itself: until the window ends, the total is reached, somebody says so or nobody is left.
    fn issue_until(&mut self, start: Nanos, end: Nanos) -> Result<(), String> {
        self.issuing = true;
        match self.options.rate {
            Some(rate) => {
                let interval = 1e9 * self.options.threads as f64 / rate;
                self.pace = Some(Pace { start, interval, issued: 0, connection: 0 });
            }
            None => {
                for index in 0..self.connections.len() {
                    self.with_connection(index, |connection, worker| {
                        worker.refill(connection);
                        connection.session.flush(worker.shared.clock.now())
                    });
                }
            }
        }
        while self.shared.clock.now() < end
            && !self.shared.is_told()
            && self.connections.iter().flatten().any(|c| c.quota > 0)
        {
            let timeout = self.issue_due()?;
            self.turn(timeout)?;
        }
        self.issuing = false;
        Ok(())
    }

    /// Waits for the replies that are still to come; what does not come is counted.
    fn drain(&mut self) -> Result<(), String> {
        let deadline = self.shared.clock.now() + nanos(self.options.patience());
        while self.outstanding() > 0 && self.shared.clock.now() < deadline {
            self.turn(TURN_MAX)?;
        }
        self.tally.unanswered += self.outstanding() as u64;
        Ok(())
    }

    /// Closes the sessions and waits for the answers, so that the next run finds no ephemerals and no dying sessions.
    fn close(&mut self) -> Result<(), String> {
        for index in 0..self.connections.len() {
            self.with_connection(index, |connection, worker| {
                // What is unanswered by now was counted; closing must not count it again.
                connection.outstanding = Outstanding::default();
                connection.session.close(worker.shared.clock.now())
            });
        }
        let deadline = self.shared.clock.now() + nanos(self.options.patience());
        while self.connections.iter().any(Option::is_some) && self.shared.clock.now() < deadline {
            self.turn(TURN_MAX)?;
        }
        Ok(())
    }

    fn outstanding(&self) -> usize {
        self.connections.iter().flatten().map(|connection| connection.outstanding.count()).sum()
    }

    /// Waits for events and handles them.
    fn turn(&mut self, timeout: Duration) -> Result<(), String> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                return Err(format!("cannot poll: {error}"));
            }
            _ => {}
        }
        let events = mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            if event.token() != ALARM {
                self.with_connection(event.token().0, |connection, worker| {
                    worker.receive(connection, event)?;
                    if worker.issuing && worker.pace.is_none() {
                        worker.refill(connection);
                    }
                    connection.session.flush(worker.shared.clock.now())
                });
            }
        }
        self.events = events;
        let now = self.shared.clock.now();
        if now >= self.tick_next {
            self.tick_next = now + nanos(TICK_INTERVAL);
            for index in 0..self.connections.len() {
                self.with_connection(index, |connection, _| connection.session.tick(now));
            }
        }
        Ok(())
    }

    /// Calls `act` with a connection that is taken out of its place, and puts it back unless it is lost.
    fn with_connection(
        &mut self,
        index: usize,
        act: impl FnOnce(&mut Connection, &mut Self) -> Result<(), Lost>,
    ) {
        let Some(mut connection) = self.connections[index].take() else { return };
        match act(&mut connection, self) {
            Ok(()) => self.connections[index] = Some(connection),
            Err(Lost::AsAsked) => {}
            Err(lost) => self.tally.on_lost(&lost, connection.outstanding.count()),
        }
    }

    /// Reads and counts what has come for one connection.
    fn receive(&mut self, connection: &mut Connection, event: &Event) -> Result<(), Lost> {
        let Self { shared, options, tally, scratch, load, .. } = self;
        let Connection { session, outstanding, watch, .. } = connection;
        let mut arrived = None;
        let received = session.receive(event, scratch, shared.clock.now(), |arrival| {
            // One look at the clock for all that came in one go, after it came.
            let now = *arrived.get_or_insert_with(|| shared.clock.now());
            match arrival {
                Arrival::Closed => return Err(Lost::AsAsked),
                Arrival::Established => shared.on_established(options.connections),
                Arrival::Event => on_event(watch, outstanding, tally, now),
                Arrival::Reply { xid, error } => {
                    let sent = outstanding.answer(xid).map_err(|wrong| tally.on_out_of_order(wrong))?;
                    on_watch_reply(watch, sent.class, error, tally);
                    let existed = error == error_code::NODE_EXISTS && *load == Load::Fill;
                    tally.on_reply(sent, now, if existed { error_code::OK } else { error });
                }
            }
            Ok(())
        })?;
        if let Some(now) = arrived {
            tally.on_bytes(received, now);
        }
        Ok(())
    }

    /// Issues what a closed loop allows.
    fn refill(&self, connection: &mut Connection) {
        if connection.can_issue(self.options.outstanding) {
            let now = self.shared.clock.now();
            while connection.can_issue(self.options.outstanding) {
                connection.issue(&self.generator, now);
            }
        }
    }

    /// Issues what an open loop has due, and says how long the poll may wait.
    fn issue_due(&mut self) -> Result<Duration, String> {
        let Some(mut pace) = self.pace.take() else { return Ok(TURN_MAX) };
        let now = self.shared.clock.now();
        let mut touched = Vec::new();
        let count = self.connections.len();
        while pace.next_due() <= now {
            let ready = (0..count).map(|step| (pace.connection + step) % count).find(|index| {
                self.connections[*index].as_ref().is_some_and(|c| c.can_issue(OUTSTANDING_COUNT_MAX))
            });
            let Some(index) = ready else { break };
            let connection = self.connections[index].as_mut().expect("just found");
            if connection.session.unsent() == 0 {
                touched.push(index);
            }
            connection.issue(&self.generator, pace.next_due());
            pace.issued += 1;
            pace.connection = (index + 1) % count;
        }
        for index in touched {
            self.with_connection(index, |connection, _| connection.session.flush(now));
        }
        let wait = Duration::from_nanos(pace.next_due().saturating_sub(self.shared.clock.now()));
        self.pace = Some(pace);
        if wait >= TURN_MAX {
            return Ok(TURN_MAX);
        }
        self.alarm.set(wait).map_err(|error| format!("no alarm: {error}"))
    }
}

/// How many of `total` requests the connection with this number issues.
fn quota(total: Option<u64>, connections: u64, number: u64) -> u64 {
    match total {
        None => u64::MAX,
        Some(total) => total / connections + u64::from(number < total % connections),
    }
}

/// An event must find a confirmed watch and, as the oldest request, the write that fires it.
fn on_event(watch: &mut Watch, outstanding: &Outstanding, tally: &mut Tally, now: Nanos) {
    match (*watch, outstanding.oldest()) {
        (Watch::Armed, Some(cause)) if cause.class == Class::Trigger => tally.on_event(cause, now),
        _ => tally.events_unexpected += 1,
    }
    *watch = Watch::Absent;
}

/// A write's reply must find its watch fired.
fn on_watch_reply(watch: &mut Watch, class: Class, error: i32, tally: &mut Tally) {
    match class {
        Class::Register if error == error_code::OK => *watch = Watch::Armed,
        Class::Trigger if *watch == Watch::Armed && error == error_code::OK => {
            tally.events_missed += 1;
            *watch = Watch::Absent;
        }
        Class::Read | Class::Register | Class::Trigger | Class::Write => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the quotas of all connections add up to the total and differ by at most one.
    #[test]
    fn quotas_add_up() {
        for (total, connections) in [(0, 3), (1, 3), (10, 3), (12, 3), (5, 64)] {
            let quotas: Vec<u64> = (0..connections).map(|n| quota(Some(total), connections, n)).collect();
            assert_eq!(quotas.iter().sum::<u64>(), total);
            assert!(quotas.iter().max().unwrap() - quotas.iter().min().unwrap() <= 1);
        }
    }

    /// Goal: an event in its place counts, one too late and one without cause are told.
    #[test]
    fn watch_events_are_checked() {
        let mut tally = Tally::new(0..100);
        let mut watch = Watch::Absent;
        let mut outstanding = Outstanding::default();
        on_event(&mut watch, &outstanding, &mut tally, 1);
        assert_eq!((tally.events_unexpected, tally.event_count), (1, 0));

        on_watch_reply(&mut watch, Class::Register, 0, &mut tally);
        outstanding.push(Sent { at: 5, class: Class::Trigger });
        on_event(&mut watch, &outstanding, &mut tally, 9);
        on_watch_reply(&mut watch, Class::Trigger, 0, &mut tally);
        assert_eq!((tally.event_count, tally.events_missed), (1, 0));

        on_watch_reply(&mut watch, Class::Register, 0, &mut tally);
        on_watch_reply(&mut watch, Class::Trigger, 0, &mut tally);
        assert_eq!((tally.event_count, tally.events_missed), (1, 1));
    }
}
