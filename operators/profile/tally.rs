use super::Statistics;
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

/// What every record touches of its shard; nothing else is touched of one that is only counted and like all others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    /// Records that may still come before the tally is to be settled.
    pub room: u16,
    /// The shard's bitmap in this epoch, 0 if its records are only counted, rather than looked at one by one.
    pub bitmap: u16,
    /// The shard's row in this epoch, 0 if it has none; or, above [`COUNTING`], the room that it was given, if nothing
    /// is known of its records but their number.
    pub row: u32,
}

const COUNTING: u32 = 1 << 31;

impl Slot {
    /// Of a shard whose records are only counted, up to so many.
    pub(super) fn counting(records: u64) -> Self {
        let room = records.min(SETTLING) as u16;
        Slot { room, bitmap: 0, row: COUNTING | u32::from(room) }
    }

    /// The records, if nothing else is known of them.
    pub(super) fn counted(self) -> Option<u64> {
        self.row.checked_sub(COUNTING).map(|granted| (granted - u32::from(self.room)).into())
    }

    /// Whether it is not in use.
    pub(super) fn is_idle(self) -> bool {
        self.row == 0
    }
}

/// What has been seen of a shard since it was settled last. A line of the cache.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Tally {
    sums: Sums,
    bytes: u64,
    /// A larger size is to be looked at.
    largest: u64,
    /// The room that the slot was given.
    granted: u16,
}

impl Tally {
    /// Takes in value and size of a record, but does not count it; `false`, and nothing done, if there is anything
    /// unusual about them.
    #[inline]
    pub(super) fn observe(&mut self, value: f64, size: u64) -> bool {
        let is_usual = size <= self.largest && self.sums.observe(value);
        if is_usual {
            self.bytes += size;
        }
        is_usual
    }

    /// Takes in a record for which there is room, whatever is unusual about it.
    pub(super) fn observe_unusual(
        &mut self,
        slot: &mut Slot,
        (value, size): (f64, u64),
        statistics: &mut Statistics,
        alike: Alike,
    ) {
        slot.room -= 1;
        if alike != Alike::Not || self.observe(value, size) {
            return;
        }
        statistics.count(value, size);
        self.granted -= 1;
        self.largest = self.largest.max(size).min(LARGEST_SIZE);
        if !self.sums.has_origin() {
            let room = slot.room.into();
            self.settle(slot, statistics, alike);
            self.grant(slot, room, statistics);
        }
    }

    /// Hands over all, and has no more room; the number of records.
    #[inline]
    pub(super) fn settle(&mut self, slot: &mut Slot, statistics: &mut Statistics, alike: Alike) -> u64 {
        if self.granted == 0 {
            return 0;
        }
        let records = u64::from(self.granted - slot.room);
        match alike {
            Alike::All(value, size) => statistics.add_alike(records, value, size),
            _ => statistics.add(records, &self.sums.moments(records), self.bytes, self.largest),
        }
        (slot.room, self.granted) = (0, 0);
        records
    }

    /// Makes room for so many records, if that is not too many. It has been settled.
    pub(super) fn grant(&mut self, slot: &mut Slot, records: u64, statistics: &Statistics) {
        self.granted = records.min(SETTLING) as u16;
        (slot.room, self.bytes) = (self.granted, 0);
        self.sums = Sums::around(statistics.centre());
    }
}
