//! Numbered slots in chunks: a value keeps its number, and growing moves nothing.
//!
//! A plain vector doubles by copying, which for a large tree is a pause and half the memory wasted. Slots are
//! reused from the lowest number that is allowed, and chunks at the end are given back once they are empty.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// Slots in a chunk.
const CHUNK: u32 = 1024;

/// Values of type `T` under numbers from zero upward.
#[derive(Debug)]
pub(super) struct Slab<T> {
    /// Every chunk holds exactly [`CHUNK`] slots, so a slot's place follows from its number.
    chunks: Vec<Chunk<T>>,
    /// Exactly the empty slots of `chunks` below `end`.
    free: BTreeSet<u32>,
    /// One above the highest slot ever handed out of the chunks that are still there.
    end: u32,
}

#[derive(Debug)]
struct Chunk<T> {
    slots: Vec<Option<T>>,
    /// How many of `slots` hold a value.
    live: u32,
}

impl<T> Slab<T> {
    /// No slots.
    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new(), free: BTreeSet::new(), end: 0 }
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.end as usize - self.free.len()
    }

    /// One above the highest slot that may hold a value.
    pub(super) const fn end(&self) -> u32 {
        self.end
    }

    /// The value at `slot`.
    ///
    /// # Panics
    /// If the slot is empty: slots are known only through values that are there.
    pub(super) fn get(&self, slot: u32) -> &T {
        self.try_get(slot).expect("a slot that is referred to holds a value")
    }

    /// The value at `slot`, if there is one.
    pub(super) fn try_get(&self, slot: u32) -> Option<&T> {
        self.chunks.get((slot / CHUNK) as usize)?.slots.get((slot % CHUNK) as usize)?.as_ref()
    }

    /// The value at `slot`, for changing it.
    ///
    /// # Panics
    /// If the slot is empty.
    pub(super) fn get_mut(&mut self, slot: u32) -> &mut T {
        self.chunks
            .get_mut((slot / CHUNK) as usize)
            .and_then(|chunk| chunk.slots.get_mut((slot % CHUNK) as usize)?.as_mut())
            .expect("a slot that is referred to holds a value")
    }

    /// Puts `value` into the lowest free slot that is not below `floor`, and says which that is.
    pub(super) fn insert(&mut self, floor: u32, value: T) -> u32 {
        let slot = match self.free.range(floor..).next() {
            Some(&slot) => {
                self.free.remove(&slot);
                slot
            }
            None => self.push(),
        };
        // The floor is one above a slot in use, so the end is never below it.
        assert!(slot >= floor);
        let chunk = &mut self.chunks[(slot / CHUNK) as usize];
        let place = &mut chunk.slots[(slot % CHUNK) as usize];
        assert!(place.is_none(), "a free slot holds nothing");
        *place = Some(value);
        chunk.live += 1;
        slot
    }

    /// Takes the value out of `slot`.
    ///
    /// # Panics
    /// If the slot is empty.
    pub(super) fn remove(&mut self, slot: u32) -> T {
        let chunk = &mut self.chunks[(slot / CHUNK) as usize];
        let value = chunk.slots[(slot % CHUNK) as usize].take().expect("a removed slot holds a value");
        chunk.live -= 1;
        self.free.insert(slot);
        self.release_end();
        value
    }

    /// Slots that hold a value, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..self.end).filter_map(|slot| Some((slot, self.try_get(slot)?)))
    }

    fn push(&mut self) -> u32 {
        let slot = self.end;
        // The highest number is left to mean "no slot".
        assert!(slot < u32::MAX - 1, "a slab holds no more than 2^32 - 2 values");
        if slot.is_multiple_of(CHUNK) {
            let mut slots = Vec::with_capacity(CHUNK as usize);
            slots.resize_with(CHUNK as usize, || None);
            self.chunks.push(Chunk { slots, live: 0 });
        }
        self.end += 1;
        slot
    }

    /// Gives back empty chunks at the end, but for one: a value that comes and goes must not cost a chunk each
    /// time.
    fn release_end(&mut self) {
        while let [.., previous, last] = self.chunks.as_slice()
            && previous.live == 0
            && last.live == 0
        {
            self.chunks.pop();
            let end = self.chunks.len() as u32 * CHUNK;
            self.free.split_off(&end);
            self.end = self.end.min(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_reused_above_the_floor() {
        let mut slab = Slab::new();
        for n in 0..10 {
            assert_eq!(slab.insert(0, n), n);
        }
        for slot in [2, 5, 7] {
            assert_eq!(slab.remove(slot), slot);
        }
        assert_eq!(slab.len(), 7);
        assert_eq!(slab.insert(3, 100), 5);
        assert_eq!(slab.insert(0, 101), 2);
        assert_eq!(slab.insert(9, 102), 10);
        assert_eq!(slab.insert(6, 103), 7);
        assert_eq!(slab.try_get(11), None);
        assert_eq!(*slab.get(5), 100);
        assert_eq!(slab.iter().count(), 11);
    }

    #[test]
    fn empty_chunks_at_the_end_are_given_back() {
        let mut slab = Slab::new();
        for n in 0..CHUNK * 5 + 10 {
            slab.insert(0, n);
        }
        for slot in 10..CHUNK * 5 + 10 {
            slab.remove(slot);
        }
        assert_eq!(slab.chunks.len(), 2);
        assert_eq!(slab.len(), 10);
        assert_eq!(slab.insert(0, 1), 10);
        for n in 0..CHUNK * 3 {
            slab.insert(0, n);
        }
        assert_eq!(slab.len() as u32, 11 + CHUNK * 3);
        assert_eq!(slab.iter().count() as u32, 11 + CHUNK * 3);
    }
}
