use serde::{Deserialize, Serialize};

use crate::keyspace::{Command, RoutingError};

/// What a loop tells of its life, on worker 0.
#[derive(Clone, Debug)]
pub enum Event {
    /// An epoch is complete and has been decided on: one for each key space.
    Epoch(EpochEvent),
    /// A checkpoint is durable, or has been abandoned.
    Checkpoint(CheckpointEvent),
}

/// A complete epoch in one key space, and what was decided from it.
#[derive(Clone, Debug)]
pub struct EpochEvent {
    /// The key space.
    pub space: String,
    /// The epoch's number.
    pub epoch: u64,
    /// Its records.
    pub records: u64,
    /// Its records by worker.
    pub loads: Vec<u64>,
    /// Keys with state, of all workers as last heard of.
    pub keys: u64,
    /// Estimated bytes of that state, as encoded.
    pub state_bytes: u64,
    /// Bytes of state that left one worker for another at the epoch's boundary.
    pub moved_bytes: u64,
    /// The records that had been forecast for the epoch, one epoch earlier.
    pub forecast: Option<f64>,
    /// The boundary at which the commands take effect.
    pub boundary: u64,
    /// The commands.
    pub commands: Vec<Command>,
    /// What the policy asked for and can't be carried out.
    pub refused: Vec<(Command, RoutingError)>,
    /// Why a checkpoint was commanded, if one was.
    pub checkpoint: Option<String>,
    /// How long a recovery would take if a failure came now, in seconds.
    pub recovery_seconds: Option<f64>,
}

impl EpochEvent {
    /// The busiest worker's records over the workers' mean; 1 without records.
    pub fn max_mean(&self) -> f64 {
        let (max, sum) = (self.loads.iter().max().copied().unwrap_or(0), self.loads.iter().sum::<u64>());
        if sum == 0 { 1.0 } else { max as f64 * self.loads.len() as f64 / sum as f64 }
    }
}

/// A checkpoint that has become durable, or has been abandoned.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckpointEvent {
    /// Its boundary.
    pub epoch: u64,
    /// Why it was taken.
    pub reason: String,
    /// Bytes written.
    pub bytes: u64,
    /// Keys that were written: those that had changed, or were gone, since the checkpoint before, or all.
    pub saved_keys: u64,
    /// Keys with state.
    pub keys: u64,
    /// Earlier checkpoints whose bytes it refers to: of what has not changed since.
    pub generations: usize,
    /// From the first part of its snapshot to its being durable, in seconds.
    pub seconds: f64,
    /// Why it was abandoned, if it was.
    pub error: Option<String>,
    /// Why the checkpoints before it could not be removed, if they couldn't.
    pub retention_error: Option<String>,
    /// Why what earlier checkpoints have written could not be merged, if it couldn't.
    pub merge_error: Option<String>,
}

impl CheckpointEvent {
    /// The share of the keys that were written; over 1, if more are gone than are left.
    pub fn saved_share(&self) -> f64 {
        self.saved_keys as f64 / self.keys.max(1) as f64
    }
}
