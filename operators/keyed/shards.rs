//! The shards of one worker. Pure: it knows nothing of timely.
//!
//! Keys with their states lie in a map per shard. When the assignment changes, a shard that stays as it is keeps its
//! map. All other maps *dissolve*: a few keys at a time, each key goes where the new assignment says, to another shard
//! here or into a chunk for another worker. A key that is asked for while its old map dissolves is fetched from there,
//! so splits and merges never make a record wait.
//!
//! A snapshot goes over the maps a few keys at a time too. It saves the keys that have changed since the one before,
//! and says of those that are gone that they are. Every key remembers the number of the last snapshot that has looked at
//! it; one the snapshot in progress has not looked at is saved before it is changed, and before it goes elsewhere. A key
//! that is gone, but not from the last checkpoint, stays until a snapshot has said so: it moves and dissolves like any.

use std::collections::{BTreeSet, VecDeque};

use indexmap::IndexMap;
use indexmap::map::Entry as MapEntry;

use super::chunk::{Chunk, ChunkBuilder};
use super::codec::Codec;
use super::entry::{Entry, States};
use super::leaving::{Departures, Parcel, Snapshot, Turn};
use super::timers::{Timer, Timers};
use crate::error::Cause;
use crate::keyspace::{Assignment, KeyRange};
use crate::profile::{ShardEpoch, Statistics};

/// Keys looked at per call of [`Shards::work`], at the most; a full chunk ends it sooner. At some 50 ns per key this
/// is about 50 µs.
const KEYS_PER_TURN: usize = 1024;

/// Keys encoded per epoch to learn how long a row is.
const KEYS_WEIGHED: usize = 8;

/// Where a routing key's state is.
pub(super) enum Place {
    /// In the shard at this index.
    Here(usize),
    /// On its way to the shard at this index.
    Coming(usize),
    /// With another worker.
    Elsewhere,
}

struct Shard<K, S> {
    states: States<K, S>,
    /// Keys of them that are gone.
    gone: usize,
    /// Something has changed since the last snapshot.
    touched: bool,
    /// Parts of the range whose states are still to come.
    missing: usize,
    /// Timers whose time had come before all parts were there.
    timers: Vec<Timer<K>>,
    /// Keys below this index have not been looked at by the snapshot in progress.
    unscanned: usize,
    statistics: Statistics,
}

impl<K, S> Shard<K, S> {
    fn new(missing: usize) -> Self {
        Shard {
            states: States::default(),
            gone: 0,
            touched: false,
            missing,
            timers: Vec::new(),
            unscanned: 0,
            statistics: Statistics::default(),
        }
    }

    /// Takes over a key with its state.
    fn insert(&mut self, key: K, entry: Entry<S>)
    where
        K: std::hash::Hash + Eq,
    {
        self.gone += usize::from(entry.gone);
        self.touched |= entry.unsaved;
        self.states.insert(key, entry);
    }
}

/// What has come with a chunk.
#[derive(Default)]
pub(super) struct Arrived {
    /// Times at which timers have become due.
    pub times: BTreeSet<u64>,
    /// The shards all parts of which have come now.
    pub complete: Vec<KeyRange>,
}

/// Where a chunk has come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Another worker.
    Worker,
    /// A checkpoint: the chunks of later snapshots before those of earlier ones.
    Store,
}

/// Why a key is updated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    Record,
    Timer,
}

/// The shards of one worker. `H` is what must be held until a chunk has been sent: a capability.
pub(super) struct Shards<K, S, C: Codec<K, S>, H> {
    worker: usize,
    chunk_bytes: usize,
    assignment: Assignment,
    /// Those owned here, at the indices they have in the assignment.
    shards: Vec<Option<Box<Shard<K, S>>>>,
    /// Maps whose keys go elsewhere.
    dissolving: VecDeque<States<K, S>>,
    departures: Departures<K, S, C, H>,
    snapshot: Option<Snapshot<K, S, C, H>>,
    /// Counts snapshots.
    snapshots: u32,
    /// Keys that have changed since the last one.
    unsaved: usize,
    timers: Timers<K>,
    /// Times for which the logic has scheduled a key, while it is called.
    scheduled: Vec<u64>,
    /// Keys that are not gone, those on their way to another worker included.
    keys: u64,
    /// Mean length of an encoded row, in bytes.
    row_bytes: f64,
}

