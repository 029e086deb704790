//! A simulated client: the core's client machine, and somebody who asks for things.
//!
//! Hosts, reconnects, sessions and watches are the machine's ([`zabra_core::client`]), so that what lives through the
//! faults here is what lives in production. It is as pure as the servers: the world tells the client what happened and
//! carries out what it wants ([`Want`]).
//!
//! Nobody believes the machine. What goes over the wire is read by a [`tap::Tap`], which tells the checkers
//! ([`Observed`]); an [`account::Account`] compares it with what the machine was asked and what it told. Which server it
//! tries is compared with those that it tried before (C12).

pub mod account;
pub mod codec;
mod convert;
mod perform;
mod rude;
pub mod tap;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use zabra_core::client::{
    CallId, Client, ClientAction, ClientConfig, ClientEvent, ClientHangup, ClientInput, Credentials,
    SessionState, WatcherId,
};
use zabra_core::types::{Address, DialId, ErrorCode, SessionId};

use self::account::Account;
pub use self::rude::Board;
use self::rude::Episode;
use self::tap::{Claims, Manner, Tap};
use crate::app::{Application, Ask, News};
use crate::check::{Checker, Violation};
use crate::clock::{Clock, SimTime};
use crate::history::Observed;
use crate::link::{FRAME_MAX, LinkId};
use crate::op::{Answer, Op};
use crate::options::WorkloadProfile;
use crate::places::ClientId;
use crate::seed::Rng;
use crate::workload::Workload;

/// How often a client that waits for its connection thinks of something to ask.
const IDLE: Duration = Duration::from_millis(20);

/// Watchers of one client: few, so that several wait for the same event.
const WATCHERS: u64 = 3;

/// How often one session proves to be somebody.
const IDENTITIES_MAX: usize = 6;

/// What a client wants of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// A connection to a server, by one of its name's addresses.
    Dial {
        /// Names the attempt.
        dial: DialId,
        /// To which.
        address: Address,
    },
    /// The end of a connection, or of the attempt to make it.
    Hangup {
        /// Which.
        dial: DialId,
    },
    /// Bytes on their way to the server.
    Send {
        /// On which connection.
        dial: DialId,
        /// What.
        bytes: Bytes,
    },
    /// Something for the checkers.
    Tell(Observed),
}

/// See the module.
#[derive(Debug)]
pub struct SimClient {
    id: ClientId,
    rng: Rng,
    clock: Clock,
    profile: WorkloadProfile,
    servers: Vec<Address>,
    /// The shortest session timeout that they grant, and the longest.
    granted: (Duration, Duration),
    /// Those that the machine has tried last, all but one of them: it goes through them in turn.
    tried: VecDeque<Address>,
    workload: Workload,
    /// None between two sessions.
    machine: Option<Box<Client>>,
    /// What it does without a machine.
    episode: Option<Episode>,
    /// Episodes so far, and requests in them.
    rude_count: u64,
    rude_xid: i32,
    /// The session that it left behind last, unless it has thought of coming back to it.
    left: Option<Credentials>,
    /// Whether the machine's session was attached when the machine last had nothing more to do.
    was_attached: bool,
    board: Board,
    /// Who uses the client, and what it was not told yet.
    application: Option<Box<dyn Application>>,
    news: VecDeque<News>,
    asks: VecDeque<Ask>,
    /// When the application wants to be woken.
    alarm: Option<SimTime>,
    /// The last request, made at rest.
    last_call: Option<CallId>,
    account: Account,
    /// The connection, or the attempt to make one.
    tap: Option<Tap>,
    /// What carries it.
    link: Option<(DialId, LinkId)>,
    /// What this machine has to say of itself on its next connection.
    claims: Claims,
    /// The connection was lost in what the machine is telling.
    lost: bool,
    wants: VecDeque<Want>,
    /// When the world is to call.
    wake: SimTime,
    /// It does nothing at all until then.
    away_until: SimTime,
    /// When it next asks for something.
    next_act: SimTime,
    /// The session is to be closed: nothing more is asked in it.
    closing: bool,
    /// No new requests: the world comes to rest.
    resting: bool,
    /// The last request but one, made at rest, was answered; and the last.
    synced: bool,
    rested: bool,
    /// What a scenario wants asked, before anything random.
    script: VecDeque<Op>,
    /// Whether it asks for anything that no script told it to.
    random: bool,
    /// It is gone.
    mute: bool,
}

