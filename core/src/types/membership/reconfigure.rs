//! What becomes of a configuration that is to change (PARITY `reconf.incremental`, `reconf.bulk`, `reconf.minvoters`).

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::{Address, EntryProblem, Member, Membership, MembershipError, TEXT_MAX};
use crate::types::error_code::ErrorCode;
use crate::types::ids::ServerId;

/// Why a configuration cannot change as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReconfigureError {
    /// A server that joins would have an address that another server has.
    AddressInUse {
        /// Who joins.
        server: ServerId,
        /// Whose address it is.
        other: ServerId,
        /// Which.
        address: Address,
    },
    /// Servers join or leave one by one, but there are groups to which they would have to belong.
    Hierarchical,
    /// A server that joins is not written as `server.N=...`.
    JoinerForm(String),
    /// The entry of a server that joins is wrong.
    Joiner {
        /// The server, as it was written.
        joiner: String,
        /// What is wrong with it.
        problem: EntryProblem,
    },
    /// The number of a server that leaves is none.
    Leaving(String),
    /// There is one participant, which would serve without an ensemble, and others that observe it.
    LoneVoter,
    /// The new members' text is wrong.
    Members(MembershipError),
    /// The entry of a server that joins does not say where it listens for clients.
    NoClientAddress(ServerId),
    /// There are no participants.
    NoVoters,
    /// There are more members than servers can tell each other of.
    TooLong,
    /// There are fewer participants than there must be.
    TooFewVoters {
        /// How many there must be.
        needed: usize,
    },
}

impl ReconfigureError {
    /// What ZooKeeper answers: bad arguments, except where its own parser gives up in a way it does not expect.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Joiner { problem, .. } => problem.code(),
            Self::Members(error) => error.code(),
            Self::Leaving(_) | Self::LoneVoter | Self::NoVoters => ErrorCode::MARSHALLINGERROR,
            Self::AddressInUse { .. }
            | Self::Hierarchical
            | Self::JoinerForm(_)
            | Self::NoClientAddress(_)
            | Self::TooLong
            | Self::TooFewVoters { .. } => ErrorCode::BADARGUMENTS,
        }
    }
}

impl fmt::Display for ReconfigureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressInUse { server, other, address } => {
                write!(f, "{address} of server.{server} belongs to server.{other}")
            }
            Self::Hierarchical => f.write_str("with groups, only all members can be changed at once"),
            Self::JoinerForm(joiner) => write!(f, "joining server {joiner}: expected server.N=..."),
            Self::Joiner { joiner, problem } => write!(f, "joining server {joiner}: {problem}"),
            Self::Leaving(text) => write!(f, "leaving server {text}: expected a number"),
            Self::LoneVoter => f.write_str("there are observers of a single participant"),
            Self::Members(error) => write!(f, "new members: {error}"),
            Self::NoClientAddress(server) => {
                write!(f, "joining server.{server}: expected ;port or ;host:port for clients at the end")
            }
            Self::NoVoters => f.write_str("there are no participants"),
            Self::TooLong => write!(f, "expected a configuration of at most {TEXT_MAX} bytes"),
            Self::TooFewVoters { needed } => write!(f, "expected {needed} participants or more"),
        }
    }
}

impl core::error::Error for ReconfigureError {}

impl Membership {
    /// The membership as it would be in this version. With new members, these are the members, and it is ignored who
    /// joins and leaves; otherwise servers leave, and then join or are replaced.
    ///
    /// Names stay names: two servers clash when they have the same name and port, not when they have two names for
    /// the same address.
    ///
    /// # Errors
    /// If what is asked for makes no sense. What depends on more than this membership is not checked here.
    pub fn reconfigured(
        &self,
        version: i64,
        joining: Option<&str>,
        leaving: Option<&str>,
        new_members: Option<&str>,
        standalone_enabled: bool,
    ) -> Result<Self, ReconfigureError> {
        let next = match new_members {
            Some(text) => bulk(text, standalone_enabled)?,
            None => self.incremental(joining.unwrap_or_default(), leaving.unwrap_or_default())?,
        };
        let needed = if standalone_enabled { 2 } else { 1 };
        if next.voters().count() < needed {
            return Err(ReconfigureError::TooFewVoters { needed });
        }
        if next.is_too_long() {
            return Err(ReconfigureError::TooLong);
        }
        Ok(next.with_version(version))
    }

