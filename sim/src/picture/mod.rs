//! A picture of a run: a page with a lane for every server and client, the messages between them, what each of them
//! was at any time, and what went wrong. It is one file that opens from a disk.
//!
//! A picture is drawn while the run goes on: it takes records as checkers do, reads along on every link ([`wires`]),
//! and is told of faults. It has no part in what happens, so a run goes the same way with it and without. Of what
//! comes in large numbers it keeps the newest, up to a limit; the page says what it lacks.

mod collect;
mod json;
mod page;
pub mod scene;
#[cfg(test)]
mod tests;
pub mod wires;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use self::collect::Open;
pub use self::page::About;
use self::wires::{Kind, Pipe, Wires};
use crate::clock::SimTime;
use crate::link::{End, LinkId};
use crate::op::Op;
use crate::options::Options;
use crate::places::{ClientId, Party};

/// Messages that a picture keeps.
pub const MESSAGES_MAX: usize = 200_000;
/// Signs that a picture keeps.
pub const SIGNS_MAX: usize = 150_000;
/// Spans that a picture keeps.
pub const SPANS_MAX: usize = 100_000;

/// A message between two lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Message {
    from: Party,
    to: Party,
    sent: SimTime,
    /// None, as long as it has not arrived.
    arrived: Option<SimTime>,
    kind: Kind,
    words: u32,
}

/// Something that was so for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    at: Party,
    begun: SimTime,
    ended: SimTime,
    what: SpanKind,
    words: u32,
}

/// Something that happened at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sign {
    /// At all lanes, if at none.
    on: Option<Party>,
    at: SimTime,
    what: SignKind,
    words: u32,
}

macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $type {
            /// Names in the page, in the order of their numbers.
            pub const NAMES: &[&str] = &[$($name,)*];
        }
    };
}

named! {
    /// What can be so for a while.
    SpanKind {
        /// There is no process.
        Down = "down",
        /// A process reads its disk.
        Recovering = "recovering",
        /// It serves alone.
        Serving = "serving",
        /// It looks for a leader.
        Looking = "looking",
        /// It follows one.
        Following = "following",
        /// It leads.
        Leading = "leading",
        /// It follows one without a vote.
        Observing = "observing",
        /// It is frozen.
        Pause = "pause",
        /// Nothing gets through between nodes.
        Cut = "cut",
        /// A link holds everything back, or is not read from.
        Hold = "hold",
        /// A disk does nothing.
        Stall = "stall",
        /// A disk is full.
        Full = "full",
        /// A client has a connection.
        Session = "session",
        /// A request was answered with what it asked for.
        Done = "done",
        /// A request was answered with an error.
        Refused = "refused",
        /// A request was never answered.
        Lost = "lost",
    }
}

named! {
    /// What can happen at a moment.
    SignKind {
        /// A process ended, and not by its own decision.
        Crash = "crash",
        /// A process serves.
        Start = "start",
        /// A process ended by its own decision.
        Stop = "stop",
        /// Something was made to go wrong.
        Fault = "fault",
        /// A role was taken or lost, an epoch promised or begun.
        Role = "role",
        /// A transaction was handed to the disk.
        Log = "log",
        /// A transaction was applied, or is there for good.
        Apply = "apply",
        /// The history on a disk ends somewhere else.
        Disk = "disk",
        /// A session began, moved or ended.
        Session = "session",
        /// A client was told of a change.
        Event = "event",
        /// What else a server told.
        Remark = "remark",
        /// All faults stopped.
        Healed = "healed",
    }
}

/// The newest of many things, each with a number of its own.
#[derive(Debug)]
struct Recent<T> {
    kept: VecDeque<T>,
    max: usize,
    /// How many there were that are not kept any more.
    gone: u64,
}

impl<T> Recent<T> {
    const fn new(max: usize) -> Self {
        Self { kept: VecDeque::new(), max, gone: 0 }
    }

    fn push(&mut self, item: T) -> u64 {
        if self.kept.len() == self.max {
            self.kept.pop_front();
            self.gone += 1;
        }
        self.kept.push_back(item);
        self.gone + self.kept.len() as u64 - 1
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.kept.get_mut(usize::try_from(number.checked_sub(self.gone)?).ok()?)
    }
}

/// Words that are used many times over are kept once.
#[derive(Debug, Default)]
struct Texts {
    numbers: BTreeMap<Rc<str>, u32>,
    texts: Vec<Rc<str>>,
}

impl Texts {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = self.texts.len() as u32;
        let text: Rc<str> = text.into();
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        number
    }
}

/// See the module.
#[derive(Debug)]
pub struct Picture {
    voters: usize,
    spares: usize,
    clients: usize,
    messages: Recent<Message>,
    spans: Recent<Span>,
    signs: Recent<Sign>,
    texts: Texts,
    wires: Wires,
    /// What every node is at the moment.
    nodes: Vec<Open>,
    /// The connection that every client has at the moment.
    sessions: Vec<Option<Open>>,
    /// Requests without an answer, with the place of their order.
    pending: BTreeMap<(ClientId, i32), (SimTime, Rc<Op>)>,
    healed: Option<SimTime>,
    now: SimTime,
}

impl Picture {
    /// Nothing is drawn yet of a world with this profile.
    pub fn new(options: &Options) -> Self {
        let down = Open { since: SimTime::ZERO, what: SpanKind::Down, words: 0 };
        let mut texts = Texts::default();
        texts.number("not started yet");
        Self {
            voters: options.servers,
            spares: options.spares,
            clients: options.all_clients(),
            messages: Recent::new(MESSAGES_MAX),
            spans: Recent::new(SPANS_MAX),
            signs: Recent::new(SIGNS_MAX),
            texts,
            wires: Wires::default(),
            nodes: vec![down; options.nodes()],
            sessions: vec![None; options.all_clients()],
            pending: BTreeMap::new(),
            healed: None,
            now: SimTime::ZERO,
        }
    }

    /// Bytes are on their way.
    pub fn sent(&mut self, now: SimTime, pipe: Pipe, bytes: &bytes::Bytes) {
        let Self { wires, messages, texts, .. } = self;
        let (from, to) = (pipe.sender, pipe.receiver);
        wires.sent(pipe, bytes, |kind, words| {
            let words = texts.number(&words);
            messages.push(Message { from, to, sent: now, arrived: None, kind, words })
        });
    }

    /// Bytes have arrived and were read.
    pub fn arrived(&mut self, now: SimTime, link: LinkId, to: End, count: usize) {
        for number in self.wires.arrived(link, to, count) {
            if let Some(message) = self.messages.get_mut(number) {
                message.arrived = Some(now);
            }
        }
    }

    fn span(&mut self, at: Party, begun: SimTime, lasts: Duration, what: SpanKind, words: u32) {
        self.spans.push(Span { at, begun, ended: begun + lasts, what, words });
    }

    /// The lane of somebody: servers first.
    fn lane(&self, party: Party) -> usize {
        match party {
            Party::Node(node) => node.0,
            Party::Client(client) => self.nodes.len() + client.0,
        }
    }
}
