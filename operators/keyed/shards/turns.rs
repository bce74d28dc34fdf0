//! The work that boundaries leave to be done in bounded pieces.

use std::hash::Hash;

use super::Shards;
use crate::keyed::codec::Codec;
use crate::keyed::leaving::{Parcel, Snapshot, Turn};
use crate::keyed::states::{Visited, Which};

/// Places for keys looked at per call of [`Shards::work`], at the most; a full chunk ends it sooner. At some 50 ns per
/// key this is about 50 µs.
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
            self.let_go(parcels);
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
            self.row_bytes += (mean - self.row_bytes) / 4.0;
        }
        self.departures.are_leaving() || self.departures.have_more_to_copy() || scan && self.is_saving()
    }

    /// Sends some keys of the first shard that leaves, but for those that its new owner has already, and lets go of
    /// them.
    fn let_go(&mut self, parcels: &mut Vec<Parcel<H>>) {
        let Some(mut first) = self.departures.by_start.first_entry() else { return };
        let departure = first.get_mut();
        let Self { states, snapshot, timers, held, chunk_bytes, .. } = self;
        let mut cursor = departure.cursor;
        states.walk(&mut cursor, Which::All, BUCKETS_PER_TURN, |routing, entry| {
            if !parcels.is_empty() || snapshot.as_ref().is_some_and(Snapshot::has_full) {
                return Visited::Wait;
            }
            if let Some(snapshot) = snapshot {
                held.unsaved -= usize::from(snapshot.save(Turn::Early, routing, entry, timers));
            }
            if !(entry.is_copied() || entry.is_gone() && entry.is_unknown()) {
                let times = timers.remove(&entry.key);
                departure.send(entry.row(routing, &times), *chunk_bytes, parcels);
            }
            held.remove(entry);
            Visited::Remove
        });
        departure.cursor = cursor;
        if cursor.is_at_end() {
            first.remove().finish(parcels);
        }
    }

    /// Copies some keys of a shard that is going to leave. Those with timers are left until they do.
    fn copy_ahead(&mut self, parcels: &mut Vec<Parcel<H>>) {
        let Self { states, timers, departures, chunk_bytes, .. } = self;
        let Some(departure) = departures.next_to_copy() else { return };
        let mut cursor = departure.cursor;
        states.walk(&mut cursor, Which::All, BUCKETS_PER_TURN, |routing, entry| {
            if !parcels.is_empty() {
                return Visited::Wait;
            }
            if !entry.is_gone() && !entry.is_copied() && timers.of(&entry.key).is_empty() {
                entry.set_copied();
                departure.send(entry.row(routing, &[]), *chunk_bytes, parcels);
            }
            Visited::Keep
        });
        departure.cursor = cursor;
        if cursor.is_at_end() {
            departure.flush(parcels);
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
