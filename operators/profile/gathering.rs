use super::distinct::Distinct;
use super::moments::Sums;
use super::reservoir::Reservoir;
use super::{Sampler, Statistics};

/// Records of a shard between two updates of its moments. Sums over so few values lose no digits that matter; an update
/// costs as much as a dozen records.
const SETTLING: u32 = 1024;

/// Records that are taken in at a time: their rows stay in the first-level cache until the sampled ones are looked at.
const CHUNK: usize = 1024;

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
    /// By row, what every record touches. The first is nobody's.
    tallies: Vec<Tally>,
    /// By row, the rest.
    shards: Vec<Shard>,
    alike: Alike,
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

#[derive(Debug, Default)]
struct Shard {
    number: u32,
    statistics: Statistics,
    reservoir: Reservoir,
}

impl Gathering {
    /// Samples this share of records, as by [`Sampler::new`].
    pub fn new(sample: f64, seed: u64) -> Self {
        Gathering {
            sampler: Sampler::new(sample, seed),
            rows: Vec::new(),
            tallies: vec![Tally::default()],
            shards: vec![Shard::default()],
            alike: Alike::Unknown,
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
    #[inline]
    pub fn observe(
        &mut self,
        shards: &[u32],
        keys: &[u64],
        value: impl Fn(usize) -> f64,
        size: impl Fn(usize) -> usize,
    ) {
        self.differ();
        for (chunk, (shards, keys)) in shards.chunks(CHUNK).zip(keys.chunks(CHUNK)).enumerate() {
            let at = chunk * CHUNK;
            self.chunk::<false>(shards, keys, |i| value(at + i), |i| size(at + i));
        }
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
        for (shards, keys) in shards.chunks(CHUNK).zip(keys.chunks(CHUNK)) {
            self.chunk::<true>(shards, keys, |_| value, |_| size);
        }
    }

    /// Adds time spent on the records of a shard, in nanoseconds.
    pub fn add_busy(&mut self, shard: u32, nanos: u64) {
        let row = self.row(shard);
        self.shards[row as usize].statistics.add_busy(nanos);
    }

    /// Gives the shards with records, in the order of their first ones, and begins anew.
    pub fn take(&mut self, mut each: impl FnMut(u32, Statistics)) {
        self.settle_all();
        self.alike = Alike::Unknown;
        for (tally, shard) in self.tallies.drain(1..).zip(self.shards.drain(1..)) {
            let Shard { number, mut statistics, reservoir } = shard;
            self.rows[number as usize] = 0;
            statistics.finish(tally.distinct, reservoir, self.sampler.every());
            each(number, statistics);
        }
    }

    #[inline]
    fn chunk<const ALIKE: bool>(
        &mut self,
        shards: &[u32],
        keys: &[u64],
        value: impl Fn(usize) -> f64,
        size: impl Fn(usize) -> usize,
    ) {
        let mut rows = [NO_ROW; CHUNK];
        let records = shards.len().min(keys.len());
        for (at, ((shard, key), noted)) in shards.iter().zip(keys).zip(&mut rows).enumerate() {
            let mut row = self.rows.get(*shard as usize).copied().unwrap_or_default();
            if self.tallies[row as usize].room == 0 {
                row = self.make_room(*shard, *key, value(at), size(at));
                if row == NO_ROW {
                    continue;
                }
            }
            let tally = &mut self.tallies[row as usize];
            tally.room -= 1;
            if !ALIKE {
                let (value, size) = (value(at), size(at) as u64);
                tally.bytes = tally.bytes.saturating_add(size);
                if size > tally.largest {
                    tally.largest = size;
                }
                if !tally.sums.observe(value) {
                    tally.odd += 1;
                    self.shards[row as usize].statistics.observe_value(value);
                }
            }
            tally.distinct.observe(*key);
            *noted = row;
        }
        self.sample::<ALIKE>(&rows[..records], keys, size);
    }

    /// Shows those records to the costly sketches that the sampler picks.
    #[inline]
    fn sample<const ALIKE: bool>(&mut self, rows: &[u32], keys: &[u64], size: impl Fn(usize) -> usize) {
        let Self { sampler, shards, .. } = self;
        let every = sampler.every();
        sampler.pick(rows.len(), |at, random| {
            let Some(shard) = shards.get_mut(rows[at] as usize) else { return };
            let Some(sketches) = shard.statistics.sketches() else { return };
            sketches.heavy.observe(keys[at], every);
            if !ALIKE {
                sketches.sizes.observe(size(at) as u64, every);
            }
            shard.reservoir.observe(keys[at], random);
        });
    }

    /// For a record whose shard's tally has no room: the row in which there is some now, or [`NO_ROW`] if the record is
    /// one of the first, and has been kept.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, shard: u32, key: u64, value: f64, size: usize) -> u32 {
        let row = self.row(shard);
        let (statistics, tally) = (&mut self.shards[row as usize].statistics, &mut self.tallies[row as usize]);
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
        for (tally, shard) in self.tallies.iter_mut().zip(&mut self.shards) {
            if shard.statistics.has_outgrown() {
                tally.settle(&mut shard.statistics, self.alike);
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
            self.shards.push(Shard { number: shard, ..Shard::default() });
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