impl SimClient {
    /// A client of these servers that makes random requests.
    pub fn new(
        id: ClientId,
        rng: Rng,
        clock: Clock,
        workload: Workload,
        profile: WorkloadProfile,
        servers: Vec<Address>,
        board: Board,
    ) -> Self {
        Self {
            id,
            rng,
            clock,
            profile,
            servers,
            granted: (Duration::ZERO, Duration::MAX),
            tried: VecDeque::new(),
            workload,
            machine: None,
            episode: None,
            rude_count: 0,
            was_attached: false,
            rude_xid: 0,
            left: None,
            board,
            application: None,
            news: VecDeque::new(),
            asks: VecDeque::new(),
            alarm: None,
            last_call: None,
            account: Account::default(),
            tap: None,
            link: None,
            claims: Claims::default(),
            lost: false,
            wants: VecDeque::new(),
            wake: SimTime::FOREVER,
            away_until: SimTime::ZERO,
            next_act: SimTime::ZERO,
            closing: false,
            resting: false,
            synced: false,
            rested: false,
            script: VecDeque::new(),
            random: true,
            mute: false,
        }
    }

    /// Tells it which session timeouts the servers grant.
    pub const fn expect_timeouts(&mut self, shortest: Duration, longest: Duration) {
        self.granted = (shortest, longest);
    }

    /// Leaves the client to scripts: no request is random any more.
    pub fn follow_script(&mut self) {
        self.random = false;
    }

    /// Adds a request to the script.
    pub fn ask(&mut self, op: Op) {
        self.script.push_back(op);
    }

    /// Whether it has proved to be somebody in this session.
    pub const fn is_somebody(&self) -> bool {
        self.account.identities() > 0
    }

    /// The session, if there is one.
    pub fn session(&self) -> Option<SessionId> {
        self.machine.as_ref()?.session().map(|held| held.session)
    }

    /// The connection, if there is one.
    pub fn link(&self) -> Option<LinkId> {
        self.link
            .filter(|(dial, _)| self.tap.as_ref().is_some_and(|tap| tap.dial() == *dial))
            .map(|(_, link)| link)
    }

    /// The link that carries a connection, if it still does.
    pub fn link_of(&self, dial: DialId) -> Option<LinkId> {
        self.link.filter(|(of, _)| *of == dial).map(|(_, link)| link)
    }

    /// Whether the session is attached.
    pub fn is_up(&self) -> bool {
        self.machine.as_ref().is_some_and(|machine| machine.state() == SessionState::Connected)
    }

    /// The timeout of its session.
    pub fn session_timeout(&self) -> Duration {
        self.machine.as_ref().map_or(Duration::ZERO, |machine| machine.session_timeout())
    }

    /// Requests without an answer, scripted ones that were not sent yet included.
    pub fn outstanding(&self) -> usize {
        self.account.outstanding() + self.script.len()
    }

    /// No new requests but two last ones, a sync and a write, whose answers show that the server serves.
    pub fn rest(&mut self) {
        self.resting = true;
    }

    /// Whether the last request was answered, or nobody waits for an answer any more.
    pub const fn rested(&self) -> bool {
        self.rested || self.mute
    }

    /// Whether the client is gone.
    pub const fn is_mute(&self) -> bool {
        self.mute
    }

    /// The client is gone, without a word.
    pub fn mute(&mut self) {
        self.mute = true;
    }

    /// What it wants next.
    pub fn poll_want(&mut self) -> Option<Want> {
        self.wants.pop_front()
    }

    /// A connection is being made, on this link.
    pub fn on_dialing(&mut self, dial: DialId, link: LinkId) {
        self.link = Some((dial, link));
    }

    /// A connection was made.
    ///
    /// # Errors
    /// What the machine does wrong.
    pub fn on_connected(&mut self, now: SimTime, link: LinkId) -> Result<(), Violation> {
        match self.dial_on(link) {
            Some(_) if self.episode.is_some() => self.on_rude_connected(),
            Some(dial) => self.handle(now, ClientInput::Connected { dial }),
            None => Ok(()),
        }
    }

