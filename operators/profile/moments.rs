use serde::{Deserialize, Serialize};

/// Larger magnitudes are taken for this one: the square of four times it, times any number of records, is still finite.
const LARGEST: f64 = 1e140;

/// Mean and spread of values, in one pass and without cancellation.
///
/// Values one by one after Welford ("Note on a method for calculating corrected sums of squares and products", 1962),
/// merging after Chan, Golub and LeVeque ("Updating formulae and a pairwise algorithm for computing sample
/// variances", 1979). All is relative to the first value, so that values which are far from 0 and close together keep
/// their digits. NaN and infinities are left out: one bad value must not hide all the good ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Moments {
    count: u64,
    /// The first value.
    origin: f64,
    /// The mean, less the origin.
    offset: f64,
    /// The sum of the squared deviations from the mean.
    squares: f64,
}

impl Moments {
    #[inline]
    pub(super) fn observe(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        let value = value.clamp(-LARGEST, LARGEST);
        if self.count == 0 {
            self.origin = value;
        }
        self.count += 1;
        let relative = value - self.origin;
        let from_old = relative - self.offset;
        if from_old == 0.0 {
            return;
        }
        self.offset += from_old / self.count as f64;
        self.squares += from_old * (relative - self.offset);
    }

    /// Takes in a value so many times.
    pub(super) fn observe_run(&mut self, value: f64, count: u64) {
        if value.is_finite() && count > 0 {
            let origin = value.clamp(-LARGEST, LARGEST);
            self.merge(&Moments { count, origin, ..Moments::default() });
        }
    }

    pub(super) fn merge(&mut self, other: &Moments) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = other.clone();
            return;
        }
        let (ours, theirs) = (self.count as f64, other.count as f64);
        let share = theirs / (ours + theirs);
        let apart = (other.origin - self.origin) + (other.offset - self.offset);
        self.count += other.count;
        self.offset += apart * share;
        self.squares += other.squares + apart * apart * share * ours;
    }

    /// Where sums over further values best begin; not a number without values.
    pub(super) fn centre(&self) -> f64 {
        if self.count == 0 { f64::NAN } else { self.mean() }
    }

    /// 0 without values.
    pub(super) fn mean(&self) -> f64 {
        self.origin + self.offset
    }

    /// The population standard deviation; 0 without values.
    pub(super) fn deviation(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.squares / self.count as f64).max(0.0).sqrt() }
    }
}

/// Values of which only sums are kept, relative to an origin: what [`Moments`] take in batch by batch, at a fraction of
/// the cost.
///
/// The origin is to be the mean of values before them, and there are to be no more than a few thousand: then what
/// cancels is small against what is left, wherever the values lie.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    sum: f64,
    squares: f64,
    origin: f64,
}

impl Sums {
    pub(super) fn around(origin: f64) -> Self {
        Sums { origin, ..Sums::default() }
    }

    /// Whether there has been a finite value from which to begin.
    pub(super) fn has_origin(&self) -> bool {
        self.origin.is_finite()
    }

    /// Takes in a value; `false`, and nothing done, if it is not finite or far too large, or there is no origin.
    #[inline]
    pub(super) fn observe(&mut self, value: f64) -> bool {
        let relative = value - self.origin;
        let square = relative * relative;
        let fits = square <= LARGEST * LARGEST;
        if fits {
            self.sum += relative;
            self.squares += square;
        }
        fits
    }

    /// The moments, the number of values being known.
    pub(super) fn moments(&self, count: u64) -> Moments {
        if count == 0 {
            return Moments::default();
        }
        let offset = self.sum / count as f64;
        let squares = (self.squares - self.sum * offset).max(0.0);
        Moments { count, origin: self.origin, offset, squares }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        values.iter().for_each(|v| moments.observe(*v));
        moments
    }

    /// Two passes, around the first value: nothing cancels.
    fn naive(values: &[f64]) -> (f64, f64) {
        let (n, first) = (values.len() as f64, values[0]);
        let offset = values.iter().map(|v| v - first).sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v - first - offset).powi(2)).sum();
        (first + offset, (squares / n).sqrt())
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-9)
    }

    proptest! {
            #[test]
            fn agree_with_two_passes(
                centre in prop_oneof![Just(0.0), Just(1e9), Just(-1e9), -1e6..1e6],
                noise in prop::collection::vec(-1.0..1.0, 1..500),
                cut: prop::sample::Index,
            ) {
                let values: Vec<f64> = noise.iter().map(|v| centre + v).collect();
                let (left, right) = values.split_at(cut.index(values.len()));
                let mut merged = of(left);
                merged.merge(&of(right));
                let (mean, deviation) = naive(&values);
                for moments in [of(&values), merged] {
                    prop_assert_eq!(moments.count, values.len() as u64);
                    prop_assert!(close(moments.mean(), mean));
    prop_assert!((moments.deviation() - deviation).abs() <= 1e-9 * deviation.max(0.1));
                }
            }
        }

    #[test]
    fn a_billion_with_a_deviation_of_one() {
        let values: Vec<f64> = (0..100_000).map(|i| 1e9 + if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        assert!(close(of(&values).mean(), 1e9));
        assert!(close(of(&values).deviation(), 1.0), "{}", of(&values).deviation());
    }

    #[test]
    fn what_is_not_a_number_is_left_out_and_what_is_huge_stays_finite() {
        let moments = of(&[1.0, f64::NAN, 3.0, f64::INFINITY, f64::NEG_INFINITY]);
        assert_eq!((moments.mean(), moments.deviation()), (2.0, 1.0));
        let mut huge = of(&[f64::MAX, f64::MIN, 1.0, f64::MAX]);
        huge.merge(&of(&[f64::MIN]));
        assert!(huge.mean().is_finite() && huge.deviation().is_finite());
        assert_eq!((of(&[]).mean(), of(&[]).deviation()), (0.0, 0.0));
    }
}
