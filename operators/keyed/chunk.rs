use serde::{Deserialize, Serialize};

use super::codec::{Codec, RowRef};
use crate::keyspace::KeyRange;

/// A bounded part of a shard's state, encoded, on its way to another worker or to the store: the one form in which
/// state leaves a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Where the keys lie: in a migration the part of the key space that moves, in a snapshot the hull of the keys.
    pub range: KeyRange,
    /// In a migration, whether no other chunk of this range follows; in a snapshot always.
    pub last: bool,
    /// Keys in the chunk.
    pub keys: u32,
    /// The keys with their routing keys, states and timers, as the codec writes them.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// A chunk on its way to another worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Transfer {
    pub to: usize,
    /// It is a copy, sent before the boundary from which its keys belong there.
    pub ahead: bool,
    pub chunk: Chunk,
}

/// A chunk being filled.
pub(super) struct ChunkBuilder<K, S, C: Codec<K, S>> {
    encoder: C::Encoder,
    keys: u32,
    hull: Option<KeyRange>,
}

impl<K, S, C: Codec<K, S>> ChunkBuilder<K, S, C> {
    pub fn new() -> Self {
        ChunkBuilder { encoder: C::Encoder::default(), keys: 0, hull: None }
    }

    pub fn push(&mut self, row: RowRef<'_, K, S>) {
        let routing = row.0;
        C::push(&mut self.encoder, row);
        self.keys += 1;
        let single = KeyRange::single(routing);
        self.hull = Some(self.hull.map_or(single, |hull| hull.hull(&single)));
    }

    pub fn length(&self) -> usize {
        C::length(&self.encoder)
    }

    /// Takes what has been filled in, if it is anything, as a chunk of the smallest range that holds it.
    pub fn take_hull(&mut self) -> Option<Chunk> {
        self.hull.map(|hull| self.take(hull, true))
    }

    /// Takes what has been filled in, and begins anew.
    pub fn take(&mut self, range: KeyRange, last: bool) -> Chunk {
        let filled = std::mem::replace(self, Self::new());
        Chunk { range, last, keys: filled.keys, bytes: C::finish(filled.encoder) }
    }
}
