use serde::{Deserialize, Serialize};

/// Larger records count as this large; the largest and the mean are kept apart, exactly.
const LARGEST: u64 = 1 << 30;

/// Sizes between two powers of two are told apart by so many steps: a quantile is at most a sixteenth too high.
const STEPS: usize = 16;

/// How many records have about which size: what `hdrhistogram` does, in a few instructions and, unless sizes are large,
/// in few bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub(super) struct SizeCounts(Vec<u64>);

impl SizeCounts {
    #[inline]
    pub(super) fn observe(&mut self, size: u64, weight: u64) {
        let at = place(size.min(LARGEST));
        if at >= self.0.len() {
            self.0.resize(at + 1, 0);
        }
        self.0[at] = self.0[at].saturating_add(weight);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes in the counts of another, so many times.
    pub(super) fn merge(&mut self, other: &SizeCounts, times: u64) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        let counts = self.0.iter_mut().zip(&other.0);
        counts.for_each(|(ours, theirs)| *ours = ours.saturating_add(theirs.saturating_mul(times)));
    }

    /// The size that this share of the records does not exceed.
    pub(super) fn quantile(&self, share: f64) -> u64 {
        let total = self.0.iter().fold(0u64, |sum, count| sum.saturating_add(*count));
        let rank = ((share * total as f64).ceil() as u64).max(1);
        let mut seen = 0u64;
        let at = self.0.iter().position(|count| {
            seen = seen.saturating_add(*count);
            seen >= rank
        });
        at.map_or(0, largest_at)
    }
}

/// Where a size is counted: the first two powers of [`STEPS`] one by one, then as many steps for each power of two.
#[inline]
fn place(size: u64) -> usize {
    let beyond = (size | STEPS as u64).ilog2() - STEPS.ilog2();
    STEPS * beyond as usize + (size >> beyond) as usize
}

/// The largest size that is counted there.
fn largest_at(place: usize) -> u64 {
    let beyond = (place / STEPS).saturating_sub(1);
    (((place - STEPS * beyond + 1) as u64) << beyond) - 1
}

/// Only sizes that occur are sent.
impl From<SizeCounts> for Vec<(u64, u64)> {
    fn from(sizes: SizeCounts) -> Self {
        let counts = sizes.0.into_iter().enumerate().filter(|(_, count)| *count > 0);
        counts.map(|(place, count)| (largest_at(place), count)).collect()
    }
}

impl From<Vec<(u64, u64)>> for SizeCounts {
    fn from(counts: Vec<(u64, u64)>) -> Self {
        let mut sizes = SizeCounts::default();
        counts.into_iter().for_each(|(size, count)| sizes.observe(size, count));
        sizes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(sizes: &[u64]) -> SizeCounts {
        let mut counts = SizeCounts::default();
        sizes.iter().for_each(|s| counts.observe(*s, 1));
        counts
    }

    proptest! {
        #[test]
        fn quantiles_are_those_of_the_sorted_sizes(mut sizes in prop::collection::vec(0..2_000_000u64, 1..300), cut: prop::sample::Index) {
            let (left, right) = sizes.split_at(cut.index(sizes.len()));
            let mut merged = of(left);
            merged.merge(&of(right), 1);
            let bytes = postcard::to_allocvec(&merged).unwrap();
            let counts: SizeCounts = postcard::from_bytes(&bytes).unwrap();
            prop_assert_eq!(&counts.0, &of(&sizes).0);
            sizes.sort_unstable();
            for share in [0.5, 0.99] {
                let exact = sizes[(share * sizes.len() as f64).ceil() as usize - 1];
                prop_assert!((exact..=exact + exact / 16).contains(&counts.quantile(share)));
            }
        }
    }

    #[test]
    fn a_size_out_of_range_is_taken_for_the_nearest() {
        let mut sizes = of(&[u64::MAX, 0]);
        sizes.observe(7, 5_000_000_000);
        assert_eq!((sizes.quantile(0.0), sizes.quantile(0.5)), (0, 7));
        assert!(sizes.quantile(1.0) >= LARGEST);
    }
}
