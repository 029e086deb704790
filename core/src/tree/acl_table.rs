//! Access control lists, each kept once and counted.
//!
//! Znodes refer to entries by a small number of this process. Snapshots call an entry by its id, numbered as
//! ZooKeeper does: -1 is "everyone may do everything", every other list gets the next number from 1 upward.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use ahash::RandomState;
use hashbrown::HashTable;

use crate::types::{Acl, AclList, Id, Perms};

/// The entry every znode has unless something else was asked for; it is not counted.
pub(super) const OPEN: u32 = 0;
/// The id of that entry in snapshots.
const OPEN_ID: i64 = -1;

/// The lists in use.
#[derive(Debug)]
pub(super) struct AclTable {
    hasher: RandomState,
    /// Entry [`OPEN`] is always there.
    entries: Vec<Option<Entry>>,
    /// Exactly the empty places of `entries`.
    free: Vec<u32>,
    /// Every entry but [`OPEN`] by its list; never iterated.
    by_list: HashTable<u32>,
    /// The highest id ever given out.
    last_id: i64,
    /// While a snapshot is taken, the highest id that existed when it began: such entries are kept even when
    /// unused, because znodes in the snapshot may refer to them.
    pinned: Option<i64>,
}

#[derive(Debug)]
struct Entry {
    id: i64,
    list: AclList,
    /// Znodes that have this list. Zero only while loading or pinned.
    uses: u64,
}

impl AclTable {
    pub(super) fn new(hasher: RandomState) -> Self {
        let open = Entry { id: OPEN_ID, list: AclList::OpenUnsafe, uses: 0 };
        Self {
            hasher,
            entries: vec![Some(open)],
            free: Vec::new(),
            by_list: HashTable::new(),
            last_id: 0,
            pinned: None,
        }
    }

    /// The list of `entry`.
    pub(super) fn list(&self, entry: u32) -> &AclList {
        &self.entry(entry).list
    }

    /// The id of `entry` in snapshots.
    pub(super) fn id(&self, entry: u32) -> i64 {
        self.entry(entry).id
    }

    /// The entry for `list`, counted once more.
    pub(super) fn acquire(&mut self, list: AclList) -> u32 {
        if list == AclList::OpenUnsafe {
            return OPEN;
        }
        let entry = self.find(&list).unwrap_or_else(|| self.add_next(list));
        self.count(entry);
        entry
    }

    /// Counts one more znode with `entry`.
    pub(super) fn count(&mut self, entry: u32) {
        if entry != OPEN {
            self.entry_mut(entry).uses += 1;
        }
    }

    /// Counts one znode less with `entry`, and drops the entry after the last.
    pub(super) fn release(&mut self, entry: u32) {
        if entry == OPEN {
            return;
        }
        let pinned = self.pinned;
        let Entry { uses, id, .. } = self.entry_mut(entry);
        assert!(*uses > 0, "an ACL is released once for each znode that has it");
        *uses -= 1;
        if *uses == 0 && pinned.is_none_or(|pinned| *id > pinned) {
            self.drop_entry(entry);
        }
    }

    /// Keeps every entry there is now until [`AclTable::unpin`].
    pub(super) fn pin(&mut self) {
        self.pinned = Some(self.last_id);
    }

    /// Ends [`AclTable::pin`].
    pub(super) fn unpin(&mut self) {
        self.pinned = None;
        self.purge();
    }

    /// Entries for a snapshot by ascending id: those at [`AclTable::pin`] if that is in force.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, &AclList)> + Clone {
        let last = self.pinned.unwrap_or(i64::MAX);
        let mut entries: Vec<(i64, &AclList)> = self.entries[1..]
            .iter()
            .flatten()
            .filter(|entry| entry.id <= last)
            .map(|entry| (entry.id, &entry.list))
            .collect();
        entries.sort_unstable_by_key(|&(id, _)| id);
        entries.into_iter()
    }

    /// Checks that each entry counts exactly the znodes that have it, given every znode's entry.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn check_uses(&self, used: impl Iterator<Item = u32>) {
        let mut counts = vec![0; self.entries.len()];
        for entry in used {
            counts[entry as usize] += 1;
        }
        for (entry, &count) in self.entries.iter().zip(&counts).skip(1) {
            assert_eq!(entry.as_ref().map_or(0, |entry| entry.uses), count);
            assert!(entry.as_ref().is_none_or(|entry| entry.uses > 0 || self.pinned.is_some()));
        }
    }

    /// Drops what no znode has.
    fn purge(&mut self) {
        for entry in 1..self.entries.len() as u32 {
            if self.entries[entry as usize].as_ref().is_some_and(|entry| entry.uses == 0) {
                self.drop_entry(entry);
            }
        }
    }

    fn entry(&self, entry: u32) -> &Entry {
        self.entries[entry as usize].as_ref().expect("an ACL that a znode has is in the table")
    }

    fn entry_mut(&mut self, entry: u32) -> &mut Entry {
        self.entries[entry as usize].as_mut().expect("an ACL that a znode has is in the table")
    }

    fn find(&self, list: &AclList) -> Option<u32> {
        let hash = self.hasher.hash_one(list);
        self.by_list.find(hash, |&entry| self.entry(entry).list == *list).copied()
    }

    fn add_next(&mut self, list: AclList) -> u32 {
        self.last_id += 1;
        let Self { hasher, entries, free, by_list, last_id: id, .. } = self;
        let hash = hasher.hash_one(&list);
        let place = free.pop().unwrap_or_else(|| {
            entries.push(None);
            u32::try_from(entries.len() - 1).expect("fewer ACLs than znodes")
        });
        entries[place as usize] = Some(Entry { id: *id, list, uses: 0 });
        by_list.insert_unique(hash, place, |&entry| {
            hasher.hash_one(&entries[entry as usize].as_ref().expect("indexed entries are there").list)
        });
        place
    }

    fn drop_entry(&mut self, entry: u32) {
        let gone = self.entries[entry as usize].take().expect("only an entry that is there is dropped");
        let hash = self.hasher.hash_one(&gone.list);
        self.by_list.find_entry(hash, |&other| other == entry).expect("every entry is indexed").remove();
        self.free.push(entry);
    }
}

