use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::Folded;
use crate::keyspace::stable_hash;
use crate::policy::FOLDED_PER_WORKER;

/// Slots in which keys stand against each other, for each worker. A key is found once it outnumbers the rest of its
/// slot: so the more workers there are, the smaller a key's share may be to be found, as it overloads its owner by a
/// smaller one.
const SLOTS_PER_WORKER: usize = 64;

/// A gate looks at one record in so many. At 4 the busiest of 8 or 64 workers had 4 to 13 % less to do than at 8, and a
/// look costs a few ns.
const EVERY: u64 = 4;

/// Keys that a gate tells of one by one, for each worker, of those that it has found: each has so large a part of the
/// records that no more can have. As many as policies fold at the most.
pub const NAMED_PER_WORKER: u64 = FOLDED_PER_WORKER as u64;

/// By how many looks a key must be ahead of all others of its slot. At 1 each key looked at would be folded.
const LEAD: u8 = 2;

/// What a gate does to find keys that are hot, besides those that are folded by a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spotting {
    workers: usize,
    seed: u64,
}

impl Spotting {
    /// Nothing: only those keys are folded that a command says are to be.
    pub const OFF: Self = Spotting { workers: 0, seed: 0 };

    /// At a gate in front of so many workers. With another seed at each gate, no key is out of luck at all of them.
    pub fn new(workers: usize, seed: u64) -> Self {
        Spotting { workers: workers.max(1), seed }
    }
}

/// The routing keys that one gate folds in one epoch, with their records so far: those that are folded by a command, and
/// those that the gate itself has found hot.
///
/// A key that turns hot is not known before its first epoch has ended, and no command can take effect sooner than
/// `lead` epochs after that. But a gate sees it coming: it looks at some of the records, and folds those of a key from
/// then on, to the end of the epoch, of which it has seen more than of all others with which the key shares a slot, two
/// times over: a majority vote per slot (Boyer and Moore, "MJRTY: a fast majority vote algorithm", 1991). A key that is
/// cold is rarely found, and then has one partial instead of a few records.
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
        HotKeys { records, filter, votes: (spotting != Spotting::OFF).then(|| Votes::new(spotting)), all: 0 }
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
        let workers = self.votes.as_ref().map_or(0, |votes| votes.spotting.workers as u64);
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

/// Which keys may be folded: it spares most others a search in the map.
#[derive(Clone, Debug)]
struct Filter([u64; Filter::WORDS]);

impl Filter {
    /// Eight cache lines: with 500 keys, one in nine others passes.
    const WORDS: usize = 64;

    fn place(key: u64) -> (usize, u64) {
        let bit = top_bits(key, Self::WORDS.ilog2() + 6);
        (bit / 64, 1 << (bit % 64))
    }

    fn add(&mut self, key: u64) {
        let (word, bit) = Self::place(key);
        self.0[word] |= bit;
    }

    #[inline]
    fn may_have(&self, key: u64) -> bool {
        let (word, bit) = Self::place(key);
        self.0[word] & bit != 0
    }
}

impl Default for Filter {
    fn default() -> Self {
        Filter([0; Filter::WORDS])
    }
}

/// A vote per slot.
#[derive(Clone, Debug)]
struct Votes {
    spotting: Spotting,
    slots: Box<[Slot]>,
    /// How many records from the next one on the next look is.
    next: usize,
    /// What keys are mixed with, so that others share a slot at other gates.
    salt: u64,
    random: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    key: u64,
    lead: u8,
}

impl Votes {
    fn new(spotting: Spotting) -> Self {
        let salt = stable_hash(&spotting.seed);
        let mut votes = Votes {
            spotting,
            slots: vec![Slot::default(); (SLOTS_PER_WORKER * spotting.workers).next_power_of_two()].into_boxed_slice(),
            next: 0,
            salt,
            random: salt,
        };
        votes.next = votes.gap() - 1;
        votes
    }

    /// Counts a look at a key; whether the key is hot.
    fn cast(&mut self, key: u64) -> bool {
        let slot = &mut self.slots[top_bits(key ^ self.salt, self.slots.len().ilog2())];
        match slot.lead {
            0 => *slot = Slot { key, lead: 1 },
            _ if slot.key == key => slot.lead += 1,
            _ => slot.lead -= 1,
        }
        let is_hot = slot.lead == LEAD;
        if is_hot {
            slot.lead = 0;
        }
        is_hot
    }

    /// The records from one look to the next: pseudo-random, so that an input with a period of its own is looked at
    /// fairly, between 1 and `2 * EVERY - 1`.
    fn gap(&mut self) -> usize {
        // A linear congruential generator (Knuth's MMIX), of which the top bits are good.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        1 + (((self.random >> 32) * (2 * EVERY - 1)) >> 32) as usize
    }
}

/// The top bits of a product with 2^64 over the golden ratio (Knuth, 1973): routing keys may lie close together.
fn top_bits(key: u64, bits: u32) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - bits)) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
