use super::KeyRange;
use crate::error::Error;

/// Why an assignment can't be, or can't be changed as a command says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoutingError {
    /// No shard has just this range.
    #[error("no shard has the range {range}: the nearest is {nearest}")]
    UnknownRange {
        /// The range that was named.
        range: KeyRange,
        /// The shard that holds the range's first routing key.
        nearest: KeyRange,
    },
    /// Two shards hold the same routing keys.
    #[error("the shards {left} and {right} overlap")]
    Overlap {
        /// The shard that begins first.
        left: KeyRange,
        /// The shard that begins inside it.
        right: KeyRange,
    },
    /// No shard holds these routing keys.
    #[error("no shard holds the routing keys {range}")]
    Gap {
        /// What is missing.
        range: KeyRange,
    },
    /// The worker is not one of those running.
    #[error("worker {worker} can't own the shard {range}: there are {workers} workers, counted from 0")]
    WorkerOutOfRange {
        /// The shard.
        range: KeyRange,
        /// The worker that was named.
        worker: usize,
        /// How many there are.
        workers: usize,
    },
    /// A split at a routing key that would leave one part empty, or lies outside the shard.
    #[error("the shard {range} can't be split at {at:#x}: both parts must hold a routing key")]
    SplitOutside {
        /// The shard.
        range: KeyRange,
        /// The routing key that was named.
        at: u64,
    },
    /// A merge of shards that two workers own.
    #[error("{left} and {right} can't be merged: workers {left_owner} and {right_owner} own them; move one first")]
    DifferentOwners {
        /// The shard with the lower routing keys.
        left: KeyRange,
        /// The shard with the higher ones.
        right: KeyRange,
        /// The owner of `left`.
        left_owner: usize,
        /// The owner of `right`.
        right_owner: usize,
    },
    /// A fold of a key that is folded.
    #[error("the key {key:#x} is folded already")]
    AlreadyFolded {
        /// The routing key.
        key: u64,
    },
    /// An unfold of a key that is not folded.
    #[error("the key {key:#x} can't be unfolded: it is not folded")]
    NotFolded {
        /// The routing key.
        key: u64,
    },
    /// A fold in a key space that has an operator which can't fold.
    #[error("the key {key:#x} can't be folded: not all operators of the key space have a merge")]
    NoMerge {
        /// The routing key.
        key: u64,
    },
    /// A number of shards or workers that no dataflow can have.
    #[error("{shards} shards on {workers} workers: both must be at least 1 and at most {}", u32::MAX)]
    OutOfBounds {
        /// The number of shards.
        shards: usize,
        /// The number of workers.
        workers: usize,
    },
}

impl From<RoutingError> for Error {
    fn from(error: RoutingError) -> Self {
        Error::usage(error.to_string())
    }
}
