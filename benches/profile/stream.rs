//! Records to profile: Zipf over a million keys.

use thalweg::stable_hash;

/// A power of two.
pub const SHARDS: usize = 64;

const KEYS: usize = 1_000_000;
const EXPONENT: f64 = 0.99;

pub struct Record {
    /// The routing key.
    pub key: u64,
    pub value: f64,
    pub size: u32,
}

impl Record {
    pub fn shard(&self) -> u32 {
        (self.key >> (64 - SHARDS.ilog2())) as u32
    }
}

/// The records of an epoch.
pub type Epoch = Vec<Record>;

pub struct Stream {
    /// By rank: the share of this key and all before it, times what it is of the last.
    cumulative: Vec<f64>,
    state: u64,
    /// What the ranks' routing keys are hashed with.
    salt: u64,
}

impl Stream {
    pub fn new(seed: u64) -> Self {
        let mut sum = 0.0;
        let weight = |rank: usize| {
            sum += (rank as f64).powf(-EXPONENT);
            sum
        };
        Stream { cumulative: (1..=KEYS).map(weight).collect(), state: seed, salt: 0 }
    }

    /// From now on the keys are others.
    pub fn redraw_keys(&mut self) {
        self.salt += 1;
    }

    pub fn epoch(&mut self, records: usize) -> Epoch {
        (0..records).map(|_| self.record()).collect()
    }

    fn record(&mut self) -> Record {
        let drawn = self.unit() * self.cumulative[KEYS - 1];
        let rank = self.cumulative.partition_point(|share| *share < drawn);
        let key = stable_hash(&(rank as u64, self.salt));
        let size = 16 + (self.unit().powi(4) * 2_000.0) as u32;
        Record { key, value: 1e6 + 1e3 * self.unit(), size }
    }

    /// Uniform in [0, 1).
    fn unit(&mut self) -> f64 {
        self.state = self.state.wrapping_add(1);
        (stable_hash(&self.state) >> 11) as f64 / (1u64 << 53) as f64
    }
}
