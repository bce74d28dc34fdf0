//! The shards of one worker. Pure: it knows nothing of timely.
//!
//! Keys lie with their [`States`], whatever the shards are: splits and merges touch none of them. Before a boundary at
//! which shards leave, their keys are *copied ahead*, a few at a time, while they are still served here; so are their
//! timers, but not before those that fire here. Keys that have changed since they were copied are listed. From the
//! boundary on these are sent, at once, and then all keys are let go of, a few at a time: nobody waits for that but
//! what comes to be copied or crossed next.
//!
//! A snapshot goes over the keys a few at a time too. It saves those that have changed since the one before, and says
//! of those that are gone that they are. Every key remembers the last snapshot that has saved it, or that had begun
//! when it changed; one that the snapshot in progress is still to save is saved before it is changed, and before it
//! goes elsewhere. A key that is gone, but not from the last checkpoint, stays until a snapshot has said so: it moves
//! like any other.

mod boundaries;
mod counts;
mod turns;
mod updates;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;

use super::chunk::ChunkBuilder;
use super::codec::Codec;
use super::entry::Entry;
use super::leaving::{Departures, Snapshot, Turn};
use super::states::{Located, States};
use super::timers::{Timer, Timers};
use crate::keyspace::{Assignment, KeyRange};
use crate::profile::encoded_bytes;
pub(super) use counts::KeyCounts;

/// Keys encoded per epoch to learn how long a row is: a microsecond's work, of the few keys of one segment.
const KEYS_WEIGHED: usize = 8;

/// How much they count for in the mean.
const WEIGHED_ALPHA: f64 = 1.0 / 16.0;

/// How much a chunk counts for in it, which has thousands.
const CHUNK_ALPHA: f64 = 1.0 / 4.0;

/// Where a routing key's state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Here,
    /// On its way to this worker.
    Coming,
    /// With another worker.
    Elsewhere,
}

impl Place {
    /// Of a shard that is this worker's or not, so many parts of whose state are still to come.
    fn of(is_owned: bool, missing: usize) -> Self {
        match (is_owned, missing) {
            (false, _) => Place::Elsewhere,
            (true, 0) => Place::Here,
            (true, _) => Place::Coming,
        }
    }
}

/// What is kept of a shard that is on its way to this worker.
#[derive(Default)]
struct Coming<K> {
    /// Parts of the range whose states are still to come.
    missing: usize,
    /// Timers whose time had come before all parts were there.
    timers: Vec<Timer<K>>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Another worker, after the boundary from which its keys belong here.
    Worker,
    /// Another worker, before that boundary.
    Ahead,
    /// A checkpoint: the chunks of later snapshots before those of earlier ones.
    Store,
}

/// Why a key is updated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    Record,
    Timer,
}

/// Some of the keys.
#[derive(Clone, Copy, Default)]
struct Tally {
    /// Keys that are not gone.
    keys: u64,
    /// Keys that have changed since the last snapshot.
    unsaved: usize,
}

impl Tally {
    fn add<K, S>(&mut self, entry: &Entry<K, S>) {
        self.keys += u64::from(!entry.is_gone());
        self.unsaved += usize::from(entry.is_unsaved());
    }

    fn remove<K, S>(&mut self, entry: &Entry<K, S>) {
        self.keys -= u64::from(!entry.is_gone());
        self.unsaved -= usize::from(entry.is_unsaved());
    }
}

/// The shards of one worker. `H` is what must be held until a chunk has been sent: a capability.
pub(super) struct Shards<K, S, C: Codec<K, S>, H> {
    worker: usize,
    chunk_bytes: usize,
    assignment: Assignment,
    /// By the indices of the shards in the assignment.
    places: Vec<Place>,
    /// By the same indices, while a shard is this worker's: its keys that are here and not gone.
    keys: KeyCounts,
    /// By the starts of their ranges.
    coming: BTreeMap<u64, Coming<K>>,
    states: States<K, S>,
    departures: Departures<K, S, C, H>,
    snapshot: Option<Snapshot<K, S, C, H>>,
    /// Counts snapshots.
    snapshots: u32,
    timers: Timers<K>,
    /// Keys that are about to be updated.
    located: Vec<Located<K>>,
    /// Keys that had to be noted when keys were last updated together: new ones, and those whose first change since a
    /// snapshot began it was; half of those of the time before, and so on.
    noted: usize,
    /// Times for which the logic has scheduled a key, while it is called.
    scheduled: Vec<u64>,
    /// The keys of this worker, those on their way to another one included.
    held: Tally,
    /// The keys of others that have been copied here ahead.
    ahead: Tally,
    /// Mean length of an encoded row, in bytes.
    row_bytes: f64,
    /// Shards that are not light, in order, with the records of each in an epoch: the last one of which has been told.
    heat: Vec<(KeyRange, u64)>,
}

