use std::hint::black_box;

/// Counters that are left when there are too many: one with a thousandth of the weight is among them.
const KEPT: usize = 1024;

/// Slots of a full table, in which there is room for half as many counters again as are kept.
const MOST_SLOTS: usize = 2048;

/// What a shard begins with that has just outgrown its head.
const FEWEST_SLOTS: usize = 64;

/// Growing is most of the work while a shard has few records.
const GROWTH: usize = 4;

/// An odd number near 2^64 divided by the golden ratio, whose multiples are spread evenly.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Counters of keys by weight, of which the lightest are dropped when there are too many, as in lossy counting (Manku and
/// Motwani, "Approximate frequency counts over data streams", 2002).
///
/// A weight is never too large, and too small only by what came before the key was dropped; it was then no heavier than
/// [`KEPT`] others.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters {
    /// Keys with their weights: open addressing in a power of two of slots, or none; a weight of 0 is an empty slot.
    slots: Vec<(u64, u64)>,
    len: usize,
}

impl Counters {
    /// Takes in weight of a key. Weights are above 0.
    #[inline]
    pub(super) fn add(&mut self, key: u64, weight: u64) {
        if self.len * 4 >= self.slots.len() * 3 {
            self.make_room();
        }
        let slot = self.find(key);
        if slot.1 == 0 {
            slot.0 = key;
            slot.1 = weight;
            self.len += 1;
        } else {
            slot.1 += weight;
        }
    }

    /// Brings a key's slot into the cache.
    #[inline]
    pub(super) fn prefetch(&self, key: u64) {
        black_box(self.slots.get(self.first_slot(key)).map(|slot| slot.1));
    }

    /// Leaves the heaviest only, in little room.
    pub(super) fn shrink(&mut self) {
        self.drop_lightest();
        let slots = (self.len * 4 / 3 + 1).next_power_of_two();
        if self.len > 0 && slots < self.slots.len() {
            self.rebuild(slots, 0);
        }
    }

    /// Keys with their weights.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.slots.iter().copied().filter(|(_, weight)| *weight > 0)
    }

    /// The slot of a key, or the empty one where it would be. There is one.
    #[inline]
    fn find(&mut self, key: u64) -> &mut (u64, u64) {
        let mask = self.slots.len() - 1;
        let mut at = self.first_slot(key);
        while self.slots[at].1 != 0 && self.slots[at].0 != key {
            at = (at + 1) & mask;
        }
        &mut self.slots[at]
    }

    /// The first slot to look at for a key, if there are any.
    #[inline]
    fn first_slot(&self, key: u64) -> usize {
        (key.wrapping_mul(GOLDEN) >> 32) as usize & self.slots.len().wrapping_sub(1)
    }

    #[cold]
    #[inline(never)]
    fn make_room(&mut self) {
        if self.slots.len() < MOST_SLOTS {
            self.rebuild((self.slots.len() * GROWTH).clamp(FEWEST_SLOTS, MOST_SLOTS), 0);
        } else {
            self.drop_lightest();
        }
    }

    /// Drops all that are no heavier than the one after those that are kept.
    fn drop_lightest(&mut self) {
        if self.len > KEPT {
            let mut weights: Vec<u64> = self.slots.iter().map(|(_, weight)| *weight).collect();
            let (_, light, _) = weights.select_nth_unstable_by(KEPT, |a, b| b.cmp(a));
            self.rebuild(self.slots.len(), *light);
        }
    }

    /// Moves to new slots what is heavier than this.
    fn rebuild(&mut self, slots: usize, light: u64) {
        let old = std::mem::replace(&mut self.slots, vec![(0, 0); slots]);
        self.len = 0;
        for (key, weight) in old.into_iter().filter(|(_, weight)| *weight > light) {
            *self.find(key) = (key, weight);
            self.len += 1;
        }
    }
}
