use super::KeyRange;

/// Which of some adjoining ranges holds a routing key. Together they cover the key space.
///
/// The keys between the lowest and the highest start are divided into slots of equal width, about as many as there are
/// ranges. A slot knows the ranges that its first and its last key are in; where they differ, a binary search follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    /// Where the ranges start: 0, and ascending.
    starts: Vec<u64>,
    /// The first key of the first slot; lower keys are in that slot too, and higher ones than those of the last in it.
    base: u64,
    /// The binary logarithm of a slot's width.
    shift: u32,
    slots: Vec<Slot>,
    /// Whether the slots are those of the starts.
    indexed: bool,
}

/// The ranges of the first and of the last key of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    first: u32,
    last: u32,
}

impl Directory {
    /// Of ranges that start here: at 0, and ascending.
    pub fn new(starts: Vec<u64>) -> Self {
        let mut directory = Directory { starts, base: 0, shift: 0, slots: Vec::new(), indexed: false };
        directory.index();
        directory
    }

    /// The number of ranges.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// The range at this index. Panics if there is none.
    pub fn range(&self, index: usize) -> KeyRange {
        let end = self.starts.get(index + 1).map_or(1 << 64, |start| u128::from(*start));
        KeyRange::new(self.starts[index], end).expect("starts ascend")
    }

    /// Where the ranges start.
    pub fn starts(&self) -> &[u64] {
        &self.starts
    }

    /// The index of the range that holds the key. Wrong between a change and [`index`](Self::index).
    #[inline]
    pub fn find(&self, key: u64) -> usize {
        self.find_each(std::iter::once(key)).next().unwrap_or(0)
    }

    /// As [`find`](Self::find) of each of these keys.
    #[inline]
    pub fn find_each(&self, keys: impl Iterator<Item = u64>) -> impl Iterator<Item = usize> {
        debug_assert!(self.indexed, "it has changed since it was indexed");
        // Copies, which stay in registers whatever else a loop over the keys does.
        let (base, shift, slots, last) = (self.base, self.shift, self.slots.as_slice(), self.slots.len() - 1);
        keys.map(move |key| {
            let slot = (key.saturating_sub(base) >> shift) as usize;
            let Slot { first, last } = slots[slot.min(last)];
            if first == last { first as usize } else { self.find_among(first as usize, last as usize, key) }
        })
    }

    /// As [`find`](Self::find), where it is known that it is one of these.
    fn find_among(&self, first: usize, last: usize, key: u64) -> usize {
        first + self.starts[first + 1..=last].partition_point(|start| *start <= key)
    }

    /// Divides the range before this index at `start`.
    pub fn insert(&mut self, index: usize, start: u64) {
        let keeps_slots = self.keeps_slots(index, self.starts.len() + 1) && index < self.starts.len();
        self.starts.insert(index, start);
        if keeps_slots {
            self.shift_slots(start, |range| range + 1);
        }
        self.indexed = keeps_slots;
    }

    /// Joins a range to the one before it; the first one to the one after it.
    pub fn remove(&mut self, index: usize) {
        let index = index.max(1);
        let keeps_slots = self.keeps_slots(index, self.starts.len() - 1) && index + 1 < self.starts.len();
        let start = self.starts.remove(index);
        if keeps_slots {
            self.shift_slots(start, |range| range - 1);
        }
        self.indexed = keeps_slots;
    }

    /// Whether the slots stay as they are, but for the ranges that they know, when the start at this index comes or
    /// goes and there are so many then: unless it is the last one.
    fn keeps_slots(&self, index: usize, count: usize) -> bool {
        let as_many = count.next_power_of_two() == self.starts.len().next_power_of_two();
        self.indexed && as_many && index > 1
    }

    /// Renumbers the ranges that begin at or after `start`, which has come or gone.
    fn shift_slots(&mut self, start: u64, renumber: impl Fn(u32) -> u32) {
        let at = (start - self.base) >> self.shift;
        let first_key = self.base + (at << self.shift);
        let [slot, later @ ..] = &mut self.slots[at as usize..] else { return };
        slot.last = renumber(slot.last);
        if start == first_key {
            slot.first = renumber(slot.first);
        }
        for slot in later {
            *slot = Slot { first: renumber(slot.first), last: renumber(slot.last) };
        }
    }

    /// Brings the slots up to date with what has been inserted and removed.
    pub fn index(&mut self) {
        if std::mem::replace(&mut self.indexed, true) {
            return;
        }
        let count = self.starts.len().next_power_of_two() as u64;
        let (lowest, highest) = match self.starts[..] {
            [_, lowest, ..] => (lowest - 1, self.starts[self.starts.len() - 1]),
            _ => (0, 0),
        };
        let span = |shift: u32| (highest >> shift) - (lowest >> shift);
        self.shift = (0..64).find(|shift| span(*shift) < count).unwrap_or(63);
        self.base = (lowest >> self.shift) << self.shift;
        let count = span(self.shift) + 1;
        self.slots.clear();
        self.slots.reserve_exact(count as usize);
        let mut range = 0;
        for slot in 0..count {
            let first = range;
            let next = (slot + 1 < count).then(|| self.base + ((slot + 1) << self.shift));
            let begins = |range: usize| next.is_none_or(|next| self.starts[range] < next);
            while range + 1 < self.starts.len() && begins(range + 1) {
                range += 1;
            }
            self.slots.push(Slot { first: first as u32, last: range as u32 });
            range += usize::from(next.is_some_and(|next| self.starts.get(range + 1) == Some(&next)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    /// Starts that are spread, in a cluster at the bottom, or in one far up.
    fn start() -> impl Strategy<Value = u64> {
        prop_oneof![any::<u64>(), 0..200u64, (1u64 << 63)..(1 << 63) + 99, Just(u64::MAX)]
    }

    proptest! {
        #[test]
        fn a_key_is_in_the_last_range_that_starts_at_or_before_it(
            changes in prop::collection::vec((any::<bool>(), start()), 0..60), keys in prop::collection::vec(start(), 20)
        ) {
            let (mut directory, mut starts) = (Directory::new(vec![0]), BTreeSet::from([0]));
            for (insert, key) in changes {
                if insert && starts.insert(key) {
                    directory.insert(directory.find(key) + 1, key);
                } else if !insert && directory.len() > 1 {
                    let index = directory.find(key);
                    directory.remove(index);
                    let start = starts.iter().copied().nth(index.max(1)).unwrap();
                    starts.remove(&start);
                }
                directory.index();
                prop_assert_eq!(&directory, &Directory::new(starts.iter().copied().collect()));
                for key in keys.iter().chain(&starts) {
                    prop_assert_eq!(directory.find(*key), starts.range(..=key).count() - 1);
                }
            }
        }
    }

    #[test]
    fn ranges_of_equal_width_have_a_slot_each() {
        for bits in [1, 6, 12] {
            let directory = Directory::new((0..1u64 << bits).map(|i| i << (64 - bits)).collect());
            assert!(directory.slots.len() == 1 << bits && directory.slots.iter().all(|slot| slot.first == slot.last));
        }
    }
}
