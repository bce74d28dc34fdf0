//! Timers: which times a key has, and which keys a time. Pure.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use smallvec::SmallVec;

/// A key, when something is due for it.
#[derive(Clone)]
pub(super) struct Timer<K> {
    pub time: u64,
    pub routing: u64,
    pub key: K,
}

/// Times of a key's timers, ascending.
type Times = SmallVec<[u64; 2]>;

/// The timers of one worker's keys.
pub(super) struct Timers<K> {
    times: HashMap<K, Times, RandomState>,
    /// By time: keys with their routing keys, but for those whose shard was still coming when the time had come.
    due: BTreeMap<u64, IndexMap<K, u64, RandomState>>,
}

impl<K: Hash + Eq + Clone> Timers<K> {
    pub fn new() -> Self {
        Timers { times: HashMap::default(), due: BTreeMap::new() }
    }

    /// The times of a key's timers, ascending.
    pub fn of(&self, key: &K) -> &[u64] {
        self.times.get(key).map_or(&[], SmallVec::as_slice)
    }

    /// Sets a timer; whether it was not set before.
    pub fn set(&mut self, key: &K, routing: u64, time: u64) -> bool {
        let times = self.times.entry(key.clone()).or_default();
        let Err(position) = times.binary_search(&time) else { return false };
        times.insert(position, time);
        self.due.entry(time).or_default().insert(key.clone(), routing);
        true
    }

    /// Sets the timers of a key that has arrived.
    pub fn adopt(&mut self, key: K, routing: u64, times: Vec<u64>) {
        for time in &times {
            self.due.entry(*time).or_default().insert(key.clone(), routing);
        }
        self.times.insert(key, times.into());
    }

    /// Makes a timer due at its time again, if it is still set.
    pub fn make_due(&mut self, timer: Timer<K>) {
        if self.of(&timer.key).contains(&timer.time) {
            self.due.entry(timer.time).or_default().insert(timer.key, timer.routing);
        }
    }

    /// Takes some of what is due at a time, `limit` at the most: still set, but due no longer.
    pub fn take_due(&mut self, time: u64, limit: usize) -> Vec<Timer<K>> {
        let Some(due) = self.due.get_mut(&time) else { return Vec::new() };
        let first = due.len().saturating_sub(limit);
        let taken = due.drain(first..).map(|(key, routing)| Timer { time, routing, key }).collect();
        if due.is_empty() {
            self.due.remove(&time);
        }
        taken
    }

    /// Whether anything is due at a time.
    pub fn is_due(&self, time: u64) -> bool {
        self.due.contains_key(&time)
    }

    /// Takes a timer off its key.
    pub fn unset(&mut self, timer: &Timer<K>) {
        if let Some(times) = self.times.get_mut(&timer.key) {
            times.retain(|time| *time != timer.time);
            if times.is_empty() {
                self.times.remove(&timer.key);
            }
        }
    }

    /// Takes all timers off a key that leaves, or of which a later copy has come.
    pub fn remove(&mut self, key: &K) {
        if self.times.is_empty() {
            return;
        }
        for time in self.times.remove(key).unwrap_or_default() {
            if let Some(due) = self.due.get_mut(&time) {
                due.swap_remove(key);
                if due.is_empty() {
                    self.due.remove(&time);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_taken_a_few_at_a_time_and_stays_set() {
        let mut timers = Timers::new();
        for key in 0..10u64 {
            assert!(timers.set(&key, key, 5) && !timers.set(&key, key, 5));
        }
        timers.set(&3, 3, 8);
        let mut taken: Vec<u64> = Vec::new();
        while timers.is_due(5) {
            let some = timers.take_due(5, 4);
            assert!(!some.is_empty() && some.len() <= 4);
            taken.extend(some.iter().map(|timer| timer.key));
        }
        taken.sort_unstable();
        assert!(taken.into_iter().eq(0..10));
        assert_eq!((timers.of(&3), timers.of(&4)), (&[5, 8][..], &[5][..]));
        assert!(timers.is_due(8) && timers.take_due(5, 4).is_empty());
    }

    #[test]
    fn of_a_key_that_leaves_nothing_is_due_here() {
        let mut timers = Timers::new();
        (0..6u64).for_each(|key| _ = timers.set(&key, key, 5));
        let first: Vec<u64> = timers.take_due(5, 2).iter().map(|timer| timer.key).collect();
        let leaving = (0..6).find(|key| !first.contains(key)).unwrap();
        assert_eq!(timers.of(&leaving), [5]);
        timers.remove(&leaving);
        assert!(timers.take_due(5, 9).iter().all(|timer| timer.key != leaving && !first.contains(&timer.key)));
    }
}
