use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::Folded;
use super::votes::{Filter, Votes};
use crate::policy::FOLDED_PER_WORKER;

/// Records of a key in an epoch from which a gate that found it folds it in the next one from the start. A record that
/// is folded, rather than sent on and applied, spares about a fifth of what a partial costs.
const WORTHWHILE: u64 = 8;

/// Keys that a gate so knows from the start, for each worker, at the most.
const KEPT_PER_WORKER: usize = 64;

/// Keys that a gate tells of one by one, for each worker, of those that it has found: each has so large a part of the
/// records that no more can have. As many as policies fold at the most.
pub const NAMED_PER_WORKER: u64 = FOLDED_PER_WORKER as u64;

/// What a gate does to find keys that are hot, besides those that are folded by a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spotting {
    pub(super) workers: usize,
    pub(super) seed: u64,
}

impl Spotting {
    /// Nothing: only those keys are folded that a command says are to be.
    pub const OFF: Self = Spotting { workers: 0, seed: 0 };

    /// At a gate in front of so many workers. With another seed at each gate, no key is out of luck at all of them.
    pub fn new(workers: usize, seed: u64) -> Self {
        Spotting { workers: workers.max(1), seed }
    }
}

/// The routing keys that one gate folds in one epoch, with their records so far: those that are folded by a command,
/// and those that the gate itself has found hot.
///
/// A key that turns hot is not known before its first epoch has ended, and no command can take effect sooner than
/// `lead` epochs after that. But a gate sees it coming: it looks at some of the records, and folds those of a key from
/// then on, to the end of the epoch, of which it has seen more than of all others with which the key shares a slot, two
/// times over: a majority vote per slot (Boyer and Moore, "MJRTY: a fast majority vote algorithm", 1991). A key that is
/// cold is rarely found, and then has one partial instead of a few records. What was found and was
/// [`worthwhile`](HotKeys::worthwhile) need not be found again in the next epoch.
///
/// ```
/// use thalweg::aggregate::{HotKeys, Spotting};
///
/// let mut hot = HotKeys::new(Spotting::new(8, 0), &[]);
/// let records: Vec<u64> = (0..10_000).map(|i| if i % 10 == 0 { 7 } else { i }).collect();
/// let mut folded = 0;
/// for batch in records.chunks(1_000) {
///     hot.spot(batch, |record| *record);
///     folded += batch.iter().filter(|record| hot.take(**record)).count();
/// }
/// assert!(folded > 900);
/// assert!(hot.folded().iter().any(|hot| hot.key == Some(7) && hot.records > 900));
/// ```
#[derive(Clone, Debug)]
pub struct HotKeys {
    spotting: Spotting,
    records: HashMap<u64, Taken, RandomState>,
    filter: Filter,
    votes: Option<Votes>,
    /// Records that there have been, of all keys.
    all: usize,
}

/// What has been taken of a key.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    records: u64,
    /// By a command.
    is_told: bool,
}

impl HotKeys {
    /// At the start of an epoch for which commands have folded these routing keys.
    pub fn new(spotting: Spotting, folded: &[u64]) -> Self {
        let records = folded.iter().map(|key| (*key, Taken { records: 0, is_told: true })).collect();
        let mut filter = Filter::default();
        folded.iter().for_each(|key| filter.add(*key));
        let votes = (spotting != Spotting::OFF).then(|| Votes::new(spotting));
        HotKeys { spotting, records, filter, votes, all: 0 }
    }

    /// The same, with these keys as if they had been found already: such as were [`worthwhile`](HotKeys::worthwhile) in
    /// the epoch before.
    pub fn with(mut self, keys: &[u64]) -> Self {
        for key in keys {
            self.records.entry(*key).or_default();
            self.filter.add(*key);
        }
        self
    }

