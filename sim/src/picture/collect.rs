//! Records become signs, and what lies between two of them spans.

use std::fmt::Display;

use zabra_core::server::Role;

use super::{Picture, Sign, SignKind, SpanKind};
use crate::clock::SimTime;
use crate::fault::{Fault, FaultKind, Harm};
use crate::history::{Observed, Record};
use crate::places::{ClientId, NodeId, Party};

/// The longest words that are kept, in bytes: a request may carry thousands.
const WORDS_MAX: usize = 300;

/// Something that is so, and has not ended yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) since: SimTime,
    pub(super) what: SpanKind,
    pub(super) words: u32,
}

impl Picture {
    /// Something was observed.
    pub fn record(&mut self, record: &Record) {
        self.now = record.at;
        let what = &record.what;
        if let Some((on, kind)) = sign_of(what) {
            let words = self.words(what);
            self.signs.push(Sign { on, at: self.now, what: kind, words });
        }
        self.begin_and_end(what);
    }

    /// The spans that begin or end with it.
    fn begin_and_end(&mut self, what: &Observed) {
        match what {
            Observed::Answered { client, xid, answer, .. } => {
                let (kind, words) = match answer {
                    Ok(outcome) => (SpanKind::Done, format!("{outcome:?}")),
                    Err(code) => (SpanKind::Refused, format!("{code:?}")),
                };
                self.request_ended(*client, *xid, kind, &words);
            }
            Observed::Connected { client, .. } => {
                let words = self.words(what);
                self.sessions[client.0] = Some(Open { since: self.now, what: SpanKind::Session, words });
            }
            Observed::Crashed { node, .. } | Observed::Stopped { node, .. } => {
                self.turn_into(*node, SpanKind::Down, what);
            }
            Observed::Disconnected { client } | Observed::SessionGone { client, .. } => {
                self.disconnected(*client);
            }
            Observed::Found { node, .. } => {
                if self.nodes[node.0].what == SpanKind::Down {
                    self.turn_into(*node, SpanKind::Recovering, what);
                }
            }
            Observed::Healed => self.healed = Some(self.now),
            Observed::Invoked { client, xid, op, .. } => {
                self.pending.insert((*client, *xid), (self.now, op.clone()));
            }
            Observed::RoleLost { node, .. } => self.turn_into(*node, SpanKind::Looking, what),
            Observed::RoleTaken { node, standing, .. } => {
                let span = match standing.role {
                    Role::Following => SpanKind::Following,
                    Role::Leading => SpanKind::Leading,
                    Role::Looking => SpanKind::Looking,
                    Role::Observing => SpanKind::Observing,
                };
                self.turn_into(*node, span, what);
            }
            Observed::Started { node, .. } => {
                let alone = self.nodes.len() == 1;
                let span = if alone { SpanKind::Serving } else { SpanKind::Looking };
                self.turn_into(*node, span, what);
            }
            Observed::Applied { .. }
            | Observed::Attached { .. }
            | Observed::Committed { .. }
            | Observed::DigestMismatch { .. }
            | Observed::EpochAccepted { .. }
            | Observed::EpochCurrent { .. }
            | Observed::Event { .. }
            | Observed::Fault { .. }
            | Observed::Garbled { .. }
            | Observed::Heard { .. }
            | Observed::HungUp { .. }
            | Observed::Logged { .. }
            | Observed::Recovered { .. }
            | Observed::Reconfigured { .. }
            | Observed::Remark { .. }
            | Observed::Removed { .. }
            | Observed::Replaced { .. }
            | Observed::Rewound { .. }
            | Observed::Said { .. }
            | Observed::Sent { .. }
            | Observed::SessionExpired { .. }
            | Observed::StoodStill { .. }
            | Observed::Synced { .. }
            | Observed::Ticked { .. }
            | Observed::Touched { .. }
            | Observed::Voted { .. }
            | Observed::VoteHeard { .. }
            | Observed::VotesAgain { .. } => {}
        }
    }

    /// Something is made to go wrong.
    pub fn fault(&mut self, now: SimTime, fault: Fault, harm: &Harm) {
        self.now = now;
        let words = self.words(&format_args!("{fault}: {}", harm.words));
        let span = match harm.kind {
            FaultKind::Cut | FaultKind::Partition => Some(SpanKind::Cut),
            FaultKind::Full => Some(SpanKind::Full),
            FaultKind::Hold | FaultKind::SlowReader => Some(SpanKind::Hold),
            FaultKind::Pause => Some(SpanKind::Pause),
            FaultKind::Stall => Some(SpanKind::Stall),
            FaultKind::Blackout
            | FaultKind::ClockStep
            | FaultKind::FailedSync
            | FaultKind::HalfOpen
            | FaultKind::Kill
            | FaultKind::Moment
            | FaultKind::Power
            | FaultKind::Reconfig
            | FaultKind::Rot
            | FaultKind::Reset
            | FaultKind::Stop
            | FaultKind::Wipe => None,
        };
        for &party in &harm.to {
            self.signs.push(Sign { on: Some(party), at: now, what: SignKind::Fault, words });
            if let Some(span) = span {
                self.span(party, now, harm.lasts, span, words);
            }
        }
    }

