/// Which shards are heavy enough to be looked at closely.
#[derive(Debug, Default)]
pub(super) struct Heaviest {
    /// The share of an epoch's records from which on a shard is.
    pub share: f64,
    /// The records of this epoch so far.
    pub records: u64,
    /// The records of the epoch before.
    before: u64,
    /// The shards that were heavy in it, ascending.
    shards: Vec<u32>,
}

impl Heaviest {
    /// The records that a shard must have had in this epoch before it is looked at: none if it was heavy before.
    pub fn least(&self, shard: u32) -> u64 {
        let is_known = self.share == 0.0 || self.shards.binary_search(&shard).is_ok();
        if is_known { 0 } else { (self.share * self.before.max(self.records) as f64) as u64 }
    }

    /// Records up to which a shard need only be counted: with no more it is neither looked at, nor heavy as the epoch
    /// ends.
    pub fn light(&self, shard: u32) -> u64 {
        // With fewer than half of the records of the epoch before, this one does not tell which are heavy.
        let surely = (self.share * self.records.max(self.before / 2) as f64) as u64;
        self.least(shard).min(surely).saturating_sub(1)
    }

    /// Shards have other numbers from now on.
    pub fn renumber(&mut self, number: impl Fn(u32) -> u32) {
        self.shards.iter_mut().for_each(|shard| *shard = number(*shard));
        self.shards.sort_unstable();
        self.shards.dedup();
    }

    /// Ends the epoch, with the records of the shards, but for those that are [`light`](Self::light). One with less
    /// than half of the records of the one before may be what was left of that, and says nothing of the next; if more
    /// such follow, it does.
    pub fn turn_over(&mut self, shards: impl Iterator<Item = (u32, u64)>) {
        if self.records == 0 {
            return;
        }
        let records = std::mem::take(&mut self.records);
        if records < self.before / 2 {
            self.before /= 2;
            return;
        }
        self.before = records;
        let least = self.share * self.before as f64;
        self.shards.clear();
        self.shards.extend(shards.filter(|(_, records)| *records as f64 >= least).map(|(shard, _)| shard));
        self.shards.sort_unstable();
    }
}
