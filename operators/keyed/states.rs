//! Where the states of a worker's keys lie. Pure.
//!
//! The key space is divided into *segments*, each with a hash table of its keys. Segments have nothing to do with shards:
//! they are divided as they fill up, so that tables stay small and growing one does not take long; and how many shards
//! there are makes no difference to what finding a key takes. A part of the key space is gone over a few keys at a time.
//! Two limits: keys that have one routing key can't be divided, and to divide a segment takes some tenths of a nanosecond
//! for each of all segments besides.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::entry::Entry;
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
}

/// The keys of a part of the key space.
struct Segment<K, S> {
    table: HashTable<Entry<K, S>>,
    /// Keys of them that are gone.
    gone: usize,
    /// Another number whenever keys have changed their places.
    arrangement: u32,
    /// A key has changed since the last snapshot.
    touched: bool,
    /// The snapshot in progress has keys to look at here.
    unscanned: bool,
}

impl<K, S> Segment<K, S> {
    fn put(&mut self, hash: u64, entry: Entry<K, S>, hasher: impl Fn(&Entry<K, S>) -> u64) {
        self.gone += usize::from(entry.is_gone());
        self.touched |= entry.is_unsaved();
        self.table.insert_unique(hash, entry, hasher);
    }
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
    /// Those in which the snapshot in progress has not looked at all keys.
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
        let all = Segment { table: HashTable::new(), gone: 0, arrangement: 0, touched: false, unscanned: false };
        let (directory, segments) = (Directory::new(vec![0]), vec![all]);
        States { directory, segments, hasher: RandomState::default(), len: 0, arrangements: 0 }
    }

    /// Entries, of keys that are gone too.
    pub fn len(&self) -> usize {
        self.len
    }

    /// What is kept for the key with this routing key.
    #[inline]
    pub fn get_mut(&mut self, routing: u64, key: &K) -> Option<&mut Entry<K, S>> {
        let hash = self.hasher.hash_one(key);
        self.segments[self.directory.find(routing)].table.find_mut(hash, |entry| entry.is_of(routing, key))
    }

    /// The key's hash, and the segment that the routing key is in.
    #[inline]
    pub fn locate(&self, routing: u64, key: &K) -> (u64, u32) {
        (self.hasher.hash_one(key), self.directory.find(routing) as u32)
    }

    /// What is kept for the key, if it is in this segment, in which it was located.
    #[inline]
    pub fn get_in(&mut self, segment: u32, hash: u64, (routing, key): (u64, &K)) -> Option<&mut Entry<K, S>> {
        self.segments.get_mut(segment as usize)?.table.find_mut(hash, |entry| entry.is_of(routing, key))
    }

    /// Keeps this for its key, for which nothing is kept yet.
    pub fn insert(&mut self, entry: Entry<K, S>) {
        let (hash, segment) = self.locate(entry.routing, &entry.key);
        self.insert_in(segment as usize, hash, entry);
    }

    fn insert_in(&mut self, mut index: usize, hash: u64, entry: Entry<K, S>) {
        let table = &self.segments[index].table;
        if table.len() == table.capacity() {
            self.make_room(index);
            index = self.directory.find(entry.routing);
        }
        self.segments[index].put(hash, entry, |entry| self.hasher.hash_one(&entry.key));
        self.len += 1;
    }

    /// Keeps this for its key, and gives what was kept before.
    pub fn put(&mut self, entry: Entry<K, S>) -> Option<Entry<K, S>> {
        let (hash, index) = self.locate(entry.routing, &entry.key);
        let segment = &mut self.segments[index as usize];
        if let Some(there) = segment.table.find_mut(hash, |there| there.is_of(entry.routing, &entry.key)) {
            segment.touched |= entry.is_unsaved();
            segment.gone = segment.gone + usize::from(entry.is_gone()) - usize::from(there.is_gone());
            return Some(std::mem::replace(there, entry));
        }
        self.insert_in(index as usize, hash, entry);
        None
    }

    pub fn remove(&mut self, routing: u64, key: &K) -> Option<Entry<K, S>> {
        let hash = self.hasher.hash_one(key);
        let index = self.directory.find(routing);
        let segment = &mut self.segments[index];
        let (entry, _) = segment.table.find_entry(hash, |entry| entry.is_of(routing, key)).ok()?.remove();
        segment.gone -= usize::from(entry.is_gone());
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
        let Segment { table, arrangement, .. } = &mut self.segments[index];
        // Of a large table with little in it, the room of keys that have been taken out is used again.
        let is_full = table.num_buckets() >= SEGMENT_BUCKETS && table.len() > SEGMENT_BUCKETS / 2;
        *arrangement = next;
        if !(is_full && self.divide(index)) {
            self.segments[index].table.reserve(1, |entry| self.hasher.hash_one(&entry.key));
        }
    }

    /// A number that no arrangement has had.
    fn next_arrangement(&mut self) -> u32 {
        self.arrangements = self.arrangements.wrapping_add(1);
        self.arrangements
    }

    /// Divides a segment where the first bit in which its routing keys differ is set: so both parts have keys, and
    /// segments of hashed keys are of equal width. The smaller part gets a new table: where keys come in the order of their
    /// routing keys, it is what has come of the next segment. `false` if it has but one routing key.
    fn divide(&mut self, index: usize) -> bool {
        let next = self.next_arrangement();
        let segment = &mut self.segments[index];
        let Some(one) = segment.table.iter().next().map(|entry| entry.routing) else { return false };
        // By the first bit in which they differ from the one: how many keys.
        let mut differing = [0; u64::BITS as usize];
        for bit in segment.table.iter().filter_map(|entry| (entry.routing ^ one).checked_ilog2()) {
            differing[bit as usize] += 1;
        }
        let Some(bit) = differing.iter().rposition(|keys| *keys > 0) else { return false };
        let start = (one >> bit | 1) << bit;
        // Are fewer unlike the one than like it?
        let (unlike, like) = (differing[bit], segment.table.len() - differing[bit]);
        let takes_upper = (one < start) == (unlike <= like);
        let keys = unlike.min(like);
        let table = HashTable::with_capacity((keys * 4).min(SEGMENT_BUCKETS / 2).max(keys + 1));
        let mut part = Segment { table, gone: 0, arrangement: next, ..*segment };
        for entry in segment.table.extract_if(|entry| (entry.routing >= start) == takes_upper) {
            part.put(self.hasher.hash_one(&entry.key), entry, |entry| self.hasher.hash_one(&entry.key));
        }
        segment.gone -= part.gone;
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

    /// Goes on with a walk, by `buckets` places for keys at the most. Entries outside of the part of the key space are
    /// passed over. What has changed its place meanwhile may be visited again.
    pub fn walk(
        &mut self,
        cursor: &mut Cursor,
        which: Which,
        mut buckets: usize,
        mut visit: impl FnMut(&mut Entry<K, S>) -> Visited,
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
                if !(at..=cursor.last).contains(&entry.routing) {
                    continue;
                }
                match visit(entry) {
                    Visited::Keep => {}
                    Visited::Remove => {
                        if let Ok(entry) = segment.table.get_bucket_entry(bucket) {
                            segment.gone -= usize::from(entry.remove().0.is_gone());
                            self.len -= 1;
                        }
                    }
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
        let Segment { table, arrangement, .. } = &mut self.segments[index];
        if table.is_empty() && !is_alone {
            self.segments.remove(index);
            self.directory.remove(index);
            self.directory.index();
        } else if table.len() < table.capacity() / 8 {
            table.shrink_to(table.len() * 2, |entry| self.hasher.hash_one(&entry.key));
            *arrangement = next;
        }
    }

    /// Some entries near a routing key, `limit` at the most.
    pub fn some_near(&self, routing: u64, limit: usize) -> impl Iterator<Item = &Entry<K, S>> {
        self.segments[self.directory.find(routing)].table.iter().take(limit)
    }

    /// Keys in a part of the key space that are not gone. Those of a segment that is only partly in it are counted one by
    /// one.
    pub fn count(&self, range: KeyRange) -> usize {
        let (first, last) = (self.directory.find(range.start()), self.directory.find(range.last()));
        let of = |index: usize| {
            let Segment { table, gone, .. } = &self.segments[index];
            if range.covers(&self.directory.range(index)) {
                return table.len() - gone;
            }
            table.iter().filter(|entry| range.contains(entry.routing) && !entry.is_gone()).count()
        };
        (first..=last).map(of).sum()
    }
}

#[cfg(test)]
mod tests;