impl<K, S, C, H> Shards<K, S, C, H>
where
    K: Hash + Eq + Clone,
    S: Default,
    C: Codec<K, S>,
    H: Clone,
{
    /// The shards that `assignment` gives to `worker`; states in `parts` of the key space are still to come.
    pub fn new(worker: usize, assignment: Assignment, parts: &[KeyRange], chunk_bytes: usize) -> Self {
        let mut shards = Shards {
            worker,
            chunk_bytes,
            keys: KeyCounts::new(vec![0; assignment.len()]),
            assignment,
            places: Vec::new(),
            coming: BTreeMap::new(),
            states: States::new(),
            departures: Departures::new(),
            snapshot: None,
            snapshots: 0,
            timers: Timers::new(),
            located: Vec::new(),
            noted: 0,
            scheduled: Vec::new(),
            held: Tally::default(),
            ahead: Tally::default(),
            row_bytes: (size_of::<u64>() + size_of::<K>() + size_of::<S>()) as f64,
            heat: Vec::new(),
        };
        let missing = |range: KeyRange| parts.iter().filter(|part| part.intersection(&range).is_some()).count();
        let place = |(range, owner)| {
            let missing = if owner == worker { missing(range) } else { 0 };
            if missing > 0 {
                shards.coming.insert(range.start(), Coming { missing, timers: Vec::new() });
            }
            Place::of(owner == worker, missing)
        };
        shards.places = shards.assignment.iter().map(place).collect();
        shards
    }

    pub fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// The ranges of the shards owned here.
    pub fn ranges(&self) -> Vec<KeyRange> {
        self.assignment.iter().filter(|(_, owner)| *owner == self.worker).map(|(range, _)| range).collect()
    }

    /// Bytes of a key as encoded, estimated.
    pub fn row_bytes(&self) -> f64 {
        self.row_bytes
    }

    /// The index of the shard that holds a routing key.
    #[inline]
    pub fn find(&self, routing: u64) -> usize {
        self.assignment.find(routing)
    }

    /// As [`find`](Self::find) of each of these routing keys.
    #[inline]
    pub fn find_each(&self, routing: impl Iterator<Item = u64>) -> impl Iterator<Item = usize> {
        self.assignment.find_each(routing)
    }

    #[inline]
    pub fn place(&self, index: usize) -> Place {
        self.places[index]
    }

    pub fn range(&self, index: usize) -> KeyRange {
        self.assignment.range(index)
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
        let index = self.find(timer.routing);
        match self.place(index) {
            Place::Here => {
                self.save_before(timer);
                self.timers.unset(timer);
                return Some(index);
            }
            Place::Coming => {
                let coming = self.coming.get_mut(&self.assignment.range(index).start())?;
                coming.timers.push(timer.clone());
            }
            // Its key is about to leave, and takes it along.
            Place::Elsewhere => {}
        }
        None
    }

    /// Lets the snapshot in progress see a key whose timer is still set.
    fn save_before(&mut self, timer: &Timer<K>) {
        if let Some(snapshot) = &mut self.snapshot
            && let Some(entry) = self.states.get_mut(timer.routing, &timer.key)
        {
            self.held.unsaved -= usize::from(snapshot.save(Turn::Early, timer.routing, entry, &self.timers));
        }
    }

    /// How many keys each shard has.
    pub fn keys(&mut self) -> &mut KeyCounts {
        &mut self.keys
    }

    /// Takes note of the records in an epoch of these shards, in order of their ranges.
    pub fn note_heat(&mut self, heat: Vec<(KeyRange, u64)>) {
        self.heat = heat;
    }

    /// Keys held, and their estimated length as encoded, in bytes.
    pub fn size(&self) -> (u64, u64) {
        (self.held.keys, self.bytes(self.held.keys))
    }

    /// Estimated length, as encoded, of the keys that have changed since the last snapshot began, in bytes.
    pub fn unsaved_bytes(&self) -> u64 {
        let before = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.changed_before);
        self.bytes((self.held.unsaved - before) as u64)
    }

    fn bytes(&self, keys: u64) -> u64 {
        encoded_bytes(keys, self.row_bytes)
    }

    /// Learns the mean length of a row from a few near a routing key.
    pub fn weigh(&mut self, routing: u64) {
        let mut builder = ChunkBuilder::<K, S, C>::new();
        let empty = builder.length();
        let mut rows = 0;
        for (routing, entry) in self.states.some_near(routing, KEYS_WEIGHED) {
            builder.push(entry.row(routing, self.timers.of(&entry.key)));
            rows += 1;
        }
        if rows > 0 {
            let mean = (builder.length() - empty) as f64 / f64::from(rows);
            self.row_bytes += (mean - self.row_bytes) * WEIGHED_ALPHA;
        }
    }
}

#[cfg(test)]
mod tests;
