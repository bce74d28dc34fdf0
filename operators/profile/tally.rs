use super::Statistics;
use super::distinct::Distinct;
use super::moments::Sums;

/// Records of a shard between two updates of its moments. Sums over so few values lose no digits that matter; an update
/// costs as much as a dozen records.
const SETTLING: u32 = 1024;

/// Sizes up to this one are summed up without a look at the sum.
const LARGEST_SIZE: u64 = u32::MAX as u64;

/// Whether the records of an epoch have one value and one size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Alike {
    /// There are none.
    Unknown,
    /// All have these; they are taken in when a tally is settled.
    All(f64, usize),
    Not,
}

/// What has been seen of a shard since it was settled last, of the records after the first ones. A line of the cache.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Tally {
    /// Records that may still come before it is to be settled: none before the first ones have been seen.
    room: u32,
    sums: Sums,
    bytes: u64,
    /// A larger size is to be looked at.
    largest: u64,
    distinct: Option<Distinct>,
}

impl Tally {
    /// Takes in a record, with value and size unless records are alike; `false`, and nothing done, if there is anything
    /// unusual about it.
    #[inline]
    pub(super) fn observe(&mut self, key: u64, measures: Option<(f64, u64)>) -> bool {
        let (Some(room), Some(distinct)) = (self.room.checked_sub(1), &mut self.distinct) else { return false };
        if let Some((value, size)) = measures {
            if !self.sums.fits(value) || size > self.largest {
                return false;
            }
            self.sums.observe(value);
            self.bytes += size;
        }
        self.room = room;
        distinct.observe(key);
        true
    }

    /// Takes in a record after the first ones, whatever is unusual about it.
    pub(super) fn observe_unusual(
        &mut self,
        key: u64,
        (value, size): (f64, u64),
        statistics: &mut Statistics,
        alike: Alike,
    ) {
        if self.distinct.is_none() {
            self.distinct = Some(statistics.outgrow());
            self.restart(statistics);
        } else if self.room == 0 {
            self.settle(statistics, alike);
        }
        let measures = if alike == Alike::Not { Some((value, size)) } else { None };
        if !self.observe(key, measures) {
            statistics.count(value, size);
            if !self.sums.has_origin() {
                self.settle(statistics, alike);
            }
            self.largest = self.largest.max(size).min(LARGEST_SIZE);
            self.distinct.get_or_insert_default().observe(key);
        }
    }

    /// Hands over all but the distinct keys.
    pub(super) fn settle(&mut self, statistics: &mut Statistics, alike: Alike) {
        if self.distinct.is_none() {
            return;
        }
        let records = u64::from(SETTLING - self.room);
        match alike {
            Alike::All(value, size) => statistics.add_alike(records, value, size),
            _ => statistics.add(records, &self.sums.moments(records), self.bytes, self.largest),
        }
        self.restart(statistics);
    }

    /// Hands over the distinct keys, if there were more than the first records.
    pub(super) fn into_distinct(self) -> Option<Distinct> {
        self.distinct
    }

    fn restart(&mut self, statistics: &Statistics) {
        (self.room, self.bytes) = (SETTLING, 0);
        self.sums = Sums::around(statistics.centre());
    }
}
