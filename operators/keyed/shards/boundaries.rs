//! What boundaries do to the shards: state that is to leave, and state that has come.

use std::hash::Hash;

use super::{Arrived, Coming, Origin, Place, Shards, Tally};
use crate::error::Cause;
use crate::keyed::chunk::Chunk;
use crate::keyed::codec::Codec;
use crate::keyed::entry::Entry;
use crate::keyed::leaving::Snapshot;
use crate::keyspace::{Assignment, Handover, KeyRange};

impl<K, S, C, H> Shards<K, S, C, H>
where
    K: Hash + Eq + Clone,
    S: Default,
    C: Codec<K, S>,
    H: Clone,
{
    /// Begins to copy ahead what leaves at a boundary from which `next` will hold, which is at this time. The chunks
    /// for another worker carry what `hold` gives for it. No boundary may be crossed before that one, and no snapshot
    /// begin at it.
    pub fn prepare(&mut self, next: &Assignment, at: u64, hold: impl Fn(usize) -> H) {
        debug_assert!(self.is_settled(), "what is still moving is not as it will be");
        let handovers = self.assignment.handovers(next);
        let heat = |range| heat(&self.heat, range);
        let ranges = given_up(self.worker, &handovers).map(|h| (h.range, heat(h.range), hold(h.to)));
        self.departures.prepare(at, ranges);
    }

    /// Crosses a boundary from which `next` holds. The chunks for another worker that follow carry what `hold` gives
    /// for it. What has left before must have been let go of.
    pub fn change(&mut self, next: Assignment, hold: impl Fn(usize) -> H) {
        debug_assert!(!self.are_leaving(), "of what is let go of, something might come back");
        let handovers = self.assignment.handovers(&next);
        let shards = next.iter().map(|(range, owner)| self.place_next(range, owner, &handovers));
        let (places, keys) = shards.unzip();
        self.places = places;
        self.keys.replace(keys);
        self.departures.begin(given_up(self.worker, &handovers).map(|h| (h.range, hold(h.to))));
        self.assignment = next;
        let Tally { keys, unsaved } = std::mem::take(&mut self.ahead);
        self.held.keys += keys;
        self.held.unsaved += unsaved;
    }

    /// Where a shard of the next assignment is, and how many keys of it are here. The parts of it that are not are
    /// expected from now on.
    fn place_next(&mut self, range: KeyRange, owner: usize, handovers: &[Handover]) -> (Place, usize) {
        if owner != self.worker {
            return (Place::Elsewhere, 0);
        }
        let was = self.assignment.position(range).map(|index| (self.places[index], self.keys.get(index)));
        if let Some(shard) = was.filter(|(place, _)| *place != Place::Elsewhere) {
            return shard;
        }
        let first = handovers.partition_point(|h| h.range.start() < range.start());
        let missing = handovers[first..].iter().take_while(|h| range.covers(&h.range)).count();
        let is_all_missing = missing == 1 && handovers[first].range == range;
        if missing > 0 {
            self.coming.insert(range.start(), Coming { missing, timers: Vec::new() });
        }
        let keys = if is_all_missing && self.ahead.keys == 0 { 0 } else { self.states.count(range) };
        (Place::of(true, missing), keys)
    }

    /// Crosses a boundary as of which a snapshot is to be taken, of all keys or of those that have changed since the
    /// last one. Its chunks carry `hold`. None may be in progress.
    pub fn begin_snapshot(&mut self, whole: bool, hold: H) {
        debug_assert!(
            !self.is_saving() && self.departures.is_empty(),
            "one snapshot at a time, and no state on its way"
        );
        self.snapshots = self.snapshots.wrapping_add(1);
        self.states.begin_snapshot(whole);
        let all = whole.then(|| self.states.len());
        self.snapshot = Some(Snapshot::new(self.snapshots, self.held.unsaved, all, self.chunk_bytes, hold));
    }

    /// Whether a snapshot is in progress.
    pub fn is_saving(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Whether nothing is on its way, from here or to here, for a boundary that has been crossed. Until then nothing
    /// can be copied ahead: a key that is still to come would take the place of one that has been copied, and that its
    /// next owner has a copy would be forgotten.
    pub fn is_settled(&self) -> bool {
        !self.are_leaving() && self.coming.is_empty()
    }

    /// Whether state is still to be sent to other workers for a boundary that has been crossed, or to be let go of.
    pub fn are_leaving(&self) -> bool {
        self.departures.are_leaving()
    }

    /// Takes in a chunk. Keys that belong elsewhere are passed over, and so are those from a checkpoint that are there:
    /// a later snapshot had them.
    pub fn arrive(&mut self, chunk: Chunk, origin: Origin) -> Result<Arrived, Cause> {
        let mut arrived = Arrived::default();
        if chunk.keys > 0 {
            C::decode(chunk.bytes, |(routing, key, state, times, marks)| {
                let index = self.find(routing);
                if (self.place(index) == Place::Elsewhere) != (origin == Origin::Ahead) {
                    return;
                }
                let entry = match origin {
                    Origin::Store if self.states.get_mut(routing, &key).is_some() => return,
                    Origin::Store => Entry::restored((routing, key, state), self.snapshots, marks),
                    Origin::Worker | Origin::Ahead => {
                        self.timers.remove(&key);
                        Entry::moved((routing, key, state), self.snapshots, marks)
                    }
                };
                if !times.is_empty() {
                    arrived.times.extend(&times);
                    self.timers.adopt(entry.key.clone(), routing, times);
                }
                self.put(index, routing, entry, origin);
            })?;
        }
        if chunk.last && origin != Origin::Ahead {
            self.part_is_there(chunk.range, &mut arrived);
        }
        Ok(arrived)
    }

    /// Keeps a key that has come, in place of an earlier copy of it.
    fn put(&mut self, index: usize, routing: u64, entry: Entry<K, S>, origin: Origin) {
        let tally = if origin == Origin::Ahead { &mut self.ahead } else { &mut self.held };
        let mut keys = 0;
        // Of a key that nobody else knows nothing need be said when it is gone.
        let copy = if entry.is_gone() && entry.is_unknown() {
            self.states.remove(routing, &entry.key)
        } else {
            tally.add(&entry);
            keys += isize::from(!entry.is_gone() && origin != Origin::Ahead);
            self.states.put(routing, entry)
        };
        if let Some(copy) = copy {
            tally.remove(&copy);
            keys -= isize::from(!copy.is_gone() && origin != Origin::Ahead);
        }
        self.keys.add(index, keys);
    }

    fn part_is_there(&mut self, part: KeyRange, arrived: &mut Arrived) {
        for index in self.find(part.start())..=self.find(part.last()) {
            let range = self.assignment.range(index);
            let Some(coming) = self.coming.get_mut(&range.start()) else { continue };
            coming.missing -= 1;
            if coming.missing == 0
                && let Some(coming) = self.coming.remove(&range.start())
            {
                for timer in coming.timers {
                    arrived.times.insert(timer.time);
                    self.timers.make_due(timer);
                }
                arrived.complete.push(range);
                self.places[index] = Place::Here;
            }
        }
    }
}

/// Records of the shards that the range has a part in.
fn heat(records: &[(KeyRange, u64)], range: KeyRange) -> u64 {
    let from = records.partition_point(|(shard, _)| shard.last() < range.start());
    records[from..].iter().take_while(|(shard, _)| shard.start() <= range.last()).map(|(_, records)| records).sum()
}

/// What a worker gives up.
fn given_up(worker: usize, handovers: &[Handover]) -> impl Iterator<Item = &Handover> {
    handovers.iter().filter(move |h| h.from == worker)
}
