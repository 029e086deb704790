//! All connections, and how many each address has.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;

use hashbrown::HashMap;

use super::Conn;
use crate::types::{ConnId, ConnIdHash};

/// The connections of a server. One that is being worked on is taken out and put back, so that the rest of the
/// server may be worked on at the same time.
#[derive(Debug, Default)]
pub struct ConnTable {
    /// `None`: taken out. Never iterated where order shows.
    conns: HashMap<ConnId, Option<Box<Conn>>, ConnIdHash>,
    /// Connections of each address; no address with none.
    by_address: BTreeMap<IpAddr, usize>,
}

impl ConnTable {
    /// A table without connections.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a connection.
    ///
    /// # Panics
    /// If its number was used before.
    pub fn insert(&mut self, conn: Conn) {
        *self.by_address.entry(conn.from.ip()).or_default() += 1;
        let before = self.conns.insert(conn.id, Some(Box::new(conn)));
        assert!(before.is_none(), "a connection's number was given twice");
    }

    /// The connection, unless it is gone or taken out.
    pub fn get(&self, id: ConnId) -> Option<&Conn> {
        self.conns.get(&id)?.as_deref()
    }

    /// The connection, to change it, unless it is gone or taken out.
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(&id)?.as_deref_mut()
    }

    /// Takes a connection out to be worked on.
    pub fn take(&mut self, id: ConnId) -> Option<Box<Conn>> {
        self.conns.get_mut(&id)?.take()
    }

    /// Puts a connection back that was taken out. If it was removed meanwhile, it stays gone.
    pub fn put_back(&mut self, conn: Box<Conn>) {
        if let Some(place) = self.conns.get_mut(&conn.id) {
            assert!(place.is_none(), "a connection was put back twice");
            *place = Some(conn);
        }
    }

    /// Forgets a connection, taken out or not.
    pub fn remove(&mut self, id: ConnId, from: IpAddr) {
        if self.conns.remove(&id).is_some() {
            let count = self.by_address.get_mut(&from).expect("every connection is counted");
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&from);
            }
        }
    }

    /// Every connection, in order.
    pub fn ids(&self) -> Vec<ConnId> {
        let mut ids: Vec<ConnId> = self.conns.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// How many connections the address has.
    pub fn count_of(&self, from: IpAddr) -> usize {
        self.by_address.get(&from).copied().unwrap_or(0)
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.conns.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    /// All connections in the order in which they came, for lists that people read.
    pub fn sorted(&self) -> Vec<&Conn> {
        let mut conns: Vec<&Conn> = self.conns.values().filter_map(Option::as_deref).collect();
        conns.sort_unstable_by_key(|conn| conn.id);
        conns
    }

    /// Does something to every connection; `change` must not depend on the order.
    pub fn for_each(&mut self, mut change: impl FnMut(&mut Conn)) {
        for conn in self.conns.values_mut().filter_map(Option::as_deref_mut) {
            change(conn);
        }
    }
}
