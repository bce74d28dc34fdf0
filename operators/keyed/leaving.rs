//! State on its way out of a worker: to other workers, and into a snapshot. Both fill bounded chunks.

use std::collections::BTreeMap;
use std::hash::Hash;

use super::chunk::{Chunk, ChunkBuilder};
use super::codec::Codec;
use super::entry::Entry;
use super::states::Cursor;
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
    /// How far it has been gone over.
    pub cursor: Cursor,
    /// Keys of which the next owner may have no copy as they are, wherever the cursor is: to be looked at from the
    /// boundary on.
    pub changed: Vec<(u64, K)>,
    builder: ChunkBuilder<K, S, C>,
    hold: H,
}

impl<K: Clone, S, C: Codec<K, S>, H: Clone> Departure<K, S, C, H> {
    pub fn new(range: KeyRange, hold: H) -> Self {
        let (cursor, changed, builder) = (Cursor::over(range), Vec::new(), ChunkBuilder::new());
        Departure { range, cursor, changed, builder, hold }
    }

    /// Appends a key to the chunk being filled, unless its next owner has it as it is, or need not know that it is
    /// gone; and sends the chunk when it is full.
    pub fn send(
        &mut self,
        routing: u64,
        entry: &mut Entry<K, S>,
        timers: &[u64],
        chunk_bytes: usize,
        parcels: &mut Vec<Parcel<H>>,
    ) {
        if entry.is_copied() || entry.is_gone() && entry.is_unknown() {
            return;
        }
        entry.set_copied();
        self.builder.push(entry.row(routing, timers));
        if self.builder.is_full(chunk_bytes) {
            let chunk = self.builder.take(self.range, false);
            parcels.push(Parcel { chunk, hold: self.hold.clone() });
        }
    }

    /// Sends what there is in the chunk being filled.
    pub fn flush(&mut self, parcels: &mut Vec<Parcel<H>>) {
        let chunk = self.builder.take(self.range, false);
        parcels.extend((chunk.keys > 0).then(|| Parcel { chunk, hold: self.hold.clone() }));
    }

    /// Sends the last chunk, and gives what is to be let go of.
    pub fn finish(mut self, parcels: &mut Vec<Parcel<H>>) -> Cursor {
        let chunk = self.builder.take(self.range, true);
        parcels.push(Parcel { chunk, hold: self.hold });
        Cursor::over(self.range)
    }
}

/// The departures in progress, by the starts of their ranges. All are of one boundary, so that they never overlap: the
/// next one is crossed only when nothing is leaving any more.
pub(super) struct Departures<K, S, C: Codec<K, S>, H> {
    pub by_start: BTreeMap<u64, Departure<K, S, C, H>>,
    /// The starts of those that are not all copied ahead, the hottest first.
    to_copy: Vec<u64>,
    /// Their boundary has been crossed; before, keys are copied ahead.
    pub leaving: bool,
    /// When it will be: timers before it fire here.
    pub boundary: u64,
    /// What has been sent, and how far it has been let go of.
    pub sent: Vec<Cursor>,
}

impl<K: Clone, S, C: Codec<K, S>, H: Clone> Departures<K, S, C, H> {
    pub fn new() -> Self {
        Departures { by_start: BTreeMap::new(), to_copy: Vec::new(), leaving: false, boundary: 0, sent: Vec::new() }
    }

    pub fn are_leaving(&self) -> bool {
        self.leaving && !(self.by_start.is_empty() && self.sent.is_empty())
    }

    pub fn have_more_to_copy(&self) -> bool {
        !self.to_copy.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.by_start.is_empty() && self.sent.is_empty()
    }

    /// The coldest one of which not all has been copied ahead: of the hottest fewer keys change between copy and
    /// boundary the later it is copied.
    pub fn next_to_copy(&mut self) -> Option<&mut Departure<K, S, C, H>> {
        self.by_start.get_mut(self.to_copy.last()?)
    }

    /// All of that one has been copied ahead.
    pub fn finish_copying(&mut self) {
        self.to_copy.pop();
    }

    /// Copies ahead what is in these ranges, with the records that there have been of late, which leave at `boundary`.
    pub fn prepare(&mut self, boundary: u64, ranges: impl Iterator<Item = (KeyRange, u64, H)>) {
        (self.leaving, self.boundary) = (false, boundary);
        let mut heats = Vec::new();
        for (range, heat, hold) in ranges {
            heats.push((heat, range.start()));
            self.by_start.insert(range.start(), Departure::new(range, hold));
        }
        heats.sort_unstable_by(|a, b| b.cmp(a));
        self.to_copy = heats.into_iter().map(|(_, start)| start).collect();
    }

    /// Sends what of these ranges has not been copied ahead. If there are any that have been prepared, they are the
    /// same.
    pub fn begin(&mut self, ranges: impl Iterator<Item = (KeyRange, H)>) {
        for (range, hold) in ranges {
            self.by_start.entry(range.start()).or_insert_with(|| Departure::new(range, hold));
        }
        self.to_copy.clear();
        self.leaving = true;
    }

    /// Takes note that a key is new, or that its next owner's copy of it is not as it is any more.
    pub fn note_change(&mut self, routing: u64, key: &K) {
        let before = self.by_start.range_mut(..=routing).next_back();
        if let Some((_, departure)) = before.filter(|(_, departure)| departure.range.contains(routing)) {
            departure.changed.push((routing, key.clone()));
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
    /// Keys of them that changed before this snapshot began.
    pub changed_before: usize,
    /// How far the keys have been gone over.
    pub cursor: Cursor,
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
    /// `changed` keys have changed since the snapshot before; of a whole one, `all` is how many keys there are.
    pub fn new(number: u32, changed: usize, all: Option<usize>, chunk_bytes: usize, hold: H) -> Self {
        Snapshot {
            number,
            whole: all.is_some(),
            scanned: ChunkBuilder::new(),
            early: ChunkBuilder::new(),
            chunk_bytes,
            full: Vec::new(),
            left: all.unwrap_or(changed),
            changed_before: changed,
            cursor: Cursor::over(KeyRange::ALL),
            hold,
        }
    }

    /// Saves a key as it is, if that has changed since the snapshot before, and this one doesn't have it already.
    /// Whether there is one change less that is unsaved.
    #[inline]
    pub fn save(&mut self, turn: Turn, routing: u64, entry: &mut Entry<K, S>, timers: &Timers<K>) -> bool {
        let changed = entry.is_unsaved();
        // What is of no interest is not marked either: to write to each key takes longer than to look at it.
        if !(changed || self.whole) || entry.seen == self.number {
            return false;
        }
        entry.seen = self.number;
        self.left -= 1;
        self.changed_before -= usize::from(changed);
        // A whole snapshot is the first one of its chain: in it, what is not there is gone.
        if !(self.whole && entry.is_gone()) {
            let builder = if turn == Turn::Early { &mut self.early } else { &mut self.scanned };
            builder.push(entry.row(routing, timers.of(&entry.key)));
            if builder.is_full(self.chunk_bytes) {
                self.full.extend(builder.take_hull());
            }
        }
        entry.set_stored(!entry.is_gone());
        entry.set_unsaved(false);
        changed
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
