use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};

use super::distinct::Distinct;
use super::head::Head;
use super::heavy::Heavy;
use super::keysample::KeySample;
use super::sizes::SizeCounts;

/// Sampled keys that are gathered before they are sorted and counted: then all that takes part is in the cache, and a
/// key that comes often is counted once.
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
    /// Records that the others are still to see, all of one weight.
    #[serde(skip)]
    fresh: Samples,
    #[serde(skip)]
    weight: u64,
}

/// Sampled records, up to so many.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    keys: Vec<u64>,
    /// Each of weight 1.
    sizes: SizeCounts,
}

impl Samples {
    /// Takes in a record, its size unless it is known; whether they are to be handed over now.
    #[inline]
    pub(super) fn observe(&mut self, key: u64, size: Option<u64>) -> bool {
        self.keys.push(key);
        if let Some(size) = size {
            self.sizes.observe(size, 1);
        }
        self.keys.len() >= FRESH
    }
}

impl Sketches {
    pub(super) fn of(head: &Head) -> Self {
        let mut sketches = Sketches {
            distinct: Distinct::default(),
            heavy: Heavy::default(),
            sizes: SizeCounts::default(),
            keys: KeySample::new(head.seed),
            fresh: Samples::default(),
            weight: 0,
        };
        sketches.absorb(head);
        sketches
    }

    /// A sampled record, which stands for `weight` of them. Its key is for [`Distinct`] to see apart.
    #[inline]
    pub(super) fn observe(&mut self, key: u64, size: u64, weight: u64) {
        if self.weight != weight {
            self.settle();
            self.weight = weight;
        }
        if self.fresh.observe(key, Some(size)) {
            self.settle();
        }
    }

    /// Takes in sampled records, of which each stands for `weight`, and leaves none.
    pub(super) fn take_in(&mut self, samples: &mut Samples, weight: u64) {
        if !samples.keys.is_empty() {
            self.keys.absorb(&mut samples.keys, weight);
            self.heavy.absorb(&mut samples.keys, weight);
            self.sizes.merge(&samples.sizes, weight);
            samples.keys.clear();
            samples.sizes.clear();
        }
    }

    /// Takes in the fresh records.
    #[cold]
    pub(super) fn settle(&mut self) {
        let mut fresh = std::mem::take(&mut self.fresh);
        self.take_in(&mut fresh, self.weight);
        self.fresh = fresh;
    }

    /// Without fresh records.
    pub(super) fn settled(&self) -> Cow<'_, Self> {
        if self.fresh.keys.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut settled = self.clone();
        settled.settle();
        Cow::Owned(settled)
    }

    pub(super) fn absorb(&mut self, head: &Head) {
        self.fresh.keys.reserve(head.len());
        for (key, size) in head.iter() {
            self.distinct.observe(key);
            self.observe(key, size, 1);
        }
    }

    pub(super) fn merge(&mut self, other: &Sketches) {
        self.settle();
        let other = other.settled();
        self.distinct.merge(&other.distinct);
        self.heavy.merge(&other.heavy);
        self.sizes.merge(&other.sizes, 1);
        self.keys.merge(&other.keys);
    }
}

/// Sends sketches without fresh records.
pub(super) fn serialize<S: Serializer>(sketches: &Sketches, serializer: S) -> Result<S::Ok, S::Error> {
    sketches.settled().serialize(serializer)
}
