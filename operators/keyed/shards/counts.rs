//! How many keys each shard has.

use std::collections::HashMap;

/// Keys by the indices of shards: as they are, and, while an epoch is told of a few shards at a time, as they were when
/// it ended.
#[derive(Debug, Default)]
pub(in crate::keyed) struct KeyCounts {
    now: Vec<usize>,
    at_end: Option<AtEnd>,
}

/// What is kept of the end of an epoch until the last shard has been told of.
#[derive(Debug, Default)]
struct AtEnd {
    /// Shards before this one have been told of.
    next: usize,
    /// What has been added to the others since.
    since: HashMap<usize, isize>,
    /// The counts from which other shards have taken over.
    before: Option<Vec<usize>>,
}

impl KeyCounts {
    pub fn new(now: Vec<usize>) -> Self {
        KeyCounts { now, at_end: None }
    }

    /// The keys of a shard.
    pub fn get(&self, index: usize) -> usize {
        self.now[index]
    }

    /// A shard has so many more keys, or fewer.
    pub fn add(&mut self, index: usize, keys: isize) {
        debug_assert!(self.now[index].checked_add_signed(keys).is_some(), "there are no more keys than that");
        self.now[index] = self.now[index].saturating_add_signed(keys);
        if let Some(AtEnd { next, since, before: None }) = &mut self.at_end
            && index >= *next
            && keys != 0
        {
            *since.entry(index).or_default() += keys;
        }
    }

    /// There are other shards now, with these counts.
    pub fn replace(&mut self, now: Vec<usize>) {
        let before = std::mem::replace(&mut self.now, now);
        if let Some(at_end) = &mut self.at_end {
            at_end.before.get_or_insert(before);
        }
    }

    /// An epoch ends, of which is then told.
    pub fn begin_telling(&mut self) {
        self.at_end = Some(AtEnd::default());
    }

    /// The keys of a shard when the epoch ended, until it has been told of.
    #[inline]
    pub fn at_end(&self, index: usize) -> usize {
        let Some(AtEnd { since, before, .. }) = &self.at_end else { return self.get(index) };
        let since = if since.is_empty() { 0 } else { since.get(&index).copied().unwrap_or(0) };
        before.as_ref().unwrap_or(&self.now)[index].wrapping_add_signed(-since)
    }

    /// The shards before this one have been told of.
    pub fn told_before(&mut self, index: usize) {
        self.at_end.iter_mut().for_each(|at_end| at_end.next = index);
    }

    /// All has been told.
    pub fn end_telling(&mut self) {
        self.at_end = None;
    }

    #[cfg(test)]
    pub fn sum(&self) -> usize {
        self.now.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever happens to counts while they are told, and when: they are told as they were.
        #[test]
        fn counts_are_told_as_of_the_end_of_the_epoch(
            counts in prop::collection::vec(50..99usize, 1..9), changes in prop::collection::vec((0..9usize, -2..3isize), 0..20),
            pace in 1..9usize, replaced in 0..30usize,
        ) {
            let mut keys = KeyCounts::new(counts.clone());
            keys.begin_telling();
            let mut told = Vec::new();
            for (i, (index, change)) in changes.into_iter().enumerate() {
                if i == replaced {
                    keys.replace(vec![40; counts.len() + 1]);
                }
                if i % pace == 0 && told.len() < counts.len() {
                    told.push(keys.at_end(told.len()));
                    keys.told_before(told.len());
                }
                let (index, expected) = (index % keys.now.len(), keys.get(index % keys.now.len()).wrapping_add_signed(change));
                keys.add(index, change);
                prop_assert_eq!(keys.get(index), expected);
            }
            told.extend((told.len()..counts.len()).map(|index| keys.at_end(index)));
            prop_assert_eq!(&told, &counts);
            keys.end_telling();
            prop_assert!((0..counts.len()).all(|index| keys.at_end(index) == keys.get(index)));
        }
    }
}
