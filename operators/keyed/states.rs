//! Where the states of a worker's keys lie. Pure.
//!
//! The key space is divided into *segments*, each with a hash table of its keys. Segments have nothing to do with
//! shards: they are divided as they fill up, so that tables stay small and growing one does not take long; and how many
//! shards there are makes no difference to what finding a key takes. A part of the key space is gone over a few keys at
//! a time. Two limits: keys that have one routing key can't be divided, and to divide a segment takes some tenths of a
//! nanosecond for each of all segments besides.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::entry::{Entry, check};
use crate::keyspace::{Directory, KeyRange};

/// A table of so many buckets is divided rather than to grow: in some 50 µs. Small in tests, so that few keys do.
const SEGMENT_BUCKETS: usize = if cfg!(test) { 4 } else { 4096 };

/// The states of a worker's keys.
pub(super) struct States<K, S> {
    directory: Directory,
    segments: Vec<Segment<K, S>>,
    hasher: RandomState,
    len: usize,
    /// The number of the latest arrangement.
    arrangements: u32,
    /// [`SEGMENT_BUCKETS`].
    segment_buckets: usize,
}

/// The keys of a part of the key space.
struct Segment<K, S> {
    table: HashTable<Entry<K, S>>,
    /// The routing keys, by the places of their entries in the table: out of the way of records.
    routing: Vec<u64>,
    /// Keys of them that are gone.
    gone: usize,
    /// Another number whenever keys have changed their places.
    arrangement: u32,
    /// A key has changed since the last snapshot.
    touched: bool,
    /// The snapshot in progress has keys to look at here.
    unscanned: bool,
}

impl<K: Hash + Eq, S> Segment<K, S> {
    /// With room for so many keys.
    fn new(capacity: usize) -> Self {
        let table = HashTable::with_capacity(capacity);
        let routing = vec![0; table.num_buckets()];
        Segment { table, routing, gone: 0, arrangement: 0, touched: false, unscanned: false }
    }

    /// Empty, and otherwise like another one.
    fn like(other: &Self, capacity: usize) -> Self {
        let Segment { arrangement, touched, unscanned, .. } = *other;
        Segment { arrangement, touched, unscanned, ..Segment::new(capacity) }
    }

    fn is_full(&self) -> bool {
        self.table.len() == self.table.capacity()
    }

    /// The place of what is kept for the key with this routing key.
    fn position(&self, hash: u64, routing: u64, key: &K) -> Option<usize> {
        let is_of = |entry: &Entry<K, S>| entry.key == *key;
        let first = self.table.find_bucket_index(hash, is_of)?;
        if self.routing[first] == routing {
            return Some(first);
        }
        let mut places = self.table.iter_hash_buckets(hash).filter(|place| self.routing[*place] == routing);
        places.find(|place| self.table.get_bucket(*place).is_some_and(is_of))
    }

    /// Keeps what nothing is kept for yet. There is room for it.
    fn add(&mut self, hash: u64, routing: u64, entry: Entry<K, S>, hasher: &RandomState) {
        debug_assert!(!self.is_full(), "keys would change their places");
        self.gone += usize::from(entry.is_gone());
        self.touched |= entry.is_unsaved();
        let place = self.table.insert_unique(hash, entry, |entry| hasher.hash_one(&entry.key)).bucket_index();
        self.routing[place] = routing;
    }

    fn take(&mut self, place: usize) -> Option<(u64, Entry<K, S>)> {
        let (entry, _) = self.table.get_bucket_entry(place).ok()?.remove();
        self.gone -= usize::from(entry.is_gone());
        Some((self.routing[place], entry))
    }

    /// The routing keys of all keys.
    fn routing_keys(&self) -> impl Iterator<Item = u64> {
        self.table.iter_buckets().map(|place| self.routing[place])
    }