    /// The connection is gone, or could not be made.
    ///
    /// # Errors
    /// What the machine does wrong.
    pub fn on_closed(&mut self, now: SimTime, link: LinkId) -> Result<(), Violation> {
        match self.dial_on(link) {
            Some(_) if self.episode.is_some() => {
                self.end_episode(now);
                Ok(())
            }
            Some(dial) => {
                self.lose();
                self.handle(now, ClientInput::Disconnected { dial })
            }
            None => Ok(()),
        }
    }

    /// Bytes came.
    ///
    /// # Errors
    /// What the server or the machine does wrong.
    pub fn on_bytes(&mut self, now: SimTime, link: LinkId, bytes: Bytes) -> Result<(), Violation> {
        let Some(dial) = self.dial_on(link).filter(|_| !self.mute) else { return Ok(()) };
        if let Some(tap) = &mut self.tap {
            tap.on_received(&bytes, &mut self.account, &mut self.wants)?;
            self.claims = tap.claims();
        }
        if self.episode.is_some() {
            return self.on_rude_bytes();
        }
        self.handle(now, ClientInput::Received { dial, bytes })
    }

    /// The connection that a link carries, if it is the present one.
    fn dial_on(&self, link: LinkId) -> Option<DialId> {
        self.tap.as_ref().map(Tap::dial).filter(|&dial| self.link == Some((dial, link)))
    }

    /// When it wants to be called, if that is earlier than it was told last.
    pub fn poll_wake(&mut self, now: SimTime) -> Option<SimTime> {
        if self.mute {
            return None;
        }
        let timeout = self.machine.as_ref().and_then(|machine| machine.poll_timeout());
        let due = timeout.map_or(SimTime::FOREVER, |due| self.clock.when(due)).min(self.next_act);
        let due = self.alarm.map_or(due, |alarm| due.min(alarm));
        // A moment later at least: who does not stop asking must not stop the world.
        let due = due.max(self.away_until).max(now + Duration::from_nanos(1));
        (due < self.wake).then(|| {
            self.wake = due;
            due
        })
    }

    /// Time to do something.
    ///
    /// # Errors
    /// What the machine does wrong.
    pub fn on_wake(&mut self, now: SimTime) -> Result<(), Violation> {
        if self.wake > now || self.mute {
            return Ok(());
        }
        self.wake = SimTime::FOREVER;
        if self.away_until > now {
            return Ok(());
        }
        if self.alarm.take_if(|alarm| *alarm <= now).is_some() {
            self.news.push_back(News::Woken);
            self.tell_application(now)?;
        }
        let Some(machine) = &self.machine else {
            if self.next_act > now {
                return Ok(());
            }
            self.end_episode(now);
            return self.begin(now);
        };
        if machine.poll_timeout().is_some_and(|due| due <= self.clock.now(now).mono) {
            self.handle(now, ClientInput::Tick)?;
        }
        if self.next_act <= now { self.act(now) } else { Ok(()) }
    }

    /// Begins a session, or does something rude before.
    fn begin(&mut self, now: SimTime) -> Result<(), Violation> {
        let wild = self.random && !self.resting;
        if let Some(left) = self.left.take().filter(|_| wild)
            && self.rng.chance(500_000)
        {
            self.come_back(now, left);
            return Ok(());
        }
        if self.rng.chance(self.profile.rude) && wild {
            self.be_rude(now);
            return Ok(());
        }
        let timeout = self.draw_timeout();
        let config = ClientConfig {
            reconnect_delay_max: self.profile.reconnect_max,
            cycle_delay: self.profile.reconnect_max.max(IDLE),
            set_watches_bytes_max: *self.rng.pick(&[64, 128 << 10]),
            jute_max_buffer: FRAME_MAX,
            ..ClientConfig::new(self.servers.clone(), timeout)
        };
        let seed = self.rng.seed();
        self.account.begin();
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        self.claims = Claims { timeout_ms, ..Claims::default() };
        self.closing = false;
        self.tried.clear();
        self.next_act = now + self.profile.think;
        self.machine = Some(Box::new(Client::new(config, seed, self.clock.now(now))));
        self.drain(now)?;
        self.tell_application(now)
    }

