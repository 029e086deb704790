//! Many sessions that do little: opened all at once, held idle, or holding watches.
//!
//! One thread is enough, since the server does the work that is measured. A connection that fails before its session is
//! up is tried again, as any client would; a session lost after that is reported and not replaced.

use std::collections::VecDeque;
use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{mem, thread};

use mio::event::Event;
use mio::{Events, Poll, Token, Waker};

use crate::clock::{Clock, Nanos, nanos};
use crate::generator::Class;
use crate::jute::error_code;
use crate::options::{Options, Phase};
use crate::outstanding::{Outstanding, Sent};
use crate::report::{PhaseReport, Quantiles, print, seconds};
use crate::session::{Arrival, Lost, Session};
use crate::setup;
use crate::tally::{Latencies, Tally};
use crate::template::Template;

const WAKE: Token = Token(usize::MAX);
const TURN_MAX: Duration = Duration::from_millis(20);
const TICK_INTERVAL: Duration = Duration::from_secs(1);
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// Connection attempts between two looks at what has arrived.
const OPEN_BATCH: usize = 64;
const PROBE_INTERVAL: Duration = Duration::from_millis(5);
/// A starting server may take a connection and never answer it: each attempt of a probe ends after this time.
const PROBE_ATTEMPT_MAX: Duration = Duration::from_secs(2);

/// Runs a phase and prints what it shows. Returns whether all went well.
pub fn run(options: &Options, phase: Phase) -> Result<bool, String> {
    if phase == Phase::Probe {
        return probe(options);
    }
    if phase == Phase::Watches && !options.no_prepare {
        setup::prepare_keys(options)?;
    }
    let mut crowd = Crowd::new(options, phase)?;
    let start = crowd.clock.now();
    let mut ready = crowd.open()?;
    let mut took = seconds(start, crowd.clock.now());
    if ready && phase == Phase::Watches {
        let start = crowd.clock.now();
        ready = crowd.set_watches()?;
        took = seconds(start, crowd.clock.now());
    }
    print(&crowd.report(ready, took), options.json);
    if ready && phase != Phase::Sessions {
        crowd.hold()?;
        print(&crowd.report(ready, took), options.json);
    }
    let clean = crowd.report(ready, took).is_clean();
    crowd.close()?;
    Ok(clean)
}

/// Tries until the server answers.
fn probe(options: &Options) -> Result<bool, String> {
    let start = Instant::now();
    let mut retries = 0;
    loop {
        let result = setup::probe(options.hosts[0], PROBE_ATTEMPT_MAX.min(options.patience()));
        let ready = result.is_ok();
        if ready || start.elapsed() > options.patience() {
            let report = PhaseReport {
                phase: Phase::Probe.name(),
                ready,
                seconds: start.elapsed().as_secs_f64(),
                sessions: usize::from(ready),
                watches: 0,
                retries,
                sessions_lost: Default::default(),
                opening: None,
            };
            print(&report, options.json);
            return Ok(ready);
        }
        retries += 1;
        thread::sleep(PROBE_INTERVAL);
    }
}

#[derive(Debug)]
struct Member {
    session: Session,
    outstanding: Outstanding,
    /// Watches that were asked for.
    watches_asked: u64,
}

#[derive(Debug)]
struct Crowd<'a> {
    options: &'a Options,
    phase: Phase,
    clock: Clock,
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    members: Vec<Option<Member>>,
    /// When each member first tried to connect.
    tried_first: Vec<Nanos>,
    /// Members to try again, by time.
    retries: VecDeque<(Nanos, usize)>,
    retry_count: u64,
    established: usize,
    opening: Latencies,
    watches_set: u64,
    watch: Template,
    /// Keeps the lost sessions; the rest of it is for loads.
    tally: Tally,
    tick_next: Nanos,
}

impl<'a> Crowd<'a> {
    fn new(options: &'a Options, phase: Phase) -> Result<Self, String> {
        Ok(Self {
            options,
            phase,
            clock: Clock::start(),
            poll: Poll::new().map_err(|error| format!("cannot poll: {error}"))?,
            events: Events::with_capacity(1024),
            scratch: Vec::new(),
            members: Vec::new(),
            tried_first: Vec::new(),
            retries: VecDeque::new(),
            retry_count: 0,
            established: 0,
            opening: Latencies::default(),
            watches_set: 0,
            watch: Template::get_data(&options.names().keys(), true),
            tally: Tally::default(),
            tick_next: 0,
        })
    }

    fn report(&mut self, ready: bool, took: f64) -> PhaseReport {
        PhaseReport {
            phase: self.phase.name(),
            ready,
            seconds: took,
            sessions: self.up().count(),
            watches: self.watches_set,
            retries: self.retry_count,
            sessions_lost: self.tally.lost.clone(),
            opening: Quantiles::new(&mut self.opening),
        }
    }

    fn up(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().flatten().filter(|member| member.session.is_established())
    }

    /// Opens all sessions, as many at a time as asked for. Returns whether all came up before patience ended.
    fn open(&mut self) -> Result<bool, String> {
        let deadline = self.clock.now() + nanos(self.options.patience());
        let count = self.options.connections;
        let opening_max = self.options.opening.unwrap_or(count);
        while self.established < count {
            let now = self.clock.now();
            if now > deadline {
                return Ok(false);
            }
            let opening = self.members.len() - self.established;
            let batch = OPEN_BATCH.min(count - self.members.len()).min(opening_max.saturating_sub(opening));
            for _ in 0..batch {
                self.members.push(None);
                self.tried_first.push(self.clock.now());
                self.connect(self.members.len() - 1);
            }
            while let Some((_, index)) = self.retries.pop_front_if(|(at, _)| *at <= now) {
                self.connect(index);
            }
            self.turn(if batch > 0 { Duration::ZERO } else { TURN_MAX })?;
        }
        Ok(true)
    }

