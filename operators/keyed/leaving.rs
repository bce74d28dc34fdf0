//! State on its way out of a worker: to other workers, and into a snapshot. Both fill bounded chunks.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

use smallvec::SmallVec;

use super::chunk::{Chunk, ChunkBuilder};
use super::codec::Codec;
use super::shards::{Entry, Times};
use crate::keyspace::KeyRange;

/// A chunk that is to be sent, and what was held for it.
pub(super) struct Parcel<H> {
    pub chunk: Chunk,
    /// The worker it goes to; the store if there is none.
    pub to: Option<usize>,
    pub hold: H,
}

/// A part of the key space that another worker takes over.
pub(super) struct Departure<K, S, C: Codec<K, S>, H> {
    range: KeyRange,
    to: usize,
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
        self.builder.push(entry.routing, key, &entry.state, timers);
        if self.builder.length() >= chunk_bytes {
            let chunk = self.builder.take(self.range, false);
            parcels.push(Parcel { chunk, to: Some(self.to), hold: self.hold.clone() });
        }
    }
}

/// The departures in progress, by the starts of their ranges. All are of one boundary, so that they never overlap: the next
/// one is crossed only when no state can arrive anywhere any more, and so none is leaving.
pub(super) struct Departures<K, S, C: Codec<K, S>, H>(BTreeMap<u64, Departure<K, S, C, H>>);

impl<K, S, C: Codec<K, S>, H> Departures<K, S, C, H> {
    pub fn new() -> Self {
        Departures(BTreeMap::new())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn begin(&mut self, range: KeyRange, to: usize, hold: H) {
        self.0.insert(range.start(), Departure { range, to, builder: ChunkBuilder::new(), hold });
    }

    /// The departure that a routing key belongs to.
    pub fn covering(&mut self, routing: u64) -> Option<&mut Departure<K, S, C, H>> {
        self.0.range_mut(..=routing).next_back().map(|(_, d)| d).filter(|d| d.range.contains(routing))
    }

    /// Sends the last chunk of every departure.
    pub fn finish(&mut self, parcels: &mut Vec<Parcel<H>>) {
        for mut departure in std::mem::take(&mut self.0).into_values() {
            let chunk = departure.builder.take(departure.range, true);
            parcels.push(Parcel { chunk, to: Some(departure.to), hold: departure.hold });
        }
    }
}

/// A snapshot in progress.
pub(super) struct Snapshot<K, S, C: Codec<K, S>, H> {
    builder: ChunkBuilder<K, S, C>,
    /// Keys that existed at the boundary and are still to be saved.
    unsaved: usize,
    /// No shard before this index has keys to look at.
    pub next: usize,
    hold: H,
}

impl<K: Hash + Eq, S, C: Codec<K, S>, H: Clone> Snapshot<K, S, C, H> {
    pub fn new(unsaved: usize, hold: H) -> Self {
        Snapshot { builder: ChunkBuilder::new(), unsaved, next: 0, hold }
    }

    /// Saves a key as it is, unless snapshot `number` has it already.
    #[inline]
    pub fn save<B: BuildHasher>(&mut self, number: u32, key: &K, entry: &mut Entry<S>, timers: &HashMap<K, Times, B>) {
        if entry.saved != number {
            entry.saved = number;
            self.unsaved -= 1;
            self.builder.push(entry.routing, key, &entry.state, timers.get(key).map_or(&[], SmallVec::as_slice));
        }
    }

    pub fn is_complete(&self) -> bool {
        self.unsaved == 0
    }

    pub fn emit_if_full(&mut self, chunk_bytes: usize, parcels: &mut Vec<Parcel<H>>) {
        if self.builder.length() >= chunk_bytes {
            self.emit(parcels);
        }
    }

    pub fn finish(mut self, parcels: &mut Vec<Parcel<H>>) {
        self.emit(parcels);
    }

    fn emit(&mut self, parcels: &mut Vec<Parcel<H>>) {
        if let Some(hull) = self.builder.hull() {
            let chunk = self.builder.take(hull, true);
            parcels.push(Parcel { chunk, to: None, hold: self.hold.clone() });
        }
    }
}