    /// Half of the shortest that is granted up to twice the longest, and mostly as the profile says.
    fn draw_timeout(&mut self) -> Duration {
        let (shortest, longest) = self.granted;
        let (low, high) = match self.rng.chance(self.profile.odd_timeout) {
            true if self.rng.chance(500_000) => (shortest / 2, shortest),
            true => (longest, longest.saturating_mul(2)),
            false => self.profile.session_timeout,
        };
        self.rng.duration(low, high)
    }

    fn handle(&mut self, now: SimTime, input: ClientInput) -> Result<(), Violation> {
        self.feed(now, input)?;
        self.tell_application(now)
    }

    fn feed(&mut self, now: SimTime, input: ClientInput) -> Result<(), Violation> {
        let (Some(machine), false) = (&mut self.machine, self.mute) else { return Ok(()) };
        machine.handle(self.clock.now(now), input);
        self.drain(now)
    }

    /// Does what the machine asks for, and compares it with what it should.
    fn drain(&mut self, now: SimTime) -> Result<(), Violation> {
        let mut over = false;
        while let Some(action) = self.machine.as_mut().and_then(|machine| machine.poll_action()) {
            match action {
                ClientAction::Completed { call, result } => {
                    let connected = !self.lost && self.is_attached();
                    let (op, answer) = self.account.completed(call, &result, connected)?;
                    self.on_answer(&op, answer);
                    if self.application.is_some() && self.last_call.take_if(|last| *last == call).is_none() {
                        self.news.push_back(News::Answered(call, result));
                    }
                }
                ClientAction::Connect { dial, address, .. } => {
                    self.on_dial(&address)?;
                    self.tap = Some(Tap::new(self.id, dial, self.claims, Manner::Honest));
                    self.wants.push_back(Want::Dial { dial, address });
                }
                ClientAction::Event(event) => {
                    match &event {
                        ClientEvent::State(state) => over |= state.is_final(),
                        ClientEvent::Watch { kind, path, watchers, .. } => {
                            self.account.told(*kind, path, watchers)?;
                        }
                    }
                    if self.application.is_some() {
                        self.news.push_back(News::Event(event));
                    }
                }
                ClientAction::Hangup { dial, why } => self.on_hangup(dial, why)?,
                ClientAction::Send { dial, bytes } => {
                    if let Some(tap) = &mut self.tap {
                        tap.on_sent(&bytes, &mut self.account, &mut self.wants)?;
                    }
                    self.wants.push_back(Want::Send { dial, bytes });
                }
            }
        }
        let is_attached = self.is_attached();
        // Not since this call began: bytes that make it so are looked at before the machine is told of them.
        let was_attached = std::mem::replace(&mut self.was_attached, is_attached);
        if std::mem::take(&mut self.lost) {
            self.account.disconnected()?;
        } else if is_attached && !was_attached {
            self.account.primed()?;
            if let Some(held) = self.machine.as_ref().and_then(|machine| machine.session()) {
                self.board.borrow_mut().insert(self.id, held);
            }
        }
        if over {
            self.account.over()?;
            self.machine = None;
            self.next_act = now + self.rng.exponential(self.profile.think);
        }
        Ok(())
    }

    /// The machine chooses a server: each in turn, so that one which answers is found.
    fn on_dial(&mut self, address: &Address) -> Result<(), Violation> {
        if self.tried.contains(address) || !self.servers.contains(address) {
            let (id, tried) = (self.id, &self.tried);
            let what = format!("{id} tries {address:?} out of turn, the last were {tried:?}");
            return Err(Violation::new(Checker::Client, what));
        }
        self.tried.push_back(address.clone());
        if self.tried.len() == self.servers.len() {
            self.tried.pop_front();
        }
        Ok(())
    }

    fn is_attached(&self) -> bool {
        self.tap.as_ref().is_some_and(|tap| tap.session().is_some())
    }

    fn on_hangup(&mut self, dial: DialId, why: ClientHangup) -> Result<(), Violation> {
        match why {
            ClientHangup::Asked
            | ClientHangup::Over
            | ClientHangup::ReadWriteFound
            | ClientHangup::Timeout => {}
            // Setting watches again is refused to a session that ends at this moment.
            ClientHangup::WatchesRefused => {}
            ClientHangup::BadReply => {
                let what = format!("{} hangs up: it does not understand the server", self.id);
                return Err(Violation::new(Checker::Client, what));
            }
        }
        // Carried out before anything that follows: the link is forgotten here.
        self.wants.push_back(Want::Hangup { dial });
        self.lose();
        Ok(())
    }