    fn connect(&mut self, index: usize) {
        let now = self.clock.now();
        let address = self.options.hosts[index % self.options.hosts.len()];
        let timeout = self.options.session_timeout();
        match Session::open(address, timeout, self.poll.registry(), Token(index), now) {
            Ok(session) => {
                let outstanding = Outstanding::default();
                self.members[index] = Some(Member { session, outstanding, watches_asked: 0 });
            }
            Err(_) => self.retry(index),
        }
    }

    fn retry(&mut self, index: usize) {
        self.retry_count += 1;
        self.retries.push_back((self.clock.now() + nanos(RETRY_DELAY), index));
    }

    /// Sets the watches, evenly over the sessions. Returns whether all were set before patience ended without progress.
    fn set_watches(&mut self) -> Result<bool, String> {
        for index in 0..self.members.len() {
            self.with_member(index, |member, crowd| crowd.ask_for_watches(index, member));
        }
        let mut progress = (self.watches_set, self.clock.now());
        while self.watches_set < self.options.watches {
            self.turn(TURN_MAX)?;
            if self.watches_set > progress.0 {
                progress = (self.watches_set, self.clock.now());
            }
            let nobody_left = self.up().next().is_none();
            if nobody_left || self.clock.now() > progress.1 + nanos(self.options.patience()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn ask_for_watches(&self, index: usize, member: &mut Member) -> Result<(), Lost> {
        let (sessions, index) = (self.options.connections as u64, index as u64);
        let (share, rest) = (self.options.watches / sessions, self.options.watches % sessions);
        let first = share * index + rest.min(index);
        let last = first + share + u64::from(index < rest);
        let now = self.clock.now();
        while first + member.watches_asked < last && member.outstanding.count() < self.options.outstanding {
            let number = (first + member.watches_asked) % self.options.keys;
            self.watch.append(member.session.out(), member.outstanding.next_xid(), || number);
            member.outstanding.push(Sent { at: now, class: Class::Register });
            member.watches_asked += 1;
        }
        member.session.flush(now)
    }

    /// Keeps the sessions alive until told by a line or the end of standard input, or by --secs.
    fn hold(&mut self) -> Result<(), String> {
        let told = Arc::new(AtomicBool::new(false));
        let deadline = match self.options.secs {
            Some(secs) => self.clock.now() + nanos(Duration::from_secs_f64(secs)),
            None => {
                let waker =
                    Waker::new(self.poll.registry(), WAKE).map_err(|error| format!("no waker: {error}"))?;
                let told = Arc::clone(&told);
                // Not joined: it may wait for a line for ever, and ends with the process.
                thread::spawn(move || {
                    let _ = std::io::stdin().lock().read_line(&mut String::new());
                    told.store(true, Ordering::Relaxed);
                    let _ = waker.wake();
                });
                Nanos::MAX
            }
        };
        while !told.load(Ordering::Relaxed) && self.clock.now() < deadline {
            self.turn(TICK_INTERVAL)?;
        }
        Ok(())
    }

    /// Closes all sessions, so that the server is not left to expire them.
    fn close(&mut self) -> Result<(), String> {
        // Connections whose session is not up yet have nothing to close.
        for member in &mut self.members {
            member.take_if(|member| !member.session.is_established());
        }
        let deadline = self.clock.now() + nanos(self.options.patience());
        for index in 0..self.members.len() {
            self.with_member(index, |member, crowd| member.session.close(crowd.clock.now()));
        }
        while self.members.iter().any(Option::is_some) && self.clock.now() < deadline {
            self.turn(TURN_MAX)?;
        }
        Ok(())
    }

    fn turn(&mut self, timeout: Duration) -> Result<(), String> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                return Err(format!("cannot poll: {error}"));
            }
            _ => {}
        }
        let events = mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            if event.token() != WAKE {
                let index = event.token().0;
                self.with_member(index, |member, crowd| crowd.on_ready(index, member, event));
            }
        }
        self.events = events;
        let now = self.clock.now();
        if now >= self.tick_next {
            self.tick_next = now + nanos(TICK_INTERVAL);
            for index in 0..self.members.len() {
                self.with_member(index, |member, _| member.session.tick(now));
            }
        }
        Ok(())
    }

    fn on_ready(&mut self, index: usize, member: &mut Member, event: &Event) -> Result<(), Lost> {
        let now = self.clock.now();
        let Member { session, outstanding, .. } = member;
        let mut answered = 0;
        let mut newly_up = false;
        session.receive(event, &mut self.scratch, now, |arrival| {
            match arrival {
                Arrival::Closed => return Err(Lost::AsAsked),
                Arrival::Established => newly_up = true,
                Arrival::Event => {}
                Arrival::Reply { xid, error } => {
                    outstanding.answer(xid).map_err(|_| Lost::Malformed)?;
                    answered += u64::from(error == error_code::OK);
                }
            }
            Ok(())
        })?;
        if newly_up {
            self.established += 1;
            self.opening.record(now - self.tried_first[index]);
        }
        self.watches_set += answered;
        if answered > 0 {
            self.ask_for_watches(index, member)?;
        }
        member.session.flush(now)
    }

    /// Calls `act` with a member that is taken out of its place, and puts it back unless it is lost.
    fn with_member(&mut self, index: usize, act: impl FnOnce(&mut Member, &mut Self) -> Result<(), Lost>) {
        let Some(mut member) = self.members[index].take() else { return };
        match act(&mut member, self) {
            Ok(()) => self.members[index] = Some(member),
            Err(Lost::AsAsked) => {}
            Err(_) if !member.session.is_established() => self.retry(index),
            Err(lost) => self.tally.on_lost(&lost, 0),
        }
    }
}
