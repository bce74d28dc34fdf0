//! Statistics of a shard: per epoch, and rolling over a window of epochs. Pure, but for the operator.
//!
//! [`Gathering`] takes in the records of all shards of a worker by batches, and [`Statistics`] those of one shard, a
//! call each; [`Rolling`] merges what the workers report of an epoch and makes a [`Profile`] per shard;
//! [`ProfileStream`] is both for a stream, record by record. What the figures promise, at the default share of sampled
//! records:
//!
//! Of a shard with less than [`ProfileConfig::detail`] of its worker's records these are only counted and summed up: it
//! has no distinct or heavy keys, no sample and no quantiles. Where it becomes heavier within an epoch, these are of
//! the records from then on.
//!
//! | figure | sees | error |
//! |---|---|---|
//! | records, largest and mean size | every record | none |
//! | mean, deviation | every record with a finite value | rounding |
//! | distinct | every record | none up to [`HEAD`] records, then relative standard error: 0.8 % up to 20,000 keys, 1 % up to 100,000, 1.4 % at a million, 3 % at ten million; of no use beyond thirty million |
//! | heavy, skew | the first [`HEAD`] records of an epoch, then sampled ones | at 100,000 records, 4 % relative standard error for a share of a tenth, 13 % for one of a hundredth; of 500,000 records, every key with a thousandth of the records all along is found |
//! | sizes' quantiles | like heavy | in value at most a sixteenth too high, in rank that of the sample |
//! | sample | like heavy | each record has the same chance, approximately |
//! | busy | sampled records | a sum of sampled times |
//!
//! Two runs on the same input agree in all that sees every record. What is sampled depends on the order in which
//! records reach a worker; on the same order it is the same.

mod config;
mod counted;
mod counters;
mod details;
mod distinct;
mod gathered;
mod gathering;
mod head;
mod heaviest;
mod heavy;
mod keysample;
mod marks;
mod moments;
mod noted;
mod operator;
mod rolling;
mod sampler;
mod sizes;
mod sketches;
mod statistics;
mod tally;
#[cfg(test)]
mod tests;
mod window;

pub use config::ProfileConfig;
pub(crate) use counted::encoded_bytes;
pub use counted::{CountedShards, ShardCount};
pub(crate) use gathered::{Gathered, Taken};
pub use gathering::Gathering;
pub use head::HEAD;
pub use heavy::MAX_HEAVY;
pub use keysample::KEY_SAMPLE;
pub use operator::ProfileStream;
pub(crate) use rolling::join_parts;
pub use rolling::{Rolling, ShardEpoch};
pub use sampler::Sampler;
pub use statistics::Statistics;

use serde::{Deserialize, Serialize};

use crate::keyspace::KeyRange;

/// What one shard saw in one complete epoch, and over the last `window` epochs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// The number of the epoch.
    pub epoch: u64,
    /// The shard.
    pub range: KeyRange,
    /// The worker that owned it in that epoch: of several that report records of it, the one with most.
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
    /// Epochs the figures cover, idle ones included; a rolling summary begins with the shard's first records.
    pub epochs: u64,
    /// Records, exactly.
    pub records: u64,
    /// Mean of the value that the user named, over those that are finite; 0 without any.
    pub mean: f64,
    /// Population standard deviation of those values; 0 without any.
    pub deviation: f64,
    /// Estimated number of distinct routing keys; 0 if records were only counted.
    pub distinct: f64,
    /// The heaviest routing keys found, heaviest first, at most [`MAX_HEAVY`]. A key that was sampled too seldom for
    /// its share to be known is not among them, so that there may be none.
    pub heavy: Vec<HeavyKey>,
    /// How many times the records of an average key the heaviest key has: 1 where all are alike, or differ no more
    /// than sampling explains; 0 without records, or if they were only counted.
    pub skew: f64,
    /// Record sizes.
    pub sizes: Sizes,
    /// A uniform sample of the records' routing keys, ascending, at most [`KEY_SAMPLE`]: a key with a tenth of the
    /// records makes up about a tenth of it.
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
    /// Median: half of the records are no larger. 0 if records were only counted.
    pub p50: u64,
    /// 99th percentile. 0 if records were only counted.
    pub p99: u64,
    /// Largest seen.
    pub max: u64,
}

/// Health in (0, 1] of something that carries `load` where its fair share would be `fair`: `1 / (1 + load / fair)`.
///
/// It falls as the load grows, strictly, and depends on the load in units of the fair share only. So the healths of
/// shards, of workers, and of the same shard under different total loads can be compared: 1 is idle, 0.5 is exactly
/// one worker's fair share, and 1/3 is twice that. Where the fair share is 0 or unknown nothing is overloaded.
///
/// ```
/// use thalweg::profile::health;
///
/// assert_eq!((health(0.0, 100.0), health(100.0, 100.0), health(300.0, 100.0)), (1.0, 0.5, 0.25));
/// ```
pub fn health(load: f64, fair: f64) -> f64 {
    if fair > 0.0 { 1.0 / (1.0 + load / fair) } else { 1.0 }
}
