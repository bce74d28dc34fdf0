use serde::{Deserialize, Serialize};

use super::distinct::Distinct;
use super::head::Head;
use super::heavy::Heavy;
use super::keysample::KeySample;
use super::sizes::SizeCounts;

/// What is known of the records of a busy shard beyond counts and sums.
///
/// Records are weighted: those of the head, which were all seen, with 1; those sampled after it with the number of
/// records that each stands for. So both strata count as much as they are of the whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sketches {
    pub(super) distinct: Distinct,
    pub(super) heavy: Heavy,
    pub(super) sizes: SizeCounts,
    pub(super) keys: KeySample,
}

impl Sketches {
    pub(super) fn of(head: &Head) -> Self {
        let mut sketches = Sketches {
            distinct: Distinct::default(),
            heavy: Heavy::default(),
            sizes: SizeCounts::default(),
            keys: KeySample::new(head.seed),
        };
        sketches.absorb(head);
        sketches
    }

    /// A sampled record, which stands for `weight` of them. Its key is for [`Distinct`] to see apart.
    pub(super) fn observe(&mut self, key: u64, size: u64, weight: u64) {
        self.heavy.observe(key, weight);
        self.sizes.observe(size, weight);
        self.keys.observe(key, weight);
    }

    pub(super) fn absorb(&mut self, head: &Head) {
        for (key, size) in head.iter() {
            self.distinct.observe(key);
            self.observe(key, size, 1);
        }
    }

    pub(super) fn merge(&mut self, other: &Sketches) {
        self.distinct.merge(&other.distinct);
        self.heavy.merge(&other.heavy);
        self.sizes.merge(&other.sizes);
        self.keys.merge(&other.keys);
    }
}
