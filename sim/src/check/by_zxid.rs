//! What is known of each transaction, by its zxid. The counters of an epoch go up one by one from 1, and no run is long
//! enough for many: so a counter is a place in a list, and what every record of a transaction asks for needs no search.

use zabra_core::types::Zxid;

/// See the module.
#[derive(Clone, Debug)]
pub struct ByZxid<T> {
    /// Epochs, and what is known of each of their transactions, by counter. The latest epoch, which most is asked about,
    /// stands last.
    epochs: Vec<(u32, Vec<Option<T>>)>,
}

impl<T> Default for ByZxid<T> {
    fn default() -> Self {
        Self { epochs: Vec::new() }
    }
}

impl<T> ByZxid<T> {
    /// What is known of a transaction.
    pub fn get(&self, zxid: Zxid) -> Option<&T> {
        let (_, known) = self.epochs.iter().rev().find(|(epoch, _)| *epoch == zxid.epoch())?;
        known.get(zxid.counter() as usize)?.as_ref()
    }

    /// Likewise, to be changed.
    pub fn get_mut(&mut self, zxid: Zxid) -> Option<&mut T> {
        let (_, known) = self.epochs.iter_mut().rev().find(|(epoch, _)| *epoch == zxid.epoch())?;
        known.get_mut(zxid.counter() as usize)?.as_mut()
    }

    /// Something is known of a transaction from now on, in place of what was known of it before.
    pub fn insert(&mut self, zxid: Zxid, what: T) {
        let place = match self.epochs.binary_search_by_key(&zxid.epoch(), |(epoch, _)| *epoch) {
            Ok(place) => place,
            Err(place) => {
                self.epochs.insert(place, (zxid.epoch(), Vec::new()));
                place
            }
        };
        let (_, known) = &mut self.epochs[place];
        let counter = zxid.counter() as usize;
        if known.len() <= counter {
            known.resize_with(counter + 1, || None);
        }
        known[counter] = Some(what);
    }

    /// Forgets all that comes behind a transaction.
    pub fn forget_behind(&mut self, last: Zxid) {
        self.epochs.retain(|(epoch, _)| *epoch <= last.epoch());
        if let Some((_, known)) = self.epochs.last_mut().filter(|(epoch, _)| *epoch == last.epoch()) {
            known.truncate(last.counter() as usize + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_found_until_it_is_forgotten() {
        let all = [(1, 1), (1, 2), (4, 1), (2, 3), (2, 7)].map(|(epoch, counter)| Zxid::new(epoch, counter));
        let mut known = ByZxid::default();
        all.iter().for_each(|&zxid| known.insert(zxid, zxid.0));
        for zxid in [Zxid::ZERO, Zxid::new(1, 3), Zxid::new(2, 1), Zxid::new(3, 1), Zxid::new(4, 2)] {
            assert_eq!(known.get(zxid), None);
        }
        for last in [Zxid::new(9, 1), Zxid::new(3, 9), Zxid::new(2, 6), Zxid::new(1, 1), Zxid::ZERO] {
            known.forget_behind(last);
            for zxid in all {
                let expected = Some(zxid.0).filter(|_| zxid <= last);
                assert_eq!(known.get(zxid).copied(), expected, "{zxid} up to {last}");
                assert_eq!(known.get_mut(zxid).copied(), expected);
            }
        }
    }
}
