//! One file as a disk keeps it: what the operating system shows, what a power failure leaves, and what lies
//! between the two.

use std::rc::Rc;

use bytes::Bytes;

use crate::seed::Rng;

/// How a power failure treats writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TearProfile {
    /// Odds, per million, that a pending change is lost altogether.
    pub lost: u32,
    /// Odds, per million, that one which is not lost is torn.
    pub torn: u32,
    /// Odds, per million, that a torn write keeps any subset of its sectors instead of a beginning.
    ///
    /// A beginning is what file systems that allocate late and journal sizes leave of an append. A subset may put
    /// whole records behind a hole, which looks just like damage to acknowledged data.
    pub scattered: u32,
    /// Bytes that the disk writes at once or not at all; 1 tears anywhere.
    pub sector: usize,
}

/// A change that is not on the medium yet.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pending {
    SetLen(usize),
    Write { offset: usize, bytes: Bytes },
}

impl Pending {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::SetLen(len) => to.resize(*len, 0),
            Self::Write { offset, bytes } => {
                if to.len() < *offset {
                    to.resize(*offset, 0);
                }
                let behind = &mut to[*offset..];
                let (over, beyond) = bytes.split_at(behind.len().min(bytes.len()));
                behind[..over.len()].copy_from_slice(over);
                to.extend_from_slice(beyond);
            }
        }
    }
}

/// A file's content. Invariant: `durable` with all of `pending` applied is `image`, unless it `is_odd`. Where both are the same
/// they may be kept once: most files, all snapshots among them, are written, synced and never changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimFile {
    image: Rc<Vec<u8>>,
    durable: Rc<Vec<u8>>,
    pending: Vec<Pending>,
    /// A sync has failed, or bits have rotted.
    is_odd: bool,
}

impl SimFile {
    /// What a read sees.
    pub fn image(&self) -> &[u8] {
        &self.image
    }

    /// What a power failure leaves for certain.
    pub fn durable(&self) -> &[u8] {
        &self.durable
    }

    /// Writes `bytes` at `offset`, for now to the operating system only.
    pub fn write(&mut self, offset: usize, bytes: Bytes) {
        self.change(Pending::Write { offset, bytes });
    }

    /// Cuts or grows the file, for now in the operating system only.
    pub fn set_len(&mut self, len: usize) {
        self.change(Pending::SetLen(len));
    }

    fn change(&mut self, change: Pending) {
        change.apply(Rc::make_mut(&mut self.image));
        self.pending.push(change);
    }

    /// Makes all changes durable.
    pub fn sync(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        if self.durable.is_empty() && !self.is_odd {
            self.durable = self.image.clone();
            return self.pending.clear();
        }
        let durable = Rc::make_mut(&mut self.durable);
        // Grows once, and not with every change.
        durable.reserve(self.image.len().saturating_sub(durable.len()));
        for change in self.pending.drain(..) {
            change.apply(durable);
        }
    }

    /// Fails to make changes durable, as Linux does: the pages count as clean from now on, so reads still show
    /// them, and a second sync reports success although nothing of them is on the medium.
    pub fn fail_sync(&mut self) {
        self.pending.clear();
        self.is_odd = true;
    }

    /// Turns `bits` of one byte around, on the medium and in the cache.
    pub fn rot(&mut self, offset: usize, bits: u8) {
        self.is_odd = true;
        for copy in [&mut self.image, &mut self.durable] {
            if let Some(byte) = Rc::make_mut(copy).get_mut(offset) {
                *byte ^= bits;
            }
        }
    }

    /// Loses the power: each pending change is lost, kept or torn, and what is left is on the medium.
    pub fn lose_power(&mut self, rng: &mut Rng, profile: &TearProfile) {
        for change in self.pending.drain(..) {
            if rng.chance(profile.lost) {
                continue;
            }
            let torn = rng.chance(profile.torn);
            let scattered = rng.chance(profile.scattered);
            let durable = Rc::make_mut(&mut self.durable);
            match change {
                Pending::Write { offset, bytes } if torn && scattered => {
                    scatter(durable, offset, &bytes, rng, profile.sector);
                }
                Pending::Write { offset, bytes } if torn => {
                    let cut = rng.index(bytes.len() + 1);
                    // Sectors are aligned in the file, not in the write.
                    let cut = ((offset + cut) / profile.sector * profile.sector).saturating_sub(offset);
                    Pending::Write { offset, bytes: bytes.slice(..cut.min(bytes.len())) }.apply(durable);
                }
                whole => whole.apply(durable),
            }
        }
        self.image = self.durable.clone();
        self.is_odd = false;
    }
}

/// Writes any subset of the sectors that `bytes` touches; the length of the file is that of the whole write.
fn scatter(durable: &mut Vec<u8>, offset: usize, bytes: &Bytes, rng: &mut Rng, sector: usize) {
    let mut at = 0;
    while at < bytes.len() {
        let end = ((offset + at) / sector + 1) * sector - offset;
        let piece = bytes.slice(at..end.min(bytes.len()));
        let len = piece.len();
        if rng.chance(500_000) {
            Pending::Write { offset: offset + at, bytes: piece }.apply(durable);
        }
        at += len;
    }
    let len = offset + bytes.len();
    if durable.len() < len {
        durable.resize(len, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    const TEAR: TearProfile = TearProfile { lost: 300_000, torn: 500_000, scattered: 300_000, sector: 1 };

    #[test]
    fn synced_bytes_survive_and_the_rest_may_not() {
        let mut rng = Seed(1).stream("test", 0);
        let (mut lost, mut kept, mut torn) = (0, 0, 0);
        for _ in 0..300 {
            let mut file = SimFile::default();
            file.write(0, Bytes::from_static(b"safe"));
            file.sync();
            file.write(4, Bytes::from_static(b"risk"));
            assert_eq!(file.image(), b"saferisk");
            assert_eq!(file.durable(), b"safe");
            file.lose_power(&mut rng, &TEAR);
            assert!(file.image().starts_with(b"safe"), "synced data is gone");
            assert_eq!(file.image(), file.durable());
            match &file.image()[4..] {
                b"" => lost += 1,
                b"risk" => kept += 1,
                _ => torn += 1,
            }
        }
        assert!(lost > 50 && kept > 50 && torn > 50, "{lost} lost, {kept} kept, {torn} torn");
    }

    #[test]
    fn a_failed_sync_leaves_pages_clean_and_the_medium_as_it_was() {
        let mut rng = Seed(1).stream("test", 0);
        let mut file = SimFile::default();
        file.write(0, Bytes::from_static(b"gone"));
        file.fail_sync();
        file.sync();
        assert_eq!(file.image(), b"gone");
        file.lose_power(&mut rng, &TearProfile { lost: 0, torn: 0, scattered: 0, sector: 1 });
        assert_eq!(file.image(), b"");
    }

    #[test]
    fn sectors_are_whole_or_not_there() {
        let mut rng = Seed(1).stream("test", 0);
        let profile = TearProfile { lost: 0, torn: 1_000_000, scattered: 500_000, sector: 4 };
        for _ in 0..200 {
            let mut file = SimFile::default();
            file.set_len(2);
            file.sync();
            file.write(2, Bytes::from_static(&[1; 13]));
            file.lose_power(&mut rng, &profile);
            for sector in file.image()[2..].chunks(4) {
                // Bytes 2 and 3 belong to the first sector, so chunks from byte 2 on are shifted by half of one.
                assert!(sector.len() <= 4);
            }
            for sector in file.image().chunks(4).skip(1) {
                assert!(sector.iter().all(|&b| b == sector[0]), "{:?}", file.image());
            }
        }
    }
}
