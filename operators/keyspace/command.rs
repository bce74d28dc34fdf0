use std::fmt;

use serde::{Deserialize, Serialize};

use super::KeyRange;

/// What the control stream says. A command takes effect at a boundary: the time of its message.
/// The commands of one boundary are applied to the assignment in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The shard becomes two; the second begins at `at`.
    Split {
        /// The shard to split.
        shard: KeyRange,
        /// The first routing key of the second part.
        at: u64,
    },
    /// Two neighbouring shards of one owner become one.
    Merge {
        /// The shard with the lower routing keys.
        left: KeyRange,
        /// The shard that begins where `left` ends.
        right: KeyRange,
    },
    /// The shard goes to another worker.
    Move {
        /// The shard to move.
        shard: KeyRange,
        /// The index of the worker that owns it from the boundary on.
        to: usize,
    },
    /// Each worker combines the key's records of an epoch where they are, and sends the key's owner one partial for
    /// them. Who owns the key does not change, and no state moves.
    Fold {
        /// The routing key.
        key: u64,
    },
    /// The records of a folded key go to its owner again.
    Unfold {
        /// The routing key.
        key: u64,
    },
    /// A snapshot of all shards is taken and becomes a checkpoint: what has changed since the one before it.
    Checkpoint,
    /// The checkpoint at the same boundary saves all states, as the one before it can't be built upon, or as nearly all
    /// have changed since.
    SaveAll,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Split { shard, at } => write!(f, "split {shard} at {at:#x}"),
            Command::Merge { left, right } => write!(f, "merge {left} and {right}"),
            Command::Move { shard, to } => write!(f, "move {shard} to {to}"),
            Command::Fold { key } => write!(f, "fold key {key:#x}"),
            Command::Unfold { key } => write!(f, "unfold key {key:#x}"),
            Command::Checkpoint => write!(f, "checkpoint"),
            Command::SaveAll => write!(f, "save all"),
        }
    }
}
