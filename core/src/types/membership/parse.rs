//! Reads a configuration (`QuorumPeerConfig.parseDynamicConfig`, PARITY `addr.server`).
//!
//! Keys are `server.N`, `group.N`, `weight.N` and `version`; a text with groups or weights is hierarchical. The value
//! of `server.N` is `host:quorum port:election port[:role]`, several of these with `|` between them, and behind a `;`
//! the client's `[host:]port`. What ZooKeeper takes, this takes, but for hosts that are no host's name or address,
//! weights less than nothing, and addresses of one server that clash: it would print those as something else.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::address::is_host;
use super::properties::{Entry, entries};
use super::{Address, Hierarchy, Member, MemberRole, Membership};
use crate::types::error_code::ErrorCode;
use crate::types::ids::ServerId;

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipError {
    /// A line of it.
    Entry {
        /// The line's number, from 1.
        line: usize,
        /// Its key.
        key: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        problem: EntryProblem,
    },
    /// The servers of a group weigh more than can be counted.
    GroupTooHeavy(i64),
    /// A group has a server that is no participant, and nothing says what it weighs.
    NoWeight(ServerId),
    /// There are observers and nobody to observe.
    NoVoters,
    /// There are groups, and a participant is in none of them.
    NotInGroup(ServerId),
}

/// What is wrong with a line of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryProblem {
    /// The part behind `;` is neither a port nor a host and a port.
    ClientForm,
    /// Two of the server's addresses have a host and a port in common.
    DuplicateAddress,
    /// The group has no list of numbers.
    GroupForm,
    /// A host is neither a name nor an IP address.
    Host,
    /// The key ends with something that is no number.
    Id,
    /// Two addresses of the server give it different roles.
    MixedRoles,
    /// A port is no number.
    Port,
    /// A port is a number that no port has.
    PortRange,
    /// Quorum and election port are the same.
    SamePorts,
    /// The value is no list of host, two ports and perhaps a role.
    ServerForm,
    /// The server is in another group, too.
    TwoGroups(ServerId),
    /// There is no such key.
    UnknownKey,
    /// There is no such role.
    UnknownRole,
    /// The version is no hexadecimal number.
    Version,
    /// The weight is no number, or less than nothing.
    Weight,
}

impl EntryProblem {
    /// What it should be.
    const fn expected(self) -> &'static str {
        match self {
            Self::ClientForm => "expected port or host:port behind the semicolon",
            Self::DuplicateAddress => "expected different addresses",
            Self::GroupForm => "expected numbers of servers with colons between them",
            Self::Host => "expected a host's name or IP address, IPv6 in brackets",
            Self::Id => "expected a number behind the key's dot",
            Self::MixedRoles => "expected the same role for all addresses of a server",
            Self::Port => "expected a number as port",
            Self::PortRange => "expected a port from 0 to 65535",
            Self::SamePorts => "expected different ports for quorum and election",
            Self::ServerForm => "expected host:port:port or host:port:port:role, `|` between several of them",
            Self::TwoGroups(_) => "expected every server in one group",
            Self::UnknownKey => "expected server.N, group.N, weight.N or version as key",
            Self::UnknownRole => "expected participant or observer as role",
            Self::Version => "expected a hexadecimal number",
            Self::Weight => "expected a number that is not negative",
        }
    }
}

impl EntryProblem {
    /// What ZooKeeper answers to a reconfiguration with such a line: only what it expects to go wrong are bad
    /// arguments.
    pub(super) const fn code(self) -> ErrorCode {
        match self {
            Self::ClientForm
            | Self::DuplicateAddress
            | Self::Host
            | Self::MixedRoles
            | Self::Port
            | Self::SamePorts
            | Self::ServerForm
            | Self::TwoGroups(_)
            | Self::UnknownKey
            | Self::UnknownRole => ErrorCode::BADARGUMENTS,
            Self::GroupForm | Self::Id | Self::PortRange | Self::Version | Self::Weight => {
                ErrorCode::MARSHALLINGERROR
            }
        }
    }
}

