use super::Statistics;
use super::distinct::Distinct;
use super::moments::Sums;

/// Records of a shard between two updates of its moments. Sums over so few values lose no digits that matter; an update
/// costs as much as a dozen records.
const SETTLING: u64 = 1024;

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

/// What has been seen of a shard since it was settled last. A line of the cache.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Tally {
    /// Records that may still come before it is to be settled.
    room: u32,
    /// Those, and the ones that have come.
    granted: u32,
    sums: Sums,
    bytes: u64,
    /// A larger size is to be looked at.
    largest: u64,
    /// None while records are only counted.
    distinct: Option<Distinct>,
}

impl Tally {
    /// Takes in a record, with value and size unless records are alike; `false`, and nothing done, if there is no room or
    /// anything unusual about it.
    #[inline]
    pub(super) fn observe(&mut self, key: u64, measures: Option<(f64, u64)>) -> bool {
        let Some(room) = self.room.checked_sub(1) else { return false };
        if let Some((value, size)) = measures {
            if !self.sums.fits(value) || size > self.largest {
                return false;
            }
            self.sums.observe(value);
            self.bytes += size;
        }
        self.room = room;
        if let Some(distinct) = &mut self.distinct {
            distinct.observe(key);
        }
        true
    }

    /// Takes in a record for which there is room, whatever is unusual about it.
    pub(super) fn observe_unusual(
        &mut self,
        key: u64,
        (value, size): (f64, u64),
        statistics: &mut Statistics,
        alike: Alike,
    ) {
        let measures = if alike == Alike::Not { Some((value, size)) } else { None };
        if self.observe(key, measures) {
            return;
        }
        statistics.count(value, size);
        (self.room, self.granted) = (self.room - 1, self.granted - 1);
        self.largest = self.largest.max(size).min(LARGEST_SIZE);
        if !self.sums.has_origin() {
            let room = self.room.into();
            self.settle(statistics, alike);
            self.grant(room, statistics);
        }
        if let Some(distinct) = &mut self.distinct {
            distinct.observe(key);
        }
    }

    /// Whether it is to be settled before the next record.
    pub(super) fn is_full(&self) -> bool {
        self.room == 0
    }

    /// Whether records are looked at one by one, rather than only counted.
    #[inline]
    pub(super) fn is_detailed(&self) -> bool {
        self.distinct.is_some()
    }

    /// Looks at the records to come one by one.
    pub(super) fn begin_detail(&mut self, statistics: &mut Statistics) {
        self.distinct = Some(statistics.outgrow());
    }

    /// Hands over all but the distinct keys, and has no more room; the number of records.
    pub(super) fn settle(&mut self, statistics: &mut Statistics, alike: Alike) -> u64 {
        let records = u64::from(self.granted - self.room);
        match alike {
            Alike::All(value, size) => statistics.add_alike(records, value, size),
            _ => statistics.add(records, &self.sums.moments(records), self.bytes, self.largest),
        }
        (self.room, self.granted) = (0, 0);
        records
    }

    /// Makes room for so many records, if that is not too many. It has been settled.
    pub(super) fn grant(&mut self, records: u64, statistics: &Statistics) {
        self.granted = records.min(SETTLING) as u32;
        (self.room, self.bytes) = (self.granted, 0);
        self.sums = Sums::around(statistics.centre());
    }

    /// Hands over the distinct keys, if records have been looked at.
    pub(super) fn into_distinct(self) -> Option<Distinct> {
        self.distinct
    }
}
