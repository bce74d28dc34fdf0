//! How a gate finds keys that are hot.

use super::Spotting;
use crate::keyspace::stable_hash;

/// Slots in which keys stand against each other, for each worker. A key is found once it outnumbers the rest of its
/// slot: so the more workers there are, the smaller a key's share may be to be found, as it overloads its owner by a
/// smaller one.
const SLOTS_PER_WORKER: usize = 64;

/// Records of an epoch after which a gate looks at one in two of them, then at one in three, and so on: a key found
/// early is folded for the rest of the epoch. With one in four throughout, the busiest of 64 workers had 6 % more to do
/// where the hot keys were new.
const DENSE: u64 = 8192;

/// It looks at one in so many at the least: a key may turn hot in the midst of an epoch.
const SPARSE: u64 = 8;

/// By how many looks a key must be ahead of all others of its slot. At 1 each key looked at would be folded.
const LEAD: u8 = 2;

/// Which keys may be folded: it spares most others a search in the map.
#[derive(Clone, Debug)]
pub(super) struct Filter([u64; Filter::WORDS]);

impl Filter {
    /// 32 cache lines: with 1,000 keys, one in 17 others passes.
    const WORDS: usize = 256;

    fn place(key: u64) -> (usize, u64) {
        let bit = top_bits(key, Self::WORDS.ilog2() + 6);
        (bit / 64, 1 << (bit % 64))
    }

    pub(super) fn add(&mut self, key: u64) {
        let (word, bit) = Self::place(key);
        self.0[word] |= bit;
    }

    #[inline]
    pub(super) fn may_have(&self, key: u64) -> bool {
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
pub(super) struct Votes {
    slots: Box<[Slot]>,
    /// How many records from the next one on the next look is.
    pub(super) next: usize,
    /// What keys are mixed with, so that others share a slot at other gates.
    salt: u64,
    random: u64,
    /// Records so far.
    seen: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    key: u64,
    lead: u8,
}

impl Votes {
    pub(super) fn new(spotting: Spotting) -> Self {
        let salt = stable_hash(&spotting.seed);
        let mut votes = Votes {
            slots: vec![Slot::default(); (SLOTS_PER_WORKER * spotting.workers).next_power_of_two()].into_boxed_slice(),
            next: 0,
            salt,
            random: salt,
            seen: 0,
        };
        votes.next = votes.gap() - 1;
        votes
    }

    /// Counts a look at a key; whether the key is hot.
    pub(super) fn cast(&mut self, key: u64) -> bool {
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

    /// The records from one look to the next, which may be in a later batch: pseudo-random, so that an input with a
    /// period of its own is looked at fairly, and the more the more there have been in the epoch.
    pub(super) fn gap(&mut self) -> usize {
        // A linear congruential generator (Knuth's MMIX), of which the top bits are good.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let every = (1 + self.seen / DENSE).min(SPARSE);
        let gap = 1 + (((self.random >> 32) * (2 * every - 1)) >> 32);
        self.seen += gap;
        gap as usize
    }
}

/// The top bits of a product with 2^64 over the golden ratio (Knuth, 1973): routing keys may lie close together.
fn top_bits(key: u64, bits: u32) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - bits)) as usize
}
