use super::gathered::{Gathered, Shard};
use super::heaviest::Heaviest;
use super::noted::{CHUNK, Noted};
use super::tally::Alike;
use super::{Sampler, Statistics};

/// The statistics of all shards of a worker in one epoch, taken in by batches.
///
/// What [`Statistics`] of each shard would be, record by record, at a fraction of the cost: of a record, a shard's
/// count and sums are updated and its key is shown to [`distinct`](super::Summary::distinct), and only sampled records
/// come to the costly sketches. Shards that have too little of all records to matter are only counted, if
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
    /// The epoch at hand.
    epoch: Gathered,
    /// For the next one: what was allocated in one epoch is used again.
    spare: Option<Gathered>,
    heaviest: Heaviest,
    noted: Box<Noted>,
}

impl Gathering {
    /// Samples this share of records, as by [`Sampler::new`].
    pub fn new(sample: f64, seed: u64) -> Self {
        let sampler = Sampler::new(sample, seed);
        let epoch = Gathered::new(&sampler);
        Gathering { sampler, epoch, spare: None, heaviest: Heaviest::default(), noted: Box::default() }
    }

    /// Looks at the records of a shard one by one only from this share of all records of an epoch on; before, it counts
    /// them and sums them up. Of a shard that had as much in the epoch before, all records are looked at. No more than
    /// 65,535 shards are looked at in an epoch.
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
    /// A value that is NaN or infinite is left out of the mean and the deviation; the record counts all the same. Of
    /// the slices, what is longer than the shortest is left out.
    pub fn observe<R>(
        &mut self,
        shards: &[u32],
        keys: &[u64],
        records: &[R],
        value: impl Fn(&R) -> f64,
        size: impl Fn(&R) -> usize,
    ) {
        if let Alike::All(..) = self.epoch.alike {
            self.epoch.tell_apart(|shard| self.heaviest.least(shard));
        }
        self.epoch.alike = Alike::Not;
        let chunks = shards.chunks(CHUNK).zip(keys.chunks(CHUNK)).zip(records.chunks(CHUNK));
        chunks.for_each(|((shards, keys), records)| self.chunk::<true, R>(shards, keys, records, &value, &size));
    }

    /// Like [`observe`](Self::observe), for records that have one value and one size, as all of an epoch should: then
    /// neither costs anything per record.
    pub fn observe_alike(&mut self, shards: &[u32], keys: &[u64], value: f64, size: usize) {
        if self.epoch.alike == Alike::Unknown {
            self.epoch.alike = Alike::All(value, size);
        }
        if self.epoch.alike != Alike::All(value, size) {
            return self.observe(shards, keys, keys, |_| value, |_| size);
        }
        let chunks = shards.chunks(CHUNK).zip(keys.chunks(CHUNK));
        chunks.for_each(|(shards, keys)| self.chunk::<false, u64>(shards, keys, keys, &|_| value, &|_| size));
    }

    /// Adds time spent on the records of a shard, in nanoseconds.
    pub fn add_busy(&mut self, shard: u32, nanos: u64) {
        let row = self.row(shard);
        self.epoch.shards[row].statistics.add_busy(nanos);
    }

    /// Shards have other numbers from the next epoch on. What there is has been [taken](Self::take).
    pub fn renumber(&mut self, number: impl Fn(u32) -> u32) {
        self.heaviest.renumber(number);
    }

    /// Gives the shards with records or time, in the order of their numbers, and begins anew.
    pub fn take(&mut self, mut each: impl FnMut(u32, Statistics)) {
        let mut gathered = self.turn_over();
        let alike = gathered.alike();
        let all = gathered.take_some(usize::MAX, 1).into_statistics(alike);
        all.into_iter().for_each(|(shard, statistics)| each(shard, statistics));
        self.reuse(gathered);
    }

    /// Begins anew, and gives what there is: in time for shards that are not light, whatever the others are.
    pub(crate) fn turn_over(&mut self) -> Gathered {
        self.epoch.settle();
        self.heaviest.turn_over(self.epoch.records());
        let next = self.spare.take().unwrap_or_else(|| Gathered::new(&self.sampler));
        std::mem::replace(&mut self.epoch, next)
    }

    /// Takes back what all has been taken out of.
    pub(crate) fn reuse(&mut self, gathered: Gathered) {
        self.spare = Some(gathered);
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
        if self.epoch.details.count() > 0 {
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
        let Self { epoch: Gathered { slots, tallies, .. }, noted, .. } = self;
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

    /// Takes in a record that [`usual`](Self::usual) has not; its bitmap, or 0 if it is one of its shard's first, or
    /// only counted.
    #[cold]
    #[inline(never)]
    fn unusual(&mut self, shard: u32, key: u64, measures: (f64, u64)) -> u16 {
        if self.epoch.is_idle(shard)
            && self.epoch.alike != Alike::Not
            && self.epoch.count(shard, self.heaviest.light(shard))
        {
            self.epoch.slots[shard as usize].room -= 1;
            return 0;
        }
        let row = self.row(shard);
        let Gathered { slots, tallies, shards, details, alike, .. } = &mut self.epoch;
        let (slot, tally, state) = (&mut slots[shard as usize], &mut tallies[row], &mut shards[row]);
        if slot.room == 0 {
            state.settle(slot, tally, *alike);
            let Shard { undetailed, statistics, .. } = state;
            if *undetailed == 0 && statistics.observe_first(key, measures.0, measures.1, &mut self.sampler) {
                return 0;
            }
            if *undetailed == 0 && slot.bitmap == 0 {
                if let Some(bitmap) = details.add(row, statistics) {
                    slot.bitmap = bitmap;
                } else {
                    statistics.forget_first();
                    *undetailed = u64::MAX;
                }
            }
            tally.grant(slot, if *undetailed > 0 { *undetailed } else { u64::MAX }, statistics);
        }
        tally.observe_unusual(slot, measures, &mut state.statistics, *alike);
        slot.bitmap
    }

    /// Shows the keys of the noted records to their bitmaps, and those that the sampler picks to the costly sketches;
    /// their sizes too, unless they are known.
    #[inline]
    fn look(&mut self, keys: &[u64], size: impl Fn(usize) -> Option<u64>) {
        let Self { sampler, noted, epoch: Gathered { shards, details, .. }, .. } = self;
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

    fn row(&mut self, shard: u32) -> usize {
        self.epoch.row(shard, || self.heaviest.least(shard))
    }
}