    /// Puts all keys into a table with room for so many.
    fn resize(&mut self, capacity: usize, hasher: &RandomState) {
        let mut from = std::mem::replace(self, Segment::like(self, capacity));
        (0..from.table.num_buckets()).filter_map(|place| from.take(place)).for_each(|(routing, entry)| {
            self.add(hasher.hash_one(&entry.key), routing, entry, hasher);
        });
    }
}

/// A key, and where to look for what is kept for it. What is computed beforehand leaves less to do between two accesses
/// to memory, so that the processor has more of them under way.
pub(super) struct Located<K> {
    pub key: K,
    hash: u64,
    segment: u32,
    check: u32,
}

/// How far a walk over a part of the key space has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    /// A key of the segment it is in; `None` at the end.
    at: Option<u64>,
    last: u64,
    bucket: usize,
    arrangement: Option<u32>,
}

impl Cursor {
    pub fn over(range: KeyRange) -> Self {
        Cursor { at: Some(range.start()), last: range.last(), bucket: 0, arrangement: None }
    }

    pub fn is_at_end(&self) -> bool {
        self.at.is_none()
    }
}

/// Which segments a walk goes into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    All,
    /// Those in which the snapshot in progress may have keys to save.
    Unscanned,
}

/// What becomes of an entry that a walk has visited.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Visited {
    Keep,
    Remove,
    /// It is kept, and visited again when the walk goes on.
    Wait,
}

impl<K: Hash + Eq, S> States<K, S> {
    pub fn new() -> Self {
        let (directory, segments) = (Directory::new(vec![0]), vec![Segment::new(0)]);
        let hasher = RandomState::default();
        States { directory, segments, hasher, len: 0, arrangements: 0, segment_buckets: SEGMENT_BUCKETS }
    }

    /// Entries, of keys that are gone too.
    pub fn len(&self) -> usize {
        self.len
    }

    /// What is kept for the key with this routing key.
    #[inline]
    pub fn get_mut(&mut self, routing: u64, key: &K) -> Option<&mut Entry<K, S>> {
        let hash = self.hasher.hash_one(key);
        let segment = &mut self.segments[self.directory.find(routing)];
        let place = segment.position(hash, routing, key)?;
        segment.table.get_bucket_mut(place)
    }

    /// Where to look for what is kept for the keys with these routing keys.
    #[inline]
    pub fn locate(&self, routing: &[u64], keys: impl Iterator<Item = K>) -> impl Iterator<Item = Located<K>> {
        let (segments, hasher) = (self.directory.find_each(routing.iter().copied()), self.hasher.clone());
        segments.zip(routing).zip(keys).map(move |((segment, routing), key)| {
            let hash = hasher.hash_one(&key);
            Located { key, hash, segment: segment as u32, check: check(*routing) }
        })
    }

    /// What is kept for the key, if no key has changed its segment since it was located. Of a key with several routing
    /// keys, which there should not be, it may be that of another one.
    #[inline]
    pub fn get_located(&mut self, located: &Located<K>) -> Option<&mut Entry<K, S>> {
        let Located { key, hash, segment, check } = located;
        self.segments.get_mut(*segment as usize)?.table.find_mut(*hash, |entry| entry.is_of(*check, key))
    }

    /// As [`get_located`](Self::get_located), of a key that changes, which the next snapshot must see.
    pub fn touch_located(&mut self, located: &Located<K>) -> Option<&mut Entry<K, S>> {
        self.segments.get_mut(located.segment as usize)?.touched = true;
        self.get_located(located)
    }

    /// Keeps this for its key, for which nothing is kept yet.
    pub fn insert(&mut self, routing: u64, entry: Entry<K, S>) {
        let (hash, index) = (self.hasher.hash_one(&entry.key), self.directory.find(routing));
        self.insert_in(index, hash, routing, entry);
    }

    fn insert_in(&mut self, mut index: usize, hash: u64, routing: u64, entry: Entry<K, S>) {
        // A segment that has given up some keys may have no room yet: their places are not empty to those who look on.
        while self.segments[index].is_full() {
            self.make_room(index);
            index = self.directory.find(routing);
        }
        self.segments[index].add(hash, routing, entry, &self.hasher);
        self.len += 1;
    }

