use super::details::Details;
use super::marks::Marks;
use super::tally::{Alike, Slot, Tally};
use super::{Sampler, Statistics};

/// What the shards of a worker have seen in one epoch, while it is taken in, and while it is given.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// By shard.
    pub(super) slots: Vec<Slot>,
    /// The shards whose slots are in use.
    marks: Marks,
    /// By row, what every record touches. The first is nobody's.
    pub(super) tallies: Vec<Tally>,
    /// By row, the rest.
    pub(super) shards: Vec<Shard>,
    pub(super) details: Details,
    pub(super) alike: Alike,
    /// How many records a sampled one stands for.
    every: u64,
}

/// A shard of which more is known than how many records have come, or could be.
#[derive(Debug, Default)]
pub(super) struct Shard {
    number: u32,
    /// Records to come that are only counted, before the others are looked at.
    pub(super) undetailed: u64,
    pub(super) statistics: Statistics,
}

/// What some shards have seen. Both lists ascend by the shards' numbers.
#[derive(Default)]
pub(crate) struct Taken {
    /// Shards with their records, each like all others of the epoch.
    pub counted: Vec<(u32, u64)>,
    pub described: Vec<(u32, Statistics)>,
}

/// Shards whose slots are read at a time: so that the memory is asked for the next before it has given the first.
const READ: usize = 16;

impl Gathered {
    pub(super) fn new(sampler: &Sampler) -> Self {
        Gathered {
            slots: Vec::new(),
            marks: Marks::default(),
            tallies: vec![Tally::default()],
            shards: vec![Shard::default()],
            details: Details::default(),
            alike: Alike::Unknown,
            every: sampler.every(),
        }
    }

    /// Value and size of each record that has only been counted.
    pub(crate) fn alike(&self) -> (f64, usize) {
        match self.alike {
            Alike::All(value, size) => (value, size),
            Alike::Unknown | Alike::Not => (0.0, 0),
        }
    }

    /// The first of the shards that are to be given.
    pub(crate) fn first(&mut self) -> Option<u32> {
        self.marks.first()
    }

    /// Takes out the first of the shards: about `most` of them, one whose keys have been looked at being as much work
    /// as `detailed_cost` others.
    pub(crate) fn take_some(&mut self, most: usize, detailed_cost: usize) -> Taken {
        let (mut taken, mut left, mut detailed) = (Taken::default(), most, 0);
        let (mut numbers, mut rows) = (Vec::with_capacity(READ), Vec::new());
        while left > 0 && self.marks.first().is_some() {
            numbers.extend(std::iter::from_fn(|| self.marks.take_first()).take(left.min(READ)));
            for number in numbers.drain(..) {
                let slot = std::mem::take(&mut self.slots[number as usize]);
                match slot.counted() {
                    Some(records) => taken.counted.push((number, records)),
                    None => rows.push((number, slot)),
                }
            }
            for (number, slot) in rows.drain(..) {
                detailed += usize::from(slot.bitmap > 0);
                taken.described.push((number, self.describe(slot)));
            }
            let others = taken.counted.len() + taken.described.len() - detailed;
            left = most.saturating_sub(others + detailed_cost * detailed);
        }
        if self.marks.first().is_none() {
            self.clear();
        }
        taken
    }

    fn describe(&mut self, slot: Slot) -> Statistics {
        let mut statistics = std::mem::take(&mut self.shards[slot.row as usize].statistics);
        if slot.bitmap > 0 {
            let (distinct, samples) = self.details.of(slot.bitmap);
            statistics.take_in(samples, self.every);
            statistics.finish(distinct);
        }
        statistics
    }

    fn clear(&mut self) {
        self.alike = Alike::Unknown;
        self.details.clear();
        self.tallies.truncate(1);
        self.shards.truncate(1);
    }

    /// Begins to count the records of a shard of which nothing is known: so many may come before there is more to be
    /// done. `false` if there are none.
    pub(super) fn count(&mut self, shard: u32, records: u64) -> bool {
        if self.slots[shard as usize].is_idle() && records > 0 {
            self.marks.set(shard);
            self.slots[shard as usize] = Slot::counting(records);
            return true;
        }
        false
    }

    /// Whether nothing is known of the shard.
    pub(super) fn is_idle(&mut self, shard: u32) -> bool {
        if self.slots.len() <= shard as usize {
            self.slots.resize(shard as usize + 1, Slot::default());
        }
        self.slots[shard as usize].is_idle()
    }

    /// The row of a shard, which is added if there is none: `least` records of it are only counted.
    pub(super) fn row(&mut self, shard: u32, least: impl FnOnce() -> u64) -> usize {
        if self.is_idle(shard) {
            self.marks.set(shard);
        }
        let slot = &mut self.slots[shard as usize];
        if slot.row > 0 && slot.counted().is_none() {
            return slot.row as usize;
        }
        let (counted, row) = (slot.counted().unwrap_or(0), self.shards.len());
        *slot = Slot { row: row as u32, ..Slot::default() };
        let mut new = Shard { number: shard, undetailed: least().saturating_sub(counted), ..Shard::default() };
        let (value, size) = self.alike();
        new.statistics.add_alike(counted, value, size);
        self.shards.push(new);
        self.tallies.push(Tally::default());
        row
    }

    /// Brings the statistics of all rows up to date.
    pub(super) fn settle(&mut self) {
        for (tally, shard) in self.tallies.iter_mut().zip(&mut self.shards).skip(1) {
            shard.settle(&mut self.slots[shard.number as usize], tally, self.alike);
        }
    }

    /// No more records are alike: gives each shard that has only been counted a row.
    #[cold]
    pub(super) fn tell_apart(&mut self, least: impl Fn(u32) -> u64) {
        self.marks.all().into_iter().for_each(|shard| _ = self.row(shard, || least(shard)));
        self.settle();
        self.alike = Alike::Not;
    }

    /// The records of the shards that have rows. They are to be settled.
    pub(super) fn records(&self) -> impl Iterator<Item = (u32, u64)> {
        self.shards[1..].iter().map(|shard| (shard.number, shard.statistics.records()))
    }
}

impl Shard {
    pub(super) fn settle(&mut self, slot: &mut Slot, tally: &mut Tally, alike: Alike) {
        let records = tally.settle(slot, &mut self.statistics, alike);
        self.undetailed = self.undetailed.saturating_sub(records);
    }
}

impl Taken {
    /// Statistics of all, value and size of a counted record being these.
    pub(super) fn into_statistics(self, (value, size): (f64, usize)) -> Vec<(u32, Statistics)> {
        let counted = self.counted.into_iter();
        let counted = counted.map(|(shard, records)| (shard, Statistics::counted(records, value, size)));
        let mut all: Vec<(u32, Statistics)> = counted.chain(self.described).collect();
        all.sort_by_key(|(shard, _)| *shard);
        all
    }
}
