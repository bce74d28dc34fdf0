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

/// Keys after which the length of a chunk being filled is looked at, at the most, if none of them can be long: a look
/// takes longer than to append a small one.
const LOOK_AFTER: usize = 64;

/// A chunk being filled.
pub(super) struct ChunkBuilder<K, S, C: Codec<K, S>> {
    encoder: C::Encoder,
    keys: u32,
    /// The lowest routing key, and the highest one.
    ends: Option<(u64, u64)>,
    /// With so many keys the length is looked at next.
    look_at: u32,
}

impl<K, S, C: Codec<K, S>> ChunkBuilder<K, S, C> {
    pub fn new() -> Self {
        ChunkBuilder { encoder: C::Encoder::default(), keys: 0, ends: None, look_at: 1 }
    }

    pub fn push(&mut self, row: RowRef<'_, K, S>) {
        let routing = row.0;
        C::push(&mut self.encoder, row);
        self.keys += 1;
        self.ends = Some(self.ends.map_or((routing, routing), |(low, high)| (low.min(routing), high.max(routing))));
    }

    pub fn length(&self) -> usize {
        C::length(&self.encoder)
    }

    /// Whether what has been filled in has about so many bytes, or more.
    pub fn is_full(&mut self, bytes: usize) -> bool {
        if self.keys < self.look_at {
            return false;
        }
        let length = self.length();
        // Half of the way, as the next ones may be longer; and what owns nothing can't be much longer.
        let is_plain = !std::mem::needs_drop::<(K, S)>();
        let ahead = bytes.saturating_sub(length) / (length / self.keys as usize + 1) / 2;
        self.look_at = self.keys + ahead.clamp(1, if is_plain { LOOK_AFTER } else { 1 }) as u32;
        length >= bytes
    }

    /// Takes what has been filled in, if it is anything, as a chunk of the smallest range that holds it.
    pub fn take_hull(&mut self) -> Option<Chunk> {
        let (low, high) = self.ends?;
        Some(self.take(KeyRange::single(low).hull(&KeyRange::single(high)), true))
    }

    /// Takes what has been filled in, and begins anew.
    pub fn take(&mut self, range: KeyRange, last: bool) -> Chunk {
        let filled = std::mem::replace(self, Self::new());
        Chunk { range, last, keys: filled.keys, bytes: C::finish(filled.encoder) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyed::codec::Columns;

    /// Lengths of chunks of 10,000 bytes or a little more, all but the last one.
    fn lengths<S>(states: impl Iterator<Item = S>) -> Vec<usize>
    where
        Columns: Codec<u64, S>,
    {
        let (mut builder, mut lengths) = (ChunkBuilder::<u64, S, Columns>::new(), Vec::new());
        for (key, state) in (0u64..).zip(states) {
            builder.push((key, &key, &state, &[], 0));
            if builder.is_full(10_000) {
                lengths.extend(builder.take_hull().map(|chunk| chunk.bytes.len()));
            }
        }
        lengths
    }

    #[test]
    fn a_chunk_is_full_with_a_key_that_is_long_and_soon_after_its_length_with_short_ones() {
        let short = lengths(0..5_000u64);
        assert_eq!(short.len(), 16);
        assert!(short.iter().all(|length| (10_000..10_100).contains(length)), "{short:?}");
        let long = lengths((0..100).map(|key| if key % 10 == 9 { "x".repeat(20_000) } else { String::new() }));
        assert_eq!(long.len(), 10);
        assert!(long.iter().all(|length| (20_000..21_000).contains(length)), "{long:?}");
    }
}