    /// The connection is no more.
    fn lose(&mut self) {
        if self.tap.take_if(|tap| tap.is_used()).is_some() {
            self.wants.push_back(Want::Tell(Observed::Disconnected { client: self.id }));
        }
        self.tap = None;
        self.lost = true;
    }

    /// A request has come to its end.
    fn on_answer(&mut self, op: &Op, answer: Option<Answer>) {
        let Some(answer) = answer.filter(|_| self.resting) else { return };
        match op {
            Op::Sync { .. } if answer.is_ok() => {
                self.synced = true;
                // What applications leave behind is theirs.
                self.rested |= self.application.is_some();
            }
            // Not everybody may.
            Op::SetData { .. } if self.synced => {
                self.rested |= matches!(answer, Ok(_) | Err(ErrorCode::NOAUTH));
            }
            _ => {}
        }
    }

    /// Asks for something, or leaves for a while, or does nothing.
    fn act(&mut self, now: SimTime) -> Result<(), Violation> {
        let think = self.rng.exponential(self.profile.think) + Duration::from_micros(1);
        let up = self.is_up();
        self.next_act = now + if up { think } else { think.max(IDLE) };
        let wild = up && !self.resting && self.random;
        if wild && self.rng.chance(self.profile.abandon) {
            self.abandon(now);
            return Ok(());
        }
        if wild && self.rng.chance(self.profile.leave) {
            let (_, longest) = self.profile.session_timeout;
            self.away_until = now + self.rng.duration(Duration::ZERO, longest * 2);
            return self.leave(now);
        }
        let burst = if up { 1 + self.rng.index(self.profile.burst_max) } else { 1 };
        for _ in 0..burst {
            if self.closing || self.account.outstanding() >= self.profile.pipeline_max {
                break;
            }
            match self.next_op(up) {
                None => break,
                Some(Op::CloseSession) => {
                    self.closing = true;
                    self.account.close();
                    self.handle(now, ClientInput::Close)?;
                }
                Some(op) => self.call(now, op)?,
            }
        }
        Ok(())
    }

    fn next_op(&mut self, up: bool) -> Option<Op> {
        if up && let Some(op) = self.script.pop_front() {
            return Some(op);
        }
        if self.resting {
            let idle =
                self.account.outstanding() == 0 || self.application.is_some() && self.last_call.is_none();
            let wants_more = up && idle && !self.rested;
            // Whose session is believed to be elsewhere can read, and cannot write.
            return wants_more.then(|| match self.synced {
                false => Op::Sync { path: "/".into() },
                true => Op::SetData { path: "/".into(), data: Some(b"rest".to_vec()), version: -1 },
            });
        }
        // Rarely while there is no connection: such a request waits in the machine, and goes with the next attempt.
        if !self.random || !up && !self.rng.chance(100_000) {
            return None;
        }
        if self.rng.chance(self.profile.close) {
            return Some(Op::CloseSession);
        }
        let op = self.workload.next_op();
        let proved = matches!(op, Op::AddAuth { .. }) && self.account.identities() >= IDENTITIES_MAX;
        (!proved).then_some(op)
    }

    fn call(&mut self, now: SimTime, op: Op) -> Result<(), Violation> {
        let watcher = WatcherId(self.rng.below(WATCHERS));
        let Some(request) = convert::call(&op, watcher) else {
            panic!("{op} is nothing that a client asks for");
        };
        let call = self.account.ask(Rc::new(op), Some(watcher));
        self.last_call = self.resting.then_some(call);
        self.handle(now, ClientInput::Call { call, request })
    }

    /// Leaves without a word; the session lives on, for a while.
    ///
    /// # Errors
    /// What the machine does wrong.
    pub fn leave(&mut self, now: SimTime) -> Result<(), Violation> {
        let Some(dial) = self.tap.as_ref().map(Tap::dial) else { return Ok(()) };
        self.wants.push_back(Want::Hangup { dial });
        self.lose();
        self.handle(now, ClientInput::Disconnected { dial })
    }
}
