//! What many measurements come to: how many, least, most, mean, and what most of them stay below; printed as ZooKeeper
//! does.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::{format, vec};
use core::fmt::{self, Write};
use core::time::Duration;

/// Number, sum, least and most of what was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Summary {
    /// Nothing was measured yet.
    pub const NONE: Self = Self { count: 0, sum: 0, min: 0, max: 0 };

    /// Adds a measurement.
    pub fn add(&mut self, value: u64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.sum = self.sum.saturating_add(value);
        self.count += 1;
    }

    /// Adds a time in whole milliseconds, which is how ZooKeeper counts.
    pub fn add_ms(&mut self, time: Duration) {
        self.add(millis(time));
    }

    /// How many were measured.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The least, 0 if nothing was measured.
    pub const fn min(&self) -> u64 {
        self.min
    }

    /// The most, 0 if nothing was measured.
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// The mean without its fraction.
    pub const fn whole_mean(&self) -> u64 {
        match self.sum.checked_div(self.count) {
            Some(mean) => mean,
            None => 0,
        }
    }

    /// The mean, as ZooKeeper prints it.
    pub fn mean(&self) -> Decimal {
        let (sum, count) = (u128::from(self.sum), u128::from(self.count));
        let rounded = (sum * 10_000 + count / 2).checked_div(count).unwrap_or_default();
        Decimal(u64::try_from(rounded).unwrap_or(u64::MAX))
    }

    /// Its lines of `mntr`, with the name that ZooKeeper gives it.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, name: &str, out: &mut dyn Write) -> fmt::Result {
        writeln!(out, "zk_avg_{name}\t{}", self.mean())?;
        writeln!(out, "zk_min_{name}\t{}", self.min)?;
        writeln!(out, "zk_max_{name}\t{}", self.max)?;
        writeln!(out, "zk_cnt_{name}\t{}", self.count)?;
        writeln!(out, "zk_sum_{name}\t{}", self.sum)
    }
}

/// Times below this are told apart to the millisecond.
const EXACT: u64 = 64;
/// Beyond it each power of two has so many buckets: what is read from them is wrong by no more than 1/32.
const BUCKETS_PER_POWER: u64 = 32;
/// Powers of two that have buckets of their own: up to 2³² ms, and whatever is longer counts as that.
const POWERS: u64 = 26;
const BUCKETS: usize = (EXACT + POWERS * BUCKETS_PER_POWER) as usize;

/// A summary of times that also knows the percentiles.
///
/// All measurements count, in buckets; ZooKeeper goes by a sample of them.
#[derive(Clone, Debug)]
pub struct Percentiles {
    summary: Summary,
    buckets: Box<[u64]>,
}

impl Default for Percentiles {
    fn default() -> Self {
        Self { summary: Summary::NONE, buckets: vec![0; BUCKETS].into() }
    }
}

impl Percentiles {
    /// Adds a time, in whole milliseconds.
    pub fn add_ms(&mut self, time: Duration) {
        let ms = millis(time);
        self.summary.add(ms);
        self.buckets[bucket_of(ms)] += 1;
    }

    /// The least number of milliseconds that `permille` of all times do not exceed, 0 if nothing was measured.
    fn percentile(&self, permille: u64) -> u64 {
        let rank = (u128::from(self.summary.count) * u128::from(permille)).div_ceil(1000).max(1);
        let mut seen = 0;
        for (bucket, &count) in self.buckets.iter().enumerate() {
            seen += u128::from(count);
            if seen >= rank {
                return upper_end(bucket).min(self.summary.max);
            }
        }
        0
    }

    /// Its lines of `mntr`, with the name that ZooKeeper gives it.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, name: &str, out: &mut dyn Write) -> fmt::Result {
        self.summary.write(name, out)?;
        for (label, permille) in [("p50", 500), ("p95", 950), ("p99", 990), ("p999", 999)] {
            writeln!(out, "zk_{label}_{name}\t{}", self.percentile(permille))?;
        }
        Ok(())
    }
}

fn bucket_of(ms: u64) -> usize {
    if ms < EXACT {
        return ms as usize;
    }
    // Six bits are exact, so the seventh is the first power with buckets.
    let power = u64::from(ms.ilog2()) - 6;
    if power >= POWERS {
        return BUCKETS - 1;
    }
    let within = (ms >> (power + 1)) - BUCKETS_PER_POWER;
    (EXACT + power * BUCKETS_PER_POWER + within) as usize
}

/// The largest time that falls into the bucket.
const fn upper_end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < EXACT {
        return bucket;
    }
    let (power, within) = ((bucket - EXACT) / BUCKETS_PER_POWER, (bucket - EXACT) % BUCKETS_PER_POWER);
    ((BUCKETS_PER_POWER + within + 1) << (power + 1)) - 1
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The last, the smallest and the largest of some sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    seen: Option<(usize, usize, usize)>,
}

impl Sizes {
    /// Adds the newest.
    pub fn add(&mut self, bytes: usize) {
        let (_, min, max) = self.seen.unwrap_or((bytes, bytes, bytes));
        self.seen = Some((bytes, min.min(bytes), max.max(bytes)));
    }