    /// The run is over: whatever is still so ends here.
    pub(super) fn end(&mut self, now: SimTime) {
        self.now = now;
        for index in 0..self.nodes.len() {
            self.close(Party::Node(NodeId(index)), self.nodes[index]);
        }
        for index in 0..self.sessions.len() {
            self.disconnected(ClientId(index));
        }
        let end = |fault: bool| if fault { self.healed.unwrap_or(now) } else { now };
        for span in &mut self.spans.kept {
            let is_fault = (SpanKind::Pause..=SpanKind::Full).contains(&span.what);
            span.ended = span.ended.min(end(is_fault)).max(span.begun);
        }
    }

    /// A node is something else from now on.
    fn turn_into(&mut self, node: NodeId, kind: SpanKind, what: &Observed) {
        self.close(Party::Node(node), self.nodes[node.0]);
        let words = self.words(what);
        self.nodes[node.0] = Open { since: self.now, what: kind, words };
    }

    fn close(&mut self, party: Party, open: Open) {
        if open.since < self.now {
            self.span(party, open.since, self.now - open.since, open.what, open.words);
        }
    }

    fn disconnected(&mut self, client: ClientId) {
        if let Some(open) = self.sessions[client.0].take() {
            self.close(Party::Client(client), open);
        }
        let pending: Vec<i32> =
            self.pending.range((client, i32::MIN)..=(client, i32::MAX)).map(|(&(_, xid), _)| xid).collect();
        for xid in pending {
            self.request_ended(client, xid, SpanKind::Lost, "never answered");
        }
    }

    fn request_ended(&mut self, client: ClientId, xid: i32, kind: SpanKind, outcome: &str) {
        let Some((since, op)) = self.pending.remove(&(client, xid)) else { return };
        let words = self.words(&format_args!("#{xid} {op} = {outcome}"));
        self.span(Party::Client(client), since, self.now - since, kind, words);
    }

    fn words(&mut self, what: &dyn Display) -> u32 {
        let mut text = what.to_string();
        if text.len() > WORDS_MAX {
            let cut = (0..=WORDS_MAX).rev().find(|&cut| text.is_char_boundary(cut)).unwrap_or_default();
            text.truncate(cut);
            text.push('…');
        }
        self.texts.number(&text)
    }
}

/// What is drawn at the moment of a record, and in whose lane; in all lanes, if it is about nobody.
fn sign_of(what: &Observed) -> Option<(Option<Party>, SignKind)> {
    let of_client = |client: &ClientId, kind| Some((Some(Party::Client(*client)), kind));
    let of_node = |node: &NodeId, kind| Some((Some(Party::Node(*node)), kind));
    match what {
        Observed::Connected { client, .. }
        | Observed::Disconnected { client }
        | Observed::SessionGone { client, .. } => of_client(client, SignKind::Session),
        Observed::Event { client, .. } => of_client(client, SignKind::Event),
        Observed::Applied { node, .. } | Observed::Committed { node, .. } => of_node(node, SignKind::Apply),
        Observed::Attached { node, .. } | Observed::SessionExpired { node, .. } => {
            of_node(node, SignKind::Session)
        }
        Observed::Crashed { node, .. } => of_node(node, SignKind::Crash),
        Observed::EpochAccepted { node, .. }
        | Observed::EpochCurrent { node, .. }
        | Observed::Reconfigured { node, .. }
        | Observed::RoleLost { node, .. }
        | Observed::RoleTaken { node, .. }
        | Observed::VotesAgain { node } => of_node(node, SignKind::Role),
        Observed::Found { node, .. }
        | Observed::Recovered { node, .. }
        | Observed::Removed { node, .. }
        | Observed::Replaced { node, .. }
        | Observed::Rewound { node, .. } => of_node(node, SignKind::Disk),
        Observed::Logged { node, .. } => of_node(node, SignKind::Log),
        Observed::DigestMismatch { node, .. }
        | Observed::Garbled { node, .. }
        | Observed::HungUp { node, .. }
        | Observed::Remark { node, .. } => of_node(node, SignKind::Remark),
        Observed::Started { node, .. } => of_node(node, SignKind::Start),
        Observed::Stopped { node, .. } => of_node(node, SignKind::Stop),
        Observed::Fault { fault: None, .. } => Some((None, SignKind::Fault)),
        Observed::Healed => Some((None, SignKind::Healed)),
        // Faults of the profile are told of by `fault`, which knows more.
        Observed::Fault { fault: Some(_), .. } => None,
        // They are one span together.
        Observed::Answered { .. } | Observed::Invoked { .. } => None,
        // They are messages, and drawn as such.
        Observed::Heard { .. }
        | Observed::Said { .. }
        | Observed::Sent { .. }
        | Observed::Voted { .. }
        | Observed::VoteHeard { .. } => None,
        Observed::StoodStill { .. }
        | Observed::Synced { .. }
        | Observed::Ticked { .. }
        | Observed::Touched { .. } => None,
    }
}
