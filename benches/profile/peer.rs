//! The peer arm: a shard's figures from sketches off the shelf.

use datasketches::frequencies::{ErrorType, FrequentItemsSketch};
use datasketches::hll::{HllSketch, HllType};
use hdrhistogram::Histogram;

/// As many registers as ours; in bytes, which are faster than its four-bit form.
const LG_REGISTERS: u8 = 13;

/// Three quarters of it are counters: enough to find keys with a thousandth.
const COUNTERS: usize = 2_048;

pub struct Peer {
    distinct: HllSketch,
    heavy: FrequentItemsSketch<u64>,
    sizes: Histogram<u64>,
    count: u64,
    mean: f64,
    squares: f64,
}

impl Default for Peer {
    fn default() -> Self {
        Peer {
            distinct: HllSketch::new(LG_REGISTERS, HllType::Hll8).expect("the number of registers is valid"),
            heavy: FrequentItemsSketch::new(COUNTERS).expect("the number of counters is a power of two"),
            sizes: Histogram::new_with_bounds(1, 1 << 30, 2).expect("the bounds are valid"),
            count: 0,
            mean: 0.0,
            squares: 0.0,
        }
    }
}

impl Peer {
    pub fn observe(&mut self, key: u64, value: f64, size: u32) {
        self.distinct.update(key);
        self.heavy.update(key);
        self.sizes.saturating_record(size.into());
        self.count += 1;
        let from_old = value - self.mean;
        self.mean += from_old / self.count as f64;
        self.squares += from_old * (value - self.mean);
    }

    /// Mean, deviation, distinct keys, heavy keys, and quantiles of sizes.
    pub fn figures(&self) -> (f64, f64, f64, usize, [u64; 2]) {
        let deviation = (self.squares / self.count as f64).sqrt();
        let heavy = self.heavy.frequent_items_with_threshold(ErrorType::NoFalsePositives, self.count / 1_000).len();
        let sizes = [0.5, 0.99].map(|share| self.sizes.value_at_quantile(share));
        (self.mean, deviation, self.distinct.estimate(), heavy, sizes)
    }
}
