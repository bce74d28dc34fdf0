use super::distinct::Distinct;
use super::moments::Sums;
use super::{Sampler, Statistics};

/// Records of a shard between two updates of its moments. Sums over so few values lose no digits that matter; an update
/// costs as much as a dozen records.
const SETTLING: u32 = 1024;

/// In place of a row: the record has been taken in already.
const NO_ROW: u32 = u32::MAX;

/// The statistics of all shards of a worker in one epoch, taken in by batches.
///
/// What [`Statistics`] of each shard would be, record by record, at a fraction of the cost: of a record, a shard's count
/// and sums are updated and its key is shown to [`distinct`](super::Summary::distinct), and only sampled records come to
/// the costly sketches. A shard without records takes four bytes, and no time.
///
/// ```
/// use thalweg::profile::Gathering;
///
/// let mut gathering = Gathering::new(0.125, 0);
/// let (shards, keys) = ([5, 900, 5], [17, 23, 42]);
/// gathering.observe(&shards, &keys, |i| i as f64, |_| 24);
/// let mut seen = Vec::new();
/// gathering.take(|shard, statistics| seen.push((shard, statistics.summary(1).mean)));
/// assert_eq!(seen, [(5, 1.0), (900, 1.0)]);
/// ```
#[derive(Debug)]
pub struct Gathering {
    sampler: Sampler,
    /// By shard: its row in this epoch, 0 if it has none.
    rows: Vec<u32>,
    /// What every record touches, by row. The first is nobody's.
    tallies: Vec<Tally>,
    /// The rest, by row.
    shards: Vec<(u32, Statistics)>,
    alike: Alike,
    /// Of the batch at hand: each record's row.
    batch: Vec<u32>,
}

/// Whether the records of this epoch have one value and one size.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Alike {
    /// There are none.
    Unknown,
    /// All have these; they are taken in when a tally is settled.
    All(f64, usize),
    Not,
}

/// What has been seen of a shard since it was settled last. A line of the cache.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Tally {
    /// Records that may still come before it is to be settled.
    room: u32,
    /// Records whose values are not in the sums.
    odd: u32,
    sums: Sums,
    bytes: u64,
    largest: u64,
    distinct: Distinct,
}

impl Gathering {
    /// Samples this share of records, as by [`Sampler::new`].
    pub fn new(sample: f64, seed: u64) -> Self {
        Gathering {
            sampler: Sampler::new(sample, seed),
            rows: Vec::new(),
            tallies: vec![Tally::default()],
            shards: vec![(0, Statistics::default())],
            alike: Alike::Unknown,
            batch: Vec::new(),
        }
    }

    /// How many records a sampled one stands for.
    pub fn every(&self) -> u64 {
        self.sampler.every()
    }

    /// Takes in a batch of records: of each the number of its shard and its routing key. `value` and `size` give what
    /// the record at a position of the batch has; sizes are in bytes.
    ///
    /// A value that is NaN or infinite is left out of the mean and the deviation; the record counts all the same. Of
    /// `shards` and `keys`, what is longer than the other is left out.
    pub fn observe(
        &mut self,
        shards: &[u32],
        keys: &[u64],
        value: impl Fn(usize) -> f64,
        size: impl Fn(usize) -> usize,
    ) {
        self.differ();
        self.tally::<false>(shards, keys, &value, &size);
        self.sample(keys, |at| Some(size(at) as u64));
    }

    /// Like [`observe`](Self::observe), for records that have one value and one size, as all of an epoch should: then
    /// neither costs anything per record.
    pub fn observe_alike(&mut self, shards: &[u32], keys: &[u64], value: f64, size: usize) {
        if self.alike == Alike::Unknown {
            self.alike = Alike::All(value, size);
        }
        if self.alike != Alike::All(value, size) {
            return self.observe(shards, keys, |_| value, |_| size);
        }
        self.tally::<true>(shards, keys, &|_| value, &|_| size);
        self.sample(keys, |_| None);
    }

    /// Adds time spent on the records of a shard, in nanoseconds.
    pub fn add_busy(&mut self, shard: u32, nanos: u64) {
        let row = self.row(shard);
        self.shards[row as usize].1.add_busy(nanos);
    }

