//! While the only server at hand has no quorum: asks the others, one after the other, whether they have one (PARITY
//! `cl.readonly`). Each is asked by the four-letter word `isro` on a connection of its own.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use rand_core::RngCore;

use super::{Client, ClientAction, ClientHangup};
use crate::time::Instant;
use crate::types::DialId;

/// The first pause between two questions; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is asked, and what the right server answers.
const QUESTION: &[u8; 4] = b"isro";
const READ_WRITE: &[u8; 2] = b"rw";

/// The search for a server with a quorum.
#[derive(Debug)]
pub(super) struct Search {
    pause: Duration,
    /// When the next server is asked.
    next: Instant,
    asking: Option<Asking>,
}

/// A server that was asked.
#[derive(Debug)]
struct Asking {
    dial: DialId,
    server: usize,
    deadline: Instant,
    /// The beginning of its answer; never longer than [`READ_WRITE`].
    answer: Vec<u8>,
}

impl Search {
    /// A search whose first question is due soon.
    pub fn begin(now: Instant) -> Self {
        Self { pause: PAUSE_MIN, next: now + PAUSE_MIN, asking: None }
    }

    /// When there is something to do.
    pub fn due(&self) -> Instant {
        self.asking.as_ref().map_or(self.next, |asking| asking.deadline)
    }

    fn asking(&mut self, dial: DialId) -> Option<&mut Asking> {
        self.asking.as_mut().filter(|asking| asking.dial == dial)
    }
}

impl Client {
    pub(super) fn on_search_tick(&mut self) {
        let now = self.now.mono;
        let Some(search) = self.search.as_mut().filter(|search| search.due() <= now) else { return };
        if let Some(asking) = search.asking.take() {
            self.actions.push_back(ClientAction::Hangup { dial: asking.dial, why: ClientHangup::Timeout });
        }
        if search.next > now {
            return;
        }
        search.pause = (search.pause * 2).min(PAUSE_MAX);
        search.next = now + search.pause;
        let server = self.hosts.step();
        let dial = self.next_dial();
        let asking = Asking { dial, server, deadline: now + PATIENCE, answer: Vec::new() };
        self.search.as_mut().expect("it is under way").asking = Some(asking);
        let (address, choice) = (self.hosts.address(server).clone(), self.rng.next_u64());
        self.actions.push_back(ClientAction::Connect { dial, address, choice });
    }

    pub(super) fn on_search_connected(&mut self, dial: DialId) {
        if self.search.as_mut().and_then(|search| search.asking(dial)).is_some() {
            let bytes = Bytes::from_static(QUESTION);
            self.actions.push_back(ClientAction::Send { dial, bytes });
        }
    }

    pub(super) fn on_search_received(&mut self, dial: DialId, bytes: &[u8]) {
        let Some(search) = &mut self.search else { return };
        let Some(asking) = search.asking(dial) else { return };
        let room = READ_WRITE.len() - asking.answer.len();
        asking.answer.extend(bytes.iter().take(room));
        if asking.answer.len() < READ_WRITE.len() {
            return;
        }
        let found = asking.answer == READ_WRITE;
        let server = asking.server;
        search.asking = None;
        self.actions.push_back(ClientAction::Hangup { dial, why: ClientHangup::Asked });
        if found {
            self.hosts.prefer(server);
            self.hang_up(ClientHangup::ReadWriteFound);
        }
    }

    pub(super) fn on_search_gone(&mut self, dial: DialId) {
        if let Some(search) = &mut self.search
            && search.asking(dial).is_some()
        {
            search.asking = None;
        }
    }

    /// The connection that the search is to replace is gone itself.
    pub(super) fn stop_search(&mut self) {
        if let Some(asking) = self.search.take().and_then(|search| search.asking) {
            self.actions.push_back(ClientAction::Hangup { dial: asking.dial, why: ClientHangup::Asked });
        }
    }
}