impl fmt::Display for EntryProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected())?;
        if let Self::TwoGroups(server) = self { write!(f, ", and server {server} is in two") } else { Ok(()) }
    }
}

impl MembershipError {
    /// What ZooKeeper answers to a reconfiguration with this text.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Entry { problem, .. } => problem.code(),
            Self::NotInGroup(_) => ErrorCode::BADARGUMENTS,
            Self::GroupTooHeavy(_) | Self::NoVoters | Self::NoWeight(_) => ErrorCode::MARSHALLINGERROR,
        }
    }
}

impl fmt::Display for MembershipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry { line, key, value, problem } => {
                write!(f, "line {line}, {key}={value}: {problem}")
            }
            Self::GroupTooHeavy(group) => write!(f, "group.{group}: its servers weigh too much together"),
            Self::NoWeight(server) => {
                write!(f, "server {server} is in a group, but no participant and without a weight")
            }
            Self::NoVoters => f.write_str("there are observers, but no participants"),
            Self::NotInGroup(server) => {
                write!(f, "server.{server}: expected to be in a group, as there are groups")
            }
        }
    }
}

impl core::error::Error for MembershipError {}

impl Membership {
    /// Reads a configuration.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, MembershipError> {
        let mut parsed = Parsed::default();
        for Entry { line, key, value } in entries(text) {
            if let Err(problem) = parsed.entry(&key, &value) {
                return Err(MembershipError::Entry { line, key, value, problem });
            }
        }
        let Parsed { version, members, group_of, weights, hierarchical } = parsed;
        let mut membership = Self::majority(version, members);
        if hierarchical {
            membership.hierarchy = Some(hierarchy(&membership, group_of, weights)?);
        }
        if membership.voters().next().is_none() && !membership.members.is_empty() {
            return Err(MembershipError::NoVoters);
        }
        Ok(membership)
    }
}

/// What the lines so far say.
#[derive(Default)]
struct Parsed {
    version: i64,
    members: BTreeMap<ServerId, Member>,
    group_of: BTreeMap<ServerId, i64>,
    weights: BTreeMap<ServerId, i64>,
    hierarchical: bool,
}

impl Parsed {
    fn entry(&mut self, key: &str, value: &str) -> Result<(), EntryProblem> {
        if key == "version" {
            self.version = i64::from_str_radix(value, 16).map_err(|_| EntryProblem::Version)?;
        } else if let Some(id) = key.strip_prefix("server.") {
            self.members.insert(server_id(id)?, value.parse()?);
        } else if let Some(id) = key.strip_prefix("group.") {
            self.hierarchical = true;
            let group = server_id(id)?.0;
            for server in java_split(value, ':') {
                let server = ServerId(server.parse().map_err(|_| EntryProblem::GroupForm)?);
                if self.group_of.insert(server, group).is_some() {
                    return Err(EntryProblem::TwoGroups(server));
                }
            }
            if java_split(value, ':').is_empty() {
                return Err(EntryProblem::GroupForm);
            }
        } else if let Some(id) = key.strip_prefix("weight.") {
            self.hierarchical = true;
            let weight: i64 = value.parse().map_err(|_| EntryProblem::Weight)?;
            if weight < 0 {
                return Err(EntryProblem::Weight);
            }
            self.weights.insert(server_id(id)?, weight);
        } else {
            return Err(EntryProblem::UnknownKey);
        }
        Ok(())
    }
}

/// Every participant is in a group, and weighs 1 unless told otherwise.
fn hierarchy(
    membership: &Membership,
    group_of: BTreeMap<ServerId, i64>,
    mut weights: BTreeMap<ServerId, i64>,
) -> Result<Hierarchy, MembershipError> {
    for voter in membership.voters() {
        if !group_of.contains_key(&voter) {
            return Err(MembershipError::NotInGroup(voter));
        }
        weights.entry(voter).or_insert(1);
    }
    let mut group_weights: BTreeMap<i64, i64> = BTreeMap::new();
    for (&server, &group) in &group_of {
        let weight = *weights.get(&server).ok_or(MembershipError::NoWeight(server))?;
        let sum = group_weights.entry(group).or_default();
        *sum = sum.checked_add(weight).ok_or(MembershipError::GroupTooHeavy(group))?;
    }
    Ok(Hierarchy { group_of, weights, group_weights })
}

