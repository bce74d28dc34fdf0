//! Statistics of a shard: per epoch, and rolling over a window of epochs. Pure, but for the operator.

use serde::{Deserialize, Serialize};

use crate::keyspace::KeyRange;

/// What one shard saw in one complete epoch, and over the last `window` epochs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// The number of the epoch.
    pub epoch: u64,
    /// The shard.
    pub range: KeyRange,
    /// The worker that owned it in that epoch.
    pub worker: usize,
    /// Keys with state at the end of the epoch.
    pub keys: u64,
    /// Estimated bytes of that state, as encoded.
    pub state_bytes: u64,
    /// The epoch.
    pub last: Summary,
    /// The last `window` epochs together, this one included.
    pub rolling: Summary,
    /// The shard's health in the epoch; see [`health`].
    pub health: f64,
}

/// Figures about some records of one shard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Epochs the figures cover.
    pub epochs: u64,
    /// Records, exactly.
    pub records: u64,
    /// Mean of the value that the user named; 0 without records.
    pub mean: f64,
    /// Population standard deviation of that value.
    pub deviation: f64,
    /// Estimated number of distinct routing keys.
    pub distinct: f64,
    /// The heaviest routing keys found, heaviest first.
    pub heavy: Vec<HeavyKey>,
    /// How many times the records of an average key the heaviest key has: 1 where all are alike.
    pub skew: f64,
    /// Record sizes.
    pub sizes: Sizes,
    /// A uniform sample of the records' routing keys, ascending.
    pub sample: Vec<u64>,
    /// Estimated time spent on the records, in nanoseconds.
    pub busy_nanos: u64,
}

/// A routing key with a notable share of a shard's records.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeavyKey {
    /// The routing key.
    pub key: u64,
    /// Its estimated share of the shard's records, in (0, 1].
    pub share: f64,
}

/// Record sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sizes {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
    /// Largest seen.
    pub max: u64,
}

/// Health in (0, 1] of something that carries `load` where its fair share would be `fair`: `1 / (1 + load / fair)`.
pub fn health(load: f64, fair: f64) -> f64 {
    if fair > 0.0 { 1.0 / (1.0 + load / fair) } else { 1.0 }
}