    /// Its lines of `mntr`, -1 each where there was nothing yet.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, name: &str, out: &mut dyn Write) -> fmt::Result {
        for (which, size) in ["last", "min", "max"].into_iter().zip(self.each()) {
            writeln!(out, "zk_{which}_{name}\t{size}")?;
        }
        Ok(())
    }

    /// Last, smallest, largest.
    fn each(&self) -> [i64; 3] {
        let size = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.seen.map_or([-1; 3], |(last, min, max)| [size(last), size(min), size(max)])
    }
}

/// As `srvr` has them.
impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [last, min, max] = self.each();
        write!(f, "{last}/{min}/{max}")
    }
}

/// Ten-thousandths, printed the way Java prints such a double: `0.0`, `0.25`, `5.0E-4`, `1.25E7`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal(pub u64);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ONE: u64 = 10_000;
        let plain = |whole: u64, rest: String| {
            let digits = rest.trim_end_matches('0');
            if digits.is_empty() { format!("{whole}.0") } else { format!("{whole}.{digits}") }
        };
        match self.0 {
            0 => f.write_str("0.0"),
            small @ 1..10 => write!(f, "{small}.0E-4"),
            value if value < 10_000_000 * ONE => {
                f.write_str(&plain(value / ONE, format!("{:04}", value % ONE)))
            }
            large => {
                let power = large.ilog10();
                let unit = 10_u64.pow(power);
                let rest = format!("{:0width$}", large % unit, width = power as usize);
                write!(f, "{}E{}", plain(large / unit, rest), power - 4)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn decimals_print_as_java_prints_them() {
        for (value, text) in [
            (0, "0.0"),
            (1, "1.0E-4"),
            (9, "9.0E-4"),
            (10, "0.001"),
            (2_500, "0.25"),
            (10_000, "1.0"),
            (123_456, "12.3456"),
            (99_999_999_999, "9999999.9999"),
            (100_000_000_000, "1.0E7"),
            (123_456_780_000, "1.2345678E7"),
            (1_000_000_500_000, "1.0000005E8"),
        ] {
            assert_eq!(Decimal(value).to_string(), text);
        }
    }

    #[test]
    fn means_are_rounded_to_four_digits() {
        for (values, mean) in [
            (&[][..], "0.0"),
            (&[1, 2], "1.5"),
            (&[0, 0, 1], "0.3333"),
            (&[1, 1, 0], "0.6667"),
            (&[7], "7.0"),
        ] {
            let mut summary = Summary::NONE;
            values.iter().for_each(|&value| summary.add(value));
            assert_eq!(summary.mean().to_string(), mean, "{values:?}");
        }
    }

    #[test]
    fn four_letter_srvr_proposal_sizes_as_java_prints_them() {
        let mut sizes = Sizes::default();
        assert_eq!(sizes.to_string(), "-1/-1/-1");
        for (bytes, expected) in [(48, "48/48/48"), (10, "10/10/48"), (60, "60/10/60"), (20, "20/10/60")] {
            sizes.add(bytes);
            assert_eq!(sizes.to_string(), expected);
        }
    }

    #[test]
    fn met_summary_fields() {
        let mut summary = Summary::NONE;
        let mut text = String::new();
        summary.write("x", &mut text).expect("a string takes it");
        assert_eq!(text, "zk_avg_x\t0.0\nzk_min_x\t0\nzk_max_x\t0\nzk_cnt_x\t0\nzk_sum_x\t0\n");
        [5, 3, 9].into_iter().for_each(|value| summary.add(value));
        text.clear();
        summary.write("x", &mut text).expect("a string takes it");
        assert_eq!(text, "zk_avg_x\t5.6667\nzk_min_x\t3\nzk_max_x\t9\nzk_cnt_x\t3\nzk_sum_x\t17\n");
    }

    /// Buckets follow each other without a gap, and are as narrow as promised.
    #[test]
    fn buckets_hold_what_is_near() {
        for bucket in 0..BUCKETS {
            let end = upper_end(bucket);
            assert_eq!(bucket_of(end), bucket);
            let begin = if bucket == 0 { 0 } else { upper_end(bucket - 1) + 1 };
            assert_eq!(bucket_of(begin), bucket);
            assert!((end - begin) * BUCKETS_PER_POWER <= begin, "{begin} to {end}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_all_measurements() {
        let told = |times: &[u64]| {
            let mut percentiles = Percentiles::default();
            times.iter().for_each(|&ms| percentiles.add_ms(Duration::from_millis(ms)));
            [500, 950, 990, 999].map(|permille| percentiles.percentile(permille))
        };
        assert_eq!(told(&[]), [0; 4]);
        assert_eq!(told(&[7]), [7; 4]);
        let hundred: Vec<u64> = (1..=60).chain([60; 40]).collect();
        assert_eq!(told(&hundred), [50, 60, 60, 60]);
        let rare: Vec<u64> = [2; 995].into_iter().chain([30; 4]).chain([1000]).collect();
        assert_eq!(told(&rare), [2, 2, 2, 30]);
        assert_eq!(told(&[1000, 1000]), [1000; 4], "never more than the most that there was");
    }
}
