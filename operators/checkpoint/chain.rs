//! What a checkpoint is built upon. Pure.

use std::collections::BTreeMap;

use super::reference::ObjectRef;

/// Boundaries whose snapshots a checkpoint may consist of before some are merged. Reading back costs little more for
/// eight than for one, as most of the state is in the first.
const GENERATIONS: usize = 8;

/// Boundaries at which the next checkpoint waits for the merging in progress.
const MOST_GENERATIONS: usize = 32;

/// The objects of the last checkpoint, and whether the next one can be built upon them.
#[derive(Debug, Default)]
pub(super) struct Chain {
    objects: Vec<ObjectRef>,
    /// The checkpoint that was abandoned since: what it would have saved is in no object.
    broken: Option<u64>,
}

impl Chain {
    pub fn new(objects: Vec<ObjectRef>) -> Self {
        Chain { objects, broken: None }
    }

    /// The objects of a checkpoint that saves all, or what has changed since the one before.
    pub fn extended(&self, whole: bool, new: Vec<ObjectRef>) -> Result<Vec<ObjectRef>, String> {
        match self.broken.filter(|_| !whole) {
            Some(epoch) => Err(format!("it builds upon the checkpoint at epoch {epoch}, which was abandoned")),
            None if whole => Ok(new),
            None => Ok(self.objects.iter().cloned().chain(new).collect()),
        }
    }

    pub fn committed(&mut self, objects: Vec<ObjectRef>) {
        *self = Chain::new(objects);
    }

    pub fn abandoned(&mut self, epoch: u64) {
        self.broken.get_or_insert(epoch);
    }

    /// Boundaries whose snapshots the last checkpoint consists of.
    pub fn generations(&self) -> usize {
        self.sizes().len()
    }

    /// Whether the next checkpoint, of all keys or not, waits for the merging in progress: one of all keys refers to
    /// nothing earlier.
    pub fn must_be_merged_before(&self, whole: bool) -> bool {
        !whole && self.generations() >= MOST_GENERATIONS
    }

    /// Bytes by boundary.
    fn sizes(&self) -> BTreeMap<u64, u64> {
        let mut sizes = BTreeMap::new();
        for object in &self.objects {
            *sizes.entry(object.epoch).or_default() += object.length;
        }
        sizes
    }

    /// The snapshots that should be merged: the first one that is no larger than all after it together, and these. So
    /// each byte is merged as often as the state's length can be halved before it is that of what changes between
    /// checkpoints.
    pub fn to_merge(&self) -> Option<ToMerge> {
        let sizes = self.sizes();
        let mut after: u64 = sizes.values().sum();
        let from = sizes.iter().find(|(_, size)| {
            after -= **size;
            **size <= after
        });
        let from = from.filter(|_| sizes.len() > GENERATIONS).map(|(epoch, _)| *epoch)?;
        let objects = self.objects.iter().filter(|object| object.epoch >= from).cloned().collect();
        Some(ToMerge { objects, oldest: sizes.keys().next() == Some(&from) })
    }

    /// Whether the last checkpoint still consists of these, among others.
    pub fn has(&self, those: &ToMerge) -> bool {
        self.objects.iter().filter(|object| those.have(object)).count() == those.objects.len()
    }

    /// Puts what has been merged in the place of what it was merged of; whether that was still there.
    pub fn replace(&mut self, of: &ToMerge, merged: Vec<ObjectRef>) -> bool {
        let is_there = self.has(of);
        if is_there {
            self.objects.retain(|object| !of.have(object));
            self.objects.extend(merged);
        }
        is_there
    }
}

/// Snapshots that are to be merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ToMerge {
    pub objects: Vec<ObjectRef>,
    /// No snapshot is before them.
    pub oldest: bool,
}

impl ToMerge {
    fn have(&self, object: &ObjectRef) -> bool {
        self.objects.iter().any(|own| own.name == object.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(epoch: u64, length: u64) -> ObjectRef {
        let name = format!("{epoch}-{length}");
        ObjectRef { name, length, crc32: 0, operator: "count".into(), epoch, codec: 0, chunks: Vec::new() }
    }

    fn chain(lengths: &[u64]) -> Chain {
        Chain::new(lengths.iter().zip(1..).map(|(length, epoch)| object(epoch, *length)).collect())
    }

    fn merged_from(lengths: &[u64]) -> Option<(u64, bool)> {
        chain(lengths).to_merge().map(|to_merge| (to_merge.objects[0].epoch, to_merge.oldest))
    }

    #[test]
    fn small_snapshots_are_merged_and_a_large_one_once_it_pays() {
        assert_eq!(merged_from(&[1; GENERATIONS]), None);
        assert_eq!(merged_from(&[1; GENERATIONS + 1]), Some((1, true)));
        assert_eq!(merged_from(&[1000, 1, 1, 1, 1, 1, 1, 1, 1]), Some((2, false)));
        assert_eq!(merged_from(&[512, 256, 128, 64, 32, 16, 8, 4, 2]), None);
        assert_eq!(merged_from(&[1000, 500, 240, 110, 50, 16, 8, 8, 8]), Some((6, false)));
        assert_eq!(merged_from(&[100, 60, 30, 16, 8, 4, 2, 1, 1]), Some((1, true)));
    }

    #[test]
    fn a_checkpoint_waits_for_a_long_chain_to_be_merged_unless_it_saves_all() {
        let (long, shorter) = (chain(&[1; MOST_GENERATIONS]), chain(&[1; MOST_GENERATIONS - 1]));
        assert!(long.must_be_merged_before(false) && !long.must_be_merged_before(true));
        assert!(!shorter.must_be_merged_before(false));
    }

    /// As many merges as it takes, after each checkpoint.
    #[test]
    fn a_chain_stays_short_and_each_byte_is_merged_a_few_times() {
        let (mut chain, mut merged_bytes) = (chain(&[1_000_000]), 0);
        for epoch in 2..2_000 {
            let objects = chain.extended(false, vec![object(epoch, 100)]).unwrap();
            chain.committed(objects);
            while let Some(to_merge) = chain.to_merge() {
                let length = to_merge.objects.iter().map(|object| object.length).sum();
                merged_bytes += length;
                assert!(chain.replace(&to_merge, vec![object(epoch, length)]));
            }
            assert!(chain.generations() <= 16, "{}", chain.generations());
        }
        assert!(merged_bytes < 12 * 2_000 * 100, "{merged_bytes}");
    }

    #[test]
    fn nothing_is_built_upon_what_was_abandoned_until_all_is_saved() {
        let mut chain = chain(&[5]);
        assert_eq!(chain.extended(false, vec![object(2, 1)]).unwrap().len(), 2);
        chain.abandoned(2);
        chain.abandoned(3);
        assert!(chain.extended(false, vec![object(4, 1)]).unwrap_err().contains("epoch 2"));
        let whole = chain.extended(true, vec![object(5, 7)]).unwrap();
        assert_eq!(whole, [object(5, 7)]);
        chain.committed(whole);
        assert_eq!(chain.extended(false, vec![object(6, 1)]).unwrap().len(), 2);
    }

    #[test]
    fn what_was_merged_of_objects_that_are_no_more_is_of_no_use() {
        let mut chain = chain(&[1; 9]);
        let to_merge = chain.to_merge().unwrap();
        assert!(chain.has(&to_merge));
        chain.committed(vec![object(10, 1)]);
        assert!(!chain.has(&to_merge) && !chain.replace(&to_merge, vec![object(9, 9)]));
        assert_eq!(chain.generations(), 1);
    }
}
