use std::fmt;
use std::task::Poll;

use serde::{Deserialize, Serialize};

use super::Chunk;
use crate::error::Error;
use crate::keyspace::KeyRange;
use crate::profile::{CountedShards, ShardEpoch};

/// What a keyed operator tells of itself, at the epoch it tells of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Report {
    /// What some shards have seen in the epoch: in all, one for each shard and worker that saw records of it, or
    /// several, of which a later one tells of more records and has the latest figures of the state.
    Shards(Vec<ShardEpoch>),
    /// The same, of shards whose records were only counted.
    Counted(CountedShards),
    /// A worker's gate has folded records of a key, which no shard has seen.
    Folded {
        /// The worker.
        worker: usize,
        /// The routing key, unless it is one of those that matter to the gate alone, which are told of together.
        key: Option<u64>,
        /// The records.
        records: u64,
    },
    /// The state that a worker holds at the end of the epoch.
    Holds {
        /// The worker.
        worker: usize,
        /// Its keys.
        keys: u64,
        /// Their estimated length, as encoded.
        bytes: u64,
        /// How long, by the same estimate, the keys are that have changed since the last snapshot began, those that are
        /// gone included.
        unsaved_bytes: u64,
    },
    /// A chunk of state has left for another worker.
    Moved {
        /// The worker it left.
        worker: usize,
        /// The worker it goes to.
        to: usize,
        /// Its length.
        bytes: u64,
    },
    /// A chunk of state has been read back from the store.
    Restored {
        /// The worker that read it.
        worker: usize,
        /// Its length.
        bytes: u64,
        /// How long it took to read and take in.
        nanos: u64,
    },
    /// The program has asked for a checkpoint.
    CheckpointRequested,
}

/// A part of a snapshot, at the boundary as of which it was taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotPart {
    /// The name of the operator.
    pub operator: String,
    /// The worker that took it.
    pub worker: usize,
    /// The codec of its chunks.
    pub codec: u16,
    /// What it is.
    pub content: SnapshotContent,
}

/// What a part of a snapshot is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum SnapshotContent {
    /// What the worker owns from the boundary on: one part of each worker and operator.
    Shards {
        /// The ranges of the worker's shards.
        ranges: Vec<KeyRange>,
        /// The routing keys of the key space that are folded, whoever owns them: the same on all workers.
        folded: Vec<u64>,
        /// Keys in them.
        keys: u64,
        /// Whether all of them follow, and not only those that have changed since the snapshot before.
        whole: bool,
    },
    /// Keys of these shards, each in one chunk of a snapshot only.
    Chunk(Chunk),
}

/// Where the states of a keyed operator come from when a run does not begin with none.
pub struct Restore {
    /// The boundary as of which the snapshot was taken.
    pub epoch: u64,
    /// The ranges of the chunks, in any order.
    pub parts: Vec<KeyRange>,
    /// The chunks with those ranges, those of later snapshots before those of earlier ones: what a key is that several
    /// of them have, the first one says. Taken one at a time, as the operator finds time; pending while the store has
    /// not given the next one.
    pub chunks: Restored,
}

/// Chunks as they are read.
pub type Restored = Box<dyn Iterator<Item = Poll<Result<Chunk, Error>>>>;

impl fmt::Debug for Restore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restore").field("epoch", &self.epoch).field("parts", &self.parts.len()).finish_non_exhaustive()
    }
}
