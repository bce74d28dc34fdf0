use super::heaviest::Heaviest;
use super::reservoir::Reservoir;
use super::tally::{Alike, Tally};
use super::{Sampler, Statistics};

/// Records that are taken in at a time: their rows stay in the first-level cache until the sampled ones are looked at.
const CHUNK: usize = 1024;

/// The statistics of all shards of a worker in one epoch, taken in by batches.
///
/// What [`Statistics`] of each shard would be, record by record, at a fraction of the cost: of a record, a shard's count
/// and sums are updated and its key is shown to [`distinct`](super::Summary::distinct), and only sampled records come to
/// the costly sketches. Shards that have too little of all records to matter are only counted, if
/// [`with_detail`](Self::with_detail) says so. A shard without records takes four bytes, and no time.
///
/// ```
/// use thalweg::profile::Gathering;
///
/// let mut gathering = Gathering::new(0.125, 0);
/// let (shards, keys) = ([5, 900, 5], [17, 23, 42]);
/// gathering.observe(&shards, &keys, &[0.0, 1.0, 2.0], |value| *value, |_| 24);
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
    /// Of the records at hand, the sampled ones.
    picked: Vec<usize>,
    heaviest: Heaviest,
}

#[derive(Debug, Default)]
struct Shard {
    number: u32,
    /// Records to come that are only counted, before the others are looked at.
    undetailed: u64,
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
            picked: Vec::new(),
            heaviest: Heaviest::default(),
        }
    }

    /// Looks at the records of a shard one by one only from this share of all records of an epoch on; before, it counts
    /// them and sums them up. Of a shard that had as much in the epoch before, all records are looked at.
    pub fn with_detail(mut self, share: f64) -> Self {
        self.heaviest.share = share;
        self
    }

    /// How many records a sampled one stands for.
    pub fn every(&self) -> u64 {
        self.sampler.every()
    }

    /// Takes in a batch of records: of each the number of its shard, its routing key, and the record, of which the
    /// functions give the value and the size in bytes.
    ///
    /// A value that is NaN or infinite is left out of the mean and the deviation; the record counts all the same. Of the
    /// slices, what is longer than the shortest is left out.
    pub fn observe<R>(
        &mut self,
        shards: &[u32],
        keys: &[u64],
        records: &[R],
        value: impl Fn(&R) -> f64,
        size: impl Fn(&R) -> usize,
    ) {
        if let Alike::All(..) = self.alike {
            self.settle();
        }
        self.alike = Alike::Not;
        let chunks = shards.chunks(CHUNK).zip(keys.chunks(CHUNK)).zip(records.chunks(CHUNK));
        chunks.for_each(|((shards, keys), records)| self.chunk::<true, R>(shards, keys, records, &value, &size));
    }

    /// Like [`observe`](Self::observe), for records that have one value and one size, as all of an epoch should: then
    /// neither costs anything per record.
    pub fn observe_alike(&mut self, shards: &[u32], keys: &[u64], value: f64, size: usize) {
        if self.alike == Alike::Unknown {
            self.alike = Alike::All(value, size);
        }
        if self.alike != Alike::All(value, size) {
            return self.observe(shards, keys, keys, |_| value, |_| size);
        }
        let chunks = shards.chunks(CHUNK).zip(keys.chunks(CHUNK));
        chunks.for_each(|(shards, keys)| self.chunk::<false, u64>(shards, keys, keys, &|_| value, &|_| size));
    }

    /// Adds time spent on the records of a shard, in nanoseconds.
    pub fn add_busy(&mut self, shard: u32, nanos: u64) {
        let row = self.row(shard);
        self.shards[row as usize].statistics.add_busy(nanos);
    }

    /// Gives the shards with records or time, in the order of their numbers, and begins anew.
    pub fn take(&mut self, mut each: impl FnMut(u32, Statistics)) {
        self.settle();
        self.alike = Alike::Unknown;
        let mut order: Vec<(u32, usize)> = self.shards.iter().map(|shard| shard.number).zip(0..).skip(1).collect();
        order.sort_unstable();
        self.heaviest.turn_over(order.iter().map(|(number, row)| (*number, self.shards[*row].statistics.records())));
        for (number, row) in order {
            let (tally, shard) = (std::mem::take(&mut self.tallies[row]), std::mem::take(&mut self.shards[row]));
            let Shard { mut statistics, reservoir, .. } = shard;
            self.rows[number as usize] = 0;
            statistics.finish(tally.into_distinct(), reservoir, self.sampler.every());
            each(number, statistics);
        }
        self.tallies.truncate(1);
        self.shards.truncate(1);
    }

    #[inline]
    fn chunk<const MEASURED: bool, R>(
        &mut self,
        shards: &[u32],
        keys: &[u64],
        records: &[R],
        value: &impl Fn(&R) -> f64,
        size: &impl Fn(&R) -> usize,
    ) {
        let count = shards.len().min(keys.len()).min(records.len());
        self.heaviest.records += count as u64;
        let mut rows = [0; CHUNK];
        let measures = |record: &R| MEASURED.then(|| (value(record), size(record) as u64));
        let mut done = 0;
        loop {
            done += self.usual(&shards[done..count], &keys[done..], &records[done..], &mut rows[done..], measures);
            if done == count {
                break;
            }
            let measures = (value(&records[done]), size(&records[done]) as u64);
            rows[done] = self.unusual(shards[done], keys[done], measures);
            done += 1;
        }
        let size = |at: usize| MEASURED.then(|| size(&records[at]) as u64);
        self.sample(&rows[..count], keys, size);
    }

    /// Shows those records to the costly sketches that the sampler picks; their sizes too, unless they are known.
    #[inline]
    fn sample(&mut self, rows: &[u32], keys: &[u64], size: impl Fn(usize) -> Option<u64>) {
        let Self { sampler, shards, picked, .. } = self;
        picked.clear();
        sampler.pick(rows.len(), |at| {
            if rows[at] > 0 {
                picked.push(at);
            }
        });
        for at in &*picked {
            shards[rows[*at] as usize].statistics.prefetch(keys[*at]);
        }
        for at in &*picked {
            let Shard { statistics, reservoir, .. } = &mut shards[rows[*at] as usize];
            statistics.observe_sampled(keys[*at], size(*at), sampler.every());
            reservoir.observe(keys[*at], sampler.random());
        }
    }

    /// Takes in records up to the first one that is unusual; how many. Notes the row of each that is looked at.
    #[inline]
    fn usual<R>(
        &mut self,
        shards: &[u32],
        keys: &[u64],
        records: &[R],
        noted: &mut [u32],
        measures: impl Fn(&R) -> Option<(f64, u64)>,
    ) -> usize {
        let (rows, tallies) = (self.rows.as_slice(), self.tallies.as_mut_slice());
        let batch = shards.iter().zip(keys).zip(records).zip(noted);
        for (at, (((shard, key), record), noted)) in batch.enumerate() {
            let row = rows.get(*shard as usize).copied().unwrap_or_default();
            let Some(tally) = tallies.get_mut(row as usize) else { return at };
            if !tally.observe(*key, measures(record)) {
                return at;
            }
            *noted = if tally.is_detailed() { row } else { 0 };
        }
        shards.len()
    }

    /// Takes in a record that [`usual`](Self::usual) has not; its row, or 0 if it is one of its shard's first, or only
    /// counted.
    #[cold]
    #[inline(never)]
    fn unusual(&mut self, shard: u32, key: u64, measures: (f64, u64)) -> u32 {
        let row = self.row(shard);
        let (tally, shard) = (&mut self.tallies[row as usize], &mut self.shards[row as usize]);
        if tally.is_full() {
            shard.settle(tally, self.alike);
            let Shard { undetailed, statistics, .. } = shard;
            if *undetailed == 0 && statistics.observe_first(key, measures.0, measures.1, &mut self.sampler) {
                return 0;
            }
            if *undetailed == 0 && !tally.is_detailed() {
                tally.begin_detail(statistics);
            }
            tally.grant(if *undetailed > 0 { *undetailed } else { u64::MAX }, statistics);
        }
        tally.observe_unusual(key, measures, &mut shard.statistics, self.alike);
        if tally.is_detailed() { row } else { 0 }
    }

    fn settle(&mut self) {
        for (tally, shard) in self.tallies.iter_mut().zip(&mut self.shards) {
            shard.settle(tally, self.alike);
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
            self.shards.push(Shard { number: shard, undetailed: self.heaviest.least(shard), ..Shard::default() });
            self.tallies.push(Tally::default());
        }
        self.rows[at]
    }
}

impl Shard {
    fn settle(&mut self, tally: &mut Tally, alike: Alike) {
        let records = tally.settle(&mut self.statistics, alike);
        self.undetailed = self.undetailed.saturating_sub(records);
    }
}