    /// Keeps this for its key, and gives what was kept before.
    pub fn put(&mut self, routing: u64, entry: Entry<K, S>) -> Option<Entry<K, S>> {
        let (hash, index) = (self.hasher.hash_one(&entry.key), self.directory.find(routing));
        let segment = &mut self.segments[index];
        let place = segment.position(hash, routing, &entry.key);
        if let Some(there) = place.and_then(|place| segment.table.get_bucket_mut(place)) {
            segment.touched |= entry.is_unsaved();
            segment.gone = segment.gone + usize::from(entry.is_gone()) - usize::from(there.is_gone());
            return Some(std::mem::replace(there, entry));
        }
        self.insert_in(index, hash, routing, entry);
        None
    }

    pub fn remove(&mut self, routing: u64, key: &K) -> Option<Entry<K, S>> {
        let hash = self.hasher.hash_one(key);
        let index = self.directory.find(routing);
        let segment = &mut self.segments[index];
        let (_, entry) = segment.take(segment.position(hash, routing, key)?)?;
        self.len -= 1;
        if segment.table.is_empty() {
            self.tidy(index);
        }
        Some(entry)
    }

    /// Makes room for a key in a segment, or in the parts of it.
    #[cold]
    fn make_room(&mut self, index: usize) {
        let next = self.next_arrangement();
        let segment = &mut self.segments[index];
        segment.arrangement = next;
        // Of a large table with little in it, the room of keys that have been taken out is used again.
        let (keys, buckets) = (segment.table.len(), segment.table.num_buckets());
        let is_full = buckets >= self.segment_buckets && keys > self.segment_buckets / 2;
        if !(is_full && self.divide(index)) {
            let capacity = if keys > buckets / 2 { keys * 2 } else { keys + 1 };
            self.segments[index].resize(capacity, &self.hasher);
        }
    }

    /// A number that no arrangement has had.
    fn next_arrangement(&mut self) -> u32 {
        self.arrangements = self.arrangements.wrapping_add(1);
        self.arrangements
    }

    /// Divides a segment where the first bit in which its routing keys differ is set: so both parts have keys, and
    /// segments of hashed keys are of equal width. The smaller part gets a new table: where keys come in the order of
    /// their routing keys, it is what has come of the next segment. `false` if it has but one routing key.
    fn divide(&mut self, index: usize) -> bool {
        let next = self.next_arrangement();
        let segment = &mut self.segments[index];
        let Some(one) = segment.routing_keys().next() else { return false };
        // By the first bit in which they differ from the one: how many keys.
        let mut differing = [0; u64::BITS as usize];
        for bit in segment.routing_keys().filter_map(|routing| (routing ^ one).checked_ilog2()) {
            differing[bit as usize] += 1;
        }
        let Some(bit) = differing.iter().rposition(|keys| *keys > 0) else { return false };
        let start = (one >> bit | 1) << bit;
        // Are fewer unlike the one than like it?
        let (unlike, like) = (differing[bit], segment.table.len() - differing[bit]);
        let takes_upper = (one < start) == (unlike <= like);
        let keys = unlike.min(like);
        let capacity = (keys * 4).min(self.segment_buckets / 2).max(keys + 1);
        let mut part = Segment { arrangement: next, ..Segment::like(segment, capacity) };
        for place in 0..segment.table.num_buckets() {
            if (segment.routing[place] >= start) == takes_upper
                && let Some((routing, entry)) = segment.take(place)
            {
                part.add(self.hasher.hash_one(&entry.key), routing, entry, &self.hasher);
            }
        }
        if !takes_upper {
            std::mem::swap(segment, &mut part);
        }
        self.segments.insert(index + 1, part);
        self.directory.insert(index + 1, start);
        self.directory.index();
        true
    }

