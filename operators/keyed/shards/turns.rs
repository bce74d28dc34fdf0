//! The work that boundaries leave to be done in bounded pieces.

use std::hash::Hash;

use super::{CHUNK_ALPHA, Shards, Tally};
use crate::keyed::codec::Codec;
use crate::keyed::entry::Entry;
use crate::keyed::leaving::{Parcel, Snapshot, Turn};
use crate::keyed::states::{Visited, Which};
use crate::keyed::timers::Timers;

/// Places for keys looked at per call of [`Shards::work`], at the most; a full chunk ends it sooner. At some 50 ns per
/// key, in tables that are about half full, this is about 50 µs.
const BUCKETS_PER_TURN: usize = 2048;

impl<K, S, C, H> Shards<K, S, C, H>
where
    K: Hash + Eq + Clone,
    S: Default,
    C: Codec<K, S>,
    H: Clone,
{
    /// Does a bounded piece of the work that boundaries have left: at most about one chunk. `true` if more is left that
    /// can be done: unless it may `scan`, the snapshot has to wait.
    pub fn work(&mut self, scan: bool, parcels: &mut Vec<Parcel<H>>) -> bool {
        if self.departures.are_leaving() {
            self.leave(parcels);
        } else if scan && self.is_saving() {
            self.scan();
        } else {
            self.copy_ahead(parcels);
        }
        if self.snapshot.as_mut().is_some_and(|snapshot| snapshot.send(parcels)) {
            self.snapshot = None;
        }
        for parcel in parcels.iter().filter(|parcel| parcel.chunk.keys > 0) {
            let mean = parcel.chunk.bytes.len() as f64 / f64::from(parcel.chunk.keys);
            self.row_bytes += (mean - self.row_bytes) * CHUNK_ALPHA;
        }
        self.departures.are_leaving() || self.departures.have_more_to_copy() || scan && self.is_saving()
    }

    /// Goes on with what has crossed its boundary: all that its next owners lack is sent before anything that they have
    /// is let go of.
    fn leave(&mut self, parcels: &mut Vec<Parcel<H>>) {
        let Some(mut first) = self.departures.by_start.first_entry() else { return self.let_go() };
        let departure = first.get_mut();
        let Self { states, snapshot, timers, held, chunk_bytes, .. } = self;
        for _ in 0..BUCKETS_PER_TURN {
            let Some((routing, key)) = departure.changed.pop() else { break };
            let Some(entry) = states.get_mut(routing, &key) else { continue };
            if !parcels.is_empty() || !save_first(snapshot, routing, entry, timers, held) {
                departure.changed.push((routing, key));
                return;
            }
            departure.send(routing, entry, timers.of(&key), *chunk_bytes, parcels);
        }
        if !departure.changed.is_empty() {
            return;
        }
        let mut cursor = departure.cursor;
        states.walk(&mut cursor, Which::All, BUCKETS_PER_TURN, |routing, entry| {
            if !parcels.is_empty() || !save_first(snapshot, routing, entry, timers, held) {
                return Visited::Wait;
            }
            departure.send(routing, entry, timers.of(&entry.key), *chunk_bytes, parcels);
            held.remove(entry);
            timers.remove(&entry.key);
            Visited::Remove
        });
        departure.cursor = cursor;
        if cursor.is_at_end() {
            let sent = first.remove().finish(parcels);
            self.departures.sent.push(sent);
        }
    }

    /// Lets go of some keys that have been sent.
    fn let_go(&mut self) {
        let Self { states, timers, held, departures, .. } = self;
        let Some(cursor) = departures.sent.last_mut() else { return };
        states.walk(cursor, Which::All, BUCKETS_PER_TURN, |_, entry| {
            held.remove(entry);
            timers.remove(&entry.key);
            Visited::Remove
        });
        if cursor.is_at_end() {
            departures.sent.pop();
        }
    }

    /// Copies some keys of a shard that is going to leave. Those with timers that fire before are left until they do.
    fn copy_ahead(&mut self, parcels: &mut Vec<Parcel<H>>) {
        let Self { states, snapshot, timers, held, departures, chunk_bytes, .. } = self;
        let boundary = departures.boundary;
        let Some(departure) = departures.next_to_copy() else { return };
        let mut cursor = departure.cursor;
        states.walk(&mut cursor, Which::All, BUCKETS_PER_TURN, |routing, entry| {
            if !parcels.is_empty() || !save_first(snapshot, routing, entry, timers, held) {
                return Visited::Wait;
            }
            match timers.of(&entry.key) {
                [first, ..] if *first < boundary => departure.changed.push((routing, entry.key.clone())),
                times => departure.send(routing, entry, times, *chunk_bytes, parcels),
            }
            // Of a key that nobody knows any more, coming back would go unnoticed.
            if entry.is_gone() && entry.is_unknown() { Visited::Remove } else { Visited::Keep }
        });
        departure.cursor = cursor;
        if cursor.is_at_end() {
            departure.flush(parcels);
            departures.finish_copying();
        }
    }

    /// Lets the snapshot in progress look at some keys.
    fn scan(&mut self) {
        let Self { states, snapshot, timers, held, .. } = self;
        let Some(snapshot) = snapshot else { return };
        let mut cursor = snapshot.cursor;
        states.walk(&mut cursor, Which::Unscanned, BUCKETS_PER_TURN, |routing, entry| {
            if snapshot.has_full() {
                return Visited::Wait;
            }
            held.unsaved -= usize::from(snapshot.save(Turn::Scanned, routing, entry, timers));
            if entry.is_gone() && entry.is_unknown() { Visited::Remove } else { Visited::Keep }
        });
        snapshot.cursor = cursor;
    }
}

/// Lets the snapshot in progress see a key before it goes elsewhere; `false` if that has to wait.
fn save_first<K: Hash + Eq + Clone, S, C: Codec<K, S>, H: Clone>(
    snapshot: &mut Option<Snapshot<K, S, C, H>>,
    routing: u64,
    entry: &mut Entry<K, S>,
    timers: &Timers<K>,
    held: &mut Tally,
) -> bool {
    let Some(snapshot) = snapshot else { return true };
    let can_save = !snapshot.has_full();
    if can_save {
        held.unsaved -= usize::from(snapshot.save(Turn::Early, routing, entry, timers));
    }
    can_save
}