    fn incremental(&self, joining: &str, leaving: &str) -> Result<Self, ReconfigureError> {
        if !self.is_majority() {
            return Err(ReconfigureError::Hierarchical);
        }
        let mut members = self.members.clone();
        for text in words(leaving, ',') {
            let server = text.parse().map_err(|_| ReconfigureError::Leaving(text.to_string()))?;
            members.remove(&ServerId(server));
        }
        let mut taken = Taken::default();
        for (&server, member) in &members {
            taken.take(server, member);
        }
        for joiner in words(joining, ',') {
            let [key, value] = words(joiner, '=')[..] else {
                return Err(ReconfigureError::JoinerForm(joiner.to_string()));
            };
            let wrong = |problem| ReconfigureError::Joiner { joiner: joiner.to_string(), problem };
            let id = key.rsplit_once('.').map_or(key, |(_, id)| id);
            let server = ServerId(id.parse().map_err(|_| wrong(EntryProblem::Id))?);
            let member: Member = value.parse().map_err(wrong)?;
            if member.client.is_none() {
                return Err(ReconfigureError::NoClientAddress(server));
            }
            if let Some(before) = members.remove(&server) {
                taken.release(server, &before);
            }
            if let Some((address, other)) = taken.clash(&member) {
                let address = address.clone();
                return Err(ReconfigureError::AddressInUse { server, other, address });
            }
            taken.take(server, &member);
            members.insert(server, member);
        }
        Ok(Self::majority(self.version, members))
    }
}

/// The new members' text may have commas in place of line ends.
fn bulk(text: &str, standalone_enabled: bool) -> Result<Membership, ReconfigureError> {
    let membership = Membership::parse(&text.replace(',', "\n")).map_err(ReconfigureError::Members)?;
    let voters = membership.voters().count();
    if voters == 0 && !standalone_enabled {
        return Err(ReconfigureError::NoVoters);
    }
    if voters == 1 && standalone_enabled && membership.members.len() > 1 {
        return Err(ReconfigureError::LoneVoter);
    }
    Ok(membership)
}

/// What is between the separators, without blanks around it, and without what is then empty.
fn words(text: &str, separator: char) -> Vec<&str> {
    text.split(separator).map(str::trim).filter(|word| !word.is_empty()).collect()
}

/// Who has which address, of those that only one server can have. Whoever may ask for a change can name many servers at
/// once, before anybody looks whether it may: each of them is looked up, not compared with all others.
#[derive(Default)]
struct Taken(BTreeSet<(Address, ServerId)>);

impl Taken {
    fn take(&mut self, server: ServerId, member: &Member) {
        let own = all_addresses(member).filter(|address| !address.is_anywhere());
        self.0.extend(own.map(|address| (address.clone(), server)));
    }

    fn release(&mut self, server: ServerId, member: &Member) {
        for address in all_addresses(member) {
            self.0.remove(&(address.clone(), server));
        }
    }

    /// The first address of `member` that a server has, and the first that has it.
    fn clash<'a>(&self, member: &'a Member) -> Option<(&'a Address, ServerId)> {
        all_addresses(member).find_map(|address| {
            let (taken, server) = self.0.range((address.clone(), ServerId(i64::MIN))..).next()?;
            (taken == address).then_some((address, *server))
        })
    }
}

fn all_addresses(member: &Member) -> impl Iterator<Item = &Address> {
    member.quorum.iter().chain(&member.client).chain(&member.election)
}