    /// Takes note of a change to the key with this routing key, which the next snapshot must see: it is gone now, or it
    /// was.
    pub fn touch(&mut self, routing: u64, was_gone: bool, is_gone: bool) {
        let segment = &mut self.segments[self.directory.find(routing)];
        segment.touched = true;
        segment.gone = segment.gone + usize::from(is_gone) - usize::from(was_gone);
    }

    /// A snapshot begins, of all keys or of those that have changed since the last one.
    pub fn begin_snapshot(&mut self, whole: bool) {
        for segment in &mut self.segments {
            segment.unscanned = std::mem::take(&mut segment.touched) || whole;
        }
    }

    /// Goes on with a walk, by `buckets` places for keys at the most, and shows each entry with its routing key. Those
    /// outside of the part of the key space are passed over. What has changed its place meanwhile may be visited again.
    pub fn walk(
        &mut self,
        cursor: &mut Cursor,
        which: Which,
        mut buckets: usize,
        mut visit: impl FnMut(u64, &mut Entry<K, S>) -> Visited,
    ) {
        while let Some(at) = cursor.at.filter(|_| buckets > 0) {
            let index = self.directory.find(at);
            let (segment, range) = (&mut self.segments[index], self.directory.range(index));
            if cursor.arrangement.replace(segment.arrangement) != Some(segment.arrangement) {
                cursor.bucket = 0;
            }
            let end = if which == Which::All || segment.unscanned { segment.table.num_buckets() } else { 0 };
            while cursor.bucket < end && buckets > 0 {
                buckets -= 1;
                let bucket = cursor.bucket;
                cursor.bucket += 1;
                let Some(entry) = segment.table.get_bucket_mut(bucket) else { continue };
                let routing = segment.routing[bucket];
                if !(at..=cursor.last).contains(&routing) {
                    continue;
                }
                match visit(routing, entry) {
                    Visited::Keep => {}
                    Visited::Remove => self.len -= usize::from(segment.take(bucket).is_some()),
                    Visited::Wait => {
                        cursor.bucket = bucket;
                        return;
                    }
                }
            }
            if cursor.bucket >= end {
                buckets = buckets.saturating_sub(1);
                segment.unscanned &= which == Which::All;
                *cursor = Cursor { at: range.last().checked_add(1).filter(|next| *next <= cursor.last), ..*cursor };
                (cursor.bucket, cursor.arrangement) = (0, None);
                self.tidy(index);
            }
        }
    }

    /// Gives back the room of a segment whose keys have been taken out.
    fn tidy(&mut self, index: usize) {
        let (is_alone, next) = (self.segments.len() == 1, self.next_arrangement());
        let segment = &mut self.segments[index];
        let keys = segment.table.len();
        if keys == 0 && !is_alone {
            self.segments.remove(index);
            self.directory.remove(index);
            self.directory.index();
        } else if keys < segment.table.capacity() / 8 {
            segment.arrangement = next;
            segment.resize(keys * 2, &self.hasher);
        }
    }

    /// Some entries near a routing key, with theirs, `limit` at the most.
    pub fn some_near(&self, routing: u64, limit: usize) -> impl Iterator<Item = (u64, &Entry<K, S>)> {
        let segment = &self.segments[self.directory.find(routing)];
        let places = segment.table.iter_buckets().take(limit);
        places.filter_map(|place| Some((segment.routing[place], segment.table.get_bucket(place)?)))
    }

    /// Keys in a part of the key space that are not gone. Those of a segment that is only partly in it are counted one
    /// by one.
    pub fn count(&self, range: KeyRange) -> usize {
        let (first, last) = (self.directory.find(range.start()), self.directory.find(range.last()));
        let of = |index: usize| {
            let Segment { table, routing, gone, .. } = &self.segments[index];
            if range.covers(&self.directory.range(index)) {
                return table.len() - gone;
            }
            let is_in = |place: &usize| range.contains(routing[*place]);
            let there = table.iter_buckets().filter(is_in).filter_map(|place| table.get_bucket(place));
            there.filter(|entry| !entry.is_gone()).count()
        };
        (first..=last).map(of).sum()
    }
}

#[cfg(test)]
mod tests;
