use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Larger records count as this large; the largest and the mean are kept apart, exactly.
const LARGEST: u64 = 1 << 30;

/// A quantile is at most a sixteenth too high, in less than four kilobytes, and in one if records have less than one.
const DIGITS: u8 = 1;

/// How many records have about which size.
///
/// Counts are of 64 bits: a count that stops at its largest value would leave the histogram's total ahead of the sum
/// of its counts, and then quantiles are wrong altogether.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub(super) struct SizeCounts(Histogram<u64>);

impl Default for SizeCounts {
    fn default() -> Self {
        SizeCounts(Histogram::new(DIGITS).expect("the number of digits is valid"))
    }
}

impl SizeCounts {
    pub(super) fn observe(&mut self, size: u64, weight: u64) {
        self.0.record_n(size.min(LARGEST), weight).expect("it grows");
    }

    pub(super) fn merge(&mut self, other: &SizeCounts) {
        self.0.add(&other.0).expect("it grows");
    }

    /// The size that this share of the records does not exceed.
    pub(super) fn quantile(&self, share: f64) -> u64 {
        self.0.value_at_quantile(share)
    }
}

/// Most of the histogram is empty: only sizes that occur are sent.
impl From<SizeCounts> for Vec<(u64, u64)> {
    fn from(sizes: SizeCounts) -> Self {
        sizes.0.iter_recorded().map(|size| (size.value_iterated_to(), size.count_at_value())).collect()
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
            merged.merge(&of(right));
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