fn server_id(text: &str) -> Result<ServerId, EntryProblem> {
    text.parse().map(ServerId).map_err(|_| EntryProblem::Id)
}

/// The value of a `server.N` entry.
impl core::str::FromStr for Member {
    type Err = EntryProblem;

    fn from_str(text: &str) -> Result<Self, EntryProblem> {
        let (servers, client) = match java_split(text, ';')[..] {
            [servers] => (servers, None),
            [servers, client] => (servers, Some(client)),
            _ => return Err(EntryProblem::ServerForm),
        };
        let client = client.map(client_address).transpose()?;
        let mut member =
            Self { quorum: Vec::new(), election: Vec::new(), client, role: MemberRole::Participant };
        let mut role = None;
        let (mut quorums, mut elections) = (BTreeSet::new(), BTreeSet::new());
        for server in java_split(servers, '|') {
            let parts = host_and_ports(server)?;
            let (&[host, quorum, election], rest) =
                parts.split_first_chunk().ok_or(EntryProblem::ServerForm)?;
            let (quorum, election) = (Address::new(host, port(quorum)?), Address::new(host, port(election)?));
            if quorum.port == election.port {
                return Err(EntryProblem::SamePorts);
            }
            match rest {
                [] => {}
                [text] => {
                    let found = parse_role(text)?;
                    if *role.get_or_insert(found) != found {
                        return Err(EntryProblem::MixedRoles);
                    }
                }
                _ => return Err(EntryProblem::ServerForm),
            }
            if !quorums.insert(quorum.clone()) || !elections.insert(election.clone()) {
                return Err(EntryProblem::DuplicateAddress);
            }
            member.quorum.push(quorum);
            member.election.push(election);
        }
        if member.quorum.is_empty() {
            return Err(EntryProblem::ServerForm);
        }
        member.role = role.unwrap_or(MemberRole::Participant);
        Ok(member)
    }
}

fn client_address(text: &str) -> Result<Address, EntryProblem> {
    match host_and_ports(text)?[..] {
        [number] => Ok(Address::new("0.0.0.0", port(number)?)),
        [host, number] => Ok(Address::new(host, port(number)?)),
        _ => Err(EntryProblem::ClientForm),
    }
}

fn parse_role(text: &str) -> Result<MemberRole, EntryProblem> {
    match text.trim() {
        role if role.eq_ignore_ascii_case("observer") => Ok(MemberRole::Observer),
        role if role.eq_ignore_ascii_case("participant") => Ok(MemberRole::Participant),
        _ => Err(EntryProblem::UnknownRole),
    }
}

fn port(text: &str) -> Result<u16, EntryProblem> {
    let number: i32 = text.parse().map_err(|_| EntryProblem::Port)?;
    u16::try_from(number).map_err(|_| EntryProblem::PortRange)
}

/// What is between the colons, of which a host in brackets may have some. Where there is more than one part, the first
/// is a host.
fn host_and_ports(text: &str) -> Result<Vec<&str>, EntryProblem> {
    let parts = match text.strip_prefix('[') {
        None => java_split(text, ':'),
        Some(text) => {
            let (host, rest) = text.split_once("]:").ok_or(EntryProblem::Host)?;
            let mut parts = java_split(rest, ':');
            parts.insert(0, host);
            parts
        }
    };
    if parts.len() > 1 && !is_host(parts[0]) { Err(EntryProblem::Host) } else { Ok(parts) }
}

/// As Java's `split`: what is empty at the end is dropped.
fn java_split(text: &str, separator: char) -> Vec<&str> {
    let mut parts: Vec<&str> = text.split(separator).collect();
    while parts.pop_if(|last| last.is_empty()).is_some() {}
    parts
}
