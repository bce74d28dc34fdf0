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

/// A snapshot in progress: of the keys that have changed since the one before, or of all.
pub(super) struct Snapshot<K, S, C: Codec<K, S>, H> {
    /// Its number, among those of this worker.
    number: u32,
    whole: bool,
    /// Keys in the order of the shards, so that a chunk holds neighbours.
    scanned: ChunkBuilder<K, S, C>,
    /// Keys that were about to change.
    early: ChunkBuilder<K, S, C>,
    chunk_bytes: usize,
    /// Chunks that are full.
    full: Vec<Chunk>,
    /// Keys that are still to be saved.
    left: usize,
    /// No shard before this index has keys to look at.
    pub next: usize,
    hold: H,
}

/// Why a key is saved.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Its turn has come.
    Scanned,
    /// It is about to change, or to leave.
    Early,
}

impl<K: Hash + Eq + Clone, S, C: Codec<K, S>, H: Clone> Snapshot<K, S, C, H> {
    pub fn new(number: u32, whole: bool, left: usize, chunk_bytes: usize, hold: H) -> Self {
        let (scanned, early) = (ChunkBuilder::new(), ChunkBuilder::new());
        Snapshot { number, whole, scanned, early, chunk_bytes, full: Vec::new(), left, next: 0, hold }
    }

    /// Saves a key as it is, if that has changed since the snapshot before, and this one doesn't have it already.
    /// Whether there is one change less that is unsaved.
    #[inline]
    pub fn save(&mut self, turn: Turn, key: &K, entry: &mut Entry<S>, timers: &Timers<K>) -> bool {
        if std::mem::replace(&mut entry.seen, self.number) == self.number || !(entry.unsaved || self.whole) {
            return false;
        }
        self.left -= 1;
        // A whole snapshot is the first one of its chain: in it, what is not there is gone.
        if !(self.whole && entry.gone) {
            let builder = if turn == Turn::Early { &mut self.early } else { &mut self.scanned };
            builder.push(entry.row(key, timers.of(key)));
            if builder.length() >= self.chunk_bytes {
                self.full.extend(builder.take_hull());
            }
        }
        entry.stored = !entry.gone;
        std::mem::take(&mut entry.unsaved)
    }

    pub fn has_full(&self) -> bool {
        !self.full.is_empty()
    }

    /// Sends the chunks that are full, and once all keys are saved the last ones; whether that was it.
    pub fn send(&mut self, parcels: &mut Vec<Parcel<H>>) -> bool {
        let complete = self.left == 0;
        if complete {
            self.full.extend(self.scanned.take_hull());
            self.full.extend(self.early.take_hull());
        }
        parcels.extend(self.full.drain(..).map(|chunk| Parcel { chunk, hold: self.hold.clone() }));
        complete
    }
}
