//! One file as a disk keeps it: what the operating system shows, what a power failure leaves, and what lies
//! between the two.

use bytes::Bytes;

use super::content::Content;
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
    fn apply(self, to: &mut Content) {
        match self {
            Self::SetLen(len) => to.set_len(len),
            Self::Write { offset, bytes } => to.write(offset, bytes),
        }
    }
}

/// A file's content. Invariant: `durable` with all of `pending` applied is `image`, unless it `is_odd`.
#[derive(Clone, Debug, Default)]
pub struct SimFile {
    image: Content,
    durable: Content,
    pending: Vec<Pending>,
    /// A sync has failed, or bits have rotted.
    is_odd: bool,
}

impl SimFile {
    /// What a read sees.
    pub const fn image(&self) -> &Content {
        &self.image
    }

    /// What a power failure leaves for certain.
    pub const fn durable(&self) -> &Content {
        &self.durable
    }

    /// Writes `bytes` at `offset`, for now to the operating system only.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        // A copy: what the server wrote lies in more memory than it needs.
        self.change(Pending::Write { offset, bytes: Bytes::copy_from_slice(bytes) });
    }

    /// Cuts or grows the file, for now in the operating system only.
    pub fn set_len(&mut self, len: usize) {
        self.change(Pending::SetLen(len));
    }

    fn change(&mut self, change: Pending) {
        change.clone().apply(&mut self.image);
        self.pending.push(change);
    }

    /// Makes all changes durable.
    pub fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
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
            if let [byte] = copy.read(offset..offset + 1)[..] {
                copy.write(offset, Bytes::copy_from_slice(&[byte ^ bits]));
            }
        }
    }

    /// Loses the power: each pending change is lost, kept or torn, and what is left is on the medium.
    pub fn lose_power(&mut self, rng: &mut Rng, profile: &TearProfile) {
        if self.pending.is_empty() && !self.is_odd {
            return;
        }
        for change in self.pending.drain(..) {
            if rng.chance(profile.lost) {
                continue;
            }
            let torn = rng.chance(profile.torn);
            let scattered = rng.chance(profile.scattered);
            let durable = &mut self.durable;
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
fn scatter(durable: &mut Content, offset: usize, bytes: &Bytes, rng: &mut Rng, sector: usize) {
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
    durable.set_len(durable.len().max(offset + bytes.len()));
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
            file.write(0, b"safe");
            file.sync();
            file.write(4, b"risk");
            assert_eq!(file.image().to_vec(), b"saferisk");
            assert_eq!(file.durable().to_vec(), b"safe");
            file.lose_power(&mut rng, &TEAR);
            let image = file.image().to_vec();
            assert!(image.starts_with(b"safe"), "synced data is gone");
            assert_eq!(image, file.durable().to_vec());
            match &image[4..] {
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
        file.write(0, b"gone");
        file.fail_sync();
        file.sync();
        assert_eq!(file.image().to_vec(), b"gone");
        file.lose_power(&mut rng, &TearProfile { lost: 0, torn: 0, scattered: 0, sector: 1 });
        assert!(file.image().is_empty());
    }

    #[test]
    fn sectors_are_whole_or_not_there() {
        let mut rng = Seed(1).stream("test", 0);
        let profile = TearProfile { lost: 0, torn: 1_000_000, scattered: 500_000, sector: 4 };
        for _ in 0..200 {
            let mut file = SimFile::default();
            file.set_len(2);
            file.sync();
            file.write(2, &[1; 13]);
            file.lose_power(&mut rng, &profile);
            let image = file.image().to_vec();
            for sector in image[2..].chunks(4) {
                // Bytes 2 and 3 belong to the first sector, so chunks from byte 2 on are shifted by half of one.
                assert!(sector.len() <= 4);
            }
            for sector in image.chunks(4).skip(1) {
                assert!(sector.iter().all(|&b| b == sector[0]), "{image:?}");
            }
        }
    }
}
