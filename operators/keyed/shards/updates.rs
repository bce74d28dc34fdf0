//! Keys that records and timers change.

use std::hash::Hash;

use super::{Occasion, Shards};
use crate::keyed::codec::Codec;
use crate::keyed::entry::Entry;
use crate::keyed::leaving::Turn;
use crate::keyed::states::Located;

/// Where more than one in so many keys had to be noted, those of the next batch are fetched first. Of a key that is in
/// a cache this takes a tenth of what it saves of one that is not.
const FEW: usize = 8;

impl<K, S, C, H> Shards<K, S, C, H>
where
    K: Hash + Eq + Clone,
    S: Default,
    C: Codec<K, S>,
    H: Clone,
{
    /// Lets `logic` change the state of a key whose shard, at this index, is here. It pushes the times for which it
    /// schedules the key, and says whether the key is to be forgotten. Times at which timers have been set are appended
    /// to `set`.
    #[inline]
    pub fn update(
        &mut self,
        index: usize,
        (routing, key): (u64, &K),
        occasion: Occasion,
        set: &mut Vec<u64>,
        logic: impl FnOnce(&K, &mut S, &mut Vec<u64>) -> bool,
    ) {
        let forgotten = self.note_change(index, (routing, key), occasion);
        let entry = self.states.get_mut(routing, key).expect("it was there, or has been put there");
        let forget = logic(&entry.key, &mut entry.state, &mut self.scheduled);
        if forget || forgotten || !self.scheduled.is_empty() {
            self.follow(index, (routing, key), forget, set);
        }
    }

    /// Keys with these routing keys are to be updated together.
    #[inline]
    pub fn locate(&mut self, routing: &[u64], keys: impl Iterator<Item = K>) {
        self.located.extend(self.states.locate(routing, keys));
    }

    /// As [`update`](Self::update) for each of the keys that have been located, as records do. Given are their routing
    /// keys and the indices of their shards.
    #[inline]
    pub fn update_located(
        &mut self,
        routing: &[u64],
        indices: &[u32],
        set: &mut Vec<u64>,
        mut logic: impl FnMut(&K, &mut S, &mut Vec<u64>) -> bool,
    ) {
        if self.noted > self.located.len() / FEW {
            self.fetch_located();
        }
        self.noted /= 2;
        let located = std::mem::take(&mut self.located);
        let mut done = 0;
        while done < located.len() {
            let (updated, forget) = self.update_noted(&located[done..], &mut logic);
            done += updated;
            if forget || !self.scheduled.is_empty() {
                let last = done - 1;
                self.follow(indices[last] as usize, (routing[last], &located[last].key), forget, set);
            } else if done < located.len() && !self.note_located(&located[done], routing[done]) {
                let (index, key) = (indices[done] as usize, (routing[done], &located[done].key));
                self.update(index, key, Occasion::Record, set, &mut logic);
                done += 1;
            }
        }
        self.located = located;
        self.located.clear();
    }

    /// Updates keys up to the first one of which note has to be taken, or for which the logic asks more than a change
    /// of its state: how many, and whether the last one is to be forgotten. Only what nearly all records need is done
    /// here, so that little lies between two accesses to memory.
    #[inline(always)]
    fn update_noted(
        &mut self,
        keys: &[Located<K>],
        logic: &mut impl FnMut(&K, &mut S, &mut Vec<u64>) -> bool,
    ) -> (usize, bool) {
        let Self { states, snapshots, scheduled, .. } = self;
        for (before, key) in keys.iter().enumerate() {
            let Some(entry) = states.get_located(key).filter(|entry| entry.is_noted(*snapshots)) else {
                return (before, false);
            };
            let forget = logic(&entry.key, &mut entry.state, scheduled);
            if forget || !scheduled.is_empty() {
                return (before + 1, forget);
            }
        }
        (keys.len(), false)
    }

    /// Has what is kept for the keys that have been located come from memory, for all at once. To note a key, let alone
    /// to save it, takes so long that the processor would begin to fetch the next one only afterwards.
    fn fetch_located(&mut self) {
        let Self { located, states, snapshots, .. } = self;
        let noted = located.iter().filter(|key| states.get_located(key).is_some_and(|e| e.is_noted(*snapshots)));
        std::hint::black_box(noted.count());
    }

    /// Takes note of a key that a record is about to change, if it is there and not gone; whether it is.
    #[inline(never)]
    fn note_located(&mut self, located: &Located<K>, routing: u64) -> bool {
        self.noted += 1;
        let Self { states, snapshot, snapshots, timers, held, departures, .. } = self;
        let Some(entry) = states.touch_located(located).filter(|entry| !entry.is_gone()) else { return false };
        if let Some(snapshot) = snapshot {
            held.unsaved -= usize::from(snapshot.save(Turn::Early, routing, entry, timers));
        }
        held.unsaved += usize::from(!entry.is_unsaved());
        entry.set_unsaved(true);
        entry.set_forgotten(false);
        entry.seen = *snapshots;
        if entry.outdate() {
            departures.note_change(routing, &located.key);
        }
        debug_assert!(entry.is_noted(*snapshots), "it would be noted again and again");
        true
    }

    /// Takes note of a key that is about to be changed, and begins it if it is new. Whether it has been forgotten, so
    /// that only its timers keep it.
    #[inline(never)]
    fn note_change(&mut self, index: usize, (routing, key): (u64, &K), occasion: Occasion) -> bool {
        let Some(entry) = self.states.get_mut(routing, key) else {
            let mut entry = Entry::new(routing, key.clone(), self.snapshots, S::default());
            entry.set_unsaved(true);
            self.held.add(&entry);
            self.keys.add(index, 1);
            self.states.insert(routing, entry);
            self.departures.note_change(routing, key);
            return false;
        };
        if let Some(snapshot) = &mut self.snapshot {
            self.held.unsaved -= usize::from(snapshot.save(Turn::Early, routing, entry, &self.timers));
        }
        self.held.remove(entry);
        let was_gone = entry.is_gone();
        entry.set_gone(false);
        entry.set_unsaved(true);
        if entry.outdate() {
            self.departures.note_change(routing, key);
        }
        entry.seen = self.snapshots;
        if occasion == Occasion::Record {
            entry.set_forgotten(false);
        }
        let forgotten = entry.is_forgotten();
        self.held.add(entry);
        self.keys.add(index, isize::from(was_gone));
        self.states.touch(routing, was_gone, false);
        forgotten
    }

    /// Sets the timers that the logic has scheduled, and lets go of a key that it has forgotten.
    #[inline(never)]
    fn follow(&mut self, index: usize, (routing, key): (u64, &K), forget: bool, set: &mut Vec<u64>) {
        // A key may have been taken for another one with a routing key of its own.
        let Some(entry) = self.states.get_mut(routing, key) else { return self.scheduled.clear() };
        set.extend(self.scheduled.drain(..).filter(|time| self.timers.set(key, routing, *time)));
        if forget {
            entry.set_forgotten(true);
            entry.state = S::default();
        }
        if !entry.is_forgotten() || !self.timers.of(key).is_empty() {
            return;
        }
        self.held.remove(entry);
        self.keys.add(index, -1);
        if entry.is_unknown() {
            self.states.remove(routing, key);
            return;
        }
        // A timer may have changed it since it was forgotten.
        entry.state = S::default();
        entry.set_gone(true);
        self.held.add(entry);
        self.states.touch(routing, false, true);
    }
}