    /// The keys not folded by a command that had so many records that it pays to fold them in the next epoch from the
    /// start, in no particular order.
    pub fn worthwhile(&self) -> Vec<u64> {
        let is_worthwhile = |taken: &Taken| !taken.is_told && taken.records >= WORTHWHILE;
        let keys = self.records.iter().filter(|(_, taken)| is_worthwhile(taken));
        let mut keys: Vec<(u64, u64)> = keys.map(|(key, taken)| (taken.records, *key)).collect();
        let most = KEPT_PER_WORKER * self.spotting.workers;
        if keys.len() > most {
            keys.select_nth_unstable_by(most, |a, b| b.cmp(a));
            keys.truncate(most);
        }
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// Whether no key is folded by now.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Looks at some of these records for keys that are hot. Those of a key that is found may be taken from this batch
    /// on.
    pub fn spot<D>(&mut self, batch: &[D], routing_key: impl Fn(&D) -> u64) {
        self.all += batch.len();
        let Some(votes) = &mut self.votes else { return };
        while let Some(record) = batch.get(votes.next) {
            let key = routing_key(record);
            if !(self.filter.may_have(key) && self.records.contains_key(&key)) && votes.cast(key) {
                self.records.insert(key, Taken::default());
                self.filter.add(key);
            }
            votes.next += votes.gap();
        }
        votes.next -= batch.len();
    }

    /// Whether a record of this key is to be folded: then it counts.
    #[inline]
    pub fn take(&mut self, routing: u64) -> bool {
        self.filter.may_have(routing) && self.records.get_mut(&routing).map(|taken| taken.records += 1).is_some()
    }

    /// The records of keys that were folded by a command, of those found that have many, and of the others together; in
    /// no particular order.
    pub fn folded(&self) -> Vec<Folded> {
        let workers = self.spotting.workers as u64;
        let is_named = |taken: &Taken| taken.is_told || taken.records * NAMED_PER_WORKER * workers >= self.all as u64;
        let (mut folded, mut others) = (Vec::new(), 0);
        for (key, taken) in self.records.iter().filter(|(_, taken)| taken.records > 0) {
            match is_named(taken) {
                true => folded.push(Folded { key: Some(*key), records: taken.records }),
                false => others += taken.records,
            }
        }
        folded.extend((others > 0).then_some(Folded { key: None, records: others }));
        folded
    }

    /// The keys that had records, in no particular order.
    pub fn keys(&self) -> impl Iterator<Item = u64> {
        self.records.iter().filter(|(_, taken)| taken.records > 0).map(|(key, _)| *key)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyspace::stable_hash;

    fn spotted(spotting: Spotting, records: &[u64]) -> Vec<Folded> {
        let mut hot = HotKeys::new(spotting, &[]);
        for batch in records.chunks(100) {
            hot.spot(batch, |key| *key);
            batch.iter().for_each(|key| _ = hot.take(*key));
        }
        hot.folded()
    }

    #[test]
    fn hot_keys_are_found_early_and_others_are_not() {
        for seed in 0..20 {
            // Five keys with a fiftieth of the records each, which come in turn, among others with one each.
            let records: Vec<u64> = (0..20_000).map(|i| if i % 10 == 0 { i / 10 % 5 } else { i + 5 }).collect();
            let found = spotted(Spotting::new(8, seed), &records);
            let hot = |key: u64| found.iter().find(|found| found.key == Some(key)).map_or(0, |found| found.records);
            assert!((0..5).all(|key| hot(key) > 300), "with seed {seed}: {found:?}");
            let others = found.iter().find(|found| found.key.is_none()).map_or(0, |found| found.records);
            assert!(others < 20, "with seed {seed}: {found:?}");
        }
    }

    #[test]
    fn keys_that_are_alike_are_not_found() {
        let records: Vec<u64> = (0..100_000).map(|i: u64| stable_hash(&i) % 20_000).collect();
        let found = spotted(Spotting::new(8, 1), &records);
        let folded: u64 = found.iter().map(|found| found.records).sum();
        assert!(folded < 2_000, "{folded} records");
    }

    #[test]
    fn what_was_found_need_not_be_found_again() {
        // Half of them are of a key that is found, a quarter of one folded by a command.
        let records: Vec<u64> = (0..1_000).map(|i| [7, 5, 7, 10 + i][i as usize % 4]).collect();
        let mut first = HotKeys::new(Spotting::new(8, 1), &[5]);
        first.spot(&records, |key| *key);
        let taken = records.iter().filter(|key| first.take(**key)).count();
        assert_eq!((taken, first.worthwhile()), (750, vec![7]));
        let mut next = HotKeys::new(Spotting::new(8, 1), &[]).with(&first.worthwhile());
        assert!(next.take(7) && !next.take(5) && next.worthwhile().is_empty());
        (1..WORTHWHILE).for_each(|_| assert!(next.take(7)));
        assert_eq!(next.worthwhile(), [7]);
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_is_counted(
            keys in prop::collection::vec(0..9u64, 0..300), folded in prop::collection::vec(0..4u64, 0..3),
            seed in 0..9u64, off: bool,
        ) {
            let spotting = if off { Spotting::OFF } else { Spotting::new(2, seed) };
            let mut hot = HotKeys::new(spotting, &folded);
            let mut taken = std::collections::BTreeMap::new();
            for batch in keys.chunks(50) {
                hot.spot(batch, |key| *key);
                for key in batch {
                    let is_taken = hot.take(*key);
                    prop_assert!(is_taken || !taken.contains_key(key), "a key that was hot once is so for the epoch");
                    prop_assert!(is_taken || !folded.contains(key));
                    prop_assert!(!is_taken || !off || folded.contains(key));
                    *taken.entry(*key).or_insert(0) += u64::from(is_taken);
                    taken.retain(|_, records| *records > 0);
                }
            }
            let (named, others): (Vec<_>, Vec<_>) = hot.folded().into_iter().partition(|folded| folded.key.is_some());
            for Folded { key, records } in named {
                prop_assert_eq!(key.and_then(|key| taken.remove(&key)), Some(records));
            }
            prop_assert_eq!(others.iter().map(|folded| folded.records).sum::<u64>(), taken.values().sum::<u64>());
            prop_assert!(taken.iter().all(|(key, records)| !folded.contains(key) && records * 32 < keys.len() as u64));
        }
    }
}
