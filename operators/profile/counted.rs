use serde::{Deserialize, Serialize};

use super::{ShardEpoch, Statistics};
use crate::keyspace::KeyRange;

/// What one worker reports at the end of an epoch of shards whose records it has only counted, as they are all alike:
/// what a [`ShardEpoch`] for each says, in a quarter of the bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CountedShards {
    /// The worker that reports.
    pub worker: usize,
    /// The value of every record.
    pub value: f64,
    /// The size of every record, in bytes.
    pub size: usize,
    /// Estimated bytes of a key with its state, as encoded.
    pub row_bytes: f64,
    /// Records of all shards.
    pub records: u64,
    /// The shards, in order of their ranges.
    pub shards: Vec<ShardCount>,
}

/// What is reported of a shard whose records have only been counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardCount {
    /// The shard.
    pub range: KeyRange,
    /// Its records of the epoch on that worker.
    pub records: u64,
    /// Keys with state on that worker at the end of the epoch.
    pub keys: u64,
}

impl CountedShards {
    /// A report for each shard.
    pub fn into_reports(self) -> impl Iterator<Item = ShardEpoch> {
        let CountedShards { worker, value, size, row_bytes, shards, .. } = self;
        shards.into_iter().map(move |ShardCount { range, records, keys }| {
            let statistics = Statistics::counted(records, value, size);
            ShardEpoch { range, worker, keys, state_bytes: encoded_bytes(keys, row_bytes), statistics }
        })
    }
}

/// About how long so many keys are with their states, as encoded, at so many bytes each.
pub(crate) fn encoded_bytes(keys: u64, row_bytes: f64) -> u64 {
    (keys as f64 * row_bytes) as u64
}
