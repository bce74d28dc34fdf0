use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};

use super::distinct::Distinct;
use super::head::Head;
use super::heavy::Heavy;
use super::keysample::KeySample;
use super::sizes::SizeCounts;

/// Sampled keys that are gathered before they are sorted and counted: then what they are counted in is in the cache, and
/// a key that comes often is counted once.
const FRESH: usize = 4096;

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
    /// Keys that `heavy` and `keys` are still to see, all of one weight.
    #[serde(skip)]
    fresh: Vec<u64>,
    #[serde(skip)]
    weight: u64,
}

impl Sketches {
    pub(super) fn of(head: &Head) -> Self {
        let mut sketches = Sketches {
            distinct: Distinct::default(),
            heavy: Heavy::default(),
            sizes: SizeCounts::default(),
            keys: KeySample::new(head.seed),
            fresh: Vec::new(),
            weight: 0,
        };
        sketches.absorb(head);
        sketches
    }

    /// A sampled record, which stands for `weight` of them. Its key is for [`Distinct`] to see apart.
    #[inline]
    pub(super) fn observe(&mut self, key: u64, size: Option<u64>, weight: u64) {
        if self.weight != weight || self.fresh.len() >= FRESH {
            self.settle();
            self.weight = weight;
        }
        self.fresh.push(key);
        if let Some(size) = size {
            self.sizes.observe(size, weight);
        }
    }

    /// Shows the fresh keys to those that are to see them.
    #[cold]
    pub(super) fn settle(&mut self) {
        if !self.fresh.is_empty() {
            self.keys.absorb(&mut self.fresh, self.weight);
            self.heavy.absorb(&mut self.fresh, self.weight);
            self.fresh.clear();
        }
    }

    /// Without fresh keys.
    pub(super) fn settled(&self) -> Cow<'_, Self> {
        if self.fresh.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut settled = self.clone();
        settled.settle();
        Cow::Owned(settled)
    }

    pub(super) fn absorb(&mut self, head: &Head) {
        for (key, size) in head.iter() {
            self.distinct.observe(key);
            self.observe(key, Some(size), 1);
        }
    }

    pub(super) fn merge(&mut self, other: &Sketches) {
        self.settle();
        let other = other.settled();
        self.distinct.merge(&other.distinct);
        self.heavy.merge(&other.heavy);
        self.sizes.merge(&other.sizes);
        self.keys.merge(&other.keys);
    }
}

/// Sends sketches without fresh keys.
pub(super) fn serialize<S: Serializer>(sketches: &Sketches, serializer: S) -> Result<S::Ok, S::Error> {
    sketches.settled().serialize(serializer)
}
