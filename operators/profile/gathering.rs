use super::details::Details;
use super::heaviest::Heaviest;
use super::noted::{CHUNK, Noted};
use super::tally::{Alike, Slot, Tally};
use super::{Sampler, Statistics};

/// The statistics of all shards of a worker in one epoch, taken in by batches.
///
/// What [`Statistics`] of each shard would be, record by record, at a fraction of the cost: of a record, a shard's count
/// and sums are updated and its key is shown to [`distinct`](super::Summary::distinct), and only sampled records come to
/// the costly sketches. Shards that have too little of all records to matter are only counted, if
/// [`with_detail`](Self::with_detail) says so. A shard without records takes eight bytes, and no time.
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
    /// By shard.
    slots: Vec<Slot>,
    /// By row, what every record touches. The first is nobody's.
    tallies: Vec<Tally>,
    /// By row, the rest.
    shards: Vec<Shard>,
    details: Details,
    alike: Alike,
    heaviest: Heaviest,
    noted: Box<Noted>,
}

#[derive(Debug, Default)]
struct Shard {
    number: u32,
    /// Records to come that are only counted, before the others are looked at.
    undetailed: u64,
    statistics: Statistics,
}

impl Gathering {
    /// Samples this share of records, as by [`Sampler::new`].
    pub fn new(sample: f64, seed: u64) -> Self {
        Gathering {
            sampler: Sampler::new(sample, seed),
            slots: Vec::new(),
            tallies: vec![Tally::default()],
            shards: vec![Shard::default()],
            details: Details::default(),
            alike: Alike::Unknown,
            heaviest: Heaviest::default(),
            noted: Box::default(),
        }
    }

    /// Looks at the records of a shard one by one only from this share of all records of an epoch on; before, it counts
    /// them and sums them up. Of a shard that had as much in the epoch before, all records are looked at. No more than 65,535
    /// shards are looked at in an epoch.
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
        self.shards[row].statistics.add_busy(nanos);
    }

    /// Shards have other numbers from the next epoch on. What there is has been [taken](Self::take).
    pub fn renumber(&mut self, number: impl Fn(u32) -> u32) {
        self.heaviest.renumber(number);
    }

    /// Gives the shards with records or time, in the order of their numbers, and begins anew.
    pub fn take(&mut self, mut each: impl FnMut(u32, Statistics)) {
        self.settle();
        self.alike = Alike::Unknown;
        let mut order: Vec<(u32, usize)> = self.shards.iter().map(|shard| shard.number).zip(0..).skip(1).collect();
        order.sort_unstable();
        self.heaviest.turn_over(order.iter().map(|(number, row)| (*number, self.shards[*row].statistics.records())));
        for (number, row) in order {
            let mut statistics = std::mem::take(&mut self.shards[row].statistics);
            let slot = std::mem::take(&mut self.slots[number as usize]);
            if slot.bitmap > 0 {
                let (distinct, samples) = self.details.of(slot.bitmap);
                statistics.take_in(samples, self.sampler.every());
                statistics.finish(distinct);
            }
            each(number, statistics);
        }
        self.details.clear();
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
        let measures = |record: &R| (value(record), size(record) as u64);
        let mut done = 0;
        loop {
            done += self.usual::<MEASURED, R>(&shards[..count], &records[..count], done, measures);
            if done == count {
                break;
            }
            self.noted.bitmaps[done] = self.unusual(shards[done], keys[done], measures(&records[done]));
            done += 1;
        }
        if self.details.count() > 0 {
            self.look(&keys[..count], |at| MEASURED.then(|| size(&records[at]) as u64));
        }
    }

    /// Takes in records from this one up to the first one that is unusual; how many. Notes which are looked at.
    #[inline]
    fn usual<const MEASURED: bool, R>(
        &mut self,
        shards: &[u32],
        records: &[R],
        from: usize,
        measures: impl Fn(&R) -> (f64, u64),
    ) -> usize {
        let Self { slots, tallies, noted, .. } = self;
        let (slots, tallies) = (slots.as_mut_slice(), tallies.as_mut_slice());
        let batch = shards[from..].iter().zip(&records[from..]).zip(&mut noted.bitmaps[from..]);
        for (at, ((shard, record), bitmap)) in batch.enumerate() {
            let Some(slot) = slots.get_mut(*shard as usize) else { return at };
            let Some(room) = slot.room.checked_sub(1) else { return at };
            if MEASURED {
                let (value, size) = measures(record);
                if !tallies.get_mut(slot.row as usize).is_some_and(|tally| tally.observe(value, size)) {
                    return at;
                }
            }
            slot.room = room;
            *bitmap = slot.bitmap;
        }
        shards.len() - from
    }

    /// Takes in a record that [`usual`](Self::usual) has not; its bitmap, or 0 if it is one of its shard's first, or only
    /// counted.
    #[cold]
    #[inline(never)]
    fn unusual(&mut self, shard: u32, key: u64, measures: (f64, u64)) -> u16 {
        let row = self.row(shard);
        let (slot, tally) = (&mut self.slots[shard as usize], &mut self.tallies[row]);
        let state = &mut self.shards[row];
        if slot.room == 0 {
            state.settle(slot, tally, self.alike);
            let Shard { undetailed, statistics, .. } = state;
            if *undetailed == 0 && statistics.observe_first(key, measures.0, measures.1, &mut self.sampler) {
                return 0;
            }
            if *undetailed == 0 && slot.bitmap == 0 {
                if let Some(bitmap) = self.details.add(row, statistics) {
                    slot.bitmap = bitmap;
                } else {
                    statistics.forget_first();
                    *undetailed = u64::MAX;
                }
            }
            tally.grant(slot, if *undetailed > 0 { *undetailed } else { u64::MAX }, statistics);
        }
        tally.observe_unusual(slot, measures, &mut state.statistics, self.alike);
        slot.bitmap
    }

    /// Shows the keys of the noted records to their bitmaps, and those that the sampler picks to the costly sketches; their
    /// sizes too, unless they are known.
    #[inline]
    fn look(&mut self, keys: &[u64], size: impl Fn(usize) -> Option<u64>) {
        let Self { sampler, shards, noted, details, .. } = self;
        let looked = noted.look(keys);
        details.set(looked.bits);
        let weight = sampler.every();
        sampler.pick(looked.keys.len(), |at| {
            let bitmap = usize::from(looked.bitmaps[at]);
            let samples = &mut details.samples[bitmap];
            if samples.observe(looked.keys[at], size(looked.position(at))) {
                shards[details.rows[bitmap]].statistics.take_in(samples, weight);
            }
        });
    }

    fn settle(&mut self) {
        for (tally, shard) in self.tallies.iter_mut().zip(&mut self.shards).skip(1) {
            shard.settle(&mut self.slots[shard.number as usize], tally, self.alike);
        }
    }

    /// The row of a shard, which is added if there is none.
    fn row(&mut self, shard: u32) -> usize {
        let at = shard as usize;
        if self.slots.len() <= at {
            self.slots.resize(at + 1, Slot::default());
        }
        if self.slots[at].row == 0 {
            self.slots[at].row = self.shards.len() as u32;
            self.shards.push(Shard { number: shard, undetailed: self.heaviest.least(shard), ..Shard::default() });
            self.tallies.push(Tally::default());
        }
        self.slots[at].row as usize
    }
}

impl Shard {
    fn settle(&mut self, slot: &mut Slot, tally: &mut Tally, alike: Alike) {
        let records = tally.settle(slot, &mut self.statistics, alike);
        self.undetailed = self.undetailed.saturating_sub(records);
    }
}