    /// Gives the shards with records, in the order of their first ones, and begins anew.
    pub fn take(&mut self, mut each: impl FnMut(u32, Statistics)) {
        self.settle_all();
        self.alike = Alike::Unknown;
        for (tally, (shard, mut statistics)) in self.tallies.drain(1..).zip(self.shards.drain(1..)) {
            self.rows[shard as usize] = 0;
            statistics.finish(tally.distinct);
            each(shard, statistics);
        }
    }

    /// Shows every record to its shard's tally, and notes its row.
    #[inline]
    fn tally<const ALIKE: bool>(
        &mut self,
        shards: &[u32],
        keys: &[u64],
        value: &impl Fn(usize) -> f64,
        size: &impl Fn(usize) -> usize,
    ) {
        self.batch.clear();
        self.batch.reserve(keys.len());
        for (at, (shard, key)) in shards.iter().zip(keys).enumerate() {
            let mut row = self.rows.get(*shard as usize).copied().unwrap_or_default();
            if self.tallies[row as usize].room == 0 {
                row = self.make_room(*shard, *key, value(at), size(at));
                if row == NO_ROW {
                    self.batch.push(NO_ROW);
                    continue;
                }
            }
            let tally = &mut self.tallies[row as usize];
            tally.room -= 1;
            if !ALIKE {
                let size = size(at) as u64;
                tally.bytes = tally.bytes.saturating_add(size);
                tally.largest = tally.largest.max(size);
                if !tally.sums.observe(value(at)) {
                    tally.odd += 1;
                    self.shards[row as usize].1.observe_value(value(at));
                }
            }
            tally.distinct.observe(*key);
            self.batch.push(row);
        }
    }

    /// Shows those records of the batch to the costly sketches that the sampler picks.
    #[inline]
    fn sample(&mut self, keys: &[u64], size: impl Fn(usize) -> Option<u64>) {
        let Self { sampler, shards, batch, .. } = self;
        let every = sampler.every();
        sampler.pick(batch.len(), |at| {
            if let Some((_, statistics)) = shards.get_mut(batch[at] as usize) {
                statistics.observe_sampled(keys[at], size(at), every);
            }
        });
    }

    /// For a record whose shard's tally has no room: the row in which there is some now, or [`NO_ROW`] if the record is
    /// one of the first, and has been kept.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, shard: u32, key: u64, value: f64, size: usize) -> u32 {
        let row = self.row(shard);
        let (statistics, tally) = (&mut self.shards[row as usize].1, &mut self.tallies[row as usize]);
        if statistics.observe_first(key, value, size, &mut self.sampler) {
            return NO_ROW;
        }
        match statistics.outgrow() {
            Some(distinct) => *tally = Tally::new(distinct, statistics.centre()),
            None => tally.settle(statistics, self.alike),
        }
        row
    }

    /// From now on, records need not be alike.
    fn differ(&mut self) {
        if let Alike::All(..) = self.alike {
            self.settle_all();
        }
        self.alike = Alike::Not;
    }

    fn settle_all(&mut self) {
        for (tally, (_, statistics)) in self.tallies.iter_mut().zip(&mut self.shards) {
            if statistics.has_outgrown() {
                tally.settle(statistics, self.alike);
            }
        }
    }

    /// The row of a shard, which is added if there is none.
    fn row(&mut self, shard: u32) -> u32 {
        let at = shard as usize;
        if self.rows.len() <= at {
            self.rows.resize(at + 1, 0);
        }
        if self.rows[at] == 0 {
            self.rows[at] = self.shards.len() as u32;
            self.shards.push((shard, Statistics::default()));
            self.tallies.push(Tally::default());
        }
        self.rows[at]
    }
}

impl Tally {
    fn new(distinct: Distinct, centre: f64) -> Self {
        Tally { room: SETTLING, sums: Sums::around(centre), distinct, ..Tally::default() }
    }

    /// Hands over all but the distinct keys.
    fn settle(&mut self, statistics: &mut Statistics, alike: Alike) {
        let records = u64::from(SETTLING - self.room);
        match alike {
            Alike::All(value, size) => statistics.add_alike(records, value, size),
            _ => {
                let moments = self.sums.moments(records - u64::from(self.odd));
                statistics.add(records, &moments, self.bytes, self.largest);
            }
        }
        *self = Tally::new(std::mem::take(&mut self.distinct), statistics.centre());
    }
}
