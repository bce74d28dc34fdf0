//! State on its way out of a worker: to other workers, and into a snapshot. Both fill bounded chunks.

use std::collections::BTreeMap;
use std::hash::Hash;

use super::chunk::{Chunk, ChunkBuilder};
use super::codec::Codec;
use super::entry::Entry;
use super::timers::Timers;
use crate::keyspace::KeyRange;

/// A chunk that is to be sent, and what was held for it: whoever began the departure or the snapshot knows where to.
pub(super) struct Parcel<H> {
    pub chunk: Chunk,
    pub hold: H,
}

/// A part of the key space that another worker takes over.
pub(super) struct Departure<K, S, C: Codec<K, S>, H> {
    range: KeyRange,
    builder: ChunkBuilder<K, S, C>,
    hold: H,
}

impl<K, S, C: Codec<K, S>, H: Clone> Departure<K, S, C, H> {
    /// Appends a key to the chunk being filled, and sends the chunk when it is full.
    pub fn send(
        &mut self,
        key: &K,
        entry: &Entry<S>,
        timers: &[u64],
        chunk_bytes: usize,
        parcels: &mut Vec<Parcel<H>>,
    ) {
        self.builder.push(entry.row(key, timers));
        if self.builder.length() >= chunk_bytes {
            let chunk = self.builder.take(self.range, false);
            parcels.push(Parcel { chunk, hold: self.hold.clone() });
        }
    }
}

/// The departures in progress, by the starts of their ranges. All are of one boundary, so that they never overlap: the
/// next one is crossed only when no state can arrive anywhere any more, and so none is leaving.
pub(super) struct Departures<K, S, C: Codec<K, S>, H>(BTreeMap<u64, Departure<K, S, C, H>>);

impl<K, S, C: Codec<K, S>, H> Departures<K, S, C, H> {
    pub fn new() -> Self {
        Departures(BTreeMap::new())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn begin(&mut self, range: KeyRange, hold: H) {
        self.0.insert(range.start(), Departure { range, builder: ChunkBuilder::new(), hold });
    }

    /// The departure that a routing key belongs to.
    pub fn covering(&mut self, routing: u64) -> Option<&mut Departure<K, S, C, H>> {
        self.0.range_mut(..=routing).next_back().map(|(_, d)| d).filter(|d| d.range.contains(routing))
    }

    /// Sends the last chunk of every departure.
    pub fn finish(&mut self, parcels: &mut Vec<Parcel<H>>) {
        for mut departure in std::mem::take(&mut self.0).into_values() {
            let chunk = departure.builder.take(departure.range, true);
            parcels.push(Parcel { chunk, hold: departure.hold });
        }
    }
}

/// A snapshot in progress.
pub(super) struct Snapshot<K, S, C: Codec<K, S>, H> {
    builder: ChunkBuilder<K, S, C>,
    chunk_bytes: usize,
    /// Chunks that are full.
    full: Vec<Chunk>,
    /// Keys that existed at the boundary and are still to be saved.
    unsaved: usize,
    /// No shard before this index has keys to look at.
    pub next: usize,
    hold: H,
}

impl<K: Hash + Eq + Clone, S, C: Codec<K, S>, H: Clone> Snapshot<K, S, C, H> {
    pub fn new(unsaved: usize, chunk_bytes: usize, hold: H) -> Self {
        Snapshot { builder: ChunkBuilder::new(), chunk_bytes, full: Vec::new(), unsaved, next: 0, hold }
    }

    /// Saves a key as it is, unless snapshot `number` has it already.
    #[inline]
    pub fn save(&mut self, number: u32, key: &K, entry: &mut Entry<S>, timers: &Timers<K>) {
        if entry.saved != number {
            entry.saved = number;
            self.unsaved -= 1;
            self.builder.push(entry.row(key, timers.of(key)));
            if self.builder.length() >= self.chunk_bytes {
                self.close_chunk();
            }
        }
    }

    pub fn has_full(&self) -> bool {
        !self.full.is_empty()
    }

    fn close_chunk(&mut self) {
        if let Some(hull) = self.builder.hull() {
            self.full.push(self.builder.take(hull, true));
        }
    }

    /// Sends the chunks that are full, and once all keys are saved the last one; whether that was it.
    pub fn send(&mut self, parcels: &mut Vec<Parcel<H>>) -> bool {
        let complete = self.unsaved == 0;
        if complete {
            self.close_chunk();
        }
        parcels.extend(self.full.drain(..).map(|chunk| Parcel { chunk, hold: self.hold.clone() }));
        complete
    }
}
