//! The configurations that an election goes by: the one in force, and the one that may come into force next.

use alloc::collections::BTreeSet;

use bytes::Bytes;

use crate::types::{MemberRole, Membership, ServerId};

/// Whose votes count, and what is told to others about it.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    current: Membership,
    /// Always newer than `current`.
    next: Option<Membership>,
    /// Whether `next` is no more than a proposal to this server.
    is_proposal: bool,
    text: Bytes,
}

impl View {
    /// The view of a server whose configuration in force is `current`, with that text, and whose newest one,
    /// committed or not, is `newest`. Until it is known which of two will hold, a quorum must be one in both.
    pub fn new(current: Membership, newest: Option<Membership>, text: Bytes) -> Self {
        let next = newest.filter(|newest| newest.version() > current.version());
        Self { current, next, is_proposal: false, text }
    }

    /// Whether the newest configuration is no more than a proposal to this server: it has acknowledged no epoch that began
    /// with it. See [`View::is_led_by`].
    #[must_use]
    pub const fn of_a_proposal(mut self, is_proposal: bool) -> Self {
        self.is_proposal = is_proposal;
        self
    }

    /// The version of the configuration in force.
    pub const fn version(&self) -> i64 {
        self.current.version()
    }

    /// The text of the configuration in force.
    pub const fn text(&self) -> &Bytes {
        &self.text
    }

    /// Everybody who votes in either configuration (PARITY `fle.voters`).
    pub fn voters(&self) -> BTreeSet<ServerId> {
        self.current.voters().chain(self.next.iter().flat_map(Membership::voters)).collect()
    }

    /// Whether the server votes in either configuration.
    pub fn is_voter(&self, server: ServerId) -> bool {
        self.current.is_voter(server) || self.next.as_ref().is_some_and(|next| next.is_voter(server))
    }

    /// Whether the server may propose itself: only voters of the configuration in force do (PARITY `fle.init`).
    pub fn is_candidate(&self, server: ServerId) -> bool {
        self.current.is_voter(server)
    }

    /// Whether the configuration in force has the server as an observer. One that it does not have at all follows
    /// without a vote, to be made a member later.
    pub fn is_observer(&self, server: ServerId) -> bool {
        self.current.member(server).is_some_and(|member| member.role == MemberRole::Observer)
    }

    /// What the server's vote counts, in the configuration in force where it has one.
    pub fn weight(&self, server: ServerId) -> i64 {
        match &self.next {
            Some(next) if !self.current.is_voter(server) => next.weight(server),
            Some(_) | None => self.current.weight(server),
        }
    }

    /// Whether a leader that says that it leads, and those who say that they follow it, may be gone to: a quorum, in both
    /// configurations, or in the one in force if the other is a mere proposal.
    ///
    /// A server that alone has logged a change, of a leader that died with it, would never find a leader again if the
    /// others were no quorum of that change without it, though they lead and follow, and the change is void: there
    /// ZooKeeper's servers look for ever. It cannot help those who never heard of the change to a quorum that is none:
    ///
    /// - If the change was agreed on by its transaction, a quorum in force has that in its log. If an epoch began with it,
    ///   which needs it in no log, a quorum in force has acknowledged that.
    /// - Of either one is in every quorum in force, and promises nothing to a leader whose history is older than its own;
    ///   and who has a history as new has heard of the change, and leads by both.
    /// - This server, if it is such a one, keeps to both besides, once it has acknowledged such an epoch.
    pub fn is_led_by(&self, servers: &BTreeSet<ServerId>) -> bool {
        if self.is_proposal { self.current.has_quorum(servers) } else { self.has_quorums(servers) }
    }

    /// Whether the servers are a quorum, in both configurations if there are two: of them a leader can be made.
    pub fn has_quorums(&self, servers: &BTreeSet<ServerId>) -> bool {
        self.current.has_quorum(servers) && self.next.as_ref().is_none_or(|next| next.has_quorum(servers))
    }
}