impl<K, S, C, H> Shards<K, S, C, H>
where
    K: std::hash::Hash + Eq + Clone,
    S: Default,
    C: Codec<K, S>,
    H: Clone,
{
    /// The shards that `assignment` gives to `worker`; states in `parts` of the key space are still to come.
    pub fn new(worker: usize, assignment: Assignment, parts: &[KeyRange], chunk_bytes: usize) -> Self {
        let missing = |range: KeyRange| parts.iter().filter(|part| part.intersection(&range).is_some()).count();
        let shards = assignment
            .iter()
            .map(|(range, owner)| (owner == worker).then(|| Box::new(Shard::new(missing(range)))))
            .collect();
        Shards {
            worker,
            chunk_bytes,
            assignment,
            shards,
            dissolving: VecDeque::new(),
            departures: Departures::new(),
            snapshot: None,
            snapshots: 0,
            unsaved: 0,
            timers: Timers::new(),
            scheduled: Vec::new(),
            keys: 0,
            row_bytes: (size_of::<u64>() + size_of::<K>() + size_of::<S>()) as f64,
        }
    }

    pub fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// The ranges of the shards owned here.
    pub fn ranges(&self) -> Vec<KeyRange> {
        self.assignment.iter().filter(|(_, owner)| *owner == self.worker).map(|(range, _)| range).collect()
    }

    #[inline]
    pub fn place(&self, routing: u64) -> Place {
        let index = self.assignment.find(routing);
        match &self.shards[index] {
            Some(shard) if shard.missing == 0 => Place::Here(index),
            Some(_) => Place::Coming(index),
            None => Place::Elsewhere,
        }
    }

    pub fn range(&self, index: usize) -> KeyRange {
        self.assignment.range(index)
    }

    /// The statistics of a shard that is here. Panics if it isn't.
    #[inline]
    pub fn statistics(&mut self, index: usize) -> &mut Statistics {
        &mut self.shards[index].as_mut().expect("the shard is here").statistics
    }

    /// Lets `logic` change the state of a key whose shard is here. It pushes the times for which it schedules the key,
    /// and says whether the key is to be forgotten. Times at which timers have been set are appended to `set`.
    #[inline]
    pub fn update(
        &mut self,
        index: usize,
        (routing, key): (u64, K),
        occasion: Occasion,
        set: &mut Vec<u64>,
        logic: impl FnOnce(&K, &mut S, &mut Vec<u64>) -> bool,
    ) {
        let shard = self.shards[index].as_mut().expect("the shard is here");
        let at = match shard.states.entry(key) {
            MapEntry::Occupied(entry) => entry.index(),
            MapEntry::Vacant(entry) => {
                let fetched = self.dissolving.iter_mut().find_map(|old| old.swap_remove(entry.key()));
                let at = entry.index();
                let entry = entry.insert(fetched.unwrap_or_else(|| {
                    self.keys += 1;
                    Entry::new(routing, self.snapshots, S::default())
                }));
                shard.gone += usize::from(entry.gone);
                at
            }
        };
        let (key, entry) = shard.states.get_index_mut(at).expect("it has just been found or inserted");
        if let Some(snapshot) = &mut self.snapshot {
            self.unsaved -= usize::from(snapshot.save(Turn::Early, key, entry, &self.timers));
        }
        if std::mem::take(&mut entry.gone) {
            shard.gone -= 1;
            self.keys += 1;
        }
        self.unsaved += usize::from(!std::mem::replace(&mut entry.unsaved, true));
        shard.touched = true;
        entry.forgotten &= occasion == Occasion::Timer;
        let forget = logic(key, &mut entry.state, &mut self.scheduled);
        set.extend(self.scheduled.drain(..).filter(|time| self.timers.set(key, routing, *time)));
        if forget {
            entry.forgotten = true;
            entry.state = S::default();
        }
        if entry.forgotten && self.timers.of(key).is_empty() {
            self.keys -= 1;
            if entry.stored {
                // A timer may have changed it since it was forgotten.
                entry.state = S::default();
                entry.gone = true;
                shard.gone += 1;
            } else {
                shard.states.swap_remove_index(at);
                self.unsaved -= 1;
            }
        }
    }

    /// Takes some of what is due at a time, `limit` at the most.
    pub fn take_due(&mut self, time: u64, limit: usize) -> Vec<Timer<K>> {
        self.timers.take_due(time, limit)
    }

    /// Whether anything is due at a time.
    pub fn is_due(&self, time: u64) -> bool {
        self.timers.is_due(time)
    }

    /// Takes a due timer off its key, and gives the index of the key's shard if it is to fire here and now. A timer of
    /// a shard that is still coming is kept for it.
    pub fn fire(&mut self, timer: &Timer<K>) -> Option<usize> {
        match self.place(timer.routing) {
            Place::Here(index) => {
                // The snapshot must see the timer as still set.
                self.save(index, &timer.key);
                self.timers.unset(timer);
                Some(index)
            }
            Place::Coming(index) => {
                self.shards[index].as_mut()?.timers.push(timer.clone());
                None
            }
            // Its key is about to leave, and takes it along.
            Place::Elsewhere => None,
        }
    }

    fn save(&mut self, index: usize, key: &K) {
        let Some(snapshot) = &mut self.snapshot else { return };
        let here = self.shards[index].as_mut().and_then(|shard| shard.states.get_mut(key));
        let entry = here.or_else(|| self.dissolving.iter_mut().find_map(|old| old.get_mut(key)));
        if let Some(entry) = entry {
            self.unsaved -= usize::from(snapshot.save(Turn::Early, key, entry, &self.timers));
        }
    }

    /// Crosses a boundary from which `next` holds. The chunks for another worker that follow carry what `hold` gives
    /// for it.
    pub fn change(&mut self, next: Assignment, hold: impl Fn(usize) -> H) {
        let handovers = self.assignment.handovers(&next);
        let mut old = std::mem::take(&mut self.shards);
        let mut stays = |range| self.assignment.position(range).and_then(|index| old[index].take());
        let mut shards = Vec::with_capacity(next.len());
        for (range, owner) in next.iter() {
            shards.push((owner == self.worker).then(|| {
                let first = handovers.partition_point(|h| h.range.start() < range.start());
                let coming = || handovers[first..].iter().take_while(|h| range.covers(&h.range)).count();
                stays(range).unwrap_or_else(|| Box::new(Shard::new(coming())))
            }));
        }
        for shard in old.into_iter().flatten().filter(|shard| !shard.states.is_empty()) {
            self.dissolving.push_back(shard.states);
        }
        for handover in handovers.iter().filter(|h| h.from == self.worker) {
            self.departures.begin(handover.range, hold(handover.to));
        }
        self.shards = shards;
        self.assignment = next;
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.next = 0;
        }
    }

    /// Crosses a boundary as of which a snapshot is to be taken, of all keys or of those that have changed since the
    /// last one. Its chunks carry `hold`. None may be in progress.
    pub fn begin_snapshot(&mut self, whole: bool, hold: H) {
        debug_assert!(
            !self.is_saving() && self.departures.is_empty(),
            "one snapshot at a time, and no state on its way"
        );
        self.snapshots = self.snapshots.wrapping_add(1);
        let mut all = self.dissolving.iter().map(IndexMap::len).sum();
        for shard in self.shards.iter_mut().flatten() {
            all += shard.states.len();
            let touched = std::mem::take(&mut shard.touched);
            shard.unscanned = if whole || touched { shard.states.len() } else { 0 };
        }
        let left = if whole { all } else { self.unsaved };
        self.snapshot = Some(Snapshot::new(self.snapshots, whole, left, self.chunk_bytes, hold));
    }

    /// Whether a snapshot is in progress.
    pub fn is_saving(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Takes in a chunk. Keys that belong elsewhere are passed over, and so are those from a checkpoint that are there:
    /// a later snapshot had them.
    pub fn arrive(&mut self, chunk: Chunk, origin: Origin) -> Result<Arrived, Cause> {
        let mut arrived = Arrived::default();
        if chunk.keys > 0 {
            let Self { assignment, shards, timers, snapshots, unsaved, keys, .. } = self;
            C::decode(chunk.bytes, |(routing, key, state, times, marks)| {
                let Some(shard) = &mut shards[assignment.find(routing)] else { return };
                let entry = match origin {
                    Origin::Worker => Entry::moved(routing, *snapshots, marks, state),
                    Origin::Store if shard.states.contains_key(&key) => return,
                    Origin::Store => Entry::restored(routing, *snapshots, marks, state),
                };
                if !times.is_empty() {
                    arrived.times.extend(&times);
                    timers.adopt(key.clone(), routing, times);
                }
                *keys += u64::from(!entry.gone);
                *unsaved += usize::from(entry.unsaved);
                shard.insert(key, entry);
            })?;
        }
        if chunk.last {
            self.part_is_there(chunk.range, &mut arrived);
        }
        Ok(arrived)
    }

    fn part_is_there(&mut self, part: KeyRange, arrived: &mut Arrived) {
        for index in self.assignment.find(part.start())..=self.assignment.find(part.last()) {
            let Some(shard) = &mut self.shards[index] else { continue };
            if shard.missing == 1 {
                arrived.times.extend(shard.timers.iter().map(|timer| timer.time));
                shard.timers.drain(..).for_each(|timer| self.timers.make_due(timer));
                arrived.complete.push(self.assignment.range(index));
            }
            shard.missing = shard.missing.saturating_sub(1);
        }
    }

    /// Does a bounded piece of the work that boundaries have left: at most about one chunk. `true` if more is left that
    /// can be done: unless it may `scan`, the snapshot has to wait.
    pub fn work(&mut self, scan: bool, parcels: &mut Vec<Parcel<H>>) -> bool {
        for _ in 0..KEYS_PER_TURN {
            let full = self.snapshot.as_ref().is_some_and(Snapshot::has_full);
            if full || !parcels.is_empty() || !(self.dissolve_key(parcels) || scan && self.scan_key()) {
                break;
            }
        }
        if self.dissolving.is_empty() {
            self.departures.finish(parcels);
        }
        if self.snapshot.as_mut().is_some_and(|snapshot| snapshot.send(parcels)) {
            self.snapshot = None;
        }
        for parcel in parcels.iter().filter(|parcel| parcel.chunk.keys > 0) {
            let mean = parcel.chunk.bytes.len() as f64 / f64::from(parcel.chunk.keys);
            self.row_bytes += (mean - self.row_bytes) / 4.0;
        }
        !self.dissolving.is_empty() || scan && self.is_saving()
    }

    /// Sends one key of the oldest dissolving map where it belongs; `false` if there is none.
    fn dissolve_key(&mut self, parcels: &mut Vec<Parcel<H>>) -> bool {
        let Some(oldest) = self.dissolving.front_mut() else { return false };
        let Some((key, mut entry)) = oldest.pop() else {
            self.dissolving.pop_front();
            return true;
        };
        if let Some(snapshot) = &mut self.snapshot {
            self.unsaved -= usize::from(snapshot.save(Turn::Early, &key, &mut entry, &self.timers));
        }
        if entry.gone && !entry.stored {
            return true;
        }
        if let Some(departure) = self.departures.covering(entry.routing) {
            let timers = self.timers.remove(&key);
            departure.send(&key, &entry, &timers, self.chunk_bytes, parcels);
            self.keys -= u64::from(!entry.gone);
            self.unsaved -= usize::from(entry.unsaved);
        } else {
            let shard = self.shards[self.assignment.find(entry.routing)].as_mut();
            shard.expect("what does not leave stays").insert(key, entry);
        }
        true
    }

    /// Lets the snapshot in progress look at one key; `false` if it has seen all.
    fn scan_key(&mut self) -> bool {
        let Some(snapshot) = &mut self.snapshot else { return false };
        while let Some(slot) = self.shards.get_mut(snapshot.next) {
            if let Some(shard) = slot.as_mut().filter(|shard| shard.unscanned > 0) {
                shard.unscanned -= 1;
                if let Some((key, entry)) = shard.states.get_index_mut(shard.unscanned) {
                    self.unsaved -= usize::from(snapshot.save(Turn::Scanned, key, entry, &self.timers));
                    if entry.gone && !entry.stored {
                        shard.gone -= 1;
                        shard.states.swap_remove_index(shard.unscanned);
                    }
                }
                return true;
            }
            snapshot.next += 1;
        }
        false
    }

    /// What the shard at this index has seen since it was last asked, and what it holds. Panics if it is not here.
    pub fn take_report(&mut self, index: usize) -> ShardEpoch {
        let shard = self.shards[index].as_mut().expect("the shard is here");
        let keys = (shard.states.len() - shard.gone) as u64;
        let statistics = std::mem::take(&mut shard.statistics);
        let (range, worker, state_bytes) = (self.assignment.range(index), self.worker, self.bytes(keys));
        ShardEpoch { range, worker, keys, state_bytes, statistics }
    }

    /// Keys held, and their estimated length as encoded, in bytes.
    pub fn size(&self) -> (u64, u64) {
        (self.keys, self.bytes(self.keys))
    }

    fn bytes(&self, keys: u64) -> u64 {
        (keys as f64 * self.row_bytes) as u64
    }

    /// Learns the mean length of a row from a few of a shard.
    pub fn weigh(&mut self, index: usize) {
        let Some(shard) = &self.shards[index] else { return };
        let mut builder = ChunkBuilder::<K, S, C>::new();
        let empty = builder.length();
        for (key, entry) in shard.states.iter().rev().take(KEYS_WEIGHED) {
            builder.push(entry.row(key, self.timers.of(key)));
        }
        if !builder.is_empty() {
            let mean = (builder.length() - empty) as f64 / shard.states.len().min(KEYS_WEIGHED) as f64;
            self.row_bytes += (mean - self.row_bytes) / 16.0;
        }
    }
}

#[cfg(test)]
mod tests;