/// Fills an [`AclTable`] from a snapshot, whose ids may have gaps, repeat a list, or miss one that is used.
#[derive(Debug, Default)]
pub(super) struct AclLoader {
    by_id: BTreeMap<i64, u32>,
}

impl AclLoader {
    /// Takes up one line of the snapshot's map. The list gets an id of this table's own: those that follow it have to be
    /// larger, and a snapshot may say that this is the largest there is.
    pub(super) fn load(&mut self, table: &mut AclTable, id: i64, list: AclList) {
        let entry = if list == AclList::OpenUnsafe {
            OPEN
        } else {
            table.find(&list).unwrap_or_else(|| table.add_next(list))
        };
        self.by_id.insert(id, entry);
    }

    /// The entry that the snapshot calls `id`, counted once more.
    ///
    /// A fuzzy snapshot can use an id that its map does not have yet; replay then names the ACL again. Until it
    /// does, such a znode is closed to everyone: a Java server stops at the first access.
    pub(super) fn acquire(&mut self, table: &mut AclTable, id: i64) -> u32 {
        if id == OPEN_ID {
            return OPEN;
        }
        let entry = match self.by_id.get(&id) {
            Some(&entry) => entry,
            None => {
                self.load(table, id, AclList::from(vec![Acl { perms: Perms(0), id: Id::ANYONE }]));
                self.by_id[&id]
            }
        };
        table.count(entry);
        entry
    }

    /// Drops the lists that no znode turned out to have.
    pub(super) fn finish(self, table: &mut AclTable) {
        table.purge();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(user: &str) -> AclList {
        AclList::from(vec![Acl { perms: Perms::ALL, id: Id::new("digest", user) }])
    }

    fn table() -> AclTable {
        AclTable::new(RandomState::with_seeds(1, 2, 3, 4))
    }

    fn ids(table: &AclTable) -> Vec<i64> {
        table.iter().map(|(id, _)| id).collect()
    }

    /// PARITY `acl.cache`.
    #[test]
    fn acl_cache() {
        let mut table = table();
        assert_eq!(table.acquire(AclList::OpenUnsafe), OPEN);
        assert_eq!(table.id(OPEN), -1);
        let a = table.acquire(digest("a"));
        let b = table.acquire(digest("b"));
        assert_eq!(table.acquire(digest("a")), a);
        assert_eq!((table.id(a), table.id(b)), (1, 2));
        table.release(a);
        assert_eq!(ids(&table), [1, 2]);
        table.release(a);
        assert_eq!(ids(&table), [2]);
        // Numbers are not used again, places in the table are.
        let c = table.acquire(digest("c"));
        assert_eq!(c, a);
        assert_eq!(ids(&table), [2, 3]);
    }

    #[test]
    fn pinned_entries_stay_until_the_snapshot_ends() {
        let mut table = table();
        let a = table.acquire(digest("a"));
        table.pin();
        table.release(a);
        let b = table.acquire(digest("b"));
        assert_eq!(ids(&table), [1]);
        assert_eq!(table.acquire(digest("a")), a);
        table.release(a);
        table.unpin();
        assert_eq!(ids(&table), [2]);
        assert_eq!(table.list(b), &digest("b"));
    }

    #[test]
    fn load_remaps_and_purges() {
        let mut table = table();
        let mut loader = AclLoader::default();
        loader.load(&mut table, 7, digest("a"));
        loader.load(&mut table, 3, AclList::OpenUnsafe);
        loader.load(&mut table, i64::MAX, digest("a"));
        loader.load(&mut table, 5, digest("unused"));
        assert_eq!(loader.acquire(&mut table, 3), OPEN);
        let a = loader.acquire(&mut table, i64::MAX);
        assert_eq!(loader.acquire(&mut table, 7), a);
        let missing = loader.acquire(&mut table, 12);
        assert!(table.list(missing).entries().iter().all(|acl| acl.perms == Perms(0)));
        loader.finish(&mut table);
        assert_eq!(ids(&table), [1, 3]);
        let next = table.acquire(digest("next"));
        assert_eq!(table.id(next), 4);
    }
}
