//! What is known of each request, by its session and its number. A session's requests are numbered upwards, so most of what
//! is put in goes to the end of a list, and the lists of the few sessions are found fast.

use std::collections::BTreeMap;

use zabra_core::types::SessionId;

/// See the module.
#[derive(Clone, Debug)]
pub struct ByRequest<T> {
    /// In ascending order of numbers.
    sessions: BTreeMap<SessionId, Vec<(i32, T)>>,
}

impl<T> Default for ByRequest<T> {
    fn default() -> Self {
        Self { sessions: BTreeMap::new() }
    }
}

impl<T> ByRequest<T> {
    /// What is known of a request.
    pub fn get(&self, session: SessionId, xid: i32) -> Option<&T> {
        let known = self.sessions.get(&session)?;
        let place = known.binary_search_by_key(&xid, |(xid, _)| *xid).ok()?;
        Some(&known[place].1)
    }

    /// Something is known of a request from now on. Answers what was known of it before.
    pub fn insert(&mut self, session: SessionId, xid: i32, what: T) -> Option<T> {
        let known = self.sessions.entry(session).or_default();
        if known.last().is_none_or(|(last, _)| *last < xid) {
            known.push((xid, what));
            return None;
        }
        match known.binary_search_by_key(&xid, |(xid, _)| *xid) {
            Ok(place) => Some(std::mem::replace(&mut known[place].1, what)),
            Err(place) => {
                known.insert(place, (xid, what));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_found_and_what_was_there_is_answered() {
        let mut known = ByRequest::default();
        for (session, xid) in [(1, 2), (1, 5), (2, 5), (1, 1), (1, 3)] {
            assert_eq!(known.insert(SessionId(session), xid, (session, xid)), None);
        }
        for (session, xid) in [(1, 1), (1, 2), (1, 3), (1, 5), (2, 5)] {
            assert_eq!(known.get(SessionId(session), xid), Some(&(session, xid)));
        }
        for (session, xid) in [(1, 0), (1, 4), (1, 6), (2, 1), (3, 5)] {
            assert_eq!(known.get(SessionId(session), xid), None);
        }
        assert_eq!(known.insert(SessionId(1), 3, (9, 9)), Some((1, 3)));
        assert_eq!(known.get(SessionId(1), 3), Some(&(9, 9)));
    }
}
