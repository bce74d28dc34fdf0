use serde::{Deserialize, Serialize};

use crate::keyspace::KeyRange;

/// A bounded part of a shard's state, encoded, on its way to another worker or to the store: the one form in which
/// state leaves a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The shard, or the part of one, to which the keys belong.
    pub range: KeyRange,
    /// Whether no other chunk of this range follows.
    pub last: bool,
    /// Keys in the chunk.
    pub keys: u32,
    /// The keys with their routing keys, states and timers, as the codec writes them.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}
